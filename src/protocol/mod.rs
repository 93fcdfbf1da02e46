//! How are MySQL's bytes laid out, in both directions?
//!
//! Sans-I/O: bytes in, values out, and back. There is no socket, no task and no clock here, and no
//! SQL. Every decoder meets truncated, oversized and hostile input with a [`ProtocolError`], never
//! with a panic, and allocates no more than the input's own length.
//!
//! The layouts are those of the MySQL client/server protocol
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html>), with the points where
//! MariaDB differs noted at the code.
//!
//! - [`packet`]: 4-byte headers, splitting and joining at 16 MiB − 1, sequence numbers
//! - [`wire`]: the basic types, length-encoded integers and strings
//! - [`capability`]: capability and status flags
//! - [`response`]: OK, EOF, ERR, session-track blocks, and the one test for the end of rows
//! - [`greeting`], [`auth`], [`command`]: the login, and what a client asks for
//! - [`column`], [`row`], [`value`], [`statement`]: result sets and prepared statements
//! - [`reader`]: the state machine that follows one response
//! - [`compression`]: packets inside compressed packets
//! - [`charset`]: what a collation id means
//! - [`proxy_header`]: who is behind a load balancer; the one thing here that is not MySQL's

pub mod auth;
pub mod capability;
pub mod charset;
pub mod column;
pub mod command;
pub mod compression;
pub mod greeting;
pub mod packet;
pub mod proxy_header;
pub mod reader;
pub mod response;
pub mod row;
pub mod statement;
pub mod value;
pub mod wire;

use crate::error::SqlError;

/// Why bytes are not a packet of the expected kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The packet ends inside a field.
    #[error("{0} is cut short")]
    Truncated(&'static str),
    /// A field has a value that the protocol does not allow.
    #[error("{0} is malformed")]
    Malformed(&'static str),
    /// The payload is longer than the configured limit, in bytes.
    #[error("packet of more than {limit} bytes")]
    TooLarge {
        /// The limit that was passed.
        limit: usize,
    },
    /// A sequence number is not the expected one.
    #[error("packet sequence {found} where {expected} was due")]
    OutOfOrder {
        /// What was due.
        expected: u8,
        /// What came.
        found: u8,
    },
}

/// What a client is told when *its* packet was bad. Bad packets of a server are the backend room's
/// matter: there they mean a lost shard.
impl From<ProtocolError> for SqlError {
    fn from(error: ProtocolError) -> Self {
        match error {
            ProtocolError::Truncated(_) | ProtocolError::Malformed(_) => Self::malformed_packet(),
            ProtocolError::TooLarge { .. } => Self::packet_too_large(),
            ProtocolError::OutOfOrder { .. } => Self::packets_out_of_order(),
        }
        .caused_by(error)
    }
}
