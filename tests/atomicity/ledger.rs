//! What was each client told of its transfers, and does the money agree?

use crate::bed::{Bed, Gate};
use crate::wire::{Wire, WireError};

/// What the client knows of one transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// COMMIT was answered with OK, and so many warnings.
    Ok(u16),
    /// An error that says: rolled back.
    Failed(u16, String),
    /// 303, with the id.
    Unknown(String),
    /// The connection broke while COMMIT was on its way, or the one writing shard's.
    Lost,
    /// It never came to COMMIT.
    NotTried,
}

/// A transfer and its end.
#[derive(Debug, Clone)]
pub struct Entry {
    pub t: String,
    pub told: Told,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Faults {
    pub torn: Vec<String>,
    pub lost: Vec<String>,
    pub ghosts: Vec<String>,
    pub unanswered: Vec<String>,
    pub total: i64,
}

/// Moves `amount` from the first account to the others in equal parts, and writes each part down.
pub fn transfer(wire: &mut Wire, t: &str, accounts: &[u64], amount: i64) -> Result<(), WireError> {
    let others = i64::try_from(accounts.len() - 1).expect("small");
    for (at, id) in accounts.iter().enumerate() {
        let delta = if at == 0 { -amount * others } else { amount };
        wire.ok(format!("UPDATE account SET balance = balance + {delta} WHERE id = {id}"))?;
        wire.ok(format!(
            "INSERT INTO led (id, t, delta, parts) VALUES ({id}, '{t}', {delta}, {})",
            accounts.len()
        ))?;
    }
    Ok(())
}

/// What an answer to COMMIT means. `writers` is how many shards wrote.
pub fn told(answer: Result<crate::wire::OkPacket, WireError>, writers: usize) -> Told {
    match answer {
        Ok(ok) => Told::Ok(ok.warnings),
        Err(error) => match error.server() {
            None => Told::Lost,
            Some(error) if error.code == 303 => {
                let id = error.message.split('\'').nth(1).unwrap_or_default();
                Told::Unknown(id.to_owned())
            }
            // One shard alone: the doubt of any single server.
            Some(error) if error.code == 1430 && writers == 1 => Told::Lost,
            Some(error) => Told::Failed(error.code, error.message.clone()),
        },
    }
}

/// Compares what clients were told with what the servers hold. Nothing is prepared any more.
pub fn check(bed: &Bed, gate: &Gate, entries: &[Entry]) -> Faults {
    let ledger = bed.ledger();
    let mut faults = Faults { total: bed.total(), ..Faults::default() };
    for (t, (sum, rows, parts)) in &ledger {
        if *sum != 0 || rows != parts {
            faults.torn.push(format!("{t}: {rows} of {parts} rows, sum {sum}"));
        }
    }
    let mut wire = gate.connect().expect("the gate serves");
    for Entry { t, told } in entries {
        let there = ledger.contains_key(t);
        match told {
            Told::Ok(_) if !there => faults.lost.push(t.clone()),
            Told::Failed(code, text) if there => faults.ghosts.push(format!("{t}: {code} {text}")),
            Told::NotTried if there => faults.ghosts.push(format!("{t}: without COMMIT")),
            Told::Unknown(dtid) => {
                let row = wire.rows(format!("SHOW TRANSACTION STATUS FOR '{dtid}'"));
                let state = row.ok().and_then(|rows| rows.first()?[1].clone());
                let right = if there { "COMMIT" } else { "ROLLBACK" };
                if state.as_deref() != Some(right) {
                    faults.unanswered.push(format!("{t} ({dtid}): {state:?} but {right}"));
                }
            }
            _ => {}
        }
    }
    faults
}

// === impl Faults ===

impl Faults {
    /// # Panics
    /// Where there is any.
    pub fn must_be_none(&self) {
        assert!(
            self.torn.is_empty()
                && self.lost.is_empty()
                && self.ghosts.is_empty()
                && self.unanswered.is_empty()
                && self.total == Bed::expected_total(),
            "{self:#?}, expected a total of {}",
            Bed::expected_total()
        );
    }
}
