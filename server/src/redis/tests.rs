//! The state machine as a whole: the rules of replication, expiry, and what is agreed on.

use bytes::Bytes;
use panchayat::conformance::{Draw, Suite};
use panchayat::wire::{from_bytes, to_bytes};
use panchayat::{ApplyContext, InstanceId, ReplicaId, StateMachine as _, WallTime};

use super::batch::{Batch, Call, Guard};
use super::machine::{Answer, Outcome, Query, Store};
use super::reply::Reply;
use super::table::find;

fn call(words: &[&[u8]]) -> Call {
    let spec = find(words[0]).unwrap();
    let args = words[1..].iter().map(|word| Bytes::copy_from_slice(word)).collect();
    Call::new(spec, args).unwrap_or_else(|| panic!("{:?}", spec.name))
}

fn batch(commands: &[&str]) -> Batch {
    let calls = commands.iter().map(|command| {
        let words: Vec<_> = command.split(' ').map(str::as_bytes).collect();
        call(&words)
    });
    Batch { guards: Vec::new(), calls: calls.collect() }
}

fn context(slot: u64, ms: u64) -> ApplyContext {
    ApplyContext { id: InstanceId::new(ReplicaId(0), slot), proposed_at: WallTime(ms * 1_000) }
}

fn apply(store: &mut Store, slot: u64, ms: u64, commands: &[&str]) -> Vec<Reply> {
    match store.apply(&context(slot, ms), batch(commands)) {
        Outcome::Done(replies) => replies,
        refused => panic!("{refused:?}"),
    }
}

fn ask(store: &Store, ms: u64, loose: bool, commands: &[&str]) -> Answer {
    store.query(Query { now: WallTime(ms * 1_000), loose, batch: batch(commands) })
}

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];
const WORDS: [&str; 5] = ["1", "2", "x", "yy", "-3"];

/// One command, any there is but for those that look at all keys, with arguments that mostly fit.
fn drawn(draw: &mut Draw) -> Call {
    let (k, l) = (*draw.pick(&KEYS), *draw.pick(&KEYS));
    let (v, w) = (*draw.pick(&WORDS), *draw.pick(&WORDS));
    let templates: &[&str] = &[
        "GET k",
        "SET k v",
        "SET k v PX 3",
        "SET k v NX",
        "SET k v XX GET",
        "SETRANGE k 2 v",
        "APPEND k v",
        "INCR k",
        "INCRBYFLOAT k 0.5",
        "DECRBY k 2",
        "GETDEL k",
        "GETEX k PX 5",
        "MSET k v l w",
        "MSETNX k v l w",
        "MGET k l",
        "STRLEN k",
        "GETRANGE k 0 1",
        "DEL k",
        "DEL k l",
        "EXISTS k l",
        "TYPE k",
        "RENAME k l",
        "RENAMENX k l",
        "COPY k l REPLACE",
        "PEXPIRE k 4",
        "PEXPIRE k 9 GT",
        "PEXPIREAT k 100",
        "PTTL k",
        "PERSIST k",
        "HSET k v w",
        "HSET k w v x y",
        "HDEL k v",
        "HGETALL k",
        "HINCRBY k v 3",
        "HLEN k",
        "HRANDFIELD k 2",
        "LPUSH k v",
        "RPUSH k v w x",
        "LPOP k",
        "RPOP k 2",
        "LRANGE k 0 -1",
        "LINDEX k 1",
        "LSET k 0 w",
        "LREM k 0 v",
        "LTRIM k 1 -2",
        "LINSERT k BEFORE v w",
        "LPOS k v",
        "RPOPLPUSH k l",
        "LMOVE k l LEFT RIGHT",
        "SADD k v",
        "SADD k v w x y",
        "SREM k v",
        "SMEMBERS k",
        "SPOP k",
        "SPOP k 2",
        "SRANDMEMBER k",
        "SMOVE k l v",
        "SINTER k l",
        "SUNIONSTORE k k l",
        "SDIFFSTORE k l k",
        "SCARD k",
        "ZADD k 1 v",
        "ZADD k 2.5 v -1 w",
        "ZADD k XX GT CH 3 v",
        "ZINCRBY k 1.5 v",
        "ZREM k v",
        "ZRANGE k 0 -1 WITHSCORES",
        "ZRANGEBYSCORE k -inf (2",
        "ZPOPMIN k",
        "ZPOPMAX k 2",
        "ZRANK k v",
        "ZREMRANGEBYRANK k 0 0",
        "ZREMRANGEBYSCORE k 1 2",
        "ZUNIONSTORE k 2 k l",
        "ZINTERSTORE l 2 k l",
        "SCAN 0",
        "ZRANGESTORE k l 0 1",
        "SETEX k 1 v",
        "PSETEX k 2 v",
    ];
    let template = *draw.pick(templates);
    let words: Vec<&[u8]> = template
        .split(' ')
        .map(|word| match word {
            "k" => k,
            "l" => l,
            "v" => v,
            "w" => w,
            other => other,
        })
        .map(str::as_bytes)
        .collect();
    call(&words)
}

#[test]
fn it_keeps_the_rules_of_state_machines() {
    let suite = Suite::new(Store::default, |draw| {
        let guards = match draw.percent(5) {
            true => vec![Guard::Is { key: (*draw.pick(&KEYS)).into(), expected: None }],
            false => Vec::new(),
        };
        let count = 1 + draw.below(2);
        Batch { guards, calls: (0..count).map(|_| drawn(draw)).collect() }
    })
    .queries(|draw| {
        let key = *draw.pick(&KEYS);
        let command = *draw.pick(&["GET", "PTTL", "TYPE", "SMEMBERS", "LLEN", "ZCARD", "HGETALL"]);
        let batch = batch(&[&format!("{command} {key}")]);
        Query { now: WallTime(0), loose: false, batch }
    });
    let report = suite.rounds(300).run().unwrap();
    assert!(report.reordered > 1_000 && report.changes > 1_000, "{report:?}");
    assert!(report.snapshots > 100 && report.queries > 100, "{report:?}");
}

#[test]
fn a_key_that_was_seen_as_gone_never_comes_back() {
    let mut store = Store::default();
    apply(&mut store, 1, 1_000, &["SET a v PX 500"]);
    // A clock that is behind sees it; one that is ahead has it ordered.
    let told = |reply| Answer::Told(Outcome::Done(vec![reply]));
    assert_eq!(ask(&store, 1_499, false, &["GET a"]), told(Reply::bulk("v")));
    assert_eq!(ask(&store, 1_500, false, &["GET a"]), Answer::Due);
    assert_eq!(ask(&store, 1_500, true, &["GET a"]), told(Reply::Null));
    assert_eq!(apply(&mut store, 2, 1_500, &["GET a"]), [Reply::Null]);
    // Whatever is proposed earlier by another clock and executed later.
    assert_eq!(apply(&mut store, 3, 1_400, &["GET a", "EXISTS a"]), [Reply::Null, Reply::ZERO]);
    assert_eq!(ask(&store, 1_000, false, &["GET a"]), told(Reply::Null));
}

#[test]
fn a_key_expires_by_the_time_of_the_command_alone() {
    let mut store = Store::default();
    apply(&mut store, 1, 1_000, &["SET a 1 EX 10", "SET b 1", "PEXPIRE b 10000"]);
    assert_eq!(
        apply(&mut store, 2, 10_999, &["INCR a", "PTTL a"]),
        [Reply::Integer(2), Reply::ONE]
    );
    assert_eq!(
        apply(&mut store, 3, 11_000, &["INCR a", "TTL a"]),
        [Reply::ONE, Reply::Integer(-1)]
    );
    assert_eq!(apply(&mut store, 4, 11_000, &["PERSIST b"]), [Reply::ZERO]);
    let due = ask(&store, 11_000, true, &["PANCHAYAT|DUE 10"]);
    assert_eq!(due, Answer::Told(Outcome::Done(vec![Reply::Array(vec![])])));
}

#[test]
fn guards_hold_until_the_key_changes_and_a_key_made_anew_is_another() {
    let version = |store: &Store| match ask(store, 0, false, &["WATCH a"]) {
        Answer::Told(Outcome::Done(replies)) => match &replies[0] {
            Reply::Array(versions) => versions[0].clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let mut store = Store::default();
    assert_eq!(version(&store), Reply::ZERO);
    apply(&mut store, 1, 0, &["SADD a x"]);
    let first = version(&store);
    apply(&mut store, 2, 0, &["SADD a x", "SISMEMBER a x", "EXPIRE b 10"]);
    assert_eq!(version(&store), first, "nothing has changed");
    apply(&mut store, 3, 0, &["DEL a", "SADD a x"]);
    let Reply::Integer(before) = first else { panic!() };
    assert_ne!(version(&store), first);
    let guards = vec![Guard::Version { key: "a".into(), version: before as u64 }];
    let refused = Batch { guards, ..batch(&["SADD a y"]) };
    let outcome = store.apply(&context(4, 0), refused);
    assert!(matches!(outcome, Outcome::Refused { at: 0, .. }), "{outcome:?}");
    assert_eq!(apply(&mut store, 5, 0, &["SCARD a"]), [Reply::ONE]);
}

#[test]
fn chance_is_the_same_at_every_replica_and_differs_between_commands() {
    let run = || {
        let mut store = Store::default();
        let members: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
        apply(&mut store, 1, 0, &[&format!("SADD a {}", members.join(" "))]);
        (2..12)
            .flat_map(|slot| apply(&mut store, slot, 0, &["SPOP a", "SPOP a"]))
            .collect::<Vec<_>>()
    };
    let popped = run();
    assert_eq!(popped, run());
    let mut different: Vec<_> = popped.iter().map(|reply| format!("{reply:?}")).collect();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), 20);
}

#[test]
fn batches_come_back_and_what_is_none_is_refused() {
    let original = Batch {
        guards: vec![
            Guard::Version { key: "k".into(), version: 7 },
            Guard::Is { key: "k".into(), expected: None },
            Guard::Is { key: "k".into(), expected: Some("v".into()) },
        ],
        ..batch(&["SET a 1", "ZADD z 1 m"])
    };
    let bytes = to_bytes(&original);
    let decoded: Batch = from_bytes(bytes.clone()).unwrap();
    assert_eq!((to_bytes(&decoded), &decoded.guards), (bytes.clone(), &original.guards));
    for at in 0..bytes.len() {
        assert!(from_bytes::<Batch>(bytes.slice(..at)).is_err(), "cut at {at}");
    }
    // A number of arguments that the command does not take must not reach it.
    assert!(from_bytes::<Batch>(vec![1, 0, 1, 1, 0].into()).is_err());
    assert!(from_bytes::<Batch>(vec![1, 0, 1, 255, 1, 1, b'a'].into()).is_err());
}

#[test]
fn large_values_of_every_type_survive_a_snapshot_while_they_change() {
    let mut store = Store::default();
    let many = |prefix: &str| (0..3_000).map(|n| format!(" {prefix}{n}")).collect::<String>();
    let scored: String = (0..3_000).map(|n| format!(" {} m{n}", n % 97)).collect();
    let fields: String = (0..3_000).map(|n| format!(" f{n} {n}")).collect();
    apply(
        &mut store,
        1,
        0,
        &[
            &format!("SADD s{}", many("m")),
            &format!("RPUSH l{}", many("i")),
            &format!("ZADD z{scored}"),
            &format!("HSET h{fields}"),
            "SET t text PX 99",
        ],
    );
    let (view, hash) = (store.view(), store.state_hash());
    apply(&mut store, 2, 0, &["SPOP s 100", "LTRIM l 10 20", "ZPOPMIN z 50", "HDEL h f1", "DEL t"]);
    let mut bytes = Vec::new();
    Store::write(&view, &mut bytes).unwrap();
    let mut restored = Store::restore(&mut &bytes[..]).unwrap();
    assert_eq!(restored.state_hash(), hash);
    apply(
        &mut restored,
        2,
        0,
        &["SPOP s 100", "LTRIM l 10 20", "ZPOPMIN z 50", "HDEL h f1", "DEL t"],
    );
    assert_eq!(restored.state_hash(), store.state_hash());
    for at in (0..bytes.len()).step_by(997) {
        assert!(Store::restore(&mut &bytes[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn replies_of_a_batch_are_bounded_and_what_it_changes_is_not_cut_short() {
    let mut store = Store::default();
    apply(&mut store, 1, 0, &["SADD s a", "SET n 1"]);
    let many = "SRANDMEMBER s -1048576";
    let replies = apply(&mut store, 2, 0, &[many, many, many, many, "INCR n", "GET n"]);
    assert_eq!(replies[4], Reply::Integer(2), "what changes something is done");
    assert!(!replies[0].is_error() && replies[5].is_error(), "{:?}", replies[5]);
    assert!(replies.iter().map(Reply::cost).sum::<usize>() < 160 << 20);
    let Answer::Told(Outcome::Done(replies)) = ask(&store, 0, false, &[many, many, many, "GET n"])
    else {
        panic!("nothing is due")
    };
    assert!(replies[3].is_error());
}
