//! Which code points after a starter weigh together with it?
//!
//! The longest match wins. Marks between the starter and a later mark of a higher combining class do
//! not stand in the way: they are skipped and weighed after the contraction (UTS #10, S2.1).

use super::append as append_next;
use super::table::{self, Element, Node, Starter};

/// A skipped run of marks longer than a normalisation segment ends the search.
const SEGMENT_NON_STARTERS: u32 = 30;

/// A run of the automaton over what follows a starter.
struct Scan<'a> {
    /// What may be matched.
    text: &'a [u8],
    /// The nodes to try next.
    node: usize,
    count: usize,
    /// The best result so far, and where it ends.
    result: usize,
    end: usize,
    /// No longer match is possible.
    done: bool,
}

/// Appends the elements of the contraction that begins with the starter, then those of the marks that
/// were skipped inside it. Tells how many bytes of `rest` were used.
pub(super) fn append(starter: Starter, rest: &str, elements: &mut Vec<Element>) -> usize {
    let mut scan = Scan {
        text: rest.as_bytes(),
        node: starter.node,
        count: starter.count,
        result: 0,
        end: 0,
        done: false,
    };
    let reached = scan.run(0);
    let skipped = if scan.done { String::new() } else { skip_marks(&mut scan, rest, reached) };
    elements.extend(table::result(starter.result + scan.result));
    let mut marks = skipped.as_str();
    while !marks.is_empty() {
        let read = append_next(marks, elements);
        marks = &marks[read..];
    }
    scan.end
}

/// Goes on after `reached` where marks stand in the way, and gives those that the best match skips.
fn skip_marks<'a>(scan: &mut Scan<'a>, rest: &'a str, reached: usize) -> String {
    let mut between = String::new();
    let mut skipped = 0;
    let Some(first) = rest[reached..].chars().next() else { return between };
    let mut class = table::mark(first);
    if class.lead == 0 {
        return between;
    }
    let mut from = reached;
    let mut at = reached + first.len_utf8();
    scan.text = &rest.as_bytes()[..at + segment(&rest[at..])];
    while let (false, Some(point)) = (scan.done, rest[at..].chars().next()) {
        let mark = table::mark(point);
        if mark.lead == 0 || class.trail >= mark.lead {
            break;
        }
        class = mark;
        let end = scan.run(at);
        if end == at {
            at += point.len_utf8();
            continue;
        }
        between.push_str(&rest[from..at]);
        if scan.end == end {
            skipped = between.len();
        }
        (at, from) = (end, end);
    }
    between.truncate(skipped);
    between
}

/// The length of the marks at the start of a text, up to the most that one segment has.
fn segment(text: &str) -> usize {
    let mut marks = 0;
    for (at, point) in text.char_indices() {
        let own = u32::from(table::mark(point).non_starters);
        marks += own;
        if own == 0 || marks > SEGMENT_NON_STARTERS {
            return at;
        }
    }
    text.len()
}

// === impl Scan ===

impl Scan<'_> {
    /// Matches from `from` on. Gives the end of the last whole code point that led on, `from` if none
    /// did; the best result is kept in the scan.
    fn run(&mut self, from: usize) -> usize {
        let (mut at, mut reached) = (from, from);
        let (mut first, mut count, mut tried) = (self.node, self.count, 0);
        while tried < count {
            let Some(&byte) = self.text.get(at) else { break };
            let Node { low, high, next, result } = table::node(first + tried);
            let end = next == 0;
            if byte == low {
                at += 1;
                if result != Node::NO_RESULT {
                    (self.result, self.end) = (usize::from(result), at);
                }
                if end {
                    self.done = true;
                    return at;
                }
                first += count + usize::from(high);
                (count, tried) = (usize::from(next), 0);
                // Not in the middle of a code point.
                if self.text.get(at).is_none_or(|byte| byte & 0xC0 != 0x80) {
                    (self.node, self.count, reached) = (first, count, at);
                }
            } else if end && low < byte && byte <= high {
                self.done = true;
                (self.result, self.end) = (usize::from(byte - low) + usize::from(result), at + 1);
                return at + 1;
            } else {
                tried += 1;
            }
        }
        reached
    }
}
