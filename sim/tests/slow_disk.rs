//! A slow disk is not a dead coordinator.
//!
//! Found at seven replicas, where disks slower than the recovery delay turned every command into a
//! Nop: each was recovered before it could commit, proposed again, and recovered again, for ever.

use panchayat_epaxos::EPaxos;
use panchayat_sim::{Setup, SyncTime, run_setup};

#[test]
fn commands_slower_than_the_recovery_delay_still_commit() {
    let n = 5;
    let delays = (0..n).map(|a| (0..n).map(|b| if a == b { 0 } else { 5_000 }).collect());
    let mut setup = Setup::calm(delays.collect());
    // Three syncs lie on the way of a command: three times the delay a coordinator is given.
    let sync_us = setup.tuning.recovery_delay.0;
    setup.disks = vec![SyncTime::constant(sync_us); n];
    setup.tuning.recovery_delay.0 = sync_us;
    setup.safety_us = 600_000_000;
    setup.workload.clients_per_replica = 3;
    setup.workload.commands = 150;
    setup.workload.timeout_us = 600_000_000;
    let report = run_setup::<EPaxos>(1, setup, false);
    assert_eq!(report.violation, None);
    let proposed = report.coverage.get("proposed");
    let again = report.coverage.get("proposed_again");
    println!("{proposed} proposed, {again} of them again; {} acknowledged", report.acknowledged);
    assert!(report.acknowledged > 0);
    assert!(again * 4 < proposed, "{again} of {proposed} were proposed again");
}
