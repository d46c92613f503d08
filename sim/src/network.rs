//! The simulated network: one directed link per pair, each with its own delay and its own troubles.
//!
//! A frame handed to [`Network::route`] arrives zero, one or more times. Partitions are counted per
//! link, so that overlapping ones lift independently.

use smallvec::SmallVec;

use crate::rng::Rng;

/// What the weather does to every link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Jitter: up to this share of the delay is added.
    pub jitter_percent: u64,
    /// Frames lost, in a million.
    pub loss_ppm: u64,
    /// Frames delivered twice, in a million.
    pub duplicate_ppm: u64,
    /// Frames held back so long that later ones overtake them, in a million.
    pub reorder_ppm: u64,
    /// Jitter besides: lognormal with this median, each direction for itself. 0 for none.
    pub lognormal_median_us: u64,
    /// The sigma of that jitter, in hundredths.
    pub lognormal_sigma_hundredths: u64,
    /// Frames lost and sent again by the transport beneath, in a million: they arrive one and a
    /// half round trips late, as after a loss that an acknowledgement reveals.
    pub resent_ppm: u64,
}

/// A directed pair of replicas.
pub type LinkId = (usize, usize);

#[derive(Clone, Debug, Default)]
struct Link {
    delay_us: u64,
    cuts: u32,
    dark_until_us: u64,
    clogged_until_us: u64,
    extra_us: u64,
    extra_until_us: u64,
    last_arrival_us: u64,
}

/// All links of a run.
#[derive(Debug)]
pub struct Network {
    replicas: usize,
    links: Vec<Link>,
    fifo: bool,
    weather: Weather,
    rng: Rng,
    heartbeat_rng: Rng,
    lost: u64,
}

impl Network {
    /// Links with the one-way delays `delays_us[from][to]`. If `fifo`, a frame never overtakes an
    /// earlier one of its link, unless the weather reorders.
    pub fn new(seed: u64, delays_us: &[Vec<u64>], fifo: bool, weather: Weather) -> Self {
        let replicas = delays_us.len();
        assert!(delays_us.iter().all(|row| row.len() == replicas), "a square matrix is needed");
        let links = delays_us
            .iter()
            .flatten()
            .map(|delay_us| Link { delay_us: *delay_us, ..Link::default() })
            .collect();
        let (rng, heartbeat_rng) = (Rng::new(seed, "network"), Rng::new(seed, "heartbeats"));
        Self { replicas, links, fifo, weather, rng, heartbeat_rng, lost: 0 }
    }

    /// The times at which a frame sent now arrives.
    pub fn route(&mut self, (from, to): LinkId, now_us: u64) -> SmallVec<[u64; 2]> {
        let weather = self.weather;
        let bumps_us = self.bumps_us((from, to));
        let link = &mut self.links[from * self.replicas + to];
        let mut arrivals = SmallVec::new();
        // Drawn whether needed or not: a partition does not shift the draws of later frames.
        let lost = self.rng.ppm(weather.loss_ppm);
        let jitter = self.rng.below(link.delay_us * weather.jitter_percent / 100 + 1);
        let twice = self.rng.ppm(weather.duplicate_ppm);
        let held = self.rng.ppm(weather.reorder_ppm);
        if lost || link.cuts > 0 || now_us < link.dark_until_us {
            self.lost += 1;
            return arrivals;
        }
        let mut at = now_us + link.delay_us + jitter;
        if now_us < link.extra_until_us {
            at += link.extra_us;
        }
        at += bumps_us;
        at = at.max(link.clogged_until_us);
        if held {
            at += self.rng.below(4 * link.delay_us + 1_000);
        } else if self.fifo {
            at = at.max(link.last_arrival_us);
            link.last_arrival_us = at;
        }
        arrivals.push(at);
        if twice {
            arrivals.push(at + self.rng.below(4 * link.delay_us + 1_000));
        }
        arrivals
    }

    /// What a transport over a long line adds. Runs without it draw nothing.
    fn bumps_us(&mut self, (from, to): LinkId) -> u64 {
        let weather = self.weather;
        let mut bumps_us = 0;
        if weather.lognormal_median_us > 0 {
            let sigma = weather.lognormal_sigma_hundredths as f64 / 100.0;
            let factor = (sigma * self.rng.normal()).exp();
            bumps_us += (weather.lognormal_median_us as f64 * factor) as u64;
        }
        if self.rng.ppm(weather.resent_ppm) {
            let there = self.links[from * self.replicas + to].delay_us;
            let back = self.links[to * self.replicas + from].delay_us;
            bumps_us += (there + back) * 3 / 2;
        }
        bumps_us
    }

    /// When a heartbeat sent now arrives. The transport sends them past its queues, so a clog does
    /// not hold them back.
    pub fn route_heartbeat(&mut self, (from, to): LinkId, now_us: u64) -> Option<u64> {
        let link = &self.links[from * self.replicas + to];
        let lost = self.heartbeat_rng.ppm(self.weather.loss_ppm);
        if lost || link.cuts > 0 || now_us < link.dark_until_us {
            return None;
        }
        let extra = if now_us < link.extra_until_us { link.extra_us } else { 0 };
        Some(now_us + link.delay_us + extra)
    }

    /// Cuts a link, once more.
    pub fn cut(&mut self, link: LinkId) {
        self.link(link).cuts += 1;
    }

    /// Loses everything sent over a link before `until_us`.
    pub fn darken(&mut self, link: LinkId, until_us: u64) {
        self.link(link).dark_until_us = until_us;
    }

    /// Lifts one cut of a link.
    pub fn mend(&mut self, link: LinkId) {
        let link = self.link(link);
        link.cuts = link.cuts.saturating_sub(1);
    }

    /// Nothing arrives over a link until `until_us`; then everything at once.
    pub fn clog(&mut self, link: LinkId, until_us: u64) {
        self.link(link).clogged_until_us = until_us;
    }

    /// Adds `extra_us` to a link's delay until `until_us`.
    pub fn spike(&mut self, link: LinkId, extra_us: u64, until_us: u64) {
        let link = self.link(link);
        (link.extra_us, link.extra_until_us) = (extra_us, until_us);
    }

    /// Changes the weather; returns what it was.
    pub fn set_weather(&mut self, weather: Weather) -> Weather {
        std::mem::replace(&mut self.weather, weather)
    }

    /// Ends every trouble of every link.
    pub fn heal(&mut self, weather: Weather) {
        self.weather = weather;
        for link in &mut self.links {
            *link = Link {
                delay_us: link.delay_us,
                last_arrival_us: link.last_arrival_us,
                ..Link::default()
            };
        }
    }

    /// Frames lost so far.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn link(&mut self, (from, to): LinkId) -> &mut Link {
        &mut self.links[from * self.replicas + to]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two(weather: Weather, fifo: bool) -> Network {
        Network::new(1, &[vec![0, 100], vec![300, 0]], fifo, weather)
    }

    #[test]
    fn calm_links_have_exactly_their_delay_in_each_direction() {
        let mut network = two(Weather::default(), true);
        assert_eq!(network.route((0, 1), 50)[..], [150]);
        assert_eq!(network.route((1, 0), 50)[..], [350]);
    }

    #[test]
    fn a_link_cut_twice_must_be_mended_twice_and_only_in_its_direction() {
        let mut network = two(Weather::default(), true);
        network.cut((0, 1));
        network.cut((0, 1));
        network.mend((0, 1));
        assert!(network.route((0, 1), 0).is_empty());
        assert!(network.route_heartbeat((0, 1), 0).is_none());
        assert_eq!(network.route((1, 0), 0).len(), 1);
        network.mend((0, 1));
        assert_eq!(network.route((0, 1), 0).len(), 1);
    }

    #[test]
    fn a_clog_holds_frames_but_not_heartbeats() {
        let mut network = two(Weather::default(), true);
        network.clog((0, 1), 5_000);
        assert_eq!(network.route((0, 1), 0)[..], [5_000]);
        assert_eq!(network.route_heartbeat((0, 1), 0), Some(100));
    }

    #[test]
    fn long_lines_are_late_now_and_then_and_jitter_around_their_median() {
        let line = Weather {
            lognormal_median_us: 1_000,
            lognormal_sigma_hundredths: 70,
            ..Weather::default()
        };
        let late = |weather: Weather| -> Vec<u64> {
            let mut network = two(weather, false);
            (0..2_001)
                .filter_map(|at| Some(network.route((0, 1), at).first()? - at - 100))
                .collect()
        };
        let mut drawn = late(line);
        drawn.sort_unstable();
        assert!((950..1_050).contains(&drawn[1_000]), "median {}", drawn[1_000]);
        // e^(2.326 · 0.7) = 5.1 is the 99th percentile's factor.
        assert!((4_400..5_900).contains(&drawn[1_981]), "p99 {}", drawn[1_981]);
        let resent = late(Weather { resent_ppm: 100_000, ..Weather::default() });
        assert!(resent.iter().all(|late| [0, 600].contains(late)));
        assert!((150..250).contains(&resent.iter().filter(|late| **late == 600).count()));
    }

    #[test]
    fn bad_weather_loses_doubles_and_reorders() {
        let bad = Weather {
            jitter_percent: 50,
            loss_ppm: 200_000,
            duplicate_ppm: 200_000,
            reorder_ppm: 200_000,
            ..Weather::default()
        };
        let mut network = two(bad, true);
        let routes: Vec<_> = (0..1_000).map(|at| network.route((0, 1), at)).collect();
        let firsts: Vec<u64> = routes.iter().filter_map(|r| r.first().copied()).collect();
        assert!(routes.iter().any(|route| route.is_empty()));
        assert!(routes.iter().any(|route| route.len() == 2));
        assert!(firsts.windows(2).any(|pair| pair[1] < pair[0]));
    }
}
