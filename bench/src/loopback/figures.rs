//! The figures of a run, and their medians over several.

use serde::{Deserialize, Serialize};

use crate::machine::ThreadTime;
use crate::traffic::ratio;

macro_rules! figures {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        /// What one run came to, or the medians of several. "Per command" divides by the commands
        /// answered in the measured time; processes, syncs and traffic are those of all replicas.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
        pub struct Figures {
            $($(#[$doc])* pub $name: f64,)*
        }

        impl Figures {
            /// The median of each figure.
            pub fn median_of(runs: &[Self]) -> Self {
                Self { $($name: median(runs.iter().map(|run| run.$name).collect()),)* }
            }
        }
    };
}

figures! {
    /// Commands executed and answered per second.
    commands_per_s;
    /// Half of the answers took at most this long, from the proposal (in an open loop: from when
    /// it was due) to the execution, in milliseconds.
    p50_ms;
    /// 99 of 100 took at most this long.
    p99_ms;
    /// 999 of 1000 took at most this long.
    p999_ms;
    /// The 99th percentile in the first third of the measured time.
    p99_first_third_ms;
    /// The 99th percentile in the last third.
    p99_last_third_ms;
    /// Share of commands decided in one round trip.
    fast_path;
    /// Leaders elected in the measured time, of a protocol that has some.
    elections;
    /// Proposals refused at a limit.
    overloaded;
    /// Proposals without a result for another reason, or without any after the patience.
    failed;
    /// Processor time of the whole process, clients included, in microseconds.
    cpu_us_per_command;
    /// How much of the processors that is, 1 for all of them.
    cpu_share;
    /// Times a thread went to sleep, and had to be woken.
    sleeps_per_command;
    /// Syncs of all journals per second.
    syncs_per_s;
    /// Half of the journals' syncs in the measured time took at most this long, in milliseconds.
    sync_p50_ms;
    /// Half of small writes with a sync each, nothing else going on, before the load.
    sync_alone_p50_ms;
    /// Protocol messages, each counted once for each receiver.
    messages_per_command;
    /// Frames they travelled in.
    frames_per_command;
    /// Bytes of the frames.
    bytes_per_command;
    /// Bytes of UDP payload, all of QUIC included.
    udp_bytes_per_command;
    /// UDP datagrams.
    datagrams_per_command;
    /// System calls that sent them.
    send_calls_per_command;
    /// Turns of the replicas' loops.
    turns_per_command;
    /// Resident memory when the measurement began, in MiB.
    memory_begin_mib;
    /// Resident memory when it ended, in MiB.
    memory_end_mib;
}

/// What the threads of one name cost, per command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreadFigures {
    /// The name.
    pub name: String,
    /// How many there are.
    pub threads: u64,
    /// Processor time per command, in microseconds.
    pub cpu_us_per_command: f64,
    /// Time they were ready to run and no processor was free, per command, in microseconds.
    pub waited_us_per_command: f64,
    /// Times they went to sleep, per command.
    pub sleeps_per_command: f64,
    /// Share of one processor that each of them used.
    pub busy: f64,
}

impl ThreadFigures {
    pub(super) fn new(name: &str, spent: ThreadTime, commands: f64, seconds: f64) -> Self {
        Self {
            name: name.to_owned(),
            threads: spent.threads,
            cpu_us_per_command: ratio(spent.cpu_ns as f64 / 1e3, commands),
            waited_us_per_command: ratio(spent.waited_ns as f64 / 1e3, commands),
            sleeps_per_command: ratio(spent.sleeps as f64, commands),
            busy: ratio(spent.cpu_ns as f64 / 1e9, seconds * spent.threads as f64),
        }
    }

    /// The medians over the runs, for every name that was there in all of them, the dearest first.
    pub(super) fn median_of(runs: &[Vec<Self>]) -> Vec<Self> {
        let Some(first) = runs.first() else { return Vec::new() };
        let of = |name: &str| -> Option<Vec<&Self>> {
            runs.iter().map(|run| run.iter().find(|thread| thread.name == name)).collect()
        };
        let medians = first.iter().filter_map(|thread| {
            let all = of(&thread.name)?;
            let median = |figure: fn(&Self) -> f64| median(all.iter().map(|t| figure(t)).collect());
            Some(Self {
                name: thread.name.clone(),
                threads: thread.threads,
                cpu_us_per_command: median(|thread| thread.cpu_us_per_command),
                waited_us_per_command: median(|thread| thread.waited_us_per_command),
                sleeps_per_command: median(|thread| thread.sleeps_per_command),
                busy: median(|thread| thread.busy),
            })
        });
        let mut medians: Vec<_> = medians.collect();
        medians.sort_by(|a, b| b.cpu_us_per_command.total_cmp(&a.cpu_us_per_command));
        medians
    }
}

/// The middle one, or the mean of the two in the middle; 0 of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_taken_figure_by_figure() {
        let runs = [(1.0, 30.0), (2.0, 10.0), (9.0, 20.0)].map(|(commands_per_s, p50_ms)| {
            Figures { commands_per_s, p50_ms, ..Figures::default() }
        });
        let median = Figures::median_of(&runs);
        assert_eq!((median.commands_per_s, median.p50_ms), (2.0, 20.0));
        assert_eq!(Figures::median_of(&runs[..2]).p50_ms, 20.0);
        assert_eq!(Figures::median_of(&[]), Figures::default());
    }

    #[test]
    fn threads_come_back_dearest_first() {
        let spent = |cpu_ns| ThreadTime { threads: 2, cpu_ns, waited_ns: 2_000, sleeps: 10 };
        let run = |cheap, dear| {
            vec![
                ThreadFigures::new("cheap", spent(cheap), 10.0, 1e-3),
                ThreadFigures::new("dear", spent(dear), 10.0, 1e-3),
            ]
        };
        let medians = ThreadFigures::median_of(&[run(1_000, 50_000), run(3_000, 70_000)]);
        assert_eq!(medians.len(), 2);
        assert_eq!((medians[0].name.as_str(), medians[0].cpu_us_per_command), ("dear", 6.0));
        assert_eq!((medians[0].sleeps_per_command, medians[0].waited_us_per_command), (1.0, 0.2));
        assert!((medians[0].busy - 0.03).abs() < 1e-9, "{medians:?}");
    }
}
