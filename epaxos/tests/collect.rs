//! Garbage collection, images and taking over a state, on a cluster in memory whose messages
//! arrive in order and whose disks are fast.

use std::collections::VecDeque;

use bytes::Bytes;
use panchayat_consensus::{
    Command, Effects, Footprint, Input, InstanceId, KeyHash, Mode, Now, Output, Protocol, Quorums,
    ReplicaId, Span, Time, Token, WallTime,
};
use panchayat_epaxos::{Config, EPaxos, Message, Record};

type Fx = Effects<Message, Record>;

struct Member {
    config: Config,
    protocol: EPaxos,
    effects: Fx,
    journal: Vec<Record>,
    executed: Vec<InstanceId>,
    up: bool,
}

struct Cluster {
    members: Vec<Member>,
    wire: VecDeque<(usize, usize, Message)>,
    now: Now,
    tokens: u64,
}

impl Cluster {
    fn new(n: usize, retained_max: usize) -> Self {
        let quorums = Quorums::for_replicas(n).unwrap();
        let now = Now { monotonic: Time(1), wall: WallTime(1_000_000) };
        let members = (0..n).map(|seat| {
            let mut config = Config::new(ReplicaId(seat as u8), quorums, Span::from_ms(20));
            config.limits.retained_max = retained_max;
            let mut effects = Fx::default();
            let protocol = EPaxos::restore(config.clone(), [], now, &mut effects);
            Member { config, protocol, effects, journal: vec![], executed: vec![], up: true }
        });
        Self { members: members.collect(), wire: VecDeque::new(), now, tokens: 0 }
    }

    fn propose(&mut self, at: usize, key: u64) {
        self.tokens += 1;
        let footprint = Footprint::new([(KeyHash(key), Mode::Write)]);
        let command = Command::new(footprint, None, Bytes::from_static(b"payload"));
        self.step(at, Input::Propose { token: Token(self.tokens), command });
    }

    fn step(&mut self, at: usize, input: Input<Message>) {
        let member = &mut self.members[at];
        if !member.up {
            return;
        }
        member.protocol.step(self.now, input, &mut member.effects);
        self.perform(at);
    }

    fn perform(&mut self, at: usize) {
        loop {
            let member = &mut self.members[at];
            let durable = panchayat_consensus::Durable(member.effects.last_record());
            let records: Vec<_> = member.effects.take_records().collect();
            let news = !records.is_empty();
            member.journal.extend(records);
            for output in member.effects.take_outputs() {
                if let Output::Send { to, message } = output.open(durable).expect("all is durable")
                {
                    for to in to.iter() {
                        self.wire.push_back((at, to.index(), message.clone()));
                    }
                }
            }
            let executed: Vec<_> = member.effects.take_executions().collect();
            member.executed.extend(executed.into_iter().map(|e| e.open(durable).unwrap().id));
            if !news {
                return;
            }
            member.protocol.step(self.now, Input::Durable(durable), &mut member.effects);
            member.protocol.check_invariants();
        }
    }

    fn settle(&mut self) {
        while let Some((from, to, message)) = self.wire.pop_front() {
            self.step(to, Input::Receive { from: ReplicaId(from as u8), message });
        }
    }

    /// Lets time pass, so that statuses go round.
    fn pass(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.now.monotonic.0 += 150_000;
            self.now.wall.0 += 150_000;
            for at in 0..self.members.len() {
                self.step(at, Input::Wake);
            }
            self.settle();
        }
    }

    /// `seat` takes over the state of `from`.
    fn transfer(&mut self, from: usize, to: usize) {
        let now = self.now;
        self.members[from].protocol.hold(now);
        let handover = EPaxos::handover(self.members[from].protocol.image());
        let executed = self.members[from].executed.clone();
        let member = &mut self.members[to];
        member.executed = executed;
        member.protocol.install(now, handover, &mut member.effects);
        member.protocol.check_invariants();
        self.perform(to);
    }

    fn sorted(&self, at: usize) -> Vec<InstanceId> {
        let mut ids = self.members[at].executed.clone();
        ids.sort_unstable();
        ids
    }
}

#[test]
fn what_all_have_executed_goes_and_its_keys_with_it() {
    let mut cluster = Cluster::new(3, 1 << 16);
    for round in 0..40 {
        for at in 0..3 {
            cluster.propose(at, round % 7);
        }
        cluster.settle();
    }
    assert_eq!(cluster.members[0].protocol.retained(), 120);
    cluster.pass(8);
    for at in 0..3 {
        let protocol = &cluster.members[at].protocol;
        assert_eq!(cluster.members[at].executed.len(), 120);
        assert_eq!(protocol.retained(), 0, "replica {at}");
        assert_eq!(protocol.keys_known(), 0);
    }
    // Nothing of that slows what comes: still the fast path, all the same dependencies.
    let fast = cluster.members[1].protocol.counters().fast_commits;
    cluster.propose(1, 3);
    cluster.settle();
    assert_eq!(cluster.members[1].protocol.counters().fast_commits, fast + 1);
}

#[test]
fn nothing_goes_while_a_member_lacks_it() {
    let mut cluster = Cluster::new(3, 1 << 16);
    cluster.pass(4);
    cluster.members[2].up = false;
    for _ in 0..20 {
        cluster.propose(0, 1);
        cluster.settle();
    }
    cluster.pass(8);
    assert_eq!(cluster.members[0].protocol.retained(), 20);
    cluster.members[2].up = true;
    cluster.pass(30);
    assert_eq!(cluster.sorted(2), cluster.sorted(0), "asked for one by one");
    assert_eq!(cluster.members[0].protocol.retained(), 0);
}

#[test]
fn a_member_that_stays_away_is_collected_without_and_comes_back_by_a_state() {
    for n in [3, 5] {
        let mut cluster = Cluster::new(n, 64);
        cluster.pass(4);
        cluster.members[2].up = false;
        for round in 0..300 {
            cluster.propose(round % 2, round as u64 % 5);
            cluster.settle();
            cluster.pass(1);
        }
        cluster.pass(10);
        let first = &cluster.members[0].protocol;
        assert!(first.absent().contains(ReplicaId(2)));
        assert!(first.retained() <= 64, "{} kept", first.retained());

        cluster.members[2].up = true;
        cluster.pass(3);
        let ahead = cluster.members[2].protocol.needs_state();
        assert!(!ahead.is_empty(), "it knows that it lacks what is gone");
        cluster.propose(2, 1);
        assert_eq!(cluster.members[2].protocol.in_flight(), 0, "and takes no proposals");

        cluster.transfer(ahead.iter().next().unwrap().index(), 2);
        cluster.pass(20);
        assert!(cluster.members[2].protocol.needs_state().is_empty());
        for at in 0..n {
            assert!(cluster.members[at].protocol.absent().is_empty(), "replica {at} of {n}");
        }
        cluster.propose(2, 1);
        cluster.propose(0, 1);
        cluster.settle();
        cluster.pass(10);
        assert_eq!(cluster.sorted(2), cluster.sorted(0));
        assert_eq!(cluster.members[2].executed.len(), 302);
        assert_eq!(cluster.members[0].protocol.retained(), 0);
    }
}

#[test]
fn a_state_that_is_older_than_what_members_collected_is_not_installed() {
    let mut cluster = Cluster::new(3, 64);
    cluster.pass(4);
    let old = EPaxos::handover(cluster.members[0].protocol.image());
    for round in 0..30 {
        cluster.propose(round % 3, round as u64 % 5);
        cluster.settle();
        cluster.pass(1);
    }
    cluster.pass(10);
    assert_eq!(cluster.members[2].protocol.retained(), 0, "all is collected");
    let new = EPaxos::handover(cluster.members[0].protocol.image());
    let member = &cluster.members[2].protocol;
    assert!(!member.can_install(&old) && !member.can_install(&[]));
    assert!(member.can_install(&new));
}

#[test]
fn an_image_restores_every_promise() {
    let mut cluster = Cluster::new(5, 1 << 16);
    for round in 0..60u64 {
        cluster.propose(round as usize % 5, round % 3);
        // Some messages are lost, so that instances stand in every phase.
        let mut place = 0;
        cluster.wire.retain(|_| {
            place += 1;
            (place + round) % 4 != 0
        });
        cluster.settle();
        if round % 20 == 0 {
            cluster.pass(2);
        }
    }
    for member in &cluster.members {
        let image = member.protocol.image();
        let mut effects = Fx::default();
        let again =
            EPaxos::restore(member.config.clone(), image.clone(), cluster.now, &mut effects);
        assert_eq!(effects.take_executions().count(), 0, "nothing executes twice");
        assert_eq!(again.image(), image);
        again.check_invariants();
        let of = |protocol: &EPaxos| -> Vec<_> {
            let known = protocol.instances().map(|(id, i)| {
                (
                    id,
                    i.ballot,
                    i.accepted_ballot,
                    i.phase,
                    i.nop,
                    i.deps.clone(),
                    i.init_deps.clone(),
                )
            });
            known.collect()
        };
        assert_eq!(of(&again), of(&member.protocol));
    }
}

#[test]
fn proposals_are_never_older_than_what_was_pledged() {
    let mut cluster = Cluster::new(3, 1 << 16);
    cluster.propose(0, 1);
    cluster.settle();
    cluster.pass(6);
    let after = cluster.members[1].protocol.proposed_after();
    assert!(after > WallTime(1_000_000), "idle lanes pledge too: {after:?}");
    // The clock of replica 2 falls back by a minute and its process restarts.
    let member = &mut cluster.members[2];
    let past = Now { wall: WallTime(1_000), ..cluster.now };
    let mut effects = Fx::default();
    let mut again =
        EPaxos::restore(member.config.clone(), member.journal.clone(), past, &mut effects);
    let command = Command::new(Footprint::write(b"x"), None, Bytes::new());
    again.step(past, Input::Propose { token: Token(9), command }, &mut effects);
    let id = InstanceId::new(ReplicaId(2), 1);
    let proposed_at = again.instance(id).unwrap().payload.as_ref().unwrap().proposed_at;
    assert!(proposed_at > after, "{proposed_at:?} is within what was pledged: {after:?}");
}

/// How far from the clock proposal times may be is a matter of one restart, however many there were:
/// sessions would take every request for too old.
#[test]
fn restart_after_restart_does_not_carry_proposal_times_away_from_the_clock() {
    let mut cluster = Cluster::new(3, 1 << 16);
    cluster.pass(2);
    for _ in 0..100 {
        let now = cluster.now;
        let member = &mut cluster.members[2];
        member.effects = Fx::default();
        let (config, journal) = (member.config.clone(), member.journal.clone());
        member.protocol = EPaxos::restore(config, journal, now, &mut member.effects);
        cluster.perform(2);
        cluster.pass(1);
    }
    cluster.propose(2, 1);
    let mut own = cluster.members[2].protocol.instances();
    let (_, instance) = own.find(|(id, _)| id.replica == ReplicaId(2)).unwrap();
    let ahead = instance.payload.as_ref().unwrap().proposed_at.0 - cluster.now.wall.0;
    assert!(ahead < 20_000_000, "{} s ahead of the clock", ahead / 1_000_000);
}

/// Replica 2 comes back and proposes with times ahead of its clock. What it pledges before must
/// not let others believe that they have what it proposes, and has answered, after.
#[test]
fn what_is_proposed_soon_after_a_restart_is_not_believed_to_be_executed_before() {
    let mut cluster = Cluster::new(3, 1 << 16);
    cluster.propose(2, 1);
    cluster.settle();
    cluster.pass(4);
    let now = cluster.now;
    let member = &mut cluster.members[2];
    member.effects = Fx::default();
    let (config, journal) = (member.config.clone(), member.journal.clone());
    member.protocol = EPaxos::restore(config, journal, now, &mut member.effects);
    cluster.perform(2);
    cluster.pass(4);
    let proposed_at = cluster.now.wall;
    cluster.propose(2, 2);
    // Replica 1 hears nothing of it, and of replica 2, and goes on hearing from replica 0.
    for _ in 0..20 {
        cluster.now.monotonic.0 += 150_000;
        cluster.now.wall.0 += 150_000;
        for at in 0..3 {
            cluster.step(at, Input::Wake);
        }
        while let Some((from, to, message)) = cluster.wire.pop_front() {
            if (from, to) == (0, 1) && !matches!(message, Message::Status(_)) {
                continue;
            }
            if from.min(to) == 0 || from == to {
                cluster.step(to, Input::Receive { from: ReplicaId(from as u8), message });
            }
        }
    }
    let id = InstanceId::new(ReplicaId(2), 2);
    assert!(
        cluster.members[2].executed.contains(&id) && !cluster.members[1].executed.contains(&id)
    );
    let after = cluster.members[1].protocol.proposed_after();
    assert!(after <= proposed_at, "{after:?}, and what was proposed at {proposed_at:?} is missing");
}
