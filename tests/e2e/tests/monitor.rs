//! Would somebody be told, and of the right server?
//!
//! Debian's Prometheus, promtool, Alertmanager and amtool read what is in `deploy`. A real Prometheus scrapes
//! a real gate while one of its servers stands still.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;

use super::dev::small_schema;
use crate::gate::Dev;
use crate::ports::free_port;
use crate::process::{self, Process, poll};
use crate::runner::{Bed, NotRun, Test, Verdict};

pub const TESTS: &[Test] = &[
    Test {
        deadline: Duration::from_secs(420),
        ..Test::own("monitor/a shard stops, and somebody is told", told)
    },
    Test::shared("monitor/what rules and dashboards name exists", names),
    Test::own("monitor/rules and configurations are taken", taken),
];

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(deploy(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Whether a program is installed.
fn installed(program: &str) -> bool {
    process::run(Command::new(program).arg("--version"), "", Duration::from_secs(20))
        .is_ok_and(|output| output.code == Some(0))
}

fn taken(_: &Bed) -> Verdict {
    if !installed("promtool") || !installed("amtool") {
        return Err(NotRun("promtool or amtool is not installed".into()));
    }
    let check = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(deploy("prometheus"));
        let output = process::run(&mut command, "", Duration::from_secs(60)).unwrap();
        assert_eq!(output.code, Some(0), "{program} {arguments:?}: {}{}", output.stdout, output.stderr);
    };
    check("promtool", &["check", "rules", "rules.yml"]);
    check("promtool", &["check", "config", "prometheus.yml"]);
    check("promtool", &["test", "rules", "rules.test.yml"]);
    check("amtool", &["check-config", "../alertmanager/alertmanager.yml"]);
    // Every alert has a test.
    let (rules, tests) = (read("prometheus/rules.yml"), read("prometheus/rules.test.yml"));
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 8, "{alerts:?}");
    for alert in alerts {
        let fires = tests
            .split(&format!("alertname: {alert}\n"))
            .skip(1)
            .any(|rest| rest.trim_start().starts_with("exp_alerts:"));
        assert!(fires, "no test sees {alert} fire");
    }
    Ok(())
}

/// Names of metrics in a text, each with what follows it.
fn mentioned(text: &str) -> Vec<(&str, &str)> {
    let mut all = Vec::new();
    let mut from = 0;
    while let Some(at) = ["vtgate_", "vttablet_", "shardgate_"]
        .iter()
        .filter_map(|prefix| text[from..].find(prefix).map(|at| from + at))
        .min()
    {
        let rest = &text[at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        all.push((&rest[..end], &rest[end..]));
        from = at + end;
    }
    all
}

/// The labels of every metric, from the table.
fn labels() -> BTreeMap<String, Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let table = fs::read_to_string(path).expect("docs/metrics.md");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.split(" | ").collect();
        let names = cells[2].split(", ").map(|name| name.trim_matches('`').to_owned());
        (cells[0].trim_end_matches('`').to_owned(), names.filter(|name| !name.is_empty()).collect())
    })
    .collect()
}

fn names(bed: &Bed) -> Verdict {
    let gate = &bed.cluster().gate;
    gate.connect("e2e").unwrap().rows("select count(*) from customer").unwrap();
    let output = gate.get("/metrics").unwrap().body;
    let published: BTreeMap<&str, &str> =
        output.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    assert!(published.len() > 60, "{published:?}");
    let labels = labels();
    let mut files = vec![("rules".to_owned(), read("prometheus/rules.yml"))];
    for entry in fs::read_dir(deploy("grafana/dashboards")).expect("dashboards") {
        let path = entry.unwrap().path();
        files.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
    }
    let mut seen = 0;
    for (file, text) in &files {
        // In JSON, quotes inside a query are escaped.
        let text = text.replace("\\\"", "\"");
        for (name, rest) in mentioned(&text) {
            let stem = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let family = match published.get(name) {
                Some(_) => name,
                None => stem
                    .filter(|stem| published.get(stem) == Some(&"histogram"))
                    .unwrap_or_else(|| panic!("{file} names {name}, which the gate does not publish")),
            };
            seen += 1;
            let Some(selector) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
                continue;
            };
            for matcher in selector.0.split(',').filter(|matcher| !matcher.trim().is_empty()) {
                let label = matcher.split(['=', '!']).next().unwrap_or_default().trim();
                let known = labels.get(family).unwrap_or_else(|| panic!("{family} is in docs/metrics.md"));
                let scraped = ["instance", "job", "le"].contains(&label);
                assert!(
                    scraped || known.iter().any(|one| one == label),
                    "{file}: {name} has no label {label}"
                );
            }
        }
    }
    assert!(seen > 30, "only {seen} names were found");
    Ok(())
}

/// GET on this machine, in HTTP/1.0: no chunks.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    head.split_whitespace().nth(1).filter(|status| *status == "200")?;
    Some(body.to_owned())
}

/// Stands for whoever takes posts, and answers each with this: what is posted.
pub(super) fn posts(answer: &'static str) -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let posted = posted(&mut stream).unwrap_or_default();
            let length = answer.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}"
            );
            if sender.send(posted).is_err() {
                return;
            }
        }
    });
    (port, receiver)
}

/// The body of one POST.
fn posted(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut part)?;
        bytes.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            });
            if body.len() >= length.unwrap_or(usize::MAX) || count == 0 {
                return Ok(body.to_owned());
            }
        }
    }
}

/// Stands for a mail server: what it is given, with its headers, in plain text; and the login.
fn mailbox() -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mail = stream.and_then(received).unwrap_or_else(|error| format!("no mail: {error}"));
            if sender.send(mail).is_err() {
                return;
            }
        }
    });
    (port, receiver)
}

/// One conversation in SMTP (RFC 5321).
fn received(stream: TcpStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    let mut mail = String::new();
    out.write_all(b"220 mailbox\r\n")?;
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(mail);
        }
        let verb = line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        let answer = match &*verb {
            "EHLO" | "HELO" => "250-mailbox\r\n250 AUTH PLAIN\r\n",
            "AUTH" => {
                mail.push_str(&line);
                "235 fine\r\n"
            }
            "DATA" => {
                out.write_all(b"354 go on\r\n")?;
                let mut line = String::new();
                while lines.read_line(&mut line)? > 0 && line != ".\r\n" {
                    // Quoted-printable: a line that goes on in the next one ends in `=`.
                    mail.push_str(line.strip_suffix("=\r\n").unwrap_or(&line));
                    line.clear();
                }
                mail = mail.replace("=3D", "=");
                "250 taken\r\n"
            }
            "QUIT" => {
                out.write_all(b"221 bye\r\n")?;
                return Ok(mail);
            }
            _ => "250 fine\r\n",
        };
        out.write_all(answer.as_bytes())?;
    }
}

/// Goes on with a process when dropped.
struct Standing(i32);

impl Drop for Standing {
    fn drop(&mut self) {
        process::signal(self.0, Signal::SIGCONT);
    }
}

fn told(bed: &Bed) -> Verdict {
    if !installed("prometheus") || !installed("prometheus-alertmanager") {
        return Err(NotRun("Prometheus or Alertmanager is not installed".into()));
    }
    let schema = small_schema();
    let gate = Dev::new(&bed.family, schema.path()).shards("small=2").per_shard().start().unwrap();
    let mut wire = gate.connect("small").unwrap();
    wire.ok("insert into t (id, n) values (1, 1), (2, 2), (3, 3), (4, 4)").unwrap();

    let dir = tempfile::Builder::new().prefix("shardgate-e2e-monitor-").tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let (port, alertmanager_port) = (free_port(), free_port());
    let (slack_port, messages) = posts("ok");
    let (smtp_port, mails) = mailbox();
    fs::copy(deploy("prometheus/rules.yml"), path("rules.yml")).unwrap();
    fs::write(path("slack_url"), format!("http://127.0.0.1:{slack_port}/")).unwrap();
    fs::write(path("smtp_password"), "mail-password").unwrap();
    let quick = read("prometheus/prometheus.yml")
        .replace("15s", "1s")
        .replace("alertmanager:9093", &format!("127.0.0.1:{alertmanager_port}"))
        .replace("\"gate-1:16000\", \"gate-2:16000\"", &format!("\"127.0.0.1:{}\"", gate.http));
    fs::write(path("prometheus.yml"), &quick).unwrap();
    let folder = dir.path().to_string_lossy().into_owned();
    let routes = read("alertmanager/alertmanager.yml")
        .replace("/etc/alertmanager/secrets", &folder)
        .replace("/etc/alertmanager", &deploy("alertmanager").to_string_lossy())
        // Without TLS: on this machine only.
        .replace("smtp.example.com:587", &format!("127.0.0.1:{smtp_port}\n  smtp_require_tls: false"))
        .replace("group_wait: 10s", "group_wait: 1s")
        .replace("group_interval: 1m", "group_interval: 2s");
    fs::write(path("alertmanager.yml"), routes).unwrap();
    let mut command = Command::new("prometheus-alertmanager");
    command
        .arg(format!("--config.file={}", path("alertmanager.yml")))
        .arg(format!("--storage.path={}", path("alertmanager")))
        .arg(format!("--web.listen-address=127.0.0.1:{alertmanager_port}"))
        .arg("--cluster.listen-address=");
    let alertmanager =
        Process::start("Alertmanager", &mut command, &dir.path().join("alertmanager.log")).unwrap();
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={}", path("prometheus.yml")))
        .arg(format!("--storage.tsdb.path={}", path("data")))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let prometheus = Process::start("Prometheus", &mut command, &dir.path().join("prometheus.log")).unwrap();
    let logs = || format!("{}\n{}\n{}", prometheus.log_tail(), alertmanager.log_tail(), gate.log_tail());

    let up = poll(Duration::from_secs(60), || {
        let answer = get(port, "/api/v1/query?query=count(shardgate_tablet_answers%20%3D%3D%201)")?;
        answer.contains("\"2\"]").then_some(())
    });
    up.unwrap_or_else(|| panic!("Prometheus sees no two servers\n{}", logs()));
    let alerts = || -> Option<Vec<serde_json::Value>> {
        let answer: serde_json::Value = serde_json::from_str(&get(port, "/api/v1/alerts")?).ok()?;
        Some(answer["data"]["alerts"].as_array()?.clone())
    };
    let firing = |alert: &str| -> Option<Vec<String>> {
        let all = alerts()?
            .into_iter()
            .filter(|one| one["state"] == "firing" && one["labels"]["alertname"] == alert);
        Some(all.map(|one| one["labels"]["tablet_alias"].as_str().unwrap_or_default().to_owned()).collect())
    };
    assert_eq!(firing("ShardUnreachable"), Some(Vec::new()));

    // The second shard's server stands still: it takes connections and answers nobody.
    let rows = wire.rows("show vitess_tablets").unwrap();
    let row = rows.iter().find(|row| row[2].as_deref() == Some("80-")).expect("the second shard");
    let (alias, socket) = (row[5].clone().unwrap(), row[6].clone().unwrap());
    let backends = gate.backends();
    let of =
        |backend: &&crate::gate::Backend| backend.socket.as_deref().is_some_and(|it| it.ends_with(&socket));
    let server = backends.iter().find(of).expect("the shard's process");
    process::signal(server.pid, Signal::SIGSTOP);
    let standing = Standing(server.pid);
    let fired = poll(Duration::from_secs(120), || firing("ShardUnreachable").filter(|all| !all.is_empty()));
    assert_eq!(fired, Some(vec![alias.clone()]), "{:?}\n{}", alerts(), logs());
    assert!(firing("ShardUnreachable").is_some_and(|all| all == [alias.clone()]), "only that server");
    let hears = |who: &str, from: &mpsc::Receiver<String>, heard: &mut Vec<String>, what: &str| -> String {
        let found = poll(Duration::from_secs(60), || {
            heard.extend(from.try_iter());
            heard.iter().find(|text| text.contains(what) && text.contains("ShardUnreachable")).cloned()
        });
        let text = found.unwrap_or_else(|| panic!("{who} was told {heard:?}\n{}", logs()));
        assert!(text.contains(&format!("server: {alias}")) && text.contains("small/80-"), "{text}");
        text
    };
    let (mut posted, mut mailed) = (Vec::new(), Vec::new());
    let mut said = |what: &str| {
        hears("Slack", &messages, &mut posted, what);
        let mail = hears("the mailbox", &mails, &mut mailed, what);
        let subject = format!("Subject: {what} ShardUnreachable small/80- {alias}");
        assert!(mail.contains(&subject) && mail.contains("To: on-call@example.com"), "{mail}");
        let login = STANDARD.encode("\0alertmanager@example.com\0mail-password");
        assert!(mail.contains(&format!("AUTH PLAIN {login}")), "{mail}");
    };
    said("[FIRING]");

    drop(standing);
    let resolved = poll(Duration::from_secs(120), || firing("ShardUnreachable").filter(Vec::is_empty));
    assert!(resolved.is_some(), "{:?}\n{}", alerts(), logs());
    said("[RESOLVED]");
    let mut wire = gate.connect("small").unwrap();
    let sum = poll(Duration::from_secs(60), || wire.value("select sum(n) from t").ok().flatten());
    assert_eq!(sum.as_deref(), Some("10"));
    drop((wire, prometheus, alertmanager));
    let (status, left) = gate.stop();
    assert_eq!(status.and_then(|status| status.code()), Some(0), "SIGTERM");
    assert!(left.is_empty(), "left running: {left:?}");
    Ok(())
}
