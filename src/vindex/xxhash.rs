//! `xxhash`: what is the XXH64 digest of a value's bytes?
//!
//! Seed 0; the digest is written little-endian. The bytes are those of the value's MySQL text form
//! (an integer is hashed as its decimal digits); NULL counts as the empty string.

use xxhash_rust::xxh64::xxh64;

use crate::key::KeyspaceId;
use crate::value::Value;

pub(super) fn keyspace_id(value: &Value) -> KeyspaceId {
    value.with_text(of_bytes)
}

/// The 8-byte digest of these bytes.
pub(super) fn of_bytes(bytes: &[u8]) -> KeyspaceId {
    KeyspaceId::new(&xxh64(bytes, 0).to_le_bytes())
}
