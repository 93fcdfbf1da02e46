//! Does `ctl PlannedReparentShard` switch a shard of replicating servers under two gates over etcd, and does
//! a gate that is killed take only its own connections with it?

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shardgate::topology::directory::Directory;

use crate::PATIENCE;
use crate::ctl::Ctl;
use crate::etcd::Etcd;
use crate::gate::{Gate, connect};
use crate::ports::free_port;

/// One primary with two replicas, made by `shardgate dev`.
pub(crate) struct Servers {
    child: Child,
    data: tempfile::TempDir,
    _schema: tempfile::TempDir,
}

/// Keyspace main over such servers in an etcd of its own: zone1-100 is the primary.
pub(crate) struct Bed {
    pub(crate) mariadb: bool,
    pub(crate) etcd: Etcd,
    pub(crate) ctl: Ctl,
    /// Connections as root, by tablet.
    pub(crate) roots: Vec<Conn>,
    /// Ports, by tablet.
    pub(crate) ports: Vec<u16>,
    servers: Servers,
}

/// What the writers of one gate saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) acknowledged: Vec<i64>,
    pub(crate) failed: Vec<(i64, mysql_async::Error)>,
}

/// Writers of one gate.
pub(crate) struct Writers {
    seen: Arc<Mutex<Seen>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

pub(crate) const WRITERS: usize = 8;

/// Exactly what README says that the account needs.
fn privileges(mariadb: bool) -> &'static str {
    if mariadb {
        "READ_ONLY ADMIN, REPLICATION SLAVE ADMIN, REPLICATION MASTER ADMIN, CONNECTION ADMIN, SLAVE MONITOR, \
         BINLOG MONITOR, PROCESS, RELOAD"
    } else {
        "SYSTEM_VARIABLES_ADMIN, REPLICATION_SLAVE_ADMIN, CONNECTION_ADMIN, REPLICATION CLIENT, PROCESS, RELOAD"
    }
}

impl Servers {
    fn start(program: &str) -> Self {
        let (data, schema) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let keyspace = schema.path().join("main");
        std::fs::create_dir(&keyspace).unwrap();
        std::fs::write(keyspace.join("vschema.json"), r#"{"tables": {"m": {}}}"#).unwrap();
        std::fs::write(keyspace.join("m.sql"), "CREATE TABLE m (id BIGINT PRIMARY KEY);\n").unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_shardgate"))
            .args([
                "dev",
                "--servers",
                "per-shard",
                "--replicas",
                "2",
                "--http-port",
                "0",
                "--mysqld",
                program,
            ])
            .args(["--mysql-port", &free_port().to_string()])
            .arg("--schema-dir")
            .arg(schema.path())
            .arg("--data-dir")
            .arg(data.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("ready "), "{line}");
        Self { child, data, _schema: schema }
    }

    /// Each server's connection as root, the primary first.
    async fn roots(&self) -> Vec<Conn> {
        let text = std::fs::read_to_string(self.data.path().join("topology.toml")).unwrap();
        let topology: toml::Table = text.parse().unwrap();
        let servers = topology["keyspaces"]["main"]["shards"][0]["servers"].as_array().unwrap().clone();
        let is_replica = |server: &toml::Value| server["role"].as_str() != Some("primary");
        let mut servers = servers;
        servers.sort_by_key(is_replica);
        let mut roots = Vec::new();
        for server in servers {
            let path = self.data.path().join(Path::new(server["socket"].as_str().unwrap()));
            let options = OptsBuilder::default().user(Some("root")).socket(Some(path.display().to_string()));
            roots.push(Conn::new(options).await.unwrap());
        }
        roots
    }

    fn replication_password(&self) -> String {
        let text = std::fs::read_to_string(self.data.path().join("ctl.toml")).unwrap();
        let config: toml::Table = text.parse().unwrap();
        config["reparent"]["replication_password"].as_str().unwrap().to_owned()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

impl Writers {
    pub(crate) fn start(port: u16, next: &Arc<AtomicI64>, stop: &Arc<AtomicBool>) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let tasks = (0..WRITERS).map(|_| {
            let (seen, next, stop) = (Arc::clone(&seen), Arc::clone(next), Arc::clone(stop));
            tokio::spawn(async move {
                let mut client = connect(port, "someone", "main").await;
                while !stop.load(Ordering::Relaxed) {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    let done = client.query_drop(format!("INSERT INTO m (id) VALUES ({id})")).await;
                    let lost = matches!(&done, Err(error) if !matches!(error, mysql_async::Error::Server(_)));
                    match done {
                        Ok(()) => seen.lock().unwrap().acknowledged.push(id),
                        Err(error) => seen.lock().unwrap().failed.push((id, error)),
                    }
                    if lost {
                        return;
                    }
                    // Slow enough for any replica.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            })
        });
        let tasks = tasks.collect();
        Self { seen, tasks }
    }

    /// Waits until so many more rows are acknowledged.
    pub(crate) async fn more(&self, wanted: usize) {
        let count = || self.seen.lock().unwrap().acknowledged.len();
        let (then, since) = (count(), Instant::now());
        while count() < then + wanted {
            assert!(since.elapsed() < PATIENCE, "the writers stand still");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn errors(&self) -> Vec<String> {
        self.seen.lock().unwrap().failed.iter().map(|(id, error)| format!("{id}: {error}")).collect()
    }

    pub(crate) async fn end(self) -> Seen {
        for task in self.tasks {
            task.await.unwrap();
        }
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_switch_under_two_gates() {
    for program in crate::programs("planned switches over etcd") {
        switch(&program).await;
    }
}

impl Bed {
    pub(crate) async fn start(program: &str) -> Self {
        let servers = Servers::start(program);
        let mut roots = servers.roots().await;
        let mariadb = program.contains("maria");
        let monitor = if mariadb { "SLAVE MONITOR" } else { "REPLICATION CLIENT" };
        for statement in [
            "CREATE USER gate@'127.0.0.1'",
            "GRANT ALL ON main.* TO gate@'127.0.0.1'",
            &format!("GRANT {monitor} ON *.* TO gate@'127.0.0.1'"),
            "CREATE USER switch@'127.0.0.1'",
            &format!("GRANT {} ON *.* TO switch@'127.0.0.1'", privileges(mariadb)),
        ] {
            roots[0].query_drop(statement).await.unwrap();
        }
        let etcd = Etcd::start();
        let ctl = Ctl::new(&settings(&etcd, &servers, ""));
        ctl.ok(&["AddCellInfo", "zone1", "--root", "/vitess/zone1"]);
        ctl.ok(&["CreateKeyspace", "main"]);
        ctl.ok(&["CreateShard", "main/0"]);
        let mut ports = Vec::new();
        for (at, root) in roots.iter_mut().enumerate() {
            let port: u16 = root.query_first("SELECT @@port").await.unwrap().unwrap();
            ports.push(port);
            let (alias, port) = (format!("zone1-{}", 100 + at), port.to_string());
            let kind = if at == 0 { "primary" } else { "replica" };
            let tablet = ["--host", "127.0.0.1", "--port", &port, "--type", kind, "--schema", "main"];
            ctl.ok(&[&["AddTablet", &alias, "main/0"], &tablet[..]].concat());
        }
        ctl.ok(&["ApplyVSchema", "main", "--vschema", r#"{"tables": {"m": {}}}"#]);
        Self { mariadb, etcd, ctl, roots, ports, servers }
    }
}

/// What `ctl` needs, and more for `[topology]`.
fn settings(etcd: &Etcd, servers: &Servers, more: &str) -> String {
    format!(
        "kind = \"etcd\"\nendpoints = [\"{}\"]\nrequest_timeout = \"60s\"\n{more}[backend]\nuser = \"gate\"\n[reparent]\n\
         user = \"switch\"\nreplication_user = \"shardgate_replication\"\nreplication_password = \"{}\"\n",
        etcd.endpoint(),
        servers.replication_password()
    )
}

async fn switch(program: &str) {
    let mut bed = Bed::start(program).await;
    let (etcd, ctl) = (&bed.etcd, &bed.ctl);
    let backend = "user = \"gate\"";
    let (first, second) = (Gate::start_as(etcd, backend), Gate::start_as(etcd, backend));
    let (next, stop) = (Arc::new(AtomicI64::new(1)), Arc::new(AtomicBool::new(false)));
    let one = Writers::start(first.port, &next, &stop);
    let other = Writers::start(second.port, &next, &stop);
    one.more(50).await;
    other.more(50).await;
    // Somebody else works on the shard.
    let directory = Directory::open(&etcd.settings(), None).unwrap();
    let lock = directory.lock_shard("main", "0", "a test").await.unwrap();
    let hurried = Ctl::new(&settings(etcd, &bed.servers, "lock_timeout = \"1s\"\n"));
    let said = hurried.say(&["PlannedReparentShard", "main/0"]);
    assert!(said.code == Some(1) && said.stderr.contains("a test"), "{}", said.stderr);
    lock.release().await.unwrap();
    // The switch, seen in the records, at both gates and by their clients: by nobody.
    let told = ctl.ok(&["PlannedReparentShard", "main/0", "--new-primary", "zone1-101"]);
    assert_eq!(told["promoted_primary"]["uid"], 101, "{told}");
    assert_eq!(told["not_following"], serde_json::json!([]), "{told}");
    eprintln!("{program}: without a primary for {} ms: {}", told["standstill_ms"], told["parts_ms"]);
    assert_eq!(ctl.ok(&["GetShard", "main/0"])["shard"]["primary_alias"]["uid"], 101);
    assert_eq!(ctl.ok(&["GetTablet", "zone1-101"])["type"], "PRIMARY");
    assert_eq!(ctl.ok(&["GetTablet", "zone1-100"])["type"], "REPLICA");
    assert_eq!(ctl.ok(&["ValidateShard", "main/0"])["results"], serde_json::json!([]));
    one.more(50).await;
    other.more(50).await;
    assert_eq!((one.errors(), other.errors()), (Vec::new(), Vec::new()));
    // One gate dies: its own clients lose their connections, those of the other notice nothing.
    drop(first);
    other.more(100).await;
    let told = ctl.ok(&["PlannedReparentShard", "main/0", "--avoid-primary", "zone1-101"]);
    assert_ne!(told["promoted_primary"]["uid"], 101, "{told}");
    other.more(50).await;
    // With one replica: while the records are written there is a moment without any.
    let third = if told["promoted_primary"]["uid"] == 100 { 102 } else { 100 };
    ctl.ok(&["DeleteTablets", &format!("zone1-{third}")]);
    let told = ctl.ok(&["PlannedReparentShard", "main/0"]);
    assert_eq!(told["promoted_primary"]["uid"], 101, "{told}");
    other.more(50).await;
    // The third one comes back, and follows whoever is the primary now.
    let port = bed.ports[third - 100].to_string();
    let tablet = ["--host", "127.0.0.1", "--port", &port, "--schema", "main"];
    ctl.ok(&[&["AddTablet", &format!("zone1-{third}"), "main/0"], &tablet[..]].concat());
    let told = ctl.ok(&["PlannedReparentShard", "main/0", "--new-primary", "zone1-101"]);
    assert_eq!(told["not_following"], serde_json::json!([]), "{told}");
    stop.store(true, Ordering::Relaxed);
    let (one, other) = (one.end().await, other.end().await);
    assert!(other.failed.is_empty(), "{:?}", other.failed.first());
    assert!(one.failed.len() <= WRITERS, "one error for each connection: {:?}", one.failed);
    for (id, error) in &one.failed {
        assert!(!matches!(error, mysql_async::Error::Server(_)), "{id}: the gate was killed: {error}");
    }
    // What was acknowledged is on all servers, and little else.
    let acknowledged: Vec<i64> = one.acknowledged.iter().chain(&other.acknowledged).copied().collect();
    for root in &mut bed.roots {
        let since = Instant::now();
        loop {
            let there: Vec<i64> = root.query("SELECT id FROM main.m ORDER BY id").await.unwrap();
            let missing: Vec<_> = acknowledged.iter().filter(|id| there.binary_search(id).is_err()).collect();
            if missing.is_empty() {
                assert!(there.len() <= acknowledged.len() + one.failed.len());
                break;
            }
            assert!(since.elapsed() < PATIENCE, "acknowledged and not there: {missing:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
