//! What may one client use, and why is its connection over?

use std::io;
use std::time::Duration;

use crate::error::SqlError;
use crate::protocol::ProtocolError;

/// What one client may use.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// The longest packet that is read, in bytes.
    pub max_allowed_packet: usize,
    /// How long a client may be silent between commands; `None` for ever.
    pub idle_timeout: Option<Duration>,
    /// How long a client may pause inside a packet.
    pub read_timeout: Duration,
    /// How long a client may refuse to take more of an answer.
    pub write_timeout: Duration,
    /// How many bytes of answer are collected before they are sent.
    pub flush_at: usize,
}

/// Why a client's connection is over. Where there is something to tell the client it has been told.
#[derive(Debug, thiserror::Error)]
pub enum Closed {
    /// The client closed it.
    #[error("the client closed the connection")]
    ByClient,
    /// The socket failed.
    #[error("the client's connection broke: {0}")]
    Broken(#[from] io::Error),
    /// Silent for longer than the idle timeout (error 4031).
    #[error("the client was idle for too long")]
    Idle,
    /// Paused inside a packet for longer than the read timeout.
    #[error("the client stopped inside a packet")]
    Stalled,
    /// Did not take its answer within the write timeout.
    #[error("the client does not read its answer")]
    NotReading,
    /// Bytes that are no packets (errors 1153, 1156).
    #[error("the client sent bad packets: {0}")]
    Protocol(#[from] ProtocolError),
    /// The login took too long.
    #[error("the client did not log in in time")]
    LoginTimeout,
    /// An error was sent after which MySQL closes too, such as 1045.
    #[error("the client was refused: {0}")]
    Refused(SqlError),
}

// === impl ConnectionLimits ===

impl Default for ConnectionLimits {
    /// MySQL's defaults; 32 KiB of answer per flush.
    fn default() -> Self {
        Self {
            max_allowed_packet: 64 << 20,
            idle_timeout: Some(Duration::from_secs(28_800)),
            read_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            flush_at: 32 << 10,
        }
    }
}

// === impl Closed ===

impl Closed {
    /// Whether the end is the client's ordinary way to leave, not worth a line in the log.
    #[must_use]
    pub fn is_ordinary(&self) -> bool {
        matches!(self, Self::ByClient | Self::Idle)
    }
}
