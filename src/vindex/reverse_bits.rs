//! `reverse_bits`: how do consecutive numbers spread over all shards, cheaply and reversibly?
//!
//! The 64 bits in reverse order, big-endian.

use super::{Result, numeric};
use crate::key::KeyspaceId;
use crate::value::Value;

pub(super) fn keyspace_id(value: &Value) -> Result<KeyspaceId> {
    numeric::number(value).map(|number| KeyspaceId::from_u64(number.reverse_bits()))
}

pub(super) fn reverse(id: &KeyspaceId) -> Result<Value> {
    numeric::id_number(id).map(|number| Value::UInt(number.reverse_bits()))
}
