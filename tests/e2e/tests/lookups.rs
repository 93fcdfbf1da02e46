//! Do lookup tables lead to the rows, and only to their shards, as one server would find them?

use std::path::{Path, PathBuf};

use crate::compare::{Order, Pair};
use crate::gate::{Dev, Gate};
use crate::runner::{Bed, Test, Verdict};
use crate::server::{Family, Server};
use crate::wire::{Endpoint, Login, Param, Wire};

pub const TESTS: &[Test] = &[Test::own("lookups/tables that others fill are asked", reads)];

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
