//! Which distributed transactions are in doubt, and how does an operator decide one by hand?
//!
//! `DistributedTransaction unresolved-list` and `conclude` are called as in `vtctldclient`; `list` is
//! another name of the first. `conclude --decision` is for the one case that recovery cannot settle,
//! an anchor shard that will not come back as it was: elsewhere the decision is already written, and
//! a different one is refused.

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::{Answer, Failure};
use crate::config::Config;
use crate::server::resolve::Recovery;
use crate::twopc::{TransactionStatus, Verdict};

/// What is asked about distributed transactions.
#[derive(Debug, Subcommand)]
pub enum DistributedTransaction {
    /// Lists the transactions with prepared branches, those that a gate is committing at this moment
    /// included.
    #[command(name = "unresolved-list", alias = "list")]
    UnresolvedList {
        /// Only those that touch this keyspace.
        #[arg(long)]
        keyspace: Option<String>,
    },
    /// Shows what became of a transaction.
    #[command(name = "get-info", alias = "status")]
    GetInfo {
        /// The id of the transaction.
        #[arg(long)]
        dtid: String,
    },
    /// Brings a transaction to its end now: as it was decided, or by rolling it back.
    Conclude {
        /// The id of the transaction.
        #[arg(long)]
        dtid: String,
        /// What to decide where nothing is decided. Refused where the decision is another one.
        #[arg(long)]
        decision: Option<Decision>,
    },
}

/// The two ends of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Decision {
    /// On all shards.
    Commit,
    /// On none.
    Rollback,
}

pub(super) async fn run(config: &Config, command: DistributedTransaction) -> Answer {
    let recovery = Recovery::new(config).await.map_err(Failure::Run)?;
    let twopc = &recovery.twopc;
    match command {
        DistributedTransaction::UnresolvedList { keyspace } => {
            if let Some(name) = &keyspace
                && !twopc.has_keyspace(name)
            {
                return Err(Failure::Run(format!("the topology has no keyspace {name}")));
            }
            let all = twopc.unresolved(keyspace.as_deref()).await?;
            Ok(json!({ "transactions": all.iter().map(shown).collect::<Vec<_>>() }))
        }
        DistributedTransaction::GetInfo { dtid } => Ok(shown(&twopc.status(&dtid).await?)),
        DistributedTransaction::Conclude { dtid, decision } => {
            let verdict = decision.map(Decision::verdict);
            Ok(shown(&twopc.conclude(&dtid, verdict).await?))
        }
    }
}

fn shown(status: &TransactionStatus) -> Value {
    json!({
        "dtid": status.dtid,
        "state": status.state,
        "record_time": status.record_time(),
        "participants": status.participants,
    })
}

// === impl Decision ===

impl Decision {
    fn verdict(self) -> Verdict {
        match self {
            Self::Commit => Verdict::Commit,
            Self::Rollback => Verdict::Abort,
        }
    }
}
