//! Does `shardgate dev` keep its promises: data, ports, exit codes, nothing left behind?

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::gate::{Dev, Gate, binary};
use crate::process::{self, alive, poll};
use crate::runner::{Bed, NotRun, Test, Verdict, say};

pub const TESTS: &[Test] = &[
    Test::own("dev/first SELECT on the billing sample, and its load", first_select),
    Test::own("dev/data folder survives, servers do not", data_folder),
    Test::own("dev/kill -9 and the next start", killed),
    Test::own("dev/wrong use", wrong_use),
];

/// A keyspace with one table, in two shards.
pub fn small_schema() -> TempDir {
    let dir = tempfile::Builder::new().prefix("shardgate-e2e-schema-").tempdir().expect("a folder");
    let keyspace = dir.path().join("small");
    fs::create_dir(&keyspace).expect("a folder");
    fs::write(
        keyspace.join("vschema.json"),
        r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}},
            "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#,
    )
    .expect("a VSchema");
    fs::write(
        keyspace.join("1.sql"),
        "CREATE TABLE IF NOT EXISTS t (id BIGINT NOT NULL PRIMARY KEY, n INT NOT NULL);\n",
    )
    .expect("a schema");
    dir
}

fn first_select(bed: &Bed) -> Verdict {
    let begin = Instant::now();
    let gate = Dev::billing(&bed.family).start().unwrap();
    let mut wire = gate.connect("service").unwrap();
    let tables: Vec<String> = wire
        .rows("show tables")
        .unwrap()
        .into_iter()
        .filter_map(|row| row.into_iter().next().flatten())
        .collect();
    assert!(!tables.is_empty(), "the sample has tables");
    for table in &tables {
        wire.rows(format!("select * from `{table}` limit 5"))
            .unwrap_or_else(|error| panic!("{table}: {error}"));
    }
    let took = begin.elapsed();
    say(&format!(
        "         ready after {:.1} s, first sharded SELECT after {:.1} s",
        gate.started_in.as_secs_f64(),
        took.as_secs_f64()
    ));
    assert!(took < Duration::from_secs(30), "first SELECT after {took:?}");
    let shards = wire.rows("show vitess_shards").unwrap();
    assert!(shards.len() >= 5, "{shards:?}");
    let servers: Vec<i32> = gate.backends().iter().map(|backend| backend.pid).collect();
    assert!(!servers.is_empty(), "the gate started no server");
    drop(wire);
    load_billing(&gate);
    let (status, left) = gate.stop();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
    assert!(left.is_empty(), "left running: {left:?}");
    Ok(())
}

/// The sample's own loader, through the gate; then what must hold of its rows.
fn load_billing(gate: &Gate) {
    let mut loader = Command::new(env!("CARGO"));
    loader
        .args(["run", "--quiet", "--locked", "--example", "billing_load", "--", "--members", "3000", "--url"])
        .arg(format!("mysql://loader@127.0.0.1:{}/service", gate.mysql))
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let begin = Instant::now();
    let output = process::run(&mut loader, "", Duration::from_secs(180)).unwrap();
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    say(&format!(
        "         {} ({:.1} s with its build)",
        output.stdout.trim(),
        begin.elapsed().as_secs_f64()
    ));
    let mut wire = gate.connect("service").unwrap();
    let mut number = |sql: &str| -> i64 {
        let value = wire.value(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        value.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{sql}: not a number"))
    };
    assert_eq!(
        number("select count(*) from coin_balance where coin_type = 'paid'"),
        3000,
        "one balance each"
    );
    assert_eq!(number("select sum(amount) from coin_transfer"), 0, "what one gives, another gets");
    // Coins bought, less what was spent and given away by the member, are the balance.
    let (bought, used) =
        (number("select sum(amount) from coin_charge"), number("select sum(amount) from coin_use"));
    let given = -number("select sum(amount) from coin_transfer where amount < 0");
    assert_eq!(
        number("select sum(amount) from coin_balance where coin_type = 'paid'"),
        bought - used - given
    );
    for table in ["coin_balance", "coin_charge", "coin_use", "coin_transfer"] {
        let rows = number(&format!("select count(*) from {table}"));
        let groups =
            format!("select id, count(*) from {table} group by id order by count(*) desc, id limit 1");
        assert_eq!(wire_rows(gate, &groups)[0][1].as_deref(), Some("1"), "{table}: an id twice");
        assert!(rows >= 100, "{table}: {rows} rows");
    }
    let one = wire_rows(
        gate,
        "select c.id, u.product_id from coin_charge c join coin_use u on u.member_id = c.member_id where c.member_id = 7",
    );
    let found = number("select count(*) from coin_charge where member_id = 7")
        * number("select count(*) from coin_use where member_id = 7");
    assert_eq!(one.len(), usize::try_from(found).unwrap(), "a join on the sharding key");
}

fn wire_rows(gate: &Gate, sql: &str) -> Vec<Vec<Option<String>>> {
    let mut wire = gate.connect("service").unwrap();
    wire.rows(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn data_folder(bed: &Bed) -> Verdict {
    let schema = small_schema();
    let data = tempfile::tempdir().expect("a folder");
    let dev = Dev::new(&bed.family, schema.path()).data_dir(data.path());
    for round in 0..3 {
        let gate = dev.start().unwrap_or_else(|error| panic!("start {round}: {error}"));
        let mut wire = gate.connect("small").unwrap();
        assert_eq!(
            wire.value("select count(*) from t").unwrap(),
            Some((round * 4).to_string()),
            "start {round}"
        );
        let id = round * 100;
        wire.ok(format!(
            "insert into t (id, n) values ({id}, 1), ({}, 2), ({}, 3), ({}, 4)",
            id + 1,
            id + 2,
            id + 3
        ))
        .unwrap();
        drop(wire);
        let (status, left) = gate.stop();
        assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
        assert!(left.is_empty(), "left running: {left:?}");
    }
    assert!(data.path().read_dir().is_ok_and(|mut dir| dir.next().is_some()), "the data stays");
    Ok(())
}

fn killed(bed: &Bed) -> Verdict {
    let schema = small_schema();
    let data = tempfile::tempdir().expect("a folder");
    let dev = Dev::new(&bed.family, schema.path()).data_dir(data.path());
    let gate = dev.start().unwrap();
    gate.connect("small").unwrap().ok("insert into t (id, n) values (1, 1), (2, 2), (3, 3), (4, 4)").unwrap();
    let orphans = gate.kill();
    assert!(!orphans.is_empty(), "there were servers");
    let gate = dev.start().unwrap_or_else(|error| panic!("after kill -9: {error}"));
    assert_eq!(gate.connect("small").unwrap().value("select sum(n) from t").unwrap().as_deref(), Some("10"));
    let gone = poll(Duration::from_secs(10), || orphans.iter().all(|&pid| !alive(pid)).then_some(()));
    for &pid in orphans.iter().filter(|&&pid| alive(pid)) {
        process::signal(pid, nix::sys::signal::Signal::SIGKILL);
    }
    assert!(gone.is_some(), "the servers of the killed gate still run");
    let (status, left) = gate.stop();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
    assert!(left.is_empty(), "left running: {left:?}");
    Ok(())
}

/// Exit code, and one clear line.
fn refused(arguments: &[&str], code: i32) {
    let output = process::run(Command::new(binary()).args(arguments), "", Duration::from_secs(30)).unwrap();
    assert_eq!(output.code, Some(code), "{arguments:?}: {}{}", output.stdout, output.stderr);
    assert!(!output.stderr.trim().is_empty(), "{arguments:?}: nothing on standard error");
    assert!(!output.stderr.contains("panicked"), "{arguments:?}: {}", output.stderr);
}

fn wrong_use(bed: &Bed) -> Verdict {
    if std::env::var_os("SHARDGATE_SCHEMA_DIR").is_some() {
        return Err(NotRun("SHARDGATE_SCHEMA_DIR is set and would answer for the missing flag".into()));
    }
    let mysqld = bed.family.mysqld.to_str().expect("a path in UTF-8");
    let schema = small_schema();
    let dir = schema.path().to_str().expect("a path in UTF-8");
    refused(&[], 2);
    refused(&["nonsense"], 2);
    refused(&["dev"], 2);
    refused(&["dev", "--schema-dir", dir, "--nonsense"], 2);
    refused(&["dev", "--schema-dir", dir, "--shards", "small"], 2);
    refused(&["dev", "--schema-dir", dir, "--mysql-port", "99999"], 2);
    refused(&["serve"], 2);
    refused(&["dev", "--schema-dir", "/nowhere", "--mysqld", mysqld], 1);
    refused(&["dev", "--schema-dir", dir, "--mysqld", "/nowhere/mysqld"], 1);
    refused(&["dev", "--schema-dir", dir, "--mysqld", mysqld, "--shards", "other=2"], 1);
    for subcommand in ["dev", "serve", "plan"] {
        let output =
            process::run(Command::new(binary()).args([subcommand, "--help"]), "", Duration::from_secs(30))
                .unwrap();
        assert_eq!(output.code, Some(0), "{subcommand} --help");
        assert!(output.stdout.contains("--"), "{subcommand} --help: {}", output.stdout);
    }
    // A port that another program holds: a clear end.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port().to_string();
    let http = crate::ports::free_port().to_string();
    refused(
        &["dev", "--schema-dir", dir, "--mysqld", mysqld, "--mysql-port", &port, "--http-port", &http],
        1,
    );
    Ok(())
}
