//! What did a shard remark on a statement?

use super::output::SchemaName;
use crate::protocol::row::{RawRow, TextRow};
use crate::topology::Tablet;

/// A warning, error or note that `SHOW WARNINGS` shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// `Note`, `Warning` or `Error`.
    pub level: &'static str,
    /// MySQL's error number, or one of the gate's own (301).
    pub code: u16,
    /// The text.
    pub message: String,
}

// === impl Warning ===

impl Warning {
    /// Reads the rows of a server's SHOW WARNINGS: level, code, message. The message names the keyspace
    /// where the server's names its own database.
    #[must_use]
    pub fn read_all(rows: &[RawRow], tablet: &Tablet) -> Vec<Self> {
        Self::read_renamed(rows, SchemaName::of(tablet).as_ref())
    }

    /// As [`Self::read_all`], with the names that a message has and what the client knows instead.
    #[must_use]
    pub fn read_renamed(rows: &[RawRow], names: Option<&SchemaName>) -> Vec<Self> {
        rows.iter().filter_map(|row| Self::read(&row.0, names)).collect()
    }

    fn read(row: &[u8], schema: Option<&SchemaName>) -> Option<Self> {
        let mut values = TextRow::new(row);
        let mut next = || values.next()?.ok()?;
        let level = match next()? {
            b"Error" => "Error",
            b"Note" => "Note",
            _ => "Warning",
        };
        let code = std::str::from_utf8(next()?).ok()?.parse().ok()?;
        let message = String::from_utf8_lossy(next()?).into_owned();
        let message = schema.map(|schema| schema.in_message(&message)).unwrap_or(message);
        Some(Self { level, code, message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_keyspace() {
        let row = b"\x04Note\x041051\x40Unknown table 'service_40-80.gone'";
        let names = SchemaName::new("service_40-80".into(), "service".into());
        let message = "Unknown table 'service.gone'".to_owned();
        let expected = Warning { level: "Note", code: 1051, message };
        assert_eq!(Warning::read(&row[..], Some(&names)), None, "cut short");
        let row = b"\x04Note\x041051\x22Unknown table 'service_40-80.gone'";
        assert_eq!(Warning::read(&row[..], Some(&names)), Some(expected));
    }
}
