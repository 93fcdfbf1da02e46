//! Fuzzes a client's login packet; the first four bytes are what was offered.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shardgate::protocol::auth::{NativeHash, Sha2Hash, clear_password};
use shardgate::protocol::capability::Capabilities;
use shardgate::protocol::greeting::{Attributes, LoginPacket, SslRequest};

fuzz_target!(|data: &[u8]| {
    let Some((offered, payload)) = data.split_first_chunk::<4>() else { return };
    let _ = SslRequest::decode(payload);
    let _ = LoginPacket::is_protocol_41(payload);
    for offered in [Capabilities(u32::from_le_bytes(*offered)), Capabilities(0x09ff_ffcf)] {
        if let Ok(login) = LoginPacket::decode(payload, offered) {
            Attributes::new(login.attributes).for_each(drop);
            assert!(!NativeHash::of(b"secret").verify(&[1; 20], login.auth));
            assert!(!Sha2Hash::of(b"secret").verify(&[1; 20], login.auth));
        }
    }
    let _ = clear_password(payload);
});
