//! Does the gate know what the servers know about their tables?

use std::time::Duration;

use super::serve::{Files, open, shards};
use crate::compare::Order::Any;
use crate::gate::Gate;
use crate::process::poll;
use crate::runner::{Bed, Test, Verdict};
use crate::wire::{Login, Param, Wire};

pub const TESTS: &[Test] = &[
    Test::shared("schema/columns, keys, parameters", |bed| {
        cases(bed, "columns.cases", include_str!("../cases/columns.cases"))?;
        cases(bed, "keys.cases", include_str!("../cases/keys.cases"))?;
        cases(bed, "views.cases", include_str!("../cases/views.cases"))?;
        // The same tables, and so not beside the others.
        parameters(bed)
    }),
    Test::own("schema/changes past the gate", past_the_gate),
];

fn cases(bed: &Bed, name: &str, text: &str) -> Verdict {
    bed.cluster().pair_as(&Login::to("typed")).cases(name, text);
    Ok(())
}

/// The type of a parameter is known when it is executed: what could be on several shards is refused.
fn parameters(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair_as(&Login::to("typed"));
    let insert = "insert into k_bin (k, n) values (?, ?)";
    pair.prepared(insert, &[Param::text("p1"), Param::int(2001)], Any);
    pair.prepared(insert, &[Param::int(77), Param::int(2002)], Any);
    pair.prepared("insert into k_int (k, n) values (?, ?)", &[Param::text("077"), Param::int(2003)], Any);
    pair.prepared("insert into k_char (k, n) values (?, ?)", &[Param::text("p1 "), Param::int(2004)], Any);
    pair.prepared("insert into k_ci (k, n) values (?, ?)", &[Param::text("P1"), Param::int(2005)], Any);
    for (table, values) in [
        ("k_bin", [Param::text("p1"), Param::text("p1  "), Param::text("77"), Param::blob(b"p1")]),
        ("k_int", [Param::text("77"), Param::int(77), Param::double(77.0), Param::text(" 0077")]),
        ("k_char", [Param::text("p1"), Param::text("p1 "), Param::text("P1"), Param::text("")]),
        ("k_ci", [Param::text("p1"), Param::text("P1"), Param::text("p1 "), Param::blob(b"P1")]),
    ] {
        for value in values {
            let condition = format!("from {table} where k = ? and n between 2000 and 2999");
            pair.prepared(&format!("select n {condition}"), std::slice::from_ref(&value), Any);
            let list = format!("select n from {table} where k in (?, ?) and n between 2000 and 2999");
            pair.prepared(&list, &[value.clone(), Param::text("1")], Any);
        }
    }
    let (prepared, _) = pair.prepare("select n from k_bin where k = ?");
    let reply = pair.gate.execute(prepared.id, &[Param::int(77)]).unwrap();
    assert_eq!(reply[0].error().map(|error| error.code), Some(1235), "an integer for a string");
    for table in ["k_bin", "k_int", "k_char", "k_ci"] {
        let delete = format!("delete from {table} where n between ? and 2999");
        pair.prepared(&delete, &[Param::int(2000)], Any);
    }
    Ok(())
}

/// DDL that goes straight to the servers is seen at the next look; a gate whose servers are away at
/// the start knows their tables when they are back.
fn past_the_gate(bed: &Bed) -> Verdict {
    let (server, mut root) = shards(bed);
    let files = Files::over(&server);
    let config = files.config_with("", "[schema]\npoll_interval = \"100ms\"\n");
    let gate = Gate::serve(&config, files.mysql, files.http).unwrap();
    let mut wire = open(&gate);
    wire.ok("insert into t values (1, 1), (2, 2), (3, 3), (4, 4)").unwrap();
    for database in ["ks_low", "ks_high"] {
        root.ok(format!("alter table {database}.t add column s varchar(10) default 'x' first")).unwrap();
    }
    let seen = poll(Duration::from_secs(20), || {
        wire.query_one("insert into t values ('a', 5, 5)").unwrap().error().is_none().then_some(())
    });
    seen.expect("the new column");
    assert_eq!(wire.value("select s from t where id = 5").unwrap().as_deref(), Some("a"));
    // The key's type is another: what is not written as an integer is no longer understood as one.
    for database in ["ks_low", "ks_high"] {
        root.ok(format!("alter table {database}.t modify column id tinyint")).unwrap();
    }
    let refused = poll(Duration::from_secs(20), || {
        let reply = wire.query_one("insert ignore into t values ('a', 300, 5)").unwrap();
        if reply.error().is_none() {
            wire.ok("delete from t where n = 5 and s = 'a' and id <> 5").unwrap();
        }
        reply.error().cloned()
    });
    assert_eq!(refused.expect("the new type").code, 1264);
    unlisted(&mut wire, &mut root);
    let (status, _) = gate.stop();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
    Ok(())
}

/// A table that the VSchema does not list can be read and changed on all shards, as one. Where a new row
/// would belong nobody has said.
fn unlisted(wire: &mut Wire, root: &mut Wire) {
    wire.ok("create table u (n int primary key, s varchar(10))").unwrap();
    assert_eq!(wire.value("select count(*) from u").unwrap().as_deref(), Some("0"), "DDL is seen at once");
    root.ok("insert into ks_low.u values (1, 'a'), (2, 'b')").unwrap();
    root.ok("insert into ks_high.u values (3, 'c')").unwrap();
    let rows = |wire: &mut Wire, sql: &str| {
        let rows = wire.rows(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        rows.into_iter()
            .map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    assert_eq!(rows(wire, "select * from u order by n desc limit 2"), ["3 c", "2 b"]);
    assert_eq!(rows(wire, "select count(*), max(s) from u where n > 1"), ["2 c"]);
    // Joins of it are not local to a shard.
    assert_eq!(rows(wire, "select a.n, b.n from u a join u b on b.n = a.n + 1 order by 1"), ["1 2", "2 3"]);
    assert_eq!(wire.ok("update u set s = upper(s) where n <> 2").unwrap().affected, 2);
    assert_eq!(wire.ok("delete from u where n < 2").unwrap().affected, 1);
    assert_eq!(rows(wire, "select s from u order by s"), ["b", "C"]);
    let listed = rows(wire, "show vschema tables");
    assert_eq!(listed, ["t", "u"]);
    let refused = wire.query_one("insert into u values (4, 'd')").unwrap();
    let refused = refused.error().expect("a row without a place");
    assert_eq!((refused.code, refused.state.as_str()), (1173, "42000"), "{refused}");
    wire.ok("drop table u").unwrap();
    assert_eq!(wire.query_one("select * from u").unwrap().error().map(|error| error.code), Some(1146));
}
