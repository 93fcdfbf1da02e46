//! How does one writer at a time change a keyspace or a shard?
//!
//! By Vitess's protocol, so that its tools and this one keep out of each other's way: a key
//! `<folder>/locks/<lease id>` that lives as long as the lease, whose owner is whoever has the lowest
//! revision. Each owner-to-be watches the key in front of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etcd_client::{EventType, GetOptions, SortOrder, SortTarget};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::store::{Store, StoreError};

/// A lock that is held. Dropping it lets it go when the lease ends; [`Lock::release`] does at once.
#[derive(Debug)]
pub struct Lock {
    store: Store,
    folder: String,
    lease: i64,
    lost: Arc<AtomicBool>,
    keeper: JoinHandle<()>,
}

/// How long to wait for a lock, and how long it outlives its owner.
#[derive(Debug, Clone, Copy)]
pub struct LockTimes {
    /// How long to wait for another owner.
    pub wait: Duration,
    /// How long the lock outlives an owner that has died.
    pub lease: Duration,
}

// === impl Lock ===

impl Lock {
    /// Takes the lock of a folder that exists. `action` says why, for whoever finds it taken.
    ///
    /// # Errors
    /// A folder without records, a lock that others keep for too long, or etcd's.
    pub async fn take(
        store: &Store,
        folder: &str,
        action: &str,
        times: LockTimes,
    ) -> Result<Self, StoreError> {
        if store.names(folder).await?.is_empty() {
            return Err(StoreError::NoNode(folder.into()));
        }
        let seconds = i64::try_from(times.lease.as_secs()).unwrap_or(i64::MAX).max(1);
        let granted =
            store.once("Lock", |mut client| async move { client.lease_grant(seconds, None).await }).await?;
        let lost = Arc::new(AtomicBool::new(false));
        let keeper = tokio::spawn(keep_alive(store.clone(), granted.id(), times.lease, Arc::clone(&lost)));
        let lock = Self { store: store.clone(), folder: folder.into(), lease: granted.id(), lost, keeper };
        match lock.acquire(action, times.wait).await {
            Ok(()) => Ok(lock),
            Err(error) => {
                lock.release().await.ok();
                Err(error)
            }
        }
    }

    /// Whether the lock is still ours. It is not when the lease could not be kept alive.
    ///
    /// # Errors
    /// The lock is lost: whatever it guarded must not go on.
    pub fn check(&self) -> Result<(), StoreError> {
        if self.lost.load(Ordering::Acquire) {
            return Err(StoreError::Refused(format!("the lock of {} was lost", self.folder)));
        }
        Ok(())
    }

    /// Lets the lock go.
    ///
    /// # Errors
    /// etcd's. The lock then ends with its lease.
    pub async fn release(self) -> Result<(), StoreError> {
        self.keeper.abort();
        let lease = self.lease;
        self.store
            .once("Unlock", |mut client| async move { client.lease_revoke(lease).await })
            .await
            .map(drop)
    }

    /// The path of our own key.
    fn path(&self) -> String {
        format!("{}/locks/{}", self.folder, self.lease)
    }

    async fn acquire(&self, action: &str, wait: Duration) -> Result<(), StoreError> {
        let deadline = Instant::now() + wait;
        let content = serde_json::json!({
            "Action": action,
            "HostName": nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()),
            "UserName": nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name),
            "Time": OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
            "Status": "Running",
        });
        let own =
            self.store.create_leased(&self.path(), content.to_string().into_bytes(), self.lease).await?;
        while let Some(ahead) = self.ahead(own).await? {
            self.check()?;
            let gone = self.gone(&ahead);
            let Ok(gone) = timeout_at(deadline, gone).await else {
                let owner = self.store.find(&ahead.0).await?.map(|record| record.bytes);
                let owner = owner.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                return Err(StoreError::Refused(format!(
                    "the lock of {} was not free within {wait:?}; it is held by {}",
                    self.folder,
                    owner.unwrap_or_else(|| "someone who has just let it go".into())
                )));
            };
            gone?;
        }
        self.check()
    }

    /// The newest key that is older than our own, with the revision that it was seen at.
    async fn ahead(&self, own: i64) -> Result<Option<(String, i64)>, StoreError> {
        let prefix = self.store.key_of(&format!("{}/locks/", self.folder));
        let options = GetOptions::new()
            .with_prefix()
            .with_keys_only()
            .with_max_mod_revision(own - 1)
            .with_sort(SortTarget::Mod, SortOrder::Descend)
            .with_limit(1);
        let answer = self
            .store
            .once("Lock", |mut client| async move { client.get(prefix, Some(options)).await })
            .await?;
        let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
        Ok(answer.kvs().first().and_then(|kv| self.store.path_of(kv.key())).map(|path| (path, revision)))
    }

    /// Waits until a key is gone. Cancel safe.
    async fn gone(&self, (path, revision): &(String, i64)) -> Result<(), StoreError> {
        let mut changes = self.store.watch_one(path, revision + 1).await?;
        loop {
            match changes.message().await {
                Ok(Some(answer)) if answer.canceled() => return Ok(()),
                Ok(Some(answer)) => {
                    if answer.events().iter().any(|event| event.event_type() == EventType::Delete) {
                        return Ok(());
                    }
                }
                // The caller looks again, and fails if etcd is away.
                Ok(None) | Err(_) => return Ok(()),
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Prolongs a lease until it cannot be any more.
async fn keep_alive(store: Store, lease: i64, length: Duration, lost: Arc<AtomicBool>) {
    let mut valid_until = Instant::now() + length;
    loop {
        sleep(length / 3).await;
        let prolong = |mut client: etcd_client::Client| async move {
            let (mut keeper, mut answers) = client.lease_keep_alive(lease).await?;
            keeper.keep_alive().await?;
            answers.message().await
        };
        match timeout_at(valid_until, store.once("KeepAlive", prolong)).await {
            Ok(Ok(Some(answer))) if answer.ttl() > 0 => valid_until = Instant::now() + length,
            // etcd may come back in time.
            Ok(Err(_)) if Instant::now() < valid_until => {}
            // The lease is gone: someone revoked it, or it was not prolonged in time.
            _ => break,
        }
    }
    lost.store(true, Ordering::Release);
}
