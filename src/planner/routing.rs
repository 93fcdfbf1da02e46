//! How is a shard chosen from a statement's values?

use std::sync::Arc;

use super::Route;
use crate::sql::{Operand, Template};
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

/// A lookup table is asked first.
#[derive(Debug, Clone, PartialEq)]
pub struct LookedUp {
    /// The vindex that keeps its mapping in the table.
    pub vindex: Arc<Vindex>,
    /// The values that its first column is compared with.
    pub values: Vec<Operand>,
    /// They are those of an IN list.
    pub listed: bool,
    /// What a comparison with the column means.
    pub domain: Domain,
    /// The query of the keyspace ids. [`crate::sql::Piece::Generated`] stands for what the table holds
    /// for a value, where that is not the value itself.
    pub read: Route,
    /// The same without the lock that a change takes.
    pub unlocked: Template,
}

// === impl LookedUp ===

impl LookedUp {
    /// Whether there is at most one keyspace id.
    #[must_use]
    pub fn is_unique(&self) -> bool {
        self.vindex.is_unique() && !self.listed
    }

    /// The name of Vitess's opcode.
    #[must_use]
    pub fn variant(&self) -> &'static str {
        match (self.listed, self.vindex.is_unique()) {
            (true, _) => "IN",
            (false, true) => "EqualUnique",
            (false, false) => "Equal",
        }
    }
}

// === impl Routing ===

impl Routing {
    /// The values that each shard gets its own of, where the statement's text lists them.
    #[must_use]
    pub fn in_list(&self) -> &[Operand] {
        match self {
            Self::In { values, .. } => values,
            _ => &[],
        }
    }

    /// Whether at most one shard is asked.
    #[must_use]
    pub fn is_single(&self) -> bool {
        match self {
            Self::EqualUnique(_) | Self::None => true,
            Self::Lookup(own) => own.is_unique(),
            _ => false,
        }
    }
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
    /// The shards of the keyspace ids that a lookup table holds for values of its first column.
    Lookup(Box<LookedUp>),
    /// Every shard.
    Scatter,
    /// Any one shard: reference tables, and statements that read no table.
    AnyShard,
    /// The shards of the session's target (`USE ks:-80`), or a pinned table's shard.
    ByDestination(crate::key::Destination),
    /// No shard: the condition can never hold. One shard still answers, for the metadata.
    None,
}
