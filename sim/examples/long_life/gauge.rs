//! What is measured, and how it is shown.

use std::fmt::Write;
use std::time::Duration;

use super::load::Fates;
use super::plan::Plan;

/// The part of a run in which a command was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// All members live.
    Before,
    /// Some are dead.
    Dead,
    /// They were started again, and are not current yet.
    Returning,
    /// They are current.
    After,
}

impl Phase {
    pub(super) const COUNT: usize = 4;
    pub(super) const NAMES: [&str; Self::COUNT] = ["before", "dead", "returning", "after"];
}

/// Microseconds, exact to one in 64.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    buckets: Vec<u32>,
    count: u64,
    max: u64,
}

const SUB_BITS: u32 = 6;

impl Histogram {
    pub(super) fn note(&mut self, us: u64) {
        let bucket = Self::bucket(us);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.max = self.max.max(us);
    }

    fn bucket(us: u64) -> usize {
        let shift = us.max(1).ilog2().saturating_sub(SUB_BITS);
        ((u64::from(shift) << SUB_BITS) + (us >> shift)) as usize
    }

    fn lowest_of(bucket: usize) -> u64 {
        let shift = (bucket as u64 >> SUB_BITS).saturating_sub(1);
        (bucket as u64 - (shift << SUB_BITS)) << shift
    }

    /// The value that so many of a thousand do not exceed, in microseconds.
    pub(crate) fn per_mille(&self, per_mille: u64) -> u64 {
        let wanted = (self.count * per_mille).div_ceil(1_000);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted && seen > 0 {
                return Self::lowest_of(bucket + 1) - 1;
            }
        }
        0
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    fn shown(&self) -> [f64; 3] {
        [self.per_mille(500), self.per_mille(990), self.max].map(|us| us as f64 / 1_000.0)
    }
}

/// The largest found at any survivor.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sizes {
    pub(crate) retained: u64,
    pub(crate) keys: u64,
    pub(crate) sessions: u64,
    pub(crate) journal: u64,
    pub(crate) snapshot: u64,
}

impl Sizes {
    pub(super) fn raise(&mut self, other: &Self) {
        self.retained = self.retained.max(other.retained);
        self.keys = self.keys.max(other.keys);
        self.sessions = self.sessions.max(other.sessions);
        self.journal = self.journal.max(other.journal);
        self.snapshot = self.snapshot.max(other.snapshot);
    }
}

/// A moment of a run.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) virtual_us: u64,
    pub(crate) executed: u64,
    /// Now.
    pub(crate) sizes: Sizes,
    /// The largest since the row before.
    pub(crate) largest: Sizes,
    pub(crate) rss: u64,
    pub(crate) disks: u64,
    pub(crate) absent: String,
    pub(crate) overloaded: u64,
    pub(crate) real: Duration,
}

/// How a member came back, in virtual microseconds after it was started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Return {
    pub(crate) seat: usize,
    pub(crate) started_at_us: u64,
    /// Executed when it was started, and by the others then.
    pub(crate) executed: u64,
    pub(crate) executed_by_others: u64,
    /// Disk read, journal replayed.
    pub(crate) up_us: Option<u64>,
    /// It asked for a state.
    pub(crate) asked_us: Option<u64>,
    /// One has arrived.
    pub(crate) arrived_us: Option<u64>,
    pub(crate) state_bytes: u64,
    /// It is durable.
    pub(crate) installed_us: Option<u64>,
    /// All others count it again.
    pub(crate) taken_back_us: Option<u64>,
    /// It needs no state, is counted, and has executed what the others had executed by then.
    pub(crate) current_us: Option<u64>,
    pub(crate) replay: Duration,
}

/// Real time that snapshots took, in all, and most at once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    pub(crate) count: u64,
    pub(crate) all: Duration,
    pub(crate) most: Duration,
}

impl Taken {
    pub(super) fn note(&mut self, took: Duration) {
        self.count += 1;
        self.all += took;
        self.most = self.most.max(took);
    }

    fn shown(&self) -> String {
        let mean = self.all.as_secs_f64() * 1e3 / self.count.max(1) as f64;
        format!("{} x {mean:.1} ms, most {:.1}", self.count, self.most.as_secs_f64() * 1e3)
    }
}

/// All that a run has shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) largest: Sizes,
    pub(crate) returns: Vec<Return>,
    pub(crate) latency: Vec<Histogram>,
    pub(crate) fates: Fates,
    pub(crate) executed: u64,
    pub(crate) state_hashes: Vec<u64>,
    pub(crate) digests: Vec<u64>,
    pub(crate) fast_commits: u64,
    pub(crate) slow_commits: u64,
    /// Real: turns in which state and image were frozen; writing; reading and taking over.
    pub(crate) freezing: Taken,
    pub(crate) writing: Taken,
    pub(crate) reading: Taken,
    /// Real turns, while no snapshot is being written, and while one is.
    pub(crate) turns: [Histogram; 2],
    /// Which turn took longest in real time, of those that froze nothing: its member and moment.
    pub(crate) longest_turn: (Duration, usize, u64),
    pub(crate) restarted: usize,
    pub(crate) virtual_us: u64,
    pub(crate) real: Duration,
}

const MIB: f64 = 1_048_576.0;

pub(crate) fn head() -> String {
    format!(
        "{:>8} {:>9} {:>16} {:>16} {:>9} {:>15} {:>8} {:>8} {:>8} {:>8} {:>6} {:>7}",
        "virtual",
        "executed",
        "retained now/max",
        "keys now/max",
        "sessions",
        "journal now/max",
        "snapshot",
        "RSS",
        "of disks",
        "absent",
        "reject",
        "real",
    )
}

impl Row {
    pub(crate) fn text(&self) -> String {
        let (now, max) = (&self.sizes, &self.largest);
        format!(
            "{:>6.1} s {:>9} {:>16} {:>16} {:>9} {:>11} MiB {:>4.0} MiB {:>4.0} MiB {:>4.0} MiB \
             {:>8} {:>6} {:>5.1} s",
            self.virtual_us as f64 / 1e6,
            self.executed,
            format!("{}/{}", now.retained, max.retained),
            format!("{}/{}", now.keys, max.keys),
            now.sessions,
            format!("{:.0}/{:.0}", now.journal as f64 / MIB, max.journal as f64 / MIB),
            now.snapshot as f64 / MIB,
            self.rss as f64 / MIB,
            self.disks as f64 / MIB,
            self.absent,
            self.overloaded,
            self.real.as_secs_f64(),
        )
    }

    pub(crate) fn json(&self) -> String {
        let (now, max) = (&self.sizes, &self.largest);
        format!(
            "{{\"virtual_us\":{},\"executed\":{},\"retained\":{},\"retained_max\":{},\"keys\":{},\
             \"keys_max\":{},\"sessions\":{},\"journal_bytes\":{},\"journal_bytes_max\":{},\
             \"snapshot_bytes\":{},\"rss_bytes\":{},\"disk_bytes\":{},\"absent\":\"{}\",\
             \"overloaded\":{},\"real_ms\":{}}}",
            self.virtual_us,
            self.executed,
            now.retained,
            max.retained,
            now.keys,
            max.keys,
            now.sessions,
            now.journal,
            max.journal,
            now.snapshot,
            self.rss,
            self.disks,
            self.absent,
            self.overloaded,
            self.real.as_millis(),
        )
    }
}

impl Return {
    fn steps(&self) -> [(&'static str, Option<u64>); 6] {
        [
            ("up", self.up_us),
            ("asked", self.asked_us),
            ("state arrived", self.arrived_us),
            ("state durable", self.installed_us),
            ("taken back", self.taken_back_us),
            ("current", self.current_us),
        ]
    }
}

impl Report {
    /// The longest it took a member to be current, if all are.
    pub(crate) fn current_us(&self) -> Option<u64> {
        let all: Option<Vec<u64>> = self.returns.iter().map(|back| back.current_us).collect();
        all?.into_iter().max()
    }

    /// What must hold of every run: bounds of the survivors, and that all ended equal.
    ///
    /// # Errors
    /// What does not.
    pub(crate) fn check(&self, plan: &Plan) -> Result<(), String> {
        let bounds = [
            // Proposals are rejected, and states not waited for, above four times the limit.
            ("instances", self.largest.retained, 4 * plan.retained_max as u64 + (1 << 14)),
            // A command has one key, and a request's another.
            ("keys", self.largest.keys, 8 * plan.retained_max as u64 + (1 << 15)),
            // What was there when a snapshot was begun, and what comes while it is written.
            ("bytes of journal", self.largest.journal, 3 * plan.snapshot_journal_bytes as u64),
            ("session entries", self.largest.sessions, plan.sessions().entries_max as u64),
        ];
        for (what, found, bound) in bounds {
            if found > bound {
                return Err(format!("{found} {what}, and {bound} is the bound"));
            }
        }
        let equal = |all: &[u64]| all.windows(2).all(|pair| pair[0] == pair[1]);
        if self.state_hashes.len() != plan.replicas || !equal(&self.state_hashes) {
            return Err(format!("states differ: {:x?}", self.state_hashes));
        }
        if !equal(&self.digests) {
            return Err(format!("sessions differ: {:x?}", self.digests));
        }
        Ok(())
    }

    /// For a reader.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for back in &self.returns {
            let _ = writeln!(
                out,
                "member {} was started at {:.1} s with {} executed of {}; replay took {:.2} s of \
                 real time, its state has {:.1} MiB; in virtual seconds after the start:",
                back.seat,
                back.started_at_us as f64 / 1e6,
                back.executed,
                back.executed_by_others,
                back.replay.as_secs_f64(),
                back.state_bytes as f64 / MIB,
            );
            for (name, at) in back.steps() {
                let at = at.map_or("never".into(), |us| format!("{:.3}", us as f64 / 1e6));
                let _ = write!(out, "  {name} {at}");
            }
            out.push('\n');
        }
        let _ = writeln!(out, "virtual latency at the proposer, ms: p50, p99, max");
        for (name, latency) in Phase::NAMES.iter().zip(&self.latency) {
            let [p50, p99, max] = latency.shown();
            let count = latency.count();
            let _ = writeln!(out, "  {name:<10} {p50:>8.2} {p99:>8.2} {max:>8.2}  of {count}");
        }
        let Fates { applied, duplicates, tried_twice, overloaded, unknown, lost_with_replica } =
            self.fates;
        let _ = writeln!(
            out,
            "answers: {applied} applied, {duplicates} duplicates ({tried_twice} requests tried \
             twice), {overloaded} overloaded, {unknown} unknown, {lost_with_replica} lost with \
             their replica"
        );
        let _ = writeln!(
            out,
            "commits: {} fast, {} slow; {} executed; state hashes {:x?}; session digests {:x?}",
            self.fast_commits, self.slow_commits, self.executed, self.state_hashes, self.digests
        );
        let _ = writeln!(
            out,
            "real time: turns that freeze state and image {}; writing {}; reading and taking over \
             {}; {} restarted from their disks in the end",
            self.freezing.shown(),
            self.writing.shown(),
            self.reading.shown(),
            self.restarted,
        );
        for (name, turns) in ["no snapshot is written", "one is written"].iter().zip(&self.turns) {
            let [p50, p99, max] = turns.shown();
            let count = turns.count();
            let _ = writeln!(
                out,
                "real turns while {name}: p50 {p50:.3}, p99 {p99:.3}, max {max:.1} ms of {count}"
            );
        }
        let (took, seat, at_us) = self.longest_turn;
        let _ = writeln!(
            out,
            "the longest that froze nothing took {:.1} ms, at member {seat} after {:.3} virtual s",
            took.as_secs_f64() * 1e3,
            at_us as f64 / 1e6,
        );
        let _ = write!(
            out,
            "{:.1} virtual seconds in {:.1} real ones",
            self.virtual_us as f64 / 1e6,
            self.real.as_secs_f64()
        );
        out
    }

    /// For machines, without the rows.
    pub(crate) fn json(&self) -> String {
        let returns: Vec<String> = self
            .returns
            .iter()
            .map(|back| {
                let steps = back.steps().map(|(name, at)| {
                    let name = name.replace(' ', "_");
                    format!("\"{name}_us\":{}", at.map_or("null".into(), |us| us.to_string()))
                });
                let bytes = back.state_bytes;
                format!("{{\"seat\":{},\"state_bytes\":{bytes},{}}}", back.seat, steps.join(","))
            })
            .collect();
        let latency: Vec<String> = Phase::NAMES
            .iter()
            .zip(&self.latency)
            .map(|(name, latency)| {
                let (p50, p99) = (latency.per_mille(500), latency.per_mille(990));
                format!(
                    "\"{name}\":{{\"p50_us\":{p50},\"p99_us\":{p99},\"max_us\":{}}}",
                    latency.max
                )
            })
            .collect();
        let max = &self.largest;
        format!(
            "{{\"returns\":[{}],\"latency\":{{{}}},\"largest\":{{\"retained\":{},\"keys\":{},\
             \"sessions\":{},\"journal_bytes\":{},\"snapshot_bytes\":{}}},\"executed\":{},\
             \"overloaded\":{},\"duplicates\":{},\"virtual_us\":{},\"real_ms\":{}}}",
            returns.join(","),
            latency.join(","),
            max.retained,
            max.keys,
            max.sessions,
            max.journal,
            max.snapshot,
            self.executed,
            self.fates.overloaded,
            self.fates.duplicates,
            self.virtual_us,
            self.real.as_millis(),
        )
    }
}

/// What of this process is in memory, in bytes; 0 where that cannot be told.
pub(super) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}
