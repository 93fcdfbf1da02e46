//! Which expressions, queries and aggregates stand inside an expression?

use std::ops::ControlFlow;

use sqlparser::ast::{
    self, BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Visit, Visitor,
};

/// The left side of `a IN (SELECT …)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compared<'q> {
    pub(super) expression: &'q Expr,
    /// Whether it matters only that the comparison is true, and not whether it is false or NULL.
    pub(super) only_true: bool,
}

/// The queries directly inside an expression; for `a IN (SELECT …)` with what is compared. In a
/// condition rows pass only where it is true.
pub(super) fn subqueries(expression: &Expr, is_condition: bool) -> Vec<(&ast::Query, Option<Compared<'_>>)> {
    let mut found = Vec::new();
    collect_queries(expression, is_condition, &mut found);
    found
}

fn collect_queries<'q>(
    expression: &'q Expr,
    only_true: bool,
    found: &mut Vec<(&'q ast::Query, Option<Compared<'q>>)>,
) {
    match expression {
        Expr::InSubquery { expr, subquery, negated } => {
            collect_queries(expr, false, found);
            let only_true = only_true && !negated;
            found.push((subquery, Some(Compared { expression: expr, only_true })));
        }
        Expr::Subquery(query) | Expr::Exists { subquery: query, .. } => found.push((query, None)),
        Expr::Nested(inner) => collect_queries(inner, only_true, found),
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
            collect_queries(left, only_true, found);
            collect_queries(right, only_true, found);
        }
        _ => {
            if let Expr::Function(function) = expression
                && let FunctionArguments::Subquery(query) = &function.args
            {
                found.push((query, None));
            }
            for child in children(expression) {
                collect_queries(child, false, found);
            }
        }
    }
}

/// The expressions directly inside an expression.
pub(super) fn children(expression: &Expr) -> Vec<&Expr> {
    match expression {
        Expr::Nested(a)
        | Expr::IsFalse(a)
        | Expr::IsNotFalse(a)
        | Expr::IsTrue(a)
        | Expr::IsNotTrue(a)
        | Expr::IsNull(a)
        | Expr::IsNotNull(a)
        | Expr::IsUnknown(a)
        | Expr::IsNotUnknown(a)
        | Expr::UnaryOp { expr: a, .. }
        | Expr::Cast { expr: a, .. }
        | Expr::Convert { expr: a, .. }
        | Expr::Extract { expr: a, .. }
        | Expr::Ceil { expr: a, .. }
        | Expr::Floor { expr: a, .. }
        | Expr::Collate { expr: a, .. }
        | Expr::Prefixed { value: a, .. }
        | Expr::InSubquery { expr: a, .. } => vec![a],
        Expr::BinaryOp { left: a, right: b, .. }
        | Expr::AnyOp { left: a, right: b, .. }
        | Expr::AllOp { left: a, right: b, .. }
        | Expr::IsDistinctFrom(a, b)
        | Expr::IsNotDistinctFrom(a, b)
        | Expr::RLike { expr: a, pattern: b, .. }
        | Expr::Position { expr: a, r#in: b } => vec![a, b],
        Expr::Like { expr: a, pattern: b, escape_char: c, .. } => {
            let mut all: Vec<&Expr> = vec![a, b];
            all.extend(c.as_deref());
            all
        }
        Expr::Between { expr: a, low: b, high: c, .. } => vec![a, b, c],
        Expr::InList { expr, list, .. } => std::iter::once(&**expr).chain(list).collect(),
        Expr::Tuple(list) => list.iter().collect(),
        Expr::Substring { expr, substring_from, substring_for, .. } => std::iter::once(&**expr)
            .chain(substring_from.as_deref())
            .chain(substring_for.as_deref())
            .collect(),
        Expr::Trim { expr, trim_what, .. } => std::iter::once(&**expr).chain(trim_what.as_deref()).collect(),
        Expr::Interval(interval) => vec![&interval.value],
        Expr::Case { operand, conditions, else_result, .. } => operand
            .as_deref()
            .into_iter()
            .chain(conditions.iter().flat_map(|when| [&when.condition, &when.result]))
            .chain(else_result.as_deref())
            .collect(),
        Expr::Function(function) => function_children(function),
        _ => Vec::new(),
    }
}

fn function_children(function: &ast::Function) -> Vec<&Expr> {
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    let mut all = Vec::new();
    for argument in &list.args {
        let (FunctionArg::Unnamed(value)
        | FunctionArg::Named { arg: value, .. }
        | FunctionArg::ExprNamed { arg: value, .. }) = argument;
        if let FunctionArgExpr::Expr(expression) = value {
            all.push(expression);
        }
    }
    for clause in &list.clauses {
        if let ast::FunctionArgumentClause::OrderBy(order) = clause {
            all.extend(order.iter().map(|item| &item.expr));
        }
    }
    all
}

/// Whether every query in an expression was found by [`subqueries`].
pub(super) fn is_walked(expression: &Expr) -> bool {
    struct Count(usize);
    impl Visitor for Count {
        type Break = ();
        fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Continue(())
        }
    }
    let count = |node: &dyn Fn(&mut Count) -> ControlFlow<()>| {
        let mut count = Count(0);
        let _ = node(&mut count);
        count.0
    };
    let all = count(&|counter| expression.visit(counter));
    let mut own = 0;
    for (query, _) in subqueries(expression, false) {
        own += count(&|counter| query.visit(counter));
    }
    all == own
}

/// Whether an item of a select list calls an aggregate or window function, outside subqueries.
pub(super) fn item_aggregates(item: &ast::SelectItem) -> bool {
    match item {
        ast::SelectItem::UnnamedExpr(expression)
        | ast::SelectItem::ExprWithAlias { expr: expression, .. } => aggregates(expression),
        _ => false,
    }
}

/// Whether an expression calls an aggregate or window function, outside subqueries.
pub(super) fn aggregates(expression: &Expr) -> bool {
    if let Expr::Function(function) = expression
        && (function.over.is_some() || is_aggregate(function))
    {
        return true;
    }
    if matches!(expression, Expr::Subquery(_) | Expr::Exists { .. }) {
        return false;
    }
    children(expression).into_iter().any(aggregates)
}

/// Whether an expression calls a window function, outside subqueries.
pub(super) fn has_window(expression: &Expr) -> bool {
    matches!(expression, Expr::Function(function) if function.over.is_some())
        || children(expression).into_iter().any(has_window)
}

/// MySQL's aggregate functions.
const AGGREGATES: &[&str] = &[
    "any_value",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "count",
    "group_concat",
    "json_arrayagg",
    "json_objectagg",
    "max",
    "min",
    "st_collect",
    "std",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "sum",
    "var_pop",
    "var_samp",
    "variance",
];

/// Whether the function is one of MySQL's aggregates.
pub(super) fn is_aggregate(function: &ast::Function) -> bool {
    let Some(name) = function_name(function) else { return false };
    AGGREGATES.contains(&name.as_str())
}

/// Whether a word names one of MySQL's aggregates.
pub(super) fn names_aggregate(word: &[u8]) -> bool {
    AGGREGATES.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
}

/// The function's name in lower case, if it has no qualifier.
pub(super) fn function_name(function: &ast::Function) -> Option<String> {
    match function.name.0.as_slice() {
        [only] => only.as_ident().map(|ident| ident.value.to_ascii_lowercase()),
        _ => None,
    }
}
