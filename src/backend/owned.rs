//! How are answers taken whole, by those that need rows or results of their own?

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::connection::Connection;
use super::error::BackendError;
use super::exchange::{Event, Found};
use super::statements::Prepared;
use crate::error::SqlError;
use crate::protocol::ProtocolError;
use crate::protocol::capability::Status;
use crate::protocol::column::Columns;
use crate::protocol::packet::{HEADER_LEN, Header};
use crate::protocol::response::OkPacket;
use crate::protocol::row::RawRow;

/// What an OK packet said, owned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Rows that were changed.
    pub affected_rows: u64,
    /// The first generated id, or 0.
    pub last_insert_id: u64,
    /// The server's status.
    pub status: Status,
    /// Number of warnings.
    pub warnings: u16,
    /// `Rows matched: …`.
    pub info: Bytes,
}

/// As [`Event`], owned: rows are joined, and share one copy of the receive buffer.
#[derive(Debug, Clone)]
pub enum OwnedEvent {
    /// A statement without rows is done.
    Ok(Summary),
    /// The statement failed.
    Error(SqlErrorText),
    /// A result set begins.
    Columns(Columns),
    /// Rows, at least one.
    Rows(Vec<RawRow>),
    /// A result set ends.
    RowsEnd(Summary),
}

/// An ERR packet, owned and cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlErrorText {
    code: u16,
    state: crate::error::SqlState,
    message: String,
}

/// One result set in memory.
#[derive(Debug, Clone, Default)]
pub struct ResultSet {
    /// The definitions; empty for a statement without rows.
    pub columns: Columns,
    /// The rows.
    pub rows: Vec<RawRow>,
    /// The end of the rows, or the OK of a statement without rows.
    pub summary: Summary,
}

/// A row that arrives in pieces.
#[derive(Debug, Default)]
pub(super) struct Assembly(BytesMut);

// === impl Summary ===

impl From<OkPacket<'_>> for Summary {
    fn from(packet: OkPacket<'_>) -> Self {
        Self {
            affected_rows: packet.affected_rows,
            last_insert_id: packet.last_insert_id,
            status: packet.status,
            warnings: packet.warnings,
            info: Bytes::copy_from_slice(packet.info),
        }
    }
}

// === impl SqlErrorText ===

impl SqlErrorText {
    /// The error for the client.
    #[must_use]
    pub fn into_error(self) -> SqlError {
        SqlError::from_server(self.code, self.state, self.message)
    }
}

// === impl Connection ===

impl Connection {
    /// As [`Connection::next`], and none once `stop` comes: the answer is still owed then. Cancel-safe.
    ///
    /// # Errors
    /// As [`Connection::next`].
    pub async fn next_unless(
        &mut self,
        stop: impl Future<Output = ()>,
    ) -> Result<Option<Event<'_>>, BackendError> {
        let found = tokio::select! {
            biased;
            found = self.advance() => found?,
            () = stop => return Ok(None),
        };
        self.lend(found).map(Some)
    }

    /// As [`Connection::next`], owned. Cancel-safe. A server that asks for a local file gets an empty
    /// one: operators never send LOAD DATA LOCAL.
    pub async fn next_owned(&mut self) -> Result<OwnedEvent, BackendError> {
        loop {
            let found = self.advance().await?;
            if let Found::LocalInfile(_) = found {
                self.send_local_infile(b"");
                continue;
            }
            if let Found::RowPiece { range, starts_packet, ends_row } = found {
                let skip = if starts_packet { HEADER_LEN } else { 0 };
                self.assembly.0.extend_from_slice(&self.inbox.slice(range)[skip..]);
                if ends_row {
                    let row = RawRow(std::mem::take(&mut self.assembly.0).freeze());
                    return Ok(OwnedEvent::Rows(vec![row]));
                }
                continue;
            }
            return match self.lend(found)? {
                Event::Ok(packet) => Ok(OwnedEvent::Ok(packet.into())),
                Event::RowsEnd(packet) => Ok(OwnedEvent::RowsEnd(packet.into())),
                Event::Error(packet) => Ok(OwnedEvent::Error(SqlErrorText {
                    code: packet.code,
                    state: packet.state.unwrap_or(crate::error::SqlState::GENERAL),
                    message: String::from_utf8_lossy(packet.message).into_owned(),
                })),
                Event::Columns { run, .. } => {
                    Ok(OwnedEvent::Columns(Columns::new(Bytes::copy_from_slice(run))?))
                }
                Event::Rows { run, count } => Ok(OwnedEvent::Rows(split_rows(run, count)?)),
                Event::RowPiece { .. } | Event::LocalInfile(_) => {
                    Err(BackendError::Misuse("piece outside the assembly"))
                }
            };
        }
    }

    /// Runs one statement and throws its rows away: `COMMIT`, `SET …`, DML.
    ///
    /// # Errors
    /// [`BackendError::Server`] if the server answers with an error. Not cancel-safe: a dropped call
    /// leaves the answer owed, and the lease is cleaned when it is given back.
    pub async fn run(&mut self, sql: &[u8]) -> Result<Summary, BackendError> {
        self.send_query(sql);
        self.finish().await
    }

    /// Waits for the end of the response to what was sent; the last result's summary.
    pub async fn finish(&mut self) -> Result<Summary, BackendError> {
        loop {
            let summary = match self.next().await? {
                Event::Ok(packet) | Event::RowsEnd(packet) => Summary::from(packet),
                Event::Error(packet) => return Err(BackendError::Server(packet.to_error())),
                Event::LocalInfile(_) => {
                    self.send_local_infile(b"");
                    continue;
                }
                Event::Columns { .. } | Event::Rows { .. } | Event::RowPiece { .. } => continue,
            };
            if self.response_done() {
                return Ok(summary);
            }
        }
    }

    /// Runs one statement and keeps its first result set, of at most `limit` bytes of rows.
    ///
    /// # Errors
    /// [`BackendError::Server`]; [`BackendError::TooLarge`], after which the rest is still owed.
    pub async fn collect(&mut self, sql: &[u8], limit: usize) -> Result<ResultSet, BackendError> {
        self.send_query(sql);
        self.collect_response(limit).await
    }

    /// As [`Connection::collect`], for what was sent already.
    pub async fn collect_response(&mut self, limit: usize) -> Result<ResultSet, BackendError> {
        let (mut result, mut bytes, mut results) = (ResultSet::default(), 0, 0);
        loop {
            match self.next_owned().await? {
                OwnedEvent::Error(error) => return Err(BackendError::Server(error.into_error())),
                OwnedEvent::Columns(columns) if results == 0 => result.columns = columns,
                OwnedEvent::Rows(rows) if results == 0 => {
                    bytes += rows.iter().map(|row| row.0.len()).sum::<usize>();
                    if bytes > limit {
                        return Err(BackendError::TooLarge { limit });
                    }
                    result.rows.extend(rows);
                }
                OwnedEvent::Columns(_) | OwnedEvent::Rows(_) => {}
                OwnedEvent::Ok(summary) | OwnedEvent::RowsEnd(summary) => {
                    if results == 0 {
                        result.summary = summary;
                    }
                    results += 1;
                    if self.response_done() {
                        return Ok(result);
                    }
                }
            }
        }
    }

    /// The statement of this text, prepared on this connection now or earlier. What was appended
    /// before leaves with it.
    ///
    /// # Errors
    /// [`BackendError::Server`] if the server refuses the text.
    pub async fn prepare(&mut self, text: &[u8]) -> Result<Arc<Prepared>, BackendError> {
        if let Some(known) = self.statements.get(text) {
            return Ok(known);
        }
        self.send_prepare(text);
        let (head, parameters, columns) = match self.advance().await? {
            Found::Prepared { head, parameters, columns } => (head, parameters, columns),
            found => {
                return match self.lend(found)? {
                    Event::Error(packet) => Err(BackendError::Server(packet.to_error())),
                    _ => Err(BackendError::Misuse("an answer was due before PREPARE's")),
                };
            }
        };
        let definitions = |range| Columns::new(Bytes::copy_from_slice(self.inbox.slice(range)));
        let statement = Arc::new(Prepared {
            id: head.statement_id,
            params: head.params,
            parameters: definitions(parameters)?,
            columns: definitions(columns)?,
            warnings: head.warnings,
        });
        if let Some(oldest) = self.statements.insert(text, Arc::clone(&statement)) {
            self.send_close(oldest.id);
        }
        Ok(statement)
    }
}

/// Rows as slices of one copy of their run.
fn split_rows(run: &[u8], count: usize) -> Result<Vec<RawRow>, ProtocolError> {
    let run = Bytes::copy_from_slice(run);
    let mut rows = Vec::with_capacity(count);
    let mut at = 0;
    while at < run.len() {
        let header = Header::parse(&run[at..]).ok_or(ProtocolError::Truncated("rows"))?;
        let (start, end) = (at + HEADER_LEN, at + HEADER_LEN + header.length);
        if end > run.len() {
            return Err(ProtocolError::Truncated("rows"));
        }
        rows.push(RawRow(run.slice(start..end)));
        at = end;
    }
    Ok(rows)
}
