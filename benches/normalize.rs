//! What does it cost to make the plan cache's key of a statement?

mod statements;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use shardgate::sql::{LexOptions, Normalizer};

fn make_the_key(criterion: &mut Criterion) {
    // One per session, used again and again: that is how the buffers stay grown.
    let mut normalizer = Normalizer::new();
    for (name, text) in statements::SYSBENCH {
        criterion.bench_function(&format!("make the key of a {name}"), |bencher| {
            bencher.iter(|| {
                normalizer.read(black_box(text.as_bytes()), LexOptions::default(), true);
                normalizer.key().len()
            });
        });
    }
}

criterion_group!(benches, make_the_key);
criterion_main!(benches);
