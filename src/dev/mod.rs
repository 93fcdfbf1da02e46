//! How does a whole sharded cluster come up on one machine with one command?
//!
//! Servers are started on a folder of their own, reachable over unix sockets only; databases and
//! schemas are made; a file topology is written; then the gate serves as it would anywhere. Whatever
//! was started is stopped at the end: by order at an exit, by `Drop` after a panic, and by the next
//! start on the same folder after a SIGKILL.

mod cache;
mod flavour;
mod folder;
pub mod layout;
mod mysqld;
mod replicas;
mod schema;

use std::collections::BTreeMap;
use std::path::PathBuf;

use cache::Cache;
use flavour::{Flavour, Member, Program};
use folder::Folder;
use layout::{Layout, Servers};
use mysqld::Mysqld;
use replicas::Roles;
use schema::Marker;

use crate::config::Config;

/// What `shardgate dev` is told.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Folder with one folder per keyspace: vschema.json and *.sql.
    #[arg(long, env = "SHARDGATE_SCHEMA_DIR", value_name = "DIR")]
    pub schema_dir: PathBuf,
    /// How many shards a sharded keyspace has; 2 unless told. May be repeated.
    #[arg(
        long,
        env = "SHARDGATE_SHARDS",
        value_name = "KEYSPACE=N",
        value_delimiter = ',',
        value_parser = parse_shards
    )]
    pub shards: Vec<(String, usize)>,
    /// Port for MySQL clients, on 127.0.0.1; 0 takes a free one.
    #[arg(long, env = "SHARDGATE_MYSQL_PORT", value_name = "PORT", default_value_t = 15306)]
    pub mysql_port: u16,
    /// Port for metrics and health, on 127.0.0.1; 0 takes a free one.
    #[arg(long, env = "SHARDGATE_HTTP_PORT", value_name = "PORT", default_value_t = 16000)]
    pub http_port: u16,
    /// Folder that keeps the data; a temporary one, removed at the end, unless told.
    #[arg(long, env = "SHARDGATE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The server program (MySQL 8.0, 8.4, 9.x or MariaDB); the first found unless told.
    #[arg(long, env = "SHARDGATE_MYSQLD", value_name = "PATH")]
    pub mysqld: Option<PathBuf>,
    /// One server for all shards, or one for each.
    #[arg(long, env = "SHARDGATE_SERVERS", default_value = "one")]
    pub servers: Servers,
    /// Replicas per shard, with --servers per-shard.
    #[arg(long, env = "SHARDGATE_REPLICAS", value_name = "R", default_value_t = 0)]
    pub replicas: u32,
}

/// A cluster that is up: servers answer, schemas are there, the topology file is written. Dropping
/// it stops the servers.
#[derive(Debug)]
pub struct Cluster {
    servers: Vec<Mysqld>,
    config: Config,
    // After the servers: they stop before their folder goes.
    folder: Folder,
}

/// Connections that the gate may hold to one shard.
const POOL_SIZE: u32 = 100;
/// Connections of a server beyond those of the pools: sequences, probes, KILLs, people.
const SPARE_CONNECTIONS: u32 = 50;

// === impl Cluster ===

impl Cluster {
    /// Brings a cluster up.
    ///
    /// # Errors
    /// What cannot be done, in words for the terminal.
    pub async fn start(options: &Options) -> Result<Self, String> {
        let schema_dir = options
            .schema_dir
            .canonicalize()
            .map_err(|error| format!("{}: {error}", options.schema_dir.display()))?;
        let shards: BTreeMap<_, _> = options.shards.iter().cloned().collect();
        let layout = Layout::read(&schema_dir, &shards, options.servers, options.replicas)?;
        let program = Program::find(options.mysqld.as_deref())?;
        let folder = Folder::open(options.data_dir.as_deref())?;
        let mut marker = match Marker::read(folder.path())? {
            Some(marker) => marker,
            None => Marker::new(&program, &layout),
        };
        marker.check(program.flavour.name(), &layout, folder.path())?;
        tracing::info!(
            server = program.short_version(),
            path = %program.path.display(),
            servers = layout.servers,
            data = %folder.path().display(),
            "starting servers"
        );
        initialise(&program, &folder, &layout).await?;
        let topology = folder.path().join("topology.toml");
        let roles = Roles::read(&topology)?;
        let members = members(&layout)?;
        let mut servers = Vec::with_capacity(layout.servers);
        for index in 0..layout.servers {
            let shards = Ord::max(layout.shards_on(index), 1);
            // A pool with FOUND_ROWS and one without.
            let connections = (2 * POOL_SIZE).saturating_mul(shards).saturating_add(SPARE_CONNECTIONS);
            let member = members.get(index).copied();
            servers.push(Mysqld::start(&program, &folder.places(index), connections, member)?);
        }
        futures_util::future::try_join_all(servers.iter_mut().map(Mysqld::ready)).await?;
        if layout.replicas > 0 {
            // Before it is used: a start that is cut off here finds the same password again.
            marker.write(folder.path())?;
            let ports: Vec<u16> = members.iter().map(|member| member.port).collect();
            replicas::arrange(&layout, &servers, &ports, &roles, &marker.replication_password).await?;
        }
        schema::apply(&layout, &servers, &roles, &mut marker, folder.path()).await?;
        if layout.replicas > 0 {
            replicas::catch_up_all(&layout, &servers, &roles).await?;
        }
        let sockets: Vec<_> = servers.iter().map(Mysqld::socket).collect();
        let text = layout.topology(&sockets, |shard| roles.primary(&layout, shard));
        std::fs::write(&topology, text).map_err(|error| format!("{}: {error}", topology.display()))?;
        if layout.replicas > 0 {
            replicas::write_ctl_config(folder.path(), &marker.replication_password)
                .map_err(|error| format!("{}: {error}", folder.path().display()))?;
        }
        let config = configuration(options, topology);
        Ok(Self { servers, config, folder })
    }

    /// What the gate is to be started with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Stops every server, all at the same time, and waits for them.
    pub async fn stop(self) {
        let stopping = tokio::task::spawn_blocking(move || drop(self));
        if let Err(error) = stopping.await {
            tracing::error!(%error, "a server could not be stopped");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        tracing::info!(data = %self.folder.path().display(), "stopping servers");
        // All are asked first, so that they stop side by side; their own drops wait.
        for server in &self.servers {
            server.ask_to_stop();
        }
    }
}

/// A port for each server, where there are replicas.
fn members(layout: &Layout) -> Result<Vec<Member>, String> {
    if layout.replicas == 0 {
        return Ok(Vec::new());
    }
    // All are held until all are known, so that no two are the same.
    let listeners = (0..layout.servers)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("a port for a server: {error}"))?;
    let ports = listeners.iter().map(std::net::TcpListener::local_addr).collect::<Result<Vec<_>, _>>();
    let ports = ports.map_err(|error| format!("a port for a server: {error}"))?;
    Ok((1..).zip(ports).map(|(id, address)| Member { id, port: address.port() }).collect())
}

/// One data folder is filled, in the user's cache where that is possible; all others are copies of it.
async fn initialise(program: &Program, folder: &Folder, layout: &Layout) -> Result<(), String> {
    let places: Vec<_> = (0..layout.servers).map(|index| folder.places(index)).collect();
    let program = program.clone();
    let work = move || {
        if places.iter().all(mysqld::is_initialised) {
            return Ok(());
        }
        match Cache::of_user().map(|cache| cache.data(&program)) {
            Some(Ok(filled)) => return places.iter().try_for_each(|own| mysqld::copy_data(&filled, own)),
            Some(Err(why)) => tracing::warn!(%why, "the cache of data folders cannot be used"),
            None => {}
        }
        let Some((first, others)) = places.split_first() else { return Ok(()) };
        // A first server that has run holds data: the others were made before that.
        mysqld::initialise(&program, first)?;
        others.iter().try_for_each(|other| mysqld::copy_data(&first.data, other))
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(format!("initialising the data folders failed: {error}")),
    }
}

// === impl Options ===

impl Options {
    /// A configuration with the two ports and nothing else, to bind before anything is started.
    #[must_use]
    pub fn ports(&self) -> Config {
        let mut config = Config::default();
        config.listen.address = Some(format!("127.0.0.1:{}", self.mysql_port));
        config.http.address = Some(format!("127.0.0.1:{}", self.http_port));
        config
    }
}

fn configuration(options: &Options, topology: PathBuf) -> Config {
    let mut config = options.ports();
    config.topology.path = Some(topology);
    config.topology.poll_interval = std::time::Duration::from_millis(100);
    config.users.allow_any = true;
    config.backend.user = if options.replicas > 0 { replicas::GATE_USER } else { "root" }.into();
    config.backend.pool_size = POOL_SIZE;
    config
}

/// `service=4`.
fn parse_shards(text: &str) -> Result<(String, usize), String> {
    let wrong = || format!("\"{text}\" is not KEYSPACE=N");
    let (keyspace, count) = text.split_once('=').ok_or_else(wrong)?;
    let count = count.parse().map_err(|_| wrong())?;
    if keyspace.is_empty() { Err(wrong()) } else { Ok((keyspace.to_owned(), count)) }
}

// === impl Layout ===

impl Layout {
    fn shards_on(&self, server: usize) -> u32 {
        let shards = self.keyspaces.iter().flat_map(|keyspace| &keyspace.shards);
        u32::try_from(shards.filter(|shard| shard.server == server).count()).unwrap_or(u32::MAX)
    }
}

// === impl Marker ===

impl Marker {
    fn new(program: &Program, layout: &Layout) -> Self {
        Self {
            flavour: program.flavour.name().into(),
            servers: layout.servers,
            replicas: layout.replicas,
            replication_password: format!("{:016x}{:016x}", rand::random::<u64>(), rand::random::<u64>()),
            keyspaces: BTreeMap::new(),
        }
    }
}

// === impl Flavour ===

impl Flavour {
    fn name(self) -> &'static str {
        match self {
            Self::MySql => "mysql",
            Self::MariaDb => "mariadb",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_counts_are_keyspace_and_number() {
        assert_eq!(parse_shards("service=4").unwrap(), ("service".into(), 4));
        for wrong in ["service", "service=", "=4", "service=x", "service=-1"] {
            assert!(parse_shards(wrong).is_err(), "{wrong}");
        }
    }
}
