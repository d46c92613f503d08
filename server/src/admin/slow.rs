//! What makes commands slower than they need to be, in words.

use super::status::{Member, Workload};

/// A link may take so many times the round trip that the topology expects, and so much more.
const RTT_FACTOR: f64 = 1.5;
const RTT_SLACK_MS: f64 = 5.0;
/// A command may wait so many of the longest round trips, and so much more, before it is told.
const WAIT_FACTOR: f64 = 4.0;
const WAIT_SLACK_MS: f64 = 100.0;
/// Syncs that take longer are felt beside the round trips.
const SYNC_P99_MS: f64 = 20.0;
/// From this share of second rounds on.
const SECOND_ROUNDS: f64 = 0.2;

/// Everything that is known to be slow.
pub(super) fn reasons(members: &[Member], workloads: &[Workload], sync_p99_ms: f64) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut longest: f64 = 0.0;
    for member in members.iter().filter(|member| !member.this) {
        longest = longest.max(member.expected_rtt_ms);
        let city = &member.city;
        let most = member.expected_rtt_ms * RTT_FACTOR + RTT_SLACK_MS;
        match member.rtt_ms.filter(|rtt| *rtt > most) {
            _ if !member.up => reasons.push(format!("{city} is out of reach")),
            _ if member.suspected => reasons.push(format!("{city} has been silent for too long")),
            Some(rtt) => reasons.push(format!(
                "the link to {city} takes {rtt:.0} ms, {:.0} ms are expected",
                member.expected_rtt_ms
            )),
            None => {}
        }
    }
    if sync_p99_ms > SYNC_P99_MS {
        reasons.push(format!("the disk takes {sync_p99_ms:.0} ms for a sync (p99)"));
    }
    for workload in workloads {
        let name = match &workload.name[..] {
            "" => String::new(),
            name => format!("{name}: "),
        };
        if workload.protocol != "epaxos" && workload.leader.is_none() {
            reasons.push(format!("{name}nobody is known to lead"));
        }
        let second = workload.recent.fast_path_rate.map_or(0.0, |fast| 1.0 - fast);
        if second >= SECOND_ROUNDS {
            let percent = second * 100.0;
            reasons.push(format!("{name}{percent:.0} % of the commands take a second round"));
        }
        let most = longest * WAIT_FACTOR + WAIT_SLACK_MS;
        let oldest = workload.waits.iter().find(|wait| wait.for_ms.is_some_and(|ms| ms > most));
        if let Some(wait) = oldest {
            let what = wait.instance.as_deref().unwrap_or("a command");
            let holder = wait.held_by.as_deref().map(|city| format!(", held up by {city}"));
            reasons.push(format!(
                "{name}{what} has waited for {:.0} ms{}: {}",
                wait.for_ms.unwrap_or_default(),
                holder.unwrap_or_default(),
                wait.why
            ));
        }
    }
    reasons
}
