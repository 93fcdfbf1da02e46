//! Does a history of appends and reads show an anomaly that the gate promises to keep out?
//!
//! Lists over a few keys: every element is appended once, so a list tells who wrote before whom, and a read
//! of it whose writes were seen (the idea of Elle, Kingsbury and Alvaro 2020). Over shards the gate promises
//! READ COMMITTED without atomic visibility: no dirty writes (G0), no reads of what was rolled back (G1a) or
//! was not the last of its transaction (G1b), and no circle of writes and reads (G1c). Within a shard a
//! transaction reads a key twice alike (REPEATABLE READ).

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::ledger::{self, Told};
use crate::wire::{Wire, WireError};

/// One thing that a transaction did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Append(u64, u64),
    Read(u64, Vec<u64>),
}

/// A transaction and what its client was told.
#[derive(Debug, Clone)]
pub struct Entry {
    pub steps: Vec<Step>,
    pub told: Told,
}

/// The elements of a list as it is stored: `,3,17`.
pub fn elements(text: &str) -> Vec<u64> {
    text.split(',').filter(|part| !part.is_empty()).map(|part| part.parse().expect("an element")).collect()
}

/// Appends to some of the lists and reads some. `element` gives each a number of its own.
pub fn transaction(
    wire: &mut Wire,
    keys: &[u64],
    mut element: impl FnMut() -> u64,
    random: &mut StdRng,
) -> Entry {
    let mut steps = Vec::new();
    let mut written = BTreeSet::new();
    let mut work = || -> Result<(), WireError> {
        wire.ok("BEGIN")?;
        for _ in 0..random.random_range(2..=4) {
            let key = keys[random.random_range(0..keys.len())];
            if random.random() {
                let element = element();
                // Written down first: nobody knows what becomes of a statement without an answer.
                steps.push(Step::Append(key, element));
                written.insert(key);
                wire.ok(format!("UPDATE list SET items = CONCAT(items, ',{element}') WHERE id = {key}"))?;
            } else {
                let items = wire.value(format!("SELECT items FROM list WHERE id = {key}"))?;
                steps.push(Step::Read(key, elements(&items.unwrap_or_default())));
            }
        }
        Ok(())
    };
    let told = if work().is_ok() {
        ledger::told(wire.ok("COMMIT"), written.len())
    } else {
        // Where the connection is gone, so is the transaction: COMMIT was never sent.
        let _ = wire.ok("ROLLBACK");
        Told::NotTried
    };
    Entry { steps, told }
}

/// All anomalies of a history that ended with these lists.
pub fn anomalies(history: &[Entry], lists: &BTreeMap<u64, Vec<u64>>) -> Vec<String> {
    let mut found = Vec::new();
    let mut writer: BTreeMap<u64, usize> = BTreeMap::new();
    // The last element that a transaction has put into a list.
    let mut last: BTreeMap<(usize, u64), u64> = BTreeMap::new();
    for (at, entry) in history.iter().enumerate() {
        for step in &entry.steps {
            if let Step::Append(key, element) = step {
                writer.insert(*element, at);
                last.insert((at, *key), *element);
            }
        }
    }
    for (key, list) in lists {
        let distinct: BTreeSet<_> = list.iter().collect();
        if distinct.len() != list.len() {
            found.push(format!("key {key}: an element is there twice: {list:?}"));
        }
        for element in list {
            match writer.get(element).map(|at| &history[*at].told) {
                None => found.push(format!("key {key}: nobody wrote {element}")),
                Some(Told::Failed(..) | Told::NotTried) => {
                    found.push(format!("key {key}: {element} was rolled back and is there"));
                }
                Some(Told::Ok(_) | Told::Unknown(_) | Told::Lost) => {}
            }
        }
    }
    let mut edges: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    let mut edge = |from: usize, to: usize| {
        if from != to {
            edges.entry(from).or_default().insert(to);
        }
    };
    for list in lists.values() {
        for pair in list.windows(2) {
            if let (Some(one), Some(other)) = (writer.get(&pair[0]), writer.get(&pair[1])) {
                edge(*one, *other);
            }
        }
    }
    for (at, entry) in history.iter().enumerate() {
        let mut own: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        let mut seen: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for step in &entry.steps {
            let (key, read) = match step {
                Step::Append(key, element) => {
                    own.entry(*key).or_default().push(*element);
                    continue;
                }
                Step::Read(key, read) => (*key, read),
            };
            let own = own.get(&key).map(Vec::as_slice).unwrap_or_default();
            let Some(others) = read.strip_suffix(own) else {
                found.push(format!("key {key}: a transaction does not see its own {own:?} in {read:?}"));
                continue;
            };
            if own.is_empty() && seen.insert(key, others.to_vec()).is_some_and(|before| before != others) {
                found.push(format!("key {key}: read twice in one transaction, not alike: {others:?}"));
            }
            // Of a transaction that is rolled back afterwards, the reads count too.
            let list = lists.get(&key).map(Vec::as_slice).unwrap_or_default();
            if !list.starts_with(others) {
                found.push(format!(
                    "key {key}: {others:?} was read (G1a or a lost write), the list is {list:?}"
                ));
            }
            let Some(element) = others.last() else { continue };
            let Some(wrote) = writer.get(element) else { continue };
            if last.get(&(*wrote, key)) != Some(element) {
                found.push(format!(
                    "key {key}: {element} was read, which is not the last of its transaction (G1b)"
                ));
            }
            edge(*wrote, at);
        }
    }
    if let Some(circle) = circle(&edges) {
        let told: Vec<_> = circle.iter().map(|at| &history[*at]).collect();
        found.push(format!("a circle of writes and reads (G0 or G1c): {told:#?}"));
    }
    found
}

/// Transactions that come before each other, if there are any.
fn circle(edges: &BTreeMap<usize, BTreeSet<usize>>) -> Option<Vec<usize>> {
    let mut incoming: BTreeMap<usize, usize> = BTreeMap::new();
    for (from, all) in edges {
        incoming.entry(*from).or_default();
        for to in all {
            *incoming.entry(*to).or_default() += 1;
        }
    }
    // Whoever has nobody before him goes, until none is left or only circles and what comes after them.
    let mut free: Vec<usize> = incoming.iter().filter(|(_, count)| **count == 0).map(|(at, _)| *at).collect();
    while let Some(at) = free.pop() {
        incoming.remove(&at);
        for to in edges.get(&at).into_iter().flatten() {
            let count = incoming.get_mut(to).expect("it has one before it");
            *count -= 1;
            if *count == 0 {
                free.push(*to);
            }
        }
    }
    // From any of those that are left, one goes back along their predecessors until one comes again.
    let mut at = *incoming.keys().next()?;
    let mut way = Vec::new();
    while !way.contains(&at) {
        way.push(at);
        let before = |from: &&usize| edges.get(*from).is_some_and(|all| all.contains(&at));
        at = *incoming.keys().find(before).expect("each has one before it");
    }
    let begin = way.iter().position(|one| *one == at).expect("it came again");
    Some(way.split_off(begin))
}

/// Histories of two keys whose anomalies are known: the checker must tell them apart.
///
/// # Panics
/// Where it does not.
pub fn checks_itself() {
    let entry = |steps: &[Step], told: Told| Entry { steps: steps.to_vec(), told };
    let ok = || Told::Ok(0);
    let (append, read) = (Step::Append, |key, list: &[u64]| Step::Read(key, list.to_vec()));
    let lists = |a: &[u64], b: &[u64]| BTreeMap::from([(1, a.to_vec()), (2, b.to_vec())]);
    let two = [entry(&[append(1, 10), append(2, 11)], ok()), entry(&[append(1, 20), append(2, 21)], ok())];
    let with = |more: Entry| [&two[..], &[more]].concat();
    let none: [String; 0] = [];
    assert_eq!(anomalies(&two, &lists(&[10, 20], &[11, 21])), none);
    // Half of a transaction may be seen, and two reads in any order.
    let half = with(entry(&[read(1, &[10]), read(2, &[]), append(1, 30), read(1, &[10, 20, 30])], ok()));
    assert_eq!(anomalies(&half, &lists(&[10, 20, 30], &[11, 21])), none);
    let found = |history: &[Entry], lists, text: &str| {
        let all = anomalies(history, &lists);
        assert!(all.iter().any(|one| one.contains(text)), "{text}: {all:?}");
    };
    found(&two, lists(&[10, 20], &[21, 11]), "G0");
    found(&with(entry(&[read(1, &[10, 99])], ok())), lists(&[10, 20], &[11, 21]), "G1a");
    let failed = with(entry(&[append(1, 30)], Told::Failed(1213, String::new())));
    found(&failed, lists(&[10, 20, 30], &[11, 21]), "was rolled back and is there");
    let twice = with(entry(&[append(1, 30), append(1, 31)], ok()));
    let between = [&twice[..], &[entry(&[read(1, &[10, 20, 30])], ok())]].concat();
    found(&between, lists(&[10, 20, 30, 31], &[11, 21]), "G1b");
    let changed = with(entry(&[read(1, &[]), read(1, &[10])], ok()));
    found(&changed, lists(&[10, 20], &[11, 21]), "not alike");
    let circle =
        [entry(&[append(1, 10), read(2, &[21])], ok()), entry(&[append(2, 21), read(1, &[10])], ok())];
    found(&circle, lists(&[10], &[21]), "G1c");
    found(&two[..1], lists(&[10, 10], &[11]), "twice");
}
