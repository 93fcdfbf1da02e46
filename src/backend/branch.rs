//! What does a transaction over several servers leave on one connection?
//!
//! A branch of such a transaction is an XA transaction of its server. While it is active a reset rolls
//! it back, as with any transaction. Once PREPARE was appended nothing may be done to the connection
//! but finishing the branch or closing: MariaDB loses a prepared branch whose connection is reset and
//! used again, and lets nobody else finish it while its connection lives.

use super::connection::{Condition, Connection};

/// How long a connection with a part of an undecided transaction may be silent before its server
/// closes it, in seconds: a gate that vanished without a word holds no branch for longer.
const SHORT_WAIT: &[u8] = b"SET @@SESSION.wait_timeout = 60";
const USUAL_WAIT: &[u8] = b"SET @@SESSION.wait_timeout = DEFAULT";

const TRACK: &[u8] = b"SET @@SESSION.session_track_transaction_info = 'STATE'";

/// The branch that a connection holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Branch {
    None,
    /// `XA START` was appended.
    Active,
    /// `XA PREPARE` was appended, and nothing is known of the end.
    Prepared,
}

/// What is followed of the transactions on a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tracked {
    /// The server tells the state of transactions.
    on: bool,
    /// The open transaction has written or locked for writing, says the server.
    pub(super) wrote: bool,
    /// The sum over all statements of the connection.
    pub(super) affected_rows: u64,
    /// `wait_timeout` is not the server's.
    pub(super) short_wait: bool,
}

/// Whether the letters of a transaction's state (`T_R_W_S_`) tell of a write: `W` to a transactional
/// table, `w` to another (`session_track_transaction_info` in MySQL's manual).
pub(super) fn writes(letters: &[u8]) -> bool {
    letters.iter().any(|letter| matches!(letter, b'w' | b'W'))
}

// === impl Connection ===

impl Connection {
    /// From now on the server tells with each answer whether the open transaction has written.
    pub fn track_transactions(&mut self) {
        if !self.tracked.on {
            self.send_settings(TRACK);
            self.tracked.on = true;
        }
    }

    /// Whether the open transaction has written or locked for writing, by the server's own word.
    #[must_use]
    pub fn has_written(&self) -> bool {
        self.tracked.wrote
    }

    /// Rows that statements on this connection have changed since it was opened; for comparing.
    #[must_use]
    pub fn affected_rows(&self) -> u64 {
        self.tracked.affected_rows
    }

    /// Appends `XA START`, to go out with the next command. `xid` is its literal.
    pub fn begin_branch(&mut self, xid: &str) {
        self.send_prelude(format!("XA START {xid}").as_bytes());
        self.branch = Branch::Active;
    }

    /// Appends `XA END` and `XA PREPARE`: two answers. From here on the connection is closed when it
    /// is given back, unless [`Connection::end_branch`] is called first.
    pub fn send_branch_prepare(&mut self, xid: &str) {
        self.send_query(format!("XA END {xid}").as_bytes());
        self.send_query(format!("XA PREPARE {xid}").as_bytes());
        self.branch = Branch::Prepared;
    }

    /// The server has confirmed the end of the branch, or that there is none.
    pub fn end_branch(&mut self) {
        self.branch = Branch::None;
    }

    /// Whatever is due is not waited for: the connection closes when it is given back, and nothing that
    /// runs on it is killed.
    pub fn give_up(&mut self) {
        self.worsen(Condition::Broken);
    }

    /// Lets the server close the connection soon, should the gate fall silent. Leaves with the next
    /// command.
    pub fn shorten_wait(&mut self) {
        if !self.tracked.short_wait {
            self.send_settings(SHORT_WAIT);
            self.tracked.short_wait = true;
        }
    }

    /// Takes [`Connection::shorten_wait`] back. Leaves with the next command.
    pub fn restore_wait(&mut self) {
        if self.tracked.short_wait {
            self.send_settings(USUAL_WAIT);
            self.tracked.short_wait = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::writes;

    #[test]
    fn letters_of_a_write() {
        // Seen on MySQL 8.0 to 9.7 and MariaDB 10.11 and 11.8.
        assert!(writes(b"T_R_W_S_"));
        assert!(writes(b"T___W___"));
        assert!(writes(b"T__w____"));
        assert!(!writes(b"T_R___S_"));
        assert!(!writes(b"________"));
    }
}
