//! Which integer does MySQL look for when a column of integers is compared with a value?
//!
//! A vindex over numbers maps integers. MySQL compares across types: the text `5abc` and the float
//! `5.0` equal the integer 5, the text `abc` equals 0. Rows are found on the shard of that integer,
//! and the shard compares with the client's own value. The rules are those of MySQL's conversion of
//! strings to numbers (Reference Manual, "Type Conversion in Expression Evaluation").

use crate::value::Value;

/// Integers of a larger magnitude are not told apart by a double.
const EXACT_DOUBLE: f64 = 9_007_199_254_740_992.0;

/// No 64-bit integer, signed or not, equals a double of this magnitude.
const BEYOND_INTEGERS: f64 = 2e19;

/// Where rows are that equal a value: by what they were placed.
#[derive(Debug, Clone, PartialEq)]
pub enum Compared {
    /// All of them by this value.
    Only(Value),
    /// No row can be equal.
    Nothing,
    /// Rows may be equal that were placed by several values.
    Uncertain,
}

// === impl Compared ===

impl Compared {
    /// What the value means to a column of integers.
    #[must_use]
    pub fn of(value: Value) -> Self {
        match &value {
            Value::Null | Value::Int(_) | Value::UInt(_) => Self::Only(value),
            Value::Float(number) => Self::of_double(*number),
            Value::Decimal(text) => match exact(text) {
                Some((integer, rest)) if is_zero_fraction(rest) => Self::Only(integer),
                _ => Self::Nothing,
            },
            Value::Text(text) | Value::Binary(text) => Self::of_text(text),
            // A date compares by rules of its own.
            Value::Temporal(_) => Self::Uncertain,
        }
    }

    fn of_text(text: &[u8]) -> Self {
        let start = text.iter().position(|byte| !matches!(byte, b' ' | b'\t'..=b'\r')).unwrap_or(text.len());
        let number = &text[start..start + number_length(&text[start..])];
        if let Some((integer, rest)) = exact(number)
            && is_zero_fraction(rest)
        {
            return Self::Only(integer);
        }
        // MySQL reads a text without a number as 0.
        let double = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0);
        Self::of_double(double)
    }

    fn of_double(number: f64) -> Self {
        if number.abs() >= BEYOND_INTEGERS {
            return Self::Nothing;
        }
        if number.abs() >= EXACT_DOUBLE || number.is_nan() {
            return Self::Uncertain;
        }
        if number.fract() != 0.0 {
            return Self::Nothing;
        }
        // Below 2^53 every whole double is written as the integer it is.
        format!("{number:.0}").parse().map_or(Self::Uncertain, |integer| Self::Only(Value::Int(integer)))
    }
}

/// The whole number at the start of a text, and what follows it.
fn exact(text: &[u8]) -> Option<(Value, &[u8])> {
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let digits = text[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (whole, rest) = text.split_at(sign + digits);
    let whole = std::str::from_utf8(whole).ok()?;
    let integer = whole.parse().map(Value::Int).or_else(|_| whole.parse().map(Value::UInt)).ok()?;
    Some((integer, rest))
}

/// Whether what follows the whole number adds nothing to it.
fn is_zero_fraction(rest: &[u8]) -> bool {
    match rest.split_first() {
        None => true,
        Some((b'.', digits)) => digits.iter().all(|byte| *byte == b'0'),
        Some(_) => false,
    }
}

/// How many bytes at the start are a number as MySQL reads it: sign, digits, fraction, exponent.
fn number_length(text: &[u8]) -> usize {
    let digits = |from: usize| {
        text.get(from..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let whole = digits(sign);
    let mut end = sign + whole;
    let mut any = whole > 0;
    if text.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        any |= fraction > 0;
        end += 1 + fraction;
    }
    if !any {
        return 0;
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'-' | b'+')));
        let exponent = digits(end + 1 + sign);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    /// What MySQL 9.7 answers to `SELECT id FROM t WHERE id = '…'` with a BIGINT column.
    #[test]
    fn a_text_means_the_integer_that_mysql_reads_in_it() {
        let only = |integer: i64| Compared::Only(Value::Int(integer));
        for (text, compared) in [
            ("5", only(5)),
            ("5abc", only(5)),
            (" \n\t5", only(5)),
            ("5\n", only(5)),
            ("+5", only(5)),
            ("-5", only(-5)),
            ("-0", only(0)),
            ("05.00x", only(5)),
            ("5.", only(5)),
            ("50e-1", only(5)),
            (".5e1", only(5)),
            ("5e+", only(5)),
            ("0x5", only(0)),
            ("5,7", only(5)),
            ("", only(0)),
            ("abc", only(0)),
            (".", only(0)),
            ("--5", only(0)),
            ("nan", only(0)),
            ("Infinity", only(0)),
            ("5.0000000000000000000001", only(5)),
            ("4.9999999999999999999999", only(5)),
            ("4.5", Compared::Nothing),
            ("1e400", Compared::Nothing),
            ("9007199254740993x", only(9_007_199_254_740_993)),
            ("9007199254740993.0", only(9_007_199_254_740_993)),
            ("18446744073709551615", Compared::Only(Value::UInt(u64::MAX))),
            ("-9223372036854775808", only(i64::MIN)),
            ("9007199254740992.5", Compared::Uncertain),
            ("9223372036854775807.4", Compared::Uncertain),
            ("1e18", Compared::Uncertain),
        ] {
            let value = Value::Text(Bytes::copy_from_slice(text.as_bytes()));
            assert_eq!(Compared::of(value), compared, "{text:?}");
        }
    }

    #[test]
    fn numbers_of_other_types_mean_the_equal_integer() {
        let decimal = |text: &'static str| Compared::of(Value::Decimal(Bytes::from_static(text.as_bytes())));
        assert_eq!(decimal("-5.00"), Compared::Only(Value::Int(-5)));
        assert_eq!(decimal("5.0000000000000000000001"), Compared::Nothing);
        assert_eq!(decimal("99999999999999999999"), Compared::Nothing);
        assert_eq!(Compared::of(Value::Float(-5.0)), Compared::Only(Value::Int(-5)));
        assert_eq!(Compared::of(Value::Float(-0.0)), Compared::Only(Value::Int(0)));
        assert_eq!(Compared::of(Value::Float(5.5)), Compared::Nothing);
        assert_eq!(Compared::of(Value::Float(1e17)), Compared::Uncertain);
        assert_eq!(Compared::of(Value::Float(f64::NAN)), Compared::Uncertain);
    }

    proptest::proptest! {
        #[test]
        fn any_text_means_something(text: Vec<u8>) {
            let _ = Compared::of(Value::Text(text.into()));
        }

        #[test]
        fn an_integer_means_itself(integer: i64, tail in "|[.]0*|[a-df-z][0-9a-z]*") {
            let value = Value::Text(format!("{integer}{tail}").into_bytes().into());
            proptest::prop_assert_eq!(Compared::of(value), Compared::Only(Value::Int(integer)));
        }
    }
}
