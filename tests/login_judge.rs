//! Do independent clients get along with our server side?
//!
//! `mysql_async` is the judge of logins, TLS and long packets; raw sockets play the clients that no
//! library would be. The service behind the frontend answers each query with its own text.

#![expect(clippy::unwrap_used, clippy::panic, reason = "functions of a test that only tests call")]

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use mysql_async::prelude::Queryable as _;
use mysql_async::{ChangeUserOpts, Conn, Opts, OptsBuilder, SslOpts};
use shardgate::error::SqlError;
use shardgate::frontend::{
    self, ClientConnection, ClientStream, Closed, ConnectionLimits, LoginSettings, Users,
};
use shardgate::protocol::capability::{Capabilities, Status};
use shardgate::protocol::column::{Column, Columns};
use shardgate::protocol::command::Command;
use shardgate::protocol::greeting::{Greeting, LoginPacket};
use shardgate::protocol::packet::{Header, PacketWriter};
use shardgate::protocol::response::{EofPacket, ErrPacket, OkPacket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const OK: OkPacket<'static> = OkPacket {
    affected_rows: 0,
    last_insert_id: 0,
    status: Status::AUTOCOMMIT,
    warnings: 0,
    info: b"",
    session_state: b"",
};

/// A frontend on its own port, and how its connections ended.
struct Gate {
    port: u16,
    ends: mpsc::UnboundedReceiver<Closed>,
}

fn users(json: &str) -> ArcSwap<Users> {
    ArcSwap::from_pointee(Users::from_static_json(json).unwrap())
}

/// Serves until the test's runtime ends.
async fn gate(settings: LoginSettings) -> Gate {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (ended, ends) = mpsc::unbounded_channel();
    let settings = Arc::new(settings);
    tokio::spawn(async move {
        for id in 1.. {
            let (stream, _) = listener.accept().await.unwrap();
            let (settings, ended) = (Arc::clone(&settings), ended.clone());
            tokio::spawn(async move {
                let end = serve(stream, id, &settings).await.unwrap_err();
                let _ = ended.send(end);
            });
        }
    });
    Gate { port, ends }
}

/// Echoes queries; `Err` always, with the reason of the end.
async fn serve(stream: TcpStream, id: u32, settings: &LoginSettings) -> Result<(), Closed> {
    let (mut client, login) = frontend::login(ClientStream::tcp(stream)?, id, settings).await?;
    if let Some(name) = login.database.as_deref().filter(|name| *name != "service") {
        return Err(client.refuse(SqlError::unknown_database(name)).await);
    }
    client.write_ok(&OK);
    let mut user = login.user;
    loop {
        match answer(&mut client, &mut user, settings).await {
            Ok(()) => {}
            Err(end) => {
                client.close().await;
                return Err(end);
            }
        }
    }
}

async fn answer(
    client: &mut ClientConnection,
    user: &mut String,
    settings: &LoginSettings,
) -> Result<(), Closed> {
    let packet = client.next_command().await?;
    match Command::decode(&packet, client.capabilities()) {
        Ok(Command::Quit) => return Err(Closed::ByClient),
        Ok(Command::Ping | Command::ResetConnection) => client.write_ok(&OK),
        Ok(Command::Query(b"user")) => rows(client, user.as_bytes())?,
        // MySQL rows go on for ever where nobody reads them.
        Ok(Command::Query(b"flood")) => loop {
            client.forward_rows(&[[4, 0, 0, 0, 3, b'r', b'o', b'w']; 1000].concat()).await?;
        },
        Ok(Command::Query(b"wait")) => {
            client.client_gone().await;
            // What came before the end is still there.
            return match client.next_command().await?[..] {
                [0x0e] => Err(Closed::Refused(SqlError::query_killed())),
                _ => Err(Closed::Stalled),
            };
        }
        Ok(Command::Query(text)) => rows(client, text)?,
        Ok(Command::ChangeUser(change)) => {
            let login = frontend::change_user(client, &change, settings).await?;
            *user = login.user;
            client.write_ok(&OK);
        }
        Ok(command) if !command.is_answered() => {}
        Ok(_) => client.write_error(&SqlError::unknown_command()),
        Err(error) => client.write_error(&SqlError::from(error)),
    }
    Ok(())
}

fn rows(client: &mut ClientConnection, text: &[u8]) -> Result<(), Closed> {
    let columns = Columns::build([Column::text(b"echo", 100)]);
    client.write_definitions((&columns).into(), EofPacket { warnings: 0, status: Status::AUTOCOMMIT })?;
    client.write_text_row([Some(text)]);
    client.write_end_of_rows(&OK);
    Ok(())
}

fn opts(port: u16, user: &str, password: &str) -> OptsBuilder {
    OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some(user))
        .pass(Some(password))
        .prefer_socket(false)
        // Otherwise the library asks for variables after the login.
        .max_allowed_packet(Some(64 << 20))
        .wait_timeout(Some(100))
}

fn with_tls(opts: OptsBuilder) -> OptsBuilder {
    let tls =
        SslOpts::default().with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true);
    opts.ssl_opts(Some(tls))
}

async fn echo(conn: &mut Conn, text: &str) -> String {
    conn.query_first::<String, _>(text).await.unwrap().unwrap()
}

async fn server_error(opts: OptsBuilder) -> (u16, String, String) {
    match Conn::new(Opts::from(opts)).await.unwrap_err() {
        mysql_async::Error::Server(error) => (error.code, error.state, error.message),
        other => panic!("{other:?}"),
    }
}

const THREE_USERS: &str = r#"{
    "clear": [{"Password": "pw"}],
    "native": [{"MysqlNativePassword": "*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4"}],
    "open": [{"Password": ""}]
}"#;

// === mysql_async ===

#[tokio::test]
async fn any_user_logs_in_where_that_is_wanted() {
    let gate = gate(LoginSettings::allow_any("8.4.6-shardgate", None)).await;
    for password in ["", "whatever"] {
        let mut conn = Conn::new(opts(gate.port, "me", password).db_name(Some("service"))).await.unwrap();
        assert_eq!(conn.server_version(), (8, 4, 6));
        conn.ping().await.unwrap();
        assert_eq!(echo(&mut conn, "select 1").await, "select 1");
        conn.disconnect().await.unwrap();
    }
    let (code, state, message) = server_error(opts(gate.port, "me", "").db_name(Some("nowhere"))).await;
    assert_eq!((code, state.as_str(), message.as_str()), (1049, "42000", "Unknown database 'nowhere'"));
}

#[tokio::test]
async fn static_users_need_their_password() {
    let settings =
        LoginSettings { users: users(THREE_USERS), ..LoginSettings::allow_any("8.4.6-shardgate", None) };
    let gate = gate(settings).await;
    for (user, password) in [("clear", "pw"), ("native", "mypass"), ("open", "")] {
        let mut conn = Conn::new(opts(gate.port, user, password)).await.unwrap();
        assert_eq!(echo(&mut conn, "user").await, user);
    }
    for (user, password, used) in
        [("clear", "wrong", "YES"), ("clear", "", "NO"), ("native", "x", "YES"), ("nobody", "pw", "YES")]
    {
        let (code, state, message) = server_error(opts(gate.port, user, password)).await;
        assert_eq!((code, state.as_str()), (1045, "28000"));
        let expected = format!("Access denied for user '{user}'@'127.0.0.1' (using password: {used})");
        assert_eq!(message, expected);
    }
}

#[tokio::test]
async fn passwords_cross_plain_tcp_by_rsa() {
    let settings = LoginSettings {
        users: users(THREE_USERS),
        native_password: false,
        ..LoginSettings::allow_any("8.4.6-shardgate", None)
    };
    let gate = gate(settings).await;
    let mut conn = Conn::new(opts(gate.port, "native", "mypass")).await.unwrap();
    assert_eq!(echo(&mut conn, "user").await, "native");
    assert_eq!(server_error(opts(gate.port, "native", "mypast")).await.0, 1045);
}

#[tokio::test]
async fn passwords_cross_tls_as_they_are() {
    let tls = frontend::self_signed(&["localhost"]).unwrap();
    let settings = LoginSettings {
        users: users(THREE_USERS),
        require_tls: true,
        ..LoginSettings::allow_any("8.4.6-shardgate", Some(tls))
    };
    let gate = gate(settings).await;
    for (user, password) in [("clear", "pw"), ("native", "mypass"), ("open", "")] {
        let mut conn = Conn::new(with_tls(opts(gate.port, user, password))).await.unwrap();
        assert_eq!(echo(&mut conn, "user").await, user);
        // More than one TLS record each way.
        let long = "x".repeat(100_000);
        assert_eq!(echo(&mut conn, &long).await, long);
        conn.ping().await.unwrap();
        conn.disconnect().await.unwrap();
    }
    assert_eq!(server_error(with_tls(opts(gate.port, "native", "mypast"))).await.0, 1045);
    let (code, state, _) = server_error(opts(gate.port, "clear", "pw")).await;
    assert_eq!((code, state.as_str()), (3159, "HY000"));
}

#[tokio::test]
async fn users_change() {
    let settings =
        LoginSettings { users: users(THREE_USERS), ..LoginSettings::allow_any("8.4.6-shardgate", None) };
    let gate = gate(settings).await;
    let mut conn = Conn::new(opts(gate.port, "clear", "pw")).await.unwrap();
    for (user, password) in [("native", "mypass"), ("open", ""), ("clear", "pw")] {
        let change =
            ChangeUserOpts::default().with_user(Some(user.to_owned())).with_pass(Some(password.to_owned()));
        conn.change_user(change).await.unwrap();
        assert_eq!(echo(&mut conn, "user").await, user);
    }
    let change = ChangeUserOpts::default().with_pass(Some("wrong".to_owned()));
    match conn.change_user(change).await.unwrap_err() {
        mysql_async::Error::Server(error) => assert_eq!(error.code, 1045),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn packets_around_16_mib_arrive_whole() {
    let gate = gate(LoginSettings::allow_any("8.4.6-shardgate", None)).await;
    let mut conn = Conn::new(opts(gate.port, "me", "")).await.unwrap();
    // One byte of command, and four bytes of length in the row that comes back.
    for length in [0xff_ffff - 6, 0xff_ffff - 5, 0xff_ffff - 2, 0xff_ffff - 1, 0xff_ffff, 17 << 20] {
        let text: String = "0123456789".chars().cycle().take(length).collect();
        assert!(echo(&mut conn, &text).await == text, "{length}");
        conn.ping().await.unwrap();
    }
}

// === raw sockets ===

/// A client that speaks in bytes.
struct Raw(TcpStream);

impl Raw {
    async fn connect(port: u16) -> Self {
        Self(TcpStream::connect(("127.0.0.1", port)).await.unwrap())
    }

    /// Connects and logs in as `me` without a password.
    async fn login(port: u16, capabilities: Capabilities) -> Self {
        let mut raw = Self::connect(port).await;
        let (seq, greeting) = raw.packet().await.unwrap();
        assert_eq!(seq, 0);
        let greeting = Greeting::decode(&greeting).unwrap();
        assert_eq!(greeting.status, Status::AUTOCOMMIT);
        assert!(greeting.nonce.iter().all(|byte| (1..=127).contains(byte)));
        let login = LoginPacket {
            capabilities: capabilities | Capabilities::PROTOCOL_41,
            charset: 45,
            user: b"me",
            plugin: Some(b"caching_sha2_password"),
            ..LoginPacket::default()
        };
        let mut payload = bytes::BytesMut::new();
        login.encode(&mut payload).unwrap();
        raw.send(1, &payload).await;
        let (seq, ok) = raw.packet().await.unwrap();
        assert_eq!((seq, &ok[..]), (2, &[0, 0, 0, 2, 0, 0, 0][..]));
        raw
    }

    async fn send(&mut self, seq: u8, payload: &[u8]) {
        let mut out = bytes::BytesMut::new();
        PacketWriter::new(seq).write(&mut out, payload);
        self.0.write_all(&out).await.unwrap();
    }

    /// The next packet, or `None` at the end of the stream.
    async fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; 4];
        self.0.read_exact(&mut header).await.ok()?;
        let header = Header::parse(&header)?;
        let mut payload = vec![0; header.length];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((header.seq, payload))
    }

    /// The next packet must be this error, and the last.
    async fn last_error(&mut self, seq: u8, code: u16, state: &str) {
        let (found, payload) = self.packet().await.unwrap();
        let error = ErrPacket::decode(&payload).unwrap();
        assert_eq!((found, error.code, error.state.unwrap().as_str()), (seq, code, state));
        assert_eq!(self.packet().await, None);
    }
}

fn short_limits() -> LoginSettings {
    LoginSettings {
        limits: ConnectionLimits {
            max_allowed_packet: 1000,
            idle_timeout: None,
            read_timeout: Duration::from_millis(30),
            write_timeout: Duration::from_millis(30),
            ..ConnectionLimits::default()
        },
        deadline: Duration::from_millis(300),
        ..LoginSettings::allow_any("8.4.6-shardgate", None)
    }
}

#[tokio::test]
async fn logins_that_are_no_logins() {
    let mut gate = gate(short_limits()).await;
    // HTTP: the sequence number is wrong.
    let mut raw = Raw::connect(gate.port).await;
    raw.0.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    raw.packet().await.unwrap();
    raw.last_error(0, 1156, "08S01").await;
    assert!(matches!(gate.ends.recv().await, Some(Closed::Protocol(_))));
    // A name that never ends.
    let mut raw = Raw::connect(gate.port).await;
    raw.packet().await.unwrap();
    let mut payload = vec![0; 32];
    payload[..4].copy_from_slice(&0x0008_a200_u32.to_le_bytes());
    payload.extend_from_slice(b"user");
    raw.send(1, &payload).await;
    raw.last_error(2, 1043, "08S01").await;
    assert!(matches!(gate.ends.recv().await, Some(Closed::Refused(_))));
    // A client of MySQL 4.0.
    let mut raw = Raw::connect(gate.port).await;
    raw.packet().await.unwrap();
    raw.send(1, b"\x85\x24\0\0\0user\0").await;
    raw.last_error(2, 1251, "08004").await;
    assert!(matches!(gate.ends.recv().await, Some(Closed::Refused(_))));
    // A login of a megabyte.
    let mut raw = Raw::connect(gate.port).await;
    raw.packet().await.unwrap();
    raw.0.write_all(&[0, 0, 16, 1]).await.unwrap();
    raw.last_error(2, 1153, "08S01").await;
    assert!(matches!(gate.ends.recv().await, Some(Closed::Protocol(_))));
    // Gone in the middle.
    let mut raw = Raw::connect(gate.port).await;
    raw.packet().await.unwrap();
    raw.0.write_all(&[80, 0, 0, 1, 5]).await.unwrap();
    drop(raw);
    assert!(matches!(gate.ends.recv().await, Some(Closed::ByClient | Closed::Broken(_))));
    // Silent.
    let mut raw = Raw::connect(gate.port).await;
    raw.packet().await.unwrap();
    assert_eq!(raw.packet().await, None);
    assert!(matches!(gate.ends.recv().await, Some(Closed::LoginTimeout)));
}

#[tokio::test]
async fn commands_that_are_no_commands() {
    let mut gate = gate(short_limits()).await;
    let mut raw = Raw::login(gate.port, Capabilities::default()).await;
    for (payload, code) in [(&b"\x77"[..], 1047), (b"", 1047), (b"\x1a\0", 1835), (b"\x03select 1", 0)] {
        raw.send(0, payload).await;
        let (seq, answer) = raw.packet().await.unwrap();
        assert_eq!(seq, 1);
        if code > 0 {
            assert_eq!(ErrPacket::decode(&answer).unwrap().code, code);
        } else {
            // Count, definition, EOF, row, EOF.
            for seq in 2..=5 {
                assert_eq!(raw.packet().await.unwrap().0, seq);
            }
        }
    }
    raw.send(7, b"\x0e").await;
    raw.last_error(0, 1156, "08S01").await;
    assert!(matches!(gate.ends.recv().await, Some(Closed::Protocol(_))));

    // Too long, and known from the header alone.
    let mut raw = Raw::login(gate.port, Capabilities::default()).await;
    raw.0.write_all(&[0xe9, 3, 0, 0]).await.unwrap();
    raw.last_error(1, 1153, "08S01").await;
    assert!(matches!(gate.ends.recv().await, Some(Closed::Protocol(_))));

    // Half a packet, then nothing.
    let mut raw = Raw::login(gate.port, Capabilities::default()).await;
    raw.0.write_all(&[9, 0, 0, 0, 3]).await.unwrap();
    assert_eq!(raw.packet().await, None);
    assert!(matches!(gate.ends.recv().await, Some(Closed::Stalled)));
    drop(raw);

    // Half a packet, then the end.
    let mut raw = Raw::login(gate.port, Capabilities::default()).await;
    raw.0.write_all(&[9, 0, 0, 0, 3]).await.unwrap();
    drop(raw);
    assert!(matches!(gate.ends.recv().await, Some(Closed::ByClient)));
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() {
    let gate = gate(short_limits()).await;
    let mut raw = Raw::login(gate.port, Capabilities::DEPRECATE_EOF).await;
    let mut segment = Vec::new();
    for number in 0..200_u8 {
        // CLOSE is not answered; a query follows it in the same segment.
        segment.extend_from_slice(&[5, 0, 0, 0, 0x19, 0, 0, 0, 0, 3, 0, 0, 0, 3, b'q', number]);
    }
    raw.0.write_all(&segment).await.unwrap();
    for number in 0..200_u8 {
        for seq in 1..=4 {
            let (found, payload) = raw.packet().await.unwrap();
            assert_eq!(found, seq);
            if seq == 3 {
                assert_eq!(payload, [2, b'q', number]);
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_and_its_bytes_are_kept() {
    let mut gate = gate(short_limits()).await;
    let mut raw = Raw::login(gate.port, Capabilities::default()).await;
    // "wait" returns when the client is gone; the PING behind it must still be there then.
    raw.send(0, b"\x03wait").await;
    raw.send(0, b"\x0e").await;
    drop(raw);
    assert!(matches!(gate.ends.recv().await, Some(Closed::Refused(error)) if error.code() == 1317));
}

#[tokio::test]
async fn a_client_that_never_reads_is_left() {
    let mut gate = gate(short_limits()).await;
    let mut raw = Raw::login(gate.port, Capabilities::default()).await;
    raw.send(0, b"\x03flood").await;
    assert!(matches!(gate.ends.recv().await, Some(Closed::NotReading)));
}

#[tokio::test]
async fn an_idle_client_is_told() {
    let mut settings = short_limits();
    settings.limits.idle_timeout = Some(Duration::from_millis(30));
    let mut gate = gate(settings).await;
    let mut raw = Raw::login(gate.port, Capabilities::default()).await;
    raw.last_error(0, 4031, "HY000").await;
    assert!(matches!(gate.ends.recv().await, Some(Closed::Idle)));
}

#[tokio::test]
async fn one_client_too_many_gets_no_greeting() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut raw = Raw::connect(listener.local_addr().unwrap().port()).await;
    let (stream, _) = listener.accept().await.unwrap();
    let (answer, ()) = tokio::join!(raw.packet(), async {
        frontend::refuse_before_greeting(stream, &SqlError::too_many_connections()).await;
    });
    assert_eq!(answer, Some((0, b"\xff\x10\x04Too many connections".to_vec())));
}
