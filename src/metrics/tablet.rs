//! What is counted about the MySQL servers behind the gate and the pools to them?
//!
//! Hot path: a shard query touches the [`TabletSeries`] that its pool resolved once.
//!
//! VTTablet stands beside each server in Vitess and counts there; what it counts about its pool and its
//! MySQL has its names here (`vttablet_…`), with labels that say which server is meant. A server that
//! leaves the topology, or changes its role, takes its series along ([`BackendMetrics::retain`]).

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Counter, Histogram, IntCounter, IntGauge};

use super::family::{Counters, Gauges, Histograms, Sums};
use super::known::KnownTablets;
use super::labels::CloseReason;
use super::register::Register;

/// The labels of everything about one server.
pub(super) const TABLET: [&str; 4] = ["keyspace", "shard_name", "db_type", "tablet_alias"];

/// What is counted about the servers behind the gate; [`BackendMetrics::tablet`] gives the handles.
#[derive(Debug)]
pub struct BackendMetrics {
    known: KnownTablets,
    call: Histograms,
    call_errors: Counters,
    mysql: Histograms,
    errors: Counters,
    bytes_in: Counters,
    bytes_out: Counters,
    capacity: Gauges,
    available: Gauges,
    active: Gauges,
    in_use: Gauges,
    idle: Gauges,
    waiting: Gauges,
    leases: Counters,
    wait: Histograms,
    wait_count: Counters,
    wait_time: Sums,
    timeouts: Counters,
    opened: Counters,
    open_failures: Counters,
    closed: Counters,
    idle_closed: Counters,
    lifetime_closed: Counters,
    resets: Counters,
    settings_applied: Counters,
    healthy: Gauges,
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
    call_seconds: Histogram,
    mysql_seconds: Histogram,
    call_errors: IntCounter,
    errors: IntCounter,
    /// Bytes received from the server.
    pub bytes_in: IntCounter,
    /// Bytes sent to the server.
    pub bytes_out: IntCounter,
    capacity: IntGauge,
    /// Connections that may be leased at once beside those that are.
    pub available: IntGauge,
    /// Connections that are open.
    pub active: IntGauge,
    /// Connections that are leased.
    pub in_use: IntGauge,
    /// Connections that lie idle.
    pub idle: IntGauge,
    /// Sessions that wait for a connection.
    pub waiting: IntGauge,
    /// Connections leased since the start.
    pub leases: IntCounter,
    wait_seconds: Histogram,
    wait_count: IntCounter,
    wait_time: Counter,
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
    idle_closed: IntCounter,
    lifetime_closed: IntCounter,
}

// === impl BackendMetrics ===

impl BackendMetrics {
    pub(super) fn new(register: &Register) -> prometheus::Result<Self> {
        const CALL: [&str; 4] = ["operation", "keyspace", "shard_name", "db_type"];
        const MYSQL: [&str; 5] = ["operation", "keyspace", "shard_name", "db_type", "tablet_alias"];
        const CLOSED: [&str; 5] = ["keyspace", "shard_name", "db_type", "tablet_alias", "reason"];
        let counters = |name: &str, help: &str| register.counters(name, help, &TABLET);
        let gauges = |name: &str, help: &str| register.gauges(name, help, &TABLET);
        Ok(Self {
            known: KnownTablets::default(),
            call: register.histograms("vtgate_vttablet_call", "Time of shard queries", &CALL)?,
            call_errors: register.counters(
                "vtgate_vttablet_call_error_count",
                "Shard queries that failed",
                &CALL,
            )?,
            mysql: register.histograms("vttablet_mysql", "Time of statements on the server", &MYSQL)?,
            errors: counters("shardgate_backend_errors_total", "Statements that failed on the server")?,
            bytes_in: counters("shardgate_backend_received_bytes_total", "Bytes received from servers")?,
            bytes_out: counters("shardgate_backend_sent_bytes_total", "Bytes sent to servers")?,
            capacity: gauges("vttablet_conn_pool_capacity", "Connections that the pool may hold")?,
            available: gauges(
                "vttablet_conn_pool_available",
                "Connections that could be leased at once: the capacity without those in use",
            )?,
            active: gauges("vttablet_conn_pool_active", "Connections that are open")?,
            in_use: gauges("vttablet_conn_pool_in_use", "Connections that are leased")?,
            idle: gauges("shardgate_pool_idle", "Connections that lie idle")?,
            waiting: gauges("shardgate_pool_waiting", "Sessions that wait for a connection")?,
            leases: counters("vttablet_conn_pool_get", "Connections leased")?,
            wait: register.histograms(
                "shardgate_pool_wait_seconds",
                "Time that leases had to wait",
                &TABLET,
            )?,
            wait_count: counters("vttablet_conn_pool_wait_count", "Leases that had to wait")?,
            wait_time: register.sums(
                "vttablet_conn_pool_wait_time",
                "Time that leases have waited altogether",
                &TABLET,
            )?,
            timeouts: counters("shardgate_pool_timeouts_total", "Leases that gave up waiting")?,
            opened: counters("shardgate_pool_opened_total", "Connections opened")?,
            open_failures: counters("shardgate_pool_open_failures_total", "Connections that failed to open")?,
            closed: register.counters(
                "shardgate_pool_closed_total",
                "Connections closed, by reason",
                &CLOSED,
            )?,
            idle_closed: counters("vttablet_conn_pool_idle_closed", "Connections closed for idleness")?,
            lifetime_closed: counters(
                "vttablet_conn_pool_max_lifetime_closed",
                "Connections closed because they were too old",
            )?,
            resets: counters("vttablet_conn_pool_reset_setting", "Connections reset before their next use")?,
            settings_applied: counters(
                "shardgate_pool_settings_applied_total",
                "Leases that had to apply session settings",
            )?,
            healthy: gauges("shardgate_tablet_healthy", "1 while connections to the server can be opened")?,
        })
    }

    /// The handles of one server, resolved once when its pool is made.
    #[must_use]
    pub fn tablet(&self, tablet: TabletLabels<'_>) -> Arc<TabletSeries> {
        let TabletLabels { keyspace, shard, db_type, alias } = tablet;
        self.known.add(tablet);
        let call = [CALLS, keyspace, shard, db_type];
        let labels = [keyspace, shard, db_type, alias];
        Arc::new(TabletSeries {
            call_seconds: self.call.with_label_values(&call),
            call_errors: self.call_errors.with_label_values(&call),
            mysql_seconds: self.mysql.with_label_values(&[MYSQL_CALLS, keyspace, shard, db_type, alias]),
            errors: self.errors.with_label_values(&labels),
            bytes_in: self.bytes_in.with_label_values(&labels),
            bytes_out: self.bytes_out.with_label_values(&labels),
            capacity: self.capacity.with_label_values(&labels),
            available: self.available.with_label_values(&labels),
            active: self.active.with_label_values(&labels),
            in_use: self.in_use.with_label_values(&labels),
            idle: self.idle.with_label_values(&labels),
            waiting: self.waiting.with_label_values(&labels),
            leases: self.leases.with_label_values(&labels),
            wait_seconds: self.wait.with_label_values(&labels),
            wait_count: self.wait_count.with_label_values(&labels),
            wait_time: self.wait_time.with_label_values(&labels),
            timeouts: self.timeouts.with_label_values(&labels),
            opened: self.opened.with_label_values(&labels),
            open_failures: self.open_failures.with_label_values(&labels),
            resets: self.resets.with_label_values(&labels),
            settings_applied: self.settings_applied.with_label_values(&labels),
            healthy: self.healthy.with_label_values(&labels),
            closed: CloseReason::ALL.map(|reason| {
                self.closed.with_label_values(&[keyspace, shard, db_type, alias, reason.as_str()])
            }),
            idle_closed: self.idle_closed.with_label_values(&labels),
            lifetime_closed: self.lifetime_closed.with_label_values(&labels),
        })
    }

    /// Keeps the series of these servers and drops all others.
    pub fn retain(&self, keep: impl Fn(TabletLabels<'_>) -> bool) {
        let gauges = [
            &self.capacity,
            &self.available,
            &self.active,
            &self.in_use,
            &self.idle,
            &self.waiting,
            &self.healthy,
        ];
        let counters = [
            &self.errors,
            &self.bytes_in,
            &self.bytes_out,
            &self.leases,
            &self.wait_count,
            &self.timeouts,
            &self.opened,
            &self.open_failures,
            &self.idle_closed,
            &self.lifetime_closed,
            &self.resets,
            &self.settings_applied,
        ];
        self.known.retain(keep, |tablet, shares_calls| {
            let TabletLabels { keyspace, shard, db_type, alias } = tablet;
            let labels = [keyspace, shard, db_type, alias];
            // Removing fails only for what is not there.
            for gauge in gauges {
                gauge.remove_label_values(&labels);
            }
            for counter in counters {
                counter.remove_label_values(&labels);
            }
            self.wait.remove_label_values(&labels);
            self.wait_time.remove_label_values(&labels);
            self.mysql.remove_label_values(&[MYSQL_CALLS, keyspace, shard, db_type, alias]);
            for reason in CloseReason::ALL {
                let labels = [keyspace, shard, db_type, alias, reason.as_str()];
                self.closed.remove_label_values(&labels);
            }
            if !shares_calls {
                self.call.remove_label_values(&[CALLS, keyspace, shard, db_type]);
                self.call_errors.remove_label_values(&[CALLS, keyspace, shard, db_type]);
            }
        });
    }
}

/// The `operation` of shard queries: Vitess's word for a call that is not streamed.
const CALLS: &str = "Execute";

/// The `operation` of statements on the server: VTTablet's word.
const MYSQL_CALLS: &str = "Exec";

// === impl TabletSeries ===

impl TabletSeries {
    /// Counts one statement, from its sending to the end of its answer.
    pub fn called(&self, took: Duration, failed: bool) {
        let seconds = took.as_secs_f64();
        self.call_seconds.observe(seconds);
        self.mysql_seconds.observe(seconds);
        if failed {
            self.call_failed();
        }
    }

    /// Counts a statement that ended in an error, or without an answer.
    pub fn call_failed(&self) {
        self.call_errors.inc();
        self.errors.inc();
    }

    /// Counts a lease that had to wait.
    pub fn waited(&self, time: Duration) {
        self.wait_seconds.observe(time.as_secs_f64());
        self.wait_count.inc();
        self.wait_time.inc_by(time.as_secs_f64());
    }

    /// Notes that the pool may hold so many connections more; fewer, where negative.
    pub fn resized(&self, more: i64) {
        self.capacity.add(more);
        self.available.add(more);
    }

    /// Counts a connection that was closed.
    pub fn closed(&self, reason: CloseReason) {
        self.active.dec();
        self.closed[reason.index()].inc();
        match reason {
            CloseReason::Idle => self.idle_closed.inc(),
            CloseReason::Lifetime => self.lifetime_closed.inc(),
            _ => {}
        }
    }
}
