//! Fuzzes a client's command; the first four bytes are the agreed capabilities.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shardgate::protocol::capability::Capabilities;
use shardgate::protocol::command::Command;

fuzz_target!(|data: &[u8]| {
    let Some((agreed, payload)) = data.split_first_chunk::<4>() else { return };
    for agreed in [Capabilities(u32::from_le_bytes(*agreed)), Capabilities(0x09ff_ffcf)] {
        if let Ok(command) = Command::decode(payload, agreed) {
            let _ = (command.name(), command.is_answered());
        }
    }
});
