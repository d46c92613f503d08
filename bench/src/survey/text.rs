//! A topology file, written.

use std::fmt::Write as _;

use panchayat::Topology;
use panchayat::topology::{Flap, TimeRange};

use super::fit::{Leg, Weather};

/// The profile that holds the weather found.
const PROFILE: &str = "measured";
/// What light in vacuum covers in a millisecond there and back, in kilometres.
const LIGHT_KM_PER_MS: f64 = 299.792_458 / 2.0;

pub(super) fn write(
    base: &Topology,
    sites: &[String],
    (set, date): (&str, &str),
    legs: &[Leg],
) -> String {
    let weather = Weather::of(legs);
    let mut out = format!(
        "# Round trips between the hosts of {}, measured by `panchayat geo measure` on {date}.\n\
         # Numbers are these hosts' and this hour's. Every field is explained in geo-topology.yaml.\n\
         format: 1\n\nsites:\n",
        sites.join(", ")
    );
    for name in sites {
        let known = base.site(name).ok();
        let label = known.map_or(name, |site| &site.label);
        let place = known
            .and_then(|site| site.coordinates)
            .map_or_else(String::new, |(n, e)| format!(", latitude: {n}, longitude: {e}"));
        let _ = writeln!(out, "  {}: {{ label: {}{place} }}", quoted(name), quoted(label));
    }
    out.push_str("\npairs:\n");
    for leg in legs {
        pair(&mut out, base, leg, &weather, date);
    }
    let members: Vec<String> = sites.iter().map(|site| quoted(site)).collect();
    let _ = write!(out, "\nsets:\n  {}: [{}]\n\nprofiles:\n", quoted(set), members.join(", "));
    profiles(&mut out, base, &weather, date);
    out
}

fn pair(out: &mut String, base: &Topology, leg: &Leg, weather: &Weather, date: &str) {
    let ([a, b], told) = (&leg.between, leg.told);
    let rtt_ms = weather.quiet_us(leg) as f64 / 1e3;
    let _ = write!(out, "  - between: [{}, {}]\n    rtt_ms: {rtt_ms:.3}\n", quoted(a), quoted(b));
    let mut doubt = String::new();
    if let Some((pair, km)) = base.pair(a, b).ok().and_then(|p| Some((p, p.great_circle_km?))) {
        if rtt_ms < km / LIGHT_KM_PER_MS {
            // Not where the base says they are.
            doubt = format!("; less than light needs for {km} km, so the hosts are not there");
        } else {
            let _ = writeln!(out, "    great_circle_km: {km}");
            if let Some(us) = pair.fibre_rtt_us {
                let _ = writeln!(out, "    fibre_rtt_ms: {:.3}", us as f64 / 1e3);
            }
        }
    }
    let ms = |us: u64| us as f64 / 1e3;
    let source = format!(
        "panchayat geo measure {date}, {} round trips, min {:.3} ms, p50 {:.3} ms, p99 {:.3} ms, \
         {} of {} packets lost{doubt}",
        told.pings,
        ms(told.min_us),
        ms(told.p50_us),
        ms(told.p99_us),
        told.packets_lost,
        told.packets_sent,
    );
    let _ = writeln!(out, "    source: {}", quoted(&source));
}

fn profiles(out: &mut String, base: &Topology, weather: &Weather, date: &str) {
    let mut entry = |name: &str, fields: &[(&str, String)]| {
        let _ = writeln!(out, "  {}:", quoted(name));
        for (key, value) in fields {
            let _ = writeln!(out, "    {key}: {value}");
        }
    };
    let none = || "[0, 0]".to_owned();
    entry(
        PROFILE,
        &[
            ("note", quoted("What these hosts saw of each other.")),
            ("jitter_median_ms", format!("{:.3}", weather.jitter_median_us as f64 / 1e3)),
            ("jitter_sigma", format!("{:.3}", weather.jitter_sigma)),
            ("loss", format!("{:.6}", weather.loss)),
            ("burst_packets", "1".to_owned()),
            ("up_s", none()),
            ("down_s", none()),
            (
                "source",
                quoted(&format!(
                    "panchayat geo measure {date}, jitter fitted to p50 and p99 over the shortest, \
                     loss as QUIC counts it"
                )),
            ),
        ],
    );
    for profile in base.profiles().iter().filter(|profile| profile.name != PROFILE) {
        let range = |of: fn(&Flap) -> TimeRange| {
            profile.flap.as_ref().map_or_else(none, |flap| {
                let range = of(flap);
                format!("[{}, {}]", range.min_us as f64 / 1e6, range.max_us as f64 / 1e6)
            })
        };
        entry(
            &profile.name,
            &[
                ("note", quoted(&profile.note)),
                ("jitter_median_ms", (profile.jitter_median_us as f64 / 1e3).to_string()),
                ("jitter_sigma", profile.jitter_sigma.to_string()),
                ("loss", profile.loss.to_string()),
                ("burst_packets", profile.burst_packets.to_string()),
                ("up_s", range(|flap| flap.up)),
                ("down_s", range(|flap| flap.down)),
                ("bandwidth_mbit", (profile.bandwidth_bits_per_s as f64 / 1e6).to_string()),
                ("source", quoted(&profile.source)),
            ],
        );
    }
}

/// A text as YAML takes it whatever is in it.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out + "\""
}
