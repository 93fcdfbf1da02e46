//! Which shards get a statement, and which of its values or rows does each get?
//!
//! Hot path: a statement with one shard allocates for nothing but the vindex's input.

use std::sync::Arc;

use super::ExecContext;
use crate::error::{Result, SqlError};
use crate::key::{Destination, KeyspaceId};
use crate::planner::Routing;
use crate::sql::Operand;
use crate::topology::{Keyspace, Shard};
use crate::transaction::Place;
use crate::value::Value;
use crate::vindex::Vindex;
use crate::vschema::{Compared, Domain};

/// One shard that gets the statement.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) place: Place,
    /// Indexes of the IN list's values, or of the INSERT's rows, that belong to this shard.
    pub(super) own: Vec<u32>,
}

/// The shards of a statement.
#[derive(Debug)]
pub(super) enum Targets {
    /// Exactly one.
    One(Target),
    /// Several, in the order of their key ranges.
    Many(Vec<Target>),
    /// None can hold a row; this one can answer for the metadata.
    Nowhere(Target),
}

// === impl Targets ===

impl Targets {
    /// The shards that are asked, also where none can hold a row.
    pub(super) fn all(self) -> Vec<Target> {
        match self {
            Self::One(target) | Self::Nowhere(target) => vec![target],
            Self::Many(targets) => targets,
        }
    }

    /// The shards that can hold a row.
    pub(super) fn with_rows(self) -> Vec<Target> {
        match self {
            Self::Nowhere(_) => Vec::new(),
            targets => targets.all(),
        }
    }
}

/// Shards by their place in the keyspace, with the values of each.
type ByShard = Vec<Option<Vec<u32>>>;

// === impl ExecContext ===

impl ExecContext<'_> {
    /// The shards of a statement.
    ///
    /// # Errors
    /// An unknown keyspace or shard, a value that no shard owns, a shard without a server.
    pub(super) fn route(&self, keyspace: Option<&Arc<str>>, routing: &Routing) -> Result<Targets> {
        let keyspace = self.keyspace_of(keyspace)?;
        if let Some(shard) = self.single_shard(keyspace, routing)? {
            return Ok(Targets::One(Target { place: self.place(shard)?, own: Vec::new() }));
        }
        let mut chosen: ByShard = vec![None; keyspace.shards.len()];
        self.choose(keyspace, routing, &mut chosen)?;
        self.targets_of(keyspace, chosen)
    }

    /// The shards of keyspace ids.
    pub(super) fn route_ids(&self, keyspace: Option<&Arc<str>>, ids: &[Destination]) -> Result<Targets> {
        let keyspace = self.keyspace_of(keyspace)?;
        let mut chosen: ByShard = vec![None; keyspace.shards.len()];
        ids.iter().try_for_each(|id| self.mark(keyspace, id, None, &mut chosen))?;
        self.targets_of(keyspace, chosen)
    }

    fn targets_of(&self, keyspace: &Keyspace, chosen: ByShard) -> Result<Targets> {
        let mut targets = Vec::new();
        for (shard, own) in keyspace.shards.iter().zip(chosen) {
            if let Some(own) = own {
                targets.push(Target { place: self.place(shard)?, own });
            }
        }
        match targets.len() {
            0 => {
                let shard = first_shard(keyspace)?;
                Ok(Targets::Nowhere(Target { place: self.place(shard)?, own: Vec::new() }))
            }
            1 => targets.pop().map(Targets::One).ok_or_else(|| SqlError::bug("a target got lost")),
            _ => Ok(Targets::Many(targets)),
        }
    }

    /// The plan's keyspace, or any one.
    pub(super) fn keyspace_of(&self, name: Option<&Arc<str>>) -> Result<&Keyspace> {
        let all = &self.topology.keyspaces;
        match name {
            Some(name) => all.get(name).ok_or_else(|| SqlError::unknown_database(name)),
            None => self
                .keyspace
                .and_then(|name| all.get(name))
                .or_else(|| all.values().find(|keyspace| !keyspace.shards.is_empty()))
                .ok_or_else(SqlError::no_database),
        }
    }

    /// An operand as vindexes read it: text is UTF-8.
    pub(super) fn routing_value(&self, operand: &Operand) -> Result<Value> {
        self.bindings.writing.charset.to_utf8(self.bindings.value(operand)?)
    }

    /// The routings that always mean one shard.
    fn single_shard<'k>(&self, keyspace: &'k Keyspace, routing: &Routing) -> Result<Option<&'k Arc<Shard>>> {
        match routing {
            Routing::Unsharded => first_shard(keyspace).map(Some),
            Routing::AnyShard => self.any_shard(keyspace).map(Some),
            Routing::EqualUnique(condition) => {
                match map(&condition.vindex, &condition.values, &condition.domains, |operand| {
                    self.routing_value(operand)
                })? {
                    Destination::Id(id) => {
                        let shard = owner(keyspace, &id)?;
                        self.heat.note(&condition.vindex, &id, shard);
                        Ok(Some(shard))
                    }
                    Destination::Any => self.any_shard(keyspace).map(Some),
                    // The plan is for one shard.
                    Destination::All => Err(SqlError::unsupported(
                        "comparing a vindex column with a value of another type, which rows on several shards may equal",
                    )),
                    _ => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }

    /// A shard that the transaction stands on already, or one at random. Where several shards share a
    /// server, the one whose database is called like the keyspace: its answers need no renaming.
    fn any_shard<'k>(&self, keyspace: &'k Keyspace) -> Result<&'k Arc<Shard>> {
        let is_namesake =
            |shard: &Arc<Shard>| shard.primary().is_some_and(|tablet| tablet.schema == keyspace.name);
        let some_are = keyspace.shards.iter().any(is_namesake);
        let fits = |shard: &&Arc<Shard>| !some_are || is_namesake(shard);
        for pinned in self.transactions.shards() {
            let is_pinned =
                |shard: &Arc<Shard>| self.topology.reroutes.follow(shard).is_ok_and(|to| **to == **pinned);
            if let Some(shard) = keyspace.shards.iter().find(|shard| is_pinned(shard) && fits(shard)) {
                return Ok(shard);
            }
        }
        let count = keyspace.shards.iter().filter(fits).count();
        let chosen = if count < 2 { 0 } else { rand::random_range(0..count) };
        keyspace.shards.iter().filter(fits).nth(chosen).map_or_else(|| first_shard(keyspace), Ok)
    }

    fn choose(&self, keyspace: &Keyspace, routing: &Routing, chosen: &mut ByShard) -> Result<()> {
        let value = |operand: &Operand| self.routing_value(operand);
        match routing {
            Routing::Unsharded | Routing::AnyShard | Routing::None => Ok(()),
            Routing::EqualUnique(condition) | Routing::SubShard(condition) => {
                let destination = map(&condition.vindex, &condition.values, &condition.domains, value)?;
                self.mark(keyspace, &destination, None, chosen)
            }
            Routing::In { vindex, values, domain } => {
                for (index, operand) in (0_u32..).zip(values) {
                    let one = std::slice::from_ref(operand);
                    let destination = map(vindex, one, std::slice::from_ref(domain), value)?;
                    self.mark(keyspace, &destination, Some(index), chosen)?;
                }
                Ok(())
            }
            Routing::MultiEqual { vindex, tuples, domains } => tuples.iter().try_for_each(|tuple| {
                self.mark(keyspace, &map(vindex, tuple, domains, value)?, None, chosen)
            }),
            Routing::Between { vindex, low, high } => {
                self.mark(keyspace, &vindex.range(&value(low)?, &value(high)?), None, chosen)
            }
            Routing::Scatter => self.mark(keyspace, &Destination::All, None, chosen),
            Routing::Lookup(_) => Err(SqlError::bug("a lookup table that was not asked")),
            Routing::ByDestination(destination) => self.mark(keyspace, destination, None, chosen),
        }
    }

    /// Adds a destination's shards; `index` is the value that leads there.
    fn mark(
        &self,
        keyspace: &Keyspace,
        destination: &Destination,
        index: Option<u32>,
        chosen: &mut ByShard,
    ) -> Result<()> {
        let wanted = |shard: &Shard| match destination {
            Destination::Id(id) => shard.range.contains(id.as_bytes()),
            Destination::Range(range) => shard.range.intersects(range),
            Destination::Shard(name) => *shard.name == **name,
            Destination::All => true,
            Destination::None | Destination::Any => false,
        };
        let mut found = false;
        for (shard, own) in keyspace.shards.iter().zip(chosen.iter_mut()) {
            if wanted(shard) {
                found = true;
                own.get_or_insert_default().extend(index);
            }
        }
        match destination {
            Destination::Id(id) if !found => {
                Err(SqlError::no_shard_for_value(&keyspace.name, &id.to_string()))
            }
            Destination::Shard(name) if !found => Err(SqlError::unknown_shard(&keyspace.name, name)),
            Destination::Any => {
                let any = self.any_shard(keyspace)?;
                let place = keyspace.shards.iter().position(|shard| Arc::ptr_eq(shard, any)).unwrap_or(0);
                if let Some(own) = chosen.get_mut(place) {
                    own.get_or_insert_default().extend(index);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// The shard that owns an id.
///
/// # Errors
/// The keyspace's shards leave a gap there.
pub(super) fn owner<'k>(keyspace: &'k Keyspace, id: &KeyspaceId) -> Result<&'k Arc<Shard>> {
    keyspace
        .shards
        .iter()
        .find(|shard| shard.range.contains(id.as_bytes()))
        .ok_or_else(|| SqlError::no_shard_for_value(&keyspace.name, &id.to_string()))
}

fn first_shard(keyspace: &Keyspace) -> Result<&Arc<Shard>> {
    keyspace.shards.first().ok_or_else(|| SqlError::no_primary(&keyspace.name, "-"))
}

/// Where rows that equal these values can be. [`Destination::Any`]: nowhere, but the server still has
/// its say about the value. [`Destination::All`]: not known.
fn map(
    vindex: &Vindex,
    operands: &[Operand],
    domains: &[Domain],
    value: impl Fn(&Operand) -> Result<Value>,
) -> Result<Destination> {
    let compared = |column: usize, operand: &Operand| {
        let domain = domains.get(column).ok_or_else(|| SqlError::bug("a vindex column without a domain"))?;
        value(operand).map(|value| domain.compared(value))
    };
    if let [operand] = operands {
        return Ok(match compared(0, operand)? {
            Compared::Only(value) => vindex.map(std::slice::from_ref(&value))?,
            Compared::Nothing => Destination::Any,
            Compared::Uncertain => Destination::All,
        });
    }
    let mut values = Vec::with_capacity(operands.len());
    let mut uncertain = false;
    for (column, operand) in operands.iter().enumerate() {
        match compared(column, operand)? {
            Compared::Only(value) => values.push(value),
            Compared::Nothing => return Ok(Destination::Any),
            Compared::Uncertain => uncertain = true,
        }
    }
    if uncertain { Ok(Destination::All) } else { Ok(vindex.map(&values)?) }
}
