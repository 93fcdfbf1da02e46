//! How do a server and a client introduce themselves?
//!
//! The packets up to the end of the login, both directions: the greeting, the request for TLS, the login
//! packet, and the switch to another authentication plugin. Layouts:
//! `page_protocol_connection_phase_packets_protocol_handshake_v10.html`, `…_ssl_request.html`,
//! `…_handshake_response.html`, `…_auth_switch_request.html`. MariaDB's extended capabilities, in the
//! last four of the greeting's reserved bytes, are always zero here: none of them is spoken.

use bytes::{BufMut, BytesMut};

use super::ProtocolError;
use super::auth::NONCE_LEN;
use super::capability::{Capabilities, Status};
use super::wire::{Input, put_lenenc_bytes, put_lenenc_int};

/// The protocol version of every greeting since MySQL 3.21.
const PROTOCOL_VERSION: u8 = 10;

/// First byte of a request to use another plugin.
pub const AUTH_SWITCH: u8 = 0xfe;

/// First byte of a packet with more data for the plugin.
pub const AUTH_MORE_DATA: u8 = 0x01;

/// `caching_sha2_password`, after [`AUTH_MORE_DATA`]: the fast path succeeded, an OK packet follows.
pub const FAST_AUTH_SUCCESS: u8 = 0x03;

/// `caching_sha2_password`, after [`AUTH_MORE_DATA`]: the client has to send its password.
pub const FULL_AUTHENTICATION: u8 = 0x04;

/// `caching_sha2_password`: the whole packet with which a client asks for the server's RSA key.
pub const PUBLIC_KEY_REQUEST: u8 = 0x02;

/// The longest block of connection attributes that is read, in bytes (MySQL's own limit).
pub const MAX_ATTRIBUTES: usize = 65_536;

/// The first packet of a connection, from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting<'a> {
    /// The server's version, such as `8.4.0-shardgate`. Clients branch on it.
    pub version: &'a [u8],
    /// The connection's id: what `CONNECTION_ID()` and KILL mean.
    pub connection_id: u32,
    /// The nonce of the authentication, without its final zero.
    pub nonce: [u8; NONCE_LEN],
    /// What the server offers.
    pub capabilities: Capabilities,
    /// The low byte of the server's default collation. Some clients copy it as their own.
    pub charset: u8,
    /// The status; drivers read the autocommit mode from it.
    pub status: Status,
    /// The default authentication plugin.
    pub plugin: &'a [u8],
}

/// A client's request to continue in TLS: the first 32 bytes of its login packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SslRequest {
    /// What the client asks for; has [`Capabilities::SSL`].
    pub capabilities: Capabilities,
    /// The longest packet that the client reads; never enforced, many clients send nonsense.
    pub max_packet: u32,
    /// The low byte of the client's collation.
    pub charset: u8,
}

/// A client's login packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoginPacket<'a> {
    /// What the client asks for, offered or not.
    pub capabilities: Capabilities,
    /// As in [`SslRequest::max_packet`].
    pub max_packet: u32,
    /// The low byte of the client's collation.
    pub charset: u8,
    /// The user's name.
    pub user: &'a [u8],
    /// What the plugin makes of the password; empty for an empty password.
    pub auth: &'a [u8],
    /// The database to start in.
    pub database: Option<&'a [u8]>,
    /// The plugin that made `auth`.
    pub plugin: Option<&'a [u8]>,
    /// The connection attributes, as length-encoded pairs; see [`Attributes`].
    pub attributes: &'a [u8],
    /// The zstd level that the client asks for; 0 where it asks for none.
    pub zstd_level: u8,
}

/// A server's request to start over with another plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthSwitch<'a> {
    /// The plugin's name.
    pub plugin: &'a [u8],
    /// A new nonce, without its final zero.
    pub nonce: &'a [u8],
}

/// Iterates over connection attributes, name and value; ends before the first malformed pair.
#[derive(Debug, Clone)]
pub struct Attributes<'a>(Input<'a>);

/// Appends one connection attribute to a block of them.
pub fn put_attribute(out: &mut BytesMut, name: &str, value: &str) {
    put_lenenc_bytes(out, name.as_bytes());
    put_lenenc_bytes(out, value.as_bytes());
}

/// The two forms of an empty password: no bytes, or a single zero (libmysqlclient, Connector/J).
#[must_use]
pub fn without_empty_mark(auth: &[u8]) -> &[u8] {
    if auth == [0] { &[] } else { auth }
}

// === impl Greeting ===

impl<'a> Greeting<'a> {
    /// Reads a greeting.
    ///
    /// # Errors
    /// [`ProtocolError::Malformed`] for another protocol version, or a server without PROTOCOL_41 or the
    /// 20-byte nonce of SECURE_CONNECTION: those are older than MySQL 4.1.
    pub fn decode(payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut input = Input::new(payload, "greeting");
        if input.u8()? != PROTOCOL_VERSION {
            return Err(input.malformed());
        }
        let version = input.nul_bytes()?;
        let connection_id = input.u32()?;
        let nonce_start = input.array::<8>()?;
        input.u8()?;
        let low = input.u16()?;
        let charset = input.u8()?;
        let status = Status(input.u16()?);
        let high = input.u16()?;
        let capabilities = Capabilities(u32::from(high) << 16 | u32::from(low));
        if !capabilities.contains(Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION) {
            return Err(input.malformed());
        }
        let auth_len = usize::from(input.u8()?);
        input.take(10)?;
        // The second part has at least 13 bytes, the final zero included.
        let rest = input.take(Ord::max(13, auth_len.saturating_sub(8)))?;
        let mut nonce = [0; NONCE_LEN];
        nonce[..8].copy_from_slice(&nonce_start);
        nonce[8..].copy_from_slice(&rest[..NONCE_LEN - 8]);
        let plugin =
            if capabilities.contains(Capabilities::PLUGIN_AUTH) { nul_or_rest(&mut input) } else { b"" };
        Ok(Self { version, connection_id, nonce, capabilities, charset, status, plugin })
    }

    /// Appends the payload. The length of the auth data is written as 21, as servers do: Connector/J
    /// reads so many bytes of it.
    pub fn encode(&self, out: &mut BytesMut) {
        let [low_0, low_1, high_0, high_1] = self.capabilities.0.to_le_bytes();
        out.put_u8(PROTOCOL_VERSION);
        put_nul(out, self.version);
        out.put_u32_le(self.connection_id);
        out.put_slice(&self.nonce[..8]);
        out.put_slice(&[0, low_0, low_1, self.charset]);
        out.put_u16_le(self.status.0);
        out.put_slice(&[high_0, high_1, 21]);
        out.put_slice(&[0; 10]);
        put_nul(out, &self.nonce[8..]);
        put_nul(out, self.plugin);
    }
}

// === impl SslRequest ===

impl SslRequest {
    /// How long the request is, in bytes: where a login packet has the user's name, it ends.
    pub const LEN: usize = 32;

    /// Reads the request; `None` if the payload is a login packet instead.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        if payload.len() != Self::LEN {
            return None;
        }
        let request = head(&mut Input::new(payload, "SSL request")).ok()?;
        request.capabilities.contains(Capabilities::SSL).then_some(request)
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u32_le(self.capabilities.0);
        out.put_u32_le(self.max_packet);
        out.put_u8(self.charset);
        out.put_slice(&[0; 23]);
    }
}

// === impl LoginPacket ===

impl<'a> LoginPacket<'a> {
    /// Whether the first bytes of a login packet are those of the 4.1 protocol. Older clients have
    /// another layout behind them.
    #[must_use]
    pub fn is_protocol_41(payload: &[u8]) -> bool {
        payload.get(1).is_some_and(|byte| u32::from(*byte) << 8 & Capabilities::PROTOCOL_41.0 != 0)
    }

    /// Reads a login packet. Its layout depends on what both sides set, so `offered` is what the
    /// greeting said; bits beyond that are ignored, as servers do.
    ///
    /// Accepted as servers accept it: attributes announced but absent, a missing final zero of the last
    /// string, and an empty password written as one zero byte.
    pub fn decode(payload: &'a [u8], offered: Capabilities) -> Result<Self, ProtocolError> {
        let mut input = Input::new(payload, "login packet");
        let SslRequest { capabilities, max_packet, charset } = head(&mut input)?;
        let agreed = Capabilities::agreed(offered, capabilities);
        let user = input.nul_bytes()?;
        let auth = if agreed.contains(Capabilities::PLUGIN_AUTH_LENENC) {
            input.lenenc_bytes()?
        } else if agreed.contains(Capabilities::SECURE_CONNECTION) {
            let length = input.u8()?;
            input.take(usize::from(length))?
        } else {
            nul_or_rest(&mut input)
        };
        let mut packet = Self {
            capabilities,
            max_packet,
            charset,
            user,
            auth: without_empty_mark(auth),
            ..Self::default()
        };
        if agreed.contains(Capabilities::CONNECT_WITH_DB) {
            packet.database = Some(nul_or_rest(&mut input)).filter(|name| !name.is_empty());
        }
        if agreed.contains(Capabilities::PLUGIN_AUTH) && !input.is_empty() {
            packet.plugin = Some(nul_or_rest(&mut input));
        }
        if agreed.contains(Capabilities::CONNECT_ATTRS) {
            packet.attributes = decode_attributes(&mut input)?;
        }
        if agreed.contains(Capabilities::ZSTD) && !input.is_empty() {
            packet.zstd_level = input.u8()?;
        }
        Ok(packet)
    }

    /// Appends the payload. The bits of optional fields follow from the fields: CONNECT_WITH_DB,
    /// PLUGIN_AUTH, CONNECT_ATTRS; of the auth data's forms, the length-encoded one is written when
    /// PLUGIN_AUTH_LENENC is set and the one-byte length otherwise, which holds up to 255 bytes.
    ///
    /// # Errors
    /// [`ProtocolError::Malformed`] when a name holds a zero byte, or the auth data has more than 255
    /// bytes without PLUGIN_AUTH_LENENC.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), ProtocolError> {
        let strings = [self.user, self.database.unwrap_or_default(), self.plugin.unwrap_or_default()];
        if strings.iter().any(|text| text.contains(&0)) {
            return Err(ProtocolError::Malformed("login packet"));
        }
        let capabilities = self.written_capabilities();
        SslRequest { capabilities, max_packet: self.max_packet, charset: self.charset }.encode(out);
        put_nul(out, self.user);
        if capabilities.contains(Capabilities::PLUGIN_AUTH_LENENC) {
            put_lenenc_bytes(out, self.auth);
        } else {
            out.put_u8(u8::try_from(self.auth.len()).map_err(|_| ProtocolError::Malformed("login packet"))?);
            out.put_slice(self.auth);
        }
        if let Some(database) = self.database {
            put_nul(out, database);
        }
        if let Some(plugin) = self.plugin {
            put_nul(out, plugin);
        }
        if !self.attributes.is_empty() {
            put_lenenc_int(out, self.attributes.len() as u64);
            out.put_slice(self.attributes);
        }
        if capabilities.contains(Capabilities::ZSTD) {
            out.put_u8(self.zstd_level);
        }
        Ok(())
    }

    fn written_capabilities(&self) -> Capabilities {
        let optional =
            Capabilities::CONNECT_WITH_DB | Capabilities::PLUGIN_AUTH | Capabilities::CONNECT_ATTRS;
        let mut capabilities =
            self.capabilities.without(optional) | Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION;
        for (present, bit) in [
            (self.database.is_some(), Capabilities::CONNECT_WITH_DB),
            (self.plugin.is_some(), Capabilities::PLUGIN_AUTH),
            (!self.attributes.is_empty(), Capabilities::CONNECT_ATTRS),
        ] {
            if present {
                capabilities = capabilities | bit;
            }
        }
        capabilities
    }
}

// === impl AuthSwitch ===

impl<'a> AuthSwitch<'a> {
    /// Reads the request. A bare `fe`, the switch to the password scheme of MySQL 4.0, is malformed:
    /// that scheme gives the password away.
    pub fn decode(payload: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut input = Input::new(payload, "authentication switch");
        if input.u8()? != AUTH_SWITCH {
            return Err(input.malformed());
        }
        let plugin = input.nul_bytes()?;
        let nonce = input.take_rest();
        Ok(Self { plugin, nonce: nonce.strip_suffix(&[0]).unwrap_or(nonce) })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u8(AUTH_SWITCH);
        put_nul(out, self.plugin);
        put_nul(out, self.nonce);
    }
}

// === impl Attributes ===

impl<'a> Attributes<'a> {
    /// Over the pairs of `block`, such as [`LoginPacket::attributes`].
    #[must_use]
    pub fn new(block: &'a [u8]) -> Self {
        Self(Input::new(block, "connection attributes"))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.0.lenenc_bytes().ok()?;
        let value = self.0.lenenc_bytes().ok()?;
        Some((name, value))
    }
}

// === pieces ===

/// The block of attributes that ends a login or change-user packet; absent is as good as empty.
pub(super) fn decode_attributes<'a>(input: &mut Input<'a>) -> Result<&'a [u8], ProtocolError> {
    if input.is_empty() {
        return Ok(&[]);
    }
    let block = input.lenenc_bytes()?;
    if block.len() > MAX_ATTRIBUTES {
        return Err(ProtocolError::TooLarge { limit: MAX_ATTRIBUTES });
    }
    Ok(block)
}

/// A string up to a zero byte, or to the packet's end where a client leaves the last zero away.
pub(super) fn nul_or_rest<'a>(input: &mut Input<'a>) -> &'a [u8] {
    input.nul_bytes().unwrap_or_else(|_| input.take_rest())
}

/// The 32 bytes that the SSL request and the login packet share.
fn head(input: &mut Input<'_>) -> Result<SslRequest, ProtocolError> {
    let capabilities = Capabilities(input.u32()?);
    if !capabilities.contains(Capabilities::PROTOCOL_41) {
        return Err(input.malformed());
    }
    let max_packet = input.u32()?;
    let charset = input.u8()?;
    input.take(23)?;
    Ok(SslRequest { capabilities, max_packet, charset })
}

fn put_nul(out: &mut BytesMut, bytes: &[u8]) {
    out.put_slice(bytes);
    out.put_u8(0);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONCE: [u8; NONCE_LEN] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20];
    const EVERYTHING: Capabilities = Capabilities(0x09ff_ffcf);

    fn encoded(encode: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
        let mut out = BytesMut::new();
        encode(&mut out);
        out.to_vec()
    }

    #[test]
    fn the_documented_greeting() {
        // page_protocol_connection_phase_packets_protocol_handshake_v10.html, example of MySQL 5.5.7.
        let bytes = hex::decode(
            "0a352e352e322d6d3200\
             0b000000\
             64764840492d434a00\
             fff7\
             08\
             0200\
             0f80\
             15\
             00000000000000000000\
             2a34647c635a776b345e5d3a00\
             6d7973716c5f6e61746976655f70617373776f726400",
        )
        .unwrap();
        let greeting = Greeting::decode(&bytes).unwrap();
        assert_eq!(greeting.version, b"5.5.2-m2");
        assert_eq!(greeting.connection_id, 11);
        assert_eq!(&greeting.nonce, b"dvH@I-CJ*4d|cZwk4^]:");
        assert_eq!((greeting.capabilities, greeting.charset), (Capabilities(0x800f_f7ff), 8));
        assert_eq!((greeting.status, greeting.plugin), (Status::AUTOCOMMIT, &b"mysql_native_password"[..]));
        assert_eq!(encoded(|out| greeting.encode(out)), bytes);
    }

    #[test]
    fn old_servers_are_refused() {
        let greeting = Greeting {
            version: b"8.4.0",
            connection_id: 7,
            nonce: NONCE,
            capabilities: Capabilities::OFFERED,
            charset: 255,
            status: Status::AUTOCOMMIT,
            plugin: b"caching_sha2_password",
        };
        let bytes = encoded(|out| greeting.encode(out));
        for length in 0..bytes.len() - greeting.plugin.len() - 1 {
            assert!(Greeting::decode(&bytes[..length]).is_err(), "{length}");
        }
        let mut version_9 = bytes.clone();
        version_9[0] = 9;
        assert_eq!(Greeting::decode(&version_9), Err(ProtocolError::Malformed("greeting")));
        let old =
            Greeting { capabilities: Capabilities::OFFERED.without(Capabilities::PROTOCOL_41), ..greeting };
        assert!(Greeting::decode(&encoded(|out| old.encode(out))).is_err());
    }

    #[test]
    fn a_login_with_attributes() {
        // page_protocol_connection_phase_packets_protocol_handshake_response.html, example of MySQL 5.5.8.
        let bytes = hex::decode(
            "8da60f00\
             00000001\
             08\
             0000000000000000000000000000000000000000000000\
             70616d00\
             14ab09eef6bcb1323e61143865c0991d957d75d447\
             7465737400\
             6d7973716c5f6e61746976655f70617373776f726400",
        )
        .unwrap();
        let offered = EVERYTHING;
        let login = LoginPacket::decode(&bytes, offered).unwrap();
        assert_eq!((login.user, login.auth.len(), login.charset), (&b"pam"[..], 20, 8));
        assert_eq!(login.max_packet, 0x0100_0000);
        assert_eq!(login.plugin, Some(&b"mysql_native_password"[..]));
        assert_eq!(login.database, Some(&b"test"[..]));
        // CONNECT_ATTRS set, bytes absent: accepted.
        let mut announced = bytes.clone();
        announced[2] |= 0x10;
        assert_eq!(LoginPacket::decode(&announced, offered).unwrap().attributes, b"");
        let block = encoded(|out| {
            put_attribute(out, "_client_name", "libmysql");
            put_attribute(out, "_pid", "42");
        });
        announced.push(u8::try_from(block.len()).unwrap());
        announced.extend_from_slice(&block);
        let login = LoginPacket::decode(&announced, offered).unwrap();
        let pairs: Vec<_> = Attributes::new(login.attributes).collect();
        assert_eq!(pairs, [(&b"_client_name"[..], &b"libmysql"[..]), (b"_pid", b"42")]);
        announced.pop();
        assert!(LoginPacket::decode(&announced, offered).is_err());
    }

    #[test]
    fn every_form_of_the_auth_data() {
        let body = |capabilities: u32, tail: &[u8]| {
            let mut bytes = encoded(|out| {
                SslRequest { capabilities: Capabilities(capabilities), max_packet: 0, charset: 45 }
                    .encode(out);
            });
            bytes.extend_from_slice(tail);
            bytes
        };
        let auth = |capabilities: u32, tail: &[u8]| {
            LoginPacket::decode(&body(capabilities, tail), EVERYTHING).map(|login| login.auth.to_vec())
        };
        // length-encoded, one byte, NUL-terminated
        assert_eq!(auth(0x0020_8200, b"u\0\x02ab"), Ok(b"ab".to_vec()));
        assert_eq!(auth(0x0000_8200, b"u\0\x02ab"), Ok(b"ab".to_vec()));
        assert_eq!(auth(0x0000_0200, b"u\0ab\0"), Ok(b"ab".to_vec()));
        // both forms of the empty password
        assert_eq!(auth(0x0020_8200, b"u\0\0"), Ok(Vec::new()));
        assert_eq!(auth(0x0020_8200, b"u\0\x01\0"), Ok(Vec::new()));
        // cut
        assert_eq!(auth(0x0000_8200, b"u\0\x03ab"), Err(ProtocolError::Truncated("login packet")));
        assert_eq!(auth(0x0020_8200, b"user"), Err(ProtocolError::Truncated("login packet")));
        // A database and a plugin, without the final zero; an unoffered bit does not change the layout.
        let bytes = body(0x0028_8208, b"u\0\0shop\0caching_sha2_password");
        let login = LoginPacket::decode(&bytes, EVERYTHING).unwrap();
        assert_eq!(login.database, Some(&b"shop"[..]));
        assert_eq!(login.plugin, Some(&b"caching_sha2_password"[..]));
        let login = LoginPacket::decode(&bytes, EVERYTHING.without(Capabilities::CONNECT_WITH_DB)).unwrap();
        assert_eq!((login.database, login.plugin), (None, Some(&b"shop"[..])));
    }

    #[test]
    fn the_request_for_tls_is_32_bytes() {
        let request = SslRequest { capabilities: EVERYTHING, max_packet: 1 << 24, charset: 255 };
        let bytes = encoded(|out| request.encode(out));
        assert_eq!(bytes.len(), SslRequest::LEN);
        assert_eq!(SslRequest::decode(&bytes), Some(request));
        assert_eq!(SslRequest::decode(&bytes[..31]), None);
        let plain = SslRequest { capabilities: Capabilities::PROTOCOL_41, ..request };
        assert_eq!(SslRequest::decode(&encoded(|out| plain.encode(out))), None);
        assert!(LoginPacket::is_protocol_41(&bytes));
        // A 3.23 client: two bytes of capabilities without PROTOCOL_41.
        assert!(!LoginPacket::is_protocol_41(&[0x85, 0x24, 0, 0, 1]));
        assert!(!LoginPacket::is_protocol_41(&[]));
    }

    #[test]
    fn the_switch_of_plugins() {
        let switch = AuthSwitch { plugin: b"mysql_native_password", nonce: &NONCE };
        let bytes = encoded(|out| switch.encode(out));
        assert_eq!(bytes.len(), 1 + 22 + 21);
        assert_eq!(AuthSwitch::decode(&bytes), Ok(switch));
        assert!(AuthSwitch::decode(&[0xfe]).is_err());
    }

    proptest! {
        #[test]
        fn greetings_come_back(
            version in "[0-9.a-zA-Z-]{0,40}", connection_id: u32, nonce in prop::array::uniform20(1..=127_u8),
            bits: u32, charset: u8, status: u16, plugin in "[a-z_0-9]{0,30}",
        ) {
            let needed = Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION | Capabilities::PLUGIN_AUTH;
            let greeting = Greeting {
                version: version.as_bytes(), connection_id, nonce, charset, status: Status(status),
                capabilities: Capabilities(bits) | needed, plugin: plugin.as_bytes(),
            };
            let bytes = encoded(|out| greeting.encode(out));
            prop_assert_eq!(Greeting::decode(&bytes), Ok(greeting));
        }

        #[test]
        fn logins_come_back(
            bits: u32, max_packet: u32, charset: u8, user in "[^\0]{0,40}",
            auth in prop::collection::vec(1..=255_u8, 0..255), database in prop::option::of("[^\0]{1,20}"),
            plugin in prop::option::of("[a-z_0-9]{1,20}"), attributes in "[a-z]{0,300}",
        ) {
            let login = LoginPacket {
                capabilities: Capabilities(bits), max_packet, charset,
                user: user.as_bytes(), auth: &auth, database: database.as_deref().map(str::as_bytes),
                plugin: plugin.as_deref().map(str::as_bytes), attributes: attributes.as_bytes(),
                zstd_level: if bits & Capabilities::ZSTD.0 == 0 { 0 } else { 5 },
            };
            let mut out = BytesMut::new();
            login.encode(&mut out).unwrap();
            let expected = LoginPacket { capabilities: login.written_capabilities(), ..login };
            prop_assert_eq!(LoginPacket::decode(&out, Capabilities(u32::MAX)), Ok(expected));
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), offered: u32) {
            let _ = Greeting::decode(&bytes);
            let _ = SslRequest::decode(&bytes);
            let _ = AuthSwitch::decode(&bytes);
            Attributes::new(&bytes).for_each(drop);
            for head in [&[][..], &[0xff, 0xff, 0xff, 0xff], b"\x0a8.4\0"] {
                let hostile = [head, &bytes].concat();
                if let Ok(login) = LoginPacket::decode(&hostile, Capabilities(offered)) {
                    Attributes::new(login.attributes).for_each(drop);
                }
                let _ = Greeting::decode(&hostile);
            }
        }
    }
}
