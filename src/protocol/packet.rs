//! How does a byte stream become packets, and back?
//!
//! Hot path: walking a header costs a few nanoseconds and copies nothing; a packet below 16 MiB − 1
//! leaves the buffer as a slice of it.
//!
//! A header is a 3-byte length and a sequence number. A payload of 16 MiB − 1 or more travels in
//! chunks of exactly that size and ends with a shorter one, which is empty where the payload is an
//! exact multiple (`page_protocol_basic_packets.html`).

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::ProtocolError;

/// Bytes of a packet header.
pub const HEADER_LEN: usize = 4;

/// The longest payload of one chunk: 16 MiB − 1. A chunk of this length is followed by another.
pub const MAX_CHUNK: usize = 0xff_ffff;

/// One packet header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The payload's length, at most [`MAX_CHUNK`].
    pub length: usize,
    /// The sequence number.
    pub seq: u8,
}

/// One logical packet, joined if it came in chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The sequence number of its last chunk.
    pub seq: u8,
    /// The payload.
    pub payload: Bytes,
}

/// Takes logical packets off a receive buffer, checks sequence numbers and the length limit.
#[derive(Debug)]
pub struct PacketDecoder {
    limit: usize,
    next_seq: u8,
    joined: BytesMut,
    in_chunks: bool,
    ignores_seq: bool,
}

/// Appends framed packets to an output buffer, and counts their sequence numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PacketWriter {
    next_seq: u8,
}

// === impl Header ===

impl Header {
    /// Reads the header at the start of `bytes`; `None` if fewer than four are there.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [low, middle, high, seq] = *bytes.first_chunk::<HEADER_LEN>()?;
        Some(Self { length: u32::from_le_bytes([low, middle, high, 0]) as usize, seq })
    }

    /// Its four bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let length = self.length.to_le_bytes();
        [length[0], length[1], length[2], self.seq]
    }

    /// Whether another chunk of the same logical packet follows.
    #[must_use]
    pub fn continues(self) -> bool {
        self.length == MAX_CHUNK
    }
}

// === impl PacketDecoder ===

impl PacketDecoder {
    /// A decoder that expects sequence number 0 next and refuses payloads longer than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, next_seq: 0, joined: BytesMut::new(), in_chunks: false, ignores_seq: false }
    }

    /// Takes any sequence number: inside compressed packets those count.
    pub fn ignore_seq(&mut self) {
        self.ignores_seq = true;
    }

    /// Changes the limit, in bytes: small before the login, `max_allowed_packet` after it.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Sets the sequence number that is due next: 0 for each new command.
    pub fn expect_seq(&mut self, seq: u8) {
        self.next_seq = seq;
    }

    /// The sequence number that is due next, which is the number of the answer's first packet.
    #[must_use]
    pub fn next_seq(&self) -> u8 {
        self.next_seq
    }

    /// Takes one logical packet off the front of `input`; `None` while bytes are missing.
    ///
    /// # Errors
    /// [`ProtocolError::TooLarge`] as soon as a header announces more than the limit, and
    /// [`ProtocolError::OutOfOrder`]. The stream cannot be used after either.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Packet>, ProtocolError> {
        loop {
            let Some(header) = Header::parse(input) else { return Ok(None) };
            if header.seq != self.next_seq && !self.ignores_seq {
                return Err(ProtocolError::OutOfOrder { expected: self.next_seq, found: header.seq });
            }
            if self.joined.len() + header.length > self.limit {
                return Err(ProtocolError::TooLarge { limit: self.limit });
            }
            if input.len() < HEADER_LEN + header.length {
                return Ok(None);
            }
            self.next_seq = header.seq.wrapping_add(1);
            input.advance(HEADER_LEN);
            let chunk = input.split_to(header.length);
            if !self.in_chunks && !header.continues() {
                return Ok(Some(Packet { seq: header.seq, payload: chunk.freeze() }));
            }
            self.joined.extend_from_slice(&chunk);
            self.in_chunks = header.continues();
            if !self.in_chunks {
                let payload = std::mem::take(&mut self.joined).freeze();
                return Ok(Some(Packet { seq: header.seq, payload }));
            }
        }
    }
}

// === impl PacketWriter ===

impl PacketWriter {
    /// A writer whose first packet carries `seq`.
    #[must_use]
    pub fn new(seq: u8) -> Self {
        Self { next_seq: seq }
    }

    /// The sequence number of the next packet.
    #[must_use]
    pub fn next_seq(&self) -> u8 {
        self.next_seq
    }

    /// Sets the sequence number of the next packet.
    pub fn set_next_seq(&mut self, seq: u8) {
        self.next_seq = seq;
    }

    /// Appends `payload` as one logical packet.
    pub fn write(&mut self, out: &mut BytesMut, payload: &[u8]) {
        let mut rest = payload;
        loop {
            let (chunk, tail) = rest.split_at(Ord::min(rest.len(), MAX_CHUNK));
            out.reserve(HEADER_LEN + chunk.len());
            out.put_slice(&self.header(chunk.len()));
            out.put_slice(chunk);
            if chunk.len() < MAX_CHUNK {
                return;
            }
            rest = tail;
        }
    }

    /// Appends one logical packet whose payload `encode` appends to the buffer that it is given. It
    /// must only append.
    pub fn write_with(&mut self, out: &mut BytesMut, encode: impl FnOnce(&mut BytesMut)) {
        let start = out.len();
        out.put_slice(&[0; HEADER_LEN]);
        encode(out);
        let length = out.len() - start - HEADER_LEN;
        if length < MAX_CHUNK {
            let header = self.header(length);
            out[start..start + HEADER_LEN].copy_from_slice(&header);
        } else {
            let encoded = out.split_off(start);
            self.write(out, &encoded[HEADER_LEN..]);
        }
    }

    /// Appends a run of whole, already framed packets and gives them this writer's numbers.
    ///
    /// # Errors
    /// [`ProtocolError::Truncated`] where the run does not end at the end of a packet; nothing is
    /// appended then.
    pub fn write_run(&mut self, out: &mut BytesMut, run: &[u8]) -> Result<(), ProtocolError> {
        let start = out.len();
        out.extend_from_slice(run);
        let mut seq = self.next_seq;
        if let Err(error) = renumber(&mut out[start..], &mut seq) {
            out.truncate(start);
            return Err(error);
        }
        self.next_seq = seq;
        Ok(())
    }

    /// Appends one piece of a packet that is too large to be held whole. `starts_packet` says that
    /// the piece begins with a packet's header, which gets this writer's number.
    pub fn write_piece(&mut self, out: &mut BytesMut, piece: &[u8], starts_packet: bool) {
        let start = out.len();
        out.extend_from_slice(piece);
        if starts_packet && piece.len() >= HEADER_LEN {
            out[start + 3] = self.next_seq;
            self.next_seq = self.next_seq.wrapping_add(1);
        }
    }

    fn header(&mut self, length: usize) -> [u8; HEADER_LEN] {
        let header = Header { length, seq: self.next_seq };
        self.next_seq = self.next_seq.wrapping_add(1);
        header.to_bytes()
    }
}

/// Gives the packets of a run of whole packets the numbers from `seq` on, in place; `seq` is the next
/// free number afterwards.
///
/// # Errors
/// [`ProtocolError::Truncated`] where the run does not end at the end of a packet.
pub fn renumber(run: &mut [u8], seq: &mut u8) -> Result<(), ProtocolError> {
    let mut at = 0;
    while at < run.len() {
        let header = Header::parse(&run[at..]).ok_or(ProtocolError::Truncated("run of packets"))?;
        run[at + 3] = *seq;
        *seq = seq.wrapping_add(1);
        at += HEADER_LEN + header.length;
    }
    if at == run.len() { Ok(()) } else { Err(ProtocolError::Truncated("run of packets")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode_all(bytes: &[u8], step: usize) -> Vec<Packet> {
        let mut decoder = PacketDecoder::new(usize::MAX);
        let mut input = BytesMut::new();
        let mut packets = Vec::new();
        for part in bytes.chunks(step) {
            input.extend_from_slice(part);
            while let Some(packet) = decoder.decode(&mut input).unwrap() {
                packets.push(packet);
            }
        }
        assert!(input.is_empty());
        packets
    }

    #[test]
    fn a_ping_is_five_bytes() {
        let mut out = BytesMut::new();
        PacketWriter::default().write(&mut out, &[0x0e]);
        assert_eq!(&out[..], &[1, 0, 0, 0, 0x0e]);
    }

    #[test]
    fn payloads_around_the_chunk_limit_split_and_join() {
        for (length, chunks) in [
            (MAX_CHUNK - 1, vec![MAX_CHUNK - 1]),
            (MAX_CHUNK, vec![MAX_CHUNK, 0]),
            (MAX_CHUNK + 1, vec![MAX_CHUNK, 1]),
            (2 * MAX_CHUNK, vec![MAX_CHUNK, MAX_CHUNK, 0]),
        ] {
            let payload: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
            let mut out = BytesMut::new();
            let mut writer = PacketWriter::default();
            writer.write(&mut out, &payload);
            let mut in_place = BytesMut::new();
            PacketWriter::default().write_with(&mut in_place, |out| out.put_slice(&payload));
            assert!(out == in_place);
            assert_eq!(usize::from(writer.next_seq()), chunks.len());
            let mut at = 0;
            for (seq, chunk) in chunks.iter().enumerate() {
                let header = Header::parse(&out[at..]).unwrap();
                assert_eq!((header.length, usize::from(header.seq)), (*chunk, seq));
                at += HEADER_LEN + chunk;
            }
            assert_eq!(at, out.len());
            let packets = decode_all(&out, 1 << 20);
            assert_eq!(packets.len(), 1);
            assert!(packets[0].payload == payload);
        }
    }

    #[test]
    fn the_limit_holds_before_the_bytes_arrive() {
        let mut decoder = PacketDecoder::new(10);
        let mut input = BytesMut::from(&[11, 0, 0, 0][..]);
        assert_eq!(decoder.decode(&mut input), Err(ProtocolError::TooLarge { limit: 10 }));
        let mut decoder = PacketDecoder::new(10);
        let mut input = BytesMut::from(&[10, 0, 0, 0][..]);
        assert_eq!(decoder.decode(&mut input), Ok(None));
    }

    #[test]
    fn a_wrong_number_is_out_of_order() {
        let mut decoder = PacketDecoder::new(10);
        let mut input = BytesMut::from(&[0, 0, 0, 0, 0, 0, 0, 5][..]);
        assert!(matches!(decoder.decode(&mut input), Ok(Some(Packet { seq: 0, .. }))));
        assert_eq!(decoder.decode(&mut input), Err(ProtocolError::OutOfOrder { expected: 1, found: 5 }));
    }

    #[test]
    fn cut_runs_are_refused() {
        let mut out = BytesMut::from(&b"kept"[..]);
        let mut writer = PacketWriter::new(3);
        assert!(writer.write_run(&mut out, &[1, 0, 0, 9, 7, 1, 0]).is_err());
        assert!(writer.write_run(&mut out, &[5, 0, 0, 9, 7]).is_err());
        assert_eq!((&out[..], writer.next_seq()), (&b"kept"[..], 3));
        writer.write_run(&mut out, &[1, 0, 0, 9, 7, 0, 0, 0, 8]).unwrap();
        assert_eq!((&out[4..], writer.next_seq()), (&[1, 0, 0, 3, 7, 0, 0, 0, 4][..], 5));
    }

    proptest! {
        #[test]
        fn packets_come_back_from_any_cut(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..300),
            step in 1_usize..600,
        ) {
            let mut out = BytesMut::new();
            let mut writer = PacketWriter::default();
            for payload in &payloads {
                writer.write(&mut out, payload);
            }
            let packets = decode_all(&out, step);
            prop_assert_eq!(packets.len(), payloads.len());
            for (packet, payload) in packets.iter().zip(&payloads) {
                prop_assert_eq!(&packet.payload[..], &payload[..]);
            }
            let mut seq = 200;
            renumber(&mut out, &mut seq).unwrap();
            prop_assert_eq!(usize::from(seq), (200 + payloads.len()) % 256);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut decoder = PacketDecoder::new(50);
            let mut input = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = decoder.decode(&mut input) {}
            let _ = renumber(&mut bytes.clone(), &mut 0);
        }
    }
}
