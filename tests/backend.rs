//! Does the backend room speak to real servers as it claims?
//!
//! `SHARDGATE_TEST_MYSQLD` is a comma-separated list of `mysqld` or `mariadbd` programs; each is
//! started on a folder of its own, on 127.0.0.1. Without it only this sentence is printed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where an expectation does not hold")]

#[path = "e2e/ports.rs"]
mod ports;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use shardgate::backend::{
    BackendConfig, BackendError, Event, Lease, OwnedEvent, Pools, ResultSet, Retry, Tls,
};
use shardgate::metrics::Metrics;
use shardgate::protocol::capability::Status;
use shardgate::protocol::packet::{HEADER_LEN, Header, MAX_CHUNK, PacketWriter};
use shardgate::protocol::row::{RowFormat, RowShape};
use shardgate::protocol::statement::encode_execute;
use shardgate::topology::{Address, Snapshot, Tablet, TabletAlias, TabletType};
use shardgate::value::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const LIMIT: usize = 1 << 20;

/// A server that ends with the test.
struct Server {
    program: PathBuf,
    is_mariadb: bool,
    folder: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
}

/// A gate's backend side over one server.
struct Gate {
    pools: Arc<Pools>,
    tablet: Arc<Tablet>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

// === impl Server ===

impl Server {
    fn start(program: &str) -> Self {
        let version = Command::new(program).args(["--no-defaults", "--version"]).output().unwrap();
        let is_mariadb = String::from_utf8_lossy(&version.stdout).contains("MariaDB");
        let folder = tempfile::tempdir().unwrap();
        let port = ports::free_port();
        let mut server = Self { program: program.into(), is_mariadb, folder, port, child: None };
        let data = server.path("data");
        let mut setup = if is_mariadb {
            let mut setup = Command::new("mariadb-install-db");
            setup.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
            setup
        } else {
            let mut setup = Command::new(program);
            setup.args(["--no-defaults", "--initialize-insecure"]);
            setup
        };
        let log = std::fs::File::create(server.path("setup.log")).unwrap();
        let done = setup
            .arg("--user=root")
            .arg(format!("--datadir={}", data.display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .status()
            .unwrap();
        assert!(done.success(), "{}", std::fs::read_to_string(server.path("setup.log")).unwrap());
        server.run();
        server
    }

    fn run(&mut self) {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.path("server.log")).unwrap();
        let mut command = Command::new(&self.program);
        command
            .args([
                "--no-defaults",
                "--user=root",
                "--bind-address=127.0.0.1",
                "--max-allowed-packet=64M",
                "--secure-file-priv=",
                "--innodb-flush-log-at-trx-commit=0",
            ])
            .arg(format!("--datadir={}", self.path("data").display()))
            .arg(format!("--port={}", self.port))
            .arg(format!("--socket={}", self.socket().display()))
            .arg(format!("--pid-file={}", self.path("pid").display()));
        if !self.is_mariadb {
            command.arg("--mysqlx=OFF");
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// `kill -9`.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.path("sock")
    }

    fn unix(&self) -> Address {
        Address::Unix(self.socket())
    }

    fn tcp(&self) -> Address {
        Address::Tcp { host: "127.0.0.1".to_owned(), port: self.port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(self.path("server.log")).unwrap_or_default());
        }
    }
}

// === impl Gate ===

impl Gate {
    fn new(address: Address, config: BackendConfig) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let metrics = Arc::new(Metrics::new().unwrap());
        let tablet = Arc::new(Tablet {
            alias: TabletAlias { cell: "zone1".into(), uid: 101 },
            keyspace: "service".into(),
            shard: "-80".into(),
            kind: TabletType::Primary,
            address,
            schema: "proof".into(),
        });
        Self { pools: Pools::new(config, metrics, tasks.clone(), stop.clone()), tablet, tasks, stop }
    }

    async fn lease(&self) -> Lease {
        self.try_lease().await.unwrap()
    }

    async fn try_lease(&self) -> Result<Lease, BackendError> {
        self.pools.lease(&self.tablet, false, &self.pools.settings().baseline()).await
    }

    async fn lease_with(&self, settings: &[(&str, &str)]) -> Result<Lease, BackendError> {
        let pairs = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        self.pools.lease(&self.tablet, false, &self.pools.settings().intern(pairs)).await
    }

    fn stats(&self) -> shardgate::backend::PoolStats {
        self.pools.pool(&self.tablet, false).stats()
    }

    /// Waits until what goes on in the background has given every connection back.
    async fn settled(&self) {
        within("all connections are back", || self.stats().in_use == 0).await;
    }

    async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(Duration::from_secs(10), self.tasks.wait()).await.unwrap();
    }
}

/// Polls a condition that another task or process brings about.
async fn within(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn root() -> BackendConfig {
    BackendConfig { user: "root".to_owned(), pool_size: 4, ..BackendConfig::default() }
}

fn values(format: RowFormat, result: &ResultSet) -> Vec<Vec<Value>> {
    let shape = RowShape::new(format, result.columns.iter()).unwrap();
    result.rows.iter().map(|row| shape.values(row).unwrap()).collect()
}

async fn select(lease: &mut Lease, sql: &str) -> Vec<Vec<Value>> {
    let result = lease.collect(sql.as_bytes(), LIMIT).await.unwrap();
    values(RowFormat::Text, &result)
}

async fn select_one(lease: &mut Lease, sql: &str) -> Value {
    select(lease, sql).await.remove(0).remove(0)
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned().into())
}

/// A server error's code.
fn code<T: std::fmt::Debug>(result: Result<T, BackendError>) -> u16 {
    match result {
        Err(BackendError::Server(error)) => error.code(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn against_real_servers() {
    let Ok(programs) = std::env::var("SHARDGATE_TEST_MYSQLD") else {
        println!("backend tests: no server, because SHARDGATE_TEST_MYSQLD is not set");
        return;
    };
    for program in programs.split(',').filter(|program| !program.is_empty()) {
        println!("backend tests with {program}");
        let mut server = Server::start(program);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(300), all(&mut server)).await.unwrap();
        });
    }
}

async fn all(server: &mut Server) {
    prepare_server(server).await;
    let gate = Gate::new(server.unix(), root());
    for size in [1, 2] {
        println!("  round {size}");
        text_rows(&gate).await;
        errors_leave_the_connection_usable(&gate).await;
        pipelined_begin(&gate).await;
        several_results(&gate).await;
        prepared_statements(&gate, server).await;
        settings_are_carried(&gate).await;
        unpredicted_state_is_found(&gate).await;
        dropped_leases_are_cleaned(&gate).await;
        running_statements_are_cancelled(&gate).await;
        closed_connections_are_replaced(&gate).await;
    }
    large_rows(&gate).await;
    large_statements(&gate).await;
    gate.end().await;
    matched_or_changed(server).await;
    authentication(server).await;
    a_full_pool_waits_in_order(server).await;
    retired_pools_close(server).await;
    a_server_that_dies_and_returns(server).await;
}

async fn prepare_server(server: &mut Server) {
    let socket = server.socket();
    within("the server's socket", || Path::new(&socket).exists()).await;
    let gate = Gate::new(server.unix(), root());
    let tablet = Arc::new(Tablet {
        alias: gate.tablet.alias.clone(),
        keyspace: "service".into(),
        shard: "-80".into(),
        kind: TabletType::Primary,
        address: server.unix(),
        schema: "".into(),
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut lease = loop {
        match gate.pools.lease(&tablet, false, &gate.pools.settings().baseline()).await {
            Ok(lease) => break lease,
            Err(error) if Instant::now() > deadline => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    for sql in [
        "CREATE DATABASE proof",
        "CREATE TABLE proof.t (id INT PRIMARY KEY, name VARCHAR(50), n BIGINT UNSIGNED)",
        "CREATE PROCEDURE proof.two() BEGIN SELECT 1; SELECT 2, 3; END",
        "CREATE PROCEDURE proof.remember() BEGIN SET @remembered = 5; END",
    ] {
        lease.run(sql.as_bytes()).await.unwrap();
    }
    assert_eq!(lease.server().is_mariadb, server.is_mariadb);
    assert!(!lease.server().version.starts_with("5.5.5-"));
    drop(lease);
    gate.end().await;
}

async fn text_rows(gate: &Gate) {
    let mut lease = gate.lease().await;
    lease.run(b"REPLACE INTO t VALUES (1, 'one', 18446744073709551615), (2, NULL, 0)").await.unwrap();
    let rows = select(&mut lease, "SELECT id, name, n FROM t ORDER BY id").await;
    assert_eq!(rows[0], [Value::Int(1), text("one"), Value::UInt(u64::MAX)]);
    assert_eq!(rows[1], [Value::Int(2), Value::Null, Value::UInt(0)]);
    // The same as events, with the packets renumbered on their way.
    lease.send_query(b"SELECT id, name FROM t ORDER BY id");
    let (mut out, mut writer) = (BytesMut::new(), PacketWriter::new(200));
    let mut seen = Vec::new();
    loop {
        match lease.next().await.unwrap() {
            Event::Columns { run, count } => {
                writer.write_run(&mut out, run).unwrap();
                seen.push(format!("columns {count}"));
            }
            Event::Rows { run, count } => {
                writer.write_run(&mut out, run).unwrap();
                seen.push(format!("rows {count}"));
            }
            Event::RowsEnd(end) => {
                assert_eq!(end.status & (Status::AUTOCOMMIT | Status::IN_TRANS), Status::AUTOCOMMIT);
                seen.push("end".to_owned());
            }
            other => panic!("{other:?}"),
        }
        if lease.response_done() {
            break;
        }
    }
    assert_eq!(seen, ["columns 2", "rows 2", "end"]);
    assert_eq!(writer.next_seq(), 204);
    assert!(out.ends_with(&[3, 0, 0, 203, 1, b'2', 0xfb]));
    assert!(lease.is_clean());
}

async fn errors_leave_the_connection_usable(gate: &Gate) {
    let mut lease = gate.lease().await;
    assert_eq!(code(lease.run(b"SELECT nonsense FROM t").await), 1054);
    assert_eq!(code(lease.run(b"SELEC").await), 1064);
    assert!(lease.is_clean());
    // An error after the definitions, inside the rows.
    lease.run(b"REPLACE INTO t VALUES (1, 'one', 1), (2, 'two', 0)").await.unwrap();
    let strict = b"SELECT (SELECT id FROM t WHERE id >= x.id) FROM t x ORDER BY x.id DESC";
    assert_eq!(code(lease.collect(strict, LIMIT).await), 1242);
    assert!(lease.is_clean());
    assert_eq!(select_one(&mut lease, "SELECT 7").await, Value::Int(7));
}

async fn pipelined_begin(gate: &Gate) {
    let mut lease = gate.lease().await;
    lease.send_prelude(b"BEGIN");
    let summary = lease.run(b"REPLACE INTO t VALUES (100, 'x', 1)").await.unwrap();
    assert_eq!(summary.affected_rows, 1);
    assert!(lease.in_transaction() && !lease.is_clean());
    lease.run(b"ROLLBACK").await.unwrap();
    assert!(!lease.in_transaction() && lease.is_clean());
    assert_eq!(select_one(&mut lease, "SELECT COUNT(*) FROM t WHERE id = 100").await, Value::Int(0));
    // A failing prelude is an error of its own, and ends the connection.
    lease.send_prelude(b"SET @@SESSION.no_such_variable = 1");
    let error = lease.run(b"SELECT 1").await.unwrap_err();
    assert!(matches!(&error, BackendError::Prelude(inner) if inner.code() == 1193), "{error:?}");
    assert!(lease.is_broken());
}

async fn several_results(gate: &Gate) {
    let mut lease = gate.lease().await;
    lease.send_query(b"CALL two()");
    let (mut columns, mut rows, mut ends, mut oks) = (Vec::new(), 0, 0, 0);
    loop {
        match lease.next_owned().await.unwrap() {
            OwnedEvent::Columns(list) => columns.push(list.len()),
            OwnedEvent::Rows(list) => rows += list.len(),
            OwnedEvent::RowsEnd(_) => ends += 1,
            OwnedEvent::Ok(_) => oks += 1,
            OwnedEvent::Error(error) => panic!("{error:?}"),
        }
        if lease.response_done() {
            break;
        }
    }
    assert_eq!((columns, rows, ends, oks), (vec![1, 2], 2, 2, 1));
    assert!(lease.is_clean());
}

async fn prepared_statements(gate: &Gate, server: &Server) {
    let mut lease = gate.lease().await;
    lease.run(b"REPLACE INTO t VALUES (1, 'one', 18446744073709551615)").await.unwrap();
    let sql = b"SELECT id, name, n, CAST('2026-01-02 03:04:05.5' AS DATETIME(1)) FROM t WHERE id = ?";
    let statement = lease.prepare(sql).await.unwrap();
    assert_eq!((statement.params, statement.columns.len()), (1, 4));
    assert_eq!(statement.columns.get(1).unwrap().org_table, b"t");
    for _ in 0..2 {
        let again = lease.prepare(sql).await.unwrap();
        assert_eq!(again.id, statement.id, "cached");
        lease.send_execute_with(|out| encode_execute(out, again.id, &[Value::Int(1)]).unwrap());
        let result = lease.collect_response(LIMIT).await.unwrap();
        let expected = [
            Value::Int(1),
            text("one"),
            Value::UInt(u64::MAX),
            Value::Temporal("2026-01-02 03:04:05.5".into()),
        ];
        assert_eq!(values(RowFormat::Binary, &result), [expected]);
    }
    // Values of every kind go there and back.
    let statement = lease.prepare(b"SELECT ?, ?, ?, CAST(? AS DATETIME(6)), ? IS NULL").await.unwrap();
    let sent = [
        Value::Int(-5),
        text("\u{1F980}"),
        Value::Float(0.5),
        Value::Temporal("2026-01-02 03:04:05.000006".into()),
    ];
    let parameters = [&sent[..], &[Value::Null]].concat();
    lease.send_execute_with(|out| encode_execute(out, statement.id, &parameters).unwrap());
    let result = lease.collect_response(LIMIT).await.unwrap();
    assert_eq!(values(RowFormat::Binary, &result)[0], [&sent[..], &[Value::Int(1)]].concat());
    assert_eq!(code(lease.prepare(b"SELECT ? FROM").await), 1064);
    // Long data.
    let statement = lease.prepare(b"SELECT LENGTH(?)").await.unwrap();
    lease.send_long_data(statement.id, 0, b"0123456789");
    lease.send_execute_with(|out| {
        out.extend_from_slice(b"\x17");
        out.extend_from_slice(&statement.id.to_le_bytes());
        out.extend_from_slice(b"\x00\x01\0\0\0\x00\x01\xfc\x00");
    });
    let result = lease.collect_response(LIMIT).await.unwrap();
    assert_eq!(values(RowFormat::Binary, &result), [[Value::Int(10)]]);
    // None of that leaves a trace, so nothing is reset.
    assert!(lease.is_clean(), "mariadb: {}", server.is_mariadb);
    let (id, resets) = (lease.server().connection_id, gate.stats().resets);
    drop(lease);
    assert_eq!(gate.stats().resets, resets);
    let mut lease = gate.lease().await;
    assert_eq!(lease.server().connection_id, id);
    assert_eq!(lease.prepare(sql).await.unwrap().columns.len(), 4);
}

async fn settings_are_carried(gate: &Gate) {
    let mode = "SELECT @@sql_mode, @@time_zone";
    let utc = [("sql_mode", "'ANSI_QUOTES'"), ("time_zone", "'+00:00'")];
    for _ in 0..2 {
        let mut lease = gate.lease_with(&utc).await.unwrap();
        assert_eq!(select(&mut lease, mode).await, [[text("ANSI_QUOTES"), text("+00:00")]]);
        assert!(lease.is_clean());
    }
    // The same settings: the same connection, nothing applied.
    let applied = gate.stats().settings_applied;
    drop(gate.lease_with(&utc).await.unwrap());
    assert_eq!(gate.stats().settings_applied, applied);
    // Others, until every connection of the pool carries some: one has to be reset.
    let mut held = Vec::new();
    for number in 0..4 {
        let mut lease = gate.lease_with(&[("sql_select_limit", &format!("{}", 10 + number))]).await.unwrap();
        let rows = select(&mut lease, "SELECT @@sql_select_limit, @@sql_mode LIKE '%ANSI%'").await;
        assert_eq!(rows, [[Value::UInt(10 + number), Value::Int(0)]]);
        held.push(lease);
    }
    drop(held);
    let mut lease = gate.lease().await;
    let rows = select(&mut lease, "SELECT @@sql_mode LIKE '%ANSI_QUOTES%', @@character_set_client").await;
    assert_eq!(rows, [[Value::Int(0), text("utf8mb4")]]);
    drop(lease);
    // Settings that the server refuses.
    assert_eq!(code(gate.lease_with(&[("sql_mode", "'NONSENSE'")]).await), 1231);
    gate.settled().await;
    let mut lease = gate.lease().await;
    assert_eq!(select_one(&mut lease, "SELECT 1").await, Value::Int(1));
}

async fn unpredicted_state_is_found(gate: &Gate) {
    for sql in [
        "SET @x = 5",
        "SET SESSION sql_mode = 'ANSI_QUOTES'",
        "CALL remember()",
        "CREATE TEMPORARY TABLE tmp (id INT)",
        "USE mysql",
    ] {
        let mut lease = gate.lease().await;
        lease.run(sql.as_bytes()).await.unwrap();
        assert!(!lease.is_clean(), "{sql}");
        drop(lease);
        gate.settled().await;
    }
    let mut lease = gate.lease().await;
    lease.send_prelude(b"SET @x = 6");
    lease.run(b"SELECT 1").await.unwrap();
    assert!(!lease.is_clean(), "a prelude is no exception");
    drop(lease);
    gate.settled().await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut lease = gate.lease().await;
        let rows =
            select(&mut lease, "SELECT @x IS NULL, @remembered IS NULL, @@sql_mode LIKE '%ANSI%'").await;
        assert_eq!(rows, [[Value::Int(1), Value::Int(1), Value::Int(0)]]);
        assert_eq!(code(lease.run(b"SELECT * FROM tmp").await), 1146);
        held.push(lease);
    }
}

async fn dropped_leases_are_cleaned(gate: &Gate) {
    // In a transaction: rolled back, the row lock is gone.
    let mut lease = gate.lease().await;
    lease.run(b"REPLACE INTO t VALUES (1, 'one', 1)").await.unwrap();
    lease.send_prelude(b"BEGIN");
    lease.run(b"UPDATE t SET name = 'lost' WHERE id = 1").await.unwrap();
    drop(lease);
    gate.settled().await;
    let mut lease = gate.lease().await;
    assert_eq!(select_one(&mut lease, "SELECT name FROM t WHERE id = 1 FOR UPDATE").await, text("one"));
    drop(lease);
    // In the middle of a result that would take for ever.
    let mut lease = gate.lease().await;
    let endless = "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 100000) \
                   SELECT a.n, REPEAT('x', 100) FROM r a, r b";
    lease.run(b"SET SESSION cte_max_recursion_depth = 1000000").await.ok();
    lease.run(b"SET SESSION max_recursive_iterations = 1000000").await.ok();
    lease.send_query(endless.as_bytes());
    loop {
        if let Event::Rows { .. } = lease.next().await.unwrap() {
            break;
        }
    }
    let begun = Instant::now();
    drop(lease);
    gate.settled().await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // What was appended and never sent does not run.
    let mut lease = gate.lease().await;
    lease.send_query(b"REPLACE INTO t VALUES (77, 'never', 1)");
    drop(lease);
    gate.settled().await;
    let mut lease = gate.lease().await;
    assert_eq!(select_one(&mut lease, "SELECT COUNT(*) FROM t WHERE id = 77").await, Value::Int(0));
}

async fn running_statements_are_cancelled(gate: &Gate) {
    let mut lease = gate.lease().await;
    lease.send_prelude(b"BEGIN");
    lease.send_query(b"SELECT SLEEP(100) FROM t");
    lease.flush().await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), lease.next()).await.is_err(), "cancel-safe");
    let begun = Instant::now();
    lease.cancel().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(!lease.owes() && lease.in_transaction());
    lease.run(b"ROLLBACK").await.unwrap();
    drop(lease);
    gate.settled().await;
    // From elsewhere, while the lease waits.
    let mut lease = gate.lease().await;
    lease.send_query(b"SELECT SLEEP(100), id FROM t");
    lease.flush().await.unwrap();
    let target = lease.kill_target();
    let (killed, answer) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            target.kill_query().await
        },
        lease.collect_response(LIMIT)
    );
    killed.unwrap();
    // MySQL lets SLEEP return 1, and then sees the flag at the next row; MariaDB ends at once.
    if let Err(error) = answer {
        assert!(matches!(error, BackendError::Server(error) if error.code() == 1317));
    }
}

async fn closed_connections_are_replaced(gate: &Gate) {
    let mut one = gate.lease().await;
    let two = gate.lease().await;
    let id = two.server().connection_id;
    drop(two);
    one.run(format!("KILL {id}").as_bytes()).await.unwrap();
    let closed = gate.stats().closed;
    within("the dead connection is found", || gate.stats().closed > closed || gate.stats().idle == 0).await;
    let mut two = gate.lease().await;
    assert_ne!(two.server().connection_id, id);
    assert_eq!(select_one(&mut two, "SELECT 1").await, Value::Int(1));
    // In use, it is lost, and the error says whether a statement may be repeated.
    one.run(format!("KILL {}", two.server().connection_id).as_bytes()).await.unwrap();
    let error = two.run(b"SELECT 1").await.unwrap_err();
    assert!(error.loses_connection() && error.retry() != Retry::Never, "{error:?}");
    assert!(two.is_broken());
}

async fn large_rows(gate: &Gate) {
    // The payload is the value and four bytes of its length.
    for length in [200_000, 1_000_000, MAX_CHUNK - 5, MAX_CHUNK - 4, MAX_CHUNK - 3, 40_000_000] {
        let sql = format!("SELECT 1 AS a UNION ALL SELECT REPEAT('x', {length}) UNION ALL SELECT 3");
        let mut lease = gate.lease().await;
        let result = lease.collect(sql.as_bytes(), usize::MAX).await.unwrap();
        assert_eq!(result.rows.len(), 3, "{length}");
        let rows = values(RowFormat::Text, &result);
        assert!(
            rows[1][0].text().is_some_and(|text| text.len() == length && text.iter().all(|&b| b == b'x'))
        );
        assert_eq!((&rows[0][0], &rows[2][0]), (&text("1"), &text("3")));
        // As pieces: memory stays bounded, and the packets are whole in the end.
        lease.send_query(sql.as_bytes());
        let (mut out, mut writer, mut longest) = (BytesMut::new(), PacketWriter::new(1), 0);
        loop {
            match lease.next().await.unwrap() {
                Event::Columns { .. } => {}
                Event::Rows { run, .. } => {
                    longest = longest.max(run.len());
                    writer.write_run(&mut out, run).unwrap();
                }
                Event::RowPiece { bytes, starts_packet, .. } => {
                    longest = longest.max(bytes.len());
                    writer.write_piece(&mut out, bytes, starts_packet);
                }
                Event::RowsEnd(_) => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(longest <= 300 * 1024, "{longest}");
        let (mut at, mut seq) = (0, 1_u8);
        while at < out.len() {
            let header = Header::parse(&out[at..]).unwrap();
            assert_eq!(header.seq, seq);
            seq += 1;
            at += HEADER_LEN + header.length;
        }
        assert_eq!(at, out.len());
        assert_eq!(usize::from(writer.next_seq()), 4 + (length + 4) / MAX_CHUNK);
        assert!(lease.is_clean());
    }
}

async fn large_statements(gate: &Gate) {
    let mut lease = gate.lease().await;
    for length in [MAX_CHUNK, MAX_CHUNK + 1, 20_000_000] {
        // The command byte counts too: make the payload exactly so long.
        let frame = "SELECT LENGTH('')".len() + 1;
        let sql = format!("SELECT LENGTH('{}')", "y".repeat(length - frame));
        let expected = i64::try_from(length - frame).unwrap();
        assert_eq!(select_one(&mut lease, &sql).await, Value::Int(expected));
    }
    // Beyond the server's limit: an error, perhaps with the end of the connection, but no hang.
    let sql = format!("SELECT LENGTH('{}')", "y".repeat(70_000_000));
    let error = lease.run(sql.as_bytes()).await.unwrap_err();
    match error {
        BackendError::Server(error) => assert_eq!(error.code(), 1153),
        other => assert!(other.loses_connection(), "{other:?}"),
    }
}

async fn matched_or_changed(server: &Server) {
    let gate = Gate::new(server.unix(), root());
    let baseline = gate.pools.settings().baseline();
    for (found_rows, expected) in [(false, 0), (true, 1)] {
        let mut lease = gate.pools.lease(&gate.tablet, found_rows, &baseline).await.unwrap();
        lease.run(b"REPLACE INTO t VALUES (5, 'same', 1)").await.unwrap();
        let summary = lease.run(b"UPDATE t SET name = 'same' WHERE id = 5").await.unwrap();
        assert_eq!(summary.affected_rows, expected);
        assert_eq!(&summary.info[..], b"Rows matched: 1  Changed: 0  Warnings: 0");
    }
    gate.end().await;
}

async fn authentication(server: &Server) {
    let admin = Gate::new(server.unix(), root());
    let mut lease = admin.lease().await;
    let plugins: &[&str] =
        if server.is_mariadb { &["mysql_native_password"] } else { &["caching_sha2_password"] };
    for plugin in plugins {
        let user = format!("u_{plugin}");
        for (suffix, password) in [("", "s3cret"), ("_long", &"p".repeat(60)), ("_empty", "")] {
            let with = if server.is_mariadb {
                format!("CREATE USER {user}{suffix} IDENTIFIED VIA {plugin} USING PASSWORD('{password}')")
            } else {
                format!("CREATE USER {user}{suffix} IDENTIFIED WITH {plugin} BY '{password}'")
            };
            lease.run(with.as_bytes()).await.unwrap();
            lease.run(format!("GRANT ALL ON proof.* TO {user}{suffix}").as_bytes()).await.unwrap();
            let config = BackendConfig {
                user: format!("{user}{suffix}"),
                password: (*password).to_owned(),
                ..BackendConfig::default()
            };
            // Twice over TCP: the full authentication by RSA key, then the server's cache.
            for _ in 0..2 {
                let gate = Gate::new(server.tcp(), config.clone());
                let mut one = gate.lease().await;
                assert_eq!(select_one(&mut one, "SELECT DATABASE()").await, text("proof"));
                drop(one);
                gate.end().await;
            }
            if !server.is_mariadb {
                lease.run(b"FLUSH PRIVILEGES").await.unwrap();
                let tls = BackendConfig { tls: Tls::Required(accept_any()), ..config.clone() };
                let gate = Gate::new(server.tcp(), tls);
                let mut one = gate.lease().await;
                let cipher = select(&mut one, "SHOW STATUS LIKE 'Ssl_cipher'").await;
                assert_ne!(cipher[0][1], text(""), "encrypted");
                large_row_over_tls(&mut one).await;
                drop(one);
                gate.end().await;
            }
            let wrong = BackendConfig { password: "wrong".to_owned(), ..config };
            let gate = Gate::new(server.tcp(), wrong);
            let error = gate.try_lease().await.unwrap_err().for_shard("service/-80");
            assert!(error.client_text().contains("Access denied"), "{error}");
            gate.end().await;
        }
    }
    drop(lease);
    admin.end().await;
}

async fn large_row_over_tls(lease: &mut Lease) {
    let result = lease.collect(b"SELECT REPEAT('x', 1000000)", usize::MAX).await.unwrap();
    assert_eq!(result.rows[0].0.len(), 1_000_004);
}

async fn a_full_pool_waits_in_order(server: &Server) {
    let config =
        BackendConfig { pool_size: 1, queue_timeout: Duration::from_millis(200), queue_limit: 2, ..root() };
    let gate = Arc::new(Gate::new(server.unix(), config));
    let lease = gate.lease().await;
    assert!(matches!(gate.try_lease().await, Err(BackendError::Exhausted)));
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut waiters = Vec::new();
    for number in 0..2 {
        let (gate, order) = (Arc::clone(&gate), Arc::clone(&order));
        let waiting = gate.stats().waiting;
        waiters.push(tokio::spawn({
            let gate = Arc::clone(&gate);
            async move {
                let lease = gate.lease().await;
                order.lock().unwrap().push(number);
                drop(lease);
            }
        }));
        within("one more waits", || gate.stats().waiting > waiting).await;
    }
    assert!(matches!(gate.try_lease().await, Err(BackendError::Exhausted)), "the queue is full");
    drop(lease);
    for waiter in waiters {
        waiter.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [0, 1]);
    let stats = gate.stats();
    assert_eq!((stats.opened, stats.timeouts, stats.idle), (1, 1, 1));
    Arc::into_inner(gate).unwrap().end().await;
}

async fn retired_pools_close(server: &Server) {
    let gate = Gate::new(server.unix(), root());
    let held = gate.lease().await;
    drop(gate.lease().await);
    let pool = gate.pools.pool(&gate.tablet, false);
    assert_eq!((pool.stats().idle, pool.stats().in_use), (1, 1));
    gate.pools.retain(&Snapshot::default());
    assert_eq!(pool.stats().idle, 0);
    drop(held);
    assert_eq!((pool.stats().idle, pool.stats().closed), (0, 2));
    gate.end().await;
}

async fn a_server_that_dies_and_returns(server: &mut Server) {
    let config = BackendConfig { connect_timeout: Duration::from_secs(2), ..root() };
    let gate = Gate::new(server.unix(), config);
    let mut busy = gate.lease().await;
    drop(gate.lease().await);
    server.kill();
    assert!(busy.run(b"SELECT 1").await.unwrap_err().loses_connection());
    drop(busy);
    for _ in 0..3 {
        let begun = Instant::now();
        let error = gate.try_lease().await.unwrap_err();
        assert!(matches!(error, BackendError::Unreachable { .. }), "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
    assert!(!gate.stats().healthy);
    server.run();
    within("the server is found again", || gate.stats().healthy).await;
    let mut lease = gate.lease().await;
    assert_eq!(select_one(&mut lease, "SELECT 1").await, Value::Int(1));
    drop(lease);
    gate.end().await;
}

/// A TLS client that takes any certificate: the test server signs its own.
fn accept_any() -> Arc<rustls::ClientConfig> {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

    #[derive(Debug)]
    struct Any(Arc<rustls::crypto::CryptoProvider>);

    impl ServerCertVerifier for Any {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Any(provider)))
        .with_no_client_auth();
    Arc::new(config)
}
