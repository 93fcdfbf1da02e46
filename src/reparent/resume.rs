//! How is a switch brought to its end that was cut off half-way?
//!
//! It shows in the servers: either the topology's primary refuses writes and another server takes them,
//! which then only has to be written down, or the wanted primary is the primary and lacks the rest of its
//! role.

use tokio::time::Instant;

use super::planned::{Member, Plan, Record, Switched, follow};
use super::{Step, StepError};

/// The wanted primary is the primary already: a switch that was cut off is brought to its end.
pub(super) async fn finish(mut members: Vec<Member<'_>>, primary: usize, plan: &Plan) -> Step<Switched> {
    let started = Instant::now();
    let server = &mut members[primary].server;
    if server.has_source().await? {
        server.forget_source().await?;
    }
    if server.is_read_only().await? {
        server.accept_writes().await?;
    }
    let position = server.position().await?;
    let without_primary = started.elapsed();
    let not_following = follow(&mut members, primary, plan).await;
    let alias = members[primary].tablet.alias.clone();
    Ok(Switched {
        primary: alias,
        old_primary: None,
        position,
        without_primary,
        parts: Vec::new(),
        not_following,
    })
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
