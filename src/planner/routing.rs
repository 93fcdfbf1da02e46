//! How is a shard chosen from a statement's values?

use std::sync::Arc;

use crate::sql::Operand;
use crate::vindex::Vindex;
use crate::vschema::Domain;

/// One column (or, for multi-column vindexes, one list of columns) bound to one operand each.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The vindex that maps the values.
    pub vindex: Arc<Vindex>,
    /// One operand per vindex column.
    pub values: Vec<Operand>,
    /// What a comparison with each of these columns means.
    pub domains: Vec<Domain>,
}

/// Which shards of a keyspace get a statement. Each variant carries exactly what it needs; the
/// names are Vitess's routing opcodes (`go/vt/vtgate/engine/routing.go`).
#[derive(Debug, Clone, PartialEq)]
pub enum Routing {
    /// The keyspace's only shard.
    Unsharded,
    /// A unique vindex equals one value: at most one shard.
    EqualUnique(Condition),
    /// A unique vindex is IN a list: the shards of the values; `Piece::InList` is split by shard.
    In {
        /// The vindex that maps each value.
        vindex: Arc<Vindex>,
        /// The list.
        values: Vec<Operand>,
        /// What a comparison with the column means.
        domain: Domain,
    },
    /// Several value tuples (`(a, b) IN ((1, 2), (3, 4))` or OR of equalities): the shards of all
    /// of them, each getting the whole statement.
    MultiEqual {
        /// The vindex that maps each tuple.
        vindex: Arc<Vindex>,
        /// One list of operands per tuple.
        tuples: Vec<Vec<Operand>>,
        /// What a comparison with each column means.
        domains: Vec<Domain>,
    },
    /// A prefix of a multi-column vindex: the shards that intersect the prefix.
    SubShard(Condition),
    /// An ordered vindex BETWEEN two values, both included.
    Between {
        /// The ordered vindex (`numeric`, `binary`).
        vindex: Arc<Vindex>,
        /// Lower bound, included.
        low: Operand,
        /// Upper bound, included.
        high: Operand,
    },
    /// Every shard.
    Scatter,
    /// Any one shard: reference tables, and statements that read no table.
    AnyShard,
    /// The shards of the session's target (`USE ks:-80`), or a pinned table's shard.
    ByDestination(crate::key::Destination),
    /// No shard: the condition can never hold. One shard still answers, for the metadata.
    None,
}
