//! How does a session's read on a replica see what the session has written before?
//!
//! After a write, the first read of a shard on a replica asks the primary what it has executed (a GTID set
//! on MySQL, a binlog position on MariaDB), and lets the replica wait until it has that too. Where that
//! takes longer than `health.read_after_write_timeout`, or the primary has no GTIDs, the read goes to the
//! primary. A replica that has caught up is not asked again until the session writes again.
//!
//! The primary's position holds the session's own transactions whatever way they went: one shard or
//! several, XA, DDL, stored procedures. It holds those of others too; waiting for those as well is the
//! price for not having to follow every commit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;

use super::ExecContext;
use super::route::Target;
use crate::backend::ResultSet;
use crate::error::{Result, SqlError};
use crate::key::TabletType;
use crate::protocol::row::TextRow;
use crate::topology::{Tablet, TabletAlias};
use crate::transaction::Place;

/// What one session has written, and which replicas are known to have it.
#[derive(Debug, Default)]
pub struct OwnWrites {
    /// Counts statements that may have written.
    writes: AtomicU64,
    /// The count up to which a server has everything.
    seen: Mutex<HashMap<TabletAlias, u64>>,
}

/// The longest GTID set that is read, in bytes.
const POSITION_SIZE: usize = 1 << 20;

// === impl OwnWrites ===

impl OwnWrites {
    /// Notes a statement that may have written somewhere.
    pub fn wrote(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    /// The present count, where the server is not known to have everything.
    fn missing(&self, server: &TabletAlias) -> Option<u64> {
        let count = self.writes.load(Ordering::Relaxed);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.get(server).copied().unwrap_or(0) < count).then_some(count)
    }

    fn has(&self, server: &TabletAlias, count: u64) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(server.clone(), count);
    }
}

// === impl ExecContext ===

impl ExecContext<'_> {
    /// Makes every replica among the targets one that has the session's own writes, or the primary.
    ///
    /// # Errors
    /// The primary cannot be asked.
    pub(super) async fn see_own_writes(&self, targets: &mut [Target]) -> Result<()> {
        let (Some(own), Some(limit)) = (self.own_writes, self.health.read_after_write()) else {
            return Ok(());
        };
        let waits = targets.iter_mut().map(|target| self.wait_for_own(own, limit, target));
        try_join_all(waits).await.map(drop)
    }

    async fn wait_for_own(&self, own: &OwnWrites, limit: Duration, target: &mut Target) -> Result<()> {
        let Place { shard, tablet } = &target.place;
        if tablet.kind == TabletType::Primary || self.transactions.place_on(shard).is_some() {
            return Ok(());
        }
        let Some(count) = own.missing(&tablet.alias) else { return Ok(()) };
        let primary = self.health.primary(shard, false)?;
        let position = self.position(primary).await?;
        let reached = match position.as_deref() {
            // Without GTIDs nobody can tell.
            None | Some("") => false,
            // A replica that fails here is as good as one that is late.
            Some(position) => self.reaches(tablet, position, limit).await.unwrap_or(false),
        };
        if reached {
            own.has(&tablet.alias, count);
        } else {
            target.place.tablet = Arc::clone(primary);
        }
        Ok(())
    }

    /// What the primary has executed.
    async fn position(&self, primary: &Arc<Tablet>) -> Result<Option<String>> {
        self.ask(primary, |mariadb| {
            let variable = if mariadb { "gtid_binlog_pos" } else { "gtid_executed" };
            format!("SELECT @@GLOBAL.{variable}")
        })
        .await
    }

    /// Whether the replica has executed that within the limit.
    async fn reaches(&self, replica: &Arc<Tablet>, position: &str, limit: Duration) -> Result<bool> {
        let position: String = position.chars().filter(|character| !character.is_whitespace()).collect();
        let seconds = limit.as_secs_f64();
        let answer = self.ask(replica, |mariadb| {
            let function = if mariadb { "MASTER_GTID_WAIT" } else { "WAIT_FOR_EXECUTED_GTID_SET" };
            format!("SELECT {function}('{position}', {seconds:.3})")
        });
        Ok(answer.await?.as_deref() == Some("0"))
    }

    /// The one value of a query in a family's words.
    async fn ask(&self, tablet: &Arc<Tablet>, query: impl FnOnce(bool) -> String) -> Result<Option<String>> {
        let failed = |error: crate::backend::BackendError| {
            error.for_shard(&format!("{}/{}", tablet.keyspace, tablet.shard))
        };
        let baseline = self.pools.settings().baseline();
        let mut lease = self.pools.lease(tablet, self.found_rows, &baseline).await.map_err(failed)?;
        let query = query(lease.server().is_mariadb);
        let work = lease.collect(query.as_bytes(), POSITION_SIZE);
        let result = match self.deadline {
            None => work.await,
            Some(deadline) => {
                tokio::time::timeout_at(deadline, work).await.map_err(|_| SqlError::query_timeout())?
            }
        };
        Ok(value(&result.map_err(failed)?))
    }
}

fn value(result: &ResultSet) -> Option<String> {
    let row = result.rows.first()?;
    let bytes = TextRow::new(&row.0).next()?.ok()??;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_makes_every_replica_late_again() {
        let own = OwnWrites::default();
        let (a, b) = (TabletAlias { cell: "z".into(), uid: 1 }, TabletAlias { cell: "z".into(), uid: 2 });
        assert_eq!(own.missing(&a), None, "nothing was written");
        own.wrote();
        assert_eq!((own.missing(&a), own.missing(&b)), (Some(1), Some(1)));
        own.has(&a, 1);
        assert_eq!((own.missing(&a), own.missing(&b)), (None, Some(1)));
        own.wrote();
        assert_eq!(own.missing(&a), Some(2));
    }
}
