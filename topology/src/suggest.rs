//! "Did you mean": the nearest known name to one that is not known.
//!
//! Distance counts inserted, deleted, replaced and swapped neighbouring characters (optimal string
//! alignment), ignoring case. A third of the name may be wrong; beyond that a guess misleads more
//! than it helps.

/// Names longer than this get no suggestion: the table below is quadratic.
const NAME_CHARS_MAX: usize = 128;

/// The known name nearest to `name`, the earlier one on a tie, if any is near enough.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = lowercase(name)?;
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let Some(letters) = lowercase(candidate) else { continue };
        let allowed = (name.len().max(letters.len()) / 3).max(1);
        let distance = distance(&name, &letters);
        if distance <= allowed && best.is_none_or(|(shortest, _)| distance < shortest) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

fn lowercase(name: &str) -> Option<Vec<char>> {
    let letters: Vec<char> =
        name.chars().flat_map(char::to_lowercase).take(NAME_CHARS_MAX + 1).collect();
    (1..=NAME_CHARS_MAX).contains(&letters.len()).then_some(letters)
}

/// Three rows of the usual table are enough: a swap looks back two rows.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = vec![0; b.len() + 1];
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, &y) in b.iter().enumerate() {
            let replaced = previous[j] + usize::from(x != y);
            row[j + 1] = replaced.min(previous[j + 1] + 1).min(row[j] + 1);
            let swapped = i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y;
            if swapped {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut previous, row);
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn names_the_nearest_or_nothing() {
        let sites = ["mumbai", "delhi", "bangalore", "india3", "india5"];
        for (typed, expected) in [
            ("dehli", Some("delhi")),
            ("Mumbai", Some("mumbai")),
            ("bengaluru", Some("bangalore")),
            ("bangalor", Some("bangalore")),
            ("india4", Some("india3")), // a tie: the earlier
            ("paris", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, sites), expected, "{typed}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), sites), None);
    }
}
