//! What would change, in a VSchema and in the plans of statements?

use std::path::Path;

use serde_json::{Value, json};

use super::Failure;
use crate::key::TabletType;
use crate::planner::{PlanContext, plan_line};
use crate::vschema::VSchema;

/// One line for each value that is added (`+`) or removed (`-`), with the way to it.
pub(super) fn lines(before: &Value, after: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", Some(before), Some(after), &mut lines);
    lines
}

fn compare(place: &str, before: Option<&Value>, after: Option<&Value>, lines: &mut Vec<String>) {
    match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                compare(&place, old.get(name), new.get(name), lines);
            }
        }
        (old, new) if old == new => {}
        (old, new) => {
            lines.extend(old.map(|old| format!("- {place}: {old}")));
            lines.extend(new.map(|new| format!("+ {place}: {new}")));
        }
    }
}

/// The statements of a file, one a line, whose plans or refusals differ between two VSchemas, when
/// `keyspace` is selected.
pub(super) fn plans(
    before: &VSchema,
    after: &VSchema,
    keyspace: &str,
) -> impl Fn(&Path) -> Result<Value, Failure> {
    move |path| {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Run(format!("{}: {error}", path.display())))?;
        let plan = |vschema: &VSchema, statement: &str| {
            let context = PlanContext {
                vschema,
                keyspace: Some(keyspace),
                tablet_type: TabletType::Primary,
                destination: None,
            };
            let line = plan_line(statement, &context);
            let mut plan: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(fields) = plan.as_object_mut() {
                fields.remove("Original");
            }
            plan
        };
        let statements = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let changed = statements.filter_map(|statement| {
            let (old, new) = (plan(before, statement), plan(after, statement));
            (old != new).then(|| json!({ "statement": statement, "before": old, "after": new }))
        });
        Ok(changed.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_the_place() {
        let before = json!({ "sharded": false, "tables": { "t": { "type": "" }, "u": {} } });
        let after = json!({ "sharded": true, "tables": { "t": { "type": "sequence" }, "v": {} } });
        assert_eq!(
            lines(&before, &after),
            [
                "- sharded: false",
                "+ sharded: true",
                "- tables.t.type: \"\"",
                "+ tables.t.type: \"sequence\"",
                "- tables.u: {}",
                "+ tables.v: {}",
            ]
        );
        assert_eq!(lines(&before, &before), Vec::<String>::new());
    }
}
