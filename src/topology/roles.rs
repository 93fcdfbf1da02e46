//! How does a server become the primary of its shard in the records?

use time::OffsetDateTime;

use super::directory::{Directory, Outcome};
use super::lock::Lock;
use super::store::StoreError;
use super::wire::{topodata, vttime};
use super::{TabletAlias, path};

/// What a promotion changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Promotion {
    /// The keyspace.
    pub keyspace: String,
    /// The shard.
    pub shard: String,
    /// The primary of before, if it was another one.
    pub old: Option<TabletAlias>,
}

impl Directory {
    /// Records that a server is the primary of its shard from now on, and that the one of before is a
    /// replica. Takes the shard's lock.
    ///
    /// # Errors
    /// A tablet that does not exist, a lock that cannot be had, or etcd's.
    pub async fn make_primary(&self, alias: &TabletAlias) -> Outcome<Promotion> {
        let (_, tablet) = self.tablet(alias).await?;
        let lock = self.lock_shard(&tablet.keyspace, &tablet.shard, "TabletExternallyReparented").await?;
        let promoted = self.make_primary_locked(alias, &lock).await;
        // Where it cannot be let go now, it goes with its lease.
        lock.release().await.ok();
        promoted
    }

    /// The same under the shard's lock, which the caller holds. The shard's record comes first: gates go by
    /// it from then on, whatever the tablets' records say.
    ///
    /// # Errors
    /// A tablet that does not exist, a lock that was lost, or etcd's.
    pub async fn make_primary_locked(&self, alias: &TabletAlias, lock: &Lock) -> Outcome<Promotion> {
        let (_, tablet) = self.tablet(alias).await?;
        let topodata::Tablet { keyspace, shard, .. } = tablet;
        let since = now();
        let mut old = None;
        lock.check()?;
        let path = path::shard(&keyspace, &shard);
        let changed = self.global().change::<topodata::Shard>(&path, |record| {
            old = record.primary_alias.as_ref().map(TabletAlias::from).filter(|old| old != alias);
            record.primary_alias = Some(alias.into());
            record.primary_term_start_time = Some(since);
            Ok(())
        });
        changed.await?;
        lock.check()?;
        let primary = topodata::TabletType::Primary;
        self.set_type(alias, primary, Some(since)).await?;
        if let Some(old) = &old {
            lock.check()?;
            match self.set_type(old, topodata::TabletType::Replica, None).await {
                // A server that is gone needs no record.
                Ok(_) | Err(StoreError::NoNode(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Promotion { keyspace, shard, old })
    }

    /// Writes a type into a tablet's record; `since` is for primaries.
    ///
    /// # Errors
    /// A tablet that does not exist, or etcd's.
    pub async fn set_type(
        &self,
        alias: &TabletAlias,
        kind: topodata::TabletType,
        since: Option<vttime::Time>,
    ) -> Outcome<topodata::Tablet> {
        let cell = self.cell(&alias.cell).await?;
        let path = path::tablet(alias);
        let changed = cell.change::<topodata::Tablet>(&path, |record| {
            record.r#type = kind.into();
            record.primary_term_start_time = since;
            Ok(())
        });
        changed.await
    }
}

/// This moment as records hold it.
#[must_use]
pub fn now() -> vttime::Time {
    let now = OffsetDateTime::now_utc();
    vttime::Time { seconds: now.unix_timestamp(), nanoseconds: i32::try_from(now.nanosecond()).unwrap_or(0) }
}
