//! Who waits for a row lock on one server, and for whom?
//!
//! MySQL tells in `performance_schema.data_lock_waits`, MariaDB in `INNODB_LOCK_WAITS`. Which session a
//! transaction belongs to is asked of `INNODB_TRX` on both: the thread that `data_locks` names may be
//! the one that found the lock and not the one that holds it. Both servers may answer from a copy
//! that is up to [`STALE`] old.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::graph::Wait;
use crate::topology::{Tablet, TabletAlias};
use crate::twopc::TwoPc;

/// InnoDB takes a new copy of its transactions when the last one was not read for 0.1 s; so a server that
/// is asked more often than ten times a second, by whomever, tells nothing new.
pub(super) const STALE: Duration = Duration::from_millis(120);

/// How long a server may take to answer.
const DEADLINE: Duration = Duration::from_secs(1);

/// Since which MySQL the waits are in `performance_schema`.
const PERFORMANCE_SCHEMA_SINCE: u32 = 8;

/// Which servers keep their waits in `performance_schema`.
#[derive(Debug, Default)]
pub(super) struct Families(HashMap<TabletAlias, bool>);

// === impl Families ===

impl Families {
    /// Whether a server keeps its waits in `performance_schema`; asked once.
    ///
    /// # Errors
    /// Why the server did not tell.
    pub(super) async fn of(&mut self, twopc: &TwoPc, tablet: &Arc<Tablet>) -> Result<bool, String> {
        if let Some(known) = self.0.get(&tablet.alias) {
            return Ok(*known);
        }
        let rows =
            timeout(DEADLINE, twopc.ask(tablet, "SELECT VERSION(), @@GLOBAL.performance_schema")).await;
        let rows = rows.map_err(|_| "no answer in time".to_owned())?.map_err(|error| error.to_string())?;
        let version = rows.first().and_then(|row| text(row, 0)).unwrap_or_default();
        let major = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
        let told = !version.contains("MariaDB") && major >= PERFORMANCE_SCHEMA_SINCE;
        if told && rows.first().and_then(|row| text(row, 1)) != Some("1") {
            // Its tables are there, and empty.
            return Err("performance_schema is OFF".to_owned());
        }
        self.0.insert(tablet.alias.clone(), told);
        Ok(told)
    }

    /// The server may be another one now.
    pub(super) fn forget(&mut self, alias: &TabletAlias) {
        self.0.remove(alias);
    }
}

/// All waits of a server; `server` is its number in the view.
///
/// # Errors
/// Why the server did not tell: away, read-only, or without the right to see them.
pub(super) async fn read(
    twopc: &TwoPc,
    tablet: &Arc<Tablet>,
    server: usize,
    performance_schema: bool,
) -> Result<Vec<Wait>, String> {
    let rows = timeout(DEADLINE, twopc.ask(tablet, &query(performance_schema))).await;
    let rows = rows.map_err(|_| "no answer in time".to_owned())?.map_err(|error| error.to_string())?;
    Ok(rows.iter().filter_map(|row| wait(server, row)).collect())
}

fn query(performance_schema: bool) -> String {
    let [table, waiter, lock, blocker, blocking] = if performance_schema {
        [
            "performance_schema.data_lock_waits",
            "REQUESTING_ENGINE_TRANSACTION_ID",
            "REQUESTING_ENGINE_LOCK_ID",
            "BLOCKING_ENGINE_TRANSACTION_ID",
            "BLOCKING_ENGINE_LOCK_ID",
        ]
    } else {
        [
            "information_schema.INNODB_LOCK_WAITS",
            "requesting_trx_id",
            "requested_lock_id",
            "blocking_trx_id",
            "blocking_lock_id",
        ]
    };
    // Without a wait nothing else is looked at.
    format!(
        "SELECT r.trx_id, r.trx_mysql_thread_id, w.{lock}, b.trx_id, b.trx_mysql_thread_id, \
         b.trx_requested_lock_id <=> w.{blocking} \
         FROM {table} w \
         JOIN information_schema.INNODB_TRX r ON r.trx_id = w.{waiter} \
         JOIN information_schema.INNODB_TRX b ON b.trx_id = w.{blocker}"
    )
}

fn wait(server: usize, row: &[Option<Vec<u8>>]) -> Option<Wait> {
    let connection = |at| text(row, at)?.parse().ok();
    let wait = Wait {
        server,
        waiter: connection(1)?,
        waiter_trx: text(row, 0)?.to_owned(),
        lock: text(row, 2)?.to_owned(),
        blocker: connection(4)?,
        blocker_trx: text(row, 3)?.to_owned(),
        blocker_waits: text(row, 5)? == "1",
    };
    // A prepared branch without a session waits for nobody.
    (wait.waiter != 0 && wait.blocker != 0).then_some(wait)
}

fn text(row: &[Option<Vec<u8>>], at: usize) -> Option<&str> {
    std::str::from_utf8(row.get(at)?.as_deref()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read() {
        let row = |values: [&str; 6]| values.map(|value| Some(value.as_bytes().to_vec())).to_vec();
        let read = wait(3, &row(["1834", "11", "1834:2:4:2", "1833", "10", "0"])).unwrap();
        assert_eq!((read.server, read.waiter, read.blocker, read.blocker_waits), (3, 11, 10, false));
        assert_eq!((&*read.waiter_trx, &*read.blocker_trx, &*read.lock), ("1834", "1833", "1834:2:4:2"));
        assert!(wait(3, &row(["1834", "11", "l", "1833", "10", "1"])).unwrap().blocker_waits);
        assert!(wait(3, &row(["1834", "11", "l", "1833", "0", "0"])).is_none(), "no session");
        assert!(wait(3, &row(["1834", "-", "l", "1833", "10", "0"])).is_none());
        assert!(wait(3, &[None, None]).is_none());
    }
}
