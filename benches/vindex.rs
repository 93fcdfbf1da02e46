//! What does it cost to find the keyspace id of a value?

use std::collections::BTreeMap;
use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use shardgate::value::Value;
use shardgate::vindex::Vindex;

/// Type, and the value that is mapped.
fn cases() -> [(&'static str, Value); 6] {
    let text = || Value::Text(Bytes::from_static("Straße des 17. Juni".as_bytes()));
    [
        ("hash", Value::Int(4_711)),
        ("xxhash", text()),
        ("numeric", Value::Int(4_711)),
        ("binary_md5", text()),
        ("unicode_loose_md5", text()),
        ("unicode_loose_xxhash", text()),
    ]
}

fn map_one_value(criterion: &mut Criterion) {
    for (kind, value) in cases() {
        let vindex = Vindex::new("bench", kind, &BTreeMap::new());
        let Ok(vindex) = vindex else { continue };
        criterion.bench_function(&format!("map one value by {kind}"), |bencher| {
            bencher.iter(|| vindex.map(black_box(std::slice::from_ref(&value))));
        });
    }
}

criterion_group!(benches, map_one_value);
criterion_main!(benches);
