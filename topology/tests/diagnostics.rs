//! Every mistake a topology file can hold, and the whole of what its author is told.

use panchayat_topology::{Topology, TopologyError};

/// A small sound file, in which each test breaks one thing.
const SOUND: &str = "\
format: 1
sites:
  mumbai: {}
  delhi: { label: New Delhi }
  bangalore:
pairs:
  - between: [mumbai, delhi]
    rtt_ms: 27
    great_circle_km: 1148
    source: measured
  - between: [mumbai, bangalore]
    rtt_ms: 24
    source: measured
  - between: [delhi, bangalore]
    rtt_ms: 37
    source: measured
sets:
  india3: [mumbai, delhi, bangalore]
profiles:
  clear:
    note: clear
    jitter_median_ms: 0
    jitter_sigma: 0
    loss: 0.01
    burst_packets: 1
    up_s: [0, 0]
    down_s: [0, 0]
    source: assumption
";

fn refused(text: &str) -> String {
    let error = Topology::parse("my.yaml", text).expect_err("a mistake");
    error.diagnostic().expect("a place in the text").render()
}

/// Replaces the first `from` in the sound file and compares the complaint, drawn in full.
#[track_caller]
fn check(from: &str, to: &str, expected: &str) {
    assert!(SOUND.contains(from), "{from:?} is not in the sound file");
    assert_eq!(refused(&SOUND.replacen(from, to, 1)), expected);
}

#[test]
fn the_sound_file_is_sound() {
    let topology = Topology::parse("my.yaml", SOUND).expect("sound");
    assert_eq!(topology.file(), "my.yaml");
    let labels: Vec<&str> = topology.sites().iter().map(|site| site.label.as_str()).collect();
    assert_eq!(labels, ["mumbai", "New Delhi", "bangalore"]);
    // Light in fibre follows from the distance where only that is stated.
    let pair = topology.pair("delhi", "mumbai").expect("a pair");
    assert_eq!(pair.fibre_rtt_us, Some(11_488));
    // Where neither is, there is no such bound.
    assert_eq!(topology.fibre_matrix("india3"), Ok(None));
    assert_eq!(topology.profiles()[0].bandwidth_bits_per_s, 1_000_000_000);
}

#[test]
fn round_trips_are_rounded_to_two_microseconds() {
    for (stated, rtt_us) in [("27.0009", 27_000), ("27.0011", 27_002), ("0x1b", 27_000)] {
        let text = SOUND.replacen("rtt_ms: 27", &format!("rtt_ms: {stated}"), 1);
        let topology = Topology::parse("my.yaml", &text).expect("sound");
        assert_eq!(topology.pairs()[0].rtt_us, rtt_us);
    }
}

#[test]
fn merge_keys_share_values_between_profiles() {
    let text = SOUND.replacen("  clear:", "  clear: &clear", 1)
        + "  lossy:\n    <<: *clear\n    loss: 0.5\n";
    let topology = Topology::parse("my.yaml", &text).expect("sound");
    let lossy = topology.profile("lossy").expect("the second profile");
    assert_eq!((lossy.loss, lossy.note.as_str()), (0.5, "clear"));
}

#[test]
fn a_pair_missing_for_a_set() {
    check(
        "  - between: [delhi, bangalore]\n    rtt_ms: 37\n    source: measured\n",
        "",
        "\
error: the set `india3` needs the pair delhi–bangalore
  --> my.yaml:15:27
   |
15 |   india3: [mumbai, delhi, bangalore]
   |                           ^^^^^^^^^
   = help: add `- between: [delhi, bangalore]` to `pairs`, with `rtt_ms` and `source`
",
    );
}

#[test]
fn a_round_trip_that_is_no_time() {
    for (stated, found) in [
        ("-27", "-27"),
        ("0", "0"),
        (".nan", "NaN"),
        ("-.inf", "-inf"),
        ("1e999", "inf"),
        ("60001", "60001"),
        ("fast", "the text `fast`"),
        ("'27'", "the text `27`"),
        ("true", "`true`"),
        ("[27]", "a list"),
        ("{ms: 27}", "a mapping"),
    ] {
        let carets = if stated.starts_with(['[', '{']) { 1 } else { stated.len() };
        check(
            "rtt_ms: 27",
            &format!("rtt_ms: {stated}"),
            &format!(
                "\
error: `rtt_ms` must be a number between 0.002 and 60000 ms, found {found}
  --> my.yaml:8:13
   |
 8 |     rtt_ms: {stated}
   |             {}
",
                "^".repeat(carets)
            ),
        );
    }
}

#[test]
fn a_round_trip_faster_than_light() {
    check(
        "rtt_ms: 27",
        "rtt_ms: 2.7",
        "\
error: `rtt_ms` of 2.7 ms is faster than light
  --> my.yaml:8:13
   |
 8 |     rtt_ms: 2.7
   |             ^^^
   = help: 1148 km there and back take 7.7 ms even in vacuum
",
    );
}

#[test]
fn an_unknown_site_in_a_pair() {
    check(
        "[mumbai, delhi]",
        "[mumbai, dehli]",
        "\
error: unknown site `dehli`
  --> my.yaml:7:23
   |
 7 |   - between: [mumbai, dehli]
   |                       ^^^^^
   = help: did you mean `delhi`?
",
    );
}

#[test]
fn an_unknown_site_in_a_set() {
    check(
        "india3: [mumbai, delhi, bangalore]",
        "india3: [mumbai, delhi, paris]",
        "\
error: unknown site `paris`
  --> my.yaml:18:27
   |
18 |   india3: [mumbai, delhi, paris]
   |                           ^^^^^
   = help: the sites are mumbai, delhi, bangalore
",
    );
}

#[test]
fn a_misspelt_key() {
    check(
        "rtt_ms: 27",
        "rtt_sm: 27",
        "\
error: unknown key `rtt_sm` in a pair
  --> my.yaml:8:5
   |
 8 |     rtt_sm: 27
   |     ^^^^^^
   = help: did you mean `rtt_ms`?
",
    );
    check(
        "profiles:",
        "profile:",
        "\
error: unknown key `profile` in a topology
  --> my.yaml:19:1
   |
19 | profile:
   | ^^^^^^^
   = help: did you mean `profiles`?
",
    );
    check(
        "burst_packets: 1",
        "colour: red",
        "\
error: unknown key `colour` in the profile `clear`
  --> my.yaml:25:5
   |
25 |     colour: red
   |     ^^^^^^
   = help: the keys here are note, jitter_median_ms, jitter_sigma, loss, burst_packets, up_s, \
down_s, bandwidth_mbit, source
",
    );
}

#[test]
fn a_missing_key() {
    check(
        "    rtt_ms: 27\n",
        "",
        "\
error: a pair has no `rtt_ms`
  --> my.yaml:7:5
   |
 7 |   - between: [mumbai, delhi]
   |     ^
   = help: expected `rtt_ms:` with a number between 0.002 and 60000 ms
",
    );
    check(
        "    source: measured\n",
        "    source:\n",
        "\
error: a pair has no `source`
  --> my.yaml:10:5
   |
10 |     source:
   |     ^^^^^^
   = help: expected `source:` with who measured it, or `assumption`
",
    );
    check(
        "format: 1\n",
        "",
        "\
error: a topology has no `format`
  --> my.yaml:1:1
   |
 1 | sites:
   | ^
   = help: expected `format:` with 1, the layout of the file
",
    );
}

#[test]
fn a_key_twice() {
    check(
        "rtt_ms: 27",
        "rtt_ms: 27\n    rtt_ms: 28",
        "\
error: duplicate key `rtt_ms`
  --> my.yaml:9:5
   |
 9 |     rtt_ms: 28
   |     ^^^^^^
   = help: each key may stand once in a mapping; remove or rename one of the two
",
    );
    check(
        "  bangalore:\n",
        "  delhi:\n",
        "\
error: duplicate key `delhi`
  --> my.yaml:5:3
   |
 5 |   delhi:
   |   ^^^^^
   = help: each key may stand once in a mapping; remove or rename one of the two
",
    );
}

#[test]
fn a_pair_twice_in_either_order() {
    check(
        "[delhi, bangalore]",
        "[delhi, mumbai]",
        "\
error: the pair delhi–mumbai is listed twice
  --> my.yaml:14:15
   |
14 |   - between: [delhi, mumbai]
   |               ^^^^^
   = help: it already stands on line 7
",
    );
}

#[test]
fn a_pair_of_one_site_or_of_three() {
    check(
        "[mumbai, delhi]",
        "[mumbai, mumbai]",
        "\
error: `mumbai` is paired with itself
  --> my.yaml:7:23
   |
 7 |   - between: [mumbai, mumbai]
   |                       ^^^^^^
   = help: every site is at no distance from itself; remove the pair
",
    );
    check(
        "[mumbai, delhi]",
        "[mumbai, delhi, bangalore]",
        "\
error: `between` must name two sites, found 3
  --> my.yaml:7:14
   |
 7 |   - between: [mumbai, delhi, bangalore]
   |              ^
",
    );
    check(
        "[mumbai, delhi]",
        "mumbai–delhi",
        "\
error: `between` must be a list of sites, found the text `mumbai–delhi`
  --> my.yaml:7:14
   |
 7 |   - between: mumbai–delhi
   |              ^^^^^^^^^^^^
   = help: write them as in [mumbai, delhi]
",
    );
    check(
        "[mumbai, delhi]",
        "[mumbai, 7]",
        "\
error: expected the name of a site, found the number 7
  --> my.yaml:7:23
   |
 7 |   - between: [mumbai, 7]
   |                       ^
",
    );
}

#[test]
fn a_set_that_is_empty_or_repeats_itself_or_is_no_list() {
    check(
        "[mumbai, delhi, bangalore]",
        "[]",
        "\
error: the set `india3` is empty
  --> my.yaml:18:3
   |
18 |   india3: []
   |   ^^^^^^
   = help: name at least one site
",
    );
    check(
        "[mumbai, delhi, bangalore]",
        "[mumbai, delhi, mumbai]",
        "\
error: the set `india3` names `mumbai` twice
  --> my.yaml:18:27
   |
18 |   india3: [mumbai, delhi, mumbai]
   |                           ^^^^^^
   = help: a site holds one replica of a set
",
    );
    check(
        "[mumbai, delhi, bangalore]",
        "~",
        "\
error: `india3` must be a list of sites, found nothing
  --> my.yaml:18:11
   |
18 |   india3: ~
   |           ^
   = help: write them as in [mumbai, delhi]
",
    );
}

#[test]
fn a_section_that_is_empty_or_of_the_wrong_kind() {
    check(
        "sets:\n  india3: [mumbai, delhi, bangalore]\n",
        "sets: {}\n",
        "\
error: `sets` must name at least one
  --> my.yaml:17:7
   |
17 | sets: {}
   |       ^
",
    );
    check(
        "sets:\n  india3: [mumbai, delhi, bangalore]\n",
        "sets: [india3]\n",
        "\
error: `sets` must be a mapping from names, found a list
  --> my.yaml:17:7
   |
17 | sets: [india3]
   |       ^
",
    );
    let pairs = SOUND.find("pairs:").expect("pairs")..SOUND.find("sets:").expect("sets");
    check(
        &SOUND[pairs],
        "pairs: { mumbai: delhi }\n",
        "\
error: `pairs` must be a list, found a mapping
  --> my.yaml:6:8
   |
 6 | pairs: { mumbai: delhi }
   |        ^
   = help: begin each pair with `- between:`
",
    );
}

#[test]
fn a_name_nobody_can_type() {
    check(
        "india3:",
        "India 3:",
        "\
error: `India 3` cannot be a name
  --> my.yaml:18:3
   |
18 |   India 3: [mumbai, delhi, bangalore]
   |   ^^^^^^^
   = help: a name is 1 to 63 of a–z, 0–9, '-', '_' and '.', and begins with a letter or a digit
",
    );
}

#[test]
fn a_set_larger_than_a_group() {
    let mut text = "format: 1\nsites:\n".to_owned();
    let names: Vec<String> = (0..17).map(|i| format!("s{i}")).collect();
    names.iter().for_each(|name| text += &format!("  {name}:\n"));
    text += &format!("pairs: []\nsets:\n  big: [{}]\nprofiles: {{}}\n", names.join(", "));
    assert_eq!(
        refused(&text),
        "\
error: the set `big` has more than 16 sites
  --> my.yaml:22:79
   |
22 |   big: [s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15, s16]
   |                                                                               ^^^
   = help: a group has no more replicas than that
"
    );
}

#[test]
fn a_loss_that_is_no_fraction() {
    for (stated, found) in
        [("1.5", "1.5"), ("-0.1", "-0.1"), (".nan", "NaN"), ("2 %", "the text `2 %`")]
    {
        check(
            "loss: 0.01",
            &format!("loss: {stated}"),
            &format!(
                "\
error: `loss` must be a number between 0 and 1 (0.01 is 1 %), found {found}
  --> my.yaml:24:11
   |
24 |     loss: {stated}
   |           {}
",
                "^".repeat(stated.len())
            ),
        );
    }
}

#[test]
fn other_numbers_out_of_range() {
    for (from, to, expected) in [
        ("jitter_median_ms: 0", "jitter_median_ms: -1", "0 and 60000 ms"),
        ("jitter_sigma: 0", "jitter_sigma: 90", "0 and 4"),
        ("burst_packets: 1", "burst_packets: 0", "1 and 1000000 packets"),
        ("    loss:", "    bandwidth_mbit: 0\n    loss:", "0.001 and 1000000 Mbit/s"),
        ("great_circle_km: 1148", "great_circle_km: 40000", "0 and 20038 km"),
        ("great_circle_km: 1148", "fibre_rtt_ms: -1", "0 and 60000 ms"),
        ("mumbai: {}", "mumbai: { latitude: 91, longitude: 0 }", "-90 and 90 degrees"),
        ("up_s: [0, 0]", "up_s: [0, 604801]", "0 and 604800 s"),
    ] {
        let drawn = refused(&SOUND.replacen(from, to, 1));
        let expected = format!("must be a number between {expected}, found ");
        assert!(drawn.lines().next().is_some_and(|first| first.contains(&expected)), "{drawn}");
    }
}

#[test]
fn outages_that_make_no_sense() {
    check(
        "up_s: [0, 0]",
        "up_s: [5, 1]",
        "\
error: `up_s` must be [shortest, longest] in seconds, found [5, 1]
  --> my.yaml:26:11
   |
26 |     up_s: [5, 1]
   |           ^
",
    );
    check(
        "up_s: [0, 0]",
        "up_s: [5, 10]",
        "\
error: the profile `clear` has only one of `up_s` and `down_s`
  --> my.yaml:27:13
   |
27 |     down_s: [0, 0]
   |             ^
   = help: a link that fails is up for a while, then down; [0, 0] for both if it never fails
",
    );
    check(
        "down_s: [0, 0]",
        "down_s: 5",
        "\
error: `down_s` must be [shortest, longest] in seconds, found the number 5
  --> my.yaml:27:13
   |
27 |     down_s: 5
   |             ^
",
    );
}

#[test]
fn half_a_place_on_the_map() {
    check(
        "mumbai: {}",
        "mumbai: { latitude: 19 }",
        "\
error: the site `mumbai` has only one of `latitude` and `longitude`
  --> my.yaml:3:23
   |
 3 |   mumbai: { latitude: 19 }
   |                       ^^
   = help: give both or neither
",
    );
}

#[test]
fn texts_that_say_nothing() {
    check(
        "source: measured",
        "source: ' '",
        "\
error: `source` must not be blank
  --> my.yaml:10:13
   |
10 |     source: ' '
   |             ^^^
",
    );
    check(
        "source: measured",
        "source: 2020",
        "\
error: `source` must be a text, found the number 2020
  --> my.yaml:10:13
   |
10 |     source: 2020
   |             ^^^^
   = help: put it in quotes
",
    );
}

#[test]
fn a_format_from_the_future() {
    check(
        "format: 1",
        "format: 2",
        "\
error: format 2 is not known to this version
  --> my.yaml:1:9
   |
 1 | format: 2
   |         ^
   = help: it reads format 1
",
    );
}

#[test]
fn no_yaml_or_another_kind_of_file() {
    for (text, expected) in [
        (
            "",
            "\
error: a topology must be a mapping, found nothing
  --> my.yaml:1:1
   |
 1 | 
   | ^
   = help: the keys here are format, sites, pairs, sets, profiles
",
        ),
        (
            "\u{7}<html>",
            "\
error: not valid YAML: unexpected character: `\\u{7}'
  --> my.yaml:1:1
   |
 1 | \u{fffd}<html>
   | ^
",
        ),
        (
            "<html>",
            "\
error: a topology must be a mapping, found the text `<html>`
  --> my.yaml:1:1
   |
 1 | <html>
   | ^^^^^^
   = help: the keys here are format, sites, pairs, sets, profiles
",
        ),
        (
            "sites: [mumbai, delhi",
            "\
error: not valid YAML: unclosed bracket '['
  --> my.yaml:1:8
   |
 1 | sites: [mumbai, delhi
   |        ^
",
        ),
        (
            "sites:\n  mumbai: {}\n delhi: {}\n",
            "\
error: not valid YAML: while parsing a block mapping, did not find expected key
  --> my.yaml:3:2
   |
 3 |  delhi: {}
   |  ^
",
        ),
        (
            "format: *one",
            "\
error: not valid YAML: alias references unknown anchor
  --> my.yaml:1:9
   |
 1 | format: *one
   |         ^
",
        ),
        (
            "? [format]\n: 1\n",
            "\
error: a key must be a plain text
  --> my.yaml:1:3
   |
 1 | ? [format]
   |   ^
",
        ),
        (
            "format: 1\n---\nformat: 1\n",
            "\
error: a second YAML document begins here
  --> my.yaml:3:1
   |
 3 | format: 1
   | ^
   = help: a file is one document; remove the `---`
",
        ),
    ] {
        assert_eq!(refused(text), expected, "{text:?}");
    }
}

#[test]
fn bombs_are_refused_at_once() {
    let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..9 {
        let copies = vec![format!("*a{}", i - 1); 10].join(", ");
        aliases += &format!("a{i}: &a{i} [{copies}]\n");
    }
    for text in [aliases, "- ".repeat(100_000), "x".repeat((8 << 20) + 1)] {
        let started = std::time::Instant::now();
        let drawn = refused(&text);
        assert!(
            drawn.starts_with("error: too much for one file\n")
                || drawn.starts_with("error: a topology has at most 8388608 bytes\n"),
            "{}",
            drawn.lines().next().unwrap_or_default()
        );
        assert!(started.elapsed().as_secs() < 5, "took {:?}", started.elapsed());
        assert!(drawn.len() < 2_000);
    }
}

#[test]
fn one_line_for_logs() {
    let text = SOUND.replacen("[mumbai, delhi]", "[mumbai, dehli]", 1);
    let error = Topology::parse("my.yaml", &text).expect_err("a mistake");
    assert_eq!(error.to_string(), "my.yaml:7:23: unknown site `dehli` (did you mean `delhi`?)");
}

#[test]
fn files_are_read_and_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("geo.yaml");

    let missing = Topology::load(&path).expect_err("no such file");
    assert!(matches!(&missing, TopologyError::Read { path: named, .. } if *named == path));
    assert!(missing.diagnostic().is_none());
    assert!(missing.to_string().starts_with("cannot read the topology file `"), "{missing}");

    std::fs::write(&path, SOUND).expect("write");
    assert_eq!(Topology::load(&path).expect("sound").file(), path.display().to_string());

    std::fs::write(&path, b"format: 1\nsites: \xff\xfe\n").expect("write");
    let binary = Topology::load(&path).expect_err("not UTF-8");
    assert_eq!(
        binary.to_string(),
        format!(
            "{}:2:8: not a text: a byte here is not UTF-8 (a topology is a text file in UTF-8)",
            path.display()
        )
    );
}

#[test]
fn the_largest_table_fits_the_limits() {
    let names: Vec<String> = (0..256).map(|i| format!("site-{i}")).collect();
    let mut text = "format: 1\nsites:\n".to_owned();
    names.iter().for_each(|name| text += &format!("  {name}:\n"));
    text += "pairs:\n";
    for (i, a) in names.iter().enumerate() {
        for b in &names[..i] {
            text += &format!(
                "  - between: [{a}, {b}]\n    rtt_ms: 100.5\n    great_circle_km: 1000\n    \
                 fibre_rtt_ms: 10\n    source: measured on a quiet day\n"
            );
        }
    }
    text += &SOUND[SOUND.find("sets:").expect("sets")..].replacen(
        "[mumbai, delhi, bangalore]",
        &format!("[{}]", names[..16].join(", ")),
        1,
    );
    let topology = Topology::parse("large.yaml", &text).expect("within the limits");
    assert_eq!(topology.pairs().len(), 256 * 255 / 2);
    assert_eq!(topology.matrix("india3").expect("a set").rtt_us(3, 7), 100_500);
}
