//! What has each kind of statement cost so far?
//!
//! Statements that differ in their values only count together, by the keyspace and type of server that
//! they are for, and by the type of their plan. A cached plan holds its counts: an execution adds to a few numbers, looks nothing up and
//! takes no lock. The list is only locked when a statement is planned, and when somebody reads it. It is
//! bounded; where it is full, those with the fewest executions make room.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many kinds of statements are told apart.
const CAPACITY: usize = 4096;

/// The upper bounds of the counts of times, in microseconds; what took longer counts in one more. The
/// metrics' bounds (Vitess's), so that both can be compared.
pub const BOUNDS: [u64; 10] =
    [500, 1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000, 10_000_000];

/// Every kind of statement that was planned.
#[derive(Debug, Default)]
pub struct Statistics {
    statements: Mutex<HashMap<Key, Arc<StatementCounts>>>,
    forgotten: AtomicU64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    target: Box<str>,
    text: Box<str>,
    plan: &'static str,
}

/// What one kind of statement has cost.
#[derive(Debug)]
pub struct StatementCounts {
    /// Where it goes, as `USE` takes it: `service`, `service@replica`; empty without a keyspace.
    pub target: Box<str>,
    /// The statement without values ([`crate::sql::digest`]).
    pub text: Box<str>,
    /// The type of its plan. The same text may have several: `IN (1)` is one shard's, `IN (1, 2)` is not.
    pub plan: &'static str,
    /// `keyspace.table` of its tables.
    pub tables: Vec<String>,
    times: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
    errors: AtomicU64,
    shards: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
    gathers: AtomicU64,
}

/// What one execution has cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// From the command's arrival to the end of its answer.
    pub time: Duration,
    /// It ended in an error.
    pub failed: bool,
    /// Shard queries.
    pub shards: u64,
    /// Rows sent or changed.
    pub rows: u64,
    /// Bytes of the answer.
    pub bytes: u64,
}

/// The numbers of one kind of statement, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Executions.
    pub count: u64,
    /// Those that ended in an error.
    pub errors: u64,
    /// Shard queries.
    pub shards: u64,
    /// Rows sent or changed.
    pub rows: u64,
    /// Bytes of the answers.
    pub bytes: u64,
    /// Executions that were answered over copies of their tables.
    pub gathers: u64,
    /// Time of all executions.
    pub time: Duration,
    /// Executions within each of [`BOUNDS`], and beyond the last; not cumulative.
    pub times: [u64; BOUNDS.len() + 1],
}

// === impl Statistics ===

impl Statistics {
    /// The counts of a kind of statement.
    #[must_use]
    pub fn of(
        &self,
        target: &str,
        text: String,
        plan: &'static str,
        tables: &[String],
    ) -> Arc<StatementCounts> {
        let key = Key { target: target.into(), text: text.into(), plan };
        let mut statements = self.lock();
        if let Some(known) = statements.get(&key) {
            return Arc::clone(known);
        }
        if statements.len() >= CAPACITY {
            self.make_room(&mut statements);
        }
        let counts = Arc::new(StatementCounts::new(&key, tables));
        statements.insert(key, Arc::clone(&counts));
        counts
    }

    /// All that is known, the most time first.
    #[must_use]
    pub fn all(&self) -> Vec<(Arc<StatementCounts>, Totals)> {
        let mut all: Vec<_> =
            self.lock().values().map(|counts| (Arc::clone(counts), counts.totals())).collect();
        all.retain(|(_, totals)| totals.count > 0);
        all.sort_by(|(a, x), (b, y)| (y.time, &a.text, &a.target).cmp(&(x.time, &b.text, &b.target)));
        all
    }

    /// How many kinds of statements had to make room since the start.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    /// Drops the eighth that was executed least.
    fn make_room(&self, statements: &mut HashMap<Key, Arc<StatementCounts>>) {
        let mut counts: Vec<_> = statements.values().map(|one| one.totals().count).collect();
        counts.sort_unstable();
        let bound = counts[CAPACITY / 8];
        let mut left = CAPACITY / 8;
        statements.retain(|_, one| {
            let goes = left > 0 && one.totals().count <= bound;
            left -= usize::from(goes);
            !goes
        });
        self.forgotten.fetch_add((CAPACITY / 8 - left) as u64, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<StatementCounts>>> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl StatementCounts ===

impl StatementCounts {
    fn new(key: &Key, tables: &[String]) -> Self {
        Self {
            target: key.target.clone(),
            text: key.text.clone(),
            plan: key.plan,
            tables: tables.to_vec(),
            times: Default::default(),
            nanoseconds: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            shards: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            gathers: AtomicU64::new(0),
        }
    }

    /// Hot path: counts one execution.
    pub fn add(&self, cost: Cost) {
        let micros = u64::try_from(cost.time.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        let add = |counter: &AtomicU64, more: u64| {
            if more > 0 {
                counter.fetch_add(more, Ordering::Relaxed);
            }
        };
        add(&self.times[at], 1);
        add(&self.nanoseconds, u64::try_from(cost.time.as_nanos()).unwrap_or(u64::MAX));
        add(&self.errors, u64::from(cost.failed));
        add(&self.shards, cost.shards);
        add(&self.rows, cost.rows);
        add(&self.bytes, cost.bytes);
    }

    /// Counts one execution that was answered over copies of its tables.
    pub(super) fn gathered(&self) {
        self.gathers.fetch_add(1, Ordering::Relaxed);
    }

    /// The numbers as they are now.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut times = [0; BOUNDS.len() + 1];
        for (time, counter) in times.iter_mut().zip(&self.times) {
            *time = read(counter);
        }
        Totals {
            count: times.iter().sum(),
            errors: read(&self.errors),
            shards: read(&self.shards),
            rows: read(&self.rows),
            bytes: read(&self.bytes),
            gathers: read(&self.gathers),
            time: Duration::from_nanos(read(&self.nanoseconds)),
            times,
        }
    }
}

// === impl Totals ===

impl Totals {
    /// The bound that this share of the executions kept within, in microseconds; none where it is
    /// beyond the last.
    #[must_use]
    pub fn within(&self, share: f64) -> Option<u64> {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count and a share of it"
        )]
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bound, count) in BOUNDS.iter().zip(self.times) {
            seen += count;
            if seen >= wanted {
                return Some(*bound);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(micros: u64) -> Cost {
        Cost { time: Duration::from_micros(micros), failed: false, shards: 2, rows: 3, bytes: 100 }
    }

    #[test]
    fn executions_add_up() {
        let statistics = Statistics::default();
        let of = |plan| statistics.of("ks", "select ?".to_owned(), plan, &["ks.t".to_owned()]);
        let counts = of("Scatter");
        counts.add(cost(400));
        counts.add(cost(2_000));
        counts.add(Cost { failed: true, ..cost(20_000_000) });
        of("Scatter").add(cost(600));
        of("Passthrough").add(cost(1));
        let all = statistics.all();
        let [(scatter, totals), (other, one)] = &all[..] else { panic!("{all:?}") };
        assert_eq!((scatter.plan, other.plan, one.count), ("Scatter", "Passthrough", 1));
        assert_eq!(
            (totals.count, totals.errors, totals.shards, totals.rows, totals.bytes),
            (4, 1, 8, 12, 400)
        );
        assert_eq!(totals.time, Duration::from_millis(20_003));
        assert_eq!(totals.times, [1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        let within = [0.5, 0.75, 0.99].map(|share| totals.within(share));
        assert_eq!(within, [Some(1_000), Some(5_000), None]);
    }

    #[test]
    fn a_flood_of_statements_does_not_push_out_the_busy_ones() {
        let statistics = Statistics::default();
        let busy = statistics.of("ks", "busy".to_owned(), "Passthrough", &[]);
        for _ in 0..10 {
            busy.add(cost(1));
        }
        for n in 0..3 * CAPACITY {
            statistics.of("ks", format!("select {n}"), "Local", &[]).add(cost(1));
        }
        assert!(statistics.lock().len() <= CAPACITY);
        assert!(statistics.forgotten() > 0);
        assert_eq!(statistics.all()[0].0.text, busy.text);
        assert_eq!(statistics.all()[0].1.count, 10);
    }
}
