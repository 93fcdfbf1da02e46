//! Who may connect, and what happens to those for whom there is no room?
//!
//! The accept loop never ends on an error: a client that has gone again and a lack of file
//! descriptors are both met with patience. A client beyond the limit is told so with error 1040, on
//! a task of its own, so that it cannot hold up the others.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::shutdown::Stages;
use crate::metrics::Metrics;

/// A client's socket as accepted.
#[derive(Debug)]
pub enum Accepted {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over the unix socket.
    Unix(UnixStream),
}

/// Where clients arrive.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixListener),
}

/// What to do with clients.
pub trait Welcome: Clone + Send + Sync + 'static {
    /// Serves a client to its end.
    fn serve(&self, client: Accepted) -> impl Future<Output = ()> + Send;
    /// Tells a client that there is no room for it.
    fn refuse(&self, client: Accepted) -> impl Future<Output = ()> + Send;
}

/// The first pause after a failed accept; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest pause after failed accepts.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Refusals that may be under way at a time; beyond them clients are just disconnected.
const REFUSALS: usize = 64;
/// How long a refused client may take to read why.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(1);
/// Connections that the kernel may hold ready for us.
const BACKLOG: u32 = 1024;

// === impl Listener ===

impl Listener {
    /// Binds a TCP port.
    ///
    /// # Errors
    /// The kernel's: the port is taken, the address is not ours.
    pub fn tcp(address: std::net::SocketAddr) -> io::Result<Self> {
        let socket = match address {
            std::net::SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4(),
            std::net::SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6(),
        }?;
        // A restart must not wait for the old connections' TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG).map(Self::Tcp)
    }

    /// Binds a unix socket; a socket file that nobody listens on is replaced.
    ///
    /// # Errors
    /// The kernel's, or `AddrInUse` when someone listens there.
    pub async fn unix(path: &Path) -> io::Result<Self> {
        match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if UnixStream::connect(path).await.is_ok() {
                    return Err(error);
                }
                std::fs::remove_file(path)?;
                UnixListener::bind(path).map(Self::Unix)
            }
            bound => bound.map(Self::Unix),
        }
    }

    /// The bound TCP address.
    #[must_use]
    pub fn address(&self) -> Option<std::net::SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// The next client. Cancel safe.
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| Accepted::Tcp(stream)),
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
        }
    }

    /// Accepts clients until the shutdown closes the door. `room` bounds the clients of all
    /// listeners together.
    pub async fn run<W: Welcome>(
        self,
        welcome: W,
        room: Arc<Semaphore>,
        stages: Stages,
        metrics: Arc<Metrics>,
    ) {
        let refusals = Arc::new(Semaphore::new(REFUSALS));
        let mut pause = FIRST_PAUSE;
        loop {
            let accepted = tokio::select! {
                () = stages.closing.cancelled() => return,
                accepted = self.accept() => accepted,
            };
            let client = match accepted {
                Ok(client) => client,
                Err(error) => {
                    tracing::warn!(%error, ?pause, "a client could not be accepted");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    continue;
                }
            };
            pause = FIRST_PAUSE;
            metrics.frontend.accepted.inc();
            if let Ok(permit) = Arc::clone(&room).try_acquire_owned() {
                stages.sessions.spawn(serve(welcome.clone(), client, permit));
            } else {
                metrics.frontend.refused.inc();
                if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
                    stages.sessions.spawn(refuse(welcome.clone(), client, permit));
                }
            }
        }
    }
}

/// The permit goes back when the client has gone, also after a panic.
async fn serve<W: Welcome>(welcome: W, client: Accepted, permit: OwnedSemaphorePermit) {
    welcome.serve(client).await;
    drop(permit);
}

async fn refuse<W: Welcome>(welcome: W, client: Accepted, permit: OwnedSemaphorePermit) {
    // A client that does not read in time is disconnected without a reason.
    let _ = tokio::time::timeout(REFUSAL_DEADLINE, welcome.refuse(client)).await;
    drop(permit);
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Echoes one byte per client; refuses with `!`.
    #[derive(Clone)]
    struct Echo;

    impl Welcome for Echo {
        async fn serve(&self, client: Accepted) {
            if let Accepted::Tcp(mut stream) = client {
                while let Ok(byte) = stream.read_u8().await {
                    stream.write_u8(byte).await.unwrap();
                }
            }
        }

        async fn refuse(&self, client: Accepted) {
            if let Accepted::Tcp(mut stream) = client {
                stream.write_u8(b'!').await.unwrap();
            }
        }
    }

    async fn exchange(stream: &mut TcpStream, byte: u8) -> u8 {
        stream.write_u8(byte).await.unwrap();
        stream.read_u8().await.unwrap()
    }

    #[tokio::test]
    async fn one_more_than_allowed_is_refused_and_room_comes_back() {
        let listener = Listener::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address().unwrap();
        let (stages, metrics) = (Stages::default(), Arc::new(Metrics::new().unwrap()));
        let room = Arc::new(Semaphore::new(1));
        let run = tokio::spawn(listener.run(Echo, Arc::clone(&room), stages.clone(), Arc::clone(&metrics)));
        let mut first = TcpStream::connect(address).await.unwrap();
        assert_eq!(exchange(&mut first, b'a').await, b'a');
        let mut second = TcpStream::connect(address).await.unwrap();
        assert_eq!(second.read_u8().await.unwrap(), b'!');
        assert_eq!(metrics.frontend.refused.get(), 1);
        drop(first);
        drop(room.acquire().await.unwrap());
        let mut third = TcpStream::connect(address).await.unwrap();
        assert_eq!(exchange(&mut third, b'c').await, b'c');
        stages.closing.cancel();
        run.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
        // Who is inside stays.
        assert_eq!(exchange(&mut third, b'd').await, b'd');
    }

    #[tokio::test]
    async fn a_dead_socket_file_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gate.sock");
        let first = Listener::unix(&path).await.unwrap();
        assert_eq!(Listener::unix(&path).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(path.exists());
        Listener::unix(&path).await.unwrap();
    }
}
