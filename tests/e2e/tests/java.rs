//! Does a Java program with Connector/J and HikariCP find one MySQL server behind the gate?
//!
//! The program is the Maven project `tests/clients/java`; it prints one line per check.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use crate::process;
use crate::runner::{Bed, NotRun, Test, Verdict, say};

pub const TESTS: &[Test] =
    &[Test { deadline: Duration::from_secs(400), ..Test::shared("java/Connector/J and HikariCP", jdbc) }];

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
