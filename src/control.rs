//! How does the gate log in to a server for its own statements, beside the clients' connections?
//!
//! Probes, sequences, replication: all of them dial here, with the same credentials and the same
//! TLS policy. Nothing is pooled here, and no client's statement travels on such a connection.

use std::path::PathBuf;

use mysql_async::{Conn, DriverError, Opts, OptsBuilder, SslOpts};

use crate::config::{Backend, BackendTls, Secret};
use crate::topology::Address;

/// Logs in to any server, as one account.
#[derive(Debug, Clone)]
pub struct Dialer {
    user: String,
    password: Option<Secret>,
    tls: BackendTls,
    tls_ca: Option<PathBuf>,
}

// === impl Dialer ===

impl Dialer {
    /// Logs in with the account that the gate's pools use.
    #[must_use]
    pub fn new(backend: &Backend) -> Self {
        Self {
            user: backend.user.clone(),
            password: backend.password.clone(),
            tls: backend.tls,
            tls_ca: backend.tls_ca.clone(),
        }
    }

    /// The same with another account.
    #[must_use]
    pub fn with_account(self, user: &str, password: Option<Secret>) -> Self {
        Self { user: user.to_owned(), password, ..self }
    }

    /// A new connection. The caller bounds the time.
    ///
    /// # Errors
    /// The server cannot be reached, has no TLS where TLS is required, or refuses the account.
    pub async fn dial(&self, address: &Address) -> mysql_async::Result<Conn> {
        match Conn::new(self.options(address, self.tls_options())).await {
            Err(mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer))
                if self.tls == BackendTls::Preferred =>
            {
                Conn::new(self.options(address, None)).await
            }
            dialled => dialled,
        }
    }

    fn tls_options(&self) -> Option<SslOpts> {
        let trusted = || {
            let authorities = self.tls_ca.iter().map(|path| path.clone().into()).collect();
            SslOpts::default().with_root_certs(authorities)
        };
        match self.tls {
            BackendTls::Off => None,
            BackendTls::Preferred | BackendTls::Required => Some(
                SslOpts::default()
                    .with_danger_accept_invalid_certs(true)
                    .with_danger_skip_domain_validation(true),
            ),
            BackendTls::VerifyCa => Some(trusted().with_danger_skip_domain_validation(true)),
            BackendTls::VerifyIdentity => Some(trusted()),
        }
    }

    fn options(&self, address: &Address, tls: Option<SslOpts>) -> Opts {
        let options = OptsBuilder::default()
            .user(Some(self.user.as_str()))
            .pass(self.password.as_ref().map(Secret::reveal))
            .prefer_socket(false);
        match address {
            Address::Tcp { host, port } => {
                options.ip_or_hostname(host.as_str()).tcp_port(*port).ssl_opts(tls).into()
            }
            Address::Unix(path) => options.socket(Some(path.to_string_lossy())).into(),
        }
    }
}
