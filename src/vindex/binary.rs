//! `binary`: what if the value's bytes are the keyspace id?
//!
//! The bytes are those of the value's MySQL text form; NULL gives the empty id.

use bytes::Bytes;

use crate::key::{Destination, KeyRange, KeyspaceId};
use crate::value::Value;

pub(super) fn keyspace_id(value: &Value) -> KeyspaceId {
    value.with_text(KeyspaceId::new)
}

pub(super) fn reverse(id: &KeyspaceId) -> Value {
    Value::Binary(Bytes::copy_from_slice(id.as_bytes()))
}

/// The ids from `low` to `high`, both included. A byte string has no direct successor, so the end is
/// `high` followed by 01: the least of that length above it. That may name one shard too many, never
/// one too few.
pub(super) fn range(low: &Value, high: &Value) -> Destination {
    // Numbers compare as numbers, not as their digits.
    let by_bytes = |value: &Value| matches!(value, Value::Text(_) | Value::Binary(_));
    if !by_bytes(low) || !by_bytes(high) {
        return Destination::All;
    }
    let (start, mut end) = (keyspace_id(low), keyspace_id(high).as_bytes().to_vec());
    if start.as_bytes() > end.as_slice() {
        return Destination::None;
    }
    end.push(1);
    Destination::Range(KeyRange { start: start.as_bytes().to_vec(), end })
}
