//! Every parser that sees bytes of strangers, with real bodies broken in many ways. None panics, and what comes out keeps
//! the promises about it. `PROPTEST_CASES` says how many cases each gets; a long run is
//! `PROPTEST_CASES=1000000 cargo test --release --workspace --test parsers`.

#![expect(clippy::unwrap_used, reason = "helpers of tests may end a test")]

mod broken;
mod dingtalk;
mod files;
mod matrix;
