//! shardgate: one MySQL port over many shards.

pub mod backend;
pub mod config;
pub mod dev;
pub mod error;
pub mod executor;
pub mod frontend;
pub mod key;
pub mod metrics;
pub mod planner;
pub mod protocol;
pub mod server;
pub mod session;
pub mod sql;
pub mod topology;
pub mod transaction;
pub mod value;
pub mod vindex;
pub mod vschema;

#[cfg(test)]
mod tidy;
