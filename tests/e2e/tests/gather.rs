//! Are queries over copies of their tables answered as by one server, values, messages and all?

use crate::compare::Order;
use crate::runner::{Bed, Test, Verdict};
use crate::wire::{Login, Param, Reply, Wire};

pub const TESTS: &[Test] = &[
    Test::shared("gather/values of every type", every_type),
    Test::shared("gather/messages", messages),
    Test::shared("gather/prepared", prepared),
    Test::shared("gather/a transaction sees its changes", transaction),
    Test::shared("gather/locks", locks),
    Test::shared("gather/a note tells of it", notes),
    Test::shared("gather/kill", kill),
];

/// Rows at the edges of what a copy might lose. `copies` has no row elsewhere.
const ROWS: &[&str] = &[
    "insert into copies (id) values (1)",
    "insert into copies (id, f, d, n, b, ts, ts6, y, t, dt, u, l, w, bin, e, s, j, p) values (2, 0.1, 0.1, \
     -0.5, b'101010101', '2026-10-25 01:30:00', '1970-01-01 00:00:01.000001', 1901, '-838:59:59', \
     '1000-01-01 00:00:00.5', 'it''s \\\\ \"x\" \u{1f600} \t\n', 'é\u{a0}ÿ', 'w\u{e4}', x'00ff27005c', 'b', 'x,z', \
     '{\"a\": [1, 2.5, \"\u{1f600}\", null, true], \"b\": {}}', st_geomfromtext('POINT(1.5 -2)'))",
    "insert into copies (id, f, d, n, b, ts, ts6, y, t, dt, u, l, w, bin, e, s, j, p) values (3, -3.4028234e38, \
     -1.7976931348623157e308, 99999999999999999999.9999999999, b'0', '2038-01-19 03:14:07', \
     '2026-03-29 01:00:00.999999', 2155, '838:59:59', '9999-12-31 23:59:59.999999', '', '', '', '', 'a', '', '[]', null)",
    "insert into copies (id, f, d, n, u, e, s) values (-4, 1.17549e-38, 5e-324, 0, 'trailing  ', null, 'y')",
    "insert into copies (id, f, d, u) values (5, 16777217, 9007199254740993, '123')",
];

/// What only a server with a relaxed sql_mode stores.
const LAX: &[&str] = &[
    "set sql_mode = 'ALLOW_INVALID_DATES'",
    "insert into copies (id, ts, dt, e, y, t) values (6, '0000-00-00 00:00:00', '0000-00-00 00:00:00', 'none of them', 0, '0:0:0')",
    "insert into copies (id, dt, d) values (7, '2026-02-31 00:00:00', -0e0)",
];

fn every_type(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    for row in ROWS.iter().chain(LAX) {
        pair.gate.query(row).unwrap();
        pair.direct.query(row).unwrap();
    }
    let reads = [
        "select *, row_number() over (order by id) from copies order by id",
        "select a.*, b.id from copies a join copies b on a.id = b.id + 1 order by a.id",
        "select id, f, d, f = 0.1, d * 3, cast(f as double), 1 / d, row_number() over (order by id) from copies order by id",
        "select id, b + 0, hex(bin), e + 0, s + 0, y, t, dt, u, l, w, rank() over (order by u) from copies order by id",
        "select id, ts, ts6, unix_timestamp(ts6), first_value(ts) over (order by id) from copies order by id",
        "select j, json_extract(j, '$.a'), st_astext(p), count(*) over () from copies order by id",
        "select collation(u), collation(l), collation(w), charset(bin), max(u), max(l) from copies having count(*) > 0",
        "select id from copies where u = 'TRAILING' and id < (select max(id) from copies)",
        "select id from copies where l < 'z' and id < (select count(*) from copies) order by id",
    ];
    let settings = [
        "set time_zone = '+00:00'",
        "set time_zone = '-09:30'",
        "set names latin1",
        "set names utf8mb4",
        "set sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH'",
        "set sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE'",
    ];
    for read in reads {
        pair.same(read);
        pair.prepared(read, &[], Order::Same);
    }
    for setting in settings {
        pair.same(setting);
        for read in reads {
            pair.same(read);
        }
    }
    Ok(())
}

/// The texts of errors are those of one server, too: no name of a copy is in them.
fn messages(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    // MariaDB has it off by default.
    pair.same("set sql_mode = 'ONLY_FULL_GROUP_BY'");
    let faulty = [
        "select nothing, row_number() over () from customer",
        "select c.nothing, row_number() over () from customer c",
        "select id, row_number() over () from customer where nothing = 1",
        "select c.id from customer c join person p on p.nothing = c.id",
        "select id from customer c join orders o on o.id = c.id",
        "select c.name from customer c join person p on p.age = c.id where name = 'x'",
        "select city, id from customer group by city having count(*) > 1",
        "select c.city, e2e.c.id from customer c group by c.city having count(*) > 1",
        "select id from customer union select id, name from customer",
        "select (select id, name from customer) from customer having 1",
        "select id from customer where id = (select id from orders)",
        "select c.id from customer c, orders c where c.id = 1 + c.id",
        "select x.id from customer c join person p on p.age = c.id",
        "select count(*) from customer where having",
        "select abs(count(*), 1) from customer having count(*) > 1",
    ];
    for statement in faulty {
        let text = |wire: &mut Wire| {
            let replies = wire.query(statement).unwrap();
            let error =
                replies.iter().find_map(Reply::error).unwrap_or_else(|| panic!("{statement}: {replies:?}"));
            (error.code, error.state.clone(), error.message.clone())
        };
        assert_eq!(text(&mut pair.gate), text(&mut pair.direct), "{statement}");
    }
    Ok(())
}

fn prepared(bed: &Bed) -> Verdict {
    for login in [Login::to("e2e"), Login::to("e2e").classic_eof()] {
        let mut pair = bed.cluster().pair_as(&login);
        let (int, text) = (Param::int, Param::text);
        pair.prepared(
            "select id, rank() over (order by balance, id) from customer where id < ? order by id",
            &[int(20)],
            Order::Same,
        );
        pair.prepared(
            "select id, ? from customer where balance > (select avg(balance) from customer where city = ?) and id < ? order by id",
            &[text("é"), text("Oslo"), int(50)],
            Order::Same,
        );
        pair.prepared(
            "select c.id, p.name from customer c join person p on p.age = c.id and p.age in (?, ?) order by c.id, p.name",
            &[int(3), int(4)],
            Order::Same,
        );
        pair.prepared(
            "select count(*) from customer where id = ? having count(*) = ?",
            &[int(1), int(1)],
            Order::Same,
        );
        pair.prepared(
            "select count(*) from customer having count(*) > ? limit ?",
            &[Param::double(1.5), int(1)],
            Order::Same,
        );
        // A statement is executed again with other values.
        let (gate, direct) =
            pair.prepare("select city, count(*) from customer where id > ? group by city with rollup");
        for bound in [0, 290, 1000] {
            pair.execute((gate.id, direct.id), &[int(bound)], Order::Same, "with rollup");
        }
        // Faults are found at PREPARE.
        let fault = "select nothing, row_number() over () from customer";
        let codes = [&mut pair.gate, &mut pair.direct]
            .map(|wire| wire.prepare(fault).unwrap_err().server().unwrap().code);
        assert_eq!(codes, [1054, 1054]);
    }
    Ok(())
}

fn transaction(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    let sees = "select id, n, row_number() over (order by id) from w_gather order by id";
    pair.same("insert into w_gather (id, n) values (1, 1), (2, 2), (3, 3), (4, 4)");
    pair.same("begin");
    pair.same("update w_gather set n = n * 10 where id > 2");
    pair.same("insert into w_gather (id, n) values (5, 5)");
    pair.same(sees);
    let mut other = bed.cluster().pair();
    other.same(sees);
    pair.same("delete from w_gather where n = 40");
    pair.same("select count(*), max(n) - 1 from w_gather");
    pair.same("rollback");
    pair.same(sees);
    pair.same("set autocommit = 0");
    pair.same("insert into w_gather (id, n) values (6, 6)");
    pair.same(sees);
    other.same(sees);
    pair.same("commit");
    pair.same("set autocommit = 1");
    other.same(sees);
    Ok(())
}

/// A locking read locks the rows on their shards until the transaction ends.
fn locks(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let mut pair = cluster.pair();
    pair.same("insert into w_lock (id, n) values (1, 1), (2, 1), (3, 2), (4, 2)");
    pair.same("begin");
    pair.same("select id, n from w_lock where n = (select min(n) from customer c where c.id < 0 or n = 1) for update");
    pair.same("select sum(n) + 1 from w_lock where id < 3 for update");
    let mut other = cluster.gate.connect("e2e").unwrap();
    other.ok("set innodb_lock_wait_timeout = 1").unwrap();
    let error = other.ok("update w_lock set n = 9 where id = 1").unwrap_err();
    assert_eq!(error.server().map(|error| error.code), Some(1205), "{error}");
    pair.same("commit");
    other.ok("update w_lock set n = 9 where id = 1").unwrap();
    Ok(())
}

fn notes(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let mut gate = cluster.gate.connect("e2e").unwrap();
    gate.rows("select count(*) from customer having count(*) > 1").unwrap();
    let notes = gate.rows("show warnings").unwrap();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!(notes[0][..2], [Some("Note".into()), Some("1003".into())]);
    assert!(
        notes[0][2].as_deref().is_some_and(|text| text.contains("HAVING over several shards")),
        "{notes:?}"
    );
    gate.rows("select count(*) from customer").unwrap();
    assert_eq!(gate.rows("show warnings").unwrap(), Vec::<Vec<Option<String>>>::new());
    let plan =
        gate.value("vexplain plan select count(*) from customer having count(*) > 1").unwrap().unwrap();
    assert!(plan.contains("\"OperatorType\": \"Gather\""), "{plan}");
    let metrics = cluster.gate.get("/metrics").unwrap().body;
    for name in ["shardgate_gathers_total", "shardgate_gathered_rows_total", "shardgate_gathered_bytes_total"]
    {
        let line =
            metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}"));
        assert!(line.trim().parse::<f64>().unwrap() > 0.0, "{name}{line}");
    }
    Ok(())
}

/// KILL QUERY ends a query over copies, and the session goes on.
fn kill(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let mut victim = cluster.gate.connect("e2e").unwrap();
    let id = victim.thread_id;
    victim.send(crate::wire::COM_QUERY, b"select sum(sleep(5)) + 1 from customer /* gather kill */").unwrap();
    let mut killer = cluster.gate.connect("e2e").unwrap();
    let running = |killer: &mut Wire| {
        let list = killer.rows("show full processlist").unwrap();
        list.iter().any(|row| {
            row.iter().flatten().any(|text| text.contains("gather kill") && text.contains("sleep"))
        })
    };
    crate::process::poll(std::time::Duration::from_secs(30), || running(&mut killer).then_some(()))
        .expect("the query runs");
    killer.ok(format!("kill query {id}")).unwrap();
    let replies = victim.replies().unwrap();
    let error = replies.iter().find_map(Reply::error).unwrap_or_else(|| panic!("{replies:?}"));
    assert_eq!(error.code, 1317, "{error}");
    assert_eq!(
        victim.value("select count(*) from customer having count(*) > 1").unwrap().as_deref(),
        Some("300")
    );
    Ok(())
}
