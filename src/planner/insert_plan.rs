//! What does the plan of an INSERT say?

use std::sync::Arc;

use super::{Node, Plan, Route, SequenceRef};
use crate::sql::{Operand, Template};
use crate::vindex::Vindex;
use crate::vschema::{ColumnType, Domain, TableName};

/// INSERT … VALUES / SET, REPLACE.
#[derive(Debug, Clone, PartialEq)]
pub struct Insert {
    /// The keyspace.
    pub keyspace: Arc<str>,
    /// The statement with [`crate::sql::Piece::Rows`] where the row list goes.
    pub query: Template,
    /// One template per row: `(1, 'a', …)`.
    pub rows: Vec<Template>,
    /// How each row finds its shard; none for an unsharded keyspace (one statement, all rows).
    pub sharding: Option<InsertSharding>,
    /// The auto-increment column that a sequence fills.
    pub sequence: Option<InsertSequence>,
    /// INSERT IGNORE: a row that collides is left out.
    pub ignores: bool,
    /// What its answer tells of a row that was there already.
    pub found: FoundRow,
}

/// What the answer to an upsert of a table with a sequence tells of a row that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundRow {
    /// Nothing: there is no sequence, or no such clause.
    Untold,
    /// The row's id, by `id = LAST_INSERT_ID(id)` that the gate adds.
    Told,
    /// What the client's own `LAST_INSERT_ID(expr)` says.
    ByClient,
}

/// UPDATE or DELETE of rows that are found first, by a locking read of their keys.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyedChange {
    /// The read: key columns, vindex columns, and what only its order needs.
    pub read: Box<Node>,
    /// The types of the key columns and the vindex columns.
    pub kinds: Vec<ColumnType>,
    /// How many columns the key has.
    pub key: usize,
    /// Which columns of the read are those of the vindex.
    pub primary: Vec<Option<usize>>,
    /// The statement with [`crate::sql::Piece::Rows`] where the keys go, each as a row.
    pub change: Insert,
    /// Where the rows may have to go to other shards then.
    pub moves: Option<RowMoves>,
}

/// An UPDATE assigns columns that decide where its rows live.
#[derive(Debug, Clone, PartialEq)]
pub struct RowMoves {
    /// The table.
    pub table: Arc<str>,
    /// The columns of its primary key.
    pub keys: Vec<Arc<str>>,
    /// What each of them is afterwards.
    pub new_keys: Vec<NewValue>,
    /// How the changed rows find their shards.
    pub sharding: InsertSharding,
    /// What each column of the primary vindex is afterwards.
    pub primary: Vec<NewValue>,
    /// The same of each further vindex.
    pub verify: Vec<Vec<NewValue>>,
}

/// What a column is after an UPDATE.
#[derive(Debug, Clone, PartialEq)]
pub enum NewValue {
    /// What it was: the column of the read at this place.
    Old(usize),
    /// This value, as a column of this kind stores it.
    Given(Operand, Domain),
}

/// INSERT … SELECT by the gate: it reads the rows of the query, then inserts them as listed ones.
#[derive(Debug, Clone, PartialEq)]
pub struct InsertSelect {
    /// The query.
    pub source: Box<Plan>,
    /// The INSERT, with no rows yet.
    pub insert: Insert,
    /// The type of the column that each column of the query goes to.
    pub kinds: Vec<ColumnType>,
    /// Which columns of the query are those of the primary vindex; none for the one that a sequence fills.
    pub primary: Vec<Option<usize>>,
    /// The same of each further vindex.
    pub verify: Vec<Vec<Option<usize>>>,
    /// Which column of the query is the sequence's; none where that is behind all others.
    pub sequence_at: Option<usize>,
}

/// How the rows of an INSERT find their shards.
#[derive(Debug, Clone, PartialEq)]
pub struct InsertSharding {
    /// The table's primary vindex.
    pub vindex: Arc<Vindex>,
    /// Names of its columns, for messages.
    pub columns: Vec<Arc<str>>,
    /// For each row, one operand per vindex column.
    pub values: Vec<Vec<Operand>>,
    /// What each column stores.
    pub domains: Vec<Domain>,
    /// Further functional vindexes whose columns must map to the same keyspace id (unowned
    /// secondary vindexes): each as vindex, column names and values per row.
    pub verify: Vec<VerifyVindex>,
    /// The lookups over the rows.
    pub lookups: Vec<InsertLookup>,
}

/// A lookup over the rows of an INSERT.
#[derive(Debug, Clone, PartialEq)]
pub struct InsertLookup {
    /// Its table.
    pub table: LookupTable,
    /// For each row, one operand per column.
    pub values: Vec<Vec<Operand>>,
    /// The rows make its entries; else it must have them.
    pub owned: bool,
}

/// A table in which a lookup vindex keeps its mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct LookupTable {
    /// The vindex.
    pub vindex: Arc<Vindex>,
    /// The table whose columns it maps.
    pub owner: TableName,
    /// The owner's columns, one for each `from` column.
    pub columns: Vec<Arc<str>>,
    /// What each of them stores.
    pub domains: Vec<Domain>,
    /// The lookup table.
    pub name: TableName,
    /// How its entries find their shards.
    pub shards: EntryShards,
}

/// How the entries of a lookup table find their shards.
#[derive(Debug, Clone, PartialEq)]
pub enum EntryShards {
    /// Its keyspace has one.
    One,
    /// By one of its `from` columns.
    By {
        /// The lookup table's own primary vindex.
        vindex: Arc<Vindex>,
        /// The name of its column, for messages.
        columns: Vec<Arc<str>>,
        /// What the column stores.
        domains: Vec<Domain>,
        /// Which `from` column it is.
        at: usize,
    },
}

/// UPDATE or DELETE of rows that entries of lookup tables follow.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowedChange {
    /// The statement.
    pub route: Route,
    /// The locking read of the rows: sharding columns, columns of lookups, and for each lookup of an UPDATE
    /// whether its values stay the same.
    pub read: Template,
    /// The types of the columns that it reads.
    pub kinds: Vec<ColumnType>,
    /// The owner's primary vindex, over the first columns of the read.
    pub vindex: Arc<Vindex>,
    /// What these columns store.
    pub domains: Vec<Domain>,
    /// The lookups.
    pub lookups: Vec<FollowedLookup>,
}

/// A lookup whose entries follow an UPDATE or DELETE.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowedLookup {
    /// Its table.
    pub table: LookupTable,
    /// Which columns of the read are its columns.
    pub places: Vec<usize>,
    /// What an UPDATE makes of each column; none for one that it leaves alone. Empty for a DELETE.
    pub new: Vec<Option<Operand>>,
    /// Which column of an UPDATE's read says that the values stay the same.
    pub equal: usize,
}

/// A secondary functional vindex that must agree with the primary one.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifyVindex {
    /// The secondary vindex.
    pub vindex: Arc<Vindex>,
    /// Its columns.
    pub columns: Vec<Arc<str>>,
    /// For each row, one operand per column.
    pub values: Vec<Vec<Operand>>,
    /// What each column stores.
    pub domains: Vec<Domain>,
}

/// How a sequence fills the auto-increment column.
#[derive(Debug, Clone, PartialEq)]
pub struct InsertSequence {
    /// The sequence.
    pub sequence: SequenceRef,
    /// For each row: the value the client gave, or none where it gave none. NULL, and 0 unless
    /// `NO_AUTO_VALUE_ON_ZERO`, also ask the sequence. `Piece::Generated(row)` in the row's
    /// template (and `Operand::Generated(row)` in the sharding) stands for the resulting value,
    /// generated or given: the executor fills `Bindings::generated` for every row.
    pub given: Vec<Option<Operand>>,
}
