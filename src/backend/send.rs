//! How are commands appended, and how do they leave?
//!
//! Hot path: commands are framed in place in one output buffer that is reused; whatever was appended
//! leaves with one write.

use std::io;

use bytes::{BufMut, BytesMut};
use tokio::io::AsyncWriteExt;

use super::connection::{Condition, Connection};
use super::error::BackendError;
use super::exchange::Owed;
use crate::protocol::packet::PacketWriter;
use crate::protocol::reader::ResponseKind;

const COM_INIT_DB: u8 = 0x02;
const COM_QUERY: u8 = 0x03;
const COM_PING: u8 = 0x0e;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_SEND_LONG_DATA: u8 = 0x18;
const COM_STMT_CLOSE: u8 = 0x19;
const COM_STMT_RESET: u8 = 0x1a;
const COM_RESET_CONNECTION: u8 = 0x1f;

/// An output buffer that grew beyond this is given back after it was sent, in bytes.
const OUT_REST: usize = 64 * 1024;

// === impl Connection ===

impl Connection {
    /// Appends COM_QUERY.
    pub fn send_query(&mut self, sql: &[u8]) {
        self.send_query_with(|out| out.put_slice(sql));
    }

    /// Appends COM_QUERY with the text that `render` appends; it must only append.
    pub fn send_query_with(&mut self, render: impl FnOnce(&mut BytesMut)) {
        self.send_packet_with(ResponseKind::Results, |out| {
            out.put_u8(COM_QUERY);
            render(out);
        });
    }

    /// Appends a statement that goes out ahead of the next command. Its answer is swallowed; if it is
    /// an error, waiting for the next answer ends in [`BackendError::Prelude`] and the connection is
    /// closed, because the command behind it may have run without it.
    pub fn send_prelude(&mut self, sql: &[u8]) {
        self.send_query(sql);
        self.swallow_last();
    }

    /// Appends COM_STMT_EXECUTE; `encode` appends the whole payload, command byte included
    /// (`protocol::statement` has encoders).
    pub fn send_execute_with(&mut self, encode: impl FnOnce(&mut BytesMut)) {
        self.send_packet_with(ResponseKind::Results, encode);
    }

    /// Appends COM_STMT_SEND_LONG_DATA, which has no answer.
    pub fn send_long_data(&mut self, statement_id: u32, parameter: u16, data: &[u8]) {
        self.begin();
        PacketWriter::default().write_with(&mut self.out, |out| {
            out.put_u8(COM_STMT_SEND_LONG_DATA);
            out.put_u32_le(statement_id);
            out.put_u16_le(parameter);
            out.put_slice(data);
        });
    }

    /// Appends COM_STMT_RESET.
    pub fn send_statement_reset(&mut self, statement_id: u32) {
        self.send_packet_with(ResponseKind::Results, |out| {
            out.put_u8(COM_STMT_RESET);
            out.put_u32_le(statement_id);
        });
    }

    /// Appends COM_INIT_DB. The connection is tainted: its default database is not the tablet's.
    pub fn send_init_db(&mut self, schema: &[u8]) {
        self.send_packet_with(ResponseKind::Results, |out| {
            out.put_u8(COM_INIT_DB);
            out.put_slice(schema);
        });
        self.taint();
    }

    /// Appends COM_PING.
    pub fn send_ping(&mut self) {
        self.send_packet(ResponseKind::Results, &[COM_PING]);
    }

    /// Appends any payload, command byte included, that has an answer of this kind.
    pub fn send_packet(&mut self, kind: ResponseKind, payload: &[u8]) {
        self.send_packet_with(kind, |out| out.put_slice(payload));
    }

    /// Appends a payload that `encode` appends.
    pub fn send_packet_with(&mut self, kind: ResponseKind, encode: impl FnOnce(&mut BytesMut)) {
        self.begin();
        let mut writer = PacketWriter::default();
        writer.write_with(&mut self.out, encode);
        // A command of 16 MiB or more took several numbers itself.
        self.owed.push_back(Owed::new(kind, self.capabilities, writer.next_seq()));
        self.unsent += 1;
    }

    /// Appends a part of the local file that the server asked for; an empty part ends it.
    pub fn send_local_infile(&mut self, data: &[u8]) {
        let Some(owed) = self.owed.front_mut() else { return };
        let mut writer = PacketWriter::new(owed.next_seq);
        writer.write(&mut self.out, data);
        owed.next_seq = writer.next_seq();
        if data.is_empty() {
            owed.reader.local_infile_sent();
        }
    }

    pub(super) fn send_prepare(&mut self, text: &[u8]) {
        self.send_packet_with(ResponseKind::Prepare, |out| {
            out.put_u8(COM_STMT_PREPARE);
            out.put_slice(text);
        });
    }

    /// Appends COM_STMT_CLOSE, which has no answer; it leaves with the next command.
    pub(super) fn send_close(&mut self, statement_id: u32) {
        PacketWriter::default().write_with(&mut self.out, |out| {
            out.put_u8(COM_STMT_CLOSE);
            out.put_u32_le(statement_id);
        });
    }

    /// Appends COM_RESET_CONNECTION; its answer is swallowed.
    pub(super) fn send_reset(&mut self) {
        self.send_packet(ResponseKind::Results, &[COM_RESET_CONNECTION]);
        self.swallow_settings();
    }

    /// As [`Connection::send_prelude`], for a `SET` whose effect is written down in the settings.
    pub(super) fn send_settings(&mut self, sql: &[u8]) {
        self.send_query(sql);
        self.swallow_settings();
    }

    /// Whether the last event ended its response. If it did not, more results follow.
    #[must_use]
    pub fn response_done(&self) -> bool {
        self.response_done
    }

    /// Sends what was appended. [`Connection::next`] does it too; alone it is for commands without an
    /// answer. Cancel-safe.
    pub async fn flush(&mut self) -> Result<(), BackendError> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]).await {
                Ok(0) => return Err(self.lost(io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    self.written += count;
                    self.sent += count as u64;
                    self.sent_any = true;
                }
                // The server may have said why before it closed: the answer is read first.
                Err(error) if self.sent_any && !self.owed.is_empty() => {
                    self.worsen(Condition::Broken);
                    tracing::debug!(%error, "write to server failed");
                    break;
                }
                Err(error) => return Err(self.lost(error)),
            }
        }
        if self.stream.needs_flush() && !self.out.is_empty() {
            self.stream.flush().await.map_err(|error| self.lost(error))?;
        }
        (self.written, self.unsent) = (0, 0);
        self.out.clear();
        if self.out.capacity() > OUT_REST {
            self.out = BytesMut::new();
        }
        Ok(())
    }

    /// Takes back what was appended and not sent: those commands will not run. Where a part of it has
    /// left already, or settings were among it, the connection is beyond use.
    pub(super) fn discard_unsent(&mut self) {
        if self.out.is_empty() {
            return;
        }
        if self.written > 0 || self.owed.iter().rev().take(self.unsent).any(|owed| owed.swallow) {
            self.worsen(Condition::Broken);
        }
        self.owed.truncate(self.owed.len().saturating_sub(self.unsent));
        self.out.clear();
        (self.written, self.unsent) = (0, 0);
        // Statements may have been closed in what is gone.
        self.taint();
    }

    /// Marks the beginning of an exchange, for telling whether an error came before any answer.
    fn begin(&mut self) {
        if !self.owes() {
            self.received_before = self.inbox.received();
            self.sent_any = false;
            self.response_done = false;
        }
    }

    fn swallow_settings(&mut self) {
        self.swallow_last();
        if let Some(last) = self.owed.back_mut() {
            last.changes_settings = true;
        }
    }

    fn swallow_last(&mut self) {
        if let Some(last) = self.owed.back_mut() {
            last.swallow = true;
        }
    }
}
