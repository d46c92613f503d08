//! What this process cost the machine: processor time by thread, wake-ups, memory, load.
//!
//! Read from `/proc` (Linux only; elsewhere everything is zero). Threads are told apart by their
//! names: every thread of Panchayat has one, and threads of one name are added up.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};

/// What the threads of one name have cost so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadTime {
    /// How many there are.
    pub threads: u64,
    /// On a processor, in nanoseconds.
    pub cpu_ns: u64,
    /// Ready to run while every processor had something else to do, in nanoseconds.
    pub waited_ns: u64,
    /// Times they went to sleep by themselves: each is a wake-up to come.
    pub sleeps: u64,
}

/// The process at one moment.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// By name of the threads.
    pub threads: BTreeMap<String, ThreadTime>,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
}

/// The machine, as far as it explains a figure.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Processors this process may use.
    pub cores: usize,
    /// Runnable threads of the whole machine, averaged over a minute, before the run.
    pub load_average: f64,
}

impl Machine {
    /// As it is now.
    pub fn now() -> Self {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().and_then(|first| first.parse().ok());
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load_average: load.unwrap_or_default(),
        }
    }
}

impl Usage {
    /// Of this process, so far.
    pub fn so_far() -> Self {
        let mut usage = Self { resident_bytes: resident_bytes(), ..Self::default() };
        let Ok(tasks) = fs::read_dir("/proc/self/task") else { return usage };
        for task in tasks.flatten() {
            let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            // A thread that has just ended is no longer there.
            let (name, schedstat, status) = (read("comm"), read("schedstat"), read("status"));
            let mut numbers =
                schedstat.split_whitespace().map_while(|word| word.parse::<u64>().ok());
            let (Some(cpu_ns), Some(waited_ns)) = (numbers.next(), numbers.next()) else {
                continue;
            };
            let sleeps = field(&status, "voluntary_ctxt_switches:");
            let sum = usage.threads.entry(name.trim().to_owned()).or_default();
            sum.threads += 1;
            sum.cpu_ns += cpu_ns;
            sum.waited_ns += waited_ns;
            sum.sleeps += sleeps;
        }
        usage
    }

    /// What was spent since `earlier`, by name. Names without any cost are left out.
    pub fn since(&self, earlier: &Self) -> BTreeMap<String, ThreadTime> {
        let spent = self.threads.iter().map(|(name, now)| {
            let before = earlier.threads.get(name).copied().unwrap_or_default();
            let spent = ThreadTime {
                threads: now.threads,
                cpu_ns: now.cpu_ns.saturating_sub(before.cpu_ns),
                waited_ns: now.waited_ns.saturating_sub(before.waited_ns),
                sleeps: now.sleeps.saturating_sub(before.sleeps),
            };
            (name.clone(), spent)
        });
        spent.filter(|(_, spent)| spent.cpu_ns > 0).collect()
    }
}

/// The number after `name` in the lines of a `status` file.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    field(&status, "VmRSS:") * 1024
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn work_is_charged_to_the_thread_that_does_it() {
        let (begin, began) = std::sync::mpsc::channel::<()>();
        let (done, ended) = std::sync::mpsc::channel::<()>();
        let worker = std::thread::Builder::new().name("bench-worker".to_owned()).spawn(move || {
            began.recv().unwrap();
            let start = Instant::now();
            let mut sum = 0u64;
            while start.elapsed() < Duration::from_millis(50) {
                sum = std::hint::black_box(sum.wrapping_add(1));
            }
            done.send(()).unwrap();
            began.recv().unwrap();
        });
        let before = Usage::so_far();
        begin.send(()).unwrap();
        ended.recv().unwrap();
        let after = Usage::so_far();
        begin.send(()).unwrap();
        worker.unwrap().join().unwrap();

        let spent = after.since(&before);
        let worker = spent["bench-worker"];
        // On a busy machine it gets less than it asked for, but never more.
        assert!((1_000_000..=200_000_000).contains(&worker.cpu_ns), "{worker:?}");
        assert_eq!(worker.threads, 1);
        assert!(after.resident_bytes > 1 << 20, "{after:?}");
    }
}
