//! What do the records of a topology look like on the wire, and what do they mean here?
//!
//! The messages are those of `proto/`, compiled by `build.rs`. Everything else here turns them into
//! the types that the rest of the gate uses, and back. A record that means nothing here (an unknown
//! column type, say) is an error and never half a result.

use prost::Message;

use super::TabletAlias;
use crate::key::KeyRange;
use crate::vschema::{
    AutoIncrementSource, ColumnSource, ColumnType, ColumnVindexSource, ForeignKeyMode, KeyspaceRoutingRule,
    KeyspaceSource, MirrorRule, MultiTenantSpec, RoutingRule, Rules, ShardRoutingRule, Source, TableSource,
    VindexSource,
};

/// Points in time.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
pub mod vttime {
    include!(concat!(env!("OUT_DIR"), "/vttime.rs"));
}

/// Cells, keyspaces, shards, tablets.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
pub mod topodata {
    include!(concat!(env!("OUT_DIR"), "/topodata.rs"));
}

/// Tables, vindexes and rules.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
pub mod vschema {
    include!(concat!(env!("OUT_DIR"), "/vschema.rs"));
}

/// Reads a record.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, String> {
    M::decode(bytes).map_err(|error| format!("this is not such a record: {error}"))
}

/// Reads a record that is going to be changed and written again. What this version does not know
/// would be lost by that, so such a record is refused.
///
/// # Errors
/// What is wrong with the bytes, or that they hold more than this version knows.
pub fn decode_to_change<M: Message + Default>(bytes: &[u8]) -> Result<M, String> {
    let record: M = decode(bytes)?;
    if record.encoded_len() == bytes.len() {
        Ok(record)
    } else {
        Err("the record holds fields that this version does not know; it is not rewritten".into())
    }
}

// === impl topodata ===

impl From<&TabletAlias> for topodata::TabletAlias {
    fn from(alias: &TabletAlias) -> Self {
        Self { cell: alias.cell.to_string(), uid: alias.uid }
    }
}

impl From<&topodata::TabletAlias> for TabletAlias {
    fn from(alias: &topodata::TabletAlias) -> Self {
        Self { cell: alias.cell.as_str().into(), uid: alias.uid }
    }
}

impl From<&topodata::KeyRange> for KeyRange {
    fn from(range: &topodata::KeyRange) -> Self {
        Self { start: range.start.clone(), end: range.end.clone() }
    }
}

impl topodata::KeyRange {
    /// The record of a shard's range; none for a shard that has all ids.
    #[must_use]
    pub fn of(range: &KeyRange) -> Option<Self> {
        (*range != KeyRange::FULL).then(|| Self { start: range.start.clone(), end: range.end.clone() })
    }
}

// === impl vschema ===

impl TryFrom<&vschema::Keyspace> for KeyspaceSource {
    type Error = String;

    fn try_from(record: &vschema::Keyspace) -> Result<Self, String> {
        let mode = record.foreign_key_mode;
        let foreign_key_mode = match vschema::keyspace::ForeignKeyMode::try_from(mode) {
            Ok(vschema::keyspace::ForeignKeyMode::Unspecified) => ForeignKeyMode::Unspecified,
            Ok(vschema::keyspace::ForeignKeyMode::Disallow) => ForeignKeyMode::Disallow,
            Ok(vschema::keyspace::ForeignKeyMode::Unmanaged) => ForeignKeyMode::Unmanaged,
            Ok(vschema::keyspace::ForeignKeyMode::Managed) => ForeignKeyMode::Managed,
            Err(_) => return Err(format!("unknown foreign_key_mode {mode}")),
        };
        let mut source = Self {
            sharded: record.sharded,
            require_explicit_routing: record.require_explicit_routing,
            foreign_key_mode,
            ..Self::default()
        };
        for entry in &record.vindexes {
            let vindex = entry.value.clone().unwrap_or_default();
            let params = vindex.params.iter().map(|param| (param.key().into(), param.value().into()));
            let vindex = VindexSource { kind: vindex.r#type, params: params.collect(), owner: vindex.owner };
            source.vindexes.insert(entry.key().into(), vindex);
        }
        for entry in &record.tables {
            let table = entry.value.as_ref().map_or_else(|| Ok(TableSource::default()), table)?;
            source.tables.insert(entry.key().into(), table);
        }
        if let Some(spec) = &record.multi_tenant_spec {
            source.multi_tenant_spec = Some(MultiTenantSpec {
                tenant_id_column_name: spec.tenant_id_column_name.clone(),
                tenant_id_column_type: column_type(spec.tenant_id_column_type)?,
            });
        }
        Ok(source)
    }
}

fn table(record: &vschema::Table) -> Result<TableSource, String> {
    let column_vindexes = record.column_vindexes.iter().map(|vindex| ColumnVindexSource {
        column: vindex.column.clone(),
        name: vindex.name.clone(),
        columns: vindex.columns.clone(),
        ..ColumnVindexSource::default()
    });
    Ok(TableSource {
        name: String::new(),
        kind: record.r#type.clone(),
        column_vindexes: column_vindexes.collect(),
        auto_increment: record
            .auto_increment
            .as_ref()
            .map(|auto| AutoIncrementSource { column: auto.column.clone(), sequence: auto.sequence.clone() }),
        columns: record.columns.iter().map(column).collect::<Result<_, _>>()?,
        pinned: record.pinned.clone(),
        column_list_authoritative: record.column_list_authoritative,
        source: record.source.clone(),
    })
}

fn column(record: &vschema::Column) -> Result<ColumnSource, String> {
    Ok(ColumnSource {
        name: record.name.clone(),
        kind: column_type(record.r#type)?,
        invisible: record.invisible,
        default: record.default.clone(),
        collation_name: record.collation_name.clone(),
        size: record.size,
        scale: record.scale,
        nullable: record.nullable,
        values: record.values.clone(),
    })
}

fn column_type(number: i32) -> Result<ColumnType, String> {
    ColumnType::from_number(number).ok_or_else(|| format!("unknown column type {number}"))
}

impl From<&KeyspaceSource> for vschema::Keyspace {
    fn from(source: &KeyspaceSource) -> Self {
        let mode = match source.foreign_key_mode {
            ForeignKeyMode::Unspecified => vschema::keyspace::ForeignKeyMode::Unspecified,
            ForeignKeyMode::Disallow => vschema::keyspace::ForeignKeyMode::Disallow,
            ForeignKeyMode::Unmanaged => vschema::keyspace::ForeignKeyMode::Unmanaged,
            ForeignKeyMode::Managed => vschema::keyspace::ForeignKeyMode::Managed,
        };
        let vindexes = source.vindexes.iter().map(|(name, vindex)| {
            let params = vindex.params.iter().map(|(key, value)| vschema::vindex::ParamsEntry {
                key: Some(key.clone()),
                value: Some(value.clone()),
            });
            let (params, owner) = (params.collect(), vindex.owner.clone());
            let value = Some(vschema::Vindex { r#type: vindex.kind.clone(), params, owner });
            vschema::keyspace::VindexesEntry { key: Some(name.clone()), value }
        });
        let tables = source.tables.iter().map(|(name, table)| vschema::keyspace::TablesEntry {
            key: Some(name.clone()),
            value: Some(table.into()),
        });
        Self {
            sharded: source.sharded,
            vindexes: vindexes.collect(),
            tables: tables.collect(),
            require_explicit_routing: source.require_explicit_routing,
            foreign_key_mode: mode.into(),
            multi_tenant_spec: source.multi_tenant_spec.as_ref().map(|spec| vschema::MultiTenantSpec {
                tenant_id_column_name: spec.tenant_id_column_name.clone(),
                tenant_id_column_type: spec.tenant_id_column_type.number(),
            }),
        }
    }
}

impl From<&TableSource> for vschema::Table {
    fn from(source: &TableSource) -> Self {
        let column_vindexes = source.column_vindexes.iter().map(|vindex| vschema::ColumnVindex {
            column: vindex.column.clone(),
            name: vindex.name.clone(),
            columns: vindex.columns.clone(),
        });
        let columns = source.columns.iter().map(|column| vschema::Column {
            name: column.name.clone(),
            r#type: column.kind.number(),
            invisible: column.invisible,
            default: column.default.clone(),
            collation_name: column.collation_name.clone(),
            size: column.size,
            scale: column.scale,
            nullable: column.nullable,
            values: column.values.clone(),
        });
        Self {
            r#type: source.kind.clone(),
            column_vindexes: column_vindexes.collect(),
            auto_increment: source.auto_increment.as_ref().map(|auto| vschema::AutoIncrement {
                column: auto.column.clone(),
                sequence: auto.sequence.clone(),
            }),
            columns: columns.collect(),
            pinned: source.pinned.clone(),
            column_list_authoritative: source.column_list_authoritative,
            source: source.source.clone(),
        }
    }
}

/// Rules in both forms.
macro_rules! rules {
    ($($list:ident of $rule:ident { $($field:ident),* })*) => { $(
        impl From<&vschema::$list> for Rules<$rule> {
            fn from(record: &vschema::$list) -> Self {
                let rules = record.rules.iter();
                Self { rules: rules.map(|rule| $rule { $($field: rule.$field.clone()),* }).collect() }
            }
        }

        impl From<&Rules<$rule>> for vschema::$list {
            fn from(source: &Rules<$rule>) -> Self {
                let rules = source.rules.iter();
                Self { rules: rules.map(|rule| vschema::$rule { $($field: rule.$field.clone()),* }).collect() }
            }
        }
    )* };
}

rules! {
    RoutingRules of RoutingRule { from_table, to_tables }
    ShardRoutingRules of ShardRoutingRule { from_keyspace, to_keyspace, shard }
    KeyspaceRoutingRules of KeyspaceRoutingRule { from_keyspace, to_keyspace }
    MirrorRules of MirrorRule { from_table, to_table, percent }
}

/// The VSchemas and rules of a record.
///
/// # Errors
/// Keyspaces that cannot be read, each with the reason.
pub fn source(record: &vschema::SrvVSchema) -> Result<Source, String> {
    let (source, faults) = readable(record);
    match faults.first() {
        None => Ok(source),
        Some((keyspace, why)) => Err(format!("keyspace {keyspace}: {why}")),
    }
}

/// What can be read of a record; and which keyspaces cannot, and why.
pub(super) fn readable(record: &vschema::SrvVSchema) -> (Source, Vec<(String, String)>) {
    let mut source = Source {
        routing_rules: record.routing_rules.as_ref().map(Into::into).unwrap_or_default(),
        shard_routing_rules: record.shard_routing_rules.as_ref().map(Into::into).unwrap_or_default(),
        keyspace_routing_rules: record.keyspace_routing_rules.as_ref().map(Into::into).unwrap_or_default(),
        mirror_rules: record.mirror_rules.as_ref().map(Into::into).unwrap_or_default(),
        ..Source::default()
    };
    let mut faults = Vec::new();
    for entry in &record.keyspaces {
        let read =
            entry.value.as_ref().map_or_else(|| Ok(KeyspaceSource::default()), KeyspaceSource::try_from);
        match read {
            Ok(keyspace) => {
                source.keyspaces.insert(entry.key().into(), keyspace);
            }
            Err(why) => faults.push((entry.key().to_owned(), why)),
        }
    }
    (source, faults)
}

/// The record that the gates of a cell read. Every list of rules is there, also an empty one: that is
/// how Vitess writes it.
impl From<&Source> for vschema::SrvVSchema {
    fn from(source: &Source) -> Self {
        let keyspaces = source.keyspaces.iter().map(|(name, keyspace)| {
            vschema::srv_v_schema::KeyspacesEntry { key: Some(name.clone()), value: Some(keyspace.into()) }
        });
        Self {
            keyspaces: keyspaces.collect(),
            routing_rules: Some((&source.routing_rules).into()),
            shard_routing_rules: Some((&source.shard_routing_rules).into()),
            keyspace_routing_rules: Some((&source.keyspace_routing_rules).into()),
            mirror_rules: Some((&source.mirror_rules).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use serde::Deserialize;

    use super::*;

    /// A record as Vitess writes it: see `testdata/topology/README.md`.
    #[derive(Deserialize)]
    pub(crate) struct Recorded {
        pub(crate) name: String,
        #[serde(rename = "type")]
        pub(crate) kind: String,
        pub(crate) hex: String,
    }

    pub(crate) fn recorded() -> Vec<Recorded> {
        serde_json::from_str(include_str!("../../testdata/topology/records.json")).unwrap()
    }

    /// Reads and writes again, by way of our own types where there are some.
    fn again(kind: &str, bytes: &[u8]) -> Vec<u8> {
        fn same<M: Message + Default>(bytes: &[u8]) -> Vec<u8> {
            decode_to_change::<M>(bytes).unwrap().encode_to_vec()
        }
        fn through<M, T>(bytes: &[u8]) -> Vec<u8>
        where
            M: Message + Default + for<'a> From<&'a T>,
            T: for<'a> TryFrom<&'a M, Error: std::fmt::Debug>,
        {
            M::from(&T::try_from(&decode_to_change::<M>(bytes).unwrap()).unwrap()).encode_to_vec()
        }
        match kind {
            "topodata.CellInfo" => same::<topodata::CellInfo>(bytes),
            "topodata.CellsAlias" => same::<topodata::CellsAlias>(bytes),
            "topodata.Keyspace" => same::<topodata::Keyspace>(bytes),
            "topodata.Shard" => same::<topodata::Shard>(bytes),
            "topodata.Tablet" => same::<topodata::Tablet>(bytes),
            "topodata.ShardReplication" => same::<topodata::ShardReplication>(bytes),
            "topodata.SrvKeyspace" => same::<topodata::SrvKeyspace>(bytes),
            "vschema.Keyspace" => through::<vschema::Keyspace, KeyspaceSource>(bytes),
            "vschema.SrvVSchema" => same::<vschema::SrvVSchema>(bytes),
            "vschema.RoutingRules" => through::<vschema::RoutingRules, Rules<RoutingRule>>(bytes),
            "vschema.ShardRoutingRules" => {
                through::<vschema::ShardRoutingRules, Rules<ShardRoutingRule>>(bytes)
            }
            "vschema.KeyspaceRoutingRules" => {
                through::<vschema::KeyspaceRoutingRules, Rules<KeyspaceRoutingRule>>(bytes)
            }
            "vschema.MirrorRules" => through::<vschema::MirrorRules, Rules<MirrorRule>>(bytes),
            other => panic!("no such type: {other}"),
        }
    }

    #[test]
    fn recorded_records_are_written_again_byte_for_byte() {
        let all = recorded();
        let kinds: std::collections::BTreeSet<_> = all.iter().map(|record| record.kind.clone()).collect();
        assert_eq!((all.len(), kinds.len()), (22, 13), "every kind of record: {kinds:?}");
        for record in all {
            let bytes = hex::decode(&record.hex).unwrap();
            assert_eq!(hex::encode(again(&record.kind, &bytes)), record.hex, "{}", record.name);
        }
    }

    #[test]
    fn a_table_without_anything_is_written_with_its_empty_value() {
        // Go's generated readers make a nil pointer of an entry without a value.
        let source = KeyspaceSource::from_json(r#"{"tables": {"t": {}}}"#).unwrap();
        assert_eq!(vschema::Keyspace::from(&source).encode_to_vec(), b"\x1a\x05\x0a\x01t\x12\x00");
    }

    #[test]
    fn what_is_not_known_is_kept_or_refused() {
        let with_field_99 = [b"\x0a\x01a".as_slice(), b"\x98\x06\x01"].concat();
        assert_eq!(decode::<topodata::CellInfo>(&with_field_99).unwrap().server_address, "a");
        assert!(decode_to_change::<topodata::CellInfo>(&with_field_99).is_err());
        assert!(decode::<topodata::CellInfo>(b"\x0a\xff").is_err());
        let unknown_type = vschema::Keyspace {
            tables: vec![vschema::keyspace::TablesEntry {
                key: Some("t".into()),
                value: Some(vschema::Table {
                    columns: vec![vschema::Column { r#type: 99, ..Default::default() }],
                    ..Default::default()
                }),
            }],
            ..Default::default()
        };
        assert_eq!(KeyspaceSource::try_from(&unknown_type).unwrap_err(), "unknown column type 99");
    }
}
