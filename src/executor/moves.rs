//! How does a row come to another shard when its sharding column changes?
//!
//! All in one transaction: each shard changes its rows where they are, as one server would; then rows that
//! belong elsewhere are read, deleted there and inserted here, every column with its value. What was inserted
//! is read again: unless it is what was read before, the whole change is taken back and refused. So nothing is
//! changed on the way by a mode, a time zone or a default.

use bytes::Bytes;

use super::keyed::key_text;
use super::load::Loader;
use super::output::OkSummary;
use super::route::Target;
use super::send::Statement;
use super::site::fields;
use super::stored_literal::Writing;
use super::table_copy::{TableCopy, quoted};
use super::{ExecContext, Protocol};
use crate::error::{Result, SqlError};
use crate::planner::{Insert, KeyedChange, NewValue, RowMoves, StatementKind};
use crate::sql::{Bindings, Operand, Template, literal};
use crate::transaction::Place;
use crate::value::Value;

/// Rows that go from one shard to another.
#[derive(Debug)]
pub(super) struct Moving {
    from: Target,
    to: Target,
    /// Their keys after the change, as `1` or `(1, 'a')`.
    keys: Vec<Vec<u8>>,
}

// === impl ExecContext ===

impl ExecContext<'_> {
    /// Which of the rows that were read go to another shard when they are changed.
    ///
    /// # Errors
    /// As an INSERT of the new values.
    pub(super) fn moving(
        &self,
        plan: &KeyedChange,
        moves: &RowMoves,
        (writings, rows): (&[Writing], &[Bytes]),
        targets: &[Target],
    ) -> Result<Vec<Moving>> {
        let mut new_keys = Vec::with_capacity(rows.len());
        let mut after = Insert { sharding: Some(moves.sharding.clone()), ..plan.change.clone() };
        for (row, bytes) in (0..).zip(rows) {
            let values = fields(bytes).ok_or_else(|| SqlError::bug("a row that does not read"))?;
            new_keys.push(self.new_key(moves, writings, &values, row)?);
            after.rows.push(Template::default());
            let operand = |value: &NewValue| match value {
                NewValue::Given(operand, _) => operand.clone(),
                NewValue::Old(place) => Operand::Constant(match (writings.get(*place), values.get(*place)) {
                    (Some(writing), Some(value)) => writing.value(*value),
                    _ => Value::Null,
                }),
            };
            if let Some(sharding) = &mut after.sharding {
                sharding.values.push(moves.primary.iter().map(operand).collect());
                for (verify, values) in sharding.verify.iter_mut().zip(&moves.verify) {
                    verify.values.push(values.iter().map(operand).collect());
                }
            }
        }
        let new_targets = self.insert_targets(&after)?.all();
        let mut moving = Vec::new();
        for from in targets {
            for to in new_targets.iter().filter(|to| to.place.shard.name != from.place.shard.name) {
                let mut keys = Vec::new();
                for row in from.own.iter().filter(|row| to.own.contains(row)) {
                    keys.extend(new_keys.get(*row as usize).cloned());
                }
                if !keys.is_empty() {
                    moving.push(Moving { from: alone(from), to: alone(to), keys });
                }
            }
        }
        Ok(moving)
    }

    /// The key of a row after the change.
    fn new_key(
        &self,
        moves: &RowMoves,
        writings: &[Writing],
        values: &[Option<&[u8]>],
        row: u32,
    ) -> Result<Vec<u8>> {
        let (mut key_writings, mut key_values) = (Vec::new(), Vec::new());
        let mut given = Vec::with_capacity(moves.new_keys.len());
        for (value, column) in moves.new_keys.iter().zip(&moves.keys) {
            given.push(match value {
                NewValue::Old(_) => None,
                NewValue::Given(operand, domain) => {
                    let stored = self.stored_value(operand, domain, (column, row))?;
                    let mut text = Vec::new();
                    literal::write(&stored, self.bindings.writing, &mut text);
                    Some(text)
                }
            });
        }
        for (value, given) in moves.new_keys.iter().zip(&given) {
            match (value, given) {
                (NewValue::Old(place), _) => {
                    let place = writings.get(*place).zip(values.get(*place));
                    let (writing, value) = place.ok_or_else(|| SqlError::bug("a key without its column"))?;
                    key_writings.push(*writing);
                    key_values.push(*value);
                }
                // Written as it is.
                (NewValue::Given(..), text) => {
                    key_writings.push(Writing::Number);
                    key_values.push(text.as_deref());
                }
            }
        }
        Ok(key_text(&key_writings, &key_values, moves.new_keys.len()))
    }

    /// Changes the rows where they are, then carries those that belong elsewhere.
    ///
    /// # Errors
    /// Whatever a shard says; VT12001 where a row would not arrive as it was.
    pub(super) async fn change_and_move(
        mut self,
        moves: &RowMoves,
        moving: &[Moving],
        targets: &[Target],
        statement: Statement<'_>,
    ) -> Result<OkSummary> {
        self.check_character_set()?;
        let table = quoted(&moves.table);
        let copy = self.reborrow().describe(&table, moves, &moving[0].from.place).await?;
        let summary = self.reborrow().change(targets, statement).await?;
        let mut context = self.texts();
        let mut carried = Vec::with_capacity(moving.len());
        for own in moving {
            let select = format!("SELECT {} FROM {table}", copy.select_list());
            let rows = context.reborrow().keyed_rows(&select, moves, &own.from, &own.keys).await?;
            if rows.len() != own.keys.len() {
                return Err(refused());
            }
            carried.push(rows);
        }
        for own in moving {
            let sql = with_keys(&format!("DELETE FROM {table}"), moves, &own.keys);
            let done = context.reborrow().change_text(&own.from, sql, StatementKind::Delete).await?;
            if done.affected_rows != own.keys.len() as u64 {
                return Err(refused());
            }
        }
        for (own, rows) in moving.iter().zip(&carried) {
            context.reborrow().insert_carried(&table, &copy, own, rows).await?;
            let select = format!("SELECT {} FROM {table}", copy.select_list());
            let mut arrived = context.reborrow().keyed_rows(&select, moves, &own.to, &own.keys).await?;
            let mut sent = rows.clone();
            arrived.sort_unstable();
            sent.sort_unstable();
            if arrived != sent {
                return Err(refused());
            }
        }
        Ok(summary)
    }

    /// The same execution for statements of the gate's own, without parameters.
    fn texts(&mut self) -> ExecContext<'_> {
        let bindings = Bindings { params: &[], ..self.bindings };
        let mut context = self.reborrow();
        (context.protocol, context.bindings) = (Protocol::Text, bindings);
        context
    }

    /// What the table looks like, if nothing but its own rows depends on what happens to a row.
    async fn describe(mut self, table: &str, moves: &RowMoves, place: &Place) -> Result<TableCopy> {
        let target = Target { place: place.clone(), own: Vec::new() };
        let mut context = self.texts();
        let created =
            context.reborrow().text_rows(&target, format!("SHOW CREATE TABLE {table}").into()).await?;
        let created = created.first().and_then(|row| fields(row)?.get(1).copied().flatten());
        let created = created.ok_or_else(|| SqlError::bug("SHOW CREATE TABLE has an unknown form"))?;
        if created.windows(17).any(|own| own == b"SYSTEM VERSIONING") {
            return Err(SqlError::unsupported("moving rows of a table with system versioning"));
        }
        let mut name = Vec::new();
        literal::write_string(moves.table.as_bytes(), self.bindings.writing, &mut name);
        let name = String::from_utf8_lossy(&name);
        let sql = format!(
            "SELECT 1 FROM information_schema.triggers WHERE event_object_schema = DATABASE() \
             AND event_object_table = {name} UNION ALL SELECT 1 FROM information_schema.referential_constraints \
             WHERE unique_constraint_schema = DATABASE() AND referenced_table_name = {name}"
        );
        if !self.texts().text_rows(&target, sql.into()).await?.is_empty() {
            return Err(SqlError::unsupported(
                "moving rows of a table with triggers, or that foreign keys refer to",
            ));
        }
        TableCopy::read(created)
    }

    async fn insert_carried(
        mut self,
        table: &str,
        copy: &TableCopy,
        own: &Moving,
        rows: &[Bytes],
    ) -> Result<()> {
        let stored = copy.stored();
        let mut loader = Loader::new(table, &stored);
        for (index, row) in rows.iter().enumerate() {
            loader.push(&copy.stored_part(row)?)?;
            if loader.is_full() || index + 1 == rows.len() {
                let sql = loader.statement().unwrap_or_default().to_vec();
                self.reborrow().change_text(&own.to, sql, StatementKind::Insert).await?;
                loader.clear();
            }
        }
        Ok(())
    }

    async fn change_text(self, target: &Target, sql: Vec<u8>, kind: StatementKind) -> Result<OkSummary> {
        let template = Template::from_text(sql);
        self.change(std::slice::from_ref(target), Statement::new(&template, kind)).await
    }

    async fn keyed_rows(
        self,
        select: &str,
        moves: &RowMoves,
        target: &Target,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Bytes>> {
        let mut sql = with_keys(select, moves, keys);
        sql.extend_from_slice(b" FOR UPDATE");
        self.text_rows(target, sql).await
    }

    /// The rows that one shard answers.
    async fn text_rows(self, target: &Target, sql: Vec<u8>) -> Result<Vec<Bytes>> {
        let template = Template::from_text(sql);
        let statement = Statement::new(&template, StatementKind::LockingSelect);
        let read = self.read_own(std::slice::from_ref(target), statement, "a change that moves rows").await?;
        Ok(read.rows)
    }
}

/// A statement with the condition that the key is one of these.
fn with_keys(statement: &str, moves: &RowMoves, keys: &[Vec<u8>]) -> Vec<u8> {
    let columns: Vec<String> = moves.keys.iter().map(|key| quoted(key)).collect();
    let columns = columns.join(", ");
    let columns = if moves.keys.len() > 1 { format!("({columns})") } else { columns };
    let mut sql = format!("{statement} WHERE {columns} IN (").into_bytes();
    sql.extend_from_slice(&keys.join(&b", "[..]));
    sql.push(b')');
    sql
}

/// The shard alone, without rows of an INSERT.
fn alone(target: &Target) -> Target {
    Target { place: target.place.clone(), own: Vec::new() }
}

fn refused() -> SqlError {
    SqlError::unsupported("an UPDATE of a sharding column by which a row would not move exactly")
}
