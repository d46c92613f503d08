//! A state of one's own.
//!
//! [`StateMachine`](crate::StateMachine) says what commands, outputs and queries are, and how a state is
//! changed, read, frozen and read back. `replica/examples/ledger` is a whole one.
//!
//! * `apply` is **deterministic**: it depends on the state, the command and the
//!   [context](crate::ApplyContext), and on nothing else. No clock (the context has the coordinator's
//!   time), no randomness, no order of a hash map.
//! * **Decide in `apply`.** A balance that was looked at before the command was ordered is spent twice.
//! * `footprint` is **honest**: see [`footprints`](super::footprints).
//! * `view` freezes the state for next to nothing, and `write` saves it from another thread while
//!   commands go on. Keep what grows in a [`CowTable`](crate::cow::CowTable), whose clone is one pointer;
//!   [`stream`](crate::stream) writes and reads tables.
//! * Decoders meet bytes from other versions and other people: refuse what is out of range, and give
//!   everything a limit.
//!
//! The [conformance suite](crate::conformance) tests all that with commands drawn by you, and names the
//! ones that break a rule:
//!
//! ```
//! use panchayat::conformance::Suite;
//! use panchayat::kv::{KvCommand, KvOp, KvStore};
//!
//! let suite = Suite::new(KvStore::default, |draw| {
//!     let key = draw.pick(&["asha", "ravi"]).as_bytes().into();
//!     KvCommand::One(KvOp::Add { key, amount: draw.below(10) as i64 })
//! });
//! let report = suite.rounds(20).run().unwrap();
//! assert!(report.commuting > 0);
//! ```
