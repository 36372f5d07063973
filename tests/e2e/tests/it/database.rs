//! A look into the bridge's database, at a copy of it: the bridge keeps the file to itself.

use sqlx::{Connection as _, SqliteConnection};
use world::World;

/// All files of the database, write-ahead log included.
pub(crate) fn bytes(world: &World) -> Vec<u8> {
    let names = ["bridge.db", "bridge.db-wal", "bridge.db-journal"];
    names.iter().flat_map(|name| std::fs::read(world.dir().join(name)).unwrap_or_default()).collect()
}

/// Whether a text stands in it, as people could read it.
pub(crate) fn contains(world: &World, text: &str) -> bool {
    let bytes = bytes(world);
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The number of rows of a table.
pub(crate) async fn rows(world: &World, table: &str) -> i64 {
    let copy = tempfile::tempdir().unwrap();
    for name in ["bridge.db", "bridge.db-wal"] {
        // Without a log there is nothing to copy.
        let _ = std::fs::copy(world.dir().join(name), copy.path().join(name));
    }
    let file = format!("sqlite://{}", copy.path().join("bridge.db").display());
    let mut connection = SqliteConnection::connect(&file).await.unwrap();
    let question = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query_scalar(question).fetch_one(&mut connection).await.unwrap()
}
