//! Which schema files have run on which keyspace, and how do they run?
//!
//! A keyspace's files run once, on every shard. The cluster's folder remembers what ran, so that a
//! restart comes up with its data, and a changed file is told but never run behind the user's back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mysql_async::prelude::Queryable;
use serde::{Deserialize, Serialize};

use super::layout::{KeyspaceLayout, Layout};
use super::mysqld::Mysqld;
use super::replicas::Roles;

/// What a cluster's folder remembers of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Marker {
    /// `mysql` or `mariadb`: a data folder belongs to one of them.
    pub(super) flavour: String,
    /// How many servers there are, replicas included.
    pub(super) servers: usize,
    /// How many replicas each shard has.
    #[serde(default)]
    pub(super) replicas: usize,
    /// The password of the account that replicas log in to their primaries with.
    #[serde(default)]
    pub(super) replication_password: String,
    /// The keyspaces with their shards and what ran on them.
    pub(super) keyspaces: BTreeMap<String, Applied>,
}

/// What ran on one keyspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Applied {
    /// The shards' databases, in order.
    databases: Vec<String>,
    /// The files that ran, with a hash of what they held. Absent while they are being run.
    files: Option<BTreeMap<String, String>>,
}

// === impl Marker ===

impl Marker {
    /// Reads the folder's marker; `None` for a new folder.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, String> {
        let path = Self::path(folder);
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text)
                .map(Some)
                .map_err(|error| format!("{}: {}", path.display(), error.message())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// Checks that the folder was made for the same cluster.
    pub(super) fn check(&self, flavour: &str, layout: &Layout, folder: &Path) -> Result<(), String> {
        let folder = folder.display();
        if self.flavour != flavour {
            return Err(format!("{folder} holds data of {}, and the server is {flavour}", self.flavour));
        }
        for keyspace in &layout.keyspaces {
            let Some(applied) = self.keyspaces.get(&keyspace.name) else { continue };
            if applied.databases != keyspace.databases() {
                return Err(format!(
                    "{folder} was made with other --shards or --servers: {} has the databases {}, not {}",
                    keyspace.name,
                    applied.databases.join(", "),
                    keyspace.databases().join(", ")
                ));
            }
        }
        if self.replicas != layout.replicas {
            return Err(format!(
                "{folder} was made with --replicas {}, not {}",
                self.replicas, layout.replicas
            ));
        }
        if self.servers != layout.servers {
            return Err(format!("{folder} was made for {} servers, not {}", self.servers, layout.servers));
        }
        Ok(())
    }

    /// Writes the marker; a crash leaves the old or the new one, never half of one.
    pub(super) fn write(&self, folder: &Path) -> Result<(), String> {
        let path = Self::path(folder);
        let text = toml::to_string(self).map_err(|error| format!("{}: {error}", path.display()))?;
        let new = path.with_extension("new");
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    fn path(folder: &Path) -> PathBuf {
        folder.join("cluster.toml")
    }
}

/// Brings every keyspace's databases up: runs the files of new keyspaces, and tells about files
/// that changed since they ran.
pub(super) async fn apply(
    layout: &Layout,
    servers: &[Mysqld],
    roles: &Roles,
    marker: &mut Marker,
    folder: &Path,
) -> Result<(), String> {
    for keyspace in &layout.keyspaces {
        let files = read_files(keyspace)?;
        let hashes: BTreeMap<_, _> = files.iter().map(|(name, text)| (name.clone(), hash(text))).collect();
        let begun = match marker.keyspaces.get(&keyspace.name) {
            Some(Applied { files: Some(ran), .. }) => {
                if *ran != hashes {
                    tracing::warn!(
                        keyspace = keyspace.name,
                        "the schema files changed since they were run on this data folder; they are not run again"
                    );
                }
                continue;
            }
            Some(_) => true,
            None => false,
        };
        let mut applied = Applied { databases: keyspace.databases(), files: None };
        marker.keyspaces.insert(keyspace.name.clone(), applied.clone());
        marker.write(folder)?;
        let shards = keyspace.shards.iter().map(|shard| {
            let server = servers.get(roles.primary(layout, shard)).ok_or("a shard without server");
            let files = &files;
            async move { apply_shard(server?, &shard.database, files, begun).await }
        });
        futures_util::future::try_join_all(shards)
            .await
            .map_err(|why| format!("keyspace {}: {why}", keyspace.name))?;
        applied.files = Some(hashes);
        marker.keyspaces.insert(keyspace.name.clone(), applied);
        marker.write(folder)?;
    }
    Ok(())
}

/// `begun`: an earlier run was cut off in the middle of this; nobody has been served since.
async fn apply_shard(
    server: &Mysqld,
    database: &str,
    files: &[(String, String)],
    begun: bool,
) -> Result<(), String> {
    let failed = |error: mysql_async::Error| format!("database {database}: {error}");
    let mut conn = server.connect(None).await.map_err(failed)?;
    if begun {
        conn.query_drop(format!("DROP DATABASE IF EXISTS `{database}`")).await.map_err(failed)?;
    }
    conn.query_drop(format!("CREATE DATABASE `{database}`")).await.map_err(failed)?;
    conn.query_drop(format!("USE `{database}`")).await.map_err(failed)?;
    for (name, text) in files {
        if !text.trim().is_empty() {
            conn.query_drop(text).await.map_err(|error| format!("{name}: {error}"))?;
        }
    }
    conn.disconnect().await.map_err(failed)
}

fn read_files(keyspace: &KeyspaceLayout) -> Result<Vec<(String, String)>, String> {
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok((name, text))
    };
    keyspace.sql.iter().map(read).collect()
}

fn hash(text: &str) -> String {
    format!("{:016x}", xxhash_rust::xxh64::xxh64(text.as_bytes(), 0))
}

// === impl KeyspaceLayout ===

impl KeyspaceLayout {
    fn databases(&self) -> Vec<String> {
        self.shards.iter().map(|shard| shard.database.clone()).collect()
    }
}
