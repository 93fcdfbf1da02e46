//! Which tables does a statement read, under which names, and which column does a name mean?
//!
//! The statement becomes a list of *blocks*, one per SELECT, and a list of *uses*, one per table
//! named in some FROM. A derived table that neither groups nor cuts rows is *transparent*: its
//! conditions count as conditions of the block around it, and its columns lead through.

use std::sync::Arc;

use sqlparser::ast::Expr;

use super::facts::Facts;
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
    /// Whether it is on the nullable side of an outer join of its own block.
    pub(super) nullable: bool,
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
    pub(super) outputs: Vec<(Arc<str>, Option<ColumnRef>)>,
    /// The sources whose columns a wildcard lets through.
    pub(super) wildcards: Vec<usize>,
    /// A use whose rows every row of the block contains (not on the outer side of an outer join).
    pub(super) preserved_reference: bool,
    /// Whether it stands in a FROM and not in an expression.
    pub(super) derived: bool,
}

/// Something with columns in a FROM.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) keyspace: Option<String>,
    pub(super) kind: SourceKind,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum SourceKind {
    Use(usize),
    Derived(usize),
    /// A derived table that gives its columns other names.
    Renamed(usize),
    /// A common table expression that refers to itself, a table function, a UNION.
    Unknown,
}

/// A join condition, kept until all tables of the block are known.
pub(super) enum JoinCondition<'q> {
    On { condition: &'q Expr, nullable_sources: Option<std::ops::Range<usize>> },
    Using { name: Arc<str>, left: std::ops::Range<usize>, right: usize, missing: Missing },
}

/// Which side of a join may be missing.
#[derive(Debug, Clone, Copy)]
pub(super) enum Missing {
    Neither,
    Left,
    Right,
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

pub(super) fn offset(column: u64) -> u32 {
    u32::try_from(column).unwrap_or(u32::MAX)
}

pub(super) fn lower(name: &str) -> Arc<str> {
    name.to_ascii_lowercase().into()
}

// === impl Analysis ===

impl Analysis {
    pub(super) fn is_sharded(&self, source: &Source) -> bool {
        let sharded = |use_index: usize| {
            let table = &self.uses[use_index].table;
            table.sharded && !table.is_reference() && table.pinned.is_none()
        };
        match source.kind {
            SourceKind::Use(index) => sharded(index),
            SourceKind::Derived(block) | SourceKind::Renamed(block) => {
                self.blocks[block].sources.iter().any(|source| self.is_sharded(source))
            }
            SourceKind::Unknown => true,
        }
    }

    /// Whether an outer join may fill the columns of a use with NULL.
    pub(super) fn is_nullable(&self, own: &TableUse) -> bool {
        let (mut block, mut nullable) = (own.block, own.nullable);
        while let Some((into, behind_outer_join)) = self.blocks[block].flattened_into {
            block = into;
            nullable |= behind_outer_join;
        }
        nullable
    }

    /// Whether a column is NULL in no row: it may not be, or its vindex could not place such a row.
    pub(super) fn never_null(&self, (index, name): &ColumnRef) -> bool {
        let own = &self.uses[*index];
        let is_forbidden = own.table.column(name).is_some_and(|column| !column.nullable);
        let is_placed = own.table.primary_vindex().is_some_and(|primary| {
            primary.position(name).is_some_and(|position| primary.vindex.reads_number(position))
        });
        (is_forbidden || (own.table.sharded && is_placed)) && !self.is_nullable(own)
    }

    /// Whether a column belongs to one of these sources of the block.
    pub(super) fn stems_from(
        &self,
        block: usize,
        range: &std::ops::Range<usize>,
        column: &ColumnRef,
    ) -> bool {
        let sources = &self.blocks[block].sources;
        let sources =
            sources.get(range.start.min(sources.len())..range.end.min(sources.len())).unwrap_or_default();
        let home = self.uses[column.0].block;
        sources.iter().any(|source| match source.kind {
            SourceKind::Use(index) => index == column.0,
            SourceKind::Derived(inner) => home == inner,
            SourceKind::Renamed(_) | SourceKind::Unknown => false,
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
                let mut edges = own.facts.edges.iter().chain(&own.facts.outer_edges);
                let joined = edges.any(|(a, b)| (a == first || b == first) && a.1 == b.1);
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
            SourceKind::Renamed(_) | SourceKind::Unknown => true,
        }
    }

    /// The column of this name of a source; with `assume` also where it is not known to exist.
    pub(super) fn source_column(
        &self,
        block: usize,
        source: usize,
        name: &Arc<str>,
        assume: bool,
    ) -> Option<ColumnRef> {
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
            SourceKind::Renamed(_) | SourceKind::Unknown => None,
        }
    }
}
