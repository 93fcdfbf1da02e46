//! Does what one session sets stay its own?
//!
//! Sessions take turns at random over fewer connections than there are sessions. Each has a session of
//! its own on a plain server, which does the same; whatever one reads, the other must read. A printed
//! seed plays the same conversation again (`SHARDGATE_TEST_SEED`).

use std::fmt::Write as _;

use crate::compare::{Order, Pair, shown};
use crate::runner::{Bed, Test, Verdict};
use crate::server::{Family, Kind};
use crate::stage::Stage;
use crate::wire::{COM_RESET_CONNECTION, Endpoint, FOUND_ROWS, Login, Wire};

pub const TESTS: &[Test] = &[
    Test {
        deadline: std::time::Duration::from_secs(400),
        ..Test::own("settings/sessions never see each other's", interleaved)
    },
    Test::shared("settings/text in other character sets", character_sets),
    Test::shared("settings/what no session may set", refused),
];

/// Sessions; those below [`TRANSACTIONS`] may hold a connection of the pool by a transaction.
const SESSIONS: usize = 8;
const TRANSACTIONS: usize = 2;

/// Connections per server and kind: one more than transactions may hold.
const POOL: &str = "pool_size = 3";

/// Statements of one conversation, and conversations.
const TURNS: usize = 500;
const CONVERSATIONS: u64 = 4;

/// Rows that each session has for itself.
const ROWS: usize = 6;

/// SplitMix64, so that a seed means the same everywhere.
struct Choices(u64);

impl Choices {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).expect("below a usize")
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// One session on both sides.
struct Player {
    number: usize,
    pair: Pair,
    history: Vec<String>,
}

/// What a session does next.
enum Turn {
    Statement(Order, String),
    /// A query, and FOUND_ROWS() behind it, of which the value counts and not the warnings.
    Counted(String),
    Prepared(String),
    Reset,
    Again(Login),
}

fn interleaved(bed: &Bed) -> Verdict {
    let stage = Stage::start_with(&bed.family, POOL).unwrap_or_else(|error| panic!("{error}"));
    prepare(&stage);
    let seeds: Vec<u64> = match std::env::var("SHARDGATE_TEST_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number in SHARDGATE_TEST_SEED")],
        Err(_) => (1..=CONVERSATIONS).collect(),
    };
    let mut report = String::new();
    for seed in seeds {
        if let Some(difference) = conversation(&stage, &bed.family, seed) {
            let _ = writeln!(report, "seed {seed}: {difference}\n");
        }
    }
    assert!(report.is_empty(), "{report}");
    Ok(())
}

/// Characters whose second byte is a backslash or a backtick, and text that a vindex must understand.
fn character_sets(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    for (charset, character) in [
        ("gbk", &b"\x89\x5c"[..]),
        ("gbk", b"\x81\x60"),
        ("big5", b"\xa5\x5c"),
        ("sjis", b"\x83\x5c"),
        ("sjis", b"\x83\x60"),
        ("cp932", b"\x83\x5c"),
        ("gb18030", b"\x81\x30\x81\x30"),
        ("gb18030", b"\x89\x5c"),
    ] {
        if charset == "gb18030" && bed.family.kind == Kind::MariaDb {
            continue;
        }
        pair.same(format!("set names {charset}"));
        let around = |before: &str, after: &str| [before.as_bytes(), character, after.as_bytes()].concat();
        pair.same(around("select hex('", "'), 1"));
        pair.same(around("select 'x", "y', 'it''s', hex('\\\\a')"));
        pair.same(around("select 1 as `a", "b`, 2"));
        pair.same(around("select 1 as ", ", 2 as b"));
        pair.same(around("insert into w_multi (id, n, s) values (71, 1, '", "')"));
        pair.same(around("update w_multi set n = n + 1 where s = '", "'"));
        pair.same(around("select id, n, hex(s) from w_multi where id in (71, 72) and s = '", "'"));
        pair.same_values(around("set @a = '", "'"));
        pair.same_values("select hex(convert(@a using utf8mb4))");
        pair.same("delete from w_multi where id in (71, 72)");
    }
    // A user variable keeps its characters when the client writes in another set.
    pair.same("set names latin1");
    pair.same_values(b"set @a = 'caf\xe9'");
    pair.same("set names utf8mb4");
    pair.same_values("select @a, hex(@a) = hex(convert('café' using latin1)) or hex(@a) = hex('café')");
    // The vindex maps the characters, not the bytes.
    pair.same("set names latin1");
    pair.same(b"insert into person (name, age) values ('caf\xe9 \x80', 1)");
    pair.same(b"select name, age from person where name = 'caf\xe9 \x80'");
    pair.same("set names utf8mb4");
    pair.same("select name, age from person where name = 'café €'");
    pair.same("delete from person where name = 'café €'");
    pair.same("set names koi8r");
    let refused = pair.gate.query_one(b"insert into person (name, age) values ('\xc1', 1)").unwrap();
    assert!(refused.error().is_some_and(|error| error.code == 1235), "{refused:?}");
    Ok(())
}

/// What a server would use up, and what would change how servers answer the gate.
fn refused(bed: &Bed) -> Verdict {
    let mut pair = bed.cluster().pair();
    for statement in [
        "set insert_id = 7",
        "set @@session.rand_seed1 = 1",
        "set sql_log_bin = 0",
        "set sql_auto_is_null = 1",
        "set auto_increment_increment = 2",
        "set global max_connections = 10",
    ] {
        let reply = pair.gate.query_one(statement).unwrap();
        let error = reply.error().unwrap_or_else(|| panic!("{statement}: {reply:?}"));
        assert_eq!((error.code, error.state.as_str()), (1235, "42000"), "{statement}: {error}");
        assert!(error.message.starts_with("VT12001: "), "{error}");
    }
    for statement in [
        "set completion_type = 0",
        "set sql_auto_is_null = off",
        "set auto_increment_increment = 1",
        "set last_insert_id = 'x'",
        "set last_insert_id = default",
        "set sql_select_limit = 'x'",
        "set warning_count = 1",
    ] {
        pair.same(statement);
    }
    // The limit is the client's, not the shards': what merges their rows has them all.
    pair.same("set sql_select_limit = 2");
    pair.same("select id from customer order by id");
    pair.same("select count(*) from customer");
    pair.same("select city, count(*) from customer group by city order by city");
    pair.same("select id from customer order by id limit 3");
    pair.same("select id from customer where id = 5 union all select 2 union all select 3");
    pair.same("select name from customer where id = 5 for update");
    pair.prepared(
        "select id from customer where id > ? order by id",
        &[crate::wire::Param::int(7)],
        Order::Same,
    );
    pair.same("set sql_select_limit = default");
    pair.same("select count(*) from (select id from customer) as t");
    // The trackers of servers stay as the gate needs them.
    pair.same_values("set session_track_state_change = 1");
    pair.same_values("select @@session_track_state_change");
    Ok(())
}

/// The same rows on both sides, and accounts without passwords.
fn prepare(stage: &Stage) {
    let mut root = stage.direct.root("").unwrap();
    root.ok("create user loader@'%'").unwrap();
    root.ok("grant all on *.* to loader@'%'").unwrap();
    for keyspace in ["sharded", "whole"] {
        let mut rows = Vec::new();
        for session in 0..SESSIONS {
            rows.extend((0..ROWS).map(|row| format!("({}, {row}, 'é{row}')", session * 100 + row)));
        }
        let insert = format!("insert into item (id, n, s) values {}", rows.join(", "));
        for wire in
            [&mut login(stage, &Login::to(keyspace)).gate, &mut login(stage, &Login::to(keyspace)).direct]
        {
            wire.ok(&insert).unwrap();
        }
    }
}

fn login(stage: &Stage, login: &Login) -> Pair {
    let login = Login { user: "loader".into(), ..login.clone() };
    let gate = stage.gate.login(&login).unwrap_or_else(|error| panic!("gate: {error}"));
    let direct = Wire::connect(&Endpoint::Tcp(stage.direct.port), &login);
    Pair { gate, direct: direct.unwrap_or_else(|error| panic!("direct: {error}")) }
}

/// Plays one conversation; the first difference, with what the session had done before.
fn conversation(stage: &Stage, family: &Family, seed: u64) -> Option<String> {
    let mut choices = Choices(seed);
    let mut players: Vec<Player> = (0..SESSIONS)
        .map(|number| Player {
            number,
            pair: login(stage, &first_login(family, number)),
            history: Vec::new(),
        })
        .collect();
    let mut report = None;
    for _ in 0..TURNS {
        let at = choices.below(SESSIONS);
        let player = &mut players[at];
        let turn = turn(&mut choices, family, player.number);
        if let Some(difference) = play(stage, player, turn) {
            let told = player.history.join("\n  ");
            report = Some(format!("session {} of:\n  {told}\n{difference}", player.number));
            break;
        }
    }
    // No transaction outlives its conversation.
    for player in &mut players {
        for wire in [&mut player.pair.gate, &mut player.pair.direct] {
            let _ = wire.command(COM_RESET_CONNECTION, &[]);
        }
    }
    report
}

/// MariaDB goes back to the login's character set on a reset, and to anybody's where it does not know that.
fn first_login(family: &Family, number: usize) -> Login {
    let keyspace = if number.is_multiple_of(3) { "sharded" } else { "whole" };
    let collation = if family.kind == Kind::MariaDb { 45 } else { 255 };
    let login = Login { collation, ..Login::to(keyspace) };
    if number == SESSIONS - 1 { login.with(FOUND_ROWS) } else { login }
}

fn play(stage: &Stage, player: &mut Player, turn: Turn) -> Option<String> {
    match turn {
        Turn::Statement(order, sql) => {
            player.history.push(sql.clone());
            let difference = player.pair.difference(sql.as_bytes(), order);
            difference.map(|told| format!("{}\n{told}", shown(sql.as_bytes())))
        }
        Turn::Prepared(sql) => {
            player.history.push(format!("{sql} (prepared)"));
            let (gate, direct) = (player.pair.gate.prepare(&sql), player.pair.direct.prepare(&sql));
            let (gate, direct) = match (gate, direct) {
                (Ok(gate), Ok(direct)) => (gate, direct),
                (Err(gate), Err(direct))
                    if gate.server().map(|error| error.code) == direct.server().map(|error| error.code) =>
                {
                    return None;
                }
                (Ok(gate), Err(direct)) => {
                    // A server refuses some at PREPARE that the gate has a shard refuse at EXECUTE.
                    let replies = player.pair.gate.execute(gate.id, &[]).unwrap();
                    let told = replies[0].error().map(|error| error.code);
                    return (told != direct.server().map(|error| error.code))
                        .then(|| format!("{sql}\ngate: {replies:?}\ndirect: {direct:?}"));
                }
                (gate, direct) => return Some(format!("PREPARE {sql}\ngate: {gate:?}\ndirect: {direct:?}")),
            };
            let gate = player.pair.gate.execute(gate.id, &[]);
            let direct = player.pair.direct.execute(direct.id, &[]);
            crate::compare::differ(gate, direct, Order::Same)
        }
        Turn::Counted(sql) => {
            player.history.push(format!("{sql}; select found_rows()"));
            let first = player.pair.difference(sql.as_bytes(), Order::Same);
            let count =
                |wire: &mut Wire| wire.value("select found_rows()").map_err(|error| error.to_string());
            let (gate, direct) = (count(&mut player.pair.gate), count(&mut player.pair.direct));
            let told =
                (gate != direct).then(|| format!("{sql}\nfound rows: gate {gate:?}, direct {direct:?}"));
            let told = first.or(told);
            // The warnings are nobody's any more.
            told.or_else(|| player.pair.difference(b"select 1", Order::Same))
        }
        Turn::Reset => {
            player.history.push("COM_RESET_CONNECTION".to_owned());
            for wire in [&mut player.pair.gate, &mut player.pair.direct] {
                wire.command(COM_RESET_CONNECTION, &[]).unwrap();
            }
            None
        }
        Turn::Again(again) => {
            player.history.push(format!("a new login with collation {}", again.collation));
            player.pair = login(stage, &again);
            None
        }
    }
}

fn turn(choices: &mut Choices, family: &Family, session: usize) -> Turn {
    let same = |sql: String| Turn::Statement(Order::Same, sql);
    match choices.below(100) {
        0..=34 => same(set(choices, family)),
        35..=59 => Turn::Statement(Order::Same, read(choices, family)),
        60 => Turn::Counted(counted(choices, session)),
        70..=83 => same(rows(choices, session)),
        84..=87 => Turn::Prepared(prepared(choices, session)),
        88..=90 => same(format!("use {}", choices.pick(&["sharded", "whole"]))),
        91..=97 if session < TRANSACTIONS => same(choices.pick(TRANSACTION_STATEMENTS).to_owned()),
        61..=69 | 91..=97 => Turn::Statement(Order::SameRows, read_own(choices, session)),
        98 => Turn::Reset,
        _ => {
            // utf8mb4 three times, latin1, gbk, cp1251, utf8mb3, binary.
            let collations = [first_login(family, session).collation, 45, 224, 8, 28, 51, 33, 63];
            Turn::Again(Login {
                collation: collations[choices.below(collations.len())],
                ..first_login(family, session)
            })
        }
    }
}

/// Behind a COMMIT: with MySQL, START TRANSACTION behind READ ONLY is read-only, too.
const TRANSACTION_STATEMENTS: &[&str] = &[
    "commit; begin",
    "commit; start transaction read only",
    "commit; start transaction",
    "commit",
    "rollback",
    "rollback",
    "commit and chain",
    "set autocommit = 0",
    "set autocommit = 1",
];

const CHARSETS: &[&str] =
    &["utf8mb4", "latin1", "gbk", "sjis", "utf8mb3", "binary", "cp1251", "koi8r", "latin2", "big5", "ascii"];

const MODES: &[&str] = &[
    "ANSI_QUOTES",
    "NO_BACKSLASH_ESCAPES",
    "PIPES_AS_CONCAT",
    "STRICT_TRANS_TABLES",
    "ONLY_FULL_GROUP_BY",
    "NO_ZERO_DATE",
    "NO_UNSIGNED_SUBTRACTION",
    "HIGH_NOT_PRECEDENCE",
    "IGNORE_SPACE",
    "REAL_AS_FLOAT",
    "NO_AUTO_VALUE_ON_ZERO",
    "ERROR_FOR_DIVISION_BY_ZERO",
    "ANSI",
    "TRADITIONAL",
];

/// One SET.
fn set(choices: &mut Choices, family: &Family) -> String {
    let charset = choices.pick(CHARSETS);
    let isolation = choices.pick(&["read committed", "read uncommitted", "repeatable read"]);
    match choices.below(46) {
        0..=3 => format!("set names {charset}"),
        4 => "set names utf8mb4 collate utf8mb4_bin".to_owned(),
        5 => "set names default".to_owned(),
        6 => format!("set character set {charset}"),
        7 => format!("set character_set_client = {charset}"),
        8 => format!("set character_set_results = {charset}"),
        9 => "set character_set_results = null".to_owned(),
        10 => format!("set character_set_connection = {charset}"),
        11 => "set collation_connection = utf8mb4_general_ci".to_owned(),
        12 => format!("set names {charset}, time_zone = '+03:00'"),
        13..=15 => {
            let modes: Vec<&str> = (0..choices.below(4)).map(|_| choices.pick(MODES)).collect();
            format!("set sql_mode = '{}'", modes.join(","))
        }
        16 => "set sql_mode = default".to_owned(),
        17 => format!("set sql_mode = concat(@@sql_mode, ',{}')", choices.pick(MODES)),
        18..=20 => {
            format!(
                "set time_zone = {}",
                choices.pick(&["'+02:00'", "'-11:30'", "'SYSTEM'", "default", "'+14:00'"])
            )
        }
        21 => format!("set session transaction isolation level {isolation}"),
        22 => format!("set transaction isolation level {isolation}"),
        23 => format!("set session transaction {}", choices.pick(&["read only", "read write", "read write"])),
        24 => format!("set session {} = '{}'", isolation_variable(family), isolation.replace(' ', "-")),
        25 => format!("set group_concat_max_len = {}", 4 + choices.below(40)),
        26 => format!("set div_precision_increment = {}", choices.below(10)),
        27 => format!("set sql_select_limit = {}", choices.pick(&["1", "3", "default"])),
        28 => format!("set max_error_count = {}", 1 + choices.below(4)),
        29 => format!("set sql_notes = {}", choices.below(2)),
        30 => format!("set sql_safe_updates = {}", choices.below(2)),
        31 => format!("set timestamp = {}", choices.pick(&["1000000000", "1234567890.5", "default"])),
        32 => format!("set lc_time_names = {}", choices.pick(&["'de_DE'", "'fr_FR'", "default"])),
        33 => format!("set last_insert_id = {}", choices.below(100)),
        34 => format!("set default_week_format = {}", choices.below(8)),
        35 => format!("set foreign_key_checks = {}, unique_checks = {}", choices.below(2), choices.below(2)),
        36..=39 => format!(
            "set @{} = {}",
            choices.pick(&["a", "b", "`a b`"]),
            choices.pick(&[
                "1",
                "-7",
                "null",
                "'text'",
                "1.50",
                "2e3",
                "x'00ff'",
                "@a",
                "@b",
                "concat('x', 'y')",
                "1 + 1",
                "@@sql_mode",
                "18446744073709551615"
            ])
        ),
        40 => format!("set @a = {}, group_concat_max_len = {}", choices.below(9), 4 + choices.below(9)),
        41 => "set nonsense = 1".to_owned(),
        42 => "set time_zone = 'nowhere'".to_owned(),
        43 => format!("set session wait_timeout = {}", 500 + choices.below(9)),
        44 => format!("set block_encryption_mode = {}", choices.pick(&["'aes-256-cbc'", "default"])),
        _ => format!("set innodb_lock_wait_timeout = {}", 1 + choices.below(50)),
    }
}

fn isolation_variable(family: &Family) -> &'static str {
    if family.kind == Kind::MariaDb { "tx_isolation" } else { "transaction_isolation" }
}

/// What a server answers.
fn read(choices: &mut Choices, family: &Family) -> String {
    let isolation = isolation_variable(family);
    let access = if family.kind == Kind::MariaDb { "tx_read_only" } else { "transaction_read_only" };
    match choices.below(25) {
        0 | 1 => "select @@character_set_client, @@character_set_connection, @@character_set_results, @@collation_connection".to_owned(),
        2 | 3 => "select @@sql_mode".to_owned(),
        4 => "select @@time_zone, from_unixtime(86400)".to_owned(),
        5 => format!("select @@session.{isolation}, @@session.{access}"),
        6 => "select @@group_concat_max_len, @@div_precision_increment, @@max_error_count".to_owned(),
        7 => "select @@sql_notes, @@sql_safe_updates, @@lc_time_names, @@default_week_format".to_owned(),
        8 => "select @@foreign_key_checks, @@unique_checks, @@innodb_lock_wait_timeout".to_owned(),
        9 => "select 'é', hex('é'), length('é'), charset('x'), collation('x')".to_owned(),
        10 => "select _latin1'x', n'y', convert('é' using utf8mb4)".to_owned(),
        11 => "select 1/3, 7/9.0".to_owned(),
        12 => "select 'a' || 'b' as v".to_owned(),
        13 => "select \"s\" as v".to_owned(),
        14 => r"select 'a\\n' as v".to_owned(),
        15 => "select cast(1 as unsigned) - 2 as v".to_owned(),
        16 => "select not 1 between -5 and 5 as v".to_owned(),
        17 => "select date_format('2024-05-06', '%M %W'), week('2024-12-31')".to_owned(),
        18 => "select group_concat(n) as v from item where id = 3".to_owned(),
        19 => "select id, n from item where id < 6 order by id".to_owned(),
        20 => "select cast(1 as real) as v".to_owned(),
        21 => "select now() < '2010-01-01' as old".to_owned(),
        22 => "show variables like 'sql_mode'".to_owned(),
        23 => "select hex(aes_encrypt('x', 'key', '0123456789abcdef')) as v".to_owned(),
        _ => "select s, hex(s) from item where id = 3".to_owned(),
    }
}

/// What the gate answers itself, or the texts of which it makes itself.
fn read_own(choices: &mut Choices, session: usize) -> String {
    // MariaDB takes SHOW COUNT(*) for a query that begins a transaction.
    if session >= TRANSACTIONS && choices.below(9) == 0 {
        return "show count(*) warnings".to_owned();
    }
    choices
        .pick(&[
            "select @a, @b, @`a b`",
            "select @a is null, @b is null",
            "select last_insert_id()",
            "select last_insert_id(), @@last_insert_id, @@identity",
            "select row_count()",
            "select database()",
            "select @@autocommit",
            "select @@sql_select_limit",
            "select @@warning_count, @@error_count",
            "select @@session.wait_timeout",
            "show warnings",
            "select connection_id() = connection_id()",
        ])
        .to_owned()
}

/// Statements over the session's own rows.
fn rows(choices: &mut Choices, session: usize) -> String {
    let own = session * 100 + choices.below(ROWS);
    match choices.below(15) {
        0 => format!("update item set n = n + 1 where id = {own}"),
        1 => format!("update item set n = n where id = {own}"),
        2 => format!("update item set s = 'ö{}' where id = {own}", choices.below(9)),
        3 => format!("update item set s = repeat('x', 30) where id = {own}"),
        4 => format!("select n from item where id = {own}"),
        5 => format!("select s from item where id = {own} and n >= 0"),
        6 => format!("select cast('{own}x' as signed) as v"),
        7 => "select nothing from item".to_owned(),
        8 => "select 1 from".to_owned(),
        9 => format!("select sql_calc_found_rows n from item where id = {own} limit {}", choices.below(2)),
        10 => format!("update item set n = 0 where id = {own} and s = 'no'"),
        11 => "drop table if exists nowhere".to_owned(),
        12 => format!("insert into item (id, n) values ({own}, 1)"),
        13 => format!("insert ignore into item (id, n) values ({own}, 1)"),
        _ => format!("select 1/0, {own} as v"),
    }
}

/// A query of which FOUND_ROWS() tells something.
fn counted(choices: &mut Choices, session: usize) -> String {
    let own = session * 100 + choices.below(ROWS);
    match choices.below(3) {
        0 => format!("select sql_calc_found_rows n from item where id = {own} limit {}", choices.below(2)),
        1 => "select 1 union all select 2 union all select 3".to_owned(),
        _ => "select 1 from item where id = -1".to_owned(),
    }
}

/// Statements for PREPARE and EXECUTE.
fn prepared(choices: &mut Choices, session: usize) -> String {
    let own = session * 100 + choices.below(ROWS);
    match choices.below(5) {
        0 => format!("select n, s from item where id = {own}"),
        1 => format!("update item set n = n + 1 where id = {own}"),
        2 => "select @@sql_mode, @@time_zone".to_owned(),
        3 => "select 'é' as v, 1/3 as w".to_owned(),
        _ => "select @@character_set_results, @@collation_connection".to_owned(),
    }
}
