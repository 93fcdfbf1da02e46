//! How does SQL text become something that can be planned, and a plan become SQL text again?
//!
//! Our own MySQL lexer ([`lex`]) walks the bytes once. From its tokens come the normalised key of
//! the plan cache with the literals taken out ([`normalize`]) and, on a cache miss, the tokens that
//! sqlparser parses ([`parse`]): each token's span is a byte offset, so that a plan can keep the
//! statement's own text (hints, comments, spelling) and only cut at known places ([`template`]).

mod operand;
mod template;

pub use operand::{Bindings, Literal, LiteralKind, Operand};
pub use template::{Piece, Template};
