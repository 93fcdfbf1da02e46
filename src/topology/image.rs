//! What do the records of a topology say, and which of them can be used?
//!
//! An [`Image`] mirrors the records of the global root and of each cell. Beside the mirror it keeps, for
//! each record, the last content that could be read: a record that turns bad changes nothing in force,
//! it only becomes a problem. A root whose anchor is missing (the gate's cell, the VSchema of the cell)
//! holds no topology, so that an etcd that has lost its data takes nothing away either.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::path::{self, Known};
use super::wire::{self, topodata, vschema};
use super::{TabletAlias, TabletType};
use crate::key::{KeyRange, validate_shards};
use crate::vschema::Source;

/// The records of all roots.
#[derive(Debug, Default)]
pub(super) struct Image {
    /// The global root's and the cells', by name; the global root is `global`.
    roots: BTreeMap<Arc<str>, Root>,
    own_cell: Arc<str>,
}

/// A record's path and bytes.
pub(super) type Content = (String, Arc<[u8]>);

/// The records of one root.
#[derive(Debug, Default)]
struct Root {
    /// Everything that a gate reads, as it is.
    mirror: BTreeMap<String, Arc<[u8]>>,
    /// The last content of each record that could be read.
    good: BTreeMap<String, (Arc<[u8]>, Parsed)>,
    /// Why records cannot be read, by path; an empty path concerns the root.
    problems: BTreeMap<String, String>,
}

/// A record that could be read.
#[derive(Debug, Clone)]
pub(super) enum Parsed {
    CellInfo(topodata::CellInfo),
    CellsAlias(topodata::CellsAlias),
    Shard(topodata::Shard),
    Tablet(Arc<topodata::Tablet>),
    SrvKeyspace(Arc<Serving>),
    SrvVSchema(Arc<Source>),
}

/// The shards that serve a keyspace, in order of their ranges.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Serving {
    /// Names and ranges.
    pub(super) shards: Vec<(Arc<str>, KeyRange)>,
    /// Shards that do not serve one type of tablet.
    pub(super) disabled: BTreeSet<(Arc<str>, TabletType)>,
}

/// The global root's name.
pub(super) const GLOBAL: &str = "global";

// === impl Image ===

impl Image {
    /// Knows nothing yet.
    #[must_use]
    pub(super) fn new(own_cell: &str) -> Self {
        Self { roots: BTreeMap::new(), own_cell: own_cell.into() }
    }

    /// Takes over everything that a root holds.
    pub(super) fn replace(&mut self, root: &str, records: impl IntoIterator<Item = Content>) {
        let known = records.into_iter().filter(|(path, _)| Known::of(path).is_some());
        let anchor = self.anchor(root);
        let root = self.roots.entry(root.into()).or_default();
        root.mirror = known.collect();
        root.read(anchor.as_deref(), None);
    }

    /// Takes over changes of single records; none is a record that was removed.
    pub(super) fn change(
        &mut self,
        root: &str,
        changes: impl IntoIterator<Item = (String, Option<Arc<[u8]>>)>,
    ) {
        let anchor = self.anchor(root);
        let root = self.roots.entry(root.into()).or_default();
        let mut changed = BTreeSet::new();
        for (path, bytes) in changes.into_iter().filter(|(path, _)| Known::of(path).is_some()) {
            match bytes {
                Some(bytes) => root.mirror.insert(path.clone(), bytes),
                None => root.mirror.remove(&path),
            };
            changed.insert(path);
        }
        // After a time without anchor, everything may have changed.
        let changed = (!root.problems.contains_key("")).then_some(changed);
        root.read(anchor.as_deref(), changed);
    }

    /// Forgets a cell.
    pub(super) fn forget(&mut self, root: &str) {
        self.roots.remove(root);
    }

    /// Every record in force, for the cache file: root, path, bytes.
    pub(super) fn contents(&self) -> impl Iterator<Item = (&str, &str, &[u8])> {
        self.roots.iter().flat_map(|(name, root)| {
            root.good.iter().map(|(path, (bytes, _))| (&**name, path.as_str(), &**bytes))
        })
    }

    /// Where the records of the cells to watch are: the gate's own, and those in `wanted` (names and
    /// aliases), or all, where `wanted` is empty.
    pub(super) fn cells(&self, wanted: &[String]) -> BTreeMap<Arc<str>, topodata::CellInfo> {
        let aliases = self.good(GLOBAL).filter_map(|(path, parsed)| match (Known::of(path)?, parsed) {
            (Known::CellsAlias(name), Parsed::CellsAlias(alias)) => Some((name, alias)),
            _ => None,
        });
        let mut names: BTreeSet<&str> = wanted.iter().map(String::as_str).collect();
        for (_, alias) in aliases.filter(|(name, _)| wanted.iter().any(|wanted| wanted == name)) {
            names.extend(alias.cells.iter().map(String::as_str));
        }
        let infos = self.good(GLOBAL).filter_map(|(path, parsed)| match (Known::of(path)?, parsed) {
            (Known::CellInfo(name), Parsed::CellInfo(info)) => Some((name, info)),
            _ => None,
        });
        infos
            .filter(|(name, _)| names.is_empty() || names.contains(name) || **name == *self.own_cell)
            .map(|(name, info)| (name.into(), info.clone()))
            .collect()
    }

    /// The gate's own cell.
    pub(super) fn own_cell(&self) -> &Arc<str> {
        &self.own_cell
    }

    /// The roots that have been read, and for each the names of its records in force.
    pub(super) fn good(&self, root: &str) -> impl Iterator<Item = (&str, &Parsed)> {
        let root = self.roots.get(root);
        root.into_iter().flat_map(|root| root.good.iter().map(|(path, (_, parsed))| (path.as_str(), parsed)))
    }

    /// One record in force.
    pub(super) fn find(&self, root: &str, path: &str) -> Option<&Parsed> {
        self.roots.get(root)?.good.get(path).map(|(_, parsed)| parsed)
    }

    /// The names of the cells that have been read.
    pub(super) fn cell_names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.roots.keys().filter(|name| ***name != *GLOBAL)
    }

    /// What cannot be read, one sentence each.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        self.roots.iter().flat_map(|(name, root)| {
            root.problems.iter().map(move |(path, why)| match path.as_str() {
                "" => format!("{name}: {why}"),
                path => format!("{name}: {path}: {why}"),
            })
        })
    }

    /// The record without which a root holds no topology.
    fn anchor(&self, root: &str) -> Option<String> {
        match root {
            GLOBAL => Some(path::cell_info(&self.own_cell)),
            own if *own == *self.own_cell => Some(path::SRV_VSCHEMA.to_owned()),
            _ => None,
        }
    }
}

// === impl Root ===

impl Root {
    /// Reads the changed records, or all of them.
    fn read(&mut self, anchor: Option<&str>, changed: Option<BTreeSet<String>>) {
        if let Some(anchor) = anchor.filter(|anchor| !self.mirror.contains_key(*anchor)) {
            self.problems = BTreeMap::from([(String::new(), format!("there is no {anchor}"))]);
            return;
        }
        let changed = changed.unwrap_or_else(|| {
            self.problems.clear();
            self.mirror.keys().chain(self.good.keys()).cloned().collect()
        });
        for path in changed {
            self.problems.remove(&path);
            let Some(bytes) = self.mirror.get(&path) else {
                self.good.remove(&path);
                continue;
            };
            let last = self.good.get(&path);
            if last.is_some_and(|(good, _)| good == bytes) {
                continue;
            }
            match Parsed::of(&path, bytes, last.map(|(_, parsed)| parsed)) {
                Ok((parsed, problem)) => {
                    self.good.insert(path.clone(), (Arc::clone(bytes), parsed));
                    self.problems.extend(problem.map(|problem| (path, problem)));
                }
                Err(why) => {
                    self.problems.insert(path, why);
                }
            }
        }
    }
}

// === impl Parsed ===

impl Parsed {
    /// Reads a record. A part of it may be kept as it last was, which the second result tells.
    fn of(path: &str, bytes: &[u8], last: Option<&Self>) -> Result<(Self, Option<String>), String> {
        let whole = |parsed| Ok((parsed, None));
        match Known::of(path) {
            Some(Known::CellInfo(_)) => whole(Self::CellInfo(wire::decode(bytes)?)),
            Some(Known::CellsAlias(_)) => whole(Self::CellsAlias(wire::decode(bytes)?)),
            Some(Known::Shard { .. }) => whole(Self::Shard(wire::decode(bytes)?)),
            Some(Known::Tablet(name)) => whole(Self::Tablet(Arc::new(tablet(name, bytes)?))),
            Some(Known::SrvKeyspace(_)) => {
                let serving = Serving::of(&wire::decode(bytes)?)?;
                let served = |last: &Self| matches!(last, Self::SrvKeyspace(last) if !last.shards.is_empty());
                if serving.shards.is_empty() && last.is_some_and(served) {
                    return Err("no shard serves any more".into());
                }
                whole(Self::SrvKeyspace(Arc::new(serving)))
            }
            Some(Known::SrvVSchema) => {
                let last = match last {
                    Some(Self::SrvVSchema(last)) => Some(&**last),
                    _ => None,
                };
                let (source, problem) = source(&wire::decode(bytes)?, last);
                Ok((Self::SrvVSchema(Arc::new(source)), problem))
            }
            None => Err("a gate does not read this record".into()),
        }
    }
}

/// Reads a tablet, and refuses one that is not where it says it is.
fn tablet(name: &str, bytes: &[u8]) -> Result<topodata::Tablet, String> {
    let tablet: topodata::Tablet = wire::decode(bytes)?;
    let alias = tablet.alias.as_ref().ok_or("the tablet has no alias")?;
    let alias = TabletAlias::from(alias).to_string();
    if alias != name {
        return Err(format!("the record is that of {alias}"));
    }
    if !(0..=65_535).contains(&tablet.mysql_port) {
        return Err(format!("{} is not a port", tablet.mysql_port));
    }
    Ok(tablet)
}

/// Reads the VSchemas of all keyspaces. A keyspace that cannot be read stays as it last was.
fn source(record: &vschema::SrvVSchema, last: Option<&Source>) -> (Source, Option<String>) {
    let (mut source, faults) = wire::readable(record);
    let mut problems = Vec::new();
    for (name, why) in faults {
        problems.push(format!("keyspace {name}: {why}"));
        if let Some(last) = last.and_then(|last| last.keyspaces.get(&name)) {
            source.keyspaces.insert(name, last.clone());
        }
    }
    (source, (!problems.is_empty()).then(|| problems.join("; ")))
}

// === impl Serving ===

impl Serving {
    /// Reads which shards serve. The list of the primaries counts: during a reshard the other types
    /// may be served by other shards, whose rows are the same.
    fn of(record: &topodata::SrvKeyspace) -> Result<Self, String> {
        let of_type =
            |kind| record.partitions.iter().filter(move |partition| partition.served_type() == kind);
        let mut serving = Self::default();
        let mut primaries = of_type(topodata::TabletType::Primary);
        let references = match (primaries.next(), primaries.next()) {
            (None, _) => return Ok(serving),
            (Some(_), Some(_)) => return Err("two partitions are for primaries".into()),
            (Some(one), None) => &one.shard_references,
        };
        if references.is_empty() {
            return Ok(serving);
        }
        let mut shards = Vec::with_capacity(references.len());
        for reference in references {
            let range = KeyRange::parse(&reference.name)?;
            let recorded = reference.key_range.as_ref().map_or(KeyRange::FULL, KeyRange::from);
            if range != recorded {
                return Err(format!("shard '{}' is recorded with the key range {recorded}", reference.name));
            }
            shards.push((Arc::from(reference.name.as_str()), range));
        }
        let names: Vec<_> = shards.iter().map(|(name, _)| Arc::clone(name)).collect();
        let order = validate_shards(&names).map_err(|why| why.to_string())?;
        serving.shards = order.into_iter().map(|index| shards[index].clone()).collect();
        for (kind, of_kind) in KINDS {
            for control in of_type(kind).flat_map(|partition| &partition.shard_tablet_controls) {
                if control.query_service_disabled {
                    serving.disabled.insert((control.name.as_str().into(), of_kind));
                }
            }
        }
        Ok(serving)
    }
}

/// The types that serve.
pub(super) const KINDS: [(topodata::TabletType, TabletType); 3] = [
    (topodata::TabletType::Primary, TabletType::Primary),
    (topodata::TabletType::Replica, TabletType::Replica),
    (topodata::TabletType::Rdonly, TabletType::Rdonly),
];
