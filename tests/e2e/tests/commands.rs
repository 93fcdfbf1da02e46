//! Does every command of the protocol answer as a server does?

use std::time::Duration;

use crate::cluster::Cluster;
use crate::process::poll;
use crate::runner::{Bed, Test, Verdict};
use crate::wire::{
    COM_CHANGE_USER, COM_INIT_DB, COM_PING, COM_QUERY, COM_QUIT, COM_RESET_CONNECTION, COM_SET_OPTION,
    COM_STATISTICS, Login, Reply, STATUS_IN_TRANS, Wire, WireError,
};

pub const TESTS: &[Test] = &[
    Test::shared("commands/ping, statistics, init db, quit", simple),
    Test::shared("commands/reset connection", reset),
    Test::shared("commands/change user", change_user),
    Test::shared("commands/unknown ones", unknown),
    Test::shared("commands/pipelined", pipelined),
    Test::shared("commands/kill query", kill_query),
    Test::shared("commands/kill query in a change of several shards", kill_change),
    Test::shared("commands/kill connection", kill_connection),
    Test::shared("commands/a client that goes away", gone),
    Test::shared("commands/greeting", greeting),
];

/// A statement that runs for minutes on one shard: 7^12 rows.
const ENDLESS: &str = "select sum(length(a.name) + length(l.name)) as `MARKER` from country a, country b, country c, country d, country e, country f, \
                       country g, country h, country i, country j, country k, country l";

fn simple(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    for wire in [&mut pair.gate, &mut pair.direct] {
        assert_eq!(wire.command(COM_PING, &[]).unwrap().affected, 0);
        wire.send(COM_STATISTICS, &[]).unwrap();
        let text = String::from_utf8(wire.read_packet().unwrap()).unwrap();
        assert!(text.starts_with("Uptime: ") && text.contains("Threads: "), "{text}");
        wire.command(COM_INIT_DB, b"lone").unwrap();
        assert_eq!(wire.value("select database()").unwrap().as_deref(), Some("lone"));
        let error = wire.command(COM_INIT_DB, b"nowhere").unwrap_err();
        assert_eq!(error.server().map(|error| (error.code, error.state.as_str())), Some((1049, "42000")));
        assert_eq!(wire.value("select database()").unwrap().as_deref(), Some("lone"), "the old one stays");
        let error = wire.command(COM_SET_OPTION, &[7, 0]).unwrap_err();
        assert_eq!(error.server().map(|error| error.code), Some(1047));
        wire.send(COM_QUIT, &[]).unwrap();
        assert!(wire.read_packet().is_err(), "closed after QUIT");
    }
    Ok(())
}

fn reset(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    pair.same("set @a = 5, time_zone = '+03:00', sql_mode = 'ANSI_QUOTES', autocommit = 0");
    pair.same("insert into w_multi (id, n) values (7001, 1), (7002, 2), (7003, 3)");
    let (gate, direct) = pair.prepare("select * from customer where id = ?");
    for wire in [&mut pair.gate, &mut pair.direct] {
        let ok = wire.command(COM_RESET_CONNECTION, &[]).unwrap();
        assert_eq!(ok.status & STATUS_IN_TRANS, 0, "no transaction");
    }
    pair.same_values("select @a, @@time_zone, @@sql_mode, @@autocommit, database()");
    // A wait that was set for the session alone ends with the reset.
    pair.same("set session wait_timeout = 1");
    for wire in [&mut pair.gate, &mut pair.direct] {
        wire.command(COM_RESET_CONNECTION, &[]).unwrap();
    }
    poll(Duration::from_millis(2_500), || None::<()>);
    for wire in [&mut pair.gate, &mut pair.direct] {
        assert_eq!(wire.value("select 1").unwrap().as_deref(), Some("1"), "closed by the old wait_timeout");
    }
    pair.same("select count(*) from w_multi where id between 7001 and 7003");
    pair.execute(
        (gate.id, direct.id),
        &[crate::wire::Param::int(1)],
        crate::compare::Order::Same,
        "a statement from before",
    );
    Ok(())
}

/// COM_CHANGE_USER with an empty password, through the AuthSwitch that it always has.
fn change(wire: &mut Wire, user: &str, database: &str) -> Result<(), crate::wire::WireError> {
    let mut body = Vec::new();
    body.extend_from_slice(user.as_bytes());
    body.extend_from_slice(&[0, 0]);
    body.extend_from_slice(database.as_bytes());
    body.push(0);
    body.extend_from_slice(&45_u16.to_le_bytes());
    body.extend_from_slice(b"mysql_native_password\0");
    wire.send(COM_CHANGE_USER, &body)?;
    wire.finish_login()
}

fn change_user(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    pair.same("set @a = 5");
    pair.same("begin");
    pair.same("insert into w_multi (id) values (7101), (7102), (7103)");
    for wire in [&mut pair.gate, &mut pair.direct] {
        change(wire, "e2e", "lone").unwrap();
    }
    pair.same_values("select database(), @a, @@autocommit");
    pair.same("select count(*) from e2e.w_multi where id between 7101 and 7103");
    for wire in [&mut pair.gate, &mut pair.direct] {
        let error = change(wire, "e2e", "nowhere").unwrap_err();
        assert_eq!(error.server().map(|error| error.code), Some(1049));
    }
    Ok(())
}

fn unknown(bed: &Bed) -> Verdict {
    let mut wire = bed.cluster().gate.connect("e2e").unwrap();
    for command in [0x00, 0x05, 0x06, 0x07, 0x0a, 0x0b, 0x0f, 0x10, 0x13, 0x14, 0x1d, 0x20, 0x21, 0x77, 0xfe]
    {
        let error = wire.command(command, b"x").unwrap_err();
        let error = error.server().unwrap_or_else(|| panic!("{command:#x}: {error}"));
        assert_eq!((error.code, error.state.as_str()), (1047, "08S01"), "{command:#x}: {error}");
    }
    assert_eq!(wire.value("select 1").unwrap().as_deref(), Some("1"));
    // A packet out of order ends the conversation: ERR 1156.
    wire.send_raw(&[2, 0, 0, 5, COM_QUERY, b'x']).unwrap();
    let packet = wire.read_packet().unwrap();
    assert_eq!(crate::wire::parse_err(&packet).code, 1156);
    assert!(wire.query("select 1").is_err(), "closed");
    Ok(())
}

/// Commands sent in one segment are answered in order.
fn pipelined(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    let mut bytes = Vec::new();
    let statements = [
        "select 1",
        "select * from customer where id = 17",
        "selec",
        "select id from customer order by id limit 3",
        "begin",
        "commit",
    ];
    for sql in statements {
        bytes.extend_from_slice(&[sql.len() as u8 + 1, 0, 0, 0, COM_QUERY]);
        bytes.extend_from_slice(sql.as_bytes());
    }
    pair.gate.send_raw(&bytes).unwrap();
    pair.direct.send_raw(&bytes).unwrap();
    for sql in statements {
        pair.gate.expect_reply();
        pair.direct.expect_reply();
        let (gate, direct) = (pair.gate.replies(), pair.direct.replies());
        if let Some(difference) = crate::compare::differ(gate, direct, crate::compare::Order::Same) {
            panic!("{sql}\n{difference}");
        }
    }
    Ok(())
}

/// How many statements with a marker run on the shards' server.
fn running(cluster: &Cluster, marker: &str) -> usize {
    let (mut wire, _) = cluster.shards("e2e");
    wire.rows("show full processlist")
        .unwrap()
        .iter()
        .filter(|row| row.iter().flatten().any(|text| text.contains(marker) && !text.starts_with("show")))
        .count()
}

/// Starts an endless statement and waits until a shard runs it.
fn start_endless(cluster: &Cluster, marker: &str) -> Wire {
    let mut victim = cluster.gate.connect("e2e").unwrap();
    victim.send(COM_QUERY, ENDLESS.replace("MARKER", marker).as_bytes()).unwrap();
    poll(Duration::from_secs(20), || (running(cluster, marker) > 0).then_some(()))
        .unwrap_or_else(|| panic!("no shard runs the statement {marker}: {:?}", victim.replies()));
    victim
}

fn wait_until_gone(cluster: &Cluster, marker: &str) {
    poll(Duration::from_secs(10), || (running(cluster, marker) == 0).then_some(()))
        .unwrap_or_else(|| panic!("a shard still runs the statement {marker}"));
}

fn kill_query(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let mut victim = start_endless(cluster, "kill query marker");
    let mut killer = cluster.gate.connect("e2e").unwrap();
    killer.ok(format!("kill query {}", victim.thread_id)).unwrap();
    let replies = victim.replies().unwrap();
    let error = replies.iter().find_map(Reply::error).unwrap_or_else(|| panic!("{replies:?}"));
    assert_eq!((error.code, error.state.as_str()), (1317, "70100"), "{error}");
    wait_until_gone(cluster, "kill query marker");
    assert_eq!(victim.value("select 1").unwrap().as_deref(), Some("1"), "the connection lives");
    let id = victim.value("select connection_id()").unwrap();
    assert_eq!(id, Some(victim.thread_id.to_string()), "CONNECTION_ID() is the greeting's");
    Ok(())
}

/// What some shards have done of a statement that is killed is taken back: the transaction goes on without it.
fn kill_change(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let [mut victim, mut holder, mut reader] = [(); 3].map(|()| cluster.gate.connect("e2e").unwrap());
    victim.ok("insert into w_killed (id, n) values (1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1)").unwrap();
    holder.ok("begin").unwrap();
    holder.ok("update w_killed set n = n where id = 1").unwrap();
    reader.ok("set session transaction isolation level read uncommitted").unwrap();
    victim.ok("begin").unwrap();
    victim.ok("update w_killed set n = 2 where id = 2").unwrap();
    let id = victim.thread_id;
    let waiter = std::thread::spawn(move || {
        let ended = victim.ok("update w_killed set n = n + 100");
        (victim, ended.err().and_then(|error| error.server().map(|error| error.code)))
    });
    let done = poll(Duration::from_secs(30), || {
        let changed = reader.value("select count(*) from w_killed where n > 100").unwrap();
        changed.filter(|changed| changed != "0")
    });
    assert!(done.is_some(), "no shard has changed its rows");
    reader.ok(format!("kill query {id}")).unwrap();
    let (mut victim, ended) = waiter.join().expect("the statement");
    assert_eq!(ended, Some(1317));
    holder.ok("rollback").unwrap();
    let rows = |wire: &mut Wire| wire.value("select group_concat(n order by id) from w_killed").unwrap();
    assert_eq!(rows(&mut victim).as_deref(), Some("1,2,1,1,1,1"), "inside the transaction");
    victim.ok("commit").unwrap();
    assert_eq!(rows(&mut holder).as_deref(), Some("1,2,1,1,1,1"), "after COMMIT");
    Ok(())
}

fn kill_connection(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let mut victim = start_endless(cluster, "kill connection marker");
    let mut killer = cluster.gate.connect("e2e").unwrap();
    killer.ok(format!("kill {}", victim.thread_id)).unwrap();
    wait_until_gone(cluster, "kill connection marker");
    // No error packet before the end: clients of both servers say that they lost the connection (2013).
    match victim.replies() {
        Err(WireError::Io(_)) => {}
        other => panic!("the connection is closed without a word: {other:?}"),
    }
    Ok(())
}

/// Nobody waits for the answer any more: the shard stops working on it.
fn gone(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let victim = start_endless(cluster, "gone marker");
    drop(victim);
    wait_until_gone(cluster, "gone marker");
    Ok(())
}

fn greeting(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let gate = cluster.gate.connect("").unwrap();
    let direct = cluster.plain(&Login::to("")).unwrap();
    let number = |version: &str| version.trim_start_matches("5.5.5-").split('-').next().map(str::to_owned);
    assert_eq!(number(&gate.version), number(&direct.version), "the servers' own version");
    assert_eq!(gate.version.contains("MariaDB"), direct.version.contains("MariaDB"), "{}", gate.version);
    let mut wire = gate;
    let shown = wire.value("select version()").unwrap().unwrap();
    assert_eq!(number(&shown), number(&wire.version), "VERSION() is of the same release");
    Ok(())
}
