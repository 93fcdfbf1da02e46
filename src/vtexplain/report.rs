//! How is the answer of vtexplain written?
//!
//! The layout of Vitess's `vtexplain`: text blocks between rules, or a JSON array. The number in front of a
//! statement is its place among those of its shard.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use crate::error::SqlError;

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputMode {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// All statements with what they do.
#[derive(Debug)]
pub struct Report {
    pub(super) explained: Vec<Explained>,
    pub(super) mode: OutputMode,
}

/// One statement.
#[derive(Debug)]
pub(super) struct Explained {
    pub(super) sql: String,
    pub(super) failure: Option<Failure>,
    /// In the order of their numbers, then of shards.
    pub(super) sent: Vec<Sent>,
    pub(super) plan: Option<Json>,
}

/// Why a statement is refused.
#[derive(Debug)]
pub(super) struct Failure {
    code: u16,
    state: String,
    text: String,
}

/// One statement to one shard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sent {
    /// Its place among those of the shard, from 1.
    pub(super) time: usize,
    /// The place of the shard.
    pub(super) place: usize,
    pub(super) shard: String,
    pub(super) sql: String,
}

// === impl Failure ===

impl Failure {
    pub(super) fn of(error: &SqlError) -> Self {
        Self { code: error.code(), state: error.state().as_str().to_owned(), text: error.client_text() }
    }
}

// === impl Report ===

impl Report {
    /// The whole output.
    #[must_use]
    pub fn text(&self) -> String {
        match self.mode {
            OutputMode::Text => self.blocks(),
            OutputMode::Json => {
                let all: Vec<Json> = self.explained.iter().map(Explained::json).collect();
                let mut text = serde_json::to_string_pretty(&all).unwrap_or_default();
                text.push('\n');
                text
            }
        }
    }

    /// How many statements are refused.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.explained.iter().filter(|explained| explained.failure.is_some()).count()
    }

    fn blocks(&self) -> String {
        let rule = "-".repeat(70);
        let mut out = format!("{rule}\n");
        for explained in &self.explained {
            // A write to a String does not fail.
            let _ = writeln!(out, "{}\n", explained.sql);
            for sent in &explained.sent {
                let _ = writeln!(out, "{} {}: {}", sent.time, sent.shard, sent.sql);
            }
            if let Some(Failure { code, state, text }) = &explained.failure {
                let _ = writeln!(out, "ERROR {code} ({state}): {text}");
            }
            let _ = writeln!(out, "\n{rule}");
        }
        out
    }
}

// === impl Explained ===

impl Explained {
    fn json(&self) -> Json {
        let mut json = Map::new();
        json.insert("SQL".into(), self.sql.as_str().into());
        let plan =
            self.plan.iter().map(|plan| json!({ "Original": self.sql, "Instructions": plan })).collect();
        json.insert("Plans".into(), Json::Array(plan));
        let mut actions = Map::new();
        for sent in &self.sent {
            let shard = actions
                .entry(sent.shard.clone())
                .or_insert_with(|| json!({ "MysqlQueries": [], "TabletQueries": [] }));
            let query = json!({ "SQL": sent.sql, "Time": sent.time });
            // There is no tablet between the gate and the server.
            for (list, query) in [
                ("MysqlQueries", query),
                ("TabletQueries", json!({ "BindVars": {}, "SQL": sent.sql, "Time": sent.time })),
            ] {
                if let Some(Json::Array(list)) = shard.get_mut(list) {
                    list.push(query);
                }
            }
        }
        json.insert("TabletActions".into(), actions.into());
        if let Some(Failure { code, state, text }) = &self.failure {
            json.insert("Error".into(), text.as_str().into());
            json.insert("Code".into(), (*code).into());
            json.insert("SQLState".into(), state.as_str().into());
        }
        json.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_stand_between_rules() {
        let sent =
            |time, shard: &str, sql: &str| Sent { time, place: 0, shard: shard.into(), sql: sql.into() };
        let explained = |failure| Explained {
            sql: "select 1".into(),
            failure,
            sent: vec![sent(1, "ks/-80", "select 1"), sent(1, "ks/80-", "select 1")],
            plan: None,
        };
        let failure = Failure { code: 1235, state: "42000".into(), text: "VT12001: no".into() };
        let report =
            Report { explained: vec![explained(None), explained(Some(failure))], mode: OutputMode::Text };
        assert_eq!(report.failures(), 1);
        let rule = "-".repeat(70);
        assert_eq!(
            report.text(),
            format!(
                "{rule}\nselect 1\n\n1 ks/-80: select 1\n1 ks/80-: select 1\n\n{rule}\n\
                 select 1\n\n1 ks/-80: select 1\n1 ks/80-: select 1\nERROR 1235 (42000): VT12001: no\n\n{rule}\n"
            )
        );
    }
}
