//! Is money moved whole by a Java program whose gate is killed again and again?

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use super::java;
use crate::gate::{Dev, Gate};
use crate::ports::free_port;
use crate::process::{Process, poll};
use crate::runner::{Bed, NotRun, Test, Verdict, say};
use crate::wire::Wire;

pub const TESTS: &[Test] = &[Test {
    deadline: Duration::from_secs(400),
    ..Test::own("java/transfers by two-phase commit while the gate is killed", transfers)
}];

const THREADS: usize = 4;

/// How many transfers must succeed in all, and after how many the gate dies.
const WANTED: usize = 400;
const DEATHS: [usize; 3] = [80, 160, 240];

/// What became of the transfers, by number.
#[derive(Default)]
struct Ledger {
    acknowledged: BTreeSet<i64>,
    failed: BTreeSet<i64>,
    unknown: BTreeSet<i64>,
}

impl Ledger {
    fn note(&mut self, line: &str) {
        let mut words = line.split(' ');
        let (kind, number) = (words.next(), words.next().and_then(|word| word.parse().ok()));
        match (kind, number) {
            (Some("ACK"), Some(number)) => self.acknowledged.insert(number),
            (Some("FAILED"), Some(number)) => self.failed.insert(number),
            (Some("UNKNOWN"), Some(number)) => self.unknown.insert(number),
            _ => panic!("the program says {line:?}"),
        };
    }
}

fn transfers(bed: &Bed) -> Verdict {
    let classes = java::build().map_err(NotRun)?;
    let data = tempfile::tempdir().expect("a folder");
    let cluster = Dev::billing(&bed.family).data_dir(data.path()).start().unwrap();
    let values: Vec<String> = (1..=200).map(|member| format!("({member}, 'paid', 0, NOW())")).collect();
    cluster
        .connect("service")
        .unwrap()
        .ok(format!(
            "insert into coin_balance (member_id, coin_type, amount, updated_at) values {}",
            values.join(", ")
        ))
        .unwrap();
    // The gate that dies is another one over the same servers.
    let (mysql, http) = (free_port(), free_port());
    let config = data.path().join("victim.toml");
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:{mysql}\"\n[http]\naddress = \"127.0.0.1:{http}\"\n\
         [topology]\npath = \"topology.toml\"\n[users]\nallow_any = true\n[backend]\nuser = \"root\"\n"
    );
    std::fs::write(&config, text).expect("a configuration");
    let start = || Gate::serve(&config, mysql, http).unwrap_or_else(|error| panic!("the gate: {error}"));
    let mut gate = start();
    let mut command = Command::new("java");
    command
        .args(["-Xmx192m", "-cp"])
        .arg(format!("{}:{}", classes.join("classes").display(), classes.join("lib/*").display()))
        .arg("shardgate.Transfers")
        .args([mysql.to_string(), THREADS.to_string(), WANTED.to_string()]);
    let mut program = Process::start("transfers", &mut command, &data.path().join("java.log")).unwrap();
    let (mut ledger, mut deaths) = (Ledger::default(), DEATHS.iter());
    let mut death = deaths.next();
    loop {
        let line = program.line(Duration::from_secs(120)).unwrap_or_else(|error| panic!("{error}"));
        if line == "DONE" {
            break;
        }
        ledger.note(&line);
        if death.is_some_and(|&after| ledger.acknowledged.len() >= after) {
            gate.kill();
            gate = start();
            death = deaths.next();
        }
    }
    assert!(death.is_none(), "the gate did not die often enough");
    let mut wire = gate.connect("service").unwrap();
    let resolved = poll(Duration::from_secs(90), || {
        wire.rows("show unresolved transactions").unwrap().is_empty().then_some(())
    });
    assert!(resolved.is_some(), "{:?}", wire.rows("show unresolved transactions"));
    let found = settled(&mut wire);
    let half: Vec<_> = found.iter().filter(|(_, rows)| **rows != 2).collect();
    assert!(half.is_empty(), "half moved: {half:?}");
    let lost: Vec<_> = ledger.acknowledged.iter().filter(|number| !found.contains_key(number)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let ghosts: Vec<_> = ledger.failed.iter().filter(|number| found.contains_key(number)).collect();
    assert!(ghosts.is_empty(), "failed and yet done: {ghosts:?}");
    let done = ledger.unknown.iter().filter(|number| found.contains_key(number)).count();
    let named = ledger.acknowledged.len() + done;
    assert_eq!(found.len(), named, "transfers that nobody was told of");
    say(&format!(
        "         {} acknowledged, {} failed, {} of unknown outcome ({done} of them done); the gate died {} times",
        ledger.acknowledged.len(),
        ledger.failed.len(),
        ledger.unknown.len(),
        DEATHS.len(),
    ));
    drop(wire);
    for gate in [gate, cluster] {
        let (status, left) = gate.stop();
        assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
        assert!(left.is_empty(), "left running: {left:?}");
    }
    Ok(())
}

/// How many rows each transfer has; what every member has is the sum of its transfers.
fn settled(wire: &mut Wire) -> BTreeMap<i64, usize> {
    let mut balances: BTreeMap<i64, i64> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for row in numbers(wire, "select member_id, amount from coin_transfer") {
        *balances.entry(row[0]).or_default() += row[1];
        *found.entry(row[1].abs()).or_default() += 1;
    }
    for row in numbers(wire, "select member_id, amount from coin_balance") {
        assert_eq!(balances.get(&row[0]).copied().unwrap_or(0), row[1], "the balance of member {}", row[0]);
    }
    assert_eq!(balances.values().sum::<i64>(), 0, "what one gives, another gets");
    found
}

fn numbers(wire: &mut Wire, sql: &str) -> Vec<Vec<i64>> {
    let rows = wire.rows(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let number = |cell: Option<String>| cell.and_then(|text| text.parse().ok()).expect("a number");
    rows.into_iter().map(|row| row.into_iter().map(number).collect()).collect()
}
