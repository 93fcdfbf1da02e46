//! Does a query take or look at named locks: GET_LOCK, RELEASE_LOCK and their kin?
//!
//! As in Vitess they belong to the session, on one server for all: the shard of keyspace id 00 of the
//! first keyspace. So such a query, or DO, reads no table.

use super::context::Planner;
use super::{LockEffect, Node, Plan, SessionCommand, StatementKind, session_values};
use crate::error::{Result, SqlError};
use crate::sql::{Edits, Token, TokenKind};

const FUNCTIONS: [(&str, LockEffect); 5] = [
    ("get_lock", LockEffect::Acquire),
    ("release_lock", LockEffect::Release),
    ("release_all_locks", LockEffect::ReleaseAll),
    ("is_free_lock", LockEffect::Look),
    ("is_used_lock", LockEffect::Look),
];

/// None where no such function is called.
///
/// # Errors
/// VT12001 beside tables, INTO or `:=`.
pub(super) fn plan(planner: &Planner<'_>, kind: StatementKind) -> Result<Option<Plan>> {
    let statement = &planner.statement;
    let calls: Vec<usize> =
        (0..statement.tokens.len()).filter(|&at| call(planner, statement.tokens, at).is_some()).collect();
    let Some(&first) = calls.first() else { return Ok(None) };
    let word = |word: &str| (0..statement.tokens.len()).find(|&index| statement.is_word(index, word));
    let tables =
        word("from").is_some_and(|at| !statement.is_word(at + 1, "dual") || statement.tokens.len() > at + 2);
    let assigns = statement.tokens.iter().any(|token| token.kind == TokenKind::Assign);
    let known = statement.is_word(0, "select") || statement.is_word(0, "do");
    if !known || tables || assigns || word("into").is_some() {
        return Err(SqlError::unsupported("advisory locks (GET_LOCK and its kin) beside tables, INTO or :="));
    }
    let whole = calls.len() == 1 && is_whole(planner, first);
    let effect = match call(planner, statement.tokens, first) {
        // DO does not tell what became of it.
        Some(LockEffect::Acquire | LockEffect::Release) if statement.is_word(0, "do") => LockEffect::Several,
        Some(effect) if whole => effect,
        _ => LockEffect::Several,
    };
    let mut edits = Edits::default();
    session_values::replace(planner, &mut edits);
    let query = edits.template(statement);
    let node = Node::Session(SessionCommand::Lock { query, effect });
    Ok(Some(planner.plan(kind, node, Vec::new())))
}

/// What the function that is called at `index` of these tokens does to locks.
pub(super) fn call(planner: &Planner<'_>, tokens: &[Token], index: usize) -> Option<LockEffect> {
    let open = tokens.get(index + 1)?.kind == TokenKind::LeftParen;
    let name = tokens.get(index).filter(|token| open && token.kind == TokenKind::Word)?;
    let known = FUNCTIONS.iter().find(|(known, _)| name.is_word(planner.statement.text, known));
    known.map(|(_, effect)| *effect)
}

/// Whether the call is all that is selected, but for an alias.
fn is_whole(planner: &Planner<'_>, index: usize) -> bool {
    let mut cursor = planner.cursor();
    cursor.at = index + 1;
    cursor.at = cursor.matching();
    if index != 1 {
        return false;
    }
    if !cursor.is("from") {
        cursor.eat(&["as"]);
        if !cursor.at_end() {
            cursor.at += 1;
        }
    }
    cursor.eat(&["from", "dual"]);
    cursor.at_end()
}
