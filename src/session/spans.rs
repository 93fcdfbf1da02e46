//! What became of a sampled statement, as spans of a distributed trace?
//!
//! One span for the statement, and one below it for each statement that a shard was sent, made of what
//! VEXPLAIN TRACE notes ([`Trace`]). Names and attributes are OpenTelemetry's ("Semantic conventions for
//! database client spans"), identifiers W3C's ("Trace Context"): a statement whose client carries a sampled
//! `traceparent` in a comment (sqlcommenter) belongs to that client's trace. Values stay out. Sessions never
//! wait for whoever sends the spans: what does not fit is dropped and counted.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};
use tokio::sync::mpsc;

use super::Session;
use super::plan_cache::Planned;
use super::query::Request;
use super::statistics::Cost;
use crate::error::SqlError;
use crate::executor::{Call, Trace};
use crate::metrics::Metrics;
use crate::planner;
use crate::sql::{self, LexOptions};

/// Statements whose spans may wait to be sent.
const BACKLOG: usize = 1024;

/// The longest text of a statement in a span, in bytes.
const LONGEST: usize = 4096;

/// `SPAN_KIND_SERVER` and `SPAN_KIND_CLIENT` of OTLP.
const SERVER: u8 = 2;
const CLIENT: u8 = 3;

/// Draws statements, and passes their spans on.
#[derive(Debug)]
pub struct Spans {
    out: mpsc::Sender<Vec<Json>>,
    sample: f64,
    metrics: Arc<Metrics>,
}

/// A statement whose spans are wanted.
#[derive(Debug)]
pub(super) struct Spanned {
    pub(super) trace: Trace,
    parent: Parent,
}

/// Where a statement belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parent {
    /// 32 hexadecimal digits.
    trace: String,
    /// The span above, 16 digits; empty where the statement is the first.
    span: String,
}

// === impl Spans ===

impl Spans {
    /// Draws this part of the statements, 0 to 1; their spans come out of the receiver, in the JSON of OTLP.
    #[must_use]
    pub fn new(sample: f64, metrics: Arc<Metrics>) -> (Self, mpsc::Receiver<Vec<Json>>) {
        let (out, receiver) = mpsc::channel(BACKLOG);
        (Self { out, sample, metrics }, receiver)
    }

    /// Whether the spans of a statement are wanted: its client says so, or it is drawn.
    pub(super) fn draw(&self, text: &[u8]) -> Option<Box<Spanned>> {
        let parent = match traceparent(text) {
            Some((parent, true)) => parent,
            None if rand::random::<f64>() < self.sample => {
                Parent { trace: format!("{:032x}", rand::random::<u128>()), span: String::new() }
            }
            // Who has drawn already decides for all below.
            Some((_, false)) | None => return None,
        };
        Some(Box::new(Spanned { trace: Trace::default(), parent }))
    }

    fn tell(&self, spans: Vec<Json>) {
        let count = spans.len() as u64;
        if self.out.try_send(spans).is_err() {
            self.metrics.control.spans_dropped.inc_by(count);
        }
    }
}

// === impl Session ===

impl Session {
    /// Passes the spans of the statement on, if they are wanted.
    pub(super) fn tell_spans(
        &mut self,
        plan: &Planned,
        request: &Request,
        cost: Cost,
        error: Option<&SqlError>,
    ) {
        let (Some(own), Some(spans)) = (self.spanned.take(), &self.shared.spans) else { return };
        let options = self.scope.options;
        let ago = |time| SystemTime::now().checked_sub(time).unwrap_or(UNIX_EPOCH);
        let (began, traced) = (ago(cost.time), ago(own.trace.elapsed()));
        let kind = plan.kind.label().to_ascii_uppercase();
        let keyspace = self.scope.target.keyspace.as_deref().unwrap_or_default();
        let id = fresh_span();
        let mut attributes = vec![
            text("db.system.name", "mysql"),
            text("db.namespace", keyspace),
            text("db.operation.name", &kind),
            text("db.query.text", &shown(&request.text, options)),
            number("db.response.returned_rows", cost.rows),
            text("shardgate.plan", planner::plan_type(plan)),
            number("shardgate.shard_queries", cost.shards),
            text("user.name", &self.user),
        ];
        if let Some(error) = error {
            attributes.push(text("error.type", &error.code().to_string()));
        }
        let root = Span { id: &id, parent: &own.parent.span, name: &kind, kind: SERVER, attributes };
        let mut all = vec![root.json(&own.parent.trace, began, began + cost.time, error.is_some())];
        for call in own.trace.calls() {
            all.push(span_of(&call, &own.parent.trace, &id, traced, options));
        }
        spans.tell(all);
    }
}

/// A statement that a shard was sent.
fn span_of(call: &Call, trace: &str, parent: &str, began: SystemTime, options: LexOptions) -> Json {
    let shard = format!("{}/{}", call.tablet.keyspace, call.tablet.shard);
    let waited = call.connection + call.others;
    let attributes = vec![
        text("db.system.name", "mysql"),
        text("db.namespace", &call.tablet.schema),
        text("db.query.text", &shown(&call.sql, options)),
        number("db.response.returned_rows", call.rows),
        text("shardgate.shard", &shard),
        text("shardgate.tablet_alias", &call.tablet.alias.to_string()),
        number("shardgate.bytes", call.bytes),
        number("shardgate.changed_rows", call.changed),
        number("shardgate.wait_us", u64::try_from(waited.as_micros()).unwrap_or(u64::MAX)),
    ];
    let start = began + call.began;
    let end = start + waited + call.first + call.rest;
    Span { id: &fresh_span(), parent, name: &shard, kind: CLIENT, attributes }.json(trace, start, end, false)
}

struct Span<'a> {
    id: &'a str,
    parent: &'a str,
    name: &'a str,
    kind: u8,
    attributes: Vec<Json>,
}

// === impl Span ===

impl Span<'_> {
    /// As OTLP writes spans in JSON.
    fn json(self, trace: &str, start: SystemTime, end: SystemTime, failed: bool) -> Json {
        let mut json = json!({
            "traceId": trace,
            "spanId": self.id,
            "name": self.name,
            "kind": self.kind,
            "startTimeUnixNano": nanoseconds(start),
            "endTimeUnixNano": nanoseconds(end),
            "attributes": self.attributes,
        });
        if !self.parent.is_empty() {
            json["parentSpanId"] = self.parent.into();
        }
        if failed {
            // STATUS_CODE_ERROR.
            json["status"] = json!({ "code": 2 });
        }
        json
    }
}

/// Text without values, cut where it is long.
fn shown(text: &[u8], options: LexOptions) -> String {
    let mut shown = sql::without_values(text, options);
    if shown.len() > LONGEST {
        shown.truncate((0..=LONGEST).rev().find(|&at| shown.is_char_boundary(at)).unwrap_or(0));
        let _ = write!(shown, "…");
    }
    shown
}

fn text(key: &str, value: &str) -> Json {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// 64-bit numbers are strings in protobuf's JSON.
fn number(key: &str, value: u64) -> Json {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

fn nanoseconds(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos().to_string()
}

fn fresh_span() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// The `traceparent` that a comment of the text carries, and whether it is sampled: version 00 of W3C's "Trace
/// Context", in quotes as sqlcommenter writes it or without.
fn traceparent(text: &[u8]) -> Option<(Parent, bool)> {
    const NAME: &[u8] = b"traceparent=";
    let at = text.windows(NAME.len()).position(|part| part == NAME)? + NAME.len();
    let rest = text.get(at..)?;
    let value = rest.strip_prefix(b"'").unwrap_or(rest).get(..55)?;
    let value = std::str::from_utf8(value).ok()?;
    let [version, trace, span, flags] = value.split('-').collect::<Vec<_>>()[..] else { return None };
    let is_id = |id: &str, length: usize| {
        id.len() == length
            && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
            && id.bytes().any(|byte| byte != b'0')
    };
    if version != "00" || !is_id(trace, 32) || !is_id(span, 16) {
        return None;
    }
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
    Some((Parent { trace: trace.to_owned(), span: span.to_owned() }, sampled))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of W3C's "Trace Context", section 3.2.4.
    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_from_a_comment() {
        let parent = Parent {
            trace: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
            span: "00f067aa0ba902b7".to_owned(),
        };
        let read = |text: &str| traceparent(text.as_bytes());
        let quoted = format!("select 1 /*action='a',traceparent='{EXAMPLE}',tracestate='b'*/");
        assert_eq!(read(&quoted), Some((parent.clone(), true)));
        assert_eq!(read(&format!("/* traceparent={EXAMPLE} */ select 1")), Some((parent.clone(), true)));
        assert_eq!(read(&quoted.replace("-01'", "-00'")), Some((parent, false)));
        for wrong in [
            "select 1",
            "/*traceparent=",
            &quoted.replace("='00-", "='ff-"),
            &quoted.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            &quoted.replace("4bf9", "4BF9"),
            &quoted.replace("-01'", "-0x'"),
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_client_decides_where_it_has_a_trace() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let (all, _receiver) = Spans::new(1.0, Arc::clone(&metrics));
        let (none, _receiver) = Spans::new(0.0, metrics);
        let sampled = format!("select 1 /*traceparent='{EXAMPLE}'*/");
        let not = sampled.replace("-01'", "-00'");
        assert!(all.draw(b"select 1").is_some_and(|own| own.parent.trace.len() == 32));
        assert!(none.draw(b"select 1").is_none());
        assert!(none.draw(sampled.as_bytes()).is_some_and(|own| own.parent.span == "00f067aa0ba902b7"));
        assert!(all.draw(not.as_bytes()).is_none());
    }
}
