//! How does the gate talk to the MySQL servers of its shards?
//!
//! Connections are pooled per server and FOUND_ROWS mode ([`Pools`]), checked out as a [`Lease`] with
//! the session settings that the caller needs, and given back by dropping it. A lease that owes
//! packets, is in a transaction or carries state that nobody predicted is made clean in the
//! background, within a deadline, or closed; it never comes back to the pool otherwise.
//!
//! Commands are appended to one output buffer and leave with one write; answers are followed event by
//! event, rows as runs of whole packets borrowed from the receive buffer. A simple query costs one
//! write and one read and no allocation.
//!
//! ```ignore
//! let settings = pools.settings().baseline();            // or .intern(assignments)
//! let mut lease = pools.lease(&tablet, found_rows, &settings).await
//!     .map_err(|error| error.for_shard("service/-80"))?;
//!
//! lease.send_prelude(b"BEGIN");                           // optional: goes out with the next command,
//!                                                         // its OK is swallowed, its ERR is an Err
//! lease.send_query(b"SELECT ...");                        // or send_query_with(|out| render into out)
//! loop {
//!     match lease.next().await? {                         // flushes first; cancel-safe
//!         Event::Columns { run, count } => …,             // framed definition packets, whole
//!         Event::Rows { run, count } => writer.write_run(&mut out, run)?,
//!         Event::RowPiece { bytes, starts_packet, .. } => writer.write_piece(&mut out, bytes, starts_packet),
//!         Event::RowsEnd(ok) | Event::Ok(ok) => …,        // status, warnings, insert id, info
//!         Event::Error(error) => …,                       // the shard's own code, state and text
//!         Event::LocalInfile(_) => lease.send_local_infile(b""), // then b"" ends the file
//!     }
//!     if lease.response_done() { break }                  // else another result set follows
//! }
//! // Operators that need rows of their own: `next_owned()` gives Columns, Vec<RawRow>, ends.
//! // One-liners: `lease.run(b"COMMIT").await? -> Summary`, `lease.collect(sql, max_bytes).await?`.
//! // Prepared: let statement = lease.prepare(text).await?; (cached by text)
//! //           lease.send_execute_with(|out| execute.encode_for(out, statement.id)); then next().
//! // Cancel:   lease.cancel().await kills the query on a side connection and drains the answer.
//! drop(lease);                                            // back to the pool, cleaned if need be
//! ```

mod branch;
mod connection;
mod error;
mod exchange;
mod health;
mod inbox;
mod kill;
mod lease;
mod login;
mod owned;
mod pool;
mod pools;
mod reset;
mod send;
mod settings;
mod statements;
mod stats;
mod stream;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use connection::{Connection, Server};
pub use error::{BackendError, Retry};
pub use exchange::Event;
pub use kill::KillTarget;
pub use lease::Lease;
pub use owned::{OwnedEvent, ResultSet, Summary};
pub use pool::Pool;
pub use pools::Pools;
pub use settings::{NAMES, Settings, SettingsRegistry};
pub use statements::Prepared;
pub use stats::PoolStats;

/// How to log in to the servers, and how many connections to keep.
#[derive(Clone)]
pub struct BackendConfig {
    /// The user.
    pub user: String,
    /// Its password; empty for none.
    pub password: String,
    /// TLS on TCP connections. Unix sockets never use it.
    pub tls: Tls,
    /// Connections per server and FOUND_ROWS mode.
    pub pool_size: usize,
    /// How long dialling and logging in may take together.
    pub connect_timeout: Duration,
    /// How long a lease may wait for a connection.
    pub queue_timeout: Duration,
    /// How many leases may wait; the next one fails at once.
    pub queue_limit: usize,
    /// How long an unused connection is kept; `None` for ever.
    pub idle_timeout: Option<Duration>,
    /// How old a connection may become; each one gets up to a tenth less, so that they do not all
    /// end together. `None` for ever.
    pub max_lifetime: Option<Duration>,
    /// How long making a used connection clean may take before it is closed instead.
    pub reset_timeout: Duration,
    /// How often idle connections are looked after.
    pub health_interval: Duration,
    /// Prepared statements kept per connection.
    pub statement_cache: usize,
}

/// TLS towards the servers. The certificate policy is in the rustls configuration.
#[derive(Clone)]
pub enum Tls {
    /// Never.
    Off,
    /// Where the server offers it.
    Preferred(Arc<rustls::ClientConfig>),
    /// Always: a server without TLS is an error.
    Required(Arc<rustls::ClientConfig>),
}

impl Default for BackendConfig {
    fn default() -> Self {
        Self {
            user: "shardgate".to_owned(),
            password: String::new(),
            tls: Tls::Off,
            pool_size: 200,
            connect_timeout: Duration::from_secs(5),
            queue_timeout: Duration::from_secs(10),
            queue_limit: 5_000,
            idle_timeout: Some(Duration::from_secs(1_800)),
            max_lifetime: Some(Duration::from_secs(3_600)),
            reset_timeout: Duration::from_secs(5),
            health_interval: Duration::from_secs(1),
            statement_cache: 256,
        }
    }
}

impl fmt::Debug for BackendConfig {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendConfig")
            .field("user", &self.user)
            .field("tls", &self.tls)
            .field("pool_size", &self.pool_size)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "Off",
            Self::Preferred(_) => "Preferred",
            Self::Required(_) => "Required",
        })
    }
}
