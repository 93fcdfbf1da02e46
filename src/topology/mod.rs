//! Which keyspaces, shards and servers exist, and where are they?
//!
//! A [`Snapshot`] is immutable; a change of the topology makes a new one. A query works to its end
//! on the snapshot that it began with.

mod alter;
mod assemble;
mod cache;
mod describe;
pub mod directory;
mod etcd;
pub mod file;
pub mod file_lock;
mod file_records;
mod files;
mod image;
pub mod lock;
pub mod mark;
pub mod path;
mod reroute;
pub mod roles;
mod servers;
pub mod store;
pub mod watch;
pub mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::key::KeyRange;

pub use crate::key::TabletType;
pub use reroute::Reroutes;

/// The whole topology at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// Keyspaces by name.
    pub keyspaces: BTreeMap<Arc<str>, Keyspace>,
    /// What shard routing rules say: shards whose statements go elsewhere.
    pub reroutes: Reroutes,
}

/// One keyspace: a logical database.
#[derive(Debug, Clone, PartialEq)]
pub struct Keyspace {
    /// Its name.
    pub name: Arc<str>,
    /// Its serving shards, in order of their key ranges; they tile the id space.
    pub shards: Vec<Arc<Shard>>,
}

/// One shard: a key range of a keyspace.
#[derive(Debug, PartialEq)]
pub struct Shard {
    /// The keyspace's name.
    pub keyspace: Arc<str>,
    /// `-80`, `80-`, `0`, …
    pub name: Arc<str>,
    /// The ids it owns.
    pub range: KeyRange,
    /// Its servers.
    pub tablets: Vec<Arc<Tablet>>,
}

/// `zone1-0000000101`: a server's stable name in alerts and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TabletAlias {
    /// The cell (availability zone).
    pub cell: Arc<str>,
    /// Unique within the cell.
    pub uid: u32,
}

/// Where a MySQL server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP.
    Tcp {
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A unix socket.
    Unix(std::path::PathBuf),
}

/// One MySQL server in the role that it has for one shard.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Tablet {
    /// Its name.
    pub alias: TabletAlias,
    /// The keyspace of its shard.
    pub keyspace: Arc<str>,
    /// Its shard's name.
    pub shard: Arc<str>,
    /// Its role.
    pub kind: TabletType,
    /// Where it listens.
    pub address: Address,
    /// The physical database that holds the shard. The keyspace's own name where the server holds
    /// one shard only.
    pub schema: Arc<str>,
}

impl fmt::Display for TabletAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:010}", self.cell, self.uid)
    }
}

impl Shard {
    /// The server that takes writes.
    #[must_use]
    pub fn primary(&self) -> Option<&Arc<Tablet>> {
        self.tablets.iter().find(|tablet| tablet.kind == TabletType::Primary)
    }

    /// `keyspace/shard`, as in messages and `SHOW VITESS_SHARDS`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.keyspace, self.name)
    }
}

#[cfg(test)]
mod tests;
