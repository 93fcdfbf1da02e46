//! Which table does a statement mean?
//!
//! In order: the keyspace's own rule, the table's rule, the table itself. The tablet type matters
//! because rules may hold for one type only (`user.t1@replica`).

use std::collections::HashMap;
use std::sync::Arc;

use super::{AutoIncrement, Global, Keyspace, Table, TableName, VSchema, names};
use crate::error::{Result, SqlError};
use crate::key::TabletType;

// === impl VSchema ===

impl VSchema {
    /// The table that `[keyspace.]table` means to a session with this tablet type. `keyspace` is the
    /// qualifier, or else the session's keyspace, or else none.
    ///
    /// An unsharded keyspace has every table that is asked for, listed or not.
    ///
    /// # Errors
    /// Unknown keyspace (1049) or table (1146), no keyspace selected (1046), a name that several
    /// keyspaces have, a disabled table, a faulty rule, a keyspace whose VSchema is faulty.
    pub fn resolve(
        &self,
        keyspace: Option<&str>,
        table: &str,
        tablet_type: TabletType,
    ) -> Result<Arc<Table>> {
        let keyspace = keyspace.map(|name| self.routed_keyspace(name, tablet_type));
        let found = match self.routed_table(keyspace, table, tablet_type) {
            Some(routed) => routed?,
            None => match keyspace {
                Some(keyspace) => self.table_in(keyspace, table)?,
                None => self.global_table(table)?,
            },
        };
        match self.keyspaces.get(&found.keyspace).and_then(Keyspace::error) {
            Some(error) => Err(SqlError::vschema_error(&found.keyspace, error)),
            None => Ok(found),
        }
    }

    /// The keyspace that a statement naming this one goes to.
    #[must_use]
    pub fn routed_keyspace<'a>(&'a self, keyspace: &'a str, tablet_type: TabletType) -> &'a str {
        if self.keyspace_rules.is_empty() {
            return keyspace;
        }
        let for_type = match tablet_type {
            TabletType::Primary => None,
            other => self.keyspace_rules.get(format!("{keyspace}@{}", other.as_str()).as_str()),
        };
        for_type.or_else(|| self.keyspace_rules.get(keyspace)).map_or(keyspace, |to| &**to)
    }

    /// The copy of `table` in this keyspace, where `table` is the source of reference tables or one of
    /// their copies itself: reading there makes a join local.
    #[must_use]
    pub fn reference_in(&self, table: &Table, keyspace: &str) -> Option<Arc<Table>> {
        let source = match &table.source {
            Some(source) => self.listed(source)?,
            None => self.listed(&table.full_name())?,
        };
        if &*source.keyspace == keyspace {
            return Some(source.clone());
        }
        let copy = source.referenced_by.get(keyspace)?;
        self.keyspaces.get(keyspace)?.tables.get(copy).cloned()
    }

    /// The table that takes writes for a reference table with a source.
    #[must_use]
    pub fn reference_source(&self, table: &Table) -> Option<Arc<Table>> {
        table.source.as_ref().and_then(|source| self.listed(source)).cloned()
    }

    /// The table in which a lookup of this keyspace keeps its mapping: in the keyspace that its name says,
    /// else in the lookup's own, else where the one table of this name is.
    ///
    /// # Errors
    /// As [`Self::resolve`], and a name that does not read.
    pub fn lookup_table(&self, keyspace: &str, name: &str) -> Result<Arc<Table>> {
        let unknown = |_| SqlError::unknown_table(keyspace, name);
        let name = names::table(name).map_err(unknown)?;
        if !name.keyspace.is_empty() {
            return self.resolve(Some(&name.keyspace), &name.table, TabletType::Primary);
        }
        let own = self.resolve(Some(keyspace), &name.table, TabletType::Primary);
        own.or_else(|error| self.resolve(None, &name.table, TabletType::Primary).map_err(|_| error))
    }

    fn listed(&self, name: &TableName) -> Option<&Arc<Table>> {
        self.keyspaces.get(&name.keyspace)?.tables.get(&name.table)
    }

    fn routed_table(
        &self,
        keyspace: Option<&str>,
        table: &str,
        tablet_type: TabletType,
    ) -> Option<Result<Arc<Table>>> {
        if self.routing_rules.is_empty() {
            return None;
        }
        let name = keyspace.map_or_else(|| table.to_owned(), |keyspace| format!("{keyspace}.{table}"));
        let for_type = format!("{name}@{}", tablet_type.as_str());
        let rule = [&for_type, &name].into_iter().find_map(|name| self.routing_rules.get(name.as_str()))?;
        Some(rule.target(table))
    }

    fn table_in(&self, keyspace: &str, table: &str) -> Result<Arc<Table>> {
        let found = self.keyspaces.get(keyspace).ok_or_else(|| SqlError::unknown_database(keyspace))?;
        match (found.find(table), found.error()) {
            (Some(table), _) => Ok(table),
            // The table may be missing because of the fault.
            (None, Some(error)) => Err(SqlError::vschema_error(keyspace, error)),
            // Queries name the tables behind it by now.
            (None, None) if found.view(table).is_some() => {
                Err(SqlError::unsupported("a view on a sharded keyspace anywhere but in a query"))
            }
            (None, None) => Err(SqlError::unknown_table(keyspace, table)),
        }
    }

    fn global_table(&self, table: &str) -> Result<Arc<Table>> {
        if let (Some(only), 1) = (self.keyspaces.keys().next(), self.keyspaces.len()) {
            return self.table_in(only, table);
        }
        match self.global.get(table) {
            Some(Global::Table(found)) => Ok(found.clone()),
            Some(Global::Ambiguous) => Err(SqlError::ambiguous_table(table)),
            None => Err(SqlError::no_database()),
        }
    }

    /// Fills the map of unqualified names. A reference table that is called like its source is left
    /// out, so that the source wins.
    pub(super) fn name_globally(&mut self) {
        let mut global: HashMap<Arc<str>, Global> = HashMap::new();
        for keyspace in self.keyspaces.values().filter(|keyspace| !keyspace.require_explicit_routing) {
            for (name, table) in &keyspace.tables {
                if table.source.as_ref().is_some_and(|source| source.table == *name) {
                    continue;
                }
                let first = || Global::Table(table.clone());
                global
                    .entry(name.clone())
                    .and_modify(|entry| *entry = Global::Ambiguous)
                    .or_insert_with(first);
            }
        }
        self.global = global;
    }

    /// Finds the sequence of each auto-increment column, by the rules that statements follow. A table
    /// whose sequence is not found is dropped, and its keyspace fails. Tells whether any was changed.
    pub(super) fn resolve_sequences(&mut self) -> bool {
        let mut outcomes = Vec::new();
        for (keyspace, source) in &self.source.keyspaces {
            for (table, declared) in &source.tables {
                let Some(auto_increment) = &declared.auto_increment else { continue };
                let sequence = names::table(&auto_increment.sequence)
                    .and_then(|name| self.sequence(&name))
                    .map_err(|error| format!("cannot resolve sequence {}: {error}", auto_increment.sequence));
                let column = auto_increment.column.as_str().into();
                let outcome = sequence.map(|sequence| AutoIncrement { column, sequence });
                outcomes.push((TableName::new(keyspace, table), outcome));
            }
        }
        let changed = !outcomes.is_empty();
        for (name, outcome) in outcomes {
            let Some(keyspace) = self.keyspaces.get_mut(&name.keyspace) else { continue };
            match outcome {
                Ok(auto_increment) => {
                    if let Some(table) = keyspace.tables.get_mut(&name.table) {
                        Arc::make_mut(table).auto_increment = Some(auto_increment);
                    }
                }
                Err(error) => {
                    keyspace.tables.remove(&name.table);
                    keyspace.fail(error);
                }
            }
        }
        changed
    }

    fn sequence(&self, name: &TableName) -> Result<TableName, String> {
        let keyspace = Some(&*name.keyspace).filter(|keyspace| !keyspace.is_empty());
        let table = match self.routed_table(keyspace, &name.table, TabletType::Primary) {
            Some(routed) => routed,
            None => match keyspace {
                Some(keyspace) => self.table_in(keyspace, &name.table),
                None => self.global_table(&name.table),
            },
        };
        table.map(|table| table.full_name()).map_err(|error| error.client_text())
    }
}

// === impl Keyspace ===

impl Keyspace {
    /// The table of this name, listed or known from the servers; an unsharded keyspace has every table.
    pub(super) fn find(&self, table: &str) -> Option<Arc<Table>> {
        let found = self.tables.get(table).or_else(|| self.unlisted.get(table)).cloned();
        found.or_else(|| (!self.sharded).then(|| Arc::new(Table::unlisted(self.name.clone(), table))))
    }
}
