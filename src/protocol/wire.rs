//! How are the protocol's basic types laid out?
//!
//! Fixed integers are little-endian. A length-encoded integer is one byte up to 250; `fc`, `fd`, `fe`
//! announce 2, 3 and 8 bytes; `fb` is NULL in a row and `ff` starts an error, so neither is an
//! integer (`page_protocol_basic_dt_integers.html`).

use bytes::{BufMut, BytesMut};

use super::ProtocolError;

/// A reader over one payload. Every method checks the length first.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    rest: &'a [u8],
    what: &'static str,
}

// === impl Input ===

impl<'a> Input<'a> {
    /// Reads `bytes`; `what` names the packet in errors.
    #[must_use]
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// Whether everything was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The bytes that are left, without taking them.
    #[must_use]
    pub fn remaining(&self) -> &'a [u8] {
        self.rest
    }

    /// The next byte, without taking it.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// This packet is malformed.
    #[must_use]
    pub fn malformed(&self) -> ProtocolError {
        ProtocolError::Malformed(self.what)
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], ProtocolError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(ProtocolError::Truncated(self.what))?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtocolError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(ProtocolError::Truncated(self.what))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Everything that is left.
    #[must_use]
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, ProtocolError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, ProtocolError> {
        self.array().map(u16::from_le_bytes)
    }

    /// Three bytes.
    pub fn u24(&mut self) -> Result<u32, ProtocolError> {
        let [low, middle, high] = self.array()?;
        Ok(u32::from_le_bytes([low, middle, high, 0]))
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, ProtocolError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, ProtocolError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A length-encoded integer; NULL (`fb`) and `ff` are malformed.
    pub fn lenenc_int(&mut self) -> Result<u64, ProtocolError> {
        match self.u8()? {
            byte @ 0..=250 => Ok(u64::from(byte)),
            0xfc => self.u16().map(u64::from),
            0xfd => self.u24().map(u64::from),
            0xfe => self.u64(),
            _ => Err(self.malformed()),
        }
    }

    /// A length-encoded string.
    pub fn lenenc_bytes(&mut self) -> Result<&'a [u8], ProtocolError> {
        let length = self.lenenc_int()?;
        // A length beyond the address space is beyond the packet too.
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// A column of a text row: a length-encoded string, or `None` for NULL (`fb`).
    pub fn lenenc_nullable(&mut self) -> Result<Option<&'a [u8]>, ProtocolError> {
        if self.peek() == Some(NULL_COLUMN) {
            self.rest = &self.rest[1..];
            return Ok(None);
        }
        self.lenenc_bytes().map(Some)
    }

    /// A string up to a NUL byte, which is taken too and not returned.
    pub fn nul_bytes(&mut self) -> Result<&'a [u8], ProtocolError> {
        let end = self.rest.iter().position(|&byte| byte == 0).ok_or(ProtocolError::Truncated(self.what))?;
        let taken = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(taken)
    }
}

/// The byte that stands for NULL in a text row.
pub const NULL_COLUMN: u8 = 0xfb;

/// Appends a length-encoded integer.
pub fn put_lenenc_int(out: &mut BytesMut, value: u64) {
    let bytes = value.to_le_bytes();
    match value {
        0..=250 => out.put_u8(bytes[0]),
        251..=0xffff => {
            out.put_u8(0xfc);
            out.put_slice(&bytes[..2]);
        }
        0x1_0000..=0xff_ffff => {
            out.put_u8(0xfd);
            out.put_slice(&bytes[..3]);
        }
        _ => {
            out.put_u8(0xfe);
            out.put_slice(&bytes);
        }
    }
}

/// Appends a length-encoded string.
pub fn put_lenenc_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_lenenc_int(out, bytes.len() as u64);
    out.put_slice(bytes);
}

/// How many bytes the length-encoded form of `value` takes.
#[must_use]
pub fn lenenc_int_size(value: u64) -> usize {
    match value {
        0..=250 => 1,
        251..=0xffff => 3,
        0x1_0000..=0xff_ffff => 4,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_documented_integers() {
        // Examples of page_protocol_basic_dt_integers.html.
        for (value, bytes) in [
            (0_u64, &[0x00_u8][..]),
            (250, &[0xfa]),
            (251, &[0xfc, 0xfb, 0x00]),
            (0xffff, &[0xfc, 0xff, 0xff]),
            (0x1_0000, &[0xfd, 0x00, 0x00, 0x01]),
            (0x100_0000, &[0xfe, 0, 0, 0, 1, 0, 0, 0, 0]),
        ] {
            let mut out = BytesMut::new();
            put_lenenc_int(&mut out, value);
            assert_eq!(&out[..], bytes);
            assert_eq!(lenenc_int_size(value), bytes.len());
            assert_eq!(Input::new(bytes, "int").lenenc_int(), Ok(value));
        }
    }

    #[test]
    fn hostile_lengths_are_errors() {
        for bytes in [
            &[][..],
            &[0xfb],
            &[0xff],
            &[0xfc, 1],
            &[0xfd, 1, 2],
            &[0xfe, 1, 2, 3, 4, 5, 6, 7],
            &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[3, b'a', b'b'],
        ] {
            assert!(Input::new(bytes, "string").lenenc_bytes().is_err(), "{bytes:?}");
        }
        assert!(Input::new(b"abc", "string").nul_bytes().is_err());
    }

    proptest! {
        #[test]
        fn strings_come_back(value in any::<u64>(), bytes in prop::collection::vec(any::<u8>(), 0..700)) {
            let mut out = BytesMut::new();
            put_lenenc_int(&mut out, value);
            put_lenenc_bytes(&mut out, &bytes);
            let mut input = Input::new(&out, "test");
            prop_assert_eq!(input.lenenc_int(), Ok(value));
            prop_assert_eq!(input.lenenc_bytes(), Ok(&bytes[..]));
            prop_assert!(input.is_empty());
        }
    }
}
