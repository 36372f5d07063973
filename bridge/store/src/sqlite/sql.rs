//! Statements for many rows.

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{AssertSqlSafe, Sqlite};

use crate::error::StoreError;

/// Rows per statement. Few sizes, so that few texts are prepared and kept.
const CHUNKS: [usize; 4] = [64, 16, 4, 1];

pub(super) type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

/// Cuts rows into pieces of [`CHUNKS`] sizes.
pub(super) fn chunks<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let size = CHUNKS.into_iter().find(|size| *size <= rest.len())?;
        let (piece, others) = rest.split_at(size);
        rest = others;
        Some(piece)
    })
}

/// `head (?, ?), (?, ?) tail` for some rows of some columns.
pub(super) fn with_rows(head: &str, columns: usize, rows: usize, tail: &str) -> AssertSqlSafe<String> {
    let row = format!("({})", vec!["?"; columns].join(", "));
    // Heads and tails are literals of this crate; values are bound.
    AssertSqlSafe(format!("{head} {} {tail}", vec![row.as_str(); rows].join(", ")))
}

/// Inserts rows with as few statements as possible. `head` ends in `VALUES`.
pub(super) async fn insert<T>(
    conn: &mut SqliteConnection,
    head: &str,
    columns: usize,
    tail: &str,
    rows: &[T],
    bind: impl for<'q> Fn(Statement<'q>, &'q T) -> Statement<'q>,
) -> Result<(), StoreError> {
    for piece in chunks(rows) {
        let statement = sqlx::query(with_rows(head, columns, piece.len(), tail));
        piece.iter().fold(statement, &bind).execute(&mut *conn).await.map_err(StoreError::from)?;
    }
    Ok(())
}

/// Runs `head (?, ?, …) tail` for numbers, in pieces.
pub(super) async fn for_numbers(
    conn: &mut SqliteConnection,
    head: &str,
    numbers: &[i64],
    tail: &str,
) -> Result<(), StoreError> {
    for piece in chunks(numbers) {
        let statement = sqlx::query(with_rows(head, piece.len(), 1, tail));
        let statement = piece.iter().fold(statement, |statement, number| statement.bind(*number));
        statement.execute(&mut *conn).await.map_err(StoreError::from)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_into_few_sizes() {
        let rows: Vec<u8> = vec![0; 64 + 16 + 4 + 4 + 1];
        assert_eq!(chunks(&rows).map(<[u8]>::len).collect::<Vec<_>>(), [64, 16, 4, 4, 1]);
        assert_eq!(chunks::<u8>(&[]).count(), 0);
    }
}
