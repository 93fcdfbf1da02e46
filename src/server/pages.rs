//! What do the pages under /debug show of this gate?
//!
//! Nothing here holds a password or a client's value: statements are shown without their literals.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::admin::{Pages, Query};
use super::profile;
use crate::planner;
use crate::session::plan_cache::{Planned, Scope};
use crate::session::statistics::{BOUNDS, StatementCounts, Totals};
use crate::session::{Shared, plan_context};
use crate::sql::{self, LexOptions, Normalizer};
use crate::topology::watch::Topology;

/// How many rows a page has unless `?limit=` says otherwise.
const ROWS: usize = 300;

/// How long servers may take to list their prepared branches.
const BRANCHES: Duration = Duration::from_secs(10);

/// How long the page of statements waits for them at most.
const WATCHED: u64 = 60;

/// The pages of a gate.
pub(super) struct GatePages {
    pub(super) shared: Arc<Shared>,
    pub(super) topology: Arc<Topology>,
}

impl Pages for GatePages {
    fn page<'p>(&'p self, name: &str, query: &Query) -> BoxFuture<'p, Option<Value>> {
        let most = query.limit.unwrap_or(ROWS);
        let now = |value: Value| std::future::ready(Some(value)).boxed();
        match name {
            "advice" => now(self.advice(most)),
            "health/tablets" => now(self.tablets()),
            "vschema" => now(self.shared.world.load().vschema.to_json()),
            "runtime" => now(profile::runtime()),
            "topology" => now(self.topology.to_json()),
            "queryz" => now(self.queries(most)),
            "query_plans" => now(self.plans(most)),
            "sessions" => now(self.sessions(most)),
            "querylogz" => {
                let time = Duration::from_secs(query.timeout.unwrap_or(10).min(WATCHED));
                async move { Some(Value::Array(self.shared.live.watch(most, time).await)) }.boxed()
            }
            "transactions" => async { Some(self.transactions().await) }.boxed(),
            _ => std::future::ready(None).boxed(),
        }
    }
}

impl GatePages {
    /// What is known of every server.
    fn tablets(&self) -> Value {
        let health = &self.shared.health;
        let all = health.all().into_iter().map(|(tablet, watched)| {
            let state = watched.state();
            let replication = state.replication();
            json!({
                "alias": tablet.alias.to_string(),
                "keyspace": &*tablet.keyspace,
                "shard": &*tablet.shard,
                "type": tablet.kind.as_str(),
                "serving": health.is_serving(&tablet),
                "answers": state.answers(),
                "read_only": state.refuses_writes(),
                "identity": state.identity(),
                "lag_seconds": state.lag().map(|lag| lag.as_secs_f64()),
                "source": replication.map(|replication| replication.source.as_str()),
                "error": state.error().or(replication.map(|replication| replication.error.as_str())),
            })
        });
        json!({ "tablets": all.collect::<Vec<_>>(), "suspect_shards": health.suspects() })
    }

    /// Who is connected, and with which program.
    fn sessions(&self, most: usize) -> Value {
        let all = self.shared.registry.list();
        let rows = all.iter().take(most).map(|entry| {
            let view = entry.view();
            json!({
                "id": entry.id,
                "user": view.user,
                "peer": entry.peer,
                "database": view.database,
                "command": view.command,
                "seconds": view.since.elapsed().as_secs_f64(),
                "attributes": view.attributes.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            })
        });
        Value::Array(rows.collect())
    }

    /// What each kind of statement has cost, the most time first.
    fn queries(&self, most: usize) -> Value {
        let all = self.shared.statistics.all();
        let rows = all.iter().take(most).map(|(one, totals)| query(one, totals));
        Value::Array(rows.collect())
    }

    /// The plans in the cache, the busiest first. Each is made again from its text without values, so that
    /// no value can be in it.
    fn plans(&self, most: usize) -> Value {
        let world = self.shared.world.load();
        let mut plans = self.shared.plans.plans(world.vschema.version(), usize::MAX);
        plans.sort_by_cached_key(|(.., plan)| std::cmp::Reverse(plan.counts().totals().count));
        let rows = plans.into_iter().take(most).map(|(scope, text, plan)| {
            let described = self.described(&scope, &text);
            described_plan(&scope, &text, &plan, &described)
        });
        Value::Array(rows.collect())
    }

    /// The plan of a text with a `?` for each value, as VEXPLAIN PLAN shows it.
    fn described(&self, scope: &Scope, text: &[u8]) -> Value {
        let world = self.shared.world.load();
        let mut normalizer = Normalizer::new();
        normalizer.read(text, scope.options, false);
        let statement = normalizer.statement(text);
        let context = plan_context(&scope.target, &world);
        planner::prepare_plan(&statement, &context).map_or(Value::Null, |plan| {
            let mut tree = planner::tree_json(&plan, &statement, &world.vschema, &|_| serde_json::Map::new());
            // Some statements keep their literals: what is explained, for one.
            hide_values(&mut tree, scope.options);
            tree
        })
    }

    /// Distributed transactions in doubt, and what was counted of all of them.
    async fn transactions(&self) -> Value {
        let unresolved = tokio::time::timeout(BRANCHES, self.shared.twopc.unresolved(None)).await;
        let (in_doubt, problem) = match unresolved {
            Ok(Ok(all)) => {
                let rows = all.iter().map(|one| {
                    json!({
                        "id": one.dtid,
                        "state": one.state,
                        "record_time": one.record_time(),
                        "participants": one.participants,
                    })
                });
                (rows.collect(), None)
            }
            Ok(Err(error)) => (Vec::new(), Some(error.to_string())),
            Err(_) => (Vec::new(), Some("the servers did not answer in time".to_owned())),
        };
        let metrics = &self.shared.metrics.twopc;
        json!({
            "in_doubt": in_doubt,
            "problem": problem,
            "committed": metrics.committed.get(),
            "aborted": metrics.aborted.get(),
            "answered_before_all_branches_were_finished": metrics.delayed.get(),
            "branches_committed_by_recovery": metrics.committed_branches.get(),
            "branches_rolled_back_by_recovery": metrics.rolled_back_branches.get(),
            "branches_lost_by_their_server": metrics.integrity_errors.get(),
            "oldest_prepared_branch_seconds": metrics.oldest_seconds.get(),
            "shards_without_distributed_transactions": metrics.refused_shards.get(),
        })
    }
}

/// Takes the literals out of the statements and the values in a plan's description.
fn hide_values(tree: &mut Value, options: LexOptions) {
    let hide = |value: &mut Value| {
        if let Value::String(text) = value {
            *text = sql::without_values(text.as_bytes(), options);
        }
    };
    match tree {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("Query", value) => hide(value),
                    ("Values", Value::Array(all)) => all.iter_mut().for_each(hide),
                    ("VindexValues", Value::Object(all)) => all.values_mut().for_each(hide),
                    (_, value) => hide_values(value, options),
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|one| hide_values(one, options)),
        _ => {}
    }
}

fn query(one: &StatementCounts, totals: &Totals) -> Value {
    let within: serde_json::Map<_, _> = BOUNDS
        .iter()
        .map(|bound| format!("≤ {} ms", Duration::from_micros(*bound).as_secs_f64() * 1e3))
        .chain(["more".to_owned()])
        .zip(totals.times.iter().map(|count| (*count).into()))
        .filter(|(_, count)| *count != 0)
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "an average for people")]
    let average = totals.time.as_secs_f64() / totals.count.max(1) as f64;
    json!({
        "Query": &*one.text,
        "Keyspace": &*one.target,
        "Plan": one.plan,
        "Tables": one.tables,
        "Count": totals.count,
        "Errors": totals.errors,
        "ShardQueries": totals.shards,
        "Rows": totals.rows,
        "Bytes": totals.bytes,
        "Gathers": totals.gathers,
        "TotalSeconds": totals.time.as_secs_f64(),
        "AverageSeconds": average,
        "Times": within,
    })
}

fn described_plan(scope: &Scope, text: &[u8], plan: &Planned, described: &Value) -> Value {
    let totals = plan.counts().totals();
    json!({
        "Original": sql::without_values(text, scope.options),
        "Keyspace": scope.target.keyspace.as_deref().unwrap_or_default(),
        "TabletType": scope.target.tablet_type.as_str().to_ascii_uppercase(),
        "Prepared": scope.prepared,
        "PlanType": planner::plan_type(plan),
        "Plan": described,
        "TablesUsed": plan.tables,
        "ExecCount": totals.count,
        "ExecSeconds": totals.time.as_secs_f64(),
        "ShardQueries": totals.shards,
        "Rows": totals.rows,
        "Errors": totals.errors,
    })
}
