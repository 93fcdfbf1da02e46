//! `binary_md5`: what is the MD5 digest of a value's bytes?
//!
//! The bytes are those of the value's MySQL text form; NULL counts as the empty string.

use md5::{Digest, Md5};

use crate::key::KeyspaceId;
use crate::value::Value;

pub(super) fn keyspace_id(value: &Value) -> KeyspaceId {
    value.with_text(of_bytes)
}

/// The 16-byte digest of these bytes.
pub(super) fn of_bytes(bytes: &[u8]) -> KeyspaceId {
    KeyspaceId::new(&Md5::digest(bytes))
}
