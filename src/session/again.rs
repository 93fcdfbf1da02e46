//! When does a statement run again after its server failed it?
//!
//! Nothing that changed rows is sent twice. A statement runs again only when
//!
//! - it was certainly not executed: not sent, or answered by a server that takes no writes at the moment
//!   (its transaction, if the gate began one around it, is rolled back by then), or
//! - it only reads, outside a transaction, calls no function that could do more, and the client has got
//!   nothing of its answer yet.
//!
//! Before it does, it waits in the buffer until the shard's primary takes statements. A transaction that
//! has done something on a server which takes no writes any more is lost: VT15001, then VT09032 until
//! ROLLBACK.

use std::time::Duration;

use super::Session;
use super::interrupt::interruptible;
use super::reply::Stop;
use crate::error::{Outcome, SqlError};
use crate::health::Waited;
use crate::key::TabletType;
use crate::planner::Plan;
use crate::sql::{self, StatementKind};

/// How often a statement runs at most.
const RUNS: u32 = 6;

/// For how long a statement waits before its server is asked about the failure, after its first, second, …
/// run. While a server is made read-only there is a moment when it refuses writes and still says that it
/// takes them, which a busy machine can make a long one; and the pool of a server that has returned
/// finds that out by itself, a `backend.health_interval` later.
const PAUSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_secs(1),
];

impl Session {
    /// After the `run`th run of the statement that was read last ended in this error: none where it may
    /// run again now, else what the client reads.
    ///
    /// # Errors
    /// The waiting was interrupted.
    pub(super) async fn run_again(
        &mut self,
        error: SqlError,
        plan: &Plan,
        text: &[u8],
        run: u32,
    ) -> Result<Option<SqlError>, Stop> {
        let Some((shard, outcome)) = error.trouble() else { return Ok(Some(error)) };
        let shard = shard.to_owned();
        if run >= RUNS || self.transactions.is_failed() {
            return Ok(Some(error));
        }
        let in_transaction = self.transactions.is_open();
        let reads = matches!(plan.kind, StatementKind::Select | StatementKind::Show);
        let may = match outcome {
            Outcome::NotSent => true,
            Outcome::Refused => reads || plan.kind.is_change() || plan.kind == StatementKind::LockingSelect,
            Outcome::Unknown => {
                let statement = self.normalizer.statement(text);
                reads && !in_transaction && !sql::calls_unknown_function(&statement)
            }
        };
        if self.scope.target.tablet_type != TabletType::Primary {
            // Another replica takes it; whichever failed is soon known to be away.
            let again = may && outcome != Outcome::Refused && !in_transaction;
            return Ok((!again).then_some(error));
        }
        let entry = self.registration.entry();
        let health = &self.shared.health;
        if in_transaction && !self.transactions.leave_refusing(&shard) {
            interruptible(&mut self.client, entry, std::pin::pin!(health.check(&shard)))
                .await
                .map_err(Stop::Interrupted)?;
            if outcome == Outcome::Refused && health.refuses(&shard) {
                self.transactions.fail().await;
                return Ok(Some(SqlError::transaction_lost(&shard).caused_by(error)));
            }
            return Ok(Some(error));
        }
        // The shard is looked at in any case: others learn from this failure.
        let pause = PAUSES.get(run as usize - 1).filter(|_| outcome != Outcome::Unknown);
        let wait = async {
            if let Some(pause) = pause {
                tokio::time::sleep(*pause).await;
            }
            health.wait(&shard, outcome).await
        };
        let waited = interruptible(&mut self.client, entry, std::pin::pin!(wait)).await;
        Ok(match waited.map_err(Stop::Interrupted)? {
            Waited::Serving if may => None,
            Waited::Serving | Waited::No => Some(error),
            Waited::Refused(refused) => Some(refused.caused_by(error)),
        })
    }
}
