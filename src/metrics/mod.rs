//! Which numbers does the gate publish, under which names, labels and buckets?
//!
//! Where Vitess's VTGate has a metric, the name, labels and buckets are its own (`vtgate_…`, so that
//! dashboards keep working); everything else is `shardgate_…` and ends in its unit. One [`Metrics`]
//! is made in `main` and passed down; nothing is global, so two gates can run in one process.

pub mod catalogue;
mod deadlock;
mod family;
mod guard;
mod health;
mod known;
pub mod labels;
mod query;
mod register;
mod tablet;
mod topology;
mod trouble;
mod twopc;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::{Histogram, IntCounter, IntGauge};

pub use deadlock::DeadlockMetrics;
pub use guard::GaugeGuard;
pub use health::{BufferSeries, HealthMetrics, HealthSeries};
pub use query::{ApiSeries, ExecutionSeries, PlanCacheMetrics, QueryMetrics, Routes};
pub use tablet::{BackendMetrics, TabletLabels, TabletSeries};
pub use topology::TopologyMetrics;
pub use trouble::{TroubleMetrics, Unevenness};
pub use twopc::TwoPcMetrics;

use family::Published;
use register::{Register, SECONDS};

/// Every metric of one gate.
pub struct Metrics {
    families: Vec<Box<dyn Published>>,
    last_size: AtomicUsize,
    descriptions: Vec<catalogue::Description>,
    /// Client connections and logins.
    pub frontend: FrontendMetrics,
    /// Statements and transactions.
    pub query: QueryMetrics,
    /// Servers and pools.
    pub backend: BackendMetrics,
    /// Health of servers, and statements that wait for a primary.
    pub health: HealthMetrics,
    /// Sequences.
    pub sequence: SequenceMetrics,
    /// Topology and VSchema.
    pub topology: TopologyMetrics,
    /// The process.
    pub control: ControlMetrics,
    /// Distributed transactions.
    pub twopc: TwoPcMetrics,
    /// Deadlocks over several shards.
    pub deadlock: DeadlockMetrics,
    /// What to look into.
    pub trouble: TroubleMetrics,
}

/// Client connections and logins.
#[derive(Debug)]
pub struct FrontendMetrics {
    /// Connections open now.
    pub connections: IntGauge,
    /// Connections open now that have not logged in yet.
    pub unauthenticated: IntGauge,
    /// Connections accepted since the start.
    pub accepted: IntCounter,
    /// Connections refused: too many, or a login that failed.
    pub refused: IntCounter,
    /// Logins that took longer than a second.
    pub slow: IntCounter,
    /// Connections that use TLS.
    pub tls: IntCounter,
    /// Login time, in seconds. Largest bucket: 10 s.
    pub connect_seconds: Histogram,
    /// Time of one statement with its answer, in seconds. Largest bucket: 10 s.
    pub query_seconds: Histogram,
    /// Bytes received from clients.
    pub bytes_in: IntCounter,
    /// Bytes sent to clients.
    pub bytes_out: IntCounter,
    /// Commands received, whatever they were.
    pub commands: IntCounter,
    /// Connections closed because the client was idle for longer than `listen.idle_timeout`.
    pub idle_closed: IntCounter,
}

/// Sequences.
#[derive(Debug)]
pub struct SequenceMetrics {
    /// Values handed out.
    pub values: IntCounter,
    /// Blocks taken from sequence tables.
    pub blocks: IntCounter,
    /// Blocks that could not be taken.
    pub block_failures: IntCounter,
    /// Time to take a block, in seconds. Largest bucket: 10 s.
    pub block_seconds: Histogram,
}

/// The process.
#[derive(Debug)]
pub struct ControlMetrics {
    /// Schemas of keyspaces that were read from servers and put in use.
    pub schema_loads: IntCounter,
    /// Times that no shard of a keyspace told its schema; the last one read stays in use.
    pub schema_failures: IntCounter,
    /// Lines of the query log that were dropped because the writer was behind.
    pub query_log_dropped: IntCounter,
    /// Spans that a collector has taken.
    pub spans_sent: IntCounter,
    /// Spans that were dropped: the collector was away, or too many waited.
    pub spans_dropped: IntCounter,
    uptime: IntGauge,
}

// === impl Metrics ===

impl Metrics {
    /// Makes and registers every metric.
    ///
    /// # Errors
    /// A malformed name: a fault of this program, found by its tests.
    pub fn new() -> prometheus::Result<Self> {
        let register = Register::default();
        let frontend = FrontendMetrics::new(&register)?;
        let query = QueryMetrics::new(&register)?;
        let backend = BackendMetrics::new(&register)?;
        let health = HealthMetrics::new(&register)?;
        let sequence = SequenceMetrics::new(&register)?;
        let topology = TopologyMetrics::new(&register)?;
        let control = ControlMetrics::new(&register)?;
        let twopc = TwoPcMetrics::new(&register)?;
        let deadlock = DeadlockMetrics::new(&register)?;
        let trouble = TroubleMetrics::new(&register)?;
        let (families, descriptions) = register.finish();
        let last_size = AtomicUsize::new(0);
        Ok(Self {
            families,
            last_size,
            descriptions,
            frontend,
            query,
            backend,
            health,
            sequence,
            topology,
            control,
            twopc,
            deadlock,
            trouble,
        })
    }

    /// Every metric, in the order of registration.
    #[must_use]
    pub fn descriptions(&self) -> &[catalogue::Description] {
        &self.descriptions
    }

    /// Keeps the series of these servers; those of all others, which have left the topology or changed
    /// their role, are dropped.
    pub fn retain_tablets(&self, keep: impl Fn(TabletLabels<'_>) -> bool) {
        self.backend.retain(&keep);
        self.health.retain(&keep);
    }

    /// Sets the uptime, in seconds; called when someone reads.
    pub fn set_uptime(&self, uptime: std::time::Duration) {
        self.control.uptime.set(i64::try_from(uptime.as_secs()).unwrap_or(i64::MAX));
    }

    /// Everything, in Prometheus's text format 0.0.4.
    #[must_use]
    pub fn text(&self) -> String {
        // About as much as the last time: a text of megabytes should not be copied while it grows.
        let expected = self.last_size.load(Ordering::Relaxed);
        let mut text = String::with_capacity(expected + expected / 8 + 4096);
        for family in &self.families {
            family.write(&mut text);
        }
        self.last_size.store(text.len(), Ordering::Relaxed);
        text
    }

    /// Everything as one JSON object, for `/debug/vars`: counters and gauges as numbers, histograms
    /// as their count and sum; labelled ones as an object from the label values, joined by dots.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let all = self.families.iter().map(|family| (family.name().to_owned(), family.json()));
        serde_json::Value::Object(all.collect())
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

// === impl FrontendMetrics ===

impl FrontendMetrics {
    fn new(register: &Register) -> prometheus::Result<Self> {
        let timings =
            register.histograms("vtgate_mysql_server_timings", "MySQL server timings", &["operation"])?;
        Ok(Self {
            connections: register.gauge("vtgate_mysql_server_conn_count", "Client connections open")?,
            unauthenticated: register.gauge(
                "vtgate_mysql_server_conn_count_unauthenticated",
                "Client connections that have not logged in",
            )?,
            accepted: register.counter("vtgate_mysql_server_conn_accepted", "Client connections accepted")?,
            refused: register.counter("vtgate_mysql_server_conn_refused", "Client connections refused")?,
            slow: register.counter("vtgate_mysql_server_conn_slow", "Logins that took over a second")?,
            tls: register.counter("shardgate_client_tls_connections_total", "Client connections with TLS")?,
            connect_seconds: timings.with_label_values(&["Connect"]),
            query_seconds: timings.with_label_values(&["Query"]),
            bytes_in: register.counter("shardgate_client_received_bytes_total", "Bytes from clients")?,
            bytes_out: register.counter("shardgate_client_sent_bytes_total", "Bytes to clients")?,
            commands: register.counter("shardgate_client_commands_total", "Commands from clients")?,
            idle_closed: register
                .counter("shardgate_client_idle_closed_total", "Client connections closed for idleness")?,
        })
    }
}

// === impl SequenceMetrics ===

impl SequenceMetrics {
    fn new(register: &Register) -> prometheus::Result<Self> {
        Ok(Self {
            values: register.counter("shardgate_sequence_values_total", "Sequence values handed out")?,
            blocks: register.counter("shardgate_sequence_blocks_total", "Sequence blocks taken")?,
            block_failures: register
                .counter("shardgate_sequence_block_failures_total", "Sequence blocks that failed")?,
            block_seconds: register.histogram(
                "shardgate_sequence_block_seconds",
                "Time to take a sequence block",
                &SECONDS,
            )?,
        })
    }
}

// === impl ControlMetrics ===

impl ControlMetrics {
    fn new(register: &Register) -> prometheus::Result<Self> {
        Ok(Self {
            schema_loads: register.counter(
                "shardgate_schema_loads_total",
                "Schemas of keyspaces read from servers and put in use",
            )?,
            schema_failures: register.counter(
                "shardgate_schema_failures_total",
                "Times that a keyspace's schema could not be read",
            )?,
            query_log_dropped: register
                .counter("shardgate_query_log_dropped_total", "Query log lines dropped")?,
            spans_sent: register
                .counter("shardgate_spans_sent_total", "Spans that the collector has taken")?,
            spans_dropped: register.counter("shardgate_spans_dropped_total", "Spans that were dropped")?,
            uptime: register.gauge("vtgate_uptime", "Seconds since the start")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::labels::{CloseReason, CommitMode, Operation, ShardSpread, TransactionEnd, WarningKind};
    use super::*;

    #[test]
    fn names_and_labels_are_those_of_vtgate() {
        let metrics = Metrics::new().unwrap();
        let api = metrics.query.api(Operation::Execute, "service", "primary");
        api.seconds.observe(0.002);
        api.rows_returned.inc_by(3);
        api.failed(1062);
        metrics.query.execution("SELECT", "Scatter", "PRIMARY").executions.inc();
        metrics.query.transaction_ended(ShardSpread::Cross, TransactionEnd::Commit);
        metrics.query.commit_seconds(CommitMode::Multi).observe(0.1);
        metrics.query.warned(WarningKind::NonAtomicCommit);
        let text = metrics.text();
        for line in [
            r#"vtgate_api_bucket{db_type="primary",keyspace="service",operation="Execute",le="0.005"} 1"#,
            r#"vtgate_api_error_counts{code="1062",db_type="primary",keyspace="service",operation="Execute"} 1"#,
            r#"vtgate_api_rows_returned{db_type="primary",keyspace="service",operation="Execute"} 3"#,
            r#"vtgate_query_executions{plan="Scatter",query="SELECT",tablet="PRIMARY"} 1"#,
            r#"vtgate_transactions_processed{shard="Cross",type="Commit"} 1"#,
            r#"vtgate_commit_mode_timings_count{mode="Multi"} 1"#,
            r#"vtgate_warnings{type="NonAtomicCommit"} 1"#,
            r#"vtgate_vtgatevschema_counts{changes="Reload"} 0"#,
            "vtgate_query_plan_cache_hits 0",
            "vtgate_mysql_server_conn_count 0",
        ] {
            assert!(text.lines().any(|have| have == line), "no line {line} in:\n{text}");
        }
    }

    #[test]
    fn pools_carry_the_tablet_alias() {
        let metrics = Metrics::new().unwrap();
        let labels =
            TabletLabels { keyspace: "ks", shard: "-80", db_type: "primary", alias: "zone1-0000000100" };
        let pool = metrics.backend.tablet(labels);
        pool.closed(CloseReason::Idle);
        // The same server again: the same series.
        metrics.backend.tablet(labels).opened.inc_by(2);
        pool.opened.inc();
        let text = metrics.text();
        for line in [
            r#"shardgate_pool_opened_total{db_type="primary",keyspace="ks",shard_name="-80",tablet_alias="zone1-0000000100"} 3"#,
            r#"shardgate_pool_closed_total{db_type="primary",keyspace="ks",reason="idle",shard_name="-80",tablet_alias="zone1-0000000100"} 1"#,
        ] {
            assert!(text.lines().any(|have| have == line), "no line {line} in:\n{text}");
        }
    }

    #[test]
    fn the_series_of_a_server_go_with_it() {
        let metrics = Metrics::new().unwrap();
        let labels = |db_type, alias| TabletLabels { keyspace: "ks", shard: "-80", db_type, alias };
        let (old, new) = (labels("primary", "zone1-0000000100"), labels("primary", "zone1-0000000101"));
        metrics.backend.tablet(old).called(std::time::Duration::from_millis(1), false);
        metrics.backend.tablet(labels("replica", "zone1-0000000101")).closed(CloseReason::Idle);
        metrics.health.tablet(old).serving.set(0);
        let _series = metrics.backend.tablet(new);
        metrics.retain_tablets(|tablet| tablet == new);
        let text = metrics.text();
        assert!(!text.contains("zone1-0000000100") && !text.contains("\"replica\""), "{text}");
        let calls = r#"vtgate_vttablet_call_count{db_type="primary",keyspace="ks",operation="Execute",shard_name="-80"} 1"#;
        assert!(text.contains(calls), "another server of the shard and type counts on: {text}");
        metrics.retain_tablets(|_| false);
        let text = metrics.text();
        assert!(!text.contains("shard_name=\"-80\""), "{text}");
    }

    #[test]
    fn vars_are_numbers_and_objects() {
        let metrics = Metrics::new().unwrap();
        metrics.frontend.accepted.inc_by(7);
        metrics.query.warned(WarningKind::ResultsExceeded);
        let vars = metrics.json();
        assert_eq!(vars["vtgate_mysql_server_conn_accepted"], 7);
        assert_eq!(vars["vtgate_warnings"]["ResultsExceeded"], 1);
    }
}
