//! How does a statement find its shards by a lookup table?
//!
//! The table is asked for the keyspace ids of the values, and the statement goes to their shards as it
//! is. An entry that has no row any more costs a question and changes no answer. A table that is still
//! being filled is not asked, and neither is one whose column compares otherwise than the owner's: then
//! every shard is asked.

use std::sync::Arc;

use super::context::Planner;
use super::insert::identifier_piece;
use super::usable::{columns_are_alike, is_usable};
use super::{LookedUp, Route, Routing, StatementKind};
use crate::key::TabletType;
use crate::sql::{Operand, Piece, PieceList, classify, literal};
use crate::vindex::{FromEncoding, Lookup, ReadLock};
use crate::vschema::{ColumnVindex, Domain, Table};

/// Routing by these values of the lookup's first column, where the lookup can be used.
pub(super) fn routing(
    planner: &Planner<'_>,
    owner: &Table,
    way: &ColumnVindex,
    domain: Domain,
    values: Vec<Operand>,
    listed: bool,
) -> Option<LookedUp> {
    let lookup = way.vindex.lookup()?;
    // A replica's lookup table may be behind the replicas of its owner.
    if lookup.is_write_only() || planner.context.tablet_type != TabletType::Primary || values.is_empty() {
        return None;
    }
    let table = planner.vschema().lookup_table(&owner.keyspace, lookup.table()).ok()?;
    let from = lookup.from_columns().first().filter(|_| !lookup.to_column().is_empty())?;
    let column = owner.column(way.columns.first()?);
    let is_stored = lookup.from_encoding() == FromEncoding::Value;
    if table.is_reference() || (is_stored && !columns_are_alike(column, table.column(from))) {
        return None;
    }
    // Stands for what the table holds.
    let stored: Vec<Operand> = if is_stored {
        values.clone()
    } else {
        (0..u32::try_from(values.len()).ok()?).map(Operand::Generated).collect()
    };
    let routing = table_routing(planner, &table, from, &stored);
    let mut list = PieceList::default();
    list.push_text(b"SELECT ");
    list.push(identifier_piece(lookup.to_column()));
    list.push_text(b" FROM ");
    list.push(identifier_piece(&table.name));
    list.push_text(b" WHERE ");
    list.push(identifier_piece(from));
    list.push_text(b" IN (");
    if matches!(routing, Routing::In { .. }) {
        list.push(Piece::InList);
    } else {
        for (place, value) in stored.iter().enumerate() {
            list.push_text(if place == 0 { b"" } else { b", " });
            push_operand(planner, value, &mut list);
        }
    }
    list.push_text(b")");
    let unlocked = list.clone().finish();
    list.push_text(lock(planner, lookup));
    let read =
        Route { keyspace: Some(table.keyspace.clone()), routing, query: list.finish(), order: Vec::new() };
    Some(LookedUp { vindex: Arc::clone(&way.vindex), values, listed, domain, read, unlocked })
}

/// The shards of the lookup table that hold entries of these values.
fn table_routing(planner: &Planner<'_>, table: &Table, from: &str, values: &[Operand]) -> Routing {
    if let Some(pin) = table.pinned.as_ref().filter(|_| table.sharded) {
        return super::predicate::pinned(pin.clone());
    }
    if !table.sharded {
        return Routing::Unsharded;
    }
    let way = table.ordered.iter().find(|way| {
        !way.vindex.is_lookup()
            && way.unique
            && !way.prefix
            && way.columns.len() == 1
            && way.position(from).is_some()
    });
    let domain = way.and_then(|way| table.domains(way).first().copied());
    let Some((way, domain)) = way.zip(domain) else { return Routing::Scatter };
    if !values.iter().all(|value| is_usable(planner, &domain, value)) {
        return Routing::Scatter;
    }
    Routing::In { vindex: Arc::clone(&way.vindex), values: values.to_vec(), domain }
}

/// A change reads the newest entries, and keeps them as they are until its transaction ends.
fn lock(planner: &Planner<'_>, lookup: &Lookup) -> &'static [u8] {
    use StatementKind::{Delete, LockingSelect, Update};
    let changes =
        matches!(classify(planner.statement.text, planner.statement.tokens), Update | Delete | LockingSelect);
    match lookup.read_lock() {
        ReadLock::Exclusive if changes => b" FOR UPDATE",
        ReadLock::Shared if changes => b" LOCK IN SHARE MODE",
        _ => b"",
    }
}

/// Appends an operand as the client wrote it.
pub(super) fn push_operand(planner: &Planner<'_>, operand: &Operand, list: &mut PieceList) {
    match operand {
        Operand::Literal(index) => list.push(Piece::Literal(*index)),
        Operand::Param(index) => list.push(Piece::Param(*index)),
        Operand::Generated(index) => list.push(Piece::Generated(*index)),
        Operand::Negated(inner) => {
            // Two signs would begin a comment.
            list.push_text(b"- ");
            push_operand(planner, inner, list);
        }
        Operand::Constant(value) => {
            let mut text = Vec::new();
            literal::write(value, planner.statement.options.writing(), &mut text);
            list.push_text(&text);
        }
    }
}
