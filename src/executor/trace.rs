//! What did each part of a plan do, and how long did it take?
//!
//! Only VEXPLAIN asks. Without a [`Trace`] an execution reads no clock and counts nothing for it; what is
//! left on the hot path is one look at an empty option for each statement and event.
//!
//! Times add up. A call's parts follow one another: its connection, the connections of the other shards
//! that the same statement goes to, the first packet of the answer, the rest. An operator's time contains
//! that of its inputs.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::route::Target;
use super::stream::{RowBatch, RowSource, RowStream};
use crate::backend::{Event, OwnedEvent};
use crate::error::Result;
use crate::planner::StepId;
use crate::protocol::packet::HEADER_LEN;
use crate::topology::Tablet;
use crate::transaction::{Held, ShardTransactions};

/// Notes of one execution.
#[derive(Debug)]
pub struct Trace {
    began: Instant,
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    sendings: u32,
    calls: Vec<Call>,
    operators: HashMap<StepId, Operator>,
    committing: Duration,
}

/// One statement that one server was sent.
#[derive(Debug, Clone)]
pub struct Call {
    /// The part of the plan.
    pub step: StepId,
    /// Statements of one number were sent at the same time; numbers begin with 0.
    pub sending: u32,
    /// The server.
    pub tablet: Arc<Tablet>,
    /// What it was sent.
    pub sql: Vec<u8>,
    /// When the call began, after the begin of the execution.
    pub began: Duration,
    /// The wait for its connection: none where the transaction had one.
    pub connection: Duration,
    /// The wait for the connections of the other shards, after that.
    pub others: Duration,
    /// From there to the first packet of the answer.
    pub first: Duration,
    /// From there to the end of the answer.
    pub rest: Duration,
    /// Rows of the answer.
    pub rows: u64,
    /// Bytes of these rows, as they came.
    pub bytes: u64,
    /// Rows changed.
    pub changed: u64,
}

/// What an operator over rows did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Operator {
    /// Until its inputs had begun their answers.
    pub opening: Duration,
    /// The time in it and its inputs, after that.
    pub pulling: Duration,
    /// Rows that it gave.
    pub rows: u64,
}

/// Calls that wait for their connections.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    trace: &'a Trace,
    step: StepId,
    began: Instant,
    /// How long each waited; none as long as it waits, or where nothing is to wait for.
    waited: Mutex<Vec<Option<Duration>>>,
}

/// A connection that owes the answer to a statement.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    held: Held<'a>,
    open: Option<Box<Open<'a>>>,
}

/// A call whose answer is not complete.
#[derive(Debug)]
struct Open<'a> {
    trace: &'a Trace,
    at: usize,
    sent: Instant,
    first: Option<Instant>,
}

/// The rows of an operator, counted.
#[derive(Debug)]
struct Traced<'a> {
    input: RowStream<'a>,
    trace: &'a Trace,
    step: StepId,
}

// === impl Trace ===

impl Default for Trace {
    fn default() -> Self {
        Self { began: Instant::now(), noted: Mutex::default() }
    }
}

impl Trace {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All calls, in the order in which they were sent.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.noted().calls.clone()
    }

    /// What an operator did, if it ran.
    #[must_use]
    pub fn operator(&self, step: StepId) -> Option<Operator> {
        self.noted().operators.get(&step).copied()
    }

    /// Time since the execution began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// How long the transaction took to commit that the gate had opened around the statement.
    #[must_use]
    pub fn committing(&self) -> Duration {
        self.noted().committing
    }

    pub(super) fn committed(&self, time: Duration) {
        self.noted().committing += time;
    }

    /// A part of the plan had begun its answer after so long.
    pub(super) fn opened(&self, step: StepId, time: Duration) {
        self.noted().operators.entry(step).or_default().opening += time;
    }

    pub(super) fn ask(&self, step: StepId, targets: &[Target], pinned: &ShardTransactions) -> Asking<'_> {
        let has_one = |target: &Target| pinned.place_on(&target.place.shard).map(|_| Duration::ZERO);
        let waited = Mutex::new(targets.iter().map(has_one).collect());
        Asking { trace: self, step, began: Instant::now(), waited }
    }

    /// A connection that waits for nobody and is about to be sent its text.
    pub(super) fn alone<'a>(&'a self, step: StepId, held: Held<'a>, sql: &[u8]) -> Asked<'a> {
        let asking = Asking {
            trace: self,
            step,
            began: Instant::now(),
            waited: Mutex::new(vec![Some(Duration::ZERO)]),
        };
        let mut asked = asking.sent(vec![held], std::iter::once(sql));
        // One connection gives one.
        asked.remove(0)
    }

    /// Counts the rows of an operator.
    pub(super) fn over<'a>(&'a self, step: StepId, input: RowStream<'a>) -> RowStream<'a> {
        self.noted().operators.entry(step).or_default();
        RowStream::Source(Box::new(Traced { input, trace: self, step }))
    }
}

// === impl Call ===

impl Call {
    /// From its begin to the end of its answer: the sum of its parts.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.connection + self.others + self.first + self.rest
    }
}

// === impl Asking ===

impl<'a> Asking<'a> {
    /// A target has its connection.
    pub(super) fn has(&self, target: usize) {
        let mut waited = self.waited.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waited) = waited.get_mut(target) {
            waited.get_or_insert_with(|| self.began.elapsed());
        }
    }

    /// All have theirs, and are about to be sent their texts.
    pub(super) fn sent<'s>(
        self,
        held: Vec<Held<'a>>,
        texts: impl Iterator<Item = &'s [u8]>,
    ) -> Vec<Asked<'a>> {
        let now = Instant::now();
        let all = now - self.began;
        let waited = self.waited.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut noted = self.trace.noted();
        let sending = noted.sendings;
        noted.sendings += 1;
        let mut asked = Vec::with_capacity(held.len());
        for ((held, waited), sql) in held.into_iter().zip(waited).zip(texts) {
            let connection = waited.unwrap_or(all).min(all);
            let open = Open { trace: self.trace, at: noted.calls.len(), sent: now, first: None };
            noted.calls.push(Call {
                step: self.step,
                sending,
                tablet: Arc::clone(held.peek().tablet()),
                sql: sql.to_vec(),
                began: self.began - self.trace.began,
                connection,
                others: all.saturating_sub(connection),
                first: Duration::ZERO,
                rest: Duration::ZERO,
                rows: 0,
                bytes: 0,
                changed: 0,
            });
            asked.push(Asked { held, open: Some(Box::new(open)) });
        }
        asked
    }
}

// === impl Asked ===

impl<'a> Asked<'a> {
    /// Without notes.
    pub(super) fn new(held: Held<'a>) -> Self {
        Self { held, open: None }
    }

    /// As [`Held::next`].
    pub(super) async fn next(&mut self) -> Result<Event<'_>> {
        let Self { held, open } = self;
        let event = held.next().await;
        if let Some(open) = open {
            open.note(match &event {
                Ok(Event::Rows { run, count }) => (*count as u64, run.len() as u64, 0),
                Ok(Event::RowPiece { bytes, ends_row, .. }) => (u64::from(*ends_row), bytes.len() as u64, 0),
                Ok(Event::Ok(ok)) => (0, 0, ok.affected_rows),
                _ => (0, 0, 0),
            });
        }
        event
    }

    /// As [`Held::next_owned`].
    pub(super) async fn next_owned(&mut self) -> Result<OwnedEvent> {
        let Self { held, open } = self;
        let event = held.next_owned().await;
        if let Some(open) = open {
            open.note(match &event {
                Ok(OwnedEvent::Rows(rows)) => {
                    let bytes: usize = rows.iter().map(|row| row.0.len() + HEADER_LEN).sum();
                    (rows.len() as u64, bytes as u64, 0)
                }
                Ok(OwnedEvent::Ok(summary)) => (0, 0, summary.affected_rows),
                _ => (0, 0, 0),
            });
        }
        event
    }
}

impl<'a> Deref for Asked<'a> {
    type Target = Held<'a>;

    fn deref(&self) -> &Held<'a> {
        &self.held
    }
}

impl DerefMut for Asked<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.held
    }
}

// === impl Open ===

impl Open<'_> {
    /// Something of the answer is here: rows, their bytes, rows changed.
    fn note(&mut self, (rows, bytes, changed): (u64, u64, u64)) {
        let now = Instant::now();
        let first = *self.first.get_or_insert(now);
        let mut noted = self.trace.noted();
        if let Some(call) = noted.calls.get_mut(self.at) {
            (call.first, call.rest) = (first - self.sent, now - first);
            call.rows += rows;
            call.bytes += bytes;
            call.changed += changed;
        }
    }
}

// === impl Traced ===

impl RowSource for Traced<'_> {
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Option<RowBatch>>> {
        async {
            let began = Instant::now();
            let batch = self.input.next_batch().await;
            let mut noted = self.trace.noted();
            let operator = noted.operators.entry(self.step).or_default();
            operator.pulling += began.elapsed();
            if let Ok(Some(batch)) = &batch {
                operator.rows += batch.len() as u64;
            }
            batch
        }
        .boxed()
    }

    fn close<'s>(self: Box<Self>) -> BoxFuture<'s, ()>
    where
        Self: 's,
    {
        self.input.close()
    }
}
