//! Where do statements really go that name a table or keyspace with a routing rule?

use std::collections::HashMap;
use std::sync::Arc;

use super::{RoutingRule, Source, Table, VSchema, names};
use crate::error::{Result, SqlError};

/// What stands behind a `from_table`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Rule {
    /// Another table.
    Table(Arc<Table>),
    /// An empty list of targets.
    Disabled,
    /// The target's keyspace does not exist.
    UnknownKeyspace(Box<str>),
    /// The target does not exist.
    UnknownTable(Box<str>, Box<str>),
    /// The rule itself is wrong.
    Invalid(String),
}

// === impl Rule ===

impl Rule {
    /// What is wrong with the rule of this table.
    pub(super) fn error(&self, from: &str) -> Option<String> {
        match self {
            Self::Table(_) | Self::Disabled => None,
            Self::UnknownKeyspace(keyspace) => {
                Some(format!("the rule for {from} names keyspace {keyspace}, which does not exist"))
            }
            Self::UnknownTable(keyspace, table) => {
                Some(format!("the rule for {from} names table {keyspace}.{table}, which does not exist"))
            }
            Self::Invalid(error) => Some(error.clone()),
        }
    }

    /// Whether the rule is wrong whatever tables the servers have: a table that the VSchema does not
    /// list may still be found there.
    pub(super) fn is_wrong(&self) -> bool {
        matches!(self, Self::UnknownKeyspace(_) | Self::Invalid(_))
    }

    /// The target for a statement that names `table`.
    pub(super) fn target(&self, table: &str) -> Result<Arc<Table>> {
        match self {
            Self::Table(target) => Ok(target.clone()),
            Self::Disabled => Err(SqlError::routing_rule(&format!("table {table} has been disabled"))),
            Self::UnknownKeyspace(keyspace) => Err(SqlError::unknown_database(keyspace)),
            Self::UnknownTable(keyspace, table) => Err(SqlError::unknown_table(keyspace, table)),
            Self::Invalid(error) => Err(SqlError::routing_rule(error)),
        }
    }
}

/// The table rules of a VSchema whose tables are built. Only the first target counts; a second one
/// makes the rule invalid, and so does a second rule for the same entry.
pub(super) fn routing_rules(vschema: &VSchema) -> HashMap<Box<str>, Rule> {
    let mut rules: HashMap<Box<str>, Rule> = HashMap::new();
    for declared in &vschema.source.routing_rules.rules {
        let from = declared.from_table.as_str();
        let rule = if rules.contains_key(from) {
            Rule::Invalid(format!("duplicate rule for entry {from}"))
        } else {
            rule(vschema, declared)
        };
        rules.insert(from.into(), rule);
    }
    rules
}

fn rule(vschema: &VSchema, declared: &RoutingRule) -> Rule {
    let to = match declared.to_tables.as_slice() {
        [] => return Rule::Disabled,
        [to] => to,
        several => {
            return Rule::Invalid(format!(
                "table {} has more than one target: [{}]",
                declared.from_table,
                several.join(" ")
            ));
        }
    };
    let target = match names::qualified(to) {
        Ok(target) => target,
        Err(error) => return Rule::Invalid(error),
    };
    let Some(keyspace) = vschema.keyspace(&target.keyspace) else {
        return Rule::UnknownKeyspace((&*target.keyspace).into());
    };
    match keyspace.find(&target.table) {
        Some(table) => Rule::Table(table),
        None => Rule::UnknownTable((&*target.keyspace).into(), (&*target.table).into()),
    }
}

/// The keyspace rules, `keyspace[@type]` to keyspace.
pub(super) fn keyspace_rules(source: &Source) -> HashMap<Box<str>, Arc<str>> {
    let rules = source.keyspace_routing_rules.rules.iter();
    rules.map(|rule| (rule.from_keyspace.as_str().into(), rule.to_keyspace.as_str().into())).collect()
}

/// What is wrong with the keyspace rules. The last of several rules for the same entry counts, as in Vitess.
pub(super) fn wrong_keyspace_rules(vschema: &VSchema) -> impl Iterator<Item = String> {
    let rules = &vschema.source.keyspace_routing_rules.rules;
    rules.iter().filter_map(|rule| {
        let (from, to) = (&rule.from_keyspace, &rule.to_keyspace);
        if vschema.keyspace(to).is_none() {
            return Some(format!("the rule for keyspace {from} names keyspace {to}, which does not exist"));
        }
        let last = vschema.keyspace_rules.get(from.as_str());
        (last.is_some_and(|last| **last != **to)).then(|| format!("duplicate rule for keyspace {from}"))
    })
}
