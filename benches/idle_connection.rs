//! How much memory does an idle client connection keep in the gate?
//!
//! The slope of the gate's resident memory from 1,000 to 10,000 logged-in connections, so that what
//! the process needs anyway cancels out; first for connections that only logged in, then after each
//! has run one point select. Figures are taken once memory has stopped falling: buffers are given
//! back after a second of silence. Kernel memory of the sockets is not counted.
//!
//! With `--test` the slope from 100 to 1,000 connections is held against the bar.

#[path = "gate/client.rs"]
#[expect(dead_code, reason = "the gate bench uses the rest of it")]
mod client;
mod fake_shard;

use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use client::Client;

/// Most KiB per idle connection.
const BAR: f64 = 12.0;

/// The gate, killed when dropped.
struct Gate {
    child: Child,
    port: u16,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let outcome = match (has("--bench"), has("--test")) {
        (true, false) => slopes(1_000, 10_000).map(|_| ()),
        (_, true) => slopes(100, 1_000).and_then(hold_to_the_bar),
        // `cargo test` builds everything slowly and without the release profile: nothing to learn.
        (false, false) => Ok(()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn hold_to_the_bar(slope: f64) -> io::Result<()> {
    if slope <= BAR {
        Ok(())
    } else {
        Err(io::Error::other(format!("{slope:.1} KiB per idle connection, not {BAR}")))
    }
}

/// KiB per connection after the login.
fn slopes(few: usize, many: usize) -> io::Result<f64> {
    raise_file_limit(many)?;
    let folder = Path::new("target").join("bench-idle-connection");
    let gate = Gate::start(&folder, fake_shard::start()?)?;
    let mut clients = Vec::with_capacity(many);
    gate.fill(&mut clients, few)?;
    let at_few = gate.settled_memory()?;
    gate.fill(&mut clients, many)?;
    let at_many = gate.settled_memory()?;
    let after_login = slope(at_few, at_many, many - few);
    for client in &mut clients {
        client.query("SELECT c FROM sbtest1 WHERE id=5014")?;
    }
    let after_query = slope(at_few, gate.settled_memory()?, many - few);
    println!(
        "idle connection, {few} to {many}: {after_login:.1} KiB after the login, {after_query:.1} KiB after one point select each (bar: ≤ {BAR} KiB)"
    );
    Ok(after_login)
}

#[expect(clippy::cast_precision_loss, reason = "kilobytes and connections are far below 2^52")]
fn slope(from: u64, to: u64, connections: usize) -> f64 {
    (to as f64 - from as f64) / connections as f64
}

/// Both ends of every connection are files, in two processes; the gate inherits the limit.
fn raise_file_limit(connections: usize) -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = connections as u64 + 1_000;
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, Ord::max(hard, wanted))?;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the driver has no runtime whose workers it could block")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

// === impl Gate ===

impl Gate {
    fn start(folder: &Path, shard: u16) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let port = fake_shard::free_port()?;
        let config = fake_shard::write_config(folder, port, shard)?;
        let log = fs::File::create(folder.join("gate.log"))?;
        let child = Command::new(env!("CARGO_BIN_EXE_shardgate"))
            .arg("serve")
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let gate = Self { child, port };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begun.elapsed() > Duration::from_secs(30) {
                return Err(io::Error::other(format!("the gate does not start; see {}", folder.display())));
            }
            pause(Duration::from_millis(50));
        }
        Ok(gate)
    }

    fn fill(&self, clients: &mut Vec<Client>, count: usize) -> io::Result<()> {
        while clients.len() < count {
            clients.push(Client::connect(("127.0.0.1", self.port), "sbtest", "sbtest")?);
        }
        Ok(())
    }

    /// Resident KiB once they have not fallen for two seconds.
    fn settled_memory(&self) -> io::Result<u64> {
        let mut least = u64::MAX;
        let mut since = Instant::now();
        while since.elapsed() < Duration::from_secs(2) {
            let now = self.memory()?;
            if now < least {
                (least, since) = (now, Instant::now());
            }
            pause(Duration::from_millis(100));
        }
        Ok(least)
    }

    fn memory(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|line| line.split_whitespace().next())
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| io::Error::other("no VmRSS"))
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
