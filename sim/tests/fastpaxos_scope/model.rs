//! The production `FastPaxos` type as a model: a few replicas, two commands that meet in one slot,
//! every order of deliveries, losses (a message need not be delivered), a coordinator that loses
//! patience, dies or is taken for dead, and one take-over.
//!
//! Time stands still but for these. Records are durable at once: that nothing leaves before them is
//! the types' and the simulator's matter. Pre-votes promise nothing, so a take-over begins with its
//! ballot prepared.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use panchayat_consensus::{
    Command, Durable, Effects, Footprint, Input, Now, Output, Protocol, RecordSeq, ReplicaId,
    ReplicaSet, Slot, Span, Time, Token, WallTime,
};
use panchayat_fastpaxos::{Config, FastPaxos, FastQuorums, Limits, Message, Record, Slots, Timing};
use stateright::{Model, Property};

/// Who coordinates from the beginning.
const COORDINATOR: ReplicaId = ReplicaId(0);
/// The slot that commands meet in; what would concern others is lost.
const SLOT: Slot = 1;
/// When a coordinator has waited long enough for votes, twice.
const PATIENCE_ENDS: [Time; 2] = [Time(1 << 20), Time(1 << 21)];
/// When a coordinator has been silent for too long.
const SILENCE_ENDS: Time = Time(1 << 35);

/// What may happen, at most.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) replicas: usize,
    /// Who proposes, each once.
    pub(crate) proposers: Vec<ReplicaId>,
    /// Whether the coordinator may die.
    pub(crate) crash: bool,
    /// Who may take over, one of them once.
    pub(crate) successors: Vec<ReplicaId>,
    /// Whether the coordinator may settle without votes that are missing.
    pub(crate) impatient: bool,
    /// A hand-made beginning, if this is not empty: all have proposed, these commands were delivered in
    /// this order, from the first to the second, and all other commands are lost.
    pub(crate) opening: Vec<(ReplicaId, ReplicaId)>,
    /// After it, the only one who hears votes; all do if there is none.
    pub(crate) hears: Option<ReplicaId>,
    pub(crate) configure: fn(&mut Config),
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Action {
    Propose(ReplicaId),
    /// By fingerprint.
    Deliver(u64),
    Crash,
    LosePatience,
    TakeOver(ReplicaId),
}

#[derive(Clone, Debug, Hash)]
#[allow(clippy::derived_hash_with_manual_eq, reason = "equality is by hash")]
pub(crate) struct State {
    replicas: Vec<FastPaxos>,
    now: Vec<Time>,
    down: ReplicaSet,
    network: BTreeMap<u64, Envelope>,
    proposed: ReplicaSet,
    impatient: bool,
    taken_over: bool,
}

#[derive(Clone, Debug, Hash)]
struct Envelope {
    from: ReplicaId,
    to: ReplicaId,
    message: Message,
}

type Fx = Effects<Message, Record>;

/// As the checker sees it: two states with one fingerprint are one.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        fingerprint(self) == fingerprint(other)
    }
}

fn fingerprint(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Whether a message is about what is explored. Left out is what only time would need: word of how
/// far one is, asking around, and refusals, which make a coordinator resign earlier.
fn matters(message: &Message) -> bool {
    match message {
        Message::Votes { first, .. } | Message::Accept { first, .. } => *first == SLOT,
        Message::Propose { .. }
        | Message::Prepare { .. }
        | Message::Close { .. }
        | Message::Reported { .. }
        | Message::Heartbeat { .. } => true,
        _ => false,
    }
}

impl State {
    /// All who know what was chosen say the same, dead ones included.
    pub(crate) fn agrees(&self) -> bool {
        let mut chosen = self.replicas.iter().filter_map(|replica| replica.chosen_entry(SLOT));
        let first = chosen.next();
        chosen.all(|entry| Some(entry) == first)
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        let counters = self.replicas.iter().flat_map(Protocol::counters);
        counters.filter(|(counter, _)| *counter == name).map(|(_, count)| count).sum()
    }

    /// One input; gives the ballot asked for, if a pre-vote is.
    fn step(&mut self, replica: ReplicaId, input: Input<Message>) -> Option<Message> {
        let mut effects = Fx::default();
        let now = Now { monotonic: self.now[replica.index()], wall: WallTime(0) };
        self.replicas[replica.index()].step(now, input, &mut effects);
        let mut asked = None;
        for output in effects.take_outputs() {
            // Everything is durable at once.
            let Ok(output) = output.open(Durable(RecordSeq(u64::MAX))) else { continue };
            let Output::Send { to, message } = output else { continue };
            if let Message::PreVote { ballot, .. } = message {
                asked = Some(Message::PreVoteOk { ballot });
            }
            for to in to.iter().filter(|_| matters(&message)) {
                let envelope = Envelope { from: replica, to, message: message.clone() };
                self.network.insert(fingerprint(&envelope), envelope);
            }
        }
        asked
    }

    /// `replica` believes that the coordinator is gone, and enough others would help it.
    fn take_over(&mut self, replica: ReplicaId) {
        self.now[replica.index()] = SILENCE_ENDS;
        let asked = self.step(replica, Input::PeerSuspected(COORDINATOR));
        let others = (0..self.replicas.len() as u8).map(ReplicaId).filter(|r| *r != replica);
        for (from, message) in others.zip(std::iter::repeat(asked)) {
            if let Some(message) = message {
                self.step(replica, Input::Receive { from, message });
            }
        }
    }
}

impl Scope {
    fn initial(&self) -> State {
        let quorums = FastQuorums::for_replicas(self.replicas).expect("at least one replica");
        let never = Span(1 << 40);
        let replica = |seat: u8| {
            let mut config = Config::new(ReplicaId(seat), quorums, Span::from_ms(1));
            config.slots = Slots::NextFree;
            config.mode.collisions_percent = 101;
            config.timing = Timing {
                heartbeat_interval: never,
                election_timeout: Span(1 << 30),
                stagger: Span(1),
                settle_delay: Span(1),
                patience: never,
                arrival_wait_max: Span(1),
                catch_up_delay: never,
                status_interval: never,
                hold: never,
            };
            config.limits = Limits { window_slots_max: SLOT, ..Limits::default() };
            config.seed = 0;
            (self.configure)(&mut config);
            FastPaxos::restore(config, [], Now::default(), &mut Fx::default())
        };
        let mut state = State {
            replicas: (0..self.replicas as u8).map(replica).collect(),
            now: vec![Time(0); self.replicas],
            down: ReplicaSet::EMPTY,
            network: BTreeMap::new(),
            proposed: ReplicaSet::EMPTY,
            impatient: false,
            taken_over: false,
        };
        let everything = Durable(RecordSeq(u64::MAX));
        let mut asked = None;
        for seat in (0..self.replicas as u8).map(ReplicaId) {
            asked = asked.or(state.step(seat, Input::Durable(everything)));
        }
        let vote = asked.expect("the first in rank stands at once");
        for from in (1..self.replicas as u8).map(ReplicaId) {
            state.step(COORDINATOR, Input::Receive { from, message: vote.clone() });
        }
        // The first coordinator is in place before anything else happens.
        while let Some(name) = state.network.keys().next().copied() {
            self.apply(&mut state, &Action::Deliver(name));
        }
        assert!(state.replicas[COORDINATOR.index()].is_coordinator());
        if !self.opening.is_empty() {
            self.open(&mut state);
        }
        state
    }

    fn open(&self, state: &mut State) {
        for replica in &self.proposers {
            self.apply(state, &Action::Propose(*replica));
        }
        let is_command = |envelope: &Envelope| matches!(envelope.message, Message::Propose { .. });
        for way in &self.opening {
            let found = state
                .network
                .iter()
                .find(|(_, envelope)| is_command(envelope) && (envelope.from, envelope.to) == *way);
            let name = *found.expect("a proposer on the first side").0;
            self.apply(state, &Action::Deliver(name));
        }
        state.network.retain(|_, envelope| {
            !is_command(envelope) && self.hears.is_none_or(|to| envelope.to == to)
        });
    }

    fn apply(&self, state: &mut State, action: &Action) -> bool {
        match action {
            Action::Propose(replica) => {
                state.proposed.insert(*replica);
                let payload = Bytes::copy_from_slice(&[replica.0]);
                let command = Command::new(Footprint::write(b"the key"), None, payload);
                let token = Token(u64::from(replica.0));
                state.step(*replica, Input::Propose { token, command });
            }
            Action::Deliver(name) => {
                let Some(envelope) = state.network.remove(name) else { return false };
                let Envelope { from, to, message } = envelope;
                state.step(to, Input::Receive { from, message });
            }
            Action::Crash => {
                state.down.insert(COORDINATOR);
            }
            Action::LosePatience => {
                state.impatient = true;
                for time in PATIENCE_ENDS {
                    state.now[COORDINATOR.index()] = time;
                    state.step(COORDINATOR, Input::Wake);
                }
            }
            Action::TakeOver(replica) => {
                state.taken_over = true;
                state.take_over(*replica);
            }
        }
        // Nobody hears a dead replica out: what it is sent is lost.
        state.network.retain(|_, envelope| !state.down.contains(envelope.to));
        true
    }
}

impl Model for Scope {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.initial()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let open = self.proposers.iter().filter(|r| !state.proposed.contains(**r));
        actions.extend(open.map(|replica| Action::Propose(*replica)));
        actions.extend(state.network.keys().map(|name| Action::Deliver(*name)));
        let alive = !state.down.contains(COORDINATOR);
        if self.crash && alive {
            actions.push(Action::Crash);
        }
        if self.impatient && alive && !state.impatient && !state.proposed.is_empty() {
            actions.push(Action::LosePatience);
        }
        if !state.taken_over {
            actions.extend(self.successors.iter().map(|replica| Action::TakeOver(*replica)));
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        self.apply(&mut next, &action).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("agreement", |_, state: &State| state.agrees()),
            Property::sometimes("chosen in a fast round", |_, state: &State| {
                state.count("chosen_fast") > 0
            }),
            Property::sometimes("chosen in a classic round", |_, state: &State| {
                state.count("chosen_classic") > 0
            }),
        ]
    }
}
