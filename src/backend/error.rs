//! What can go wrong between the gate and a server, and may the statement be sent again?

use std::io;

use crate::error::{Outcome, SqlError};
use crate::protocol::ProtocolError;

/// An error of a backend connection or its pool. Errors that a server answers to a statement are
/// events, not these; [`BackendError::Server`] is for the calls that have no events.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The server cannot be dialled, or refused the login. Nothing was sent.
    #[error("{detail}")]
    Unreachable {
        /// Why.
        detail: String,
    },
    /// The pooled connection had already ended (timeout of the server, restart); what was sent on it
    /// was certainly not executed.
    #[error("the server had closed the connection")]
    Stale,
    /// The connection broke after something was sent and before any byte of an answer.
    #[error("connection lost before an answer: {0}")]
    Unanswered(#[source] io::Error),
    /// The connection broke inside an answer.
    #[error("connection lost: {0}")]
    Lost(#[source] io::Error),
    /// The server sent what is not MySQL's protocol.
    #[error("the server broke the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// The server answered with an error.
    #[error("{0}")]
    Server(#[source] SqlError),
    /// A pipelined command before the statement failed; the statement may have run without it. The
    /// connection is closed.
    #[error("a command sent ahead of the statement failed: {0}")]
    Prelude(#[source] SqlError),
    /// No connection became free within the deadline, or too many wait already.
    #[error("no free connection")]
    Exhausted,
    /// A deadline passed.
    #[error("the deadline passed")]
    Timeout,
    /// The answer is larger than the caller's limit, in bytes.
    #[error("the answer has more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The gate is stopping.
    #[error("the gate is stopping")]
    Shutdown,
    /// Our own mistake, such as waiting for an answer to nothing.
    #[error("{0}")]
    Misuse(&'static str),
}

/// Whether a statement may be sent again, on another connection, after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It was certainly not executed.
    Safe,
    /// It may have been executed: safe for statements without effects, outside a transaction.
    IfReadOnly,
    /// Part of an answer was seen, or the error is an answer itself.
    Never,
}

// === impl BackendError ===

impl BackendError {
    /// Whether the statement may be sent again on a fresh lease.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Stale => Retry::Safe,
            Self::Unanswered(_) => Retry::IfReadOnly,
            _ => Retry::Never,
        }
    }

    /// Whether the connection, and with it a transaction on it, is gone.
    #[must_use]
    pub fn loses_connection(&self) -> bool {
        !matches!(self, Self::Server(_) | Self::TooLarge { .. } | Self::Exhausted | Self::Unreachable { .. })
    }

    /// The error for the client. `shard` is `keyspace/shard`.
    #[must_use]
    pub fn for_shard(self, shard: &str) -> SqlError {
        let outcome = match &self {
            Self::Unreachable { .. } | Self::Stale => Some(Outcome::NotSent),
            Self::Unanswered(_) | Self::Lost(_) => Some(Outcome::Unknown),
            _ => None,
        };
        let error = self.into_sql_error(shard);
        match outcome {
            Some(outcome) => error.at_shard(shard, outcome),
            None => error.answered_by(shard),
        }
    }

    fn into_sql_error(self, shard: &str) -> SqlError {
        match self {
            Self::Server(error) | Self::Prelude(error) => error,
            Self::Unreachable { detail } => SqlError::shard_unreachable(shard, &detail),
            Self::Exhausted => SqlError::pool_exhausted(shard),
            Self::Timeout => SqlError::query_timeout(),
            Self::TooLarge { limit } => SqlError::memory_limit("result of a shard", limit),
            Self::Shutdown => SqlError::shutdown(),
            Self::Misuse(what) => SqlError::bug(what),
            lost @ (Self::Stale | Self::Unanswered(_) | Self::Lost(_) | Self::Protocol(_)) => {
                SqlError::shard_lost(shard).caused_by(lost)
            }
        }
    }
}
