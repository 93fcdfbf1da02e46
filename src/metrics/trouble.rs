//! What is counted of that which an operator should look into?
//!
//! Connections that a session keeps to itself, statements that one client sends again and again, and load
//! that falls on one shard or key. `/debug/advice` names them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use prometheus::{IntCounter, IntGauge};

use super::family::{Counters, Gauges, Ratios};
use super::register::Register;

/// Pinned connections, repeated statements, uneven load.
#[derive(Debug)]
pub struct TroubleMetrics {
    pinned: Gauges,
    pins: Counters,
    /// Times that a session sent one kind of statement ten times in a row with different values.
    pub repetitions: IntCounter,
    /// Statements of such rows.
    pub repeated: IntCounter,
    hottest_key: Ratios,
    hottest_shard: Ratios,
    keyspaces: Mutex<BTreeSet<String>>,
}

/// How uneven the load of one keyspace is.
#[derive(Debug, Clone, PartialEq)]
pub struct Unevenness {
    /// The keyspace.
    pub keyspace: String,
    /// The part of its single-shard statements that are for its busiest keyspace id, 0 to 1.
    pub key: f64,
    /// The part of them that its busiest shard gets, 0 to 1.
    pub shard: f64,
}

// === impl TroubleMetrics ===

impl TroubleMetrics {
    pub(super) fn new(register: &Register) -> prometheus::Result<Self> {
        Ok(Self {
            pinned: register.gauges(
                "shardgate_pinned_connections",
                "Connections to servers that a session keeps to itself now, by reason",
                &["reason"],
            )?,
            pins: register.counters(
                "shardgate_pins_total",
                "Times that a session took a connection for itself, by reason",
                &["reason"],
            )?,
            repetitions: register.counter(
                "shardgate_repetitions_total",
                "Times that a session sent one kind of query ten times in a row with different values",
            )?,
            repeated: register.counter(
                "shardgate_repeated_statements_total",
                "Queries that were part of such a row: one with IN or a join could take its place",
            )?,
            hottest_key: register.ratios(
                "shardgate_hottest_key_ratio",
                "Part of the single-shard statements that the busiest keyspace id got in the last minute, sampled",
                &["keyspace"],
            )?,
            hottest_shard: register.ratios(
                "shardgate_hottest_shard_ratio",
                "Part of the single-shard statements that the busiest shard got in the last minute, sampled",
                &["keyspace"],
            )?,
            keyspaces: Mutex::default(),
        })
    }

    /// The gauge and the counter of connections that are pinned for one reason.
    #[must_use]
    pub fn pinned(&self, reason: &'static str) -> (IntGauge, IntCounter) {
        (self.pinned.with_label_values(&[reason]), self.pins.with_label_values(&[reason]))
    }

    /// Says how uneven the load of each keyspace is; those of the last call that are not among them have no
    /// load, or have gone.
    pub fn set_unevenness(&self, all: &[Unevenness]) {
        let mut known = self.keyspaces.lock().unwrap_or_else(PoisonError::into_inner);
        let now: BTreeSet<_> = all.iter().map(|one| one.keyspace.clone()).collect();
        for gone in known.difference(&now) {
            self.hottest_key.remove_label_values(&[gone]);
            self.hottest_shard.remove_label_values(&[gone]);
        }
        for one in all {
            self.hottest_key.with_label_values(&[&one.keyspace]).set(one.key);
            self.hottest_shard.with_label_values(&[&one.keyspace]).set(one.shard);
        }
        *known = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn a_keyspace_without_load_has_no_series() {
        let metrics = Metrics::new().unwrap();
        let one = Unevenness { keyspace: "service".to_owned(), key: 0.25, shard: 0.5 };
        metrics.trouble.set_unevenness(&[one]);
        let text = metrics.text();
        for line in [
            r#"shardgate_hottest_key_ratio{keyspace="service"} 0.25"#,
            r#"shardgate_hottest_shard_ratio{keyspace="service"} 0.5"#,
        ] {
            assert!(text.lines().any(|have| have == line), "no line {line} in:\n{text}");
        }
        metrics.trouble.set_unevenness(&[]);
        assert!(!metrics.text().contains("keyspace=\"service\""));
    }
}
