//! Which records would a topology file be, if it were in etcd?
//!
//! For looking only: so that `ctl` shows and checks a topology file in the same words as one in etcd.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use prost::Message;

use super::files::Files;
use super::image::KINDS;
use super::wire::{topodata, vschema};
use super::{Address, Shard, path};
use crate::config::Topology as Settings;

/// The records by key; the cells' roots are `/<cell>`.
///
/// # Errors
/// Faults of the file.
pub(super) fn read(file: &Path, settings: &Settings) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let (_, candidate) = Files::load(file)?;
    let mut records = BTreeMap::new();
    let mut cells = BTreeSet::from([settings.cell.clone()]);
    let keyspaces = candidate.snapshot.keyspaces.values();
    let tablets = keyspaces.flat_map(|keyspace| &keyspace.shards).flat_map(|shard| &shard.tablets);
    cells.extend(tablets.map(|tablet| tablet.alias.cell.to_string()));
    let root = &settings.root;
    let mut put = |root: &str, path: &str, bytes: Vec<u8>| records.insert(format!("{root}/{path}"), bytes);
    let served = vschema::SrvVSchema::from(&*candidate.source);
    for cell in &cells {
        let info = topodata::CellInfo { server_address: String::new(), root: format!("/{cell}") };
        put(root, &path::cell_info(cell), info.encode_to_vec());
        put(&format!("/{cell}"), path::SRV_VSCHEMA, served.encode_to_vec());
    }
    for entry in &served.keyspaces {
        let vschema = entry.value.clone().unwrap_or_default();
        put(root, &path::vschema(entry.key()), vschema.encode_to_vec());
    }
    put(root, path::ROUTING_RULES, served.routing_rules.clone().unwrap_or_default().encode_to_vec());
    let keyspaces = served.keyspace_routing_rules.clone().unwrap_or_default();
    put(root, path::KEYSPACE_ROUTING_RULES, keyspaces.encode_to_vec());
    let shards = served.shard_routing_rules.clone().unwrap_or_default();
    put(root, path::SHARD_ROUTING_RULES, shards.encode_to_vec());
    for keyspace in candidate.snapshot.keyspaces.values() {
        put(root, &path::keyspace(&keyspace.name), topodata::Keyspace::default().encode_to_vec());
        let references: Vec<_> = keyspace
            .shards
            .iter()
            .map(|shard| topodata::ShardReference {
                name: shard.name.to_string(),
                key_range: topodata::KeyRange::of(&shard.range),
            })
            .collect();
        let partitions = KINDS.map(|(kind, _)| topodata::srv_keyspace::KeyspacePartition {
            served_type: kind.into(),
            shard_references: references.clone(),
            shard_tablet_controls: Vec::new(),
        });
        let serving = topodata::SrvKeyspace { partitions: partitions.to_vec(), ..Default::default() };
        for cell in &cells {
            put(&format!("/{cell}"), &path::srv_keyspace(&keyspace.name), serving.encode_to_vec());
        }
        for shard in &keyspace.shards {
            put(root, &path::shard(&keyspace.name, &shard.name), record(shard).encode_to_vec());
            for (alias, tablet) in tablets_of(shard) {
                let cell = format!("/{}", alias.cell);
                put(&cell, &path::tablet(&alias), tablet.encode_to_vec());
            }
            for cell in &cells {
                let nodes =
                    shard.tablets.iter().filter(|tablet| *tablet.alias.cell == **cell).map(|tablet| {
                        topodata::shard_replication::Node { tablet_alias: Some((&tablet.alias).into()) }
                    });
                let replication = topodata::ShardReplication { nodes: nodes.collect() };
                let path = path::shard_replication(&keyspace.name, &shard.name);
                put(&format!("/{cell}"), &path, replication.encode_to_vec());
            }
        }
    }
    Ok(records)
}

fn record(shard: &Shard) -> topodata::Shard {
    topodata::Shard {
        primary_alias: shard.primary().map(|tablet| (&tablet.alias).into()),
        key_range: topodata::KeyRange::of(&shard.range),
        is_primary_serving: true,
        ..Default::default()
    }
}

fn tablets_of(shard: &Shard) -> impl Iterator<Item = (super::TabletAlias, topodata::Tablet)> {
    shard.tablets.iter().map(|tablet| {
        let (host, port) = match &tablet.address {
            Address::Tcp { host, port } => (host.clone(), i32::from(*port)),
            // Records know no sockets.
            Address::Unix(path) => (path.display().to_string(), 0),
        };
        let kind = KINDS.iter().find(|(_, kind)| *kind == tablet.kind).map(|(kind, _)| *kind);
        let record = topodata::Tablet {
            alias: Some((&tablet.alias).into()),
            keyspace: tablet.keyspace.to_string(),
            shard: tablet.shard.to_string(),
            key_range: topodata::KeyRange::of(&shard.range),
            r#type: kind.unwrap_or_default().into(),
            db_name_override: tablet.schema.to_string(),
            hostname: host.clone(),
            mysql_hostname: host,
            mysql_port: port,
            ..Default::default()
        };
        (tablet.alias.clone(), record)
    })
}
