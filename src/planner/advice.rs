//! Why does a statement cost more than it might?
//!
//! Only what the plan and the VSchema say for certain: nothing here is measured or guessed. It is asked for
//! where a plan is made or explained, never where one runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::context::Planner;
use super::{Node, Plan, PlanContext, Routing, keys};
use crate::sql::Statement;
use crate::vschema::{KeyPart, Table};

/// One remark on a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advice {
    /// All shards are asked, and no condition is on a sharding column.
    NoCondition(String),
    /// All shards are asked, and a condition on another column would choose them if a lookup vindex were on it.
    Lookup(String),
    /// All shards are asked, although a condition is on a sharding column.
    UnusableCondition(String),
    /// One server answers over copies of the tables.
    Gathered(String),
}

// === impl Advice ===

impl Advice {
    /// The remark, as a sentence without an end.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::NoCondition(text)
            | Self::Lookup(text)
            | Self::UnusableCondition(text)
            | Self::Gathered(text) => text,
        }
    }

    /// The label of the metric that counts executions of such plans.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoCondition(_) => "no_condition",
            Self::Lookup(_) => "lookup",
            Self::UnusableCondition(_) => "unusable_condition",
            Self::Gathered(_) => "gathered",
        }
    }
}

/// What a plan might do better, for each table of which all shards are asked.
#[must_use]
pub fn advice(plan: &Plan, statement: &Statement<'_>, context: &PlanContext<'_>) -> Vec<Advice> {
    let mut all = Vec::new();
    if let Node::Gather(gather) = &plan.node {
        all.push(Advice::Gathered(format!("one server answers over copies of tables: {}", gather.refusal)));
    }
    if !plan.scatters() {
        return all;
    }
    let planner = Planner::new(*statement, context);
    let Ok((_, usage)) = keys::usage(&planner) else { return all };
    for table in scattered(plan, context) {
        let columns: Vec<(String, String)> = table
            .column_vindexes
            .iter()
            .filter(|own| own.columns.len() == 1 && own.vindex.is_unique() && !own.vindex.is_lookup())
            .filter_map(|own| Some((own.columns.first()?.to_string(), own.vindex.name().to_string())))
            .collect();
        let Some((first, _)) = columns.first() else { continue };
        let conditions: Vec<&String> = usage
            .filters
            .iter()
            .filter(|filter| {
                columns.iter().any(|(column, _)| {
                    filter
                        .strip_prefix(&keys::qualified(&table.name, column))
                        .is_some_and(|rest| rest.starts_with(' '))
                })
            })
            .collect();
        let shown: Vec<String> =
            columns.iter().map(|(column, vindex)| format!("{column} ({vindex})")).collect();
        let shown = shown.join(" or ");
        let name = table.full_name();
        let (text, advice): (_, fn(String) -> Advice) = if conditions.is_empty() {
            let text = format!("all shards of {name} are asked: a condition on {shown} would choose them");
            (text, Advice::NoCondition)
        } else {
            let text = format!(
                "all shards of {name} are asked: the condition on {first} must hold for every row, be = or IN with \
                 values, and compare as the column's vindex does"
            );
            (text, Advice::UnusableCondition)
        };
        all.push(match lookups(&table, &usage.fixed) {
            None => advice(text),
            Some(lookups) => Advice::Lookup(format!("{text}; {lookups} would choose them, too")),
        });
    }
    all
}

/// The lookup vindexes that would choose shards by the conditions that are there.
fn lookups(table: &Table, fixed: &BTreeSet<String>) -> Option<String> {
    let is_unique = |column: &str| {
        let is_it = |part: &KeyPart| part.column.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(column));
        table
            .keys
            .iter()
            .flat_map(|keys| keys.iter())
            .any(|key| matches!(&key.parts[..], [part] if is_it(part)))
    };
    let qualifier = format!("{}.", keys::identifier(&table.name));
    let mut all = Vec::new();
    for column in fixed.iter().filter_map(|column| column.strip_prefix(&qualifier)) {
        let own = table.column_vindexes.iter().find(|own| own.position(column).is_some());
        all.push(match own {
            Some(own) => {
                format!("lookup vindex {} on {column}, which cannot be used here", own.vindex.name())
            }
            None if is_unique(column) => format!("a unique lookup vindex on {column}"),
            None => format!("a lookup vindex on {column} (if few shards have one of its values)"),
        });
    }
    (!all.is_empty()).then(|| all.join(", or "))
}

/// The tables of which a plan asks all shards.
fn scattered(plan: &Plan, context: &PlanContext<'_>) -> Vec<Arc<Table>> {
    let resolve = |keyspace: &str, name: &str| {
        let table = context.vschema.keyspace(keyspace)?.table(name)?;
        (table.sharded && !table.is_reference() && table.pinned.is_none()).then(|| Arc::clone(table))
    };
    let mut found: Vec<Arc<Table>> = match &plan.node {
        Node::Gather(gather) => gather
            .tables
            .iter()
            .filter(|table| table.route().is_some_and(|route| route.routing == Routing::Scatter))
            .filter_map(|table| resolve(&table.keyspace, &table.table))
            .collect(),
        _ => plan
            .tables
            .iter()
            .filter_map(|name| name.split_once('.'))
            .filter_map(|(a, b)| resolve(a, b))
            .collect(),
    };
    found.sort_by_key(|table| table.full_name().to_string());
    found.dedup_by_key(|table| table.full_name().to_string());
    found
}
