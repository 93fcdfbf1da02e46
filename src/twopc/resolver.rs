//! Who looks for transactions that their gate left unfinished?
//!
//! Every gate, every few seconds, on every primary. A branch that has been prepared for longer than the
//! abandon age is brought to its end. Nothing is remembered but when a branch was first seen.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::resolve::{Finished, Found, Scan, Undecided};
use super::sidecar::{self, Participant, Verdict};
use super::xid::{Dtid, ShardId, Xid};
use super::{TwoPc, locked, now_ms};

/// How often old decisions are removed, and readiness is asked for again.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// How many old decisions one round removes per shard.
const BATCH: usize = 500;

/// How often a transaction that cannot be finished is named in the log.
const REPEAT: Duration = Duration::from_secs(60);

/// How soon after a session gave a transaction up recovery looks: the servers see closed connections
/// a moment later.
const AFTER_ABANDON: Duration = Duration::from_millis(250);

/// For how long a transaction that was given up may still get a prepared branch: its server had the
/// PREPARE already, and answers to nobody.
const LATE_PREPARE: Duration = Duration::from_secs(60);

/// Looks for abandoned transactions.
#[derive(Debug)]
pub struct Resolver {
    twopc: Arc<TwoPc>,
    first_seen: HashMap<Xid, Instant>,
    /// When a transaction that stays was last named in the log.
    named: HashMap<Dtid, Instant>,
    /// Servers that did not answer last time, so that the log tells once.
    silent: HashSet<String>,
    kept_house: Option<Instant>,
}

/// What one round found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Branches that were committed.
    pub committed: usize,
    /// Branches that were rolled back.
    pub rolled_back: usize,
    /// Prepared branches that are left.
    pub left: usize,
    /// Branches that should have committed and were gone.
    pub torn: usize,
    /// Branches that name a shard which is not there.
    pub strangers: usize,
    /// Servers that did not answer, and why.
    pub silent: Vec<String>,
    /// Why branches are left, one line each.
    pub reasons: Vec<String>,
}

// === impl Resolver ===

impl Resolver {
    /// Has seen nothing yet.
    #[must_use]
    pub fn new(twopc: Arc<TwoPc>) -> Self {
        Self {
            twopc,
            first_seen: HashMap::new(),
            named: HashMap::new(),
            silent: HashSet::new(),
            kept_house: None,
        }
    }

    /// Looks until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let (age, twopc) = (self.twopc.config.abandon_age, Arc::clone(&self.twopc));
            let pause = tokio::select! {
                () = stop.cancelled() => return,
                _ = self.round(age) => self.pause(age),
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
                () = twopc.wake.notified() => sleep(AFTER_ABANDON).await,
            }
        }
    }

    /// For the command line: looks, and finishes what stays prepared for `age`. Ends when nothing is
    /// left that could be finished, or after `patience`.
    pub async fn run_once(mut self, age: Duration, patience: Duration) -> Report {
        let end = Instant::now() + patience;
        let mut total = Report::default();
        loop {
            let round = self.round(age).await;
            let report = Report {
                committed: total.committed + round.committed,
                rolled_back: total.rolled_back + round.rolled_back,
                torn: total.torn + round.torn,
                ..round
            };
            if report.left == 0 || Instant::now() >= end {
                return report;
            }
            total = report;
            sleep(Ord::min(self.pause(age), Duration::from_secs(1))).await;
        }
    }

    /// Until the next round: the usual time with some jitter, or when the oldest branch is of age.
    fn pause(&self, age: Duration) -> Duration {
        let usual = self.twopc.config.scan_interval.mul_f64(rand::random_range(0.8..1.2));
        let now = Instant::now();
        let due = self.first_seen.values().map(|seen| (*seen + age).saturating_duration_since(now));
        // What is of age already and still there waits for the usual time.
        due.filter(|wait| !wait.is_zero()).min().map_or(usual, |wait| Ord::min(wait, usual))
    }

    /// Looks once, and finishes what is of age.
    pub async fn round(&mut self, age: Duration) -> Report {
        let twopc = Arc::clone(&self.twopc);
        let given_up: HashSet<Dtid> = locked(&twopc.abandoned).keys().cloned().collect();
        let scan = twopc.scan().await;
        self.tell_silent(&scan);
        let now = Instant::now();
        let found: HashSet<&Xid> = scan.found.iter().map(|found| &found.xid).collect();
        if scan.silent.is_empty() {
            self.first_seen.retain(|xid, _| found.contains(xid));
            locked(&twopc.abandoned).retain(|dtid, since| {
                since.elapsed() < LATE_PREPARE || scan.found.iter().any(|found| found.xid.dtid == *dtid)
            });
        }
        for xid in found {
            self.first_seen.entry(xid.clone()).or_insert(now);
        }
        let is_due = |found: &&Found| {
            let dtid = &found.xid.dtid;
            let seen = self.first_seen.get(&found.xid).copied().unwrap_or(now);
            !twopc.is_live(dtid) && (given_up.contains(dtid) || now.duration_since(seen) >= age)
        };
        let mut due: BTreeMap<ShardId, BTreeMap<&Dtid, Vec<&Found>>> = BTreeMap::new();
        for found in scan.found.iter().filter(is_due) {
            let anchor = found.xid.dtid.anchor();
            due.entry(anchor).or_default().entry(&found.xid.dtid).or_default().push(found);
        }
        // One anchor after the other would wait for each that is down.
        let parts = join_all(due.into_values().map(|transactions| finish_all(&twopc, transactions))).await;
        let mut report =
            Report { left: scan.found.len(), strangers: scan.strangers.len(), ..Report::default() };
        let mut stuck = Vec::new();
        for part in parts {
            report.committed += part.committed;
            report.rolled_back += part.rolled_back;
            report.torn += part.torn.len();
            report.left -= part.committed + part.rolled_back + part.torn.len();
            stuck.extend(part.stuck);
            for xid in part.gone {
                self.first_seen.remove(&xid);
            }
        }
        report.silent = scan.silent.iter().map(|(tablet, why)| format!("{}: {why}", tablet.alias)).collect();
        report.reasons = stuck.iter().map(|(dtid, why)| format!("{dtid}: {why}")).collect();
        self.publish(&report, &stuck, &scan, age);
        if self.kept_house.is_none_or(|last| last.elapsed() >= HOUSEKEEPING) {
            self.keep_house(&scan).await;
        }
        report
    }

    fn tell_silent(&mut self, scan: &Scan) {
        self.twopc.metrics.twopc.silent_servers.set(gauge(scan.silent.len()));
        let silent: HashSet<String> =
            scan.silent.iter().map(|(tablet, why)| format!("{}: {why}", tablet.alias)).collect();
        for server in silent.difference(&self.silent) {
            tracing::warn!(server, "prepared branches cannot be listed");
        }
        self.silent = silent;
    }

    fn publish(&mut self, report: &Report, stuck: &[(Dtid, String)], scan: &Scan, age: Duration) {
        let metrics = &self.twopc.metrics.twopc;
        metrics.committed_branches.inc_by(report.committed as u64);
        metrics.rolled_back_branches.inc_by(report.rolled_back as u64);
        metrics.strangers.set(gauge(report.strangers));
        let old = |xid: &Xid| self.first_seen.get(xid).is_some_and(|seen| seen.elapsed() >= age);
        let in_doubt: Vec<&Xid> = scan.found.iter().map(|found| &found.xid).filter(|xid| old(xid)).collect();
        let transactions: HashSet<&Dtid> = in_doubt.iter().map(|xid| &xid.dtid).collect();
        metrics.unresolved_branches.set(gauge(in_doubt.len()));
        metrics.unresolved_transactions.set(gauge(transactions.len()));
        let oldest = self.first_seen.values().map(Instant::elapsed).max().unwrap_or_default();
        metrics.oldest_seconds.set(i64::try_from(oldest.as_secs()).unwrap_or(i64::MAX));
        self.named.retain(|dtid, _| stuck.iter().any(|(other, _)| other == dtid));
        for (dtid, why) in stuck {
            if self.named.get(dtid).is_none_or(|last| last.elapsed() >= REPEAT) {
                tracing::error!(%dtid, why, "a distributed transaction is in doubt, and its rows are locked");
                self.named.insert(dtid.clone(), Instant::now());
            }
        }
        for xid in &scan.strangers {
            if self.named.get(&xid.dtid).is_none_or(|last| last.elapsed() >= REPEAT) {
                tracing::error!(dtid = %xid.dtid, shard = %xid.shard, "a prepared branch names a shard that is not there");
                self.named.insert(xid.dtid.clone(), Instant::now());
            }
        }
    }

    /// Removes old decisions, and asks shards again whether they may take part.
    async fn keep_house(&mut self, scan: &Scan) {
        self.kept_house = Some(Instant::now());
        let twopc = Arc::clone(&self.twopc);
        let directory = twopc.directory.load_full();
        for (id, shard) in directory.shards() {
            if twopc.config.eager || twopc.is_known(id) {
                // The refusal is logged and counted where it is found.
                drop(twopc.check(shard).await);
            }
        }
        // A decision goes only while every server says that none of its branches is left.
        if !scan.silent.is_empty() {
            return;
        }
        let listed: HashSet<&Dtid> = scan
            .found
            .iter()
            .map(|found| &found.xid.dtid)
            .chain(scan.strangers.iter().map(|xid| &xid.dtid))
            .collect();
        let kept = u64::try_from(twopc.config.retention.as_millis()).unwrap_or(u64::MAX);
        let before = now_ms().saturating_sub(kept);
        for (id, shard) in directory.shards().filter(|(id, _)| twopc.is_known(*id)) {
            let Some(tablet) = shard.primary() else { continue };
            let Ok(rows) = twopc.links.ask(tablet, &sidecar::select_old(id, before, BATCH)).await else {
                continue;
            };
            let old: Vec<Dtid> = rows
                .iter()
                .filter_map(|row| Dtid::parse(std::str::from_utf8(row.first()?.as_deref()?).ok()?))
                .filter(|dtid| dtid.anchor() == id && !listed.contains(dtid))
                .collect();
            if !old.is_empty() {
                let dtids: Vec<&Dtid> = old.iter().collect();
                match twopc.links.ask(tablet, &sidecar::delete(id, &dtids)).await {
                    Ok(_) => twopc.metrics.twopc.purged.inc_by(old.len() as u64),
                    Err(error) => tracing::debug!(%error, "old decisions were not removed"),
                }
            }
        }
    }
}

/// What became of the transactions of one anchor.
#[derive(Default)]
struct Part {
    committed: usize,
    rolled_back: usize,
    torn: Vec<Xid>,
    gone: Vec<Xid>,
    stuck: Vec<(Dtid, String)>,
}

async fn finish_all(twopc: &TwoPc, transactions: BTreeMap<&Dtid, Vec<&Found>>) -> Part {
    let mut part = Part::default();
    let mut down: Option<String> = None;
    for (dtid, branches) in transactions {
        if let Some(reason) = &down {
            part.stuck.push((dtid.clone(), reason.clone()));
            continue;
        }
        let witness = branches.first().map(|found| Participant { shard: found.xid.shard, changed: false });
        let decision = match twopc.decide(dtid, witness).await {
            Ok(decision) => decision,
            Err(error) => {
                // A locked row concerns this transaction; a silent anchor concerns all.
                if matches!(&error, Undecided::UnknownAnchor(_)) {
                    down = Some(error.to_string());
                }
                part.stuck.push((dtid.clone(), error.to_string()));
                continue;
            }
        };
        let finished = join_all(branches.iter().map(async |found| {
            let deadline = super::link::DEADLINE * 2;
            let finished = timeout(deadline, twopc.finish(&found.xid, &found.tablet, &decision)).await;
            finished.unwrap_or_else(|_| Finished::Later("no answer in time".to_owned()))
        }));
        for (found, finished) in branches.iter().zip(finished.await) {
            let shard = found.shard.full_name();
            match finished {
                Finished::Done => {
                    tracing::info!(%dtid, shard, verdict = ?decision.verdict, "a branch was finished");
                    match decision.verdict {
                        Verdict::Commit => part.committed += 1,
                        Verdict::Abort => part.rolled_back += 1,
                    }
                    part.gone.push(found.xid.clone());
                }
                Finished::Later(why) => part.stuck.push((dtid.clone(), format!("{shard}: {why}"))),
                Finished::Torn(why) => {
                    tracing::error!(%dtid, shard, why, "INTEGRITY: a branch of a committed transaction was lost");
                    twopc.metrics.twopc.integrity_errors.inc();
                    part.torn.push(found.xid.clone());
                    part.gone.push(found.xid.clone());
                }
            }
        }
    }
    part
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
