//! Where do the clauses of a SELECT stand in its tokens?
//!
//! The tree says what a statement means, the tokens where: SELECT, FROM, WHERE, GROUP, HAVING,
//! ORDER, LIMIT, FOR, INTO and WINDOW are reserved in MySQL, so that outside parentheses they are
//! always these clauses.

use crate::sql::{Statement, Token, TokenKind};

/// A run of tokens, end excluded.
pub(super) type Run = (usize, usize);

/// The clauses of one SELECT, as token indexes.
#[derive(Debug, Clone, Default)]
pub(super) struct Clauses {
    /// DISTINCT or DISTINCTROW.
    pub(super) distinct: bool,
    /// SQL_CALC_FOUND_ROWS.
    pub(super) calc_found_rows: bool,
    /// The select list.
    pub(super) items: Vec<Run>,
    /// Where the select list ends.
    pub(super) items_end: usize,
    /// The GROUP BY list, and where the clause begins.
    pub(super) group: Vec<Run>,
    pub(super) group_at: Option<usize>,
    /// WITH ROLLUP.
    pub(super) rollup: bool,
    pub(super) having: Option<usize>,
    pub(super) window: Option<usize>,
    /// The ORDER BY list without directions, and which are descending.
    pub(super) order: Vec<(Run, bool)>,
    pub(super) order_clause: Option<Run>,
    pub(super) limit_clause: Option<Run>,
    pub(super) into: Option<usize>,
    /// Where ORDER BY and LIMIT may be put: in front of a locking clause, or at the end.
    pub(super) tail: usize,
}

/// A word that begins a clause behind the select list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opener {
    From,
    Where,
    Group,
    Having,
    Window,
    Order,
    Limit,
    Lock,
    Into,
}

/// Finds the clauses of the SELECT whose first token is at `start`.
pub(super) fn scan(statement: &Statement<'_>, start: usize) -> Clauses {
    let end = query_end(statement, start);
    let mut openers = Vec::new();
    let mut depth = 0_usize;
    for index in start..end {
        match statement.tokens[index].kind {
            TokenKind::LeftParen => depth += 1,
            TokenKind::RightParen => depth = depth.saturating_sub(1),
            TokenKind::Word if depth == 0 => {
                if let Some(opener) = opener(statement, start, index) {
                    openers.push((index, opener));
                }
            }
            _ => {}
        }
    }
    let mut clauses = Clauses { tail: end, items_end: end, ..Clauses::default() };
    for (position, &(at, opener)) in openers.iter().enumerate() {
        let stop = openers.get(position + 1).map_or(end, |next| next.0);
        clauses.place(statement, opener, (at, stop));
    }
    let items_end = openers.first().map_or(end, |first| first.0);
    let mut first = start + 1;
    while let Some(word) = modifier(statement, first) {
        clauses.distinct |= word.starts_with(b"distinct");
        clauses.calc_found_rows |= word == b"sql_calc_found_rows";
        first += 1;
    }
    clauses.items_end = items_end;
    clauses.items = split(statement, (first, items_end));
    clauses
}

/// The token that ends the query which begins at `start`: a closing parenthesis or a set operator.
fn query_end(statement: &Statement<'_>, start: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in statement.tokens.iter().enumerate().skip(start) {
        match token.kind {
            TokenKind::LeftParen => depth += 1,
            TokenKind::RightParen if depth == 0 => return index,
            TokenKind::RightParen => depth -= 1,
            TokenKind::Word if depth == 0 => {
                let set = ["union", "except", "intersect"];
                if set.iter().any(|word| token.is_word(statement.text, word)) && !behind_dot(statement, index)
                {
                    return index;
                }
            }
            _ => {}
        }
    }
    statement.tokens.len()
}

fn behind_dot(statement: &Statement<'_>, index: usize) -> bool {
    index > 0 && statement.tokens[index - 1].kind == TokenKind::Dot
}

fn opener(statement: &Statement<'_>, start: usize, index: usize) -> Option<Opener> {
    if behind_dot(statement, index) || index == start {
        return None;
    }
    let is = |word: &str| statement.is_word(index, word);
    let next = |word: &str| statement.is_word(index + 1, word);
    // An index hint: USE INDEX FOR ORDER BY (i).
    let hint = (statement.is_word(index - 1, "index") || statement.is_word(index - 1, "key")) && is("for");
    let in_hint = statement.is_word(index - 1, "for");
    Some(match () {
        () if hint || in_hint => return None,
        () if is("from") => Opener::From,
        () if is("where") => Opener::Where,
        () if is("group") && next("by") => Opener::Group,
        () if is("having") => Opener::Having,
        () if is("window") => Opener::Window,
        () if is("order") && next("by") => Opener::Order,
        () if is("limit") => Opener::Limit,
        () if is("for") && (next("update") || next("share")) => Opener::Lock,
        () if is("lock") && next("in") => Opener::Lock,
        () if is("into") => Opener::Into,
        () => return None,
    })
}

fn modifier(statement: &Statement<'_>, index: usize) -> Option<Vec<u8>> {
    let token = statement.tokens.get(index).filter(|token| token.kind == TokenKind::Word)?;
    let word = token.text(statement.text).to_ascii_lowercase();
    let known: &[&[u8]] = &[
        b"all",
        b"distinct",
        b"distinctrow",
        b"high_priority",
        b"straight_join",
        b"sql_small_result",
        b"sql_big_result",
        b"sql_buffer_result",
        b"sql_no_cache",
        b"sql_cache",
        b"sql_calc_found_rows",
    ];
    known.contains(&word.as_slice()).then_some(word)
}

/// Cuts a run at its commas outside parentheses.
pub(super) fn split(statement: &Statement<'_>, run: Run) -> Vec<Run> {
    let mut parts = Vec::new();
    let mut depth = 0_usize;
    let mut start = run.0;
    for index in run.0..run.1 {
        match statement.tokens[index].kind {
            TokenKind::LeftParen => depth += 1,
            TokenKind::RightParen => depth = depth.saturating_sub(1),
            TokenKind::Comma if depth == 0 => {
                parts.push((start, index));
                start = index + 1;
            }
            _ => {}
        }
    }
    if start < run.1 {
        parts.push((start, run.1));
    }
    parts
}

// === impl Clauses ===

impl Clauses {
    fn place(&mut self, statement: &Statement<'_>, opener: Opener, run: Run) {
        let (at, stop) = run;
        match opener {
            Opener::From | Opener::Where => {}
            Opener::Group => {
                let rollup =
                    stop >= 2 && statement.is_word(stop - 2, "with") && statement.is_word(stop - 1, "rollup");
                self.rollup = rollup;
                self.group = split(statement, (at + 2, if rollup { stop - 2 } else { stop }));
                self.group_at = Some(at);
            }
            Opener::Having => self.having = Some(at),
            Opener::Window => self.window = Some(at),
            Opener::Order => {
                self.order_clause = Some(run);
                self.order = split(statement, (at + 2, stop))
                    .into_iter()
                    .map(|run| direction(statement, run))
                    .collect();
            }
            Opener::Limit => self.limit_clause = Some(run),
            Opener::Lock => self.tail = self.tail.min(at),
            Opener::Into => {
                self.into = Some(at);
                self.tail = self.tail.min(at);
            }
        }
    }

    /// The bytes of a run of tokens.
    pub(super) fn bytes(statement: &Statement<'_>, run: Run) -> std::ops::Range<u32> {
        let start = statement.tokens.get(run.0).map_or(statement.body.1, |token| token.start);
        let end =
            run.1.checked_sub(1).and_then(|last| statement.tokens.get(last)).map_or(start, |token| token.end);
        start..end.max(start)
    }
}

fn direction(statement: &Statement<'_>, run: Run) -> (Run, bool) {
    let last = run.1.saturating_sub(1);
    if run.1 > run.0 + 1 && statement.is_word(last, "desc") {
        ((run.0, last), true)
    } else if run.1 > run.0 + 1 && statement.is_word(last, "asc") {
        ((run.0, last), false)
    } else {
        (run, false)
    }
}

/// An expression without the parentheses and `+` around it: `(1)` and `+1` are the position 1.
pub(super) fn unwrapped(mut tokens: &[Token]) -> &[Token] {
    loop {
        tokens = match tokens {
            [first, rest @ ..] if first.kind == TokenKind::Plus && !rest.is_empty() => rest,
            [first, inner @ .., last]
                if first.kind == TokenKind::LeftParen && last.kind == TokenKind::RightParen =>
            {
                let mut depth = 0_i32;
                let encloses = inner.iter().all(|token| {
                    depth += match token.kind {
                        TokenKind::LeftParen => 1,
                        TokenKind::RightParen => -1,
                        _ => 0,
                    };
                    depth >= 0
                });
                if !encloses {
                    return tokens;
                }
                inner
            }
            _ => return tokens,
        };
    }
}

/// Whether two runs are the same expression: equal tokens, without regard to the case of words and
/// to blanks. Runs with literals that differ between statements of one key are never the same.
pub(super) fn same(statement: &Statement<'_>, one: Run, other: Run) -> bool {
    let tokens = |run: Run| statement.tokens.get(run.0..run.1).unwrap_or_default();
    let (one, other) = (tokens(one), tokens(other));
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| same_token(statement, a, b))
}

fn same_token(statement: &Statement<'_>, one: &Token, other: &Token) -> bool {
    match (one.identifier(statement.text), other.identifier(statement.text)) {
        (Some(a), Some(b)) => return a.eq_ignore_ascii_case(&b),
        (None, None) => {}
        _ => return false,
    }
    if one.kind != other.kind || one.kind == TokenKind::Param {
        return false;
    }
    match (statement.literal_at(one.start), statement.literal_at(other.start)) {
        (Some(a), Some(b)) => statement.equal_literals(a, b),
        (None, None) => one.text(statement.text) == other.text(statement.text),
        _ => false,
    }
}
