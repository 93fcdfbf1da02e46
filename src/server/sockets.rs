//! On which addresses is the gate reached?
//!
//! Everything is bound before anything else is started, so that a taken port ends the start at once.

use std::fmt::Write as _;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::listener::Listener;
use crate::config::{Http, Listen};

/// The bound sockets, not served yet: who connects waits in the kernel's queue.
#[derive(Debug)]
pub struct Sockets {
    /// For MySQL clients.
    pub mysql: Vec<Listener>,
    /// For HTTP, with its address.
    pub http: Option<(TcpListener, SocketAddr)>,
}

// === impl Sockets ===

impl Sockets {
    /// Binds what the configuration names.
    ///
    /// # Errors
    /// An address that is taken or not ours, by its key.
    pub async fn bind(listen: &Listen, http: &Http) -> Result<Self, String> {
        let mut mysql = Vec::new();
        if let Some(text) = &listen.address {
            let failed = |error: &dyn std::fmt::Display| format!("listen.address: {text}: {error}");
            let address = text.parse().map_err(|error| failed(&error))?;
            mysql.push(Listener::tcp(address).map_err(|error| failed(&error))?);
        }
        if let Some(path) = &listen.socket {
            let socket = Listener::unix(path).await;
            mysql.push(socket.map_err(|error| format!("listen.socket: {}: {error}", path.display()))?);
        }
        let http = match &http.address {
            None => None,
            Some(text) => {
                let failed = |error: std::io::Error| format!("http.address: {text}: {error}");
                let listener = TcpListener::bind(text).await.map_err(failed)?;
                let address = listener.local_addr().map_err(failed)?;
                Some((listener, address))
            }
        };
        Ok(Self { mysql, http })
    }

    /// `ready mysql=127.0.0.1:15306 http=127.0.0.1:16000`, without what is switched off.
    #[must_use]
    pub fn ready_line(&self) -> String {
        let mut line = String::from("ready");
        for address in self.mysql.iter().filter_map(Listener::address) {
            // Writing to a String cannot fail.
            let _ = write!(line, " mysql={address}");
        }
        if let Some((_, address)) = &self.http {
            let _ = write!(line, " http={address}");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_by_its_key() {
        let local = Some("127.0.0.1:0".to_owned());
        let listen = Listen { address: local.clone(), ..Listen::default() };
        let sockets =
            Sockets::bind(&listen, &Http { address: local.clone(), ..Http::default() }).await.unwrap();
        let line = sockets.ready_line();
        let (_, http) = sockets.http.as_ref().unwrap();
        assert!(
            line.starts_with("ready mysql=127.0.0.1:") && line.ends_with(&format!(" http={http}")),
            "{line}"
        );
        let taken =
            Listen { address: sockets.mysql[0].address().map(|address| address.to_string()), ..listen };
        let error = Sockets::bind(&taken, &Http { address: None, ..Http::default() }).await.unwrap_err();
        assert!(error.starts_with("listen.address: 127.0.0.1:"), "{error}");
    }
}
