//! How does a client read a result in portions (COM_STMT_FETCH)?
//!
//! A cursor is asked for with a flag of EXECUTE (`useCursorFetch` of Connector/J). MySQL then sends the
//! definitions alone and the rows on demand, from a temporary table. Here the rows wait in the gate,
//! within the query's memory budget: a shard's connection is not held up between two FETCHes.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::Session;
use super::interrupt::interruptible;
use super::registry::Entry;
use super::reply::{Answered, Stop, rename, with_more, write_columns};
use super::schema_rows::SchemaRows;
use crate::backend::Event;
use crate::error::{Result, SqlError};
use crate::executor::{Forward, Output, RowFormat, Rows};
use crate::frontend::{ClientConnection, Closed};
use crate::protocol::capability::{Capabilities, Status};
use crate::protocol::packet::{HEADER_LEN, Header};
use crate::protocol::response::{EofPacket, OkPacket};

/// The rows of an open cursor that have not been fetched.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    rows: VecDeque<Bytes>,
    bytes: usize,
    limit: usize,
    /// A row that arrives in pieces.
    partial: BytesMut,
}

/// Reads a whole answer into a cursor and tells the client that it is open. An answer without rows is
/// sent as it is, without a cursor.
pub(super) async fn open(
    client: &mut ClientConnection,
    entry: &Entry,
    output: Output<'_>,
    status: Status,
    limit: usize,
) -> Result<Result<(Answered, Option<Cursor>)>, Stop> {
    let cursor = Cursor { limit, ..Cursor::default() };
    match output {
        Output::Forward(forward) => open_forwarded(client, entry, forward, status, cursor).await,
        Output::Rows(rows) => open_merged(client, entry, rows, status, cursor).await,
        done @ Output::Done(_) => {
            let format = RowFormat::Binary;
            let answer = super::reply::Answer { format, status, more: false, counts_rows: false, notes: 0 };
            let sent = super::reply::send(client, entry, done, answer).await?;
            Ok(sent.map(|answered| (answered, None)))
        }
    }
}

async fn open_forwarded(
    client: &mut ClientConnection,
    entry: &Entry,
    mut forward: Forward<'_>,
    status: Status,
    mut cursor: Cursor,
) -> Result<Result<(Answered, Option<Cursor>)>, Stop> {
    let schema = forward.schema();
    let shard = Arc::clone(forward.shard());
    let mut schemas = None;
    let open = status | Status::CURSOR_EXISTS;
    let mut answered = Answered::default();
    loop {
        let event = interruptible(client, entry, pin!(forward.next())).await;
        let event = match event {
            Ok(Ok(event)) => event,
            Ok(Err(error)) if answered.has_rows => return Ok(Err(error.final_answer())),
            Ok(Err(error)) => return Ok(Err(error)),
            Err(interruption) => {
                forward.cancel().await;
                return Err(Stop::Interrupted(interruption));
            }
        };
        let kept = match event {
            Event::Columns { run, count } => {
                answered.has_rows = true;
                let end = EofPacket { warnings: 0, status: open };
                schemas = schema.as_ref().and_then(|names| SchemaRows::of(run, RowFormat::Binary, names));
                write_columns(client, run, count, end, schema.as_ref()).map_err(SqlError::from)
            }
            Event::Rows { run, .. } => match &schemas {
                Some(schemas) => {
                    let renamed = schemas.rename(run).map_err(SqlError::from);
                    renamed.and_then(|renamed| cursor.keep_run(&renamed))
                }
                None => cursor.keep_run(run),
            },
            Event::RowPiece { bytes, starts_packet, ends_row } => {
                cursor.keep_piece(bytes, starts_packet, ends_row)
            }
            Event::RowsEnd(_) => {
                finish(client, open);
                answered.rows = cursor.rows.len() as u64;
                answered.shard = Some(shard);
                return Ok(Ok((answered, Some(cursor))));
            }
            Event::Ok(ok) => {
                answered.affected_rows = ok.affected_rows;
                answered.last_insert_id = Some(ok.last_insert_id).filter(|id| *id != 0);
                client.write_ok(&OkPacket { status: with_more(status, false), session_state: b"", ..ok });
                return Ok(Ok((answered, None)));
            }
            Event::Error(error) => {
                let error = rename(&error, schema.as_ref()).answered_by(&shard.full_name());
                Err(if answered.has_rows { error.final_answer() } else { error })
            }
            Event::LocalInfile(_) => {
                forward.send_local_infile(b"");
                Ok(())
            }
        };
        if let Err(error) = kept {
            return Ok(Err(error));
        }
    }
}

async fn open_merged(
    client: &mut ClientConnection,
    entry: &Entry,
    mut rows: Rows<'_>,
    status: Status,
    mut cursor: Cursor,
) -> Result<Result<(Answered, Option<Cursor>)>, Stop> {
    let open = status | Status::CURSOR_EXISTS;
    loop {
        let batch = interruptible(client, entry, pin!(rows.rows.next_batch())).await;
        match batch.map_err(Stop::Interrupted)? {
            Ok(Some(batch)) => {
                for row in batch {
                    if let Err(error) = cursor.keep(row) {
                        return Ok(Err(error));
                    }
                }
            }
            Ok(None) => break,
            Err(error) => return Ok(Err(error)),
        }
    }
    let end = EofPacket { warnings: 0, status: open };
    let columns = &rows.columns;
    if let Err(error) = write_columns(client, columns.run(), columns.len(), end, rows.schema.as_ref()) {
        return Ok(Err(SqlError::from(error)));
    }
    finish(client, open);
    let answered = Answered { has_rows: true, rows: cursor.rows.len() as u64, ..Answered::default() };
    Ok(Ok((answered, Some(cursor))))
}

/// Without DEPRECATE_EOF the EOF behind the definitions has said it already.
fn finish(client: &mut ClientConnection, open: Status) {
    if client.capabilities().contains(Capabilities::DEPRECATE_EOF) {
        client.write_end_of_rows(&OkPacket { status: open, ..OkPacket::default() });
    }
}

// === impl Cursor ===

impl Cursor {
    fn keep(&mut self, row: Bytes) -> Result<()> {
        self.bytes += row.len();
        if self.bytes > self.limit {
            return Err(SqlError::memory_limit("cursor", self.limit));
        }
        self.rows.push_back(row);
        Ok(())
    }

    /// Keeps a run of rows, none of them split.
    fn keep_run(&mut self, run: &[u8]) -> Result<()> {
        let run = Bytes::copy_from_slice(run);
        let mut at = 0;
        while let Some(header) = Header::parse(run.get(at..).unwrap_or_default()) {
            let end = at + HEADER_LEN + header.length;
            if end > run.len() {
                return Err(SqlError::bug("a run of rows ends inside a packet"));
            }
            self.keep(run.slice(at + HEADER_LEN..end))?;
            at = end;
        }
        Ok(())
    }

    fn keep_piece(&mut self, bytes: &[u8], starts_packet: bool, ends_row: bool) -> Result<()> {
        let payload = if starts_packet { bytes.get(HEADER_LEN..).unwrap_or_default() } else { bytes };
        self.partial.extend_from_slice(payload);
        if self.bytes + self.partial.len() > self.limit {
            return Err(SqlError::memory_limit("cursor", self.limit));
        }
        if ends_row {
            let row = std::mem::take(&mut self.partial).freeze();
            self.keep(row)?;
        }
        Ok(())
    }
}

impl Session {
    /// COM_STMT_FETCH.
    pub(super) async fn fetch(&mut self, id: u32, count: u32) -> Result<(), Closed> {
        let Some(statement) = self.prepared.get_mut(id) else {
            self.client.write_error(&SqlError::unknown_statement(id, "mysqld_stmt_fetch"));
            return Ok(());
        };
        let Some(cursor) = &mut statement.cursor else {
            self.client.write_error(&SqlError::no_cursor(id));
            return Ok(());
        };
        for _ in 0..count {
            let Some(row) = cursor.rows.pop_front() else { break };
            self.client.write_row(&row);
            self.client.flush_if_full().await?;
        }
        // The end is told by the FETCH after the last row, or by one that hits it: both are MySQL's.
        let at_end = cursor.rows.is_empty();
        if at_end {
            statement.cursor = None;
        }
        let state = if at_end { Status::LAST_ROW_SENT } else { Status::CURSOR_EXISTS };
        let status = self.status() | state;
        self.client.write_end_of_rows(&OkPacket { status, ..OkPacket::default() });
        Ok(())
    }
}
