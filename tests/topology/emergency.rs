//! Does a shard whose primary was killed go on by what README tells to type, without losing a row?

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::PATIENCE;
use crate::ctl::Said;
use crate::gate::{Gate, connect};
use crate::reparent::{Bed, WRITERS, Writers};

/// The commands of README's section, in order, for the shard of this bed.
fn typed(port: u16) -> Vec<Vec<String>> {
    let readme = include_str!("../../README.md");
    let (_, section) = readme.split_once("### When a primary dies").expect("README tells it");
    let section = section.split("\n### ").next().unwrap();
    let commands =
        section.lines().filter_map(|line| line.trim().strip_prefix("shardgate ctl --config gate.toml "));
    let here = |command: &str| {
        let host = format!("--host 127.0.0.1 --port {port}");
        command.replace("service/-80", "main/0").replace("--host 10.0.0.20", &host).replace("service", "main")
    };
    commands.map(|command| here(command).split(' ').map(str::to_owned).collect()).collect()
}

/// A server's process: its number and its arguments.
async fn process(root: &mut Conn) -> (Pid, Vec<String>) {
    let file: String = root.query_first("SELECT @@pid_file").await.unwrap().unwrap();
    let pid: i32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    // MySQL cuts this one at its second sign in place.
    let line = line.replace("-instrument=%\0", "-instrument=%=");
    (Pid::from_raw(pid), line.split_terminator('\0').map(str::to_owned).collect())
}

/// A server that was killed, and started again by somebody.
struct Revived(Child);

impl Revived {
    fn start(arguments: &[String]) -> Self {
        let socket = arguments.iter().find_map(|argument| argument.strip_prefix("--socket=")).unwrap();
        // MySQL takes the socket's lock file for held as long as its process is not reaped.
        let _ = std::fs::remove_file(format!("{socket}.lock"));
        let mut command = Command::new(&arguments[0]);
        Self(command.args(&arguments[1..]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Revived {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn root_of(arguments: &[String]) -> Conn {
    let socket = arguments.iter().find_map(|argument| argument.strip_prefix("--socket=")).unwrap();
    let options =
        OptsBuilder::default().user(Some("root")).socket(Some(Path::new(socket).display().to_string()));
    let since = Instant::now();
    loop {
        match Conn::new(options.clone()).await {
            Ok(conn) => return conn,
            Err(error) => {
                let log =
                    arguments.iter().find_map(|argument| argument.strip_prefix("--log-error=")).unwrap();
                let log = std::fs::read_to_string(log).unwrap_or_default();
                assert!(since.elapsed() < PATIENCE, "the revived server: {error}\n{log}");
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn ids(root: &mut Conn) -> Vec<i64> {
    root.query("SELECT id FROM main.m ORDER BY id").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_primary_is_replaced_by_hand() {
    for program in crate::programs("a killed primary over etcd") {
        replace(&program).await;
    }
}

async fn replace(program: &str) {
    let mut bed = Bed::start(program).await;
    // Somebody types here, on a machine that may be slow.
    let patient = "user = \"gate\"\n[buffer]\nwindow = \"2m\"\nmax_failover_duration = \"4m\"";
    let gate = Gate::start_as(&bed.etcd, patient);
    let (next, stop) = (Arc::new(AtomicI64::new(1)), Arc::new(AtomicBool::new(false)));
    let writers = Writers::start(gate.port, &next, &stop);
    let reading = {
        let (stop, port) = (Arc::clone(&stop), gate.port);
        tokio::spawn(async move {
            let mut client = connect(port, "someone", "main").await;
            let mut reads = 0;
            while !stop.load(Ordering::Relaxed) {
                let count: Option<i64> = client.query_first("SELECT COUNT(*) FROM m").await.unwrap();
                reads += i64::from(count.is_some());
            }
            reads
        })
    };
    writers.more(50).await;
    // One replica falls behind: what is acknowledged from now on only the other one has.
    let behind = if bed.mariadb { "STOP SLAVE IO_THREAD" } else { "STOP REPLICA IO_THREAD" };
    bed.roots[1].query_drop(behind).await.unwrap();
    writers.more(50).await;
    let (pid, arguments) = process(&mut bed.roots[0]).await;
    kill(pid, Signal::SIGKILL).unwrap();
    let killed = Instant::now();
    let typed = typed(bed.ports[0]);
    assert_eq!(typed.len(), 6, "{typed:?}");
    let say = |command: &[String], new: &str| -> Said {
        let words: Vec<_> = command.iter().map(|word| word.replace("zone1-101", new)).collect();
        bed.ctl.say(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let good = |command: &[String], new: &str| {
        let said = say(command, new);
        assert_eq!(said.code, Some(0), "{command:?} for {new}: {}", said.stderr);
        serde_json::from_str::<serde_json::Value>(&said.stdout).unwrap()
    };
    let [hook, record, remove, take_over, add, follow] = &typed[..] else { panic!("{typed:?}") };
    assert_eq!(hook, record);
    good(record, "zone1-101");
    good(remove, "zone1-101");
    let refused = say(take_over, "zone1-101");
    assert_eq!(refused.code, Some(1), "{}", refused.stdout);
    assert!(refused.stderr.contains("zone1-0000000102 has transactions that it lacks"), "{}", refused.stderr);
    good(record, "zone1-102");
    let told = good(take_over, "zone1-102");
    assert_eq!(told["promoted_primary"]["uid"], 102, "{told}");
    assert_eq!(told["not_following"], serde_json::json!([]), "{told}");
    writers.more(50).await;
    eprintln!("{program}: writes go on {:.1} s after kill -9", killed.elapsed().as_secs_f64());
    // The dead one comes back and takes writes. No gate sends any.
    let revived = Revived::start(&arguments);
    let mut old = root_of(&arguments).await;
    if !bed.mariadb {
        old.query_drop("SET GLOBAL super_read_only = OFF").await.unwrap();
    }
    old.query_drop("SET GLOBAL read_only = OFF").await.unwrap();
    let before = ids(&mut old).await;
    writers.more(50).await;
    assert_eq!(ids(&mut old).await, before, "a write went to a server that is not the primary");
    good(add, "zone1-102");
    let told = good(follow, "zone1-102");
    let not_following = told["not_following"].as_array().unwrap();
    let stray = not_following.first().map(|why| why.as_str().unwrap().to_owned());
    let refuses: Option<i64> = old.query_first("SELECT @@GLOBAL.read_only").await.unwrap();
    assert_eq!((not_following.len(), refuses), (usize::from(stray.is_some()), Some(1)), "{told}");
    writers.more(50).await;
    stop.store(true, Ordering::Relaxed);
    let seen = writers.end().await;
    assert!(reading.await.expect("reads go on without an error") > 0);
    // What was under way may have been done: once for each connection at most, and the client was told.
    assert!(seen.failed.len() <= WRITERS, "{:?}", seen.failed);
    for (id, error) in &seen.failed {
        assert!(matches!(error, mysql_async::Error::Server(error) if error.code == 1430), "{id}: {error}");
    }
    let primary = ids(&mut bed.roots[2]).await;
    let lost: Vec<_> = seen.acknowledged.iter().filter(|id| primary.binary_search(id).is_err()).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    has_all(&mut bed.roots[1], &primary).await;
    match &stray {
        None => has_all(&mut old, &primary).await,
        // It died with rows that were acknowledged to nobody.
        Some(why) => assert!(why.contains("zone1-0000000100: it has transactions that"), "{why}"),
    }
    eprintln!(
        "{program}: {} rows acknowledged, none lost; {} of unknown outcome; the old primary {}",
        seen.acknowledged.len(),
        seen.failed.len(),
        stray.as_deref().unwrap_or("follows")
    );
    // A row that only the old primary has.
    let alone = if bed.mariadb {
        ["STOP ALL SLAVES", "RESET SLAVE ALL", "SET GLOBAL read_only = OFF"]
    } else {
        ["STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL super_read_only = OFF, GLOBAL read_only = OFF"]
    };
    for statement in alone.iter().chain(&["INSERT INTO main.m (id) VALUES (-1)"]) {
        old.query_drop(*statement).await.unwrap();
    }
    for id in 1..=3 {
        bed.roots[2].query_drop(format!("INSERT INTO main.m (id) VALUES (-10 - {id})")).await.unwrap();
    }
    let told = good(follow, "zone1-102");
    let why = if bed.mariadb {
        // Its positions do not tell. It is asked to follow, and says itself why it cannot.
        let since = Instant::now();
        loop {
            let row: Option<mysql_async::Row> = old.query_first("SHOW ALL SLAVES STATUS").await.unwrap();
            let error =
                row.and_then(|row| row.get::<Option<String>, _>("Last_IO_Error")?).unwrap_or_default();
            if !error.is_empty() {
                break error;
            }
            assert!(since.elapsed() < PATIENCE, "it follows with a row of its own");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    } else {
        told["not_following"][0].as_str().unwrap().to_owned()
    };
    assert!(why.contains("diverged") || why.contains("it has transactions that"), "{why}");
    drop((old, revived));
}

async fn has_all(root: &mut Conn, expected: &[i64]) {
    let since = Instant::now();
    while ids(root).await != expected {
        assert!(since.elapsed() < PATIENCE, "a replica does not follow");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
