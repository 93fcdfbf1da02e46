//! Does a query take or look at named locks: GET_LOCK, RELEASE_LOCK and their kin?
//!
//! As in Vitess they belong to the session, on one server for all: the shard of keyspace id 00 of the
//! first keyspace. So such a query reads no table.

use super::context::Planner;
use super::{LockEffect, Node, Plan, SessionCommand, StatementKind, session_values};
use crate::error::{Result, SqlError};
use crate::sql::{Edits, TokenKind};

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
        (0..statement.tokens.len()).filter(|&index| call(planner, index).is_some()).collect();
    let Some(&first) = calls.first() else { return Ok(None) };
    let word = |word: &str| (0..statement.tokens.len()).find(|&index| statement.is_word(index, word));
    let tables =
        word("from").is_some_and(|at| !statement.is_word(at + 1, "dual") || statement.tokens.len() > at + 2);
    let assigns = statement.tokens.iter().any(|token| token.kind == TokenKind::Assign);
    if !statement.is_word(0, "select") || tables || assigns || word("into").is_some() {
        return Err(SqlError::unsupported("advisory locks (GET_LOCK and its kin) beside tables, INTO or :="));
    }
    let effect = if calls.len() == 1 && is_whole(planner, first) {
        call(planner, first).unwrap_or(LockEffect::Several)
    } else {
        LockEffect::Several
    };
    let mut edits = Edits::default();
    session_values::replace(planner, &mut edits);
    let query = edits.template(statement);
    let node = Node::Session(SessionCommand::Lock { query, effect });
    Ok(Some(planner.plan(kind, node, Vec::new())))
}

fn call(planner: &Planner<'_>, index: usize) -> Option<LockEffect> {
    let statement = &planner.statement;
    let open = statement.tokens.get(index + 1)?.kind == TokenKind::LeftParen;
    let known = FUNCTIONS.iter().find(|(name, _)| statement.is_word(index, name));
    known.filter(|_| open).map(|(_, effect)| *effect)
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
