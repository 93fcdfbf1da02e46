//! Fuzzes EXECUTE with its parameters; the first byte says how many, the second what was agreed on.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use shardgate::protocol::capability::Capabilities;
use shardgate::protocol::statement::{Execute, ParameterContext};

fuzz_target!(|data: &[u8]| {
    let [params, options, payload @ ..] = data else { return };
    let long_data = [Some(BytesMut::from(&b"piece"[..])), None];
    let context = ParameterContext {
        params: usize::from(*params),
        types: &[],
        long_data: if options & 1 == 0 { &[] } else { &long_data },
        capabilities: if options & 2 == 0 {
            Capabilities::PROTOCOL_41
        } else {
            Capabilities::PROTOCOL_41 | Capabilities::QUERY_ATTRIBUTES
        },
    };
    if let Ok(execute) = Execute::decode(payload, context) {
        assert_eq!(execute.parameters.len(), usize::from(*params));
        let _ = execute.values();
        execute.encode_for(&mut BytesMut::new(), 1);
    }
});
