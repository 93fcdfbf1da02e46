//! Where does a development cluster keep its data, and who else is using that folder?

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::flavour::Places;
use super::mysqld::stop_leftover;

/// The folder of one cluster, locked for as long as this lives. A temporary one is removed at the
/// end.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    sockets: PathBuf,
    temporary: bool,
    /// The kernel gives the lock up with the process, however that ends.
    _lock: File,
}

/// What temporary folders are called, with the process id behind it.
const TEMPORARY: &str = "shardgate-dev-";
/// `sun_path` holds 107 bytes and a zero (unix(7)); file names as long as "100.sock" come behind.
const SOCKET_FOLDER_LIMIT: usize = 90;

// === impl Folder ===

impl Folder {
    /// Opens the named folder, or makes a temporary one. What a killed run left behind there is
    /// stopped.
    pub(super) fn open(asked: Option<&Path>) -> Result<Self, String> {
        let folder = if let Some(path) = asked {
            Self::lock(path, false)?
        } else {
            sweep();
            Self::lock(&std::env::temp_dir().join(format!("{TEMPORARY}{}", std::process::id())), true)?
        };
        folder.stop_leftovers()?;
        Ok(folder)
    }

    /// The folder itself, absolute.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The places of server number `index`, counted from 0.
    pub(super) fn places(&self, index: usize) -> Places {
        Places::new(&self.path, &self.sockets, index)
    }

    fn lock(path: &Path, temporary: bool) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        make_private(path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        let lock = File::create(path.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!("{}: another shardgate dev is using this folder", path.display()));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let sockets = if path.as_os_str().len() <= SOCKET_FOLDER_LIMIT {
            path.clone()
        } else {
            let hash = xxhash_rust::xxh64::xxh64(path.as_os_str().as_encoded_bytes(), 0);
            std::env::temp_dir().join(format!("shardgate-sockets-{hash:016x}"))
        };
        make_private(&sockets).map_err(failed)?;
        Ok(Self { path, sockets, temporary, _lock: lock })
    }

    fn stop_leftovers(&self) -> Result<(), String> {
        let mut index = 0;
        while self.places(index).log.parent().is_some_and(Path::exists) {
            stop_leftover(&self.places(index))?;
            index += 1;
        }
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now is swept by a later start.
        if self.sockets != self.path {
            let _ = fs::remove_dir_all(&self.sockets);
        }
        if self.temporary {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// A folder for this user only: inside it, root needs no password.
fn make_private(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        // Not a symbolic link that another user planted.
        if fs::symlink_metadata(path)?.is_dir() {
            let mut permissions = fs::metadata(path)?.permissions();
            permissions.set_mode(0o700);
            fs::set_permissions(path, permissions)?;
        }
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Stops and removes what killed runs left in temporary folders. Folders in use are locked.
fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            continue;
        }
        // Another user's folder, or one in use, cannot be locked: it is left alone.
        if let Ok(folder) = Folder::lock(&entry.path(), true)
            && let Err(why) = folder.stop_leftovers()
        {
            tracing::warn!(%why, "could not clean up after an earlier run");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_use_is_refused_and_free_again_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = Folder::open(Some(&path)).unwrap();
        let error = Folder::open(Some(&path)).unwrap_err();
        assert!(error.ends_with("another shardgate dev is using this folder"), "{error}");
        drop(first);
        assert!(path.exists());
        Folder::open(Some(&path)).unwrap();
    }

    #[test]
    fn long_paths_keep_their_sockets_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(Some(&dir.path().join("x".repeat(120)))).unwrap();
        let socket = folder.places(0).socket;
        assert!(socket.as_os_str().len() < 107, "{}", socket.display());
        let sockets = folder.sockets.clone();
        drop(folder);
        assert!(!sockets.exists());
    }

    #[test]
    fn a_foreign_pid_file_kills_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("server-1");
        fs::create_dir(&own).unwrap();
        // This test's own process is no server of that folder.
        fs::write(own.join("mysqld.pid"), std::process::id().to_string()).unwrap();
        Folder::open(Some(dir.path())).unwrap();
    }
}
