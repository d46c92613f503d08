//! The vocabulary every Panchayat protocol shares.

#![forbid(unsafe_code)]

pub mod ids;
pub mod wire;

pub use ids::{
    ClusterId, EpochNumber, GroupId, InstanceId, NodeId, REPLICAS_MAX, ReplicaId, ReplicaSet, Slot,
};
