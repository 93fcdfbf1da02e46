//! What text does a shard get?
//!
//! A template is the client's own text cut at known places. It is rendered once per shard.

use bytes::Bytes;

/// One piece of a statement to a shard.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Text as it is.
    Text(Bytes),
    /// The n-th normalised literal, as the client wrote it.
    Literal(u32),
    /// The n-th `?`. Stays a `?` where the shard's statement is prepared; else the value, quoted.
    Param(u32),
    /// The n-th generated sequence value.
    Generated(u32),
    /// The quoted name of the shard's physical database.
    Schema,
    /// The values of the routing's IN list that belong to this shard, comma separated.
    InList,
    /// The rows of the INSERT that belong to this shard, comma separated.
    Rows,
    /// `LAST_INSERT_ID()` of the session, as a number.
    LastInsertId,
    /// The session's selected database as a quoted string, or NULL.
    Database,
    /// The gate's connection id.
    ConnectionId,
    /// `ROW_COUNT()` of the session.
    RowCount,
    /// `FOUND_ROWS()` of the session.
    FoundRows,
    /// The user variable of this name, as a literal.
    UserVariable(Box<str>),
    /// A system variable that the gate owns, as a literal.
    SystemVariable(Box<str>),
    /// A number that the plan computes from operands at run time: limit + offset, for a scatter.
    LimitPlusOffset,
}

/// A statement with holes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Template {
    /// The pieces, in order. Neighbouring texts are merged.
    pub pieces: Box<[Piece]>,
}
