//! Which columns, keys and views do the keyspaces have right now?
//!
//! The servers know. A [`Tracker`] asks one shard of each keyspace (all have the same tables): first
//! for one number over everything that it would read, and only where that changed for the rest. It
//! asks at the start, at intervals, and at once after DDL through this gate; DDL that went elsewhere is
//! seen at the next interval. A keyspace whose servers are away keeps what was read last.
//!
//! Absent on purpose: what the planner makes of it ([`crate::vschema`]), and writing.

mod definition;
mod kind;
mod read;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

pub use definition::from_sql;

use crate::config::Backend;
use crate::error::{Result, SqlError};
use crate::executor::ControlLinks;
use crate::metrics::Metrics;
use crate::topology::{Keyspace, Snapshot, Tablet};
use crate::vschema::{KeyspaceSchema, Schema};

/// How long one question about a schema may take.
const DEADLINE: Duration = Duration::from_secs(15);

/// What the servers of all keyspaces last said.
pub struct Tracker {
    links: ControlLinks,
    current: ArcSwap<Schema>,
    seen: Mutex<BTreeMap<Arc<str>, Arc<LastLook>>>,
    metrics: Arc<Metrics>,
}

/// What the last look at a keyspace found. Held while its servers are asked: an older answer never
/// replaces a newer one.
type LastLook = tokio::sync::Mutex<Seen>;

#[derive(Debug, Default)]
struct Seen {
    mark: Option<Mark>,
    problem: Option<String>,
}

/// A server, and the number that it gave for its schema.
type Mark = (Arc<Tablet>, String);

// === impl Tracker ===

impl Tracker {
    /// Knows nothing yet; asks with the gate's own credentials.
    #[must_use]
    pub fn new(backend: &Backend, metrics: Arc<Metrics>) -> Self {
        Self {
            links: ControlLinks::new(backend),
            current: ArcSwap::default(),
            seen: Mutex::default(),
            metrics,
        }
    }

    /// What is known now.
    #[must_use]
    pub fn current(&self) -> Arc<Schema> {
        self.current.load_full()
    }

    /// Asks the servers of all keyspaces, and forgets the keyspaces that are gone.
    ///
    /// Cancel safe: a keyspace's schema is replaced as a whole or not at all.
    pub async fn look(&self, topology: &Snapshot) {
        self.forget(topology);
        let looks = topology.keyspaces.keys().map(|name| self.look_at(topology, name));
        futures_util::future::join_all(looks).await;
    }

    /// Asks the servers of the keyspaces whose shards or servers are others than in the topology of
    /// before, and forgets the keyspaces that are gone. Cancel safe, as [`Self::look`].
    pub async fn look_at_changes(&self, before: &Snapshot, topology: &Snapshot) {
        self.forget(topology);
        let changed =
            topology.keyspaces.iter().filter(|(name, now)| before.keyspaces.get(*name) != Some(*now));
        futures_util::future::join_all(changed.map(|(name, _)| self.look_at(topology, name))).await;
    }

    fn forget(&self, topology: &Snapshot) {
        let is_gone = |name: &Arc<str>| !topology.keyspaces.contains_key(name);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| !is_gone(name));
        if self.current.load().keyspaces.keys().any(is_gone) {
            self.change(|schema| schema.keyspaces.retain(|name, _| !is_gone(name)));
        }
    }

    /// Asks the servers of one keyspace. Cancel safe.
    pub async fn look_at(&self, topology: &Snapshot, keyspace: &str) {
        let Some(keyspace) = topology.keyspaces.get(keyspace) else { return };
        let last = {
            let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(Arc::clone(&keyspace.name)).or_default())
        };
        let mut seen = last.lock().await;
        match self.ask(keyspace, seen.mark.as_ref()).await {
            Ok(found) => {
                if seen.problem.take().is_some() {
                    tracing::info!(keyspace = %keyspace.name, "the schema can be read again");
                }
                if let Some((mark, schema)) = found {
                    seen.mark = Some(mark);
                    self.take_over(keyspace, schema);
                }
            }
            Err(error) => {
                self.metrics.control.schema_failures.inc();
                let problem = error.to_string();
                if seen.problem.as_ref() != Some(&problem) {
                    tracing::warn!(keyspace = %keyspace.name, problem, "the schema cannot be read");
                    seen.problem = Some(problem);
                }
            }
        }
    }

    /// The keyspace's schema and mark, where the mark is another than the last one. Asks its shards in
    /// order until one answers.
    async fn ask(&self, keyspace: &Keyspace, last: Option<&Mark>) -> Result<Option<(Mark, KeyspaceSchema)>> {
        let mut failure = None;
        for tablet in keyspace.shards.iter().filter_map(|shard| shard.primary()) {
            match self.ask_server(keyspace, tablet, last).await {
                Ok(found) => return Ok(found),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| SqlError::no_primary(&keyspace.name, "-")))
    }

    async fn ask_server(
        &self,
        keyspace: &Keyspace,
        tablet: &Arc<Tablet>,
        last: Option<&Mark>,
    ) -> Result<Option<(Mark, KeyspaceSchema)>> {
        // The number is older than what is read behind it: a change in between is seen next time.
        let number = read::number(&self.links, tablet, DEADLINE).await?;
        let mark = (Arc::clone(tablet), number);
        if last == Some(&mark) {
            return Ok(None);
        }
        let schema = read::schema(&self.links, tablet, &keyspace.name, DEADLINE).await?;
        Ok(Some((mark, schema)))
    }

    fn take_over(&self, keyspace: &Keyspace, found: KeyspaceSchema) {
        let known = self.current.load().keyspaces.get(&keyspace.name).cloned();
        if known.is_some_and(|known| *known == found) {
            return;
        }
        tracing::info!(keyspace = %keyspace.name, tables = found.tables.len(), "a new schema is in use");
        self.metrics.control.schema_loads.inc();
        let found = Arc::new(found);
        self.change(|schema| {
            schema.keyspaces.insert(Arc::clone(&keyspace.name), Arc::clone(&found));
        });
    }

    fn change(&self, change: impl Fn(&mut Schema)) {
        self.current.rcu(|schema| {
            let mut schema = Schema::clone(schema);
            change(&mut schema);
            schema
        });
    }
}

impl std::fmt::Debug for Tracker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracker").finish_non_exhaustive()
    }
}
