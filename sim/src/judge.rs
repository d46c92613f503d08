//! Invariant 11. Client histories: registers are linearizable, transactions over lists strictly
//! serializable, and accounts hold what was paid in (`accounts`).
//!
//! Every value that clients write is unique and named for its operation, so histories are handed
//! to the checkers with numbers for values.

use bytes::Bytes;
use panchayat_core::kv::{Condition, KvCommand, KvOp, KvOutput, KvValue};
use rustc_hash::FxHashMap;

use crate::accounts;
use crate::client::{ClientEvent, ClientEventKind};
use crate::flaw::{Flaw, Invariant};
use crate::history::{
    Element, KeyedCall, Limits, ListAppendHistory, OpId, RegisterCall, RegisterHistory,
    RegisterResult, Transaction, TxnOp, Verdict, check_list_append, check_registers,
};

/// Operations of one command on lists come in at most this number.
const PLACES: u64 = 8;
/// What a search for an order of one register may cost.
const LIMITS: Limits = Limits { steps: 300_000, configurations: 50_000 };

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Operations on registers.
    pub register_operations: u64,
    /// Registers for which the search gave up.
    pub undecided_registers: u64,
    /// Transactions over lists, single operations included.
    pub list_transactions: u64,
    /// Balances and audits.
    pub account_reads: u64,
}

enum Call {
    Register(KeyedCall<Bytes, u64>),
    Lists(Transaction<Bytes>),
}

/// Judges what clients saw.
///
/// # Errors
/// An answer that no order of the operations explains.
pub fn judge(events: &[ClientEvent]) -> Result<Judged, Flaw> {
    let mut registers = RegisterHistory::<Bytes, u64>::new();
    let mut lists = ListAppendHistory::<Bytes>::new();
    let mut open: FxHashMap<u64, (OpId, &KvCommand)> = FxHashMap::default();
    for event in events {
        let process = u64::from(event.process);
        match &event.kind {
            ClientEventKind::Invoke(command) => {
                let id = match call(command) {
                    Some(Call::Register(call)) => registers.invoke(process, event.at_us, call),
                    Some(Call::Lists(ops)) => lists.invoke(process, event.at_us, ops),
                    None => continue,
                };
                open.insert(event.op, (id, command));
            }
            ClientEventKind::Return(output) => {
                let Some((id, command)) = open.remove(&event.op) else { continue };
                if is_list(command) {
                    lists.returned(id, event.at_us, read_lists(output)?);
                } else {
                    registers.returned(id, event.at_us, register_result(command, output)?);
                }
            }
            ClientEventKind::NotApplied(_) | ClientEventKind::Refused(_) => {
                let Some((id, command)) = open.remove(&event.op) else { continue };
                if is_list(command) { lists.failed(id) } else { registers.failed(id) }
            }
            ClientEventKind::Unknown => {}
        }
    }
    let report = check_registers(&registers, LIMITS);
    if report.verdict() == Verdict::Violated {
        let text = report.violations.iter().map(|v| v.text.as_str()).collect::<Vec<_>>().join("\n");
        return Err(Flaw::general(Invariant::Linearizable, text));
    }
    let found = check_list_append(&lists);
    if !found.is_strictly_serializable() {
        let texts: Vec<_> = found.anomalies.iter().map(|anomaly| anomaly.text.as_str()).collect();
        return Err(Flaw::general(Invariant::StrictlySerializable, texts.join("\n")));
    }
    let account_reads = accounts::judge(events)?;
    Ok(Judged {
        account_reads,
        register_operations: registers.len() as u64,
        undecided_registers: report.undecided.len() as u64,
        list_transactions: lists.len() as u64,
    })
}

fn is_list(command: &KvCommand) -> bool {
    matches!(call(command), Some(Call::Lists(_)))
}

fn call(command: &KvCommand) -> Option<Call> {
    let first = match command {
        KvCommand::One(op) => op.key(),
        KvCommand::Transaction { conditions, ops } => {
            conditions.first().map(Condition::key).or(ops.first().map(KvOp::key))?
        }
    };
    match first.first()? {
        b'l' => {
            let ops = match command {
                KvCommand::One(op) => std::slice::from_ref(op),
                KvCommand::Transaction { ops, .. } => ops,
            };
            Some(Call::Lists(ops.iter().flat_map(list_ops).collect()))
        }
        b'r' => {
            let key = first.clone();
            register_call(command).map(|call| Call::Register(KeyedCall { key, call }))
        }
        _ => None,
    }
}

/// An append tells the whole list it left behind: it is a read as well.
fn list_ops(op: &KvOp) -> Vec<TxnOp<Bytes>> {
    let key = op.key().clone();
    match op {
        KvOp::Append { suffix, .. } => match element(suffix) {
            Some(element) => vec![TxnOp::Append { key: key.clone(), element }, TxnOp::Read { key }],
            None => Vec::new(),
        },
        _ => vec![TxnOp::Read { key }],
    }
}

fn register_call(command: &KvCommand) -> Option<RegisterCall<u64>> {
    Some(match command {
        KvCommand::One(KvOp::Get { .. }) => RegisterCall::Read,
        KvCommand::One(KvOp::Put { value, .. }) => RegisterCall::Write(number(value)),
        KvCommand::One(KvOp::Delete { .. }) => RegisterCall::Delete,
        KvCommand::One(KvOp::CompareAndSet { expected, new, .. }) => {
            RegisterCall::CompareAndSet { expected: numbered(expected), new: numbered(new) }
        }
        KvCommand::Transaction { conditions, ops } => {
            let KvOp::Put { value, .. } = ops.first()? else { return None };
            let Condition::Is { expected, .. } = conditions.first()? else { return None };
            let expected = numbered(expected);
            RegisterCall::CompareAndSet { expected, new: Some(number(value)) }
        }
        KvCommand::One(_) => return None,
    })
}

fn register_result(command: &KvCommand, output: &KvOutput) -> Result<RegisterResult<u64>, Flaw> {
    Ok(match output {
        KvOutput::Value(value) => RegisterResult::Value(numbered(value)),
        KvOutput::Done => RegisterResult::Done,
        KvOutput::Compared { applied, found } => {
            RegisterResult::Compared { applied: *applied, found: numbered(found) }
        }
        KvOutput::Committed(_) => RegisterResult::Swapped(true),
        KvOutput::ConditionFailed { found, .. } => {
            RegisterResult::Compared { applied: false, found: numbered(found) }
        }
        KvOutput::TooLarge => {
            let text = format!("{command:?} was answered with {output:?}");
            return Err(Flaw::general(Invariant::Linearizable, text));
        }
    })
}

fn read_lists(output: &KvOutput) -> Result<Vec<Vec<Element>>, Flaw> {
    match output {
        KvOutput::Value(None) => Ok(vec![Vec::new()]),
        KvOutput::Value(Some(list)) => match elements(list) {
            Some(list) => Ok(vec![list]),
            None => {
                let text = format!("a list holds what was never appended: {list:?}");
                Err(Flaw::general(Invariant::StrictlySerializable, text))
            }
        },
        KvOutput::Committed(outputs) => {
            let mut lists = Vec::with_capacity(outputs.len());
            for output in outputs {
                lists.append(&mut read_lists(output)?);
            }
            Ok(lists)
        }
        other => {
            let text = format!("a command on lists was answered with {other:?}");
            Err(Flaw::general(Invariant::StrictlySerializable, text))
        }
    }
}

/// `o12.3;o15.0;`: the elements appended by operation 12 in third place and by 15 in first.
fn elements(list: &[u8]) -> Option<Vec<Element>> {
    let text = std::str::from_utf8(list).ok()?.strip_suffix(';')?;
    text.split(';').map(|one| element(format!("{one};").as_bytes())).collect()
}

fn element(suffix: &[u8]) -> Option<Element> {
    let text = std::str::from_utf8(suffix).ok()?;
    let (op, place) = text.strip_prefix('o')?.strip_suffix(';')?.split_once('.')?;
    let (op, place): (u64, u64) = (op.parse().ok()?, place.parse().ok()?);
    (place < PLACES).then_some(op * PLACES + place)
}

fn numbered(value: &KvValue) -> Option<u64> {
    value.as_ref().map(|value| number(value))
}

/// `o12....`: the value written by operation 12. Anything else was never written.
fn number(value: &[u8]) -> u64 {
    let digits = value.strip_prefix(b"o").unwrap_or_default();
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    let text = std::str::from_utf8(&digits[..end]).unwrap_or_default();
    text.parse().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_consensus::ReplicaId;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn event(at_us: u64, process: u32, op: u64, kind: ClientEventKind) -> ClientEvent {
        ClientEvent { at_us, process, op, replica: ReplicaId(0), kind }
    }

    fn operation(
        op: u64,
        (from, to): (u64, u64),
        command: KvCommand,
        output: KvOutput,
    ) -> [ClientEvent; 2] {
        [
            event(from, op as u32, op, ClientEventKind::Invoke(command)),
            event(to, op as u32, op, ClientEventKind::Return(output)),
        ]
    }

    fn put(value: &'static str) -> KvCommand {
        KvCommand::One(KvOp::Put { key: bytes("r1"), value: bytes(value) })
    }

    fn get(key: &'static str) -> KvCommand {
        KvCommand::One(KvOp::Get { key: bytes(key) })
    }

    #[test]
    fn a_stale_read_is_found_and_a_concurrent_one_is_not() {
        let write = operation(1, (0, 10), put("o1.."), KvOutput::Done);
        let stale = operation(2, (20, 30), get("r1"), KvOutput::Value(None));
        let concurrent = operation(3, (5, 30), get("r1"), KvOutput::Value(None));
        let history: Vec<_> = write.iter().chain(&stale).cloned().collect();
        assert_eq!(judge(&history).unwrap_err().invariant, Invariant::Linearizable);
        let history = [&write[0], &concurrent[0], &write[1], &concurrent[1]].map(Clone::clone);
        assert_eq!(judge(&history).unwrap().register_operations, 2);
    }

    #[test]
    fn a_lost_append_is_found() {
        let append = |op: u64, name: &'static str, at, seen: &'static str| {
            let command = KvCommand::One(KvOp::Append { key: bytes("l1"), suffix: bytes(name) });
            operation(op, at, command, KvOutput::Value(Some(bytes(seen))))
        };
        let first = append(1, "o1.0;", (0, 10), "o1.0;");
        let second = append(2, "o2.0;", (20, 30), "o1.0;o2.0;");
        let lost = append(3, "o3.0;", (40, 50), "o1.0;o3.0;");
        let good: Vec<_> = first.iter().chain(&second).cloned().collect();
        assert_eq!(judge(&good).unwrap().list_transactions, 2);
        let bad: Vec<_> = good.iter().chain(&lost).cloned().collect();
        assert_eq!(judge(&bad).unwrap_err().invariant, Invariant::StrictlySerializable);
    }

    #[test]
    fn an_unknown_write_may_or_may_not_have_happened() {
        let lost = [
            event(0, 1, 1, ClientEventKind::Invoke(put("o1"))),
            event(5, 1, 1, ClientEventKind::Unknown),
        ];
        for seen in [None, Some(bytes("o1"))] {
            let read = operation(2, (10, 20), get("r1"), KvOutput::Value(seen));
            judge(&lost.iter().chain(&read).cloned().collect::<Vec<_>>()).unwrap();
        }
    }
}
