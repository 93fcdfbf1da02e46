//! How long does a gate take to learn a large topology from etcd, how much memory does it hold, and how
//! long does one change take?
//!
//! Starts an etcd of its own (Debian's `etcd-server`). Servers are records only. Each size is ten times
//! the one before: the numbers should be, too.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench: a failed step ends it")]

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message;
use shardgate::config::{Topology as Settings, TopologyKind};
use shardgate::key::{KeyRange, shard_names};
use shardgate::metrics::Metrics;
use shardgate::topology::path;
use shardgate::topology::store::Store;
use shardgate::topology::watch::Topology;
use shardgate::topology::wire::{topodata, vschema};
use shardgate::vschema::{KeyspaceSource, Source};
use tokio_util::sync::CancellationToken;

/// Shards and tables.
const SIZES: [(usize, usize); 3] = [(10, 100), (100, 1_000), (1_000, 10_000)];
/// How many changes are timed.
const CHANGES: u32 = 20;

struct Etcd(Child);

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!(
        "{:>7} {:>7} {:>12} {:>12} {:>16} {:>16}",
        "shards", "tables", "start", "memory", "new server", "new table"
    );
    for (shards, tables) in SIZES {
        runtime.block_on(measure(shards, tables));
    }
}

async fn measure(shards: usize, tables: usize) {
    let folder = tempfile::tempdir().unwrap();
    let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (port, peer) = (port(), port());
    let url = format!("http://127.0.0.1:{port}");
    let child = Command::new("etcd")
        .arg(format!("--data-dir={}", folder.path().display()))
        .args([format!("--listen-client-urls={url}"), format!("--advertise-client-urls={url}")])
        .arg(format!("--listen-peer-urls=http://127.0.0.1:{peer}"))
        .arg(format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"))
        .arg(format!("--initial-cluster=default=http://127.0.0.1:{peer}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("etcd cannot be started; tools/install-test.sh installs it");
    let _etcd = Etcd(child);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let settings = Settings { kind: TopologyKind::Etcd, endpoints: vec![url], ..Settings::default() };
    let global = Store::new(&settings, None).unwrap();
    let zone1 = global.of_cell(&settings, "zone1", "", "/vitess/zone1").unwrap();
    write(&global, &zone1, shards, tables).await;
    let before = resident();
    let started = Instant::now();
    let metrics = Arc::new(Metrics::new().unwrap());
    let topology = Topology::load(&settings, None, metrics).await.unwrap();
    let start = started.elapsed();
    let memory = resident().saturating_sub(before);
    let stop = CancellationToken::new();
    let task = tokio::spawn(Arc::clone(&topology).watch(settings.clone(), stop.clone()));
    let mut changes = topology.changes();
    let mut server = Duration::ZERO;
    for uid in 0..CHANGES {
        let written = Instant::now();
        put_tablet(
            &zone1,
            "-",
            900_000 + uid,
            topodata::TabletType::Replica,
            &shard_names(shards).unwrap()[0],
        )
        .await;
        changes.changed().await.unwrap();
        server += written.elapsed();
    }
    let mut table = Duration::ZERO;
    for extra in 1..=CHANGES as usize {
        let written = Instant::now();
        put(&zone1, path::SRV_VSCHEMA, &served(tables + extra)).await;
        changes.changed().await.unwrap();
        table += written.elapsed();
    }
    stop.cancel();
    task.await.unwrap();
    println!(
        "{shards:>7} {tables:>7} {start:>12.1?} {:>8} KiB {:>16.1?} {:>16.1?}",
        memory / 1024,
        server / CHANGES,
        table / CHANGES
    );
}

async fn write(global: &Store, zone1: &Store, shards: usize, tables: usize) {
    let cell = topodata::CellInfo { server_address: String::new(), root: "/vitess/zone1".into() };
    put(global, &path::cell_info("zone1"), &cell).await;
    let names = shard_names(shards).unwrap();
    let references = names.iter().map(|name| topodata::ShardReference {
        name: name.clone(),
        key_range: topodata::KeyRange::of(&KeyRange::parse(name).unwrap()),
    });
    let partition = topodata::srv_keyspace::KeyspacePartition {
        served_type: topodata::TabletType::Primary.into(),
        shard_references: references.collect(),
        shard_tablet_controls: Vec::new(),
    };
    let serving = topodata::SrvKeyspace { partitions: vec![partition], ..Default::default() };
    put(zone1, &path::srv_keyspace("ks"), &serving).await;
    put(zone1, path::SRV_VSCHEMA, &served(tables)).await;
    for (uid, name) in (1..).zip(&names) {
        let alias = topodata::TabletAlias { cell: "zone1".into(), uid };
        let shard =
            topodata::Shard { primary_alias: Some(alias), is_primary_serving: true, ..Default::default() };
        put(global, &path::shard("ks", name), &shard).await;
        put_tablet(zone1, "primary", uid, topodata::TabletType::Primary, name).await;
    }
}

fn served(tables: usize) -> vschema::SrvVSchema {
    let mut keyspace =
        KeyspaceSource::from_json(r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}}}"#).unwrap();
    let one = KeyspaceSource::from_json(
        r#"{"tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#,
    );
    let table = one.unwrap().tables["t"].clone();
    keyspace.tables = (0..tables).map(|at| (format!("table_{at}"), table.clone())).collect();
    let mut source = Source::default();
    source.keyspaces.insert("ks".into(), keyspace);
    (&source).into()
}

async fn put_tablet(zone1: &Store, host: &str, uid: u32, kind: topodata::TabletType, shard: &str) {
    let alias = topodata::TabletAlias { cell: "zone1".into(), uid };
    let tablet = topodata::Tablet {
        alias: Some(alias.clone()),
        keyspace: "ks".into(),
        shard: shard.into(),
        r#type: kind.into(),
        mysql_hostname: format!("{host}{uid}"),
        mysql_port: 3306,
        ..Default::default()
    };
    put(zone1, &path::tablet(&(&alias).into()), &tablet).await;
}

async fn put(store: &Store, path: &str, record: &impl Message) {
    store.put(path, record.encode_to_vec()).await.unwrap();
}

/// Bytes of memory that this process holds.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap_or_default();
    kib * 1024
}
