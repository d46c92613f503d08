//! The file that ships: its numbers against physics, against geography and against the design.

use panchayat_topology::Topology;

/// Refractive index 1.5: light in glass covers 199.86 km in a millisecond.
const FIBRE_KM_PER_MS: f64 = 299.792_458 / 1.5;

#[test]
fn fibre_times_follow_from_the_distances() {
    let topology = Topology::builtin();
    assert_eq!(topology.pairs().len(), 18);
    for pair in topology.pairs() {
        let km = pair.great_circle_km.expect("every built-in pair states its distance");
        let fibre_us = pair.fibre_rtt_us.expect("and its time in fibre") as f64;
        // Stated to 0.1 ms from unrounded kilometres: half of each last digit may be off.
        let expected_us = 2.0 * km / FIBRE_KM_PER_MS * 1_000.0;
        assert!((fibre_us - expected_us).abs() <= 50.0 + 5.5, "{:?}", pair.between);
        // The rule of thumb, 200 km per ms one way.
        assert!((fibre_us - km * 10.0).abs() <= 50.0 + 0.001 * fibre_us, "{:?}", pair.between);
    }
}

#[test]
fn no_link_is_faster_than_light_in_fibre() {
    for pair in Topology::builtin().pairs() {
        assert!(Some(pair.rtt_us) > pair.fibre_rtt_us, "{:?}", pair.between);
    }
}

#[test]
fn distances_follow_from_the_coordinates() {
    let topology = Topology::builtin();
    let radians = |name: &str| {
        let site = topology.site(name).expect("a site of a pair");
        let (latitude, longitude) = site.coordinates.expect("built-in sites are on the map");
        (latitude.to_radians(), longitude.to_radians())
    };
    for pair in topology.pairs() {
        let [(lat_a, lon_a), (lat_b, lon_b)] =
            [&pair.between[0], &pair.between[1]].map(|name| radians(name));
        let haversine = ((lat_b - lat_a) / 2.0).sin().powi(2)
            + lat_a.cos() * lat_b.cos() * ((lon_b - lon_a) / 2.0).sin().powi(2);
        let km = 2.0 * 6_371.0 * haversine.sqrt().asin();
        let stated = pair.great_circle_km.expect("stated");
        assert!((km / stated - 1.0).abs() < 0.01, "{:?}: {km:.0} against {stated}", pair.between);
    }
}

#[test]
fn half_of_a_round_trip_is_exact() {
    let topology = Topology::builtin();
    assert_eq!(topology.pair("chennai", "delhi").expect("a pair").rtt_us, 42_500);
    let india5 = topology.matrix("india5").expect("a set");
    assert_eq!(india5.one_way_us(1, 3), 21_250);
    for set in topology.sets() {
        let matrix = topology.matrix(&set.name).expect("its matrix");
        for a in 0..matrix.len() {
            for b in 0..matrix.len() {
                assert_eq!(matrix.one_way_us(a, b) * 2, matrix.rtt_us(a, b));
            }
        }
    }
}

#[test]
fn profiles_say_what_the_design_says() {
    let topology = Topology::builtin();
    let names: Vec<&str> = topology.profiles().iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["ideal", "backbone", "stressed", "congested", "isp-fault", "monsoon"]);
    let profile = |name: &str| topology.profile(name).expect("a profile");

    let ideal = profile("ideal");
    assert_eq!((ideal.jitter_median_us, ideal.loss, ideal.flap), (0, 0.0, None));
    let backbone = profile("backbone");
    assert_eq!(
        (backbone.jitter_median_us, backbone.jitter_sigma, backbone.loss),
        (200, 0.7, 0.0001)
    );
    let stressed = profile("stressed");
    assert_eq!(
        (stressed.jitter_median_us, stressed.jitter_sigma, stressed.loss),
        (3_000, 0.9, 0.005)
    );
    assert_eq!(profile("congested").loss, 0.02);
    assert!(profile("isp-fault").flap.is_some());
    let monsoon = profile("monsoon").flap.expect("monsoon links flap");
    assert_eq!((monsoon.down.min_us, monsoon.down.max_us), (1_000_000, 5_000_000));
    for profile in topology.profiles() {
        assert_eq!(profile.bandwidth_bits_per_s, 1_000_000_000);
        assert!(!profile.note.is_empty() && !profile.source.is_empty());
    }
}

#[test]
fn links_halve_delay_and_jitter_and_keep_the_rest() {
    let topology = Topology::builtin();
    let links = topology.links("india3", "backbone").expect("a set and a profile");
    let ends: Vec<(usize, usize)> = links.iter().map(|link| (link.from, link.to)).collect();
    assert_eq!(ends, [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]);
    let delays: Vec<u64> = links.iter().map(|link| link.one_way_us).collect();
    assert_eq!(delays, [13_500, 12_000, 13_500, 18_500, 12_000, 18_500]);
    for link in &links {
        assert_eq!((link.jitter_median_us, link.jitter_sigma), (100, 0.7));
        assert_eq!((link.loss, link.burst_packets), (0.0001, 1.0));
        assert_eq!(link.bandwidth_bits_per_s, 1_000_000_000);
    }
    // 1,250 bytes are 10,000 bits: 10 µs at 1 Gbit/s; one byte more is a part of the next.
    assert_eq!((links[0].transmit_us(1_250), links[0].transmit_us(1_251)), (10, 11));
}

#[test]
fn names_that_do_not_exist_list_those_that_do() {
    let topology = Topology::builtin();
    let messages = [
        topology.set("inda5").map(drop),
        topology.profile("Monsoons").map(drop),
        topology.site("paris").map(drop),
        topology.matrix("").map(drop),
        topology.links("india3", "sunny").map(drop),
        topology.pair("chennai", "frankfurt").map(drop),
        topology.pair("mumbai", "frankfort").map(drop),
    ]
    .map(|found| found.expect_err("no such name").to_string());
    assert_eq!(
        messages,
        [
            "no set `inda5` in geo-topology.yaml (did you mean `india5`?); it has india3, india5, \
             asia-europe5",
            "no profile `Monsoons` in geo-topology.yaml (did you mean `monsoon`?); it has ideal, \
             backbone, stressed, congested, isp-fault, monsoon",
            "no site `paris` in geo-topology.yaml; it has mumbai, delhi, bangalore, chennai, \
             hyderabad, singapore, frankfurt",
            "no set `` in geo-topology.yaml; it has india3, india5, asia-europe5",
            "no profile `sunny` in geo-topology.yaml; it has ideal, backbone, stressed, \
             congested, isp-fault, monsoon",
            "no pair `chennai–frankfurt` in geo-topology.yaml; it has mumbai–chennai, \
             delhi–chennai, bangalore–chennai, chennai–hyderabad, chennai–singapore",
            "no site `frankfort` in geo-topology.yaml (did you mean `frankfurt`?); it has mumbai, \
             delhi, bangalore, chennai, hyderabad, singapore, frankfurt",
        ]
    );
}
