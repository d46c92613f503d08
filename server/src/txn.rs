//! How transactions are written on the command line.

use std::str::FromStr;

use bytes::Bytes;
use panchayat::kv::{Condition, KvCommand, KvOp};

/// `KEY=VALUE`, split at the first `=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    key: Bytes,
    value: Bytes,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Op(KvOp);

/// The transaction that applies `ops` if every key of `equal` has its value and no key of
/// `absent` exists.
pub(crate) fn transaction(equal: Vec<Assignment>, absent: Vec<String>, ops: Vec<Op>) -> KvCommand {
    let equal = equal.into_iter().map(|Assignment { key, value }| (key, Some(value)));
    let absent = absent.into_iter().map(|key| (Bytes::from(key), None));
    let conditions = equal.chain(absent);
    KvCommand::Transaction {
        conditions: conditions.map(|(key, expected)| Condition::Is { key, expected }).collect(),
        ops: ops.into_iter().map(|Op(op)| op).collect(),
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some(("", _)) => Err("the key before `=` is empty".to_owned()),
            Some((key, value)) => Ok(Self { key: bytes(key), value: bytes(value) }),
            None => Err("KEY=VALUE was expected".to_owned()),
        }
    }
}

impl FromStr for Op {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((verb, rest)) = text.split_once(':') else {
            return Err(format!("an operation begins with {VERBS}"));
        };
        let key = || match rest {
            "" => Err(format!("{verb}:KEY was expected")),
            key => Ok(bytes(key)),
        };
        Ok(Self(match verb {
            "get" => KvOp::Get { key: key()? },
            "del" => KvOp::Delete { key: key()? },
            "put" => {
                let Assignment { key, value } = rest.parse()?;
                KvOp::Put { key, value }
            }
            "append" => {
                let Assignment { key, value: suffix } = rest.parse()?;
                KvOp::Append { key, suffix }
            }
            "add" => match rest.rsplit_once('=').map(|(key, by)| (key, by.parse())) {
                Some((key, Ok(amount))) if !key.is_empty() => KvOp::Add { key: bytes(key), amount },
                _ => return Err("add:KEY=NUMBER was expected".to_owned()),
            },
            "cas" => {
                let mut parts = rest.splitn(3, ':');
                match (parts.next(), parts.next(), parts.next()) {
                    (Some(key), Some(old), Some(new)) if !key.is_empty() => KvOp::CompareAndSet {
                        key: bytes(key),
                        expected: Some(bytes(old)),
                        new: Some(bytes(new)),
                    },
                    _ => return Err("cas:KEY:OLD:NEW was expected".to_owned()),
                }
            }
            _ => return Err(format!("`{verb}` is no operation; one begins with {VERBS}")),
        }))
    }
}

const VERBS: &str = "put:, get:, del:, append:, add: or cas:";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<KvOp, String> {
        text.parse::<Op>().map(|Op(op)| op)
    }

    #[test]
    fn operations_are_read_as_written() {
        let (key, value) = (bytes("k"), bytes("v"));
        for (text, op) in [
            ("get:k", KvOp::Get { key: key.clone() }),
            ("get:seat:12A", KvOp::Get { key: bytes("seat:12A") }),
            ("del:k", KvOp::Delete { key: key.clone() }),
            ("put:k=v", KvOp::Put { key: key.clone(), value: value.clone() }),
            ("put:k=", KvOp::Put { key: key.clone(), value: Bytes::new() }),
            ("put:k=a=b:c", KvOp::Put { key: key.clone(), value: bytes("a=b:c") }),
            ("put:seat:12A=v", KvOp::Put { key: bytes("seat:12A"), value: value.clone() }),
            ("add:k=-3", KvOp::Add { key: key.clone(), amount: -3 }),
            ("append:k=v", KvOp::Append { key: key.clone(), suffix: value.clone() }),
            (
                "cas:k:v:n:m",
                KvOp::CompareAndSet { key, expected: Some(value), new: Some(bytes("n:m")) },
            ),
        ] {
            assert_eq!(parse(text), Ok(op), "{text}");
        }
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        for (text, message) in [
            ("k=v", "an operation begins with put:, get:, del:, append:, add: or cas:"),
            (
                "set:k=v",
                "`set` is no operation; one begins with put:, get:, del:, append:, add: or cas:",
            ),
            ("put:k", "KEY=VALUE was expected"),
            ("put:=v", "the key before `=` is empty"),
            ("get:", "get:KEY was expected"),
            ("add:k=v", "add:KEY=NUMBER was expected"),
            ("add:=1", "add:KEY=NUMBER was expected"),
            ("cas:k:v", "cas:KEY:OLD:NEW was expected"),
            ("cas::v:w", "cas:KEY:OLD:NEW was expected"),
        ] {
            assert_eq!(parse(text), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn conditions_keep_their_order() {
        let equal = vec!["a=1".parse().unwrap(), "b=".parse().unwrap()];
        let command = transaction(equal, vec!["c".to_owned()], vec!["get:a".parse().unwrap()]);
        let KvCommand::Transaction { conditions, ops } = command else { panic!() };
        let is = |key, expected| Condition::Is { key: bytes(key), expected };
        let expected = [is("a", Some(bytes("1"))), is("b", Some(bytes(""))), is("c", None)];
        assert_eq!((conditions, ops.len()), (expected.to_vec(), 1));
    }
}
