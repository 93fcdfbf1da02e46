//! What is the smallest statement that still differs?
//!
//! Steps of [`Statement::smaller`] are taken as long as the result differs in the same way, which is
//! more than differing at all: a wrong row must not shrink into a wrong flag.

use super::piece::Statement;
use super::send;
use crate::arena::Pair;
use crate::judge::Verdict;

/// How many statements may be tried.
const PATIENCE: usize = 400;

/// What kind of difference it is: its words without numbers and values.
fn kind(difference: &str) -> &'static str {
    if difference.contains("Column {") {
        "definitions"
    } else if difference.contains("ERROR") {
        "error"
    } else if difference.contains("rows, directly") {
        "rows"
    } else {
        "other"
    }
}

/// Shrinks a query; gives the smallest found and its difference.
pub fn query(
    pair: &mut Pair,
    statement: &Statement,
    fresh: impl Fn() -> Result<Pair, String>,
) -> Result<(Statement, String), String> {
    let mut differs = |statement: &Statement| -> Result<Option<String>, String> {
        match send(pair, statement) {
            Ok(Verdict::Differ(difference)) => Ok(Some(difference)),
            Ok(_) => Ok(None),
            Err(error) => {
                *pair = fresh()?;
                Ok(Some(format!("the connection broke: {error}")))
            }
        }
    };
    let Some(mut difference) = differs(statement)? else {
        return Ok((statement.clone(), "not again: the second run agreed".into()));
    };
    let wanted = kind(&difference);
    let mut best = statement.clone();
    let mut left = PATIENCE;
    'again: loop {
        for smaller in best.smaller() {
            if left == 0 {
                break 'again;
            }
            left -= 1;
            if let Some(own) = differs(&smaller)?
                && kind(&own) == wanted
            {
                best = smaller;
                difference = own;
                continue 'again;
            }
        }
        break;
    }
    Ok((best, difference))
}

/// Shrinks a scenario whose last step differs: fewer steps first, then smaller ones.
pub fn scenario(
    steps: Vec<Statement>,
    mut play: impl FnMut(&[Statement]) -> Result<Vec<Verdict>, String>,
) -> Result<Vec<Statement>, String> {
    let mut differs = |steps: &[Statement]| -> Result<Option<(usize, &'static str)>, String> {
        let verdicts = play(steps)?;
        Ok(match verdicts.last() {
            Some(Verdict::Differ(difference)) => Some((verdicts.len(), kind(difference))),
            _ => None,
        })
    };
    let mut best = steps;
    let Some((_, wanted)) = differs(&best)? else { return Ok(best) };
    let mut left = PATIENCE / 4;
    'again: loop {
        let without = (0..best.len()).map(|at| {
            let mut fewer = best.clone();
            fewer.remove(at);
            fewer
        });
        let smaller = best.iter().enumerate().flat_map(|(at, step)| {
            let best = &best;
            step.smaller().into_iter().map(move |own| {
                let mut steps = best.clone();
                steps[at] = own;
                steps
            })
        });
        for mut candidate in without.chain(smaller).collect::<Vec<_>>() {
            if left == 0 {
                break 'again;
            }
            left -= 1;
            if let Some((length, own)) = differs(&candidate)?
                && own == wanted
            {
                candidate.truncate(length);
                best = candidate;
                continue 'again;
            }
        }
        break;
    }
    Ok(best)
}
