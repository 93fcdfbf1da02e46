//! What does an ALTER VSCHEMA statement ask for?

use std::collections::BTreeMap;

use super::context::{Cursor, Planner};
use super::{Node, Plan, SessionCommand, StatementKind};
use crate::error::{Result, SqlError};
use crate::sql::{LexOptions, LiteralKind, Normalizer, TokenKind, literal, syntax_error};
use crate::vschema::{VSchemaChange, VindexSource};

/// A possibly qualified name.
struct Name {
    keyspace: Option<String>,
    name: String,
}

/// A statement for the gate: the session's keyspace counts where none is named.
pub(super) fn plan(planner: &Planner<'_>) -> Result<Plan> {
    let (named, change) = read(planner.cursor())?;
    let keyspace = match named {
        Some(name) => planner.existing(&name)?,
        None => planner.selected()?,
    };
    let node = Node::Session(SessionCommand::AlterVSchema { keyspace, change });
    Ok(planner.plan(StatementKind::Ddl, node, Vec::new()))
}

/// Reads a statement; the first result is the keyspace that it names, if it does.
///
/// # Errors
/// 1105 (Vitess) for a text that is no such statement.
pub fn alter_vschema(text: &str) -> Result<(Option<String>, VSchemaChange)> {
    let mut normalizer = Normalizer::new();
    normalizer.read(text.as_bytes(), LexOptions::default(), false);
    let statement = normalizer.statement(text.as_bytes());
    if !(statement.is_word(0, "alter") && statement.is_word(1, "vschema")) {
        return Err(SqlError::vschema_change("this is not an ALTER VSCHEMA statement"));
    }
    if statement.tokens.iter().any(|token| token.kind == TokenKind::Unknown) {
        return Err(syntax_error(&statement, 0));
    }
    read(Cursor { statement, at: 0 })
}

fn read(mut cursor: Cursor<'_>) -> Result<(Option<String>, VSchemaChange)> {
    // ALTER VSCHEMA
    cursor.at = 2;
    let read = change(&mut cursor)?;
    cursor.eat_kind(TokenKind::Semicolon);
    if cursor.at_end() { Ok(read) } else { Err(cursor.error()) }
}

fn change(cursor: &mut Cursor<'_>) -> Result<(Option<String>, VSchemaChange)> {
    if cursor.eat(&["create", "vindex"]) {
        let Name { keyspace, name } = self::name(cursor)?;
        let vindex = using(cursor)?.ok_or_else(|| cursor.error())?;
        return Ok((keyspace, VSchemaChange::CreateVindex { name, vindex }));
    }
    if cursor.eat(&["drop", "vindex"]) {
        let Name { keyspace, name } = self::name(cursor)?;
        return Ok((keyspace, VSchemaChange::DropVindex { name }));
    }
    if cursor.eat(&["add", "table"]) {
        let Name { keyspace, name } = self::name(cursor)?;
        return Ok((keyspace, VSchemaChange::AddTable { table: name }));
    }
    if cursor.eat(&["drop", "table"]) {
        let Name { keyspace, name } = self::name(cursor)?;
        return Ok((keyspace, VSchemaChange::DropTable { table: name }));
    }
    if cursor.eat(&["add", "sequence"]) {
        let Name { keyspace, name } = self::name(cursor)?;
        return Ok((keyspace, VSchemaChange::AddSequence { table: name }));
    }
    if cursor.eat(&["drop", "sequence"]) {
        let Name { keyspace, name } = self::name(cursor)?;
        return Ok((keyspace, VSchemaChange::DropSequence { table: name }));
    }
    if !cursor.eat(&["on"]) {
        return Err(cursor.error());
    }
    let Name { keyspace, name: table } = self::name(cursor)?;
    let change = if cursor.eat(&["add", "vindex"]) {
        let name = cursor.identifier().ok_or_else(|| cursor.error())?;
        let columns = columns(cursor)?;
        VSchemaChange::AddColumnVindex { table, name, columns, vindex: using(cursor)? }
    } else if cursor.eat(&["drop", "vindex"]) {
        let name = cursor.identifier().ok_or_else(|| cursor.error())?;
        VSchemaChange::DropColumnVindex { table, name }
    } else if cursor.eat(&["add", "auto_increment"]) {
        let column = cursor.identifier().ok_or_else(|| cursor.error())?;
        if !cursor.eat(&["using"]) {
            return Err(cursor.error());
        }
        let sequence = name(cursor)?;
        let sequence = match sequence.keyspace {
            Some(keyspace) => format!("{keyspace}.{}", sequence.name),
            None => sequence.name,
        };
        VSchemaChange::AddAutoIncrement { table, column, sequence }
    } else if cursor.eat(&["drop", "auto_increment"]) {
        VSchemaChange::DropAutoIncrement { table }
    } else {
        return Err(cursor.error());
    };
    Ok((keyspace, change))
}

fn name(cursor: &mut Cursor<'_>) -> Result<Name> {
    let (keyspace, name) = cursor.table_name().ok_or_else(|| cursor.error())?;
    let text = cursor.statement.text;
    Ok(Name {
        keyspace: keyspace.and_then(|token| token.identifier(text)),
        name: name.identifier(text).unwrap_or_default(),
    })
}

fn columns(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    let mut columns = Vec::new();
    if !cursor.eat_kind(TokenKind::LeftParen) {
        return Err(cursor.error());
    }
    loop {
        columns.push(cursor.identifier().ok_or_else(|| cursor.error())?);
        if cursor.eat_kind(TokenKind::RightParen) {
            return Ok(columns);
        }
        if !cursor.eat_kind(TokenKind::Comma) {
            return Err(cursor.error());
        }
    }
}

/// `USING type [WITH name = value, …]`; the parameter `owner` is the vindex's owner.
fn using(cursor: &mut Cursor<'_>) -> Result<Option<VindexSource>> {
    if !cursor.eat(&["using"]) {
        return Ok(None);
    }
    let kind = cursor.identifier().ok_or_else(|| cursor.error())?;
    let mut params = BTreeMap::new();
    if cursor.eat(&["with"]) {
        loop {
            let name = cursor.identifier().ok_or_else(|| cursor.error())?;
            if !cursor.eat_kind(TokenKind::Equal) {
                return Err(cursor.error());
            }
            params.insert(name, value(cursor)?);
            if !cursor.eat_kind(TokenKind::Comma) {
                break;
            }
        }
    }
    let owner = params.remove("owner").unwrap_or_default();
    Ok(Some(VindexSource { kind, params, owner }))
}

/// A parameter's value: a name (also `a.b`), a string or a number.
fn value(cursor: &mut Cursor<'_>) -> Result<String> {
    let token = *cursor.token().ok_or_else(|| cursor.error())?;
    let bytes = token.text(cursor.statement.text);
    match token.kind {
        TokenKind::Word | TokenKind::Quoted => {
            let Name { keyspace, name } = name(cursor)?;
            Ok(keyspace.map_or(name.clone(), |keyspace| format!("{keyspace}.{name}")))
        }
        TokenKind::String => {
            let value = literal::read(LiteralKind::String, bytes, false)?;
            cursor.at += 1;
            let text = value.text().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            text.ok_or_else(|| cursor.error())
        }
        TokenKind::Integer => {
            cursor.at += 1;
            Ok(String::from_utf8_lossy(bytes).into_owned())
        }
        _ => Err(cursor.error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vschema::KeyspaceSource;

    fn altered(json: &str, statements: &[&str]) -> std::result::Result<serde_json::Value, String> {
        let mut source = KeyspaceSource::from_json(json).unwrap();
        for statement in statements {
            let (_, change) = alter_vschema(statement).map_err(|error| error.client_text())?;
            let before = source.clone();
            if let Err(why) = change.apply("ks", &mut source) {
                assert_eq!(source, before, "a refused change changes nothing");
                return Err(why);
            }
        }
        Ok(serde_json::to_value(&source).unwrap())
    }

    #[test]
    fn every_form_changes_what_it_says() {
        let sharded = altered(
            "{}",
            &[
                "alter vschema create vindex ks.hash using hash",
                "ALTER VSCHEMA ON `t` ADD VINDEX hash (id)",
                "alter vschema on t add vindex by_name (a, b) using consistent_lookup with owner=t, table='x.name idx', from=a, batch=10;",
                "alter vschema on ks.t add auto_increment id using main.t_seq",
            ],
        );
        assert_eq!(
            sharded.unwrap(),
            serde_json::json!({
                "sharded": true,
                "vindexes": {
                    "by_name": {
                        "type": "consistent_lookup",
                        "params": { "batch": "10", "from": "a", "table": "x.name idx" },
                        "owner": "t",
                    },
                    "hash": { "type": "hash" },
                },
                "tables": {
                    "t": {
                        "column_vindexes": [
                            { "name": "hash", "columns": ["id"] },
                            { "name": "by_name", "columns": ["a", "b"] },
                        ],
                        "auto_increment": { "column": "id", "sequence": "main.t_seq" },
                    },
                },
            })
        );
        let plain = altered("{}", &["alter vschema add table a", "alter vschema add sequence s"]);
        assert_eq!(plain.unwrap(), serde_json::json!({ "tables": { "a": {}, "s": { "type": "sequence" } } }));
        let gone = altered(
            r#"{"sharded": true, "vindexes": {"h": {"type": "hash"}},
                "tables": {"t": {"column_vindexes": [{"column": "id", "name": "h"}], "auto_increment": {"column": "id", "sequence": "s"}}}}"#,
            &[
                "alter vschema on t drop auto_increment",
                "alter vschema on t drop vindex h",
                "alter vschema drop vindex h",
            ],
        );
        assert_eq!(gone.unwrap(), serde_json::json!({ "sharded": true }));
        let dropped = altered(
            r#"{"tables": {"a": {}, "s": {"type": "sequence"}}}"#,
            &["alter vschema drop table a", "alter vschema drop sequence s"],
        );
        assert_eq!(dropped.unwrap(), serde_json::json!({}));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        const SHARDED: &str = r#"{"sharded": true, "vindexes": {"h": {"type": "hash"}},
            "tables": {"t": {"column_vindexes": [{"column": "id", "name": "h"}]}}}"#;
        for (statement, why) in [
            ("alter vschema create vindex h using hash", "already exists"),
            ("alter vschema drop vindex h", "still used by table t"),
            ("alter vschema drop vindex g", "does not exist"),
            ("alter vschema add table u", "unsupported on sharded keyspace"),
            ("alter vschema add sequence u", "unsupported on sharded keyspace"),
            ("alter vschema drop table u", "does not contain table u"),
            ("alter vschema drop sequence t", "does not contain sequence t"),
            ("alter vschema on t add vindex h (id)", "already defined on table t"),
            ("alter vschema on u add vindex g (id)", "does not exist"),
            ("alter vschema on u add vindex h (id) using xxhash", "is defined with type hash, not xxhash"),
            ("alter vschema on u add vindex h (id) using hash with a=1", "other parameters"),
            ("alter vschema on t drop vindex g", "not defined in table ks.t"),
            ("alter vschema on t drop auto_increment", "does not contain auto increment"),
            ("alter vschema on u add auto_increment id using s", "does not contain table u"),
            ("alter vschema", "syntax"),
            ("alter vschema create vindex v", "syntax"),
            ("alter vschema on t add vindex h id", "syntax"),
            ("alter vschema add table a b", "syntax"),
            ("select 1", "not an ALTER VSCHEMA statement"),
        ] {
            let refused = altered(SHARDED, &[statement]).unwrap_err();
            assert!(refused.contains(why), "{statement}: {refused}");
        }
    }
}
