//! On which server does a query run over copies of its tables, and how many at a time?

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, timeout};

use crate::config;
use crate::error::{Result, SqlError, SqlState};
use crate::planner::{Gather, scratch_database};
use crate::sql::{Bindings, directive_in};
use crate::topology::{Shard, Snapshot};
use crate::transaction::Place;

/// What an operator has set, and the room that is left. Shared by all sessions.
pub struct Scratch {
    settings: config::Scratch,
    room: Arc<Semaphore>,
    patience: Duration,
}

/// Names on the server that gathers, and what the client reads instead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScratchNames {
    databases: BTreeMap<String, Arc<str>>,
    tables: BTreeMap<Arc<str>, Arc<str>>,
}

/// Counts what one query copies.
#[derive(Debug)]
pub(super) struct Budget {
    rows: u64,
    bytes: u64,
    most_rows: u64,
    most_bytes: config::ByteSize,
}

// === impl Scratch ===

impl Scratch {
    /// What the configuration says. Of a server's connections at most half wait for copies, so that
    /// the fetches of those queries always find one.
    #[must_use]
    pub fn new(settings: &config::Scratch, backend: &config::Backend) -> Self {
        let half = Ord::max(backend.pool_size / 2, 1);
        let room = usize::try_from(Ord::min(settings.max_queries, half)).unwrap_or(1);
        Self {
            settings: settings.clone(),
            room: Arc::new(Semaphore::new(room)),
            patience: backend.queue_timeout,
        }
    }

    /// Whether this execution may gather.
    ///
    /// # Errors
    /// What the client would read if there were no copies: VT12001, or 1064.
    pub fn check(&self, gather: &Gather, bindings: &Bindings<'_>) -> Result<()> {
        // Comments around a statement are no part of its plan.
        let around =
            [bindings.text.get(..bindings.body.0 as usize), bindings.text.get(bindings.body.1 as usize..)];
        let value = around.into_iter().flatten().find_map(|comments| directive_in(comments, "GATHER"));
        if self.settings.enabled && value.is_none_or(|value| value != "off") {
            return Ok(());
        }
        Err(refusal(gather))
    }

    /// The right to gather; waits for it.
    ///
    /// # Errors
    /// 1203 where none is free in time.
    pub(super) async fn admit(&self) -> Result<OwnedSemaphorePermit> {
        match timeout(self.patience, Arc::clone(&self.room).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(SqlError::scratch_busy()),
        }
    }

    /// The server that gathers.
    ///
    /// # Errors
    /// A keyspace or shard that is not there, or has no primary.
    pub(super) fn place(&self, topology: &Snapshot, gather: &Gather) -> Result<Place> {
        let own = gather.tables.first().map(|table| &*table.keyspace);
        let unsharded = || {
            let mut all = topology.keyspaces.values();
            all.find(|keyspace| keyspace.shards.len() == 1)
        };
        let keyspace = match self.settings.keyspace.as_deref() {
            Some(name) => topology.keyspaces.get(name).ok_or_else(|| SqlError::unknown_database(name))?,
            None => unsharded()
                .or_else(|| own.and_then(|name| topology.keyspaces.get(name)))
                .ok_or_else(SqlError::no_database)?,
        };
        let wanted = self.settings.shard.as_deref();
        let is_wanted = |shard: &&Arc<Shard>| wanted.is_none_or(|name| *shard.name == *name);
        let shard = keyspace.shards.iter().find(is_wanted);
        let shard =
            shard.ok_or_else(|| SqlError::unknown_shard(&keyspace.name, wanted.unwrap_or_default()))?;
        let tablet = shard.primary().ok_or_else(|| SqlError::no_primary(&shard.keyspace, &shard.name))?;
        Ok(Place { shard: Arc::clone(shard), tablet: Arc::clone(tablet) })
    }

    pub(super) fn budget(&self) -> Budget {
        Budget {
            rows: 0,
            bytes: 0,
            most_rows: u64::from(self.settings.max_rows),
            most_bytes: self.settings.max_bytes,
        }
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").field("free", &self.room.available_permits()).finish_non_exhaustive()
    }
}

/// The error that a query gets without copies.
pub(super) fn refusal(gather: &Gather) -> SqlError {
    match &gather.syntax {
        Some(text) => SqlError::from_server(1064, SqlState(*b"42000"), text.to_string()),
        None => SqlError::unsupported(&gather.refusal),
    }
}

// === impl ScratchNames ===

impl ScratchNames {
    pub(super) fn of(gather: &Gather) -> Self {
        let mut names = Self::default();
        for table in &gather.tables {
            names.databases.insert(scratch_database(&table.shown_as), table.shown_as.clone());
            names.tables.insert(table.name.clone(), table.table.clone());
        }
        names.tables.extend(gather.aliases.iter().cloned());
        names
    }

    /// The databases that must be there.
    pub(super) fn databases(&self) -> impl Iterator<Item = &str> {
        self.databases.keys().map(String::as_str)
    }

    /// What the client reads for a database.
    #[must_use]
    pub fn database<'a>(&'a self, name: &'a [u8]) -> &'a [u8] {
        let known = std::str::from_utf8(name).ok().and_then(|name| self.databases.get(name));
        known.map_or(name, |known| known.as_bytes())
    }

    /// What the client reads for a table.
    #[must_use]
    pub fn table<'a>(&'a self, name: &'a [u8]) -> &'a [u8] {
        let known = std::str::from_utf8(name).ok().and_then(|name| self.tables.get(name));
        known.map_or(name, |known| known.as_bytes())
    }

    /// Every pair of names.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let databases = self.databases.iter().map(|(name, known)| (name.as_str(), &**known));
        databases.chain(self.tables.iter().map(|(name, known)| (&**name, &**known)))
    }
}

// === impl Budget ===

impl Budget {
    /// Counts one row.
    ///
    /// # Errors
    /// 1104 past the limit.
    pub(super) fn take(&mut self, row: &[u8]) -> Result<()> {
        self.rows += 1;
        self.bytes += row.len() as u64;
        if self.rows > self.most_rows {
            return Err(SqlError::scratch_limit(&format!("{} rows (scratch.max_rows)", self.most_rows)));
        }
        if self.bytes > self.most_bytes.0 {
            return Err(SqlError::scratch_limit(&format!("{} bytes (scratch.max_bytes)", self.most_bytes.0)));
        }
        Ok(())
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}
