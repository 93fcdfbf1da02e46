//! Are the answers to SQL those of one server? The statements stand in `tests/e2e/cases`.

use std::fmt::Write as _;

use crate::compare::Order;
use crate::runner::{Bed, Test, Verdict};
use crate::wire::{Login, Param, STATUS_AUTOCOMMIT, STATUS_IN_TRANS, Wire};

pub const TESTS: &[Test] = &[
    Test::shared("statements/route", |bed| cases(bed, "route.cases", include_str!("../cases/route.cases"))),
    Test::shared("statements/scatter", |bed| {
        cases(bed, "scatter.cases", include_str!("../cases/scatter.cases"))
    }),
    Test::shared("statements/gather", |bed| {
        cases(bed, "gather.cases", include_str!("../cases/gather.cases"))
    }),
    Test::shared("statements/write", |bed| cases(bed, "write.cases", include_str!("../cases/write.cases"))),
    Test::shared("statements/insert ids", |bed| {
        cases(bed, "insert_id.cases", include_str!("../cases/insert_id.cases"))?;
        // Where an unchanged row counts as changed.
        let mut pair = bed.cluster().pair_as(&Login::to("lone").with(crate::wire::FOUND_ROWS));
        pair.cases("insert_id.cases", include_str!("../cases/insert_id.cases"));
        Ok(())
    }),
    Test::shared("statements/found", |bed| {
        cases(bed, "found.cases", include_str!("../cases/found.cases"))?;
        found_by_parameters(bed)
    }),
    Test::shared("statements/moves", |bed| {
        cases(bed, "moves.cases", include_str!("../cases/moves.cases"))?;
        moves_by_parameters(bed)
    }),
    Test::shared("statements/transaction", |bed| {
        cases(bed, "transaction.cases", include_str!("../cases/transaction.cases"))
    }),
    Test::shared("statements/completion", |bed| {
        cases(bed, "completion.cases", include_str!("../cases/completion.cases"))?;
        // As JDBC's `sessionVariables` says it.
        let mut pair = bed.cluster().pair();
        pair.gate.ok("set session transaction_mode = 'twopc'").unwrap();
        pair.cases("completion.cases", include_str!("../cases/completion.cases"));
        Ok(())
    }),
    Test::shared("statements/RELEASE closes the connection", release),
    // Alone: it lists the tables, and others make some.
    Test::alone("statements/session", |bed| {
        cases(bed, "session.cases", include_str!("../cases/session.cases"))
    }),
    Test::shared("statements/route, classic EOF", route_without_deprecate_eof),
    Test::shared("statements/distinct text with blanks", distinct_text_with_blanks),
    Test::shared("statements/found rows", found_rows),
    Test::shared("statements/many at once", multi_statements),
    Test::shared("statements/status flags", status_flags),
    Test::shared("statements/isolation between sessions", isolation),
    Test::shared("statements/keyspaces and shards", keyspaces_and_shards),
    Test::shared("statements/rows lie where the vindex says", placement),
];

fn cases(bed: &Bed, name: &str, text: &str) -> Verdict {
    bed.cluster().pair().cases(name, text);
    Ok(())
}

/// Parameters in the part that is read and in the part that is changed.
fn found_by_parameters(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    pair.same("insert into w_found (id, owner, n) values (1, 2, 1), (2, 3, 2), (3, 1, 3), (4, 9, 4)");
    let update = "update w_found a join w_found b on a.owner = b.id and b.n < ? set a.n = a.n + ?, a.s = ? where a.id > ?";
    for (bound, most) in [(3, 0), (9, 1), (0, 0)] {
        let params = [Param::int(bound), Param::int(10), Param::text("it's"), Param::int(most)];
        pair.prepared(update, &params, Order::Same);
        pair.same("select * from w_found order by id");
    }
    let delete =
        "delete from w_found where owner in (select w_id from w_found_part where price > ?) or n = ?";
    pair.prepared(delete, &[Param::double(1.5), Param::int(4)], Order::Same);
    pair.same("select * from w_found order by id");
    pair.same("delete from w_found");
    Ok(())
}

/// The new shard follows from a parameter.
fn moves_by_parameters(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    pair.same("insert into w_move_key values (1, 1, 1), (2, 2, 2), (3, 3, 3)");
    let update = "update w_move_key set n = n + ?, member = ? where id in (?, ?)";
    for member in [4, 4, 7, 1] {
        let params = [Param::int(5), Param::int(member), Param::int(1), Param::int(3)];
        pair.prepared(update, &params, Order::Same);
        pair.same("select * from w_move_key order by member, id");
        pair.same_rows(format!("select * from w_move_key where member = {member}"));
    }
    pair.prepared(update, &[Param::int(5), Param::text("8"), Param::text("2"), Param::int(9)], Order::Same);
    pair.same("select * from w_move_key order by member, id");
    pair.same("delete from w_move_key");
    Ok(())
}

/// The same reads for a client that wants the EOF packets of old.
fn route_without_deprecate_eof(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair_as(&Login::to("e2e").classic_eof());
    pair.cases("route.cases", include_str!("../cases/route.cases"));
    pair.cases("scatter.cases", include_str!("../cases/scatter.cases"));
    Ok(())
}

/// Text that a collation calls equal may have several weights ('a' and 'a '): no shard may count them as
/// several rows of a LIMIT. Which of the equal texts comes is open.
fn distinct_text_with_blanks(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    let mut insert = String::from("insert into padded (id, s) values ");
    for id in 0..60 {
        let comma = if id == 0 { "" } else { ", " };
        let (letter, blanks) = (["a", "b", "C", "d", "E"][id % 5], " ".repeat(id % 4));
        let _ = write!(insert, "{comma}({id}, '{letter}{blanks}')");
    }
    pair.same(insert);
    for limit in ["limit 1", "limit 3", "limit 4", "limit 2, 2", "limit 4 offset 3", "limit 100"] {
        for order in ["order by s", "order by s desc", "order by 1"] {
            let sql = format!("select distinct s from padded {order} {limit}");
            let letters = |wire: &mut Wire| -> Vec<String> {
                let rows = wire.rows(&sql).unwrap();
                rows.iter().map(|row| row[0].as_deref().unwrap().trim_end().to_owned()).collect()
            };
            assert_eq!(letters(&mut pair.gate), letters(&mut pair.direct), "{sql}");
        }
    }
    Ok(())
}

/// CLIENT_FOUND_ROWS turns the count of an UPDATE from changed into matched rows.
fn found_rows(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let mut matched = cluster.pair_as(&Login::to("e2e").with(crate::wire::FOUND_ROWS));
    let mut changed = cluster.pair();
    matched.same("insert into w_multi (id, n) values (1001, 1), (1002, 1), (1003, 1), (1004, 2)");
    for pair in [&mut matched, &mut changed] {
        pair.same("update w_multi set n = 1 where id = 1001");
        pair.same("update w_multi set n = 1 where id between 1001 and 1004");
        pair.same("update w_multi set n = 2 where id = 1004");
        pair.same("insert into w_multi (id, n) values (1001, 1) on duplicate key update n = values(n)");
    }
    matched.same("delete from w_multi where id between 1001 and 1004");
    Ok(())
}

/// Several statements in one COM_QUERY: every result but the last says that more follow.
fn multi_statements(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    pair.same("select 1; select 2");
    pair.same("select 1; select 2;");
    pair.same("select 'a;b'; select /* ; */ 2");
    pair.same("insert into w_multi (id, n) values (1, 1); select n from w_multi where id = 1; delete from w_multi where id = 1");
    pair.same("insert into w_multi (id, n) values (2, 1), (3, 1), (4, 1); update w_multi set n = 2 where id in (2, 3, 4)");
    pair.same("begin; update w_multi set n = 3 where id in (2, 3, 4); commit");
    // The error ends the reply; what follows is not run.
    pair.same("update w_multi set n = 4 where id = 2; select nothing from w_multi where id = 2; delete from w_multi where id = 2");
    pair.same("select id, n from w_multi where id in (2, 3, 4) order by id");
    pair.same("delete from w_multi where id in (2, 3, 4)");
    // Without the capability the second statement is a syntax error.
    let mut login = Login::to("e2e");
    login.capabilities &= !crate::wire::MULTI_STATEMENTS;
    let mut single = bed.cluster().pair_as(&login);
    single.same("select 1; select 2");
    single.same("select 1;");
    // COM_SET_OPTION switches it for the session.
    for wire in [&mut single.gate, &mut single.direct] {
        wire.command(crate::wire::COM_SET_OPTION, &[0, 0]).unwrap();
    }
    single.same("select 1; select 2");
    Ok(())
}

/// COMMIT RELEASE, also by completion_type, and ROLLBACK RELEASE: OK, and then the end.
fn release(bed: &Bed) -> Verdict {
    for (before, end) in [
        (&["begin"][..], "commit release"),
        (&["begin"], "rollback release"),
        (&["set completion_type = 2", "begin"], "commit"),
        (&["set completion_type = 'RELEASE'"], "rollback"),
        (&["set completion_type = 'release'"], "commit and no chain"),
    ] {
        let mut pair = bed.cluster().pair();
        for sql in before.iter().chain([&end]) {
            pair.same(sql);
        }
        for wire in [&mut pair.gate, &mut pair.direct] {
            assert!(wire.ok("select 1").is_err(), "{end} after {before:?}");
        }
    }
    Ok(())
}

/// IN_TRANS and AUTOCOMMIT stand in every OK: drivers skip COMMIT when they are wrong.
fn status_flags(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    for sql in ["begin", "select 1", "commit", "set autocommit = 0", "select 1", "set autocommit = 1"] {
        pair.same(sql);
    }
    let gate = &mut pair.gate;
    assert_eq!(gate.ok("begin").unwrap().status, STATUS_IN_TRANS | STATUS_AUTOCOMMIT, "after BEGIN");
    assert_eq!(gate.ok("commit").unwrap().status, STATUS_AUTOCOMMIT, "after COMMIT");
    assert_eq!(gate.ok("set autocommit = 0").unwrap().status & STATUS_AUTOCOMMIT, 0, "after autocommit = 0");
    gate.ok("set autocommit = 1").unwrap();
    assert_eq!(gate.command(crate::wire::COM_PING, &[]).unwrap().status, STATUS_AUTOCOMMIT, "after PING");
    Ok(())
}

/// What one session has not committed, no other sees; when it goes away, nobody ever does.
fn isolation(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let mut one = cluster.gate.connect("e2e").unwrap();
    let mut other = cluster.gate.connect("e2e").unwrap();
    let count = "select count(*) from w_multi where id between 5001 and 5008";
    one.ok("begin").unwrap();
    one.ok("insert into w_multi (id) values (5001), (5002), (5003), (5004), (5005), (5006), (5007), (5008)")
        .unwrap();
    assert_eq!(one.value(count).unwrap().as_deref(), Some("8"), "the session sees its own rows");
    assert_eq!(other.value(count).unwrap().as_deref(), Some("0"), "the other does not");
    drop(one);
    other.ok("set innodb_lock_wait_timeout = 10").unwrap();
    // Succeeds once the rows of the session that went away are rolled back: their locks are gone.
    let inserted = crate::process::poll(std::time::Duration::from_secs(15), || {
        other.ok("insert into w_multi (id) values (5001), (5002), (5003), (5004)").ok()
    });
    assert_eq!(
        inserted.map(|ok| ok.affected),
        Some(4),
        "the transaction of a closed connection is rolled back"
    );
    other.ok("delete from w_multi where id between 5001 and 5008").unwrap();
    Ok(())
}

/// `USE keyspace:shard` and its kin, and the lists of keyspaces and shards.
fn keyspaces_and_shards(bed: &Bed) -> Verdict {
    let mut gate = bed.cluster().gate.connect("").unwrap();
    let names = |rows: Vec<Vec<Option<String>>>| -> Vec<String> {
        rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect()
    };
    let databases = names(gate.rows("show databases").unwrap());
    for keyspace in ["e2e", "global", "lone", "sbtest", "service", "typed"] {
        assert!(databases.iter().any(|name| name == keyspace), "{keyspace} is not in {databases:?}");
    }
    assert!(
        !databases.iter().any(|name| name.contains("e2e_")),
        "shards' databases are hidden: {databases:?}"
    );
    let shards = names(gate.rows("show vitess_shards").unwrap());
    for shard in ["e2e/-40", "e2e/40-80", "e2e/80-c0", "e2e/c0-", "lone/0"] {
        assert!(shards.iter().any(|name| name == shard), "{shard} is not in {shards:?}");
    }
    let error = gate.query_one("select 1 from nowhere").unwrap();
    assert_eq!(error.error().map(|error| error.code), Some(1046), "no database is selected: {error:?}");
    let mut sum = 0_u64;
    for shard in ["-40", "40-80", "80-c0", "c0-"] {
        gate.ok(format!("use `e2e:{shard}`")).unwrap();
        let here: u64 = gate.value("select count(*) from customer").unwrap().unwrap().parse().unwrap();
        assert!(here > 0 && here < crate::cluster::CUSTOMERS, "{here} rows on {shard}");
        sum += here;
        // What the planner refuses over shards, one shard can do.
        gate.rows("select id, row_number() over (order by id) from customer limit 3").unwrap();
    }
    assert_eq!(sum, crate::cluster::CUSTOMERS, "the shards together hold every row once");
    gate.ok("use e2e").unwrap();
    let error = gate.query_one("use `e2e:40-41`").unwrap();
    assert!(error.error().is_some(), "no such shard: {error:?}");
    // A statement may name another keyspace than the session's.
    let mut pair = bed.cluster().pair();
    pair.same("select count(*) from lone.memo where id < 0");
    pair.difference(b"select * from sbtest.nowhere", Order::Same)
        .map_or(Ok(()), |difference| panic!("{difference}"))
}

/// The known keyspace ids of Vitess decide where a row lies: hash(1) = 166b40b44aba4bd6, hash(2) =
/// 06e7ea22ce92708f, hash(3) = 4eb190c9a2fa169c, hash(4) = d2fd8867d50d2dfe, hash(5) = 70bb023c810ca87a
/// (vindexes/hash_test.go).
fn placement(bed: &Bed) -> Verdict {
    let mut gate = bed.cluster().gate.connect("").unwrap();
    for (id, shard) in [(1, "-40"), (2, "-40"), (3, "40-80"), (4, "c0-"), (5, "40-80")] {
        gate.ok(format!("use `e2e:{shard}`")).unwrap();
        let here = gate.value(format!("select count(*) from customer where id = {id}")).unwrap();
        assert_eq!(here.as_deref(), Some("1"), "customer {id} on {shard}");
    }
    Ok(())
}
