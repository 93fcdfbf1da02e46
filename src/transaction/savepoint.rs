//! How do savepoints work over several shards?
//!
//! A savepoint is set on every shard that the transaction stands on, and again on each shard that
//! joins later, so that rolling back to it undoes everything there. The list of names is the gate's
//! own: MySQL's rules decide what setting, releasing and rolling back does to it.

use futures_util::future::join_all;

use super::{Pin, ShardTransactions};
use crate::error::{Result, SqlError};
use crate::sql::literal::identifier;

/// The gate's own savepoint before a statement that changes several shards.
pub(super) const GUARD: &[u8] = b"SAVEPOINT _shardgate_statement";
/// The gate's own savepoint before a change that takes several statements.
const STEPS: &str = "_shardgate_steps";
const UNDO: &[u8] = b"ROLLBACK TO SAVEPOINT _shardgate_statement";

/// `verb name` with the name quoted.
pub(super) fn statement(verb: &str, name: &str) -> String {
    format!("{verb} {}", identifier(name))
}

// === impl ShardTransactions ===

impl ShardTransactions {
    /// SAVEPOINT. Outside a transaction it has no effect with autocommit; without, the transaction that
    /// begins later has it, and does not begin by it (MySQL).
    ///
    /// # Errors
    /// VT09032, or a shard that fails.
    pub async fn savepoint(&mut self, name: &str) -> Result<()> {
        self.check()?;
        if !self.is_open() && self.autocommit {
            return Ok(());
        }
        self.everywhere(&statement("SAVEPOINT", name)).await?;
        // A name that exists already moves to the new place.
        if let Some(known) = self.savepoints.iter().position(|known| known.eq_ignore_ascii_case(name)) {
            self.savepoints.remove(known);
            self.forget_savepoint(known);
        }
        self.savepoints.push(name.to_owned());
        Ok(())
    }

    /// ROLLBACK TO SAVEPOINT: later savepoints are gone, this one stays.
    ///
    /// # Errors
    /// 1305 for an unknown name, VT09032, or a shard that fails.
    pub async fn rollback_to(&mut self, name: &str) -> Result<()> {
        let at = self.savepoint_place(name)?;
        self.everywhere(&statement("ROLLBACK TO SAVEPOINT", name)).await?;
        self.savepoints.truncate(at + 1);
        self.forget_since(at);
        Ok(())
    }

    /// COMMIT or ROLLBACK without a transaction: savepoints that were set before one are gone.
    pub fn forget_savepoints(&mut self) {
        self.savepoints.clear();
    }

    /// ROLLBACK of a transaction that has not begun after all, because its first statement did not reach
    /// a table: savepoints that were set before stay.
    pub async fn withdraw(&mut self) {
        let savepoints = std::mem::take(&mut self.savepoints);
        self.rollback().await;
        self.savepoints = savepoints;
    }

    /// RELEASE SAVEPOINT: this one and later ones are gone.
    ///
    /// # Errors
    /// 1305 for an unknown name, VT09032, or a shard that fails.
    pub async fn release_savepoint(&mut self, name: &str) -> Result<()> {
        let at = self.savepoint_place(name)?;
        self.everywhere(&statement("RELEASE SAVEPOINT", name)).await?;
        self.savepoints.truncate(at);
        self.outlive_savepoints(at);
        Ok(())
    }

    fn savepoint_place(&self, name: &str) -> Result<usize> {
        self.check()?;
        let found = self.savepoints.iter().position(|known| known.eq_ignore_ascii_case(name));
        found.ok_or_else(|| SqlError::savepoint_missing(name))
    }

    /// Runs a statement on all pins at once; all are waited for, the first error counts.
    async fn everywhere(&mut self, statement: &str) -> Result<()> {
        let done = join_all(self.pins.iter_mut().map(|pin| pin.run(statement.as_bytes()))).await;
        let failed = done.into_iter().find_map(Result::err);
        self.hear();
        match failed {
            Some(error) => {
                self.settle().await;
                Err(error)
            }
            None => Ok(()),
        }
    }

    /// Takes over what the servers have warned of.
    pub(super) fn hear(&mut self) {
        self.warnings.extend(self.pins.iter_mut().flat_map(|pin| std::mem::take(&mut pin.told)));
    }

    /// The statement that was sent after [`super::Held::guard`] stays in the transaction. Until this is said,
    /// what ends it early takes it back.
    pub fn keep_statement(&mut self) {
        for pin in &mut self.pins {
            pin.guarded = false;
        }
    }

    /// Undoes the statement that was sent after [`super::Held::guard`].
    ///
    /// True where every shard is as it was before; else the caller rolls the transaction back.
    pub async fn undo_statement(&mut self) -> bool {
        let guarded = self.pins.iter_mut().filter(|pin| pin.guarded);
        let done = join_all(guarded.map(async |pin: &mut Pin| {
            pin.guarded = false;
            pin.clear().await;
            pin.run(UNDO).await
        }))
        .await;
        done.iter().all(Result::is_ok)
    }

    /// Undoes the statement that did not come to its end, where there is one; or all of the transaction, which
    /// has failed then.
    pub(super) async fn undo_unfinished(&mut self) {
        if !self.undo_statement().await {
            self.rollback().await;
            self.state = super::State::Failed;
        }
    }

    /// Begins a change that takes several statements: until [`Self::end_steps`], whatever ends early takes all
    /// of them back.
    ///
    /// # Errors
    /// A shard that fails.
    pub async fn begin_steps(&mut self) -> Result<()> {
        self.savepoint(STEPS).await
    }

    /// Ends it: what the statements did stays in the transaction.
    ///
    /// # Errors
    /// A shard that fails.
    pub async fn end_steps(&mut self) -> Result<()> {
        self.release_savepoint(STEPS).await
    }

    /// Takes back what the statements of an unfinished change did, where there is one; or all of the
    /// transaction, which has failed then.
    pub(super) async fn undo_steps(&mut self) {
        let Some(at) = self.savepoints.iter().position(|name| name == STEPS) else { return };
        let (undo, release) =
            (statement("ROLLBACK TO SAVEPOINT", STEPS), statement("RELEASE SAVEPOINT", STEPS));
        let done = join_all(self.pins.iter_mut().map(async |pin: &mut Pin| {
            pin.run(undo.as_bytes()).await?;
            pin.run(release.as_bytes()).await
        }))
        .await;
        self.savepoints.truncate(at);
        self.forget_since(at);
        self.keep_statement();
        if done.iter().any(Result::is_err) {
            self.rollback().await;
            self.state = super::State::Failed;
        }
    }
}
