//! What does a statement cost that no plan is cached for?
//!
//! Normalise, parse and plan: at most 25 µs for each statement of sysbench.

mod statements;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use shardgate::key::TabletType;
use shardgate::planner::{PlanContext, plan};
use shardgate::sql::{LexOptions, Normalizer};
use shardgate::vschema::VSchema;

const VSCHEMA: &str = r#"{"keyspaces": {"sbtest": {"sharded": true, "vindexes": {"hash": {"type": "hash"}},
    "tables": {"sbtest1": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}}}"#;

fn plan_without_a_cache(criterion: &mut Criterion) {
    let vschema = match VSchema::from_json(VSCHEMA, 1) {
        Ok(vschema) => vschema,
        Err(error) => return eprintln!("the bench's own VSchema is wrong: {error}"),
    };
    let context = PlanContext {
        vschema: &vschema,
        keyspace: Some("sbtest"),
        tablet_type: TabletType::Primary,
        destination: None,
    };
    let mut normalizer = Normalizer::new();
    for (name, text) in statements::SYSBENCH {
        criterion.bench_function(&format!("normalise, parse and plan a {name}"), |bencher| {
            bencher.iter(|| {
                normalizer.read(black_box(text.as_bytes()), LexOptions::default(), true);
                let plan = plan(&normalizer.statement(text.as_bytes()), &context);
                assert!(plan.is_ok(), "{text} is planned");
                plan
            });
        });
    }
}

criterion_group!(benches, plan_without_a_cache);
criterion_main!(benches);
