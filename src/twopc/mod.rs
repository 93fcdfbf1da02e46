//! Which distributed transactions are there, what was decided on each, and who finishes what its gate
//! left behind?
//!
//! The protocol: the first shard of a transaction, the *anchor*, runs a plain transaction; every other
//! shard runs an XA *branch*. COMMIT prepares the branches that wrote, then commits the anchor with a
//! row that says COMMIT, then commits the branches. That row is the decision, and nothing else is.
//! Without a row the transaction is aborted: recovery writes a row that says ABORT first, so that no
//! gate can commit any more, and rolls the branches back (presumed abort with a tombstone).
//!
//! The committing gate's part is in [`crate::transaction`]; here is what all gates share: names
//! ([`Dtid`], [`Xid`]), the decision table, what a server must fulfil ([`TwoPc::ready`]), recovery
//! ([`Resolver`]) and what people may ask ([`TwoPc::status`]). Every step of recovery is idempotent, so
//! any number of gates may work on the same transaction.
//!
//! Deliberately absent: a log of the gate's own, and any use of the clock for a decision.

mod directory;
mod link;
mod ready;
mod resolve;
mod resolver;
mod sidecar;
mod status;
mod xid;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use link::{LinkError, Rows};
pub use resolver::{Report, Resolver};
pub use sidecar::{Participant, Verdict, database as sidecar_database};
pub use status::TransactionStatus;
pub use xid::{Dtid, ShardId, Xid, base36};

use crate::backend::Pools;
use crate::metrics::Metrics;
use crate::topology::{Shard, Snapshot, Tablet, TabletAlias};
use directory::Directory;
use link::Links;
use ready::Readiness;

/// What an operator has set.
#[derive(Debug, Clone, Copy)]
pub struct TwoPcConfig {
    /// Whether every shard is checked at the start, because sessions begin in this mode.
    pub eager: bool,
    /// How long a branch stays prepared before recovery takes it for abandoned.
    pub abandon_age: Duration,
    /// How long COMMIT waits to learn the decision.
    pub decide_timeout: Duration,
    /// How long COMMIT waits for the branches once it is decided.
    pub commit_wait: Duration,
    /// How long decisions are kept.
    pub retention: Duration,
    /// How often recovery looks.
    pub scan_interval: Duration,
}

/// What the distributed transactions of one gate share.
#[derive(Debug)]
pub struct TwoPc {
    config: TwoPcConfig,
    pools: Arc<Pools>,
    links: Links,
    metrics: Arc<Metrics>,
    /// Tells this process from all others, base 36.
    incarnation: String,
    next: AtomicU64,
    directory: ArcSwap<Directory>,
    /// Transactions that sessions of this gate are working on: recovery leaves them alone. Not needed
    /// for being right, only for not disturbing.
    live: Mutex<HashSet<Dtid>>,
    /// Transactions that sessions of this gate gave up: recovery does not wait for their age.
    abandoned: Mutex<HashMap<Dtid, Instant>>,
    wake: Notify,
    readiness: Readiness,
}

/// A distributed transaction of a session. Dropping it hands what is left over to recovery.
#[derive(Debug)]
pub struct Live {
    twopc: Arc<TwoPc>,
    dtid: Dtid,
    settled: bool,
}

// === impl TwoPc ===

impl TwoPc {
    /// No transactions yet. The incarnation is random: 64 bits are as good as a number that is handed
    /// out, where nobody hands one out.
    #[must_use]
    pub fn new(
        config: TwoPcConfig,
        pools: Arc<Pools>,
        metrics: Arc<Metrics>,
        topology: &Snapshot,
    ) -> Arc<Self> {
        let incarnation = xid::base36(rand::random());
        Arc::new(Self {
            config,
            links: Links::new(Arc::clone(&pools)),
            pools,
            metrics,
            incarnation,
            next: AtomicU64::new(1),
            directory: ArcSwap::from_pointee(Directory::new(topology)),
            live: Mutex::default(),
            abandoned: Mutex::default(),
            wake: Notify::new(),
            readiness: Readiness::default(),
        })
    }

    /// What an operator has set.
    #[must_use]
    pub fn config(&self) -> &TwoPcConfig {
        &self.config
    }

    /// The pools of the gate.
    #[must_use]
    pub fn pools(&self) -> &Pools {
        &self.pools
    }

    /// The gate's numbers.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// This process's name in identifiers.
    #[must_use]
    pub fn incarnation(&self) -> &str {
        &self.incarnation
    }

    /// Takes a new topology over.
    pub fn set_topology(&self, topology: &Snapshot) {
        let directory = Directory::new(topology);
        self.links.retain(|alias| directory.has_primary(alias));
        self.directory.store(Arc::new(directory));
    }

    /// Whether the topology has shards of this keyspace.
    #[must_use]
    pub fn has_keyspace(&self, name: &str) -> bool {
        self.directory.load().shards().any(|(_, shard)| &*shard.keyspace == name)
    }

    /// Runs one statement of the gate's own on a server that takes writes, beside the clients' pools.
    ///
    /// # Errors
    /// The server's, or why it gave no answer.
    pub async fn ask(&self, tablet: &Arc<Tablet>, statement: &str) -> Result<Rows, LinkError> {
        self.links.ask(tablet, statement).await
    }

    /// The primaries of all shards, with their shards' ids.
    #[must_use]
    pub fn primaries(&self) -> HashMap<TabletAlias, (ShardId, Arc<Tablet>)> {
        let directory = self.directory.load();
        let primaries = directory.shards().filter_map(|(id, shard)| Some((id, shard.primary()?)));
        primaries.map(|(id, tablet)| (tablet.alias.clone(), (id, Arc::clone(tablet)))).collect()
    }

    /// A transaction reaches its second shard.
    #[must_use]
    pub fn begin(self: &Arc<Self>, anchor: &Shard) -> Live {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let dtid = Dtid::new(ShardId::of(anchor), &self.incarnation, number, now_ms());
        locked(&self.live).insert(dtid.clone());
        Live { twopc: Arc::clone(self), dtid, settled: false }
    }

    fn is_live(&self, dtid: &Dtid) -> bool {
        locked(&self.live).contains(dtid)
    }
}

// === impl Live ===

impl Live {
    /// The transaction's id.
    #[must_use]
    pub fn dtid(&self) -> &Dtid {
        &self.dtid
    }

    /// What all transactions share.
    #[must_use]
    pub fn twopc(&self) -> &Arc<TwoPc> {
        &self.twopc
    }

    /// The branch on a shard, as XA statements take it.
    #[must_use]
    pub fn branch(&self, shard: &Shard) -> String {
        Xid { dtid: self.dtid.clone(), shard: ShardId::of(shard) }.literal()
    }

    /// The statement that decides for COMMIT, for the anchor's own transaction.
    #[must_use]
    pub fn commit_row(&self, participants: &[Participant]) -> String {
        sidecar::insert(&self.dtid, Verdict::Commit, participants, &self.twopc.incarnation, now_ms())
    }

    /// Nothing is left behind on any shard.
    pub fn settle(&mut self) {
        self.settled = true;
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        locked(&self.twopc.live).remove(&self.dtid);
        if !self.settled {
            locked(&self.twopc.abandoned).insert(self.dtid.clone(), Instant::now());
            self.twopc.wake.notify_one();
        }
    }
}

fn locked<T>(set: &Mutex<T>) -> MutexGuard<'_, T> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Unix milliseconds.
#[must_use]
pub fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
