//! What do all ordinary tests of one family share?
//!
//! One gate over the billing sample and the keyspaces of `tests/e2e/schema`, and one plain server
//! of the same family that holds the same schema and rows in one database per keyspace. A statement
//! is right when both answer the same.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::compare::Pair;
use crate::gate::{Dev, Gate};
use crate::process;
use crate::server::{Family, Server};
use crate::wire::{Endpoint, Login, Wire, WireError};

/// The sharded keyspace of the tests, in four shards.
pub const KEYSPACE: &str = "e2e";

/// How many rows the read-only tables hold.
pub const CUSTOMERS: u64 = 300;
pub const ORDERS_EACH: u64 = 3;
/// Rows of `flat`: times 7 · 7 · 7 countries they are a million.
pub const FLAT_ROWS: u64 = 2_916;

/// The rows of the reference table.
const COUNTRIES: &str = "INSERT INTO country (code, name) VALUES ('no', 'Norway'), ('fr', 'France'), ('jp', 'Japan'), \
    ('br', 'Brazil'), ('pl', 'Poland'), ('tr', 'Türkiye'), ('de', 'Germany')";

/// A gate and its judge.
pub struct Cluster {
    pub gate: Gate,
    pub direct: Server,
    _schema: TempDir,
}

/// The keyspaces of the tests.
pub fn schema_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/schema")
}

// === impl Cluster ===

impl Cluster {
    /// Starts both and loads the same rows into both.
    pub fn start(family: &Family) -> Result<Cluster, String> {
        let schema = merged_schema()?;
        let dev = Dev::new(family, schema.path())
            .shards("service=4")
            .shards("e2e=4")
            .shards("typed=4")
            .shards("sbtest=4");
        let (gate, direct) = std::thread::scope(|scope| {
            let direct = scope.spawn(|| plain_server(family));
            let gate = dev.start();
            let direct = direct.join().unwrap_or_else(|_| Err("the plain server's thread panicked".into()));
            (gate, direct)
        });
        let cluster = Cluster { gate: gate?, direct: direct?, _schema: schema };
        cluster.load().map_err(|error| format!("{error}\n{}", cluster.gate.log_tail()))?;
        Ok(cluster)
    }

    /// The same login to both.
    pub fn pair(&self) -> Pair {
        self.pair_as(&Login::to(KEYSPACE))
    }

    /// The same login to both, with everything chosen.
    pub fn pair_as(&self, login: &Login) -> Pair {
        let gate = self.gate.login(login).unwrap_or_else(|error| panic!("gate: {error}"));
        let direct = self.plain(login).unwrap_or_else(|error| panic!("direct: {error}"));
        Pair { gate, direct }
    }

    /// A login to the plain server over TCP.
    pub fn plain(&self, login: &Login) -> Result<Wire, WireError> {
        Wire::connect(&Endpoint::Tcp(self.direct.port), login)
    }

    /// A login to the server that holds the shards, and its shard databases of a keyspace.
    pub fn shards(&self, keyspace: &str) -> (Wire, Vec<String>) {
        let backends = self.gate.backends();
        let backend = backends.first().expect("a server under the gate");
        let socket = backend.socket.clone().expect("a server with a socket");
        let login = Login { user: "root".into(), ..Login::to("") };
        let mut wire = Wire::connect(&Endpoint::Unix(socket), &login).expect("root on the shards' server");
        let names = wire
            .rows(format!("SELECT schema_name FROM information_schema.schemata WHERE schema_name = '{keyspace}' OR schema_name LIKE '{keyspace}\\_%' ORDER BY 1"))
            .expect("the databases of the keyspace")
            .into_iter()
            .filter_map(|row| row.into_iter().next().flatten())
            .collect();
        (wire, names)
    }

    /// One number per shard, asked of the servers directly.
    pub fn per_shard(&self, keyspace: &str, query: impl Fn(&str) -> String) -> Vec<u64> {
        let (mut wire, databases) = self.shards(keyspace);
        databases
            .iter()
            .map(|database| {
                let value = wire.value(query(database)).unwrap_or_else(|error| panic!("{database}: {error}"));
                value.and_then(|text| text.parse().ok()).unwrap_or(0)
            })
            .collect()
    }

    /// Stops both; the gate must exit with 0 and leave no server.
    pub fn stop(self) -> Result<(), String> {
        let (status, left) = self.gate.stop();
        if !left.is_empty() {
            return Err(format!("the gate left its servers {left:?} running"));
        }
        match status {
            Some(status) if status.success() => Ok(()),
            other => Err(format!("SIGTERM ended the gate with {other:?}")),
        }
    }

    fn load(&self) -> Result<(), String> {
        let mut gate = self.gate.connect(KEYSPACE).map_err(|error| format!("gate: {error}"))?;
        let mut direct = self.plain(&Login::to(KEYSPACE)).map_err(|error| format!("direct: {error}"))?;
        for statement in rows() {
            let head: String = statement.chars().take(80).collect();
            gate.ok(&statement).map_err(|error| format!("gate: {head}: {error}"))?;
            direct.ok(&statement).map_err(|error| format!("direct: {head}: {error}"))?;
        }
        // A reference table stands on every shard; whoever owns its rows writes them there.
        direct.ok(COUNTRIES).map_err(|error| format!("direct: {error}"))?;
        for shard in ["-40", "40-80", "80-c0", "c0-"] {
            gate.ok(format!("use `{KEYSPACE}:{shard}`")).map_err(|error| format!("gate: {error}"))?;
            gate.ok(COUNTRIES).map_err(|error| format!("gate: {shard}: {error}"))?;
        }
        Ok(())
    }
}

/// The billing sample and the tests' own keyspaces in one folder.
fn merged_schema() -> Result<TempDir, String> {
    let dir = tempfile::Builder::new()
        .prefix("shardgate-e2e-schema-")
        .tempdir()
        .map_err(|error| error.to_string())?;
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/billing");
    for source in [sample, schema_dir()] {
        for entry in fs::read_dir(&source).map_err(|error| format!("{}: {error}", source.display()))? {
            let path = entry.map_err(|error| error.to_string())?.path();
            if path.is_dir() {
                let mut copy = std::process::Command::new("cp");
                copy.arg("-r").arg(&path).arg(dir.path());
                process::run(&mut copy, "", std::time::Duration::from_secs(10))?;
            }
        }
    }
    Ok(dir)
}

/// A server with the tests' keyspaces as plain databases.
fn plain_server(family: &Family) -> Result<Server, String> {
    let server = Server::start(family)?;
    server.create_user()?;
    let mut root = server.root("").map_err(|error| error.to_string())?;
    for keyspace in [KEYSPACE, "typed", "lone", "sbtest"] {
        root.ok(format!("CREATE DATABASE {keyspace}")).map_err(|error| error.to_string())?;
        root.command(crate::wire::COM_INIT_DB, keyspace.as_bytes()).map_err(|error| error.to_string())?;
        let folder = schema_dir().join(keyspace);
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
            .collect();
        files.sort();
        for file in files {
            let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
            for reply in
                root.query(text.trim_end().trim_end_matches(';')).map_err(|error| error.to_string())?
            {
                if let Some(error) = reply.error() {
                    return Err(format!("{}: {error}", file.display()));
                }
            }
        }
    }
    Ok(server)
}

/// The rows of the read-only tables: the same every time, unlike enough to sort and group.
fn rows() -> Vec<String> {
    let cities = ["Oslo", "Lyon", "Kyōto", "São Paulo", "Łódź", "Ağrı", "oslo", "Ulm"];
    let mut customers =
        String::from("INSERT INTO customer (id, name, email, city, balance, born, note, score) VALUES ");
    let mut orders = String::from("INSERT INTO orders (id, customer_id, amount, status, placed) VALUES ");
    let mut people = String::from("INSERT INTO person (name, age, motto) VALUES ");
    for id in 1..=CUSTOMERS {
        let comma = if id == 1 { "" } else { ", " };
        // A multiplier of Knuth's spreads the values without a pattern that sorts by id.
        let mix = id.wrapping_mul(2654435761) % 100_003;
        let city = cities[(mix % 8) as usize];
        let email = if mix % 7 == 0 { "NULL".into() } else { format!("'c{id}@example.net'") };
        let note = if mix % 5 == 0 { "NULL".into() } else { format!("'note {}'", mix % 13) };
        let _ = write!(
            customers,
            "{comma}({id}, 'name{:03}', {email}, '{city}', {}.{:02}, '19{:02}-{:02}-{:02}', {note}, {})",
            mix % 250,
            mix % 5000,
            mix % 100,
            50 + mix % 50,
            1 + mix % 12,
            1 + mix % 28,
            (mix % 2001) as f64 / 8.0 - 100.0,
        );
        for n in 0..ORDERS_EACH {
            let comma = if id == 1 && n == 0 { "" } else { ", " };
            let order = id * 10 + n;
            let mix = order.wrapping_mul(2654435761) % 100_003;
            let status = ["new", "paid", "sent"][(mix % 3) as usize];
            let _ = write!(
                orders,
                "{comma}({order}, {id}, {}.{:02}, '{status}', '2026-0{}-{:02} 10:{:02}:00')",
                mix % 900,
                mix % 100,
                1 + mix % 9,
                1 + mix % 28,
                mix % 60,
            );
        }
        let comma = if id == 1 { "" } else { ", " };
        let _ = write!(people, "{comma}('person {id}', {}, 'm{}')", mix % 90, mix % 17);
    }
    let mut flat = String::from("INSERT INTO flat (id, pad) VALUES ");
    for id in 1..=FLAT_ROWS {
        let comma = if id == 1 { "" } else { ", " };
        let _ = write!(flat, "{comma}({id}, '{id:060}')");
    }
    vec![customers, orders, people, flat]
}
