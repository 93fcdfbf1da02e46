//! How is a gate put together, and what does it do until it stops?

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admin::{self, Admin, Readiness};
use super::advice;
use super::listener::{Accepted, Welcome};
use super::otlp::{self, Collector};
use super::pages::GatePages;
use super::persona::Persona;
use super::settings;
use super::shutdown::{Outcome, Stages};
use super::signals::{Asked, Signals};
use super::sockets::Sockets;
use super::users;
use crate::backend::Pools;
use crate::config::Config;
use crate::deadlock::{Deadlocks, Detector};
use crate::error::SqlError;
use crate::executor::{Heat, MemoryLimits, Scratch, Sequences};
use crate::frontend::{self, ClientStream, Closed};
use crate::health::Health;
use crate::metrics::{Metrics, TabletLabels};
use crate::schema::Tracker;
use crate::session::live_log::LiveLog;
use crate::session::plan_cache::PlanCache;
use crate::session::query_log::QueryLog;
use crate::session::registry::{Kill, Registry};
use crate::session::repeats::Repeats;
use crate::session::statistics::Statistics;
use crate::session::user_limits::UserLimits;
use crate::session::{self, Limits, Shared, Spans, VSchemaDdl, Worlds};
use crate::sql::LexOptions;
use crate::topology::Snapshot;
use crate::topology::directory::Directory;
use crate::topology::watch::Topology;
use crate::twopc::{Resolver, TwoPc};

/// A gate that is ready to serve.
#[derive(Debug)]
pub struct Gate {
    config: Config,
    shared: Arc<Shared>,
    topology: Arc<Topology>,
    stages: Stages,
    /// Everything that is not a client's: pools, sequences, topology, HTTP.
    background: TaskTracker,
    stop_background: CancellationToken,
    /// Wakes whoever reads the users file.
    hangup: Arc<Notify>,
}

/// Serves clients with sessions.
#[derive(Clone)]
struct Sessions {
    shared: Arc<Shared>,
    cancelled: CancellationToken,
    /// Clients over TCP come through a load balancer that speaks the PROXY protocol.
    proxied: bool,
    /// How long a cancelled session may take to roll back and say goodbye.
    farewell: Duration,
}

/// When the servers are first asked about their tables again after the start.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How long the background may take to stop.
const BACKGROUND_DEADLINE: Duration = Duration::from_secs(3);

// === impl Gate ===

impl Gate {
    /// Loads the topology, makes the pools, and asks the servers for their version. A server that
    /// is away does not keep the gate from starting.
    ///
    /// With etcd away, the topology saved in `cache` is used, if there is such a file.
    ///
    /// # Errors
    /// What is wrong with the files that the configuration names, or why there is no topology.
    pub async fn new(config: Config, cache: Option<&Path>) -> Result<Self, String> {
        let started = Instant::now();
        let metrics = Arc::new(Metrics::new().map_err(|error| format!("metrics: {error}"))?);
        let topology = Topology::load(&config.topology, cache, Arc::clone(&metrics)).await?;
        let (background, stop_background) = (TaskTracker::new(), CancellationToken::new());
        let pools = Pools::new(
            settings::backend(&config.backend)?,
            Arc::clone(&metrics),
            background.clone(),
            stop_background.clone(),
        );
        let current = topology.current();
        let schema = Tracker::new(&config.backend, Arc::clone(&metrics));
        let wait = config.backend.connect_timeout;
        let persona = async {
            match &config.listen.server_version {
                Some(version) => Persona::told(version),
                None => Persona::probe(&pools, &current.snapshot, wait).await,
            }
        };
        // What is not read in this time is read while the gate serves.
        let (persona, _) = tokio::join!(persona, tokio::time::timeout(wait, schema.look(&current.snapshot)));
        tracing::info!(version = persona.greeting, "clients are told this version");
        let twopc = TwoPc::new(
            settings::twopc(&config.transaction),
            Arc::clone(&pools),
            Arc::clone(&metrics),
            &current.snapshot,
        );
        tracing::info!(incarnation = twopc.incarnation(), "this gate's name in distributed transactions");
        let health = Health::new(
            (&config.health, &config.buffer, &config.backend),
            &config.topology.cell,
            Arc::clone(&metrics),
            background.clone(),
            stop_background.clone(),
        );
        health.update(&current.snapshot);
        health.first_round(config.health.probe_timeout).await;
        let stages = Stages::default();
        let log = QueryLog::open(&config.log, Arc::clone(&metrics), &background, stop_background.clone());
        let spans = match &config.trace.endpoint {
            Some(endpoint) => {
                let collector = Collector::parse(endpoint)?;
                let (spans, told) = Spans::new(config.trace.sample, Arc::clone(&metrics));
                let stop = stop_background.clone();
                background.spawn(otlp::export(told, collector, Arc::clone(&metrics), stop));
                Some(spans)
            }
            None => None,
        };
        let vschema_ddl = VSchemaDdl {
            users: config.users.vschema_ddl.clone(),
            directory: Directory::open(&config.topology, Some(Arc::clone(&metrics)))?,
        };
        let shared = Shared {
            vschema_ddl,
            statistics: Statistics::default(),
            spans,
            repeats: Repeats::default(),
            heat: Heat::new(!config.log.query_log_redact),
            live: LiveLog::default(),
            query_log: log.await.map_err(|error| format!("log.query_log: {error}"))?,
            world: Worlds::new(Arc::clone(&current.snapshot), Arc::clone(&current.vschema), &schema),
            schema,
            sequences: Sequences::new(&config.backend, Arc::clone(&metrics), background.clone()),
            scratch: Scratch::new(&config.scratch, &config.backend),
            health,
            pools,
            twopc,
            deadlocks: Deadlocks::new(settings::deadlock(&config.transaction)),
            plans: PlanCache::new(config.limits.plan_cache.0),
            registry: Arc::new(Registry::default()),
            metrics,
            login: settings::login(&config, &persona)?,
            limits: limits(&config, &persona),
            closing: stages.closing.clone(),
            started,
        };
        let hangup = Arc::default();
        Ok(Self { config, shared: Arc::new(shared), topology, stages, background, stop_background, hangup })
    }

    /// Begins to serve. Returns at once.
    pub fn open(&self, sockets: Sockets) {
        let room = Arc::new(Semaphore::new(settings::count(self.config.listen.max_connections)));
        let sessions = Sessions {
            shared: Arc::clone(&self.shared),
            cancelled: self.stages.cancelled.clone(),
            proxied: self.config.listen.proxy_protocol,
            farewell: self.config.shutdown.hard.mul_f32(0.75),
        };
        for listener in sockets.mysql {
            let metrics = Arc::clone(&self.shared.metrics);
            let run = listener.run(sessions.clone(), Arc::clone(&room), self.stages.clone(), metrics);
            self.background.spawn(run);
        }
        if let Some((listener, _)) = sockets.http {
            self.background.spawn(admin::serve(
                listener,
                Arc::new(self.admin()),
                self.stop_background.clone(),
            ));
        }
        let settings = self.config.topology.clone();
        self.background.spawn(Arc::clone(&self.topology).watch(settings, self.stop_background.clone()));
        let resolver = Resolver::new(Arc::clone(&self.shared.twopc));
        self.background.spawn(resolver.run(self.stop_background.clone()));
        let detector = Detector::new(Arc::clone(&self.shared.deadlocks), Arc::clone(&self.shared.twopc));
        self.background.spawn(detector.run(self.stop_background.clone()));
        let follow =
            follow(Arc::clone(&self.topology), Arc::clone(&self.shared), self.stop_background.clone());
        self.background.spawn(follow);
        let follow_schema = follow_schema(
            Arc::clone(&self.topology),
            Arc::clone(&self.shared),
            self.config.schema.poll_interval,
            self.stop_background.clone(),
        );
        self.background.spawn(follow_schema);
        let users = users::follow(
            self.config.clone(),
            Arc::clone(&self.shared),
            Arc::clone(&self.hangup),
            self.stop_background.clone(),
        );
        self.background.spawn(users);
    }

    /// Serves until a signal says stop, then stops in stages.
    pub async fn run(self, signals: &mut Signals) -> Outcome {
        while signals.next().await == Asked::Reload {
            self.reload();
        }
        let goodbyes = kill_when_cancelled(Arc::clone(&self.shared), self.stages.cancelled.clone());
        let stopping = self.stages.stop(&self.config.shutdown, signals.stop());
        let outcome = tokio::select! {
            outcome = stopping => outcome,
            () = goodbyes => Outcome::Cancelled,
        };
        self.stop_background.cancel();
        self.background.close();
        if tokio::time::timeout(BACKGROUND_DEADLINE, self.background.wait()).await.is_err() {
            tracing::warn!(tasks = self.background.len(), "background tasks did not stop");
        }
        match &outcome {
            Outcome::Graceful => tracing::info!("stopped"),
            Outcome::Cancelled => tracing::info!("stopped; some sessions had to be cancelled"),
            Outcome::Abandoned(_) => {
                let left: Vec<_> =
                    self.shared.registry.list().iter().map(|entry| entry.peer.clone()).collect();
                tracing::error!(clients = ?left, "stopped; some sessions did not end");
            }
        }
        outcome
    }

    /// SIGHUP: users and topology are read again, without waiting for the next look at the files.
    fn reload(&self) {
        self.topology.look_now();
        self.hangup.notify_one();
    }

    fn admin(&self) -> Admin {
        let (shared, topology, stages) =
            (Arc::clone(&self.shared), Arc::clone(&self.topology), self.stages.clone());
        let (counted, aged) = (Arc::clone(&self.shared), Arc::clone(&self.topology));
        let pages = GatePages { shared: Arc::clone(&self.shared), topology: Arc::clone(&self.topology) };
        Admin {
            metrics: Arc::clone(&self.shared.metrics),
            started: self.shared.started,
            readiness: Box::new(move || readiness(&shared, &topology, &stages)),
            pages: Box::new(pages),
            debug: self.config.http.debug,
            profile: self.config.http.profile,
            refresh: Box::new(move || {
                count_plans(&counted);
                count_primaries(&counted);
                advice::count_heat(&counted);
                aged.count_age();
            }),
        }
    }
}

/// The gate is ready while it is not stopping and at least one server can be reached.
fn readiness(shared: &Shared, topology: &Topology, stages: &Stages) -> Readiness {
    let pools = shared.pools.all();
    let down = pools.iter().filter(|pool| !pool.is_healthy());
    let mut problems: Vec<_> = down
        .map(|pool| {
            let tablet = pool.tablet();
            format!("{}/{}: server {} cannot be reached", tablet.keyspace, tablet.shard, tablet.alias)
        })
        .collect();
    let all_down = !pools.is_empty() && problems.len() == pools.len();
    // A server has a pool with FOUND_ROWS and one without.
    problems.dedup();
    problems.extend(shared.health.suspects().into_iter().map(|shard| format!("{shard}: no primary serves")));
    problems.extend(topology.problems());
    if stages.is_stopping() {
        problems.push("the gate is stopping".into());
    }
    Readiness { ready: !stages.is_stopping() && !all_down, problems }
}

fn count_plans(shared: &Shared) {
    let (numbers, metrics) = (shared.plans.statistics(), &shared.metrics.query.plan_cache);
    let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    metrics.length.set(gauge(numbers.length));
    metrics.size.set(gauge(numbers.size));
    metrics.capacity.set(gauge(numbers.capacity));
    metrics.hits.inc_by(numbers.hits.saturating_sub(metrics.hits.get()));
    metrics.evictions.inc_by(numbers.evictions.saturating_sub(metrics.evictions.get()));
    metrics.misses.inc_by(numbers.misses.saturating_sub(metrics.misses.get()));
}

/// Which shards have a primary that takes statements.
fn count_primaries(shared: &Shared) {
    let world = shared.world.load();
    let shards = world.topology.keyspaces.values().flat_map(|keyspace| &keyspace.shards);
    let serving: Vec<_> = shards
        .map(|shard| {
            let serves = shard.primary().is_some_and(|primary| shared.health.is_serving(primary));
            (&*shard.keyspace, &*shard.name, serves)
        })
        .collect();
    shared.metrics.health.set_primaries(&serving);
}

/// Drops the series of servers that have left the topology or have another role there.
fn forget_tablets(metrics: &Metrics, topology: &Snapshot) {
    let shards = topology.keyspaces.values().flat_map(|keyspace| &keyspace.shards);
    let there: HashSet<_> = shards
        .flat_map(|shard| &shard.tablets)
        .map(|tablet| (&*tablet.keyspace, &*tablet.shard, tablet.kind.as_str(), tablet.alias.to_string()))
        .collect();
    metrics.retain_tablets(|labels| {
        let TabletLabels { keyspace, shard, db_type, alias } = labels;
        there.contains(&(keyspace, shard, db_type, alias.to_owned()))
    });
}

fn limits(config: &Config, persona: &Persona) -> Limits {
    Limits {
        transaction_mode: config.transaction.mode,
        query_timeout: config.backend.query_timeout,
        query_memory: MemoryLimits {
            bytes: config.limits.max_memory.bytes(),
            rows: settings::count(config.limits.max_memory_rows),
            warn_rows: settings::count(config.limits.warn_memory_rows),
        },
        no_scatter: config.limits.no_scatter,
        idle_transaction: config.transaction.idle_timeout,
        prepared_statements: settings::count(config.limits.max_prepared_statements),
        allow_kill: config.limits.allow_kill,
        users: UserLimits::new(config.limits.max_user_connections, config.limits.max_user_queries),
        lex: LexOptions {
            ansi_quotes: false,
            no_backslash_escapes: false,
            charset: crate::sql::ClientCharset::Utf8,
            pipes_as_concat: false,
            version: persona.number,
            mariadb: persona.mariadb,
        },
    }
}

/// Puts every new topology in use, and retires the pools of servers that have gone.
async fn follow(topology: Arc<Topology>, shared: Arc<Shared>, stop: CancellationToken) {
    let mut changes = topology.changes();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
        let current = topology.current();
        shared.world.use_topology(Arc::clone(&current.snapshot), &current.vschema, &shared.schema);
        // Behind the world: whoever is woken by a new primary finds it there.
        shared.health.update(&current.snapshot);
        shared.pools.retain(&current.snapshot);
        forget_tablets(&shared.metrics, &current.snapshot);
        shared.twopc.set_topology(&current.snapshot);
    }
}

/// Asks the servers about their tables at every interval, and where the topology changed.
async fn follow_schema(
    topology: Arc<Topology>,
    shared: Arc<Shared>,
    interval: Duration,
    stop: CancellationToken,
) {
    let mut changes = topology.changes();
    // The start has asked; a server that was away then is asked again soon.
    let mut due = Instant::now() + interval.min(FIRST_PAUSE);
    let mut before = Arc::clone(&topology.current().snapshot);
    loop {
        let all = tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep_until(due) => true,
            changed = changes.changed() => if changed.is_err() { return } else { false },
        };
        let current = topology.current();
        let look = async {
            if all {
                shared.look_at_schema(&current.snapshot).await;
            } else {
                shared.look_at_changes(&before, &current.snapshot).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = look => {}
        }
        before = Arc::clone(&current.snapshot);
        if all {
            due = Instant::now() + interval;
        }
    }
}

/// Stage 3 of the shutdown: every session is killed, which kills its queries and rolls back. Never
/// ends: the shutdown does.
async fn kill_when_cancelled(shared: Arc<Shared>, cancelled: CancellationToken) {
    cancelled.cancelled().await;
    for entry in shared.registry.list() {
        // False for a session that has just ended.
        shared.registry.kill(u64::from(entry.id), Kill::Connection);
    }
    std::future::pending::<()>().await;
}

// === impl Sessions ===

impl Sessions {
    async fn session(&self, client: Accepted) -> Result<(), Closed> {
        let stream = match client {
            Accepted::Tcp(stream) if self.proxied => {
                ClientStream::proxied(stream, self.shared.login.deadline).await?
            }
            Accepted::Tcp(stream) => ClientStream::tcp(stream)?,
            Accepted::Unix(stream) => ClientStream::unix(stream),
        };
        session::serve(stream, Arc::clone(&self.shared)).await
    }
}

impl Welcome for Sessions {
    async fn serve(&self, client: Accepted) {
        let overdue = async {
            self.cancelled.cancelled().await;
            tokio::time::sleep(self.farewell).await;
        };
        let session = AssertUnwindSafe(self.session(client)).catch_unwind();
        let ended = tokio::select! {
            ended = session => ended,
            () = overdue => return,
        };
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => tracing::debug!(%reason, "a session ended"),
            // The panic's own message has gone to the log by the hook.
            Err(_) => self.shared.metrics.query.failed(crate::error::Kind::Bug),
        }
    }

    async fn refuse(&self, client: Accepted) {
        if let Accepted::Tcp(stream) = client {
            frontend::refuse_before_greeting(stream, &SqlError::too_many_connections()).await;
        }
    }
}
