//! Where do the table, the columns and the rows of an INSERT stand?

use std::sync::Arc;

use super::clauses::Run;
use super::context::{Cursor, Planner};
use crate::error::{Result, SqlError};
use crate::sql::{Token, TokenKind};
use crate::vschema::Table;

/// An INSERT cut into its parts; ranges are of tokens.
pub(super) struct Parts {
    pub(super) table: Arc<Table>,
    /// The name's own bytes.
    pub(super) table_token: Token,
    /// The column list, if given, and where its closing parenthesis is.
    pub(super) columns: Option<Vec<String>>,
    pub(super) columns_close: Option<usize>,
    pub(super) source: Source,
    pub(super) ignores: bool,
    /// The first token behind the rows.
    pub(super) tail: usize,
}

pub(super) enum Source {
    /// VALUES: for each row the values' token ranges, with the range of all rows.
    Rows { rows: Vec<Vec<Run>>, first: usize },
    /// SET: column, value.
    Set { values: Vec<Run>, first: usize },
    /// INSERT … SELECT.
    Select { first: usize },
}

// === impl Parts ===

impl Parts {
    pub(super) fn read(planner: &Planner<'_>) -> Result<Self> {
        let mut cursor = planner.cursor();
        let replace = cursor.eat(&["replace"]);
        if !replace && !cursor.eat(&["insert"]) {
            return Err(SqlError::unsupported("WITH in INSERT"));
        }
        let mut ignores = false;
        loop {
            let ignore = cursor.eat(&["ignore"]);
            ignores |= ignore;
            if !ignore && !cursor.eat_any(&["low_priority", "delayed", "high_priority"]) {
                break;
            }
        }
        cursor.eat(&["into"]);
        let error = cursor.error();
        let (qualifier, name) = cursor.table_name().ok_or(error)?;
        let text = planner.statement.text;
        let qualifier = qualifier.and_then(|token| token.identifier(text));
        let table = planner.resolve(qualifier.as_deref(), &name.identifier(text).unwrap_or_default())?;
        let table = writable(planner, table);
        if cursor.eat(&["partition"]) {
            cursor.at = cursor.matching();
        }
        let (columns, columns_close) = Self::columns(&mut cursor)?;
        let (source, tail) = if cursor.eat_any(&["values", "value"]) {
            Self::rows(&mut cursor)?
        } else if columns.is_none() && cursor.eat(&["set"]) {
            return Self::set(planner, cursor, table, name, ignores);
        } else if cursor.is("select")
            || cursor.is("with")
            || cursor.is("table")
            || cursor.kind() == Some(TokenKind::LeftParen)
        {
            (Source::Select { first: cursor.at }, planner.statement.tokens.len())
        } else {
            return Err(cursor.error());
        };
        Ok(Self { table, table_token: name, columns, columns_close, source, ignores, tail })
    }

    fn columns(cursor: &mut Cursor<'_>) -> Result<(Option<Vec<String>>, Option<usize>)> {
        let next = cursor.at + 1;
        let is_query = ["select", "with"].iter().any(|word| cursor.statement.is_word(next, word))
            || cursor.statement.tokens.get(next).is_some_and(|token| token.kind == TokenKind::LeftParen);
        if cursor.kind() != Some(TokenKind::LeftParen) || is_query {
            return Ok((None, None));
        }
        cursor.at += 1;
        let mut columns = Vec::new();
        while cursor.kind() != Some(TokenKind::RightParen) {
            columns.push(column_name(cursor)?);
            if !cursor.eat_kind(TokenKind::Comma) && cursor.kind() != Some(TokenKind::RightParen) {
                return Err(cursor.error());
            }
        }
        let close = cursor.at;
        cursor.at += 1;
        Ok((Some(columns), Some(close)))
    }

    fn rows(cursor: &mut Cursor<'_>) -> Result<(Source, usize)> {
        let mut rows = Vec::new();
        let first = cursor.at;
        loop {
            cursor.eat(&["row"]);
            if !cursor.eat_kind(TokenKind::LeftParen) {
                return Err(cursor.error());
            }
            let mut row = Vec::new();
            if !cursor.eat_kind(TokenKind::RightParen) {
                loop {
                    let start = cursor.at;
                    cursor.at = cursor.list_item_end();
                    if cursor.at == start {
                        return Err(cursor.error());
                    }
                    row.push((start, cursor.at));
                    if cursor.eat_kind(TokenKind::Comma) {
                        continue;
                    }
                    if !cursor.eat_kind(TokenKind::RightParen) {
                        return Err(cursor.error());
                    }
                    break;
                }
            }
            rows.push(row);
            if !cursor.eat_kind(TokenKind::Comma) {
                return Ok((Source::Rows { rows, first }, cursor.at));
            }
        }
    }

    fn set(
        planner: &Planner<'_>,
        mut cursor: Cursor<'_>,
        table: Arc<Table>,
        name: Token,
        ignores: bool,
    ) -> Result<Self> {
        let first = cursor.at - 1;
        let mut columns = Vec::new();
        let mut values = Vec::new();
        loop {
            columns.push(column_name(&mut cursor)?);
            if !cursor.eat_kind(TokenKind::Equal) && !cursor.eat_kind(TokenKind::Assign) {
                return Err(cursor.error());
            }
            let start = cursor.at;
            let end = cursor.list_item_end();
            // AS alias and ON DUPLICATE KEY UPDATE end the last value.
            let tail = tail_start(planner, start, end);
            if tail == start {
                return Err(cursor.error());
            }
            values.push((start, tail));
            cursor.at = tail;
            if tail < end || !cursor.eat_kind(TokenKind::Comma) {
                break;
            }
        }
        let tail = cursor.at;
        let source = Source::Set { values, first };
        let columns = Some(columns);
        Ok(Self { table, table_token: name, columns, columns_close: None, source, ignores, tail })
    }
}

/// A reference table with a source is written there.
fn writable(planner: &Planner<'_>, table: Arc<Table>) -> Arc<Table> {
    planner.vschema().reference_source(&table).unwrap_or(table)
}

/// `c`, `t.c` or `k.t.c`: the last part.
pub(super) fn column_name(cursor: &mut Cursor<'_>) -> Result<String> {
    let error = cursor.error();
    let mut name = cursor.identifier().ok_or(error)?;
    while cursor.eat_kind(TokenKind::Dot) {
        let error = cursor.error();
        name = cursor.identifier().ok_or(error)?;
    }
    Ok(name)
}

/// Where `AS alias` or `ON DUPLICATE` begins at depth zero.
fn tail_start(planner: &Planner<'_>, start: usize, end: usize) -> usize {
    let mut depth = 0_usize;
    for index in start..end {
        match planner.statement.tokens.get(index).map(|token| token.kind) {
            Some(TokenKind::LeftParen) => depth += 1,
            Some(TokenKind::RightParen) => depth = depth.saturating_sub(1),
            Some(TokenKind::Word) if depth == 0 => {
                let is = |ahead: usize, word: &str| planner.statement.is_word(index + ahead, word);
                if (is(0, "on") && is(1, "duplicate")) || is(0, "as") {
                    return index;
                }
            }
            _ => {}
        }
    }
    end
}
