//! What is counted about clients' statements and transactions?
//!
//! Hot path: a statement touches pre-resolved handles only ([`ApiSeries`], [`ExecutionSeries`]):
//! no label lookup, no allocation. A session resolves its [`ApiSeries`] again when its keyspace or
//! tablet type changes; a cached plan keeps its [`ExecutionSeries`].

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::{Histogram, IntCounter, IntGauge};

use super::family::{Counters, Histograms};
use super::labels::{CommitMode, Operation, ShardSpread, TransactionEnd, WarningKind};
use super::register::{Register, SHARDS};

/// What is counted about clients' statements and transactions.
#[derive(Debug)]
pub struct QueryMetrics {
    api: Histograms,
    api_errors: Counters,
    rows_returned: Counters,
    rows_affected: Counters,
    text_characters: Counters,
    executions: Counters,
    routes: Counters,
    executions_by_table: Counters,
    transactions: Counters,
    commit_timings: [Histogram; 3],
    warnings: Counters,
    /// Statements refused or failed by whose fault it was (`client`, `unsupported`, `upstream`, …).
    errors_by_kind: Counters,
    /// Shards that one statement was sent to. Largest bucket: 256.
    pub shards_per_query: Histogram,
    /// Transactions whose commit ended in an unknown state.
    pub commit_unresolved: IntCounter,
    /// Faults of the gate's own: a panic in a session, or an error of kind `bug`.
    pub bugs: IntCounter,
    /// Queries that were killed on their shard because the client went away or asked for it.
    pub killed: IntCounter,
    /// Queries that were answered over copies of their tables.
    pub gathers: IntCounter,
    /// Rows that such queries copied from shards.
    pub gathered_rows: IntCounter,
    /// Bytes that such queries copied from shards, as text of the rows.
    pub gathered_bytes: IntCounter,
    advised: Counters,
    /// The plan cache.
    pub plan_cache: PlanCacheMetrics,
}

/// The plan cache.
#[derive(Debug)]
pub struct PlanCacheMetrics {
    /// Plans held.
    pub length: IntGauge,
    /// Bytes held.
    pub size: IntGauge,
    /// Bytes that may be held.
    pub capacity: IntGauge,
    /// Lookups that found a plan.
    pub hits: IntCounter,
    /// Lookups that found none.
    pub misses: IntCounter,
    /// Plans pushed out by others.
    pub evictions: IntCounter,
}

/// The handles of one (operation, keyspace, tablet type).
#[derive(Debug, Clone)]
pub struct ApiSeries {
    /// Time from the command's arrival to the end of its answer, in seconds. Largest bucket: 10 s.
    pub seconds: Histogram,
    /// Rows sent to clients.
    pub rows_returned: IntCounter,
    /// Rows that writes changed.
    pub rows_affected: IntCounter,
    /// Bytes of statement text received.
    pub text_characters: IntCounter,
    errors: Counters,
    operation: &'static str,
    keyspace: Box<str>,
    db_type: &'static str,
}

/// Where one execution counts its shard queries.
#[derive(Debug)]
pub struct Routes {
    kind: IntCounter,
    sent: AtomicU64,
}

/// The handles of one kind of plan.
#[derive(Debug, Clone)]
pub struct ExecutionSeries {
    /// Statements executed.
    pub executions: IntCounter,
    /// Shard queries that they made.
    pub routes: IntCounter,
}

// === impl QueryMetrics ===

impl QueryMetrics {
    pub(super) fn new(register: &Register) -> prometheus::Result<Self> {
        const API: [&str; 3] = ["operation", "keyspace", "db_type"];
        const PLAN: [&str; 3] = ["query", "plan", "tablet"];
        let commit = register.histograms("vtgate_commit_mode_timings", "Commit times by mode", &["mode"])?;
        Ok(Self {
            api: register.histograms("vtgate_api", "Time to answer clients, in seconds", &API)?,
            api_errors: register.counters(
                "vtgate_api_error_counts",
                "Statements that ended in an error, by MySQL error code",
                &["operation", "keyspace", "db_type", "code"],
            )?,
            rows_returned: register.counters("vtgate_api_rows_returned", "Rows sent to clients", &API)?,
            rows_affected: register.counters("vtgate_api_rows_affected", "Rows changed by writes", &API)?,
            text_characters: register.counters(
                "vtgate_query_text_characters_processed",
                "Bytes of statement text received",
                &API,
            )?,
            executions: register.counters("vtgate_query_executions", "Statements executed", &PLAN)?,
            routes: register.counters("vtgate_query_routes", "Shard queries made", &PLAN)?,
            executions_by_table: register.counters(
                "vtgate_query_executions_by_table",
                "Statements executed, by table",
                &["query", "table"],
            )?,
            transactions: register.counters(
                "vtgate_transactions_processed",
                "Transactions ended",
                &["shard", "type"],
            )?,
            commit_timings: CommitMode::ALL.map(|mode| commit.with_label_values(&[mode.as_str()])),
            warnings: register.counters("vtgate_warnings", "Warnings by type", &["type"])?,
            errors_by_kind: register.counters(
                "shardgate_errors_total",
                "Errors sent to clients, by whose fault they are",
                &["kind"],
            )?,
            shards_per_query: register.histogram(
                "shardgate_shards_per_query",
                "Shards that one statement was sent to",
                &SHARDS,
            )?,
            commit_unresolved: register
                .counter("vtgate_commit_unresolved", "Transactions whose commit ended in an unknown state")?,
            bugs: register.counter("shardgate_bugs_total", "Faults of the gate's own")?,
            killed: register.counter("shardgate_killed_queries_total", "Queries killed on their shard")?,
            gathers: register.counter(
                "shardgate_gathers_total",
                "Queries that were answered over copies of their tables",
            )?,
            gathered_rows: register
                .counter("shardgate_gathered_rows_total", "Rows that were copied for such queries")?,
            gathered_bytes: register.counter(
                "shardgate_gathered_bytes_total",
                "Bytes of rows that were copied for such queries",
            )?,
            advised: register.counters(
                "shardgate_advised_statements_total",
                "Statements executed whose plan could ask fewer shards or copy nothing; VEXPLAIN tells more",
                &["reason"],
            )?,
            plan_cache: PlanCacheMetrics::new(register)?,
        })
    }

    /// The counter of plans that could be better for one reason (the planner's advice); a cached plan
    /// keeps its own.
    #[must_use]
    pub fn advised(&self, reason: &'static str) -> IntCounter {
        self.advised.with_label_values(&[reason])
    }

    /// The handles for one operation of a session; `keyspace` is empty before a `USE`.
    #[must_use]
    pub fn api(&self, operation: Operation, keyspace: &str, db_type: &'static str) -> ApiSeries {
        let labels = [operation.as_str(), keyspace, db_type];
        ApiSeries {
            seconds: self.api.with_label_values(&labels),
            rows_returned: self.rows_returned.with_label_values(&labels),
            rows_affected: self.rows_affected.with_label_values(&labels),
            text_characters: self.text_characters.with_label_values(&labels),
            errors: self.api_errors.clone(),
            operation: operation.as_str(),
            keyspace: keyspace.into(),
            db_type,
        }
    }

    /// The handles for one kind of plan: statement type (`SELECT`), plan type (`Scatter`) and
    /// tablet type (`PRIMARY`).
    #[must_use]
    pub fn execution(&self, query: &str, plan: &str, tablet: &str) -> ExecutionSeries {
        let labels = [query, plan, tablet];
        ExecutionSeries {
            executions: self.executions.with_label_values(&labels),
            routes: self.routes.with_label_values(&labels),
        }
    }

    /// The counter of one (statement type, table); a cached plan keeps those of its tables.
    /// `table` must be a table of the VSchema, so that clients cannot make series.
    #[must_use]
    pub fn by_table(&self, query: &str, table: &str) -> IntCounter {
        self.executions_by_table.with_label_values(&[query, table])
    }

    /// Counts the end of a transaction.
    pub fn transaction_ended(&self, spread: ShardSpread, end: TransactionEnd) {
        self.transactions.with_label_values(&[spread.as_str(), end.as_str()]).inc();
    }

    /// The commit times of a mode, in seconds. Largest bucket: 10 s.
    #[must_use]
    pub fn commit_seconds(&self, mode: CommitMode) -> &Histogram {
        &self.commit_timings[mode.index()]
    }

    /// Counts a warning.
    pub fn warned(&self, kind: WarningKind) {
        self.warnings.with_label_values(&[kind.as_str()]).inc();
    }

    /// Counts an error by whose fault it was ([`crate::error::Kind`]).
    pub fn failed(&self, kind: crate::error::Kind) {
        self.errors_by_kind.with_label_values(&[kind.label()]).inc();
        if kind == crate::error::Kind::Bug {
            self.bugs.inc();
        }
    }
}

// === impl Routes ===

impl Routes {
    /// Counts towards a kind of plan too.
    #[must_use]
    pub fn new(kind: &IntCounter) -> Self {
        Self { kind: kind.clone(), sent: AtomicU64::new(0) }
    }

    /// Counts shard queries.
    pub fn inc_by(&self, more: u64) {
        self.kind.inc_by(more);
        self.sent.fetch_add(more, Ordering::Relaxed);
    }

    /// How many this execution has made.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

// === impl ApiSeries ===

impl ApiSeries {
    /// Counts an error by its MySQL code. Errors are rare: this one looks its labels up.
    pub fn failed(&self, code: u16) {
        let code = code.to_string();
        self.errors.with_label_values(&[self.operation, &*self.keyspace, self.db_type, &code]).inc();
    }
}

// === impl PlanCacheMetrics ===

impl PlanCacheMetrics {
    fn new(register: &Register) -> prometheus::Result<Self> {
        Ok(Self {
            length: register.gauge("vtgate_query_plan_cache_length", "Plans in the plan cache")?,
            size: register.gauge("vtgate_query_plan_cache_size", "Bytes in the plan cache")?,
            capacity: register.gauge("vtgate_query_plan_cache_capacity", "Bytes the plan cache may hold")?,
            hits: register.counter("vtgate_query_plan_cache_hits", "Lookups that found a plan")?,
            misses: register.counter("vtgate_query_plan_cache_misses", "Lookups that found no plan")?,
            evictions: register.counter("vtgate_query_plan_cache_evictions", "Plans pushed out by others")?,
        })
    }
}
