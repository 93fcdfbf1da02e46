//! How does a transaction end on all its shards?
//!
//! One shard: a plain COMMIT. Several: those that wrote commit one after the other in the order in
//! which they were first touched, so that the first failure stops the rest; those that only read end
//! last, together. Entries of consistent lookups commit before and after the rows ([`Stage`]). After a failure the shards that have not committed are rolled back. If some had
//! committed already, the client gets the error and warning 301 with their names (Vitess's
//! `NonAtomicCommit`).

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::{Pin, Raised, ShardTransactions, Stage, Warning};
use crate::error::{Result, SqlError};

/// How long rolling back may take before the connections are closed instead, which rolls back too.
pub(super) const ROLLBACK_DEADLINE: Duration = Duration::from_secs(5);

/// Warning 301 names at most this many shards.
pub(super) const NAMED_SHARDS: usize = 16;

/// A commit that did not reach all shards.
#[derive(Debug)]
pub struct CommitError {
    /// What the client reads.
    pub error: SqlError,
    /// The shards that had committed before.
    pub committed: Vec<String>,
}

// === impl ShardTransactions ===

impl ShardTransactions {
    /// COMMIT. The transaction is over afterwards, whatever the result; warning 301 is kept for
    /// [`ShardTransactions::take_warnings`].
    ///
    /// Not cancel safe: a future that is dropped leaves some shards committed and the rest rolled
    /// back, or under two-phase commit leaves the transaction to recovery. [`Self::shield`] is up
    /// meanwhile.
    ///
    /// # Errors
    /// VT09032 after a lost connection (the transaction stays failed); the first shard's error; 303
    /// where the outcome of a distributed transaction is unknown.
    pub async fn commit(&mut self) -> Result<(), CommitError> {
        self.check().map_err(|error| CommitError { error, committed: Vec::new() })?;
        let _raised: Raised = self.shield.raise();
        if let Some(distributed) = self.distributed.take() {
            let committed = Box::pin(self.commit_distributed(distributed)).await;
            return committed.map_err(|error| CommitError { error, committed: Vec::new() });
        }
        let committed = self.commit_writers().await;
        if let Err(failed) = &committed {
            if !failed.committed.is_empty() {
                self.warnings.push(partial_commit(&failed.committed));
            }
            self.rollback().await;
            return committed;
        }
        // Shards that only read have nothing to lose: a failure there is no failure of the commit.
        let readers = self.pins.iter_mut().filter(|pin| !pin.wrote);
        join_all(readers.map(async |pin: &mut Pin| pin.commit().await)).await;
        self.close();
        Ok(())
    }

    async fn commit_writers(&mut self) -> Result<(), CommitError> {
        // What these leave behind, should the rest fail, are entries without rows.
        for pin in self.pins.iter_mut().filter(|pin| pin.wrote && pin.stage == Stage::Before) {
            pin.commit().await.map_err(|error| CommitError { error, committed: Vec::new() })?;
        }
        let mut committed = Vec::new();
        for pin in self.pins.iter_mut().filter(|pin| pin.wrote && pin.stage == Stage::Within) {
            let name = pin.name();
            match pin.commit().await {
                Ok(()) => committed.push(name),
                Err(error) => return Err(CommitError { error, committed }),
            }
        }
        // The rows are committed: entries that stay behind have none, and are taken over by the next.
        let after = self.pins.iter_mut().filter(|pin| pin.wrote && pin.stage == Stage::After);
        for (pin, done) in join_all(after.map(async |pin: &mut Pin| (pin.name(), pin.commit().await))).await {
            if let Err(error) = done {
                tracing::warn!(shard = pin, %error, "entries of a lookup table outlive their rows");
            }
        }
        Ok(())
    }

    /// ROLLBACK, on all shards at once. The transaction is over afterwards.
    pub async fn rollback(&mut self) {
        let open = self.pins.iter_mut().filter(|pin| !pin.is_lost());
        let all = join_all(open.map(async |pin: &mut Pin| {
            pin.clear().await;
            if pin.is_lost() { Ok(()) } else { pin.rollback().await }
        }));
        // What does not answer in time is closed with its lease, and rolled back by its server.
        if timeout(ROLLBACK_DEADLINE, all).await.is_err() {
            tracing::warn!(shards = self.pins.len(), "rollback took too long; connections are closed");
        }
        self.hear();
        self.close();
    }
}

fn partial_commit(committed: &[String]) -> Warning {
    let mut names = committed.iter().take(NAMED_SHARDS).cloned().collect::<Vec<_>>().join(", ");
    if committed.len() > NAMED_SHARDS {
        names.push_str(", ...");
    }
    let message = format!("multi-db commit failed after committing to {} shards: {names}", committed.len());
    Warning { code: 301, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warning_301_names_sixteen_shards() {
        let names = |count: usize| (0..count).map(|n| format!("ks/{n}")).collect::<Vec<_>>();
        let warning = partial_commit(&names(2));
        assert_eq!(warning.code, 301);
        assert_eq!(warning.message, "multi-db commit failed after committing to 2 shards: ks/0, ks/1");
        let long = partial_commit(&names(17)).message;
        assert!(long.contains("after committing to 17 shards") && long.ends_with("ks/15, ..."));
    }
}
