//! Whether faults fit together, and in what order they begin and end.

use std::time::Duration;

use panchayat::{Durability, ReplicaId};

use super::fault::{FAULTS_MAX, FAULTY_DURATION_MAX, Fault, FaultError, SLOW_MAX};

/// The faults of a run, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) faults: Vec<Fault>,
    /// The seats that each fault concerns.
    pub(crate) seats: Vec<Vec<ReplicaId>>,
    /// By time; what ends at a moment comes before what begins.
    pub(crate) events: Vec<Event>,
}

/// A fault begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    /// After the beginning of the measured window.
    pub(crate) at: Duration,
    pub(crate) begins: bool,
    /// Which fault.
    pub(crate) fault: usize,
}

impl Plan {
    /// Orders `faults` over the cities `sites`, in seat order, within a window of `duration`.
    pub(crate) fn new(
        faults: &[Fault],
        sites: &[String],
        duration: Duration,
        durability: Durability,
    ) -> Result<Self, FaultError> {
        if faults.len() > FAULTS_MAX {
            return Err(FaultError::TooMany(faults.len()));
        }
        if !faults.is_empty() && duration > FAULTY_DURATION_MAX {
            return Err(FaultError::TooLong(duration));
        }
        let mut seats = Vec::with_capacity(faults.len());
        for fault in faults {
            check(fault, duration, durability)?;
            let of = fault.sites().iter().map(|name| seat(name, sites));
            seats.push(of.collect::<Result<Vec<_>, _>>()?);
        }
        let mut in_order: Vec<_> = faults.iter().collect();
        in_order.sort_by_key(|fault| fault.from());
        for (at, first) in in_order.iter().enumerate() {
            let lasts = |second: &&&Fault| first.to().is_none_or(|to| second.from() < to);
            let same = |second: &&&Fault| same_target(first, second);
            if let Some(second) = in_order[at + 1..].iter().filter(same).find(lasts) {
                let (first, second) = (first.to_string(), second.to_string());
                return Err(FaultError::Overlap { first, second });
            }
        }
        let dead = faults.iter().filter(|fault| matches!(fault, Fault::Kill { restart: None, .. }));
        if dead.count() == sites.len() {
            return Err(FaultError::NobodyLeft);
        }
        let mut events = Vec::new();
        for (at, fault) in faults.iter().enumerate() {
            events.push(Event { at: fault.from(), begins: true, fault: at });
            events.extend(fault.to().map(|to| Event { at: to, begins: false, fault: at }));
        }
        events.sort();
        Ok(Self { faults: faults.to_vec(), seats, events })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }
}

fn seat(name: &str, sites: &[String]) -> Result<ReplicaId, FaultError> {
    let at = sites.iter().position(|site| site == name);
    let unknown = || FaultError::UnknownSite { site: name.to_owned(), known: sites.join(", ") };
    // A set has far fewer cities.
    at.and_then(|at| u8::try_from(at).ok()).map(ReplicaId).ok_or_else(unknown)
}

fn check(fault: &Fault, duration: Duration, durability: Durability) -> Result<(), FaultError> {
    let refused = |why: fn(String) -> FaultError| Err(why(fault.to_string()));
    if fault.from() >= duration || fault.to().is_some_and(|to| to > duration) {
        return Err(FaultError::AfterEnd { fault: fault.to_string(), duration });
    }
    if fault.to().is_some_and(|to| to <= fault.from()) {
        return refused(FaultError::Backwards);
    }
    match fault {
        Fault::Cut { between: [a, b], .. } if a == b => refused(FaultError::SameEnds),
        Fault::Slow { by, .. } if !(Duration::from_millis(1)..=SLOW_MAX).contains(by) => {
            refused(FaultError::Delay)
        }
        Fault::Kill { restart: Some(_), .. } if durability == Durability::Memory => {
            refused(FaultError::NoJournal)
        }
        _ => Ok(()),
    }
}

/// Whether both do the same to the same.
fn same_target(a: &Fault, b: &Fault) -> bool {
    match (a, b) {
        (
            Fault::Cut { between: [a1, a2], one_way: a_one_way, .. },
            Fault::Cut { between: [b1, b2], one_way: b_one_way, .. },
        ) => {
            let same_way = (a1, a2) == (b1, b2);
            let other_way = (a1, a2) == (b2, b1);
            same_way || (other_way && !(*a_one_way && *b_one_way))
        }
        _ => a.kind() == b.kind() && a.sites() == b.sites(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(faults: &[&str], durability: Durability) -> Result<Plan, FaultError> {
        let sites = ["mumbai", "delhi", "bangalore"].map(str::to_owned);
        let read = |text: &&str| match text.split_once(' ').unwrap() {
            ("kill", text) => Fault::kill(text, &sites),
            ("cut", text) => Fault::cut(text, &sites),
            (_, text) => Fault::slow(text, &sites),
        };
        let faults: Vec<_> = faults.iter().map(|text| read(text).unwrap()).collect();
        Plan::new(&faults, &sites, Duration::from_secs(10), durability)
    }

    #[test]
    fn faults_that_fit_are_ordered_by_time_and_what_ends_comes_first() {
        let plan = plan(
            &[
                "slow delhi@3s:200ms",
                "kill delhi@2s..4s",
                "kill delhi@4s..6s",
                "cut mumbai>delhi@1s..5s",
                "cut delhi>mumbai@1s..5s",
            ],
            Durability::Os,
        );
        let plan = plan.unwrap();
        let events: Vec<_> =
            plan.events.iter().map(|e| (e.at.as_secs(), e.begins, e.fault)).collect();
        assert_eq!(
            events,
            [
                (1, true, 3),
                (1, true, 4),
                (2, true, 1),
                (3, true, 0),
                (4, false, 1),
                (4, true, 2),
                (5, false, 3),
                (5, false, 4),
                (6, false, 2),
            ]
        );
        assert_eq!(plan.seats[3], [ReplicaId(0), ReplicaId(1)]);
    }

    #[test]
    fn faults_that_do_not_fit_are_refused() {
        for (faults, message) in [
            (&["kill delhi@10s"][..], "`kill delhi@10s`: the measured window is over after 10s"),
            (&["cut mumbai-delhi@4s..12s"], "the measured window is over after 10s"),
            (&["kill delhi@5s..5s"], "`kill delhi@5s..5s`: it would end before it begins"),
            (&["cut delhi-delhi@5s"], "a cut is between two different cities"),
            (&["slow delhi@5s:0s"], "expected a delay of 1 ms to 10 s"),
            (&["slow delhi@5s:11s"], "expected a delay of 1 ms to 10 s"),
            (
                &["kill delhi@5s", "kill delhi@2s"],
                "`kill delhi@5s` while `kill delhi@2s` still lasts: once at a time",
            ),
            (&["kill delhi@2s..5s", "kill delhi@4s"], "while `kill delhi@2s..5s` still lasts"),
            (&["slow delhi@2s:1s", "slow delhi@4s:2s"], "still lasts"),
            (&["cut mumbai-delhi@2s..5s", "cut delhi>mumbai@3s"], "still lasts"),
            (
                &["kill mumbai@2s", "kill delhi@2s", "kill bangalore@2s"],
                "all cities would be dead at the end",
            ),
        ] {
            let error = plan(faults, Durability::Fsync).unwrap_err().to_string();
            assert!(error.contains(message), "{faults:?}: {error}");
        }
        let error = plan(&["kill delhi@2s..5s"], Durability::Memory).unwrap_err().to_string();
        assert!(error.contains("with durability memory there is no journal"), "{error}");
    }
}
