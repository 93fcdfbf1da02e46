//! Which keyspace ids does a column value map to?

/// A vindex (replaced by the real enum).
#[derive(Debug, Clone, PartialEq)]
pub enum Vindex {
    /// Always the byte 00.
    Null,
}
