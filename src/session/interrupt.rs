//! What stops a statement before its end?

use crate::error::SqlError;
use crate::frontend::ClientConnection;

use super::registry::{Entry, Kill};

/// Why a statement was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interruption {
    /// The client has closed its connection.
    ClientGone,
    /// `KILL QUERY`: the statement ends with 1317, the session goes on.
    Statement,
    /// `KILL CONNECTION`, or the gate is stopping: the session ends.
    Session,
}

impl Interruption {
    /// What the client reads, if it is still there.
    pub(super) fn error(self) -> SqlError {
        match self {
            Self::ClientGone | Self::Statement => SqlError::query_killed(),
            Self::Session => SqlError::shutdown(),
        }
    }
}

/// Does some work for as long as nothing stops it. The work is dropped when something does, so what
/// it holds must clean up after itself in its `Drop`.
pub(super) async fn interruptible<T>(
    client: &mut ClientConnection,
    entry: &Entry,
    work: impl Future<Output = T>,
) -> Result<T, Interruption> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = client.client_gone() => Err(Interruption::ClientGone),
        kill = entry.killed() => Err(match kill {
            Kill::Query => Interruption::Statement,
            Kill::Connection => Interruption::Session,
        }),
    }
}
