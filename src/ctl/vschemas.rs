//! VSchemas, and what cells serve of shards and tables.

use std::path::PathBuf;

use prost::Message;
use serde_json::{Map, Value, json};

use super::json::ToJson;
use super::{Answer, Failure, difference, nothing, text_or_file};
use crate::topology::directory::Directory;
use crate::topology::path;
use crate::topology::wire::{topodata, vschema};
use crate::vschema::{KeyspaceSource, VSchema};

/// A new VSchema, which replaces the old one.
#[derive(Debug, clap::Args)]
pub struct ApplyVSchema {
    /// The keyspace's name.
    keyspace: String,
    /// The VSchema (JSON).
    #[arg(long, value_name = "JSON", group = "new")]
    vschema: Option<String>,
    /// A file that holds the VSchema.
    #[arg(long, value_name = "FILE", group = "new")]
    vschema_file: Option<PathBuf>,
    /// An ALTER VSCHEMA statement that changes the VSchema.
    #[arg(long, value_name = "SQL", group = "new")]
    sql: Option<String>,
    /// A file that holds the statement.
    #[arg(long, value_name = "FILE", group = "new")]
    sql_file: Option<PathBuf>,
    /// Only show what would change.
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run, a file of statements, one a line: shows those whose plan would change.
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    statements: Option<PathBuf>,
    /// Do not put it in force; RebuildVSchemaGraph does.
    #[arg(long)]
    skip_rebuild: bool,
    /// The cells in which it is put in force; all unless told.
    #[arg(long, value_delimiter = ',')]
    cells: Vec<String>,
}

/// Which cells.
#[derive(Debug, clap::Args)]
pub struct Cells {
    /// The cells; all unless told.
    cells: Vec<String>,
}

/// Whose serving shards.
#[derive(Debug, clap::Args)]
pub struct GetSrvKeyspaces {
    /// The keyspace's name.
    keyspace: String,
    /// The cells; all unless told.
    cells: Vec<String>,
}

/// Which keyspaces are put in force.
#[derive(Debug, clap::Args)]
pub struct RebuildKeyspaceGraph {
    /// The keyspaces' names.
    #[arg(required = true)]
    keyspaces: Vec<String>,
    /// The cells; all unless told.
    #[arg(long, short = 'c', value_delimiter = ',')]
    cells: Vec<String>,
    /// Also with shards that leave gaps.
    #[arg(long)]
    allow_partial: bool,
}

/// Where VSchemas and rules are put in force.
#[derive(Debug, clap::Args)]
pub struct RebuildVSchemaGraph {
    /// The cells; all unless told.
    #[arg(long, short = 'c', value_delimiter = ',')]
    cells: Vec<String>,
}

pub(super) async fn get(directory: &Directory, keyspace: &str) -> Answer {
    Ok(directory.global().read::<vschema::Keyspace>(&path::vschema(keyspace)).await?.0.to_json())
}

/// The VSchema that is asked for, made from the present one.
fn wanted(arguments: &ApplyVSchema, present: &KeyspaceSource) -> Result<KeyspaceSource, Failure> {
    if arguments.sql.is_some() || arguments.sql_file.is_some() {
        let text = text_or_file(arguments.sql.as_ref(), arguments.sql_file.as_ref())?;
        let (keyspace, change) =
            crate::planner::alter_vschema(&text).map_err(|error| Failure::Run(error.client_text()))?;
        if keyspace.is_some_and(|named| *named != *arguments.keyspace) {
            return Err(Failure::Use("the statement names another keyspace".into()));
        }
        let mut changed = present.clone();
        change.apply(&arguments.keyspace, &mut changed).map_err(Failure::Run)?;
        return Ok(changed);
    }
    let text = text_or_file(arguments.vschema.as_ref(), arguments.vschema_file.as_ref())?;
    KeyspaceSource::from_json(&text).map_err(|error| Failure::Run(error.to_string()))
}

/// A VSchema that gates would refuse is not written.
pub(super) async fn apply(directory: &Directory, arguments: &ApplyVSchema) -> Answer {
    let name = &arguments.keyspace;
    let path = path::vschema(name);
    directory.global().get(&path::keyspace(name)).await?;
    let record = directory.global().find(&path).await?;
    let present: vschema::Keyspace = match &record {
        None => vschema::Keyspace::default(),
        // What this version does not know is replaced only by a whole VSchema.
        Some(record) if arguments.sql.is_none() && arguments.sql_file.is_none() => {
            crate::topology::wire::decode(&record.bytes).map_err(Failure::Run)?
        }
        Some(record) => crate::topology::wire::decode_to_change(&record.bytes).map_err(Failure::Run)?,
    };
    let present_source = KeyspaceSource::try_from(&present).map_err(Failure::Run)?;
    let source = wanted(arguments, &present_source)?;
    let wanted = vschema::Keyspace::from(&source);
    let mut all = directory.source().await?;
    let before = VSchema::new(all.clone(), 0);
    all.keyspaces.insert(name.clone(), source);
    let after = VSchema::new(all, 1);
    if let Some(error) = after.keyspace(name).and_then(|keyspace| keyspace.error()) {
        return Err(Failure::Run(format!("keyspace {name}: {error}")));
    }
    if arguments.dry_run {
        let statements = arguments.statements.as_deref().map(difference::plans(&before, &after, name));
        return Ok(json!({
            "dry_run": true,
            "v_schema": wanted.to_json(),
            "difference": difference::lines(&present.to_json(), &wanted.to_json()),
            "changed_plans": statements.transpose()?,
        }));
    }
    let bytes = wanted.encode_to_vec();
    match record {
        Some(record) if record.bytes == bytes => {}
        Some(record) => drop(directory.global().update(&path, bytes, record.version).await?),
        None => drop(directory.global().create(&path, bytes).await?),
    }
    if !arguments.skip_rebuild {
        directory.rebuild_vschema(&arguments.cells).await?;
    }
    Ok(json!({ "v_schema": wanted.to_json() }))
}

pub(super) async fn served_shards(directory: &Directory, arguments: &GetSrvKeyspaces) -> Answer {
    let mut by_cell = Map::new();
    for cell in directory.cells_named(&arguments.cells).await? {
        let path = path::srv_keyspace(&arguments.keyspace);
        let serving = cell.find_record::<topodata::SrvKeyspace>(&path).await?;
        by_cell
            .insert(cell.cell().to_string(), serving.map_or(Value::Null, |(serving, _)| serving.to_json()));
    }
    Ok(Value::Object(by_cell))
}

pub(super) async fn served_names(directory: &Directory, arguments: &Cells) -> Answer {
    let mut by_cell = Map::new();
    for cell in directory.cells_named(&arguments.cells).await? {
        let mut names = Vec::new();
        for name in cell.names(path::KEYSPACES).await? {
            if cell.find(&path::srv_keyspace(&name)).await?.is_some() {
                names.push(name);
            }
        }
        by_cell.insert(cell.cell().to_string(), json!({ "names": names }));
    }
    Ok(Value::Object(by_cell))
}

pub(super) async fn served(directory: &Directory, cell: &str) -> Answer {
    let cell = directory.cell(cell).await?;
    Ok(cell.read::<vschema::SrvVSchema>(path::SRV_VSCHEMA).await?.0.to_json())
}

pub(super) async fn all_served(directory: &Directory, arguments: &Cells) -> Answer {
    let mut by_cell = Map::new();
    for cell in directory.cells_named(&arguments.cells).await? {
        if let Some((served, _)) = cell.find_record::<vschema::SrvVSchema>(path::SRV_VSCHEMA).await? {
            by_cell.insert(cell.cell().to_string(), served.to_json());
        }
    }
    Ok(Value::Object(by_cell))
}

pub(super) async fn delete_served(directory: &Directory, cell: &str) -> Answer {
    directory.cell(cell).await?.delete(path::SRV_VSCHEMA).await?;
    Ok(nothing())
}

pub(super) async fn rebuild_keyspace(directory: &Directory, arguments: &RebuildKeyspaceGraph) -> Answer {
    for keyspace in &arguments.keyspaces {
        let lock = directory.lock_keyspace(keyspace, "RebuildKeyspaceGraph").await?;
        let rebuilt = directory.rebuild_keyspace(keyspace, &arguments.cells, arguments.allow_partial).await;
        lock.release().await.ok();
        rebuilt?;
    }
    Ok(nothing())
}

pub(super) async fn rebuild_vschema(directory: &Directory, arguments: &RebuildVSchemaGraph) -> Answer {
    directory.rebuild_vschema(&arguments.cells).await?;
    Ok(nothing())
}
