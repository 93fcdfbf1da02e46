//! Which shard does an identifier mean, and which servers are to be asked?

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::xid::ShardId;
use crate::topology::{Address, Shard, Snapshot, Tablet, TabletAlias};

/// The topology by shard id.
#[derive(Debug, Default)]
pub(super) struct Directory {
    by_id: HashMap<ShardId, Arc<Shard>>,
    /// Ids that two shards have: none of both may take part.
    doubled: HashMap<ShardId, [String; 2]>,
}

// === impl Directory ===

impl Directory {
    pub(super) fn new(topology: &Snapshot) -> Self {
        let mut directory = Self::default();
        for shard in topology.keyspaces.values().flat_map(|keyspace| &keyspace.shards) {
            let id = ShardId::of(shard);
            if let Some(other) = directory.by_id.insert(id, Arc::clone(shard)) {
                directory.doubled.insert(id, [other.full_name(), shard.full_name()]);
            }
        }
        directory.by_id.retain(|id, _| !directory.doubled.contains_key(id));
        directory
    }

    /// The shard of an id.
    pub(super) fn shard(&self, id: ShardId) -> Option<&Arc<Shard>> {
        self.by_id.get(&id)
    }

    /// The two shards that share this id, if any do.
    pub(super) fn doubled(&self, id: ShardId) -> Option<&[String; 2]> {
        self.doubled.get(&id)
    }

    /// The name of a shard, or its id where there is no such shard any more.
    pub(super) fn name(&self, id: ShardId) -> String {
        // Vitess writes `keyspace:shard` here.
        self.shard(id).map_or_else(|| id.to_string(), |shard| format!("{}:{}", shard.keyspace, shard.name))
    }

    /// Every shard.
    pub(super) fn shards(&self) -> impl Iterator<Item = (ShardId, &Arc<Shard>)> {
        self.by_id.iter().map(|(id, shard)| (*id, shard))
    }

    /// One primary per server: shards that share one are listed there together.
    pub(super) fn servers(&self) -> Vec<Arc<Tablet>> {
        let mut servers: BTreeMap<String, Arc<Tablet>> = BTreeMap::new();
        for tablet in self.by_id.values().filter_map(|shard| shard.primary()) {
            servers.entry(place(&tablet.address)).or_insert_with(|| Arc::clone(tablet));
        }
        servers.into_values().collect()
    }

    pub(super) fn has_primary(&self, alias: &TabletAlias) -> bool {
        self.by_id.values().filter_map(|shard| shard.primary()).any(|tablet| tablet.alias == *alias)
    }
}

fn place(address: &Address) -> String {
    match address {
        Address::Tcp { host, port } => format!("{host}:{port}"),
        Address::Unix(path) => path.display().to_string(),
    }
}
