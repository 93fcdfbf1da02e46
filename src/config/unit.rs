//! How is one value of the configuration written: times, sizes, secrets, words?
//!
//! A time is `"5s"`, a size is `"64MiB"`; a bare number is refused where a unit is meant. What may be
//! switched off is `"off"`. Plain counts (connections, rows) are numbers.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use toml::Value;

/// A number of bytes. Written `"64MiB"`, `"16KiB"`, `"512B"`, or decimal as `"10MB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// A password: readable by the code that logs in with it, never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

/// What can be read from one value of the file.
pub(super) trait Setting: Sized {
    /// Reads the value, or says what is wrong with it.
    fn read(value: &Value) -> Result<Self, String>;
    /// The value as it is written in the file.
    fn show(&self) -> String;
}

/// A setting that is one of a few words.
pub(super) trait Word: Copy + 'static {
    /// Every choice with its word.
    const WORDS: &'static [(&'static str, Self)];
}

/// Reads `"1h30m"`, `"5s"`, `"250ms"`, `"2d"`.
///
/// # Errors
/// What is wrong with the text, for the operator.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a time; write it like \"5s\", \"250ms\", \"10m\" or \"8h\"");
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let micros: u64 = match &rest[..letters] {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => return Err(wrong()),
        };
        rest = rest[letters..].trim_start();
        let part = number.checked_mul(micros).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_micros(part)).ok_or_else(wrong)?;
    }
    Ok(total)
}

/// Reads `"64MiB"`.
///
/// # Errors
/// What is wrong with the text, for the operator.
pub fn parse_bytes(text: &str) -> Result<ByteSize, String> {
    let wrong = || format!("\"{text}\" is not a size; write it like \"64MiB\", \"16KiB\" or \"512B\"");
    let text_only = text.trim();
    let digits = text_only.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let number: u64 = text_only[..digits].parse().map_err(|_| wrong())?;
    let unit: u64 = match text_only[digits..].trim_start() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).map(ByteSize).ok_or_else(wrong)
}

// === impl ByteSize ===

impl ByteSize {
    /// The number of bytes, for buffers.
    #[must_use]
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// So many MiB.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |unit: u64| self.0 != 0 && self.0.is_multiple_of(unit);
        match self.0 {
            bytes if fits(1 << 30) => write!(f, "{}GiB", bytes >> 30),
            bytes if fits(1 << 20) => write!(f, "{}MiB", bytes >> 20),
            bytes if fits(1 << 10) => write!(f, "{}KiB", bytes >> 10),
            bytes => write!(f, "{bytes}B"),
        }
    }
}

// === impl Secret ===

impl Secret {
    /// Keeps a password.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The password itself, for the login only.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether it is the empty password.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

// === impl Setting for … ===

impl Setting for Duration {
    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => parse_duration(text),
            other => Err(format!("{other} has no unit; write a time like \"5s\", \"250ms\" or \"8h\"")),
        }
    }

    fn show(&self) -> String {
        let micros = self.as_micros();
        let (number, unit) =
            [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "m"), (1_000_000, "s")]
                .into_iter()
                .chain([(1_000, "ms")])
                .find(|(size, _)| micros != 0 && micros.is_multiple_of(*size))
                .map_or((micros, "us"), |(size, unit)| (micros / size, unit));
        if micros == 0 { "\"0s\"".into() } else { format!("\"{number}{unit}\"") }
    }
}

impl Setting for ByteSize {
    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => parse_bytes(text),
            other => Err(format!("{other} has no unit; write a size like \"64MiB\", \"16KiB\" or \"512B\"")),
        }
    }

    fn show(&self) -> String {
        format!("\"{self}\"")
    }
}

impl Setting for bool {
    fn read(value: &Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| format!("{value} is neither true nor false"))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for u32 {
    fn read(value: &Value) -> Result<Self, String> {
        let wrong = || format!("{value} is not a whole number of at most {}", u32::MAX);
        value.as_integer().and_then(|number| Self::try_from(number).ok()).ok_or_else(wrong)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for f64 {
    fn read(value: &Value) -> Result<Self, String> {
        let number = match value {
            Value::Float(number) => *number,
            Value::Integer(0) => 0.0,
            Value::Integer(1) => 1.0,
            other => return Err(format!("{other} is not a number between 0.0 and 1.0")),
        };
        if (0.0..=1.0).contains(&number) {
            Ok(number)
        } else {
            Err(format!("{number} is not between 0.0 and 1.0"))
        }
    }

    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl Setting for String {
    fn read(value: &Value) -> Result<Self, String> {
        value.as_str().map(ToOwned::to_owned).ok_or_else(|| format!("{value} is not a string"))
    }

    fn show(&self) -> String {
        Value::String(self.clone()).to_string()
    }
}

impl Setting for Vec<String> {
    fn read(value: &Value) -> Result<Self, String> {
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(ToOwned::to_owned);
        let list = value.as_array().and_then(|all| all.iter().map(text).collect());
        list.ok_or_else(|| format!("{value} is not a list of words like [\"a\", \"b\"]"))
    }

    fn show(&self) -> String {
        Value::Array(self.iter().cloned().map(Value::String).collect()).to_string()
    }
}

impl Setting for PathBuf {
    fn read(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some("") | None => Err(format!("{value} is not a path")),
            Some(path) => Ok(Self::from(path)),
        }
    }

    fn show(&self) -> String {
        self.display().to_string().show()
    }
}

impl Setting for Secret {
    fn read(value: &Value) -> Result<Self, String> {
        // The value itself stays out of the message.
        value.as_str().map(Self::new).ok_or_else(|| "this is not a string".to_owned())
    }

    fn show(&self) -> String {
        "\"…\"".into()
    }
}

/// `"off"`, or a value.
impl<T: Setting> Setting for Option<T> {
    fn read(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some("off") => Ok(None),
            _ => T::read(value).map(Some),
        }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "\"off\"".to_owned(), Setting::show)
    }
}

impl<T: Word + PartialEq> Setting for T {
    fn read(value: &Value) -> Result<Self, String> {
        let text = value.as_str().unwrap_or_default();
        let Some((_, choice)) = T::WORDS.iter().find(|(word, _)| *word == text) else {
            let words: Vec<_> = T::WORDS.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            return Err(format!("{value} is not one of {}", words.join(", ")));
        };
        Ok(*choice)
    }

    fn show(&self) -> String {
        let word = T::WORDS.iter().find(|(_, choice)| choice == self).map_or("", |(word, _)| word);
        format!("\"{word}\"")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_need_units() {
        assert_eq!(parse_duration("5s").unwrap(), Duration::from_secs(5));
        assert_eq!(parse_duration("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(parse_duration("1h30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(parse_duration("0s").unwrap(), Duration::ZERO);
        for wrong in
            ["", "5", "s", "5 parsecs", "-5s", "1.5s", "99999999999999999999s", "18446744073709551615d"]
        {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        assert!(Duration::read(&Value::Integer(5)).unwrap_err().contains("no unit"));
    }

    #[test]
    fn sizes_need_units() {
        assert_eq!(parse_bytes("64MiB").unwrap(), ByteSize::mib(64));
        assert_eq!(parse_bytes("16 KiB").unwrap(), ByteSize(16384));
        assert_eq!(parse_bytes("10MB").unwrap(), ByteSize(10_000_000));
        for wrong in ["", "64", "MiB", "64mib", "-1B", "1.5GiB", "99999999999999999999B"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
        assert!(ByteSize::read(&Value::Integer(5)).unwrap_err().contains("no unit"));
    }

    #[test]
    fn secrets_are_never_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "*** Some(***)");
        assert_eq!(secret.show(), "\"…\"");
        assert!(!Secret::read(&Value::Integer(4711)).unwrap_err().contains("4711"));
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(micros in 0u64..u64::MAX / 2, bytes in any::<u64>()) {
            let time = Duration::from_micros(micros);
            let text = time.show();
            prop_assert_eq!(parse_duration(text.trim_matches('"')).unwrap(), time);
            let size = ByteSize(bytes);
            prop_assert_eq!(parse_bytes(&size.to_string()).unwrap(), size);
        }

        #[test]
        fn any_text_gives_a_value_or_an_error(text in ".*") {
            let _ = parse_duration(&text);
            let _ = parse_bytes(&text);
        }
    }
}
