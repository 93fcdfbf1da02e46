//! `shardgate vtexplain`: what would each shard be sent, without a server?
//!
//! The gate itself runs here, with its planner, its executor and its transactions, over servers that only
//! pretend: they write down what they are sent, and answer with the right columns and no rows. So nothing is
//! told that a gate would not do. Flags and output are those of Vitess's `vtexplain`.
//!
//! Absent on purpose: rows. A statement that a gate sends only because of rows that it has read is not
//! among the answers.

mod answers;
mod input;
mod report;
mod servers;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use input::Options;
pub use report::{OutputMode, Report};

use crate::backend::{Connection, OwnedEvent, Pools};
use crate::config::Config;
use crate::key::TabletType;
use crate::metrics::Metrics;
use crate::protocol::wire::Input;
use crate::server::gate::Gate;
use crate::server::settings;
use crate::server::sockets::Sockets;
use crate::sql::{self, LexOptions};
use crate::topology::{Address, Tablet, TabletAlias};
use input::Cluster;
use report::{Explained, Failure};
use servers::Journal;

/// The folder of the sockets; gone at the end.
struct Folder(PathBuf);

/// Explains every statement of the input, in one session.
///
/// # Errors
/// What is wrong with the flags or the files, in one line. A statement that fails is a part of the report.
pub async fn run(options: &Options) -> Result<Report, String> {
    let (cluster, statements) = options.read()?;
    let folder = Folder::make()?;
    let journal = Arc::new(Journal::default());
    let mut tasks = tokio::task::JoinSet::new();
    for keyspace in &cluster.keyspaces {
        for shard in &keyspace.shards {
            let path = folder.0.join(format!("{}.sock", shard.number));
            servers::start(&path, keyspace, shard, &journal, &mut tasks)?;
        }
    }
    let config = configuration(&cluster, &folder.0)?;
    let sockets = Sockets::bind(&config.listen, &config.http).await?;
    let backend = settings::backend(&config.backend)?;
    Gate::new(config, None).await?.open(sockets);
    let mut client = connect(backend, &folder.0, options.dbname.as_deref()).await?;
    let mut explained = Vec::new();
    for range in sql::split(statements.as_bytes(), LexOptions::default()) {
        let text = statements.get(range).unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        let plan = match options.output_mode {
            OutputMode::Text => None,
            OutputMode::Json => plan(&mut client, text).await?,
        };
        journal.clear();
        let failure = ask(&mut client, text).await?.err();
        explained.push(Explained { sql: text.to_owned(), failure, sent: journal.take(), plan });
    }
    Ok(Report { explained, mode: options.output_mode })
}

// === impl Folder ===

impl Folder {
    fn make() -> Result<Self, String> {
        let name = format!("shardgate-vtexplain-{}-{:08x}", std::process::id(), rand::random::<u32>());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn configuration(cluster: &Cluster, folder: &Path) -> Result<Config, String> {
    let quoted = |path: PathBuf| toml::Value::from(path.display().to_string()).to_string();
    cluster.write(folder)?;
    let text = format!(
        "[listen]\naddress = \"off\"\nsocket = {}\n[http]\naddress = \"off\"\n[topology]\npath = {}\n\
         [users]\nallow_any = true\n[backend]\nuser = \"vtexplain\"\n",
        quoted(folder.join("gate.sock")),
        quoted(folder.join("topology.toml"))
    );
    Config::parse(&text).map_err(|error| error.to_string())
}

/// A client of the gate, in the selected keyspace.
async fn connect(
    backend: crate::backend::BackendConfig,
    folder: &Path,
    keyspace: Option<&str>,
) -> Result<Connection, String> {
    let metrics = Arc::new(Metrics::new().map_err(|error| error.to_string())?);
    let pools = Pools::new(backend, metrics, TaskTracker::new(), CancellationToken::new());
    let keyspace: Arc<str> = keyspace.unwrap_or_default().into();
    let gate = Tablet {
        alias: TabletAlias { cell: "gate".into(), uid: 0 },
        keyspace: keyspace.clone(),
        shard: "".into(),
        kind: TabletType::Primary,
        address: Address::Unix(folder.join("gate.sock")),
        schema: keyspace,
    };
    pools.dial(&Arc::new(gate)).await.map_err(|error| format!("--dbname: {error}"))
}

/// Runs a statement to the end of its answers; the text of the first value, if it has rows.
async fn ask(client: &mut Connection, text: &str) -> Result<Result<Option<Vec<u8>>, Failure>, String> {
    client.send_query(text.as_bytes());
    let (mut first, mut failure) = (None, None);
    while client.owes() {
        match client.next_owned().await.map_err(|error| format!("the gate broke off: {error}"))? {
            OwnedEvent::Error(error) => failure = Some(Failure::of(&error.into_error())),
            OwnedEvent::Rows(rows) if first.is_none() => {
                let value = rows.first().map(|row| Input::new(&row.0, "row").lenenc_nullable());
                first = value.and_then(Result::ok).flatten().map(<[u8]>::to_vec);
            }
            _ => {}
        }
    }
    Ok(failure.map_or(Ok(first), Err))
}

/// The statement's plan, if it has one.
async fn plan(client: &mut Connection, text: &str) -> Result<Option<serde_json::Value>, String> {
    let answer = ask(client, &format!("VEXPLAIN PLAN {text}")).await?;
    Ok(answer.ok().flatten().and_then(|json| serde_json::from_slice(&json).ok()))
}
