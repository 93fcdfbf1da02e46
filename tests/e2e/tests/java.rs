//! Does a Java program with Connector/J and HikariCP find one MySQL server behind the gate?
//!
//! The program is the Maven project `tests/clients/java`; it prints one line per check.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use super::serve;
use crate::gate::Gate;
use crate::process::{self, poll};
use crate::runner::{Bed, NotRun, Test, Verdict, say};

pub const TESTS: &[Test] = &[
    Test { deadline: Duration::from_secs(400), ..Test::shared("java/Connector/J and HikariCP", jdbc) },
    Test {
        deadline: Duration::from_secs(400),
        ..Test::own("java/a URL with two gates, one is killed", two_hosts)
    },
];

static BUILD: Mutex<Option<Result<PathBuf, String>>> = Mutex::new(None);

/// Compiles the program once per run and returns the folder of its classes and jars.
pub(super) fn build() -> Result<PathBuf, String> {
    let mut built = BUILD.lock().map_err(|_| "a build failed before".to_owned())?;
    built.get_or_insert_with(compile).clone()
}

fn compile() -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let java = process::run(Command::new("java").arg("-version"), "", Duration::from_secs(30));
    java.map_err(|_| "no java on PATH".to_owned())?;
    let maven = |offline: bool| {
        let mut command = Command::new("mvn");
        command.args(["-q", "-B"]).args(offline.then_some("-o"));
        command
            .args(["compile", "dependency:copy-dependencies", "dependency:copy"])
            .current_dir(root.join("tests/clients/java"));
        process::run(&mut command, "", Duration::from_secs(300))
    };
    // Offline first: the versions are pinned, and a machine that built once needs no network.
    let output = match maven(true) {
        Ok(output) if output.code == Some(0) => output,
        _ => maven(false).map_err(|error| format!("Maven: {error}"))?,
    };
    if output.code != Some(0) {
        let text = format!("{}{}", output.stdout, output.stderr);
        // A mistake in the program is a failure, not a machine that lacks something.
        assert!(!text.contains("COMPILATION ERROR"), "{text}");
        let first = text.lines().find(|line| line.contains("ERROR")).unwrap_or("no reason given").to_owned();
        return Err(format!("Maven cannot fetch the libraries: {first}"));
    }
    Ok(root.join("target/java"))
}

fn jdbc(bed: &Bed) -> Verdict {
    let folder = build().map_err(NotRun)?;
    let cluster = bed.cluster();
    let mut command = Command::new("java");
    command
        .args(["-Xmx192m", "-cp"])
        .arg(format!("{}:{}", folder.join("classes").display(), folder.join("lib/*").display()))
        .arg("shardgate.Checks")
        .args([cluster.gate.mysql.to_string(), cluster.direct.port.to_string()]);
    let output = process::run(&mut command, "", Duration::from_secs(380)).unwrap();
    let (mut passed, mut failed) = (0, Vec::new());
    for line in output.stdout.lines() {
        match line.split_once(' ') {
            Some(("PASS", _)) => passed += 1,
            Some(("FAIL", what)) => failed.push(what),
            Some(("NOTE", what)) => say(&format!("         java: {what}")),
            _ => {}
        }
    }
    assert!(failed.is_empty(), "{} checks passed, {} failed:\n{}", passed, failed.len(), failed.join("\n"));
    let complete = output.stdout.lines().any(|line| line == format!("DONE {passed}"));
    assert!(
        complete && output.code == Some(0),
        "the program broke off:\n{}\n{}",
        output.stdout,
        output.stderr
    );
    Ok(())
}

/// Threads that share the pool; one more has a connection of its own.
const POOLED: usize = 4;

/// A child that ends with this value.
struct Java(Child);

impl Drop for Java {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two gates over one topology. The one that all connections go to is killed: each connection fails once
/// at most, and the rows go on through the other one.
fn two_hosts(bed: &Bed) -> Verdict {
    let folder = build().map_err(NotRun)?;
    let (server, mut root) = serve::shards(bed);
    let (files, others) = (serve::Files::over(&server), serve::Files::over(&server));
    let first = Gate::serve(&files.config_with("", ""), files.mysql, files.http).unwrap();
    let second = Gate::serve(&others.config_with("", ""), others.mysql, others.http).unwrap();
    let mut command = Command::new("java");
    command
        .args(["-Xmx128m", "-cp"])
        .arg(format!("{}:{}", folder.join("classes").display(), folder.join("lib/*").display()))
        .arg("shardgate.TwoHosts")
        .args([first.mysql.to_string(), second.mysql.to_string(), POOLED.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut java = Java(command.spawn().expect("java runs"));
    let (input, output) = (java.0.stdin.take(), java.0.stdout.take().expect("its output"));
    let lines: Mutex<Vec<String>> = Mutex::default();
    let count = |start: &str| lines.lock().unwrap().iter().filter(|line| line.starts_with(start)).count();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        // Also ends the reader above, when a check fails.
        let input = input;
        let more = |wanted: usize| {
            let then = count("ACK");
            poll(Duration::from_secs(120), || (count("ACK") >= then + wanted).then_some(()))
        };
        let before = more(100);
        first.kill();
        let after = more(200);
        drop(input);
        let done = poll(Duration::from_secs(60), || (count("DONE") > 0).then_some(()));
        drop(java);
        let all = lines.lock().unwrap();
        let tail = all[all.len().saturating_sub(20)..].join("\n");
        assert!(
            before.is_some() && after.is_some() && done.is_some(),
            "{before:?} {after:?} {done:?}\n{tail}"
        );
    });
    let lines = lines.into_inner().unwrap();
    let ids = |start: &str| -> Vec<i64> {
        let found = lines.iter().filter_map(|line| line.strip_prefix(start)?.split(' ').next()?.parse().ok());
        found.collect()
    };
    let failed: Vec<_> = lines.iter().filter(|line| line.starts_with("FAILED")).collect();
    assert!(!failed.is_empty() && failed.len() <= POOLED + 1, "{failed:#?}");
    for line in &failed {
        let state = line.split(' ').nth(2).unwrap_or_default();
        assert!(state.starts_with("08"), "a lost connection is told as such: {line}");
    }
    let mut there: Vec<i64> = Vec::new();
    for database in ["ks_low", "ks_high"] {
        let rows = root.rows(format!("select id from {database}.t")).unwrap();
        there.extend(rows.iter().filter_map(|row| row[0].as_deref()?.parse::<i64>().ok()));
    }
    let acknowledged = ids("ACK ");
    let lost: Vec<_> = acknowledged.iter().filter(|id| !there.contains(id)).collect();
    assert!(lost.is_empty(), "acknowledged and not there: {lost:?}");
    assert!(there.len() <= acknowledged.len() + failed.len(), "rows that nobody was told of");
    say(&format!("         {} rows, {} connections lost with their gate", acknowledged.len(), failed.len()));
    let (status, _) = second.stop();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
    Ok(())
}
