//! From round trips between real hosts to a topology file of one's own.
//!
//! Replicas measure each other all the time: heartbeats are answered, and a replica's `/status` tells
//! what they took. A [`Survey`] gathers what several replicas said of each other, and [`Survey::topology`] makes a file of it that every tool here reads: the distances, and a
//! profile `measured` with the jitter and the loss between these hosts.
//!
//! | part | what it does |
//! |---|---|
//! | [`Survey::hear`] | what one replica says |
//! | [`Weather`] | distances and weather from the round trips |
//! | [`Survey::topology`] | the file |

mod fit;
mod text;

use std::collections::BTreeMap;

use panchayat::Topology;
use panchayat::topology::TopologyError;
use thiserror::Error;

pub use fit::{Leg, Weather};

/// What replicas told of the way to each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Survey {
    /// Names by seat.
    sites: BTreeMap<usize, String>,
    /// What was told, by who told it and of whom.
    told: BTreeMap<(usize, usize), Told>,
}

/// What one replica told of its way to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Whether there is a link.
    pub up: bool,
    /// Heartbeats that were answered.
    pub pings: u64,
    /// The shortest round trip, in microseconds.
    pub min_us: u64,
    /// Half took at most this long.
    pub p50_us: u64,
    /// 99 of 100 took at most this long.
    pub p99_us: u64,
    /// QUIC packets sent.
    pub packets_sent: u64,
    /// QUIC packets that were lost.
    pub packets_lost: u64,
}

/// A member, as another one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Its seat.
    pub seat: usize,
    /// Its name.
    pub name: String,
    /// What was told of it; `None` of the replica that tells.
    pub told: Option<Told>,
}

/// Why there is no topology yet, or never.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SurveyError {
    /// Whoever answered is not among its own members.
    #[error("a replica tells of members without being one")]
    NoMember,
    /// Replicas of different clusters answered.
    #[error("seat {seat} is `{one}` to one replica and `{other}` to another: not one cluster")]
    Clusters {
        /// The seat.
        seat: usize,
        /// What one calls it.
        one: String,
        /// What another calls it.
        other: String,
    },
    /// Nobody who was asked is at either end.
    #[error("nobody was asked who could have measured {0}–{1}: name one of the two as well")]
    Unasked(String, String),
    /// Too few heartbeats were answered.
    #[error("{from}–{to}: {pings} of {wanted} round trips so far{}", if *.up { "" } else { ", and no link now" })]
    Waiting {
        /// Who measures.
        from: String,
        /// Whom.
        to: String,
        /// So many.
        pings: u64,
        /// Of so many.
        wanted: u64,
        /// Whether there is a link.
        up: bool,
    },
    /// The file would not be one.
    #[error(transparent)]
    Topology(#[from] TopologyError),
}

impl Survey {
    /// Takes what a replica says of all members, itself included. What it says later replaces what it
    /// said before.
    ///
    /// # Errors
    /// [`SurveyError::NoMember`], [`SurveyError::Clusters`].
    pub fn hear(&mut self, members: &[Heard]) -> Result<(), SurveyError> {
        let own = members.iter().find(|member| member.told.is_none());
        let own = own.ok_or(SurveyError::NoMember)?.seat;
        for member in members {
            self.call(member.seat, &member.name)?;
            self.told.extend(member.told.map(|told| ((own, member.seat), told)));
        }
        Ok(())
    }

    fn call(&mut self, seat: usize, name: &str) -> Result<(), SurveyError> {
        let known = self.sites.entry(seat).or_insert_with(|| name.to_owned());
        if known != name {
            let (one, other) = (known.clone(), name.to_owned());
            return Err(SurveyError::Clusters { seat, one, other });
        }
        Ok(())
    }

    /// The cities, in the order of their seats.
    pub fn sites(&self) -> Vec<String> {
        self.sites.values().cloned().collect()
    }

    /// Every two cities with what was measured between them, at the end where round trips were
    /// shorter: what is more there is a busy host.
    ///
    /// # Errors
    /// [`SurveyError::Unasked`] or [`SurveyError::Waiting`] if a pair has less than `pings` round
    /// trips.
    pub fn legs(&self, pings: u64) -> Result<Vec<Leg>, SurveyError> {
        let mut legs = Vec::new();
        for (a, from) in &self.sites {
            for (b, to) in self.sites.range(a + 1..) {
                let ends = [self.told.get(&(*a, *b)), self.told.get(&(*b, *a))];
                let ends = ends.into_iter().flatten();
                let Some(most) = ends.clone().max_by_key(|told| (told.up, told.pings)) else {
                    return Err(SurveyError::Unasked(from.clone(), to.clone()));
                };
                let enough = ends.filter(|told| told.up && told.pings >= pings.max(1));
                let Some(told) = enough.min_by_key(|told| told.p50_us) else {
                    return Err(SurveyError::Waiting {
                        from: from.clone(),
                        to: to.clone(),
                        pings: most.pings,
                        wanted: pings,
                        up: most.up,
                    });
                };
                legs.push(Leg { between: [from.clone(), to.clone()], told: *told });
            }
        }
        Ok(legs)
    }

    /// The text of a topology with these cities as the set `set`, and `legs` between them measured
    /// on the day `date`. Labels, places on the map, distances and the other profiles come from
    /// `base`, as far as it knows the cities.
    ///
    /// # Errors
    /// [`SurveyError::Topology`] if the names would not be accepted.
    pub fn topology(
        &self,
        base: &Topology,
        (set, date): (&str, &str),
        legs: &[Leg],
    ) -> Result<String, SurveyError> {
        let text = text::write(base, &self.sites(), (set, date), legs);
        Topology::parse("the measured topology", &text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests;
