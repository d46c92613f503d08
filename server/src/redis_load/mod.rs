//! `panchayat bench` against a running cluster: the workloads and clients of the laboratory, over
//! the Redis protocol.
//!
//! | file | what |
//! |---|---|
//! | [`client`] | a connection: commands out, replies in |
//! | [`target`] | a city's connections, and what a workload's commands are in Redis' words |
//! | [`run`] | clients in every city, for a while |
//! | [`report`] | what they saw |

mod client;
mod report;
mod run;
mod target;

pub(crate) use run::run;
