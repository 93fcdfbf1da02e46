//! How does a second cluster start without waiting for `mysqld --initialize`?
//!
//! A data folder that was filled once is kept in the user's cache folder, one per server program, and
//! every data folder is a copy of it. A folder is filled under another name and renamed when it is
//! complete, so a half-made one is never seen; a lock keeps two starts from filling the same one at
//! the same time. Where there is no cache folder to write to, each cluster fills a folder of its own.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::flavour::{Places, Program};
use super::mysqld;

/// How many folders are kept: those of other programs or versions go, the oldest first.
const KEPT: usize = 6;

/// What a change of the filling's own options changes too.
const RECIPE: &str = "1";

/// The cache of filled data folders.
#[derive(Debug, Clone)]
pub(super) struct Cache(PathBuf);

// === impl Cache ===

impl Cache {
    /// `$SHARDGATE_CACHE/data`, or `shardgate/data` in the user's cache folder. None without a home.
    pub(super) fn of_user() -> Option<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = set("SHARDGATE_CACHE")
            .or_else(|| set("XDG_CACHE_HOME").map(|path| path.join("shardgate")))
            .or_else(|| set("HOME").map(|path| path.join(".cache/shardgate")))?;
        Some(Self(root.join("data")))
    }

    /// A filled data folder of this program, from the cache or made now.
    ///
    /// # Errors
    /// The cache folder cannot be written to, or the program fails.
    pub(super) fn data(&self, program: &Program) -> Result<PathBuf, String> {
        let failed = |error: io::Error| format!("{}: {error}", self.0.display());
        fs::create_dir_all(&self.0).map_err(failed)?;
        let key = xxhash_rust::xxh64::xxh64(format!("{RECIPE} {}", program.fingerprint()).as_bytes(), 0);
        let name = format!("{key:016x}");
        let kept = self.0.join(&name);
        let lock = File::create(self.0.join(format!("{name}.lock"))).map_err(failed)?;
        // Whoever fills the folder holds this; the kernel gives it up with the process.
        lock.lock().map_err(failed)?;
        let places = Places::new(&kept, &kept, 0);
        if mysqld::is_initialised(&places) {
            return Ok(places.data);
        }
        let fresh = self.0.join(format!("{name}.new"));
        for leftover in [&fresh, &kept] {
            match fs::remove_dir_all(leftover) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        mysqld::initialise(program, &Places::new(&fresh, &fresh, 0))?;
        fs::rename(&fresh, &kept).map_err(failed)?;
        self.forget_old(&kept);
        Ok(places.data)
    }

    /// Removes all folders but the newest. One that is being copied at this moment would make that
    /// copy fail: only such are removed that are not among the newest few.
    fn forget_old(&self, newest: &Path) {
        let Ok(entries) = fs::read_dir(&self.0) else { return };
        let mut folders: Vec<_> = entries
            .flatten()
            .filter(|entry| entry.path().extension().is_none() && entry.path() != newest)
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        folders.sort();
        let surplus = (folders.len() + 1).saturating_sub(KEPT);
        for (_, folder) in folders.into_iter().take(surplus) {
            // What cannot be removed now is removed another time.
            let _ = fs::remove_dir_all(&folder);
            let _ = fs::remove_file(folder.with_extension("lock"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::flavour::Flavour;

    /// A "server" that notes each run and fills the folder that `--datadir` names.
    fn program(dir: &Path, exit: &str) -> Program {
        use std::os::unix::fs::PermissionsExt as _;
        let path = dir.join("mysqld");
        let script = format!(
            "#!/bin/sh\nfor a; do case $a in --datadir=*) d=${{a#--datadir=}};; esac; done\n\
             echo run >> {}/runs\necho filled > \"$d/ibdata1\"\n{exit}\n",
            dir.display()
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Program { path, flavour: Flavour::MySql, version: "Ver 1".into() }
    }

    #[test]
    fn a_folder_is_filled_once_for_everybody() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, program) = (Cache(dir.path().join("cache")), program(dir.path(), "exit 0"));
        let found: Vec<PathBuf> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|_| scope.spawn(|| cache.data(&program).unwrap())).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(found.iter().all(|path| *path == found[0]));
        assert_eq!(fs::read_to_string(found[0].join("ibdata1")).unwrap(), "filled\n");
        assert_eq!(fs::read_to_string(dir.path().join("runs")).unwrap(), "run\n");
    }

    #[test]
    fn a_half_made_folder_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache(dir.path().join("cache"));
        let broken = program(dir.path(), "exit 1");
        let first = cache.data(&broken).unwrap_err();
        assert!(first.contains("failed"), "{first}");
        let works = program(dir.path(), "exit 0");
        let data = cache.data(&works).unwrap();
        assert!(data.join("ibdata1").exists());
    }
}
