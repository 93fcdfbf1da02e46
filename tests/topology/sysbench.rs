//! Do 32 threads of sysbench notice that the VSchema changes under them?

use std::process::{Child, Command, Stdio};

use mysql_async::prelude::Queryable;

use crate::ctl::Ctl;
use crate::etcd::Etcd;
use crate::gate::{Gate, connect};
use crate::server::Server;

const SHARDS: [&str; 2] = ["-80", "80-"];

/// The fewest changes that a run must see.
const CHANGES: u32 = 5;

fn sysbench(port: u16, script: &str, command: &str, more: &[&str]) -> Child {
    Command::new("sysbench")
        .arg(script)
        .args(["--db-driver=mysql", "--mysql-host=127.0.0.1", "--mysql-user=sb", "--mysql-db=sbtest"])
        .args(["--tables=2", "--table-size=1000", "--auto_inc=off", "--rand-type=uniform"])
        .arg(format!("--mysql-port={port}"))
        .args(more)
        .arg(command)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sysbench cannot be started; tools/install-test.sh installs it")
}

/// What it says, where it ends well.
fn said(sysbench: Child) -> String {
    let output = sysbench.wait_with_output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !text.contains("FATAL"), "{text}");
    text
}

/// The first word behind a title.
fn figure<'t>(text: &'t str, title: &str) -> &'t str {
    let found = text.lines().find_map(|line| line.trim().strip_prefix(title)?.split_whitespace().next());
    found.unwrap_or_else(|| panic!("no {title} in {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn vschema_changes_under_32_threads() {
    for program in crate::programs("VSchema changes under sysbench") {
        changes(&program).await;
    }
}

async fn changes(program: &str) {
    let server = Server::start(program);
    let mut direct = connect(server.port, "root", "").await;
    let etcd = Etcd::start();
    let ctl = Ctl::over(&etcd);
    ctl.ok(&["AddCellInfo", "zone1", "--root", "/vitess/zone1"]);
    ctl.ok(&["CreateKeyspace", "sbtest"]);
    for shard in SHARDS {
        ctl.ok(&["CreateShard", &format!("sbtest/{shard}")]);
    }
    let port = server.port.to_string();
    for (at, shard) in SHARDS.iter().enumerate() {
        direct.query_drop(format!("CREATE DATABASE sb_{at}")).await.unwrap();
        let (alias, schema) = (format!("zone1-{at}00"), format!("sb_{at}"));
        let tablet = ["--host", "127.0.0.1", "--port", &port, "--type", "primary", "--schema", &schema];
        ctl.ok(&[&["AddTablet", &alias, &format!("sbtest/{shard}")], &tablet[..]].concat());
    }
    let table = r#"{"column_vindexes": [{"column": "id", "name": "hash"}]}"#;
    let vschema = format!(
        r#"{{"sharded": true, "vindexes": {{"hash": {{"type": "hash"}}}},
            "tables": {{"sbtest1": {table}, "sbtest2": {table}}}}}"#
    );
    ctl.ok(&["ApplyVSchema", "sbtest", "--vschema", &vschema]);
    let gate = Gate::start_as(&etcd, "user = \"root\"");
    said(sysbench(gate.port, "oltp_read_only", "prepare", &[]));
    let runs = ["oltp_read_only", "oltp_update_index"]
        .map(|script| sysbench(gate.port, script, "run", &["--threads=16", "--time=5"]));
    let mut admin = connect(gate.port, "admin", "sbtest").await;
    let mut runs = runs.map(Some);
    let mut changes = 0;
    while runs.iter_mut().flatten().any(|run| run.try_wait().unwrap().is_none()) {
        let what = if changes % 2 == 0 { "ADD" } else { "DROP" };
        let columns = if changes % 2 == 0 { " (id)" } else { "" };
        admin.query_drop(format!("ALTER VSCHEMA ON other {what} VINDEX hash{columns}")).await.unwrap();
        changes += 1;
    }
    for run in runs.iter_mut().filter_map(Option::take) {
        let text = said(run);
        for title in ["ignored errors:", "reconnects:"] {
            assert_eq!(figure(&text, title), "0", "{text}");
        }
        eprintln!(
            "{program}: {changes} changes of the VSchema under 32 threads: {} queries, 0 errors, the slowest {} ms",
            figure(&text, "total:"),
            figure(&text, "max:")
        );
    }
    assert!(changes >= CHANGES, "{changes} changes");
}
