//! Which keyspaces, shards, tables and statements are asked about?

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::report::OutputMode;
use crate::key::{shard_names, validate_shards};
use crate::vschema::{KeyspaceSchema, VSchema};

/// Flags of `shardgate vtexplain`. Each text may come from a file instead.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The statements, separated by semicolons.
    #[arg(long, env = "SHARDGATE_SQL", value_name = "SQL")]
    sql: Option<String>,
    /// A file with the statements.
    #[arg(long, env = "SHARDGATE_SQL_FILE", value_name = "FILE", conflicts_with = "sql")]
    sql_file: Option<PathBuf>,
    /// CREATE TABLE statements of all keyspaces.
    #[arg(long, env = "SHARDGATE_SCHEMA", value_name = "SQL")]
    schema: Option<String>,
    /// A file with them, or a JSON object from keyspace to a file with its own; paths are relative to it.
    #[arg(long, env = "SHARDGATE_SCHEMA_FILE", value_name = "FILE", conflicts_with = "schema")]
    schema_file: Option<PathBuf>,
    /// The VSchema: {"keyspaces": {…}, "routing_rules": …}, or an object from keyspace to its VSchema.
    #[arg(long, env = "SHARDGATE_VSCHEMA", value_name = "JSON")]
    vschema: Option<String>,
    /// A file with it.
    #[arg(long, env = "SHARDGATE_VSCHEMA_FILE", value_name = "FILE", conflicts_with = "vschema")]
    vschema_file: Option<PathBuf>,
    /// How many shards of equal size a sharded keyspace has.
    #[arg(long, env = "SHARDGATE_SHARDS", value_name = "N", default_value_t = 2)]
    shards: usize,
    /// The shards of single keyspaces: {"keyspace": {"-80": {}, "80-": {}}}.
    #[arg(long, env = "SHARDGATE_KS_SHARD_MAP", value_name = "JSON")]
    ks_shard_map: Option<String>,
    /// A file with them.
    #[arg(long, env = "SHARDGATE_KS_SHARD_MAP_FILE", value_name = "FILE", conflicts_with = "ks_shard_map")]
    ks_shard_map_file: Option<PathBuf>,
    /// The selected keyspace, or a target as in USE.
    #[arg(long, env = "SHARDGATE_DBNAME", value_name = "KEYSPACE")]
    pub(super) dbname: Option<String>,
    /// The form of the output.
    #[arg(long, env = "SHARDGATE_OUTPUT_MODE", value_name = "MODE", value_enum, default_value = "text")]
    pub(super) output_mode: OutputMode,
}

/// The kinds of routing rules, in the VSchema and in the topology file.
const RULES: [&str; 3] = ["routing_rules", "keyspace_routing_rules", "shard_routing_rules"];

/// What the gate is told of.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) keyspaces: Vec<Keyspace>,
    /// Routing rules, by kind.
    rules: Map<String, Json>,
}

/// One keyspace.
#[derive(Debug)]
pub(super) struct Keyspace {
    pub(super) name: String,
    vschema: Json,
    pub(super) tables: KeyspaceSchema,
    pub(super) shards: Vec<Shard>,
}

/// One shard.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) name: String,
    /// Its place among all shards, from 0.
    pub(super) number: usize,
    /// Its database. Only the first shard's is called like the keyspace: where any shard will do, the gate
    /// takes that one, and tells the same every time.
    pub(super) database: String,
}

// === impl Options ===

impl Options {
    /// The cluster and the statements.
    pub(super) fn read(&self) -> Result<(Cluster, String), String> {
        let statements = text("sql", self.sql.as_deref(), self.sql_file.as_deref())?;
        let statements = statements.ok_or("--sql or --sql-file is missing")?;
        let vschema = text("vschema", self.vschema.as_deref(), self.vschema_file.as_deref())?;
        let vschema = object("vschema", &vschema.ok_or("--vschema or --vschema-file is missing")?)?;
        let map = text("ks-shard-map", self.ks_shard_map.as_deref(), self.ks_shard_map_file.as_deref())?;
        let map = map.map(|map| object("ks-shard-map", &map)).transpose()?.unwrap_or_default();
        let (keyspaces, rules) = match vschema.get("keyspaces").and_then(Json::as_object) {
            Some(keyspaces) => {
                let rules = RULES.iter().filter_map(|kind| {
                    let rules = vschema.get(*kind).filter(|rules| !rules.is_null())?;
                    Some(((*kind).to_owned(), rules.clone()))
                });
                (keyspaces.clone(), rules.collect())
            }
            None => (vschema, Map::new()),
        };
        if keyspaces.is_empty() {
            return Err("--vschema: there is no keyspace in it".into());
        }
        if let Some((name, _)) = keyspaces.iter().find(|(_, vschema)| !vschema.is_object()) {
            return Err(format!("--vschema: {name} is no keyspace: {{\"keyspaces\": {{…}}}} is expected"));
        }
        let mut whole = rules.clone();
        whole.insert("keyspaces".to_owned(), keyspaces.clone().into());
        let whole = VSchema::from_json(&Json::from(whole).to_string(), 1)
            .map_err(|error| format!("--vschema: {error}"))?;
        if let Some(fault) = whole.keyspaces().find_map(crate::vschema::Keyspace::error) {
            return Err(format!("--vschema: {fault}"));
        }
        let mut schemas = self.schemas(&keyspaces)?;
        let mut all = Vec::new();
        let mut number = 0;
        for (name, vschema) in keyspaces {
            let sharded = vschema.get("sharded").and_then(Json::as_bool).unwrap_or_default();
            let names = match map.get(&name) {
                Some(shards) => mapped(&name, shards)?,
                None if sharded => shard_names(self.shards)
                    .ok_or_else(|| format!("--shards {}: from 1 to 65536 are possible", self.shards))?,
                None => vec!["0".to_owned()],
            };
            let shard = |(at, shard): (usize, String)| {
                let database = if at == 0 { name.clone() } else { format!("{name}_{shard}") };
                Shard { name: shard, number: number + at, database }
            };
            let shards: Vec<Shard> = names.into_iter().enumerate().map(shard).collect();
            number += shards.len();
            let tables = schemas.remove(&name).unwrap_or_default();
            all.push(Keyspace { name, vschema, tables, shards });
        }
        Ok((Cluster { keyspaces: all, rules }, statements))
    }

    /// The tables of each keyspace.
    fn schemas(&self, keyspaces: &Map<String, Json>) -> Result<BTreeMap<String, KeyspaceSchema>, String> {
        let whole = text("schema", self.schema.as_deref(), self.schema_file.as_deref())?;
        let whole = whole.ok_or("--schema or --schema-file is missing")?;
        let read = |text: &str| crate::schema::from_sql(text).map_err(|error| format!("--schema: {error}"));
        if let (true, Some(path)) = (whole.trim_start().starts_with('{'), &self.schema_file) {
            let folder = path.parent().unwrap_or(Path::new("."));
            let mut schemas = BTreeMap::new();
            for (name, file) in object("schema-file", &whole)? {
                if !keyspaces.contains_key(&name) {
                    return Err(format!("--schema-file: there is no keyspace {name} in the VSchema"));
                }
                let file = file.as_str().ok_or("--schema-file: a keyspace's file is not a string")?;
                let text = text("schema-file", None, Some(&folder.join(file)))?.unwrap_or_default();
                schemas.insert(name, read(&text)?);
            }
            return Ok(schemas);
        }
        // A table belongs to the keyspaces whose VSchema lists it, else to those that are not sharded.
        let all = read(&whole)?;
        let listed = |vschema: &Json| -> BTreeSet<String> {
            let tables = vschema.get("tables").and_then(Json::as_object);
            tables.map(|tables| tables.keys().cloned().collect()).unwrap_or_default()
        };
        let known: BTreeSet<String> = keyspaces.values().flat_map(listed).collect();
        let own = |(name, vschema): (&String, &Json)| {
            let mine = listed(vschema);
            let sharded = vschema.get("sharded").and_then(Json::as_bool).unwrap_or_default();
            let mut schema = all.clone();
            schema
                .tables
                .retain(|table, _| mine.contains(&**table) || (!sharded && !known.contains(&**table)));
            (name.clone(), schema)
        };
        Ok(keyspaces.iter().map(own).collect())
    }
}

fn mapped(keyspace: &str, shards: &Json) -> Result<Vec<String>, String> {
    let names: Vec<String> =
        shards.as_object().map(|shards| shards.keys().cloned().collect()).unwrap_or_default();
    if let [only] = names.as_slice()
        && !only.contains('-')
    {
        return Ok(names);
    }
    let order = validate_shards(&names).map_err(|error| format!("--ks-shard-map: {keyspace}: {error}"))?;
    Ok(order.into_iter().map(|at| names[at].clone()).collect())
}

fn text(flag: &str, text: Option<&str>, file: Option<&Path>) -> Result<Option<String>, String> {
    match (text, file) {
        (Some(text), _) => Ok(Some(text.to_owned())),
        (None, Some(path)) => {
            let read = fs::read_to_string(path);
            read.map(Some).map_err(|error| format!("--{flag}: {}: {error}", path.display()))
        }
        (None, None) => Ok(None),
    }
}

fn object(flag: &str, text: &str) -> Result<Map<String, Json>, String> {
    serde_json::from_str(text).map_err(|error| format!("--{flag}: {error}"))
}

// === impl Cluster ===

impl Cluster {
    /// Writes the topology file of a gate, and the VSchemas that it names.
    pub(super) fn write(&self, folder: &Path) -> Result<(), String> {
        use toml::{Table, Value};
        let save = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
        };
        let mut keyspaces = Table::new();
        for (at, keyspace) in self.keyspaces.iter().enumerate() {
            let file = format!("vschema-{at}.json");
            save(&file, &keyspace.vschema.to_string())?;
            let shard = |shard: &Shard| {
                let mut server = Table::new();
                server.insert("alias".into(), format!("vtexplain-{}", shard.number + 1).into());
                let socket = folder.join(format!("{}.sock", shard.number));
                server.insert("socket".into(), socket.display().to_string().into());
                server.insert("role".into(), "primary".into());
                server.insert("schema".into(), shard.database.clone().into());
                let mut table = Table::new();
                table.insert("name".into(), shard.name.clone().into());
                table.insert("servers".into(), Value::Array(vec![server.into()]));
                Value::Table(table)
            };
            let mut table = Table::new();
            table.insert("vschema".into(), file.into());
            table.insert("shards".into(), Value::Array(keyspace.shards.iter().map(shard).collect()));
            keyspaces.insert(keyspace.name.clone(), table.into());
        }
        let mut root = Table::new();
        root.insert("cells".into(), Value::Array(vec!["vtexplain".into()]));
        for (kind, rules) in &self.rules {
            let file = format!("{kind}.json");
            save(&file, &rules.to_string())?;
            root.insert(kind.clone(), file.into());
        }
        root.insert("keyspaces".into(), keyspaces.into());
        save("topology.toml", &root.to_string())
    }
}
