//! What can a plan be?
//!
//! A plan is immutable data, shared by all sessions. Whatever belongs to one execution travels in
//! the executor's context. Adding a variant is a compile error until `describe` and the executor
//! know it.

use std::sync::Arc;

use super::{
    FollowedChange, Gather, Insert, InsertId, InsertSelect, KeyedChange, Routing, SessionCommand, Vexplain,
};
pub use crate::sql::StatementKind;
use crate::sql::{Operand, Template};
use crate::vschema::TableName;

/// A planned statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What kind of statement it is.
    pub kind: StatementKind,
    /// What to do.
    pub node: Node,
    /// The tables it names, as `keyspace.table`, for metrics.
    pub tables: Vec<String>,
    /// Whether it reads or changes a table, so that it belongs to a transaction. Also true for a
    /// statement that passes unread, whose `tables` are not known, if it may do so.
    pub uses_tables: bool,
    /// How many `?` the statement has.
    pub params: u16,
    /// Whether a session's own values (user variables, last insert id) are read, so that the text
    /// sent differs from session to session.
    pub reads_session: bool,
    /// `SQL_CALC_FOUND_ROWS` with a LIMIT: the server that answers is asked for FOUND_ROWS() behind it.
    pub counts_rows: bool,
    /// How the session learns its `LAST_INSERT_ID()` from it.
    pub insert_id: InsertId,
    /// What it does to the session's temporary tables, if it is CREATE or DROP TEMPORARY TABLE.
    pub temporary: Option<Temporary>,
}

/// A change of a session's temporary tables, which stand on one connection that the session keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Temporary {
    /// One is made.
    Create(TableName),
    /// These are dropped.
    Drop(Vec<TableName>),
}

// === impl Plan ===

impl Plan {
    /// Whether rows of all shards are read or changed for want of a condition on a vindex. DDL, and
    /// statements that say themselves where they go, do not count.
    #[must_use]
    pub fn scatters(&self) -> bool {
        use StatementKind::{Delete, LockingSelect, Select, Update};
        matches!(self.kind, Select | LockingSelect | Update | Delete) && self.node.scatters()
    }
}

/// One step of a plan; steps nest.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Send a statement to the routed shards; concatenate or merge what they answer.
    Route(Route),
    /// Let `offset` rows pass and give `count` of the rest.
    Limit {
        /// The rows' source.
        input: Box<Node>,
        /// How many rows; none for all.
        count: Option<Operand>,
        /// How many to skip.
        offset: Option<Operand>,
    },
    /// Sort in memory, within the query's memory budget.
    Sort {
        /// The rows' source.
        input: Box<Node>,
        /// The order.
        keys: Vec<SortKey>,
    },
    /// Merge groups that arrive in group order.
    Aggregate(Aggregate),
    /// Drop repeated rows; the input is ordered by all of `keys`.
    Distinct {
        /// The rows' source, ordered by `keys`.
        input: Box<Node>,
        /// The columns that make a row distinct.
        keys: Vec<KeyColumn>,
    },
    /// Keep the first `columns` columns: drops the helper columns that the planner added.
    Truncate {
        /// The rows' source.
        input: Box<Node>,
        /// How many columns stay, as a [`position`].
        columns: usize,
    },
    /// INSERT or REPLACE.
    Insert(Insert),
    /// UPDATE or DELETE of rows that are found first.
    Keyed(Box<KeyedChange>),
    /// UPDATE or DELETE of rows that entries of lookup tables follow.
    Followed(FollowedChange),
    /// INSERT or REPLACE … SELECT by the gate.
    InsertSelect(InsertSelect),
    /// UPDATE or DELETE (or DDL with [`Routing::Scatter`]) on the routed shards; affected rows add up.
    Modify(Route),
    /// `SELECT NEXT n VALUES FROM seq`.
    NextValues {
        /// The sequence table.
        sequence: SequenceRef,
        /// How many.
        count: Operand,
    },
    /// Rows that the gate itself knows: SHOW KEYSPACES, SHOW VITESS_SHARDS, … .
    Show(Show),
    /// Change the session: SET, USE, BEGIN, COMMIT, … .
    Session(SessionCommand),
    /// A query over copies of its tables on one server.
    Gather(Gather),
}

// === impl Node ===

impl Node {
    /// Whether one shard answers, whatever the values are, and its answer goes to the client as it is.
    #[must_use]
    pub fn has_one_source(&self) -> bool {
        let Self::Route(route) = self else { return false };
        match route.routing {
            Routing::Unsharded
            | Routing::EqualUnique(_)
            | Routing::AnyShard
            | Routing::ByDestination(_)
            | Routing::None => true,
            Routing::Lookup(ref own) => own.is_unique(),
            Routing::In { .. }
            | Routing::MultiEqual { .. }
            | Routing::SubShard(_)
            | Routing::Between { .. }
            | Routing::Scatter => false,
        }
    }

    fn scatters(&self) -> bool {
        match self {
            Self::Route(route) | Self::Modify(route) => matches!(route.routing, Routing::Scatter),
            Self::Limit { input, .. }
            | Self::Sort { input, .. }
            | Self::Distinct { input, .. }
            | Self::Truncate { input, .. } => input.scatters(),
            Self::Aggregate(aggregate) => aggregate.input.scatters(),
            Self::Gather(gather) => gather
                .tables
                .iter()
                .any(|table| table.route().is_some_and(|route| route.routing == Routing::Scatter)),
            Self::InsertSelect(own) => own.source.node.scatters(),
            Self::Keyed(own) => own.read.scatters(),
            Self::Followed(own) => matches!(own.route.routing, Routing::Scatter),
            Self::Insert(_) | Self::NextValues { .. } | Self::Show(_) | Self::Session(_) => false,
        }
    }
}

/// A statement for the routed shards.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The keyspace; none for "any keyspace" (statements that read no table).
    pub keyspace: Option<Arc<str>>,
    /// Which shards.
    pub routing: Routing,
    /// What they get.
    pub query: Template,
    /// The rows of one IN list, when `query` has [`crate::sql::Piece::InList`].
    pub order: Vec<SortKey>,
}

/// Positions from here on count from the end of the row: behind a `*` of unknown width the planner
/// knows where its helper columns are only from the end. `FROM_END + 1` is the last column.
pub const FROM_END: usize = 1 << 32;

/// The zero-based index of a planned position in a row of `width` columns; none where the row has no
/// such column. As a number of columns ([`Node::Truncate`]), `FROM_END + n` means all but the last n.
#[must_use]
pub fn position(planned: usize, width: usize) -> Option<usize> {
    match planned.checked_sub(FROM_END) {
        Some(from_end) => width.checked_sub(from_end),
        None => Some(planned),
    }
}

/// A result column used as a key, and its helper.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyColumn {
    /// Zero-based [`position`] of the column.
    pub column: usize,
    /// [`position`] of the helper column `concat(cast(collation(c) as binary), ':', weight_string(c))` of it, for character
    /// columns: the collation says how weights are padded, and a result does not carry it elsewhere.
    /// The executor uses it only where the column's type needs it.
    pub weight: Option<usize>,
}

/// A column to sort by.
#[derive(Debug, Clone, PartialEq)]
pub struct SortKey {
    /// The column.
    pub key: KeyColumn,
    /// DESC.
    pub descending: bool,
}

/// Merges the groups of several shards.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// The rows' source, ordered by `group` (one row per shard where `group` is empty).
    pub input: Box<Node>,
    /// The group's columns; empty for one group over everything, which exists even without rows.
    pub group: Vec<KeyColumn>,
    /// What is computed; columns not named here keep the first row's value.
    pub functions: Vec<AggregateColumn>,
}

/// One aggregated column.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateColumn {
    /// Which column holds the shard's partial result and takes the total.
    pub column: usize,
    /// How partial results combine.
    pub function: AggregateFunction,
}

/// How the partial results of the shards make one.
#[derive(Debug, Clone, PartialEq)]
pub enum AggregateFunction {
    /// COUNT: add the counts.
    Count,
    /// SUM: add, ignoring NULL.
    Sum,
    /// MIN, with the helper for character columns.
    Min {
        /// Index of `concat(cast(collation(min(…)) as binary), ':', weight_string(min(…)))`.
        weight: Option<usize>,
    },
    /// MAX, with the helper for character columns.
    Max {
        /// Index of `concat(cast(collation(max(…)) as binary), ':', weight_string(max(…)))`.
        weight: Option<usize>,
    },
    /// AVG: the shards also send SUM and COUNT; the column's own definition gives type and scale.
    Avg {
        /// Index of the SUM column.
        sum: usize,
        /// Index of the COUNT column.
        count: usize,
    },
}

/// A sequence table of an unsharded keyspace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceRef {
    /// The keyspace of the sequence table.
    pub keyspace: Arc<str>,
    /// The table.
    pub table: Arc<str>,
}

/// What the gate answers from its own knowledge.
#[derive(Debug, Clone, PartialEq)]
pub enum Show {
    /// SHOW DATABASES / SCHEMAS / KEYSPACES [LIKE].
    Databases {
        /// The LIKE pattern.
        like: Option<String>,
        /// Include MySQL's own schemas (DATABASES and SCHEMAS do, KEYSPACES does not).
        system: bool,
    },
    /// SHOW VITESS_SHARDS [LIKE].
    VitessShards {
        /// The LIKE pattern.
        like: Option<String>,
    },
    /// SHOW VITESS_TABLETS [LIKE].
    VitessTablets {
        /// The LIKE pattern.
        like: Option<String>,
    },
    /// SHOW VITESS_REPLICATION_STATUS [LIKE].
    VitessReplicationStatus {
        /// The LIKE pattern.
        like: Option<String>,
    },
    /// SHOW VITESS_QUERIES [LIKE].
    VitessQueries {
        /// The LIKE pattern.
        like: Option<String>,
    },
    /// SHOW VITESS_TARGET.
    VitessTarget,
    /// SHOW VSCHEMA TABLES.
    VschemaTables,
    /// SHOW VSCHEMA KEYSPACES.
    VschemaKeyspaces,
    /// SHOW VSCHEMA VINDEXES [ON table].
    VschemaVindexes {
        /// The table, qualified.
        table: Option<(Arc<str>, Arc<str>)>,
    },
    /// SHOW WARNINGS / SHOW ERRORS [LIMIT], SHOW COUNT(*) WARNINGS.
    Warnings {
        /// Only errors.
        errors: bool,
        /// Only their number.
        count: bool,
    },
    /// SHOW TRANSACTION STATUS FOR 'dtid'.
    TransactionStatus {
        /// The distributed transaction's id.
        dtid: String,
    },
    /// SHOW UNRESOLVED TRANSACTIONS [FOR keyspace].
    UnresolvedTransactions {
        /// Only those that touch it.
        keyspace: Option<Arc<str>>,
    },
    /// SHOW [FULL] PROCESSLIST: the gate's sessions.
    Processlist {
        /// FULL: the statements are not cut.
        full: bool,
    },
    /// VEXPLAIN of a statement.
    Vexplain(Box<Vexplain>),
    /// EXPLAIN or DESCRIBE: a server's answer.
    Explain {
        /// Which server is asked.
        route: Box<Route>,
        /// The statement runs on several shards, of which one explains its part.
        one_of_several: bool,
    },
    /// SHOW TABLES.
    Tables {
        /// SHOW TABLES of this keyspace's first shard, under the keyspace's name.
        route: Box<Route>,
    },
}
