//! What may follow an epoch, and what an adaptive group makes of it.

use std::sync::Arc;

use panchayat_consensus::wire::{from_bytes, to_bytes};
use panchayat_consensus::{ClusterId, Effects, EpochNumber, Input, Now, Protocol, Span};
use panchayat_epochs::{Config, Message, Openings, Report, Seen, Timing};
use panchayat_topology::Topology;

use super::*;
use crate::protocol::{AdaptiveChoice, Hosting, Leader, MultiPaxosChoice};

const ID: ClusterId = ClusterId(1);

fn addr(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn india() -> Cluster {
    let matrix = Topology::builtin().matrix("india3").unwrap();
    Cluster::of_sites(ID, &matrix, &[addr(1), addr(2), addr(3)])
}

fn led_from(city: &str) -> ProtocolChoice {
    let leader = Leader::At(city.to_owned());
    ProtocolChoice::MultiPaxos(MultiPaxosChoice { leader, ..Default::default() })
}

fn group(protocol: &ProtocolChoice) -> Epochs {
    group_of_whom(protocol, 3)
}

/// One in which only the first so many have said that they have come to its epoch.
fn group_of_whom(protocol: &ProtocolChoice, reached: u8) -> Epochs {
    let config = Config {
        place: ReplicaId(0),
        node: NodeId(1),
        founding: Some(founding(&india(), protocol).unwrap()),
        openings: Arc::new(Hosting { began: india(), limits: Limits::default() }),
        timing: Timing::for_rtt(Span::from_ms(40)),
    };
    let (now, mut effects) = (Now::default(), Effects::default());
    let mut group = Epochs::restore(config, [], now, &mut effects);
    for place in 1..reached {
        let message = Message::Reached { epoch: EpochNumber(1) };
        group.step(now, Input::Receive { from: ReplicaId(place), message }, &mut effects);
    }
    group
}

fn chennai() -> Newcomer {
    let far = |ms| Duration::from_millis(ms);
    let chennai = Newcomer::new("chennai", NodeId(4), addr(4));
    chennai.round_trip(NodeId(1), far(25)).round_trip(NodeId(2), far(43))
}

fn next(group: &Epochs, change: &Change) -> Result<Option<Epoch>, ChangeError> {
    next_epoch(group, &india(), change, ReplicaSet::all(3), &Limits::default())
}

#[test]
fn the_members_of_an_epoch_are_who_was_asked_for_and_as_far_as_was_told() {
    let group = group(&ProtocolChoice::EPaxos);
    let change = Change::new().add_member(chennai()).remove_member(NodeId(2));
    assert_eq!(from_bytes::<Change>(to_bytes(&change)), Ok(change.clone()));
    let epoch = next(&group, &change).unwrap().unwrap();
    let cluster = roster(&india(), &epoch);
    let names: Vec<_> = cluster.members.iter().map(|member| &*member.name).collect();
    assert_eq!(names, ["mumbai", "bangalore", "chennai"]);
    assert_eq!(cluster.members[2].addr, addr(4));
    let ms = |from: usize, to: usize| cluster.round_trips[from][to].as_millis();
    assert_eq!((ms(0, 1), ms(0, 2), ms(2, 0)), (24, 25, 25));
    assert_eq!(ms(1, 2), 25, "nobody told: the longest between those who are left");
}

#[test]
fn what_is_there_already_changes_nothing() {
    let group = group(&led_from("delhi"));
    let mumbai = Newcomer::new("mumbai", NodeId(1), addr(1));
    let same =
        Change::new().add_member(mumbai).remove_member(NodeId(9)).protocol(led_from("delhi"));
    assert_eq!(next(&group, &same), Ok(None));
    let moved = Change::new().add_member(Newcomer::new("mumbai", NodeId(1), addr(7)));
    let epoch = next(&group, &moved).unwrap().unwrap();
    assert_eq!(roster(&india(), &epoch).members[0].addr, addr(7));
    let switched = next(&group, &Change::new().protocol(ProtocolChoice::EPaxos));
    assert_eq!(choice_of(&switched.unwrap().unwrap()), ProtocolChoice::EPaxos);
}

#[test]
fn what_cannot_follow_is_refused_with_what_to_do_instead() {
    let group = group(&led_from("delhi"));
    let refused = |change: Change| next(&group, &change).unwrap_err().to_string();
    let text = refused(Change::new().remove_member(NodeId(2)));
    assert!(text.contains("3 to 16"), "{text}");
    let text = refused(Change::new().add_member(chennai()).remove_member(NodeId(2)));
    assert!(text.contains("delhi, which should lead") && text.contains("same change"), "{text}");
    let text = refused(Change::new().add_member(Newcomer::new("delhi", NodeId(4), addr(4))));
    assert!(text.contains("another member has it"), "{text}");
    let text = refused(Change::new().add_member(Newcomer::new("pune", NodeId(17), addr(4))));
    assert!(text.contains("take node-4"), "{text}");
    let everybody =
        Change::new().add_member(chennai()).remove_member(NodeId(1)).remove_member(NodeId(2));
    assert!(refused(everybody).contains("3 to 16"));
    let text = refused(Change::new().protocol(led_from("paris")));
    assert!(text.contains("paris"), "{text}");
}

#[test]
fn the_leader_of_an_adaptive_group_can_be_replaced() {
    let adaptive = |now| ProtocolChoice::Adaptive(AdaptiveChoice::beginning_with(now));
    let group = group(&adaptive(led_from("delhi")));
    let replaced = Change::new().add_member(chennai()).remove_member(NodeId(2));
    for change in [replaced.clone(), replaced.protocol(ProtocolChoice::adaptive())] {
        let next = next(&group, &change).unwrap().expect("there is something to change");
        assert_eq!(choice_of(&next), adaptive(ProtocolChoice::EPaxos));
    }
}

fn quorums(quorums: (usize, usize)) -> ProtocolChoice {
    let quorums = Some(quorums);
    ProtocolChoice::MultiPaxos(MultiPaxosChoice { quorums, ..Default::default() })
}

fn adaptive(now: ProtocolChoice) -> AdaptiveChoice {
    AdaptiveChoice::beginning_with(now)
}

/// A group that runs Multi-Paxos like this when it comes to it, and EPaxos now.
fn led_later(led: ProtocolChoice) -> ProtocolChoice {
    ProtocolChoice::Adaptive(adaptive(led).anew())
}

fn kolkata() -> Newcomer {
    let far = Duration::from_millis(40);
    Newcomer::new("kolkata", NodeId(5), addr(5)).round_trip(NodeId(1), far)
}

/// Where `epoch` goes of its own accord when everybody conflicts with everybody; every member must be able to
/// go there.
fn own_move(epoch: &Epoch, dead: Option<usize>) -> Option<ProtocolChoice> {
    let (proposals, pairs) = (300, 2_400);
    let report = Report {
        span_us: 3_000_000,
        proposals,
        pairs,
        conflicts: pairs,
        decided: 300,
        ..Report::default()
    };
    let seats = 0..epoch.members.len();
    let seen = seats.clone().map(|seat| match Some(seat) == dead {
        true => Seen::default(),
        false => Seen { alive: true, report },
    });
    let hosting = Hosting { began: india(), limits: Limits::default() };
    let advice = hosting.advise(epoch, &seen.collect::<Vec<_>>())?;
    let next = epoch.next(advice.order, advice.parameters, epoch.members.clone());
    assert_eq!(epoch.may_be_followed_by(&next), Ok(()));
    for seat in seats {
        hosting.open(&next, ReplicaId(seat as u8));
    }
    Some(choice_of(&next).now().clone())
}

#[test]
fn how_multi_paxos_would_be_run_is_tried_before_it_is_its_turn() {
    let group = group(&ProtocolChoice::EPaxos);
    let asked = ProtocolChoice::Adaptive(adaptive(quorums((1, 1))));
    let refused = next(&group, &Change::new().protocol(asked)).unwrap_err().to_string();
    assert!(refused.contains("q1 + q2 > n") || refused.contains("need not meet"), "{refused}");
    let asked = ProtocolChoice::Adaptive(adaptive(quorums((2, 2))));
    let epoch = next(&group, &Change::new().protocol(asked)).unwrap().unwrap();
    assert_eq!(own_move(&epoch, None).unwrap().name(), "multipaxos");
    let never_tried = founding(&india(), &led_later(quorums((1, 1)))).unwrap();
    assert_eq!(own_move(&never_tried, None), None);
}

#[test]
fn quorums_or_a_lease_that_do_not_fit_the_next_members_are_refused_until_others_are_said() {
    let grown = || Change::new().add_member(chennai()).add_member(kolkata());
    let group_of = |led| group(&led_later(led));
    let group = group_of(quorums((2, 2)));
    let refused = next(&group, &grown()).unwrap_err().to_string();
    assert!(refused.contains("same change"), "{refused}");
    let said = grown().protocol(ProtocolChoice::Adaptive(adaptive(quorums((3, 3)))));
    let epoch = next(&group, &said).unwrap().unwrap();
    assert_eq!(own_move(&epoch, None).unwrap().name(), "multipaxos");

    let lease = panchayat_multipaxos::Lease { span: Span::from_ms(500), clock_error_ppm: 100 };
    let leased = MultiPaxosChoice { lease: Some(lease), ..Default::default() };
    let group = group_of(ProtocolChoice::MultiPaxos(leased));
    let tokyo = (1..=3).fold(Newcomer::new("tokyo", NodeId(4), addr(4)), |tokyo, node| {
        tokyo.round_trip(NodeId(node), Duration::from_millis(400))
    });
    let refused = next(&group, &Change::new().add_member(tokyo)).unwrap_err().to_string();
    assert!(refused.contains("lease"), "{refused}");
}

#[test]
fn nobody_moves_to_quorums_that_need_the_dead() {
    for (promise, accept) in [(1, 3), (3, 1)] {
        let epoch = founding(&india(), &led_later(quorums((promise, accept)))).unwrap();
        let moved = own_move(&epoch, Some(2));
        assert!(moved.is_none_or(|to| to.name() != "multipaxos"), "{promise} and {accept}");
        let group = group(&ProtocolChoice::EPaxos);
        let two = ReplicaSet::all(2);
        let change = Change::new().protocol(quorums((promise, accept)));
        let refused = next_epoch(&group, &india(), &change, two, &Limits::default());
        assert!(
            matches!(refused, Err(ChangeError::TooFewAlive { alive: 2, needed: 3, .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn an_adaptive_group_begins_anew_where_too_few_are_alive_for_its_leader() {
    let group = group(&ProtocolChoice::Adaptive(adaptive(quorums((3, 1)))));
    let change = Change::new().add_member(chennai()).remove_member(NodeId(3));
    let two = ReplicaSet::all(2);
    let next = next_epoch(&group, &india(), &change, two, &Limits::default()).unwrap().unwrap();
    assert_eq!(choice_of(&next), led_later(quorums((3, 1))));
    let patient =
        Change::new().protocol(ProtocolChoice::Adaptive(AdaptiveChoice::default().gain_percent(7)));
    let news = group_of_whom(&ProtocolChoice::Adaptive(adaptive(quorums((3, 1)))), 2);
    let refused = self::next(&news, &patient);
    assert!(matches!(refused, Err(ChangeError::TooFewAlive { .. })), "it will say so: {refused:?}");
    let nothing = Change::new().protocol(ProtocolChoice::adaptive());
    let stays = next_epoch(&group, &india(), &nothing, two, &Limits::default());
    assert_eq!(stays, Ok(None), "nobody asked for anything");
    // One that is not to choose by itself is not given another protocol.
    let plain = self::group(&quorums((3, 1)));
    let refused = next_epoch(&plain, &india(), &change, two, &Limits::default()).unwrap_err();
    assert!(refused.to_string().contains("protocol or quorums that fewer can run"), "{refused}");
}

#[test]
fn an_adaptive_group_can_be_told_how_to_run_multi_paxos() {
    for begun in [ProtocolChoice::EPaxos, led_from("delhi")] {
        let group = group(&ProtocolChoice::Adaptive(adaptive(begun.clone())));
        let asked = Change::new().protocol(ProtocolChoice::Adaptive(adaptive(quorums((3, 1)))));
        let next_epoch = next(&group, &asked).unwrap().expect("there is something to change");
        let ProtocolChoice::Adaptive(told) = choice_of(&next_epoch) else { panic!("adaptive") };
        assert_eq!(told.now().name(), begun.name(), "it stays where it is");
        assert_eq!(told.led(), quorums((3, 1)));
        if let ProtocolChoice::MultiPaxos(now) = told.now() {
            assert_eq!(now.quorums, Some((3, 1)));
            assert_eq!(now.leader, Leader::At("delhi".to_owned()));
        }
        let hosting = Hosting { began: india(), limits: Limits::default() };
        hosting.open(&next_epoch, ReplicaId(0));
    }
}

#[test]
fn quorums_can_be_chosen_anew_along_with_members() {
    let group = group(&ProtocolChoice::Adaptive(adaptive(quorums((2, 2)))));
    let change = Change::new().add_member(chennai());
    assert!(next(&group, &change).is_err());
    let change = change.protocol(ProtocolChoice::Adaptive(adaptive(quorums((3, 2)))));
    let next = choice_of(&next(&group, &change).unwrap().unwrap());
    assert_eq!(next.now(), &quorums((3, 2)));
}

#[test]
fn what_an_adaptive_group_is_asked_twice_changes_nothing() {
    let asked = AdaptiveChoice::default().stay(Duration::from_nanos(1_500_000_001));
    let asked = ProtocolChoice::Adaptive(asked);
    assert_eq!(next(&group(&asked), &Change::new().protocol(asked)), Ok(None));
    let asked = ProtocolChoice::Adaptive(adaptive(quorums((3, 1))));
    let begun = led_later(quorums((3, 1)));
    assert_eq!(next(&group(&begun), &Change::new().protocol(asked)), Ok(None));
}

#[test]
fn who_takes_the_place_of_one_that_was_removed_has_no_state_by_its_word() {
    let mut group = group(&ProtocolChoice::EPaxos);
    // It has executed the seal that removed it, and says so, as it should.
    let message = Message::Reached { epoch: EpochNumber(1) };
    group.step(
        Now::default(),
        Input::Receive { from: ReplicaId(3), message },
        &mut Effects::default(),
    );
    let alive = ReplicaSet::all(16).without(ReplicaId(2));
    let change = Change::new().add_member(chennai()).remove_member(NodeId(2));
    let next = next_epoch(&group, &india(), &change, alive, &Limits::default());
    let expected = matches!(next, Err(ChangeError::TooFewAlive { alive: 1, needed: 2, .. }));
    assert!(expected, "one has the state, one is dead, and one has nothing: {next:?}");
}
