//! Which columns does a statement use, and what for?
//!
//! The one row of `VEXPLAIN KEYS`, for tools that choose vindexes and indexes. The keys of the JSON are
//! those of Vitess's `operators/keys.go`; tables stand under their own names, not their aliases. A column
//! whose table is not certain stands alone.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use serde_json::{Map, Value as Json};
use sqlparser::ast::{
    self, AssignmentTarget, BinaryOperator, Expr, FromTable, GroupByExpr, SelectItem, SetExpr, TableFactor,
    TableObject, Visit, Visitor,
};

use super::context::Planner;
use super::object_parts;
use crate::error::{Result, SqlError};
use crate::sql::parse;

/// What a statement uses.
#[derive(Debug, Default)]
pub(super) struct Usage {
    tables: BTreeSet<String>,
    grouping: BTreeSet<String>,
    /// `table.column word`.
    pub(super) filters: BTreeSet<String>,
    /// `table.column` that equals a value, or one of several, in every row that WHERE lets through.
    pub(super) fixed: BTreeSet<String>,
    selected: BTreeSet<String>,
    joins: BTreeSet<String>,
}

/// The tables of one FROM: the name that columns are qualified with, and the table's own.
#[derive(Debug, Default, Clone)]
struct Tables<'a> {
    named: Vec<(String, Named)>,
    outer: Option<Box<Tables<'a>>>,
    planner: Option<&'a Planner<'a>>,
}

#[derive(Debug, Clone)]
enum Named {
    Table {
        qualifier: Option<String>,
        name: String,
    },
    /// A derived table or a common table expression.
    Derived,
}

/// The JSON of `VEXPLAIN KEYS`.
///
/// # Errors
/// 1064, or VT12001 for anything but queries and changes of rows.
pub(super) fn describe(planner: &Planner<'_>) -> Result<String> {
    let (kind, usage) = usage(planner)?;
    let mut json = Map::new();
    json.insert("statementType".into(), kind.into());
    for (key, names) in [
        ("tableName", usage.tables),
        ("groupingColumns", usage.grouping),
        ("joinPredicates", usage.joins),
        ("filterColumns", usage.filters),
        ("selectColumns", usage.selected),
    ] {
        if !names.is_empty() {
            json.insert(key.into(), names.into_iter().collect::<Vec<_>>().into());
        }
    }
    Ok(super::vitess::indented(&Json::Object(json)))
}

/// The statement's word and what it uses.
///
/// # Errors
/// As [`describe`].
pub(super) fn usage(planner: &Planner<'_>) -> Result<(&'static str, Usage)> {
    let mut usage = Usage::default();
    let mut reader = Reader { planner, usage: &mut usage, ctes: BTreeSet::new() };
    let kind = match parse(&planner.statement)? {
        ast::Statement::Query(query) => {
            reader.query(&query, None);
            "SELECT"
        }
        ast::Statement::Insert(insert) => {
            if let TableObject::TableName(name) = &insert.table {
                reader.table(name);
            }
            if let Some(source) = &insert.source {
                reader.query(source, None);
            }
            if insert.replace_into { "REPLACE" } else { "INSERT" }
        }
        ast::Statement::Update(update) => {
            let mut tables = reader.tables(None);
            reader.join(&update.table, &mut tables);
            for assignment in &update.assignments {
                if let AssignmentTarget::ColumnName(_) = &assignment.target {
                    reader.select(&assignment.value, &tables);
                }
            }
            reader.conditions(update.selection.as_ref(), &tables);
            reader.fixed(update.selection.as_ref(), &tables);
            "UPDATE"
        }
        ast::Statement::Delete(delete) => {
            let mut tables = reader.tables(None);
            let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
            for joined in from.iter().chain(delete.using.iter().flatten()) {
                reader.join(joined, &mut tables);
            }
            reader.conditions(delete.selection.as_ref(), &tables);
            reader.fixed(delete.selection.as_ref(), &tables);
            "DELETE"
        }
        _ => return Err(SqlError::unsupported("VEXPLAIN KEYS of anything but queries and changes of rows")),
    };
    Ok((kind, usage))
}

struct Reader<'a, 'u> {
    planner: &'a Planner<'a>,
    usage: &'u mut Usage,
    ctes: BTreeSet<String>,
}

impl<'a> Reader<'a, '_> {
    fn tables(&self, outer: Option<&Tables<'a>>) -> Tables<'a> {
        Tables { named: Vec::new(), outer: outer.cloned().map(Box::new), planner: Some(self.planner) }
    }

    fn query(&mut self, query: &ast::Query, outer: Option<&Tables<'a>>) {
        if let Some(with) = &query.with {
            for cte in &with.cte_tables {
                self.ctes.insert(cte.alias.name.value.to_ascii_lowercase());
                self.query(&cte.query, outer);
            }
        }
        self.body(&query.body, outer);
    }

    fn body(&mut self, body: &SetExpr, outer: Option<&Tables<'a>>) {
        match body {
            SetExpr::Select(select) => self.block(select, outer),
            SetExpr::Query(query) => self.query(query, outer),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left, outer);
                self.body(right, outer);
            }
            _ => {}
        }
    }

    fn block(&mut self, select: &ast::Select, outer: Option<&Tables<'a>>) {
        let mut tables = self.tables(outer);
        for joined in &select.from {
            self.join(joined, &mut tables);
        }
        for item in &select.projection {
            if let SelectItem::UnnamedExpr(own) | SelectItem::ExprWithAlias { expr: own, .. } = item {
                self.select(own, &tables);
            }
        }
        self.conditions(select.selection.as_ref(), &tables);
        self.fixed(select.selection.as_ref(), &tables);
        self.conditions(select.having.as_ref(), &tables);
        if let GroupByExpr::Expressions(all, _) = &select.group_by {
            for own in all {
                let columns = columns_of(own, &tables);
                self.usage.grouping.extend(columns);
            }
        }
    }

    fn join(&mut self, joined: &ast::TableWithJoins, tables: &mut Tables<'a>) {
        self.factor(&joined.relation, tables);
        for join in &joined.joins {
            self.factor(&join.relation, tables);
            match constraint(&join.join_operator) {
                Some(ast::JoinConstraint::On(condition)) => self.conditions(Some(condition), tables),
                Some(ast::JoinConstraint::Using(names)) => {
                    for name in names.iter().filter_map(|name| object_parts(name)?.last().copied()) {
                        self.using(&name.value, tables);
                    }
                }
                _ => {}
            }
        }
    }

    /// USING is an equality between the last table and the one before it that has the column.
    fn using(&mut self, column: &str, tables: &Tables<'a>) {
        let [.., left, right] = tables.named.as_slice() else { return };
        if let (Named::Table { name: left, .. }, Named::Table { name: right, .. }) = (&left.1, &right.1) {
            let (left, right) = (qualified(left, column), qualified(right, column));
            self.usage.joins.insert(format!("{left} = {right}"));
        }
    }

    fn factor(&mut self, factor: &TableFactor, tables: &mut Tables<'a>) {
        match factor {
            TableFactor::Table { name, alias, .. } => {
                let Some(parts) = object_parts(name) else { return };
                let Some(own) = parts.last() else { return };
                let shown = alias.as_ref().map_or(&own.value, |alias| &alias.name.value).clone();
                let is_cte = parts.len() == 1 && self.ctes.contains(&own.value.to_ascii_lowercase());
                let qualifier = (parts.len() > 1).then(|| parts[parts.len() - 2].value.clone());
                let named = if is_cte {
                    Named::Derived
                } else {
                    self.table(name);
                    Named::Table { qualifier, name: own.value.clone() }
                };
                tables.named.push((shown, named));
            }
            TableFactor::Derived { subquery, alias, .. } => {
                // The tables beside it are not seen inside.
                let outer = tables.outer.as_deref().cloned();
                self.query(subquery, outer.as_ref());
                let shown = alias.as_ref().map(|alias| alias.name.value.clone()).unwrap_or_default();
                tables.named.push((shown, Named::Derived));
            }
            TableFactor::NestedJoin { table_with_joins, .. } => self.join(table_with_joins, tables),
            _ => tables.named.push((String::new(), Named::Derived)),
        }
    }

    fn table(&mut self, name: &ast::ObjectName) {
        if let Some(own) = object_parts(name).and_then(|parts| parts.last().copied().cloned()) {
            self.usage.tables.insert(identifier(&own.value));
        }
    }

    fn select(&mut self, expression: &Expr, tables: &Tables<'a>) {
        let columns = columns_of(expression, tables);
        self.usage.selected.extend(columns);
        self.subqueries(expression, tables);
    }

    fn subqueries(&mut self, expression: &Expr, tables: &Tables<'a>) {
        for (query, _) in super::walk::subqueries(expression, false) {
            self.query(query, Some(tables));
        }
    }

    fn conditions(&mut self, condition: Option<&Expr>, tables: &Tables<'a>) {
        let Some(condition) = condition else { return };
        match condition {
            Expr::Nested(inner) => return self.conditions(Some(inner), tables),
            Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
                self.conditions(Some(left), tables);
                self.conditions(Some(right), tables);
                return;
            }
            Expr::BinaryOp { left, op, right } => {
                if let Some(word) = comparison(op) {
                    self.compare(left, (word, &op.to_string()), right, tables);
                }
            }
            Expr::InList { expr, negated, .. } | Expr::InSubquery { expr, negated, .. } => {
                self.filter(expr, if *negated { "not_in" } else { "in" }, tables);
            }
            Expr::Between { expr, negated: false, .. } => {
                self.filter(expr, "ge", tables);
                self.filter(expr, "le", tables);
            }
            Expr::Like { expr, negated, .. } => {
                self.filter(expr, if *negated { "not_like" } else { "like" }, tables);
            }
            Expr::RLike { expr, negated, .. } => {
                self.filter(expr, if *negated { "not_regexp" } else { "regexp" }, tables);
            }
            Expr::IsNull(own) => self.filter(own, "is_null", tables),
            Expr::IsNotNull(own) => self.filter(own, "is_not_null", tables),
            _ => {}
        }
        self.subqueries(condition, tables);
    }

    /// The equalities with values that hold for every row.
    fn fixed(&mut self, condition: Option<&Expr>, tables: &Tables<'a>) {
        match condition {
            Some(Expr::Nested(inner)) => self.fixed(Some(inner), tables),
            Some(Expr::BinaryOp { left, op: BinaryOperator::And, right }) => {
                self.fixed(Some(left), tables);
                self.fixed(Some(right), tables);
            }
            Some(Expr::BinaryOp { left, op: BinaryOperator::Eq, right }) => {
                let own = match (tables.column(left), tables.column(right)) {
                    (Some(column), None) if is_value(right, tables) => Some(column),
                    (None, Some(column)) if is_value(left, tables) => Some(column),
                    _ => None,
                };
                self.usage.fixed.extend(own);
            }
            Some(Expr::InList { expr, list, negated: false })
                if list.iter().all(|one| is_value(one, tables)) =>
            {
                self.usage.fixed.extend(tables.column(expr));
            }
            _ => {}
        }
    }

    fn compare(&mut self, left: &Expr, (word, sign): (&str, &str), right: &Expr, tables: &Tables<'a>) {
        match (tables.column(left), tables.column(right)) {
            (Some(left), Some(right)) => {
                self.usage.joins.insert(format!("{left} {sign} {right}"));
            }
            (Some(column), None) => {
                self.usage.filters.insert(format!("{column} {word}"));
            }
            (None, Some(column)) => {
                self.usage.filters.insert(format!("{column} {}", mirrored(word)));
            }
            (None, None) => {}
        }
    }

    fn filter(&mut self, expression: &Expr, word: &str, tables: &Tables<'a>) {
        let columns = match expression {
            Expr::Tuple(all) => all.iter().filter_map(|own| tables.column(own)).collect(),
            own => tables.column(own).into_iter().collect::<Vec<_>>(),
        };
        self.usage.filters.extend(columns.into_iter().map(|column| format!("{column} {word}")));
    }
}

impl Tables<'_> {
    /// The column that an expression is.
    fn column(&self, expression: &Expr) -> Option<String> {
        match expression {
            Expr::Nested(inner) => self.column(inner),
            Expr::Identifier(ident) if !ident.value.starts_with('@') => Some(self.unqualified(&ident.value)),
            Expr::CompoundIdentifier(parts) => {
                let [.., table, column] = parts.as_slice() else { return None };
                self.qualified(&table.value, &column.value)
            }
            _ => None,
        }
    }

    fn qualified(&self, table: &str, column: &str) -> Option<String> {
        match self.named.iter().find(|(shown, _)| shown == table) {
            Some((_, Named::Table { name, .. })) => Some(qualified(name, column)),
            Some((_, Named::Derived)) => Some(qualified(table, column)),
            None => self.outer.as_deref()?.qualified(table, column),
        }
    }

    fn unqualified(&self, column: &str) -> String {
        if let [(_, Named::Table { name, .. })] = self.named.as_slice()
            && self.outer.is_none()
        {
            return qualified(name, column);
        }
        let known = self.named.iter().filter_map(|(_, named)| match named {
            Named::Table { qualifier, name } => {
                let table = self.planner?.resolve(qualifier.as_deref(), name).ok()?;
                table.column(&column.to_ascii_lowercase()).map(|_| name)
            }
            Named::Derived => None,
        });
        match known.collect::<Vec<_>>().as_slice() {
            [only] => qualified(only, column),
            _ => identifier(column),
        }
    }
}

/// The columns inside an expression, outside subqueries.
fn columns_of(expression: &Expr, tables: &Tables<'_>) -> Vec<String> {
    struct Columns<'t, 'a> {
        tables: &'t Tables<'a>,
        depth: usize,
        found: Vec<String>,
    }
    impl Visitor for Columns<'_, '_> {
        type Break = ();

        fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
            self.depth += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            if self.depth == 0 && !matches!(expression, Expr::Nested(_)) {
                self.found.extend(self.tables.column(expression));
            }
            ControlFlow::Continue(())
        }
    }
    let mut columns = Columns { tables, depth: 0, found: Vec::new() };
    let _ = expression.visit(&mut columns);
    columns.found
}

/// Whether an expression is the same for all rows.
fn is_value(expression: &Expr, tables: &Tables<'_>) -> bool {
    columns_of(expression, tables).is_empty() && super::walk::subqueries(expression, false).is_empty()
}

fn constraint(join: &ast::JoinOperator) -> Option<&ast::JoinConstraint> {
    use ast::JoinOperator as J;
    match join {
        J::Join(own)
        | J::Inner(own)
        | J::Left(own)
        | J::LeftOuter(own)
        | J::Right(own)
        | J::RightOuter(own)
        | J::StraightJoin(own) => Some(own),
        _ => None,
    }
}

/// Vitess's word for a comparison.
fn comparison(operator: &BinaryOperator) -> Option<&'static str> {
    Some(match operator {
        BinaryOperator::Eq => "eq",
        BinaryOperator::Spaceship => "nullsafeeq",
        BinaryOperator::NotEq => "ne",
        BinaryOperator::Lt => "lt",
        BinaryOperator::LtEq => "le",
        BinaryOperator::Gt => "gt",
        BinaryOperator::GtEq => "ge",
        _ => return None,
    })
}

/// The comparison with its sides exchanged.
fn mirrored(word: &str) -> &str {
    match word {
        "lt" => "gt",
        "le" => "ge",
        "gt" => "lt",
        "ge" => "le",
        same => same,
    }
}

pub(super) fn qualified(table: &str, column: &str) -> String {
    format!("{}.{}", identifier(table), identifier(column))
}

/// A name, quoted where it is more than a plain word.
pub(super) fn identifier(name: &str) -> String {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$')
        && !name.bytes().all(|byte| byte.is_ascii_digit());
    if plain { name.to_owned() } else { crate::sql::literal::identifier(name) }
}
