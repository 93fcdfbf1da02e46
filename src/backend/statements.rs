//! Which statements has a connection prepared, and under which ids?
//!
//! A cache by text, bounded, the least recently used statement leaves first. A reset of the connection
//! drops the statements on the server, so it empties the cache too.

use std::collections::HashMap;
use std::sync::Arc;

use crate::protocol::column::Columns;

/// A statement that is prepared on one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Its id on that connection.
    pub id: u32,
    /// Its number of parameters.
    pub params: u16,
    /// The parameters' definitions.
    pub parameters: Columns,
    /// The result's definitions; MySQL announces none for some statements that do return rows.
    pub columns: Columns,
    /// Warnings of the preparation.
    pub warnings: u16,
}

/// The statements of one connection.
#[derive(Debug)]
pub(super) struct StatementCache {
    by_text: HashMap<Box<[u8]>, Entry>,
    limit: usize,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    statement: Arc<Prepared>,
    used: u64,
}

// === impl StatementCache ===

impl StatementCache {
    pub(super) fn new(limit: usize) -> Self {
        Self { by_text: HashMap::new(), limit: Ord::max(limit, 1), clock: 0 }
    }

    /// The statement of this text.
    pub(super) fn get(&mut self, text: &[u8]) -> Option<Arc<Prepared>> {
        self.clock += 1;
        let entry = self.by_text.get_mut(text)?;
        entry.used = self.clock;
        Some(Arc::clone(&entry.statement))
    }

    /// Adds a statement; returns the one that has to be closed for it.
    pub(super) fn insert(&mut self, text: &[u8], statement: Arc<Prepared>) -> Option<Arc<Prepared>> {
        self.clock += 1;
        let entry = Entry { statement, used: self.clock };
        if let Some(replaced) = self.by_text.insert(text.into(), entry) {
            return Some(replaced.statement);
        }
        if self.by_text.len() <= self.limit {
            return None;
        }
        let oldest = self.by_text.iter().min_by_key(|(_, entry)| entry.used).map(|(text, _)| text.clone())?;
        self.by_text.remove(&oldest).map(|entry| entry.statement)
    }

    /// Forgets all: the server has dropped them.
    pub(super) fn clear(&mut self) {
        self.by_text.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(id: u32) -> Arc<Prepared> {
        let (parameters, columns) = (Columns::default(), Columns::default());
        Arc::new(Prepared { id, params: 0, parameters, columns, warnings: 0 })
    }

    #[test]
    fn the_least_recently_used_leaves() {
        let mut cache = StatementCache::new(2);
        assert_eq!(cache.insert(b"a", statement(1)), None);
        assert_eq!(cache.insert(b"b", statement(2)), None);
        assert_eq!(cache.get(b"a").map(|found| found.id), Some(1));
        assert_eq!(cache.insert(b"c", statement(3)).map(|gone| gone.id), Some(2));
        assert_eq!(cache.get(b"b"), None);
        assert_eq!(cache.insert(b"c", statement(4)).map(|gone| gone.id), Some(3));
        cache.clear();
        assert_eq!(cache.get(b"a"), None);
    }
}
