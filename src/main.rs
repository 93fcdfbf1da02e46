//! The shardgate program: reads its arguments, builds the runtime, and chooses the exit code.
//!
//! Wrong use exits 2 with one clear line, a failure at run time exits 1, SIGINT and SIGTERM exit 0.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use shardgate::config::{Config, Log, parse_duration};
use shardgate::ctl;
use shardgate::dev::{self, Cluster};
use shardgate::key::TabletType;
use shardgate::metrics::Metrics;
use shardgate::planner::{PlanContext, plan_line};
use shardgate::server::gate::Gate;
use shardgate::server::persona::Persona;
use shardgate::server::resolve::resolve_once;
use shardgate::server::signals::Signals;
use shardgate::server::sockets::Sockets;
use shardgate::server::{logging, settings};
use shardgate::topology::watch::Topology;
use shardgate::vschema::{Schema, VSchema};
use shardgate::vtexplain;

/// A sharding-aware MySQL proxy.
#[derive(Debug, Parser)]
#[command(name = "shardgate", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    job: Job,
}

#[derive(Debug, Subcommand)]
enum Job {
    /// A whole sharded cluster on this machine: servers, shards, schema and the gate.
    Dev(DevArguments),
    /// The gate, over servers that run elsewhere.
    Serve(ServeArguments),
    /// The plans of statements, one JSON line each; no server needed.
    Plan(PlanArguments),
    /// What each shard would be sent, without a server.
    Vtexplain(VtexplainArguments),
    /// Looks at the topology and at distributed transactions, or changes them.
    Ctl(CtlArguments),
    /// Finishes distributed transactions that their gate left prepared.
    Resolve(ResolveArguments),
}

#[derive(Debug, clap::Args)]
struct DevArguments {
    #[command(flatten)]
    options: dev::Options,
    /// How much is logged: error, warn, info, debug, trace, or a filter.
    #[arg(long, env = "SHARDGATE_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

#[derive(Debug, clap::Args)]
struct ServeArguments {
    /// The configuration file (TOML).
    #[arg(long, env = "SHARDGATE_CONFIG", value_name = "FILE", required_unless_present = "sample")]
    config: Option<PathBuf>,
    /// Check the configuration, the topology and the VSchemas, and exit.
    #[arg(long, env = "SHARDGATE_CHECK")]
    check: bool,
    /// Where the topology of etcd is saved, and taken from when a start does not reach etcd.
    #[arg(long, env = "SHARDGATE_TOPOLOGY_CACHE", value_name = "FILE")]
    topology_cache: Option<PathBuf>,
    /// Print a configuration file with every key and its default, and exit.
    #[arg(long, env = "SHARDGATE_SAMPLE")]
    sample: bool,
}

/// The commands are those of vtctldclient; what they print is JSON.
#[derive(Debug, clap::Args)]
struct CtlArguments {
    /// The gate's configuration file (TOML); its [topology] counts.
    #[arg(long, env = "SHARDGATE_CONFIG", value_name = "FILE")]
    config: PathBuf,
    #[command(subcommand)]
    command: ctl::Command,
}

/// Every gate does this by itself every few seconds; this is for when none runs.
#[derive(Debug, clap::Args)]
struct ResolveArguments {
    /// The configuration file (TOML) of the gates.
    #[arg(long, env = "SHARDGATE_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Look, finish what stays prepared for the abandon age, and exit: 0 when nothing is left.
    #[arg(long, env = "SHARDGATE_ONCE", required = true)]
    once: bool,
    /// How long a branch must stay prepared; transaction.twopc_abandon_age unless told.
    #[arg(long, env = "SHARDGATE_ABANDON_AGE", value_name = "TIME", value_parser = parse_duration)]
    abandon_age: Option<Duration>,
    /// How long to go on while something is left.
    #[arg(long, env = "SHARDGATE_PATIENCE", value_name = "TIME", value_parser = parse_duration, default_value = "1m")]
    patience: Duration,
}

/// Reads statements from standard input, one a line; a newline inside a statement is written \\n.
#[derive(Debug, clap::Args)]
struct PlanArguments {
    /// The VSchema: {"keyspaces": {…}, "routing_rules": …} (JSON).
    #[arg(long, env = "SHARDGATE_VSCHEMA_FILE", value_name = "FILE")]
    vschema_file: PathBuf,
    /// A JSON object from keyspace to a file with its CREATE TABLE statements; paths are relative to
    /// this file.
    #[arg(long, env = "SHARDGATE_SCHEMA_FILE", value_name = "FILE")]
    schema_file: Option<PathBuf>,
    /// The selected keyspace.
    #[arg(long, env = "SHARDGATE_KEYSPACE", value_name = "KEYSPACE")]
    keyspace: Option<String>,
}

/// The gate runs over servers that only pretend, with the tables and shards of these files. The flags are
/// those of Vitess's vtexplain.
#[derive(Debug, clap::Args)]
struct VtexplainArguments {
    #[command(flatten)]
    options: vtexplain::Options,
}

/// Why the program ends early.
enum Failure {
    /// The user asked for something that cannot be: exit 2.
    Use(String),
    /// It was well asked for and did not work out: exit 1.
    Run(String),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return wrong_use(&error),
    };
    let result = match arguments.job {
        Job::Dev(arguments) => run_dev(arguments),
        Job::Serve(arguments) => run_serve(&arguments),
        Job::Plan(arguments) => run_plan(&arguments),
        Job::Vtexplain(arguments) => run_vtexplain(&arguments),
        Job::Ctl(arguments) => run_ctl(arguments),
        Job::Resolve(arguments) => run_resolve(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Use(why)) => {
            eprintln!("shardgate: {why}");
            ExitCode::from(2)
        }
        Err(Failure::Run(why)) => {
            eprintln!("shardgate: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Help and version go to standard output and are no errors; everything else is one line.
fn wrong_use(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        print!("{error}");
        return ExitCode::SUCCESS;
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        eprintln!("shardgate: a subcommand is missing (see --help)");
        return ExitCode::from(2);
    }
    let text = error.to_string();
    let parts: Vec<_> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    let line = parts.join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    eprintln!("shardgate: {line} (see --help)");
    ExitCode::from(2)
}

fn run_dev(arguments: DevArguments) -> Result<(), Failure> {
    let options = arguments.options;
    logging::start(&Log { level: arguments.log_level, ..Log::default() }).map_err(Failure::Use)?;
    runtime()?.block_on(async {
        let mut signals = Signals::new().map_err(|error| Failure::Run(error.to_string()))?;
        let sockets = bind(&options.ports()).await?;
        let cluster = tokio::select! {
            cluster = Cluster::start(&options) => cluster.map_err(Failure::Run)?,
            () = signals.stop() => return Ok(()),
        };
        let served = serve(cluster.config().clone(), None, sockets, &mut signals).await;
        cluster.stop().await;
        served
    })
}

fn run_serve(arguments: &ServeArguments) -> Result<(), Failure> {
    if arguments.sample {
        print!("{}", Config::sample());
        return Ok(());
    }
    let Some(path) = &arguments.config else {
        return Err(Failure::Use("--config FILE is missing".into()));
    };
    let config = Config::load(path).map_err(|error| Failure::Run(error.to_string()))?;
    if arguments.check {
        runtime()?.block_on(check(&config)).map_err(Failure::Run)?;
        println!("{}: ok", path.display());
        return Ok(());
    }
    logging::start(&config.log).map_err(Failure::Use)?;
    runtime()?.block_on(async {
        let mut signals = Signals::new().map_err(|error| Failure::Run(error.to_string()))?;
        let sockets = bind(&config).await?;
        serve(config, arguments.topology_cache.as_deref(), sockets, &mut signals).await
    })
}

/// Serves until a signal says stop. SIGTERM and SIGINT during the start end it at once.
async fn serve(
    config: Config,
    cache: Option<&Path>,
    sockets: Sockets,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let gate = tokio::select! {
        gate = Gate::new(config, cache) => gate.map_err(Failure::Run)?,
        () = signals.stop() => return Ok(()),
    };
    let line = sockets.ready_line();
    gate.open(sockets);
    let mut out = std::io::stdout();
    // Whoever closed standard output does not want to read it.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    gate.run(signals).await;
    Ok(())
}

fn run_ctl(arguments: CtlArguments) -> Result<(), Failure> {
    let config = Config::load(&arguments.config).map_err(|error| Failure::Run(error.to_string()))?;
    let (answer, failure) = match runtime()?.block_on(ctl::run(&config, arguments.command)) {
        Ok(answer) => (answer, None),
        Err(ctl::Failure::Use(why)) => return Err(Failure::Use(why)),
        Err(ctl::Failure::Run(why)) => return Err(Failure::Run(why)),
        Err(ctl::Failure::Findings(findings)) => (findings, Some(Failure::Run("there are findings".into()))),
    };
    let text = serde_json::to_string_pretty(&answer).unwrap_or_default();
    // Whoever closed standard output does not want to read it.
    let _ = writeln!(std::io::stdout(), "{text}");
    failure.map_or(Ok(()), Err)
}

async fn bind(config: &Config) -> Result<Sockets, Failure> {
    Sockets::bind(&config.listen, &config.http).await.map_err(Failure::Run)
}

fn run_plan(arguments: &PlanArguments) -> Result<(), Failure> {
    let failed =
        |path: &Path, error: &dyn std::fmt::Display| Failure::Run(format!("{}: {error}", path.display()));
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|error| failed(path, &error));
    let path = &arguments.vschema_file;
    let mut vschema = VSchema::from_json(&read(path)?, 1).map_err(|error| failed(path, &error))?;
    if let Some(path) = &arguments.schema_file {
        let files: BTreeMap<String, PathBuf> =
            serde_json::from_str(&read(path)?).map_err(|error| failed(path, &error))?;
        let mut schema = Schema::default();
        for (keyspace, file) in files {
            if vschema.keyspace(&keyspace).is_none() {
                return Err(failed(path, &format!("there is no keyspace {keyspace} in the VSchema")));
            }
            let file = path.parent().unwrap_or(Path::new(".")).join(file);
            let tables = shardgate::schema::from_sql(&read(&file)?).map_err(|error| failed(&file, &error))?;
            schema.keyspaces.insert(keyspace.into(), Arc::new(tables));
        }
        vschema = vschema.with_schema(Arc::new(schema), 1);
    }
    if let Some(name) = arguments.keyspace.as_deref().filter(|name| vschema.keyspace(name).is_none()) {
        return Err(Failure::Use(format!("--keyspace {name}: there is no such keyspace in the VSchema")));
    }
    let context = PlanContext {
        vschema: &vschema,
        keyspace: arguments.keyspace.as_deref(),
        tablet_type: TabletType::Primary,
        destination: None,
    };
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| Failure::Run(format!("standard input: {error}")))?;
        if line.trim().is_empty() {
            continue;
        }
        if writeln!(out, "{}", plan_line(&with_newlines(&line), &context)).is_err() {
            // Nobody reads on: what is missing was not wanted.
            return Ok(());
        }
    }
    Ok(())
}

fn run_vtexplain(arguments: &VtexplainArguments) -> Result<(), Failure> {
    let report = runtime()?.block_on(vtexplain::run(&arguments.options)).map_err(Failure::Run)?;
    // Whoever closed standard output does not want to read it.
    let _ = write!(std::io::stdout(), "{}", report.text());
    match report.failures() {
        0 => Ok(()),
        1 => Err(Failure::Run("a statement failed".into())),
        count => Err(Failure::Run(format!("{count} statements failed"))),
    }
}

/// A backslash and an n stand for a newline, unless the backslash is itself behind a backslash.
fn with_newlines(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match (char, chars.clone().next()) {
            ('\\', Some('n')) => {
                chars.next();
                text.push('\n');
            }
            ('\\', Some(next)) => {
                chars.next();
                text.extend([char, next]);
            }
            _ => text.push(char),
        }
    }
    text
}

fn run_resolve(arguments: &ResolveArguments) -> Result<(), Failure> {
    let path = &arguments.config;
    let config = Config::load(path).map_err(|error| Failure::Run(error.to_string()))?;
    logging::start(&config.log).map_err(Failure::Use)?;
    let age = arguments.abandon_age.unwrap_or(config.transaction.twopc_abandon_age);
    let report = runtime()?.block_on(resolve_once(&config, age, arguments.patience)).map_err(Failure::Run)?;
    println!(
        "committed {}, rolled back {}, left {}, lost {}, of unknown shards {}",
        report.committed, report.rolled_back, report.left, report.torn, report.strangers
    );
    let problems: Vec<&str> = report.silent.iter().chain(&report.reasons).map(String::as_str).collect();
    for problem in &problems {
        println!("{problem}");
    }
    match (report.left, report.torn, report.silent.len()) {
        (0, 0, 0) => Ok(()),
        (left, torn, silent) => {
            Err(Failure::Run(format!("{left} branches left, {torn} lost, {silent} servers silent")))
        }
    }
}

/// Everything that a start reads, without starting anything.
async fn check(config: &Config) -> Result<(), String> {
    let metrics = Metrics::new().map_err(|error| error.to_string())?;
    Topology::load(&config.topology, None, Arc::new(metrics)).await?;
    settings::backend(&config.backend)?;
    settings::login(config, &Persona::told("8.4.6"))?;
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("shardgate")
        .build()
        .map_err(|error| Failure::Run(format!("the runtime cannot be built: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newlines_are_written_as_backslash_and_n() {
        assert_eq!(with_newlines(r"select 1\nfrom t"), "select 1\nfrom t");
        assert_eq!(with_newlines(r"select 'C:\\new', 'it\'s'\"), r"select 'C:\\new', 'it\'s'\");
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
