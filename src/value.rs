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

    /// Whether [`Self::text`] is sure to be what MySQL writes. A float that MySQL may write with an
    /// exponent (`1e15`, `1e-16`; seen on MySQL 9.7) is not.
    #[must_use]
    pub fn has_exact_text(&self) -> bool {
        match self {
            Self::Float(number) => *number == 0.0 || (1e-5..1e15).contains(&number.abs()),
            _ => true,
        }
    }

    /// The value as an unsigned 64-bit integer, by the rules of Vitess's `ToCastUint64`: decimal
    /// digits, with blanks and tabs around them, and nothing else. An exact number may also have a
    /// fraction of zeros: `1.0` compares equal to 1 and is stored as 1 in an integer column.
    ///
    /// # Errors
    /// NULL; a sign, fraction or exponent; anything that is not a number; more than 64 bits.
    pub fn to_u64(&self) -> Result<u64, NotUnsigned> {
        match self {
            Self::UInt(number) => Ok(*number),
            Self::Int(number) => u64::try_from(*number).map_err(|_| NotUnsigned::new(self)),
            Self::Null => Err(NotUnsigned::new(self)),
            Self::Decimal(text) => parse_u64(integral(text)).ok_or_else(|| NotUnsigned::new(self)),
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

/// The digits in front of a fraction of zeros; otherwise the text as it is.
fn integral(text: &[u8]) -> &[u8] {
    match text.iter().position(|byte| *byte == b'.') {
        Some(point) if point > 0 && text[point + 1..].iter().all(|byte| *byte == b'0') => &text[..point],
        _ => text,
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
            (Value::Decimal(Bytes::from_static(b"12.00")), 12),
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
            (Value::Decimal(Bytes::from_static(b"1.50")), "cannot parse uint64 from \"1.50\""),
            (Value::Decimal(Bytes::from_static(b".0")), "cannot parse uint64 from \".0\""),
            (Value::Float(1.1), "cannot parse uint64 from \"1.1\""),
            (Value::Null, "cannot parse uint64 from NULL"),
        ] {
            assert_eq!(value.to_u64().unwrap_err().to_string(), error);
        }
    }

    /// What MySQL 9.7 answers to `SELECT CONCAT(…)`.
    #[test]
    fn floats_with_an_exact_text_are_written_as_mysql_writes_them() {
        for (number, written) in [
            (1e0, "1"),
            (1e14, "100000000000000"),
            (1.5e-5, "0.000015"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (123_456_789.125, "123456789.125"),
            (123_456_789_012_345.67, "123456789012345.67"),
            (-0.0, "-0"),
        ] {
            assert!(Value::Float(number).has_exact_text());
            assert_eq!(Value::Float(number).text().as_deref(), Some(written.as_bytes()));
        }
        for number in [1e15, -1e17, 1e-16, 1.234_567_890_123_45e-7, f64::INFINITY, f64::NAN] {
            assert!(!Value::Float(number).has_exact_text(), "{number}");
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
