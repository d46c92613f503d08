//! A replica that is far behind learns through a window, and must get through it.

use std::sync::Arc;

use bytes::Bytes;
use panchayat_consensus::{
    Ballot, Command, Effects, Footprint, Input, InstanceId, KeyHash, Mode, Now, Protocol, Quorums,
    ReplicaId, Span, Time, WallTime,
};
use panchayat_epaxos::{Config, Deps, EPaxos, Message, Phase, Proposal};

const NOW: Now = Now { monotonic: Time(1), wall: WallTime(1) };

fn decided(id: InstanceId, key: u64, deps: [u64; 3]) -> Message {
    let footprint = Footprint::new([(KeyHash(key), Mode::Write)]);
    let command =
        Command { footprint, proposed_at: WallTime(1), request: None, payload: Bytes::new() };
    let deps: Deps = deps.into_iter().collect();
    Message::Commit { ballot: Ballot::INITIAL, id, value: Proposal::Full(Arc::new(command)), deps }
}

/// Found by a seed of the swarm: the decision that everything waited for named, in its vector, a
/// slot beyond the window, was refused for it, and the window never moved.
#[test]
fn a_decision_whose_vector_reaches_beyond_the_window_is_taken() {
    let quorums = Quorums::for_replicas(3).unwrap();
    let mut config = Config::new(ReplicaId(0), quorums, Span::from_ms(20));
    config.limits.lane_window_max = 4;
    let mut effects = Effects::default();
    let mut replica = EPaxos::restore(config, [], NOW, &mut effects);
    let first = InstanceId::new(ReplicaId(1), 1);
    let mut receive = |replica: &mut EPaxos, message| {
        let input = Input::Receive { from: ReplicaId(1), message };
        replica.step(NOW, input, &mut effects);
    };

    receive(&mut replica, decided(first, 7, [0, 0, 100]));
    assert_eq!(replica.instance(first).unwrap().phase, Phase::Committed);
    let known = replica.instances().filter(|(id, _)| id.replica == ReplicaId(2)).count();
    assert_eq!(known, 4, "what exists beyond the window is not noted");

    for slot in 1..=100 {
        assert!(!replica.is_executed(first), "it may conflict with any of the first 100");
        receive(&mut replica, decided(InstanceId::new(ReplicaId(2), slot), 8, [0, 0, slot - 1]));
    }
    assert!(replica.is_executed(first));
}

/// Found by a seed of the swarm: the window moved on, and what lay beyond it when it was mentioned
/// was never asked for.
#[test]
fn what_was_mentioned_beyond_the_window_is_asked_for_when_the_window_gets_there() {
    let quorums = Quorums::for_replicas(3).unwrap();
    let mut config = Config::new(ReplicaId(0), quorums, Span::from_ms(20));
    config.limits.lane_window_max = 4;
    let mut effects = Effects::default();
    let mut replica = EPaxos::restore(config, [], NOW, &mut effects);
    let mut at = NOW;
    let mut receive = |replica: &mut EPaxos, at, message| {
        let input = Input::Receive { from: ReplicaId(1), message };
        replica.step(at, input, &mut effects);
    };
    receive(&mut replica, at, decided(InstanceId::new(ReplicaId(1), 1), 7, [0, 0, 6]));
    for slot in 1..=5 {
        let id = InstanceId::new(ReplicaId(2), slot);
        receive(&mut replica, at, decided(id, 8, [0, 0, slot - 1]));
    }
    at.monotonic.0 += 1_000_000;
    let mut effects = Effects::default();
    replica.step(at, Input::Wake, &mut effects);
    assert!(replica.instance(InstanceId::new(ReplicaId(2), 6)).is_some());
}
