//! Has a file changed since it was read?

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    inode: u64,
    size: u64,
    modified: SystemTime,
    changed: (i64, i64),
}

/// Clocks of file systems are coarse: a file that changed so shortly ago is read again.
const RECENT: Duration = Duration::from_secs(2);

// === impl Mark ===

impl Mark {
    /// The file as it is now; none where it is not there.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            inode: metadata.ino(),
            size: metadata.len(),
            modified: metadata.modified().ok()?,
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Whether it changed so shortly ago that it may have changed again under the same mark.
    #[must_use]
    pub fn is_recent(&self) -> bool {
        // A time in the future (another machine's clock) counts as recent.
        self.modified.elapsed().is_ok_and(|age| age < RECENT)
    }
}
