//! How are the numbers of several shards added, and written as MySQL writes them?
//!
//! Sums of exact numbers (COUNT, SUM and AVG of integers and decimals) stay exact; sums of DOUBLE
//! are IEEE sums, printed by the rule of MySQL's `my_gcvt`: the shortest digits that read back to the
//! same number, plain up to 15 digits before the point, else with an exponent.

use std::fmt::Write as _;
use std::str::FromStr as _;

use bigdecimal::num_bigint::BigInt;
use bigdecimal::{BigDecimal, RoundingMode, Zero as _};

use crate::error::{Result, SqlError};

/// `decimals` of a column definition that means "no fixed scale" (FLOAT, DOUBLE, expressions).
pub(crate) const NO_SCALE: u8 = 31;

/// The largest magnitude of the decimal point's place that `my_gcvt` prints without exponent.
const PLAIN_DIGITS: i32 = 15;

/// A sum that the gate builds from the partial sums of the shards.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Sum {
    /// SUM of exact numbers: never rounded.
    Exact(BigDecimal),
    /// SUM of FLOAT or DOUBLE.
    Double(f64),
}

// === impl Sum ===

impl Sum {
    /// Adds the text form of another partial sum.
    ///
    /// # Errors
    /// A text that is no number: the shard broke the protocol.
    pub(crate) fn add_text(&mut self, text: &[u8]) -> Result<()> {
        match self {
            Self::Exact(total) => *total += exact(text)?,
            Self::Double(total) => *total += double(text)?,
        }
        Ok(())
    }

    /// The sum in MySQL's text form; `scale` is the `decimals` of the column definition.
    pub(crate) fn text(&self, scale: u8) -> String {
        match self {
            Self::Exact(total) if scale == NO_SCALE => total.to_plain_string(),
            Self::Exact(total) => fixed(total, scale),
            Self::Double(total) => double_text(*total, scale),
        }
    }
}

/// Reads an exact number as a server writes it.
///
/// # Errors
/// A text that is no number.
pub(crate) fn exact(text: &[u8]) -> Result<BigDecimal> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| BigDecimal::from_str(text).ok())
        .ok_or_else(|| SqlError::bug("a shard sent a sum that is not a number"))
}

/// Reads a DOUBLE in text form.
///
/// # Errors
/// A text that is no number.
pub(crate) fn double(text: &[u8]) -> Result<f64> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| SqlError::bug("a shard sent a number that does not read"))
}

/// `sum / count` with `scale` digits after the point, halves away from zero (MySQL's AVG of exact
/// numbers). The count is not zero.
pub(crate) fn average(sum: &BigDecimal, count: i64, scale: u8) -> String {
    // Integer division of the scaled sum: exact, whatever the number of digits.
    let (digits, exponent) = sum.as_bigint_and_exponent();
    let shift = i64::from(scale) - exponent;
    let ten = BigInt::from(10);
    let power = |places: i64| ten.pow(u32::try_from(places).unwrap_or(u32::MAX));
    let (numerator, denominator) = if shift >= 0 {
        (digits * power(shift), BigInt::from(count))
    } else {
        (digits, BigInt::from(count) * power(-shift))
    };
    let doubled: BigInt = numerator * 2;
    let negative = doubled < BigInt::zero();
    let magnitude = if negative { -doubled } else { doubled };
    let rounded: BigInt = (magnitude + &denominator) / (denominator * 2);
    let signed = if negative { -rounded } else { rounded };
    fixed(&BigDecimal::new(signed, i64::from(scale)), scale)
}

/// A number with exactly `scale` digits after the point, halves away from zero.
fn fixed(number: &BigDecimal, scale: u8) -> String {
    let rounded = number.with_scale_round(i64::from(scale), RoundingMode::HalfUp);
    if rounded.is_zero() && scale == 0 { "0".to_owned() } else { rounded.to_plain_string() }
}

/// A DOUBLE as MySQL sends it: `%.{scale}f` for columns with a scale, else `my_gcvt`.
pub(crate) fn double_text(number: f64, scale: u8) -> String {
    if scale != NO_SCALE {
        return format!("{number:.*}", usize::from(scale));
    }
    if number == 0.0 {
        return if number.is_sign_negative() { "-0".to_owned() } else { "0".to_owned() };
    }
    // Rust prints the shortest digits that read back: `d.ddde±x`.
    let shortest = format!("{:e}", number.abs());
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let point = exponent.parse::<i32>().unwrap_or(0) + 1;
    let mut text = String::with_capacity(24);
    if number < 0.0 {
        text.push('-');
    }
    push_digits(&mut text, &digits, point);
    text
}

/// Writes `0.digits × 10^point` as `my_gcvt` does.
fn push_digits(text: &mut String, digits: &str, point: i32) {
    let length = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if (-PLAIN_DIGITS + 1..=0).contains(&point) {
        text.push_str("0.");
        text.extend(std::iter::repeat_n('0', point.unsigned_abs() as usize));
        text.push_str(digits);
    } else if point > 0 && (point <= PLAIN_DIGITS || point < length) {
        let places = point.unsigned_abs() as usize;
        if let Some((whole, fraction)) = digits.split_at_checked(places) {
            text.push_str(whole);
            if !fraction.is_empty() {
                text.push('.');
                text.push_str(fraction);
            }
        } else {
            text.push_str(digits);
            text.extend(std::iter::repeat_n('0', places - digits.len()));
        }
    } else {
        let (first, rest) = digits.split_at(1);
        text.push_str(first);
        if !rest.is_empty() {
            text.push('.');
            text.push_str(rest);
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "e{}", point - 1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Expression and answer, measured on MySQL 9.7.4 and MariaDB 10.11.19 (both the same).
    const DOUBLES: &[(f64, &str)] = &[
        (0.1 + 0.2, "0.30000000000000004"),
        (1e14, "100000000000000"),
        (1e15, "1e15"),
        (1e16, "1e16"),
        (123_456_789_012_345_680.0, "1.2345678901234568e17"),
        (1.5e20, "1.5e20"),
        (1e22, "1e22"),
        (1e-14, "0.00000000000001"),
        (1e-15, "0.000000000000001"),
        (1e-16, "1e-16"),
        (1.5e-15, "0.0000000000000015"),
        (1.5e-16, "1.5e-16"),
        (1e-5, "0.00001"),
        (-1.5e-7, "-0.00000015"),
        (123_456.789, "123456.789"),
        (1.0 / 3.0, "0.3333333333333333"),
        (2.0 / 3.0, "0.6666666666666666"),
        (1e308, "1e308"),
        (5e-324, "5e-324"),
        (0.0, "0"),
        (1e100 / 3.0, "3.333333333333333e99"),
        (f64::MAX, "1.7976931348623157e308"),
        (999_999_999_999_999.0, "999999999999999"),
        (9_999_999_999_999_998.0, "9.999999999999998e15"),
        (123_456_789_012_345.0, "123456789012345"),
        (1_234_567_890_123_456.0, "1.234567890123456e15"),
        (1_234_567_890_123_456.8, "1234567890123456.8"),
        (1_000_000_000_000_000.5, "1000000000000000.5"),
        (1.234_567_890_123_456_7e-5, "0.000012345678901234568"),
        (1.234_567_890_123_456_7e-15, "0.0000000000000012345678901234568"),
    ];

    #[test]
    fn doubles_print_as_on_the_servers() {
        for &(number, text) in DOUBLES {
            assert_eq!(double_text(number, NO_SCALE), text);
        }
    }

    #[test]
    fn averages_round_halves_away_from_zero() {
        // Measured on both servers: avg(1, 1, 2), avg(-1, -1, 0), avg(0.00005, 0.0001, 0.0001),
        // avg(1, 2 × 7), and the avg of 10^65 and 1 over two rows.
        let average_of = |sum: &str, count, scale| average(&exact(sum.as_bytes()).unwrap(), count, scale);
        assert_eq!(average_of("4", 3, 4), "1.3333");
        assert_eq!(average_of("-2", 3, 4), "-0.6667");
        assert_eq!(average_of("0.00025", 3, 9), "0.000083333");
        assert_eq!(average_of("15", 8, 4), "1.8750");
        let nines = "100000000000000000000000000000000000000000000000000000000000000000";
        assert_eq!(average_of(nines, 2, 4), format!("5{}.0000", "0".repeat(64)));
    }

    #[test]
    fn sums_keep_the_scale_of_the_definition() {
        let mut sum = Sum::Exact(BigDecimal::zero());
        sum.add_text(b"1.50").unwrap();
        sum.add_text(b"-0.5").unwrap();
        assert_eq!(sum.text(2), "1.00");
        let mut zero = Sum::Exact(exact(b"-3.20").unwrap());
        zero.add_text(b"3.20").unwrap();
        assert_eq!(zero.text(2), "0.00");
        assert_eq!(Sum::Exact(exact(b"7").unwrap()).text(0), "7");
        assert_eq!(Sum::Double(2.5).text(2), "2.50");
    }

    proptest! {
        #[test]
        fn double_text_reads_back(bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            let text = double_text(number, NO_SCALE);
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits);
        }

        #[test]
        fn exact_sums_equal_integer_sums(numbers in prop::collection::vec(any::<i64>(), 0..50)) {
            let mut sum = Sum::Exact(BigDecimal::zero());
            for number in &numbers {
                sum.add_text(number.to_string().as_bytes()).unwrap();
            }
            let expected: i128 = numbers.iter().map(|&number| i128::from(number)).sum();
            prop_assert_eq!(sum.text(0), expected.to_string());
        }

        #[test]
        fn averages_equal_integer_division(total in -1_000_000_000_000_i64..1_000_000_000_000, count in 1_i64..1000) {
            let text = average(&BigDecimal::from(total), count, 4);
            let scaled = i128::from(total) * 10_000;
            let twice = scaled.abs() * 2 + i128::from(count);
            let magnitude = twice / (2 * i128::from(count));
            let sign = if total < 0 && magnitude != 0 { "-" } else { "" };
            prop_assert_eq!(text, format!("{sign}{}.{:04}", magnitude / 10_000, magnitude % 10_000));
        }
    }
}
