//! When must a statement not be cut off by KILL or by a client that went away?
//!
//! While a commit is under way: cut off in the middle it would be half done, or done although the
//! client was told that it failed. Everything else is dropped at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Up while a commit of the session is under way.
#[derive(Debug, Clone, Default)]
pub struct Shield(Arc<AtomicUsize>);

/// Lowers the shield when dropped.
#[derive(Debug)]
pub(super) struct Raised(Shield);

// === impl Shield ===

impl Shield {
    /// Whether what runs must come to its own end.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }

    pub(super) fn raise(&self) -> Raised {
        self.0.fetch_add(1, Ordering::AcqRel);
        Raised(self.clone())
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::Shield;

    #[test]
    fn a_dropped_commit_lowers_it() {
        let shield = Shield::default();
        let first = shield.raise();
        let second = shield.raise();
        drop(first);
        assert!(shield.is_up());
        drop(second);
        assert!(!shield.is_up());
    }
}
