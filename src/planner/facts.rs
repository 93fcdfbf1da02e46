//! What must be true of every row that a condition lets through?
//!
//! Only what holds for certain is a fact: a condition that is not understood adds nothing. Facts
//! about an OR are those that both sides share.

use std::ops::Range;

use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};

use super::context::Planner;
use super::scope::{Analysis, ColumnRef, offset};
use crate::sql::{Operand, TokenKind};
use crate::value::Value;

/// What is known about the rows of a block.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// Columns that are equal and not NULL.
    pub(super) edges: Vec<(ColumnRef, ColumnRef)>,
    /// A column of an outer join's nullable side, and the column of the kept side that it equals in
    /// every row where the nullable side is not missing.
    pub(super) outer_edges: Vec<(ColumnRef, ColumnRef)>,
    /// Columns that equal a value.
    pub(super) equals: Vec<(ColumnRef, Operand)>,
    /// Columns that equal one of several values.
    pub(super) lists: Vec<InList>,
    /// Columns between two values, both included.
    pub(super) ranges: Vec<(ColumnRef, Operand, Operand)>,
    /// Several columns that together equal one of several tuples.
    pub(super) tuples: Vec<Tuples>,
    /// No row passes.
    pub(super) impossible: bool,
}

/// A column that equals one of several values.
#[derive(Debug, Clone)]
pub(super) struct InList {
    pub(super) column: ColumnRef,
    pub(super) values: Vec<Operand>,
    /// The bytes of the list, where it may be cut by shard.
    pub(super) range: Option<Range<u32>>,
}

/// Several columns that equal one of several tuples.
#[derive(Debug, Clone)]
pub(super) struct Tuples {
    pub(super) columns: Vec<ColumnRef>,
    pub(super) values: Vec<Vec<Operand>>,
}

// === impl Facts ===

impl Facts {
    pub(super) fn extend(&mut self, other: Self) {
        self.edges.extend(other.edges);
        self.outer_edges.extend(other.outer_edges);
        self.equals.extend(other.equals);
        self.lists.extend(other.lists);
        self.ranges.extend(other.ranges);
        self.tuples.extend(other.tuples);
        self.impossible |= other.impossible;
    }

    /// What an ON condition of an outer join says: nothing about the kept side alone.
    pub(super) fn of_outer_join(self, is_nullable: impl Fn(&ColumnRef) -> bool) -> Self {
        let mut found = Self::default();
        for (a, b) in self.edges {
            match (is_nullable(&a), is_nullable(&b)) {
                (true, true) => found.edges.push((a, b)),
                (true, false) => found.outer_edges.push((a, b)),
                (false, true) => found.outer_edges.push((b, a)),
                (false, false) => {}
            }
        }
        found
    }

    /// What holds where either side does.
    fn or(mut self, mut other: Self) -> Self {
        if self.impossible {
            return other;
        }
        if other.impossible {
            return self;
        }
        let mut both = Self::default();
        let mut mine = self.take_tuples();
        for theirs in other.take_tuples() {
            if let Some(same) = mine.iter_mut().find(|own| own.columns == theirs.columns) {
                let mut same = std::mem::replace(same, Tuples { columns: Vec::new(), values: Vec::new() });
                same.values.extend(theirs.values);
                both.tuples.push(same);
            }
        }
        let mut mine = self.take_lists();
        for theirs in other.take_lists() {
            if let Some(at) = mine.iter().position(|own| own.column == theirs.column) {
                let mut same = mine.swap_remove(at);
                same.values.extend(theirs.values);
                same.range = None;
                both.lists.push(same);
            }
        }
        both
    }

    fn take_lists(&mut self) -> Vec<InList> {
        let mut lists = std::mem::take(&mut self.lists);
        let single =
            |(column, value): (ColumnRef, Operand)| InList { column, values: vec![value], range: None };
        lists.extend(std::mem::take(&mut self.equals).into_iter().map(single));
        lists
    }

    fn take_tuples(&mut self) -> Vec<Tuples> {
        let mut tuples = std::mem::take(&mut self.tuples);
        if self.equals.len() > 1 {
            let mut equals = self.equals.clone();
            equals.sort_by(|a, b| a.0.cmp(&b.0));
            equals.dedup_by(|a, b| a.0 == b.0);
            let (columns, values) = equals.into_iter().unzip();
            tuples.push(Tuples { columns, values: vec![values] });
        }
        tuples
    }
}

/// The facts of a condition in a block.
pub(super) fn extract(planner: &Planner<'_>, analysis: &Analysis, block: usize, condition: &Expr) -> Facts {
    let read = Reader { planner, analysis, block };
    read.condition(condition)
}

struct Reader<'a> {
    planner: &'a Planner<'a>,
    analysis: &'a Analysis,
    block: usize,
}

impl Reader<'_> {
    fn condition(&self, condition: &Expr) -> Facts {
        match condition {
            Expr::Nested(inner) => self.condition(inner),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                let mut facts = self.condition(left);
                facts.extend(self.condition(right));
                facts
            }
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } => {
                self.condition(left).or(self.condition(right))
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => self.equal(left, right),
            Expr::BinaryOp { left, op: BinaryOperator::Spaceship, right } => self.null_safe(left, right),
            Expr::InList { expr, list, negated: false } => self.in_list(expr, list),
            Expr::Between { expr, negated: false, low, high } => self.between(expr, low, high),
            _ => Facts::default(),
        }
    }

    fn column(&self, expression: &Expr) -> Option<ColumnRef> {
        self.analysis.column(self.block, expression)
    }

    fn equal(&self, left: &Expr, right: &Expr) -> Facts {
        let mut facts = Facts::default();
        match (unnested(left), unnested(right)) {
            (Expr::Tuple(left), Expr::Tuple(right)) if left.len() == right.len() => {
                for (left, right) in left.iter().zip(right) {
                    facts.extend(self.equal(left, right));
                }
                return facts;
            }
            _ => {}
        }
        match (self.column(left), self.column(right)) {
            (Some(left), Some(right)) => facts.edges.push((left, right)),
            (Some(column), None) => self.equals_value(column, right, &mut facts),
            (None, Some(column)) => self.equals_value(column, left, &mut facts),
            (None, None) => {
                facts.impossible =
                    [left, right].iter().any(|side| self.operand(side).is_some_and(|value| is_null(&value)));
            }
        }
        facts
    }

    fn equals_value(&self, column: ColumnRef, value: &Expr, facts: &mut Facts) {
        match self.operand(value) {
            Some(value) if is_null(&value) => facts.impossible = true,
            Some(value) => facts.equals.push((column, value)),
            None => {}
        }
    }

    /// `<=>` is `=` for a value that is never NULL.
    fn null_safe(&self, left: &Expr, right: &Expr) -> Facts {
        let mut facts = Facts::default();
        let column = self.column(left).or_else(|| self.column(right));
        let value = self.operand(left).or_else(|| self.operand(right));
        if let (Some(column), Some(value)) = (column, value)
            && !is_null(&value)
            && never_null(&value)
        {
            facts.equals.push((column, value));
        }
        facts
    }

    fn in_list(&self, expression: &Expr, list: &[Expr]) -> Facts {
        let mut facts = Facts::default();
        if let Expr::Tuple(columns) = unnested(expression) {
            self.tuple_list(columns, list, &mut facts);
            return facts;
        }
        let Some(column) = self.column(expression) else { return facts };
        let values: Option<Vec<Operand>> = list.iter().map(|value| self.operand(value)).collect();
        let Some(mut values) = values else { return facts };
        let had_null = values.iter().any(is_null);
        values.retain(|value| !is_null(value));
        match values.as_slice() {
            [] => facts.impossible = true,
            [only] if !had_null => facts.equals.push((column, only.clone())),
            _ => {
                let range = self.list_range(list);
                facts.lists.push(InList { column, values, range });
            }
        }
        facts
    }

    fn tuple_list(&self, columns: &[Expr], list: &[Expr], facts: &mut Facts) {
        let found: Vec<Option<ColumnRef>> = columns.iter().map(|column| self.column(column)).collect();
        let mut tuples = Vec::new();
        for tuple in list {
            let Expr::Tuple(values) = unnested(tuple) else { return };
            if values.len() != columns.len() {
                return;
            }
            tuples.push(values);
        }
        // Each column on its own, and those that are understood together.
        let operands = |position: usize| -> Option<Vec<Operand>> {
            tuples.iter().map(|tuple| self.operand(&tuple[position])).collect()
        };
        let mut known = Vec::new();
        for (position, column) in found.iter().enumerate() {
            if let (Some(column), Some(values)) = (column, operands(position)) {
                if values.iter().any(is_null) {
                    continue;
                }
                facts.lists.push(InList { column: column.clone(), values: values.clone(), range: None });
                known.push((column.clone(), values));
            }
        }
        if known.len() > 1 {
            let values =
                (0..tuples.len()).map(|row| known.iter().map(|(_, values)| values[row].clone()).collect());
            let values = values.collect();
            facts
                .tuples
                .push(Tuples { columns: known.into_iter().map(|(column, _)| column).collect(), values });
        }
    }

    fn between(&self, expression: &Expr, low: &Expr, high: &Expr) -> Facts {
        let mut facts = Facts::default();
        if let (Some(column), Some(low), Some(high)) =
            (self.column(expression), self.operand(low), self.operand(high))
        {
            facts.impossible = is_null(&low) || is_null(&high);
            facts.ranges.push((column, low, high));
        }
        facts
    }

    /// The bytes between the parentheses of an IN list of plain constants.
    fn list_range(&self, list: &[Expr]) -> Option<Range<u32>> {
        let statement = &self.planner.statement;
        let (first, last) =
            (value_token(self.planner, list.first()?)?, value_token(self.planner, list.last()?)?);
        let before = first.checked_sub(1)?;
        let kind = |index: usize| statement.tokens.get(index).map(|token| token.kind);
        let start = if kind(before) == Some(TokenKind::Minus) { before } else { first };
        let opens = start.checked_sub(1).and_then(kind) == Some(TokenKind::LeftParen);
        let closes = kind(last + 1) == Some(TokenKind::RightParen);
        // As many commas as the list needs: nothing else stands between.
        let commas = (start..last).filter(|&index| kind(index) == Some(TokenKind::Comma)).count();
        let range = statement.tokens[start].start..statement.tokens[last].end;
        // A comment that is executed may begin or end within the list.
        let text = statement.text.get(range.start as usize..range.end as usize)?;
        let commented = text.windows(2).any(|pair| pair == b"*/" || pair == b"/*");
        (opens && closes && commas + 1 == list.len() && !commented).then_some(range)
    }

    fn operand(&self, expression: &Expr) -> Option<Operand> {
        operand(self.planner, expression)
    }
}

/// The constant that an expression is.
pub(super) fn operand(planner: &Planner<'_>, expression: &Expr) -> Option<Operand> {
    match expression {
        Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Plus, expr: inner } => {
            operand(planner, inner)
        }
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match unnested(expr) {
            Expr::Value(_) => Some(Operand::Negated(Box::new(operand(planner, expr)?))),
            _ => None,
        },
        Expr::Value(_) => {
            let index = value_token(planner, expression)?;
            planner.operand(&planner.statement.tokens[index])
        }
        _ => None,
    }
}

fn value_token(planner: &Planner<'_>, expression: &Expr) -> Option<usize> {
    match expression {
        Expr::Value(value) => planner.statement.token_at(offset(value.span.start.column)),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match &**expr {
            Expr::Value(_) => value_token(planner, expr),
            _ => None,
        },
        _ => None,
    }
}

fn unnested(expression: &Expr) -> &Expr {
    match expression {
        Expr::Nested(inner) => unnested(inner),
        other => other,
    }
}

fn is_null(operand: &Operand) -> bool {
    match operand {
        Operand::Constant(value) => value.is_null(),
        Operand::Negated(inner) => is_null(inner),
        _ => false,
    }
}

fn never_null(operand: &Operand) -> bool {
    match operand {
        Operand::Literal(_) => true,
        Operand::Constant(value) => !matches!(value, Value::Null),
        Operand::Negated(inner) => never_null(inner),
        Operand::Param(_) | Operand::Generated(_) => false,
    }
}
