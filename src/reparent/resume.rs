//! How is a switch brought to its end that was cut off half-way?
//!
//! It shows in the servers: either the topology's primary refuses writes and another server takes them,
//! which then only has to be written down, or the wanted primary is the primary and lacks the rest of its
//! role. The latter is also how a replica takes over from a primary that has died, once a person has
//! recorded it: it must have what any of the servers that are left has.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::planned::{Member, Plan, Record, Switched, follow};
use super::{Step, StepError};

/// The wanted primary is the primary already, in the records: a switch that was cut off is brought to its
/// end, or the server takes over from one that has died.
pub(super) async fn finish(
    mut members: Vec<Member<'_>>,
    primary: usize,
    plan: &Plan,
    record: &dyn Record,
) -> Step<Switched> {
    let started = Instant::now();
    if members[primary].server.is_read_only().await? {
        if let Err(error) = gather_all(&mut members, primary, plan).await {
            for member in &mut members {
                // One that has no source says so.
                let _ = member.server.go_on_following().await;
            }
            return Err(error);
        }
        let others = members.len() > 1;
        let server = &mut members[primary].server;
        // What it acknowledged itself is acknowledged to it, where somebody is left who can.
        let waits = others && server.is_semi_sync_replica().await?;
        server.forget_source().await?;
        server.semi_sync(waits, false).await?;
        record.is_held().map_err(|detail| fault(&members[primary], detail))?;
        members[primary].server.accept_writes().await?;
    } else if members[primary].server.has_source().await? {
        members[primary].server.forget_source().await?;
    }
    let position = members[primary].server.position().await?;
    let without_primary = started.elapsed();
    let (mut members, primary, strays) = without_strays(members, primary).await?;
    let mut not_following = follow(&mut members, primary, plan).await;
    not_following.extend(strays);
    Ok(Switched {
        primary: members[primary].tablet.alias.clone(),
        old_primary: None,
        position,
        without_primary,
        parts: Vec::new(),
        not_following,
    })
}

/// The coming primary applies what it has received, and has what any other server has: a transaction that
/// was acknowledged is on one of them.
async fn gather_all(members: &mut [Member<'_>], primary: usize, plan: &Plan) -> Step<()> {
    for member in members.iter_mut() {
        if !member.server.is_read_only().await? {
            let detail = "it takes writes, and is not the primary: let it refuse them first";
            return Err(fault(member, detail.to_owned()));
        }
    }
    for member in members.iter_mut() {
        if member.server.has_source().await? {
            member.server.stop_receiving().await?;
        }
    }
    let limit = plan.wait_replicas_timeout;
    let received = members[primary].server.received().await?;
    if !received.is_empty() && !members[primary].server.wait_for(&received, limit).await? {
        let detail = format!("it does not apply what it has received within {limit:?}");
        return Err(fault(&members[primary], detail));
    }
    let own = members[primary].server.position().await?;
    for at in (0..members.len()).filter(|at| *at != primary) {
        for theirs in [members[at].server.position().await?, members[at].server.received().await?] {
            if !members[primary].server.has_all(&own, &theirs).await? {
                let detail = format!(
                    "{} has transactions that it lacks. Nothing was changed. Make that one the primary: record it \
                     with TabletExternallyReparented, and ask again",
                    members[at].tablet.alias
                );
                return Err(fault(&members[primary], detail));
            }
        }
    }
    Ok(())
}

/// How often a position is read again.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// For how long a primary may not know of what a replica has: it commits after the acknowledgement.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// Leaves out servers with transactions that the primary does not have, such as one that died with writes
/// that nobody had acknowledged: they cannot follow it.
async fn without_strays(
    mut members: Vec<Member<'_>>,
    primary: usize,
) -> Step<(Vec<Member<'_>>, usize, Vec<String>)> {
    let mut strays = Vec::new();
    let mut left = Vec::new();
    for at in (0..members.len()).filter(|at| *at != primary) {
        let theirs = members[at].server.position().await?;
        let end = Instant::now() + ON_ITS_WAY;
        loop {
            let own = members[primary].server.position().await?;
            if members[primary].server.has_all(&own, &theirs).await? {
                break;
            }
            if Instant::now() > end {
                let (stray, primary) = (&members[at].tablet.alias, &members[primary].tablet.alias);
                strays.push(format!(
                    "{stray}: it has transactions that {primary} does not have, and cannot follow it; make it anew \
                     from a copy of another server"
                ));
                left.push(at);
                // It may have been a primary. No gate writes there, and nobody else should.
                let _ = members[at].server.refuse_writes().await;
                break;
            }
            sleep(LOOK_INTERVAL).await;
        }
    }
    let mut at = 0;
    members.retain(|_| {
        at += 1;
        !left.contains(&(at - 1))
    });
    let before = left.iter().filter(|at| **at < primary).count();
    Ok((members, primary - before, strays))
}

fn fault(member: &Member<'_>, detail: String) -> StepError {
    StepError { server: member.tablet.alias.to_string(), step: "taking over", detail }
}

/// The server to which an earlier switch got that was cut off before it was written down: the topology's
/// primary refuses writes, and this one takes them.
pub(super) async fn cut_off(members: &mut [Member<'_>], old: usize, plan: &Plan) -> Step<Option<usize>> {
    if !members[old].server.is_read_only().await? {
        return Ok(None);
    }
    let mut found = None;
    for at in (0..members.len()).filter(|at| *at != old) {
        if !members[at].server.is_read_only().await? {
            let fault = |detail: String| StepError {
                server: members[at].tablet.alias.to_string(),
                step: "choosing",
                detail,
            };
            if let Some(other) = found.replace(at) {
                let other: &Member<'_> = &members[other];
                return Err(fault(format!("it takes writes, and {} does too", other.tablet.alias)));
            }
            if plan.new_primary.as_ref().is_some_and(|wanted| *wanted != members[at].tablet.alias) {
                return Err(fault(
                    "a switch to this server was cut off; bring it to its end first".to_owned(),
                ));
            }
        }
    }
    let Some(new) = found else { return Ok(None) };
    let (theirs, position) = (members[old].server.position().await?, members[new].server.position().await?);
    if members[new].server.has_all(&position, &theirs).await? {
        return Ok(Some(new));
    }
    let detail = format!(
        "it takes writes, and does not have what {} has executed: {theirs}",
        members[old].tablet.alias
    );
    Err(StepError { server: members[new].tablet.alias.to_string(), step: "choosing", detail })
}

/// A switch that was cut off after its new primary took writes is brought to its end.
pub(super) async fn complete(
    mut members: Vec<Member<'_>>,
    (old, new): (usize, usize),
    plan: &Plan,
    record: &dyn Record,
) -> Step<Switched> {
    let started = Instant::now();
    let position = members[new].server.position().await?;
    record.record(members[new].tablet, Some(members[old].tablet)).await.map_err(|detail| StepError {
        server: members[new].tablet.alias.to_string(),
        step: "recording the new primary",
        detail,
    })?;
    let without_primary = started.elapsed();
    let not_following = follow(&mut members, new, plan).await;
    members[new].server.forget_source().await?;
    Ok(Switched {
        primary: members[new].tablet.alias.clone(),
        old_primary: Some(members[old].tablet.alias.clone()),
        position,
        without_primary,
        parts: Vec::new(),
        not_following,
    })
}
