//! How are records read from etcd (or, for looking only, from a topology file) and written?
//!
//! A record's version is the revision of its last change. Whoever changes a record says which version
//! the change was made from; a write over someone else's change fails instead of undoing it.
//!
//! Reads are tried on all endpoints, writes are not: a write that got no answer may have happened.

use std::collections::BTreeMap;
use std::sync::Arc;

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, Txn, TxnOp, WatchOptions, WatchStream,
};

use super::servers::{Answer, Servers};
use crate::config::Topology as Settings;
use crate::metrics::Metrics;

/// One root (the global one or a cell's) of a topology.
#[derive(Debug, Clone)]
pub struct Store {
    home: Home,
    cell: Arc<str>,
    root: Arc<str>,
}

/// Where records are.
#[derive(Debug, Clone)]
enum Home {
    /// In etcd.
    Etcd(Arc<Servers>),
    /// In a file that people write: records by key, and why they are not changed here.
    Fixed(Arc<BTreeMap<String, Vec<u8>>>, Arc<str>),
}

/// A record with its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its path under the root.
    pub path: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The revision of its last change.
    pub version: i64,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no such record.
    #[error("node doesn't exist: {0}")]
    NoNode(String),
    /// There is such a record already.
    #[error("node already exists: {0}")]
    NodeExists(String),
    /// Someone else has changed the record meanwhile.
    #[error("the record was changed by someone else meanwhile: {0}")]
    BadVersion(String),
    /// etcd gave no answer.
    #[error("etcd at {endpoint} cannot be reached: {why}")]
    Away {
        /// Which endpoint was asked.
        endpoint: String,
        /// What went wrong.
        why: String,
    },
    /// etcd refused.
    #[error("etcd: {0}")]
    Refused(String),
    /// A record that cannot be read.
    #[error("{path}: {why}")]
    Record {
        /// Its path.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

/// etcd answers a request for this many records at a time.
const PAGE: i64 = 500;
/// The largest answer that is accepted: a page of the largest records that etcd takes by default
/// would be 750 MiB, real pages are far smaller.
const LARGEST_ANSWER: usize = 256 << 20;
// === impl Store ===

impl Store {
    /// The global root. Nothing is dialled yet.
    ///
    /// # Errors
    /// Certificates that cannot be read.
    pub fn new(settings: &Settings, metrics: Option<Arc<Metrics>>) -> Result<Self, String> {
        let servers = Servers::new(settings, settings.endpoints.clone(), metrics)?;
        let root = settings.root.trim_end_matches('/').into();
        Ok(Self { home: Home::Etcd(Arc::new(servers)), cell: "global".into(), root })
    }

    /// A global root without etcd: records by key, which can be read. Writing fails with `refusal`.
    #[must_use]
    pub fn fixed(root: &str, records: BTreeMap<String, Vec<u8>>, refusal: &str) -> Self {
        let home = Home::Fixed(Arc::new(records), refusal.into());
        Self { home, cell: "global".into(), root: root.into() }
    }

    /// The root of a cell. It may be on other servers than the global one; an empty address means the
    /// same servers.
    ///
    /// # Errors
    /// Certificates that cannot be read.
    pub fn of_cell(
        &self,
        settings: &Settings,
        cell: &str,
        address: &str,
        root: &str,
    ) -> Result<Self, String> {
        let endpoints: Vec<String> =
            address.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect();
        let home = match &self.home {
            Home::Etcd(servers) if !endpoints.is_empty() && endpoints != servers.endpoints => {
                Home::Etcd(Arc::new(Servers::new(settings, endpoints, servers.metrics.clone())?))
            }
            same => same.clone(),
        };
        Ok(Self { home, cell: cell.into(), root: root.trim_end_matches('/').into() })
    }

    /// `global`, or the name of the cell.
    #[must_use]
    pub fn cell(&self) -> &Arc<str> {
        &self.cell
    }

    /// The endpoints, for messages.
    #[must_use]
    pub fn endpoints(&self) -> String {
        self.servers().map(|servers| servers.endpoints.join(",")).unwrap_or_default()
    }

    /// The key of a path.
    pub(super) fn key_of(&self, path: &str) -> String {
        format!("{}/{path}", self.root)
    }

    /// The path of a key under this root.
    #[must_use]
    pub fn path_of(&self, key: &[u8]) -> Option<String> {
        let key = std::str::from_utf8(key).ok()?;
        key.strip_prefix(&*self.root)?.strip_prefix('/').map(ToOwned::to_owned)
    }

    fn servers(&self) -> Result<&Arc<Servers>, StoreError> {
        match &self.home {
            Home::Etcd(servers) => Ok(servers),
            Home::Fixed(_, refusal) => Err(StoreError::Refused(refusal.to_string())),
        }
    }

    /// One record.
    ///
    /// # Errors
    /// [`StoreError::NoNode`], or etcd's.
    pub async fn get(&self, path: &str) -> Result<Record, StoreError> {
        let key = self.key_of(path);
        if let Home::Fixed(records, _) = &self.home {
            let bytes = records.get(&key).ok_or_else(|| StoreError::NoNode(path.into()))?;
            return Ok(Record { path: path.into(), bytes: bytes.clone(), version: 0 });
        }
        let answer = self
            .ask("Get", |mut client| {
                let key = key.clone();
                async move { client.get(key, None).await }
            })
            .await?;
        let found = answer.kvs().first().ok_or_else(|| StoreError::NoNode(path.into()))?;
        Ok(Record { path: path.into(), bytes: found.value().to_vec(), version: found.mod_revision() })
    }

    /// One record, or none.
    ///
    /// # Errors
    /// etcd's.
    pub async fn find(&self, path: &str) -> Result<Option<Record>, StoreError> {
        match self.get(path).await {
            Ok(record) => Ok(Some(record)),
            Err(StoreError::NoNode(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every record below a folder (below the root, for an empty one), all as of one revision, which
    /// is the second result.
    ///
    /// # Errors
    /// etcd's.
    pub async fn list(&self, folder: &str) -> Result<(Vec<Record>, i64), StoreError> {
        let prefix = if folder.is_empty() { self.key_of("") } else { self.key_of(folder) + "/" };
        if let Home::Fixed(records, _) = &self.home {
            let below = records.iter().filter_map(|(key, bytes)| {
                let path = key.starts_with(&prefix).then(|| self.path_of(key.as_bytes()))??;
                Some(Record { path, bytes: bytes.clone(), version: 0 })
            });
            return Ok((below.collect(), 0));
        }
        let end = end_of_prefix(&prefix);
        let (mut records, mut revision, mut from) = (Vec::new(), 0, prefix.into_bytes());
        loop {
            let options = GetOptions::new().with_range(end.clone()).with_limit(PAGE).with_revision(revision);
            let call = |client: Client| {
                let (from, options) = (from.clone(), options.clone());
                let mut kv = client.kv_client().max_decoding_message_size(LARGEST_ANSWER);
                async move { kv.get(from, Some(options)).await }
            };
            let mut answer = self.ask("List", call).await?;
            if revision == 0 {
                revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
            }
            let more = answer.more();
            let kvs = answer.take_kvs();
            let last = kvs.last().map(|last| last.key().to_vec());
            records.extend(kvs.into_iter().filter_map(|kv| {
                let (path, version) = (self.path_of(kv.key())?, kv.mod_revision());
                Some(Record { path, bytes: kv.into_key_value().1, version })
            }));
            match last {
                // The next key after the last one.
                Some(last) if more => from = [last, vec![0]].concat(),
                _ => return Ok((records, revision)),
            }
        }
    }

    /// The names right below a folder, in order, once each.
    ///
    /// # Errors
    /// etcd's.
    pub async fn names(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let prefix = self.key_of(folder) + "/";
        let keys: Vec<Vec<u8>> = if let Home::Fixed(records, _) = &self.home {
            records
                .keys()
                .filter(|key| key.starts_with(&prefix))
                .map(|key| key.clone().into_bytes())
                .collect()
        } else {
            let options = GetOptions::new().with_prefix().with_keys_only();
            let call = |client: Client| {
                let (prefix, options) = (prefix.clone(), options.clone());
                let mut kv = client.kv_client().max_decoding_message_size(LARGEST_ANSWER);
                async move { kv.get(prefix, Some(options)).await }
            };
            self.ask("ListDir", call).await?.kvs().iter().map(|kv| kv.key().to_vec()).collect()
        };
        let mut names: Vec<String> = Vec::new();
        for key in keys {
            let below = key.get(prefix.len()..).and_then(|rest| std::str::from_utf8(rest).ok());
            let name = below.and_then(|rest| rest.split('/').next()).unwrap_or_default();
            if names.last().is_none_or(|last| last != name) {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Writes a record that is not there yet.
    ///
    /// # Errors
    /// [`StoreError::NodeExists`], or etcd's.
    pub async fn create(&self, path: &str, bytes: Vec<u8>) -> Result<i64, StoreError> {
        let key = self.key_of(path);
        let absent = Compare::version(key.as_str(), CompareOp::Equal, 0);
        self.write("Create", absent, TxnOp::put(key, bytes, None))
            .await?
            .ok_or_else(|| StoreError::NodeExists(path.into()))
    }

    /// Writes a record whose key goes away with a lease.
    ///
    /// # Errors
    /// [`StoreError::NodeExists`], or etcd's.
    pub(super) async fn create_leased(
        &self,
        path: &str,
        bytes: Vec<u8>,
        lease: i64,
    ) -> Result<i64, StoreError> {
        let key = self.key_of(path);
        let absent = Compare::version(key.as_str(), CompareOp::Equal, 0);
        let put = TxnOp::put(key, bytes, Some(PutOptions::new().with_lease(lease)));
        self.write("Create", absent, put).await?.ok_or_else(|| StoreError::NodeExists(path.into()))
    }

    /// Writes a record over the version that the change was made from.
    ///
    /// # Errors
    /// [`StoreError::BadVersion`], or etcd's.
    pub async fn update(&self, path: &str, bytes: Vec<u8>, version: i64) -> Result<i64, StoreError> {
        let key = self.key_of(path);
        let same = Compare::mod_revision(key.as_str(), CompareOp::Equal, version);
        self.write("Update", same, TxnOp::put(key, bytes, None))
            .await?
            .ok_or_else(|| StoreError::BadVersion(path.into()))
    }

    /// Writes a record, whatever is there.
    ///
    /// # Errors
    /// etcd's.
    pub async fn put(&self, path: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        let key = self.key_of(path);
        let put = |mut client: Client| async move { client.put(key, bytes, None).await };
        self.once("Update", put).await.map(drop)
    }

    /// Removes a record.
    ///
    /// # Errors
    /// [`StoreError::NoNode`], or etcd's.
    pub async fn delete(&self, path: &str) -> Result<(), StoreError> {
        let key = self.key_of(path);
        let there = Compare::version(key.as_str(), CompareOp::Greater, 0);
        let done = self.write("Delete", there, TxnOp::delete(key, None)).await?;
        done.map(drop).ok_or_else(|| StoreError::NoNode(path.into()))
    }

    /// Removes everything below a folder.
    ///
    /// # Errors
    /// etcd's.
    pub async fn delete_folder(&self, folder: &str) -> Result<(), StoreError> {
        let prefix = self.key_of(folder) + "/";
        let options = DeleteOptions::new().with_prefix();
        let delete = |mut client: Client| async move { client.delete(prefix, Some(options)).await };
        self.once("Delete", delete).await.map(drop)
    }

    /// Every change below a folder (below the root, for an empty one) from a revision on.
    ///
    /// # Errors
    /// etcd's.
    pub async fn watch(&self, folder: &str, revision: i64) -> Result<WatchStream, StoreError> {
        let prefix = if folder.is_empty() { self.key_of("") } else { self.key_of(folder) + "/" };
        let options = WatchOptions::new().with_prefix().with_start_revision(revision);
        let watch = |client: Client| async move {
            let mut watch = client.watch_client().max_decoding_message_size(LARGEST_ANSWER);
            watch.watch(prefix, Some(options)).await
        };
        self.once("Watch", watch).await
    }

    /// Every change of one record from a revision on.
    pub(super) async fn watch_one(&self, path: &str, revision: i64) -> Result<WatchStream, StoreError> {
        let key = self.key_of(path);
        let options = WatchOptions::new().with_start_revision(revision);
        let watch = |mut client: Client| async move { client.watch(key, Some(options)).await };
        self.once("Watch", watch).await
    }

    /// Calls etcd once with the client of the present endpoint, for leases.
    pub(super) async fn once<T, F: Future<Output = Answer<T>>>(
        &self,
        operation: &str,
        call: impl FnOnce(Client) -> F,
    ) -> Result<T, StoreError> {
        self.servers()?.call(&self.cell, operation, call).await
    }

    /// Tries every endpoint once.
    async fn ask<T, F: Future<Output = Answer<T>>>(
        &self,
        operation: &str,
        call: impl Fn(Client) -> F,
    ) -> Result<T, StoreError> {
        let (mut last, servers) = (None, self.servers()?);
        for _ in 0..servers.endpoints.len() {
            match servers.call(&self.cell, operation, &call).await {
                Err(error @ StoreError::Away { .. }) => last = Some(error),
                done => return done,
            }
        }
        Err(last.unwrap_or_else(|| StoreError::Refused("there is no endpoint".into())))
    }

    /// Does `operation` if `condition` holds; the new revision then, and none otherwise.
    async fn write(
        &self,
        name: &str,
        condition: Compare,
        operation: TxnOp,
    ) -> Result<Option<i64>, StoreError> {
        let txn = Txn::new().when([condition]).and_then([operation]);
        let answer = self.once(name, |mut client| async move { client.txn(txn).await }).await?;
        let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
        Ok(answer.succeeded().then_some(revision))
    }
}

/// The first key behind all keys with this prefix. A prefix of a topology ends in `/`.
fn end_of_prefix(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}
