//! Which part of a plan is meant?

use std::ptr;

use super::{Node, Route, Routing};
use crate::sql::Template;

/// Names a part of a plan for as long as the plan stays where it is: an operator by its node, what goes
/// to servers by its template. So an execution can be compared with its plan, without numbers in plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StepId(usize);

// === impl StepId ===

impl StepId {
    /// An operator over rows.
    #[must_use]
    pub fn of_operator(node: &Node) -> Self {
        Self(ptr::from_ref(node).addr())
    }

    /// What servers are sent.
    #[must_use]
    pub fn of_query(query: &Template) -> Self {
        Self(ptr::from_ref(query).addr())
    }

    /// What the shards of a route are sent.
    #[must_use]
    pub fn of_route(route: &Route) -> Self {
        Self::of_query(&route.query)
    }
}

/// The parts of a tree from the top down, each with its inputs. Cutting columns is no part of its own: a
/// plan's description leaves it out.
#[must_use]
pub fn steps(node: &Node) -> Vec<(StepId, Vec<StepId>)> {
    let mut all = Vec::new();
    collect(node, &mut all);
    all
}

/// The id of the topmost part.
fn collect(node: &Node, all: &mut Vec<(StepId, Vec<StepId>)>) -> Option<StepId> {
    let alone = |id: StepId, all: &mut Vec<(StepId, Vec<StepId>)>| {
        all.push((id, Vec::new()));
        Some(id)
    };
    match node {
        Node::Truncate { input, .. } => collect(input, all),
        Node::Limit { input, .. } | Node::Sort { input, .. } | Node::Distinct { input, .. } => {
            Some(over(StepId::of_operator(node), input, all))
        }
        Node::Aggregate(aggregate) => Some(over(StepId::of_operator(node), &aggregate.input, all)),
        Node::Route(route) | Node::Modify(route) => {
            let read = match &route.routing {
                Routing::Lookup(own) => Some(StepId::of_route(&own.read)),
                _ => None,
            };
            all.push((StepId::of_route(route), read.into_iter().collect()));
            all.extend(read.map(|read| (read, Vec::new())));
            Some(StepId::of_route(route))
        }
        Node::Followed(own) => {
            let read = StepId::of_query(&own.read);
            all.push((StepId::of_route(&own.route), vec![read]));
            all.push((read, Vec::new()));
            Some(StepId::of_route(&own.route))
        }
        Node::Insert(insert) => alone(StepId::of_query(&insert.query), all),
        Node::Keyed(own) => Some(over(StepId::of_query(&own.change.query), &own.read, all)),
        Node::InsertSelect(own) => Some(over(StepId::of_query(&own.insert.query), &own.source.node, all)),
        Node::Gather(gather) => {
            let inputs: Vec<StepId> =
                gather.tables.iter().filter_map(|table| table.route().map(StepId::of_route)).collect();
            let id = StepId::of_query(&gather.query);
            all.push((id, inputs.clone()));
            all.extend(inputs.into_iter().map(|input| (input, Vec::new())));
            Some(id)
        }
        Node::NextValues { .. } | Node::Show(_) | Node::Session(_) => None,
    }
}

fn over(id: StepId, input: &Node, all: &mut Vec<(StepId, Vec<StepId>)>) -> StepId {
    let at = all.len();
    all.push((id, Vec::new()));
    let below = collect(input, all);
    all[at].1.extend(below);
    id
}
