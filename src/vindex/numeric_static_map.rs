//! `numeric_static_map`: what if an operator says where each number goes?
//!
//! A JSON object from numbers to numbers, in the parameter `json` or in the file `json_path`. The
//! mapped number is the keyspace id, eight bytes big-endian. A number that is not in the map goes
//! through the vindex type `fallback_type`, or counts as itself.

use std::collections::{BTreeMap, HashMap};

use super::{Result, Single, VindexError, numeric};
use crate::key::KeyspaceId;
use crate::value::Value;

/// The parameters that the type knows.
pub(super) const PARAMS: &[&str] = &["json", "json_path", "fallback_type"];

/// The map and what stands in for its gaps.
#[derive(Debug, Clone, PartialEq)]
pub struct NumericStaticMap {
    map: HashMap<u64, u64>,
    fallback: Option<Box<Single>>,
}

// === impl NumericStaticMap ===

impl NumericStaticMap {
    pub(super) fn new(params: &BTreeMap<String, String>) -> Result<Self> {
        let text = match (params.get("json"), params.get("json_path")) {
            (Some(_), Some(_)) => {
                return Err(parameter("Found both `json` and `json_path` params in vschema"));
            }
            (None, None) => {
                return Err(parameter("Could not find either `json_path` or `json` params in vschema"));
            }
            (Some(json), None) => json.clone(),
            (None, Some(path)) => {
                std::fs::read_to_string(path).map_err(|error| parameter(&format!("{path}: {error}")))?
            }
        };
        let entries: BTreeMap<String, u64> =
            serde_json::from_str(&text).map_err(|error| parameter(&error.to_string()))?;
        let mut map = HashMap::with_capacity(entries.len());
        for (key, to) in entries {
            let from = key.parse().map_err(|_| parameter(&format!("\"{key}\" is not an unsigned number")))?;
            map.insert(from, to);
        }
        let fallback = match params.get("fallback_type") {
            Some(type_name) => Some(Box::new(Single::new(type_name, &BTreeMap::new())?)),
            None => None,
        };
        Ok(Self { map, fallback })
    }

    /// The id of a number; anything else has none, even with a fallback.
    pub(super) fn keyspace_id(&self, value: &Value) -> Result<KeyspaceId> {
        let number = numeric::number(value)?;
        match (self.map.get(&number), &self.fallback) {
            (Some(mapped), _) => Ok(KeyspaceId::from_u64(*mapped)),
            (None, Some(fallback)) => fallback.keyspace_id(value),
            (None, None) => Ok(KeyspaceId::from_u64(number)),
        }
    }
}

fn parameter(detail: &str) -> VindexError {
    VindexError::Parameter(format!("NumericStaticMap: {detail}"))
}
