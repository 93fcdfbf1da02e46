//! Which server does the gate look like to its clients?
//!
//! Clients choose system variables, metadata queries and authentication by the version in the
//! greeting, so it follows the servers behind the gate: the lowest of their versions, with the
//! gate's name behind it.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::Pools;
use crate::topology::{Snapshot, TabletType};

/// What the greeting says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Persona {
    /// The version text of the greeting.
    pub greeting: String,
    /// The version as in `/*!80400 … */`.
    pub number: u32,
    /// Whether it is MariaDB's.
    pub mariadb: bool,
}

/// What clients are told when no server can be asked.
const UNKNOWN: &str = "8.4.6";

// === impl Persona ===

impl Persona {
    /// The persona that an operator asked for, word by word.
    #[must_use]
    pub fn told(greeting: &str) -> Self {
        let own = greeting.strip_prefix("5.5.5-").unwrap_or(greeting);
        Self { greeting: greeting.to_owned(), number: number(own), mariadb: own.contains("MariaDB") }
    }

    /// The persona for a server of this version.
    #[must_use]
    pub fn of_server(version: &str, mariadb: bool) -> Self {
        let plain: String = version.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        let number = number(&plain);
        let greeting = match (mariadb, number) {
            // Up to 10.11 MariaDB puts this in front: replication of old servers wanted a 5.
            (true, ..110_000) => format!("5.5.5-{plain}-MariaDB-shardgate"),
            (true, _) => format!("{plain}-MariaDB-shardgate"),
            (false, _) => format!("{plain}-shardgate"),
        };
        Self { greeting, number, mariadb }
    }

    /// Asks every primary, and takes the lowest version; servers that do not answer in time have no
    /// say.
    pub async fn probe(pools: &Arc<Pools>, topology: &Snapshot, deadline: Duration) -> Self {
        let shards = topology.keyspaces.values().flat_map(|keyspace| &keyspace.shards);
        let primaries =
            shards.flat_map(|shard| &shard.tablets).filter(|tablet| tablet.kind == TabletType::Primary);
        let baseline = pools.settings().baseline();
        let asked = primaries.map(|tablet| {
            let pools = Arc::clone(pools);
            let baseline = Arc::clone(&baseline);
            async move {
                match tokio::time::timeout(deadline, pools.lease(tablet, false, &baseline)).await {
                    Ok(Ok(lease)) => {
                        Some(Self::of_server(&lease.server().version, lease.server().is_mariadb))
                    }
                    Ok(Err(error)) => {
                        tracing::warn!(tablet = %tablet.alias, %error, "a server cannot be reached");
                        None
                    }
                    Err(_) => {
                        tracing::warn!(tablet = %tablet.alias, "a server does not answer");
                        None
                    }
                }
            }
        });
        let answers = futures_util::future::join_all(asked).await;
        let lowest = answers.into_iter().flatten().min_by_key(|persona| persona.number);
        lowest.unwrap_or_else(|| Self::of_server(UNKNOWN, false))
    }
}

/// `8.4.6` is 80406; `10.11.19` is 101119.
fn number(version: &str) -> u32 {
    let mut parts = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = |limit: u32| parts.next().unwrap_or(0).min(limit);
    next(999) * 10_000 + next(99) * 100 + next(99)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_follows_the_server() {
        let mysql = Persona::of_server("9.7.4-2", false);
        assert_eq!((mysql.greeting.as_str(), mysql.number), ("9.7.4-shardgate", 90_704));
        let maria = Persona::of_server("10.11.19-MariaDB-0+deb12u1", true);
        assert_eq!((maria.greeting.as_str(), maria.number), ("5.5.5-10.11.19-MariaDB-shardgate", 101_119));
        let new = Persona::of_server("11.4.2-MariaDB", true);
        assert_eq!(new.greeting, "11.4.2-MariaDB-shardgate");
    }

    #[test]
    fn an_operator_may_choose() {
        let told = Persona::told("5.5.5-10.6.1-MariaDB");
        assert_eq!((told.number, told.mariadb), (100_601, true));
        assert_eq!(Persona::told("8.0.46-x").number, 80_046);
        assert_eq!(Persona::told("").number, 0);
    }
}
