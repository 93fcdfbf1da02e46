//! Where does a statement name its keyspace, so that the shard's physical database must stand there?
//!
//! Works on tokens alone, so that it serves statements without a tree, too.

use super::StatementKind;
use super::context::Planner;
use crate::error::{Result, SqlError};
use crate::sql::{Edits, Piece, Token, TokenKind};

/// Replaces each qualifier that is `keyspace` by the shard's database.
///
/// # Errors
/// VT12001 where another keyspace is named.
pub(super) fn replace(planner: &Planner<'_>, keyspace: &str, edits: &mut Edits) -> Result<()> {
    let named = find(planner);
    for (token, name) in named {
        if name != keyspace
            && planner.vschema().routed_keyspace(&name, planner.context.tablet_type) != keyspace
        {
            return Err(SqlError::unsupported("statements over tables of several keyspaces"));
        }
        edits.replace(token.start..token.end, vec![Piece::Schema]);
    }
    Ok(())
}

/// Replaces every qualifier: the statement's tables are known to be in one keyspace.
pub(super) fn replace_all(planner: &Planner<'_>, edits: &mut Edits) {
    for (token, _) in find(planner) {
        edits.replace(token.start..token.end, vec![Piece::Schema]);
    }
}

/// The tokens that name a keyspace of ours as a qualifier.
pub(super) fn find(planner: &Planner<'_>) -> Vec<(Token, String)> {
    let statement = &planner.statement;
    let tokens = statement.tokens;
    let mut found = Vec::new();
    let mut areas = vec![Area::Other];
    let is_ddl = matches!(
        crate::sql::classify(statement.text, tokens.get(..2).unwrap_or_default()),
        StatementKind::Ddl | StatementKind::Other | StatementKind::Show
    );
    for (index, token) in tokens.iter().enumerate() {
        let kind = |index: usize| tokens.get(index).map(|token| token.kind);
        let before = index.checked_sub(1).and_then(|before| tokens.get(before));
        let after_dot = before.is_some_and(|token| token.kind == TokenKind::Dot);
        let is_qualifier = !after_dot && kind(index + 1) == Some(TokenKind::Dot);
        if !is_qualifier {
            follow(planner, token, after_dot, is_ddl, &mut areas);
            continue;
        }
        let Some(name) = token.identifier(statement.text) else { continue };
        if !is_keyspace(planner, &name) {
            continue;
        }
        let three_parts = kind(index + 3) == Some(TokenKind::Dot);
        let is_table = areas.last() == Some(&Area::Tables);
        if three_parts || is_table || !is_also_a_table(planner, &name) {
            found.push((*token, name));
        }
    }
    found
}

/// What a name means at one depth of parentheses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Area {
    /// A table, or the alias behind one.
    Tables,
    /// Part of a join condition: a comma leads back to tables.
    Condition,
    /// A column.
    Other,
}

fn follow(planner: &Planner<'_>, token: &Token, after_dot: bool, is_ddl: bool, areas: &mut Vec<Area>) {
    let current = areas.last().copied().unwrap_or(Area::Other);
    let next = match token.kind {
        TokenKind::LeftParen => {
            areas.push(current);
            return;
        }
        TokenKind::RightParen => {
            areas.pop();
            return;
        }
        TokenKind::Comma if current == Area::Condition => Area::Tables,
        TokenKind::Word if !after_dot => {
            let word = token.text(planner.statement.text).to_ascii_lowercase();
            match word.as_slice() {
                b"from" | b"join" | b"straight_join" | b"update" | b"into" | b"delete" | b"table"
                | b"tables" | b"view" | b"references" | b"truncate" | b"call" | b"explain" | b"describe"
                | b"desc" => Area::Tables,
                b"to" | b"like" | b"on" if is_ddl => Area::Tables,
                b"on" | b"using" => Area::Condition,
                b"select" | b"where" | b"set" | b"group" | b"order" | b"having" | b"limit" | b"values"
                | b"value" | b"window" | b"for" | b"and" | b"or" | b"between" | b"in" => Area::Other,
                _ => return,
            }
        }
        _ => return,
    };
    if let Some(area) = areas.last_mut() {
        // AND and its kin end a table list only where there is none.
        let keeps = current == Area::Condition && next == Area::Other && is_connective(planner, token);
        if !keeps {
            *area = next;
        }
    }
}

fn is_connective(planner: &Planner<'_>, token: &Token) -> bool {
    ["and", "or", "between", "in"].iter().any(|word| token.is_word(planner.statement.text, word))
}

/// Whether the name stands alone somewhere, as a table or an alias.
fn is_also_a_table(planner: &Planner<'_>, name: &str) -> bool {
    let statement = &planner.statement;
    let tokens = statement.tokens;
    let is_dot = |index: usize| tokens.get(index).is_some_and(|token| token.kind == TokenKind::Dot);
    tokens.iter().enumerate().any(|(index, token)| {
        let behind_dot = index > 0 && is_dot(index - 1) && !is_qualified_table(planner, index);
        !is_dot(index + 1) && !behind_dot && token.identifier(statement.text).is_some_and(|own| own == name)
    })
}

/// Whether the name at `index`, behind a dot, may be the table of `keyspace.table`.
fn is_qualified_table(planner: &Planner<'_>, index: usize) -> bool {
    let qualifier = index.checked_sub(2).and_then(|before| planner.statement.tokens.get(before));
    let name = qualifier.and_then(|token| token.identifier(planner.statement.text));
    name.is_some_and(|name| is_keyspace(planner, &name))
}

/// Whether statements can name a keyspace so: its own name, or one that a rule leads to it.
fn is_keyspace(planner: &Planner<'_>, name: &str) -> bool {
    let vschema = planner.vschema();
    let routed = vschema.routed_keyspace(name, planner.context.tablet_type);
    vschema.keyspace(name).is_some() || vschema.keyspace(routed).is_some()
}
