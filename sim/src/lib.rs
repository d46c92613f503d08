//! The deterministic simulator: production replicas in virtual time, with faults, invariants and
//! history checkers.

#![forbid(unsafe_code)]

pub mod history;
