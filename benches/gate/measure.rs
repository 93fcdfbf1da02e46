//! What did a fixed amount of work cost a process?

use std::fs;
use std::io;
use std::process::{Command, Stdio};

use crate::client::Client;
use crate::servers::{Server, USER};

/// A sysbench workload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload {
    /// Its row of the table.
    pub(crate) name: &'static str,
    /// sysbench's script.
    pub(crate) script: &'static str,
    /// `disable` for text, `auto` for server-side prepared statements.
    pub(crate) prepared: &'static str,
    /// Transactions per round, of this many thousandths of the asked number of events.
    pub(crate) share: u64,
    /// Most CPU per query that the gate may need, over HAProxy's.
    pub(crate) bar: Option<f64>,
}

/// What one round of a workload gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    /// Queries per second that the client saw.
    pub(crate) rate: f64,
    /// CPU microseconds of the measured process per query.
    pub(crate) cpu: f64,
}

/// What one large result gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Streamed {
    /// MiB that arrived per second.
    pub(crate) rate: f64,
    /// MiB per CPU second of the measured process.
    pub(crate) per_cpu: f64,
}

/// System calls of a process during a fixed number of queries.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    /// All of them, per query.
    pub(crate) per_query: f64,
    /// The commonest ones, per query.
    pub(crate) commonest: Vec<(String, f64)>,
}

/// Client threads of the sysbench workloads.
pub(crate) const THREADS: u32 = 16;

const MIB: f64 = 1024.0 * 1024.0;

/// Runs `events` transactions of a workload against a server and charges `server`'s process.
pub(crate) fn sysbench(server: &Server, workload: &Workload, rows: u64, events: u64) -> io::Result<Round> {
    let events = (events * workload.share / 1000).max(1);
    let before = cpu_seconds(server.pid())?;
    let output = Command::new("sysbench")
        .arg(workload.script)
        .args([
            "--db-driver=mysql",
            "--mysql-host=127.0.0.1",
            "--mysql-db=sbtest",
            "--tables=1",
            "--time=0",
            "--rand-type=uniform",
        ])
        .arg(format!("--mysql-port={}", server.port))
        .arg(format!("--mysql-user={USER}"))
        .arg(format!("--db-ps-mode={}", workload.prepared))
        .arg(format!("--table-size={rows}"))
        .arg(format!("--threads={THREADS}"))
        .arg(format!("--events={events}"))
        .arg("run")
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| io::Error::other(format!("cannot run sysbench: {error}")))?;
    let spent = cpu_seconds(server.pid())? - before;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(io::Error::other(format!(
            "sysbench {} over {} failed:\n{text}",
            workload.name, server.name
        )));
    }
    let queries = number_after(&text, "queries:")?;
    let seconds = number_after(&text, "total time:")?;
    Ok(Round { rate: queries / seconds, cpu: spent * 1e6 / queries })
}

/// Reads one large result and charges `server`'s process.
pub(crate) fn stream(server: &Server, lines: u64) -> io::Result<Streamed> {
    let mut client = server.connect("stream")?;
    let before = cpu_seconds(server.pid())?;
    let begun = std::time::Instant::now();
    let received = client.query("SELECT id, c FROM line")?;
    let elapsed = begun.elapsed().as_secs_f64();
    let spent = cpu_seconds(server.pid())? - before;
    if received.rows != lines {
        return Err(io::Error::other(format!("{} sent {} rows of {lines}", server.name, received.rows)));
    }
    #[expect(clippy::cast_precision_loss, reason = "a few hundred megabytes are exact in a double")]
    let mib = received.bytes as f64 / MIB;
    Ok(Streamed { rate: mib / elapsed, per_cpu: mib / spent.max(0.01) })
}

/// Counts the system calls of `server`'s process while `connections` clients run `queries` point
/// selects in all.
pub(crate) fn calls(server: &Server, rows: u64, connections: u64, queries: u64) -> io::Result<Calls> {
    let mut clients = Vec::new();
    for _ in 0..connections {
        let mut client = server.connect("sbtest")?;
        // The first query of a connection may dial and prepare; that is not what is counted.
        for id in 1..=20 {
            point_select(&mut client, id % rows + 1)?;
        }
        clients.push(client);
    }
    let report = std::env::temp_dir().join(format!("shardgate-strace-{}", std::process::id()));
    let mut strace = Command::new("strace")
        .args(["-c", "-f", "-p", &server.pid().to_string(), "-o"])
        .arg(&report)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::other(format!("cannot run strace: {error}")))?;
    wait_until_traced(server.pid())?;
    let share = queries / connections;
    let outcome: io::Result<()> = std::thread::scope(|scope| {
        let workers: Vec<_> = clients
            .iter_mut()
            .enumerate()
            .map(|(index, client)| {
                scope.spawn(move || {
                    (0..share).try_for_each(|n| {
                        point_select(client, (n * 7919 + index as u64 * 104_729) % rows + 1)
                    })
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| io::Error::other("a client thread failed"))?)
    });
    let _ = Command::new("kill").args(["-INT", &strace.id().to_string()]).status();
    strace.wait()?;
    outcome?;
    let counts = fs::read_to_string(&report)?;
    fs::remove_file(&report)?;
    #[expect(clippy::cast_precision_loss, reason = "thousands of queries are exact in a double")]
    let queries = (share * connections) as f64;
    summary_of_strace(&counts, queries)
}

fn point_select(client: &mut Client, id: u64) -> io::Result<()> {
    let received = client.query(&format!("SELECT c FROM sbtest1 WHERE id={id}"))?;
    if received.rows == 1 {
        Ok(())
    } else {
        Err(io::Error::other(format!("{} rows for id {id}", received.rows)))
    }
}

/// Waits until every thread of a process has a tracer.
fn wait_until_traced(pid: u32) -> io::Result<()> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while std::time::Instant::now() < deadline {
        let mut all = true;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let status = fs::read_to_string(thread?.path().join("status"))?;
            all &= !status.contains("TracerPid:\t0\n");
        }
        if all {
            return Ok(());
        }
        std::thread::yield_now();
    }
    Err(io::Error::other("strace did not attach within 10 s (is ptrace allowed here?)"))
}

/// The table that `strace -c` writes: `% time, seconds, usecs/call, calls, [errors,] syscall`.
pub(crate) fn summary_of_strace(report: &str, queries: f64) -> io::Result<Calls> {
    let mut commonest = Vec::new();
    let mut total = None;
    for line in report.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (Some(calls), Some(name)) =
            (words.get(3).and_then(|word| word.parse::<f64>().ok()), words.last())
        else {
            continue;
        };
        if *name == "total" {
            total = Some(calls / queries);
        } else {
            commonest.push(((*name).to_owned(), calls / queries));
        }
    }
    commonest.sort_by(|left, right| right.1.total_cmp(&left.1));
    commonest.truncate(6);
    let per_query = total.ok_or_else(|| io::Error::other("strace counted nothing"))?;
    Ok(Calls { per_query, commonest })
}

/// User and system time of a process with all its threads, ended ones too.
fn cpu_seconds(pid: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the name in parentheses and may hold spaces; utime and stime are fields
    // 14 and 15 (proc(5)).
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum::<f64>();
    // USER_HZ is 100 on every Linux that this runs on: it is part of the ABI.
    Ok(ticks / 100.0)
}

fn number_after(text: &str, label: &str) -> io::Result<f64> {
    text.split_once(label)
        .and_then(|(_, rest)| rest.trim_start().split(|c: char| !c.is_ascii_digit() && c != '.').next())
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| io::Error::other(format!("no \"{label}\" in sysbench's output")))
}
