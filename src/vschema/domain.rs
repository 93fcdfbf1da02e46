//! Which rows does a comparison with a sharding column mean, as far as its vindex is concerned?
//!
//! A vindex maps the value that it is given. MySQL stores and compares by the column's type: `'05'`
//! is 5 in an integer column, `'ABC'` equals `'abc'` under many collations, `5` equals every text that
//! reads as a 5. A [`Domain`] knows the type and says, for a value that a column is compared with, by
//! which one value all matching rows were placed, or that there is none such.
//!
//! Sources: MySQL Reference Manual 8.4, "Type Conversion in Expression Evaluation", "The CHAR and
//! VARCHAR Types", "Unicode Character Sets".

use super::{Column, ColumnType, Compared};
use crate::value::Value;
use crate::vindex::{FromEncoding, Kind, Reading, Vindex};

/// The values of a column of a vindex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// The type is not known: what is compared is taken to be what was stored.
    Unknown {
        /// Whether the vindex reads numbers: then the column is taken to be one of integers.
        numbers: bool,
    },
    /// Numbers. The gate stores integers of these bounds only.
    Number {
        /// The least.
        low: i64,
        /// The greatest.
        high: u64,
        /// Whether the column's type is an integer.
        integral: bool,
    },
    /// Byte strings, which compare byte by byte.
    Bytes {
        /// BINARY: shorter values are filled with zeros.
        fixed: bool,
        /// The most bytes.
        length: u32,
    },
    /// Character strings.
    Text(Text),
    /// Equal values may have several forms, and so be on several shards.
    Other,
}

/// The character strings of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text {
    /// CHAR: blanks at the end are not stored.
    pub fixed: bool,
    /// The most characters.
    pub length: u32,
    /// The most bytes.
    pub octets: u32,
    /// Which strings are equal.
    pub equality: Equality,
    /// What the vindex reads of them.
    pub reading: Reading,
    /// Which characters can be stored.
    pub repertoire: Repertoire,
}

/// Which strings a collation calls equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Equality {
    /// The collation is not known; trusted to be the vindex's.
    Trusted,
    /// Strings of the same bytes.
    Bytes,
    /// Strings of the same bytes, but for blanks at the end.
    PaddedBytes,
    /// Strings of the same primary weights, as a `unicode_loose` vindex reads them.
    Weights {
        /// Whether characters beyond U+FFFF are all equal (UCA 4.0.0).
        basic_plane: bool,
    },
    /// Something else.
    Other,
}

/// Which characters a character set has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repertoire {
    /// All.
    Unicode,
    /// Up to U+FFFF.
    BasicPlane,
    /// Up to U+00FF.
    Latin1,
    /// ASCII, and others that are not known.
    Ascii,
}

/// Larger whole numbers are not told apart by a double.
const EXACT_DOUBLE: u64 = 1 << 53;
const EXACT_FLOAT: u64 = 1 << 24;

// === impl Domain ===

impl Domain {
    /// The domain of the vindex's column at this position.
    #[must_use]
    pub fn of(column: Option<&Column>, vindex: &Vindex, position: usize) -> Self {
        let reading = vindex.reading(position);
        // All rows are in one place; or a server compares the value itself with another column's.
        let stored = vindex.lookup().is_some_and(|own| own.from_encoding() == FromEncoding::Value);
        if stored || matches!(vindex.kind(), Kind::Null) {
            return Self::Unknown { numbers: false };
        }
        Self::read(column, reading)
    }

    /// The domain of a column of which a vindex reads this.
    fn read(column: Option<&Column>, reading: Reading) -> Self {
        use ColumnType as C;
        let unknown = Self::Unknown { numbers: reading == Reading::Numbers };
        let Some(column) = column else { return unknown };
        let integer = |low, high| Self::Number { low, high, integral: true };
        let float = |most: u64| Self::Number { low: -most.cast_signed(), high: most, integral: false };
        let length = if column.size > 0 { column.size.unsigned_abs() } else { u32::MAX };
        match column.kind {
            C::NullType if column.declared.is_none() => unknown,
            C::Int8 => integer(i64::from(i8::MIN), i8::MAX as u64),
            C::Int16 => integer(i64::from(i16::MIN), i16::MAX as u64),
            C::Int24 => integer(-(1 << 23), (1 << 23) - 1),
            C::Int32 => integer(i64::from(i32::MIN), i32::MAX as u64),
            C::Int64 => integer(i64::MIN, i64::MAX as u64),
            C::Uint8 => integer(0, u64::from(u8::MAX)),
            C::Uint16 => integer(0, u64::from(u16::MAX)),
            C::Uint24 => integer(0, (1 << 24) - 1),
            C::Uint32 => integer(0, u64::from(u32::MAX)),
            C::Uint64 => integer(0, u64::MAX),
            // Their texts differ from those of the integers that are equal.
            C::Decimal | C::Float32 | C::Float64 if reading != Reading::Numbers => Self::Other,
            C::Decimal => Self::decimal(column),
            C::Float32 => float(EXACT_FLOAT),
            C::Float64 => float(EXACT_DOUBLE),
            C::Binary | C::Varbinary | C::Blob if reading == Reading::Bytes => {
                Self::Bytes { fixed: column.kind == C::Binary, length }
            }
            C::Char | C::Varchar | C::Text => Self::Text(Text {
                fixed: column.kind == C::Char,
                length,
                // The size of a TEXT is one of bytes.
                octets: if column.kind == C::Text { length } else { u32::MAX },
                equality: Equality::of(column.collation.as_deref()),
                reading,
                repertoire: Repertoire::of(column.collation.as_deref()),
            }),
            _ => Self::Other,
        }
    }

    /// The domain of a column whose values another column of the same type takes as they are.
    #[must_use]
    pub fn of_text(column: Option<&Column>) -> Self {
        Self::read(column, Reading::Bytes)
    }

    fn decimal(column: &Column) -> Self {
        let digits = u32::try_from(column.size - column.scale).ok().filter(|digits| *digits > 0);
        // Beyond 18 digits the vindex's 64 bits are the limit.
        let high = digits.and_then(|digits| 10_u64.checked_pow(digits)).map_or(u64::MAX, |bound| bound - 1);
        let unsigned = column.declared.as_deref().is_some_and(|declared| declared.contains("unsigned"));
        let low = if unsigned { 0 } else { i64::try_from(high).map_or(i64::MIN, |high| -high) };
        Self::Number { low, high, integral: false }
    }

    /// Whether rows with equal values have the same keyspace id.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        match self {
            Self::Unknown { .. } | Self::Number { .. } | Self::Bytes { .. } => true,
            Self::Text(text) => match (text.reading, text.equality) {
                // Rows hold nothing but digits and blanks around them.
                (Reading::Numbers, _) | (_, Equality::Trusted | Equality::Bytes | Equality::PaddedBytes) => {
                    true
                }
                (Reading::Weights, Equality::Weights { basic_plane }) => {
                    !basic_plane || text.repertoire == Repertoire::BasicPlane
                }
                _ => false,
            },
            Self::Other => false,
        }
    }

    /// Whether the vindex's order is the order of the column's values.
    #[must_use]
    pub fn is_ordered(&self, vindex: &Vindex) -> bool {
        vindex.is_ordered()
            && match self {
                Self::Unknown { numbers } => *numbers,
                Self::Number { integral, .. } => *integral,
                Self::Bytes { .. } => true,
                Self::Text(_) | Self::Other => false,
            }
    }

    /// By which value the rows were placed that equal this one.
    #[must_use]
    pub fn compared(&self, value: Value) -> Compared {
        if value.is_null() {
            return Compared::Only(value);
        }
        match self {
            Self::Unknown { numbers: false } => Compared::Only(value),
            Self::Unknown { numbers: true } | Self::Number { integral: true, .. } => Compared::of(value),
            Self::Number { integral: false, .. } => small(value),
            Self::Bytes { .. } => match value {
                Value::Text(bytes) | Value::Binary(bytes) => Compared::Only(Value::Binary(bytes)),
                _ => Compared::Uncertain,
            },
            Self::Text(text) => text.compared(value),
            Self::Other => Compared::Uncertain,
        }
    }
}

// === impl Text ===

impl Text {
    fn compared(&self, value: Value) -> Compared {
        if self.reading == Reading::Numbers {
            return match value {
                // Strings compare as strings: rows that the vindex could read equal those only.
                Value::Text(_) | Value::Binary(_) if value.to_u64().is_ok() => Compared::Only(value),
                Value::Text(_) | Value::Binary(_) => Compared::Nothing,
                other => small(other),
            };
        }
        match (value, self.equality) {
            (value @ (Value::Text(_) | Value::Binary(_)), Equality::Trusted) => Compared::Only(value),
            (Value::Text(text), Equality::Bytes) => Compared::Only(Value::Text(text)),
            (Value::Text(text), Equality::PaddedBytes) => Compared::Only(Value::Text(trimmed(&text))),
            (Value::Text(text), Equality::Weights { basic_plane }) if self.reading == Reading::Weights => {
                // The replacement character has the weight that those beyond U+FFFF have.
                let beyond = |text: &str| text.chars().any(|own| own >= '\u{fffd}');
                if basic_plane && std::str::from_utf8(&text).map_or(true, beyond) {
                    return Compared::Uncertain;
                }
                Compared::Only(Value::Text(text))
            }
            // A binary string compares byte by byte with the column's own bytes.
            (Value::Binary(bytes), Equality::Bytes | Equality::PaddedBytes)
                if bytes.is_ascii() || self.repertoire == Repertoire::Unicode =>
            {
                Compared::Only(Value::Text(bytes))
            }
            _ => Compared::Uncertain,
        }
    }
}

/// The text without the blanks at its end.
pub(super) fn trimmed(text: &bytes::Bytes) -> bytes::Bytes {
    let end = text.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    text.slice(..end)
}

/// What a comparison as doubles means, where the number is small enough to be one double alone.
fn small(value: Value) -> Compared {
    match Compared::of(value) {
        Compared::Only(Value::Int(number)) if number.unsigned_abs() >= EXACT_DOUBLE => Compared::Uncertain,
        Compared::Only(Value::UInt(number)) if number >= EXACT_DOUBLE => Compared::Uncertain,
        other => other,
    }
}

// === impl Equality ===

impl Equality {
    /// What a collation calls equal.
    fn of(collation: Option<&str>) -> Self {
        let Some(collation) = collation else { return Self::Trusted };
        if collation == "binary" || collation == "utf8mb4_0900_bin" || collation.ends_with("_nopad_bin") {
            return Self::Bytes;
        }
        if collation.ends_with("_bin") {
            return Self::PaddedBytes;
        }
        let Some((charset, rest)) = collation.split_once('_') else { return Self::Other };
        if !matches!(charset, "utf8mb4" | "utf8mb3" | "utf8" | "uca1400") {
            return Self::Other;
        }
        // The collations of the root: those of languages call more strings equal.
        match rest.replace("nopad_", "").trim_start_matches("uca1400_") {
            "unicode_ci" => Self::Weights { basic_plane: true },
            "unicode_520_ci" | "0900_ai_ci" | "0900_as_ci" | "0900_as_cs" => {
                Self::Weights { basic_plane: false }
            }
            "ai_ci" | "as_ci" | "ai_cs" | "as_cs" => Self::Weights { basic_plane: false },
            _ => Self::Other,
        }
    }
}

// === impl Repertoire ===

impl Repertoire {
    fn of(collation: Option<&str>) -> Self {
        match collation.map(|collation| collation.split('_').next().unwrap_or(collation)) {
            None | Some("utf8mb4" | "uca1400" | "utf16" | "utf32" | "gb18030") => Self::Unicode,
            Some("utf8" | "utf8mb3" | "ucs2") => Self::BasicPlane,
            Some("latin1") => Self::Latin1,
            Some(_) => Self::Ascii,
        }
    }

    /// Whether all of these characters can be stored.
    pub(super) fn holds(self, text: &str) -> bool {
        let last = match self {
            Self::Unicode => return true,
            Self::BasicPlane => '\u{ffff}',
            Self::Latin1 => '\u{ff}',
            Self::Ascii => '\u{7f}',
        };
        text.chars().all(|own| own <= last)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn text(vindex: &str, collation: &str) -> Domain {
        let column = Column {
            kind: ColumnType::Varchar,
            size: 20,
            collation: Some(collation.into()),
            ..Column::from(&super::super::ColumnSource::default())
        };
        let vindex = Vindex::new("v", vindex, &std::collections::BTreeMap::new()).unwrap();
        Domain::of(Some(&column), &vindex, 0)
    }

    fn string(text: &str) -> Value {
        Value::Text(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// MySQL's and MariaDB's collations, and whether equal strings have one digest.
    #[test]
    fn equal_strings_are_on_one_shard_under_some_collations_only() {
        for (vindex, collation, exact) in [
            ("xxhash", "utf8mb4_0900_bin", true),
            ("xxhash", "utf8mb4_bin", true),
            ("xxhash", "latin1_nopad_bin", true),
            ("xxhash", "utf8mb4_0900_ai_ci", false),
            ("xxhash", "utf8mb4_0900_as_cs", false),
            ("xxhash", "latin1_general_cs", false),
            ("unicode_loose_md5", "utf8mb4_0900_ai_ci", true),
            ("unicode_loose_md5", "utf8mb4_uca1400_ai_ci", true),
            ("unicode_loose_md5", "utf8mb4_unicode_520_nopad_ci", true),
            ("unicode_loose_md5", "utf8mb3_unicode_ci", true),
            // Emoji are all equal.
            ("unicode_loose_md5", "utf8mb4_unicode_ci", false),
            // ß equals s, and emoji are all equal.
            ("unicode_loose_md5", "utf8mb4_general_ci", false),
            // å equals aa.
            ("unicode_loose_md5", "utf8mb4_da_0900_ai_ci", false),
            ("unicode_loose_md5", "utf8mb4_bin", true),
            ("hash", "utf8mb4_0900_ai_ci", true),
        ] {
            assert_eq!(text(vindex, collation).is_exact(), exact, "{vindex} {collation}");
        }
    }

    #[test]
    fn a_comparison_with_strings_means_the_string_that_was_stored() {
        let only = |text: &str| Compared::Only(string(text));
        let bin = text("xxhash", "utf8mb4_bin");
        assert_eq!(bin.compared(string("a  ")), only("a"));
        assert_eq!(bin.compared(Value::Binary(Bytes::from_static(b"a "))), only("a "));
        assert_eq!(bin.compared(Value::Int(5)), Compared::Uncertain);
        assert_eq!(text("xxhash", "utf8mb4_0900_bin").compared(string("a  ")), only("a  "));
        assert_eq!(text("xxhash", "utf8mb4_0900_ai_ci").compared(string("a")), Compared::Uncertain);
        let loose = text("unicode_loose_xxhash", "utf8mb4_unicode_ci");
        assert_eq!(loose.compared(string("é")), only("é"));
        assert_eq!(loose.compared(string("😀")), Compared::Uncertain);
        let digits = text("hash", "utf8mb4_0900_ai_ci");
        assert_eq!(digits.compared(string("05")), only("05"));
        assert_eq!(digits.compared(string("5a")), Compared::Nothing);
        assert_eq!(digits.compared(Value::Int(5)), Compared::Only(Value::Int(5)));
        assert_eq!(digits.compared(Value::Int(1 << 53)), Compared::Uncertain);
    }
}
