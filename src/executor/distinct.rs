//! Which rows are new?
//!
//! The input is ordered by the keys, so equal rows are neighbours: one row's keys are remembered.

use super::compare::{Keys, RowOrder};
use super::stream::{RowBatch, RowStream};
use crate::error::Result;

/// Drops each row whose keys equal those of the row before it.
#[derive(Debug)]
pub struct Distinct<'a> {
    pub(super) input: RowStream<'a>,
    order: RowOrder,
    last: Option<Keys>,
}

// === impl Distinct ===

impl<'a> Distinct<'a> {
    /// `input` is ordered by the columns of `order`.
    pub(crate) fn new(input: RowStream<'a>, order: RowOrder) -> Self {
        Self { input, order, last: None }
    }

    pub(super) async fn next_batch(&mut self) -> Result<Option<RowBatch>> {
        while let Some(batch) = self.input.next_batch().await? {
            let mut kept = RowBatch::with_capacity(batch.len());
            for row in batch {
                let keys = self.order.keys(&row)?;
                let repeated = self.last.as_ref().is_some_and(|last| self.order.compare(last, &keys).is_eq());
                if !repeated {
                    self.last = Some(keys);
                    kept.push(row);
                }
            }
            if !kept.is_empty() {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::row::tests::shape;
    use super::super::row::{RowFormat, kind};
    use super::super::stream::tests::{collect, known};
    use super::*;
    use crate::planner::KeyColumn;

    proptest! {
        #[test]
        fn distinct_equals_a_set(mut numbers in prop::collection::vec(prop::option::of(-5_i32..5), 0..600)) {
            numbers.sort_unstable();
            let shape = shape(RowFormat::Text, &[kind::LONG]);
            let row = |number: &Option<i32>| shape.row(&[number.map(|n| n.to_string()).as_deref().map(str::as_bytes)]);
            let order = RowOrder::grouped(&shape, &[KeyColumn { column: 0, weight: None }]).unwrap();
            let input = known(numbers.iter().map(row));
            let mut stream = RowStream::Distinct(Box::new(Distinct::new(input, order)));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let found = runtime.block_on(collect(&mut stream)).unwrap();
            numbers.dedup();
            prop_assert_eq!(found, numbers.iter().map(row).collect::<Vec<_>>());
        }
    }
}
