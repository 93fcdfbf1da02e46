//! What are the primary collation weights of a string?
//!
//! Strings that differ only in case or accents have the same primary weights. The weights are those
//! of the root collation of `golang.org/x/text`: CLDR 23, Unicode 6.2 (a newer table would put rows
//! on other shards), with its way of walking a string: contractions, also over marks in between;
//! decompositions; Hangul; reordering of combining marks; implicit weights. `weights.bin` holds the
//! data, `generate/` derives it.

mod contraction;
mod table;

use table::{Element, Entry};

use super::{Result, VindexError};

/// More marks than this in a row are not reordered together.
const MARKS_TOGETHER: usize = 30;

/// Gives the primary weights of a string in UTF-8, without its trailing spaces (U+0020 only), piece
/// by piece: two bytes for a weight up to 0x7FFF, otherwise three with the top bit set.
///
/// # Errors
/// Bytes that are not UTF-8. The text is Vitess's.
pub(super) fn primary_weights(text: &[u8], mut take: impl FnMut(&[u8])) -> Result<()> {
    let Ok(valid) = std::str::from_utf8(text) else {
        return Err(VindexError::Value(format!(
            "cannot normalize string containing invalid UTF-8: \"{}\"",
            text.escape_ascii()
        )));
    };
    let mut walk = Walk { rest: valid.trim_end_matches(' '), elements: Vec::new() };
    while walk.next(|element| {
        let [_, high, middle, low] = element.primary.to_be_bytes();
        match element.primary {
            0 => {}
            1..=0x7FFF => take(&[middle, low]),
            _ => take(&[high | 0x80, middle, low]),
        }
    }) {}
    Ok(())
}

/// A walk over a string, element by element, marks in canonical order.
struct Walk<'a> {
    /// What is not read yet.
    rest: &'a str,
    /// What is read but may still be reordered.
    elements: Vec<Element>,
}

// === impl Walk ===

impl Walk<'_> {
    /// Gives the next elements that no longer change place. False at the end.
    fn next(&mut self, mut give: impl FnMut(&Element)) -> bool {
        if self.elements.is_empty() {
            // The usual case needs no list.
            match self.single_starter() {
                Some(element) => {
                    give(&element);
                    return true;
                }
                None if !self.read() => return false,
                None => {}
            }
        }
        let settled = self.settle();
        self.elements.drain(..settled).for_each(|element| give(&element));
        true
    }

    /// The next element, where it is the only one of its code point and no mark.
    fn single_starter(&mut self) -> Option<Element> {
        let point = self.rest.chars().next()?;
        match table::entry(point) {
            Entry::One(element) if element.ccc == 0 => {
                self.rest = &self.rest[point.len_utf8()..];
                Some(element)
            }
            _ => None,
        }
    }

    /// Appends the elements of the next code point or contraction. False at the end.
    fn read(&mut self) -> bool {
        match append(self.rest, &mut self.elements) {
            0 => false,
            read => {
                self.rest = &self.rest[read..];
                true
            }
        }
    }

    /// How many of the elements read no longer change place; at least one. Reads on where they begin
    /// with marks, to put all marks up to the next starter in order.
    fn settle(&mut self) -> usize {
        let starts = |elements: &[Element]| elements.iter().take_while(|element| element.ccc == 0).count();
        let mut last = match self.elements.last() {
            Some(element) if element.ccc != 0 => element.ccc,
            _ => return self.elements.len(),
        };
        let leading = starts(&self.elements);
        if leading > 0 {
            return leading;
        }
        loop {
            let before = self.elements.len();
            if !self.read() {
                return before;
            }
            let ccc = self.elements.get(before).map_or(0, |element| element.ccc);
            if ccc == 0 || self.elements.len() > MARKS_TOGETHER {
                return before;
            }
            if ccc < last {
                self.reorder(before, ccc);
            } else {
                last = ccc;
            }
        }
    }

    /// Moves the elements from `from` on, of this class, in front of those of higher classes.
    fn reorder(&mut self, from: usize, ccc: u8) {
        let mut to = from.saturating_sub(1);
        while to > 0 && ccc < self.elements[to - 1].ccc {
            to -= 1;
        }
        self.elements[to..].rotate_left(from - to);
    }
}

/// Appends the elements of the code point or contraction at the start of `text` and tells how many
/// bytes it has; 0 for an empty text.
fn append(text: &str, elements: &mut Vec<Element>) -> usize {
    let Some(point) = text.chars().next() else { return 0 };
    let size = point.len_utf8();
    match table::entry(point) {
        Entry::One(element) => elements.push(element),
        Entry::Sequence(sequence) => elements.extend(sequence),
        Entry::Starter(starter) => return size + contraction::append(starter, &text[size..], elements),
        Entry::Implicit => match hangul(point) {
            Some(jamo) => {
                for part in jamo.into_iter().flatten() {
                    if let Entry::One(element) = table::entry(part) {
                        elements.push(element);
                    }
                }
            }
            None => elements.push(Element { primary: table::implicit(point), ccc: 0 }),
        },
    }
    size
}

/// The jamo that a Hangul syllable is made of (The Unicode Standard, section 3.12).
fn hangul(point: char) -> Option<[Option<char>; 3]> {
    const VOWELS: u32 = 21;
    const TAILS: u32 = 28;
    let index = u32::from(point).checked_sub(0xAC00).filter(|index| *index < 19 * VOWELS * TAILS)?;
    let tail = index % TAILS;
    Some([
        char::from_u32(0x1100 + index / (VOWELS * TAILS)),
        char::from_u32(0x1161 + index % (VOWELS * TAILS) / TAILS),
        char::from_u32(0x11A7 + tail).filter(|_| tail > 0),
    ])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn weights(text: &[u8]) -> Vec<u8> {
        let mut weights = Vec::new();
        primary_weights(text, |bytes| weights.extend_from_slice(bytes)).unwrap();
        weights
    }

    /// Every pair was given by `collate.Collator` (see `generate/`).
    #[test]
    fn unusual_strings_weigh_as_in_go() {
        let samples = include_str!("../../../testdata/vindex/unicode_random.tsv");
        for (line, sample) in samples.lines().enumerate() {
            let (text, expected) = sample.split_once('\t').unwrap();
            let text = hex::decode(text).unwrap();
            let shown = String::from_utf8_lossy(&text);
            assert_eq!(
                hex::encode(weights(&text)),
                expected,
                "line {}: {}",
                line + 1,
                shown.escape_unicode()
            );
        }
        assert!(samples.lines().count() >= 4000);
    }

    #[test]
    fn other_bytes_are_refused_with_their_text() {
        let error = primary_weights(b"\xffA", |_| {}).unwrap_err();
        assert_eq!(error.to_string(), "cannot normalize string containing invalid UTF-8: \"\\xffA\"");
    }

    #[test]
    fn only_trailing_spaces_are_trimmed() {
        assert_eq!(weights(b"Test  "), weights(b"tEST"));
        assert_ne!(weights(b"Test\t"), weights(b"Test"));
        assert_ne!(weights(b" Test"), weights(b"Test"));
        assert_eq!(weights(b"   "), b"");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}", bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            weights(text.as_bytes());
            drop(primary_weights(&bytes, |_| {}));
        }

        #[test]
        fn marks_in_a_row_end(text in "[\u{300}-\u{36f}\u{f71}-\u{f84}a\u{fb2}]{0,120}") {
            weights(text.as_bytes());
        }
    }
}
