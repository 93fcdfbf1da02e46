//! Do values and metadata of every column type pass unaltered?

use crate::compare::Order;
use crate::runner::{Bed, Test, Verdict};
use crate::wire::{COM_FIELD_LIST, Login, Param};

pub const TESTS: &[Test] = &[
    Test::shared("types/every column, text and binary", every_type),
    Test::shared("types/field list", field_list),
    Test::shared("types/character sets", character_sets),
    Test::shared("types/collations of logins", login_collations),
];

/// Every column, in the order of the table.
const COLUMNS: &str = "id, t_tiny, t_utiny, t_bool, t_small, t_usmall, t_medium, t_umedium, t_int, t_uint, t_big, \
    t_ubig, t_float, t_double, t_decimal, t_udecimal, t_bit, t_bit1, t_date, t_time, t_time6, \
    t_datetime, t_datetime6, t_timestamp, t_timestamp3, t_year, t_char, t_varchar, t_latin, t_bin, \
    t_varbin, t_tinyblob, t_blob, t_mediumblob, t_longblob, t_tinytext, t_text, t_mediumtext, \
    t_longtext, t_enum, t_set, t_json, t_point";

/// Rows that sit at the edges of their types.
const ROWS: &[&str] = &[
    "insert into kinds (id) values (1)",
    "insert into kinds (COLUMNS) values (2, -128, 255, true, -32768, 65535, -8388608, 16777215, -2147483648, 4294967295, \
     -9223372036854775808, 18446744073709551615, 1.5, -2.2250738585072014e-308, 12345678901234567890.0123456789, 9999999999, \
     b'11110000111100001111', b'1', '9999-12-31', '-838:59:59', '838:59:58.999999', '1000-01-01 00:00:00', \
     '9999-12-31 23:59:59.999999', '1970-01-02 00:00:01', '2037-12-31 23:59:59.999', 2155, 'char', 'varchar é 😀', 'latin é', \
     x'0001020304050607', x'fffefd', x'00', x'0a0d', repeat(x'ff', 1000), repeat('b', 70000), 'tiny', 'text 😀', 'medium', \
     repeat('ö', 40000), 'medium', 'a,c', '{\"k\": [1, 2.5, \"x\", null]}', st_geomfromtext('POINT(1 2)'))",
    "insert into kinds (COLUMNS) values (3, 127, 0, false, 32767, 0, 8388607, 0, 2147483647, 0, 9223372036854775807, 0, -0.25, \
     1.7976931348623157e308, -0.0000000001, 0, b'0', b'0', '1000-01-01', '00:00:00', '-00:00:00.000001', '2026-02-03 04:05:06', \
     '2026-02-03 04:05:06.000007', '2026-02-03 04:05:06', '2026-02-03 04:05:06.700', 1901, '', '', '', '', '', '', '', '', '', '', \
     '', '', '', 'small', '', '[]', st_geomfromtext('POINT(0 0)'))",
    "insert into kinds (id, t_tiny, t_varchar, t_enum, t_set, t_json) values (-4, -1, 'semi;colon ''quote'' \\\\ back', 'large', 'a,b,c', 'null')",
];

const READS: &[&str] = &[
    "select * from kinds where id = 1",
    "select * from kinds where id = 2",
    "select * from kinds where id = 3",
    "select * from kinds where id = -4",
    "select * from kinds where id in (1, 2, 3, -4) order by id",
    "select * from kinds order by id",
    "select k.*, 1 as one, 'x' as x, null as n, 1.50 as d, 1e0 as e from kinds k where id = 2",
    "select t_tiny + 1, t_ubig + 0, t_decimal * 2, concat(t_varchar, '!'), t_date + interval 1 day, t_json from kinds where id = 2",
    "select cast(t_int as char), cast('12' as unsigned), cast(t_double as decimal(20, 3)), hex(t_bin) from kinds where id = 3",
    "select count(*), sum(t_int), avg(t_int), min(t_date), max(t_datetime6), sum(t_decimal), min(t_year) from kinds where id = 2",
    "select count(*), sum(t_int), min(t_date), max(t_datetime6), sum(t_decimal), min(t_year), max(t_time6) from kinds",
    "select avg(t_int), avg(t_decimal), sum(t_ubig), max(t_float), min(t_bin), max(t_varchar) from kinds",
    "select t_varchar, count(*) from kinds group by t_varchar order by t_varchar",
    "select id, t_time6 from kinds order by t_time6, id",
    "select id, t_datetime6 from kinds order by t_datetime6 desc, id",
    "select id, t_decimal from kinds order by t_decimal, id",
    "select id, t_double from kinds order by t_double desc, id",
    "select id, t_ubig from kinds order by t_ubig desc, id",
    "select id, t_bin from kinds order by t_bin, id",
    "select id, t_latin from kinds order by t_latin, id",
    "select id, t_year, t_bit from kinds order by t_year, id",
    "select 1, -1, 1.5, 1e1, 'a', x'ff', null, true, now() is null, date '2026-01-01', time '10:00:00', timestamp '2026-01-01 00:00:00'",
];

fn every_type(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    for login in [Login::to("e2e"), Login::to("e2e").classic_eof()] {
        let mut pair = cluster.pair_as(&login);
        for session in ["set sql_mode = ''", "set time_zone = '+00:00'"] {
            pair.same(session);
        }
        pair.same("delete from kinds");
        for row in ROWS {
            pair.same(row.replace("COLUMNS", COLUMNS));
        }
        // MariaDB and MySQL both keep zero dates when the mode allows them.
        pair.same("insert into kinds (id, t_date, t_datetime, t_timestamp) values (5, '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00')");
        let mut wrong = Vec::new();
        for read in READS {
            if let Some(difference) = pair.difference(read.as_bytes(), Order::Same) {
                wrong.push(format!("text: {read}\n{difference}"));
            }
        }
        assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), READS.len(), wrong.join("\n"));
        for read in READS {
            pair.prepared(read, &[], Order::Same);
        }
        pair.prepared("select * from kinds where id = ?", &[Param::int(2)], Order::Same);
        pair.prepared("select * from kinds where id = ?", &[Param::text("3")], Order::Same);
        pair.prepared(
            "select * from kinds where id in (?, ?, ?) order by id",
            &[Param::int(1), Param::int(2), Param::int(3)],
            Order::Same,
        );
        pair.prepared(
            "select id, t_date, t_datetime, t_timestamp from kinds where id = ?",
            &[Param::int(5)],
            Order::Same,
        );
    }
    Ok(())
}

/// COM_FIELD_LIST, which the command-line clients send for every table when they start.
fn field_list(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    for table in ["kinds", "customer", "country"] {
        let mut answers = Vec::new();
        for wire in [&mut pair.gate, &mut pair.direct] {
            wire.send(COM_FIELD_LIST, &[table.as_bytes(), b"\0"].concat()).unwrap();
            let mut definitions = Vec::new();
            loop {
                let packet = wire.read_packet().unwrap();
                assert_ne!(packet.first(), Some(&0xff), "{table}: {}", crate::wire::parse_err(&packet));
                if packet.first() == Some(&0xfe) && packet.len() < 9 {
                    break;
                }
                definitions.push(packet);
            }
            answers.push(definitions);
        }
        assert!(answers[0] == answers[1], "{table}: the definitions differ");
        assert!(!answers[0].is_empty(), "{table}: no definitions");
    }
    pair.gate.send(COM_FIELD_LIST, b"nowhere\0").unwrap();
    let packet = pair.gate.read_packet().unwrap();
    assert_eq!((packet[0], crate::wire::parse_err(&packet).code), (0xff, 1146), "an unknown table");
    pair.same("select 1");
    Ok(())
}

/// The collation of a login names the character set of everything that the session gets.
fn login_collations(bed: &Bed) -> Verdict {
    let mut wrong = Vec::new();
    for collation in [255, 45, 46, 224, 33, 8, 47, 63] {
        let mut pair = bed.cluster().pair_as(&Login { collation, ..Login::to("e2e") });
        for sql in [
            "select @@character_set_client, @@character_set_connection, @@character_set_results, @@collation_connection",
            "select name, city, note from customer where id = 17",
            "select min(city), 'text', concat(name, 'x'), hex('x') from customer where id = 17 group by name",
            "show columns from customer",
        ] {
            if let Some(difference) = pair.difference(sql.as_bytes(), Order::Same) {
                wrong.push(format!("login with collation {collation}: {sql}\n{difference}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} answers differ\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// The bytes that a session's character set says, in both directions.
fn character_sets(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    pair.same("delete from w_driver where id between 100 and 110");
    pair.same("set names latin1");
    pair.same(b"insert into w_driver (id, s) values (100, 'caf\xe9')");
    pair.same("select s, hex(s) from w_driver where id = 100");
    pair.same("set names utf8mb4");
    pair.same("select s, hex(s) from w_driver where id = 100");
    pair.same("insert into w_driver (id, s) values (101, 'é😀'), (102, '日本'), (103, 'ß')");
    pair.same("select id, s, hex(s) from w_driver where id between 100 and 103 order by id");
    pair.same("set character_set_client = latin1");
    pair.same(b"insert into w_driver (id, s) values (104, '\xe4\xf6')");
    pair.same("set names utf8mb4");
    pair.same("select hex(s) from w_driver where id = 104");
    // Text that is no UTF-8 in any character set: bytes after the introducer.
    pair.same(b"insert into blobs (id, body) values (100, _binary'\xff\x00\xfe\\'\xc3')");
    pair.same("select hex(body), length(body) from blobs where id = 100");
    pair.same("delete from blobs where id = 100");
    // The 0900 collation of MySQL 8 clients, whatever the server makes of it.
    let login = Login { collation: 255, ..Login::to("e2e") };
    let mut modern = bed.cluster().gate.login(&login).unwrap();
    modern.ok("insert into w_driver (id, s) values (105, 'é😀')").unwrap();
    let stored = modern.value("select hex(s) from w_driver where id = 105").unwrap();
    assert_eq!(stored.as_deref(), Some("C3A9F09F9880"), "utf8mb4_0900_ai_ci at login is UTF-8");
    modern.ok("delete from w_driver where id between 100 and 110").unwrap();
    Ok(())
}
