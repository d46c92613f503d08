//! A group that moves between the protocols by what its members measure.
//!
//! What is measured and when a group moves is [`panchayat_epochs`]'; which protocol would serve best is
//! [`panchayat_topology::prospect`]'s, which the planner asks, too. Here the two are put together.

use std::fmt;
use std::time::Duration;

use panchayat_consensus::{Quorums, Span};
use panchayat_epochs::{Advice, Report, Seen, Watch};
use panchayat_topology::Matrix;
use panchayat_topology::prospect::{Demand, Sizes, Way, prospects};

use super::{
    FastPaxosChoice, Leader, MultiPaxosChoice, ProtocolChoice, ProtocolError, round_trips,
};
use crate::cluster::Cluster;
use crate::limits::Limits;

/// How often members tell each other what they measured.
const REPORT_EVERY: Span = Span::from_ms(1_000);
/// How often in a row the same must look best.
const CONFIRM: u32 = 3;
/// Shortest and longest times between moves.
const STAY_MIN: Duration = Duration::from_secs(1);
const STAY_MAX: Duration = Duration::from_secs(86_400);
/// Below this many commands and linearizable queries a second over all members, nothing is to be gained.
const RATE_MIN_PER_S: f64 = 1.0;

/// A group that chooses its protocol, and its leader, by itself.
///
/// Its members measure how many commands come from the clients of each, how many of them conflict or
/// collide, and who answers. From that and the round trips follows the mean time to an answer under every
/// protocol and leader; when another one promises enough less for several seconds, the group moves, without
/// losing a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdaptiveChoice {
    now: Box<ProtocolChoice>,
    /// How Multi-Paxos is run when it is its turn; who leads is chosen.
    led: MultiPaxosChoice,
    gain_percent: u8,
    stay: Duration,
}

impl AdaptiveChoice {
    /// What a group must promise to gain before it moves, unless said otherwise: 5 % of the mean.
    pub const GAIN_PERCENT: u8 = 5;
    /// How long it stays at least, unless said otherwise.
    pub const STAY: Duration = Duration::from_secs(30);

    /// A group that begins with `protocol`. What is chosen there of Multi-Paxos besides its leader holds whenever
    /// the group comes to it.
    pub fn beginning_with(protocol: ProtocolChoice) -> Self {
        let led = led_of(&protocol).cloned().unwrap_or_default();
        Self {
            now: Box::new(protocol.now().clone()),
            led: MultiPaxosChoice { leader: Leader::Auto, ..led },
            gain_percent: Self::GAIN_PERCENT,
            stay: Self::STAY,
        }
    }

    /// It moves when another protocol's mean would be so much smaller: 0 to 99 %.
    pub fn gain_percent(mut self, percent: u8) -> Self {
        self.gain_percent = percent.min(99);
        self
    }

    /// It stays with a protocol for so long at least, a second to a day; and twice as long for each time it moved
    /// of late, so that a group that is pulled both ways comes to rest.
    pub fn stay(mut self, at_least: Duration) -> Self {
        // As finely as it is told to others.
        let micros = at_least.clamp(STAY_MIN, STAY_MAX).as_micros();
        self.stay = Duration::from_micros(micros as u64);
        self
    }

    /// The quorums that each protocol would have in a group of `n`.
    ///
    /// # Errors
    /// [`ProtocolError`] if there is no such group.
    pub fn sizes(&self, n: usize) -> Result<Sizes, ProtocolError> {
        let quorums = Quorums::for_replicas(n)?;
        let (fast, classic) = self.fast().prospect(n)?;
        Ok(Sizes {
            epaxos_fast: quorums.fast(),
            epaxos_slow: quorums.slow(),
            // With quorums that do not fit the group it is no way, and the others still are.
            led: self.led.prospect(n).ok(),
            classic,
            fast_paxos: fast,
        })
    }

    /// Fast Paxos, as the group runs it now if it does.
    fn fast(&self) -> FastPaxosChoice {
        match &*self.now {
            ProtocolChoice::FastPaxos(now) => now.clone(),
            _ => FastPaxosChoice::default(),
        }
    }

    /// What orders its commands now, or at first.
    pub fn now(&self) -> &ProtocolChoice {
        &self.now
    }

    /// This, wanted of a group that is at `current`: it stays where it is, and Multi-Paxos is run as was said
    /// last, which is here if this begins with it.
    pub(crate) fn at(&self, current: &ProtocolChoice) -> Self {
        let said = led_of(current).filter(|_| led_of(&self.now).is_none());
        let led = MultiPaxosChoice { leader: Leader::Auto, ..said.unwrap_or(&self.led).clone() };
        let now = match current.now() {
            ProtocolChoice::MultiPaxos(MultiPaxosChoice { leader, .. }) => {
                let leader = leader.clone();
                ProtocolChoice::MultiPaxos(MultiPaxosChoice { leader, ..led })
            }
            other => other.clone(),
        };
        Self { now: Box::new(now), led, ..self.clone() }
    }

    /// The same where it must choose anew: with EPaxos, which every group can run.
    pub(crate) fn anew(&self) -> Self {
        Self { now: Box::default(), ..self.clone() }
    }

    /// Multi-Paxos, as the group runs it when it comes to that.
    pub(crate) fn led(&self) -> ProtocolChoice {
        ProtocolChoice::MultiPaxos(self.led.clone())
    }

    pub(super) fn parts(&self) -> (&ProtocolChoice, &MultiPaxosChoice, u8, Duration) {
        (&self.now, &self.led, self.gain_percent, self.stay)
    }

    pub(super) fn watch(&self, longest: Span) -> Watch {
        let stay = Span(self.stay.as_micros() as u64);
        Watch { every: REPORT_EVERY.max(longest), confirm: CONFIRM, stay }
    }

    fn choice(&self, way: Way, matrix: &Matrix) -> ProtocolChoice {
        let at = |site: usize| Leader::At(matrix.sites()[site].clone());
        match way {
            Way::EPaxos => ProtocolChoice::EPaxos,
            Way::MultiPaxos { leader } => {
                let leader = at(leader);
                ProtocolChoice::MultiPaxos(MultiPaxosChoice { leader, ..self.led.clone() })
            }
            Way::FastPaxos { coordinator } => {
                let coordinator = at(coordinator);
                ProtocolChoice::FastPaxos(FastPaxosChoice { coordinator, ..self.fast() })
            }
        }
    }

    /// What would serve better, if anything would by enough: of what every member of `cluster` can run.
    pub(super) fn advise(
        &self,
        cluster: &Cluster,
        limits: &Limits,
        seen: &[Seen],
    ) -> Option<Advice> {
        let matrix = round_trips(cluster).ok()?;
        let demand = demand(&self.now, seen);
        let rate: f64 = asked_per_s(&demand).sum();
        if rate < RATE_MIN_PER_S {
            return None;
        }
        let n = matrix.len();
        let alive = seen.iter().filter(|seen| seen.alive).count();
        // Once a seal is decided nobody can do without what it says, or get out of what needs the dead: it is
        // tried before.
        let can = |way| {
            let choice = self.choice(way, &matrix);
            let enough = choice.quorum(n).is_ok_and(|needed| alive >= needed);
            enough && choice.check(cluster, limits).is_ok()
        };
        let mut ways = prospects(&matrix, self.sizes(n).ok()?, &demand);
        ways.retain(|prospect| can(prospect.way));
        let best = ways.first()?;
        let now = way(&self.now, &matrix);
        if Some(best.way) == now {
            return None;
        }
        // One that cannot decide anything, or whose leader is not heard, is left whatever it gains.
        let current = ways.iter().find(|prospect| Some(prospect.way) == now);
        let enough = 1.0 - f64::from(self.gain_percent) / 100.0;
        if current.is_some_and(|current| best.mean_us >= current.mean_us * enough) {
            return None;
        }
        let ms = |us: f64| format!("{:.1} ms", us / 1e3);
        let reason = format!(
            "{:.2} % of pairs conflict, {}; predicted mean {} under {}, {} under {} of now",
            demand.conflict_share * 100.0,
            asked(&matrix, &demand),
            ms(best.mean_us),
            best.way.named(&matrix),
            current.map_or_else(|| "none".to_owned(), |current| ms(current.mean_us)),
            now.map_or_else(|| self.now.to_string(), |now| now.named(&matrix).to_string()),
        );
        let next = Self { now: Box::new(self.choice(best.way, &matrix)), ..self.clone() };
        let order = next.now.order();
        Some(Advice { order, parameters: ProtocolChoice::Adaptive(next).parameters(), reason })
    }
}

/// What a choice says of Multi-Paxos, if it does.
fn led_of(choice: &ProtocolChoice) -> Option<&MultiPaxosChoice> {
    match choice {
        ProtocolChoice::Adaptive(adaptive) => Some(&adaptive.led),
        ProtocolChoice::MultiPaxos(choice) => Some(choice),
        _ => None,
    }
}

impl Default for AdaptiveChoice {
    fn default() -> Self {
        Self::beginning_with(ProtocolChoice::EPaxos)
    }
}

impl fmt::Display for AdaptiveChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} now", self.now)
    }
}

/// Commands and linearizable queries a second, by member.
fn asked_per_s(demand: &Demand) -> impl Iterator<Item = f64> {
    let reads = demand.wide_reads_per_s.iter().zip(&demand.reads_per_s).map(|(a, b)| a + b);
    demand.rates_per_s.iter().zip(reads).map(|(commands, reads)| commands + reads)
}

/// How much is asked from where, in words.
fn asked(matrix: &Matrix, demand: &Demand) -> String {
    let cities = matrix.sites().iter().zip(asked_per_s(demand)).zip(&demand.alive);
    let cities = cities.map(|((name, rate), alive)| match alive {
        true => format!("{name} {rate:.0}/s"),
        false => format!("{name} not heard"),
    });
    cities.collect::<Vec<_>>().join(", ")
}

/// What is asked of the group, as its members measured it.
fn demand(now: &ProtocolChoice, seen: &[Seen]) -> Demand {
    let mut all = Report::default();
    seen.iter().for_each(|seen| all.add(&seen.report));
    let share = |part: u64, whole: u64| (part as f64 / whole.max(1) as f64).min(1.0);
    let rates = |count: fn(&Report) -> u64| {
        seen.iter().map(|seen| seen.report.per_s(count(&seen.report))).collect()
    };
    let fast = matches!(now, ProtocolChoice::FastPaxos(_));
    Demand {
        rates_per_s: rates(|report| report.proposals),
        wide_reads_per_s: rates(|report| report.wide_reads),
        reads_per_s: rates(|report| report.reads),
        conflict_share: share(all.conflicts, all.pairs),
        collisions: (fast && all.decided > 0).then(|| share(all.slow, all.decided)),
        alive: seen.iter().map(|seen| seen.alive).collect(),
    }
}

/// The way a group goes now. None under Multi-Paxos without a leader of its own: whoever leads may be another
/// than the one that is preferred, for as long as it is not lost.
fn way(now: &ProtocolChoice, matrix: &Matrix) -> Option<Way> {
    if let ProtocolChoice::MultiPaxos(MultiPaxosChoice { leader, .. }) = now
        && !matches!(leader, Leader::At(_))
    {
        return None;
    }
    let leader = now.leader(matrix).ok()?.map(|seat| seat.index());
    Some(match (now, leader) {
        (ProtocolChoice::MultiPaxos(_), Some(leader)) => Way::MultiPaxos { leader },
        (ProtocolChoice::FastPaxos(_), Some(coordinator)) => Way::FastPaxos { coordinator },
        _ => Way::EPaxos,
    })
}

#[cfg(test)]
mod tests {
    use panchayat_consensus::ClusterId;
    use panchayat_topology::Topology;

    use super::*;
    use crate::membership::founding;
    use crate::protocol::choice_of;

    fn india() -> Cluster {
        let matrix = Topology::builtin().matrix("india5").unwrap();
        let addrs = [1, 2, 3, 4, 5].map(|port| ([127, 0, 0, 1], port).into());
        Cluster::of_sites(ClusterId(7), &matrix, &addrs)
    }

    /// Every member's clients ask for so much in three seconds.
    fn seen(proposals: [u64; 5], conflict_percent: u64) -> Vec<Seen> {
        let report = |proposals| Report {
            span_us: 3_000_000,
            proposals,
            pairs: proposals * 8,
            conflicts: proposals * 8 * conflict_percent / 100,
            decided: proposals,
            ..Report::default()
        };
        proposals.map(|proposals| Seen { alive: true, report: report(proposals) }).to_vec()
    }

    fn advised(now: &ProtocolChoice, seen: &[Seen]) -> Option<(ProtocolChoice, String)> {
        let adaptive = AdaptiveChoice::beginning_with(now.clone());
        let epoch = founding(&india(), &ProtocolChoice::Adaptive(adaptive.clone())).unwrap();
        let advice = adaptive.advise(&india(), &Limits::default(), seen)?;
        let next = epoch.next(advice.order, advice.parameters, epoch.members.clone());
        let ProtocolChoice::Adaptive(next) = choice_of(&next) else { panic!("it stays adaptive") };
        Some((next.now().clone(), advice.reason))
    }

    #[test]
    fn conflicts_lead_to_a_leader_and_their_end_away_from_it() {
        let (led, reason) = advised(&ProtocolChoice::EPaxos, &seen([300; 5], 100)).unwrap();
        assert_eq!(led.name(), "multipaxos");
        for part in
            ["100.00 % of pairs", "delhi 100/s", "under multipaxos led from", "under epaxos of now"]
        {
            assert!(reason.contains(part), "{part}: {reason}");
        }
        assert_eq!(advised(&led, &seen([300; 5], 100)), None, "it is there");
        let (free, _) = advised(&led, &seen([300; 5], 0)).unwrap();
        assert_eq!(free, ProtocolChoice::EPaxos);
        assert_eq!(advised(&free, &seen([300; 5], 0)), None);
        assert_eq!(advised(&ProtocolChoice::EPaxos, &seen([0; 5], 0)), None, "nobody asks");
    }

    #[test]
    fn a_leader_that_is_not_heard_is_left() {
        let (led, _) = advised(&ProtocolChoice::EPaxos, &seen([300; 5], 100)).unwrap();
        let matrix = round_trips(&india()).unwrap();
        let leader = led.leader(&matrix).unwrap().unwrap().index();
        let mut seen = seen([300; 5], 100);
        seen[leader] = Seen::default();
        let (next, reason) = advised(&led, &seen).unwrap();
        assert_ne!(next.leader(&matrix).unwrap().map(|seat| seat.index()), Some(leader));
        assert!(reason.contains("not heard") && reason.contains("none under"), "{reason}");
    }

    #[test]
    fn what_an_operator_chose_of_multi_paxos_stays_chosen() {
        let learning = panchayat_multipaxos::Learning::Leader;
        let led = MultiPaxosChoice { learning, ..Default::default() };
        let begun = AdaptiveChoice::beginning_with(ProtocolChoice::MultiPaxos(led));
        let moved = begun.at(&ProtocolChoice::EPaxos);
        let matrix = round_trips(&india()).unwrap();
        let back = moved.choice(Way::MultiPaxos { leader: 1 }, &matrix);
        let ProtocolChoice::MultiPaxos(back) = back else { panic!("{back}") };
        assert_eq!((back.learning, back.leader), (learning, Leader::At("delhi".to_owned())));
    }

    #[test]
    fn collisions_are_believed_as_measured() {
        let fast = ProtocolChoice::FastPaxos(FastPaxosChoice::default());
        let mut seen = seen([300; 5], 0);
        seen.iter_mut().for_each(|seen| seen.report.slow = seen.report.decided);
        let demand = demand(&fast, &seen);
        assert_eq!(demand.collisions, Some(1.0));
        assert_eq!(advised(&fast, &seen).unwrap().0, ProtocolChoice::EPaxos);
    }

    #[test]
    fn a_leader_that_nobody_chose_is_chosen() {
        let auto = ProtocolChoice::MultiPaxos(MultiPaxosChoice::default());
        let (next, reason) = advised(&auto, &seen([300; 5], 100)).unwrap();
        let matrix = round_trips(&india()).unwrap();
        assert_eq!(next.leader(&matrix), auto.leader(&matrix), "it may be another one's turn");
        assert!(reason.contains("none under multipaxos, leader"), "{reason}");
        assert_eq!(advised(&next, &seen([300; 5], 100)), None);
    }

    #[test]
    fn other_ways_are_weighed_where_multi_paxos_is_none() {
        let quorums = Some((1, 1));
        let led = MultiPaxosChoice { quorums, ..Default::default() };
        let begun = AdaptiveChoice::beginning_with(ProtocolChoice::MultiPaxos(led));
        let fast = ProtocolChoice::FastPaxos(FastPaxosChoice::default());
        let begun = AdaptiveChoice { now: Box::new(fast), ..begun };
        let mut seen = seen([300; 5], 0);
        seen.iter_mut().for_each(|seen| seen.report.slow = seen.report.decided);
        let advice = begun.advise(&india(), &Limits::default(), &seen).unwrap();
        assert!(advice.reason.contains("under epaxos"), "{}", advice.reason);
    }

    #[test]
    fn nobody_moves_to_a_coordinator_that_cannot_be_elected() {
        let fast = |city: &str| {
            let coordinator = Leader::At(city.to_owned());
            ProtocolChoice::FastPaxos(FastPaxosChoice { coordinator, quorums: Some((5, 3, 1)) })
        };
        for (dead, now) in [(0, "mumbai"), (0, "delhi"), (4, "mumbai")] {
            for proposals in [[3; 5], [3, 3, 3, 300, 3], [300, 3, 3, 3, 3]] {
                for conflict_percent in [0, 10, 100] {
                    let mut seen = seen(proposals, conflict_percent);
                    seen[dead] = Seen::default();
                    let (next, reason) = advised(&fast(now), &seen).expect("it cannot stay");
                    assert!(next.quorum(5).unwrap() <= 4, "{next}: {reason}");
                }
            }
        }
    }

    #[test]
    fn nothing_to_gain_is_no_reason_to_move() {
        let nothing = AdaptiveChoice::default().gain_percent(0);
        assert_eq!(nothing.advise(&india(), &Limits::default(), &seen([300; 5], 0)), None);
        let names = ["a", "b", "c"].map(String::from).to_vec();
        let matrix = Matrix::new(names, &[vec![0; 3], vec![0; 3], vec![0; 3]]).unwrap();
        let addrs = [1, 2, 3].map(|port| ([127, 0, 0, 1], port).into());
        let one_room = Cluster::of_sites(ClusterId(7), &matrix, &addrs);
        for conflict_percent in [0, 100] {
            let seen = &seen([300; 5], conflict_percent)[..3];
            let advice = AdaptiveChoice::default().advise(&one_room, &Limits::default(), seen);
            assert_eq!(advice, None, "{conflict_percent} % conflict");
        }
    }
}
