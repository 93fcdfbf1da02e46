//! How do spans reach a collector?
//!
//! OTLP over HTTP with JSON ("OpenTelemetry Protocol Specification", OTLP/HTTP), in batches. A collector that
//! is away costs spans, which are counted, and nothing else: nobody waits for it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// The port of OTLP over HTTP.
const PORT: u16 = 4318;

/// Where spans go unless the address has a path.
const PATH: &str = "/v1/traces";

/// How many spans are sent at a time.
const BATCH: usize = 512;

/// How long spans wait for others.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a collector may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Where a collector listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Collector {
    host: String,
    port: u16,
    path: String,
}

// === impl Collector ===

impl Collector {
    /// Reads `http://host[:port][/path]`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(address: &str) -> Result<Self, String> {
        let uri: Uri = address.parse().map_err(|error| format!("trace.endpoint: {error}"))?;
        let host = uri.host().filter(|host| !host.is_empty());
        let (Some("http"), Some(host)) = (uri.scheme_str(), host) else {
            return Err("trace.endpoint must be http://HOST:PORT: a collector beside the gate".into());
        };
        let path = if uri.path() == "/" { PATH } else { uri.path() };
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Self { host, port: uri.port_u16().unwrap_or(PORT), path: path.to_owned() })
    }

    async fn post(&self, spans: &[Value]) -> Result<(), String> {
        let failed = |error: &dyn std::fmt::Display| error.to_string();
        let stream = TcpStream::connect((&*self.host, self.port)).await.map_err(|error| failed(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        let request = Request::post(&*self.path)
            .header(header::HOST, format!("{}:{}", self.host, self.port))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .body(Full::new(Bytes::from(message(spans).to_string())))
            .map_err(|error| failed(&error))?;
        let answer = sender.send_request(request);
        let (mut answer, mut connection) = (std::pin::pin!(answer), std::pin::pin!(connection));
        let answer = tokio::select! {
            biased;
            answer = &mut answer => answer,
            // The answer may have come with the end.
            _ = &mut connection => answer.await,
        };
        let status = answer.map_err(|error| failed(&error))?.status();
        if status.is_success() { Ok(()) } else { Err(format!("status {status}")) }
    }
}

/// `ExportTraceServiceRequest`.
fn message(spans: &[Value]) -> Value {
    json!({ "resourceSpans": [{
        "resource": { "attributes": [
            { "key": "service.name", "value": { "stringValue": "shardgate" } },
            { "key": "service.version", "value": { "stringValue": env!("CARGO_PKG_VERSION") } },
        ] },
        "scopeSpans": [{ "scope": { "name": "shardgate" }, "spans": spans }],
    }] })
}

/// Sends what comes until `stop`, and then what is there.
pub(super) async fn export(
    mut statements: mpsc::Receiver<Vec<Value>>,
    collector: Collector,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let mut away = false;
    loop {
        let first = tokio::select! {
            biased;
            first = statements.recv() => first,
            () = stop.cancelled() => None,
        };
        let Some(mut spans) = first else { return };
        let more = async {
            while spans.len() < BATCH
                && let Some(others) = statements.recv().await
            {
                spans.extend(others);
            }
        };
        tokio::select! {
            () = more => {}
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.cancelled() => {}
        }
        let count = spans.len() as u64;
        let sent = tokio::time::timeout(DEADLINE, collector.post(&spans)).await;
        match sent.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok(()) => {
                metrics.control.spans_sent.inc_by(count);
                away = false;
            }
            Err(error) => {
                metrics.control.spans_dropped.inc_by(count);
                if !std::mem::replace(&mut away, true) {
                    tracing::warn!(%error, ?collector, "spans cannot be sent, and are dropped");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_collectors() {
        let read = |address: &str| {
            Collector::parse(address).map(|one| format!("{} {} {}", one.host, one.port, one.path)).ok()
        };
        assert_eq!(read("http://127.0.0.1:4318").as_deref(), Some("127.0.0.1 4318 /v1/traces"));
        assert_eq!(read("http://[::1]/").as_deref(), Some("::1 4318 /v1/traces"));
        assert_eq!(read("http://otel:80/in/v1/traces").as_deref(), Some("otel 80 /in/v1/traces"));
        for wrong in ["https://a", "a:4318", "", "http://", "grpc://a"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
