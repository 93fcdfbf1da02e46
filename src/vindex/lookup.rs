//! What does a vindex say that keeps its mapping in a table?
//!
//! This is a description only: the executor asks the table.

use std::collections::BTreeMap;

use super::{Result, Single, VindexError, hash};
use crate::key::KeyspaceId;
use crate::value::Value;

/// The parameters that every lookup type knows.
const PARAMS: &[&str] = &[
    "table",
    "from",
    "to",
    "ignore_nulls",
    "batch_lookup",
    "write_only",
    "no_verify",
    "autocommit",
    "multi_shard_autocommit",
    "read_lock",
];

/// As [`PARAMS`], with the cost that `lookup_cost` takes.
const COST_PARAMS: &[&str] = &[
    "table",
    "from",
    "to",
    "ignore_nulls",
    "batch_lookup",
    "write_only",
    "no_verify",
    "autocommit",
    "multi_shard_autocommit",
    "read_lock",
    "cost",
];

/// A lookup vindex as data.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each flag that the VSchema has")]
pub struct Lookup {
    type_name: &'static str,
    cost: u32,
    unique: bool,
    consistent: bool,
    from_encoding: FromEncoding,
    to_encoding: ToEncoding,
    table: Box<str>,
    from: Vec<Box<str>>,
    to: Box<str>,
    ignore_nulls: bool,
    batch: bool,
    write_only: bool,
    no_verify: bool,
    autocommit: bool,
    multi_shard_autocommit: bool,
    read_lock: ReadLock,
}

/// What the `from` columns hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromEncoding {
    /// The value.
    Value,
    /// The first eight bytes of the value's `unicode_loose_md5`, as an unsigned number.
    UnicodeLooseMd5,
}

/// What the `to` column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToEncoding {
    /// The keyspace id.
    KeyspaceId,
    /// The number whose `hash` is the keyspace id.
    Unhashed,
}

/// How a lookup inside a transaction's DML locks the rows that it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadLock {
    /// `FOR UPDATE`
    Exclusive,
    /// `LOCK IN SHARE MODE`
    Shared,
    /// Not at all.
    None,
}

/// What distinguishes one lookup type from another.
struct Type {
    name: &'static str,
    unique: bool,
    consistent: bool,
    from: FromEncoding,
    to: ToEncoding,
}

/// All lookup types (Vitess, `go/vt/vtgate/vindexes`).
const TYPES: &[Type] = {
    use FromEncoding::{UnicodeLooseMd5, Value};
    use ToEncoding::{KeyspaceId, Unhashed};
    const fn row(
        name: &'static str,
        unique: bool,
        consistent: bool,
        from: FromEncoding,
        to: ToEncoding,
    ) -> Type {
        Type { name, unique, consistent, from, to }
    }
    &[
        row("lookup", false, false, Value, KeyspaceId),
        row("lookup_unique", true, false, Value, KeyspaceId),
        row("lookup_cost", false, false, Value, KeyspaceId),
        row("lookup_hash", false, false, Value, Unhashed),
        row("lookup_hash_unique", true, false, Value, Unhashed),
        row("lookup_unicodeloosemd5_hash", false, false, UnicodeLooseMd5, Unhashed),
        row("lookup_unicodeloosemd5_hash_unique", true, false, UnicodeLooseMd5, Unhashed),
        row("consistent_lookup", false, true, Value, KeyspaceId),
        row("consistent_lookup_unique", true, true, Value, KeyspaceId),
    ]
};

// === impl Lookup ===

impl Lookup {
    /// The lookup of this type; none where the type is not a lookup.
    pub(super) fn new(type_name: &str, params: &BTreeMap<String, String>) -> Result<Option<Self>> {
        let Some(kind) = TYPES.iter().find(|kind| kind.name == type_name) else {
            return Ok(None);
        };
        let text = |key: &str| params.get(key).map(String::as_str).unwrap_or_default();
        let read_lock = match text("read_lock") {
            "" | "exclusive" => ReadLock::Exclusive,
            "shared" => ReadLock::Shared,
            "none" => ReadLock::None,
            other => return Err(VindexError::Parameter(format!("invalid read_lock value: {other}"))),
        };
        let cost = match (kind.name, kind.unique) {
            ("lookup_cost", _) => match text("cost") {
                "" => 5,
                digits => digits.parse().map_err(|_| {
                    VindexError::Parameter(format!("failed to parse cost of lookup_cost: '{digits}'"))
                })?,
            },
            (_, true) => 10,
            (_, false) => 20,
        };
        Ok(Some(Self {
            type_name: kind.name,
            cost,
            unique: kind.unique,
            consistent: kind.consistent,
            from_encoding: kind.from,
            to_encoding: kind.to,
            table: text("table").into(),
            from: text("from")
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(Into::into)
                .collect(),
            to: text("to").into(),
            ignore_nulls: flag(params, "ignore_nulls")?,
            batch: flag(params, "batch_lookup")?,
            write_only: flag(params, "write_only")?,
            no_verify: flag(params, "no_verify")?,
            autocommit: flag(params, "autocommit")?,
            multi_shard_autocommit: flag(params, "multi_shard_autocommit")?,
            read_lock,
        }))
    }

    /// The type as the VSchema writes it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        self.type_name
    }

    /// 10 for a unique one, 20 for any other, the parameter `cost` of a `lookup_cost`.
    #[must_use]
    pub fn cost(&self) -> u32 {
        self.cost
    }

    /// At most one row for a value.
    #[must_use]
    pub fn is_unique(&self) -> bool {
        self.unique
    }

    /// Changed before and after the owner's transaction, so that a crash leaves no row without its
    /// lookup row.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.consistent
    }

    /// The lookup table, possibly `keyspace.table`; empty where not given.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The table's columns that hold the value.
    #[must_use]
    pub fn from_columns(&self) -> &[Box<str>] {
        &self.from
    }

    /// The table's column that holds the keyspace id.
    #[must_use]
    pub fn to_column(&self) -> &str {
        &self.to
    }

    /// What the `from` columns hold.
    #[must_use]
    pub fn from_encoding(&self) -> FromEncoding {
        self.from_encoding
    }

    /// What the `to` column holds.
    #[must_use]
    pub fn to_encoding(&self) -> ToEncoding {
        self.to_encoding
    }

    /// What the first `from` column holds for a value of the owner's column.
    ///
    /// # Errors
    /// A value that has no collation weights.
    pub fn from_value(&self, value: Value) -> Result<Value> {
        if self.from_encoding == FromEncoding::Value || value.is_null() {
            return Ok(value);
        }
        let digest = Single::UnicodeLooseMd5.keyspace_id(&value)?;
        let first = digest.as_bytes().first_chunk().copied().unwrap_or_default();
        Ok(Value::UInt(u64::from_be_bytes(first)))
    }

    /// What the `to` column holds for a keyspace id.
    ///
    /// # Errors
    /// An id that is not of eight bytes, where the column holds numbers.
    pub fn to_value(&self, id: &KeyspaceId) -> Result<Value> {
        match self.to_encoding {
            ToEncoding::KeyspaceId => Ok(Value::Binary(bytes::Bytes::copy_from_slice(id.as_bytes()))),
            ToEncoding::Unhashed => hash::reverse(id),
        }
    }

    /// The keyspace id that the `to` column's text stands for.
    ///
    /// # Errors
    /// A text that is not a number, where the column holds numbers.
    pub fn keyspace_id(&self, to: &[u8]) -> Result<KeyspaceId> {
        match self.to_encoding {
            ToEncoding::KeyspaceId => Ok(KeyspaceId::new(to)),
            ToEncoding::Unhashed => hash::keyspace_id(&Value::Text(bytes::Bytes::copy_from_slice(to))),
        }
    }

    /// Rows with a NULL have no lookup row.
    #[must_use]
    pub fn ignores_nulls(&self) -> bool {
        self.ignore_nulls
    }

    /// Several values go into one query even where they are not integers.
    #[must_use]
    pub fn batches(&self) -> bool {
        self.batch
    }

    /// The table is still being filled: written, but not read for routing.
    #[must_use]
    pub fn is_write_only(&self) -> bool {
        self.write_only
    }

    /// A verification always succeeds.
    #[must_use]
    pub fn skips_verify(&self) -> bool {
        self.no_verify
    }

    /// Written in its own transaction.
    #[must_use]
    pub fn autocommits(&self) -> bool {
        self.autocommit
    }

    /// Written with `MULTI_SHARD_AUTOCOMMIT`.
    #[must_use]
    pub fn autocommits_multi_shard(&self) -> bool {
        self.multi_shard_autocommit
    }

    /// How reads inside a transaction's DML lock.
    #[must_use]
    pub fn read_lock(&self) -> ReadLock {
        self.read_lock
    }

    /// The parameters that the type knows.
    pub(super) fn known_params(&self) -> &'static [&'static str] {
        if self.type_name == "lookup_cost" { COST_PARAMS } else { PARAMS }
    }
}

fn flag(params: &BTreeMap<String, String>, key: &str) -> Result<bool> {
    match params.get(key).map(String::as_str) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => {
            Err(VindexError::Parameter(format!("{key} value must be 'true' or 'false': '{other}'")))
        }
    }
}
