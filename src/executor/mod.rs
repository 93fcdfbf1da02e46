//! How does a plan become rows, affected rows, or an error?
//!
//! Operators ([`stream`]) read single columns of rows that are otherwise opaque bytes, on the
//! session's own task.

mod aggregate;
mod collation;
mod compare;
mod distinct;
mod limit;
mod memory;
mod merge;
mod number;
mod row;
mod sort;
mod stream;
mod truncate;

pub use memory::MemoryBudget;
pub use row::{RowFormat, Shape};
pub use stream::{BATCH_ROWS, RowBatch, RowStream};
