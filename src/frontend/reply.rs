//! How are answers written for this client?
//!
//! Hot path: rows are copied once, from the shard's buffer to the client's, and their headers are
//! numbered in place; nothing is decoded, nothing is allocated once the buffer has grown.
//!
//! Everything depends on what this client agreed to: with DEPRECATE_EOF rows end with an OK packet of
//! header `fe` and no EOF follows definitions; without it both are EOF packets. An ERR packet may follow
//! at any point, also after rows. Writing only fills the output buffer; the `async` functions also send
//! when the buffer passes [`super::ConnectionLimits::flush_at`], so a slow client holds back its shard.

use bytes::{BufMut as _, BytesMut};

use super::connection::ClientConnection;
use super::limits::Closed;
use crate::error::SqlError;
use crate::protocol::ProtocolError;
use crate::protocol::capability::Capabilities;
use crate::protocol::column::Columns;
use crate::protocol::response::{EofPacket, OkHeader, OkPacket, encode_error};
use crate::protocol::wire::{NULL_COLUMN, put_lenenc_bytes, put_lenenc_int};

/// A list of column or parameter definitions as framed packets, none of them split.
#[derive(Debug, Clone, Copy, Default)]
pub struct Definitions<'a> {
    /// How many packets `run` has.
    pub count: u16,
    /// The packets, with headers; their numbers do not matter.
    pub run: &'a [u8],
}

/// The answer to PREPARE.
#[derive(Debug, Clone, Copy, Default)]
pub struct PreparedReply<'a> {
    /// The statement's id, as this client will use it.
    pub statement: u32,
    /// The definitions of the parameters.
    pub parameters: Definitions<'a>,
    /// The definitions of the result's columns, if there is a result.
    pub columns: Definitions<'a>,
    /// The status and number of warnings.
    pub end: EofPacket,
}

// === impl Definitions ===

impl<'a> From<&'a Columns> for Definitions<'a> {
    fn from(columns: &'a Columns) -> Self {
        // A result has at most 4096 columns; a count that did not fit would be refused on writing.
        Self { count: u16::try_from(columns.len()).unwrap_or(u16::MAX), run: columns.run() }
    }
}

// === impl ClientConnection ===

impl ClientConnection {
    /// Writes an OK packet; its session-track block reaches only clients that asked for it.
    pub fn write_ok(&mut self, ok: &OkPacket<'_>) {
        let capabilities = self.capabilities;
        self.write_with(|out| ok.encode(out, OkHeader::Ok, capabilities));
    }

    /// Writes an ERR packet, which ends the answer wherever it stands.
    pub fn write_error(&mut self, error: &SqlError) {
        self.write_with(|out| encode_error(error, out));
    }

    /// Writes the head of a result set: the number of columns, their definitions, and for clients
    /// without DEPRECATE_EOF the `end` of the definitions, whose status matters for cursors and OUT
    /// parameters.
    ///
    /// # Errors
    /// A run that is no sequence of whole packets; nothing has been written then.
    pub fn write_definitions(
        &mut self,
        definitions: Definitions<'_>,
        end: EofPacket,
    ) -> Result<(), ProtocolError> {
        let (start, seq) = (self.output.len(), self.writer.next_seq());
        self.write_with(|out| put_lenenc_int(out, u64::from(definitions.count)));
        if let Err(error) = self.write_definition_list(definitions, end) {
            self.output.truncate(start);
            self.writer.set_next_seq(seq);
            return Err(error);
        }
        Ok(())
    }

    /// Writes the answer to COM_FIELD_LIST: definitions with default values, without their number.
    ///
    /// # Errors
    /// As [`write_definitions`](Self::write_definitions).
    pub fn write_field_list(&mut self, run: &[u8], end: &OkPacket<'_>) -> Result<(), ProtocolError> {
        self.prepare_output();
        self.writer.write_run(&mut self.output, run)?;
        self.write_end_of_rows(end);
        Ok(())
    }

    /// Writes one row that is already encoded, as text or binary.
    pub fn write_row(&mut self, payload: &[u8]) {
        self.prepare_output();
        self.writer.write(&mut self.output, payload);
    }

    /// Writes one text row of values; `None` is NULL.
    pub fn write_text_row<'a>(&mut self, values: impl IntoIterator<Item = Option<&'a [u8]>>) {
        self.write_with(|out| {
            for value in values {
                match value {
                    Some(bytes) => put_lenenc_bytes(out, bytes),
                    None => out.put_u8(NULL_COLUMN),
                }
            }
        });
    }

    /// Passes on a run of whole packets, mostly rows, under this answer's sequence numbers, and sends
    /// when enough has been collected.
    ///
    /// Not cancel safe: a dropped call may have written the run or not.
    pub async fn forward_rows(&mut self, run: &[u8]) -> Result<(), Closed> {
        self.prepare_output();
        self.writer.write_run(&mut self.output, run).map_err(Closed::Protocol)?;
        self.flush_if_full().await
    }

    /// Passes on one piece of a packet that is too long to be held whole. `starts_packet` says that it
    /// begins with that packet's header, all four bytes of it.
    ///
    /// Not cancel safe, as [`forward_rows`](Self::forward_rows).
    pub async fn forward_piece(&mut self, piece: &[u8], starts_packet: bool) -> Result<(), Closed> {
        self.writer.write_piece(&mut self.output, piece, starts_packet);
        self.flush_if_full().await
    }

    /// Writes the end of rows: an OK packet of header `fe`, or an EOF packet with its status and number
    /// of warnings. It is also the whole answer to COM_SET_OPTION.
    pub fn write_end_of_rows(&mut self, end: &OkPacket<'_>) {
        let capabilities = self.capabilities;
        if capabilities.contains(Capabilities::DEPRECATE_EOF) {
            self.write_with(|out| end.encode(out, OkHeader::Rows, capabilities));
        } else {
            let eof = EofPacket { warnings: end.warnings, status: end.status };
            self.write_with(|out| eof.encode(out));
        }
    }

    /// Writes the answer to PREPARE (`page_protocol_com_stmt_prepare.html`). Each list of definitions
    /// has its own end for clients without DEPRECATE_EOF, unless it is empty.
    ///
    /// # Errors
    /// As [`write_definitions`](Self::write_definitions).
    pub fn write_prepared(&mut self, reply: &PreparedReply<'_>) -> Result<(), ProtocolError> {
        let (start, seq) = (self.output.len(), self.writer.next_seq());
        self.write_with(|out| {
            out.put_u8(0);
            out.put_u32_le(reply.statement);
            out.put_u16_le(reply.columns.count);
            out.put_u16_le(reply.parameters.count);
            out.put_u8(0);
            out.put_u16_le(reply.end.warnings);
        });
        for list in [reply.parameters, reply.columns].into_iter().filter(|list| list.count > 0) {
            if let Err(error) = self.write_definition_list(list, reply.end) {
                self.output.truncate(start);
                self.writer.set_next_seq(seq);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes a packet of bare text: the answer to COM_STATISTICS.
    pub fn write_statistics(&mut self, text: &str) {
        self.write_with(|out| out.put_slice(text.as_bytes()));
    }

    /// Tells the client the error and ends the connection, as MySQL does after a failed login.
    pub async fn refuse(mut self, error: SqlError) -> Closed {
        self.write_error(&error);
        self.close().await;
        Closed::Refused(error)
    }

    /// How many bytes have been written and not been sent yet.
    #[must_use]
    pub fn unsent(&self) -> usize {
        self.output.len()
    }

    /// Writes one packet whose payload `encode` appends.
    pub(super) fn write_with(&mut self, encode: impl FnOnce(&mut BytesMut)) {
        self.prepare_output();
        self.writer.write_with(&mut self.output, encode);
    }

    fn write_definition_list(
        &mut self,
        definitions: Definitions<'_>,
        end: EofPacket,
    ) -> Result<(), ProtocolError> {
        let seq = self.writer.next_seq();
        self.writer.write_run(&mut self.output, definitions.run)?;
        // Sequence numbers count the packets; a count that is off would make the client misread rows.
        if self.writer.next_seq().wrapping_sub(seq) != definitions.count.to_le_bytes()[0] {
            return Err(ProtocolError::Malformed("number of definitions"));
        }
        if !self.capabilities.contains(Capabilities::DEPRECATE_EOF) {
            self.write_with(|out| end.encode(out));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::error::SqlState;
    use crate::frontend::{ClientStream, ConnectionLimits};
    use crate::protocol::capability::Status;
    use crate::protocol::column::Column;
    use crate::protocol::packet::{HEADER_LEN, Header};
    use crate::protocol::response::SessionChangesBuilder;

    const CLASSIC: Capabilities = Capabilities::PROTOCOL_41;
    const MODERN: Capabilities =
        Capabilities(CLASSIC.0 | Capabilities::DEPRECATE_EOF.0 | Capabilities::SESSION_TRACK.0);

    /// A connection after login, and the client's end of it.
    async fn connected(capabilities: Capabilities) -> (ClientConnection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (near, _) = listener.accept().await.unwrap();
        let limits = ConnectionLimits::default();
        let mut client = ClientConnection::new(ClientStream::tcp(near).unwrap(), 7, [1; 20], limits);
        client.capabilities = capabilities;
        client.writer.set_next_seq(1);
        (client, far)
    }

    /// The payloads in the output buffer, whose numbers must follow each other from 1.
    fn payloads(client: &ClientConnection) -> Vec<Vec<u8>> {
        let mut rest = &client.output[..];
        let mut payloads = Vec::new();
        while let Some(header) = Header::parse(rest) {
            assert_eq!(usize::from(header.seq), (payloads.len() + 1) % 256);
            payloads.push(rest[HEADER_LEN..HEADER_LEN + header.length].to_vec());
            rest = &rest[HEADER_LEN + header.length..];
        }
        assert!(rest.is_empty());
        payloads
    }

    fn end(status: Status) -> OkPacket<'static> {
        OkPacket { status, ..OkPacket::default() }
    }

    #[tokio::test]
    async fn a_result_set_in_both_dialects() {
        let columns = Columns::build([Column::integer(b"n")]);
        for (capabilities, expected) in [
            (
                MODERN,
                vec![
                    vec![1],
                    columns.payload(0).unwrap().to_vec(),
                    b"\x015".to_vec(),
                    b"\xfb".to_vec(),
                    b"\xfe\0\0\x02\0\0\0".to_vec(),
                ],
            ),
            (
                CLASSIC,
                vec![
                    vec![1],
                    columns.payload(0).unwrap().to_vec(),
                    b"\xfe\0\0\x02\0".to_vec(),
                    b"\x015".to_vec(),
                    b"\xfb".to_vec(),
                    b"\xfe\0\0\x02\0".to_vec(),
                ],
            ),
        ] {
            let (mut client, _far) = connected(capabilities).await;
            let eof = EofPacket { warnings: 0, status: Status::AUTOCOMMIT };
            client.write_definitions((&columns).into(), eof).unwrap();
            client.write_text_row([Some(&b"5"[..])]);
            client.write_text_row([None]);
            client.write_end_of_rows(&end(Status::AUTOCOMMIT));
            assert_eq!(payloads(&client), expected);
        }
    }

    #[tokio::test]
    async fn forwarded_rows_get_this_answers_numbers() {
        let (mut client, _far) = connected(MODERN).await;
        client.writer.set_next_seq(1);
        let run: Vec<u8> =
            (0..300_u16).flat_map(|row| [2, 0, 0, row.to_le_bytes()[0] ^ 0x55, 1, b'x']).collect();
        client.forward_rows(&run).await.unwrap();
        let error =
            SqlError::from_server(1317, SqlState(*b"70100"), "Query execution was interrupted".into());
        client.write_error(&error);
        let payloads = payloads(&client);
        assert_eq!(payloads.len(), 301);
        assert!(payloads[..300].iter().all(|row| row == b"\x01x"));
        assert_eq!(payloads[300], b"\xff\x25\x05#70100Query execution was interrupted");
        // Half a packet is a fault of ours; nothing of it is written.
        let before = client.unsent();
        assert!(matches!(client.forward_rows(&run[..7]).await, Err(Closed::Protocol(_))));
        assert_eq!(client.unsent(), before);
    }

    #[tokio::test]
    async fn the_answer_to_prepare() {
        let (parameter, column) = (Column::text(b"?", 1), Column::integer(b"n"));
        let (parameters, columns) = (Columns::build([parameter, parameter]), Columns::build([column]));
        for (capabilities, ends) in [(MODERN, 0), (CLASSIC, 2)] {
            let (mut client, _far) = connected(capabilities).await;
            let reply = PreparedReply {
                statement: 258,
                parameters: (&parameters).into(),
                columns: (&columns).into(),
                end: EofPacket { warnings: 3, status: Status::AUTOCOMMIT },
            };
            client.write_prepared(&reply).unwrap();
            let payloads = payloads(&client);
            assert_eq!(payloads[0], [0, 2, 1, 0, 0, 1, 0, 2, 0, 0, 3, 0]);
            assert_eq!(payloads.len(), 4 + ends);
            assert_eq!(payloads.iter().filter(|payload| payload[0] == 0xfe).count(), ends);
            // Neither parameters nor columns: the head alone, as for DO 1.
            let before = client.unsent();
            client.write_prepared(&PreparedReply::default()).unwrap();
            assert_eq!(client.unsent() - before, HEADER_LEN + 12);
        }
        let (mut client, _far) = connected(MODERN).await;
        let wrong = Definitions { count: 2, run: columns.run() };
        assert!(client.write_definitions(wrong, EofPacket::default()).is_err());
        assert_eq!((client.unsent(), client.writer.next_seq()), (0, 1));
    }

    #[tokio::test]
    async fn session_tracking_reaches_those_who_asked() {
        let changes = SessionChangesBuilder::default().schema(b"test");
        let ok = OkPacket { session_state: changes.build(), ..end(Status::AUTOCOMMIT) };
        let (mut client, _far) = connected(MODERN).await;
        client.write_ok(&ok);
        assert_eq!(payloads(&client), [b"\0\0\0\x02\x40\0\0\0\x07\x01\x05\x04test".to_vec()]);
        let (mut client, _far) = connected(CLASSIC).await;
        client.write_ok(&ok);
        assert_eq!(payloads(&client), [b"\0\0\0\x02\0\0\0".to_vec()]);
    }

    #[tokio::test]
    async fn idle_clients_are_small() {
        let (mut client, _far) = connected(MODERN).await;
        assert!(size_of::<ClientConnection>() <= 512, "{}", size_of::<ClientConnection>());
        assert!(size_of_val(&client.next_command()) <= 512, "{}", size_of_val(&client.next_command()));
        assert!(size_of_val(&client.client_gone()) <= 256, "{}", size_of_val(&client.client_gone()));
        assert!(size_of_val(&client.forward_rows(&[])) <= 512);
    }
}
