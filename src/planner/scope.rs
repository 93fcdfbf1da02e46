//! Which tables does a statement read, under which names, and which column does a name mean?
//!
//! The statement becomes a list of *blocks*, one per SELECT, and a list of *uses*, one per table
//! named in some FROM. A derived table that neither groups nor cuts rows is *transparent*: its
//! conditions count as conditions of the block around it, and its columns lead through.

use std::sync::Arc;

use sqlparser::ast::{self, Expr, SetExpr, TableFactor};

use super::context::Planner;
use super::facts::{self, Facts};
use super::object_parts;
use crate::error::{Result, SqlError};
use crate::vschema::Table;

/// A column of one use of a table; the name is lower case.
pub(super) type ColumnRef = (usize, Arc<str>);

/// One table in one FROM.
#[derive(Debug, Clone)]
pub(super) struct TableUse {
    pub(super) table: Arc<Table>,
    pub(super) block: usize,
    /// Byte offsets of the table's own name, without qualifier.
    pub(super) name: (u32, u32),
    pub(super) has_alias: bool,
}

/// One SELECT (or the tables of an UPDATE or DELETE).
#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    /// Where names are looked up that the block does not know: the query around a subquery.
    pub(super) outer: Option<usize>,
    /// The block that this transparent derived table's conditions belong to, and whether only its
    /// equalities between columns do (behind an outer join).
    pub(super) flattened_into: Option<(usize, bool)>,
    pub(super) sources: Vec<Source>,
    pub(super) facts: Facts,
    /// Whether it groups, cuts or deduplicates rows, so that it must see them all.
    pub(super) opaque: bool,
    /// The output columns, as far as they are plain: name and column.
    outputs: Vec<(Arc<str>, Option<ColumnRef>)>,
    /// The sources whose columns a wildcard lets through.
    wildcards: Vec<usize>,
    /// A use whose rows every row of the block contains (not on the outer side of an outer join).
    pub(super) preserved_reference: bool,
    /// Whether it stands in a FROM and not in an expression.
    pub(super) derived: bool,
}

/// Something with columns in a FROM.
#[derive(Debug, Clone)]
pub(super) struct Source {
    name: String,
    keyspace: Option<String>,
    kind: SourceKind,
}

#[derive(Debug, Clone, Copy)]
enum SourceKind {
    Use(usize),
    Derived(usize),
    /// A common table expression that refers to itself, a table function, a UNION.
    Unknown,
}

/// A common table expression that is visible somewhere.
#[derive(Debug, Clone)]
struct Cte<'q> {
    name: String,
    query: &'q ast::Query,
    renames: bool,
    recursive: bool,
}

/// What a statement reads.
#[derive(Debug, Default)]
pub(super) struct Analysis {
    pub(super) uses: Vec<TableUse>,
    pub(super) blocks: Vec<Block>,
    /// The blocks that are not subqueries of an expression: the statement's own SELECTs.
    pub(super) roots: Vec<usize>,
    /// Tables of MySQL's own schemas are named.
    pub(super) system: bool,
    /// An UNION, recursive query, LATERAL or something else that only one shard can answer, by name.
    pub(super) one_shard_only: Option<&'static str>,
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
        let blocks = self.query(query, Place::Root)?;
        self.analysis.roots = blocks;
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
            self.subqueries(expression, block)?;
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
                self.subqueries(&item.expr, block)?;
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
            || select.projection.iter().any(facts::item_aggregates);
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
            self.subqueries(having, block)?;
        }
        if let ast::GroupByExpr::Expressions(list, _) = &select.group_by {
            for expression in list {
                self.subqueries(expression, block)?;
            }
        }
        Ok(block)
    }

    /// What the select list lets through.
    fn outputs(&mut self, select: &'q ast::Select, block: usize) -> Result<()> {
        for item in &select.projection {
            match item {
                ast::SelectItem::UnnamedExpr(expression) => {
                    self.subqueries(expression, block)?;
                    let column = self.analysis.column(block, expression);
                    if let Some(name) = last_name(expression) {
                        self.analysis.blocks[block].outputs.push((name, column));
                    }
                }
                ast::SelectItem::ExprWithAlias { expr, alias } => {
                    self.subqueries(expr, block)?;
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
                            conditions.push(Condition::Using { name, left: left.clone(), right: own });
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
        self.analysis.uses.push(TableUse { table, block, name: span(own), has_alias: alias.is_some() });
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
                    self.subqueries(condition, block)?;
                    let found = facts::extract(self.planner, &self.analysis, block, condition);
                    let found = match nullable_sources {
                        Some(range) => {
                            found.of_outer_join(|column| self.analysis.stems_from(block, &range, column))
                        }
                        None => found,
                    };
                    self.analysis.blocks[block].facts.extend(found);
                }
                Condition::Using { name, left, right } => {
                    let left = left
                        .into_iter()
                        .find_map(|source| self.analysis.source_column(block, source, &name, true));
                    let right = self.analysis.source_column(block, right, &name, true);
                    if let (Some(left), Some(right)) = (left, right) {
                        self.analysis.blocks[block].facts.edges.push((left, right));
                    }
                }
            }
        }
        if let Some(selection) = selection {
            self.subqueries(selection, block)?;
            let found = facts::extract(self.planner, &self.analysis, block, selection);
            self.analysis.blocks[block].facts.extend(found);
        }
        Ok(())
    }

    /// The queries inside an expression, as blocks whose outer block is this one.
    fn subqueries(&mut self, expression: &'q Expr, block: usize) -> Result<()> {
        if !facts::is_walked(expression) {
            return Err(SqlError::unsupported("subqueries in this kind of expression"));
        }
        for (query, compared) in facts::subqueries(expression) {
            let blocks = self.query(query, Place::Expression(block))?;
            // `a IN (SELECT b …)`: only rows with b = a matter, unless the query must see them all.
            if let (Some(compared), [inner]) = (compared, blocks.as_slice())
                && !self.analysis.blocks[*inner].opaque
                && let Some(own) = self.analysis.column(block, compared)
                && let [(_, Some(theirs))] = self.analysis.blocks[*inner].outputs.as_slice()
                && self.analysis.blocks[*inner].wildcards.is_empty()
            {
                let theirs = theirs.clone();
                self.analysis.blocks[*inner].facts.edges.push((own, theirs));
            }
        }
        Ok(())
    }
}

/// A join condition, kept until all tables of the block are known.
enum Condition<'q> {
    On { condition: &'q Expr, nullable_sources: Option<std::ops::Range<usize>> },
    Using { name: Arc<str>, left: std::ops::Range<usize>, right: usize },
}

pub(super) fn offset(column: u64) -> u32 {
    u32::try_from(column).unwrap_or(u32::MAX)
}

pub(super) fn lower(name: &str) -> Arc<str> {
    name.to_ascii_lowercase().into()
}

/// The name that an unnamed item of a select list gives its column.
fn last_name(expression: &Expr) -> Option<Arc<str>> {
    match expression {
        Expr::Identifier(ident) => Some(lower(&ident.value)),
        Expr::CompoundIdentifier(parts) => parts.last().map(|ident| lower(&ident.value)),
        _ => Some("".into()),
    }
}

// === impl Analysis ===

impl Analysis {
    fn is_sharded(&self, source: &Source) -> bool {
        let sharded = |use_index: usize| {
            let table = &self.uses[use_index].table;
            table.sharded && !table.is_reference() && table.pinned.is_none()
        };
        match source.kind {
            SourceKind::Use(index) => sharded(index),
            SourceKind::Derived(block) => {
                self.uses.iter().enumerate().any(|(index, own)| own.block == block && sharded(index))
            }
            SourceKind::Unknown => true,
        }
    }

    /// Whether a column belongs to one of these sources of the block.
    fn stems_from(&self, block: usize, range: &std::ops::Range<usize>, column: &ColumnRef) -> bool {
        let sources = &self.blocks[block].sources;
        let sources =
            sources.get(range.start.min(sources.len())..range.end.min(sources.len())).unwrap_or_default();
        let home = self.uses[column.0].block;
        sources.iter().any(|source| match source.kind {
            SourceKind::Use(index) => index == column.0,
            SourceKind::Derived(inner) => home == inner,
            SourceKind::Unknown => false,
        })
    }

    /// The table's column that an expression of a block is, if that is certain.
    pub(super) fn column(&self, block: usize, expression: &Expr) -> Option<ColumnRef> {
        match expression {
            Expr::Nested(inner) => self.column(block, inner),
            Expr::Identifier(ident) if !ident.value.starts_with('@') => {
                self.unqualified(block, &lower(&ident.value))
            }
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, column] => self.qualified(block, None, &table.value, &lower(&column.value)),
                [keyspace, table, column] => {
                    self.qualified(block, Some(&keyspace.value), &table.value, &lower(&column.value))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether some table of the block is known to have the column.
    pub(super) fn knows_column(&self, block: usize, name: &str) -> bool {
        let name = lower(name);
        let sources = self.blocks.get(block).map_or(0, |block| block.sources.len());
        (0..sources).any(|source| self.source_column(block, source, &name, false).is_some())
    }

    fn unqualified(&self, block: usize, name: &Arc<str>) -> Option<ColumnRef> {
        let own = &self.blocks[block];
        let known: Vec<ColumnRef> = (0..own.sources.len())
            .filter_map(|source| self.source_column(block, source, name, false))
            .collect();
        match known.as_slice() {
            [only] => return Some(only.clone()),
            [first, ..] => {
                // Several tables have it: legal only where a USING made them equal.
                let joined = own.facts.edges.iter().any(|(a, b)| (a == first || b == first) && a.1 == b.1);
                return joined.then(|| first.clone());
            }
            [] => {}
        }
        let possible: Vec<usize> =
            (0..own.sources.len()).filter(|&source| self.may_have(block, source, name)).collect();
        match (possible.as_slice(), own.outer) {
            ([], Some(outer)) => self.unqualified(outer, name),
            ([only], None) => self.source_column(block, *only, name, true),
            _ => None,
        }
    }

    fn qualified(
        &self,
        block: usize,
        keyspace: Option<&str>,
        table: &str,
        name: &Arc<str>,
    ) -> Option<ColumnRef> {
        let own = &self.blocks[block];
        let found = own.sources.iter().position(|source| {
            source.name == table
                && keyspace
                    .is_none_or(|keyspace| source.keyspace.as_deref().is_none_or(|own| own == keyspace))
        });
        match (found, own.outer) {
            (Some(source), _) => self.source_column(block, source, name, true),
            (None, Some(outer)) => self.qualified(outer, keyspace, table, name),
            (None, None) => None,
        }
    }

    /// Whether a source could have a column of this name.
    fn may_have(&self, block: usize, source: usize, name: &Arc<str>) -> bool {
        match self.blocks[block].sources[source].kind {
            SourceKind::Use(index) => {
                let table = &self.uses[index].table;
                !table.column_list_authoritative || table.column(name).is_some()
            }
            SourceKind::Derived(inner) => {
                let inner_block = &self.blocks[inner];
                inner_block.outputs.iter().any(|(output, _)| output == name)
                    || inner_block.wildcards.iter().any(|&through| self.may_have(inner, through, name))
            }
            SourceKind::Unknown => true,
        }
    }

    /// The column of this name of a source; with `assume` also where it is not known to exist.
    fn source_column(&self, block: usize, source: usize, name: &Arc<str>, assume: bool) -> Option<ColumnRef> {
        match self.blocks[block].sources.get(source)?.kind {
            SourceKind::Use(index) => {
                let table = &self.uses[index].table;
                let known = table.column(name).is_some()
                    || table.column_vindexes.iter().any(|vindex| vindex.position(name).is_some());
                (known || assume).then(|| (index, name.clone()))
            }
            SourceKind::Derived(inner) => {
                let inner_block = &self.blocks[inner];
                let named = inner_block.outputs.iter().find(|(output, _)| output == name);
                if let Some((_, column)) = named {
                    return column.clone();
                }
                match inner_block.wildcards.as_slice() {
                    [only] => self.source_column(inner, *only, name, assume),
                    many => many.iter().find_map(|&through| self.source_column(inner, through, name, false)),
                }
            }
            SourceKind::Unknown => None,
        }
    }
}
