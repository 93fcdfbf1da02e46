//! What does a session remember between two statements?

use std::collections::BTreeMap;
use std::sync::Arc;

use super::target::Target;
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
    /// User variables by lower-case name.
    pub(super) user_variables: BTreeMap<Box<str>, Value>,
    /// System variables that the gate owns and that this session changed, by lower-case name.
    pub(super) gate_variables: BTreeMap<&'static str, Value>,
}

/// The system variables that the gate keeps for itself, with the value of a fresh session.
/// `autocommit` and `transaction_mode` are here for reading only: they have fields of their own.
const GATE_VARIABLES: &[(&str, Fresh)] = &[
    ("autocommit", Fresh::Number(1)),
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
    ("skip_query_plan_cache", Fresh::Number(0)),
    ("transaction_mode", Fresh::Text("MULTI")),
    ("transaction_timeout", Fresh::Number(0)),
    ("wait_timeout", Fresh::Number(28_800)),
    ("workload", Fresh::Text("OLTP")),
];

#[derive(Debug, Clone, Copy)]
enum Fresh {
    Number(i64),
    Text(&'static str),
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
            user_variables: BTreeMap::new(),
            gate_variables: BTreeMap::new(),
        }
    }

    /// Back to the state after login, as COM_RESET_CONNECTION does: the selected target stays.
    pub(super) fn reset(&mut self) {
        let fresh = Self::new(self.id, self.user.clone(), Arc::clone(&self.version));
        let old = std::mem::replace(self, fresh);
        self.target = old.target;
        self.target_text = old.target_text;
    }

    /// Selects a target.
    pub(super) fn select(&mut self, target: Target) {
        let text = target.to_string();
        self.target_text = Some(text).filter(|text| !text.is_empty());
        self.target = target;
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
        let warnings = |level: Option<&str>| {
            let wanted =
                self.warnings.iter().filter(|warning| level.is_none_or(|level| warning.level == level));
            Value::Int(i64::try_from(wanted.count()).unwrap_or(i64::MAX))
        };
        match name {
            "autocommit" => return Value::Int(i64::from(self.autocommit)),
            "version" => return Value::Text(self.version.as_bytes().to_vec().into()),
            "version_comment" => return Value::Text("shardgate".into()),
            "warning_count" => return warnings(None),
            "error_count" => return warnings(Some("Error")),
            _ => {}
        }
        if let Some(value) = self.gate_variables.get(name) {
            return value.clone();
        }
        GATE_VARIABLES.iter().find(|(known, _)| *known == name).map_or(
            Value::Null,
            |(_, fresh)| match fresh {
                Fresh::Number(number) => Value::Int(*number),
                Fresh::Text(text) => Value::Text((*text).into()),
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
