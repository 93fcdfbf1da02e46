//! Which servers can be used at this moment, and for what?
//!
//! Every server of the topology is asked how it is, on a connection of its own, every
//! `health.probe_interval`. What the answers add up to is a [`State`]: whether it answers, whether it
//! takes writes, how far it is behind. From that follows which replica a read goes to
//! ([`Health::replica`]), and whether the topology's primary of a shard takes statements
//! ([`Health::primary`]).
//!
//! The topology alone says which server is the primary. A server is never written to because it is
//! writable, and never because the topology says so while it refuses writes: such a shard is
//! suspect, and its statements wait in the [`buffer`](Health::wait) until a probe of the primary says that
//! it takes writes, for `buffer.window` at most.

mod buffer;
mod choose;
mod failover;
mod probe;
mod state;
mod watch;

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use buffer::Waited;
pub use choose::Limits;
pub use state::{Replication, State};
pub use watch::Watched;

use crate::config::{Backend, Buffer, Health as HealthConfig};
use crate::control::Dialer;
use crate::error::{Outcome, Result, SqlError};
use crate::metrics::Metrics;
use crate::topology::{Shard, Snapshot, Tablet, TabletAlias, TabletType};
use failover::Failover;

/// What is known about every server and every shard's primary.
#[derive(Debug)]
pub struct Health {
    probing: HealthConfig,
    buffering: Buffer,
    cell: String,
    dialer: Dialer,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    stop: CancellationToken,
    tablets: RwLock<HashMap<TabletAlias, Arc<Watched>>>,
    /// By `keyspace/shard`.
    shards: RwLock<HashMap<String, Arc<Failover>>>,
    /// How many shards are suspect: while it is 0, no statement looks further.
    suspects: Arc<AtomicUsize>,
    /// How many statements wait, over all shards.
    waiting: AtomicUsize,
}

// === impl Health ===

impl Health {
    /// Nothing is watched before [`Self::update`].
    #[must_use]
    pub fn new(
        config: (&HealthConfig, &Buffer, &Backend),
        cell: &str,
        metrics: Arc<Metrics>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let (probing, buffering, backend) = config;
        metrics.health.buffer_size.set(i64::from(buffering.size));
        Arc::new(Self {
            probing: probing.clone(),
            buffering: buffering.clone(),
            cell: cell.to_owned(),
            dialer: Dialer::new(backend),
            metrics,
            tasks,
            stop,
            tablets: RwLock::default(),
            shards: RwLock::default(),
            suspects: Arc::default(),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Follows a new topology: watches new servers, forgets those that have gone, and holds a shard whose
    /// primary is another one until that one takes writes.
    pub fn update(self: &Arc<Self>, topology: &Snapshot) {
        let shards = || topology.keyspaces.values().flat_map(|keyspace| &keyspace.shards);
        let mut watched = self.tablets.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *watched);
        for tablet in shards().flat_map(|shard| &shard.tablets) {
            let known = before.remove(&tablet.alias);
            let kept = match known {
                Some(known) if known.tablet() == tablet => known,
                known => {
                    if let Some(old) = known {
                        old.end();
                    }
                    self.watch(tablet)
                }
            };
            watched.insert(tablet.alias.clone(), kept);
        }
        drop(watched);
        for gone in before.values() {
            gone.end();
        }
        let mut known = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        let mut old = std::mem::take(&mut *known);
        for shard in shards() {
            let name = shard.full_name();
            let always = self.buffering.without_replicas;
            let failover = old
                .remove(&name)
                .unwrap_or_else(|| Arc::new(Failover::new(shard, always, &self.suspects, &self.metrics)));
            failover.follow(shard);
            known.insert(name, failover);
        }
        drop(known);
        for gone in old.values() {
            gone.end();
        }
        // A shard that waits for its new primary wants to hear from it now.
        for shard in shards() {
            if let Some(failover) = self.failover(&shard.keyspace, &shard.name)
                && let Some(primary) = failover.suspect_primary()
            {
                self.ask(&primary.alias);
            }
        }
    }

    /// Waits until every server has been asked once, for `limit` at most.
    pub async fn first_round(&self, limit: std::time::Duration) {
        let all: Vec<_> = self.all().into_iter().map(|(_, watched)| watched).collect();
        let asked = futures_util::future::join_all(all.iter().map(|watched| watched.asked_once()));
        // What does not answer in time is not waited for: a start must not hang.
        let _ = tokio::time::timeout(limit, asked).await;
    }

    /// What is known about a server; `None` for one that is not in the topology.
    #[must_use]
    pub fn state(&self, alias: &TabletAlias) -> Option<Arc<State>> {
        self.watched(alias).map(|watched| watched.state())
    }

    /// Whether a server takes the statements of its role.
    #[must_use]
    pub fn is_serving(&self, tablet: &Tablet) -> bool {
        let Some(watched) = self.watched(&tablet.alias) else { return false };
        let state = watched.state();
        match tablet.kind {
            TabletType::Primary => state.takes_writes(),
            _ => state.answers() && state.lag().is_some_and(|lag| lag <= self.limits().high),
        }
    }

    /// The shard's primary, if it takes statements.
    ///
    /// # Errors
    /// VT14002 where the topology names none; otherwise an error that says that nothing was sent, so
    /// that the statement may wait and be tried again.
    pub fn primary<'s>(&self, shard: &'s Shard, writes: bool) -> Result<&'s Arc<Tablet>> {
        let Some(primary) = shard.primary() else {
            let error = SqlError::no_primary(&shard.keyspace, &shard.name);
            return Err(error.at_shard(&shard.full_name(), Outcome::NotSent));
        };
        if self.suspects.load(std::sync::atomic::Ordering::Relaxed) == 0 {
            return Ok(primary);
        }
        match self.failover(&shard.keyspace, &shard.name) {
            Some(failover) if failover.holds(primary, writes) => {
                let name = shard.full_name();
                Err(SqlError::primary_not_serving(&name).at_shard(&name, Outcome::NotSent))
            }
            _ => Ok(primary),
        }
    }

    /// The server of a shard that a read of this role goes to. `load` is how many statements a server has
    /// now, or none for one that cannot be reached.
    ///
    /// # Errors
    /// `no healthy tablet available` with 1105, as in Vitess.
    pub fn replica<'s>(
        &self,
        shard: &'s Shard,
        kind: TabletType,
        load: impl Fn(&Arc<Tablet>) -> Option<usize>,
    ) -> Result<&'s Arc<Tablet>> {
        let candidates: Vec<_> = shard
            .tablets
            .iter()
            .filter(|tablet| tablet.kind == kind)
            .filter_map(|tablet| {
                let state = self.state(&tablet.alias)?;
                let lag = state.lag().filter(|_| state.answers())?;
                let local = *tablet.alias.cell == *self.cell;
                Some(choose::Candidate { tablet, lag, local, load: load(tablet)? })
            })
            .collect();
        choose::choose(candidates, self.limits())
            .ok_or_else(|| SqlError::no_healthy_tablet(&shard.keyspace, &shard.name, kind.as_str()))
    }

    /// The lag limits.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            low: self.probing.low_replication_lag,
            high: self.probing.high_replication_lag_minimum_serving,
            at_least: self.probing.min_number_serving_tablets as usize,
        }
    }

    /// How long a read may wait for a replica to have the session's own writes; none where sessions do
    /// not ask for that.
    #[must_use]
    pub fn read_after_write(&self) -> Option<std::time::Duration> {
        self.probing.read_after_write.then_some(self.probing.read_after_write_timeout)
    }

    /// Servers and what is known of them, for pages: alias, role, state.
    #[must_use]
    pub fn all(&self) -> Vec<(Arc<Tablet>, Arc<Watched>)> {
        let watched = self.tablets.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> =
            watched.values().map(|watched| (Arc::clone(watched.tablet()), Arc::clone(watched))).collect();
        all.sort_by(|(a, _), (b, _)| {
            (&a.keyspace, &a.shard, &a.alias).cmp(&(&b.keyspace, &b.shard, &b.alias))
        });
        all
    }

    /// Shards whose primary does not take statements at this moment.
    #[must_use]
    pub fn suspects(&self) -> Vec<String> {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<_> = shards
            .iter()
            .filter(|(_, failover)| failover.is_suspect())
            .map(|(name, _)| name.clone())
            .collect();
        names.sort();
        names
    }

    /// Asks the primary of a shard (`keyspace/shard`) how it is.
    pub async fn check(&self, shard: &str) {
        if let Some(watched) = self.primary_of(shard) {
            watched.ask_and_wait().await;
        }
    }

    /// Whether the primary of a shard (`keyspace/shard`) said that it refuses writes.
    #[must_use]
    pub fn refuses(&self, shard: &str) -> bool {
        self.primary_of(shard).is_some_and(|watched| watched.state().refuses_writes())
    }

    fn primary_of(&self, shard: &str) -> Option<Arc<Watched>> {
        let (keyspace, name) = shard.split_once('/')?;
        self.watched(&self.failover(keyspace, name)?.primary()?.alias)
    }

    fn watched(&self, alias: &TabletAlias) -> Option<Arc<Watched>> {
        self.tablets.read().unwrap_or_else(PoisonError::into_inner).get(alias).cloned()
    }

    fn failover(&self, keyspace: &str, shard: &str) -> Option<Arc<Failover>> {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        shards.get(&format!("{keyspace}/{shard}")).cloned()
    }

    /// Asks a server now.
    fn ask(&self, alias: &TabletAlias) {
        if let Some(watched) = self.watched(alias) {
            watched.ask();
        }
    }
}
