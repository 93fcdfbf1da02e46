//! How long does a scrape of `/metrics` take for a gate over 1,000 shards?
//!
//! Every series that such a gate has is there: one primary a shard, and again with two replicas each. At
//! most [`BAR`] for the primaries, in the middle of [`SCRAPES`] scrapes; `cargo bench -- --test` insists on
//! ten times that, which an unoptimised build keeps on a busy machine.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench: a failed step ends it")]

use std::time::{Duration, Instant};

use shardgate::metrics::labels::CloseReason;
use shardgate::metrics::{Metrics, TabletLabels};

const SHARDS: usize = 1_000;

const SCRAPES: usize = 21;

/// The bound on one scrape.
const BAR: Duration = Duration::from_millis(50);

fn main() {
    let insists = std::env::args().any(|argument| argument == "--test");
    let primaries = measure(&["primary"]);
    measure(&["primary", "replica", "replica"]);
    if insists {
        assert!(primaries <= BAR * 10, "a scrape took {primaries:?}");
    }
}

/// The median time of a scrape.
fn measure(types: &[&str]) -> Duration {
    let metrics = Metrics::new().unwrap();
    let mut held = Vec::new();
    for shard in 0..SHARDS {
        let name = format!("{shard:04x}-");
        for (at, db_type) in types.iter().enumerate() {
            let alias = format!("zone1-{:010}", shard * 10 + at);
            let labels = TabletLabels { keyspace: "service", shard: &name, db_type, alias: &alias };
            let pool = metrics.backend.tablet(labels);
            pool.called(Duration::from_millis(1), false);
            pool.leases.inc_by(1_000_000);
            pool.closed(CloseReason::Idle);
            let health = metrics.health.tablet(labels);
            health.serving.set(1);
            held.push((pool, health));
        }
    }
    let names: Vec<_> = (0..SHARDS).map(|shard| format!("{shard:04x}-")).collect();
    let primaries: Vec<_> = names.iter().map(|name| ("service", name.as_str(), true)).collect();
    let buffers: Vec<_> = names.iter().map(|name| metrics.health.buffer("service", name)).collect();
    let mut times: Vec<_> = (0..SCRAPES)
        .map(|_| {
            let since = Instant::now();
            metrics.health.set_primaries(&primaries);
            std::hint::black_box(metrics.text());
            since.elapsed()
        })
        .collect();
    times.sort();
    let text = metrics.text();
    let median = times[SCRAPES / 2];
    println!(
        "scrape of {SHARDS} shards, {} servers: {:.1} ms (worst {:.1}), {} samples, {:.1} MB (bar: ≤ {} ms)",
        held.len(),
        median.as_secs_f64() * 1e3,
        times[SCRAPES - 1].as_secs_f64() * 1e3,
        text.lines().filter(|line| !line.starts_with('#')).count(),
        f64::from(u32::try_from(text.len()).unwrap()) / 1e6,
        BAR.as_millis(),
    );
    drop(buffers);
    median
}
