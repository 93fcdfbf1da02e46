//! Does a shard get another primary without its clients noticing, and without losing or doubling a row?
//!
//! The servers, their replication and the topology file are those of `shardgate dev`; the planned switch is
//! the one of `shardgate::reparent`. Clients only ever talk to the gate.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use shardgate::config::{Backend, Secret};
use shardgate::control::Dialer;
use shardgate::reparent::{FileRecord, Plan, Server, Switched, planned};
use shardgate::topology::file::TopologyFile;
use shardgate::topology::{Shard, Tablet};

use super::dev::small_schema;
use crate::gate::{Dev, Gate};
use crate::process::{self, Process, poll};
use crate::runner::{Bed, Test, Verdict, say};
use crate::wire::{Wire, WireError};

pub const TESTS: &[Test] = &[
    Test::own("failover/planned switches under 64 writers", planned_switches),
    Test::own("failover/kill -9 of the primary, promotion by hand", promotion_by_hand),
    Test::own("failover/transactions over a planned switch", transactions),
    Test::own("failover/a switch to a replica that stays behind changes nothing", not_near),
    Test::own("failover/a switch that takes too long is taken back", taken_back),
    Test::own("failover/ctl PlannedReparentShard over a topology file", by_command),
    Test::own("failover/a server without replicas restarts", restart),
    Test::own("failover/a server refuses, and says that it takes writes", denied),
];

/// Clients that write at the same time.
const WRITERS: usize = 64;

/// A cluster of one shard with two replicas, and its files.
struct Bench {
    gate: Gate,
    data: tempfile::TempDir,
    _schema: tempfile::TempDir,
}

/// What one client's statement did.
enum Written {
    Acknowledged(i64),
    Failed { id: i64, error: WireError },
}

/// What the clients saw.
#[derive(Default)]
struct Seen {
    acknowledged: Vec<i64>,
    failed: Vec<(i64, WireError)>,
    reads_failed: Vec<WireError>,
    longest: Duration,
}

impl Bench {
    fn start(bed: &Bed) -> Bench {
        let schema = small_schema();
        let data = tempfile::tempdir().expect("a folder");
        let dev = Dev::new(&bed.family, schema.path()).shards("small=1").replicas(2).data_dir(data.path());
        Bench { gate: dev.start().unwrap(), data, _schema: schema }
    }

    fn topology(&self) -> PathBuf {
        self.data.path().join("topology.toml")
    }

    /// Gates and tests read the file at any time: it is replaced as a whole.
    fn replace_topology(&self, text: &str) {
        let new = self.data.path().join("topology.test");
        std::fs::write(&new, text).expect("a file");
        std::fs::rename(&new, self.topology()).expect("it is replaced");
    }

    /// The shard as the topology file says it now.
    fn shard(&self) -> std::sync::Arc<Shard> {
        let text = std::fs::read_to_string(self.topology()).expect("the topology file");
        let file = TopologyFile::parse(&text, self.data.path()).expect("a topology");
        std::sync::Arc::clone(&file.snapshot.keyspaces["small"].shards[0])
    }

    /// The replication account's password, as the cluster's folder keeps it.
    fn password(&self) -> Secret {
        let text = std::fs::read_to_string(self.data.path().join("cluster.toml")).expect("the marker");
        let marker: toml::Table = text.parse().expect("TOML");
        Secret::new(marker["replication_password"].as_str().expect("a password"))
    }

    fn plan(&self) -> Plan {
        Plan {
            new_primary: None,
            avoid_primary: None,
            other_cells: false,
            wait_replicas_timeout: Duration::from_secs(30),
            tolerable_lag: None,
            longest_standstill: Duration::from_secs(5),
            grace: Duration::from_millis(500),
            replication_user: "shardgate_replication".into(),
            replication_password: self.password(),
            replication_tls: false,
        }
    }

    fn try_switch(&self, plan: &Plan) -> Result<Switched, String> {
        let (shard, record) = (self.shard(), FileRecord(self.topology()));
        let dialer = dialer();
        let work = planned(&shard, &dialer, plan, &record);
        runtime().block_on(work).map_err(|error| error.to_string())
    }

    /// A switch that is taken back changes nothing, and is tried again: this machine may have been busy
    /// with something else for a moment.
    fn switch(&self) -> Switched {
        let mut refused = Vec::new();
        for _ in 0..10 {
            match self.try_switch(&self.plan()) {
                Ok(switched) => return switched,
                Err(error) => {
                    say(&format!("         {error}"));
                    refused.push(error);
                }
            }
        }
        panic!("no switch: {refused:#?}\n{}", self.gate.log_tail())
    }

    /// How many rows each server has, where it answers.
    fn counts(&self) -> Vec<i64> {
        let count = |tablet: &std::sync::Arc<Tablet>| {
            let mut wire = Gate::server(&socket(tablet)).ok()?;
            wire.value("select count(*) from small.t").ok()??.parse().ok()
        };
        self.shard().tablets.iter().filter_map(count).collect()
    }

    fn stop(self) {
        let (status, left) = self.gate.stop();
        assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
        assert!(left.is_empty(), "left running: {left:?}");
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn dialer() -> Dialer {
    Dialer::new(&Backend { user: "root".into(), ..Backend::default() })
}

fn socket(tablet: &Tablet) -> String {
    match &tablet.address {
        shardgate::topology::Address::Unix(path) => path.display().to_string(),
        tcp @ shardgate::topology::Address::Tcp { .. } => panic!("{tcp:?}"),
    }
}

/// All ids on one server.
fn ids(tablet: &Tablet) -> Vec<i64> {
    let rows = Gate::server(&socket(tablet)).unwrap().rows("select id from small.t order by id").unwrap();
    rows.iter().filter_map(|row| row[0].as_deref()?.parse().ok()).collect()
}

/// Writes a new row, or changes an old one and proves by its count that it was changed once.
fn write(wire: &mut Wire, id: i64) -> Result<(), WireError> {
    wire.ok(format!("insert into t (id, n) values ({id}, 0)"))?;
    Ok(())
}

/// Holds writers while a replica is more than so many rows behind what was acknowledged: how fast
/// replicas apply on this machine is not what is tested.
const FAR: i64 = 256;

/// Clients write (and some read) through the gate while `during` happens.
fn under_load(bench: &Bench, load: (usize, usize), paced: bool, during: impl FnOnce(&dyn Fn(i64))) -> Seen {
    let (writers, readers) = load;
    let gate = &bench.gate;
    let stop = AtomicBool::new(false);
    let hold = AtomicBool::new(false);
    let next = AtomicI64::new(1);
    let seen = Mutex::new(Seen::default());
    let count = AtomicI64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..writers {
            scope.spawn(|| {
                let mut wire = gate.connect("small").unwrap();
                while !stop.load(Ordering::Relaxed) {
                    if hold.load(Ordering::Relaxed) {
                        std::thread::park_timeout(Duration::from_millis(5));
                        continue;
                    }
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    let began = Instant::now();
                    let written = match write(&mut wire, id) {
                        Ok(()) => Written::Acknowledged(id),
                        Err(error) => Written::Failed { id, error },
                    };
                    let mut seen = seen.lock().unwrap();
                    seen.longest = Ord::max(seen.longest, began.elapsed());
                    match written {
                        Written::Acknowledged(id) => seen.acknowledged.push(id),
                        Written::Failed { id, error } => seen.failed.push((id, error)),
                    }
                    drop(seen);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..readers {
            scope.spawn(|| {
                let mut wire = gate.connect("small").unwrap();
                while !stop.load(Ordering::Relaxed) {
                    if let Err(error) = wire.rows("select id, n from t where id <= 10") {
                        seen.lock().unwrap().reads_failed.push(error);
                    }
                }
            });
        }
        if paced {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let least = bench.counts().into_iter().min().unwrap_or_default();
                    let acknowledged = count.load(Ordering::Relaxed);
                    hold.store(acknowledged - least > FAR, Ordering::Relaxed);
                    std::thread::park_timeout(Duration::from_millis(20));
                }
            });
        }
        // Waits until so many more statements have ended.
        let more = |wanted: i64| {
            let then = count.load(Ordering::Relaxed);
            poll(Duration::from_secs(60), || (count.load(Ordering::Relaxed) >= then + wanted).then_some(()))
                .unwrap_or_else(|| panic!("the writers stand still\n{}", gate.log_tail()));
        };
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| during(&more)));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    });
    seen.into_inner().unwrap()
}

fn planned_switches(bed: &Bed) -> Verdict {
    let bench = Bench::start(bed);
    let first = bench.shard();
    let switches = Mutex::new(Vec::new());
    let seen = under_load(&bench, (WRITERS, 4), true, |more| {
        more(500);
        // There and on: the second switch finds a former primary among the replicas.
        for _ in 0..2 {
            let switched = bench.switch();
            assert_eq!(switched.not_following, [""; 0]);
            switches.lock().unwrap().push(switched);
            more(500);
        }
    });
    let switches = switches.into_inner().unwrap();
    assert_ne!(switches[0].primary, first.primary().unwrap().alias);
    assert_ne!(switches[1].primary, switches[0].primary);
    let longest = switches.iter().map(|switched| switched.without_primary).max().unwrap();
    say(&format!(
        "         {} rows by {WRITERS} writers over 2 switches: {} errors; longest statement {:.0} ms, longest time without a primary {:.0} ms",
        seen.acknowledged.len(),
        seen.failed.len() + seen.reads_failed.len(),
        seen.longest.as_secs_f64() * 1e3,
        longest.as_secs_f64() * 1e3,
    ));
    for switched in &switches {
        let parts: Vec<_> =
            switched.parts.iter().map(|(part, took)| format!("{part} {} ms", took.as_millis())).collect();
        say(&format!("         {}", parts.join(", ")));
    }
    let text = |errors: &[(i64, WireError)]| {
        errors.iter().take(3).map(|(id, error)| format!("{id}: {error}")).collect::<Vec<_>>().join("\n")
    };
    assert!(
        seen.failed.is_empty(),
        "{} errors, such as\n{}{}",
        seen.failed.len(),
        text(&seen.failed),
        bench.gate.log_tail()
    );
    assert!(seen.reads_failed.is_empty(), "{:?}", seen.reads_failed.first());
    // On a machine that does nothing else the bar is one second; here others work too.
    assert!(seen.longest < Duration::from_secs(10), "a statement took {:?}", seen.longest);
    let mut acknowledged = seen.acknowledged;
    acknowledged.sort_unstable();
    let shard = bench.shard();
    assert_eq!(ids(shard.primary().unwrap()), acknowledged, "what was acknowledged, and nothing else");
    for tablet in &shard.tablets {
        poll(Duration::from_secs(30), || (ids(tablet).len() == acknowledged.len()).then_some(()))
            .unwrap_or_else(|| panic!("{} does not follow", tablet.alias));
    }
    let metrics = bench.gate.get("/metrics").unwrap().body;
    let promoted = "vtgate_healthcheck_primary_promoted{keyspace=\"small\",shard_name=\"-\"} 2";
    assert!(metrics.contains(promoted), "{metrics}");
    bench.stop();
    Ok(())
}

/// One replica; the server that is asked is the one that the name says.
fn pair(bench: &Bench) -> (std::sync::Arc<Tablet>, std::sync::Arc<Tablet>) {
    let shard = bench.shard();
    let primary = std::sync::Arc::clone(shard.primary().unwrap());
    let replica = shard.tablets.iter().find(|tablet| tablet.alias != primary.alias).unwrap();
    (primary, std::sync::Arc::clone(replica))
}

/// Writers go on, on the primary of before.
fn goes_on(bench: &Bench, primary: &Tablet, seen: Seen) {
    assert!(
        seen.failed.is_empty(),
        "{} failed: {}\n{}",
        seen.failed.len(),
        seen.failed[0].1,
        bench.gate.log_tail()
    );
    assert!(seen.reads_failed.is_empty(), "{}", seen.reads_failed[0]);
    assert_eq!(bench.shard().primary().unwrap().alias, primary.alias);
    let mut acknowledged = seen.acknowledged;
    acknowledged.sort_unstable();
    let there: Vec<_> = ids(primary).into_iter().filter(|id| *id < HELD).collect();
    assert_eq!(there, acknowledged);
}

/// The id of rows that the tests write aside.
const HELD: i64 = 1_000_000_000;

fn not_near(bed: &Bed) -> Verdict {
    let bench = Bench::start(bed);
    let (primary, replica) = pair(&bench);
    let mut aside = Gate::server(&socket(&replica)).unwrap();
    let mariadb = bed.family.kind == crate::server::Kind::MariaDb;
    let seen = under_load(&bench, (8, 2), false, |more| {
        more(50);
        let plan = Plan {
            new_primary: Some(replica.alias.clone()),
            wait_replicas_timeout: Duration::from_secs(2),
            ..bench.plan()
        };
        // It applies nothing: what clients write now never arrives.
        aside.ok("lock tables small.t read").unwrap();
        more(50);
        let error = bench.try_switch(&plan).unwrap_err();
        assert!(error.contains("does not come near it within 2s"), "{error}");
        assert!(error.contains("Nothing was changed"), "{error}");
        aside.ok("unlock tables").unwrap();
        // Its replication is stopped.
        aside.ok(if mariadb { "stop slave" } else { "stop replica" }).unwrap();
        let error = bench.try_switch(&plan).unwrap_err();
        assert!(error.contains("does not replicate at this moment"), "{error}");
        aside.ok(if mariadb { "start slave" } else { "start replica" }).unwrap();
        more(50);
    });
    goes_on(&bench, &primary, seen);
    bench.stop();
    Ok(())
}

/// The new primary was near, and then does not get what was written last.
fn taken_back(bed: &Bed) -> Verdict {
    let bench = Bench::start(bed);
    let (primary, replica) = pair(&bench);
    let mut aside = Gate::server(&socket(&replica)).unwrap();
    let mut looking = Gate::server(&socket(&primary)).unwrap();
    let seen = under_load(&bench, (8, 2), true, |more| {
        more(50);
        let plan = Plan {
            new_primary: Some(replica.alias.clone()),
            longest_standstill: Duration::from_secs(6),
            grace: Duration::from_secs(60),
            ..bench.plan()
        };
        std::thread::scope(|scope| {
            // The primary cannot refuse writes before this statement has ended, and that is when it is let.
            looking.ok("do get_lock('held', 60)").unwrap();
            let long = scope.spawn(|| {
                let mut wire = Gate::server(&socket(&primary)).unwrap();
                wire.ok(format!("insert into small.t (id, n) values ({HELD}, get_lock('held', 60))"))
            });
            let running = |looking: &mut Wire, text: &str| {
                let rows = looking.rows("show full processlist").unwrap();
                let found = rows
                    .iter()
                    .any(|row| row.iter().flatten().any(|cell| cell.to_ascii_lowercase().starts_with(text)));
                found.then_some(())
            };
            poll(Duration::from_secs(30), || running(&mut looking, "insert into small.t")).expect("it runs");
            let switch = scope.spawn(|| bench.try_switch(&plan));
            poll(Duration::from_secs(60), || running(&mut looking, "set global")).expect("the demotion");
            aside.ok("lock tables small.t read").unwrap();
            looking.ok("do release_lock('held')").unwrap();
            long.join().unwrap().expect("it ends before the primary refuses writes");
            let error = switch.join().unwrap().unwrap_err();
            assert!(error.contains("catching up"), "{error}");
            assert!(error.contains(&format!("{} is the primary and takes writes", primary.alias)), "{error}");
            aside.ok("unlock tables").unwrap();
        });
        more(50);
    });
    say(&format!("         longest statement {:.1} s", seen.longest.as_secs_f64()));
    goes_on(&bench, &primary, seen);
    // What was in the way is gone.
    let switched = bench.switch();
    assert_ne!(switched.primary, primary.alias);
    bench.stop();
    Ok(())
}

/// `shardgate ctl` with the configuration that `shardgate dev` wrote.
fn ctl(bench: &Bench, arguments: &[&str]) -> Result<serde_json::Value, String> {
    let output = Command::new(crate::gate::binary())
        .args(["ctl", "--config"])
        .arg(bench.data.path().join("ctl.toml"))
        .arg("PlannedReparentShard")
        .args(arguments)
        .output()
        .expect("the program runs");
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).expect("JSON"))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn by_command(bed: &Bed) -> Verdict {
    let bench = Bench::start(bed);
    let (primary, replica) = pair(&bench);
    let (old, new) = (primary.alias.to_string(), replica.alias.to_string());
    let seen = under_load(&bench, (8, 2), true, |more| {
        more(50);
        let refused = |arguments: &[&str], why: &str| {
            let error = ctl(&bench, arguments).unwrap_err();
            assert!(error.contains(why), "{arguments:?}: {error}");
        };
        refused(&["small/nowhere"], "serves no shard nowhere");
        refused(&["small/-", "--new-primary", "zone1-9999"], "not a server of this shard");
        refused(&["small/-", "--expected-primary", &new], "is not equal to expected alias");
        refused(&["small/-", "--new-primary", &new, "--avoid-primary", &new], "to be avoided");
        let text = std::fs::read_to_string(bench.topology()).unwrap();
        bench.replace_topology(&format!("# a person's\n{text}"));
        refused(&["small/-"], "has comments");
        bench.replace_topology(&text);
        let told = ctl(&bench, &["small/-", "--new-primary", &new, "--expected-primary", &old]).unwrap();
        assert_eq!(told["promoted_primary"]["uid"], replica.alias.uid, "{told}");
        assert_eq!(told["old_primary"]["uid"], primary.alias.uid, "{told}");
        assert_eq!(told["not_following"], serde_json::json!([]), "{told}");
        assert_eq!(bench.shard().primary().unwrap().alias, replica.alias);
        more(50);
        // The one to be avoided is not the primary: nothing happens. Then it is, and another one is made.
        let told = ctl(&bench, &["small/-", "--avoid-primary", &old]).unwrap();
        assert_eq!(told["promoted_primary"]["uid"], replica.alias.uid, "{told}");
        let told = ctl(&bench, &["small/-", "--avoid-primary", &new]).unwrap();
        assert_ne!(told["promoted_primary"]["uid"], replica.alias.uid, "{told}");
        more(50);
        // Two at once: one after the other, each from the primary that it finds.
        let before = bench.shard().primary().unwrap().alias.uid;
        let mut told = std::thread::scope(|scope| {
            let run = || ctl(&bench, &["small/-"]).unwrap();
            [scope.spawn(run), scope.spawn(run)].map(|run| run.join().expect("a switch"))
        });
        told.sort_by_key(|told| told["old_primary"]["uid"] != before);
        assert_eq!(told[0]["old_primary"]["uid"], before, "{told:?}");
        assert_eq!(told[1]["old_primary"], told[0]["promoted_primary"], "{told:?}");
        assert_eq!(bench.shard().primary().unwrap().alias.uid, told[1]["promoted_primary"]["uid"]);
        more(50);
        // A switch that was cut off before the topology was written: the other server takes writes.
        let text = std::fs::read_to_string(bench.topology()).unwrap();
        let before = bench.shard().primary().unwrap().alias.clone();
        let told = ctl(&bench, &["small/-", "--avoid-primary", &before.to_string()]).unwrap();
        bench.replace_topology(&text);
        let again = ctl(&bench, &["small/-"]).unwrap();
        assert_eq!(again["promoted_primary"], told["promoted_primary"], "{again}");
        assert_eq!(again["not_following"], serde_json::json!([]), "{again}");
        more(50);
    });
    assert!(seen.failed.is_empty(), "{} failed: {}", seen.failed.len(), seen.failed[0].1);
    assert!(seen.reads_failed.is_empty(), "{}", seen.reads_failed[0]);
    let mut acknowledged = seen.acknowledged;
    acknowledged.sort_unstable();
    for tablet in &bench.shard().tablets {
        poll(Duration::from_secs(30), || (ids(tablet) == acknowledged).then_some(()))
            .unwrap_or_else(|| panic!("{} does not have all", tablet.alias));
    }
    bench.stop();
    Ok(())
}

/// For a moment a server that becomes read-only refuses and does not say so. Here a trigger does, four times.
fn denied(bed: &Bed) -> Verdict {
    let (server, mut root) = super::serve::shards(bed);
    for statement in [
        "create table ks_low.hits (n int) engine = myisam",
        "create trigger ks_low.refuses before insert on ks_low.t for each row begin \
         insert into ks_low.hits values (1); \
         if (select count(*) from ks_low.hits) <= 4 then \
         signal sqlstate 'HY000' set mysql_errno = 1290, message_text = 'running with the --read-only option'; \
         end if; end",
    ] {
        root.ok(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let files = super::serve::Files::over(&server);
    let gate = Gate::serve(&files.config_with("", ""), files.mysql, files.http).unwrap();
    let mut wire = super::serve::open(&gate);
    // Some of these rows are of the shard with the trigger.
    for id in 1..=8 {
        wire.ok(format!("insert into t (id, n) values ({id}, 0)")).unwrap();
    }
    assert_eq!(wire.value("select count(*) from t").unwrap().as_deref(), Some("8"));
    let rows: i64 = root.value("select count(*) from ks_low.t").unwrap().unwrap().parse().unwrap();
    let hits: i64 = root.value("select count(*) from ks_low.hits").unwrap().unwrap().parse().unwrap();
    assert!(rows > 0 && hits == rows + 4, "{rows} rows, {hits} runs");
    drop(wire);
    let (status, _) = gate.stop();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
    Ok(())
}

/// With `buffer.without_replicas`, statements wait while the only server of a shard restarts.
fn restart(bed: &Bed) -> Verdict {
    let (mut server, root) = super::serve::shards(bed);
    drop(root);
    let files = super::serve::Files::over(&server);
    let gate = Gate::serve(
        &files.config_with(
            "",
            "[buffer]\nwithout_replicas = true\nwindow = \"60s\"\nmax_failover_duration = \"90s\"\n",
        ),
        files.mysql,
        files.http,
    )
    .unwrap();
    let (stop, count) = (AtomicBool::new(false), AtomicI64::new(0));
    let seen = Mutex::new((Vec::new(), Vec::new(), Vec::new()));
    std::thread::scope(|scope| {
        for client in 0..4_i64 {
            let (gate, stop, count, seen) = (&gate, &stop, &count, &seen);
            scope.spawn(move || {
                let mut wire = super::serve::open(gate);
                let mut id = client;
                while !stop.load(Ordering::Relaxed) {
                    id += 4;
                    let written = wire.ok(format!("insert into t (id, n) values ({id}, 0)"));
                    let read = wire.rows("select count(*) from t where id = 1");
                    let mut seen = seen.lock().unwrap();
                    match written {
                        Ok(_) => seen.0.push(id),
                        Err(error) => seen.1.push((id, error)),
                    }
                    seen.2.extend(read.err());
                    drop(seen);
                    count.fetch_add(1, Ordering::Relaxed);
                    std::thread::park_timeout(Duration::from_millis(5));
                }
            });
        }
        let more = |wanted: i64| {
            let then = count.load(Ordering::Relaxed);
            poll(Duration::from_secs(120), || (count.load(Ordering::Relaxed) >= then + wanted).then_some(()))
        };
        let before = more(50);
        server.stop();
        let restarted = server.restart();
        let after = more(50);
        stop.store(true, Ordering::Relaxed);
        restarted.unwrap();
        assert!(before.is_some() && after.is_some(), "{before:?} {after:?}\n{}", gate.log_tail());
    });
    let (acknowledged, failed, reads) = seen.into_inner().unwrap();
    assert!(reads.is_empty(), "{} reads failed: {}\n{}", reads.len(), reads[0], gate.log_tail());
    // A write that was under way when its server went may have been done: one for each client at most.
    assert!(failed.len() <= 4, "{} writes failed, such as {}", failed.len(), failed[0].1);
    for (id, error) in &failed {
        assert_eq!(error.server().map(|error| error.code), Some(1430), "row {id}: {error}");
    }
    let mut wire = super::serve::open(&gate);
    let rows = wire.rows("select id from t").unwrap();
    let there: Vec<i64> = rows.iter().filter_map(|row| row[0].as_deref()?.parse().ok()).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|id| !there.contains(id)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    say(&format!("         {} rows over a restart, {} of unknown outcome", acknowledged.len(), failed.len()));
    drop(wire);
    let (status, _) = gate.stop();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
    Ok(())
}

/// A transaction that has done something on the old primary is lost and says so; one that has not goes on.
fn transactions(bed: &Bed) -> Verdict {
    let bench = Bench::start(bed);
    let (mut used, mut fresh) = (bench.gate.connect("small").unwrap(), bench.gate.connect("small").unwrap());
    used.ok("begin").unwrap();
    used.ok("insert into t (id, n) values (1, 1)").unwrap();
    fresh.ok("begin").unwrap();
    let (mut late, mut auto) = (bench.gate.connect("small").unwrap(), bench.gate.connect("small").unwrap());
    // A session that turned autocommit off, and one that prepared its statement on the old primary.
    late.ok("set autocommit = 0").unwrap();
    let prepared = auto.prepare("insert into t (id, n) values (?, 7)").unwrap();
    bench.switch();
    let refused = |wire: &mut Wire, sql: &str| {
        let reply = wire.query_one(sql).unwrap();
        reply.error().cloned().unwrap_or_else(|| panic!("{sql}: {reply:?}"))
    };
    let lost = refused(&mut used, "insert into t (id, n) values (2, 2)");
    assert_eq!((lost.code, lost.state.as_str()), (1317, "70100"), "{lost}");
    assert!(lost.message.starts_with("VT15001"), "{lost}");
    for _ in 0..2 {
        let failed = refused(&mut used, "select 1 from t");
        assert!(failed.code == 1317 && failed.message.starts_with("VT09032"), "{failed}");
    }
    used.ok("rollback").unwrap();
    used.ok("insert into t (id, n) values (3, 3)").unwrap();
    fresh.ok("insert into t (id, n) values (4, 4)").unwrap();
    fresh.ok("commit").unwrap();
    late.ok("insert into t (id, n) values (5, 5)").unwrap();
    late.ok("commit").unwrap();
    auto.execute(prepared.id, &[crate::wire::Param::int(6)]).unwrap();
    let rows = auto.rows("select id from t order by id").unwrap();
    let ids: Vec<_> = rows.iter().map(|row| row[0].as_deref().unwrap_or_default()).collect();
    assert_eq!(ids, ["3", "4", "5", "6"], "what was committed, and nothing of the lost transaction");
    drop((used, fresh, late, auto));
    bench.stop();
    Ok(())
}

/// Writes another primary into the topology file and takes the dead one out, as a person would.
fn write_by_hand(bench: &Bench, new: &Tablet, dead: &Tablet) {
    let text = std::fs::read_to_string(bench.topology()).expect("the topology file");
    let mut root: toml::Table = text.parse().expect("TOML");
    let servers = root["keyspaces"]["small"]["shards"][0]["servers"].as_array_mut().expect("servers");
    let is = |server: &toml::Value, tablet: &Tablet| {
        let uid = server["alias"].as_str().and_then(|alias| alias.rsplit('-').next()?.parse::<u32>().ok());
        uid == Some(tablet.alias.uid)
    };
    servers.retain(|server| !is(server, dead));
    for server in servers {
        let role = if is(server, new) { "primary" } else { "replica" };
        server.as_table_mut().expect("a server").insert("role".into(), role.into());
    }
    bench.replace_topology(&root.to_string());
}

/// Makes a replica the primary, as README tells; the other one where that has more.
fn promote(bench: &Bench) -> std::sync::Arc<Tablet> {
    let shard = bench.shard();
    let dead = shard.primary().unwrap();
    let mut refused = String::new();
    for new in shard.tablets.iter().filter(|tablet| tablet.alias != dead.alias) {
        write_by_hand(bench, new, dead);
        match ctl(bench, &["small/-", "--new-primary", &new.alias.to_string()]) {
            Ok(told) => {
                assert_eq!(told["not_following"], serde_json::json!([]), "{told}");
                return std::sync::Arc::clone(new);
            }
            Err(error) => refused = error,
        }
        assert!(refused.contains("has transactions that it lacks"), "{refused}");
    }
    panic!("each of them lacks something: {refused}")
}

/// Starts the killed server again, on the same folder.
fn revive(arguments: &[String], log: &Path) -> Process {
    let socket = arguments.iter().find_map(|argument| argument.strip_prefix("--socket=")).expect("a socket");
    // MySQL takes the socket's lock file for held as long as its process is not reaped.
    let _ = std::fs::remove_file(format!("{socket}.lock"));
    let mut command = Command::new(&arguments[0]);
    command.args(&arguments[1..]);
    Process::start("the primary that died", &mut command, log).expect("the killed server starts")
}

fn promotion_by_hand(bed: &Bed) -> Verdict {
    let bench = Bench::start(bed);
    let old = std::sync::Arc::clone(bench.shard().primary().unwrap());
    let backend = bench
        .gate
        .backends()
        .into_iter()
        .find(|backend| backend.socket.as_deref() == Some(Path::new(&socket(&old))))
        .expect("the primary's process");
    let log = tempfile::NamedTempFile::new().expect("a log file");
    let revived = Mutex::new(None);
    let diverged = Mutex::new((Vec::new(), Vec::new()));
    let seen = under_load(&bench, (8, 4), false, |more| {
        more(300);
        process::signal(backend.pid, nix::sys::signal::Signal::SIGKILL);
        let killed = Instant::now();
        let new = promote(&bench);
        more(300);
        say(&format!("         writes go on {:.1} s after kill -9", killed.elapsed().as_secs_f64()));
        // The old primary comes back and takes writes, without knowing what has happened: no write of
        // the gate must go there.
        *revived.lock().unwrap() = Some(revive(&backend.arguments, log.path()));
        let mut wire =
            poll(Duration::from_secs(60), || Gate::server(&socket(&old)).ok()).expect("it answers");
        runtime().block_on(async {
            let conn = dialer().dial(&old.address).await.unwrap();
            let mut server = Server::new(conn, "old").await.unwrap();
            server.semi_sync(false, false).await.unwrap();
            server.accept_writes().await.unwrap();
        });
        let before = ids(&old);
        more(300);
        let after = ids(&old);
        *diverged.lock().unwrap() = (before, after);
        assert!(wire.value("select 1").is_ok() && new.alias != old.alias);
    });
    let (before, after) = diverged.into_inner().unwrap();
    assert_eq!(before, after, "a write went to the demoted server");
    // A statement that was under way may have been done or not: the client is told so, once each.
    assert!(seen.failed.len() <= 8, "{} writes failed, such as {}", seen.failed.len(), seen.failed[0].1);
    for (id, error) in &seen.failed {
        let code = error.server().map(|error| error.code);
        assert_eq!(code, Some(1430), "row {id}: {error}");
    }
    assert!(
        seen.reads_failed.is_empty(),
        "{} reads failed: {}",
        seen.reads_failed.len(),
        seen.reads_failed[0]
    );
    let there = ids(bench.shard().primary().unwrap());
    let lost: Vec<_> = seen.acknowledged.iter().filter(|id| there.binary_search(id).is_err()).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    say(&format!(
        "         {} rows acknowledged, none lost; {} of unknown outcome; longest statement {:.1} s",
        seen.acknowledged.len(),
        seen.failed.len(),
        seen.longest.as_secs_f64()
    ));
    drop(revived.into_inner().unwrap());
    bench.stop();
    Ok(())
}
