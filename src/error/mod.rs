//! What can go wrong that a client gets to see, and with which code, SQLSTATE and text?
//!
//! One error type leaves the product: [`SqlError`]. Rooms keep small private error enums and
//! convert them in one match of their own (`impl From<RoomError> for SqlError`). Errors that a
//! MySQL server sent pass through with their own code, SQLSTATE and text, never re-coded and never
//! matched by text.

use std::error::Error as StdError;
use std::fmt;

mod code;
mod kind;

pub use code::Catalogue;
pub use kind::Kind;

/// The result of everything that may end in an error for the client.
pub type Result<T, E = SqlError> = std::result::Result<T, E>;

/// The five-character SQLSTATE of an error packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(pub [u8; 5]);

/// An error as the client will read it: id, MySQL code, SQLSTATE and text.
///
/// It is one pointer wide, so that `Result<T>` stays small on the hot path.
pub struct SqlError(Box<Inner>);

struct Inner {
    id: Option<&'static str>,
    code: u16,
    state: SqlState,
    message: String,
    kind: Kind,
    source: Option<Box<dyn StdError + Send + Sync>>,
    trouble: Option<(Box<str>, Outcome)>,
}

/// What is known of a statement that its server did not carry out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was not sent, or not taken: it has certainly not run.
    NotSent,
    /// The server answered that it takes no writes at the moment: nothing was changed.
    Refused,
    /// It may have run, in part or as a whole.
    Unknown,
}

// === impl SqlState ===

impl SqlState {
    /// `HY000`, the general state.
    pub const GENERAL: Self = Self(*b"HY000");

    /// The state as text; states are ASCII, anything else reads as `HY000`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("HY000")
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl SqlError ===

impl SqlError {
    /// An error of the catalogue ([`Catalogue`] has one constructor per error; use those).
    pub(crate) fn catalogued(
        id: Option<&'static str>,
        code: u16,
        state: [u8; 5],
        kind: Kind,
        message: String,
    ) -> Self {
        Self(Box::new(Inner { id, code, state: SqlState(state), message, kind, source: None, trouble: None }))
    }

    /// An error that a MySQL server sent: passes to the client untouched.
    #[must_use]
    pub fn from_server(code: u16, state: SqlState, message: String) -> Self {
        Self(Box::new(Inner {
            id: None,
            code,
            state,
            message,
            kind: Kind::Upstream,
            source: None,
            trouble: None,
        }))
    }

    /// Adds the cause, for the log only: the client never reads it.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Notes which shard (`keyspace/shard`) did not carry the statement out, and what is known of it.
    #[must_use]
    pub fn at_shard(mut self, shard: &str, outcome: Outcome) -> Self {
        self.0.trouble = Some((shard.into(), outcome));
        self
    }

    /// As [`Self::at_shard`] where this error is a server's answer that says so: it is read-only (1290,
    /// 1836), offline (3032), stopping (1053), or has killed the session (1927, 3169). The last three
    /// speak of the gate's connection to the server: for the client they mean that the shard was lost.
    #[must_use]
    pub fn answered_by(self, shard: &str) -> Self {
        match self.0.code {
            1290 | 1836 | 3032 => self.at_shard(shard, Outcome::Refused),
            1053 | 1927 | 3169 if self.0.kind == Kind::Upstream => {
                Self::shard_lost(shard).at_shard(shard, Outcome::Unknown).caused_by(self)
            }
            _ => self,
        }
    }

    /// The shard that did not carry the statement out, and what is known of the statement.
    #[must_use]
    pub fn trouble(&self) -> Option<(&str, Outcome)> {
        self.0.trouble.as_ref().map(|(shard, outcome)| (&**shard, *outcome))
    }

    /// The same error for a statement that must not be tried again: the client has a part of its answer,
    /// or a part of it stays done.
    #[must_use]
    pub fn final_answer(mut self) -> Self {
        self.0.trouble = None;
        self
    }

    /// The `VTnnnnn` id, where the error has one.
    #[must_use]
    pub fn id(&self) -> Option<&'static str> {
        self.0.id
    }

    /// MySQL's error number.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.0.code
    }

    /// MySQL's SQLSTATE.
    #[must_use]
    pub fn state(&self) -> SqlState {
        self.0.state
    }

    /// The text that the client reads, with the id in front where there is one.
    #[must_use]
    pub fn client_text(&self) -> String {
        match self.0.id {
            Some(id) => format!("{id}: {}", self.0.message),
            None => self.0.message.clone(),
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Whether the client's connection must be closed after this error was sent. What a shard's server
    /// says is about the gate's connection to it.
    #[must_use]
    pub fn closes_connection(&self) -> bool {
        // 1040, 1043, 1045 (at login), 1053, 1153, 1156, 1251, 4031: MySQL closes after each.
        self.0.kind != Kind::Upstream && matches!(self.0.code, 1040 | 1043 | 1053 | 1153 | 1156 | 1251 | 4031)
    }

    /// Whether MySQL has rolled back the whole transaction on the server that sent this error:
    /// deadlock (1213), and XA's forced rollbacks (1613, 1614). A lock wait timeout (1205) only
    /// undoes the statement unless `innodb_rollback_on_timeout` is on.
    #[must_use]
    pub fn ends_transaction(&self) -> bool {
        matches!(self.0.code, 1213 | 1613 | 1614)
    }
}

impl fmt::Debug for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlError")
            .field("id", &self.0.id)
            .field("code", &self.0.code)
            .field("state", &self.0.state)
            .field("message", &self.0.message)
            .field("kind", &self.0.kind)
            .field("source", &self.0.source)
            .finish()
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.0.code, self.0.state, self.client_text())
    }
}

impl StdError for SqlError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
