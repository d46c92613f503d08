//! When a group moves: not before it has stayed, not on a whim, and only one of its members says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use panchayat_consensus::{Durable, Effects, Footprint, Input, NodeId, Output, Protocol, Quorums};

use super::*;
use crate::config::{Config, Openings, Timing};
use crate::epoch::Member;
use crate::order::OrderConfig;

const EVERY: Span = Span::from_ms(1_000);
const STAY: Span = Span::from_ms(10_000);

/// Advises what it is told to: 0 for nothing, or the number of a protocol.
#[derive(Debug, Default)]
struct Told(AtomicU8);

impl Openings for Told {
    fn open(&self, epoch: &Epoch, seat: ReplicaId) -> OrderConfig {
        let quorums = Quorums::for_replicas(epoch.members.len()).unwrap();
        OrderConfig::EPaxos(panchayat_epaxos::Config::new(seat, quorums, Span::from_ms(40)))
    }

    fn watch(&self, _epoch: &Epoch) -> Option<Watch> {
        Some(Watch { every: EVERY, confirm: 3, stay: STAY })
    }

    fn advise(&self, _epoch: &Epoch, seen: &[Seen]) -> Option<Advice> {
        assert_eq!(seen.len(), 3);
        let order = match self.0.load(Ordering::Relaxed) {
            0 => return None,
            1 => Order::MultiPaxos,
            _ => Order::FastPaxos,
        };
        Some(Advice { order, parameters: Bytes::new(), reason: format!("{seen:?}") })
    }
}

/// One member of three; the others' reports come as they should.
struct Alone {
    replica: Epochs,
    told: Arc<Told>,
    fx: Fx,
    second: u64,
    /// Whose reports come.
    heard: Vec<u8>,
}

impl Alone {
    fn at(place: u8) -> Self {
        let member = |place: u8| Member {
            place: ReplicaId(place),
            node: NodeId(u64::from(place) + 1),
            contact: Bytes::new(),
        };
        let founding =
            Epoch::founding(Order::EPaxos, Bytes::new(), [0, 1, 2].map(member).to_vec()).unwrap();
        let told = Arc::new(Told::default());
        let config = Config {
            place: ReplicaId(place),
            node: NodeId(u64::from(place) + 1),
            founding: Some(founding),
            openings: told.clone(),
            timing: Timing::for_rtt(Span::from_ms(40)),
            #[cfg(feature = "mutations")]
            mutation: None,
        };
        let mut fx = Effects::default();
        let replica = Epochs::restore(config, [], now(0), &mut fx);
        let heard = (0..3).filter(|other| *other != place).collect();
        let mut alone = Self { replica, told, fx, second: 0, heard };
        for other in alone.heard.clone() {
            let reached = Message::Reached { epoch: EpochNumber(1) };
            alone.step(Input::Receive { from: ReplicaId(other), message: reached });
        }
        alone
    }

    fn step(&mut self, input: Input<Message>) {
        self.replica.step(now(self.second), input, &mut self.fx);
    }

    /// Lets seconds pass under some advice; how many reports left, and when a move was proposed.
    fn pass(&mut self, seconds: u64, advice: u8) -> (usize, Option<u64>) {
        self.told.0.store(advice, Ordering::Relaxed);
        let (mut reports, mut moved) = (0, None);
        for _ in 0..seconds {
            self.second += 1;
            for from in self.heard.clone().into_iter().map(ReplicaId) {
                let report = Report { span_us: EVERY.0, proposals: 7, ..Report::default() };
                let message = Message::Report { epoch: EpochNumber(1), report };
                self.step(Input::Receive { from, message });
            }
            self.step(Input::Wake);
            let all = Durable(self.fx.last_record());
            let outputs = self.fx.take_outputs().map(|gated| gated.open(all).unwrap());
            let outputs: Vec<_> = outputs.collect();
            let is_report =
                |o: &&Output<_>| matches!(o, Output::Send { message: Message::Report { .. }, .. });
            reports += outputs.iter().filter(is_report).count();
            if self.replica.last_decision().is_some() {
                moved.get_or_insert(self.second);
            }
        }
        (reports, moved)
    }
}

fn now(second: u64) -> Now {
    let us = second * 1_000_000;
    Now { monotonic: Time(us), wall: WallTime(us) }
}

#[test]
fn it_stays_for_a_while_and_then_moves_when_advice_was_the_same_three_times() {
    let mut alone = Alone::at(0);
    assert_eq!(alone.pass(9, 1), (9, None), "it reports, and stays");
    assert_eq!(alone.pass(5, 1), (5, Some(10)));
    let mut alone = Alone::at(0);
    assert_eq!(alone.pass(20, 0), (20, None), "nothing is better");
    for other in [1, 2, 1, 1, 2, 2, 0, 1, 1] {
        assert_eq!(alone.pass(1, other).1, None, "it is not of one mind");
    }
    assert_eq!(alone.pass(1, 1).1, Some(30));
    let decision = alone.replica.last_decision().unwrap();
    assert_eq!(decision.epoch, EpochNumber(2));
    assert_eq!(Epoch::of_seal(&decision.seal).unwrap().order, Order::MultiPaxos);
}

#[test]
fn only_the_first_that_is_heard_moves_the_group() {
    let mut second = Alone::at(1);
    assert_eq!(second.pass(30, 1), (30, None), "the first one's to say");
    second.step(Input::PeerSuspected(ReplicaId(0)));
    second.heard = vec![2];
    assert!(second.pass(10, 1).1.is_some(), "it is not heard");
    let reason = &second.replica.last_decision().unwrap().reason;
    assert!(reason.contains("alive: false") && reason.contains("proposals: 21"), "{reason}");
}

#[test]
fn who_does_not_report_is_waited_for_until_it_is_suspected() {
    let mut first = Alone::at(0);
    first.heard = vec![1];
    assert_eq!(first.pass(30, 1).1, None);
    first.step(Input::PeerSuspected(ReplicaId(2)));
    assert!(first.pass(10, 1).1.is_some());
    let mut first = Alone::at(0);
    for other in [1, 2] {
        first.step(Input::PeerSuspected(ReplicaId(other)));
    }
    assert_eq!(first.pass(30, 1).1, None, "nobody would be left to decide it");
}

#[test]
fn reports_of_others_and_of_other_epochs_do_not_count() {
    let mut first = Alone::at(0);
    let before = first.replica.adaptive.clone().unwrap().heard.len();
    for (from, epoch) in [(7, 1), (1, 9)] {
        let message = Message::Report { epoch: EpochNumber(epoch), report: Report::default() };
        first.step(Input::Receive { from: ReplicaId(from), message });
    }
    assert_eq!(first.replica.adaptive.unwrap().heard.len(), before);
}

/// Tells a member that the group went on without it.
fn dismiss(alone: &mut Alone, place: u8) {
    let current = alone.replica.epoch().unwrap().clone();
    let mut members = current.members.clone();
    members.retain(|member| member.place != ReplicaId(place));
    members.push(Member { place: ReplicaId(3), node: NodeId(4), contact: Bytes::new() });
    let next = current.next(Order::EPaxos, Bytes::new(), members);
    let reached = next.places().without(ReplicaId(3));
    let opening = Box::new(crate::epoch::Opening { epoch: next, floor: WallTime(5) });
    alone.second += 10;
    let from = ReplicaId((place + 1) % 3);
    alone.step(Input::Receive { from, message: Message::Current { opening, reached } });
    assert!(matches!(alone.replica.standing(), crate::Standing::Removed(_)));
}

#[test]
fn who_was_dismissed_watches_no_more() {
    let mut last = Alone::at(2);
    last.pass(3, 0);
    dismiss(&mut last, 2);
    let _ = last.fx.take_wake();
    for _ in 0..5 {
        last.step(Input::Wake);
        let (wake, now) = (last.fx.take_wake(), now(last.second).monotonic);
        assert!(wake.is_none_or(|wake| wake > now), "{wake:?} at {now:?}");
    }
}

#[test]
fn nobody_is_told_of_a_seal_that_nobody_asked_for() {
    let mut first = Alone::at(0);
    first.pass(12, 1);
    assert!(first.replica.last_decision().is_some());
    dismiss(&mut first, 0);
    let all = Durable(first.fx.last_record());
    let outputs = first.fx.take_outputs().map(|gated| gated.open(all).unwrap());
    let told =
        |output: &Output<Message>| matches!(output, Output::Unknown { token } if is_own(*token));
    assert!(!outputs.collect::<Vec<_>>().iter().any(told));
}

#[test]
fn nothing_is_proposed_while_a_state_is_taken_over() {
    let mut first = Alone::at(0);
    first.pass(9, 1);
    first.fx.take_records().for_each(drop);
    let handover = Epochs::handover(first.replica.image());
    first.second += 1;
    first.replica.install(now(first.second), handover, &mut first.fx);
    assert_eq!(first.fx.take_records().count(), 0);
    assert_eq!(first.replica.last_decision(), None);
}

#[test]
fn a_group_with_too_much_to_do_is_not_kept_where_it_is() {
    let mut first = Alone::at(0);
    let overloaded = |first: &Alone| {
        let counters = first.replica.counters();
        counters.iter().find(|(name, _)| *name == "overloaded").map(|(_, count)| *count)
    };
    let propose = |first: &mut Alone, number: u64, key: &[u8]| {
        let command = Command::new(Footprint::write(key), None, Bytes::from_static(b"anything"));
        first.step(Input::Propose { token: Token(number), command });
    };
    // As many as may touch one key without being executed; the others' votes do not come.
    for number in 0..=32_768 {
        propose(&mut first, number, b"hot");
    }
    assert_eq!(overloaded(&first), Some(1), "clients are refused");
    propose(&mut first, 40_000, b"another");
    assert!(first.pass(20, 1).1.is_some());
    assert_eq!(overloaded(&first), Some(1), "the seal is under way");
}

#[test]
fn a_group_whose_least_stay_is_short_rests_between_moves_all_the_same() {
    let stay = |ms| Watch { every: EVERY, confirm: 3, stay: Span::from_ms(ms) }.shortest();
    assert_eq!(stay(1_000), Span::from_ms(6_000), "three reports, and three times the same");
    assert_eq!(stay(30_000), Span::from_ms(30_000));
}

#[test]
fn what_is_asked_counts_and_not_what_it_takes_to_answer() {
    let mut first = Alone::at(0);
    let footprint = Footprint::read(b"k");
    first.replica.note_read(&footprint);
    let assurance = panchayat_consensus::Assurance::Quorum;
    // For an answer that may be old.
    first.step(Input::Read { token: Token(1), assurance, footprint });
    assert_eq!(first.pass(1, 0).0, 1);
    let reports = &first.replica.adaptive.as_ref().unwrap().heard[&ReplicaId(0)].last;
    assert_eq!(reports.back().map(|report| report.reads), Some(1));
}
