//! How much may one query keep in memory?
//!
//! Operators that must hold rows (sort, and the groups in flight) take from a [`MemoryBudget`]
//! before they keep a row. Streaming operators hold at most one batch per shard and take nothing.

use crate::error::{Result, SqlError};

/// The bytes that one query may still take.
#[derive(Debug)]
pub struct MemoryBudget {
    limit: usize,
    used: usize,
}

// === impl MemoryBudget ===

impl MemoryBudget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, used: 0 }
    }

    /// Takes `bytes` for the operator of this name.
    ///
    /// # Errors
    /// 1104 with the operator's name, once the budget is used up.
    pub fn take(&mut self, operator: &'static str, bytes: usize) -> Result<()> {
        self.used = self.used.saturating_add(bytes);
        if self.used > self.limit {
            return Err(SqlError::memory_limit(operator, self.limit));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_itself_still_fits() {
        let mut budget = MemoryBudget::new(10);
        budget.take("sort", 10).unwrap();
        let error = budget.take("sort", 1).unwrap_err();
        assert_eq!(error.code(), 1104);
        assert!(error.client_text().contains("sort"));
    }
}
