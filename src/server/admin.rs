//! What can an operator see over HTTP?
//!
//! | Path | Answer |
//! |---|---|
//! | `/` | what this is, with links |
//! | `/metrics` | Prometheus text |
//! | `/healthz` | `ok` as long as the process answers |
//! | `/readyz` | 200 or 503, with the reasons as JSON |
//! | `/debug/health` | `ok` or `not ok`, as VTGate says it; for those who may see pages and ask for JSON or HTML the reasons |
//! | `/debug/liveness` | nothing, as VTGate |
//! | `/debug/vars` | all metrics as JSON |
//! | `/debug/pprof/profile` | with `http.profile`: where the process computes |
//! | `/debug/…` | one of [`PAGES`] |
//!
//! The pages are JSON, and HTML for browsers or with `?format=html`. Who sees them is `http.debug`; there is
//! no login, and nothing secret in them.

use std::fmt;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Path, Query as Parameters, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::get;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::html::{self, escaped};
use super::profile;
use crate::config::DebugAccess;
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

/// The pages below `/debug/`.
pub(super) const PAGES: [&str; 9] = [
    "advice",
    "health/tablets",
    "query_plans",
    "querylogz",
    "queryz",
    "runtime",
    "topology",
    "transactions",
    "vschema",
];

/// What a page is asked for.
#[derive(Debug, Default, Deserialize)]
pub struct Query {
    /// `json` or `html`.
    format: Option<String>,
    /// At most so many rows.
    pub limit: Option<usize>,
    /// Wait for so many seconds.
    pub timeout: Option<u64>,
    /// Measure for so many seconds.
    pub seconds: Option<u64>,
}

/// Knows what is on the pages.
pub trait Pages: Send + Sync {
    /// One of [`PAGES`]; none for any other name.
    fn page<'p>(&'p self, name: &str, query: &Query) -> BoxFuture<'p, Option<Value>>;
}

/// What is shown, and to whom.
pub struct Admin {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// When the gate started.
    pub started: Instant,
    /// Whether the gate is ready.
    pub readiness: Ask<Readiness>,
    /// The pages below `/debug/`.
    pub pages: Box<dyn Pages>,
    /// Who sees them.
    pub debug: DebugAccess,
    /// Whether profiles are made.
    pub profile: bool,
    /// Brings metrics up to date that are only worth computing when someone looks.
    pub refresh: Ask<()>,
}

/// How long open requests may take after the stop.
const STOP_DEADLINE: Duration = Duration::from_secs(1);

/// Serves the pages until `stop`.
pub async fn serve(listener: TcpListener, admin: Arc<Admin>, stop: CancellationToken) {
    let stopped = stop.clone().cancelled_owned();
    let service = router(admin).into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(stopped).into_future();
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
        .route("/debug/liveness", get(|| async { "" }))
        .route("/debug/pprof/profile", get(profiled))
        .route("/debug/{*page}", get(debug))
        .with_state(admin)
}

/// The paths that a person may want to look at.
fn links() -> Vec<String> {
    let fixed = ["/", "/metrics", "/healthz", "/readyz", "/debug/health", "/debug/vars"];
    fixed.into_iter().map(ToOwned::to_owned).chain(PAGES.map(|page| format!("/debug/{page}"))).collect()
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
    for path in links().iter().skip(1) {
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

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let readiness = (admin.readiness)();
    (status(&readiness), Json(readiness)).into_response()
}

async fn health(
    State(admin): State<Arc<Admin>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Parameters(query): Parameters<Query>,
    headers: HeaderMap,
) -> Response {
    let readiness = (admin.readiness)();
    let status = status(&readiness);
    let asked = query.format.is_some() || accepts(&headers, "text/html") || accepts(&headers, "json");
    if !asked || !allows(admin.debug, peer) {
        return (status, if readiness.ready { "ok" } else { "not ok" }).into_response();
    }
    let value = serde_json::json!({ "ready": readiness.ready, "problems": readiness.problems });
    (status, shown("/debug/health", &query, &headers, value)).into_response()
}

async fn debug(
    State(admin): State<Arc<Admin>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(page): Path<String>,
    Parameters(query): Parameters<Query>,
    headers: HeaderMap,
) -> Response {
    if !allows(admin.debug, peer) {
        return (StatusCode::FORBIDDEN, "http.debug keeps this page from you\n").into_response();
    }
    let value = if page == "vars" {
        admin.refresh();
        Some(admin.metrics.json())
    } else {
        admin.pages.page(&page, &query).await
    };
    match value {
        Some(value) => shown(&format!("/debug/{page}"), &query, &headers, value),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn profiled(
    State(admin): State<Arc<Admin>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Parameters(query): Parameters<Query>,
) -> Response {
    if !allows(admin.debug, peer) || !admin.profile {
        let why = "http.debug and http.profile keep this page from you\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    match profile::profile(query.seconds).await {
        Ok(stacks) => stacks.into_response(),
        Err(error) => (StatusCode::CONFLICT, format!("{error}\n")).into_response(),
    }
}

/// A value as HTML for those who want that, as JSON for all others.
fn shown(path: &str, query: &Query, headers: &HeaderMap, value: Value) -> Response {
    let as_html = match query.format.as_deref() {
        Some(format) => format == "html",
        None => accepts(headers, "text/html"),
    };
    if !as_html {
        return Json(value).into_response();
    }
    let links = links();
    let links: Vec<&str> = links.iter().map(String::as_str).collect();
    Html(html::page(path, &links, &value)).into_response()
}

fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains(kind))
}

fn allows(access: DebugAccess, peer: SocketAddr) -> bool {
    match access {
        DebugAccess::Local => peer.ip().to_canonical().is_loopback(),
        DebugAccess::All => true,
        DebugAccess::Off => false,
    }
}

fn status(readiness: &Readiness) -> StatusCode {
    if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
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

    /// Pages that say what they were asked for.
    struct Nothing;

    impl Pages for Nothing {
        fn page<'p>(&'p self, name: &str, query: &Query) -> BoxFuture<'p, Option<Value>> {
            let known = PAGES.contains(&name);
            let value = serde_json::json!({"page": name, "limit": query.limit});
            Box::pin(std::future::ready(known.then_some(value)))
        }
    }

    async fn start(debug: DebugAccess) -> Served {
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
            pages: Box::new(Nothing),
            debug,
            profile: false,
            refresh: Box::new(|| ()),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, Arc::new(admin), stop.clone()));
        Served { address, ready, stop, task }
    }

    async fn fetch(address: std::net::SocketAddr, path: &str) -> String {
        fetch_as(address, path, "*/*").await
    }

    async fn fetch_as(address: std::net::SocketAddr, path: &str, accept: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_pages_answer() {
        let served = start(DebugAccess::Local).await;
        let metrics = fetch(served.address, "/metrics").await;
        assert!(metrics.starts_with("HTTP/1.1 200"));
        assert!(metrics.contains("vtgate_mysql_server_conn_accepted 0"));
        assert!(fetch(served.address, "/healthz").await.ends_with("ok\n"));
        assert!(fetch(served.address, "/readyz").await.ends_with(r#"{"ready":true,"problems":[]}"#));
        for page in PAGES {
            let answer = fetch(served.address, &format!("/debug/{page}?limit=3")).await;
            assert!(answer.contains("content-type: application/json"), "{answer}");
            assert!(answer.ends_with(&format!(r#"{{"page":"{page}","limit":3}}"#)), "{answer}");
            let answer = fetch_as(served.address, &format!("/debug/{page}"), "text/html,*/*").await;
            assert!(answer.contains("content-type: text/html") && answer.contains("<h1>"), "{answer}");
        }
        let answer = fetch_as(served.address, "/debug/queryz?format=json", "text/html").await;
        assert!(answer.contains("content-type: application/json"), "{answer}");
        let answer = fetch_as(served.address, "/debug/health", "application/json").await;
        assert!(answer.ends_with(r#"{"ready":true,"problems":[]}"#), "{answer}");
        assert!(fetch(served.address, "/debug/health").await.ends_with("ok"));
        assert!(fetch(served.address, "/debug/vars").await.contains(r#""vtgate_uptime":0"#));
        assert!(fetch(served.address, "/nothing").await.starts_with("HTTP/1.1 404"));
        assert!(fetch(served.address, "/debug/nothing").await.starts_with("HTTP/1.1 404"));
        served.stop.cancel();
        served.task.await.unwrap();
    }

    #[tokio::test]
    async fn the_pages_are_for_those_who_may_see_them() {
        let served = start(DebugAccess::Off).await;
        for page in PAGES.into_iter().chain(["vars", "pprof/profile", "nothing"]) {
            let answer = fetch(served.address, &format!("/debug/{page}")).await;
            assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
        }
        for path in ["/metrics", "/healthz", "/readyz", "/debug/health", "/debug/liveness"] {
            assert!(fetch(served.address, path).await.starts_with("HTTP/1.1 200"), "{path}");
        }
        assert!(fetch(served.address, "/debug/health?format=json").await.ends_with("ok"));
        let peers = ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "10.0.0.1:1", "[2001:db8::1]:1"];
        let allowed = |access| peers.map(|peer| allows(access, peer.parse().unwrap()));
        assert_eq!(allowed(DebugAccess::Local), [true, true, true, false, false]);
        assert_eq!(allowed(DebugAccess::All), [true; 5]);
    }

    #[tokio::test]
    async fn not_ready_is_503_and_says_why() {
        let served = start(DebugAccess::Local).await;
        served.ready.store(false, Ordering::Relaxed);
        let answer = fetch(served.address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"));
        assert!(answer.ends_with(r#"{"ready":false,"problems":["<stopping>"]}"#));
        assert!(fetch(served.address, "/debug/health").await.ends_with("not ok"));
        assert!(fetch(served.address, "/").await.contains("&lt;stopping&gt;"));
        assert!(fetch(served.address, "/healthz").await.starts_with("HTTP/1.1 200"));
    }
}
