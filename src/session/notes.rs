//! What does the gate add to the warnings of a statement?

use super::reply::Answered;
use super::state::Warning;
use crate::planner::{Advice, Node, Plan, Show, Vexplain};

/// How many notes of the gate's own stand behind an EXPLAIN: the client is told to look for them.
pub(super) fn notes_of(plan: &Plan) -> u16 {
    u16::from(matches!(plan.node, Node::Show(Show::Explain { .. })))
}

/// With the note that says how a query was answered that no merge of shards answers, or who explained a
/// statement.
pub(super) fn noted(mut answered: Answered, plan: &Plan) -> Answered {
    let message = match &plan.node {
        Node::Gather(gather) => {
            let count = gather.tables.len();
            format!(
                "answered by one server over copies of {count} table{} (GATHER): {}",
                if count == 1 { "" } else { "s" },
                gather.refusal
            )
        }
        Node::Show(Show::Explain { one_of_several: false, .. }) => {
            format!("explained by shard {}", answered.shard)
        }
        Node::Show(Show::Explain { .. }) => format!(
            "explained by shard {} alone: the statement goes to several shards, in the form that VEXPLAIN ALL shows",
            answered.shard
        ),
        _ => return answered,
    };
    // ER_YES, under which EXPLAIN tells what became of a statement.
    answered.warned = answered.warned.saturating_add(1);
    answered.warnings.push(Warning { level: "Note", code: 1003, message });
    answered
}

/// What the plan of an explained statement might do better. Of copies, what ran has told already.
pub(super) fn advised(own: &Vexplain) -> Vec<Warning> {
    let told =
        own.advice.iter().filter(|advice| !(own.form.executes() && matches!(advice, Advice::Gathered(_))));
    told.map(|advice| Warning { level: "Note", code: 1003, message: advice.text().to_owned() }).collect()
}
