//! How is a plan shown with what happened to it?
//!
//! Keys of Vitess: `NoOfCalls`, `AvgNumberOfRows`, `MedianNumberOfRows`, `ShardsQueried`. The others are
//! ours. Times are in milliseconds, rounded down to microseconds before anything is added, so that sums
//! are exact: an operator's `TotalTimeMs` is its `OwnTimeMs` and the totals of its inputs; a shard's is the
//! sum of its parts; the statement's is the root's, the commit and what is left.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::vexplain::shard_name;
use crate::executor::{Call, Trace};
use crate::planner::{Plan, StepId, steps, tree_json};
use crate::sql::Statement;
use crate::vschema::VSchema;

/// A plan with what the servers say of its parts.
pub(super) fn described(
    plan: &Plan,
    statement: &Statement<'_>,
    vschema: &VSchema,
    told: &HashMap<StepId, Map<String, Json>>,
) -> Json {
    tree_json(plan, statement, vschema, &|step| told.get(&step).cloned().unwrap_or_default())
}

/// A plan with what its parts did.
pub(super) fn traced(plan: &Plan, trace: &Trace, statement: &Statement<'_>, vschema: &VSchema) -> Json {
    let whole = micros(trace.elapsed());
    let tree = steps(&plan.node);
    let root = tree.first().map(|(step, _)| *step);
    let report = Report { trace, calls: trace.calls(), inputs: tree.into_iter().collect() };
    let mut json = tree_json(plan, statement, vschema, &|step| report.of(step));
    let inside = root.map_or(0, |root| report.total(root));
    let commit = micros(trace.committing());
    if let Json::Object(object) = &mut json {
        let mut statement = Map::new();
        statement.insert("TotalTimeMs".into(), millis(whole));
        statement.insert("OperatorsTimeMs".into(), millis(inside));
        if commit > 0 {
            statement.insert("CommitTimeMs".into(), millis(commit));
        }
        statement.insert("OtherTimeMs".into(), millis(whole.saturating_sub(inside + commit)));
        object.insert("Statement".into(), statement.into());
    }
    json
}

struct Report<'a> {
    trace: &'a Trace,
    calls: Vec<Call>,
    inputs: HashMap<StepId, Vec<StepId>>,
}

impl Report<'_> {
    fn inputs(&self, step: StepId) -> &[StepId] {
        self.inputs.get(&step).map_or(&[], Vec::as_slice)
    }

    fn calls(&self, step: StepId) -> impl Iterator<Item = &Call> + Clone {
        self.calls.iter().filter(move |call| call.step == step)
    }

    /// The time until the answers of what is below had begun.
    fn opening(&self, step: StepId) -> u64 {
        let own = self.trace.operator(step).map_or(0, |own| micros(own.opening));
        if own > 0 { own } else { self.inputs(step).iter().map(|input| self.opening(*input)).sum() }
    }

    /// The time in a part and its inputs, in microseconds.
    fn total(&self, step: StepId) -> u64 {
        let Some(own) = self.trace.operator(step) else {
            let begins = self.calls(step).map(|call| micros(call.began)).min();
            let ends = self.calls(step).map(|call| micros(call.began) + call_total(call)).max();
            return begins.zip(ends).map_or(0, |(begin, end)| end.saturating_sub(begin));
        };
        // A query over copies was sent behind the copies.
        let over_copies = !self.inputs(step).is_empty();
        let behind: u64 = self.calls(step).filter(|_| over_copies).map(call_total).sum();
        self.opening(step) + micros(own.pulling) + behind
    }

    fn of(&self, step: StepId) -> Map<String, Json> {
        let inputs = self.inputs(step);
        let total = self.total(step);
        let mut json = Map::new();
        let mut sendings: Vec<u32> = self.calls(step).map(|call| call.sending).collect();
        sendings.dedup();
        let is_leaf = inputs.is_empty();
        let rows: Vec<u64> = if sendings.is_empty() {
            self.trace.operator(step).map(|own| own.rows).into_iter().collect()
        } else {
            let of_one = |sending: &u32| {
                self.calls(step).filter(|call| call.sending == *sending).map(|call| call.rows).sum()
            };
            sendings.iter().map(of_one).collect()
        };
        json.insert("NoOfCalls".into(), rows.len().into());
        #[allow(clippy::cast_precision_loss, reason = "an average")]
        let average = rows.iter().sum::<u64>() as f64 / rows.len().max(1) as f64;
        json.insert("AvgNumberOfRows".into(), number(average));
        json.insert("MedianNumberOfRows".into(), number(median(rows)));
        if is_leaf || !sendings.is_empty() {
            json.insert("ShardsQueried".into(), self.calls(step).count().into());
        }
        json.insert("TotalTimeMs".into(), millis(total));
        let below: u64 = inputs.iter().map(|input| self.total(*input)).sum();
        json.insert("OwnTimeMs".into(), millis(total.saturating_sub(below)));
        let shards = self.shards(step);
        if !shards.is_empty() {
            json.insert("Shards".into(), shards.into());
        }
        json
    }

    /// What each shard did, in the order of its first call.
    fn shards(&self, step: StepId) -> Vec<Json> {
        let mut order: Vec<(String, String)> = Vec::new();
        for call in self.calls(step) {
            let own = (shard_name(call), call.tablet.alias.to_string());
            if !order.contains(&own) {
                order.push(own);
            }
        }
        let one = |(shard, alias): (String, String)| {
            let own: Vec<&Call> = self
                .calls(step)
                .filter(|call| shard_name(call) == shard && call.tablet.alias.to_string() == alias)
                .collect();
            let sum = |part: fn(&Call) -> u64| own.iter().map(|call| part(call)).sum::<u64>();
            let time = |part: fn(&Call) -> u64| millis(sum(part));
            let mut json = Map::new();
            json.insert("Shard".into(), shard.into());
            json.insert("Tablet".into(), alias.into());
            json.insert("Calls".into(), own.len().into());
            json.insert("Rows".into(), sum(|call| call.rows).into());
            json.insert("Bytes".into(), sum(|call| call.bytes).into());
            if sum(|call| call.changed) > 0 {
                json.insert("RowsAffected".into(), sum(|call| call.changed).into());
            }
            json.insert("ConnectionTimeMs".into(), time(|call| micros(call.connection)));
            json.insert("OtherShardsTimeMs".into(), time(|call| micros(call.others)));
            json.insert("FirstRowTimeMs".into(), time(|call| micros(call.first)));
            json.insert("RowsTimeMs".into(), time(|call| micros(call.rest)));
            json.insert("TotalTimeMs".into(), time(call_total));
            json.into()
        };
        order.into_iter().map(one).collect()
    }
}

fn call_total(call: &Call) -> u64 {
    micros(call.connection) + micros(call.others) + micros(call.first) + micros(call.rest)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds as milliseconds.
#[allow(clippy::cast_precision_loss, reason = "hours fit into 53 bits of microseconds")]
fn millis(micros: u64) -> Json {
    json!(micros as f64 / 1000.0)
}

/// A whole number without a fraction, as Vitess prints it.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number of rows")]
fn number(value: f64) -> Json {
    if value.fract() == 0.0 { json!(value as u64) } else { json!(value) }
}

#[allow(clippy::cast_precision_loss, reason = "a number of rows")]
fn median(mut rows: Vec<u64>) -> f64 {
    rows.sort_unstable();
    match rows.len() {
        0 => 0.0,
        count if count % 2 == 1 => rows[count / 2] as f64,
        count => (rows[count / 2 - 1] + rows[count / 2]) as f64 / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_and_medians_are_whole_where_they_can_be() {
        assert_eq!(number(median(vec![3, 1, 2])), json!(2));
        assert_eq!(number(median(vec![4, 1])), json!(2.5));
        assert_eq!(number(median(Vec::new())), json!(0));
        assert_eq!(millis(1234), json!(1.234));
    }
}
