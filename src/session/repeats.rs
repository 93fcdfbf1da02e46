//! Which queries does one client send again and again, each time with another value?
//!
//! The pattern of a loop over the rows of another query ("N+1"): one query with IN, or a join, could take the
//! place of all. A session looks at nothing but its own last statement; what others share is touched by the
//! tenth of a row, by every 64th and at its end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::statistics::StatementCounts;
use crate::metrics::TroubleMetrics;

/// How many in a row are a pattern.
const ROW: u64 = 10;

/// A row is told on after so many more.
const EVERY: u64 = 64;

/// How many patterns are kept; the one with the fewest statements makes room.
const CAPACITY: usize = 256;

/// The patterns of all sessions.
#[derive(Debug, Default)]
pub struct Repeats {
    patterns: Mutex<HashMap<Key, Arc<Pattern>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    target: Box<str>,
    text: Box<str>,
}

/// A query that sessions repeat.
#[derive(Debug)]
pub struct Pattern {
    /// Where it goes, as `USE` takes it.
    pub target: Box<str>,
    /// The query without values.
    pub text: Box<str>,
    /// Who did it last, and behind which query.
    last: Mutex<Last>,
    rows: AtomicU64,
    statements: AtomicU64,
    longest: AtomicU64,
}

/// Where a row of repetitions was seen last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Last {
    /// The user.
    pub user: String,
    /// The client's address.
    pub peer: String,
    /// The query before the row without values; empty where there was none.
    pub behind: Box<str>,
    /// How many rows that query had returned.
    pub behind_rows: u64,
}

/// How often a pattern was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Rows of repetitions.
    pub rows: u64,
    /// Statements of all of them.
    pub statements: u64,
    /// Statements of the longest.
    pub longest: u64,
}

/// What a session remembers of its last queries.
#[derive(Debug, Default)]
pub struct Run {
    /// The kind of query that is running in a row.
    kind: Option<Arc<StatementCounts>>,
    /// A hash of the last one's values.
    values: u64,
    length: u64,
    told: u64,
    /// Rows that the last one returned.
    rows: u64,
    /// The query before, and its rows.
    before: Option<(Arc<StatementCounts>, u64)>,
    pattern: Option<Arc<Pattern>>,
}

/// One query that a session has had answered.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Its kind.
    pub kind: &'a Arc<StatementCounts>,
    /// A hash of its values.
    pub values: u64,
    /// Rows returned.
    pub rows: u64,
    /// The client's user.
    pub user: &'a str,
    /// The client's address.
    pub peer: &'a str,
}

// === impl Repeats ===

impl Repeats {
    /// All patterns, the one with the most statements first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Pattern>> {
        let mut all: Vec<_> = self.lock().values().cloned().collect();
        all.sort_by_key(|pattern| std::cmp::Reverse(pattern.seen().statements));
        all
    }

    /// How often a query without values was repeated.
    pub(super) fn of(&self, target: &str, text: &str) -> Option<Seen> {
        let key = Key { target: target.into(), text: text.into() };
        self.lock().get(&key).map(|pattern| pattern.seen())
    }

    fn pattern(&self, kind: &StatementCounts) -> Arc<Pattern> {
        let key = Key { target: kind.target.clone(), text: kind.text.clone() };
        let mut patterns = self.lock();
        if let Some(known) = patterns.get(&key) {
            return Arc::clone(known);
        }
        if patterns.len() >= CAPACITY
            && let Some(least) = patterns
                .iter()
                .min_by_key(|(_, pattern)| pattern.seen().statements)
                .map(|(key, _)| key.clone())
        {
            patterns.remove(&least);
        }
        let pattern = Arc::new(Pattern {
            target: kind.target.clone(),
            text: kind.text.clone(),
            last: Mutex::default(),
            rows: AtomicU64::new(0),
            statements: AtomicU64::new(0),
            longest: AtomicU64::new(0),
        });
        patterns.insert(key, Arc::clone(&pattern));
        pattern
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Pattern>>> {
        self.patterns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Pattern ===

impl Pattern {
    /// How often it was seen.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Seen { rows: read(&self.rows), statements: read(&self.statements), longest: read(&self.longest) }
    }

    /// Where it was seen last.
    #[must_use]
    pub fn last(&self) -> Last {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

// === impl Run ===

impl Run {
    /// Hot path: a query was answered.
    pub fn note(&mut self, query: Query<'_>, repeats: &Repeats, metrics: &TroubleMetrics) {
        let same = self.kind.as_ref().is_some_and(|kind| Arc::ptr_eq(kind, query.kind));
        if !same {
            self.end(metrics);
            let before = self.kind.replace(Arc::clone(query.kind));
            *self = Self {
                kind: self.kind.take(),
                values: query.values,
                length: 1,
                rows: query.rows,
                before: before.map(|before| (before, self.rows)),
                ..Self::default()
            };
            return;
        }
        self.rows = query.rows;
        if std::mem::replace(&mut self.values, query.values) == query.values {
            return;
        }
        self.length += 1;
        if self.length == ROW {
            let pattern = repeats.pattern(query.kind);
            pattern.rows.fetch_add(1, Ordering::Relaxed);
            metrics.repetitions.inc();
            let (behind, behind_rows) =
                self.before.as_ref().map(|(kind, rows)| (kind.text.clone(), *rows)).unwrap_or_default();
            let last = Last { user: query.user.to_owned(), peer: query.peer.to_owned(), behind, behind_rows };
            *pattern.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
            self.pattern = Some(pattern);
            self.tell(metrics);
        } else if self.length.is_multiple_of(EVERY) {
            self.tell(metrics);
        }
    }

    /// The row is over.
    pub fn end(&mut self, metrics: &TroubleMetrics) {
        self.tell(metrics);
        self.pattern = None;
    }

    /// Adds what has not been told yet.
    fn tell(&mut self, metrics: &TroubleMetrics) {
        let Some(pattern) = &self.pattern else { return };
        let more = self.length - self.told;
        self.told = self.length;
        pattern.statements.fetch_add(more, Ordering::Relaxed);
        pattern.longest.fetch_max(self.length, Ordering::Relaxed);
        metrics.repeated.inc_by(more);
    }
}

#[cfg(test)]
mod tests {
    use super::super::statistics::Statistics;
    use super::*;
    use crate::metrics::Metrics;

    struct Bed {
        statistics: Statistics,
        repeats: Repeats,
        metrics: Metrics,
    }

    impl Bed {
        fn new() -> Self {
            let (statistics, repeats) = (Statistics::default(), Repeats::default());
            Self { statistics, repeats, metrics: Metrics::new().unwrap() }
        }

        fn query(&self, run: &mut Run, text: &str, values: u64, rows: u64) {
            let kind = self.statistics.of("ks", text.to_owned(), "Passthrough", &[]);
            let query = Query { kind: &kind, values, rows, user: "shop", peer: "10.0.0.1:5" };
            run.note(query, &self.repeats, &self.metrics.trouble);
        }
    }

    #[test]
    fn a_loop_over_the_rows_of_a_query_is_a_pattern() {
        let bed = Bed::new();
        let mut run = Run::default();
        for _ in 0..2 {
            bed.query(&mut run, "list", 7, 100);
            for id in 0..100 {
                bed.query(&mut run, "one", id, 1);
            }
        }
        run.end(&bed.metrics.trouble);
        let all = bed.repeats.all();
        let [one] = &all[..] else { panic!("{all:?}") };
        assert_eq!((&*one.target, &*one.text), ("ks", "one"));
        assert_eq!(one.seen(), Seen { rows: 2, statements: 200, longest: 100 });
        let behind = "list".into();
        let last = Last { user: "shop".into(), peer: "10.0.0.1:5".into(), behind, behind_rows: 100 };
        assert_eq!(one.last(), last);
        assert_eq!(bed.repeats.of("ks", "one"), Some(one.seen()));
        assert_eq!(bed.repeats.of("ks", "list"), None);
        let trouble = &bed.metrics.trouble;
        assert_eq!((trouble.repetitions.get(), trouble.repeated.get()), (2, 200));
    }

    #[test]
    fn few_in_a_row_the_same_value_and_turns_are_none() {
        let bed = Bed::new();
        let mut run = Run::default();
        for id in 1..ROW {
            bed.query(&mut run, "few", id, 1);
        }
        for _ in 0..50 {
            bed.query(&mut run, "poll", 1, 1);
        }
        for id in 0..50 {
            bed.query(&mut run, "a", id, 1);
            bed.query(&mut run, "b", id, 1);
        }
        run.end(&bed.metrics.trouble);
        assert!(bed.repeats.all().is_empty());
    }

    #[test]
    fn a_long_row_is_told_before_it_ends_and_patterns_are_bounded() {
        let bed = Bed::new();
        let mut run = Run::default();
        for id in 0..EVERY {
            bed.query(&mut run, "long", id, 1);
        }
        assert_eq!(bed.repeats.all()[0].seen().statements, EVERY);
        for n in 0..2 * CAPACITY {
            for id in 0..ROW {
                bed.query(&mut run, &format!("short {n}"), id, 1);
            }
        }
        let all = bed.repeats.all();
        assert_eq!(all.len(), CAPACITY);
        assert_eq!(&*all[0].text, "long");
    }
}
