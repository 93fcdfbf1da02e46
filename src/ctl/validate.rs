//! Do the records fit together?
//!
//! Findings are sentences; with any, the command prints them and exits 1. Servers are not asked.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Answer, Failure, keyspace_shard, shards};
use crate::key::{KeyRange, validate_shards};
use crate::topology::directory::Directory;
use crate::topology::store::Store;
use crate::topology::wire::topodata::{self, TabletType};
use crate::topology::wire::vschema;
use crate::topology::{TabletAlias, path};
use crate::vschema::VSchema;

/// What is wrong with a keyspace, and with each of its shards.
#[derive(Debug, Default)]
struct Findings {
    own: Vec<String>,
    by_shard: BTreeMap<String, Vec<String>>,
}

/// What is checked against.
struct World<'a> {
    directory: &'a Directory,
    tablets: Vec<topodata::Tablet>,
    cells: Vec<Store>,
    vschema: Result<VSchema, String>,
}

impl World<'_> {
    async fn of(directory: &Directory) -> Result<World<'_>, Failure> {
        let vschema = directory.source().await.map(|source| VSchema::new(source, 0));
        Ok(World {
            directory,
            tablets: directory.tablets(&[]).await?,
            cells: directory.cells_named(&[]).await?,
            vschema: vschema.map_err(|error| error.to_string()),
        })
    }

    async fn keyspace(&self, name: &str) -> Result<Findings, Failure> {
        let shards = self.directory.shards(name).await?;
        let mut findings = Findings::default();
        let serving: Vec<&String> =
            shards.iter().filter(|(_, shard)| shard.is_primary_serving).map(|(name, _)| name).collect();
        if let Err(why) = validate_shards(&serving) {
            findings.own.push(format!("its serving shards: {why}"));
        }
        match &self.vschema {
            Ok(vschema) => match vschema.keyspace(name) {
                None => findings.own.push("it has no VSchema".into()),
                Some(keyspace) => {
                    findings.own.extend(keyspace.error().map(|error| format!("its VSchema: {error}")));
                    if !keyspace.is_sharded() && serving.len() > 1 {
                        let count = serving.len();
                        findings
                            .own
                            .push(format!("it has {count} serving shards, and its VSchema is not sharded"));
                    }
                }
            },
            Err(why) => findings.own.push(why.clone()),
        }
        for cell in &self.cells {
            self.served(cell, name, &serving, &mut findings).await?;
        }
        for (shard, record) in &shards {
            findings.by_shard.insert(shard.clone(), self.shard(name, shard, record).await?);
        }
        Ok(findings)
    }

    /// Whether a cell serves what there is.
    async fn served(
        &self,
        cell: &Store,
        keyspace: &str,
        serving: &[&String],
        findings: &mut Findings,
    ) -> Result<(), Failure> {
        let name = cell.cell();
        match cell.find_record::<topodata::SrvKeyspace>(&path::srv_keyspace(keyspace)).await? {
            None => {
                findings.own.push(format!("cell {name} does not serve it: RebuildKeyspaceGraph does that"));
            }
            Some((record, _)) => {
                let primaries =
                    record.partitions.iter().find(|partition| partition.served_type() == TabletType::Primary);
                let mut served: Vec<&String> = primaries
                    .iter()
                    .flat_map(|partition| &partition.shard_references)
                    .map(|reference| &reference.name)
                    .collect();
                served.sort();
                let mut serving = serving.to_vec();
                serving.sort();
                if served != serving {
                    findings
                        .own
                        .push(format!("cell {name} serves other shards than those that are to serve"));
                }
            }
        }
        let global =
            self.directory.global().find_record::<vschema::Keyspace>(&path::vschema(keyspace)).await?;
        let srv = cell.find_record::<vschema::SrvVSchema>(path::SRV_VSCHEMA).await?;
        let copy = srv.and_then(|(srv, _)| {
            srv.keyspaces.into_iter().find(|entry| entry.key() == keyspace).and_then(|entry| entry.value)
        });
        if let (Some((global, _)), copy) = (global, copy)
            && copy.as_ref() != Some(&global)
        {
            findings
                .own
                .push(format!("cell {name} serves another VSchema: RebuildVSchemaGraph puts it right"));
        }
        Ok(())
    }

    async fn shard(
        &self,
        keyspace: &str,
        shard: &str,
        record: &topodata::Shard,
    ) -> Result<Vec<String>, Failure> {
        let mut findings = Vec::new();
        let recorded = record.key_range.as_ref().map_or(KeyRange::FULL, KeyRange::from);
        match KeyRange::parse(shard) {
            Ok(range) if range == recorded => {}
            Ok(_) => findings.push(format!("its record has the key range {recorded}")),
            Err(why) => findings.push(why),
        }
        let own: Vec<&topodata::Tablet> = self
            .tablets
            .iter()
            .filter(|tablet| tablet.keyspace == keyspace && tablet.shard == shard)
            .collect();
        let alias = |tablet: &topodata::Tablet| tablet.alias.as_ref().map(TabletAlias::from);
        let primary = record.primary_alias.as_ref().map(TabletAlias::from);
        match &primary {
            None if record.is_primary_serving => findings.push("it has no primary".into()),
            Some(primary) if !own.iter().any(|tablet| alias(tablet).as_ref() == Some(primary)) => {
                findings.push(format!("its primary {primary} is not among its tablets"));
            }
            _ => {}
        }
        for tablet in &own {
            let (Some(own), kind) = (alias(tablet), tablet.r#type()) else { continue };
            let is_primary = primary.as_ref() == Some(&own);
            if is_primary && kind != TabletType::Primary {
                findings.push(format!("its primary {own} is recorded as {}", kind.as_str_name()));
            }
            if !is_primary && kind == TabletType::Primary {
                findings.push(format!("{own} is recorded as PRIMARY and is not its primary"));
            }
            if tablet.mysql_port == 0 || (tablet.mysql_hostname.is_empty() && tablet.hostname.is_empty()) {
                findings.push(format!("{own} has no address of MySQL"));
            }
            let cell = self.cells.iter().find(|cell| *cell.cell() == own.cell);
            if let Some(cell) = cell {
                let path = path::shard_replication(keyspace, shard);
                let replication = cell.find_record::<topodata::ShardReplication>(&path).await?;
                let nodes = replication.map(|(replication, _)| replication.nodes).unwrap_or_default();
                if !nodes
                    .iter()
                    .any(|node| node.tablet_alias.as_ref().map(TabletAlias::from).as_ref() == Some(&own))
                {
                    findings.push(format!("{own} is not in the shard's list of cell {}", own.cell));
                }
            }
        }
        Ok(findings)
    }
}

impl Findings {
    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.by_shard.values().all(Vec::is_empty)
    }

    fn to_json(&self) -> Value {
        let by_shard: Map<String, Value> = self
            .by_shard
            .iter()
            .map(|(name, results)| (name.clone(), json!({ "results": results })))
            .collect();
        json!({ "results": self.own, "results_by_shard": by_shard })
    }
}

fn told(fine: bool, findings: Value) -> Answer {
    if fine { Ok(findings) } else { Err(Failure::Findings(findings)) }
}

pub(super) async fn keyspace(directory: &Directory, name: &str) -> Answer {
    let findings = World::of(directory).await?.keyspace(name).await?;
    told(findings.is_empty(), findings.to_json())
}

pub(super) async fn shard(directory: &Directory, arguments: &shards::Shard) -> Answer {
    let (keyspace, name) = keyspace_shard(&arguments.shard)?;
    let record = directory.global().read(&path::shard(keyspace, name)).await?.0;
    let results = World::of(directory).await?.shard(keyspace, name, &record).await?;
    told(results.is_empty(), json!({ "results": results }))
}

pub(super) async fn all(directory: &Directory) -> Answer {
    let world = World::of(directory).await?;
    let (mut fine, mut results, mut by_keyspace) = (true, Vec::new(), Map::new());
    for name in directory.global().names(path::KEYSPACES).await? {
        let findings = world.keyspace(&name).await?;
        fine &= findings.is_empty();
        by_keyspace.insert(name, findings.to_json());
    }
    if let Ok(vschema) = &world.vschema {
        results.extend(vschema.rule_errors());
    }
    for tablet in &world.tablets {
        if !by_keyspace.contains_key(&tablet.keyspace) {
            let alias = tablet.alias.as_ref().map(|alias| TabletAlias::from(alias).to_string());
            results.push(format!("{} is of a keyspace that does not exist", alias.unwrap_or_default()));
        }
    }
    fine &= results.is_empty();
    told(fine, json!({ "results": results, "results_by_keyspace": by_keyspace }))
}
