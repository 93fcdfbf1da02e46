//! Is a transaction all or nothing when a shard gets another primary in the middle of its COMMIT?
//!
//! Each of two shards has a replica that its primary waits for (semi-sync at AFTER_SYNC, without end).
//! The primary dies, the replica is promoted by hand, and the old primary never comes back: what its
//! replica did not have is gone, and nobody was told of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use nix::sys::signal::Signal;
use shardgate::config::Backend;
use shardgate::control::Dialer;
use shardgate::reparent::{FileRecord, Record, Server};
use shardgate::topology::file::TopologyFile;
use shardgate::topology::{Address, Shard, Tablet};
use tempfile::TempDir;

use crate::bed::{Gate, PATIENCE};
use crate::gate::{Dev, Gate as Cluster};
use crate::ledger::{self, Told};
use crate::process::{self, poll};
use crate::server::{Family, Kind};
use crate::wire::Wire;

/// A staged failover, by its name.
pub struct Case {
    pub name: &'static str,
    /// Whether the transaction is committed in the end.
    commits: bool,
    run: fn(&mut Stage),
}

const fn case(name: &'static str, commits: bool, run: fn(&mut Stage)) -> Case {
    Case { name, commits, run }
}

/// The shards, in the order in which the transaction reaches them.
const ANCHOR: usize = 0;
const BRANCH: usize = 1;

/// In the order of the steps of COMMIT.
pub const CASES: &[Case] = &[
    case("failover of a branch's shard before PREPARE was acknowledged", false, |s| {
        s.stop_stream(BRANCH);
        let commit = s.commit();
        s.until_it_waits_for_its_replica(BRANCH);
        s.fail_over(BRANCH);
        s.end(commit);
        assert!(matches!(s.told, Some(Told::Failed(..))), "{:?}", s.told);
    }),
    case("failover of a branch's shard after PREPARE was acknowledged", true, |s| {
        s.gate.arm("all-prepared", "wait");
        let commit = s.commit();
        s.gate.reached("all-prepared");
        s.fail_over(BRANCH);
        s.gate.go("all-prepared");
        s.end(commit);
        assert!(matches!(s.told, Some(Told::Ok(_))), "{:?}", s.told);
    }),
    case("failover of the anchor's shard before COMMIT was acknowledged", false, |s| {
        s.gate.arm("all-prepared", "wait");
        let commit = s.commit();
        s.gate.reached("all-prepared");
        s.stop_stream(ANCHOR);
        s.gate.go("all-prepared");
        s.until_it_waits_for_its_replica(ANCHOR);
        s.fail_over(ANCHOR);
        s.end(commit);
        assert!(matches!(s.told, Some(Told::Failed(..) | Told::Unknown(_))), "{:?}", s.told);
    }),
    case("failover of the anchor's shard after COMMIT was acknowledged", true, |s| {
        s.gate.arm("decided", "wait");
        let commit = s.commit();
        s.gate.reached("decided");
        // Only recovery is left, and it reads the decision on the new primary.
        s.gate.kill();
        s.end(commit);
        s.fail_over(ANCHOR);
    }),
    case("failover of a branch's shard before XA COMMIT was acknowledged", true, |s| {
        s.gate.arm("decided", "wait");
        let commit = s.commit();
        s.gate.reached("decided");
        s.stop_stream(BRANCH);
        s.gate.go("decided");
        s.until_it_waits_for_its_replica(BRANCH);
        s.fail_over(BRANCH);
        s.end(commit);
        assert!(matches!(s.told, Some(Told::Ok(_))), "{:?}", s.told);
        // The branch is prepared again, as its replica knew it.
    }),
];

/// Two shards with a replica each, two gates, and a transaction on its way.
pub struct Stage {
    cluster: Cluster,
    gate: Gate,
    other: Gate,
    mariadb: bool,
    /// A row of each shard.
    rows: [i64; 2],
    told: Option<Told>,
    data: TempDir,
    _schema: TempDir,
}

// === impl Case ===

impl Case {
    /// # Panics
    /// Where the outcome is another one.
    pub fn run(&self, family: &Family) {
        let mut stage = Stage::start(family).expect("a cluster");
        (self.run)(&mut stage);
        let settled = poll(PATIENCE, || stage.prepared().is_empty().then_some(()));
        assert!(settled.is_some(), "{:?}\n{}", stage.prepared(), stage.other.log_tail());
        let expected = i64::from(self.commits);
        let found = stage.values();
        assert_eq!(found, [expected; 2], "{:?}\n{}", stage.told, stage.other.log_tail());
        if let Some(Told::Unknown(dtid)) = &stage.told {
            let mut wire = stage.other.connect().expect("a client");
            let row = wire.rows(format!("SHOW TRANSACTION STATUS FOR '{dtid}'")).expect("the status");
            assert_eq!(row[0][1].as_deref(), Some(if self.commits { "COMMIT" } else { "ROLLBACK" }));
        }
        for gate in [&stage.gate, &stage.other] {
            let log = std::fs::read_to_string(&gate.log).unwrap_or_default();
            assert!(!log.contains("INTEGRITY") && !log.contains("panicked"), "{}", gate.log_tail());
        }
        stage.gate.kill();
        stage.other.kill();
        let (_, left) = stage.cluster.stop();
        assert!(left.is_empty(), "left running: {left:?}");
    }
}

// === impl Stage ===

impl Stage {
    fn start(family: &Family) -> Result<Stage, String> {
        let text = |error: std::io::Error| error.to_string();
        let folder = || tempfile::Builder::new().prefix("shardgate-atomicity-").tempdir().map_err(text);
        let (schema, data) = (folder()?, folder()?);
        let keyspace = schema.path().join("bank");
        std::fs::create_dir(&keyspace).map_err(text)?;
        let vschema = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}},
            "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#;
        std::fs::write(keyspace.join("vschema.json"), vschema).map_err(text)?;
        let table = "CREATE TABLE IF NOT EXISTS t (id BIGINT NOT NULL PRIMARY KEY, n INT NOT NULL);\n";
        std::fs::write(keyspace.join("1.sql"), table).map_err(text)?;
        let cluster =
            Dev::new(family, schema.path()).shards("bank=2").replicas(1).data_dir(data.path()).start()?;
        let gate = |name: &str| {
            let dir = data.path().join(name);
            Gate::configured(name, dir, &data.path().join("topology.toml"), "shardgate", Vec::new())
        };
        let (gate, other) = (gate("one")?, gate("two")?);
        let mut stage = Stage {
            cluster,
            gate,
            other,
            mariadb: family.kind == Kind::MariaDb,
            rows: [0; 2],
            told: None,
            data,
            _schema: schema,
        };
        let mut wire = stage.gate.connect().map_err(|error| error.to_string())?;
        let rows: Vec<String> = (1..=16).map(|id| format!("({id}, 0)")).collect();
        wire.ok(format!("INSERT INTO t (id, n) VALUES {}", rows.join(", ")))
            .map_err(|error| error.to_string())?;
        stage.rows = [ANCHOR, BRANCH].map(|shard| stage.number(shard, "SELECT MIN(id) FROM {}.t"));
        Ok(stage)
    }

    fn topology(&self) -> PathBuf {
        self.data.path().join("topology.toml")
    }

    /// The shard as the topology file says it now.
    fn shard(&self, at: usize) -> Arc<Shard> {
        let text = std::fs::read_to_string(self.topology()).expect("the topology file");
        let file = TopologyFile::parse(&text, self.data.path()).expect("a topology");
        Arc::clone(&file.snapshot.keyspaces["bank"].shards[at])
    }

    fn primary(&self, shard: usize) -> Arc<Tablet> {
        Arc::clone(self.shard(shard).primary().expect("a primary"))
    }

    fn replica(&self, shard: usize) -> Arc<Tablet> {
        let shard = self.shard(shard);
        let primary = shard.primary().expect("a primary");
        Arc::clone(shard.tablets.iter().find(|tablet| tablet.alias != primary.alias).expect("a replica"))
    }

    /// A number that a shard's primary tells.
    fn number(&self, shard: usize, query: &str) -> i64 {
        let tablet = self.primary(shard);
        let value = root(&tablet).value(query.replace("{}", &tablet.schema)).expect("a value");
        value.expect("no NULL").parse().expect("a number")
    }

    /// The transaction's rows.
    fn values(&self) -> [i64; 2] {
        [ANCHOR, BRANCH]
            .map(|at| self.number(at, &format!("SELECT n FROM {{}}.t WHERE id = {}", self.rows[at])))
    }

    /// Prepared branches on the primaries.
    fn prepared(&self) -> Vec<String> {
        let of = |shard| root(&self.primary(shard)).rows("XA RECOVER").expect("XA RECOVER");
        let all = [ANCHOR, BRANCH].map(of).concat();
        all.into_iter().filter_map(|row| row[3].clone()).collect()
    }

    /// COMMIT of a transaction on both shards, in a thread of its own.
    fn commit(&self) -> JoinHandle<Told> {
        let mut wire = self.gate.connect().expect("a client");
        wire.ok("BEGIN").expect("BEGIN");
        for id in self.rows {
            wire.ok(format!("UPDATE t SET n = n + 1 WHERE id = {id}")).expect("UPDATE");
        }
        std::thread::spawn(move || ledger::told(wire.ok("COMMIT"), 2))
    }

    fn end(&mut self, commit: JoinHandle<Told>) {
        self.told = Some(commit.join().expect("no panic"));
    }

    /// From now on the replica gets nothing.
    fn stop_stream(&self, shard: usize) {
        let statement = if self.mariadb { "STOP SLAVE IO_THREAD" } else { "STOP REPLICA IO_THREAD" };
        root(&self.replica(shard)).ok(statement).expect("STOP");
    }

    fn until_it_waits_for_its_replica(&self, shard: usize) {
        let mut wire = root(&self.primary(shard));
        let waits = poll(PATIENCE, || {
            let all = wire.rows("SHOW FULL PROCESSLIST").expect("the process list");
            let waits = |cell: &String| cell.contains("semi-sync ACK");
            all.iter().flatten().flatten().any(waits).then_some(())
        });
        assert!(waits.is_some(), "nothing waits for an acknowledgement");
    }

    /// SIGKILL for the primary; its replica, once it has done all that it has, is the primary.
    fn fail_over(&self, shard: usize) {
        let (old, new) = (self.primary(shard), self.replica(shard));
        let path = socket(&old);
        let mut backends = self.cluster.backends().into_iter();
        let backend = backends.find(|backend| backend.socket.as_ref() == Some(&path)).expect("its process");
        process::signal(backend.pid, Signal::SIGKILL);
        let mut wire = root(&new);
        let status = if self.mariadb { "SHOW SLAVE STATUS" } else { "SHOW REPLICA STATUS" };
        let done = poll(PATIENCE, || {
            let all = wire.rows(status).expect("its status");
            let done = |cell: &String| cell.to_lowercase().contains("has read all relay log");
            all.iter().flatten().flatten().any(done).then_some(())
        });
        assert!(done.is_some(), "the replica does not come to an end");
        let work = async {
            let dialer = Dialer::new(&Backend { user: "root".into(), ..Backend::default() });
            let conn = dialer.dial(&new.address).await.expect("root");
            let mut server = Server::new(conn, &new.alias.to_string()).await.expect("the server");
            server.forget_source().await.expect("no source");
            // There is nobody left to wait for.
            server.semi_sync(false, false).await.expect("semi-sync");
            server.accept_writes().await.expect("writes");
            FileRecord(self.topology()).record(&new, Some(&old)).await.expect("the topology");
        };
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work);
    }
}

fn socket(tablet: &Tablet) -> PathBuf {
    match &tablet.address {
        Address::Unix(path) => path.clone(),
        tcp @ Address::Tcp { .. } => panic!("{tcp:?}"),
    }
}

fn root(tablet: &Tablet) -> Wire {
    let path = socket(tablet).display().to_string();
    poll(PATIENCE, || Cluster::server(&path).ok()).expect("root")
}
