//! Which servers have a pool, and what do all pools share?
//!
//! Hot path: finding a pool is one hash lookup under a shared lock.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::BackendConfig;
use super::connection::Connection;
use super::error::BackendError;
use super::kill::KillTarget;
use super::lease::Lease;
use super::pool::Pool;
use super::settings::{Settings, SettingsRegistry};
use crate::metrics::Metrics;
use crate::topology::{Snapshot, Tablet, TabletAlias};

/// All pools: one per server and FOUND_ROWS mode, made when first needed.
#[derive(Debug)]
pub struct Pools {
    shared: Arc<Shared>,
    /// The second pool counts matched rows.
    by_alias: RwLock<HashMap<TabletAlias, [Option<Arc<Pool>>; 2]>>,
}

/// What the pools of one gate share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: BackendConfig,
    pub(super) metrics: Arc<Metrics>,
    pub(super) settings: SettingsRegistry,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

// === impl Pools ===

impl Pools {
    /// Pools without connections. `tasks` runs what happens in the background, until `stop`.
    #[must_use]
    pub fn new(
        config: BackendConfig,
        metrics: Arc<Metrics>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let settings = SettingsRegistry::default();
        let shared = Arc::new(Shared { config, metrics, settings, tasks, stop });
        let pools = Arc::new(Self { shared, by_alias: RwLock::default() });
        pools.shared.tasks.spawn(Self::look_after(Arc::clone(&pools)));
        pools
    }

    /// The settings that connections can carry.
    #[must_use]
    pub fn settings(&self) -> &SettingsRegistry {
        &self.shared.settings
    }

    /// Checks a connection to `tablet` out, with these settings.
    ///
    /// Cancel-safe: a dropped call gives back what it had. The pipelined `SET` or reset of the
    /// settings leaves with the first command.
    ///
    /// # Errors
    /// [`BackendError::Unreachable`] at once while the server is known to be down,
    /// [`BackendError::Exhausted`] after `queue_timeout`, [`BackendError::Server`] if the server
    /// refuses settings that no server has accepted yet.
    pub async fn lease(
        &self,
        tablet: &Arc<Tablet>,
        found_rows: bool,
        settings: &Arc<Settings>,
    ) -> Result<Lease, BackendError> {
        self.pool(tablet, found_rows).lease(settings).await
    }

    /// A connection that counts towards no pool, with the baseline: for work of the gate's own that must
    /// not wait behind clients. It is closed when dropped.
    ///
    /// # Errors
    /// [`BackendError::Unreachable`], also after `connect_timeout`.
    pub async fn dial(&self, tablet: &Arc<Tablet>) -> Result<Connection, BackendError> {
        let limit = self.shared.config.connect_timeout;
        let pool = self.pool(tablet, false);
        tokio::time::timeout(limit, pool.dial()).await.unwrap_or_else(|_| {
            Err(BackendError::Unreachable { detail: format!("no connection within {limit:?}") })
        })
    }

    /// Names a connection that was dialled to this server, for killing its statement.
    #[must_use]
    pub fn kill_target(&self, tablet: &Arc<Tablet>, dialled: &Connection) -> KillTarget {
        KillTarget::new(self.pool(tablet, false), dialled.server().connection_id)
    }

    /// The pool of a server.
    #[must_use]
    pub fn pool(&self, tablet: &Arc<Tablet>, found_rows: bool) -> Arc<Pool> {
        let at = usize::from(found_rows);
        let known = self.by_alias.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(pools) = known.get(&tablet.alias)
            && let Some(pool) = &pools[at]
            && (Arc::ptr_eq(pool.tablet(), tablet) || *pool.tablet() == *tablet)
        {
            return Arc::clone(pool);
        }
        drop(known);
        self.add(tablet, found_rows)
    }

    /// Keeps the pools of servers that are in the topology as they were, and retires all others:
    /// their idle connections are closed now, those in use when they are given back.
    pub fn retain(&self, topology: &Snapshot) {
        let shards = topology.keyspaces.values().flat_map(|keyspace| &keyspace.shards);
        let tablets = shards.flat_map(|shard| &shard.tablets);
        let all: HashMap<_, _> = tablets.map(|tablet| (&tablet.alias, tablet)).collect();
        let there = |tablet: &Tablet| all.get(&tablet.alias).is_some_and(|other| ***other == *tablet);
        let mut known = self.by_alias.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, pools| {
            for slot in pools.iter_mut() {
                if slot.as_ref().is_some_and(|pool| !there(pool.tablet()))
                    && let Some(pool) = slot.take()
                {
                    pool.retire();
                }
            }
            pools.iter().any(Option::is_some)
        });
    }

    /// Every pool at this moment.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Pool>> {
        let known = self.by_alias.read().unwrap_or_else(PoisonError::into_inner);
        known.values().flatten().flatten().map(Arc::clone).collect()
    }

    fn add(&self, tablet: &Arc<Tablet>, found_rows: bool) -> Arc<Pool> {
        let mut known = self.by_alias.write().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut known.entry(tablet.alias.clone()).or_default()[usize::from(found_rows)];
        match slot {
            // Somebody else was faster.
            Some(pool) if *pool.tablet() == *tablet => return Arc::clone(pool),
            // The server has moved.
            Some(pool) => pool.retire(),
            None => {}
        }
        let pool = Pool::new(Arc::clone(&self.shared), Arc::clone(tablet), found_rows);
        *slot = Some(Arc::clone(&pool));
        pool
    }

    /// Closes idle connections that are too old, unused for too long, or dead, until the gate stops.
    async fn look_after(pools: Arc<Self>) {
        let mut interval = tokio::time::interval(pools.shared.config.health_interval);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = pools.shared.stop.cancelled() => break,
                _ = interval.tick() => pools.all().iter().for_each(|pool| pool.sweep()),
            }
        }
        for pool in pools.all() {
            pool.end();
        }
    }
}
