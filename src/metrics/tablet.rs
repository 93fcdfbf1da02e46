//! What is counted about the MySQL servers behind the gate and the pools to them?
//!
//! Hot path: a shard query touches the [`TabletSeries`] that its pool resolved once.

use std::sync::Arc;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::labels::CloseReason;
use super::register::Register;

/// What is counted about the servers behind the gate; [`BackendMetrics::tablet`] gives the handles.
#[derive(Debug)]
pub struct BackendMetrics {
    call: HistogramVec,
    call_errors: IntCounterVec,
    bytes_in: IntCounterVec,
    bytes_out: IntCounterVec,
    capacity: IntGaugeVec,
    in_use: IntGaugeVec,
    idle: IntGaugeVec,
    waiting: IntGaugeVec,
    leases: IntCounterVec,
    wait: HistogramVec,
    timeouts: IntCounterVec,
    opened: IntCounterVec,
    open_failures: IntCounterVec,
    closed: IntCounterVec,
    resets: IntCounterVec,
    settings_applied: IntCounterVec,
    healthy: IntGaugeVec,
}

/// Who a server is, as label values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TabletLabels<'a> {
    /// The keyspace.
    pub keyspace: &'a str,
    /// The shard's name.
    pub shard: &'a str,
    /// `primary`, `replica`, `rdonly`.
    pub db_type: &'a str,
    /// `zone1-0000000101`.
    pub alias: &'a str,
}

/// The handles of one server's pool.
#[derive(Debug)]
pub struct TabletSeries {
    /// Time of one shard query, from its sending to the end of its answer, in seconds.
    /// Largest bucket: 10 s.
    pub call_seconds: Histogram,
    /// Shard queries that ended in an error.
    pub call_errors: IntCounter,
    /// Bytes received from the server.
    pub bytes_in: IntCounter,
    /// Bytes sent to the server.
    pub bytes_out: IntCounter,
    /// Connections that the pool may hold.
    pub capacity: IntGauge,
    /// Connections that are leased.
    pub in_use: IntGauge,
    /// Connections that lie idle.
    pub idle: IntGauge,
    /// Sessions that wait for a connection.
    pub waiting: IntGauge,
    /// Connections leased since the start.
    pub leases: IntCounter,
    /// Time that a lease had to wait, in seconds; only those that waited count. Largest bucket: 10 s.
    pub wait_seconds: Histogram,
    /// Leases that gave up because `backend.queue_timeout` passed.
    pub timeouts: IntCounter,
    /// Connections opened.
    pub opened: IntCounter,
    /// Connections that could not be opened.
    pub open_failures: IntCounter,
    /// Connections reset before their next use.
    pub resets: IntCounter,
    /// Leases that had to apply session settings first.
    pub settings_applied: IntCounter,
    /// 1 while the server answers, 0 while it does not.
    pub healthy: IntGauge,
    closed: [IntCounter; 6],
}

// === impl BackendMetrics ===

impl BackendMetrics {
    pub(super) fn new(register: &Register<'_>) -> prometheus::Result<Self> {
        const CALL: [&str; 4] = ["operation", "keyspace", "shard_name", "db_type"];
        const TABLET: [&str; 4] = ["keyspace", "shard_name", "db_type", "tablet_alias"];
        let counters = |name: &str, help: &str| register.counters(name, help, &TABLET);
        let gauges = |name: &str, help: &str| register.gauges(name, help, &TABLET);
        Ok(Self {
            call: register.histograms("vtgate_vttablet_call", "Time of shard queries, in seconds", &CALL)?,
            call_errors: register.counters(
                "vtgate_vttablet_call_error_count",
                "Shard queries that failed",
                &CALL,
            )?,
            bytes_in: counters("shardgate_backend_received_bytes_total", "Bytes received from servers")?,
            bytes_out: counters("shardgate_backend_sent_bytes_total", "Bytes sent to servers")?,
            capacity: gauges("shardgate_pool_capacity", "Connections that the pool may hold")?,
            in_use: gauges("shardgate_pool_in_use", "Connections that are leased")?,
            idle: gauges("shardgate_pool_idle", "Connections that lie idle")?,
            waiting: gauges("shardgate_pool_waiting", "Sessions that wait for a connection")?,
            leases: counters("shardgate_pool_leases_total", "Connections leased")?,
            wait: register.histograms(
                "shardgate_pool_wait_seconds",
                "Time that leases had to wait",
                &TABLET,
            )?,
            timeouts: counters("shardgate_pool_timeouts_total", "Leases that gave up waiting")?,
            opened: counters("shardgate_pool_opened_total", "Connections opened")?,
            open_failures: counters("shardgate_pool_open_failures_total", "Connections that failed to open")?,
            closed: register.counters(
                "shardgate_pool_closed_total",
                "Connections closed, by reason",
                &["keyspace", "shard_name", "db_type", "tablet_alias", "reason"],
            )?,
            resets: counters("shardgate_pool_resets_total", "Connections reset before their next use")?,
            settings_applied: counters(
                "shardgate_pool_settings_applied_total",
                "Leases that had to apply session settings",
            )?,
            healthy: gauges("shardgate_tablet_healthy", "1 while the server answers")?,
        })
    }

    /// The handles of one server, resolved once when its pool is made.
    #[must_use]
    pub fn tablet(&self, tablet: TabletLabels<'_>) -> Arc<TabletSeries> {
        let TabletLabels { keyspace, shard, db_type, alias } = tablet;
        let call = ["Execute", keyspace, shard, db_type];
        let labels = [keyspace, shard, db_type, alias];
        Arc::new(TabletSeries {
            call_seconds: self.call.with_label_values(&call),
            call_errors: self.call_errors.with_label_values(&call),
            bytes_in: self.bytes_in.with_label_values(&labels),
            bytes_out: self.bytes_out.with_label_values(&labels),
            capacity: self.capacity.with_label_values(&labels),
            in_use: self.in_use.with_label_values(&labels),
            idle: self.idle.with_label_values(&labels),
            waiting: self.waiting.with_label_values(&labels),
            leases: self.leases.with_label_values(&labels),
            wait_seconds: self.wait.with_label_values(&labels),
            timeouts: self.timeouts.with_label_values(&labels),
            opened: self.opened.with_label_values(&labels),
            open_failures: self.open_failures.with_label_values(&labels),
            resets: self.resets.with_label_values(&labels),
            settings_applied: self.settings_applied.with_label_values(&labels),
            healthy: self.healthy.with_label_values(&labels),
            closed: CloseReason::ALL.map(|reason| {
                self.closed.with_label_values(&[keyspace, shard, db_type, alias, reason.as_str()])
            }),
        })
    }
}

// === impl TabletSeries ===

impl TabletSeries {
    /// The counter of connections closed for this reason.
    #[must_use]
    pub fn closed(&self, reason: CloseReason) -> &IntCounter {
        &self.closed[reason.index()]
    }
}
