//! Invariant 11, for accounts: numbers that are only ever added to. Deposits commute, transfers
//! move what is there from one account to another, and audits read all accounts at once.
//!
//! Commands that commute leave no trace of their order, so what an answer may say is a range: it
//! holds every change that was answered before it was asked for, and none that was asked for after
//! it came. Money is neither made nor lost, and nobody owes any.

use bytes::Bytes;
use panchayat_core::kv::{Condition, KvCommand, KvOp, KvOutput, KvValue};
use rustc_hash::FxHashMap;

use crate::client::{ClientEvent, ClientEventKind};
use crate::flaw::{Flaw, Invariant};
use crate::rng::Rng;

/// What the keys of accounts begin with.
const PREFIX: u8 = b'c';

/// Draws a command on `accounts` accounts.
pub(crate) fn draw(accounts: u64, rng: &mut Rng) -> KvCommand {
    let of = rng.below(accounts);
    let amount = rng.between(1, 3) as i64;
    match rng.below(10) {
        0..=3 => KvCommand::One(KvOp::Add { key: key(of), amount }),
        4..=6 if accounts > 1 => {
            let (from, to) = (key(of), key((of + rng.between(1, accounts - 1)) % accounts));
            KvCommand::Transaction {
                conditions: vec![Condition::AtLeast { key: from.clone(), least: amount }],
                ops: vec![KvOp::Add { key: from, amount: -amount }, KvOp::Add { key: to, amount }],
            }
        }
        4..=7 => KvCommand::One(KvOp::Get { key: key(of) }),
        _ => {
            let ops = (0..accounts).map(|account| KvOp::Get { key: key(account) }).collect();
            KvCommand::Transaction { conditions: Vec::new(), ops }
        }
    }
}

fn key(account: u64) -> Bytes {
    Bytes::from(format!("{}{account}", char::from(PREFIX)))
}

/// A deposit or a transfer.
struct Change {
    by: Vec<(Bytes, i64)>,
    invoked: usize,
    /// When it was answered, if it was.
    returned: Option<usize>,
    /// It had no effect.
    void: bool,
}

/// A balance or an audit that was answered.
struct Look {
    at: Vec<(Bytes, i64)>,
    invoked: usize,
    returned: usize,
}

/// Judges what clients saw of accounts. Gives the number of reads judged.
///
/// # Errors
/// An answer that no order of the operations explains.
pub(crate) fn judge(events: &[ClientEvent]) -> Result<u64, Flaw> {
    let mut changes: Vec<Change> = Vec::new();
    let mut looks: Vec<Look> = Vec::new();
    let mut open: FxHashMap<u64, (usize, Option<usize>, &KvCommand)> = FxHashMap::default();
    for (now, event) in events.iter().enumerate() {
        match &event.kind {
            ClientEventKind::Invoke(command) if is_on_accounts(command) => {
                let by = changed_by(command);
                let change = (!by.is_empty()).then_some(changes.len());
                if change.is_some() {
                    changes.push(Change { by, invoked: now, returned: None, void: false });
                }
                open.insert(event.op, (now, change, command));
            }
            ClientEventKind::Return(output) => {
                let Some((invoked, change, command)) = open.remove(&event.op) else { continue };
                match change {
                    Some(change) => {
                        changes[change].returned = Some(now);
                        changes[change].void = matches!(output, KvOutput::ConditionFailed { .. });
                    }
                    None => {
                        let at = seen(command, output)?;
                        looks.push(Look { at, invoked, returned: now });
                    }
                }
            }
            ClientEventKind::NotApplied(_) | ClientEventKind::Refused(_) => {
                if let Some((_, Some(change), _)) = open.remove(&event.op) {
                    changes[change].void = true;
                }
            }
            ClientEventKind::Invoke(_) | ClientEventKind::Unknown => {}
        }
    }
    changes.retain(|change| !change.void);
    for look in &looks {
        let problem = look.at.iter().find_map(|(account, balance)| {
            let of_account = |change: &Change| {
                let by = change.by.iter().filter(|(key, _)| key == account);
                by.map(|(_, amount)| *amount).sum()
            };
            let (low, high) = range(&changes, look, of_account);
            let possible = (low.max(0)..=high).contains(balance);
            (!possible).then(|| format!("{account:?} holds {balance}, not {low} to {high}"))
        });
        if let Some(text) = problem {
            return Err(Flaw::general(Invariant::StrictlySerializable, text));
        }
    }
    check_totals(&changes, &looks)?;
    Ok(looks.len() as u64)
}

/// Deposits are all that changes a total, and only ever raise it.
fn check_totals(changes: &[Change], looks: &[Look]) -> Result<(), Flaw> {
    let mut audits: Vec<(&Look, i64)> = Vec::new();
    for look in looks.iter().filter(|look| look.at.len() > 1) {
        let total: i64 = look.at.iter().map(|(_, balance)| balance).sum();
        let of_all = |change: &Change| change.by.iter().map(|(_, amount)| *amount).sum();
        let (low, high) = range(changes, look, of_all);
        let before = audits.iter().filter(|(other, _)| other.returned < look.invoked);
        let after = audits.iter().filter(|(other, _)| look.returned < other.invoked);
        let low = before.map(|(_, total)| *total).fold(low, i64::max);
        let high = after.map(|(_, total)| *total).fold(high, i64::min);
        if !(low..=high).contains(&total) {
            let text = format!("all accounts together hold {total}, not {low} to {high}");
            return Err(Flaw::general(Invariant::StrictlySerializable, text));
        }
        audits.push((look, total));
    }
    Ok(())
}

/// The least and the most that a look can have found, if `amount` is what a change changes of it.
fn range(changes: &[Change], look: &Look, amount: impl Fn(&Change) -> i64) -> (i64, i64) {
    let (mut low, mut high) = (0, 0);
    for change in changes.iter().filter(|change| change.invoked < look.returned) {
        let amount = amount(change);
        let certain = change.returned.is_some_and(|returned| returned < look.invoked);
        low += if certain { amount } else { amount.min(0) };
        high += if certain { amount } else { amount.max(0) };
    }
    (low, high)
}

fn is_on_accounts(command: &KvCommand) -> bool {
    let first = match command {
        KvCommand::One(op) => Some(op),
        KvCommand::Transaction { ops, .. } => ops.first(),
    };
    first.is_some_and(|op| op.key().first() == Some(&PREFIX))
}

fn changed_by(command: &KvCommand) -> Vec<(Bytes, i64)> {
    let ops = match command {
        KvCommand::One(op) => std::slice::from_ref(op),
        KvCommand::Transaction { ops, .. } => ops,
    };
    let change = |op: &KvOp| match op {
        KvOp::Add { key, amount } => Some((key.clone(), *amount)),
        _ => None,
    };
    ops.iter().filter_map(change).collect()
}

/// The balances that a read was answered with.
fn seen(command: &KvCommand, output: &KvOutput) -> Result<Vec<(Bytes, i64)>, Flaw> {
    let (ops, outputs) = match (command, output) {
        (KvCommand::One(op), output) => (std::slice::from_ref(op), std::slice::from_ref(output)),
        (KvCommand::Transaction { ops, .. }, KvOutput::Committed(outputs)) => {
            (&ops[..], &outputs[..])
        }
        _ => (&[][..], &[][..]),
    };
    let balance = |(op, output): (&KvOp, &KvOutput)| match output {
        KvOutput::Value(value) => Some((op.key().clone(), number(value)?)),
        _ => None,
    };
    let balances: Option<Vec<_>> = ops.iter().zip(outputs).map(balance).collect();
    balances.filter(|balances| !balances.is_empty()).ok_or_else(|| {
        let text = format!("{command:?} was answered with {output:?}");
        Flaw::general(Invariant::StrictlySerializable, text)
    })
}

fn number(value: &KvValue) -> Option<i64> {
    match value {
        None => Some(0),
        Some(value) => std::str::from_utf8(value).ok()?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use panchayat_consensus::{NotApplied, ReplicaId};

    use super::*;

    /// Operations, each from one moment to another; unanswered with no output.
    fn judged(operations: &[((u64, u64), KvCommand, Option<KvOutput>)]) -> Result<u64, Flaw> {
        let mut events = Vec::new();
        for (op, ((from, to), command, output)) in (1..).zip(operations) {
            let event = |at_us, kind| {
                let (process, replica) = (op as u32, ReplicaId(0));
                ClientEvent { at_us, process, op, replica, kind }
            };
            events.push(event(*from, ClientEventKind::Invoke(command.clone())));
            if let Some(output) = output {
                events.push(event(*to, ClientEventKind::Return(output.clone())));
            }
        }
        events.sort_by_key(|event| event.at_us);
        judge(&events)
    }

    fn add(account: u64, amount: i64) -> KvCommand {
        KvCommand::One(KvOp::Add { key: key(account), amount })
    }

    fn transfer(amount: i64) -> KvCommand {
        let conditions = vec![Condition::AtLeast { key: key(0), least: amount }];
        let ops =
            vec![KvOp::Add { key: key(0), amount: -amount }, KvOp::Add { key: key(1), amount }];
        KvCommand::Transaction { conditions, ops }
    }

    fn audit() -> KvCommand {
        let ops = vec![KvOp::Get { key: key(0) }, KvOp::Get { key: key(1) }];
        KvCommand::Transaction { conditions: Vec::new(), ops }
    }

    fn balances(first: i64, second: i64) -> Option<KvOutput> {
        let value = |n: i64| KvOutput::Value(Some(n.to_string().into()));
        Some(KvOutput::Committed(vec![value(first), value(second)]))
    }

    fn moved() -> Option<KvOutput> {
        Some(KvOutput::Committed(vec![KvOutput::Done, KvOutput::Done]))
    }

    #[test]
    fn an_audit_holds_what_was_answered_and_may_hold_what_is_under_way() {
        let deposit = ((0, 10), add(0, 5), Some(KvOutput::Done));
        let moves = ((20, 30), transfer(2), moved());
        let look = |answer| ((40, 50), audit(), answer);
        assert_eq!(judged(&[deposit.clone(), moves.clone(), look(balances(3, 2))]).unwrap(), 1);
        for (wrong, what) in [
            (balances(5, 0), "a lost transfer"),
            (balances(1, 4), "a transfer twice"),
            (balances(5, 2), "money made"),
            (balances(3, 0), "money lost"),
        ] {
            let found = judged(&[deposit.clone(), moves.clone(), look(wrong)]);
            assert_eq!(found.unwrap_err().invariant, Invariant::StrictlySerializable, "{what}");
        }
        let open = ((20, 99), transfer(2), None);
        for answer in [balances(5, 0), balances(3, 2)] {
            judged(&[deposit.clone(), open.clone(), look(answer)]).unwrap();
        }
        judged(&[deposit, open, look(balances(5, 2))]).unwrap_err();
    }

    #[test]
    fn totals_never_fall() {
        let deposit = ((0, 99), add(0, 5), None);
        let look = |at, answer| (at, audit(), answer);
        let (none, some) = (balances(0, 0), balances(5, 0));
        let falls = [deposit.clone(), look((10, 20), some.clone()), look((30, 40), none.clone())];
        judged(&falls).unwrap_err();
        let beside = [deposit.clone(), look((10, 35), some.clone()), look((30, 40), none.clone())];
        judged(&beside).unwrap();
        judged(&[deposit, look((10, 20), none), look((30, 40), some)]).unwrap();
    }

    #[test]
    fn nobody_owes_and_what_was_refused_did_nothing() {
        let overdraft = ((20, 30), transfer(2), moved());
        judged(&[overdraft, ((40, 50), audit(), balances(-2, 2))]).unwrap_err();
        let failed = KvOutput::ConditionFailed { index: 0, found: None };
        let refused = ((20, 30), transfer(2), Some(failed));
        judged(&[refused, ((40, 50), audit(), balances(0, 2))]).unwrap_err();
        let event = |at_us, op, kind| ClientEvent {
            at_us,
            process: op as u32,
            op,
            replica: ReplicaId(0),
            kind,
        };
        let never = [
            event(0, 1, ClientEventKind::Invoke(add(0, 5))),
            event(1, 1, ClientEventKind::NotApplied(NotApplied::Overloaded)),
            event(2, 2, ClientEventKind::Invoke(audit())),
            event(3, 2, ClientEventKind::Return(balances(5, 0).unwrap())),
        ];
        judge(&never).unwrap_err();
    }

    #[test]
    fn every_kind_of_command_is_drawn() {
        let mut rng = Rng::new(1, "accounts");
        let drawn: Vec<KvCommand> = (0..200).map(|_| draw(3, &mut rng)).collect();
        assert!(drawn.iter().all(is_on_accounts));
        let changes = drawn.iter().filter(|command| !changed_by(command).is_empty()).count();
        assert!((100..180).contains(&changes), "{changes} changes");
        assert!((0..50).all(|_| is_on_accounts(&draw(1, &mut rng))));
    }
}
