//! Does a name match a SHOW … LIKE pattern?

/// MySQL's LIKE with the default escape `\`, case-insensitive for ASCII as the names of
/// `information_schema` compare: `%` is any run of characters, `_` any one.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where to go on when the characters after the last `%` do not fit: one name character further.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('%') => {
                retry = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some('_') => {
                p += 1;
                n += 1;
                continue;
            }
            Some(&c) => {
                let (wanted, width) = match (c, pattern.get(p + 1)) {
                    ('\\', Some(&escaped)) => (escaped, 2),
                    _ => (c, 1),
                };
                if wanted.eq_ignore_ascii_case(&name[n]) {
                    p += width;
                    n += 1;
                    continue;
                }
            }
            None => {}
        }
        let Some((after, from)) = retry else { return false };
        retry = Some((after, from + 1));
        p = after;
        n = from + 1;
    }
    pattern[p..].iter().all(|&c| c == '%')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_mysql_says() {
        for (pattern, name, expected) in [
            ("%", "", true),
            ("", "", true),
            ("", "a", false),
            ("ser%", "service", true),
            ("%ice", "service", true),
            ("s%v%e", "service", true),
            ("s_rvice", "service", true),
            ("S_RVICE", "service", true),
            ("s\\_rvice", "service", false),
            ("a\\_b", "a_b", true),
            ("a\\%", "a%", true),
            ("a\\%", "ab", false),
            ("%ab", "aab", true),
            ("a_", "a", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{name} like {pattern}");
        }
    }
}
