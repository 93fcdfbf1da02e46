//! How do a keyspace's declared tables and vindexes become what the planner uses, and what is wrong
//! with them?
//!
//! The first error is remembered on the keyspace, and statements that name the keyspace fail with it;
//! other keyspaces are not harmed. The texts are Vitess's (`go/vt/vtgate/vindexes/vschema.go`).

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::source::{ColumnVindexSource, KeyspaceSource, TableSource};
use super::{Column, ColumnVindex, Keyspace, KeyspaceSchema, Table, TableKind, TableName, names};
use crate::key::KeyspaceId;
use crate::vindex::Vindex;

/// A keyspace with whatever of its tables and vindexes could be built, and what its servers say.
pub(super) fn keyspace(
    name: &str,
    source: &KeyspaceSource,
    schema: Option<&Arc<KeyspaceSchema>>,
) -> Keyspace {
    let mut keyspace = Keyspace {
        name: name.into(),
        sharded: source.sharded,
        require_explicit_routing: source.require_explicit_routing,
        foreign_key_mode: source.foreign_key_mode,
        vindexes: BTreeMap::new(),
        owners: BTreeMap::new(),
        tables: BTreeMap::new(),
        unlisted: BTreeMap::new(),
        schema: schema.cloned(),
        error: None,
    };
    for (vindex, declared) in &source.vindexes {
        match Vindex::new(vindex, &declared.kind, &declared.params) {
            Ok(built) => {
                keyspace.vindexes.insert(built.name().clone(), Arc::new(built));
                if !declared.owner.is_empty() {
                    keyspace.owners.insert(vindex.as_str().into(), declared.owner.as_str().into());
                }
            }
            Err(error) => keyspace.fail(error.to_string()),
        }
    }
    for (table, declared) in &source.tables {
        match build_table(&keyspace, table, declared) {
            Ok(built) => {
                keyspace.tables.insert(built.name.clone(), Arc::new(built));
            }
            Err(error) => keyspace.fail(error),
        }
    }
    if let Some(schema) = schema {
        know(&mut keyspace, schema);
    }
    keyspace
}

/// Tells a keyspace's tables what the servers say about them.
fn know(keyspace: &mut Keyspace, schema: &KeyspaceSchema) {
    for table in keyspace.tables.values_mut() {
        let (columns, keys) = match (schema.tables.get(&table.name), schema.views.get(&table.name)) {
            (Some(known), _) => (&known.columns, Some(&known.keys)),
            (None, Some(view)) => (&view.columns, None),
            (None, None) => continue,
        };
        let table = Arc::make_mut(table);
        table.columns = known_columns(table, columns);
        table.column_list_authoritative = true;
        table.keys = keys.map(|keys| keys.as_slice().into());
    }
    let tables = schema.tables.iter().map(|(name, known)| (name, &known.columns, Some(&known.keys)));
    // A view on a sharded keyspace would show what one shard makes of its own rows.
    let views = schema.views.iter().filter(|_| !keyspace.sharded);
    let views = views.map(|(name, view)| (name, &view.columns, None));
    for (name, columns, keys) in tables.chain(views) {
        if keyspace.tables.contains_key(name) {
            continue;
        }
        let mut table = Table::unlisted(keyspace.name.clone(), name);
        table.sharded = keyspace.sharded;
        table.columns.clone_from(columns);
        table.column_list_authoritative = true;
        table.keys = keys.map(|keys| keys.as_slice().into());
        keyspace.unlisted.insert(name.clone(), Arc::new(table));
    }
}

/// The servers' list, unless the VSchema's is authoritative: then that, and of the servers only what
/// it does not say.
fn known_columns(table: &Table, known: &[Column]) -> Vec<Column> {
    if !table.column_list_authoritative {
        return known.to_vec();
    }
    let completed = |column: &Column| {
        let server = known.iter().find(|known| known.name.eq_ignore_ascii_case(&column.name));
        server.map_or_else(|| column.clone(), |server| column.declared_over(server))
    };
    table.columns.iter().map(completed).collect()
}

fn build_table(keyspace: &Keyspace, name: &str, declared: &TableSource) -> Result<Table, String> {
    let mut table = Table::unlisted(keyspace.name.clone(), name);
    table.sharded = keyspace.sharded;
    table.kind = match declared.kind.as_str() {
        "" => TableKind::Ordinary,
        "reference" => TableKind::Reference,
        "sequence" if keyspace.sharded && declared.pinned.is_empty() => {
            return Err(format!(
                "sequence table has to be in an unsharded keyspace or must be pinned: {name}"
            ));
        }
        "sequence" => TableKind::Sequence,
        other => return Err(format!("unidentified table type {other}")),
    };
    if !declared.source.is_empty() {
        if table.kind != TableKind::Reference {
            return Err(format!("only a reference table has a source: {name}"));
        }
        table.source = Some(names::table(&declared.source)?);
    }
    if !declared.pinned.is_empty() {
        let id = hex::decode(&declared.pinned)
            .map_err(|error| format!("could not decode the keyspace id for pin: {error}"))?;
        table.pinned = Some(KeyspaceId::new(&id));
    }
    let needs_vindex = table.kind != TableKind::Reference && table.pinned.is_none();
    if keyspace.sharded && needs_vindex && declared.column_vindexes.is_empty() {
        return Err(format!("missing primary col vindex for table: {name}"));
    }
    table.columns = columns(name, declared)?;
    table.column_list_authoritative = declared.column_list_authoritative;
    for (position, column_vindex) in declared.column_vindexes.iter().enumerate() {
        let built = build_column_vindex(keyspace, name, column_vindex)?;
        check_column_vindex(name, position, &built)?;
        table.column_vindexes.push(built);
    }
    table.ordered = by_cost(&table.column_vindexes);
    Ok(table)
}

fn columns(table: &str, declared: &TableSource) -> Result<Vec<Column>, String> {
    let mut seen = HashSet::new();
    for column in &declared.columns {
        if !seen.insert(column.name.to_ascii_lowercase()) {
            return Err(format!("duplicate column name '{}' for table: {table}", column.name));
        }
    }
    Ok(declared.columns.iter().map(Column::from).collect())
}

fn build_column_vindex(
    keyspace: &Keyspace,
    table: &str,
    declared: &ColumnVindexSource,
) -> Result<ColumnVindex, String> {
    let name = declared.name.as_str();
    let vindex =
        keyspace.vindexes.get(name).ok_or_else(|| format!("vindex {name} not found for table {table}"))?;
    let mut columns: Vec<Arc<str>> = match (declared.column.as_str(), declared.columns.as_slice()) {
        ("", []) => {
            return Err(format!("must specify at least one column for vindex ({name}) and table ({table})"));
        }
        ("", columns) => columns.iter().map(|column| column.as_str().into()).collect(),
        (column, []) => vec![column.into()],
        _ => {
            return Err(format!(
                "can't use column and columns at the same time in vindex ({name}) and table ({table})"
            ));
        }
    };
    // Vitess maps a vindex of one column by the first column that a table gives it.
    if !vindex.is_lookup() && !vindex.is_multi_column() {
        columns.truncate(1);
    }
    Ok(ColumnVindex {
        columns,
        cost: vindex.cost(),
        unique: vindex.is_unique(),
        prefix: false,
        owned: vindex.is_lookup() && keyspace.owners.get(name).is_some_and(|owner| &**owner == table),
        vindex: vindex.clone(),
    })
}

fn check_column_vindex(table: &str, position: usize, built: &ColumnVindex) -> Result<(), String> {
    let name = built.vindex.name();
    if position == 0 && !built.unique {
        return Err(format!("primary vindex {name} is not Unique for table {table}"));
    }
    if position == 0 && built.owned {
        return Err(format!("primary vindex {name} cannot be owned for table {table}"));
    }
    if position > 0 && built.vindex.is_multi_column() {
        return Err(format!("multi-column vindex {name} should be a primary vindex for table {table}"));
    }
    let (takes, given) = (built.vindex.column_count(), built.columns.len());
    if !built.vindex.is_lookup() && takes != given {
        // Vitess accepts this and then cannot map a row.
        return Err(format!("vindex {name} takes {takes} columns but table {table} gives it {given}"));
    }
    Ok(())
}

/// All ways to route, cheapest first; of equal cost, the one declared first. Each column that is left
/// out at the end of a multi-column vindex makes it one dearer.
fn by_cost(declared: &[ColumnVindex]) -> Vec<ColumnVindex> {
    let mut all = declared.to_vec();
    for whole in declared.iter().filter(|whole| whole.vindex.is_partial()) {
        let dearer = (whole.cost + 1..).zip((1..whole.columns.len()).rev());
        all.extend(dearer.map(|(cost, columns)| ColumnVindex {
            columns: whole.columns[..columns].to_vec(),
            cost,
            unique: false,
            prefix: true,
            ..whole.clone()
        }));
    }
    all.sort_by_key(|vindex| vindex.cost);
    all
}

/// Links reference tables with their sources, which then know their copies.
pub(super) fn link_references(keyspaces: &mut BTreeMap<Arc<str>, Keyspace>) {
    let mut links = Vec::new();
    for keyspace in keyspaces.values() {
        for table in keyspace.tables.values() {
            if let Some(source) = &table.source {
                links.push((table.full_name(), source.clone()));
            }
        }
    }
    let mut linked: BTreeMap<(Arc<str>, TableName), Arc<str>> = BTreeMap::new();
    for (copy, declared) in links {
        let outcome = reference_source(keyspaces, &copy, &declared).and_then(|source| {
            match linked.insert((copy.keyspace.clone(), source.clone()), copy.table.clone()) {
                Some(other) => Err(format!(
                    "source \"{source}\" may not be referenced more than once per keyspace: {other}, {}",
                    copy.table
                )),
                None => Ok(source),
            }
        });
        match outcome {
            Ok(source) => {
                if let Some(table) = table_mut(keyspaces, &source) {
                    table.referenced_by.insert(copy.keyspace.clone(), copy.table.clone());
                }
                if let Some(table) = table_mut(keyspaces, &copy) {
                    table.source = Some(source);
                }
            }
            Err(error) => {
                if let Some(keyspace) = keyspaces.get_mut(&copy.keyspace) {
                    keyspace.fail(error);
                }
            }
        }
    }
}

/// The table that a reference table really names as its source.
fn reference_source(
    keyspaces: &BTreeMap<Arc<str>, Keyspace>,
    copy: &TableName,
    declared: &TableName,
) -> Result<TableName, String> {
    let source = if declared.keyspace.is_empty() {
        unqualified_source(keyspaces, copy, declared)?
    } else {
        declared.clone()
    };
    if source.keyspace == copy.keyspace {
        return Err(format!(
            "source \"{source}\" may not reference a table in the same keyspace as table: {}",
            copy.table
        ));
    }
    let Some(keyspace) = keyspaces.get(&source.keyspace) else {
        return Err(format!("source \"{source}\" references a non-existent keyspace: {}", source.keyspace));
    };
    let Some(table) = keyspace.tables.get(&source.table) else {
        return Err(format!(
            "source \"{source}\" references a table \"{}\" that is not present in the VSchema of keyspace \"{}\"",
            source.table, source.keyspace
        ));
    };
    match (table.kind, &table.source) {
        (_, Some(_)) => Err(format!("reference chaining is not allowed: {source}")),
        (TableKind::Sequence, _) => {
            Err(format!("source \"{source}\" may not reference a table of type \"sequence\": {}", copy.table))
        }
        _ => Ok(source),
    }
}

/// The only other keyspace with a table of this name that is no copy itself.
fn unqualified_source(
    keyspaces: &BTreeMap<Arc<str>, Keyspace>,
    copy: &TableName,
    declared: &TableName,
) -> Result<TableName, String> {
    let mut found = keyspaces.values().filter(|keyspace| {
        keyspace.name != copy.keyspace
            && !keyspace.require_explicit_routing
            && keyspace.tables.get(&declared.table).is_some_and(|table| table.source.is_none())
    });
    match (found.next(), found.next()) {
        (Some(keyspace), None) => {
            Ok(TableName { keyspace: keyspace.name.clone(), table: declared.table.clone() })
        }
        (None, _) => Err(format!("source \"{}\" of table {} not found", declared.table, copy.table)),
        (Some(_), Some(_)) => Err(format!("ambiguous table reference: {}", declared.table)),
    }
}

fn table_mut<'a>(keyspaces: &'a mut BTreeMap<Arc<str>, Keyspace>, name: &TableName) -> Option<&'a mut Table> {
    keyspaces.get_mut(&name.keyspace)?.tables.get_mut(&name.table).map(Arc::make_mut)
}
