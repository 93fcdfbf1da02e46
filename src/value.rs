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

/// A value that is not a plain unsigned 64-bit integer. The text is Vitess's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot parse uint64 from {0}")]
pub struct NotUnsigned(Box<str>);

/// Digits and sign of the longest 64-bit integer.
const INTEGER_WIDTH: usize = 20;

// === impl Value ===

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

    /// Calls `read` with the value's MySQL text form, without allocating for integers; NULL reads as
    /// the empty string.
    pub fn with_text<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        let mut digits = [0; INTEGER_WIDTH];
        match self {
            Self::Int(number) => read(decimal(&mut digits, number.unsigned_abs(), *number < 0)),
            Self::UInt(number) => read(decimal(&mut digits, *number, false)),
            _ => read(&self.text().unwrap_or_default()),
        }
    }

    /// The value as an unsigned 64-bit integer, by the rules of Vitess's `ToCastUint64`: decimal
    /// digits, with blanks and tabs around them, and nothing else.
    ///
    /// # Errors
    /// NULL; a sign, fraction or exponent; anything that is not a number; more than 64 bits.
    pub fn to_u64(&self) -> Result<u64, NotUnsigned> {
        match self {
            Self::UInt(number) => Ok(*number),
            Self::Int(number) => u64::try_from(*number).map_err(|_| NotUnsigned::new(self)),
            Self::Null => Err(NotUnsigned::new(self)),
            _ => self.with_text(parse_u64).ok_or_else(|| NotUnsigned::new(self)),
        }
    }

    /// Whether this is SQL NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

// === impl NotUnsigned ===

impl NotUnsigned {
    fn new(value: &Value) -> Self {
        match value.text() {
            None => Self("NULL".into()),
            Some(text) => Self(format!("\"{}\"", text.escape_ascii()).into()),
        }
    }
}

fn parse_u64(text: &[u8]) -> Option<u64> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !blank(byte))?;
    let end = text.iter().rposition(|byte| !blank(byte))? + 1;
    text[start..end].iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// The decimal digits of a number, written from the end of the buffer.
fn decimal(buffer: &mut [u8; INTEGER_WIDTH], mut number: u64, negative: bool) -> &[u8] {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b"0123456789"[(number % 10) as usize];
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if negative {
        at -= 1;
        buffer[at] = b'-';
    }
    &buffer[at..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn only_plain_digits_are_numbers() {
        // facts: Vitess `go/sqltypes/value.go` and its vindex tests.
        for (value, number) in [
            (Value::Int(7), 7),
            (text(" 12\t"), 12),
            (text("007"), 7),
            (Value::Decimal(Bytes::from_static(b"18446744073709551615")), u64::MAX),
        ] {
            assert_eq!(value.to_u64(), Ok(number));
        }
        for (value, error) in [
            (text("aa"), "cannot parse uint64 from \"aa\""),
            (text(""), "cannot parse uint64 from \"\""),
            (text("+1"), "cannot parse uint64 from \"+1\""),
            (text("1 2"), "cannot parse uint64 from \"1 2\""),
            (text("1.0"), "cannot parse uint64 from \"1.0\""),
            (text("18446744073709551616"), "cannot parse uint64 from \"18446744073709551616\""),
            (Value::Int(-1), "cannot parse uint64 from \"-1\""),
            (Value::Float(1.1), "cannot parse uint64 from \"1.1\""),
            (Value::Null, "cannot parse uint64 from NULL"),
        ] {
            assert_eq!(value.to_u64().unwrap_err().to_string(), error);
        }
    }

    proptest! {
        #[test]
        fn integers_are_written_as_rust_writes_them(signed: i64, unsigned: u64) {
            prop_assert_eq!(Value::Int(signed).with_text(<[u8]>::to_vec), signed.to_string().into_bytes());
            prop_assert_eq!(Value::UInt(unsigned).with_text(<[u8]>::to_vec), unsigned.to_string().into_bytes());
        }

        #[test]
        fn a_number_reads_back(number: u64) {
            prop_assert_eq!(text(&format!("\t {number} ")).to_u64(), Ok(number));
        }
    }
}
