//! How does a metric get its name, and where is it kept for those who read?
//!
//! Registering can only fail for a name that is malformed, which is a fault of this program and not of
//! its input; so the start fails with it. What is registered is also described, for the table of all
//! metrics.

use std::cell::RefCell;

use prometheus::core::{MetricVec, MetricVecBuilder};
use prometheus::{
    CounterVec, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts,
};

use super::catalogue::Description;
use super::family::{Counters, Family, Gauges, Histograms, Number, Published, Ratios, Sums};

/// Vitess's buckets for timings (the defaults of its Prometheus backend), in seconds; the largest
/// bucket is 10 s.
pub(super) const SECONDS: [f64; 10] = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// Number of shards per query; the largest bucket is 256.
pub(super) const SHARDS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Makes metrics and registers them.
#[derive(Default)]
pub(super) struct Register {
    published: RefCell<Vec<Box<dyn Published>>>,
    described: RefCell<Vec<Description>>,
}

impl Register {
    pub(super) fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        Ok(self.counters(name, help, &[])?.with_label_values(&[]))
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Counters> {
        Ok(self.keep(name, help, labels, IntCounterVec::new(Opts::new(name, help), labels)?))
    }

    /// Counters of what comes in fractions, such as seconds.
    pub(super) fn sums(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Sums> {
        Ok(self.keep(name, help, labels, CounterVec::new(Opts::new(name, help), labels)?))
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        Ok(self.gauges(name, help, &[])?.with_label_values(&[]))
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Gauges> {
        Ok(self.keep(name, help, labels, IntGaugeVec::new(Opts::new(name, help), labels)?))
    }

    /// Parts of a whole, 0 to 1.
    pub(super) fn ratios(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<Ratios> {
        Ok(self.keep(name, help, labels, GaugeVec::new(Opts::new(name, help), labels)?))
    }

    pub(super) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
        Ok(self.distribution(name, help, &[], buckets)?.with_label_values(&[]))
    }

    /// Times, in Vitess's buckets.
    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<Histograms> {
        self.distribution(name, help, labels, &SECONDS)
    }

    fn distribution(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> prometheus::Result<Histograms> {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        Ok(self.keep(name, help, labels, HistogramVec::new(opts, labels)?))
    }

    /// Everything that was registered, by name; and the descriptions.
    pub(super) fn finish(self) -> (Vec<Box<dyn Published>>, Vec<Description>) {
        let mut published = self.published.into_inner();
        published.sort_by(|a, b| a.name().cmp(b.name()));
        (published, self.described.into_inner())
    }

    /// A family over the numbers of `all`.
    fn keep<B>(&self, name: &str, help: &str, labels: &[&str], all: MetricVec<B>) -> Family<B::M>
    where
        B: MetricVecBuilder + 'static,
        B::M: Number + 'static,
    {
        let gone = all.clone();
        let family = Family::new(
            name,
            help,
            labels,
            move |values| all.with_label_values(values),
            // Fails only for what is not there.
            move |values| gone.remove_label_values(values).unwrap_or_default(),
        );
        self.described.borrow_mut().push(family.description());
        self.published.borrow_mut().push(Box::new(family.clone()));
        family
    }
}
