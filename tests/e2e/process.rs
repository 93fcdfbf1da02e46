//! Which processes did the tests start, and are they gone?
//!
//! Every server and gate is started here and noted by its process id, so that an interrupted run
//! leaves nothing behind. Only processes that were noted are ever signalled.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

static STARTED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// A child process that ends with its owner.
pub struct Process {
    child: Child,
    pub name: String,
    pub log: PathBuf,
    stdout: Mutex<Option<Receiver<String>>>,
    ended: Option<ExitStatus>,
}

/// What a finished command said.
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Waits until `ready` gives a value; looks again every 20 ms.
pub fn poll<T>(patience: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = ready() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Runs a command to its end, with `input` on its standard input, within `patience`.
pub fn run(command: &mut Command, input: &str, patience: Duration) -> Result<Output, String> {
    use std::io::{Read, Write};
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{shown}: {error}"))?;
    let (Some(mut stdin), Some(mut stdout), Some(mut stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(format!("{shown}: no pipes"));
    };
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let out = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).map(|_| bytes)
    });
    let err = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stderr.read_to_end(&mut bytes).map(|_| bytes)
    });
    let ended = poll(patience, || child.try_wait().ok().flatten());
    if ended.is_none() {
        child.kill().map_err(|error| format!("{shown}: {error}"))?;
        child.wait().map_err(|error| format!("{shown}: {error}"))?;
    }
    // A command that exits without reading all of its input breaks the pipe: its own affair.
    let _ = writer.join();
    let text = |thread: std::thread::JoinHandle<std::io::Result<Vec<u8>>>| {
        let bytes = thread.join().ok().and_then(Result::ok).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let (stdout, stderr) = (text(out), text(err));
    match ended {
        Some(status) => Ok(Output { code: status.code(), stdout, stderr }),
        None => Err(format!("{shown} did not end within {patience:?}\n{stdout}\n{stderr}")),
    }
}

/// Ends everything that is still noted.
fn end_all() {
    let started = STARTED.lock().map(|set| set.clone()).unwrap_or_default();
    for &pid in &started {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    poll(Duration::from_secs(20), || started.iter().all(|&pid| !alive(pid)).then_some(()));
    for &pid in started.iter().filter(|&&pid| alive(pid)) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// An interrupted run leaves no server behind.
pub fn end_all_on_a_signal() {
    std::thread::spawn(|| {
        use tokio::signal::unix::{SignalKind, signal};
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt()).expect("a handler");
            let mut terminate = signal(SignalKind::terminate()).expect("a handler");
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        end_all();
        std::process::exit(130);
    });
}

/// Whether a process exists and is not a zombie.
pub fn alive(pid: i32) -> bool {
    stat_fields(pid).is_some_and(|fields| fields.0 != "Z")
}

/// All living descendants of a process, children first.
pub fn descendants(pid: i32) -> Vec<i32> {
    let all: Vec<(i32, i32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|child| Some((child, stat_fields(child)?.1)))
        .collect();
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(all.iter().filter(|(_, of)| *of == parent).map(|(child, _)| *child));
        next += 1;
    }
    found.remove(0);
    found.retain(|&child| alive(child));
    found
}

/// The arguments of a process. MySQL cuts `--performance-schema-instrument=%=OFF` at its second sign in place.
pub fn arguments(pid: i32) -> Vec<String> {
    let mut arguments: Vec<String> = Vec::new();
    for part in fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().split(|&byte| byte == 0) {
        let part = String::from_utf8_lossy(part).into_owned();
        match arguments.last_mut() {
            Some(cut) if cut.ends_with("-instrument=%") => *cut = format!("{cut}={part}"),
            _ if part.is_empty() => {}
            _ => arguments.push(part),
        }
    }
    arguments
}

/// Resident memory of a process in KiB.
pub fn resident_kib(pid: i32) -> u64 {
    fs::read_to_string(format!("/proc/{pid}/status"))
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Sends a signal to one process by its id.
pub fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// State letter and parent of a process.
fn stat_fields(pid: i32) -> Option<(String, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = &stat[stat.rfind(')')? + 1..];
    let mut fields = rest.split_whitespace();
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

// === impl Process ===

impl Process {
    /// Starts a command; standard error goes to `log`, standard output line by line to [`Self::line`].
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Process, String> {
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .map_err(|error| format!("{}: {error}", log.display()))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .map_err(|error| format!("{command:?}: {error}"))?;
        let stdout = child.stdout.take().map(|stdout| {
            let (sender, receiver) = mpsc::channel();
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
            receiver
        });
        let process =
            Process { child, name: name.into(), log: log.into(), stdout: Mutex::new(stdout), ended: None };
        if let Ok(mut started) = STARTED.lock() {
            started.insert(process.pid());
        }
        Ok(process)
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("process ids are positive")
    }

    /// The next line of standard output, or why there is none.
    pub fn line(&mut self, patience: Duration) -> Result<String, String> {
        let Ok(Some(stdout)) = self.stdout.get_mut().map(|stdout| stdout.as_ref()) else {
            return Err("no standard output".into());
        };
        let line = stdout.recv_timeout(patience);
        line.map_err(|error| {
            let ended = self.child.try_wait().ok().flatten();
            format!("{}: {error} (exit {ended:?})\n{}", self.name, self.log_tail())
        })
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        self.wait(Duration::ZERO).is_none()
    }

    /// The exit status, when it ends within `patience`.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = poll(patience, || self.child.try_wait().ok().flatten());
            if self.ended.is_some()
                && let Ok(mut started) = STARTED.lock()
            {
                started.remove(&self.pid());
            }
        }
        self.ended
    }

    /// SIGTERM and the exit status; SIGKILL and `None` after `patience`.
    pub fn terminate(&mut self, patience: Duration) -> Option<ExitStatus> {
        if self.running() {
            signal(self.pid(), Signal::SIGTERM);
        }
        let status = self.wait(patience);
        if status.is_none() {
            self.kill();
        }
        status
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if self.running() {
            signal(self.pid(), Signal::SIGKILL);
            self.wait(Duration::from_secs(10));
        }
    }

    /// All of standard error.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of standard error.
    pub fn log_tail(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.terminate(Duration::from_secs(20));
    }
}
