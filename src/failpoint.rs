//! Where does a test want this process to stop, die or wait?
//!
//! With the `testkit` feature a named step looks for a file of its name in the folder that
//! `SHARDGATE_FAILPOINTS` names. Who renames the file has hit the step: once, whatever runs beside it.
//! The file says what happens: `kill` (SIGKILL of this process), `stop` (SIGSTOP; somebody else lets
//! it go on) or `wait` (until a file `<step>.go` is there). Without the feature a step is nothing.

/// Reaches a named step.
#[cfg(not(feature = "testkit"))]
#[inline]
pub fn reach(_step: &str) -> std::future::Ready<()> {
    std::future::ready(())
}

/// Reaches a named step.
#[cfg(feature = "testkit")]
pub async fn reach(step: &str) {
    use nix::sys::signal::{Signal, raise};
    let Some(folder) = std::env::var_os("SHARDGATE_FAILPOINTS").map(std::path::PathBuf::from) else {
        return;
    };
    let hit = folder.join(format!("{step}.hit"));
    if std::fs::rename(folder.join(step), &hit).is_err() {
        return;
    }
    let action = std::fs::read_to_string(&hit).unwrap_or_default();
    tracing::warn!(step, action = action.trim(), "failpoint");
    match action.trim() {
        // Both cannot fail for the process itself.
        "kill" => drop(raise(Signal::SIGKILL)),
        "stop" => drop(raise(Signal::SIGSTOP)),
        "wait" => {
            let go = folder.join(format!("{step}.go"));
            while !go.exists() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
        other => tracing::error!(step, action = other, "unknown action of a failpoint"),
    }
}
