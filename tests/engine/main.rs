//! Do sequences, transactions (also under two-phase commit) and merges hold on real servers?
//!
//! `SHARDGATE_TEST_MYSQLD` names the servers' programs, comma separated; each is started in a folder
//! of its own on a free port of 127.0.0.1, with two shards and an unsharded keyspace as databases.
//! Plans are made by hand: this is the executor's test, not the planner's. Expectations come from
//! the same server asked directly over the union of the shards.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::large_futures,
    reason = "a test program: a failed step ends it, and nothing here is hot"
)]

mod gate;
mod merges;
#[path = "../e2e/ports.rs"]
mod ports;
mod sequences;
mod server;
mod transactions;
mod twopc;

use gate::Gate;
use server::Server;

#[test]
fn the_engine_holds_on_real_servers() {
    let list = std::env::var("SHARDGATE_TEST_MYSQLD").unwrap_or_default();
    let programs: Vec<&str> = list.split(',').filter(|program| !program.is_empty()).collect();
    if programs.is_empty() {
        eprintln!("engine tests skipped: SHARDGATE_TEST_MYSQLD names no server program");
        return;
    }
    for program in programs {
        eprintln!("engine tests on {program}");
        let server = Server::start(program);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let gate = Gate::new(&server).await;
            merges::run(&gate).await;
            transactions::run(&gate).await;
            twopc::run(&gate).await;
            sequences::run(&gate).await;
        });
    }
}
