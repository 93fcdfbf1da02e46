//! How does a gauge never drift: who adds one also takes it away?

use prometheus::IntGauge;

/// Holds a gauge one higher for as long as it lives.
#[derive(Debug)]
pub struct GaugeGuard(IntGauge);

impl GaugeGuard {
    /// Raises the gauge; dropping the guard lowers it again.
    #[must_use]
    pub fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_gives_back_what_it_took() {
        let gauge = IntGauge::new("g", "h").unwrap();
        let one = GaugeGuard::new(&gauge);
        let two = GaugeGuard::new(&gauge);
        assert_eq!(gauge.get(), 2);
        drop(one);
        assert_eq!(gauge.get(), 1);
        drop(two);
        assert_eq!(gauge.get(), 0);
    }
}
