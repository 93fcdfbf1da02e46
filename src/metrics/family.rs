//! How are the series of one metric kept, and written as text?
//!
//! The numbers are the prometheus crate's. Its own way to text builds an object for every sample and
//! writes every label each time, which takes most of a second for a thousand shards; here the name and
//! the labels of a series are written once, when it is made. Neither a scrape nor a lookup stops
//! anybody from counting: those hold the number itself.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus::core::Metric as _;
use prometheus::{Counter, Gauge, Histogram, IntCounter, IntGauge};

use super::catalogue::{Description, Kind};

/// The series of one metric, by the values of its labels.
pub(super) struct Family<M>(Arc<Inner<M>>);

pub(super) type Counters = Family<IntCounter>;
pub(super) type Sums = Family<Counter>;
pub(super) type Gauges = Family<IntGauge>;
pub(super) type Ratios = Family<Gauge>;
pub(super) type Histograms = Family<Histogram>;

/// Does something with the values of the labels.
type OfValues<T> = Box<dyn Fn(&[&str]) -> T + Send + Sync>;

struct Inner<M> {
    name: String,
    help: String,
    labels: Vec<String>,
    make: OfValues<M>,
    forget: OfValues<()>,
    /// By the values of the labels, joined.
    series: RwLock<BTreeMap<String, Series<M>>>,
}

struct Series<M> {
    number: M,
    /// The values of the labels, joined by dots.
    key: String,
    /// The labels as text, without braces.
    labels: String,
}

/// A number that can be published.
pub(super) trait Number: Clone + Send + Sync {
    const KIND: Kind;
    /// Appends its samples; `labels` are without braces.
    fn write(&self, name: &str, labels: &str, out: &mut String);
    fn json(&self) -> serde_json::Value;
}

/// A metric, whatever it counts with.
pub(super) trait Published: Send + Sync {
    fn name(&self) -> &str;
    /// Appends everything in Prometheus's text format 0.0.4; name and type also where there is no series
    /// yet, so that a reader sees what there can be.
    fn write(&self, out: &mut String);
    fn json(&self) -> serde_json::Value;
}

/// Stands between the values of labels in a key; no value holds it.
const BETWEEN: char = '\u{1f}';

// === impl Family ===

impl<M: Number> Family<M> {
    /// A metric without series; `make` gives the number of some values of its labels, `forget` drops it.
    pub(super) fn new(
        name: &str,
        help: &str,
        labels: &[&str],
        make: impl Fn(&[&str]) -> M + Send + Sync + 'static,
        forget: impl Fn(&[&str]) + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            name: name.to_owned(),
            help: help.to_owned(),
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
            make: Box::new(make),
            forget: Box::new(forget),
            series: RwLock::default(),
        }))
    }

    pub(super) fn description(&self) -> Description {
        Description {
            name: self.0.name.clone(),
            kind: M::KIND,
            labels: self.0.labels.clone(),
            help: self.0.help.clone(),
        }
    }

    /// The number of these values of the labels, in the labels' order.
    pub(super) fn with_label_values(&self, values: &[&str]) -> M {
        let key = joined(values, BETWEEN);
        let series = self.0.series.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = series.get(&key) {
            return series.number.clone();
        }
        drop(series);
        let mut series = self.0.series.write().unwrap_or_else(PoisonError::into_inner);
        let made = || Series {
            number: (self.0.make)(values),
            key: joined(values, '.'),
            labels: rendered(&self.0.labels, values),
        };
        series.entry(key).or_insert_with(made).number.clone()
    }

    /// Drops the series of these values, if it is there. Who holds its number counts into nothing.
    pub(super) fn remove_label_values(&self, values: &[&str]) {
        let mut series = self.0.series.write().unwrap_or_else(PoisonError::into_inner);
        series.remove(&joined(values, BETWEEN));
        (self.0.forget)(values);
    }
}

impl<M: Number> Published for Family<M> {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn write(&self, out: &mut String) {
        let series = self.0.series.read().unwrap_or_else(PoisonError::into_inner);
        let Inner { name, help, .. } = &*self.0;
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {}", M::KIND);
        for one in series.values() {
            one.number.write(name, &one.labels, out);
        }
    }

    fn json(&self) -> serde_json::Value {
        let series = self.0.series.read().unwrap_or_else(PoisonError::into_inner);
        if self.0.labels.is_empty() {
            return series.values().next().map_or(serde_json::Value::Null, |one| one.number.json());
        }
        serde_json::Value::Object(series.values().map(|one| (one.key.clone(), one.number.json())).collect())
    }
}

impl<M> Clone for Family<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> fmt::Debug for Family<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Family").field(&self.0.name).finish()
    }
}

fn joined(values: &[&str], between: char) -> String {
    let mut key = String::with_capacity(values.iter().map(|value| value.len() + 1).sum());
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            key.push(between);
        }
        key.push_str(value);
    }
    key
}

/// `name="value"` of all labels, by name, as the text format wants them.
fn rendered(labels: &[String], values: &[&str]) -> String {
    let mut pairs: Vec<_> = labels.iter().zip(values).collect();
    pairs.sort();
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push(',');
        }
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{name}=\"{value}\"");
    }
    text
}

/// The name of a sample with its labels.
fn begin(out: &mut String, name: &str, suffix: &str, labels: &str) {
    out.push_str(name);
    out.push_str(suffix);
    if !labels.is_empty() {
        out.push('{');
        out.push_str(labels);
        out.push('}');
    }
    out.push(' ');
}

// === impl Number for … ===

/// A number that is one sample.
macro_rules! single {
    ($number:ty, $kind:expr) => {
        impl Number for $number {
            const KIND: Kind = $kind;

            fn write(&self, name: &str, labels: &str, out: &mut String) {
                begin(out, name, "", labels);
                let _ = writeln!(out, "{}", self.get());
            }

            fn json(&self) -> serde_json::Value {
                self.get().into()
            }
        }
    };
}

single!(IntCounter, Kind::Counter);
single!(Counter, Kind::Counter);
single!(IntGauge, Kind::Gauge);
single!(Gauge, Kind::Gauge);

impl Number for Histogram {
    const KIND: Kind = Kind::Histogram;

    fn write(&self, name: &str, labels: &str, out: &mut String) {
        // The only way to the buckets of one moment.
        let metric = self.metric();
        let histogram = metric.get_histogram();
        let count = histogram.get_sample_count();
        let mut bucket = |bound: fmt::Arguments<'_>, count: u64| {
            out.push_str(name);
            out.push_str("_bucket{");
            out.push_str(labels);
            if !labels.is_empty() {
                out.push(',');
            }
            let _ = writeln!(out, "le=\"{bound}\"}} {count}");
        };
        for one in histogram.get_bucket() {
            bucket(format_args!("{}", one.upper_bound()), one.cumulative_count());
        }
        bucket(format_args!("+Inf"), count);
        begin(out, name, "_sum", labels);
        let _ = writeln!(out, "{}", histogram.get_sample_sum());
        begin(out, name, "_count", labels);
        let _ = writeln!(out, "{count}");
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({ "Count": self.get_sample_count(), "Sum": self.get_sample_sum() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    /// The judge is the prometheus crate's own encoder, over the same numbers.
    #[test]
    fn the_text_is_the_one_of_the_prometheus_crate() {
        let registry = prometheus::Registry::new();
        let opts = prometheus::HistogramOpts::new("seconds", "Some \\ help").buckets(vec![0.0005, 0.1, 10.0]);
        let vec = prometheus::HistogramVec::new(opts, &["b", "a"]).unwrap();
        registry.register(Box::new(vec.clone())).unwrap();
        let made = vec.clone();
        let family = Family::new(
            "seconds",
            "Some \\ help",
            &["b", "a"],
            move |values| made.with_label_values(values),
            |_| (),
        );
        for (values, seconds) in [(["x", "y"], 0.25), (["x", "z"], 11.5), (["\"q\\\n", ""], 0.0001)] {
            family.with_label_values(&values).observe(seconds);
        }
        let (mut expected, mut text) = (String::new(), String::new());
        prometheus::TextEncoder::new().encode_utf8(&registry.gather(), &mut expected).unwrap();
        family.write(&mut text);
        let sorted = |text: &str| {
            let mut lines: Vec<_> =
                text.lines().map(|line| line.replace("Some \\\\ help", "Some \\ help")).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&text), sorted(&expected));
    }

    #[test]
    fn names_are_given_once() {
        let metrics = Metrics::new().unwrap();
        let mut names: Vec<_> = metrics.descriptions().iter().map(|one| &one.name).collect();
        names.sort();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
