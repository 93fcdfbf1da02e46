//! What does a VSchema look like in its JSON files?
//!
//! The form is protobuf JSON of `vschema.proto` (`SrvVSchema`, `Keyspace`): names in snake_case are
//! written; lowerCamelCase is read as well; `null` is the same as leaving a field out; a field or an
//! enum value that does not exist is an error that names it, as in Vitess.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::ColumnType;

/// A whole VSchema: all keyspaces and the rules between them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// Keyspaces by name.
    #[serde(deserialize_with = "entries")]
    pub keyspaces: BTreeMap<String, KeyspaceSource>,
    /// Where statements naming a table really go.
    #[serde(alias = "routingRules", deserialize_with = "given", skip_serializing_if = "Rules::is_empty")]
    pub routing_rules: Rules<RoutingRule>,
    /// Which keyspace serves a shard.
    #[serde(
        alias = "shardRoutingRules",
        deserialize_with = "given",
        skip_serializing_if = "Rules::is_empty"
    )]
    pub shard_routing_rules: Rules<ShardRoutingRule>,
    /// Where statements naming a keyspace really go.
    #[serde(
        alias = "keyspaceRoutingRules",
        deserialize_with = "given",
        skip_serializing_if = "Rules::is_empty"
    )]
    pub keyspace_routing_rules: Rules<KeyspaceRoutingRule>,
    /// Which tables have a share of their reads copied elsewhere.
    #[serde(alias = "mirrorRules", deserialize_with = "given", skip_serializing_if = "Rules::is_empty")]
    pub mirror_rules: Rules<MirrorRule>,
}

/// One keyspace: the content of a `vschema.json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyspaceSource {
    /// Whether rows are spread over shards by vindexes.
    #[serde(deserialize_with = "given", skip_serializing_if = "is_default")]
    pub sharded: bool,
    /// The vindexes that tables name.
    #[serde(deserialize_with = "entries", skip_serializing_if = "BTreeMap::is_empty")]
    pub vindexes: BTreeMap<String, VindexSource>,
    /// The tables.
    #[serde(deserialize_with = "entries", skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, TableSource>,
    /// The keyspace's tables are found only when qualified.
    #[serde(
        alias = "requireExplicitRouting",
        deserialize_with = "given",
        skip_serializing_if = "is_default"
    )]
    pub require_explicit_routing: bool,
    /// Who looks after foreign keys.
    #[serde(alias = "foreignKeyMode", deserialize_with = "given", skip_serializing_if = "is_default")]
    pub foreign_key_mode: ForeignKeyMode,
    /// For Vitess's migration tools; carried only.
    #[serde(alias = "multiTenantSpec", skip_serializing_if = "Option::is_none")]
    pub multi_tenant_spec: Option<MultiTenantSpec>,
}

/// A declared vindex.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VindexSource {
    /// The type: `hash`, ….
    #[serde(rename = "type", deserialize_with = "given")]
    pub kind: String,
    /// Its parameters, all strings.
    #[serde(deserialize_with = "entries", skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// The table whose rows keep a lookup up to date.
    #[serde(deserialize_with = "given", skip_serializing_if = "String::is_empty")]
    pub owner: String,
}

/// A declared table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TableSource {
    /// Repeats the table's name in some files; not read.
    #[serde(deserialize_with = "given", skip_serializing)]
    pub name: String,
    /// Empty, `sequence` or `reference`.
    #[serde(rename = "type", deserialize_with = "given", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The vindexes over its columns; the first is the primary one.
    #[serde(alias = "columnVindexes", deserialize_with = "given", skip_serializing_if = "Vec::is_empty")]
    pub column_vindexes: Vec<ColumnVindexSource>,
    /// The column that a sequence fills.
    #[serde(alias = "autoIncrement", skip_serializing_if = "Option::is_none")]
    pub auto_increment: Option<AutoIncrementSource>,
    /// Its columns, as far as given.
    #[serde(deserialize_with = "given", skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnSource>,
    /// The keyspace id, in hex, on whose shard the whole table lives.
    #[serde(deserialize_with = "given", skip_serializing_if = "String::is_empty")]
    pub pinned: String,
    /// Whether `columns` lists all columns in order.
    #[serde(
        alias = "columnListAuthoritative",
        deserialize_with = "given",
        skip_serializing_if = "is_default"
    )]
    pub column_list_authoritative: bool,
    /// For a reference table: the table that takes writes.
    #[serde(deserialize_with = "given", skip_serializing_if = "String::is_empty")]
    pub source: String,
}

/// A vindex over columns of a table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnVindexSource {
    /// The only column (the older form).
    #[serde(deserialize_with = "given", skip_serializing_if = "String::is_empty")]
    pub column: String,
    /// The vindex's name.
    #[serde(deserialize_with = "given")]
    pub name: String,
    /// The columns.
    #[serde(deserialize_with = "given", skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Repeats the vindex's type in some files; not read.
    #[serde(rename = "type", deserialize_with = "given", skip_serializing)]
    pub kind: String,
    /// `null` in some files; not read.
    #[serde(skip_serializing)]
    pub vindex: (),
}

/// The column that a sequence fills.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AutoIncrementSource {
    /// The column.
    #[serde(deserialize_with = "given")]
    pub column: String,
    /// The sequence table, possibly qualified.
    #[serde(deserialize_with = "given")]
    pub sequence: String,
}

/// A declared column.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnSource {
    /// The name.
    #[serde(deserialize_with = "given")]
    pub name: String,
    /// The type.
    #[serde(rename = "type", deserialize_with = "given", skip_serializing_if = "is_default")]
    pub kind: ColumnType,
    /// Not part of `*`.
    #[serde(deserialize_with = "given", skip_serializing_if = "is_default")]
    pub invisible: bool,
    /// The default, as SQL text.
    #[serde(deserialize_with = "given", skip_serializing_if = "String::is_empty")]
    pub default: String,
    /// The collation.
    #[serde(alias = "collationName", deserialize_with = "given", skip_serializing_if = "String::is_empty")]
    pub collation_name: String,
    /// Length or precision.
    #[serde(deserialize_with = "given", skip_serializing_if = "is_default")]
    pub size: i32,
    /// Digits after the point.
    #[serde(deserialize_with = "given", skip_serializing_if = "is_default")]
    pub scale: i32,
    /// Whether NULL is allowed; true where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nullable: Option<bool>,
    /// The members of an ENUM or SET.
    #[serde(deserialize_with = "given", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// Who looks after foreign keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ForeignKeyMode {
    /// Not given: as [`Self::Unmanaged`].
    #[default]
    Unspecified,
    /// DDL with foreign keys is refused.
    Disallow,
    /// MySQL does, on each shard.
    Unmanaged,
    /// The gate does.
    Managed,
}

/// For Vitess's migration tools.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MultiTenantSpec {
    /// The column that names the tenant.
    #[serde(alias = "tenantIdColumnName", deserialize_with = "given")]
    pub tenant_id_column_name: String,
    /// Its type.
    #[serde(alias = "tenantIdColumnType", deserialize_with = "given", skip_serializing_if = "is_default")]
    pub tenant_id_column_type: ColumnType,
}

/// A list of rules of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound = "R: Serialize + DeserializeOwned")]
pub struct Rules<R> {
    /// The rules.
    #[serde(default, deserialize_with = "given")]
    pub rules: Vec<R>,
}

/// Statements that name `from_table` go to the first of `to_tables`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoutingRule {
    /// `[keyspace.]table[@type]`
    #[serde(alias = "fromTable", deserialize_with = "given")]
    pub from_table: String,
    /// `keyspace.table`; empty to disable the table.
    #[serde(alias = "toTables", deserialize_with = "given")]
    pub to_tables: Vec<String>,
}

/// The shard of `from_keyspace` is served by `to_keyspace`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShardRoutingRule {
    /// The keyspace that statements name.
    #[serde(alias = "fromKeyspace", deserialize_with = "given")]
    pub from_keyspace: String,
    /// The keyspace that serves.
    #[serde(alias = "toKeyspace", deserialize_with = "given")]
    pub to_keyspace: String,
    /// The shard's name.
    #[serde(deserialize_with = "given")]
    pub shard: String,
}

/// Statements that name `from_keyspace` go to `to_keyspace`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyspaceRoutingRule {
    /// `keyspace[@type]`
    #[serde(alias = "fromKeyspace", deserialize_with = "given")]
    pub from_keyspace: String,
    /// The keyspace instead.
    #[serde(alias = "toKeyspace", deserialize_with = "given")]
    pub to_keyspace: String,
}

/// A share of the reads of `from_table` is copied to `to_table`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MirrorRule {
    /// `keyspace.table[@type]`
    #[serde(alias = "fromTable", deserialize_with = "given")]
    pub from_table: String,
    /// `keyspace.table`
    #[serde(alias = "toTable", deserialize_with = "given")]
    pub to_table: String,
    /// 0 to 100.
    #[serde(deserialize_with = "given")]
    pub percent: f32,
}

// === impl Rules ===

impl<R> Default for Rules<R> {
    fn default() -> Self {
        Self { rules: Vec::new() }
    }
}

impl<R> Rules<R> {
    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

// === impl ForeignKeyMode ===

impl ForeignKeyMode {
    /// The word in the JSON and in `SHOW VSCHEMA KEYSPACES`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Disallow => "disallow",
            Self::Unmanaged => "unmanaged",
            Self::Managed => "managed",
        }
    }
}

impl<'de> Deserialize<'de> for ForeignKeyMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const MODES: [ForeignKeyMode; 4] = [
            ForeignKeyMode::Unspecified,
            ForeignKeyMode::Disallow,
            ForeignKeyMode::Unmanaged,
            ForeignKeyMode::Managed,
        ];
        let word = EnumWord::deserialize(deserializer)?;
        let found = MODES.iter().zip(0..).find(|(mode, number)| word.is(mode.as_str(), *number));
        let (mode, _) = found.ok_or_else(|| D::Error::custom(format!("unknown foreign_key_mode {word}")))?;
        Ok(*mode)
    }
}

/// A protobuf enum in JSON: its name or its number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum EnumWord {
    Name(String),
    Number(i32),
}

// === impl EnumWord ===

impl EnumWord {
    /// Whether it stands for the value of this name and number.
    pub(super) fn is(&self, name: &str, number: i32) -> bool {
        match self {
            Self::Name(word) => word == name,
            Self::Number(given) => *given == number,
        }
    }
}

impl fmt::Display for EnumWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(word) => write!(f, "`{word}`"),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A field's value; `null` is the default.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A map that names nothing twice; `null` is the empty map.
fn entries<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Entries<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
        type Value = BTreeMap<String, T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(BTreeMap::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = access.next_entry::<String, T>()? {
                if map.contains_key(&key) {
                    return Err(A::Error::custom(format!("duplicate key `{key}`")));
                }
                map.insert(key, value);
            }
            Ok(map)
        }
    }

    deserializer.deserialize_any(Entries(PhantomData))
}
