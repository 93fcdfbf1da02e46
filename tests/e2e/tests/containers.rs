//! Would the compose file and its configuration work?
//!
//! Nothing is built or started in containers here. What can be known without them: the file is one that
//! compose reads, what it mounts is there, the names in it and in the topology are the same, and the
//! gate serves with that configuration over servers that are set up as the images do it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::gate::{Gate, binary};
use crate::process::{self, free_port};
use crate::runner::{Bed, NotRun, Test, Verdict};
use crate::server::Server;

pub const TESTS: &[Test] = &[
    Test::own("containers/compose reads the file", reads),
    Test::own("containers/names and mounts fit", fits),
    Test::own("containers/its configuration serves", serves),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn reads(_: &Bed) -> Verdict {
    // The plugin of Docker's client, or the older program of its own.
    for program in [&["docker", "compose"][..], &["docker-compose"]] {
        let run = |arguments: &[&str]| {
            let mut command = Command::new(program[0]);
            command.args(&program[1..]).args(arguments).current_dir(root());
            process::run(&mut command, "", Duration::from_secs(60))
        };
        if !run(&["version"]).is_ok_and(|output| output.code == Some(0)) {
            continue;
        }
        let output = run(&["-f", "docker-compose.yml", "config"]).unwrap();
        assert_eq!(output.code, Some(0), "{program:?}: {}{}", output.stdout, output.stderr);
        for part in ["gate:", "service-low:", "127.0.0.1:15306:15306", "/etc/shardgate/compose/gate.toml"] {
            // Newer versions print the parts of a port on lines of their own.
            let port = part.starts_with("127.") && output.stdout.contains("15306");
            assert!(output.stdout.contains(part) || port, "no {part} in\n{}", output.stdout);
        }
        return Ok(());
    }
    Err(NotRun("neither `docker compose` nor docker-compose is installed".into()))
}

/// The hosts of the topology.
fn hosts() -> Vec<String> {
    let topology: toml::Value = toml::from_str(&read("testdata/compose/topology.toml")).unwrap();
    let keyspaces = topology["keyspaces"].as_table().expect("keyspaces");
    let shards = keyspaces.values().flat_map(|keyspace| keyspace["shards"].as_array().expect("shards"));
    let servers = shards.flat_map(|shard| shard["servers"].as_array().expect("servers"));
    servers.map(|server| server["host"].as_str().expect("a host").to_owned()).collect()
}

fn fits(_: &Bed) -> Verdict {
    let compose = read("docker-compose.yml");
    let services: Vec<&str> = compose
        .lines()
        .skip_while(|line| *line != "services:")
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
        .filter(|name| !name.starts_with(' '))
        .collect();
    for host in hosts() {
        assert!(services.contains(&host.as_str()), "{host} is no service: {services:?}");
    }
    let mut mounts = 0;
    for line in compose.lines() {
        let Some(mount) = line.trim().strip_prefix("- ./") else { continue };
        let folder = mount.split(':').next().expect("a folder");
        assert!(root().join(folder).is_dir(), "{folder} is not there");
        mounts += 1;
    }
    assert_eq!(mounts, 4, "every service mounts something");
    // `./testdata` is /etc/shardgate: the configuration that the command names is there.
    let command = "[\"serve\", \"--config\", \"/etc/shardgate/compose/gate.toml\"]";
    assert!(compose.contains(command), "{compose}");
    assert!(root().join("testdata/compose/gate.toml").exists());
    let dockerfile = read("Dockerfile");
    assert!(dockerfile.contains("--bin shardgate") && dockerfile.contains("ENTRYPOINT [\"shardgate\"]"));
    // The ports that it publishes are those that the gate listens on by default.
    for port in ["15306", "16000"] {
        assert!(dockerfile.contains(port) && compose.contains(&format!(":{port}:{port}\"")), "{port}");
    }
    let mut check = Command::new(binary());
    check.args(["serve", "--check", "--config"]).arg(root().join("testdata/compose/gate.toml"));
    let output = process::run(&mut check, "", Duration::from_secs(20)).unwrap();
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    Ok(())
}

/// Databases and users as the image's entry point makes them, the schema's files in the order of their
/// names, and the configuration as it is, but for hosts and ports.
fn serves(bed: &Bed) -> Verdict {
    let server = Server::start(&bed.family).unwrap();
    let mut admin = server.root("").unwrap();
    admin.ok("create user shardgate@'%' identified by 'shardgate'").unwrap();
    let databases = [("global", "global"), ("service-low", "service_low"), ("service-high", "service_high")];
    for (host, database) in databases {
        admin.ok(format!("create database {database}")).unwrap();
        admin.ok(format!("grant all on {database}.* to shardgate@'%'")).unwrap();
        admin.ok(format!("use {database}")).unwrap();
        let keyspace = host.split('-').next().expect("a name");
        load(&root().join("testdata/billing").join(keyspace), &mut admin);
    }
    let dir = tempfile::Builder::new().prefix("shardgate-e2e-compose-").tempdir().expect("a folder");
    let (mysql, http) = (free_port(), free_port());
    let sample = root().join("testdata/billing");
    let mut topology =
        read("testdata/compose/topology.toml").replace("../billing", &sample.to_string_lossy());
    for (host, database) in databases {
        let here = format!("host = \"127.0.0.1\"\nport = {}\nschema = \"{database}\"", server.port);
        topology = topology.replace(&format!("host = \"{host}\""), &here);
    }
    let config = read("testdata/compose/gate.toml")
        .replace("0.0.0.0:16000", &format!("127.0.0.1:{http}"))
        .replace("[http]", &format!("[listen]\naddress = \"127.0.0.1:{mysql}\"\n\n[http]"));
    for (name, text) in [
        ("topology.toml", topology),
        ("gate.toml", config),
        ("users.json", read("testdata/compose/users.json")),
    ] {
        fs::write(dir.path().join(name), text).expect("a file");
    }
    let gate = Gate::serve(&dir.path().join("gate.toml"), mysql, http).unwrap();
    let rows = app(mysql, "app").unwrap_or_else(|error| panic!("{error}\n{}", gate.log_tail()));
    assert_eq!(rows, 8);
    match app(mysql, "wrong") {
        Err(mysql_async::Error::Server(error)) => assert_eq!(error.code, 1045, "{error}"),
        other => panic!("{other:?}"),
    }
    for (_, database) in &databases[1..] {
        let count = admin.value(format!("select count(*) from {database}.coin_charge")).unwrap();
        assert!(count.as_deref() != Some("0"), "no row in {database}");
    }
    Ok(())
}

fn load(folder: &Path, wire: &mut crate::wire::Wire) {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for reply in wire.query(text.trim_end().trim_end_matches(';')).unwrap() {
            assert!(reply.error().is_none(), "{}: {reply:?}", file.display());
        }
    }
}

/// Writes and reads as the user of the example; how many rows there are.
fn app(port: u16, password: &str) -> Result<u64, mysql_async::Error> {
    use mysql_async::prelude::Queryable;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let options = mysql_async::OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(port)
            .user(Some("app"))
            .pass(Some(password))
            .db_name(Some("service"))
            .prefer_socket(false);
        let mut conn = mysql_async::Conn::new(options).await?;
        let rows: Vec<String> = (1..=8)
            .map(|member| format!("({member}, 'gold', 1, 1, 'EUR', 'card', '2026-01-01')"))
            .collect();
        conn.query_drop(format!(
            "insert into coin_charge (member_id, coin_type, amount, price, currency, channel, charged_at) values {}",
            rows.join(", ")
        ))
        .await?;
        conn.query_drop("begin").await?;
        conn.query_drop("update coin_charge set amount = amount + 1 where member_id = 3").await?;
        conn.query_drop("commit").await?;
        let count: Option<u64> =
            conn.query_first("select count(*) from coin_charge where amount in (1, 2)").await?;
        conn.disconnect().await?;
        Ok(count.unwrap_or_default())
    })
}
