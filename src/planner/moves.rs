//! Can an UPDATE assign a column that decides where its rows live?
//!
//! The shard changes the row where it is, by its own rules; then the gate carries it to the shard that its
//! new values name. For that the new values must be known here: constants. Rows that collide in a unique key
//! must do so in any order: so what else such a key has is left alone, or becomes a constant as well.

use std::sync::Arc;

use super::context::Planner;
use super::modify::Change;
use super::scope::Analysis;
use super::{InsertSharding, NewValue, RowMoves, VerifyVindex, facts, keyed};
use crate::error::{Result, SqlError};
use crate::sql::Operand;
use crate::vschema::{ColumnVindex, Domain, Table};

/// None where no vindex column is assigned.
///
/// # Errors
/// VT12001 where the rows cannot be moved exactly.
pub(super) fn of(
    planner: &Planner<'_>,
    change: &Change<'_>,
    analysis: &Analysis,
) -> Result<Option<RowMoves>> {
    let decides = |table: &Table, column: &str| {
        table.column_vindexes.iter().any(|vindex| vindex.position(column).is_some())
    };
    let mut roots = analysis.uses.iter().filter(|own| analysis.roots.contains(&own.block));
    let deciding = roots.clone().find_map(|own| {
        let column = change.assigned.iter().find(|column| decides(&own.table, column))?;
        Some((own, column))
    });
    let Some((own, column)) = deciding else { return Ok(None) };
    let refused = || SqlError::vindex_column_change(column);
    let table = &own.table;
    let ignores = (1..3).any(|index| planner.statement.is_word(index, "ignore"));
    let lookup = table.column_vindexes.iter().any(|vindex| vindex.vindex.is_lookup());
    if roots.nth(1).is_some() || analysis.blocks.len() != 1 || ignores || lookup {
        return Err(refused());
    }
    let (Some(keys), Some(primary)) = (keyed::keys(table), table.primary_vindex()) else {
        return Err(refused());
    };
    let assigned = Assigned { planner, change };
    assigned.check(table, &keys).ok_or_else(refused)?;
    // The read has the key, then the columns of the vindexes.
    let mut place = keys.len();
    let mut values = Vec::with_capacity(table.column_vindexes.len());
    for vindex in &table.column_vindexes {
        values.push(assigned.values(table, vindex, &mut place).ok_or_else(refused)?);
    }
    let new_key = |(place, key): (usize, &Arc<str>)| {
        let found = table.column_vindexes.iter().zip(&values).find_map(|(vindex, values)| {
            values.get(vindex.position(key)?).filter(|value| matches!(value, NewValue::Given(..)))
        });
        found.cloned().unwrap_or(NewValue::Old(place))
    };
    let new_keys = keys.iter().enumerate().map(new_key).collect();
    let mut values = values.into_iter();
    let verify = |vindex: &ColumnVindex| VerifyVindex {
        vindex: vindex.vindex.clone(),
        columns: vindex.columns.clone(),
        values: Vec::new(),
        domains: table.domains(vindex),
    };
    Ok(Some(RowMoves {
        table: table.name.clone(),
        keys,
        new_keys,
        sharding: InsertSharding {
            vindex: primary.vindex.clone(),
            columns: primary.columns.clone(),
            values: Vec::new(),
            domains: table.domains(primary),
            verify: table.column_vindexes.iter().skip(1).map(verify).collect(),
            lookups: Vec::new(),
        },
        primary: values.next().unwrap_or_default(),
        verify: values.collect(),
    }))
}

/// The assignments of the UPDATE.
struct Assigned<'a> {
    planner: &'a Planner<'a>,
    change: &'a Change<'a>,
}

// === impl Assigned ===

impl Assigned<'_> {
    fn is_assigned(&self, column: &str) -> bool {
        self.change.assigned.iter().any(|own| own.eq_ignore_ascii_case(column))
    }

    /// The constant that becomes the column's value, where it is assigned once.
    fn constant(&self, column: &str) -> Option<Operand> {
        let assigned = self.change.assigned.iter().zip(&self.change.others);
        let mut assigned = assigned.filter(|(own, _)| own.eq_ignore_ascii_case(column));
        let (_, value) = assigned.next()?;
        if assigned.next().is_some() {
            return None;
        }
        facts::operand(self.planner, value)
    }

    /// Whether all unique keys are known, and change by constants only; and the primary key by the columns of
    /// vindexes only.
    fn check(&self, table: &Table, primary: &[Arc<str>]) -> Option<()> {
        for part in table.keys.as_ref()?.iter().flat_map(|key| &key.parts) {
            let column = table.column(part.column.as_deref()?)?;
            if column.generated || self.is_assigned(&column.name) && self.constant(&column.name).is_none() {
                return None;
            }
        }
        let decides =
            |column: &Arc<str>| table.column_vindexes.iter().any(|vindex| vindex.position(column).is_some());
        primary.iter().all(|key| !self.is_assigned(key) || decides(key)).then_some(())
    }

    /// What the columns of a vindex are afterwards; the read has them from `place` on.
    fn values(&self, table: &Table, vindex: &ColumnVindex, place: &mut usize) -> Option<Vec<NewValue>> {
        let mut values = Vec::with_capacity(vindex.columns.len());
        for (column, domain) in vindex.columns.iter().zip(table.domains(vindex)) {
            if table.column(column).is_none_or(|column| column.generated) {
                return None;
            }
            values.push(match (self.is_assigned(column), domain) {
                (false, _) => NewValue::Old(*place),
                // As what such a column stores a value is not known.
                (true, Domain::Unknown { .. } | Domain::Other) => return None,
                (true, domain) => NewValue::Given(self.constant(column)?, domain),
            });
            *place += 1;
        }
        Some(values)
    }
}
