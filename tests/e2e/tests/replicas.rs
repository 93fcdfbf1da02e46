//! What do replicas of `shardgate dev` hold, and what do they refuse?

use std::time::Duration;

use super::dev::small_schema;
use crate::gate::{Backend, Dev, Gate};
use crate::process::{self, poll};
use crate::runner::{Bed, Test, Verdict};
use crate::server::Kind;
use crate::wire::{Wire, WireError};

pub const TESTS: &[Test] = &[
    Test::own("replicas/they follow, refuse writes, and survive a restart", follow),
    Test::own("replicas/reads go to healthy ones, and to no other", reads),
    Test::own("replicas/a session sees its own writes", own_writes),
];

/// Sockets of the servers of the keyspace, by role, as the gate shows them.
pub fn sockets(gate: &Gate, role: &str) -> Vec<String> {
    let rows = gate.connect("small").unwrap().rows("show vitess_tablets").unwrap();
    rows.into_iter().filter(|row| row[3].as_deref() == Some(role)).filter_map(|row| row[6].clone()).collect()
}

/// The number of the server that answers a statement.
fn server_id(wire: &mut Wire) -> Result<Option<String>, WireError> {
    wire.value("select @@server_id from t limit 1")
}

fn reads(bed: &Bed) -> Verdict {
    let schema = small_schema();
    let gate = Dev::new(&bed.family, schema.path()).shards("small=1").replicas(2).start().unwrap();
    let mut wire = gate.connect("small").unwrap();
    wire.ok("insert into t (id, n) values (1, 1)").unwrap();
    let primary = server_id(&mut wire).unwrap();
    let mut replica = gate.connect("small@replica").unwrap();
    poll(Duration::from_secs(30), || (replica.value("select n from t").ok()??.as_str() == "1").then_some(()))
        .expect("the row on a replica");
    let mut seen: Vec<_> = (0..60).map(|_| server_id(&mut replica).unwrap().expect("a number")).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 2, "both replicas answer: {seen:?}");
    assert!(!seen.contains(&primary.expect("a number")), "the primary is no replica");
    for statement in [
        "insert into t (id, n) values (2, 2)",
        "update t set n = 2",
        "delete from t",
        "alter table t add m int",
    ] {
        let refused = replica.query_one(statement).unwrap();
        let error = refused.error().unwrap_or_else(|| panic!("{statement}: {refused:?}"));
        assert_eq!((error.code, error.state.as_str()), (1874, "HY000"), "{statement}: {error}");
        assert!(error.message.starts_with("VT09002: "), "{error}");
    }
    let refused = gate.connect("small@rdonly").unwrap().query_one("select n from t").unwrap();
    let error = refused.error().expect("there is no such server");
    assert!(
        error
            .message
            .contains("no healthy tablet available for 'keyspace:\"small\" shard:\"-\" tablet_type:RDONLY'"),
        "{error}"
    );
    let status = wire.rows("show vitess_replication_status like 'small'").unwrap();
    assert_eq!(status.len(), 2, "{status:?}");
    for row in &status {
        let text = |at: usize| row[at].as_deref().unwrap_or_default();
        assert_eq!((text(0), text(1), text(2), text(7)), ("small", "-", "REPLICA", "0"), "{row:?}");
        assert!(text(5).starts_with("127.0.0.1:"), "{row:?}");
        assert_eq!(text(6), r#"{"EventStreamRunning":"Yes","EventApplierRunning":"Yes","LastError":""}"#);
    }
    // One replica dies: nobody notices. Both are away: a clear error, and the primary goes on.
    let backends = gate.backends();
    let sockets = sockets(&gate, "REPLICA");
    let kill = |socket: &str| {
        let of = |backend: &&Backend| backend.socket.as_deref().is_some_and(|path| path.ends_with(socket));
        let backend = backends.iter().find(of).expect("the replica's process");
        process::signal(backend.pid, nix::sys::signal::Signal::SIGKILL);
    };
    kill(&sockets[0]);
    for round in 0..200 {
        let n = replica.value("select n from t").unwrap_or_else(|error| panic!("read {round}: {error}"));
        assert_eq!(n.as_deref(), Some("1"));
    }
    let state = |alias: &str| {
        let rows = gate.connect("small").unwrap().rows("show vitess_tablets").unwrap();
        rows.into_iter().find(|row| row[5].as_deref() == Some(alias)).and_then(|row| row[4].clone())
    };
    poll(Duration::from_secs(20), || {
        (state("zone1-0000000101").as_deref() == Some("NOT_SERVING")).then_some(())
    })
    .expect("SHOW VITESS_TABLETS tells that the replica is away");
    kill(&sockets[1]);
    let error = poll(Duration::from_secs(20), || {
        let reply = replica.query_one("select n from t").unwrap();
        reply.error().filter(|error| error.message.contains("no healthy tablet available")).cloned()
    })
    .expect("no replica is left");
    assert_eq!(error.code, 1429, "{error}");
    assert_eq!(wire.value("select n from t").unwrap().as_deref(), Some("1"), "the primary goes on");
    let health = gate.get("/debug/health/tablets").unwrap().body;
    assert!(health.contains("\"answers\":false") && health.contains("\"answers\":true"), "{health}");
    let metrics = gate.get("/metrics").unwrap().body;
    assert!(metrics.contains("shardgate_tablet_answers{db_type=\"replica\",keyspace=\"small\",shard_name=\"-\",tablet_alias=\"zone1-0000000101\"} 0"), "{metrics}");
    drop((wire, replica));
    let (status, left) = gate.stop();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
    assert!(left.is_empty(), "left running: {left:?}");
    Ok(())
}

/// A session writes, then reads on a replica: the row is there, however late the replica is.
fn own_writes(bed: &Bed) -> Verdict {
    let schema = small_schema();
    let gate = Dev::new(&bed.family, schema.path()).shards("small=2").replicas(1).start().unwrap();
    let mut wire = gate.connect("small").unwrap();
    let mut expected = 0;
    let mut check = |wire: &mut Wire, id: i64| {
        wire.ok("use small").unwrap();
        // One shard, several shards, a transaction.
        match id % 3 {
            0 => wire.ok(format!("insert into t (id, n) values ({id}, 1)")).map(drop).unwrap(),
            1 => {
                wire.ok("begin").unwrap();
                wire.ok(format!("insert into t (id, n) values ({id}, 1)")).unwrap();
                wire.ok("commit").unwrap();
            }
            _ => wire.ok(format!("insert into t (id, n) values ({id}, 1), ({}, 0)", -id)).map(drop).unwrap(),
        }
        expected += 1;
        wire.ok("use `small@replica`").unwrap();
        let sum = wire.value("select sum(n) from t").unwrap().unwrap();
        assert_eq!(sum, expected.to_string(), "after row {id}");
        assert_eq!(wire.value(format!("select n from t where id = {id}")).unwrap().as_deref(), Some("1"));
    };
    for id in 1..=60 {
        check(&mut wire, id);
    }
    // A replica that stands still: the reads go to the primary.
    let applier = match bed.family.kind {
        Kind::MySql => ["stop replica sql_thread", "start replica sql_thread"],
        Kind::MariaDb => ["stop slave sql_thread", "start slave sql_thread"],
    };
    let sockets = sockets(&gate, "REPLICA");
    for socket in &sockets {
        Gate::server(socket).unwrap().ok(applier[0]).unwrap();
    }
    for id in 61..=63 {
        check(&mut wire, id);
    }
    // Another session, which has written nothing, reads what the replica has.
    let mut other = gate.connect("small@replica").unwrap();
    assert_eq!(other.value("select sum(n) from t").unwrap().as_deref(), Some("60"));
    for socket in &sockets {
        Gate::server(socket).unwrap().ok(applier[1]).unwrap();
    }
    check(&mut wire, 64);
    drop((wire, other));
    let (status, left) = gate.stop();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
    assert!(left.is_empty(), "left running: {left:?}");
    Ok(())
}

fn follow(bed: &Bed) -> Verdict {
    let schema = small_schema();
    let data = tempfile::tempdir().expect("a folder");
    let dev = Dev::new(&bed.family, schema.path()).shards("small=1").replicas(2).data_dir(data.path());
    for round in 1..=2 {
        let gate = dev.start().unwrap_or_else(|error| panic!("start {round}: {error}"));
        let mut wire = gate.connect("small").unwrap();
        wire.ok(format!("insert into t (id, n) values ({round}, {round})")).unwrap();
        let replicas = sockets(&gate, "REPLICA");
        assert_eq!(replicas.len(), 2);
        for socket in &replicas {
            let mut replica = Gate::server(socket).unwrap();
            let rows = format!("{}", (1..=round).sum::<i32>());
            poll(Duration::from_secs(30), || {
                let sum = replica.value("select sum(n) from small.t").ok()??;
                (sum == rows).then_some(())
            })
            .unwrap_or_else(|| panic!("start {round}: {socket} does not get the rows"));
            assert_eq!(replica.value("select @@read_only").unwrap().as_deref(), Some("1"));
            // The gate's own account must not be able to write there.
            let login = crate::wire::Login { user: "shardgate".into(), ..crate::wire::Login::to("small") };
            let endpoint = crate::wire::Endpoint::Unix(socket.into());
            let mut gates = crate::wire::Wire::connect(&endpoint, &login).unwrap();
            let refused = gates.query_one("insert into t (id, n) values (9, 9)").unwrap();
            assert_eq!(refused.error().map(|error| error.code), Some(1290), "{refused:?}");
        }
        let primary = &sockets(&gate, "PRIMARY")[0];
        let clients =
            Gate::server(primary).unwrap().rows("show status like 'rpl_semi_sync_%_clients'").unwrap();
        assert!(clients.iter().any(|row| row[1].as_deref() == Some("2")), "semi-sync: {clients:?}");
        drop(wire);
        let (status, left) = gate.stop();
        assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
        assert!(left.is_empty(), "left running: {left:?}");
    }
    Ok(())
}
