//! What is counted about deadlocks over several shards?

use prometheus::{Histogram, IntCounter};

use super::register::{Register, SECONDS};

/// Deadlocks over several shards.
#[derive(Debug)]
pub struct DeadlockMetrics {
    /// Times that servers were asked for lock waits.
    pub looks: IntCounter,
    /// Transactions of this gate that were rolled back.
    pub victims: IntCounter,
    /// Times that a server did not tell its lock waits.
    pub failures: IntCounter,
    /// How long the statement that was given up had run, in seconds. Largest bucket: 10 s.
    pub seconds: Histogram,
}

// === impl DeadlockMetrics ===

impl DeadlockMetrics {
    pub(super) fn new(register: &Register) -> prometheus::Result<Self> {
        Ok(Self {
            looks: register.counter(
                "shardgate_deadlock_looks_total",
                "Times that lock waits were read because a transaction on several shards waited",
            )?,
            victims: register.counter(
                "shardgate_deadlock_victims_total",
                "Transactions rolled back because they were in a deadlock over several shards",
            )?,
            failures: register.counter(
                "shardgate_deadlock_unread_servers_total",
                "Times that a server did not tell its lock waits",
            )?,
            seconds: register.histogram(
                "shardgate_deadlock_resolution_seconds",
                "How long the statement had run whose transaction was rolled back, in seconds",
                &SECONDS,
            )?,
        })
    }
}
