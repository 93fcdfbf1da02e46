//! What must be done with a statement, and on which shards?
//!
//! Planning is pure: no I/O, not async, and the list of shards is unknown here. The same statement
//! over the same VSchema gives the same plan, so plans are text files in `testdata/plans`.

mod plan;
mod routing;

pub use plan::*;
pub use routing::{Condition, Routing};
