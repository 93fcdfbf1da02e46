//! What does the planner need to know about a table?

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Column, Domain, UniqueKey};
use crate::key::KeyspaceId;
use crate::vindex::Vindex;

/// A table of a keyspace. Shared by plans; never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The keyspace's name.
    pub keyspace: Arc<str>,
    /// The table's name; case matters, as on a MySQL server on Linux.
    pub name: Arc<str>,
    /// Whether the keyspace is sharded.
    pub sharded: bool,
    /// What kind of table it is.
    pub kind: TableKind,
    /// The vindexes over its columns, as declared; the first is the primary one.
    pub column_vindexes: Vec<ColumnVindex>,
    /// All ways to route by its columns, cheapest first: the declared vindexes, and the prefixes of
    /// a multi-column one.
    pub ordered: Vec<ColumnVindex>,
    /// The column that a sequence fills.
    pub auto_increment: Option<AutoIncrement>,
    /// Its columns, as far as known.
    pub columns: Vec<Column>,
    /// Whether `columns` lists all columns in order, so that `*` can be expanded by it: because the
    /// VSchema says so, or because they were read from a server.
    pub column_list_authoritative: bool,
    /// The primary and unique keys; none where they have not been read from a server.
    pub keys: Option<Arc<[UniqueKey]>>,
    /// The whole table lives on the shard that owns this id.
    pub pinned: Option<KeyspaceId>,
    /// For a reference table: the table that takes writes.
    pub source: Option<TableName>,
    /// For the source of reference tables: its copies, keyspace to table.
    pub referenced_by: BTreeMap<Arc<str>, Arc<str>>,
}

/// What kind of table it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TableKind {
    /// Rows that belong to one shard each.
    Ordinary,
    /// Gives numbers to other tables' auto-increment columns.
    Sequence,
    /// The same rows on every shard.
    Reference,
}

/// A vindex over columns of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnVindex {
    /// The vindex.
    pub vindex: Arc<Vindex>,
    /// The columns that it maps, in order, as declared.
    pub columns: Vec<Arc<str>>,
    /// The cost of routing by these columns.
    pub cost: u32,
    /// Whether values for these columns give at most one keyspace id.
    pub unique: bool,
    /// Whether these are only the first columns of the vindex, so that they give a key range.
    pub prefix: bool,
    /// Whether the table's rows keep this lookup up to date.
    pub owned: bool,
}

/// The column that a sequence fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoIncrement {
    /// The column.
    pub column: Arc<str>,
    /// The sequence table.
    pub sequence: TableName,
}

/// A table of a keyspace, by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// The keyspace.
    pub keyspace: Arc<str>,
    /// The table.
    pub table: Arc<str>,
}

// === impl Table ===

impl Table {
    /// A table of an unsharded keyspace that the VSchema does not list: all of it is on one shard,
    /// nothing is known about its columns.
    #[must_use]
    pub fn unlisted(keyspace: Arc<str>, name: &str) -> Self {
        Self {
            keyspace,
            name: name.into(),
            sharded: false,
            kind: TableKind::Ordinary,
            column_vindexes: Vec::new(),
            ordered: Vec::new(),
            auto_increment: None,
            columns: Vec::new(),
            column_list_authoritative: false,
            keys: None,
            pinned: None,
            source: None,
            referenced_by: BTreeMap::new(),
        }
    }

    /// The vindex that decides on which shard a row lives.
    #[must_use]
    pub fn primary_vindex(&self) -> Option<&ColumnVindex> {
        self.column_vindexes.first()
    }

    /// The lookups that the table's rows keep up to date.
    pub fn owned(&self) -> impl Iterator<Item = &ColumnVindex> {
        self.column_vindexes.iter().filter(|vindex| vindex.owned)
    }

    /// The column of this name, without regard to case.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// The domain of each column of one of its vindexes.
    #[must_use]
    pub fn domains(&self, vindex: &ColumnVindex) -> Vec<Domain> {
        let domain = |(position, column): (usize, &Arc<str>)| {
            Domain::of(self.column(column), &vindex.vindex, position)
        };
        vindex.columns.iter().enumerate().map(domain).collect()
    }

    /// Whether rows that are equal in the columns of this vindex are on the same shard.
    #[must_use]
    pub fn is_exact(&self, vindex: &ColumnVindex) -> bool {
        self.domains(vindex).iter().all(Domain::is_exact)
    }

    /// Whether it is a sequence.
    #[must_use]
    pub fn is_sequence(&self) -> bool {
        self.kind == TableKind::Sequence
    }

    /// Whether every shard holds the same rows.
    #[must_use]
    pub fn is_reference(&self) -> bool {
        self.kind == TableKind::Reference
    }

    /// Keyspace and table.
    #[must_use]
    pub fn full_name(&self) -> TableName {
        TableName { keyspace: self.keyspace.clone(), table: self.name.clone() }
    }
}

// === impl ColumnVindex ===

impl ColumnVindex {
    /// The position of this column among the vindex's columns, without regard to case.
    #[must_use]
    pub fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|own| own.eq_ignore_ascii_case(column))
    }
}

// === impl TableName ===

impl TableName {
    /// This keyspace and table.
    #[must_use]
    pub fn new(keyspace: &str, table: &str) -> Self {
        Self { keyspace: keyspace.into(), table: table.into() }
    }
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.keyspace, self.table)
    }
}
