//! Who may change the VSchema by a statement, and when is the change there?

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Session;
use crate::error::{Result, SqlError};
use crate::topology::directory::Directory;
use crate::topology::store::StoreError;
use crate::vschema::VSchemaChange;

/// What ALTER VSCHEMA needs.
#[derive(Debug)]
pub struct VSchemaDdl {
    /// Who may; `%` among them stands for everybody.
    pub users: Vec<String>,
    /// Where it is written.
    pub directory: Directory,
}

/// How long the answer waits for the change to be in use in this gate.
const IN_USE: Duration = Duration::from_secs(5);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(5);

impl Session {
    /// Changes the VSchema, and waits until this gate plans with it, so that the session's next
    /// statement does.
    ///
    /// # Errors
    /// 1045 for users that may not; 1815 with the reason for a change that does not fit or that cannot
    /// be stored.
    pub(super) async fn alter_vschema(&mut self, keyspace: &Arc<str>, change: &VSchemaChange) -> Result<()> {
        let ddl = &self.shared.vschema_ddl;
        if !ddl.users.iter().any(|user| user == "%" || *user == self.user) {
            return Err(SqlError::vschema_denied(&self.user));
        }
        let told = |error: StoreError| match error {
            StoreError::Refused(why) => SqlError::vschema_change(&why),
            other => SqlError::vschema_change(&other.to_string()),
        };
        let source = ddl.directory.alter_vschema(keyspace, change).await.map_err(told)?;
        let since = Instant::now();
        let in_use = || {
            let world = self.shared.world.load();
            world.vschema.source().keyspaces.get(&**keyspace) == Some(&source)
        };
        while !in_use() {
            if since.elapsed() > IN_USE {
                tracing::warn!(%keyspace, "a changed VSchema is stored and not in use yet");
                break;
            }
            sleep(LOOK).await;
        }
        Ok(())
    }
}
