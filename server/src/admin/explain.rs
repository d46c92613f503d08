//! The answer to `/explain`: what a key or an instance waits for, and who holds it up.

use std::time::Duration;

use panchayat::account::{Account, Subject, Waiting};
use panchayat::{InstanceId, KeyHash, ReplicaId};

use super::observed::Observed;
use super::status::{Explained, Explanation, Wait};

/// A replica's thread that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(2);
/// What an instance is called where there is one log.
const ONE_LOG: &str = "slot";

/// What the query of a request asks for: `key=KEY` or `instance=CITY/SLOT`, percent-encoded.
pub(super) async fn explain(observed: &Observed, query: &str) -> Result<Explanation, String> {
    const USAGE: &str = "ask for ?key=KEY or ?instance=CITY/SLOT or ?instance=slot/SLOT";
    let (name, value) = query.split_once('=').ok_or(USAGE)?;
    let value = decoded(value).ok_or("a `%` is followed by two hexadecimal digits")?;
    let service = &observed.service;
    let (subject, workloads) = match name {
        "key" => {
            let at = service.workload_of(&value);
            (Subject::Key(KeyHash::of(&value)), at..at + 1)
        }
        "instance" => {
            let text = String::from_utf8(value).map_err(|_| USAGE)?;
            (instance(observed, &text)?, 0..service.workloads.len())
        }
        _ => return Err(USAGE.to_owned()),
    };
    let mut explained = Vec::new();
    for at in workloads {
        let name = &service.workloads[at].name;
        let Some(account) = account(observed, at, subject).await else {
            return Err(format!("workload `{name}` does not answer"));
        };
        let ordered_by = service.workloads[at].store.group().await;
        let waits = account.waiting.iter().map(|waiting| told(observed, &account, waiting));
        explained.push(Explained {
            workload: name.clone(),
            protocol: ordered_by
                .map_or_else(String::new, |group| group.protocol.now().name().to_owned()),
            unexecuted: account.unexecuted,
            waits: waits.collect(),
        });
    }
    Ok(Explanation { city: service.name.clone(), explained })
}

/// What waits in the workload at a place.
pub(super) async fn account(observed: &Observed, at: usize, subject: Subject) -> Option<Account> {
    let asked = observed.service.workloads[at].store.account(subject);
    tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
}

/// A wait in words.
pub(super) fn told(observed: &Observed, account: &Account, waiting: &Waiting) -> Wait {
    let name = |id: &InstanceId| match account.lanes {
        true => format!("{}/{}", city(observed, id.replica), id.slot),
        false => format!("{ONE_LOG}/{}", id.slot),
    };
    Wait {
        instance: waiting.id.as_ref().map(name),
        stage: waiting.stage.name().to_owned(),
        for_ms: waiting.since.map(|since| since.as_ms_f64()),
        waits_on: waiting.waits_on.iter().map(name).collect(),
        held_by: waiting.held_by.map(|seat| city(observed, seat)),
        why: waiting.why.clone(),
    }
}

fn city(observed: &Observed, seat: ReplicaId) -> String {
    let cluster = observed.service.cluster();
    let member = cluster.members.get(seat.index());
    member.map_or_else(|| format!("seat {}", seat.0), |member| member.name.clone())
}

/// `CITY/SLOT` or `slot/SLOT`.
fn instance(observed: &Observed, text: &str) -> Result<Subject, String> {
    let (lane, slot) = text.rsplit_once('/').ok_or("an instance is CITY/SLOT or slot/SLOT")?;
    let slot = slot.parse::<u64>().ok().filter(|slot| *slot > 0);
    let slot = slot.ok_or("slots are numbers from 1")?;
    let replica = match observed.service.cluster().seat(lane) {
        Some(seat) => seat,
        None if lane == ONE_LOG => ReplicaId(0),
        None => return Err(format!("no city `{lane}` in this cluster")),
    };
    Ok(Subject::Instance(InstanceId::new(replica, slot)))
}

/// Percent-decodes a part of a query.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    Some(decoded)
}

/// Percent-encodes anything for a query.
pub(crate) fn encoded(bytes: &[u8]) -> String {
    let encode = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(*byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    bytes.iter().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_bytes_travel_in_a_query() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decoded(&encoded(&all)), Some(all));
        assert_eq!(encoded(b"a b/c"), "a%20b%2Fc");
        for broken in ["%", "%4", "%zz"] {
            assert_eq!(decoded(broken), None, "{broken}");
        }
    }
}
