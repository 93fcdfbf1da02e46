//! Which shard owns a keyspace id?
//!
//! Keyspace ids and range bounds are byte strings of any length. They compare after trailing zero
//! bytes are stripped; a range includes its start and excludes its end; an empty end is +∞
//! (Vitess, `go/vt/key`).

use std::fmt;

/// What a vindex makes of a sharding key: the point that a shard's key range must contain.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyspaceId(pub Vec<u8>);

/// A half-open range of keyspace ids, `[start, end)`; an empty `end` means no upper bound.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// Inclusive lower bound; empty for the lowest id.
    pub start: Vec<u8>,
    /// Exclusive upper bound; empty for no bound.
    pub end: Vec<u8>,
}

/// Where a row or a statement goes inside a keyspace, before the shards are known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// Nowhere: the value maps to no row.
    None,
    /// The shard that owns this id.
    Id(KeyspaceId),
    /// All shards that intersect this range.
    Range(KeyRange),
    /// Every shard.
    All,
    /// Any one shard.
    Any,
    /// The shard of this name.
    Shard(String),
}

// === impl KeyspaceId ===

impl From<Vec<u8>> for KeyspaceId {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

// === impl KeyRange ===

impl KeyRange {
    /// The range that contains every id.
    pub const FULL: Self = Self { start: Vec::new(), end: Vec::new() };

    /// Reads a shard name such as `-80`, `80-` or `40-80`; a name without `-` (`0`) has the full range.
    ///
    /// # Errors
    /// The text, where a bound is not hex of an even length or the range is empty or backwards.
    pub fn parse(name: &str) -> Result<Self, String> {
        let Some((start, end)) = name.split_once('-') else {
            return Ok(Self::FULL);
        };
        let bound = |text: &str| hex::decode(text).map_err(|_| format!("'{name}' is not a key range"));
        let range = Self { start: bound(start)?, end: bound(end)? };
        if !range.end.is_empty() && trimmed(&range.start) >= trimmed(&range.end) {
            return Err(format!("'{name}' is an empty key range"));
        }
        Ok(range)
    }

    /// Whether this range owns the id.
    #[must_use]
    pub fn contains(&self, id: &[u8]) -> bool {
        let id = trimmed(id);
        trimmed(&self.start) <= id && (self.end.is_empty() || id < trimmed(&self.end))
    }

    /// Whether the two ranges share an id.
    #[must_use]
    pub fn intersects(&self, other: &Self) -> bool {
        let below = |start: &[u8], end: &[u8]| end.is_empty() || trimmed(start) < trimmed(end);
        below(&self.start, &other.end) && below(&other.start, &self.end)
    }
}

impl fmt::Display for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", hex::encode(&self.start), hex::encode(&self.end))
    }
}

impl fmt::Debug for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for KeyspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Display for KeyspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}
