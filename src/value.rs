//! What does a SQL literal, a bound parameter or a column hold, and with which type?

use std::borrow::Cow;

use bytes::Bytes;

/// One SQL value with the type that MySQL gives it. The bytes are those of the client or the
/// server: nothing here re-encodes text.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A signed integer of at most 64 bits.
    Int(i64),
    /// An unsigned integer of at most 64 bits.
    UInt(u64),
    /// An exact number in text form: `1.50`, or an integer beyond 64 bits.
    Decimal(Bytes),
    /// A FLOAT or DOUBLE.
    Float(f64),
    /// A character string, in the character set that it came in.
    Text(Bytes),
    /// A binary string: hex and bit literals (decoded), blobs.
    Binary(Bytes),
    /// A date, time or timestamp in MySQL's text form.
    Temporal(Bytes),
}

impl Value {
    /// The value's MySQL text form (`1`, `-5`, `abc`, `2026-01-02 03:04:05`); NULL gives nothing.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Null => None,
            Self::Int(number) => Some(Cow::Owned(number.to_string().into_bytes())),
            Self::UInt(number) => Some(Cow::Owned(number.to_string().into_bytes())),
            Self::Float(number) => Some(Cow::Owned(number.to_string().into_bytes())),
            Self::Decimal(bytes) | Self::Text(bytes) | Self::Binary(bytes) | Self::Temporal(bytes) => {
                Some(Cow::Borrowed(bytes))
            }
        }
    }

    /// Whether this is SQL NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}
