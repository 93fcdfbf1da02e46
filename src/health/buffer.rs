//! How long does a statement wait for its shard's primary, and who has to give up first?
//!
//! The rules are those of Vitess's failover buffer (`go/vt/vtgate/buffer`): at most `buffer.size` statements
//! wait over all shards, each for `buffer.window` at most; where all places are taken, the statement of
//! the same shard that has waited longest gives its place up. Unlike there, all that wait go on
//! together: the pools bound how many of them reach the server at a time.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::Health;
use super::failover::Failover;
use crate::error::{Outcome, SqlError};

/// How the waiting ended.
#[derive(Debug)]
pub enum Waited {
    /// The primary takes statements: try again.
    Serving,
    /// Nobody waits for this shard now: the statement's own error stands.
    No,
    /// It gave its place up, or found none.
    Refused(SqlError),
}

/// The statements that wait for one shard, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    next: u64,
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
}

/// A place in the queue; gives it back when dropped.
struct Place<'h> {
    health: &'h Health,
    failover: &'h Failover,
    number: u64,
    evicted: oneshot::Receiver<()>,
}

// === impl Health ===

impl Health {
    /// Waits until the primary of a shard (`keyspace/shard`) takes statements, after one of them failed
    /// there with this outcome.
    ///
    /// Cancel safe: a dropped call gives its place up.
    pub async fn wait(&self, shard: &str, outcome: Outcome) -> Waited {
        let Some((keyspace, name)) = shard.split_once('/') else { return Waited::No };
        let Some(failover) = self.failover(keyspace, name) else { return Waited::No };
        if !failover.is_suspect() {
            let Some(watched) = failover.primary().and_then(|primary| self.watched(&primary.alias)) else {
                return Waited::No;
            };
            // One error is no proof: the server is asked. That also tells a read-only server from an
            // error that only has the same number.
            watched.ask_and_wait().await;
            if watched.state().takes_writes() && watched.state().error().is_none() {
                return Waited::Serving;
            }
            if outcome != Outcome::Refused {
                failover.distrust();
            }
        }
        if !self.is_buffering(shard) {
            failover.series.skipped("Disabled").inc();
            return Waited::No;
        }
        self.wait_in_queue(&failover).await
    }

    fn is_buffering(&self, shard: &str) -> bool {
        let only = &self.buffering.keyspace_shards;
        let keyspace = shard.split('/').next();
        let named = |entry: &str| entry == shard || Some(entry) == keyspace;
        self.buffering.enabled && (only.is_empty() || only.split(',').map(str::trim).any(named))
    }

    async fn wait_in_queue(&self, failover: &Arc<Failover>) -> Waited {
        let config = &self.buffering;
        // Subscribed before the first look: no change is missed.
        let mut changes = failover.changed.subscribe();
        let Some(end) = failover.wait_until(config.max_failover_duration, config.min_time_between_failovers)
        else {
            return if failover.is_suspect() { Waited::No } else { Waited::Serving };
        };
        let mut place = match self.enter(failover) {
            Ok(place) => place,
            Err(error) => return Waited::Refused(error),
        };
        let window = Instant::now() + config.window;
        loop {
            if !failover.is_suspect() {
                failover.series.drained.inc();
                return Waited::Serving;
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return Waited::No },
                evicted = &mut place.evicted => if evicted.is_ok() {
                    failover.series.evicted("BufferFull").inc();
                    return Waited::Refused(SqlError::buffer_evicted());
                },
                () = sleep_until(end) => {
                    failover.give_up();
                    failover.series.evicted("MaxDurationExceeded").inc();
                    return Waited::No;
                }
                () = sleep_until(window) => {
                    failover.series.evicted("WindowExceeded").inc();
                    return Waited::No;
                }
            }
            // A changed topology begins the failover anew; one that took too long ends it.
            if failover.is_suspect()
                && failover
                    .wait_until(config.max_failover_duration, config.min_time_between_failovers)
                    .is_none()
            {
                return Waited::No;
            }
        }
    }

    fn enter<'h>(&'h self, failover: &'h Failover) -> Result<Place<'h>, SqlError> {
        let mut queue = failover.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= self.buffering.size as usize {
            let Some((_, oldest)) = queue.waiting.pop_front() else {
                self.waiting.fetch_sub(1, Ordering::AcqRel);
                failover.series.skipped("BufferFull").inc();
                return Err(SqlError::buffer_full());
            };
            // It may have gone by itself a moment ago.
            let _ = oldest.send(());
        }
        let (evict, evicted) = oneshot::channel();
        let number = queue.next;
        queue.next += 1;
        queue.waiting.push_back((number, evict));
        failover.series.buffered.inc();
        failover.series.in_flight(queue.waiting.len());
        Ok(Place { health: self, failover, number, evicted })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.health.waiting.fetch_sub(1, Ordering::AcqRel);
        let mut queue = self.failover.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.waiting.retain(|(number, _)| *number != self.number);
    }
}
