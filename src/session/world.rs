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
    /// The version of the next VSchema. Held while a world is made: one change at a time.
    next_version: Mutex<u64>,
}

/// Where a session's statements are planned.
pub(super) fn plan_context<'a>(target: &'a Target, world: &'a World) -> PlanContext<'a> {
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
    pub fn new(topology: Arc<Snapshot>, declared: &VSchema, schema: &Tracker) -> Self {
        let vschema = Arc::new(declared.with_schema(schema.current(), 1));
        Self { current: ArcSwap::from_pointee(World { topology, vschema }), next_version: Mutex::new(2) }
    }

    /// The world as it is now.
    pub fn load(&self) -> Guard<Arc<World>> {
        self.current.load()
    }

    /// Puts another topology in use, and the VSchema declared for it.
    pub fn use_topology(&self, topology: Arc<Snapshot>, declared: &VSchema, schema: &Tracker) {
        let mut version = self.next_version.lock().unwrap_or_else(PoisonError::into_inner);
        let vschema = Arc::new(declared.with_schema(schema.current(), *version));
        *version += 1;
        self.current.store(Arc::new(World { topology, vschema }));
    }

    /// Puts in use what the servers now say about the tables.
    pub fn use_schema(&self, schema: &Tracker) {
        let mut version = self.next_version.lock().unwrap_or_else(PoisonError::into_inner);
        let (schema, world) = (schema.current(), self.current.load_full());
        if Arc::ptr_eq(&schema, world.vschema.schema()) {
            return;
        }
        let vschema = Arc::new(world.vschema.with_schema(schema, *version));
        *version += 1;
        self.current.store(Arc::new(World { topology: Arc::clone(&world.topology), vschema }));
    }
}
