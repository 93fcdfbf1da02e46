//! What did client and server agree on, and what does a status say?
//!
//! Several clients set bits that nobody offered, so the only value to use is
//! [`Capabilities::agreed`]: offered and asked for.

use std::fmt;
use std::ops::{BitAnd, BitOr};

/// Capability flags of the greeting and the login packet (`group__group__cs__capabilities__flags.html`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Capabilities(pub u32);

/// Status flags of OK and EOF packets (`mysql_com.h`, `SERVER_STATUS_flags_enum`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Status(pub u16);

// === impl Capabilities ===

impl Capabilities {
    /// Old-style long passwords. MariaDB calls it CLIENT_MYSQL: clear means that extended
    /// capability bytes follow in the greeting.
    pub const LONG_PASSWORD: Self = Self(1);
    /// Affected rows of an UPDATE are the matched rows, not the changed ones.
    pub const FOUND_ROWS: Self = Self(1 << 1);
    /// Column flags have two bytes.
    pub const LONG_FLAG: Self = Self(1 << 2);
    /// The login packet names a database.
    pub const CONNECT_WITH_DB: Self = Self(1 << 3);
    /// zlib compression.
    pub const COMPRESS: Self = Self(1 << 5);
    /// ODBC client; no meaning.
    pub const ODBC: Self = Self(1 << 6);
    /// LOAD DATA LOCAL is possible.
    pub const LOCAL_FILES: Self = Self(1 << 7);
    /// The parser ignores spaces before `(`: `sql_mode` IGNORE_SPACE.
    pub const IGNORE_SPACE: Self = Self(1 << 8);
    /// The 4.1 protocol; nothing else is spoken here.
    pub const PROTOCOL_41: Self = Self(1 << 9);
    /// `interactive_timeout` instead of `wait_timeout`.
    pub const INTERACTIVE: Self = Self(1 << 10);
    /// TLS.
    pub const SSL: Self = Self(1 << 11);
    /// Client library detail; no meaning.
    pub const IGNORE_SIGPIPE: Self = Self(1 << 12);
    /// Status flags are meaningful.
    pub const TRANSACTIONS: Self = Self(1 << 13);
    /// Old name of the 4.1 protocol; no meaning.
    pub const RESERVED: Self = Self(1 << 14);
    /// 4.1 authentication.
    pub const SECURE_CONNECTION: Self = Self(1 << 15);
    /// Several statements in one query.
    pub const MULTI_STATEMENTS: Self = Self(1 << 16);
    /// Several results to one query.
    pub const MULTI_RESULTS: Self = Self(1 << 17);
    /// Several results to one EXECUTE.
    pub const PS_MULTI_RESULTS: Self = Self(1 << 18);
    /// The login packet names an authentication plugin.
    pub const PLUGIN_AUTH: Self = Self(1 << 19);
    /// The login packet carries connection attributes.
    pub const CONNECT_ATTRS: Self = Self(1 << 20);
    /// The login packet's auth data has a length-encoded length.
    pub const PLUGIN_AUTH_LENENC: Self = Self(1 << 21);
    /// The client can handle an expired password.
    pub const EXPIRED_PASSWORDS: Self = Self(1 << 22);
    /// OK packets carry session-track blocks.
    pub const SESSION_TRACK: Self = Self(1 << 23);
    /// Rows end with an OK packet of header `fe`, and no EOF follows the column definitions.
    pub const DEPRECATE_EOF: Self = Self(1 << 24);
    /// The column-count packet has a metadata flag. Neither offered nor asked for.
    pub const OPTIONAL_RESULTSET_METADATA: Self = Self(1 << 25);
    /// zstd compression.
    pub const ZSTD: Self = Self(1 << 26);
    /// COM_QUERY and COM_STMT_EXECUTE carry query attributes.
    pub const QUERY_ATTRIBUTES: Self = Self(1 << 27);

    /// What clients are offered without TLS and LOAD DATA LOCAL: those two bits are added where the
    /// configuration has them on. With both this is `0x0dffffef`.
    pub const OFFERED: Self = Self(0x0dff_ffef & !(Self::SSL.0 | Self::LOCAL_FILES.0));

    /// What is asked of every backend; FOUND_ROWS, CONNECT_WITH_DB and SSL come on top where needed.
    pub const BACKEND: Self = Self(
        Self::LONG_PASSWORD.0
            | Self::LONG_FLAG.0
            | Self::PROTOCOL_41.0
            | Self::TRANSACTIONS.0
            | Self::SECURE_CONNECTION.0
            | Self::MULTI_RESULTS.0
            | Self::PS_MULTI_RESULTS.0
            | Self::PLUGIN_AUTH.0
            | Self::PLUGIN_AUTH_LENENC.0
            | Self::CONNECT_ATTRS.0
            | Self::SESSION_TRACK.0
            | Self::DEPRECATE_EOF.0,
    );

    /// What both sides set: the only capabilities a connection may use.
    #[must_use]
    pub fn agreed(offered: Self, asked: Self) -> Self {
        offered & asked
    }

    /// Whether all bits of `other` are set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Without the bits of `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Capabilities {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Capabilities({:#010x})", self.0)
    }
}

// === impl Status ===

impl Status {
    /// A transaction is open.
    pub const IN_TRANS: Self = Self(1);
    /// Autocommit mode is on.
    pub const AUTOCOMMIT: Self = Self(1 << 1);
    /// Another result follows.
    pub const MORE_RESULTS: Self = Self(1 << 3);
    /// The query used no good index.
    pub const NO_GOOD_INDEX: Self = Self(1 << 4);
    /// The query used no index.
    pub const NO_INDEX: Self = Self(1 << 5);
    /// A read-only cursor was opened.
    pub const CURSOR_EXISTS: Self = Self(1 << 6);
    /// The cursor has no more rows.
    pub const LAST_ROW_SENT: Self = Self(1 << 7);
    /// A database was dropped.
    pub const DB_DROPPED: Self = Self(1 << 8);
    /// `sql_mode` has NO_BACKSLASH_ESCAPES: client libraries quote by this bit.
    pub const NO_BACKSLASH_ESCAPES: Self = Self(1 << 9);
    /// A prepared statement's columns have changed.
    pub const METADATA_CHANGED: Self = Self(1 << 10);
    /// The query was slow.
    pub const QUERY_WAS_SLOW: Self = Self(1 << 11);
    /// The result set holds OUT parameters.
    pub const PS_OUT_PARAMS: Self = Self(1 << 12);
    /// The open transaction is read-only.
    pub const IN_TRANS_READONLY: Self = Self(1 << 13);
    /// A session-track block follows.
    pub const SESSION_STATE_CHANGED: Self = Self(1 << 14);

    /// Whether all bits of `other` are set.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Without the bits of `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Status {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Status {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Status({:#06x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_that_nobody_offered_do_not_count() {
        // node mysql2's measured login packet: LOCAL_FILES and others set without offer.
        let asked = Capabilities(0x18ba_f3ff);
        let agreed = Capabilities::agreed(Capabilities::OFFERED, asked);
        assert!(!agreed.contains(Capabilities::LOCAL_FILES));
        assert!(agreed.contains(Capabilities::QUERY_ATTRIBUTES | Capabilities::PROTOCOL_41));
        assert!(!agreed.contains(Capabilities::DEPRECATE_EOF));
    }

    #[test]
    fn the_full_offer() {
        let full = Capabilities::OFFERED | Capabilities::SSL | Capabilities::LOCAL_FILES;
        assert_eq!(full.0, 0x0dff_ffef);
    }
}
