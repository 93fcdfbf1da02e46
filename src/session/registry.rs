//! Which clients are connected, what do they run, and how is one of them stopped?

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::pin::Pinned;
use crate::protocol::greeting::Attributes;

/// The most bytes of a session's connection attributes that are kept.
const ATTRIBUTES: usize = 1 << 10;

/// All sessions of this gate, by connection id.
#[derive(Debug, Default)]
pub struct Registry {
    next_id: AtomicU32,
    sessions: Mutex<BTreeMap<u32, Arc<Entry>>>,
}

/// What others may know of a session, and how they reach it.
#[derive(Debug)]
pub struct Entry {
    /// The connection id that the greeting told the client.
    pub id: u32,
    /// Where the client connects from, as `host:port`.
    pub peer: String,
    killed: AtomicU64,
    kill: Notify,
    view: Mutex<View>,
}

/// The process-list row of a session.
#[derive(Debug, Clone)]
pub struct View {
    /// The logged-in user; empty before login.
    pub user: String,
    /// The selected target (`service`, `service:-80@replica`), if any.
    pub database: Option<String>,
    /// `Query`, `Sleep`, …
    pub command: &'static str,
    /// Since when.
    pub since: Instant,
    /// The running statement.
    pub info: Option<bytes::Bytes>,
    /// The connections that it keeps to itself.
    pub pinned: Vec<Pinned>,
    /// What the client said of itself at its login (connection attributes), as far as it is kept.
    pub attributes: Vec<(String, String)>,
}

/// How far a KILL goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    /// Only the running statement (`KILL QUERY`).
    Query,
    /// The whole connection.
    Connection,
}

/// Removes the session from the registry when it is dropped.
#[derive(Debug)]
pub struct Registration {
    registry: Arc<Registry>,
    entry: Arc<Entry>,
}

// === impl Registry ===

impl Registry {
    /// Enters a new session under the next free connection id (ids start at 1 and wrap at 2³²).
    pub fn register(self: &Arc<Self>, peer: String) -> Registration {
        let mut sessions = lock(&self.sessions);
        let id = loop {
            let id = self.next_id.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            if id != 0 && !sessions.contains_key(&id) {
                break id;
            }
        };
        let entry = Arc::new(Entry {
            id,
            peer,
            killed: AtomicU64::new(0),
            kill: Notify::new(),
            view: Mutex::new(View {
                user: String::new(),
                database: None,
                command: "Connect",
                since: Instant::now(),
                info: None,
                pinned: Vec::new(),
                attributes: Vec::new(),
            }),
        });
        sessions.insert(id, Arc::clone(&entry));
        Registration { registry: Arc::clone(self), entry }
    }

    /// Stops a session or its statement; false where no session has the id.
    pub fn kill(&self, id: u64, kill: Kill) -> bool {
        let Some(entry) = u32::try_from(id).ok().and_then(|id| lock(&self.sessions).get(&id).cloned()) else {
            return false;
        };
        entry.raise(kill);
        true
    }

    /// Ends every session: the gate is stopping and waits no longer.
    pub fn kill_all(&self) {
        for entry in self.list() {
            entry.raise(Kill::Connection);
        }
    }

    /// The sessions in order of their ids.
    pub fn list(&self) -> Vec<Arc<Entry>> {
        lock(&self.sessions).values().cloned().collect()
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        lock(&self.sessions).len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

// === impl Entry ===

impl Entry {
    /// A copy of the process-list row.
    pub fn view(&self) -> View {
        lock(&self.view).clone()
    }

    /// Changes the process-list row.
    pub fn update(&self, change: impl FnOnce(&mut View)) {
        change(&mut lock(&self.view));
    }

    /// A statement begins.
    pub fn begin(&self, text: &bytes::Bytes) {
        let mut view = lock(&self.view);
        view.command = "Query";
        view.since = Instant::now();
        view.info = Some(text.clone());
    }

    /// The statement is answered.
    pub fn end(&self) {
        let mut view = lock(&self.view);
        view.command = "Sleep";
        view.since = Instant::now();
        view.info = None;
    }

    pub(super) fn raise(&self, kill: Kill) {
        self.killed.fetch_max(kill.level(), Ordering::AcqRel);
        self.kill.notify_one();
    }

    /// Resolves when someone kills this session or its statement. Cancel safe: a kill that comes
    /// while nobody waits is kept.
    pub async fn killed(&self) -> Kill {
        loop {
            if let Some(kill) = Kill::of_level(self.killed.swap(0, Ordering::AcqRel)) {
                return kill;
            }
            self.kill.notified().await;
        }
    }

    /// Forgets a `KILL QUERY` that came when no statement was running, as MySQL does; a
    /// `KILL CONNECTION` is kept.
    pub fn forget_query_kill(&self) {
        let query = Kill::Query.level();
        // A lost exchange means that the flag was clear or held KILL CONNECTION: both stay.
        let _ = self.killed.compare_exchange(query, 0, Ordering::AcqRel, Ordering::Acquire);
    }
}

impl Kill {
    fn level(self) -> u64 {
        match self {
            Self::Query => 1,
            Self::Connection => 2,
        }
    }

    fn of_level(level: u64) -> Option<Self> {
        match level {
            1 => Some(Self::Query),
            2 => Some(Self::Connection),
            _ => None,
        }
    }
}

/// The first of a login's connection attributes, as many as fit.
pub(super) fn attributes(block: &[u8]) -> Vec<(String, String)> {
    let mut size = 0;
    Attributes::new(block)
        .take_while(|(name, value)| {
            size += name.len() + value.len();
            size <= ATTRIBUTES
        })
        .map(|(name, value)| {
            (String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(value).into_owned())
        })
        .collect()
}

// === impl Registration ===

impl Registration {
    /// The session's entry.
    pub fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        lock(&self.registry.sessions).remove(&self.entry.id);
    }
}

/// The maps here hold no invariants that a panic could break half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_registration_leaves_the_list() {
        let registry = Arc::new(Registry::default());
        let first = registry.register("a".to_owned());
        let second = registry.register("b".to_owned());
        assert_eq!((first.entry().id, second.entry().id), (1, 2));
        drop(first);
        assert_eq!(registry.list().iter().map(|entry| entry.id).collect::<Vec<_>>(), [2]);
        assert!(!registry.kill(1, Kill::Query));
    }

    #[tokio::test]
    async fn a_kill_before_the_wait_is_kept_and_the_stronger_one_wins() {
        let registry = Arc::new(Registry::default());
        let session = registry.register("a".to_owned());
        assert!(registry.kill(1, Kill::Connection));
        assert!(registry.kill(1, Kill::Query));
        assert_eq!(session.entry().killed().await, Kill::Connection);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_sessions_query_kill_is_forgotten() {
        let registry = Arc::new(Registry::default());
        let session = registry.register("a".to_owned());
        registry.kill(1, Kill::Query);
        session.entry().forget_query_kill();
        let wait = tokio::time::timeout(std::time::Duration::from_secs(1), session.entry().killed());
        assert!(wait.await.is_err());
    }
}
