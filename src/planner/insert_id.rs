//! What does `LAST_INSERT_ID()` become behind a statement?
//!
//! The answer to an INSERT tells an id also where the client itself has given it, and the session's value
//! stays then. What values decide is left to the execution; where neither the statement nor its answer
//! tells, the server is asked.

use super::context::Planner;
use super::insert::{is_default, listed_columns};
use super::insert_parts::{Parts, Source};
use super::query::set_insert_ids;
use crate::error::{Result, SqlError};
use crate::sql::{Operand, TokenKind};

/// How the session learns its `LAST_INSERT_ID()` from a statement.
#[derive(Debug, Clone, PartialEq)]
pub enum InsertId {
    /// The answer tells it, unless it tells zero.
    Told,
    /// It depends on the values for the auto-increment column.
    Rows(RowIds),
    /// The server is told the session's value before the statement, and asked behind it.
    Asked,
}

/// The values for the auto-increment column of the table, which the server fills.
#[derive(Debug, Clone, PartialEq)]
pub struct RowIds {
    /// For each row the client's value; none where the server surely makes one.
    pub given: Vec<Option<Operand>>,
    /// IGNORE: a row that collides is left out.
    pub ignores: bool,
    /// ON DUPLICATE KEY UPDATE: a row that collides changes the one that is there.
    pub updates: bool,
}

// === impl InsertId ===

impl InsertId {
    /// Of an UPDATE, DELETE or query: only `LAST_INSERT_ID(expr)` sets it.
    ///
    /// # Errors
    /// VT12001 beside `LAST_INSERT_ID()`, in whose place the session's value is sent.
    pub(super) fn of_expressions(planner: &Planner<'_>) -> Result<Self> {
        if set_insert_ids(planner).next().is_none() {
            return Ok(Self::Told);
        }
        let statement = &planner.statement;
        let reads = |index: usize| {
            let is = |ahead: usize, kind| {
                statement.tokens.get(index + ahead).is_some_and(|token| token.kind == kind)
            };
            statement.is_word(index, "last_insert_id")
                && is(1, TokenKind::LeftParen)
                && is(2, TokenKind::RightParen)
        };
        if (0..statement.tokens.len()).any(reads) {
            return Err(SqlError::unsupported("LAST_INSERT_ID() beside LAST_INSERT_ID(expr)"));
        }
        Ok(Self::Asked)
    }

    /// Of an INSERT or REPLACE whose table has no sequence.
    ///
    /// # Errors
    /// As [`Self::of_expressions`].
    pub(super) fn of_insert(planner: &Planner<'_>, parts: &Parts) -> Result<Self> {
        let own = Self::of_expressions(planner)?;
        if own == Self::Asked || parts.table.columns.is_empty() {
            return Ok(Self::Asked);
        }
        Ok(Self::of_rows(planner, parts))
    }

    fn of_rows(planner: &Planner<'_>, parts: &Parts) -> Self {
        let table = &parts.table;
        let Some(auto) = table.columns.iter().find(|column| column.auto_increment) else {
            return Self::Told;
        };
        let rest = parts.tail..planner.statement.tokens.len();
        let updates = rest.into_iter().any(|index| planner.statement.is_word(index, "duplicate"));
        let rows = match &parts.source {
            Source::Rows { rows, .. } => rows.as_slice(),
            Source::Set { values, .. } => std::slice::from_ref(values),
            Source::Select { .. } => {
                let listed = parts.columns.as_ref();
                let fills = listed
                    .is_none_or(|columns| columns.iter().any(|name| name.eq_ignore_ascii_case(&auto.name)));
                let tail = (0..planner.statement.tokens.len()).any(|index| {
                    planner.statement.is_word(index, "duplicate")
                        && planner.statement.is_word(index + 1, "key")
                });
                return if fills || parts.ignores || tail { Self::Asked } else { Self::Told };
            }
        };
        let Ok(columns) = listed_columns(parts, rows) else { return Self::Asked };
        let position = columns.iter().position(|name| name.eq_ignore_ascii_case(&auto.name));
        if position.is_none() && !parts.ignores && !updates {
            return Self::Told;
        }
        let mut given = Vec::with_capacity(rows.len());
        for row in rows {
            let run = position.and_then(|position| row.get(position));
            let tokens =
                run.map(|&(start, end)| planner.statement.tokens.get(start..end).unwrap_or_default());
            given.push(match tokens {
                None => None,
                Some(tokens) if is_default(planner, tokens) => None,
                Some(tokens) => match planner.constant(tokens) {
                    Some(value) => Some(value),
                    None => return Self::Asked,
                },
            });
        }
        Self::Rows(RowIds { given, ignores: parts.ignores, updates })
    }
}
