//! What happens in one client's conversation, from login to the last packet?
//!
//! A [`Session`] owns the client's connection, what the client has set, and the shard transactions
//! that it has open. It takes one command at a time:
//!
//! ```text
//!   next_command ─► dispatch ─► query ──► plan cache ─► planner
//!                       │          └────► executor ───► reply ──► client
//!                       ├───────► prepared (PREPARE, EXECUTE, …)
//!                       └───────► command (USE, BEGIN, SET, KILL, …), show
//! ```
//!
//! Everything that waits for a shard waits for three more things at the same time: the client going
//! away, a KILL, and the end of the gate. Whatever comes first stops the statement on its shards.

mod again;
mod alter_vschema;
mod answer;
mod command;
mod cursor;
mod dispatch;
mod explain;
mod fields;
mod interrupt;
mod like;
pub mod live_log;
mod locks;
mod notes;
pub mod pin;
pub mod plan_cache;
mod prepared;
mod query;
pub mod query_log;
mod record;
pub mod registry;
pub mod repeats;
mod reply;
mod row_limit;
mod schema_rows;
mod servers;
mod set;
mod show;
mod spans;
mod sql_prepared;
mod state;
mod statements;
pub mod statistics;
pub mod target;
mod temporary;
mod trace_json;
pub mod user_limits;
mod variable_class;
mod variables;
mod vexplain;
mod views;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backend::{Pools, Settings};
use crate::config::TransactionMode;
use crate::deadlock::Deadlocks;
use crate::error::SqlError;
use crate::executor::{Heat, MemoryLimits, OwnWrites, Scratch, Sequences};
use crate::frontend::{self, ClientConnection, ClientStream, Closed, Login, LoginSettings};
use crate::health::Health;
use crate::metrics::{GaugeGuard, Metrics};
use crate::protocol::capability::{Capabilities, Status};
use crate::schema::Tracker;
use crate::sql::{LexOptions, Normalizer};
use crate::topology::Snapshot;
use crate::transaction::ShardTransactions;
use crate::twopc::TwoPc;
pub use alter_vschema::VSchemaDdl;
use live_log::LiveLog;
use plan_cache::{PlanCache, Scope};
use registry::{Registration, Registry};
use repeats::Repeats;
pub use spans::Spans;
use state::SessionState;
use statements::{PreparedStatement, PreparedStatements};
use statistics::Statistics;
use user_limits::UserLimits;
pub use world::{World, Worlds, plan_context};

/// What every session of a gate shares. Built once, by the process.
#[derive(Debug)]
pub struct Shared {
    /// Topology, VSchema and schema.
    pub world: Worlds,
    /// What the servers say about tables.
    pub schema: Tracker,
    /// Which servers can be used.
    pub health: Arc<Health>,
    /// Connections to the shards.
    pub pools: Arc<Pools>,
    /// Sequences.
    pub sequences: Sequences,
    /// Distributed transactions.
    pub twopc: Arc<TwoPc>,
    /// Transactions that may wait for each other over several shards.
    pub deadlocks: Arc<Deadlocks>,
    /// Where queries run over copies of their tables.
    pub scratch: Scratch,
    /// Plans.
    pub plans: PlanCache,
    /// The sessions themselves.
    pub registry: Arc<Registry>,
    /// Who may change the VSchema, and where it is.
    pub vschema_ddl: VSchemaDdl,
    /// Numbers.
    pub metrics: Arc<Metrics>,
    /// What each kind of statement has cost.
    pub statistics: Statistics,
    /// Queries that clients repeat with other values.
    pub repeats: Repeats,
    /// Where the load of shards and keys is sampled.
    pub heat: Heat,
    /// Who watches statements at this moment.
    pub live: LiveLog,
    /// Where statements are written down, if anywhere.
    pub query_log: Option<query_log::QueryLog>,
    /// Where spans of sampled statements go, if anywhere.
    pub spans: Option<Spans>,
    /// How clients log in.
    pub login: LoginSettings,
    /// What an operator has set.
    pub limits: Limits,
    /// Cancelled when sessions should end after their transaction.
    pub closing: CancellationToken,
    /// When the gate started.
    pub started: Instant,
}

/// What an operator has set for sessions.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The mode that transactions begin with.
    pub transaction_mode: TransactionMode,
    /// How long a statement may take.
    pub query_timeout: Option<Duration>,
    /// How much one query may hold.
    pub query_memory: MemoryLimits,
    /// Whether statements that go to all shards are refused.
    pub no_scatter: bool,
    /// How long a transaction may be idle before it is rolled back.
    pub idle_transaction: Option<Duration>,
    /// How many prepared statements one session may have.
    pub prepared_statements: usize,
    /// Whether KILL is allowed.
    pub allow_kill: bool,
    /// What one user may have.
    pub users: Arc<UserLimits>,
    /// How statements are cut into tokens before the session says otherwise: the persona's version.
    pub lex: LexOptions,
}

/// One client's conversation.
#[expect(clippy::struct_excessive_bools, reason = "each is one independent option of the session")]
struct Session {
    shared: Arc<Shared>,
    client: ClientConnection,
    registration: Registration,
    user: String,
    /// Its place among the user's connections, where they are counted.
    member: Option<user_limits::Member>,
    state: SessionState,
    transactions: ShardTransactions,
    /// What its reads on replicas must see.
    own_writes: OwnWrites,
    settings: Arc<Settings>,
    /// The settings that the login asked for.
    login_settings: Arc<Settings>,
    scope: Scope,
    normalizer: Normalizer,
    prepared: PreparedStatements,
    /// What PREPARE as a statement made, by its name in lower case.
    sql_statements: BTreeMap<Box<str>, PreparedStatement>,
    /// The connection that holds named locks, while there may be some.
    locks: Option<Box<locks::Locks>>,
    /// Its temporary tables.
    temporary: temporary::TemporaryTables,
    no_auto_value_on_zero: bool,
    /// `SET SESSION TRANSACTION READ ONLY`.
    reads_only: bool,
    multi_statements: bool,
    found_rows: bool,
    series: record::Series,
    /// Its last queries.
    run: repeats::Run,
    /// Where the running statement counts its shard queries.
    routes: Option<crate::metrics::Routes>,
    /// The running EXECUTE asked for a cursor.
    cursor_wanted: bool,
    /// The cursor that the running EXECUTE opened.
    opened_cursor: Option<cursor::Cursor>,
    /// The running statement is executed for its explanation.
    explained: Option<Box<vexplain::Explained>>,
    /// The running statement is answered over copies of its tables.
    gathered: bool,
    /// The spans of the running statement are wanted.
    spanned: Option<Box<spans::Spanned>>,
}

/// Serves one client to its end.
///
/// # Errors
/// Why the conversation is over; [`Closed::ByClient`] is the ordinary end.
pub async fn serve(stream: ClientStream, shared: Arc<Shared>) -> Result<(), Closed> {
    // Boxed: what only the login needs must not stay with an idle client.
    let (mut session, _open) = Box::pin(open(stream, shared)).await?;
    session.conversation().await
}

/// From the greeting to the session, which a gauge counts.
async fn open(stream: ClientStream, shared: Arc<Shared>) -> Result<(Session, GaugeGuard), Closed> {
    let registration = shared.registry.register(stream.peer().to_string());
    let started = Instant::now();
    let unauthenticated = GaugeGuard::new(&shared.metrics.frontend.unauthenticated);
    let (client, login) = Box::pin(frontend::login(stream, registration.entry().id, &shared.login)).await?;
    drop(unauthenticated);
    shared.metrics.frontend.connect_seconds.observe(started.elapsed().as_secs_f64());
    let open = GaugeGuard::new(&shared.metrics.frontend.connections);
    let mut session = Session::new(shared, client, registration, &login);
    if let Err(error) = session.join_user(&login.user) {
        return Err(session.client.refuse(error).await);
    }
    if let Some(name) = login.database.as_deref().filter(|name| !name.is_empty())
        && let Err(error) = session.select(name)
    {
        return Err(session.client.refuse(error).await);
    }
    Ok((session, open))
}

// === impl Shared ===

/// How long an answer to DDL may wait for the schema to be read again.
const SCHEMA_DEADLINE: Duration = Duration::from_secs(5);

impl Shared {
    /// Asks the servers of all keyspaces about their tables, and uses what they say.
    pub async fn look_at_schema(&self, topology: &Snapshot) {
        self.schema.look(topology).await;
        self.world.use_schema(&self.schema);
    }

    /// The same for the keyspaces that are others than in the topology of before.
    pub async fn look_at_changes(&self, before: &Snapshot, topology: &Snapshot) {
        self.schema.look_at_changes(before, topology).await;
        self.world.use_schema(&self.schema);
    }

    /// The same for one keyspace, after DDL: the session that sent it goes on with what it made.
    async fn look_at_schema_of(&self, keyspace: &str) {
        let topology = Arc::clone(&self.world.load().topology);
        let look = self.schema.look_at(&topology, keyspace);
        if tokio::time::timeout(SCHEMA_DEADLINE, look).await.is_err() {
            tracing::warn!(keyspace, "the schema could not be read in time after DDL");
        }
        self.world.use_schema(&self.schema);
    }
}

// === impl Session ===

impl Session {
    fn new(shared: Arc<Shared>, client: ClientConnection, registration: Registration, login: &Login) -> Self {
        let capabilities = client.capabilities();
        let settings = variables::login_settings(shared.pools.settings(), login.charset);
        let user = format!("{}@{}", login.user, host(&registration.entry().peer));
        let version = shared.login.server_version.trim_start_matches("5.5.5-").into();
        let mut state = SessionState::new(registration.entry().id, user, version);
        state.usual_mode = shared.limits.transaction_mode;
        let scope =
            Scope { target: state.target.clone(), options: shared.limits.lex, prepared: false, epoch: 0 };
        registration.entry().update(|view| {
            view.user.clone_from(&login.user);
            view.attributes = registry::attributes(&login.attributes);
            view.command = "Sleep";
        });
        let series = record::Series::new(&shared.metrics, &state.target);
        Self {
            transactions: transactions(&shared),
            own_writes: OwnWrites::default(),
            user: login.user.clone(),
            member: None,
            client,
            registration,
            state,
            login_settings: Arc::clone(&settings),
            settings,
            scope,
            normalizer: Normalizer::new(),
            prepared: PreparedStatements::default(),
            sql_statements: BTreeMap::new(),
            locks: None,
            temporary: temporary::TemporaryTables::default(),
            no_auto_value_on_zero: false,
            reads_only: false,
            multi_statements: capabilities.contains(Capabilities::MULTI_STATEMENTS),
            found_rows: capabilities.contains(Capabilities::FOUND_ROWS),
            series,
            run: repeats::Run::default(),
            routes: None,
            cursor_wanted: false,
            opened_cursor: None,
            explained: None,
            gathered: false,
            spanned: None,
            shared,
        }
    }

    /// Takes a place among the user's connections; the one that it has is given back first.
    ///
    /// # Errors
    /// 1203 for one too many.
    fn join_user(&mut self, user: &str) -> Result<(), SqlError> {
        self.member = None;
        self.member = self.shared.limits.users.join(user)?;
        Ok(())
    }

    /// The status flags of what the gate answers: the transaction's, and how the client must quote.
    fn status(&self) -> Status {
        let status = self.transactions.status();
        if self.scope.options.no_backslash_escapes { status | Status::NO_BACKSLASH_ESCAPES } else { status }
    }
}

/// No transaction, in the mode that the operator has set.
fn transactions(shared: &Shared) -> ShardTransactions {
    ShardTransactions::new(shared.limits.transaction_mode)
        .with_twopc(&shared.twopc)
        .with_deadlocks(&shared.deadlocks)
}

/// The host of a `host:port`; IPv6 addresses keep their brackets off.
fn host(peer: &str) -> &str {
    peer.rsplit_once(':').map_or(peer, |(host, _)| host.trim_matches(['[', ']']))
}
