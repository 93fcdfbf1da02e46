//! How is INSERT … SELECT done?
//!
//! Within one unsharded keyspace by its server. Otherwise the query's rows come to the gate, which inserts
//! them as an INSERT of listed rows: each finds its shard by the vindex, sequences fill what they fill, and
//! reading and writing are one transaction. What would be stored otherwise than by one server is refused when
//! the types of the query's columns are known (`executor/stored_literal.rs`).

use super::context::Planner;
use super::insert::{Fill, check_keys, check_update, statement_template, tell_found};
use super::insert_parts::{Parts, Source};
use super::{
    FoundRow, Insert, InsertSelect, InsertSequence, InsertSharding, Node, Plan, Routing, SequenceRef,
    StatementKind, VerifyVindex, query,
};
use crate::error::{Result, SqlError};
use crate::sql::{Edits, TokenKind};
use crate::vschema::{ColumnType, ColumnVindex, Table};

pub(super) fn plan(
    planner: &Planner<'_>,
    mut parts: Parts,
    first: usize,
    edits: &mut Edits,
    kind: StatementKind,
) -> Result<(Node, Vec<String>)> {
    let table = parts.table.clone();
    if !table.sharded && table.auto_increment.is_none() {
        match query::check_unsharded_source(planner, first, &table.keyspace) {
            Err(refused) if refused.id() == Some("VT12001") => {}
            Err(error) => return Err(error),
            Ok(()) => {
                let keyspace = Some(table.keyspace.clone());
                return Ok((Node::Modify(planner.route(keyspace, Routing::Unsharded, edits)), Vec::new()));
            }
        }
    }
    if table.sharded && (table.is_reference() || table.pinned.is_some()) {
        return Err(SqlError::unsupported("INSERT … SELECT into a reference table or a pinned table"));
    }
    query::refuse_set_insert_id(planner, "INSERT … SELECT")?;
    parts.tail = tail(planner, first);
    let updates = check_update(planner, &parts)?;
    if updates {
        check_values(planner, parts.tail)?;
    }
    let columns = columns(&parts)?;
    if table.column_list_authoritative
        && let Some(unknown) = columns.iter().find(|name| table.column(name).is_none())
    {
        return Err(SqlError::unknown_column(unknown, "field list"));
    }
    let fill = table.auto_increment.as_ref().map(|auto| {
        let position = columns.iter().position(|own| own.eq_ignore_ascii_case(&auto.column));
        // Where the query gives the ids, they are no fresh ones.
        let given = position.map(|_| Some(crate::sql::Operand::Constant(crate::value::Value::Null)));
        Fill { position, column: auto.column.clone(), given: given.into_iter().collect() }
    });
    if kind == StatementKind::Replace {
        check_keys(&table, "REPLACE INTO", fill.as_ref())?;
    } else if updates {
        check_keys(&table, "ON DUPLICATE KEY UPDATE of", fill.as_ref())?;
    }
    let source = source(planner, first, parts.tail)?;
    let tables = source.tables.clone();
    let places = |vindex: &ColumnVindex| places(vindex, &columns, fill.as_ref());
    let (mut primary, mut verify) = (Vec::new(), Vec::new());
    let sharding = if table.sharded {
        let own = table.primary_vindex().ok_or_else(|| SqlError::no_primary_vindex(&table.name))?;
        if table.column_vindexes.iter().any(|vindex| vindex.vindex.is_lookup()) {
            return Err(SqlError::unsupported("INSERT into a table with lookup vindexes"));
        }
        primary = places(own)?;
        for secondary in table.column_vindexes.iter().skip(1) {
            verify.push(places(secondary)?);
        }
        Some(sharding(&table, own))
    } else {
        None
    };
    let found = match &fill {
        Some(fill) if updates => {
            tell_found(planner, &parts, &fill.column, edits);
            FoundRow::Told
        }
        _ => FoundRow::Untold,
    };
    let kind_of = |name: &String| table.column(name).map_or(ColumnType::NullType, |column| column.kind);
    let kinds = columns.iter().map(kind_of).collect();
    let sequence_at = fill.as_ref().and_then(|fill| fill.position);
    let sequence = table.auto_increment.as_ref().map(|auto| InsertSequence {
        sequence: SequenceRef {
            keyspace: auto.sequence.keyspace.clone(),
            table: auto.sequence.table.clone(),
        },
        given: Vec::new(),
    });
    let query = statement_template(planner, &parts, &columns, first, Some("VALUES "), edits, fill.as_ref());
    let insert = Insert {
        keyspace: table.keyspace.clone(),
        query,
        rows: Vec::new(),
        sharding,
        sequence,
        ignores: parts.ignores,
        found,
    };
    let node = InsertSelect { source: Box::new(source), insert, kinds, primary, verify, sequence_at };
    Ok((Node::InsertSelect(node), tables))
}

/// The first token behind the query.
fn tail(planner: &Planner<'_>, first: usize) -> usize {
    let statement = &planner.statement;
    let mut depth = 0_usize;
    for (index, token) in statement.tokens.iter().enumerate().skip(first) {
        match token.kind {
            TokenKind::LeftParen => depth += 1,
            TokenKind::RightParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        let words = ["on", "duplicate", "key", "update"];
        let is_tail = words.iter().enumerate().all(|(ahead, word)| statement.is_word(index + ahead, word));
        if depth == 0 && (is_tail || statement.is_word(index, "returning")) {
            return index;
        }
    }
    statement.tokens.len()
}

/// Behind a query ON DUPLICATE KEY UPDATE may name the query's columns, which an INSERT of rows has not:
/// values are taken that are constant or `VALUES(column)`.
fn check_values(planner: &Planner<'_>, tail: usize) -> Result<()> {
    let statement = &planner.statement;
    let is = |index: usize, kind| statement.tokens.get(index).is_some_and(|token| token.kind == kind);
    let mut index = tail + 4;
    while index < statement.tokens.len() {
        let token = &statement.tokens[index];
        if statement.is_word(index, "values") && is(index + 1, TokenKind::LeftParen) {
            index += 4;
            continue;
        }
        let assigned = is(index + 1, TokenKind::Equal)
            && (index == tail + 4 || is(index - 1, TokenKind::Comma) || is(index - 1, TokenKind::Dot));
        let call = is(index + 1, TokenKind::LeftParen);
        let name = matches!(token.kind, TokenKind::Word | TokenKind::Quoted);
        if name && !assigned && !call && !statement.is_word(index, "null") {
            return Err(SqlError::unsupported(
                "columns in the values of INSERT … SELECT … ON DUPLICATE KEY UPDATE",
            ));
        }
        index += 1;
    }
    Ok(())
}

/// The columns that the query's columns go to.
fn columns(parts: &Parts) -> Result<Vec<String>> {
    match &parts.columns {
        Some(columns) => Ok(columns.clone()),
        None if parts.table.column_list_authoritative => {
            let shown = parts.table.columns.iter().filter(|column| !column.invisible);
            Ok(shown.map(|column| column.name.to_string()).collect())
        }
        None => Err(SqlError::unsupported(
            "INSERT without a column list into a table whose columns are not known",
        )),
    }
}

/// The plan of the query alone.
fn source(planner: &Planner<'_>, first: usize, tail: usize) -> Result<Plan> {
    let mut statement = planner.statement;
    let whole = statement.tokens;
    statement.tokens = whole.get(first..tail).unwrap_or_default();
    let (Some(from), Some(to)) = (statement.tokens.first(), statement.tokens.last()) else {
        return Err(planner.syntax_error(first));
    };
    statement.body = (from.start, to.end);
    let plan = super::plan(&statement, planner.context)?;
    match (plan.kind, &plan.node) {
        (StatementKind::Select | StatementKind::LockingSelect, Node::Session(_) | Node::Show(_)) => {
            Err(SqlError::unsupported("this query in INSERT … SELECT"))
        }
        (StatementKind::Select | StatementKind::LockingSelect, _) => Ok(plan),
        _ => Err(SqlError::unsupported("this kind of INSERT")),
    }
}

/// Where the query has the columns of a vindex; none for the one that the sequence fills.
fn places(vindex: &ColumnVindex, columns: &[String], fill: Option<&Fill>) -> Result<Vec<Option<usize>>> {
    let place = |column: &std::sync::Arc<str>| {
        if fill.is_some_and(|fill| fill.column.eq_ignore_ascii_case(column)) {
            return Ok(None);
        }
        let place = columns.iter().position(|own| own.eq_ignore_ascii_case(column));
        place.map(Some).ok_or_else(|| SqlError::missing_vindex_column(column))
    };
    vindex.columns.iter().map(place).collect()
}

/// How rows find their shards; the values come with the rows.
fn sharding(table: &Table, primary: &ColumnVindex) -> InsertSharding {
    let secondary = table.column_vindexes.iter().skip(1).map(|own| VerifyVindex {
        vindex: own.vindex.clone(),
        columns: own.columns.clone(),
        values: Vec::new(),
        domains: table.domains(own),
    });
    InsertSharding {
        vindex: primary.vindex.clone(),
        columns: primary.columns.clone(),
        values: Vec::new(),
        domains: table.domains(primary),
        verify: secondary.collect(),
        lookups: Vec::new(),
    }
}

// === impl Parts ===

impl Parts {
    /// Where the query of an INSERT … SELECT begins.
    pub(super) fn query(&self) -> Option<usize> {
        match self.source {
            Source::Select { first } => Some(first),
            _ => None,
        }
    }
}
