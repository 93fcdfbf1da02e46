//! How is a SELECT answered?
//!
//! By one shard with the client's own text wherever that is right; by merging what several shards
//! send where that is known to be exact; otherwise by one server over copies of the tables.

use std::sync::Arc;

use sqlparser::ast;

use super::blocks::Builder;
use super::context::Planner;
use super::predicate::{self, Shards, Verdict};
use super::scope::Analysis;
use super::{
    InsertId, Node, Plan, Routing, SequenceRef, StatementKind, gather, insert, locks, qualifiers, scatter,
    session_values, system,
};
use crate::error::{Result, SqlError};
use crate::key::Destination;
use crate::sql::{Edits, Operand, Piece, Token, TokenKind, parse};
use crate::value::Value;

pub(super) fn plan(planner: &Planner<'_>, kind: StatementKind) -> Result<Plan> {
    let plan = uncounted(planner, kind)?;
    let has =
        |word: &str| (0..planner.statement.tokens.len()).any(|index| planner.statement.is_word(index, word));
    // Without a LIMIT, FOUND_ROWS() is the number of rows that were sent.
    let counts_rows = has("sql_calc_found_rows") && has("limit");
    if counts_rows && !plan.node.has_one_source() {
        return Err(SqlError::unsupported("SQL_CALC_FOUND_ROWS with LIMIT over several shards"));
    }
    if !plan.node.has_one_source() {
        refuse_set_insert_id(planner, "a query over several shards")?;
    }
    Ok(Plan { counts_rows, insert_id: InsertId::of_expressions(planner)?, ..plan })
}

fn uncounted(planner: &Planner<'_>, kind: StatementKind) -> Result<Plan> {
    if let Some(plan) = locks::plan(planner, kind)? {
        return Ok(plan);
    }
    check_functions(planner)?;
    if let Some(node) = next_values(planner)? {
        return Ok(planner.plan(kind, node, Vec::new()));
    }
    let mut edits = Edits::default();
    session_values::replace(planner, &mut edits);
    if let Some(node) = targeted(planner, &mut edits)? {
        return Ok(planner.unread(kind, Node::Route(node)));
    }
    if let Some(keyspace) = plainly_unsharded(planner) {
        qualifiers::replace_all(planner, &mut edits);
        let node = Node::Route(planner.route(Some(keyspace), Routing::Unsharded, &edits));
        return Ok(planner.unread(kind, node));
    }
    match merged(planner, kind, edits) {
        Err(refused) if refused.id() == Some("VT12001") || refused.code() == 1064 => {
            gather::plan(planner, kind, refused)
        }
        planned => planned,
    }
}

/// By one shard, or by merging what several send.
fn merged(planner: &Planner<'_>, kind: StatementKind, edits: Edits) -> Result<Plan> {
    if planner.statement.is_word(0, "table") {
        return Err(SqlError::unsupported("TABLE on sharded keyspace"));
    }
    let tree = parse(&planner.statement)?;
    let ast::Statement::Query(query) = &tree else {
        return Err(SqlError::unsupported("this kind of query"));
    };
    let analysis = analyse(planner, query)?;
    let tables = table_names(&analysis);
    let node = node(planner, query, &analysis, edits)?;
    Ok(planner.plan(kind, node, tables))
}

pub(super) fn analyse(planner: &Planner<'_>, query: &ast::Query) -> Result<Analysis> {
    let mut builder = Builder::new(planner);
    builder.root(query)?;
    Ok(builder.analysis)
}

pub(super) fn table_names(analysis: &Analysis) -> Vec<String> {
    let mut names: Vec<String> = analysis.uses.iter().map(|own| own.table.full_name().to_string()).collect();
    names.sort();
    names.dedup();
    names
}

fn node(planner: &Planner<'_>, query: &ast::Query, analysis: &Analysis, mut edits: Edits) -> Result<Node> {
    if analysis.system {
        return system::plan(planner, analysis, edits);
    }
    let verdict = predicate::decide(planner, analysis)?;
    qualifiers::replace_all(planner, &mut edits);
    let route = |keyspace: Option<Arc<str>>, routing: Routing, edits: &Edits| {
        Ok(Node::Route(planner.route(keyspace, routing, edits)))
    };
    if let Some(keyspace) = verdict.keyspace() {
        rename_tables(planner, analysis, keyspace, &mut edits);
    }
    match verdict {
        Verdict::NoTables => {
            let keyspace = planner.keyspace().map(|name| planner.existing(name)).transpose()?;
            route(keyspace, Routing::AnyShard, &edits)
        }
        Verdict::Unsharded(keyspace) => route(Some(keyspace), Routing::Unsharded, &edits),
        Verdict::AnyShard(keyspace) => route(Some(keyspace), Routing::AnyShard, &edits),
        Verdict::Pinned(keyspace, id) => route(Some(keyspace), predicate::pinned(id), &edits),
        Verdict::Sharded(Shards { keyspace, routing, .. }) if routing.is_single() => {
            route(Some(keyspace), routing, &edits)
        }
        Verdict::Sharded(shards) => {
            if let Some(range) = &shards.split {
                edits.replace(range.clone(), vec![Piece::InList]);
            }
            scatter::plan(planner, query, analysis, shards, edits)
        }
    }
}

/// Writes the name that a routing rule or a reference table's copy gives a table.
pub(super) fn rename_tables(planner: &Planner<'_>, analysis: &Analysis, keyspace: &str, edits: &mut Edits) {
    for own in &analysis.uses {
        let written = planner
            .statement
            .token_at(own.name.0)
            .and_then(|index| planner.statement.tokens[index].identifier(planner.statement.text));
        let copy = if &*own.table.keyspace == keyspace {
            None
        } else {
            planner.vschema().reference_in(&own.table, keyspace)
        };
        let name = copy.as_ref().map_or(&own.table.name, |copy| &copy.name);
        if written.as_deref() == Some(&**name) {
            continue;
        }
        let mut pieces = vec![insert::identifier_piece(name)];
        if let (Some(written), false) = (&written, own.has_alias) {
            pieces.push(Piece::text(" AS "));
            pieces.push(insert::identifier_piece(written));
        }
        edits.replace(own.name.0..own.name.1, pieces);
    }
}

/// The route to the session's target shard, if it has one.
pub(super) fn targeted(planner: &Planner<'_>, edits: &mut Edits) -> Result<Option<super::Route>> {
    let Some(destination) = planner.context.destination else { return Ok(None) };
    if !matches!(destination, Destination::Shard(_) | Destination::Id(_)) {
        return Err(SqlError::unsupported("statements to a key range"));
    }
    let keyspace = planner.selected()?;
    qualifiers::replace(planner, &keyspace, edits)?;
    Ok(Some(planner.route(Some(keyspace), Routing::ByDestination(destination.clone()), edits)))
}

/// The selected keyspace, where it is unsharded and nothing in the text can mean a table elsewhere:
/// then the statement passes whole, even if the parser does not know it.
pub(super) fn plainly_unsharded(planner: &Planner<'_>) -> Option<Arc<str>> {
    let name = planner.keyspace()?;
    let vschema = planner.vschema();
    let keyspace = vschema.keyspace(vschema.routed_keyspace(name, planner.context.tablet_type))?;
    let ruled = !vschema.source().routing_rules.rules.is_empty();
    if keyspace.is_sharded() || ruled || keyspace.error().is_some() {
        return None;
    }
    let own = qualifiers::find(planner).iter().all(|(_, qualifier)| **qualifier == **keyspace.name());
    let system = super::vitess::reads_system_schema(&planner.statement);
    (own && !system).then(|| keyspace.name().clone())
}

/// Refuses what needs a state that no pooled connection keeps.
pub(super) fn check_functions(planner: &Planner<'_>) -> Result<()> {
    let statement = &planner.statement;
    check_calls(planner, statement.tokens)?;
    // INTO OUTFILE writes on the server, INTO @x into the server's session.
    let into = |index: usize| {
        let next = statement.tokens.get(index + 1);
        let variable = next.is_some_and(|token| token.kind == TokenKind::UserVariable);
        let file = statement.is_word(index + 1, "outfile") || statement.is_word(index + 1, "dumpfile");
        statement.is_word(index, "into") && (variable || file)
    };
    if (0..statement.tokens.len()).any(into) {
        return Err(SqlError::unsupported("SELECT … INTO"));
    }
    Ok(())
}

/// Refuses `:=` and lock functions among these tokens.
pub(super) fn check_calls(planner: &Planner<'_>, tokens: &[Token]) -> Result<()> {
    if tokens.iter().any(|token| token.kind == TokenKind::Assign) {
        return Err(SqlError::unsupported("Assignment expression"));
    }
    if (0..tokens.len()).any(|index| locks::call(planner, tokens, index).is_some()) {
        return Err(SqlError::unsupported(
            "advisory locks (GET_LOCK and its kin) but in DO and in SELECT without tables",
        ));
    }
    Ok(())
}

/// Where the statement calls `LAST_INSERT_ID(expr)`, which sets the session's insert id.
pub(super) fn set_insert_ids(planner: &Planner<'_>) -> impl Iterator<Item = usize> {
    let statement = planner.statement;
    (0..statement.tokens.len()).filter(move |&index| {
        let is = |index: usize, kind| statement.tokens.get(index).is_some_and(|token| token.kind == kind);
        statement.is_word(index, "last_insert_id")
            && is(index + 1, TokenKind::LeftParen)
            && !is(index + 2, TokenKind::RightParen)
    })
}

/// The answer to an UPDATE or INSERT tells which insert id `LAST_INSERT_ID(expr)` has set, other answers do
/// not: it would be lost with the pooled connection.
pub(super) fn refuse_set_insert_id(planner: &Planner<'_>, place: &str) -> Result<()> {
    if set_insert_ids(planner).next().is_some() {
        return Err(SqlError::unsupported(&format!("LAST_INSERT_ID(expr) in {place}")));
    }
    Ok(())
}

/// `SELECT NEXT [VALUE | n VALUES] FROM sequence`.
fn next_values(planner: &Planner<'_>) -> Result<Option<Node>> {
    let mut cursor = planner.cursor();
    if !cursor.eat(&["select", "next"]) {
        return Ok(None);
    }
    let count = if cursor.eat(&["value"]) {
        Operand::Constant(Value::Int(1))
    } else {
        // `SELECT next FROM t` reads a column of that name.
        let Some(count) = cursor.token().and_then(|token| planner.operand(token)) else { return Ok(None) };
        cursor.at += 1;
        if !cursor.eat(&["values"]) {
            return Ok(None);
        }
        count
    };
    if !cursor.eat(&["from"]) {
        return Err(cursor.error());
    }
    let error = cursor.error();
    let (qualifier, name) = cursor.table_name().ok_or(error)?;
    if !cursor.at_end() {
        return Err(cursor.error());
    }
    let text = planner.statement.text;
    let qualifier = qualifier.and_then(|token| token.identifier(text));
    let table = planner.resolve(qualifier.as_deref(), &name.identifier(text).unwrap_or_default())?;
    if !table.is_sequence() {
        return Err(SqlError::unsupported(&format!(
            "NEXT used on a table that is no sequence: {}",
            table.name
        )));
    }
    let sequence = SequenceRef { keyspace: table.keyspace.clone(), table: table.name.clone() };
    Ok(Some(Node::NextValues { sequence, count }))
}

/// Checks that the query of an INSERT … SELECT reads only tables of this unsharded keyspace.
pub(super) fn check_unsharded_source(planner: &Planner<'_>, first: usize, keyspace: &Arc<str>) -> Result<()> {
    if plainly_unsharded(planner).as_ref() == Some(keyspace) {
        return Ok(());
    }
    let mut part = *planner;
    let tokens = planner.statement.tokens.get(first..).unwrap_or_default();
    part.statement.tokens = tokens;
    // The tail of an INSERT is no part of the query.
    let tail = (0..tokens.len())
        .find(|&index| part.statement.is_word(index, "on") && part.statement.is_word(index + 1, "duplicate"));
    part.statement.tokens = tokens.get(..tail.unwrap_or(tokens.len())).unwrap_or_default();
    let tree = parse(&part.statement)?;
    let ast::Statement::Query(query) = &tree else {
        return Err(SqlError::unsupported("this kind of INSERT"));
    };
    let analysis = analyse(&part, query)?;
    match predicate::decide(&part, &analysis)? {
        Verdict::NoTables if !analysis.system => Ok(()),
        Verdict::Unsharded(own) if own == *keyspace => Ok(()),
        _ => Err(SqlError::unsupported("INSERT … SELECT between keyspaces")),
    }
}

// === impl Verdict ===

impl Verdict {
    pub(super) fn keyspace(&self) -> Option<&Arc<str>> {
        match self {
            Self::NoTables => None,
            Self::Unsharded(keyspace) | Self::AnyShard(keyspace) | Self::Pinned(keyspace, _) => {
                Some(keyspace)
            }
            Self::Sharded(shards) => Some(&shards.keyspace),
        }
    }
}
