//! Tablets: the MySQL servers of shards.

use serde_json::{Value, json};

use super::json::ToJson;
use super::{Answer, Failure, alias, is_name, keyspace_shard, nothing};
use crate::topology::directory::Directory;
use crate::topology::roles::now;
use crate::topology::store::StoreError;
use crate::topology::wire::topodata::{self, TabletType};
use crate::topology::{TabletAlias, path};

/// One server.
#[derive(Debug, clap::Args)]
pub struct Tablet {
    /// The tablet's alias, zone1-100 for instance.
    #[arg(value_name = "ALIAS")]
    alias: String,
}

/// A new server.
#[derive(Debug, clap::Args)]
pub struct AddTablet {
    /// The tablet's alias, zone1-100 for instance; the cell must exist.
    #[arg(value_name = "ALIAS")]
    alias: String,
    /// The shard that it holds.
    #[arg(value_name = "KEYSPACE/SHARD")]
    shard: String,
    /// Where MySQL listens.
    #[arg(long)]
    host: String,
    /// MySQL's port.
    #[arg(long, default_value_t = 3306, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// "primary", "replica", "rdonly", or a type that does not serve, such as "spare".
    #[arg(long = "type", value_name = "TYPE", default_value = "replica")]
    kind: String,
    /// The database on the server; `vt_<keyspace>` unless told.
    #[arg(long)]
    schema: Option<String>,
    /// Write over a tablet of this alias.
    #[arg(long)]
    allow_update: bool,
}

/// Which servers go.
#[derive(Debug, clap::Args)]
pub struct DeleteTablets {
    /// Aliases.
    #[arg(value_name = "ALIAS", required = true)]
    aliases: Vec<String>,
    /// Also primaries; their shards then have none.
    #[arg(long, short = 'p')]
    allow_primary: bool,
}

/// Which servers are shown.
#[derive(Debug, clap::Args)]
pub struct GetTablets {
    /// Those of this keyspace.
    #[arg(long, short = 'k')]
    keyspace: Option<String>,
    /// Those of this shard.
    #[arg(long, short = 's', requires = "keyspace", allow_hyphen_values = true)]
    shard: Option<String>,
    /// Those in these cells.
    #[arg(long, short = 'c', value_delimiter = ',')]
    cell: Vec<String>,
    /// These.
    #[arg(long, short = 't', value_delimiter = ',')]
    tablet_alias: Vec<String>,
    /// Those of this type.
    #[arg(long)]
    tablet_type: Option<String>,
}

/// A new type.
#[derive(Debug, clap::Args)]
pub struct ChangeTabletType {
    /// The tablet's alias.
    #[arg(value_name = "ALIAS")]
    alias: String,
    /// "replica", "rdonly", or a type that does not serve, such as "spare".
    #[arg(value_name = "TYPE")]
    kind: String,
    /// Only show what would change.
    #[arg(long, short = 'd')]
    dry_run: bool,
}

fn kind(word: &str) -> Result<TabletType, Failure> {
    let unknown =
        || Failure::Use(format!("{word} is not a type of tablets: primary, replica, rdonly, spare, …"));
    TabletType::from_str_name(&word.to_ascii_uppercase())
        .filter(|kind| *kind != TabletType::Unknown)
        .ok_or_else(unknown)
}

/// Adds the records that a starting tablet of Vitess would: its own, its entry among the tablets of the
/// shard, and what its cell serves, where that is missing.
pub(super) async fn add(directory: &Directory, arguments: AddTablet) -> Answer {
    let alias = alias(&arguments.alias)?;
    let (keyspace, shard) = keyspace_shard(&arguments.shard)?;
    let kind = kind(&arguments.kind)?;
    if arguments.schema.as_deref().is_some_and(|schema| !is_name(schema)) {
        return Err(Failure::Use("--schema is not the name of a database".into()));
    }
    let record: topodata::Shard = directory.global().read(&path::shard(keyspace, shard)).await?.0;
    let primary = record.primary_alias.as_ref().map(TabletAlias::from).filter(|primary| *primary != alias);
    if let (TabletType::Primary, Some(primary)) = (kind, &primary) {
        return Err(Failure::Run(format!(
            "shard {keyspace}/{shard} has primary {primary}; add a replica and use TabletExternallyReparented"
        )));
    }
    let cell = directory.cell(&alias.cell).await?;
    let is_primary = kind == TabletType::Primary;
    let tablet = topodata::Tablet {
        alias: Some((&alias).into()),
        hostname: arguments.host.clone(),
        keyspace: keyspace.into(),
        shard: shard.into(),
        key_range: record.key_range.clone(),
        // A primary begins as a replica: its promotion below comes with the shard's record.
        r#type: if is_primary { TabletType::Replica } else { kind }.into(),
        db_name_override: arguments.schema.unwrap_or_default(),
        mysql_hostname: arguments.host,
        mysql_port: i32::from(arguments.port),
        tablet_start_time: Some(now()),
        ..Default::default()
    };
    let path = path::tablet(&alias);
    match cell.create_record(&path, &tablet).await {
        Err(StoreError::NodeExists(_)) if arguments.allow_update => {
            let changed = cell.change::<topodata::Tablet>(&path, |old| {
                if (&old.keyspace, &old.shard) != (&tablet.keyspace, &tablet.shard) {
                    return Err(format!("tablet {alias} belongs to {}/{}", old.keyspace, old.shard));
                }
                let term = old.primary_term_start_time;
                *old = topodata::Tablet { primary_term_start_time: term, ..tablet.clone() };
                if primary.is_none() && term.is_some() {
                    old.r#type = TabletType::Primary.into();
                }
                Ok(())
            });
            changed.await?;
        }
        other => other?,
    }
    join(directory, &alias, keyspace, shard).await?;
    if is_primary {
        directory.make_primary(&alias).await?;
    }
    serve(directory, &alias, keyspace, shard).await?;
    Ok(directory.tablet(&alias).await?.1.to_json())
}

/// Adds a tablet to those of its shard.
async fn join(
    directory: &Directory,
    alias: &TabletAlias,
    keyspace: &str,
    shard: &str,
) -> Result<(), Failure> {
    let cell = directory.cell(&alias.cell).await?;
    let path = path::shard_replication(keyspace, shard);
    let node = topodata::shard_replication::Node { tablet_alias: Some(alias.into()) };
    let first = topodata::ShardReplication { nodes: vec![node.clone()] };
    match cell.create_record(&path, &first).await {
        Err(StoreError::NodeExists(_)) => {
            let changed = cell.change::<topodata::ShardReplication>(&path, |replication| {
                if !replication.nodes.contains(&node) {
                    replication.nodes.push(node.clone());
                }
                Ok(())
            });
            changed.await?;
        }
        other => other?,
    }
    Ok(())
}

/// Puts the shard in force in the tablet's cell, if it is not there yet and all of the keyspace's shards
/// are there.
async fn serve(
    directory: &Directory,
    alias: &TabletAlias,
    keyspace: &str,
    shard: &str,
) -> Result<(), Failure> {
    let cell = directory.cell(&alias.cell).await?;
    let serving = cell.find_record::<topodata::SrvKeyspace>(&path::srv_keyspace(keyspace)).await?;
    let partitions = serving.map(|(serving, _)| serving.partitions).unwrap_or_default();
    let mut served = partitions.iter().flat_map(|partition| &partition.shard_references);
    if !served.any(|reference| reference.name == shard) {
        let cells = [alias.cell.to_string()];
        match directory.rebuild_keyspace(keyspace, &cells, false).await {
            // Other shards are still to come.
            Ok(()) | Err(StoreError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if cell.find(path::SRV_VSCHEMA).await?.is_none() {
        directory.rebuild_vschema(&[alias.cell.to_string()]).await?;
    }
    Ok(())
}

pub(super) async fn delete(directory: &Directory, arguments: &DeleteTablets) -> Answer {
    for text in &arguments.aliases {
        let alias = alias(text)?;
        let (cell, tablet) = directory.tablet(&alias).await?;
        let path = path::shard(&tablet.keyspace, &tablet.shard);
        let shard = directory.global().find_record::<topodata::Shard>(&path).await?;
        let primary = shard.and_then(|(shard, _)| shard.primary_alias);
        if primary.as_ref().map(TabletAlias::from).as_ref() == Some(&alias) {
            if !arguments.allow_primary {
                return Err(Failure::Run(format!(
                    "tablet {alias} is the primary of {}/{}; --allow-primary removes it all the same",
                    tablet.keyspace, tablet.shard
                )));
            }
            let lock = directory.lock_shard(&tablet.keyspace, &tablet.shard, "DeleteTablets").await?;
            let changed = directory.global().change::<topodata::Shard>(&path, |shard| {
                if shard.primary_alias == primary {
                    shard.primary_alias = None;
                    shard.primary_term_start_time = Some(now());
                }
                Ok(())
            });
            let changed = changed.await;
            lock.release().await.ok();
            changed?;
        }
        let replication = path::shard_replication(&tablet.keyspace, &tablet.shard);
        let left = cell.change::<topodata::ShardReplication>(&replication, |replication| {
            replication
                .nodes
                .retain(|node| node.tablet_alias.as_ref().map(TabletAlias::from).as_ref() != Some(&alias));
            Ok(())
        });
        match left.await {
            Ok(_) | Err(StoreError::NoNode(_)) => {}
            Err(error) => return Err(error.into()),
        }
        cell.delete(&path::tablet(&alias)).await?;
    }
    Ok(nothing())
}

pub(super) async fn get(directory: &Directory, arguments: &Tablet) -> Answer {
    Ok(directory.tablet(&alias(&arguments.alias)?).await?.1.to_json())
}

pub(super) async fn all(directory: &Directory, arguments: &GetTablets) -> Answer {
    let wanted = arguments.tablet_type.as_deref().map(kind).transpose()?;
    let mut aliases = Vec::new();
    for text in &arguments.tablet_alias {
        aliases.push(alias(text)?);
    }
    let tablets = directory.tablets(&arguments.cell).await?;
    let fits = |tablet: &&topodata::Tablet| {
        let own = tablet.alias.as_ref().map(TabletAlias::from);
        arguments.keyspace.as_ref().is_none_or(|keyspace| *keyspace == tablet.keyspace)
            && arguments.shard.as_ref().is_none_or(|shard| *shard == tablet.shard)
            && wanted.is_none_or(|wanted| wanted == tablet.r#type())
            && (aliases.is_empty() || own.is_some_and(|own| aliases.contains(&own)))
    };
    Ok(tablets.iter().filter(fits).map(ToJson::to_json).collect::<Vec<Value>>().into())
}

pub(super) async fn change_type(directory: &Directory, arguments: &ChangeTabletType) -> Answer {
    let (alias, kind) = (alias(&arguments.alias)?, kind(&arguments.kind)?);
    let (_, before) = directory.tablet(&alias).await?;
    if kind == TabletType::Primary || before.r#type() == TabletType::Primary {
        return Err(Failure::Run(format!(
            "{alias}: a primary is made and unmade by TabletExternallyReparented, not by a change of type"
        )));
    }
    let after = if arguments.dry_run {
        topodata::Tablet { r#type: kind.into(), ..before.clone() }
    } else {
        directory.set_type(&alias, kind, None).await?
    };
    Ok(json!({
        "before_tablet": before.to_json(),
        "after_tablet": after.to_json(),
        "was_dry_run": arguments.dry_run,
    }))
}

pub(super) async fn reparented(directory: &Directory, arguments: &Tablet) -> Answer {
    let alias = alias(&arguments.alias)?;
    let promotion = directory.make_primary(&alias).await?;
    let shown = |alias: &TabletAlias| topodata::TabletAlias::from(alias).to_json();
    Ok(json!({
        "keyspace": promotion.keyspace,
        "shard": promotion.shard,
        "new_primary": shown(&alias),
        "old_primary": promotion.old.as_ref().map(shown),
    }))
}
