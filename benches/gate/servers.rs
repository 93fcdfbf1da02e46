//! Which processes are measured, and how are they started and stopped?
//!
//! One MySQL server holds everything: a plain `sbtest` database for the direct and the HAProxy
//! runs, the four shards `sbtest_…` of the gate's keyspace, and the `stream` database of the large
//! SELECT. HAProxy and the gate run with two threads each in front of that same server.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::client::Client;

/// The account without a password that everybody uses.
pub(crate) const USER: &str = "sbtest";

/// The gate's shards of keyspace `sbtest`: name and physical database.
pub(crate) const SHARDS: [(&str, &str); 4] =
    [("-40", "sbtest_lo40"), ("40-80", "sbtest_40_80"), ("80-c0", "sbtest_80_c0"), ("c0-", "sbtest_c0hi")];

/// How long a server may take to answer its first connection.
const START: Duration = Duration::from_secs(90);

/// A running server, stopped when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    /// Its column in the table.
    pub(crate) name: &'static str,
    /// The port on 127.0.0.1 that speaks MySQL's protocol.
    pub(crate) port: u16,
    child: Child,
}

/// The three ways to the rows.
#[derive(Debug)]
pub(crate) struct Servers {
    /// MySQL itself.
    pub(crate) mysql: Server,
    /// HAProxy in TCP mode in front of it.
    pub(crate) haproxy: Server,
    /// The gate in front of it.
    pub(crate) gate: Server,
    /// What MySQL says it is.
    pub(crate) version: String,
    folder: PathBuf,
}

// === impl Servers ===

impl Servers {
    /// Starts all three in `folder`, on three ports from `port`.
    pub(crate) fn start(folder: &Path, port: u16) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let folder = folder.canonicalize()?;
        let mysql = start_mysql(&folder, port)?;
        let version = Client::connect(("127.0.0.1", port), USER, "")?
            .scalar("SELECT CONCAT(@@version_comment, ' ', VERSION())")?;
        let haproxy = start_haproxy(&folder, port + 1, port)?;
        let gate = start_gate(&folder, port + 2, port)?;
        Ok(Self { mysql, haproxy, gate, version, folder })
    }

    /// The folder with all data and logs.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// In the order of the table's columns.
    pub(crate) fn all(&self) -> [&Server; 3] {
        [&self.mysql, &self.haproxy, &self.gate]
    }
}

// === impl Server ===

impl Server {
    /// A connection to it.
    pub(crate) fn connect(&self, database: &str) -> io::Result<Client> {
        Client::connect(("127.0.0.1", self.port), USER, database)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn start(name: &'static str, port: u16, command: &mut Command, log: &Path) -> io::Result<Self> {
        let output = fs::File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|error| io::Error::other(format!("cannot start {name}: {error}")))?;
        let mut server = Self { name, port, child };
        server.wait_until_it_accepts(log)?;
        Ok(server)
    }

    fn wait_until_it_accepts(&mut self, log: &Path) -> io::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < START {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!(
                    "{} ended with {status}; see {}",
                    self.name,
                    log.display()
                )));
            }
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(());
            }
            pause(Duration::from_millis(50));
        }
        Err(io::Error::other(format!("{} does not accept connections; see {}", self.name, log.display())))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // SIGTERM first: MySQL leaves no half-written files, the gate closes its pools.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            pause(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "the driver has no runtime whose workers it could block")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

fn start_mysql(folder: &Path, port: u16) -> io::Result<Server> {
    let program = mysqld()?;
    let data = folder.join("mysql");
    // By what it says: Debian's mysqld is a link to mariadbd.
    let version = Command::new(&program).args(["--no-defaults", "--version"]).output()?;
    let is_mariadb = String::from_utf8_lossy(&version.stdout).contains("MariaDB");
    let as_root = if fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
    {
        "--user=root"
    } else {
        "--skip-symbolic-links"
    };
    if !data.join("ibdata1").exists() {
        let mut initialise =
            if is_mariadb { Command::new("mariadb-install-db") } else { Command::new(&program) };
        initialise.arg("--no-defaults").arg(as_root).arg(format!("--datadir={}", data.display()));
        initialise.arg(if is_mariadb {
            "--auth-root-authentication-method=normal"
        } else {
            "--initialize-insecure"
        });
        let log = fs::File::create(folder.join("initialise.log"))?;
        let status = initialise.stdout(log.try_clone()?).stderr(log).status()?;
        if !status.success() {
            return Err(io::Error::other(format!(
                "{} cannot make its data folder; see initialise.log",
                program.display()
            )));
        }
    }
    let mut accounts = fs::File::create(folder.join("init.sql"))?;
    writeln!(accounts, "CREATE USER IF NOT EXISTS {USER}@'%' IDENTIFIED BY '';")?;
    writeln!(accounts, "GRANT ALL ON *.* TO {USER}@'%';")?;
    for database in ["sbtest", "stream"].into_iter().chain(SHARDS.map(|(_, database)| database)) {
        writeln!(accounts, "CREATE DATABASE IF NOT EXISTS {database};")?;
    }
    let mut command = Command::new(&program);
    command
        .arg("--no-defaults")
        .arg(as_root)
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--socket={}", folder.join("mysql.sock").display()))
        .arg(format!("--pid-file={}", folder.join("mysql.pid").display()))
        .arg(format!("--init-file={}", folder.join("init.sql").display()))
        .arg(format!("--port={port}"))
        .args([
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--max-connections=400",
            "--skip-log-bin",
            "--secure-file-priv=",
        ])
        // The disk is not what is compared.
        .args(["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=1G"]);
    if !is_mariadb {
        command.args(["--mysqlx=OFF", "--max-prepared-stmt-count=100000"]);
    }
    Server::start("MySQL", port, &mut command, &folder.join("mysql.log"))
}

/// `BENCH_MYSQLD`, which `tools/bench.sh` sets to MySQL 9.7, else the distribution's server.
fn mysqld() -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os("BENCH_MYSQLD") {
        return Ok(path.into());
    }
    ["/usr/sbin/mysqld", "/usr/sbin/mariadbd"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .ok_or_else(|| io::Error::other("no mysqld or mariadbd found; set BENCH_MYSQLD"))
}

fn start_haproxy(folder: &Path, port: u16, mysql: u16) -> io::Result<Server> {
    let file = folder.join("haproxy.cfg");
    fs::write(
        &file,
        format!(
            "global\n  nbthread 2\n  maxconn 2000\n\ndefaults\n  mode tcp\n  timeout connect 10s\n  timeout client 10m\n  timeout server 10m\n\n\
             listen mysql\n  bind 127.0.0.1:{port}\n  server one 127.0.0.1:{mysql}\n"
        ),
    )?;
    let program = if Path::new("/usr/sbin/haproxy").exists() { "/usr/sbin/haproxy" } else { "haproxy" };
    Server::start(
        "HAProxy",
        port,
        Command::new(program).arg("-db").arg("-f").arg(&file),
        &folder.join("haproxy.log"),
    )
}

/// Whether a second HAProxy stands in the gate's place.
pub(crate) fn is_aa() -> bool {
    std::env::var_os("BENCH_AA").is_some()
}

/// The release binary of this very build, over a topology file.
fn start_gate(folder: &Path, port: u16, mysql: u16) -> io::Result<Server> {
    if is_aa() {
        return start_haproxy(folder, port, mysql);
    }
    let folder = folder.join("gate");
    fs::create_dir_all(&folder)?;
    fs::write(
        folder.join("sbtest.json"),
        r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}},
            "tables": {"sbtest1": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#,
    )?;
    fs::write(folder.join("stream.json"), r#"{"tables": {"line": {}}}"#)?;
    fs::write(folder.join("topology.toml"), topology(mysql))?;
    let config = folder.join("gate.toml");
    fs::write(
        &config,
        format!(
            "[listen]\naddress = \"127.0.0.1:{port}\"\nmax_connections = 20000\n[http]\naddress = \"127.0.0.1:{}\"\n\
             [topology]\nkind = \"file\"\npath = \"topology.toml\"\n[users]\nallow_any = true\n\
             [backend]\nuser = \"{USER}\"\npassword = \"\"\n",
            port + 1
        ),
    )?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_shardgate"));
    command.arg("serve").arg("--config").arg(&config).env("TOKIO_WORKER_THREADS", "2");
    Server::start("shardgate", port, &mut command, &folder.join("gate.log"))
}

fn topology(mysql: u16) -> String {
    let mut text = String::from(
        "cells = [\"zone1\"]\n[keyspaces.sbtest]\nvschema = \"sbtest.json\"\n[keyspaces.stream]\nvschema = \"stream.json\"\n",
    );
    let unsharded = [("stream", "0", "stream")];
    let shards = SHARDS.iter().map(|(shard, database)| ("sbtest", *shard, *database)).chain(unsharded);
    for (uid, (keyspace, shard, database)) in shards.enumerate() {
        let _ = write!(
            text,
            "[[keyspaces.{keyspace}.shards]]\nname = \"{shard}\"\n\
             servers = [{{ alias = \"zone1-{}\", host = \"127.0.0.1\", port = {mysql}, role = \"primary\", schema = \"{database}\" }}]\n",
            100 + uid
        );
    }
    text
}
