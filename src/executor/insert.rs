//! Which shard takes which row of an INSERT, and with which ids?
//!
//! 1. Rows without a value for the auto-increment column (none, NULL, or 0 and DEFAULT unless
//!    `NO_AUTO_VALUE_ON_ZERO`) get contiguous ids from the sequence, in row order.
//! 2. The primary vindex maps each row to a shard; other functional vindexes must agree.
//! 3. Rows are grouped by shard, in their order; one shard gets one statement as it is, several run
//!    in one transaction.

use std::sync::Arc;

use super::insert_id::IdSource;
use super::modify::{NOTES_SIZE, SHOW_WARNINGS};
use super::output::{OkSummary, SchemaName};
use super::route::{Target, Targets, owner};
use super::send::Statement;
use super::{ExecContext, Output, Warning};
use crate::backend::Event;
use crate::error::{Result, SqlError};
use crate::key::{Destination, KeyspaceId};
use crate::planner::{
    FoundRow, Insert, InsertSequence, InsertSharding, Routing, StatementKind, VerifyVindex,
};
use crate::sql::Operand;
use crate::value::Value;
use crate::vindex::Vindex;
use crate::vschema::{Domain, NotStored};

/// The auto-increment column's values, one per row, and the first that the sequence gave.
#[derive(Debug, Default, PartialEq)]
struct Ids {
    values: Vec<Value>,
    first: Option<u64>,
}

// === impl ExecContext ===

impl<'a> ExecContext<'a> {
    /// INSERT or REPLACE.
    pub(super) async fn insert(mut self, insert: &Insert, kind: StatementKind) -> Result<Output<'a>> {
        let ids = match &insert.sequence {
            Some(sequence) => self.ids(sequence).await?,
            None => Ids::default(),
        };
        // The ids live as long as this call: the rendered texts hold copies.
        let outcome = self.reborrow_with(&ids.values).insert_rows(insert, kind, ids.first).await?;
        match outcome {
            Some(summary) => Ok(Output::Done(summary)),
            None => Err(SqlError::bug("an INSERT without an answer")),
        }
    }

    async fn insert_rows(
        self,
        insert: &Insert,
        kind: StatementKind,
        first: Option<u64>,
    ) -> Result<Option<OkSummary>> {
        let followed = insert.sharding.as_ref().is_some_and(|sharding| !sharding.lookups.is_empty());
        let targets = if followed { None } else { Some(self.insert_targets(insert)?) };
        let (found_rows, id_source) = (self.found_rows, self.id_source()?);
        let mut statement = Statement::new(&insert.query, kind);
        statement.rows = &insert.rows;
        statement.ignores = insert.ignores;
        let mut summary = match targets {
            None => Box::pin(self.insert_followed(insert, kind)).await?,
            Some(Targets::One(target) | Targets::Nowhere(target)) => {
                let Output::Forward(mut forward) = self.forward(target, statement).await? else {
                    return Ok(None);
                };
                let mut summary = OkSummary::default();
                loop {
                    match forward.next().await? {
                        Event::Ok(packet) => summary.add(&packet.into()),
                        Event::Error(packet) => {
                            let error = packet.to_error();
                            return Err(SchemaName::error_of(forward.tablet(), error));
                        }
                        Event::LocalInfile(_) => forward.send_local_infile(b""),
                        _ => {
                            forward.cancel().await;
                            return Err(SqlError::unsupported("INSERT with rows as its answer"));
                        }
                    }
                    if forward.is_done() {
                        break;
                    }
                }
                if summary.warnings > 0 {
                    // The statement is done: losing the texts must not make it an error.
                    let shown = forward.collect(SHOW_WARNINGS, NOTES_SIZE).await;
                    let rows = shown.map(|result| result.rows).unwrap_or_default();
                    summary.notes = Warning::read_all(&rows, forward.tablet());
                }
                summary
            }
            Some(Targets::Many(targets)) => self.change(&targets, statement).await?,
        };
        tell_id(insert, first, found_rows, &mut summary);
        summary.keeps_insert_id |= id_source == IdSource::Client;
        Ok(Some(summary))
    }

    /// The auto-increment values of all rows.
    async fn ids(&self, sequence: &InsertSequence) -> Result<Ids> {
        let mut values = Vec::with_capacity(sequence.given.len());
        let mut wanted = Vec::new();
        for (row, given) in sequence.given.iter().enumerate() {
            let value = match given {
                Some(operand) => self.bindings.value(operand)?,
                None => Value::Null,
            };
            if asks_sequence(&value, self.no_auto_value_on_zero) {
                wanted.push(row);
            }
            values.push(value);
        }
        let count = i64::try_from(wanted.len()).unwrap_or(i64::MAX);
        if count == 0 {
            return Ok(Ids { values, first: None });
        }
        let first = self.take_ids(&sequence.sequence, count).await?;
        for (id, row) in (first..).zip(wanted) {
            values[row] = Value::UInt(id);
        }
        Ok(Ids { values, first: Some(first) })
    }

    /// The shards of the rows.
    pub(super) fn insert_targets(&self, insert: &Insert) -> Result<Targets> {
        let all: Vec<u32> = (0..u32::try_from(insert.rows.len()).unwrap_or(u32::MAX)).collect();
        let Some(sharding) = &insert.sharding else {
            return Ok(match self.route(Some(&insert.keyspace), &Routing::Unsharded)? {
                Targets::One(target) => Targets::One(Target { own: all, ..target }),
                other => other,
            });
        };
        let keyspace = self.keyspace_of(Some(&insert.keyspace))?;
        let mut rows_of: Vec<Vec<u32>> = vec![Vec::new(); keyspace.shards.len()];
        for row in all {
            let id = self.row_id(sharding, row)?;
            let shard = owner(keyspace, &id)?;
            if insert.rows.len() == 1 {
                self.heat.note(&sharding.vindex, &id, shard);
            }
            let at = keyspace.shards.iter().position(|known| Arc::ptr_eq(known, shard)).unwrap_or(0);
            rows_of[at].push(row);
        }
        let mut targets = Vec::new();
        for (shard, own) in keyspace.shards.iter().zip(rows_of) {
            if !own.is_empty() {
                targets.push(Target { place: self.place(shard)?, own });
            }
        }
        Ok(if targets.len() == 1 { Targets::One(targets.remove(0)) } else { Targets::Many(targets) })
    }

    /// The keyspace id of one row, checked by all its vindexes.
    pub(super) fn row_id(&self, sharding: &InsertSharding, row: u32) -> Result<KeyspaceId> {
        let values = self.row_values(&sharding.values, &sharding.domains, &sharding.columns, row)?;
        let column = |at: usize| sharding.columns.get(at).map_or("", |name| name);
        let null = values.iter().position(Value::is_null);
        let id = match (sharding.vindex.map(&values), null) {
            (Ok(Destination::Id(id)), None) => id,
            // A vindex over bytes takes NULL as no bytes, of which `binary` makes no id.
            (Ok(Destination::Id(id)), Some(_)) if values.len() == 1 && !id.as_bytes().is_empty() => id,
            (_, Some(at)) => return Err(SqlError::null_vindex_column(column(at))),
            (Err(error), None) => return Err(error.into()),
            (Ok(_), None) => {
                return Err(SqlError::unmappable_value(&sharding.columns.join(", "), sharding.vindex.name()));
            }
        };
        for secondary in &sharding.verify {
            self.verify(secondary, row, &id)?;
        }
        Ok(id)
    }

    fn verify(&self, secondary: &VerifyVindex, row: u32, id: &KeyspaceId) -> Result<()> {
        let values = self.row_values(&secondary.values, &secondary.domains, &secondary.columns, row)?;
        if let Some(at) = values.iter().position(Value::is_null) {
            return Err(SqlError::null_vindex_column(secondary.columns.get(at).map_or("", |name| name)));
        }
        let vindex: &Vindex = &secondary.vindex;
        if vindex.verify(&values, id)? {
            return Ok(());
        }
        Err(SqlError::vindex_value(&format!(
            "value for column {} does not map to keyspace id {id} by vindex {}",
            secondary.columns.join(", "),
            vindex.name()
        )))
    }

    /// The values of a vindex's columns in one row, as the server stores them.
    pub(super) fn row_values(
        &self,
        rows: &[Vec<Operand>],
        domains: &[Domain],
        columns: &[Arc<str>],
        row: u32,
    ) -> Result<Vec<Value>> {
        let operands = rows.get(row as usize).ok_or_else(|| SqlError::bug("an INSERT row without values"))?;
        let values = operands.iter().zip(domains).zip(columns);
        values.map(|((operand, domain), column)| self.stored_value(operand, domain, (column, row))).collect()
    }

    /// The value of a column in a row, counted from 0, as the server stores it.
    pub(super) fn stored_value(
        &self,
        operand: &Operand,
        domain: &Domain,
        (column, row): (&str, u32),
    ) -> Result<Value> {
        let value = self.routing_value(operand)?;
        domain.stored(value).map_err(|reason| match reason {
            NotStored::OutOfRange => SqlError::out_of_range(column, row as usize + 1),
            NotStored::TooLong => SqlError::too_long(column, row as usize + 1),
            NotStored::Changed => SqlError::changed_vindex_value(column),
        })
    }
}

/// Sets the insert id that the answer tells, and whether LAST_INSERT_ID() becomes it.
///
/// As MySQL and MariaDB do: the first generated id of a row that was inserted; of a row that was found and
/// changed its own id, while LAST_INSERT_ID() stays; of a row that was found and left as it was none. Of
/// several rows, some found and some inserted, it is not known which were inserted: then it is the first id of
/// all.
fn tell_id(insert: &Insert, first: Option<u64>, found_rows: bool, summary: &mut OkSummary) {
    let rows = insert.rows.len() as u64;
    // An AUTO_INCREMENT on the shard tells the id that it was given.
    let is_new = |id: u64| id == 0 || first.is_some_and(|first| (first..first + rows).contains(&id));
    let id = summary.last_insert_id;
    let unchanged = summary.affected_rows == 0 || found_rows && summary.affected_rows == 1;
    match (insert.found, first) {
        (FoundRow::ByClient, _) if !is_new(id) => {}
        (FoundRow::Told, _) if !is_new(id) && rows == 1 => {
            summary.last_insert_id = if unchanged { 0 } else { id };
            summary.keeps_insert_id = true;
        }
        // An INSERT IGNORE that inserted nothing generated nothing either.
        (_, Some(first)) => summary.last_insert_id = if summary.affected_rows == 0 { 0 } else { first },
        (FoundRow::ByClient, None) => {}
        // An id that the statement gives is none that LAST_INSERT_ID() tells.
        (_, None) => summary.keeps_insert_id = insert.sequence.is_some(),
    }
}

/// Whether this value makes MySQL generate an id: NULL, and zero in any numeric form.
pub(super) fn asks_sequence(value: &Value, no_auto_value_on_zero: bool) -> bool {
    let is_zero = match value {
        Value::Null => return true,
        Value::Int(number) => *number == 0,
        Value::UInt(number) => *number == 0,
        Value::Float(number) => *number == 0.0,
        Value::Decimal(text) | Value::Text(text) => std::str::from_utf8(text)
            .is_ok_and(|text| text.trim().parse::<f64>().is_ok_and(|number| number == 0.0)),
        Value::Binary(_) | Value::Temporal(_) => false,
    };
    is_zero && !no_auto_value_on_zero
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn null_and_zero_ask_the_sequence() {
        // Vitess's insert_common.go, and MySQL's NO_AUTO_VALUE_ON_ZERO.
        let text = |text: &'static str| Value::Text(Bytes::from_static(text.as_bytes()));
        for value in [Value::Int(0), Value::UInt(0), text("0"), text("0.0"), Value::Float(0.0)] {
            assert!(asks_sequence(&value, false), "{value:?}");
            assert!(!asks_sequence(&value, true), "{value:?}");
        }
        assert!(asks_sequence(&Value::Null, true));
        for value in
            [Value::Int(7), Value::Int(-1), text("x"), text(""), Value::Binary(Bytes::from_static(b"0"))]
        {
            assert!(!asks_sequence(&value, false), "{value:?}");
        }
    }
}
