//! Values that go into statements and come out of rows, the same for every database.

use crate::error::StoreError;

/// A value for one `$n` of a statement.
#[derive(Clone, Copy)]
pub(crate) enum Arg<'a> {
    /// A text, or none.
    Text(Option<&'a str>),
    /// A number, or none.
    Number(Option<i64>),
    /// Yes or no.
    Flag(bool),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Many texts; a statement reads them by [`Reads::TEXTS`].
    Texts(&'a [String]),
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<&'a String> for Arg<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<Option<&'a str>> for Arg<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Arg<'_> {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<u8> for Arg<'_> {
    fn from(number: u8) -> Self {
        Self::Number(Some(number.into()))
    }
}

impl From<u32> for Arg<'_> {
    fn from(number: u32) -> Self {
        Self::Number(Some(number.into()))
    }
}

impl From<Option<u32>> for Arg<'_> {
    fn from(number: Option<u32>) -> Self {
        Self::Number(number.map(i64::from))
    }
}

impl From<bool> for Arg<'_> {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl<'a> From<&'a Vec<u8>> for Arg<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a [String]> for Arg<'a> {
    fn from(texts: &'a [String]) -> Self {
        Self::Texts(texts)
    }
}

/// A row, by the names of its columns.
pub(crate) trait Columns {
    /// A text that is there.
    fn text(&self, column: &'static str) -> Result<String, StoreError>;
    /// A text that may be missing.
    fn maybe_text(&self, column: &'static str) -> Result<Option<String>, StoreError>;
    /// A number that is there.
    fn number(&self, column: &'static str) -> Result<i64, StoreError>;
    /// A number that may be missing.
    fn maybe_number(&self, column: &'static str) -> Result<Option<i64>, StoreError>;
    /// Yes or no.
    fn flag(&self, column: &'static str) -> Result<bool, StoreError>;
    /// Bytes that are there.
    fn bytes(&self, column: &'static str) -> Result<Vec<u8>, StoreError>;

    /// A number that fits into a byte; any other becomes the one that no enumeration uses.
    fn small(&self, column: &'static str) -> Result<u8, StoreError> {
        Ok(u8::try_from(self.number(column)?).unwrap_or(u8::MAX))
    }
}

/// Connections for reading.
pub(crate) trait Reads: Send + Sync + 'static {
    /// What a row comes as.
    type Row: Columns + Send;

    /// The texts of the value `@`, an [`Arg::Texts`], as a subquery.
    const TEXTS: &'static str;

    /// All rows of a statement.
    fn rows<'a>(
        &'a self,
        statement: &'a str,
        args: &'a [Arg<'a>],
    ) -> impl Future<Output = Result<Vec<Self::Row>, StoreError>> + Send + 'a;

    /// Whether the database is sound. Reads all of it.
    fn check(&self) -> impl Future<Output = Result<(), StoreError>> + Send + '_;

    /// Bytes on disk.
    fn size_bytes(&self) -> impl Future<Output = Result<u64, StoreError>> + Send + '_;

    /// Ends the connections; later calls are refused.
    fn close(&self) -> impl Future<Output = ()> + Send + '_;

    /// The first row of a statement.
    fn row<'a>(
        &'a self,
        statement: &'a str,
        args: &'a [Arg<'a>],
    ) -> impl Future<Output = Result<Option<Self::Row>, StoreError>> + Send + 'a {
        async move { Ok(self.rows(statement, args).await?.into_iter().next()) }
    }
}
