//! Which keyspaces, shards, databases and servers does a schema folder ask for?
//!
//! `DIR/<keyspace>/vschema.json` and `DIR/<keyspace>/*.sql`, as with Vitess's `vttestserver
//! --schema_dir`. Nothing is started here: the folder is read and checked, and the result says what
//! there will be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::key::shard_names;

/// How shards are spread over servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Servers {
    /// One server holds every shard, each in a database of its own.
    One,
    /// Every shard has its own server.
    PerShard,
}

/// What a development cluster consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The keyspaces, in name order.
    pub keyspaces: Vec<KeyspaceLayout>,
    /// `DIR/routing_rules.json`, if it is there.
    pub routing_rules: Option<PathBuf>,
    /// How many servers there are, replicas included.
    pub servers: usize,
    /// How many replicas each shard has.
    pub replicas: usize,
}

/// One keyspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyspaceLayout {
    /// Its name: the folder's.
    pub name: String,
    /// Its VSchema file, if there is one.
    pub vschema: Option<PathBuf>,
    /// Its schema files in name order, to be run on each shard.
    pub sql: Vec<PathBuf>,
    /// Its shards in order of their key ranges.
    pub shards: Vec<ShardLayout>,
}

/// One shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardLayout {
    /// `-80`, `0`, …
    pub name: String,
    /// The physical database.
    pub database: String,
    /// Which server holds it, counted from 0. Its replicas are the servers behind that one.
    pub server: usize,
}

/// The most replicas that a shard can have: aliases of neighbouring shards are 100 apart.
const REPLICAS: u32 = 20;

// === impl Layout ===

impl Layout {
    /// Reads a schema folder. `shards` says how many shards a sharded keyspace has; 2 unless told.
    ///
    /// # Errors
    /// What is wrong with the folder or with `shards`, in one line.
    pub fn read(
        dir: &Path,
        shards: &BTreeMap<String, usize>,
        servers: Servers,
        replicas: u32,
    ) -> Result<Self, String> {
        if replicas > 0 && servers == Servers::One {
            return Err("--replicas needs --servers per-shard".into());
        }
        if replicas > REPLICAS {
            return Err(format!("--replicas {replicas}: at most {REPLICAS} are possible"));
        }
        let replicas = replicas as usize;
        let mut keyspaces = Vec::new();
        let mut next_server = 0;
        for folder in sorted(dir)?.into_iter().filter(|path| path.is_dir()) {
            let Some(name) = folder.file_name().and_then(|name| name.to_str()).map(ToOwned::to_owned) else {
                return Err(format!("{}: the folder's name is not UTF-8", folder.display()));
            };
            if name.starts_with('.') {
                continue;
            }
            check_name(&name)?;
            let vschema = Some(folder.join("vschema.json")).filter(|path| path.is_file());
            let sharded = vschema.as_deref().map_or(Ok(false), is_sharded)?;
            let names = match (sharded, shards.get(&name)) {
                (false, None) => vec!["0".to_owned()],
                (false, Some(_)) => {
                    return Err(format!(
                        "--shards {name}=…: the VSchema of {name} does not say \"sharded\": true"
                    ));
                }
                (true, count) => {
                    let count = count.copied().unwrap_or(2);
                    shard_names(count)
                        .ok_or_else(|| format!("--shards {name}={count}: from 1 to 65536 are possible"))?
                }
            };
            let sql = sorted(&folder)?.into_iter().filter(|path| has_extension(path, "sql")).collect();
            let shards = place(&name, names, servers, 1 + replicas, &mut next_server);
            keyspaces.push(KeyspaceLayout { name, vschema, sql, shards });
        }
        if keyspaces.is_empty() {
            return Err(format!("{}: there is no keyspace folder in it", dir.display()));
        }
        if let Some(stranger) =
            shards.keys().find(|name| keyspaces.iter().all(|keyspace| keyspace.name != **name))
        {
            return Err(format!(
                "--shards {stranger}=…: there is no folder {}",
                dir.join(stranger).display()
            ));
        }
        let routing_rules = Some(dir.join("routing_rules.json")).filter(|path| path.is_file());
        let servers = if servers == Servers::One { 1 } else { next_server };
        Ok(Self { keyspaces, routing_rules, servers, replicas })
    }

    /// The topology file of this cluster; `sockets` has one path per server, `primary` tells which
    /// server of a shard takes writes.
    #[must_use]
    pub fn topology(&self, sockets: &[PathBuf], primary: impl Fn(&ShardLayout) -> usize) -> String {
        use toml::{Table, Value};
        let text = |path: &Path| Value::from(path.display().to_string());
        let mut keyspaces = Table::new();
        for keyspace in &self.keyspaces {
            let mut shards = Vec::new();
            for shard in &keyspace.shards {
                let primary = primary(shard);
                let mut servers = Vec::new();
                for index in shard.server..=shard.server + self.replicas {
                    let mut server = Table::new();
                    server.insert("alias".into(), format!("zone1-{}", self.uid(shard, index)).into());
                    if let Some(socket) = sockets.get(index) {
                        server.insert("socket".into(), text(socket));
                    }
                    let role = if index == primary { "primary" } else { "replica" };
                    server.insert("role".into(), role.into());
                    server.insert("schema".into(), shard.database.clone().into());
                    servers.push(server.into());
                }
                let mut table = Table::new();
                table.insert("name".into(), shard.name.clone().into());
                table.insert("servers".into(), Value::Array(servers));
                shards.push(Value::Table(table));
            }
            let mut table = Table::new();
            if let Some(path) = &keyspace.vschema {
                table.insert("vschema".into(), text(path));
            }
            table.insert("shards".into(), Value::Array(shards));
            keyspaces.insert(keyspace.name.clone(), table.into());
        }
        let mut root = Table::new();
        root.insert("cells".into(), Value::Array(vec!["zone1".into()]));
        if let Some(path) = &self.routing_rules {
            root.insert("routing_rules".into(), text(path));
        }
        root.insert("keyspaces".into(), keyspaces.into());
        root.to_string()
    }

    /// The number in the alias of one of a shard's servers: 100, 200, … for the first of each shard,
    /// and the numbers behind it for the others.
    #[must_use]
    pub fn uid(&self, shard: &ShardLayout, server: usize) -> usize {
        let all = self.keyspaces.iter().flat_map(|keyspace| &keyspace.shards);
        let before = all.take_while(|other| !std::ptr::eq(*other, shard)).count();
        100 * (before + 1) + (server - shard.server)
    }
}

/// In one server, the first shard's database is named like the keyspace, the others carry the
/// shard's name; a server of its own needs no such distinction.
fn place(
    keyspace: &str,
    names: Vec<String>,
    servers: Servers,
    each: usize,
    next_server: &mut usize,
) -> Vec<ShardLayout> {
    let mut shards = Vec::new();
    for (index, name) in names.into_iter().enumerate() {
        let (database, server) = match servers {
            Servers::One if index > 0 => (format!("{keyspace}_{name}"), 0),
            Servers::One => (keyspace.to_owned(), 0),
            Servers::PerShard => (keyspace.to_owned(), *next_server + index * each),
        };
        shards.push(ShardLayout { name, database, server });
    }
    *next_server += shards.len() * each;
    shards
}

/// Names that are a database name on every server and cannot be mistaken for a target string.
fn check_name(name: &str) -> Result<(), String> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    // 64 is MySQL's limit for a database name; a shard's name such as "_40-80" may follow.
    if !plain || name.len() > 48 {
        return Err(format!("\"{name}\" is not a keyspace name: letters, digits, _ and - only, at most 48"));
    }
    let system = ["mysql", "information_schema", "performance_schema", "sys"];
    if system.contains(&name.to_ascii_lowercase().as_str()) {
        return Err(format!("\"{name}\" is a system database and cannot be a keyspace"));
    }
    Ok(())
}

fn is_sharded(path: &Path) -> Result<bool, String> {
    let failed = |why: String| format!("{}: {why}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    match json.get("sharded") {
        None => Ok(false),
        Some(value) => value.as_bool().ok_or_else(|| failed("\"sharded\" is neither true nor false".into())),
    }
}

fn sorted(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
    let entries = std::fs::read_dir(dir).map_err(failed)?;
    let mut paths: Vec<_> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(failed)?;
    paths.sort();
    Ok(paths)
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::file::TopologyFile;

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (keyspace, vschema) in [("global", None), ("service", Some(r#"{"sharded": true}"#))] {
            let folder = dir.path().join(keyspace);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("2.sql"), "").unwrap();
            std::fs::write(folder.join("1.sql"), "").unwrap();
            if let Some(text) = vschema {
                std::fs::write(folder.join("vschema.json"), text).unwrap();
            }
        }
        dir
    }

    #[test]
    fn one_server_keeps_shards_in_databases() {
        let dir = folder();
        let shards = BTreeMap::from([("service".to_owned(), 4)]);
        let layout = Layout::read(dir.path(), &shards, Servers::One, 0).unwrap();
        assert_eq!(layout.servers, 1);
        let [global, service] = &layout.keyspaces[..] else { panic!("{layout:?}") };
        assert_eq!(global.shards, [ShardLayout { name: "0".into(), database: "global".into(), server: 0 }]);
        assert!(global.vschema.is_none());
        assert_eq!(global.sql, [dir.path().join("global/1.sql"), dir.path().join("global/2.sql")]);
        let databases: Vec<_> = service.shards.iter().map(|shard| shard.database.as_str()).collect();
        assert_eq!(databases, ["service", "service_40-80", "service_80-c0", "service_c0-"]);
    }

    #[test]
    fn every_shard_may_have_its_own_server() {
        let dir = folder();
        let layout = Layout::read(dir.path(), &BTreeMap::new(), Servers::PerShard, 0).unwrap();
        assert_eq!(layout.servers, 3);
        let service: Vec<_> =
            layout.keyspaces[1].shards.iter().map(|shard| (shard.database.as_str(), shard.server)).collect();
        assert_eq!(service, [("service", 1), ("service", 2)]);
    }

    #[test]
    fn the_topology_file_reads_back() {
        let dir = folder();
        let layout = Layout::read(dir.path(), &BTreeMap::new(), Servers::PerShard, 0).unwrap();
        let sockets = ["/a", "/b", "/c"].map(PathBuf::from);
        let file = TopologyFile::parse(&layout.topology(&sockets, |shard| shard.server), dir.path()).unwrap();
        let shards = &file.snapshot.keyspaces["service"].shards;
        assert_eq!(shards[1].primary().unwrap().address, crate::topology::Address::Unix("/c".into()));
        assert_eq!(file.vschemas["service"], dir.path().join("service/vschema.json"));
    }

    #[test]
    fn replicas_stand_behind_their_primary() {
        let dir = folder();
        let layout = Layout::read(dir.path(), &BTreeMap::new(), Servers::PerShard, 2).unwrap();
        assert_eq!(layout.servers, 9);
        let sockets: Vec<_> = (0..9).map(|index| PathBuf::from(format!("/{index}"))).collect();
        // The second server of service/80- has been promoted.
        let promoted =
            |shard: &ShardLayout| if shard.name == "80-" { shard.server + 1 } else { shard.server };
        let file = TopologyFile::parse(&layout.topology(&sockets, promoted), dir.path()).unwrap();
        let shard = &file.snapshot.keyspaces["service"].shards[1];
        let all: Vec<_> = shard
            .tablets
            .iter()
            .map(|tablet| (tablet.alias.uid, tablet.kind.as_str(), tablet.address.clone()))
            .collect();
        let at = |path: &str| crate::topology::Address::Unix(path.into());
        assert_eq!(all, [(300, "replica", at("/6")), (301, "primary", at("/7")), (302, "replica", at("/8"))]);
        let refused =
            |servers, replicas| Layout::read(dir.path(), &BTreeMap::new(), servers, replicas).unwrap_err();
        assert_eq!(refused(Servers::One, 1), "--replicas needs --servers per-shard");
        assert_eq!(refused(Servers::PerShard, 21), "--replicas 21: at most 20 are possible");
    }

    #[test]
    fn wrong_use_is_said_in_one_line() {
        let dir = folder();
        let read = |name: &str, count| {
            Layout::read(dir.path(), &BTreeMap::from([(name.to_owned(), count)]), Servers::One, 0)
                .unwrap_err()
        };
        assert!(read("nothing", 2).starts_with("--shards nothing=…: there is no folder"));
        assert!(read("global", 2).contains("does not say \"sharded\": true"));
        assert!(read("service", 0).contains("from 1 to 65536"));
        std::fs::write(dir.path().join("service/vschema.json"), "{").unwrap();
        assert!(read("service", 2).contains("vschema.json"));
        std::fs::create_dir(dir.path().join("MySQL")).unwrap();
        assert!(read("service", 2).contains("system database"));
    }
}
