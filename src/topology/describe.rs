//! What does an operator read about the topology in use?

use serde_json::{Value, json};

use super::watch::Topology;
use super::{Address, Shard};

impl Topology {
    /// Keyspaces with shards and servers, how fresh that is, and what is refused: `/debug/topology`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let current = self.current();
        let keyspaces = current.snapshot.keyspaces.values().map(|keyspace| {
            let shards: Vec<Value> = keyspace.shards.iter().map(|one| shard(one)).collect();
            (keyspace.name.to_string(), json!({ "shards": shards }))
        });
        let connections = self.connections().into_iter().map(|(root, connection)| {
            let age = connection.lost.is_some().then(|| connection.heard.elapsed().as_secs());
            let told = json!({
                "connected": connection.lost.is_none(),
                "age_seconds": age.unwrap_or_default(),
                "problem": connection.lost,
            });
            (root.to_string(), told)
        });
        json!({
            "vschema_version": current.vschema.version(),
            "problems": self.problems(),
            "not_obeyed": current.vschema.not_obeyed(),
            "connections": connections.collect::<serde_json::Map<_, _>>(),
            "keyspaces": keyspaces.collect::<serde_json::Map<_, _>>(),
        })
    }
}

fn shard(shard: &Shard) -> Value {
    let servers = shard.tablets.iter().map(|tablet| {
        let address = match &tablet.address {
            Address::Tcp { host, port } => format!("{host}:{port}"),
            Address::Unix(path) => path.display().to_string(),
        };
        json!({
            "alias": tablet.alias.to_string(),
            "type": tablet.kind.as_str(),
            "address": address,
            "schema": tablet.schema.to_string(),
        })
    });
    json!({
        "name": shard.name.to_string(),
        "key_range": shard.range.to_string(),
        "primary": shard.primary().map(|tablet| tablet.alias.to_string()),
        "servers": servers.collect::<Vec<_>>(),
    })
}
