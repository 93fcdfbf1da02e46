//! How much may one query keep in memory?
//!
//! Operators that must hold rows (sort, and the groups in flight) take from the query's
//! [`MemoryBudget`] before they keep a row. Streaming operators hold at most one batch per shard and
//! take nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Result, SqlError};
use crate::metrics::QueryMetrics;
use crate::metrics::labels::WarningKind;

/// What an operator of the gate allows one query to hold.
#[derive(Debug, Clone, Copy)]
pub struct MemoryLimits {
    /// Bytes (`limits.max_memory`).
    pub bytes: usize,
    /// Rows (`limits.max_memory_rows`).
    pub rows: usize,
    /// Rows from which on the query is counted as a warning (`limits.warn_memory_rows`).
    pub warn_rows: usize,
}

/// What one query may still take; all of its operators take from the same one.
#[derive(Debug)]
pub struct MemoryBudget<'m> {
    limits: MemoryLimits,
    bytes: AtomicUsize,
    rows: AtomicUsize,
    metrics: &'m QueryMetrics,
}

// === impl MemoryBudget ===

impl<'m> MemoryBudget<'m> {
    /// A budget that nothing was taken from. `metrics` counts the warning.
    #[must_use]
    pub fn new(limits: MemoryLimits, metrics: &'m QueryMetrics) -> Self {
        Self { limits, bytes: AtomicUsize::new(0), rows: AtomicUsize::new(0), metrics }
    }

    /// Takes one row of so many bytes for the operator of this name.
    ///
    /// # Errors
    /// 1104 with the operator's name, once the bytes or the rows are used up.
    pub fn take_row(&self, operator: &'static str, bytes: usize) -> Result<()> {
        // One query's operators run on one task: the atomics only make the budget shareable.
        let taken = self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if taken > self.limits.bytes {
            return Err(SqlError::memory_limit(operator, self.limits.bytes));
        }
        let rows = self.rows.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if rows > self.limits.rows {
            return Err(SqlError::memory_rows(operator, self.limits.rows));
        }
        if rows == self.limits.warn_rows.saturating_add(1) {
            self.metrics.warned(WarningKind::ResultsExceeded);
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::metrics::Metrics;

    /// A budget of so many bytes, as good as without limits on rows.
    pub(in crate::executor) fn bytes(bytes: usize) -> MemoryBudget<'static> {
        budget(MemoryLimits { bytes, rows: usize::MAX, warn_rows: usize::MAX }).0
    }

    fn budget(limits: MemoryLimits) -> (MemoryBudget<'static>, &'static Metrics) {
        // A test's metrics may live as long as the test's process.
        let metrics: &'static Metrics = Box::leak(Box::new(Metrics::new().unwrap()));
        (MemoryBudget::new(limits, &metrics.query), metrics)
    }

    #[test]
    fn the_limit_itself_still_fits() {
        let budget = bytes(10);
        budget.take_row("sort", 10).unwrap();
        let error = budget.take_row("sort", 1).unwrap_err();
        assert_eq!(error.code(), 1104);
        assert!(error.client_text().contains("sort"));
    }

    #[test]
    fn rows_are_warned_of_and_then_refused() {
        let (budget, metrics) = budget(MemoryLimits { bytes: 1000, rows: 3, warn_rows: 1 });
        let warnings = || {
            let text = metrics.text();
            text.lines().any(|line| line == "vtgate_warnings{type=\"ResultsExceeded\"} 1")
        };
        budget.take_row("ORDER BY", 1).unwrap();
        assert!(!warnings());
        budget.take_row("ORDER BY", 1).unwrap();
        assert!(warnings());
        budget.take_row("ORDER BY", 1).unwrap();
        let error = budget.take_row("ORDER BY", 1).unwrap_err();
        assert_eq!((error.code(), error.state().as_str()), (1104, "42000"));
        assert!(
            error.client_text().starts_with("in-memory row count exceeded allowed limit of 3"),
            "{error}"
        );
        assert!(warnings(), "one query is one warning");
    }
}
