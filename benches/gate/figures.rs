//! What do several rounds of the same measurement say together?

use std::fmt;

/// The figures of all rounds of one cell.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Figures(Vec<f64>);

// === impl Figures ===

impl Figures {
    /// Adds a round.
    pub(crate) fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// The middle one; of an even number, the mean of the two middle ones. NaN without rounds.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match sorted.len() {
            0 => f64::NAN,
            odd if odd % 2 == 1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    /// Round by round: these over those.
    pub(crate) fn over(&self, others: &Self) -> Self {
        Self(self.0.iter().zip(&others.0).map(|(this, other)| this / other).collect())
    }

    fn bounds(&self) -> (f64, f64) {
        (
            self.0.iter().copied().fold(f64::INFINITY, f64::min),
            self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        )
    }
}

/// `median (least–most)`, with as many decimals as the format's precision says (2 untold).
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("–");
        }
        let precision = f.precision().unwrap_or(2);
        let (least, most) = self.bounds();
        write!(f, "{:.precision$} ({least:.precision$}–{most:.precision$})", self.median())
    }
}
