//! Which topology and VSchema are in use right now, and how do changes of their files get there?
//!
//! The files are looked at every `topology.poll_interval`. A version that holds together replaces
//! the one in use as a whole; one that does not is logged and counted, and the last good one stays.
//! Statements keep the version that they began with.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::Snapshot;
use super::file::TopologyFile;
use crate::metrics::Metrics;
use crate::vschema::{KeyspaceSource, RoutingRule, Rules, Source, VSchema};

/// A topology and the VSchema over it, as of one moment.
#[derive(Debug, Clone)]
pub struct Current {
    /// Keyspaces, shards and servers.
    pub snapshot: Arc<Snapshot>,
    /// Tables and vindexes.
    pub vschema: Arc<VSchema>,
}

/// The topology in use, kept up to date from its files.
#[derive(Debug)]
pub struct Topology {
    path: PathBuf,
    current: ArcSwap<Current>,
    next_version: AtomicU64,
    seen: Mutex<Seen>,
    changes: watch::Sender<u64>,
    asked: Notify,
    metrics: Arc<Metrics>,
}

/// What the last look at the files found.
#[derive(Debug, Default)]
struct Seen {
    marks: BTreeMap<PathBuf, Option<Mark>>,
    hash: u64,
    problem: Option<String>,
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    inode: u64,
    size: u64,
    modified: SystemTime,
    changed: (i64, i64),
}

/// Everything read from the files at one time.
struct Loaded {
    file: TopologyFile,
    source: Source,
    hash: u64,
}

/// Clocks of file systems are coarse: a file that changed so shortly ago is read again.
const RECENT: Duration = Duration::from_secs(2);

// === impl Topology ===

impl Topology {
    /// Reads the topology file and the files that it names.
    ///
    /// # Errors
    /// Every fault, one a line, with the file's name.
    pub fn load(path: &Path, metrics: Arc<Metrics>) -> Result<Arc<Self>, String> {
        let loaded = Loaded::read(path)?;
        let vschema = Arc::new(VSchema::new(loaded.source, 1));
        warn_of_errors(&vschema);
        let seen = Seen { marks: marks(path, &loaded.file), hash: loaded.hash, problem: None };
        let current = Current { snapshot: Arc::new(loaded.file.snapshot), vschema };
        let (changes, _) = watch::channel(1);
        let topology = Self {
            path: path.to_owned(),
            current: ArcSwap::from_pointee(current),
            next_version: AtomicU64::new(2),
            seen: Mutex::new(seen),
            changes,
            asked: Notify::new(),
            metrics,
        };
        topology.metrics.control.vschema_loads.inc();
        topology.count();
        Ok(Arc::new(topology))
    }

    /// The version in use.
    pub fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// Tells when another version is in use.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Why the newest files are not in use, when they are not.
    pub fn problem(&self) -> Option<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).problem.clone()
    }

    /// Asks the watcher to look now.
    pub fn look_now(&self) {
        self.asked.notify_one();
    }

    /// Looks at the files at every interval until `stop`.
    pub async fn watch(self: Arc<Self>, interval: Duration, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(interval) => {}
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
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = seen.marks.iter().all(|(path, mark)| *mark == Mark::of(path) && !is_recent(*mark));
        // A refused version may name files that are not there yet, and are watched by nobody.
        if quiet && seen.problem.is_none() {
            return false;
        }
        for (path, mark) in &mut seen.marks {
            *mark = Mark::of(path);
        }
        match Loaded::read(&self.path) {
            Ok(loaded) => {
                seen.marks = marks(&self.path, &loaded.file);
                let recovered = seen.problem.take().is_some();
                if loaded.hash == seen.hash {
                    if recovered {
                        self.metrics.control.current.set(1);
                    }
                    return false;
                }
                seen.hash = loaded.hash;
                self.replace(loaded);
                true
            }
            Err(problem) => {
                self.refuse(&mut seen, problem);
                false
            }
        }
    }

    fn replace(&self, loaded: Loaded) {
        let old = self.current();
        let vschema = if *old.vschema.source() == loaded.source {
            Arc::clone(&old.vschema)
        } else {
            let version = self.next_version.fetch_add(1, Ordering::Relaxed);
            let vschema = Arc::new(VSchema::new(loaded.source, version));
            warn_of_errors(&vschema);
            self.metrics.control.vschema_loads.inc();
            vschema
        };
        let snapshot = if *old.snapshot == loaded.file.snapshot {
            Arc::clone(&old.snapshot)
        } else {
            Arc::new(loaded.file.snapshot)
        };
        self.current.store(Arc::new(Current { snapshot, vschema }));
        self.count();
        tracing::info!(path = %self.path.display(), "a new topology is in use");
        self.changes.send_modify(|version| *version += 1);
    }

    /// Logs each problem once, not at every look.
    fn refuse(&self, seen: &mut Seen, problem: String) {
        if seen.problem.as_ref() != Some(&problem) {
            tracing::error!(%problem, "the changed topology is refused; the last good one stays in use");
            self.metrics.control.topology_failures.inc();
            self.metrics.control.current.set(0);
            seen.problem = Some(problem);
        }
    }

    fn count(&self) {
        let snapshot = self.current().snapshot.clone();
        let shards: usize = snapshot.keyspaces.values().map(|keyspace| keyspace.shards.len()).sum();
        let control = &self.metrics.control;
        control.topology_loads.inc();
        control.current.set(1);
        control.keyspaces.set(i64::try_from(snapshot.keyspaces.len()).unwrap_or(i64::MAX));
        control.shards.set(i64::try_from(shards).unwrap_or(i64::MAX));
    }
}

// === impl Loaded ===

impl Loaded {
    fn read(path: &Path) -> Result<Self, String> {
        let text = read(path)?;
        let mut contents = text.clone().into_bytes();
        let folder = path.parent().unwrap_or(Path::new("."));
        let in_file = |faults: super::file::TopologyFaults| {
            let lines: Vec<_> = faults.0.iter().map(|fault| format!("{}: {fault}", path.display())).collect();
            lines.join("\n")
        };
        let file = TopologyFile::parse(&text, folder).map_err(in_file)?;
        let mut source = Source::default();
        for (name, keyspace) in &file.snapshot.keyspaces {
            let mut own = KeyspaceSource::default();
            if let Some(path) = file.vschemas.get(name) {
                let text = read(path)?;
                own = KeyspaceSource::from_json(&text)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                contents.extend_from_slice(text.as_bytes());
            }
            if !own.sharded && keyspace.shards.len() > 1 {
                let count = keyspace.shards.len();
                return Err(format!(
                    "{}: keyspace {name} has {count} shards and is not sharded",
                    path.display()
                ));
            }
            source.keyspaces.insert(name.to_string(), own);
        }
        if let Some(path) = &file.routing_rules {
            let text = read(path)?;
            let rules: Rules<RoutingRule> =
                serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
            source.routing_rules = rules;
            contents.extend_from_slice(text.as_bytes());
        }
        Ok(Self { file, source, hash: xxhash_rust::xxh64::xxh64(&contents, 0) })
    }
}

// === impl Mark ===

impl Mark {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            inode: metadata.ino(),
            size: metadata.len(),
            modified: metadata.modified().ok()?,
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

fn marks(path: &Path, file: &TopologyFile) -> BTreeMap<PathBuf, Option<Mark>> {
    file.files().chain([path]).map(|path| (path.to_owned(), Mark::of(path))).collect()
}

fn is_recent(mark: Option<Mark>) -> bool {
    // A time in the future (another machine's clock) counts as recent.
    mark.is_some_and(|mark| mark.modified.elapsed().is_ok_and(|age| age < RECENT))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// A faulty keyspace harms no other: its statements fail, and here is why.
fn warn_of_errors(vschema: &VSchema) {
    for keyspace in vschema.keyspaces() {
        if let Some(error) = keyspace.error() {
            tracing::error!(keyspace = %keyspace.name(), error, "this keyspace's VSchema cannot be used");
        }
    }
}

#[cfg(test)]
mod tests {
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
            (Topology::load(&self.0.path().join("topology.toml"), Arc::clone(&metrics)).unwrap(), metrics)
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
        assert_eq!(metrics.control.vschema_loads.get(), 2);
    }

    #[test]
    fn a_bad_file_keeps_the_last_good_state_and_is_told_once() {
        let files = Files::new();
        let (topology, metrics) = files.load();
        files.write("vschema.json", "{");
        assert!(!topology.refresh());
        assert!(!topology.refresh());
        assert_eq!(metrics.control.topology_failures.get(), 1);
        assert_eq!(metrics.control.current.get(), 0);
        assert!(topology.problem().unwrap().contains("vschema.json"));
        assert!(topology.current().vschema.keyspace("ks").unwrap().table("t").is_some());
        files.write("vschema.json", r#"{"tables": {"t": {}}}"#);
        assert!(!topology.refresh());
        assert_eq!((topology.problem(), metrics.control.current.get()), (None, 1));
    }

    #[test]
    fn a_file_that_goes_away_and_comes_back_is_no_disaster() {
        let files = Files::new();
        let (topology, _) = files.load();
        fs::remove_file(files.0.path().join("topology.toml")).unwrap();
        assert!(!topology.refresh());
        assert!(topology.problem().is_some());
        files.write("topology.toml", &TOPOLOGY.replace("\"a\"", "\"c\""));
        assert!(topology.refresh());
        assert!(topology.problem().is_none());
    }

    #[test]
    fn an_unsharded_keyspace_has_one_shard() {
        let files = Files::new();
        let two = TOPOLOGY.replace("\"0\"", "\"-80\"")
            + "[[keyspaces.ks.shards]]\nname = '80-'\nservers = [{alias = 'z-2', host = 'b', role = 'primary'}]";
        files.write("topology.toml", &two);
        let path = files.0.path().join("topology.toml");
        let error = Topology::load(&path, Arc::new(Metrics::new().unwrap())).unwrap_err();
        assert!(error.ends_with("keyspace ks has 2 shards and is not sharded"), "{error}");
    }

    #[tokio::test]
    async fn the_watcher_looks_when_asked() {
        let files = Files::new();
        let (topology, _) = files.load();
        let mut changes = topology.changes();
        let stop = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&topology).watch(Duration::from_secs(3600), stop.clone()));
        files.write("topology.toml", &TOPOLOGY.replace("\"a\"", "\"d\""));
        topology.look_now();
        changes.changed().await.unwrap();
        stop.cancel();
        task.await.unwrap();
    }
}
