//! What is one server asked, and what does it answer?
//!
//! One connection per server, kept as long as it works. No privilege is needed for the first question;
//! an account that may not ask about replication learns no lag, and its replicas are not used.

use std::time::Duration;

use mysql_async::prelude::{FromValue, Queryable as _};
use mysql_async::{Conn, Row};

use super::state::Replication;
use crate::control::Dialer;
use crate::topology::{Address, TabletType};

/// What a server answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    /// It refuses writes: `read_only` or `super_read_only`.
    pub(super) read_only: bool,
    /// `server_uuid` of MySQL, `server_id` of MariaDB.
    pub(super) identity: String,
    /// Its replication, if it has a source.
    pub(super) replication: Option<Replication>,
    /// The age of the heartbeat, where a heartbeat table is set.
    pub(super) heartbeat: Option<Duration>,
}

/// Asks one server.
#[derive(Debug)]
pub(super) struct Prober {
    dialer: Dialer,
    address: Address,
    conn: Option<(Conn, Questions)>,
    heartbeat: Option<String>,
}

/// The statements of a server's family.
#[derive(Debug, Clone, Copy)]
struct Questions {
    own: &'static str,
    replication: &'static str,
}

const MYSQL: Questions = Questions {
    own: "SELECT @@GLOBAL.read_only OR @@GLOBAL.super_read_only, @@GLOBAL.server_uuid",
    replication: "SHOW REPLICA STATUS",
};

const MARIADB: Questions = Questions {
    own: "SELECT @@GLOBAL.read_only NOT IN ('0', 'OFF'), CAST(@@GLOBAL.server_id AS CHAR)",
    replication: "SHOW ALL SLAVES STATUS",
};

// === impl Answer ===

impl Answer {
    /// How far it is behind, as it says itself. A heartbeat knows better than the replication status.
    pub(super) fn lag(&self) -> Option<Duration> {
        let replication = self.replication.as_ref()?;
        if !replication.applies {
            return None;
        }
        self.heartbeat.or(replication.lag)
    }
}

// === impl Prober ===

impl Prober {
    pub(super) fn new(dialer: &Dialer, address: &Address, heartbeat: Option<&str>) -> Self {
        // Vitess's table: `ts` is in nanoseconds since 1970.
        let heartbeat = heartbeat
            .map(|table| format!("SELECT UNIX_TIMESTAMP(NOW(6)) - MAX(ts) / 1000000000 FROM {table}"));
        Self { dialer: dialer.clone(), address: address.clone(), conn: None, heartbeat }
    }

    /// Asks once. The caller bounds the time; a call that is dropped or fails closes the connection.
    pub(super) async fn ask(&mut self, kind: TabletType) -> Result<Answer, String> {
        let (mut conn, questions) = match self.conn.take() {
            Some(known) => known,
            None => self.dial().await.map_err(|error| error.to_string())?,
        };
        let answer = self.answer(&mut conn, questions, kind).await.map_err(|error| error.to_string())?;
        self.conn = Some((conn, questions));
        Ok(answer)
    }

    async fn dial(&self) -> mysql_async::Result<(Conn, Questions)> {
        let mut conn = self.dialer.dial(&self.address).await?;
        let version: Option<String> = conn.query_first("SELECT @@GLOBAL.version").await?;
        let mariadb = version.is_some_and(|version| version.contains("MariaDB"));
        Ok((conn, if mariadb { MARIADB } else { MYSQL }))
    }

    async fn answer(
        &self,
        conn: &mut Conn,
        questions: Questions,
        kind: TabletType,
    ) -> mysql_async::Result<Answer> {
        let own: Option<(i64, String)> = conn.query_first(questions.own).await?;
        let (read_only, identity) = own.unwrap_or((1, String::new()));
        let mut answer = Answer { read_only: read_only != 0, identity, replication: None, heartbeat: None };
        if kind == TabletType::Primary {
            return Ok(answer);
        }
        match conn.query_first::<Row, _>(questions.replication).await {
            Ok(row) => answer.replication = row.map(|row| replication(&row)),
            // Nothing is known about the lag: the account may not ask.
            Err(mysql_async::Error::Server(error)) => {
                answer.replication = Some(Replication { error: error.message, ..Replication::default() });
            }
            Err(error) => return Err(error),
        }
        if let Some(query) = &self.heartbeat {
            let age: Option<Option<f64>> = conn.query_first(query.as_str()).await?;
            answer.heartbeat =
                age.flatten().and_then(|seconds| Duration::try_from_secs_f64(f64::max(seconds, 0.0)).ok());
        }
        Ok(answer)
    }
}

/// Reads a replication status under MySQL's names or MariaDB's.
fn replication(row: &Row) -> Replication {
    let text = |names: [&str; 2]| value::<String>(row, names).unwrap_or_default();
    let yes = |names: [&str; 2]| text(names) == "Yes";
    let host = text(["Source_Host", "Master_Host"]);
    let port: Option<u64> = value(row, ["Source_Port", "Master_Port"]);
    let (receiving, applying) = (text(["Last_IO_Error"; 2]), text(["Last_SQL_Error"; 2]));
    let receives = yes(["Replica_IO_Running", "Slave_IO_Running"]);
    let behind: Option<u64> = value(row, ["Seconds_Behind_Source", "Seconds_Behind_Master"]);
    Replication {
        source: format!("{host}:{}", port.unwrap_or(0)),
        receives,
        applies: yes(["Replica_SQL_Running", "Slave_SQL_Running"]),
        // Without its receiver a replica says that it is behind of nothing.
        lag: behind.filter(|_| receives).map(Duration::from_secs),
        error: if applying.is_empty() { receiving } else { applying },
    }
}

fn value<T: FromValue>(row: &Row, names: [&str; 2]) -> Option<T> {
    names.iter().find_map(|name| row.get_opt::<Option<T>, _>(*name)?.ok().flatten())
}
