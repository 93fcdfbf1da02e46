//! What does it cost to count one statement?
//!
//! Everything that a point select touches beside its work, while nobody watches: the histograms of the client's
//! call and of the server's, the counters of its plan, and the counts of its kind of statement. Nanoseconds
//! for one statement, on one thread and on two that count the same statement. At most [`BAR`]: 3 % of the
//! time that the gate computes for a point select; `cargo bench -- --test` insists on ten times that, which
//! an unoptimised build keeps on a busy machine.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench: a failed step ends it")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use shardgate::metrics::labels::Operation;
use shardgate::metrics::{ApiSeries, ExecutionSeries, Metrics, Routes, TabletLabels, TabletSeries};
use shardgate::session::statistics::{Cost, StatementCounts, Statistics};

/// The bound on one statement: the gate computes for about 20 µs for a point select (`make bench`).
const BAR: Duration = Duration::from_nanos(600);

const STATEMENTS: u32 = 1_000_000;

#[derive(Clone)]
struct Counted {
    metrics: Arc<Metrics>,
    api: ApiSeries,
    plan: ExecutionSeries,
    table: Arc<StatementCounts>,
    tablet: Arc<TabletSeries>,
}

fn main() {
    let insists = std::env::args().any(|argument| argument == "--test");
    let metrics = Arc::new(Metrics::new().unwrap());
    let labels = TabletLabels { keyspace: "ks", shard: "-80", db_type: "primary", alias: "zone1-0000000100" };
    let text = "SELECT c FROM sbtest1 WHERE id=?".to_owned();
    let counted = Counted {
        api: metrics.query.api(Operation::Execute, "ks", "primary"),
        plan: metrics.query.execution("SELECT", "Passthrough", "PRIMARY"),
        table: Statistics::default().of("ks", text, "Passthrough", &[]),
        tablet: metrics.backend.tablet(labels),
        metrics,
    };
    let alone = run(&counted, 1);
    let together = run(&counted, 2);
    println!("counting one statement: {alone:?}, on two threads at once {together:?} (bar: ≤ {BAR:?})");
    if insists {
        assert!(alone <= BAR * 10, "{alone:?}");
    }
}

/// Time for one statement.
fn run(counted: &Counted, threads: usize) -> Duration {
    let before = counted.table.totals().count;
    let since = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..STATEMENTS).for_each(|n| count(counted, n)));
        }
    });
    let took = since.elapsed();
    let counts = counted.table.totals().count - before;
    assert_eq!(counts, u64::from(STATEMENTS) * threads as u64, "nothing is lost");
    took / STATEMENTS
}

/// What the backend, the executor and the session do, with the clocks that they read.
fn count(counted: &Counted, n: u32) {
    let began = Instant::now();
    counted.plan.executions.inc();
    let routes = Routes::new(&counted.plan.routes);
    routes.inc_by(1);
    let sent = Instant::now();
    counted.tablet.called(sent.elapsed(), false);
    let time = began.elapsed() + Duration::from_nanos(u64::from(n % 1_000_000));
    counted.api.seconds.observe(time.as_secs_f64());
    counted.api.text_characters.inc_by(32);
    counted.metrics.frontend.query_seconds.observe(time.as_secs_f64());
    let cost = Cost { time, failed: false, shards: routes.sent(), rows: 1, bytes: 180 };
    counted.table.add(std::hint::black_box(cost));
}
