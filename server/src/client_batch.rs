//! What the command line asks for, in commands of the store, and their replies.

use bytes::Bytes;
use panchayat::kv::{Condition, KvCommand, KvOp, KvValue};

use crate::redis::{Batch, Call, Guard, Outcome, Reply, find};

/// What became of a command of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// A key's value.
    Value(KvValue),
    /// Done.
    Done,
    /// Of a compare-and-set.
    Compared { applied: bool, found: KvValue },
    /// The operations of a transaction.
    Committed(Vec<Output>),
    /// A condition did not hold: nothing was done.
    ConditionFailed { index: u32, found: KvValue },
    /// It was not possible: the value is no number, say.
    Refused(String),
}

/// The batch that does what `command` asks for.
pub(crate) fn batch(command: &KvCommand) -> Batch {
    match command {
        KvCommand::One(op) => Batch { guards: Vec::new(), calls: calls(op) },
        KvCommand::Transaction { conditions, ops } => Batch {
            guards: conditions.iter().map(guard).collect(),
            calls: ops.iter().flat_map(calls).collect(),
        },
    }
}

/// What the replies to it mean.
pub(crate) fn output(command: &KvCommand, outcome: Outcome) -> Output {
    let replies = match outcome {
        Outcome::Refused { at, found } => {
            return Output::ConditionFailed { index: at, found: value(found) };
        }
        Outcome::Done(replies) => replies,
    };
    let mut replies = replies.into_iter();
    match command {
        KvCommand::One(op) => one(op, &mut replies),
        KvCommand::Transaction { ops, .. } => {
            Output::Committed(ops.iter().map(|op| one(op, &mut replies)).collect())
        }
    }
}

fn guard(condition: &Condition) -> Guard {
    match condition {
        Condition::Is { key, expected } => {
            Guard::Is { key: key.clone(), expected: expected.clone() }
        }
        // The command line has no way to say this.
        Condition::AtLeast { key, .. } => Guard::Is { key: key.clone(), expected: None },
    }
}

fn calls(op: &KvOp) -> Vec<Call> {
    let call = |name: &str, args: &[&Bytes]| {
        let args = args.iter().map(|arg| (*arg).clone()).collect();
        find(name.as_bytes()).and_then(|spec| Call::new(spec, args))
    };
    let none = Bytes::new();
    let calls = match op {
        KvOp::Get { key } => vec![call("GET", &[key])],
        KvOp::Put { key, value } => vec![call("SET", &[key, value])],
        KvOp::Append { key, suffix } => vec![call("APPEND", &[key, suffix]), call("GET", &[key])],
        KvOp::Delete { key } => vec![call("DEL", &[key])],
        KvOp::Add { key, amount } => vec![call("INCRBY", &[key, &amount.to_string().into()])],
        KvOp::CompareAndSet { key, expected, new } => {
            let (old, new) = (expected.as_ref().unwrap_or(&none), new.as_ref().unwrap_or(&none));
            vec![call("PANCHAYAT|CAS", &[key, old, new])]
        }
        KvOp::Mix { .. } => Vec::new(),
    };
    calls.into_iter().flatten().collect()
}

fn one(op: &KvOp, replies: &mut impl Iterator<Item = Reply>) -> Output {
    let mut next = || replies.next().unwrap_or(Reply::Null);
    let first = next();
    let second = if matches!(op, KvOp::Append { .. }) { next() } else { Reply::Null };
    if let Reply::Error(why) = first {
        return Output::Refused(why.into_owned());
    }
    match (op, first) {
        (KvOp::Get { .. }, reply) => Output::Value(value(reply)),
        (KvOp::Append { .. }, _) => Output::Value(value(second)),
        (KvOp::CompareAndSet { .. }, Reply::Array(parts)) => {
            let mut parts = parts.into_iter();
            let applied = parts.next() == Some(Reply::ONE);
            Output::Compared { applied, found: value(parts.next().unwrap_or(Reply::Null)) }
        }
        _ => Output::Done,
    }
}

fn value(reply: Reply) -> KvValue {
    match reply {
        Reply::Bulk(bytes) => Some(bytes),
        _ => None,
    }
}
