//! What do SHOW VITESS_TABLETS and SHOW VITESS_REPLICATION_STATUS say of the servers?
//!
//! Columns and words are Vitess's.

use std::sync::Arc;

use super::answer::Table;
use super::like::matches;
use crate::health::{Health, State};
use crate::key::TabletType;
use crate::topology::{Address, Snapshot, Tablet};

/// `SHOW VITESS_TABLETS`.
pub(super) fn tablets(topology: &Snapshot, health: &Health, like: Option<&str>) -> Table {
    let mut table = Table::text(&[
        "Cell",
        "Keyspace",
        "Shard",
        "TabletType",
        "State",
        "Alias",
        "Hostname",
        "PrimaryTermStartTime",
    ]);
    for tablet in all(topology, like) {
        // A server that was not asked yet is taken at its word.
        let unknown = health.state(&tablet.alias).is_none_or(|state| !state.is_known());
        let serving = unknown || health.is_serving(tablet);
        table.row([
            tablet.alias.cell.to_string(),
            tablet.keyspace.to_string(),
            tablet.shard.to_string(),
            tablet.kind.as_str().to_ascii_uppercase(),
            if serving { "SERVING" } else { "NOT_SERVING" }.to_owned(),
            tablet.alias.to_string(),
            host(&tablet.address),
            String::new(),
        ]);
    }
    table
}

/// `SHOW VITESS_REPLICATION_STATUS`: one row for each server that is no primary.
pub(super) fn replication(topology: &Snapshot, health: &Health, like: Option<&str>) -> Table {
    let mut table = Table::text(&[
        "Keyspace",
        "Shard",
        "TabletType",
        "Alias",
        "Hostname",
        "ReplicationSource",
        "ReplicationHealth",
        "ReplicationLag",
        "ThrottlerStatus",
    ]);
    for tablet in all(topology, like).filter(|tablet| tablet.kind != TabletType::Primary) {
        let state = health.state(&tablet.alias);
        let state = state.as_deref();
        let source = state.and_then(State::replication).map(|replication| replication.source.clone());
        // As Vitess: a lag that is not known is -1.
        let lag = state.and_then(State::lag).map_or_else(|| "-1".to_owned(), |lag| lag.as_secs().to_string());
        table.row([
            tablet.keyspace.to_string(),
            tablet.shard.to_string(),
            tablet.kind.as_str().to_ascii_uppercase(),
            tablet.alias.to_string(),
            host(&tablet.address),
            source.unwrap_or_default(),
            replication_health(state),
            lag,
            // There is no throttler beside the servers.
            String::new(),
        ]);
    }
    table
}

fn replication_health(state: Option<&State>) -> String {
    let yes = |on: bool| if on { "Yes" } else { "No" };
    let replication = state.and_then(State::replication).cloned().unwrap_or_default();
    let error = match state.and_then(State::error) {
        Some(error) => error.to_owned(),
        None => replication.error.clone(),
    };
    serde_json::json!({
        "EventStreamRunning": yes(replication.receives),
        "EventApplierRunning": yes(replication.applies),
        "LastError": error,
    })
    .to_string()
}

/// The servers whose keyspace or alias fits the pattern.
fn all<'t>(topology: &'t Snapshot, like: Option<&'t str>) -> impl Iterator<Item = &'t Arc<Tablet>> {
    let shards = topology.keyspaces.values().flat_map(|keyspace| &keyspace.shards);
    shards.flat_map(|shard| &shard.tablets).filter(move |tablet| {
        like.is_none_or(|like| matches(like, &tablet.keyspace) || matches(like, &tablet.alias.to_string()))
    })
}

fn host(address: &Address) -> String {
    match address {
        Address::Tcp { host, port } => format!("{host}:{port}"),
        Address::Unix(path) => path.display().to_string(),
    }
}
