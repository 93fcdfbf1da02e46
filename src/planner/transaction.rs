//! Which transaction statement is this?

use super::context::{Cursor, Planner};
use super::{Node, Plan, SessionCommand, StatementKind};
use crate::error::Result;
use crate::sql::TokenKind;

pub(super) fn plan(planner: &Planner<'_>, kind: StatementKind) -> Result<Plan> {
    let mut cursor = planner.cursor();
    let command = match kind {
        StatementKind::Begin => begin(&mut cursor)?,
        StatementKind::Commit | StatementKind::Rollback => end(&mut cursor)?,
        _ => savepoint(&mut cursor)?,
    };
    if !cursor.at_end() {
        return Err(cursor.error());
    }
    Ok(planner.plan(kind, Node::Session(command), Vec::new()))
}

fn begin(cursor: &mut Cursor<'_>) -> Result<SessionCommand> {
    let mut read_only = None;
    let mut consistent_snapshot = false;
    if cursor.eat(&["begin"]) {
        cursor.eat(&["work"]);
        return Ok(SessionCommand::Begin { read_only, consistent_snapshot });
    }
    cursor.eat(&["start", "transaction"]);
    if !cursor.at_end() {
        loop {
            if cursor.eat(&["read", "only"]) {
                read_only = Some(true);
            } else if cursor.eat(&["with", "consistent", "snapshot"]) {
                consistent_snapshot = true;
            } else if cursor.eat(&["read", "write"]) {
                read_only = Some(false);
            } else {
                return Err(cursor.error());
            }
            if !cursor.eat_kind(TokenKind::Comma) {
                break;
            }
        }
    }
    Ok(SessionCommand::Begin { read_only, consistent_snapshot })
}

fn end(cursor: &mut Cursor<'_>) -> Result<SessionCommand> {
    let commit = cursor.eat(&["commit"]);
    if !commit && !cursor.eat(&["rollback"]) {
        return Err(cursor.error());
    }
    cursor.eat(&["work"]);
    let chain = said(cursor, &["and", "chain"], &["and", "no", "chain"]);
    let at = cursor.error();
    let release = said(cursor, &["release"], &["no", "release"]);
    if chain == Some(true) && release == Some(true) {
        // A new transaction for a client that leaves: MySQL's grammar has no such thing.
        return Err(at);
    }
    Ok(if commit {
        SessionCommand::Commit { chain, release }
    } else {
        SessionCommand::Rollback { chain, release }
    })
}

/// True for the first words, false for the second, none for neither.
fn said(cursor: &mut Cursor<'_>, yes: &[&str], no: &[&str]) -> Option<bool> {
    if cursor.eat(yes) {
        return Some(true);
    }
    cursor.eat(no).then_some(false)
}

fn savepoint(cursor: &mut Cursor<'_>) -> Result<SessionCommand> {
    let command = if cursor.eat(&["savepoint"]) {
        SessionCommand::Savepoint
    } else if cursor.eat(&["release", "savepoint"]) {
        SessionCommand::ReleaseSavepoint
    } else {
        cursor.eat(&["rollback"]);
        cursor.eat(&["work"]);
        cursor.eat(&["to"]);
        // `ROLLBACK TO savepoint` names a savepoint called so.
        if cursor.is("savepoint") && cursor.at + 1 < cursor.statement.tokens.len() {
            cursor.at += 1;
        }
        SessionCommand::RollbackTo
    };
    let error = cursor.error();
    cursor.identifier().map(command).ok_or(error)
}
