//! Does the gate answer every statement as one server would, or refuse it?
//!
//! Every statement runs on the gate over 1, 2, 4 and an uneven number of shards, and on one plain server
//! that holds the same data. Statements come from a random generator, from TPC-H, TPC-C and the billing
//! sample, and from recorded corpora where those are at hand (`../shared/corpus`). The scoreboard in
//! `testdata/differential` tells how many agree, differ and are refused, per topic.
//!
//! `cargo test --test differential -- NAME…` runs the sources that a NAME is part of. `SEED=7` runs the
//! random statements of seed 7, `SEED=7:2:123` one of them and shows it; `QUERIES=100000` runs more;
//! `SOAK=1` goes on with new seeds until it is stopped. `REFUSALS=1` lists what is refused, and why.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    unreachable_pub,
    dead_code,
    reason = "a failed expectation is how a test fails; the end-to-end tests use what is not used here"
)]

#[path = "../e2e/gate.rs"]
mod gate;
#[path = "../e2e/ports.rs"]
mod ports;
#[path = "../e2e/process.rs"]
mod process;
#[path = "../e2e/server.rs"]
mod server;
#[path = "../e2e/wire.rs"]
mod wire;

mod arena;
mod board;
mod corpus;
mod judge;
mod random;
mod recorded;
mod samples;

use std::process::ExitCode;
use std::time::Instant;

use arena::Servers;
use board::Board;
use random::Plan;
use server::{Family, Kind};

/// Where statements come from.
const SOURCES: &[Source] = &[
    ("tpch", samples::queries),
    ("tpcc", samples::transactions),
    ("billing", samples::billing),
    ("corpus/steps", corpus::steps),
    ("corpus/expressions", corpus::expressions),
    ("random", random_statements),
];

fn main() -> ExitCode {
    process::end_all_on_a_signal();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in SOURCES {
            say(name);
        }
        return ExitCode::SUCCESS;
    }
    let (families, missing) = Family::available();
    missing.iter().chain(&corpus::missing()).for_each(|line| say(&format!("not run: {line}")));
    let (mut passed, mut failed) = (0, 0);
    for family in &families {
        let wanted = |name: &str| {
            filters.is_empty()
                || filters.iter().any(|filter| format!("{}/{name}", family.name).contains(filter.as_str()))
        };
        let chosen: Vec<_> = SOURCES.iter().filter(|(name, _)| wanted(name)).collect();
        if chosen.is_empty() {
            continue;
        }
        match judge_family(family, &chosen) {
            Ok((good, bad)) => {
                passed += good;
                failed += bad;
            }
            Err(error) => {
                say(&format!("FAILED   {}: {error}", family.name));
                failed += 1;
            }
        }
    }
    let result = if failed == 0 && passed > 0 { "ok" } else { "FAILED" };
    say(&format!("test result: {result}. {passed} passed; {failed} failed; 0 ignored"));
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

type Source = (&'static str, fn(&Servers, &mut Board) -> Result<(), String>);

/// Runs the sources on one family; how many topics are as good as they were, and how many are not.
fn judge_family(family: &Family, sources: &[&Source]) -> Result<(usize, usize), String> {
    let servers = Servers::start(family)?;
    let mut board = Board::default();
    let mut failures = Vec::new();
    for (name, run) in sources {
        let begin = Instant::now();
        let mut own = Board::default();
        if let Err(error) = run(&servers, &mut own) {
            failures.push(format!("{name}: {error}"));
        }
        let total = own.total();
        say(&format!(
            "{}/{name}: {} agree, {} differ, {} refused ({:.0} s)",
            family.name,
            total.agree,
            total.differ,
            total.refused,
            begin.elapsed().as_secs_f64()
        ));
        board.merge(own);
    }
    let shown = std::env::var("SHOW").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    for difference in board.differences().iter().take(shown) {
        say(&format!("\ndiffers  {difference}"));
    }
    if let Some(more) = board.differences().len().checked_sub(shown).filter(|more| *more > 0) {
        say(&format!("\nand {more} more that differ; SHOW=10000 shows them"));
    }
    if std::env::var_os("REFUSALS").is_some() {
        say(&board.refusals());
    }
    for (topic, count) in board.topics() {
        say(&format!("{topic:<44} {:>6} {:>6} {:>7}", count.agree, count.differ, count.refused));
    }
    // Other seeds and numbers of statements have other counts; with those, nothing may differ.
    if std::env::var_os("SEED").is_none() && std::env::var_os("QUERIES").is_none() {
        failures.extend(board.against_file(family));
    } else if board.total().differ > 0 {
        failures.push(format!("{} statements differ", board.total().differ));
    }
    for failure in &failures {
        say(&format!("FAILED   {}: {failure}", family.name));
    }
    Ok((board.topics().len().saturating_sub(failures.len()), failures.len()))
}

/// The random statements of one seed, or of one seed after the other.
fn random_statements(servers: &Servers, board: &mut Board) -> Result<(), String> {
    let usual = match servers.family.kind {
        Kind::MySql => 5_000,
        Kind::MariaDb => 1_500,
    };
    let queries = std::env::var("QUERIES").ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let text = std::env::var("SEED").unwrap_or_else(|_| "1".into());
    let mut plan = Plan::parse(&text, queries)
        .ok_or_else(|| format!("SEED={text}: not seed or seed:keyspace:statement"))?;
    loop {
        say(&format!("{}: random statements of SEED={}", servers.family.name, plan.seed));
        random::test(servers, plan, board)?;
        if std::env::var_os("SOAK").is_none() || board.total().differ > 0 {
            return Ok(());
        }
        plan.seed += 1;
    }
}

/// One line of the report.
#[expect(clippy::print_stdout, reason = "the report of a test run is standard output")]
pub fn say(line: &str) {
    println!("{line}");
}
