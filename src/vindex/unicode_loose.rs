//! `unicode_loose_md5`, `unicode_loose_xxhash`: how do strings that differ only in case, accents or
//! trailing spaces get the same keyspace id?
//!
//! The digest of the primary collation weights ([`super::unicode`]) of the value's MySQL text form;
//! NULL counts as the empty string.

use super::{Result, binary_md5, unicode, xxhash as xxh};
use crate::key::KeyspaceId;
use crate::value::Value;

pub(super) fn md5(value: &Value) -> Result<KeyspaceId> {
    unicode::primary_weights(&value.text().unwrap_or_default()).map(|weights| binary_md5::of_bytes(&weights))
}

pub(super) fn xxhash(value: &Value) -> Result<KeyspaceId> {
    unicode::primary_weights(&value.text().unwrap_or_default()).map(|weights| xxh::of_bytes(&weights))
}
