//! How does a server become a primary, and how does another one follow it?
//!
//! [`Server`] is one server with the statements of its family: MySQL's GTID sets, MariaDB's GTID
//! positions; [`planned`] switches a shard from one server to another. Nothing here runs by itself: `shardgate dev` and `ctl` ask for it.

mod near;
mod planned;
mod record;
mod resume;
mod server;

pub use planned::{Plan, Record, Switched, planned};
pub use record::{DirectoryRecord, FileRecord};
pub use server::{Family, Server, Source};

/// Why a step of replication failed: which server, which step, what it said.
#[derive(Debug, thiserror::Error)]
#[error("{server}: {step}: {detail}")]
pub struct StepError {
    /// The server's alias or address.
    pub server: String,
    /// What was being done.
    pub step: &'static str,
    /// The server's own words, or what did not happen.
    pub detail: String,
}

/// The result of a step.
pub type Step<T> = std::result::Result<T, StepError>;
