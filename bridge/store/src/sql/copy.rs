//! Goes through all tables of two databases: reads pages by primary key, inserts them, and compares.

use sha2::{Digest as _, Sha256};

use super::tables::{Kind, TABLES, Table};
use super::{Arg, Columns, Writes};
use crate::copy::{Copied, CopyProgress};
use crate::error::StoreError;

/// Rows held in memory.
const PAGE: u32 = 500;

/// Rows of a table with bodies held in memory; a body has up to about 1 MiB.
const LARGE_PAGE: u32 = 32;

/// A value of any column.
#[derive(Clone)]
enum Value {
    Text(Option<String>),
    Number(Option<i64>),
    Flag(bool),
    Bytes(Vec<u8>),
}

impl Value {
    fn read(row: &impl Columns, column: &'static str, kind: Kind) -> Result<Self, StoreError> {
        Ok(match kind {
            Kind::Text => Self::Text(row.maybe_text(column)?),
            Kind::Number => Self::Number(row.maybe_number(column)?),
            Kind::Flag => Self::Flag(row.flag(column)?),
            Kind::Bytes => Self::Bytes(row.bytes(column)?),
        })
    }

    fn arg(&self) -> Arg<'_> {
        match self {
            Self::Text(text) => Arg::Text(text.as_deref()),
            Self::Number(number) => Arg::Number(*number),
            Self::Flag(flag) => Arg::Flag(*flag),
            Self::Bytes(bytes) => Arg::Bytes(bytes),
        }
    }

    fn digest(&self, into: &mut Sha256) {
        let number;
        let (tag, bytes): (u8, Option<&[u8]>) = match self {
            Self::Text(text) => (0, text.as_deref().map(str::as_bytes)),
            Self::Number(value) => {
                number = value.unwrap_or_default().to_be_bytes();
                (1, value.map(|_| number.as_slice()))
            }
            Self::Flag(false) => (2, Some(&[0])),
            Self::Flag(true) => (2, Some(&[1])),
            Self::Bytes(bytes) => (3, Some(bytes)),
        };
        into.update([tag, u8::from(bytes.is_some())]);
        into.update((bytes.unwrap_or_default().len() as u64).to_be_bytes());
        into.update(bytes.unwrap_or_default());
    }
}

/// What the rows of a table hold, whatever their order: the two databases sort some texts differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sum {
    rows: u64,
    digests: [u64; 4],
}

impl Sum {
    fn add(&mut self, row: &[Value]) {
        let mut digest = Sha256::new();
        for value in row {
            value.digest(&mut digest);
        }
        self.rows += 1;
        for (sum, part) in self.digests.iter_mut().zip(digest.finalize().chunks_exact(8)) {
            let part = part.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
            *sum = sum.wrapping_add(part);
        }
    }
}

/// The names of some columns.
fn names(columns: &[(&'static str, Kind)]) -> String {
    columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// `$from, …` for so many values.
fn parameters(from: usize, count: usize) -> String {
    (from..from + count).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ")
}

/// The next rows behind a row.
async fn page(
    conn: &mut impl Writes,
    table: &Table,
    after: Option<&[Value]>,
) -> Result<Vec<Vec<Value>>, StoreError> {
    let key = names(&table.columns[..table.key]);
    let large = table.columns.iter().any(|(_, kind)| *kind == Kind::Bytes);
    let limit = if large { LARGE_PAGE } else { PAGE };
    let behind = after.map(|_| format!("WHERE ({key}) > ({})", parameters(1, table.key)));
    let statement = format!(
        "SELECT {} FROM {} {} ORDER BY {key} LIMIT {limit}",
        names(table.columns),
        table.name,
        behind.unwrap_or_default()
    );
    let args: Vec<Arg<'_>> = after.unwrap_or_default().iter().take(table.key).map(Value::arg).collect();
    let rows = conn.rows(&statement, &args).await?;
    let read = |row| table.columns.iter().map(|(name, kind)| Value::read(row, name, *kind)).collect();
    rows.iter().map(read).collect()
}

async fn insert(conn: &mut impl Writes, table: &Table, rows: &[Vec<Value>]) -> Result<(), StoreError> {
    let columns = table.columns.len();
    let values: Vec<String> =
        (0..rows.len()).map(|row| format!("({})", parameters(row * columns + 1, columns))).collect();
    let statement =
        format!("INSERT INTO {} ({}) VALUES {}", table.name, names(table.columns), values.join(", "));
    let args: Vec<Arg<'_>> = rows.iter().flatten().map(Value::arg).collect();
    conn.run(&statement, &args).await.map(drop)
}

/// The way through a table, page by page.
struct Walk<'a> {
    table: &'a Table,
    /// The primary key of the last row.
    last: Option<Vec<Value>>,
    sum: Sum,
}

impl<'a> Walk<'a> {
    fn new(table: &'a Table) -> Self {
        Self { table, last: None, sum: Sum::default() }
    }

    /// The next rows; none at the end.
    async fn next(&mut self, conn: &mut impl Writes) -> Result<Vec<Vec<Value>>, StoreError> {
        let rows = page(conn, self.table, self.last.as_deref()).await?;
        for row in &rows {
            self.sum.add(row);
        }
        self.last = rows.last().map(|row| row[..self.table.key].to_vec());
        Ok(rows)
    }

    fn progress(&self, comparing: bool) -> CopyProgress {
        CopyProgress { table: self.table.name, rows: self.sum.rows, comparing }
    }

    /// Goes through all of it.
    async fn sum(
        mut self,
        conn: &mut impl Writes,
        tell: &(dyn Fn(CopyProgress) + Send + Sync),
    ) -> Result<Sum, StoreError> {
        while !self.next(conn).await?.is_empty() {
            tell(self.progress(true));
        }
        Ok(self.sum)
    }
}

async fn is_empty(conn: &mut impl Writes) -> Result<bool, StoreError> {
    for table in &TABLES {
        if !conn.rows(&format!("SELECT 1 AS one FROM {} LIMIT 1", table.name), &[]).await?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Copies all rows and compares. The caller's transaction holds what was written.
pub(crate) async fn all(
    from: &mut impl Writes,
    to: &mut impl Writes,
    tell: &(dyn Fn(CopyProgress) + Send + Sync),
) -> Result<Copied, StoreError> {
    let already = !is_empty(to).await?;
    let mut tables = Vec::with_capacity(TABLES.len());
    for table in &TABLES {
        let mut walk = Walk::new(table);
        loop {
            let rows = walk.next(from).await?;
            if rows.is_empty() {
                break;
            }
            if !already {
                insert(to, table, &rows).await?;
            }
            tell(walk.progress(already));
        }
        let copy = Walk::new(table).sum(to, tell).await?;
        if copy != walk.sum {
            return Err(if already {
                StoreError::NotEmpty
            } else {
                StoreError::Differs { table: table.name }
            });
        }
        tables.push((table.name, copy.rows));
    }
    Ok(Copied { tables, already })
}

/// Refuses a database that is not the workspace's.
pub(crate) async fn belongs(conn: &mut impl Writes, workspace: &str) -> Result<(), StoreError> {
    let rows = conn.rows("SELECT value FROM meta WHERE name = 'workspace'", &[]).await?;
    let Some(row) = rows.first() else {
        return Err(StoreError::Migration("the source is empty: no bridge has worked on it".to_owned()));
    };
    let found = String::from_utf8_lossy(&row.bytes("value")?).into_owned();
    if found == workspace {
        return Ok(());
    }
    Err(StoreError::Workspace { found, expected: workspace.to_owned() })
}
