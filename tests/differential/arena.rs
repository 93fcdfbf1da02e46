//! Where do the gate and the plain server stand, and what lies in them?
//!
//! One plain server holds all the data, in one database per keyspace; another server holds the shards,
//! each in a database of its own. Both are started once. An [`Arena`] is a set of keyspaces on them
//! with a gate (`shardgate serve`) in front of the shards, which takes less than a second to start.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::gate::Gate;
use crate::ports::free_port;
use crate::server::{Family, Server};
use crate::wire::{Endpoint, Login, Reply, Wire, WireError};

/// The two servers of one family.
pub struct Servers {
    pub family: Family,
    plain: Server,
    shards: Server,
}

/// A keyspace to be set up.
#[derive(Debug, Clone, Default)]
pub struct Keyspace {
    pub name: String,
    /// Key ranges (`-80`); an unsharded keyspace has one shard of any name.
    pub shards: Vec<String>,
    /// Vitess's JSON.
    pub vschema: String,
    /// SQL that runs on every shard.
    pub schema: String,
    /// SQL that runs on the plain server.
    pub plain_schema: String,
}

/// Keyspaces with a gate in front of them, and the plain server beside it.
pub struct Arena<'a> {
    servers: &'a Servers,
    pub gate: Gate,
    databases: BTreeMap<String, Vec<String>>,
    _dir: TempDir,
}

/// The same login on the gate and on the plain server.
pub struct Pair {
    pub gate: Wire,
    pub direct: Wire,
}

// === impl Servers ===

impl Servers {
    /// Starts both.
    pub fn start(family: &Family) -> Result<Servers, String> {
        let (plain, shards) = std::thread::scope(|scope| {
            // Statistics that change by themselves change plans, and with them what a server says of columns.
            let options = ["--innodb-stats-auto-recalc=OFF"];
            let plain = scope.spawn(move || Server::start_with(family, &options));
            let shards = Server::start_with(family, &options);
            (plain.join().unwrap_or_else(|_| Err("the plain server's thread panicked".into())), shards)
        });
        let servers = Servers { family: family.clone(), plain: plain?, shards: shards? };
        servers.plain.create_user()?;
        servers.shards.create_user()?;
        // A statement that waits for a lock is a fault of the statements before it: it is told soon.
        for server in [&servers.plain, &servers.shards] {
            let mut root = server.root("").map_err(|error| error.to_string())?;
            run(&mut root, "SET GLOBAL innodb_lock_wait_timeout = 3")?;
        }
        Ok(servers)
    }

    /// Makes the keyspaces' databases anew on both servers and starts a gate.
    pub fn arena(&self, keyspaces: &[Keyspace], routing_rules: Option<&str>) -> Result<Arena<'_>, String> {
        let dir = tempfile::Builder::new()
            .prefix("shardgate-differential-")
            .tempdir()
            .map_err(|error| error.to_string())?;
        let mut topology = String::from("cells = [\"zone1\"]\n");
        if let Some(rules) = routing_rules {
            write_file(dir.path(), "rules.json", rules)?;
            topology.push_str("routing_rules = \"rules.json\"\n");
        }
        let mut databases = BTreeMap::new();
        let mut alias = 100;
        for keyspace in keyspaces {
            let file = format!("{}.json", keyspace.name);
            write_file(dir.path(), &file, &keyspace.vschema)?;
            let _ = write!(topology, "\n[keyspaces.\"{}\"]\nvschema = \"{file}\"\n", keyspace.name);
            let mut plain = self.plain.root("").map_err(|error| error.to_string())?;
            load(&mut plain, &keyspace.name, &keyspace.plain_schema)?;
            let mut names = Vec::new();
            let mut root = self.shards.root("").map_err(|error| error.to_string())?;
            for (number, shard) in keyspace.shards.iter().enumerate() {
                let database = format!("{}__{number}", keyspace.name);
                load(&mut root, &database, &keyspace.schema)?;
                let _ = write!(
                    topology,
                    "\n[[keyspaces.\"{}\".shards]]\nname = \"{shard}\"\n\n[[keyspaces.\"{}\".shards.servers]]\n\
                     alias = \"zone1-{alias}\"\nhost = \"127.0.0.1\"\nport = {}\nrole = \"primary\"\nschema = \"{database}\"\n",
                    keyspace.name, keyspace.name, self.shards.port
                );
                alias += 1;
                names.push(database);
            }
            databases.insert(keyspace.name.clone(), names);
        }
        write_file(dir.path(), "topology.toml", &topology)?;
        let (mysql, http) = (free_port(), free_port());
        let config = format!(
            "[listen]\naddress = \"127.0.0.1:{mysql}\"\n\n[http]\naddress = \"127.0.0.1:{http}\"\n\n\
             [topology]\nkind = \"file\"\npath = \"topology.toml\"\n\n[users]\nallow_any = true\n\n\
             [backend]\nuser = \"e2e\"\n"
        );
        write_file(dir.path(), "gate.toml", &config)?;
        let gate = Gate::serve(&dir.path().join("gate.toml"), mysql, http)?;
        Ok(Arena { servers: self, gate, databases, _dir: dir })
    }
}

// === impl Pair ===

impl Pair {
    /// Rolls back on both sides, so that no later session waits for a lock. A server ends the transaction of
    /// a connection that closes in its own time.
    pub fn end(&mut self) {
        for wire in [&mut self.gate, &mut self.direct] {
            // What has gone away holds no lock.
            let _ = wire.query("ROLLBACK");
        }
    }
}

// === impl Arena ===

impl Arena<'_> {
    /// Logs in to a keyspace on both sides.
    pub fn pair(&self, keyspace: &str) -> Result<Pair, WireError> {
        let login = Login::to(keyspace);
        let gate = self.gate.login(&login)?;
        let direct = Wire::connect(&Endpoint::Tcp(self.servers.plain.port), &login)?;
        Ok(Pair { gate, direct })
    }

    /// Runs a statement on every shard of a keyspace, past the gate, and on the plain server.
    pub fn everywhere(&self, keyspace: &str, sql: &str) -> Result<(), String> {
        let mut root = self.servers.shards.root("").map_err(|error| error.to_string())?;
        let names = self.databases.get(keyspace).ok_or_else(|| format!("no keyspace {keyspace}"))?;
        for database in names {
            run(&mut root, &format!("USE `{database}`"))?;
            run(&mut root, sql)?;
        }
        let mut plain = self.servers.plain.root(keyspace).map_err(|error| error.to_string())?;
        run(&mut plain, sql)
    }
}

/// Makes a database anew and runs its schema in it.
fn load(wire: &mut Wire, database: &str, schema: &str) -> Result<(), String> {
    run(wire, &format!("DROP DATABASE IF EXISTS `{database}`"))?;
    run(wire, &format!("CREATE DATABASE `{database}`"))?;
    run(wire, &format!("USE `{database}`"))?;
    run(wire, schema)
}

/// Runs statements; the first error ends it. Empty text is no statement.
pub fn run(wire: &mut Wire, sql: &str) -> Result<(), String> {
    let sql = sql.trim().trim_end_matches(';').trim_end();
    if sql.is_empty() {
        return Ok(());
    }
    let replies = wire.query(sql).map_err(|error| error.to_string())?;
    match replies.iter().find_map(Reply::error) {
        Some(error) => Err(format!("{error}\nin {}", sql.chars().take(2000).collect::<String>())),
        None => Ok(()),
    }
}

fn write_file(folder: &Path, name: &str, text: &str) -> Result<(), String> {
    let path = folder.join(name);
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}
