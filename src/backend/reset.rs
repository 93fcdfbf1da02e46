//! How does a used connection become a clean one, and a clean one what a session needs?

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::Instant;

use super::branch::{Branch, Tracked};
use super::connection::{Condition, Connection};
use super::error::BackendError;
use super::kill::KillTarget;
use super::login::{LoggedIn, LoginError};
use super::owned::Assembly;
use super::settings::Settings;
use super::statements::StatementCache;

/// What every connection is told after its login and after every reset, which brings the server's
/// global values back. The tracker of state changes is what finds a connection tainted by a stored
/// routine; a server of ours may have another global autocommit or character set.
const BASELINE: &[u8] =
    b"SET NAMES utf8mb4, @@SESSION.autocommit = 1, @@SESSION.session_track_state_change = ON";

/// How long a running answer gets to end by itself before it is killed.
const PATIENCE: Duration = Duration::from_millis(20);

/// How much of an answer is thrown away before it is killed, in bytes.
const SMALL_REST: u64 = 1 << 20;

/// How much of a killed answer is thrown away, in bytes: what lay in the sockets' buffers.
const KILLED_REST: u64 = 64 << 20;

// === impl Connection ===

impl Connection {
    /// Turns a fresh login into a connection with baseline settings.
    pub(super) async fn begin_session(
        parts: LoggedIn,
        baseline: Arc<Settings>,
        statements: usize,
    ) -> Result<Self, LoginError> {
        let now = Instant::now();
        let mut connection = Self {
            stream: parts.stream,
            inbox: parts.inbox,
            out: BytesMut::new(),
            written: 0,
            owed: VecDeque::new(),
            unsent: 0,
            lent: 0,
            response_done: false,
            received_before: 0,
            sent_any: false,
            sent: 0,
            assembly: Assembly::default(),
            capabilities: parts.capabilities,
            server: parts.server,
            status: parts.status,
            settings: baseline,
            statements: StatementCache::new(statements),
            opened: now,
            idle_since: now,
            expires: None,
            condition: Condition::Known,
            branch: Branch::None,
            tracked: Tracked::default(),
            series: None,
        };
        match connection.run(BASELINE).await {
            Ok(_) => {}
            Err(BackendError::Server(error)) => return Err(LoginError::Refused(error)),
            Err(error) => return Err(LoginError::Authentication(error.to_string())),
        }
        // The baseline changes the session, as intended.
        connection.condition = Condition::Known;
        Ok(connection)
    }

    /// Appends what turns this clean connection's settings into others: nothing, `SET …`, or a reset
    /// with the baseline and `SET …`. It leaves with the next command, unless no server has accepted
    /// these settings before: then the answer is waited for, so that no statement runs without them.
    ///
    /// # Errors
    /// [`BackendError::Server`] if the server refuses the settings.
    pub(super) async fn adopt(&mut self, settings: &Arc<Settings>) -> Result<Adopted, BackendError> {
        if Arc::ptr_eq(&self.settings, settings) {
            return Ok(Adopted::Same);
        }
        let reset = !self.settings.is_baseline();
        if reset {
            self.append_reset();
        }
        if settings.is_baseline() {
            self.settings = Arc::clone(settings);
            return Ok(Adopted::Reset);
        }
        if settings.is_accepted() {
            self.send_settings(settings.statement());
        } else {
            if let Err(error) = self.run(settings.statement()).await {
                // One list of assignments may have been applied in part.
                self.taint();
                return Err(error);
            }
            if self.condition == Condition::Tainted {
                self.condition = Condition::Known;
            }
            settings.accept();
        }
        self.settings = Arc::clone(settings);
        Ok(if reset { Adopted::ResetAndSet } else { Adopted::Set })
    }

    /// COM_RESET_CONNECTION and the baseline: rolls back, drops everything of the session, and waits
    /// for the answers.
    pub(super) async fn reset(&mut self, baseline: &Arc<Settings>) -> Result<(), BackendError> {
        self.append_reset();
        self.settings = Arc::clone(baseline);
        self.drain(SMALL_REST).await?;
        if self.condition == Condition::Tainted {
            self.condition = Condition::Known;
        }
        // The reset has rolled an active branch back; with a prepared one nobody comes here.
        self.branch = Branch::None;
        Ok(())
    }

    /// Makes a used connection clean, whatever was going on: lets a short answer end, kills a long
    /// one, resets. The caller bounds the time.
    pub(super) async fn make_clean(
        &mut self,
        baseline: &Arc<Settings>,
        kill: KillTarget,
    ) -> Result<(), BackendError> {
        if self.owes() {
            self.abandon(kill).await?;
        }
        // A connection that must not be reset is closed instead.
        if self.is_clean() || self.condition >= Condition::CloseOnReturn {
            return Ok(());
        }
        self.reset(baseline).await
    }

    /// Gets rid of the answers that are due: waits a moment, then kills the query.
    pub(super) async fn abandon(&mut self, kill: KillTarget) -> Result<(), BackendError> {
        self.discard_unsent();
        if let Ok(drained) = tokio::time::timeout(PATIENCE, self.drain(SMALL_REST)).await
            && drained?
        {
            return Ok(());
        }
        // A pipeline has several commands: each may need its own KILL.
        while self.owes() {
            let owed = self.owed.len();
            // Nothing is read before the KILL has arrived: a full socket holds the server back, while a
            // fast answer that is read would soon be larger than what may be thrown away.
            let killed = kill.clone().kill_query().await;
            if !self.drain_down_to(owed - 1, KILLED_REST).await? {
                killed?;
                return Err(BackendError::Misuse("a killed statement goes on answering"));
            }
            // The answer has ended: a KILL that did not arrive is not needed any more.
            if let Err(error) = killed {
                tracing::debug!(%error, "KILL QUERY failed");
            }
        }
        // A KILL that came late must not hit the next statement: the reset takes it.
        self.taint();
        Ok(())
    }

    fn append_reset(&mut self) {
        self.send_reset();
        self.send_settings(BASELINE);
        self.statements.clear();
        self.tracked = Tracked::default();
    }
}

/// What [`Connection::adopt`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Adopted {
    Same,
    Set,
    Reset,
    ResetAndSet,
}
