//! What do the tests of one family stand on: servers, shards, gates, cutters?
//!
//! Three servers hold four shards of one keyspace; two shards share a server. Every gate reaches every
//! server through a cutter of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::cutter::Cutter;
use crate::ports::free_port;
use crate::process::{self, Process, poll};
use crate::server::{Family, Kind, Server};
use crate::wire::{Endpoint, Login, Wire, WireError};

/// Name, server and database of each shard.
pub const SHARDS: [(&str, usize, &str); 4] =
    [("-40", 0, "bank"), ("40-80", 1, "bank"), ("80-c0", 2, "bank_c"), ("c0-", 2, "bank_d")];

/// What every account begins with.
pub const BALANCE: i64 = 1_000;

/// Accounts per shard.
pub const ACCOUNTS: usize = 8;

/// Lists per shard.
const LISTS: usize = 2;

/// How old a branch must be for recovery, in the gates of the tests.
pub const ABANDON_AGE: Duration = Duration::from_millis(1_500);

/// How long anything may take that must happen; the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Servers, shards and accounts.
pub struct Bed {
    pub servers: Vec<Server>,
    /// Account ids by shard.
    pub accounts: [Vec<u64>; 4],
    dir: TempDir,
}

/// One gate that may die, and its cutters, one per server.
pub struct Gate {
    name: String,
    process: Option<Process>,
    pub cutters: Vec<Arc<Cutter>>,
    pub mysql: u16,
    http: u16,
    dir: PathBuf,
    /// Log files of its lives.
    pub log: PathBuf,
}

// === impl Bed ===

impl Bed {
    pub fn start(family: &Family) -> Result<Bed, String> {
        let mut options = vec!["--innodb-flush-log-at-trx-commit=2", "--innodb-lock-wait-timeout=3"];
        if family.kind == Kind::MySql {
            // Lock waits are told there.
            options.extend(["--innodb-redo-log-capacity=32M", "--performance-schema=ON"]);
        }
        let servers = std::thread::scope(|scope| {
            let starting: Vec<_> =
                (0..3).map(|_| scope.spawn(|| Server::start_with(family, &options))).collect();
            let started = starting
                .into_iter()
                .map(|one| one.join().unwrap_or_else(|_| Err("a server's thread panicked".to_owned())));
            started.collect::<Result<Vec<_>, _>>()
        })?;
        for server in &servers {
            let mut root = server.root("").map_err(|error| error.to_string())?;
            for statement in ["CREATE USER gate@'%'", "GRANT ALL ON *.* TO gate@'%'"] {
                root.ok(statement).map_err(|error| format!("{statement}: {error}"))?;
            }
        }
        let dir = tempfile::Builder::new()
            .prefix("shardgate-atomicity-")
            .tempdir()
            .map_err(|error| error.to_string())?;
        let mut bed = Bed { servers, accounts: Default::default(), dir };
        bed.make_tables()?;
        Ok(bed)
    }

    fn make_tables(&mut self) -> Result<(), String> {
        let vschema = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}}, "tables": {
            "account": {"column_vindexes": [{"column": "id", "name": "hash"}]},
            "led": {"column_vindexes": [{"column": "id", "name": "hash"}]},
            "list": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#;
        std::fs::write(self.dir.path().join("vschema.json"), vschema).map_err(|error| error.to_string())?;
        for (_, server, database) in SHARDS {
            let mut root = self.root(server);
            for statement in [
                format!("CREATE DATABASE {database}"),
                format!(
                    "CREATE TABLE {database}.account (id BIGINT UNSIGNED PRIMARY KEY, balance BIGINT NOT NULL)"
                ),
                format!(
                    "CREATE TABLE {database}.led (id BIGINT UNSIGNED, t VARCHAR(40), delta BIGINT NOT NULL, \
                     parts INT NOT NULL, PRIMARY KEY (id, t))"
                ),
                format!(
                    "CREATE TABLE {database}.list (id BIGINT UNSIGNED PRIMARY KEY, items MEDIUMTEXT NOT NULL)"
                ),
            ] {
                root.ok(&statement).map_err(|error| format!("{statement}: {error}"))?;
            }
        }
        // The gate spreads them; the servers say where they are.
        let gate = self.gate("loader")?;
        let mut wire = gate.connect().map_err(|error| error.to_string())?;
        let rows: Vec<String> = (1..=120).map(|id| format!("({id}, 0)")).collect();
        wire.ok(format!("INSERT INTO account (id, balance) VALUES {}", rows.join(", ")))
            .map_err(|error| error.to_string())?;
        drop((wire, gate));
        for (at, (_, server, database)) in SHARDS.into_iter().enumerate() {
            let mut root = self.root(server);
            let rows = root.rows(format!("SELECT id FROM {database}.account ORDER BY id LIMIT {ACCOUNTS}"));
            let rows = rows.map_err(|error| error.to_string())?;
            self.accounts[at] = rows.iter().filter_map(|row| row[0].as_ref()?.parse().ok()).collect();
            assert_eq!(self.accounts[at].len(), ACCOUNTS, "accounts on every shard");
        }
        self.reset();
        Ok(())
    }

    /// The accounts as in the beginning, and an empty ledger.
    pub fn reset(&self) {
        for (at, (_, server, database)) in SHARDS.into_iter().enumerate() {
            let mut root = self.root(server);
            let ids: Vec<String> = self.accounts[at].iter().map(u64::to_string).collect();
            for statement in [
                format!("DELETE FROM {database}.account WHERE id NOT IN ({})", ids.join(", ")),
                format!("UPDATE {database}.account SET balance = {BALANCE}"),
                format!("DELETE FROM {database}.led"),
                format!("DELETE FROM {database}.list"),
                format!("INSERT INTO {database}.list SELECT id, '' FROM {database}.account LIMIT {LISTS}"),
            ] {
                root.ok(&statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
            }
        }
    }

    /// Root on a server, past the cutters.
    pub fn root(&self, server: usize) -> Wire {
        poll(PATIENCE, || self.servers[server].root("").ok()).expect("root")
    }

    /// A gate over all servers.
    pub fn gate(&self, name: &str) -> Result<Gate, String> {
        let cutters: Vec<Arc<Cutter>> =
            self.servers.iter().map(|server| Arc::new(Cutter::new(server.port))).collect();
        let dir = self.dir.path().join(name);
        std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
        let mut topology = String::from("[keyspaces.bank]\nvschema = \"../vschema.json\"\n");
        for (at, (shard, server, database)) in SHARDS.into_iter().enumerate() {
            let _ = write!(
                topology,
                "[[keyspaces.bank.shards]]\nname = \"{shard}\"\n[[keyspaces.bank.shards.servers]]\n\
                 alias = \"zone1-{}\"\nhost = \"127.0.0.1\"\nport = {}\nrole = \"primary\"\nschema = \"{database}\"\n",
                100 + at,
                cutters[server].port
            );
        }
        let path = dir.join("topology.toml");
        std::fs::write(&path, topology).map_err(|error| error.to_string())?;
        Gate::configured(name, dir, &path, "gate", cutters)
    }

    /// Our prepared branches on all servers, as (server, branch).
    pub fn prepared(&self) -> Vec<(usize, String)> {
        let mut all = Vec::new();
        for server in 0..self.servers.len() {
            let rows = self.root(server).rows("XA RECOVER").expect("XA RECOVER");
            all.extend(rows.into_iter().filter_map(|row| Some((server, row[3].clone()?))));
        }
        all
    }

    /// Waits until nothing is prepared and no row is locked; how long that took.
    pub fn settle(&self) -> Duration {
        let begin = Instant::now();
        let settled = poll(PATIENCE, || {
            if !self.prepared().is_empty() {
                return None;
            }
            for (_, server, database) in SHARDS {
                let mut root = self.root(server);
                root.ok("SET innodb_lock_wait_timeout = 1").ok()?;
                root.rows(format!("SELECT * FROM {database}.account FOR UPDATE")).ok()?;
                root.rows(format!("SELECT * FROM {database}.led FOR UPDATE")).ok()?;
            }
            Some(())
        });
        assert!(settled.is_some(), "still prepared after {PATIENCE:?}: {:?}", self.prepared());
        begin.elapsed()
    }

    /// The ledger's rows: transaction → (sum of its deltas, its rows, rows that it should have).
    pub fn ledger(&self) -> BTreeMap<String, (i64, i64, i64)> {
        let mut all = BTreeMap::new();
        for (_, server, database) in SHARDS {
            let rows =
                self.root(server).rows(format!("SELECT t, delta, parts FROM {database}.led")).expect("led");
            for row in rows {
                let number = |at: usize| {
                    row[at].as_deref().and_then(|text| text.parse::<i64>().ok()).expect("a number")
                };
                let entry = all.entry(row[0].clone().expect("t")).or_insert((0, 0, 0));
                entry.0 += number(1);
                entry.1 += 1;
                entry.2 = number(2);
            }
        }
        all
    }

    /// The lists by their keys, as they are stored.
    pub fn lists(&self) -> BTreeMap<u64, String> {
        let all = SHARDS.into_iter().flat_map(|(_, server, database)| {
            self.root(server).rows(format!("SELECT id, items FROM {database}.list")).expect("lists")
        });
        all.map(|row| {
            let key = row[0].as_deref().and_then(|text| text.parse().ok()).expect("a key");
            (key, row[1].clone().expect("items"))
        })
        .collect()
    }

    /// The sum of all balances.
    pub fn total(&self) -> i64 {
        let sum = |(_, server, database): (&str, usize, &str)| {
            let sum = self.root(server).value(format!("SELECT SUM(balance) FROM {database}.account"));
            sum.expect("sum").and_then(|text| text.parse::<i64>().ok()).expect("a number")
        };
        SHARDS.into_iter().map(sum).sum()
    }

    pub fn expected_total() -> i64 {
        BALANCE * i64::try_from(ACCOUNTS * SHARDS.len()).expect("small")
    }
}

// === impl Gate ===

impl Gate {
    /// A gate over this topology file, which logs in to the servers as `user`.
    pub fn configured(
        name: &str,
        dir: PathBuf,
        topology: &Path,
        user: &str,
        cutters: Vec<Arc<Cutter>>,
    ) -> Result<Gate, String> {
        std::fs::create_dir_all(dir.join("failpoints")).map_err(|error| error.to_string())?;
        let (mysql, http) = (free_port(), free_port());
        let config = format!(
            "[listen]\naddress = \"127.0.0.1:{mysql}\"\n[http]\naddress = \"127.0.0.1:{http}\"\n\
             [topology]\npath = \"{}\"\n[users]\nallow_any = true\n\
             [backend]\nuser = \"{user}\"\npool_size = 40\nconnect_timeout = \"2s\"\nqueue_timeout = \"5s\"\n\
             [transaction]\nmode = \"twopc\"\ntwopc_abandon_age = \"{}ms\"\ntwopc_scan_interval = \"400ms\"\n\
             twopc_decide_timeout = \"3s\"\n[log]\nlevel = \"info\"\n\
             [shutdown]\nlame_duck = \"0s\"\ngrace = \"100ms\"\nhard = \"1s\"\n",
            topology.display(),
            ABANDON_AGE.as_millis()
        );
        std::fs::write(dir.join("gate.toml"), config).map_err(|error| error.to_string())?;
        let log = dir.join("log");
        let mut gate = Gate { name: name.to_owned(), process: None, cutters, mysql, http, dir, log };
        gate.start()?;
        Ok(gate)
    }

    /// Starts it (again).
    pub fn start(&mut self) -> Result<(), String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shardgate"));
        command
            .args(["serve", "--config"])
            .arg(self.dir.join("gate.toml"))
            .env("SHARDGATE_FAILPOINTS", self.dir.join("failpoints"));
        let mut process = Process::start(&self.name, &mut command, &self.log)?;
        let line = process.line(PATIENCE)?;
        if !line.starts_with("ready") {
            return Err(format!("{}: {line}", self.name));
        }
        self.process = Some(process);
        Ok(())
    }

    /// `shardgate ctl` with this gate's configuration.
    pub fn ctl(&self, arguments: &[&str]) -> process::Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shardgate"));
        command.args(["ctl", "--config"]).arg(self.dir.join("gate.toml")).args(arguments);
        process::run(&mut command, "", PATIENCE).expect("ctl runs")
    }

    pub fn pid(&self) -> i32 {
        self.process.as_ref().expect("a living gate").pid()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Waits until it has died by itself.
    pub fn died(&mut self) -> bool {
        let process = self.process.as_mut().expect("a gate");
        poll(PATIENCE, || (!process.running()).then_some(())).is_some()
    }

    pub fn is_alive(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::running)
    }

    /// SIGTERM, and its end.
    pub fn terminate(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.terminate(Duration::from_secs(20));
        }
    }

    pub fn connect(&self) -> Result<Wire, WireError> {
        Wire::connect(&Endpoint::Tcp(self.mysql), &Login::to("bank"))
    }

    fn failpoint(&self, name: &str) -> PathBuf {
        self.dir.join("failpoints").join(name)
    }

    /// The next one to reach the step does this: `kill`, `stop` or `wait`.
    pub fn arm(&self, step: &str, action: &str) {
        self.disarm(step);
        // Written aside and renamed: nobody reads half of it.
        let fresh = self.failpoint(&format!("{step}.new"));
        std::fs::write(&fresh, action).expect("a failpoint");
        std::fs::rename(&fresh, self.failpoint(step)).expect("a failpoint");
    }

    pub fn disarm(&self, step: &str) {
        for name in [step.to_owned(), format!("{step}.hit"), format!("{step}.go")] {
            let _ = std::fs::remove_file(self.failpoint(&name));
        }
    }

    /// Waits until the step is reached.
    pub fn reached(&self, step: &str) {
        let hit = self.failpoint(&format!("{step}.hit"));
        assert!(
            poll(PATIENCE, || hit.exists().then_some(())).is_some(),
            "{step} was not reached\n{}",
            self.log_tail()
        );
    }

    pub fn was_reached(&self, step: &str) -> bool {
        self.failpoint(&format!("{step}.hit")).exists()
    }

    /// Lets a step go on that waits.
    pub fn go(&self, step: &str) {
        std::fs::write(self.failpoint(&format!("{step}.go")), "").expect("a failpoint");
    }

    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// A metric's value.
    pub fn metric(&self, name: &str) -> Option<f64> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.http)).ok()?;
        write!(stream, "GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }
}
