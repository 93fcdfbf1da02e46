//! Where does the process spend its time, and what does it hold?
//!
//! `/debug/pprof/profile` samples the stacks of all threads that compute, by the pprof crate's timer signal,
//! and answers in the folded form of flame graphs: one line a stack, frames between semicolons, the outermost
//! first, and the number of samples. `/debug/runtime` has what tokio and the kernel know. There is no heap
//! profile: it would need another allocator.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use pprof::{ProfilerGuardBuilder, Report};
use serde_json::{Value, json};
use tokio::runtime::Handle;

/// Samples a second: no divisor of what happens every so many milliseconds.
const FREQUENCY: i32 = 99;

/// How long a profile takes unless told otherwise, and at most, in seconds.
const SECONDS: u64 = 10;
const MOST: u64 = 60;

/// Libraries whose code is not unwound from: a signal may have caught them holding a lock.
const BLOCKED: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];

/// Samples for so many seconds.
///
/// # Errors
/// Another profile is being made, or the kernel does not let a timer be set.
pub(super) async fn profile(seconds: Option<u64>) -> Result<String, String> {
    let time = Duration::from_secs(seconds.unwrap_or(SECONDS).clamp(1, MOST));
    let guard = ProfilerGuardBuilder::default().frequency(FREQUENCY).blocklist(&BLOCKED).build();
    let guard = guard.map_err(|error| error.to_string())?;
    tokio::time::sleep(time).await;
    // Names are looked up in the program's file.
    let folded = tokio::task::spawn_blocking(move || guard.report().build().map(|report| folded(&report)));
    folded.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

fn folded(report: &Report) -> String {
    let mut stacks: BTreeMap<String, isize> = BTreeMap::new();
    for (frames, count) in &report.data {
        let mut stack = frames.thread_name.replace(';', ":");
        // Each frame may stand for several functions: those that were inlined into it come first.
        for symbol in frames.frames.iter().rev().flat_map(|frame| frame.iter().rev()) {
            stack.push(';');
            stack.push_str(&symbol.name().replace([';', '\n'], ":"));
        }
        *stacks.entry(stack).or_default() += count;
    }
    let mut text = String::new();
    for (stack, count) in stacks {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{stack} {count}");
    }
    text
}

/// What tokio and the kernel know of the process.
pub(super) fn runtime() -> Value {
    let metrics = Handle::current().metrics();
    let workers = (0..metrics.num_workers()).map(|worker| {
        json!({
            "BusySeconds": metrics.worker_total_busy_duration(worker).as_secs_f64(),
            "Parked": metrics.worker_park_count(worker),
        })
    });
    json!({
        "Workers": workers.collect::<Vec<_>>(),
        "Tasks": metrics.num_alive_tasks(),
        "TasksWaitingInGlobalQueue": metrics.global_queue_depth(),
        "Process": process(),
    })
}

/// Numbers of `/proc/self/status`, where there is one.
fn process() -> Value {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let rest = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    json!({
        "ResidentKiB": of("VmRSS"),
        "MostResidentKiB": of("VmHWM"),
        "HeapKiB": of("VmData"),
        "Threads": of("Threads"),
        "OpenFiles": files,
        "WaitsGivenUp": of("voluntary_ctxt_switches"),
        "Preempted": of("nonvoluntary_ctxt_switches"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_runtime_is_told() {
        let told = runtime();
        assert!(told["Workers"].is_array() && told["Process"]["Threads"].as_u64() > Some(0), "{told}");
    }
}
