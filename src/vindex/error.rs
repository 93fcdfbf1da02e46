//! What can go wrong in a vindex, and what does the client read then?

use crate::error::SqlError;

/// Why a vindex cannot be made, or cannot map a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VindexError {
    /// The type is unknown. The text is Vitess's.
    #[error("vindexType \"{0}\" not found")]
    UnknownType(String),
    /// A parameter is missing or wrong. The texts are Vitess's where it has one.
    #[error("{0}")]
    Parameter(String),
    /// The value has no keyspace id, or the keyspace id no value.
    #[error("{0}")]
    Value(String),
    /// The statement gives more or fewer values than the vindex has columns.
    #[error("vindex {vindex} takes {expected} columns, got {got}")]
    Columns {
        /// The vindex's name.
        vindex: String,
        /// How many it has.
        expected: usize,
        /// How many were given.
        got: usize,
    },
    /// The mapping is stored in a table and cannot be computed.
    #[error("mapping through lookup vindex {0}")]
    Lookup(String),
    /// The keyspace id cannot be turned back into a value.
    #[error("vindex {0} is not reversible")]
    NotReversible(String),
}

impl From<VindexError> for SqlError {
    fn from(error: VindexError) -> Self {
        match &error {
            VindexError::Lookup(_) | VindexError::NotReversible(_) => Self::unsupported(&error.to_string()),
            _ => Self::vindex_value(&error.to_string()),
        }
    }
}
