//! What a run with faults looked like over time, and how long it took to get over a loss.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::plan::Plan;
use crate::histogram::ms;
use crate::load::Failures;
use crate::trace::Trace;

/// The width of a bucket of the timeline.
pub(crate) const BUCKET: Duration = Duration::from_millis(100);

/// Shorter, and what comes before the first fault says nothing about what is normal.
const NORMAL_MIN: Duration = Duration::from_millis(500);

/// Commands are looked at by the second: 99 of 100 need a hundred.
const SECOND: Duration = Duration::from_secs(1);

/// How soon after a kill the other cities must be over it.
pub(crate) const RECOVERY_MAX: Duration = Duration::from_secs(3);

/// How soon after a kill commands must be answered again in the other cities, whoever led.
pub(crate) const SERVED_MAX: Duration = Duration::from_secs(2);

/// Above this many times its normal p99, a city is not over it.
pub(crate) const RECOVERED_FACTOR: f64 = 2.0;

/// The answers of one city in one bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// The city.
    pub site: String,
    /// How long the bucket is.
    pub bucket_ms: f64,
    /// Its beginning, after that of the measured window.
    pub at_ms: f64,
    /// Commands answered in it.
    pub commands: u64,
    /// Half of them took at most this long, from the proposal to the execution.
    pub p50_ms: Option<f64>,
    /// 99 of 100 took at most this long.
    pub p99_ms: Option<f64>,
}

/// The answers of one city between two moments at which a fault began or ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    /// The city.
    pub site: String,
    /// The first moment, after the beginning of the measured window.
    pub from_ms: f64,
    /// The second.
    pub to_ms: f64,
    /// Commands answered between them, by the second.
    pub commands_per_s: f64,
    /// Their mean, from the proposal to the execution.
    pub mean_ms: Option<f64>,
    /// Half of them took at most this long.
    pub p50_ms: Option<f64>,
    /// 99 of 100 took at most this long.
    pub p99_ms: Option<f64>,
}

/// A fault and what became of it. All times count from the beginning of the measured window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultReport {
    /// As it was asked for.
    pub fault: String,
    /// `kill`, `cut`, `slow` or `rush`.
    pub kind: String,
    /// The cities it names.
    pub sites: Vec<String>,
    /// When it was to begin.
    pub at_ms: f64,
    /// When it was to end; `null` for the end of the window, or for never if it is a kill.
    pub until_ms: Option<f64>,
    /// When it began.
    pub began_ms: Option<f64>,
    /// When it ended: the link was as before, or the replica was started.
    pub ended_ms: Option<f64>,
    /// What clients of a killed replica have no result of.
    pub failures: Option<Failures>,
    /// After a kill: how long the other cities took to get over it.
    pub recovery: Vec<Recovery>,
    /// After a kill: how long nothing was answered in the other cities.
    pub silence: Vec<Silence>,
}

/// How long a city took to get over the loss of another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// The city.
    pub site: String,
    /// 99 of 100 commands took at most this long before the first fault.
    pub normal_p99_ms: f64,
    /// How long after the kill the first second began in which 99 of 100 commands took at most
    /// twice as long, those included that waited when it began; `null` if there was none.
    pub after_ms: Option<f64>,
    /// The longest that a command took which waited at some time in the three seconds after the
    /// kill.
    pub slowest_ms: Option<f64>,
}

/// The longest time after a kill in which nothing was answered in another city.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// The city.
    pub site: String,
    /// When it began, after the kill.
    pub from_ms: f64,
    /// When it ended, after the kill; `null` if it lasted to the end of the window, or until the
    /// killed one was started again.
    pub to_ms: Option<f64>,
}

/// The timeline of all cities.
pub(crate) fn buckets(sites: &[String], traces: &[Trace], duration: Duration) -> Vec<Bucket> {
    let of = |(site, trace): (&String, &Trace)| {
        let buckets = trace.buckets(BUCKET, duration).into_iter().enumerate();
        let site = site.clone();
        buckets.map(move |(at, slice)| Bucket {
            site: site.clone(),
            bucket_ms: ms(BUCKET),
            at_ms: at as f64 * ms(BUCKET),
            commands: slice.count(),
            p50_ms: slice.ms_at(0.5),
            p99_ms: slice.ms_at(0.99),
        })
    };
    sites.iter().zip(traces).flat_map(of).collect()
}

/// The cities between the moments of `plan`.
pub(crate) fn stretches(
    plan: &Plan,
    sites: &[String],
    traces: &[Trace],
    duration: Duration,
) -> Vec<Stretch> {
    let mut moments: Vec<_> = plan.events.iter().map(|event| event.at).collect();
    moments.extend([Duration::ZERO, duration]);
    moments.sort();
    moments.dedup();
    let of = |(site, trace): (&String, &Trace)| {
        let between = moments.windows(2).map(|ends| {
            let slice = trace.answered(ends[0], ends[1]);
            Stretch {
                site: site.clone(),
                from_ms: ms(ends[0]),
                to_ms: ms(ends[1]),
                commands_per_s: slice.count() as f64 / (ends[1] - ends[0]).as_secs_f64(),
                mean_ms: slice.mean_ms(),
                p50_ms: slice.ms_at(0.5),
                p99_ms: slice.ms_at(0.99),
            }
        });
        between.collect::<Vec<_>>()
    };
    sites.iter().zip(traces).flat_map(of).collect()
}

/// For how long nothing was answered in the other cities after the kill that is fault number
/// `kill`, in the time it lasted.
pub(crate) fn silences(
    plan: &Plan,
    kill: usize,
    sites: &[String],
    traces: &[Trace],
    duration: Duration,
) -> Vec<Silence> {
    let fault = &plan.faults[kill];
    let (at, end) = (fault.from(), fault.to().unwrap_or(duration));
    let others = survivors(plan, kill, sites, traces);
    let silence = others.map(|(site, trace)| {
        let longest = trace.longest_silence(at, end);
        let to_ms = (longest.end < end).then(|| ms(longest.end - at));
        Silence { site: site.clone(), from_ms: ms(longest.start - at), to_ms }
    });
    silence.collect()
}

/// The cities that were alive at a kill and stayed so.
fn survivors<'a>(
    plan: &Plan,
    kill: usize,
    sites: &'a [String],
    traces: &'a [Trace],
) -> impl Iterator<Item = (&'a String, &'a Trace)> {
    let at = plan.faults[kill].from();
    let killed = move |site: &String| {
        let mut kills = plan.faults.iter().filter(|fault| matches!(fault, Fault::Kill { .. }));
        kills.any(|fault| fault.sites()[0] == *site && fault.to().is_none_or(|to| to > at))
    };
    sites.iter().zip(traces).filter(move |(site, _)| !killed(site))
}

/// How the other cities got over the kill that is fault number `kill`. Empty if there is nothing
/// normal to compare with.
pub(crate) fn recovery(
    plan: &Plan,
    kill: usize,
    sites: &[String],
    traces: &[Trace],
    duration: Duration,
) -> Vec<Recovery> {
    let at = plan.faults[kill].from();
    let first = plan.events.first().map_or(duration, |event| event.at);
    if first < NORMAL_MIN {
        return Vec::new();
    }
    survivors(plan, kill, sites, traces)
        .filter_map(|(site, trace)| {
            let normal_p99_ms = trace.answered(Duration::ZERO, first).ms_at(0.99)?;
            let limit_ms = normal_p99_ms * RECOVERED_FACTOR;
            let after_ms = recovered(trace, at, duration, limit_ms).map(ms);
            let slowest_ms = trace.waiting(at, at + RECOVERY_MAX).ms_at(1.0);
            Some(Recovery { site: site.clone(), normal_p99_ms, after_ms, slowest_ms })
        })
        .collect()
}

/// How long after `at` the first second begins in which 99 of 100 commands take `limit_ms` at
/// most. What already waits when the second begins counts too: clients that wait for the dead
/// propose nothing, and a second of waiting would look like one in which nothing was wrong.
fn recovered(trace: &Trace, at: Duration, duration: Duration, limit_ms: f64) -> Option<Duration> {
    let mut from = at;
    while from + SECOND <= duration {
        let p99_ms = trace.waiting(from, from + SECOND).ms_at(0.99);
        if p99_ms.is_some_and(|p99_ms| p99_ms <= limit_ms) {
            return Some(from - at);
        }
        from += BUCKET;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use panchayat::Durability;

    use super::*;
    use crate::load::Window;

    const END: Duration = Duration::from_secs(6);

    /// A command every 5 ms that takes 20 ms, but `slow` from when to when, in milliseconds.
    fn trace(window: &Window, slow: std::ops::Range<u64>) -> Trace {
        let mut trace = Trace::default();
        for began in (0..6000).step_by(5) {
            let took = if slow.contains(&began) && began % 50 == 0 { 900 } else { 20 };
            let at = |ms| window.begin + Duration::from_millis(ms);
            trace.record(window, at(began), at(began + took));
        }
        trace
    }

    fn plan(kills: &[&str], sites: &[String]) -> Plan {
        let kills: Vec<_> = kills.iter().map(|text| Fault::kill(text, sites).unwrap()).collect();
        Plan::new(&kills, sites, END, Durability::Os).unwrap()
    }

    #[test]
    fn recovery_ends_with_the_last_second_in_which_some_wait() {
        let sites = ["mumbai", "delhi", "bangalore"].map(str::to_owned);
        let window = Window { begin: Instant::now(), end: Instant::now() + END };
        let traces = [trace(&window, 2000..3500), Trace::default(), trace(&window, 2000..6000)];
        let found = recovery(&plan(&["delhi@2s"], &sites), 0, &sites, &traces, END);
        assert!(found.iter().all(|r| r.slowest_ms == Some(900.0)), "{found:?}");
        let figures: Vec<_> =
            found.iter().map(|r| (r.site.as_str(), r.normal_p99_ms, r.after_ms)).collect();
        // Of 204 commands that wait at some time of a second two may be slow, and the last two are
        // answered at 4.3 s and 4.35 s.
        assert_eq!(figures, [("mumbai", 20.0, Some(2300.0)), ("bangalore", 20.0, None)]);
        let early = recovery(&plan(&["delhi@100ms"], &sites), 0, &sites, &traces, END);
        assert!(early.is_empty(), "{early:?}");
        // Who is dead as well, or dies later, is not asked.
        let two = plan(&["delhi@2s", "mumbai@1s..3s"], &sites);
        let found = recovery(&two, 0, &sites, &traces, END);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn silence_is_the_longest_time_after_a_kill_without_an_answer() {
        let sites = ["mumbai", "delhi", "bangalore"].map(str::to_owned);
        let window = Window { begin: Instant::now(), end: Instant::now() + END };
        let at = |ms| window.begin + Duration::from_millis(ms);
        let answered = |moments: &[u64]| {
            let mut trace = Trace::default();
            moments.iter().for_each(|ms| trace.record(&window, at(*ms), at(*ms)));
            trace
        };
        let traces = [
            answered(&[100, 2100, 3300, 3500, 4400, 5900]),
            Trace::default(),
            answered(&[1900, 2050]),
        ];
        let found = silences(&plan(&["delhi@2s..5s"], &sites), 0, &sites, &traces, END);
        let figures: Vec<_> = found.iter().map(|s| (&*s.site, s.from_ms, s.to_ms)).collect();
        assert_eq!(figures, [("mumbai", 100.0, Some(1300.0)), ("bangalore", 50.0, None)]);
    }

    #[test]
    fn the_timeline_has_a_bucket_for_every_tenth_of_a_second_and_stretches_between_events() {
        let sites = ["mumbai", "delhi", "bangalore"].map(str::to_owned);
        let window = Window { begin: Instant::now(), end: Instant::now() + END };
        let traces = [trace(&window, 0..0), Trace::default(), trace(&window, 2000..3000)];
        let timeline = buckets(&sites, &traces, END);
        assert_eq!(timeline.len(), 3 * 60);
        assert_eq!((timeline[7].at_ms, timeline[7].commands), (700.0, 20));
        assert_eq!((timeline[60].site.as_str(), timeline[60].p99_ms), ("delhi", None));

        let plan = plan(&["delhi@2s..3s"], &sites);
        let stretches = stretches(&plan, &sites, &traces, END);
        let ends: Vec<_> = stretches.iter().map(|s| (s.from_ms, s.to_ms)).collect();
        assert_eq!(ends[..3], [(0.0, 2000.0), (2000.0, 3000.0), (3000.0, 6000.0)]);
        assert_eq!(stretches.len(), 9);
        assert!((stretches[0].commands_per_s - 198.0).abs() < 3.0, "{:?}", stretches[0]);
        assert_eq!((stretches[7].p50_ms, stretches[0].p99_ms), (Some(20.0), Some(20.0)));
    }
}
