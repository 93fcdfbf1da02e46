//! Do prepared statements work as on one server, parameters and all?

use crate::compare::Order::{Any, Same};
use crate::runner::{Bed, Test, Verdict};
use crate::wire::{COM_STMT_RESET, Login, Param, Reply, lenenc_bytes};

pub const TESTS: &[Test] = &[
    Test::shared("prepared/by SQL", by_sql),
    Test::shared("prepared/reads", reads),
    Test::shared("prepared/writes", writes),
    Test::shared("prepared/parameters of every type", parameter_types),
    Test::shared("prepared/long data", long_data),
    Test::shared("prepared/errors", errors),
    Test::shared("prepared/many statements and executions", many),
    Test::shared("prepared/transactions", transactions),
];

fn reads(bed: &Bed) -> Verdict {
    for login in [Login::to("e2e"), Login::to("e2e").classic_eof()] {
        let mut pair = bed.cluster().pair_as(&login);
        let int = Param::int;
        pair.prepared("select * from customer where id = ?", &[int(17)], Same);
        pair.prepared("select * from customer where id = ?", &[Param::uint(17)], Same);
        pair.prepared("select * from customer where id = ?", &[Param::text("17")], Same);
        pair.prepared("select * from customer where id = ?", &[Param::null()], Same);
        pair.prepared("select * from customer where id = ?", &[int(-1)], Same);
        pair.prepared(
            "select * from customer where id = ? and city = ?",
            &[int(17), Param::text("Oslo")],
            Same,
        );
        pair.prepared(
            "select id, ? from customer where id = ?",
            &[Param::text("it's \\ ; ?"), int(17)],
            Same,
        );
        pair.prepared("select * from customer where id in (?, ?, ?)", &[int(1), int(2), int(3)], Any);
        pair.prepared("select * from customer where id in (?, 5, ?)", &[int(1), int(1)], Any);
        pair.prepared("select * from customer where id = ? or id = ?", &[int(1), int(200)], Any);
        pair.prepared("select * from customer where city = ?", &[Param::text("Kyōto")], Any);
        pair.prepared("select id, name from customer where id > ? order by id", &[int(290)], Same);
        pair.prepared("select id, name from customer order by name, id limit ?", &[int(10)], Same);
        pair.prepared("select id, name from customer order by id limit ? offset ?", &[int(10), int(7)], Same);
        pair.prepared("select id, name from customer order by id limit ?, ?", &[int(7), int(10)], Same);
        pair.prepared("select count(*), sum(balance) from customer where id > ?", &[int(10)], Same);
        pair.prepared("select status, count(*), avg(amount) from orders where amount > ? group by status order by status", &[int(100)], Same);
        pair.prepared("select distinct born from customer where id > ?", &[int(10)], Any);
        pair.prepared("select c.name, o.id from customer c join orders o on o.customer_id = c.id where c.id = ? order by o.id", &[int(17)], Same);
        pair.prepared("select * from person where name = ?", &[Param::text("PERSON 17")], Same);
        pair.prepared("select '?', \"?\", `name` /* ? */ from customer where id = ? -- ?", &[int(17)], Same);
        pair.prepared("select ? + 1", &[int(41)], Same);
        pair.prepared("select ?", &[Param::text("x")], Same);
        pair.prepared("select 1", &[], Same);
        pair.prepared("select * from country where code = ?", &[Param::text("no")], Same);
    }
    Ok(())
}

fn writes(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    let int = Param::int;
    let text = Param::text;
    pair.prepared(
        "insert into w_prepared (id, n, s) values (?, ?, ?)",
        &[int(1), int(10), text("one")],
        Same,
    );
    pair.prepared(
        "insert into w_prepared (id, n, s) values (?, ?, ?)",
        &[int(2), Param::null(), text("é😀")],
        Same,
    );
    pair.prepared(
        "insert into w_prepared (id, n, s) values (?, ?, ?), (?, 5, ?), (6, ?, ?)",
        &[int(3), int(1), text("a"), int(4), text("b"), int(7), text("c")],
        Same,
    );
    pair.prepared("insert into w_prepared (id, n) values (?, ?)", &[int(1), int(0)], Same);
    pair.prepared("update w_prepared set n = n + ? where id = ?", &[int(5), int(1)], Same);
    pair.prepared("update w_prepared set n = ? where id in (?, ?)", &[int(5), int(3), int(4)], Same);
    pair.prepared("update w_prepared set s = ? where n = ?", &[text("five"), int(5)], Same);
    pair.prepared(
        "insert into w_prepared (id, n) values (?, ?) on duplicate key update n = ?",
        &[int(1), int(1), int(77)],
        Same,
    );
    pair.prepared(
        "replace into w_prepared (id, n) values (?, ?), (?, ?)",
        &[int(1), int(1), int(9), int(9)],
        Same,
    );
    pair.same("select * from w_prepared order by id");
    pair.prepared("delete from w_prepared where id = ?", &[int(1)], Same);
    pair.prepared("delete from w_prepared where id in (?, ?, ?)", &[int(2), int(3), int(1)], Same);
    pair.prepared("delete from w_prepared where n > ?", &[int(6)], Same);
    pair.same("select * from w_prepared order by id");
    pair.prepared("delete from w_prepared", &[], Same);
    Ok(())
}

/// A value of each wire type that a driver sends, stored and read back.
fn parameter_types(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    pair.same("delete from kinds_parameters where id between 1000 and 1100");
    let raw = |kind: u8, unsigned: bool, value: &[u8]| Param { kind, unsigned, value: Some(value.to_vec()) };
    let date = [4, 0xea, 0x07, 2, 3];
    let datetime = [7, 0xea, 0x07, 2, 3, 4, 5, 6];
    let datetime6 = [11, 0xea, 0x07, 2, 3, 4, 5, 6, 7, 0, 0, 0];
    let time = [8, 1, 1, 0, 0, 0, 2, 3, 4];
    let time6 = [12, 0, 2, 0, 0, 0, 2, 3, 4, 5, 0, 0, 0];
    let cases: &[(&str, Param)] = &[
        ("t_tiny", raw(0x01, false, &[0x80])),
        ("t_utiny", raw(0x01, true, &[0xff])),
        ("t_small", raw(0x02, false, &(-300_i16).to_le_bytes())),
        ("t_usmall", raw(0x02, true, &65535_u16.to_le_bytes())),
        ("t_int", raw(0x03, false, &i32::MIN.to_le_bytes())),
        ("t_uint", raw(0x03, true, &u32::MAX.to_le_bytes())),
        ("t_big", Param::int(i64::MIN)),
        ("t_ubig", Param::uint(u64::MAX)),
        ("t_float", raw(0x04, false, &1.5_f32.to_le_bytes())),
        ("t_double", Param::double(-1.25e300)),
        ("t_decimal", raw(0xf6, false, &lenenc_bytes(b"123456789.0123456789"))),
        ("t_date", raw(0x0a, false, &date)),
        ("t_datetime", raw(0x0c, false, &datetime)),
        ("t_datetime6", raw(0x0c, false, &datetime6)),
        ("t_timestamp", raw(0x07, false, &datetime)),
        ("t_time", raw(0x0b, false, &time)),
        ("t_time6", raw(0x0b, false, &time6)),
        ("t_time6", raw(0x0b, false, &[0])),
        ("t_date", raw(0x0a, false, &date)),
        ("t_varchar", Param::text("é😀 'x' \\ ; ?")),
        ("t_varchar", raw(0xfe, false, &lenenc_bytes(b"string"))),
        ("t_varchar", raw(0x0f, false, &lenenc_bytes(b"varchar"))),
        ("t_varbin", Param::blob(b"\x00\xff'\\\x1a\n")),
        ("t_longblob", Param::blob(&vec![0xfe; 70_000])),
        ("t_text", Param::text("")),
        ("t_enum", Param::text("large")),
        ("t_set", Param::text("a,c")),
        ("t_json", Param::text("{\"a\": 1}")),
        ("t_int", Param::text("42")),
        ("t_int", Param::null()),
    ];
    for (i, (column, param)) in cases.iter().enumerate() {
        let id = 1000 + i64::try_from(i).unwrap();
        // Into one shard as parameters, and into several where the statement must be taken apart.
        pair.prepared(
            &format!("insert into kinds_parameters (id, {column}) values (?, ?)"),
            &[Param::int(id), param.clone()],
            Same,
        );
        pair.prepared(
            &format!("insert into kinds_parameters (id, {column}) values (?, ?), (?, ?), (?, ?)"),
            &[
                Param::int(id + 30_000),
                param.clone(),
                Param::int(id + 31_000),
                param.clone(),
                Param::int(id + 32_000),
                param.clone(),
            ],
            Same,
        );
        pair.same_rows(format!(
            "select id, {column} from kinds_parameters where id in ({id}, {}, {}, {})",
            id + 30_000,
            id + 31_000,
            id + 32_000
        ));
        pair.prepared(
            &format!("select id, {column} from kinds_parameters where id = ?"),
            &[Param::int(id)],
            Same,
        );
    }
    pair.same("delete from kinds_parameters where id between 1000 and 33000");
    Ok(())
}

fn long_data(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    pair.same("delete from blobs where id between 200 and 299");
    let (gate, direct) = pair.prepare("insert into blobs (id, body, length) values (?, ?, ?)");
    let ids = (gate.id, direct.id);
    let piece: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    for (wire, id) in [(&mut pair.gate, ids.0), (&mut pair.direct, ids.1)] {
        for _ in 0..20 {
            wire.send_long_data(id, 1, &piece).unwrap();
        }
    }
    pair.execute(
        ids,
        &[Param::int(200), Param::long_data(), Param::int(20_000_000)],
        Same,
        "20 MB in pieces",
    );
    // The data was consumed: the next execution carries its own value.
    pair.execute(
        ids,
        &[Param::int(201), Param::blob(b"short"), Param::int(5)],
        Same,
        "a value after long data",
    );
    for (wire, id) in [(&mut pair.gate, ids.0), (&mut pair.direct, ids.1)] {
        wire.send_long_data(id, 1, b"dropped").unwrap();
        wire.command(COM_STMT_RESET, &id.to_le_bytes()).unwrap();
    }
    pair.execute(
        ids,
        &[Param::int(202), Param::blob(b"after reset"), Param::int(11)],
        Same,
        "a value after reset",
    );
    pair.same_rows("select id, length, length(body), md5(body) from blobs where id between 200 and 299");
    pair.same("delete from blobs where id between 200 and 299");
    Ok(())
}

fn errors(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    for sql in [
        "selec 1",
        "select 1; select 2",
        "select * from nowhere",
        "select nothing from customer where id = ?",
        "begin",
        "savepoint a",
        "use e2e",
        "",
    ] {
        let gate = pair.gate.prepare(sql);
        let direct = pair.direct.prepare(sql);
        match (gate, direct) {
            (Ok(gate), Ok(direct)) => {
                pair.gate.close_statement(gate.id).unwrap();
                pair.direct.close_statement(direct.id).unwrap();
            }
            (Err(gate), Err(direct)) => {
                let (gate, direct) =
                    (gate.server().expect("an error packet"), direct.server().expect("an error packet"));
                assert_eq!(
                    (gate.code, &gate.state),
                    (direct.code, &direct.state),
                    "PREPARE {sql}: {gate} / {direct}"
                );
            }
            // sysbench and others fall back to text when BEGIN gives 1295; MariaDB prepares it.
            (Err(gate), Ok(_)) if gate.server().is_some_and(|error| error.code == 1295) => {}
            (gate, direct) => panic!("PREPARE {sql}\ngate:   {gate:?}\ndirect: {direct:?}"),
        }
        pair.same("select 1");
    }
    // Unknown statements: EXECUTE and RESET say so, CLOSE says nothing.
    pair.execute((999_999, 999_999), &[], Same, "an unknown statement");
    for wire in [&mut pair.gate, &mut pair.direct] {
        let error = wire.command(COM_STMT_RESET, &999_999_u32.to_le_bytes()).unwrap_err();
        assert_eq!(error.server().map(|error| error.code), Some(1243));
        wire.close_statement(999_999).unwrap();
    }
    pair.same("select 1");
    // An EXECUTE whose values end early.
    let (gate, direct) = pair.prepare("select * from customer where id = ?");
    for (wire, id) in [(&mut pair.gate, gate.id), (&mut pair.direct, direct.id)] {
        let mut body = id.to_le_bytes().to_vec();
        body.extend_from_slice(&[0, 1, 0, 0, 0, 0, 1, 0x08, 0x00, 1, 2]);
        wire.send(crate::wire::COM_STMT_EXECUTE, &body).unwrap();
        let replies = wire.replies().unwrap();
        assert!(matches!(replies[..], [Reply::Err(_)]), "truncated values: {replies:?}");
    }
    pair.same("select 1");
    // The statement still works afterwards.
    pair.execute((gate.id, direct.id), &[Param::int(17)], Same, "after a malformed EXECUTE");
    Ok(())
}

/// One statement executed often, and more statements than a connection should keep prepared.
fn many(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    let (gate, direct) = pair.prepare("select id, name, balance from customer where id = ?");
    for id in 1..=300 {
        pair.execute((gate.id, direct.id), &[Param::int(id)], Same, "executed often");
    }
    let statements: Vec<_> = (0..400)
        .map(|n| {
            let (gate, direct) = pair.prepare(&format!("select id, name, {n} from customer where id = ?"));
            (gate.id, direct.id)
        })
        .collect();
    for (n, ids) in statements.iter().enumerate().rev() {
        pair.execute(*ids, &[Param::int(1 + i64::try_from(n).unwrap() % 300)], Same, "one of many");
    }
    Ok(())
}

fn transactions(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    let (gate, direct) = pair.prepare("insert into w_prepared (id, n) values (?, ?)");
    let insert = (gate.id, direct.id);
    let (gate, direct) = pair.prepare("select count(*) from w_prepared where id > ?");
    let count = (gate.id, direct.id);
    pair.same("begin");
    for id in 501..=520 {
        pair.execute(insert, &[Param::int(id), Param::int(id)], Same, "in a transaction");
    }
    pair.execute(count, &[Param::int(500)], Same, "own rows");
    pair.same("rollback");
    pair.execute(count, &[Param::int(500)], Same, "after rollback");
    pair.same("begin");
    for id in 501..=520 {
        pair.execute(insert, &[Param::int(id), Param::int(id)], Same, "in a transaction");
    }
    pair.same("commit");
    pair.execute(count, &[Param::int(500)], Same, "after commit");
    pair.same("delete from w_prepared where id > 500");
    // The characteristics of the next transaction. (A server says 1792 at PREPARE already.)
    let (gate, direct) = pair.prepare("update w_prepared set n = ? where id = 1");
    let one = (gate.id, direct.id);
    let (gate, direct) = pair.prepare("update w_prepared set n = ?");
    let all = (gate.id, direct.id);
    pair.same("set transaction read only");
    pair.execute(one, &[Param::int(1)], Same, "read only, one shard");
    pair.execute(all, &[Param::int(1)], Same, "read only, all shards");
    pair.prepared("select n from w_prepared where id = ? and n < 0", &[Param::int(1)], Same);
    pair.same("set transaction read only");
    pair.execute(count, &[Param::int(500)], Same, "the next transaction");
    pair.execute(insert, &[Param::int(521), Param::int(1)], Same, "the one after it");
    pair.same("delete from w_prepared where id = 521");
    Ok(())
}

/// PREPARE, EXECUTE and DEALLOCATE as statements.
fn by_sql(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    cluster.pair().cases("sql_prepared.cases", include_str!("../cases/sql_prepared.cases"));
    // MariaDB prepares more.
    if bed.family.kind == crate::server::Kind::MySql {
        let mut pair = cluster.pair();
        for text in ["begin", "use e2e", "lock tables customer read", "savepoint a"] {
            pair.same(format!("prepare s from '{text}'"));
        }
        pair.same("prepare s from 'select ?'");
        pair.same("execute s using 1");
        pair.same("prepare s from concat('select', ' 1')");
    }
    // A reset forgets them, and a statement of the binary protocol keeps its database, too.
    let mut pair = cluster.pair();
    pair.same("prepare s from 'select 1'");
    let (gate, direct) = pair.prepare("select count(*) from customer");
    pair.same("use lone");
    pair.execute((gate.id, direct.id), &[], Same, "a statement prepared in another database");
    pair.same("select count(*) from memo where id < 0");
    for wire in [&mut pair.gate, &mut pair.direct] {
        wire.command(crate::wire::COM_RESET_CONNECTION, &[]).unwrap();
    }
    pair.same("execute s");
    Ok(())
}
