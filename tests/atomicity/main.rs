//! Is money conserved when gates, servers and connections die in the middle of COMMIT?
//!
//! First every named step of the commit with everything that can happen there, then deadlocks over
//! several servers, failovers, and transfers under random crashes. `SHARDGATE_CHAOS_SECONDS` says for how long (15 unless told), `SHARDGATE_CHAOS_SEED`
//! repeats a run. Arguments choose steps by a part of their name; `chaos` is the random part.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    clippy::print_stdout,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a failed expectation is how a test fails, its report is standard output, and its threads sleep"
)]

mod bed;
mod chaos;
mod cutter;
mod deadlock;
mod failover;
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../e2e/gate.rs"]
mod gate;
mod history;
mod ledger;
#[path = "../e2e/ports.rs"]
mod ports;
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../e2e/process.rs"]
mod process;
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../e2e/server.rs"]
mod server;
mod steps;
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../e2e/wire.rs"]
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bed::Bed;
use server::Family;

/// What has become of the cases.
#[derive(Default)]
struct Told {
    passed: usize,
    failed: Vec<String>,
}

impl Told {
    /// Runs a case, and says how it went; false where it failed.
    fn attempt(&mut self, name: String, case: impl FnOnce()) -> bool {
        let since = Instant::now();
        let passes = catch_unwind(AssertUnwindSafe(case)).is_ok();
        let took = since.elapsed().as_secs_f64();
        println!("{} {name} ({took:.1} s)", if passes { "ok      " } else { "FAILED  " });
        if passes {
            self.passed += 1;
        } else {
            self.failed.push(name);
        }
        passes
    }
}

fn main() -> ExitCode {
    process::end_all_on_a_signal();
    let filters: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted =
        |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let full = std::env::var_os("SHARDGATE_CHAOS_FULL").is_some();
    let begin = Instant::now();
    history::checks_itself();
    let (families, missing) = Family::available();
    let mut told = Told::default();
    for family in &families {
        let mut bed = match Bed::start(family) {
            Ok(bed) => bed,
            Err(error) => {
                told.failed.push(format!("{}: {error}", family.name));
                continue;
            }
        };
        let (mut gate, mut other) = (bed.gate("one").expect("a gate"), bed.gate("two").expect("a gate"));
        for step in steps::STEPS {
            for anchor_reads in [false, true] {
                let anchor = if anchor_reads { "read" } else { "wrote" };
                let name = format!("{}/{}, the anchor {anchor}", family.name, step.name);
                if !wanted(&name) || (anchor_reads && !step.both && !full) {
                    continue;
                }
                if !told.attempt(name, || step.run(&mut bed, &mut gate, &mut other, anchor_reads)) {
                    // What it left may spoil the others.
                    gate.kill();
                    for server in &mut bed.servers {
                        server.kill();
                        server.restart().expect("a restart");
                    }
                    gate = bed.gate("one").expect("a gate");
                    other = bed.gate("two").expect("a gate");
                }
            }
        }
        for case in deadlock::CASES {
            let name = format!("{}/{}", family.name, case.name);
            if !wanted(&name) {
                continue;
            }
            if !told.attempt(name, || case.run(&bed, &gate, &other)) {
                println!("{}\n{}", gate.log_tail(), other.log_tail());
                // The clients of a failed case still hold their locks.
                gate.kill();
                other.kill();
                gate = bed.gate("one").expect("a gate");
                other = bed.gate("two").expect("a gate");
            }
        }
        for case in failover::CASES {
            let name = format!("{}/{}", family.name, case.name);
            if wanted(&name) {
                told.attempt(name, || case.run(family));
            }
        }
        let name = format!("{}/chaos", family.name);
        if wanted(&name) {
            told.attempt(name, || {
                println!("{}", chaos::run(&mut bed, &mut gate, &mut other, seconds(), seed()));
            });
        }
    }
    let mut not_run = String::new();
    for reason in &missing {
        println!("not run: {reason}");
        not_run.push_str(reason);
        not_run.push('\n');
    }
    if let Some(file) = std::env::var_os("SHARDGATE_TEST_NOT_RUN_ATOMICITY") {
        let _ = std::fs::write(file, &not_run);
    }
    let Told { passed, failed } = told;
    for name in &failed {
        println!("failed:  {name}");
    }
    println!(
        "test result: {}. {passed} passed; {} failed; {} ignored; finished in {:.0}s",
        if failed.is_empty() { "ok" } else { "FAILED" },
        failed.len(),
        missing.len(),
        begin.elapsed().as_secs_f64(),
    );
    if failed.is_empty() && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn seconds() -> Duration {
    let told = std::env::var("SHARDGATE_CHAOS_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(told.unwrap_or(15))
}

fn seed() -> u64 {
    let told = std::env::var("SHARDGATE_CHAOS_SEED").ok().and_then(|text| text.parse().ok());
    told.unwrap_or_else(rand::random)
}
