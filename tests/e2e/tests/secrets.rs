//! Is anything secret told to those who look: pages, metrics, logs?
//!
//! A gate with every kind of secret that a configuration can have, logging as much as it can, serves clients
//! that log in rightly and wrongly and send values; then everything that it shows is searched.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::serve::{Files, login, open, shards};
use crate::gate::Gate;
use crate::runner::{Bed, Test, Verdict};
use crate::wire::Param;

pub const TESTS: &[Test] = &[Test::own("secrets/pages, metrics and logs have none", nothing_secret)];

/// Pages with what they show by default.
const PAGES: [&str; 14] = [
    "/",
    "/metrics",
    "/healthz",
    "/readyz",
    "/debug/health",
    "/debug/vars",
    "/debug/advice",
    "/debug/health/tablets",
    "/debug/query_plans",
    "/debug/queryz",
    "/debug/runtime",
    "/debug/topology",
    "/debug/transactions",
    "/debug/vschema",
];

/// What a password looks like where it leaks.
fn forms(password: &str) -> Vec<String> {
    vec![password.to_owned(), STANDARD.encode(password), hex::encode(password)]
}

/// Users, statements with values, errors that quote values, wrong passwords.
fn traffic(gate: &Gate) {
    let mut wire = open(gate);
    wire.ok("insert into t (id, n) values (73000001, 73000002), (73000003, 73000004)").unwrap();
    for id in 73_000_001..73_000_021 {
        wire.rows(format!("select n from t where id = {id}")).unwrap();
    }
    wire.rows("select id, 'hidden-text' from t where n = 73000002 /* hidden-comment */").unwrap();
    wire.query_one("insert into t (id, n) values (73000001, 1)").unwrap().error().expect("a duplicate");
    wire.query_one("select 'hidden-text' frm t").unwrap().error().expect("no SQL");
    wire.query_one("select 'hidden-text' from t where nowhere = 73000002")
        .unwrap()
        .error()
        .expect("no column");
    wire.query_one("create user hidden_user identified by 'hidden-text'").unwrap().error().expect("refused");
    wire.query_one("set password = 'hidden-text'").unwrap().error().expect("refused");
    wire.ok("set @secret = 'hidden-text'").unwrap();
    wire.rows("select max(id) from t where n = @secret or n = 73000004 having count(*) > 0").unwrap();
    let statement = wire.prepare("select n from t where id = ? and n <> ?").unwrap();
    for id in 73_000_001..73_000_013 {
        wire.execute(statement.id, &[Param::int(id), Param::text("hidden-text")]).unwrap();
    }
    wire.rows("vexplain trace select id from t where n = 73000002").unwrap();
    assert_eq!(login(gate.mysql, "clear", "client-password").unwrap(), Some(1));
    for user in ["clear", "nobody"] {
        assert!(login(gate.mysql, user, "wrong-password").is_err(), "{user}");
    }
}

fn certificate(folder: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = made.signing_key.serialize_pem();
    fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), &key).unwrap();
    key
}

fn nothing_secret(bed: &Bed) -> Verdict {
    let (server, _root) = shards(bed);
    let files = Files::over(&server);
    let folder = files.folder();
    let key = certificate(folder);
    files.write("users.json", r#"{"clear": {"Password": "client-password"}, "open": {"Password": ""}}"#);
    let shown = folder.display();
    let listen = format!("tls_cert = \"{shown}/cert.pem\"\ntls_key = \"{shown}/key.pem\"");
    let log = folder.join("query.log");
    let sections = format!(
        "[reparent]\nreplication_user = \"repl\"\nreplication_password = \"replication-password\"\n\
         user = \"admin\"\npassword = \"reparent-password\"\n\n\
         [log]\nlevel = \"trace\"\nquery_log = \"{}\"\nquery_log_format = \"json\"\n",
        log.display()
    );
    let config = files.config_with(&listen, &sections);
    let gate = Gate::serve(&config, files.mysql, files.http).unwrap();
    traffic(&gate);

    let mut secrets = Vec::new();
    for password in
        ["backend password", "client-password", "replication-password", "reparent-password", "wrong-password"]
    {
        secrets.extend(forms(password));
    }
    // Every line of the key's text is a part of it.
    secrets.extend(key.lines().filter(|line| !line.starts_with("-----")).map(ToOwned::to_owned));
    assert!(secrets.iter().all(|secret| secret.len() >= 8), "{secrets:?}");
    let values = ["hidden-text", "hidden-comment", "73000001", "73000002", "73000004", "73000012"];
    let search = |text: &str, what: &str, all: &[&str]| {
        for secret in all {
            let at = text.find(secret);
            let around =
                at.map(|at| String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(120)..]).into_owned());
            let around = around.map(|around| around.chars().take(300).collect::<String>());
            assert!(at.is_none(), "{what} tells {secret}: {}", around.unwrap_or_default());
        }
    };
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    let all: Vec<&str> = secrets.iter().copied().chain(values).collect();
    for page in PAGES {
        for format in ["json", "html"] {
            let answer = gate.get(&format!("{page}?format={format}&limit=4096")).unwrap();
            assert_eq!(answer.status, 200, "{page}");
            search(&answer.body, page, &all);
        }
    }
    let watched = std::thread::scope(|scope| {
        let watching = scope.spawn(|| gate.get("/debug/querylogz?timeout=3&limit=1000").unwrap().body);
        while !watching.is_finished() {
            open(&gate).rows("select n from t where id = 73000001 or n = 'hidden-text'").unwrap();
        }
        watching.join().unwrap()
    });
    assert!(watched.contains("select n from t where id = ? or n = ?"), "{watched}");
    search(&watched, "/debug/querylogz", &all);
    // The pages show what was done.
    assert!(gate.get("/debug/queryz?limit=4096").unwrap().body.contains("select n from t where id = ?"));
    let text = gate.log();
    assert!(text.len() > 10_000 && text.contains("DEBUG"), "the gate logs little: {text}");
    search(&text, "the log", &secrets);
    let (status, _) = gate.stop();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
    let lines = fs::read_to_string(&log).unwrap();
    assert!(lines.lines().count() > 40, "{lines}");
    search(&lines, "the query log", &all);
    Ok(())
}
