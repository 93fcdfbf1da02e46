//! What does `SET TRANSACTION` without SESSION leave for the next transaction?
//!
//! As in MySQL (measured on 9.7 and MariaDB 10.11): the next transaction takes it, and one statement
//! outside a transaction is a transaction, if it names a table. What failed before it reached the
//! storage engine (1064, 1146, 1792 and their like) has not taken it. COMMIT, ROLLBACK and DDL end it.

use std::sync::Arc;

use super::{Characteristics, ShardTransactions};
use crate::error::SqlError;

/// What was set for the next transaction alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NextTransaction {
    /// The words of the isolation level, such as `READ COMMITTED`.
    pub isolation: Option<Arc<str>>,
    /// `READ ONLY` or `READ WRITE`.
    pub read_only: Option<bool>,
}

// === impl NextTransaction ===

impl NextTransaction {
    /// Whether nothing was set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.isolation.is_none() && self.read_only.is_none()
    }

    /// The same for a transaction that the gate begins itself.
    pub(super) fn characteristics(&self) -> Characteristics {
        Characteristics {
            read_only: self.read_only,
            consistent_snapshot: false,
            isolation: self.isolation.clone(),
        }
    }

    /// The statement that tells a server, to be sent ahead of one statement outside a transaction.
    #[must_use]
    pub fn statement(&self) -> Option<Vec<u8>> {
        let level = self.isolation.as_ref().map(|level| format!("ISOLATION LEVEL {level}"));
        let access = self.read_only.map(|read_only| if read_only { "READ ONLY" } else { "READ WRITE" });
        let parts: Vec<&str> = [level.as_deref(), access].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| format!("SET TRANSACTION {}", parts.join(", ")).into_bytes())
    }

    /// Whether a statement outside a transaction that ended like this was the next transaction.
    #[must_use]
    pub fn is_taken_by(outcome: Result<(), &SqlError>) -> bool {
        match outcome {
            Ok(()) => true,
            // Syntax and unknown names; 1792.
            Err(error) => !error.state().as_str().starts_with("42") && error.state().as_str() != "25006",
        }
    }
}

// === impl ShardTransactions ===

impl ShardTransactions {
    /// The session's defaults are about to change inside the open transaction, which keeps those that it
    /// began with: shards that join later begin with them.
    pub fn keep_defaults(&mut self, isolation: &str, read_only: bool) {
        self.characteristics.isolation.get_or_insert_with(|| isolation.into());
        self.characteristics.read_only.get_or_insert(read_only);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_statement_says_both() {
        let mut next = NextTransaction::default();
        assert!(next.is_empty() && next.statement().is_none());
        next.read_only = Some(false);
        assert_eq!(next.statement().unwrap(), b"SET TRANSACTION READ WRITE");
        next.isolation = Some("READ COMMITTED".into());
        assert_eq!(next.statement().unwrap(), b"SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE");
    }

    #[test]
    fn what_did_not_begin_has_not_taken_it() {
        let server = |code, state: &[u8; 5]| {
            SqlError::from_server(code, crate::error::SqlState(*state), String::new())
        };
        for (error, taken) in [
            (server(1792, b"25006"), false),
            (server(1146, b"42S02"), false),
            (server(1064, b"42000"), false),
            (server(1062, b"23000"), true),
            (server(1213, b"40001"), true),
        ] {
            assert_eq!(NextTransaction::is_taken_by(Err(&error)), taken, "{error}");
        }
        assert!(NextTransaction::is_taken_by(Ok(())));
    }
}
