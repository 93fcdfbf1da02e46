//! Which ids does a sequence give to a statement?
//!
//! A sequence is Vitess's: a table in an unsharded keyspace with one row `(id = 0, next_id, cache)`.
//! The gate takes whole blocks with one autocommitted
//! `UPDATE … SET next_id = LAST_INSERT_ID(next_id + n) WHERE id = 0` on a connection of its own, and
//! hands ids out of memory. Rules that keep ids unique:
//!
//! - a block counts only once its OK packet is here; after an unknown outcome it is asked for anew,
//!   and the lost block is a gap, never a duplicate;
//! - blocks are used in order, the ids of one statement are contiguous;
//! - a change of the sequence's server drops what is cached;
//! - a row that was set back, or lost blocks in a failover, goes on above what this gate was granted;
//! - `cache = 1` caches nothing: every statement asks for exactly its ids.
//!
//! Half-way through a block the next one is fetched in the background, one fetch at a time, sized by
//! the recent demand between `cache` and 64 × `cache`.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use super::control::{ControlLinks, DEADLINE};
use crate::config::Backend;
use crate::error::{Result, SqlError};
use crate::metrics::Metrics;
use crate::planner::SequenceRef;
use crate::sql::literal::identifier;
use crate::topology::{Snapshot, Tablet};

/// Demand over this time should fit into one block.
const BLOCK_SPAN: Duration = Duration::from_secs(10);

/// A block is at most this many times `cache`.
const GROWTH: i64 = 64;

/// How long `cache` is believed before it is read again.
const CACHE_REFRESH: Duration = Duration::from_secs(60);

/// The sequences of one gate, shared by all sessions.
pub struct Sequences {
    links: Arc<ControlLinks>,
    entries: RwLock<HashMap<SequenceRef, Arc<Sequence>>>,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
}

/// One sequence.
#[derive(Debug)]
struct Sequence {
    table: SequenceRef,
    stock: Mutex<Stock>,
    /// Held while a block is fetched: one fetch at a time.
    fetching: tokio::sync::Mutex<()>,
}

/// The ids in memory.
#[derive(Debug, Default)]
struct Stock {
    /// The server that granted the blocks.
    server: Option<Arc<Tablet>>,
    current: Range<i64>,
    next: Option<Range<i64>>,
    /// The end of the highest block that was ever granted, by any server.
    granted: i64,
    /// How many ids the last fetched block had.
    block: i64,
    /// The table's `cache` and when it was read.
    cache: Option<(i64, Instant)>,
    /// Ids handed out since `since`, to size the next block.
    demand: i64,
    since: Option<Instant>,
}

/// What the stock says to a request.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// The first of the ids; `low` asks for the next block in the background.
    Taken { first: i64, low: bool },
    /// A block must be fetched first.
    Empty,
}

// === impl Sequences ===

impl Sequences {
    /// Sequences on the servers of the topology, with the gate's own credentials. Prefetches run on
    /// `tasks`.
    #[must_use]
    pub fn new(backend: &Backend, metrics: Arc<Metrics>, tasks: TaskTracker) -> Self {
        Self { links: Arc::new(ControlLinks::new(backend)), entries: RwLock::default(), metrics, tasks }
    }

    /// The first of `count` contiguous ids.
    ///
    /// Cancel safe: ids taken by a future that is dropped are a gap.
    ///
    /// # Errors
    /// 1210 for a count below 1; a sequence that is not in an unsharded keyspace with a primary; a
    /// table without its row or with a `cache` below 1; the server's own error; 1205 where no block
    /// came within the deadline.
    pub async fn take(&self, topology: &Snapshot, sequence: &SequenceRef, count: i64) -> Result<u64> {
        if count < 1 {
            return Err(SqlError::invalid_increment());
        }
        let server = server_of(topology, sequence)?;
        let entry = self.entry(sequence);
        let first = match entry.take(server, count) {
            Answer::Taken { first, low } => {
                if low {
                    self.prefetch(&entry, server);
                }
                first
            }
            Answer::Empty => timeout(DEADLINE, self.fetch_and_take(&entry, server, count))
                .await
                .map_err(|_| SqlError::sequence_unavailable(&sequence.table))??,
        };
        self.metrics.sequence.values.inc_by(count.unsigned_abs());
        u64::try_from(first).map_err(|_| unusable(sequence, "next_id is negative"))
    }

    /// Forgets all ids in memory, for a change of the VSchema or after a sequence table was edited.
    pub fn reset(&self) {
        self.entries.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn entry(&self, sequence: &SequenceRef) -> Arc<Sequence> {
        if let Some(entry) = self.entries.read().unwrap_or_else(PoisonError::into_inner).get(sequence) {
            return Arc::clone(entry);
        }
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(entries.entry(sequence.clone()).or_insert_with(|| Arc::new(Sequence::new(sequence))))
    }

    async fn fetch_and_take(&self, entry: &Sequence, server: &Arc<Tablet>, count: i64) -> Result<i64> {
        let _one_at_a_time = entry.fetching.lock().await;
        // Whoever held the lock before may have brought enough.
        if let Answer::Taken { first, .. } = entry.take(server, count) {
            return Ok(first);
        }
        let (block, strict) = entry.fetch(&self.links, &self.metrics, server, count).await?;
        let first = block.start;
        if strict {
            return Ok(first);
        }
        // Taken before anyone else sees the block, so a large request cannot starve.
        entry.lock().store(server, first + count..block.end, block.end - block.start, count);
        Ok(first)
    }

    fn prefetch(&self, entry: &Arc<Sequence>, server: &Arc<Tablet>) {
        let (entry, server) = (Arc::clone(entry), Arc::clone(server));
        let (links, metrics) = (Arc::clone(&self.links), Arc::clone(&self.metrics));
        self.tasks.spawn(async move {
            let Ok(_one_at_a_time) = entry.fetching.try_lock() else { return };
            if !entry.lock().wants_next(&server) {
                return;
            }
            match timeout(DEADLINE, entry.fetch(&links, &metrics, &server, 1)).await {
                Ok(Ok((block, false))) => entry.lock().store_next(&server, block),
                Ok(Ok((_, true))) | Err(_) => {}
                // The foreground will ask itself, and report.
                Ok(Err(error)) => tracing::warn!(sequence = %entry.table.table, %error, "prefetch failed"),
            }
        });
    }
}

impl fmt::Debug for Sequences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sequences").field("entries", &self.entries).finish_non_exhaustive()
    }
}

/// The primary of the sequence's only shard.
fn server_of<'t>(topology: &'t Snapshot, sequence: &SequenceRef) -> Result<&'t Arc<Tablet>> {
    let keyspace = topology
        .keyspaces
        .get(&sequence.keyspace)
        .ok_or_else(|| SqlError::unknown_database(&sequence.keyspace))?;
    match keyspace.shards.as_slice() {
        [shard] => shard.primary().ok_or_else(|| SqlError::no_primary(&shard.keyspace, &shard.name)),
        _ => Err(unusable(sequence, "its keyspace has more than one shard")),
    }
}

fn unusable(sequence: &SequenceRef, why: &str) -> SqlError {
    SqlError::vschema_error(&sequence.keyspace, &format!("sequence {}: {why}", sequence.table))
}

fn quoted(server: &Tablet, table: &str) -> String {
    format!("{}.{}", identifier(&server.schema), identifier(table))
}

// === impl Sequence ===

impl Sequence {
    fn new(table: &SequenceRef) -> Self {
        Self { table: table.clone(), stock: Mutex::default(), fetching: tokio::sync::Mutex::new(()) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, server: &Arc<Tablet>, count: i64) -> Answer {
        self.lock().take(server, count)
    }

    /// Takes a block of at least `count` ids from the table; true where the table wants none cached.
    async fn fetch(
        &self,
        links: &ControlLinks,
        metrics: &Metrics,
        server: &Arc<Tablet>,
        count: i64,
    ) -> Result<(Range<i64>, bool)> {
        let started = Instant::now();
        let block = self.fetch_block(links, server, count).await;
        metrics.sequence.block_seconds.observe(started.elapsed().as_secs_f64());
        match &block {
            Ok(_) => metrics.sequence.blocks.inc(),
            Err(_) => metrics.sequence.block_failures.inc(),
        }
        block.map_err(|error| match error.code() {
            1205 => SqlError::sequence_unavailable(&self.table.table).caused_by(error),
            _ => error,
        })
    }

    async fn fetch_block(
        &self,
        links: &ControlLinks,
        server: &Arc<Tablet>,
        count: i64,
    ) -> Result<(Range<i64>, bool)> {
        let table = quoted(server, &self.table.table);
        let cache = self.cache_size(links, server, &table).await?;
        let strict = cache == 1;
        let (size, granted) = {
            let mut stock = self.lock();
            (if strict { count } else { stock.block_size(cache, count) }, stock.granted)
        };
        // A row that was set back, by hand or by a failover that lost the last blocks, gives nothing twice.
        let from = if strict { "next_id".to_owned() } else { format!("GREATEST(next_id, {granted})") };
        let statement = format!("UPDATE {table} SET next_id = LAST_INSERT_ID({from} + {size}) WHERE id = 0");
        let updated = links.update(&server.address, &statement).await?;
        if updated.affected != 1 {
            return Err(SqlError::sequence_row_missing(&self.table.table));
        }
        let end =
            i64::try_from(updated.insert_id).map_err(|_| unusable(&self.table, "next_id is negative"))?;
        let start = end.checked_sub(size).filter(|&start| start >= 0);
        let start = start.ok_or_else(|| unusable(&self.table, "next_id is negative"))?;
        Ok((start..end, strict))
    }

    /// The table's `cache`, read again from time to time.
    async fn cache_size(&self, links: &ControlLinks, server: &Tablet, table: &str) -> Result<i64> {
        let known = self.lock().cache.filter(|(_, read)| read.elapsed() < CACHE_REFRESH);
        if let Some((cache, _)) = known {
            return Ok(cache);
        }
        let cache = links.number(&server.address, &format!("SELECT cache FROM {table} WHERE id = 0")).await?;
        let cache = cache.ok_or_else(|| SqlError::sequence_row_missing(&self.table.table))?;
        if cache < 1 {
            return Err(unusable(&self.table, &format!("invalid cache value {cache}")));
        }
        self.lock().cache = Some((cache, Instant::now()));
        Ok(cache)
    }
}

// === impl Stock ===

impl Stock {
    fn take(&mut self, server: &Arc<Tablet>, count: i64) -> Answer {
        if self.server.as_ref().is_none_or(|known| known != server) {
            *self = Self { granted: self.granted, ..Self::default() };
            return Answer::Empty;
        }
        if self.current.end - self.current.start < count {
            // A statement's ids are contiguous; what is left of the old block is a gap.
            match self.next.take() {
                Some(next) if next.start == self.current.end => self.current.end = next.end,
                Some(next) => self.current = next,
                None => return Answer::Empty,
            }
            if self.current.end - self.current.start < count {
                return Answer::Empty;
            }
        }
        let first = self.current.start;
        self.current.start += count;
        self.demand = self.demand.saturating_add(count);
        Answer::Taken { first, low: self.wants_next(server) }
    }

    fn wants_next(&self, server: &Arc<Tablet>) -> bool {
        self.server.as_ref().is_some_and(|known| known == server)
            && self.next.is_none()
            && (self.current.end - self.current.start) < self.block / 2
    }

    fn store(&mut self, server: &Arc<Tablet>, left: Range<i64>, block: i64, taken: i64) {
        self.server = Some(Arc::clone(server));
        self.granted = Ord::max(self.granted, left.end);
        self.current = left;
        self.next = None;
        self.block = block;
        self.demand = self.demand.saturating_add(taken);
    }

    fn store_next(&mut self, server: &Arc<Tablet>, block: Range<i64>) {
        if self.server.as_ref().is_some_and(|known| known == server) && self.next.is_none() {
            self.block = block.end - block.start;
            self.granted = Ord::max(self.granted, block.end);
            self.next = Some(block);
        }
    }

    /// How many ids to ask for, and the start of a new measurement of demand.
    fn block_size(&mut self, cache: i64, count: i64) -> i64 {
        let now = Instant::now();
        let wanted = match self.since {
            Some(since) => {
                let millis = i64::try_from(now.duration_since(since).as_millis()).unwrap_or(i64::MAX);
                let span = i64::try_from(BLOCK_SPAN.as_millis()).unwrap_or(i64::MAX);
                self.demand.saturating_mul(span) / if millis < 1 { 1 } else { millis }
            }
            None => cache,
        };
        self.since = Some(now);
        self.demand = 0;
        let size = wanted.clamp(cache, cache.saturating_mul(GROWTH));
        if size < count { count } else { size }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topology::{Address, TabletAlias, TabletType};

    fn server(uid: u32) -> Arc<Tablet> {
        Arc::new(Tablet {
            alias: TabletAlias { cell: "zone1".into(), uid },
            keyspace: "global".into(),
            shard: "0".into(),
            kind: TabletType::Primary,
            address: Address::Tcp { host: "127.0.0.1".into(), port: 1 },
            schema: "global".into(),
        })
    }

    #[test]
    fn a_new_server_drops_what_is_cached() {
        let mut stock = Stock::default();
        stock.store(&server(1), 10..20, 10, 0);
        assert!(matches!(stock.take(&server(1), 1), Answer::Taken { first: 10, .. }));
        assert_eq!(stock.take(&server(2), 1), Answer::Empty);
        assert_eq!(stock.take(&server(1), 1), Answer::Empty);
    }

    #[test]
    fn neighbouring_blocks_join_and_others_leave_a_gap() {
        let primary = server(1);
        let mut stock = Stock::default();
        stock.store(&primary, 18..20, 10, 0);
        stock.store_next(&primary, 20..30);
        assert!(matches!(stock.take(&primary, 5), Answer::Taken { first: 18, .. }));
        stock.store_next(&primary, 100..110);
        assert!(matches!(stock.take(&primary, 8), Answer::Taken { first: 100, .. }));
        assert_eq!(stock.take(&primary, 8), Answer::Empty);
    }

    #[test]
    fn half_a_block_asks_for_the_next() {
        let primary = server(1);
        let mut stock = Stock::default();
        stock.store(&primary, 0..10, 10, 0);
        assert_eq!(stock.take(&primary, 5), Answer::Taken { first: 0, low: false });
        assert_eq!(stock.take(&primary, 1), Answer::Taken { first: 5, low: true });
        stock.store_next(&primary, 10..20);
        assert_eq!(stock.take(&primary, 1), Answer::Taken { first: 6, low: false });
    }

    proptest! {
        #[test]
        fn ids_are_unique_contiguous_and_rising(requests in prop::collection::vec((1_i64..30, any::<bool>()), 1..200)) {
            let primary = server(1);
            let mut stock = Stock::default();
            let (mut table, mut last) = (1_i64, 0_i64);
            for (count, prefetch) in requests {
                let first = match stock.take(&primary, count) {
                    Answer::Taken { first, .. } => first,
                    Answer::Empty => {
                        let size = stock.block_size(10, count);
                        prop_assert!(size >= count && (10..=640).contains(&size));
                        let block = table..table + size;
                        table += size + i64::from(prefetch);
                        stock.store(&primary, block.start + count..block.end, size, count);
                        block.start
                    }
                };
                prop_assert!(first > last);
                last = first + count - 1;
                if prefetch && stock.wants_next(&primary) {
                    stock.store_next(&primary, table..table + 10);
                    table += 10;
                }
            }
        }
    }
}
