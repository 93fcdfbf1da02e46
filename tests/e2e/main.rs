//! Does the built gate do on real servers what one MySQL server would do?
//!
//! Starts `shardgate dev` and plain servers of every family found on this machine
//! (or that `SHARDGATE_TEST_MYSQLD` lists), runs each test on each family, and ends
//! what it started. `cargo test --test e2e -- NAME…` runs the tests whose titles contain a NAME.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::unreadable_literal,
    clippy::unnecessary_wraps,
    unreachable_pub,
    reason = "a failed expectation is how a test fails; sizes and literals are the protocol's; every test has one signature; nothing is exported"
)]

mod cluster;
mod compare;
mod gate;
mod ports;
mod process;
mod runner;
mod server;
mod stage;
mod wire;

mod tests;

use std::process::ExitCode;

fn main() -> ExitCode {
    process::end_all_on_a_signal();
    if runner::run(&tests::all()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
