//! Which server of a shard is its primary, and how do the others follow it?
//!
//! Every server starts refusing writes. The primary is the one that the topology file of the last run
//! names, so that a switch outlives a restart; in a new folder it is the first. Replicas follow it by
//! GTID over a port on the loopback address, semi-synchronously where the server can.

use std::path::Path;
use std::time::Duration;

use futures_util::future::try_join_all;

use super::layout::{Layout, ShardLayout};
use super::mysqld::Mysqld;
use crate::config::Secret;
use crate::reparent::{Family, Server, Source, StepError};
use crate::topology::TabletType;
use crate::topology::file::TopologyFile;

/// The account that replicas log in with.
const REPLICATION_USER: &str = "shardgate_replication";

/// The account that the gate logs in with: on MariaDB an account with READ ONLY ADMIN could write to a
/// replica.
pub(super) const GATE_USER: &str = "shardgate";

/// How long a replica may take to have what its primary has.
const CATCH_UP: Duration = Duration::from_secs(60);

/// Which server of each shard is the primary.
#[derive(Debug)]
pub(super) struct Roles(Option<TopologyFile>);

// === impl Roles ===

impl Roles {
    /// Reads what the last run on this folder left.
    pub(super) fn read(topology: &Path) -> Result<Self, String> {
        let failed = |why: String| format!("{}: {why}", topology.display());
        match std::fs::read_to_string(topology) {
            Ok(text) => {
                let folder = topology.parent().unwrap_or(Path::new("."));
                TopologyFile::parse(&text, folder)
                    .map(|file| Self(Some(file)))
                    .map_err(|faults| failed(faults.to_string()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self(None)),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// The server that is the shard's primary.
    pub(super) fn primary(&self, layout: &Layout, shard: &ShardLayout) -> usize {
        let all = shard.server..=shard.server + layout.replicas;
        let is_primary = |server: &usize| {
            let uid = layout.uid(shard, *server);
            let shards = self.0.iter().flat_map(|file| file.snapshot.keyspaces.values());
            shards
                .flat_map(|keyspace| &keyspace.shards)
                .flat_map(|shard| &shard.tablets)
                .any(|tablet| tablet.alias.uid as usize == uid && tablet.kind == TabletType::Primary)
        };
        all.clone().find(is_primary).unwrap_or(shard.server)
    }
}

/// Gives every server its role.
pub(super) async fn arrange(
    layout: &Layout,
    servers: &[Mysqld],
    ports: &[u16],
    roles: &Roles,
    password: &str,
) -> Result<(), String> {
    let shards = layout.keyspaces.iter().flat_map(|keyspace| &keyspace.shards);
    let work = shards.map(async |shard: &ShardLayout| {
        let primary = roles.primary(layout, shard);
        let mut all = Vec::new();
        for index in shard.server..=shard.server + layout.replicas {
            let server = servers.get(index).ok_or("a shard without server")?;
            let conn = server.connect(None).await.map_err(|error| error.to_string())?;
            let mut server = Server::new(conn, &format!("server {}", index + 1)).await.map_err(text)?;
            prepare(&mut server, password).await.map_err(text)?;
            all.push((index, server));
        }
        let source = Source {
            host: "127.0.0.1".into(),
            port: ports.get(primary).copied().ok_or("a server without port")?,
            user: REPLICATION_USER.into(),
            password: Secret::new(password),
            tls: false,
        };
        let (mut first, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(index, _)| *index == primary);
        let (_, first) = first.first_mut().ok_or("a shard without primary")?;
        if first.has_source().await.map_err(text)? {
            first.forget_source().await.map_err(text)?;
        }
        first.semi_sync(false, false).await.map_err(text)?;
        let mut others: Vec<_> = others.into_iter().map(|(_, server)| server).collect();
        for replica in &mut others {
            replica.refuse_writes().await.map_err(text)?;
            replica.follow(&source).await.map_err(text)?;
        }
        // What the primary waits for must be there before it waits.
        let position = first.position().await.map_err(text)?;
        for replica in &mut others {
            catch_up(replica, &position).await?;
        }
        if !first.semi_sync(true, false).await.map_err(text)? {
            tracing::warn!(shard = shard.name, "this server has no semi-synchronous replication");
        }
        first.accept_writes().await.map_err(text)
    });
    try_join_all(work).await.map(drop)
}

/// Writes what `shardgate ctl` has to know of the cluster to switch its primaries. The cluster's folder is
/// for its user only.
pub(super) fn write_ctl_config(folder: &Path, password: &str) -> std::io::Result<()> {
    let text = format!(
        "# For shardgate ctl --config; shardgate dev writes it anew at each start.\n\
         [topology]\nkind = \"file\"\npath = \"topology.toml\"\n\
         [users]\nallow_any = true\n\
         [backend]\nuser = \"{GATE_USER}\"\n\
         [reparent]\nuser = \"root\"\nreplication_user = \"{REPLICATION_USER}\"\n\
         replication_password = \"{password}\"\n"
    );
    std::fs::write(folder.join("ctl.toml"), text)
}

/// Waits until every replica has what its primary has.
pub(super) async fn catch_up_all(layout: &Layout, servers: &[Mysqld], roles: &Roles) -> Result<(), String> {
    let shards = layout.keyspaces.iter().flat_map(|keyspace| &keyspace.shards);
    let work = shards.map(async |shard: &ShardLayout| {
        let primary = roles.primary(layout, shard);
        let mut position = String::new();
        let replicas = (shard.server..=shard.server + layout.replicas).filter(|index| *index != primary);
        for index in std::iter::once(primary).chain(replicas) {
            let server = servers.get(index).ok_or("a shard without server")?;
            let conn = server.connect(None).await.map_err(|error| error.to_string())?;
            let mut server = Server::new(conn, &format!("server {}", index + 1)).await.map_err(text)?;
            if index == primary {
                position = server.position().await.map_err(text)?;
            } else {
                catch_up(&mut server, &position).await?;
            }
        }
        Ok::<_, String>(())
    });
    try_join_all(work).await.map(drop)
}

async fn catch_up(replica: &mut Server, position: &str) -> Result<(), String> {
    if replica.wait_for(position, CATCH_UP).await.map_err(text)? {
        return Ok(());
    }
    Err(format!("{}: it does not get its primary's transactions within {CATCH_UP:?}", replica.name()))
}

/// Accounts and plugins, on each server by itself and outside its binary log. Repeatable.
async fn prepare(server: &mut Server, password: &str) -> Result<(), StepError> {
    let step = "accounts";
    server.accept_writes().await?;
    let user = format!("{REPLICATION_USER}@'127.0.0.1'");
    let gate = format!("{GATE_USER}@localhost");
    server
        .run(
            &[
                "SET SESSION sql_log_bin = 0",
                &format!("CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{password}'"),
                &format!("GRANT REPLICATION SLAVE ON *.* TO {user}"),
                &format!("CREATE USER IF NOT EXISTS {gate}"),
                &format!("GRANT ALL ON *.* TO {gate} WITH GRANT OPTION"),
            ],
            step,
        )
        .await?;
    match server.family() {
        Family::MariaDb => {
            server.run(&[&format!("REVOKE SUPER, READ_ONLY ADMIN ON *.* FROM {gate}")], step).await?;
        }
        Family::MySql => {
            // Names since 8.0.26, then those of older versions. Installed already, or not there: what
            // counts is whether the variables exist afterwards.
            for (role, file) in [("source", "semisync_source"), ("replica", "semisync_replica")] {
                let install = format!("INSTALL PLUGIN rpl_semi_sync_{role} SONAME '{file}.so'");
                if let Err(why) = server.run(&[&install], "semi-sync").await {
                    tracing::debug!(%why, "plugin");
                }
            }
        }
    }
    server.run(&["SET SESSION sql_log_bin = 1"], step).await?;
    server.refuse_writes().await
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn text(error: StepError) -> String {
    error.to_string()
}
