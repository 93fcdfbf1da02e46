//! Which session settings does a connection carry?
//!
//! A session's settings are a sorted list of assignments, interned: equal lists are the same `Arc`, so
//! that a pool compares pointers (the design of Vitess's settings pool). The empty list is the
//! baseline that every connection has after its login.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// One interned list of assignments. Compare with [`Arc::ptr_eq`].
pub struct Settings {
    assignments: Assignments,
    statement: Vec<u8>,
    has_user_variables: bool,
    /// A server has accepted the statement: from then on it may be sent ahead of a query without
    /// waiting for its answer.
    accepted: AtomicBool,
}

/// Names and values, sorted by name.
type Assignments = Vec<(String, String)>;

/// The name that stands for `SET NAMES`; the value is its charset and collation as SQL text. Unlike the
/// three variables one by one, it also gives result columns the collation's id.
pub const NAMES: &str = "names";

/// The settings that are in use.
#[derive(Debug)]
pub struct SettingsRegistry {
    baseline: Arc<Settings>,
    interned: Mutex<HashMap<Assignments, Weak<Settings>>>,
}

// === impl Settings ===

impl Settings {
    fn new(assignments: Vec<(String, String)>) -> Self {
        let mut statement = b"SET ".to_vec();
        // NAMES first: it sets variables that others in the list may set again.
        let (names, others): (Vec<_>, Vec<_>) = assignments.iter().partition(|(name, _)| name == NAMES);
        for (at, (name, value)) in names.into_iter().chain(others).enumerate() {
            if at > 0 {
                statement.extend_from_slice(b", ");
            }
            if name == NAMES {
                statement.extend_from_slice(b"NAMES ");
                statement.extend_from_slice(value.as_bytes());
                continue;
            }
            if !name.starts_with('@') {
                statement.extend_from_slice(b"@@SESSION.");
            }
            statement.extend_from_slice(name.as_bytes());
            statement.extend_from_slice(b" = ");
            statement.extend_from_slice(value.as_bytes());
        }
        let has_user_variables = assignments.iter().any(|(name, _)| name.starts_with('@'));
        Self { assignments, statement, has_user_variables, accepted: AtomicBool::new(false) }
    }

    /// The assignments: a system variable's bare name, `@name` or [`NAMES`], and the value as SQL text.
    /// Sorted.
    #[must_use]
    pub fn assignments(&self) -> &[(String, String)] {
        &self.assignments
    }

    /// Whether these are the baseline.
    #[must_use]
    pub fn is_baseline(&self) -> bool {
        self.assignments.is_empty()
    }

    /// Whether user variables are among them.
    #[must_use]
    pub fn has_user_variables(&self) -> bool {
        self.has_user_variables
    }

    /// The `SET` statement that brings a baseline connection to these settings.
    #[must_use]
    pub fn statement(&self) -> &[u8] {
        &self.statement
    }

    /// Whether a server has accepted them before.
    pub(super) fn is_accepted(&self) -> bool {
        self.accepted.load(Ordering::Relaxed)
    }

    pub(super) fn accept(&self) {
        self.accepted.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.assignments.iter().map(|(name, _)| name)).finish()
    }
}

// === impl SettingsRegistry ===

impl Default for SettingsRegistry {
    fn default() -> Self {
        Self { baseline: Arc::new(Settings::new(Vec::new())), interned: Mutex::default() }
    }
}

impl SettingsRegistry {
    /// No assignments.
    #[must_use]
    pub fn baseline(&self) -> Arc<Settings> {
        Arc::clone(&self.baseline)
    }

    /// The settings of these assignments, in any order; of several to one name the last counts. Names
    /// are compared without case. Values must be valid SQL expressions: they are sent as they are.
    #[must_use]
    pub fn intern(&self, assignments: impl IntoIterator<Item = (String, String)>) -> Arc<Settings> {
        let mut sorted: Vec<(String, String)> = Vec::new();
        for (name, value) in assignments {
            let name = name.to_ascii_lowercase();
            match sorted.binary_search_by(|(other, _)| other.cmp(&name)) {
                Ok(at) => sorted[at].1 = value,
                Err(at) => sorted.insert(at, (name, value)),
            }
        }
        if sorted.is_empty() {
            return self.baseline();
        }
        let mut interned = self.interned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = interned.get(&sorted).and_then(Weak::upgrade) {
            return known;
        }
        interned.retain(|_, settings| settings.strong_count() > 0);
        let settings = Arc::new(Settings::new(sorted.clone()));
        interned.insert(sorted, Arc::downgrade(&settings));
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn equal_settings_are_one() {
        let registry = SettingsRegistry::default();
        let one = registry.intern(list(&[("time_zone", "'+00:00'"), ("sql_mode", "''")]));
        let two =
            registry.intern(list(&[("SQL_MODE", "'ANSI'"), ("time_zone", "'+00:00'"), ("sql_mode", "''")]));
        assert!(Arc::ptr_eq(&one, &two));
        assert_eq!(one.statement(), b"SET @@SESSION.sql_mode = '', @@SESSION.time_zone = '+00:00'");
        let other = registry.intern(list(&[("sql_mode", "''")]));
        assert!(!Arc::ptr_eq(&one, &other));
        assert!(registry.intern(Vec::new()).is_baseline());
    }

    #[test]
    fn user_variables_are_told_apart() {
        let registry = SettingsRegistry::default();
        let settings = registry.intern(list(&[("@x", "1")]));
        assert!(settings.has_user_variables());
        assert_eq!(settings.statement(), b"SET @x = 1");
    }

    #[test]
    fn settings_that_nobody_uses_are_forgotten() {
        let registry = SettingsRegistry::default();
        for number in 0..100 {
            drop(registry.intern(list(&[("wait_timeout", &number.to_string())])));
        }
        assert!(registry.interned.lock().unwrap().len() <= 1);
    }
}
