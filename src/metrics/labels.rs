//! Which values may the labels take that are not names of the topology?
//!
//! Labels come from these closed enums and from the bounded set of keyspaces, shards and tablets;
//! never from a client's text.

/// What kind of call a client made, the `operation` of Vitess's `vtgate_api`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A text statement.
    Execute,
    /// A text statement under `SET workload = 'olap'`.
    StreamExecute,
    /// A prepared statement's execution.
    ExecutePrepared,
    /// COM_STMT_PREPARE.
    Prepare,
}

/// How the shard transactions of one session are committed, as in `vtgate_commit_mode_timings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommitMode {
    /// At most one shard took part.
    Single,
    /// Several shards, one after the other.
    Multi,
    /// Two-phase commit.
    TwoPc,
}

/// How a transaction ended, the `type` of `vtgate_transactions_processed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TransactionEnd {
    /// COMMIT.
    Commit,
    /// ROLLBACK, by the client or because its connection ended.
    Rollback,
}

/// How many shards a transaction touched, the `shard` of `vtgate_transactions_processed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ShardSpread {
    /// None or one.
    Single,
    /// More than one.
    Cross,
}

/// Why a backend connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Idle for longer than `backend.idle_timeout`.
    Idle,
    /// Older than `backend.max_lifetime`.
    Lifetime,
    /// The socket or the protocol broke.
    Broken,
    /// It could not be made clean within its deadline.
    Unclean,
    /// The pool became smaller, or its server left the topology.
    Retired,
    /// The gate is stopping.
    Shutdown,
}

/// The `type` of `vtgate_warnings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WarningKind {
    /// More rows were held at the gate than the warning threshold.
    ResultsExceeded,
    /// A statement was larger than the warning threshold.
    WarnPayloadSizeExceeded,
    /// A commit went through on some shards only.
    NonAtomicCommit,
    /// A scatter that should have been a single-shard query, with `warn_sharded_only`.
    WarnShardedOnly,
}

// === impl Operation ===

impl Operation {
    /// Vitess's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Execute => "Execute",
            Self::StreamExecute => "StreamExecute",
            Self::ExecutePrepared => "ExecutePrepared",
            Self::Prepare => "Prepare",
        }
    }
}

// === impl CommitMode ===

impl CommitMode {
    /// Every mode, in the order of [`CommitMode::index`].
    pub(super) const ALL: [Self; 3] = [Self::Single, Self::Multi, Self::TwoPc];

    /// Vitess's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Single => "Single",
            Self::Multi => "Multi",
            Self::TwoPc => "TwoPC",
        }
    }

    pub(super) fn index(self) -> usize {
        match self {
            Self::Single => 0,
            Self::Multi => 1,
            Self::TwoPc => 2,
        }
    }
}

// === impl TransactionEnd ===

impl TransactionEnd {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Commit => "Commit",
            Self::Rollback => "Rollback",
        }
    }
}

// === impl ShardSpread ===

impl ShardSpread {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Single => "Single",
            Self::Cross => "Cross",
        }
    }
}

// === impl CloseReason ===

impl CloseReason {
    /// Every reason, in the order of [`CloseReason::index`].
    pub(super) const ALL: [Self; 6] =
        [Self::Idle, Self::Lifetime, Self::Broken, Self::Unclean, Self::Retired, Self::Shutdown];

    /// The label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::Broken => "broken",
            Self::Unclean => "unclean",
            Self::Retired => "retired",
            Self::Shutdown => "shutdown",
        }
    }

    pub(super) fn index(self) -> usize {
        match self {
            Self::Idle => 0,
            Self::Lifetime => 1,
            Self::Broken => 2,
            Self::Unclean => 3,
            Self::Retired => 4,
            Self::Shutdown => 5,
        }
    }
}

// === impl WarningKind ===

impl WarningKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::ResultsExceeded => "ResultsExceeded",
            Self::WarnPayloadSizeExceeded => "WarnPayloadSizeExceeded",
            Self::NonAtomicCommit => "NonAtomicCommit",
            Self::WarnShardedOnly => "WarnShardedOnly",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_follow_the_lists() {
        for (index, mode) in CommitMode::ALL.into_iter().enumerate() {
            assert_eq!(mode.index(), index);
        }
        for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }
}
