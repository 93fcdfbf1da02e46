//! What does VEXPLAIN ask, and of which statement?
//!
//! The forms and their guard are Vitess's (`go/vt/vtgate/planbuilder/vexplain.go`), with one difference:
//! TRACE executes, too, so it needs the same word of a statement that changes rows.

use super::context::Planner;
use super::{Advice, Node, Plan, Show, StatementKind, advice, keys};
use crate::error::{Result, SqlError};
use crate::sql::{Statement, TokenKind, directive_in};

/// A form of VEXPLAIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VexplainForm {
    /// The plan.
    Plan,
    /// Executes, and lists what each shard was sent.
    Queries,
    /// Executes, and gives the plan with the servers' own EXPLAIN of what they were sent.
    All,
    /// Executes, and gives the plan with what each part did.
    Trace,
    /// The columns that the statement uses.
    Keys,
}

/// A VEXPLAIN of a statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Vexplain {
    /// What is asked.
    pub form: VexplainForm,
    /// The explained statement's plan.
    pub plan: Plan,
    /// The answer to KEYS.
    pub keys: Option<String>,
    /// What the plan might do better.
    pub advice: Vec<Advice>,
}

// === impl VexplainForm ===

impl VexplainForm {
    const ALL: [(&'static str, Self); 5] = [
        ("plan", Self::Plan),
        ("queries", Self::Queries),
        ("all", Self::All),
        ("trace", Self::Trace),
        ("keys", Self::Keys),
    ];

    /// The word of the statement.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, form)| *form == self).map_or("", |(word, _)| word)
    }

    /// Whether the statement runs.
    #[must_use]
    pub fn executes(self) -> bool {
        matches!(self, Self::Queries | Self::All | Self::Trace)
    }

    /// The titles of the result's columns.
    #[must_use]
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Plan => &["JSON"],
            Self::Queries => &["#", "keyspace", "shard", "query"],
            Self::All => &["VExplain"],
            Self::Trace => &["Trace"],
            Self::Keys => &["ColumnUsage"],
        }
    }
}

/// Where the text of the statement begins that a VEXPLAIN explains.
#[must_use]
pub fn explained_at(statement: &Statement<'_>) -> usize {
    let (_, at) = form(statement);
    statement.tokens.get(at).map_or(statement.text.len(), |token| token.start as usize)
}

/// The form, and the token at which the explained statement begins.
fn form(statement: &Statement<'_>) -> (VexplainForm, usize) {
    let named = VexplainForm::ALL.into_iter().find(|(word, _)| statement.is_word(1, word));
    named.map_or((VexplainForm::Plan, 1), |(_, form)| (form, 2))
}

pub(super) fn plan(planner: &Planner<'_>) -> Result<Node> {
    let (form, at) = form(&planner.statement);
    if at >= planner.statement.tokens.len() {
        return Err(planner.syntax_error(at));
    }
    let inner = inner_statement(planner, at);
    let plan = super::plan(&inner, planner.context)?;
    if form.executes() {
        check(planner, form, plan.kind)?;
    }
    let keys = match form {
        VexplainForm::Keys => Some(keys::describe(&Planner::new(inner, planner.context))?),
        _ => None,
    };
    let advice = advice(&plan, &inner, planner.context);
    Ok(Node::Show(Show::Vexplain(Box::new(Vexplain { form, plan, keys, advice }))))
}

/// The statement that begins at a token.
pub(super) fn inner_statement<'a>(planner: &Planner<'a>, at: usize) -> Statement<'a> {
    let mut statement = planner.statement;
    statement.tokens = statement.tokens.get(at..).unwrap_or_default();
    statement.body.0 = statement.tokens.first().map_or(statement.body.1, |token| token.start);
    statement
}

/// Whether the statement may run for the sake of an explanation.
fn check(planner: &Planner<'_>, form: VexplainForm, kind: StatementKind) -> Result<()> {
    use StatementKind::{Delete, Insert, LockingSelect, Replace, Select, Update};
    match kind {
        Select | LockingSelect => Ok(()),
        Insert | Replace | Update | Delete if runs_changes(&planner.statement) => Ok(()),
        Insert | Replace | Update | Delete => Err(SqlError::vexplain_runs(form.word())),
        _ => {
            let word = form.word().to_ascii_uppercase();
            Err(SqlError::unsupported(&format!(
                "VEXPLAIN {word} of anything but queries and changes of rows"
            )))
        }
    }
}

/// Whether the comment behind VEXPLAIN says `EXECUTE_DML_QUERIES`.
fn runs_changes(statement: &Statement<'_>) -> bool {
    let (_, at) = form(statement);
    let between = |index: usize| {
        let (before, after) = (statement.tokens.get(index)?, statement.tokens.get(index + 1)?);
        statement.text.get(before.end as usize..after.start as usize)
    };
    let found = (0..at).filter_map(between).find_map(|text| directive_in(text, "EXECUTE_DML_QUERIES"));
    found.is_some_and(|value| !matches!(value.as_str(), "0" | "false"))
        && statement.tokens.first().is_some_and(|token| token.kind == TokenKind::Word)
}
