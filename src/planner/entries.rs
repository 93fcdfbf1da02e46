//! Which entries of lookup tables follow the rows of their owner?
//!
//! An INSERT makes the entries of its rows, a DELETE removes them, an UPDATE of their columns does both.
//! The rows that a DELETE or UPDATE changes are found first, by a locking read on the same shards.

use std::sync::Arc;

use super::clauses;
use super::context::Planner;
use super::insert::{Fill, identifier_piece, vindex_values};
use super::keyed::Words;
use super::lookup::push_operand;
use super::scope::Analysis;
use super::usable::columns_are_alike;
use super::{EntryShards, FollowedChange, FollowedLookup, InsertLookup, LookupTable, Route, StatementKind};
use crate::error::{Result, SqlError};
use crate::sql::{Edits, Operand, PieceList, TokenKind};
use crate::vindex::FromEncoding;
use crate::vschema::{Column, ColumnVindex, Domain, Table};

/// The lookups of an INSERT's rows: those that it fills, and those that must know them already.
pub(super) fn of_insert(
    planner: &Planner<'_>,
    table: &Table,
    columns: &[String],
    rows: &[Vec<clauses::Run>],
    fill: Option<&Fill>,
) -> Result<Vec<InsertLookup>> {
    let lookups = table.column_vindexes.iter().skip(1).filter(|own| own.vindex.is_lookup());
    let lookup = |own: &ColumnVindex| {
        Ok(InsertLookup {
            table: lookup_table(planner, table, own)?,
            values: vindex_values(planner, own, columns, rows, fill)?,
            owned: own.owned,
        })
    };
    lookups.map(lookup).collect()
}

/// The table of a lookup, where its entries can follow their rows exactly.
fn lookup_table(planner: &Planner<'_>, owner: &Table, own: &ColumnVindex) -> Result<LookupTable> {
    let name = own.vindex.name();
    let bug = || SqlError::bug("a lookup that has no table");
    let lookup = own.vindex.lookup().ok_or_else(bug)?;
    let (from, to) = (lookup.from_columns(), lookup.to_column());
    if from.len() != own.columns.len() || to.is_empty() {
        return Err(SqlError::unsupported(&format!(
            "writes by lookup vindex '{name}', whose columns 'from' and 'to' do not fit those of table '{}'",
            owner.name
        )));
    }
    let table = planner.vschema().lookup_table(&owner.keyspace, lookup.table())?;
    let is_stored = |at: usize| at > 0 || lookup.from_encoding() == FromEncoding::Value;
    for (at, (column, from)) in own.columns.iter().zip(from).enumerate() {
        if is_stored(at) && !holds(table.column(from), owner.column(column)) {
            return Err(SqlError::unsupported(&format!(
                "writes by lookup vindex '{name}': column '{from}' of '{}' has another type or collation than '{column}'",
                table.name
            )));
        }
    }
    // Two rows of one value on one shard would share an entry, which the deletion of one would take away.
    let is_covered = |keys: &Arc<[crate::vschema::UniqueKey]>| {
        let primary = owner.primary_vindex().map(|primary| primary.columns.as_slice()).unwrap_or_default();
        let known = |name: &Arc<str>| {
            own.position(name).is_some() || primary.iter().any(|own| own.eq_ignore_ascii_case(name))
        };
        keys.iter().any(|key| {
            key.parts.iter().all(|part| part.prefix.is_none() && part.column.as_ref().is_some_and(known))
        })
    };
    if own.owned && !own.unique && owner.keys.as_ref().is_some_and(|keys| !is_covered(keys)) {
        return Err(SqlError::unsupported(&format!(
            "writes by lookup vindex '{name}', which does not tell rows of one shard apart: add the columns of a \
             unique key of '{}' to its 'from'",
            owner.name
        )));
    }
    let domain = |(at, column): (usize, &Arc<str>)| {
        let column = owner.column(column);
        if is_stored(at) { Domain::of_text(column) } else { Domain::of(column, &own.vindex, at) }
    };
    Ok(LookupTable {
        vindex: Arc::clone(&own.vindex),
        owner: owner.full_name(),
        columns: own.columns.clone(),
        domains: own.columns.iter().enumerate().map(domain).collect(),
        name: table.full_name(),
        shards: shards(&table, from)?,
    })
}

/// Whether a lookup table's column stores every value of the owner's column as it is.
fn holds(entry: Option<&Column>, own: Option<&Column>) -> bool {
    let (Some(entry), Some(own)) = (entry, own) else { return true };
    if !columns_are_alike(Some(entry), Some(own)) {
        return false;
    }
    let (Some(a), Some(b)) = (&entry.declared, &own.declared) else { return true };
    if a.eq_ignore_ascii_case(b) {
        return true;
    }
    match (Domain::of_text(Some(entry)), Domain::of_text(Some(own))) {
        (
            Domain::Number { low, high, integral: true },
            Domain::Number { low: l, high: h, integral: true },
        ) => low <= l && high >= h,
        (Domain::Text(wide), Domain::Text(own)) => {
            wide.length >= own.length && wide.octets >= own.octets && wide.fixed == own.fixed
        }
        (Domain::Bytes { fixed: false, length }, Domain::Bytes { fixed: false, length: own }) => {
            length >= own
        }
        _ => false,
    }
}

/// How entries find their shards.
fn shards(table: &Table, from: &[Box<str>]) -> Result<EntryShards> {
    if !table.sharded {
        return Ok(EntryShards::One);
    }
    let refused = || {
        SqlError::unsupported(&format!(
            "writes by a lookup whose table '{}' is not sharded by one of its 'from' columns alone",
            table.name
        ))
    };
    let primary = table.primary_vindex().filter(|own| !own.vindex.is_lookup() && own.columns.len() == 1);
    let primary = primary.filter(|_| table.pinned.is_none() && table.column_vindexes.len() == 1);
    let primary = primary.ok_or_else(refused)?;
    let at = from.iter().position(|name| primary.position(name).is_some()).ok_or_else(refused)?;
    Ok(EntryShards::By {
        vindex: Arc::clone(&primary.vindex),
        columns: primary.columns.clone(),
        domains: table.domains(primary),
        at,
    })
}

/// The lookups whose entries this change must follow; `assigned` are an UPDATE's columns, none for a DELETE.
pub(super) fn concerned<'t>(table: &'t Table, assigned: Option<&[String]>) -> Vec<&'t ColumnVindex> {
    let touched = |own: &&ColumnVindex| {
        assigned.is_none_or(|assigned| assigned.iter().any(|name| own.position(name).is_some()))
    };
    table.owned().filter(touched).collect()
}

/// The change of an owner's rows with the entries that follow it.
pub(super) fn plan(
    planner: &Planner<'_>,
    analysis: &Analysis,
    route: Route,
    edits: &Edits,
    kind: StatementKind,
    assigned: Option<&[String]>,
) -> Result<FollowedChange> {
    let refused =
        |what: &str| SqlError::unsupported(&format!("{what} of a table with owned lookup vindexes"));
    let verb = if kind == StatementKind::Delete { "DELETE" } else { "UPDATE" };
    let roots: Vec<_> = analysis.uses.iter().filter(|own| analysis.roots.contains(&own.block)).collect();
    let [own] = roots[..] else { return Err(refused(&format!("a joined {verb}"))) };
    let table = &own.table;
    let primary = table.primary_vindex().ok_or_else(|| SqlError::no_primary_vindex(&table.name))?;
    if primary.vindex.is_lookup() {
        return Err(refused(&format!("{verb} by a lookup as primary vindex")));
    }
    let parts = clauses::scan(&planner.statement, 0);
    if parts.limit_clause.is_some() {
        return Err(refused(&format!("{verb} with LIMIT")));
    }
    let words = Words::of(planner, kind, &parts).ok_or_else(|| refused(&format!("this form of {verb}")))?;
    if (0..words.table).any(|index| planner.statement.is_word(index, "ignore")) {
        return Err(refused(&format!("{verb} IGNORE")));
    }
    let values = match assigned {
        Some(_) => assignments(planner, &words)?,
        None => Vec::new(),
    };
    let mut columns: Vec<Arc<str>> = primary.columns.clone();
    let mut lookups = Vec::new();
    for own in concerned(table, assigned) {
        let mut places = Vec::new();
        for column in &own.columns {
            let known = columns.iter().position(|name| name.eq_ignore_ascii_case(column));
            places.push(known.unwrap_or_else(|| {
                columns.push(column.clone());
                columns.len() - 1
            }));
        }
        let mut new = Vec::new();
        for column in own.columns.iter().filter(|_| assigned.is_some()) {
            let mut given = values.iter().filter(|(name, _)| name.eq_ignore_ascii_case(column));
            new.push(match (given.next(), given.next()) {
                (None, _) => None,
                (Some((_, Some(operand))), None) => Some(operand.clone()),
                _ => {
                    return Err(SqlError::unsupported(&format!(
                        "anything but one value for the lookup vindex column '{column}' in UPDATE"
                    )));
                }
            });
        }
        lookups.push(FollowedLookup { table: lookup_table(planner, table, own)?, places, new, equal: 0 });
    }
    let kinds =
        columns.iter().map(|name| table.column(name).map(|own| own.kind).unwrap_or_default()).collect();
    let mut list = PieceList::default();
    list.push_text(b"SELECT ");
    for (place, column) in columns.iter().enumerate() {
        list.push_text(if place == 0 { b"" } else { b", " });
        list.push(identifier_piece(column));
    }
    // The server says which values stay what they are.
    for (at, lookup) in lookups.iter_mut().enumerate().filter(|_| assigned.is_some()) {
        lookup.equal = columns.len() + at;
        for (place, (column, new)) in lookup.table.columns.iter().zip(&lookup.new).enumerate() {
            list.push_text(if place == 0 { b", " } else { b" AND " });
            list.push(identifier_piece(column));
            list.push_text(b" <=> ");
            match new {
                Some(operand) => push_operand(planner, operand, &mut list),
                None => list.push(identifier_piece(column)),
            }
        }
    }
    list.push_text(b" FROM ");
    Ok(FollowedChange {
        read: words.read(planner, list, edits.clone()),
        route,
        kinds,
        vindex: Arc::clone(&primary.vindex),
        domains: table.domains(primary),
        lookups,
    })
}

/// What an UPDATE assigns: columns, and the values of those that get one.
fn assignments(planner: &Planner<'_>, words: &Words) -> Result<Vec<(String, Option<Operand>)>> {
    let statement = &planner.statement;
    let mut all = Vec::new();
    for (start, end) in clauses::split(statement, words.assigned) {
        let tokens = statement.tokens.get(start..end).unwrap_or_default();
        let equal = tokens.iter().position(|token| token.kind == TokenKind::Equal);
        let (name, value) = equal
            .and_then(|at| Some((tokens.get(at.checked_sub(1)?)?, tokens.get(at + 1..)?)))
            .ok_or_else(|| planner.syntax_error(start))?;
        let name = name.identifier(statement.text).ok_or_else(|| planner.syntax_error(start))?;
        all.push((name, planner.constant(value)));
    }
    Ok(all)
}
