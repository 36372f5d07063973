//! The tables as data: what whoever goes through a whole database has to know of them.

use self::Kind::{Bytes, Flag, Number, Text};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A text, or none.
    Text,
    /// A number, or none.
    Number,
    /// Yes or no.
    Flag,
    /// Bytes.
    Bytes,
}

/// A table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// The version of the schema since which it is there.
    pub(crate) since: i64,
    /// All its columns. The first ones are its primary key.
    pub(crate) columns: &'static [(&'static str, Kind)],
    /// How many columns the primary key has.
    pub(crate) key: usize,
}

impl Table {
    const fn new(
        name: &'static str,
        since: i64,
        key: usize,
        columns: &'static [(&'static str, Kind)],
    ) -> Self {
        Self { name, since, columns, key }
    }
}

/// All tables of a bridge's database, apart from PostgreSQL's `holder`, which belongs to the processes, and the list
/// of migrations.
pub(crate) const TABLES: [Table; 15] = [
    Table::new("meta", 1, 1, &[("name", Text), ("value", Bytes)]),
    Table::new("seen", 1, 1, &[("key", Text), ("at", Number)]),
    Table::new(
        "inbox",
        1,
        1,
        &[
            ("seq", Number),
            ("key", Text),
            ("lane", Text),
            ("source", Number),
            ("received_at", Number),
            ("state", Number),
            ("code", Text),
            ("body", Bytes),
        ],
    ),
    Table::new(
        "outbox",
        1,
        1,
        &[
            ("seq", Number),
            ("lane", Text),
            ("network", Number),
            ("key", Text),
            ("cause", Text),
            ("created_at", Number),
            ("state", Number),
            ("attempts", Number),
            ("at", Number),
            ("code", Text),
            ("op", Bytes),
        ],
    ),
    Table::new(
        "message",
        1,
        2,
        &[
            ("event", Text),
            ("part", Number),
            ("room", Text),
            ("chat", Text),
            ("remote_kind", Number),
            ("remote", Text),
            ("direction", Number),
            ("sender", Text),
            ("at", Number),
        ],
    ),
    Table::new(
        "chat",
        1,
        1,
        &[
            ("id", Text),
            ("kind", Number),
            ("title", Text),
            ("state", Text),
            ("room", Text),
            ("robot", Text),
            ("peer", Text),
            ("announced", Flag),
            ("first_seen", Number),
            ("last_message", Number),
            ("synced_to", Text),
        ],
    ),
    Table::new(
        "person",
        1,
        1,
        &[
            ("id", Text),
            ("mxid", Text),
            ("name", Text),
            ("sender_id", Text),
            ("registered", Flag),
            ("device", Flag),
            ("shown_name", Text),
            ("updated_at", Number),
        ],
    ),
    Table::new("membership", 1, 2, &[("mxid", Text), ("room", Text)]),
    Table::new("session", 1, 1, &[("chat", Text), ("webhook", Bytes), ("expires_at", Number)]),
    Table::new(
        "link",
        1,
        1,
        &[
            ("id", Number),
            ("app_key", Text),
            ("app_secret", Bytes),
            ("agent_id", Text),
            ("corp", Text),
            ("organisation", Text),
            ("linked_by", Text),
            ("linked_at", Number),
            ("room", Text),
            ("source", Number),
        ],
    ),
    Table::new("setting", 1, 1, &[("name", Text), ("value", Bytes)]),
    Table::new("departed", 2, 1, &[("person", Text), ("at", Number)]),
    Table::new(
        "profile",
        2,
        1,
        &[("person", Text), ("asked_at", Number), ("source", Text), ("avatar", Text)],
    ),
    Table::new(
        "crypto",
        3,
        1,
        &[("name", Text), ("kind", Text), ("belongs", Text), ("tag", Text), ("value", Bytes)],
    ),
    Table::new("edit", 4, 1, &[("event", Text), ("original", Text), ("at", Number)]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Columns, Writes};

    /// What is not in the list would be lost by a copy, without a word.
    #[tokio::test]
    async fn every_table_and_column_of_the_schema_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        let mut conn = crate::sqlite::locked(&folder.path().join("bridge.db")).await.unwrap().conn;
        let statement = "SELECT t.name || '.' || c.name AS name, c.pk AS key, c.type AS kind
                         FROM sqlite_master t JOIN pragma_table_info(t.name) c
                         WHERE t.type = 'table' AND t.name <> '_sqlx_migrations' ORDER BY t.name, c.name";
        let there = conn.rows(statement, &[]).await.unwrap();
        let there: Vec<_> = there
            .iter()
            .map(|row| {
                let kind = row.text("kind").unwrap();
                (row.text("name").unwrap(), row.number("key").unwrap(), kind)
            })
            .collect();
        let mut listed: Vec<_> = TABLES
            .iter()
            .flat_map(|table| {
                table.columns.iter().enumerate().map(|(at, (column, kind))| {
                    let key = if at < table.key { i64::try_from(at).unwrap() + 1 } else { 0 };
                    let kind = match kind {
                        Text => "TEXT",
                        Number | Flag => "INTEGER",
                        Bytes => "BLOB",
                    };
                    (format!("{}.{column}", table.name), key, kind.to_owned())
                })
            })
            .collect();
        listed.sort();
        assert_eq!(listed, there);
    }
}
