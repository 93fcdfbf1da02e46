//! What would Vitess's `VEXPLAIN PLAN` print for what the gate answers by itself?
//!
//! Operators and variants are Vitess's, where it has them; no value of the statement is among them but what
//! Vitess prints, too.

use serde_json::{Map, Value as Json, json};

use super::describe::render;
use super::vitess::{keyspace, operator, put};
use super::{SessionCommand, SetTarget, Show};
use crate::sql::Statement;
use crate::vschema::VSchema;

/// A statement about the session. What begins or ends a transaction has no operator.
pub(super) fn command(command: &SessionCommand, statement: &Statement<'_>, vschema: &VSchema) -> Json {
    let text = |range: (u32, u32)| {
        let text = statement.text.get(range.0 as usize..range.1 as usize);
        String::from_utf8_lossy(text.unwrap_or(statement.text)).into_owned()
    };
    let mut json;
    match command {
        SessionCommand::Begin { .. }
        | SessionCommand::Commit { .. }
        | SessionCommand::Rollback { .. }
        | SessionCommand::Savepoint(_)
        | SessionCommand::RollbackTo(_)
        | SessionCommand::ReleaseSavepoint(_) => return Json::Null,
        SessionCommand::Use(target) => {
            json = operator("UpdateTarget");
            json.insert("target".into(), target.as_str().into());
        }
        SessionCommand::Set(assignments) => {
            json = operator("Set");
            let all: Vec<Json> = assignments.iter().map(|own| assigned(&own.target)).collect();
            json.insert("Ops".into(), all.into());
            json.insert("Inputs".into(), json!([{ "OperatorType": "SingleRow" }]));
        }
        SessionCommand::AlterVSchema { keyspace: name, .. } => {
            json = operator("AlterVSchema");
            json.insert("Keyspace".into(), keyspace(vschema, name));
            json.insert("query".into(), text(statement.body).into());
        }
        SessionCommand::Execute { using, .. } => {
            json = operator("EXECUTE");
            let names: Vec<String> = using.iter().map(|name| format!("@{name}")).collect();
            json.insert("Parameters".into(), if names.is_empty() { Json::Null } else { names.into() });
        }
        SessionCommand::Prepare { .. }
        | SessionCommand::Deallocate(_)
        | SessionCommand::Locking { begins: true }
        | SessionCommand::Nothing => json = operator("Rows"),
        SessionCommand::Locking { begins: false } => json = operator("UnlockTables"),
        SessionCommand::Lock { query, .. } => {
            json = operator("Lock");
            if let Some(first) = vschema.keyspaces().next() {
                json.insert("Keyspace".into(), keyspace(vschema, first.name()));
            }
            json.insert("TargetDestination".into(), "KeyspaceID(00)".into());
            json.insert("Query".into(), render(query, statement).into());
        }
        SessionCommand::Kill { .. } => json = operator("Kill"),
    }
    json.into()
}

/// What a SET assigns to. Which system variables the gate keeps for itself, Vitess's `SysVarAware`, is not the
/// planner's to know.
fn assigned(target: &SetTarget) -> Json {
    let (kind, name) = match target {
        SetTarget::User(name) => ("UserDefinedVariable", name.as_str()),
        SetTarget::Session(name) | SetTarget::Global(name) => ("SysVarSet", name.as_str()),
        SetTarget::Names { .. } => ("SysVarSet", "names"),
        SetTarget::CharacterSet => ("SysVarSet", "character_set"),
        SetTarget::Transaction { .. } => ("SysVarSet", "transaction"),
    };
    json!({ "Type": kind, "Name": name })
}

/// A SHOW of what the gate knows.
pub(super) fn show(show: &Show) -> Json {
    let known = |variant: &str, like: Option<&String>| {
        let mut json = operator("ShowExec");
        // Vitess prints the blank.
        json.insert("Variant".into(), format!(" {variant}").into());
        put(&mut json, "Filter", like.map(|like| format!(" like '{like}'")));
        json
    };
    let json: Map<String, Json> = match show {
        Show::VitessShards { like } => known("vitess_shards", like.as_ref()),
        Show::VitessTablets { like } => known("vitess_tablets", like.as_ref()),
        Show::VitessReplicationStatus { like } => known("vitess_replication_status", like.as_ref()),
        Show::VitessQueries { like } => known("vitess_queries", like.as_ref()),
        Show::Processlist { .. } => known("processlist", None),
        Show::Warnings { .. } => operator("SHOW WARNINGS"),
        Show::TransactionStatus { dtid } => {
            let mut json = operator("TransactionStatus");
            json.insert("TransactionID".into(), dtid.as_str().into());
            json
        }
        Show::UnresolvedTransactions { keyspace } => {
            let mut json = operator("TransactionStatus");
            put(&mut json, "Keyspace", keyspace.as_ref().map(ToString::to_string));
            json
        }
        _ => operator("Rows"),
    };
    json.into()
}
