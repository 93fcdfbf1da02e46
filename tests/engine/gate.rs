//! What does a test need of a gate: two shards, pools, sequences, and sessions without a client?

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use mysql_async::prelude::Queryable as _;
use shardgate::backend::{BackendConfig, Event, Pools, Settings};
use shardgate::config::{self, Backend, Buffer, Health as HealthConfig, Secret, TransactionMode};
use shardgate::error::{Result, SqlError};
use shardgate::executor::{
    ExecContext, Heat, MemoryBudget, MemoryLimits, OkSummary, Output, Protocol, RowFormat, Scratch,
    Sequences, Shape, execute,
};
use shardgate::health::Health;
use shardgate::key::{KeyRange, TabletType};
use shardgate::metrics::Metrics;
use shardgate::planner::{InsertId, Node, Plan, Route, Routing, StatementKind};
use shardgate::protocol::capability::Capabilities;
use shardgate::protocol::column::Columns;
use shardgate::protocol::row::RawRow;
use shardgate::protocol::statement::{Execute, ParameterContext};
use shardgate::sql::{Bindings, SessionValues, Template};
use shardgate::topology::{Address, Keyspace, Shard, Snapshot, Tablet, TabletAlias};
use shardgate::transaction::{Characteristics, ShardTransactions};
use shardgate::value::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::server::Server;

pub(crate) const SCHEMA: &str = "
    create database eng_a; create database eng_b; create database glob;
    create table eng_a.t (id bigint primary key, v varchar(20) character set utf8mb4 collate utf8mb4_general_ci,
        n int, d decimal(10,2), f double, e enum('z','a'));
    create table eng_b.t like eng_a.t;
    create table glob.seq (id int primary key, next_id bigint, cache bigint);
    create table glob.strict_seq like glob.seq;
    create table glob.empty_seq like glob.seq;
    insert into glob.seq values (0, 1, 10);
    insert into glob.strict_seq values (0, 100, 1)";

/// What one answer said.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) rows: Vec<Vec<Value>>,
    pub(crate) summary: OkSummary,
}

pub(crate) struct Gate {
    health: Arc<Health>,
    pub(crate) pools: Arc<Pools>,
    pub(crate) sequences: Sequences,
    scratch: Scratch,
    heat: Heat,
    pub(crate) topology: Snapshot,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) settings: Mutex<Arc<Settings>>,
    root: mysql_async::Opts,
}

/// A session without values of its own.
struct Nobody;

impl SessionValues for Nobody {
    fn last_insert_id(&self) -> u64 {
        0
    }
    fn database(&self) -> Option<&str> {
        None
    }
    fn user(&self) -> &'static str {
        "tester@localhost"
    }

    fn connection_id(&self) -> u64 {
        1
    }
    fn row_count(&self) -> i64 {
        0
    }
    fn found_rows(&self) -> u64 {
        0
    }
    fn user_variable(&self, _: &str) -> Value {
        Value::Null
    }
    fn system_variable(&self, _: &str) -> Value {
        Value::Null
    }
}

impl Gate {
    pub(crate) async fn new(server: &Server) -> Self {
        let address = Address::Tcp { host: "127.0.0.1".into(), port: server.port };
        let options = mysql_async::OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(server.port)
            .user(Some("root"))
            .prefer_socket(false);
        let root: mysql_async::Opts = options.into();
        let mut link = mysql_async::Conn::new(root.clone()).await.unwrap();
        for statement in SCHEMA.split(';') {
            link.query_drop(statement).await.unwrap();
        }
        let metrics = Arc::new(Metrics::new().unwrap());
        let tasks = TaskTracker::new();
        let config = BackendConfig { user: "root".into(), ..BackendConfig::default() };
        let pools = Pools::new(config, Arc::clone(&metrics), tasks.clone(), CancellationToken::new());
        let login = Backend { user: "root".into(), password: Some(Secret::new("")), ..Backend::default() };
        let health = Health::new(
            (&HealthConfig::default(), &Buffer::default(), &login),
            "test",
            Arc::clone(&metrics),
            tasks.clone(),
            CancellationToken::new(),
        );
        let sequences = Sequences::new(&login, Arc::clone(&metrics), tasks);
        let shard = |keyspace: &str, name: &str, schema: &str, uid| {
            let tablet = Tablet {
                alias: TabletAlias { cell: "test".into(), uid },
                keyspace: keyspace.into(),
                shard: name.into(),
                kind: TabletType::Primary,
                address: address.clone(),
                schema: schema.into(),
            };
            let range = KeyRange::parse(name).unwrap();
            Arc::new(Shard {
                keyspace: keyspace.into(),
                name: name.into(),
                range,
                tablets: vec![tablet.into()],
            })
        };
        let keyspace = |name: &str, shards| (name.into(), Keyspace { name: name.into(), shards });
        let sharded = vec![shard("eng", "-80", "eng_a", 1), shard("eng", "80-", "eng_b", 2)];
        let topology = Snapshot {
            keyspaces: [keyspace("eng", sharded), keyspace("glob", vec![shard("glob", "0", "glob", 3)])]
                .into(),
            ..Snapshot::default()
        };
        let settings = Mutex::new(pools.settings().baseline());
        let scratch = Scratch::new(&config::Scratch::default(), &login);
        let heat = Heat::new(false);
        Self { health, pools, sequences, scratch, heat, topology, metrics, settings, root }
    }

    /// A connection past the gate.
    pub(crate) async fn direct(&self) -> mysql_async::Conn {
        mysql_async::Conn::new(self.root.clone()).await.unwrap()
    }

    /// Runs statements past the gate.
    pub(crate) async fn sql(&self, statements: &str) {
        let mut link = self.direct().await;
        for statement in statements.split(';').filter(|statement| !statement.trim().is_empty()) {
            link.query_drop(statement).await.unwrap();
        }
    }

    /// The first column of a query past the gate.
    pub(crate) async fn column(&self, query: &str) -> Vec<String> {
        self.direct().await.query(query).await.unwrap()
    }

    pub(crate) async fn run(&self, tx: &mut ShardTransactions, plan: &Plan, binary: bool) -> Result<Answer> {
        let text = Bytes::new();
        let payload = [0_u8; 9];
        let settings = Arc::clone(&self.settings.lock().unwrap());
        let nothing =
            ParameterContext { params: 0, types: &[], long_data: &[], capabilities: Capabilities::default() };
        let execution = Execute::decode(&payload, nothing).unwrap();
        let bindings = Bindings {
            text: &text,
            literals: &[],
            params: &[],
            generated: &[],
            writing: shardgate::sql::Writing::default(),
            body: (0, 0),
        };
        let limits = MemoryLimits { bytes: 1 << 20, rows: usize::MAX, warn_rows: usize::MAX };
        let memory = MemoryBudget::new(limits, &self.metrics.query);
        let context = ExecContext {
            topology: &self.topology,
            health: &self.health,
            own_writes: None,
            pools: &self.pools,
            transactions: tx,
            settings: &settings,
            found_rows: false,
            session: &Nobody,
            bindings,
            protocol: if binary { Protocol::Binary(&execution) } else { Protocol::Text },
            tablet_type: TabletType::Primary,
            writes: true,
            keyspace: None,
            names_tables: true,
            heat: &self.heat,
            routes: None,
            keeps_connection: false,
            no_auto_value_on_zero: false,
            insert_id: &plan.insert_id,
            deadline: None,
            memory: &memory,
            sequences: &self.sequences,
            scratch: &self.scratch,
            metrics: &self.metrics,
            trace: None,
        };
        let answer = match execute(plan, context).await {
            Ok(output) => read(output, binary).await,
            Err(error) => Err(error),
        };
        tx.settle().await;
        answer
    }

    /// Runs a text on shards of the sharded keyspace.
    pub(crate) async fn on(
        &self,
        tx: &mut ShardTransactions,
        kind: StatementKind,
        routing: Routing,
        sql: &str,
    ) -> Result<Answer> {
        let node = route(routing, sql);
        let node = match kind {
            StatementKind::Select | StatementKind::LockingSelect => Node::Route(node),
            _ => Node::Modify(node),
        };
        self.run(tx, &plan(kind, node), false).await
    }
}

pub(crate) fn autocommit() -> ShardTransactions {
    ShardTransactions::new(TransactionMode::Multi)
}

pub(crate) fn begun() -> ShardTransactions {
    let mut tx = autocommit();
    tx.begin(Characteristics::default());
    tx
}

pub(crate) fn shard(name: &str) -> Routing {
    Routing::ByDestination(shardgate::key::Destination::Shard(name.into()))
}

pub(crate) fn route(routing: Routing, sql: &str) -> Route {
    Route {
        keyspace: Some("eng".into()),
        routing,
        query: Template::from_text(sql.to_owned()),
        order: Vec::new(),
    }
}

pub(crate) fn plan(kind: StatementKind, node: Node) -> Plan {
    Plan {
        kind,
        node,
        tables: Vec::new(),
        uses_tables: false,
        params: 0,
        reads_session: false,
        temporary: None,
        counts_rows: false,
        insert_id: InsertId::Told,
    }
}

async fn read(output: Output<'_>, binary: bool) -> Result<Answer> {
    match output {
        Output::Done(summary) => Ok(Answer { rows: Vec::new(), summary }),
        Output::Rows(mut result) => {
            let mut rows = Vec::new();
            while let Some(batch) = result.rows.next_batch().await? {
                for row in batch {
                    rows.push(values(&result.columns, binary, row)?);
                }
            }
            Ok(Answer { rows, summary: OkSummary::default() })
        }
        Output::Forward(mut forward) => {
            let mut answer = Answer::default();
            let mut columns = Columns::default();
            loop {
                match forward.next().await? {
                    Event::Error(packet) => return Err(packet.to_error()),
                    Event::Columns { run, .. } => {
                        columns = Columns::new(Bytes::copy_from_slice(run)).unwrap();
                    }
                    Event::Rows { run, .. } => {
                        // One row per packet, none of them large.
                        let run = Bytes::copy_from_slice(run);
                        let mut at = 0;
                        while at < run.len() {
                            let length = usize::from(run[at]) + usize::from(run[at + 1]) * 256;
                            answer.rows.push(values(&columns, binary, run.slice(at + 4..at + 4 + length))?);
                            at += 4 + length;
                        }
                    }
                    Event::Ok(packet) => answer.summary.affected_rows += packet.affected_rows,
                    _ => {}
                }
                if forward.is_done() {
                    return Ok(answer);
                }
            }
        }
    }
}

fn values(columns: &Columns, binary: bool, row: Bytes) -> Result<Vec<Value>> {
    let format = if binary { RowFormat::Binary } else { RowFormat::Text };
    // Both readers must agree on how long the row is.
    let shape = Shape::of(columns, format)?;
    assert_eq!(shape.replace(&row, &[])?, row);
    let shape = shardgate::protocol::row::RowShape::new(format, columns.iter()).map_err(SqlError::from)?;
    shape.values(&RawRow(row)).map_err(SqlError::from)
}
