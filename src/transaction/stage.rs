//! In which order do the parts of a transaction commit, and what did it do to lookup tables?
//!
//! Entries of a consistent lookup are made on connections that commit before the rows, and removed on
//! connections that commit after them. So whatever is cut off in between leaves entries without rows,
//! which the gate knows how to treat, and never rows without entries. What commits as a whole
//! (two-phase commit) or on one shard only (mode `single`) needs no order.

use super::ShardTransactions;
use crate::config::TransactionMode;

/// When a connection's part of the transaction commits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stage {
    /// Before the rows.
    Before,
    /// With the rows.
    #[default]
    Within,
    /// After the rows.
    After,
}

/// An entry that the transaction made or removed apart from its rows.
#[derive(Debug, Clone)]
pub(super) struct Touched {
    key: Vec<u8>,
    id: Vec<u8>,
    stage: Stage,
    /// How many savepoints there were.
    depth: usize,
}

// === impl ShardTransactions ===

impl ShardTransactions {
    /// Statements run on the connections of this stage from here on.
    pub fn enter(&mut self, stage: Stage) {
        self.stage = if self.mode == TransactionMode::Multi { stage } else { Stage::Within };
    }

    /// The stage of the next statement.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Notes that an entry was made or removed in this stage.
    pub fn touch(&mut self, key: &[u8], id: &[u8], stage: Stage) {
        let depth = self.savepoints.len();
        self.touched.push(Touched { key: key.to_vec(), id: id.to_vec(), stage, depth });
    }

    /// The stage in which the transaction touched the entry last, and its keyspace id.
    #[must_use]
    pub fn touched(&self, key: &[u8]) -> Option<(Stage, &[u8])> {
        let last = self.touched.iter().rev().find(|own| own.key == key)?;
        Some((last.stage, &last.id))
    }

    /// The transaction went back to its savepoint of this number.
    pub(super) fn forget_since(&mut self, savepoint: usize) {
        self.touched.retain(|own| own.depth <= savepoint);
    }

    /// The savepoint of this number is gone, and later ones have moved up.
    pub(super) fn forget_savepoint(&mut self, savepoint: usize) {
        for own in self.touched.iter_mut().filter(|own| own.depth > savepoint) {
            own.depth -= 1;
        }
    }

    /// The savepoint of this number, and later ones, are gone.
    pub(super) fn outlive_savepoints(&mut self, savepoint: usize) {
        for own in &mut self.touched {
            own.depth = own.depth.min(savepoint);
        }
    }
}
