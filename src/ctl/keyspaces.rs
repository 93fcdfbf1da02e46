//! Keyspaces.

use serde_json::{Value, json};

use super::json::ToJson;
use super::{Answer, Failure, is_name, nothing, shards};
use crate::topology::directory::Directory;
use crate::topology::path;
use crate::topology::store::StoreError;
use crate::topology::wire::{topodata, vschema};

/// A new keyspace.
#[derive(Debug, clap::Args)]
pub struct CreateKeyspace {
    /// The keyspace's name.
    keyspace: String,
    /// Do nothing where the keyspace exists.
    #[arg(long, short = 'f')]
    force: bool,
    /// Leave the VSchema away; gates then do not know the keyspace until it has one.
    #[arg(long, short = 'e')]
    allow_empty_vschema: bool,
    /// How many servers a commit must have reached, for Vitess's tools.
    #[arg(long, default_value = "none", value_parser = ["none", "semi_sync", "cross_cell"])]
    durability_policy: String,
    /// The database for internal tables, for Vitess's tools.
    #[arg(long, default_value = "_vt")]
    sidecar_db_name: String,
}

/// Which keyspace goes.
#[derive(Debug, clap::Args)]
pub struct DeleteKeyspace {
    /// The keyspace's name.
    keyspace: String,
    /// With all of its shards and their tablets.
    #[arg(long, short = 'r')]
    recursive: bool,
}

fn shown(name: &str, keyspace: &topodata::Keyspace) -> Value {
    json!({ "name": name, "keyspace": keyspace.to_json() })
}

pub(super) async fn create(directory: &Directory, arguments: CreateKeyspace) -> Answer {
    let name = arguments.keyspace;
    if !is_name(&name) {
        return Err(Failure::Use(format!("{name} is not a name for a keyspace")));
    }
    let keyspace = topodata::Keyspace {
        durability_policy: arguments.durability_policy,
        sidecar_db_name: arguments.sidecar_db_name,
        ..Default::default()
    };
    let global = directory.global();
    let keyspace = match global.create_record(&path::keyspace(&name), &keyspace).await {
        Ok(()) => keyspace,
        Err(StoreError::NodeExists(_)) if arguments.force => global.read(&path::keyspace(&name)).await?.0,
        Err(error) => return Err(error.into()),
    };
    if !arguments.allow_empty_vschema {
        match global.create_record(&path::vschema(&name), &vschema::Keyspace::default()).await {
            Ok(()) | Err(StoreError::NodeExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    directory.rebuild_vschema(&[]).await?;
    Ok(shown(&name, &keyspace))
}

pub(super) async fn delete(directory: &Directory, arguments: &DeleteKeyspace) -> Answer {
    let name = &arguments.keyspace;
    let lock = directory.lock_keyspace(name, "DeleteKeyspace").await?;
    let deleted = delete_locked(directory, arguments).await;
    lock.release().await.ok();
    deleted?;
    // What is left of the lock would make the keyspace half there.
    directory.global().delete_folder(&path::keyspace_folder(name)).await?;
    directory.rebuild_vschema(&[]).await?;
    Ok(nothing())
}

async fn delete_locked(directory: &Directory, arguments: &DeleteKeyspace) -> Result<(), Failure> {
    let name = &arguments.keyspace;
    let left = directory.shards(name).await?;
    if !left.is_empty() && !arguments.recursive {
        let count = left.len();
        return Err(Failure::Run(format!(
            "keyspace {name} still has {count} shards; --recursive removes them with it"
        )));
    }
    for shard in left.keys() {
        shards::delete_one(directory, name, shard, true).await?;
    }
    for cell in directory.cells_named(&[]).await? {
        match cell.delete(&path::srv_keyspace(name)).await {
            Ok(()) | Err(StoreError::NoNode(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match directory.global().delete(&path::vschema(name)).await {
        Ok(()) | Err(StoreError::NoNode(_)) => {}
        Err(error) => return Err(error.into()),
    }
    directory.global().delete(&path::keyspace(name)).await?;
    Ok(())
}

pub(super) async fn get(directory: &Directory, name: &str) -> Answer {
    let keyspace = directory.global().read(&path::keyspace(name)).await?.0;
    Ok(shown(name, &keyspace))
}

pub(super) async fn all(directory: &Directory) -> Answer {
    let mut all = Vec::new();
    for name in directory.global().names(path::KEYSPACES).await? {
        if let Some((keyspace, _)) = directory.global().find_record(&path::keyspace(&name)).await? {
            all.push(shown(&name, &keyspace));
        }
    }
    Ok(all.into())
}
