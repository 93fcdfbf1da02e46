//! Routing rules of all kinds.

use std::collections::BTreeSet;
use std::path::PathBuf;

use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::json::ToJson;
use super::{Answer, Failure, text_or_file};
use crate::topology::directory::Directory;
use crate::topology::path;
use crate::topology::store::StoreError;
use crate::topology::wire::vschema;
use crate::vschema::{KeyspaceRoutingRule, MirrorRule, Rules, ShardRoutingRule, VSchema};

/// New rules, which replace the old ones.
#[derive(Debug, clap::Args)]
pub struct ApplyRules {
    /// The rules: {"rules": […]} (JSON).
    #[arg(long, short = 'r', value_name = "JSON", conflicts_with = "rules_file")]
    rules: Option<String>,
    /// A file that holds the rules.
    #[arg(long, short = 'f', value_name = "FILE")]
    rules_file: Option<PathBuf>,
    /// Only show what they would be.
    #[arg(long, short = 'd')]
    dry_run: bool,
    /// Do not put them in force; RebuildVSchemaGraph does.
    #[arg(long)]
    skip_rebuild: bool,
    /// The cells in which they are put in force; all unless told.
    #[arg(long, short = 'c', value_delimiter = ',')]
    cells: Vec<String>,
}

/// Reads rules, and refuses those that gates would refuse.
fn parsed<R>(arguments: &ApplyRules) -> Result<Rules<R>, Failure>
where
    R: Serialize + DeserializeOwned,
{
    let text = text_or_file(arguments.rules.as_ref(), arguments.rules_file.as_ref())?;
    serde_json::from_str(&text).map_err(|error| Failure::Run(format!("the rules: {error}")))
}

async fn write<M>(directory: &Directory, arguments: &ApplyRules, path: &str, rules: &M) -> Answer
where
    M: Message + ToJson,
{
    if !arguments.dry_run {
        directory.global().put(path, rules.encode_to_vec()).await?;
        if !arguments.skip_rebuild {
            directory.rebuild_vschema(&arguments.cells).await?;
        }
    }
    let mut answer = rules.to_json();
    if let (true, Some(fields)) = (arguments.dry_run, answer.as_object_mut()) {
        fields.insert("dry_run".into(), true.into());
    }
    Ok(answer)
}

async fn read<M: Message + Default + ToJson>(directory: &Directory, path: &str) -> Answer {
    match directory.global().read::<M>(path).await {
        Ok((rules, _)) => Ok(rules.to_json()),
        Err(StoreError::NoNode(_)) => Ok(json!({ "rules": [] })),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn apply_routing(directory: &Directory, arguments: &ApplyRules) -> Answer {
    let rules = parsed(arguments)?;
    let mut source = directory.source().await?;
    source.routing_rules = rules.clone();
    let faults = VSchema::new(source, 0).rule_errors();
    if !faults.is_empty() {
        return Err(Failure::Run(faults.join("; ")));
    }
    write(directory, arguments, path::ROUTING_RULES, &vschema::RoutingRules::from(&rules)).await
}

pub(super) async fn get_routing(directory: &Directory) -> Answer {
    read::<vschema::RoutingRules>(directory, path::ROUTING_RULES).await
}

pub(super) async fn apply_shard(directory: &Directory, arguments: &ApplyRules) -> Answer {
    let rules: Rules<ShardRoutingRule> = parsed(arguments)?;
    let mut seen = BTreeSet::new();
    for ShardRoutingRule { from_keyspace, to_keyspace, shard } in &rules.rules {
        if !seen.insert((from_keyspace, shard)) {
            return Err(Failure::Run(format!("duplicate rule for shard {from_keyspace}/{shard}")));
        }
        directory.global().get(&path::shard(to_keyspace, shard)).await?;
    }
    let rules = vschema::ShardRoutingRules::from(&rules);
    write(directory, arguments, path::SHARD_ROUTING_RULES, &rules).await
}

pub(super) async fn get_shard(directory: &Directory) -> Answer {
    read::<vschema::ShardRoutingRules>(directory, path::SHARD_ROUTING_RULES).await
}

/// These have a lock of their own in Vitess. A folder can be locked when something is in it.
pub(super) async fn apply_keyspace(directory: &Directory, arguments: &ApplyRules) -> Answer {
    let rules: Rules<KeyspaceRoutingRule> = parsed(arguments)?;
    let mut seen = BTreeSet::new();
    for KeyspaceRoutingRule { from_keyspace, to_keyspace } in &rules.rules {
        if !seen.insert(from_keyspace) {
            return Err(Failure::Run(format!("duplicate rule for keyspace {from_keyspace}")));
        }
        directory.global().get(&path::keyspace(to_keyspace)).await?;
    }
    let rules = vschema::KeyspaceRoutingRules::from(&rules);
    if arguments.dry_run {
        return write(directory, arguments, path::KEYSPACE_ROUTING_RULES, &rules).await;
    }
    let empty = vschema::KeyspaceRoutingRules::default();
    match directory.global().create_record(path::KEYSPACE_ROUTING_RULES, &empty).await {
        Ok(()) | Err(StoreError::NodeExists(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let lock =
        directory.lock_folder(path::KEYSPACE_ROUTING_RULES_FOLDER, "ApplyKeyspaceRoutingRules").await?;
    let written = write(directory, arguments, path::KEYSPACE_ROUTING_RULES, &rules).await;
    lock.release().await.ok();
    written
}

pub(super) async fn get_keyspace(directory: &Directory) -> Answer {
    read::<vschema::KeyspaceRoutingRules>(directory, path::KEYSPACE_ROUTING_RULES).await
}

/// Gates of this kind copy no reads: a rule that asks for it is refused, and rules of others can be
/// removed.
pub(super) async fn apply_mirror(directory: &Directory, arguments: &ApplyRules) -> Answer {
    let rules: Rules<MirrorRule> = parsed(arguments)?;
    if !rules.is_empty() {
        return Err(Failure::Run(
            "mirror rules are not obeyed by shardgate: no read would be copied. Only {\"rules\": []} is taken, which \
             removes those of others"
                .into(),
        ));
    }
    write(directory, arguments, path::MIRROR_RULES, &vschema::MirrorRules::from(&rules)).await
}

pub(super) async fn get_mirror(directory: &Directory) -> Answer {
    read::<vschema::MirrorRules>(directory, path::MIRROR_RULES).await
}
