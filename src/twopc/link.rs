//! How does recovery talk to a server, and how does it know that it may?
//!
//! Each server has a few connections of its own beside the pools: finishing a branch frees locks, so
//! it must not wait behind the clients that wait for them. Before each use the server is asked whether
//! it takes writes: `super_read_only` does not stop XA on MySQL, so a server that was demoted would
//! finish the branch and drift away from its successor.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use crate::backend::{BackendError, Connection, Pools, Retry};
use crate::error::SqlError;
use crate::protocol::row::TextRow;
use crate::topology::{Tablet, TabletAlias};

/// How long one statement may take, dialling included.
pub(super) const DEADLINE: Duration = Duration::from_secs(6);

/// The most unused connections that are kept per server.
const IDLE_PER_SERVER: usize = 2;

/// The most that an answer may take, in bytes.
const ANSWER: usize = 16 << 20;

/// The lock wait is short: whoever holds a decision's row is about to end it, or is asked again later.
const SETUP: &[u8] = b"SET SESSION sql_mode = 'STRICT_ALL_TABLES', innodb_lock_wait_timeout = 3, \
                       lock_wait_timeout = 3, time_zone = '+00:00', wait_timeout = 60";
const ISOLATION: &[u8] = b"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
const VERIFY: &[u8] = b"SELECT @@global.read_only";

/// Connections for recovery.
#[derive(Debug)]
pub(super) struct Links {
    pools: Arc<Pools>,
    idle: Mutex<HashMap<TabletAlias, Vec<Connection>>>,
}

/// The rows of an answer.
pub type Rows = Vec<Vec<Option<Vec<u8>>>>;

/// Why a statement gave no answer that counts.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The server's own error: the statement had no effect.
    #[error("{0}")]
    Server(SqlError),
    /// The server is read-only: not, or no longer, the primary. Nothing was sent.
    #[error("the server is read-only, so it is not the primary")]
    ReadOnly,
    /// The server cannot be reached, or did not answer. Whether the statement ran is unknown.
    #[error("{0}")]
    Lost(String),
}

// === impl LinkError ===

impl LinkError {
    /// The server's error number, or 0.
    #[must_use]
    pub fn code(&self) -> u16 {
        match self {
            Self::Server(error) => error.code(),
            Self::ReadOnly | Self::Lost(_) => 0,
        }
    }

    fn of(error: BackendError) -> Self {
        match error {
            BackendError::Server(error) => Self::Server(error),
            other => Self::Lost(other.to_string()),
        }
    }
}

// === impl Links ===

impl Links {
    pub(super) fn new(pools: Arc<Pools>) -> Self {
        Self { pools, idle: Mutex::default() }
    }

    /// Runs one statement on a server that takes writes.
    pub(super) async fn ask(&self, tablet: &Arc<Tablet>, statement: &str) -> Result<Rows, LinkError> {
        timeout(DEADLINE, self.ask_without_deadline(tablet, statement))
            .await
            .unwrap_or_else(|_| Err(LinkError::Lost(format!("no answer within {DEADLINE:?}"))))
    }

    async fn ask_without_deadline(&self, tablet: &Arc<Tablet>, statement: &str) -> Result<Rows, LinkError> {
        let mut link = match self.take(tablet) {
            Some(mut link) => match verify(&mut link).await {
                Ok(()) => link,
                Err(LinkError::ReadOnly) => return Err(LinkError::ReadOnly),
                // The server has closed it meanwhile.
                Err(_) => self.dial(tablet).await?,
            },
            None => self.dial(tablet).await?,
        };
        match link.collect(statement.as_bytes(), ANSWER).await {
            Ok(result) => {
                self.keep(tablet, link);
                let rows = result.rows.iter().map(|row| values(&row.0)).collect::<Option<_>>();
                rows.ok_or_else(|| LinkError::Lost("the answer's rows cannot be read".to_owned()))
            }
            Err(error @ BackendError::Server(_)) => {
                self.keep(tablet, link);
                Err(LinkError::of(error))
            }
            // It was verified a moment ago, and ended before the statement reached it.
            Err(error) if error.retry() == Retry::Safe => {
                let mut link = self.dial(tablet).await?;
                let result = link.collect(statement.as_bytes(), ANSWER).await.map_err(LinkError::of)?;
                let rows = result.rows.iter().map(|row| values(&row.0)).collect::<Option<_>>();
                rows.ok_or_else(|| LinkError::Lost("the answer's rows cannot be read".to_owned()))
            }
            Err(error) => Err(LinkError::of(error)),
        }
    }

    async fn dial(&self, tablet: &Arc<Tablet>) -> Result<Connection, LinkError> {
        let mut link = self.pools.dial(tablet).await.map_err(LinkError::of)?;
        link.run(SETUP).await.map_err(LinkError::of)?;
        link.run(ISOLATION).await.map_err(LinkError::of)?;
        verify(&mut link).await?;
        Ok(link)
    }

    fn take(&self, tablet: &Tablet) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&tablet.alias)?.pop()
    }

    fn keep(&self, tablet: &Tablet, link: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let links = idle.entry(tablet.alias.clone()).or_default();
        if links.len() < IDLE_PER_SERVER {
            links.push(link);
        }
    }

    /// Forgets the connections of servers that are gone.
    pub(super) fn retain(&self, there: impl Fn(&TabletAlias) -> bool) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).retain(|alias, _| there(alias));
    }
}

async fn verify(link: &mut Connection) -> Result<(), LinkError> {
    let answer = link.collect(VERIFY, ANSWER).await.map_err(LinkError::of)?;
    // MariaDB from 12 on names levels of read-only; every word but OFF and 0 is one.
    match answer.rows.first().and_then(|row| values(&row.0)).as_deref() {
        Some([Some(value)]) if matches!(&value[..], b"0" | b"OFF") => Ok(()),
        _ => Err(LinkError::ReadOnly),
    }
}

fn values(row: &[u8]) -> Option<Vec<Option<Vec<u8>>>> {
    TextRow::new(row).map(|value| value.ok().map(|value| value.map(<[u8]>::to_vec))).collect()
}
