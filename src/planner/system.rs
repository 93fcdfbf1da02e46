//! How is a query over `information_schema` and MySQL's other own schemas answered?
//!
//! By any shard of the keyspace that the query names, or of the selected one: the shards' schemas are
//! alike. A string that is compared with a schema's name and names a keyspace becomes the shard's
//! physical database.

use std::sync::Arc;

use super::context::Planner;
use super::scope::Analysis;
use super::{Node, Routing};
use crate::error::{Result, SqlError};
use crate::sql::{Edits, LiteralKind, Piece, TokenKind, literal};

/// Columns that hold a schema's name.
const SCHEMA_COLUMNS: &[&str] = &[
    "table_schema",
    "schema_name",
    "constraint_schema",
    "trigger_schema",
    "event_object_schema",
    "routine_schema",
    "referenced_table_schema",
    "unique_constraint_schema",
    "index_schema",
    "specific_schema",
    "event_schema",
    "object_schema",
    "db",
    "database_name",
];

pub(super) fn plan(planner: &Planner<'_>, analysis: &Analysis, mut edits: Edits) -> Result<Node> {
    let own = analysis.uses.first().map(|own| own.table.keyspace.clone());
    if analysis.uses.iter().any(|used| used.table.sharded) {
        return Err(SqlError::unsupported("joins of MySQL's own schemas with sharded tables"));
    }
    let named = schema_names(planner, &mut edits)?;
    let keyspace: Option<Arc<str>> = match (named, own) {
        (Some(named), Some(own)) if named != own => {
            return Err(SqlError::unsupported("two databases in one query of information_schema"));
        }
        (Some(keyspace), _) | (None, Some(keyspace)) => Some(keyspace),
        (None, None) => planner.keyspace().map(|name| planner.existing(name)).transpose()?,
    };
    super::qualifiers::replace_all(planner, &mut edits);
    let sharded = keyspace.as_deref().is_none_or(|keyspace| planner.is_sharded(keyspace));
    let routing = if sharded { Routing::AnyShard } else { Routing::Unsharded };
    if let Some(schema) = planner.system_schema() {
        qualify(planner, schema, &mut edits)?;
    }
    Ok(Node::Route(planner.route(keyspace, routing, &edits)))
}

/// Whether a column of MySQL's own schemas holds schemas' names.
#[must_use]
pub fn names_schemas(column: &[u8]) -> bool {
    SCHEMA_COLUMNS.iter().any(|own| column.eq_ignore_ascii_case(own.as_bytes()))
}

/// Replaces the schema names by pieces and tells the one keyspace that they name.
fn schema_names(planner: &Planner<'_>, edits: &mut Edits) -> Result<Option<Arc<str>>> {
    let statement = &planner.statement;
    let mut found: Option<Arc<str>> = None;
    for (index, token) in statement.tokens.iter().enumerate() {
        let column = token.identifier(statement.text).map(|name| name.to_ascii_lowercase());
        if !column.is_some_and(|name| SCHEMA_COLUMNS.contains(&name.as_str())) {
            continue;
        }
        for value in compared(planner, index) {
            let token = statement.tokens[value];
            if token.kind == TokenKind::Word {
                // The session's own database, which has another name on the shard.
                let Some(selected) = planner.keyspace().and_then(|name| planner.vschema().keyspace(name))
                else {
                    continue;
                };
                if found.as_ref().is_some_and(|other| other != selected.name()) {
                    return Err(SqlError::unsupported("two databases in one query of information_schema"));
                }
                found = Some(selected.name().clone());
                let end = statement.tokens.get(value + 2).map_or(token.end, |close| close.end);
                edits.supersede(token.start..end, vec![Piece::SchemaString]);
                continue;
            }
            if token.kind == TokenKind::Param {
                let keyspaces = planner.vschema().keyspaces().map(|own| own.name().clone()).collect();
                let piece = Piece::SchemaParam { index: statement.param_at(token.start), keyspaces };
                edits.replace(token.start..token.end, vec![piece]);
                continue;
            }
            let text =
                literal::read(LiteralKind::String, token.text(statement.text), statement.options.writing())?;
            let name =
                text.text().map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
            let Some(keyspace) = planner.vschema().keyspace(&name) else { continue };
            if found.as_ref().is_some_and(|other| other != keyspace.name()) {
                return Err(SqlError::unsupported("two databases in one query of information_schema"));
            }
            found = Some(keyspace.name().clone());
            edits.replace(token.start..token.end, vec![Piece::SchemaString]);
        }
    }
    Ok(found)
}

/// The strings, parameters and calls of DATABASE() that the column at `index` is compared with.
fn compared(planner: &Planner<'_>, index: usize) -> Vec<usize> {
    let statement = &planner.statement;
    let kind = |index: usize| statement.tokens.get(index).map(|token| token.kind);
    let is_string = |index: usize| {
        let own = statement.is_word(index, "database") || statement.is_word(index, "schema");
        let call =
            kind(index + 1) == Some(TokenKind::LeftParen) && kind(index + 2) == Some(TokenKind::RightParen);
        matches!(kind(index), Some(TokenKind::String | TokenKind::Param)) || own && call
    };
    let mut after = index + 1;
    // `binary table_schema = 'x'`, `upper(table_schema)` are left alone; `(table_schema = 'x')` is not.
    if matches!(kind(after), Some(TokenKind::Equal | TokenKind::NullSafeEqual))
        || statement.is_word(after, "like")
    {
        after += 1;
        return if is_string(after) { vec![after] } else { Vec::new() };
    }
    if statement.is_word(after, "in") && kind(after + 1) == Some(TokenKind::LeftParen) {
        let list = after + 2..statement.tokens.len();
        let closes = |item: usize| {
            kind(item) == Some(TokenKind::RightParen) && kind(item - 1) != Some(TokenKind::LeftParen)
        };
        return list.take_while(|&item| !closes(item)).filter(|&item| is_string(item)).collect();
    }
    if index >= 2 && kind(index - 1) == Some(TokenKind::Equal) && is_string(index - 2) {
        return vec![index - 2];
    }
    Vec::new()
}

/// Under `USE information_schema` tables have no qualifier, but a connection's own database is the
/// shard's.
fn qualify(planner: &Planner<'_>, schema: &str, edits: &mut Edits) -> Result<()> {
    let statement = &planner.statement;
    for (index, token) in statement.tokens.iter().enumerate() {
        let table_word = token.is_word(statement.text, "from") || token.is_word(statement.text, "join");
        let next = statement.tokens.get(index + 1);
        let name = next.filter(|next| matches!(next.kind, TokenKind::Word | TokenKind::Quoted));
        let qualified = statement.tokens.get(index + 2).is_some_and(|token| token.kind == TokenKind::Dot);
        if let (true, Some(name), false) = (table_word, name, qualified) {
            let comma = statement.tokens.get(index + 2).is_some_and(|token| token.kind == TokenKind::Comma);
            if comma {
                return Err(SqlError::unsupported("lists of unqualified tables of MySQL's own schemas"));
            }
            let mut prefix = Vec::new();
            literal::write_identifier(schema, &mut prefix);
            prefix.push(b'.');
            edits.replace(name.start..name.start, vec![Piece::Text(prefix.into())]);
        }
    }
    Ok(())
}
