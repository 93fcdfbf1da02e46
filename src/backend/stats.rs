//! What does a pool look like at one moment?

/// A snapshot of one pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolStats {
    /// Connections that the pool may hold.
    pub capacity: usize,
    /// Connections that lie idle.
    pub idle: usize,
    /// Connections that are leased, or being opened or made clean.
    pub in_use: usize,
    /// Leases that wait.
    pub waiting: usize,
    /// Connections opened since the start.
    pub opened: u64,
    /// Connections that could not be opened.
    pub open_failures: u64,
    /// Connections closed, for any reason; the metrics tell them apart.
    pub closed: u64,
    /// Leases since the start.
    pub leases: u64,
    /// Leases that had to wait.
    pub waits: u64,
    /// Leases that gave up waiting.
    pub timeouts: u64,
    /// Connections reset before their next use.
    pub resets: u64,
    /// Leases that had to apply settings.
    pub settings_applied: u64,
    /// Whether the server can be reached, as far as is known.
    pub healthy: bool,
}
