//! When does a statement's text change before it is planned?
//!
//! Where it reads a view of a sharded keyspace: see [`crate::planner::expand_views`]. A VSchema without such
//! views costs one look at a flag.

use bytes::Bytes;

use super::world::plan_context;
use super::{Session, World};
use crate::error::Result;
use crate::planner;

impl Session {
    /// The statement that was read last, with definitions in the place of views, and read in its turn; none
    /// where it names no view of a sharded keyspace. `extract` as for [`Session::read`].
    ///
    /// # Errors
    /// VT12001 for what such a view cannot be in.
    pub(super) fn expanded(&mut self, text: &[u8], extract: bool, world: &World) -> Result<Option<Bytes>> {
        if !world.vschema.has_sharded_views() {
            return Ok(None);
        }
        let context = plan_context(&self.scope.target, world);
        let expanded = planner::expand_views(&self.normalizer.statement(text), &context)?.map(Bytes::from);
        if let Some(text) = &expanded {
            self.read(text, extract);
        }
        Ok(expanded)
    }
}
