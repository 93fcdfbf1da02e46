//! Which words of a FROM are tables, and which joins and conditions are around them?

use super::references::{ClauseKind, CteUse, Reference, Source};
use super::scanner::{Area, Join, Kind, Scanner};
use crate::sql::TokenKind;

/// Words that end a table list or a condition.
const CLAUSES: &[&str] = &[
    "where",
    "group",
    "having",
    "order",
    "limit",
    "window",
    "for",
    "lock",
    "into",
    "union",
    "except",
    "intersect",
    "procedure",
    "fetch",
];

/// Words that cannot be an alias behind a table's name.
const NO_ALIAS: &[&str] = &[
    "as",
    "join",
    "inner",
    "cross",
    "left",
    "right",
    "natural",
    "straight_join",
    "on",
    "using",
    "use",
    "force",
    "ignore",
    "partition",
    "set",
    "values",
    "select",
    "returning",
];

// === impl Scanner ===

impl Scanner<'_> {
    /// A word at the level of a query or a join.
    pub(super) fn clause(&mut self, index: usize) -> usize {
        let next = index + 1;
        self.unusual(index);
        if self.any_word(index, CLAUSES) && !self.is_index_hint(index) {
            self.end_clause(index);
            let top = self.top();
            top.area = Area::Other;
            if self.word(index, "where") {
                self.top().clause = Some((next, ClauseKind::Where));
            }
            if self.any_word(index, &["union", "except", "intersect"]) {
                let top = self.top();
                (top.area, top.unites) = (Area::Head, true);
            }
            return next;
        }
        if self.top().area == Area::Head {
            return next;
        }
        if self.word(index, "from") && self.top().kind == Kind::Query {
            self.end_item(index);
            let references = self.scan.references.len();
            let top = self.top();
            (top.area, top.expect, top.part, top.pending) = (Area::Tables, true, references, Join::None);
            return next;
        }
        if !matches!(self.top().area, Area::Tables | Area::Condition) {
            return next;
        }
        self.table_list(index)
    }

    fn table_list(&mut self, index: usize) -> usize {
        let next = index + 1;
        let call = self.kind(next) == Some(TokenKind::LeftParen);
        if self.top().area == Area::Tables && self.top().expect {
            if self.word(index, "lateral") {
                self.top().lateral = true;
            } else if self.word(index, "dual") && self.kind(next) != Some(TokenKind::Dot) {
                self.top().expect = false;
            } else if self.word(index, "oj") && self.kind(index.wrapping_sub(1)) == Some(TokenKind::LeftBrace)
            {
                // `{ OJ a LEFT JOIN b … }`
            } else if call {
                // JSON_TABLE and the like.
                let outer = matches!(self.top().pending, Join::Left | Join::Right);
                let top = self.top();
                top.expect = false;
                top.last = if outer { ClauseKind::Outer } else { ClauseKind::Inner };
                top.pending = Join::None;
                self.add_source(Source::Other);
            } else {
                return self.reference(index, None);
            }
            return next;
        }
        let joins = self.any_word(index, &["join", "straight_join"]) && !self.is_index_hint(index);
        let side = self.any_word(index, &["left", "right"]) && !call;
        if joins || side || self.any_word(index, &["inner", "cross", "natural"]) {
            self.end_clause(index);
            self.top().area = Area::Tables;
        }
        if joins {
            let top = self.top();
            top.expect = true;
            if top.pending == Join::None {
                top.pending = Join::Inner;
            }
        } else if side {
            self.top().pending = if self.word(index, "left") { Join::Left } else { Join::Right };
            if let Some(select) = self.top().select {
                self.scan.selects[select].has_outer_join = true;
            }
        } else if self.word(index, "natural") {
            self.scan.natural = true;
        } else if self.word(index, "on") {
            let top = self.top();
            top.area = Area::Condition;
            top.clause = Some((next, top.last));
            top.last = ClauseKind::Outer;
        } else if self.word(index, "using") {
            self.top().area = Area::Condition;
        }
        next
    }

    /// `USE INDEX FOR JOIN (…)`, `FOR ORDER BY`, `FOR GROUP BY`, and the FOR in them.
    fn is_index_hint(&self, index: usize) -> bool {
        let hint = |index: usize| index > 0 && self.any_word(index - 1, &["index", "key"]);
        (self.word(index, "for") && hint(index)) || (self.before(index, "for") && hint(index - 1))
    }

    /// What no copy of a table can do.
    pub(super) fn unusual(&mut self, index: usize) {
        let call = self.kind(index + 1) == Some(TokenKind::LeftParen);
        if call && self.word(index, "match") {
            self.scan.refused.get_or_insert("MATCH … AGAINST");
        }
        if self.top().kind == Kind::Query {
            self.lock(index);
        }
        if self.word(index, "for") && self.word(index + 1, "system_time") {
            self.scan.refused.get_or_insert("FOR SYSTEM_TIME");
        }
    }

    /// `FOR UPDATE`, `FOR SHARE`, `LOCK IN SHARE MODE` of the statement's own SELECT. The shards lock what
    /// is fetched, which is every row that the query may read: more than one server locks, never less. So
    /// a clause that says what to do about rows that others hold is refused, as is one that would hold
    /// many rows for the few of a LIMIT.
    fn lock(&mut self, index: usize) {
        let words = if self.word(index, "for") && self.any_word(index + 1, &["update", "share"]) {
            2
        } else if self.word(index, "lock") && self.word(index + 1, "in") {
            4
        } else {
            return;
        };
        let end = index + words;
        let single = self.stack.len() == 1 && end == self.tokens.len() && self.scan.lock.is_none();
        let limited = (0..index).any(|at| self.word(at, "limit"));
        let select = self.top().select.filter(|&own| self.scan.selects[own].is_alone && single && !limited);
        match select {
            Some(select) => self.scan.lock = Some((select, index..end)),
            None => {
                self.scan.refused.get_or_insert("this kind of locking read");
            }
        }
    }

    /// A table's name at `index`; the index behind it.
    pub(super) fn reference(&mut self, index: usize, statement: Option<usize>) -> usize {
        let text = self.planner.statement.text;
        let Some(first) = self.tokens.get(index).and_then(|token| token.identifier(text)) else {
            return index + 1;
        };
        let dot = self.kind(index + 1) == Some(TokenKind::Dot);
        let second = self.tokens.get(index + 2).filter(|_| dot).and_then(|token| token.identifier(text));
        let (qualifier, table, end) = match second {
            Some(second) => (Some(first), second, index + 3),
            None => (None, first, index + 1),
        };
        let start = self.tokens[statement.unwrap_or(index)].start;
        let range = start..self.tokens[end - 1].end;
        let alias = self.alias(end, statement.is_some());
        if self.word(end, "partition") && self.kind(end + 1) == Some(TokenKind::LeftParen) {
            self.scan.refused.get_or_insert("PARTITION behind a table");
        }
        let pending = std::mem::replace(&mut self.top().pending, Join::None);
        let (part, body) = (self.top().part, self.top().body);
        if pending == Join::Right {
            self.miss(part);
        }
        let nullable = self.top().nullable || pending == Join::Left;
        let found = qualifier.is_none().then(|| self.cte(&table)).flatten();
        let own = self.scan.references.len();
        let top = self.top();
        top.expect = false;
        top.last = match pending {
            Join::None | Join::Inner => ClauseKind::Inner,
            Join::Left if found.is_none() => ClauseKind::Left(own),
            Join::Left | Join::Right => ClauseKind::Outer,
        };
        if let Some((cte, recursive)) = found {
            self.add_source(Source::Other);
            let has_alias = alias.is_some();
            self.scan.uses.push(CteUse { range, cte, has_alias, body, recursive });
            return end;
        }
        self.add_source(Source::Table(own));
        let Some(select) = self.top().select else { return end };
        self.scan.references.push(Reference {
            range,
            qualifier,
            has_alias: alias.is_some(),
            alias: alias.unwrap_or_else(|| table.clone()),
            table,
            is_statement: statement.is_some(),
            select,
            body,
            nullable,
        });
        end
    }

    fn alias(&self, index: usize, statement: bool) -> Option<String> {
        if statement {
            return None;
        }
        let text = self.planner.statement.text;
        let token = self.tokens.get(index)?;
        if token.is_word(text, "as") {
            return self.tokens.get(index + 1)?.identifier(text);
        }
        if token.kind == TokenKind::Word && (self.any_word(index, NO_ALIAS) || self.any_word(index, CLAUSES))
        {
            return None;
        }
        token.identifier(text)
    }

    /// The expression that a name means here, and whether this is inside its own text.
    fn cte(&self, name: &str) -> Option<(usize, bool)> {
        let visible = &self.stack.last()?.ctes;
        let cte = visible.iter().rev().copied().find(|&cte| self.scan.ctes[cte].name == name)?;
        Some((cte, self.stack.iter().any(|frame| frame.defines == Some(cte))))
    }
}
