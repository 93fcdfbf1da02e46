//! How many connections and running statements may one user have?
//!
//! Counted by the name that the client logged in with, while it has a connection: whoever has none takes
//! no memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Result, SqlError};

/// The limits, and who uses how much.
#[derive(Debug)]
pub struct UserLimits {
    connections: Option<u32>,
    queries: Option<u32>,
    users: Mutex<HashMap<Box<str>, Arc<Usage>>>,
}

#[derive(Debug, Default)]
struct Usage {
    connections: AtomicU32,
    queries: AtomicU32,
}

/// One of a user's connections; gives its place back when dropped.
#[derive(Debug)]
pub(super) struct Member {
    limits: Arc<UserLimits>,
    user: Box<str>,
    usage: Arc<Usage>,
}

/// One of a user's running statements, until it is dropped.
#[derive(Debug)]
pub(super) struct Running(Arc<Usage>);

// === impl UserLimits ===

impl UserLimits {
    /// So many connections and running statements of one user; none for any number.
    #[must_use]
    pub fn new(connections: Option<u32>, queries: Option<u32>) -> Arc<Self> {
        Arc::new(Self { connections, queries, users: Mutex::default() })
    }

    /// Takes a place for a connection; none where nothing is limited.
    ///
    /// # Errors
    /// 1203 for one too many.
    pub(super) fn join(self: &Arc<Self>, user: &str) -> Result<Option<Member>> {
        if self.connections.is_none() && self.queries.is_none() {
            return Ok(None);
        }
        let mut users = self.lock();
        let usage = Arc::clone(users.entry(user.into()).or_default());
        let most = self.connections.unwrap_or(u32::MAX);
        // Under the lock nobody else changes the number of connections.
        if usage.connections.load(Ordering::Relaxed) >= most {
            return Err(SqlError::too_many_user_connections(user));
        }
        usage.connections.fetch_add(1, Ordering::Relaxed);
        drop(users);
        Ok(Some(Member { limits: Arc::clone(self), user: user.into(), usage }))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<Usage>>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Member ===

impl Member {
    /// Counts a statement. One that `must` run, to end a transaction for instance, is not refused.
    ///
    /// # Errors
    /// 1226 for one too many.
    pub(super) fn run(&self, must: bool) -> Result<Option<Running>> {
        let Some(most) = self.limits.queries else { return Ok(None) };
        let before = self.usage.queries.fetch_add(1, Ordering::Relaxed);
        let running = Running(Arc::clone(&self.usage));
        if before >= most && !must {
            return Err(SqlError::user_limit_reached(&self.user, "max_user_queries", most));
        }
        Ok(Some(running))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut users = self.limits.lock();
        if self.usage.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            users.remove(&self.user);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.queries.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let limits = UserLimits::new(Some(2), Some(1));
        let first = limits.join("a").unwrap().unwrap();
        let second = limits.join("a").unwrap().unwrap();
        assert_eq!(limits.join("a").unwrap_err().code(), 1203);
        let other = limits.join("b").unwrap().unwrap();
        let running = first.run(false).unwrap();
        assert_eq!(second.run(false).unwrap_err().code(), 1226);
        assert!(second.run(true).is_ok(), "a transaction can end");
        assert!(other.run(false).is_ok());
        drop(running);
        assert!(second.run(false).is_ok());
        drop(first);
        let third = limits.join("a").unwrap();
        assert!(third.is_some());
        drop((second, third, other));
        assert!(limits.lock().is_empty(), "nothing stays of those who have gone");
    }

    #[test]
    fn without_limits_nobody_is_counted() {
        let limits = UserLimits::new(None, None);
        assert!(limits.join("a").unwrap().is_none());
        assert!(limits.lock().is_empty());
    }
}
