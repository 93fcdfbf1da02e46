//! Fuzzes rows of the binary protocol; the first byte says how many columns, the next their types.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shardgate::protocol::column::ColumnType;
use shardgate::protocol::row::BinaryRow;
use shardgate::protocol::value::{ValueType, from_binary};

fuzz_target!(|data: &[u8]| {
    let Some((&count, rest)) = data.split_first() else { return };
    let Some((kinds, row)) = rest.split_at_checked(count.into()) else { return };
    let types: Vec<ValueType> = kinds
        .iter()
        .map(|&kind| ValueType {
            kind: ColumnType(kind),
            unsigned: count % 2 == 0,
            binary: count % 3 == 0,
            decimals: count % 7,
        })
        .collect();
    let Ok(values) = BinaryRow::new(row, &types) else { return };
    for (value, kind) in values.zip(&types) {
        if let Ok(Some(bytes)) = value {
            let _ = from_binary(*kind, bytes);
        }
    }
});
