//! What do OK, EOF and ERR packets say, and where do rows end?
//!
//! Layouts: `page_protocol_basic_ok_packet.html`, `…_eof_packet.html`, `…_err_packet.html`. The end
//! of rows is decided in [`ends_rows`] and nowhere else.

use bytes::{BufMut, BytesMut};

use super::ProtocolError;
use super::capability::{Capabilities, Status};
use super::packet::MAX_CHUNK;
use super::wire::{Input, put_lenenc_bytes, put_lenenc_int};
use crate::error::{SqlError, SqlState};

/// First byte of an OK packet.
pub const OK: u8 = 0x00;
/// First byte of an EOF packet, and of an OK packet that ends rows.
pub const EOF: u8 = 0xfe;
/// First byte of an ERR packet. No row and no definition can begin with it.
pub const ERR: u8 = 0xff;
/// First byte of a request for a local file.
pub const LOCAL_INFILE: u8 = 0xfb;

/// An OK packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OkPacket<'a> {
    /// Rows that were inserted, deleted, or changed (matched with FOUND_ROWS).
    pub affected_rows: u64,
    /// The first generated id of the statement, or 0.
    pub last_insert_id: u64,
    /// The server's status.
    pub status: Status,
    /// Number of warnings, saturated at 65535.
    pub warnings: u16,
    /// `Rows matched: 1  Changed: 1  Warnings: 0` and the like.
    pub info: &'a [u8],
    /// The session-track entries, without their total length; see [`SessionChanges`].
    pub session_state: &'a [u8],
}

/// An EOF packet of the classic protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EofPacket {
    /// Number of warnings.
    pub warnings: u16,
    /// The server's status.
    pub status: Status,
}

/// An ERR packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrPacket<'a> {
    /// MySQL's error number.
    pub code: u16,
    /// The SQLSTATE; errors before the greeting have none.
    pub state: Option<SqlState>,
    /// The text.
    pub message: &'a [u8],
}

/// What an OK packet is used for: its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OkHeader {
    /// The answer to a statement without rows: `00`.
    Ok,
    /// The end of rows with DEPRECATE_EOF: `fe`.
    Rows,
}

/// One entry of a session-track block (`page_protocol_basic_ok_packet.html`, session state).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionChange<'a> {
    /// A system variable has a new value.
    Variable {
        /// Its name.
        name: &'a [u8],
        /// Its value as text.
        value: &'a [u8],
    },
    /// The current schema.
    Schema(&'a [u8]),
    /// Some session state changed that is not listed.
    State(bool),
    /// Transactions of this session, by GTID.
    Gtids(&'a [u8]),
    /// The statements that would restart the transaction.
    TransactionCharacteristics(&'a [u8]),
    /// Eight letters such as `T_R_W_S_`.
    TransactionState(&'a [u8]),
    /// A type that is not known here; servers may add some.
    Unknown(u8),
}

/// Iterates over the entries of [`OkPacket::session_state`]; ends after the first malformed entry.
#[derive(Debug, Clone)]
pub struct SessionChanges<'a>(Input<'a>);

/// Builds the entries of a session-track block.
#[derive(Debug, Clone, Default)]
pub struct SessionChangesBuilder(BytesMut);

/// Whether a packet among rows ends them: the OK or EOF packet that follows the last row.
///
/// A row whose first column has 16 MiB or more begins with `fe` too, so the length counts: an OK or
/// EOF packet is shorter than a full chunk (below 9 bytes in the classic protocol). `length` is the
/// length in the packet's own header.
#[must_use]
pub fn ends_rows(capabilities: Capabilities, first: u8, length: usize) -> bool {
    let limit = if capabilities.contains(Capabilities::DEPRECATE_EOF) { MAX_CHUNK } else { 9 };
    first == EOF && length < limit
}

// === impl OkPacket ===

impl<'a> OkPacket<'a> {
    /// Reads an OK packet of either header.
    pub fn decode(payload: &'a [u8], capabilities: Capabilities) -> Result<Self, ProtocolError> {
        let mut input = Input::new(payload, "OK packet");
        if !matches!(input.u8()?, OK | EOF) {
            return Err(input.malformed());
        }
        let mut packet = Self {
            affected_rows: input.lenenc_int()?,
            last_insert_id: input.lenenc_int()?,
            status: Status(input.u16()?),
            warnings: input.u16()?,
            ..Self::default()
        };
        // The protocol page says that without SESSION_TRACK the text runs to the packet's end. MySQL 9.7
        // and MariaDB 10.11 put a length before it in both cases, and omit it where there is nothing to
        // say at all.
        if !input.is_empty() {
            packet.info = input.lenenc_bytes()?;
        }
        if !capabilities.contains(Capabilities::SESSION_TRACK) {
            return Ok(packet);
        }
        if packet.status.contains(Status::SESSION_STATE_CHANGED) && !input.is_empty() {
            packet.session_state = input.lenenc_bytes()?;
        }
        Ok(packet)
    }

    /// Appends the payload. `SESSION_STATE_CHANGED` is set exactly if a block is written.
    pub fn encode(&self, out: &mut BytesMut, header: OkHeader, capabilities: Capabilities) {
        let tracks = capabilities.contains(Capabilities::SESSION_TRACK);
        let has_block = tracks && !self.session_state.is_empty();
        let mut status = self.status.without(Status::SESSION_STATE_CHANGED);
        if has_block {
            status = status | Status::SESSION_STATE_CHANGED;
        }
        out.put_u8(match header {
            OkHeader::Ok => OK,
            OkHeader::Rows => EOF,
        });
        put_lenenc_int(out, self.affected_rows);
        put_lenenc_int(out, self.last_insert_id);
        out.put_u16_le(status.0);
        out.put_u16_le(self.warnings);
        // With a length, whatever SESSION_TRACK says: see decode.
        if has_block || !self.info.is_empty() {
            put_lenenc_bytes(out, self.info);
        }
        if has_block {
            put_lenenc_bytes(out, self.session_state);
        }
    }

    /// The entries of its session-track block.
    #[must_use]
    pub fn session_changes(&self) -> SessionChanges<'a> {
        SessionChanges(Input::new(self.session_state, "session state"))
    }
}

// === impl EofPacket ===

impl EofPacket {
    /// Reads an EOF packet.
    pub fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let mut input = Input::new(payload, "EOF packet");
        if input.u8()? != EOF {
            return Err(input.malformed());
        }
        Ok(Self { warnings: input.u16()?, status: Status(input.u16()?) })
    }

    /// Appends the payload: five bytes.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u8(EOF);
        out.put_u16_le(self.warnings);
        out.put_u16_le(self.status.0);
    }
}

// === impl ErrPacket ===

impl<'a> ErrPacket<'a> {
    /// Reads an ERR packet, with or without SQLSTATE: errors before the greeting come without.
    pub fn decode(payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut input = Input::new(payload, "ERR packet");
        if input.u8()? != ERR {
            return Err(input.malformed());
        }
        let code = input.u16()?;
        let state = match input.remaining() {
            [b'#', state @ ..] if state.len() >= 5 => {
                input.u8()?;
                Some(SqlState(input.array()?))
            }
            _ => None,
        };
        Ok(Self { code, state, message: input.take_rest() })
    }

    /// Appends the payload; without a state, in the form from before the greeting.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u8(ERR);
        out.put_u16_le(self.code);
        if let Some(state) = self.state {
            out.put_u8(b'#');
            out.put_slice(&state.0);
        }
        out.put_slice(self.message);
    }

    /// As the error that passes to the client untouched.
    #[must_use]
    pub fn to_error(&self) -> SqlError {
        SqlError::from_server(
            self.code,
            self.state.unwrap_or(SqlState::GENERAL),
            String::from_utf8_lossy(self.message).into_owned(),
        )
    }
}

/// Appends `error` as the payload of an ERR packet.
pub fn encode_error(error: &SqlError, out: &mut BytesMut) {
    let text = error.client_text();
    ErrPacket { code: error.code(), state: Some(error.state()), message: text.as_bytes() }.encode(out);
}

/// Appends `error` in the form of errors before the greeting, which have no SQLSTATE.
pub fn encode_error_before_greeting(error: &SqlError, out: &mut BytesMut) {
    let text = error.client_text();
    ErrPacket { code: error.code(), state: None, message: text.as_bytes() }.encode(out);
}

// === impl SessionChanges ===

impl<'a> SessionChanges<'a> {
    fn entry(&mut self) -> Result<SessionChange<'a>, ProtocolError> {
        let kind = self.0.u8()?;
        let mut data = Input::new(self.0.lenenc_bytes()?, "session state entry");
        Ok(match kind {
            0 => SessionChange::Variable { name: data.lenenc_bytes()?, value: data.lenenc_bytes()? },
            1 => SessionChange::Schema(data.lenenc_bytes()?),
            2 => SessionChange::State(data.lenenc_bytes()? == b"1"),
            3 => {
                // One byte of encoding specification, which is always 0.
                data.u8()?;
                SessionChange::Gtids(data.lenenc_bytes()?)
            }
            4 => SessionChange::TransactionCharacteristics(data.lenenc_bytes()?),
            5 => SessionChange::TransactionState(data.lenenc_bytes()?),
            other => SessionChange::Unknown(other),
        })
    }
}

impl<'a> Iterator for SessionChanges<'a> {
    type Item = Result<SessionChange<'a>, ProtocolError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_err() {
            let _ = self.0.take_rest();
        }
        Some(entry)
    }
}

// === impl SessionChangesBuilder ===

impl SessionChangesBuilder {
    /// Adds a new current schema.
    #[must_use]
    pub fn schema(self, name: &[u8]) -> Self {
        self.entry(1, |data| put_lenenc_bytes(data, name))
    }

    /// Adds a system variable's new value.
    #[must_use]
    pub fn variable(self, name: &[u8], value: &[u8]) -> Self {
        self.entry(0, |data| {
            put_lenenc_bytes(data, name);
            put_lenenc_bytes(data, value);
        })
    }

    /// Adds "something else changed".
    #[must_use]
    pub fn state(self) -> Self {
        self.entry(2, |data| put_lenenc_bytes(data, b"1"))
    }

    /// The entries, for [`OkPacket::session_state`].
    #[must_use]
    pub fn build(&self) -> &[u8] {
        &self.0
    }

    fn entry(mut self, kind: u8, fill: impl FnOnce(&mut BytesMut)) -> Self {
        let mut data = BytesMut::new();
        fill(&mut data);
        self.0.put_u8(kind);
        put_lenenc_bytes(&mut self.0, &data);
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACK: Capabilities = Capabilities(
        Capabilities::SESSION_TRACK.0 | Capabilities::DEPRECATE_EOF.0 | Capabilities::PROTOCOL_41.0,
    );

    fn encoded(packet: &OkPacket<'_>, header: OkHeader, capabilities: Capabilities) -> Vec<u8> {
        let mut out = BytesMut::new();
        packet.encode(&mut out, header, capabilities);
        out.to_vec()
    }

    /// As MySQL 9.7.4 and MariaDB 10.11.19 answered an UPDATE to a client without SESSION_TRACK.
    #[test]
    fn the_info_text_has_a_length_without_session_track_too() {
        let wire = b"\x00\x0a\x00\x22\x00\x00\x00*Rows matched: 10  Changed: 10  Warnings: 0";
        let packet = OkPacket::decode(wire, Capabilities::PROTOCOL_41).unwrap();
        assert_eq!(packet.affected_rows, 10);
        assert_eq!(packet.info, b"Rows matched: 10  Changed: 10  Warnings: 0");
        let mut out = BytesMut::new();
        packet.encode(&mut out, OkHeader::Ok, Capabilities::PROTOCOL_41);
        assert_eq!(&out[..], wire);
    }

    #[test]
    fn the_shortest_ok_has_seven_bytes() {
        // What MySQL 8.4 and MariaDB 10.11 send to COM_PING and COM_RESET_CONNECTION.
        let bytes = [0, 0, 0, 2, 0, 0, 0];
        let packet = OkPacket { status: Status::AUTOCOMMIT, ..OkPacket::default() };
        for capabilities in [TRACK, Capabilities::PROTOCOL_41] {
            assert_eq!(OkPacket::decode(&bytes, capabilities), Ok(packet));
            assert_eq!(encoded(&packet, OkHeader::Ok, capabilities), bytes);
        }
        // The info string may also be there, empty.
        assert_eq!(OkPacket::decode(&[0, 0, 0, 2, 0, 0, 0, 0], TRACK), Ok(packet));
    }

    #[test]
    fn use_reports_the_schema() {
        // The documentation's example: USE test with session tracking.
        let bytes = [0, 0, 0, 2, 0x40, 0, 0, 0, 7, 1, 5, 4, b't', b'e', b's', b't'];
        let packet = OkPacket::decode(&bytes, TRACK).unwrap();
        let changes: Vec<_> = packet.session_changes().map(Result::unwrap).collect();
        assert_eq!(changes, [SessionChange::Schema(b"test")]);
        let built = SessionChangesBuilder::default().schema(b"test");
        let again = OkPacket { status: Status(2), session_state: built.build(), ..OkPacket::default() };
        assert_eq!(encoded(&again, OkHeader::Ok, TRACK), bytes);
    }

    #[test]
    fn autocommit_and_state_are_read() {
        // SET autocommit = OFF, from the documentation of SESSION_TRACK_SYSTEM_VARIABLES.
        let block = b"\x00\x0f\x0aautocommit\x03OFF\x02\x02\x011\x05\x09\x08T_______\x2a\x03abc";
        let packet = OkPacket { session_state: block, ..OkPacket::default() };
        let changes: Vec<_> = packet.session_changes().map(Result::unwrap).collect();
        assert_eq!(
            changes,
            [
                SessionChange::Variable { name: b"autocommit", value: b"OFF" },
                SessionChange::State(true),
                SessionChange::TransactionState(b"T_______"),
                SessionChange::Unknown(42),
            ]
        );
        let built = SessionChangesBuilder::default().variable(b"autocommit", b"OFF").state();
        assert_eq!(built.build(), &block[..21]);
    }

    #[test]
    fn errors_with_and_without_state() {
        let bytes = b"\xff\x48\x04#HY000No tables used";
        let packet = ErrPacket::decode(bytes).unwrap();
        assert_eq!(packet.code, 1096);
        assert_eq!(packet.state, Some(SqlState::GENERAL));
        let mut out = BytesMut::new();
        encode_error(&packet.to_error(), &mut out);
        assert_eq!(&out[..], bytes);

        let early = ErrPacket::decode(b"\xff\x10\x04Too many connections").unwrap();
        assert_eq!((early.code, early.state, early.message), (1040, None, &b"Too many connections"[..]));
        let mut out = BytesMut::new();
        encode_error_before_greeting(&SqlError::too_many_connections(), &mut out);
        assert_eq!(&out[..], b"\xff\x10\x04Too many connections");
    }

    #[test]
    fn rows_end_where_they_end() {
        let classic = Capabilities::PROTOCOL_41;
        assert!(ends_rows(TRACK, 0xfe, 7));
        assert!(ends_rows(TRACK, 0xfe, MAX_CHUNK - 1));
        assert!(!ends_rows(TRACK, 0xfe, MAX_CHUNK));
        assert!(!ends_rows(TRACK, 0x00, 7));
        assert!(ends_rows(classic, 0xfe, 5));
        assert!(!ends_rows(classic, 0xfe, 9));
    }

    #[test]
    fn the_eof_packet() {
        // page_protocol_basic_eof_packet.html: no warnings, autocommit.
        let packet = EofPacket { warnings: 0, status: Status::AUTOCOMMIT };
        let mut out = BytesMut::new();
        packet.encode(&mut out);
        assert_eq!(&out[..], &[0xfe, 0, 0, 2, 0]);
        assert_eq!(EofPacket::decode(&out), Ok(packet));
        assert!(EofPacket::decode(&[0xfe, 0, 0, 2]).is_err());
    }

    proptest! {
        #[test]
        fn ok_comes_back(
            affected_rows: u64, last_insert_id: u64, warnings: u16, status in any::<u16>(),
            info in "[a-zA-Z :0-9]{0,300}", schema in "[a-z]{1,20}", with_block: bool, rows: bool,
        ) {
            let block = SessionChangesBuilder::default().schema(schema.as_bytes());
            let status = Status(status).without(Status::SESSION_STATE_CHANGED);
            let packet = OkPacket {
                affected_rows, last_insert_id, warnings,
                status: if with_block { status | Status::SESSION_STATE_CHANGED } else { status },
                info: info.as_bytes(),
                session_state: if with_block { block.build() } else { &[] },
            };
            let header = if rows { OkHeader::Rows } else { OkHeader::Ok };
            let bytes = encoded(&packet, header, TRACK);
            prop_assert_eq!(OkPacket::decode(&bytes, TRACK), Ok(packet));
            let plain = encoded(&packet, header, Capabilities::PROTOCOL_41);
            let read = OkPacket::decode(&plain, Capabilities::PROTOCOL_41).unwrap();
            prop_assert_eq!((read.info, read.status), (info.as_bytes(), status));
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            for head in [OK, EOF] {
                let mut bytes = bytes.clone();
                bytes.insert(0, head);
                if let Ok(packet) = OkPacket::decode(&bytes, TRACK) {
                    packet.session_changes().for_each(drop);
                }
            }
            let packet = OkPacket { session_state: &bytes, ..OkPacket::default() };
            packet.session_changes().for_each(drop);
            let _ = EofPacket::decode(&bytes);
            let _ = ErrPacket::decode(&bytes);
        }
    }
}
