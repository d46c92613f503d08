//! What looks at all keys, in all workloads: `KEYS`, `SCAN`, `DBSIZE`, `RANDOMKEY`; and what removes
//! them all.
//!
//! The readers are answered from the state of this replica alone, which is what its clients have
//! seen or newer; another city may know of keys that are not here yet. Flushing is a command of each
//! workload, one after the other: it is atomic within one.

use panchayat::{ReadLevel, Span};

use super::pending::begin;
use super::service::Service;
use super::session::{Changes, Session, Steps};
use super::transaction::settle;
use crate::redis::{Batch, CURSOR_BITS, Call, Outcome, Reply};

/// What to do about a call that looks at all keys.
pub(super) fn steps(session: &Session, call: Call) -> Steps {
    let service = session.service.clone();
    Box::pin(async move {
        let reply = match call.as_asked().0 {
            "SCAN" => scan(&service, call).await,
            "FLUSHDB" | "FLUSHALL" => flush(&service, call).await,
            name => merged(&service, name, call).await,
        };
        (reply.unwrap_or_else(|error| error), Changes::default())
    })
}

/// The reply of one workload.
async fn ask(service: &Service, workload: usize, call: Call) -> Result<Reply, Reply> {
    let level = ReadLevel::Stale { max: Span::MAX };
    let batch = Batch { guards: Vec::new(), calls: vec![call] };
    let work = begin(service, workload, batch, level)?;
    match settle(service, work).await? {
        Outcome::Done(mut replies) => match replies.pop() {
            Some(error) if error.is_error() => Err(error),
            Some(reply) => Ok(reply),
            None => Err(Reply::error("ERR no reply")),
        },
        Outcome::Refused { .. } => Err(Reply::error("ERR no reply")),
    }
}

/// The replies of all workloads as one.
async fn merged(service: &Service, name: &str, call: Call) -> Result<Reply, Reply> {
    let mut sum = match name {
        "KEYS" => Reply::Array(Vec::new()),
        "DBSIZE" => Reply::ZERO,
        _ => Reply::Null,
    };
    for workload in 0..service.workloads.len() {
        let reply = ask(service, workload, call.clone()).await?;
        match (&mut sum, reply) {
            (Reply::Array(all), Reply::Array(some)) => all.extend(some),
            (Reply::Integer(all), Reply::Integer(some)) => *all += some,
            // A key from the first workload that has one.
            (Reply::Null, some) => sum = some,
            _ => {}
        }
    }
    Ok(sum)
}

async fn flush(service: &Service, call: Call) -> Result<Reply, Reply> {
    for workload in 0..service.workloads.len() {
        ask(service, workload, call.clone()).await?;
    }
    Ok(Reply::OK)
}

/// One workload after the other: a cursor says in which one it is, above its place there.
async fn scan(service: &Service, mut call: Call) -> Result<Reply, Reply> {
    let at = call.as_asked().1;
    let text =
        call.args.get(at).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
    let cursor: u64 = text.parse().map_err(|_| Reply::error("ERR invalid cursor"))?;
    let workload = (cursor >> CURSOR_BITS) as usize;
    if workload >= service.workloads.len() {
        return Ok(Reply::Array(vec![Reply::bulk("0"), Reply::Array(Vec::new())]));
    }
    call.args[at] = (cursor & ((1 << CURSOR_BITS) - 1)).to_string().into();
    let reply = ask(service, workload, call).await?;
    let Reply::Array(mut parts) = reply else { return Ok(reply) };
    if let Some(Reply::Bulk(next)) = parts.first_mut() {
        let place: u64 = std::str::from_utf8(next).ok().and_then(|t| t.parse().ok()).unwrap_or(0);
        let last = workload + 1 == service.workloads.len();
        let next_cursor = match place {
            0 if last => 0,
            0 => (workload as u64 + 1) << CURSOR_BITS,
            place => (workload as u64) << CURSOR_BITS | place,
        };
        *next = next_cursor.to_string().into();
    }
    Ok(Reply::Array(parts))
}
