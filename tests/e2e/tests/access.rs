//! Who gets in, by which way, and how much may one user have?

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::serve::{Files, open, shards};
use crate::gate::Gate;
use crate::process::{self, poll};
use crate::runner::{Bed, NotRun, Test, Verdict};
use crate::wire::{Endpoint, Login, Wire, WireError};

pub const TESTS: &[Test] = &[
    Test::own("access/limits of a user", user_limits),
    Test::own("access/failed logins make the next ones wait", failed_logins),
    Test::own("access/TLS, client certificates, unix socket, attributes", transport),
];

fn as_user(user: &str) -> Login {
    Login { user: user.into(), ..Login::to("ks") }
}

fn code(wire: &mut Wire, sql: &str) -> Option<(u16, String)> {
    wire.query_one(sql).unwrap().error().map(|error| (error.code, error.state.clone()))
}

fn user_limits(bed: &Bed) -> Verdict {
    let (server, _) = shards(bed);
    let files = Files::over(&server);
    files.write("users.json", r#"{"open": {"Password": ""}, "other": {"Password": ""}}"#);
    let config = files.config_with("", "[limits]\nmax_user_connections = 2\nmax_user_queries = 1\n");
    let gate = Gate::serve(&config, files.mysql, files.http).unwrap();
    let (mut first, second) = (open(&gate), open(&gate));
    let refused = gate.login(&as_user("open")).err().expect("a third connection is refused");
    let refused = refused.server().expect("an error of the gate");
    assert_eq!((refused.code, refused.state.as_str()), (1203, "42000"), "{refused}");
    gate.login(&as_user("other")).expect("another user has places of its own");
    drop(second);
    let second = poll(Duration::from_secs(30), || gate.login(&as_user("open")).ok());
    let mut second = second.expect("the place is given back");
    // One statement at a time, but a transaction that is open goes on.
    second.ok("begin").unwrap();
    let runs = std::thread::spawn(move || {
        let value = first.value("select sleep(3), 'e2e runs'");
        (first, value.unwrap())
    });
    let begun = poll(Duration::from_secs(30), || {
        let rows = second.rows("show full processlist").unwrap();
        rows.iter().flatten().flatten().any(|text| text == "select sleep(3), 'e2e runs'").then_some(())
    });
    assert!(begun.is_some(), "the statement is not in the list");
    second.ok("commit").unwrap();
    assert_eq!(code(&mut second, "select 1"), Some((1226, "42000".into())));
    let prepared = second.prepare("select 1").unwrap();
    let replies = second.execute(prepared.id, &[]).unwrap();
    assert_eq!(replies[0].error().map(|error| error.code), Some(1226));
    let (mut first, slept) = runs.join().expect("the first session");
    assert_eq!(slept.as_deref(), Some("0"));
    assert_eq!(second.value("select 1").unwrap().as_deref(), Some("1"), "there is room again");
    assert_eq!(first.value("select 2").unwrap().as_deref(), Some("2"));
    Ok(())
}

fn failed_logins(bed: &Bed) -> Verdict {
    let (server, _) = shards(bed);
    let files = Files::over(&server);
    let config = files.config_with("failed_logins = 3\nfailed_login_wait = \"1s\"", "");
    let gate = Gate::serve(&config, files.mysql, files.http).unwrap();
    let fails = || {
        let begin = Instant::now();
        let error = gate.login(&as_user("clear")).err().expect("the password is missing");
        assert_eq!(error.server().map(|error| error.code), Some(1045), "{error}");
        begin.elapsed()
    };
    for _ in 0..7 {
        fails();
    }
    // 0.1 s, 0.2 s, 0.4 s, 0.8 s, then the longest: also for a login that is right.
    assert!(fails() >= Duration::from_secs(1));
    let begin = Instant::now();
    open(&gate);
    assert!(begin.elapsed() >= Duration::from_secs(1));
    // Which ended it: three more may fail at once. A busy machine may be slow, but hardly in all tries.
    let quick = poll(Duration::from_secs(60), || {
        let begin = Instant::now();
        open(&gate);
        fails();
        (begin.elapsed() < Duration::from_millis(900)).then_some(())
    });
    assert!(quick.is_some(), "a login that succeeds does not end the waiting");
    Ok(())
}

/// An authority, the gate's certificate, and one for each of these clients.
fn certificates(files: &Files, clients: &[&str]) -> PathBuf {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    // OpenSSL takes a certificate whose name is its authority's for a self-signed one.
    authority.distinguished_name.push(DnType::CommonName, "authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let path = files.write("ca.pem", &authority.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(authority, key);
    for (file, name) in clients.iter().map(|name| (*name, *name)).chain([("gate", "localhost")]) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        files.write(&format!("{file}.pem"), &params.signed_by(&key, &issuer).unwrap().pem());
        files.write(&format!("{file}.key"), &key.serialize_pem());
    }
    path.parent().expect("a folder").to_owned()
}

/// What MariaDB's client prints for a statement, or its complaint.
fn client(gate: &Gate, options: &[String], sql: &str) -> Result<String, String> {
    let mut command = Command::new("/usr/bin/mariadb");
    command
        .args(["--no-defaults", "--host=127.0.0.1", "--user=open", "--skip-column-names"])
        .arg(format!("--port={}", gate.mysql))
        .args(options)
        .args(["--execute", sql, "ks"]);
    let output = process::run(&mut command, "", Duration::from_secs(60))?;
    if output.code == Some(0) { Ok(output.stdout) } else { Err(output.stderr) }
}

fn transport(bed: &Bed) -> Verdict {
    if !Path::new("/usr/bin/mariadb").exists() {
        return Err(NotRun("MariaDB's client is not installed".into()));
    }
    let (server, _) = shards(bed);
    let files = Files::over(&server);
    let folder = certificates(&files, &["app.example", "other.example"]);
    let at = |name: &str| folder.join(name).display().to_string();
    let listen = format!(
        "socket = \"{}\"\ntls_require = true\ntls_cert = \"{}\"\ntls_key = \"{}\"\ntls_client_ca = \"{}\"\n\
         tls_client_names = [\"app.example\"]",
        at("gate.sock"),
        at("gate.pem"),
        at("gate.key"),
        at("ca.pem"),
    );
    let config = files.config_with(&listen, "");
    let gate = Gate::serve(&config, files.mysql, files.http).unwrap();
    let plain = gate.login(&as_user("open")).err().expect("TLS is required");
    assert_eq!(plain.server().map(|error| error.code), Some(3159), "{plain}");
    // The unix socket needs no TLS, and lets in who may come that way only.
    let socket = |user: &str| -> Result<Wire, WireError> {
        Wire::connect(&Endpoint::Unix(folder.join("gate.sock")), &as_user(user))
    };
    let mut near = socket("socket").expect("by the unix socket");
    assert_eq!(near.value("select user()").unwrap().as_deref(), Some("socket@localhost"));
    socket("open").expect("from anywhere");
    assert!(socket("nobody").is_err());
    let shows = |name: &str| {
        vec![
            format!("--ssl-ca={}", at("ca.pem")),
            format!("--ssl-cert={}", at(&format!("{name}.pem"))),
            format!("--ssl-key={}", at(&format!("{name}.key"))),
        ]
    };
    assert_eq!(client(&gate, &shows("app.example"), "select 'in'").unwrap(), "in\n");
    let other = client(&gate, &shows("other.example"), "select 'in'").expect_err("another name");
    assert!(other.contains("1045") && other.contains("'open'@"), "{other}");
    let none = client(&gate, &[format!("--ssl-ca={}", at("ca.pem"))], "select 'in'");
    none.expect_err("without a certificate");
    // What a client says of itself can be seen, for as long as it is there.
    let waits = std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| client(&gate, &shows("app.example"), "select sleep(2)"));
        let shown = poll(Duration::from_secs(60), || {
            let page = gate.get("/debug/sessions").unwrap().body;
            let all: Vec<serde_json::Value> = serde_json::from_str(&page).unwrap();
            let own = all.into_iter().find(|session| {
                session["user"] == "open" && session["attributes"]["_client_name"] == "libmariadb"
            });
            own.or_else(|| {
                assert!(!sleeper.is_finished(), "it was never there: {page}");
                None
            })
        });
        (shown, sleeper.join().expect("the client"))
    });
    let (shown, slept) = waits;
    assert_eq!(slept.unwrap(), "0\n");
    let shown = shown.expect("the session is listed");
    assert!(shown["attributes"]["_pid"].is_string(), "{shown}");
    assert_eq!((&shown["database"], &shown["command"]), (&"ks".into(), &"Query".into()), "{shown}");
    Ok(())
}
