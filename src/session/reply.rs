//! How does the answer of a plan reach the client?
//!
//! Hot path: one shard's rows are copied from its receive buffer to the client's output buffer as runs
//! of whole packets. Only the end is written anew, because status and warnings are the session's.

use std::pin::pin;
use std::sync::Arc;

use bytes::{BufMut as _, BytesMut};

use super::interrupt::{Interruption, interruptible};
use super::registry::Entry;
use super::schema_rows::SchemaRows;
use super::state::Warning;
use crate::backend::Event;
use crate::error::{Result, SqlError};
use crate::executor::{Forward, Output, RowFormat, Rows, SchemaName};
use crate::frontend::{ClientConnection, Closed, Definitions};
use crate::protocol::ProtocolError;
use crate::protocol::capability::Status;
use crate::protocol::column::{Column, rewrite_schema};
use crate::protocol::packet::{HEADER_LEN, Header, PacketWriter};
use crate::protocol::response::{EofPacket, ErrPacket, OkPacket};
use crate::protocol::row::TextRow;
use crate::topology::Shard;

/// What the session must know of an answer that was sent.
#[derive(Debug, Default)]
pub(super) struct Answered {
    /// The answer had rows, if only none.
    pub(super) has_rows: bool,
    /// How many rows were sent.
    pub(super) rows: u64,
    /// How many rows were changed.
    pub(super) affected_rows: u64,
    /// What `LAST_INSERT_ID()` becomes; none where it stays.
    pub(super) last_insert_id: Option<u64>,
    /// What SHOW WARNINGS will say.
    pub(super) warnings: Vec<Warning>,
    /// How many warnings there were, of which a server may have kept only some.
    pub(super) warned: u16,
    /// The shard whose answer it is, if it is one shard's.
    pub(super) shard: Option<Arc<Shard>>,
}

/// How an answer goes to the client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    /// Text or binary rows.
    pub(super) format: RowFormat,
    /// The session's status.
    pub(super) status: Status,
    /// Another statement's answer follows.
    pub(super) more: bool,
    /// FOUND_ROWS() is what the server says behind it, not the number of rows.
    pub(super) counts_rows: bool,
    /// Warnings that the session adds to one shard's own.
    pub(super) notes: u16,
}

/// Why an answer could not be sent to its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// Something stopped the statement; the client has not been told.
    Interrupted(Interruption),
    /// The client's connection is over.
    Closed(Closed),
}

/// Status bits of a shard that mean the same to the client: the server's remarks on indexes, cursors,
/// OUT parameters, changed metadata, escapes.
const PASSED_ON: Status = Status(0x0010 | 0x0020 | 0x0040 | 0x0080 | 0x0200 | 0x0400 | 0x0800 | 0x1000);

/// The longest SHOW WARNINGS of a shard that is kept, in bytes.
const WARNINGS_SIZE: usize = 256 << 10;

/// A status that says whether another answer follows.
pub(super) fn with_more(status: Status, more: bool) -> Status {
    if more { status | Status::MORE_RESULTS } else { status }
}

/// Sends the answer of a plan.
pub(super) async fn send(
    client: &mut ClientConnection,
    entry: &Entry,
    output: Output<'_>,
    answer: Answer,
) -> Result<Result<Answered>, Stop> {
    let Answer { status, more, .. } = answer;
    match output {
        Output::Done(summary) => {
            client.write_ok(&OkPacket {
                affected_rows: summary.affected_rows,
                last_insert_id: summary.last_insert_id,
                status: with_more(status, more),
                warnings: summary.warnings,
                info: &summary.info,
                session_state: b"",
            });
            Ok(Ok(Answered {
                affected_rows: summary.affected_rows,
                last_insert_id: summary.session_id(),
                warnings: summary.notes,
                warned: summary.warnings,
                ..Answered::default()
            }))
        }
        Output::Forward(forward) => send_forwarded(client, entry, forward, answer).await,
        Output::Rows(rows) => send_rows(client, entry, rows, status, more).await,
    }
}

async fn send_forwarded(
    client: &mut ClientConnection,
    entry: &Entry,
    mut forward: Forward<'_>,
    answer: Answer,
) -> Result<Result<Answered>, Stop> {
    let Answer { format, status, more, counts_rows, notes } = answer;
    let schema = forward.schema();
    let shard = Arc::clone(forward.shard());
    let mut schemas = None;
    let mut answered = Answered::default();
    // Something of the answer has gone to the client: it must not come again.
    let mut begun = false;
    loop {
        let event = interruptible(client, entry, pin!(forward.next())).await;
        let event = match event {
            Ok(Ok(event)) => event,
            Ok(Err(error)) => return Ok(Err(if begun { error.final_answer() } else { error })),
            Err(interruption) => {
                forward.cancel().await;
                return Err(Stop::Interrupted(interruption));
            }
        };
        if let Event::Error(error) = event {
            let error = rename(&error, schema.as_ref()).answered_by(&shard.full_name());
            return Ok(Err(if begun { error.final_answer() } else { error }));
        }
        begun = true;
        match event {
            Event::Rows { run, count } => {
                answered.rows += count as u64;
                let renamed = schemas.as_ref().map(|schemas: &SchemaRows| schemas.rename(run)).transpose();
                let renamed = match renamed {
                    Ok(renamed) => renamed,
                    Err(error) => return Ok(Err(SqlError::from(error))),
                };
                client.forward_rows(renamed.as_deref().unwrap_or(run)).await.map_err(Stop::Closed)?;
            }
            Event::Columns { run, count } => {
                (answered.has_rows, answered.rows) = (true, 0);
                let end = EofPacket { warnings: 0, status };
                schemas = schema.as_ref().and_then(|names| SchemaRows::of(run, format, names));
                if let Err(error) = write_columns(client, run, count, end, schema.as_ref()) {
                    return Ok(Err(SqlError::from(error)));
                }
            }
            Event::RowPiece { bytes, starts_packet, ends_row } => {
                answered.rows += u64::from(ends_row);
                client.forward_piece(bytes, starts_packet).await.map_err(Stop::Closed)?;
            }
            Event::RowsEnd(ok) | Event::Ok(ok) => {
                let is_end_of_rows = matches!(event, Event::RowsEnd(_));
                answered.affected_rows = ok.affected_rows;
                let told = (ok.last_insert_id, ok.affected_rows);
                let warned = ok.warnings > 0;
                let ok = OkPacket {
                    status: client_status(status, ok.status, more),
                    session_state: b"",
                    warnings: ok.warnings.saturating_add(notes),
                    ..ok
                };
                if is_end_of_rows {
                    client.write_end_of_rows(&ok);
                } else {
                    client.write_ok(&ok);
                }
                // Without the session's notes, which are counted where they are added.
                answered.warned = ok.warnings - notes.min(ok.warnings);
                if forward.is_done() {
                    if warned {
                        answered.warnings = warnings(&mut forward).await;
                    }
                    answered.last_insert_id = forward.insert_id(told.0, told.1).await;
                    if counts_rows {
                        answered.rows = found_rows(&mut forward).await;
                    }
                    answered.shard = Some(shard);
                    return Ok(Ok(answered));
                }
            }
            Event::Error(_) => {}
            // The gate does not offer LOAD DATA LOCAL: the server gets an empty file.
            Event::LocalInfile(_) => forward.send_local_infile(b""),
        }
    }
}

async fn send_rows(
    client: &mut ClientConnection,
    entry: &Entry,
    mut rows: Rows<'_>,
    status: Status,
    more: bool,
) -> Result<Result<Answered>, Stop> {
    let end = EofPacket { warnings: 0, status };
    let columns = rows.columns.run();
    if let Err(error) = write_columns(client, columns, rows.columns.len(), end, rows.schema.as_ref()) {
        return Ok(Err(SqlError::from(error)));
    }
    let mut answered = Answered { has_rows: true, ..Answered::default() };
    loop {
        let batch = interruptible(client, entry, pin!(rows.rows.next_batch())).await;
        match batch.map_err(Stop::Interrupted)? {
            Ok(Some(batch)) => {
                for row in &batch {
                    client.write_row(row);
                }
                answered.rows += batch.len() as u64;
                client.flush_if_full().await.map_err(Stop::Closed)?;
            }
            Ok(None) => break,
            // The definitions have gone to the client.
            Err(error) => return Ok(Err(error.final_answer())),
        }
    }
    let notes = rows.notes.take();
    answered.warnings = notes.warnings;
    answered.warned = notes.count;
    let status = with_more(status, more);
    client.write_end_of_rows(&OkPacket { status, warnings: notes.count, ..OkPacket::default() });
    Ok(Ok(answered))
}

/// The session's status with what the shard alone can know.
fn client_status(session: Status, shard: Status, more: bool) -> Status {
    let follows = shard.contains(Status::MORE_RESULTS) || more;
    with_more(Status(session.0 | (shard.0 & PASSED_ON.0)), follows)
}

/// Writes definitions, with the keyspace's name instead of the shard's database.
pub(super) fn write_columns(
    client: &mut ClientConnection,
    run: &[u8],
    count: usize,
    end: EofPacket,
    schema: Option<&SchemaName>,
) -> Result<(), ProtocolError> {
    let count = u16::try_from(count).map_err(|_| ProtocolError::Malformed("number of definitions"))?;
    let Some(schema) = schema else {
        return client.write_definitions(Definitions { count, run }, end);
    };
    let renamed = rename_definitions(run, schema)?;
    client.write_definitions(Definitions { count, run: &renamed }, end)
}

/// A run of definitions with the keyspace's name instead of the shard's database.
pub(super) fn rename_definitions(run: &[u8], schema: &SchemaName) -> Result<BytesMut, ProtocolError> {
    let mut renamed = BytesMut::with_capacity(run.len() + 64);
    let mut writer = PacketWriter::default();
    let mut rest = run;
    while let Some(header) = Header::parse(rest) {
        let end = HEADER_LEN + header.length;
        let payload = rest.get(HEADER_LEN..end).ok_or(ProtocolError::Malformed("definitions"))?;
        let mut payload_renamed = Ok(());
        writer.write_with(&mut renamed, |out| {
            payload_renamed = match &schema.scratch {
                None => rewrite_schema(out, payload, schema.physical.as_bytes(), schema.keyspace.as_bytes()),
                Some(names) => Column::decode(payload).map(|column| {
                    Column {
                        schema: names.database(column.schema),
                        table: names.table(column.table),
                        org_table: names.table(column.org_table),
                        ..column
                    }
                    .encode(out);
                }),
            };
        });
        payload_renamed?;
        rest = &rest[end..];
    }
    Ok(renamed)
}

/// The shard's error, with the keyspace's name where the text names the shard's database.
pub(super) fn rename(error: &ErrPacket<'_>, schema: Option<&SchemaName>) -> SqlError {
    let Some(schema) = schema else {
        return error.to_error();
    };
    if schema.scratch.is_some() {
        let message = schema.in_message(&String::from_utf8_lossy(error.message));
        return ErrPacket { message: message.as_bytes(), ..*error }.to_error();
    }
    let physical = schema.physical.as_bytes();
    let mut message = BytesMut::with_capacity(error.message.len());
    let mut rest = error.message;
    while let Some(at) = rest.windows(physical.len()).position(|window| window == physical) {
        message.put_slice(&rest[..at]);
        message.put_slice(schema.keyspace.as_bytes());
        rest = &rest[at + physical.len()..];
    }
    message.put_slice(rest);
    ErrPacket { message: &message, ..*error }.to_error()
}

/// What SHOW WARNINGS says on the connection that gave the answer. A failure there costs the texts,
/// not the answer.
async fn warnings(forward: &mut Forward<'_>) -> Vec<Warning> {
    match forward.collect(b"SHOW WARNINGS", WARNINGS_SIZE).await {
        Ok(result) => Warning::read_renamed(&result.rows, forward.schema().as_ref()),
        Err(error) => {
            tracing::debug!(%error, "the warnings of a shard could not be read");
            Vec::new()
        }
    }
}

/// FOUND_ROWS() on the connection that gave the answer. A failure there costs the number, not the answer.
async fn found_rows(forward: &mut Forward<'_>) -> u64 {
    let counted = forward.collect(b"SELECT FOUND_ROWS()", 64).await;
    let number = counted.ok().and_then(|result| {
        let row = result.rows.first()?;
        let value = TextRow::new(&row.0).next()?.ok()??;
        std::str::from_utf8(value).ok()?.parse().ok()
    });
    number.unwrap_or(0)
}
