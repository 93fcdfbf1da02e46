//! What does a session remember between two statements?

use std::collections::BTreeMap;
use std::sync::Arc;

use super::target::Target;
use crate::config::TransactionMode;
pub(super) use crate::executor::Warning;
use crate::sql::SessionValues;
use crate::value::Value;

/// The values that the gate itself keeps for a session. What servers must know too (charset,
/// sql_mode, time zone, …) travels as settings of their connections instead.
#[derive(Debug, Clone)]
pub(super) struct SessionState {
    /// The connection id that the client knows.
    pub(super) id: u32,
    /// `USER()`: user and host.
    pub(super) user: String,
    /// `VERSION()`: what the greeting said.
    pub(super) version: Arc<str>,
    /// What USE selected.
    pub(super) target: Target,
    /// The target as text, for `DATABASE()`.
    pub(super) target_text: Option<String>,
    /// `autocommit`.
    pub(super) autocommit: bool,
    /// `LAST_INSERT_ID()`.
    pub(super) last_insert_id: u64,
    /// `ROW_COUNT()`: −1 after a statement that returned rows or failed.
    pub(super) row_count: i64,
    /// `FOUND_ROWS()`.
    pub(super) found_rows: u64,
    /// The warnings of the last statement.
    pub(super) warnings: Vec<Warning>,
    /// How many the last statement had, if a server kept only some of them (`max_error_count`).
    pub(super) warned: usize,
    /// They are those of a statement before the running one.
    pub(super) stale: bool,
    /// `@@warning_count` and `@@error_count`: of the statement before the running one.
    pub(super) counts_before: (usize, usize),
    /// User variables by lower-case name.
    pub(super) user_variables: BTreeMap<Box<str>, Value>,
    /// System variables that the gate owns and that this session changed, by lower-case name.
    pub(super) gate_variables: BTreeMap<&'static str, Value>,
    /// `@@transaction_mode` of a session that has not set it: what the operator has set.
    pub(super) usual_mode: TransactionMode,
    /// LOCK TABLES was said, and nothing since that unlocks.
    pub(super) tables_locked: bool,
}

/// What `completion_type` adds to COMMIT and ROLLBACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Completion {
    Nothing,
    Chain,
    Release,
}

/// The system variables that the gate keeps for itself, with the value of a fresh session.
/// `autocommit` and `transaction_mode` are here for reading only: they have fields of their own.
const GATE_VARIABLES: &[(&str, Fresh)] = &[
    ("autocommit", Fresh::Number(1)),
    ("completion_type", Fresh::Text("NO_CHAIN")),
    ("client_found_rows", Fresh::Number(0)),
    ("ddl_strategy", Fresh::Text("direct")),
    ("enable_system_settings", Fresh::Number(1)),
    ("interactive_timeout", Fresh::Number(28_800)),
    ("migration_context", Fresh::Text("")),
    ("query_timeout", Fresh::Number(0)),
    ("read_after_write_gtid", Fresh::Text("")),
    ("read_after_write_timeout", Fresh::Number(0)),
    ("session_uuid", Fresh::Text("")),
    ("socket", Fresh::Text("")),
    // The trackers of the servers' sessions are the gate's; a client's own are kept for it to read.
    ("session_track_gtids", Fresh::Text("OFF")),
    ("session_track_schema", Fresh::Number(1)),
    ("session_track_state_change", Fresh::Number(0)),
    (
        "session_track_system_variables",
        Fresh::Text(
            "time_zone,autocommit,character_set_client,character_set_results,character_set_connection",
        ),
    ),
    ("session_track_transaction_info", Fresh::Text("OFF")),
    ("skip_query_plan_cache", Fresh::Number(0)),
    // The shards must give all rows to what merges them: the gate counts the merged ones.
    ("sql_select_limit", Fresh::Unlimited),
    ("transaction_mode", Fresh::Text("MULTI")),
    ("transaction_timeout", Fresh::Number(0)),
    ("wait_timeout", Fresh::Number(28_800)),
    ("workload", Fresh::Text("OLTP")),
];

#[derive(Debug, Clone, Copy)]
enum Fresh {
    Number(i64),
    Text(&'static str),
    Unlimited,
}

// === impl SessionState ===

impl SessionState {
    /// A session that has just logged in.
    pub(super) fn new(id: u32, user: String, version: Arc<str>) -> Self {
        Self {
            id,
            user,
            version,
            target: Target::NONE,
            target_text: None,
            autocommit: true,
            last_insert_id: 0,
            row_count: 0,
            found_rows: 0,
            warnings: Vec::new(),
            warned: 0,
            stale: false,
            counts_before: (0, 0),
            user_variables: BTreeMap::new(),
            gate_variables: BTreeMap::new(),
            usual_mode: TransactionMode::Multi,
            tables_locked: false,
        }
    }

    /// `completion_type`.
    pub(super) fn completion(&self) -> Completion {
        match self.gate_variables.get("completion_type") {
            Some(Value::Text(text)) if &text[..] == b"CHAIN" => Completion::Chain,
            Some(Value::Text(text)) if &text[..] == b"RELEASE" => Completion::Release,
            _ => Completion::Nothing,
        }
    }

    /// Back to the state after login, as COM_RESET_CONNECTION does: the selected target stays.
    pub(super) fn reset(&mut self) {
        let fresh = Self::new(self.id, self.user.clone(), Arc::clone(&self.version));
        let old = std::mem::replace(self, fresh);
        self.target = old.target;
        self.target_text = old.target_text;
        // As on servers, which count on.
        self.found_rows = old.found_rows;
        self.usual_mode = old.usual_mode;
    }

    /// Selects a target.
    pub(super) fn select(&mut self, target: Target) {
        let text = target.to_string();
        self.target_text = Some(text).filter(|text| !text.is_empty());
        self.target = target;
    }

    /// How many warnings and how many errors the last statement had.
    pub(super) fn counts(&self) -> (usize, usize) {
        let errors = self.warnings.iter().filter(|warning| warning.level == "Error").count();
        (Ord::max(self.warnings.len(), self.warned), errors)
    }

    /// A statement begins: the warnings of the one before go, and their number stays for it to read.
    /// Or, if it `keeps` them, they go when it warns itself.
    pub(super) fn begin_statement(&mut self, keeps: bool) {
        self.counts_before = self.counts();
        if keeps {
            self.stale = true;
        } else {
            self.forget_warnings();
        }
    }

    /// How many warnings the running statement has.
    pub(super) fn own_warnings(&self) -> u16 {
        if self.stale { 0 } else { u16::try_from(self.counts().0).unwrap_or(u16::MAX) }
    }

    /// No statement has warned of anything.
    pub(super) fn forget_warnings(&mut self) {
        self.warnings.clear();
        (self.warned, self.stale) = (0, false);
    }

    /// The running statement has warned so many times, and of these things.
    pub(super) fn warn(&mut self, warnings: impl IntoIterator<Item = Warning>, count: usize) {
        if std::mem::take(&mut self.stale) && count > 0 {
            self.forget_warnings();
        }
        self.warnings.extend(warnings);
        self.warned += count;
    }

    /// How many rows a query without LIMIT may give: `sql_select_limit`, where it was set.
    pub(super) fn select_limit(&self) -> Option<u64> {
        match self.gate_variables.get("sql_select_limit") {
            Some(Value::UInt(u64::MAX)) | None => None,
            Some(Value::UInt(limit)) => Some(*limit),
            Some(_) => None,
        }
    }

    /// The canonical name of a variable that the gate owns.
    pub(super) fn gate_variable(name: &str) -> Option<&'static str> {
        GATE_VARIABLES.iter().map(|(known, _)| *known).find(|known| *known == name)
    }
}

impl SessionValues for SessionState {
    fn last_insert_id(&self) -> u64 {
        self.last_insert_id
    }

    fn database(&self) -> Option<&str> {
        self.target_text.as_deref()
    }

    fn connection_id(&self) -> u64 {
        u64::from(self.id)
    }

    fn user(&self) -> &str {
        &self.user
    }

    fn row_count(&self) -> i64 {
        self.row_count
    }

    fn found_rows(&self) -> u64 {
        self.found_rows
    }

    fn user_variable(&self, name: &str) -> Value {
        self.user_variables.get(name).cloned().unwrap_or(Value::Null)
    }

    fn system_variable(&self, name: &str) -> Value {
        let count = |count: usize| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
        match name {
            "autocommit" => return Value::Int(i64::from(self.autocommit)),
            "version" => return Value::Text(self.version.as_bytes().to_vec().into()),
            "version_comment" => return Value::Text("shardgate".into()),
            "warning_count" => return count(self.counts_before.0),
            "error_count" => return count(self.counts_before.1),
            _ => {}
        }
        if let Some(value) = self.gate_variables.get(name) {
            return value.clone();
        }
        if name == "transaction_mode" {
            let word = match self.usual_mode {
                TransactionMode::Single => "SINGLE",
                TransactionMode::Multi => "MULTI",
                TransactionMode::TwoPc => "TWOPC",
            };
            return Value::Text(word.into());
        }
        GATE_VARIABLES.iter().find(|(known, _)| *known == name).map_or(
            Value::Null,
            |(_, fresh)| match fresh {
                Fresh::Number(number) => Value::Int(*number),
                Fresh::Text(text) => Value::Text((*text).into()),
                Fresh::Unlimited => Value::UInt(u64::MAX),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_that_the_planner_takes_out_has_a_value() {
        let state = SessionState::new(1, "a@b".into(), "8.4.0".into());
        for name in crate::planner::GATE_VARIABLES {
            assert_ne!(state.system_variable(name), Value::Null, "@@{name}");
        }
    }
}
