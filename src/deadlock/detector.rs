//! When is looked for deadlocks, and what is done about one?

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::board::{Board, Notice};
use super::graph::{Graph, Known, Place, Victim, Wait};
use super::waits::{self, Families};
use super::{Deadlocks, Stand, Standing, locked};
use crate::topology::{Tablet, TabletAlias};
use crate::twopc::{ShardId, TwoPc};

/// The shortest and the longest pause between two looks of a gate, in milliseconds. Servers answer from a
/// copy that stays as it is while it is read too often, so many waits are looked at together, and gates do
/// not fall into step.
const PAUSE_MS: std::ops::Range<u64> = 130..330;

/// How often a statement that waits for a lock is looked at.
const WAITING: Duration = Duration::from_millis(500);

/// How often one that only takes long is.
const BUSY: Duration = Duration::from_secs(2);

/// How often the servers of a view may lead to further ones.
const STEPS: usize = 8;

/// How often the log names a server that does not tell its waits.
const REPEAT: Duration = Duration::from_secs(60);

/// Looks for deadlocks of one gate's transactions.
#[derive(Debug)]
pub struct Detector {
    deadlocks: Arc<Deadlocks>,
    twopc: Arc<TwoPc>,
    families: Families,
    board: Board,
    /// When a server was last named in the log.
    named: HashMap<TabletAlias, Instant>,
}

/// A transaction of this gate at one moment.
struct Sight {
    standing: Arc<Standing>,
    statement: u64,
    /// When its statement began, if one runs.
    since: Option<Instant>,
    stands: Vec<Stand>,
    runs: Vec<usize>,
    /// It is time to look at it.
    due: bool,
}

/// What one look has seen.
#[derive(Default)]
struct View {
    /// The servers, by their numbers.
    servers: Vec<Arc<Tablet>>,
    numbers: HashMap<TabletAlias, usize>,
    read: HashSet<usize>,
    waits: Vec<Wait>,
    known: Vec<Known>,
    /// Where the statements of the known transactions run.
    runs: HashMap<String, Vec<Place>>,
    /// Where transactions of other gates wait, and as which transactions of the engine, as their gates say.
    told: HashMap<String, Vec<(Place, String)>>,
}

// === impl Detector ===

impl Detector {
    /// Has seen nothing yet.
    #[must_use]
    pub fn new(deadlocks: Arc<Deadlocks>, twopc: Arc<TwoPc>) -> Self {
        Self {
            deadlocks,
            twopc,
            families: Families::default(),
            board: Board::default(),
            named: HashMap::new(),
        }
    }

    /// Looks until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let Some(wait) = self.deadlocks.config.wait else { return };
        let deadlocks = Arc::clone(&self.deadlocks);
        loop {
            // What begins later is due later.
            let due = self.next_look().map(|due| Ord::min(due, Instant::now() + wait));
            tokio::select! {
                () = stop.cancelled() => return,
                () = deadlocks.wake.notified(), if due.is_none() => continue,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                looked = self.round(wait) => if !looked { continue },
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause()) => {}
            }
        }
    }

    fn next_look(&self) -> Option<Instant> {
        let all = self.deadlocks.all();
        all.iter().filter_map(|standing| locked(&standing.state).look.map(|(at, _)| at)).min()
    }

    /// Looks at what is due; twice, if the first look has found a deadlock. False where nothing was due.
    async fn round(&mut self, wait: Duration) -> bool {
        let all = self.sights();
        let due: Vec<&Sight> = all.iter().filter(|one| one.due).collect();
        if due.is_empty() {
            return false;
        }
        let twopc = Arc::clone(&self.twopc);
        let metrics = &twopc.metrics().deadlock;
        metrics.looks.inc();
        let view = self.look(&all, &due).await;
        tracing::debug!(waits = ?view.waits, known = ?view.known, "lock waits were read");
        let waiting = view.waiting(&all);
        let keeps = |name: &str| {
            all.iter().any(|one| one.standing.name == name && (!one.due || waiting.contains(name)))
        };
        self.board.tidy(&self.twopc, keeps).await;
        for one in due {
            let most = if waiting.contains(&one.standing.name) { WAITING } else { BUSY };
            one.look_again(wait, most);
        }
        let mut victims = view.victims();
        victims.retain(|victim| all.iter().any(|one| one.standing.name == victim.name));
        if victims.is_empty() {
            return true;
        }
        sleep(Ord::max(waits::STALE, pause() / 2)).await;
        let all = self.sights();
        let own = |victim: &Victim| all.iter().find(|one| one.standing.name == victim.name);
        let starts: Vec<&Sight> = victims.iter().filter_map(own).collect();
        let second = self.look(&all, &starts).await;
        for victim in victims.iter().filter(|victim| second.confirms(&view, victim)) {
            let Some(one) = own(victim) else { continue };
            if one.standing.doom(victim.statement) {
                metrics.victims.inc();
                let took = one.since.map(|since| since.elapsed()).unwrap_or_default();
                metrics.seconds.observe(took.as_secs_f64());
                tracing::warn!(
                    transaction = victim.name,
                    circle = ?victim.circle.iter().filter_map(|step| Some(&step.change.as_ref()?.0)).collect::<Vec<_>>(),
                    "a deadlock over several shards: this transaction is rolled back"
                );
            }
        }
        true
    }

    /// All transactions of this gate.
    fn sights(&self) -> Vec<Sight> {
        let now = Instant::now();
        let all = self.deadlocks.all();
        let sights = all.into_iter().map(|standing| {
            let state = locked(&standing.state);
            let runs = if state.since.is_some() { state.running.clone() } else { Vec::new() };
            let (statement, since, stands) = (state.statement, state.since, state.stands.clone());
            let due = state.look.is_some_and(|(at, _)| at <= now);
            drop(state);
            Sight { standing, statement, since, stands, runs, due }
        });
        sights.collect()
    }

    /// Asks the servers on which these statements run, and those to which their waits lead.
    async fn look(&mut self, all: &[Sight], starts: &[&Sight]) -> View {
        let mut view = View::default();
        for one in all {
            view.add(&one.standing.name, one.standing.started_ms, one.statement, one.places());
        }
        let starts: Vec<Place> = starts
            .iter()
            .flat_map(|one| view.runs.get(&one.standing.name).into_iter().flatten().copied())
            .collect();
        let mut asked_others = HashSet::new();
        for _ in 0..STEPS {
            let graph = Graph::new(&view.waits, &view.known);
            let reached = graph.reach(starts.iter().copied());
            let strangers: BTreeSet<usize> =
                reached.iter().filter(|place| graph.owner(**place).is_none()).map(|place| place.0).collect();
            let mut unread: BTreeSet<usize> = starts.iter().map(|place| place.0).collect();
            for place in &reached {
                let runs = graph.owner(*place).and_then(|known| view.runs.get(&known.name));
                unread.extend(runs.into_iter().flatten().map(|place| place.0));
            }
            unread.retain(|server| !view.read.contains(server));
            let strangers: Vec<usize> =
                strangers.into_iter().filter(|server| !asked_others.contains(server)).collect();
            let is_reached = |one: &&Sight| {
                one.since.is_some()
                    && view.known_places(&one.standing.name).iter().any(|place| reached.contains(place))
            };
            let own: Vec<&Sight> = all.iter().filter(is_reached).collect();
            if !unread.is_empty() {
                self.read(&mut view, unread).await;
            } else if !strangers.is_empty() && self.deadlocks.config.between_gates {
                asked_others.extend(strangers.iter().copied());
                self.exchange(&mut view, &own, &strangers).await;
            } else {
                break;
            }
        }
        view
    }

    async fn read(&mut self, view: &mut View, servers: BTreeSet<usize>) {
        let mut asked = Vec::new();
        for server in servers {
            view.read.insert(server);
            let tablet = Arc::clone(&view.servers[server]);
            match self.families.of(&self.twopc, &tablet).await {
                Ok(family) => asked.push((server, tablet, family)),
                Err(why) => self.silent(&tablet, &why),
            }
        }
        let twopc = Arc::clone(&self.twopc);
        let answers = join_all(
            asked.iter().map(|(server, tablet, family)| waits::read(&twopc, tablet, *server, *family)),
        );
        for (answer, (_, tablet, _)) in answers.await.into_iter().zip(&asked) {
            match answer {
                Ok(waits) => view.waits.extend(waits),
                Err(why) => {
                    self.families.forget(&tablet.alias);
                    self.silent(tablet, &why);
                }
            }
        }
    }

    fn silent(&mut self, tablet: &Tablet, why: &str) {
        self.twopc.metrics().deadlock.failures.inc();
        if self.named.get(&tablet.alias).is_none_or(|last| last.elapsed() >= REPEAT) {
            self.named.insert(tablet.alias.clone(), Instant::now());
            tracing::warn!(server = %tablet.alias, why, "lock waits cannot be read: deadlocks over shards last until innodb_lock_wait_timeout");
        }
    }

    /// Writes down what waits here, and takes in what other gates wrote on servers with strangers.
    async fn exchange(&mut self, view: &mut View, own: &[&Sight], strangers: &[usize]) {
        for one in own {
            let notice = Notice {
                name: one.standing.name.clone(),
                started_ms: one.standing.started_ms,
                statement: one.statement,
                places: one
                    .places()
                    .into_iter()
                    .map(|(tablet, connection, runs)| {
                        let waits_as = runs.then(|| view.waits_as(&tablet.alias, connection));
                        (tablet.alias.clone(), connection, waits_as)
                    })
                    .collect(),
            };
            self.board.write(&self.twopc, &notice, &one.stands).await;
        }
        // Whoever waits has written on all his shards, so also where he stands in somebody's way.
        let directory = self.twopc.primaries();
        let shards: Vec<(ShardId, Arc<Tablet>)> = strangers
            .iter()
            .filter_map(|server| directory.get(&view.servers[*server].alias).cloned())
            .collect();
        let mut notices = Vec::new();
        for (shard, tablet) in shards {
            notices.extend(self.board.read(&self.twopc, shard, &tablet).await);
        }
        // What stays of a transaction of this gate is over.
        notices.retain(|notice| !self.deadlocks.is_ours(&notice.name));
        for notice in notices {
            view.add_notice(notice, &directory);
        }
    }
}

fn pause() -> Duration {
    Duration::from_millis(rand::random_range(PAUSE_MS))
}

// === impl Sight ===

impl Sight {
    /// Its connections, and whether the statement runs there.
    fn places(&self) -> Vec<(Arc<Tablet>, u32, bool)> {
        let place = |(at, stand): (usize, &Stand)| {
            (Arc::clone(&stand.tablet), stand.connection, self.runs.contains(&at))
        };
        self.stands.iter().enumerate().map(place).collect()
    }

    /// The next look comes after twice the last pause, at most after `most`.
    fn look_again(&self, wait: Duration, most: Duration) {
        let mut state = locked(&self.standing.state);
        if state.statement == self.statement
            && let Some((at, pause)) = &mut state.look
        {
            *pause = Ord::max(wait, Ord::min(*pause * 2, most));
            *at = Instant::now() + *pause;
        }
    }
}

// === impl View ===

impl View {
    fn add(&mut self, name: &str, started_ms: u64, statement: u64, places: Vec<(Arc<Tablet>, u32, bool)>) {
        let (mut all, mut runs) = (Vec::new(), Vec::new());
        for (tablet, connection, running) in places {
            let server = *self.numbers.entry(tablet.alias.clone()).or_insert_with(|| {
                self.servers.push(tablet);
                self.servers.len() - 1
            });
            all.push((server, connection));
            if running {
                runs.push((server, connection));
            }
        }
        self.runs.insert(name.to_owned(), runs);
        self.known.push(Known { name: name.to_owned(), started_ms, statement, places: all });
    }

    /// Adds a transaction of another gate, unless it is known.
    fn add_notice(&mut self, notice: Notice, directory: &HashMap<TabletAlias, (ShardId, Arc<Tablet>)>) {
        let Notice { name, started_ms, statement, places } = notice;
        if self.told.contains_key(&name) {
            return;
        }
        let here = |alias: &TabletAlias| Some(Arc::clone(&directory.get(alias)?.1));
        let stands = places.iter().filter_map(|(alias, id, runs)| Some((here(alias)?, *id, runs.is_some())));
        self.add(&name, started_ms, statement, stands.collect());
        let waits = places.into_iter().filter_map(|(alias, id, runs)| {
            let trx = runs.filter(|trx| !trx.is_empty())?;
            Some(((*self.numbers.get(&alias)?, id), trx))
        });
        let waits = waits.collect();
        self.told.insert(name, waits);
    }

    /// As which transaction of the engine a connection waits; empty if it does not.
    fn waits_as(&self, alias: &TabletAlias, connection: u32) -> String {
        let place = self.numbers.get(alias).map(|server| (*server, connection));
        let wait = self.waits.iter().find(|wait| Some((wait.server, wait.waiter)) == place);
        wait.map(|wait| wait.waiter_trx.clone()).unwrap_or_default()
    }

    /// The transactions of which it is certain that they have their connections. What another gate wrote
    /// down may be over, and its connections may work for others: it counts only where it still waits as
    /// the same transaction of the engine.
    fn certain(&self) -> Vec<Known> {
        let waits = |(place, trx): &(Place, String)| {
            self.waits.iter().any(|wait| (wait.server, wait.waiter) == *place && wait.waiter_trx == *trx)
        };
        let is_certain =
            |known: &&Known| self.told.get(&known.name).is_none_or(|told| told.iter().any(waits));
        self.known.iter().filter(is_certain).cloned().collect()
    }

    fn known_places(&self, name: &str) -> &[Place] {
        self.known.iter().find(|known| known.name == name).map_or(&[], |known| &known.places)
    }

    /// Names of the transactions of this gate that wait for a lock.
    fn waiting(&self, all: &[Sight]) -> HashSet<String> {
        let graph = Graph::new(&self.waits, &self.known);
        let waits =
            |one: &&Sight| self.known_places(&one.standing.name).iter().any(|place| graph.is_waiting(*place));
        all.iter().filter(waits).map(|one| one.standing.name.clone()).collect()
    }

    fn victims(&self) -> Vec<Victim> {
        Graph::new(&self.waits, &self.certain()).victims()
    }

    /// Whether a circle of another view is there in this one, too. Servers have a number in each.
    fn confirms(&self, other: &View, victim: &Victim) -> bool {
        let mut victim = victim.clone();
        let known = victim.circle.iter_mut().all(|step| {
            let here = self.numbers.get(&other.servers[step.wait.server].alias);
            here.map(|number| step.wait.server = *number).is_some()
        });
        known && Graph::new(&self.waits, &self.certain()).confirms(&victim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::TabletType;
    use crate::topology::Address;

    fn server(uid: u32) -> (TabletAlias, (ShardId, Arc<Tablet>)) {
        let alias = TabletAlias { cell: "zone1".into(), uid };
        let tablet = Tablet {
            alias: alias.clone(),
            keyspace: "ks".into(),
            shard: "0".into(),
            kind: TabletType::Primary,
            address: Address::Tcp { host: "localhost".into(), port: 3306 },
            schema: "ks".into(),
        };
        (alias, (ShardId(uid), Arc::new(tablet)))
    }

    fn wait(server: usize, waiter: u32, waiter_trx: &str, blocker: u32) -> Wait {
        Wait {
            server,
            waiter,
            waiter_trx: waiter_trx.into(),
            lock: format!("l{waiter}"),
            blocker,
            blocker_trx: format!("t{blocker}"),
            blocker_waits: false,
        }
    }

    #[test]
    fn what_another_gate_wrote_counts_while_it_waits_as_it_says() {
        let servers: HashMap<_, _> = [server(1), server(2)].into();
        let alias = |uid| TabletAlias { cell: "zone1".into(), uid };
        let tablet = |uid| Arc::clone(&servers[&alias(uid)].1);
        let look = |told: &str, now: &str| {
            let mut view = View::default();
            view.add("one.1", 5, 1, vec![(tablet(1), 10, true), (tablet(2), 11, false)]);
            let notice = Notice {
                name: "two.1".into(),
                started_ms: 4,
                statement: 1,
                places: vec![(alias(1), 20, None), (alias(2), 21, Some(told.into()))],
            };
            view.add_notice(notice, &servers);
            view.waits = vec![wait(0, 10, "100", 20), wait(1, 21, now, 11)];
            view
        };
        let view = look("200", "200");
        let victims = view.victims();
        assert_eq!(victims.len(), 1);
        assert_eq!(victims[0].name, "one.1");
        assert_eq!(view.waits_as(&alias(2), 21), "200");
        assert_eq!(view.waits_as(&alias(2), 11), "");
        // The connections of a transaction that is over work for two others.
        assert!(look("200", "201").victims().is_empty());
        assert!(look("", "200").victims().is_empty());
        assert!(!look("200", "201").confirms(&view, &victims[0]));
        // In another view the servers have other numbers.
        let mut turned = View::default();
        turned.add("one.1", 5, 1, vec![(tablet(2), 11, false), (tablet(1), 10, true)]);
        assert!(!turned.confirms(&view, &victims[0]));
        let places = vec![(alias(1), 20, None), (alias(2), 21, Some("200".into()))];
        turned.add_notice(Notice { name: "two.1".into(), started_ms: 4, statement: 1, places }, &servers);
        turned.waits = vec![wait(1, 10, "100", 20), wait(0, 21, "200", 11)];
        assert!(turned.confirms(&view, &victims[0]));
    }
}
