//! Over what does a client reach us?
//!
//! Hot path: one enum, so that a read or a write is one match and one system call.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::ParsedCertificate;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::compressed::Compressed;
use super::limits::Closed;
use crate::protocol::compression::Algorithm;
use crate::protocol::proxy_header::{self, Origin, Progress};

/// One client's socket, and who the client is.
#[derive(Debug)]
pub struct ClientStream {
    socket: Socket,
    peer: Peer,
}

#[derive(Debug)]
enum Socket {
    /// Plain TCP.
    Tcp(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
    /// A unix socket.
    Unix(UnixStream),
    /// Any of them, with compressed packets.
    Compressed(Box<Compressed<Socket>>),
    /// None: the TLS handshake failed or was given up.
    Closed,
}

/// Where a client connects from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP, from this address.
    Tcp(SocketAddr),
    /// Over the unix socket, so from this machine.
    Unix,
}

// === impl ClientStream ===

impl ClientStream {
    /// A TCP client. Nagle's algorithm is switched off: every flush is a whole response.
    pub fn tcp(stream: TcpStream) -> io::Result<Self> {
        let peer = Peer::Tcp(stream.peer_addr()?);
        stream.set_nodelay(true)?;
        Ok(Self { socket: Socket::Tcp(stream), peer })
    }

    /// A client behind a load balancer, which says first who it is (PROXY protocol).
    ///
    /// # Errors
    /// Bytes that are no such header: the client is not told, because nobody knows what it speaks.
    pub async fn proxied(stream: TcpStream, deadline: Duration) -> Result<Self, Closed> {
        let mut stream = Self::tcp(stream)?;
        let read = Box::pin(tokio::time::timeout(deadline, stream.read_proxy_header()));
        if let Origin::Client(address) = read.await.unwrap_or(Err(Closed::LoginTimeout))? {
            stream.peer = Peer::Tcp(address);
        }
        Ok(stream)
    }

    async fn read_proxy_header(&mut self) -> Result<Origin, Closed> {
        let mut header = Vec::new();
        loop {
            match proxy_header::decode(&header)? {
                Progress::Done(origin) => return Ok(origin),
                Progress::Needs(count) => {
                    let end = header.len() + count;
                    header.resize(end, 0);
                    let place = header.get_mut(end - count..).unwrap_or_default();
                    if self.read_exact(place).await.is_err() {
                        // A health check may connect and say nothing.
                        return Err(Closed::ByClient);
                    }
                }
            }
        }
    }

    /// A client on the unix socket.
    #[must_use]
    pub fn unix(stream: UnixStream) -> Self {
        Self { socket: Socket::Unix(stream), peer: Peer::Unix }
    }

    /// Where the client connects from.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Whether nobody between the client and us can read along: TLS, or a unix socket.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        matches!(self.socket.plain(), Socket::Tls(_) | Socket::Unix(_))
    }

    /// Whether this is TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self.socket.plain(), Socket::Tls(_))
    }

    /// Whether the client's certificate is for one of these names (its subject alternative names count), or
    /// there are none to ask for.
    pub(super) fn is_named(&self, names: &[ServerName<'_>]) -> bool {
        let Socket::Tls(stream) = self.socket.plain() else { return names.is_empty() };
        let own = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let own = own.and_then(|own| ParsedCertificate::try_from(own).ok());
        let is_for = |name| own.as_ref().is_some_and(|own| verify_server_name(own, name).is_ok());
        names.is_empty() || names.iter().any(is_for)
    }

    /// Whether TLS can be switched on.
    pub(super) fn is_upgradable(&self) -> bool {
        matches!(self.socket, Socket::Tcp(_))
    }

    /// From here on both sides compress. `early` is what was read already.
    pub(super) fn compress(&mut self, algorithm: Algorithm, early: &[u8]) -> io::Result<()> {
        let socket = std::mem::replace(&mut self.socket, Socket::Closed);
        self.socket = Socket::Compressed(Box::new(Compressed::new(socket, algorithm, early)?));
        Ok(())
    }

    /// A command was taken off what was read, of which so many bytes are left. The number of its answer's
    /// first packet, where packets are compressed.
    pub(super) fn command_taken(&mut self, unread: usize) -> Option<u8> {
        match &mut self.socket {
            Socket::Compressed(compressed) => Some(compressed.command_taken(unread)),
            _ => None,
        }
    }

    /// Does the server's side of the TLS handshake. No byte of it may have been read yet. Not cancel
    /// safe: the stream is closed if the future is dropped.
    pub(super) async fn upgrade(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        match std::mem::replace(&mut self.socket, Socket::Closed) {
            Socket::Tcp(stream) => {
                self.socket = Socket::Tls(Box::new(TlsAcceptor::from(config).accept(stream).await?));
                Ok(())
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

// === impl Socket ===

impl Socket {
    /// The socket below compression.
    fn plain(&self) -> &Self {
        match self {
            Self::Compressed(compressed) => compressed.socket(),
            plain => plain,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Compressed(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Closed => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Compressed(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Closed => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Compressed(stream) => Pin::new(stream).poll_flush(cx),
            // Only TLS holds back bytes; sockets have nothing to flush.
            Socket::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Tcp(_) | Socket::Unix(_) | Socket::Closed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Compressed(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Closed => Poll::Ready(Ok(())),
        }
    }
}

// === impl Peer ===

impl Peer {
    /// The address, for clients over TCP. IPv4 in IPv6 clothes counts as IPv4.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip().to_canonical()),
            Self::Unix => None,
        }
    }

    /// The host as it stands in `'user'@'host'`.
    #[must_use]
    pub fn host(&self) -> String {
        self.ip().map_or_else(|| "localhost".to_owned(), |ip| ip.to_string())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{}:{}", self.host(), address.port()),
            Self::Unix => f.write_str("localhost"),
        }
    }
}
