//! Which functions and variables of a statement are the session's own, and must be written into the
//! text that a shard gets?
//!
//! A backend connection serves many sessions, so that `LAST_INSERT_ID()`, `@x` or `@@autocommit` mean
//! nothing there. They become pieces of the template; where one stands in a select list without an
//! alias, the item gets its own text as the alias, so that the column keeps its name.

use super::context::Planner;
use crate::sql::{Edits, Piece, Statement, Token, TokenKind};

/// The system variables that the gate answers itself (session scope), lower case. What is not here
/// is answered by a server on a connection with the session's settings.
pub const GATE_VARIABLES: &[&str] = &[
    "autocommit",
    "client_found_rows",
    "ddl_strategy",
    "enable_system_settings",
    "error_count",
    "interactive_timeout",
    "migration_context",
    "query_timeout",
    "read_after_write_gtid",
    "read_after_write_timeout",
    "session_track_gtids",
    "session_track_schema",
    "session_track_state_change",
    "session_track_system_variables",
    "session_track_transaction_info",
    "session_uuid",
    "skip_query_plan_cache",
    // Clients that read a server's socket here connect to it the next time, past the gate.
    "socket",
    "sql_select_limit",
    "completion_type",
    "transaction_mode",
    "transaction_timeout",
    "wait_timeout",
    "version",
    "version_comment",
    "warning_count",
    "workload",
];

/// `@x`, `` @`x` ``, `@'x'`: the name in lower case.
pub(super) fn user_variable_name(text: &str) -> String {
    let name = text.trim_start_matches('@');
    let quoted = name.len() >= 2 && name.starts_with(['\'', '"', '`']);
    let name = if quoted { &name[1..name.len() - 1] } else { name };
    name.to_lowercase()
}

/// `@@x`, `@@session.x`, `@@global.x`: whether the scope is global, and the name in lower case.
pub(super) fn system_variable_name(text: &str) -> (bool, String) {
    let name = text.trim_start_matches('@').replace('`', "").to_ascii_lowercase();
    for (scope, global) in [
        ("global.", true),
        ("persist.", true),
        ("persist_only.", true),
        ("session.", false),
        ("local.", false),
    ] {
        if let Some(rest) = name.strip_prefix(scope) {
            return (global, rest.to_owned());
        }
    }
    (false, name)
}

/// Replaces the session's values in the whole statement.
pub(super) fn replace(planner: &Planner<'_>, edits: &mut Edits) {
    replace_in(planner, planner.statement.tokens, edits, true);
}

/// Replaces the session's values in these tokens; `names` says whether columns keep their names.
pub(super) fn replace_in(planner: &Planner<'_>, tokens: &[Token], edits: &mut Edits, names: bool) {
    let text = planner.statement.text;
    let touches = tokens.iter().any(|token| match token.kind {
        // A value that takes the place of a parameter must not name the column.
        TokenKind::UserVariable | TokenKind::SystemVariable | TokenKind::Param => true,
        TokenKind::Word => function_piece(token.text(text)).is_some(),
        _ => false,
    });
    if !touches {
        return;
    }
    let mut lists = vec![SelectList::default()];
    let mut index = 0;
    while let Some(token) = tokens.get(index) {
        let list = lists.last_mut();
        match token.kind {
            TokenKind::LeftParen => lists.push(SelectList::default()),
            TokenKind::RightParen => {
                let inner = lists.pop().unwrap_or_default();
                if inner.is_open() && names {
                    inner.close(planner, tokens, index, edits);
                }
                if lists.is_empty() {
                    lists.push(SelectList::default());
                }
                if let Some(outer) = lists.last_mut() {
                    outer.replaced |= inner.any_replaced;
                    outer.any_replaced |= inner.any_replaced;
                }
            }
            TokenKind::Comma => {
                if let Some(list) = list.filter(|list| list.is_open()) {
                    if names {
                        list.close(planner, tokens, index, edits);
                    }
                    list.item = Some(index + 1);
                    list.replaced = false;
                }
            }
            TokenKind::Word => {
                let after_dot = index > 0 && tokens[index - 1].kind == TokenKind::Dot;
                let word = token.text(text);
                if after_dot {
                } else if word.eq_ignore_ascii_case(b"select") {
                    if let Some(list) = list {
                        list.item = Some(index + 1);
                        list.replaced = false;
                    }
                } else if ends_select_list(word) {
                    if let Some(list) = list.filter(|list| list.is_open()) {
                        if names {
                            list.close(planner, tokens, index, edits);
                        }
                        list.item = None;
                    }
                } else if let Some(end) = function_call(text, tokens, index)
                    && let Some(piece) = function_piece(word)
                {
                    edits.replace(token.start..tokens[end].end, vec![piece]);
                    if let Some(list) = list {
                        list.replaced = true;
                        list.any_replaced = true;
                    }
                    index = end;
                }
            }
            TokenKind::Param => {
                if let Some(list) = list {
                    list.replaced = true;
                    list.any_replaced = true;
                }
            }
            TokenKind::UserVariable | TokenKind::SystemVariable => {
                if let Some(piece) = variable_piece(text, token) {
                    edits.replace(token.start..token.end, vec![piece]);
                    if let Some(list) = list {
                        list.replaced = true;
                        list.any_replaced = true;
                    }
                }
            }
            _ => {}
        }
        index += 1;
    }
    if let Some(list) = lists.first().filter(|list| list.is_open() && names) {
        list.close(planner, tokens, tokens.len(), edits);
    }
}

/// The select list that is being read at one depth of parentheses.
#[derive(Debug, Default)]
struct SelectList {
    /// The first token of the current item.
    item: Option<usize>,
    /// Whether something in the item was replaced.
    replaced: bool,
    /// Whether anything was replaced at this depth or deeper.
    any_replaced: bool,
}

impl SelectList {
    fn is_open(&self) -> bool {
        self.item.is_some()
    }

    /// Gives the item that ends before `end` an alias where it needs one.
    fn close(&self, planner: &Planner<'_>, tokens: &[Token], end: usize, edits: &mut Edits) {
        let Some(item) = self.item.filter(|_| self.replaced).and_then(|start| tokens.get(start..end)) else {
            return;
        };
        give_alias(&planner.statement, skip_modifiers(planner.statement.text, item), edits);
    }
}

/// Gives an item of a select list its own text as an alias, where it has none.
pub(super) fn give_alias(statement: &Statement<'_>, item: &[Token], edits: &mut Edits) {
    let text = statement.text;
    let (Some(first), Some(last)) = (item.first(), item.last()) else { return };
    if has_alias(text, item) {
        return;
    }
    let name = String::from_utf8_lossy(&text[first.start as usize..last.end as usize]);
    if name.chars().count() > 255 {
        return;
    }
    // The plan serves statements with other literals, too.
    let mut alias = vec![Piece::text(" AS `")];
    let mut at = first.start;
    let part = |from: u32, to: u32| {
        Piece::text(&String::from_utf8_lossy(&text[from as usize..to as usize]).replace('`', "``"))
    };
    for token in item {
        if let Some(index) = statement.literal_at(token.start) {
            alias.push(part(at, token.start));
            alias.push(Piece::TitleLiteral(index));
            at = token.end;
        }
    }
    alias.push(part(at, last.end));
    alias.push(Piece::text("`"));
    edits.replace(last.end..last.end, alias);
}

pub(super) fn skip_modifiers<'t>(text: &[u8], mut item: &'t [Token]) -> &'t [Token] {
    while let Some((first, rest)) = item.split_first() {
        let modifier = [
            "distinct",
            "all",
            "distinctrow",
            "sql_no_cache",
            "sql_calc_found_rows",
            "high_priority",
            "straight_join",
        ];
        if !modifier.iter().any(|word| first.is_word(text, word)) {
            break;
        }
        item = rest;
    }
    item
}

fn has_alias(text: &[u8], item: &[Token]) -> bool {
    let [.., before, last] = item else { return false };
    if before.is_word(text, "as") {
        return true;
    }
    let names = matches!(last.kind, TokenKind::Word | TokenKind::Quoted | TokenKind::String)
        && !last.is_word(text, "end");
    let operand = before.kind.is_literal()
        || matches!(
            before.kind,
            TokenKind::RightParen
                | TokenKind::Quoted
                | TokenKind::UserVariable
                | TokenKind::SystemVariable
                | TokenKind::Param
        );
    names && operand
}

fn ends_select_list(word: &[u8]) -> bool {
    [
        &b"from"[..],
        b"limit",
        b"where",
        b"order",
        b"group",
        b"having",
        b"union",
        b"into",
        b"except",
        b"intersect",
    ]
    .iter()
    .any(|end| word.eq_ignore_ascii_case(end))
        || word.eq_ignore_ascii_case(b"for")
}

/// The index of the closing parenthesis of a call without arguments.
fn function_call(text: &[u8], tokens: &[Token], index: usize) -> Option<usize> {
    let _ = text;
    let open = tokens.get(index + 1)?.kind == TokenKind::LeftParen;
    let close = tokens.get(index + 2)?.kind == TokenKind::RightParen;
    (open && close).then_some(index + 2)
}

fn function_piece(word: &[u8]) -> Option<Piece> {
    let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    match word.len() {
        4 if is("user") => Some(Piece::User),
        6 if is("schema") => Some(Piece::Database),
        7 if is("version") => Some(Piece::SystemVariable("version".into())),
        8 if is("database") => Some(Piece::Database),
        9 if is("row_count") => Some(Piece::RowCount),
        10 if is("found_rows") => Some(Piece::FoundRows),
        11 if is("system_user") => Some(Piece::User),
        12 if is("session_user") || is("current_user") => Some(Piece::User),
        13 if is("connection_id") => Some(Piece::ConnectionId),
        14 if is("last_insert_id") => Some(Piece::LastInsertId),
        _ => None,
    }
}

fn variable_piece(text: &[u8], token: &Token) -> Option<Piece> {
    let name = String::from_utf8_lossy(token.text(text));
    if token.kind == TokenKind::UserVariable {
        return Some(Piece::UserVariable(user_variable_name(&name).into()));
    }
    let (global, name) = system_variable_name(&name);
    match name.as_str() {
        "version" | "version_comment" | "socket" => Some(Piece::SystemVariable(name.into())),
        _ if global => None,
        "last_insert_id" | "identity" => Some(Piece::LastInsertId),
        "pseudo_thread_id" => Some(Piece::ConnectionId),
        known if GATE_VARIABLES.contains(&known) => Some(Piece::SystemVariable(name.into())),
        _ => None,
    }
}
