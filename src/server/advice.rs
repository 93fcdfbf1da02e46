//! What should an operator look into?
//!
//! The page `/debug/advice`: statements whose plan asks more shards than it might, queries over copies, queries
//! that one client repeats, load on one key or shard, and connections that a session keeps. Nothing here holds
//! a client's value, unless the query log shows values too.

use serde_json::{Value, json};

use super::pages::GatePages;
use crate::executor::{KeyspaceHeat, SAMPLE};
use crate::metrics::Unevenness;
use crate::planner;
use crate::session::plan_cache::{Planned, Scope};
use crate::session::repeats::Pattern;
use crate::session::{Shared, plan_context};
use crate::sql::{self, Normalizer};

/// How many of the busiest keys of a keyspace are listed.
const KEYS: usize = 10;

impl GatePages {
    /// Everything that the gate has noticed, at most so many of each kind.
    pub(super) fn advice(&self, most: usize) -> Value {
        let patterns = self.shared.repeats.all();
        json!({
            "statements": self.advised(most),
            "repeated": patterns.iter().take(most).map(|one| repeated(one)).collect::<Vec<_>>(),
            "load": heat(&self.shared).iter().map(load).collect::<Vec<_>>(),
            "pinned": self.pinned(most),
        })
    }

    /// Plans in the cache that could ask fewer shards or copy nothing, those with the most shard queries first.
    fn advised(&self, most: usize) -> Vec<Value> {
        let world = self.shared.world.load();
        let mut plans = self.shared.plans.plans(world.vschema.version(), usize::MAX);
        plans.retain(|(.., plan)| !plan.reasons().is_empty() || plan.counts().totals().gathers > 0);
        plans.sort_by_cached_key(|(.., plan)| std::cmp::Reverse(plan.counts().totals().shards));
        let rows = plans.into_iter().take(most).map(|(scope, text, plan)| {
            let totals = plan.counts().totals();
            json!({
                "Query": sql::without_values(&text, scope.options),
                "Keyspace": scope.target.keyspace.as_deref().unwrap_or_default(),
                "Advice": self.advice_on(&scope, &text, &plan),
                "ExecCount": totals.count,
                "ShardQueries": totals.shards,
                "Gathers": totals.gathers,
                "ExecSeconds": totals.time.as_secs_f64(),
                "Rows": totals.rows,
            })
        });
        rows.collect()
    }

    /// What a plan might do better. It is made again from its text without values, so that no value can be in
    /// it; where that text alone has no plan, the reasons remain.
    fn advice_on(&self, scope: &Scope, text: &[u8], planned: &Planned) -> Vec<String> {
        let world = self.shared.world.load();
        let mut normalizer = Normalizer::new();
        normalizer.read(text, scope.options, false);
        let statement = normalizer.statement(text);
        let context = plan_context(&scope.target, &world);
        let advice = planner::prepare_plan(&statement, &context)
            .map(|plan| planner::advice(&plan, &statement, &context))
            .unwrap_or_default();
        let mut all: Vec<String> = advice.iter().map(|advice| advice.text().to_owned()).collect();
        if all.is_empty() {
            all.extend(planned.reasons().iter().map(|&reason| reason.to_owned()));
        }
        if planned.counts().totals().gathers > 0 && !planned.reasons().contains(&"gathered") {
            all.push(
                "one server answers over copies of tables: the types of its columns cannot be merged"
                    .to_owned(),
            );
        }
        all
    }

    fn pinned(&self, most: usize) -> Vec<Value> {
        let rows = self.shared.registry.list().into_iter().flat_map(|entry| {
            let view = entry.view();
            view.pinned.into_iter().map(move |one| {
                json!({
                    "Id": entry.id,
                    "User": &*view.user,
                    "Host": &*entry.peer,
                    "Reason": one.reason.text(),
                    "Server": one.tablet.to_string(),
                    "Seconds": one.since.elapsed().as_secs(),
                })
            })
        });
        rows.take(most).collect()
    }
}

fn repeated(pattern: &Pattern) -> Value {
    let (seen, last) = (pattern.seen(), pattern.last());
    json!({
        "Query": &*pattern.text,
        "Keyspace": &*pattern.target,
        "Advice": "one query with IN, or a join, could take the place of each row of repetitions",
        "Repetitions": seen.rows,
        "Statements": seen.statements,
        "Longest": seen.longest,
        "LastUser": last.user,
        "LastHost": last.peer,
        "Behind": &*last.behind,
        "BehindRows": last.behind_rows,
    })
}

fn load(one: &KeyspaceHeat) -> Value {
    let shards = one
        .shards
        .iter()
        .map(|shard| json!({ "Shard": &*shard.shard, "Part": rounded(shard.part), "Hot": shard.is_hot }));
    let keys = one.keys.iter().take(KEYS).map(|key| {
        json!({ "KeyspaceId": key.id, "Shard": &*key.shard, "Part": rounded(key.part), "Hot": key.is_hot })
    });
    json!({
        "Keyspace": &*one.keyspace,
        "Statements": one.samples * u64::from(SAMPLE),
        "Shards": shards.collect::<Vec<_>>(),
        "Keys": keys.collect::<Vec<_>>(),
    })
}

/// To a tenth of a percent: samples tell no more.
fn rounded(part: f64) -> f64 {
    (part * 1000.0).round() / 1000.0
}

fn heat(shared: &Shared) -> Vec<KeyspaceHeat> {
    let world = shared.world.load();
    let shards =
        |keyspace: &str| world.topology.keyspaces.get(keyspace).map_or(0, |known| known.shards.len());
    shared.heat.report(shards)
}

/// Publishes how uneven the load is.
pub(super) fn count_heat(shared: &Shared) {
    let all = heat(shared).into_iter().map(|one| Unevenness {
        keyspace: one.keyspace.to_string(),
        key: one.keys.first().map_or(0.0, |key| key.part),
        shard: one.shards.first().map_or(0.0, |shard| shard.part),
    });
    shared.metrics.trouble.set_unevenness(&all.collect::<Vec<_>>());
}
