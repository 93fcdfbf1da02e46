//! How are the tokens of a query walked, so that each name is seen in its place?
//!
//! A stack of frames, one for each open parenthesis, says what a word at this place means. The parts
//! of a FROM are read in `table_list`.

use super::context::Planner;
use super::references::{Clause, ClauseKind, Cte, Scan, Select, Source, WithList};
use crate::sql::{Token, TokenKind};

/// What is open at one depth of parentheses.
#[expect(clippy::struct_excessive_bools, reason = "each is one independent property of a place")]
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) area: Area,
    /// The next name in the table list is a table.
    pub(super) expect: bool,
    pub(super) select: Option<usize>,
    /// The expressions that are visible here, outermost first.
    pub(super) ctes: Vec<usize>,
    pub(super) with: With,
    pub(super) body: Option<usize>,
    pub(super) correlated: bool,
    pub(super) nullable: bool,
    pub(super) lateral: bool,
    /// The first reference of this comma-separated part of the FROM.
    pub(super) part: usize,
    pub(super) pending: Join,
    pub(super) last: ClauseKind,
    pub(super) clause: Option<(usize, ClauseKind)>,
    /// The first token of the select list's current item.
    pub(super) item: Option<usize>,
    /// A UNION or the like has been seen.
    pub(super) unites: bool,
    /// The expression that this frame is the text of.
    pub(super) defines: Option<usize>,
    pub(super) start: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// SELECT …, also several with UNION.
    Query,
    /// `(a JOIN b)` in a FROM.
    Joins,
    /// Anything else.
    Expression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    /// In front of SELECT.
    Head,
    List,
    Tables,
    Condition,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Join {
    None,
    Inner,
    Left,
    Right,
}

/// How far a WITH has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum With {
    None,
    Name { recursive: bool },
    Body { recursive: bool, cte: usize },
    Next { recursive: bool },
}

pub(super) struct Scanner<'a> {
    pub(super) planner: &'a Planner<'a>,
    pub(super) tokens: &'a [Token],
    pub(super) stack: Vec<Frame>,
    /// The list that each open WITH fills, by depth.
    pub(super) lists: Vec<(usize, usize)>,
    pub(super) scan: Scan,
}

/// Words that may stand directly in front of the first item of a select list.
const BEFORE: &[&str] = &[
    "select",
    "distinct",
    "all",
    "distinctrow",
    "high_priority",
    "straight_join",
    "sql_small_result",
    "sql_big_result",
    "sql_buffer_result",
    "sql_no_cache",
    "sql_cache",
    "sql_calc_found_rows",
];

// === impl Frame ===

impl Frame {
    pub(super) fn new(kind: Kind, parent: Option<&Frame>) -> Self {
        let (ctes, body, correlated, nullable, select) = match parent {
            Some(parent) => {
                (parent.ctes.clone(), parent.body, parent.correlated, parent.nullable, parent.select)
            }
            None => (Vec::new(), None, false, false, None),
        };
        let area = match kind {
            Kind::Query => Area::Head,
            Kind::Joins => Area::Tables,
            Kind::Expression => Area::Other,
        };
        Self {
            kind,
            area,
            expect: kind == Kind::Joins,
            select: if kind == Kind::Query { None } else { select },
            ctes,
            with: With::None,
            body,
            correlated,
            nullable: kind == Kind::Joins && nullable,
            lateral: false,
            part: 0,
            pending: Join::None,
            last: ClauseKind::Outer,
            clause: None,
            item: None,
            unites: false,
            defines: None,
            start: true,
        }
    }
}

// === impl Scanner ===

impl<'a> Scanner<'a> {
    pub(super) fn new(planner: &'a Planner<'a>) -> Self {
        let root = Frame::new(Kind::Query, None);
        Self {
            planner,
            tokens: planner.statement.tokens,
            stack: vec![root],
            lists: Vec::new(),
            scan: Scan::default(),
        }
    }

    pub(super) fn run(mut self) -> Scan {
        let mut index = 0;
        while index < self.tokens.len() {
            index = self.step(index);
        }
        while self.stack.len() > 1 {
            self.close(self.tokens.len());
        }
        self.end_clause(self.tokens.len());
        self.scan
    }

    pub(super) fn word(&self, index: usize, word: &str) -> bool {
        self.planner.statement.is_word(index, word)
    }

    pub(super) fn any_word(&self, index: usize, words: &[&str]) -> bool {
        words.iter().any(|word| self.word(index, word))
    }

    pub(super) fn kind(&self, index: usize) -> Option<TokenKind> {
        self.tokens.get(index).map(|token| token.kind)
    }

    pub(super) fn before(&self, index: usize, word: &str) -> bool {
        index > 0 && self.word(index - 1, word)
    }

    /// The frame at the top; the root is never taken away.
    pub(super) fn top(&mut self) -> &mut Frame {
        let last = self.stack.len() - 1;
        &mut self.stack[last]
    }

    /// Reads the token at `index`; the index of the next one.
    pub(super) fn step(&mut self, index: usize) -> usize {
        let was_start = std::mem::replace(&mut self.top().start, false);
        match self.tokens[index].kind {
            TokenKind::LeftParen => self.open(index),
            TokenKind::RightParen if self.stack.len() > 1 => self.close(index),
            TokenKind::Comma => self.comma(index),
            TokenKind::Star => self.star(index),
            TokenKind::Word | TokenKind::Quoted => return self.name(index, was_start),
            _ => {}
        }
        index + 1
    }

    pub(super) fn open(&mut self, index: usize) {
        let query = self.any_word(index + 1, &["select", "with", "table"])
            || (self.word(index + 1, "values") && self.word(index + 2, "row"));
        if let With::Body { recursive, cte } = self.top().with {
            // The list of columns comes in front of AS.
            if query || index > 0 && self.before(index, "as") {
                let mut frame = Frame::new(Kind::Query, self.stack.last());
                frame.body = Some(cte);
                frame.defines = Some(cte);
                if recursive {
                    frame.ctes.push(cte);
                }
                self.stack.push(frame);
                return;
            }
        }
        let in_tables = matches!(self.top().area, Area::Tables) && self.top().expect;
        let kind = match (query, in_tables) {
            (true, _) => Kind::Query,
            (false, true) => Kind::Joins,
            (false, false) if self.top().kind == Kind::Query && self.top().area == Area::Head => Kind::Query,
            (false, false) => Kind::Expression,
        };
        let mut frame = Frame::new(kind, self.stack.last());
        let references = self.scan.references.len();
        frame.part = references;
        let top = self.top();
        if in_tables {
            let outer = top.pending == Join::Left;
            let right = top.pending == Join::Right;
            frame.nullable = kind == Kind::Joins && (top.nullable || outer);
            frame.correlated = top.correlated || top.lateral;
            top.lateral = false;
            top.expect = false;
            top.last = if outer || right { ClauseKind::Outer } else { ClauseKind::Inner };
            top.pending = Join::None;
            let part = top.part;
            if right {
                self.miss(part);
            }
            if kind == Kind::Query {
                self.add_source(Source::Other);
            }
        } else if kind == Kind::Query && top.area != Area::Head {
            frame.correlated = true;
        }
        if kind == Kind::Query && !query {
            // `(SELECT …) UNION …` inside parentheses of its own.
            frame.start = true;
        }
        self.stack.push(frame);
    }

    /// Everything since `part` may be missing.
    pub(super) fn miss(&mut self, part: usize) {
        for reference in &mut self.scan.references[part..] {
            reference.nullable = true;
        }
    }

    pub(super) fn close(&mut self, index: usize) {
        self.end_clause(index);
        let depth = self.stack.len();
        self.lists.retain(|(own, _)| *own < depth);
        let Some(frame) = self.stack.pop() else { return };
        if let Some(cte) = frame.defines {
            let end = self.tokens.get(index).map_or(self.planner.statement.body.1, |token| token.end);
            self.scan.ctes[cte].range.end = end;
            self.scan.ctes[cte].tokens.end = index;
            let top = self.top();
            if let With::Body { recursive, .. } = top.with {
                top.with = With::Next { recursive };
            }
            top.ctes.push(cte);
        }
    }

    pub(super) fn comma(&mut self, index: usize) {
        if let With::Next { recursive } = self.top().with {
            self.top().with = With::Name { recursive };
            return;
        }
        let references = self.scan.references.len();
        match self.top().area {
            Area::Condition => {
                self.end_clause(index);
                let top = self.top();
                (top.area, top.expect, top.part, top.pending) = (Area::Tables, true, references, Join::None);
            }
            Area::Tables => {
                let top = self.top();
                (top.expect, top.part, top.pending) = (true, references, Join::None);
            }
            Area::List => {
                self.end_item(index);
                self.top().item = Some(index + 1);
            }
            _ => {}
        }
    }

    pub(super) fn end_item(&mut self, index: usize) {
        let top = self.top();
        if let (Some(first), Some(select)) = (top.item.take(), top.select) {
            self.scan.selects[select].items.push(first..index);
        }
    }

    pub(super) fn star(&mut self, index: usize) {
        let top = self.top();
        let (Some(select), Area::List) = (top.select, top.area) else { return };
        if self.kind(index.wrapping_sub(1)) == Some(TokenKind::Dot) {
            let name = self.tokens[index - 2].identifier(self.planner.statement.text);
            self.scan.selects[select].wildcards.extend(name);
            return;
        }
        let opens =
            index > 0 && (self.any_word(index - 1, BEFORE) || self.kind(index - 1) == Some(TokenKind::Comma));
        self.scan.selects[select].wildcard |= opens;
    }

    pub(super) fn end_clause(&mut self, index: usize) {
        self.end_item(index);
        let top = self.top();
        let select = top.select;
        if let (Some((first, kind)), Some(select)) = (top.clause.take(), select) {
            self.scan.selects[select].clauses.push(Clause { tokens: first..index, kind });
        }
    }

    pub(super) fn begin_select(&mut self, wildcard: bool) -> usize {
        let top = self.top();
        let (correlated, body, is_alone) = (top.correlated, top.body, !top.unites);
        self.scan.selects.push(Select { wildcard, correlated, is_alone, body, ..Select::default() });
        let select = self.scan.selects.len() - 1;
        self.top().select = Some(select);
        select
    }

    pub(super) fn add_source(&mut self, source: Source) {
        if let Some(select) = self.top().select {
            self.scan.selects[select].sources.push(source);
        }
    }

    /// A word or a quoted name.
    pub(super) fn name(&mut self, index: usize, was_start: bool) -> usize {
        let next = index + 1;
        if self.kind(index.wrapping_sub(1)) == Some(TokenKind::Dot) {
            return next;
        }
        match self.top().with {
            With::Name { recursive } => {
                if self.before(index, "with") && self.word(index, "recursive") {
                    self.top().with = With::Name { recursive: true };
                    return next;
                }
                self.define(index, recursive);
                return next;
            }
            With::Body { .. } => return next,
            With::Next { .. } => self.top().with = With::None,
            With::None => {}
        }
        if self.top().kind == Kind::Query {
            if was_start && self.word(index, "with") {
                let (depth, body) = (self.stack.len(), self.top().body);
                self.scan.lists.push(WithList { ctes: Vec::new(), body });
                self.lists.push((depth, self.scan.lists.len() - 1));
                self.top().with = With::Name { recursive: false };
                return next;
            }
            if self.word(index, "select") {
                self.end_clause(index);
                self.begin_select(false);
                let top = self.top();
                (top.area, top.item) = (Area::List, Some(next));
                return next;
            }
            if self.top().area == Area::Head && self.word(index, "table") {
                self.begin_select(true);
                return self.reference(next, Some(index));
            }
        }
        if self.top().kind == Kind::Expression {
            self.unusual(index);
            return next;
        }
        self.clause(index)
    }

    pub(super) fn define(&mut self, index: usize, recursive: bool) {
        let Some(name) = self.tokens[index].identifier(self.planner.statement.text) else { return };
        let (start, end) = (self.tokens[index].start, self.tokens[index].end);
        let cte = self.scan.ctes.len();
        self.scan.ctes.push(Cte { name, name_range: start..end, range: start..end, tokens: index..index });
        if let Some((_, list)) = self.lists.last() {
            self.scan.lists[*list].ctes.push(cte);
        }
        self.top().with = With::Body { recursive, cte };
    }
}
