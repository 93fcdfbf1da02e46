//! How do the answers of several shards become the one answer that a single server would give?
//!
//! Each shard runs the statement; rows are concatenated, merged by ORDER BY, deduplicated, cut by
//! LIMIT, or grouped ([`super::aggregate`]). Columns that only the gate needs are appended to the
//! select list and cut off at the end.

use sqlparser::ast;

use super::clauses::{self, Clauses, Run, same, scan, unwrapped};
use super::context::Planner;
use super::predicate::Shards;
use super::scope::{Analysis, lower};
use super::walk;
use super::{FROM_END, KeyColumn, Node, Route, SortKey, aggregate};
use crate::error::{Result, SqlError};
use crate::sql::{Edits, Operand, Piece, PieceList, TokenKind};

/// A SELECT over several shards while it is planned.
pub(super) struct Scatter<'a> {
    pub(super) planner: &'a Planner<'a>,
    pub(super) analysis: &'a Analysis,
    pub(super) select: &'a ast::Select,
    pub(super) clauses: Clauses,
    pub(super) edits: Edits,
    /// The texts of the appended columns.
    added: Vec<PieceList>,
    /// The index of the item that is a `*`, where there is one.
    star: Option<usize>,
}

/// A column of the rows that shards send, before it is known how many are appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// An item of the select list.
    Item(usize),
    /// The n-th appended column.
    Added(usize),
}

pub(super) fn plan(
    planner: &Planner<'_>,
    query: &ast::Query,
    analysis: &Analysis,
    shards: Shards,
    edits: Edits,
) -> Result<Node> {
    let (select, clauses) = only_select(planner, query)?;
    let mut scatter = Scatter { planner, analysis, select, clauses, edits, added: Vec::new(), star: None };
    scatter.check()?;
    scatter.star = scatter.find_star();
    let local_groups = scatter.groups_are_local();
    let aggregates = select.projection.iter().any(walk::item_aggregates) || select.having.is_some();
    if (aggregates || scatter.clauses.group_at.is_some()) && !local_groups {
        return aggregate::plan(scatter, shards);
    }
    scatter.rows(shards)
}

/// The statement's SELECT, if it is one that has no query around it with clauses of its own.
fn only_select<'q>(planner: &Planner<'_>, query: &'q ast::Query) -> Result<(&'q ast::Select, Clauses)> {
    match &*query.body {
        ast::SetExpr::Select(select) => {
            let start = super::scope::offset(select.select_token.0.span.start.column);
            let start =
                planner.statement.token_at(start).ok_or_else(|| SqlError::bug("a SELECT without a token"))?;
            Ok((select, scan(&planner.statement, start)))
        }
        ast::SetExpr::Query(inner) if query.order_by.is_none() && query.limit_clause.is_none() => {
            only_select(planner, inner)
        }
        _ => Err(SqlError::unsupported("this kind of query over several shards")),
    }
}

impl Scatter<'_> {
    fn check(&self) -> Result<()> {
        let clauses = &self.clauses;
        let windows = self.select.projection.iter().any(|item| match item {
            ast::SelectItem::UnnamedExpr(expression)
            | ast::SelectItem::ExprWithAlias { expr: expression, .. } => walk::has_window(expression),
            _ => false,
        });
        let refused = match () {
            () if clauses.calc_found_rows => "SQL_CALC_FOUND_ROWS over several shards",
            () if clauses.into.is_some() => "INTO on sharded keyspace",
            () if windows || clauses.window.is_some() => {
                "window functions are only supported for single-shard queries"
            }
            () if clauses.rollup => "GROUP BY WITH ROLLUP over several shards",
            () if clauses.items.len() != self.select.projection.len() => {
                "this select list over several shards"
            }
            () if clauses.order.iter().any(|(run, _)| self.has_subquery(*run)) => {
                "subqueries in ORDER BY over several shards"
            }
            () => return Ok(()),
        };
        Err(SqlError::unsupported(refused))
    }

    fn has_subquery(&self, run: Run) -> bool {
        (run.0..run.1).any(|index| self.planner.statement.is_word(index, "select"))
    }

    /// The item that is a wildcard of unknown width.
    fn find_star(&self) -> Option<usize> {
        let is_star = |item: &ast::SelectItem| {
            matches!(item, ast::SelectItem::Wildcard(_) | ast::SelectItem::QualifiedWildcard(..))
        };
        let mut stars = self.select.projection.iter().enumerate().filter(|(_, item)| is_star(item));
        stars.next().map(|(index, _)| index)
    }

    /// Whether all rows of a group are on one shard: the group (or the distinct row) contains the
    /// columns of a primary vindex.
    pub(super) fn groups_are_local(&self) -> bool {
        let ast::GroupByExpr::Expressions(expressions, _) = &self.select.group_by else { return false };
        if expressions.is_empty() {
            return false;
        }
        let columns: Vec<_> = expressions.iter().filter_map(|own| self.column_of(own)).collect();
        self.contain_primary(&columns)
    }

    fn column_of(&self, expression: &ast::Expr) -> Option<super::scope::ColumnRef> {
        self.analysis.column(*self.analysis.roots.first()?, expression)
    }

    fn contain_primary(&self, columns: &[super::scope::ColumnRef]) -> bool {
        self.analysis.uses.iter().enumerate().any(|(index, own)| {
            let primary =
                own.table.primary_vindex().filter(|_| own.table.sharded && !own.table.is_reference());
            // Rows that an outer join fills with NULL are on every shard.
            primary.filter(|_| !self.analysis.is_nullable(own)).is_some_and(|primary| {
                !primary.vindex.is_lookup()
                    && own.table.is_exact(primary)
                    && primary.columns.iter().all(|column| columns.contains(&(index, lower(column))))
            })
        })
    }

    /// Whether a select list with DISTINCT contains the columns of a primary vindex.
    fn distinct_is_local(&self) -> bool {
        let columns: Vec<_> = self
            .select
            .projection
            .iter()
            .filter_map(|item| match item {
                ast::SelectItem::UnnamedExpr(expression)
                | ast::SelectItem::ExprWithAlias { expr: expression, .. } => self.column_of(expression),
                _ => None,
            })
            .collect();
        // A wildcard over a derived table shows only what that lets through.
        let direct = self.analysis.uses.iter().any(|own| {
            self.analysis.roots.contains(&own.block)
                && own.table.sharded
                && own.table.primary_vindex().is_some_and(|primary| own.table.is_exact(primary))
                && !own.table.is_reference()
                && !own.nullable
        });
        let all = self.select.projection.iter().any(|item| matches!(item, ast::SelectItem::Wildcard(_)));
        (all && direct) || self.contain_primary(&columns)
    }

    /// Rows that no shard shares with another.
    fn rows(mut self, shards: Shards) -> Result<Node> {
        let distinct = self.clauses.distinct && !self.distinct_is_local();
        if distinct && (self.star.is_some() || self.clauses.group_at.is_some()) {
            return Err(SqlError::unsupported("DISTINCT of this select list over several shards"));
        }
        let mut order = Vec::new();
        for (run, descending) in self.clauses.order.clone() {
            let column = match self.item(run)? {
                Some(item) => Column::Item(item),
                None if self.clauses.distinct => {
                    return Err(SqlError::unsupported(
                        "DISTINCT with ORDER BY of another expression over several shards",
                    ));
                }
                None => {
                    self.check_aliases(run)?;
                    Column::Added(self.add_run(run))
                }
            };
            order.push((column, descending));
        }
        if distinct {
            self.order_by_all_items(&mut order);
        }
        let mut keys: Vec<(Column, Option<Column>, bool)> = Vec::with_capacity(order.len());
        for (at, &(column, descending)) in order.iter().enumerate() {
            let run = self.clauses.order.get(at).map(|(run, _)| *run);
            keys.push((column, aggregate::sort_weight(&mut self, column, run), descending));
        }
        let limit = self.limit()?;
        if distinct {
            // A shard tells rows apart by the weights, too, of which equal text may have several ('a' and
            // 'a '): its first rows may be fewer here.
            self.drop_limit();
        } else if let Some((count, offset)) = &limit {
            self.push_limit(count.is_some(), offset.is_some());
        }
        let order = keys
            .iter()
            .map(|&(column, weight, descending)| self.sort_key(column, weight, descending))
            .collect();
        let mut node = self.route(shards, order);
        if distinct {
            let keys = (0..self.clauses.items.len())
                .filter_map(|item| keys.iter().find(|key| key.0 == Column::Item(item)))
                .map(|&(column, weight, _)| self.key_column(column, weight))
                .collect();
            node = Node::Distinct { input: Box::new(node), keys };
        }
        if let Some((count, offset)) = limit {
            node = Node::Limit { input: Box::new(node), count, offset };
        }
        Ok(self.truncate(node))
    }

    /// In ORDER BY a name may mean an alias; in the select list, where the expression is appended, it
    /// means a column.
    fn check_aliases(&self, run: Run) -> Result<()> {
        let statement = &self.planner.statement;
        let is_alias = |name: &str| {
            (0..self.clauses.items.len())
                .any(|item| self.alias(item).is_some_and(|alias| alias.eq_ignore_ascii_case(name)))
        };
        let mut tokens = statement.tokens.get(run.0..run.1).unwrap_or_default().iter();
        if tokens.any(|token| token.identifier(statement.text).is_some_and(|name| is_alias(&name))) {
            return Err(SqlError::unsupported("ORDER BY an expression over an alias over several shards"));
        }
        Ok(())
    }

    /// DISTINCT is found by neighbours: every column takes part in the order.
    fn order_by_all_items(&mut self, order: &mut Vec<(Column, bool)>) {
        let mut text = String::new();
        for item in 0..self.clauses.items.len() {
            if !order.iter().any(|(column, _)| *column == Column::Item(item)) {
                let separator = if order.is_empty() && text.is_empty() { " ORDER BY " } else { ", " };
                text.push_str(separator);
                text.push_str(&(item + 1).to_string());
                order.push((Column::Item(item), false));
            }
        }
        let at = self.clauses.order_clause.map_or_else(|| self.order_place(), |run| self.end_of(run));
        self.edits.replace(at..at, vec![Piece::text(&text)]);
    }

    /// The byte at which a new ORDER BY may stand: in front of LIMIT and the locking clause.
    pub(super) fn order_place(&self) -> u32 {
        let at = self.clauses.limit_clause.map_or(self.clauses.tail, |run| run.0);
        self.end_of((0, at))
    }

    fn end_of(&self, run: Run) -> u32 {
        Clauses::bytes(&self.planner.statement, run).end
    }

    /// The item of the select list that an ORDER BY or GROUP BY expression means: by position, alias
    /// or as the same expression.
    pub(super) fn item(&self, run: Run) -> Result<Option<usize>> {
        let statement = &self.planner.statement;
        let tokens = unwrapped(statement.tokens.get(run.0..run.1).unwrap_or_default());
        if let [only] = tokens {
            if only.kind == TokenKind::Integer {
                let text = String::from_utf8_lossy(only.text(statement.text)).into_owned();
                let position = text.parse::<usize>().ok().and_then(|position| position.checked_sub(1));
                let position = position.filter(|&position| position < self.clauses.items.len());
                let star_before =
                    self.star.is_some_and(|star| position.is_none_or(|position| position >= star));
                if star_before {
                    return Err(SqlError::unsupported("positions behind * over several shards"));
                }
                return position.map(Some).ok_or_else(|| SqlError::unknown_column(&text, "order clause"));
            }
            if only.kind == TokenKind::Param {
                return Err(SqlError::unsupported("ORDER BY a parameter over several shards"));
            }
            if let Some(name) = only.identifier(statement.text) {
                let mut named = (0..self.clauses.items.len())
                    .filter(|&item| self.alias(item).is_some_and(|alias| alias.eq_ignore_ascii_case(&name)));
                if let Some(item) = named.next() {
                    return if named.next().is_some() {
                        Err(SqlError::unsupported("ORDER BY a name that several columns have"))
                    } else {
                        Ok(Some(item))
                    };
                }
            }
        }
        Ok((0..self.clauses.items.len()).find(|&item| {
            self.star != Some(item)
                && (same(statement, self.expression(item), run) || self.same_column(item, run))
        }))
    }

    /// Whether an item is the column that the run names, qualified or not.
    fn same_column(&self, item: usize, run: Run) -> bool {
        let name = |run: Run| -> Option<String> {
            let tokens = self.planner.statement.tokens.get(run.0..run.1)?;
            let names =
                tokens.iter().step_by(2).all(|token| token.identifier(self.planner.statement.text).is_some());
            let dots = tokens.iter().skip(1).step_by(2).all(|token| token.kind == TokenKind::Dot);
            (names && dots && tokens.len() % 2 == 1)
                .then(|| tokens.last()?.identifier(self.planner.statement.text))?
        };
        let (own, theirs) = (name(self.expression(item)), name(run));
        let one_table = self.analysis.blocks.len() == 1 && self.analysis.uses.len() == 1;
        one_table && own.is_some() && own.map(|name| lower(&name)) == theirs.map(|name| lower(&name))
    }

    /// The item's alias.
    pub(super) fn alias(&self, item: usize) -> Option<String> {
        match self.select.projection.get(item)? {
            ast::SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
            _ => None,
        }
    }

    /// The tokens of an item without its alias.
    pub(super) fn expression(&self, item: usize) -> Run {
        let run = self.clauses.items[item];
        if self.alias(item).is_none() {
            return run;
        }
        let last = run.1 - 1;
        let as_word = last > run.0 && self.planner.statement.is_word(last - 1, "as");
        (run.0, if as_word { last - 1 } else { last })
    }

    /// Appends an expression to the select list.
    pub(super) fn add_run(&mut self, run: Run) -> usize {
        let mut list = PieceList::default();
        self.write(run, &mut list);
        self.add(list)
    }

    pub(super) fn add(&mut self, list: PieceList) -> usize {
        self.added.push(list);
        self.added.len() - 1
    }

    pub(super) fn write(&self, run: Run, list: &mut PieceList) {
        self.edits.write(&self.planner.statement, Clauses::bytes(&self.planner.statement, run), list);
    }

    /// Appends what tells the order of a character column: its collation and weight.
    pub(super) fn add_weight(&mut self, column: Column) -> Option<Column> {
        if let Column::Item(item) = column
            && self.is_never_text(item)
        {
            return None;
        }
        let mut inner = PieceList::default();
        match column {
            Column::Item(item) => self.write(self.expression(item), &mut inner),
            Column::Added(added) => inner = self.added[added].clone(),
        }
        Some(Column::Added(self.add(weight_of(inner))))
    }

    /// Whether an item is known to be a number: COUNT, and columns that the VSchema knows.
    pub(super) fn is_never_text(&self, item: usize) -> bool {
        match self.select.projection.get(item) {
            Some(
                ast::SelectItem::UnnamedExpr(expression)
                | ast::SelectItem::ExprWithAlias { expr: expression, .. },
            ) => self.is_number(expression),
            _ => false,
        }
    }

    pub(super) fn is_number(&self, expression: &ast::Expr) -> bool {
        if let ast::Expr::Function(function) = expression {
            return matches!(walk::function_name(function).as_deref(), Some("count" | "sum" | "avg"));
        }
        self.column_of(expression).is_some_and(|(index, name)| {
            let table = &self.analysis.uses[index].table;
            let typed = table.column(&name).filter(|column| column.kind.is_known());
            typed.is_some_and(|column| column.kind.is_integral())
        })
    }

    /// `LIMIT`: how many and how many to skip.
    pub(super) fn limit(&self) -> Result<Option<(Option<Operand>, Option<Operand>)>> {
        let Some(run) = self.clauses.limit_clause else { return Ok(None) };
        let statement = &self.planner.statement;
        let tokens = statement.tokens.get(run.0 + 1..run.1).unwrap_or_default();
        let operand = |index: usize| {
            let token =
                tokens.get(index).filter(|token| matches!(token.kind, TokenKind::Integer | TokenKind::Param));
            token
                .and_then(|token| self.planner.operand(token))
                .ok_or_else(|| self.planner.syntax_error(run.0 + 1 + index))
        };
        let second = tokens.get(1);
        match tokens.len() {
            1 => Ok(Some((Some(operand(0)?), None))),
            3 if second.is_some_and(|token| token.kind == TokenKind::Comma) => {
                Ok(Some((Some(operand(2)?), Some(operand(0)?))))
            }
            3 if second.is_some_and(|token| token.is_word(statement.text, "offset")) => {
                Ok(Some((Some(operand(0)?), Some(operand(2)?))))
            }
            _ => Err(self.planner.syntax_error(run.0 + 1)),
        }
    }

    /// Each shard sends as many rows as could be needed of it.
    fn push_limit(&mut self, count: bool, offset: bool) {
        let Some(run) = self.clauses.limit_clause.filter(|_| count && offset) else { return };
        let bytes = Clauses::bytes(&self.planner.statement, (run.0 + 1, run.1));
        self.edits.replace(bytes, vec![Piece::LimitPlusOffset]);
    }

    /// Takes the LIMIT out of what the shards get.
    pub(super) fn drop_limit(&mut self) {
        if let Some(run) = self.clauses.limit_clause {
            let bytes = Clauses::bytes(&self.planner.statement, run);
            self.edits.replace(bytes, Vec::new());
        }
    }

    pub(super) fn key_column(&self, column: Column, weight: Option<Column>) -> KeyColumn {
        KeyColumn { column: self.index(column), weight: weight.map(|weight| self.index(weight)) }
    }

    pub(super) fn sort_key(&self, column: Column, weight: Option<Column>, descending: bool) -> SortKey {
        SortKey { key: self.key_column(column, weight), descending }
    }

    /// The column's position; all appended columns must be known.
    pub(super) fn index(&self, column: Column) -> usize {
        let items = self.clauses.items.len();
        match (column, self.star) {
            (Column::Item(item), Some(star)) if item > star => FROM_END + self.added.len() + items - item,
            (Column::Item(item), _) => item,
            (Column::Added(added), Some(_)) => FROM_END + self.added.len() - added,
            (Column::Added(added), None) => items + added,
        }
    }

    /// The route, with the appended columns in the select list.
    pub(super) fn route(&mut self, shards: Shards, order: Vec<SortKey>) -> Node {
        let mut pieces = Vec::new();
        for list in &self.added {
            pieces.push(Piece::text(", "));
            pieces.extend(list.clone().finish().pieces);
        }
        if !pieces.is_empty() {
            let at = self.end_of((0, self.clauses.items_end));
            self.edits.replace(at..at, pieces);
        }
        Node::Route(Route {
            keyspace: Some(shards.keyspace),
            routing: shards.routing,
            query: self.edits.template(&self.planner.statement),
            order,
        })
    }

    pub(super) fn truncate(&self, node: Node) -> Node {
        if self.added.is_empty() {
            return node;
        }
        let columns = match self.star {
            Some(_) => FROM_END + self.added.len(),
            None => self.clauses.items.len(),
        };
        Node::Truncate { input: Box::new(node), columns }
    }
}

/// `concat(cast(collation(x) as binary), ':', weight_string(x))`: see [`KeyColumn::weight`].
pub(super) fn weight_of(inner: PieceList) -> PieceList {
    let inner = inner.finish();
    let mut list = PieceList::default();
    list.push_text(b"concat(cast(collation(");
    for piece in inner.pieces.iter().cloned() {
        list.push(piece);
    }
    list.push_text(b") as binary), ':', weight_string(");
    for piece in inner.pieces.iter().cloned() {
        list.push(piece);
    }
    list.push_text(b"))");
    list
}

/// Whether runs of tokens are the same expression.
pub(super) fn same_runs(planner: &Planner<'_>, one: Run, other: Run) -> bool {
    clauses::same(&planner.statement, one, other)
}
