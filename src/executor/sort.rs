//! How are rows sorted that no shard could sort?
//!
//! Everything is held in memory, within the query's budget; beyond it the query is refused.

use std::collections::VecDeque;

use bytes::Bytes;

use super::compare::{Keys, RowOrder};
use super::memory::MemoryBudget;
use super::stream::{BATCH_ROWS, RowBatch, RowStream};
use crate::error::Result;

/// What one kept row costs beside its own bytes.
const ROW_OVERHEAD: usize = 96;

/// Reads the whole input, sorts it (stable), gives it in batches.
#[derive(Debug)]
pub struct Sort<'a> {
    pub(super) input: RowStream<'a>,
    order: RowOrder,
    budget: &'a MemoryBudget<'a>,
    sorted: Option<VecDeque<Bytes>>,
}

// === impl Sort ===

impl<'a> Sort<'a> {
    /// `budget` bounds what is held.
    pub(crate) fn new(input: RowStream<'a>, order: RowOrder, budget: &'a MemoryBudget<'a>) -> Self {
        Self { input, order, budget, sorted: None }
    }

    pub(super) async fn next_batch(&mut self) -> Result<Option<RowBatch>> {
        if self.sorted.is_none() {
            self.sorted = Some(self.read_all().await?);
        }
        let rows = self.sorted.get_or_insert_default();
        let count = if rows.len() < BATCH_ROWS { rows.len() } else { BATCH_ROWS };
        let batch: RowBatch = rows.drain(..count).collect();
        Ok((!batch.is_empty()).then_some(batch))
    }

    async fn read_all(&mut self) -> Result<VecDeque<Bytes>> {
        let mut rows: Vec<(Keys, Bytes)> = Vec::new();
        while let Some(batch) = self.input.next_batch().await? {
            for row in batch {
                self.budget.take_row("ORDER BY", row.len() + ROW_OVERHEAD)?;
                rows.push((self.order.keys(&row)?, row));
            }
        }
        rows.sort_by(|(left, _), (right, _)| self.order.compare(left, right));
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::shape;
    use super::super::row::{RowFormat, kind};
    use super::super::stream::tests::{collect, known};
    use super::*;
    use crate::planner::{KeyColumn, SortKey};

    fn sorter(rows: &[&str], limit: usize) -> RowStream<'static> {
        let shape = shape(RowFormat::Text, &[kind::LONG]);
        let keys = [SortKey { key: KeyColumn { column: 0, weight: None }, descending: true }];
        let order = RowOrder::sorted(&shape, &keys).unwrap();
        let input = known(rows.iter().map(|row| shape.row(&[Some(row.as_bytes())])).collect::<Vec<_>>());
        let budget = Box::leak(Box::new(super::super::memory::tests::bytes(limit)));
        RowStream::Sort(Box::new(Sort::new(input, order, budget)))
    }

    #[tokio::test]
    async fn numbers_sort_as_numbers() {
        let rows = collect(&mut sorter(&["9", "-1", "10"], 1000)).await.unwrap();
        assert_eq!(rows, [&b"\x0210"[..], b"\x019", b"\x02-1"]);
    }

    #[tokio::test]
    async fn the_budget_ends_the_query() {
        let mut stream = sorter(&["1", "2", "3"], 200);
        assert_eq!(collect(&mut stream).await.unwrap_err().code(), 1104);
        assert!(stream.is_ended());
    }
}
