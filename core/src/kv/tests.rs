//! What the store does with each command.

use bytes::Bytes;
use panchayat_consensus::{FOOTPRINT_KEYS_MAX, InstanceId, KeyHash, Mode, ReplicaId, WallTime};

use super::command::{Condition, KvCommand, KvOp, KvOutput, OPS_MAX};
use super::{KvQuery, KvStore};
use crate::conformance::{Draw, Suite};
use crate::state_machine::{ApplyContext, StateHash, StateMachine};

fn apply(store: &mut KvStore, slot: u64, command: KvCommand) -> KvOutput {
    let id = InstanceId::new(ReplicaId(0), slot);
    store.apply(&ApplyContext { id, proposed_at: WallTime(0) }, command)
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn put(key: &'static str, value: &'static str) -> KvCommand {
    KvCommand::One(KvOp::Put { key: bytes(key), value: bytes(value) })
}

fn mix(key: &'static str) -> KvCommand {
    KvCommand::One(KvOp::Mix { key: bytes(key), salt: Bytes::new() })
}

#[test]
fn the_hash_ignores_the_order_of_unrelated_writes_and_sees_every_other() {
    let (mut a, mut b) = (KvStore::default(), KvStore::default());
    apply(&mut a, 1, put("x", "1"));
    apply(&mut a, 2, put("y", "2"));
    apply(&mut b, 2, put("y", "2"));
    apply(&mut b, 1, put("x", "1"));
    assert_eq!(a.state_hash(), b.state_hash());
    apply(&mut a, 3, mix("x"));
    apply(&mut a, 4, mix("x"));
    apply(&mut b, 4, mix("x"));
    apply(&mut b, 3, mix("x"));
    assert_ne!(a.state_hash(), b.state_hash());
}

#[test]
fn deleting_everything_brings_back_the_empty_hash() {
    let mut store = KvStore::default();
    apply(&mut store, 1, put("x", "1"));
    apply(&mut store, 2, put("x", "2"));
    assert_ne!(store.state_hash(), StateHash::default());
    apply(&mut store, 3, KvCommand::One(KvOp::Delete { key: bytes("x") }));
    assert_eq!(store.state_hash(), StateHash::default());
    assert!(store.is_empty());
}

#[test]
fn a_query_may_name_any_number_of_keys() {
    let keys = |count: usize| -> Vec<_> {
        (0..count).map(|key| Bytes::copy_from_slice(&key.to_le_bytes())).collect()
    };
    let footprint = |count| KvStore::query_footprint(&KvQuery::GetMany { keys: keys(count) });
    assert_eq!(footprint(OPS_MAX).keys().len(), OPS_MAX);
    assert!(footprint(FOOTPRINT_KEYS_MAX + 1).is_barrier());
}

#[test]
fn what_is_overwritten_in_place_stays_in_an_earlier_view() {
    let mut store = KvStore::default();
    apply(&mut store, 1, put("x", "old"));
    let view = store.view();
    apply(&mut store, 2, put("x", "new"));
    let mut written = Vec::new();
    KvStore::write(&view, &mut written).unwrap();
    drop(view);
    let address = store.get(b"x").unwrap().as_ptr();
    apply(&mut store, 3, put("x", "now"));
    assert_eq!(store.get(b"x"), Some(&b"now"[..]));
    assert_eq!(store.get(b"x").unwrap().as_ptr(), address, "nobody shares it any more");
    let restored = KvStore::restore(&mut written.as_slice()).unwrap();
    assert_eq!(restored.get(b"x"), Some(&b"old"[..]));
    let mut fresh = KvStore::default();
    apply(&mut fresh, 1, put("x", "now"));
    assert_eq!(store.state_hash(), fresh.state_hash());
}

#[test]
fn a_transaction_is_all_or_nothing() {
    let mut store = KvStore::default();
    apply(&mut store, 1, put("from", "10"));
    let transfer = |expected| KvCommand::Transaction {
        conditions: vec![Condition::Is { key: bytes("from"), expected: Some(bytes(expected)) }],
        ops: vec![
            KvOp::Put { key: bytes("from"), value: bytes("3") },
            KvOp::Put { key: bytes("to"), value: bytes("7") },
        ],
    };
    assert_eq!(
        apply(&mut store, 2, transfer("9")),
        KvOutput::ConditionFailed { index: 0, found: Some(bytes("10")) }
    );
    assert_eq!(store.get(b"to"), None);
    assert_eq!(
        apply(&mut store, 3, transfer("10")),
        KvOutput::Committed(vec![KvOutput::Done, KvOutput::Done])
    );
    assert_eq!((store.get(b"from"), store.get(b"to")), (Some(&b"3"[..]), Some(&b"7"[..])));
}

#[test]
fn compare_and_set_tells_what_it_found() {
    let mut store = KvStore::default();
    let cas =
        |expected, new| KvCommand::One(KvOp::CompareAndSet { key: bytes("k"), expected, new });
    assert_eq!(
        apply(&mut store, 1, cas(None, Some(bytes("a")))),
        KvOutput::Compared { applied: true, found: None }
    );
    assert_eq!(
        apply(&mut store, 2, cas(None, Some(bytes("b")))),
        KvOutput::Compared { applied: false, found: Some(bytes("a")) }
    );
    assert_eq!(
        apply(&mut store, 3, cas(Some(bytes("a")), None)),
        KvOutput::Compared { applied: true, found: Some(bytes("a")) }
    );
    assert!(store.is_empty());
}

#[test]
fn append_reports_the_whole_value_and_footprints_name_every_key() {
    let mut store = KvStore::default();
    let append = || KvCommand::One(KvOp::Append { key: bytes("l"), suffix: bytes("x") });
    apply(&mut store, 1, append());
    assert_eq!(apply(&mut store, 2, append()), KvOutput::Value(Some(bytes("xx"))));
    let transaction = KvCommand::Transaction {
        conditions: vec![Condition::Is { key: bytes("c"), expected: None }],
        ops: vec![KvOp::Get { key: bytes("g") }, KvOp::Delete { key: bytes("d") }],
    };
    let footprint = KvStore::footprint(&transaction);
    for (key, mode) in [("c", Mode::Read), ("g", Mode::Read), ("d", Mode::Write)] {
        assert!(footprint.keys().contains(&(KeyHash::of(key.as_bytes()), mode)));
    }
}

fn add(key: &'static str, amount: i64) -> KvCommand {
    KvCommand::One(KvOp::Add { key: bytes(key), amount })
}

#[test]
fn additions_do_not_conflict_and_what_is_no_number_counts_as_zero() {
    let conflict =
        |a: &KvCommand, b: &KvCommand| KvStore::footprint(a).conflicts(&KvStore::footprint(b));
    assert!(!conflict(&add("n", 1), &add("n", 2)));
    let get = KvCommand::One(KvOp::Get { key: bytes("n") });
    assert!(conflict(&add("n", 1), &get) && conflict(&put("n", "1"), &add("n", 1)));
    for (start, expected) in
        [("40", "42"), ("none", "2"), ("-2", "0"), ("9223372036854775807", "-9223372036854775807")]
    {
        let mut store = KvStore::default();
        apply(&mut store, 1, put("n", start));
        assert_eq!(apply(&mut store, 2, add("n", 7)), KvOutput::Done);
        apply(&mut store, 3, add("n", -5));
        assert_eq!(store.get(b"n"), Some(expected.as_bytes()));
    }
}

#[test]
fn a_transfer_never_overdraws_and_credits_of_one_account_commute() {
    let transfer = |from: &'static str, amount: i64| KvCommand::Transaction {
        conditions: vec![Condition::AtLeast { key: bytes(from), least: amount }],
        ops: vec![
            KvOp::Add { key: bytes(from), amount: -amount },
            KvOp::Add { key: bytes("shop"), amount },
        ],
    };
    let footprint = |from| KvStore::footprint(&transfer(from, 1));
    assert!(!footprint("asha").conflicts(&footprint("ravi")), "both only credit the shop");
    assert!(footprint("asha").conflicts(&footprint("asha")));
    let mut store = KvStore::default();
    apply(&mut store, 1, add("asha", 100));
    let refused = KvOutput::ConditionFailed { index: 0, found: Some(bytes("100")) };
    assert_eq!(apply(&mut store, 2, transfer("asha", 101)), refused);
    let done = KvOutput::Committed(vec![KvOutput::Done, KvOutput::Done]);
    assert_eq!(apply(&mut store, 3, transfer("asha", 100)), done);
    assert_eq!((store.get(b"asha"), store.get(b"shop")), (Some(&b"0"[..]), Some(&b"100"[..])));
}

fn any_op(draw: &mut Draw) -> KvOp {
    let key = Bytes::copy_from_slice(draw.pick(&["a", "b", "c", "d"]).as_bytes());
    let small = |draw: &mut Draw| Bytes::from(draw.below(4).to_string());
    match draw.below(9) {
        0 => KvOp::Get { key },
        1 => KvOp::Put { key, value: small(draw) },
        2 => KvOp::Append { key, suffix: small(draw) },
        3 => KvOp::Delete { key },
        4 => KvOp::CompareAndSet { key, expected: Some(small(draw)), new: Some(small(draw)) },
        5 => KvOp::Mix { key, salt: small(draw) },
        _ => KvOp::Add { key, amount: draw.below(9) as i64 - 4 },
    }
}

fn any_command(draw: &mut Draw) -> KvCommand {
    if draw.percent(70) {
        return KvCommand::One(any_op(draw));
    }
    let condition = |draw: &mut Draw| {
        let key = any_op(draw).key().clone();
        match draw.below(2) {
            0 => Condition::AtLeast { key, least: draw.below(5) as i64 - 2 },
            _ => Condition::Is { key, expected: None },
        }
    };
    KvCommand::Transaction {
        conditions: (0..draw.below(3)).map(|_| condition(draw)).collect(),
        ops: (0..draw.below(4)).map(|_| any_op(draw)).collect(),
    }
}

#[test]
fn the_store_conforms() {
    let suite = Suite::new(KvStore::default, any_command).queries(|draw| match draw.below(2) {
        0 => KvQuery::Get { key: any_op(draw).key().clone() },
        _ => KvQuery::GetMany { keys: vec![any_op(draw).key().clone(), bytes("a")] },
    });
    let report = suite.run().unwrap();
    assert!(
        report.reordered > 10_000 && report.commuting > 500 && report.queries > 500,
        "{report:?}"
    );
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "touches \"b\" in mode Write, which its footprint does not name")]
fn a_debug_build_notices_what_a_footprint_does_not_name() {
    let mut guard = crate::guard::FootprintGuard::default();
    guard.begin::<KvStore>(&put("a", "1"));
    guard.check(b"a", Mode::Write);
    guard.check(b"b", Mode::Write);
}
