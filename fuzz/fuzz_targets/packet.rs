//! Fuzzes packets off a stream, whatever their length and number.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use shardgate::protocol::packet::{PacketDecoder, PacketWriter, renumber};

fuzz_target!(|data: &[u8]| {
    let mut decoder = PacketDecoder::new(4096);
    let mut input = BytesMut::from(data);
    while let Ok(Some(packet)) = decoder.decode(&mut input) {
        assert!(packet.payload.len() <= 4096);
    }
    // A run is passed on whole or not at all.
    let mut out = BytesMut::new();
    let written = PacketWriter::new(1).write_run(&mut out, data).is_ok();
    assert_eq!(out.len(), if written { data.len() } else { 0 });
    assert_eq!(renumber(&mut data.to_vec(), &mut 0).is_ok(), written);
});
