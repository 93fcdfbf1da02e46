//! Does the topology in etcd hold: through changes, bad records, and an etcd that comes and goes?
//!
//! Every test starts etcd servers of its own. `tools/install-test.sh` installs the program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::large_futures,
    reason = "a test program: a failed step ends it, and nothing here is hot"
)]

mod ctl;
mod emergency;
mod etcd;
mod follow;
mod gate;
mod lag;
mod locks;
#[path = "../e2e/ports.rs"]
mod ports;
mod records;
mod reparent;
mod rules;
#[path = "../engine/server.rs"]
mod server;
mod sysbench;

use std::time::{Duration, Instant};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The server programs that `SHARDGATE_TEST_MYSQLD` names; where it names none, says what is skipped.
pub(crate) fn programs(skipped: &str) -> Vec<String> {
    let list = std::env::var("SHARDGATE_TEST_MYSQLD").unwrap_or_default();
    let programs: Vec<_> = list.split(',').filter(|program| !program.is_empty()).map(str::to_owned).collect();
    if programs.is_empty() {
        eprintln!("{skipped} skipped: SHARDGATE_TEST_MYSQLD names no server program");
    }
    programs
}

/// Looks every 20 ms until there is a value.
pub(crate) fn poll<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = look() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
