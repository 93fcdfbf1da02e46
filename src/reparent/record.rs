//! How does a new primary get into the topology?
//!
//! In etcd by the records of shard and tablets, under the shard's lock. A topology file that a program
//! wrote (`shardgate dev`) is written anew with the two roles changed. A file with comments was written
//! by a person: it is left alone, and the person reads what to change.

use std::path::{Path, PathBuf};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use toml::{Table, Value};

use super::planned::Record;
use crate::topology::Tablet;
use crate::topology::directory::Directory;
use crate::topology::lock::Lock;

/// The records in etcd, and the lock of the shard.
#[derive(Debug)]
pub struct DirectoryRecord<'d> {
    /// Where the records are.
    pub directory: &'d Directory,
    /// The shard's lock, held since before its records were read.
    pub lock: &'d Lock,
}

/// A topology file.
#[derive(Debug, Clone)]
pub struct FileRecord(pub PathBuf);

// === impl DirectoryRecord ===

impl Record for DirectoryRecord<'_> {
    fn check(&self) -> Result<(), String> {
        self.is_held()
    }

    fn is_held(&self) -> Result<(), String> {
        self.lock.check().map_err(|error| error.to_string())
    }

    fn record<'a>(&'a self, new: &'a Tablet, _: Option<&'a Tablet>) -> BoxFuture<'a, Result<(), String>> {
        async move {
            let promoted = self.directory.make_primary_locked(&new.alias, self.lock).await;
            promoted.map(drop).map_err(|error| error.to_string())
        }
        .boxed()
    }
}

// === impl FileRecord ===

impl FileRecord {
    fn write(&self, new: &Tablet, old: Option<&Tablet>) -> Result<(), String> {
        let path = &self.0;
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
        let by_hand = || {
            let old = old.map(|old| format!(" and role = \"replica\" for {}", old.alias)).unwrap_or_default();
            format!("{}: write role = \"primary\" for {}{old}", path.display(), new.alias)
        };
        if has_comments(&text) {
            return Err(format!(
                "the file has comments, which would be lost; please change it yourself. {}",
                by_hand()
            ));
        }
        let mut root: Table = text.parse().map_err(|error| failed(&error))?;
        let changed = set_roles(&mut root, new, old);
        if !changed {
            return Err(format!("the server is not found there. {}", by_hand()));
        }
        replace(path, &root.to_string()).map_err(|error| failed(&error))
    }
}

impl Record for FileRecord {
    fn check(&self) -> Result<(), String> {
        let path = self.0.display();
        match std::fs::read_to_string(&self.0) {
            Ok(text) if has_comments(&text) => Err(format!(
                "{path} has comments, which would be lost: it is a person's file, in which the person changes the roles"
            )),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{path}: {error}")),
        }
    }

    fn record<'a>(&'a self, new: &'a Tablet, old: Option<&'a Tablet>) -> BoxFuture<'a, Result<(), String>> {
        async move { self.write(new, old) }.boxed()
    }
}

fn has_comments(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with('#') || line.contains(" #"))
}

/// Sets the two roles; false where the new primary is not in the file.
fn set_roles(root: &mut Table, new: &Tablet, old: Option<&Tablet>) -> bool {
    let mut found = false;
    let keyspaces = root.get_mut("keyspaces").and_then(Value::as_table_mut).into_iter();
    let shards = keyspaces
        .flat_map(|keyspaces| keyspaces.iter_mut())
        .filter_map(|(_, keyspace)| keyspace.get_mut("shards").and_then(Value::as_array_mut))
        .flatten();
    let servers = shards.filter_map(|shard| shard.get_mut("servers").and_then(Value::as_array_mut)).flatten();
    for server in servers.filter_map(Value::as_table_mut) {
        let alias = server.get("alias").and_then(Value::as_str).unwrap_or_default();
        let is = |tablet: &Tablet| {
            alias
                .rsplit_once('-')
                .is_some_and(|(cell, uid)| cell == &*tablet.alias.cell && uid.parse() == Ok(tablet.alias.uid))
        };
        let role = if is(new) {
            found = true;
            "primary"
        } else if old.is_some_and(is) {
            "replica"
        } else {
            continue;
        };
        server.insert("role".to_owned(), role.into());
    }
    found
}

/// Replaces a file as a whole: a reader sees the old or the new text.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::File::open(&new)?.sync_all()?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::TabletType;
    use crate::topology::file::TopologyFile;

    const TEXT: &str = r#"
cells = ["zone1"]
[[keyspaces.ks.shards]]
name = "0"
servers = [{ alias = "zone1-1", host = "a", role = "primary" }, { alias = "zone1-0000000002", host = "b", role = "replica" }]
"#;

    fn roles(text: &str) -> Vec<(u32, TabletType)> {
        let file = TopologyFile::parse(text, Path::new("/")).unwrap();
        let shard = &file.snapshot.keyspaces["ks"].shards[0];
        shard.tablets.iter().map(|tablet| (tablet.alias.uid, tablet.kind)).collect()
    }

    #[test]
    fn roles_change_places() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("topology.toml");
        std::fs::write(&path, TEXT).unwrap();
        let file = TopologyFile::parse(TEXT, dir.path()).unwrap();
        let tablets = &file.snapshot.keyspaces["ks"].shards[0].tablets;
        let record = FileRecord(path.clone());
        record.write(&tablets[1], Some(&tablets[0])).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(roles(&text), [(1, TabletType::Replica), (2, TabletType::Primary)]);
        std::fs::write(&path, format!("# mine\n{TEXT}")).unwrap();
        let told = record.write(&tablets[1], Some(&tablets[0])).unwrap_err();
        assert!(
            told.contains(
                "role = \"primary\" for zone1-0000000002 and role = \"replica\" for zone1-0000000001"
            ),
            "{told}"
        );
    }
}
