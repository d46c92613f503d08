//! The lines between cities as a run for figures has them: distance, jitter, loss in bursts,
//! outages, bandwidth.
//!
//! Numbers come from a profile of the topology. A frame is cut into packets, and each packet takes
//! one step of the line's loss chain. What a lost packet means depends on the lane: on a *stream*
//! it is sent again, so its frame comes late and holds up what follows on that line; in a *datagram*
//! it takes its frame with it. No datagram is longer than a packet, so longer frames take the stream
//! beside them.

use crate::rng::Rng;

/// Bytes of a frame that fit a packet: 1,200 less what QUIC and UDP put around them.
const PACKET_BYTES: u64 = 1_130;
/// What they put around them.
const PACKET_OVERHEAD_BYTES: u64 = 70;

/// What carries frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lane {
    /// In order, and nothing is lost while the line is up: a lost packet comes one and a half round
    /// trips late, as after a loss that an acknowledgement reveals, and what was sent after it
    /// waits.
    #[default]
    Stream,
    /// Each frame for itself if it fits a packet: it is lost with it, and may overtake. Longer ones are
    /// sent as on [`Lane::Stream`].
    Datagram,
}

/// A directed line.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Propagation, in microseconds.
    pub one_way_us: u64,
    /// Median of the lognormal jitter, in microseconds; 0 for none.
    pub jitter_median_us: u64,
    /// Its sigma.
    pub jitter_sigma: f64,
    /// Probability that a packet after a delivered one is lost.
    pub loss_enter: f64,
    /// Probability that a packet after a lost one is delivered.
    pub loss_leave: f64,
    /// Bits per second; 0 for no bound.
    pub bits_per_s: u64,
    /// How the line fails: shortest and longest time up, then shortest and longest time down, in
    /// microseconds. Both directions of a pair fail together.
    pub flap_us: Option<[u64; 4]>,
}

impl Line {
    /// A line that has nothing but its length.
    pub fn ideal(one_way_us: u64) -> Self {
        Self {
            one_way_us,
            jitter_median_us: 0,
            jitter_sigma: 0.0,
            loss_enter: 0.0,
            loss_leave: 1.0,
            bits_per_s: 0,
            flap_us: None,
        }
    }
}

/// What a line is doing.
#[derive(Clone, Debug)]
struct Link {
    line: Line,
    rng: Rng,
    losing: bool,
    free_at_us: u64,
    last_arrival_us: u64,
    cuts: u32,
    extra_us: u64,
    /// How long the latest frame took that arrived, unless it was looked at.
    took_us: Option<u64>,
}

/// When a pair of cities is cut off from each other by the weather: drawn as far as time has come.
#[derive(Clone, Debug)]
struct Outages {
    rng: Rng,
    bounds_us: [u64; 4],
    down_from_us: u64,
    down_to_us: u64,
}

/// All lines of a run.
#[derive(Clone, Debug)]
pub(super) struct Links {
    n: usize,
    lane: Lane,
    links: Vec<Link>,
    /// By pair, the smaller seat first.
    outages: Vec<Option<Outages>>,
    lost: u64,
}

impl Links {
    /// `lines[from][to]`; the diagonal is not used.
    pub(super) fn new(seed: u64, lines: &[Vec<Line>], lane: Lane) -> Self {
        let n = lines.len();
        assert!(lines.iter().all(|row| row.len() == n), "a square table of lines");
        let pairs = || (0..n).flat_map(|a| (0..n).map(move |b| (a, b)));
        let link = |(from, to): (usize, usize)| Link {
            line: lines[from][to].clone(),
            rng: Rng::new(seed, &format!("line {from}-{to}")),
            losing: false,
            free_at_us: 0,
            last_arrival_us: 0,
            cuts: 0,
            extra_us: 0,
            took_us: None,
        };
        let outages = |(a, b): (usize, usize)| {
            let bounds_us = lines[a][b].flap_us.filter(|_| a < b)?;
            let mut rng = Rng::new(seed, &format!("outages {a}-{b}"));
            let down_from_us = rng.between(bounds_us[0], bounds_us[1]);
            let down_to_us = down_from_us + rng.between(bounds_us[2], bounds_us[3]).max(1);
            Some(Outages { rng, bounds_us, down_from_us, down_to_us })
        };
        let links = pairs().map(link).collect();
        Self { n, lane, links, outages: pairs().map(outages).collect(), lost: 0 }
    }

    /// When a frame of `bytes` that leaves at `now_us` arrives, if it does.
    pub(super) fn route(
        &mut self,
        (from, to): (usize, usize),
        now_us: u64,
        bytes: u64,
    ) -> Option<u64> {
        let down = self.is_down(from, to, now_us);
        let back_us = self.links[to * self.n + from].line.one_way_us;
        let link = &mut self.links[from * self.n + to];
        let packets = bytes.div_ceil(PACKET_BYTES).max(1);
        let departs_us = now_us.max(link.free_at_us);
        link.free_at_us = departs_us + link.transmit_us(bytes + packets * PACKET_OVERHEAD_BYTES);
        // Drawn whether needed or not: a cut does not shift the draws of later frames.
        let jitter_us = link.jitter_us();
        let (mut late_us, mut whole) = (0, true);
        for _ in 0..packets {
            let mut tries = 0;
            while link.loses() {
                whole = false;
                tries += 1;
            }
            late_us = late_us.max(tries * (link.line.one_way_us + back_us) * 3 / 2);
        }
        let alone = self.lane == Lane::Datagram && packets == 1;
        if down || (alone && !whole) {
            self.lost += 1;
            return None;
        }
        let mut at_us = link.free_at_us + link.line.one_way_us + link.extra_us + jitter_us;
        if !alone {
            at_us = (at_us + late_us).max(link.last_arrival_us);
            link.last_arrival_us = at_us;
        }
        link.took_us = Some(at_us - now_us);
        Some(at_us)
    }

    /// How long the latest frames there and back took together, if there were any since this was last
    /// asked: what a ping would have taken that travelled with them.
    pub(super) fn take_ping_us(&mut self, from: usize, to: usize) -> Option<u64> {
        let (there, back) = (from * self.n + to, to * self.n + from);
        let ping_us = self.links[there].took_us? + self.links[back].took_us?;
        (self.links[there].took_us, self.links[back].took_us) = (None, None);
        Some(ping_us)
    }

    /// When a heartbeat sent now arrives: a packet of its own, that nothing holds up.
    pub(super) fn route_heartbeat(
        &mut self,
        (from, to): (usize, usize),
        now_us: u64,
    ) -> Option<u64> {
        if self.is_down(from, to, now_us) {
            return None;
        }
        let link = &self.links[from * self.n + to];
        Some(now_us + link.line.one_way_us + link.extra_us)
    }

    /// Cuts a line, once more.
    pub(super) fn cut(&mut self, from: usize, to: usize) {
        self.links[from * self.n + to].cuts += 1;
    }

    /// Lifts one cut.
    pub(super) fn mend(&mut self, from: usize, to: usize) {
        let link = &mut self.links[from * self.n + to];
        link.cuts = link.cuts.saturating_sub(1);
    }

    /// Makes a line longer.
    pub(super) fn slow(&mut self, from: usize, to: usize, by_us: u64) {
        self.links[from * self.n + to].extra_us += by_us;
    }

    /// Takes a delay back.
    pub(super) fn unslow(&mut self, from: usize, to: usize, by_us: u64) {
        let link = &mut self.links[from * self.n + to];
        link.extra_us = link.extra_us.saturating_sub(by_us);
    }

    /// Ends what was done to lines on purpose, and the weather's outages for good.
    pub(super) fn end_troubles(&mut self) {
        for link in &mut self.links {
            (link.cuts, link.extra_us) = (0, 0);
        }
        self.outages.iter_mut().for_each(|outages| *outages = None);
    }

    /// Frames that never arrived.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    fn is_down(&mut self, from: usize, to: usize, now_us: u64) -> bool {
        let pair = from.min(to) * self.n + from.max(to);
        let dark = self.outages[pair].as_mut().is_some_and(|outages| outages.is_down(now_us));
        dark || self.links[from * self.n + to].cuts > 0
    }
}

impl Link {
    fn transmit_us(&self, bytes: u64) -> u64 {
        let bits = u128::from(bytes) * 8 * 1_000_000;
        // Rounded down: a small frame on a fast line takes no whole microsecond.
        bits.checked_div(u128::from(self.line.bits_per_s)).unwrap_or(0) as u64
    }

    fn jitter_us(&mut self) -> u64 {
        if self.line.jitter_median_us == 0 {
            return 0;
        }
        let factor = (self.line.jitter_sigma * self.rng.normal()).exp();
        (self.line.jitter_median_us as f64 * factor) as u64
    }

    fn loses(&mut self) -> bool {
        if self.line.loss_enter <= 0.0 {
            return false;
        }
        let unit = (self.rng.bits() >> 11) as f64 / (1u64 << 53) as f64;
        let turns = if self.losing { self.line.loss_leave } else { self.line.loss_enter };
        if unit < turns {
            self.losing = !self.losing;
        }
        self.losing
    }
}

impl Outages {
    /// Asked about times that only grow.
    fn is_down(&mut self, now_us: u64) -> bool {
        let [up_min, up_max, down_min, down_max] = self.bounds_us;
        while now_us >= self.down_to_us {
            self.down_from_us = self.down_to_us + self.rng.between(up_min, up_max);
            self.down_to_us = self.down_from_us + self.rng.between(down_min, down_max).max(1);
        }
        now_us >= self.down_from_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two(line: &Line, lane: Lane) -> Links {
        Links::new(1, &vec![vec![line.clone(); 2]; 2], lane)
    }

    #[test]
    fn an_ideal_line_has_exactly_its_length_and_a_cut_one_none() {
        let mut links = two(&Line::ideal(100), Lane::Stream);
        assert_eq!(links.route((0, 1), 50, 1 << 20), Some(150));
        links.cut(0, 1);
        assert_eq!((links.route((0, 1), 60, 1), links.route_heartbeat((0, 1), 60)), (None, None));
        assert_eq!(links.route((1, 0), 60, 1), Some(160));
        links.mend(0, 1);
        links.slow(0, 1, 40);
        assert_eq!(links.route((0, 1), 70, 1), Some(210));
        links.unslow(0, 1, 40);
        assert_eq!(links.route((0, 1), 200, 1), Some(300));
        assert_eq!(links.lost(), 1);
    }

    #[test]
    fn a_loss_holds_up_a_stream_and_takes_a_datagram_away() {
        let line = Line { loss_enter: 0.1, loss_leave: 0.9, ..Line::ideal(100) };
        let mut streams = two(&line, Lane::Stream);
        let arrivals: Vec<u64> =
            (0..10_000).map(|at| streams.route((0, 1), at * 10, 100).unwrap()).collect();
        assert!(arrivals.is_sorted(), "nothing overtakes on a stream");
        let late = arrivals.iter().zip(0..).filter(|(arrival, at)| **arrival > at * 10 + 100);
        // A loss is 300 late and holds up the 30 frames after it.
        assert!(late.count() > 7_000);

        let mut datagrams = two(&line, Lane::Datagram);
        let delivered =
            (0..10_000).filter_map(|at| datagrams.route((0, 1), at * 10, 100)).collect::<Vec<_>>();
        assert!((8_800..9_200).contains(&delivered.len()), "{}", delivered.len());
        assert!(delivered.iter().all(|at| at % 10 == 0), "none is late");
        // A frame of ten packets takes the stream: none is lost, and two of three are late.
        let large = (0..10_000).map(|at| {
            let sent = 1_000_000 + at * 1_000;
            datagrams.route((0, 1), sent, 11_000).expect("it arrives") - sent
        });
        let late = large.filter(|took| *took > 100).count();
        assert!((6_000..7_200).contains(&late), "{late}");
    }

    #[test]
    fn jitter_and_outages_are_as_stated_and_the_same_for_the_same_seed() {
        let line = Line { jitter_median_us: 1_000, jitter_sigma: 0.7, ..Line::ideal(100) };
        let draw = || -> Vec<u64> {
            let mut links = two(&line, Lane::Datagram);
            (0..2_001).map(|at| links.route((0, 1), at, 1).unwrap() - at - 100).collect()
        };
        assert_eq!(draw(), draw());
        let mut drawn = draw();
        drawn.sort_unstable();
        assert!((950..1_050).contains(&drawn[1_000]), "median {}", drawn[1_000]);

        let line = Line { flap_us: Some([1_000, 3_000, 500, 1_500]), ..Line::ideal(10) };
        let mut links = two(&line, Lane::Stream);
        let up = (0..300_000).filter(|at| links.route((0, 1), *at, 1).is_some()).count();
        // Up 2,000 of 3,000 on average.
        assert!((180_000..220_000).contains(&up), "{up}");
        let mut links = two(&line, Lane::Stream);
        for at in 0..30_000 {
            let (there, back) = (links.route((0, 1), at, 1), links.route((1, 0), at, 1));
            assert_eq!(there.is_some(), back.is_some(), "both directions at {at}");
        }
    }

    #[test]
    fn a_long_frame_occupies_its_line() {
        let line = Line { bits_per_s: 8_000_000, ..Line::ideal(100) };
        let mut links = two(&line, Lane::Stream);
        // A byte a microsecond: 1,000 and the packet's 70.
        assert_eq!(links.route((0, 1), 0, 1_000), Some(1_170));
        assert_eq!(links.route((0, 1), 0, 1_000), Some(2_240));
    }
}
