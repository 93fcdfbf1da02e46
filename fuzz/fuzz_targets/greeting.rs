//! Fuzzes a server's greeting and its change of plugins.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use shardgate::protocol::greeting::{AuthSwitch, Greeting};

fuzz_target!(|data: &[u8]| {
    if let Ok(greeting) = Greeting::decode(data) {
        let mut again = BytesMut::new();
        greeting.encode(&mut again);
        assert!(Greeting::decode(&again).is_ok());
    }
    let _ = AuthSwitch::decode(data);
});
