//! Who keeps a system variable that a client sets, and which values does the gate take?
//!
//! Most are settings of the servers' sessions, and travel with the connections. Not so what the gate
//! keeps itself, what a server uses up with one statement, and what would change how a server answers
//! the gate.

use super::state::SessionState;
use crate::error::{Result, SqlError};
use crate::value::Value;

/// What becomes of `SET variable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A value of the gate, under its canonical name.
    Gate(&'static str),
    /// `LAST_INSERT_ID()`.
    InsertId,
    /// One of these values, in upper case, is what every session of the gate has; others are refused.
    Fixed(&'static [&'static str], &'static str),
    /// Refused, and why.
    Refused(&'static str),
    /// 1238.
    ReadOnly,
    /// A setting of the servers' sessions.
    Server,
}

const OFF: &[&str] = &["0", "OFF", "FALSE"];

/// The class of a variable, by its name in lower case.
pub(super) fn class(name: &str) -> Class {
    if matches!(name, "version" | "version_comment" | "socket" | "warning_count" | "error_count") {
        return Class::ReadOnly;
    }
    if let Some(own) = SessionState::gate_variable(name) {
        return Class::Gate(own);
    }
    match name {
        "last_insert_id" | "identity" => Class::InsertId,
        "sql_auto_is_null" => Class::Fixed(OFF, "WHERE id = LAST_INSERT_ID() finds the row"),
        "auto_increment_increment" | "auto_increment_offset" => {
            Class::Fixed(&["1"], "generated ids come one by one from sequences")
        }
        // A server would use it up with the first statement of whichever session comes first.
        "insert_id" | "rand_seed1" | "rand_seed2" => {
            Class::Refused("it holds for one statement on one connection, which sessions share")
        }
        "sql_log_bin"
        | "sql_log_off"
        | "gtid_next"
        | "gtid_next_list"
        | "gtid_domain_id"
        | "server_id"
        | "gtid_seq_no"
        | "binlog_format"
        | "binlog_row_image"
        | "binlog_rows_query_log_events"
        | "binlog_direct_non_transactional_updates"
        | "skip_replication"
        | "wsrep_on"
        | "pseudo_thread_id"
        | "pseudo_slave_mode"
        | "pseudo_replica_mode"
        | "transaction_write_set_extraction"
        | "original_commit_timestamp"
        | "immediate_server_version"
        | "original_server_version" => Class::Refused("replication belongs to the operator of the shards"),
        _ => Class::Server,
    }
}

/// Whether the value is one of these words.
pub(super) fn is_one_of(value: &Value, words: &[&str]) -> bool {
    let text = value.text().map(|text| String::from_utf8_lossy(&text).to_ascii_uppercase());
    text.is_some_and(|text| words.contains(&text.as_str()))
}

/// The value of `SET last_insert_id`: a whole number; a negative one counts as 0 (MySQL).
pub(super) fn insert_id(name: &str, value: &Value, default: bool) -> Result<Value> {
    match value {
        Value::UInt(id) => Ok(Value::UInt(*id)),
        Value::Int(id) => Ok(Value::UInt(u64::try_from(*id).unwrap_or(0))),
        Value::Decimal(digits) if !digits.contains(&b'.') => {
            let text = std::str::from_utf8(digits).unwrap_or_default();
            Ok(Value::UInt(text.parse().unwrap_or(0)))
        }
        // MySQL: it has no default value.
        _ if default => Err(SqlError::no_default(name)),
        _ => Err(SqlError::wrong_type_for_variable(name)),
    }
}

/// A value that a variable of the gate takes, in its canonical form.
pub(super) fn checked(
    name: &'static str,
    value: Value,
    default: bool,
    state: &SessionState,
) -> Result<Value> {
    let text = value.text().map(|text| String::from_utf8_lossy(&text).to_ascii_uppercase());
    let wrong = || SqlError::wrong_value_for_variable(name, text.as_deref().unwrap_or("NULL"));
    if default {
        return Ok(fresh(name, state));
    }
    let word = text.as_deref().ok_or_else(wrong)?;
    match name {
        "autocommit" => match word {
            "1" | "ON" | "TRUE" => Ok(Value::Int(1)),
            "0" | "OFF" | "FALSE" => Ok(Value::Int(0)),
            _ => Err(wrong()),
        },
        "transaction_mode" => match word {
            "SINGLE" | "MULTI" | "TWOPC" => Ok(Value::Text(word.to_owned().into())),
            "UNSPECIFIED" => Ok(fresh(name, state)),
            _ => Err(wrong()),
        },
        "completion_type" => match word {
            "0" | "NO_CHAIN" => Ok(Value::Text("NO_CHAIN".into())),
            "1" | "CHAIN" => Ok(Value::Text("CHAIN".into())),
            "2" | "RELEASE" => Ok(Value::Text("RELEASE".into())),
            _ => Err(wrong()),
        },
        "workload" => match word {
            "OLTP" | "OLAP" | "DBA" | "UNSPECIFIED" => Ok(Value::Text(word.to_owned().into())),
            _ => Err(wrong()),
        },
        "sql_select_limit" => match (&value, word.parse::<u64>()) {
            (Value::Int(_) | Value::UInt(_) | Value::Decimal(_), Ok(limit)) => Ok(Value::UInt(limit)),
            // MySQL takes a negative number for 0, with a warning.
            (Value::Int(_) | Value::Decimal(_), Err(_)) if word.starts_with('-') => Ok(Value::UInt(0)),
            _ => Err(SqlError::wrong_type_for_variable(name)),
        },
        "session_track_schema" | "session_track_state_change" => match word {
            "1" | "ON" | "TRUE" => Ok(Value::Int(1)),
            "0" | "OFF" | "FALSE" => Ok(Value::Int(0)),
            _ => Err(wrong()),
        },
        _ if name.ends_with("timeout") => match word.parse::<i64>() {
            Ok(number) if number >= 0 => Ok(Value::Int(number)),
            _ => Err(wrong()),
        },
        _ => Ok(value),
    }
}

/// The value of a variable of the gate in a session that has not set it.
fn fresh(name: &str, state: &SessionState) -> Value {
    use crate::sql::SessionValues as _;
    let mut fresh = SessionState::new(0, String::new(), "".into());
    fresh.usual_mode = state.usual_mode;
    fresh.system_variable(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        assert_eq!(class("autocommit"), Class::Gate("autocommit"));
        assert_eq!(class("sql_select_limit"), Class::Gate("sql_select_limit"));
        assert_eq!(class("identity"), Class::InsertId);
        assert_eq!(class("sql_mode"), Class::Server);
        assert_eq!(class("warning_count"), Class::ReadOnly);
        assert!(matches!(class("insert_id"), Class::Refused(_)));
        assert_eq!(class("completion_type"), Class::Gate("completion_type"));
    }
}
