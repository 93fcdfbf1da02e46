//! What does a query mean that reads a view of a sharded keyspace?
//!
//! A shard's own view shows what that shard makes of its own rows. So the view's definition takes the
//! place of its name, as a derived table, before the query is planned (Vitess does the same, with
//! `enable-views`). A session that is bound to one shard sees that shard's view.
//!
//! Works on tokens, so that the rest of the query keeps the client's text. Only texts over keyspaces that
//! have such views are looked at.

use super::PlanContext;
use super::context::Planner;
use super::references::{Reference, scan};
use crate::error::{Result, SqlError};
use crate::sql::{Normalizer, Statement, StatementKind, Token, TokenKind, classify};
use crate::vschema::View;

/// Views over views over views: MySQL's own limit is one of memory.
const DEEPEST: usize = 32;

/// Bytes that take the place of others.
type Change = (u32, u32, Vec<u8>);

/// The text of a query with definitions in the place of views' names; none where it reads no view of a
/// sharded keyspace.
///
/// # Errors
/// VT12001 for locking reads of such a view, for a definition that the gate may not read, and for one that
/// this session would read otherwise than the server wrote it.
pub fn expand_views(statement: &Statement<'_>, context: &PlanContext<'_>) -> Result<Option<Vec<u8>>> {
    let Some(mut text) = expand(statement, context)? else { return Ok(None) };
    let mut normalizer = Normalizer::new();
    for _ in 0..DEEPEST {
        normalizer.read(&text, statement.options, false);
        match expand(&normalizer.statement(&text), context)? {
            Some(expanded) => text = expanded,
            None => return Ok(Some(text)),
        }
    }
    Err(SqlError::unsupported("views over views to this depth"))
}

/// Expands the views that the text names itself.
fn expand(statement: &Statement<'_>, context: &PlanContext<'_>) -> Result<Option<Vec<u8>>> {
    if context.destination.is_some() || !is_query(statement) {
        return Ok(None);
    }
    let planner = Planner::new(*statement, context);
    let scan = scan(&planner);
    let locks = classify(statement.text, statement.tokens) == StatementKind::LockingSelect;
    let mut changes: Vec<Change> = Vec::new();
    for reference in &scan.references {
        let Some((keyspace, view)) = view(&planner, reference) else { continue };
        if locks {
            // FOR UPDATE does not reach into a derived table.
            return Err(SqlError::unsupported("locking reads of a view on a sharded keyspace"));
        }
        let definition = definition(&planner, view, keyspace, &reference.table)?;
        changes.push((reference.range.start, reference.range.end, in_place(reference, &definition)));
        unqualify(&planner, keyspace, &reference.alias, &mut changes);
    }
    Ok((!changes.is_empty()).then(|| changed(statement.text, changes)))
}

/// Whether the text is a query, or explains one.
fn is_query(statement: &Statement<'_>) -> bool {
    use StatementKind::{LockingSelect, Select};
    if matches!(classify(statement.text, statement.tokens), Select | LockingSelect) {
        return true;
    }
    let explains = ["explain", "describe", "desc", "vexplain"].iter().any(|word| statement.is_word(0, word));
    let from = (1..statement.tokens.len().min(8))
        .find(|&at| ["select", "with", "table", "("].iter().any(|word| is_at(statement, at, word)));
    explains && from.is_some()
}

fn is_at(statement: &Statement<'_>, at: usize, word: &str) -> bool {
    match word {
        "(" => statement.tokens.get(at).is_some_and(|token| token.kind == TokenKind::LeftParen),
        word => statement.is_word(at, word),
    }
}

/// The view that a table's name means, with its keyspace; none for tables, and for views on one shard.
fn view<'a>(planner: &Planner<'a>, reference: &Reference) -> Option<(&'a str, &'a View)> {
    let named = reference.qualifier.as_deref().or_else(|| planner.keyspace())?;
    let vschema = planner.vschema();
    let keyspace = vschema.keyspace(vschema.routed_keyspace(named, planner.context.tablet_type))?;
    if !keyspace.is_sharded() || keyspace.table(&reference.table).is_some() {
        return None;
    }
    keyspace.view(&reference.table).map(|view| (&**keyspace.name(), view))
}

/// A definition as this session reads it, without the keyspace in front of columns.
fn definition(planner: &Planner<'_>, view: &View, keyspace: &str, name: &str) -> Result<Vec<u8>> {
    let refused = |what: &str| SqlError::unsupported(&format!("the view {keyspace}.{name}: {what}"));
    let Some(text) = view.definition.as_deref() else {
        return Err(refused("the gate's user may not see its definition (SHOW VIEW)"));
    };
    if !text.is_ascii() {
        return Err(refused("its definition has characters outside ASCII"));
    }
    let options = planner.statement.options;
    if options.no_backslash_escapes && text.contains('\\') {
        return Err(refused("its definition has backslashes, and the session has NO_BACKSLASH_ESCAPES"));
    }
    let mut normalizer = Normalizer::new();
    normalizer.read(text.as_bytes(), options, false);
    let statement = normalizer.statement(text.as_bytes());
    let mut changes = Vec::new();
    for at in 0..statement.tokens.len() {
        if let Some([qualifier, dot, ..]) = column_of(&statement, at, keyspace) {
            changes.push((qualifier.start, dot.end, Vec::new()));
        }
    }
    if !name_columns(&Planner::new(statement, planner.context), view, &mut changes) {
        return Err(refused("its columns cannot be told"));
    }
    Ok(changed(text.as_bytes(), changes))
}

/// Gives the columns of a definition the names of the view's. MySQL writes `AS` behind every expression of
/// a definition, but keeps the list of `CREATE VIEW v (a, b)` elsewhere.
fn name_columns(planner: &Planner<'_>, view: &View, changes: &mut Vec<Change>) -> bool {
    let statement = &planner.statement;
    let scan = scan(planner);
    let Some(select) = scan.selects.iter().find(|select| select.body.is_none()) else { return false };
    if select.items.len() != view.columns.len() {
        return false;
    }
    for (item, column) in select.items.iter().zip(&view.columns) {
        let name = item.end.checked_sub(1).and_then(|at| statement.tokens.get(at));
        let Some((token, written)) = name.and_then(|token| Some((token, token.identifier(statement.text)?)))
        else {
            return false;
        };
        if written == *column.name {
            continue;
        }
        if item.len() < 3 || !statement.is_word(item.end - 2, "as") {
            return false;
        }
        let mut quoted = Vec::new();
        crate::sql::literal::write_identifier(&column.name, &mut quoted);
        changes.push((token.start, token.end, quoted));
    }
    true
}

/// The tokens of `keyspace.table.column` (or `.*`) that begin at `at`.
fn column_of<'a>(statement: &Statement<'a>, at: usize, keyspace: &str) -> Option<&'a [Token]> {
    let tokens = statement.tokens.get(at..at + 5)?;
    let dots = tokens[1].kind == TokenKind::Dot && tokens[3].kind == TokenKind::Dot;
    let begins = at == 0 || statement.tokens[at - 1].kind != TokenKind::Dot;
    let named = tokens[0].identifier(statement.text).is_some_and(|name| name == keyspace);
    (dots && begins && named).then_some(tokens)
}

/// The derived table that stands for a reference.
fn in_place(reference: &Reference, definition: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(definition.len() + 32);
    if reference.is_statement {
        text.extend_from_slice(b"SELECT * FROM ");
    }
    text.push(b'(');
    text.extend_from_slice(definition);
    text.push(b')');
    if !reference.has_alias {
        text.extend_from_slice(b" AS ");
        crate::sql::literal::write_identifier(&reference.table, &mut text);
    }
    text
}

/// A derived table has no keyspace: `ks.v.c` becomes `v.c`.
fn unqualify(planner: &Planner<'_>, keyspace: &str, alias: &str, changes: &mut Vec<Change>) {
    let statement = &planner.statement;
    for at in 0..statement.tokens.len() {
        let Some([qualifier, dot, table, ..]) = column_of(statement, at, keyspace) else { continue };
        if table.identifier(statement.text).is_some_and(|name| name == alias) {
            changes.push((qualifier.start, dot.end, Vec::new()));
        }
    }
}

/// The text with the changes, each place once.
fn changed(text: &[u8], mut changes: Vec<Change>) -> Vec<u8> {
    changes.sort_by_key(|(start, ..)| *start);
    changes.dedup_by_key(|(start, ..)| *start);
    let mut result = Vec::with_capacity(text.len() + 256);
    let mut at = 0;
    for (start, end, instead) in changes {
        result.extend_from_slice(&text[at..start as usize]);
        result.extend_from_slice(&instead);
        at = end as usize;
    }
    result.extend_from_slice(&text[at..]);
    result
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::key::TabletType;
    use crate::sql::LexOptions;
    use crate::vschema::{Column, ColumnSource, KeyspaceSchema, Schema, VSchema};

    fn vschema() -> VSchema {
        let declared = r#"{"keyspaces": {"one": {}, "ks": {"sharded": true,
            "vindexes": {"hash": {"type": "hash"}},
            "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}}}"#;
        let column = |name: &str| Column::from(&ColumnSource { name: name.to_owned(), ..Default::default() });
        let view =
            |text: &str, name: &str| View { columns: vec![column(name)], definition: Some(text.into()) };
        let views = BTreeMap::from([
            (
                "v".into(),
                view("select `ks`.`t`.`id` AS `id` from `ks`.`t` where (`ks`.`t`.`n` > 'a.b')", "id"),
            ),
            ("w".into(), view("select `ks`.`v`.`id` AS `id` from `ks`.`v`", "named")),
            ("hidden".into(), View::default()),
            ("back".into(), view("select 'a\\\\b' AS `a`", "a")),
        ]);
        let known = Arc::new(KeyspaceSchema { tables: BTreeMap::new(), views });
        let schema = Schema { keyspaces: BTreeMap::from([("ks".into(), known)]) };
        VSchema::from_json(declared, 1).unwrap().with_schema(Arc::new(schema), 2)
    }

    fn expanded(text: &str) -> Result<Option<String>> {
        let vschema = vschema();
        assert!(vschema.has_sharded_views());
        let context = PlanContext {
            vschema: &vschema,
            keyspace: Some("ks"),
            tablet_type: TabletType::Primary,
            destination: None,
        };
        let mut normalizer = Normalizer::new();
        normalizer.read(text.as_bytes(), LexOptions::default(), true);
        let text = expand_views(&normalizer.statement(text.as_bytes()), &context)?;
        Ok(text.map(|text| String::from_utf8(text).unwrap()))
    }

    const V: &str = "(select `t`.`id` AS `id` from `ks`.`t` where (`t`.`n` > 'a.b'))";

    #[test]
    fn definitions_take_the_place_of_names() {
        let w = format!("(select `v`.`id` AS `named` from {V} AS `v`)");
        for (text, wanted) in [
            ("select * from v where id = 3", format!("select * from {V} AS `v` where id = 3")),
            ("select ks.v.id, v.id from ks.v", format!("select v.id, v.id from {V} AS `v`")),
            ("select x.id from v x, v as y", format!("select x.id from {V} x, {V} as y")),
            ("table v", format!("SELECT * FROM {V} AS `v`")),
            ("select 1 from t where id in (select id from v)", {
                format!("select 1 from t where id in (select id from {V} AS `v`)")
            }),
            ("select * from w", format!("select * from {w} AS `w`")),
            ("vexplain plan select * from v", format!("vexplain plan select * from {V} AS `v`")),
        ] {
            assert_eq!(expanded(text).unwrap(), Some(wanted), "{text}");
        }
    }

    #[test]
    fn other_names_stay() {
        for text in [
            "select * from t",
            "select v from t",
            "with v as (select 1) select * from v",
            "select * from one.v",
            "update t set n = 1",
            "desc v",
        ] {
            assert_eq!(expanded(text).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn what_would_mean_something_else_is_refused() {
        for text in ["select * from v for update", "select * from hidden"] {
            assert_eq!(expanded(text).unwrap_err().code(), 1235, "{text}");
        }
        assert!(expanded("select * from back").unwrap().is_some());
    }
}
