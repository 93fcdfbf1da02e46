//! How does a client's socket carry compressed packets?
//!
//! Readers and writers see the stream of ordinary packets. Memory: one compressed packet of at most
//! 16 MiB and what it holds, in each direction; none for clients that do not compress.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::protocol::ProtocolError;
use crate::protocol::compression::{Algorithm, FrameDecoder, FrameEncoder};

/// How much of the stream goes into one compressed packet. A slow client takes at least this much within
/// the write timeout.
const PIECE: usize = 256 << 10;

/// How much is read from the socket at once.
const READ: usize = 16 << 10;

/// What a buffer keeps of its memory when it is empty.
const KEEP: usize = 64 << 10;

/// A socket whose packets are compressed.
#[derive(Debug)]
pub(super) struct Compressed<S> {
    socket: S,
    encoder: FrameEncoder,
    decoder: FrameDecoder,
    /// From the socket, not decompressed yet.
    raw: BytesMut,
    /// Decompressed, not read yet.
    plain: BytesMut,
    /// Compressed, not sent yet.
    out: BytesMut,
    /// How many bytes of the stream were decompressed so far.
    received: u64,
    /// The last packets that were decompressed: how far in the stream each reaches, and its number.
    numbers: VecDeque<(u64, u8)>,
    /// The number that the next packet of the client has, unless a command begins with 0.
    due: u8,
    /// The number of the next packet that is sent.
    next: u8,
}

// === impl Compressed ===

impl<S> Compressed<S> {
    /// From here on both sides compress. `early` is what was read from the socket already.
    pub(super) fn new(socket: S, algorithm: Algorithm, early: &[u8]) -> io::Result<Self> {
        Ok(Self {
            socket,
            encoder: FrameEncoder::new(algorithm)?,
            decoder: FrameDecoder::new(algorithm)?,
            raw: BytesMut::from(early),
            plain: BytesMut::new(),
            out: BytesMut::new(),
            received: 0,
            numbers: VecDeque::new(),
            due: 0,
            next: 0,
        })
    }

    /// The socket below.
    pub(super) fn socket(&self) -> &S {
        &self.socket
    }

    /// The command has been read that ends `unread` bytes before the end of what was read: its answer's
    /// numbers follow those of the packets that it came in. Tells the first of them.
    pub(super) fn command_taken(&mut self, unread: usize) -> u8 {
        let at = self.received - self.plain.len() as u64 - unread as u64;
        while let Some(&(end, number)) = self.numbers.front() {
            self.next = number.wrapping_add(1);
            if end >= at {
                break;
            }
            self.numbers.pop_front();
        }
        self.next
    }

    /// Decompresses what has arrived whole.
    fn decompress(&mut self) -> Result<(), ProtocolError> {
        while self.plain.is_empty() {
            let before = self.plain.len();
            let Some(number) = self.decoder.decode(&mut self.raw, &mut self.plain)? else { break };
            if number != self.due && number != 0 {
                return Err(ProtocolError::OutOfOrder { expected: self.due, found: number });
            }
            self.due = number.wrapping_add(1);
            self.received += (self.plain.len() - before) as u64;
            self.numbers.push_back((self.received, number));
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Compressed<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            this.decompress().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if !this.plain.is_empty() {
                let count = Ord::min(this.plain.len(), buffer.remaining());
                buffer.put_slice(&this.plain[..count]);
                this.plain.advance(count);
                if this.plain.is_empty() && this.plain.capacity() > KEEP {
                    this.plain = BytesMut::new();
                }
                return Poll::Ready(Ok(()));
            }
            if this.raw.is_empty() && this.raw.capacity() > KEEP {
                this.raw = BytesMut::new();
            }
            let mut chunk = [0_u8; READ];
            let mut read = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.socket).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.raw.extend_from_slice(read.filled());
        }
    }
}

impl<S: AsyncWrite + Unpin> Compressed<S> {
    /// Gives the socket all that is compressed.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let count = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.out))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(count);
        }
        if self.out.capacity() > KEEP {
            self.out = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Compressed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        let piece = &bytes[..Ord::min(bytes.len(), PIECE)];
        this.encoder.encode(piece, this.next, &mut this.out);
        this.next = this.next.wrapping_add(1);
        // A client that answers goes on counting.
        this.due = this.next;
        // What the socket does not take now goes with the next write or flush.
        if let Poll::Ready(Err(error)) = this.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}
