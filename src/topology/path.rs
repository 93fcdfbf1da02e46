//! Under which key is each record of a topology?
//!
//! A key is a root (the global one, or that of a cell) joined with one of these paths. The layout is
//! Vitess's (`go/vt/topo`).

use super::TabletAlias;

/// Table routing rules.
pub const ROUTING_RULES: &str = "RoutingRules";
/// Shard routing rules.
pub const SHARD_ROUTING_RULES: &str = "ShardRoutingRules";
/// Keyspace routing rules.
pub const KEYSPACE_ROUTING_RULES: &str = "routing_rules/keyspace/Rules";
/// The folder whose lock guards the keyspace routing rules.
pub const KEYSPACE_ROUTING_RULES_FOLDER: &str = "routing_rules/keyspace";
/// Mirror rules.
pub const MIRROR_RULES: &str = "MirrorRules";
/// What a cell's gates read.
pub const SRV_VSCHEMA: &str = "SrvVSchema";
/// The folder of the global keyspaces.
pub const KEYSPACES: &str = "keyspaces";
/// The folder of a cell's tablets.
pub const TABLETS: &str = "tablets";
/// The folder of cells.
pub const CELLS: &str = "cells";
/// The folder of aliases of cells.
pub const CELLS_ALIASES: &str = "cells_aliases";

/// A record that a gate reads, by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known<'a> {
    /// A cell.
    CellInfo(&'a str),
    /// A set of cells.
    CellsAlias(&'a str),
    /// The primary of a shard, and what is switched off there.
    Shard {
        /// The keyspace's name.
        keyspace: &'a str,
        /// The shard's name.
        shard: &'a str,
    },
    /// A server.
    Tablet(&'a str),
    /// The serving shards of a keyspace.
    SrvKeyspace(&'a str),
    /// All tables and rules.
    SrvVSchema,
}

/// `cells/zone1/CellInfo`
#[must_use]
pub fn cell_info(cell: &str) -> String {
    format!("{CELLS}/{cell}/CellInfo")
}

/// `cells_aliases/west/CellsAlias`
#[must_use]
pub fn cells_alias(alias: &str) -> String {
    format!("{CELLS_ALIASES}/{alias}/CellsAlias")
}

/// `keyspaces/ks`, the folder that a keyspace's lock is in.
#[must_use]
pub fn keyspace_folder(keyspace: &str) -> String {
    format!("{KEYSPACES}/{keyspace}")
}

/// `keyspaces/ks/Keyspace`
#[must_use]
pub fn keyspace(keyspace: &str) -> String {
    format!("{KEYSPACES}/{keyspace}/Keyspace")
}

/// `keyspaces/ks/VSchema`
#[must_use]
pub fn vschema(keyspace: &str) -> String {
    format!("{KEYSPACES}/{keyspace}/VSchema")
}

/// `keyspaces/ks/shards`
#[must_use]
pub fn shards(keyspace: &str) -> String {
    format!("{KEYSPACES}/{keyspace}/shards")
}

/// `keyspaces/ks/shards/-80`, the folder that a shard's lock is in.
#[must_use]
pub fn shard_folder(keyspace: &str, shard: &str) -> String {
    format!("{KEYSPACES}/{keyspace}/shards/{shard}")
}

/// `keyspaces/ks/shards/-80/Shard`
#[must_use]
pub fn shard(keyspace: &str, shard: &str) -> String {
    format!("{KEYSPACES}/{keyspace}/shards/{shard}/Shard")
}

/// `tablets/zone1-0000000100/Tablet`, in the cell.
#[must_use]
pub fn tablet(alias: &TabletAlias) -> String {
    format!("{TABLETS}/{alias}/Tablet")
}

/// `keyspaces/ks/SrvKeyspace`, in the cell.
#[must_use]
pub fn srv_keyspace(keyspace: &str) -> String {
    format!("{KEYSPACES}/{keyspace}/SrvKeyspace")
}

/// `keyspaces/ks/shards/-80/ShardReplication`, in the cell.
#[must_use]
pub fn shard_replication(keyspace: &str, shard: &str) -> String {
    format!("{KEYSPACES}/{keyspace}/shards/{shard}/ShardReplication")
}

impl<'a> Known<'a> {
    /// What a gate reads at this path; none for everything else (locks, workflows, …).
    #[must_use]
    pub fn of(path: &'a str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').collect();
        Some(match parts.as_slice() {
            [SRV_VSCHEMA] => Self::SrvVSchema,
            [CELLS, cell, "CellInfo"] => Self::CellInfo(cell),
            [CELLS_ALIASES, alias, "CellsAlias"] => Self::CellsAlias(alias),
            [TABLETS, alias, "Tablet"] => Self::Tablet(alias),
            [KEYSPACES, keyspace, "SrvKeyspace"] => Self::SrvKeyspace(keyspace),
            [KEYSPACES, keyspace, "shards", shard, "Shard"] => Self::Shard { keyspace, shard },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_known_again() {
        let alias = TabletAlias { cell: "zone1".into(), uid: 100 };
        assert_eq!(tablet(&alias), "tablets/zone1-0000000100/Tablet");
        assert_eq!(Known::of(&tablet(&alias)), Some(Known::Tablet("zone1-0000000100")));
        assert_eq!(Known::of(&shard("ks", "-80")), Some(Known::Shard { keyspace: "ks", shard: "-80" }));
        assert_eq!(Known::of(&srv_keyspace("ks")), Some(Known::SrvKeyspace("ks")));
        assert_eq!(Known::of(&cell_info("zone1")), Some(Known::CellInfo("zone1")));
        assert_eq!(Known::of(&cells_alias("west")), Some(Known::CellsAlias("west")));
        for other in [&vschema("ks"), &shard_replication("ks", "0"), "keyspaces/ks/locks/123", "", "/"] {
            assert_eq!(Known::of(other), None, "{other}");
        }
    }
}
