//! Where do the bytes from a server wait until they are passed on?
//!
//! Hot path: one buffer per connection, reused for its whole life; the only copies are those of a cut
//! packet to the front. A read that leaves room means that the socket is drained; tokio notes that
//! and does not read again before the socket is ready.

use std::io;
use std::ops::Range;

use tokio::io::AsyncReadExt;

use super::stream::Stream;
use crate::protocol::packet::{HEADER_LEN, Header};

/// The size that an idle connection keeps, in bytes.
const REST_SIZE: usize = 16 * 1024;

/// The size that a buffer grows to while rows stream, in bytes.
pub(super) const STREAM_SIZE: usize = 256 * 1024;

/// Received bytes that are not consumed yet.
#[derive(Debug)]
pub(super) struct Inbox {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    received: u64,
}

// === impl Inbox ===

impl Inbox {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; REST_SIZE], start: 0, end: 0, received: 0 }
    }

    /// What is there.
    pub(super) fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// A range of [`Inbox::unread`].
    pub(super) fn slice(&self, range: Range<usize>) -> &[u8] {
        &self.unread()[range]
    }

    /// Bytes received since the connection began.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// The header at the front, if it is there.
    pub(super) fn header(&self) -> Option<Header> {
        Header::parse(self.unread())
    }

    /// The header at the front, if its whole packet is there.
    pub(super) fn whole(&self) -> Option<Header> {
        self.header().filter(|header| self.unread().len() >= HEADER_LEN + header.length)
    }

    /// Forgets the first `count` unread bytes.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = Ord::min(self.start + count, self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Reads once, with room for at least `wanted` unread bytes in all. Cancel-safe.
    ///
    /// # Errors
    /// The socket's, or [`io::ErrorKind::UnexpectedEof`].
    pub(super) async fn fill(&mut self, stream: &mut Stream, wanted: usize) -> io::Result<()> {
        self.make_room(wanted);
        let count = stream.read(&mut self.buffer[self.end..]).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.end += count;
        self.received += count as u64;
        // A full buffer means that more is waiting: larger reads are cheaper.
        if self.end == self.buffer.len() && self.buffer.len() < STREAM_SIZE {
            let larger = Ord::min(self.buffer.len() * 2, STREAM_SIZE);
            self.buffer.resize(larger, 0);
        }
        Ok(())
    }

    /// Gives back what a large answer took.
    pub(super) fn shrink(&mut self) {
        if self.start == self.end && self.buffer.len() > REST_SIZE {
            *self = Self { received: self.received, ..Self::new() };
        }
    }

    fn make_room(&mut self, wanted: usize) {
        if self.start > 0 && (self.end == self.buffer.len() || self.start + wanted > self.buffer.len()) {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if wanted > self.buffer.len() || self.end == self.buffer.len() {
            let size = Ord::max(wanted, self.end + REST_SIZE);
            self.buffer.resize(size, 0);
        }
    }
}
