//! `multicol`: how do several columns make one keyspace id?
//!
//! Each column has a function ([`Single`], default `hash`) and a width in bytes; the id is the first
//! bytes of each column's own id, one after another. Widths not given in `column_bytes` share what is
//! left of eight bytes: each takes its share rounded up, in order. A column whose id is shorter than
//! its width is padded with zeros, but only where another column follows. The first columns alone
//! give the key range of their prefix.

use std::collections::BTreeMap;

use super::{Result, Single, VindexError, prefix};
use crate::key::{Destination, KeyspaceId};
use crate::value::Value;

/// The parameters that the type knows.
pub(super) const PARAMS: &[&str] = &["column_count", "column_bytes", "column_vindex"];

/// How many bytes the columns share.
const ID_BYTES: usize = 8;

/// One function and width for each column.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiCol {
    columns: Vec<(Single, usize)>,
}

// === impl MultiCol ===

impl MultiCol {
    pub(super) fn new(params: &BTreeMap<String, String>) -> Result<Self> {
        let count = column_count(params)?;
        let widths = column_widths(params.get("column_bytes"), count)?;
        let functions = column_functions(params, count)?;
        Ok(Self { columns: functions.into_iter().zip(widths).collect() })
    }

    /// How many columns it takes, 1 to 8.
    #[must_use]
    pub fn column_count(&self) -> usize {
        self.columns.len()
    }

    /// The sum of its parts' costs.
    #[must_use]
    pub fn cost(&self) -> u32 {
        self.parts().map(Single::cost).sum()
    }

    /// The functions of its columns, in order.
    pub fn parts(&self) -> impl Iterator<Item = &Single> {
        self.columns.iter().map(|(function, _)| function)
    }

    /// Too many values, and values that their function refuses, map to no shard.
    pub(super) fn map(&self, values: &[Value]) -> Destination {
        match self.bytes(values) {
            Ok((id, len)) if values.len() == self.columns.len() => {
                Destination::Id(KeyspaceId::new(&id[..len]))
            }
            Ok((id, len)) => prefix(&id[..len]),
            Err(_) => Destination::None,
        }
    }

    pub(super) fn verify(&self, values: &[Value], id: &KeyspaceId) -> Result<bool> {
        if values.len() != self.columns.len() {
            return Ok(false);
        }
        self.bytes(values).map(|(bytes, len)| bytes[..len] == *id.as_bytes())
    }

    /// The bytes that these values give, and how many they are.
    fn bytes(&self, values: &[Value]) -> Result<([u8; ID_BYTES], usize)> {
        if values.len() > self.columns.len() {
            return Err(VindexError::Columns {
                vindex: "multicol".to_owned(),
                expected: self.columns.len(),
                got: values.len(),
            });
        }
        let (mut id, mut at, mut len) = ([0; ID_BYTES], 0, 0);
        for (value, (function, width)) in values.iter().zip(&self.columns) {
            let part = function.keyspace_id(value)?;
            let part = part.as_bytes();
            let taken = part.len().min(*width);
            id[at..at + taken].copy_from_slice(&part[..taken]);
            len = at + taken;
            at += width;
        }
        Ok((id, len))
    }
}

fn column_count(params: &BTreeMap<String, String>) -> Result<usize> {
    let Some(text) = params.get("column_count") else {
        return Err(parameter("number of columns not provided in the parameter 'column_count'"));
    };
    match text.trim().parse() {
        Ok(count @ 1..=ID_BYTES) => Ok(count),
        _ => Err(parameter("number of columns should be between 1 and 8 in the parameter 'column_count'")),
    }
}

fn column_widths(text: Option<&String>, count: usize) -> Result<Vec<usize>> {
    let mut given: Vec<Option<usize>> = Vec::with_capacity(count);
    for part in text.map(String::as_str).unwrap_or_default().split(',').map(str::trim) {
        given.push(match part {
            "" => None,
            digits => match digits.parse() {
                Ok(width @ 1..) => Some(width),
                _ => return Err(parameter(&format!("column bytes '{digits}' is not a positive number"))),
            },
        });
    }
    if given.len() > count {
        return Err(parameter(&format!(
            "number of column bytes provided are more than column count in the parameter 'column_bytes'; \
             {} > {count}",
            given.len()
        )));
    }
    given.resize(count, None);
    let mut pending = given.iter().filter(|width| width.is_none()).count();
    let used = given.iter().flatten().fold(0_usize, |sum, width| sum.saturating_add(*width));
    if used.saturating_add(pending) > ID_BYTES {
        return Err(parameter(&format!(
            "column bytes count exceeds the keyspace id length (total bytes count cannot exceed 8 bytes) in \
             the parameter 'column_bytes'; {used} bytes and {pending} more columns"
        )));
    }
    let mut left = ID_BYTES - used;
    let widths = given.into_iter().map(|width| {
        width.unwrap_or_else(|| {
            let share = left.div_ceil(pending);
            left -= share;
            pending -= 1;
            share
        })
    });
    Ok(widths.collect())
}

fn column_functions(params: &BTreeMap<String, String>, count: usize) -> Result<Vec<Single>> {
    let names = params.get("column_vindex").map(String::as_str).unwrap_or_default();
    let names: Vec<&str> = names.split(',').map(str::trim).collect();
    if names.len() > count {
        return Err(parameter(&format!(
            "number of vindex function provided are more than column count in the parameter 'column_vindex'; \
             {} > {count}",
            names.len()
        )));
    }
    // What multicol does not know itself is for its parts (numeric_static_map's `json`).
    let rest: BTreeMap<String, String> = params
        .iter()
        .filter(|(name, _)| !PARAMS.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    (0..count)
        .map(|column| match names.get(column).copied().unwrap_or_default() {
            "" => Ok(Single::Hash),
            name => Single::new(name, &rest).map_err(|error| match error {
                VindexError::UnknownType(name) => parameter(&format!(
                    "multicol vindex supports vindexes that exports hashing function, are unique and are \
                     non-lookup vindex, passed vindex '{name}' is invalid"
                )),
                other => other,
            }),
        })
        .collect()
}

fn parameter(text: &str) -> VindexError {
    VindexError::Parameter(text.to_owned())
}
