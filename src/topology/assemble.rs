//! Which keyspaces, shards and servers do the records describe?
//!
//! | Question | Record that answers |
//! |---|---|
//! | which keyspaces and shards serve | the SrvKeyspace records of the gate's cell |
//! | which tables there are | the SrvVSchema record of the gate's cell |
//! | which servers a shard has | the Tablet records of the watched cells |
//! | which of them is the primary | the Shard record and the tablet's own claim; the later one counts |
//!
//! Pure: records in, topology out.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::image::{GLOBAL, Image, KINDS, Parsed, Serving};
use super::path::{self, Known};
use super::wire::{topodata, vttime};
use super::{Address, Keyspace, Shard, Snapshot, Tablet, TabletAlias, TabletType};
use crate::vschema::Source;

/// A topology and VSchema that someone proposes to use.
#[derive(Debug, Default)]
pub(super) struct Candidate {
    /// Keyspaces, shards and servers.
    pub(super) snapshot: Snapshot,
    /// Tables and rules.
    pub(super) source: Arc<Source>,
    /// What had to be left out or kept from earlier, one sentence each.
    pub(super) problems: BTreeSet<String>,
}

/// Which tablet is at an address and schema. Two shards in one database would answer twice.
type Places = HashMap<(String, u16, String), TabletAlias>;

/// Tablets by keyspace and shard.
type ByShard<'a> = HashMap<(&'a str, &'a str), Vec<&'a topodata::Tablet>>;

impl Image {
    /// What the records in force describe.
    #[must_use]
    pub(super) fn candidate(&self) -> Candidate {
        let own = Arc::clone(self.own_cell());
        let source = match self.find(&own, path::SRV_VSCHEMA) {
            Some(Parsed::SrvVSchema(source)) => Arc::clone(source),
            _ => Arc::default(),
        };
        let mut candidate = Candidate { source, problems: self.problems().collect(), ..Candidate::default() };
        let tablets = self.tablets();
        let mut places = Places::new();
        for (path, parsed) in self.good(&own) {
            let (Some(Known::SrvKeyspace(name)), Parsed::SrvKeyspace(serving)) = (Known::of(path), parsed)
            else {
                continue;
            };
            // A new keyspace has no shards yet: it is not there before it can answer.
            if serving.shards.is_empty() {
                continue;
            }
            let name: Arc<str> = name.into();
            let shards = serving.shards.iter().map(|(shard, range)| {
                let record = match self.find(GLOBAL, &path::shard(&name, shard)) {
                    Some(Parsed::Shard(record)) => Some(record),
                    _ => None,
                };
                let known = tablets.get(&(&*name, &**shard)).map_or(&[][..], Vec::as_slice);
                Arc::new(Shard {
                    keyspace: Arc::clone(&name),
                    name: Arc::clone(shard),
                    range: range.clone(),
                    tablets: servers(
                        &name,
                        shard,
                        record,
                        serving,
                        known,
                        &mut places,
                        &mut candidate.problems,
                    ),
                })
            });
            let keyspace = Keyspace { name: Arc::clone(&name), shards: shards.collect() };
            candidate.snapshot.keyspaces.insert(name, keyspace);
        }
        candidate
    }

    fn tablets(&self) -> ByShard<'_> {
        let mut tablets: ByShard<'_> = HashMap::new();
        for cell in self.cell_names() {
            for (_, parsed) in self.good(cell) {
                if let Parsed::Tablet(tablet) = parsed {
                    tablets.entry((&tablet.keyspace, &tablet.shard)).or_default().push(tablet);
                }
            }
        }
        tablets
    }
}

/// The servers of a shard that serve, the primary first.
fn servers(
    keyspace: &Arc<str>,
    shard: &Arc<str>,
    record: Option<&topodata::Shard>,
    serving: &Serving,
    known: &[&topodata::Tablet],
    places: &mut Places,
    problems: &mut BTreeSet<String>,
) -> Vec<Arc<Tablet>> {
    let primary = primary(record, known).unwrap_or_else(|why| {
        problems.insert(format!("{keyspace}/{shard}: {why}"));
        None
    });
    let mut tablets = Vec::new();
    for tablet in known {
        let Some(alias) = tablet.alias.as_ref().map(TabletAlias::from) else { continue };
        let claimed = KINDS.iter().find(|(kind, _)| *kind == tablet.r#type()).map(|(_, kind)| *kind);
        let kind = match claimed {
            _ if primary.as_ref() == Some(&alias) => TabletType::Primary,
            // A primary of the past takes no writes, and nobody knows whether it replicates.
            Some(TabletType::Primary) | None => continue,
            Some(kind) => kind,
        };
        if serving.disabled.contains(&(Arc::clone(shard), kind)) {
            continue;
        }
        let Some(port) = u16::try_from(tablet.mysql_port).ok().filter(|port| *port != 0) else {
            problems.insert(format!("tablet {alias}: there is no mysql_port"));
            continue;
        };
        let host = if tablet.mysql_hostname.is_empty() { &tablet.hostname } else { &tablet.mysql_hostname };
        if host.is_empty() {
            problems.insert(format!("tablet {alias}: there is no mysql_hostname"));
            continue;
        }
        let schema = match tablet.db_name_override.as_str() {
            "" => format!("vt_{keyspace}"),
            name => name.to_owned(),
        };
        if let Some(other) = places.insert((host.clone(), port, schema.clone()), alias.clone()) {
            problems.insert(format!("tablets {other} and {alias} have the same address and schema"));
            continue;
        }
        tablets.push(Arc::new(Tablet {
            alias,
            keyspace: Arc::clone(keyspace),
            shard: Arc::clone(shard),
            kind,
            address: Address::Tcp { host: host.clone(), port },
            schema: schema.into(),
        }));
    }
    tablets.sort_by(|a, b| (a.kind, &a.alias).cmp(&(b.kind, &b.alias)));
    tablets
}

/// The one primary, if any: of the shard's record and of the tablets that call themselves primary, the
/// claim with the latest beginning. On a tie the shard's record counts, and so does one without a
/// beginning: a person wrote it.
fn primary(
    record: Option<&topodata::Shard>,
    known: &[&topodata::Tablet],
) -> Result<Option<TabletAlias>, &'static str> {
    let time = |time: &vttime::Time| (time.seconds, time.nanoseconds);
    let recorded = record.and_then(|record| {
        let alias = TabletAlias::from(record.primary_alias.as_ref()?);
        Some((record.primary_term_start_time.as_ref().map_or((i64::MAX, 0), time), alias))
    });
    let claims = known.iter().filter_map(|tablet| {
        let alias = TabletAlias::from(tablet.alias.as_ref()?);
        let claims = tablet.r#type() == topodata::TabletType::Primary;
        claims.then(|| (tablet.primary_term_start_time.as_ref().map_or((0, 0), time), alias))
    });
    let mut claims: Vec<_> = claims.collect();
    claims.sort();
    match (recorded, claims.as_slice()) {
        (recorded, []) => Ok(recorded.map(|(_, alias)| alias)),
        (Some((since, alias)), [.., (latest, _)]) if since >= *latest => Ok(Some(alias)),
        (_, [.., (before, _), (latest, _)]) if before == latest => {
            Err("several tablets claim to be the primary")
        }
        (_, [.., (_, alias)]) => Ok(Some(alias.clone())),
    }
}
