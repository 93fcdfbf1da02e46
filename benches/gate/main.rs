//! What does the gate cost, beside direct MySQL and HAProxy in TCP mode, in one run?
//!
//! `cargo bench --bench gate` (or `make bench`) starts one MySQL server, HAProxy and the gate, runs
//! every workload in interleaved rounds and prints one table. Absolute microseconds belong to the
//! machine; the ratio to HAProxy in the same run is the figure to keep.
//!
//! | Variable | Default | Meaning |
//! |---|---|---|
//! | `BENCH_ROUNDS` | 5 | rounds of every workload |
//! | `BENCH_EVENTS` | 40000 | point selects per round and side; the other workloads take a share of it |
//! | `BENCH_ROWS` | 100000 | rows of sysbench's table |
//! | `BENCH_LINES` | 1000000 | rows of the large result |
//! | `BENCH_PORT` | 21700 | first of three ports |
//! | `BENCH_ONLY` | | run only the rows of the table whose name contains this |
//! | `BENCH_FOLDER` | `target/bench-gate` | data, kept for the next run, and logs |
//! | `BENCH_MYSQLD` | | the server (MySQL 9.7 by `make bench`); else the distribution's |
//! | `BENCH_AA` | | put a second HAProxy in the gate's place: shows what the harness itself adds |
//!
//! Started without `--bench` (by `cargo test`) or with `--test`, it only checks its own arithmetic.

mod client;
mod figures;
mod measure;
mod servers;
mod tables;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use figures::Figures;
use measure::{Calls, Workload};
use servers::Servers;

const WORKLOADS: [Workload; 5] = [
    Workload {
        name: "point select, text",
        script: "oltp_point_select",
        prepared: "disable",
        share: 1000,
        bar: Some(1.6),
    },
    Workload {
        name: "point select, prepared",
        script: "oltp_point_select",
        prepared: "auto",
        share: 1000,
        bar: Some(1.5),
    },
    Workload { name: "read only, text", script: "oltp_read_only", prepared: "disable", share: 50, bar: None },
    Workload {
        name: "read write, text",
        script: "oltp_read_write",
        prepared: "disable",
        share: 30,
        bar: None,
    },
    Workload {
        name: "read write, prepared",
        script: "oltp_read_write",
        prepared: "auto",
        share: 30,
        bar: None,
    },
];

/// Queries counted by strace per cell.
const TRACED: u64 = 12_800;

/// What the environment asks for.
#[derive(Debug)]
struct Settings {
    rounds: u64,
    events: u64,
    rows: u64,
    lines: u64,
    port: u16,
    only: String,
    folder: PathBuf,
}

/// The three cells of one row, in the order of [`Servers::all`].
#[derive(Debug, Default)]
struct Cells {
    rate: [Figures; 3],
    cpu: [Figures; 3],
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let outcome = if has("--bench") && !has("--test") { run() } else { check_arithmetic() };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let settings = Settings::from_environment()?;
    let servers = Servers::start(&settings.folder, settings.port)?;
    eprintln!("bench: filling tables in {}", servers.folder().display());
    tables::fill(&servers, settings.rows, settings.lines)?;
    if !servers::is_aa() {
        tables::fill_shards(&servers, &servers::SHARDS.map(|(_, database)| database), settings.rows)?;
    }
    print_head(&servers, &settings);
    for workload in WORKLOADS.iter().filter(|workload| settings.wants(workload.name)) {
        print_workload(workload, &rounds_of(&servers, workload, &settings)?);
    }
    if settings.wants("1M rows") {
        print_stream(&rounds_of_stream(&servers, &settings)?);
    }
    for connections in [1, 64] {
        let name = format!("syscalls, {connections} conn");
        if settings.wants(&name) {
            let [haproxy, gate] = [&servers.haproxy, &servers.gate]
                .map(|server| measure::calls(server, settings.rows, connections, TRACED));
            print_calls(&name, (connections == 1).then_some(8.0), &haproxy?, &gate?);
        }
    }
    Ok(())
}

fn rounds_of(servers: &Servers, workload: &Workload, settings: &Settings) -> io::Result<Cells> {
    let mut cells = Cells::default();
    // One short round first: pools dial, caches fill.
    for server in servers.all() {
        measure::sysbench(server, workload, settings.rows, settings.events / 10)?;
    }
    for round in 0..settings.rounds {
        eprintln!("bench: {} {}/{}", workload.name, round + 1, settings.rounds);
        for (index, server) in servers.all().into_iter().enumerate() {
            let figures = measure::sysbench(server, workload, settings.rows, settings.events)?;
            cells.rate[index].push(figures.rate);
            cells.cpu[index].push(figures.cpu);
        }
    }
    Ok(cells)
}

fn rounds_of_stream(servers: &Servers, settings: &Settings) -> io::Result<Cells> {
    let mut cells = Cells::default();
    for round in 0..settings.rounds {
        eprintln!("bench: 1M rows {}/{}", round + 1, settings.rounds);
        for (index, server) in servers.all().into_iter().enumerate() {
            let figures = measure::stream(server, settings.lines)?;
            cells.rate[index].push(figures.rate);
            cells.cpu[index].push(figures.per_cpu);
        }
    }
    Ok(cells)
}

fn print_head(servers: &Servers, settings: &Settings) {
    println!(
        "{}; {} rounds of {} point selects per side (other workloads a share of it), {} client threads, {} rows; median (least–most) of the rounds.",
        servers.version,
        settings.rounds,
        settings.events,
        measure::THREADS,
        settings.rows
    );
    println!();
    println!("| workload | unit | direct | HAProxy | shardgate | shardgate / HAProxy | bar |");
    println!("|---|---|---|---|---|---|---|");
}

fn print_workload(workload: &Workload, cells: &Cells) {
    let [direct, haproxy, gate] = &cells.rate;
    println!(
        "| {} | queries/s | {direct:.0} | {haproxy:.0} | {gate:.0} | {} | |",
        workload.name,
        gate.over(haproxy)
    );
    let [_, haproxy, gate] = &cells.cpu;
    let ratio = gate.over(haproxy);
    println!(
        "| {} | CPU µs/query of the proxy | – | {haproxy:.1} | {gate:.1} | {ratio} | {} |",
        workload.name,
        workload.bar.map_or_else(String::new, |bar| verdict("≤", bar, ratio.median() <= bar))
    );
}

fn print_stream(cells: &Cells) {
    let [direct, haproxy, gate] = &cells.rate;
    println!("| 1M rows | MiB/s | {direct:.0} | {haproxy:.0} | {gate:.0} | {} | |", gate.over(haproxy));
    let [_, haproxy, gate] = &cells.cpu;
    let ratio = gate.over(haproxy);
    println!(
        "| 1M rows | MiB per CPU second of the proxy | – | {haproxy:.0} | {gate:.0} | {ratio} | {} |",
        verdict("≥", 0.7, ratio.median() >= 0.7)
    );
}

fn print_calls(name: &str, bar: Option<f64>, haproxy: &Calls, gate: &Calls) {
    println!(
        "| {name} | per query | – | {:.2} | {:.2} | {:.2} | {} |",
        haproxy.per_query,
        gate.per_query,
        gate.per_query / haproxy.per_query,
        bar.map_or_else(String::new, |bar| verdict("≤", bar, gate.per_query <= bar))
    );
    for (side, calls) in [("HAProxy", haproxy), ("shardgate", gate)] {
        let names: Vec<String> =
            calls.commonest.iter().map(|(call, count)| format!("{call} {count:.2}")).collect();
        eprintln!("bench: {name}, {side}: {}", names.join(", "));
    }
}

fn verdict(relation: &str, bar: f64, is_met: bool) -> String {
    format!("{relation} {bar} {}", if is_met { "met" } else { "MISSED" })
}

/// What `--test` runs: no server, no time.
fn check_arithmetic() -> io::Result<()> {
    let mut odd = Figures::default();
    for figure in [3.0, 1.0, 2.0] {
        odd.push(figure);
    }
    let report = "% time     seconds  usecs/call     calls    errors syscall\n\
                  ------ ----------- ----------- --------- --------- ----------------\n \
                  60.00    0.000600           3       200        10 recvfrom\n \
                  40.00    0.000400           4       100           sendto\n\
                  ------ ----------- ----------- --------- --------- ----------------\n\
                  100.00    0.001000           3       300        10 total\n";
    let calls = measure::summary_of_strace(report, 50.0)?;
    let checks = [
        odd.to_string() == "2.00 (1.00–3.00)",
        (odd.over(&odd).median() - 1.0).abs() < f64::EPSILON,
        (calls.per_query - 6.0).abs() < f64::EPSILON,
        calls.commonest.first().is_some_and(|(name, _)| name == "recvfrom"),
    ];
    if checks.contains(&false) {
        Err(io::Error::other(format!("arithmetic is wrong: {checks:?}")))
    } else {
        Ok(())
    }
}

// === impl Settings ===

impl Settings {
    fn from_environment() -> io::Result<Self> {
        Ok(Self {
            rounds: number("BENCH_ROUNDS", 5)?,
            events: number("BENCH_EVENTS", 40_000)?,
            rows: number("BENCH_ROWS", 100_000)?,
            lines: number("BENCH_LINES", 1_000_000)?,
            port: u16::try_from(number("BENCH_PORT", 21_700)?).map_err(io::Error::other)?,
            only: std::env::var("BENCH_ONLY").unwrap_or_default(),
            folder: std::env::var_os("BENCH_FOLDER")
                .map_or_else(|| PathBuf::from("target/bench-gate"), PathBuf::from),
        })
    }

    fn wants(&self, name: &str) -> bool {
        name.contains(&self.only)
    }
}

fn number(variable: &str, default: u64) -> io::Result<u64> {
    std::env::var(variable).map_or(Ok(default), |text| {
        text.parse().map_err(|_| io::Error::other(format!("{variable}={text} is not a number")))
    })
}
