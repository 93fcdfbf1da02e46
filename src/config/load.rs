//! How does a file become a [`Config`], and what does the operator read when it does not?

use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::Config;

/// Why a configuration cannot be used: one line per fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, where there is one.
    pub path: Option<PathBuf>,
    /// What is wrong, each as a sentence that names its key.
    pub faults: Vec<String>,
}

/// One section of the file.
pub(super) trait Group: Default {
    /// Its keys, in the order of the sample.
    const KEYS: &'static [&'static str];
    /// Reads the keys that are there.
    fn read(&mut self, section: &str, table: &Table, faults: &mut Vec<String>);
    /// Writes every key with its comment and default.
    fn sample(out: &mut String);
}

/// Writes the struct of the whole file, the struct of each section with its defaults, and the code
/// that reads them, from one list.
macro_rules! groups {
    (
        $(#[doc = $all_doc:literal])*
        pub struct $all:ident;
        $(
            $(#[doc = $group_doc:literal])*
            $section:ident: $group:ident {
                $( $(#[doc = $doc:literal])* $key:ident: $type:ty = $default:expr, )*
            }
        )*
    ) => {
        $(#[doc = $all_doc])*
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct $all {
            $( $(#[doc = $group_doc])* pub $section: $group, )*
        }

        $(
            $(#[doc = $group_doc])*
            #[derive(Debug, Clone, PartialEq)]
            pub struct $group {
                $( $(#[doc = $doc])* pub $key: $type, )*
            }

            impl Default for $group {
                fn default() -> Self {
                    Self { $( $key: $default, )* }
                }
            }

            impl $crate::config::load::Group for $group {
                const KEYS: &'static [&'static str] = &[$( stringify!($key) ),*];

                fn read(&mut self, section: &str, table: &toml::Table, faults: &mut Vec<String>) {
                    $(
                        if let Some(value) = table.get(stringify!($key)) {
                            match $crate::config::unit::Setting::read(value) {
                                Ok(value) => self.$key = value,
                                Err(why) => faults.push(format!("{section}.{}: {why}", stringify!($key))),
                            }
                        }
                    )*
                }

                fn sample(out: &mut String) {
                    let defaults = Self::default();
                    $(
                        $( out.push_str("#"); out.push_str($doc); out.push('\n'); )*
                        out.push_str(stringify!($key));
                        out.push_str(" = ");
                        out.push_str(&$crate::config::unit::Setting::show(&defaults.$key));
                        out.push('\n');
                    )*
                }
            }
        )*

        impl $all {
            const SECTIONS: &'static [&'static str] = &[$( stringify!($section) ),*];

            fn read_sections(&mut self, table: &toml::Table, faults: &mut Vec<String>) {
                $(
                    $crate::config::load::read_section(
                        stringify!($section), table, &mut self.$section, faults,
                    );
                )*
            }

            /// A file with every key, its meaning and its default.
            #[must_use]
            pub fn sample() -> String {
                let mut out = String::new();
                $(
                    $( out.push_str("#"); out.push_str($group_doc); out.push('\n'); )*
                    out.push_str(concat!("[", stringify!($section), "]\n"));
                    <$group as $crate::config::load::Group>::sample(&mut out);
                    out.push('\n');
                )*
                out.truncate(out.trim_end().len());
                out.push('\n');
                out
            }
        }
    };
}
pub(super) use groups;

/// Reads one section, and refuses keys that it does not have.
pub(super) fn read_section<G: Group>(name: &str, file: &Table, group: &mut G, faults: &mut Vec<String>) {
    match file.get(name) {
        None => {}
        Some(Value::Table(table)) => {
            for key in table.keys().filter(|key| !G::KEYS.contains(&key.as_str())) {
                faults.push(unknown("key", &format!("{name}.{key}"), key, G::KEYS));
            }
            group.read(name, table, faults);
        }
        Some(_) => faults.push(format!("{name} must be a section: write [{name}]")),
    }
}

// === impl Config ===

impl Config {
    /// Reads and checks the text of a file.
    ///
    /// # Errors
    /// Every fault of the text.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let failed = |faults| ConfigError { path: None, faults };
        let table: Table = text.parse().map_err(|error| failed(vec![not_toml(text, &error)]))?;
        let mut faults = Vec::new();
        for key in table.keys().filter(|key| !Self::SECTIONS.contains(&key.as_str())) {
            faults.push(unknown("section", key, key, Self::SECTIONS));
        }
        let mut config = Self::default();
        config.read_sections(&table, &mut faults);
        if faults.is_empty() {
            config.check(&mut faults);
        }
        if faults.is_empty() { Ok(config) } else { Err(failed(faults)) }
    }

    /// Reads and checks a file. Relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// Every fault of the file, or that it cannot be read.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let failed = |faults| ConfigError { path: Some(path.to_owned()), faults };
        let text = std::fs::read_to_string(path)
            .map_err(|error| failed(vec![format!("the file cannot be read: {error}")]))?;
        let mut config = Self::parse(&text).map_err(|error| failed(error.faults))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        for file in config.paths_mut() {
            if file.is_relative() && file.as_os_str() != "-" {
                *file = folder.join(&*file);
            }
        }
        let password = |key: &str, file: &Path| {
            let text = std::fs::read_to_string(file)
                .map_err(|error| failed(vec![format!("{key}_file: {}: {error}", file.display())]))?;
            Ok(super::Secret::new(text.trim_end_matches(['\r', '\n'])))
        };
        if let Some(file) = &config.backend.password_file {
            config.backend.password = Some(password("backend.password", file)?);
        }
        if let Some(file) = &config.topology.password_file {
            config.topology.password = Some(password("topology.password", file)?);
        }
        if let Some(file) = &config.reparent.password_file {
            config.reparent.password = Some(password("reparent.password", file)?);
        }
        if let Some(file) = &config.reparent.replication_password_file {
            config.reparent.replication_password = Some(password("reparent.replication_password", file)?);
        }
        Ok(config)
    }

    fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        [
            &mut self.listen.socket,
            &mut self.listen.tls_cert,
            &mut self.listen.tls_key,
            &mut self.listen.tls_client_ca,
            &mut self.topology.path,
            &mut self.topology.password_file,
            &mut self.topology.tls_ca,
            &mut self.topology.tls_cert,
            &mut self.topology.tls_key,
            &mut self.users.static_file,
            &mut self.backend.password_file,
            &mut self.backend.tls_ca,
            &mut self.reparent.password_file,
            &mut self.reparent.replication_password_file,
            &mut self.log.query_log,
        ]
        .into_iter()
        .flatten()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            if let Some(path) = &self.path {
                write!(f, "{}: ", path.display())?;
            }
            f.write_str(fault)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// The parser's own message with its line, on one line and without the text of the file around it:
/// that text may hold a password.
pub(crate) fn not_toml(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.get(..at).unwrap_or_default().split('\n').count();
    format!("line {line}: {}", error.message().replace('\n', "; "))
}

/// `there is no key listen.adress; did you mean "address"?`
pub(crate) fn unknown(what: &str, full: &str, key: &str, known: &[&str]) -> String {
    match nearest(key, known) {
        Some(near) => format!("there is no {what} {full}; did you mean \"{near}\"?"),
        None => format!("there is no {what} {full}; known are {}", known.join(", ")),
    }
}

/// The known word with the smallest edit distance.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    known.iter().copied().min_by_key(|candidate| distance(word, candidate))
}

/// Levenshtein's edit distance, over bytes. Long words are cut: they are near nothing anyway.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (&a.as_bytes()[..a.len().min(64)], &b.as_bytes()[..b.len().min(64)]);
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::config::{ByteSize, TransactionMode};

    const SMALL: &str = "[topology]\npath = 't.toml'\n[users]\nallow_any = true\n";

    fn faults(text: &str) -> Vec<String> {
        Config::parse(text).unwrap_err().faults
    }

    #[test]
    fn a_small_file_is_enough() {
        let config = Config::parse(SMALL).unwrap();
        assert_eq!(config.topology.path.as_deref(), Some(Path::new("t.toml")));
        assert_eq!(config.listen.address.as_deref(), Some("0.0.0.0:15306"));
        assert_eq!(config.transaction.mode, TransactionMode::Multi);
    }

    #[test]
    fn values_carry_units() {
        let text = format!(
            "{SMALL}[listen]\nmax_allowed_packet = '16MiB'\nidle_timeout = 'off'\n[backend]\nqueue_timeout = '250ms'\n"
        );
        let config = Config::parse(&text).unwrap();
        assert_eq!(config.listen.max_allowed_packet, ByteSize::mib(16));
        assert_eq!(config.listen.idle_timeout, None);
        assert_eq!(config.backend.queue_timeout, Duration::from_millis(250));
        let found = faults(&format!("{SMALL}[backend]\nqueue_timeout = 5\n"));
        assert_eq!(
            found,
            ["backend.queue_timeout: 5 has no unit; write a time like \"5s\", \"250ms\" or \"8h\""]
        );
    }

    #[test]
    fn unknown_keys_name_the_nearest_and_all_faults_are_told() {
        let found = faults("[listn]\na = 1\n[listen]\nadress = 'x'\nmax_connections = -1\n");
        assert_eq!(
            found,
            [
                "there is no section listn; did you mean \"listen\"?",
                "there is no key listen.adress; did you mean \"address\"?",
                "listen.max_connections: -1 is not a whole number of at most 4294967295",
            ]
        );
    }

    #[test]
    fn syntax_errors_give_the_line_and_not_the_text() {
        let found = faults("[backend]\npassword = \"hunter2\n");
        assert!(found[0].starts_with("line 2: "), "{found:?}");
        assert!(!found[0].contains("hunter2"));
    }

    #[test]
    fn passwords_stay_out_of_debug_output() {
        let config = Config::parse(&format!("{SMALL}[backend]\npassword = 'hunter2'\n")).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        assert_eq!(config.backend.password.unwrap().reveal(), "hunter2");
    }

    #[test]
    fn the_password_file_is_read_beside_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pw"), "geheim\n").unwrap();
        let path = folder.path().join("gate.toml");
        std::fs::write(&path, format!("{SMALL}[backend]\npassword_file = 'pw'\n")).unwrap();
        let config = Config::load(&path).unwrap();
        assert_eq!(config.backend.password.unwrap().reveal(), "geheim");
        assert_eq!(config.topology.path.unwrap(), folder.path().join("t.toml"));
    }

    #[test]
    fn the_readme_has_the_sample() {
        let readme = include_str!("../../README.md");
        assert!(
            readme.contains(Config::sample().trim_end()),
            "paste `shardgate serve --sample` into README.md"
        );
    }

    #[test]
    fn the_sample_is_the_default() {
        let sample = Config::sample();
        let table: Table = sample.parse().unwrap();
        let (mut read, mut faults) = (Config::default(), Vec::new());
        read.read_sections(&table, &mut faults);
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(read, Config::default());
    }

    proptest! {
        #[test]
        fn any_text_gives_a_config_or_faults(text in ".{0,200}") {
            let _ = Config::parse(&text);
        }
    }
}
