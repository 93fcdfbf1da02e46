//! How does a statement change rows, or tables, on several shards?
//!
//! One shard: the statement is sent as it is, and its answer passed on. Several shards: all of it or
//! nothing, as far as plain transactions can. Outside a transaction the gate opens one around the
//! statement; inside, every shard sets a savepoint first and a failure is undone everywhere, or the
//! whole transaction is rolled back where that does not work (Vitess's partial DML rule). A statement
//! outside a transaction that a deadlock has ended is run again, shard after shard.
//!
//! DDL cannot be undone: it runs on every shard, and an error names the shards that have it and those
//! that do not.

use bytes::Bytes;
use futures_util::future::join_all;

use super::notes::{Notes, renumbered, row_of};
use super::output::{OkSummary, SchemaName};
use super::route::{Target, Targets};
use super::send::Statement;
use super::trace::Asked;
use super::{ExecContext, Output, Warning};
use crate::backend::{OwnedEvent, Summary};
use crate::error::{Outcome, Result, SqlError, SqlState};
use crate::metrics::labels::CommitMode;
use crate::planner::{InsertId, Route, StatementKind};
use crate::transaction::Stage;

/// What a connection is asked after an answer with warnings.
pub(super) const SHOW_WARNINGS: &[u8] = b"SHOW WARNINGS";

/// How often a change of its own over several shards is run again after a deadlock.
const AGAIN: usize = 5;

/// The most that a shard's warnings may take, in bytes.
pub(super) const NOTES_SIZE: usize = 256 << 10;

// === impl ExecContext ===

impl<'a> ExecContext<'a> {
    /// UPDATE, DELETE, DDL.
    pub(super) async fn modify(mut self, route: &Route, kind: StatementKind) -> Result<Output<'a>> {
        let mut statement = Statement::new(&route.query, kind);
        statement.in_list = route.routing.in_list();
        match self.targets(route).await? {
            // The condition holds for no row: nothing to send, nothing changed.
            Targets::Nowhere(_) => Ok(Output::Done(OkSummary::default())),
            Targets::One(target) => self.forward(target, statement).await,
            // Boxed, as in `execute`: one shard's statements need none of this.
            Targets::Many(targets) if kind == StatementKind::Ddl => {
                Box::pin(self.define(&targets, statement)).await
            }
            Targets::Many(_) if *self.insert_id == InsertId::Asked => {
                Err(SqlError::unsupported("LAST_INSERT_ID(expr) in a change of several shards"))
            }
            Targets::Many(targets) => Box::pin(self.change(&targets, statement)).await.map(Output::Done),
        }
    }

    /// A statement that changes rows on several shards.
    pub(super) async fn change(
        mut self,
        targets: &[Target],
        mut statement: Statement<'_>,
    ) -> Result<OkSummary> {
        let implicit = self.begin();
        statement.guarded = !implicit;
        let mut done = self.reborrow().run(targets, targets.len(), statement).await;
        for _ in 0..AGAIN {
            if !implicit || !done.as_ref().is_err_and(SqlError::ends_transaction) {
                break;
            }
            // One server would have taken the locks in one order, and let them go sooner. So it takes them in
            // order now: nothing of it stays from before, and two that do so never wait for each other in
            // a circle of several shards.
            self.transactions.begin_again().await;
            done = self.reborrow().run(targets, 1, statement).await;
        }
        self.conclude(done, implicit).await
    }

    /// Begins what a change of several shards needs, unless it is open: the session's transaction where that
    /// has autocommit off, else one around this statement alone, of which it tells true.
    pub(super) fn begin(&mut self) -> bool {
        self.transactions.begin_if_wanted();
        let implicit = !self.transactions.is_open();
        if implicit {
            self.transactions.begin_implicit();
        }
        implicit
    }

    /// Ends a change: commits the transaction that the gate opened around it, or takes back what failed.
    pub(super) async fn conclude(&mut self, done: Result<OkSummary>, implicit: bool) -> Result<OkSummary> {
        match done {
            Ok(mut summary) if implicit => {
                let mode = self.transactions.commit_mode();
                let begun = tokio::time::Instant::now();
                // What one shard has committed stays, and what is decided is carried out: the statement
                // must not run again then.
                self.transactions.commit().await.map_err(|failed| {
                    let none = failed.committed.is_empty() && mode != CommitMode::TwoPc;
                    if none { failed.error } else { failed.error.final_answer() }
                })?;
                self.metrics.query.commit_seconds(mode).observe(begun.elapsed().as_secs_f64());
                if let Some(trace) = self.trace {
                    trace.committed(begun.elapsed());
                }
                // The session adds their texts.
                let added = u16::try_from(self.transactions.warnings()).unwrap_or(u16::MAX);
                summary.warnings = summary.warnings.saturating_add(added);
                Ok(summary)
            }
            Ok(summary) => {
                self.transactions.keep_statement();
                Ok(summary)
            }
            Err(error) => Err(self.undo(error, implicit).await),
        }
    }

    /// Begins a change of several statements: a transaction around it, of which it tells true, or steps of the
    /// session's.
    pub(super) async fn begin_steps(&mut self) -> Result<bool> {
        let implicit = self.begin();
        if !implicit {
            self.transactions.begin_steps().await?;
        }
        Ok(implicit)
    }

    /// Ends it: all of it is done, or nothing.
    pub(super) async fn conclude_steps(
        &mut self,
        done: Result<OkSummary>,
        implicit: bool,
    ) -> Result<OkSummary> {
        self.transactions.enter(Stage::Within);
        if implicit {
            return self.conclude(done, true).await;
        }
        if done.is_ok() {
            self.transactions.end_steps().await?;
        } else {
            // Takes back what was done, or ends the transaction.
            self.transactions.settle().await;
        }
        done
    }

    /// Runs the statement on all targets, on so many at once, and waits for their answers.
    pub(super) async fn run(
        mut self,
        targets: &[Target],
        at_once: usize,
        statement: Statement<'_>,
    ) -> Result<OkSummary> {
        let deadline = self.deadline;
        let statement_rows = statement.rows.len();
        let mut answers = Vec::with_capacity(targets.len());
        for targets in targets.chunks(at_once) {
            let mut held = self.reborrow().send_all(targets, statement).await?;
            answers.extend(join_all(held.iter_mut().map(|held| answer(held, deadline))).await);
            if answers.iter().any(Result::is_err) {
                break;
            }
        }
        let (mut total, mut notes) = (OkSummary::default(), Notes::default());
        let mut failed: Option<(u32, SqlError)> = None;
        for (answer, target) in answers.into_iter().zip(targets) {
            // Rows have numbers only where the statement lists them.
            let own = if statement_rows > 0 { &*target.own } else { &[] };
            match answer {
                Ok((mut summary, rows)) => {
                    if summary.info.is_empty() && statement_rows > 1 && target.own.len() == 1 {
                        summary.info = one_row_info(&summary, statement.ignores);
                    }
                    total.add(&summary);
                    notes.add(summary.warnings, rows, own);
                }
                Err(error) => {
                    let row = first_row(&error, own);
                    if failed.as_ref().is_none_or(|(known, _)| row < *known) {
                        failed = Some((row, numbered(error, own)));
                    }
                }
            }
        }
        if let Some((_, error)) = failed {
            return Err(error);
        }
        total.warned(notes);
        Ok(total)
    }

    /// Takes back what other shards did; the error that the client reads.
    async fn undo(&mut self, error: SqlError, implicit: bool) -> SqlError {
        if implicit {
            self.transactions.rollback().await;
            // Nobody was told to commit: whatever became of a connection, nothing is changed.
            let shard = error.trouble().map(|(shard, _)| shard.to_owned());
            return match shard {
                Some(shard) => error.at_shard(&shard, Outcome::NotSent),
                None => error,
            };
        }
        // A deadlock or a lost connection has ended the transaction: nothing is left to undo.
        if self.transactions.settle_connections().await || self.transactions.is_failed() {
            return error;
        }
        if self.transactions.undo_statement().await {
            return error;
        }
        self.transactions.rollback().await;
        SqlError::partial_undo().caused_by(error)
    }

    /// DDL on several shards, each on its own.
    async fn define(self, targets: &[Target], statement: Statement<'_>) -> Result<Output<'a>> {
        let deadline = self.deadline;
        let names: Vec<String> = targets.iter().map(|target| target.place.shard.full_name()).collect();
        let mut held = self.send_all(targets, statement).await?;
        let answers = join_all(held.iter_mut().map(|held| answer(held, deadline))).await;
        let (mut total, mut done, mut failed, mut first) = (OkSummary::default(), vec![], vec![], None);
        for (name, answer) in names.into_iter().zip(answers) {
            match answer {
                Ok((summary, notes)) => {
                    total.add(&summary);
                    total.notes.extend(notes);
                    done.push(name);
                }
                Err(error) => {
                    failed.push(name);
                    first.get_or_insert(error);
                }
            }
        }
        if total.notes.len() == usize::from(total.warnings) {
            // Every shard does and remarks the same: to the client it is one table.
            let mut seen = Vec::with_capacity(total.notes.len());
            total.notes.retain(|note| {
                !seen.contains(note) && {
                    seen.push(note.clone());
                    true
                }
            });
            total.warnings = u16::try_from(total.notes.len()).unwrap_or(u16::MAX);
        }
        match first {
            None => Ok(Output::Done(total)),
            // Of the others it may be unknown whether they have it.
            Some(error) if done.is_empty() => Err(error.final_answer()),
            Some(error) => {
                let text = format!(
                    "{} (failed on {}; done on {})",
                    error.client_text(),
                    failed.join(", "),
                    done.join(", ")
                );
                Err(SqlError::from_server(error.code(), SqlState(error.state().0), text).caused_by(error))
            }
        }
    }
}

/// The row of the whole statement at which a shard failed: the one that it names, else the first that it
/// had. One server, which takes the rows in their order, would have failed at the first such row.
fn first_row(error: &SqlError, own: &[u32]) -> u32 {
    let named = row_of(&error.client_text()).and_then(|row| own.get(row.checked_sub(1)?));
    named.or(own.first()).copied().unwrap_or(0)
}

/// The error with the number of the row in the whole statement.
fn numbered(error: SqlError, own: &[u32]) -> SqlError {
    match renumbered(&error.client_text(), own) {
        Some(text) => SqlError::from_server(error.code(), error.state(), text).caused_by(error),
        None => error,
    }
}

/// What MySQL would say of a single-row INSERT, were it one of several rows: it says nothing there. An
/// IGNORE that met a duplicate changes no row, ON DUPLICATE KEY UPDATE and REPLACE change two; a row that ON
/// DUPLICATE KEY UPDATE left as it was counts as none.
fn one_row_info(summary: &Summary, ignores: bool) -> Bytes {
    rows_info(1, summary.affected_rows, summary.warnings, ignores)
}

/// The info text of no row or one.
pub(super) fn rows_info(rows: usize, affected: u64, warnings: u16, ignores: bool) -> Bytes {
    let duplicates = u8::from(rows > 0 && if ignores { affected == 0 } else { affected > 1 });
    format!("Records: {rows}  Duplicates: {duplicates}  Warnings: {warnings}").into()
}

/// Waits for the end of one shard's answer, and reads its warnings where it has some; rows (of
/// RETURNING) have no place in a sum.
async fn answer(
    held: &mut Asked<'_>,
    deadline: Option<tokio::time::Instant>,
) -> Result<(Summary, Vec<Warning>)> {
    let read = async {
        match held.next_owned().await? {
            OwnedEvent::Ok(summary) if held.peek().response_done() => {
                let mut notes = Vec::new();
                if summary.warnings > 0 {
                    // The statement is done: losing the texts must not make it an error.
                    let shown = held.lease().collect(SHOW_WARNINGS, NOTES_SIZE).await;
                    let rows = shown.map(|result| result.rows).unwrap_or_default();
                    notes = Warning::read_all(&rows, held.peek().tablet());
                }
                Ok((summary, notes))
            }
            OwnedEvent::Error(error) => Err(SchemaName::error_of(held.peek().tablet(), error.into_error())),
            _ => Err(SqlError::unsupported("a change with rows or several results on more than one shard")),
        }
    };
    let done = match deadline {
        None => read.await,
        Some(deadline) => {
            tokio::time::timeout_at(deadline, read).await.unwrap_or_else(|_| Err(SqlError::query_timeout()))
        }
    };
    if done.is_err() && held.peek().owes() {
        held.cancel().await;
    }
    done
}
