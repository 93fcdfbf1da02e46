//! What do clients send at this moment?
//!
//! As long as nobody watches, a statement looks at one number. Whoever watches gets the lines of the query
//! log as they come, without values; a watcher that is too slow misses some, and nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};

use super::query_log::Entry;

/// Lines that may wait for a watcher.
const BACKLOG: usize = 1024;

/// Passes statements to those who watch.
#[derive(Debug)]
pub struct LiveLog {
    watchers: AtomicUsize,
    lines: broadcast::Sender<Arc<serde_json::Value>>,
}

/// Counts a watcher for as long as it watches.
struct Watching<'a>(&'a AtomicUsize);

// === impl LiveLog ===

impl LiveLog {
    /// The next statements: so many at most, for so long at most.
    pub async fn watch(&self, most: usize, time: Duration) -> Vec<serde_json::Value> {
        let deadline = Instant::now() + time;
        let mut lines = self.lines.subscribe();
        self.watchers.fetch_add(1, Ordering::Relaxed);
        let _watching = Watching(&self.watchers);
        let mut seen = Vec::new();
        while seen.len() < most {
            match timeout_at(deadline, lines.recv()).await {
                Ok(Ok(line)) => seen.push((*line).clone()),
                Ok(Err(RecvError::Lagged(_))) => {}
                Ok(Err(RecvError::Closed)) | Err(_) => break,
            }
        }
        seen
    }

    /// Hot path: whether anybody watches.
    pub(super) fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }

    pub(super) fn note(&self, entry: &Entry<'_>) {
        if self.is_watched() {
            // Fails where the last watcher has just gone.
            let _ = self.lines.send(Arc::new(entry.json(true, "watched")));
        }
    }
}

impl Default for LiveLog {
    fn default() -> Self {
        Self { watchers: AtomicUsize::new(0), lines: broadcast::channel(BACKLOG).0 }
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
