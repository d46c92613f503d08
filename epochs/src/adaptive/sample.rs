//! What a member measures of the commands that pass through it, whatever orders them.
//!
//! Every member executes all commands, and knows which of them its own clients sent. So the share of
//! conflicts is measured the same way under every protocol: each own command is compared with the last few
//! of others that were executed before it. Those who conflict only with themselves conflict with nobody.
//!
//! Some protocols order linearizable queries like commands and others do not, so whoever asks counts them
//! when they are asked, and nobody when they are executed.

use std::collections::VecDeque;

use panchayat_consensus::{Command, Footprint, Path};

use super::report::Report;

/// With how many of the others' commands each own one is compared.
const RECENT: usize = 8;
/// Footprints with more keys are not compared: they would take longer than the command.
const KEYS_MAX: usize = 16;

/// What was seen since the last report.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Sample {
    seen: Report,
    /// The others' last footprints.
    recent: VecDeque<Footprint>,
}

impl Sample {
    pub(crate) fn proposed(&mut self) {
        self.seen.proposals += 1;
    }

    /// A client asks for an answer that is linearizable.
    pub(crate) fn asked(&mut self, footprint: &Footprint) {
        if footprint.one_read().is_some() {
            self.seen.reads += 1;
        } else {
            self.seen.wide_reads += 1;
            self.compare(footprint, 2);
        }
    }

    pub(crate) fn decided(&mut self, path: Path) {
        self.seen.decided += 1;
        self.seen.slow += u64::from(path != Path::Fast);
    }

    pub(crate) fn executed(&mut self, command: &Command, is_own: bool) {
        let footprint = &command.footprint;
        if command.is_read() {
            return;
        }
        if is_own {
            return self.compare(footprint, 1);
        }
        if footprint.keys().len() > KEYS_MAX {
            return;
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(footprint.clone());
    }

    /// Compares what an own client wants with what others wanted lately. A conflict counts `times`.
    fn compare(&mut self, footprint: &Footprint, times: u64) {
        if footprint.keys().len() > KEYS_MAX {
            return;
        }
        self.seen.pairs += self.recent.len() as u64;
        let conflicts = self.recent.iter().filter(|other| other.conflicts(footprint));
        self.seen.conflicts += times * conflicts.count() as u64;
    }

    /// What was seen in the last `span_us`.
    pub(crate) fn take(&mut self, span_us: u64) -> Report {
        Report { span_us, ..std::mem::take(&mut self.seen) }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use panchayat_consensus::{KeyHash, Mode};

    use super::*;

    fn write(key: &str) -> Command {
        Command::new(Footprint::write(key.as_bytes()), None, Bytes::from_static(b"anything"))
    }

    #[test]
    fn only_others_commands_conflict_and_only_the_last_of_them_are_kept() {
        let mut sample = Sample::default();
        for _ in 0..100 {
            sample.executed(&write("own"), true);
        }
        assert_eq!(sample.take(1).pairs, 0, "nobody else is there");
        for number in 0..20 {
            sample.executed(&write(if number % 2 == 0 { "hot" } else { "cold" }), false);
        }
        sample.proposed();
        sample.decided(Path::Slow);
        sample.executed(&write("hot"), true);
        let expected = Report {
            span_us: 7,
            proposals: 1,
            pairs: 8,
            conflicts: 4,
            decided: 1,
            slow: 1,
            ..Report::default()
        };
        assert_eq!(sample.take(7), expected);
        assert_eq!(sample.take(3), Report { span_us: 3, ..Report::default() });
        let keys = (0..100u32).map(|key| (KeyHash::of(&key.to_le_bytes()), Mode::Write));
        let payload = Bytes::from_static(b"anything");
        sample.executed(&Command::new(Footprint::new(keys), None, payload), true);
        assert_eq!(sample.take(1).pairs, 0, "too long to compare");
    }
    #[test]
    fn a_query_counts_the_same_whether_it_is_ordered_or_not() {
        let query = |keys: &[&str]| {
            let modes = keys.iter().map(|key| (KeyHash::of(key.as_bytes()), Mode::Read));
            Footprint::new(modes)
        };
        let (one, several) = (query(&["hot"]), query(&["hot", "cold"]));
        let seen = |is_ordered: bool| {
            let mut sample = Sample::default();
            for _ in 0..4 {
                sample.executed(&write("hot"), false);
                sample.executed(&write("other"), false);
                for footprint in [&one, &several] {
                    sample.asked(footprint);
                    if is_ordered {
                        sample.executed(&Command::read(footprint.clone()), true);
                        // Another member's.
                        sample.executed(&Command::read(footprint.clone()), false);
                    }
                }
            }
            sample.take(1)
        };
        // After 2, 4, 6 and 8 commands of others, half of which write one of its keys.
        let expected = Report {
            span_us: 1,
            wide_reads: 4,
            reads: 4,
            pairs: 20,
            conflicts: 2 * 10,
            ..Report::default()
        };
        assert_eq!((seen(false), seen(true)), (expected, expected));
    }
}
