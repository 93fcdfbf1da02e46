//! How do rows move from the shards through the operators to the session?
//!
//! Hot path: one boxed future per batch of at most [`BATCH_ROWS`] rows, never one per row.
//!
//! [`RowStream`] is a tree that is pulled from the top, on the session's own task: there is no
//! spawn and no channel, so a client that reads slowly slows its shards, and dropping the tree
//! cancels everything. [`RowStream::close`] ends it in order: what the shards still owe is drained
//! or killed, so that connections pinned by a transaction stay usable.

use std::collections::VecDeque;
use std::{fmt, mem};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::aggregate::Aggregator;
use super::distinct::Distinct;
use super::limit::Limit;
use super::memory::MemoryBudget;
use super::merge::Merge;
use super::sort::Sort;
use super::truncate::Truncate;
use crate::error::Result;

/// The most rows of one batch.
pub const BATCH_ROWS: usize = 256;

/// Some rows: payloads in the format of the result, text or binary.
pub type RowBatch = Vec<Bytes>;

/// Where a tree's rows come from: the leaves.
pub trait RowSource: Send + fmt::Debug {
    /// The next rows, at most [`BATCH_ROWS`] and at least one; none at the end.
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<RowBatch>>>;

    /// Ends the source early and in order.
    fn close<'s>(self: Box<Self>) -> BoxFuture<'s, ()>
    where
        Self: 's;
}

/// A stream of rows, pulled batch by batch.
#[derive(Debug)]
pub enum RowStream<'a> {
    /// Nothing more: the state after the end, after `close`, and after an error.
    Empty,
    /// Rows that are known already.
    Known(VecDeque<Bytes>),
    /// The rows of shards, in the order in which they come.
    Source(Box<dyn RowSource + 'a>),
    /// Sorted rows of several shards in one order.
    Merge(Box<Merge<'a>>),
    /// Some rows of the input.
    Limit(Box<Limit<'a>>),
    /// The input's rows in another order.
    Sort(Box<Sort<'a>>),
    /// Groups of the input.
    Aggregate(Box<Aggregator<'a>>),
    /// The input without repeated rows.
    Distinct(Box<Distinct<'a>>),
    /// The input's first columns.
    Truncate(Box<Truncate<'a>>),
}

// === impl RowStream ===

impl<'a> RowStream<'a> {
    /// The next rows; none at the end. After an error the stream is at its end.
    ///
    /// Not cancel safe: a future that is dropped loses the rows that it had taken.
    pub fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<RowBatch>>> {
        Box::pin(async move {
            let batch = self.pull().await;
            if !matches!(batch, Ok(Some(_))) {
                // At the end or after an error nothing is owed by this side of the tree.
                mem::replace(self, Self::Empty).close().await;
            }
            batch
        })
    }

    /// All rows, within the budget of the query.
    ///
    /// # Errors
    /// A shard's; 1104 with the operator's name where the rows are too many to hold. The stream is at its end
    /// then.
    pub async fn collect(&mut self, memory: &MemoryBudget<'_>, operator: &'static str) -> Result<RowBatch> {
        let mut rows = Vec::new();
        while let Some(batch) = self.next_batch().await? {
            for row in batch {
                if let Err(error) = memory.take_row(operator, row.len()) {
                    self.end().await;
                    return Err(error);
                }
                rows.push(row);
            }
        }
        Ok(rows)
    }

    async fn pull(&mut self) -> Result<Option<RowBatch>> {
        match self {
            Self::Empty => Ok(None),
            Self::Known(rows) => {
                let count = if rows.len() < BATCH_ROWS { rows.len() } else { BATCH_ROWS };
                let batch: RowBatch = rows.drain(..count).collect();
                Ok((!batch.is_empty()).then_some(batch))
            }
            Self::Source(source) => source.next_batch().await,
            Self::Merge(merge) => merge.next_batch().await,
            Self::Limit(limit) => limit.next_batch().await,
            Self::Sort(sort) => sort.next_batch().await,
            Self::Aggregate(aggregate) => aggregate.next_batch().await,
            Self::Distinct(distinct) => distinct.next_batch().await,
            Self::Truncate(truncate) => truncate.next_batch().await,
        }
    }

    /// Ends the stream before its end: small remainders are drained, larger ones killed on their
    /// shards, within the backend's deadlines.
    pub fn close(self) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            match self {
                Self::Empty | Self::Known(_) => {}
                Self::Source(source) => source.close().await,
                Self::Merge(merge) => merge.close().await,
                Self::Limit(limit) => limit.input.close().await,
                Self::Sort(sort) => sort.input.close().await,
                Self::Aggregate(aggregate) => aggregate.input.close().await,
                Self::Distinct(distinct) => distinct.input.close().await,
                Self::Truncate(truncate) => truncate.input.close().await,
            }
        })
    }

    /// Closes in place: the stream is empty afterwards.
    pub(crate) async fn end(&mut self) {
        mem::replace(self, Self::Empty).close().await;
    }

    /// Whether the stream has ended and let go of its shards.
    pub fn is_ended(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn known(rows: impl IntoIterator<Item = Bytes>) -> RowStream<'static> {
        RowStream::Known(rows.into_iter().collect())
    }

    pub(crate) async fn collect(stream: &mut RowStream<'_>) -> Result<Vec<Bytes>> {
        let mut rows = Vec::new();
        while let Some(batch) = stream.next_batch().await? {
            assert!(!batch.is_empty() && batch.len() <= BATCH_ROWS);
            rows.extend(batch);
        }
        Ok(rows)
    }

    #[tokio::test]
    async fn known_rows_come_in_batches() {
        let rows: Vec<_> = (0..600_u32).map(|n| Bytes::from(n.to_string())).collect();
        let mut stream = known(rows.clone());
        assert_eq!(collect(&mut stream).await.unwrap(), rows);
        assert!(stream.is_ended());
    }
}
