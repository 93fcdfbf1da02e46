//! What do the warnings of several shards say about one statement?
//!
//! Each shard warns of its own rows, which it numbers from 1, and of the statement as a whole, as if it
//! were alone. One server would count the rows of the whole statement, and warn of it once.

use std::sync::{Arc, Mutex, PoisonError};

use super::Warning;

/// Codes that a server says once for a whole statement: deprecated syntax, with and without another
/// way to write it, and a column without a value and without a default.
const OF_THE_STATEMENT: [u16; 3] = [1287, 1681, 1364];

/// The warnings of a statement, over all shards that have answered so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// How many there are; more than `warnings` where a server kept only some.
    pub count: u16,
    /// What SHOW WARNINGS says.
    pub warnings: Vec<Warning>,
}

/// [`Notes`] that the shards of a stream add to while it is read.
#[derive(Debug, Clone, Default)]
pub struct SharedNotes(Arc<Mutex<Notes>>);

// === impl Notes ===

impl Notes {
    /// Adds what one shard said, which had these rows of the statement.
    pub(super) fn add(&mut self, count: u16, warnings: Vec<Warning>, own: &[u32]) {
        self.count = self.count.saturating_add(count);
        // What it says twice itself, it says of two places of the statement.
        let mut known = self.warnings.clone();
        for mut warning in warnings {
            let again = known.iter().position(|own| *own == warning);
            if let Some(at) = again.filter(|_| OF_THE_STATEMENT.contains(&warning.code)) {
                known.swap_remove(at);
                self.count = self.count.saturating_sub(1);
                continue;
            }
            if let Some(message) = renumbered(&warning.message, own) {
                warning.message = message;
            }
            self.warnings.push(warning);
        }
    }
}

// === impl SharedNotes ===

impl SharedNotes {
    /// As [`Notes::add`].
    pub(super) fn add(&self, count: u16, warnings: Vec<Warning>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(count, warnings, &[]);
    }

    /// What is known when the rows have ended.
    #[must_use]
    pub fn take(&self) -> Notes {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The text of a message with the number of the row in the whole statement, if it ends with the number
/// of a row (`Data too long for column 's' at row 2`).
pub(super) fn renumbered(message: &str, own: &[u32]) -> Option<String> {
    let row = own.get(row_of(message)?.checked_sub(1)?)?;
    let start = message.rfind(AT_ROW)?;
    Some(format!("{}{AT_ROW}{}", &message[..start], row + 1))
}

/// The number of the row with which a message ends.
pub(super) fn row_of(message: &str) -> Option<usize> {
    message.rsplit_once(AT_ROW)?.1.parse().ok()
}

const AT_ROW: &str = " at row ";

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(code: u16, message: &str) -> Warning {
        Warning { level: "Warning", code, message: message.into() }
    }

    #[test]
    fn rows_are_numbered_in_the_whole_statement() {
        let mut notes = Notes::default();
        notes.add(1, vec![warning(1265, "Data truncated for column 's' at row 2")], &[0, 3]);
        assert_eq!(notes.warnings, [warning(1265, "Data truncated for column 's' at row 4")]);
        assert_eq!(renumbered("Duplicate entry '2' for key 'PRIMARY'", &[5]), None);
        assert_eq!(renumbered("Out of range value for column 'a' at row 9", &[5]), None);
    }

    #[test]
    fn the_statement_is_warned_of_once() {
        // MySQL 9.7: INSERT … ON DUPLICATE KEY UPDATE a = VALUES(a) has one warning for each VALUES, however
        // many rows.
        let deprecated = || warning(1287, "'VALUES function' is deprecated");
        let mut notes = Notes::default();
        notes.add(2, vec![deprecated(), deprecated()], &[0]);
        notes.add(3, vec![deprecated(), deprecated(), warning(1062, "Duplicate entry")], &[1]);
        assert_eq!((notes.count, notes.warnings.len()), (3, 3));
        notes.add(1, vec![warning(1062, "Duplicate entry")], &[2]);
        assert_eq!((notes.count, notes.warnings.len()), (4, 4), "rows are warned of one by one");
    }
}
