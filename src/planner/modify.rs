//! Which shards does an UPDATE or DELETE change?
//!
//! Each shard changes its own rows; affected rows add up. What needs to see all rows at once (LIMIT
//! over several shards), or would leave a row on the wrong shard, is refused.

use sqlparser::ast;

use super::blocks::Builder;
use super::context::Planner;
use super::predicate::{self, Shards, Verdict};
use super::query::{
    check_functions, plainly_unsharded, refuse_set_insert_id, rename_tables, set_insert_ids, table_names,
    targeted,
};
use super::scope::Analysis;
use super::{
    InsertId, Node, Plan, Routing, StatementKind, entries, found, keyed, moves, object_parts, qualifiers,
    session_values,
};
use crate::error::{Result, SqlError};
use crate::sql::{Edits, Piece, parse};

pub(super) fn plan(planner: &Planner<'_>, kind: StatementKind) -> Result<Plan> {
    let insert_id = InsertId::of_expressions(planner)?;
    Ok(Plan { insert_id, ..planned(planner, kind)? })
}

fn planned(planner: &Planner<'_>, kind: StatementKind) -> Result<Plan> {
    check_functions(planner)?;
    let mut edits = Edits::default();
    session_values::replace(planner, &mut edits);
    if let Some(route) = targeted(planner, &mut edits)? {
        return Ok(planner.unread(kind, Node::Modify(route)));
    }
    if let Some(keyspace) = plainly_unsharded(planner) {
        qualifiers::replace_all(planner, &mut edits);
        let route = planner.route(Some(keyspace), Routing::Unsharded, &edits);
        return Ok(planner.unread(kind, Node::Modify(route)));
    }
    let first_word = |word: &str| planner.statement.is_word(0, word);
    if first_word("with") {
        return Err(SqlError::unsupported(if kind == StatementKind::Update {
            "WITH in UPDATE"
        } else {
            "WITH in DELETE"
        }));
    }
    let tree = parse(&planner.statement)?;
    match changed(planner, &tree, edits, kind) {
        Err(refused) if refused.id() == Some("VT12001") => found::plan(planner, kind, &tree, refused),
        planned => planned,
    }
}

/// Each shard changes its own rows.
fn changed(planner: &Planner<'_>, tree: &ast::Statement, edits: Edits, kind: StatementKind) -> Result<Plan> {
    let mut builder = Builder::new(planner);
    let change = Change::of(tree)?;
    builder.change(&change.tables, change.selection, &change.others)?;
    let analysis = builder.analysis;
    let tables = table_names(&analysis);
    let node = node(planner, &change, &analysis, edits, kind)?;
    Ok(planner.plan(kind, node, tables))
}

/// The parts of an UPDATE or DELETE that matter here.
#[derive(Clone)]
pub(super) struct Change<'q> {
    tables: std::borrow::Cow<'q, [ast::TableWithJoins]>,
    selection: Option<&'q ast::Expr>,
    /// Assigned values and sort keys.
    pub(super) others: Vec<&'q ast::Expr>,
    /// The columns that UPDATE assigns, the first of [`Self::others`].
    pub(super) assigned: Vec<String>,
    limited: bool,
    is_update: bool,
}

impl<'q> Change<'q> {
    fn of(tree: &'q ast::Statement) -> Result<Self> {
        match tree {
            ast::Statement::Update(update) => Self::of_update(update),
            ast::Statement::Delete(delete) => Self::of_delete(delete),
            _ => Err(SqlError::unsupported("this kind of change")),
        }
    }

    fn of_update(update: &'q ast::Update) -> Result<Self> {
        if update.from.is_some() || update.returning.is_some() || update.output.is_some() {
            return Err(SqlError::unsupported("this form of UPDATE"));
        }
        let mut assigned = Vec::new();
        let mut others = Vec::new();
        for assignment in &update.assignments {
            let ast::AssignmentTarget::ColumnName(name) = &assignment.target else {
                return Err(SqlError::unsupported("this form of UPDATE"));
            };
            let parts = object_parts(name).unwrap_or_default();
            assigned.push(parts.last().map(|part| part.value.clone()).unwrap_or_default());
            others.push(&assignment.value);
        }
        others.extend(update.order_by.iter().map(|item| &item.expr));
        Ok(Self {
            tables: std::borrow::Cow::Borrowed(std::slice::from_ref(&update.table)),
            selection: update.selection.as_ref(),
            others,
            assigned,
            limited: update.limit.is_some(),
            is_update: true,
        })
    }

    fn of_delete(delete: &'q ast::Delete) -> Result<Self> {
        if delete.returning.is_some() || delete.output.is_some() {
            return Err(SqlError::unsupported("DELETE … RETURNING"));
        }
        let (ast::FromTable::WithFromKeyword(from) | ast::FromTable::WithoutKeyword(from)) = &delete.from;
        // DELETE FROM a, b USING …: what stands behind FROM are the targets.
        let tables: &[ast::TableWithJoins] = delete.using.as_ref().map_or(from, Vec::as_slice);
        Ok(Self {
            tables: std::borrow::Cow::Borrowed(tables),
            selection: delete.selection.as_ref(),
            others: delete.order_by.iter().map(|item| &item.expr).collect(),
            assigned: Vec::new(),
            limited: delete.limit.is_some(),
            is_update: false,
        })
    }
}

fn node(
    planner: &Planner<'_>,
    change: &Change<'_>,
    analysis: &Analysis,
    mut edits: Edits,
    kind: StatementKind,
) -> Result<Node> {
    if analysis.system {
        return Err(SqlError::unsupported("changes of MySQL's own schemas"));
    }
    let verdict = predicate::decide(planner, analysis)?;
    qualifiers::replace_all(planner, &mut edits);
    if let Some(keyspace) = verdict.keyspace() {
        planner.check_foreign_keys(keyspace)?;
        if analysis.uses.iter().any(|own| own.table.keyspace != *keyspace) {
            return Err(SqlError::unsupported("DML on reference table with join"));
        }
        rename_tables(planner, analysis, keyspace, &mut edits);
    }
    let (keyspace, routing) = match verdict {
        Verdict::NoTables => return Err(SqlError::unsupported("changes without a table")),
        Verdict::Unsharded(keyspace) => (keyspace, Routing::Unsharded),
        Verdict::AnyShard(keyspace) => return reference(planner, analysis, &keyspace),
        Verdict::Pinned(keyspace, id) => (keyspace, predicate::pinned(id)),
        Verdict::Sharded(shards) => {
            if let Some(range) = &shards.split {
                edits.replace(range.clone(), vec![Piece::InList]);
            }
            if followed(change, analysis) {
                check_sharded(&Change { limited: false, ..change.clone() }, analysis, &shards)?;
                check_placed(change, analysis)?;
                refuse_set_insert_id(planner, "a change that lookup tables follow")?;
                let route = planner.route(Some(shards.keyspace), shards.routing, &edits);
                let assigned = change.is_update.then_some(&*change.assigned);
                let plan = entries::plan(planner, analysis, route, &edits, kind, assigned)?;
                return Ok(Node::Followed(plan));
            }
            if let Some(moves) = moves::of(planner, change, analysis)? {
                refuse_set_insert_id(planner, "an UPDATE of a sharding column")?;
                let refused = SqlError::unsupported("an UPDATE of a sharding column of this table");
                return keyed::plan(planner, analysis, shards, &edits, kind, refused, Some(moves));
            }
            if let Err(refused) = check_sharded(change, analysis, &shards) {
                let limited = change.limited && !shards.is_single();
                // Everything else that is refused stays so.
                check_sharded(&Change { limited: false, ..change.clone() }, analysis, &shards)?;
                return if limited && set_insert_ids(planner).next().is_none() {
                    keyed::plan(planner, analysis, shards, &edits, kind, refused, None)
                } else {
                    Err(refused)
                };
            }
            if !shards.is_single() {
                // One server keeps the last value, and rows have no order over shards.
                refuse_set_insert_id(planner, "a change of several shards")?;
            }
            (shards.keyspace, shards.routing)
        }
    };
    Ok(Node::Modify(planner.route(Some(keyspace), routing, &edits)))
}

/// A reference table is changed in its source.
fn reference(planner: &Planner<'_>, analysis: &Analysis, keyspace: &str) -> Result<Node> {
    let _ = keyspace;
    let [only] = analysis.uses.as_slice() else {
        return Err(SqlError::unsupported("DML on reference table with join"));
    };
    let source = planner.vschema().reference_source(&only.table);
    let source =
        source.ok_or_else(|| SqlError::unsupported("changes of a reference table without a source"))?;
    let mut edits = Edits::default();
    session_values::replace(planner, &mut edits);
    qualifiers::replace_all(planner, &mut edits);
    if source.name != only.table.name {
        edits.replace(only.name.0..only.name.1, vec![super::insert::identifier_piece(&source.name)]);
    }
    if source.sharded {
        return Err(SqlError::unsupported("a reference table with a sharded source"));
    }
    Ok(Node::Modify(planner.route(Some(source.keyspace.clone()), Routing::Unsharded, &edits)))
}

/// Whether entries of lookup tables must follow the change.
fn followed(change: &Change<'_>, analysis: &Analysis) -> bool {
    let assigned = change.is_update.then_some(&*change.assigned);
    // Of several tables, a DELETE may name its targets by aliases.
    let mut roots = analysis.uses.iter().filter(|own| analysis.roots.contains(&own.block));
    roots.any(|own| !entries::concerned(&own.table, assigned).is_empty())
}

fn check_sharded(change: &Change<'_>, analysis: &Analysis, shards: &Shards) -> Result<()> {
    if change.limited && !shards.is_single() {
        return Err(SqlError::unsupported(if change.is_update {
            "multi shard UPDATE with LIMIT"
        } else {
            "multi shard DELETE with LIMIT"
        }));
    }
    for own in &analysis.uses {
        if own.table.is_reference() && analysis.roots.contains(&own.block) {
            return Err(SqlError::unsupported("DML on reference table with join"));
        }
    }
    Ok(())
}

/// What entries follow stays on its shard.
fn check_placed(change: &Change<'_>, analysis: &Analysis) -> Result<()> {
    let roots = analysis.uses.iter().filter(|own| analysis.roots.contains(&own.block));
    for vindex in roots.flat_map(|own| &own.table.column_vindexes).filter(|own| !own.owned) {
        if let Some(column) = change.assigned.iter().find(|column| vindex.position(column).is_some()) {
            return Err(SqlError::vindex_column_change(column));
        }
    }
    Ok(())
}
