//! Has this statement been planned before?
//!
//! The key is the statement's skeleton (its text with the literals taken out) and everything else
//! that planning looks at: the selected target, the parts of sql_mode that change parsing, and the
//! VSchema's epoch. A new VSchema therefore retires every older plan without a sweep; the cache
//! drops them as they age out.

use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::IntCounter;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Equivalent, Lifecycle, Weighter};

use super::statistics::StatementCounts;
use super::target::Target;
use crate::key::TabletType;
use crate::metrics::{ExecutionSeries, QueryMetrics};
use crate::planner::{Advice, Plan, plan_type};
use crate::sql::LexOptions;
use crate::vschema::VSchema;

/// What planning looks at besides the statement.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The selected target.
    pub target: Target,
    /// How the text was cut into tokens: the parts of sql_mode that change parsing, and the servers'
    /// version.
    pub options: LexOptions,
    /// Whether literals were left in the text because the statement is prepared.
    pub prepared: bool,
    /// The VSchema that the plan is made on.
    pub epoch: u64,
}

/// A plan with the metrics that its executions count into.
#[derive(Debug)]
pub struct Planned {
    plan: Plan,
    /// Executions, and shard queries that they made.
    pub series: ExecutionSeries,
    /// What statements of this kind have cost.
    pub(super) counts: Arc<StatementCounts>,
    /// Executions by table, and by what the plan might do better.
    counted: Vec<IntCounter>,
    /// What the plan might do better.
    reasons: Vec<&'static str>,
}

/// The plans of all sessions. Bounded by the bytes of its keys and an estimate of its plans.
#[derive(Debug)]
pub struct PlanCache {
    cache: Cache<Key, Arc<Planned>, ByWeight, DefaultHashBuilder, Evictions>,
    evictions: Arc<AtomicU64>,
    hits: AtomicU64,
    misses: AtomicU64,
    capacity: u64,
}

/// Numbers for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistics {
    /// Lookups that found a plan.
    pub hits: u64,
    /// Lookups that found none.
    pub misses: u64,
    /// Plans pushed out by others.
    pub evictions: u64,
    /// Plans in the cache.
    pub length: u64,
    /// Their estimated bytes.
    pub size: u64,
    /// The bound on `size`.
    pub capacity: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    skeleton: Box<[u8]>,
    scope: Scope,
}

/// A key that borrows, so that a hit allocates nothing.
struct KeyRef<'a> {
    skeleton: &'a [u8],
    scope: &'a Scope,
}

#[derive(Debug, Clone)]
struct ByWeight;

/// Counts what is pushed out.
#[derive(Debug, Clone)]
struct Evictions(Arc<AtomicU64>);

/// What a plan is assumed to weigh beyond its key: the node, its templates and its names.
const PLAN_WEIGHT: u64 = 1024;

// === impl Planned ===

impl Planned {
    /// Resolves the metrics of a plan. Tables that the VSchema does not list have none, so that
    /// clients cannot make series.
    pub fn new(
        plan: Plan,
        metrics: &QueryMetrics,
        vschema: &VSchema,
        tablet_type: TabletType,
        counts: Arc<StatementCounts>,
    ) -> Self {
        let query = plan.kind.label().to_ascii_uppercase();
        let tablet = tablet_type.as_str().to_ascii_uppercase();
        let series = metrics.execution(&query, plan_type(&plan), &tablet);
        let listed = |name: &&String| {
            let (keyspace, table) = name.split_once('.').unwrap_or_default();
            vschema.keyspace(keyspace).is_some_and(|keyspace| keyspace.table(table).is_some())
        };
        let counted = plan.tables.iter().filter(listed).map(|name| metrics.by_table(&query, name)).collect();
        Self { plan, series, counts, counted, reasons: Vec::new() }
    }

    /// The same, counted by what it might do better as well.
    #[must_use]
    pub fn advised(mut self, advice: &[Advice], metrics: &QueryMetrics) -> Self {
        let mut reasons: Vec<&'static str> = advice.iter().map(Advice::reason).collect();
        reasons.sort_unstable();
        reasons.dedup();
        self.counted.extend(reasons.iter().map(|reason| metrics.advised(reason)));
        self.reasons = reasons;
        self
    }

    /// What the plan might do better ([`Advice::reason`]).
    pub fn reasons(&self) -> &[&'static str] {
        &self.reasons
    }

    /// What statements of this kind have cost.
    pub fn counts(&self) -> &StatementCounts {
        &self.counts
    }

    /// Counts one execution.
    pub fn executed(&self) {
        self.series.executions.inc();
        for counter in &self.counted {
            counter.inc();
        }
    }
}

impl Deref for Planned {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.plan
    }
}

// === impl PlanCache ===

impl PlanCache {
    /// A cache of at most `capacity` bytes.
    pub fn new(capacity: u64) -> Self {
        let estimated = usize::try_from(capacity / (PLAN_WEIGHT * 2)).unwrap_or(usize::MAX);
        let evictions = Arc::new(AtomicU64::new(0));
        let hasher = DefaultHashBuilder::default();
        let counts = Evictions(Arc::clone(&evictions));
        Self {
            cache: Cache::with(estimated, capacity, ByWeight, hasher, counts),
            evictions,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            capacity,
        }
    }

    /// The plan of a skeleton in a scope.
    pub fn get(&self, skeleton: &[u8], scope: &Scope) -> Option<Arc<Planned>> {
        let plan = self.cache.get(&KeyRef { skeleton, scope });
        let counter = if plan.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        plan
    }

    /// Keeps a plan.
    pub fn insert(&self, skeleton: &[u8], scope: &Scope, plan: Arc<Planned>) {
        self.cache.insert(Key { skeleton: skeleton.into(), scope: scope.clone() }, plan);
    }

    /// Plans of this VSchema as they were asked for: the scope, the statement with a `?` for each literal
    /// that was taken out, and the plan; at most so many.
    pub fn plans(&self, epoch: u64, most: usize) -> Vec<(Scope, Vec<u8>, Arc<Planned>)> {
        let current = self.cache.iter().filter(|(key, _)| key.scope.epoch == epoch).take(most);
        current.map(|(key, plan)| (key.scope, readable(&key.skeleton), plan)).collect()
    }

    /// Numbers for metrics.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evictions: self.evictions.load(Ordering::Relaxed),
            length: self.cache.len() as u64,
            size: self.cache.weight(),
            capacity: self.capacity,
        }
    }
}

/// A key as a statement: what stands for a literal is a NUL and two bytes (`crate::sql::Normalizer`).
fn readable(skeleton: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(skeleton.len());
    let mut rest = skeleton.iter();
    while let Some(byte) = rest.next() {
        if *byte == 0 {
            rest.next();
            rest.next();
            text.push(b'?');
        } else {
            text.push(*byte);
        }
    }
    text
}

// === impl Key ===

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        KeyRef { skeleton: &self.skeleton, scope: &self.scope }.hash(state);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.skeleton.hash(state);
        self.scope.hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.skeleton == *key.skeleton && *self.scope == key.scope
    }
}

impl Lifecycle<Key, Arc<Planned>> for Evictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: Key, _: Arc<Planned>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Weighter<Key, Arc<Planned>> for ByWeight {
    fn weight(&self, key: &Key, _: &Arc<Planned>) -> u64 {
        key.skeleton.len() as u64 + PLAN_WEIGHT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::{Node, SessionCommand, StatementKind};

    fn scope(epoch: u64) -> Scope {
        Scope { target: Target::NONE, options: LexOptions::default(), prepared: false, epoch }
    }

    fn plan() -> Arc<Planned> {
        let plan = Plan {
            kind: StatementKind::Other,
            node: Node::Session(SessionCommand::Nothing),
            tables: Vec::new(),
            uses_tables: false,
            params: 0,
            reads_session: false,
            counts_rows: false,
            insert_id: crate::planner::InsertId::Told,
            temporary: None,
        };
        let vschema = VSchema::from_json("{}", 1).unwrap();
        let metrics = crate::metrics::Metrics::new().unwrap();
        let counts = super::super::statistics::Statistics::default().of("", String::new(), "Local", &[]);
        Arc::new(Planned::new(plan, &metrics.query, &vschema, TabletType::Primary, counts))
    }

    #[test]
    fn a_plan_is_found_only_in_its_scope() {
        let cache = PlanCache::new(1 << 20);
        cache.insert(b"do \0i", &scope(1), plan());
        assert!(cache.get(b"do \0i", &scope(1)).is_some());
        assert!(cache.get(b"do \0i", &scope(2)).is_none());
        assert!(cache.get(b"do \0s", &scope(1)).is_none());
        let statistics = cache.statistics();
        assert_eq!((statistics.hits, statistics.misses, statistics.length), (1, 2, 1));
    }

    #[test]
    fn a_key_reads_as_a_statement() {
        let mut normalizer = crate::sql::Normalizer::new();
        let text = b"select a from t where b = 'x' and c = 'x' and d in (1, 2) order by 1";
        normalizer.read(text, LexOptions::default(), true);
        let cache = PlanCache::new(1 << 20);
        cache.insert(normalizer.key(), &scope(1), plan());
        cache.insert(b"old", &scope(2), plan());
        let plans = cache.plans(1, 10);
        let [(_, text, _)] = &plans[..] else { panic!("{plans:?}") };
        let expected = "select a from t where b = ? and c = ? and d in (?, ?) order by 1";
        assert_eq!(String::from_utf8_lossy(text), expected);
    }

    #[test]
    fn the_cache_keeps_to_its_capacity() {
        let cache = PlanCache::new(64 * 1024);
        for n in 0..10_000 {
            cache.insert(format!("do {n}").as_bytes(), &scope(1), plan());
        }
        let statistics = cache.statistics();
        assert!(statistics.size <= 64 * 1024);
        assert_eq!(statistics.length + statistics.evictions, 10_000);
    }
}
