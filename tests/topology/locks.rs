//! Does a lock keep others out, and does its owner learn when it is lost?

use std::time::{Duration, Instant};

use shardgate::topology::lock::{Lock, LockTimes};
use shardgate::topology::path;
use shardgate::topology::store::StoreError;
use shardgate::topology::wire::topodata;

use crate::PATIENCE;
use crate::etcd::Etcd;
use crate::records::{Roots, put};

const TIMES: LockTimes = LockTimes { wait: Duration::from_secs(30), lease: Duration::from_secs(6) };

#[tokio::test(flavor = "multi_thread")]
async fn one_at_a_time_in_the_order_of_asking() {
    let etcd = Etcd::start();
    let roots = Roots::new(&etcd.settings());
    let store = &roots.global;
    let folder = path::keyspace_folder("ks");
    let missing = Lock::take(store, &folder, "Test", TIMES).await;
    assert_eq!(missing.err(), Some(StoreError::NoNode(folder.clone())));
    put(
        store,
        &path::keyspace("ks"),
        &topodata::Keyspace { sidecar_db_name: "_vt".into(), ..Default::default() },
    )
    .await;
    let first = Lock::take(store, &folder, "First", TIMES).await.unwrap();
    first.check().unwrap();
    // The key is where Vitess looks for it, and says who and why.
    let keys = store.names(&format!("{folder}/locks")).await.unwrap();
    assert_eq!(keys.len(), 1);
    assert!(keys[0].parse::<i64>().is_ok());
    let content = store.get(&format!("{folder}/locks/{}", keys[0])).await.unwrap();
    let content: serde_json::Value = serde_json::from_slice(&content.bytes).unwrap();
    assert_eq!((content["Action"].as_str(), content["Status"].as_str()), (Some("First"), Some("Running")));
    assert!(content["Time"].as_str().unwrap().ends_with('Z'));
    let short = LockTimes { wait: Duration::from_millis(300), ..TIMES };
    let refused = Lock::take(store, &folder, "Short", short).await.err().unwrap().to_string();
    assert!(refused.contains("was not free within") && refused.contains("First"), "{refused}");
    let (other, waiting) = (store.clone(), folder.clone());
    let second = tokio::spawn(async move { Lock::take(&other, &waiting, "Second", TIMES).await });
    let asked = Instant::now();
    while store.names(&format!("{folder}/locks")).await.unwrap().len() < 2 {
        assert!(asked.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!second.is_finished());
    first.release().await.unwrap();
    let second = second.await.unwrap().unwrap();
    second.check().unwrap();
    second.release().await.unwrap();
    assert!(store.names(&format!("{folder}/locks")).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_is_noticed() {
    let etcd = Etcd::start();
    let roots = Roots::new(&etcd.settings());
    let folder = path::keyspace_folder("ks");
    put(
        &roots.global,
        &path::keyspace("ks"),
        &topodata::Keyspace { sidecar_db_name: "_vt".into(), ..Default::default() },
    )
    .await;
    let lock = Lock::take(&roots.global, &folder, "Test", TIMES).await.unwrap();
    // Longer than the lease: it is kept alive.
    tokio::time::sleep(TIMES.lease + Duration::from_secs(2)).await;
    lock.check().unwrap();
    let name = roots.global.names(&format!("{folder}/locks")).await.unwrap().remove(0);
    etcd.ctl(&["lease", "revoke", &format!("{:x}", name.parse::<i64>().unwrap())]);
    let revoked = Instant::now();
    while lock.check().is_ok() {
        assert!(revoked.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Lock::take(&roots.global, &folder, "Next", TIMES).await.unwrap().release().await.unwrap();
}
