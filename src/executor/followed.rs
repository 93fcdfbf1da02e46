//! How do lookup tables follow an UPDATE or DELETE?
//!
//! In one transaction, the session's or one around the statement: a locking read tells the rows, then
//! their new entries are made, the statement runs, and their old entries go.

use super::entries::{Cell, Entry};
use super::output::OkSummary;
use super::send::Statement;
use super::site::fields;
use super::stored_literal::Writing;
use super::{ExecContext, Output};
use crate::error::{Result, SqlError};
use crate::key::{Destination, KeyspaceId};
use crate::planner::{FollowedChange, FollowedLookup, StatementKind, StepId};
use crate::vschema::Compared;

/// What becomes of a lookup's entries.
struct Moves<'p> {
    lookup: &'p FollowedLookup,
    old: Vec<Entry>,
    new: Vec<Entry>,
}

// === impl ExecContext ===

impl<'a> ExecContext<'a> {
    /// UPDATE or DELETE of rows that entries follow.
    pub(super) async fn followed(mut self, plan: &FollowedChange, kind: StatementKind) -> Result<Output<'a>> {
        self.check_character_set()?;
        let implicit = self.begin_steps().await?;
        let done = self.reborrow().change_followed(plan, kind).await;
        self.conclude_steps(done, implicit).await.map(Output::Done)
    }

    async fn change_followed(mut self, plan: &FollowedChange, kind: StatementKind) -> Result<OkSummary> {
        let targets = self.targets(&plan.route).await?.with_rows();
        if targets.is_empty() {
            return Ok(OkSummary::of_no_row(kind));
        }
        let in_list = plan.route.routing.in_list();
        let read = self
            .reborrow()
            .read_entries(&targets, (&plan.read, StepId::of_query(&plan.read)), in_list)
            .await?;
        if read.rows.is_empty() {
            return Ok(OkSummary::of_no_row(kind));
        }
        let writings = self.writings(&read.columns, plan.kinds.iter().copied())?;
        let mut moves: Vec<Moves<'_>> =
            plan.lookups.iter().map(|lookup| Moves { lookup, old: Vec::new(), new: Vec::new() }).collect();
        for row in &read.rows {
            let values = fields(row).ok_or_else(|| SqlError::bug("a row that does not read"))?;
            let id = row_of(plan, &writings, &values)?;
            for own in &mut moves {
                self.moved(own, &writings, &values, &id)?;
            }
        }
        // Should the statement be cut off, entries are left over and none are missing.
        for own in &mut moves {
            let new = std::mem::take(&mut own.new);
            self.reborrow().create_entries(&own.lookup.table, new).await?;
        }
        let mut statement = Statement::new(&plan.route.query, kind);
        statement.in_list = in_list;
        let summary = self.reborrow().run(&targets, targets.len(), statement).await?;
        let met = match kind {
            StatementKind::Delete => Some(summary.affected_rows),
            _ => matched(&summary.info),
        };
        if met != Some(read.rows.len() as u64) {
            // Below REPEATABLE READ a row may come in between.
            return Err(SqlError::rows_came_between());
        }
        for own in &moves {
            self.reborrow().remove_entries(&own.lookup.table, &own.old).await?;
        }
        Ok(summary)
    }

    /// Adds what becomes of one row's entry.
    fn moved(
        &self,
        own: &mut Moves<'_>,
        writings: &[Writing],
        values: &[Option<&[u8]>],
        id: &KeyspaceId,
    ) -> Result<()> {
        let table = &own.lookup.table;
        let old: Vec<Cell> = own
            .lookup
            .places
            .iter()
            .map(|&place| {
                let value = values.get(place).copied().flatten();
                let mut text = Vec::new();
                let writing =
                    writings.get(place).ok_or_else(|| SqlError::bug("a column that was not read"))?;
                writing.write(value, &mut text);
                Ok(Cell { text, value: writing.value(value) })
            })
            .collect::<Result<_>>()?;
        let is_update = !own.lookup.new.is_empty();
        if is_update && values.get(own.lookup.equal).copied().flatten() == Some(b"1") {
            return Ok(());
        }
        if is_update {
            let cells = old.iter().zip(&own.lookup.new).enumerate().map(|(at, (old, new))| match new {
                None => Ok(old.clone()),
                Some(operand) => {
                    let domain =
                        table.domains.get(at).ok_or_else(|| SqlError::bug("a column without a domain"))?;
                    let column = table.columns.get(at).map_or("", |name| name);
                    Ok(self.cell(self.stored_value(operand, domain, (column, 0))?))
                }
            });
            let cells = cells.collect::<Result<Vec<_>>>()?;
            own.new.extend(self.entry(table, cells, id.clone())?);
        }
        // A NULL has no entry, whatever the lookup does with those.
        if old.iter().all(|cell| !cell.value.is_null()) {
            own.old.extend(self.entry(table, old, id.clone())?);
        }
        Ok(())
    }
}

/// The keyspace id of a row that was read.
fn row_of(plan: &FollowedChange, writings: &[Writing], values: &[Option<&[u8]>]) -> Result<KeyspaceId> {
    let mut read = Vec::with_capacity(plan.domains.len());
    for ((writing, value), domain) in writings.iter().zip(values).zip(&plan.domains) {
        let Compared::Only(value) = domain.compared(writing.value(*value)) else {
            return Err(SqlError::unsupported("a row whose sharding column has several forms"));
        };
        read.push(value);
    }
    match plan.vindex.map(&read)? {
        Destination::Id(id) => Ok(id),
        _ => Err(SqlError::unmappable_value("of a row that is there", plan.vindex.name())),
    }
}

/// How many rows an UPDATE met.
fn matched(info: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(info).ok()?.strip_prefix("Rows matched: ")?;
    text.split(' ').next()?.parse().ok()
}
