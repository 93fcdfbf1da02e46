//! Fuzzes column definitions.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use shardgate::protocol::column::{Column, Columns, rewrite_schema};

fuzz_target!(|data: &[u8]| {
    if let Ok(column) = Column::decode(data) {
        let mut again = BytesMut::new();
        column.encode(&mut again);
        assert_eq!(Column::decode(&again), Ok(column));
    }
    let _ = rewrite_schema(&mut BytesMut::new(), data, b"service_40-80", b"service");
    if let Ok(columns) = Columns::new(Bytes::copy_from_slice(data)) {
        columns.iter().for_each(drop);
    }
});
