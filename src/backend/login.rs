//! How is a connection to a server opened and logged in?
//!
//! `page_protocol_connection_phase.html`. Passwords travel scrambled, inside TLS or a unix socket, or
//! encrypted for the server's RSA key; a server that asks for anything else is refused.

use std::io;

use bytes::{BufMut, BytesMut};
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::connection::Server;
use super::inbox::Inbox;
use super::stream::Stream;
use super::{BackendConfig, Tls};
use crate::error::SqlError;
use crate::protocol::ProtocolError;
use crate::protocol::auth::{self, Plugin};
use crate::protocol::capability::{Capabilities, Status};
use crate::protocol::charset;
use crate::protocol::greeting::{
    AUTH_MORE_DATA, AUTH_SWITCH, AuthSwitch, FAST_AUTH_SUCCESS, FULL_AUTHENTICATION, Greeting, LoginPacket,
    PUBLIC_KEY_REQUEST, SslRequest, put_attribute,
};
use crate::protocol::packet::{HEADER_LEN, PacketWriter};
use crate::protocol::response::{self, ErrPacket, OkPacket};
use crate::topology::{Address, Tablet};

/// The longest packet of the login phase, in bytes.
const MAX_LOGIN_PACKET: usize = 64 * 1024;

/// What the login packet says about the longest packet: as much as the protocol has.
const MAX_PACKET: u32 = 1 << 30;

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Protocol(#[from] ProtocolError),
    #[error("{0}")]
    Refused(#[from] SqlError),
    #[error("{0}")]
    Authentication(String),
}

/// A logged-in connection, in parts.
pub(super) struct LoggedIn {
    pub(super) stream: Stream,
    pub(super) inbox: Inbox,
    pub(super) server: Server,
    pub(super) capabilities: Capabilities,
    pub(super) status: Status,
}

/// The login phase.
struct Login<'a> {
    stream: Stream,
    inbox: Inbox,
    writer: PacketWriter,
    config: &'a BackendConfig,
}

/// Dials the tablet and logs in. The caller bounds the time.
pub(super) async fn log_in(
    config: &BackendConfig,
    tablet: &Tablet,
    found_rows: bool,
) -> Result<LoggedIn, LoginError> {
    let stream = dial(&tablet.address).await?;
    let login = Login { stream, inbox: Inbox::new(), writer: PacketWriter::default(), config };
    login.run(tablet, found_rows).await
}

async fn dial(address: &Address) -> io::Result<Stream> {
    match address {
        Address::Unix(path) => UnixStream::connect(path).await.map(Stream::Unix),
        Address::Tcp { host, port } => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
            for target in tokio::net::lookup_host((host.as_str(), *port)).await? {
                let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
                socket.set_nodelay(true)?;
                socket.set_keepalive(true)?;
                match socket.connect(target).await {
                    Ok(stream) => return Ok(Stream::Tcp(stream)),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

// === impl Login ===

impl Login<'_> {
    async fn run(mut self, tablet: &Tablet, found_rows: bool) -> Result<LoggedIn, LoginError> {
        let payload = self.read().await?;
        if payload.first() == Some(&response::ERR) {
            return Err(refused(&payload));
        }
        let greeting = Greeting::decode(&payload)?;
        let server = server_of(&greeting);
        if !greeting.capabilities.contains(Capabilities::DEPRECATE_EOF | Capabilities::PLUGIN_AUTH) {
            return Err(LoginError::Authentication(format!("server version {} is too old", server.version)));
        }
        let mut asked = Capabilities::BACKEND & greeting.capabilities;
        if found_rows {
            asked = asked | Capabilities::FOUND_ROWS;
        }
        let database = Some(tablet.schema.as_bytes()).filter(|schema| !schema.is_empty());
        if database.is_some() {
            // MySQL reads the login packet by the flags of the TLS request in front of it.
            asked = asked | Capabilities::CONNECT_WITH_DB;
        }
        // MariaDB does not know 255 and would silently take latin1.
        let charset =
            if server.is_mariadb { charset::UTF8MB4_GENERAL_CI } else { charset::UTF8MB4_0900_AI_CI };
        let charset = u8::try_from(charset).unwrap_or_default();
        if self.wants_tls(greeting.capabilities)? {
            asked = asked | Capabilities::SSL;
            self = self.start_tls(tablet, asked, charset).await?;
        }
        let plugin = Plugin::from_name(greeting.plugin).unwrap_or(Plugin::CachingSha2);
        let mut attributes = BytesMut::new();
        put_attribute(&mut attributes, "program_name", "shardgate");
        let login = LoginPacket {
            capabilities: asked,
            max_packet: MAX_PACKET,
            charset,
            user: self.config.user.as_bytes(),
            auth: &plugin.scramble(self.config.password.as_bytes(), &greeting.nonce),
            database,
            plugin: Some(plugin.name().as_bytes()),
            attributes: if greeting.capabilities.contains(Capabilities::CONNECT_ATTRS) {
                &attributes
            } else {
                &[]
            },
            zstd_level: 0,
        };
        let mut packet = BytesMut::new();
        login.encode(&mut packet)?;
        self.write(&packet).await?;
        let capabilities = asked.without(Capabilities::SSL);
        let status = self.authenticate(plugin, greeting.nonce.to_vec(), capabilities).await?;
        let Self { stream, inbox, .. } = self;
        Ok(LoggedIn { stream, inbox, server, capabilities, status })
    }

    fn wants_tls(&self, offered: Capabilities) -> Result<bool, LoginError> {
        let possible = offered.contains(Capabilities::SSL);
        match (&self.config.tls, &self.stream) {
            (Tls::Off, _) | (_, Stream::Unix(_) | Stream::Tls(_)) => Ok(false),
            (Tls::Preferred(_), _) => Ok(possible),
            (Tls::Required(_), _) if possible => Ok(true),
            (Tls::Required(_), _) => {
                Err(LoginError::Authentication("the server does not offer TLS".to_owned()))
            }
        }
    }

    async fn start_tls(
        mut self,
        tablet: &Tablet,
        asked: Capabilities,
        charset: u8,
    ) -> Result<Self, LoginError> {
        let mut packet = BytesMut::new();
        SslRequest { capabilities: asked, max_packet: MAX_PACKET, charset }.encode(&mut packet);
        self.write(&packet).await?;
        let (Tls::Preferred(tls) | Tls::Required(tls)) = &self.config.tls else { return Ok(self) };
        // Bytes in front of the handshake would be taken for encrypted ones later on.
        if !self.inbox.unread().is_empty() {
            return Err(ProtocolError::Malformed("greeting").into());
        }
        let Address::Tcp { host, .. } = &tablet.address else { return Ok(self) };
        let name = ServerName::try_from(host.clone())
            .map_err(|error| LoginError::Authentication(format!("'{host}': {error}")))?;
        let stream: TcpStream = match self.stream {
            Stream::Tcp(stream) => stream,
            other => return Ok(Self { stream: other, ..self }),
        };
        let stream = TlsConnector::from(std::sync::Arc::clone(tls)).connect(name, stream).await?;
        Ok(Self { stream: Stream::Tls(Box::new(stream)), ..self })
    }

    /// Answers the server's questions until it says OK.
    async fn authenticate(
        &mut self,
        mut plugin: Plugin,
        mut nonce: Vec<u8>,
        capabilities: Capabilities,
    ) -> Result<Status, LoginError> {
        // A switch of the plugin, a key, and a result are four packets; ten are a broken server.
        for _ in 0..10 {
            let payload = self.read().await?;
            match payload.as_slice() {
                [response::OK, ..] => return Ok(OkPacket::decode(&payload, capabilities)?.status),
                [response::ERR, ..] => return Err(refused(&payload)),
                [AUTH_SWITCH, ..] => {
                    let switch = AuthSwitch::decode(&payload)?;
                    plugin = Plugin::from_name(switch.plugin).ok_or_else(|| {
                        let name = String::from_utf8_lossy(switch.plugin);
                        LoginError::Authentication(format!("the server asks for the plugin {name}"))
                    })?;
                    nonce = switch.nonce.to_vec();
                    let scramble = plugin.scramble(self.config.password.as_bytes(), &nonce);
                    self.write(&scramble).await?;
                }
                [AUTH_MORE_DATA, FAST_AUTH_SUCCESS] => {}
                [AUTH_MORE_DATA, FULL_AUTHENTICATION] if plugin == Plugin::CachingSha2 => {
                    self.full_authentication(&nonce).await?;
                }
                _ => return Err(ProtocolError::Malformed("authentication packet").into()),
            }
        }
        Err(LoginError::Authentication("the server does not come to an end".to_owned()))
    }

    async fn full_authentication(&mut self, nonce: &[u8]) -> Result<(), LoginError> {
        let password = self.config.password.as_bytes();
        if self.stream.is_private() {
            let clear = [password, &[0]].concat();
            return Ok(self.write(&clear).await?);
        }
        self.write(&[PUBLIC_KEY_REQUEST]).await?;
        let payload = self.read().await?;
        let [AUTH_MORE_DATA, key @ ..] = payload.as_slice() else { return Err(refused(&payload)) };
        let encrypted = auth::encrypt_password_rsa(password, nonce, key)
            .map_err(|error| LoginError::Authentication(error.to_string()))?;
        Ok(self.write(&encrypted).await?)
    }

    async fn read(&mut self) -> Result<Vec<u8>, LoginError> {
        let header = loop {
            if let Some(header) = self.inbox.whole() {
                break header;
            }
            let wanted = self.inbox.header().map_or(HEADER_LEN, |header| HEADER_LEN + header.length);
            if wanted > MAX_LOGIN_PACKET {
                return Err(ProtocolError::TooLarge { limit: MAX_LOGIN_PACKET }.into());
            }
            self.inbox.fill(&mut self.stream, wanted).await?;
        };
        self.writer.set_next_seq(header.seq.wrapping_add(1));
        let payload = self.inbox.slice(HEADER_LEN..HEADER_LEN + header.length).to_vec();
        self.inbox.consume(HEADER_LEN + header.length);
        Ok(payload)
    }

    async fn write(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut out = BytesMut::new();
        self.writer.write_with(&mut out, |out| out.put_slice(payload));
        self.stream.write_all(&out).await?;
        self.stream.flush().await
    }
}

fn refused(payload: &[u8]) -> LoginError {
    match ErrPacket::decode(payload) {
        Ok(packet) => LoginError::Refused(packet.to_error()),
        Err(error) => LoginError::Protocol(error),
    }
}

fn server_of(greeting: &Greeting<'_>) -> Server {
    let version = String::from_utf8_lossy(greeting.version).into_owned();
    let is_mariadb = version.contains("MariaDB");
    // MariaDB 10 says 5.5.5- in front, for old replicas.
    let version = match version.strip_prefix("5.5.5-") {
        Some(rest) if is_mariadb => rest.to_owned(),
        _ => version,
    };
    Server { version, is_mariadb, connection_id: greeting.connection_id }
}
