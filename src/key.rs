//! Which shard owns a keyspace id?
//!
//! Keyspace ids and range bounds are byte strings of any length. They compare after trailing zero
//! bytes are stripped; a range includes its start and excludes its end; an empty end is +∞
//! (Vitess, `go/vt/key`).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// What a vindex makes of a sharding key: the point that a shard's key range must contain.
///
/// Equality and order are those of the bytes as they are; only [`KeyRange`] strips zeros. Up to 16
/// bytes (all vindexes but `binary` and `cfc`) stay inline, so that mapping a key allocates nothing.
#[derive(Clone)]
pub struct KeyspaceId(Repr);

#[derive(Clone)]
enum Repr {
    Inline { len: u8, bytes: [u8; INLINE] },
    Heap(Box<[u8]>),
}

/// The longest id kept inline: an MD5 digest.
const INLINE: usize = 16;

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

/// What a server does for its shard. The words are Vitess's tablet types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TabletType {
    /// Takes writes.
    Primary,
    /// Serves reads, may be promoted.
    Replica,
    /// Serves reads, is never promoted.
    Rdonly,
}

/// Why a list of shards does not cover the id space exactly once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TilingError {
    /// The list is empty.
    #[error("no shard in keyspace")]
    Empty,
    /// A name is not a key range.
    #[error("{0}")]
    Name(String),
    /// Ids that no shard owns.
    #[error("no shard owns the key range {0}")]
    Gap(KeyRange),
    /// Ids that two shards own.
    #[error("shards '{0}' and '{1}' overlap")]
    Overlap(String, String),
}

// === impl KeyspaceId ===

impl KeyspaceId {
    /// The id with these bytes.
    #[must_use]
    pub fn new(id: &[u8]) -> Self {
        Self::of_parts(id, &[])
    }

    /// The id of a number: eight bytes, big-endian.
    #[must_use]
    pub fn from_u64(number: u64) -> Self {
        Self::new(&number.to_be_bytes())
    }

    /// The id that begins with `head` and goes on with `tail`.
    #[must_use]
    pub fn of_parts(head: &[u8], tail: &[u8]) -> Self {
        let len = head.len() + tail.len();
        match u8::try_from(len) {
            Ok(short) if len <= INLINE => {
                let mut bytes = [0; INLINE];
                bytes[..head.len()].copy_from_slice(head);
                bytes[head.len()..len].copy_from_slice(tail);
                Self(Repr::Inline { len: short, bytes })
            }
            _ => Self(Repr::Heap([head, tail].concat().into())),
        }
    }

    /// The id's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Heap(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for KeyspaceId {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(&bytes)
    }
}

impl AsRef<[u8]> for KeyspaceId {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for KeyspaceId {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for KeyspaceId {}

impl Hash for KeyspaceId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl PartialOrd for KeyspaceId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KeyspaceId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl fmt::Debug for KeyspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for KeyspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.as_bytes()))
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

    /// The ids that begin with `prefix`: `[prefix, prefix + 1)`. A prefix of 0xFF bytes only has no
    /// upper bound; an empty one gives the full range.
    #[must_use]
    pub fn of_prefix(prefix: &[u8]) -> Self {
        Self { start: prefix.to_vec(), end: successor(prefix) }
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

// === impl TabletType ===

impl TabletType {
    /// The word as in `USE ks@replica` and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Rdonly => "rdonly",
        }
    }
}

// === shards of a keyspace ===

/// Checks that the named shards own every id exactly once, and gives them in order of their ranges
/// as indexes into `names`.
///
/// # Errors
/// The first gap, overlap or unreadable name.
pub fn validate_shards<S: AsRef<str>>(names: &[S]) -> Result<Vec<usize>, TilingError> {
    let mut ranges = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        ranges.push((KeyRange::parse(name.as_ref()).map_err(TilingError::Name)?, index));
    }
    ranges.sort_by(|(a, _), (b, _)| trimmed(&a.start).cmp(trimmed(&b.start)));
    let Some((first, _)) = ranges.first() else {
        return Err(TilingError::Empty);
    };
    if !trimmed(&first.start).is_empty() {
        return Err(TilingError::Gap(KeyRange { start: Vec::new(), end: first.start.clone() }));
    }
    for pair in ranges.windows(2) {
        let [(left, a), (right, b)] = pair else { continue };
        if left.end.is_empty() || trimmed(&left.end) > trimmed(&right.start) {
            let name = |index: &usize| names[*index].as_ref().to_owned();
            return Err(TilingError::Overlap(name(a), name(b)));
        }
        if trimmed(&left.end) < trimmed(&right.start) {
            return Err(TilingError::Gap(KeyRange { start: left.end.clone(), end: right.start.clone() }));
        }
    }
    match ranges.last() {
        Some((last, _)) if !last.end.is_empty() => {
            Err(TilingError::Gap(KeyRange { start: last.end.clone(), end: Vec::new() }))
        }
        _ => Ok(ranges.into_iter().map(|(_, index)| index).collect()),
    }
}

/// The names of `count` shards of equal size, in order: `-40`, `40-80`, `80-c0`, `c0-` for 4, and `-`
/// for 1. Bounds have one byte up to 256 shards and two beyond; where `count` does not divide the
/// space, bounds are rounded down one by one, so that no shard gets all of the rest (Vitess,
/// `key.GenerateShardRanges`). None for 0 and for more than 65536.
#[must_use]
pub fn shard_names(count: usize) -> Option<Vec<String>> {
    let (space, width) = match count {
        1..=256 => (256, 2),
        257..=65536 => (65536, 4),
        _ => return None,
    };
    let bound = |index: usize| match index * space / count {
        0 => String::new(),
        end if end == space => String::new(),
        at => format!("{at:0width$x}"),
    };
    Some((0..count).map(|index| format!("{}-{}", bound(index), bound(index + 1))).collect())
}

/// The lowest byte string of the same length that is above every string with this prefix; empty where
/// there is none.
fn successor(prefix: &[u8]) -> Vec<u8> {
    let mut next = prefix.to_vec();
    for byte in next.iter_mut().rev() {
        let (sum, overflow) = byte.overflowing_add(1);
        *byte = sum;
        if !overflow {
            return next;
        }
    }
    Vec::new()
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &bytes[..end]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_shards_are_named_as_vitess_names_them() {
        let names = |count| shard_names(count).unwrap().join(" ");
        assert_eq!(names(1), "-");
        assert_eq!(names(2), "-80 80-");
        assert_eq!(names(4), "-40 40-80 80-c0 c0-");
        // Expectations of Vitess's TestGenerateShardRanges.
        assert_eq!(names(3), "-55 55-aa aa-");
        assert_eq!(names(10), "-19 19-33 33-4c 4c-66 66-80 80-99 99-b3 b3-cc cc-e6 e6-");
        let many = shard_names(512).unwrap();
        assert_eq!((many[0].as_str(), many[1].as_str()), ("-0080", "0080-0100"));
        assert_eq!(many[511], "ff80-");
        assert_eq!(shard_names(0), None);
        assert_eq!(shard_names(65537), None);
    }

    #[test]
    fn gaps_and_overlaps_are_named() {
        let check = |names: &[&str]| validate_shards(names).map_err(|error| error.to_string());
        assert_eq!(check(&["80-", "-40", "40-80"]), Ok(vec![1, 2, 0]));
        assert_eq!(check(&["0"]), Ok(vec![0]));
        assert_eq!(check(&["-8000", "80-"]), Ok(vec![0, 1]));
        assert_eq!(check(&[]), Err("no shard in keyspace".into()));
        assert_eq!(check(&["-40", "80-"]), Err("no shard owns the key range 40-80".into()));
        assert_eq!(check(&["-80"]), Err("no shard owns the key range 80-".into()));
        assert_eq!(check(&["80-"]), Err("no shard owns the key range -80".into()));
        assert_eq!(check(&["-80", "40-"]), Err("shards '-80' and '40-' overlap".into()));
        assert_eq!(check(&["-80", "0"]), Err("shards '-80' and '0' overlap".into()));
        assert_eq!(check(&["-8", "8-"]), Err("'-8' is not a key range".into()));
        assert_eq!(check(&["80-40"]), Err("'80-40' is an empty key range".into()));
    }

    #[test]
    fn a_prefix_of_ones_has_no_end() {
        assert_eq!(KeyRange::of_prefix(&[0x16, 0xff]).to_string(), "16ff-1700");
        assert_eq!(KeyRange::of_prefix(&[0xff, 0xff]).to_string(), "ffff-");
        assert_eq!(KeyRange::of_prefix(&[]), KeyRange::FULL);
    }

    proptest! {
        #[test]
        fn equal_shards_tile_and_one_owns_each_id(count in 1_usize..3000, id in proptest::collection::vec(any::<u8>(), 0..20)) {
            let names = shard_names(count).unwrap();
            prop_assert_eq!(validate_shards(&names), Ok((0..count).collect()));
            let owners = names.iter().filter(|name| KeyRange::parse(name).unwrap().contains(&id)).count();
            prop_assert_eq!(owners, 1);
        }

        #[test]
        fn parsing_never_panics_and_reads_back(text in ".{0,20}", bytes in "[0-9a-f]{0,8}-[0-9a-f]{0,8}") {
            for name in [&text, &bytes] {
                if let Ok(range) = KeyRange::parse(name) {
                    if name.contains('-') {
                        prop_assert_eq!(range.to_string(), name.to_lowercase());
                        prop_assert!(range.contains(&range.start));
                        prop_assert!(range.end.is_empty() || !range.contains(&range.end));
                    }
                    prop_assert!(range.intersects(&KeyRange::FULL));
                }
            }
        }

        #[test]
        fn ranges_intersect_where_one_holds_the_others_start(
            a in "[0-9a-f]{4}-[0-9a-f]{4}", b in "[0-9a-f]{4}-[0-9a-f]{4}"
        ) {
            if let (Ok(a), Ok(b)) = (KeyRange::parse(&a), KeyRange::parse(&b)) {
                prop_assert_eq!(a.intersects(&b), a.contains(&b.start) || b.contains(&a.start));
            }
        }

        #[test]
        fn ids_keep_their_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let id = KeyspaceId::new(&bytes);
            prop_assert_eq!(id.as_bytes(), &bytes[..]);
        }

        #[test]
        fn a_prefix_range_holds_what_begins_with_it(
            prefix in proptest::collection::vec(any::<u8>(), 0..4), rest in proptest::collection::vec(any::<u8>(), 0..6)
        ) {
            let id = [prefix.clone(), rest].concat();
            prop_assert!(KeyRange::of_prefix(&prefix).contains(&id));
        }
    }
}
