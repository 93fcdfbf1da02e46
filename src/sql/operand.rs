//! Where does a value that a plan needs come from, when the plan is executed?

use bytes::Bytes;

use super::writing::Writing;
use crate::value::Value;

/// What kind of literal the lexer saw. Decides how its text becomes a [`Value`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LiteralKind {
    /// `12`
    Integer,
    /// `1.5`
    Decimal,
    /// `1e3`
    Float,
    /// `'abc'` or `"abc"`, also with an introducer in front (`_utf8mb4'abc'`; the span covers both)
    String,
    /// `x'8a'` or `0x8a`
    Hex,
    /// `b'101'` or `0b101`
    Bit,
}

/// One literal of a statement: where it stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Literal {
    /// How to read it.
    pub kind: LiteralKind,
    /// Byte offset of its first byte.
    pub start: u32,
    /// Byte offset past its last byte.
    pub end: u32,
}

/// Where a value comes from. Part of a plan, so it says where to look and never holds what one
/// execution found.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// The n-th normalised literal of the statement.
    Literal(u32),
    /// The n-th `?` of a prepared statement.
    Param(u32),
    /// The negative of another operand (`-5`).
    Negated(Box<Operand>),
    /// A value that the plan itself knows.
    Constant(Value),
    /// The n-th value that the sequence gave to this statement.
    Generated(u32),
}

/// What one execution brings to a plan.
#[derive(Debug, Clone, Copy)]
pub struct Bindings<'a> {
    /// The statement as the client sent it.
    pub text: &'a Bytes,
    /// Its normalised literals, in order.
    pub literals: &'a [Literal],
    /// The values of its `?`, in order.
    pub params: &'a [Value],
    /// For each row the value of the auto-increment column: from the sequence, or as given.
    pub generated: &'a [Value],
    /// How the client writes strings.
    pub writing: Writing,
    /// Where the statement stands in the text, without the comments around it
    /// ([`super::Statement::body`]).
    pub body: (u32, u32),
}
