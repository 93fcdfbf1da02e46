//! Whose series are there, so that those of servers that have gone can be dropped?

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::tablet::TabletLabels;

/// Keyspace, shard, type and alias of every server that has series.
#[derive(Debug, Default)]
pub(super) struct KnownTablets(Mutex<BTreeSet<[String; 4]>>);

// === impl KnownTablets ===

impl KnownTablets {
    pub(super) fn add(&self, tablet: TabletLabels<'_>) {
        let labels = [tablet.keyspace, tablet.shard, tablet.db_type, tablet.alias].map(ToOwned::to_owned);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(labels);
    }

    /// Hands every server that is not kept to `forget`, and whether one that stays has the same
    /// keyspace, shard and type.
    pub(super) fn retain(
        &self,
        keep: impl Fn(TabletLabels<'_>) -> bool,
        forget: impl Fn(TabletLabels<'_>, bool),
    ) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (kept, gone): (BTreeSet<_>, BTreeSet<_>) =
            std::mem::take(&mut *known).into_iter().partition(|labels| keep(borrowed(labels)));
        for labels in &gone {
            forget(borrowed(labels), kept.iter().any(|other| other[..3] == labels[..3]));
        }
        *known = kept;
    }
}

fn borrowed([keyspace, shard, db_type, alias]: &[String; 4]) -> TabletLabels<'_> {
    TabletLabels { keyspace, shard, db_type, alias }
}
