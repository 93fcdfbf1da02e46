//! How does a transaction on several shards commit on all of them or on none?
//!
//! The first shard is the anchor, with a plain transaction; every further one is an XA branch, begun
//! with its first statement. COMMIT, where more than one shard has written:
//!
//! 1. *Prepare*, all at once: each branch that wrote is prepared, and the anchor's transaction gets the
//!    row that says COMMIT. Nobody can see that row yet.
//! 2. *Decide*: the anchor commits. From here on the transaction is committed, everywhere, whatever
//!    happens to whom.
//! 3. *Finish*, all at once: the prepared branches commit, those that only read end.
//!
//! The row goes with the first step and not with the second, because a pipelined COMMIT would commit
//! the anchor without it, should the row be refused. It stays locked until the anchor's transaction
//! ends, so recovery's tombstone waits for that end and cannot come in between.
//!
//! Any failure before the anchor's COMMIT has left rolls everything back. A COMMIT without answer is
//! never guessed at: the anchor's server is asked on another connection, and where it does not tell,
//! the client gets 303 with the id.
//!
//! A future that is dropped leaves what a dead gate leaves: unprepared work is rolled back by its
//! server, prepared branches stay for recovery. Their connections are closed and never reset.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::time::{Instant, timeout, timeout_at};

use super::commit::{NAMED_SHARDS, ROLLBACK_DEADLINE};
use super::{NextTransaction, Pin, Place, ShardTransactions, Warning};
use crate::backend::BackendError;
use crate::config::TransactionMode;
use crate::error::{Result, SqlError};
use crate::failpoint;
use crate::key::TabletType;
use crate::topology::Shard;
use crate::twopc::{Dtid, Live, Participant, ShardId, Verdict};

/// A transaction that stands on more than one shard.
#[derive(Debug)]
pub(super) struct Distributed {
    live: Live,
    anchor: Place,
}

/// The shards of a transaction that is being committed.
struct Commit {
    live: Live,
    /// None once its connection was given up.
    anchor: Option<Pin>,
    /// Branches that wrote.
    writers: Vec<Pin>,
    /// Branches that only read.
    readers: Vec<Pin>,
}

// === impl Distributed ===

impl Distributed {
    pub(super) fn dtid(&self) -> &Dtid {
        self.live.dtid()
    }

    /// Nothing of it was prepared anywhere.
    pub(super) fn forget(mut self) {
        self.live.settle();
    }
}

// === impl ShardTransactions ===

impl ShardTransactions {
    /// Makes the transaction a distributed one where these shards are more than its first.
    ///
    /// # Errors
    /// VT10002 where one of the shards may not take part; VT12001 for a snapshot over several.
    pub(super) async fn distribute(&mut self, fresh: &[&Place]) -> Result<()> {
        let several = !fresh.is_empty() && self.pins.len() + fresh.len() > 1;
        if self.mode == TransactionMode::TwoPc && self.characteristics.consistent_snapshot && several {
            // Shards join one after the other, and what commits in between would be there on the later ones
            // and not on the earlier: half of a transaction that is promised to be whole.
            return Err(SqlError::unsupported(
                "START TRANSACTION WITH CONSISTENT SNAPSHOT over several shards under transaction_mode = twopc",
            ));
        }
        let reads_only = self.characteristics.read_only == Some(true);
        if self.mode != TransactionMode::TwoPc || reads_only {
            return Ok(());
        }
        let is_primary = |place: &&Place| place.tablet.kind == TabletType::Primary;
        let joined: Vec<&Place> = fresh.iter().copied().filter(is_primary).collect();
        let first = match &self.distributed {
            Some(distributed) => Some(&distributed.anchor),
            None => self.pins.iter().map(|pin| &pin.place).find(is_primary),
        };
        let (anchor, others) = match (first, joined.split_first()) {
            (Some(anchor), _) if !joined.is_empty() => (anchor.clone(), &joined[..]),
            (None, Some((anchor, others))) if !others.is_empty() => ((*anchor).clone(), others),
            _ => return Ok(()),
        };
        if self.keeps() {
            return Err(beside_temporary_tables());
        }
        let Some(twopc) = &self.twopc else { return Err(SqlError::unsupported("transaction_mode = twopc")) };
        let shards: Vec<&Arc<Shard>> =
            std::iter::once(&anchor.shard).chain(others.iter().map(|place| &place.shard)).collect();
        twopc.ready(&shards).await?;
        if self.distributed.is_none() {
            self.distributed = Some(Distributed { live: twopc.begin(&anchor.shard), anchor });
        }
        Ok(())
    }

    /// Whether a connection of the open transaction may be kept: not a distributed one's, whose connections
    /// end with their branches.
    ///
    /// # Errors
    /// VT12001.
    pub(super) fn check_keeping(&self) -> Result<()> {
        if self.distributed.is_some() { Err(beside_temporary_tables()) } else { Ok(()) }
    }

    /// Begins a branch on a shard that has just joined; false where it gets a plain transaction.
    pub(super) fn begin_branch(&self, pin: &mut Pin) -> bool {
        let Some(Distributed { live, anchor }) = &self.distributed else { return false };
        if pin.is_on(&anchor.shard) || pin.place.tablet.kind != TabletType::Primary {
            return false;
        }
        let xid = live.branch(&pin.place.shard);
        // XA START takes no characteristics of its own, but those of the next transaction.
        let next = NextTransaction {
            isolation: self.characteristics.isolation.clone(),
            read_only: self.characteristics.read_only,
        };
        if let Some(statement) = next.statement() {
            pin.lease.send_prelude(&statement);
        }
        pin.lease.begin_branch(&xid);
        pin.branch = Some(xid);
        self.send_savepoints(pin);
        true
    }

    /// COMMIT of a distributed transaction, which is over afterwards.
    ///
    /// # Errors
    /// Why it was rolled back everywhere; 303 where nobody can tell.
    pub(super) async fn commit_distributed(&mut self, distributed: Distributed) -> Result<()> {
        let Distributed { mut live, anchor: place } = distributed;
        join_all(self.pins.iter_mut().map(Pin::clear)).await;
        if let Some(lost) = self.pins.iter().find(|pin| pin.is_lost()) {
            let error = SqlError::transaction_lost(&lost.name());
            self.rollback().await;
            live.settle();
            return Err(error);
        }
        let writers = self.pins.iter().filter(|pin| pin.has_written()).count();
        if writers <= 1 {
            let done = self.commit_one_phase().await;
            live.settle();
            return done;
        }
        let pins = std::mem::take(&mut self.pins);
        // From here on the session has no transaction: a dropped future must not leave an empty one.
        self.close();
        let mut anchor = None;
        let (mut writers, mut readers) = (Vec::new(), Vec::new());
        for pin in pins {
            match &pin.branch {
                None if pin.is_on(&place.shard) => anchor = Some(pin),
                Some(_) if pin.has_written() => writers.push(pin),
                _ => readers.push(pin),
            }
        }
        let anchor = match anchor {
            Some(anchor) => anchor,
            // Its transaction was ended by a stored routine. A new one carries the decision.
            None => match begin_anchor(&live, place).await {
                Ok(anchor) => anchor,
                Err(error) => {
                    roll_back(writers.iter_mut().chain(&mut readers)).await;
                    live.settle();
                    return Err(error);
                }
            },
        };
        let commit = Commit { live, anchor: Some(anchor), writers, readers };
        let (done, warning) = commit.run().await;
        self.warnings.extend(warning);
        done
    }

    /// At most one shard wrote: it commits first, then the others end.
    async fn commit_one_phase(&mut self) -> Result<()> {
        failpoint::reach("one-phase").await;
        if let Some(writer) = self.pins.iter_mut().find(|pin| pin.has_written())
            && let Err(error) = writer.commit().await
        {
            self.rollback().await;
            return Err(error);
        }
        join_all(self.pins.iter_mut().filter(|pin| !pin.is_over()).map(Pin::commit)).await;
        self.close();
        Ok(())
    }
}

// === impl Commit ===

impl Commit {
    /// Goes through the steps.
    async fn run(mut self) -> (Result<()>, Option<Warning>) {
        let twopc = Arc::clone(self.live.twopc());
        let metrics = twopc.metrics();
        failpoint::reach("before-prepare").await;
        let committed = async {
            self.prepare(twopc.config().abandon_age).await?;
            failpoint::reach("all-prepared").await;
            self.decide(twopc.config().decide_timeout).await
        };
        let committed = committed.await;
        match committed {
            Ok(Some(())) => {
                failpoint::reach("decided").await;
                metrics.twopc.committed.inc();
                let warning = self.finish(twopc.config().commit_wait).await;
                failpoint::reach("finished").await;
                if warning.is_some() {
                    metrics.twopc.delayed.inc();
                }
                (Ok(()), warning)
            }
            Ok(None) => {
                metrics.query.commit_unresolved.inc();
                tracing::error!(dtid = %self.live.dtid(), "the outcome of a distributed transaction is unknown");
                // The connections of the branches close with this, and recovery finds the transaction.
                (Err(SqlError::twopc_unknown(self.live.dtid().as_str())), None)
            }
            Err(error) => {
                metrics.twopc.aborted.inc();
                self.abort().await;
                failpoint::reach("aborted").await;
                (Err(error), None)
            }
        }
    }

    /// Step 1.
    ///
    /// # Errors
    /// Any shard's: nothing was decided, and nothing will be but ABORT.
    async fn prepare(&mut self, limit: Duration) -> Result<()> {
        let Some(anchor) = &mut self.anchor else { return Err(SqlError::bug("a commit without its anchor")) };
        let of =
            |pin: &Pin| Participant { shard: ShardId::of(&pin.place.shard), changed: pin.has_changed_rows() };
        let participants: Vec<Participant> =
            anchor.has_written().then(|| of(anchor)).into_iter().chain(self.writers.iter().map(of)).collect();
        let row = self.live.commit_row(&participants);
        let begun = Instant::now();
        let name = anchor.name();
        let write = async {
            failpoint::reach("decision-insert").await;
            anchor.lease.shorten_wait();
            anchor.lease.run(row.as_bytes()).await.map(drop)
        };
        let branches = self.writers.iter_mut().enumerate().map(async |(at, pin)| {
            if at > 0 {
                failpoint::reach("prepare-not-first").await;
            }
            prepare_branch(pin).await
        });
        let too_slow = SqlError::twopc_aborted(self.live.dtid().as_str(), "preparing took too long");
        let Ok((written, prepared)) = timeout(limit, join(write, join_all(branches))).await else {
            return Err(too_slow);
        };
        for (pin, prepared) in self.writers.iter().zip(prepared) {
            prepared.map_err(|error| abort_error(error, &pin.name()))?;
        }
        match written {
            Ok(()) => {}
            Err(BackendError::Server(error)) if error.code() == 1062 => {
                // Somebody has decided already. Nobody but an operator decides for COMMIT.
                let dtid = self.live.dtid().clone();
                match self.live.twopc().verdict(&dtid, begun + limit).await {
                    Some(Verdict::Commit) => {}
                    _ => return Err(SqlError::twopc_aborted(dtid.as_str(), "it was aborted by recovery")),
                }
            }
            Err(error) => return Err(abort_error(error, &name)),
        }
        // After a long pause of this process (SIGSTOP, a frozen machine) the servers have moved on.
        if begun.elapsed() > limit { Err(too_slow) } else { Ok(()) }
    }

    /// Step 2: some where the transaction is committed, none where nobody can tell.
    ///
    /// # Errors
    /// The transaction is aborted, and no gate can commit it any more.
    async fn decide(&mut self, limit: Duration) -> Result<Option<()>> {
        let deadline = Instant::now() + limit;
        let Some(mut anchor) = self.anchor.take() else {
            return Err(SqlError::bug("a commit without its anchor"));
        };
        anchor.lease.restore_wait();
        anchor.lease.send_query(b"COMMIT");
        let answer = async {
            anchor.lease.flush().await?;
            failpoint::reach("commit-sent").await;
            anchor.lease.finish().await
        };
        let error = match timeout_at(deadline, answer).await {
            Ok(Ok(_)) => return Ok(Some(())),
            Ok(Err(BackendError::Server(error))) => {
                // A refused COMMIT has rolled back, as a rule. The row must not stay locked by ours.
                let rollback = anchor.lease.run(b"ROLLBACK");
                if !timeout(ROLLBACK_DEADLINE, rollback).await.is_ok_and(|done| done.is_ok()) {
                    anchor.close();
                }
                error
            }
            // Closed and not killed: a COMMIT that waits for a replica would go on without it.
            Ok(Err(error)) => {
                anchor.close();
                abort_error(error, &anchor.name())
            }
            Err(_) => {
                anchor.close();
                SqlError::query_timeout()
            }
        };
        drop(anchor);
        tracing::warn!(dtid = %self.live.dtid(), %error, "the anchor's COMMIT gave no clear answer");
        let dtid = self.live.dtid().clone();
        match self.live.twopc().verdict(&dtid, deadline).await {
            Some(Verdict::Commit) => Ok(Some(())),
            Some(Verdict::Abort) => Err(error),
            None => Ok(None),
        }
    }

    /// Step 3: warning 302 where a shard was not reached in time. It is committed all the same.
    async fn finish(mut self, limit: Duration) -> Option<Warning> {
        let deadline = Instant::now() + limit;
        let live = &self.live;
        let writers = self.writers.drain(..).enumerate().map(async |(at, pin)| {
            if at > 0 {
                failpoint::reach("finish-not-first").await;
            }
            let name = pin.name();
            (finish_branch(live, pin, deadline).await, name)
        });
        // Those that only read have nothing to lose.
        let readers = join_all(self.readers.iter_mut().map(Pin::commit));
        let (finished, _) = join(join_all(writers), timeout_at(deadline, readers)).await;
        let left: Vec<String> =
            finished.into_iter().filter_map(|(done, name)| (!done).then_some(name)).collect();
        if left.is_empty() {
            self.live.settle();
            return None;
        }
        tracing::warn!(dtid = %self.live.dtid(), shards = ?left, "committed; some shards will follow");
        let mut names = left.iter().take(NAMED_SHARDS).cloned().collect::<Vec<_>>().join(", ");
        if left.len() > NAMED_SHARDS {
            names.push_str(", ...");
        }
        let message =
            format!("transaction {} is committed; {names} will follow as soon as possible", self.live.dtid());
        Some(Warning { code: 302, message })
    }

    /// Rolls back on all shards. What cannot be reached is rolled back by its server, or by recovery if
    /// it was prepared.
    async fn abort(&mut self) {
        let Self { live, anchor, writers, readers } = self;
        if roll_back(writers.iter_mut().chain(readers).chain(anchor.as_mut())).await {
            live.settle();
        }
    }
}

fn beside_temporary_tables() -> SqlError {
    SqlError::unsupported(
        "transactions over several shards under transaction_mode = twopc beside temporary tables",
    )
}

/// Rolls back all of these; true if none of them can have left a prepared branch.
async fn roll_back(pins: impl Iterator<Item = &mut Pin>) -> bool {
    let all = join_all(pins.map(async |pin: &mut Pin| {
        if pin.is_over() {
            return true;
        }
        // A PREPARE without answer: nothing can be sent behind it.
        if pin.lease.owes() || pin.is_lost() || pin.lease.is_broken() {
            pin.close();
            return pin.branch.is_none();
        }
        pin.rollback().await.is_ok() || pin.branch.is_none()
    }));
    timeout(ROLLBACK_DEADLINE, all).await.is_ok_and(|gone| gone.into_iter().all(|gone| gone))
}

async fn begin_anchor(live: &Live, place: Place) -> Result<Pin> {
    let pools = live.twopc().pools();
    let settings = pools.settings().baseline();
    let lease = pools
        .lease(&place.tablet, false, &settings)
        .await
        .map_err(|error| error.for_shard(&place.shard.full_name()))?;
    let mut pin = Pin::new(place, lease, &settings);
    pin.lease.send_prelude(b"BEGIN");
    Ok(pin)
}

async fn prepare_branch(pin: &mut Pin) -> Result<(), BackendError> {
    let Some(xid) = &pin.branch else { return Ok(()) };
    pin.lease.shorten_wait();
    pin.lease.send_branch_prepare(xid);
    pin.both().await
}

/// Commits a prepared branch, on its own connection or else on another one. True if it is gone.
async fn finish_branch(live: &Live, mut pin: Pin, deadline: Instant) -> bool {
    let Some(xid) = &pin.branch else { return true };
    pin.lease.restore_wait();
    let commit = format!("XA COMMIT {xid}");
    match timeout_at(deadline, pin.lease.run(commit.as_bytes())).await {
        Ok(Ok(_)) => {
            pin.lease.end_branch();
            return true;
        }
        Ok(Err(BackendError::Server(error))) if matches!(error.code(), 1402 | 1613 | 1614) => {
            live.twopc().metrics().twopc.integrity_errors.inc();
            tracing::error!(dtid = %live.dtid(), shard = pin.name(), %error, "INTEGRITY: a prepared branch was lost");
            return false;
        }
        Ok(Err(error)) => {
            tracing::debug!(dtid = %live.dtid(), shard = pin.name(), %error, "XA COMMIT goes to another connection");
        }
        Err(_) => return false,
    }
    let shard = Arc::clone(&pin.place.shard);
    // MariaDB lets nobody else finish the branch while this connection lives.
    drop(pin);
    live.twopc().finish_branch(live.dtid(), &shard, Verdict::Commit, deadline).await
}

/// Why a transaction was rolled back, for the client.
fn abort_error(error: BackendError, shard: &str) -> SqlError {
    if error.loses_connection() {
        return SqlError::transaction_aborted(shard).caused_by(error);
    }
    error.for_shard(shard)
}
