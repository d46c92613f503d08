//! The production `MultiPaxos` type as a model: three replicas, a few commands, leaders that stand
//! at any moment, every order of deliveries, losses (a message need not be delivered) and crashes
//! within a bound.
//!
//! Time stands still, so nothing happens by timeout, and nobody is heard or missed: to stand is an
//! action of its own. Records are durable at once: that nothing leaves before them is the types'
//! and the simulator's matter.

use std::collections::BTreeMap;

use bytes::Bytes;
use panchayat_consensus::{
    Ballot, Command, Durable, Effects, Footprint, Input, Now, Output, Protocol, RecordSeq,
    ReplicaId, ReplicaSet, Slot, Span, Token,
};
use panchayat_multipaxos::{Config, Entry, FlexibleQuorums, Message, MultiPaxos, Record, Timing};
use stateright::{Model, Property};

use crate::network::{Envelope, Network, fingerprint};

/// What may happen, at most.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// Who proposes a command, each once.
    pub(crate) proposers: Vec<ReplicaId>,
    /// Who may stand, and how often in all.
    pub(crate) candidates: Vec<ReplicaId>,
    pub(crate) stands: u8,
    pub(crate) crashes: u8,
    /// What has happened before the exploration starts.
    pub(crate) start: Vec<Action>,
    pub(crate) configure: fn(&mut Config),
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Action {
    Propose(ReplicaId),
    Stand(ReplicaId),
    /// By fingerprint.
    Deliver(u64),
    /// The message from, to, of this kind, for directed starts.
    DeliverKind(ReplicaId, ReplicaId, &'static str),
    Crash(ReplicaId),
}

#[derive(Clone, Debug, Hash)]
#[allow(clippy::derived_hash_with_manual_eq, reason = "equality is by hash")]
pub(crate) struct State {
    replicas: Vec<MultiPaxos>,
    /// What each has executed: slot and command.
    executed: Vec<Vec<(Slot, u8)>>,
    down: ReplicaSet,
    network: Network<Message>,
    proposed: ReplicaSet,
    stands: u8,
    crashes: u8,
}

type Fx = Effects<Message, Record>;

/// As the checker sees it: two states with one fingerprint are one.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        fingerprint(self) == fingerprint(other)
    }
}

impl State {
    /// Whatever is known to be chosen, or is chosen by the votes that there are, is one value per
    /// slot; dead replicas count.
    pub(crate) fn agrees(&self) -> bool {
        let highest = self.replicas.iter().map(MultiPaxos::highest).max().unwrap_or(0);
        (1..=highest).all(|slot| {
            let known = self.replicas.iter().filter_map(|replica| replica.chosen_entry(slot));
            let mut chosen: Vec<&Entry> = known.collect();
            let mut votes: BTreeMap<Ballot, Vec<&Entry>> = BTreeMap::new();
            for (ballot, entry) in self.replicas.iter().filter_map(|replica| replica.vote(slot)) {
                votes.entry(ballot).or_default().push(entry);
            }
            let majority = self.replicas.len() / 2 + 1;
            chosen.extend(votes.values().filter(|votes| votes.len() >= majority).flatten());
            chosen.windows(2).all(|pair| pair[0] == pair[1])
        })
    }

    /// Everybody executes the same commands in the same slots, each command once.
    pub(crate) fn executes_alike(&self) -> bool {
        let longest = self.executed.iter().max_by_key(|executed| executed.len());
        let once = |executed: &[(Slot, u8)]| {
            let commands: ReplicaSet = executed.iter().map(|(_, by)| ReplicaId(*by)).collect();
            commands.len() == executed.len()
        };
        let Some(longest) = longest else { return true };
        once(longest) && self.executed.iter().all(|executed| longest.starts_with(executed))
    }

    fn count(&self, name: &str) -> u64 {
        let counters = self.replicas.iter().flat_map(Protocol::counters);
        counters.filter(|(counter, _)| *counter == name).map(|(_, count)| count).sum()
    }

    fn step(&mut self, replica: ReplicaId, act: impl FnOnce(&mut MultiPaxos, &mut Fx)) {
        let everything = Durable(RecordSeq(u64::MAX));
        let mut effects = Fx::default();
        let protocol = &mut self.replicas[replica.index()];
        act(protocol, &mut effects);
        protocol.check_invariants();
        for output in effects.take_outputs() {
            let Ok(Output::Send { to, message }) = output.open(everything) else { continue };
            if is_about_the_log(&message) {
                self.network.send(replica, to, &message);
            }
        }
        for execution in effects.take_executions() {
            let Ok(execution) = execution.open(everything) else { continue };
            let executed = (execution.id.slot, execution.command.payload[0]);
            self.executed[replica.index()].push(executed);
        }
    }
}

/// The rest is what only time would need: being heard, gossip, asking around.
fn is_about_the_log(message: &Message) -> bool {
    matches!(
        message,
        Message::Forward { .. }
            | Message::Prepare { .. }
            | Message::Promise { .. }
            | Message::Accept { .. }
            | Message::AcceptOk { .. }
    )
}

impl Scope {
    fn initial(&self) -> State {
        let quorums = FlexibleQuorums::majorities(3).expect("three replicas");
        let never = Span(1 << 40);
        let replicas = (0..3).map(ReplicaId).map(|seat| {
            let mut config = Config::new(seat, quorums, Span::from_ms(1));
            config.timing = Timing {
                heartbeat_interval: never,
                election_timeout: never,
                stagger: never,
                patience: never,
                catch_up_delay: never,
                status_interval: never,
                read_timeout: never,
                outcome_timeout: never,
                hold: never,
            };
            config.seed = 0;
            (self.configure)(&mut config);
            let mut effects = Fx::default();
            let mut replica = MultiPaxos::restore(config, [], Now::default(), &mut effects);
            let everything = Durable(RecordSeq(u64::MAX));
            replica.step(Now::default(), Input::Durable(everything), &mut effects);
            replica
        });
        State {
            replicas: replicas.collect(),
            executed: vec![Vec::new(); 3],
            down: ReplicaSet::EMPTY,
            network: Network::new(),
            proposed: ReplicaSet::EMPTY,
            stands: 0,
            crashes: 0,
        }
    }

    fn apply(&self, state: &mut State, action: &Action) -> bool {
        let now = Now::default();
        match action {
            Action::Propose(replica) => {
                state.proposed.insert(*replica);
                let payload = Bytes::copy_from_slice(&[replica.0]);
                let command = Command::new(Footprint::write(b"the key"), None, payload);
                let input = Input::Propose { token: Token(u64::from(replica.0)), command };
                state.step(*replica, |replica, fx| replica.step(now, input, fx));
            }
            Action::Stand(replica) => {
                state.stands += 1;
                state.step(*replica, |replica, fx| replica.stand(now, fx));
            }
            Action::Deliver(name) => {
                let Some(Envelope { from, to, message }) = state.network.take(*name) else {
                    return false;
                };
                let input = Input::Receive { from, message };
                state.step(to, |replica, fx| replica.step(now, input, fx));
            }
            Action::DeliverKind(from, to, kind) => {
                let name = state.network.find(*from, *to, kind);
                return self.apply(state, &Action::Deliver(name));
            }
            Action::Crash(replica) => {
                state.crashes += 1;
                state.down.insert(*replica);
            }
        }
        state.network.lose(state.down);
        true
    }
}

impl Model for Scope {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = self.initial();
        for action in &self.start {
            assert!(self.apply(&mut state, action), "the start cannot happen: {action:?}");
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let alive = |replica: &&ReplicaId| !state.down.contains(**replica);
        let fresh = |replica: &&ReplicaId| !state.proposed.contains(**replica);
        let proposers = self.proposers.iter().filter(alive).filter(fresh);
        actions.extend(proposers.map(|replica| Action::Propose(*replica)));
        actions.extend(state.network.names().map(Action::Deliver));
        if state.stands < self.stands {
            let candidates = self.candidates.iter().filter(alive);
            actions.extend(candidates.map(|replica| Action::Stand(*replica)));
        }
        if state.crashes < self.crashes {
            let candidates = self.candidates.iter().filter(alive);
            actions.extend(candidates.map(|replica| Action::Crash(*replica)));
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        self.apply(&mut next, &action).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("agreement", |_, state: &State| state.agrees()),
            Property::always("execution", |_, state: &State| state.executes_alike()),
            Property::sometimes("a take-over of what was voted for", |_, state: &State| {
                state.count("recovered") > 0
            }),
        ]
    }
}
