//! Which rows do OFFSET and LIMIT let through?
//!
//! The input is closed the moment the last row was given: shards stop working for nobody.

use super::stream::{RowBatch, RowStream};
use crate::error::Result;

/// Skips `offset` rows and gives `count` of the rest.
#[derive(Debug)]
pub struct Limit<'a> {
    pub(super) input: RowStream<'a>,
    skip: u64,
    left: u64,
}

// === impl Limit ===

impl<'a> Limit<'a> {
    /// `count` none means all.
    pub(crate) fn new(input: RowStream<'a>, count: Option<u64>, offset: u64) -> Self {
        Self { input, skip: offset, left: count.unwrap_or(u64::MAX) }
    }

    pub(super) async fn next_batch(&mut self) -> Result<Option<RowBatch>> {
        loop {
            if self.left == 0 {
                self.input.end().await;
                return Ok(None);
            }
            let Some(mut batch) = self.input.next_batch().await? else {
                return Ok(None);
            };
            let rows = batch.len() as u64;
            let skipped = if rows < self.skip { rows } else { self.skip };
            self.skip -= skipped;
            batch.drain(..usize::try_from(skipped).unwrap_or(batch.len()));
            batch.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            if batch.is_empty() {
                continue;
            }
            self.left -= batch.len() as u64;
            if self.left == 0 {
                self.input.end().await;
            }
            return Ok(Some(batch));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::stream::tests::{collect, known};
    use super::*;

    fn rows(count: usize) -> Vec<Bytes> {
        (0..count).map(|n| Bytes::from(n.to_string())).collect()
    }

    #[tokio::test]
    async fn the_input_is_dropped_with_the_last_row() {
        let mut limit = Limit::new(known(rows(1000)), Some(3), 2);
        let batch = limit.next_batch().await.unwrap().unwrap();
        assert_eq!(batch, rows(5)[2..]);
        assert!(limit.input.is_ended(), "no second pull is needed");
        assert_eq!(limit.next_batch().await.unwrap(), None);
    }

    #[tokio::test]
    async fn limit_zero_asks_for_nothing() {
        let mut limit = Limit::new(known(rows(10)), Some(0), 0);
        assert_eq!(limit.next_batch().await.unwrap(), None);
        assert!(limit.input.is_ended());
    }

    proptest! {
        #[test]
        fn limits_slice(total in 0_usize..700, offset in 0_usize..700, count in prop::option::of(0_usize..700)) {
            let limit = Limit::new(known(rows(total)), count.map(|count| count as u64), offset as u64);
            let mut stream = RowStream::Limit(Box::new(limit));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let found = runtime.block_on(collect(&mut stream)).unwrap();
            let expected: Vec<_> = rows(total).into_iter().skip(offset).take(count.unwrap_or(usize::MAX)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
