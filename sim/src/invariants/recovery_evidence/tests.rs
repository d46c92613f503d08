//! What must be found and what must not, on reports made by hand.

use super::*;

const ME: ReplicaId = ReplicaId(1);
const AT: Place = Place { replica: ME, incarnation: 1 };

fn id() -> InstanceId {
    InstanceId::new(ReplicaId(0), 5)
}

fn rival() -> InstanceId {
    InstanceId::new(ReplicaId(3), 2)
}

fn ballot() -> Ballot {
    Ballot::INITIAL.next_for(ME)
}

fn deps(last: u64) -> Deps {
    [last, 0, 0, 0, 0].into_iter().collect()
}

fn command() -> Decision {
    Decision { nop: false, deps: deps(4) }
}

fn nop() -> Decision {
    Decision { nop: true, deps: deps(0) }
}

fn report(phase: Phase) -> Reported {
    let endorses = phase == Phase::PreAccepted;
    Reported {
        phase,
        accepted_ballot: Ballot::INITIAL,
        value: command(),
        init_deps: endorses.then(|| deps(4)),
    }
}

/// Five replicas; the first proposed, the second recovers.
fn told(reports: &[(u8, Phase)]) -> RecoveryEvidence {
    let mut check = RecoveryEvidence::new(Quorums::for_replicas(5).unwrap());
    for (replica, phase) in reports {
        let replica = ReplicaId(*replica);
        if replica == ME {
            check.joined(ME, id(), ballot(), || report(*phase));
        } else {
            check.reported(replica, id(), ballot(), report(*phase));
        }
    }
    check
}

fn others(replicas: &[u8]) -> ReplicaSet {
    replicas.iter().copied().map(ReplicaId).collect()
}

/// A recovery that validates with {1, 2, 3}, of which `endorsers` endorse.
fn validating(endorsers: usize, own: &[Invalidator]) -> RecoveryEvidence {
    let phase = |place| if place < endorsers { Phase::PreAccepted } else { Phase::Initial };
    let mut check = told(&[(1, phase(0)), (2, phase(1)), (3, phase(2))]);
    check.objects_itself(ME, id(), ballot(), own.iter().copied());
    check.validates(AT, others(&[2, 3]), id(), ballot(), &deps(4)).unwrap();
    check
}

fn against(committed: bool) -> Vec<Invalidator> {
    vec![Invalidator { id: rival(), committed }]
}

fn allows(check: &RecoveryEvidence, value: &Decision) -> bool {
    check.clone().proposes(AT, id(), ballot(), value).is_ok()
}

/// Reports, and whether Nop and whether the command may be accepted after them.
#[test]
fn without_validation_the_reports_decide() {
    use Phase::{Accepted, Committed, Initial, PreAccepted};
    for (reports, nop_allowed, command_allowed) in [
        (vec![(1, Initial), (2, Initial)], false, false),
        (vec![(2, Initial), (3, Initial), (4, Initial)], false, false),
        (vec![(1, Initial), (2, Initial), (3, Initial)], true, false),
        (vec![(1, Initial), (2, Accepted), (3, Initial)], false, true),
        (vec![(1, Initial), (2, Committed), (3, Initial)], false, false),
        (vec![(0, PreAccepted), (1, PreAccepted), (2, Initial)], true, false),
        (vec![(1, PreAccepted), (2, Initial), (3, Initial)], false, false),
        // The other quorum was as good.
        (vec![(1, Initial), (2, Accepted), (3, Initial), (4, Initial)], true, true),
    ] {
        let check = told(&reports);
        let allowed = (allows(&check, &nop()), allows(&check, &command()));
        assert_eq!(allowed, (nop_allowed, command_allowed), "{reports:?}");
    }
}

#[test]
fn only_those_who_reported_are_asked_to_validate() {
    let reports = [(1, Phase::PreAccepted), (2, Phase::Initial), (3, Phase::Initial)];
    let ask = |asked: &[u8], deps: &Deps| {
        let mut check = told(&reports);
        check.validates(AT, others(asked), id(), ballot(), deps).map(|()| check)
    };
    assert!(ask(&[2], &deps(4)).is_err());
    assert!(ask(&[2, 4], &deps(4)).is_err());
    assert!(ask(&[2, 3, 4], &deps(4)).is_err());
    assert!(ask(&[2, 3], &deps(3)).is_err());
    let mut check = ask(&[2, 3], &deps(4)).unwrap();
    check.validates(AT, others(&[3]), id(), ballot(), &deps(4)).unwrap();
    assert!(check.validates(AT, others(&[4]), id(), ballot(), &deps(4)).is_err());
}

#[test]
fn everyone_asked_must_answer() {
    let mut check = validating(2, &[]);
    check.answered(ReplicaId(2), id(), ballot(), &[]);
    check.answered(ReplicaId(4), id(), ballot(), &[]);
    assert!(!allows(&check, &command()) && !allows(&check, &nop()));
    check.answered(ReplicaId(3), id(), ballot(), &[]);
    assert!(allows(&check, &command()) && !allows(&check, &nop()));
    assert!(!allows(&check, &Decision { nop: false, deps: deps(5) }));
}

#[test]
fn what_is_named_against_it_counts() {
    let answered = |endorsers, own: &[Invalidator], theirs: &[Invalidator]| {
        let mut check = validating(endorsers, own);
        check.answered(ReplicaId(2), id(), ballot(), theirs);
        check.answered(ReplicaId(3), id(), ballot(), &[]);
        check
    };
    let may = |check: &RecoveryEvidence| (allows(check, &nop()), allows(check, &command()));
    assert_eq!(may(&answered(2, &[], &against(true))), (true, false));
    assert_eq!(may(&answered(2, &against(true), &[])), (true, false));
    // Undecided: it must wait, and see.
    let waiting = answered(2, &[], &against(false));
    assert_eq!(may(&waiting), (false, false));
    for (decision, outcome) in [
        (Decision { nop: true, deps: deps(0) }, (false, true)),
        (Decision { nop: false, deps: deps(5) }, (false, true)),
        (Decision { nop: false, deps: deps(4) }, (true, false)),
    ] {
        let mut elsewhere = waiting.clone();
        elsewhere.decided(ReplicaId(2), rival(), &decision);
        assert_eq!(may(&elsewhere), (false, false), "the recoverer does not know");
        let mut known = waiting.clone();
        known.decided(ME, rival(), &decision);
        assert_eq!(may(&known), outcome, "{decision:?}");
    }
    // With just enough endorsers, a rival whose coordinator is outside Q decides it at once.
    assert_eq!(may(&answered(1, &[], &against(false))), (false, false));
    let outside = [Invalidator { id: InstanceId::new(ReplicaId(4), 1), committed: false }];
    assert_eq!(may(&answered(1, &[], &outside)), (true, false));
    assert_eq!(may(&answered(2, &[], &outside)), (false, false));
}

#[test]
fn another_wait_or_a_late_report_ends_a_wait() {
    let mut waiting = validating(2, &against(false));
    for replica in [2, 3] {
        waiting.answered(ReplicaId(replica), id(), ballot(), &[]);
    }
    let may = |check: &RecoveryEvidence| (allows(check, &nop()), allows(check, &command()));
    for (endorsers, ends) in [(1, false), (2, true)] {
        let mut both = waiting.clone();
        both.waits(rival(), endorsers);
        assert_eq!(may(&both), (ends, false), "{endorsers} endorsers");
    }
    for (late, phase, outcome) in [
        (0, Phase::PreAccepted, (true, false)),
        (4, Phase::PreAccepted, (false, false)),
        (4, Phase::Accepted, (false, true)),
        (2, Phase::Accepted, (false, false)),
    ] {
        let mut check = waiting.clone();
        check.reported(ReplicaId(late), id(), ballot(), report(phase));
        assert_eq!(may(&check), outcome, "{phase:?} from {late}");
    }
}

#[test]
fn a_ballot_joined_again_after_its_joining_was_lost_counts_what_is_left() {
    // Before it died it had accepted a command, which was lost with the joining.
    let mut check = told(&[(1, Phase::Accepted)]);
    check.forget(ME);
    check.joined(ME, id(), ballot(), || report(Phase::Initial));
    for replica in [2, 3] {
        check.reported(ReplicaId(replica), id(), ballot(), report(Phase::Initial));
    }
    assert!(allows(&check, &nop()) && !allows(&check, &command()));
}
