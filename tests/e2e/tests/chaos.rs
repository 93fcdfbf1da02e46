//! Does the gate outlive its servers, and find them again?

use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::dev::small_schema;
use crate::gate::{Backend, Dev, Gate};
use crate::process::{self, Process, poll};
use crate::runner::{Bed, Test, Verdict};
use crate::wire::{Endpoint, Login, Param, Wire};

pub const TESTS: &[Test] = &[Test::own("chaos/kill -9 of a shard under load", kill_a_shard)];

/// No statement may wait longer for a shard that is away.
const DEADLINE: Duration = Duration::from_secs(15);

/// What one statement of the load did.
struct Event {
    shard: usize,
    began: Instant,
    took: Duration,
    /// The error's number and text; 0 for a broken connection.
    failed: Option<(u16, String)>,
}

/// The servers that hold the table, in the order of their shards.
fn servers(gate: &Gate) -> Vec<Backend> {
    let mut wire = gate.connect("small").unwrap();
    let found: Vec<Backend> = ["-80", "80-"]
        .iter()
        .map(|shard| {
            wire.ok(format!("use `small:{shard}`")).unwrap();
            let ids = wire.value("select min(id) from t").unwrap();
            gate.backends()
                .into_iter()
                .find(|backend| {
                    let login = Login { user: "root".into(), ..Login::to("") };
                    let endpoint = Endpoint::Unix(backend.socket.clone().expect("a socket"));
                    let mut direct = Wire::connect(&endpoint, &login).expect("root");
                    let databases = direct.rows("show databases like 'small%'").unwrap();
                    let database = databases[0][0].clone().expect("a name");
                    direct.value(format!("select min(id) from `{database}`.t")).unwrap() == ids
                })
                .unwrap_or_else(|| panic!("no server holds shard {shard}"))
        })
        .collect();
    assert_ne!(found[0].pid, found[1].pid, "one server per shard");
    found
}

/// Point reads, point writes and prepared reads on ids of one shard until told to stop.
fn load(gate: &Gate, shard: usize, ids: &[i64], stop: &AtomicBool, events: &Mutex<Vec<Event>>) {
    let mut wire: Option<Wire> = None;
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let id = ids[round % ids.len()];
        let began = Instant::now();
        let result = (|| {
            if wire.is_none() {
                wire = Some(gate.connect("small")?);
            }
            let wire = wire.as_mut().expect("just connected");
            match round % 3 {
                0 => wire.value(format!("select n from t where id = {id}")).map(|_| ()),
                1 => wire.ok(format!("update t set n = n + 1 where id = {id}")).map(|_| ()),
                _ => {
                    let statement = wire.prepare("select n from t where id = ?")?;
                    let replies = wire.execute(statement.id, &[Param::int(id)])?;
                    wire.close_statement(statement.id)?;
                    match replies[0].error() {
                        Some(error) => Err(crate::wire::WireError::Server(error.clone())),
                        None => Ok(()),
                    }
                }
            }
        })();
        let failed = result.err().map(|error| match error.server() {
            Some(server) => (server.code, server.message.clone()),
            None => (0, error.to_string()),
        });
        if failed.as_ref().is_some_and(|(code, _)| *code == 0) {
            wire = None;
        }
        if failed.is_some() {
            // Not a flood of errors: a client that tries again a little later.
            std::thread::park_timeout(Duration::from_millis(20));
        }
        if let Ok(mut events) = events.lock() {
            events.push(Event { shard, began, took: began.elapsed(), failed });
        }
    }
}

fn kill_a_shard(bed: &Bed) -> Verdict {
    let schema = small_schema();
    let mut gate = Dev::new(&bed.family, schema.path()).per_shard().start().unwrap();
    let mut wire = gate.connect("small").unwrap();
    let values: Vec<String> = (1..=100).map(|id| format!("({id}, 0)")).collect();
    wire.ok(format!("insert into t (id, n) values {}", values.join(", "))).unwrap();
    let backends = servers(&gate);
    let ids: Vec<Vec<i64>> = ["-80", "80-"]
        .iter()
        .map(|shard| {
            wire.ok(format!("use `small:{shard}`")).unwrap();
            let rows = wire.rows("select id from t").unwrap();
            rows.iter().filter_map(|row| row[0].as_ref()?.parse().ok()).collect()
        })
        .collect();
    assert_eq!(ids[0].len() + ids[1].len(), 100);
    wire.ok("use small").unwrap();
    // A transaction that is open on both shards when one of them dies.
    let mut open = gate.connect("small").unwrap();
    open.ok("begin").unwrap();
    open.ok("update t set n = n where id between 1 and 100").unwrap();
    open.ok("rollback").unwrap();
    open.ok("begin").unwrap();
    open.ok(format!("insert into t (id, n) values ({}, 1)", 1_000_000)).unwrap();
    open.rows("select id from t limit 1").unwrap();

    let stop = AtomicBool::new(false);
    let events = Mutex::new(Vec::new());
    let log = tempfile::NamedTempFile::new().expect("a log file");
    let (died, back, mut revived) = std::thread::scope(|scope| {
        for shard in [0, 1, 0, 1] {
            let (gate, ids, stop, events) = (&gate, &ids[shard], &stop, &events);
            scope.spawn(move || load(gate, shard, ids, stop, events));
        }
        let phases = (|| -> Result<_, String> {
            let done = |shard: usize, after: Instant, failed: bool, n: usize| {
                poll(Duration::from_secs(30), || {
                    let events = events.lock().ok()?;
                    let seen = events
                        .iter()
                        .filter(|event| {
                            event.shard == shard && event.began > after && event.failed.is_some() == failed
                        })
                        .count();
                    (seen >= n).then_some(())
                })
                .ok_or_else(|| format!("shard {shard}: not {n} statements with failed = {failed}"))
            };
            let begin = Instant::now();
            done(0, begin, false, 100)?;
            done(1, begin, false, 100)?;
            let died = Instant::now();
            process::signal(backends[1].pid, Signal::SIGKILL);
            done(1, died, true, 20)?;
            done(0, died, false, 200)?;
            // MySQL takes the socket's lock file for held as long as its process is not reaped.
            let lock = format!("{}.lock", backends[1].socket.as_ref().expect("a socket").display());
            let _ = std::fs::remove_file(lock);
            let mut command = Command::new(&backends[1].arguments[0]);
            command.args(&backends[1].arguments[1..]);
            let revived = Process::start("the shard that died", &mut command, log.path())?;
            let back = Instant::now();
            done(1, back, false, 100)?;
            done(0, back, false, 100)?;
            Ok((died, back, revived))
        })();
        stop.store(true, Ordering::Relaxed);
        phases.unwrap_or_else(|error| {
            let server = std::fs::read_to_string(log.path()).unwrap_or_default();
            panic!("{error}\n{}\n{server}", gate.log_tail())
        })
    });
    let events = events.into_inner().expect("the load has ended");
    for event in &events {
        assert!(event.took < DEADLINE, "a statement took {:?}", event.took);
        let Some((code, text)) = &event.failed else { continue };
        assert_eq!(event.shard, 1, "an error of the other shard: {code} {text}");
        assert!(event.began + event.took >= died, "an error before the shard died: {code} {text}");
        assert_ne!(*code, 0, "the client's connection was closed: {text}");
        assert!(text.contains("small/80-"), "the error names the shard: {code} {text}");
    }
    let last = events.iter().filter(|event| event.failed.is_some()).map(|event| event.began).max();
    assert!(last.is_some_and(|last| last < back + Duration::from_secs(20)), "errors long after the return");
    // The open transaction lost a shard: it says so until it is rolled back, then all is well.
    let reply = open.query_one("select count(*) from t").unwrap();
    assert!(reply.error().is_some(), "a transaction that lost its shard goes on: {reply:?}");
    open.ok("rollback").unwrap();
    assert_eq!(open.value("select count(*) from t").unwrap().as_deref(), Some("100"));
    assert!(gate.running(), "the gate was never restarted");
    drop((open, wire));
    revived.terminate(Duration::from_secs(30));
    let (status, left) = gate.stop();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
    assert!(left.is_empty(), "left running: {left:?}");
    Ok(())
}
