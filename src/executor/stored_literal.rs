//! What must stand in an INSERT so that it stores what INSERT … SELECT would have stored?
//!
//! A value of a query's column is converted to the type of the column that takes it. A literal is converted
//! by other rules where the two types are of different families (a date becomes a number, an ENUM its
//! position): such pairs are refused, and so are values that lose something on the way to the gate (FLOAT).

use crate::error::{Result, SqlError};
use crate::protocol::column::{Column, ColumnFlags, ColumnType};
use crate::sql::literal::write_hex;
use crate::value::Value;
use crate::vschema::ColumnType as Kind;

/// The character set number of bytes.
const BINARY: u16 = 63;

/// How the values of one column of a query are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    /// An exact number, as a number.
    Number,
    /// DOUBLE, as a number with an exponent.
    Double,
    /// BIT: its bits as a number.
    Bits,
    /// In quotes; what the routing sees is a number, a date, or characters.
    Quoted(Sort),
    /// Bytes.
    Bytes,
}

/// What a quoted value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Number,
    Moment,
    Characters,
}

/// What the type of a column that takes values is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Number,
    Characters,
    Bytes,
    Date,
    Time,
    DateTime,
    Year,
    Bits,
    Member,
    Json,
    Geometry,
    Unknown,
}

// === impl Writing ===

impl Writing {
    /// How values of this column are written for a column of this type. `fixed_zone`: the session's time zone
    /// has no hour twice, so that the text of a TIMESTAMP means one moment.
    ///
    /// # Errors
    /// VT12001 for pairs that a literal does not convert between as a value does.
    pub(super) fn of(column: &Column<'_>, to: Kind, fixed_zone: bool) -> Result<Self> {
        let to = family(to);
        let is_member = column.flags.0 & (ColumnFlags::ENUM.0 | ColumnFlags::SET.0) != 0;
        let writing = match column.kind {
            _ if to == Family::Unknown => None,
            ColumnType::NULL => Some(Self::Number),
            ColumnType::TINY
            | ColumnType::SHORT
            | ColumnType::LONG
            | ColumnType::INT24
            | ColumnType::LONGLONG
            | ColumnType::NEWDECIMAL => number(to),
            ColumnType::YEAR if matches!(to, Family::Number | Family::Year) => Some(Self::Number),
            // Digits that the definition cuts off are not in the text.
            ColumnType::DOUBLE if column.decimals >= 31 => match to {
                Family::Number => Some(Self::Double),
                _ => None,
            },
            ColumnType::BIT if matches!(to, Family::Bits | Family::Number) => Some(Self::Bits),
            ColumnType::DATE if matches!(to, Family::Date | Family::DateTime | Family::Characters) => {
                Some(Self::Quoted(Sort::Moment))
            }
            ColumnType::TIME if matches!(to, Family::Time | Family::Characters) => {
                Some(Self::Quoted(Sort::Moment))
            }
            ColumnType::DATETIME if matches!(to, Family::DateTime | Family::Characters) => {
                Some(Self::Quoted(Sort::Moment))
            }
            ColumnType::TIMESTAMP if fixed_zone && matches!(to, Family::DateTime | Family::Characters) => {
                Some(Self::Quoted(Sort::Moment))
            }
            ColumnType::JSON if to == Family::Json => Some(Self::Quoted(Sort::Characters)),
            ColumnType::GEOMETRY if to == Family::Geometry => Some(Self::Bytes),
            kind if is_characters(kind) && is_member => {
                matches!(to, Family::Member | Family::Characters).then_some(Self::Quoted(Sort::Characters))
            }
            kind if is_characters(kind) && column.charset == BINARY => {
                matches!(to, Family::Bytes | Family::Characters).then_some(Self::Bytes)
            }
            kind if is_characters(kind) => {
                let taken = !matches!(to, Family::Geometry | Family::Bits);
                taken.then_some(Self::Quoted(Sort::Characters))
            }
            _ => None,
        };
        writing.ok_or_else(|| {
            let name = String::from_utf8_lossy(column.name).into_owned();
            SqlError::unsupported(&format!(
                "INSERT … SELECT by the gate of '{name}', whose type it would not store exactly"
            ))
        })
    }

    /// Appends a value as a literal.
    pub(super) fn write(self, value: Option<&[u8]>, out: &mut Vec<u8>) {
        let Some(value) = value else {
            out.extend_from_slice(b"NULL");
            return;
        };
        match self {
            Self::Number => out.extend_from_slice(value),
            Self::Double => {
                out.extend_from_slice(value);
                if !value.iter().any(|byte| byte.eq_ignore_ascii_case(&b'e')) {
                    out.extend_from_slice(b"e0");
                }
            }
            Self::Bits => out.extend_from_slice(bits(value).to_string().as_bytes()),
            Self::Quoted(Sort::Characters) => string(b"_utf8mb4", value, out),
            Self::Quoted(_) => string(b"", value, out),
            Self::Bytes => string(b"_binary", value, out),
        }
    }

    /// The value that decides on the shard.
    pub(super) fn value(self, value: Option<&[u8]>) -> Value {
        let Some(value) = value else { return Value::Null };
        let copy = || bytes::Bytes::copy_from_slice(value);
        match self {
            Self::Number => {
                let text = std::str::from_utf8(value).unwrap_or_default();
                let signed = text.parse().ok().map(Value::Int);
                signed
                    .or_else(|| text.parse().ok().map(Value::UInt))
                    .unwrap_or_else(|| Value::Decimal(copy()))
            }
            Self::Double => {
                let text = std::str::from_utf8(value).unwrap_or_default();
                text.parse().map_or_else(|_| Value::Text(copy()), Value::Float)
            }
            Self::Bits => Value::UInt(bits(value)),
            Self::Quoted(Sort::Moment) => Value::Temporal(copy()),
            Self::Quoted(Sort::Characters | Sort::Number) => Value::Text(copy()),
            Self::Bytes => Value::Binary(copy()),
        }
    }
}

fn number(to: Family) -> Option<Writing> {
    match to {
        Family::Number | Family::Bits | Family::Year | Family::Member => Some(Writing::Number),
        // A number's own text, with the zeros of ZEROFILL.
        Family::Characters | Family::Bytes => Some(Writing::Quoted(Sort::Number)),
        _ => None,
    }
}

fn family(kind: Kind) -> Family {
    match kind {
        Kind::Timestamp | Kind::Datetime => Family::DateTime,
        Kind::Date => Family::Date,
        Kind::Time => Family::Time,
        Kind::Year => Family::Year,
        Kind::Enum | Kind::Set => Family::Member,
        Kind::Bit => Family::Bits,
        Kind::Json => Family::Json,
        Kind::Geometry => Family::Geometry,
        Kind::Float32 | Kind::Float64 | Kind::Decimal => Family::Number,
        kind if kind.is_integral() => Family::Number,
        kind if kind.is_text() => Family::Characters,
        kind if kind.is_binary() => Family::Bytes,
        _ => Family::Unknown,
    }
}

fn is_characters(kind: ColumnType) -> bool {
    matches!(
        kind,
        ColumnType::VARCHAR
            | ColumnType::VAR_STRING
            | ColumnType::STRING
            | ColumnType::TINY_BLOB
            | ColumnType::BLOB
            | ColumnType::MEDIUM_BLOB
            | ColumnType::LONG_BLOB
    )
}

fn bits(value: &[u8]) -> u64 {
    value.iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte))
}

/// A string that reads the same under every `sql_mode` and character set of the connection.
fn string(introducer: &[u8], value: &[u8], out: &mut Vec<u8>) {
    if value.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'\\' | b'\'')) {
        out.extend_from_slice(introducer);
        out.push(b'\'');
        out.extend_from_slice(value);
        out.push(b'\'');
        return;
    }
    write_hex(introducer, value, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(kind: ColumnType, charset: u16, flags: ColumnFlags) -> Column<'static> {
        Column { kind, charset, flags, decimals: 31, ..Column::text(b"c", 10) }
    }

    fn literal(writing: Writing, value: &[u8]) -> String {
        let mut out = Vec::new();
        writing.write(Some(value), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn literals_say_what_the_value_is() {
        let plain = ColumnFlags::default();
        let text = Writing::of(&column(ColumnType::VAR_STRING, 255, plain), Kind::Varchar, true).unwrap();
        assert_eq!(literal(text, b"abc"), "_utf8mb4'abc'");
        assert_eq!(literal(text, b"it's \\"), "_utf8mb4 x'69742773205c'");
        let number = Writing::of(&column(ColumnType::LONGLONG, 63, plain), Kind::Int64, true).unwrap();
        assert_eq!((literal(number, b"-5"), number.value(Some(b"-5"))), ("-5".into(), Value::Int(-5)));
        assert_eq!(number.value(Some(b"18446744073709551615")), Value::UInt(u64::MAX));
        let filled = Writing::of(&column(ColumnType::LONG, 63, plain), Kind::Varchar, true).unwrap();
        assert_eq!(literal(filled, b"0007"), "'0007'");
        let double = Writing::of(&column(ColumnType::DOUBLE, 63, plain), Kind::Decimal, true).unwrap();
        assert_eq!((literal(double, b"0.1"), literal(double, b"1e300")), ("0.1e0".into(), "1e300".into()));
        let bytes = Writing::of(&column(ColumnType::BLOB, 63, plain), Kind::Blob, true).unwrap();
        assert_eq!(literal(bytes, b"\x00"), "_binary x'00'");
        let bits = Writing::of(&column(ColumnType::BIT, 63, plain), Kind::Bit, true).unwrap();
        assert_eq!(literal(bits, b"\x01\x02"), "258");
        let mut null = Vec::new();
        text.write(None, &mut null);
        assert_eq!(null, b"NULL");
    }

    #[test]
    fn what_a_literal_converts_otherwise_is_refused() {
        let plain = ColumnFlags::default();
        for (kind, charset, flags, to) in [
            (ColumnType::FLOAT, 63, plain, Kind::Float32),
            (ColumnType::DATE, 63, plain, Kind::Int32),
            (ColumnType::TIME, 63, plain, Kind::Datetime),
            (ColumnType::DATETIME, 63, plain, Kind::Date),
            (ColumnType::TIMESTAMP, 63, plain, Kind::Timestamp),
            (ColumnType::STRING, 255, ColumnFlags::ENUM, Kind::Int32),
            (ColumnType::LONG, 63, plain, Kind::Date),
            (ColumnType::BLOB, 63, plain, Kind::Json),
        ] {
            let refused = Writing::of(&column(kind, charset, flags), to, false).unwrap_err();
            assert_eq!(refused.code(), 1235, "{to:?}");
        }
    }
}
