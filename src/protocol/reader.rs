//! Where does one response begin, what comes next, and where does it end?
//!
//! Hot path: one call and one comparison per row packet.
//!
//! ```text
//!  Head ── OK ─────────────────────────────► Done, or Head where MORE_RESULTS
//!   │├──── ERR ────────────────────────────► Done
//!   │└──── fb: LocalInfile ── file sent ───► Head
//!   └ count n ► Columns(n) ► [EOF] ► Rows ─► OK/EOF: Done, or Head where MORE_RESULTS
//!  Prepare ── ok ► parameter definitions ► [EOF] ► column definitions ► [EOF] ► Done
//! ```
//!
//! ERR is accepted at every point: MySQL sends it after definitions and after rows when a query is
//! killed or times out (codes 1317, 3024, 1205, …), and the connection stays usable.

use super::ProtocolError;
use super::capability::{Capabilities, Status};
use super::packet::Header;
use super::response::{self, EofPacket, ErrPacket, OkPacket};
use super::statement::PrepareOk;
use super::wire::Input;

/// Which kind of answer a command has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseKind {
    /// OK, ERR, or result sets: COM_QUERY, COM_STMT_EXECUTE, and every command that answers OK.
    Results,
    /// COM_STMT_PREPARE.
    Prepare,
    /// COM_STMT_FETCH: rows without a head.
    Fetch,
    /// COM_FIELD_LIST: definitions without a head.
    FieldList,
}

/// Follows one response, packet by packet.
///
/// For each packet header call [`ResponseReader::classify`]; for a [`Part::Row`] that is all, for a
/// [`Part::Whole`] call [`ResponseReader::packet`] once the payload is complete.
#[derive(Debug, Clone)]
pub struct ResponseReader {
    capabilities: Capabilities,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    /// Definitions are due, then rows.
    Columns {
        left: u64,
    },
    /// The classic protocol's EOF after the definitions.
    ColumnsEof,
    Rows {
        out_params: bool,
    },
    /// A row of 16 MiB or more goes on in the next packet.
    RowContinues {
        out_params: bool,
    },
    LocalInfile,
    PrepareHead,
    /// `columns` are due after these parameter definitions.
    Parameters {
        left: u16,
        columns: u16,
    },
    ParametersEof {
        columns: u16,
    },
    PreparedColumns {
        left: u16,
    },
    PreparedColumnsEof,
    Fields,
    Done,
}

/// How to treat a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A row, or the continuation of one: opaque, may be passed on in pieces.
    Row {
        /// The row is complete with this packet.
        ends_row: bool,
    },
    /// A packet that must be complete before [`ResponseReader::packet`] can read it.
    Whole,
}

/// What a whole packet said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A statement without rows is done.
    Ok(OkPacket<'a>),
    /// The response ends with an error.
    Error(ErrPacket<'a>),
    /// A result set begins, with so many columns.
    Columns(u64),
    /// A column or parameter definition; the packet's payload.
    Definition,
    /// The classic protocol's EOF after definitions. Nothing to do.
    DefinitionsEnd,
    /// The rows of a result set are complete.
    RowsEnd(OkPacket<'a>),
    /// A statement is prepared; its definitions follow.
    Prepared(PrepareOk),
    /// The server asks for this local file; call [`ResponseReader::local_infile_sent`] afterwards.
    LocalInfile(&'a [u8]),
}

// === impl ResponseReader ===

impl ResponseReader {
    /// A reader at the start of a response.
    #[must_use]
    pub fn new(kind: ResponseKind, capabilities: Capabilities) -> Self {
        let state = match kind {
            ResponseKind::Results => State::Head,
            ResponseKind::Prepare => State::PrepareHead,
            ResponseKind::Fetch => State::Rows { out_params: false },
            ResponseKind::FieldList => State::Fields,
        };
        Self { capabilities, state }
    }

    /// Whether the response is complete.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether rows, or their end, are due now.
    #[must_use]
    pub fn in_rows(&self) -> bool {
        matches!(self.state, State::Rows { .. } | State::RowContinues { .. })
    }

    /// Whether the server waits for a local file.
    #[must_use]
    pub fn waits_for_file(&self) -> bool {
        self.state == State::LocalInfile
    }

    /// How many definitions are due before the current list of them is complete.
    #[must_use]
    pub fn definitions_left(&self) -> u64 {
        match self.state {
            State::Columns { left } => left,
            State::Parameters { left, .. } | State::PreparedColumns { left } => u64::from(left),
            _ => 0,
        }
    }

    /// Looks at the next packet's header and its payload's first byte (`None` for an empty payload).
    #[inline]
    pub fn classify(&mut self, header: Header, first: Option<u8>) -> Part {
        let out_params = match self.state {
            State::Rows { out_params } => {
                let Some(first) = first else { return Part::Whole };
                if first == response::ERR || response::ends_rows(self.capabilities, first, header.length) {
                    return Part::Whole;
                }
                out_params
            }
            State::RowContinues { out_params } => out_params,
            _ => return Part::Whole,
        };
        self.state =
            if header.continues() { State::RowContinues { out_params } } else { State::Rows { out_params } };
        Part::Row { ends_row: !header.continues() }
    }

    /// Reads a whole packet that is not a row.
    ///
    /// # Errors
    /// The response cannot be followed any further after one.
    pub fn packet<'a>(&mut self, payload: &'a [u8]) -> Result<Event<'a>, ProtocolError> {
        let first = *payload.first().ok_or(ProtocolError::Truncated("response"))?;
        if first == response::ERR && self.state != State::Done {
            let error = ErrPacket::decode(payload)?;
            self.state = State::Done;
            return Ok(Event::Error(error));
        }
        match self.state {
            State::Head => self.head(first, payload),
            State::PrepareHead => {
                let prepared = PrepareOk::decode(payload)?;
                self.after_prepare_head(prepared);
                Ok(Event::Prepared(prepared))
            }
            State::Columns { .. } | State::Parameters { .. } | State::PreparedColumns { .. } => {
                self.after_definition();
                Ok(Event::Definition)
            }
            State::ColumnsEof => {
                let eof = EofPacket::decode(payload)?;
                // MySQL tells OUT parameters in this EOF only, and an OK follows the rows although
                // their own EOF does not announce it.
                self.state = State::Rows { out_params: eof.status.contains(Status::PS_OUT_PARAMS) };
                Ok(Event::DefinitionsEnd)
            }
            State::ParametersEof { columns } => {
                EofPacket::decode(payload)?;
                self.state = prepared_columns(columns);
                Ok(Event::DefinitionsEnd)
            }
            State::PreparedColumnsEof => {
                EofPacket::decode(payload)?;
                self.state = State::Done;
                Ok(Event::DefinitionsEnd)
            }
            State::Fields if first != response::EOF => Ok(Event::Definition),
            State::Fields | State::Rows { .. } => self.rows_end(payload),
            State::RowContinues { .. } | State::LocalInfile | State::Done => {
                Err(ProtocolError::Malformed("response"))
            }
        }
    }

    /// The client's part of LOAD DATA LOCAL is over; the server's verdict comes next.
    pub fn local_infile_sent(&mut self) {
        if self.state == State::LocalInfile {
            self.state = State::Head;
        }
    }

    fn deprecates_eof(&self) -> bool {
        self.capabilities.contains(Capabilities::DEPRECATE_EOF)
    }

    fn head<'a>(&mut self, first: u8, payload: &'a [u8]) -> Result<Event<'a>, ProtocolError> {
        match first {
            response::OK => {
                let packet = OkPacket::decode(payload, self.capabilities)?;
                self.after_result(packet.status);
                Ok(Event::Ok(packet))
            }
            response::LOCAL_INFILE => {
                self.state = State::LocalInfile;
                Ok(Event::LocalInfile(&payload[1..]))
            }
            _ => {
                let mut input = Input::new(payload, "column count");
                let count = input.lenenc_int()?;
                // MySQL allows 4096 columns; the count has two bytes in a prepared statement.
                if count == 0 || count > u64::from(u16::MAX) || !input.is_empty() {
                    return Err(input.malformed());
                }
                self.state = State::Columns { left: count };
                Ok(Event::Columns(count))
            }
        }
    }

    fn rows_end<'a>(&mut self, payload: &'a [u8]) -> Result<Event<'a>, ProtocolError> {
        let out_params = self.state == State::Rows { out_params: true };
        let packet = if self.deprecates_eof() {
            if payload.first() != Some(&response::EOF) {
                return Err(ProtocolError::Malformed("end of rows"));
            }
            OkPacket::decode(payload, self.capabilities)?
        } else {
            let eof = EofPacket::decode(payload)?;
            OkPacket { status: eof.status, warnings: eof.warnings, ..OkPacket::default() }
        };
        self.after_result(if out_params { packet.status | Status::MORE_RESULTS } else { packet.status });
        Ok(Event::RowsEnd(packet))
    }

    fn after_result(&mut self, status: Status) {
        self.state = if status.contains(Status::MORE_RESULTS) { State::Head } else { State::Done };
    }

    fn after_definition(&mut self) {
        let deprecates_eof = self.deprecates_eof();
        self.state = match self.state {
            State::Columns { left } if left > 1 => State::Columns { left: left - 1 },
            State::Columns { .. } if deprecates_eof => State::Rows { out_params: false },
            State::Columns { .. } => State::ColumnsEof,
            State::Parameters { left, columns } if left > 1 => State::Parameters { left: left - 1, columns },
            State::Parameters { columns, .. } if deprecates_eof => prepared_columns(columns),
            State::Parameters { columns, .. } => State::ParametersEof { columns },
            State::PreparedColumns { left } if left > 1 => State::PreparedColumns { left: left - 1 },
            State::PreparedColumns { .. } if deprecates_eof => State::Done,
            State::PreparedColumns { .. } => State::PreparedColumnsEof,
            other => other,
        };
    }

    fn after_prepare_head(&mut self, prepared: PrepareOk) {
        self.state = if prepared.params > 0 {
            State::Parameters { left: prepared.params, columns: prepared.columns }
        } else {
            prepared_columns(prepared.columns)
        };
    }
}

fn prepared_columns(columns: u16) -> State {
    if columns > 0 { State::PreparedColumns { left: columns } } else { State::Done }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::packet::MAX_CHUNK;
    use super::*;

    const MODERN: Capabilities = Capabilities(
        Capabilities::PROTOCOL_41.0 | Capabilities::SESSION_TRACK.0 | Capabilities::DEPRECATE_EOF.0,
    );
    const CLASSIC: Capabilities = Capabilities::PROTOCOL_41;
    const DEFINITION: &[u8] =
        b"\x03def\x00\x00\x00\x011\x00\x0c\x3f\x00\x01\x00\x00\x00\x08\x81\x00\x00\x00\x00";

    /// Plays payloads and writes what each was taken for.
    fn play(kind: ResponseKind, capabilities: Capabilities, packets: &[&[u8]]) -> String {
        let mut reader = ResponseReader::new(kind, capabilities);
        let mut seen = Vec::new();
        for payload in packets {
            let header = Header { length: payload.len(), seq: 0 };
            seen.push(match reader.classify(header, payload.first().copied()) {
                Part::Row { .. } => "row".to_owned(),
                Part::Whole => match reader.packet(payload) {
                    Ok(Event::Ok(_)) => "ok".to_owned(),
                    Ok(Event::Error(error)) => format!("err {}", error.code),
                    Ok(Event::Columns(count)) => format!("columns {count}"),
                    Ok(Event::Definition) => "definition".to_owned(),
                    Ok(Event::DefinitionsEnd) => "eof".to_owned(),
                    Ok(Event::RowsEnd(_)) => "end".to_owned(),
                    Ok(Event::Prepared(_)) => "prepared".to_owned(),
                    Ok(Event::LocalInfile(_)) => "file".to_owned(),
                    Err(error) => return format!("{}, {error}", seen.join(", ")),
                },
            });
        }
        if reader.is_done() {
            seen.push("done".to_owned());
        }
        seen.join(", ")
    }

    #[test]
    fn select_1_both_ways() {
        let modern: &[&[u8]] = &[b"\x01", DEFINITION, b"\x011", b"\xfe\x00\x00\x02\x00\x00\x00"];
        assert_eq!(play(ResponseKind::Results, MODERN, modern), "columns 1, definition, row, end, done");
        let classic: &[&[u8]] =
            &[b"\x01", DEFINITION, b"\xfe\x00\x00\x02\x00", b"\x011", b"\xfe\x00\x00\x02\x00"];
        assert_eq!(
            play(ResponseKind::Results, CLASSIC, classic),
            "columns 1, definition, eof, row, end, done"
        );
    }

    #[test]
    fn an_error_may_come_anywhere() {
        let error: &[u8] = b"\xff\x25\x05#70100Query execution was interrupted";
        for (packets, expected) in [
            (&[error][..], "err 1317, done"),
            (&[b"\x02", DEFINITION, error], "columns 2, definition, err 1317, done"),
            (&[b"\x01", DEFINITION, error], "columns 1, definition, err 1317, done"),
            (&[b"\x01", DEFINITION, b"\x011", error], "columns 1, definition, row, err 1317, done"),
        ] {
            assert_eq!(play(ResponseKind::Results, MODERN, packets), expected);
        }
        assert_eq!(play(ResponseKind::Prepare, MODERN, &[error]), "err 1317, done");
    }

    #[test]
    fn a_call_has_results_and_a_final_ok() {
        let packets: &[&[u8]] = &[
            b"\x01",
            DEFINITION,
            b"\x011",
            b"\xfe\x00\x00\x0a\x00\x00\x00",
            b"\x00\x00\x00\x02\x00\x00\x00",
        ];
        assert_eq!(play(ResponseKind::Results, MODERN, packets), "columns 1, definition, row, end, ok, done");
    }

    #[test]
    fn out_parameters_are_followed_by_an_ok_that_nobody_announced() {
        // Measured on MySQL with the classic protocol: 0x100A after the definitions, 0x0002 after the row.
        let packets: &[&[u8]] = &[
            b"\x01",
            DEFINITION,
            b"\xfe\x00\x00\x0a\x10",
            b"\x00\x00\x01",
            b"\xfe\x00\x00\x02\x00",
            b"\x00\x00\x00\x02\x00\x00\x00",
        ];
        assert_eq!(
            play(ResponseKind::Results, CLASSIC, packets),
            "columns 1, definition, eof, row, end, ok, done"
        );
    }

    #[test]
    fn a_cursor_has_definitions_and_no_rows() {
        let packets: &[&[u8]] = &[b"\x01", DEFINITION, b"\xfe\x00\x00\x42\x00\x00\x00"];
        assert_eq!(play(ResponseKind::Results, MODERN, packets), "columns 1, definition, end, done");
        let fetch: &[&[u8]] = &[b"\x00\x00\x01", b"\xfe\x00\x00\x82\x00\x00\x00"];
        assert_eq!(play(ResponseKind::Fetch, MODERN, fetch), "row, end, done");
    }

    #[test]
    fn prepare_answers() {
        let head: &[u8] = b"\x00\x01\x00\x00\x00\x01\x00\x02\x00\x00\x00\x00";
        let modern: &[&[u8]] = &[head, DEFINITION, DEFINITION, DEFINITION];
        assert_eq!(
            play(ResponseKind::Prepare, MODERN, modern),
            "prepared, definition, definition, definition, done"
        );
        let eof: &[u8] = b"\xfe\x00\x00\x02\x00";
        let classic: &[&[u8]] = &[head, DEFINITION, DEFINITION, eof, DEFINITION, eof];
        assert_eq!(
            play(ResponseKind::Prepare, CLASSIC, classic),
            "prepared, definition, definition, eof, definition, eof, done"
        );
        let nothing: &[u8] = b"\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
        assert_eq!(play(ResponseKind::Prepare, CLASSIC, &[nothing]), "prepared, done");
    }

    #[test]
    fn a_row_of_16_mib_begins_like_an_end() {
        let mut reader = ResponseReader::new(ResponseKind::Fetch, MODERN);
        let chunk = Header { length: MAX_CHUNK, seq: 1 };
        assert_eq!(reader.classify(chunk, Some(0xfe)), Part::Row { ends_row: false });
        // The continuation may begin with any byte, or be empty.
        assert_eq!(reader.classify(chunk, Some(0xff)), Part::Row { ends_row: false });
        let last = Header { length: 0, seq: 3 };
        assert_eq!(reader.classify(last, None), Part::Row { ends_row: true });
        assert_eq!(reader.classify(Header { length: 7, seq: 4 }, Some(0xfe)), Part::Whole);
    }

    #[test]
    fn local_infile_waits_for_the_file() {
        let mut reader = ResponseReader::new(ResponseKind::Results, MODERN);
        assert_eq!(reader.packet(b"\xfb/tmp/x"), Ok(Event::LocalInfile(b"/tmp/x")));
        assert!(reader.waits_for_file() && reader.packet(b"\x00\x00\x00\x02\x00\x00\x00").is_err());
        reader.local_infile_sent();
        assert!(matches!(reader.packet(b"\x00\x00\x00\x02\x00\x00\x00"), Ok(Event::Ok(_))));
        assert!(reader.is_done());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..20),
            kind in prop::sample::select(vec![
                ResponseKind::Results, ResponseKind::Prepare, ResponseKind::Fetch, ResponseKind::FieldList,
            ]),
            modern: bool,
        ) {
            let packets: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
            let _ = play(kind, if modern { MODERN } else { CLASSIC }, &packets);
        }
    }
}
