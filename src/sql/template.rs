//! What text does a shard get?
//!
//! A template is the client's own text cut at known places. It is rendered once per shard, on the
//! hot path: nothing is allocated but the growth of the output.

use std::ops::Range;

use bytes::Bytes;

use super::literal;
use super::normalize::Statement;
use super::operand::{Bindings, Operand};
use super::token::TokenKind;
use crate::error::{Result, SqlError};
use crate::value::Value;

/// One piece of a statement to a shard.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Text as it is.
    Text(Bytes),
    /// The comments in front of the statement, as the client wrote them.
    Leading,
    /// The comments behind the statement, as the client wrote them.
    Trailing,
    /// The n-th normalised literal, as the client wrote it.
    Literal(u32),
    /// The n-th normalised literal as a part of a quoted identifier: titles of columns.
    TitleLiteral(u32),
    /// The n-th `?`. Stays a `?` where the shard's statement is prepared; else the value, quoted.
    Param(u32),
    /// The n-th generated sequence value.
    Generated(u32),
    /// The quoted name of the shard's physical database.
    Schema,
    /// The name of the shard's physical database as a string.
    SchemaString,
    /// The title that SHOW TABLES gives its column there, as an identifier.
    TablesInSchema,
    /// A `?` that is compared with schemas' names: the keyspace's own name becomes the physical
    /// database's. Another keyspace's cannot be asked for here.
    SchemaParam {
        /// Which `?`.
        index: u32,
        /// The names of all keyspaces.
        keyspaces: std::sync::Arc<[std::sync::Arc<str>]>,
    },
    /// The values of the routing's IN list that belong to this shard, comma separated.
    InList,
    /// The rows of the INSERT that belong to this shard, comma separated.
    Rows,
    /// `LAST_INSERT_ID()` of the session, as a number.
    LastInsertId,
    /// The session's selected database as a quoted string, or NULL.
    Database,
    /// The gate's connection id.
    ConnectionId,
    /// The client's user as `name@host`, a quoted string.
    User,
    /// `ROW_COUNT()` of the session.
    RowCount,
    /// `FOUND_ROWS()` of the session.
    FoundRows,
    /// The user variable of this name (lower case), as a literal.
    UserVariable(Box<str>),
    /// A system variable that the gate owns, as a literal.
    SystemVariable(Box<str>),
    /// A number that the plan computes from operands at run time: limit + offset, for a scatter.
    LimitPlusOffset,
}

/// A statement with holes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Template {
    /// The pieces, in order. Neighbouring texts are merged.
    pub pieces: Box<[Piece]>,
}

/// What a session lends to a statement.
pub trait SessionValues {
    /// `LAST_INSERT_ID()`.
    fn last_insert_id(&self) -> u64;
    /// The selected database, if any.
    fn database(&self) -> Option<&str>;
    /// `CONNECTION_ID()`.
    fn connection_id(&self) -> u64;
    /// `USER()`: the client's user and host.
    fn user(&self) -> &str;
    /// `ROW_COUNT()`.
    fn row_count(&self) -> i64;
    /// `FOUND_ROWS()`.
    fn found_rows(&self) -> u64;
    /// The user variable of this name (lower case); NULL where it was never set.
    fn user_variable(&self, name: &str) -> Value;
    /// A system variable that the gate owns (lower case, without scope).
    fn system_variable(&self, name: &str) -> Value;
}

/// What one shard adds to a template.
#[derive(Clone, Copy)]
pub struct ShardText<'a> {
    /// The shard's physical database.
    pub schema: &'a str,
    /// The shard's keyspace.
    pub keyspace: &'a str,
    /// The routing's IN list and the indexes of the values that belong to the shard.
    pub in_list: (&'a [Operand], &'a [u32]),
    /// The INSERT's rows and the indexes of those that belong to the shard.
    pub rows: (&'a [Template], &'a [u32]),
    /// limit + offset, where the plan has a LIMIT over several shards.
    pub limit: u64,
    /// Parameters stay `?`: the text is going to be prepared.
    pub keep_params: bool,
    /// The session's own values.
    pub session: &'a (dyn SessionValues + Sync),
}

/// Collects the places at which a text is cut.
#[derive(Debug, Clone, Default)]
pub struct Edits {
    replaced: Vec<(Range<u32>, Vec<Piece>)>,
}

/// Builds the pieces of a template, merging neighbouring texts.
#[derive(Debug, Clone, Default)]
pub struct PieceList {
    pieces: Vec<Piece>,
    text: Vec<u8>,
}

// === impl Template ===

impl Template {
    /// Text without holes.
    #[must_use]
    pub fn from_text(text: impl Into<Bytes>) -> Self {
        Self { pieces: Box::new([Piece::Text(text.into())]) }
    }

    /// Appends the text for one shard.
    ///
    /// # Errors
    /// 1210 where a parameter or generated value is missing.
    pub fn render(&self, bindings: &Bindings<'_>, shard: &ShardText<'_>, out: &mut Vec<u8>) -> Result<()> {
        for piece in &self.pieces {
            piece.render(bindings, shard, out)?;
        }
        Ok(())
    }

    /// Whether the text may be prepared with its `?` in place and executed with the client's own
    /// parameters: every one of the `params` parameters stands in it once and in order, and no piece
    /// depends on their values.
    #[must_use]
    pub fn is_preparable(&self, params: usize) -> bool {
        let mut next = 0;
        for piece in &self.pieces {
            match piece {
                Piece::Param(index) if *index as usize == next => next += 1,
                Piece::Param(_)
                | Piece::SchemaParam { .. }
                | Piece::InList
                | Piece::Rows
                | Piece::LimitPlusOffset => return false,
                _ => {}
            }
        }
        next == params
    }

    /// Which parameters stand in the text, in its order, if it can be prepared on a shard with them but
    /// not as [`Self::is_preparable`] says: some stand in columns that were added, too.
    #[must_use]
    pub fn parameters(&self) -> Option<Vec<u32>> {
        let mut order = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Param(index) => order.push(*index),
                Piece::Rows => return None,
                _ => {}
            }
        }
        Some(order)
    }

    /// Whether the text depends on the session that runs it.
    #[must_use]
    pub fn reads_session(&self) -> bool {
        self.pieces.iter().any(|piece| {
            matches!(
                piece,
                Piece::LastInsertId
                    | Piece::Database
                    | Piece::ConnectionId
                    | Piece::User
                    | Piece::RowCount
                    | Piece::FoundRows
                    | Piece::UserVariable(_)
                    | Piece::SystemVariable(_)
            )
        })
    }
}

// === impl Piece ===

impl Piece {
    /// Text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn render(&self, bindings: &Bindings<'_>, shard: &ShardText<'_>, out: &mut Vec<u8>) -> Result<()> {
        let escapes = bindings.writing;
        match self {
            Self::Text(text) => out.extend_from_slice(text),
            Self::Leading => {
                out.extend_from_slice(bindings.text.get(..bindings.body.0 as usize).unwrap_or_default());
            }
            Self::Trailing => trailing(bindings, out),
            Self::Literal(index) => render_operand(&Operand::Literal(*index), bindings, out)?,
            Self::TitleLiteral(index) => {
                let literal = bindings.literals.get(*index as usize);
                let text = literal.map(|literal| literal.text(bindings.text)).unwrap_or_default();
                for &byte in text {
                    out.push(byte);
                    if byte == b'`' {
                        out.push(byte);
                    }
                }
            }
            Self::Param(_) if shard.keep_params => out.push(b'?'),
            Self::Param(index) => render_operand(&Operand::Param(*index), bindings, out)?,
            Self::Generated(index) => render_operand(&Operand::Generated(*index), bindings, out)?,
            Self::Schema => literal::write_identifier(shard.schema, out),
            Self::TablesInSchema => literal::write_identifier(&format!("Tables_in_{}", shard.schema), out),
            Self::SchemaString => literal::write_string(shard.schema.as_bytes(), escapes, out),
            Self::SchemaParam { index, keyspaces } => {
                let value = bindings.value(&Operand::Param(*index))?;
                let name = value.text().map(|text| String::from_utf8_lossy(&text).into_owned());
                match name.filter(|name| keyspaces.iter().any(|own| **own == **name)) {
                    Some(name) if name == shard.keyspace => {
                        literal::write_string(shard.schema.as_bytes(), escapes, out);
                    }
                    Some(_) => {
                        return Err(SqlError::unsupported(
                            "another keyspace as a parameter of information_schema",
                        ));
                    }
                    None => literal::write(&value, escapes, out),
                }
            }
            Self::InList => {
                let (values, own) = shard.in_list;
                for (position, &index) in own.iter().enumerate() {
                    if position > 0 {
                        out.extend_from_slice(b", ");
                    }
                    let value = values.get(index as usize).ok_or_else(|| SqlError::bug("IN list index"))?;
                    render_operand(value, bindings, out)?;
                }
                if own.is_empty() {
                    // The one shard that answers for the metadata alone.
                    out.extend_from_slice(b"NULL");
                }
            }
            Self::Rows => {
                let (rows, own) = shard.rows;
                for (position, &index) in own.iter().enumerate() {
                    if position > 0 {
                        out.extend_from_slice(b", ");
                    }
                    let row = rows.get(index as usize).ok_or_else(|| SqlError::bug("row index"))?;
                    row.render(bindings, shard, out)?;
                }
            }
            // CAST makes the type of the function that it stands for: BIGINT, whatever the digits.
            Self::LastInsertId => {
                out.extend_from_slice(
                    format!("CAST({} AS UNSIGNED)", shard.session.last_insert_id()).as_bytes(),
                );
            }
            Self::ConnectionId => number(out, shard.session.connection_id()),
            Self::User => {
                literal::write_string(shard.session.user().as_bytes(), escapes, out);
            }
            Self::FoundRows => {
                out.extend_from_slice(format!("CAST({} AS SIGNED)", shard.session.found_rows()).as_bytes());
            }
            Self::LimitPlusOffset => number(out, shard.limit),
            Self::RowCount => {
                out.extend_from_slice(format!("CAST({} AS SIGNED)", shard.session.row_count()).as_bytes());
            }
            Self::Database => match shard.session.database() {
                Some(name) => literal::write_string(name.as_bytes(), escapes, out),
                None => out.extend_from_slice(b"NULL"),
            },
            Self::UserVariable(name) => {
                literal::write_user_variable(&shard.session.user_variable(name), escapes, out);
            }
            Self::SystemVariable(name) => {
                literal::write(&shard.session.system_variable(name), escapes, out);
            }
        }
        Ok(())
    }
}

/// The comments behind the statement, without semicolons.
fn trailing(bindings: &Bindings<'_>, out: &mut Vec<u8>) {
    let rest = bindings.text.get(bindings.body.1 as usize..).unwrap_or_default();
    let rest = rest.trim_ascii_end();
    // An open line comment would swallow nothing: the statement ends with it.
    if rest.starts_with(b";") {
        let after = rest.iter().position(|&byte| byte != b';' && !byte.is_ascii_whitespace());
        if let Some(after) = after {
            out.push(b' ');
            out.extend_from_slice(&rest[after..]);
        }
    } else if !rest.contains(&b';') {
        out.extend_from_slice(rest);
    }
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(number.to_string().as_bytes());
}

fn render_operand(operand: &Operand, bindings: &Bindings<'_>, out: &mut Vec<u8>) -> Result<()> {
    match operand {
        Operand::Literal(index) => {
            let literal = bindings.literals.get(*index as usize);
            let literal = literal.ok_or_else(|| SqlError::wrong_arguments("EXECUTE"))?;
            out.extend_from_slice(literal.text(bindings.text));
        }
        Operand::Negated(inner) => {
            out.push(b'-');
            render_operand(inner, bindings, out)?;
        }
        other => literal::write(&bindings.value(other)?, bindings.writing, out),
    }
    Ok(())
}

// === impl Edits ===

impl Edits {
    /// Puts pieces in the place of a byte range; an empty range inserts. The order of calls does not
    /// matter, except between insertions at the same place, which keep it.
    pub fn replace(&mut self, range: Range<u32>, pieces: Vec<Piece>) {
        self.replaced.push((range, pieces));
    }

    /// Whether a range inside this one was named.
    #[must_use]
    pub fn touches(&self, range: &Range<u32>) -> bool {
        self.replaced.iter().any(|(own, _)| own.start >= range.start && own.end <= range.end)
    }

    /// As [`Self::replace`], in the place of what was to be done inside the range before.
    pub fn supersede(&mut self, range: Range<u32>, pieces: Vec<Piece>) {
        self.replaced.retain(|(own, _)| own.start < range.start || own.end > range.end);
        self.replace(range, pieces);
    }

    /// Whether any range was named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.replaced.is_empty()
    }

    /// The template of the whole statement, with the comments around it.
    #[must_use]
    pub fn template(&self, statement: &Statement<'_>) -> Template {
        let mut list = PieceList::default();
        // Also where this statement has no comments: others of the same key may have some.
        list.push(Piece::Leading);
        self.write(statement, statement.body.0..statement.body.1, &mut list);
        list.push(Piece::Trailing);
        list.finish()
    }

    /// The template of a part of the statement.
    #[must_use]
    pub fn part(&self, statement: &Statement<'_>, range: Range<u32>) -> Template {
        let mut list = PieceList::default();
        self.write(statement, range, &mut list);
        list.finish()
    }

    /// Appends a part of the statement, with all edits inside it. Ranges inside a replaced range are
    /// ignored.
    pub fn write(&self, statement: &Statement<'_>, range: Range<u32>, list: &mut PieceList) {
        let inside =
            |edit: &&(Range<u32>, Vec<Piece>)| edit.0.start >= range.start && edit.0.end <= range.end;
        let mut edits: Vec<_> = self.replaced.iter().filter(inside).collect();
        edits.sort_by_key(|edit| (edit.0.start, edit.0.end));
        let mut at = range.start;
        for (place, pieces) in edits {
            if place.start < at {
                continue;
            }
            raw(statement, at..place.start, list);
            for piece in pieces {
                list.push(piece.clone());
            }
            at = place.end;
        }
        raw(statement, at..range.end, list);
    }
}

/// The statement's own text, cut at its literals and parameters.
fn raw(statement: &Statement<'_>, range: Range<u32>, list: &mut PieceList) {
    let first = statement.tokens.partition_point(|token| token.start < range.start);
    let mut at = range.start;
    for token in statement.tokens.iter().skip(first).take_while(|token| token.end <= range.end) {
        let piece = if token.kind == TokenKind::Param {
            Piece::Param(statement.param_at(token.start))
        } else if let Some(index) =
            token.kind.is_literal().then(|| statement.literal_at(token.start)).flatten()
        {
            Piece::Literal(index)
        } else {
            continue;
        };
        list.push_text(statement.text.get(at as usize..token.start as usize).unwrap_or_default());
        list.push(piece);
        at = token.end;
    }
    list.push_text(statement.text.get(at as usize..range.end as usize).unwrap_or_default());
}

// === impl PieceList ===

impl PieceList {
    /// Appends text.
    pub fn push_text(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }

    /// Appends a piece.
    pub fn push(&mut self, piece: Piece) {
        if let Piece::Text(text) = piece {
            self.text.extend_from_slice(&text);
            return;
        }
        self.flush();
        self.pieces.push(piece);
    }

    /// The pieces.
    #[must_use]
    pub fn into_pieces(mut self) -> Vec<Piece> {
        self.flush();
        self.pieces
    }

    /// The template.
    #[must_use]
    pub fn finish(mut self) -> Template {
        self.flush();
        Template { pieces: self.pieces.into_boxed_slice() }
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.pieces.push(Piece::Text(std::mem::take(&mut self.text).into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lex::LexOptions;
    use super::super::normalize::Normalizer;
    use super::*;

    struct Nobody;

    impl SessionValues for Nobody {
        fn last_insert_id(&self) -> u64 {
            42
        }
        fn database(&self) -> Option<&str> {
            None
        }
        fn connection_id(&self) -> u64 {
            7
        }
        fn user(&self) -> &'static str {
            "u@h"
        }
        fn row_count(&self) -> i64 {
            -1
        }
        fn found_rows(&self) -> u64 {
            3
        }
        fn user_variable(&self, name: &str) -> Value {
            Value::Text(Bytes::copy_from_slice(name.as_bytes()))
        }
        fn system_variable(&self, _: &str) -> Value {
            Value::Int(1)
        }
    }

    fn render(text: &str, edits: &Edits, params: &[Value], in_list: (&[Operand], &[u32])) -> String {
        let mut normalizer = Normalizer::new();
        normalizer.read(text.as_bytes(), LexOptions::default(), params.is_empty());
        let statement = normalizer.statement(text.as_bytes());
        let template = edits.template(&statement);
        let text = Bytes::copy_from_slice(text.as_bytes());
        let bindings = Bindings {
            text: &text,
            literals: statement.literals,
            params,
            generated: &[],
            writing: crate::sql::Writing::default(),
            body: statement.body,
        };
        let shard = ShardText {
            keyspace: "",
            schema: "a`b",
            in_list,
            rows: (&[], &[]),
            limit: 9,
            keep_params: false,
            session: &Nobody,
        };
        let mut out = Vec::new();
        template.render(&bindings, &shard, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn without_edits_the_text_is_the_client_s() {
        for text in ["select 1", "/* a */ select 'x', -1 from t -- c", "insert into t values (1, 'a')"] {
            assert_eq!(render(text, &Edits::default(), &[], (&[], &[])), text);
        }
        assert_eq!(render("select 1; /* c */", &Edits::default(), &[], (&[], &[])), "select 1 /* c */");
        assert_eq!(render("select 1;", &Edits::default(), &[], (&[], &[])), "select 1");
    }

    #[test]
    fn holes_are_filled() {
        let text = "select * from ks.t where id in (1, 2, 3) and a = ?";
        let mut edits = Edits::default();
        edits.replace(32..39, vec![Piece::InList]);
        edits.replace(14..16, vec![Piece::Schema]);
        let list = [
            Operand::Param(0),
            Operand::Constant(Value::Int(5)),
            Operand::Negated(Box::new(Operand::Param(0))),
        ];
        let rendered = render(text, &edits, &[Value::Int(8)], (&list, &[0, 2]));
        assert_eq!(rendered, "select * from `a``b`.t where id in (8, -8) and a = 8");
    }

    #[test]
    fn preparable_means_every_mark_once_and_in_order() {
        let mut normalizer = Normalizer::new();
        normalizer.read(b"select ?, ?", LexOptions::default(), false);
        let statement = normalizer.statement(b"select ?, ?");
        assert!(Edits::default().template(&statement).is_preparable(2));
        assert!(!Edits::default().template(&statement).is_preparable(1));
        let mut edits = Edits::default();
        edits.replace(7..8, vec![Piece::Param(1)]);
        assert!(!edits.template(&statement).is_preparable(2));
    }
}
