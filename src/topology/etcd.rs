//! How does the topology in etcd stay known here, as it changes and as etcd comes and goes?
//!
//! One follower for the global root and one for each watched cell: it reads everything below the root
//! as of one revision, watches from there on, and starts over with reading when the watch ends, for
//! whatever reason: the connection broke, etcd restarted, the history was compacted away. Reading
//! everything again costs little and needs no case distinction. While nothing can be read, what is
//! known stays in force without limit.
//!
//! A watch that says nothing is asked for a sign of life, so that a connection into nowhere or a
//! member without quorum is noticed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{EventType, WatchResponse};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::assemble::Candidate;
use super::cache;
use super::image::{Content, GLOBAL, Image};
use super::store::{Store, StoreError};
use super::watch::Topology;
use super::wire::topodata::CellInfo;
use crate::config::Topology as Settings;
use crate::metrics::Metrics;

/// A topology in etcd, and what was read of it before the watching begins.
#[derive(Debug)]
pub(super) struct Etcd {
    settings: Settings,
    global: Store,
    cache: Option<PathBuf>,
    first: tokio::sync::Mutex<Option<First>>,
}

/// What the start read: the image, and the revision of each root.
#[derive(Debug)]
struct First {
    image: Image,
    revisions: BTreeMap<Arc<str>, i64>,
}

/// What a follower tells.
enum News {
    /// Everything that a root holds.
    All(Vec<Content>),
    /// Changes, in order; none is a record that was removed.
    Changes(Vec<(String, Option<Arc<[u8]>>)>),
}

/// The followers, by root.
struct Followers<'a> {
    etcd: &'a Etcd,
    topology: &'a Arc<Topology>,
    tasks: JoinSet<()>,
    running: BTreeMap<Arc<str>, (CellInfo, CancellationToken)>,
    news: mpsc::Sender<(Arc<str>, News)>,
}

/// Follows one root.
struct Follower {
    store: Store,
    topology: Arc<Topology>,
    news: mpsc::Sender<(Arc<str>, News)>,
}

/// How often a watch is asked for a sign of life.
const ASK: Duration = Duration::from_secs(2);
/// A watch that was silent for so long is given up.
const SILENCE: Duration = Duration::from_secs(10);
/// The pause after a failure, doubled from the first value up to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How often the cache file is written at most.
const SAVE: Duration = Duration::from_secs(1);

// === impl Etcd ===

impl Etcd {
    /// Reads the topology; from the cache file if etcd is away.
    ///
    /// # Errors
    /// Why there is no topology.
    pub(super) async fn load(
        settings: &Settings,
        cache: Option<&Path>,
        metrics: &Arc<Metrics>,
    ) -> Result<(Self, Candidate), String> {
        let global = Store::new(settings, Some(Arc::clone(metrics)))?;
        let etcd = Self {
            settings: settings.clone(),
            global,
            cache: cache.map(ToOwned::to_owned),
            first: tokio::sync::Mutex::default(),
        };
        let first = match (etcd.read_all().await, cache) {
            (Ok(first), _) => first,
            (Err(error), Some(path)) if path.exists() => {
                tracing::error!(error, cache = %path.display(), "the topology is taken from the cache file");
                First { image: cache::load(path, &settings.cell)?, revisions: BTreeMap::new() }
            }
            (Err(error), Some(path)) => {
                return Err(format!("{error}; and there is no cache file {} yet", path.display()));
            }
            (Err(error), None) => return Err(error),
        };
        let candidate = first.image.candidate();
        *etcd.first.lock().await = Some(first);
        Ok((etcd, candidate))
    }

    async fn read_all(&self) -> Result<First, String> {
        let cell = self.settings.cell.as_str();
        let mut image = Image::new(cell);
        let mut revisions = BTreeMap::new();
        let (records, revision) = read(&self.global).await.map_err(|error| error.to_string())?;
        image.replace(GLOBAL, records);
        revisions.insert(Arc::from(GLOBAL), revision);
        let cells = image.cells(&self.settings.cells_to_watch);
        if !cells.contains_key(cell) {
            return Err(format!(
                "there is no cell {cell} under {} in etcd at {}: topology.root or topology.cell is wrong, or \
                 AddCellInfo is still to be done",
                self.settings.root,
                self.global.endpoints()
            ));
        }
        for (name, info) in cells {
            let store = self.cell(&name, &info)?;
            match read(&store).await {
                Ok((records, revision)) => {
                    image.replace(&name, records);
                    revisions.insert(name, revision);
                }
                Err(error) if *name == *cell => return Err(format!("cell {name}: {error}")),
                // Its follower will go on trying.
                Err(error) => tracing::error!(cell = %name, %error, "this cell cannot be read"),
            }
        }
        if image.find(cell, super::path::SRV_VSCHEMA).is_none() {
            return Err(format!(
                "cell {cell} has no usable SrvVSchema under {}: RebuildVSchemaGraph is still to be done",
                self.settings.root
            ));
        }
        Ok(First { image, revisions })
    }

    fn cell(&self, name: &str, info: &CellInfo) -> Result<Store, String> {
        self.global.of_cell(&self.settings, name, &info.server_address, &info.root)
    }

    /// Follows all roots until `stop`.
    pub(super) async fn run(&self, topology: &Arc<Topology>, stop: CancellationToken) {
        let Some(First { mut image, revisions }) = self.first.lock().await.take() else { return };
        let (news, mut inbox) = mpsc::channel(256);
        let mut followers =
            Followers { etcd: self, topology, tasks: JoinSet::new(), running: BTreeMap::new(), news };
        followers.start(
            GLOBAL.into(),
            CellInfo::default(),
            self.global.clone(),
            revisions.get(GLOBAL).copied(),
        );
        followers.adjust(&image, &revisions);
        let (mut unsaved, mut save) = (true, interval(SAVE));
        save.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = save.tick(), if unsaved && self.cache.is_some() => {
                    unsaved = false;
                    self.save(&image).await;
                    continue;
                }
                told = inbox.recv() => {
                    let Some((root, news)) = told else { break };
                    followers.take(&mut image, &root, news);
                }
            }
            // What has come in meanwhile makes one new version, not many.
            while let Ok((root, news)) = inbox.try_recv() {
                followers.take(&mut image, &root, news);
            }
            for gone in followers.adjust(&image, &BTreeMap::new()) {
                image.forget(&gone);
            }
            topology.offer(image.candidate());
            unsaved = true;
        }
        if unsaved {
            self.save(&image).await;
        }
        followers.tasks.shutdown().await;
    }

    async fn save(&self, image: &Image) {
        let Some(path) = self.cache.clone() else { return };
        let text = cache::text(image);
        let shown = path.display().to_string();
        let written = tokio::task::spawn_blocking(move || cache::write(&path, &text)).await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, path = shown, "the topology cannot be saved"),
            Err(error) => tracing::error!(%error, path = shown, "the topology cannot be saved"),
        }
    }
}

/// Everything below a root, and the revision that it is of.
async fn read(store: &Store) -> Result<(Vec<Content>, i64), StoreError> {
    let (records, revision) = store.list("").await?;
    let contents = records.into_iter().map(|record| (record.path, Arc::from(record.bytes)));
    Ok((contents.collect(), revision))
}

// === impl Followers ===

impl Followers<'_> {
    /// Follows the cells that are to be watched now, and no others. Gives the names of those that are
    /// not followed any more.
    fn adjust(&mut self, image: &Image, revisions: &BTreeMap<Arc<str>, i64>) -> Vec<Arc<str>> {
        let wanted = image.cells(&self.etcd.settings.cells_to_watch);
        let cells = self.running.iter().filter(|(name, _)| ***name != *GLOBAL);
        let stale = cells.filter(|(name, (info, _))| wanted.get(*name) != Some(info));
        let stale: Vec<Arc<str>> = stale.map(|(name, _)| Arc::clone(name)).collect();
        for name in &stale {
            if let Some((_, stop)) = self.running.remove(name) {
                stop.cancel();
                self.topology.forget(name);
            }
        }
        for (name, info) in &wanted {
            if !self.running.contains_key(name) {
                match self.etcd.cell(name, info) {
                    Ok(store) => {
                        self.start(Arc::clone(name), info.clone(), store, revisions.get(name).copied());
                    }
                    Err(why) => self.topology.lost(name, Instant::now(), why),
                }
            }
        }
        stale.into_iter().filter(|name| !wanted.contains_key(name)).collect()
    }

    fn take(&self, image: &mut Image, root: &Arc<str>, news: News) {
        match news {
            // The last words of a follower that has been stopped.
            _ if !self.running.contains_key(root) => {}
            News::All(records) => image.replace(root, records),
            News::Changes(changes) => image.change(root, changes),
        }
    }

    fn start(&mut self, name: Arc<str>, info: CellInfo, store: Store, revision: Option<i64>) {
        let stop = CancellationToken::new();
        let follower = Follower { store, topology: Arc::clone(self.topology), news: self.news.clone() };
        self.running.insert(name, (info, stop.clone()));
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = follower.run(revision) => {}
            }
        });
    }
}

// === impl Follower ===

impl Follower {
    /// Reads and watches for ever. With a revision, the reading has been done.
    async fn run(self, mut known: Option<i64>) {
        let mut pause = PAUSE.0;
        let mut heard = Instant::now();
        loop {
            let ended = match known.take() {
                Some(revision) => self.watch(revision, &mut heard, &mut pause).await,
                None => match read(&self.store).await {
                    Ok((records, revision)) => {
                        self.tell(News::All(records)).await;
                        known = Some(revision);
                        continue;
                    }
                    Err(error) => error.to_string(),
                },
            };
            self.topology.lost(self.store.cell(), heard, ended);
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Tells every change after a revision, until the watch ends; the result says why it did.
    async fn watch(&self, revision: i64, heard: &mut Instant, pause: &mut Duration) -> String {
        let mut changes = match self.store.watch("", revision + 1).await {
            Ok(changes) => changes,
            Err(error) => return error.to_string(),
        };
        let mut ask = interval(ASK);
        let mut alive = Instant::now();
        loop {
            let answer = tokio::select! {
                answer = changes.message() => answer,
                _ = ask.tick() => {
                    if alive.elapsed() > SILENCE {
                        return format!("etcd was silent for {} s", SILENCE.as_secs());
                    }
                    if let Err(error) = changes.request_progress().await {
                        return error.to_string();
                    }
                    continue;
                }
            };
            match answer {
                Ok(Some(answer)) if answer.canceled() => return cancelled(&answer),
                Ok(Some(answer)) => {
                    (alive, *heard, *pause) = (Instant::now(), Instant::now(), PAUSE.0);
                    self.topology.heard(self.store.cell());
                    let changes = self.changes(&answer);
                    if !changes.is_empty() {
                        self.tell(News::Changes(changes)).await;
                    }
                }
                Ok(None) => return "etcd ended the watch".into(),
                Err(error) => return error.to_string(),
            }
        }
    }

    fn changes(&self, answer: &WatchResponse) -> Vec<(String, Option<Arc<[u8]>>)> {
        let changes = answer.events().iter().filter_map(|event| {
            let kv = event.kv()?;
            let path = self.store.path_of(kv.key())?;
            Some((path, (event.event_type() == EventType::Put).then(|| Arc::from(kv.value()))))
        });
        changes.collect()
    }

    async fn tell(&self, news: News) {
        // Nobody listens any more when the gate stops; the task is about to be ended then.
        self.news.send((Arc::clone(self.store.cell()), news)).await.ok();
    }
}

fn cancelled(answer: &WatchResponse) -> String {
    match (answer.compact_revision(), answer.cancel_reason()) {
        (0, "") => "etcd cancelled the watch".into(),
        (0, reason) => format!("etcd cancelled the watch: {reason}"),
        (revision, _) => format!("the history before revision {revision} was compacted away"),
    }
}
