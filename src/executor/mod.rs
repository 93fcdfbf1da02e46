//! How does a plan become rows, affected rows, or an error?
//!
//! [`execute`] is one match over the plan. What the plan cannot know comes in the [`ExecContext`];
//! what comes out is an [`Output`]:
//!
//! - one shard's answer, untouched ([`Forward`]): the session moves its packets to the client;
//! - rows through operators ([`Rows`]): merged, aggregated, cut;
//! - the numbers of an OK packet ([`OkSummary`]).
//!
//! Deliberately absent: tasks of its own (everything runs on the session's task; only sequence
//! prefetches are spawned, on the tracker), retries of statements, and any guess: what the gate
//! cannot merge exactly is refused with VT12001 before the first row.

mod aggregate;
mod collation;
mod compare;
mod context;
mod control;
mod distinct;
mod entries;
mod followed;
mod gather;
mod heat;
mod insert;
mod insert_id;
mod insert_select;
mod keyed;
mod limit;
mod load;
mod look_up;
mod memory;
mod merge;
mod modify;
mod moves;
mod notes;
mod number;
mod output;
mod own_writes;
mod route;
mod row;
mod scatter;
mod scratch;
mod select;
mod send;
mod sequence;
mod site;
mod sort;
mod stored_literal;
mod stream;
mod table_copy;
mod trace;
mod truncate;
mod warning;

pub use context::{ExecContext, Protocol};
pub(crate) use control::ControlLinks;
pub use heat::{Heat, KeyHeat, KeyspaceHeat, SAMPLE, ShardHeat};
pub use memory::{MemoryBudget, MemoryLimits};
pub use notes::{Notes, SharedNotes};
pub use output::{Forward, OkSummary, Output, Rows, SchemaName};
pub use own_writes::OwnWrites;
pub use row::{ColumnType, RowFormat, Shape};
pub use scratch::{Scratch, ScratchNames};
pub use sequence::Sequences;
pub use site::{Site, SiteContext};
pub use stream::{BATCH_ROWS, RowBatch, RowSource, RowStream};
pub use trace::{Call, Operator, Trace};
pub use warning::Warning;

use crate::error::{Result, SqlError};
use crate::key::TabletType;
use crate::planner::{Node, Plan, Show};
use crate::transaction::Stage;

/// Executes a plan. The caller drops the output before the next statement, and then calls
/// `ShardTransactions::settle`; also after an error.
///
/// Cancel safe in this sense: where the future is dropped, connections that are in the middle of
/// something are killed and cleaned, by their pools or by `settle`.
///
/// # Errors
/// VT09032 after a lost transaction; whatever the shards, the routing or the sequences say; 1815 for
/// plans that are the session's own matter (SET, USE, SHOW of the gate's knowledge).
pub async fn execute<'a>(plan: &Plan, context: ExecContext<'a>) -> Result<Output<'a>> {
    context.transactions.check()?;
    // The last statement may have been cut off in another.
    context.transactions.enter(Stage::Within);
    if context.tablet_type != TabletType::Primary && plan.kind.needs_primary() {
        return Err(SqlError::replica_write(&plan.kind.label().to_ascii_uppercase()));
    }
    if plan.kind.commits() && context.transactions.is_open() {
        // DDL commits what is open, as in MySQL.
        context.transactions.commit().await.map_err(|failed| failed.error)?;
    }
    match &plan.node {
        Node::Route(_)
        | Node::Limit { .. }
        | Node::Sort { .. }
        | Node::Aggregate(_)
        | Node::Distinct { .. }
        | Node::Truncate { .. }
        | Node::Show(Show::Explain { .. }) => context.select(&plan.node, plan.kind).await,
        Node::Modify(route) => context.modify(route, plan.kind).await,
        // Boxed: the future of every statement would be as large as the largest.
        Node::Insert(insert) => Box::pin(context.insert(insert, plan.kind)).await,
        Node::Keyed(change) => Box::pin(context.keyed(change, plan.kind)).await,
        Node::Followed(change) => Box::pin(context.followed(change, plan.kind)).await,
        Node::InsertSelect(insert) => Box::pin(context.insert_select(insert, plan.kind)).await,
        Node::NextValues { sequence, count } => Box::pin(context.next_values(sequence, count)).await,
        Node::Gather(gather) => Box::pin(context.gather(gather)).await,
        Node::Show(_) | Node::Session(_) => Err(SqlError::bug("a session statement reached the executor")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session's task may move between threads while it executes.
    #[test]
    fn execution_is_send() {
        fn sent<T: Send>(_: T) {}
        let call = |plan: &'static Plan, context: ExecContext<'static>| sent(execute(plan, context));
        let _ = call;
    }
}
