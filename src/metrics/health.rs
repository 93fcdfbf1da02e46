//! What is counted about the health of servers, and about statements that wait for a primary?

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge};

use super::family::{Counters, Gauges, Histograms};
use super::known::KnownTablets;
use super::register::Register;
use super::tablet::{TABLET, TabletLabels};

/// Health and buffering; [`HealthMetrics::tablet`] and [`HealthMetrics::buffer`] give the handles.
#[derive(Debug)]
pub struct HealthMetrics {
    known: KnownTablets,
    seconds: Histograms,
    errors: Counters,
    serving: Gauges,
    read_only: Gauges,
    lag: Gauges,
    primary_serving: Gauges,
    primaries: Mutex<BTreeSet<[String; 2]>>,
    promoted: Counters,
    starts: Counters,
    stops: Counters,
    duration_sum: Counters,
    last_duration: Gauges,
    in_flight: Gauges,
    buffered: Counters,
    drained: Counters,
    evicted: Counters,
    skipped: Counters,
    /// How many statements may wait.
    pub buffer_size: IntGauge,
}

/// The handles of one server.
#[derive(Debug)]
pub struct HealthSeries {
    /// Time of one probe, in seconds. Largest bucket: 10 s.
    pub seconds: Histogram,
    /// Probes that failed.
    pub errors: IntCounter,
    /// 1 while it answers.
    pub serving: IntGauge,
    /// 1 while it says that it refuses writes.
    pub read_only: IntGauge,
    /// Seconds behind its primary; -1 where that is not known.
    pub lag: IntGauge,
}

/// The handles of one shard's failover buffer.
#[derive(Debug)]
pub struct BufferSeries {
    /// New primaries that were seen.
    pub promoted: IntCounter,
    /// Failovers for which statements waited.
    pub starts: IntCounter,
    /// Statements that waited.
    pub buffered: IntCounter,
    /// Statements that went on after waiting.
    pub drained: IntCounter,
    stops: Counters,
    duration_sum: IntCounter,
    last_duration: IntGauge,
    in_flight: IntGauge,
    evicted: Counters,
    skipped: Counters,
    labels: [String; 2],
}

// === impl HealthMetrics ===

impl HealthMetrics {
    pub(super) fn new(register: &Register) -> prometheus::Result<Self> {
        const SHARD: [&str; 2] = ["keyspace", "shard_name"];
        const WHY: [&str; 3] = ["keyspace", "shard_name", "reason"];
        let counters = |name: &str, help: &str, labels: &[&str]| register.counters(name, help, labels);
        let gauges = |name: &str, help: &str, labels: &[&str]| register.gauges(name, help, labels);
        Ok(Self {
            known: KnownTablets::default(),
            seconds: register.histograms("shardgate_probe_seconds", "Time of health probes", &TABLET)?,
            errors: counters("shardgate_probe_errors_total", "Health probes that failed", &TABLET)?,
            serving: gauges("shardgate_tablet_answers", "1 while the server answers its probes", &TABLET)?,
            read_only: gauges("shardgate_tablet_read_only", "1 while the server refuses writes", &TABLET)?,
            lag: gauges(
                "shardgate_replication_lag_seconds",
                "How far a server is behind its primary; -1 where that is not known",
                &TABLET,
            )?,
            primary_serving: gauges(
                "shardgate_shard_primary_serving",
                "1 while the shard has a primary that takes statements",
                &SHARD,
            )?,
            primaries: Mutex::default(),
            promoted: counters(
                "vtgate_healthcheck_primary_promoted",
                "New primaries that were seen",
                &SHARD,
            )?,
            starts: counters("vtgate_buffer_starts", "Failovers for which statements waited", &SHARD)?,
            stops: counters("vtgate_buffer_stops", "Ends of waiting, by reason", &WHY)?,
            duration_sum: counters(
                "vtgate_buffer_failover_duration_sum_ms",
                "Time of all failovers for which statements waited, in ms",
                &SHARD,
            )?,
            last_duration: gauges(
                "vtgate_buffer_last_failover_duration_ms",
                "Time of the last failover for which statements waited, in ms",
                &SHARD,
            )?,
            in_flight: gauges(
                "vtgate_buffer_last_requests_in_flight_max",
                "Most statements that waited at a time during the last failover",
                &SHARD,
            )?,
            buffered: counters("vtgate_buffer_requests_buffered", "Statements that waited", &SHARD)?,
            drained: counters("vtgate_buffer_requests_drained", "Statements that went on", &SHARD)?,
            evicted: counters("vtgate_buffer_requests_evicted", "Statements that gave up waiting", &WHY)?,
            skipped: counters("vtgate_buffer_requests_skipped", "Statements that did not wait", &WHY)?,
            buffer_size: register.gauge("vtgate_buffer_size", "How many statements may wait")?,
        })
    }

    /// The handles of one server.
    #[must_use]
    pub fn tablet(&self, tablet: TabletLabels<'_>) -> HealthSeries {
        self.known.add(tablet);
        let labels = [tablet.keyspace, tablet.shard, tablet.db_type, tablet.alias];
        HealthSeries {
            seconds: self.seconds.with_label_values(&labels),
            errors: self.errors.with_label_values(&labels),
            serving: self.serving.with_label_values(&labels),
            read_only: self.read_only.with_label_values(&labels),
            lag: self.lag.with_label_values(&labels),
        }
    }

    /// Keeps the series of these servers and drops all others.
    pub fn retain(&self, keep: impl Fn(TabletLabels<'_>) -> bool) {
        self.known.retain(keep, |tablet, _| {
            let labels = [tablet.keyspace, tablet.shard, tablet.db_type, tablet.alias];
            // Removing fails only for what is not there.
            self.seconds.remove_label_values(&labels);
            self.errors.remove_label_values(&labels);
            for gauge in [&self.serving, &self.read_only, &self.lag] {
                gauge.remove_label_values(&labels);
            }
        });
    }

    /// Says of every shard that there is whether its primary serves; the shards of the last call that
    /// are not among them have gone.
    pub fn set_primaries(&self, shards: &[(&str, &str, bool)]) {
        let mut serving = self.primaries.lock().unwrap_or_else(PoisonError::into_inner);
        let there: BTreeSet<_> =
            shards.iter().map(|(keyspace, shard, _)| [*keyspace, *shard].map(ToOwned::to_owned)).collect();
        for gone in serving.difference(&there) {
            // Fails only for what is not there.
            self.primary_serving.remove_label_values(&[&gone[0], &gone[1]]);
        }
        for (keyspace, shard, serves) in shards {
            self.primary_serving.with_label_values(&[keyspace, shard]).set(i64::from(*serves));
        }
        *serving = there;
    }

    /// The handles of one shard.
    #[must_use]
    pub fn buffer(&self, keyspace: &str, shard: &str) -> BufferSeries {
        let labels = [keyspace, shard];
        BufferSeries {
            promoted: self.promoted.with_label_values(&labels),
            starts: self.starts.with_label_values(&labels),
            buffered: self.buffered.with_label_values(&labels),
            drained: self.drained.with_label_values(&labels),
            duration_sum: self.duration_sum.with_label_values(&labels),
            last_duration: self.last_duration.with_label_values(&labels),
            in_flight: self.in_flight.with_label_values(&labels),
            stops: self.stops.clone(),
            evicted: self.evicted.clone(),
            skipped: self.skipped.clone(),
            labels: labels.map(ToOwned::to_owned),
        }
    }
}

// === impl BufferSeries ===

impl BufferSeries {
    /// Notes the end of a failover.
    pub fn stopped(&self, reason: &str, took: Duration) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.duration_sum.inc_by(millis);
        self.last_duration.set(i64::try_from(millis).unwrap_or(i64::MAX));
        self.with(&self.stops, reason).inc();
        self.in_flight.set(0);
    }

    /// Notes how many wait now.
    pub fn in_flight(&self, waiting: usize) {
        let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
        self.in_flight.set(Ord::max(self.in_flight.get(), waiting));
    }

    /// The counter of statements that gave up waiting for this reason.
    #[must_use]
    pub fn evicted(&self, reason: &str) -> IntCounter {
        self.with(&self.evicted, reason)
    }

    /// The counter of statements that did not wait for this reason.
    #[must_use]
    pub fn skipped(&self, reason: &str) -> IntCounter {
        self.with(&self.skipped, reason)
    }

    fn with(&self, counters: &Counters, reason: &str) -> IntCounter {
        counters.with_label_values(&[self.labels[0].as_str(), self.labels[1].as_str(), reason])
    }
}
