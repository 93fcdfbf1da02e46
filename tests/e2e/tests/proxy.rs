//! Does the gate believe a load balancer in front of it, and nobody else?

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;

use super::serve::{Files, shards};
use crate::gate::Gate;
use crate::ports::free_port;
use crate::process::{Process, poll};
use crate::runner::{Bed, NotRun, Test, Verdict};
use crate::wire::{Endpoint, Login, Wire, WireError};

pub const TESTS: &[Test] = &[
    Test::own("proxy/headers and what is none", headers),
    Test::own("proxy/HAProxy in front, both versions, TLS", haproxy),
];

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn gate(bed: &Bed, listen: &str) -> (Gate, Files, crate::server::Server) {
    let (server, _) = shards(bed);
    let files = Files::over(&server);
    let config = files.config_with(listen, "");
    (Gate::serve(&config, files.mysql, files.http).unwrap(), files, server)
}

fn login(gate: &Gate, header: &[u8], user: &str) -> Result<Wire, WireError> {
    let login = Login { user: user.into(), ..Login::to("ks") };
    Wire::connect(&Endpoint::Proxied(gate.mysql, header.to_vec()), &login)
}

/// The `Host` of the connection in the gate's own list.
fn host(wire: &mut Wire) -> String {
    let rows = wire.rows("show processlist").unwrap();
    let id = wire.thread_id.to_string();
    let own = rows.into_iter().find(|row| row[0].as_deref() == Some(&id)).expect("the session is listed");
    own[2].clone().expect("a host")
}

fn version_2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, addresses].concat()
}

fn headers(bed: &Bed) -> Verdict {
    let (mut gate, _files, _server) = gate(bed, "proxy_protocol = true");
    let four = [203, 0, 113, 7, 127, 0, 0, 1, 0xdc, 0x04, 0x0c, 0xea];
    let mut six = [0; 36];
    six[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    six[15] = 5;
    six[33] = 9;
    for (header, expected) in [
        (b"PROXY TCP4 203.0.113.7 127.0.0.1 56324 3306\r\n".to_vec(), "203.0.113.7:56324"),
        (b"PROXY TCP6 2001:db8::5 ::1 9 3306\r\n".to_vec(), "2001:db8::5:9"),
        (version_2(0x21, 0x11, &four), "203.0.113.7:56324"),
        (version_2(0x21, 0x21, &six), "2001:db8::5:9"),
        // With an extension behind the addresses.
        (version_2(0x21, 0x11, &[&four[..], &[4, 0, 2, 0, 0]].concat()), "203.0.113.7:56324"),
    ] {
        let mut wire = login(&gate, &header, "open").unwrap_or_else(|error| panic!("{expected}: {error}"));
        assert_eq!(host(&mut wire), expected);
        let user = format!("open@{}", expected.rsplit_once(':').expect("a port").0);
        assert_eq!(wire.value("select user()").unwrap(), Some(user));
        // An account for the unix socket is not for a client that comes through the port, whatever
        // address it is said to have; and the refusal names that address.
        let error = login(&gate, &header, "socket").map(|_| ()).expect_err("socket only");
        let error = error.server().unwrap_or_else(|| panic!("{error}"));
        assert_eq!(error.code, 1045, "{error}");
        assert!(error.message.contains(expected.rsplit_once(':').expect("a port").0), "{error}");
    }
    // The load balancer's own connections, and clients without an address, count as coming from it.
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        version_2(0x20, 0x00, &[]),
        version_2(0x20, 0x11, &four),
        version_2(0x21, 0x31, &[b'/'; 216]),
    ] {
        let mut wire = login(&gate, &header, "open").unwrap();
        assert!(host(&mut wire).starts_with("127.0.0.1:"), "{}", host(&mut wire));
        assert!(login(&gate, &header, "socket").is_err(), "not by the unix socket");
    }
    // What is no header gets nothing but the end, and soon.
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"PROXY TCP4 203.0.113.7\r\nxxxxxxxxxxxxxxxxxxxxxx",
        b"PROXY TCP4 203.0.113.7 127.0.0.1 99999 3306\r\n",
        b"PROXY TCP5 203.0.113.7 127.0.0.1 1 3306\r\n",
        &[b'x'; 200],
        &version_2(0x31, 0x11, &four),
        &version_2(0x21, 0x12, &four),
        &version_2(0x21, 0x11, &four[..8]),
        &[&b"PROXY TCP4 "[..], &[b'1'; 300]].concat(),
    ] {
        assert_eq!(answer(&gate, bytes), b"", "{}", bytes.escape_ascii());
    }
    // Half of one, and none at all: the login's deadline of three seconds ends both.
    for bytes in [&b""[..], b"PROXY TCP4 203.0", &SIGNATURE[..9]] {
        let begin = Instant::now();
        assert_eq!(answer(&gate, bytes), b"", "{}", bytes.escape_ascii());
        assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    }
    assert!(gate.running());
    assert_eq!(
        login(&gate, b"PROXY UNKNOWN\r\n", "open").unwrap().value("select 1").unwrap().as_deref(),
        Some("1")
    );
    Ok(())
}

/// Everything that the gate says to these bytes until it closes.
fn answer(gate: &Gate, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", gate.mysql)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The gate may close while we write.
    let _ = stream.write_all(bytes);
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => said,
        // Closed with bytes of ours unread.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => said,
        Err(error) => panic!("{}: {error}", bytes.escape_ascii()),
    }
}

/// HAProxy as an independent judge: what it writes, the gate reads.
fn haproxy(bed: &Bed) -> Verdict {
    let program = ["/usr/sbin/haproxy", "/usr/bin/haproxy", "/usr/local/sbin/haproxy"];
    let Some(program) = program.into_iter().find(|path| std::path::Path::new(path).exists()) else {
        return Err(NotRun("HAProxy is not installed".into()));
    };
    let (gate, _files, _server) = gate(bed, "proxy_protocol = true");
    let dir = tempfile::tempdir().expect("a folder");
    for option in ["send-proxy", "send-proxy-v2"] {
        let port = free_port();
        let text = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
             listen gate\n bind 127.0.0.1:{port}\n server gate 127.0.0.1:{} {option} check inter 200ms\n",
            gate.mysql
        );
        let config = dir.path().join("haproxy.cfg");
        std::fs::write(&config, text).expect("its configuration");
        let mut command = Command::new(program);
        command.arg("-db").arg("-f").arg(&config);
        let mut process = Process::start("haproxy", &mut command, &dir.path().join("log")).unwrap();
        let login = Login { user: "open".into(), ..Login::to("ks") };
        let mut wire = poll(Duration::from_secs(20), || Wire::connect(&Endpoint::Tcp(port), &login).ok())
            .unwrap_or_else(|| panic!("{option}: no way through\n{}", gate.log_tail()));
        assert_eq!(host(&mut wire), wire.local_address(), "{option}");
        tls(port, option);
        process.terminate(Duration::from_secs(10));
    }
    Ok(())
}

/// TLS begins behind the header.
fn tls(port: u16, option: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let tls = mysql_async::SslOpts::default()
        .with_danger_accept_invalid_certs(true)
        .with_danger_skip_domain_validation(true);
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some("clear"))
        .pass(Some("secret"))
        .db_name(Some("ks"))
        .prefer_socket(false)
        .ssl_opts(tls);
    let one: Result<Option<u8>, mysql_async::Error> = runtime.block_on(async {
        let mut conn = mysql_async::Conn::new(options).await?;
        let one = conn.query_first("select 1").await?;
        conn.disconnect().await?;
        Ok(one)
    });
    assert_eq!(one.unwrap_or_else(|error| panic!("{option}, TLS: {error}")), Some(1));
}
