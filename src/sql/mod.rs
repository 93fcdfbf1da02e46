//! How does SQL text become something that can be planned, and a plan become SQL text again?
//!
//! Our own MySQL lexer ([`Lexer`]) walks the bytes once. From its tokens come the normalised key of
//! the plan cache with the literals taken out ([`Normalizer`]) and, on a cache miss, the tokens that
//! sqlparser parses ([`parse`]): each token's span is a byte offset, so that a plan can keep the
//! statement's own text (hints, comments, spelling) and only cut at known places ([`Edits`]).

mod classify;
mod digest;
mod directive;
mod function;
mod lex;
pub mod literal;
mod normalize;
mod operand;
mod parse;
mod split;
mod template;
mod token;
mod writing;

pub use classify::{StatementKind, classify, refuses_prepare};
pub use digest::{digest, without_values};
pub use directive::{directive, directive_in};
pub use function::calls_unknown_function;
pub use lex::{LexOptions, Lexer};
pub use normalize::{Normalizer, Statement, is_system_schema};
pub use operand::{Bindings, Literal, LiteralKind, Operand};
pub use parse::{parse, parse_expression, syntax_error};
pub use split::split;
pub use template::{Edits, Piece, PieceList, SessionValues, ShardText, Template};
pub use token::{Token, TokenKind};
pub use writing::{ClientCharset, Writing};
