//! What does the gate add to the warnings of a statement?

use super::Session;
use super::reply::Answered;
use super::state::Warning;
use crate::planner::{Advice, Node, Plan, Show, Temporary, Vexplain};
use crate::sql;

/// How many notes of the gate's own stand behind an EXPLAIN or CREATE TEMPORARY TABLE: the client is told to
/// look for them.
pub(super) fn notes_of(plan: &Plan) -> u16 {
    let pins = matches!(plan.temporary, Some(Temporary::Create(_)));
    u16::from(pins || matches!(plan.node, Node::Show(Show::Explain { .. })))
}

/// With the note that says how a query was answered that no merge of shards answers, who explained a
/// statement, or what a temporary table costs.
pub(super) fn noted(mut answered: Answered, plan: &Plan) -> Answered {
    let shard = || answered.shard.as_ref().map(|shard| shard.full_name()).unwrap_or_default();
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
            format!("explained by shard {}", shard())
        }
        Node::Show(Show::Explain { .. }) => format!(
            "explained by shard {} alone: the statement goes to several shards, in the form that VEXPLAIN ALL shows",
            shard()
        ),
        Node::Modify(_) if matches!(plan.temporary, Some(Temporary::Create(_))) => format!(
            "the session keeps a connection to shard {} until its temporary tables are dropped",
            shard()
        ),
        _ => return answered,
    };
    answered.warned = answered.warned.saturating_add(1);
    answered.warnings.push(note(message));
    answered
}

impl Session {
    /// What an explained statement might do better, by its plan and by how clients send it. Of copies, what
    /// ran has told already.
    pub(super) fn advised(&self, own: &Vexplain, explained: &[u8]) -> Vec<Warning> {
        let told = own
            .advice
            .iter()
            .filter(|advice| !(own.form.executes() && matches!(advice, Advice::Gathered(_))));
        let mut notes: Vec<_> = told.map(|advice| note(advice.text().to_owned())).collect();
        let digest = sql::digest(explained, self.scope.options);
        if let Some(seen) = self.shared.repeats.of(&self.counted_target(), &digest) {
            notes.push(note(format!(
                "clients have sent it {} times in {} rows of ten and more with other values: one query with IN, or a \
                 join, could take the place of each row",
                seen.statements, seen.rows
            )));
        }
        notes
    }
}

/// ER_YES, under which EXPLAIN tells what became of a statement.
fn note(message: String) -> Warning {
    Warning { level: "Note", code: 1003, message }
}
