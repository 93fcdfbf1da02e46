//! What does one server say of its replication, and which statements give it a role?
//!
//! The statements are those of MySQL from 8.0.26 on and of MariaDB from 10.5 on. GTIDs are required:
//! `gtid_mode = ON`, or `gtid_strict_mode = ON` with `log_slave_updates`.

use std::collections::BTreeSet;
use std::time::Duration;

use mysql_async::prelude::{FromValue, Queryable as _};
use mysql_async::{Conn, Row};
use tokio::time::Instant;

use super::{Step, StepError};
use crate::config::Secret;

/// Whose server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Oracle's, or a build of it.
    MySql,
    /// MariaDB's.
    MariaDb,
}

/// Where a replica gets its transactions from.
#[derive(Debug, Clone)]
pub struct Source {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The account with REPLICATION SLAVE.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Whether the replica uses TLS towards it.
    pub tls: bool,
}

/// A control connection to one server, with what its family needs to be told.
#[derive(Debug)]
pub struct Server {
    conn: Conn,
    family: Family,
    name: String,
}

/// How often a condition is looked at again.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// How long a replica waits for a sign of life of its source before it dials again, in seconds; its
/// source sends one after half of that.
const SILENCE: u32 = 8;

/// For ever, in milliseconds, as far as a server can count it: a primary that has lost all its replicas
/// must not acknowledge alone.
const SEMI_SYNC_TIMEOUT: u32 = u32::MAX;

// === impl Server ===

impl Server {
    /// Looks at what answers on the connection.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn new(conn: Conn, name: &str) -> Step<Self> {
        let mut server = Self { conn, family: Family::MySql, name: name.to_owned() };
        let version: String = server.value("SELECT @@GLOBAL.version", "version").await?;
        if version.contains("MariaDB") {
            server.family = Family::MariaDb;
        }
        // Literals are escaped with backslashes, as MySQL does unless told otherwise.
        server.run(&["SET SESSION sql_mode = ''"], "session").await?;
        Ok(server)
    }

    /// Whose server it is.
    #[must_use]
    pub fn family(&self) -> Family {
        self.family
    }

    /// Its alias or address, for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs statements one after the other.
    ///
    /// # Errors
    /// The first that fails.
    pub async fn run(&mut self, statements: &[&str], step: &'static str) -> Step<()> {
        for statement in statements {
            self.conn.query_drop(*statement).await.map_err(|error| self.failed(step, &error))?;
        }
        Ok(())
    }

    /// The TCP port that it listens on.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn port(&mut self) -> Step<u16> {
        self.value("SELECT @@GLOBAL.port", "port").await
    }

    /// What it has executed: a GTID set (MySQL) or a binlog position (MariaDB).
    ///
    /// # Errors
    /// The server does not answer, or has no GTIDs.
    pub async fn position(&mut self) -> Step<String> {
        match self.family {
            Family::MySql => {
                let set: String = self.value("SELECT @@GLOBAL.gtid_executed", "position").await?;
                Ok(set.replace('\n', ""))
            }
            Family::MariaDb => self.value("SELECT @@GLOBAL.gtid_binlog_pos", "position").await,
        }
    }

    /// Waits until it has executed `position`; false where that takes longer than `limit`.
    ///
    /// # Errors
    /// The server does not answer, or does not follow anybody.
    pub async fn wait_for(&mut self, position: &str, limit: Duration) -> Step<bool> {
        let function = match self.family {
            Family::MySql => "WAIT_FOR_EXECUTED_GTID_SET",
            Family::MariaDb => "MASTER_GTID_WAIT",
        };
        // MySQL takes 0 for no limit at all.
        let seconds = f64::max(limit.as_secs_f64(), 0.001);
        let query = format!("SELECT {function}('{position}', {seconds:.3})");
        let outcome: Option<i64> = self.value(&query, "catching up").await?;
        Ok(outcome == Some(0))
    }

    /// `@@read_only`.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn is_read_only(&mut self) -> Step<bool> {
        Ok(self.value::<i64>("SELECT @@GLOBAL.read_only", "read_only").await? != 0)
    }

    /// Refuses writes from now on, those of open transactions included: they fail with 1290 when they
    /// commit. Waits for statements that write and commits that are on their way, for as long as
    /// [`Self::wait_for_locks`] says. MySQL refuses administrators too, MariaDB does not refuse those
    /// with READ ONLY ADMIN.
    ///
    /// # Errors
    /// The server refuses, or does not answer.
    pub async fn refuse_writes(&mut self) -> Step<()> {
        let statement = match self.family {
            Family::MySql => "SET GLOBAL super_read_only = ON",
            Family::MariaDb => "SET GLOBAL read_only = ON",
        };
        self.run(&[statement], "refusing writes").await
    }

    /// How long statements on this connection wait for what others hold; the server counts whole
    /// seconds, 1 at least.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn wait_for_locks(&mut self, limit: Duration) -> Step<()> {
        let seconds = limit.as_secs().max(1);
        self.run(&[&format!("SET SESSION lock_wait_timeout = {seconds}")], "session").await
    }

    /// Takes writes.
    ///
    /// # Errors
    /// As [`Self::refuse_writes`].
    pub async fn accept_writes(&mut self) -> Step<()> {
        let statement = match self.family {
            Family::MySql => "SET GLOBAL super_read_only = OFF, GLOBAL read_only = OFF",
            Family::MariaDb => "SET GLOBAL read_only = OFF",
        };
        self.run(&[statement], "accepting writes").await
    }

    /// Whether it has a source, replicating from it or not.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn has_source(&mut self) -> Step<bool> {
        Ok(self.status().await?.is_some())
    }

    /// What it says of its replication; nothing where it has no source.
    async fn status(&mut self) -> Step<Option<Row>> {
        let query = match self.family {
            Family::MySql => "SHOW REPLICA STATUS",
            Family::MariaDb => "SHOW ALL SLAVES STATUS",
        };
        self.conn.query_first(query).await.map_err(|error| self.failed("replication status", &error))
    }

    /// What it has received from its source, in the form of [`Self::position`], applied or not; empty where
    /// it has no source.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn received(&mut self) -> Step<String> {
        let column = match self.family {
            Family::MySql => "Retrieved_Gtid_Set",
            Family::MariaDb => "Gtid_IO_Pos",
        };
        let row = self.status().await?;
        let set = row.and_then(|row| row.get_opt::<Option<String>, _>(column)?.ok().flatten());
        Ok(set.unwrap_or_default().replace('\n', ""))
    }

    /// Takes nothing more from its source: what a new primary does first.
    ///
    /// # Errors
    /// As [`Self::refuse_writes`].
    pub async fn stop_following(&mut self) -> Step<()> {
        let statement = match self.family {
            Family::MySql => "STOP REPLICA",
            Family::MariaDb => "STOP ALL SLAVES",
        };
        self.run(&[statement], "leaving the source").await
    }

    /// Takes nothing more from its source, and applies what it has received.
    ///
    /// # Errors
    /// As [`Self::refuse_writes`].
    pub async fn stop_receiving(&mut self) -> Step<()> {
        let statement = match self.family {
            Family::MySql => "STOP REPLICA IO_THREAD",
            Family::MariaDb => "STOP ALL SLAVES IO_THREAD",
        };
        self.run(&[statement], "leaving the source").await
    }

    /// Takes from its source again: what [`Self::stop_following`] stopped.
    ///
    /// # Errors
    /// As [`Self::refuse_writes`].
    pub async fn go_on_following(&mut self) -> Step<()> {
        let statement = match self.family {
            Family::MySql => "START REPLICA",
            Family::MariaDb => "START ALL SLAVES",
        };
        self.run(&[statement], "following again").await
    }

    /// By how much it is behind its source, in whole seconds, as it says itself.
    ///
    /// # Errors
    /// The server does not answer, has no source, or does not replicate from it at this moment.
    pub async fn lag(&mut self) -> Step<Duration> {
        let row = self.status().await?;
        let step = "replication status";
        let fault = |detail: String| StepError { server: self.name.clone(), step, detail };
        let row = row.ok_or_else(|| fault("it follows no server".to_owned()))?;
        let behind = ["Seconds_Behind_Source", "Seconds_Behind_Master"]
            .iter()
            .find_map(|name| row.get_opt::<Option<u64>, _>(*name)?.ok().flatten());
        behind.map(Duration::from_secs).ok_or_else(|| {
            let errors = ["Last_IO_Error", "Last_SQL_Error"].iter();
            let errors = errors.filter_map(|name| row.get_opt::<Option<String>, _>(*name)?.ok().flatten());
            let errors: Vec<_> = errors.filter(|error| !error.is_empty()).collect();
            fault(
                format!("it does not replicate at this moment. {}", errors.join("; ")).trim_end().to_owned(),
            )
        })
    }

    /// Takes nothing more from its source and forgets it.
    ///
    /// # Errors
    /// As [`Self::refuse_writes`].
    pub async fn forget_source(&mut self) -> Step<()> {
        let statements: &[&str] = match self.family {
            Family::MySql => &["STOP REPLICA", "RESET REPLICA ALL"],
            Family::MariaDb => &["STOP ALL SLAVES", "RESET SLAVE ALL"],
        };
        self.run(statements, "forgetting the source").await
    }

    /// Replicates from `source`, with semi-synchronous acknowledgements where it can.
    ///
    /// # Errors
    /// As [`Self::refuse_writes`].
    pub async fn follow(&mut self, source: &Source) -> Step<()> {
        let Source { host, port, user, password, tls } = source;
        let (host, user, password) = (quoted(host), quoted(user), quoted(password.reveal()));
        let (tls, beat) = (u8::from(*tls), SILENCE / 2);
        match self.family {
            Family::MySql => {
                self.run(&["STOP REPLICA"], "following").await?;
                self.semi_sync(false, true).await?;
                let change = format!(
                    "CHANGE REPLICATION SOURCE TO SOURCE_HOST = {host}, SOURCE_PORT = {port}, SOURCE_USER = {user}, \
                     SOURCE_PASSWORD = {password}, SOURCE_AUTO_POSITION = 1, SOURCE_SSL = {tls}, \
                     GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 4294967295, \
                     SOURCE_HEARTBEAT_PERIOD = {beat}"
                );
                let silence = format!("SET GLOBAL replica_net_timeout = {SILENCE}");
                self.run(&[&silence, &change, "START REPLICA"], "following").await
            }
            Family::MariaDb => {
                let was_primary = !self.has_source().await?;
                self.run(&["STOP ALL SLAVES"], "following").await?;
                self.semi_sync(false, true).await?;
                if was_primary {
                    // What it wrote itself counts too, and gtid_slave_pos does not know of that.
                    let adopt = "SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_binlog_pos";
                    self.run(&[adopt], "following").await?;
                }
                let change = format!(
                    "CHANGE MASTER TO MASTER_HOST = {host}, MASTER_PORT = {port}, MASTER_USER = {user}, \
                     MASTER_PASSWORD = {password}, MASTER_USE_GTID = slave_pos, MASTER_SSL = {tls}, \
                     MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = {beat}"
                );
                let silence = format!("SET GLOBAL slave_net_timeout = {SILENCE}");
                self.run(&[&silence, &change, "START SLAVE"], "following").await
            }
        }
    }

    /// Switches semi-synchronous replication, as a source and as a replica, where the server has it.
    /// A source then waits for one replica (AFTER_SYNC), for ever. False where it has none.
    ///
    /// # Errors
    /// As [`Self::refuse_writes`].
    pub async fn semi_sync(&mut self, as_source: bool, as_replica: bool) -> Step<bool> {
        let mut has = false;
        for (name, _) in self.semi_sync_variables().await? {
            // rpl_semi_sync_source_enabled, or …_master_… of MariaDB and of older plugins.
            let of_source = name.contains("source") || name.contains("master");
            has |= of_source;
            let on = if of_source { as_source } else { as_replica };
            if of_source && on {
                let prefix = name.trim_end_matches("enabled");
                let set = format!(
                    "SET GLOBAL {prefix}timeout = {SEMI_SYNC_TIMEOUT}, GLOBAL {prefix}wait_point = 'AFTER_SYNC'"
                );
                self.run(&[&set], "semi-sync").await?;
            }
            self.run(&[&format!("SET GLOBAL {name} = {}", u8::from(on))], "semi-sync").await?;
        }
        Ok(has)
    }

    /// Whether its commits wait for a replica.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn is_semi_sync_source(&mut self) -> Step<bool> {
        self.has_semi_sync(["source", "master"]).await
    }

    /// Whether it acknowledges what it receives.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn is_semi_sync_replica(&mut self) -> Step<bool> {
        self.has_semi_sync(["replica", "slave"]).await
    }

    async fn has_semi_sync(&mut self, names: [&str; 2]) -> Step<bool> {
        let known = self.semi_sync_variables().await?;
        Ok(known.iter().any(|(name, value)| {
            names.iter().any(|one| name.contains(one)) && value.eq_ignore_ascii_case("on")
        }))
    }

    async fn semi_sync_variables(&mut self) -> Step<Vec<(String, String)>> {
        let query = "SHOW GLOBAL VARIABLES LIKE 'rpl\\_semi\\_sync\\_%\\_enabled'";
        self.conn.query(query).await.map_err(|error| self.failed("semi-sync", &error))
    }

    /// Waits until no session runs a statement that could write or holds a transaction, replication and
    /// our own aside; after `grace` such sessions are killed, again and again.
    ///
    /// # Errors
    /// Sessions that are still there after `grace` and `limit`.
    pub async fn end_sessions(&mut self, grace: Duration, limit: Duration) -> Step<()> {
        let start = Instant::now();
        loop {
            let busy = self.busy_sessions().await?;
            if busy.is_empty() {
                return Ok(());
            }
            if start.elapsed() >= grace + limit {
                let detail = format!("{} sessions do not end", busy.len());
                return Err(StepError { server: self.name.clone(), step: "ending sessions", detail });
            }
            if start.elapsed() >= grace {
                for id in busy {
                    // Fails for a session that has just ended.
                    let _ = self.conn.query_drop(format!("KILL {id}")).await;
                }
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn busy_sessions(&mut self) -> Step<BTreeSet<u64>> {
        let own = u64::from(self.conn.id());
        let step = "sessions";
        let rows: Vec<Row> =
            self.conn.query("SHOW PROCESSLIST").await.map_err(|error| self.failed(step, &error))?;
        let text = |row: &Row, column: &str| row.get_opt::<Option<String>, _>(column)?.ok().flatten();
        let mut ours = BTreeSet::new();
        let mut busy = BTreeSet::new();
        for row in &rows {
            let Some(Ok(id)) = row.get_opt::<u64, _>("Id") else { continue };
            let user = text(row, "User").unwrap_or_default();
            let command = text(row, "Command").unwrap_or_default();
            let is_system = matches!(user.as_str(), "system user" | "event_scheduler")
                || command.starts_with("Binlog Dump")
                || matches!(command.as_str(), "Daemon" | "Slave_IO" | "Slave_SQL" | "Slave_worker");
            if is_system || id == own {
                continue;
            }
            ours.insert(id);
            let statement = text(row, "Info").unwrap_or_default();
            // A query that locks nothing may end when it likes; one that calls a function which writes
            // is found among the transactions.
            let reads = ["select", "show"].iter().any(|word| starts_with(&statement, word));
            if !reads && !matches!(command.as_str(), "Sleep" | "Killed") {
                busy.insert(id);
            }
        }
        let query = "SELECT trx_mysql_thread_id FROM information_schema.INNODB_TRX \
                     WHERE trx_autocommit_non_locking = 0";
        let inside: Vec<u64> = self.conn.query(query).await.map_err(|error| self.failed(step, &error))?;
        busy.extend(inside.into_iter().filter(|id| ours.contains(id)));
        Ok(busy)
    }

    pub(super) async fn number(&mut self, query: &str, step: &'static str) -> Step<Option<i64>> {
        self.value(query, step).await
    }

    async fn value<T>(&mut self, query: &str, step: &'static str) -> Step<T>
    where
        T: FromValue + Send + 'static,
    {
        let row: Option<(T,)> =
            self.conn.query_first(query).await.map_err(|error| self.failed(step, &error))?;
        row.map(|(value,)| value).ok_or_else(|| StepError {
            server: self.name.clone(),
            step,
            detail: "no answer".to_owned(),
        })
    }

    fn failed(&self, step: &'static str, error: &mysql_async::Error) -> StepError {
        StepError { server: self.name.clone(), step, detail: error.to_string() }
    }
}

/// Whether a statement begins with a keyword, in whatever case.
fn starts_with(statement: &str, word: &str) -> bool {
    statement.trim_start().get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// A string literal, for a session that escapes with backslashes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_closed_by_their_own_quote_only() {
        assert_eq!(quoted("a'b\\"), "'a''b\\\\'");
    }
}
