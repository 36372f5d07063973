//! Which rows are sealed with which key, and sealing anew what an old key sealed.

/// How many sealed rows need which key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sealing {
    /// Rows sealed with the current key.
    pub current: u64,
    /// Rows sealed with each of the old keys, in the order in which they were given.
    pub old: Vec<u64>,
    /// Rows sealed with a key that was not given. They do not open.
    pub unknown: u64,
}

impl Sealing {
    /// Rows for which another key than the current one is needed. At zero all other keys can go.
    pub fn rows_with_old_keys(&self) -> u64 {
        self.old.iter().sum::<u64>() + self.unknown
    }
}

/// How far sealing anew has come; begins with the default. It need not be kept: what is done is not found again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResealPosition {
    /// Index of the table.
    pub(crate) table: usize,
    /// The last row of it that was looked at.
    pub(crate) after: Option<String>,
}

/// What one step of sealing anew did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resealed {
    /// Rows that now have the current key.
    pub rows: u64,
    /// Rows that do not open although their key was given: changed from outside. They are left as they are.
    pub unreadable: u64,
    /// Where the next step begins; none when all tables were gone through.
    pub next: Option<ResealPosition>,
}

/// A row that was sealed anew. It is written only where the former value still stands: what a commit changed or
/// removed meanwhile is not overwritten, and has the current key anyway.
pub struct ResealedRow {
    /// Index of the table.
    pub(crate) table: usize,
    /// Its primary key, as text.
    pub(crate) key: String,
    pub(crate) before: Vec<u8>,
    pub(crate) after: Vec<u8>,
}
