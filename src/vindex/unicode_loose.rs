//! `unicode_loose_md5`, `unicode_loose_xxhash`: how do strings that differ only in case, accents or
//! trailing spaces get the same keyspace id?
//!
//! The digest of the primary collation weights ([`super::unicode`]) of the value's MySQL text form;
//! NULL counts as the empty string.

use md5::{Digest, Md5};
use xxhash_rust::xxh64::Xxh64;

use super::{Result, unicode};
use crate::key::KeyspaceId;
use crate::value::Value;

pub(super) fn md5(value: &Value) -> Result<KeyspaceId> {
    let mut digest = Md5::new();
    value.with_text(|text| unicode::primary_weights(text, |weights| digest.update(weights)))?;
    Ok(KeyspaceId::new(&digest.finalize()))
}

pub(super) fn xxhash(value: &Value) -> Result<KeyspaceId> {
    let mut digest = Xxh64::new(0);
    value.with_text(|text| unicode::primary_weights(text, |weights| digest.update(weights)))?;
    Ok(KeyspaceId::new(&digest.digest().to_le_bytes()))
}
