//! What is counted about distributed transactions?

use prometheus::{IntCounter, IntGauge};

use super::register::Register;

/// Distributed transactions and their recovery.
#[derive(Debug)]
pub struct TwoPcMetrics {
    /// Transactions whose decision was COMMIT when the client was answered.
    pub committed: IntCounter,
    /// Transactions that were rolled back during their COMMIT.
    pub aborted: IntCounter,
    /// Committed transactions that were answered with warning 302: a branch was not finished yet.
    pub delayed: IntCounter,
    /// Branches that recovery committed.
    pub committed_branches: IntCounter,
    /// Branches that recovery rolled back.
    pub rolled_back_branches: IntCounter,
    /// Branches of committed transactions that their server had lost. Alarm: this must stay 0.
    pub integrity_errors: IntCounter,
    /// Branches that have been prepared for longer than the abandon age. Alarm when it stays above 0.
    pub unresolved_branches: IntGauge,
    /// Transactions of those branches.
    pub unresolved_transactions: IntGauge,
    /// How long the oldest prepared branch has been seen, in seconds.
    pub oldest_seconds: IntGauge,
    /// Prepared branches that name a shard which is not there. Alarm: nobody finishes them.
    pub strangers: IntGauge,
    /// Primaries whose prepared branches could not be listed in the last round.
    pub silent_servers: IntGauge,
    /// Shards that may not take part in distributed transactions.
    pub refused_shards: IntGauge,
    /// Decisions removed because they were older than `twopc_decision_retention`.
    pub purged: IntCounter,
}

// === impl TwoPcMetrics ===

impl TwoPcMetrics {
    pub(super) fn new(register: &Register) -> prometheus::Result<Self> {
        let outcomes = register.counters(
            "shardgate_twopc_transactions_total",
            "Distributed transactions by what their COMMIT came to",
            &["outcome"],
        )?;
        let recovered = register.counters(
            "shardgate_twopc_recovered_branches_total",
            "Branches that recovery finished",
            &["outcome"],
        )?;
        let unresolved = register.gauges(
            "vttablet_unresolved_transaction",
            "Branches (ResourceManager) and their transactions (MetadataManager) in doubt for too long",
            &["manager_type"],
        )?;
        Ok(Self {
            committed: outcomes.with_label_values(&["committed"]),
            aborted: outcomes.with_label_values(&["aborted"]),
            delayed: register.counter(
                "shardgate_twopc_delayed_total",
                "Committed transactions that were answered before all branches were finished",
            )?,
            committed_branches: recovered.with_label_values(&["committed"]),
            rolled_back_branches: recovered.with_label_values(&["rolled_back"]),
            integrity_errors: register.counter(
                "shardgate_twopc_integrity_errors_total",
                "Branches of committed transactions that their server had lost",
            )?,
            unresolved_branches: unresolved.with_label_values(&["ResourceManager"]),
            unresolved_transactions: unresolved.with_label_values(&["MetadataManager"]),
            oldest_seconds: register
                .gauge("shardgate_twopc_oldest_branch_seconds", "Age of the oldest prepared branch")?,
            strangers: register
                .gauge("shardgate_twopc_unknown_shard_branches", "Prepared branches of no known shard")?,
            silent_servers: register
                .gauge("shardgate_twopc_silent_servers", "Primaries that recovery could not ask")?,
            refused_shards: register
                .gauge("shardgate_twopc_refused_shards", "Shards without distributed transactions")?,
            purged: register.counter("shardgate_twopc_purged_decisions_total", "Old decisions removed")?,
        })
    }
}
