//! Keys that expired and that nobody asks for: found here, removed by commands.
//!
//! Every replica sweeps its own state. So that they do not all propose the same, each waits longer
//! after a key is due the higher its seat is; the first one's commands leave the others nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use panchayat::{ReadLevel, Span, WallTime};

use super::service::{Service, WorkloadHandle, wall_now};
use crate::redis::{Answer, Batch, Call, Outcome, Query, Reply, find};

/// How often a replica looks for keys that are due.
const INTERVAL: Duration = Duration::from_millis(500);
/// How much longer than the one before a replica waits.
const TURN: Duration = Duration::from_secs(2);
/// Most keys of one command.
const KEYS_MAX: usize = 128;

/// Sweeps for ever.
pub(super) async fn sweep(service: Arc<Service>) {
    let patience = Duration::from_millis(500) + TURN * service.seat() as u32;
    loop {
        tokio::time::sleep(INTERVAL).await;
        count(&service).await;
        if service.health.is_cut_off() {
            continue;
        }
        let before = WallTime(wall_now().0.saturating_sub(patience.as_micros() as u64));
        for workload in &service.workloads {
            while sweep_once(workload, before).await == KEYS_MAX {}
        }
    }
}

/// Counts keys, for `INFO`.
async fn count(service: &Service) {
    let mut counts = [0, 0];
    for workload in &service.workloads {
        let Some(Reply::Array(counted)) =
            look(workload, b"PANCHAYAT|KEYSPACE", Vec::new(), wall_now()).await
        else {
            return;
        };
        for (count, counted) in counts.iter_mut().zip(counted) {
            if let Reply::Integer(counted) = counted {
                *count += counted as u64;
            }
        }
    }
    service.set_keyspace(counts);
}

/// The reply to a command that only this server gives itself, from the state as it is here.
async fn look(
    workload: &WorkloadHandle,
    name: &[u8],
    args: Vec<Bytes>,
    now: WallTime,
) -> Option<Reply> {
    let call = Call::new(find(name)?, args)?;
    let batch = Batch { guards: Vec::new(), calls: vec![call] };
    let query = Query { now, loose: true, batch };
    let reading = workload.store.read(query, ReadLevel::Stale { max: Span::MAX }).await.ok()?;
    match reading.answer {
        Answer::Told(Outcome::Done(mut replies)) => replies.pop(),
        _ => None,
    }
}

/// Removes keys of a workload that were due at `before`; how many were found.
async fn sweep_once(workload: &WorkloadHandle, before: WallTime) -> usize {
    let most = vec![KEYS_MAX.to_string().into()];
    let Some(Reply::Array(found)) = look(workload, b"PANCHAYAT|DUE", most, before).await else {
        return 0;
    };
    let key = |reply: &Reply| match reply {
        Reply::Bulk(key) => Some(key.clone()),
        _ => None,
    };
    let keys: Vec<_> = found.iter().filter_map(key).collect();
    let count = keys.len();
    // Any command that names a key removes it if it is due by the time agreed on.
    let Some(touch) = find(b"TOUCH").and_then(|spec| Call::new(spec, keys)) else { return 0 };
    let batch = Batch { guards: Vec::new(), calls: vec![touch] };
    match workload.store.propose(&batch).await {
        Ok(_) => count,
        // Whoever sweeps next finds them again.
        Err(_) => 0,
    }
}
