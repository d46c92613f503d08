//! The sans-IO replica core.

#![forbid(unsafe_code)]

pub mod journal;
