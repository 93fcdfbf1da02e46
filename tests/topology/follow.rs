//! Does a gate's view follow what is written, and only what is right?

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shardgate::config::{Secret, Topology as Settings};
use shardgate::metrics::Metrics;
use shardgate::topology::watch::{Current, Topology};
use shardgate::topology::wire::topodata::TabletType;
use shardgate::topology::{TabletAlias, path};
use tokio_util::sync::CancellationToken;

use crate::PATIENCE;
use crate::etcd::{Certificates, Etcd, settings};
use crate::records::{Roots, SHARDED};

/// A gate's view, kept up to date.
struct View {
    topology: Arc<Topology>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl View {
    async fn new(settings: &Settings, cache: Option<&Path>) -> Result<Self, String> {
        let metrics = Arc::new(Metrics::new().unwrap());
        let topology = Topology::load(settings, cache, Arc::clone(&metrics)).await?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&topology).watch(settings.clone(), stop.clone()));
        Ok(Self { topology, metrics, stop, task })
    }

    /// Waits until what is in use is as `expected`; gives how long that took.
    async fn until(&self, what: &str, expected: impl Fn(&Current) -> bool) -> Duration {
        let since = Instant::now();
        let mut changes = self.topology.changes();
        while !expected(&self.topology.current()) {
            let left = PATIENCE.checked_sub(since.elapsed());
            let left = left.unwrap_or_else(|| panic!("{what}: {:#}", self.topology.to_json()));
            tokio::time::timeout(left, changes.changed()).await.ok();
        }
        since.elapsed()
    }

    async fn until_problems(&self, what: &str, expected: impl Fn(&[String]) -> bool) {
        let since = Instant::now();
        while !expected(&self.topology.problems()) {
            assert!(since.elapsed() < PATIENCE, "{what}: {:?}", self.topology.problems());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

fn has_table(keyspace: &'static str, table: &'static str) -> impl Fn(&Current) -> bool {
    move |current| current.vschema.keyspace(keyspace).is_some_and(|one| one.table(table).is_some())
}

fn has_tablet(uid: u32) -> impl Fn(&Current) -> bool {
    move |current| aliases(current).iter().any(|alias| alias.uid == uid)
}

fn aliases(current: &Current) -> Vec<TabletAlias> {
    let shards = current.snapshot.keyspaces.values().flat_map(|keyspace| &keyspace.shards);
    shards.flat_map(|shard| &shard.tablets).map(|tablet| tablet.alias.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_in_force_at_once() {
    let etcd = Etcd::start();
    let roots = Roots::new(&etcd.settings());
    roots.sample().await;
    let view = View::new(&etcd.settings(), None).await.unwrap();
    let before = view.topology.current();
    assert_eq!(aliases(&before).len(), 3);
    assert_eq!(before.snapshot.keyspaces["ks"].shards.len(), 2);
    assert_eq!(&*before.snapshot.keyspaces["ks"].shards[0].primary().unwrap().schema, "vt_ks");
    let mut slowest = Duration::ZERO;
    for uid in 101..120 {
        let written = Instant::now();
        roots.tablet("ks", "-80", uid, 3306, TabletType::Replica).await;
        view.until("a new tablet", has_tablet(uid)).await;
        slowest = slowest.max(written.elapsed());
    }
    eprintln!("the slowest of 19 changes was in force {slowest:?} after the write began");
    let vschema = SHARDED.replace("\"t\"", "\"u\"");
    roots.vschemas(&[("ks", &vschema), ("main", "{}")]).await;
    view.until("a new VSchema", has_table("ks", "u")).await;
    // Whoever began with the version of before keeps it.
    assert!(before.vschema.keyspace("ks").unwrap().table("t").is_some());
    assert_eq!(aliases(&before).len(), 3);
    roots.shards("ks", &["-40", "40-80", "80-"]).await;
    view.until("a split shard", |current| current.snapshot.keyspaces["ks"].shards.len() == 3).await;
    let alias = TabletAlias { cell: "zone1".into(), uid: 200 };
    roots.zone1.delete(&path::tablet(&alias)).await.unwrap();
    view.until("a removed tablet", |current| !has_tablet(200)(current)).await;
    assert_eq!(view.topology.problems(), Vec::<String>::new());
    view.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_records_are_told_once_and_change_nothing() {
    let etcd = Etcd::start();
    let roots = Roots::new(&etcd.settings());
    roots.sample().await;
    let view = View::new(&etcd.settings(), None).await.unwrap();
    let good = view.topology.current();
    roots.zone1.put(path::SRV_VSCHEMA, b"\x0a\xff\xff".to_vec()).await.unwrap();
    view.until_problems("not a record", |all| all.iter().any(|one| one.contains("SrvVSchema"))).await;
    roots.shards("ks", &["-80", "40-"]).await;
    view.until_problems("shards overlap", |all| all.iter().any(|one| one.contains("overlap"))).await;
    assert!(Arc::ptr_eq(&good.vschema, &view.topology.current().vschema));
    assert_eq!(good.snapshot, view.topology.current().snapshot);
    assert_eq!((view.metrics.topology.current.get(), view.metrics.topology.failures.get()), (0, 2));
    // A VSchema with an error keeps its keyspace as it was; the other keyspace goes on.
    let broken = SHARDED.replace("\"hash\"}", "\"no_such_vindex\"}");
    roots.vschemas(&[("ks", &broken), ("main", r#"{"tables": {"m": {}, "n": {}}}"#)]).await;
    view.until("the other keyspace", has_table("main", "n")).await;
    assert!(has_table("ks", "t")(&view.topology.current()));
    assert!(view.topology.current().vschema.keyspace("ks").unwrap().error().is_none());
    view.until_problems("the error", |all| all.iter().any(|one| one.starts_with("keyspace ks: "))).await;
    assert_eq!(view.metrics.topology.vschema_failures.get(), 1);
    // A tablet changes meanwhile; the problem is not told again.
    let failures = view.metrics.topology.failures.get();
    roots.tablet("main", "0", 301, 3306, TabletType::Replica).await;
    view.until("a new tablet", has_tablet(301)).await;
    assert_eq!(view.metrics.topology.failures.get(), failures);
    roots.shards("ks", &["-80", "80-"]).await;
    roots.vschemas(&[("ks", SHARDED), ("main", "{}")]).await;
    view.until_problems("nothing is wrong any more", <[String]>::is_empty).await;
    assert_eq!(view.metrics.topology.current.get(), 1);
    view.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_rule_keeps_the_last_good_one() {
    let etcd = Etcd::start();
    let roots = Roots::new(&etcd.settings());
    roots.sample().await;
    let rules = |to: &str| format!(r#"{{"rules": [{{"from_table": "r", "to_tables": ["{to}"]}}]}}"#);
    let vschemas = [("ks", SHARDED), ("main", r#"{"tables": {"m": {}}}"#)];
    roots.vschemas_and_rules(&vschemas, &rules("main.m")).await;
    let view = View::new(&etcd.settings(), None).await.unwrap();
    let target = |current: &Current| {
        let found = current.vschema.source().routing_rules.rules.clone();
        found.into_iter().flat_map(|rule| rule.to_tables).collect::<Vec<_>>()
    };
    assert_eq!(target(&view.topology.current()), ["main.m"]);
    roots.vschemas_and_rules(&vschemas, &rules("nowhere.m")).await;
    view.until_problems("the rule is wrong", |all| all.iter().any(|one| one.contains("nowhere"))).await;
    assert_eq!(target(&view.topology.current()), ["main.m"], "the last good one");
    assert_eq!(view.metrics.topology.vschema_failures.get(), 1);
    // Tables beside it change all the same.
    roots
        .vschemas_and_rules(
            &[vschemas[0], ("main", r#"{"tables": {"m": {}, "n": {}}}"#)],
            &rules("nowhere.m"),
        )
        .await;
    view.until("another table", has_table("main", "n")).await;
    assert_eq!(target(&view.topology.current()), ["main.m"]);
    roots.vschemas_and_rules(&vschemas, &rules("ks.t")).await;
    view.until("a good rule", |current| target(current) == ["ks.t"]).await;
    view.until_problems("nothing is wrong any more", <[String]>::is_empty).await;
    view.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_under_the_watcher_is_survived() {
    let etcd = Etcd::start();
    let roots = Roots::new(&etcd.settings());
    roots.sample().await;
    // Between the reading and the watching, the history goes away.
    let metrics = Arc::new(Metrics::new().unwrap());
    let topology = Topology::load(&etcd.settings(), None, Arc::clone(&metrics)).await.unwrap();
    roots.tablet("ks", "-80", 101, 3306, TabletType::Replica).await;
    roots.tablet("ks", "-80", 102, 3306, TabletType::Replica).await;
    etcd.compact();
    let stop = CancellationToken::new();
    let task = tokio::spawn(Arc::clone(&topology).watch(etcd.settings(), stop.clone()));
    let view = View { topology, metrics, stop, task };
    view.until("what the compacted history said", has_tablet(102)).await;
    let text = view.metrics.text();
    assert!(text.contains("shardgate_topology_watch_errors_total{cell=\"zone1\"} 1"), "{text}");
    // And a watch that is up to date does not mind.
    for uid in 103..106 {
        roots.tablet("ks", "-80", uid, 3306, TabletType::Replica).await;
        view.until("a change after a compaction", has_tablet(uid)).await;
        etcd.compact();
    }
    view.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_goes_away_and_comes_back() {
    let mut etcd = Etcd::start();
    let roots = Roots::new(&etcd.settings());
    roots.sample().await;
    let view = View::new(&etcd.settings(), None).await.unwrap();
    view.until_problems("all is well", <[String]>::is_empty).await;
    etcd.stop();
    let lost = |all: &[String]| all.iter().any(|one| one.starts_with("the topology of zone1 is "));
    view.until_problems("etcd is away", lost).await;
    assert_eq!(aliases(&view.topology.current()).len(), 3);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    view.topology.count_age();
    assert!(view.metrics.topology.age("zone1").get() >= 1);
    assert_eq!(view.metrics.topology.connected("zone1").get(), 0);
    etcd.again();
    roots.tablet("ks", "80-", 201, 3306, TabletType::Replica).await;
    view.until("a change after the return", has_tablet(201)).await;
    view.until_problems("all is well again", <[String]>::is_empty).await;
    view.topology.count_age();
    assert_eq!(view.metrics.topology.age("zone1").get(), 0);
    assert_eq!(view.metrics.topology.connected("zone1").get(), 1);
    view.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_and_one_is_killed() {
    let mut members = Etcd::cluster(3);
    let all = settings(&members.iter().collect::<Vec<_>>());
    let roots = Roots::new(&all);
    roots.sample().await;
    let view = View::new(&all, None).await.unwrap();
    view.until_problems("all is well", <[String]>::is_empty).await;
    // The first endpoint is the one that is asked first.
    members[0].kill();
    let others = Roots::new(&settings(&[&members[1], &members[2]]));
    others.tablet("ks", "80-", 201, 3306, TabletType::Replica).await;
    view.until("a change without the first member", has_tablet(201)).await;
    view.until_problems("all is well again", <[String]>::is_empty).await;
    view.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_store_is_no_lost_topology() {
    let etcd = Etcd::start();
    let roots = Roots::new(&etcd.settings());
    roots.sample().await;
    let view = View::new(&etcd.settings(), None).await.unwrap();
    etcd.ctl(&["del", "--prefix", "/vitess/"]);
    view.until_problems("there is nothing", |all| all.len() == 2).await;
    assert_eq!(aliases(&view.topology.current()).len(), 3);
    assert!(has_table("ks", "t")(&view.topology.current()));
    roots.sample().await;
    view.until_problems("it was written again", <[String]>::is_empty).await;
    assert_eq!(aliases(&view.topology.current()).len(), 3);
    view.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_etcd() {
    let mut etcd = Etcd::start();
    let roots = Roots::new(&etcd.settings());
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("topology.json");
    let failed = |result: Result<View, String>| result.err().unwrap();
    let error = failed(View::new(&etcd.settings(), None).await);
    assert!(error.starts_with("there is no cell zone1 under /vitess/global"), "{error}");
    roots.sample().await;
    let view = View::new(&etcd.settings(), Some(&cache)).await.unwrap();
    let saved = view.topology.current();
    view.end().await;
    assert!(cache.exists());
    etcd.stop();
    let error = failed(View::new(&etcd.settings(), None).await);
    assert!(error.contains("cannot be reached"), "{error}");
    let error = failed(View::new(&etcd.settings(), Some(&folder.path().join("none"))).await);
    assert!(error.contains("there is no cache file"), "{error}");
    let view = View::new(&etcd.settings(), Some(&cache)).await.unwrap();
    assert_eq!(saved.snapshot, view.topology.current().snapshot);
    assert_eq!(saved.vschema.source(), view.topology.current().vschema.source());
    view.until_problems("etcd is away", |all| !all.is_empty()).await;
    etcd.again();
    roots.tablet("ks", "80-", 201, 3306, TabletType::Replica).await;
    view.until("a change after the return", has_tablet(201)).await;
    view.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_asks_for_tls_and_a_password() {
    let certificates = Certificates::new();
    let etcd = Etcd::with_tls(&certificates);
    let ca = format!("--cacert={}", certificates.path("ca.pem"));
    let ctl = |arguments: &[&str]| etcd.ctl(&[&[ca.as_str()], arguments].concat());
    ctl(&["user", "add", "root:secret"]);
    ctl(&["user", "grant-role", "root", "root"]);
    ctl(&["auth", "enable"]);
    let good = Settings {
        tls_ca: Some(certificates.path("ca.pem").into()),
        user: Some("root".into()),
        password: Some(Secret::new("secret")),
        ..etcd.settings()
    };
    let roots = Roots::new(&good);
    roots.sample().await;
    let view = View::new(&good, None).await.unwrap();
    roots.tablet("ks", "80-", 201, 3306, TabletType::Replica).await;
    view.until("a change", has_tablet(201)).await;
    view.end().await;
    let wrong = Settings { password: Some(Secret::new("wrong")), ..good.clone() };
    let error = View::new(&wrong, None).await.err().unwrap();
    assert!(error.contains("authentication failed"), "{error}");
    let stranger = Certificates::new();
    let wrong = Settings { tls_ca: Some(stranger.path("ca.pem").into()), ..good };
    let error = View::new(&wrong, None).await.err().unwrap();
    assert!(error.contains("cannot be reached"), "{error}");
}
