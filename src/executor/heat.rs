//! Which shards and which keys get most of the statements?
//!
//! Hot path: a statement for one shard draws a random number, and one in [`SAMPLE`] goes on to count. What is
//! counted is bounded: the busiest ids of each keyspace by the space-saving algorithm (Metwally, Agrawal and
//! El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams", 2005), which never
//! counts an id too low and says by how much it may be too high. Two windows follow each other, so that what
//! is told is of the last half to whole minute.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use xxhash_rust::xxh64::xxh64;

use crate::key::KeyspaceId;
use crate::topology::Shard;
use crate::vindex::Vindex;

/// One in so many statements is counted.
pub const SAMPLE: u32 = 16;

/// How many ids of a keyspace are followed at a time.
const IDS: usize = 256;

/// How long one window is.
const WINDOW: Duration = Duration::from_secs(30);

/// How many samples a keyspace needs before anything is called hot.
const ENOUGH: u64 = 100;

/// The part of a keyspace's statements from which on an id is hot.
const HOT_ID: f64 = 0.1;

/// How many times its even part a shard gets when it is hot.
const HOT_SHARD: f64 = 2.0;

/// Vindexes whose ids do not hold the value as it is.
const OPAQUE: [&str; 5] = ["hash", "xxhash", "binary_md5", "unicode_loose_md5", "unicode_loose_xxhash"];

/// Samples of where statements for one shard go.
#[derive(Debug)]
pub struct Heat {
    shows_values: bool,
    windows: Mutex<Windows>,
}

/// The load of one keyspace.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyspaceHeat {
    /// The keyspace.
    pub keyspace: Arc<str>,
    /// Samples; one stands for [`SAMPLE`] statements.
    pub samples: u64,
    /// Its shards that were asked, the busiest first.
    pub shards: Vec<ShardHeat>,
    /// Its busiest keys, the busiest first.
    pub keys: Vec<KeyHeat>,
}

/// The load of one shard.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardHeat {
    /// Its name.
    pub shard: Arc<str>,
    /// Its part of the keyspace's samples, 0 to 1.
    pub part: f64,
    /// Much more than its even part.
    pub is_hot: bool,
}

/// The load of one keyspace id.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyHeat {
    /// The id in hexadecimal; or `xxh64:` and a hash of it, where the id holds the value itself and values
    /// are not shown.
    pub id: String,
    /// Its shard.
    pub shard: Arc<str>,
    /// The least part of the keyspace's samples that are its, 0 to 1.
    pub part: f64,
    /// A part that one key should not have.
    pub is_hot: bool,
}

#[derive(Debug, Default)]
struct Windows {
    /// When the present one began.
    since: Option<Instant>,
    present: Window,
    last: Window,
}

type Window = BTreeMap<Arc<str>, Samples>;

/// The samples of one keyspace in one window.
#[derive(Debug, Default, Clone)]
struct Samples {
    all: u64,
    shards: BTreeMap<Arc<str>, u64>,
    ids: HashMap<Id, Count>,
}

/// What an id is told as.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Id {
    Plain(KeyspaceId),
    Hashed(u64),
}

#[derive(Debug, Clone)]
struct Count {
    shard: Arc<str>,
    seen: u64,
    /// How many of these may be of ids that made room.
    over: u64,
}

// === impl Heat ===

impl Heat {
    /// No samples. `shows_values` says whether ids may be told that hold a client's value as it is.
    #[must_use]
    pub fn new(shows_values: bool) -> Self {
        Self { shows_values, windows: Mutex::default() }
    }

    /// Hot path: counts a statement for one id, if it is drawn.
    pub fn note(&self, vindex: &Vindex, id: &KeyspaceId, shard: &Shard) {
        if rand::random::<u32>().is_multiple_of(SAMPLE) {
            let plain = self.shows_values || OPAQUE.contains(&vindex.type_name());
            let id = if plain { Id::Plain(id.clone()) } else { Id::Hashed(xxh64(id.as_bytes(), 0)) };
            self.lock().at(Instant::now()).entry(Arc::clone(&shard.keyspace)).or_default().add(id, shard);
        }
    }

    /// The load of every keyspace that had some in the last minute; `shards` tells how many shards one has.
    #[must_use]
    pub fn report(&self, shards: impl Fn(&str) -> usize) -> Vec<KeyspaceHeat> {
        let mut windows = self.lock();
        windows.at(Instant::now());
        let mut all = windows.last.clone();
        for (keyspace, samples) in &windows.present {
            all.entry(Arc::clone(keyspace)).or_default().join(samples);
        }
        drop(windows);
        all.into_iter()
            .map(|(keyspace, samples)| {
                let even = 1.0 / ratio(shards(&keyspace).max(1) as u64, 1);
                samples.told(keyspace, even)
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Windows> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Windows ===

impl Windows {
    /// The window of a moment.
    fn at(&mut self, now: Instant) -> &mut Window {
        let since = *self.since.get_or_insert(now);
        let age = now.duration_since(since);
        if age >= WINDOW {
            self.last = std::mem::take(&mut self.present);
            if age >= WINDOW * 2 {
                self.last.clear();
            }
            self.since = Some(now);
        }
        &mut self.present
    }
}

// === impl Samples ===

impl Samples {
    fn add(&mut self, id: Id, shard: &Shard) {
        self.all += 1;
        *self.shards.entry(Arc::clone(&shard.name)).or_default() += 1;
        if let Some(count) = self.ids.get_mut(&id) {
            count.seen += 1;
            return;
        }
        let mut over = 0;
        if self.ids.len() >= IDS
            && let Some((least, count)) = self.ids.iter().min_by_key(|(_, count)| count.seen)
        {
            over = count.seen;
            let least = least.clone();
            self.ids.remove(&least);
        }
        self.ids.insert(id, Count { shard: Arc::clone(&shard.name), seen: over + 1, over });
    }

    fn join(&mut self, other: &Self) {
        self.all += other.all;
        for (shard, count) in &other.shards {
            *self.shards.entry(Arc::clone(shard)).or_default() += count;
        }
        for (id, more) in &other.ids {
            let fresh = || Count { shard: Arc::clone(&more.shard), seen: 0, over: 0 };
            let count = self.ids.entry(id.clone()).or_insert_with(fresh);
            count.seen += more.seen;
            count.over += more.over;
        }
    }

    /// `even` is the part of a shard when all get the same.
    fn told(self, keyspace: Arc<str>, even: f64) -> KeyspaceHeat {
        let enough = self.all >= ENOUGH;
        let mut shards: Vec<_> = self.shards.into_iter().collect();
        shards.sort_by_key(|(_, count)| Reverse(*count));
        let shards = shards.into_iter().map(|(shard, count)| {
            let part = ratio(count, self.all);
            // Of one shard that has everything there is nothing to say; of two one cannot have more than twice.
            let is_hot = enough && even < 1.0 && part >= (even * HOT_SHARD).min(0.8);
            ShardHeat { shard, part, is_hot }
        });
        let least = |count: &Count| count.seen - count.over;
        let mut ids: Vec<_> = self.ids.into_iter().filter(|(_, count)| least(count) > 0).collect();
        ids.sort_by(|(a, x), (b, y)| (least(y), a).cmp(&(least(x), b)));
        let keys = ids.into_iter().map(|(id, count)| {
            let part = ratio(least(&count), self.all);
            let id = match id {
                Id::Plain(id) => id.to_string(),
                Id::Hashed(hash) => format!("xxh64:{hash:016x}"),
            };
            KeyHeat { id, part, is_hot: enough && part >= HOT_ID, shard: count.shard }
        });
        KeyspaceHeat { keyspace, samples: self.all, shards: shards.collect(), keys: keys.collect() }
    }
}

#[expect(clippy::cast_precision_loss, reason = "parts for people")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::key::KeyRange;

    fn shard(name: &str) -> Shard {
        Shard {
            keyspace: "ks".into(),
            name: name.into(),
            range: KeyRange::parse(name).unwrap(),
            tablets: Vec::new(),
        }
    }

    fn id(number: u64) -> Id {
        Id::Plain(KeyspaceId::from_u64(number))
    }

    #[test]
    fn a_hot_key_is_found_among_many_and_never_counted_too_high() {
        let mut samples = Samples::default();
        let (low, high) = (shard("-80"), shard("80-"));
        for number in 0..10_000 {
            samples.add(id(number + 10), &high);
            if number % 4 == 0 {
                samples.add(id(1), &low);
            }
        }
        assert!(samples.ids.len() <= IDS);
        let told = samples.told("ks".into(), 0.5);
        assert_eq!(told.samples, 12_500);
        let [first, second, ..] = &told.keys[..] else { panic!("{told:?}") };
        assert_eq!((&*first.id, &*first.shard, first.is_hot), ("0000000000000001", "-80", true));
        assert!(first.part <= 0.2 && first.part > 0.19, "{first:?}");
        assert!(!second.is_hot && second.part < 0.01, "{second:?}");
        assert_eq!((&*told.shards[0].shard, told.shards[0].part), ("80-", 0.8));
        assert!(told.shards[0].is_hot && !told.shards[1].is_hot);
    }

    #[test]
    fn nothing_is_hot_while_there_is_little() {
        let mut samples = Samples::default();
        for _ in 1..ENOUGH {
            samples.add(id(1), &shard("-80"));
        }
        let told = samples.clone().told("ks".into(), 0.25);
        assert!(!told.keys[0].is_hot && !told.shards[0].is_hot);
        samples.add(id(1), &shard("-80"));
        let told = samples.clone().told("ks".into(), 0.25);
        assert!(told.keys[0].is_hot && told.shards[0].is_hot);
        // A keyspace of one shard.
        assert!(!samples.told("ks".into(), 1.0).shards[0].is_hot);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_long_ago_is_forgotten() {
        let heat = Heat::new(false);
        let count = || heat.report(|_| 2).first().map_or(0, |one| one.samples);
        let add = || {
            heat.lock().at(Instant::now()).entry("ks".into()).or_default().add(id(1), &shard("-80"));
        };
        add();
        tokio::time::advance(WINDOW).await;
        add();
        assert_eq!(count(), 2);
        tokio::time::advance(WINDOW).await;
        assert_eq!(count(), 1);
        tokio::time::advance(WINDOW * 2).await;
        assert_eq!(count(), 0);
    }

    #[test]
    fn an_id_that_is_the_value_is_not_told() {
        let vindex = |kind: &str| Vindex::new("v", kind, &BTreeMap::new()).unwrap();
        let secret = KeyspaceId::from(b"secret".to_vec());
        let told = |heat: &Heat| heat.report(|_| 1)[0].keys[0].id.clone();
        let many = 400 * SAMPLE;
        let hidden = Heat::new(false);
        (0..many).for_each(|_| hidden.note(&vindex("binary"), &secret, &shard("0")));
        assert!(told(&hidden).starts_with("xxh64:"), "{}", told(&hidden));
        let samples = hidden.report(|_| 1)[0].samples;
        assert!((200..800).contains(&samples), "one in {SAMPLE} of {many} is drawn, not {samples}");
        let shown = Heat::new(true);
        (0..many).for_each(|_| shown.note(&vindex("binary"), &secret, &shard("0")));
        assert_eq!(told(&shown), secret.to_string());
        let opaque = Heat::new(false);
        (0..many).for_each(|_| opaque.note(&vindex("xxhash"), &secret, &shard("0")));
        assert_eq!(told(&opaque), secret.to_string());
    }
}
