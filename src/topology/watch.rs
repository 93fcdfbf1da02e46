//! Which topology and VSchema are in use right now, and how does a new version get there?
//!
//! A feed (the files, or etcd) offers versions. What holds together replaces what is in use; what does
//! not is logged once and counted, and the last good state of that keyspace stays. Statements keep the
//! version that they began with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::assemble::Candidate;
use super::etcd::Etcd;
use super::files::{Files, Look};
use super::{Reroutes, Snapshot};
use crate::config::{Topology as Settings, TopologyKind};
use crate::metrics::Metrics;
use crate::vschema::{RoutingRule, Source, VSchema};

/// A topology and the VSchema over it, as of one moment.
#[derive(Debug, Clone)]
pub struct Current {
    /// Keyspaces, shards and servers.
    pub snapshot: Arc<Snapshot>,
    /// Tables and vindexes.
    pub vschema: Arc<VSchema>,
}

/// The topology in use, kept up to date from where it comes.
#[derive(Debug)]
pub struct Topology {
    current: ArcSwap<Current>,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    asked: Notify,
    metrics: Arc<Metrics>,
    feed: Feed,
}

/// Where versions come from.
#[derive(Debug)]
enum Feed {
    Files(Mutex<Files>),
    Etcd(Box<Etcd>),
}

/// What is known beside the version in use.
#[derive(Debug, Default)]
struct State {
    vschema_version: u64,
    problems: BTreeSet<String>,
    connections: BTreeMap<Arc<str>, Connection>,
}

/// How the connection to the records of a root is.
#[derive(Debug, Clone)]
pub struct Connection {
    /// When it was last known that nothing is newer than what is known here.
    pub heard: Instant,
    /// Why nothing is heard now.
    pub lost: Option<String>,
}

// === impl Topology ===

impl Topology {
    /// Reads the topology from where the configuration says it is. With etcd away, what was saved in
    /// `cache` is used, if there is such a file.
    ///
    /// # Errors
    /// What is wrong with the files, or why etcd gives no topology.
    pub async fn load(
        settings: &Settings,
        cache: Option<&Path>,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, String> {
        match settings.kind {
            TopologyKind::File => {
                Self::from_file(settings.path.as_deref().ok_or("topology.path is not set")?, metrics)
            }
            TopologyKind::Etcd => {
                let (etcd, candidate) = Etcd::load(settings, cache, &metrics).await?;
                Ok(Self::start(Feed::Etcd(Box::new(etcd)), candidate, metrics))
            }
        }
    }

    /// Reads the topology file and the files that it names.
    ///
    /// # Errors
    /// Every fault, one a line, with the file's name.
    pub fn from_file(path: &Path, metrics: Arc<Metrics>) -> Result<Arc<Self>, String> {
        let (files, candidate) = Files::load(path)?;
        Ok(Self::start(Feed::Files(Mutex::new(files)), candidate, metrics))
    }

    fn start(feed: Feed, candidate: Candidate, metrics: Arc<Metrics>) -> Arc<Self> {
        let nothing = Current {
            snapshot: Arc::new(Snapshot::default()),
            vschema: Arc::new(VSchema::new(Source::default(), 0)),
        };
        let topology = Arc::new(Self {
            current: ArcSwap::from_pointee(nothing),
            state: Mutex::default(),
            changes: watch::channel(0).0,
            asked: Notify::new(),
            metrics,
            feed,
        });
        topology.metrics.topology.current.set(1);
        topology.offer(candidate);
        topology
    }

    /// The version in use.
    pub fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// Tells when another version is in use.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Why the newest state is not in use, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        let state = self.state();
        let lost = state.connections.iter().filter_map(|(root, connection)| {
            let why = connection.lost.as_ref()?;
            let seconds = connection.heard.elapsed().as_secs();
            Some(format!("the topology of {root} is {seconds} s old: {why}"))
        });
        state.problems.iter().cloned().chain(lost).collect()
    }

    /// Asks the watcher to look now.
    pub fn look_now(&self) {
        self.asked.notify_one();
    }

    /// Keeps the topology up to date until `stop`; files are looked at every `poll_interval`.
    pub async fn watch(self: Arc<Self>, settings: Settings, stop: CancellationToken) {
        if let Feed::Etcd(etcd) = &self.feed {
            return etcd.run(&self, stop).await;
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(settings.poll_interval) => {}
                () = self.asked.notified() => {}
            }
            let topology = Arc::clone(&self);
            // Reads files. A panic in there is a fault that its own log line tells.
            if let Err(error) = tokio::task::spawn_blocking(move || topology.refresh()).await {
                tracing::error!(%error, "looking at the topology failed");
            }
        }
    }

    /// Looks at the files once; true when another version is in use now.
    pub fn refresh(&self) -> bool {
        let Feed::Files(files) = &self.feed else { return false };
        let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
        match files.look() {
            Look::Same => false,
            Look::Changed(candidate) => self.offer(candidate),
            Look::Refused(problem) => {
                self.report(BTreeSet::from([problem]));
                false
            }
        }
    }

    /// Takes a version in use, as far as it holds together; true when something has changed.
    pub(super) fn offer(&self, candidate: Candidate) -> bool {
        let old = self.current();
        let Candidate { mut snapshot, source, mut problems } = candidate;
        let mut source = Arc::unwrap_or_clone(source);
        keep_to_one_shard(&old, &mut snapshot, &mut source, &mut problems);
        let vschema = self.build(&old.vschema, source, &mut problems);
        let rules = &vschema.source().shard_routing_rules.rules;
        snapshot.reroutes = Reroutes::new(rules, &snapshot.keyspaces);
        problems.extend(snapshot.reroutes.problems());
        let snapshot = if *old.snapshot == snapshot { Arc::clone(&old.snapshot) } else { Arc::new(snapshot) };
        let same = Arc::ptr_eq(&snapshot, &old.snapshot) && Arc::ptr_eq(&vschema, &old.vschema);
        if !same {
            let shards: usize = snapshot.keyspaces.values().map(|keyspace| keyspace.shards.len()).sum();
            let metrics = &self.metrics.topology;
            metrics.loads.inc();
            metrics.keyspaces.set(i64::try_from(snapshot.keyspaces.len()).unwrap_or(i64::MAX));
            metrics.shards.set(i64::try_from(shards).unwrap_or(i64::MAX));
            self.current.store(Arc::new(Current { snapshot, vschema }));
        }
        self.report(problems);
        if !same {
            tracing::info!("a new topology is in use");
            self.changes.send_modify(|version| *version += 1);
        }
        !same
    }

    /// A VSchema of the source, in which each keyspace and each routing rule that has an error is as it was
    /// when it had none.
    fn build(&self, old: &Arc<VSchema>, source: Source, problems: &mut BTreeSet<String>) -> Arc<VSchema> {
        if *old.source() == source {
            problems.extend(errors(old));
            return Arc::clone(old);
        }
        let version = self.state().vschema_version + 1;
        let mut new = VSchema::new(source, version);
        loop {
            let mut source = new.source().clone();
            let mut kept = false;
            for (name, error) in new.keyspaces().filter_map(|one| Some((one.name(), one.error()?))) {
                let was_good = old.keyspace(name).is_some_and(|keyspace| keyspace.error().is_none());
                let last = old.source().keyspaces.get(&**name).filter(|_| was_good);
                let present = source.keyspaces.get_mut(&**name);
                if let (Some(last), Some(present)) = (last, present)
                    && last != present
                {
                    let problem = format!("keyspace {name}: {error}; its last good VSchema stays in use");
                    if !self.state().problems.contains(&problem) {
                        self.metrics.topology.vschema_failures.inc();
                    }
                    problems.insert(problem);
                    present.clone_from(last);
                    kept = true;
                }
            }
            for (from, error) in new.wrong_rules() {
                let was_good = old.wrong_rules().all(|(wrong, _)| wrong != from);
                let of = |source: &Source| -> Vec<RoutingRule> {
                    let rules = source.routing_rules.rules.iter();
                    rules.filter(|rule| rule.from_table == from).cloned().collect()
                };
                let (last, present) = (of(old.source()), of(&source));
                if was_good && !last.is_empty() && last != present {
                    let problem = format!("{error}; its last good state stays in use");
                    if !self.state().problems.contains(&problem) {
                        self.metrics.topology.vschema_failures.inc();
                    }
                    problems.insert(problem);
                    let rules = &mut source.routing_rules.rules;
                    let at = rules.iter().position(|rule| rule.from_table == from).unwrap_or(rules.len());
                    rules.retain(|rule| rule.from_table != from);
                    rules.splice(at..at, last);
                    kept = true;
                }
            }
            if !kept {
                break;
            }
            new = VSchema::new(source, version);
        }
        problems.extend(errors(&new));
        if new.source() == old.source() {
            return Arc::clone(old);
        }
        for rule in new.not_obeyed().iter().filter(|rule| !old.not_obeyed().contains(rule)) {
            tracing::warn!(rule, "this rule has no effect");
        }
        self.state().vschema_version = version;
        self.metrics.topology.vschema_loads.inc();
        Arc::new(new)
    }

    /// Logs each problem once, not every time it is found.
    fn report(&self, problems: BTreeSet<String>) {
        let mut state = self.state();
        for problem in problems.difference(&state.problems) {
            tracing::error!(%problem, "a part of the topology is refused; the last good state stays in use");
            self.metrics.topology.failures.inc();
        }
        for problem in state.problems.difference(&problems) {
            tracing::info!(%problem, "this problem of the topology is solved");
        }
        self.metrics.topology.current.set(i64::from(problems.is_empty()));
        state.problems = problems;
    }

    /// Notes that a root was heard of.
    pub(super) fn heard(&self, root: &Arc<str>) {
        let heard = Connection { heard: Instant::now(), lost: None };
        let before = self.state().connections.insert(Arc::clone(root), heard);
        self.metrics.topology.connected(root).set(1);
        if before.is_some_and(|before| before.lost.is_some()) {
            tracing::info!(%root, "the topology can be read again");
        }
    }

    /// Notes why a root cannot be read, and since when.
    pub(super) fn lost(&self, root: &Arc<str>, since: Instant, why: String) {
        let mut state = self.state();
        let connection =
            state.connections.entry(Arc::clone(root)).or_insert(Connection { heard: since, lost: None });
        if connection.lost.is_none() {
            tracing::error!(%root, why, "the topology cannot be read; the last known one stays in use");
        }
        connection.lost = Some(why);
        self.metrics.topology.connected(root).set(0);
        self.metrics.topology.watch_error(root);
    }

    /// Forgets a root that does not count any more.
    pub(super) fn forget(&self, root: &str) {
        self.state().connections.remove(root);
        self.metrics.topology.forget(root);
    }

    /// How the connections to etcd are, by root; none with files.
    pub fn connections(&self) -> BTreeMap<Arc<str>, Connection> {
        self.state().connections.clone()
    }

    /// Brings up to date what changes with time.
    pub fn count_age(&self) {
        for (root, connection) in &self.state().connections {
            let age = if connection.lost.is_some() { connection.heard.elapsed().as_secs() } else { 0 };
            self.metrics.topology.age(root).set(i64::try_from(age).unwrap_or(i64::MAX));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A keyspace that is not sharded has one shard. Of one that has several, the last good state stays,
/// or nothing is served.
fn keep_to_one_shard(
    old: &Current,
    snapshot: &mut Snapshot,
    source: &mut Source,
    problems: &mut BTreeSet<String>,
) {
    let sharded =
        |source: &Source, name: &str| source.keyspaces.get(name).is_some_and(|keyspace| keyspace.sharded);
    let wrong: Vec<Arc<str>> = snapshot
        .keyspaces
        .values()
        .filter(|keyspace| keyspace.shards.len() > 1 && !sharded(source, &keyspace.name))
        .map(|keyspace| Arc::clone(&keyspace.name))
        .collect();
    for name in wrong {
        let shards = snapshot.keyspaces.remove(&name).map_or(0, |keyspace| keyspace.shards.len());
        problems.insert(format!("keyspace {name} has {shards} shards and is not sharded"));
        let vschema = old.vschema.source().keyspaces.get(&*name);
        if let (Some(keyspace), Some(vschema)) = (old.snapshot.keyspaces.get(&name), vschema) {
            snapshot.keyspaces.insert(Arc::clone(&name), keyspace.clone());
            source.keyspaces.insert(name.to_string(), vschema.clone());
        }
    }
}

/// A faulty keyspace harms no other: its statements fail, and here is why.
fn errors(vschema: &VSchema) -> impl Iterator<Item = String> {
    let faulty = vschema.keyspaces().filter_map(|keyspace| Some((keyspace.name(), keyspace.error()?)));
    let faulty = faulty.map(|(name, error)| format!("keyspace {name}: its VSchema cannot be used: {error}"));
    faulty.chain(vschema.wrong_rules().map(|(_, error)| error)).chain(vschema.wrong_keyspace_rules())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    const TOPOLOGY: &str = r#"
        [keyspaces.ks]
        vschema = "vschema.json"
        [[keyspaces.ks.shards]]
        name = "0"
        servers = [{ alias = "zone1-1", host = "a", role = "primary" }]
    "#;

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            let files = Self(tempfile::tempdir().unwrap());
            files.write("topology.toml", TOPOLOGY);
            files.write("vschema.json", r#"{"tables": {"t": {}}}"#);
            files
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.path().join(name), text).unwrap();
        }

        fn load(&self) -> (Arc<Topology>, Arc<Metrics>) {
            let metrics = Arc::new(Metrics::new().unwrap());
            (
                Topology::from_file(&self.0.path().join("topology.toml"), Arc::clone(&metrics)).unwrap(),
                metrics,
            )
        }
    }

    #[test]
    fn a_changed_file_replaces_what_it_says_and_nothing_else() {
        let files = Files::new();
        let (topology, metrics) = files.load();
        let before = topology.current();
        assert!(!topology.refresh());
        files.write("topology.toml", &TOPOLOGY.replace("\"a\"", "\"b\""));
        assert!(topology.refresh());
        let after = topology.current();
        assert_ne!(before.snapshot, after.snapshot);
        assert!(Arc::ptr_eq(&before.vschema, &after.vschema));
        files.write("vschema.json", r#"{"tables": {"t": {}, "u": {}}}"#);
        assert!(topology.refresh());
        let last = topology.current();
        assert!(Arc::ptr_eq(&after.snapshot, &last.snapshot));
        assert_eq!((after.vschema.version(), last.vschema.version()), (1, 2));
        assert!(last.vschema.keyspace("ks").unwrap().table("u").is_some());
        assert_eq!(metrics.topology.vschema_loads.get(), 2);
    }

    #[test]
    fn a_bad_file_keeps_the_last_good_state_and_is_told_once() {
        let files = Files::new();
        let (topology, metrics) = files.load();
        files.write("vschema.json", "{");
        assert!(!topology.refresh());
        assert!(!topology.refresh());
        assert_eq!(metrics.topology.failures.get(), 1);
        assert_eq!(metrics.topology.current.get(), 0);
        assert!(topology.problems()[0].contains("vschema.json"));
        assert!(topology.current().vschema.keyspace("ks").unwrap().table("t").is_some());
        files.write("vschema.json", r#"{"tables": {"t": {}}}"#);
        assert!(!topology.refresh());
        assert_eq!((topology.problems().len(), metrics.topology.current.get()), (0, 1));
    }

    #[test]
    fn a_wrong_rule_stays_as_it_was() {
        let files = Files::new();
        files.write("topology.toml", &format!("routing_rules = \"rules.json\"\n{TOPOLOGY}"));
        let rules = |to: &str| {
            format!(
                r#"{{"rules": [{{"from_table": "a", "to_tables": [{to}]}}, {{"from_table": "b", "to_tables": ["ks.t"]}}]}}"#
            )
        };
        files.write("rules.json", &rules("\"ks.t\""));
        let (topology, metrics) = files.load();
        assert!(topology.problems().is_empty(), "{:?}", topology.problems());
        let good = topology.current();
        for (wrong, why) in [
            ("\"nowhere.t\"", "the rule for a names keyspace nowhere"),
            ("\"ks.t\", \"ks.u\"", "table a has more than one target"),
        ] {
            files.write("rules.json", &rules(wrong));
            assert!(!topology.refresh(), "{wrong}");
            assert!(Arc::ptr_eq(&good.vschema, &topology.current().vschema));
            assert!(topology.problems()[0].contains(why), "{:?}", topology.problems());
        }
        assert_eq!(metrics.topology.vschema_failures.get(), 2);
        // What is right beside it is in use.
        files.write("rules.json", &rules("\"nowhere.t\"").replace("\"b\"", "\"c\""));
        assert!(topology.refresh());
        let rules_now = topology.current().vschema.source().routing_rules.rules.clone();
        let names: Vec<_> =
            rules_now.iter().map(|rule| (rule.from_table.as_str(), rule.to_tables.len())).collect();
        assert_eq!(names, [("a", 1), ("c", 1)]);
        assert!(topology.current().vschema.rule_errors().is_empty());
        files.write("rules.json", &rules("\"ks.t\""));
        assert!(topology.refresh());
        assert!(topology.problems().is_empty(), "{:?}", topology.problems());
    }

    #[test]
    fn rules_for_keyspaces_and_shards_come_from_files_too() {
        let files = Files::new();
        let kinds = "keyspace_routing_rules = 'keyspaces.json'\nshard_routing_rules = 'shards.json'\n";
        files.write("topology.toml", &format!("{kinds}{TOPOLOGY}"));
        files.write("keyspaces.json", r#"{"rules": [{"from_keyspace": "old", "to_keyspace": "ks"}]}"#);
        files.write("shards.json", r#"{"rules": []}"#);
        let (topology, _) = files.load();
        assert_eq!(topology.current().vschema.routed_keyspace("old", crate::key::TabletType::Primary), "ks");
        let shard = Arc::clone(&topology.current().snapshot.keyspaces["ks"].shards[0]);
        assert!(topology.current().snapshot.reroutes.follow(&shard).is_ok());
        let astray = r#"{"rules": [{"from_keyspace": "ks", "to_keyspace": "other", "shard": "0"}]}"#;
        files.write("shards.json", astray);
        assert!(topology.refresh());
        assert!(topology.current().snapshot.reroutes.follow(&shard).is_err());
        assert!(topology.problems()[0].contains("names keyspace other"), "{:?}", topology.problems());
        files.write("shards.json", "[");
        assert!(!topology.refresh());
        assert!(topology.problems()[0].contains("shards.json"), "{:?}", topology.problems());
    }

    #[test]
    fn a_file_that_goes_away_and_comes_back_is_no_disaster() {
        let files = Files::new();
        let (topology, _) = files.load();
        fs::remove_file(files.0.path().join("topology.toml")).unwrap();
        assert!(!topology.refresh());
        assert!(!topology.problems().is_empty());
        files.write("topology.toml", &TOPOLOGY.replace("\"a\"", "\"c\""));
        assert!(topology.refresh());
        assert!(topology.problems().is_empty());
    }

    #[test]
    fn an_unsharded_keyspace_has_one_shard() {
        let files = Files::new();
        let two = TOPOLOGY.replace("\"0\"", "\"-80\"")
            + "[[keyspaces.ks.shards]]\nname = '80-'\nservers = [{alias = 'z-2', host = 'b', role = 'primary'}]";
        files.write("topology.toml", &two);
        let path = files.0.path().join("topology.toml");
        let error = Topology::from_file(&path, Arc::new(Metrics::new().unwrap())).unwrap_err();
        assert!(error.ends_with("keyspace ks has 2 shards and is not sharded"), "{error}");
    }

    #[tokio::test]
    async fn the_watcher_looks_when_asked() {
        let files = Files::new();
        let (topology, _) = files.load();
        let mut changes = topology.changes();
        let stop = CancellationToken::new();
        let settings = Settings { poll_interval: Duration::from_secs(3600), ..Settings::default() };
        let task = tokio::spawn(Arc::clone(&topology).watch(settings, stop.clone()));
        files.write("topology.toml", &TOPOLOGY.replace("\"a\"", "\"d\""));
        topology.look_now();
        changes.changed().await.unwrap();
        stop.cancel();
        task.await.unwrap();
    }
}
