//! How does the gate run its own small statements on a server, beside the clients' connections?
//!
//! A handful of connections per server, in autocommit, with a strict `sql_mode` and a short lock
//! wait. They never carry a client's statement and never take from the clients' pools, so that an
//! id can be had while all of those are busy. A connection whose statement did not end is closed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row};
use tokio::time::timeout;

use crate::config::Backend;
use crate::control::Dialer;
use crate::error::{Result, SqlError, SqlState};
use crate::topology::Address;

/// The most unused connections that are kept per server.
const IDLE_PER_SERVER: usize = 4;

/// How long one statement may take, connecting included.
pub(crate) const DEADLINE: Duration = Duration::from_secs(4);

/// What every connection is told first. Strict, so that an overflow is an error and not a clamp;
/// the lock wait is bounded because a client's own transaction may hold the row.
const SETUP: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES', autocommit = 1, \
                     innodb_lock_wait_timeout = 2, lock_wait_timeout = 2, \
                     tx_isolation = 'READ-COMMITTED'";
const SETUP_MYSQL: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES', autocommit = 1, \
                           innodb_lock_wait_timeout = 2, lock_wait_timeout = 2, \
                           transaction_isolation = 'READ-COMMITTED'";

/// Connections for the gate's own statements.
#[derive(Debug)]
pub(crate) struct ControlLinks {
    dialer: Dialer,
    idle: Mutex<HashMap<Address, Vec<Conn>>>,
}

/// What an UPDATE answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Updated {
    /// Matched rows.
    pub(crate) affected: u64,
    /// `LAST_INSERT_ID(…)` of the statement, from the OK packet.
    pub(crate) insert_id: u64,
}

// === impl ControlLinks ===

impl ControlLinks {
    /// Links with the gate's own credentials.
    pub(crate) fn new(backend: &Backend) -> Self {
        Self { dialer: Dialer::new(backend), idle: Mutex::default() }
    }

    /// Runs a statement without rows.
    ///
    /// Where a kept connection turns out to be broken, whether the statement ran is unknown; it is
    /// sent again on a new one. Callers use statements for which that is right.
    ///
    /// # Errors
    /// The server's own error, or VT14001 where it cannot be reached within [`DEADLINE`].
    pub(crate) async fn update(&self, address: &Address, statement: &str) -> Result<Updated> {
        Ok(self.run(address, statement, DEADLINE).await?.0)
    }

    /// The first column of the first row as an integer; none without rows or for NULL.
    ///
    /// # Errors
    /// As [`Self::update`].
    pub(crate) async fn number(&self, address: &Address, query: &str) -> Result<Option<i64>> {
        let (_, rows) = self.run(address, query, DEADLINE).await?;
        Ok(rows.first().and_then(|row| row.get_opt(0)).and_then(std::result::Result::ok))
    }

    /// All rows of a query.
    ///
    /// # Errors
    /// The server's own error, or VT14001 where there is no answer within `deadline`.
    pub(crate) async fn rows(&self, address: &Address, query: &str, deadline: Duration) -> Result<Vec<Row>> {
        Ok(self.run(address, query, deadline).await?.1)
    }

    async fn run(
        &self,
        address: &Address,
        statement: &str,
        deadline: Duration,
    ) -> Result<(Updated, Vec<Row>)> {
        let attempt = async {
            if let Some(mut link) = self.take(address) {
                match ask(&mut link, statement).await {
                    // The server had closed it, or closed it now: try a new one.
                    Err(error) if !matches!(error, mysql_async::Error::Server(_)) => drop(link),
                    done => {
                        self.keep(address, link);
                        return done;
                    }
                }
            }
            let mut link = self.dial(address).await?;
            let done = ask(&mut link, statement).await;
            if matches!(done, Ok(_) | Err(mysql_async::Error::Server(_))) {
                self.keep(address, link);
            }
            done
        };
        match timeout(deadline, attempt).await {
            Ok(done) => done.map_err(|error| to_sql_error(address, error)),
            Err(_) => Err(SqlError::shard_unreachable(&place(address), "no answer within the deadline")),
        }
    }

    fn take(&self, address: &Address) -> Option<Conn> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(address)?.pop()
    }

    fn keep(&self, address: &Address, link: Conn) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let links = idle.entry(address.clone()).or_default();
        if links.len() < IDLE_PER_SERVER {
            links.push(link);
        }
    }

    async fn dial(&self, address: &Address) -> mysql_async::Result<Conn> {
        let mut link = self.dialer.dial(address).await?;
        // MariaDB 10.11 knows tx_isolation only, MySQL 8 transaction_isolation only.
        match link.query_drop(SETUP_MYSQL).await {
            Err(mysql_async::Error::Server(error)) if error.code == 1193 => link.query_drop(SETUP).await?,
            done => done?,
        }
        Ok(link)
    }
}

async fn ask(link: &mut Conn, statement: &str) -> mysql_async::Result<(Updated, Vec<Row>)> {
    let mut result = link.query_iter(statement).await?;
    let updated =
        Updated { affected: result.affected_rows(), insert_id: result.last_insert_id().unwrap_or(0) };
    let rows: Vec<Row> = result.collect().await?;
    result.drop_result().await?;
    Ok((updated, rows))
}

fn place(address: &Address) -> String {
    match address {
        Address::Tcp { host, port } => format!("{host}:{port}"),
        Address::Unix(path) => path.display().to_string(),
    }
}

fn to_sql_error(address: &Address, error: mysql_async::Error) -> SqlError {
    match error {
        mysql_async::Error::Server(error) => {
            let state = error.state.as_bytes().try_into().map_or(SqlState::GENERAL, SqlState);
            SqlError::from_server(error.code, state, error.message)
        }
        other => SqlError::shard_unreachable(&place(address), &other.to_string()).caused_by(other),
    }
}
