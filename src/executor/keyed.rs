//! How are rows changed that must be found first?
//!
//! In one transaction, the session's or one around the statement: a locking read tells the keys of the rows,
//! then each shard changes its own by key ([`super::modify`]).

use std::collections::HashSet;

use super::insert_select::LONGEST;
use super::output::OkSummary;
use super::send::Statement;
use super::site::fields;
use super::stored_literal::Writing;
use super::{ExecContext, Output};
use crate::error::{Result, SqlError};
use crate::planner::{Insert, KeyedChange, StatementKind};
use crate::sql::{Operand, Piece, Template};
use crate::value::Value;

// === impl ExecContext ===

impl<'a> ExecContext<'a> {
    /// UPDATE or DELETE of rows that are found first.
    pub(super) async fn keyed(mut self, plan: &KeyedChange, kind: StatementKind) -> Result<Output<'a>> {
        if plan.moves.is_none() {
            let implicit = self.begin();
            let done = self.reborrow().change_found(plan, kind).await;
            return self.conclude(done, implicit).await.map(Output::Done);
        }
        let implicit = self.begin_steps().await?;
        let done = self.reborrow().change_found(plan, kind).await;
        self.conclude_steps(done, implicit).await.map(Output::Done)
    }

    async fn change_found(mut self, plan: &KeyedChange, kind: StatementKind) -> Result<OkSummary> {
        let read = self.reborrow().read(&plan.read, StatementKind::LockingSelect).await?;
        let writings = self.writings(&read.columns, plan.kinds.iter().copied())?;
        // Numbers are the same in every character set.
        if writings.iter().any(|own| *own != Writing::Number) {
            self.check_character_set()?;
        }
        let change = found(plan, &writings, &read.rows)?;
        if change.rows.is_empty() {
            return Ok(OkSummary::of_no_row(kind));
        }
        let targets = self.insert_targets(&change)?.all();
        let moving = match &plan.moves {
            Some(moves) => Some((moves, self.moving(plan, moves, (&writings, &read.rows), &targets)?)),
            None => None,
        };
        let mut statement = Statement::new(&change.query, kind);
        statement.rows = &change.rows;
        let mut summary = match moving {
            Some((moves, moving)) if !moving.is_empty() => {
                Box::pin(self.change_and_move(moves, &moving, &targets, statement)).await?
            }
            _ => self.change(&targets, statement).await?,
        };
        if kind == StatementKind::Delete {
            // Only an INSERT of rows says how many records it had.
            summary.info = bytes::Bytes::new();
        }
        Ok(summary)
    }
}

/// The change with the keys that were found.
fn found(plan: &KeyedChange, writings: &[Writing], rows: &[bytes::Bytes]) -> Result<Insert> {
    let mut change = plan.change.clone();
    let (mut known, mut length) = (HashSet::new(), 0_usize);
    for row in rows {
        let values = fields(row).ok_or_else(|| SqlError::bug("a row that does not read"))?;
        let key = key_text(writings, &values, plan.key);
        // A join finds a row several times, or none where an outer join has nothing.
        if plan.moves.is_none()
            && (values.iter().take(plan.key).all(Option::is_none) || !known.insert(key.clone()))
        {
            continue;
        }
        length = length.saturating_add(key.len() + 2);
        if length > LONGEST {
            return Err(SqlError::unsupported("a change of so many rows that are found first"));
        }
        change.rows.push(Template { pieces: [Piece::Text(key.into())].into() });
        let operand = |place: &Option<usize>| {
            let place = place.unwrap_or_default();
            let value = writings.get(place).zip(values.get(place));
            Operand::Constant(value.map_or(Value::Null, |(writing, value)| writing.value(*value)))
        };
        if let Some(sharding) = &mut change.sharding {
            sharding.values.push(plan.primary.iter().map(operand).collect());
        }
    }
    Ok(change)
}

/// `1`, or `(1, 'a')`.
pub(super) fn key_text(writings: &[Writing], values: &[Option<&[u8]>], key: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for (place, (writing, value)) in writings.iter().zip(values).take(key).enumerate() {
        text.extend_from_slice(match (place, key) {
            (0, 1) => b"".as_slice(),
            (0, _) => b"(",
            _ => b", ",
        });
        writing.write(*value, &mut text);
    }
    if key > 1 {
        text.push(b')');
    }
    text
}
