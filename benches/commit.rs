//! What does a COMMIT over two shards cost, beside one of one shard, in each transaction mode?
//!
//! `cargo bench --bench commit` starts `shardgate dev` with a server for each of two shards and prints one
//! table: two updates and a COMMIT, on one shard or on two. Microseconds belong to the machine and its disk;
//! the ratios within the run are the figures to keep, and the statements that reach the servers do not
//! depend on the load.
//!
//! | Variable | Default | Meaning |
//! |---|---|---|
//! | `BENCH_ROUNDS` | 5 | interleaved rounds |
//! | `BENCH_EVENTS` | 200 | transactions per round and row of the table |
//! | `BENCH_MYSQLD` | | the server program; else the first that `shardgate dev` finds |
//! | `SHARDGATE_TEST_BINARY` | | another gate than the one of this build |
//!
//! Started without `--bench` (by `cargo test`), it does nothing.
#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench prints its table, and a failed step ends it"
)]

#[path = "gate/figures.rs"]
mod figures;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder};

use figures::Figures;

/// A row of the table: its name, the mode, and whether the second update is on the other shard.
const KINDS: [(&str, &str, bool); 4] = [
    ("one shard", "multi", false),
    ("one shard", "twopc", false),
    ("two shards", "multi", true),
    ("two shards", "twopc", true),
];

/// The figures of one row of the table.
#[derive(Default)]
struct Cells {
    /// Median COMMIT of each round, in microseconds.
    commit: Figures,
    /// Median transaction of each round, COMMIT included, in microseconds.
    whole: Figures,
    /// Statements that reached the servers, per transaction.
    statements: Figures,
}

/// `shardgate dev` in a folder of its own.
struct Cluster {
    child: Child,
    port: u16,
    data: PathBuf,
}

fn main() {
    if std::env::args().any(|argument| argument == "--bench") {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(run());
    }
}

async fn run() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::start(folder.path());
    let mut client = cluster.client("bank").await;
    let rows: Vec<String> = (1..=64).map(|id| format!("({id}, 0)")).collect();
    client.query_drop(format!("INSERT INTO t (id, n) VALUES {}", rows.join(", "))).await.expect("rows");
    let mut ids = Vec::new();
    for shard in ["bank:-80", "bank:80-"] {
        let all: Vec<i64> = cluster.client(shard).await.query("SELECT id FROM t").await.expect("ids");
        ids.push(all);
    }
    let mut servers = Vec::new();
    for number in 1..=2 {
        let socket = cluster.data.join(format!("{number}.sock")).display().to_string();
        let options = OptsBuilder::default().socket(Some(socket)).user(Some("root"));
        let mut server = Conn::new(options).await.expect("a server");
        // A commit is on the disk when it is acknowledged.
        server.query_drop("SET GLOBAL innodb_flush_log_at_trx_commit = 1").await.expect("the setting");
        servers.push(server);
    }
    let (rounds, events) = (setting("BENCH_ROUNDS", 5), setting("BENCH_EVENTS", 200));
    let mut cells: [Cells; KINDS.len()] = Default::default();
    for round in 0..=rounds {
        for ((_, mode, both), cells) in KINDS.iter().zip(&mut cells) {
            client.query_drop(format!("SET transaction_mode = '{mode}'")).await.expect("the mode");
            let other = if *both { &ids[1] } else { &ids[0] };
            let before = questions(&mut servers).await;
            let (mut commits, mut wholes) = (Figures::default(), Figures::default());
            for event in 0..events {
                let pair = [ids[0][event % ids[0].len()], other[(event + 1) % other.len()]];
                let begun = Instant::now();
                client.query_drop("BEGIN").await.expect("BEGIN");
                for id in pair {
                    let update = format!("UPDATE t SET n = n + 1 WHERE id = {id}");
                    client.query_drop(update).await.expect("UPDATE");
                }
                let commit = Instant::now();
                client.query_drop("COMMIT").await.expect("COMMIT");
                commits.push(commit.elapsed().as_secs_f64() * 1e6);
                wholes.push(begun.elapsed().as_secs_f64() * 1e6);
            }
            // Each reading of the counters is one statement per server itself.
            let statements = questions(&mut servers).await - before - servers.len() as f64;
            // The first round only fills pools and caches.
            if round > 0 {
                cells.commit.push(commits.median());
                cells.whole.push(wholes.median());
                cells.statements.push(statements / events as f64);
            }
        }
    }
    print_table(&cells, rounds, events);
}

fn print_table(cells: &[Cells; KINDS.len()], rounds: usize, events: usize) {
    println!(
        "{rounds} rounds of {events} transactions, one client; median (least–most) of the rounds' medians.\n"
    );
    println!("| transaction of two updates | mode | COMMIT, µs | whole, µs | statements on the servers |");
    println!("|---|---|---|---|---|");
    for ((name, mode, _), Cells { commit, whole, statements }) in KINDS.iter().zip(cells) {
        println!("| {name} | {mode} | {commit:.0} | {whole:.0} | {statements:.1} |");
    }
    let [one_multi, one, _, two] = cells;
    let ratio = |what: &str, ratio: &Figures, bar: f64| {
        let verdict = if ratio.median() <= bar { "met" } else { "not met" };
        println!("{what}: {ratio} (bar {bar}: {verdict})");
    };
    println!();
    ratio("twopc, COMMIT of two shards over that of one", &two.commit.over(&one.commit), 2.5);
    ratio("one shard, twopc over multi", &one.whole.over(&one_multi.whole), 1.05);
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Statements that the servers have received. Health checks of the gate are among them: a few per second.
async fn questions(servers: &mut [Conn]) -> f64 {
    let mut sum = 0.0;
    for server in servers {
        let row: Option<(String, String)> =
            server.query_first("SHOW GLOBAL STATUS LIKE 'Questions'").await.expect("a counter");
        sum += row.expect("a counter").1.parse::<f64>().expect("a number");
    }
    sum
}

// === impl Cluster ===

impl Cluster {
    fn start(folder: &Path) -> Self {
        let schema = folder.join("schema/bank");
        std::fs::create_dir_all(&schema).expect("a folder");
        let vschema = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}},
            "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#;
        std::fs::write(schema.join("vschema.json"), vschema).expect("a VSchema");
        let table = "CREATE TABLE IF NOT EXISTS t (id BIGINT NOT NULL PRIMARY KEY, n INT NOT NULL);\n";
        std::fs::write(schema.join("1.sql"), table).expect("a schema");
        let binary = std::env::var_os("SHARDGATE_TEST_BINARY")
            .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_shardgate")), PathBuf::from);
        let data = folder.join("data");
        let mut command = Command::new(binary);
        command.args(["dev", "--servers", "per-shard", "--shards", "bank=2", "--log-level", "error"]);
        command.args(["--mysql-port", "0", "--http-port", "0", "--schema-dir"]).arg(folder.join("schema"));
        command.arg("--data-dir").arg(&data);
        if let Some(mysqld) = std::env::var_os("BENCH_MYSQLD") {
            command.arg("--mysqld").arg(mysqld);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the gate starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its standard output");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let port = line.strip_prefix("ready mysql=127.0.0.1:").and_then(|rest| rest.split(' ').next());
        let port = port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("not ready: {line}"));
        Self { child, port, data }
    }

    async fn client(&self, database: &str) -> Conn {
        let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(self.port);
        let options = options.user(Some("bench")).db_name(Some(database)).prefer_socket(false);
        Conn::new(options).await.expect("a client")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SIGTERM: it stops its servers.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}
