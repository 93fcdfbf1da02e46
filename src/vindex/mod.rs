//! Which keyspace id does a column value map to?
//!
//! Hot path: one [`Vindex::map`] per routed statement; no allocation for ids of up to 16 bytes.
//!
//! All vindexes that compute their mapping are bit-exact with Vitess (`go/vt/vtgate/vindexes`). A
//! vindex that keeps its mapping in a table is [`Kind::Lookup`]: described here, so that a VSchema
//! with it loads, and run by the executor. Nothing here opens a socket; files are read by the
//! constructor only (`json_path`, `region_map`).

mod binary;
mod binary_md5;
mod cfc;
mod error;
mod hash;
mod lookup;
mod multicol;
mod null;
mod numeric;
mod numeric_static_map;
mod region_experimental;
mod region_json;
mod reverse_bits;
mod single;
mod unicode;
mod unicode_loose;
mod xxhash;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use cfc::Cfc;
pub use error::VindexError;
pub use lookup::{FromEncoding, Lookup, ReadLock, ToEncoding};
pub use multicol::MultiCol;
pub use numeric_static_map::NumericStaticMap;
pub use region_experimental::RegionExperimental;
pub use region_json::RegionJson;
pub use single::Single;

use crate::key::{Destination, KeyRange, KeyspaceId};
use crate::value::Value;

/// Maps the values of one or more columns to keyspace ids. Immutable; shared by tables and plans.
#[derive(Debug, Clone, PartialEq)]
pub struct Vindex {
    name: Arc<str>,
    params: BTreeMap<String, String>,
    kind: Kind,
}

/// What a vindex reads of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// An unsigned integer, from its decimal text.
    Numbers,
    /// The bytes of its text.
    Bytes,
    /// The primary weights of its characters.
    Weights,
}

/// What a vindex does. Closed: a new type is a compile error until every question here is answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// One column, by a function that `multicol` can also use.
    Single(Single),
    /// `null`: everything maps to the byte 00.
    Null,
    /// `cfc`: pieces of one key, hashed one by one.
    Cfc(Cfc),
    /// `region_experimental`: (region, id).
    RegionExperimental(RegionExperimental),
    /// `region_json`: (id, country).
    RegionJson(RegionJson),
    /// `multicol`: up to eight columns.
    MultiCol(MultiCol),
    /// `lookup*`, `consistent_lookup*`: the mapping is in a table.
    Lookup(Lookup),
}

/// The result of everything here.
pub type Result<T, E = VindexError> = std::result::Result<T, E>;

// === impl Vindex ===

impl Vindex {
    /// A vindex as a VSchema declares it: `type_name` is the `type`, `params` the `params`.
    ///
    /// # Errors
    /// An unknown type, or a missing or wrong parameter. Parameters that the type does not know are
    /// ignored as in Vitess; [`Self::unknown_params`] names them.
    pub fn new(name: &str, type_name: &str, params: &BTreeMap<String, String>) -> Result<Self> {
        let kind = match type_name {
            "null" => Kind::Null,
            "cfc" => Kind::Cfc(Cfc::new(name, params)?),
            "region_experimental" => Kind::RegionExperimental(RegionExperimental::new(params)?),
            "region_json" => Kind::RegionJson(RegionJson::new(params)?),
            "multicol" => Kind::MultiCol(MultiCol::new(params)?),
            _ => match Lookup::new(type_name, params)? {
                Some(lookup) => Kind::Lookup(lookup),
                None => Kind::Single(Single::new(type_name, params)?),
            },
        };
        Ok(Self { name: name.into(), params: params.clone(), kind })
    }

    /// The name in the VSchema.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The type as the VSchema writes it: `hash`, `lookup_unique`, ….
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match &self.kind {
            Kind::Single(single) => single.type_name(),
            Kind::Null => "null",
            Kind::Cfc(_) => "cfc",
            Kind::RegionExperimental(_) => "region_experimental",
            Kind::RegionJson(_) => "region_json",
            Kind::MultiCol(_) => "multicol",
            Kind::Lookup(lookup) => lookup.type_name(),
        }
    }

    /// The parameters as declared.
    #[must_use]
    pub fn params(&self) -> &BTreeMap<String, String> {
        &self.params
    }

    /// What it does.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// How dear routing by it is, for choosing between usable ones: 0 and 1 are computed, 10 and
    /// more ask a table, 100 is the last resort.
    #[must_use]
    pub fn cost(&self) -> u32 {
        match &self.kind {
            Kind::Single(single) => single.cost(),
            Kind::Null => 100,
            Kind::Cfc(_) | Kind::RegionExperimental(_) | Kind::RegionJson(_) => 1,
            Kind::MultiCol(multicol) => multicol.cost(),
            Kind::Lookup(lookup) => lookup.cost(),
        }
    }

    /// Whether values for all columns give at most one keyspace id.
    #[must_use]
    pub fn is_unique(&self) -> bool {
        match &self.kind {
            Kind::Lookup(lookup) => lookup.is_unique(),
            _ => true,
        }
    }

    /// Whether the mapping is stored in a table.
    #[must_use]
    pub fn is_lookup(&self) -> bool {
        self.lookup().is_some()
    }

    /// The lookup table's description.
    #[must_use]
    pub fn lookup(&self) -> Option<&Lookup> {
        match &self.kind {
            Kind::Lookup(lookup) => Some(lookup),
            _ => None,
        }
    }

    /// Whether it maps several columns together (and so may only be a primary vindex).
    #[must_use]
    pub fn is_multi_column(&self) -> bool {
        matches!(self.kind, Kind::RegionExperimental(_) | Kind::RegionJson(_) | Kind::MultiCol(_))
    }

    /// How many columns it maps. A lookup counts its `from` columns, at least one.
    #[must_use]
    pub fn column_count(&self) -> usize {
        match &self.kind {
            Kind::Single(_) | Kind::Null | Kind::Cfc(_) => 1,
            Kind::RegionExperimental(_) | Kind::RegionJson(_) => 2,
            Kind::MultiCol(multicol) => multicol.column_count(),
            Kind::Lookup(lookup) => lookup.from_columns().len().max(1),
        }
    }

    /// Whether the first columns alone already narrow the shards.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        matches!(self.kind, Kind::RegionExperimental(_) | Kind::MultiCol(_))
    }

    /// Whether [`Self::reverse`] can compute the column from the keyspace id.
    #[must_use]
    pub fn is_reversible(&self) -> bool {
        match &self.kind {
            Kind::Single(single) => single.is_reversible(),
            _ => false,
        }
    }

    /// Whether keyspace ids are in the order of the values, so that [`Self::range`] narrows the
    /// shards of a BETWEEN: `numeric` over an integer column, `binary` over a column that compares
    /// by bytes. Over a column with a case-insensitive collation `binary` must not be used so.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        matches!(self.kind, Kind::Single(Single::Numeric | Single::Binary))
    }

    /// Whether values are read as unsigned integers from their decimal text. A hexadecimal or bit
    /// literal compares as a number in MySQL but not here: do not route by it.
    #[must_use]
    pub fn reads_numbers(&self) -> bool {
        match &self.kind {
            Kind::Single(single) => single.reads_numbers(),
            Kind::RegionExperimental(_) | Kind::RegionJson(_) => true,
            Kind::MultiCol(multicol) => multicol.parts().any(Single::reads_numbers),
            _ => false,
        }
    }

    /// Whether the values of this column, counted from 0, are read as [`Self::reads_numbers`] says.
    #[must_use]
    pub fn reads_number(&self, column: usize) -> bool {
        match &self.kind {
            Kind::RegionJson(_) => column == 0,
            Kind::MultiCol(multicol) => multicol.parts().nth(column).is_some_and(Single::reads_numbers),
            _ => self.reads_numbers(),
        }
    }

    /// What the vindex reads of the values of this column, counted from 0.
    #[must_use]
    pub fn reading(&self, column: usize) -> Reading {
        let part = match &self.kind {
            Kind::Single(single) => Some(single),
            Kind::MultiCol(multicol) => multicol.parts().nth(column),
            _ => None,
        };
        match part {
            _ if self.reads_number(column) => Reading::Numbers,
            _ if self.lookup().is_some_and(|own| own.from_encoding() == FromEncoding::UnicodeLooseMd5) => {
                Reading::Weights
            }
            Some(Single::UnicodeLooseMd5 | Single::UnicodeLooseXxhash) => Reading::Weights,
            _ => Reading::Bytes,
        }
    }

    /// The keyspace id of one row's values, one per column. Fewer values than columns give the key
    /// range of the prefix where [`Self::is_partial`], and otherwise as below.
    ///
    /// Vitess's rules for what cannot be mapped: functions that read numbers, and the multi-column
    /// ones, give [`Destination::None`] (the row cannot exist: no shard is asked); functions over
    /// bytes return the error. NULL: see each type.
    ///
    /// # Errors
    /// A value that a function over bytes refuses, the wrong number of values for a one-column
    /// vindex, or a lookup vindex, whose mapping the executor must read from its table.
    pub fn map(&self, values: &[Value]) -> Result<Destination> {
        match &self.kind {
            Kind::Single(single) => single.map(self.only(values)?),
            Kind::Null => self.only(values).map(|_| Destination::Id(null::id())),
            Kind::Cfc(cfc) => cfc.keyspace_id(self.only(values)?).map(Destination::Id),
            Kind::RegionExperimental(region) => Ok(region.map(values)),
            Kind::RegionJson(region) => Ok(region.map(values)),
            Kind::MultiCol(multicol) => Ok(multicol.map(values)),
            Kind::Lookup(_) => Err(VindexError::Lookup(self.name.to_string())),
        }
    }

    /// Whether these values map to this id.
    ///
    /// # Errors
    /// A value that cannot be mapped (here functions over numbers return it too), the wrong number
    /// of values for a one-column vindex, or a lookup vindex.
    pub fn verify(&self, values: &[Value], id: &KeyspaceId) -> Result<bool> {
        match &self.kind {
            Kind::Single(single) => Ok(single.keyspace_id(self.only(values)?)? == *id),
            Kind::MultiCol(multicol) => multicol.verify(values, id),
            _ => Ok(matches!(self.map(values)?, Destination::Id(mapped) if mapped == *id)),
        }
    }

    /// The column value that maps to this id.
    ///
    /// # Errors
    /// Where [`Self::is_reversible`] is false, or no value maps to the id.
    pub fn reverse(&self, id: &KeyspaceId) -> Result<Value> {
        match &self.kind {
            Kind::Single(single) if single.is_reversible() => single.reverse(id),
            _ => Err(VindexError::NotReversible(self.name.to_string())),
        }
    }

    /// The ids of all values from `low` to `high`, both included, for an ordered vindex. Where a
    /// bound has no exact id of its own (a fraction, a negative number), every shard.
    ///
    /// Vitess leaves the upper bound out and so loses the row at `high` when its id is the first of
    /// a shard; SQL's BETWEEN includes it.
    #[must_use]
    pub fn range(&self, low: &Value, high: &Value) -> Destination {
        if low.is_null() || high.is_null() {
            return Destination::None;
        }
        match &self.kind {
            Kind::Single(Single::Numeric) => numeric::range(low, high),
            Kind::Single(Single::Binary) => binary::range(low, high),
            _ => Destination::All,
        }
    }

    /// The shards that can hold a match of `column LIKE pattern` for a `cfc` column that compares by
    /// bytes; none for any other vindex. `escape` is the pattern's escape character, `\` by default.
    #[must_use]
    pub fn like(&self, pattern: &[u8], escape: u8) -> Option<Destination> {
        match &self.kind {
            Kind::Cfc(cfc) => Some(cfc.like(pattern, escape)),
            _ => None,
        }
    }

    /// What routing by a LIKE prefix costs, where [`Self::like`] can narrow the shards.
    #[must_use]
    pub fn like_cost(&self) -> Option<u32> {
        match &self.kind {
            Kind::Cfc(cfc) => Some(cfc.like_cost()),
            _ => None,
        }
    }

    /// Declared parameters that the type does not know (Vitess's gauge `VindexUnknownParameters`).
    pub fn unknown_params(&self) -> impl Iterator<Item = &str> {
        let known = match &self.kind {
            Kind::Single(single) => single.known_params(),
            Kind::Null => &[],
            Kind::Cfc(_) => cfc::PARAMS,
            Kind::RegionExperimental(_) => region_experimental::PARAMS,
            Kind::RegionJson(_) => region_json::PARAMS,
            Kind::MultiCol(_) => multicol::PARAMS,
            Kind::Lookup(lookup) => lookup.known_params(),
        };
        self.params.keys().map(String::as_str).filter(move |name| !known.contains(name))
    }

    fn only<'a>(&self, values: &'a [Value]) -> Result<&'a Value> {
        match values {
            [value] => Ok(value),
            _ => Err(VindexError::Columns { vindex: self.name.to_string(), expected: 1, got: values.len() }),
        }
    }
}

/// The ids that begin with these bytes, as a destination.
fn prefix(bytes: &[u8]) -> Destination {
    if bytes.is_empty() { Destination::All } else { Destination::Range(KeyRange::of_prefix(bytes)) }
}

#[cfg(test)]
mod tests;
