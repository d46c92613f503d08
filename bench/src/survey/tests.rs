//! Surveys from what replicas answer, and the files they become.

use super::*;

/// What the replica at `own` says of its peers: seat, name, shortest, median and 99th percentile.
fn answer(own: (usize, &str), peers: &[(usize, &str, [u64; 3])]) -> Vec<Heard> {
    let heard = |seat, name: &str, told| Heard { seat, name: name.to_owned(), told };
    let peer = |(seat, name, [min_us, p50_us, p99_us]): &(usize, &str, [u64; 3])| {
        let told = Told {
            up: true,
            pings: 100,
            min_us: *min_us,
            p50_us: *p50_us,
            p99_us: *p99_us,
            packets_sent: 1_000,
            packets_lost: 2,
        };
        heard(*seat, name, Some(told))
    };
    [heard(own.0, own.1, None)].into_iter().chain(peers.iter().map(peer)).collect()
}

fn india() -> Survey {
    let mut survey = Survey::default();
    let mumbai = [(1, "delhi", [26_800, 27_000, 27_800]), (2, "pune", [3_000, 3_100, 3_400])];
    let pune = [(0, "mumbai", [3_000, 3_400, 9_000]), (1, "delhi", [25_000, 25_300, 26_000])];
    survey.hear(&answer((0, "mumbai"), &mumbai)).unwrap();
    survey.hear(&answer((2, "pune"), &pune)).unwrap();
    survey
}

#[test]
fn a_survey_becomes_a_topology_with_everybodys_median() {
    let survey = india();
    assert_eq!(survey.sites(), ["mumbai", "delhi", "pune"]);
    let legs = survey.legs(100).unwrap();
    // Of both ends the one that was less busy.
    assert_eq!(legs[1].told.p99_us, 3_400);
    let base = Topology::builtin();
    let text = survey.topology(&base, ("mine", "2026-11-21"), &legs).unwrap();
    let found = Topology::parse("found.yaml", &text).unwrap();
    let profile = found.profile("measured").unwrap();
    assert_eq!((profile.jitter_median_us, profile.loss), (200, 0.002));
    assert!((0.5..1.0).contains(&profile.jitter_sigma), "{}", profile.jitter_sigma);
    let matrix = found.matrix("mine").unwrap();
    for (leg, (a, b)) in legs.iter().zip([(0, 1), (0, 2), (1, 2)]) {
        assert_eq!(matrix.rtt_us(a, b) + profile.jitter_median_us, leg.told.p50_us);
    }
    // What was known of them is kept, with the weather of others.
    assert_eq!(found.pair("mumbai", "delhi").unwrap().great_circle_km, Some(1_148.0));
    assert!(found.site("mumbai").unwrap().coordinates.is_some());
    for known in base.profiles() {
        assert_eq!(found.profile(&known.name).unwrap(), known);
    }
}

#[test]
fn hosts_that_are_nearer_than_light_allows_are_not_where_the_base_says() {
    let mut survey = Survey::default();
    survey.hear(&answer((0, "mumbai"), &[(1, "delhi", [90, 120, 300])])).unwrap();
    let legs = survey.legs(1).unwrap();
    let text = survey.topology(&Topology::builtin(), ("here", "2026-11-21"), &legs).unwrap();
    let found = Topology::parse("found.yaml", &text).unwrap();
    let pair = found.pair("mumbai", "delhi").unwrap();
    assert_eq!(pair.great_circle_km, None);
    assert!(pair.source.contains("less than light needs for 1148 km"), "{}", pair.source);
}

#[test]
fn what_is_missing_is_named() {
    let told = |survey: &Survey, pings| survey.legs(pings).unwrap_err().to_string();
    assert_eq!(told(&india(), 101), "mumbai–delhi: 100 of 101 round trips so far");
    let mut survey = Survey::default();
    let peers = [(1, "delhi", [1, 2, 3]), (2, "pune", [1, 2, 3])];
    survey.hear(&answer((0, "mumbai"), &peers)).unwrap();
    assert!(told(&survey, 1).contains("nobody was asked who could have measured delhi–pune"));
    let other = answer((2, "pune"), &[(0, "mumbai", [1, 2, 3]), (1, "dehli", [1, 2, 3])]);
    let error = survey.hear(&other).unwrap_err().to_string();
    assert!(error.contains("seat 1 is `delhi` to one replica and `dehli`"), "{error}");
    let nobody = &answer((2, "pune"), &peers[..1])[1..];
    assert!(matches!(Survey::default().hear(nobody), Err(SurveyError::NoMember)));
}
