//! What is known about one connection to a server?

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::BytesMut;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::branch::{Branch, Tracked};
use super::exchange::Owed;
use super::inbox::Inbox;
use super::owned::Assembly;
use super::settings::Settings;
use super::statements::StatementCache;
use super::stream::{Silence, Stream};
use crate::metrics::TabletSeries;
use crate::protocol::capability::{Capabilities, Status};

const COM_QUIT: u8 = 0x01;

/// What the greeting said about the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its version, without MariaDB's `5.5.5-` prefix.
    pub version: String,
    /// Whether it is a MariaDB.
    pub is_mariadb: bool,
    /// The connection's id there: what KILL takes.
    pub connection_id: u32,
}

/// One connection to a server, logged in.
///
/// Send commands with the `send_…` methods, which only append to a buffer, then follow the answers
/// with [`Connection::next`]. What the server still owes is written down: a connection that owes
/// something never goes back to a pool.
#[derive(Debug)]
pub struct Connection {
    pub(super) stream: Stream,
    pub(super) inbox: Inbox,
    pub(super) out: BytesMut,
    /// How much of `out` is sent.
    pub(super) written: usize,
    /// The answers that are due, oldest first.
    pub(super) owed: VecDeque<Owed>,
    /// How many of them belong to commands that have not left completely.
    pub(super) unsent: usize,
    /// Bytes of the inbox that the last event lent out.
    pub(super) lent: usize,
    /// The last event was the end of its response.
    pub(super) response_done: bool,
    /// What had been received when the current exchange began.
    pub(super) received_before: u64,
    /// Whether any byte of the current exchange has left.
    pub(super) sent_any: bool,
    pub(super) sent: u64,
    pub(super) assembly: Assembly,
    pub(super) capabilities: Capabilities,
    pub(super) server: Server,
    pub(super) status: Status,
    pub(super) settings: Arc<Settings>,
    pub(super) statements: StatementCache,
    pub(super) opened: Instant,
    /// When it was last given back.
    pub(super) idle_since: Instant,
    /// When it is too old, if ever.
    pub(super) expires: Option<Instant>,
    pub(super) condition: Condition,
    pub(super) branch: Branch,
    pub(super) tracked: Tracked,
    /// Where its calls are counted, once a pool has it.
    pub(super) series: Option<Arc<TabletSeries>>,
}

/// What stands between a connection and its next user, beside owed packets and transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Condition {
    /// Nothing.
    Known,
    /// It carries state that the settings do not tell: a reset helps.
    Tainted,
    /// It must be closed, not reset.
    CloseOnReturn,
    /// The socket or the protocol is broken.
    Broken,
}

// === impl Connection ===

impl Connection {
    /// What the greeting said.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The capabilities that were agreed on.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// The status of the last OK or end of rows.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Whether the server says that a transaction is open.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.status.contains(Status::IN_TRANS)
    }

    /// The settings that it carries.
    #[must_use]
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Whether answers are due, to commands that were sent or only appended.
    #[must_use]
    pub fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Whether it can be used by anybody who wants its settings: owes nothing, is outside a
    /// transaction, and its state is known.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.condition == Condition::Known
            && self.branch == Branch::None
            && !self.tracked.short_wait
            && !self.owes()
            && !self.in_transaction()
            && self.inbox.unread().len() == self.lent
    }

    /// Whether the connection is beyond use: everything on it is gone.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.condition == Condition::Broken
    }

    /// Whether the connection is closed when it is given back, whatever happens until then.
    #[must_use]
    pub fn is_unfit(&self) -> bool {
        self.condition >= Condition::CloseOnReturn
    }

    /// Notes that the connection carries state which the settings do not tell (a user lock, a
    /// temporary table, a user variable): it is reset before its next use.
    pub fn taint(&mut self) {
        self.worsen(Condition::Tainted);
    }

    /// Notes that the connection must be closed when it is given back, and not be reset.
    pub fn close_on_return(&mut self) {
        self.worsen(Condition::CloseOnReturn);
    }

    pub(super) fn worsen(&mut self, condition: Condition) {
        self.condition = Ord::max(self.condition, condition);
    }

    /// Whether an idle connection still looks alive.
    pub(super) fn looks_alive(&mut self) -> bool {
        if self.stream.probe() == Silence::Broken {
            self.worsen(Condition::Broken);
        }
        !self.is_broken()
    }

    /// Tells the server that this is the end, if the socket takes it at once: servers count silent
    /// ends as aborted clients.
    pub(super) fn say_goodbye(&mut self) {
        if self.is_clean() {
            let mut context = Context::from_waker(Waker::noop());
            // Whether it worked makes no difference: the socket closes either way.
            let _ = Pin::new(&mut self.stream).poll_write(&mut context, &[1, 0, 0, 0, COM_QUIT]);
        }
    }

    /// Counts the oldest answer that was due, at its end. Preludes are not counted.
    pub(super) fn count_call(&self, failed: bool) {
        if let (Some(series), Some(owed)) = (&self.series, self.owed.front())
            && let Some(began) = owed.began.filter(|_| !owed.swallow)
        {
            series.called(began.elapsed(), failed);
        }
    }

    /// Counts an answer that will not come.
    pub(super) fn count_lost_call(&self) {
        if let Some(series) = self.series.as_ref().filter(|_| self.owes()) {
            series.call_failed();
        }
    }

    /// Bytes sent and received since the last call.
    pub(super) fn take_traffic(&mut self, received_then: u64) -> (u64, u64) {
        (std::mem::take(&mut self.sent), self.inbox.received() - received_then)
    }
}
