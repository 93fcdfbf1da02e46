//! With what does a collation pad the shorter of two strings before it compares them?
//!
//! Weights of `weight_string()` compare as bytes. Under PAD SPACE collations the shorter string
//! counts as if it went on with spaces, so its weights are padded with the weight of the space.
//! The table was measured on real servers (`collations.txt`); what is not in it is refused.

use std::cmp::Ordering;

/// One line per space weight: the weight in hex (`-` for NO PAD), then names in ascending order.
const TABLE: &str = include_str!("collations.txt");

/// How a collation's weight strings compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Padding {
    /// As they are: the end of the string is its lowest continuation.
    None,
    /// The shorter string goes on with this weight, without end.
    Space(Vec<u8>),
}

// === impl Padding ===

impl Padding {
    /// Looks a collation up; none for collations that are not in the table.
    pub(crate) fn of(collation: &str) -> Option<Self> {
        if collation == "binary" {
            return Some(Self::None);
        }
        // Before MySQL 8.0.30 utf8mb3's collations are called utf8_….
        let renamed = collation.strip_prefix("utf8_").map(|rest| format!("utf8mb3_{rest}"));
        let name = renamed.as_deref().unwrap_or(collation);
        TABLE.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
            let (weight, names) = line.split_once(' ')?;
            names.split(' ').any(|known| known == name).then(|| match weight {
                "-" => Some(Self::None),
                hex => hex::decode(hex).ok().map(Self::Space),
            })?
        })
    }

    /// Compares two weight strings.
    pub(crate) fn compare(&self, left: &[u8], right: &[u8]) -> Ordering {
        let Self::Space(space) = self else {
            return left.cmp(right);
        };
        let common = if left.len() < right.len() { left.len() } else { right.len() };
        match left[..common].cmp(&right[..common]) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
        // All weights of such a collation have the space weight's length, so the tails are aligned.
        let padded = |tail: &[u8]| {
            tail.iter()
                .zip(space.iter().cycle())
                .map(|(weight, pad)| weight.cmp(pad))
                .find(|order| order.is_ne())
        };
        let ahead = padded(&left[common..]).unwrap_or(Ordering::Equal);
        let behind = padded(&right[common..]).unwrap_or(Ordering::Equal).reverse();
        ahead.then(behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_collations_have_the_servers_padding() {
        assert_eq!(Padding::of("utf8mb4_0900_ai_ci"), Some(Padding::None));
        assert_eq!(Padding::of("utf8mb4_general_ci"), Some(Padding::Space(vec![0, 0x20])));
        assert_eq!(Padding::of("utf8_general_ci"), Padding::of("utf8mb3_general_ci"));
        assert_eq!(Padding::of("latin1_swedish_ci"), Some(Padding::Space(vec![0x20])));
        assert_eq!(Padding::of("utf8mb4_bin"), Some(Padding::Space(vec![0, 0, 0x20])));
        assert_eq!(Padding::of("utf8mb4_general_nopad_ci"), Some(Padding::None));
        assert_eq!(Padding::of("latin2_czech_cs"), None);
        assert_eq!(Padding::of("klingon_ci"), None);
    }

    #[test]
    fn trailing_spaces_are_equal_and_a_tab_sorts_before_the_end() {
        // MySQL: 'a' = 'a  ' and 'a\t' < 'a' < 'a!' under utf8mb4_general_ci.
        let general = Padding::of("utf8mb4_general_ci").unwrap();
        let weights =
            |text: &str| text.bytes().flat_map(|byte| [0, byte.to_ascii_uppercase()]).collect::<Vec<_>>();
        assert_eq!(general.compare(&weights("a"), &weights("a  ")), Ordering::Equal);
        assert_eq!(general.compare(&weights("a\t"), &weights("a")), Ordering::Less);
        assert_eq!(general.compare(&weights("a"), &weights("a!")), Ordering::Less);
        assert_eq!(general.compare(&weights("ab"), &weights("a")), Ordering::Greater);
        assert_eq!(general.compare(&weights("a"), &weights("a\t")), Ordering::Greater);
    }
}
