//! What does SET change, and to what?

use super::context::{Cursor, Planner};
use super::{Assignment, Node, Plan, SessionCommand, SetTarget, SetValue, StatementKind, session_values};
use crate::error::{Result, SqlError};
use crate::sql::{Edits, Token, TokenKind};
use crate::value::Value;

pub(super) fn plan(planner: &Planner<'_>) -> Result<Plan> {
    super::query::refuse_set_insert_id(planner, "SET")?;
    let mut cursor = planner.cursor();
    cursor.at = 1;
    for (words, construct) in [
        (&["password"][..], "SET PASSWORD"),
        (&["role"], "SET ROLE"),
        (&["default", "role"], "SET DEFAULT ROLE"),
        (&["resource", "group"], "SET RESOURCE GROUP"),
        (&["statement"], "SET STATEMENT"),
    ] {
        let mut ahead = cursor;
        if ahead.eat(words)
            && (construct == "SET PASSWORD"
                || !matches!(ahead.kind(), Some(TokenKind::Equal | TokenKind::Assign)))
        {
            return Err(SqlError::unsupported(construct));
        }
    }
    let assignments = match transaction(&mut cursor)? {
        Some(assignments) => assignments,
        None => list(planner, &mut cursor)?,
    };
    if !cursor.at_end() {
        return Err(cursor.error());
    }
    let command = SessionCommand::Set(assignments);
    Ok(planner.plan(StatementKind::Set, Node::Session(command), Vec::new()))
}

/// `SET [SESSION | GLOBAL] TRANSACTION characteristic, …`.
fn transaction(cursor: &mut Cursor<'_>) -> Result<Option<Vec<Assignment>>> {
    let mut ahead = *cursor;
    let session = ahead.eat_any(&["session", "local"]);
    let global = !session && ahead.eat(&["global"]);
    if !ahead.eat(&["transaction"]) {
        return Ok(None);
    }
    if global {
        return Err(SqlError::global_variable_refused("transaction"));
    }
    *cursor = ahead;
    let mut assignments = Vec::new();
    loop {
        let value = if cursor.eat(&["isolation", "level"]) {
            let levels = [
                &["read", "committed"][..],
                &["read", "uncommitted"],
                &["repeatable", "read"],
                &["serializable"],
            ];
            let level = levels.into_iter().find(|words| cursor.eat(words));
            level.ok_or_else(|| cursor.error())?.join(" ").to_ascii_uppercase()
        } else if cursor.eat(&["read", "only"]) {
            "READ ONLY".to_owned()
        } else if cursor.eat(&["read", "write"]) {
            "READ WRITE".to_owned()
        } else {
            return Err(cursor.error());
        };
        let target = SetTarget::Transaction { session };
        assignments.push(Assignment { target, value: SetValue::Word(Some(value)) });
        if !cursor.eat_kind(TokenKind::Comma) {
            return Ok(Some(assignments));
        }
    }
}

fn list(planner: &Planner<'_>, cursor: &mut Cursor<'_>) -> Result<Vec<Assignment>> {
    let mut assignments = Vec::new();
    // The scope of the item before holds on only as long as MySQL lets it: not at all.
    loop {
        assignments.push(item(planner, cursor)?);
        if !cursor.eat_kind(TokenKind::Comma) {
            return Ok(assignments);
        }
    }
}

fn item(planner: &Planner<'_>, cursor: &mut Cursor<'_>) -> Result<Assignment> {
    let assigns = |cursor: &Cursor<'_>| {
        let next = cursor.statement.tokens.get(cursor.at + 1).map(|token| token.kind);
        matches!(next, Some(TokenKind::Equal | TokenKind::Assign))
    };
    if cursor.is("names") && !assigns(cursor) {
        cursor.at += 1;
        let value = bare(cursor)?;
        let collation = if cursor.eat(&["collate"]) {
            Some(word(bare(cursor)?).ok_or_else(|| cursor.error())?)
        } else {
            None
        };
        return Ok(Assignment { target: SetTarget::Names { collation }, value });
    }
    if !assigns(cursor)
        && (cursor.eat(&["character", "set"]) || cursor.eat(&["charset"]) || cursor.eat(&["char", "set"]))
    {
        return Ok(Assignment { target: SetTarget::CharacterSet, value: bare(cursor)? });
    }
    let unscoped = cursor.token().is_some_and(|token| {
        let text = token.text(cursor.statement.text);
        token.kind == TokenKind::SystemVariable && !text.contains(&b'.')
    });
    let target = target(cursor)?;
    if !cursor.eat_kind(TokenKind::Equal) && !cursor.eat_kind(TokenKind::Assign) {
        return Err(cursor.error());
    }
    let value = value(planner, cursor, &target)?;
    if unscoped && let Some(next) = next_transaction(&target, &value)? {
        return Ok(next);
    }
    Ok(Assignment { target, value })
}

/// `SET @@transaction_isolation = …`: with `@@` and without a scope it is the next transaction's (MySQL
/// manual, "SET TRANSACTION").
fn next_transaction(target: &SetTarget, value: &SetValue) -> Result<Option<Assignment>> {
    let SetTarget::Session(name) = target else { return Ok(None) };
    let is_level = matches!(name.as_str(), "transaction_isolation" | "tx_isolation");
    if !is_level && !matches!(name.as_str(), "transaction_read_only" | "tx_read_only") {
        return Ok(None);
    }
    let SetValue::Word(Some(word)) = value else {
        return Err(SqlError::unsupported("SET @@transaction_… to an expression"));
    };
    let word = word.to_ascii_uppercase();
    let words = match word.as_str() {
        "READ-COMMITTED" | "READ-UNCOMMITTED" | "REPEATABLE-READ" | "SERIALIZABLE" if is_level => {
            word.replace('-', " ")
        }
        "1" | "ON" | "TRUE" if !is_level => "READ ONLY".to_owned(),
        "0" | "OFF" | "FALSE" if !is_level => "READ WRITE".to_owned(),
        _ => return Err(SqlError::wrong_value_for_variable(name, &word)),
    };
    let target = SetTarget::Transaction { session: false };
    Ok(Some(Assignment { target, value: SetValue::Word(Some(words)) }))
}

fn word(value: SetValue) -> Option<String> {
    match value {
        SetValue::Word(word) => word,
        _ => None,
    }
}

/// A name or string: `utf8mb4`, `'utf8mb4'`, `DEFAULT`.
fn bare(cursor: &mut Cursor<'_>) -> Result<SetValue> {
    let token = *cursor.token().ok_or_else(|| cursor.error())?;
    let text = token.text(cursor.statement.text);
    let value = match token.kind {
        TokenKind::Word if token.is_word(cursor.statement.text, "default") => SetValue::Default,
        TokenKind::Word | TokenKind::Quoted => SetValue::Word(token.identifier(cursor.statement.text)),
        TokenKind::String => SetValue::Word(Some(string_text(cursor, text)?)),
        TokenKind::Param => {
            SetValue::Operand(crate::sql::Operand::Param(cursor.statement.param_at(token.start)))
        }
        _ => return Err(cursor.error()),
    };
    cursor.at += 1;
    Ok(value)
}

fn string_text(cursor: &Cursor<'_>, text: &[u8]) -> Result<String> {
    let escapes = cursor.statement.options.writing();
    let value = crate::sql::literal::read(crate::sql::LiteralKind::String, text, escapes)?;
    Ok(value.text().map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default())
}

fn target(cursor: &mut Cursor<'_>) -> Result<SetTarget> {
    let token = *cursor.token().ok_or_else(|| cursor.error())?;
    let text = String::from_utf8_lossy(token.text(cursor.statement.text)).into_owned();
    match token.kind {
        TokenKind::UserVariable => {
            cursor.at += 1;
            Ok(SetTarget::User(session_values::user_variable_name(&text)))
        }
        TokenKind::SystemVariable => {
            cursor.at += 1;
            let (global, name) = session_values::system_variable_name(&text);
            Ok(if global { SetTarget::Global(name) } else { SetTarget::Session(name) })
        }
        _ => {
            let names = |cursor: &Cursor<'_>| {
                let next = cursor.statement.tokens.get(cursor.at + 1).map(|token| token.kind);
                matches!(next, Some(TokenKind::Word | TokenKind::Quoted))
            };
            let scoped = names(cursor);
            let global = scoped && cursor.eat_any(&["global", "persist", "persist_only"]);
            if !global && scoped {
                cursor.eat_any(&["session", "local"]);
            }
            let error = cursor.error();
            let mut name = cursor.identifier().ok_or(error)?;
            while cursor.eat_kind(TokenKind::Dot) {
                let error = cursor.error();
                name = format!("{name}.{}", cursor.identifier().ok_or(error)?);
            }
            let name = name.to_ascii_lowercase();
            Ok(if global { SetTarget::Global(name) } else { SetTarget::Session(name) })
        }
    }
}

fn value(planner: &Planner<'_>, cursor: &mut Cursor<'_>, target: &SetTarget) -> Result<SetValue> {
    let end = cursor.list_item_end();
    let tokens = cursor.statement.tokens.get(cursor.at..end).unwrap_or_default();
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { return Err(cursor.error()) };
    cursor.at = end;
    let text = cursor.statement.text;
    if let Some(known) = known_value(planner, target, tokens) {
        return Ok(known);
    }
    super::query::check_calls(planner, tokens)?;
    if tokens.iter().any(|token| token.is_word(text, "from"))
        && tokens.iter().any(|token| token.is_word(text, "select"))
    {
        return Err(SqlError::unsupported("subqueries over tables in SET"));
    }
    let mut edits = Edits::default();
    session_values::replace_in(planner, tokens, &mut edits, false);
    Ok(SetValue::Expression(edits.part(&cursor.statement, first.start..last.end)))
}

/// A value that needs no server.
fn known_value(planner: &Planner<'_>, target: &SetTarget, tokens: &[Token]) -> Option<SetValue> {
    let text = planner.statement.text;
    let user = matches!(target, SetTarget::User(_));
    if let [token] = tokens
        && !user
    {
        if token.is_word(text, "default") {
            return Some(SetValue::Default);
        }
        if token.is_word(text, "null") {
            return Some(SetValue::Word(None));
        }
        // The words TRUE and FALSE are numbers, the strings are not.
        let is_number = token.is_word(text, "true") || token.is_word(text, "false");
        if !is_number && matches!(token.kind, TokenKind::Word | TokenKind::Quoted) {
            return token.identifier(text).map(|word| SetValue::Word(Some(word)));
        }
    }
    let operand = planner.constant(tokens)?;
    if user || token_is_param(tokens) {
        return Some(SetValue::Operand(operand));
    }
    let value = match operand {
        crate::sql::Operand::Constant(value) => value,
        crate::sql::Operand::Negated(inner) => match *inner {
            crate::sql::Operand::Constant(value) => negated(&value)?,
            _ => return None,
        },
        _ => return None,
    };
    let word = value.text().map(|text| String::from_utf8_lossy(&text).into_owned());
    Some(SetValue::Word(word))
}

fn token_is_param(tokens: &[Token]) -> bool {
    tokens.iter().any(|token| token.kind == TokenKind::Param)
}

fn negated(value: &Value) -> Option<Value> {
    let text = value.text()?;
    Some(Value::Decimal([b"-", &*text].concat().into()))
}
