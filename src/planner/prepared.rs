//! What do PREPARE, EXECUTE and DEALLOCATE as statements name?
//!
//! What they prepare is planned when the session runs them: the text may be a user variable's.

use super::context::{Cursor, Planner};
use super::{Node, Plan, SessionCommand, SqlText, StatementKind, session_values};
use crate::error::{Result, SqlError};
use crate::sql::TokenKind;

pub(super) fn plan(planner: &Planner<'_>) -> Result<Plan> {
    let mut cursor = planner.cursor();
    let command = if cursor.eat(&["prepare"]) {
        let name = name(&mut cursor)?;
        if !cursor.eat(&["from"]) {
            return Err(cursor.error());
        }
        SessionCommand::Prepare { name, text: text(planner, &mut cursor)? }
    } else if cursor.eat(&["execute"]) {
        if cursor.is("immediate") && cursor.at + 1 < cursor.statement.tokens.len() {
            return Err(SqlError::unsupported("EXECUTE IMMEDIATE"));
        }
        let name = name(&mut cursor)?;
        let using = if cursor.eat(&["using"]) { variables(&mut cursor)? } else { Vec::new() };
        SessionCommand::Execute { name, using }
    } else {
        if !cursor.eat(&["deallocate", "prepare"]) && !cursor.eat(&["drop", "prepare"]) {
            return Err(cursor.error());
        }
        SessionCommand::Deallocate(name(&mut cursor)?)
    };
    if !cursor.at_end() {
        return Err(cursor.error());
    }
    Ok(planner.plan(StatementKind::Other, Node::Session(command), Vec::new()))
}

/// Names of statements are compared without case.
fn name(cursor: &mut Cursor<'_>) -> Result<String> {
    let error = cursor.error();
    Ok(cursor.identifier().ok_or(error)?.to_lowercase())
}

fn text(planner: &Planner<'_>, cursor: &mut Cursor<'_>) -> Result<SqlText> {
    let token = cursor.token().ok_or_else(|| cursor.error())?;
    let text = match token.kind {
        TokenKind::UserVariable => SqlText::Variable(variable(cursor)?),
        TokenKind::String => {
            let operand = planner.operand(token).ok_or_else(|| cursor.error())?;
            cursor.at += 1;
            SqlText::Literal(operand)
        }
        _ => return Err(cursor.error()),
    };
    Ok(text)
}

fn variables(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    loop {
        names.push(variable(cursor)?);
        if !cursor.eat_kind(TokenKind::Comma) {
            return Ok(names);
        }
    }
}

fn variable(cursor: &mut Cursor<'_>) -> Result<String> {
    let token = cursor.token().filter(|token| token.kind == TokenKind::UserVariable);
    let token = token.ok_or_else(|| cursor.error())?;
    let name = String::from_utf8_lossy(token.text(cursor.statement.text)).into_owned();
    cursor.at += 1;
    Ok(session_values::user_variable_name(&name))
}
