//! How does a test write a topology without any tool?

use std::time::{Duration, Instant};

use prost::Message;
use shardgate::config::Topology as Settings;
use shardgate::key::KeyRange;
use shardgate::topology::path;
use shardgate::topology::store::{Store, StoreError};
use shardgate::topology::wire::{topodata, vschema};
use shardgate::vschema::{KeyspaceSource, Source};

pub(crate) const SHARDED: &str = r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}},
    "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#;

/// The global root, and that of zone1.
pub(crate) struct Roots {
    pub(crate) global: Store,
    pub(crate) zone1: Store,
}

impl Roots {
    pub(crate) fn new(settings: &Settings) -> Self {
        let global = Store::new(settings, None).unwrap();
        let zone1 = global.of_cell(settings, "zone1", "", "/vitess/zone1").unwrap();
        Self { global, zone1 }
    }

    /// Cell zone1; keyspace ks of two shards with a primary each; keyspace main, not sharded.
    pub(crate) async fn sample(&self) {
        let cell = topodata::CellInfo { server_address: String::new(), root: "/vitess/zone1".into() };
        put(&self.global, &path::cell_info("zone1"), &cell).await;
        self.shards("ks", &["-80", "80-"]).await;
        self.shards("main", &["0"]).await;
        self.tablet("ks", "-80", 100, 3306, topodata::TabletType::Primary).await;
        self.tablet("ks", "80-", 200, 3306, topodata::TabletType::Primary).await;
        self.tablet("main", "0", 300, 3306, topodata::TabletType::Primary).await;
        self.vschemas(&[("ks", SHARDED), ("main", r#"{"tables": {"m": {}}}"#)]).await;
    }

    pub(crate) async fn shards(&self, keyspace: &str, names: &[&str]) {
        let references = names.iter().map(|name| topodata::ShardReference {
            name: (*name).into(),
            key_range: topodata::KeyRange::of(&KeyRange::parse(name).unwrap()),
        });
        let partition = topodata::srv_keyspace::KeyspacePartition {
            served_type: topodata::TabletType::Primary.into(),
            shard_references: references.collect(),
            shard_tablet_controls: Vec::new(),
        };
        let record = topodata::SrvKeyspace { partitions: vec![partition], ..Default::default() };
        put(&self.zone1, &path::srv_keyspace(keyspace), &record).await;
    }

    pub(crate) async fn tablet(
        &self,
        keyspace: &str,
        shard: &str,
        uid: u32,
        port: i32,
        kind: topodata::TabletType,
    ) {
        let alias = topodata::TabletAlias { cell: "zone1".into(), uid };
        let record = topodata::Tablet {
            alias: Some(alias.clone()),
            keyspace: keyspace.into(),
            shard: shard.into(),
            r#type: kind.into(),
            mysql_hostname: format!("host{uid}"),
            mysql_port: port,
            ..Default::default()
        };
        put(&self.zone1, &path::tablet(&(&alias).into()), &record).await;
    }

    pub(crate) async fn vschemas(&self, keyspaces: &[(&str, &str)]) {
        self.vschemas_and_rules(keyspaces, r#"{"rules": []}"#).await;
    }

    pub(crate) async fn vschemas_and_rules(&self, keyspaces: &[(&str, &str)], rules: &str) {
        let mut source = Source::default();
        for (name, json) in keyspaces {
            source.keyspaces.insert((*name).into(), KeyspaceSource::from_json(json).unwrap());
        }
        source.routing_rules = serde_json::from_str(rules).unwrap();
        put(&self.zone1, path::SRV_VSCHEMA, &vschema::SrvVSchema::from(&source)).await;
    }

    /// Changes what gates read: one shard routing rule in place of all.
    pub(crate) async fn shard_rule(&self, from: &str, to: &str, shard: &str) {
        let changed = self.zone1.change::<vschema::SrvVSchema>(path::SRV_VSCHEMA, |served| {
            let rule = vschema::ShardRoutingRule {
                from_keyspace: from.into(),
                to_keyspace: to.into(),
                shard: shard.into(),
            };
            served.shard_routing_rules = Some(vschema::ShardRoutingRules { rules: vec![rule] });
            Ok(())
        });
        changed.await.unwrap();
    }
}

pub(crate) async fn put(store: &Store, path: &str, record: &impl Message) {
    let end = Instant::now() + Duration::from_secs(30);
    // A cluster that has lost its leader takes no writes until it has the next.
    while let Err(error) = store.put(path, record.encode_to_vec()).await {
        assert!(matches!(error, StoreError::Away { .. }) && Instant::now() < end, "{error}");
    }
}
