//! Do named locks exclude clients of the gate from each other, as one server's do?

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::compare::Order::Same;
use crate::process::poll;
use crate::runner::{Bed, Test, Verdict};
use crate::wire::{COM_RESET_CONNECTION, Login, Param, Reply, Wire};

pub const TESTS: &[Test] = &[
    Test::shared("locks/what a session sees", |bed| {
        let mut pair = bed.cluster().pair();
        pair.cases("locks.cases", include_str!("../cases/locks.cases"));
        // MySQL says it behind the definitions.
        for sql in ["select get_lock('', 1)", "select get_lock(null, 1)"] {
            let end = |wire: &mut Wire| match wire.query_one(sql).unwrap() {
                Reply::Rows(rows) => rows.end.err().map(|error| error.code),
                reply => reply.error().map(|error| error.code),
            };
            assert_eq!(end(&mut pair.gate), end(&mut pair.direct), "{sql}");
        }
        // In the binary protocol.
        pair.prepared("select get_lock(?, ?)", &[Param::text("e2e six"), Param::int(1)], Same);
        pair.prepared("select release_lock(?)", &[Param::text("e2e six")], Same);
        pair.prepared("select release_lock(?), is_used_lock('e2e nobody')", &[Param::text("e2e six")], Same);
        Ok(())
    }),
    Test::shared("locks/sessions wait for each other", contention),
    Test::shared("locks/a lock ends with its session", ends),
];

fn value(wire: &mut Wire, sql: &str) -> Option<String> {
    wire.value(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn one(wire: &mut Wire, sql: &str) {
    assert_eq!(value(wire, sql).as_deref(), Some("1"), "{sql}");
}

fn contention(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let login = Login::to("e2e");
    let (mut first, mut second) = (cluster.gate.login(&login).unwrap(), cluster.gate.login(&login).unwrap());
    one(&mut first, "select get_lock('e2e contended', 0)");
    let id = value(&mut first, "select connection_id()");
    assert_eq!(value(&mut first, "select is_used_lock('e2e contended')"), id, "the client's own id");
    assert_eq!(value(&mut second, "select get_lock('e2e contended', 0)").as_deref(), Some("0"));
    assert_eq!(value(&mut second, "select release_lock('e2e contended')").as_deref(), Some("0"));
    assert_eq!(value(&mut second, "select is_free_lock('e2e contended')").as_deref(), Some("0"));
    // Other statements of the owner use other connections, and the lock stays.
    first.ok("begin").unwrap();
    first.rows("select count(*) from customer").unwrap();
    first.ok("rollback").unwrap();
    let waiter = std::thread::spawn(move || {
        let began = Instant::now();
        one(&mut second, "select get_lock('e2e contended', 60)");
        (second, began.elapsed())
    });
    let runs = poll(Duration::from_secs(30), || {
        let running = first.rows("show full processlist").unwrap();
        let waits = |text: &String| text == "select get_lock('e2e contended', 60)";
        running.iter().flatten().flatten().any(waits).then_some(())
    });
    assert!(runs.is_some(), "the waiter's statement is not in the list");
    one(&mut first, "select release_lock('e2e contended')");
    let (mut second, waited) = waiter.join().expect("the waiter");
    assert!(waited < Duration::from_secs(50), "{waited:?}");
    // KILL QUERY ends the wait; the lock that the waiter has already stays its own.
    one(&mut first, "select get_lock('e2e first', 0)");
    let victim = value(&mut second, "select connection_id()").unwrap();
    let waiter = std::thread::spawn(move || {
        let reply = second.query_one("select get_lock('e2e first', 60)").unwrap();
        (second, reply.error().map(|error| error.code))
    });
    let mut killer = cluster.gate.login(&login).unwrap();
    let (mut second, code) = kill_query(&mut killer, &victim, waiter);
    assert_eq!(code, Some(1317));
    assert_eq!(value(&mut killer, "select is_free_lock('e2e contended')").as_deref(), Some("0"));
    one(&mut second, "select release_all_locks()");
    one(&mut killer, "select is_free_lock('e2e contended')");
    one(&mut first, "select release_all_locks()");
    Ok(())
}

fn ends(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let login = Login::to("e2e");
    let mut watcher = cluster.gate.login(&login).unwrap();
    let mut is_free = |what: &str| {
        let free = poll(Duration::from_secs(30), || {
            (value(&mut watcher, "select is_free_lock('e2e ending')").as_deref() == Some("1")).then_some(())
        });
        free.unwrap_or_else(|| panic!("the lock outlives {what}"));
    };
    let mut owner = cluster.gate.login(&login).unwrap();
    one(&mut owner, "select get_lock('e2e ending', 0)");
    owner.command(COM_RESET_CONNECTION, &[]).unwrap();
    is_free("a reset");
    one(&mut owner, "select get_lock('e2e ending', 0)");
    drop(owner);
    is_free("its session");
    let mut owner = cluster.gate.login(&login).unwrap();
    let id = value(&mut owner, "select connection_id()").unwrap();
    one(&mut owner, "select get_lock('e2e ending', 0)");
    cluster.gate.login(&login).unwrap().ok(format!("kill {id}")).unwrap();
    is_free("KILL");
    Ok(())
}

/// Kills the query of a session until it ends, and gives what its thread gives. A KILL before the statement has
/// begun is nothing.
pub(super) fn kill_query<T>(killer: &mut Wire, id: &str, statement: JoinHandle<T>) -> T {
    let stopped = poll(Duration::from_secs(50), || {
        killer.ok(format!("kill query {id}")).unwrap();
        statement.is_finished().then_some(())
    });
    assert!(stopped.is_some(), "KILL QUERY does not end the statement");
    statement.join().expect("the statement's thread")
}
