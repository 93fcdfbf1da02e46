//! Which statements can share a plan?
//!
//! Hot path: one pass over the tokens into buffers that are reused; no allocation once they have
//! grown; below 2 µs for a sysbench statement.
//!
//! The key of a statement is its text without the comments around it and with every literal
//! replaced by a NUL byte and a byte for the literal's kind. What a plan depends on stays in the
//! key: positions in ORDER BY and GROUP BY, strings that are aliases, every literal of a statement
//! that is no query or change of rows, and of one over MySQL's own schemas. In a SELECT the key also
//! says which of the first sixteen literals are equal, because two tables that are pinned to equal
//! values are on the same shard.

use std::ops::Range;

use super::classify::leading_word;
use super::lex::{LexOptions, Lexer};
use super::operand::{Literal, LiteralKind};
use super::token::{Token, TokenKind};

/// How many literals of a SELECT are compared with each other.
const COMPARED: usize = 16;

/// Reads statements; keep one per session and use it again and again.
#[derive(Debug, Default)]
pub struct Normalizer {
    key: Vec<u8>,
    literals: Vec<Literal>,
    tokens: Vec<Token>,
    body: (u32, u32),
    options: LexOptions,
    params: Vec<u32>,
    second: Option<u32>,
    has_nul: bool,
    compares: bool,
}

/// A statement that has been read: its text, tokens and literals. What the planner works on.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'a> {
    /// The client's text.
    pub text: &'a [u8],
    /// Its tokens, without a trailing semicolon.
    pub tokens: &'a [Token],
    /// The literals that were taken out of the key, in order.
    pub literals: &'a [Literal],
    /// Where the statement stands in the text, without the comments around it.
    pub body: (u32, u32),
    /// How the text was cut.
    pub options: LexOptions,
    /// The byte offset of each `?`.
    pub params: &'a [u32],
    /// Whether equal literals are visible in the key.
    pub(crate) compares: bool,
}

// === impl Normalizer ===

impl Normalizer {
    /// Empty buffers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one statement. `extract` is false for a text that is being PREPAREd, and where the
    /// selected database is one of MySQL's own: then all literals stay in the key.
    pub fn read(&mut self, text: &[u8], options: LexOptions, extract: bool) {
        if !self.pass(text, options, extract) {
            self.pass(text, options, false);
        }
    }

    /// The key of the plan cache. Texts whose tokens contain a NUL byte are not
    /// [`cacheable`](Self::is_cacheable).
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// Whether the key may be looked up and stored.
    #[must_use]
    pub fn is_cacheable(&self) -> bool {
        !self.has_nul && self.second.is_none()
    }

    /// The literals that were taken out, in order.
    #[must_use]
    pub fn literals(&self) -> &[Literal] {
        &self.literals
    }

    /// Where the statement stands in the text, without the comments around it.
    #[must_use]
    pub fn body(&self) -> Range<usize> {
        self.body.0 as usize..self.body.1 as usize
    }

    /// How many `?` there are.
    #[must_use]
    pub fn params(&self) -> usize {
        self.params.len()
    }

    /// Whether the text has no token at all: an empty query, or comments only.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Where a second statement begins, if the text holds more than one.
    #[must_use]
    pub fn second_statement(&self) -> Option<usize> {
        self.second.map(|at| at as usize)
    }

    /// What the planner needs; `text` is the text that was read.
    #[must_use]
    pub fn statement<'a>(&'a self, text: &'a [u8]) -> Statement<'a> {
        Statement {
            text,
            tokens: &self.tokens,
            literals: &self.literals,
            body: self.body,
            options: self.options,
            params: &self.params,
            compares: self.compares,
        }
    }

    /// One pass; false where literals were taken out that must stay.
    fn pass(&mut self, text: &[u8], options: LexOptions, extract: bool) -> bool {
        self.key.clear();
        self.literals.clear();
        self.tokens.clear();
        self.options = options;
        self.params.clear();
        self.second = None;
        self.has_nul = false;
        self.compares = false;

        let mut lexer = Lexer::new(text, options);
        let mut extract = extract;
        let mut verb_seen = false;
        let mut positions = Positions::default();
        let mut copied = None;
        let mut semicolon = false;
        while let Some(token) = lexer.next_token() {
            if token.kind == TokenKind::Semicolon {
                semicolon = true;
                continue;
            }
            if semicolon && self.second.is_none() && !self.tokens.is_empty() {
                self.second = Some(token.start);
            }
            semicolon = false;
            let from = *copied.get_or_insert(lexer.body().0 as usize);
            if !verb_seen && token.kind != TokenKind::LeftParen {
                verb_seen = true;
                let verb = leading_word(text, &token);
                extract &= verb.takes_literals();
                self.compares = extract && verb.is_query();
            }
            if token.kind == TokenKind::Param {
                self.params.push(token.start);
            }
            if extract && token.kind == TokenKind::Dot && self.after_system_schema(text) {
                return false;
            }
            let stays = positions.observe(text, &token, self.tokens.last());
            if extract && !stays && token.kind.is_literal() && !self.is_alias(text, &token) {
                self.copy(text, from..token.start as usize);
                self.take(text, &token);
                copied = Some(token.end as usize);
            }
            self.tokens.push(token);
        }
        self.body = lexer.body();
        if let Some(from) = copied {
            self.copy(text, from..self.body.1 as usize);
        }
        true
    }

    fn copy(&mut self, text: &[u8], range: Range<usize>) {
        let part = text.get(range).unwrap_or_default();
        self.has_nul |= part.contains(&0);
        self.key.extend_from_slice(part);
    }

    fn take(&mut self, text: &[u8], token: &Token) {
        let Some(kind) = literal_kind(token.kind) else { return };
        let literal = Literal { kind, start: token.start, end: token.end };
        let equal = if self.compares && self.literals.len() < COMPARED {
            let bytes = token.text(text);
            self.literals.iter().position(|other| other.kind == kind && other.text(text) == bytes)
        } else {
            None
        };
        let equal = equal.map_or(0, |index| u8::try_from(index + 1).unwrap_or(0));
        self.key.extend_from_slice(&[0, kind as u8, equal]);
        self.literals.push(literal);
    }

    fn after_system_schema(&self, text: &[u8]) -> bool {
        self.tokens.last().is_some_and(|token| is_system_schema(token.text(text)))
    }

    /// A string behind a name, a closing parenthesis or AS is an alias, and part of the plan.
    fn is_alias(&self, text: &[u8], token: &Token) -> bool {
        if token.kind != TokenKind::String {
            return false;
        }
        match self.tokens.last() {
            Some(previous) if previous.kind == TokenKind::Word => !precedes_expression(previous.text(text)),
            Some(previous) => {
                previous.kind.is_literal()
                    || matches!(
                        previous.kind,
                        TokenKind::Quoted
                            | TokenKind::RightParen
                            | TokenKind::Param
                            | TokenKind::UserVariable
                            | TokenKind::SystemVariable
                    )
            }
            None => false,
        }
    }
}

// === impl Statement ===

impl Statement<'_> {
    /// Whether two extracted literals are known to be equal in every statement of the same key.
    #[must_use]
    pub fn equal_literals(&self, one: u32, other: u32) -> bool {
        let (first, second) = (one as usize, other as usize);
        if first == second {
            return true;
        }
        if !self.compares || first >= COMPARED || second >= COMPARED {
            return false;
        }
        match (self.literals.get(first), self.literals.get(second)) {
            (Some(a), Some(b)) => a.kind == b.kind && a.text(self.text) == b.text(self.text),
            _ => false,
        }
    }

    /// The index of the extracted literal that begins at this byte.
    #[must_use]
    pub fn literal_at(&self, start: u32) -> Option<u32> {
        let found = self.literals.binary_search_by_key(&start, |literal| literal.start).ok()?;
        u32::try_from(found).ok()
    }

    /// The number of the `?` that begins at this byte.
    #[must_use]
    pub fn param_at(&self, start: u32) -> u32 {
        let count = self.params.partition_point(|&param| param < start);
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The index of the token that begins at this byte.
    #[must_use]
    pub fn token_at(&self, start: u32) -> Option<usize> {
        self.tokens.binary_search_by_key(&start, |token| token.start).ok()
    }

    /// Whether the token at `index` is this unquoted word.
    #[must_use]
    pub fn is_word(&self, index: usize, word: &str) -> bool {
        self.tokens.get(index).is_some_and(|token| token.is_word(self.text, word))
    }
}

/// Finds the numbers that are positions of a select list.
#[derive(Debug, Default)]
struct Positions {
    depth: u32,
    /// The depths at which a BY list is open.
    lists: u64,
}

impl Positions {
    /// Whether this token is a position. Deeper than 63 parentheses nothing is taken for one.
    fn observe(&mut self, text: &[u8], token: &Token, previous: Option<&Token>) -> bool {
        let bit = 1_u64.checked_shl(self.depth).unwrap_or(0);
        match token.kind {
            TokenKind::LeftParen => {
                self.depth += 1;
                self.lists &= !1_u64.checked_shl(self.depth).unwrap_or(0);
            }
            TokenKind::RightParen => {
                self.lists &= !bit;
                self.depth = self.depth.saturating_sub(1);
            }
            TokenKind::Word => {
                let word = token.text(text);
                if word.len() == 2 && word.eq_ignore_ascii_case(b"by") {
                    self.lists |= bit;
                } else if self.lists & bit != 0
                    && matches!(word.len(), 3..=9)
                    && [&b"limit"[..], b"having", b"for", b"union", b"with", b"rows", b"range", b"separator"]
                        .iter()
                        .any(|end| word.eq_ignore_ascii_case(end))
                {
                    self.lists &= !bit;
                }
            }
            TokenKind::Integer if self.lists & bit != 0 => {
                return previous.is_some_and(|previous| {
                    previous.kind == TokenKind::Comma || previous.is_word(text, "by")
                });
            }
            _ => {}
        }
        false
    }
}

pub(crate) fn literal_kind(kind: TokenKind) -> Option<LiteralKind> {
    Some(match kind {
        TokenKind::Integer => LiteralKind::Integer,
        TokenKind::Decimal => LiteralKind::Decimal,
        TokenKind::Float => LiteralKind::Float,
        TokenKind::String => LiteralKind::String,
        TokenKind::Hex => LiteralKind::Hex,
        TokenKind::Bit => LiteralKind::Bit,
        _ => return None,
    })
}

/// Whether this is one of MySQL's own databases, in any case and quoting.
#[must_use]
pub fn is_system_schema(name: &[u8]) -> bool {
    let name = name.strip_prefix(b"`").and_then(|name| name.strip_suffix(b"`")).unwrap_or(name);
    matches!(name.len(), 3 | 5 | 18)
        && [&b"information_schema"[..], b"performance_schema", b"mysql", b"sys"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
}

/// Words behind which a string begins an expression; behind any other it may be an alias.
fn precedes_expression(word: &[u8]) -> bool {
    const WORDS: &[&str] = &[
        "select",
        "where",
        "and",
        "or",
        "not",
        "in",
        "like",
        "between",
        "then",
        "else",
        "when",
        "case",
        "on",
        "having",
        "by",
        "regexp",
        "rlike",
        "escape",
        "values",
        "value",
        "limit",
        "offset",
        "set",
        "distinct",
        "all",
        "xor",
        "div",
        "mod",
        "is",
        "using",
        "against",
        "separator",
    ];
    WORDS.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> String {
        let mut normalizer = Normalizer::new();
        normalizer.read(text.as_bytes(), LexOptions::default(), true);
        String::from_utf8_lossy(normalizer.key()).replace('\0', "@")
    }

    fn literals(text: &str) -> Vec<String> {
        let mut normalizer = Normalizer::new();
        normalizer.read(text.as_bytes(), LexOptions::default(), true);
        let texts = normalizer.literals().iter().map(|literal| literal.text(text.as_bytes()).to_vec());
        texts.map(|text| String::from_utf8_lossy(&text).into_owned()).collect()
    }

    #[test]
    fn statements_that_differ_in_literals_share_a_key() {
        assert_eq!(key("select * from t where id = 7"), key("/* a */ select * from t where id = 123; "));
        assert_eq!(literals("select 'a', 1.5, -3, x'00' from t"), ["'a'", "1.5", "3", "x'00'"]);
        assert_ne!(key("select * from t where id = 7"), key("select * from t where id = '7'"));
        assert_ne!(key("select 1"), key("select  1"));
    }

    #[test]
    fn equal_literals_show_in_the_key_of_a_query() {
        assert_ne!(
            key("select * from t where a = 1 and b = 1"),
            key("select * from t where a = 1 and b = 2")
        );
        assert_eq!(
            key("select * from t where a = 3 and b = 2"),
            key("select * from t where a = 1 and b = 2")
        );
        assert_eq!(key("insert into t values (1, 1)"), key("insert into t values (1, 2)"));
    }

    #[test]
    fn what_a_plan_depends_on_stays() {
        assert_eq!(
            literals("select a from t where b = 5 group by 1, a + 2 order by 2 desc, 1 limit 3, 4"),
            ["5", "2", "3", "4"]
        );
        assert_eq!(literals("select a 'x', b as 'y', 'z' from t"), ["'z'"]);
        assert!(literals("set @x = 1").is_empty());
        assert!(literals("show tables like 'x'").is_empty());
        assert!(literals("select 1 from information_schema.tables where table_schema = 'a'").is_empty());
        assert!(literals("select 1 from `mysql` . user where 1 = 1").is_empty());
        assert_eq!(
            literals("select max(a) from (select b from t order by 1) x where b in (1, 2)"),
            ["1", "2"]
        );
    }

    #[test]
    fn more_than_one_statement_is_seen() {
        let mut normalizer = Normalizer::new();
        normalizer.read(b"select 1; select 2", LexOptions::default(), true);
        assert_eq!(normalizer.second_statement(), Some(10));
        normalizer.read(b"select 1;; -- x", LexOptions::default(), true);
        assert_eq!(normalizer.second_statement(), None);
        assert!(normalizer.is_cacheable());
        normalizer.read(b"select \0 1", LexOptions::default(), true);
        assert!(!normalizer.is_cacheable());
        normalizer.read(b"-- x", LexOptions::default(), true);
        assert!(normalizer.is_empty());
    }

    proptest::proptest! {
        /// Putting the literals back into the key gives the statement.
        #[test]
        fn a_key_and_its_literals_make_the_text(text in "(select|insert|set) [a-z0-9'\".,()= ]{0,60}") {
            let mut normalizer = Normalizer::new();
            normalizer.read(text.as_bytes(), LexOptions::default(), true);
            let mut literals = normalizer.literals().iter();
            let mut rebuilt = Vec::new();
            let mut key = normalizer.key().iter();
            while let Some(&byte) = key.next() {
                if byte == 0 {
                    key.next();
                    key.next();
                    rebuilt.extend_from_slice(literals.next().unwrap().text(text.as_bytes()));
                } else {
                    rebuilt.push(byte);
                }
            }
            assert_eq!(rebuilt, &text.as_bytes()[normalizer.body()]);
        }
    }
}
