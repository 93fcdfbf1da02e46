//! All tests, by what they look at.

mod access;
mod advice;
mod chaos;
mod cli;
mod clients;
mod commands;
mod containers;
mod dev;
mod driver;
mod failover;
mod gather;
mod hostile;
mod http;
mod java;
mod limits;
mod locks;
mod lookups;
mod monitor;
mod otlp;
mod packets;
mod prepared;
mod proxy;
mod readme;
mod replicas;
mod schema;
mod secrets;
mod sequences;
mod serve;
mod settings;
mod statements;
mod stream;
mod sysbench;
mod temporary;
mod transfers;
mod types;
mod vexplain;
mod vtexplain;

use crate::runner::Test;

/// Every test, in the order in which they start.
pub fn all() -> Vec<Test> {
    [
        stream::TESTS,
        java::TESTS,
        transfers::TESTS,
        clients::TESTS,
        chaos::TESTS,
        sysbench::TESTS,
        statements::TESTS,
        settings::TESTS,
        dev::TESTS,
        readme::TESTS,
        replicas::TESTS,
        failover::TESTS,
        monitor::TESTS,
        types::TESTS,
        prepared::TESTS,
        schema::TESTS,
        gather::TESTS,
        vexplain::TESTS,
        vtexplain::TESTS,
        packets::TESTS,
        sequences::TESTS,
        serve::TESTS,
        access::TESTS,
        secrets::TESTS,
        otlp::TESTS,
        commands::TESTS,
        cli::TESTS,
        driver::TESTS,
        hostile::TESTS,
        http::TESTS,
        advice::TESTS,
        limits::TESTS,
        locks::TESTS,
        lookups::TESTS,
        temporary::TESTS,
        proxy::TESTS,
        containers::TESTS,
    ]
    .concat()
}
