//! Which server of etcd is asked, and what does it mean when it does not answer?
//!
//! Each endpoint has a client of its own, dialled when it is first needed. When a call finds its
//! endpoint away, the next call takes the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::store::StoreError;
use crate::config::Topology as Settings;
use crate::metrics::Metrics;

/// The servers of one etcd cluster.
pub(super) struct Servers {
    pub(super) endpoints: Vec<String>,
    options: ConnectOptions,
    clients: Mutex<Vec<Option<Client>>>,
    next: AtomicUsize,
    request_timeout: Duration,
    pub(super) metrics: Option<Arc<Metrics>>,
}

/// What the client gives.
pub(super) type Answer<T> = Result<T, etcd_client::Error>;

/// How long an unanswered HTTP/2 ping may take.
const PING: Duration = Duration::from_secs(5);

// === impl Servers ===

impl Servers {
    pub(super) fn new(
        settings: &Settings,
        endpoints: Vec<String>,
        metrics: Option<Arc<Metrics>>,
    ) -> Result<Self, String> {
        let read = |key: &str, path: &std::path::Path| {
            std::fs::read(path).map_err(|error| format!("topology.{key}: {}: {error}", path.display()))
        };
        let mut options = ConnectOptions::new()
            .with_connect_timeout(settings.connect_timeout)
            .with_keep_alive(PING, PING)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true);
        if let Some(user) = &settings.user {
            let password = settings.password.as_ref().map(|secret| secret.reveal().to_owned());
            options = options.with_user(user, password.unwrap_or_default()).with_auto_token_refresh(true);
        }
        if let Some(ca) = &settings.tls_ca {
            let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read("tls_ca", ca)?));
            if let Some(name) = &settings.tls_server_name {
                tls = tls.domain_name(name);
            }
            if let (Some(cert), Some(key)) = (&settings.tls_cert, &settings.tls_key) {
                tls = tls.identity(Identity::from_pem(read("tls_cert", cert)?, read("tls_key", key)?));
            }
            options = options.with_tls(tls);
        }
        Ok(Self {
            clients: Mutex::new(endpoints.iter().map(|_| None).collect()),
            endpoints,
            options,
            next: AtomicUsize::new(0),
            request_timeout: settings.request_timeout,
            metrics,
        })
    }

    pub(super) async fn call<T, F: Future<Output = Answer<T>>>(
        &self,
        cell: &str,
        operation: &str,
        call: impl FnOnce(Client) -> F,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let at = self.next.load(Ordering::Relaxed) % self.endpoints.len().max(1);
        let asked = async {
            let client = self.client(at).await?;
            call(client).await
        };
        let result = match timeout(self.request_timeout, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.failed(at, &error)),
            Err(_) => Err(self.away(at, format!("no answer within {:?}", self.request_timeout))),
        };
        if matches!(result, Err(StoreError::Away { .. })) {
            self.next.compare_exchange(at, at + 1, Ordering::Relaxed, Ordering::Relaxed).ok();
        }
        if let Some(metrics) = &self.metrics {
            metrics.topology.call(cell, operation, started.elapsed(), result.is_err());
        }
        result
    }

    /// The client of an endpoint, dialled when it is first needed. With a user, dialling logs in.
    async fn client(&self, at: usize) -> Result<Client, etcd_client::Error> {
        let mut clients = self.clients.lock().await;
        if let Some(Some(client)) = clients.get(at) {
            return Ok(client.clone());
        }
        let client = Client::connect(&self.endpoints[at..=at], Some(self.options.clone())).await?;
        clients[at] = Some(client.clone());
        Ok(client)
    }

    fn away(&self, at: usize, why: String) -> StoreError {
        StoreError::Away { endpoint: self.endpoints.get(at).cloned().unwrap_or_default(), why }
    }

    /// Whether etcd said no, or could not be asked.
    fn failed(&self, at: usize, error: &etcd_client::Error) -> StoreError {
        const UNAVAILABLE: i32 = 14;
        const DEADLINE_EXCEEDED: i32 = 4;
        const UNKNOWN: i32 = 2;
        const CANCELLED: i32 = 1;
        match error {
            etcd_client::Error::GRpcStatus(status) => {
                let code = i32::from(status.code());
                let mut why = status.message().to_owned();
                let mut source = std::error::Error::source(status);
                // "transport error" alone helps nobody.
                while let Some(inner) = source {
                    why = format!("{why}: {inner}");
                    source = inner.source();
                }
                match code {
                    UNAVAILABLE | DEADLINE_EXCEEDED | CANCELLED => self.away(at, why),
                    // A connection that broke in the middle has a source; a refusal has none.
                    UNKNOWN if std::error::Error::source(status).is_some() => self.away(at, why),
                    _ => StoreError::Refused(why),
                }
            }
            etcd_client::Error::TransportError(_) | etcd_client::Error::IoError(_) => {
                self.away(at, error.to_string())
            }
            other => StoreError::Refused(other.to_string()),
        }
    }
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Servers").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}
