//! What can an operator see over HTTP?
//!
//! | Path | Answer |
//! |---|---|
//! | `/` | what this is, with links |
//! | `/metrics` | Prometheus text |
//! | `/healthz` | `ok` as long as the process answers |
//! | `/readyz` | 200 or 503, with the reasons as JSON |
//! | `/debug/health` | `ok` or `not ok`, as VTGate says it |
//! | `/debug/health/tablets` | what the probes say of every server, as JSON |
//! | `/debug/vars` | all metrics as JSON |
//! | `/debug/vschema` | the VSchema in use |
//! | `/debug/topology` | the shards and servers in use, how fresh that is, and what is refused |

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::get;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Whether clients should be sent here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// The answer.
    pub ready: bool,
    /// Why not, one sentence each. May name shards that are away while the answer is yes: the other
    /// shards are served.
    pub problems: Vec<String>,
}

/// Answers a question about the gate's present state.
pub type Ask<T> = Box<dyn Fn() -> T + Send + Sync>;

/// What the pages show.
pub struct Admin {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// When the gate started.
    pub started: Instant,
    /// Whether the gate is ready.
    pub readiness: Ask<Readiness>,
    /// What is known of every server.
    pub tablets: Ask<serde_json::Value>,
    /// The VSchema in use.
    pub vschema: Ask<serde_json::Value>,
    /// The topology in use.
    pub topology: Ask<serde_json::Value>,
    /// Brings metrics up to date that are only worth computing when someone looks.
    pub refresh: Ask<()>,
}

/// How long open requests may take after the stop.
const STOP_DEADLINE: Duration = Duration::from_secs(1);

/// Serves the pages until `stop`.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>, stop: CancellationToken) {
    let stopped = stop.clone().cancelled_owned();
    let serving = axum::serve(listener, router(admin)).with_graceful_shutdown(stopped).into_future();
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(STOP_DEADLINE).await;
    };
    tokio::select! {
        result = serving => {
            if let Err(error) = result {
                tracing::error!(%error, "the HTTP listener ended");
            }
        }
        () = overdue => {}
    }
}

fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/", get(landing))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/debug/health", get(health))
        .route("/debug/health/tablets", get(tablets))
        .route("/debug/liveness", get(|| async { "" }))
        .route("/debug/vars", get(vars))
        .route("/debug/vschema", get(vschema))
        .route("/debug/topology", get(topology))
        .with_state(admin)
}

async fn landing(State(admin): State<Arc<Admin>>) -> Html<String> {
    let readiness = (admin.readiness)();
    let mut page = String::from("<!doctype html><meta charset=utf-8><title>shardgate</title><h1>shardgate ");
    page.push_str(env!("CARGO_PKG_VERSION"));
    page.push_str("</h1>");
    let state = if readiness.ready { "ready" } else { "not ready" };
    // Writing to a String cannot fail.
    let _ = write!(page, "<p>{state}, up for {} s</p><ul>", admin.started.elapsed().as_secs());
    for problem in &readiness.problems {
        let _ = write!(page, "<li>{}</li>", escaped(problem));
    }
    page.push_str("</ul><ul>");
    for path in [
        "/metrics",
        "/healthz",
        "/readyz",
        "/debug/health",
        "/debug/health/tablets",
        "/debug/vars",
        "/debug/vschema",
        "/debug/topology",
    ] {
        let _ = write!(page, "<li><a href=\"{path}\">{path}</a></li>");
    }
    page.push_str("</ul>\n");
    Html(page)
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    admin.refresh();
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], admin.metrics.text()).into_response()
}

async fn vars(State(admin): State<Arc<Admin>>) -> Json<serde_json::Value> {
    admin.refresh();
    Json(admin.metrics.json())
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let readiness = (admin.readiness)();
    (status(&readiness), Json(readiness)).into_response()
}

async fn health(State(admin): State<Arc<Admin>>) -> Response {
    let readiness = (admin.readiness)();
    (status(&readiness), if readiness.ready { "ok" } else { "not ok" }).into_response()
}

async fn tablets(State(admin): State<Arc<Admin>>) -> Json<serde_json::Value> {
    Json((admin.tablets)())
}

async fn vschema(State(admin): State<Arc<Admin>>) -> Json<serde_json::Value> {
    Json((admin.vschema)())
}

async fn topology(State(admin): State<Arc<Admin>>) -> Json<serde_json::Value> {
    Json((admin.topology)())
}

fn status(readiness: &Readiness) -> StatusCode {
    if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

// === impl Admin ===

impl Admin {
    fn refresh(&self) {
        self.metrics.set_uptime(self.started.elapsed());
        (self.refresh)();
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("started", &self.started).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    struct Served {
        address: std::net::SocketAddr,
        ready: Arc<AtomicBool>,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    async fn start() -> Served {
        let ready = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&ready);
        let admin = Admin {
            metrics: Arc::new(Metrics::new().unwrap()),
            started: Instant::now(),
            readiness: Box::new(move || {
                let ready = asked.load(Ordering::Relaxed);
                let problems = if ready { vec![] } else { vec!["<stopping>".to_owned()] };
                Readiness { ready, problems }
            }),
            tablets: Box::new(|| serde_json::json!({"tablets": []})),
            vschema: Box::new(|| serde_json::json!({"keyspaces": {}})),
            topology: Box::new(|| serde_json::json!({"problems": []})),
            refresh: Box::new(|| ()),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, Arc::new(admin), stop.clone()));
        Served { address, ready, stop, task }
    }

    async fn fetch(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_pages_answer() {
        let served = start().await;
        let metrics = fetch(served.address, "/metrics").await;
        assert!(metrics.starts_with("HTTP/1.1 200"));
        assert!(metrics.contains("vtgate_mysql_server_conn_accepted 0"));
        assert!(fetch(served.address, "/healthz").await.ends_with("ok\n"));
        assert!(fetch(served.address, "/readyz").await.ends_with(r#"{"ready":true,"problems":[]}"#));
        assert!(fetch(served.address, "/debug/vschema").await.ends_with(r#"{"keyspaces":{}}"#));
        assert!(fetch(served.address, "/debug/topology").await.ends_with(r#"{"problems":[]}"#));
        assert!(fetch(served.address, "/debug/vars").await.contains(r#""vtgate_uptime":0"#));
        assert!(fetch(served.address, "/nothing").await.starts_with("HTTP/1.1 404"));
        served.stop.cancel();
        served.task.await.unwrap();
    }

    #[tokio::test]
    async fn not_ready_is_503_and_says_why() {
        let served = start().await;
        served.ready.store(false, Ordering::Relaxed);
        let answer = fetch(served.address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"));
        assert!(answer.ends_with(r#"{"ready":false,"problems":["<stopping>"]}"#));
        assert!(fetch(served.address, "/debug/health").await.ends_with("not ok"));
        assert!(fetch(served.address, "/").await.contains("&lt;stopping>"));
        assert!(fetch(served.address, "/healthz").await.starts_with("HTTP/1.1 200"));
    }
}
