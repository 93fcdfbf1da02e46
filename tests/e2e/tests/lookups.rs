//! Do lookup tables lead to the rows, and only to their shards, as one server would find them?

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::compare::{Order, Pair};
use crate::gate::{Dev, Gate, binary};
use crate::process;
use crate::runner::{Bed, Test, Verdict};
use crate::server::{Family, Server};
use crate::wire::{Endpoint, Login, Param, Wire};

pub const TESTS: &[Test] = &[
    Test::own("lookups/tables that others fill are asked", reads),
    Test::own("lookups/entries follow their rows", writes),
    Test::own("lookups/sessions that want one value", contention),
    Test::own("lookups/a table is filled by ctl", backfill),
];

/// Vitess's published ids of `hash`, in four shards: 1 and 2 in -40, 3 and 5 in 40-80, 4 and 6 in c0-.
const IDS: &[(i64, &str, &str)] = &[
    (1, "-40", "166b40b44aba4bd6"),
    (2, "-40", "06e7ea22ce92708f"),
    (3, "40-80", "4eb190c9a2fa169c"),
    (4, "c0-", "d2fd8867d50d2dfe"),
    (5, "40-80", "70bb023c810ca87a"),
    (6, "c0-", "f098480ac4c4be71"),
];

/// A gate over four shards, and a plain server with the same tables.
struct Arena {
    gate: Gate,
    plain: Server,
}

impl Arena {
    fn start(family: &Family) -> Arena {
        let plain = Server::start(family).unwrap();
        plain.create_user().unwrap();
        let mut root = plain.root("").unwrap();
        root.ok("CREATE DATABASE shop").unwrap();
        let mut root = plain.root("shop").unwrap();
        let text = std::fs::read_to_string(folder().join("shop/10_tables.sql")).unwrap();
        for reply in root.query(text.trim_end().trim_end_matches(';')).unwrap() {
            assert!(reply.error().is_none(), "{reply:?}");
        }
        let gate =
            Dev::new(family, &folder()).shards("shop=4").start().unwrap_or_else(|error| panic!("{error}"));
        Arena { gate, plain }
    }

    fn pair(&self) -> Pair {
        let direct = Wire::connect(&Endpoint::Tcp(self.plain.port), &Login::to("shop")).unwrap();
        Pair { gate: self.connect(), direct }
    }

    fn connect(&self) -> Wire {
        self.gate.connect("shop").unwrap()
    }

    fn stop(self) {
        let (status, left) = self.gate.stop();
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
        assert!(left.is_empty(), "{left:?}");
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/lookup")
}

/// How many statements a statement takes: those of lookup tables, and its own.
fn asked(wire: &mut Wire, sql: &str) -> (usize, usize) {
    let rows = wire
        .rows(format!("vexplain /*vt+ EXECUTE_DML_QUERIES */ queries {sql}"))
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    let is_lookup = |row: &&Vec<Option<String>>| row[3].as_deref().is_some_and(|text| text.contains("_idx"));
    let lookups = rows.iter().filter(is_lookup).count();
    (lookups, rows.len() - lookups)
}

/// Rows and entries that were written past the gate, some of them stale.
fn fill(pair: &mut Pair) {
    let mut root = Vec::new();
    for (id, shard, keyspace_id) in IDS {
        let city = if id % 2 == 0 { "Oslo" } else { "Ørsta" };
        let member = format!("insert into member values ({id}, 'm{id}@Example.org', '{city}', {id}0)");
        let ticket = format!("insert into ticket values ({id}, {id}00, 'Æble {id}', {id}5)");
        pair.gate.ok(format!("use `shop:{shard}`")).unwrap();
        for statement in [&member, &ticket] {
            pair.gate.ok(statement).unwrap();
            pair.direct.ok(statement).unwrap();
        }
        root.push(format!("insert into email_idx values ('m{id}@Example.org', x'{keyspace_id}')"));
        root.push(format!("insert into city_idx values ('{city}', {id}, x'{keyspace_id}')"));
        root.push(format!("insert into main.ticket_idx values ({id}00, {id})"));
        root.push(format!("insert into main.code_idx values ({id}5, x'{keyspace_id}')"));
    }
    pair.gate.ok("use shop").unwrap();
    // Entries without rows.
    root.push(format!("insert into email_idx values ('gone@example.org', x'{}')", IDS[2].2));
    root.push(format!("insert into city_idx values ('Oslo', 77, x'{}')", IDS[2].2));
    for statement in root {
        pair.gate.ok(&statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

fn reads(bed: &Bed) -> Verdict {
    let arena = Arena::start(&bed.family);
    let mut pair = arena.pair();
    fill(&mut pair);
    for sql in [
        "select id, age from member where email = 'm3@example.org'",
        "select id, age from member where email = 'M4@EXAMPLE.ORG'",
        "select id from member where email = 'gone@example.org'",
        "select id from member where email = 'nobody@example.org'",
        "select count(*), max(age) from member where email = 'nobody@example.org'",
        "select count(*) from member where email in ('m1@example.org', 'm2@example.org', 'x', 'gone@example.org')",
        "select id from member where city = 'oslo' order by id",
        "select id from member where city in ('oslo', 'Ørsta') order by age desc limit 4",
        "select city, count(*) from member where city in ('OSLO', 'none') group by city",
        "select age from member where city = 'Oslo' and id > 2 order by age",
        "select label from ticket where number = 300",
        "select label from ticket where number in (100, 600, 999) order by number",
        "select label from ticket where number = '300'",
        "select number from ticket where code = 45",
        "select number from ticket where code in (15, 45, null) order by code",
        "select number from ticket where code = 99",
        "select m.age, t.number from member m join ticket t on t.member_id = m.id where t.code = 25",
        "select m.age, (select count(*) from ticket t where t.member_id = m.id) from member m where m.email = 'm5@example.org'",
        "select number from ticket where code = 45 for update",
        "update member set age = age + 1 where email = 'm6@example.org'",
        "update member set age = age + 1 where city = 'oslo'",
        "select id, age from member order by id",
    ] {
        if let Some(difference) = pair.difference(sql.as_bytes(), Order::Same) {
            panic!("{sql}\n{difference}");
        }
    }
    pair.prepared(
        "select id, age from member where email = ?",
        &[Param::text("m2@example.org")],
        Order::Same,
    );
    pair.prepared("select id, age from member where email = ?", &[Param::null()], Order::Same);
    pair.prepared("select label from ticket where number = ?", &[Param::int(500)], Order::Same);
    let lists = [Param::int(15), Param::int(65)];
    pair.prepared("select label from ticket where code in (?, ?) order by code", &lists, Order::Same);

    let gate = &mut pair.gate;
    assert_eq!(asked(gate, "select id from member where email = 'm3@example.org'"), (1, 1));
    assert_eq!(asked(gate, "select id from member where city = 'oslo'"), (1, 3), "an entry without a row");
    assert_eq!(asked(gate, "select label from ticket where number in (300, 500)"), (1, 1));
    assert_eq!(asked(gate, "update member set age = 1 where email = 'm6@example.org'"), (1, 1));
    let plan = gate.value("vexplain plan select id from member where email = 'a'").unwrap().unwrap();
    assert!(plan.contains("VindexLookup") && plan.contains("email_idx"), "{plan}");

    // The session's own entries are seen, and nobody else's before their commit.
    let mut other = arena.connect();
    gate.ok("begin").unwrap();
    gate.ok(format!("insert into email_idx values ('new@example.org', x'{}')", IDS[0].2)).unwrap();
    assert_eq!(asked(gate, "select id from member where email = 'new@example.org'"), (1, 1));
    let entry =
        |wire: &mut Wire| wire.rows("select hex(keyspace_id) from email_idx where email = 'new@example.org'");
    assert_eq!(entry(gate).unwrap().len(), 1);
    assert_eq!(entry(&mut other).unwrap().len(), 0);
    gate.ok("rollback").unwrap();
    drop((other, pair));
    arena.stop();
    Ok(())
}

/// Changes that one server answers alike, whatever becomes of their entries.
const CHANGES: &[&str] = &[
    "insert into member (id, email, city, age) values (1, 'A@example.org', 'Oslo', 10)",
    "insert into member (id, email, city, age) values (2, 'b@example.org', 'Oslo', 20), (3, null, 'Lyon', 30), \
     (4, 'd@example.org', 'Ørsta', 40)",
    // Duplicates of the unique value, of the primary key, and within one statement.
    "insert into member (id, email, city) values (5, 'a@EXAMPLE.org', 'Oslo')",
    "insert into member (id, email, city) values (6, 'f@example.org', 'x'), (5, 'b@example.org', 'x')",
    "insert into member (id, email, city) values (1, 'new@example.org', 'Oslo')",
    "insert into member (id, email, city) values (5, 'same@example.org', 'x'), (6, 'SAME@example.org', 'y')",
    "insert into member (id, email, city) values (5, 'new@example.org', 'x'), (6, 'same@example.org', 'y')",
    "insert into member (id, email, city) values (7, 'g@example.org', null)",
    "insert into ticket values (1, 100, 'Æble', 15), (1, 101, 'æble', 16), (3, 300, 'Æble', null), (4, 400, null, 45)",
    "insert into ticket values (5, 100, 'x', 5)",
    "insert into ticket values (5, 500, 'x', 15)",
    "insert into ticket set member_id = 6, number = 600, label = 'set', code = 65",
    // Updates of other columns, of lookup columns, to themselves, to NULL, to a value that is taken.
    "update member set age = 11 where email = 'a@example.org'",
    "update member set email = 'moved@example.org' where id = 1",
    "update member set email = 'MOVED@example.org' where email = 'moved@example.org'",
    "update member set email = null, age = 12 where id = 2",
    "update member set email = 'three@example.org', city = 'Oslo' where id in (3)",
    "update member set email = 'three@example.org' where id = 4",
    "update member set email = 'many@example.org' where city = 'Oslo'",
    "update member set city = 'Paris' where city in ('Oslo', 'x')",
    "update member set city = null where id = 4",
    "update member set email = 'nobody@example.org' where id = 99",
    "update ticket set code = 17, label = 'two' where number = 101",
    "update ticket set code = 17 where number = 400",
    "update ticket set label = 'all' where code > 0",
    // Deletes.
    "delete from member where email = 'moved@example.org'",
    "delete from member where city = 'paris' and age is null",
    "delete from member where id = 99",
    "delete from ticket where label = 'ALL' and code = 15",
    "delete from ticket where number in (300, 999)",
    "insert into member (id, email, city) values (2, 'moved@example.org', 'again')",
    "insert into member (id, email, city) values (1, 'moved@example.org', 'again')",
    "insert into ticket values (2, 100, 'again', 15)",
];

/// What is left is the same, found by every column, and every row has its entries and no others.
fn check(pair: &mut Pair) {
    for sql in ["select * from member order by id", "select * from ticket order by number"] {
        if let Some(difference) = pair.difference(sql.as_bytes(), Order::Same) {
            panic!("{sql}\n{difference}");
        }
    }
    let cell = |row: &[Option<String>], at: usize| row[at].clone();
    let members = pair.direct.rows("select id, email, city from member").unwrap();
    let tickets = pair.direct.rows("select number, label, code from ticket").unwrap();
    for row in &members {
        for (column, at) in [("email", 1), ("city", 2)] {
            let Some(value) = cell(row, at) else { continue };
            let sql = format!("select id from member where {column} = '{value}' order by id");
            assert!(pair.difference(sql.as_bytes(), Order::Same).is_none(), "{sql}");
        }
    }
    for row in &tickets {
        for (column, at) in [("number", 0), ("label", 1), ("code", 2)] {
            let Some(value) = cell(row, at) else { continue };
            let sql = format!("select number from ticket where {column} = '{value}' order by number");
            assert!(pair.difference(sql.as_bytes(), Order::Same).is_none(), "{sql}");
        }
    }
    let count = |rows: &[Vec<Option<String>>], at: usize| rows.iter().filter(|row| row[at].is_some()).count();
    for (table, wanted) in [
        ("email_idx", count(&members, 1)),
        ("city_idx", members.len()),
        ("main.ticket_idx", tickets.len()),
        ("main.label_idx", count(&tickets, 1)),
        ("main.code_idx", count(&tickets, 2)),
    ] {
        let found = pair.gate.value(format!("select count(*) from {table}")).unwrap();
        assert_eq!(found, Some(wanted.to_string()), "{table}");
    }
}

fn clear(pair: &mut Pair) {
    for sql in ["delete from member", "delete from ticket"] {
        pair.gate.ok(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        pair.direct.ok(sql).unwrap();
    }
    check(pair);
}

fn writes(bed: &Bed) -> Verdict {
    let arena = Arena::start(&bed.family);
    let mut pair = arena.pair();
    for mode in ["multi", "twopc"] {
        pair.gate.ok(format!("set transaction_mode = '{mode}'")).unwrap();
        for sql in CHANGES {
            if let Some(difference) = pair.difference(sql.as_bytes(), Order::Same) {
                panic!("{mode}: {sql}\n{difference}");
            }
        }
        check(&mut pair);
        clear(&mut pair);
    }
    pair.gate.ok("set transaction_mode = 'multi'").unwrap();
    transactions(&mut pair);
    pair.gate.ok("set transaction_mode = 'twopc'").unwrap();
    transactions(&mut pair);
    pair.gate.ok("set transaction_mode = 'multi'").unwrap();
    stale(&mut pair);

    // Parameters, and numbers of the sequence.
    let member = [Param::int(1), Param::text("prepared@example.org"), Param::text("Oslo")];
    pair.prepared("insert into member (id, email, city) values (?, ?, ?)", &member, Order::Same);
    let email = [Param::text("other@example.org"), Param::int(1)];
    pair.prepared("update member set email = ? where id = ?", &email, Order::Same);
    check(&mut pair);
    pair.prepared("delete from member where email = ?", &[Param::text("other@example.org")], Order::Same);
    check(&mut pair);
    let gate = &mut pair.gate;
    gate.ok("insert into ticket (member_id, label, code) values (1, 'one', 1), (3, 'two', null)").unwrap();
    let numbers = gate.rows("select number from ticket order by number").unwrap();
    assert_eq!(numbers.len(), 2, "{numbers:?}");
    for number in numbers.into_iter().flatten().flatten() {
        assert_eq!(asked(gate, &format!("select label from ticket where number = {number}")), (1, 1));
        assert_eq!(gate.rows(format!("select label from ticket where number = {number}")).unwrap().len(), 1);
    }

    // What cannot be followed is refused, and says so.
    for sql in [
        "insert ignore into member (id, email, city) values (1, 'x', 'y')",
        "replace into member (id, email, city) values (1, 'x', 'y')",
        "insert into member (id, email, city) values (1, 'x', 'y') on duplicate key update email = 'z'",
        "update member set email = concat(email, 'x') where id = 1",
        "update member set email = 'x' where id = 1 limit 1",
        "delete from member limit 1",
    ] {
        let error = gate.ok(sql).expect_err(sql);
        assert!(error.to_string().contains("VT12001"), "{sql}: {error}");
    }
    drop(pair);
    arena.stop();
    Ok(())
}

/// Several changes of one value in a transaction, undone in part and as a whole.
fn transactions(pair: &mut Pair) {
    let both = |pair: &mut Pair, statements: &[&str]| {
        for sql in statements {
            if let Some(difference) = pair.difference(sql.as_bytes(), Order::Same) {
                panic!("{sql}\n{difference}");
            }
        }
    };
    both(
        pair,
        &[
            "insert into member (id, email, city) values (1, 'one@example.org', 'Oslo'), (3, 'three@example.org', 'Lyon')",
            "begin",
            "insert into member (id, email, city) values (4, 'four@example.org', 'Oslo')",
            "select id from member where email = 'four@example.org'",
            "update member set age = 4 where email = 'four@example.org'",
            "insert into member (id, email, city) values (5, 'one@example.org', 'Oslo')",
            "insert into member (id, email, city) values (4, 'five@example.org', 'Oslo')",
            "delete from member where email = 'four@example.org'",
            "select count(*) from member where email = 'four@example.org'",
            "insert into member (id, email, city) values (4, 'four@example.org', 'Oslo')",
            "savepoint s",
            "insert into member (id, email, city) values (5, 'five@example.org', 'Oslo')",
            "rollback to savepoint s",
            "update member set email = 'uno@example.org' where id = 1",
            "update member set email = 'one@example.org' where id = 1",
            "delete from member where id = 3",
            "insert into member (id, email, city) values (3, 'three@example.org', 'Lyon')",
            "commit",
        ],
    );
    check(pair);
    both(
        pair,
        &[
            "begin",
            "insert into member (id, email, city) values (6, 'six@example.org', 'Oslo')",
            "delete from member where city = 'Oslo'",
            "update member set email = 'drei@example.org' where id = 3",
            "rollback",
        ],
    );
    check(pair);
    clear(pair);
}

/// Entries without rows are taken over; those of rows that are there are not.
fn stale(pair: &mut Pair) {
    let orphans = |pair: &mut Pair| {
        pair.gate.ok(format!("insert into email_idx values ('left@example.org', x'{}')", IDS[0].2)).unwrap();
        pair.gate.ok(format!("insert into city_idx values ('Oslo', 3, x'{}')", IDS[0].2)).unwrap();
        pair.gate.ok("insert into main.ticket_idx values (300, 1)").unwrap();
    };
    for head in ["", "begin"] {
        orphans(pair);
        for sql in [
            head,
            "insert into member (id, email, city) values (3, 'LEFT@example.org', 'Oslo'), (4, 'd@example.org', 'Oslo')",
            "insert into ticket values (3, 300, 'x', 1)",
            "insert into member (id, email, city) values (5, 'left@example.org', 'Oslo')",
            "commit",
        ] {
            if sql.is_empty() {
                continue;
            }
            if let Some(difference) = pair.difference(sql.as_bytes(), Order::Same) {
                panic!("{sql}\n{difference}");
            }
        }
        check(pair);
        clear(pair);
    }
    // A value that goes from one row to another has no order that is safe in mode multi.
    let gate = &mut pair.gate;
    gate.ok("insert into member (id, email, city) values (1, 'one@example.org', 'Oslo')").unwrap();
    gate.ok("begin").unwrap();
    gate.ok("delete from member where id = 1").unwrap();
    let again = "insert into member (id, email, city) values (3, 'one@example.org', 'Oslo')";
    let error = gate.ok(again).expect_err("an unsafe order");
    assert!(error.to_string().contains("twopc"), "{error}");
    gate.ok("commit").unwrap();
    gate.ok(again).unwrap();
    gate.ok("delete from member").unwrap();
    check(pair);
}

/// Of sessions that insert one value, one has it; the others wait and get 1062, or have it after a rollback.
fn contention(bed: &Bed) -> Verdict {
    let arena = Arena::start(&bed.family);
    let code = |result: Result<crate::wire::OkPacket, crate::wire::WireError>| {
        result.err().map_or(0, |error| error.server().map_or(1, |error| error.code))
    };
    for (mode, end, wanted) in [
        ("multi", "commit", 1062),
        ("multi", "rollback", 0),
        ("twopc", "commit", 1062),
        ("twopc", "rollback", 0),
    ] {
        let (mut first, mut second) = (arena.connect(), arena.connect());
        for wire in [&mut first, &mut second] {
            wire.ok(format!("set transaction_mode = '{mode}'")).unwrap();
        }
        first.ok("begin").unwrap();
        first.ok("insert into member (id, email, city) values (1, 'x@example.org', 'a')").unwrap();
        first.ok("insert into ticket values (1, 7, 'a', 7)").unwrap();
        let waits = std::thread::spawn(move || {
            let member = second.ok("insert into member (id, email, city) values (3, 'X@example.org', 'b')");
            let ticket = second.ok("insert into ticket values (3, 8, 'a', 7)");
            (member, ticket)
        });
        // Whether the other has begun to wait by now does not matter to what it must get.
        first.ok(end).unwrap();
        let (member, ticket) = waits.join().unwrap();
        assert_eq!((code(member), code(ticket)), (wanted, wanted), "{mode} {end}");
        let found = first.rows("select id from member where email = 'x@example.org'").unwrap();
        assert_eq!(found.len(), 1, "{mode} {end}: {found:?}");
        first.ok("delete from member").unwrap();
        first.ok("delete from ticket").unwrap();
    }
    // Everybody at once.
    let threads: Vec<_> = IDS
        .iter()
        .map(|(id, ..)| {
            let mut wire = arena.connect();
            std::thread::spawn(move || {
                let (mut won, mut others) = (0, Vec::new());
                for round in 0..20 {
                    let sql = format!(
                        "insert into member (id, email, city) values ({}, 'round{round}@example.org', 'Oslo')",
                        round * 10 + id
                    );
                    match code(wire.ok(&sql)) {
                        0 => won += 1,
                        1062 => {}
                        other => others.push(other),
                    }
                }
                (won, others)
            })
        })
        .collect();
    let ended: Vec<(i32, Vec<u16>)> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let others: Vec<u16> = ended.iter().flat_map(|(_, others)| others).copied().collect();
    assert!(others.is_empty(), "errors {others:?}");
    let mut wire = arena.connect();
    assert_eq!(ended.iter().map(|(won, _)| won).sum::<i32>(), 20, "each value once");
    assert_eq!(wire.value("select count(*) from member").unwrap().as_deref(), Some("20"));
    assert_eq!(wire.value("select count(*) from email_idx").unwrap().as_deref(), Some("20"));
    for round in 0..20 {
        let sql = format!("select id from member where email = 'round{round}@example.org'");
        assert_eq!(wire.rows(&sql).unwrap().len(), 1, "{sql}");
    }
    drop(wire);
    arena.stop();
    Ok(())
}

/// The entries that `ctl` makes of rows are those that the rows had.
fn backfill(bed: &Bed) -> Verdict {
    let data = tempfile::tempdir().unwrap();
    let dev = Dev::new(&bed.family, &folder()).shards("shop=4").data_dir(data.path());
    let gate = dev.start().unwrap_or_else(|error| panic!("{error}"));
    let config = data.path().join("fill.toml");
    let text = "[topology]\nkind = \"file\"\npath = \"topology.toml\"\n[users]\nallow_any = true\n\
                [backend]\nuser = \"root\"\n";
    std::fs::write(&config, text).unwrap();
    let fill = |vindex: &str| {
        let mut command = Command::new(binary());
        command.args(["ctl", "--config"]).arg(&config);
        command.args(["BackfillLookupVindex", "--keyspace", "shop", "--batch-size", "2", "--vindex", vindex]);
        let ended = process::run(&mut command, "", Duration::from_secs(60)).expect("ctl runs");
        (ended.code, ended.stdout, ended.stderr)
    };
    let mut wire = gate.connect("shop").unwrap();
    for sql in [
        "insert into member (id, email, city) values (1, 'A@example.org', 'Ørsta'), (2, null, 'Oslo'), \
         (3, 'it''s@\\\\example.org', 'Oslo'), (4, '日本', 'oslo'), (5, 'e', 'Lyon'), (6, '', 'Lyon')",
        "insert into ticket values (1, 100, 'Æble', 15), (1, 101, 'æble', 16), (3, 300, 'Æble', null), (4, 400, null, 45)",
    ] {
        wire.ok(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let tables = [
        ("email_map", "email_idx", "email", (6, 5)),
        ("city_map", "city_idx", "city, id", (6, 6)),
        ("ticket_map", "main.ticket_idx", "number", (4, 4)),
        ("label_map", "main.label_idx", "label, id", (4, 3)),
        ("code_map", "main.code_idx", "code", (4, 3)),
    ];
    for (vindex, table, keys, (rows, entries)) in tables {
        let select = format!("select * from {table} order by {keys}");
        let before = wire.rows(&select).unwrap();
        assert_eq!(before.len(), entries, "{table}");
        wire.ok(format!("delete from {table}")).unwrap();
        for added in [entries, 0] {
            let (code, stdout, stderr) = fill(vindex);
            assert_eq!(code, Some(0), "{vindex}: {stdout}{stderr}");
            let told: serde_json::Value = serde_json::from_str(&stdout).unwrap();
            assert_eq!((&told["rows"], &told["added"]), (&rows.into(), &added.into()), "{vindex}: {told}");
            assert_eq!(told["without_entry"], rows - entries, "{vindex}: {told}");
        }
        assert_eq!(wire.rows(&select).unwrap(), before, "{table}");
    }
    // An entry that leads elsewhere stays, and is told.
    wire.ok("update main.code_idx set keyspace_id = x'00' where code = 45").unwrap();
    let (code, stdout, _) = fill("code_map");
    assert_eq!(code, Some(1), "{stdout}");
    let told: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(told["conflicts"], serde_json::json!(["'45'"]), "{told}");
    // What is no lookup with an owner is refused.
    for vindex in ["hash", "nothing"] {
        let (code, _, stderr) = fill(vindex);
        assert!(code == Some(1) && stderr.contains(vindex), "{code:?} {stderr}");
    }
    drop(wire);
    let (status, left) = gate.stop();
    assert!(status.is_some_and(|status| status.success()) && left.is_empty(), "{status:?} {left:?}");
    Ok(())
}
