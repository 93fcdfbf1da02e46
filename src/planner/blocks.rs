//! How does a tree of queries become the blocks and uses of an [`Analysis`]?

use std::sync::Arc;

use sqlparser::ast::{self, Expr, SetExpr, TableFactor};

use super::context::Planner;
use super::scope::{
    Analysis, Block, JoinCondition as Condition, Missing, Source, SourceKind, TableUse, lower, offset,
};
use super::{facts, object_parts, walk};
use crate::error::{Result, SqlError};

/// A common table expression that is visible somewhere.
#[derive(Debug, Clone)]
struct Cte<'q> {
    name: String,
    query: &'q ast::Query,
    renames: bool,
    recursive: bool,
}

/// Builds an [`Analysis`].
pub(super) struct Builder<'a, 'q> {
    planner: &'a Planner<'a>,
    pub(super) analysis: Analysis,
    ctes: Vec<Cte<'q>>,
    /// The recursive expressions that are being read.
    recursing: Vec<String>,
}

/// Where a query stands.
#[derive(Debug, Clone, Copy)]
enum Place {
    Root,
    /// In an expression of this block.
    Expression(usize),
    /// In the FROM of this block; whether an outer join may fill its columns with NULL.
    Derived(usize, bool),
}

impl<'a, 'q> Builder<'a, 'q> {
    pub(super) fn new(planner: &'a Planner<'a>) -> Self {
        Self { planner, analysis: Analysis::default(), ctes: Vec::new(), recursing: Vec::new() }
    }

    /// The statement's own query.
    pub(super) fn root(&mut self, query: &'q ast::Query) -> Result<()> {
        self.analysis.roots = self.query(query, Place::Root)?;
        Ok(())
    }

    /// The tables and condition of an UPDATE or DELETE.
    pub(super) fn change(
        &mut self,
        tables: &'q [ast::TableWithJoins],
        selection: Option<&'q Expr>,
        others: &[&'q Expr],
    ) -> Result<()> {
        let block = self.new_block(None);
        self.analysis.roots.push(block);
        let mut conditions = Vec::new();
        self.from(tables, block, &mut conditions)?;
        self.conditions(block, conditions, selection)?;
        for expression in others {
            self.subqueries(expression, block, false)?;
        }
        Ok(())
    }

    fn new_block(&mut self, outer: Option<usize>) -> usize {
        self.analysis.blocks.push(Block { outer, ..Block::default() });
        self.analysis.blocks.len() - 1
    }

    /// All SELECTs of a query, as blocks.
    fn query(&mut self, query: &'q ast::Query, place: Place) -> Result<Vec<usize>> {
        let visible = self.ctes.len();
        if let Some(with) = &query.with {
            for cte in &with.cte_tables {
                self.ctes.push(Cte {
                    name: cte.alias.name.value.clone(),
                    query: &cte.query,
                    renames: !cte.alias.columns.is_empty(),
                    recursive: with.recursive,
                });
            }
        }
        let cuts = query.limit_clause.is_some() || query.fetch.is_some();
        let blocks = self.set_expression(&query.body, place, cuts)?;
        if let Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(list), .. }) = &query.order_by
            && let Some(&block) = blocks.first()
        {
            for item in list {
                self.subqueries(&item.expr, block, false)?;
            }
        }
        self.ctes.truncate(visible);
        Ok(blocks)
    }

    fn set_expression(&mut self, body: &'q SetExpr, place: Place, cuts: bool) -> Result<Vec<usize>> {
        match body {
            SetExpr::Select(select) => Ok(vec![self.select(select, place, cuts)?]),
            SetExpr::Query(query) => {
                if cuts {
                    self.analysis
                        .one_shard_only
                        .get_or_insert("queries in parentheses with a LIMIT around them");
                }
                self.query(query, place)
            }
            SetExpr::SetOperation { left, right, .. } => {
                self.analysis.one_shard_only.get_or_insert("UNION over several shards");
                let mut blocks = self.set_expression(left, place, true)?;
                blocks.extend(self.set_expression(right, place, true)?);
                Ok(blocks)
            }
            SetExpr::Values(_) => Ok(Vec::new()),
            _ => Err(SqlError::unsupported("this kind of query")),
        }
    }

    fn select(&mut self, select: &'q ast::Select, place: Place, cuts: bool) -> Result<usize> {
        let outer = match place {
            Place::Root => None,
            Place::Expression(block) => Some(block),
            // A derived table sees the query around its block, not the tables beside it.
            Place::Derived(block, _) => self.analysis.blocks[block].outer,
        };
        let block = self.new_block(outer);
        if select.into.is_some() {
            return Err(SqlError::unsupported("INTO on sharded keyspace"));
        }
        let mut conditions = Vec::new();
        self.from(&select.from, block, &mut conditions)?;
        let groups = !matches!(&select.group_by, ast::GroupByExpr::Expressions(list, _) if list.is_empty());
        let opaque = cuts
            || groups
            || select.distinct.is_some()
            || select.having.is_some()
            || !select.named_window.is_empty()
            || select.projection.iter().any(walk::item_aggregates);
        self.analysis.blocks[block].opaque = opaque;
        self.analysis.blocks[block].derived = matches!(place, Place::Derived(..));
        if let Place::Derived(parent, nullable) = place
            && !opaque
        {
            self.analysis.blocks[block].flattened_into = Some((parent, nullable));
        }
        self.outputs(select, block)?;
        self.conditions(block, conditions, select.selection.as_ref())?;
        if let Some(having) = &select.having {
            self.subqueries(having, block, true)?;
        }
        if let ast::GroupByExpr::Expressions(list, _) = &select.group_by {
            for expression in list {
                self.subqueries(expression, block, false)?;
            }
        }
        Ok(block)
    }

    /// What the select list lets through.
    fn outputs(&mut self, select: &'q ast::Select, block: usize) -> Result<()> {
        for item in &select.projection {
            match item {
                ast::SelectItem::UnnamedExpr(expression) => {
                    self.subqueries(expression, block, false)?;
                    let column = self.analysis.column(block, expression);
                    if let Some(name) = last_name(expression) {
                        self.analysis.blocks[block].outputs.push((name, column));
                    }
                }
                ast::SelectItem::ExprWithAlias { expr, alias } => {
                    self.subqueries(expr, block, false)?;
                    let column = self.analysis.column(block, expr);
                    self.analysis.blocks[block].outputs.push((lower(&alias.value), column));
                }
                ast::SelectItem::Wildcard(_) => {
                    let all = 0..self.analysis.blocks[block].sources.len();
                    self.analysis.blocks[block].wildcards.extend(all);
                }
                ast::SelectItem::QualifiedWildcard(kind, _) => {
                    if let ast::SelectItemQualifiedWildcardKind::ObjectName(name) = kind
                        && let Some(last) =
                            object_parts(name).and_then(|parts| parts.last().map(|part| part.value.clone()))
                    {
                        let sources = &self.analysis.blocks[block].sources;
                        let found = sources.iter().position(|source| source.name == last);
                        self.analysis.blocks[block].wildcards.extend(found);
                    }
                }
                ast::SelectItem::ExprWithAliases { .. } => {
                    return Err(SqlError::unsupported("this kind of select list"));
                }
            }
        }
        Ok(())
    }

    fn from(
        &mut self,
        tables: &'q [ast::TableWithJoins],
        block: usize,
        conditions: &mut Vec<Condition<'q>>,
    ) -> Result<()> {
        for joined in tables {
            self.joined(joined, block, false, conditions)?;
        }
        Ok(())
    }

    /// One comma-separated part of a FROM. Tells which sources it added.
    fn joined(
        &mut self,
        joined: &'q ast::TableWithJoins,
        block: usize,
        nullable: bool,
        conditions: &mut Vec<Condition<'q>>,
    ) -> Result<()> {
        let right_joins = joined.joins.iter().any(|join| {
            matches!(join.join_operator, ast::JoinOperator::Right(_) | ast::JoinOperator::RightOuter(_))
        });
        let first_source = self.analysis.blocks[block].sources.len();
        self.factor(&joined.relation, block, nullable || right_joins, conditions)?;
        for (position, join) in joined.joins.iter().enumerate() {
            use ast::JoinOperator as J;
            let own = self.analysis.blocks[block].sources.len();
            let later_right = joined.joins[position + 1..]
                .iter()
                .any(|later| matches!(later.join_operator, J::Right(_) | J::RightOuter(_)));
            let (constraint, outer_side) = match &join.join_operator {
                J::Join(constraint)
                | J::Inner(constraint)
                | J::CrossJoin(constraint)
                | J::StraightJoin(constraint) => {
                    self.factor(&join.relation, block, nullable || later_right, conditions)?;
                    (constraint, None)
                }
                J::Left(constraint) | J::LeftOuter(constraint) => {
                    self.factor(&join.relation, block, true, conditions)?;
                    let end = self.analysis.blocks[block].sources.len();
                    self.check_preserved(block, first_source..own, own..end);
                    (constraint, Some(own..end))
                }
                J::Right(constraint) | J::RightOuter(constraint) => {
                    self.factor(&join.relation, block, nullable || later_right, conditions)?;
                    let end = self.analysis.blocks[block].sources.len();
                    self.check_preserved(block, own..end, first_source..own);
                    (constraint, Some(first_source..own))
                }
                _ => return Err(SqlError::unsupported("this kind of join")),
            };
            match constraint {
                ast::JoinConstraint::On(condition) => {
                    // Behind a RIGHT JOIN that follows, this whole side may be missing.
                    let may_miss = nullable || later_right;
                    let nullable_sources =
                        outer_side.or_else(|| may_miss.then_some(first_source..usize::MAX));
                    conditions.push(Condition::On { condition, nullable_sources });
                }
                ast::JoinConstraint::Using(columns) => {
                    let left = first_source..own;
                    for column in columns {
                        let name = object_parts(column)
                            .and_then(|parts| parts.last().map(|part| lower(&part.value)));
                        if let Some(name) = name {
                            let missing = match &outer_side {
                                Some(side) if side.start == own => Missing::Right,
                                Some(_) => Missing::Left,
                                None => Missing::Neither,
                            };
                            let left = left.clone();
                            conditions.push(Condition::Using { name, left, right: own, missing });
                        }
                    }
                }
                // Which columns a NATURAL join compares is not known: it says nothing for routing.
                ast::JoinConstraint::Natural | ast::JoinConstraint::None => {}
            }
        }
        Ok(())
    }

    /// An outer join whose kept side is on every shard would keep its rows once per shard.
    fn check_preserved(
        &mut self,
        block: usize,
        kept: std::ops::Range<usize>,
        nullable: std::ops::Range<usize>,
    ) {
        let sharded = |analysis: &Analysis, range: std::ops::Range<usize>| {
            let sources = analysis.blocks[block].sources.get(range).unwrap_or_default();
            sources.iter().any(|source| analysis.is_sharded(source))
        };
        if !sharded(&self.analysis, kept) && sharded(&self.analysis, nullable) {
            self.analysis.blocks[block].preserved_reference = true;
        }
    }

    fn factor(
        &mut self,
        factor: &'q TableFactor,
        block: usize,
        nullable: bool,
        conditions: &mut Vec<Condition<'q>>,
    ) -> Result<()> {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                self.table(name, alias.as_ref(), block, nullable)
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                if *lateral {
                    self.analysis.one_shard_only.get_or_insert("lateral derived tables");
                }
                let name = alias.as_ref().map(|alias| alias.name.value.clone()).unwrap_or_default();
                let renames = alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
                let place = if *lateral { Place::Expression(block) } else { Place::Derived(block, nullable) };
                self.derived(subquery, name, renames, block, place)
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                self.joined(table_with_joins, block, nullable, conditions)
            }
            TableFactor::JsonTable { alias, .. } => {
                self.analysis.one_shard_only.get_or_insert("json_table");
                let name = alias.as_ref().map(|alias| alias.name.value.clone()).unwrap_or_default();
                self.add_source(block, name, None, SourceKind::Unknown);
                Ok(())
            }
            _ => Err(SqlError::unsupported("this kind of table")),
        }
    }

    fn add_source(&mut self, block: usize, name: String, keyspace: Option<String>, kind: SourceKind) {
        self.analysis.blocks[block].sources.push(Source { name, keyspace, kind });
    }

    fn derived(
        &mut self,
        query: &'q ast::Query,
        name: String,
        renames: bool,
        block: usize,
        place: Place,
    ) -> Result<()> {
        let inner = self.query(query, place)?;
        let kind = match inner.as_slice() {
            [only] if !renames => SourceKind::Derived(*only),
            [only] => SourceKind::Renamed(*only),
            _ => SourceKind::Unknown,
        };
        self.add_source(block, name, None, kind);
        Ok(())
    }

    fn table(
        &mut self,
        name: &'q ast::ObjectName,
        alias: Option<&'q ast::TableAlias>,
        block: usize,
        nullable: bool,
    ) -> Result<()> {
        let parts = object_parts(name).ok_or_else(|| SqlError::unsupported("this kind of table name"))?;
        let (qualifier, own) = match parts.as_slice() {
            [own] => (None, *own),
            [qualifier, own] => (Some(*qualifier), *own),
            _ => return Err(SqlError::unsupported("this kind of table name")),
        };
        let known_as = alias.map_or_else(|| own.value.clone(), |alias| alias.name.value.clone());
        if qualifier.is_none() {
            if self.recursing.contains(&own.value) {
                self.add_source(block, known_as, None, SourceKind::Unknown);
                return Ok(());
            }
            if let Some(cte) = self.ctes.iter().rev().find(|cte| cte.name == own.value).cloned() {
                return self.cte(&cte, known_as, block, nullable);
            }
            if own.value.eq_ignore_ascii_case("dual") {
                return Ok(());
            }
        }
        let system = match qualifier {
            Some(qualifier) => crate::sql::is_system_schema(qualifier.value.as_bytes()),
            None => self.planner.system_schema().is_some(),
        };
        if system {
            self.analysis.system = true;
            self.add_source(block, known_as, None, SourceKind::Unknown);
            return Ok(());
        }
        let table = self.planner.resolve(qualifier.map(|part| part.value.as_str()), &own.value)?;
        let span = |ident: &ast::Ident| (offset(ident.span.start.column), offset(ident.span.end.column));
        self.analysis.uses.push(TableUse {
            table,
            block,
            name: span(own),
            has_alias: alias.is_some(),
            nullable,
        });
        let keyspace = qualifier.filter(|_| alias.is_none()).map(|part| part.value.clone());
        let kind = SourceKind::Use(self.analysis.uses.len() - 1);
        self.add_source(block, known_as, keyspace, kind);
        Ok(())
    }

    fn cte(&mut self, cte: &Cte<'q>, known_as: String, block: usize, nullable: bool) -> Result<()> {
        if cte.recursive {
            self.analysis.one_shard_only.get_or_insert("WITH RECURSIVE over several shards");
        }
        // Inside itself, and inside those before it, a name does not mean this expression.
        let position = self.ctes.iter().position(|known| std::ptr::eq(known.query, cte.query)).unwrap_or(0);
        let hidden = self.ctes.split_off(position);
        if cte.recursive {
            self.recursing.push(cte.name.clone());
        }
        let outcome = self.derived(cte.query, known_as, cte.renames, block, Place::Derived(block, nullable));
        if cte.recursive {
            self.recursing.pop();
        }
        self.ctes.extend(hidden);
        outcome
    }

    fn conditions(
        &mut self,
        block: usize,
        conditions: Vec<Condition<'q>>,
        selection: Option<&'q Expr>,
    ) -> Result<()> {
        for condition in conditions {
            match condition {
                Condition::On { condition, nullable_sources } => {
                    self.subqueries(condition, block, true)?;
                    let found = facts::extract(self.planner, &self.analysis, block, condition);
                    let found = match nullable_sources {
                        Some(range) => {
                            found.of_outer_join(|column| self.analysis.stems_from(block, &range, column))
                        }
                        None => found,
                    };
                    self.analysis.blocks[block].facts.extend(found);
                }
                Condition::Using { name, left, right, missing } => {
                    let left = left
                        .into_iter()
                        .find_map(|source| self.analysis.source_column(block, source, &name, true));
                    let right = self.analysis.source_column(block, right, &name, true);
                    if let (Some(left), Some(right)) = (left, right) {
                        let facts = &mut self.analysis.blocks[block].facts;
                        match missing {
                            Missing::Neither => facts.edges.push((left, right)),
                            Missing::Left => facts.outer_edges.push((left, right)),
                            Missing::Right => facts.outer_edges.push((right, left)),
                        }
                    }
                }
            }
        }
        if let Some(selection) = selection {
            self.subqueries(selection, block, true)?;
            let found = facts::extract(self.planner, &self.analysis, block, selection);
            self.analysis.blocks[block].facts.extend(found);
        }
        Ok(())
    }

    /// The queries inside an expression, as blocks whose outer block is this one.
    fn subqueries(&mut self, expression: &'q Expr, block: usize, is_condition: bool) -> Result<()> {
        if !walk::is_walked(expression) {
            return Err(SqlError::unsupported("subqueries in this kind of expression"));
        }
        for (query, compared) in walk::subqueries(expression, is_condition) {
            let blocks = self.query(query, Place::Expression(block))?;
            // `a IN (SELECT b …)`: only rows with b = a matter, unless the query must see them all. Where
            // false and NULL differ, a NULL anywhere matters, too.
            if let (Some(compared), [inner]) = (compared, blocks.as_slice())
                && !self.analysis.blocks[*inner].opaque
                && let Some(own) = self.analysis.column(block, compared.expression)
                && let [(_, Some(theirs))] = self.analysis.blocks[*inner].outputs.as_slice()
                && self.analysis.blocks[*inner].wildcards.is_empty()
            {
                let theirs = theirs.clone();
                if compared.only_true || [&own, &theirs].iter().all(|own| self.analysis.never_null(own)) {
                    self.analysis.blocks[*inner].facts.edges.push((own, theirs));
                }
            }
        }
        Ok(())
    }
}

/// The name that an unnamed item of a select list gives its column.
fn last_name(expression: &Expr) -> Option<Arc<str>> {
    match expression {
        Expr::Identifier(ident) => Some(lower(&ident.value)),
        Expr::CompoundIdentifier(parts) => parts.last().map(|ident| lower(&ident.value)),
        _ => Some("".into()),
    }
}
