//! Do reads stay away from replicas that are late, by their own word and by a heartbeat?

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::PATIENCE;
use crate::gate::{Gate, code, connect};
use crate::reparent::Bed;

#[tokio::test(flavor = "multi_thread")]
async fn late_replicas_get_no_reads() {
    for program in crate::programs("late replicas") {
        late(&program).await;
    }
}

/// Writes the heartbeat on the primary, so many seconds old.
async fn beat(primary: &mut Conn, age: u32) {
    let now = "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000000 AS UNSIGNED)";
    primary.query_drop(format!("UPDATE main.heartbeat SET ts = {now} - {age} * 1000000000")).await.unwrap();
}

/// The servers that answer 40 reads.
async fn readers(client: &mut Conn) -> Result<BTreeSet<u32>, mysql_async::Error> {
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        seen.extend(client.query_first::<u32, _>("SELECT @@server_id FROM m LIMIT 1").await?);
    }
    Ok(seen)
}

/// The lags of the replicas in seconds, as the gate shows them; none where one is not known.
async fn lags(client: &mut Conn) -> Vec<Option<u64>> {
    let rows: Vec<mysql_async::Row> =
        client.query("SHOW VITESS_REPLICATION_STATUS LIKE 'main'").await.unwrap();
    rows.iter().map(|row| row.get::<Option<String>, _>(7).unwrap()?.parse().ok()).collect()
}

async fn late(program: &str) {
    let mut bed = Bed::start(program).await;
    bed.roots[0].query_drop("CREATE TABLE main.heartbeat (ts BIGINT UNSIGNED NOT NULL)").await.unwrap();
    bed.roots[0].query_drop("INSERT INTO main.heartbeat VALUES (0)").await.unwrap();
    bed.roots[0].query_drop("INSERT INTO main.m VALUES (1)").await.unwrap();
    beat(&mut bed.roots[0], 0).await;
    let mut ids: Vec<u32> = Vec::new();
    for root in &mut bed.roots[1..] {
        ids.push(root.query_first("SELECT @@server_id").await.unwrap().unwrap());
        let since = Instant::now();
        while !matches!(root.query_first("SELECT ts > 0 FROM main.heartbeat").await, Ok(Some(true))) {
            assert!(since.elapsed() < PATIENCE, "a replica does not get the heartbeat");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    // The limits are hours for the heartbeat, so that a busy machine is never late.
    let heartbeat = "user = \"gate\"\n[health]\nheartbeat_table = \"main.heartbeat\"\nprobe_interval = \"200ms\"\n\
                     low_replication_lag = \"1h\"\nhigh_replication_lag_minimum_serving = \"2h\"\n\
                     min_number_serving_tablets = 1";
    let gate = Gate::start_as(&bed.etcd, heartbeat);
    let mut client = connect(gate.port, "someone", "main@replica").await;
    let both: BTreeSet<u32> = ids.iter().copied().collect();
    let until = async |client: &mut Conn, what: &str, expected: Result<&BTreeSet<u32>, u16>| {
        let since = Instant::now();
        loop {
            let seen = readers(client).await;
            let same = match (&seen, expected) {
                (Ok(seen), Ok(expected)) => seen == expected,
                (Err(error), Err(expected)) => code(error) == expected,
                _ => false,
            };
            if same {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "{what}: {seen:?}, not {expected:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    until(&mut client, "both are fresh", Ok(&both)).await;
    beat(&mut bed.roots[0], 3 * 3600).await;
    until(&mut client, "both are too late", Err(1429)).await;
    let told = lags(&mut client).await;
    assert!(told.len() == 2 && told.iter().all(|lag| lag.is_some_and(|lag| lag >= 3 * 3600)), "{told:?}");
    // Late, and the best there is: one is wanted.
    beat(&mut bed.roots[0], 5400).await;
    let since = Instant::now();
    let seen = loop {
        match readers(&mut client).await {
            Ok(seen) => break seen,
            Err(error) => assert!(since.elapsed() < PATIENCE, "between the limits: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(seen.is_subset(&both), "{seen:?}");
    beat(&mut bed.roots[0], 0).await;
    until(&mut client, "both are fresh again", Ok(&both)).await;
    drop((client, gate));
    // By their own word: one stands still, and is late in its turn.
    let own = "user = \"gate\"\n[health]\nprobe_interval = \"200ms\"\nlow_replication_lag = \"3s\"\n\
               high_replication_lag_minimum_serving = \"2h\"\nmin_number_serving_tablets = 1";
    let gate = Gate::start_as(&bed.etcd, own);
    let mut client = connect(gate.port, "someone", "main@replica").await;
    until(&mut client, "both replicate", Ok(&both)).await;
    let word = if bed.mariadb { "SLAVE" } else { "REPLICA" };
    bed.roots[1].query_drop(format!("STOP {word} SQL_THREAD")).await.unwrap();
    until(&mut client, "one stands still", Ok(&BTreeSet::from([ids[1]]))).await;
    bed.roots[1].query_drop(format!("START {word} SQL_THREAD")).await.unwrap();
    until(&mut client, "it has caught up", Ok(&both)).await;
    // No source any more, and nothing is known of how late that makes it.
    bed.roots[2].query_drop(format!("STOP {word} IO_THREAD")).await.unwrap();
    until(&mut client, "one does not receive", Ok(&BTreeSet::from([ids[0]]))).await;
}
