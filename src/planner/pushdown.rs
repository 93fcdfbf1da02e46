//! Which conditions of a query may be checked where a table's rows are read?
//!
//! A condition goes down to a table where it reads that table alone, gives the same answer on every
//! server, and holds for every row of the table that the query can use. The query checks it again,
//! so that leaving one out costs time and never a row.

use std::ops::Range;

use sqlparser::ast::{BinaryOperator, Expr, FunctionArguments};

use super::context::Planner;
use super::references::{Clause, ClauseKind, Scan, Source};
use super::{facts, walk};
use crate::sql::{TokenKind, parse_expression};
use crate::vschema::Table;

/// One condition of one table.
pub(super) struct Pushed {
    /// Its tokens.
    pub(super) tokens: Range<usize>,
    pub(super) expression: Expr,
}

/// Functions that give the same answer to the same values everywhere, in the same session.
const FUNCTIONS: &[&str] = &[
    "abs",
    "adddate",
    "ascii",
    "ceil",
    "ceiling",
    "char_length",
    "character_length",
    "coalesce",
    "concat",
    "concat_ws",
    "crc32",
    "date",
    "date_add",
    "date_sub",
    "datediff",
    "day",
    "dayofmonth",
    "dayofweek",
    "dayofyear",
    "field",
    "floor",
    "greatest",
    "hex",
    "hour",
    "if",
    "ifnull",
    "instr",
    "isnull",
    "last_day",
    "lcase",
    "least",
    "left",
    "length",
    "locate",
    "lower",
    "ltrim",
    "md5",
    "mid",
    "minute",
    "mod",
    "month",
    "nullif",
    "ord",
    "quarter",
    "replace",
    "reverse",
    "right",
    "round",
    "rtrim",
    "second",
    "sign",
    "strcmp",
    "subdate",
    "substr",
    "substring",
    "to_days",
    "trim",
    "truncate",
    "ucase",
    "unhex",
    "upper",
    "weekday",
    "year",
];

/// The conditions that go down to a reference.
pub(super) fn conditions(
    planner: &Planner<'_>,
    scan: &Scan,
    tables: &[std::sync::Arc<Table>],
    own: usize,
) -> Vec<Pushed> {
    let reference = &scan.references[own];
    let select = &scan.selects[reference.select];
    let mut found = Vec::new();
    for clause in &select.clauses {
        let reaches = match clause.kind {
            ClauseKind::Where => !reference.nullable,
            ClauseKind::Inner => !select.has_outer_join,
            ClauseKind::Left(right) => right == own,
            ClauseKind::Outer => false,
        };
        if !reaches {
            continue;
        }
        for tokens in conjuncts(planner, clause) {
            let part = part(planner, &tokens);
            let Ok(expression) = parse_expression(&part.statement) else { continue };
            let names = Names { scan, tables, own };
            if is_comparison(&expression) && names.only_own(&expression) == Some(true) {
                found.push(Pushed { tokens, expression });
            }
        }
    }
    found
}

/// Whether a condition compares. A column alone is read as a number, with a warning for each text
/// that is none, which the query must give itself.
fn is_comparison(expression: &Expr) -> bool {
    use BinaryOperator as B;
    match expression {
        Expr::Nested(inner) => is_comparison(inner),
        Expr::BinaryOp { left, op: B::And | B::Or, right } => is_comparison(left) && is_comparison(right),
        Expr::BinaryOp { op, .. } => {
            matches!(op, B::Eq | B::NotEq | B::Lt | B::LtEq | B::Gt | B::GtEq | B::Spaceship)
        }
        Expr::UnaryOp { expr, .. } => is_comparison(expr),
        Expr::Between { .. }
        | Expr::InList { .. }
        | Expr::Like { .. }
        | Expr::IsNull(_)
        | Expr::IsNotNull(_) => true,
        _ => false,
    }
}

/// The planner with a part of the statement's tokens.
pub(super) fn part<'a>(planner: &Planner<'a>, tokens: &Range<usize>) -> Planner<'a> {
    let mut part = *planner;
    part.statement.tokens = planner.statement.tokens.get(tokens.clone()).unwrap_or_default();
    part
}

/// The parts of a condition that must all hold, as tokens.
fn conjuncts(planner: &Planner<'_>, clause: &Clause) -> Vec<Range<usize>> {
    let statement = &planner.statement;
    let (mut depth, mut between, mut start) = (0_usize, false, clause.tokens.start);
    let mut parts = Vec::new();
    for index in clause.tokens.clone() {
        let Some(token) = statement.tokens.get(index) else { break };
        let word = |word: &str| token.is_word(statement.text, word);
        match token.kind {
            TokenKind::LeftParen => depth += 1,
            TokenKind::RightParen => depth = depth.saturating_sub(1),
            TokenKind::Word if word("case") => depth += 1,
            TokenKind::Word if word("end") => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            TokenKind::Word if word("or") || word("xor") => return vec![clause.tokens.clone()],
            TokenKind::DoublePipe if !statement.options.pipes_as_concat => {
                return vec![clause.tokens.clone()];
            }
            TokenKind::Word if word("between") => between = true,
            TokenKind::Word | TokenKind::And if word("and") || token.kind == TokenKind::And => {
                if std::mem::take(&mut between) {
                    continue;
                }
                parts.push(start..index);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(start..clause.tokens.end);
    parts
}

/// What names mean in the SELECT of one reference.
struct Names<'a> {
    scan: &'a Scan,
    tables: &'a [std::sync::Arc<Table>],
    own: usize,
}

// === impl Names ===

impl Names<'_> {
    /// Whether the expression reads the own table and nothing else; none where that is not certain, or
    /// where its answer may change from server to server.
    fn only_own(&self, expression: &Expr) -> Option<bool> {
        match expression {
            Expr::Identifier(ident) if ident.quote_style.is_none() && is_moment(&ident.value) => None,
            Expr::Identifier(ident) => self.is_own(&ident.value).then_some(true),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, _] | [_, table, _] => self.is_own_table(&table.value).then_some(true),
                _ => None,
            },
            Expr::Value(_) | Expr::TypedString(_) => Some(false),
            // A condition beside it may keep them from text that is no JSON.
            Expr::BinaryOp {
                op: BinaryOperator::Assignment | BinaryOperator::Arrow | BinaryOperator::LongArrow,
                ..
            } => None,
            Expr::Function(function) => {
                let name = walk::function_name(function)?;
                let plain = function.over.is_none() && matches!(function.args, FunctionArguments::List(_));
                if !plain || !FUNCTIONS.contains(&name.as_str()) {
                    return None;
                }
                self.children(expression)
            }
            Expr::Nested(_)
            | Expr::BinaryOp { .. }
            | Expr::UnaryOp { .. }
            | Expr::Between { .. }
            | Expr::InList { .. }
            | Expr::Like { .. }
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::Case { .. }
            | Expr::Tuple(_)
            | Expr::Interval(_)
            | Expr::Extract { .. }
            | Expr::Ceil { .. }
            | Expr::Floor { .. }
            | Expr::Substring { .. }
            | Expr::Trim { .. }
            | Expr::Position { .. } => self.children(expression),
            _ => None,
        }
    }

    fn children(&self, expression: &Expr) -> Option<bool> {
        let mut any = false;
        for child in walk::children(expression) {
            any |= self.only_own(child)?;
        }
        Some(any)
    }

    fn is_own_table(&self, name: &str) -> bool {
        let own = &self.scan.references[self.own];
        let select = &self.scan.selects[own.select];
        let named = |source: &Source| match source {
            Source::Table(other) => self.scan.references.get(*other).is_some_and(|other| other.alias == name),
            Source::Other => false,
        };
        own.alias == name && select.sources.iter().filter(|source| named(source)).count() == 1
    }

    /// Whether an unqualified column is the own table's for certain.
    fn is_own(&self, name: &str) -> bool {
        if name.starts_with('@') {
            return false;
        }
        let own = &self.scan.references[self.own];
        let select = &self.scan.selects[own.select];
        if let ([_], false) = (select.sources.as_slice(), select.correlated) {
            return true;
        }
        let knows = |table: &Table| {
            table.column(name).is_some()
                || table.column_vindexes.iter().any(|vindex| vindex.position(name).is_some())
        };
        let known = self.tables.get(self.own).is_some_and(|table| knows(table));
        let others = select.sources.iter().filter(|source| **source != Source::Table(self.own));
        let free = others.into_iter().all(|source| match source {
            Source::Table(other) => {
                self.tables.get(*other).is_some_and(|table| table.column_list_authoritative && !knows(table))
            }
            Source::Other => false,
        });
        known && free
    }
}

/// Functions without parentheses whose answer depends on the server's clock or on the login.
fn is_moment(name: &str) -> bool {
    const MOMENTS: &[&str] = &[
        "current_date",
        "current_role",
        "current_time",
        "current_timestamp",
        "current_user",
        "localtime",
        "localtimestamp",
        "sysdate",
        "utc_date",
        "utc_time",
        "utc_timestamp",
    ];
    MOMENTS.iter().any(|moment| name.eq_ignore_ascii_case(moment))
}

/// Whether the text of an expression may be evaluated twice with the same outcome.
pub(super) fn is_repeatable(planner: &Planner<'_>, tokens: &Range<usize>) -> bool {
    const CHANGING: &[&str] =
        &["rand", "random_bytes", "uuid", "uuid_short", "sys_guid", "sleep", "benchmark", "limit", "nextval"];
    tokens.clone().all(|index| !CHANGING.iter().any(|word| planner.statement.is_word(index, word)))
}

/// What the conditions of a table say about its rows.
pub(super) fn facts(
    planner: &Planner<'_>,
    analysis: &super::scope::Analysis,
    pushed: &[Pushed],
) -> facts::Facts {
    let mut found = facts::Facts::default();
    for condition in pushed {
        let part = part(planner, &condition.tokens);
        found.extend(facts::extract(&part, analysis, 0, &condition.expression));
    }
    found
}
