//! How are records printed?
//!
//! As `vtctldclient` prints them: protobuf's JSON with the names of the `.proto` files and with the
//! fields that are not set. Whole numbers of 64 bits are strings, bytes are base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::topology::wire::{topodata, vschema, vttime};
use crate::vschema::ColumnType;

/// A message as JSON.
pub(super) trait ToJson {
    fn to_json(&self) -> Value;
}

/// A message that may be absent.
fn maybe<M: ToJson>(message: Option<&M>) -> Value {
    message.map_or(Value::Null, ToJson::to_json)
}

fn list<M: ToJson>(messages: &[M]) -> Value {
    messages.iter().map(ToJson::to_json).collect()
}

fn base64(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}

/// A message that this program only carries.
fn opaque(bytes: Option<&Vec<u8>>) -> Value {
    bytes.map_or(Value::Null, |bytes| base64(bytes))
}

/// `PRIMARY`; the number where there is no name.
pub(super) fn tablet_type(number: i32) -> Value {
    topodata::TabletType::try_from(number).map_or_else(|_| number.into(), |kind| kind.as_str_name().into())
}

fn column_type(number: i32) -> Value {
    ColumnType::from_number(number).map_or_else(|| number.into(), |kind| kind.as_str().into())
}

macro_rules! to_json {
    ($($message:ty: $record:ident => $json:expr;)*) => { $(
        impl ToJson for $message {
            fn to_json(&self) -> Value {
                let $record = self;
                $json
            }
        }
    )* };
}

to_json! {
    vttime::Time: time => json!({ "seconds": time.seconds.to_string(), "nanoseconds": time.nanoseconds });
    topodata::KeyRange: range => json!({ "start": base64(&range.start), "end": base64(&range.end) });
    topodata::TabletAlias: alias => json!({ "cell": alias.cell, "uid": alias.uid });
    topodata::CellInfo: cell => json!({ "server_address": cell.server_address, "root": cell.root });
    topodata::CellsAlias: alias => json!({ "cells": alias.cells });
    topodata::Keyspace: keyspace => json!({
        "keyspace_type": keyspace.keyspace_type().as_str_name(),
        "base_keyspace": keyspace.base_keyspace,
        "snapshot_time": maybe(keyspace.snapshot_time.as_ref()),
        "durability_policy": keyspace.durability_policy,
        "throttler_config": opaque(keyspace.throttler_config.as_ref()),
        "sidecar_db_name": keyspace.sidecar_db_name,
        "vtorc_state": opaque(keyspace.vtorc_state.as_ref()),
        "query_throttler_config": opaque(keyspace.query_throttler_config.as_ref()),
    });
    topodata::Shard: shard => json!({
        "primary_alias": maybe(shard.primary_alias.as_ref()),
        "primary_term_start_time": maybe(shard.primary_term_start_time.as_ref()),
        "key_range": maybe(shard.key_range.as_ref()),
        "source_shards": list(&shard.source_shards),
        "tablet_controls": list(&shard.tablet_controls),
        "is_primary_serving": shard.is_primary_serving,
        "vtorc_state": opaque(shard.vtorc_state.as_ref()),
    });
    topodata::shard::SourceShard: source => json!({
        "uid": source.uid,
        "keyspace": source.keyspace,
        "shard": source.shard,
        "key_range": maybe(source.key_range.as_ref()),
        "tables": source.tables,
    });
    topodata::shard::TabletControl: control => json!({
        "tablet_type": tablet_type(control.tablet_type),
        "cells": control.cells,
        "denied_tables": control.denied_tables,
        "frozen": control.frozen,
        "allow_reads": control.allow_reads,
    });
    topodata::Tablet: tablet => json!({
        "alias": maybe(tablet.alias.as_ref()),
        "hostname": tablet.hostname,
        "port_map": tablet.port_map.iter().map(|one| (one.key().into(), one.value().into())).collect::<Map<_, _>>(),
        "keyspace": tablet.keyspace,
        "shard": tablet.shard,
        "key_range": maybe(tablet.key_range.as_ref()),
        "type": tablet_type(tablet.r#type),
        "db_name_override": tablet.db_name_override,
        "tags": tablet.tags.iter().map(|one| (one.key().into(), one.value().into())).collect::<Map<_, _>>(),
        "mysql_hostname": tablet.mysql_hostname,
        "mysql_port": tablet.mysql_port,
        "primary_term_start_time": maybe(tablet.primary_term_start_time.as_ref()),
        "default_conn_collation": tablet.default_conn_collation,
        "tablet_start_time": maybe(tablet.tablet_start_time.as_ref()),
        "tablet_shutdown_time": maybe(tablet.tablet_shutdown_time.as_ref()),
    });
    topodata::ShardReplication: replication => json!({ "nodes": list(&replication.nodes) });
    topodata::shard_replication::Node: node => json!({ "tablet_alias": maybe(node.tablet_alias.as_ref()) });
    topodata::SrvKeyspace: serving => json!({
        "partitions": list(&serving.partitions),
        "throttler_config": opaque(serving.throttler_config.as_ref()),
        "query_throttler_config": opaque(serving.query_throttler_config.as_ref()),
    });
    topodata::srv_keyspace::KeyspacePartition: partition => json!({
        "served_type": tablet_type(partition.served_type),
        "shard_references": list(&partition.shard_references),
        "shard_tablet_controls": list(&partition.shard_tablet_controls),
    });
    topodata::ShardReference: shard => json!({ "name": shard.name, "key_range": maybe(shard.key_range.as_ref()) });
    topodata::ShardTabletControl: control => json!({
        "name": control.name,
        "key_range": maybe(control.key_range.as_ref()),
        "query_service_disabled": control.query_service_disabled,
    });
    vschema::Keyspace: keyspace => json!({
        "sharded": keyspace.sharded,
        "vindexes": keyspace.vindexes.iter().map(|one| (one.key().into(), maybe(one.value.as_ref()))).collect::<Map<_, _>>(),
        "tables": keyspace.tables.iter().map(|one| (one.key().into(), maybe(one.value.as_ref()))).collect::<Map<_, _>>(),
        "require_explicit_routing": keyspace.require_explicit_routing,
        "foreign_key_mode": keyspace.foreign_key_mode().as_str_name(),
        "multi_tenant_spec": maybe(keyspace.multi_tenant_spec.as_ref()),
    });
    vschema::MultiTenantSpec: spec => json!({
        "tenant_id_column_name": spec.tenant_id_column_name,
        "tenant_id_column_type": column_type(spec.tenant_id_column_type),
    });
    vschema::Vindex: vindex => json!({
        "type": vindex.r#type,
        "params": vindex.params.iter().map(|one| (one.key().into(), one.value().into())).collect::<Map<_, _>>(),
        "owner": vindex.owner,
    });
    vschema::Table: table => json!({
        "type": table.r#type,
        "column_vindexes": list(&table.column_vindexes),
        "auto_increment": maybe(table.auto_increment.as_ref()),
        "columns": list(&table.columns),
        "pinned": table.pinned,
        "column_list_authoritative": table.column_list_authoritative,
        "source": table.source,
    });
    vschema::ColumnVindex: vindex => json!({
        "column": vindex.column,
        "name": vindex.name,
        "columns": vindex.columns,
    });
    vschema::AutoIncrement: auto => json!({ "column": auto.column, "sequence": auto.sequence });
    vschema::RoutingRules: rules => json!({ "rules": list(&rules.rules) });
    vschema::RoutingRule: rule => json!({ "from_table": rule.from_table, "to_tables": rule.to_tables });
    vschema::ShardRoutingRules: rules => json!({ "rules": list(&rules.rules) });
    vschema::ShardRoutingRule: rule => json!({
        "from_keyspace": rule.from_keyspace,
        "to_keyspace": rule.to_keyspace,
        "shard": rule.shard,
    });
    vschema::KeyspaceRoutingRules: rules => json!({ "rules": list(&rules.rules) });
    vschema::KeyspaceRoutingRule: rule => json!({
        "from_keyspace": rule.from_keyspace,
        "to_keyspace": rule.to_keyspace,
    });
    vschema::MirrorRules: rules => json!({ "rules": list(&rules.rules) });
    vschema::MirrorRule: rule => json!({
        "from_table": rule.from_table,
        "to_table": rule.to_table,
        "percent": rule.percent,
    });
    vschema::SrvVSchema: served => json!({
        "keyspaces": served.keyspaces.iter().map(|one| (one.key().into(), maybe(one.value.as_ref()))).collect::<Map<_, _>>(),
        "routing_rules": maybe(served.routing_rules.as_ref()),
        "shard_routing_rules": maybe(served.shard_routing_rules.as_ref()),
        "keyspace_routing_rules": maybe(served.keyspace_routing_rules.as_ref()),
        "mirror_rules": maybe(served.mirror_rules.as_ref()),
    });
}

impl ToJson for vschema::Column {
    fn to_json(&self) -> Value {
        let mut json = json!({
            "name": self.name,
            "type": column_type(self.r#type),
            "invisible": self.invisible,
            "default": self.default,
            "collation_name": self.collation_name,
            "size": self.size,
            "scale": self.scale,
        });
        if let Some(fields) = json.as_object_mut() {
            // An optional field is printed where it is set.
            if let Some(nullable) = self.nullable {
                fields.insert("nullable".into(), nullable.into());
            }
            fields.insert("values".into(), self.values.clone().into());
        }
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::wire::decode;

    /// What `vtctldclient` would print: see `testdata/topology/README.md`. The messages that are carried
    /// as bytes are left out of the comparison.
    #[test]
    fn records_print_as_vitess_prints_them() {
        #[derive(serde::Deserialize)]
        struct Recorded {
            name: String,
            r#type: String,
            hex: String,
            json: Value,
        }
        fn printed<M: ToJson + prost::Message + Default>(bytes: &[u8]) -> Value {
            decode::<M>(bytes).unwrap().to_json()
        }
        let all: Vec<Recorded> =
            serde_json::from_str(include_str!("../../testdata/topology/records.json")).unwrap();
        for mut record in all {
            let bytes = hex::decode(&record.hex).unwrap();
            let mut json = match record.r#type.as_str() {
                "topodata.CellInfo" => printed::<topodata::CellInfo>(&bytes),
                "topodata.CellsAlias" => printed::<topodata::CellsAlias>(&bytes),
                "topodata.Keyspace" => printed::<topodata::Keyspace>(&bytes),
                "topodata.Shard" => printed::<topodata::Shard>(&bytes),
                "topodata.Tablet" => printed::<topodata::Tablet>(&bytes),
                "topodata.ShardReplication" => printed::<topodata::ShardReplication>(&bytes),
                "topodata.SrvKeyspace" => printed::<topodata::SrvKeyspace>(&bytes),
                "vschema.Keyspace" => printed::<vschema::Keyspace>(&bytes),
                "vschema.SrvVSchema" => printed::<vschema::SrvVSchema>(&bytes),
                "vschema.RoutingRules" => printed::<vschema::RoutingRules>(&bytes),
                "vschema.ShardRoutingRules" => printed::<vschema::ShardRoutingRules>(&bytes),
                "vschema.KeyspaceRoutingRules" => printed::<vschema::KeyspaceRoutingRules>(&bytes),
                "vschema.MirrorRules" => printed::<vschema::MirrorRules>(&bytes),
                other => panic!("no such type: {other}"),
            };
            for field in ["throttler_config", "vtorc_state"] {
                for side in [&mut json, &mut record.json] {
                    if let Some(carried) = side.get_mut(field) {
                        *carried = Value::Null;
                    }
                }
            }
            assert_eq!(json, record.json, "{}", record.name);
        }
    }
}
