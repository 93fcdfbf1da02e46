//! How is a statement stopped that runs on a server?
//!
//! mysqld does not notice that a client has gone while it works: the statement has to be killed by a
//! second connection.

use std::fmt;
use std::sync::Arc;

use super::error::BackendError;
use super::pool::Pool;

/// ER_NO_SUCH_THREAD: the connection has gone by itself.
const NO_SUCH_THREAD: u16 = 1094;

/// Names a connection on its server, so that its statement can be killed from anywhere.
///
/// Use it only while the lease is held: afterwards the connection works for somebody else.
#[derive(Clone)]
pub struct KillTarget {
    pool: Arc<Pool>,
    connection_id: u32,
}

// === impl KillTarget ===

impl KillTarget {
    pub(super) fn new(pool: Arc<Pool>, connection_id: u32) -> Self {
        Self { pool, connection_id }
    }

    /// Sends `KILL QUERY` over a new side connection, which does not count towards the pool. When it
    /// returns, the server has taken the order; the statement ends with error 1317 soon after, or has
    /// ended already.
    ///
    /// # Errors
    /// Where the server cannot be reached within the connect timeout, or refuses.
    pub async fn kill_query(self) -> Result<(), BackendError> {
        let limit = self.pool.config().connect_timeout;
        let work = async {
            let mut side = self.pool.dial().await?;
            match side.run(format!("KILL QUERY {}", self.connection_id).as_bytes()).await {
                Err(BackendError::Server(error)) if error.code() == NO_SUCH_THREAD => Ok(()),
                other => other.map(drop),
            }
        };
        tokio::time::timeout(limit, work).await.map_err(|_| BackendError::Timeout)?
    }
}

impl fmt::Debug for KillTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KillTarget").field("connection_id", &self.connection_id).finish_non_exhaustive()
    }
}
