//! Does sysbench 1.0 prepare, run and clean up over a sharded keyspace, without one error?

use std::process::Command;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::process;
use crate::runner::{Bed, NotRun, Test, Verdict};

pub const TESTS: &[Test] =
    &[Test { deadline: Duration::from_secs(420), ..Test::own("sysbench/all scripts", all) }];

const TABLES: u64 = 4;
const ROWS: u64 = 1000;

fn sysbench(cluster: &Cluster, script: &str, options: &[&str], command: &str) -> String {
    let mut sysbench = Command::new("sysbench");
    sysbench
        .arg(script)
        .args([
            "--db-driver=mysql",
            "--mysql-host=127.0.0.1",
            "--mysql-user=sb",
            "--mysql-password=sb",
            "--mysql-db=sbtest",
        ])
        .arg(format!("--mysql-port={}", cluster.gate.mysql))
        .arg(format!("--tables={TABLES}"))
        .arg(format!("--table-size={ROWS}"))
        .args(["--rand-type=uniform", "--time=0"])
        .args(options)
        .arg(command);
    let output = process::run(&mut sysbench, "", Duration::from_secs(120)).unwrap();
    let text = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.code, Some(0), "sysbench {script} {options:?} {command}\n{text}");
    assert!(
        !text.contains("FATAL") && !text.contains("(last message"),
        "sysbench {script} {command}\n{text}"
    );
    if command == "run" {
        for line in ["ignored errors:", "reconnects:"] {
            let count =
                text.lines().find_map(|text| text.trim().strip_prefix(line)?.split_whitespace().next());
            assert_eq!(count, Some("0"), "sysbench {script} {options:?}: {line}\n{text}");
        }
    }
    text
}

/// Every table's rows: as the gate counts them, and as its shards' server does.
fn counts(cluster: &Cluster) -> Vec<u64> {
    let mut wire = cluster.gate.connect("sbtest").unwrap();
    (1..=TABLES)
        .map(|table| {
            let here: u64 =
                wire.value(format!("select count(*) from sbtest{table}")).unwrap().unwrap().parse().unwrap();
            let shards = cluster
                .per_shard("sbtest", |database| format!("select count(*) from `{database}`.sbtest{table}"));
            assert_eq!(shards.len(), 4, "four shards");
            assert_eq!(here, shards.iter().sum::<u64>(), "sbtest{table}: {shards:?}");
            here
        })
        .collect()
}

fn all(bed: &Bed) -> Verdict {
    let version = process::run(Command::new("sysbench").arg("--version"), "", Duration::from_secs(10));
    if !version.is_ok_and(|output| output.stdout.starts_with("sysbench 1.")) {
        return Err(NotRun("sysbench 1.x is not installed".into()));
    }
    let cluster = bed.cluster();
    // In this order: rows numbered by the sequences begin at 1 only the first time.
    for auto_inc in ["--auto_inc=off", "--auto_inc=on"] {
        sysbench(cluster, "oltp_point_select", &[auto_inc], "prepare");
        assert_eq!(counts(cluster), [ROWS; TABLES as usize], "after prepare with {auto_inc}");
        let spread =
            cluster.per_shard("sbtest", |database| format!("select count(*) from `{database}`.sbtest1"));
        assert!(spread.iter().all(|&rows| rows > ROWS / 8), "spread over the shards: {spread:?}");
        for ps in ["--db-ps-mode=disable", "--db-ps-mode=auto"] {
            let run = |script: &str, threads: u64, events: u64| {
                let (threads, events) = (format!("--threads={threads}"), format!("--events={events}"));
                sysbench(cluster, script, &[auto_inc, ps, &threads, &events], "run");
            };
            run("oltp_point_select", 4, 2000);
            run("oltp_read_only", 4, 100);
            run("oltp_update_index", 4, 200);
            // One thread: two that lock rows of two shards in turn may wait for each other, on
            // one server as well.
            run("oltp_read_write", 1, 60);
            run("oltp_write_only", 1, 100);
            assert_eq!(counts(cluster), [ROWS; TABLES as usize], "after {auto_inc} {ps}");
        }
        lookups(cluster);
        sysbench(cluster, "oltp_delete", &[auto_inc, "--threads=2", "--events=200"], "run");
        let left: u64 = counts(cluster).iter().sum();
        assert!((ROWS * TABLES - 200..ROWS * TABLES).contains(&left), "{left} rows after oltp_delete");
        sysbench(cluster, "oltp_point_select", &[], "cleanup");
        let mut wire = cluster.gate.connect("sbtest").unwrap();
        assert_eq!(wire.rows("show tables").unwrap().len(), 0, "after cleanup");
    }
    Ok(())
}

/// Every row is found by its key: it lies on the shard that the vindex names.
fn lookups(cluster: &Cluster) {
    let mut wire = cluster.gate.connect("sbtest").unwrap();
    for id in (1..=ROWS).step_by(7) {
        let found = wire.value(format!("select id from sbtest1 where id = {id}")).unwrap();
        assert_eq!(found, Some(id.to_string()), "sbtest1 by its key");
    }
}
