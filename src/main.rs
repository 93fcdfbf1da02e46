//! The shardgate program: reads its arguments, builds the runtime, and chooses the exit code.
//!
//! Wrong use exits 2 with one clear line, a failure at run time exits 1, SIGINT and SIGTERM exit 0.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use shardgate::config::{Config, Log};
use shardgate::dev::{self, Cluster};
use shardgate::metrics::Metrics;
use shardgate::server::persona::Persona;
use shardgate::server::signals::Signals;
use shardgate::server::{logging, settings};
use shardgate::topology::watch::Topology;

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
    /// Print a configuration file with every key and its default, and exit.
    #[arg(long, env = "SHARDGATE_SAMPLE")]
    sample: bool,
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
        let cluster = tokio::select! {
            cluster = Cluster::start(&options) => cluster.map_err(Failure::Run)?,
            () = signals.stop() => return Ok(()),
        };
        let served = serve(cluster.config().clone(), signals).await;
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
        check(&config).map_err(Failure::Run)?;
        println!("{}: ok", path.display());
        return Ok(());
    }
    logging::start(&config.log).map_err(Failure::Use)?;
    runtime()?.block_on(async {
        let signals = Signals::new().map_err(|error| Failure::Run(error.to_string()))?;
        serve(config, signals).await
    })
}

async fn serve(_config: Config, mut signals: Signals) -> Result<(), Failure> {
    signals.stop().await;
    Ok(())
}

/// Everything that a start reads, without starting anything.
fn check(config: &Config) -> Result<(), String> {
    let metrics = Metrics::new().map_err(|error| error.to_string())?;
    if let Some(path) = &config.topology.path {
        Topology::load(path, Arc::new(metrics))?;
    }
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
