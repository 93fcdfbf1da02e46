//! How does a gate come up while etcd is away?
//!
//! With `--topology-cache FILE`, the records in force are saved in a file whenever they change, and a
//! start that does not reach etcd begins with them. The file is JSON; records are hex of their bytes.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::image::Image;

/// What the file holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    /// The form of the file.
    version: u32,
    /// The gate's cell.
    cell: String,
    /// Records by root and path, in hex.
    roots: BTreeMap<String, BTreeMap<String, String>>,
}

/// The only form that there has been.
const VERSION: u32 = 1;

/// The text of the file.
pub(super) fn text(image: &Image) -> String {
    let mut saved = Saved { version: VERSION, cell: image.own_cell().to_string(), roots: BTreeMap::new() };
    for (root, path, bytes) in image.contents() {
        saved.roots.entry(root.into()).or_default().insert(path.into(), hex::encode(bytes));
    }
    serde_json::to_string(&saved).unwrap_or_default()
}

/// Writes the file as a whole or not at all.
pub(super) fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// Reads the file.
///
/// # Errors
/// What is wrong with it.
pub(super) fn load(path: &Path, cell: &str) -> Result<Image, String> {
    let failed = |why: String| format!("{}: {why}", path.display());
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let saved: Saved = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    if saved.version != VERSION {
        return Err(failed(format!("version {} is not known", saved.version)));
    }
    if saved.cell != cell {
        return Err(failed(format!("this was saved by a gate of cell {}, not {cell}", saved.cell)));
    }
    let mut image = Image::new(cell);
    for (root, records) in saved.roots {
        let mut contents = Vec::with_capacity(records.len());
        for (path, text) in records {
            let bytes = hex::decode(&text).map_err(|error| failed(format!("{path}: {error}")))?;
            contents.push((path, Arc::from(bytes)));
        }
        image.replace(&root, contents);
    }
    if image.find(cell, super::path::SRV_VSCHEMA).is_none() {
        return Err(failed("there is no VSchema in it".into()));
    }
    Ok(image)
}
