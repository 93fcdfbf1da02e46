//! How does a client become a known user?
//!
//! Greeting, TLS if asked for, login packet, and the exchange of the authentication plugin
//! (`page_protocol_connection_phase.html`); COM_CHANGE_USER runs the same exchange again. The final OK is
//! the session's to send, because only it knows whether the database exists.
//!
//! The exchange, for the plugin that [`Users`] picks for the account:
//!
//! ```text
//! client began with another plugin      -> fe plugin nonce        <- response
//! mysql_native_password                 verified at once
//! caching_sha2_password, empty          verified at once
//!                        hash known     -> 01 03                  (then the OK)
//!                        password asked -> 01 04   TLS, socket:   <- password 00
//!                                                  plain TCP:     <- 02   -> 01 key   <- RSA(password 00)
//! ```

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use rustls::ServerConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use super::connection::ClientConnection;
use super::failed_logins::FailedLogins;
use super::limits::{Closed, ConnectionLimits};
use super::stream::ClientStream;
use super::tls::RsaKeys;
use super::users::{Identity, Transport, Users, Verdict};
use crate::error::SqlError;
use crate::protocol::auth::{Plugin, clear_password, new_nonce};
use crate::protocol::capability::{Capabilities, Status};
use crate::protocol::command::ChangeUser;
use crate::protocol::compression::Algorithm;
use crate::protocol::greeting::{
    AUTH_MORE_DATA, AuthSwitch, FAST_AUTH_SUCCESS, FULL_AUTHENTICATION, Greeting, LoginPacket,
    PUBLIC_KEY_REQUEST, SslRequest, without_empty_mark,
};

/// The longest packet before a client is known, in bytes: names and 64 KiB of attributes fit.
const LOGIN_PACKET_LIMIT: usize = 128 << 10;

/// What every client of a listener meets.
#[derive(Debug)]
pub struct LoginSettings {
    /// The server version of the greeting, such as `8.4.6-shardgate`. It follows the servers behind the
    /// gate, because clients choose system variables and metadata queries by it. No zero bytes.
    pub server_version: String,
    /// The greeting's collation: 255 to look like MySQL 8, 45 to look like MariaDB. Some clients take it
    /// over as their own.
    pub charset: u8,
    /// The plugin of the greeting, and for clients that began with none of ours.
    pub default_plugin: Plugin,
    /// Whether `mysql_native_password` may be used at all.
    pub native_password: bool,
    /// Certificate and key; `None` does not offer TLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// Whether logins over plain TCP are refused (3159).
    pub require_tls: bool,
    /// A client's certificate must name one of these; any certificate is good where there are none. Who
    /// shows none at all is the TLS configuration's affair.
    pub client_names: Vec<ServerName<'static>>,
    /// Who has failed to log in lately, and must wait.
    pub failed_logins: FailedLogins,
    /// The keys for full authentication on plain TCP.
    pub rsa: RsaKeys,
    /// Who may log in; may be replaced while the listener runs.
    pub users: ArcSwap<Users>,
    /// How long everything up to the end of the authentication may take.
    pub deadline: Duration,
    /// What each connection may use.
    pub limits: ConnectionLimits,
}

/// What a login, or a change of user, says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user's name. Bytes that are not UTF-8 are replaced.
    pub user: String,
    /// As whom the user acts.
    pub identity: Identity,
    /// The database to start in; the session checks it and answers 1049 if it is unknown.
    pub database: Option<String>,
    /// The client's collation id. The login packet has its low byte only; 0 means the server's default,
    /// as does a COM_CHANGE_USER that ends before it.
    pub charset: u16,
    /// The connection attributes; iterate with [`Attributes`](crate::protocol::greeting::Attributes).
    pub attributes: Bytes,
    /// The plugin that decided.
    pub plugin: Plugin,
}

/// What the client claims, before it is checked.
struct Claim {
    user: String,
    response: Bytes,
    plugin: Option<Plugin>,
}

/// Brings a new client to the point where its OK can be sent: greeting, TLS, authentication.
///
/// `id` is the connection's id for the greeting. On success the session sends OK (or an error, with
/// [`ClientConnection::refuse`]) as the client's next packet.
///
/// # Errors
/// The client has been told, and its socket is closed: 1043, 1045, 1153, 1156, 1251, 3159, or nothing
/// at all where it left or the deadline passed.
pub async fn login(
    stream: ClientStream,
    id: u32,
    settings: &LoginSettings,
) -> Result<(ClientConnection, Login), Closed> {
    let mut client = ClientConnection::new(stream, id, new_nonce(), settings.limits);
    // Boxed: the state of a TLS handshake would make every session's future larger for its whole life.
    let exchange = Box::pin(tokio::time::timeout(settings.deadline, client.log_in(settings)));
    match exchange.await.unwrap_or(Err(Closed::LoginTimeout)) {
        Ok(login) => Ok((client, login)),
        Err(reason) => {
            client.close().await;
            Err(reason)
        }
    }
}

/// Answers COM_CHANGE_USER up to, but not including, the final OK. As real servers do it always asks for
/// a fresh response, with the greeting's nonce. The session resets itself whatever the outcome.
///
/// # Errors
/// As for [`login`]; the session closes the connection, which also sends the error.
pub async fn change_user(
    client: &mut ClientConnection,
    request: &ChangeUser<'_>,
    settings: &LoginSettings,
) -> Result<Login, Closed> {
    let exchange = Box::pin(tokio::time::timeout(settings.deadline, client.change_user(request, settings)));
    exchange.await.unwrap_or(Err(Closed::LoginTimeout))
}

/// Answers a client that gets no greeting, such as one too many (1040), and closes its socket. Errors at
/// this point have no SQLSTATE.
pub async fn refuse_before_greeting(stream: TcpStream, error: &SqlError) {
    let limits = ConnectionLimits::default();
    if let Ok(stream) = ClientStream::tcp(stream) {
        let mut client = ClientConnection::new(stream, 0, [0; 20], limits);
        client.farewell(error, false);
        client.close().await;
    }
}

// === impl LoginSettings ===

impl LoginSettings {
    /// Settings for development: any user, a self-signed certificate if one is passed, MySQL's defaults.
    #[must_use]
    pub fn allow_any(server_version: &str, tls: Option<Arc<ServerConfig>>) -> Self {
        Self {
            server_version: server_version.to_owned(),
            charset: 255,
            default_plugin: Plugin::CachingSha2,
            native_password: true,
            tls,
            require_tls: false,
            client_names: Vec::new(),
            failed_logins: FailedLogins::new(0, Duration::ZERO),
            rsa: RsaKeys::default(),
            users: ArcSwap::from_pointee(Users::AllowAny),
            deadline: Duration::from_secs(10),
            limits: ConnectionLimits::default(),
        }
    }

    fn offered(&self, stream: &ClientStream) -> Capabilities {
        if self.tls.is_some() && stream.is_upgradable() {
            Capabilities::OFFERED | Capabilities::SSL
        } else {
            Capabilities::OFFERED
        }
    }
}

// === the exchange ===

impl ClientConnection {
    async fn log_in(&mut self, settings: &LoginSettings) -> Result<Login, Closed> {
        let offered = settings.offered(&self.stream);
        let (id, nonce) = (self.id(), self.nonce);
        self.write_with(|out| {
            Greeting {
                version: settings.server_version.as_bytes(),
                connection_id: id,
                nonce,
                capabilities: offered,
                charset: settings.charset,
                status: Status::AUTOCOMMIT,
                plugin: settings.default_plugin.name().as_bytes(),
            }
            .encode(out);
        });
        let mut payload = self.login_packet(LOGIN_PACKET_LIMIT).await?;
        if let Some(tls) = settings.tls.as_ref().filter(|_| offered.contains(Capabilities::SSL))
            && SslRequest::decode(&payload).is_some()
        {
            self.stream.upgrade(Arc::clone(tls)).await?;
            // The SSL bit of the packet inside TLS does not matter; some clients clear it there.
            payload = self.login_packet(LOGIN_PACKET_LIMIT).await?;
        }
        if payload.len() >= 2 && !LoginPacket::is_protocol_41(&payload) {
            return Err(self.denied(SqlError::client_too_old()));
        }
        let packet = match LoginPacket::decode(&payload, offered) {
            Ok(packet) => packet,
            Err(error) => return Err(self.denied(SqlError::bad_handshake().caused_by(error))),
        };
        self.capabilities = Capabilities::agreed(offered, packet.capabilities);
        self.compression = Algorithm::agreed(self.capabilities, packet.zstd_level);
        if settings.require_tls && !self.stream.is_secure() {
            return Err(self.denied(SqlError::tls_required()));
        }
        if self.stream.is_tls() && !self.stream.is_named(&settings.client_names) {
            tracing::info!(peer = %self.peer(), "a client's certificate has another name");
            let user = String::from_utf8_lossy(packet.user);
            return Err(self.denied(SqlError::access_denied(&user, &self.peer().host(), "YES")));
        }
        let claim = Claim {
            user: String::from_utf8_lossy(packet.user).into_owned(),
            response: payload.slice_ref(packet.auth),
            plugin: self.plugin_of(packet.plugin),
        };
        let login = Login {
            user: claim.user.clone(),
            identity: Identity::default(),
            database: packet.database.map(|name| String::from_utf8_lossy(name).into_owned()),
            charset: u16::from(packet.charset),
            attributes: Bytes::copy_from_slice(packet.attributes),
            plugin: settings.default_plugin,
        };
        let (identity, plugin) = self.authenticate(claim, false, settings).await?;
        Ok(Login { identity, plugin, ..login })
    }

    async fn change_user(
        &mut self,
        request: &ChangeUser<'_>,
        settings: &LoginSettings,
    ) -> Result<Login, Closed> {
        let claim = Claim {
            user: String::from_utf8_lossy(request.user).into_owned(),
            response: Bytes::copy_from_slice(request.auth),
            plugin: self.plugin_of(request.plugin),
        };
        let login = Login {
            user: claim.user.clone(),
            identity: Identity::default(),
            database: request.database.map(|name| String::from_utf8_lossy(name).into_owned()),
            charset: request.charset.unwrap_or(0),
            attributes: Bytes::copy_from_slice(request.attributes),
            plugin: settings.default_plugin,
        };
        let can_switch = self.capabilities.contains(Capabilities::PLUGIN_AUTH);
        let (identity, plugin) = self.authenticate(claim, can_switch, settings).await?;
        Ok(Login { identity, plugin, ..login })
    }

    /// The plugin that a client began with. Clients that do not name plugins know the native one only.
    fn plugin_of(&self, name: Option<&[u8]>) -> Option<Plugin> {
        if self.capabilities.contains(Capabilities::PLUGIN_AUTH) {
            name.and_then(Plugin::from_name)
        } else {
            Some(Plugin::NativePassword)
        }
    }

    async fn authenticate(
        &mut self,
        mut claim: Claim,
        always_switch: bool,
        settings: &LoginSettings,
    ) -> Result<(Identity, Plugin), Closed> {
        let users = settings.users.load_full();
        let peer = self.peer();
        let wait = settings.failed_logins.wait(peer);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let transport =
            Transport { secure: self.stream.is_secure(), native_allowed: settings.native_password };
        let plugin = users.plugin_for(&claim.user, peer, claim.plugin, settings.default_plugin, transport);
        if claim.plugin != Some(plugin) || always_switch {
            if !self.capabilities.contains(Capabilities::PLUGIN_AUTH) {
                return Err(self.denied(SqlError::client_too_old()));
            }
            let nonce = self.nonce;
            self.write_with(|out| AuthSwitch { plugin: plugin.name().as_bytes(), nonce: &nonce }.encode(out));
            claim.response = self.login_packet(LOGIN_PACKET_LIMIT).await?;
        }
        let response = without_empty_mark(&claim.response);
        let mut verdict = users.check_scramble(&claim.user, peer, plugin, &self.nonce, response);
        let with_password = !response.is_empty();
        if verdict == Verdict::PasswordNeeded {
            let password = self.ask_for_password(settings).await?;
            verdict = match &password {
                Some(password) => users.check_password(&claim.user, peer, password),
                None => Verdict::Denied,
            };
        } else if plugin == Plugin::CachingSha2 && with_password && matches!(verdict, Verdict::Granted(_)) {
            self.write_row(&[AUTH_MORE_DATA, FAST_AUTH_SUCCESS]);
        }
        match verdict {
            Verdict::Granted(identity) => {
                settings.failed_logins.succeeded(peer);
                Ok((identity, plugin))
            }
            Verdict::Denied | Verdict::PasswordNeeded => {
                settings.failed_logins.failed(peer);
                let used = if with_password { "YES" } else { "NO" };
                let error = SqlError::access_denied(&claim.user, &peer.host(), used);
                Err(self.denied(error))
            }
        }
    }

    /// The full authentication of `caching_sha2_password`; `None` if what came is no password.
    async fn ask_for_password(&mut self, settings: &LoginSettings) -> Result<Option<Vec<u8>>, Closed> {
        self.write_row(&[AUTH_MORE_DATA, FULL_AUTHENTICATION]);
        let mut answer = self.login_packet(LOGIN_PACKET_LIMIT).await?;
        if self.stream.is_secure() {
            return Ok(clear_password(&answer).ok().map(<[u8]>::to_vec));
        }
        let pair = match settings.rsa.pair().await {
            Ok(pair) => pair,
            Err(error) => return Err(self.denied(SqlError::bug("no RSA key pair").caused_by(error))),
        };
        if answer[..] == [PUBLIC_KEY_REQUEST] {
            let mut key = vec![AUTH_MORE_DATA];
            key.extend_from_slice(pair.public_pem().as_bytes());
            self.write_row(&key);
            answer = self.login_packet(LOGIN_PACKET_LIMIT).await?;
        }
        Ok(pair.decrypt_password(&answer, &self.nonce).ok())
    }

    /// Writes the error that ends a login; closing sends it.
    fn denied(&mut self, error: SqlError) -> Closed {
        self.write_error(&error);
        Closed::Refused(error)
    }
}
