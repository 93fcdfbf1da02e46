//! How are answers followed?
//!
//! Hot path: a simple query is one write, one read, no allocation. Rows are walked header by header
//! in the receive buffer and lent out as runs of whole packets; a row that is larger than the buffer
//! is lent out in pieces, so that memory stays bounded by [`STREAM_SIZE`].

use std::io;
use std::ops::Range;
use std::time::Instant;

use super::branch::writes;
use super::connection::{Condition, Connection};
use super::error::BackendError;
use super::inbox::STREAM_SIZE;
use super::owned::Assembly;
use crate::protocol::ProtocolError;
use crate::protocol::capability::{Capabilities, Status};
use crate::protocol::packet::{HEADER_LEN, Header};
use crate::protocol::reader::{self, Part, ResponseKind, ResponseReader};
use crate::protocol::response::{self, ErrPacket, OkPacket, SessionChange};
use crate::protocol::statement::PrepareOk;

/// The longest packet that is not a row, in bytes: definitions and ends of rows.
const MAX_WHOLE: usize = 1 << 20;

/// The longest list of definitions, in bytes: 4096 columns with five names of 256 bytes each.
const MAX_DEFINITIONS: usize = 8 << 20;

/// ER_CLIENT_INTERACTION_TIMEOUT: MySQL's goodbye at its idle timeout, sent unasked.
const IDLE_GOODBYE: u16 = 4031;

/// What comes next of an answer. Slices are lent from the receive buffer until the next call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A statement without rows is done.
    Ok(OkPacket<'a>),
    /// The statement failed; the response is over, the connection is not.
    Error(ErrPacket<'a>),
    /// A result set begins.
    Columns {
        /// Its definitions, as framed packets.
        run: &'a [u8],
        /// How many they are.
        count: usize,
    },
    /// Rows.
    Rows {
        /// Whole rows, as framed packets.
        run: &'a [u8],
        /// How many they are.
        count: usize,
    },
    /// A part of a row that is larger than the buffer. All parts in order make one or more packets.
    RowPiece {
        /// The bytes, with a header where a packet starts.
        bytes: &'a [u8],
        /// The bytes begin with a packet's header.
        starts_packet: bool,
        /// The row ends with these bytes.
        ends_row: bool,
    },
    /// A result set ends.
    RowsEnd(OkPacket<'a>),
    /// The server asks for a local file of this name: answer with [`Connection::send_local_infile`].
    LocalInfile(&'a [u8]),
}

/// One answer that the server owes.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) reader: ResponseReader,
    /// When its command was appended; none where it is no statement.
    pub(super) began: Option<Instant>,
    pub(super) next_seq: u8,
    /// No packet of it has come yet.
    is_first: bool,
    /// The answer to a prelude: nobody sees it unless it is an error.
    pub(super) swallow: bool,
    /// The command changes the session's state, and what it changes is kept in the settings.
    pub(super) changes_settings: bool,
    /// The next packets are definitions; how far they have been walked.
    gathered: Option<Gathered>,
    /// A row is being lent out in pieces.
    piece: Option<Piece>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Gathered {
    bytes: usize,
    count: usize,
    prepared: Option<PrepareOk>,
    /// Where the parameters' definitions end.
    parameters_end: usize,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    /// Bytes of the packet that are still to come.
    left: usize,
    ends_row: bool,
}

/// An event, as ranges of the unread bytes.
#[derive(Debug)]
pub(super) enum Found {
    Ok(Range<usize>),
    Error(Range<usize>),
    Columns { range: Range<usize>, count: usize },
    Rows { range: Range<usize>, count: usize },
    RowPiece { range: Range<usize>, starts_packet: bool, ends_row: bool },
    RowsEnd(Range<usize>),
    LocalInfile(Range<usize>),
    Prepared { head: PrepareOk, parameters: Range<usize>, columns: Range<usize> },
}

/// What an OK or the end of rows said about the session.
#[derive(Debug, Clone, Copy)]
struct Said {
    status: Status,
    /// A change that outlives the statement.
    changes_state: bool,
    /// Whether the open transaction has written, where the server said so.
    wrote: Option<bool>,
}

enum Step {
    Found(Found),
    /// Something was swallowed or skipped: look again.
    Again,
    /// So many unread bytes are needed to go on.
    Need(usize),
}

// === impl Owed ===

impl Owed {
    /// The answer to a command; `seq` is the number that its first packet carries.
    pub(super) fn new(kind: ResponseKind, capabilities: Capabilities, seq: u8) -> Self {
        Self {
            reader: ResponseReader::new(kind, capabilities),
            began: (kind == ResponseKind::Results).then(Instant::now),
            next_seq: seq,
            is_first: true,
            swallow: false,
            changes_settings: false,
            gathered: None,
            piece: None,
        }
    }
}

// === impl Connection ===

impl Connection {
    /// Sends what was appended and waits for the next event. Cancel-safe.
    ///
    /// # Errors
    /// An error of the server is an event. After an `Err` the connection is broken.
    pub async fn next(&mut self) -> Result<Event<'_>, BackendError> {
        let found = self.advance().await?;
        self.lend(found)
    }

    /// As [`Connection::next`], with ranges instead of slices, and PREPARE's answers.
    pub(super) async fn advance(&mut self) -> Result<Found, BackendError> {
        self.flush().await?;
        loop {
            match self.step() {
                Ok(Step::Found(found)) => return Ok(found),
                Ok(Step::Again) => {}
                Ok(Step::Need(wanted)) => {
                    if let Err(error) = self.inbox.fill(&mut self.stream, wanted).await {
                        return Err(self.lost(error));
                    }
                }
                Err(error) => {
                    if error.loses_connection() {
                        self.worsen(Condition::Broken);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// The answers to everything that was sent, thrown away: `false` if they are longer than `limit`
    /// bytes. A transaction stays as it is. Cancel-safe.
    pub(super) async fn drain(&mut self, limit: u64) -> Result<bool, BackendError> {
        self.drain_down_to(0, limit).await
    }

    /// As [`Connection::drain`], until only so many answers are owed.
    pub(super) async fn drain_down_to(&mut self, owed: usize, limit: u64) -> Result<bool, BackendError> {
        let before = self.inbox.received();
        self.assembly = Assembly::default();
        self.flush().await?;
        while self.owed.len() > owed {
            match self.advance().await? {
                Found::LocalInfile(_) => self.send_local_infile(b""),
                // The server keeps a statement that nobody here knows.
                Found::Prepared { .. } => self.taint(),
                _ => {}
            }
            if self.inbox.received() - before > limit {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn lend(&self, found: Found) -> Result<Event<'_>, BackendError> {
        let slice = |range| self.inbox.slice(range);
        Ok(match found {
            Found::Ok(range) => Event::Ok(OkPacket::decode(slice(range), self.capabilities)?),
            Found::RowsEnd(range) => Event::RowsEnd(OkPacket::decode(slice(range), self.capabilities)?),
            Found::Error(range) => Event::Error(ErrPacket::decode(slice(range))?),
            Found::Columns { range, count } => Event::Columns { run: slice(range), count },
            Found::Rows { range, count } => Event::Rows { run: slice(range), count },
            Found::RowPiece { range, starts_packet, ends_row } => {
                Event::RowPiece { bytes: slice(range), starts_packet, ends_row }
            }
            Found::LocalInfile(range) => Event::LocalInfile(slice(range)),
            Found::Prepared { .. } => return Err(BackendError::Misuse("prepared statement as an event")),
        })
    }

    fn step(&mut self) -> Result<Step, BackendError> {
        self.inbox.consume(std::mem::take(&mut self.lent));
        let Some(owed) = self.owed.front() else {
            return Err(BackendError::Misuse("no answer is due"));
        };
        if owed.reader.waits_for_file() {
            return Err(BackendError::Misuse("the server waits for a file"));
        }
        if owed.gathered.is_some() {
            return self.gather();
        }
        if let Some(piece) = owed.piece {
            return Ok(self.continue_piece(piece));
        }
        let Some(header) = self.inbox.header() else { return Ok(Step::Need(HEADER_LEN)) };
        if header.length > 0 && self.inbox.unread().len() == HEADER_LEN {
            return Ok(Step::Need(HEADER_LEN + 1));
        }
        if owed.reader.in_rows() { self.rows(header) } else { self.whole(header) }
    }

    /// Walks the rows that are there.
    fn rows(&mut self, first_header: Header) -> Result<Step, BackendError> {
        let Some(owed) = self.owed.front_mut() else { return Ok(Step::Again) };
        let unread = self.inbox.unread();
        let (mut at, mut count, mut header) = (0, 0, first_header);
        loop {
            let total = HEADER_LEN + header.length;
            if unread.len() - at < total {
                break;
            }
            // A row's continuation always travels as a piece, so `at` stands at the head of a row.
            if owed.piece.is_some() || header.continues() {
                break;
            }
            if let Part::Whole = owed.reader.classify(header, unread.get(at + HEADER_LEN).copied()) {
                break;
            }
            check_seq(owed, header)?;
            at += total;
            count += 1;
            match Header::parse(&unread[at..]) {
                Some(next) => header = next,
                None => break,
            }
        }
        if count > 0 {
            self.lent = at;
            self.response_done = false;
            if owed.swallow {
                return Ok(Step::Again);
            }
            return Ok(Step::Found(Found::Rows { range: 0..at, count }));
        }
        let part = owed.reader.classify(header, unread.get(HEADER_LEN).copied());
        let Part::Row { ends_row } = part else { return self.whole(header) };
        if HEADER_LEN + header.length <= STREAM_SIZE {
            return Ok(Step::Need(HEADER_LEN + header.length));
        }
        check_seq(owed, header)?;
        owed.piece = Some(Piece { left: header.length, ends_row });
        Ok(self.lend_piece(HEADER_LEN, true))
    }

    /// Goes on with a row that is lent out in pieces.
    fn continue_piece(&mut self, piece: Piece) -> Step {
        if piece.left > 0 {
            if self.inbox.unread().is_empty() {
                return Step::Need(1);
            }
            return self.lend_piece(0, false);
        }
        // The packet is complete and the row goes on: the next one's header.
        let Some(header) = self.inbox.header() else { return Step::Need(HEADER_LEN) };
        let Some(owed) = self.owed.front_mut() else { return Step::Again };
        owed.next_seq = header.seq.wrapping_add(1);
        let part = owed.reader.classify(header, None);
        owed.piece = Some(Piece { left: header.length, ends_row: part == Part::Row { ends_row: true } });
        self.lend_piece(HEADER_LEN, true)
    }

    fn lend_piece(&mut self, header: usize, starts_packet: bool) -> Step {
        let available = self.inbox.unread().len() - header;
        let Some(owed) = self.owed.front_mut() else { return Step::Again };
        let Some(piece) = &mut owed.piece else { return Step::Again };
        let taken = Ord::min(available, piece.left);
        piece.left -= taken;
        let ends_row = piece.ends_row && piece.left == 0;
        if ends_row {
            owed.piece = None;
        }
        self.lent = header + taken;
        self.response_done = false;
        if owed.swallow {
            return Step::Again;
        }
        Step::Found(Found::RowPiece { range: 0..self.lent, starts_packet, ends_row })
    }

    /// Reads a packet that is not a row.
    fn whole(&mut self, header: Header) -> Result<Step, BackendError> {
        if header.length > MAX_WHOLE {
            return Err(ProtocolError::TooLarge { limit: MAX_WHOLE }.into());
        }
        let total = HEADER_LEN + header.length;
        let unread = self.inbox.unread();
        let Some(payload) = unread.get(HEADER_LEN..total) else { return Ok(Step::Need(total)) };
        let Some(owed) = self.owed.front_mut() else { return Ok(Step::Again) };
        if owed.is_first && is_goodbye(header, payload) {
            return Err(BackendError::Stale);
        }
        check_seq(owed, header)?;
        let event = owed.reader.packet(payload)?;
        let range = HEADER_LEN..total;
        let found = match event {
            reader::Event::Columns(_) | reader::Event::Prepared(_) => {
                let prepared = if let reader::Event::Prepared(head) = event { Some(head) } else { None };
                owed.gathered = Some(Gathered { prepared, ..Gathered::default() });
                self.inbox.consume(total);
                return Ok(Step::Again);
            }
            // COM_FIELD_LIST: definitions without a count in front, lent out one by one.
            reader::Event::Definition => Found::Columns { range: 0..total, count: 1 },
            reader::Event::DefinitionsEnd => return Err(ProtocolError::Malformed("response").into()),
            reader::Event::Ok(packet) => {
                let (said, affected) = (Said::of(&packet), packet.affected_rows);
                self.note(said);
                self.tracked.affected_rows = self.tracked.affected_rows.saturating_add(affected);
                Found::Ok(range)
            }
            reader::Event::RowsEnd(packet) => {
                let said = Said::of(&packet);
                self.note(said);
                Found::RowsEnd(range)
            }
            reader::Event::Error(packet) => {
                let error = owed.swallow.then(|| packet.to_error());
                if let Some(error) = error {
                    return Err(BackendError::Prelude(error));
                }
                Found::Error(range)
            }
            reader::Event::LocalInfile(_) => Found::LocalInfile(range),
        };
        self.lent = total;
        Ok(self.deliver(found))
    }

    /// Collects definitions until the list is complete, so that they are lent out in one run.
    fn gather(&mut self) -> Result<Step, BackendError> {
        let Some(owed) = self.owed.front_mut() else { return Ok(Step::Again) };
        let Some(mut gathered) = owed.gathered else { return Ok(Step::Again) };
        let parameters = gathered.prepared.map_or(0, |head| usize::from(head.params));
        let unread = self.inbox.unread();
        while owed.reader.definitions_left() > 0 {
            let rest = &unread[gathered.bytes..];
            let Some(header) = Header::parse(rest) else {
                owed.gathered = Some(gathered);
                return Ok(Step::Need(gathered.bytes + HEADER_LEN));
            };
            let total = HEADER_LEN + header.length;
            if header.length > MAX_WHOLE || gathered.bytes + total > MAX_DEFINITIONS {
                return Err(ProtocolError::TooLarge { limit: MAX_DEFINITIONS }.into());
            }
            let Some(payload) = rest.get(HEADER_LEN..total) else {
                owed.gathered = Some(gathered);
                return Ok(Step::Need(gathered.bytes + total));
            };
            check_seq(owed, header)?;
            if let reader::Event::Error(packet) = owed.reader.packet(payload)? {
                if owed.swallow {
                    return Err(BackendError::Prelude(packet.to_error()));
                }
                owed.gathered = None;
                let start = gathered.bytes;
                self.lent = start + total;
                return Ok(self.deliver(Found::Error(start + HEADER_LEN..start + total)));
            }
            gathered.bytes += total;
            gathered.count += 1;
            if gathered.count == parameters {
                gathered.parameters_end = gathered.bytes;
            }
        }
        owed.gathered = None;
        self.lent = gathered.bytes;
        let found = match gathered.prepared {
            None => Found::Columns { range: 0..gathered.bytes, count: gathered.count },
            Some(head) => Found::Prepared {
                head,
                parameters: 0..gathered.parameters_end,
                columns: gathered.parameters_end..gathered.bytes,
            },
        };
        Ok(self.deliver(found))
    }

    /// Strikes a finished answer off the list, and keeps a prelude's events back.
    fn deliver(&mut self, found: Found) -> Step {
        let Some(owed) = self.owed.front() else { return Step::Again };
        let (swallow, done) = (owed.swallow, owed.reader.is_done());
        if done {
            self.count_call(matches!(found, Found::Error(_)));
            self.owed.pop_front();
        }
        self.response_done = done && !swallow;
        if swallow { Step::Again } else { Step::Found(found) }
    }

    /// Keeps the status, and whether the session has changed in a way that nobody predicted.
    fn note(&mut self, said: Said) {
        self.status = said.status;
        if let Some(wrote) = said.wrote {
            self.tracked.wrote = wrote;
        }
        let expected = self.owed.front().is_some_and(|owed| owed.changes_settings);
        if said.changes_state && !expected {
            self.taint();
        }
    }

    /// The error of a socket that failed, by what had happened before.
    pub(super) fn lost(&mut self, error: io::Error) -> BackendError {
        self.count_lost_call();
        self.worsen(Condition::Broken);
        if self.inbox.received() > self.received_before {
            BackendError::Lost(error)
        } else if self.sent_any {
            BackendError::Unanswered(error)
        } else {
            BackendError::Stale
        }
    }
}

fn check_seq(owed: &mut Owed, header: Header) -> Result<(), ProtocolError> {
    if header.seq != owed.next_seq {
        return Err(ProtocolError::OutOfOrder { expected: owed.next_seq, found: header.seq });
    }
    owed.next_seq = header.seq.wrapping_add(1);
    owed.is_first = false;
    Ok(())
}

/// Whether the first packet of an answer is no answer, but what the server said before it closed.
fn is_goodbye(header: Header, payload: &[u8]) -> bool {
    payload.first() == Some(&response::ERR)
        && ErrPacket::decode(payload).is_ok_and(|packet| header.seq == 0 || packet.code == IDLE_GOODBYE)
}

// === impl Said ===

impl Said {
    fn of(packet: &OkPacket<'_>) -> Self {
        let mut said = Self { status: packet.status, changes_state: false, wrote: None };
        if packet.session_state.is_empty() {
            return said;
        }
        for change in packet.session_changes() {
            match change {
                Ok(SessionChange::Gtids(_) | SessionChange::TransactionCharacteristics(_)) => {}
                Ok(SessionChange::TransactionState(letters)) => said.wrote = Some(writes(letters)),
                Ok(SessionChange::State(changed)) => said.changes_state |= changed,
                Ok(SessionChange::Variable { .. } | SessionChange::Schema(_) | SessionChange::Unknown(_))
                | Err(_) => said.changes_state = true,
            }
        }
        said
    }
}
