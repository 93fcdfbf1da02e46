//! What does ALTER VSCHEMA do to a keyspace's VSchema?
//!
//! Pure: the statement has been read, and the result is a VSchema that someone else stores.

use std::collections::BTreeMap;

use super::source::{AutoIncrementSource, ColumnVindexSource, KeyspaceSource, TableSource, VindexSource};

/// One ALTER VSCHEMA statement, without its keyspace.
#[derive(Debug, Clone, PartialEq)]
pub enum VSchemaChange {
    /// `CREATE VINDEX v USING type [WITH …]`: the keyspace is sharded from then on.
    CreateVindex {
        /// The vindex.
        name: String,
        /// What it is.
        vindex: VindexSource,
    },
    /// `DROP VINDEX v`
    DropVindex {
        /// The vindex.
        name: String,
    },
    /// `ADD TABLE t`
    AddTable {
        /// The table.
        table: String,
    },
    /// `DROP TABLE t`
    DropTable {
        /// The table.
        table: String,
    },
    /// `ON t ADD VINDEX v (columns) [USING type [WITH …]]`
    AddColumnVindex {
        /// The table; one that is not declared is declared by this.
        table: String,
        /// The vindex.
        name: String,
        /// Its columns.
        columns: Vec<String>,
        /// What it is, where USING says so: it is created, or must be the same.
        vindex: Option<VindexSource>,
    },
    /// `ON t DROP VINDEX v`
    DropColumnVindex {
        /// The table; with its last vindex it is not declared any more.
        table: String,
        /// The vindex.
        name: String,
    },
    /// `ADD SEQUENCE s`
    AddSequence {
        /// The sequence table.
        table: String,
    },
    /// `DROP SEQUENCE s`
    DropSequence {
        /// The sequence table.
        table: String,
    },
    /// `ON t ADD AUTO_INCREMENT c USING s`
    AddAutoIncrement {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// The sequence table, possibly qualified.
        sequence: String,
    },
    /// `ON t DROP AUTO_INCREMENT`
    DropAutoIncrement {
        /// The table.
        table: String,
    },
}

// === impl VSchemaChange ===

impl VSchemaChange {
    /// Changes a VSchema.
    ///
    /// # Errors
    /// Why the change does not fit; the VSchema is then as it was.
    pub fn apply(&self, keyspace: &str, source: &mut KeyspaceSource) -> Result<(), String> {
        match self {
            Self::CreateVindex { name, vindex } => {
                if source.vindexes.contains_key(name) {
                    return Err(format!("vindex {name} already exists in keyspace {keyspace}"));
                }
                source.sharded = true;
                source.vindexes.insert(name.clone(), vindex.clone());
            }
            Self::DropVindex { name } => drop_vindex(keyspace, name, source)?,
            Self::AddTable { table } => {
                if source.sharded {
                    return Err(format!("add vschema table: unsupported on sharded keyspace {keyspace}"));
                }
                add_table(keyspace, table, TableSource::default(), &mut source.tables)?;
            }
            Self::DropTable { table } => {
                if source.tables.remove(table).is_none() {
                    return Err(no_table(keyspace, table));
                }
            }
            Self::AddColumnVindex { table, name, columns, vindex } => {
                add_column_vindex(keyspace, table, name, columns, vindex.as_ref(), source)?;
            }
            Self::DropColumnVindex { table, name } => drop_column_vindex(keyspace, table, name, source)?,
            Self::AddSequence { table } => {
                if source.sharded {
                    return Err(format!("add sequence table: unsupported on sharded keyspace {keyspace}"));
                }
                let sequence = TableSource { kind: "sequence".into(), ..TableSource::default() };
                add_table(keyspace, table, sequence, &mut source.tables)?;
            }
            Self::DropSequence { table } => {
                let is_sequence = source.tables.get(table).is_some_and(|table| table.kind == "sequence");
                if !is_sequence {
                    return Err(format!("vschema does not contain sequence {table} in keyspace {keyspace}"));
                }
                source.tables.remove(table);
            }
            Self::AddAutoIncrement { table, column, sequence } => {
                let own = source.tables.get_mut(table).ok_or_else(|| no_table(keyspace, table))?;
                if own.auto_increment.is_some() {
                    return Err(format!(
                        "vschema already contains auto increment on table {table} in keyspace {keyspace}"
                    ));
                }
                own.auto_increment =
                    Some(AutoIncrementSource { column: column.clone(), sequence: sequence.clone() });
            }
            Self::DropAutoIncrement { table } => {
                let own = source.tables.get_mut(table).ok_or_else(|| no_table(keyspace, table))?;
                if own.auto_increment.take().is_none() {
                    return Err(format!(
                        "vschema does not contain auto increment on table {table} in keyspace {keyspace}"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn no_table(keyspace: &str, table: &str) -> String {
    format!("vschema does not contain table {table} in keyspace {keyspace}")
}

fn add_table(
    keyspace: &str,
    name: &str,
    table: TableSource,
    tables: &mut BTreeMap<String, TableSource>,
) -> Result<(), String> {
    if tables.contains_key(name) {
        return Err(format!("vschema already contains table {name} in keyspace {keyspace}"));
    }
    tables.insert(name.to_owned(), table);
    Ok(())
}

fn drop_vindex(keyspace: &str, name: &str, source: &mut KeyspaceSource) -> Result<(), String> {
    if !source.vindexes.contains_key(name) {
        return Err(format!("vindex {name} does not exist in keyspace {keyspace}"));
    }
    let uses = |table: &TableSource| table.column_vindexes.iter().any(|vindex| vindex.name == name);
    if let Some((table, _)) = source.tables.iter().find(|(_, table)| uses(table)) {
        return Err(format!("vindex {name} is still used by table {table}"));
    }
    source.vindexes.remove(name);
    Ok(())
}

fn add_column_vindex(
    keyspace: &str,
    table: &str,
    name: &str,
    columns: &[String],
    vindex: Option<&VindexSource>,
    source: &mut KeyspaceSource,
) -> Result<(), String> {
    match (vindex, source.vindexes.get(name)) {
        (None, None) => return Err(format!("vindex {name} does not exist in keyspace {keyspace}")),
        (Some(said), Some(known)) if said.kind != known.kind => {
            return Err(format!("vindex {name} is defined with type {}, not {}", known.kind, said.kind));
        }
        (Some(said), Some(known)) if said.owner != known.owner => {
            return Err(format!("vindex {name} is defined with owner {}, not {}", known.owner, said.owner));
        }
        (Some(said), Some(known)) if said.params != known.params => {
            return Err(format!("vindex {name} is defined with other parameters"));
        }
        _ => {}
    }
    let known = source.tables.get(table);
    if known.is_some_and(|known| known.column_vindexes.iter().any(|vindex| vindex.name == name)) {
        return Err(format!("vindex {name} already defined on table {table}"));
    }
    if let Some(vindex) = vindex {
        source.vindexes.entry(name.to_owned()).or_insert_with(|| vindex.clone());
        source.sharded = true;
    }
    let column_vindex = ColumnVindexSource {
        name: name.to_owned(),
        columns: columns.to_vec(),
        ..ColumnVindexSource::default()
    };
    source.tables.entry(table.to_owned()).or_default().column_vindexes.push(column_vindex);
    Ok(())
}

fn drop_column_vindex(
    keyspace: &str,
    table: &str,
    name: &str,
    source: &mut KeyspaceSource,
) -> Result<(), String> {
    let own = source.tables.get_mut(table).ok_or_else(|| no_table(keyspace, table))?;
    let at = own.column_vindexes.iter().position(|vindex| vindex.name == name);
    let at = at.ok_or_else(|| format!("vindex {name} not defined in table {keyspace}.{table}"))?;
    own.column_vindexes.remove(at);
    if own.column_vindexes.is_empty() {
        source.tables.remove(table);
    }
    Ok(())
}
