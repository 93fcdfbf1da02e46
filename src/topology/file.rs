//! How is a topology written by hand?
//!
//! One TOML file: cells, keyspaces, their shards with key ranges, and the servers of each shard.
//!
//! ```toml
//! cells = ["zone1"]
//! routing_rules = "routing_rules.json"            # optional; and keyspace_routing_rules, shard_routing_rules
//!
//! [keyspaces.service]
//! vschema = "service/vschema.json"                # optional; relative to this file
//!
//! [[keyspaces.service.shards]]
//! name = "-80"
//!
//! [[keyspaces.service.shards.servers]]
//! alias = "zone1-100"
//! host = "10.0.0.1"
//! port = 3306                                     # 3306 unless told; or: socket = "/run/mysqld.sock"
//! role = "primary"                                # "primary", "replica" or "rdonly"
//! schema = "service"                              # the physical database; the keyspace's name unless told
//! ```
//!
//! Every fault is told at once, each with the place where it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::{Table, Value};

use super::{Address, Keyspace, Shard, Snapshot, Tablet, TabletAlias, TabletType};
use crate::config::{not_toml, unknown};
use crate::key::{KeyRange, validate_shards};

/// A topology as its file says it.
#[derive(Debug, Clone, PartialEq)]
pub struct TopologyFile {
    /// The keyspaces, shards and servers.
    pub snapshot: Snapshot,
    /// The VSchema file of each keyspace that names one.
    pub vschemas: BTreeMap<Arc<str>, PathBuf>,
    /// The file of routing rules for tables, if any.
    pub routing_rules: Option<PathBuf>,
    /// The file of those for keyspaces.
    pub keyspace_routing_rules: Option<PathBuf>,
    /// The file of those for shards.
    pub shard_routing_rules: Option<PathBuf>,
}

/// What is wrong with a topology file: one sentence per fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopologyFaults(pub Vec<String>);

/// Reads values, and notes what is wrong with them.
struct Reader {
    cells: BTreeSet<String>,
    aliases: BTreeSet<TabletAlias>,
    places: HashMap<(Address, Arc<str>), TabletAlias>,
    faults: Vec<String>,
}

/// One table of the file, with its place for messages.
struct Section<'a> {
    place: String,
    table: &'a Table,
}

// === impl TopologyFile ===

impl TopologyFile {
    /// Reads the text of a file. Paths are taken relative to `folder`.
    ///
    /// # Errors
    /// Every fault: unknown keys, missing or doubled names, shards that do not cover all ids.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, TopologyFaults> {
        let table: Table = text.parse().map_err(|error| TopologyFaults(vec![not_toml(text, &error)]))?;
        let root = Section { place: String::new(), table: &table };
        let mut reader = Reader {
            cells: BTreeSet::new(),
            aliases: BTreeSet::new(),
            places: HashMap::new(),
            faults: Vec::new(),
        };
        reader.only(
            &root,
            &["cells", "keyspaces", "routing_rules", "keyspace_routing_rules", "shard_routing_rules"],
        );
        reader.cells(&root);
        let mut rules = |kind: &str| reader.string(&root, kind).map(|path| folder.join(path));
        let mut file = Self {
            snapshot: Snapshot::default(),
            vschemas: BTreeMap::new(),
            routing_rules: rules("routing_rules"),
            keyspace_routing_rules: rules("keyspace_routing_rules"),
            shard_routing_rules: rules("shard_routing_rules"),
        };
        match table.get("keyspaces") {
            Some(Value::Table(keyspaces)) if !keyspaces.is_empty() => {
                for (name, value) in keyspaces {
                    reader.keyspace(name, value, folder, &mut file);
                }
            }
            _ => reader.fault("there is no keyspace: write [keyspaces.NAME]".into()),
        }
        if reader.faults.is_empty() { Ok(file) } else { Err(TopologyFaults(reader.faults)) }
    }

    /// Every file that the topology is made of, beside the topology file itself.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let rules = [&self.routing_rules, &self.keyspace_routing_rules, &self.shard_routing_rules];
        self.vschemas.values().chain(rules.into_iter().flatten()).map(PathBuf::as_path)
    }
}

// === impl Reader ===

impl Reader {
    fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    fn cells(&mut self, root: &Section<'_>) {
        let Some(value) = root.table.get("cells") else { return };
        let names: Option<BTreeSet<String>> = value
            .as_array()
            .map(|all| all.iter().map(|cell| cell.as_str().map(ToOwned::to_owned)).collect())
            .unwrap_or_default();
        match names {
            Some(names) if !names.is_empty() => self.cells = names,
            _ => self.fault("cells must be a list of names, like [\"zone1\"]".into()),
        }
    }

    fn keyspace(&mut self, name: &str, value: &Value, folder: &Path, file: &mut TopologyFile) {
        let place = format!("keyspaces.{name}");
        let Some(table) = value.as_table() else {
            return self.fault(format!("{place} must be a section: write [{place}]"));
        };
        // '/', ':' and '@' part a target string (`USE ks:shard@replica`).
        if name.is_empty() || name.len() > 64 || name.contains(['/', ':', '@', '[', ']', '`']) {
            self.fault(format!("{place}: this is not a keyspace name"));
        }
        let section = Section { place, table };
        self.only(&section, &["vschema", "shards"]);
        let name: Arc<str> = name.into();
        if let Some(path) = self.string(&section, "vschema") {
            file.vschemas.insert(Arc::clone(&name), folder.join(path));
        }
        let sections = self.list(&section, "shards");
        let mut shards: Vec<_> =
            sections.iter().filter_map(|shard| self.shard(&name, shard)).map(Arc::new).collect();
        let names: Vec<_> = shards.iter().map(|shard| &shard.name).collect();
        match validate_shards(&names) {
            Ok(order) => shards = order.into_iter().map(|index| Arc::clone(&shards[index])).collect(),
            Err(why) => self.fault(format!("{}: {why}", section.place)),
        }
        file.snapshot.keyspaces.insert(Arc::clone(&name), Keyspace { name, shards });
    }

    fn shard(&mut self, keyspace: &Arc<str>, section: &Section<'_>) -> Option<Shard> {
        self.only(section, &["name", "servers"]);
        let name: Arc<str> = self.required(section, "name")?.into();
        let section = Section { place: format!("shard {keyspace}/{name}"), table: section.table };
        let range =
            KeyRange::parse(&name).map_err(|why| self.fault(format!("{}: {why}", section.place))).ok()?;
        let mut tablets: Vec<Arc<Tablet>> = Vec::new();
        for server in self.list(&section, "servers") {
            if let Some(tablet) = self.server(keyspace, &name, &server) {
                tablets.push(Arc::new(tablet));
            }
        }
        if tablets.iter().filter(|tablet| tablet.kind == TabletType::Primary).count() > 1 {
            self.fault(format!("{}: two of its servers are primary", section.place));
        }
        Some(Shard { keyspace: Arc::clone(keyspace), name, range, tablets })
    }

    fn server(&mut self, keyspace: &Arc<str>, shard: &Arc<str>, section: &Section<'_>) -> Option<Tablet> {
        self.only(section, &["alias", "host", "port", "socket", "role", "schema"]);
        let alias = self.required(section, "alias")?;
        let section = Section { place: format!("server {alias}"), table: section.table };
        let address = self.address(&section);
        let kind = self.role(&section);
        let schema = self.string(&section, "schema").map_or_else(|| Arc::clone(keyspace), Arc::from);
        let alias = self.alias(&alias)?;
        let (address, kind) = (address?, kind?);
        if !self.aliases.insert(alias.clone()) {
            self.fault(format!("{}: another server has the same alias", section.place));
        }
        if let Some(other) = self.places.insert((address.clone(), Arc::clone(&schema)), alias.clone()) {
            self.fault(format!("{}: server {other} has the same address and schema", section.place));
        }
        Some(Tablet {
            alias,
            keyspace: Arc::clone(keyspace),
            shard: Arc::clone(shard),
            kind,
            address,
            schema,
        })
    }

    fn address(&mut self, section: &Section<'_>) -> Option<Address> {
        let (host, socket) = (self.string(section, "host"), self.string(section, "socket"));
        let port = match section.table.get("port") {
            None => Some(3306),
            Some(value) => {
                value.as_integer().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
            }
        };
        let place = &section.place;
        let fault = match (host, socket, port) {
            (Some(host), None, Some(port)) => return Some(Address::Tcp { host, port }),
            (None, Some(path), _) if !section.table.contains_key("port") => {
                return Some(Address::Unix(path.into()));
            }
            (_, _, None) => format!("{place}: port must be a number from 1 to 65535"),
            (None, None, _) => format!("{place}: there is neither host nor socket"),
            _ => format!("{place}: socket excludes host and port"),
        };
        self.fault(fault);
        None
    }

    fn role(&mut self, section: &Section<'_>) -> Option<TabletType> {
        match self.required(section, "role")?.as_str() {
            "primary" => Some(TabletType::Primary),
            "replica" => Some(TabletType::Replica),
            "rdonly" => Some(TabletType::Rdonly),
            other => {
                let fault = format!("\"{other}\" is not one of \"primary\", \"replica\", \"rdonly\"");
                self.fault(format!("{}: role: {fault}", section.place));
                None
            }
        }
    }

    /// `zone1-100` and `zone1-0000000100` are the same alias.
    fn alias(&mut self, text: &str) -> Option<TabletAlias> {
        let parts = text.rsplit_once('-').filter(|(cell, _)| !cell.is_empty());
        let Some((cell, uid)) = parts.and_then(|(cell, uid)| Some((cell, uid.parse().ok()?))) else {
            self.fault(format!("server {text}: an alias is a cell and a number, like \"zone1-100\""));
            return None;
        };
        if !self.cells.is_empty() && !self.cells.contains(cell) {
            self.fault(format!("server {text}: \"{cell}\" is not among the cells"));
        }
        Some(TabletAlias { cell: cell.into(), uid })
    }

    fn only(&mut self, section: &Section<'_>, known: &[&str]) {
        for key in section.table.keys().filter(|key| !known.contains(&key.as_str())) {
            let full =
                if section.place.is_empty() { key.clone() } else { format!("{key} in {}", section.place) };
            self.fault(unknown("key", &full, key, known));
        }
    }

    fn string(&mut self, section: &Section<'_>, key: &str) -> Option<String> {
        let value = section.table.get(key)?;
        match value.as_str() {
            Some(text) if !text.is_empty() => Some(text.to_owned()),
            _ => {
                let place =
                    if section.place.is_empty() { String::new() } else { format!("{}: ", section.place) };
                self.fault(format!("{place}{key} must be a string that is not empty"));
                None
            }
        }
    }

    fn required(&mut self, section: &Section<'_>, key: &str) -> Option<String> {
        if !section.table.contains_key(key) {
            self.fault(format!("{}: there is no {key}", section.place));
        }
        self.string(section, key)
    }

    /// The tables of a list that must not be empty.
    fn list<'a>(&mut self, section: &Section<'a>, key: &str) -> Vec<Section<'a>> {
        let place = &section.place;
        let tables: Option<Vec<&Table>> = section
            .table
            .get(key)
            .and_then(Value::as_array)
            .and_then(|all| all.iter().map(Value::as_table).collect());
        match tables {
            Some(tables) if !tables.is_empty() => tables
                .into_iter()
                .enumerate()
                .map(|(index, table)| Section { place: format!("{place}, {key} {}", index + 1), table })
                .collect(),
            _ => {
                self.fault(format!("{place}: there are no {key}"));
                Vec::new()
            }
        }
    }
}

impl fmt::Display for TopologyFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for TopologyFaults {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TWO_SHARDS: &str = r#"
        cells = ["zone1"]
        [keyspaces.ks]
        vschema = "ks/vschema.json"
        [[keyspaces.ks.shards]]
        name = "80-"
        servers = [{ alias = "zone1-200", host = "b", role = "primary", schema = "ks_80-" }]
        [[keyspaces.ks.shards]]
        name = "-80"
        servers = [
            { alias = "zone1-0000000100", host = "a", port = 3307, role = "primary" },
            { alias = "zone1-101", socket = "/run/a.sock", role = "replica" },
        ]
    "#;

    fn faults(text: &str) -> Vec<String> {
        TopologyFile::parse(text, Path::new("/etc")).unwrap_err().0
    }

    #[test]
    fn shards_come_in_the_order_of_their_ranges() {
        let file = TopologyFile::parse(TWO_SHARDS, Path::new("/etc")).unwrap();
        assert_eq!(file.vschemas["ks"], Path::new("/etc/ks/vschema.json"));
        let shards = &file.snapshot.keyspaces["ks"].shards;
        assert_eq!(shards.iter().map(|shard| &*shard.name).collect::<Vec<_>>(), ["-80", "80-"]);
        let primary = shards[0].primary().unwrap();
        assert_eq!(primary.alias.to_string(), "zone1-0000000100");
        assert_eq!(primary.address, Address::Tcp { host: "a".into(), port: 3307 });
        assert_eq!(&*primary.schema, "ks");
        assert_eq!(shards[0].tablets[1].address, Address::Unix("/run/a.sock".into()));
        assert_eq!(&*shards[1].primary().unwrap().schema, "ks_80-");
    }

    #[test]
    fn gaps_and_overlaps_are_named() {
        let gap = TWO_SHARDS.replace("\"80-\"", "\"c0-\"");
        assert_eq!(faults(&gap), ["keyspaces.ks: no shard owns the key range 80-c0"]);
        let overlap = TWO_SHARDS.replace("\"80-\"", "\"40-\"");
        assert_eq!(faults(&overlap), ["keyspaces.ks: shards '-80' and '40-' overlap"]);
    }

    #[test]
    fn doubles_and_strangers_are_named() {
        let text = TWO_SHARDS
            .replace("zone1-200", "zone2-100")
            .replace("zone1-101", "zone1-100")
            .replace("host = \"b\"", "host = \"a\", port = 3307, colour = 1")
            .replace("ks_80-", "ks");
        assert_eq!(
            faults(&text),
            [
                "there is no key colour in shard ks/80-, servers 1; did you mean \"role\"?",
                "server zone2-100: \"zone2\" is not among the cells",
                "server zone1-0000000100: server zone2-0000000100 has the same address and schema",
                "server zone1-100: another server has the same alias",
            ]
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(faults(""), ["there is no keyspace: write [keyspaces.NAME]"]);
        assert_eq!(
            faults("[keyspaces.a]"),
            ["keyspaces.a: there are no shards", "keyspaces.a: no shard in keyspace"]
        );
        let text =
            "[[keyspaces.a.shards]]\nname = '0'\nservers = [{alias = 'x'}, {alias = 'z-1', role = 'boss'}]";
        assert_eq!(
            faults(text),
            [
                "server x: there is neither host nor socket",
                "server x: there is no role",
                "server x: an alias is a cell and a number, like \"zone1-100\"",
                "server z-1: there is neither host nor socket",
                "server z-1: role: \"boss\" is not one of \"primary\", \"replica\", \"rdonly\"",
            ]
        );
    }

    #[test]
    fn two_primaries_are_refused() {
        let text = TWO_SHARDS.replace("\"replica\"", "\"primary\"");
        assert_eq!(faults(&text), ["shard ks/-80: two of its servers are primary"]);
    }

    proptest! {
        #[test]
        fn any_text_gives_a_topology_or_faults(text in ".{0,200}") {
            let _ = TopologyFile::parse(&text, Path::new("/"));
        }
    }
}
