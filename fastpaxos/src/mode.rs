//! Fast or classic rounds: which, why, and when to change.
//!
//! Fast rounds need more replicas than classic ones, and lose a round trip with every collision. So
//! the coordinator leaves them when too few members answer or too many slots had to be settled, and
//! comes back by itself: when enough have answered for a while, or after a time that doubles as long
//! as fast rounds fail right away again.
//!
//! Where fast rounds begin, counters of acceptors cannot agree: what was given to the coordinator alone
//! arrives there, and others hear of the beginning earlier or later. So with arrival times the
//! coordinator soon closes the first stretch, everybody jumps above it at one
//! point among the commands, and only from there on collisions say anything.
//!
//! A ballot can go from classic to fast rounds, since its coordinator knows where nobody has voted;
//! the way back is a new ballot, which ends the fast round everywhere.

use std::fmt;

use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat_consensus::{Now, ReplicaId, Slot, Time, WallTime};

use crate::config::Slots;
use crate::replica::{FastPaxos, Fx, Role};
use crate::round::Round;
use crate::settle::MARGIN_MAX;

/// Fewer slots than this say nothing about collisions.
const SLOTS_MIN: u32 = 32;
/// Slots of the first stretch of fast rounds beyond those voted in, besides two for each command that
/// is on its way.
const FIRST_SLOTS: u64 = 16;
/// The time in classic rounds doubles this often.
const DOUBLINGS_MAX: u32 = 4;

/// Which rounds a coordinator runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// No coordinator has said so.
    Unknown,
    /// Fast ones.
    Fast,
    /// Classic ones.
    Classic(Reason),
}

/// Why a coordinator runs classic rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Fewer members answer than a fast round needs.
    TooFewReplicas {
        /// How many answer.
        answering: u8,
        /// How many are needed.
        needed: u8,
    },
    /// This many slots in a hundred had to be settled.
    Collisions {
        /// How many.
        percent: u8,
    },
}

/// How a replica stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The coordinator it follows, or is.
    pub coordinator: Option<ReplicaId>,
    /// Which rounds that runs, and why.
    pub mode: Mode,
    /// Slots in a hundred that this replica as coordinator had to settle lately.
    pub settled_percent: Option<u8>,
    /// Slots not executed that somebody voted in, as far as it knows.
    pub undecided: u64,
    /// Own proposals not executed.
    pub in_flight: usize,
}

/// What the coordinator bases its choice on. Kept from ballot to ballot.
#[derive(Clone, Debug, Hash)]
pub(crate) struct ModeControl {
    /// Why fast rounds are not wanted, if they are not.
    reason: Option<Reason>,
    /// When the present mode began.
    since: Time,
    /// Since when enough members answer for fast rounds.
    enough_since: Option<Time>,
    doublings: u32,
    /// Whether the first stretch of fast rounds is still to be closed.
    beginning: bool,
    /// Collisions count from this slot on.
    counted_from: Slot,
    slots: u32,
    settled: u32,
}

impl ModeControl {
    pub(crate) fn new(now: Now) -> Self {
        Self {
            reason: None,
            since: now.monotonic,
            enough_since: None,
            doublings: 0,
            beginning: false,
            counted_from: 0,
            slots: 0,
            settled: 0,
        }
    }

    fn percent(&self) -> Option<u8> {
        (self.slots > 0).then(|| (self.settled * 100 / self.slots) as u8)
    }
}

impl FastPaxos {
    /// How this replica stands.
    pub fn status(&self) -> Status {
        Status {
            coordinator: self.coordinator(),
            mode: self.fast.mode,
            settled_percent: self.mode.percent().filter(|_| self.is_coordinator()),
            undecided: self.highest_voted() - self.chosen,
            in_flight: self.pending.len(),
        }
    }

    /// A slot was decided with a command in it.
    pub(crate) fn note_outcome(&mut self, slot: Slot, round: Option<Round>) {
        let Role::Coordinator(coordinator) = &mut self.role else { return };
        let Some(round) = round.filter(|round| round.ballot == coordinator.ballot) else { return };
        if self.fast.from == 0 || slot < self.fast.from {
            return;
        }
        if !round.classic {
            coordinator.in_row = 0;
        }
        if self.mode.beginning || slot < self.mode.counted_from {
            return;
        }
        // Older ones count less and less.
        if self.mode.slots >= self.config.mode.window {
            self.mode.slots /= 2;
            self.mode.settled /= 2;
        }
        self.mode.slots += 1;
        self.mode.settled += u32::from(round.classic);
    }

    fn too_few(&self, now: Now) -> Option<Reason> {
        let (answering, needed) = (self.answering(now, false), self.config.quorums.fast());
        let reason = Reason::TooFewReplicas { answering: answering as u8, needed: needed as u8 };
        (answering < needed).then_some(reason)
    }

    /// The first mode of a new ballot; everything up to `last` has a value.
    pub(crate) fn begin_mode(&mut self, last: Slot, now: Now) {
        if let Some(reason) = self.too_few(now)
            && self.mode.reason.is_none()
        {
            self.counters.classic_for_few += 1;
            self.set_classic(reason, now);
        }
        match self.mode.reason {
            Some(reason) => self.fast.mode = Mode::Classic(reason),
            None => self.open_fast(last, now),
        }
    }

    fn set_classic(&mut self, reason: Reason, now: Now) {
        let failed_at_once = now.monotonic < self.mode.since + self.config.mode.classic_min;
        if matches!(reason, Reason::Collisions { .. }) && failed_at_once {
            self.mode.doublings = (self.mode.doublings + 1).min(DOUBLINGS_MAX);
        } else {
            self.mode.doublings = 0;
        }
        self.mode.reason = Some(reason);
        self.mode.since = now.monotonic;
        self.mode.enough_since = None;
    }

    fn open_fast(&mut self, last: Slot, now: Now) {
        self.mode.reason = None;
        self.mode.since = now.monotonic;
        (self.mode.slots, self.mode.settled) = (0, 0);
        self.mode.counted_from = 0;
        self.mode.beginning = self.config.slots == Slots::ByArrival;
        self.fast.from = last + 1;
        self.fast.mode = Mode::Fast;
    }

    /// Closes the first stretch of fast rounds when that is due.
    pub(crate) fn attend_alignment(&mut self, now: Now, fx: &mut Fx) {
        let Role::Coordinator(coordinator) = &self.role else { return };
        if !self.mode.beginning || self.fast.from == 0 || coordinator.closing.is_some() {
            return;
        }
        // What waited for fast rounds comes all at once, and shows how much is on its way.
        let timing = self.config.timing;
        let first = self.mode.since + timing.settle_delay;
        let unknown = self.arrival_everywhere(now) == WallTime(0);
        if now.monotonic < first || (unknown && now.monotonic < first + timing.patience.times(2)) {
            return;
        }
        self.mode.beginning = false;
        self.counters.closed_first += 1;
        let margin = (FIRST_SLOTS + 2 * self.known.len() as u64).min(MARGIN_MAX);
        let upto = self.start_close(self.highest_voted() + margin, now, fx);
        self.mode.counted_from = upto + 1;
    }

    /// Changes the mode if that is due.
    pub(crate) fn attend_mode(&mut self, now: Now, fx: &mut Fx) {
        let too_few = self.too_few(now);
        match (self.mode.reason, too_few) {
            (None, Some(reason)) => {
                self.counters.classic_for_few += 1;
                self.go_classic(reason, now, fx);
            }
            (None, None) => {
                let rules = self.config.mode;
                let percent = self.mode.percent().unwrap_or(0);
                if self.mode.slots >= SLOTS_MIN.min(rules.window)
                    && u32::from(percent) >= rules.collisions_percent
                {
                    self.counters.classic_for_collisions += 1;
                    self.go_classic(Reason::Collisions { percent }, now, fx);
                }
            }
            (Some(_), Some(_)) => self.mode.enough_since = None,
            (Some(reason), None) => {
                let enough_since = *self.mode.enough_since.get_or_insert(now.monotonic);
                let due = match reason {
                    Reason::TooFewReplicas { .. } => {
                        enough_since + self.config.timing.election_timeout
                    }
                    Reason::Collisions { .. } => {
                        let span = self.config.mode.classic_min;
                        self.mode.since + span.times(1 << self.mode.doublings)
                    }
                };
                if now.monotonic >= due {
                    self.go_fast(now, fx);
                }
            }
        }
    }

    fn go_classic(&mut self, reason: Reason, now: Now, fx: &mut Fx) {
        self.set_classic(reason, now);
        self.prepare(self.seen.max(self.promised).next_for(self.me()), now, fx);
    }

    fn go_fast(&mut self, now: Now, fx: &mut Fx) {
        let Role::Coordinator(coordinator) = &self.role else { return };
        let last = coordinator.proposed.max(self.chosen);
        self.counters.to_fast += 1;
        self.open_fast(last, now);
        self.beat(now, fx);
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewReplicas { answering, needed } => {
                write!(f, "{answering} replicas answer and a fast round needs {needed}")
            }
            Self::Collisions { percent } => write!(f, "{percent} % of the slots collided"),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no coordinator: nothing can be settled"),
            Self::Fast => f.write_str("fast rounds"),
            Self::Classic(reason) => {
                write!(f, "classic rounds, by way of the coordinator: {reason}")
            }
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.mode)?;
        if let Some(coordinator) = self.coordinator {
            write!(f, "; coordinator {coordinator}")?;
        }
        if let Some(percent) = self.settled_percent {
            write!(f, "; {percent} % of the slots settled lately")?;
        }
        write!(f, "; {} slots undecided, {} proposals in flight", self.undecided, self.in_flight)
    }
}

impl Encode for Mode {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Unknown => out.put_u8(0),
            Self::Fast => out.put_u8(1),
            Self::Classic(Reason::TooFewReplicas { answering, needed }) => {
                out.put_u8(2);
                out.put_u8(*answering);
                out.put_u8(*needed);
            }
            Self::Classic(Reason::Collisions { percent }) => {
                out.put_u8(3);
                out.put_u8(*percent);
            }
        }
    }
}

impl Decode for Mode {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Unknown),
            1 => Ok(Self::Fast),
            2 => Ok(Self::Classic(Reason::TooFewReplicas {
                answering: input.u8()?,
                needed: input.u8()?,
            })),
            3 => Ok(Self::Classic(Reason::Collisions { percent: input.u8()? })),
            tag => Err(DecodeError::UnknownTag { what: "mode", tag }),
        }
    }
}
