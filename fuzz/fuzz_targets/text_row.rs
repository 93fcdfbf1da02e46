//! Fuzzes rows of the text protocol.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shardgate::protocol::row::TextRow;

fuzz_target!(|data: &[u8]| {
    let bytes: usize = TextRow::new(data).filter_map(Result::ok).flatten().map(<[u8]>::len).sum();
    assert!(bytes <= data.len());
});
