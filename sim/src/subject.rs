//! What the simulator must know of a protocol beyond [`Protocol`]: how to configure a seat, how to
//! name its messages, and what to check.

use panchayat_consensus::{
    Command, InstanceId, Now, Protocol, Quorums, ReplicaId, ReplicaSet, Span,
};
use panchayat_epochs::Epoch;

use crate::epochs::{Change, EpochTuning};
use crate::fastpaxos::FastTuning;
use crate::flaw::Flaw;
use crate::multipaxos::LogTuning;
use crate::required::Required;
use crate::setup::Setup;

/// Timeouts and limits that the swarm chose for this run. A protocol takes what it understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// How long an undecided instance is waited for before something is sent again.
    pub patience: Span,
    /// How long an undecided instance of a live coordinator is left to it.
    pub recovery_delay: Span,
    /// How much later each next replica in rank recovers.
    pub stagger: Span,
    /// How often replicas tell each other what they have seen.
    pub status_interval: Span,
    /// How long beyond a slow quorum a coordinator waits for a fast one.
    pub fast_quorum_wait: Span,
    /// Most own commands in flight.
    pub in_flight_max: usize,
    /// Most unexecuted commands on one key.
    pub unexecuted_per_key_max: usize,
    /// Most recoveries at once.
    pub recoveries_max: usize,
    /// Most instances asked for at once.
    pub fetches_max: usize,
    /// How far ahead of what is executed an instance may be known.
    pub lane_window_max: u64,
    /// Above so many instances kept, members that hold up collection are counted as absent.
    pub retained_max: usize,
    /// Payloads of so many bytes are not sent again to who may only not have them yet.
    pub large_bytes: usize,
    /// How long what a member needs that takes over a state is kept.
    pub hold: Span,
    /// What only protocols with a leader and a log take.
    pub log: LogTuning,
    /// What only Fast Paxos takes.
    pub fast: FastTuning,
    /// What only epochs take.
    pub epochs: EpochTuning,
}

/// A replica's place in a run.
#[derive(Clone, Debug)]
pub struct Seat<'a> {
    /// Which one.
    pub replica: ReplicaId,
    /// The thresholds of the run.
    pub quorums: Quorums,
    /// A seed of its own, a new one at each start.
    pub seed: u64,
    /// What the swarm chose.
    pub tuning: &'a Tuning,
    /// The known mistake that the protocol is to make, by its number, where it can be made to.
    pub mistake: Option<usize>,
}

/// Which run of which replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The replica.
    pub replica: ReplicaId,
    /// How often it has been started, from 1.
    pub incarnation: u32,
}

/// What a replica is to its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// It has none: not yet, or not any more.
    Outside,
    /// It is a member of this epoch.
    Member(u64),
}

/// A protocol that the simulator can run.
pub trait Subject: Protocol + 'static {
    /// What is checked of it besides what holds for every protocol.
    type Checks: Checks<Self>;
    /// The names of its kinds of message.
    const LABELS: &'static [&'static str];

    /// The run of a seed with `n` replicas: the swarm that fits this protocol.
    fn draw(seed: u64, n: usize) -> Setup {
        Setup::draw(seed, n)
    }
    /// What many runs with `n` replicas must have come to.
    fn required(_n: usize) -> Required {
        Required::default()
    }
    /// If this replica leads, in which round; faults may aim at the leader of the highest.
    fn leads(&self) -> Option<u64> {
        None
    }
    /// What this replica is to its group.
    fn part(&self) -> Part {
        Part::Member(1)
    }
    /// The members, as this replica knows them; `None` for all that there are.
    fn roster(&self) -> Option<ReplicaSet> {
        None
    }
    /// The epoch this replica is in, if it knows that a slow quorum of others has come to it durably.
    fn established(&self) -> Option<u64> {
        None
    }
    /// The epoch that an operator proposes here. `choice` picks who it concerns, those who are `lost` go
    /// first, and there are so many `places`.
    fn next_epoch(
        &self,
        _change: &Change,
        _choice: u64,
        _lost: ReplicaSet,
        _places: usize,
    ) -> Option<Epoch> {
        None
    }
    /// What this replica proposed last of its own accord: the number of the epoch it would open, its members,
    /// and the seal.
    fn own_seal(&self) -> Option<(u64, ReplicaSet, &Command)> {
        None
    }
    /// The configuration of a seat.
    fn config(seat: &Seat<'_>) -> Self::Config;
    /// The kind of `message`, an index into [`LABELS`](Self::LABELS).
    fn label(message: &Self::Message) -> usize;
    /// The instance a message speaks of.
    fn message_instance(message: &Self::Message) -> Option<InstanceId>;
    /// The instance a record is about.
    fn record_instance(record: &Self::Record) -> Option<InstanceId>;
    /// Instances known here and not decided, then those decided and not executed: at most `limit`.
    fn unsettled(&self, limit: usize) -> Vec<InstanceId>;
    /// What this replica knows of `id`, for a reader.
    fn describe(&self, id: InstanceId) -> String;
}

/// The checks of one run. They see everything that is written, sent and executed.
pub trait Checks<P: Subject> {
    /// What a replica's state contains, as far as checks go by it.
    type Frozen: Clone + std::fmt::Debug;

    /// Before anything happened.
    fn new(quorums: Quorums) -> Self;

    /// What the swarm chose for this run.
    fn begin(&mut self, _setup: &Setup) {}

    /// A client's command was handed to the protocol at `at`.
    fn proposed(&mut self, at: Place, command: &Command);

    /// A record was given to the journal; it is not durable yet.
    ///
    /// # Errors
    /// What is wrong.
    fn persisted(&mut self, at: Place, record: &P::Record) -> Result<(), Flaw>;

    /// A record became durable.
    ///
    /// # Errors
    /// What is wrong.
    fn durable(&mut self, at: Place, record: &P::Record) -> Result<(), Flaw>;

    /// A replica started from a snapshot of its own, if it had one, and the `records` after it, all
    /// of them durable.
    ///
    /// # Errors
    /// What is wrong.
    fn restored(
        &mut self,
        at: Place,
        base: Option<(&[P::Record], &Self::Frozen)>,
        records: &[P::Record],
        protocol: &P,
    ) -> Result<(), Flaw>;

    /// A snapshot of `at` is durable, and with it the state it may have taken over.
    fn snapshot_durable(&mut self, at: Place);

    /// What the state of `at` contains now, which goes with `image`.
    fn freeze(&self, at: Place, image: &[P::Record]) -> Self::Frozen;

    /// A replica took over the state of another, with what that one knew to be decided.
    ///
    /// # Errors
    /// What is wrong.
    fn taken_over(
        &mut self,
        at: Place,
        handover: &[P::Record],
        frozen: &Self::Frozen,
        protocol: &P,
    ) -> Result<(), Flaw>;

    /// A message left for `to`.
    ///
    /// # Errors
    /// What is wrong.
    fn sent(&mut self, at: Place, to: ReplicaSet, message: &P::Message) -> Result<(), Flaw>;

    /// A turn ended that touched these instances.
    ///
    /// # Errors
    /// What is wrong.
    fn stepped(&mut self, at: Place, protocol: &P, touched: &[InstanceId]) -> Result<(), Flaw>;

    /// A command is applied.
    ///
    /// # Errors
    /// What is wrong.
    fn executing(&mut self, at: Place, id: InstanceId, command: &Command) -> Result<(), Flaw>;

    /// A client has the answer to its command, which took effect as `id`.
    fn answered(&mut self, _id: InstanceId) {}

    /// The replicas that run, each with what its clock shows, after a turn of one of them.
    ///
    /// # Errors
    /// What is wrong.
    fn together<'a>(&mut self, _all: impl Iterator<Item = (Place, Now, &'a P)>) -> Result<(), Flaw>
    where
        P: 'a,
    {
        Ok(())
    }

    /// Counts worth reporting.
    fn coverage(&self, add: &mut dyn FnMut(&'static str, u64));
}
