//! What does `USE` select: a keyspace, a shard, a key range, a tablet type?
//!
//! The grammar is Vitess's (`go/vt/topo/topoproto/destination.go`): a keyspace, then optionally
//! `:shard`, `/shard`, `[hex id]` or `[start-end]`, then optionally `@type`. The last `@` is split
//! first, so that a keyspace name may hold one. `USE @replica` keeps "any keyspace".

use std::fmt;
use std::sync::Arc;

use crate::error::{Result, SqlError};
use crate::key::{Destination, KeyRange, KeyspaceId};
use crate::sql::is_system_schema;
use crate::topology::{Snapshot, TabletType};

/// What a session has selected.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The keyspace; none before the first USE.
    pub keyspace: Option<Arc<str>>,
    /// A shard, id or range that every statement goes to, past the planner.
    pub destination: Option<Destination>,
    /// Which kind of server answers.
    pub tablet_type: TabletType,
}

// === impl Target ===

impl Target {
    /// No keyspace, primaries.
    pub const NONE: Self = Self { keyspace: None, destination: None, tablet_type: TabletType::Primary };

    /// Reads a target and checks it against the topology.
    ///
    /// # Errors
    /// 1049 for a keyspace or shard that does not exist, or a text that is no target.
    pub fn parse(text: &str, topology: &Snapshot) -> Result<Self> {
        let unknown = || SqlError::unknown_database(text);
        let (place, tablet_type) = split_type(text).ok_or_else(unknown)?;
        let (name, destination) = split_destination(place).ok_or_else(unknown)?;
        if name.is_empty() {
            return if destination.is_none() && place.len() < text.len() {
                Ok(Self { keyspace: None, destination: None, tablet_type })
            } else {
                Err(unknown())
            };
        }
        // MySQL's own schemas are on every server.
        if destination.is_none()
            && is_system_schema(name.as_bytes())
            && !topology.keyspaces.contains_key(name)
        {
            return Ok(Self { keyspace: Some(name.into()), destination, tablet_type });
        }
        let keyspace = topology.keyspaces.get(name).ok_or_else(|| SqlError::unknown_database(name))?;
        if let Some(Destination::Shard(shard)) = &destination
            && !keyspace.shards.iter().any(|known| *known.name == **shard)
        {
            return Err(SqlError::unknown_shard(name, shard));
        }
        Ok(Self { keyspace: Some(Arc::clone(&keyspace.name)), destination, tablet_type })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.keyspace.as_deref().unwrap_or_default())?;
        match &self.destination {
            Some(Destination::Shard(shard)) => write!(f, ":{shard}")?,
            Some(Destination::Id(id)) => write!(f, "[{id}]")?,
            Some(Destination::Range(range)) => write!(f, "[{range}]")?,
            _ => {}
        }
        match self.tablet_type {
            TabletType::Primary => Ok(()),
            other => write!(f, "@{}", other.as_str()),
        }
    }
}

fn split_type(text: &str) -> Option<(&str, TabletType)> {
    let Some((place, word)) = text.rsplit_once('@') else {
        return Some((text, TabletType::Primary));
    };
    let tablet_type = match word.to_ascii_lowercase().as_str() {
        "primary" | "master" => TabletType::Primary,
        "replica" => TabletType::Replica,
        "rdonly" => TabletType::Rdonly,
        _ => return None,
    };
    Some((place, tablet_type))
}

fn split_destination(place: &str) -> Option<(&str, Option<Destination>)> {
    if let Some((name, rest)) = place.split_once('[') {
        let inner = rest.strip_suffix(']')?;
        let destination = if inner.contains('-') {
            Destination::Range(KeyRange::parse(inner).ok()?)
        } else {
            let bytes = hex::decode(inner).ok().filter(|bytes| !bytes.is_empty())?;
            Destination::Id(KeyspaceId::from(bytes))
        };
        return Some((name, Some(destination)));
    }
    match place.split_once([':', '/']) {
        Some((_, "")) => None,
        Some((name, shard)) => Some((name, Some(Destination::Shard(shard.to_owned())))),
        None => Some((place, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Keyspace, Shard};

    fn topology() -> Snapshot {
        let shard = |name: &str| {
            Arc::new(Shard {
                keyspace: Arc::from("ks"),
                name: Arc::from(name),
                range: KeyRange::parse(name).expect("a range"),
                tablets: Vec::new(),
            })
        };
        let keyspace = Keyspace { name: Arc::from("ks"), shards: vec![shard("-80"), shard("80-")] };
        Snapshot { keyspaces: [(Arc::from("ks"), keyspace)].into(), ..Snapshot::default() }
    }

    #[test]
    fn every_form_of_a_target_reads_back_as_written() {
        for text in [
            "ks",
            "ks:-80",
            "ks[-80]",
            "ks[a0]",
            "ks@replica",
            "ks:80-@rdonly",
            "information_schema",
            "mysql",
        ] {
            let target = Target::parse(text, &topology()).expect(text);
            assert_eq!(target.to_string(), text);
        }
        let slash = Target::parse("ks/-80", &topology()).expect("ks/-80");
        assert_eq!(slash.to_string(), "ks:-80");
        assert_eq!(Target::parse("@replica", &topology()).expect("@replica").keyspace, None);
    }

    #[test]
    fn what_is_not_there_is_unknown() {
        for text in ["other", "ks:90-", "ks@nobody", "ks[zz]", "ks[80", "", "ks:", ":-80", "ks[]"] {
            assert_eq!(Target::parse(text, &topology()).expect_err(text).code(), 1049, "{text}");
        }
    }
}
