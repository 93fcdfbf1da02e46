//! Which connections are kept to a server, and who gets the next one?
//!
//! Hot path: a lease of an idle connection with the right settings takes two short locks and no
//! allocation but the lease's own bookkeeping.
//!
//! A lease takes the idle connection with the same settings, else one with the baseline, else resets
//! another, else opens a new one; where the pool is full it waits in order of arrival.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, TryAcquireError};
use tokio::time::Instant;

use super::branch::Branch;
use super::connection::{Condition, Connection};
use super::error::BackendError;
use super::health::{self, Health};
use super::kill::KillTarget;
use super::lease::{Lease, Slot};
use super::login::{self, LoginError};
use super::pools::Shared;
use super::reset::Adopted;
use super::settings::Settings;
use super::{BackendConfig, PoolStats};
use crate::metrics::labels::CloseReason;
use crate::metrics::{TabletLabels, TabletSeries};
use crate::topology::Tablet;

/// The connections to one server in one FOUND_ROWS mode.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    tablet: Arc<Tablet>,
    found_rows: bool,
    /// One permit per connection that may be in use; fair, so waiting is in order of arrival.
    slots: Semaphore,
    /// The last one was used last, and is taken first.
    idle: Mutex<Parked>,
    health: Health,
    retired: AtomicBool,
    series: Arc<TabletSeries>,
    waiting: AtomicUsize,
    counts: Counts,
}

type Parked = Vec<Box<Connection>>;

#[derive(Debug, Default)]
struct Counts {
    opened: AtomicU64,
    open_failures: AtomicU64,
    closed: AtomicU64,
    leases: AtomicU64,
    waits: AtomicU64,
    timeouts: AtomicU64,
    resets: AtomicU64,
    settings_applied: AtomicU64,
}

/// Counts a lease that waits, for as long as it waits.
struct Waiting<'a>(&'a Pool);

// === impl Pool ===

impl Pool {
    pub(super) fn new(shared: Arc<Shared>, tablet: Arc<Tablet>, found_rows: bool) -> Arc<Self> {
        let series = shared.metrics.backend.tablet(TabletLabels {
            keyspace: &tablet.keyspace,
            shard: &tablet.shard,
            db_type: tablet.kind.as_str(),
            alias: &tablet.alias.to_string(),
        });
        let capacity = Ord::clamp(shared.config.pool_size, 1, Semaphore::MAX_PERMITS);
        series.resized(i64::try_from(capacity).unwrap_or(i64::MAX));
        series.healthy.set(1);
        Arc::new(Self {
            shared,
            tablet,
            found_rows,
            slots: Semaphore::new(capacity),
            idle: Mutex::default(),
            health: Health::default(),
            retired: AtomicBool::new(false),
            series,
            waiting: AtomicUsize::new(0),
            counts: Counts::default(),
        })
    }

    /// The server.
    #[must_use]
    pub fn tablet(&self) -> &Arc<Tablet> {
        &self.tablet
    }

    /// Whether its connections count matched rows of an UPDATE instead of changed ones.
    #[must_use]
    pub fn found_rows(&self) -> bool {
        self.found_rows
    }

    /// The server's metrics.
    #[must_use]
    pub fn series(&self) -> &Arc<TabletSeries> {
        &self.series
    }

    /// Whether the server can be reached, as far as is known.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.health.is_up()
    }

    /// What the pool looks like now.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let capacity = self.shared.config.pool_size;
        PoolStats {
            capacity,
            idle: self.idle().len(),
            in_use: capacity.saturating_sub(self.slots.available_permits()),
            waiting: self.waiting.load(Ordering::Relaxed),
            opened: count(&self.counts.opened),
            open_failures: count(&self.counts.open_failures),
            closed: count(&self.counts.closed),
            leases: count(&self.counts.leases),
            waits: count(&self.counts.waits),
            timeouts: count(&self.counts.timeouts),
            resets: count(&self.counts.resets),
            settings_applied: count(&self.counts.settings_applied),
            healthy: self.is_healthy(),
        }
    }

    /// As [`Pools::lease`].
    pub async fn lease(self: &Arc<Self>, settings: &Arc<Settings>) -> Result<Lease, BackendError> {
        if self.shared.stop.is_cancelled() {
            return Err(BackendError::Shutdown);
        }
        let slot = self.slot().await?;
        self.counts.leases.fetch_add(1, Ordering::Relaxed);
        self.series.leases.inc();
        let connection = match self.take_idle(settings) {
            Some(connection) => connection,
            // Boxed: most leases find a connection that is there.
            None => Box::pin(self.open()).await?,
        };
        let mut lease = Lease::new(connection, slot);
        match lease.adopt(settings).await? {
            Adopted::Same => {}
            Adopted::Set => self.count_settings(),
            Adopted::Reset => self.count_reset(),
            Adopted::ResetAndSet => {
                self.count_reset();
                self.count_settings();
            }
        }
        Ok(lease)
    }

    pub(super) fn config(&self) -> &BackendConfig {
        &self.shared.config
    }

    /// Opens a connection that does not count towards the pool. The caller bounds the time.
    pub(super) async fn dial(&self) -> Result<Connection, BackendError> {
        self.log_in().await.map_err(|error| BackendError::Unreachable { detail: error.to_string() })
    }

    pub(super) fn free_slot(&self) {
        self.series.in_use.dec();
        self.series.available.inc();
        self.slots.add_permits(1);
    }

    async fn slot(self: &Arc<Self>) -> Result<Slot, BackendError> {
        match self.slots.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(TryAcquireError::Closed) => return Err(BackendError::Shutdown),
            Err(TryAcquireError::NoPermits) => self.wait_for_slot().await?,
        }
        self.series.in_use.inc();
        self.series.available.dec();
        Ok(Slot(Arc::clone(self)))
    }

    async fn wait_for_slot(&self) -> Result<(), BackendError> {
        let waiting = Waiting::new(self);
        let config = &self.shared.config;
        if self.waiting.load(Ordering::Relaxed) > config.queue_limit {
            return Err(BackendError::Exhausted);
        }
        self.counts.waits.fetch_add(1, Ordering::Relaxed);
        let since = Instant::now();
        let acquired = tokio::time::timeout(config.queue_timeout, self.slots.acquire()).await;
        drop(waiting);
        self.series.waited(since.elapsed());
        match acquired {
            Ok(Ok(permit)) => {
                permit.forget();
                Ok(())
            }
            Ok(Err(_closed)) => Err(BackendError::Shutdown),
            Err(_elapsed) => {
                self.counts.timeouts.fetch_add(1, Ordering::Relaxed);
                self.series.timeouts.inc();
                Err(BackendError::Exhausted)
            }
        }
    }

    /// The idle connection that is cheapest to use with these settings, if it still looks alive.
    fn take_idle(&self, settings: &Arc<Settings>) -> Option<Box<Connection>> {
        loop {
            let mut connection = {
                let mut idle = self.idle();
                let same = idle.iter().rposition(|one| Arc::ptr_eq(one.settings(), settings));
                let best = same.or_else(|| idle.iter().rposition(|one| one.settings().is_baseline()));
                // With neither, the one that was unused for longest is reset.
                let at = best.or(if idle.is_empty() { None } else { Some(0) })?;
                // The order tells who was used last.
                idle.remove(at)
            };
            self.series.idle.dec();
            if connection.expires.is_some_and(|end| end <= Instant::now()) {
                self.close(connection, CloseReason::Lifetime);
            } else if connection.looks_alive() {
                return Some(connection);
            } else {
                self.close(connection, CloseReason::Broken);
            }
        }
    }

    async fn open(self: &Arc<Self>) -> Result<Box<Connection>, BackendError> {
        if let Some(detail) = self.health.trouble() {
            return Err(BackendError::Unreachable { detail });
        }
        let limit = self.shared.config.connect_timeout;
        let (detail, is_down) = match tokio::time::timeout(limit, self.log_in()).await {
            Ok(Ok(connection)) => {
                self.health.succeeded();
                self.counts.opened.fetch_add(1, Ordering::Relaxed);
                self.series.opened.inc();
                self.series.active.inc();
                return Ok(Box::new(connection));
            }
            // A server that refuses us is there.
            Ok(Err(error @ (LoginError::Refused(_) | LoginError::Authentication(_)))) => {
                (error.to_string(), false)
            }
            Ok(Err(error)) => (error.to_string(), true),
            Err(_elapsed) => (format!("no connection within {limit:?}"), true),
        };
        self.counts.open_failures.fetch_add(1, Ordering::Relaxed);
        self.series.open_failures.inc();
        tracing::warn!(tablet = %self.tablet.alias, %detail, "cannot connect to server");
        if is_down && self.health.failed(&detail) {
            self.series.healthy.set(0);
            self.shared.tasks.spawn(Self::ask_until_it_answers(Arc::clone(self)));
        }
        Err(BackendError::Unreachable { detail })
    }

    async fn log_in(&self) -> Result<Connection, LoginError> {
        let config = &self.shared.config;
        let parts = login::log_in(config, &self.tablet, self.found_rows).await?;
        let baseline = self.shared.settings.baseline();
        let mut connection = Connection::begin_session(parts, baseline, config.statement_cache).await?;
        connection.expires = config.max_lifetime.map(|lifetime| connection.opened + jittered(lifetime));
        connection.series = Some(Arc::clone(&self.series));
        Ok(connection)
    }

    /// Asks a server that is down again and again, so that nobody has to wait for it.
    async fn ask_until_it_answers(pool: Arc<Self>) {
        for pause in health::pauses() {
            tokio::select! {
                () = pool.shared.stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            if pool.retired.load(Ordering::Relaxed) {
                return;
            }
            let answer = tokio::time::timeout(pool.shared.config.connect_timeout, pool.log_in()).await;
            if let Ok(Ok(_) | Err(LoginError::Refused(_) | LoginError::Authentication(_))) = answer {
                break;
            }
        }
        pool.health.succeeded();
        pool.series.healthy.set(1);
        tracing::info!(tablet = %pool.tablet.alias, "server answers again");
    }

    fn keep(&self, mut connection: Box<Connection>) {
        connection.inbox.shrink();
        connection.idle_since = Instant::now();
        if let Some(reason) = self.reason_to_close(&connection) {
            return self.close(connection, reason);
        }
        self.series.idle.inc();
        self.idle().push(connection);
        // A retirement or the end may have come in between.
        if self.retired.load(Ordering::Acquire) || self.shared.stop.is_cancelled() {
            self.close_idle(CloseReason::Retired);
        }
    }

    fn reason_to_close(&self, connection: &Connection) -> Option<CloseReason> {
        let now = Instant::now();
        match connection.condition {
            Condition::Broken => return Some(CloseReason::Broken),
            Condition::CloseOnReturn | Condition::Tainted => return Some(CloseReason::Unclean),
            Condition::Known => {}
        }
        if self.shared.stop.is_cancelled() {
            return Some(CloseReason::Shutdown);
        }
        if self.retired.load(Ordering::Acquire) {
            return Some(CloseReason::Retired);
        }
        connection.expires.is_some_and(|end| end <= now).then_some(CloseReason::Lifetime)
    }

    fn close(&self, mut connection: Box<Connection>, reason: CloseReason) {
        connection.say_goodbye();
        drop(connection);
        self.counts.closed.fetch_add(1, Ordering::Relaxed);
        self.series.closed(reason);
    }

    fn close_idle(&self, reason: CloseReason) {
        let all = std::mem::take(&mut *self.idle());
        for connection in all {
            self.series.idle.dec();
            self.close(connection, reason);
        }
    }

    /// No more leases: those who wait are sent away, idle connections close.
    pub(super) fn end(&self) {
        self.slots.close();
        self.close_idle(CloseReason::Shutdown);
    }

    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        let capacity = i64::try_from(self.shared.config.pool_size).unwrap_or(i64::MAX);
        self.series.resized(-capacity);
        self.close_idle(CloseReason::Retired);
    }

    /// Closes idle connections whose time has come.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let limit = self.shared.config.idle_timeout;
        let mut ended = Vec::new();
        let mut idle = self.idle();
        let mut at = 0;
        while at < idle.len() {
            let connection = &mut idle[at];
            let reason = if connection.expires.is_some_and(|end| end <= now) {
                Some(CloseReason::Lifetime)
            } else if limit.is_some_and(|limit| now - connection.idle_since >= limit) {
                Some(CloseReason::Idle)
            } else if connection.looks_alive() {
                None
            } else {
                Some(CloseReason::Broken)
            };
            match reason {
                Some(reason) => ended.push((idle.remove(at), reason)),
                None => at += 1,
            }
        }
        drop(idle);
        for (connection, reason) in ended {
            self.series.idle.dec();
            self.close(connection, reason);
        }
    }

    fn count_settings(&self) {
        self.counts.settings_applied.fetch_add(1, Ordering::Relaxed);
        self.series.settings_applied.inc();
    }

    fn count_reset(&self) {
        self.counts.resets.fetch_add(1, Ordering::Relaxed);
        self.series.resets.inc();
    }

    fn idle(&self) -> MutexGuard<'_, Parked> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Slot ===

impl Slot {
    /// Takes a used connection back: into the pool if it is clean, otherwise it is made clean in the
    /// background first. The slot stays taken until then.
    pub(super) fn give_back(self, mut connection: Box<Connection>) {
        if connection.is_clean() {
            return self.0.keep(connection);
        }
        if connection.branch == Branch::Prepared {
            // Neither a reset nor a KILL: the branch stays prepared when its connection closes, and
            // MariaDB lets nobody else finish it before that.
            connection.worsen(Condition::CloseOnReturn);
            return self.0.keep(connection);
        }
        if connection.condition >= Condition::CloseOnReturn && !connection.owes() {
            return self.0.keep(connection);
        }
        // Outside the runtime, or with a dead socket, there is nothing to be made clean.
        if connection.is_broken() || tokio::runtime::Handle::try_current().is_err() {
            connection.worsen(Condition::Broken);
            return self.0.keep(connection);
        }
        let tasks = self.0.shared.tasks.clone();
        tasks.spawn(async move {
            let pool = &self.0;
            let kill = KillTarget::new(Arc::clone(pool), connection.server().connection_id);
            let baseline = pool.shared.settings.baseline();
            let work = connection.make_clean(&baseline, kill);
            match tokio::time::timeout(pool.shared.config.reset_timeout, work).await {
                Ok(Ok(())) => pool.count_reset(),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "connection cannot be made clean");
                    connection.close_on_return();
                }
                Err(_elapsed) => connection.close_on_return(),
            }
            pool.keep(connection);
        });
    }
}

// === impl Waiting ===

impl<'a> Waiting<'a> {
    fn new(pool: &'a Pool) -> Self {
        pool.waiting.fetch_add(1, Ordering::Relaxed);
        pool.series.waiting.inc();
        Self(pool)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.series.waiting.dec();
    }
}

/// Up to a tenth less, so that connections that were opened together do not end together.
fn jittered(lifetime: Duration) -> Duration {
    lifetime.mul_f64(rand::random_range(0.9..1.0))
}
