//! When is the users file read again?
//!
//! It is looked at several times a second, and read when it may have changed; SIGHUP reads it at once. A
//! file with a fault is logged once, and the last good one stays in use. Sessions that are there
//! already go on: only logins ask who may log in.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::settings;
use crate::config::Config;
use crate::session::Shared;
use crate::topology::mark::Mark;

/// How often the file is looked at.
const INTERVAL: Duration = Duration::from_millis(250);

/// Puts every new state of the users file in use.
pub(super) async fn follow(config: Config, shared: Arc<Shared>, asked: Arc<Notify>, stop: CancellationToken) {
    let Some(path) = config.users.static_file.clone() else { return };
    // The start has read it; a change between the two is found by the first look.
    let (mut mark, mut text) = (None, None);
    loop {
        let told = tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => false,
            () = asked.notified() => true,
        };
        let now = Mark::of(&path);
        if !told && now == mark && !now.is_some_and(|mark| mark.is_recent()) {
            continue;
        }
        mark = now;
        // A small local file: not worth another thread.
        let read = std::fs::read_to_string(&path).ok();
        if !told && read == text && read.is_some() {
            continue;
        }
        // Why it cannot be read, where it cannot, is told below.
        text = read;
        match settings::users(&config) {
            Ok(users) => {
                shared.login.users.store(Arc::new(users));
                tracing::info!(path = %path.display(), "the users file is in use");
            }
            Err(error) => tracing::error!(error, "the users file is refused; the last good one stays in use"),
        }
    }
}
