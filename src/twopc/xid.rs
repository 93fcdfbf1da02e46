//! What is a distributed transaction called, and what does its name tell?
//!
//! The id (dtid) is the global part of every branch's XA identifier, so that whoever finds a prepared
//! branch knows which shard holds the decision:
//!
//! ```text
//! g1.3f09a1c7.1y2p0ij32e8e7.4k.mid2xgz1
//! │  │        │             │  └ when it became distributed: Unix milliseconds, base 36; for people
//! │  │        │             └ a number counted by that gate, base 36
//! │  │        └ the gate's incarnation, base 36
//! │  └ the anchor: the shard that holds the decision
//! └ the form of this id
//! ```

use std::fmt;

use crate::topology::Shard;

/// The format id of our XA identifiers. Foreign ones (1 by default) are never touched. Fits MariaDB,
/// which takes 31 bits.
pub(super) const FORMAT: u32 = 0x5647_5431;

/// Names a shard in identifiers: derived from keyspace, shard and database, so that every gate and
/// every later process knows it. Shards that share one server differ by their databases, also those of
/// two clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u32);

/// The id of a distributed transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dtid {
    text: String,
    anchor: ShardId,
    started_ms: u64,
}

/// A branch: its transaction and its shard.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Xid {
    /// The transaction.
    pub dtid: Dtid,
    /// The shard of this branch.
    pub shard: ShardId,
}

// === impl ShardId ===

impl ShardId {
    /// The id of a shard.
    #[must_use]
    pub fn of(shard: &Shard) -> Self {
        let server = shard.primary().or_else(|| shard.tablets.first());
        let database = server.map(|tablet| &*tablet.schema).unwrap_or_default();
        // Names hold no '/'.
        let name = format!("{}/{}/{database}", shard.keyspace, shard.name);
        let hash = xxhash_rust::xxh64::xxh64(name.as_bytes(), 0);
        #[expect(clippy::cast_possible_truncation, reason = "both halves of the hash are used")]
        Self((hash >> 32) as u32 ^ hash as u32)
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 8 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digits { u32::from_str_radix(text, 16).ok().map(Self) } else { None }
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

// === impl Dtid ===

impl Dtid {
    /// A new id. `incarnation` is base 36 already.
    pub(super) fn new(anchor: ShardId, incarnation: &str, number: u64, now_ms: u64) -> Self {
        let text = format!("g1.{anchor}.{incarnation}.{}.{}", base36(number), base36(now_ms));
        Self { text, anchor, started_ms: now_ms }
    }

    /// Reads an id, such as a client's.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let mut next = || parts.next();
        if next()? != "g1" {
            return None;
        }
        let anchor = ShardId::parse(next()?)?;
        from_base36(next()?)?;
        from_base36(next()?)?;
        let started_ms = from_base36(next()?)?;
        if parts.next().is_some() {
            return None;
        }
        Some(Self { text: text.to_owned(), anchor, started_ms })
    }

    /// The id as clients and servers know it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The shard that holds the decision.
    #[must_use]
    pub fn anchor(&self) -> ShardId {
        self.anchor
    }

    /// When the transaction reached its second shard, in Unix milliseconds by its gate's clock.
    #[must_use]
    pub fn started_ms(&self) -> u64 {
        self.started_ms
    }
}

impl fmt::Display for Dtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// === impl Xid ===

impl Xid {
    /// Reads one row of XA RECOVER: the lengths of both parts, and the parts together. None for
    /// branches that are not ours.
    pub(super) fn read(format: u64, global: usize, branch: usize, data: &[u8]) -> Option<Self> {
        if format != u64::from(FORMAT) || data.len() != global + branch {
            return None;
        }
        let text = std::str::from_utf8(data).ok()?;
        let dtid = Dtid::parse(text.get(..global)?)?;
        let shard = ShardId::parse(text.get(global..)?.strip_prefix('r')?)?;
        Some(Self { dtid, shard })
    }

    /// As XA statements take it: `'g1.…','r3f09a1c7',1447515185`.
    #[must_use]
    pub fn literal(&self) -> String {
        format!("'{}','r{}',{FORMAT}", self.dtid, self.shard)
    }
}

/// A number in base 36.
#[must_use]
pub fn base36(mut number: u64) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut digits = Vec::new();
    loop {
        let digit = usize::try_from(number % 36).unwrap_or_default();
        digits.push(char::from(DIGITS[digit]));
        number /= 36;
        if number == 0 {
            return digits.iter().rev().collect();
        }
    }
}

fn from_base36(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z'));
    if digits { u64::from_str_radix(text, 36).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn longest_ids_fit_an_xid() {
        let dtid = Dtid::new(ShardId(u32::MAX), &base36(u64::MAX), u64::MAX, 1 << 42);
        // MySQL's limit for each part is 64 bytes.
        assert!(dtid.as_str().len() <= 64, "{dtid} has {} bytes", dtid.as_str().len());
        assert_eq!(FORMAT, 1_447_515_185);
    }

    #[test]
    fn foreign_branches_are_not_ours() {
        let dtid = Dtid::new(ShardId(7), "abc", 1, 2);
        let data = format!("{dtid}r00000009");
        let global = dtid.as_str().len();
        let ours = Xid::read(u64::from(FORMAT), global, 9, data.as_bytes());
        assert_eq!(ours, Some(Xid { dtid, shard: ShardId(9) }));
        assert_eq!(Xid::read(1, global, 9, data.as_bytes()), None);
        assert_eq!(Xid::read(u64::from(FORMAT), global + 1, 8, data.as_bytes()), None);
        assert_eq!(Xid::read(u64::from(FORMAT), 2, 2, b"g1b1"), None);
        assert_eq!(Xid::read(u64::from(FORMAT), 2, 2, b"\xff\xfe\xfd\xfc"), None);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for wrong in [
            "",
            "g1",
            "g2.00000001.a.b.c",
            "g1.1.a.b.c",
            "g1.0000000G.a.b.c",
            "g1.00000001.a.b",
            "g1.00000001.a.b.c.d",
            "g1.00000001.a.B.c",
            "g1.00000001.a.'.c",
        ] {
            assert_eq!(Dtid::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn ids_read_back(anchor: u32, incarnation: u64, number: u64, now: u64, shard: u32) {
            let dtid = Dtid::new(ShardId(anchor), &base36(incarnation), number, now);
            let read = Dtid::parse(dtid.as_str()).unwrap();
            prop_assert_eq!((read.anchor(), read.started_ms()), (ShardId(anchor), now));
            let xid = Xid { dtid, shard: ShardId(shard) };
            let data = format!("{}r{}", xid.dtid, xid.shard);
            let read = Xid::read(u64::from(FORMAT), xid.dtid.as_str().len(), 9, data.as_bytes());
            prop_assert_eq!(read, Some(xid));
        }

        #[test]
        fn any_bytes_are_read_without_panic(format: u64, global in 0usize..80, branch in 0usize..80, data: Vec<u8>) {
            let _ = Xid::read(format, global, branch, &data);
        }
    }
}
