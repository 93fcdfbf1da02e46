//! How does an ALTER VSCHEMA statement get into the records?

use prost::Message;

use super::directory::{Directory, Outcome};
use super::path;
use super::store::StoreError;
use super::wire::{self, vschema};
use crate::vschema::{KeyspaceSource, VSchema, VSchemaChange};

/// How often a change is tried again after someone else's.
const TRIES: usize = 20;

impl Directory {
    /// Changes the VSchema of a keyspace and puts it in force in all cells; gives the new one. A VSchema
    /// that gates would refuse is not written.
    ///
    /// # Errors
    /// Why the change does not fit, or etcd's.
    pub async fn alter_vschema(&self, keyspace: &str, change: &VSchemaChange) -> Outcome<KeyspaceSource> {
        let path = path::vschema(keyspace);
        self.global().get(&path::keyspace(keyspace)).await?;
        for _ in 0..TRIES {
            let old = self.global().find(&path).await?;
            let bad = |why| StoreError::Record { path: path.clone(), why };
            let bytes = old.as_ref().map(|old| &old.bytes[..]).unwrap_or_default();
            let record: vschema::Keyspace = wire::decode_to_change(bytes).map_err(bad)?;
            let mut source = KeyspaceSource::try_from(&record).map_err(bad)?;
            change.apply(keyspace, &mut source).map_err(StoreError::Refused)?;
            let mut all = self.source().await?;
            all.keyspaces.insert(keyspace.to_owned(), source.clone());
            let built = VSchema::new(all, 0);
            if let Some(error) = built.keyspace(keyspace).and_then(|keyspace| keyspace.error()) {
                return Err(StoreError::Refused(error.to_owned()));
            }
            let bytes = vschema::Keyspace::from(&source).encode_to_vec();
            if self.global().replace(&path, old, bytes).await? {
                self.rebuild_vschema(&[]).await?;
                return Ok(source);
            }
        }
        Err(StoreError::BadVersion(path))
    }
}
