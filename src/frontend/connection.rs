//! How do a client's bytes become commands, and answers become bytes on its socket?
//!
//! Hot path: one read and one write system call for a small command and its answer, no allocation once
//! the buffers have grown, and under 1.5 KiB of buffers for a client that has been quiet for a second.
//!
//! Answers collect in one output buffer ([`super::reply`] fills it) and leave it by [`flush`], which
//! waits for the socket: a client that reads slowly slows down whoever writes to it. Everything here is
//! bounded: packets by `max_allowed_packet`, pipelined commands by [`PIPELINE_LIMIT`], waits by
//! [`ConnectionLimits`].
//!
//! [`flush`]: ClientConnection::flush

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::time::{Instant, Sleep};

use super::limits::{Closed, ConnectionLimits};
use super::stream::{ClientStream, Peer};
use crate::error::SqlError;
use crate::protocol::ProtocolError;
use crate::protocol::auth::NONCE_LEN;
use crate::protocol::capability::Capabilities;
use crate::protocol::compression::Algorithm;
use crate::protocol::packet::{HEADER_LEN, Header, PacketDecoder, PacketWriter};
use crate::protocol::response::{encode_error, encode_error_before_greeting};

/// What a quiet client's read buffer holds: most commands fit.
const QUIET_BUFFER: usize = 512;

/// What a busy client's read buffer holds.
const BUSY_BUFFER: usize = 16 << 10;

/// The first size of the output buffer.
const OUTPUT_START: usize = 2 << 10;

/// An output buffer that has grown beyond this is given back after its flush.
const OUTPUT_KEEP: usize = 256 << 10;

/// After this time without a command the buffers are given back.
const RELEASE_AFTER: Duration = Duration::from_secs(1);

/// How many bytes of pipelined commands are read while a command runs. A client that sends more is not
/// watched any longer until the command ends.
pub const PIPELINE_LIMIT: usize = 64 << 10;

/// How much a closing connection still reads, so that the client gets the last error instead of a reset.
const LINGER_BYTES: usize = 1 << 20;

/// How long a closing connection still reads.
const LINGER_TIME: Duration = Duration::from_millis(500);

/// The gate's side of one client's connection.
#[derive(Debug)]
pub struct ClientConnection {
    pub(super) stream: ClientStream,
    pub(super) writer: PacketWriter,
    pub(super) output: BytesMut,
    /// How many bytes of `output` the socket has taken.
    sent: usize,
    /// How many bytes the socket took before those, since they were last counted.
    delivered: u64,
    input: BytesMut,
    /// The size of the memory behind `input`, about.
    input_size: usize,
    decoder: PacketDecoder,
    pub(super) capabilities: Capabilities,
    pub(super) nonce: [u8; NONCE_LEN],
    pub(super) limits: ConnectionLimits,
    id: u32,
    /// Rings for the release of buffers and for the timeouts. It is not set anew for every command:
    /// when it rings, `quiet_since` says what is due.
    timer: Pin<Box<Sleep>>,
    quiet_since: Instant,
    at_end: bool,
    /// What both sides compress with, once the answer to the login is sent.
    pub(super) compression: Option<Algorithm>,
}

enum Event {
    Read(io::Result<usize>),
    Tick,
}

// === impl ClientConnection ===

impl ClientConnection {
    /// Takes over a socket whose client has not been greeted yet.
    pub(super) fn new(
        stream: ClientStream,
        id: u32,
        nonce: [u8; NONCE_LEN],
        limits: ConnectionLimits,
    ) -> Self {
        let now = Instant::now();
        Self {
            stream,
            writer: PacketWriter::new(0),
            output: BytesMut::new(),
            sent: 0,
            delivered: 0,
            input: BytesMut::with_capacity(QUIET_BUFFER),
            input_size: QUIET_BUFFER,
            decoder: PacketDecoder::new(limits.max_allowed_packet),
            capabilities: Capabilities::default(),
            nonce,
            limits,
            id,
            timer: Box::pin(tokio::time::sleep_until(now + RELEASE_AFTER)),
            quiet_since: now,
            at_end: false,
            compression: None,
        }
    }

    /// The connection's id, as the greeting told it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Bytes written for the client since its last command, whether sent or still collected.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.delivered + self.output.len() as u64
    }

    /// Where the client connects from.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.stream.peer()
    }

    /// What both sides agreed on.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Whether the connection runs in TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.stream.is_tls()
    }

    /// Sets another idle timeout: the session's `wait_timeout` or `interactive_timeout`.
    pub fn set_idle_timeout(&mut self, timeout: Option<Duration>) {
        self.limits.idle_timeout = timeout;
    }

    /// Waits for the next command's packet and makes its answer's sequence numbers follow. Sends what
    /// is left of the previous answer first.
    ///
    /// Read it with [`Command::decode`]; drop it before the next call, so that its buffer is used again.
    /// After a [`Closed`] the connection is of no more use but for [`close`](Self::close).
    ///
    /// Cancel safe: bytes that have arrived stay.
    ///
    /// [`Command::decode`]: crate::protocol::command::Command::decode
    pub async fn next_command(&mut self) -> Result<Bytes, Closed> {
        if !self.output.is_empty() {
            self.flush().await?;
        }
        if let Some(algorithm) = self.compression.take() {
            self.compress(algorithm)?;
        }
        let mut waiting = false;
        loop {
            if let Some(payload) = self.buffered_packet()? {
                let compressed = self.stream.command_taken(self.input.len());
                self.writer.set_next_seq(compressed.unwrap_or(self.decoder.next_seq()));
                self.decoder.expect_seq(0);
                return Ok(payload);
            }
            if self.at_end {
                return Err(Closed::ByClient);
            }
            if !waiting {
                waiting = true;
                self.start_waiting();
            }
            self.make_room();
            match self.read_or_tick().await {
                Event::Read(count) => {
                    self.note_read(count)?;
                    // Should the packet not be whole, its own wait begins.
                    waiting = false;
                }
                Event::Tick => self.tick()?,
            }
        }
    }

    /// Returns when the client is gone: closed, reset, or broken. Commands that arrive meanwhile are
    /// kept for [`next_command`](Self::next_command), up to [`PIPELINE_LIMIT`]; from there on it only
    /// waits. Meant for a `select!` beside the work on a command, whose packet may still be held.
    ///
    /// Cancel safe.
    pub async fn client_gone(&mut self) {
        while !self.at_end {
            if self.input.len() >= PIPELINE_LIMIT {
                return std::future::pending().await;
            }
            if self.input.capacity() == self.input.len() {
                self.reserve_input(BUSY_BUFFER);
            }
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => self.at_end = true,
                Ok(_) => {}
            }
        }
    }

    /// Sends everything that has been written, waiting for the socket.
    ///
    /// Cancel safe: what the socket has taken is remembered.
    pub async fn flush(&mut self) -> Result<(), Closed> {
        loop {
            if let Poll::Ready(result) = poll_fn(|cx| Poll::Ready(self.poll_drain(cx))).await {
                self.finish_output();
                return result.map_err(Closed::Broken);
            }
            // The socket is full. Each wait for it ends with progress or with the deadline.
            let (before, limit) = (self.sent, self.limits.write_timeout);
            let progress = poll_fn(|cx| match self.poll_drain(cx) {
                Poll::Pending if self.sent == before => Poll::Pending,
                _ => Poll::Ready(()),
            });
            if tokio::time::timeout(limit, progress).await.is_err() {
                return Err(Closed::NotReading);
            }
        }
    }

    /// How many bytes were sent since the last call, for a counter.
    pub fn take_delivered(&mut self) -> u64 {
        std::mem::take(&mut self.delivered)
    }

    /// Sends what has been written once it is worth a system call. Call it between pieces of a long
    /// answer. Cancel safe.
    pub async fn flush_if_full(&mut self) -> Result<(), Closed> {
        if self.output.len() - self.sent >= self.limits.flush_at {
            return self.flush().await;
        }
        Ok(())
    }

    /// Ends the connection: sends what is left, and reads on for a moment, because closing a socket with
    /// unread bytes would reset it and take the last error away from the client. Never fails.
    pub async fn close(mut self) {
        if self.at_end {
            return;
        }
        let linger = async {
            if self.flush().await.is_err() || self.stream.shutdown().await.is_err() {
                return;
            }
            let mut left = LINGER_BYTES;
            while left > 0 {
                self.input.clear();
                self.reserve_input(QUIET_BUFFER);
                match self.stream.read_buf(&mut self.input).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => left = left.saturating_sub(count),
                }
            }
        };
        // The deadline is short, whatever the client does.
        let _ = tokio::time::timeout(LINGER_TIME, linger).await;
    }

    /// The next packet of the login, reading not one byte more: what follows it may be the first bytes
    /// of TLS. Not on the hot path. Not cancel safe with respect to sequence numbers.
    pub(super) async fn login_packet(&mut self, limit: usize) -> Result<Bytes, Closed> {
        self.flush().await?;
        self.decoder.set_limit(limit);
        self.decoder.expect_seq(self.writer.next_seq());
        loop {
            if let Some(payload) = self.buffered_packet()? {
                self.decoder.set_limit(self.limits.max_allowed_packet);
                let compressed = self.stream.command_taken(self.input.len());
                self.writer.set_next_seq(compressed.unwrap_or(self.decoder.next_seq()));
                self.decoder.expect_seq(0);
                return Ok(payload);
            }
            let due = Header::parse(&self.input).map_or(HEADER_LEN, |header| HEADER_LEN + header.length);
            let missing = due.saturating_sub(self.input.len());
            let read = (&mut self.stream).take(missing as u64).read_buf(&mut self.input).await;
            self.note_read(read)?;
        }
    }

    /// Writes an error, sends it if the socket takes it at once, and hands it back as the reason of the
    /// end. `greeted` is false before the greeting, where errors have no SQLSTATE.
    pub(super) fn farewell(&mut self, error: &SqlError, greeted: bool) {
        self.writer.write_with(&mut self.output, |out| {
            if greeted { encode_error(error, out) } else { encode_error_before_greeting(error, out) }
        });
        // One attempt without waiting: a client that does not read does not get it.
        let _ = self.poll_drain(&mut Context::from_waker(std::task::Waker::noop()));
    }

    /// The login is answered: from here on both sides compress.
    fn compress(&mut self, algorithm: Algorithm) -> Result<(), Closed> {
        self.stream.compress(algorithm, &self.input)?;
        self.input.clear();
        // Inside compressed packets numbers are not checked, as servers do.
        self.decoder.ignore_seq();
        Ok(())
    }

    /// One packet off the buffer. Errors are told to the client.
    fn buffered_packet(&mut self) -> Result<Option<Bytes>, Closed> {
        match self.decoder.decode(&mut self.input) {
            Ok(packet) => Ok(packet.map(|packet| packet.payload)),
            Err(error) => {
                // MySQL answers a wrong number with number 0, anything else with the next number.
                let seq = match error {
                    ProtocolError::OutOfOrder { .. } => 0,
                    _ => Header::parse(&self.input).map_or(0, |header| header.seq.wrapping_add(1)),
                };
                self.writer.set_next_seq(seq);
                self.farewell(&SqlError::from(error), true);
                Err(Closed::Protocol(error))
            }
        }
    }

    fn note_read(&mut self, read: io::Result<usize>) -> Result<(), Closed> {
        match read {
            Ok(0) => {
                self.at_end = true;
                Err(Closed::ByClient)
            }
            Ok(_) => Ok(()),
            Err(error) => {
                self.at_end = true;
                Err(self.unreadable(error))
            }
        }
    }

    /// The client is told about bytes that cannot be decompressed.
    fn unreadable(&mut self, error: io::Error) -> Closed {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<ProtocolError>()).copied();
        let Some(cause) = cause else { return Closed::Broken(error) };
        let told = match cause {
            ProtocolError::OutOfOrder { .. } => SqlError::from(cause),
            _ => SqlError::not_decompressed(),
        };
        self.farewell(&told, true);
        Closed::Protocol(cause)
    }

    /// Starts the clock of a wait, and sees that the buffers are looked at soon.
    fn start_waiting(&mut self) {
        self.quiet_since = Instant::now();
        let limits = self.limits;
        let soon = Ord::min(limits.read_timeout, limits.idle_timeout.unwrap_or(RELEASE_AFTER));
        let look = self.quiet_since + Ord::min(soon, RELEASE_AFTER);
        if self.timer.deadline() > look {
            self.timer.as_mut().reset(look);
        }
    }

    async fn read_or_tick(&mut self) -> Event {
        poll_fn(|cx| {
            // The future of a read holds no state, so it can be made anew for each poll.
            if let Poll::Ready(read) = pin!(self.stream.read_buf(&mut self.input)).poll(cx) {
                return Poll::Ready(Event::Read(read));
            }
            self.timer.as_mut().poll(cx).map(|()| Event::Tick)
        })
        .await
    }

    /// The timer rang during a wait: close, or give back the buffers, and set it for what is due next.
    fn tick(&mut self) -> Result<(), Closed> {
        let quiet = self.quiet_since.elapsed();
        if !self.input.is_empty() {
            if quiet >= self.limits.read_timeout {
                return Err(Closed::Stalled);
            }
            self.timer.as_mut().reset(self.quiet_since + self.limits.read_timeout);
            return Ok(());
        }
        if self.limits.idle_timeout.is_some_and(|limit| quiet >= limit) {
            self.writer.set_next_seq(0);
            self.farewell(&SqlError::idle_timeout(), true);
            return Err(Closed::Idle);
        }
        // Without an idle timeout there is nothing more to do; a day is as good as never.
        let idle_timeout = self.limits.idle_timeout.unwrap_or(Duration::from_secs(86_400));
        let mut next = self.quiet_since + idle_timeout;
        if quiet >= RELEASE_AFTER {
            self.release_buffers();
            if next <= Instant::now() {
                next = Instant::now() + idle_timeout;
            }
        } else {
            next = Ord::min(next, self.quiet_since + RELEASE_AFTER);
        }
        self.timer.as_mut().reset(next);
        Ok(())
    }

    fn release_buffers(&mut self) {
        self.output = BytesMut::new();
        if self.input_size > QUIET_BUFFER {
            self.input = BytesMut::with_capacity(QUIET_BUFFER);
            self.input_size = QUIET_BUFFER;
        }
    }

    /// Makes room for the next read: a little for a quiet client, more for a busy one, and what a long
    /// packet still needs, yet never more than has already arrived of it.
    fn make_room(&mut self) {
        if self.input.is_empty() && self.input_size > 4 * BUSY_BUFFER {
            // A long packet has left; its memory goes with it.
            self.input = BytesMut::with_capacity(BUSY_BUFFER);
            self.input_size = BUSY_BUFFER;
        }
        let have = self.input.len();
        let missing = match Header::parse(&self.input) {
            Some(header) => (HEADER_LEN + header.length).saturating_sub(have),
            None => HEADER_LEN,
        };
        let spare = self.input.capacity() - have;
        if have == 0 && spare < self.input_size {
            // Back to the start of the memory, which nobody shares once the last packet was dropped.
            self.input.reserve(self.input_size);
        } else if have > 0 && spare < Ord::max(missing, QUIET_BUFFER / 2) {
            let wanted = Ord::max(missing, BUSY_BUFFER);
            self.reserve_input(Ord::min(wanted, Ord::max(BUSY_BUFFER, have)));
        }
    }

    fn reserve_input(&mut self, additional: usize) {
        self.input.reserve(additional);
        self.input_size = Ord::max(self.input_size, self.input.len() + additional);
    }

    /// Gives the socket what it takes of the output.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.output.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.output[self.sent..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => self.sent += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn finish_output(&mut self) {
        self.delivered += self.sent as u64;
        self.sent = 0;
        if self.output.capacity() > OUTPUT_KEEP {
            self.output = BytesMut::new();
        } else {
            self.output.clear();
        }
    }

    /// The output buffer, with room for a small answer.
    pub(super) fn prepare_output(&mut self) {
        if self.output.capacity() == 0 {
            self.output.reserve(OUTPUT_START);
        }
    }
}
