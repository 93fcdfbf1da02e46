//! What stops a statement before its end?

use std::pin::Pin;

use super::Session;
use super::registry::{Entry, Kill};
use crate::error::SqlError;
use crate::frontend::{ClientConnection, Closed};
use crate::transaction::Shield;

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

impl Session {
    /// What the client reads of a statement that was stopped.
    ///
    /// # Errors
    /// The conversation is over.
    pub(super) fn stopped(&self, why: Interruption) -> Result<SqlError, Closed> {
        match why {
            Interruption::ClientGone => Err(Closed::ByClient),
            Interruption::Statement => {
                self.shared.metrics.query.killed.inc();
                Ok(SqlError::query_killed())
            }
            Interruption::Session if self.shared.closing.is_cancelled() => Ok(SqlError::shutdown()),
            Interruption::Session => {
                // A killed connection closes without a word, as on MySQL and MariaDB: the driver says 2013.
                self.shared.metrics.query.killed.inc();
                Err(Closed::Refused(SqlError::query_killed()))
            }
        }
    }
}

/// Does some work for as long as nothing stops it. The caller drops the work then, so what it holds must
/// clean up after itself in its `Drop`. It comes pinned: a future that is passed by value is kept twice,
/// as the argument and where it runs, in every future around this one.
pub(super) async fn interruptible<T>(
    client: &mut ClientConnection,
    entry: &Entry,
    work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Interruption> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        stop = stopped(client, entry) => Err(stop),
    }
}

/// The same for work that may commit: while the shield is up it comes to its own end, and what wanted
/// to stop it was too late.
pub(super) async fn interruptible_behind<T>(
    shield: &Shield,
    client: &mut ClientConnection,
    entry: &Entry,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Interruption> {
    let stop = tokio::select! {
        biased;
        done = &mut work => return Ok(done),
        stop = stopped(client, entry) => stop,
    };
    if !shield.is_up() {
        return Err(stop);
    }
    let done = work.await;
    if stop == Interruption::Session {
        // The session ends behind its answer.
        entry.raise(Kill::Connection);
    }
    Ok(done)
}

async fn stopped(client: &mut ClientConnection, entry: &Entry) -> Interruption {
    tokio::select! {
        biased;
        () = client.client_gone() => Interruption::ClientGone,
        kill = entry.killed() => match kill {
            Kill::Query => Interruption::Statement,
            Kill::Connection => Interruption::Session,
        },
    }
}
