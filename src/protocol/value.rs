//! How does a value on the wire become a [`Value`], and back?
//!
//! Layouts: `page_protocol_binary_resultset.html` (binary protocol values). A text value is what the
//! server prints. Temporal values become MySQL's text form; the year, month or day may be zero.

use std::fmt::Write as _;

use bytes::{BufMut, Bytes, BytesMut};

use super::ProtocolError;
use super::column::ColumnType;
use super::wire::{Input, put_lenenc_bytes};
use crate::value::Value;

/// What must be known about a column or parameter to read its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueType {
    /// The type.
    pub kind: ColumnType,
    /// The integer has no sign.
    pub unsigned: bool,
    /// The string is binary.
    pub binary: bool,
    /// Fractional digits of a temporal value; 31 for "as many as there are".
    pub decimals: u8,
}

/// How values of a type lie in the binary protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// So many bytes, little-endian.
    Fixed(usize),
    /// One length byte, then a date or a date and time.
    DateTime,
    /// One length byte, then a time.
    Time,
    /// A length-encoded string.
    Text,
    /// Nothing: NULL.
    Nothing,
}

fn layout(kind: ColumnType) -> Result<Layout, ProtocolError> {
    Ok(match kind {
        ColumnType::TINY => Layout::Fixed(1),
        ColumnType::SHORT | ColumnType::YEAR => Layout::Fixed(2),
        ColumnType::LONG | ColumnType::INT24 | ColumnType::FLOAT => Layout::Fixed(4),
        ColumnType::LONGLONG | ColumnType::DOUBLE => Layout::Fixed(8),
        ColumnType::DATE | ColumnType::NEWDATE | ColumnType::DATETIME | ColumnType::TIMESTAMP => {
            Layout::DateTime
        }
        ColumnType::TIME => Layout::Time,
        ColumnType::NULL => Layout::Nothing,
        ColumnType::DECIMAL
        | ColumnType::NEWDECIMAL
        | ColumnType::VARCHAR
        | ColumnType::BIT
        | ColumnType::VECTOR
        | ColumnType::JSON
        | ColumnType::ENUM
        | ColumnType::SET
        | ColumnType::TINY_BLOB
        | ColumnType::MEDIUM_BLOB
        | ColumnType::LONG_BLOB
        | ColumnType::BLOB
        | ColumnType::VAR_STRING
        | ColumnType::STRING
        | ColumnType::GEOMETRY => Layout::Text,
        // The length of an unknown type is unknown: it cannot be stepped over.
        _ => return Err(ProtocolError::Malformed("column type")),
    })
}

/// Whether values of a type are length-encoded strings in the binary protocol.
#[must_use]
pub fn is_length_encoded(kind: ColumnType) -> bool {
    layout(kind) == Ok(Layout::Text)
}

/// Takes one value of the binary protocol, which is not NULL; its length prefix is left out.
pub fn take_binary<'a>(input: &mut Input<'a>, kind: ColumnType) -> Result<&'a [u8], ProtocolError> {
    match layout(kind)? {
        Layout::Fixed(count) => input.take(count),
        Layout::DateTime => {
            let length = input.u8()?;
            match length {
                0 | 4 | 7 | 11 => input.take(length.into()),
                _ => Err(input.malformed()),
            }
        }
        Layout::Time => {
            let length = input.u8()?;
            match length {
                0 | 8 | 12 => input.take(length.into()),
                _ => Err(input.malformed()),
            }
        }
        Layout::Text => input.lenenc_bytes(),
        Layout::Nothing => Ok(&[]),
    }
}

/// Reads what [`take_binary`] took.
pub fn from_binary(kind: ValueType, bytes: &[u8]) -> Result<Value, ProtocolError> {
    let mut input = Input::new(bytes, "binary value");
    Ok(match kind.kind {
        ColumnType::TINY if kind.unsigned => Value::UInt(input.u8()?.into()),
        ColumnType::TINY => Value::Int(i8::from_le_bytes(input.array()?).into()),
        // A year has no sign, whatever its flags say.
        ColumnType::YEAR => Value::UInt(input.u16()?.into()),
        ColumnType::SHORT if kind.unsigned => Value::UInt(input.u16()?.into()),
        ColumnType::SHORT => Value::Int(i16::from_le_bytes(input.array()?).into()),
        ColumnType::LONG | ColumnType::INT24 if kind.unsigned => Value::UInt(input.u32()?.into()),
        ColumnType::LONG | ColumnType::INT24 => Value::Int(i32::from_le_bytes(input.array()?).into()),
        ColumnType::LONGLONG if kind.unsigned => Value::UInt(input.u64()?),
        ColumnType::LONGLONG => Value::Int(i64::from_le_bytes(input.array()?)),
        ColumnType::FLOAT => Value::Float(f32::from_le_bytes(input.array()?).into()),
        ColumnType::DOUBLE => Value::Float(f64::from_le_bytes(input.array()?)),
        ColumnType::DATE | ColumnType::NEWDATE | ColumnType::DATETIME | ColumnType::TIMESTAMP => {
            Value::Temporal(date_text(&mut input, kind)?)
        }
        ColumnType::TIME => Value::Temporal(time_text(&mut input, kind.decimals)?),
        _ => return text_like(kind, bytes),
    })
}

/// Reads a column of a text row.
pub fn from_text(kind: ValueType, bytes: &[u8]) -> Result<Value, ProtocolError> {
    const WHAT: ProtocolError = ProtocolError::Malformed("text value");
    let parse = || std::str::from_utf8(bytes).map_err(|_| WHAT);
    Ok(match kind.kind {
        ColumnType::TINY
        | ColumnType::SHORT
        | ColumnType::LONG
        | ColumnType::INT24
        | ColumnType::LONGLONG
        | ColumnType::YEAR => {
            if kind.unsigned || kind.kind == ColumnType::YEAR {
                Value::UInt(parse()?.parse().map_err(|_| WHAT)?)
            } else {
                Value::Int(parse()?.parse().map_err(|_| WHAT)?)
            }
        }
        ColumnType::FLOAT | ColumnType::DOUBLE => Value::Float(parse()?.parse().map_err(|_| WHAT)?),
        ColumnType::DATE
        | ColumnType::NEWDATE
        | ColumnType::DATETIME
        | ColumnType::TIMESTAMP
        | ColumnType::TIME => Value::Temporal(Bytes::copy_from_slice(bytes)),
        _ => return text_like(kind, bytes),
    })
}

fn text_like(kind: ValueType, bytes: &[u8]) -> Result<Value, ProtocolError> {
    layout(kind.kind)?;
    let bytes_of = Bytes::copy_from_slice;
    Ok(match kind.kind {
        ColumnType::NULL => Value::Null,
        ColumnType::DECIMAL | ColumnType::NEWDECIMAL => Value::Decimal(bytes_of(bytes)),
        ColumnType::BIT | ColumnType::GEOMETRY | ColumnType::VECTOR => Value::Binary(bytes_of(bytes)),
        // A JSON column announces the binary charset, but holds text.
        ColumnType::JSON => Value::Text(bytes_of(bytes)),
        _ if kind.binary => Value::Binary(bytes_of(bytes)),
        _ => Value::Text(bytes_of(bytes)),
    })
}

/// Appends one value in the binary protocol's form of `kind`. NULL has no form: it is a bit.
///
/// # Errors
/// Where the value is not one of the type: that would be our own mistake, or a number out of range.
pub fn put_binary(out: &mut BytesMut, column: ValueType, value: &Value) -> Result<(), ProtocolError> {
    const WHAT: ProtocolError = ProtocolError::Malformed("value for its type");
    let kind = column.kind;
    match layout(kind)? {
        Layout::Fixed(_) if kind == ColumnType::DOUBLE => out.put_f64_le(float(value).ok_or(WHAT)?),
        Layout::Fixed(_) if kind == ColumnType::FLOAT => {
            #[expect(clippy::cast_possible_truncation, reason = "a FLOAT column holds what fits a FLOAT")]
            out.put_f32_le(float(value).ok_or(WHAT)? as f32);
        }
        Layout::Fixed(count) => {
            let bytes = match value {
                Value::Int(number) => number.to_le_bytes(),
                Value::UInt(number) => number.to_le_bytes(),
                _ => return Err(WHAT),
            };
            // What is cut off must be the sign only, and the sign must read back as it was.
            let (kept, lost) = bytes.split_at(count);
            let negative = matches!(value, Value::Int(number) if *number < 0);
            let reads_negative = !column.unsigned && kept[count - 1] & 0x80 != 0;
            let sign = if negative { 0xff } else { 0 };
            if lost.iter().any(|&byte| byte != sign) || negative != reads_negative {
                return Err(WHAT);
            }
            out.put_slice(kept);
        }
        Layout::DateTime | Layout::Time => {
            let text = value.text().ok_or(WHAT)?;
            let temporal = Temporal::parse(&text).ok_or(WHAT)?;
            match (temporal, layout(kind)?) {
                (Temporal::Time { .. }, Layout::DateTime) | (Temporal::Date { .. }, Layout::Time) => {
                    return Err(WHAT);
                }
                _ => temporal.put(out),
            }
        }
        Layout::Text => put_lenenc_bytes(out, &value.text().ok_or(WHAT)?),
        Layout::Nothing => return Err(WHAT),
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "MySQL converts integers to DOUBLE the same way")]
fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        Value::Int(number) => Some(*number as f64),
        Value::UInt(number) => Some(*number as f64),
        Value::Decimal(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

/// A temporal value in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temporal {
    /// A date, perhaps with a time.
    Date {
        /// Year, month, day; each may be zero.
        date: (u16, u8, u8),
        /// Hour, minute, second, microsecond.
        time: Option<(u8, u8, u8, u32)>,
    },
    /// A duration.
    Time {
        /// Before zero.
        negative: bool,
        /// Hours; up to 838 in MySQL.
        hours: u32,
        /// Minute, second, microsecond.
        rest: (u8, u8, u32),
    },
}

// === impl Temporal ===

impl Temporal {
    /// Reads `2026-01-02`, `2026-01-02 03:04:05.678`, `-12:30:00` and the like.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (head, fraction) = text.split_once('.').unwrap_or((text, ""));
        let micros = if fraction.is_empty() {
            0
        } else {
            if fraction.len() > 6 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            fraction.parse::<u32>().ok()? * 10_u32.pow(6 - u32::try_from(fraction.len()).ok()?)
        };
        let (negative, unsigned) = match head.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, head),
        };
        if unsigned.contains('-') {
            let (date, time) =
                unsigned.split_once([' ', 'T']).map_or((unsigned, None), |(d, t)| (d, Some(t)));
            let mut parts = date.split('-');
            let date = (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
            let time = match time {
                Some(time) => {
                    let (hours, minute, second) = clock(time)?;
                    Some((u8::try_from(hours).ok()?, minute, second, micros))
                }
                None if fraction.is_empty() => None,
                None => return None,
            };
            return (parts.next().is_none() && !negative).then_some(Self::Date { date, time });
        }
        let (hours, minute, second) = clock(unsigned)?;
        Some(Self::Time { negative, hours, rest: (minute, second, micros) })
    }

    /// The type that the binary protocol has for it.
    #[must_use]
    pub fn kind(&self) -> ColumnType {
        match self {
            Self::Date { time: None, .. } => ColumnType::DATE,
            Self::Date { .. } => ColumnType::DATETIME,
            Self::Time { .. } => ColumnType::TIME,
        }
    }

    /// Appends its length byte and parts; the length leaves out what is zero at the end.
    fn put(self, out: &mut BytesMut) {
        match self {
            Self::Date { date: (year, month, day), time } => {
                let (hour, minute, second, micros) = time.unwrap_or_default();
                let length = match (micros, (hour, minute, second), (year, month, day)) {
                    (0, (0, 0, 0), (0, 0, 0)) => 0,
                    (0, (0, 0, 0), _) => 4,
                    (0, ..) => 7,
                    _ => 11,
                };
                out.put_u8(length);
                if length >= 4 {
                    out.put_u16_le(year);
                    out.put_slice(&[month, day]);
                }
                if length >= 7 {
                    out.put_slice(&[hour, minute, second]);
                }
                if length >= 11 {
                    out.put_u32_le(micros);
                }
            }
            Self::Time { negative, hours, rest: (minute, second, micros) } => {
                let length = match (micros, hours, minute, second) {
                    (0, 0, 0, 0) => 0,
                    (0, ..) => 8,
                    _ => 12,
                };
                out.put_u8(length);
                if length >= 8 {
                    out.put_u8(negative.into());
                    out.put_u32_le(hours / 24);
                    let hour = u8::try_from(hours % 24).unwrap_or_default();
                    out.put_slice(&[hour, minute, second]);
                }
                if length >= 12 {
                    out.put_u32_le(micros);
                }
            }
        }
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// `hours:minutes:seconds`.
fn clock(text: &str) -> Option<(u32, u8, u8)> {
    let mut parts = text.split(':');
    let clock = (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
    (parts.next().is_none() && clock.1 < 60 && clock.2 < 60).then_some(clock)
}

fn date_text(input: &mut Input<'_>, kind: ValueType) -> Result<Bytes, ProtocolError> {
    let with_time = matches!(kind.kind, ColumnType::DATETIME | ColumnType::TIMESTAMP);
    let (mut year, mut month, mut day) = (0, 0, 0);
    let (mut hour, mut minute, mut second, mut micros) = (0, 0, 0, 0);
    if !input.is_empty() {
        (year, month, day) = (input.u16()?, input.u8()?, input.u8()?);
    }
    if !input.is_empty() {
        (hour, minute, second) = (input.u8()?, input.u8()?, input.u8()?);
    }
    if !input.is_empty() {
        micros = input.u32()?;
    }
    let mut text = format!("{year:04}-{month:02}-{day:02}");
    if with_time {
        // Writing to a String cannot fail.
        let _ = write!(text, " {hour:02}:{minute:02}:{second:02}");
        put_fraction(&mut text, micros, kind.decimals);
    }
    Ok(Bytes::from(text))
}

fn time_text(input: &mut Input<'_>, decimals: u8) -> Result<Bytes, ProtocolError> {
    let (mut negative, mut days, mut hour, mut minute, mut second, mut micros) = (0, 0, 0, 0, 0, 0);
    if !input.is_empty() {
        (negative, days) = (input.u8()?, input.u32()?);
        (hour, minute, second) = (input.u8()?, input.u8()?, input.u8()?);
    }
    if !input.is_empty() {
        micros = input.u32()?;
    }
    let hours = u64::from(days) * 24 + u64::from(hour);
    let sign = if negative == 0 { "" } else { "-" };
    let mut text = format!("{sign}{hours:02}:{minute:02}:{second:02}");
    put_fraction(&mut text, micros, decimals);
    Ok(Bytes::from(text))
}

/// Fractional seconds with the column's digits; where the column does not tell (31, or a value with
/// more digits than announced) all six.
fn put_fraction(text: &mut String, micros: u32, decimals: u8) {
    let digits = usize::from(decimals);
    // Writing to a String cannot fail.
    if (1..=6).contains(&digits) {
        let six = format!("{micros:06}");
        let _ = write!(text, ".{}", &six[..digits]);
    } else if micros != 0 {
        let _ = write!(text, ".{micros:06}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn typed(kind: ColumnType) -> ValueType {
        ValueType { kind, unsigned: false, binary: false, decimals: 0 }
    }

    fn read(kind: ValueType, bytes: &[u8]) -> Value {
        let mut input = Input::new(bytes, "value");
        let taken = take_binary(&mut input, kind.kind).unwrap();
        assert!(input.is_empty());
        from_binary(kind, taken).unwrap()
    }

    // The documentation's examples of binary protocol values.
    #[test]
    fn the_documented_values() {
        let temporal = |text: &'static str| Value::Temporal(Bytes::from_static(text.as_bytes()));
        assert_eq!(read(typed(ColumnType::LONGLONG), b"\x01\0\0\0\0\0\0\0"), Value::Int(1));
        assert_eq!(read(typed(ColumnType::DOUBLE), b"\x66\x66\x66\x66\x66\x66\x24\x40"), Value::Float(10.2));
        let float = read(typed(ColumnType::FLOAT), b"\x33\x33\x23\x41");
        assert_eq!(float, Value::Float(f64::from(10.2_f32)));
        let long = b"\x0b\xda\x07\x0a\x11\x13\x1b\x1e\x01\x00\x00\x00";
        assert_eq!(read(typed(ColumnType::DATETIME), long), temporal("2010-10-17 19:27:30.000001"));
        let two = ValueType { decimals: 2, ..typed(ColumnType::DATETIME) };
        assert_eq!(read(two, b"\x04\xda\x07\x0a\x11"), temporal("2010-10-17 00:00:00.00"));
        assert_eq!(read(typed(ColumnType::DATE), b"\x04\xda\x07\x0a\x11"), temporal("2010-10-17"));
        assert_eq!(read(typed(ColumnType::DATE), b"\x00"), temporal("0000-00-00"));
        let time = b"\x0c\x01\x78\x00\x00\x00\x13\x1b\x1e\x01\x00\x00\x00";
        assert_eq!(read(typed(ColumnType::TIME), time), temporal("-2899:27:30.000001"));
        assert_eq!(read(typed(ColumnType::TIME), b"\x00"), temporal("00:00:00"));
    }

    #[test]
    fn numbers_that_do_not_fit_are_errors() {
        let mut out = BytesMut::new();
        for (kind, value) in [
            (ColumnType::TINY, Value::Int(-129)),
            (ColumnType::TINY, Value::UInt(256)),
            (ColumnType::TINY, Value::UInt(200)),
            (ColumnType::LONG, Value::Int(i64::MIN)),
            (ColumnType::LONG, Value::Text(Bytes::from_static(b"1"))),
            (ColumnType::DATE, Value::Temporal(Bytes::from_static(b"12:00:00"))),
            (ColumnType(0x77), Value::Int(1)),
        ] {
            assert!(put_binary(&mut out, typed(kind), &value).is_err(), "{kind:?} {value:?}");
        }
        assert!(out.is_empty());
    }

    #[test]
    fn text_values_by_type() {
        let unsigned = ValueType { unsigned: true, ..typed(ColumnType::LONGLONG) };
        assert_eq!(from_text(unsigned, b"18446744073709551615"), Ok(Value::UInt(u64::MAX)));
        assert_eq!(from_text(typed(ColumnType::LONG), b"-5"), Ok(Value::Int(-5)));
        assert!(from_text(typed(ColumnType::LONG), b"5x").is_err());
        let blob = ValueType { binary: true, ..typed(ColumnType::BLOB) };
        assert_eq!(from_text(blob, b"\xff"), Ok(Value::Binary(Bytes::from_static(b"\xff"))));
    }

    proptest! {
        #[test]
        fn temporals_come_back(
            year in 0_u16..10000, month in 0_u8..13, day in 0_u8..32,
            hour in 0_u8..24, minute in 0_u8..60, second in 0_u8..60, micros in 0_u32..1_000_000,
            negative: bool, hours in 0_u32..839,
        ) {
            let date = format!("{year:04}-{month:02}-{day:02}");
            let datetime = format!("{date} {hour:02}:{minute:02}:{second:02}.{micros:06}");
            let sign = if negative && (hours, minute, second, micros) != (0, 0, 0, 0) { "-" } else { "" };
            let time = format!("{sign}{hours:02}:{minute:02}:{second:02}.{micros:06}");
            for (kind, text) in
                [(ColumnType::DATE, date), (ColumnType::DATETIME, datetime), (ColumnType::TIME, time)]
            {
                let value = Value::Temporal(Bytes::from(text));
                let mut out = BytesMut::new();
                put_binary(&mut out, typed(kind), &value).unwrap();
                prop_assert_eq!(read(ValueType { decimals: 6, ..typed(kind) }, &out), value);
            }
        }

        #[test]
        fn garbage_never_panics(kind: u8, unsigned: bool, bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let kind = ValueType { unsigned, ..typed(ColumnType(kind)) };
            let mut input = Input::new(&bytes, "value");
            if let Ok(taken) = take_binary(&mut input, kind.kind) {
                let _ = from_binary(kind, taken);
            }
            let _ = from_binary(kind, &bytes);
            let _ = from_text(kind, &bytes);
            let _ = Temporal::parse(&bytes);
        }
    }
}
