//! Which transactions of this gate wait for row locks over several shards, and who ends it when they
//! wait for each other?
//!
//! A server sees the waits on itself and ends the deadlocks among them. A circle over two servers is
//! invisible to both, and lasts until `innodb_lock_wait_timeout`. The gate knows which connections make
//! one transaction. When a statement of a transaction on several shards has run for longer than
//! `transaction.deadlock_wait`, the servers on which it runs are asked who waits there for whom; what
//! they say and what the gate knows is put together ([`graph`]), and the youngest transaction of a
//! circle is rolled back with error 1213. A second view, taken later, must show the same circle with the
//! same statements: at the moment between them the deadlock was there.
//!
//! Transactions of other gates: a gate that meets a connection which it does not know writes down its
//! own waiting transactions beside the shards, and reads what others wrote ([`board`]). Each gate rolls
//! back its own transactions only; all choose alike.
//!
//! While no statement of such a transaction runs for long, nothing is asked, written or computed.
//!
//! Deliberately absent: circles over metadata locks and user locks.

mod board;
mod detector;
mod graph;
mod waits;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

pub use detector::Detector;

use crate::topology::{Shard, Tablet};
use crate::twopc::{base36, now_ms};

/// What an operator has set.
#[derive(Debug, Clone, Copy)]
pub struct DeadlockConfig {
    /// How long a statement runs before its servers are asked; none where nobody ever asks.
    pub wait: Option<Duration>,
    /// Whether transactions of other gates are found, too.
    pub between_gates: bool,
}

/// The transactions of one gate that stand on several shards.
#[derive(Debug)]
pub struct Deadlocks {
    config: DeadlockConfig,
    /// Tells this process from all others, base 36.
    incarnation: String,
    next: AtomicU64,
    standing: Mutex<HashMap<u64, Arc<Standing>>>,
    /// A statement began while none ran.
    wake: Notify,
}

/// A transaction that stands on several shards, from its second shard to its end.
#[derive(Debug)]
pub struct Standing {
    number: u64,
    name: String,
    started_ms: u64,
    state: Mutex<State>,
    /// Somebody wants the running statement to give way.
    doomed: Notify,
}

#[derive(Debug, Default)]
struct State {
    stands: Vec<Stand>,
    /// Counts the statements.
    statement: u64,
    /// When the one that runs began.
    since: Option<Instant>,
    /// Where it runs, as numbers of `stands`.
    running: Vec<usize>,
    /// The statement that runs must give way.
    doomed: bool,
    /// When the servers are asked next, and how long the pause before was.
    look: Option<(Instant, Duration)>,
}

/// A connection of a transaction.
#[derive(Debug, Clone)]
pub struct Stand {
    /// The shard.
    pub shard: Arc<Shard>,
    /// Its server.
    pub tablet: Arc<Tablet>,
    /// The connection's id there.
    pub connection: u32,
}

/// A transaction's place in [`Deadlocks`]; given up when dropped.
#[derive(Debug)]
pub struct Registered {
    deadlocks: Arc<Deadlocks>,
    standing: Arc<Standing>,
}

// === impl Deadlocks ===

impl Deadlocks {
    /// No transactions.
    #[must_use]
    pub fn new(config: DeadlockConfig) -> Arc<Self> {
        Arc::new(Self {
            config,
            incarnation: base36(rand::random()),
            next: AtomicU64::new(1),
            standing: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// A transaction has reached its second shard; none where deadlocks are not looked for. `age` is
    /// the time since when it is known, in Unix milliseconds, where it has begun again.
    #[must_use]
    pub fn register(self: &Arc<Self>, age: Option<u64>) -> Option<Registered> {
        self.config.wait?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let standing = Arc::new(Standing {
            number,
            name: format!("{}.{}", self.incarnation, base36(number)),
            started_ms: age.unwrap_or_else(now_ms),
            state: Mutex::default(),
            doomed: Notify::new(),
        });
        locked(&self.standing).insert(number, Arc::clone(&standing));
        Some(Registered { deadlocks: Arc::clone(self), standing })
    }

    /// Whether this process has given the transaction its name.
    fn is_ours(&self, name: &str) -> bool {
        name.split_once('.').is_some_and(|(incarnation, _)| incarnation == self.incarnation)
    }

    fn all(&self) -> Vec<Arc<Standing>> {
        locked(&self.standing).values().cloned().collect()
    }
}

// === impl Registered ===

impl Registered {
    /// The transaction, for those who wait for an answer.
    #[must_use]
    pub fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    /// A statement begins. The transaction stands on these connections now; it runs on those for which
    /// `runs` is true.
    pub fn begin(&self, stands: Vec<Stand>, runs: impl Fn(&Shard) -> bool) {
        let Some(wait) = self.deadlocks.config.wait else { return };
        let now = Instant::now();
        let mut state = locked(&self.standing.state);
        state.running.clear();
        state.running.extend((0..stands.len()).filter(|at| runs(&stands[*at].shard)));
        state.stands = stands;
        state.statement += 1;
        state.since = Some(now);
        state.doomed = false;
        state.look = Some((now + wait, wait));
        drop(state);
        self.deadlocks.wake.notify_one();
    }

    /// No statement runs any more.
    pub fn end(&self) {
        let mut state = locked(&self.standing.state);
        state.since = None;
        state.look = None;
        state.doomed = false;
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        locked(&self.deadlocks.standing).remove(&self.standing.number);
    }
}

// === impl Standing ===

impl Standing {
    /// Comes when the running statement must give way. Cancel safe.
    pub async fn doomed(&self) {
        loop {
            let called = std::pin::pin!(self.doomed.notified());
            let mut called = called;
            // From here on no call is missed.
            called.as_mut().enable();
            if locked(&self.state).doomed {
                return;
            }
            called.await;
        }
    }

    /// Since when it is known, in Unix milliseconds.
    #[must_use]
    pub fn started_ms(&self) -> u64 {
        self.started_ms
    }

    /// Makes the statement of this number give way; false where it has ended meanwhile.
    fn doom(&self, statement: u64) -> bool {
        let mut state = locked(&self.state);
        if state.statement != statement || state.since.is_none() {
            return false;
        }
        state.doomed = true;
        drop(state);
        self.doomed.notify_waiters();
        true
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deadlocks() -> Arc<Deadlocks> {
        Deadlocks::new(DeadlockConfig { wait: Some(Duration::from_millis(200)), between_gates: true })
    }

    #[tokio::test]
    async fn a_statement_that_has_ended_is_not_doomed() {
        let all = deadlocks();
        let one = all.register(None).unwrap();
        one.begin(Vec::new(), |_| true);
        let standing = Arc::clone(one.standing());
        assert!(!standing.doom(2));
        one.end();
        assert!(!standing.doom(1));
        one.begin(Vec::new(), |_| true);
        assert!(standing.doom(2));
        standing.doomed().await;
        // The next statement does not inherit it.
        one.begin(Vec::new(), |_| true);
        assert!(tokio::time::timeout(Duration::from_millis(1), standing.doomed()).await.is_err());
    }

    #[tokio::test]
    async fn whoever_waits_is_told() {
        let all = deadlocks();
        let one = all.register(None).unwrap();
        one.begin(Vec::new(), |_| true);
        let waiting = Arc::clone(one.standing());
        let told = tokio::spawn(async move { waiting.doomed().await });
        tokio::task::yield_now().await;
        assert!(one.standing().doom(1));
        told.await.unwrap();
    }

    #[test]
    fn the_end_of_a_transaction_is_noticed() {
        let all = deadlocks();
        let (one, two) = (all.register(None).unwrap(), all.register(None).unwrap());
        assert_eq!(all.all().len(), 2);
        assert_ne!(one.standing().name, two.standing().name);
        drop(one);
        assert_eq!(all.all().len(), 1);
        let off = Deadlocks::new(DeadlockConfig { wait: None, between_gates: true });
        assert!(off.register(None).is_none());
    }
}
