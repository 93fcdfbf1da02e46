//! How does a session write text: which bytes are one character, and what does a backslash mean?
//!
//! Sources: MySQL Reference Manual 8.4, "Connection Character Sets" and "Server SQL Modes"; the bytes of
//! a character are those of `ctype-gbk.cc`, `ctype-big5.cc`, `ctype-sjis.cc` and `ctype-gb18030.cc`.

use bytes::Bytes;

use crate::error::{Result, SqlError};
use crate::value::Value;

/// What a client's strings are read and written by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Writing {
    /// `NO_BACKSLASH_ESCAPES`: a backslash is a character like any other.
    pub no_backslash_escapes: bool,
    /// `character_set_client`.
    pub charset: ClientCharset,
}

/// What must be known of the character set in which a client writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ClientCharset {
    /// utf8mb4, utf8mb3, ascii, and `binary`, whose strings are compared byte by byte.
    #[default]
    Utf8,
    /// latin1, which is MySQL's name for Windows-1252.
    Latin1,
    /// Others in which every byte below 0x80 is that ASCII character.
    Other,
    /// gbk and gb2312's superset: the second byte may be ASCII.
    Gbk,
    /// gb18030: as gbk, with characters of four bytes.
    Gb18030,
    /// big5.
    Big5,
    /// sjis and cp932.
    Sjis,
}

/// What the bytes from 0x80 to 0x9f are in Windows-1252; the five that it leaves out are controls.
const LATIN1_HIGH: [u16; 32] = [
    0x20ac, 0x81, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152,
    0x8d, 0x017d, 0x8f, 0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161,
    0x203a, 0x0153, 0x9d, 0x017e, 0x0178,
];

// === impl ClientCharset ===

impl ClientCharset {
    /// By the name in lower case; names that are no client's character set count as [`Self::Other`].
    #[must_use]
    pub fn by_name(name: &str) -> Self {
        match name {
            "utf8mb4" | "utf8mb3" | "utf8" | "ascii" | "binary" => Self::Utf8,
            "latin1" => Self::Latin1,
            "gbk" => Self::Gbk,
            "gb18030" => Self::Gb18030,
            "big5" => Self::Big5,
            "sjis" | "cp932" => Self::Sjis,
            _ => Self::Other,
        }
    }

    /// Whether the second byte of a character may look like ASCII.
    #[must_use]
    pub fn is_wide(self) -> bool {
        matches!(self, Self::Gbk | Self::Gb18030 | Self::Big5 | Self::Sjis)
    }

    /// How many bytes the character at the start has, if its second byte may look like ASCII; else 1.
    #[must_use]
    pub fn character(self, bytes: &[u8]) -> usize {
        let (Some(&lead), Some(&trail)) = (bytes.first(), bytes.get(1)) else { return 1 };
        let wide = match self {
            Self::Utf8 | Self::Latin1 | Self::Other => false,
            Self::Gbk => matches!(lead, 0x81..=0xfe) && matches!(trail, 0x40..=0x7e | 0x80..=0xfe),
            Self::Gb18030 => {
                if matches!(lead, 0x81..=0xfe) && matches!(trail, 0x30..=0x39) {
                    let rest = (bytes.get(2).copied().unwrap_or(0), bytes.get(3).copied().unwrap_or(0));
                    return if matches!(rest, (0x81..=0xfe, 0x30..=0x39)) { 4 } else { 1 };
                }
                matches!(lead, 0x81..=0xfe) && matches!(trail, 0x40..=0x7e | 0x80..=0xfe)
            }
            Self::Big5 => matches!(lead, 0xa1..=0xf9) && matches!(trail, 0x40..=0x7e | 0xa1..=0xfe),
            Self::Sjis => {
                matches!(lead, 0x81..=0x9f | 0xe0..=0xfc) && matches!(trail, 0x40..=0x7e | 0x80..=0xfc)
            }
        };
        if wide { 2 } else { 1 }
    }

    /// Where the first of the wanted bytes stands that is a character of its own.
    pub(super) fn position(self, text: &[u8], wanted: impl Fn(u8) -> bool) -> Option<usize> {
        if !self.is_wide() {
            return text.iter().position(|&byte| wanted(byte));
        }
        let end = self.run(text, |byte| !wanted(byte));
        (end < text.len()).then_some(end)
    }

    /// How many bytes at the start are accepted; characters of several bytes are.
    pub(super) fn run(self, text: &[u8], accept: impl Fn(u8) -> bool) -> usize {
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            let length = self.character(text.get(at..).unwrap_or_default());
            if length == 1 && !accept(byte) {
                break;
            }
            at += length;
        }
        at
    }

    /// The value in UTF-8, in which vindexes compare text.
    ///
    /// # Errors
    /// VT12001 for text beyond ASCII in a character set that the gate cannot read.
    pub fn to_utf8(self, value: Value) -> Result<Value> {
        let Value::Text(text) = &value else { return Ok(value) };
        if self == Self::Utf8 || text.is_ascii() {
            return Ok(value);
        }
        if self != Self::Latin1 {
            return Err(SqlError::unsupported(
                "routing by text beyond ASCII in this character set: SET NAMES utf8mb4 is understood",
            ));
        }
        let read = |&byte: &u8| match byte {
            0x80..=0x9f => char::from_u32(u32::from(LATIN1_HIGH[usize::from(byte - 0x80)])).unwrap_or('\0'),
            _ => char::from(byte),
        };
        Ok(Value::Text(Bytes::from(text.iter().map(read).collect::<String>())))
    }
}

impl From<bool> for Writing {
    /// UTF-8, and whether a backslash is a character like any other.
    fn from(no_backslash_escapes: bool) -> Self {
        Self { no_backslash_escapes, charset: ClientCharset::Utf8 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Value {
        Value::Text(Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn characters_whose_second_byte_looks_like_ascii() {
        use ClientCharset as C;
        // Each is a character that ends in a backslash: 塡 in GBK, 功 in Big5, ソ in Shift JIS.
        assert_eq!(C::Gbk.character(b"\x89\x5c'"), 2);
        assert_eq!(C::Big5.character(b"\xa5\x5c'"), 2);
        assert_eq!(C::Sjis.character(b"\x83\x5c'"), 2);
        assert_eq!(C::Gb18030.character(b"\x81\x30\x81\x30"), 4);
        assert_eq!(C::Gb18030.character(b"\x81\x30'"), 1);
        // A quote never belongs to a character.
        for charset in [C::Gbk, C::Gb18030, C::Big5, C::Sjis] {
            assert_eq!(charset.character(b"\xa5'"), 1, "{charset:?}");
            assert_eq!(charset.character(b"a\\"), 1, "{charset:?}");
        }
        assert_eq!(C::Utf8.character(b"\xa5\x5c"), 1);
    }

    #[test]
    fn latin1_is_read_as_windows_1252() {
        // MySQL 9.7: SELECT HEX(CONVERT(_latin1 x'80E99F41' USING utf8mb4)).
        assert_eq!(
            ClientCharset::Latin1.to_utf8(text(b"\x80\xe9\x9fA")).unwrap(),
            text(b"\xe2\x82\xac\xc3\xa9\xc5\xb8A")
        );
        assert_eq!(ClientCharset::Gbk.to_utf8(text(b"abc")).unwrap(), text(b"abc"));
        assert!(ClientCharset::Gbk.to_utf8(text(b"\x89\x5c")).is_err());
        assert_eq!(ClientCharset::Other.to_utf8(Value::Int(1)).unwrap(), Value::Int(1));
    }
}
