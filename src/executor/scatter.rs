//! How do several shards answer one statement at the same time?
//!
//! Every shard gets its text, then the definitions of all are awaited together, on the session's own
//! task. Rows are taken from whichever shard has some; a shard whose rows nobody takes is slowed by
//! its full socket. The first error ends the statement on all shards: what still runs is killed.
//!
//! Definitions come from the first shard; the others must agree in number and types. A server chooses
//! between the integer types of an expression by its plan, so that shards may differ there: the widest
//! stands in the result.

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all, select_all};
use tokio::time::{Instant, timeout_at};

use super::Warning;
use super::modify::{NOTES_SIZE, SHOW_WARNINGS};
use super::notes::SharedNotes;
use super::output::SchemaName;
use super::row::{RowFormat, Shape};
use super::stream::{BATCH_ROWS, RowBatch, RowSource};
use super::trace::Asked;
use crate::backend::OwnedEvent;
use crate::error::{Result, SqlError};
use crate::protocol::column::Columns;
use crate::protocol::row::RawRow;

/// How many more pieces of an answer are read before its query is killed.
const DRAIN_EVENTS: usize = 8;

/// One shard's rows.
#[derive(Debug)]
pub(super) struct ShardRows<'a> {
    held: Asked<'a>,
    deadline: Option<Instant>,
    waiting: std::vec::IntoIter<RawRow>,
    done: bool,
    /// How many warnings it ended with, until their texts are read.
    warned: u16,
    notes: SharedNotes,
    /// The layouts of its rows and of the result, where they differ.
    recode: Option<(Shape, Shape)>,
}

/// The rows of several shards, as they come.
#[derive(Debug)]
pub(super) struct Scatter<'a> {
    shards: Vec<ShardRows<'a>>,
    /// Shards whose rows have ended with warnings.
    warned: Vec<ShardRows<'a>>,
}

/// Result sets that have begun on all shards.
#[derive(Debug)]
pub(super) struct Opened<'a> {
    pub(super) columns: Columns,
    pub(super) shape: Shape,
    pub(super) shards: Vec<ShardRows<'a>>,
    /// What the shards warn of while their rows are read.
    pub(super) notes: SharedNotes,
}

/// Awaits the definitions of every shard whose statement was sent.
///
/// # Errors
/// The first shard's error in the order of the shards; definitions that differ.
pub(super) async fn open(
    held: Vec<Asked<'_>>,
    format: RowFormat,
    deadline: Option<Instant>,
) -> Result<Opened<'_>> {
    let notes = SharedNotes::default();
    let rows = |held| ShardRows {
        held,
        deadline,
        waiting: Vec::new().into_iter(),
        done: false,
        warned: 0,
        notes: notes.clone(),
        recode: None,
    };
    let mut shards: Vec<ShardRows<'_>> = held.into_iter().map(rows).collect();
    let begun = first_error(join_all(shards.iter_mut().map(ShardRows::begin))).await;
    match begun.and_then(|columns| agreed(columns, &mut shards, format)) {
        Ok((columns, shape)) => Ok(Opened { columns, shape, shards, notes }),
        Err(error) => {
            join_all(shards.iter_mut().map(ShardRows::cancel)).await;
            Err(error)
        }
    }
}

/// All results, or the first error among them.
async fn first_error<T>(all: impl Future<Output = Vec<Result<T>>>) -> Result<Vec<T>> {
    all.await.into_iter().collect()
}

/// The definitions of one shard whose types hold the values of all others.
fn agreed(all: Vec<Columns>, shards: &mut [ShardRows<'_>], format: RowFormat) -> Result<(Columns, Shape)> {
    let shapes = all.iter().map(|columns| Shape::of(columns, format)).collect::<Result<Vec<_>>>()?;
    let first = shapes.first().cloned().ok_or_else(|| SqlError::bug("a scatter without shards"))?;
    let mut wide = first.clone();
    for (shape, shard) in shapes.iter().zip(&*shards) {
        if !first.agrees(shape) {
            return Err(SqlError::row_too_many_columns(&shard.held.shard().full_name()));
        }
        wide = wide.widened(shape);
    }
    for (shape, shard) in shapes.into_iter().zip(shards) {
        if format == RowFormat::Binary && !shape.lays_out_as(&wide) {
            shard.recode = Some((shape, wide.clone()));
        }
    }
    let columns = all.into_iter().next().ok_or_else(|| SqlError::bug("a scatter without shards"))?;
    let columns = if first.lays_out_as(&wide) {
        columns
    } else {
        columns.retyped(&wide.kinds()).map_err(|_| SqlError::bug("a definition that does not read"))?
    };
    Ok((columns, wide))
}

// === impl ShardRows ===

impl ShardRows<'_> {
    async fn event(&mut self) -> Result<OwnedEvent> {
        match self.deadline {
            None => self.held.next_owned().await,
            Some(deadline) => timeout_at(deadline, self.held.next_owned())
                .await
                .unwrap_or_else(|_| Err(SqlError::query_timeout())),
        }
    }

    async fn begin(&mut self) -> Result<Columns> {
        match self.event().await {
            Ok(OwnedEvent::Columns(columns)) => Ok(columns),
            Ok(OwnedEvent::Error(error)) => {
                self.done = true;
                Err(SchemaName::error_of(self.held.peek().tablet(), error.into_error()))
            }
            Ok(_) => Err(SqlError::unsupported("a statement without rows under a merge")),
            Err(error) => Err(error),
        }
    }

    /// Cancel safe: rows are either still with the connection or kept here.
    async fn pull(&mut self) -> Result<Option<RowBatch>> {
        loop {
            let batch: RowBatch = self.waiting.by_ref().take(BATCH_ROWS).map(|RawRow(row)| row).collect();
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
            if self.done {
                return Ok(None);
            }
            match self.event().await? {
                OwnedEvent::Rows(rows) => self.waiting = self.recoded(rows)?.into_iter(),
                OwnedEvent::RowsEnd(summary) | OwnedEvent::Ok(summary) => {
                    self.warned = summary.warnings;
                    if !self.held.peek().response_done() {
                        return Err(SqlError::unsupported("several results under a merge"));
                    }
                    self.done = true;
                }
                OwnedEvent::Error(error) => {
                    self.done = true;
                    return Err(SchemaName::error_of(self.held.peek().tablet(), error.into_error()));
                }
                OwnedEvent::Columns(_) => return Err(SqlError::bug("definitions among rows")),
            }
        }
    }

    fn recoded(&self, rows: Vec<RawRow>) -> Result<Vec<RawRow>> {
        let Some((own, wide)) = &self.recode else { return Ok(rows) };
        rows.into_iter().map(|RawRow(row)| own.recode(&row, wide).map(RawRow)).collect()
    }

    /// Reads the texts of the warnings. Not cancel safe.
    async fn read_notes(&mut self) {
        if self.warned > 0 {
            // The rows are all here: losing the texts must not make that an error.
            let shown = self.held.lease().collect(SHOW_WARNINGS, NOTES_SIZE).await;
            let rows = shown.map(|result| result.rows).unwrap_or_default();
            self.notes.add(self.warned, Warning::read_all(&rows, self.held.peek().tablet()));
            self.warned = 0;
        }
    }

    async fn cancel(&mut self) {
        if !self.done {
            self.held.cancel().await;
            self.done = true;
        }
    }

    /// A remainder that is here already, or almost, is cheaper to read than to kill.
    async fn finish(&mut self) {
        for _ in 0..DRAIN_EVENTS {
            if self.done {
                return;
            }
            match self.event().await {
                Ok(OwnedEvent::Rows(_)) => {}
                Ok(_) => self.done = self.held.peek().response_done(),
                Err(_) => break,
            }
        }
        self.cancel().await;
    }
}

impl RowSource for ShardRows<'_> {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<RowBatch>>> {
        async {
            let batch = self.pull().await?;
            if batch.is_none() {
                self.read_notes().await;
            }
            Ok(batch)
        }
        .boxed()
    }

    fn close<'s>(mut self: Box<Self>) -> BoxFuture<'s, ()>
    where
        Self: 's,
    {
        async move { self.finish().await }.boxed()
    }
}

// === impl Scatter ===

impl<'a> Scatter<'a> {
    pub(super) fn new(shards: Vec<ShardRows<'a>>) -> Self {
        Self { shards, warned: Vec::new() }
    }

    async fn pull(&mut self) -> Result<Option<RowBatch>> {
        while !self.shards.is_empty() {
            let ready = select_all(self.shards.iter_mut().map(|shard| shard.pull().boxed()));
            let (batch, at, _) = ready.await;
            if let Some(batch) = batch? {
                // The next pull begins behind this shard, so that none waits for ever.
                self.shards.rotate_left(at + 1);
                return Ok(Some(batch));
            }
            let ended = self.shards.swap_remove(at);
            if ended.warned > 0 {
                self.warned.push(ended);
            }
        }
        // No pull of another shard can end this one any more.
        for shard in &mut self.warned {
            shard.read_notes().await;
        }
        Ok(None)
    }
}

impl RowSource for Scatter<'_> {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<RowBatch>>> {
        self.pull().boxed()
    }

    fn close<'s>(mut self: Box<Self>) -> BoxFuture<'s, ()>
    where
        Self: 's,
    {
        async move { drop(join_all(self.shards.iter_mut().map(ShardRows::finish)).await) }.boxed()
    }
}
