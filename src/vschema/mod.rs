//! Which tables exist, in which keyspace, and how are their rows spread over the shards?
//!
//! A [`VSchema`] is immutable; a change makes a new one with another version. It is built in Vitess's
//! order (`go/vt/vtgate/vindexes/vschema.go`): tables and vindexes of each keyspace, references,
//! global names, routing rules, auto-increment columns. A faulty keyspace harms no other. What the
//! servers say about columns and keys ([`Schema`]) is part of it.
//!
//! Absent on purpose: reading from servers, writing, watching.

mod alter;
mod build;
mod column;
mod compared;
mod domain;
mod names;
mod resolve;
mod rules;
mod schema;
mod source;
mod stored;
mod table;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use alter::VSchemaChange;
pub use column::{Column, ColumnType};
pub use compared::Compared;
pub use domain::{Domain, Equality, Repertoire, Text};
pub use schema::{KeyPart, KeyspaceSchema, Schema, TableSchema, UniqueKey, View};
pub use source::{
    AutoIncrementSource, ColumnSource, ColumnVindexSource, ForeignKeyMode, KeyspaceRoutingRule,
    KeyspaceSource, MirrorRule, MultiTenantSpec, RoutingRule, Rules, ShardRoutingRule, Source, TableSource,
    VindexSource,
};
pub use stored::NotStored;
pub use table::{AutoIncrement, ColumnVindex, Table, TableKind, TableName};

use rules::Rule;

use crate::vindex::Vindex;

/// All keyspaces and the rules between them, ready for the planner.
#[derive(Debug, Clone, PartialEq)]
pub struct VSchema {
    version: u64,
    source: Source,
    schema: Arc<Schema>,
    keyspaces: BTreeMap<Arc<str>, Keyspace>,
    global: HashMap<Arc<str>, Global>,
    routing_rules: HashMap<Box<str>, Rule>,
    keyspace_rules: HashMap<Box<str>, Arc<str>>,
    sharded_views: bool,
}

/// One keyspace.
#[derive(Debug, Clone, PartialEq)]
pub struct Keyspace {
    name: Arc<str>,
    sharded: bool,
    require_explicit_routing: bool,
    foreign_key_mode: ForeignKeyMode,
    vindexes: BTreeMap<Arc<str>, Arc<Vindex>>,
    owners: BTreeMap<Arc<str>, Arc<str>>,
    tables: BTreeMap<Arc<str>, Arc<Table>>,
    /// What its servers have and the VSchema does not list. In a sharded keyspace such a table has rows on
    /// every shard and no vindex, so it can be read and changed and takes no new rows (Vitess's tracked
    /// tables).
    unlisted: BTreeMap<Arc<str>, Arc<Table>>,
    schema: Option<Arc<KeyspaceSchema>>,
    error: Option<String>,
}

/// What an unqualified table name means over all keyspaces.
#[derive(Debug, Clone, PartialEq)]
enum Global {
    Table(Arc<Table>),
    Ambiguous,
}

/// A VSchema file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid VSchema: {0}")]
pub struct VSchemaError(String);

// === impl VSchema ===

impl VSchema {
    /// Builds it, with nothing known from servers. Never fails: errors stay with their keyspace or
    /// rule, and statements that need those fail. `version` tells one VSchema from the next in the
    /// plan cache.
    #[must_use]
    pub fn new(source: Source, version: u64) -> Self {
        Self::build(source, Arc::default(), version)
    }

    /// The same declaration with what servers say about the tables.
    #[must_use]
    pub fn with_schema(&self, schema: Arc<Schema>, version: u64) -> Self {
        Self::build(self.source.clone(), schema, version)
    }

    fn build(source: Source, schema: Arc<Schema>, version: u64) -> Self {
        let mut keyspaces: BTreeMap<Arc<str>, Keyspace> = source
            .keyspaces
            .iter()
            .map(|(name, keyspace)| {
                let known = schema.keyspaces.get(name.as_str());
                (Arc::from(name.as_str()), build::keyspace(name, keyspace, known))
            })
            .collect();
        build::link_references(&mut keyspaces);
        let sharded_views = keyspaces.values().any(|own| own.sharded && own.views().next().is_some());
        let mut vschema = Self {
            sharded_views,
            version,
            schema,
            keyspaces,
            global: HashMap::new(),
            routing_rules: HashMap::new(),
            keyspace_rules: rules::keyspace_rules(&source),
            source,
        };
        vschema.name_globally();
        vschema.routing_rules = rules::routing_rules(&vschema);
        if vschema.resolve_sequences() {
            vschema.name_globally();
            vschema.routing_rules = rules::routing_rules(&vschema);
        }
        vschema
    }

    /// Reads `{"keyspaces": {…}, "routing_rules": {…}, …}`.
    ///
    /// # Errors
    /// What is not JSON of that form, naming the field and the line.
    pub fn from_json(text: &str, version: u64) -> Result<Self, VSchemaError> {
        Source::from_json(text).map(|source| Self::new(source, version))
    }

    /// The number that tells this VSchema from others.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What it was built from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What the servers said, as far as they have been asked.
    #[must_use]
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The declaration as JSON, in the form of [`Self::from_json`].
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(&self.source).unwrap_or_default()
    }

    /// What is wrong with table routing rules: statements that name such a table fail.
    #[must_use]
    pub fn rule_errors(&self) -> Vec<String> {
        let mut errors: Vec<String> =
            self.routing_rules.iter().filter_map(|(from, rule)| rule.error(from)).collect();
        errors.sort();
        errors
    }

    /// The table routing rules that are wrong whatever tables the servers have: the table, and what is
    /// wrong.
    pub fn wrong_rules(&self) -> impl Iterator<Item = (&str, String)> {
        let wrong = self.routing_rules.iter().filter(|(_, rule)| rule.is_wrong());
        wrong.filter_map(|(from, rule)| Some((&**from, rule.error(from)?)))
    }

    /// What is wrong with keyspace routing rules.
    pub fn wrong_keyspace_rules(&self) -> impl Iterator<Item = String> {
        rules::wrong_keyspace_rules(self)
    }

    /// Rules that are read and shown, and that nobody obeys.
    #[must_use]
    pub fn not_obeyed(&self) -> Vec<String> {
        let rules = self.source.mirror_rules.rules.iter();
        let told = rules.map(|rule| format!("no read of {} is copied to {}", rule.from_table, rule.to_table));
        told.map(|what| format!("mirror rules are not obeyed: {what}")).collect()
    }

    /// The keyspace of this name.
    #[must_use]
    pub fn keyspace(&self, name: &str) -> Option<&Keyspace> {
        self.keyspaces.get(name)
    }

    /// Whether a sharded keyspace has views.
    #[must_use]
    pub fn has_sharded_views(&self) -> bool {
        self.sharded_views
    }

    /// All keyspaces, in order of their names.
    pub fn keyspaces(&self) -> impl Iterator<Item = &Keyspace> {
        self.keyspaces.values()
    }
}

// === impl Keyspace ===

impl Keyspace {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether rows are spread over shards by vindexes.
    #[must_use]
    pub fn is_sharded(&self) -> bool {
        self.sharded
    }

    /// Whether its tables are found only when qualified.
    #[must_use]
    pub fn requires_explicit_routing(&self) -> bool {
        self.require_explicit_routing
    }

    /// Who looks after foreign keys; never [`ForeignKeyMode::Unspecified`].
    #[must_use]
    pub fn foreign_key_mode(&self) -> ForeignKeyMode {
        match self.foreign_key_mode {
            ForeignKeyMode::Unspecified => ForeignKeyMode::Unmanaged,
            given => given,
        }
    }

    /// What is wrong with it, if anything: statements that name the keyspace fail with this.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Its declared tables, in order of their names.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    /// The tables that its servers have and the VSchema does not list, in order of their names.
    pub fn unlisted_tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.unlisted.values()
    }

    /// The declared table of this name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Arc<Table>> {
        self.tables.get(name)
    }

    /// Its views, in order of their names, where its servers have been asked.
    pub fn views(&self) -> impl Iterator<Item = (&Arc<str>, &View)> {
        self.schema.iter().flat_map(|schema| &schema.views)
    }

    /// The view of this name.
    #[must_use]
    pub fn view(&self, name: &str) -> Option<&View> {
        self.schema.as_ref()?.views.get(name)
    }

    /// Its vindexes, in order of their names.
    pub fn vindexes(&self) -> impl Iterator<Item = &Arc<Vindex>> {
        self.vindexes.values()
    }

    /// The vindex of this name.
    #[must_use]
    pub fn vindex(&self, name: &str) -> Option<&Arc<Vindex>> {
        self.vindexes.get(name)
    }

    /// The table that the VSchema calls this vindex's owner.
    #[must_use]
    pub fn owner(&self, vindex: &str) -> Option<&Arc<str>> {
        self.owners.get(vindex)
    }

    /// Remembers what is wrong; the first fault counts.
    fn fail(&mut self, error: String) {
        self.error.get_or_insert(error);
    }
}

// === impl Source ===

impl Source {
    /// Reads `{"keyspaces": {…}, "routing_rules": {…}, …}`.
    ///
    /// # Errors
    /// What is not JSON of that form, naming the field and the line.
    pub fn from_json(text: &str) -> Result<Self, VSchemaError> {
        serde_json::from_str(text).map_err(|error| VSchemaError(error.to_string()))
    }
}

// === impl KeyspaceSource ===

impl KeyspaceSource {
    /// Reads one keyspace's `vschema.json`: `{"sharded": …, "vindexes": {…}, "tables": {…}}`.
    ///
    /// # Errors
    /// What is not JSON of that form, naming the field and the line.
    pub fn from_json(text: &str) -> Result<Self, VSchemaError> {
        serde_json::from_str(text).map_err(|error| VSchemaError(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
