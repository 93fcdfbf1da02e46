//! Fuzzes OK, EOF and ERR packets with their session-track blocks, and whole responses.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shardgate::protocol::capability::Capabilities;
use shardgate::protocol::packet::Header;
use shardgate::protocol::reader::{Part, ResponseKind, ResponseReader};
use shardgate::protocol::response::{EofPacket, ErrPacket, OkPacket};

fuzz_target!(|data: &[u8]| {
    let modern = Capabilities(Capabilities::SESSION_TRACK.0 | Capabilities::DEPRECATE_EOF.0);
    for capabilities in [modern, Capabilities::PROTOCOL_41] {
        if let Ok(packet) = OkPacket::decode(data, capabilities) {
            packet.session_changes().for_each(drop);
        }
        for kind in
            [ResponseKind::Results, ResponseKind::Prepare, ResponseKind::Fetch, ResponseKind::FieldList]
        {
            follow(ResponseReader::new(kind, capabilities), data);
        }
    }
    let _ = EofPacket::decode(data);
    if let Ok(packet) = ErrPacket::decode(data) {
        let _ = packet.to_error();
    }
});

fn follow(mut reader: ResponseReader, mut stream: &[u8]) {
    while let Some(header) = Header::parse(stream) {
        let Some(payload) = stream.get(4..4 + header.length) else { return };
        if reader.is_done() {
            return;
        }
        match reader.classify(header, payload.first().copied()) {
            Part::Whole => {
                if reader.packet(payload).is_err() {
                    return;
                }
            }
            _ => {}
        }
        stream = &stream[4 + header.length..];
    }
}
