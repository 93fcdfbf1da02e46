//! Which shards does a session's transaction stand on, and how does it begin and end there?
//!
//! BEGIN touches no shard. The first statement on a shard leases a connection, sends `BEGIN` ahead of
//! the statement in the same write, and keeps the connection ([`Pin`]) until the end. Backend
//! connections always run with autocommit = 1; `autocommit = 0` of a client is a transaction that
//! begins with the next statement.
//!
//! ```text
//!   Idle ── begin, or a statement with autocommit = 0 ──► Open ── commit, rollback ──► Idle
//!                                                          │
//!                                connection of a pin lost  ▼
//!                                                        Failed ── rollback ──► Idle
//! ```
//!
//! Everything is cancel safe: dropping [`ShardTransactions`] drops the leases, and a lease inside a
//! transaction is rolled back or closed by its pool.

mod commit;
mod join;
mod keep;
mod next;
mod pin;
mod savepoint;
mod shield;
mod stage;
mod twopc;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

pub use commit::CommitError;
pub use next::NextTransaction;
pub use pin::{Held, Pin};
pub use shield::Shield;
pub use stage::Stage;

use crate::backend::{Pools, Settings};
use crate::config::TransactionMode;
use crate::deadlock::{Deadlocks, Registered};
use crate::error::{Result, SqlError};
use crate::metrics::labels::CommitMode;
use crate::protocol::capability::Status;
use crate::protocol::row::TextRow;
use crate::topology::{Shard, Tablet};
use crate::twopc::{Dtid, TwoPc};
use shield::Raised;
use stage::Touched;
use twopc::Distributed;

/// How a transaction begins on each shard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Characteristics {
    /// `READ ONLY` or `READ WRITE`, where one of them was said.
    pub read_only: Option<bool>,
    /// `WITH CONSISTENT SNAPSHOT`. Per shard: there is no snapshot across shards.
    pub consistent_snapshot: bool,
    /// `SET TRANSACTION ISOLATION LEVEL …` for this transaction alone: the level's words.
    pub isolation: Option<Arc<str>>,
}

/// A warning of the gate, or of a server at a savepoint or ROLLBACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The number: the server's; 301 for a commit that reached only some shards, 302 for one that reaches the last
    /// of them a little later.
    pub code: u16,
    /// The text.
    pub message: String,
}

impl Warning {
    /// A row of SHOW WARNINGS.
    fn read(row: &[u8]) -> Option<Self> {
        let mut fields = TextRow::new(row).skip(1);
        let mut text = || fields.next()?.ok()?.map(|text| String::from_utf8_lossy(text).into_owned());
        Some(Self { code: text()?.parse().ok()?, message: text()? })
    }
}

/// Where a statement of a transaction goes.
#[derive(Debug, Clone)]
pub struct Place {
    /// The shard.
    pub shard: Arc<Shard>,
    /// Its server.
    pub tablet: Arc<Tablet>,
}

/// With which connections a statement runs.
#[derive(Debug, Clone, Copy)]
pub struct Connect<'c> {
    /// The pools.
    pub pools: &'c Pools,
    /// The session's settings.
    pub settings: &'c Arc<Settings>,
    /// Affected rows are matched rows: the client asked for FOUND_ROWS.
    pub found_rows: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// Begun by the client, by `autocommit = 0`, or by the gate around one statement.
    Open {
        implicit: bool,
    },
    /// A pin was lost; only ROLLBACK helps.
    Failed,
}

/// The shard transactions of one session.
#[derive(Debug)]
pub struct ShardTransactions {
    mode: TransactionMode,
    autocommit: bool,
    state: State,
    characteristics: Characteristics,
    /// In order of first touch.
    pins: Vec<Pin>,
    /// Connections that the session keeps, while no transaction stands on them.
    kept: Vec<Pin>,
    /// The shard whose kept connection is gone, with what stood on it.
    lost: Option<String>,
    /// Names in the order in which they were set.
    savepoints: Vec<String>,
    warnings: Vec<Warning>,
    next: NextTransaction,
    /// The transaction failed because it was idle for longer than this.
    expired: Option<Duration>,
    /// What distributed transactions need; none where the gate has none.
    twopc: Option<Arc<TwoPc>>,
    /// Where transactions on several shards are known while they may wait for each other.
    deadlocks: Option<Arc<Deadlocks>>,
    /// The open transaction there.
    standing: Option<Registered>,
    /// When it would have become known there, had it not had to give way: Unix milliseconds.
    age: Option<u64>,
    /// The open transaction stands on several shards, or did, under two-phase commit.
    distributed: Option<Distributed>,
    shield: Shield,
    /// When the connections of the next statement commit.
    stage: Stage,
    /// Entries of consistent lookups, in the order in which they were made and removed.
    touched: Vec<Touched>,
}

// === impl ShardTransactions ===

impl ShardTransactions {
    /// No transaction, autocommit on.
    #[must_use]
    pub fn new(mode: TransactionMode) -> Self {
        Self {
            mode,
            autocommit: true,
            state: State::Idle,
            characteristics: Characteristics::default(),
            pins: Vec::new(),
            kept: Vec::new(),
            lost: None,
            savepoints: Vec::new(),
            warnings: Vec::new(),
            next: NextTransaction::default(),
            expired: None,
            twopc: None,
            deadlocks: None,
            standing: None,
            age: None,
            distributed: None,
            shield: Shield::default(),
            stage: Stage::default(),
            touched: Vec::new(),
        }
    }

    /// The same with what two-phase commit needs.
    #[must_use]
    pub fn with_twopc(self, twopc: &Arc<TwoPc>) -> Self {
        Self { twopc: Some(Arc::clone(twopc)), ..self }
    }

    /// The same with deadlocks over several shards found.
    #[must_use]
    pub fn with_deadlocks(self, deadlocks: &Arc<Deadlocks>) -> Self {
        Self { deadlocks: Some(Arc::clone(deadlocks)), ..self }
    }

    /// `SET transaction_mode`: what the next transaction may touch. Whether its shards can do two-phase
    /// commit is found out when a second one joins.
    ///
    /// # Errors
    /// VT12001 for two-phase commit in a gate without it, 1568-like refusal inside a transaction.
    pub fn set_mode(&mut self, mode: TransactionMode) -> Result<()> {
        if mode == TransactionMode::TwoPc && self.twopc.is_none() {
            return Err(SqlError::unsupported("transaction_mode = twopc"));
        }
        if self.is_open() {
            return Err(SqlError::active_transaction());
        }
        self.mode = mode;
        Ok(())
    }

    /// The mode.
    #[must_use]
    pub fn mode(&self) -> TransactionMode {
        self.mode
    }

    /// `SET autocommit`. The caller has committed what was open before it turns it on.
    pub fn set_autocommit(&mut self, on: bool) {
        self.autocommit = on;
    }

    /// `@@autocommit`.
    #[must_use]
    pub fn autocommit(&self) -> bool {
        self.autocommit
    }

    /// What was set for the next transaction alone.
    #[must_use]
    pub fn next(&self) -> &NextTransaction {
        &self.next
    }

    /// Sets it.
    pub fn set_next(&mut self, next: NextTransaction) {
        self.next = next;
    }

    /// BEGIN. The caller has committed what was open before. What was set for the next transaction
    /// counts where the statement says nothing else.
    pub fn begin(&mut self, characteristics: Characteristics) {
        let next = std::mem::take(&mut self.next);
        self.characteristics = Characteristics {
            read_only: characteristics.read_only.or(next.read_only),
            isolation: characteristics.isolation.or(next.isolation),
            ..characteristics
        };
        self.state = State::Open { implicit: false };
    }

    /// Begins a transaction around one statement that changes several shards.
    pub fn begin_implicit(&mut self) {
        self.characteristics = self.next.characteristics();
        self.state = State::Open { implicit: true };
    }

    /// Takes back what the one statement did that [`Self::begin_implicit`] was called for, and begins
    /// again. It keeps its age, so that it does not always have to give way.
    pub async fn begin_again(&mut self) {
        let age = self.standing.as_ref().map(|standing| standing.standing().started_ms());
        self.rollback().await;
        self.begin_implicit();
        self.age = age;
    }

    /// Begins a transaction around the reads of one statement.
    pub fn begin_around(&mut self, characteristics: Characteristics) {
        self.characteristics = characteristics;
        self.state = State::Open { implicit: true };
    }

    /// With `autocommit = 0` the first statement that reaches a shard begins a transaction.
    pub fn begin_if_wanted(&mut self) {
        if self.state == State::Idle && !self.autocommit {
            self.characteristics = std::mem::take(&mut self.next).characteristics();
            self.state = State::Open { implicit: false };
        }
    }

    /// Whether a transaction is open or has failed, so that ROLLBACK has something to do.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state != State::Idle
    }

    /// Whether only ROLLBACK is possible.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.state == State::Failed
    }

    /// What the transaction was begun with, for AND CHAIN.
    #[must_use]
    pub fn characteristics(&self) -> &Characteristics {
        &self.characteristics
    }

    /// IN_TRANS, IN_TRANS_READONLY and AUTOCOMMIT as the client must see them.
    #[must_use]
    pub fn status(&self) -> Status {
        let mut status = if self.autocommit { Status::AUTOCOMMIT } else { Status::default() };
        if matches!(self.state, State::Open { implicit: false } | State::Failed) {
            status = status | Status::IN_TRANS;
            if self.characteristics.read_only == Some(true) {
                status = status | Status::IN_TRANS_READONLY;
            }
        }
        status
    }

    /// The shards of the open transaction, in order of first touch.
    pub fn shards(&self) -> impl ExactSizeIterator<Item = &Arc<Shard>> {
        self.pins.iter().map(|pin| &pin.place.shard)
    }

    /// Up while a commit must not be cut off.
    #[must_use]
    pub fn shield(&self) -> Shield {
        self.shield.clone()
    }

    /// The id of the open transaction, if it is a distributed one.
    #[must_use]
    pub fn dtid(&self) -> Option<&Dtid> {
        self.distributed.as_ref().map(Distributed::dtid)
    }

    /// How the open transaction will be committed.
    #[must_use]
    pub fn commit_mode(&self) -> CommitMode {
        match (self.pins.len(), &self.distributed) {
            (0 | 1, _) => CommitMode::Single,
            (_, Some(_)) => CommitMode::TwoPc,
            (_, None) => CommitMode::Multi,
        }
    }

    /// How many warnings wait for [`Self::take_warnings`].
    #[must_use]
    pub fn warnings(&self) -> usize {
        self.warnings.len()
    }

    /// Where the open transaction stands on a shard, if it does.
    #[must_use]
    pub fn place_on(&self, shard: &Shard) -> Option<&Place> {
        self.pins.iter().find(|pin| pin.is_on(shard)).map(|pin| &pin.place)
    }

    /// After a server refused a statement because it takes no writes: takes the shard (`keyspace/shard`)
    /// out of the transaction if that statement was the first there, so that it may run on another
    /// server. False where the transaction has done something there already.
    pub fn leave_refusing(&mut self, shard: &str) -> bool {
        if self.distributed.is_some() {
            return !self.pins.iter().any(|pin| pin.name() == shard);
        }
        let before = self.pins.len();
        // The pool rolls back what BEGIN began.
        self.pins.retain(|pin| pin.used || pin.name() != shard);
        self.pins.len() < before || !self.pins.iter().any(|pin| pin.name() == shard)
    }

    /// Ends the transaction because a server of it takes no writes any more: what it did is rolled back
    /// everywhere, and only ROLLBACK goes on.
    pub async fn fail(&mut self) {
        self.rollback().await;
        self.state = State::Failed;
    }

    /// Warnings that were added since the last call.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    /// Whether statements may run: not after VT15001.
    ///
    /// # Errors
    /// VT09032, or 1317 after [`Self::expire`]; as [`Self::check_kept`].
    pub fn check(&self) -> Result<()> {
        self.check_kept()?;
        match (self.is_failed(), self.expired) {
            (false, _) => Ok(()),
            (true, None) => Err(SqlError::rollback_required()),
            (true, Some(limit)) => Err(SqlError::transaction_expired(limit)),
        }
    }

    /// Rolls back a transaction that was idle for longer than `limit`. Only ROLLBACK goes on from there,
    /// so that nobody takes what comes next for a part of it.
    pub async fn expire(&mut self, limit: Duration) {
        self.rollback().await;
        self.state = State::Failed;
        self.expired = Some(limit);
    }

    /// `SET` inside a transaction: the connections of the shards that have joined get the new settings,
    /// too. They are made clean when the transaction gives them back.
    ///
    /// # Errors
    /// A shard that refuses them, or a lost connection.
    pub async fn carry(&mut self, settings: &Arc<Settings>) -> Result<()> {
        if settings.is_baseline() {
            return Ok(());
        }
        for pin in &mut self.pins {
            pin.lease.taint();
            if let Err(error) = pin.lease.run(settings.statement()).await {
                return Err(pin.failed(error));
            }
        }
        Ok(())
    }

    /// To be called after each statement, once its streams are gone: ends the transaction everywhere
    /// where a shard has ended it (deadlock), fails it where a connection was lost, and takes back a
    /// statement that was cut off on its way over the shards.
    pub async fn settle(&mut self) {
        if !self.settle_connections().await {
            self.undo_unfinished().await;
        }
    }

    /// As [`Self::settle`], but the statement stays as far as it came.
    ///
    /// True where the transaction is not open any more.
    pub async fn settle_connections(&mut self) -> bool {
        if let Some(standing) = &self.standing {
            standing.end();
        }
        if !self.kept.is_empty() {
            self.settle_kept().await;
        }
        join_all(self.pins.iter_mut().map(Pin::clear)).await;
        if self.pins.iter().any(Pin::is_lost) {
            self.part(Pin::is_lost);
            let implicit = self.state == State::Open { implicit: true };
            self.rollback().await;
            self.state = if implicit { State::Idle } else { State::Failed };
            return implicit;
        }
        // A transaction that the gate began around a statement never outlives it: its future was
        // dropped in the middle.
        if self.pins.iter().any(Pin::is_ended) || self.state == (State::Open { implicit: true }) {
            self.rollback().await;
            return true;
        }
        self.undo_steps().await;
        // Where BEGIN never left, the shard has not joined; where the server says that it is in no
        // transaction any more, a statement has committed it implicitly.
        let committed = self.pins.iter().any(|pin| pin.is_outside() && pin.has_begun());
        self.part(Pin::is_outside);
        if committed && self.pins.is_empty() {
            self.close();
        }
        !self.is_open()
    }

    fn close(&mut self) {
        self.state = State::Idle;
        self.characteristics = Characteristics::default();
        self.savepoints.clear();
        self.touched.clear();
        // First: once the pool has the connections they work for others.
        self.standing = None;
        self.age = None;
        self.part(|_| true);
        self.expired = None;
        if let Some(distributed) = self.distributed.take() {
            // Nothing was prepared: what a connection loses is rolled back by its server.
            distributed.forget();
        }
    }
}
