//! Which transactions wait for each other in a circle that no single server sees?
//!
//! Pure. The nodes are connections of servers. A connection that waits for a row lock points at those
//! that hold it; a connection of a transaction that we know also points at the transaction's other
//! connections that wait, because it lets nothing go before they are done. A circle that takes at least
//! one step of the second kind is a deadlock over connections. A circle without one lies inside one
//! server, which ends it by itself.
//!
//! Every edge counts as "needs all": a statement goes on when all that block it have let go. So each
//! circle stays until somebody gives way.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

/// A connection: its server, as a number of this view, and its id there.
pub(super) type Place = (usize, u32);

/// A step of a walk: where it is, and whether it has changed connections.
type State = (Place, bool);

/// One row lock that somebody waits for and somebody else holds or wants.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Wait {
    /// The server.
    pub server: usize,
    /// The connection that waits.
    pub waiter: u32,
    /// Its transaction's name in the storage engine.
    pub waiter_trx: String,
    /// The request's name in the storage engine.
    pub lock: String,
    /// The connection that stands in the way.
    pub blocker: u32,
    /// Its transaction's name in the storage engine.
    pub blocker_trx: String,
    /// What stands in the way is a request that waits itself, not a lock.
    pub blocker_waits: bool,
}

/// A transaction that stands on several connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Unique among all gates.
    pub name: String,
    /// When it reached its second shard: Unix milliseconds by its gate's clock.
    pub started_ms: u64,
    /// Which of its statements runs now, counted by its gate.
    pub statement: u64,
    /// Its connections.
    pub places: Vec<Place>,
}

/// A transaction that must give way, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Victim {
    /// Its name.
    pub name: String,
    /// The statement that waits.
    pub statement: u64,
    /// The circle, in order, from this transaction back to it.
    pub circle: Vec<Step>,
}

/// A wait of a circle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub wait: Wait,
    /// Where the next wait is on another connection than this one's blocker: the transaction that has
    /// both, and its statement.
    pub change: Option<(String, u64)>,
}

/// The view of one moment.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    known: &'a [Known],
    owner: HashMap<Place, usize>,
    waits: BTreeMap<Place, Vec<&'a Wait>>,
}

// === impl Wait ===

impl Wait {
    /// Whether the same transactions of the engine wait for each other on the same connections.
    fn is_same(&self, other: &Wait) -> bool {
        let key = |wait: &Wait| (wait.server, wait.waiter, wait.blocker);
        key(self) == key(other)
            && self.waiter_trx == other.waiter_trx
            && self.blocker_trx == other.blocker_trx
    }
}

// === impl Graph ===

impl<'a> Graph<'a> {
    /// Of all waits that were read and all transactions that are known.
    pub(super) fn new(waits: &'a [Wait], known: &'a [Known]) -> Self {
        let owner = known
            .iter()
            .enumerate()
            .flat_map(|(at, known)| known.places.iter().map(move |place| (*place, at)))
            .collect();
        let mut by_place: BTreeMap<Place, Vec<&Wait>> = BTreeMap::new();
        for wait in waits.iter().filter(|wait| wait.waiter != wait.blocker) {
            by_place.entry((wait.server, wait.waiter)).or_default().push(wait);
        }
        for waits in by_place.values_mut() {
            // A request that waits ahead may be overtaken, so it counts only where no lock stands in the
            // way: then the request does, whatever order the server grants in.
            if waits.iter().any(|wait| !wait.blocker_waits) {
                waits.retain(|wait| !wait.blocker_waits);
            }
            waits.sort();
            waits.dedup();
        }
        Self { known, owner, waits: by_place }
    }

    /// Whether this connection waits for a lock.
    pub(super) fn is_waiting(&self, place: Place) -> bool {
        self.waits.contains_key(&place)
    }

    /// Everything that these connections wait for, directly and indirectly, themselves included.
    pub(super) fn reach(&self, from: impl IntoIterator<Item = Place>) -> BTreeSet<Place> {
        let mut seen = BTreeSet::new();
        let mut queue: VecDeque<Place> = from.into_iter().collect();
        while let Some(place) = queue.pop_front() {
            if !seen.insert(place) {
                continue;
            }
            queue
                .extend(self.waits.get(&place).into_iter().flatten().map(|wait| (wait.server, wait.blocker)));
            queue.extend(self.siblings(place));
        }
        seen
    }

    /// The transaction of a connection.
    pub(super) fn owner(&self, place: Place) -> Option<&'a Known> {
        self.owner.get(&place).map(|at| &self.known[*at])
    }

    /// Who gives way, youngest first, so that no circle is left. All who see the same choose the same.
    pub(super) fn victims(&self) -> Vec<Victim> {
        let mut youngest_first: Vec<usize> = (0..self.known.len()).collect();
        youngest_first.sort_by_key(|at| Reverse((self.known[*at].started_ms, &self.known[*at].name)));
        let (mut victims, mut gone) = (Vec::new(), HashSet::new());
        for at in youngest_first {
            if let Some(victim) = self.circle_through(at, &gone) {
                victims.push(victim);
                gone.insert(at);
            }
        }
        victims
    }

    /// Whether a circle that another view has shown is there in this one: with the same waits, and the same
    /// statements of those transactions that lead it from one connection to another. Then it was there at
    /// the moment between the two. Who else is known in one of them does not count.
    pub(super) fn confirms(&self, victim: &Victim) -> bool {
        let next = victim.circle.iter().cycle().skip(1);
        victim.circle.iter().zip(next).all(|(Step { wait, change }, next)| {
            let waits = self.waits.get(&(wait.server, wait.waiter));
            let blocker = (wait.server, wait.blocker);
            waits.into_iter().flatten().any(|now| now.is_same(wait))
                && change.as_ref().is_none_or(|(name, statement)| {
                    [blocker, (next.wait.server, next.wait.waiter)].into_iter().all(|place| {
                        let owner = self.owner(place);
                        owner.is_some_and(|known| known.name == *name && known.statement == *statement)
                    })
                })
        })
    }

    /// The other connections of the same transaction.
    fn siblings(&self, place: Place) -> impl Iterator<Item = Place> {
        let owner = self.owner(place);
        owner.into_iter().flat_map(|known| &known.places).copied().filter(move |other| *other != place)
    }

    /// A shortest circle over several connections through a transaction, without those that are gone.
    fn circle_through(&self, at: usize, gone: &HashSet<usize>) -> Option<Victim> {
        let known = &self.known[at];
        known.places.iter().filter(|place| self.is_waiting(**place)).find_map(|start| {
            let waits = self.path_back(at, *start, gone)?;
            let next = waits.iter().cycle().skip(1);
            let steps = waits.iter().zip(next).map(|(wait, next)| {
                let blocker = (wait.server, wait.blocker);
                let changes = blocker != (next.server, next.waiter);
                let owner = self.owner(blocker).filter(|_| changes);
                let change = owner.map(|known| (known.name.clone(), known.statement));
                Step { wait: (*wait).clone(), change }
            });
            let circle = steps.collect();
            Some(Victim { name: known.name.clone(), statement: known.statement, circle })
        })
    }

    /// The waits that lead from a waiting connection of a transaction back to the transaction, with a
    /// change of connections on the way or at the end.
    fn path_back(&self, at: usize, start: Place, gone: &HashSet<usize>) -> Option<Vec<&'a Wait>> {
        // From where a state was reached, and by which wait.
        let mut from: HashMap<State, (State, &Wait)> = HashMap::new();
        let mut queue = VecDeque::from([(start, false)]);
        while let Some(state @ (place, changed)) = queue.pop_front() {
            for wait in self.waits.get(&place).into_iter().flatten() {
                let next = (wait.server, wait.blocker);
                let owner = self.owner.get(&next);
                if owner == Some(&at) && (next != start || changed) {
                    let steps = trace(&from, state, wait);
                    return self.is_simple(&steps).then_some(steps);
                }
                if owner.is_some_and(|owner| gone.contains(owner)) {
                    continue;
                }
                // Back where the walk began without a change: the server's own affair.
                if next == start {
                    continue;
                }
                let siblings = self.siblings(next).filter(|other| self.is_waiting(*other));
                for next in [(next, changed)].into_iter().chain(siblings.map(|sibling| (sibling, true))) {
                    if let Entry::Vacant(free) = from.entry(next) {
                        free.insert((state, wait));
                        queue.push_back(next);
                    }
                }
            }
        }
        None
    }

    /// Whether nobody is met twice. A walk that turns round somewhere is two circles, and giving way
    /// here would end the wrong one.
    fn is_simple(&self, steps: &[&Wait]) -> bool {
        let mut met = HashSet::new();
        steps.iter().all(|wait| {
            let place = (wait.server, wait.waiter);
            met.insert(self.owner.get(&place).map_or(Err(place), |at| Ok(*at)))
        })
    }
}

/// The waits from the beginning of a walk to `state`, and `last`.
fn trace<'a>(from: &HashMap<State, (State, &'a Wait)>, mut state: State, last: &'a Wait) -> Vec<&'a Wait> {
    let mut steps = vec![last];
    while let Some((before, wait)) = from.get(&state) {
        steps.push(*wait);
        state = *before;
    }
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// On `server`, connection `waiter` waits for a lock that `blocker` holds.
    fn wait(server: usize, waiter: u32, blocker: u32) -> Wait {
        Wait {
            server,
            waiter,
            waiter_trx: format!("t{waiter}"),
            lock: format!("l{waiter}"),
            blocker,
            blocker_trx: format!("t{blocker}"),
            blocker_waits: false,
        }
    }

    fn known(number: u64, places: &[Place]) -> Known {
        Known { name: format!("gate.{number}"), started_ms: number, statement: 1, places: places.to_vec() }
    }

    fn names(waits: &[Wait], known: &[Known]) -> Vec<String> {
        Graph::new(waits, known).victims().into_iter().map(|victim| victim.name).collect()
    }

    #[test]
    fn two_shards_and_two_transactions() {
        let both = [known(1, &[(0, 10), (1, 10)]), known(2, &[(0, 20), (1, 20)])];
        let circle = [wait(1, 10, 20), wait(0, 20, 10)];
        let victims = Graph::new(&circle, &both).victims();
        assert_eq!(victims.len(), 1);
        assert_eq!(victims[0].name, "gate.2", "the youngest gives way");
        assert_eq!(victims[0].circle.len(), 2);
        let changes: Vec<_> = victims[0].circle.iter().map(|step| step.change.clone()).collect();
        assert_eq!(changes, [Some(("gate.1".into(), 1)), Some(("gate.2".into(), 1))]);
        // Half of it is no deadlock.
        assert!(names(&circle[..1], &both).is_empty());
        assert!(names(&circle[1..], &both).is_empty());
    }

    #[test]
    fn three_ways_over_three_shards() {
        let three = [known(1, &[(0, 1), (1, 1)]), known(2, &[(1, 2), (2, 2)]), known(3, &[(2, 3), (0, 3)])];
        let circle = [wait(1, 1, 2), wait(2, 2, 3), wait(0, 3, 1)];
        assert_eq!(names(&circle, &three), ["gate.3"]);
        for missing in 0..3 {
            let mut open = circle.to_vec();
            open.remove(missing);
            assert!(names(&open, &three).is_empty());
        }
    }

    #[test]
    fn strangers_are_a_part_of_the_circle_and_no_victims() {
        let both = [known(1, &[(0, 10), (1, 10)]), known(2, &[(0, 20), (1, 20)])];
        // 5 is a session of one server.
        let circle = [wait(1, 10, 5), wait(1, 5, 20), wait(0, 20, 10)];
        assert_eq!(names(&circle, &both), ["gate.2"]);
    }

    #[test]
    fn one_server_ends_its_own_circles() {
        let both = [known(1, &[(0, 10), (1, 10)]), known(2, &[(0, 20), (1, 20)])];
        assert!(names(&[wait(0, 10, 20), wait(0, 20, 10)], &both).is_empty());
        // Two shards on one server are two transactions there, so it sees no circle.
        let one_server = [known(1, &[(0, 10), (0, 11)]), known(2, &[(0, 20), (0, 21)])];
        assert_eq!(names(&[wait(0, 11, 21), wait(0, 20, 10)], &one_server), ["gate.2"]);
    }

    #[test]
    fn a_request_ahead_counts_only_where_no_lock_stands_in_the_way() {
        let both = [known(1, &[(0, 10), (1, 10)]), known(2, &[(0, 20), (1, 20)])];
        let queued = Wait { blocker_waits: true, ..wait(1, 10, 20) };
        let back = wait(0, 20, 10);
        assert_eq!(names(&[queued.clone(), back.clone()], &both), ["gate.2"]);
        assert!(names(&[queued, wait(1, 10, 99), back], &both).is_empty());
    }

    #[test]
    fn a_circle_is_confirmed_by_its_own_waits_and_changes() {
        // Found on MariaDB: 4 waits where it blocks, so whether it is known makes no difference.
        let all = [
            known(4, &[(1, 266), (3, 333)]),
            known(6, &[(2, 359), (1, 272)]),
            known(7, &[(1, 251), (2, 340)]),
            known(8, &[(2, 361), (3, 349)]),
        ];
        let waits = [
            wait(1, 272, 266),
            wait(1, 266, 251),
            wait(2, 340, 359),
            // 8 is no part of it.
            wait(3, 349, 333),
        ];
        let victims = Graph::new(&waits, &all).victims();
        assert_eq!(victims.len(), 1);
        assert_eq!(victims[0].name, "gate.7");
        assert!(Graph::new(&waits, &all).confirms(&victims[0]));
        let less = [all[1].clone(), all[2].clone()];
        assert!(Graph::new(&waits[..3], &less).confirms(&victims[0]), "4 and 8 are not known");
        for missing in 0..3 {
            let mut open = waits.to_vec();
            open.remove(missing);
            assert!(!Graph::new(&open, &all).confirms(&victims[0]), "a wait has ended");
        }
        for unknown in 1..3 {
            let mut fewer = all.to_vec();
            fewer.remove(unknown);
            assert!(!Graph::new(&waits, &fewer).confirms(&victims[0]), "a transaction has ended");
            let mut later = all.to_vec();
            later[unknown].statement = 2;
            assert!(!Graph::new(&waits, &later).confirms(&victims[0]), "another statement waits");
        }
        let mut other = waits.to_vec();
        other[0].waiter_trx = "t9".into();
        assert!(!Graph::new(&other, &all).confirms(&victims[0]), "the connection works for another");
    }

    #[test]
    fn whoever_is_reached_is_listed_once() {
        let both = [known(1, &[(0, 10), (1, 10)]), known(2, &[(0, 20), (1, 20)])];
        let waits = [wait(1, 10, 20), wait(0, 20, 7)];
        let graph = Graph::new(&waits, &both);
        let reached: Vec<Place> = graph.reach([(1, 10)]).into_iter().collect();
        assert_eq!(reached, [(0, 7), (0, 10), (0, 20), (1, 10), (1, 20)]);
        assert!(graph.is_waiting((0, 20)) && !graph.is_waiting((0, 7)));
    }

    /// Who or what stands at a place.
    fn node(known: &[Known], place: Place) -> Result<usize, Place> {
        known.iter().position(|known| known.places.contains(&place)).ok_or(place)
    }

    /// Every simple circle of transactions, found by trying all ways: whether it changes connections.
    fn circles(waits: &[Wait], known: &[Known]) -> Vec<(BTreeSet<Result<usize, Place>>, bool)> {
        fn walk(
            waits: &[Wait],
            known: &[Known],
            way: &mut Vec<(Place, Place)>,
            found: &mut Vec<(BTreeSet<Result<usize, Place>>, bool)>,
        ) {
            let (first, last) = (way[0].0, way[way.len() - 1].1);
            if node(known, first) == node(known, last) {
                let changes = first != last || way.windows(2).any(|pair| pair[0].1 != pair[1].0);
                found.push((way.iter().map(|step| node(known, step.0)).collect(), changes));
                return;
            }
            if way[..].iter().any(|step| node(known, step.0) == node(known, last)) {
                return;
            }
            for wait in waits {
                let from = (wait.server, wait.waiter);
                if node(known, from) == node(known, last) {
                    way.push((from, (wait.server, wait.blocker)));
                    walk(waits, known, way, found);
                    way.pop();
                }
            }
        }
        let mut found = Vec::new();
        for wait in waits {
            let step = ((wait.server, wait.waiter), (wait.server, wait.blocker));
            walk(waits, known, &mut vec![step], &mut found);
        }
        found
    }

    /// Up to five transactions, each with a connection on some of three servers, and waits between the
    /// connections of a server.
    fn views() -> impl Strategy<Value = (Vec<Known>, Vec<Wait>)> {
        let transactions = proptest::collection::vec(proptest::collection::vec(any::<bool>(), 3), 1..6);
        let waits = proptest::collection::vec((0..3_usize, 0..7_u32, 0..7_u32), 0..9);
        (transactions, waits).prop_map(|(transactions, waits)| {
            let all = transactions.iter().enumerate().map(|(at, on)| {
                let places: Vec<Place> = (0..3)
                    .filter(|server| on[*server])
                    .map(|server| (server, u32::try_from(at).unwrap()))
                    .collect();
                known(at as u64, &places)
            });
            let mut waits: Vec<Wait> = waits
                .into_iter()
                .filter(|(_, waiter, blocker)| waiter != blocker)
                .map(|(server, waiter, blocker)| wait(server, waiter, blocker))
                .collect();
            waits.sort();
            waits.dedup();
            (all.collect(), waits)
        })
    }

    proptest! {
        #[test]
        fn every_victim_is_in_a_circle_that_no_server_sees((known, waits) in views()) {
            let all = circles(&waits, &known);
            for victim in Graph::new(&waits, &known).victims() {
                let at = known.iter().position(|known| known.name == victim.name).unwrap();
                prop_assert!(all.iter().any(|(circle, changes)| *changes && circle.contains(&Ok(at))));
            }
        }

        #[test]
        fn no_circle_is_left((known, waits) in views()) {
            // What servers see by themselves is gone a moment later; such views are left out.
            let all = circles(&waits, &known);
            prop_assume!(all.iter().all(|(_, changes)| *changes));
            let victims = Graph::new(&waits, &known).victims();
            let gone: BTreeSet<usize> = victims
                .iter()
                .filter_map(|victim| known.iter().position(|known| known.name == victim.name))
                .collect();
            for (circle, _) in all {
                prop_assert!(circle.iter().any(|node| node.is_ok_and(|at| gone.contains(&at))));
            }
        }

        #[test]
        fn the_older_never_waiting_for_the_younger_is_no_deadlock((known, mut waits) in views()) {
            waits.retain(|wait| wait.waiter > wait.blocker);
            prop_assert!(Graph::new(&waits, &known).victims().is_empty());
        }

        #[test]
        fn the_same_view_confirms_its_victims((known, waits) in views()) {
            let graph = Graph::new(&waits, &known);
            prop_assert!(graph.victims().iter().all(|victim| graph.confirms(victim)));
        }

        #[test]
        fn the_order_of_what_was_read_does_not_count((known, waits) in views(), turn in 0..9_usize) {
            let (mut other, mut others) = (waits.clone(), known.clone());
            if !other.is_empty() {
                let middle = turn % other.len();
                other.rotate_left(middle);
            }
            others.reverse();
            prop_assert_eq!(Graph::new(&waits, &known).victims(), Graph::new(&other, &others).victims());
        }
    }
}
