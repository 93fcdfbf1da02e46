//! Who may use a connection, and what happens to it afterwards?

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::connection::Connection;
use super::error::BackendError;
use super::kill::KillTarget;
use super::pool::Pool;
use crate::metrics::TabletSeries;
use crate::topology::Tablet;

/// A connection that is checked out. Dropping it gives it back: at once if it is clean, otherwise
/// after it was made clean in the background, or not at all.
#[derive(Debug)]
pub struct Lease {
    /// There until the lease is dropped.
    held: Option<(Box<Connection>, Slot)>,
    pool: Arc<Pool>,
    received_before: u64,
}

/// The right to one connection of a pool; gives it back when dropped.
#[derive(Debug)]
pub(super) struct Slot(pub(super) Arc<Pool>);

// === impl Lease ===

impl Lease {
    pub(super) fn new(connection: Box<Connection>, slot: Slot) -> Self {
        let pool = Arc::clone(&slot.0);
        let received_before = connection.inbox.received();
        Self { held: Some((connection, slot)), pool, received_before }
    }

    /// The server that this connection leads to.
    #[must_use]
    pub fn tablet(&self) -> &Arc<Tablet> {
        self.pool.tablet()
    }

    /// The server's metrics.
    #[must_use]
    pub fn series(&self) -> &Arc<TabletSeries> {
        self.pool.series()
    }

    /// Whether this connection counts matched rows of an UPDATE instead of changed ones.
    #[must_use]
    pub fn found_rows(&self) -> bool {
        self.pool.found_rows()
    }

    /// Names the connection, for killing its statement while this lease is held.
    #[must_use]
    pub fn kill_target(&self) -> KillTarget {
        KillTarget::new(Arc::clone(&self.pool), self.server().connection_id)
    }

    /// Stops what runs on this connection and throws away what is due: lets a short answer end, kills
    /// a long one. Afterwards nothing is owed; an open transaction stays open, if the server kept it.
    ///
    /// # Errors
    /// Where that does not succeed within `reset_timeout`; the connection is closed on its return.
    pub async fn cancel(&mut self) -> Result<(), BackendError> {
        let kill = self.kill_target();
        let limit = self.pool.config().reset_timeout;
        // Boxed: it is rare, and would make the future of every statement larger.
        let abandoned = Box::pin(tokio::time::timeout(limit, self.abandon(kill)));
        let result = match abandoned.await {
            Ok(result) => result,
            Err(_) => Err(BackendError::Timeout),
        };
        if result.is_err() {
            self.close_on_return();
        }
        result
    }
}

impl Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match &self.held {
            Some((connection, _)) => connection,
            None => unreachable!("a lease holds its connection until it is dropped"),
        }
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Connection {
        match &mut self.held {
            Some((connection, _)) => connection,
            None => unreachable!("a lease holds its connection until it is dropped"),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some((mut connection, slot)) = self.held.take() else { return };
        let (sent, received) = connection.take_traffic(self.received_before);
        self.pool.series().bytes_out.inc_by(sent);
        self.pool.series().bytes_in.inc_by(received);
        slot.give_back(connection);
    }
}

// === impl Slot ===

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.free_slot();
    }
}
