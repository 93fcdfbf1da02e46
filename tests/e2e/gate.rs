//! How does a test start the gate, look into it, and end it?
//!
//! The binary under test is the one that Cargo built, unless `SHARDGATE_TEST_BINARY` names another.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::ports::free_port;
use crate::process::{self, Process, alive, arguments, descendants, poll};
use crate::server::Family;
use crate::wire::{Endpoint, Login, Wire, WireError};

/// A running `shardgate dev` or `shardgate serve`.
pub struct Gate {
    process: Process,
    pub mysql: u16,
    pub http: u16,
    /// From start to the `ready` line.
    pub started_in: Duration,
    _dir: TempDir,
}

/// What to start.
#[derive(Clone)]
pub struct Dev {
    family: Family,
    schema_dir: PathBuf,
    shards: Vec<String>,
    data_dir: Option<PathBuf>,
    per_shard: bool,
    replicas: u32,
}

/// One MySQL server that the gate started.
#[derive(Debug, Clone)]
pub struct Backend {
    pub pid: i32,
    pub socket: Option<PathBuf>,
    pub arguments: Vec<String>,
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Http {
    pub status: u16,
    pub body: String,
}

/// The program under test.
pub fn binary() -> PathBuf {
    std::env::var_os("SHARDGATE_TEST_BINARY")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_shardgate")), PathBuf::from)
}

// === impl Dev ===

impl Dev {
    /// `shardgate dev` on a schema folder.
    pub fn new(family: &Family, schema_dir: &Path) -> Dev {
        Dev {
            family: family.clone(),
            schema_dir: schema_dir.into(),
            shards: Vec::new(),
            data_dir: None,
            per_shard: false,
            replicas: 0,
        }
    }

    /// The billing sample as the README starts it.
    pub fn billing(family: &Family) -> Dev {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/billing");
        Dev::new(family, &sample).shards("service=4")
    }

    pub fn shards(mut self, shards: &str) -> Dev {
        self.shards.push(shards.into());
        self
    }

    pub fn data_dir(mut self, dir: &Path) -> Dev {
        self.data_dir = Some(dir.into());
        self
    }

    pub fn per_shard(mut self) -> Dev {
        self.per_shard = true;
        self
    }

    /// One server per shard, and so many replicas of each.
    pub fn replicas(mut self, count: u32) -> Dev {
        self.replicas = count;
        self.per_shard()
    }

    /// Starts it and waits for the `ready` line.
    pub fn start(&self) -> Result<Gate, String> {
        let (mysql, http) = (free_port(), free_port());
        let mut command = Command::new(binary());
        command
            .arg("dev")
            .arg("--schema-dir")
            .arg(&self.schema_dir)
            .args(["--mysql-port", &mysql.to_string(), "--http-port", &http.to_string()])
            .arg("--mysqld")
            .arg(&self.family.mysqld);
        for shards in &self.shards {
            command.args(["--shards", shards]);
        }
        if let Some(dir) = &self.data_dir {
            command.arg("--data-dir").arg(dir);
        }
        if self.per_shard {
            command.args(["--servers", "per-shard"]);
        }
        if self.replicas > 0 {
            command.args(["--replicas", &self.replicas.to_string()]);
        }
        Gate::start("shardgate dev", &mut command, mysql, http, Duration::from_secs(120))
    }
}

// === impl Gate ===

impl Gate {
    /// `shardgate serve` with a configuration file that names the two ports.
    pub fn serve(config: &Path, mysql: u16, http: u16) -> Result<Gate, String> {
        let mut command = Command::new(binary());
        command.arg("serve").arg("--config").arg(config);
        Gate::start("shardgate serve", &mut command, mysql, http, Duration::from_secs(30))
    }

    fn start(
        name: &str,
        command: &mut Command,
        mysql: u16,
        http: u16,
        patience: Duration,
    ) -> Result<Gate, String> {
        let dir = tempfile::Builder::new()
            .prefix("shardgate-e2e-gate-")
            .tempdir()
            .map_err(|error| error.to_string())?;
        let begin = Instant::now();
        let mut process = Process::start(name, command, &dir.path().join("log"))?;
        let deadline = begin + patience;
        let expected = format!("ready mysql=127.0.0.1:{mysql} http=127.0.0.1:{http}");
        loop {
            let line = process.line(deadline.saturating_duration_since(Instant::now()))?;
            if line == expected {
                break;
            }
            if line.starts_with("ready") {
                return Err(format!("said {line:?}, not {expected:?}"));
            }
        }
        Ok(Gate { process, mysql, http, started_in: begin.elapsed(), _dir: dir })
    }

    /// The gate's process id.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// All of its log.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// A login to a keyspace (empty: none).
    pub fn connect(&self, keyspace: &str) -> Result<Wire, WireError> {
        self.login(&Login::to(keyspace))
    }

    /// A login with everything chosen.
    pub fn login(&self, login: &Login) -> Result<Wire, WireError> {
        Wire::connect(&Endpoint::Tcp(self.mysql), login)
    }

    /// A pool of the independent driver.
    pub fn driver(&self, keyspace: &str) -> mysql_async::Pool {
        mysql_async::Pool::new(
            mysql_async::OptsBuilder::default()
                .ip_or_hostname("127.0.0.1")
                .tcp_port(self.mysql)
                .user(Some("e2e"))
                .pass(Some("any"))
                .db_name(Some(keyspace))
                .prefer_socket(false),
        )
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        self.process.running()
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        process::resident_kib(self.pid())
    }

    /// The MySQL servers that this gate started.
    pub fn backends(&self) -> Vec<Backend> {
        descendants(self.pid())
            .into_iter()
            .map(|pid| (pid, arguments(pid)))
            .filter(|(_, arguments)| arguments.iter().any(|argument| argument.starts_with("--datadir")))
            .map(|(pid, arguments)| {
                let of = |name: &str| {
                    arguments.iter().find_map(|argument| argument.strip_prefix(name).map(str::to_owned))
                };
                Backend { pid, socket: of("--socket=").map(PathBuf::from), arguments }
            })
            .collect()
    }

    /// A login as root to the server of this socket, as `SHOW VITESS_TABLETS` names it.
    pub fn server(socket: &str) -> Result<Wire, WireError> {
        let login = Login { user: "root".into(), ..Login::to("") };
        Wire::connect(&Endpoint::Unix(socket.into()), &login)
    }

    /// GET over HTTP/1.1.
    pub fn get(&self, path: &str) -> Result<Http, String> {
        let fetch = || -> std::io::Result<Vec<u8>> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.http))?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = fetch().map_err(|error| format!("GET {path}: {error}"))?;
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) =
            text.split_once("\r\n\r\n").ok_or_else(|| format!("GET {path}: no end of head: {text}"))?;
        let status = head
            .split_whitespace()
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| format!("GET {path}: {head}"))?;
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let body = if chunked { unchunk(body) } else { body.to_owned() };
        Ok(Http { status, body })
    }

    /// SIGTERM; the exit status and the servers that outlived it.
    pub fn stop(mut self) -> (Option<ExitStatus>, Vec<i32>) {
        let servers = descendants(self.pid());
        let status = self.process.terminate(Duration::from_secs(40));
        (status, Gate::clean(&servers))
    }

    /// SIGKILL; the servers stay, as after a crash. They are returned to be watched.
    pub fn kill(mut self) -> Vec<i32> {
        let servers = descendants(self.pid());
        self.process.kill();
        servers
    }

    /// Ends what was left behind and names it.
    fn clean(servers: &[i32]) -> Vec<i32> {
        poll(Duration::from_secs(2), || servers.iter().all(|&pid| !alive(pid)).then_some(()));
        let left: Vec<i32> = servers.iter().copied().filter(|&pid| alive(pid)).collect();
        for &pid in &left {
            process::signal(pid, Signal::SIGKILL);
        }
        left
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if self.process.running() {
            let servers = descendants(self.pid());
            self.process.terminate(Duration::from_secs(40));
            Gate::clean(&servers);
        }
    }
}

/// Joins the chunks of a chunked HTTP body.
fn unchunk(mut body: &str) -> String {
    let mut joined = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || rest.len() < size {
            break;
        }
        joined.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    joined
}
