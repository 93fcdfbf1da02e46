//! What does a collation id mean?
//!
//! The table is mysql_common's, taken from `information_schema.COLLATIONS`. MariaDB shares the ids
//! below 256 but for 0900 collations, which it does not have.

use mysql_common::collations::{Collation as Entry, CollationId, PadAttribute};

/// What a collation id stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collation {
    /// The id of the greeting, the login packet and column definitions.
    pub id: u16,
    /// The collation, such as `utf8mb4_0900_ai_ci`.
    pub name: &'static str,
    /// The character set, such as `utf8mb4`.
    pub charset: &'static str,
    /// The longest character, in bytes.
    pub max_bytes: u8,
    /// Whether trailing spaces count in comparisons.
    pub pad: Pad,
}

/// How a collation treats trailing spaces (`information_schema.COLLATIONS.PAD_ATTRIBUTE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pad {
    /// `'a' = 'a '`.
    Space,
    /// `'a' <> 'a '`: `binary`, and the `utf8mb4_0900` family.
    None,
}

/// `utf8mb4_general_ci`: known to MySQL and MariaDB alike.
pub const UTF8MB4_GENERAL_CI: u16 = 45;
/// `utf8mb4_0900_ai_ci`: MySQL's default since 8.0; MariaDB silently takes latin1 for it.
pub const UTF8MB4_0900_AI_CI: u16 = 255;

// === impl Collation ===

impl Collation {
    /// The collation of an id; `None` for ids that are not in the table.
    #[must_use]
    pub fn by_id(id: u16) -> Option<Self> {
        let known = CollationId::from(id);
        (known != CollationId::UNKNOWN_COLLATION_ID).then(|| Self::new(id, &Entry::from(known)))
    }

    /// The collation of a lower-case name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let known = CollationId::from(name);
        (known != CollationId::UNKNOWN_COLLATION_ID).then(|| Self::new(known as u16, &Entry::from(known)))
    }

    /// Whether an id can be asked for in the login packet, which has one byte for it. `ucs2`, `utf16`,
    /// `utf16le` and `utf32` are not client character sets: servers answer 1231 `42000`.
    #[must_use]
    pub fn is_client_charset(&self) -> bool {
        !matches!(self.charset, "ucs2" | "utf16" | "utf16le" | "utf32")
    }

    fn new(id: u16, entry: &Entry<'static>) -> Self {
        let pad = match entry.padding() {
            PadAttribute::PadZero => Pad::None,
            PadAttribute::PadSpace => Pad::Space,
        };
        Self { id, name: entry.collation, charset: entry.charset, max_bytes: entry.max_len, pad }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Expectations: SELECT ID, COLLATION_NAME, MAXLEN, PAD_ATTRIBUTE on MySQL 9.7.
    #[test]
    fn what_mysql_says() {
        for (id, name, charset, max_bytes, pad) in [
            (8, "latin1_swedish_ci", "latin1", 1, Pad::Space),
            (33, "utf8mb3_general_ci", "utf8mb3", 3, Pad::Space),
            (45, "utf8mb4_general_ci", "utf8mb4", 4, Pad::Space),
            (46, "utf8mb4_bin", "utf8mb4", 4, Pad::Space),
            (63, "binary", "binary", 1, Pad::None),
            (224, "utf8mb4_unicode_ci", "utf8mb4", 4, Pad::Space),
            (255, "utf8mb4_0900_ai_ci", "utf8mb4", 4, Pad::None),
            (309, "utf8mb4_0900_bin", "utf8mb4", 4, Pad::None),
        ] {
            let collation = Collation::by_id(id).unwrap();
            assert_eq!(collation, Collation { id, name, charset, max_bytes, pad });
            assert_eq!(Collation::by_name(name), Some(collation));
        }
        assert_eq!(Collation::by_id(0), None);
        assert_eq!(Collation::by_id(u16::MAX), None);
        assert_eq!(Collation::by_name("utf8mb4_nothing_ci"), None);
        assert!(!Collation::by_id(35).unwrap().is_client_charset());
    }
}
