//! The `panchayat` binary.
fn main() {}
