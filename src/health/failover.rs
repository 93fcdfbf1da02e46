//! Does a shard's primary take statements, and since when does it not?
//!
//! ```text
//!   Serving ── refuses writes, does not answer, or the topology names another one ──► Suspect
//!      ▲                                                                                │
//!      └──────────── a probe that began afterwards says: it takes writes ◄──────────────┘
//! ```
//!
//! While a shard is suspect its statements wait ([`super::buffer`]), at most for
//! `buffer.max_failover_duration`. Afterwards nobody is kept waiting: reads go to the server and get what it
//! says, writes to a server that refuses them fail here.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::buffer::Queue;
use super::state::State;
use crate::metrics::{BufferSeries, Metrics};
use crate::topology::{Shard, Tablet, TabletType};

/// One shard.
#[derive(Debug)]
pub(super) struct Failover {
    name: String,
    inner: Mutex<Inner>,
    /// Counts changes, for those who wait.
    pub(super) changed: watch::Sender<u64>,
    pub(super) queue: Mutex<Queue>,
    pub(super) series: BufferSeries,
    /// Statements wait for the return of the primary itself, too.
    without_replicas: bool,
    suspects: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Inner {
    primary: Option<Arc<Tablet>>,
    /// Somebody is there who may become the primary, or the primary's own return is waited for.
    is_worth_waiting: bool,
    suspicion: Option<Suspicion>,
    /// When the last failover ended.
    ended: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Suspicion {
    since: Instant,
    /// The primary has said that it refuses writes.
    refuses: bool,
    /// The topology names another primary than when this began.
    moved: bool,
    waiting: Waiting,
}

/// Who waits for the end of a suspicion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// Nobody yet.
    Nobody,
    /// Some do, or did.
    Some,
    /// It took too long: nobody any more.
    GivenUp,
}

// === impl Failover ===

impl Failover {
    pub(super) fn new(
        shard: &Shard,
        without_replicas: bool,
        suspects: &Arc<AtomicUsize>,
        metrics: &Metrics,
    ) -> Self {
        let inner = Inner {
            primary: shard.primary().cloned(),
            is_worth_waiting: without_replicas || has_replicas(shard),
            suspicion: None,
            ended: None,
        };
        Self {
            name: shard.full_name(),
            inner: Mutex::new(inner),
            changed: watch::channel(0).0,
            queue: Mutex::default(),
            series: metrics.health.buffer(&shard.keyspace, &shard.name),
            without_replicas,
            suspects: Arc::clone(suspects),
        }
    }

    /// Takes over what the topology says of the shard.
    pub(super) fn follow(&self, shard: &Shard) {
        let mut inner = self.lock();
        inner.is_worth_waiting = self.without_replicas || has_replicas(shard);
        let primary = shard.primary().cloned();
        if inner.primary == primary {
            return;
        }
        tracing::info!(
            shard = self.name,
            primary = primary.as_ref().map(|tablet| tablet.alias.to_string()),
            "the topology names another primary"
        );
        inner.primary = primary;
        // An answer of the old one says nothing of the new one: the suspicion begins anew, those who
        // wait go on waiting.
        let before = inner.suspicion;
        self.suspect(&mut inner);
        if let Some(suspicion) = &mut inner.suspicion {
            *suspicion = Suspicion {
                since: Instant::now(),
                refuses: false,
                moved: true,
                // What was given up for the old one is worth waiting for again.
                waiting: before
                    .map(|before| before.waiting)
                    .filter(|waiting| *waiting == Waiting::Some)
                    .unwrap_or(Waiting::Nobody),
            };
        }
        drop(inner);
        self.tell();
    }

    /// Takes over what a server says that was asked at `began`.
    pub(super) fn hear(&self, tablet: &Tablet, state: &State, began: Instant) {
        let mut inner = self.lock();
        if inner.primary.as_deref() != Some(tablet) {
            return;
        }
        if state.takes_writes() {
            match inner.suspicion {
                Some(suspicion) if suspicion.since <= began && state.error().is_none() => {
                    self.clear(&mut inner, suspicion);
                    drop(inner);
                    self.tell();
                }
                _ => {}
            }
            return;
        }
        if !state.refuses_writes() && !state.is_away() {
            return;
        }
        self.suspect(&mut inner);
        if let Some(suspicion) = &mut inner.suspicion {
            suspicion.refuses = state.refuses_writes();
        }
    }

    /// Notes that a statement found the primary away.
    pub(super) fn distrust(&self) {
        let mut inner = self.lock();
        self.suspect(&mut inner);
    }

    fn suspect(&self, inner: &mut Inner) {
        if inner.suspicion.is_some() {
            return;
        }
        tracing::warn!(shard = self.name, "the primary does not take statements");
        self.suspects.fetch_add(1, Ordering::Relaxed);
        inner.suspicion =
            Some(Suspicion { since: Instant::now(), refuses: false, moved: false, waiting: Waiting::Nobody });
    }

    fn clear(&self, inner: &mut Inner, suspicion: Suspicion) {
        tracing::info!(shard = self.name, "the primary takes statements");
        inner.suspicion = None;
        self.suspects.fetch_sub(1, Ordering::Relaxed);
        // A hiccup of the same primary is no failover: the next one may be buffered at once.
        if suspicion.moved {
            inner.ended = Some(Instant::now());
            self.series.promoted.inc();
        }
        if suspicion.waiting == Waiting::Some {
            self.series.stopped("NewPrimarySeen", suspicion.since.elapsed());
        }
    }

    /// Nobody waits for this shard any more.
    pub(super) fn give_up(&self) {
        let mut inner = self.lock();
        if let Some(suspicion) = &mut inner.suspicion
            && suspicion.waiting != Waiting::GivenUp
        {
            suspicion.waiting = Waiting::GivenUp;
            self.series.stopped("MaxDurationExceeded", suspicion.since.elapsed());
            tracing::warn!(shard = self.name, "no primary takes statements; they do not wait any longer");
            inner.ended = Some(Instant::now());
        }
        drop(inner);
        self.tell();
    }

    /// The shard has left the topology.
    pub(super) fn end(&self) {
        let mut inner = self.lock();
        inner.primary = None;
        if inner.suspicion.take().is_some() {
            self.suspects.fetch_sub(1, Ordering::Relaxed);
        }
        drop(inner);
        self.tell();
    }

    /// Whether a statement for `primary` must not be sent now. One that writes is never sent to a
    /// server that refuses writes, nor to one that the topology has demoted.
    pub(super) fn holds(&self, primary: &Tablet, writes: bool) -> bool {
        let inner = self.lock();
        if inner.primary.as_ref().is_some_and(|current| current.alias != primary.alias) {
            return true;
        }
        match inner.suspicion {
            None => false,
            Some(suspicion) => {
                let waits = inner.has_hope() && suspicion.waiting != Waiting::GivenUp;
                (writes && suspicion.refuses) || waits
            }
        }
    }

    /// Notes that somebody waits. None where nobody may: there is nobody who could take over, it took too
    /// long already, or the last failover was just now.
    pub(super) fn wait_until(&self, longest: Duration, apart: Duration) -> Option<Instant> {
        let mut inner = self.lock();
        if !inner.has_hope() {
            self.series.skipped("NoReplicas").inc();
            return None;
        }
        let recent = inner.ended.is_some_and(|ended| ended.elapsed() < apart);
        let suspicion = inner.suspicion.as_mut()?;
        // One that answers and refuses writes is being replaced on purpose: that is always waited for.
        let fresh = suspicion.waiting == Waiting::Nobody && !suspicion.moved && !suspicion.refuses;
        if suspicion.waiting == Waiting::GivenUp || (recent && fresh) {
            self.series.skipped("LastFailoverTooRecent").inc();
            return None;
        }
        if suspicion.waiting == Waiting::Nobody {
            suspicion.waiting = Waiting::Some;
            self.series.starts.inc();
        }
        Some(suspicion.since + longest)
    }

    /// The primary, where it does not take statements at this moment.
    pub(super) fn suspect_primary(&self) -> Option<Arc<Tablet>> {
        let inner = self.lock();
        inner.suspicion.and_then(|_| inner.primary.clone())
    }

    /// The primary.
    pub(super) fn primary(&self) -> Option<Arc<Tablet>> {
        self.lock().primary.clone()
    }

    /// Whether the primary does not take statements.
    pub(super) fn is_suspect(&self) -> bool {
        self.lock().suspicion.is_some()
    }

    /// For how long this server has been the primary of a suspect shard.
    pub(super) fn suspect_for(&self, tablet: &Tablet) -> Option<Duration> {
        let inner = self.lock();
        let suspicion = inner.suspicion.filter(|_| inner.primary.as_deref() == Some(tablet))?;
        Some(suspicion.since.elapsed())
    }

    fn tell(&self) {
        self.changed.send_modify(|number| *number += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Inner ===

impl Inner {
    /// Whether the shard may have a primary soon: there is somebody who may become it, or the topology has
    /// just named another one. At that moment the old one is no replica yet, and may have been the only
    /// other server.
    fn has_hope(&self) -> bool {
        let has_another = self.primary.is_some() && self.suspicion.is_some_and(|suspicion| suspicion.moved);
        self.is_worth_waiting || has_another
    }
}

fn has_replicas(shard: &Shard) -> bool {
    shard.tablets.iter().any(|tablet| tablet.kind == TabletType::Replica)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::probe::Answer;
    use crate::key::KeyRange;
    use crate::topology::{Address, TabletAlias};

    fn shard(primary: Option<u32>) -> Shard {
        let tablet = |uid: u32| {
            let kind = if primary == Some(uid) { TabletType::Primary } else { TabletType::Replica };
            Arc::new(Tablet {
                alias: TabletAlias { cell: "z".into(), uid },
                keyspace: "ks".into(),
                shard: "0".into(),
                kind,
                address: Address::Unix(format!("/{uid}").into()),
                schema: "ks".into(),
            })
        };
        Shard {
            keyspace: "ks".into(),
            name: "0".into(),
            range: KeyRange::FULL,
            tablets: vec![tablet(1), tablet(2)],
        }
    }

    fn says(read_only: bool) -> State {
        let answer = Answer { read_only, identity: String::new(), replication: None, heartbeat: None };
        State::unknown().after(Ok(answer), Instant::now())
    }

    fn failover() -> (Failover, Arc<AtomicUsize>) {
        let suspects = Arc::new(AtomicUsize::new(0));
        (Failover::new(&shard(Some(1)), false, &suspects, &Metrics::new().unwrap()), suspects)
    }

    #[test]
    fn a_primary_that_refuses_writes_is_held_until_it_takes_them() {
        let (failover, suspects) = failover();
        let old = shard(Some(1));
        let primary = old.primary().unwrap();
        assert!(!failover.holds(primary, true));
        failover.hear(primary, &says(true), Instant::now());
        assert!(failover.holds(primary, true) && failover.holds(primary, false));
        assert_eq!(suspects.load(Ordering::Relaxed), 1);
        failover.give_up();
        assert!(failover.holds(primary, true), "it is never written to");
        assert!(!failover.holds(primary, false), "reads go on");
        failover.hear(primary, &says(false), Instant::now());
        assert!(!failover.holds(primary, true));
        assert_eq!(suspects.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_topology_says_who_and_the_server_says_whether() {
        let (failover, _) = failover();
        let (old, new) = (shard(Some(1)), shard(Some(2)));
        let before = Instant::now();
        failover.follow(&new);
        // The old one is writable, whoever says so: it is not the primary.
        failover.hear(old.primary().unwrap(), &says(false), Instant::now());
        assert!(
            failover.holds(old.primary().unwrap(), true) && failover.holds(old.primary().unwrap(), false)
        );
        let promoted = new.primary().unwrap();
        assert!(failover.holds(promoted, true), "not before it says that it takes writes");
        failover.hear(promoted, &says(true), Instant::now());
        assert!(failover.holds(promoted, true));
        failover.hear(promoted, &says(false), before);
        assert!(failover.holds(promoted, true), "an answer to an older question");
        failover.hear(promoted, &says(false), Instant::now());
        assert!(!failover.holds(promoted, true));
        assert!(failover.holds(old.primary().unwrap(), true));
    }

    #[test]
    fn a_new_primary_is_waited_for_though_the_old_one_is_no_replica_yet() {
        let (failover, _) = failover();
        let (long, apart) = (Duration::from_secs(20), Duration::from_secs(60));
        let mut alone = shard(Some(2));
        alone.tablets.remove(0);
        failover.follow(&alone);
        let promoted = alone.primary().unwrap();
        assert!(failover.holds(promoted, true) && failover.wait_until(long, apart).is_some());
        failover.hear(promoted, &says(false), Instant::now());
        // From now on it is alone.
        failover.distrust();
        assert!(!failover.holds(promoted, true) && failover.wait_until(long, apart).is_none());
    }

    #[test]
    fn a_second_failover_right_behind_the_first_is_not_waited_for() {
        let (failover, _) = failover();
        let (long, apart) = (Duration::from_secs(20), Duration::from_secs(60));
        assert_eq!(failover.wait_until(long, apart), None, "nothing to wait for");
        failover.distrust();
        assert!(failover.wait_until(long, apart).is_some());
        failover.give_up();
        assert_eq!(failover.wait_until(long, apart), None);
        let primary = shard(Some(1));
        failover.hear(primary.primary().unwrap(), &says(false), Instant::now());
        failover.distrust();
        assert_eq!(failover.wait_until(long, apart), None, "the last one was just now");
        assert!(failover.wait_until(long, Duration::ZERO).is_some());
        failover.hear(primary.primary().unwrap(), &says(false), Instant::now());
        failover.hear(primary.primary().unwrap(), &says(true), Instant::now());
        assert!(
            failover.wait_until(long, apart).is_some(),
            "a primary that refuses writes is replaced on purpose"
        );
    }
}
