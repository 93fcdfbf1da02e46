//! What must be done with a statement, and on which shards?
//!
//! Planning is pure: no I/O, not async, and the list of shards is unknown here. The same statement
//! over the same VSchema gives the same plan, so plans are text files in `testdata/plans`.
//!
//! The rule of this room: a statement that is not understood in full goes to one shard or is
//! refused. What a statement means over several shards is never guessed.

mod advice;
mod aggregate;
mod alter_vschema;
mod blocks;
mod clauses;
mod command;
mod context;
mod copies;
mod ddl;
mod describe;
mod directive;
mod entries;
mod facts;
mod found;
mod gather;
mod insert;
mod insert_id;
mod insert_parts;
mod insert_plan;
mod insert_select;
mod keyed;
mod keys;
mod locks;
mod lookup;
mod modify;
mod moves;
mod other;
mod plan;
mod predicate;
mod prepared;
mod pushdown;
mod qualifiers;
mod query;
mod references;
mod routing;
mod scanner;
mod scatter;
mod scope;
mod session_values;
mod set;
mod show;
mod step;
mod system;
mod table_list;
mod temporary;
mod transaction;
mod usable;
mod vexplain;
mod views;
mod vitess;
mod vitess_own;
mod walk;

use sqlparser::ast;

pub use advice::{Advice, advice};
pub use alter_vschema::alter_vschema;
pub use command::{Assignment, LockEffect, SessionCommand, SetTarget, SetValue, SqlText};
pub use context::PlanContext;
use context::Planner;
pub use copies::{Gather, GatherSource, GatherTable, scratch_database};
pub use describe::describe;
pub use directive::allows_scatter;
pub use insert_id::{InsertId, RowIds};
pub use insert_plan::*;
pub use plan::*;
pub use routing::{Condition, LookedUp, Routing};
pub use session_values::GATE_VARIABLES;
pub use step::{StepId, steps};
pub use system::names_schemas;
pub use vexplain::{Vexplain, VexplainForm, explained_at};
pub use views::expand_views;
pub use vitess::{indented, plan_json, plan_line, plan_type, tree_json};

use crate::error::{Result, SqlError};
use crate::sql::{Statement, TokenKind, classify, syntax_error};

/// Statements with more tokens are planned on a stack of their own: trees of `a OR b OR …` are as
/// deep as they are long.
const SHALLOW: usize = 2_000;

/// Queries, updates and deletes of more tokens are refused.
const LONGEST: usize = 400_000;

/// Plans one statement.
///
/// # Errors
/// What MySQL says about a faulty statement, or VT12001 naming the construct that cannot be done
/// exactly.
pub fn plan(statement: &Statement<'_>, context: &PlanContext<'_>) -> Result<Plan> {
    let is_insert =
        matches!(classify(statement.text, statement.tokens), StatementKind::Insert | StatementKind::Replace);
    if statement.tokens.len() <= SHALLOW || is_insert {
        return plan_here(statement, context);
    }
    if statement.tokens.len() > LONGEST {
        return Err(SqlError::unsupported("statements of this length"));
    }
    // Reserved, not used: pages are only touched as deep as the tree is.
    let stack = (16 << 20) + statement.tokens.len() * (4 << 10);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("plan".to_owned())
            .stack_size(stack)
            .spawn_scoped(scope, || plan_here(statement, context));
        let thread =
            thread.map_err(|error| SqlError::bug("no memory to plan a statement").caused_by(error))?;
        thread.join().unwrap_or_else(|_| Err(SqlError::bug("planning panicked")))
    })
}

/// Plans a statement that is being PREPAREd: its `?` are operands of the plan.
///
/// # Errors
/// 1295 for what MySQL does not prepare, and as [`plan`].
pub fn prepare_plan(statement: &Statement<'_>, context: &PlanContext<'_>) -> Result<Plan> {
    if crate::sql::refuses_prepare(statement.text, statement.tokens) {
        return Err(SqlError::not_preparable());
    }
    plan(statement, context)
}

/// Plans a query that was refused in the course of its execution: over copies of its tables.
///
/// # Errors
/// The refusal, where copies do not help either.
pub fn gather_plan(statement: &Statement<'_>, context: &PlanContext<'_>, refused: SqlError) -> Result<Plan> {
    let kind = classify(statement.text, statement.tokens);
    gather::plan(&Planner::new(*statement, context), kind, refused)
}

fn plan_here(statement: &Statement<'_>, context: &PlanContext<'_>) -> Result<Plan> {
    if statement.tokens.is_empty() {
        return Err(SqlError::empty_query());
    }
    let kind = classify(statement.text, statement.tokens);
    let unknown = statement.tokens.iter().find(|token| token.kind == TokenKind::Unknown);
    // A target has a grammar of its own: `USE keyspace[40-80]`.
    if let Some(unknown) = unknown.filter(|_| kind != StatementKind::Use) {
        return Err(syntax_error(statement, u64::from(unknown.start)));
    }
    let planner = Planner::new(*statement, context);
    match kind {
        StatementKind::Begin | StatementKind::Commit | StatementKind::Rollback | StatementKind::Savepoint => {
            transaction::plan(&planner, kind)
        }
        StatementKind::Set => set::plan(&planner),
        StatementKind::Use => other::plan_use(&planner),
        StatementKind::Show => show::plan(&planner),
        StatementKind::Insert | StatementKind::Replace => insert::plan(&planner, kind),
        StatementKind::Select | StatementKind::LockingSelect => query::plan(&planner, kind),
        StatementKind::Update | StatementKind::Delete => modify::plan(&planner, kind),
        StatementKind::Ddl => ddl::plan(&planner),
        StatementKind::Maintenance | StatementKind::Other => other::plan(&planner),
    }
}

/// The names of a possibly qualified object.
fn object_parts(name: &ast::ObjectName) -> Option<Vec<&ast::Ident>> {
    name.0.iter().map(ast::ObjectNamePart::as_ident).collect()
}

#[cfg(test)]
mod tests;
