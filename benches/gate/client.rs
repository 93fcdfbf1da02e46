//! How does the driver itself speak to MySQL, with as little cost of its own as possible?
//!
//! A blocking client of the text protocol for accounts without a password: enough to load tables,
//! to run a fixed number of queries and to drain a large result. It is written from the protocol
//! documentation and shares no code with the gate, so that it can be its judge.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// One logged-in connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// What one result weighed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// Rows.
    pub(crate) rows: u64,
    /// Bytes on the wire, headers included.
    pub(crate) bytes: u64,
}

const LONG_PASSWORD: u32 = 1;
const CONNECT_WITH_DB: u32 = 1 << 3;
const PROTOCOL_41: u32 = 1 << 9;
const TRANSACTIONS: u32 = 1 << 13;
const SECURE_CONNECTION: u32 = 1 << 15;
const PLUGIN_AUTH: u32 = 1 << 19;
const DEPRECATE_EOF: u32 = 1 << 24;

/// Longest silence of a server that is taken for work and not for a hang.
const SILENCE: Duration = Duration::from_secs(120);

// === impl Client ===

impl Client {
    /// Connects and logs in as `user`, who has no password.
    pub(crate) fn connect(address: impl ToSocketAddrs, user: &str, database: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE))?;
        let mut client = Self { stream, buffer: vec![0; 16 * 1024], start: 0, end: 0 };
        client.login(user, database)?;
        Ok(client)
    }

    fn login(&mut self, user: &str, database: &str) -> io::Result<()> {
        let (sequence, greeting) = self.packet()?;
        refuse_error(&greeting)?;
        let mut flags =
            LONG_PASSWORD | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | PLUGIN_AUTH | DEPRECATE_EOF;
        if !database.is_empty() {
            flags |= CONNECT_WITH_DB;
        }
        let mut reply = Vec::with_capacity(128);
        reply.extend_from_slice(&flags.to_le_bytes());
        reply.extend_from_slice(&(1_u32 << 24).to_le_bytes());
        // utf8mb4_general_ci, known to every server, and 23 reserved bytes.
        reply.push(45);
        reply.extend_from_slice(&[0; 23]);
        reply.extend_from_slice(user.as_bytes());
        // End of the name, then an empty proof.
        reply.extend_from_slice(&[0, 0]);
        if !database.is_empty() {
            reply.extend_from_slice(database.as_bytes());
            reply.push(0);
        }
        reply.extend_from_slice(b"caching_sha2_password\0");
        self.send(sequence.wrapping_add(1), &reply)?;
        loop {
            let (sequence, answer) = self.packet()?;
            refuse_error(&answer)?;
            match answer.first() {
                Some(0x00) => return Ok(()),
                // Another plugin is asked for: an empty password has an empty proof everywhere.
                Some(0xFE) => self.send(sequence.wrapping_add(1), &[])?,
                // caching_sha2_password says "fast path done"; OK follows.
                Some(0x01) => {}
                _ => return Err(io::Error::other("unexpected answer to the login")),
            }
        }
    }

    /// Runs one statement and throws its rows away.
    pub(crate) fn query(&mut self, sql: &str) -> io::Result<Received> {
        let mut command = Vec::with_capacity(sql.len() + 1);
        command.push(0x03);
        command.extend_from_slice(sql.as_bytes());
        self.send(0, &command)?;
        let (_, first) = self.packet()?;
        refuse_error(&first)
            .map_err(|error| io::Error::other(format!("{error} — {}", sql.get(..200).unwrap_or(sql))))?;
        let mut received = Received { rows: 0, bytes: first.len() as u64 + 4 };
        let columns = match first.first() {
            Some(0x00) => return Ok(received),
            Some(&count) if count < 0xFB => count,
            _ => return Err(io::Error::other("unexpected first packet of a result")),
        };
        for _ in 0..columns {
            received.bytes += self.packet()?.1.len() as u64 + 4;
        }
        self.drain_rows(&mut received)?;
        Ok(received)
    }

    /// Walks over row packets in place until the packet that ends them.
    fn drain_rows(&mut self, received: &mut Received) -> io::Result<()> {
        loop {
            self.fill(5)?;
            let length = self.length_at_start();
            let first = self.buffer[self.start + 4];
            received.bytes += length as u64 + 4;
            let ends = first == 0xFF || (first == 0xFE && length < 0xFF_FFFF);
            if ends {
                let (_, last) = self.packet()?;
                return refuse_error(&last);
            }
            received.rows += 1;
            self.skip(length + 4)?;
        }
    }

    /// The first column of the only row of a query, as text.
    pub(crate) fn scalar(&mut self, sql: &str) -> io::Result<String> {
        self.rows(sql)?
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().next())
            .ok_or_else(|| io::Error::other(format!("no row from {sql}")))
    }

    /// All rows of a query as texts. NULL is not expected by any caller.
    pub(crate) fn rows(&mut self, sql: &str) -> io::Result<Vec<Vec<String>>> {
        let mut command = vec![0x03];
        command.extend_from_slice(sql.as_bytes());
        self.send(0, &command)?;
        let (_, first) = self.packet()?;
        refuse_error(&first)?;
        for _ in 0..first.first().copied().unwrap_or(0) {
            self.packet()?;
        }
        let mut rows = Vec::new();
        loop {
            let (_, packet) = self.packet()?;
            refuse_error(&packet)?;
            if packet.first() == Some(&0xFE) && packet.len() < 0xFF_FFFF {
                return Ok(rows);
            }
            rows.push(text_columns(&packet)?);
        }
    }

    fn send(&mut self, sequence: u8, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?.to_le_bytes();
        let mut packet = Vec::with_capacity(payload.len() + 4);
        packet.extend_from_slice(&[length[0], length[1], length[2], sequence]);
        packet.extend_from_slice(payload);
        self.stream.write_all(&packet)
    }

    fn packet(&mut self) -> io::Result<(u8, Vec<u8>)> {
        self.fill(4)?;
        let length = self.length_at_start();
        let sequence = self.buffer[self.start + 3];
        self.fill(length + 4)?;
        let payload = self.buffer[self.start + 4..self.start + 4 + length].to_vec();
        self.start += length + 4;
        Ok((sequence, payload))
    }

    fn length_at_start(&self) -> usize {
        let header = &self.buffer[self.start..self.start + 3];
        usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16
    }

    /// Makes at least `wanted` bytes stand in the buffer.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        while self.end - self.start < wanted {
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            // A big result is read in big pieces: the driver must not be what is measured.
            if self.end * 2 > self.buffer.len() || self.buffer.len() < wanted {
                let room = (self.buffer.len() * 2).max(wanted).min(256 * 1024).max(wanted);
                self.buffer.resize(room, 0);
            }
            let read = self.stream.read(&mut self.buffer[self.end..])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.end += read;
        }
        Ok(())
    }

    fn skip(&mut self, bytes: usize) -> io::Result<()> {
        self.fill(bytes)?;
        self.start += bytes;
        Ok(())
    }
}

/// An ERR packet as an error.
fn refuse_error(payload: &[u8]) -> io::Result<()> {
    if payload.first() == Some(&0xFF) {
        return Err(io::Error::other(
            String::from_utf8_lossy(payload.get(3..).unwrap_or_default()).into_owned(),
        ));
    }
    Ok(())
}

/// Splits a text row of short columns (below 64 KiB each).
fn text_columns(mut row: &[u8]) -> io::Result<Vec<String>> {
    let mut columns = Vec::new();
    while let Some((&first, rest)) = row.split_first() {
        let (length, rest) = match first {
            0..=0xFA => (usize::from(first), rest),
            0xFC if rest.len() >= 2 => (usize::from(rest[0]) | usize::from(rest[1]) << 8, &rest[2..]),
            _ => return Err(io::Error::other("unexpected column in a row")),
        };
        let (column, rest) = rest.split_at_checked(length).ok_or_else(|| io::Error::other("cut-off row"))?;
        columns.push(String::from_utf8_lossy(column).into_owned());
        row = rest;
    }
    Ok(columns)
}
