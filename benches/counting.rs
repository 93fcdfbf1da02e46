//! What does it cost to count one statement?
//!
//! Everything that a point select touches beside its work, while nobody watches: the histograms of the client's
//! call and of the server's, the counters of its plan, the counts of its kind of statement, the sampled load of
//! its key, and the session's row of repetitions; each statement has another value. Nanoseconds for one statement,
//! on one thread and on two that count the same statement, and its allocations. At most [`BAR`]: 3 % of the
//! time that the gate computes for a point select; `cargo bench -- --test` insists on ten times that, which
//! an unoptimised build keeps on a busy machine, and on no more than [`ALLOCATIONS`].

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench: a failed step ends it")]

use std::alloc::System;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shardgate::executor::Heat;
use shardgate::key::{KeyRange, KeyspaceId};
use shardgate::metrics::labels::Operation;
use shardgate::metrics::{ApiSeries, ExecutionSeries, Metrics, Routes, TabletLabels, TabletSeries};
use shardgate::session::repeats::{Query, Repeats, Run};
use shardgate::session::statistics::{Cost, StatementCounts, Statistics};
use shardgate::topology::Shard;
use shardgate::vindex::Vindex;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The bound on one statement: the gate computes for about 20 µs for a point select (`make bench`).
const BAR: Duration = Duration::from_nanos(600);

const STATEMENTS: u32 = 1_000_000;

/// Most allocations for one statement: those of the few that are drawn for the load of keys.
const ALLOCATIONS: f64 = 0.2;

#[derive(Clone)]
struct Counted {
    metrics: Arc<Metrics>,
    api: ApiSeries,
    plan: ExecutionSeries,
    table: Arc<StatementCounts>,
    tablet: Arc<TabletSeries>,
    load: Arc<Load>,
}

/// Where statements go.
struct Load {
    heat: Heat,
    repeats: Repeats,
    vindex: Vindex,
    shard: Shard,
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
        load: Arc::new(Load::new()),
        metrics,
    };
    let before = ALLOCATOR.stats();
    let alone = run(&counted, 1);
    let spent = ALLOCATOR.stats() - before;
    let allocations = u32::try_from(spent.allocations + spent.reallocations).map_or(f64::NAN, f64::from);
    let allocations = allocations / f64::from(STATEMENTS);
    let together = run(&counted, 2);
    println!(
        "counting one statement: {alone:?}, on two threads at once {together:?} (bar: ≤ {BAR:?}), {allocations:.3} allocations"
    );
    if insists {
        assert!(alone <= BAR * 10, "{alone:?}");
        assert!(allocations <= ALLOCATIONS, "{allocations} allocations for one statement");
    }
}

/// Time for one statement.
fn run(counted: &Counted, threads: usize) -> Duration {
    let before = counted.table.totals().count;
    let since = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut row = Run::default();
                (0..STATEMENTS).for_each(|n| count(counted, &mut row, n));
                row.end(&counted.metrics.trouble);
            });
        }
    });
    let took = since.elapsed();
    let counts = counted.table.totals().count - before;
    assert_eq!(counts, u64::from(STATEMENTS) * threads as u64, "nothing is lost");
    took / STATEMENTS
}

/// What the backend, the executor and the session do, with the clocks that they read.
fn count(counted: &Counted, row: &mut Run, n: u32) {
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
    let Load { heat, repeats, vindex, shard } = &*counted.load;
    heat.note(vindex, &KeyspaceId::from_u64(u64::from(n)), shard);
    let query =
        Query { kind: &counted.table, values: u64::from(n), rows: 1, user: "sbtest", peer: "10.0.0.1:5" };
    row.note(query, repeats, &counted.metrics.trouble);
}

// === impl Load ===

impl Load {
    fn new() -> Self {
        Self {
            heat: Heat::new(false),
            repeats: Repeats::default(),
            vindex: Vindex::new("hash", "hash", &BTreeMap::new()).unwrap(),
            shard: Shard {
                keyspace: "ks".into(),
                name: "-80".into(),
                range: KeyRange::parse("-80").unwrap(),
                tablets: Vec::new(),
            },
        }
    }
}
