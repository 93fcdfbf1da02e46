//! How are packets compressed on the wire?
//!
//! A compressed packet is 3 bytes of length, its own sequence number, 3 bytes of the length before
//! compression, and the bytes (`page_protocol_basic_compression_packet.html`). Length 0 before compression
//! says that the bytes are stored as they are. The bytes are a piece of the stream of ordinary packets:
//! a packet may span several, and several may be in one.

use bytes::{Buf as _, BufMut as _, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::ProtocolError;
use super::capability::Capabilities;

/// Bytes of the header of a compressed packet.
pub const COMPRESSED_HEADER_LEN: usize = 7;

/// The most bytes of the stream in one compressed packet: its length field has 3 bytes.
pub const MAX_PLAIN: usize = 0xff_ffff;

/// Shorter pieces are stored: what servers do (`MIN_COMPRESS_LENGTH`).
const SHORTEST: usize = 50;

/// What compresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// zlib.
    Zlib,
    /// zstd, at a level from 1 to 22 of the client's choice.
    Zstd {
        /// The level.
        level: u8,
    },
}

/// Turns pieces of the stream into compressed packets.
pub struct FrameEncoder(Encoder);

/// Turns compressed packets into pieces of the stream.
pub struct FrameDecoder(Decoder);

enum Encoder {
    Zlib(Compress),
    Zstd(zstd::bulk::Compressor<'static>),
}

enum Decoder {
    Zlib(Decompress),
    Zstd(zstd::bulk::Decompressor<'static>),
}

// === impl Algorithm ===

impl Algorithm {
    /// What two sides that agreed on these capabilities use; `level` is what the login packet says of
    /// zstd. zlib where both are agreed on, as servers choose.
    #[must_use]
    pub fn agreed(capabilities: Capabilities, level: u8) -> Option<Self> {
        if capabilities.contains(Capabilities::COMPRESS) {
            Some(Self::Zlib)
        } else if capabilities.contains(Capabilities::ZSTD) {
            // Levels that do not exist count as the default.
            let level = if (1..=22).contains(&level) { level } else { DEFAULT_ZSTD_LEVEL };
            Some(Self::Zstd { level })
        } else {
            None
        }
    }
}

/// `--zstd-compression-level` of MySQL's clients.
pub const DEFAULT_ZSTD_LEVEL: u8 = 3;

// === impl FrameEncoder ===

impl FrameEncoder {
    /// An encoder.
    ///
    /// # Errors
    /// No memory for zstd's tables.
    pub fn new(algorithm: Algorithm) -> std::io::Result<Self> {
        Ok(Self(match algorithm {
            Algorithm::Zlib => Encoder::Zlib(Compress::new(Compression::default(), true)),
            Algorithm::Zstd { level } => Encoder::Zstd(zstd::bulk::Compressor::new(i32::from(level))?),
        }))
    }

    /// Appends one compressed packet that holds `plain`, at most [`MAX_PLAIN`] bytes.
    pub fn encode(&mut self, plain: &[u8], seq: u8, out: &mut BytesMut) {
        let compressed = if plain.len() < SHORTEST { None } else { self.compress(plain) };
        let (body, before) = match &compressed {
            Some(body) if body.len() < plain.len() => (&body[..], plain.len()),
            _ => (plain, 0),
        };
        out.reserve(COMPRESSED_HEADER_LEN + body.len());
        out.put_slice(&body.len().to_le_bytes()[..3]);
        out.put_u8(seq);
        out.put_slice(&before.to_le_bytes()[..3]);
        out.put_slice(body);
    }

    /// None where it would not become shorter.
    fn compress(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut body = Vec::with_capacity(plain.len());
        match &mut self.0 {
            Encoder::Zlib(zlib) => {
                zlib.reset();
                let status = zlib.compress_vec(plain, &mut body, FlushCompress::Finish).ok()?;
                (status == Status::StreamEnd).then_some(body)
            }
            Encoder::Zstd(zstd) => zstd.compress_to_buffer(plain, &mut body).ok().map(|_| body),
        }
    }
}

// === impl FrameDecoder ===

impl FrameDecoder {
    /// A decoder.
    ///
    /// # Errors
    /// No memory for zstd's tables.
    pub fn new(algorithm: Algorithm) -> std::io::Result<Self> {
        Ok(Self(match algorithm {
            Algorithm::Zlib => Decoder::Zlib(Decompress::new(true)),
            Algorithm::Zstd { .. } => Decoder::Zstd(zstd::bulk::Decompressor::new()?),
        }))
    }

    /// How many bytes `input` must have for the compressed packet at its start.
    #[must_use]
    pub fn due(input: &[u8]) -> usize {
        match input {
            [low, middle, high, ..] => {
                COMPRESSED_HEADER_LEN + u32::from_le_bytes([*low, *middle, *high, 0]) as usize
            }
            _ => COMPRESSED_HEADER_LEN,
        }
    }

    /// Takes one compressed packet off the front of `input`, appends what it holds to `out`, and tells
    /// its sequence number; none while bytes are missing.
    ///
    /// # Errors
    /// [`ProtocolError::Malformed`] for bytes that are no such packet; the stream cannot be used after.
    pub fn decode(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Result<Option<u8>, ProtocolError> {
        let due = Self::due(input);
        if input.len() < due {
            return Ok(None);
        }
        let frame = input.split_to(due);
        let (header, body) = frame.split_at(COMPRESSED_HEADER_LEN);
        let before = header.get(4..).map_or(0, |mut bytes| bytes.get_uint_le(3));
        let before = usize::try_from(before).map_err(|_| BAD)?;
        let seq = header.get(3).copied().ok_or(BAD)?;
        if before == 0 {
            out.extend_from_slice(body);
            return Ok(Some(seq));
        }
        out.extend_from_slice(&self.decompress(body, before)?);
        Ok(Some(seq))
    }

    /// Exactly `length` bytes.
    fn decompress(&mut self, body: &[u8], length: usize) -> Result<Vec<u8>, ProtocolError> {
        let mut plain = Vec::with_capacity(length);
        match &mut self.0 {
            Decoder::Zlib(zlib) => {
                zlib.reset(true);
                let status = zlib.decompress_vec(body, &mut plain, FlushDecompress::Finish);
                if !matches!(status, Ok(Status::StreamEnd)) {
                    return Err(BAD);
                }
            }
            Decoder::Zstd(zstd) => {
                zstd.decompress_to_buffer(body, &mut plain).map_err(|_| BAD)?;
            }
        }
        if plain.len() == length { Ok(plain) } else { Err(BAD) }
    }
}

const BAD: ProtocolError = ProtocolError::Malformed("compressed packet");

impl std::fmt::Debug for FrameEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FrameEncoder")
    }
}

impl std::fmt::Debug for FrameDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FrameDecoder")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALGORITHMS: [Algorithm; 3] =
        [Algorithm::Zlib, Algorithm::Zstd { level: 3 }, Algorithm::Zstd { level: 19 }];

    fn round_trip(algorithm: Algorithm, pieces: &[Vec<u8>], step: usize) {
        let mut encoder = FrameEncoder::new(algorithm).unwrap();
        let mut wire = BytesMut::new();
        for (seq, piece) in (0_u8..).zip(pieces) {
            encoder.encode(piece, seq, &mut wire);
        }
        let mut decoder = FrameDecoder::new(algorithm).unwrap();
        let (mut input, mut out, mut next) = (BytesMut::new(), BytesMut::new(), 0_u8);
        for part in wire.chunks(step) {
            input.extend_from_slice(part);
            while let Some(seq) = decoder.decode(&mut input, &mut out).unwrap() {
                assert_eq!(seq, next);
                next += 1;
            }
        }
        assert!(input.is_empty());
        assert!(out == pieces.concat());
    }

    #[test]
    fn a_server_s_packet_is_read() {
        // page_protocol_basic_compression_packet.html: COM_QUERY "select "0123…", compressed; and stored.
        let stored = b"\x09\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x03do 1";
        let mut decoder = FrameDecoder::new(Algorithm::Zlib).unwrap();
        let (mut input, mut out) = (BytesMut::from(&stored[..]), BytesMut::new());
        assert_eq!(decoder.decode(&mut input, &mut out), Ok(Some(0)));
        assert_eq!(&out[..], b"\x05\x00\x00\x00\x03do 1");
        let compressed = b"\x22\x00\x00\x00\x32\x00\x00\x78\x9c\xd3\x63\x60\x60\x60\x2e\x4e\xcd\x49\x4d\x2e\x51\x50\x32\x30\x34\x32\x36\x31\x35\x33\xb7\xb0\xc4\xcd\x52\x02\x00\x0c\xd1\x0a\x6c";
        let (mut input, mut out) = (BytesMut::from(&compressed[..]), BytesMut::new());
        assert_eq!(decoder.decode(&mut input, &mut out), Ok(Some(0)));
        assert!(out.starts_with(b"\x2e\x00\x00\x00\x03select \"0123456789"));
        assert_eq!(out.len(), 0x32);
    }

    #[test]
    fn short_and_random_bytes_are_stored() {
        let mut encoder = FrameEncoder::new(Algorithm::Zlib).unwrap();
        let mut wire = BytesMut::new();
        encoder.encode(&[0; SHORTEST - 1], 7, &mut wire);
        assert_eq!(&wire[..COMPRESSED_HEADER_LEN], [49, 0, 0, 7, 0, 0, 0]);
        wire.clear();
        encoder.encode(&[0; SHORTEST], 7, &mut wire);
        assert_eq!(&wire[3..COMPRESSED_HEADER_LEN], [7, 50, 0, 0]);
        assert!(wire.len() < 30);
    }

    #[test]
    fn hostile_packets_are_errors() {
        for algorithm in ALGORITHMS {
            let mut encoder = FrameEncoder::new(algorithm).unwrap();
            let mut wire = BytesMut::new();
            encoder.encode(&[1; 1000], 0, &mut wire);
            // Another length before compression: longer, shorter.
            for length in [999_usize, 1001, 16_000_000] {
                let mut bad = wire.clone();
                bad[4..7].copy_from_slice(&length.to_le_bytes()[..3]);
                let decoded = FrameDecoder::new(algorithm).unwrap().decode(&mut bad, &mut BytesMut::new());
                assert_eq!(decoded, Err(BAD), "{algorithm:?} {length}");
            }
            let mut bad = wire.clone();
            bad[9] ^= 0x55;
            assert!(FrameDecoder::new(algorithm).unwrap().decode(&mut bad, &mut BytesMut::new()).is_err());
            let mut cut = wire.split_to(wire.len() - 1);
            let decoded = FrameDecoder::new(algorithm).unwrap().decode(&mut cut, &mut BytesMut::new());
            assert_eq!(decoded, Ok(None));
        }
    }

    #[test]
    fn the_largest_piece_fits() {
        let piece: Vec<u8> = (0..MAX_PLAIN).map(|at| (at / 7).to_le_bytes()[0]).collect();
        for algorithm in [Algorithm::Zlib, Algorithm::Zstd { level: 1 }] {
            round_trip(algorithm, &[piece.clone(), vec![1, 2, 3], piece.clone()], 1 << 20);
        }
    }

    #[test]
    fn what_is_agreed() {
        let both = Capabilities::COMPRESS | Capabilities::ZSTD;
        assert_eq!(Algorithm::agreed(both, 5), Some(Algorithm::Zlib));
        assert_eq!(Algorithm::agreed(Capabilities::ZSTD, 5), Some(Algorithm::Zstd { level: 5 }));
        assert_eq!(Algorithm::agreed(Capabilities::ZSTD, 0), Some(Algorithm::Zstd { level: 3 }));
        assert_eq!(Algorithm::agreed(Capabilities::default(), 5), None);
    }

    proptest! {
        #[test]
        fn pieces_come_back_from_any_cut(
            pieces in prop::collection::vec(prop::collection::vec(0_u8..4, 0..700), 0..30),
            step in 1_usize..900,
            which in 0_usize..3,
        ) {
            round_trip(ALGORITHMS[which], &pieces, step);
        }

        #[test]
        fn any_bytes_are_a_packet_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300), which in 0_usize..3) {
            let mut decoder = FrameDecoder::new(ALGORITHMS[which]).unwrap();
            let mut input = BytesMut::from(&bytes[..]);
            let mut out = BytesMut::new();
            while let Ok(Some(_)) = decoder.decode(&mut input, &mut out) {}
        }
    }
}
