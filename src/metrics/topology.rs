//! How fresh is the topology, and what became of its changes?

use std::time::Duration;

use prometheus::{IntCounter, IntGauge};

use super::family::{Counters, Gauges, Histograms};
use super::register::Register;

/// Topology and VSchema. The root is `global` or the name of a cell.
#[derive(Debug)]
pub struct TopologyMetrics {
    /// Topology versions put in use.
    pub loads: IntCounter,
    /// Faults found in records and files, each counted once; the last good state stays.
    pub failures: IntCounter,
    /// VSchema versions put in use. The name is an accident of Vitess's name converter that
    /// dashboards rely on.
    pub vschema_loads: IntCounter,
    /// VSchemas of keyspaces refused; the last good one stays.
    pub vschema_failures: IntCounter,
    /// 1 while the last version of everything is in use, 0 while an older one has to be.
    pub current: IntGauge,
    /// Keyspaces served.
    pub keyspaces: IntGauge,
    /// Shards served.
    pub shards: IntGauge,
    operations: Histograms,
    errors: Counters,
    watch_errors: Counters,
    connected: Gauges,
    age: Gauges,
}

// === impl TopologyMetrics ===

impl TopologyMetrics {
    pub(super) fn new(register: &Register) -> prometheus::Result<Self> {
        let vschema = register.counters("vtgate_vtgatevschema_counts", "VSchema changes", &["changes"])?;
        Ok(Self {
            loads: register.counter("shardgate_topology_loads_total", "Topologies put in use")?,
            failures: register.counter(
                "shardgate_topology_failures_total",
                "Faults of the topology; the last good state stays",
            )?,
            vschema_loads: vschema.with_label_values(&["Reload"]),
            vschema_failures: vschema.with_label_values(&["WatchError"]),
            current: register.gauge("shardgate_topology_current", "1 while the newest state is in use")?,
            keyspaces: register.gauge("shardgate_keyspaces", "Keyspaces served")?,
            shards: register.gauge("shardgate_shards", "Shards served")?,
            operations: register.histograms(
                "vtgate_topology_conn_operations",
                "Calls of the topology server",
                &["cell", "operation"],
            )?,
            errors: register.counters(
                "vtgate_topology_conn_errors",
                "Failed calls of the topology server",
                &["cell", "operation"],
            )?,
            watch_errors: register.counters(
                "shardgate_topology_watch_errors_total",
                "Watches that ended and readings that failed",
                &["cell"],
            )?,
            connected: register.gauges(
                "shardgate_topology_connected",
                "1 while changes of the topology are heard of",
                &["cell"],
            )?,
            age: register.gauges(
                "shardgate_topology_age_seconds",
                "How old the known topology may be",
                &["cell"],
            )?,
        })
    }

    /// Counts a call of etcd.
    pub fn call(&self, cell: &str, operation: &str, took: Duration, failed: bool) {
        self.operations.with_label_values(&[cell, operation]).observe(took.as_secs_f64());
        if failed {
            self.errors.with_label_values(&[cell, operation]).inc();
        }
    }

    /// Counts a watch that ended, or a reading that failed.
    pub fn watch_error(&self, cell: &str) {
        self.watch_errors.with_label_values(&[cell]).inc();
    }

    /// 1 while changes of this root are heard of.
    pub fn connected(&self, cell: &str) -> IntGauge {
        self.connected.with_label_values(&[cell])
    }

    /// How old what is known of this root may be, in seconds; 0 while changes are heard of.
    pub fn age(&self, cell: &str) -> IntGauge {
        self.age.with_label_values(&[cell])
    }

    /// Drops the gauges of a cell that is not watched any more.
    pub fn forget(&self, cell: &str) {
        // Fails for a cell that never had any.
        self.connected.remove_label_values(&[cell]);
        self.age.remove_label_values(&[cell]);
    }
}
