//! Which topology, VSchema and schema does a statement begin with?
//!
//! The three change at times of their own; each change makes a new [`World`] as a whole. A statement
//! works to its end on the world that it began with.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::target::Target;
use crate::planner::PlanContext;
use crate::schema::Tracker;
use crate::topology::Snapshot;
use crate::vschema::VSchema;

/// What exists and how it is sharded, at one moment.
#[derive(Debug, Clone)]
pub struct World {
    /// Keyspaces, shards and servers.
    pub topology: Arc<Snapshot>,
    /// Tables and vindexes, with what the servers say about the tables. Its version is another in
    /// every world that plans differ in.
    pub vschema: Arc<VSchema>,
}

/// The world in use.
#[derive(Debug)]
pub struct Worlds {
    current: ArcSwap<World>,
    /// Held while a world is made: one change at a time.
    next: Mutex<Next>,
}

/// What the next world is made of.
#[derive(Debug)]
struct Next {
    /// The version of the next VSchema.
    version: u64,
    /// What the topology declares.
    declared: Arc<VSchema>,
}

/// Where a session's statements are planned.
#[must_use]
pub fn plan_context<'a>(target: &'a Target, world: &'a World) -> PlanContext<'a> {
    PlanContext {
        vschema: &world.vschema,
        keyspace: target.keyspace.as_deref(),
        tablet_type: target.tablet_type,
        destination: target.destination.as_ref(),
    }
}

// === impl Worlds ===

impl Worlds {
    /// The first world.
    #[must_use]
    pub fn new(topology: Arc<Snapshot>, declared: Arc<VSchema>, schema: &Tracker) -> Self {
        let vschema = Arc::new(declared.with_schema(schema.current(), 1));
        let next = Mutex::new(Next { version: 2, declared });
        Self { current: ArcSwap::from_pointee(World { topology, vschema }), next }
    }

    /// The world as it is now.
    pub fn load(&self) -> Guard<Arc<World>> {
        self.current.load()
    }

    /// Puts another topology in use, and the VSchema declared for it. Where that is the one of before, plans
    /// stay good: no plan depends on shards and servers.
    pub fn use_topology(&self, topology: Arc<Snapshot>, declared: &Arc<VSchema>, schema: &Tracker) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let (schema, world) = (schema.current(), self.current.load_full());
        let same = Arc::ptr_eq(declared, &next.declared) && Arc::ptr_eq(&schema, world.vschema.schema());
        let vschema = if same {
            Arc::clone(&world.vschema)
        } else {
            next.declared = Arc::clone(declared);
            Arc::new(declared.with_schema(schema, next.take_version()))
        };
        self.current.store(Arc::new(World { topology, vschema }));
    }

    /// Puts in use what the servers now say about the tables.
    pub fn use_schema(&self, schema: &Tracker) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let (schema, world) = (schema.current(), self.current.load_full());
        if Arc::ptr_eq(&schema, world.vschema.schema()) {
            return;
        }
        let vschema = Arc::new(world.vschema.with_schema(schema, next.take_version()));
        self.current.store(Arc::new(World { topology: Arc::clone(&world.topology), vschema }));
    }
}

// === impl Next ===

impl Next {
    fn take_version(&mut self) -> u64 {
        self.version += 1;
        self.version - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Backend;
    use crate::metrics::Metrics;
    use crate::vschema::Source;

    #[test]
    fn plans_outlive_a_change_of_servers() {
        let tracker = Tracker::new(&Backend::default(), Arc::new(Metrics::new().unwrap()));
        let declared = Arc::new(VSchema::new(Source::default(), 1));
        let worlds = Worlds::new(Arc::new(Snapshot::default()), Arc::clone(&declared), &tracker);
        let first = worlds.load().vschema.version();
        let moved = Arc::new(Snapshot::default());
        worlds.use_topology(Arc::clone(&moved), &declared, &tracker);
        assert!(Arc::ptr_eq(&worlds.load().topology, &moved));
        assert_eq!(worlds.load().vschema.version(), first, "the same tables: plans stay good");
        let other = Arc::new(VSchema::new(Source::default(), 2));
        worlds.use_topology(moved, &other, &tracker);
        assert_ne!(worlds.load().vschema.version(), first);
    }
}
