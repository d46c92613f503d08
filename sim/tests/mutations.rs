//! Every known mistake is caught by the default swarm. `cargo test -p panchayat-sim --features
//! mutations --test mutations`.
