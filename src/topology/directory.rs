//! What do all the records of a topology say together, and how are the served ones made of the others?
//!
//! People and tools write keyspaces, shards and VSchemas below the global root. Gates read what is
//! served, SrvKeyspace and SrvVSchema below each cell's root: copies that are made of the global records
//! by the two `rebuild` functions here. A copy is only written over the one that was read before the
//! originals were, so that the last of several writers has seen the changes of all.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use prost::Message;

use super::file_records;
use super::lock::{Lock, LockTimes};
use super::store::{Record, Store, StoreError};
use super::wire::{self, topodata, vschema};
use super::{TabletAlias, path};
use crate::config::{Topology as Settings, TopologyKind};
use crate::key::validate_shards;
use crate::metrics::Metrics;
use crate::vschema::Source;

/// All roots of a topology.
#[derive(Debug, Clone)]
pub struct Directory {
    settings: Settings,
    global: Store,
}

/// Something to write, or why not.
pub type Outcome<T> = Result<T, StoreError>;

/// How often a change is tried again after someone else's.
const TRIES: usize = 20;

// === impl Directory ===

impl Directory {
    /// The topology that the configuration names. That of a file can only be read.
    ///
    /// # Errors
    /// Certificates or files that cannot be read, or faults of the topology file.
    pub fn open(settings: &Settings, metrics: Option<Arc<Metrics>>) -> Result<Self, String> {
        let global = match settings.kind {
            TopologyKind::Etcd => Store::new(settings, metrics)?,
            TopologyKind::File => {
                let path = settings.path.as_deref().unwrap_or(Path::new(""));
                let refusal =
                    format!("the topology is the file {}, which is changed by hand", path.display());
                Store::fixed(&settings.root, file_records::read(path, settings)?, &refusal)
            }
        };
        Ok(Self { settings: settings.clone(), global })
    }

    /// The global root.
    #[must_use]
    pub fn global(&self) -> &Store {
        &self.global
    }

    /// The cells.
    ///
    /// # Errors
    /// etcd's, or a record that cannot be read.
    pub async fn cells(&self) -> Outcome<BTreeMap<String, topodata::CellInfo>> {
        let mut cells = BTreeMap::new();
        for name in self.global.names(path::CELLS).await? {
            let info = self.global.read(&path::cell_info(&name)).await?.0;
            cells.insert(name, info);
        }
        Ok(cells)
    }

    /// The root of one cell.
    ///
    /// # Errors
    /// [`StoreError::NoNode`] for a cell that does not exist, or etcd's.
    pub async fn cell(&self, name: &str) -> Outcome<Store> {
        let info = self.global.read::<topodata::CellInfo>(&path::cell_info(name)).await?.0;
        self.global
            .of_cell(&self.settings, name, &info.server_address, &info.root)
            .map_err(StoreError::Refused)
    }

    /// The roots of these cells; of all, where none is named.
    ///
    /// # Errors
    /// See [`Self::cell`].
    pub async fn cells_named(&self, names: &[String]) -> Outcome<Vec<Store>> {
        let names = if names.is_empty() { self.global.names(path::CELLS).await? } else { names.to_vec() };
        let mut stores = Vec::with_capacity(names.len());
        for name in names {
            stores.push(self.cell(&name).await?);
        }
        Ok(stores)
    }

    /// The shards of a keyspace, by name.
    ///
    /// # Errors
    /// [`StoreError::NoNode`] for a keyspace that does not exist, or etcd's.
    pub async fn shards(&self, keyspace: &str) -> Outcome<BTreeMap<String, topodata::Shard>> {
        self.global.get(&path::keyspace(keyspace)).await?;
        let mut shards = BTreeMap::new();
        for name in self.global.names(&path::shards(keyspace)).await? {
            if let Some((shard, _)) = self.global.find_record(&path::shard(keyspace, &name)).await? {
                shards.insert(name, shard);
            }
        }
        Ok(shards)
    }

    /// A tablet, with the root of its cell.
    ///
    /// # Errors
    /// [`StoreError::NoNode`] for a tablet that does not exist, or etcd's.
    pub async fn tablet(&self, alias: &TabletAlias) -> Outcome<(Store, topodata::Tablet)> {
        let cell = self.cell(&alias.cell).await?;
        let tablet = cell.read(&path::tablet(alias)).await?.0;
        Ok((cell, tablet))
    }

    /// All tablets of these cells; of all cells, where none is named.
    ///
    /// # Errors
    /// etcd's, or a record that cannot be read.
    pub async fn tablets(&self, cells: &[String]) -> Outcome<Vec<topodata::Tablet>> {
        let mut tablets = Vec::new();
        for cell in self.cells_named(cells).await? {
            let (records, _) = cell.list(path::TABLETS).await?;
            for record in records.into_iter().filter(|record| record.path.ends_with("/Tablet")) {
                let bad = |why| StoreError::Record { path: record.path.clone(), why };
                tablets.push(wire::decode(&record.bytes).map_err(bad)?);
            }
        }
        Ok(tablets)
    }

    /// Takes the lock of a keyspace.
    ///
    /// # Errors
    /// See [`Lock::take`].
    pub async fn lock_keyspace(&self, keyspace: &str, action: &str) -> Outcome<Lock> {
        Lock::take(&self.global, &path::keyspace_folder(keyspace), action, self.lock_times()).await
    }

    /// Takes the lock of a shard.
    ///
    /// # Errors
    /// See [`Lock::take`].
    pub async fn lock_shard(&self, keyspace: &str, shard: &str, action: &str) -> Outcome<Lock> {
        Lock::take(&self.global, &path::shard_folder(keyspace, shard), action, self.lock_times()).await
    }

    /// Takes the lock of a folder.
    ///
    /// # Errors
    /// See [`Lock::take`].
    pub async fn lock_folder(&self, folder: &str, action: &str) -> Outcome<Lock> {
        Lock::take(&self.global, folder, action, self.lock_times()).await
    }

    fn lock_times(&self) -> LockTimes {
        LockTimes { wait: self.settings.lock_timeout, lease: self.settings.lock_ttl }
    }

    /// What all cells are to serve: the VSchema of each keyspace, and the rules.
    ///
    /// # Errors
    /// etcd's, or a record that cannot be read.
    pub async fn served_vschema(&self) -> Outcome<vschema::SrvVSchema> {
        let mut keyspaces = Vec::new();
        for name in self.global.names(path::KEYSPACES).await? {
            let found = self.global.find_record::<vschema::Keyspace>(&path::vschema(&name)).await?;
            let value = Some(found.map(|(record, _)| record).unwrap_or_default());
            keyspaces.push(vschema::srv_v_schema::KeyspacesEntry { key: Some(name), value });
        }
        let global = &self.global;
        let routing: Option<(vschema::RoutingRules, _)> = global.find_record(path::ROUTING_RULES).await?;
        let shard: Option<(vschema::ShardRoutingRules, _)> =
            global.find_record(path::SHARD_ROUTING_RULES).await?;
        let keyspace: Option<(vschema::KeyspaceRoutingRules, _)> =
            global.find_record(path::KEYSPACE_ROUTING_RULES).await?;
        let mirror: Option<(vschema::MirrorRules, _)> = global.find_record(path::MIRROR_RULES).await?;
        Ok(vschema::SrvVSchema {
            keyspaces,
            routing_rules: Some(routing.map(|(rules, _)| rules).unwrap_or_default()),
            shard_routing_rules: Some(shard.map(|(rules, _)| rules).unwrap_or_default()),
            keyspace_routing_rules: Some(keyspace.map(|(rules, _)| rules).unwrap_or_default()),
            mirror_rules: Some(mirror.map(|(rules, _)| rules).unwrap_or_default()),
        })
    }

    /// The same in our own types.
    ///
    /// # Errors
    /// etcd's, or a record that cannot be read.
    pub async fn source(&self) -> Outcome<Source> {
        wire::source(&self.served_vschema().await?).map_err(StoreError::Refused)
    }

    /// Makes the SrvVSchema of these cells (of all, where none is named).
    ///
    /// # Errors
    /// etcd's, or a record that cannot be read.
    pub async fn rebuild_vschema(&self, cells: &[String]) -> Outcome<()> {
        for cell in self.cells_named(cells).await? {
            let mut tries = 0..TRIES;
            loop {
                let old = cell.find(path::SRV_VSCHEMA).await?;
                let new = self.served_vschema().await?;
                if cell.replace(path::SRV_VSCHEMA, old, new.encode_to_vec()).await? {
                    break;
                }
                tries.next().ok_or_else(|| StoreError::BadVersion(path::SRV_VSCHEMA.into()))?;
            }
        }
        Ok(())
    }

    /// Makes the SrvKeyspace of these cells (of all, where none is named): every shard that serves
    /// primaries serves all types. With `partial`, shards may leave gaps.
    ///
    /// # Errors
    /// Shards that leave a gap or overlap, a cut-over that is going on, or etcd's.
    pub async fn rebuild_keyspace(&self, keyspace: &str, cells: &[String], partial: bool) -> Outcome<()> {
        let path = path::srv_keyspace(keyspace);
        for cell in self.cells_named(cells).await? {
            let mut tries = 0..TRIES;
            loop {
                let old = cell.find(&path).await?;
                let shards = self.shards(keyspace).await?;
                // An old copy that cannot be read is what a rebuild is for.
                let known = old.as_ref().and_then(|old| wire::decode(&old.bytes).ok());
                let new = served_shards(&shards, known, partial)
                    .map_err(|why| StoreError::Refused(format!("keyspace {keyspace}: {why}")))?;
                if cell.replace(&path, old, new.encode_to_vec()).await? {
                    break;
                }
                tries.next().ok_or_else(|| StoreError::BadVersion(path.clone()))?;
            }
        }
        Ok(())
    }
}

/// What a cell serves of a keyspace with these shards.
fn served_shards(
    shards: &BTreeMap<String, topodata::Shard>,
    old: Option<topodata::SrvKeyspace>,
    partial: bool,
) -> Result<topodata::SrvKeyspace, String> {
    let old = old.unwrap_or_default();
    for control in old.partitions.iter().flat_map(|partition| &partition.shard_tablet_controls) {
        if control.query_service_disabled {
            return Err(format!("a migration is going on: queries to shard {} are disabled", control.name));
        }
    }
    let mut serving: Vec<&String> =
        shards.iter().filter(|(_, shard)| shard.is_primary_serving).map(|(name, _)| name).collect();
    if !serving.is_empty() {
        match validate_shards(&serving) {
            Ok(order) => serving = order.into_iter().map(|at| serving[at]).collect(),
            Err(_) if partial => {}
            Err(why) => return Err(why.to_string()),
        }
    }
    let references: Vec<_> = serving
        .into_iter()
        .map(|name| topodata::ShardReference {
            name: name.clone(),
            key_range: shards.get(name).and_then(|shard| shard.key_range.clone()),
        })
        .collect();
    let types = [topodata::TabletType::Primary, topodata::TabletType::Replica, topodata::TabletType::Rdonly];
    let partitions = types.into_iter().filter(|_| !references.is_empty()).map(|kind| {
        topodata::srv_keyspace::KeyspacePartition {
            served_type: kind.into(),
            shard_references: references.clone(),
            shard_tablet_controls: Vec::new(),
        }
    });
    Ok(topodata::SrvKeyspace { partitions: partitions.collect(), ..old })
}

// === impl Store ===

impl Store {
    /// A record and its version.
    ///
    /// # Errors
    /// [`StoreError::NoNode`], a record that cannot be read, or etcd's.
    pub async fn read<M: Message + Default>(&self, path: &str) -> Outcome<(M, i64)> {
        let record = self.get(path).await?;
        let message =
            wire::decode(&record.bytes).map_err(|why| StoreError::Record { path: path.into(), why })?;
        Ok((message, record.version))
    }

    /// A record and its version, or none.
    ///
    /// # Errors
    /// A record that cannot be read, or etcd's.
    pub async fn find_record<M: Message + Default>(&self, path: &str) -> Outcome<Option<(M, i64)>> {
        match self.read(path).await {
            Ok(found) => Ok(Some(found)),
            Err(StoreError::NoNode(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a record that is not there yet.
    ///
    /// # Errors
    /// [`StoreError::NodeExists`], or etcd's.
    pub async fn create_record(&self, path: &str, record: &impl Message) -> Outcome<()> {
        self.create(path, record.encode_to_vec()).await.map(drop)
    }

    /// Changes a record. `change` is called again when someone else has changed it meanwhile.
    ///
    /// # Errors
    /// [`StoreError::NoNode`], what `change` says, a record with unknown fields, or etcd's.
    pub async fn change<M: Message + Default>(
        &self,
        path: &str,
        mut change: impl FnMut(&mut M) -> Result<(), String>,
    ) -> Outcome<M> {
        let mut last = StoreError::BadVersion(path.into());
        for _ in 0..TRIES {
            let record = self.get(path).await?;
            let bad = |why| StoreError::Record { path: path.into(), why };
            let mut message: M = wire::decode_to_change(&record.bytes).map_err(bad)?;
            change(&mut message).map_err(StoreError::Refused)?;
            let bytes = message.encode_to_vec();
            if bytes == record.bytes {
                return Ok(message);
            }
            match self.update(path, bytes, record.version).await {
                Ok(_) => return Ok(message),
                Err(error @ StoreError::BadVersion(_)) => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Writes a record over the one that was read (or that was not there); false when someone else has
    /// written it meanwhile.
    pub(super) async fn replace(&self, path: &str, old: Option<Record>, bytes: Vec<u8>) -> Outcome<bool> {
        let written = match old {
            Some(old) if old.bytes == bytes => return Ok(true),
            Some(old) => self.update(path, bytes, old.version).await,
            None => self.create(path, bytes).await,
        };
        match written {
            Ok(_) => Ok(true),
            Err(StoreError::BadVersion(_) | StoreError::NodeExists(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
