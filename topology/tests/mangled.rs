//! No text makes the parser panic, and whatever it refuses it can draw.

use panchayat_topology::Topology;
use proptest::prelude::*;

/// Words that steer the parser: keys, YAML's own signs, numbers at the edges.
const WORDS: &[&str] = &[
    "between",
    "rtt_ms",
    "source",
    "loss",
    "mumbai",
    "delhi",
    "sets",
    "profiles",
    ":",
    ": ",
    "- ",
    "-",
    "[",
    "]",
    "{",
    "}",
    ",",
    "&a ",
    "*a",
    "<<: ",
    "!!int ",
    "!x ",
    "|",
    ">-",
    "---",
    "...",
    "?",
    "#",
    "%",
    "@",
    "'",
    "\"",
    "\\",
    "\n",
    "\r\n",
    "\t",
    "  ",
    "\u{feff}",
    "\u{0}",
    "\u{1b}[",
    "é",
    "\u{2028}",
    "\u{1f600}",
    ".nan",
    "-.inf",
    "1e999",
    "-1",
    "0x",
    "1_000",
    "~",
    "true",
    "99999999999999999999999999999999999999999999",
];

/// Cuts a range of the built-in text out, by character, and puts something in its place.
fn spliced(text: &str, at: usize, length: usize, insert: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let start = at % (chars.len() + 1);
    let end = (start + length).min(chars.len());
    chars[..start]
        .iter()
        .copied()
        .chain(insert.chars())
        .chain(chars[end..].iter().copied())
        .collect()
}

/// Parses and, if refused, checks that the complaint hangs together.
fn survive(text: &str) -> Result<(), TestCaseError> {
    match Topology::parse("mangled.yaml", text) {
        Ok(topology) => {
            // What is accepted is complete: every set has its table, every profile its links.
            for set in topology.sets() {
                for profile in topology.profiles() {
                    let n = set.sites.len();
                    let links = topology.links(&set.name, &profile.name).expect("both exist");
                    prop_assert_eq!(links.len(), n * (n - 1));
                    for link in links {
                        prop_assert!(link.one_way_us > 0 && link.bandwidth_bits_per_s > 0);
                        prop_assert!((0.0..=1.0).contains(&link.loss));
                    }
                }
            }
        }
        Err(error) => {
            let diagnostic = error.diagnostic().expect("no file was involved");
            let lines = text.lines().count().max(1);
            prop_assert!((1..=lines).contains(&diagnostic.line), "{}", error);
            prop_assert!(diagnostic.column >= 1 && diagnostic.width >= 1);
            prop_assert!(!diagnostic.message.is_empty());
            let drawn = diagnostic.render();
            prop_assert!(
                !drawn.chars().any(|c| c.is_control() && c != '\n'),
                "a control character in {drawn:?}"
            );
            prop_assert!(drawn.len() < 4_000, "{} bytes", drawn.len());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn damaged_files(
        edits in prop::collection::vec(
            (any::<usize>(), 0usize..40, prop::sample::select(WORDS)),
            1..6,
        )
    ) {
        let mut text = Topology::builtin_text().to_owned();
        for (at, length, word) in edits {
            text = spliced(&text, at, length, word);
        }
        survive(&text)?;
    }

    #[test]
    fn moved_lines(
        moves in prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 1..8)
    ) {
        let mut lines: Vec<&str> = Topology::builtin_text().lines().collect();
        for (from, to) in moves {
            let line = lines.remove(from.index(lines.len()));
            lines.insert(to.index(lines.len() + 1), line);
        }
        survive(&lines.join("\n"))?;
    }

    #[test]
    fn word_salad(words in prop::collection::vec(prop::sample::select(WORDS), 0..60)) {
        survive(&words.concat())?;
    }

    #[test]
    fn any_text(text in any::<String>()) {
        survive(&text)?;
    }
}

#[test]
fn every_prefix() {
    let text = Topology::builtin_text();
    for (end, _) in text.char_indices().step_by(7) {
        survive(&text[..end]).expect("a diagnostic");
    }
}
