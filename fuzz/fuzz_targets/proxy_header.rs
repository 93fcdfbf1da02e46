//! Fuzzes the header that a load balancer sends ahead of a client's bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shardgate::protocol::proxy_header::{Progress, decode};

fuzz_target!(|data: &[u8]| {
    // As a reader does it: never more than was asked for.
    let mut end = 0;
    while let Some(read) = data.get(..end) {
        match decode(read) {
            Ok(Progress::Needs(count)) => {
                assert!(count > 0);
                end += count;
            }
            Ok(Progress::Done(_)) | Err(_) => return,
        }
    }
});
