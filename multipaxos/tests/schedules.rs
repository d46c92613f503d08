//! Schedules that somebody thought of: each is a race that must end well. Here one replica runs, and
//! the test says what the others say.

use std::sync::Arc;

use panchayat_consensus::{
    Ballot, Command, Durable, EffectsOf, Footprint, Input, KeyHash, Mode, Now, Output, Protocol,
    ReplicaId, Span, Time, WallTime,
};
use panchayat_multipaxos::{
    Config, Entry, FlexibleQuorums, Message, MultiPaxos, Progress, Record, Report, Submission,
};

/// The only command of `origin`.
fn command_of(origin: u8) -> Entry {
    let footprint = Footprint::new([(KeyHash(7), Mode::Write)]);
    let command = Arc::new(Command::new(footprint, None, vec![origin].into()));
    Entry::Command(Submission { origin: ReplicaId(origin), number: 2, floor: 0, command })
}

/// A replica whose disk takes no time.
struct Lone {
    replica: MultiPaxos,
    effects: EffectsOf<MultiPaxos>,
    now: Time,
}

impl Lone {
    fn config(seat: u8, n: usize) -> Config {
        let quorums = FlexibleQuorums::majorities(n).unwrap();
        Config::new(ReplicaId(seat), quorums, Span::from_ms(40))
    }

    fn new(seat: u8, n: usize) -> Self {
        Self::restored(Self::config(seat, n), [])
    }

    fn restored(config: Config, records: impl IntoIterator<Item = Record>) -> Self {
        let now = Now { monotonic: Time(1), wall: WallTime(1) };
        let mut effects = EffectsOf::<MultiPaxos>::default();
        let replica = MultiPaxos::restore(config, records, now, &mut effects);
        Self { replica, effects, now: now.monotonic }
    }

    fn clock(&self) -> Now {
        Now { monotonic: self.now, wall: WallTime(self.now.0) }
    }

    /// What it says to `to` after `input`.
    fn step(&mut self, input: Input<Message>, to: u8) -> Vec<Message> {
        let now = self.clock();
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

    fn hear(&mut self, from: u8, message: Message, to: u8) -> Vec<Message> {
        self.step(Input::Receive { from: ReplicaId(from), message }, to)
    }

    /// Lets time pass, as much as nobody takes for absence at once. What it says to `to`.
    fn wait(&mut self, span: Span, to: u8) -> Vec<Message> {
        let until = self.now + span;
        let mut said = Vec::new();
        while self.now < until {
            self.now = self.now + Span::from_ms(5);
            said.extend(self.step(Input::Wake, to));
        }
        said
    }

    /// Makes it prepare a ballot, with the help of these.
    fn prepare(&mut self, members: &[u8]) -> Ballot {
        let asked = self.step(Input::Wake, members[0]);
        let asked = asked.into_iter().find_map(|message| match message {
            Message::PreVote { ballot, .. } => Some(ballot),
            _ => None,
        });
        let ballot = asked.expect("it stands");
        for member in members {
            self.hear(*member, Message::PreVoteOk { ballot }, *member);
        }
        assert_eq!(self.replica.promised(), ballot);
        ballot
    }

    /// Makes it lead, with the promise of `member`, which reports that.
    fn lead(&mut self, member: u8, reports: Vec<Report>) -> Vec<Message> {
        let ballot = self.prepare(&[member]);
        let from = self.replica.chosen_upto() + 1;
        let said = self.hear(member, Message::Promise { ballot, from, reports, next: 0 }, member);
        assert!(self.replica.is_leader());
        said
    }

    fn hand_over(&mut self, to: u8) -> bool {
        let now = self.clock();
        self.replica.hand_over(ReplicaId(to), now, &mut self.effects)
    }

    fn learn(&mut self, from: u8, slots: usize) {
        self.hear(from, Message::Learn { first: 1, entries: vec![Entry::Nop; slots] }, from);
    }
}

/// A state is on its way from a member that is silent for a moment. It is still of use when it
/// arrives; it is of none to a replica that has gone on by itself meanwhile, and may lead.
#[test]
fn a_state_is_wanted_while_its_source_is_suspected() {
    let (mut source, mut behind) = (Lone::new(0, 3), Lone::new(2, 3));
    source.learn(1, 5);
    let handover = MultiPaxos::handover(source.replica.image());
    assert!(!behind.replica.can_install(&handover), "nothing says that it is needed");
    behind.hear(0, Message::Gone { base: 3 }, 0);
    assert!(behind.replica.wants_state() && behind.replica.can_install(&handover));

    behind.step(Input::PeerSuspected(ReplicaId(0)), 0);
    assert!(behind.replica.needs_state().is_empty(), "there is nobody to ask");
    assert!(behind.replica.wants_state() && behind.replica.can_install(&handover));
    behind.step(Input::PeerUp(ReplicaId(0)), 0);
    assert!(behind.replica.needs_state().contains(ReplicaId(0)));

    behind.step(Input::PeerSuspected(ReplicaId(0)), 0);
    behind.learn(1, 1);
    assert_eq!(behind.replica.chosen_upto(), 1);
    assert!(!behind.replica.wants_state() && !behind.replica.can_install(&handover));
}

#[test]
fn leadership_goes_to_no_seat_that_does_not_exist() {
    let mut leader = Lone::new(0, 3);
    leader.lead(1, Vec::new());
    for seat in [3, 15, 16, 17, 33, 255, 0] {
        assert!(!leader.hand_over(seat), "to seat {seat}");
    }
    leader.step(Input::Wake, 1);
    assert!(leader.replica.is_leader());
    assert!(leader.hand_over(1));
}

/// Five replicas. The first leader's proposal in slot 2 reaches this one alone, and slot 1 nobody.
/// Its successor's reaches the others, in slot 2 again, and is chosen. This one stands, hears of that
/// in a promise before anything of slot 1, and takes a snapshot. When it starts from that, it has not
/// voted at the first ballot for what the second leader proposed.
#[test]
fn a_vote_overruled_beyond_a_gap_is_not_turned_into_another_by_a_snapshot() {
    let mut lone = Lone::new(3, 5);
    let first = Ballot::INITIAL.next_for(ReplicaId(0));
    let second = first.next_for(ReplicaId(1));
    let accept =
        Message::Accept { ballot: first, first: 2, entries: vec![command_of(0)], chosen: 0 };
    lone.hear(0, accept, 0);
    assert_eq!(lone.replica.vote(2), Some((first, &command_of(0))));
    let refused = Message::Refused { ballot: first, promised: second };
    lone.hear(4, refused, 4);
    let now = lone.clock();
    lone.replica.stand(now, &mut lone.effects);
    lone.step(Input::Wake, 4);
    let ballot = lone.replica.promised();
    assert!(ballot > first);
    let report = Report { slot: 2, ballot: second, chosen: true, entry: command_of(1) };
    lone.hear(4, Message::Promise { ballot, from: 1, reports: vec![report], next: 3 }, 4);
    assert_eq!(lone.replica.chosen_entry(2), Some(&command_of(1)));

    let image = lone.replica.image();
    assert!(!image.iter().any(|record| matches!(record, Record::Accepted { .. })), "{image:?}");
    let mut again = Lone::restored(Lone::config(3, 5), image);
    assert_eq!((again.replica.promised(), again.replica.vote(2)), (ballot, None));
    assert_eq!(again.replica.chosen_entry(2), Some(&command_of(1)));
    // And whoever comes with the old value gets no vote for it.
    let third = ballot.next_for(ReplicaId(0));
    let stale =
        Message::Accept { ballot: third, first: 2, entries: vec![command_of(0)], chosen: 0 };
    again.hear(0, stale, 0);
    assert_eq!((again.replica.promised(), again.replica.vote(2)), (third, None));
    let right =
        Message::Accept { ballot: third, first: 2, entries: vec![command_of(1)], chosen: 0 };
    again.hear(0, right, 0);
    assert_eq!(again.replica.vote(2), Some((third, &command_of(1))));
}

/// One has executed and collected what this one leads, with the promise of a third that died before it
/// voted. The first is back: it votes in none of these slots. It is left to it to lead, and not only when
/// its state has arrived here. Who has only not been heard of for a while is given its time.
#[test]
fn a_leader_that_nobody_can_vote_for_leaves_to_whoever_has_the_state() {
    for back in [false, true] {
        let mut leader = Lone::new(0, 3);
        let patience = Lone::config(0, 3).timing.patience;
        let ballot = Ballot::INITIAL.next_for(ReplicaId(2));
        let vote = |slot| Report { slot, ballot, chosen: false, entry: command_of(slot as u8) };
        leader.lead(1, vec![vote(1), vote(2)]);
        leader.hear(2, Message::Gone { base: 2 }, 2);
        assert!(leader.replica.is_leader(), "votes may be on their way");
        if !back {
            leader.step(Input::PeerSuspected(ReplicaId(2)), 2);
        }
        let said = leader.wait(patience.times(2), 2);
        let resigned = said.iter().any(|message| matches!(message, Message::Resign { .. }));
        assert_eq!((leader.replica.is_leader(), resigned), (!back, back));
    }
}

/// Nothing would be proposed for an election timeout, for nothing.
#[test]
fn leadership_goes_to_nobody_who_is_dead_or_far_behind() {
    let mut leader = Lone::new(0, 3);
    leader.lead(1, Vec::new());
    leader.step(Input::PeerSuspected(ReplicaId(1)), 1);
    assert!(!leader.hand_over(1), "it is suspected");
    leader.step(Input::PeerUp(ReplicaId(1)), 1);
    assert!(leader.hand_over(1));

    let mut ahead = Lone::new(0, 3);
    let known = |slot| Report { slot, ballot: Ballot::INITIAL, chosen: true, entry: Entry::Nop };
    ahead.lead(2, (1..=2_000).map(known).collect());
    assert_eq!(ahead.replica.chosen_upto(), 2_000);
    assert!(!ahead.hand_over(1), "it has executed nothing");
    let progress = Progress { chosen: 1_500, kept: 0, highest: 1_500 };
    ahead.hear(1, Message::Status(progress), 1);
    assert!(ahead.hand_over(1));
}

/// Members with other windows: what one of them knows to be chosen is further ahead than this one's log
/// may reach. It proposes that all the same, and neither nothing nor what others voted for before.
#[test]
fn what_is_chosen_beyond_the_window_is_proposed_by_the_next_leader() {
    for chosen_first in [false, true] {
        let mut config = Lone::config(0, 5);
        config.limits.window_slots_max = 4;
        let mut leader = Lone::restored(config, []);
        let first = Ballot::INITIAL.next_for(ReplicaId(1));
        let chosen = |slot| {
            let ballot = Ballot::INITIAL;
            Report { slot, ballot, chosen: true, entry: command_of(1) }
        };
        let vote = Report { slot: 9, ballot: first, chosen: false, entry: command_of(2) };
        let mut reports = [vec![vote], vec![chosen(9), chosen(10)]];
        if chosen_first {
            reports.reverse();
        }
        let [early, late] = reports;
        let ballot = leader.prepare(&[1, 2]);
        leader.hear(1, Message::Promise { ballot, from: 1, reports: early, next: 0 }, 1);
        let promise = Message::Promise { ballot, from: 1, reports: late, next: 0 };
        let said = leader.hear(2, promise, 2);
        assert!(leader.replica.is_leader());
        let proposed = said.into_iter().filter_map(|message| match message {
            Message::Accept { first, entries, .. } => Some((first..).zip(entries)),
            _ => None,
        });
        let proposed: Vec<_> = proposed.flatten().filter(|(slot, _)| *slot > 8).collect();
        assert_eq!(proposed, [(9, command_of(1)), (10, command_of(1))]);
    }
}
