//! Queries: when they are answered, when refused, and what their answers say of their age.

use panchayat_consensus::{ReadLevel, ReadRefusal};

use super::*;

const LINEARIZABLE: ReadLevel = ReadLevel::Linearizable;

fn ask(group: &mut ToyGroup, at: u64, token: u64, level: ReadLevel) {
    let query = KvQuery::Get { key: Bytes::from_static(b"log") };
    let request = ReadRequest { query, level, until: Time(at + 1_000) };
    group.read(now(at), Token(token), request);
}

fn value(length: usize) -> KvAnswer {
    KvAnswer::Value((length > 0).then(|| Bytes::from(vec![b'x'; length])))
}

fn reading(length: usize, age: Option<u64>) -> Result<Reading<KvAnswer>, ReadRefusal> {
    Ok(Reading { answer: value(length), age: age.map(Span) })
}

#[test]
fn a_read_waits_for_what_was_handed_out_before_it_and_for_nothing_else() {
    let (mut group, mut out) = (start(birth(), &[]), Out::default());
    propose(&mut group, 5, 1, None);
    group.turn(&mut out);
    ask(&mut group, 6, 2, ReadLevel::Lease);
    group.turn(&mut out);
    assert!(out.readings.is_empty(), "the command before it is not durable");
    propose(&mut group, 7, 3, None);
    group.turn(&mut out);
    group.durable(now(8), RecordSeq(1));
    group.turn(&mut out);
    assert_eq!(out.readings, [(2, reading(1, Some(0)))]);
}

#[test]
fn a_read_that_is_ordered_is_answered_at_its_place_and_changes_nothing() {
    let (mut group, mut out) = (start(birth(), &[]), Out::default());
    propose(&mut group, 5, 1, None);
    ask(&mut group, 5, 2, LINEARIZABLE);
    propose(&mut group, 5, 3, None);
    group.turn(&mut out);
    group.durable(now(6), RecordSeq(3));
    group.turn(&mut out);
    assert_eq!(out.readings, [(2, reading(1, Some(0)))]);
    assert_eq!(out.effects, [Effect::Applied, Effect::Read, Effect::Applied]);
    // Where it comes from the journal, nobody waits for it.
    let (mut again, mut replayed) = (start(birth(), &out.journal), Out::default());
    again.turn(&mut replayed);
    assert_eq!(replayed.effects, out.effects);
    assert!(replayed.readings.is_empty());
    assert_eq!(again.machine().state_hash(), group.machine().state_hash());
}

#[test]
fn a_read_that_takes_too_long_is_refused_in_time() {
    let (mut group, mut out) = (start(birth(), &[]), Out::default());
    ask(&mut group, 5, 1, LINEARIZABLE);
    ask(&mut group, 6, 2, ReadLevel::Stale { max: Span(7) });
    group.turn(&mut out);
    assert_eq!(group.wake_time(), Some(Time(1_005)));
    assert!(!group.wake(now(1_004)));
    assert!(group.wake(now(1_006)));
    group.turn(&mut out);
    let (too_late, too_old) = (ReadRefusal::Unreachable, ReadRefusal::TooOld { age: None });
    assert_eq!(out.readings, [(1, Err(too_late)), (2, Err(too_old))]);
    // Their places in the order come all the same, and nobody is answered twice.
    group.durable(now(1_007), RecordSeq(2));
    group.turn(&mut out);
    assert_eq!((out.readings.len(), group.executed(), group.wake_time()), (2, 2, None));
}

#[test]
fn a_read_is_refused_in_time_while_no_turn_can_be_taken() {
    let (mut group, mut out) = (start(birth(), &[]), Out::default());
    ask(&mut group, 5, 1, LINEARIZABLE);
    ask(&mut group, 9, 2, LINEARIZABLE);
    group.turn(&mut out);
    let written = out.journal.len();
    ask(&mut group, 10, 3, LINEARIZABLE);
    group.refuse_late_reads(now(1_004), &mut out);
    assert!(out.readings.is_empty());
    group.refuse_late_reads(now(1_005), &mut out);
    assert_eq!(out.readings, [(1, Err(ReadRefusal::Unreachable))]);
    assert_eq!(out.journal.len(), written);
}

#[test]
fn a_stale_answer_says_how_old_it_is_and_one_too_old_is_made_current() {
    let (mut group, mut out) = (start(birth(), &[]), Out::default());
    let stale = |max| ReadLevel::Stale { max: Span(max) };
    ask(&mut group, 10, 1, stale(u64::MAX));
    ask(&mut group, 20, 2, ReadLevel::Lease);
    group.turn(&mut out);
    assert_eq!(out.readings, [(1, reading(0, None)), (2, reading(0, Some(0)))]);
    out.readings.clear();
    propose(&mut group, 30, 3, None);
    ask(&mut group, 50, 4, stale(30));
    ask(&mut group, 51, 5, stale(30));
    group.turn(&mut out);
    assert_eq!(out.readings, [(4, reading(0, Some(30)))], "the other is ordered");
    group.durable(now(60), RecordSeq(2));
    group.turn(&mut out);
    assert_eq!(out.readings[1], (5, reading(1, Some(0))));
    // An ordered read vouches for what it looks at, not for the whole state.
    assert_eq!(group.age(now(70)), Some(Span(50)));
}

#[test]
fn the_times_of_commands_say_how_old_a_state_is_once_all_before_is_applied() {
    let (mut group, mut out) = (start(birth(), &[]), Out::default());
    let skew = sessions().skew.0;
    propose(&mut group, 1_000, 1, None);
    promise(&mut group, 5_000_000);
    group.turn(&mut out);
    assert_eq!(group.age(now(6_000_000)), None, "a command handed out before is not applied");
    group.durable(now(6_000_000), RecordSeq(1));
    group.turn(&mut out);
    assert_eq!(group.age(now(6_000_000)), Some(Span(1_000_000 + skew)));
}

#[test]
fn who_takes_over_a_state_refuses_those_who_wait_and_knows_no_age() {
    let (mut group, mut out) = (start(birth(), &[]), Out::default());
    ask(&mut group, 5, 1, ReadLevel::Lease);
    group.turn(&mut out);
    ask(&mut group, 5, 2, LINEARIZABLE);
    group.turn(&mut out);
    assert!(group.age(now(6)).is_some());
    let image = vec![Note { slot: 3, value: None, proposed_after: 0 }];
    group.install(now(6), KvStore::default(), Sessions::new(sessions()), image);
    ask(&mut group, 7, 3, ReadLevel::Lease);
    group.turn(&mut out);
    let refused = Err(ReadRefusal::Unreachable);
    assert_eq!(out.readings[1..], [(2, refused.clone()), (3, refused)]);
    assert_eq!(group.age(now(8)), None);
}

#[test]
fn a_command_that_would_be_taken_for_a_read_is_not_proposed() {
    let (mut group, mut out) = (start(birth(), &[]), Out::default());
    let command = Command::read(Footprint::write(b"log"));
    group.step(now(5), Input::Propose { token: Token(1), command });
    group.turn(&mut out);
    assert_eq!(out.answers, [(1, Answer::Undecodable)]);
    assert!(out.journal.is_empty());
}
