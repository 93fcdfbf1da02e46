//! How do the sorted rows of several shards become one sorted stream?
//!
//! Hot path: one decode of the key columns and about log2(N) comparisons per row; rows stay as they
//! came.
//!
//! A loser tree over the heads of N inputs. `tree[0]` is the winner; each inner node keeps the input
//! that lost there, so that after the winner's next row only one path is replayed:
//!
//! ```text
//!            tree[0] = 2 (winner)
//!                 │
//!             tree[1] = 1            loser of the final
//!            ╱        ╲
//!     tree[2] = 0    tree[3] = 3     losers of the first round
//!      ╱    ╲         ╱    ╲
//!     0      1       2      3        heads
//! ```
//!
//! Equal rows come in the order of the inputs. The first error of an input ends the merge.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};

use super::compare::{Keys, RowOrder};
use super::stream::{BATCH_ROWS, RowBatch, RowStream};
use crate::error::Result;

/// Merges sorted inputs.
#[derive(Debug)]
pub struct Merge<'a> {
    inputs: Vec<Input<'a>>,
    order: RowOrder,
    tree: Vec<usize>,
    /// The input whose next row is not here yet; the merge cannot go on without it.
    awaited: Option<usize>,
}

/// One input and its first row that was not given yet.
#[derive(Debug)]
struct Input<'a> {
    stream: RowStream<'a>,
    waiting: VecDeque<Bytes>,
    head: Option<(Keys, Bytes)>,
}

// === impl Merge ===

impl<'a> Merge<'a> {
    /// Each of `inputs` is sorted by `order`.
    pub(crate) fn new(inputs: Vec<RowStream<'a>>, order: RowOrder) -> Self {
        let input = |stream| Input { stream, waiting: VecDeque::new(), head: None };
        Self { inputs: inputs.into_iter().map(input).collect(), order, tree: Vec::new(), awaited: None }
    }

    pub(super) async fn next_batch(&mut self) -> Result<Option<RowBatch>> {
        if self.tree.is_empty() {
            self.start().await?;
        }
        if let Some(input) = self.awaited.take() {
            self.inputs[input].refill().await?;
            self.advance(input)?;
        }
        let mut batch = RowBatch::new();
        while batch.len() < BATCH_ROWS {
            let Some(&winner) = self.tree.first() else { break };
            let Some((_, row)) = self.inputs.get_mut(winner).and_then(|input| input.head.take()) else {
                break;
            };
            batch.push(row);
            if self.inputs[winner].waiting.is_empty() && !self.inputs[winner].stream.is_ended() {
                // Rows already merged go out before the merge waits for a shard.
                self.awaited = Some(winner);
                break;
            }
            self.advance(winner)?;
        }
        Ok((!batch.is_empty()).then_some(batch))
    }

    pub(super) async fn close(self) {
        join_all(self.inputs.into_iter().map(|input| input.stream.close())).await;
    }

    /// Waits for the first rows of all inputs and plays the first tournament.
    async fn start(&mut self) -> Result<()> {
        try_join_all(self.inputs.iter_mut().map(Input::refill)).await?;
        let count = self.inputs.len();
        if count == 0 {
            return Ok(());
        }
        for input in &mut self.inputs {
            input.advance(&mut self.order)?;
        }
        self.tree = vec![usize::MAX; count];
        for input in (0..count).rev() {
            self.replay(input);
        }
        Ok(())
    }

    fn advance(&mut self, input: usize) -> Result<()> {
        self.inputs[input].advance(&mut self.order)?;
        self.replay(input);
        Ok(())
    }

    /// Plays the matches from a leaf up; the loser stays at each node, the winner goes on.
    fn replay(&mut self, leaf: usize) {
        let mut winner = leaf;
        let mut node = usize::midpoint(leaf, self.inputs.len());
        while node > 0 {
            let resident = self.tree[node];
            if resident == usize::MAX {
                // The first round: wait here for the opponent.
                self.tree[node] = winner;
                return;
            }
            if self.beats(resident, winner) {
                self.tree[node] = winner;
                winner = resident;
            }
            node /= 2;
        }
        self.tree[0] = winner;
    }

    /// Whether input `left` comes before input `right`; ended inputs come last.
    fn beats(&self, left: usize, right: usize) -> bool {
        match (&self.inputs[left].head, &self.inputs[right].head) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some((a, _)), Some((b, _))) => self.order.compare(a, b).then(left.cmp(&right)).is_lt(),
        }
    }
}

// === impl Input ===

impl Input<'_> {
    async fn refill(&mut self) -> Result<()> {
        if let Some(batch) = self.stream.next_batch().await? {
            self.waiting.extend(batch);
        }
        Ok(())
    }

    fn advance(&mut self, order: &mut RowOrder) -> Result<()> {
        self.head = match self.waiting.pop_front() {
            Some(row) => Some((order.keys(&row)?, row)),
            None => None,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::row::tests::shape;
    use super::super::row::{RowFormat, Shape, kind};
    use super::super::stream::tests::{collect, known};
    use super::*;
    use crate::planner::{KeyColumn, SortKey};

    fn numbers_shape() -> Shape {
        shape(RowFormat::Text, &[kind::LONG, kind::LONG])
    }

    fn row(shape: &Shape, number: i32, source: usize) -> Bytes {
        shape.row(&[Some(number.to_string().as_bytes()), Some(source.to_string().as_bytes())])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn merging_sorted_inputs_equals_sorting_all(
            mut inputs in prop::collection::vec(prop::collection::vec(-20_i32..20, 0..400), 0..9),
            descending in any::<bool>(),
        ) {
            let shape = numbers_shape();
            let keys = [SortKey { key: KeyColumn { column: 0, weight: None }, descending }];
            let order = RowOrder::sorted(&shape, &keys).unwrap();
            for input in &mut inputs {
                input.sort_unstable();
                if descending {
                    input.reverse();
                }
            }
            let rows = |source: usize, input: &Vec<i32>| -> Vec<_> {
                input.iter().map(|&number| row(&shape, number, source)).collect()
            };
            let streams = inputs.iter().enumerate().map(|(source, input)| known(rows(source, input))).collect();
            let mut merge = RowStream::Merge(Box::new(Merge::new(streams, order)));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let found = runtime.block_on(collect(&mut merge)).unwrap();
            // The oracle: a stable sort of the concatenation.
            let mut all: Vec<(i32, usize)> =
                inputs.iter().enumerate().flat_map(|(source, input)| input.iter().map(move |&n| (n, source))).collect();
            all.sort_by(|a, b| if descending { b.0.cmp(&a.0) } else { a.0.cmp(&b.0) });
            let expected: Vec<_> = all.into_iter().map(|(number, source)| row(&shape, number, source)).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[tokio::test]
    async fn an_unreadable_row_ends_the_merge() {
        let shape = numbers_shape();
        let keys = [SortKey { key: KeyColumn { column: 0, weight: None }, descending: false }];
        let order = RowOrder::sorted(&shape, &keys).unwrap();
        let inputs = vec![known([row(&shape, 1, 0)]), known([Bytes::from_static(b"\x01x\x010")])];
        let mut merge = RowStream::Merge(Box::new(Merge::new(inputs, order)));
        assert!(collect(&mut merge).await.is_err());
        assert!(merge.is_ended());
    }
}
