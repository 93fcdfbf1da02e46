//! As which value does a server store what an INSERT gives for a sharding column?
//!
//! The row belongs to the shard of the value that is stored, not of the one that is written: a CHAR
//! loses blanks at its end, `'05'` becomes 5. What a server would change by rules that depend on its
//! `sql_mode` (clamp, cut, round) is refused: no shard is right for such a row in every mode.

use bytes::Bytes;

use super::Domain;
use super::domain::{Equality, Text, trimmed};
use crate::value::Value;
use crate::vindex::Reading;

/// Why a value cannot be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStored {
    /// Below or above what the column's type holds.
    OutOfRange,
    /// Longer than the column.
    TooLong,
    /// The server would change it, or equal rows would be on other shards.
    Changed,
}

// === impl Domain ===

impl Domain {
    /// The value as it is stored.
    ///
    /// # Errors
    /// Where the server would change the value by other rules than the vindex could follow.
    pub fn stored(&self, value: Value) -> Result<Value, NotStored> {
        if value.is_null() {
            return Ok(value);
        }
        match self {
            // Of a type that is not known, the client's word counts; by the others no statement is
            // routed.
            Self::Unknown { .. } | Self::Other => Ok(value),
            Self::Number { low, high, .. } => number(&value, *low, *high),
            Self::Bytes { fixed, length } => {
                let bytes = match value {
                    Value::Text(bytes) | Value::Binary(bytes) => bytes,
                    Value::Int(_) | Value::UInt(_) => digits(&value),
                    _ => return Err(NotStored::Changed),
                };
                match (bytes.len() as u64).cmp(&u64::from(*length)) {
                    std::cmp::Ordering::Greater => Err(NotStored::TooLong),
                    // Filled up with zeros, which other statements would not write.
                    std::cmp::Ordering::Less if *fixed => Err(NotStored::Changed),
                    _ => Ok(Value::Binary(bytes)),
                }
            }
            Self::Text(text) => text.stored(value),
        }
    }
}

// === impl Text ===

impl Text {
    fn stored(&self, value: Value) -> Result<Value, NotStored> {
        let bytes = match value {
            Value::Text(bytes) | Value::Binary(bytes) => bytes,
            Value::Int(_) | Value::UInt(_) => digits(&value),
            // How the server writes these depends on more than the value.
            _ => return Err(NotStored::Changed),
        };
        let bytes = if self.fixed { trimmed(&bytes) } else { bytes };
        // Of another character set: what is stored is not known.
        let text = std::str::from_utf8(&bytes).map_err(|_| NotStored::Changed)?;
        if !self.repertoire.holds(text) {
            return Err(NotStored::Changed);
        }
        let length = text.len() as u64;
        let is_long = length > u64::from(self.length) && text.chars().count() as u64 > u64::from(self.length);
        if is_long || length > u64::from(self.octets) {
            return Err(NotStored::TooLong);
        }
        let by_bytes = self.reading == Reading::Bytes && self.equality == Equality::PaddedBytes;
        if by_bytes && bytes.last() == Some(&b' ') {
            return Err(NotStored::Changed);
        }
        Ok(Value::Text(bytes))
    }
}

fn digits(value: &Value) -> Bytes {
    value.with_text(Bytes::copy_from_slice)
}

fn number(value: &Value, low: i64, high: u64) -> Result<Value, NotStored> {
    let number = match value {
        Value::Int(number) => i128::from(*number),
        Value::UInt(number) => i128::from(*number),
        Value::Decimal(text) | Value::Text(text) => whole(text)?,
        // Below 2^53 a whole double is written as the integer that it is.
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 => {
            format!("{number:.0}").parse().map_err(|_| NotStored::Changed)?
        }
        // A binary string may be meant as a number or as digits.
        _ => return Err(NotStored::Changed),
    };
    if number < i128::from(low) || number > i128::from(high) {
        return Err(NotStored::OutOfRange);
    }
    match (i64::try_from(number), u64::try_from(number)) {
        (Ok(number), _) => Ok(Value::Int(number)),
        (_, Ok(number)) => Ok(Value::UInt(number)),
        _ => Err(NotStored::OutOfRange),
    }
}

/// The integer that a text is, blanks around it and a fraction of zeros left out.
fn whole(text: &[u8]) -> Result<i128, NotStored> {
    let text = std::str::from_utf8(text).map_err(|_| NotStored::Changed)?;
    let text = text.trim_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    let (digits, fraction) = text.split_once('.').unwrap_or((text, ""));
    let unsigned = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    let plain = !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || fraction.bytes().any(|byte| byte != b'0') {
        return Err(NotStored::Changed);
    }
    // More digits than any type has.
    digits.parse().map_err(|_| NotStored::OutOfRange)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vindex::Vindex;
    use crate::vschema::{Column, ColumnSource, ColumnType};

    fn domain(vindex: &str, kind: ColumnType, size: i32, collation: &str) -> Domain {
        let source = ColumnSource { kind, size, collation_name: collation.into(), ..ColumnSource::default() };
        let vindex = Vindex::new("v", vindex, &std::collections::BTreeMap::new()).unwrap();
        Domain::of(Some(&Column::from(&source)), &vindex, 0)
    }

    fn text(text: &str) -> Value {
        Value::Text(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// What MySQL 9.7 stores in a strict session, or refuses; NotStored where other modes store
    /// something else.
    #[test]
    fn integers_are_stored_as_integers() {
        let tiny = domain("xxhash", ColumnType::Int8, 0, "");
        let decimal = |text: &'static str| Value::Decimal(Bytes::from_static(text.as_bytes()));
        for (value, stored) in [
            (Value::Int(127), Ok(Value::Int(127))),
            (text("05"), Ok(Value::Int(5))),
            (text(" -5\t"), Ok(Value::Int(-5))),
            (text("+5.00"), Ok(Value::Int(5))),
            (decimal("5.0"), Ok(Value::Int(5))),
            (Value::Float(5.0), Ok(Value::Int(5))),
            (Value::Int(128), Err(NotStored::OutOfRange)),
            (text("-129"), Err(NotStored::OutOfRange)),
            (text("99999999999999999999999999999999999999999"), Err(NotStored::OutOfRange)),
            (text("5.5"), Err(NotStored::Changed)),
            (decimal("5.5"), Err(NotStored::Changed)),
            (Value::Float(5.5), Err(NotStored::Changed)),
            (text("5x"), Err(NotStored::Changed)),
            (text(""), Err(NotStored::Changed)),
            (Value::Binary(Bytes::from_static(b"5")), Err(NotStored::Changed)),
            (Value::Null, Ok(Value::Null)),
        ] {
            assert_eq!(tiny.stored(value.clone()), stored, "{value:?}");
        }
        let big = domain("hash", ColumnType::Uint64, 0, "");
        assert_eq!(big.stored(Value::UInt(u64::MAX)), Ok(Value::UInt(u64::MAX)));
        assert_eq!(big.stored(Value::Int(-1)), Err(NotStored::OutOfRange));
        assert_eq!(big.stored(decimal("18446744073709551616")), Err(NotStored::OutOfRange));
        let price = domain("hash", ColumnType::Decimal, 3, "");
        assert_eq!(price.stored(Value::Int(999)), Ok(Value::Int(999)));
        assert_eq!(price.stored(Value::Int(1000)), Err(NotStored::OutOfRange));
    }

    #[test]
    fn strings_are_stored_without_what_their_column_drops() {
        let stored = |collation, kind, value: &str| {
            domain("xxhash", kind, 4, collation)
                .stored(text(value))
                .map(|value| value.with_text(<[u8]>::to_vec))
        };
        let kept = |value: &str| Ok(value.as_bytes().to_vec());
        for (collation, kind, value, expected) in [
            ("utf8mb4_bin", ColumnType::Char, "a  ", kept("a")),
            ("utf8mb4_bin", ColumnType::Varchar, "a  ", Err(NotStored::Changed)),
            ("utf8mb4_0900_bin", ColumnType::Varchar, "a  ", kept("a  ")),
            ("utf8mb4_general_ci", ColumnType::Varchar, "a  ", kept("a  ")),
            ("utf8mb4_bin", ColumnType::Varchar, "äöüß", kept("äöüß")),
            ("utf8mb4_bin", ColumnType::Varchar, "abcde", Err(NotStored::TooLong)),
            ("utf8mb3_bin", ColumnType::Varchar, "😀", Err(NotStored::Changed)),
            ("latin1_bin", ColumnType::Varchar, "é", kept("é")),
            ("latin1_bin", ColumnType::Varchar, "€", Err(NotStored::Changed)),
            ("ascii_bin", ColumnType::Varchar, "é", Err(NotStored::Changed)),
            ("", ColumnType::Binary, "abcd", kept("abcd")),
            ("", ColumnType::Binary, "abc", Err(NotStored::Changed)),
            ("", ColumnType::Varbinary, "abc ", kept("abc ")),
            ("", ColumnType::Varbinary, "abcde", Err(NotStored::TooLong)),
        ] {
            assert_eq!(stored(collation, kind, value), expected, "{collation} {kind:?} {value:?}");
        }
        let bin = domain("xxhash", ColumnType::Varchar, 20, "utf8mb4_bin");
        assert_eq!(bin.stored(Value::Int(-5)), Ok(text("-5")));
        assert_eq!(bin.stored(Value::Float(1.5)), Err(NotStored::Changed));
        // Latin-1 bytes of a client that speaks it.
        assert_eq!(bin.stored(Value::Text(Bytes::from_static(b"\xe9"))), Err(NotStored::Changed));
    }
}
