//! Who asks each server again and again, and who hears of the answers?
//!
//! One task per server. It asks at `health.probe_interval`, at once when somebody wants to know, and
//! in quick succession while the server is the primary of a suspect shard: the time between a new
//! primary's first write and the end of the waiting is one such pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Health;
use super::probe::Prober;
use super::state::State;
use crate::metrics::{HealthSeries, TabletLabels};
use crate::topology::{Tablet, TabletType};

/// The shortest pause between two probes of a suspect primary.
const QUICK: Duration = Duration::from_millis(10);

/// One server that is watched.
#[derive(Debug)]
pub struct Watched {
    tablet: Arc<Tablet>,
    state: ArcSwap<State>,
    wanted: Notify,
    /// Probes that have begun.
    begun: AtomicU64,
    /// Probes that have ended.
    ended: watch::Sender<u64>,
    end: CancellationToken,
    series: HealthSeries,
}

// === impl Health ===

impl Health {
    /// Begins to watch a server.
    pub(super) fn watch(self: &Arc<Self>, tablet: &Arc<Tablet>) -> Arc<Watched> {
        let series = self.metrics.health.tablet(TabletLabels {
            keyspace: &tablet.keyspace,
            shard: &tablet.shard,
            db_type: tablet.kind.as_str(),
            alias: &tablet.alias.to_string(),
        });
        let watched = Arc::new(Watched {
            tablet: Arc::clone(tablet),
            state: ArcSwap::from_pointee(State::unknown()),
            wanted: Notify::new(),
            begun: AtomicU64::new(0),
            ended: watch::channel(0).0,
            end: self.stop.child_token(),
            series,
        });
        self.tasks.spawn(Arc::clone(self).look_after(Arc::clone(&watched)));
        watched
    }

    async fn look_after(self: Arc<Self>, watched: Arc<Watched>) {
        let heartbeat = self.probing.heartbeat_table.as_deref();
        let mut prober = Prober::new(&self.dialer, &watched.tablet.address, heartbeat);
        loop {
            let began = Instant::now();
            let number = watched.begun.fetch_add(1, Ordering::AcqRel) + 1;
            let limit = self.probing.probe_timeout;
            let asked = tokio::select! {
                () = watched.end.cancelled() => return,
                asked = tokio::time::timeout(limit, prober.ask(watched.tablet.kind)) => asked,
            };
            let result = asked.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")));
            watched.learn(result, began);
            let pause = self.pause(&watched, began);
            watched.ended.send_replace(number);
            tokio::select! {
                () = watched.end.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = watched.wanted.notified() => {}
            }
        }
    }

    /// Tells the shard of its primary's answer; how long to wait until the next question.
    fn pause(&self, watched: &Watched, began: Instant) -> Duration {
        let tablet = &watched.tablet;
        // Up to a tenth less, so that servers are not all asked at the same moment.
        let usual = self.probing.probe_interval.mul_f64(rand::random_range(0.9..1.0));
        if tablet.kind != TabletType::Primary {
            return usual;
        }
        let Some(failover) = self.failover(&tablet.keyspace, &tablet.shard) else { return usual };
        failover.hear(tablet, &watched.state(), began);
        match failover.suspect_for(tablet) {
            Some(age) => Ord::clamp(age / 50, QUICK, usual),
            None => usual,
        }
    }
}

// === impl Watched ===

impl Watched {
    /// The server.
    #[must_use]
    pub fn tablet(&self) -> &Arc<Tablet> {
        &self.tablet
    }

    /// What is known of it.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Wants an answer now.
    pub(super) fn ask(&self) {
        self.wanted.notify_one();
    }

    /// Waits for the end of a probe that begins after this call.
    pub(super) async fn ask_and_wait(&self) {
        let wanted = self.begun.load(Ordering::Acquire) + 1;
        self.ask();
        let mut ended = self.ended.subscribe();
        tokio::select! {
            // An error means that the server is watched no more.
            _ = ended.wait_for(|number| *number >= wanted) => {}
            () = self.end.cancelled() => {}
        }
    }

    /// Waits for the end of the first probe.
    pub(super) async fn asked_once(&self) {
        let mut ended = self.ended.subscribe();
        // An error means that the server is watched no more.
        let _ = ended.wait_for(|number| *number >= 1).await;
    }

    /// Ends the watching.
    pub(super) fn end(&self) {
        self.end.cancel();
    }

    fn learn(&self, result: Result<super::probe::Answer, String>, began: Instant) {
        let now = Instant::now();
        self.series.seconds.observe(now.duration_since(began).as_secs_f64());
        let before = self.state();
        let state = before.after(result, now);
        if state.error().is_some() {
            self.series.errors.inc();
        }
        self.series.serving.set(i64::from(state.answers()));
        self.series.read_only.set(i64::from(state.refuses_writes()));
        self.series.lag.set(state.lag().map_or(-1, |lag| i64::try_from(lag.as_secs()).unwrap_or(i64::MAX)));
        if before.is_known() && before.answers() != state.answers() {
            let alias = &self.tablet.alias;
            if let Some(error) = state.error() {
                tracing::warn!(tablet = %alias, error, "server does not answer");
            } else {
                tracing::info!(tablet = %alias, "server answers again");
            }
        }
        self.state.store(Arc::new(state));
    }
}
