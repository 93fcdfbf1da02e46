//! Do the drivers of many languages see the gate as one server?
//!
//! Each program of `tests/clients` prints a transcript of all that it observes, on a plain server and
//! on the gate. The transcripts must be equal, but for what `tests/clients/differences.txt` names and
//! explains. `SHARDGATE_TEST_TRANSCRIPTS` names a folder where they are kept.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use super::java;
use crate::process;
use crate::runner::{Bed, NotRun, Test, Verdict, say};
use crate::stage::{PASSWORD, USER};

const fn client(name: &'static str, run: fn(&Bed) -> Verdict) -> Test {
    Test { deadline: Duration::from_secs(600), ..Test::own(name, run) }
}

pub const TESTS: &[Test] = &[
    client("clients/Connector-J 9", |bed| run(bed, "connector-j-9", 1_500, &jdbc("lib", "mysql"))),
    client("clients/Connector-J 8", |bed| run(bed, "connector-j-8", 1_500, &jdbc("lib8/*:lib", "mysql"))),
    client("clients/MariaDB Connector-J", |bed| {
        run(bed, "mariadb-connector-j", 1_500, &jdbc("lib", "mariadb"))
    }),
    client("clients/Spring, MyBatis, Hibernate", |bed| {
        run(bed, "java-frameworks", 60, &|| java_program("lib", "shardgate.Frameworks"))
    }),
    client("clients/Go and GORM", |bed| run(bed, "go", 900, &go)),
    client("clients/PyMySQL", |bed| run(bed, "pymysql", 500, &python("pymysql", "requirements.txt"))),
    client("clients/mysql-connector-python", |bed| {
        run(bed, "connector-python", 500, &python("connector", "requirements.txt"))
    }),
    client("clients/SQLAlchemy", |bed| run(bed, "sqlalchemy", 90, &python("sqlalchemy", "requirements.txt"))),
    client("clients/mysqlclient", |bed| {
        run(bed, "mysqlclient", 500, &python("mysqlclient", "requirements-c.txt"))
    }),
    client("clients/Node mysql2", |bed| run(bed, "mysql2", 800, &node("mysql2"))),
    client("clients/Sequelize", |bed| run(bed, "sequelize", 40, &node("sequelize"))),
    client("clients/PHP mysqli", |bed| run(bed, "mysqli", 800, &|| php("mysqli"))),
    client("clients/PHP PDO", |bed| run(bed, "pdo", 280, &|| php("pdo"))),
    client("clients/Perl DBD::mysql", |bed| run(bed, "dbd-mysql", 100, &|| perl("mysql"))),
    client("clients/Perl DBD::MariaDB", |bed| run(bed, "dbd-mariadb", 100, &|| perl("MariaDB"))),
    client("clients/Ruby mysql2", |bed| run(bed, "ruby", 80, &ruby)),
    client("clients/C libmariadb", |bed| run(bed, "c", 200, &c)),
];

/// One line of the list of differences.
struct Difference<'t> {
    client: &'t str,
    family: &'t str,
    keyspace: &'t str,
    observation: &'t str,
    gate: &'t str,
}

type Transcript = BTreeMap<String, Vec<(String, String)>>;

/// Builds that were made in this run, by name.
static BUILT: Mutex<BTreeMap<&'static str, Result<PathBuf, String>>> = Mutex::new(BTreeMap::new());

fn run(bed: &Bed, name: &str, least: usize, program: &dyn Fn() -> Result<Command, NotRun>) -> Verdict {
    let mut command = program()?;
    let stage = bed.stage();
    let base = 1_000 * (1 + hash(name));
    command
        .args(stage.targets())
        .env("CLIENT_USER", USER)
        .env("CLIENT_PASSWORD", PASSWORD)
        .env("CLIENT_CA", stage.authority())
        .env("CLIENT_BASE", base.to_string());
    let output = process::run(&mut command, "", Duration::from_secs(580)).unwrap();
    if let Some(folder) = std::env::var_os("SHARDGATE_TEST_TRANSCRIPTS") {
        let file = Path::new(&folder).join(format!("{}-{name}.txt", bed.family.name));
        std::fs::write(&file, &output.stdout).unwrap();
    }
    let ended = output.stdout.ends_with("== end\n") && output.code == Some(0);
    assert!(ended, "the program broke off: {:?}\n{}\n{}", output.code, tail(&output.stdout), output.stderr);
    let transcript = read(&output.stdout);
    let known = include_str!("../../clients/differences.txt");
    let known = differences(known);
    let (observations, explained, unexplained) = compare(&transcript, name, &bed.family.name, &known);
    assert!(observations >= least, "only {observations} observations");
    say(&format!("         {name}: {observations} observations, {explained} differences explained"));
    assert!(unexplained.is_empty(), "{} differences:\n{}", unexplained.len(), unexplained.join("\n"));
    Ok(())
}

/// A number below 1,000,000 of its own for each name: clients that run beside each other touch rows of
/// their own only.
fn hash(name: &str) -> usize {
    name.bytes().fold(7_usize, |hash, byte| (hash * 31 + usize::from(byte)) % 999_983)
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

/// The observations of each target. A name that comes again gets a number.
fn read(text: &str) -> Transcript {
    let mut all = Transcript::new();
    let mut target = String::new();
    let mut seen = BTreeMap::new();
    for line in text.lines() {
        if let Some(next) = line.strip_prefix("== ") {
            next.clone_into(&mut target);
            seen.clear();
            all.entry(target.clone()).or_default();
            continue;
        }
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        let count = seen.entry(name.to_owned()).and_modify(|count| *count += 1).or_insert(1);
        let name = if *count == 1 { name.to_owned() } else { format!("{name} #{count}") };
        all.entry(target.clone()).or_default().push((name, value.to_owned()));
    }
    all
}

/// Observations on the plain server, explained differences, and the others.
fn compare(
    all: &Transcript,
    client: &str,
    family: &str,
    known: &[Difference<'_>],
) -> (usize, usize, Vec<String>) {
    let (mut observations, mut explained, mut unexplained) = (0, 0, Vec::new());
    for keyspace in ["sharded", "whole"] {
        let side = |side: &str| all.get(&format!("{side}.{keyspace}")).map(Vec::as_slice).unwrap_or_default();
        let (direct, gate) = (side("direct"), side("gate"));
        observations += direct.len();
        let find = |list: &[(String, String)], name: &str| {
            list.iter().find(|own| own.0 == name).map_or("(nothing)".to_owned(), |own| own.1.clone())
        };
        let names = direct.iter().map(|own| &own.0);
        let more = gate.iter().map(|own| &own.0).filter(|name| !direct.iter().any(|own| own.0 == **name));
        for name in names.chain(more) {
            let (there, here) = (find(direct, name), find(gate, name));
            if there == here {
                continue;
            }
            let is_known = known.iter().any(|own| {
                matches(own.client, client)
                    && matches(own.family, family)
                    && matches(own.keyspace, keyspace)
                    && matches(own.observation, name)
                    && matches(own.gate, &here)
            });
            if is_known {
                explained += 1;
            } else {
                let short = |text: &str| text.chars().take(600).collect::<String>();
                unexplained.push(format!(
                    "{keyspace}: {name}\n    direct {}\n    gate   {}",
                    short(&there),
                    short(&here)
                ));
            }
        }
    }
    (observations, explained, unexplained)
}

fn differences(text: &str) -> Vec<Difference<'_>> {
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let fields: Vec<&str> = line.split(" | ").map(str::trim).collect();
            let [client, family, keyspace, observation, gate] = fields[..] else {
                panic!("differences.txt: not five fields: {line}");
            };
            Difference { client, family, keyspace, observation, gate }
        })
        .collect()
}

/// Whether a text fits a pattern, in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|head| text.strip_prefix(head)) else { return false };
    let mut rest = rest;
    let mut last = None;
    for part in parts {
        last = Some(part);
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    match last {
        None => rest.is_empty(),
        Some(last) => text.ends_with(last),
    }
}

// === The programs ===

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// Where the programs of a language are put together: the repository stays as it is.
fn workshop(name: &str) -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients").join(name);
    std::fs::create_dir_all(&target).map_err(|error| format!("{}: {error}", target.display()))?;
    Ok(target)
}

/// Runs a build once per run.
fn once(name: &'static str, build: impl FnOnce() -> Result<PathBuf, String>) -> Result<PathBuf, NotRun> {
    let mut built = BUILT.lock().map_err(|_| NotRun("a build failed before".into()))?;
    built.entry(name).or_insert_with(build).clone().map_err(NotRun)
}

/// Runs a command of a build; its last line of complaint is the error.
fn step(command: &mut Command) -> Result<String, String> {
    let output = process::run(command, "", Duration::from_secs(400))?;
    if output.code == Some(0) {
        return Ok(output.stdout);
    }
    let text = format!("{}{}", output.stdout, output.stderr);
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    Err(format!("{}: {last}", command.get_program().to_string_lossy()))
}

fn java_program(libraries: &str, class: &str) -> Result<Command, NotRun> {
    let folder = java::build().map_err(NotRun)?;
    let mut path = format!("{}/classes", folder.display());
    for own in libraries.split(':') {
        let own = own.trim_end_matches("/*");
        let _ = write!(path, ":{}/{own}/*", folder.display());
    }
    let mut command = Command::new("java");
    command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", &path, class]);
    Ok(command)
}

fn jdbc(libraries: &'static str, driver: &'static str) -> impl Fn() -> Result<Command, NotRun> {
    move || {
        let mut command = java_program(libraries, "shardgate.Jdbc")?;
        command.arg(driver);
        Ok(command)
    }
}

fn go() -> Result<Command, NotRun> {
    let program = once("go", || {
        step(Command::new("go").arg("version")).map_err(|_| "no Go on PATH".to_owned())?;
        let program = workshop("go")?.join("client");
        let mut build = Command::new("go");
        build.args(["build", "-mod=readonly", "-o"]).arg(&program).arg(".").current_dir(folder("go"));
        step(&mut build)?;
        Ok(program)
    })?;
    Ok(Command::new(program))
}

fn python(driver: &'static str, requirements: &'static str) -> impl Fn() -> Result<Command, NotRun> {
    move || {
        let python = once(requirements, || {
            let home = workshop(requirements)?;
            let python = home.join("bin/python");
            if !python.exists() {
                step(Command::new("python3").args(["-m", "venv"]).arg(&home))?;
            }
            let list = folder("python").join(requirements);
            let mut install = Command::new(&python);
            install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(list);
            step(&mut install)?;
            Ok(python)
        })?;
        let mut command = Command::new(python);
        command.arg("-B").arg(folder("python").join("matrix.py")).arg(driver);
        Ok(command)
    }
}

fn node(driver: &'static str) -> impl Fn() -> Result<Command, NotRun> {
    move || {
        let home = once("node", || {
            let home = workshop("node")?;
            for file in ["package.json", "package-lock.json", "matrix.mjs"] {
                let copied = std::fs::copy(folder("node").join(file), home.join(file));
                copied.map_err(|error| format!("{file}: {error}"))?;
            }
            let mut install = Command::new("npm");
            install
                .args(["ci", "--no-audit", "--no-fund", "--silent", "--prefer-offline"])
                .current_dir(&home);
            step(&mut install)?;
            Ok(home)
        })?;
        let mut command = Command::new("node");
        command.arg(home.join("matrix.mjs")).arg(driver);
        Ok(command)
    }
}

/// A program of an interpreter, where a first line shows that the library is there.
fn interpreted(interpreter: &str, probe: &[&str], script: &str) -> Result<Command, NotRun> {
    step(Command::new(interpreter).args(probe)).map_err(NotRun)?;
    let mut command = Command::new(interpreter);
    command.arg(folder(script));
    Ok(command)
}

fn php(driver: &str) -> Result<Command, NotRun> {
    let probe = format!(
        "exit(extension_loaded('{}') ? 0 : 1);",
        if driver == "pdo" { "pdo_mysql" } else { "mysqli" }
    );
    let mut command = interpreted("php", &["-r", &probe], "php/matrix.php")?;
    command.arg(driver);
    Ok(command)
}

fn perl(driver: &str) -> Result<Command, NotRun> {
    let mut command = interpreted("perl", &[&format!("-MDBD::{driver}"), "-e", "1"], "perl/matrix.pl")?;
    command.arg(driver);
    Ok(command)
}

fn ruby() -> Result<Command, NotRun> {
    interpreted("ruby", &["-rmysql2", "-e", "1"], "ruby/matrix.rb")
}

fn c() -> Result<Command, NotRun> {
    let program = once("c", || {
        let flags = step(Command::new("mariadb_config").args(["--cflags", "--libs"]))?;
        let program = workshop("c")?.join("client");
        let mut compile = Command::new("cc");
        compile
            .args(["-O1", "-o"])
            .arg(&program)
            .arg(folder("c").join("matrix.c"))
            .args(flags.split_whitespace());
        let output = process::run(&mut compile, "", Duration::from_secs(60))?;
        assert!(output.code == Some(0), "{}", output.stderr);
        Ok(program)
    })?;
    Ok(Command::new(program))
}
