//! What does the gate know of one connection that works for a statement?
//!
//! A connection either belongs to the statement alone ([`Held::Own`], goes back to its pool when
//! dropped) or is pinned by the session's transaction ([`Held::Pinned`]). Everything that happens on
//! a pinned connection is noted on its [`Pin`], so that the transaction learns of it afterwards.

use std::sync::Arc;

use super::{Place, Stage, Warning};
use crate::backend::{BackendError, Event, Lease, NAMES, OwnedEvent, Prepared, Settings};
use crate::deadlock::Standing;
use crate::error::{Outcome, Result, SqlError};
use crate::topology::Shard;

/// The longest SHOW WARNINGS behind a ROLLBACK, in bytes.
const WARNINGS_SIZE: usize = 64 << 10;

/// A kept connection may be idle for as long as the client is, in seconds: a year.
const LONG_WAIT: &[u8] = b"SET @@SESSION.wait_timeout = 31536000";

/// A shard's connection inside a transaction.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one independent fact of the connection")]
pub struct Pin {
    pub(super) place: Place,
    pub(super) stage: Stage,
    pub(super) lease: Lease,
    /// The settings that the connection carries.
    settings: Arc<Settings>,
    /// A statement that writes or locks was sent.
    pub(super) wrote: bool,
    /// The XA identifier, where the shard's part is a branch of a distributed transaction.
    pub(super) branch: Option<String>,
    /// What the connection had changed before.
    affected_before: u64,
    /// The statement in flight can be undone on this shard.
    pub(super) guarded: bool,
    /// The server has confirmed BEGIN.
    began: bool,
    /// More than one statement was sent.
    pub(super) used: bool,
    /// What the server has warned of at savepoints and ROLLBACK.
    pub(super) told: Vec<Warning>,
    /// The session keeps the connection when the transaction ends.
    pub(super) kept: bool,
    /// Who looks for deadlocks tells here that the transaction must give way.
    pub(super) standing: Option<Arc<Standing>>,
    fate: Fate,
}

/// What became of the shard's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    /// The server rolled it back (deadlock).
    Ended,
    /// The connection is gone.
    Lost,
    /// COMMIT or ROLLBACK has ended it.
    Over,
}

/// A connection that a statement may use.
#[derive(Debug)]
pub enum Held<'a> {
    /// Leased for this statement.
    Own {
        /// The connection.
        lease: Lease,
        /// Its shard.
        shard: Arc<Shard>,
    },
    /// Of the session's transaction.
    Pinned(&'a mut Pin),
}

// === impl Pin ===

impl Pin {
    pub(super) fn new(place: Place, lease: Lease, settings: &Arc<Settings>) -> Self {
        let settings = Arc::clone(settings);
        let affected_before = lease.affected_rows();
        Self {
            place,
            stage: Stage::default(),
            lease,
            settings,
            wrote: false,
            branch: None,
            affected_before,
            guarded: false,
            began: false,
            used: false,
            told: Vec::new(),
            kept: false,
            standing: None,
            fate: Fate::Open,
        }
    }

    /// The session keeps the connection from now on.
    pub(super) fn keep(&mut self) {
        self.kept = true;
        self.lease.send_prelude(LONG_WAIT);
        self.lease.taint();
    }

    /// Forgets the transaction that has ended; false where the connection cannot go on.
    pub(super) fn renew(&mut self) -> bool {
        let ended = !self.is_lost() && !self.lease.is_unfit() && !self.lease.owes();
        self.wrote = false;
        self.affected_before = self.lease.affected_rows();
        self.guarded = false;
        self.began = false;
        self.used = true;
        self.standing = None;
        self.fate = Fate::Open;
        ended && self.branch.is_none() && !self.lease.in_transaction()
    }

    /// Brings the connection to the session's settings, which a SET inside the transaction may have
    /// changed. The pool resets it afterwards.
    pub(super) fn follow(&mut self, settings: &Arc<Settings>) {
        if Arc::ptr_eq(&self.settings, settings) {
            return;
        }
        for (name, _) in self.settings.assignments() {
            let stays = settings.assignments().iter().any(|(other, _)| other == name);
            if !stays && name == NAMES {
                self.lease.send_prelude(b"SET NAMES DEFAULT");
            } else if !stays {
                let default = if name.starts_with('@') { "NULL" } else { "DEFAULT" };
                let scope = if name.starts_with('@') { "" } else { "@@SESSION." };
                self.lease.send_prelude(format!("SET {scope}{name} = {default}").as_bytes());
            }
        }
        if !settings.is_baseline() {
            self.lease.send_prelude(settings.statement());
        }
        self.lease.taint();
        self.settings = Arc::clone(settings);
    }

    pub(super) fn is_on(&self, shard: &Shard) -> bool {
        self.place.shard.keyspace == shard.keyspace && self.place.shard.name == shard.name
    }

    pub(super) fn is_lost(&self) -> bool {
        self.fate == Fate::Lost
    }

    pub(super) fn is_ended(&self) -> bool {
        self.fate == Fate::Ended
    }

    pub(super) fn name(&self) -> String {
        self.place.shard.full_name()
    }

    /// Notes an error of the connection and gives it the client's form.
    pub(super) fn failed(&mut self, error: BackendError) -> SqlError {
        if error.loses_connection() {
            self.fate = Fate::Lost;
            return transaction_lost(&self.name(), error);
        }
        self.refused(error.for_shard(&self.name()))
    }

    fn refused(&mut self, error: SqlError) -> SqlError {
        if error.ends_transaction() {
            self.fate = Fate::Ended;
        }
        error
    }

    /// COMMIT of this shard alone. Where the connection is lost nobody knows whether the shard has
    /// committed.
    pub(super) async fn commit(&mut self) -> Result<()> {
        let done = match &self.branch {
            None => self.lease.run(b"COMMIT").await.map(drop),
            Some(xid) => {
                self.lease.send_query(format!("XA END {xid}").as_bytes());
                self.lease.send_query(format!("XA COMMIT {xid} ONE PHASE").as_bytes());
                self.both().await
            }
        };
        match done {
            Ok(()) => {
                self.ended();
                Ok(())
            }
            Err(error) => {
                if error.loses_connection() {
                    self.fate = Fate::Lost;
                }
                Err(error.for_shard(&self.name()))
            }
        }
    }

    /// Notes that the shard's part has come to its end.
    pub(super) fn ended(&mut self) {
        self.lease.end_branch();
        self.fate = Fate::Over;
    }

    /// Whether nothing is to be done on this shard any more.
    pub(super) fn is_over(&self) -> bool {
        self.fate == Fate::Over
    }

    /// ROLLBACK of this shard, also of a prepared branch.
    pub(super) async fn rollback(&mut self) -> Result<()> {
        self.lease.restore_wait();
        let Some(xid) = &self.branch else { return self.run(b"ROLLBACK").await };
        // An active branch must end first; any other state refuses XA END, which changes nothing.
        self.lease.send_query(format!("XA END {xid}").as_bytes());
        self.lease.send_query(format!("XA ROLLBACK {xid}").as_bytes());
        let done = match self.lease.finish().await {
            Err(error) if error.loses_connection() => Err(error),
            _ => self.lease.finish().await.map(drop),
        };
        match done {
            Ok(()) => {
                self.ended();
                Ok(())
            }
            // On the connection that began it: there is no such branch any more.
            Err(BackendError::Server(error)) if matches!(error.code(), 1397 | 1402 | 1613 | 1614) => {
                self.ended();
                Ok(())
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The answers to two statements; the first error counts.
    pub(super) async fn both(&mut self) -> Result<(), BackendError> {
        match self.lease.finish().await {
            Err(error) if error.loses_connection() => Err(error),
            first => {
                let second = self.lease.finish().await;
                first.and(second).map(drop)
            }
        }
    }

    /// Gives the connection up: it is closed when it is given back, without a KILL for what runs on it.
    pub(super) fn close(&mut self) {
        self.lease.give_up();
    }

    /// Whether this shard's part must be committed with the others': a statement that writes was sent,
    /// or the server says that something was written or locked for writing (by a stored function).
    pub(super) fn has_written(&self) -> bool {
        self.wrote || self.lease.has_written()
    }

    /// Whether rows were changed for certain.
    pub(super) fn has_changed_rows(&self) -> bool {
        self.lease.affected_rows() > self.affected_before
    }

    /// Kills what still runs, so that the connection can be used again, and looks at what the server
    /// says of the transaction.
    pub(super) async fn clear(&mut self) {
        if self.lease.owes() && self.lease.cancel().await.is_err() {
            self.fate = Fate::Lost;
        }
        if self.lease.is_broken() {
            self.fate = Fate::Lost;
        }
        self.began |= self.lease.in_transaction();
        // Nothing but its end takes a branch off its connection.
        if self.branch.is_some() && self.began && self.is_outside() {
            self.fate = Fate::Ended;
        }
    }

    /// Whether the shard has no transaction: BEGIN never left, or a statement committed implicitly.
    pub(super) fn is_outside(&self) -> bool {
        self.fate == Fate::Open && !self.lease.in_transaction()
    }

    /// Whether the shard was in the transaction at any time.
    pub(super) fn has_begun(&self) -> bool {
        self.began
    }

    /// Runs a statement without rows. What the server warns of is kept for the client.
    pub(super) async fn run(&mut self, statement: &[u8]) -> Result<()> {
        let done = match self.lease.run(statement).await {
            Ok(done) if done.warnings > 0 => self.lease.collect(b"SHOW WARNINGS", WARNINGS_SIZE).await,
            Ok(_) => return Ok(()),
            Err(error) => Err(error),
        };
        match done {
            Ok(shown) => {
                self.told.extend(shown.rows.iter().filter_map(|row| Warning::read(&row.0)));
                Ok(())
            }
            Err(error) => Err(self.failed(error)),
        }
    }
}

fn transaction_lost(shard: &str, error: BackendError) -> SqlError {
    SqlError::transaction_lost(shard).caused_by(error).at_shard(shard, Outcome::Unknown)
}

// === impl Held ===

impl Held<'_> {
    /// The connection, to append commands. Read answers with [`Self::next`], never from the lease.
    pub fn lease(&mut self) -> &mut Lease {
        match self {
            Self::Own { lease, .. } => lease,
            Self::Pinned(pin) => &mut pin.lease,
        }
    }

    /// The connection, to look at.
    #[must_use]
    pub fn peek(&self) -> &Lease {
        match self {
            Self::Own { lease, .. } => lease,
            Self::Pinned(pin) => &pin.lease,
        }
    }

    /// Sets a savepoint ahead of the next statement, so that the statement can be undone on this
    /// shard ([`super::ShardTransactions::undo_statement`]). Nothing outside a transaction.
    pub fn guard(&mut self) {
        if let Self::Pinned(pin) = self {
            pin.guarded = true;
            pin.lease.send_prelude(super::savepoint::GUARD);
        }
    }

    /// Kills what runs and reads what the server still owes.
    pub async fn cancel(&mut self) {
        match self {
            // The pool closes what cannot be cleaned.
            Self::Own { lease, .. } => drop(lease.cancel().await),
            Self::Pinned(pin) => pin.clear().await,
        }
    }

    /// The shard.
    #[must_use]
    pub fn shard(&self) -> &Arc<Shard> {
        match self {
            Self::Own { shard, .. } => shard,
            Self::Pinned(pin) => &pin.place.shard,
        }
    }

    /// Whether a transaction holds the connection.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        matches!(self, Self::Pinned(_))
    }

    /// The statement of this text, prepared on this connection now or earlier.
    ///
    /// # Errors
    /// A lost connection, a failed BEGIN, or the server's refusal of the text.
    pub async fn prepare(&mut self, text: &[u8]) -> Result<Arc<Prepared>> {
        match self {
            Self::Own { lease, shard } => {
                lease.prepare(text).await.map_err(|error| error.for_shard(&shard.full_name()))
            }
            Self::Pinned(pin) => match pin.lease.prepare(text).await {
                Ok(prepared) => Ok(prepared),
                Err(error) => Err(pin.failed(error)),
            },
        }
    }

    /// The next event of the answer; sends what waits first. Cancel safe.
    ///
    /// # Errors
    /// A lost connection; a failed BEGIN. An error of the statement itself is an event.
    pub async fn next(&mut self) -> Result<Event<'_>> {
        match self {
            Self::Own { lease, shard } => {
                lease.next().await.map_err(|error| error.for_shard(&shard.full_name()))
            }
            Self::Pinned(pin) => {
                let Pin { lease, fate, place, standing, .. } = &mut **pin;
                let next = match standing {
                    None => lease.next().await.map(Some),
                    Some(standing) => lease.next_unless(standing.doomed()).await,
                };
                match next {
                    Ok(None) => {
                        // What still runs is killed when the transaction is settled.
                        *fate = Fate::Ended;
                        Err(SqlError::shard_deadlock())
                    }
                    Ok(Some(event)) => {
                        if let Event::Error(error) = &event
                            && error.to_error().ends_transaction()
                        {
                            *fate = Fate::Ended;
                        }
                        Ok(event)
                    }
                    Err(error) if error.loses_connection() => {
                        *fate = Fate::Lost;
                        Err(transaction_lost(&place.shard.full_name(), error))
                    }
                    Err(error) => Err(error.for_shard(&place.shard.full_name())),
                }
            }
        }
    }

    /// The next event with rows of their own, for operators.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn next_owned(&mut self) -> Result<OwnedEvent> {
        match self {
            Self::Own { lease, shard } => {
                lease.next_owned().await.map_err(|error| error.for_shard(&shard.full_name()))
            }
            Self::Pinned(pin) => {
                let Pin { lease, fate, standing, .. } = &mut **pin;
                let next = match standing {
                    None => lease.next_owned().await,
                    Some(standing) => tokio::select! {
                        biased;
                        next = lease.next_owned() => next,
                        () = standing.doomed() => {
                            *fate = Fate::Ended;
                            return Err(SqlError::shard_deadlock());
                        }
                    },
                };
                match next {
                    Ok(event) => {
                        if let OwnedEvent::Error(error) = &event {
                            pin.refused(error.clone().into_error());
                        }
                        Ok(event)
                    }
                    Err(error) => Err(pin.failed(error)),
                }
            }
        }
    }
}
