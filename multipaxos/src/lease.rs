//! Leases: how a leader knows, without asking, that nobody else leads.
//!
//! With every heartbeat the leader asks for a promise: for the lease's span, not to help another
//! leader. As long as n−q1+1 members have promised, no quorum of q1 can elect one. A grantor counts
//! the span from when it *heard* the heartbeat, the leader from when it *sent* it, and less, by as
//! much as their clocks may differ in rate.
//!
//! What this trusts: that every member's monotonic clock runs at the right rate within
//! [`Lease::clock_error_ppm`]. Not that clocks agree on the time of day, nor that messages arrive
//! in time, nor that processes are not stopped. With a clock that is worse, a lease read can
//! return a value that was overwritten before it began; nothing else is affected.
//!
//! A machine that is suspended, or moved while it runs, stops its monotonic clock meanwhile: that is a
//! clock far beyond any bound, so where that happens no lease must be configured.

use panchayat_consensus::{Ballot, ReplicaId, Span, Time};

use crate::config::ConfigError;

const MILLION: u32 = 1_000_000;

/// Leases, and the clocks they need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// How long a grantor helps no other leader. An upper bound on how much longer a fail-over
    /// takes, so best below the election timeout.
    pub span: Span,
    /// How many parts per million a member's clock may be fast or slow. Ordinary quartz stays
    /// below 100; 500 is what kernels correct at most.
    pub clock_error_ppm: u32,
}

impl Lease {
    /// How long the leader may use a lease, from when it asked for it.
    ///
    /// Let ρ be the error. The grantor's span lasts at least span/(1+ρ) in true time, and what the
    /// leader counts as X lasts at most X/(1−ρ). So X = span·(1−ρ)/(1+ρ).
    pub fn usable(&self) -> Span {
        let error = u128::from(self.clock_error_ppm.min(MILLION));
        let million = u128::from(MILLION);
        Span((u128::from(self.span.0) * (million - error) / (million + error)) as u64)
    }

    pub(crate) fn check(&self, heartbeat: Span) -> Result<(), ConfigError> {
        if self.clock_error_ppm >= MILLION / 2 {
            return Err(ConfigError::ClockError(self.clock_error_ppm));
        }
        if self.usable() < heartbeat.times(2) {
            return Err(ConfigError::LeaseTooShort { span: self.usable(), heartbeat });
        }
        Ok(())
    }
}

/// A promise to help no leader but one, for a while.
#[derive(Clone, Copy, Debug, Hash)]
pub(crate) struct Grant {
    /// Whom it was given to; `None` if that was before a restart and is forgotten.
    pub(crate) ballot: Option<Ballot>,
    /// Until when it holds.
    pub(crate) until: Time,
}

impl Grant {
    /// Whether it forbids to promise `ballot`, whose owner says that `released` was given up.
    pub(crate) fn forbids(&self, ballot: Ballot, released: Ballot, now: Time) -> bool {
        let owner = |ballot: Option<Ballot>| -> Option<ReplicaId> { ballot?.owner() };
        let own_again = self.ballot.is_some() && owner(self.ballot) == owner(Some(ballot));
        now < self.until && self.ballot != Some(released) && !own_again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_stops_before_the_fastest_grantor_does() {
        for ppm in [0u32, 100, 500, 10_000, 200_000] {
            let lease = Lease { span: Span::from_ms(400), clock_error_ppm: ppm };
            let error = f64::from(ppm) / 1e6;
            let leader = lease.usable().0 as f64 / (1.0 - error);
            let grantor = lease.span.0 as f64 / (1.0 + error);
            assert!(leader <= grantor + 1e-6, "{ppm} ppm: {leader} > {grantor}");
            assert!(leader > grantor - 3.0, "{ppm} ppm: {leader} wastes of {grantor}");
        }
    }

    #[test]
    fn a_grant_binds_until_it_ends_is_released_or_its_holder_starts_anew() {
        let held = Ballot::INITIAL.next_for(ReplicaId(1));
        let (own, other) = (held.next_for(ReplicaId(1)), held.next_for(ReplicaId(2)));
        let grant = Grant { ballot: Some(held), until: Time(100) };
        assert!(grant.forbids(other, Ballot::INITIAL, Time(99)));
        assert!(!grant.forbids(other, Ballot::INITIAL, Time(100)));
        assert!(!grant.forbids(other, held, Time(99)));
        assert!(!grant.forbids(own, Ballot::INITIAL, Time(99)));
        let forgotten = Grant { ballot: None, until: Time(100) };
        assert!(forgotten.forbids(own, held, Time(99)));
    }

    #[test]
    fn clocks_or_spans_that_allow_no_lease_are_refused() {
        let heartbeat = Span::from_ms(50);
        let lease = |ms, ppm| Lease { span: Span::from_ms(ms), clock_error_ppm: ppm };
        assert_eq!(lease(400, 500).check(heartbeat), Ok(()));
        assert_eq!(lease(400, 500_000).check(heartbeat), Err(ConfigError::ClockError(500_000)));
        let usable = lease(100, 500).usable();
        assert_eq!(
            lease(100, 500).check(heartbeat),
            Err(ConfigError::LeaseTooShort { span: usable, heartbeat })
        );
    }
}
