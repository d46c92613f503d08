//! Schedules that somebody thought of, or that a seed found: each is a race that must end well.

mod net;

use net::geo::{INDIA3, cluster, ideal};
use net::{Action, MS, Us, World};
use panchayat_consensus::{
    Ballot, Command, Durable, EffectsOf, Footprint, Input, KeyHash, Mode, Now, Output, Protocol,
    ReplicaId, Span, Time, Token, WallTime,
};
use panchayat_fastpaxos::{Config, Entry, FastPaxos, FastQuorums, Message, Name, Round};

/// One coordinates, and has executed and forgotten what the others have voted for and not learned;
/// they are told that it is gone, and before anybody can take over a state, its only owner dies for
/// good. (Seed 1230 of the simulator at four replicas.)
#[test]
fn what_only_the_dead_had_executed_is_found_in_the_votes() {
    let mut world = cluster(INDIA3, ideal(INDIA3), 1, |config| {
        if config.replica == ReplicaId(0) {
            config.limits.retained_slots_max = 1;
        }
    });
    let cut = |world: &mut World, links: &[(usize, usize)]| {
        links.iter().for_each(|(from, to)| world.act(Action::Cut(*from, *to)));
    };
    let proposed: Vec<u64> = (0..4).filter_map(|_| world.propose(1)).collect();
    world.run_until(world.now + MS);
    // The proposals are on their way; votes reach Mumbai alone.
    cut(&mut world, &[(0, 1), (0, 2), (1, 2), (2, 1)]);
    world.run_until(world.now + 400 * MS);
    assert!(world.protocol(0).unwrap().collected_upto() > world.protocol(1).unwrap().chosen_upto());
    world.act(Action::HealAll);
    cut(&mut world, &[(1, 2), (2, 1)]);
    let asked = |world: &World, node: usize| world.protocol(node).unwrap().counters().fetches > 0;
    assert!(
        world.run_until_done(world.now + 2_000 * MS, |world| asked(world, 1) && asked(world, 2))
    );
    // The questions are on their way, and the answers will be; a state is not.
    cut(&mut world, &[(1, 0), (2, 0)]);
    world.run_until(world.now + 100 * MS);
    for node in [1, 2] {
        assert!(!world.protocol(node).unwrap().needs_state().is_empty(), "{node} was told");
        let known = world.protocol(node).unwrap().chosen_upto();
        assert!(known < world.protocol(0).unwrap().collected_upto(), "{node} lacks it");
    }
    world.crash(0);
    world.act(Action::HealAll);
    assert!(world.run_until_done(world.now + 10_000 * MS, World::is_settled), "they go on");
    let order = &world.nodes[1].process.as_ref().unwrap().state.order;
    let found = proposed.iter().filter(|p| order.iter().any(|(_, payload)| payload == *p));
    assert_eq!(found.count(), proposed.len());
}

/// Proposes at every replica in turn, `gap` apart; gives the slowest answer.
fn slowest(world: &mut World, commands: usize, gap: Us) -> Us {
    world.answered.clear();
    for number in 0..commands {
        world.propose(number % world.n());
        world.run_until(world.now + gap);
    }
    assert!(world.run_until_done(world.now + 10_000 * MS, World::is_settled), "all is answered");
    assert_eq!(world.answered.len(), commands);
    let took = world.answered.iter().map(|answered| answered.executed - answered.proposed);
    took.max().unwrap_or_default()
}

/// An acceptor dies when its votes are durable and some are told, comes back, and is given other
/// commands while those it voted for are undecided: what it votes for then are other slots.
#[test]
fn an_acceptor_that_comes_back_votes_in_no_slot_twice() {
    for wait in (0..40).step_by(2) {
        let mut world = cluster(INDIA3, ideal(INDIA3), 1, |_| {});
        let undecided: Vec<u64> = (0..3).filter_map(|_| world.propose(1)).collect();
        world.run_until(world.now + wait * MS);
        world.crash(2);
        world.propose(0);
        world.restart(2);
        for _ in 0..3 {
            world.propose(2);
            world.propose(0);
            world.run_until(world.now + 3 * MS);
        }
        assert!(world.run_until_done(world.now + 10_000 * MS, World::is_settled), "{wait} ms");
        let order = &world.nodes[2].process.as_ref().unwrap().state.order;
        let times = |payload: &u64| order.iter().filter(|(_, found)| found == payload).count();
        assert!(undecided.iter().all(|payload| times(payload) == 1), "{wait} ms: {order:?}");
    }
}

/// A coordinator is lost at any moment of a fast round, comes back at any moment of its successor's,
/// and both settle the same slots.
#[test]
fn coordinators_that_change_amid_fast_rounds_settle_the_same() {
    for lost in (1..60).step_by(3) {
        for back in [1, 400, 700, 1_000] {
            let mut world = cluster(INDIA3, ideal(INDIA3), 1, |_| {});
            for node in [1, 2, 0, 2, 1] {
                world.propose(node);
            }
            world.run_until(world.now + lost * MS);
            let coordinator = world.coordinator().expect("it runs");
            let asked = (0..3).filter(|node| *node != coordinator);
            let asked: Vec<u64> = asked.filter_map(|node| world.propose(node)).collect();
            world.crash(coordinator);
            world.run_until(world.now + back * MS);
            world.restart(coordinator);
            let done = world.run_until_done(world.now + 10_000 * MS, World::is_settled);
            assert!(done, "lost after {lost} ms, back after {back} ms");
            let orders = world.nodes.iter().map(|node| &node.process.as_ref().unwrap().state.order);
            let orders: Vec<_> = orders.collect();
            assert!(orders.windows(2).all(|two| two[0] == two[1]), "{lost} and {back} ms");
            let all = |payload: &u64| orders[0].iter().any(|(_, found)| found == payload);
            assert!(asked.iter().all(all), "lost after {lost} ms, back after {back} ms");
        }
    }
}

/// Clocks an hour ahead, an hour behind and right again: commands wait no longer than they may, are
/// in one order everywhere, and are as fast as before when the clocks are right.
#[test]
fn clocks_that_jump_cost_a_bounded_wait_and_no_more() {
    let mut world = cluster(INDIA3, ideal(INDIA3), 1, |_| {});
    let (usual, hour) = (slowest(&mut world, 30, 80 * MS), 3_600_000 * MS);
    assert!(usual <= 37 * MS, "{usual} us");
    for (node, wall) in [(1, hour), (1, 0), (0, hour), (2, hour / 2), (0, 0), (2, 0)] {
        world.act(Action::ClockJump(node, wall));
        // Two waits in a row, and a settled collision, at most.
        let worst = slowest(&mut world, 60, 11 * MS);
        assert!(worst <= 250 * MS, "{worst} us with the clock of {node} at {wall}");
    }
    // Collisions may have led to classic rounds, for as long as 16 times their usual time.
    world.run_until(world.now + 40_000 * MS);
    let after = slowest(&mut world, 30, 80 * MS);
    assert_eq!(after, usual, "the clocks are right again");
    let orders = world.nodes.iter().map(|node| &node.process.as_ref().unwrap().state.order);
    let orders: Vec<_> = orders.collect();
    assert!(orders.windows(2).all(|two| two[0] == two[1]));
}

/// One of five, whose disk takes no time.
struct Lone {
    replica: FastPaxos,
    effects: EffectsOf<FastPaxos>,
    now: Time,
}

impl Lone {
    fn new(seat: u8) -> Self {
        let quorums = FastQuorums::for_replicas(5).unwrap();
        let config = Config::new(ReplicaId(seat), quorums, Span::from_ms(40));
        let now = Now { monotonic: Time(1), wall: WallTime(1) };
        let mut effects = EffectsOf::<FastPaxos>::default();
        let replica = FastPaxos::restore(config, [], now, &mut effects);
        Self { replica, effects, now: now.monotonic }
    }

    /// What it says to `to` after `input`.
    fn step(&mut self, input: Input<Message>, to: u8) -> Vec<Message> {
        let now = Now { monotonic: self.now, wall: WallTime(self.now.0) };
        self.replica.step(now, input, &mut self.effects);
        let durable = Durable(self.effects.last_record());
        self.effects.take_records().for_each(drop);
        self.replica.step(now, Input::Durable(durable), &mut self.effects);
        self.replica.check_invariants();
        let outputs: Vec<_> = self.effects.take_outputs().collect();
        let said = outputs.into_iter().filter_map(|output| match output.open(durable) {
            Ok(Output::Send { to: all, message }) if all.contains(ReplicaId(to)) => Some(message),
            _ => None,
        });
        said.collect()
    }

    /// Makes it coordinate, with the promises of these, which report nothing.
    fn coordinate(&mut self, members: [u8; 2]) -> Ballot {
        let own = self.replica.replica();
        let far = (0..5).map(ReplicaId).filter(|peer| *peer != own && !members.contains(&peer.0));
        let said: Vec<_> = far.map(|peer| self.step(Input::PeerSuspected(peer), 1)).collect();
        let asked = said.into_iter().flatten().find_map(|message| match message {
            Message::PreVote { ballot, .. } => Some(ballot),
            _ => None,
        });
        let ballot = asked.expect("it stands");
        for member in members {
            self.hear(member, Message::PreVoteOk { ballot }, 1);
        }
        for member in members {
            let promise =
                Message::Reported { ballot, upto: 0, from: 1, reports: Vec::new(), next: 0 };
            self.hear(member, promise, 1);
        }
        assert!(self.replica.is_coordinator());
        ballot
    }

    fn hear(&mut self, from: u8, message: Message, to: u8) -> Vec<Message> {
        self.step(Input::Receive { from: ReplicaId(from), message }, to)
    }
}

/// Mumbai coordinates in classic rounds and gives slots to two commands; Delhi alone votes for them.
/// The other three, without either of them, follow another, which finds nothing and fills the second
/// slot. Mumbai hears nothing of that but their votes, `before` its proposals or after. What it says
/// then is chosen is not what it proposed, and Delhi must not take the one for the other.
fn deposed_unheard(before: bool) {
    let (mut mumbai, mut delhi) = (Lone::new(0), Lone::new(1));
    let ballot = mumbai.coordinate([1, 2]);
    let later = Round::classic(ballot.next_for(ReplicaId(2)));
    let hear_votes = |mumbai: &mut Lone, slot, name| {
        for member in [2, 3, 4] {
            let votes = Message::Votes { round: later, first: slot, names: vec![name] };
            mumbai.hear(member, votes, 1);
        }
    };
    if before {
        hear_votes(&mut mumbai, 2, Name::Nop);
    }
    for token in 1..=2 {
        let footprint = Footprint::new([(KeyHash(7), Mode::Write)]);
        let command = Command::new(footprint, None, vec![7].into());
        for message in mumbai.step(Input::Propose { token: Token(token), command }, 1) {
            delhi.hear(0, message, 0);
        }
    }
    let voted = |lone: &Lone, slot| lone.replica.vote(slot).map(|(_, entry)| entry.clone());
    let first = voted(&delhi, 1).expect("Delhi votes for the first");
    assert_eq!(voted(&delhi, 2).is_some(), !before);

    hear_votes(&mut mumbai, 1, first.name());
    if !before {
        hear_votes(&mut mumbai, 2, Name::Nop);
    }
    assert_eq!(mumbai.replica.chosen_entry(1), Some(&first));
    assert_eq!(mumbai.replica.chosen_entry(2), Some(&Entry::Nop));
    for _ in 0..100 {
        mumbai.now = mumbai.now + Span::from_ms(20);
        delhi.now = mumbai.now;
        for message in mumbai.step(Input::Wake, 1) {
            delhi.hear(0, message, 0);
        }
        assert!(matches!(delhi.replica.chosen_entry(2), None | Some(Entry::Nop)), "{before}");
    }
}

#[test]
fn one_deposed_unheard_does_not_vouch_for_what_others_chose() {
    deposed_unheard(false);
    deposed_unheard(true);
}

/// A state is on its way from a member that is silent for a moment. It is still of use when it
/// arrives; it is of none to a replica that has gone on by itself meanwhile, and may coordinate.
#[test]
fn a_state_is_wanted_while_its_source_is_suspected() {
    let (mut source, mut behind) = (Lone::new(0), Lone::new(2));
    let learn = |slots| Message::Learn { first: 1, entries: vec![Entry::Nop; slots] };
    source.hear(1, learn(5), 1);
    let handover = FastPaxos::handover(source.replica.image());
    assert!(!behind.replica.can_install(&handover), "nothing says that it is needed");
    behind.hear(0, Message::Gone { base: 3 }, 0);
    assert!(behind.replica.wants_state() && behind.replica.can_install(&handover));

    behind.step(Input::PeerSuspected(ReplicaId(0)), 0);
    assert!(behind.replica.needs_state().is_empty(), "there is nobody to ask");
    assert!(behind.replica.wants_state() && behind.replica.can_install(&handover));
    behind.step(Input::PeerUp(ReplicaId(0)), 0);
    assert!(behind.replica.needs_state().contains(ReplicaId(0)));

    behind.step(Input::PeerSuspected(ReplicaId(0)), 0);
    behind.hear(1, learn(1), 1);
    assert_eq!(behind.replica.chosen_upto(), 1);
    assert!(!behind.replica.wants_state() && !behind.replica.can_install(&handover));
}

/// Its process is heard, so the others would wait long for one that only fell silent.
#[test]
fn a_coordinator_that_needs_a_state_says_that_it_is_none() {
    let mut mumbai = Lone::new(0);
    let ballot = mumbai.coordinate([1, 2]);
    let said = mumbai.hear(3, Message::Gone { base: 4 }, 1);
    assert!(!mumbai.replica.is_coordinator());
    assert!(said.contains(&Message::Resign { ballot }), "{said:?}");
}
