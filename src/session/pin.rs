//! Why does a session keep a connection to a server for itself?
//!
//! A connection that lies idle with one client is missing to all others. Each such connection is counted by
//! its reason, and the list of sessions says who has it.

use std::sync::Arc;

use tokio::time::Instant;

use super::registry::Entry;
use crate::metrics::{GaugeGuard, Metrics};
use crate::topology::TabletAlias;

/// What keeps a connection with its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinReason {
    /// The session holds a lock of `GET_LOCK`.
    NamedLock,
    /// The session has made a temporary table.
    TemporaryTable,
}

/// One connection that a session keeps.
#[derive(Debug, Clone)]
pub struct Pinned {
    /// Why.
    pub reason: PinReason,
    /// To which server.
    pub tablet: TabletAlias,
    /// Since when.
    pub since: Instant,
}

/// Counts a connection, and shows it in the list of sessions, for as long as it lives.
#[derive(Debug)]
pub(super) struct Pin {
    entry: Arc<Entry>,
    reason: PinReason,
    _counted: GaugeGuard,
}

// === impl PinReason ===

impl PinReason {
    /// The label of the metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NamedLock => "named_lock",
            Self::TemporaryTable => "temporary_table",
        }
    }

    /// What the list of sessions says.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::NamedLock => "holds a named lock",
            Self::TemporaryTable => "has a temporary table",
        }
    }
}

// === impl Pin ===

impl Pin {
    /// The session keeps a connection to this server from now on. A session has one for a reason at most.
    pub(super) fn new(
        entry: &Arc<Entry>,
        metrics: &Metrics,
        reason: PinReason,
        tablet: &TabletAlias,
    ) -> Self {
        let (open, count) = metrics.trouble.pinned(reason.label());
        count.inc();
        let pinned = Pinned { reason, tablet: tablet.clone(), since: Instant::now() };
        entry.update(|view| view.pinned.push(pinned));
        Self { entry: Arc::clone(entry), reason, _counted: GaugeGuard::new(&open) }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.entry.update(|view| view.pinned.retain(|one| one.reason != self.reason));
    }
}

#[cfg(test)]
mod tests {
    use super::super::registry::Registry;
    use super::*;

    #[test]
    fn a_pin_is_seen_as_long_as_it_lasts() {
        let (registry, metrics) = (Arc::new(Registry::default()), Metrics::new().unwrap());
        let session = registry.register("a".to_owned());
        let alias = TabletAlias { cell: "zone1".into(), uid: 100 };
        let reasons = || -> Vec<_> { session.entry().view().pinned.iter().map(|one| one.reason).collect() };
        let lock = Pin::new(session.entry(), &metrics, PinReason::NamedLock, &alias);
        let table = Pin::new(session.entry(), &metrics, PinReason::TemporaryTable, &alias);
        assert_eq!(reasons(), [PinReason::NamedLock, PinReason::TemporaryTable]);
        drop(lock);
        assert_eq!(reasons(), [PinReason::TemporaryTable]);
        let text = metrics.text();
        for line in [
            r#"shardgate_pinned_connections{reason="named_lock"} 0"#,
            r#"shardgate_pinned_connections{reason="temporary_table"} 1"#,
            r#"shardgate_pins_total{reason="named_lock"} 1"#,
        ] {
            assert!(text.lines().any(|have| have == line), "no line {line} in:\n{text}");
        }
        drop(table);
        assert!(reasons().is_empty());
    }
}
