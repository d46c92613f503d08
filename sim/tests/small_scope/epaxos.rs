//! The production `EPaxos` type as a model: a few replicas, a few conflicting commands, every order
//! of deliveries, losses (a message need not be delivered), crashes and recoveries within a bound.
//!
//! Time stands still, so nothing happens by timeout; a recovery is an action of its own. Records
//! are durable at once: that nothing leaves before them is the types' and the simulator's matter.

use std::collections::BTreeMap;

use bytes::Bytes;
use panchayat_consensus::{
    Command, Durable, Effects, Footprint, Input, InstanceId, Now, Output, Protocol, Quorums,
    RecordSeq, ReplicaId, ReplicaSet, Span, Token, WallTime,
};
use panchayat_epaxos::{Config, EPaxos, Limits, Message, Record, Timing};
use stateright::{Model, Property};

use crate::network::{Envelope, Network, fingerprint};

/// What may happen, at most.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) replicas: usize,
    /// Who proposes a write of the one key, each once.
    pub(crate) proposers: Vec<ReplicaId>,
    pub(crate) crashes: u8,
    pub(crate) recoveries: u8,
    /// What has happened before the exploration starts.
    pub(crate) start: Vec<Action>,
    pub(crate) configure: fn(&mut Config),
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Action {
    Propose(ReplicaId),
    /// By fingerprint.
    Deliver(u64),
    /// The message from, to, of this kind, for directed starts.
    DeliverKind(ReplicaId, ReplicaId, &'static str),
    Crash(ReplicaId),
    Recover(ReplicaId, InstanceId),
}

#[derive(Clone, Debug, Hash)]
#[allow(clippy::derived_hash_with_manual_eq, reason = "equality is by hash")]
pub(crate) struct State {
    replicas: Vec<EPaxos>,
    down: ReplicaSet,
    network: Network<Message>,
    proposed: ReplicaSet,
    crashes: u8,
    recoveries: u8,
}

type Fx = Effects<Message, Record>;

/// As the checker sees it: two states with one fingerprint are one.
impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        fingerprint(self) == fingerprint(other)
    }
}

impl State {
    /// Every instance with what each replica, dead ones included, has committed.
    fn committed(&self) -> BTreeMap<InstanceId, Vec<&panchayat_epaxos::Instance>> {
        let mut committed: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for replica in &self.replicas {
            for (id, instance) in replica.instances().filter(|(_, i)| i.is_committed()) {
                committed.entry(id).or_default().push(instance);
            }
        }
        committed
    }

    pub(crate) fn agrees(&self) -> bool {
        self.committed().values().all(|instances| {
            instances.iter().all(|instance| {
                instance.nop == instances[0].nop
                    && instance.deps == instances[0].deps
                    && (instance.nop || instance.payload == instances[0].payload)
            })
        })
    }

    pub(crate) fn is_visible(&self) -> bool {
        let committed = self.committed();
        let commands: Vec<_> = committed
            .iter()
            .map(|(id, instances)| (*id, instances[0]))
            .filter(|(_, instance)| !instance.nop)
            .collect();
        commands.iter().enumerate().all(|(at, (a, of_a))| {
            commands[at + 1..]
                .iter()
                .all(|(b, of_b)| of_a.deps.contains(*b) || of_b.deps.contains(*a))
        })
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        let counters = self.replicas.iter().flat_map(|replica| Protocol::counters(replica));
        counters.filter(|(counter, _)| *counter == name).map(|(_, count)| count).sum()
    }

    fn step(&mut self, replica: ReplicaId, act: impl FnOnce(&mut EPaxos, &mut Fx)) {
        let mut effects = Fx::default();
        act(&mut self.replicas[replica.index()], &mut effects);
        for output in effects.take_outputs() {
            // Everything is durable at once.
            let Ok(output) = output.open(Durable(RecordSeq(u64::MAX))) else { continue };
            let Output::Send { to, message } = output else { continue };
            // What only time would need: gossip, and asking around.
            if matches!(message, Message::Status { .. } | Message::Fetch { .. }) {
                continue;
            }
            self.network.send(replica, to, &message);
        }
    }
}

impl Scope {
    fn initial(&self) -> State {
        let quorums = Quorums::for_replicas(self.replicas).expect("enough replicas");
        let seats = (0..self.replicas as u8).map(ReplicaId);
        let never = Span(1 << 40);
        let replicas = seats.map(|seat| {
            let mut config = Config::new(seat, quorums, Span::from_ms(1));
            config.timing = Timing {
                patience: never,
                recovery_delay: never,
                stagger: Span(1),
                status_interval: never,
                fast_quorum_wait: Span(0),
                hold: never,
            };
            config.limits = Limits { fetches_max: 0, ..Limits::default() };
            config.seed = 0;
            (self.configure)(&mut config);
            let mut effects = Fx::default();
            let mut replica = EPaxos::restore(config, [], Now::default(), &mut effects);
            let everything = Durable(RecordSeq(u64::MAX));
            replica.step(Now::default(), Input::Durable(everything), &mut effects);
            replica
        });
        State {
            replicas: replicas.collect(),
            down: ReplicaSet::EMPTY,
            network: Network::new(),
            proposed: ReplicaSet::EMPTY,
            crashes: 0,
            recoveries: 0,
        }
    }

    fn apply(&self, state: &mut State, action: &Action) -> bool {
        match action {
            Action::Propose(replica) => {
                state.proposed.insert(*replica);
                let payload = Bytes::copy_from_slice(&[replica.0]);
                let footprint = Footprint::write(b"the key");
                let command =
                    Command { footprint, proposed_at: WallTime(0), request: None, payload };
                let input = Input::Propose { token: Token(u64::from(replica.0)), command };
                state.step(*replica, |epaxos, fx| epaxos.step(Now::default(), input, fx));
            }
            Action::Deliver(name) => {
                let Some(Envelope { from, to, message }) = state.network.take(*name) else {
                    return false;
                };
                let input = Input::Receive { from, message };
                state.step(to, |epaxos, fx| epaxos.step(Now::default(), input, fx));
            }
            Action::DeliverKind(from, to, kind) => {
                let name = state.network.find(*from, *to, kind);
                return self.apply(state, &Action::Deliver(name));
            }
            Action::Crash(replica) => {
                state.crashes += 1;
                state.down.insert(*replica);
            }
            Action::Recover(replica, id) => {
                state.recoveries += 1;
                state.step(*replica, |epaxos, fx| epaxos.recover(*id, Now::default(), fx));
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
        let alive = |replica: &ReplicaId| !state.down.contains(*replica);
        let proposers = self.proposers.iter().filter(|replica| alive(replica));
        actions.extend(
            proposers.filter(|r| !state.proposed.contains(**r)).map(|r| Action::Propose(*r)),
        );
        actions.extend(state.network.names().map(Action::Deliver));
        if state.crashes < self.crashes {
            actions.extend(self.proposers.iter().filter(|r| alive(r)).map(|r| Action::Crash(*r)));
        }
        if state.recoveries < self.recoveries {
            for (seat, replica) in state.replicas.iter().enumerate() {
                let seat = ReplicaId(seat as u8);
                let undecided =
                    replica.instances().filter(|(_, instance)| !instance.is_committed());
                if alive(&seat) {
                    actions.extend(undecided.map(|(id, _)| Action::Recover(seat, id)));
                }
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        self.apply(&mut next, &action).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("agreement", |_, state: &State| state.agrees()),
            Property::always("visibility", |_, state: &State| state.is_visible()),
            Property::sometimes("a fast commit", |_, state: &State| {
                state.count("fast_commits") > 0
            }),
        ]
    }
}
