//! Are temporary tables of a session what they are on one server?

use std::time::Duration;

use crate::cluster::Cluster;
use crate::compare::Order::Same;
use crate::process::poll;
use crate::runner::{Bed, Test, Verdict};
use crate::wire::{COM_RESET_CONNECTION, Login, Param, Reply, Wire};

use super::limits::metric;
use super::locks::kill_query;

pub const TESTS: &[Test] = &[
    Test::shared("temporary/what a session sees", |bed| {
        let mut pair = bed.cluster().pair_as(&Login::to("lone"));
        pair.cases("temporary.cases", include_str!("../cases/temporary.cases"));
        Ok(())
    }),
    Test::shared("temporary/prepared statements", prepared),
    Test::alone("temporary/sessions are pinned and say so", pinned),
    Test::shared("temporary/a lost connection ends the session", lost),
];

fn prepared(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair_as(&Login::to("lone"));
    for wire in [&mut pair.gate, &mut pair.direct] {
        wire.ok("create temporary table numbers (id int primary key, v decimal(8, 2))").unwrap();
    }
    pair.prepared("insert into numbers values (?, ?)", &[Param::int(1), Param::text("1.50")], Same);
    pair.prepared("select id, v from numbers where id = ?", &[Param::int(1)], Same);
    for wire in [&mut pair.gate, &mut pair.direct] {
        let statement =
            wire.prepare("create temporary table made select ? as v, n.id from numbers n").unwrap();
        let replies = wire.execute(statement.id, &[Param::int(7)]).unwrap();
        assert!(replies[0].error().is_none(), "{replies:?}");
    }
    pair.prepared("select count(*) from made where id = ?", &[Param::int(1)], Same);
    pair.same("prepare p from 'select v from numbers where id = ?'");
    pair.same("set @one = 1");
    pair.same("execute p using @one");
    // COM_FIELD_LIST knows them, too.
    for wire in [&mut pair.gate, &mut pair.direct] {
        wire.send(0x04, b"numbers\0").unwrap();
        let first = wire.read_packet().unwrap();
        assert_ne!(first[0], 0xff, "{}", String::from_utf8_lossy(&first));
        while !matches!(wire.read_packet().unwrap()[0], 0xfe | 0xff) {}
    }
    pair.same("select count(*) from numbers");
    Ok(())
}

fn one(wire: &mut Wire, sql: &str) -> Option<String> {
    wire.value(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn code(wire: &mut Wire, sql: &str) -> Option<u16> {
    wire.query_one(sql).unwrap().error().map(|error| error.code)
}

/// Waits until so many sessions are pinned.
fn await_pinned(cluster: &Cluster, count: u64, when: &str) {
    let pinned = || metric(&cluster.gate, "shardgate_pinned_connections{reason=\"temporary_table\"}");
    let reached = poll(Duration::from_secs(60), || (pinned() == count).then_some(()));
    assert!(reached.is_some(), "{} sessions are pinned {when}", pinned());
}

fn pinned(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let login = Login::to("lone");
    await_pinned(cluster, 0, "before");
    let mut wire = cluster.gate.login(&login).unwrap();
    let made = wire.ok("create temporary table mine (id int)").unwrap();
    assert_eq!(made.warnings, 1);
    let notes = wire.rows("show warnings").unwrap();
    assert_eq!(notes[0][0].as_deref(), Some("Note"), "{notes:?}");
    assert!(notes[0][2].as_deref().unwrap().contains("lone/0"), "{notes:?}");
    await_pinned(cluster, 1, "with one table");
    // Others do not see it, and may have one of the same name.
    let mut other = cluster.gate.login(&login).unwrap();
    assert_eq!(code(&mut other, "select * from mine"), Some(1146));
    other.ok("create temporary table mine (name text)").unwrap();
    other.ok("insert into mine values ('other')").unwrap();
    wire.ok("insert into mine values (1)").unwrap();
    assert_eq!(one(&mut other, "select * from mine").as_deref(), Some("other"));
    assert_eq!(one(&mut wire, "select * from mine").as_deref(), Some("1"));
    await_pinned(cluster, 2, "with two sessions");
    // With its last table the connection goes back; one that failed pins nobody.
    other.ok("drop temporary table mine").unwrap();
    await_pinned(cluster, 1, "after a drop");
    assert_eq!(code(&mut other, "create temporary table broken (id int, id int)"), Some(1060));
    await_pinned(cluster, 1, "after a failure");
    // A statement that is interrupted leaves the table where it is.
    let id = one(&mut wire, "select connection_id()").unwrap();
    let sleeper = std::thread::spawn(move || {
        let ended = code(&mut wire, "select count(*), sleep(60) from mine");
        (wire, ended)
    });
    let (mut wire, ended) = kill_query(&mut other, &id, sleeper);
    assert_eq!(ended, Some(1317));
    assert_eq!(one(&mut wire, "select * from mine").as_deref(), Some("1"));
    wire.command(COM_RESET_CONNECTION, &[]).unwrap();
    assert_eq!(code(&mut wire, "select * from mine"), Some(1146), "a reset drops it");
    await_pinned(cluster, 0, "after a reset");
    wire.ok("create temporary table mine (id int)").unwrap();
    await_pinned(cluster, 1, "again");
    drop(wire);
    await_pinned(cluster, 0, "after the client has gone");
    // Whatever connection comes next, the table is not there.
    for _ in 0..4 {
        let mut next = cluster.gate.login(&login).unwrap();
        assert_eq!(code(&mut next, "select * from mine"), Some(1146));
    }
    Ok(())
}

fn lost(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let (mut server, _) = cluster.shards("lone");
    let mut wire = cluster.gate.connect("lone").unwrap();
    wire.ok("create temporary table mine (id int)").unwrap();
    wire.ok("insert into mine values (1)").unwrap();
    let victim = std::thread::spawn(move || {
        let reply = wire.query_one("select sleep(100), 'e2e lost table' from mine").unwrap();
        let error = match reply {
            // Behind the definitions.
            Reply::Rows(rows) => rows.end.err(),
            reply => reply.error().cloned(),
        };
        (error, wire.query_one("select 1"))
    });
    let find = "select id from information_schema.processlist \
                where info like '%e2e lost table%' and info not like '%processlist%'";
    let killed = poll(Duration::from_secs(60), || {
        let id = server.value(find).unwrap()?;
        server.ok(format!("kill {id}")).ok().map(drop)
    });
    assert!(killed.is_some(), "the statement does not run");
    let (error, next) = victim.join().expect("the victim");
    let error = error.expect("an error");
    assert_eq!((error.code, error.state.as_str()), (1053, "08S01"), "{error}");
    assert!(error.message.starts_with("VT15001"), "{error}");
    assert!(next.is_err(), "the session goes on: {next:?}");
    Ok(())
}
