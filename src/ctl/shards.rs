//! Shards.

use serde_json::{Map, Value, json};

use super::json::ToJson;
use super::{Answer, Failure, keyspace_shard, nothing};
use crate::key::KeyRange;
use crate::topology::directory::Directory;
use crate::topology::store::StoreError;
use crate::topology::wire::topodata;
use crate::topology::{TabletAlias, path};

/// One shard.
#[derive(Debug, clap::Args)]
pub struct Shard {
    /// keyspace/shard
    #[arg(value_name = "KEYSPACE/SHARD")]
    pub(super) shard: String,
}

/// A new shard.
#[derive(Debug, clap::Args)]
pub struct CreateShard {
    /// keyspace/shard
    #[arg(value_name = "KEYSPACE/SHARD")]
    shard: String,
    /// Do nothing where the shard exists.
    #[arg(long, short = 'f')]
    force: bool,
    /// Add the keyspace where it does not exist.
    #[arg(long, short = 'p')]
    include_parent: bool,
}

/// Which shards go.
#[derive(Debug, clap::Args)]
pub struct DeleteShards {
    /// keyspace/shard
    #[arg(value_name = "KEYSPACE/SHARD", required = true)]
    shards: Vec<String>,
    /// With their tablets.
    #[arg(long, short = 'r')]
    recursive: bool,
    /// Also where a cell serves the shard.
    #[arg(long)]
    even_if_serving: bool,
}

/// Whose tablets.
#[derive(Debug, clap::Args)]
pub struct GetShardReplication {
    /// keyspace/shard
    #[arg(value_name = "KEYSPACE/SHARD")]
    shard: String,
    /// The cells; all unless told.
    cells: Vec<String>,
}

/// Whether a shard serves.
#[derive(Debug, clap::Args)]
pub struct SetShardIsPrimaryServing {
    /// keyspace/shard
    #[arg(value_name = "KEYSPACE/SHARD")]
    shard: String,
    /// true or false
    #[arg(action = clap::ArgAction::Set)]
    serving: bool,
}

fn shown(keyspace: &str, name: &str, shard: &topodata::Shard) -> Value {
    json!({ "keyspace": keyspace, "name": name, "shard": shard.to_json() })
}

pub(super) async fn create(directory: &Directory, arguments: &CreateShard) -> Answer {
    let (keyspace, name) = keyspace_shard(&arguments.shard)?;
    let range = KeyRange::parse(name).map_err(Failure::Use)?;
    let global = directory.global();
    if arguments.include_parent {
        let parent = topodata::Keyspace {
            durability_policy: "none".into(),
            sidecar_db_name: "_vt".into(),
            ..Default::default()
        };
        match global.create_record(&path::keyspace(keyspace), &parent).await {
            Ok(()) => directory.rebuild_vschema(&[]).await?,
            Err(StoreError::NodeExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let parent: topodata::Keyspace = global.read(&path::keyspace(keyspace)).await?.0;
    let lock = directory.lock_keyspace(keyspace, "CreateShard").await?;
    let created = create_locked(directory, keyspace, name, &range).await;
    lock.release().await.ok();
    let (shard, existed) = match created {
        Ok(shard) => (shard, false),
        Err(StoreError::NodeExists(_)) if arguments.force => {
            (global.read(&path::shard(keyspace, name)).await?.0, true)
        }
        Err(error) => return Err(error.into()),
    };
    Ok(json!({
        "keyspace": { "name": keyspace, "keyspace": parent.to_json() },
        "shard": shown(keyspace, name, &shard),
        "shard_already_exists": existed,
    }))
}

/// A shard that overlaps none that serves begins to serve, with the next RebuildKeyspaceGraph.
async fn create_locked(
    directory: &Directory,
    keyspace: &str,
    name: &str,
    range: &KeyRange,
) -> Result<topodata::Shard, StoreError> {
    let others = directory.shards(keyspace).await?;
    let overlaps = others.values().any(|other| {
        let own = other.key_range.as_ref().map_or(KeyRange::FULL, KeyRange::from);
        other.is_primary_serving && own.intersects(range)
    });
    let shard = topodata::Shard {
        key_range: topodata::KeyRange::of(range),
        is_primary_serving: !overlaps,
        ..Default::default()
    };
    directory.global().create_record(&path::shard(keyspace, name), &shard).await?;
    Ok(shard)
}

pub(super) async fn delete(directory: &Directory, arguments: &DeleteShards) -> Answer {
    for shard in &arguments.shards {
        let (keyspace, name) = keyspace_shard(shard)?;
        directory.global().get(&path::shard(keyspace, name)).await?;
        if !arguments.even_if_serving {
            for cell in directory.cells_named(&[]).await? {
                let serving =
                    cell.find_record::<topodata::SrvKeyspace>(&path::srv_keyspace(keyspace)).await?;
                let partitions = serving.map(|(serving, _)| serving.partitions).unwrap_or_default();
                let mut served = partitions.iter().flat_map(|partition| &partition.shard_references);
                if served.any(|reference| reference.name == name) {
                    return Err(Failure::Run(format!(
                        "shard {shard} is served in cell {}; --even-if-serving removes it all the same",
                        cell.cell()
                    )));
                }
            }
        }
        let lock = directory.lock_keyspace(keyspace, "DeleteShards").await?;
        let deleted = delete_one(directory, keyspace, name, arguments.recursive).await;
        lock.release().await.ok();
        deleted?;
    }
    Ok(nothing())
}

/// Removes a shard; the keyspace is locked.
pub(super) async fn delete_one(
    directory: &Directory,
    keyspace: &str,
    name: &str,
    recursive: bool,
) -> Result<(), Failure> {
    let tablets = directory.tablets(&[]).await?;
    for tablet in tablets.iter().filter(|tablet| tablet.keyspace == keyspace && tablet.shard == name) {
        let Some(alias) = tablet.alias.as_ref().map(TabletAlias::from) else { continue };
        if !recursive {
            return Err(Failure::Run(format!(
                "shard {keyspace}/{name} still has tablet {alias}; --recursive removes tablets with it"
            )));
        }
        directory.cell(&alias.cell).await?.delete(&path::tablet(&alias)).await?;
    }
    for cell in directory.cells_named(&[]).await? {
        match cell.delete(&path::shard_replication(keyspace, name)).await {
            Ok(()) | Err(StoreError::NoNode(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    directory.global().delete(&path::shard(keyspace, name)).await?;
    Ok(())
}

pub(super) async fn get(directory: &Directory, arguments: &Shard) -> Answer {
    let (keyspace, name) = keyspace_shard(&arguments.shard)?;
    let shard = directory.global().read(&path::shard(keyspace, name)).await?.0;
    Ok(shown(keyspace, name, &shard))
}

pub(super) async fn all(directory: &Directory, keyspace: &str) -> Answer {
    let shards = directory.shards(keyspace).await?;
    let shards: Map<String, Value> =
        shards.iter().map(|(name, shard)| (name.clone(), shown(keyspace, name, shard))).collect();
    Ok(Value::Object(shards))
}

pub(super) async fn replication(directory: &Directory, arguments: &GetShardReplication) -> Answer {
    let (keyspace, name) = keyspace_shard(&arguments.shard)?;
    let mut by_cell = Map::new();
    for cell in directory.cells_named(&arguments.cells).await? {
        let path = path::shard_replication(keyspace, name);
        if let Some((replication, _)) = cell.find_record::<topodata::ShardReplication>(&path).await? {
            by_cell.insert(cell.cell().to_string(), replication.to_json());
        }
    }
    Ok(json!({ "shard_replication_by_cell": by_cell }))
}

pub(super) async fn set_serving(directory: &Directory, arguments: &SetShardIsPrimaryServing) -> Answer {
    let (keyspace, name) = keyspace_shard(&arguments.shard)?;
    let lock = directory.lock_keyspace(keyspace, "SetShardIsPrimaryServing").await?;
    let path = path::shard(keyspace, name);
    let changed = directory.global().change::<topodata::Shard>(&path, |shard| {
        shard.is_primary_serving = arguments.serving;
        Ok(())
    });
    let changed = changed.await;
    lock.release().await.ok();
    Ok(json!({ "shard": changed?.to_json() }))
}
