//! Does a driver that knows nothing of the gate work with it, many connections at a time?

use std::time::Duration;

use mysql_async::prelude::Queryable;

use crate::runner::{Bed, Test, Verdict};

pub const TESTS: &[Test] = &[
    Test::shared("driver/a pool of connections", pool),
    Test::shared("driver/transfers keep the sum", transfers),
    Test::shared("driver/compressed", compressed),
];

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_secs(5));
    result
}

/// Packets inside compressed packets, text and binary, around the sizes at which they split.
fn compressed(bed: &Bed) -> Verdict {
    let port = bed.cluster().gate.mysql;
    block_on(async {
        let options = mysql_async::OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(port)
            .user(Some("e2e"))
            .db_name(Some("e2e"))
            .prefer_socket(false)
            .compression(Some(mysql_async::Compression::fast()));
        let mut conn = mysql_async::Conn::new(options).await?;
        for length in [0_usize, 1, 49, 50, 16_000, 300_000, 16_777_209, 16_777_210, 16_777_215, 20_000_000] {
            let bytes: Vec<u8> = (0..length).map(|at| (at * at / 251).to_le_bytes()[0]).collect();
            conn.exec_drop("replace into blobs (id, body) values (?, ?)", (77, &bytes)).await?;
            let binary: Option<Vec<u8>> =
                conn.exec_first("select body from blobs where id = ?", (77,)).await?;
            let text: Option<Vec<u8>> = conn.query_first("select body from blobs where id = 77").await?;
            assert!(
                binary.as_deref() == Some(&bytes[..]) && text.as_deref() == Some(&bytes[..]),
                "{length} bytes"
            );
        }
        let ids: Vec<u64> = conn.query("select id from customer order by id").await?;
        assert_eq!(ids.len(), 300);
        conn.reset().await?;
        conn.change_user(mysql_async::ChangeUserOpts::default().with_user(Some("e2e".into()))).await?;
        conn.query_drop("delete from e2e.blobs where id = 77").await?;
        conn.disconnect().await
    })
    .unwrap();
    Ok(())
}

fn pool(bed: &Bed) -> Verdict {
    let pool = bed.cluster().gate.driver("e2e");
    block_on(async {
        let work = (0..32_u64).map(|worker| {
            let pool = pool.clone();
            async move {
                for round in 0..20 {
                    let mut conn = pool.get_conn().await?;
                    let id = 1 + (worker * 20 + round) % 300;
                    let text: Option<(u64, String)> =
                        conn.query_first(format!("select id, name from customer where id = {id}")).await?;
                    let binary: Option<(u64, String)> =
                        conn.exec_first("select id, name from customer where id = ?", (id,)).await?;
                    assert_eq!(text, binary, "customer {id}");
                    assert_eq!(text.map(|(found, _)| found), Some(id));
                    let all: Vec<u64> = conn.query("select id from customer order by id").await?;
                    assert_eq!(all.len(), 300);
                    if round % 5 == 0 {
                        let error =
                            conn.query_drop("select * from nowhere").await.expect_err("no such table");
                        assert!(
                            matches!(&error, mysql_async::Error::Server(error) if error.code == 1146),
                            "{error}"
                        );
                    }
                }
                Ok::<_, mysql_async::Error>(())
            }
        });
        for result in futures_util::future::join_all(work).await {
            result.unwrap();
        }
        pool.disconnect().await.unwrap();
    });
    Ok(())
}

/// Money moves between accounts on different shards; whatever interleaves, none is lost or made.
fn transfers(bed: &Bed) -> Verdict {
    const ACCOUNTS: i64 = 40;
    let cluster = bed.cluster();
    let mut wire = cluster.gate.connect("e2e").unwrap();
    let values: Vec<String> = (2001..=2000 + ACCOUNTS).map(|id| format!("({id}, 1000)")).collect();
    wire.ok(format!("insert into w_driver (id, n) values {}", values.join(", "))).unwrap();
    let pool = cluster.gate.driver("e2e");
    block_on(async {
        let work = (0..8_i64).map(|worker| {
            let pool = pool.clone();
            async move {
                let mut conn = pool.get_conn().await?;
                for round in 0..25_i64 {
                    let (one, other) =
                        ((worker * 7 + round * 3) % ACCOUNTS, (worker * 11 + round * 5 + 1) % ACCOUNTS);
                    if one == other {
                        continue;
                    }
                    // In the order of the ids, so that no two transfers wait for each other.
                    let (low, high) = (2001 + one.min(other), 2001 + one.max(other));
                    let mut transaction = conn.start_transaction(mysql_async::TxOpts::default()).await?;
                    transaction.exec_drop("update w_driver set n = n - ? where id = ?", (round, low)).await?;
                    transaction
                        .exec_drop("update w_driver set n = n + ? where id = ?", (round, high))
                        .await?;
                    if round % 4 == 0 {
                        transaction.rollback().await?;
                    } else {
                        transaction.commit().await?;
                    }
                }
                Ok::<_, mysql_async::Error>(())
            }
        });
        for result in futures_util::future::join_all(work).await {
            result.unwrap();
        }
        pool.disconnect().await.unwrap();
    });
    let sum = wire.value("select sum(n) from w_driver where id > 2000").unwrap();
    assert_eq!(sum, Some((ACCOUNTS * 1000).to_string()));
    let shards: u64 = cluster
        .per_shard("e2e", |database| {
            format!("select coalesce(sum(n), 0) from `{database}`.w_driver where id > 2000")
        })
        .iter()
        .sum();
    assert_eq!(shards, (ACCOUNTS * 1000) as u64, "asked of the servers directly");
    wire.ok("delete from w_driver where id > 2000").unwrap();
    Ok(())
}
