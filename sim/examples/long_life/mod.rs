//! A long life: millions of commands in virtual time while members are dead, and their return.
//!
//! [`run`] drives production [`Group`](panchayat_core::Group)s over a simulated network and
//! simulated disks, like the simulator of this crate, but keeps no history: what it holds besides
//! the replicas does not grow with the number of commands. So it can show whether theirs does.
//!
//! Frames, journal entries and snapshots are encoded and decoded in their production formats; a
//! restart really replays the journal. Virtual are the clock, the links, the disks' speed and the
//! failure detector. A turn of a replica takes no virtual time, except that turns are at least
//! [`Plan::turn_us`] apart; so virtual latencies contain no CPU time. What snapshots cost of that
//! is measured in real time besides.

mod gauge;
mod load;
mod member;
mod plan;
mod snapshots;
mod world;

#[cfg(test)]
pub(crate) use gauge::{Histogram, Phase, Row};
pub(crate) use gauge::{Report, head};
pub(crate) use plan::Plan;
pub(crate) use world::run;
