//! Would the files for containers, Kubernetes and systemd work?
//!
//! Nothing is built or started in containers here. What can be known without them: compose and systemd read
//! their files, what is mounted is there, names, ports and times in different files fit each other, and two
//! gates serve with the example's configuration over an etcd that its script has filled, and over servers
//! that are set up as the images do it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::gate::{Gate, binary};
use crate::ports::free_port;
use crate::process::{self, Process, poll};
use crate::runner::{Bed, NotRun, Test, Verdict};
use crate::server::Server;

pub const TESTS: &[Test] = &[
    Test::own("containers/compose reads the file", reads),
    Test::own("containers/names and mounts fit", fits),
    Test::own("containers/its configuration serves", serves),
    Test::own("containers/Kubernetes' manifests fit the gate", kubernetes),
    Test::own("containers/systemd takes the unit", systemd),
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
        for part in ["gate-1:", "gate-2:", "service-4:", "etcd:", "grafana:", "127.0.0.1:15307:15306"] {
            // Newer versions print the parts of a port on lines of their own.
            let port = part.starts_with("127.") && output.stdout.contains("15307");
            assert!(output.stdout.contains(part) || port, "no {part} in\n{}", output.stdout);
        }
        return Ok(());
    }
    Err(NotRun("neither `docker compose` nor docker-compose is installed".into()))
}

/// The servers that the script describes: shard, host, database.
fn servers() -> Vec<(String, String, String)> {
    let script = read("deploy/compose/topology.sh");
    let lines = script.lines().filter_map(|line| line.strip_prefix("shard zone1-"));
    lines
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let [_, shard, host, database] = words[..] else { panic!("{line}") };
            (shard.to_owned(), host.to_owned(), database.to_owned())
        })
        .collect()
}

fn fits(_: &Bed) -> Verdict {
    let compose = read("docker-compose.yml");
    let services: Vec<&str> = compose
        .lines()
        .skip_while(|line| *line != "services:")
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
        .filter(|name| !name.starts_with(' '))
        .collect();
    let hosts = servers().into_iter().map(|(_, host, _)| host);
    let watched = ["gate-1", "gate-2", "alertmanager", "prometheus", "etcd"].map(ToOwned::to_owned);
    for host in hosts.chain(watched) {
        assert!(services.contains(&host.as_str()), "{host} is no service: {services:?}");
    }
    assert_eq!(servers().len(), 5);
    // Who names whom.
    for (file, name) in [
        ("deploy/prometheus/prometheus.yml", "\"gate-1:16000\", \"gate-2:16000\""),
        ("deploy/prometheus/prometheus.yml", "alertmanager:9093"),
        ("deploy/grafana/provisioning/datasources/prometheus.yml", "http://prometheus:9090"),
        ("deploy/grafana/provisioning/dashboards/shardgate.yml", "/var/lib/grafana/dashboards"),
        ("deploy/compose/gate.toml", "http://etcd:2379"),
    ] {
        assert!(read(file).contains(name), "{file} does not name {name}");
    }
    let mut mounts = 0;
    for line in compose.lines() {
        let Some(mount) = line.trim().strip_prefix("- ./") else { continue };
        let folder = mount.split(':').next().expect("a folder");
        assert!(root().join(folder).is_dir(), "{folder} is not there");
        mounts += 1;
    }
    assert!(mounts >= 8, "every service mounts something");
    // What a folder is mounted as, the program in it is told.
    for (told, mounted) in [
        ("[\"serve\", \"--config\", \"/etc/shardgate/gate.toml\"]", "./deploy/compose:/etc/shardgate:ro"),
        ("/etc/shardgate/topology.sh", "./deploy/compose:/etc/shardgate:ro"),
        ("--config.file=/etc/prometheus/prometheus.yml", "./deploy/prometheus:/etc/prometheus:ro"),
        ("--config.file=/etc/alertmanager/alertmanager.yml", "./deploy/alertmanager:/etc/alertmanager:ro"),
    ] {
        assert!(compose.contains(told) && compose.contains(mounted), "{told}, {mounted}");
    }
    for file in ["secrets/slack_url", "secrets/smtp_password", "shardgate.tmpl"] {
        let alertmanager = read("deploy/alertmanager/alertmanager.yml");
        assert!(alertmanager.contains(&format!("/etc/alertmanager/{file}")), "{file} is not used");
        assert!(root().join("deploy/alertmanager").join(file).exists(), "{file} is not there");
    }
    let dockerfile = read("Dockerfile");
    assert!(dockerfile.contains("--bin shardgate") && dockerfile.contains("ENTRYPOINT [\"shardgate\"]"));
    assert!(dockerfile.contains("USER 10001:10001") && dockerfile.contains("--locked"));
    // The ports that it publishes are those that the gate listens on by default.
    for port in ["15306", "16000"] {
        assert!(dockerfile.contains(port) && compose.contains(&format!(":{port}:{port}\"")), "{port}");
    }
    Ok(())
}

/// `serve --check` takes a configuration.
fn check(config: &Path) {
    let mut check = Command::new(binary());
    check.args(["serve", "--check", "--config"]).arg(config);
    let output = process::run(&mut check, "", Duration::from_secs(20)).unwrap();
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
}

/// Databases and users as the image's entry point makes them, the schema's files in the order of their
/// names, the topology as the script writes it, and the configuration as it is, but for hosts and ports.
fn serves(bed: &Bed) -> Verdict {
    if !process::run(Command::new("etcd").arg("--version"), "", Duration::from_secs(20))
        .is_ok_and(|output| output.code == Some(0))
    {
        return Err(NotRun("etcd is not installed".into()));
    }
    let server = Server::start(&bed.family).unwrap();
    let mut admin = server.root("").unwrap();
    admin.ok("create user shardgate@'%' identified by 'shardgate'").unwrap();
    let databases: Vec<_> = servers().into_iter().map(|(_, host, _)| host.replace('-', "_")).collect();
    for database in &databases {
        admin.ok(format!("create database {database}")).unwrap();
        admin.ok(format!("grant all on {database}.* to shardgate@'%'")).unwrap();
        admin.ok(format!("use {database}")).unwrap();
        let keyspace = database.split('_').next().expect("a name");
        load(&root().join("testdata/billing").join(keyspace), &mut admin);
    }
    let dir = tempfile::Builder::new().prefix("shardgate-e2e-compose-").tempdir().expect("a folder");
    let (client, peer) = (free_port(), free_port());
    let url = format!("http://127.0.0.1:{client}");
    let mut etcd = Command::new("etcd");
    etcd.arg(format!("--data-dir={}", dir.path().join("etcd").display()))
        .args([format!("--listen-client-urls={url}"), format!("--advertise-client-urls={url}")])
        .arg(format!("--listen-peer-urls=http://127.0.0.1:{peer}"))
        .arg(format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"))
        .arg(format!("--initial-cluster=default=http://127.0.0.1:{peer}"));
    let _etcd = Process::start("etcd", &mut etcd, &dir.path().join("etcd.log")).unwrap();
    let up = poll(Duration::from_secs(60), || std::net::TcpStream::connect(("127.0.0.1", client)).ok());
    assert!(up.is_some(), "etcd does not come up");

    let configs: Vec<_> = ["gate-1.toml", "gate-2.toml"]
        .into_iter()
        .map(|name| {
            let (mysql, http) = (free_port(), free_port());
            let config = read("deploy/compose/gate.toml")
                .replace("http://etcd:2379", &url)
                .replace("0.0.0.0:15306", &format!("127.0.0.1:{mysql}"))
                .replace("0.0.0.0:16000", &format!("127.0.0.1:{http}"));
            let path = dir.path().join(name);
            fs::write(&path, config).expect("a file");
            (path, mysql, http)
        })
        .collect();
    fs::write(dir.path().join("users.json"), read("deploy/compose/users.json")).expect("a file");
    let mut script = read("deploy/compose/topology.sh")
        .replace("--host \"$3\"", &format!("--host 127.0.0.1 --port {}", server.port));
    for (_, host, database) in servers() {
        script =
            script.replace(&format!(" {host} {database}"), &format!(" {host} {}", host.replace('-', "_")));
    }
    fs::write(dir.path().join("topology.sh"), script).expect("a file");
    // A second `docker compose up` runs it again.
    for round in 1..=2 {
        let mut command = Command::new("/bin/sh");
        command
            .arg(dir.path().join("topology.sh"))
            .env("SHARDGATE", binary())
            .env("CONFIG", &configs[0].0)
            .env("SCHEMAS", root().join("testdata/billing"));
        let output = process::run(&mut command, "", Duration::from_secs(120)).unwrap();
        assert_eq!(output.code, Some(0), "run {round}: {}{}", output.stdout, output.stderr);
    }

    let gates: Vec<_> =
        configs.iter().map(|(path, mysql, http)| Gate::serve(path, *mysql, *http).unwrap()).collect();
    let rows = app(gates[0].mysql, "app").unwrap_or_else(|error| panic!("{error}\n{}", gates[0].log_tail()));
    assert_eq!(rows, 32);
    assert_eq!(app(gates[1].mysql, "app").unwrap(), 64, "both gates serve the same shards");
    match app(gates[0].mysql, "wrong") {
        Err(mysql_async::Error::Server(error)) => assert_eq!(error.code, 1045, "{error}"),
        other => panic!("{other:?}"),
    }
    for database in &databases[1..] {
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
        let rows: Vec<String> = (1..=32)
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
            conn.query_first("select count(*) from coin_charge where amount in (1, 2, 3)").await?;
        conn.disconnect().await?;
        Ok(count.unwrap_or_default())
    })
}

/// The manifests as JSON, by kind.
fn manifests() -> Result<Vec<Value>, NotRun> {
    let mut command = Command::new("python3");
    command.args(["-c", "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))"]);
    let output =
        process::run(&mut command, &read("deploy/kubernetes/shardgate.yaml"), Duration::from_secs(30));
    match output {
        Ok(output) if output.code == Some(0) => Ok(serde_json::from_str(&output.stdout).expect("JSON")),
        Ok(output) if !output.stderr.contains("No module named") => {
            panic!("the manifests are no YAML: {}", output.stderr)
        }
        _ => Err(NotRun("Python's yaml is not installed".into())),
    }
}

fn kubernetes(bed: &Bed) -> Verdict {
    let all = manifests()?;
    let of = |kind: &str| all.iter().find(|one| one["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"));
    let (deployment, service, budget) = (of("Deployment"), of("Service"), of("PodDisruptionBudget"));
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    for selector in [
        &deployment["spec"]["selector"]["matchLabels"],
        &service["spec"]["selector"],
        &budget["spec"]["selector"]["matchLabels"],
    ] {
        assert_eq!(selector, labels);
    }
    assert_eq!(deployment["spec"]["replicas"], 2);
    assert_eq!(budget["spec"]["minAvailable"], 1);
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    // What is mounted is a volume, and what a volume holds is here.
    let volumes = pod["volumes"].as_array().unwrap();
    for mount in container["volumeMounts"].as_array().unwrap() {
        assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{mount}");
    }
    let config = of("ConfigMap");
    assert_eq!(volumes[0]["configMap"]["name"], config["metadata"]["name"]);
    // The configuration is one that the gate takes.
    let text = config["data"]["gate.toml"].as_str().unwrap();
    let dir = tempfile::Builder::new().prefix("shardgate-e2e-kubernetes-").tempdir().expect("a folder");
    fs::write(dir.path().join("users.json"), read("deploy/compose/users.json")).unwrap();
    fs::write(dir.path().join("backend-password"), "secret\n").unwrap();
    let here = text.replace("/etc/shardgate-secret", &dir.path().to_string_lossy());
    // The check reads the topology: a file stands in for etcd.
    let mut inside = "";
    let lines = here.lines().filter(|line| {
        if line.starts_with('[') {
            inside = line;
        }
        inside != "[topology]"
    });
    let here = lines.collect::<Vec<_>>().join("\n");
    fs::write(dir.path().join("gate.toml"), format!("{here}\n[topology]\npath = \"topology.toml\"\n"))
        .unwrap();
    let (mut topology, mut keyspaces) = ("cells = [\"zone1\"]\n".to_owned(), Vec::new());
    for (at, (shard, host, _)) in servers().into_iter().enumerate() {
        let (keyspace, name) = shard.split_once('/').expect("a shard");
        if !keyspaces.contains(&keyspace.to_owned()) {
            let vschema = root().join("testdata/billing").join(keyspace).join("vschema.json");
            let _ =
                writeln!(topology, "[keyspaces.{keyspace}]\nvschema = {:?}", vschema.display().to_string());
            keyspaces.push(keyspace.to_owned());
        }
        let _ = writeln!(
            topology,
            "[[keyspaces.{keyspace}.shards]]\nname = \"{name}\"\n[[keyspaces.{keyspace}.shards.servers]]\n\
             alias = \"zone1-{at}\"\nhost = \"{host}\"\nrole = \"primary\""
        );
    }
    fs::write(dir.path().join("topology.toml"), topology).unwrap();
    check(&dir.path().join("gate.toml"));
    let parsed: toml::Value = toml::from_str(text).unwrap();
    let mounted = container["volumeMounts"].as_array().unwrap();
    for key in [&parsed["users"]["static_file"], &parsed["backend"]["password_file"]] {
        let path = Path::new(key.as_str().unwrap()).parent().unwrap().to_str().unwrap();
        assert!(mounted.iter().any(|mount| mount["mountPath"] == path), "{path} is not mounted");
    }
    // Ports and paths of the probes, and the times of the end.
    let port = |name: &str| {
        let ports = container["ports"].as_array().unwrap();
        ports.iter().find(|port| port["name"] == name).map(|port| port["containerPort"].to_string())
    };
    for (name, section) in [("mysql", "listen"), ("http", "http")] {
        let address = parsed[section]["address"].as_str().unwrap();
        assert!(address.ends_with(&format!(":{}", port(name).unwrap())), "{name}");
    }
    assert_eq!(service["spec"]["ports"][0]["targetPort"], "mysql");
    let gate = &bed_gate(bed);
    for (probe, path) in [("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")] {
        assert_eq!(container[probe]["httpGet"]["path"], path);
        assert_eq!(container[probe]["httpGet"]["port"], "http");
        assert_eq!(gate.get(path).unwrap().status, 200);
    }
    let seconds = |key: &str| {
        let text = parsed["shutdown"][key].as_str().unwrap();
        text.strip_suffix('s').unwrap().parse::<u64>().unwrap()
    };
    let all = seconds("lame_duck") + seconds("grace") + seconds("hard");
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > all);
    // The Service must have noticed before the gate refuses clients.
    let probes = &container["readinessProbe"];
    let noticed = probes["periodSeconds"].as_u64().unwrap() * probes["failureThreshold"].as_u64().unwrap();
    assert!(seconds("lame_duck") > 2 * noticed);
    Ok(())
}

fn bed_gate(bed: &Bed) -> Gate {
    crate::gate::Dev::billing(&bed.family).start().unwrap()
}

fn systemd(_: &Bed) -> Verdict {
    let text = read("deploy/systemd/shardgate.service");
    assert!(text.contains("KillSignal=SIGTERM") && text.contains("ExecReload=/bin/kill -HUP $MAINPID"));
    let dir = tempfile::Builder::new().prefix("shardgate-e2e-systemd-").tempdir().expect("a folder");
    let path = dir.path().join("shardgate.service");
    // It looks for the program.
    fs::write(&path, text.replace("/usr/local/bin/shardgate", &binary().to_string_lossy())).unwrap();
    let mut command = Command::new("systemd-analyze");
    command.arg("verify").arg(&path);
    let Ok(output) = process::run(&mut command, "", Duration::from_secs(60)) else {
        return Err(NotRun("systemd-analyze is not installed".into()));
    };
    // Complaints about other units of this machine are not ours.
    let said = format!("{}{}", output.stdout, output.stderr);
    let complaints: Vec<_> = said.lines().filter(|line| line.contains("shardgate.service")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    Ok(())
}
