//! `cfc`: how does a concatenation of fixed-length fields keep its parts together?
//!
//! Without `hash` the keyspace id is the key. With a hash the key is cut at `offsets`, each piece is
//! hashed, the digest is cut to the piece's own length, and the pieces are put together again; what
//! follows the last offset is one more piece. So keys that begin with the same fields have ids that
//! begin with the same bytes, and `LIKE 'prefix%'` needs only the shards of a range.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Result, VindexError, binary_md5, prefix, xxhash};
use crate::key::{Destination, KeyspaceId};
use crate::value::Value;

/// The parameters that the type knows.
pub(super) const PARAMS: &[&str] = &["hash", "offsets"];

/// The hash and where the key is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cfc {
    name: Box<str>,
    pieces: Option<(Digest, Box<[usize]>)>,
}

/// The hash of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Digest {
    Md5,
    Xxhash64,
}

// === impl Cfc ===

impl Cfc {
    pub(super) fn new(name: &str, params: &BTreeMap<String, String>) -> Result<Self> {
        let param = |key: &str| params.get(key).map(String::as_str).unwrap_or_default();
        let digest = match param("hash") {
            "" => return Ok(Self { name: name.into(), pieces: None }),
            "md5" => Digest::Md5,
            "xxhash64" => Digest::Xxhash64,
            other => {
                return Err(VindexError::Parameter(format!("invalid hash {other} to CFC vindex {name}")));
            }
        };
        let text = param("offsets");
        if text.is_empty() {
            return Err(VindexError::Parameter(
                "CFC vindex requires offsets when hash is defined".to_owned(),
            ));
        }
        let offsets: Vec<usize> = serde_json::from_str(text).unwrap_or_default();
        let sorted = offsets.windows(2).all(|pair| pair[0] < pair[1]);
        if offsets.first().is_none_or(|first| *first == 0) || !sorted {
            return Err(VindexError::Parameter(format!(
                "invalid offsets {text} to CFC vindex {name}. expected sorted positive ints in brackets"
            )));
        }
        Ok(Self { name: name.into(), pieces: Some((digest, offsets.into())) })
    }

    /// The id of a whole key; NULL counts as the empty key.
    pub(super) fn keyspace_id(&self, value: &Value) -> Result<KeyspaceId> {
        let key = value.text().unwrap_or_default();
        let Some((digest, offsets)) = &self.pieces else {
            return Ok(KeyspaceId::new(&key));
        };
        let need = offsets.last().copied().unwrap_or_default();
        if key.len() < need {
            return Err(VindexError::Value(format!(
                "insufficient size for cfc vindex {}. need {need}, got {}",
                self.name,
                key.len()
            )));
        }
        Ok(KeyspaceId::new(&digest.whole_key(&key, offsets)))
    }

    /// The shards that can hold a match of a LIKE pattern.
    ///
    /// Only whole pieces are known from a prefix: what follows the last offset is one only when the
    /// pattern has no wildcard.
    pub(super) fn like(&self, pattern: &[u8], escape: u8) -> Destination {
        let (literal, open) = literal_prefix(pattern, escape);
        let Some((digest, offsets)) = &self.pieces else {
            return prefix(&literal);
        };
        let whole = offsets.iter().copied().take_while(|offset| *offset <= literal.len());
        let all = offsets.last().is_some_and(|last| *last <= literal.len());
        if all && !open {
            return prefix(&digest.whole_key(&literal, offsets));
        }
        let end = whole.last().unwrap_or_default();
        prefix(&digest.whole_key(&literal[..end], offsets))
    }

    /// One for each offset, 2 without a hash.
    pub(super) fn like_cost(&self) -> u32 {
        let pieces = self.pieces.as_ref().map_or(2, |(_, offsets)| offsets.len());
        u32::try_from(pieces).unwrap_or(u32::MAX)
    }
}

impl Digest {
    /// The pieces of `key` that the offsets cut, each hashed; a key that ends earlier has fewer.
    fn whole_key(self, key: &[u8], offsets: &[usize]) -> Vec<u8> {
        let mut id = Vec::with_capacity(key.len());
        let mut start = 0;
        for end in offsets.iter().copied().chain([key.len()]) {
            let piece = key.get(start..end.min(key.len())).unwrap_or_default();
            if !piece.is_empty() {
                let digest = match self {
                    Self::Md5 => binary_md5::of_bytes(piece),
                    Self::Xxhash64 => xxhash::of_bytes(piece),
                };
                let digest = digest.as_bytes();
                id.extend_from_slice(&digest[..digest.len().min(piece.len())]);
            }
            start = end;
        }
        id
    }
}

/// The pattern up to its first wildcard, escapes resolved, and whether a wildcard follows.
fn literal_prefix(pattern: &[u8], escape: u8) -> (Cow<'_, [u8]>, bool) {
    let special = |byte: u8| byte == b'%' || byte == b'_' || byte == escape;
    let plain = pattern.iter().position(|byte| special(*byte)).unwrap_or(pattern.len());
    let mut literal = Cow::Borrowed(&pattern[..plain]);
    let mut rest = pattern[plain..].iter();
    while let Some(&byte) = rest.next() {
        // An escape at the very end stands for itself.
        let kept = if byte == escape { rest.next().copied().unwrap_or(byte) } else { byte };
        if byte != escape && (byte == b'%' || byte == b'_') {
            return (literal, true);
        }
        literal.to_mut().push(kept);
    }
    (literal, false)
}
