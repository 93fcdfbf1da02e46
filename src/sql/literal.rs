//! What value does a literal's text stand for, and which text stands for a value?
//!
//! Source: MySQL Reference Manual 8.4, "Literal Values". Text is never re-encoded: a string keeps
//! the bytes that the client sent.

use bytes::Bytes;

use super::operand::{Bindings, Literal, LiteralKind, Operand};
use super::writing::{ClientCharset, Writing};
use crate::error::{Result, SqlError};
use crate::value::Value;

// === impl Literal ===

impl Literal {
    /// The literal's own text.
    #[must_use]
    pub fn text<'a>(&self, statement: &'a [u8]) -> &'a [u8] {
        statement.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// The literal's value.
    ///
    /// # Errors
    /// 1064 for text that the lexer does not produce.
    pub fn value(&self, statement: &Bytes, writing: Writing) -> Result<Value> {
        if self.kind == LiteralKind::String {
            // The common string has nothing to unescape: its value is a slice of the statement.
            let text = self.text(statement);
            if let [b'\'', inner @ .., b'\''] = text
                && !inner.iter().any(|byte| matches!(byte, b'\\' | b'\''))
            {
                return Ok(Value::Text(statement.slice(self.start as usize + 1..self.end as usize - 1)));
            }
        }
        read(self.kind, self.text(statement), writing)
    }
}

// === impl Bindings ===

impl Bindings<'_> {
    /// The value of an operand in this execution.
    ///
    /// # Errors
    /// 1210 where a parameter or a generated value is missing.
    pub fn value(&self, operand: &Operand) -> Result<Value> {
        match operand {
            Operand::Literal(index) => {
                let literal = self.literals.get(*index as usize);
                literal.ok_or_else(missing)?.value(self.text, self.writing)
            }
            Operand::Param(index) => self.params.get(*index as usize).cloned().ok_or_else(missing),
            Operand::Negated(inner) => Ok(negate(self.value(inner)?)),
            Operand::Constant(value) => Ok(value.clone()),
            Operand::Generated(index) => self.generated.get(*index as usize).cloned().ok_or_else(missing),
        }
    }
}

fn missing() -> SqlError {
    SqlError::wrong_arguments("EXECUTE")
}

/// Reads a literal's text.
///
/// # Errors
/// 1064 for text that the lexer does not produce.
pub fn read(kind: LiteralKind, text: &[u8], writing: impl Into<Writing>) -> Result<Value> {
    let malformed = || SqlError::syntax("MySQL", &String::from_utf8_lossy(text), 1);
    Ok(match kind {
        LiteralKind::Integer => integer(text),
        LiteralKind::Decimal => Value::Decimal(Bytes::copy_from_slice(text)),
        LiteralKind::Float => {
            let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            Value::Float(number.ok_or_else(malformed)?)
        }
        LiteralKind::String => string(text, writing.into()).ok_or_else(malformed)?,
        LiteralKind::Hex => Value::Binary(hex_digits(text).ok_or_else(malformed)?.into()),
        LiteralKind::Bit => Value::Binary(bit_digits(text).ok_or_else(malformed)?.into()),
    })
}

/// Digits: the smallest of signed, unsigned and decimal that holds them.
fn integer(text: &[u8]) -> Value {
    let digits = std::str::from_utf8(text).unwrap_or("0");
    if let Ok(number) = digits.parse::<i64>() {
        Value::Int(number)
    } else if let Ok(number) = digits.parse::<u64>() {
        Value::UInt(number)
    } else {
        Value::Decimal(Bytes::copy_from_slice(text))
    }
}

fn string(text: &[u8], writing: Writing) -> Option<Value> {
    let mut rest = text;
    let mut binary = false;
    if !matches!(rest.first()?, b'\'' | b'"') {
        let quote = rest.iter().position(|byte| matches!(byte, b'\'' | b'"'))?;
        let (introducer, string) = rest.split_at(quote);
        binary = introducer.trim_ascii_end().eq_ignore_ascii_case(b"_binary");
        rest = string;
    }
    let mut value = Vec::with_capacity(rest.len());
    while let Some((&quote, inner)) = rest.split_first() {
        let end = unescape(inner, quote, writing, &mut value)?;
        rest = skip_trivia(inner.get(end..)?);
    }
    let value = Bytes::from(value);
    Some(if binary { Value::Binary(value) } else { Value::Text(value) })
}

/// Appends the string's value and returns the offset past its closing quote.
fn unescape(inner: &[u8], quote: u8, writing: Writing, value: &mut Vec<u8>) -> Option<usize> {
    let mut at = 0;
    loop {
        let byte = *inner.get(at)?;
        if byte == quote {
            if inner.get(at + 1) != Some(&quote) {
                return Some(at + 1);
            }
            value.push(quote);
            at += 2;
        } else if byte == b'\\' && !writing.no_backslash_escapes {
            let escaped = *inner.get(at + 1)?;
            match escaped {
                b'0' => value.push(0),
                b'b' => value.push(8),
                b'n' => value.push(b'\n'),
                b'r' => value.push(b'\r'),
                b't' => value.push(b'\t'),
                b'Z' => value.push(0x1a),
                // Kept with their backslash: LIKE reads it.
                b'%' | b'_' => value.extend_from_slice(&[b'\\', escaped]),
                other => value.push(other),
            }
            at += 2;
        } else {
            let length = writing.charset.character(inner.get(at..)?);
            value.extend_from_slice(inner.get(at..at + length)?);
            at += length;
        }
    }
}

/// What may stand between two strings that MySQL joins.
fn skip_trivia(mut text: &[u8]) -> &[u8] {
    loop {
        text = match text {
            [b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, rest @ ..] | [b'*', b'/', rest @ ..] => rest,
            [b'/', b'*', rest @ ..] => {
                let end = rest.windows(2).position(|pair| pair == b"*/");
                end.and_then(|end| rest.get(end + 2..)).unwrap_or_default()
            }
            [b'#', rest @ ..] | [b'-', b'-', rest @ ..] => {
                let end = rest.iter().position(|&byte| byte == b'\n');
                end.and_then(|end| rest.get(end..)).unwrap_or_default()
            }
            _ => return text,
        };
    }
}

/// The digits of `x'…'`, `0x…`, `b'…'`, `0b…`, with or without an introducer.
fn digits(text: &[u8]) -> Option<&[u8]> {
    let text = if text.first() == Some(&b'_') {
        let end = text.iter().rposition(u8::is_ascii_whitespace).map(|at| at + 1);
        let start = end.or_else(|| text.iter().position(|&byte| byte == b'0'))?;
        text.get(start..)?
    } else {
        text
    };
    match text {
        [_, b'\'', inner @ .., b'\''] | [b'0', _, inner @ ..] => Some(inner),
        _ => None,
    }
}

fn hex_digits(text: &[u8]) -> Option<Vec<u8>> {
    let digits = digits(text)?;
    if digits.len() % 2 == 0 {
        return hex::decode(digits).ok();
    }
    // 0xABC is 0x0ABC.
    hex::decode([b"0", digits].concat()).ok()
}

fn bit_digits(text: &[u8]) -> Option<Vec<u8>> {
    let digits = digits(text)?;
    let byte = |chunk: &[u8]| chunk.iter().fold(0_u8, |byte, &digit| (byte << 1) | (digit & 1));
    Some(digits.rchunks(8).rev().map(byte).collect())
}

fn negate(value: Value) -> Value {
    let negative_text = |text: &[u8]| match text.strip_prefix(b"-") {
        Some(positive) => Value::Decimal(Bytes::copy_from_slice(positive)),
        None => Value::Decimal([b"-", text].concat().into()),
    };
    match value {
        Value::Null => Value::Null,
        Value::Int(number) => match number.checked_neg() {
            Some(number) => Value::Int(number),
            None => Value::UInt(number.unsigned_abs()),
        },
        Value::UInt(number) => match 0_i64.checked_sub_unsigned(number) {
            Some(number) => Value::Int(number),
            None => negative_text(number.to_string().as_bytes()),
        },
        Value::Float(number) => Value::Float(-number),
        Value::Decimal(text) => negative_text(&text),
        Value::Text(text) | Value::Binary(text) | Value::Temporal(text) => {
            // MySQL reads the longest number that the text begins with.
            let text = String::from_utf8_lossy(&text).into_owned();
            let text = text.trim_start();
            let lengths = (1..=text.len()).rev().filter(|&end| text.is_char_boundary(end));
            let number = lengths.take(64).find_map(|end| text[..end].parse::<f64>().ok());
            Value::Float(-number.filter(|number| number.is_finite()).unwrap_or(0.0))
        }
    }
}

/// Writes a value as a literal that MySQL reads back as the same value.
pub fn write(value: &Value, writing: impl Into<Writing>, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"NULL"),
        Value::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::UInt(number) => out.extend_from_slice(number.to_string().as_bytes()),
        // A driver may send a DECIMAL with an exponent; a literal with one would be an approximate number.
        Value::Decimal(text) if text.contains(&b'e') || text.contains(&b'E') => {
            let exact =
                std::str::from_utf8(text).ok().and_then(|text| text.parse::<bigdecimal::BigDecimal>().ok());
            // MySQL has no decimal of more digits; the client's own text then says what it can.
            match exact.filter(|number| number.fractional_digit_count().unsigned_abs() < 200) {
                Some(number) => out.extend_from_slice(number.to_plain_string().as_bytes()),
                None => out.extend_from_slice(text),
            }
        }
        Value::Decimal(text) => out.extend_from_slice(text),
        // With an exponent, so that it stays an approximate number.
        Value::Float(number) => out.extend_from_slice(format!("{number:e}").as_bytes()),
        Value::Text(text) | Value::Temporal(text) => write_string(text, writing, out),
        Value::Binary(bytes) => {
            out.reserve(bytes.len() * 2 + 3);
            out.extend_from_slice(b"x'");
            out.extend_from_slice(hex::encode_upper(bytes).as_bytes());
            out.push(b'\'');
        }
    }
}

/// Writes a string literal. A quote is doubled, never escaped by a backslash, so that only the
/// backslash itself depends on the mode.
pub fn write_string(text: &[u8], writing: impl Into<Writing>, out: &mut Vec<u8>) {
    let Writing { no_backslash_escapes, charset } = writing.into();
    out.reserve(text.len() + 2);
    out.push(b'\'');
    let mut rest = text;
    while let Some(&byte) = rest.first() {
        let (character, tail) = rest.split_at(Ord::min(charset.character(rest), rest.len()));
        if byte == b'\'' || (byte == b'\\' && !no_backslash_escapes) {
            out.push(byte);
        }
        out.extend_from_slice(character);
        rest = tail;
    }
    out.push(b'\'');
}

/// Writes the value of a user variable: as [`write`], but text is UTF-8 whatever the client writes in,
/// and a binary string is never read as a number.
pub fn write_user_variable(value: &Value, writing: Writing, out: &mut Vec<u8>) {
    let (introducer, bytes) = match value {
        Value::Binary(bytes) => ("_binary", bytes),
        Value::Text(text) if writing.charset != ClientCharset::Utf8 && !text.is_ascii() => ("_utf8mb4", text),
        other => return write(other, writing, out),
    };
    out.extend_from_slice(format!("{introducer} x'{}'", hex::encode_upper(bytes)).as_bytes());
}

/// Writes a quoted identifier.
pub fn write_identifier(name: &str, out: &mut Vec<u8>) {
    out.push(b'`');
    for byte in name.bytes() {
        if byte == b'`' {
            out.push(b'`');
        }
        out.push(byte);
    }
    out.push(b'`');
}

/// A quoted identifier.
#[must_use]
pub fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Writes bytes as a literal in hexadecimal, behind what says their character set: `_binary x'00ff'`.
pub fn write_hex(introducer: &[u8], bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(introducer);
    out.extend_from_slice(b" x'");
    let start = out.len();
    out.resize(start + 2 * bytes.len(), 0);
    // Fails only for a place of another size.
    let _ = hex::encode_to_slice(bytes, &mut out[start..]);
    out.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;
    use LiteralKind as L;

    fn text(value: &str) -> Value {
        Value::Text(Bytes::copy_from_slice(value.as_bytes()))
    }

    #[test]
    fn literals_have_mysql_s_values() {
        for (kind, literal, value) in [
            (L::Integer, "9223372036854775807", Value::Int(i64::MAX)),
            (L::Integer, "9223372036854775808", Value::UInt(1 << 63)),
            (L::Integer, "18446744073709551616", Value::Decimal("18446744073709551616".into())),
            (L::Decimal, "1.50", Value::Decimal("1.50".into())),
            (L::Float, "1.e2", Value::Float(100.0)),
            (L::String, r"'it''s \'ok\' \n\%'", text("it's 'ok' \n\\%")),
            (L::String, "'a' \"b\"/* x */'c'", text("abc")),
            (L::String, "_utf8mb4 'x'", text("x")),
            (L::String, "N'x'", text("x")),
            (L::String, "_binary'x'", Value::Binary("x".into())),
            (L::Hex, "0xABC", Value::Binary(vec![0x0a, 0xbc].into())),
            (L::Hex, "x'0aBC'", Value::Binary(vec![0x0a, 0xbc].into())),
            (L::Hex, "_binary x'0a'", Value::Binary(vec![0x0a].into())),
            (L::Bit, "b'101'", Value::Binary(vec![5].into())),
            (L::Bit, "0b100000001", Value::Binary(vec![1, 1].into())),
        ] {
            assert_eq!(read(kind, literal.as_bytes(), false).unwrap(), value, "{literal}");
        }
        assert_eq!(read(L::String, br"'a\n'", true).unwrap(), text("a\\n"));
    }

    #[test]
    fn negatives() {
        assert_eq!(negate(Value::UInt(1 << 63)), Value::Int(i64::MIN));
        assert_eq!(negate(Value::Int(i64::MIN)), Value::UInt(1 << 63));
        assert_eq!(negate(Value::Decimal("1.5".into())), Value::Decimal("-1.5".into()));
        assert_eq!(negate(Value::Text("12abc".into())), Value::Float(-12.0));
    }

    #[test]
    fn written_literals() {
        let written = |value: &Value| {
            let mut out = Vec::new();
            write(value, false, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(&Value::Null), "NULL");
        assert_eq!(written(&Value::Float(150.0)), "1.5e2");
        assert_eq!(written(&text(r"a'b\c")), r"'a''b\\c'");
        let decimal = |text: &str| written(&Value::Decimal(Bytes::copy_from_slice(text.as_bytes())));
        assert_eq!(decimal("-1.50"), "-1.50");
        assert_eq!(decimal("0.123456789012345678900123456789e20"), "12345678901234567890.0123456789");
        assert_eq!(decimal("-1E-10"), "-0.0000000001");
        assert_eq!(decimal("1e1000000"), "1e1000000");
        assert_eq!(written(&Value::Binary(vec![0, 255].into())), "x'00FF'");
    }

    proptest::proptest! {
        #[test]
        fn a_written_string_reads_back(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60), mode in proptest::prelude::any::<bool>()) {
            // `\%` and `\_` keep their backslash when read, as MySQL does for LIKE; doubling avoids both.
            let value = Value::Text(bytes.into());
            let mut out = Vec::new();
            write(&value, mode, &mut out);
            assert_eq!(read(L::String, &out, mode).unwrap(), value);
        }
    }
}
