//! How do changes of the topology file and of the files that it names get noticed?
//!
//! The files are looked at every `topology.poll_interval`. Only files that may have changed are a
//! reason to read them again; they are then read all together.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::assemble::Candidate;
use super::file::{TopologyFaults, TopologyFile};
use super::mark::Mark;
use crate::vschema::{KeyspaceSource, Rules, Source};

/// The topology file, and what the last look at it found.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) path: PathBuf,
    marks: BTreeMap<PathBuf, Option<Mark>>,
    hash: u64,
    failed: bool,
}

/// What a look found.
#[derive(Debug)]
pub(super) enum Look {
    /// The files say what they said before.
    Same,
    /// They say something else, or can be used again.
    Changed(Candidate),
    /// They do not hold together.
    Refused(String),
}

/// Everything read from the files at one time.
struct Loaded {
    file: TopologyFile,
    source: Source,
    hash: u64,
}

// === impl Files ===

impl Files {
    /// Reads the topology file and the files that it names.
    ///
    /// # Errors
    /// Every fault, one a line, with the file's name.
    pub(super) fn load(path: &Path) -> Result<(Self, Candidate), String> {
        let loaded = Loaded::read(path)?;
        let marks = marks(path, &loaded.file);
        let files = Self { path: path.to_owned(), marks, hash: loaded.hash, failed: false };
        Ok((files, loaded.candidate()))
    }

    /// Looks at the files once.
    pub(super) fn look(&mut self) -> Look {
        let quiet = self
            .marks
            .iter()
            .all(|(path, mark)| *mark == Mark::of(path) && !mark.is_some_and(|mark| mark.is_recent()));
        // A refused version may name files that are not there yet, and are watched by nobody.
        if quiet && !self.failed {
            return Look::Same;
        }
        for (path, mark) in &mut self.marks {
            *mark = Mark::of(path);
        }
        match Loaded::read(&self.path) {
            Ok(loaded) => {
                self.marks = marks(&self.path, &loaded.file);
                if loaded.hash == self.hash && !self.failed {
                    return Look::Same;
                }
                (self.hash, self.failed) = (loaded.hash, false);
                Look::Changed(loaded.candidate())
            }
            Err(why) => {
                self.failed = true;
                Look::Refused(why)
            }
        }
    }
}

// === impl Loaded ===

impl Loaded {
    fn read(path: &Path) -> Result<Self, String> {
        let text = read(path)?;
        let mut contents = text.clone().into_bytes();
        let folder = path.parent().unwrap_or(Path::new("."));
        let in_file = |faults: TopologyFaults| {
            let lines: Vec<_> = faults.0.iter().map(|fault| format!("{}: {fault}", path.display())).collect();
            lines.join("\n")
        };
        let file = TopologyFile::parse(&text, folder).map_err(in_file)?;
        let mut source = Source::default();
        for (name, keyspace) in &file.snapshot.keyspaces {
            let mut own = KeyspaceSource::default();
            if let Some(path) = file.vschemas.get(name) {
                let text = read(path)?;
                own = KeyspaceSource::from_json(&text)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                contents.extend_from_slice(text.as_bytes());
            }
            if !own.sharded && keyspace.shards.len() > 1 {
                let count = keyspace.shards.len();
                return Err(format!(
                    "{}: keyspace {name} has {count} shards and is not sharded",
                    path.display()
                ));
            }
            source.keyspaces.insert(name.to_string(), own);
        }
        source.routing_rules = rules(file.routing_rules.as_deref(), &mut contents)?;
        source.keyspace_routing_rules = rules(file.keyspace_routing_rules.as_deref(), &mut contents)?;
        source.shard_routing_rules = rules(file.shard_routing_rules.as_deref(), &mut contents)?;
        Ok(Self { file, source, hash: xxhash_rust::xxh64::xxh64(&contents, 0) })
    }

    fn candidate(self) -> Candidate {
        Candidate {
            snapshot: self.file.snapshot,
            source: Arc::new(self.source),
            problems: std::collections::BTreeSet::new(),
        }
    }
}

fn marks(path: &Path, file: &TopologyFile) -> BTreeMap<PathBuf, Option<Mark>> {
    file.files().chain([path]).map(|path| (path.to_owned(), Mark::of(path))).collect()
}

/// The rules of a file, whose text is added to `contents`; none without a file.
fn rules<R>(path: Option<&Path>, contents: &mut Vec<u8>) -> Result<Rules<R>, String>
where
    R: Serialize + DeserializeOwned,
{
    let Some(path) = path else { return Ok(Rules::default()) };
    let text = read(path)?;
    contents.extend_from_slice(text.as_bytes());
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
