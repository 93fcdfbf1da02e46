//! What does `weights.bin` say about a code point?
//!
//! The file's sections are described in `generate/main.go`. All numbers are little-endian. Pages of
//! 256 code points are shared, so that one value takes two look-ups.

/// A collation element, as far as the primary level needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element {
    /// The primary weight; 0 where the element has none.
    pub(super) primary: u32,
    /// The canonical combining class; 0 for a starter.
    pub(super) ccc: u8,
}

/// What is known about a code point alone.
pub(super) enum Entry {
    /// Nothing: a Hangul syllable, or an implicit weight.
    Implicit,
    /// One element.
    One(Element),
    /// Several elements.
    Sequence(Elements),
    /// It depends on what follows.
    Starter(Starter),
}

/// Where the contractions that begin with a code point are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Starter {
    /// The first node of the automaton.
    pub(super) node: usize,
    /// How many nodes are tried first.
    pub(super) count: usize,
    /// The result of no contraction; others follow.
    pub(super) result: usize,
}

/// One node of the contraction automaton: a byte or a range of bytes that may follow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    /// The byte, or the first of a range.
    pub(super) low: u8,
    /// At an end: the last byte of the range. Otherwise: how many nodes lie between the end of this
    /// node's group and the group that follows.
    pub(super) high: u8,
    /// How many nodes are tried next; 0 at an end.
    pub(super) next: u8,
    /// The result up to here, [`Node::NO_RESULT`] for none.
    pub(super) result: u8,
}

/// How a code point combines with its neighbours.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mark {
    /// The combining class of the first code point of its decomposition.
    pub(super) lead: u8,
    /// The combining class of the last.
    pub(super) trail: u8,
    /// How many code points at the start of its decomposition are no starters.
    pub(super) non_starters: u8,
}

/// The elements of a code point or contraction.
pub(super) type Elements = std::iter::Map<std::slice::Iter<'static, [u8; 4]>, fn(&[u8; 4]) -> Element>;

struct Sections {
    blocks: &'static [[u8; 2]],
    pages: &'static [[u8; 4]],
    elements: &'static [[u8; 4]],
    starters: &'static [[u8; 12]],
    nodes: &'static [[u8; 4]],
    results: &'static [[u8; 8]],
    marks: &'static [[u8; 16]],
    ideographs: &'static [[u8; 8]],
}

static SECTIONS: Sections = Sections::read(include_bytes!("weights.bin"));

// === impl Sections ===

impl Sections {
    const fn read(data: &'static [u8]) -> Self {
        let (counts, rest) = data.split_at(8 * 4);
        let (counts, _) = counts.as_chunks::<4>();
        let (blocks, rest) = rest.split_at(u32::from_le_bytes(counts[0]) as usize * 2);
        let (pages, rest) = rest.split_at(u32::from_le_bytes(counts[1]) as usize * 1024);
        let (elements, rest) = rest.split_at(u32::from_le_bytes(counts[2]) as usize * 4);
        let (starters, rest) = rest.split_at(u32::from_le_bytes(counts[3]) as usize * 12);
        let (nodes, rest) = rest.split_at(u32::from_le_bytes(counts[4]) as usize * 4);
        let (results, rest) = rest.split_at(u32::from_le_bytes(counts[5]) as usize * 8);
        let (marks, ideographs) = rest.split_at(u32::from_le_bytes(counts[6]) as usize * 16);
        Self {
            blocks: blocks.as_chunks().0,
            pages: pages.as_chunks().0,
            elements: elements.as_chunks().0,
            starters: starters.as_chunks().0,
            nodes: nodes.as_chunks().0,
            results: results.as_chunks().0,
            marks: marks.as_chunks().0,
            ideographs: ideographs.as_chunks().0,
        }
    }
}

// === impl Node ===

impl Node {
    /// No contraction ends here.
    pub(super) const NO_RESULT: u8 = 0xFF;
}

/// What is known about a code point alone.
pub(super) fn entry(point: char) -> Entry {
    let point = u32::from(point) as usize;
    let page = usize::from(u16::from_le_bytes(SECTIONS.blocks[point >> 8]));
    let value = u32::from_le_bytes(SECTIONS.pages[page << 8 | point & 0xFF]);
    let number = |mask: u32| (value & mask) as usize;
    match value >> 29 {
        0 => Entry::Implicit,
        1 => Entry::One(Element { primary: value & 0x1F_FFFF, ccc: (value >> 21).to_le_bytes()[0] }),
        2 => {
            let (start, count) = (number(0xF_FFFF), number(0x1FF0_0000) >> 20);
            Entry::Sequence(elements(start, count))
        }
        _ => {
            let [node, count, result] = three(&SECTIONS.starters[number(0xF_FFFF)]);
            Entry::Starter(Starter { node, count, result })
        }
    }
}

/// One node of the automaton.
pub(super) fn node(at: usize) -> Node {
    let [low, high, next, result] = SECTIONS.nodes[at];
    Node { low, high, next, result }
}

/// The elements of a contraction's result.
pub(super) fn result(at: usize) -> Elements {
    let [start, count] = two(SECTIONS.results[at]);
    elements(start, count)
}

/// How a code point combines with its neighbours.
pub(super) fn mark(point: char) -> Mark {
    let found = SECTIONS.marks.binary_search_by_key(&u32::from(point), first);
    found.map_or_else(
        |_| Mark::default(),
        |at| {
            let mark = &SECTIONS.marks[at];
            Mark { lead: mark[4], trail: mark[8], non_starters: mark[12] }
        },
    )
}

/// The weight of a code point that the table does not know: its number above an offset that keeps
/// common ideographs, rare ideographs and everything else apart.
pub(super) fn implicit(point: char) -> u32 {
    let number = u32::from(point);
    let at = SECTIONS.ideographs.partition_point(|range| first(range) <= number);
    let ideograph = at > 0 && number as usize <= two(SECTIONS.ideographs[at - 1])[1];
    match (ideograph, number) {
        (false, _) => number + 0x5_0000,
        (true, 0x4E00..=0x9FFF | 0xF900..=0xFAFF) => number + 0x1_0000,
        (true, _) => number + 0x2_0000,
    }
}

fn elements(start: usize, count: usize) -> Elements {
    let read: fn(&[u8; 4]) -> Element =
        |&[low, middle, high, ccc]| Element { primary: u32::from_le_bytes([low, middle, high, 0]), ccc };
    SECTIONS.elements[start..start + count].iter().map(read)
}

fn first<const N: usize>(bytes: &[u8; N]) -> u32 {
    bytes.first_chunk().map_or(0, |number| u32::from_le_bytes(*number))
}

fn two(bytes: [u8; 8]) -> [usize; 2] {
    let (numbers, _) = bytes.as_chunks();
    [0, 1].map(|at| u32::from_le_bytes(numbers[at]) as usize)
}

fn three(bytes: &[u8; 12]) -> [usize; 3] {
    let (numbers, _) = bytes.as_chunks();
    [0, 1, 2].map(|at| u32::from_le_bytes(numbers[at]) as usize)
}
