//! What others rely on, as data: the stable codes, the metrics and the types of the HTTP API. The pages about them
//! are printed from here, and the bridge uses the same tables, so that neither can have what the other lacks.
//!
//! No I/O. A name in these tables never changes its meaning; one that is no longer used is removed with a line in the
//! changelog.

pub mod api;
pub mod codes;
pub mod metrics;
