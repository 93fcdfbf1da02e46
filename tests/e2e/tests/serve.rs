//! Does `shardgate serve` work over servers that it did not start?

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::gate::{Gate, binary};
use crate::ports::free_port;
use crate::process::{self, poll};
use crate::runner::{Bed, Test, Verdict, say};
use crate::server::Server;
use crate::wire::{Endpoint, Login, Param, Wire};

pub const TESTS: &[Test] = &[
    Test::own("serve/logins, limits, a shard that is down, reload", serve),
    Test::own("serve/--check", check),
    Test::own("serve/clients that are idle past the servers' wait_timeout", idle_clients),
];

/// SHA1(SHA1("native")) and SHA256(SHA256("sha2")), as Vitess's static file writes them, beside a
/// password in clear text.
fn users() -> String {
    serde_json::json!({
        "clear": [{"Password": "secret", "UserData": "clear"}],
        "open": {"Password": ""},
        "socket": {"Password": "", "SourceHost": "localhost"},
    })
    .to_string()
}

/// One line per shard of the topology: name, port, database.
pub(super) fn topology(shards: &[(&str, u16, &str)]) -> String {
    let mut text = String::from("cells = [\"zone1\"]\n\n[keyspaces.ks]\nvschema = \"vschema.json\"\n");
    for (uid, (name, port, database)) in shards.iter().enumerate() {
        let _ = write!(
            text,
            "\n[[keyspaces.ks.shards]]\nname = \"{name}\"\n\n[[keyspaces.ks.shards.servers]]\nalias = \"zone1-{}\"\n\
             host = \"127.0.0.1\"\nport = {port}\nrole = \"primary\"\nschema = \"{database}\"\n",
            100 + uid
        );
    }
    text
}

pub(super) struct Files {
    dir: TempDir,
    pub(super) mysql: u16,
    pub(super) http: u16,
}

impl Files {
    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        // Renamed into place, as an editor or a deployment does: never half a file.
        let fresh = self.dir.path().join(format!("{name}.new"));
        fs::write(&fresh, text).expect("a file");
        fs::rename(&fresh, &path).expect("a renamed file");
        path
    }

    pub(super) fn new() -> Files {
        let dir = tempfile::Builder::new().prefix("shardgate-e2e-serve-").tempdir().expect("a folder");
        let files = Files { dir, mysql: free_port(), http: free_port() };
        files.write(
            "vschema.json",
            r#"{"sharded": true, "vindexes": {"hash": {"type": "hash"}},
                "tables": {"t": {"column_vindexes": [{"column": "id", "name": "hash"}]}}}"#,
        );
        files.write("users.json", &users());
        files
    }

    /// Over both shards of one server.
    pub(super) fn over(server: &Server) -> Files {
        let files = Files::new();
        files.write(
            "topology.toml",
            &topology(&[("-80", server.port, "ks_low"), ("80-", server.port, "ks_high")]),
        );
        files
    }

    pub(super) fn folder(&self) -> &Path {
        self.dir.path()
    }

    fn config(&self) -> PathBuf {
        self.config_with("", "")
    }

    /// The configuration with more keys under `[listen]` and more sections.
    pub(super) fn config_with(&self, listen: &str, sections: &str) -> PathBuf {
        let folder = self.dir.path().display();
        let text = format!(
            "[listen]\naddress = \"127.0.0.1:{}\"\nmax_connections = 20\nlogin_timeout = \"3s\"\n{listen}\n\
             [http]\naddress = \"127.0.0.1:{}\"\n\n\
             [topology]\nkind = \"file\"\npath = \"{folder}/topology.toml\"\n\n\
             [users]\nstatic_file = \"{folder}/users.json\"\n\n\
             [backend]\nuser = \"gate\"\npassword = \"backend password\"\nconnect_timeout = \"2s\"\nqueue_timeout = \"3s\"\n\n{sections}",
            self.mysql, self.http
        );
        self.write("config.toml", &text)
    }
}

/// A login with a password, by the independent driver.
pub(super) fn login(port: u16, user: &str, password: &str) -> Result<Option<i64>, mysql_async::Error> {
    use mysql_async::prelude::Queryable;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let options = mysql_async::OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(port)
            .user(Some(user))
            .pass(Some(password))
            .db_name(Some("ks"))
            .prefer_socket(false);
        let mut conn = mysql_async::Conn::new(options).await?;
        let one = conn.query_first("select 1").await?;
        conn.disconnect().await?;
        Ok(one)
    })
}

fn denied(result: Result<Option<i64>, mysql_async::Error>, who: &str) {
    match result {
        Err(mysql_async::Error::Server(error)) => {
            assert_eq!((error.code, error.state.as_str()), (1045, "28000"), "{who}: {error}");
        }
        other => panic!("{who}: {other:?}"),
    }
}

/// A server with the two shards' databases and the gate's own user, and a login as root.
pub(super) fn shards(bed: &Bed) -> (Server, Wire) {
    let server = Server::start(&bed.family).unwrap();
    let mut root = server.root("").unwrap();
    for statement in [
        "create user gate@'%' identified by 'backend password'",
        "grant all on *.* to gate@'%'",
        "create database ks_low",
        "create database ks_high",
        "create table ks_low.t (id bigint primary key, n int)",
        "create table ks_high.t (id bigint primary key, n int)",
    ] {
        root.ok(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    (server, root)
}

fn serve(bed: &Bed) -> Verdict {
    let (server, mut root) = shards(bed);
    for statement in ["create database ks_moved", "create table ks_moved.t (id bigint primary key, n int)"] {
        root.ok(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let files = Files::over(&server);
    let config = files.config();
    let mut gate = Gate::serve(&config, files.mysql, files.http).unwrap();
    logins(&gate);
    let mut wire = open(&gate);
    wire.ok("insert into t (id, n) values (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (8, 8)")
        .unwrap();
    assert_eq!(wire.value("select sum(n) from t").unwrap().as_deref(), Some("36"));
    let count = |root: &mut Wire, database: &str| -> u64 {
        root.value(format!("select count(*) from {database}.t")).unwrap().unwrap().parse().unwrap()
    };
    let (low, high) = (count(&mut root, "ks_low"), count(&mut root, "ks_high"));
    assert!(low > 0 && high > 0 && low + high == 8, "{low} + {high}");
    too_many(&gate);
    shard_down(&gate, &files, server.port);
    reload(&gate, &files, server.port, &mut root);
    live_users(&gate, &files);
    assert!(gate.running());
    let (status, _) = gate.stop();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
    assert_eq!(count(&mut root, "ks_low"), low, "the servers are not the gate's to stop");
    Ok(())
}

pub(super) fn open(gate: &Gate) -> Wire {
    gate.login(&Login { user: "open".into(), ..Login::to("ks") }).unwrap()
}

fn logins(gate: &Gate) {
    // Twice: the first login of caching_sha2_password goes the long way, the second the short one.
    for _ in 0..2 {
        assert_eq!(login(gate.mysql, "clear", "secret").unwrap(), Some(1));
        denied(login(gate.mysql, "clear", "wrong"), "wrong password");
        denied(login(gate.mysql, "clear", ""), "no password");
        denied(login(gate.mysql, "nobody", "secret"), "unknown user");
        denied(login(gate.mysql, "open", "any"), "a password where there is none");
    }
    open(gate);
}

/// `max_connections` is 20: one more gets ERR 1040 instead of a greeting; room is found again.
fn too_many(gate: &Gate) {
    let mut held = Vec::new();
    let refused = loop {
        match gate.login(&Login { user: "open".into(), ..Login::to("ks") }) {
            Ok(wire) => held.push(wire),
            Err(error) => break error,
        }
        assert!(held.len() < 25, "more than 20 connections");
    };
    assert_eq!(refused.server().map(|error| error.code), Some(1040), "{refused}");
    drop(held);
    poll(Duration::from_secs(5), || gate.login(&Login { user: "open".into(), ..Login::to("ks") }).ok())
        .expect("a free place after the others have gone");
}

/// One shard moves to a port where nothing listens.
fn shard_down(gate: &Gate, files: &Files, port: u16) {
    files.write("topology.toml", &topology(&[("-80", port, "ks_low"), ("80-", free_port(), "ks_high")]));
    let mut wire = open(gate);
    let error = poll(Duration::from_secs(40), || {
        let begin = Instant::now();
        let reply = wire.query_one("select n from t where id = 4").unwrap();
        // A primary that has just been named is waited for: `buffer.window` is ten seconds.
        assert!(begin.elapsed() < Duration::from_secs(20), "an answer after {:?}", begin.elapsed());
        reply.error().cloned()
    })
    .expect("the shard that is down gives an error");
    assert!(error.message.contains("ks/80-"), "the error names the shard: {error}");
    assert!(!error.state.starts_with("0A"), "{error}");
    for id in [1, 2, 3] {
        let begin = Instant::now();
        let n = wire.value(format!("select n from t where id = {id}")).unwrap();
        assert_eq!(n, Some(id.to_string()), "the other shard");
        assert!(begin.elapsed() < Duration::from_secs(2), "the other shard waits: {:?}", begin.elapsed());
    }
    assert!(wire.query_one("select count(*) from t").unwrap().error().is_some(), "a scatter needs both");
}

/// A shard moves to another database, then back; a broken file changes nothing.
fn reload(gate: &Gate, files: &Files, port: u16, root: &mut Wire) {
    root.ok("insert into ks_moved.t values (4, 44)").unwrap();
    files.write("topology.toml", &topology(&[("-80", port, "ks_low"), ("80-", port, "ks_moved")]));
    let mut wire = open(gate);
    let read = |wire: &mut Wire| wire.value("select n from t where id = 4").ok().flatten();
    poll(Duration::from_secs(20), || (read(&mut wire).as_deref() == Some("44")).then_some(()))
        .unwrap_or_else(|| panic!("the moved shard is not found\n{}", gate.log_tail()));
    files.write("topology.toml", "keyspaces = nonsense");
    poll(Duration::from_secs(2), || {
        assert_eq!(read(&mut wire).as_deref(), Some("44"), "a broken file changes nothing");
        None::<()>
    });
    files.write("topology.toml", &topology(&[("-80", port, "ks_low"), ("80-", port, "ks_high")]));
    poll(Duration::from_secs(20), || (read(&mut wire).as_deref() == Some("4")).then_some(()))
        .unwrap_or_else(|| panic!("the shard does not come back\n{}", gate.log_tail()));
}

/// A changed users file counts without a signal; one with a fault changes nothing.
fn live_users(gate: &Gate, files: &Files) {
    let mut wire = open(gate);
    let written = Instant::now();
    files.write("users.json", r#"{"open": {"Password": ""}, "newcomer": {"Password": "hello"}}"#);
    let in_force = || login(gate.mysql, "newcomer", "hello").ok();
    poll(Duration::from_secs(20), in_force).unwrap_or_else(|| panic!("not known\n{}", gate.log_tail()));
    say(&format!(
        "         a new user could log in {:.2} s after the write",
        written.elapsed().as_secs_f64()
    ));
    denied(login(gate.mysql, "clear", "secret"), "a user that is gone");
    assert_eq!(wire.value("select 1").unwrap().as_deref(), Some("1"), "sessions go on");
    files.write("users.json", r#"{"open": {"Password": ""}, "newcomer": {"Pasword": "hello"}}"#);
    poll(Duration::from_secs(20), || gate.log_tail().contains("the users file is refused").then_some(()))
        .unwrap_or_else(|| panic!("the fault is not told\n{}", gate.log_tail()));
    assert_eq!(login(gate.mysql, "newcomer", "hello").unwrap(), Some(1), "the last good file counts");
    files.write("users.json", &users());
    poll(Duration::from_secs(20), || login(gate.mysql, "clear", "secret").ok())
        .unwrap_or_else(|| panic!("the file is not in use again\n{}", gate.log_tail()));
}

/// The servers close what is idle for a second. Clients of the gate notice nothing, whether they read or
/// write, in the text protocol or prepared.
fn idle_clients(bed: &Bed) -> Verdict {
    const THREADS: i64 = 10;
    const EACH: i64 = 50;
    let (server, mut root) = shards(bed);
    root.ok("set global wait_timeout = 1").unwrap();
    let files = Files::over(&server);
    let text = fs::read_to_string(files.config()).expect("the configuration");
    let config = files.write("config.toml", &text.replace("max_connections = 20", "max_connections = 600"));
    let gate = Gate::serve(&config, files.mysql, files.http).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let gate = &gate;
            scope.spawn(move || {
                let mut clients: Vec<_> = (0..EACH)
                    .map(|client| {
                        let mut wire = open(gate);
                        let prepared = wire.prepare("select n from t where id = ?").unwrap();
                        (thread * EACH + client, wire, prepared.id)
                    })
                    .collect();
                for round in 0..3 {
                    for (id, wire, prepared) in &mut clients {
                        let change = if round == 0 {
                            format!("insert into t (id, n) values ({id}, 0)")
                        } else {
                            format!("update t set n = n + 1 where id = {id}")
                        };
                        assert_eq!(wire.ok(change).unwrap().affected, 1);
                        let value = wire.value(format!("select n from t where id = {id}")).unwrap();
                        assert_eq!(value, Some(round.to_string()));
                        let replies = wire.execute(*prepared, &[Param::int(*id)]).unwrap();
                        assert!(replies.iter().all(|reply| reply.error().is_none()), "{replies:?}");
                    }
                    std::thread::park_timeout(Duration::from_millis(2500));
                }
            });
        }
    });
    let closed: u64 = root
        .rows("show global status like 'Aborted_clients'")
        .unwrap()
        .into_iter()
        .find_map(|row| row[1].as_deref()?.parse().ok())
        .unwrap();
    assert!(closed > 0, "the server closed nothing");
    let (status, _) = gate.stop();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
    Ok(())
}

/// `serve --check` validates without serving.
fn check(bed: &Bed) -> Verdict {
    let files = Files::new();
    files.write("topology.toml", &topology(&[("-80", 3306, "ks_low"), ("80-", 3306, "ks_high")]));
    let config = files.config();
    let run = |config: &PathBuf| {
        let mut command = Command::new(binary());
        command.arg("serve").arg("--config").arg(config).arg("--check");
        process::run(&mut command, "", Duration::from_secs(20)).unwrap()
    };
    let good = run(&config);
    assert_eq!(good.code, Some(0), "{}{}", good.stdout, good.stderr);
    let text =
        fs::read_to_string(&config).expect("the configuration").replace("max_connections", "max_conections");
    let bad = run(&files.write("config.toml", &text));
    assert_ne!(bad.code, Some(0));
    assert!(
        bad.stderr.contains("max_conections") && bad.stderr.contains("max_connections"),
        "{}",
        bad.stderr
    );
    // Nobody listens after a check.
    assert!(Wire::connect(&Endpoint::Tcp(files.mysql), &Login::to("")).is_err(), "{}", bed.family.name);
    Ok(())
}
