//! Faults, and the plan of a run's faults.

use panchayat_consensus::{Quorums, ReplicaId, ReplicaSet};

use crate::network::{LinkId, Weather};
use crate::rng::Rng;

/// The moment inside a replica's work at which it dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// After this many more things it does: each record written, each message to each receiver,
    /// each execution and each reply counts as one. So between any two of them.
    After(u32),
    /// When a sync completes, before the replica hears of it.
    Synced,
    /// After a message of the kind with this number (modulo the protocol's kinds) went to its
    /// first receivers, this many of them.
    Sent {
        /// Which kind.
        label: usize,
        /// To how many receivers.
        receivers: u32,
    },
}

/// What becomes of the sender of a message that reached only some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aftermath {
    /// It dies.
    Dies {
        /// How long it stays down.
        down_us: u64,
    },
    /// What it sends is lost for a while; it still hears.
    FallsSilent {
        /// For how long.
        us: u64,
    },
    /// It goes on; only that message was lost on the others.
    GoesOn,
    /// It and those who got the message no longer hear each other; the rest hear both.
    Parted {
        /// Whether it is still heard by them.
        heard: bool,
        /// For how long.
        us: u64,
    },
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A replica dies at `point` (or 300 ms later, if it never gets there) and starts again.
    Crash {
        /// Which.
        replica: usize,
        /// When exactly.
        point: CrashPoint,
        /// How long it stays down.
        down_us: u64,
    },
    /// A replica stops and later goes on, like a process under SIGSTOP.
    Pause {
        /// Which.
        replica: usize,
        /// For how long.
        us: u64,
    },
    /// A replica works slowly. It still answers heartbeats: load is not death.
    Slow {
        /// Which.
        replica: usize,
        /// How long each turn takes.
        turn_us: u64,
        /// For how long.
        us: u64,
    },
    /// Directed links are cut.
    Cut {
        /// Which.
        links: Vec<LinkId>,
        /// For how long.
        us: u64,
    },
    /// The weather changes everywhere.
    Storm {
        /// To this.
        weather: Weather,
        /// For how long.
        us: u64,
    },
    /// Links become slower.
    Spike {
        /// Which.
        links: Vec<LinkId>,
        /// By how much.
        extra_us: u64,
        /// For how long.
        us: u64,
    },
    /// Links deliver nothing, then everything at once.
    Clog {
        /// Which.
        links: Vec<LinkId>,
        /// For how long.
        us: u64,
    },
    /// A replica's syncs take long.
    SlowDisk {
        /// Which.
        replica: usize,
        /// How long.
        sync_us: u64,
        /// For how long.
        us: u64,
    },
    /// A replica's disk has no space: what it writes waits, and with it whatever may not leave before
    /// that; meanwhile proposals are refused and messages lost, as its driver does.
    FullDisk {
        /// Which.
        replica: usize,
        /// For how long.
        us: u64,
    },
    /// A replica's next sync fails: it stops.
    SyncError {
        /// Which.
        replica: usize,
        /// How long it stays down.
        down_us: u64,
    },
    /// A replica dies, and a bit of its journal flips: it must refuse to start, for good.
    BitFlip {
        /// Which.
        replica: usize,
    },
    /// After a replica's next message of some kind went to its first receivers, what it sends is
    /// lost for a while; it still hears.
    Mute {
        /// Which.
        replica: usize,
        /// The kind of message (modulo the protocol's kinds).
        label: usize,
        /// How many receivers still get it.
        receivers: u32,
        /// For how long.
        us: u64,
    },
    /// A replica's clients ask for the first key at once, and its next message of some kind reaches
    /// only some.
    Partial {
        /// Which.
        replica: usize,
        /// The kind of message (modulo the protocol's kinds).
        label: usize,
        /// Who gets it.
        reach: ReplicaSet,
        /// What becomes of the sender.
        then: Aftermath,
    },
    /// What happens to a replica happens to whoever leads when its time comes; to the replica it
    /// names if nobody does.
    OfLeader(Box<Fault>),
    /// The same for the one so many seats behind whoever leads.
    OfFollower {
        /// How many seats.
        behind: usize,
        /// What happens to it.
        fault: Box<Fault>,
    },
    /// An operator asks a replica to hand leadership over.
    HandOver {
        /// Which.
        replica: usize,
        /// To whom; there may be no such seat.
        to: ReplicaId,
    },
    /// A replica's wall clock jumps.
    ClockJump {
        /// Which.
        replica: usize,
        /// By this much.
        by_us: i64,
    },
}

impl Fault {
    /// Ends a death or a silence after at most `us`.
    pub fn shorten(&mut self, longest_us: u64) {
        match self {
            Self::Crash { down_us, .. } | Self::SyncError { down_us, .. } => {
                *down_us = (*down_us).min(longest_us);
            }
            Self::Mute { us, .. } => *us = (*us).min(longest_us),
            Self::OfLeader(fault) | Self::OfFollower { fault, .. } => fault.shorten(longest_us),
            _ => {}
        }
    }

    /// The same fault of another replica; links are all those of that replica.
    pub fn of(mut self, leader: usize, replicas: usize) -> Self {
        match &mut self {
            Self::Crash { replica, .. }
            | Self::Pause { replica, .. }
            | Self::Slow { replica, .. }
            | Self::SlowDisk { replica, .. }
            | Self::FullDisk { replica, .. }
            | Self::SyncError { replica, .. }
            | Self::BitFlip { replica }
            | Self::Mute { replica, .. }
            | Self::Partial { replica, .. }
            | Self::HandOver { replica, .. }
            | Self::ClockJump { replica, .. } => *replica = leader,
            Self::Cut { links, .. } | Self::Spike { links, .. } | Self::Clog { links, .. } => {
                *links = isolate(replicas, leader);
            }
            Self::OfLeader(fault) => return (**fault).clone().of(leader, replicas),
            Self::OfFollower { behind, fault } => {
                return (**fault).clone().of((leader + *behind) % replicas, replicas);
            }
            Self::Storm { .. } => {}
        }
        self
    }

    /// What it is called in coverage.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Crash { .. } => "fault_crash",
            Self::Pause { .. } => "fault_pause",
            Self::Slow { .. } => "fault_slow",
            Self::Cut { .. } => "fault_cut",
            Self::Storm { .. } => "fault_storm",
            Self::Spike { .. } => "fault_spike",
            Self::Clog { .. } => "fault_clog",
            Self::SlowDisk { .. } => "fault_slow_disk",
            Self::FullDisk { .. } => "fault_full_disk",
            Self::SyncError { .. } => "fault_sync_error",
            Self::BitFlip { .. } => "fault_bit_flip",
            Self::Mute { .. } => "fault_mute",
            Self::Partial { .. } => "fault_partial",
            Self::HandOver { .. } => "fault_hand_over",
            Self::ClockJump { .. } => "fault_clock_jump",
            Self::OfLeader(fault) => match **fault {
                Self::Crash { .. } => "leader_crash",
                Self::Pause { .. } => "leader_pause",
                Self::Slow { .. } => "leader_slow",
                Self::SlowDisk { .. } => "leader_slow_disk",
                Self::Mute { .. } => "leader_mute",
                Self::Cut { .. } => "leader_cut",
                Self::Clog { .. } => "leader_clog",
                _ => "leader_fault",
            },
            Self::OfFollower { .. } => "follower_fault",
        }
    }
}

/// A fault and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Virtual time.
    pub at_us: u64,
    /// What happens.
    pub fault: Fault,
}

/// Every link between members of different parts, in both directions. A replica in no part is on
/// its own.
pub fn split(replicas: usize, parts: &[ReplicaSet]) -> Vec<LinkId> {
    let part = |replica: usize| {
        let own = ReplicaId(replica as u8);
        parts.iter().position(|part| part.contains(own)).unwrap_or(parts.len() + replica)
    };
    let pairs = (0..replicas).flat_map(|from| (0..replicas).map(move |to| (from, to)));
    pairs.filter(|(from, to)| from != to && part(*from) != part(*to)).collect()
}

/// Every link to and from `replica`.
pub fn isolate(replicas: usize, replica: usize) -> Vec<LinkId> {
    (0..replicas)
        .filter(|peer| *peer != replica)
        .flat_map(|peer| [(replica, peer), (peer, replica)])
        .collect()
}

/// The classes of faults that a swarm turns on or off as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named for the faults they plan")]
pub enum Class {
    Crash,
    CrashMany,
    Rolling,
    Pause,
    Slow,
    Isolate,
    OneWay,
    Split,
    Flap,
    Storm,
    Spike,
    Clog,
    SlowDisk,
    SyncError,
    BitFlip,
    ClockJump,
    /// Several replicas die or fall silent just as a proposal of theirs reached few.
    Strand,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 17] = [
        Self::Crash,
        Self::CrashMany,
        Self::Rolling,
        Self::Pause,
        Self::Slow,
        Self::Isolate,
        Self::OneWay,
        Self::Split,
        Self::Flap,
        Self::Storm,
        Self::Spike,
        Self::Clog,
        Self::SlowDisk,
        Self::SyncError,
        Self::BitFlip,
        Self::ClockJump,
        Self::Strand,
    ];
}

/// Draws one occurrence of a class at `at_us`, as one or several primitive faults.
pub fn occurrence(class: Class, replicas: usize, at_us: u64, rng: &mut Rng) -> Vec<Planned> {
    let replica = rng.below(replicas as u64) as usize;
    let us = rng.octaves(5_000, 2_000_000);
    let one = |fault| vec![Planned { at_us, fault }];
    match class {
        Class::Crash => one(crash(replica, rng)),
        Class::CrashMany => {
            let mut all: Vec<usize> = (0..replicas).collect();
            rng.shuffle(&mut all);
            all.truncate(rng.between(2, replicas as u64) as usize);
            let planned = |replica| Planned { at_us, fault: crash(replica, rng) };
            all.into_iter().map(planned).collect()
        }
        Class::Rolling => {
            let pace = rng.octaves(20_000, 500_000);
            let planned = |replica| Planned {
                at_us: at_us + pace * replica as u64,
                fault: crash(replica, rng),
            };
            (0..replicas).map(planned).collect()
        }
        Class::Pause => one(Fault::Pause { replica, us }),
        Class::Slow => one(Fault::Slow { replica, turn_us: rng.octaves(200, 30_000), us }),
        Class::Isolate => one(Fault::Cut { links: isolate(replicas, replica), us }),
        Class::OneWay => one(Fault::Cut { links: vec![link(replicas, rng)], us }),
        Class::Split => {
            let parts = rng.between(2, 3) as usize;
            let mut sets = vec![ReplicaSet::EMPTY; parts];
            for replica in 0..replicas as u8 {
                let part = rng.below(parts as u64) as usize;
                sets[part].insert(ReplicaId(replica));
            }
            one(Fault::Cut { links: split(replicas, &sets), us })
        }
        Class::Flap => {
            let (from, to) = link(replicas, rng);
            let period = rng.octaves(5_000, 200_000);
            let cut = |turn| Planned {
                at_us: at_us + turn * period,
                fault: Fault::Cut { links: vec![(from, to), (to, from)], us: period / 2 },
            };
            (0..rng.between(3, 8)).map(cut).collect()
        }
        Class::Storm => {
            let weather = Weather {
                jitter_percent: rng.below(400),
                loss_ppm: rng.octaves(1_000, 400_000),
                duplicate_ppm: rng.octaves(1_000, 400_000),
                reorder_ppm: rng.octaves(1_000, 400_000),
                ..Weather::default()
            };
            one(Fault::Storm { weather, us })
        }
        Class::Spike => {
            let links = (0..rng.between(1, 4)).map(|_| link(replicas, rng)).collect();
            one(Fault::Spike { links, extra_us: rng.octaves(5_000, 400_000), us })
        }
        Class::Clog => {
            let links = (0..rng.between(1, 4)).map(|_| link(replicas, rng)).collect();
            one(Fault::Clog { links, us })
        }
        Class::SlowDisk => {
            one(Fault::SlowDisk { replica, sync_us: rng.octaves(2_000, 200_000), us })
        }
        Class::SyncError => {
            one(Fault::SyncError { replica, down_us: rng.octaves(10_000, 1_000_000) })
        }
        Class::Strand => {
            let mut all: Vec<usize> = (0..replicas).collect();
            rng.shuffle(&mut all);
            all.truncate(rng.between(1, replicas as u64 / 2) as usize);
            let label = *rng.pick(&[0, 0, 0, 2, 4, 5, 7]);
            let strand = |replica| {
                let receivers = rng.between(1, (replicas as u64 / 2).max(2)) as u32;
                let fault = if rng.percent(50) {
                    let point = CrashPoint::Sent { label, receivers };
                    Fault::Crash { replica, point, down_us: us.max(200_000) }
                } else {
                    Fault::Mute { replica, label, receivers, us }
                };
                Planned { at_us, fault }
            };
            all.into_iter().map(strand).collect()
        }
        Class::BitFlip => one(Fault::BitFlip { replica }),
        Class::ClockJump => {
            let by = rng.octaves(1_000, 100_000_000) as i64;
            one(Fault::ClockJump { replica, by_us: if rng.percent(50) { by } else { -by } })
        }
    }
}

/// Two coordinators whose next proposals, on one key, reach disjoint sets of the others, neither
/// the other: two commands that know nothing of each other, both to be decided by recovery or one
/// by recovery while its coordinator decides the other. `scale_us` is about a round trip.
///
/// Whether a recovery waits, and how its wait can end, depends on how many endorse which proposal.
/// A proposal that reaches just n−f−e others is the one that leaves most open: with fewer it cannot
/// have been committed fast, and with more the other proposal cannot be committed beside it. Left
/// to chance that is rare at seven replicas, so it is drawn on purpose.
pub fn duel(quorums: Quorums, at_us: u64, scale_us: u64, rng: &mut Rng) -> Vec<Planned> {
    let replicas = quorums.n();
    let mut all: Vec<usize> = (0..replicas).collect();
    rng.shuffle(&mut all);
    let few = quorums.slow() - quorums.e();
    let few = if rng.percent(75) { few } else { rng.below(replicas as u64 - 1) as usize };
    let (duellists, rest) = all.split_at(2);
    let (first_reach, second_reach) = rest.split_at(few.min(rest.len()));
    let longer = rng.octaves(8 * scale_us, 32 * scale_us);
    let shorter = rng.octaves(2 * scale_us, 32 * scale_us);
    let gone = |us, rng: &mut Rng| match rng.percent(40) {
        true => Aftermath::Dies { down_us: us },
        false => Aftermath::FallsSilent { us },
    };
    let first = gone(longer, rng);
    let (second_at_us, second) = match rng.below(10) {
        // Both are recovered; recoverers on different sides of the second see different quorums.
        0..=2 => {
            let us = rng.octaves(8 * scale_us, 32 * scale_us);
            (at_us, Aftermath::Parted { heard: rng.percent(20), us })
        }
        // The first is being recovered when the second comes, and its coordinator carries it on.
        3..=8 => (at_us + rng.between(scale_us, 8 * scale_us), Aftermath::GoesOn),
        // Both are recovered, and the second coordinator may come back in the middle of it.
        _ => (at_us + rng.below(2 * scale_us), gone(shorter, rng)),
    };
    let ids = |seats: &[usize]| seats.iter().map(|at| ReplicaId(*at as u8)).collect();
    let partial = |replica, reach, then| Fault::Partial { replica, label: 0, reach, then };
    let mut planned = vec![
        Planned { at_us, fault: partial(duellists[0], ids(first_reach), first) },
        Planned { at_us: second_at_us, fault: partial(duellists[1], ids(second_reach), second) },
    ];
    if second == Aftermath::GoesOn && rng.percent(35) {
        // It reaches those who know of the first as well. Its coordinator may not wait for them.
        planned[1].fault = partial(duellists[1], ids(rest), second);
    }
    if rng.percent(75) && second_reach.len() > 1 {
        // Those reached by the first are far from those reached by the second, but for one.
        let far = &second_reach[1..];
        let pairs = first_reach.iter().flat_map(|a| far.iter().map(move |b| (*a, *b)));
        let links = pairs.flat_map(|(a, b)| [(a, b), (b, a)]).collect();
        let extra_us = scale_us * rng.between(1, 4);
        planned.push(Planned { at_us, fault: Fault::Spike { links, extra_us, us: longer } });
    }
    if rng.percent(30) {
        let at_us = at_us + rng.below(6 * scale_us);
        let us = rng.octaves(scale_us, 16 * scale_us);
        let fault = Fault::Cut { links: vec![link(replicas, rng)], us };
        planned.push(Planned { at_us, fault });
    }
    planned
}

fn crash(replica: usize, rng: &mut Rng) -> Fault {
    let point = match rng.below(5) {
        0 => CrashPoint::Synced,
        1 | 2 => {
            CrashPoint::Sent { label: rng.below(64) as usize, receivers: rng.between(1, 3) as u32 }
        }
        _ => CrashPoint::After(rng.octaves(1, 40) as u32 - 1),
    };
    Fault::Crash { replica, point, down_us: rng.octaves(1_000, 2_000_000) }
}

fn link(replicas: usize, rng: &mut Rng) -> LinkId {
    let from = rng.below(replicas as u64) as usize;
    let to = (from + rng.between(1, replicas as u64 - 1) as usize) % replicas;
    (from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_of_five_into_2_2_1_leaves_only_the_pairs() {
        let pair = |a, b| [ReplicaId(a), ReplicaId(b)].into_iter().collect::<ReplicaSet>();
        let links = split(5, &[pair(0, 1), pair(2, 3)]);
        assert_eq!(links.len(), 20 - 4);
        for kept in [(0, 1), (1, 0), (2, 3), (3, 2)] {
            assert!(!links.contains(&kept));
        }
        assert_eq!(isolate(3, 1), [(1, 0), (0, 1), (1, 2), (2, 1)]);
    }

    #[test]
    fn every_class_plans_something_at_or_after_its_time() {
        let mut rng = Rng::new(3, "faults");
        for class in Class::ALL {
            for _ in 0..50 {
                let planned = occurrence(class, 5, 1_000, &mut rng);
                assert!(!planned.is_empty());
                assert!(planned.iter().all(|planned| planned.at_us >= 1_000));
            }
        }
    }
}
