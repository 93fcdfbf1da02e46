//! Does a gate over etcd and real servers do at once what the records say, and do two gates agree?

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

use crate::PATIENCE;
use crate::ctl::Ctl;
use crate::etcd::Etcd;
use crate::ports::free_port;
use crate::server::Server;

/// A gate in a process of its own; it ends with this value.
pub(crate) struct Gate {
    child: Child,
    pub(crate) port: u16,
}

impl Gate {
    fn start(etcd: &Etcd) -> Self {
        Self::start_as(etcd, "user = \"root\"")
    }

    /// One that logs in to servers as `backend` says.
    pub(crate) fn start_as(etcd: &Etcd, backend: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let text = format!(
            "[listen]\naddress = \"127.0.0.1:{port}\"\n[http]\naddress = \"off\"\n[backend]\n{backend}\n\
             [users]\nallow_any = true\nvschema_ddl = [\"admin\"]\n\
             [topology]\nkind = \"etcd\"\nendpoints = [\"{}\"]\n",
            etcd.endpoint()
        );
        let path = folder.path().join("gate.toml");
        std::fs::write(&path, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_shardgate"))
            .args(["serve", "--config"])
            .arg(&path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("ready "), "{line}");
        Self { child, port }
    }

    async fn client(&self, user: &str, keyspace: &str) -> Conn {
        connect(self.port, user, keyspace).await
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn connect(port: u16, user: &str, database: &str) -> Conn {
    let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(port).user(Some(user));
    let options = options.db_name(Some(database).filter(|name| !name.is_empty())).prefer_socket(false);
    Conn::new(options).await.unwrap()
}

async fn number(client: &mut Conn, query: &str) -> i64 {
    client.query_first(query).await.unwrap().unwrap()
}

pub(crate) fn code(error: &mysql_async::Error) -> u16 {
    match error {
        mysql_async::Error::Server(error) => error.code,
        other => panic!("{other}"),
    }
}

/// Titles and rows, each as one line.
async fn shown(client: &mut Conn, query: &str) -> Vec<String> {
    let rows: Vec<mysql_async::Row> = client.query(query).await.unwrap();
    let titles = rows[0].columns();
    let titles: Vec<_> = titles.iter().map(|column| column.name_str().into_owned()).collect();
    let lines = rows.into_iter().map(|row| {
        let cells: Vec<String> = row.unwrap().into_iter().map(mysql_async::from_value).collect();
        cells.join(" ")
    });
    [titles.join(" ")].into_iter().chain(lines).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn gates_serve_what_the_records_say() {
    for program in crate::programs("gates over etcd") {
        gates_over(&Server::start(&program)).await;
    }
}

async fn gates_over(server: &Server) {
    let mut direct = connect(server.port, "root", "").await;
    for (database, table) in
        [("ks_0", "t"), ("ks_1", "t"), ("ks_0", "u"), ("ks_1", "u"), ("main_0", "m"), ("main_1", "m")]
    {
        direct.query_drop(format!("CREATE DATABASE IF NOT EXISTS {database}")).await.unwrap();
        direct.query_drop(format!("CREATE TABLE {database}.{table} (id BIGINT PRIMARY KEY)")).await.unwrap();
    }
    direct.query_drop("INSERT INTO main_1.m VALUES (7)").await.unwrap();
    let etcd = Etcd::start();
    let ctl = Ctl::over(&etcd);
    ctl.sample();
    let port = server.port.to_string();
    let add = |alias: &str, shard: &str, schema: &str, kind: &str| {
        ctl.ok(&[
            "AddTablet",
            alias,
            shard,
            "--host",
            "127.0.0.1",
            "--port",
            &port,
            "--type",
            kind,
            "--schema",
            schema,
        ]);
    };
    add("zone1-100", "ks/-80", "ks_0", "primary");
    add("zone1-200", "ks/80-", "ks_1", "primary");
    add("zone1-300", "main/0", "main_0", "primary");
    ctl.ok(&["ApplyVSchema", "main", "--vschema", r#"{"tables": {"m": {}}}"#]);
    let (first, second) = (Gate::start(&etcd), Gate::start(&etcd));
    let mut one = first.client("admin", "ks").await;
    let mut other = second.client("someone", "ks").await;
    for id in 1..=8 {
        one.query_drop(format!("INSERT INTO t (id) VALUES ({id})")).await.unwrap();
    }
    assert_eq!(number(&mut other, "SELECT COUNT(*) FROM t").await, 8);
    let left = number(&mut direct, "SELECT COUNT(*) FROM ks_0.t").await;
    assert!((1..8).contains(&left), "all rows on one shard");
    // A change of the VSchema: only by those that may, at once here, and soon at the other gate.
    let unknown = other.query_drop("INSERT INTO u (id) VALUES (1)").await.unwrap_err();
    assert_ne!(code(&unknown), 0);
    let alter = "ALTER VSCHEMA ON u ADD VINDEX hash (id)";
    assert_eq!(code(&other.query_drop(alter).await.unwrap_err()), 1045);
    one.query_drop(alter).await.unwrap();
    one.query_drop("INSERT INTO u (id) VALUES (1), (2), (3), (4)").await.unwrap();
    assert_eq!(code(&one.query_drop(alter).await.unwrap_err()), 1815);
    let changed = Instant::now();
    while other.query_first::<i64, _>("SELECT COUNT(*) FROM u").await.ok().flatten() != Some(4) {
        assert!(changed.elapsed() < PATIENCE, "the other gate does not know the table");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    eprintln!("the other gate used the new VSchema {:?} later", changed.elapsed());
    for (query, expected) in [
        ("SHOW VSCHEMA TABLES", &["Tables", "t", "u"][..]),
        ("SHOW VSCHEMA VINDEXES", &["Keyspace Name Type Params Owner", "ks hash hash  "]),
        ("SHOW VSCHEMA VINDEXES ON u", &["Columns Name Type Params Owner", "id hash hash  "]),
        (
            "SHOW VSCHEMA KEYSPACES",
            &["Keyspace Sharded Foreign Key Comment", "ks true unmanaged ", "main false unmanaged "],
        ),
    ] {
        assert_eq!(shown(&mut other, query).await, expected, "{query}");
    }
    let unknown = other.query_drop("SHOW VSCHEMA VINDEXES ON nowhere").await.unwrap_err();
    assert_eq!(code(&unknown), 1146, "{unknown}");
    // Another server becomes the primary.
    let mut main = second.client("someone", "main").await;
    assert_eq!(number(&mut main, "SELECT COUNT(*) FROM m").await, 0);
    add("zone1-301", "main/0", "main_1", "replica");
    ctl.ok(&["TabletExternallyReparented", "zone1-301"]);
    let changed = Instant::now();
    while main.query_first::<i64, _>("SELECT COUNT(*) FROM m").await.ok().flatten() != Some(1) {
        assert!(changed.elapsed() < PATIENCE, "the gate does not know the new primary");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    eprintln!("the new primary was used {:?} later", changed.elapsed());
    // One gate dies; clients of the other notice nothing.
    drop(first);
    assert_eq!(number(&mut other, "SELECT COUNT(*) FROM t").await, 8);
    other.query_drop("INSERT INTO t (id) VALUES (9)").await.unwrap();
    assert_eq!(number(&mut other, "SELECT COUNT(*) FROM t").await, 9);
}

/// Nobody can change the topology then. What a dead gate left prepared is ended all the same.
#[tokio::test(flavor = "multi_thread")]
async fn two_phase_commit_and_recovery_go_on_without_etcd() {
    for program in crate::programs("two-phase commit without etcd") {
        without_etcd(&Server::start(&program)).await;
    }
}

async fn without_etcd(server: &Server) {
    let mut direct = connect(server.port, "root", "").await;
    for database in ["ks_0", "ks_1"] {
        direct.query_drop(format!("CREATE DATABASE {database}")).await.unwrap();
        direct.query_drop(format!("CREATE TABLE {database}.t (id BIGINT PRIMARY KEY)")).await.unwrap();
    }
    let mut etcd = Etcd::start();
    let ctl = Ctl::over(&etcd);
    ctl.sample();
    let port = server.port.to_string();
    for (alias, shard, schema) in [("zone1-100", "ks/-80", "ks_0"), ("zone1-200", "ks/80-", "ks_1")] {
        let server = ["--host", "127.0.0.1", "--port", &port, "--type", "primary", "--schema", schema];
        ctl.ok(&[&["AddTablet", alias, shard][..], &server].concat());
    }
    let gate = Gate::start_as(
        &etcd,
        "user = \"root\"\n[transaction]\nmode = \"twopc\"\ntwopc_abandon_age = \"1s\"\n\
         twopc_scan_interval = \"400ms\"",
    );
    let mut client = gate.client("someone", "ks").await;
    client.query_drop("SELECT COUNT(*) FROM t").await.unwrap();
    etcd.kill();
    client.query_drop("BEGIN").await.unwrap();
    for id in 1..=8 {
        client.query_drop(format!("INSERT INTO t (id) VALUES ({id})")).await.unwrap();
    }
    client.query_drop("COMMIT").await.unwrap();
    let on = |shard: usize| format!("SELECT COUNT(*) FROM ks_{shard}.t");
    let spread = [number(&mut direct, &on(0)).await, number(&mut direct, &on(1)).await];
    assert!(spread[0] > 0 && spread[1] > 0 && spread[0] + spread[1] == 8, "{spread:?}");
    // The decision of that COMMIT, which says what the shards are called.
    let mut decisions: Vec<(String, String)> = Vec::new();
    let databases: Vec<String> = direct.query("SHOW DATABASES LIKE '\\_shardgate\\_%'").await.unwrap();
    for database in databases {
        let rows = format!("SELECT dtid, participants FROM {database}.dt_decision WHERE state = 1");
        decisions.extend(direct.query::<(String, String), _>(rows).await.unwrap());
    }
    let [(committed, participants)] = &decisions[..] else { panic!("{decisions:?}") };
    let [anchor, branch] = [0, 1].map(|at| participants.split(',').nth(at).unwrap().trim_end_matches('+'));
    assert!(committed.starts_with(&format!("g1.{anchor}.")), "{committed} {participants}");
    // Two branches whose gate is gone: one of that transaction, and one of a transaction that nobody has
    // decided. Their rows are in a table beside.
    let undecided = committed.rsplit_once('.').unwrap().0.to_owned() + ".1";
    direct.query_drop("CREATE TABLE ks_1.left_behind (id BIGINT PRIMARY KEY)").await.unwrap();
    for (id, dtid) in [(1, committed), (2, &undecided)] {
        let xid = format!("'{dtid}', 'r{branch}', {}", 0x5647_5431);
        let mut dead = connect(server.port, "root", "").await;
        for statement in [
            format!("XA START {xid}"),
            format!("INSERT INTO ks_1.left_behind VALUES ({id})"),
            format!("XA END {xid}"),
            format!("XA PREPARE {xid}"),
        ] {
            dead.query_drop(&statement).await.unwrap();
        }
        dead.disconnect().await.unwrap();
    }
    let begun = Instant::now();
    while !direct.query::<mysql_async::Row, _>("XA RECOVER").await.unwrap().is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the branches stay");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let left: Vec<i64> = direct.query("SELECT id FROM ks_1.left_behind").await.unwrap();
    assert_eq!(left, [1], "the one is committed, the other rolled back");
    let status = format!("SHOW TRANSACTION STATUS FOR '{undecided}'");
    let row: mysql_async::Row = client.query_first(status).await.unwrap().unwrap();
    assert_eq!(row.get::<String, _>(1).as_deref(), Some("ROLLBACK"));
}
