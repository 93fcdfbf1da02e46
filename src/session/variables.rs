//! Which settings does a session bring to its connections, and which of them change how its text is
//! read?

use std::sync::Arc;

use crate::backend::{NAMES, Settings, SettingsRegistry};
use crate::protocol::charset::Collation;
use crate::sql::ClientCharset;

/// What sql_mode changes on the gate's own side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one independent word of sql_mode")]
pub(super) struct ParsingModes {
    pub(super) ansi_quotes: bool,
    pub(super) no_backslash_escapes: bool,
    pub(super) pipes_as_concat: bool,
    pub(super) no_auto_value_on_zero: bool,
}

/// The collation of the baseline: what a MySQL 8 client asks for, `utf8mb4_0900_ai_ci`. Servers that
/// do not know it fall back to their own utf8mb4 collation.
const BASELINE_COLLATION: u16 = 255;

/// The settings that a login's collation asks for. Ids that are no client character set get the
/// baseline, as MySQL falls back to its default.
pub(super) fn login_settings(registry: &SettingsRegistry, collation: u16) -> Arc<Settings> {
    let known = Collation::by_id(collation).filter(Collation::is_client_charset);
    let Some(known) = known.filter(|_| collation != BASELINE_COLLATION) else {
        return registry.baseline();
    };
    let names = format!("'{}' COLLATE '{}'", known.charset, known.name);
    registry.intern([(NAMES.to_owned(), names)])
}

/// Reads sql_mode out of the settings; without one the servers' default holds, which has none of them.
pub(super) fn parsing_modes(settings: &Settings) -> ParsingModes {
    let mut modes = ParsingModes::default();
    let Some((_, value)) = settings.assignments().iter().find(|(name, _)| name == "sql_mode") else {
        return modes;
    };
    for word in value.trim_matches('\'').split(',') {
        match word.to_ascii_uppercase().as_str() {
            "ANSI_QUOTES" => modes.ansi_quotes = true,
            "NO_BACKSLASH_ESCAPES" => modes.no_backslash_escapes = true,
            "PIPES_AS_CONCAT" => modes.pipes_as_concat = true,
            "NO_AUTO_VALUE_ON_ZERO" => modes.no_auto_value_on_zero = true,
            _ => {}
        }
    }
    modes
}

/// Whether text goes both ways in UTF-8.
pub(super) fn is_utf8(settings: &Settings) -> bool {
    settings.assignments().iter().all(|(name, value)| {
        let speaks = matches!(
            name.as_str(),
            NAMES
                | "character_set_client"
                | "character_set_results"
                | "character_set_connection"
                | "collation_connection"
        );
        !speaks || value.starts_with("'utf8")
    })
}

/// In which character set the client writes, as far as the gate must know.
pub(super) fn client_charset(settings: &Settings) -> ClientCharset {
    let value = |wanted: &str| {
        let found = settings.assignments().iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.trim_start_matches('\'').split('\'').next().unwrap_or_default())
    };
    // One by one they are set behind NAMES.
    value("character_set_client").or_else(|| value(NAMES)).map_or(ClientCharset::Utf8, ClientCharset::by_name)
}

/// Whether transactions of the session are read-only unless they say otherwise.
pub(super) fn reads_only(settings: &Settings) -> bool {
    let is_access = |name: &str| matches!(name, "transaction_read_only" | "tx_read_only");
    settings.assignments().iter().any(|(name, value)| is_access(name) && value == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_bring_their_character_set() {
        let registry = SettingsRegistry::default();
        assert!(login_settings(&registry, 255).is_baseline());
        assert!(login_settings(&registry, 0).is_baseline());
        // ucs2_general_ci cannot be a client's character set.
        assert!(login_settings(&registry, 35).is_baseline());
        let latin1 = login_settings(&registry, 8);
        assert_eq!(latin1.statement(), b"SET NAMES 'latin1' COLLATE 'latin1_swedish_ci'");
    }

    #[test]
    fn sql_mode_changes_how_text_is_read() {
        let registry = SettingsRegistry::default();
        let mode = "'REAL_AS_FLOAT,PIPES_AS_CONCAT,ANSI_QUOTES,NO_AUTO_VALUE_ON_ZERO'".to_owned();
        let modes = parsing_modes(&registry.intern([("sql_mode".to_owned(), mode)]));
        assert!(modes.ansi_quotes && modes.pipes_as_concat && modes.no_auto_value_on_zero);
        assert!(!modes.no_backslash_escapes);
        assert_eq!(parsing_modes(&registry.baseline()), ParsingModes::default());
    }
}
