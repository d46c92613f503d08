//! Which commands wait for each other.
//!
//! A [`Footprint`](crate::Footprint) names the keys that a command touches, each in a
//! [`Mode`](crate::Mode). Two commands conflict if they touch one key and may not pass each other there:
//!
//! | | `Read` | `Commute` | `Write` |
//! |---|---|---|---|
//! | `Read` | pass | conflict | conflict |
//! | `Commute` | conflict | pass | conflict |
//! | `Write` | conflict | conflict | conflict |
//!
//! Commands that conflict are executed in one order everywhere. Commands that do not may execute in
//! different orders at different replicas, so `apply` must touch nothing that the footprint does not
//! name. A footprint that names too much costs speed; one that names too little makes replicas differ.
//!
//! **Commute** is for changes that give the same state in any order, and whose output and errors say
//! nothing of it: additions, maxima, members of a set. Any number of them on one key stay on EPaxos'
//! fast path. In a transfer the payer's balance is looked at and the payee's is only added to, so
//! those who pay the same shop do not wait for each other:
//!
//! ```
//! use panchayat::kv::{Condition, KvCommand, KvOp, KvStore};
//! use panchayat::StateMachine;
//!
//! let pay = |from: &'static str| KvCommand::Transaction {
//!     conditions: vec![Condition::AtLeast { key: from.into(), least: 50 }],
//!     ops: vec![
//!         KvOp::Add { key: from.into(), amount: -50 },
//!         KvOp::Add { key: "shop".into(), amount: 50 },
//!     ],
//! };
//! let (asha, ravi) = (KvStore::footprint(&pay("asha")), KvStore::footprint(&pay("ravi")));
//! assert!(!asha.conflicts(&ravi));
//! assert!(asha.conflicts(&asha));
//! ```
//!
//! A footprint is a function of the command alone. It is computed once, by the replica that proposes,
//! and travels with the command. Keys are hashed to 64 bits; a collision only adds a conflict.
//! [`Footprint::barrier`](crate::Footprint::barrier) conflicts with everything.
//!
//! Debug builds hold the key-value store to its footprints, and the
//! [conformance suite](crate::conformance) holds every state machine to its own, as far as that shows.
