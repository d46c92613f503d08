//! From the document tree to a checked topology.
//!
//! Sections are read in dependency order (sites, pairs, sets, profiles) and the first mistake
//! ends the reading: later ones are often its consequence.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::diagnostic::{Diagnostic, Position, Source, quoted};
use crate::document::{self, Key, Node, Value};
use crate::fields::{Fields, Read, named_entries, number};
use crate::matrix::RTT_US_MAX;
use crate::model::{Flap, Pair, Profile, Site, SiteSet, TimeRange};
use crate::suggest::nearest;
use crate::topology::Topology;

/// Longest file accepted, in bytes. The built-in one has 7 KB; a full table of 256 sites fits.
pub(crate) const TEXT_BYTES_MAX: usize = 8 << 20;
/// Most sites, sets and profiles.
const SITES_MAX: usize = 256;
const SETS_MAX: usize = 256;
const PROFILES_MAX: usize = 256;
/// Most replicas of a set: what a group can have.
const SET_SITES_MAX: usize = 16;

/// The layout of the file this build reads.
const FORMAT: f64 = 1.0;
/// A round trip shorter than 2 µs has no exact half.
const RTT_MS: RangeInclusive<f64> = 0.002..=(RTT_US_MAX / 1_000) as f64;
/// Half the way round the Earth.
const KM: RangeInclusive<f64> = 0.0..=20_038.0;
const SECONDS: RangeInclusive<f64> = 0.0..=604_800.0;
const MEDIAN_MS: RangeInclusive<f64> = 0.0..=60_000.0;
/// e^(2.33 · 4): the p99 is ten thousand times the median. No network is wilder.
const SIGMA: RangeInclusive<f64> = 0.0..=4.0;
const BURST: RangeInclusive<f64> = 1.0..=1_000_000.0;
/// From 1 kbit/s to 1 Tbit/s.
const MEGABITS: RangeInclusive<f64> = 0.001..=1_000_000.0;
const MEGABITS_DEFAULT: f64 = 1_000.0;

/// Speed of light in kilometres per millisecond: in vacuum, which nothing beats, and in glass of
/// refractive index 1.5.
const VACUUM_KM_PER_MS: f64 = 299.792_458;
const FIBRE_KM_PER_MS: f64 = VACUUM_KM_PER_MS / 1.5;

/// Reads and checks the whole file.
pub(crate) fn topology(source: &Source<'_>) -> Read<Topology> {
    if source.text.len() > TEXT_BYTES_MAX {
        let message = format!("a topology has at most {TEXT_BYTES_MAX} bytes");
        return Err(source.mistake(Position::START, message, ""));
    }
    let known = ["format", "sites", "pairs", "sets", "profiles"];
    let mut top = Fields::open(source, "a topology", document::read(source)?, &known)?;
    let format = top.required("format", "1, the layout of the file")?;
    let (version, at) = number(source, "format", &format, "", &(1.0..=1_000_000.0))?;
    if version != FORMAT {
        let message = format!("format {version} is not known to this version");
        return Err(source.mistake(at, message, format!("it reads format {FORMAT}")));
    }
    let sites = sites(source, top.required("sites", "a mapping from names to cities")?)?;
    let pairs = pairs(source, top.required("pairs", "a list of pairs")?, &sites)?;
    let sets = top.required("sets", "a mapping from names to lists of sites")?;
    let sets = self::sets(source, sets, &sites, &pairs)?;
    let profiles = profiles(source, top.required("profiles", "a mapping from names to weather")?)?;
    Ok(Topology { file: source.name.to_owned(), sites, pairs: pairs.list, sets, profiles })
}

fn sites(source: &Source<'_>, node: Node) -> Read<Vec<Site>> {
    let entries = named_entries(source, "sites", node, SITES_MAX)?;
    entries.into_iter().map(|(key, node)| site(source, key, node)).collect()
}

fn site(source: &Source<'_>, key: Key, node: Node) -> Read<Site> {
    let what = format!("the site `{}`", key.text);
    if matches!(node.value, Value::Nothing) {
        return Ok(Site { label: key.text.clone(), name: key.text, coordinates: None });
    }
    let mut fields = Fields::open(source, &what, node, &["label", "latitude", "longitude"])?;
    let label = fields.optional_text("label")?.unwrap_or_else(|| key.text.clone());
    let latitude = fields.optional_number("latitude", "degrees", -90.0..=90.0)?;
    let longitude = fields.optional_number("longitude", "degrees", -180.0..=180.0)?;
    let coordinates = match (latitude, longitude) {
        (Some((latitude, _)), Some((longitude, _))) => Some((latitude, longitude)),
        (None, None) => None,
        (Some((_, at)), None) | (None, Some((_, at))) => {
            let message = format!("{what} has only one of `latitude` and `longitude`");
            return Err(source.mistake(at, message, "give both or neither"));
        }
    };
    Ok(Site { name: key.text, label, coordinates })
}

/// The pairs in file order, and which one joins two sites (by name, in sorted order).
struct Pairs {
    list: Vec<Pair>,
    lines: BTreeMap<(String, String), usize>,
}

fn sorted(a: &str, b: &str) -> (String, String) {
    if a <= b { (a.to_owned(), b.to_owned()) } else { (b.to_owned(), a.to_owned()) }
}

fn pairs(source: &Source<'_>, node: Node, sites: &[Site]) -> Read<Pairs> {
    let Value::List(items) = node.value else {
        let message = format!("`pairs` must be a list, found {}", node.value.describe());
        return Err(source.mistake(node.at, message, "begin each pair with `- between:`"));
    };
    let mut pairs = Pairs { list: Vec::new(), lines: BTreeMap::new() };
    for item in items {
        let (pair, at) = pair(source, item, sites)?;
        let [a, b] = &pair.between;
        if let Some(line) = pairs.lines.insert(sorted(a, b), at.line) {
            let message = format!("the pair {a}–{b} is listed twice");
            return Err(source.mistake(at, message, format!("it already stands on line {line}")));
        }
        pairs.list.push(pair);
    }
    Ok(pairs)
}

fn pair(source: &Source<'_>, node: Node, sites: &[Site]) -> Read<(Pair, Position)> {
    let known = ["between", "rtt_ms", "great_circle_km", "fibre_rtt_ms", "source"];
    let mut fields = Fields::open(source, "a pair", node, &known)?;
    let between = fields.required("between", "two sites, as in [mumbai, delhi]")?;
    let (between, at) = ends(source, between, sites)?;
    let (rtt_ms, rtt_at) = fields.number("rtt_ms", "ms", RTT_MS)?;
    let km = fields.optional_number("great_circle_km", "km", KM)?.map(|(km, _)| km);
    let fibre = fields.optional_number("fibre_rtt_ms", "ms", 0.0..=*RTT_MS.end())?;
    check_light(source, "rtt_ms", Some((rtt_ms, rtt_at)), km)?;
    check_light(source, "fibre_rtt_ms", fibre, km)?;
    let fibre_ms = fibre.map(|(ms, _)| ms).or(km.map(|km| 2.0 * km / FIBRE_KM_PER_MS));
    let pair = Pair {
        between,
        rtt_us: even_us(rtt_ms),
        great_circle_km: km,
        fibre_rtt_us: fibre_ms.map(even_us),
        source: fields.text("source", "who measured it, or `assumption`")?,
    };
    Ok((pair, at))
}

/// The two sites of a pair, and where the first stands.
fn ends(source: &Source<'_>, node: Node, sites: &[Site]) -> Read<([String; 2], Position)> {
    let names = site_names(source, "between", node, sites)?;
    let at = names.at;
    match <[(String, Position); 2]>::try_from(names.list) {
        Ok([(a, _), (b, b_at)]) if a == b => {
            let help = "every site is at no distance from itself; remove the pair";
            Err(source.mistake(b_at, format!("`{a}` is paired with itself"), help))
        }
        Ok([(a, a_at), (b, _)]) => Ok(([a, b], a_at)),
        Err(names) => {
            let message = format!("`between` must name two sites, found {}", names.len());
            Err(source.mistake(at, message, ""))
        }
    }
}

/// Nothing outruns light, so a shorter time is a slip of a digit or of a unit.
fn check_light(
    source: &Source<'_>,
    key: &str,
    time: Option<(f64, Position)>,
    km: Option<f64>,
) -> Read<()> {
    let (Some((ms, at)), Some(km)) = (time, km) else { return Ok(()) };
    let light_ms = 2.0 * km / VACUUM_KM_PER_MS;
    if ms >= light_ms {
        return Ok(());
    }
    let message = format!("`{key}` of {ms} ms is faster than light");
    let help = format!("{km} km there and back take {light_ms:.1} ms even in vacuum");
    Err(source.mistake(at, message, help))
}

/// Site names of a list, each known, with their places.
struct Names {
    at: Position,
    list: Vec<(String, Position)>,
}

fn site_names(source: &Source<'_>, key: &str, node: Node, sites: &[Site]) -> Read<Names> {
    let Value::List(items) = node.value else {
        let message = format!("`{key}` must be a list of sites, found {}", node.value.describe());
        return Err(source.mistake(node.at, message, "write them as in [mumbai, delhi]"));
    };
    let mut list = Vec::with_capacity(items.len());
    for item in items {
        let Value::Text(name) = item.value else {
            let message = format!("expected the name of a site, found {}", item.value.describe());
            return Err(source.mistake(item.at, message, ""));
        };
        if !sites.iter().any(|site| site.name == name) {
            let known = || sites.iter().map(|site| site.name.as_str());
            let help = match nearest(&name, known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the sites are {}", listed(known())),
            };
            return Err(source.mistake(item.at, format!("unknown site {}", quoted(&name)), help));
        }
        list.push((name, item.at));
    }
    Ok(Names { at: node.at, list })
}

/// The first dozen names: a help line is not the place for two hundred.
pub(crate) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 12;
    let mut names: Vec<&str> = names.collect();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    match more {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

fn sets(source: &Source<'_>, node: Node, sites: &[Site], pairs: &Pairs) -> Read<Vec<SiteSet>> {
    let entries = named_entries(source, "sets", node, SETS_MAX)?;
    entries.into_iter().map(|(key, node)| set(source, key, node, sites, pairs)).collect()
}

fn set(source: &Source<'_>, key: Key, node: Node, sites: &[Site], pairs: &Pairs) -> Read<SiteSet> {
    let names = site_names(source, &key.text, node, sites)?;
    if names.list.is_empty() {
        let message = format!("the set `{}` is empty", key.text);
        return Err(source.mistake(key.at, message, "name at least one site"));
    }
    if let Some((_, at)) = names.list.get(SET_SITES_MAX) {
        let message = format!("the set `{}` has more than {SET_SITES_MAX} sites", key.text);
        return Err(source.mistake(*at, message, "a group has no more replicas than that"));
    }
    for (i, (b, at)) in names.list.iter().enumerate() {
        for (a, _) in &names.list[..i] {
            if a == b {
                let message = format!("the set `{}` names `{a}` twice", key.text);
                return Err(source.mistake(*at, message, "a site holds one replica of a set"));
            }
            if !pairs.lines.contains_key(&sorted(a, b)) {
                let message = format!("the set `{}` needs the pair {a}–{b}", key.text);
                let help =
                    format!("add `- between: [{a}, {b}]` to `pairs`, with `rtt_ms` and `source`");
                return Err(source.mistake(*at, message, help));
            }
        }
    }
    let sites = names.list.into_iter().map(|(name, _)| name).collect();
    Ok(SiteSet { name: key.text, sites })
}

fn profiles(source: &Source<'_>, node: Node) -> Read<Vec<Profile>> {
    let entries = named_entries(source, "profiles", node, PROFILES_MAX)?;
    entries.into_iter().map(|(key, node)| profile(source, key, node)).collect()
}

fn profile(source: &Source<'_>, key: Key, node: Node) -> Read<Profile> {
    let known = [
        "note",
        "jitter_median_ms",
        "jitter_sigma",
        "loss",
        "burst_packets",
        "up_s",
        "down_s",
        "bandwidth_mbit",
        "source",
    ];
    let what = format!("the profile `{}`", key.text);
    let mut fields = Fields::open(source, &what, node, &known)?;
    let note = fields.text("note", "what situation it stands for")?;
    let (jitter_median_ms, _) = fields.number("jitter_median_ms", "ms", MEDIAN_MS)?;
    let (jitter_sigma, _) = fields.number("jitter_sigma", "", SIGMA)?;
    let (loss, _) = fields.number("loss", "(0.01 is 1 %)", 0.0..=1.0)?;
    let (burst_packets, _) = fields.number("burst_packets", "packets", BURST)?;
    let up = time_range(source, "up_s", &fields.required("up_s", "[shortest, longest]")?)?;
    let down_s = fields.required("down_s", "[shortest, longest]")?;
    let down = time_range(source, "down_s", &down_s)?;
    let flap = match (up.max_us, down.max_us) {
        (0, 0) => None,
        (1.., 1..) => Some(Flap { up, down }),
        _ => {
            let message = format!("{what} has only one of `up_s` and `down_s`");
            let help = "a link that fails is up for a while, then down; [0, 0] for both if it \
                        never fails";
            return Err(source.mistake(down_s.at, message, help));
        }
    };
    let bandwidth = fields.optional_number("bandwidth_mbit", "Mbit/s", MEGABITS)?;
    let megabits = bandwidth.map_or(MEGABITS_DEFAULT, |(megabits, _)| megabits);
    Ok(Profile {
        name: key.text,
        note,
        source: fields.text("source", "where the numbers come from, or `assumption`")?,
        jitter_median_us: even_us(jitter_median_ms),
        jitter_sigma,
        loss,
        burst_packets,
        flap,
        bandwidth_bits_per_s: (megabits * 1e6).round() as u64,
    })
}

fn time_range(source: &Source<'_>, key: &str, node: &Node) -> Read<TimeRange> {
    let expected = |found: String| {
        let message = format!("`{key}` must be [shortest, longest] in seconds, found {found}");
        source.mistake(node.at, message, "") as Box<Diagnostic>
    };
    let Value::List(items) = &node.value else {
        return Err(expected(node.value.describe()));
    };
    let [shortest, longest] = items.as_slice() else {
        return Err(expected(format!("a list of {}", items.len())));
    };
    let (min_s, _) = number(source, key, shortest, "s", &SECONDS)?;
    let (max_s, _) = number(source, key, longest, "s", &SECONDS)?;
    if min_s > max_s {
        return Err(expected(format!("[{min_s}, {max_s}]")));
    }
    Ok(TimeRange { min_us: (min_s * 1e6).round() as u64, max_us: (max_s * 1e6).round() as u64 })
}

/// The nearest even number of microseconds, so that one way is exactly half.
fn even_us(ms: f64) -> u64 {
    // In range by now: at most 6e7, far from where f64 loses whole numbers.
    (ms * 500.0).round() as u64 * 2
}
