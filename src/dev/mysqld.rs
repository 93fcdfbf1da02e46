//! How is a MySQL server started, waited for and stopped, and never left behind?

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::flavour::{Member, Places, Program};

/// A server that this process started. Dropping it stops the server, also when a panic unwinds.
#[derive(Debug)]
pub(super) struct Mysqld {
    places: Places,
    child: Child,
    stopped: bool,
}

/// How long a server may take to answer after its start: recovery after a crash included.
const START_DEADLINE: Duration = Duration::from_secs(120);
/// How long a server may take to stop before it is killed; InnoDB recovers at the next start.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// How often a starting or stopping server is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(30);
/// The file in a data folder that says that its initialisation ran to its end.
const COMPLETE: &str = "shardgate-complete";

// === impl Places ===

impl Places {
    /// The places of server number `index` in the cluster's folder. Socket paths are limited to 107
    /// bytes by the kernel, so sockets have a folder of their own.
    pub(super) fn new(folder: &Path, sockets: &Path, index: usize) -> Self {
        let own = folder.join(format!("server-{}", index + 1));
        Self {
            data: own.join("data"),
            socket: sockets.join(format!("{}.sock", index + 1)),
            pid: own.join("mysqld.pid"),
            log: own.join("mysqld.log"),
            temporary: own.join("tmp"),
        }
    }
}

/// Fills the data folder, unless that was done before. A folder whose initialisation was cut off is
/// made again.
pub(super) fn initialise(program: &Program, places: &Places) -> Result<(), String> {
    if is_initialised(places) {
        return Ok(());
    }
    let failed = |error: io::Error| format!("{}: {error}", places.data.display());
    if places.data.exists() {
        fs::remove_dir_all(&places.data).map_err(failed)?;
    }
    fs::create_dir_all(&places.data).map_err(failed)?;
    fs::create_dir_all(&places.temporary).map_err(failed)?;
    let mut command = program.initialise(places);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if !output.status.success() {
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let log = last_lines(&fs::read_to_string(&places.log).unwrap_or_default(), 10);
        return Err(format!(
            "initialising {} failed:\n{}{log}",
            places.data.display(),
            last_lines(&said, 10)
        ));
    }
    fs::write(places.data.join(COMPLETE), "").map_err(failed)
}

/// Copies a filled data folder that no server uses; much quicker than filling another one.
pub(super) fn copy_data(from: &Path, to: &Places) -> Result<(), String> {
    if is_initialised(to) {
        return Ok(());
    }
    let failed = |error: io::Error| format!("{}: {error}", to.data.display());
    if to.data.exists() {
        fs::remove_dir_all(&to.data).map_err(failed)?;
    }
    copy_folder(from, &to.data).map_err(failed)?;
    // Each server makes a UUID of its own.
    match fs::remove_file(to.data.join("auto.cnf")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    fs::write(to.data.join(COMPLETE), "").map_err(failed)
}

pub(super) fn is_initialised(places: &Places) -> bool {
    places.data.join(COMPLETE).exists()
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else if kind.is_file() && entry.file_name() != COMPLETE {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Stops a server that an earlier run left behind on this data folder (that run was killed). Only a
/// process whose command line names this very data folder is touched.
pub(super) fn stop_leftover(places: &Places) -> Result<(), String> {
    let Some(pid) = leftover(places) else { return Ok(()) };
    tracing::info!(pid = pid.as_raw(), data = %places.data.display(), "stopping a server that an earlier run left");
    // A failed signal means that the process has just gone.
    let _ = kill(pid, Signal::SIGTERM);
    let start = Instant::now();
    while leftover(places) == Some(pid) {
        if start.elapsed() > STOP_DEADLINE {
            let _ = kill(pid, Signal::SIGKILL);
        }
        if start.elapsed() > STOP_DEADLINE * 2 {
            return Err(format!("process {pid} still uses {}", places.data.display()));
        }
        std::thread::park_timeout(LOOK_INTERVAL);
    }
    Ok(())
}

fn leftover(places: &Places) -> Option<Pid> {
    let pid: i32 = fs::read_to_string(&places.pid).ok()?.trim().parse().ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let wanted = format!("--datadir={}", places.data.display());
    command.split(|&byte| byte == 0).any(|argument| argument == wanted.as_bytes()).then(|| Pid::from_raw(pid))
}

// === impl Mysqld ===

impl Mysqld {
    /// Starts the server on its data folder; it does not answer yet.
    pub(super) fn start(
        program: &Program,
        places: &Places,
        connections: u32,
        member: Option<Member>,
    ) -> Result<Self, String> {
        fs::create_dir_all(&places.temporary)
            .map_err(|error| format!("{}: {error}", places.temporary.display()))?;
        let mut command: Command = program.run(places, connections, member);
        // A process group of its own: a Ctrl-C in the terminal must reach the gate only, which then
        // stops its servers in order.
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.path.display()))?;
        Ok(Self { places: places.clone(), child, stopped: false })
    }

    /// Waits until the server answers on its socket.
    pub(super) async fn ready(&mut self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.stopped = true;
                return Err(format!("the server ended with {status}:\n{}", self.log_end()));
            }
            if let Ok(Ok(mut conn)) = tokio::time::timeout(Duration::from_secs(2), self.connect(None)).await
                && conn.query_drop("SELECT 1").await.is_ok()
            {
                // The answer is what counts; a failed goodbye changes nothing.
                let _ = conn.disconnect().await;
                return Ok(());
            }
            if start.elapsed() > START_DEADLINE {
                return Err(format!(
                    "the server does not answer after {START_DEADLINE:?}:\n{}",
                    self.log_end()
                ));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// A connection as root.
    pub(super) async fn connect(&self, database: Option<&str>) -> mysql_async::Result<mysql_async::Conn> {
        let options = mysql_async::OptsBuilder::default()
            .socket(Some(self.places.socket.display().to_string()))
            .prefer_socket(false)
            .user(Some("root"))
            .db_name(database);
        mysql_async::Conn::new(options).await
    }

    /// The end of the server's log.
    fn log_end(&self) -> String {
        last_lines(&fs::read_to_string(&self.places.log).unwrap_or_default(), 15)
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().map(Pid::from_raw)
    }

    /// Asks the server to stop; does not wait.
    pub(super) fn ask_to_stop(&self) {
        if let (false, Some(pid)) = (self.stopped, self.pid()) {
            // A failed signal means that it has ended by itself.
            let _ = kill(pid, Signal::SIGTERM);
        }
    }

    /// Waits for the server's end, and kills it when that takes too long.
    fn wait(&mut self) {
        let start = Instant::now();
        while !self.stopped {
            match self.child.try_wait() {
                Ok(None) if start.elapsed() > STOP_DEADLINE => {
                    // Both fail only for a process that has ended.
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    self.stopped = true;
                }
                Ok(None) => std::thread::park_timeout(LOOK_INTERVAL),
                Ok(Some(_)) | Err(_) => self.stopped = true,
            }
        }
        // MariaDB leaves its socket when it was killed.
        let _ = fs::remove_file(&self.places.socket);
    }

    /// The files of this server.
    pub(super) fn socket(&self) -> PathBuf {
        self.places.socket.clone()
    }
}

impl Drop for Mysqld {
    fn drop(&mut self) {
        self.ask_to_stop();
        self.wait();
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    let mut end = lines[lines.len().saturating_sub(count)..].join("\n");
    end.push('\n');
    end
}
