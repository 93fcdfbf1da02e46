//! `numeric`: what if the number itself is the keyspace id?
//!
//! Eight bytes, big-endian.

use super::{Result, VindexError};
use crate::key::{Destination, KeyRange, KeyspaceId};
use crate::value::Value;

pub(super) fn keyspace_id(value: &Value) -> Result<KeyspaceId> {
    number(value).map(KeyspaceId::from_u64)
}

pub(super) fn reverse(id: &KeyspaceId) -> Result<Value> {
    id_number(id).map(Value::UInt)
}

/// The ids from `low` to `high`, both included; every shard where a bound is not a plain number.
pub(super) fn range(low: &Value, high: &Value) -> Destination {
    let (Ok(low), Ok(high)) = (number(low), number(high)) else {
        return Destination::All;
    };
    if low > high {
        return Destination::None;
    }
    let end = high.checked_add(1).map_or_else(Vec::new, |end| end.to_be_bytes().to_vec());
    Destination::Range(KeyRange { start: low.to_be_bytes().to_vec(), end })
}

/// The value as an unsigned integer, by the rules of [`Value::to_u64`].
pub(super) fn number(value: &Value) -> Result<u64> {
    value.to_u64().map_err(|error| VindexError::Value(error.to_string()))
}

/// The number in an id of eight bytes.
pub(super) fn id_number(id: &KeyspaceId) -> Result<u64> {
    match id.as_bytes().try_into() {
        Ok(bytes) => Ok(u64::from_be_bytes(bytes)),
        Err(_) => Err(VindexError::Value(format!("invalid keyspace id: {id}"))),
    }
}
