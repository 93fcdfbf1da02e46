//! `region_experimental`: how do rows stay in the region that their first column names?
//!
//! Columns (region, id). The keyspace id is the region as one or two bytes, big-endian, then the
//! `hash` of the id. Only the low byte or bytes of the region count. The region alone gives the key
//! range of its prefix. What is not a number maps to no shard.

use std::collections::BTreeMap;

use super::{Result, VindexError, hash, numeric, prefix};
use crate::key::{Destination, KeyspaceId};
use crate::value::Value;

/// The parameters that the type knows.
pub(super) const PARAMS: &[&str] = &["region_bytes"];

/// How many bytes the region has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionExperimental {
    bytes: usize,
}

// === impl RegionExperimental ===

impl RegionExperimental {
    pub(super) fn new(params: &BTreeMap<String, String>) -> Result<Self> {
        let bytes = match params.get("region_bytes").map(String::as_str) {
            None => {
                return Err(VindexError::Parameter(
                    "region_experimental missing region_bytes param".to_owned(),
                ));
            }
            Some("1") => 1,
            Some("2") => 2,
            Some(other) => {
                return Err(VindexError::Parameter(format!("region_bytes must be 1 or 2: {other}")));
            }
        };
        Ok(Self { bytes })
    }

    pub(super) fn map(&self, values: &[Value]) -> Destination {
        let (Some(region), true) = (values.first(), values.len() <= 2) else {
            return Destination::None;
        };
        let Ok(region) = numeric::number(region) else {
            return Destination::None;
        };
        let region = &region.to_be_bytes()[8 - self.bytes..];
        match values.get(1).map(hash::keyspace_id) {
            None => prefix(region),
            Some(Err(_)) => Destination::None,
            Some(Ok(id)) => Destination::Id(KeyspaceId::of_parts(region, id.as_bytes())),
        }
    }
}
