//! `region_json`: how do rows stay in the region of their country?
//!
//! Columns (id, country), the reverse of `region_experimental`. The file `region_map` is a JSON
//! object from country to region number; the match is case-sensitive. The keyspace id is the region
//! as one or two bytes, big-endian, then the `hash` of the id. A country that is not in the map, a
//! missing column, or an id that is not a number maps to no shard.

use std::collections::{BTreeMap, HashMap};

use super::{Result, VindexError, hash};
use crate::key::{Destination, KeyspaceId};
use crate::value::Value;

/// The parameters that the type knows.
pub(super) const PARAMS: &[&str] = &["region_map", "region_bytes"];

/// The regions and how many bytes they have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionJson {
    regions: HashMap<Vec<u8>, u64>,
    bytes: usize,
}

// === impl RegionJson ===

impl RegionJson {
    pub(super) fn new(params: &BTreeMap<String, String>) -> Result<Self> {
        let path = params
            .get("region_map")
            .ok_or_else(|| VindexError::Parameter("region_json missing region_map param".to_owned()))?;
        let unreadable =
            |error: &dyn std::fmt::Display| VindexError::Parameter(format!("region_map {path}: {error}"));
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
        let regions: HashMap<String, u64> =
            serde_json::from_str(&text).map_err(|error| unreadable(&error))?;
        let bytes = match params.get("region_bytes").map(String::as_str) {
            Some("1") => 1,
            Some("2") => 2,
            other => {
                let shown = other.unwrap_or_default();
                return Err(VindexError::Parameter(format!("region_bytes must be 1 or 2: {shown}")));
            }
        };
        let regions = regions.into_iter().map(|(country, region)| (country.into_bytes(), region)).collect();
        Ok(Self { regions, bytes })
    }

    pub(super) fn map(&self, values: &[Value]) -> Destination {
        let [id, country] = values else {
            return Destination::None;
        };
        let Ok(id) = hash::keyspace_id(id) else {
            return Destination::None;
        };
        let country = country.text().unwrap_or_default();
        match self.regions.get(country.as_ref()) {
            None => Destination::None,
            Some(region) => {
                let region = &region.to_be_bytes()[8 - self.bytes..];
                Destination::Id(KeyspaceId::of_parts(region, id.as_bytes()))
            }
        }
    }
}
