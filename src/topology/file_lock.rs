//! How does one command at a time change a topology file?
//!
//! By a lock on a file beside it, which the system lets go with the process that holds it. The topology
//! file itself is replaced as a whole, so a lock on it would not last.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The lock of a topology file, held until this is dropped.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

/// How often it is tried again.
const INTERVAL: Duration = Duration::from_millis(50);

// === impl FileLock ===

impl FileLock {
    /// Takes the lock, or waits for it. `action` says why, for whoever finds it taken.
    ///
    /// # Errors
    /// A folder that cannot be written, or a lock that another process keeps for longer than `wait`.
    pub async fn take(topology: &Path, action: &str, wait: Duration) -> Result<Self, String> {
        let path = beside(topology);
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        let end = Instant::now() + wait;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) if Instant::now() >= end => {
                    let mut owner = String::new();
                    file.read_to_string(&mut owner).map_err(failed)?;
                    return Err(format!(
                        "{} was not free within {wait:?}; it is held by {}",
                        path.display(),
                        owner.trim()
                    ));
                }
                Err(TryLockError::WouldBlock) => sleep(INTERVAL).await,
            }
        }
        let owner = format!("{action}, process {}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(owner.as_bytes()))
            .map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// `topology.toml.lock`
fn beside(topology: &Path) -> PathBuf {
    let mut name = topology.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("topology.toml");
        let first = FileLock::take(&path, "First", Duration::ZERO).await.unwrap();
        let refused = FileLock::take(&path, "Second", Duration::from_millis(1)).await.unwrap_err();
        assert!(refused.contains("topology.toml.lock was not free"), "{refused}");
        assert!(refused.ends_with(&format!("First, process {}", std::process::id())), "{refused}");
        let waiting = path.clone();
        let third = tokio::spawn(async move { FileLock::take(&waiting, "3", Duration::from_secs(60)).await });
        tokio::task::yield_now().await;
        assert!(!third.is_finished());
        drop(first);
        drop(third.await.unwrap().unwrap());
        assert_eq!(
            std::fs::read_to_string(beside(&path)).unwrap(),
            format!("3, process {}\n", std::process::id())
        );
        let nowhere = FileLock::take(&folder.path().join("none/topology.toml"), "x", Duration::ZERO).await;
        assert!(nowhere.unwrap_err().contains("none/topology.toml.lock"));
    }
}
