//! How do gates tell each other which connections make one transaction?
//!
//! In a table beside each shard's decisions, in memory, and only while a transaction waits for a
//! connection that its gate does not know. Every transaction of a circle waits, so each gate of the
//! circle writes its own. A row counts for [`FRESH`] by the server's clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Stand;
use crate::topology::{Tablet, TabletAlias};
use crate::twopc::{LinkError, ShardId, TwoPc, sidecar_database};

/// For how long a row counts after it was written.
const FRESH: Duration = Duration::from_secs(3);

/// How old a row must be for anybody to remove it, in seconds.
const OLD: u32 = 60;

/// How long a server may take to answer.
const DEADLINE: Duration = Duration::from_secs(1);

/// How long a server that refused the table is left alone.
const REFUSED: Duration = Duration::from_secs(60);

/// The longest list of connections, in bytes.
const PLACES: usize = 4_096;

/// A transaction on its way between gates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Notice {
    pub name: String,
    pub started_ms: u64,
    pub statement: u64,
    /// Its connections, by the names of their servers. Where the statement runs, the name under which it
    /// waits there in the storage engine; empty where it does not.
    pub places: Vec<(TabletAlias, u32, Option<String>)>,
}

/// Where this gate has written what.
#[derive(Debug, Default)]
pub(super) struct Board {
    written: HashMap<String, Vec<(ShardId, Arc<Tablet>)>>,
    refused: HashMap<TabletAlias, Instant>,
}

// === impl Notice ===

impl Notice {
    fn places_text(&self) -> String {
        let places: Vec<String> = self
            .places
            .iter()
            .map(|(alias, connection, runs)| {
                let runs = runs.as_ref().map_or_else(String::new, |trx| format!("+{trx}"));
                format!("{}/{}/{connection}{runs}", alias.cell, alias.uid)
            })
            .collect();
        places.join(",")
    }

    fn read(row: &[Option<Vec<u8>>]) -> Option<Self> {
        let text = |at: usize| std::str::from_utf8(row.get(at)?.as_deref()?).ok();
        let place = |text: &str| {
            let mut parts = text.rsplitn(3, '/');
            let connection = parts.next()?;
            let (connection, runs) =
                connection.split_once('+').map_or((connection, None), |(id, trx)| (id, Some(trx.to_owned())));
            let uid = parts.next()?.parse().ok()?;
            let alias = TabletAlias { cell: parts.next()?.into(), uid };
            Some((alias, connection.parse().ok()?, runs))
        };
        Some(Self {
            name: text(0)?.to_owned(),
            started_ms: text(1)?.parse().ok()?,
            statement: text(2)?.parse().ok()?,
            places: text(3)?.split(',').map(place).collect::<Option<_>>()?,
        })
    }
}

// === impl Board ===

impl Board {
    /// Writes a transaction down on all its shards, or renews it there.
    pub(super) async fn write(&mut self, twopc: &TwoPc, notice: &Notice, stands: &[Stand]) {
        let places = notice.places_text();
        // Cells may have any name; one that could end the text is not written.
        if places.len() > PLACES || places.contains(['\'', '\\']) {
            return;
        }
        for stand in stands {
            let id = ShardId::of(&stand.shard);
            if self.refused.get(&stand.tablet.alias).is_some_and(|since| since.elapsed() < REFUSED) {
                continue;
            }
            let statement = format!(
                "REPLACE INTO {}.lock_wait (name, started_ms, statement, places) VALUES ('{}', {}, {}, '{places}')",
                sidecar_database(id),
                notice.name,
                notice.started_ms,
                notice.statement,
            );
            match ask(twopc, &stand.tablet, &[&statement]).await {
                Ok(()) => {}
                Err((1049 | 1146, _)) => {
                    let [database, table] = create(id);
                    let made = ask(twopc, &stand.tablet, &[&database, &table, &statement]).await;
                    if let Err((_, why)) = made {
                        tracing::warn!(
                            server = %stand.tablet.alias, why,
                            "deadlocks with transactions of other gates are not found on this server"
                        );
                        self.refused.insert(stand.tablet.alias.clone(), Instant::now());
                        continue;
                    }
                }
                Err((_, why)) => {
                    tracing::debug!(server = %stand.tablet.alias, why, "a waiting transaction was not written down");
                    continue;
                }
            }
            let written = self.written.entry(notice.name.clone()).or_default();
            if !written.iter().any(|(other, _)| *other == id) {
                written.push((id, Arc::clone(&stand.tablet)));
            }
        }
    }

    /// What is written down beside a shard, by whomever.
    pub(super) async fn read(&self, twopc: &TwoPc, shard: ShardId, tablet: &Arc<Tablet>) -> Vec<Notice> {
        let query = format!(
            "SELECT name, started_ms, statement, places FROM {}.lock_wait \
             WHERE seen_at > CURRENT_TIMESTAMP(3) - INTERVAL {} SECOND",
            sidecar_database(shard),
            FRESH.as_secs(),
        );
        match timeout(DEADLINE, twopc.ask(tablet, &query)).await {
            Ok(Ok(rows)) => rows.iter().filter_map(|row| Notice::read(row)).collect(),
            // Nobody has written anything yet, or nobody can.
            _ => Vec::new(),
        }
    }

    /// Removes what is written of transactions that wait no more.
    pub(super) async fn tidy(&mut self, twopc: &TwoPc, waits: impl Fn(&str) -> bool) {
        let done: Vec<String> = self.written.keys().filter(|name| !waits(name)).cloned().collect();
        for name in done {
            for (shard, tablet) in self.written.remove(&name).unwrap_or_default() {
                let statement = format!(
                    "DELETE FROM {}.lock_wait WHERE name = '{name}' OR seen_at < CURRENT_TIMESTAMP(3) - INTERVAL {OLD} SECOND",
                    sidecar_database(shard),
                );
                // What stays is too old to count soon, and goes with somebody else's.
                drop(ask(twopc, &tablet, &[&statement]).await);
            }
        }
    }
}

fn create(shard: ShardId) -> [String; 2] {
    let database = sidecar_database(shard);
    [
        format!("CREATE DATABASE IF NOT EXISTS {database}"),
        format!(
            "CREATE TABLE IF NOT EXISTS {database}.lock_wait (
               name VARBINARY(64) NOT NULL PRIMARY KEY,
               started_ms BIGINT UNSIGNED NOT NULL,
               statement BIGINT UNSIGNED NOT NULL,
               places VARBINARY({PLACES}) NOT NULL,
               seen_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)
             ) ENGINE = MEMORY COMMENT 'Transactions that wait for row locks, for deadlocks between gates'"
        ),
    ]
}

/// Runs statements in order; number and text of the first error.
async fn ask(twopc: &TwoPc, tablet: &Arc<Tablet>, statements: &[&str]) -> Result<(), (u16, String)> {
    for statement in statements {
        let done = timeout(DEADLINE, twopc.ask(tablet, statement)).await;
        let done = done.unwrap_or_else(|_| Err(LinkError::Lost("no answer in time".to_owned())));
        done.map_err(|error| (error.code(), error.to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_reads_back() {
        let alias = |cell: &str, uid| TabletAlias { cell: cell.into(), uid };
        let notice = Notice {
            name: "1y2p.4k".into(),
            started_ms: 1_764_063_968_123,
            statement: 7,
            places: vec![
                (alias("zone1", 100), 12, Some("1834".into())),
                (alias("a/b", 101), 4_294_967_295, None),
                (alias("a+b", 102), 7, Some(String::new())),
            ],
        };
        let row: Vec<Option<Vec<u8>>> =
            ["1y2p.4k", "1764063968123", "7", &notice.places_text()].map(|text| Some(text.into())).to_vec();
        assert_eq!(Notice::read(&row), Some(notice));
        assert_eq!(Notice::read(&[Some(b"x".to_vec()), Some(b"y".to_vec()), None, None]), None);
    }
}
