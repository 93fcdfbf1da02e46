//! Is a server there, and how soon is it asked again when it was not?
//!
//! One failed dial may be bad luck; from the second in a row on, leases that would need a new
//! connection fail at once instead of each waiting for its own timeout, and one background task asks
//! the server until it answers. Only that server's shard is affected.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Failures in a row after which a server counts as down.
const DOWN_AFTER: u32 = 2;

/// The pauses between two questions to a server that is down.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What is known about one server.
#[derive(Debug, Default)]
pub(super) struct Health {
    down: AtomicBool,
    trouble: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    failures: u32,
    detail: String,
    /// A task asks the server.
    asked: bool,
}

// === impl Health ===

impl Health {
    /// Why the server cannot be used now; `None` where it may be tried.
    pub(super) fn trouble(&self) -> Option<String> {
        if !self.down.load(Ordering::Acquire) {
            return None;
        }
        Some(self.lock().detail.clone())
    }

    pub(super) fn is_up(&self) -> bool {
        !self.down.load(Ordering::Acquire)
    }

    /// Notes that the server answered.
    pub(super) fn succeeded(&self) {
        if self.is_up() && self.lock().failures == 0 {
            return;
        }
        *self.lock() = Trouble::default();
        self.down.store(false, Ordering::Release);
    }

    /// Notes that the server could not be reached. Returns whether the caller has to start the task
    /// that asks it.
    pub(super) fn failed(&self, detail: &str) -> bool {
        let mut trouble = self.lock();
        trouble.failures = trouble.failures.saturating_add(1);
        detail.clone_into(&mut trouble.detail);
        if trouble.failures < DOWN_AFTER {
            return false;
        }
        self.down.store(true, Ordering::Release);
        !std::mem::replace(&mut trouble.asked, true)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pauses of the asking task: doubling, up to a second.
pub(super) fn pauses() -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(FIRST_PAUSE), |pause| Some(Ord::min(*pause * 2, LONGEST_PAUSE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_failures_in_a_row_are_down_and_one_task_asks() {
        let health = Health::default();
        assert!(!health.failed("refused"));
        assert_eq!(health.trouble(), None);
        health.succeeded();
        assert!(!health.failed("refused"));
        assert!(health.failed("refused"), "the first to see it down starts the task");
        assert!(!health.failed("still refused"));
        assert_eq!(health.trouble().as_deref(), Some("still refused"));
        health.succeeded();
        assert!(health.is_up());
    }

    #[test]
    fn pauses_double_up_to_a_second() {
        let pauses: Vec<_> = pauses().take(7).map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000]);
    }
}
