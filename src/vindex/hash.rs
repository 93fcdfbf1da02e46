//! `hash`: how does Vitess's usual primary vindex spread numbers?
//!
//! Single DES with a key of eight zero bytes, one block, no mode and no padding; the number goes in
//! as eight big-endian bytes and the cipher text is the keyspace id. A negative integer counts as
//! its two's complement, so −1 and 18446744073709551615 share an id.

use des::Des;
use des::cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};

use super::{Result, numeric};
use crate::key::KeyspaceId;
use crate::value::Value;

/// The id of a number.
///
/// Vitess verifies a negative number by the unsigned rules and so fails where its map succeeds; here
/// both read it alike.
pub(super) fn keyspace_id(value: &Value) -> Result<KeyspaceId> {
    match value {
        Value::Int(number) => Ok(of_number(number.cast_unsigned())),
        _ => numeric::number(value).map(of_number),
    }
}

/// The id of an unsigned number.
pub(super) fn of_number(number: u64) -> KeyspaceId {
    let mut block = Block::<Des>::from(number.to_be_bytes());
    cipher().encrypt_block(&mut block);
    KeyspaceId::new(&block)
}

/// The number of an id, always unsigned: −1 comes back as 18446744073709551615.
pub(super) fn reverse(id: &KeyspaceId) -> Result<Value> {
    let mut block = Block::<Des>::from(numeric::id_number(id)?.to_be_bytes());
    cipher().decrypt_block(&mut block);
    Ok(Value::UInt(u64::from_be_bytes(block.into())))
}

fn cipher() -> Des {
    Des::new(&[0; 8].into())
}
