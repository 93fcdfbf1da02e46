//! Do results of any length pass in constant memory, however fast the client reads?

use std::time::Duration;

use crate::cluster::{Cluster, FLAT_ROWS};
use crate::process::poll;
use crate::runner::{Bed, Test, Verdict, say};
use crate::wire::{COM_QUERY, Login};

pub const TESTS: &[Test] = &[
    Test::alone("stream/millions of rows in flat memory", flat_memory),
    Test::alone("stream/merged rows in flat memory", merged),
    Test::alone("stream/clients that never read", never_read),
    Test::shared("stream/a client that stops in the middle", stops_in_the_middle),
];

/// How much the gate may grow while rows pass: buffers, not results.
const ALLOWED_KIB: u64 = 48 << 10;
/// Rows of `flat` times three times the seven countries.
const BLOCK: u64 = FLAT_ROWS * 343;

/// A statement with about `rows` rows from all shards: small tables, multiplied by a reference table.
fn statement(rows: u64) -> (String, u64) {
    let codes = ["no", "fr", "jp", "br", "pl", "tr", "de"];
    let list =
        |n: u64| codes[..n as usize].iter().map(|code| format!("'{code}'")).collect::<Vec<_>>().join(", ");
    let blocks = rows.div_ceil(BLOCK).clamp(1, 49);
    let (d, e) = if blocks <= 7 { (blocks, 1) } else { (7, blocks.div_ceil(7)) };
    let sql = format!(
        "select f.id, f.pad from flat f, country a, country b, country c, country d, country e \
         where d.code in ({}) and e.code in ({})",
        list(d),
        list(e)
    );
    (sql, BLOCK * d * e)
}

/// Streams a statement and returns its rows and the gate's growth in KiB.
fn stream(cluster: &Cluster, login: &Login, sql: &str) -> (u64, u64) {
    let mut wire = cluster.gate.login(login).unwrap();
    wire.rows("select id, pad from flat limit 100").unwrap();
    let before = cluster.gate.resident_kib();
    let (mut rows, mut most) = (0_u64, before);
    let end = wire
        .stream(sql, |_| {
            rows += 1;
            if rows.is_multiple_of(100_000) {
                most = most.max(cluster.gate.resident_kib());
            }
        })
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    end.unwrap_or_else(|error| panic!("broken off after {rows} rows: {error}"));
    (rows, most.saturating_sub(before))
}

fn flat_memory(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let wanted =
        std::env::var("SHARDGATE_TEST_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(2_000_000);
    let (sql, expected) = statement(wanted);
    for login in [Login::to("e2e"), Login::to("e2e").classic_eof()] {
        let begin = std::time::Instant::now();
        let (rows, growth) = stream(cluster, &login, &sql);
        say(&format!("         {rows} rows in {:.1} s, gate +{growth} KiB", begin.elapsed().as_secs_f64()));
        assert_eq!(rows, expected);
        assert!(growth < ALLOWED_KIB, "the gate grew by {growth} KiB");
    }
    Ok(())
}

fn merged(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let sql = "select f.id, f.pad from flat f, country a, country b order by f.id";
    let (rows, growth) = stream(cluster, &Login::to("e2e"), sql);
    assert_eq!(rows, FLAT_ROWS * 49);
    assert!(growth < ALLOWED_KIB, "the gate grew by {growth} KiB");
    Ok(())
}

/// Ten clients ask for everything and read nothing: their shards wait, memory does not grow, others
/// work on. When they go, their statements end.
fn never_read(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let (sql, _) = statement(20_000_000);
    let mut healthy = cluster.gate.connect("e2e").unwrap();
    healthy.rows("select id from customer order by id").unwrap();
    let before = cluster.gate.resident_kib();
    let mut silent: Vec<_> = (0..10).map(|_| cluster.gate.connect("e2e").unwrap()).collect();
    for wire in &mut silent {
        wire.send(COM_QUERY, sql.replace("f.pad from", "f.pad as `never read` from").as_bytes()).unwrap();
    }
    // The sockets fill within moments; from then on nothing may grow.
    let mut most = 0;
    poll(Duration::from_secs(4), || {
        most = most.max(cluster.gate.resident_kib());
        assert_eq!(healthy.value("select count(*) from customer").unwrap().as_deref(), Some("300"));
        None::<()>
    });
    let growth = most.saturating_sub(before);
    say(&format!("         10 silent clients, gate +{growth} KiB"));
    assert!(growth < ALLOWED_KIB, "the gate grew by {growth} KiB");
    drop(silent);
    let running = || {
        let (mut wire, _) = cluster.shards("e2e");
        let list = wire.rows("show full processlist").unwrap();
        list.iter().flatten().flatten().filter(|text| text.contains("`never read`")).count()
    };
    poll(Duration::from_secs(15), || (running() == 0).then_some(()))
        .unwrap_or_else(|| panic!("{} statements still run on the shards", running()));
    Ok(())
}

fn stops_in_the_middle(bed: &Bed) -> Verdict {
    let cluster = bed.cluster();
    let (sql, _) = statement(2_000_000);
    for _ in 0..5 {
        let mut wire = cluster.gate.connect("e2e").unwrap();
        wire.send(COM_QUERY, sql.as_bytes()).unwrap();
        for _ in 0..1000 {
            wire.read_packet().unwrap();
        }
    }
    let mut wire = cluster.gate.connect("e2e").unwrap();
    assert_eq!(wire.value("select count(*) from customer").unwrap().as_deref(), Some("300"));
    Ok(())
}
