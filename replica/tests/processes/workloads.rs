//! Replicas with three workloads, each under another protocol, killed and left behind while money
//! moves, orders match and alerts are raised.

use std::time::{Duration, Instant};

use crate::Scenario;
use crate::child::{ALERTS, WORKLOADS};
use crate::cluster::Processes;
use crate::load::{Load, PATIENCE};
use crate::orders::Orders;
use crate::payments::Payments;

/// Their names, and whether they take long.
pub(crate) const SCENARIOS: &[(&str, Scenario, bool)] = &[
    ("money_is_conserved_across_kills_snapshots_and_a_state_transfer", once, false),
    ("money_is_conserved_through_many_kills", many_times, true),
];

/// Payments with one replica down, after which it needs a state: it keeps 300 for nobody.
const TO_BE_LEFT_BEHIND: u64 = 1_200;

struct Loads {
    payments: Payments,
    orders: Orders,
    alerts: Load,
}

impl Loads {
    async fn start(processes: &Processes) -> Self {
        let (cluster, client) = (&processes.cluster, &processes.client);
        Self {
            payments: Payments::start(cluster, client).await,
            orders: Orders::start(cluster, client),
            alerts: Load::start_at(cluster, client, 3, Some(ALERTS)),
        }
    }

    async fn wait_for_more(&self, more: u64, when: &str) {
        self.payments.wait_for_more(more, when).await;
        self.orders.wait_for_more(more, when).await;
        self.alerts.wait_for_more(more, when).await;
    }

    async fn finish(self) {
        self.payments.finish().await;
        self.orders.finish().await;
        self.alerts.finish().await;
    }
}

fn once(runtime: &tokio::runtime::Runtime, _protocol: &'static str) {
    runtime.block_on(rounds(1));
}

fn many_times(runtime: &tokio::runtime::Runtime, _protocol: &'static str) {
    runtime.block_on(rounds(8));
}

/// In every round one replica, another each time, dies; is left behind; dies again while it takes
/// over states; and in the end all die at once. Snapshots are taken all the time.
async fn rounds(count: usize) {
    let mut processes = Processes::start_small(WORKLOADS, 3);
    let loads = Loads::start(&processes).await;
    for round in 0..count {
        let victim = (round + 2) % 3;
        loads.wait_for_more(60, "before the kill").await;
        processes.kill(victim);
        loads.payments.wait_for_more(TO_BE_LEFT_BEHIND, "with one replica down").await;
        loads.wait_for_more(60, "with one replica down").await;
        processes.restart(victim);
        tokio::time::sleep(Duration::from_millis(100 + 30 * round as u64)).await;
        let mut over = states_taken_over(&processes, victim);
        processes.kill(victim);
        processes.restart(victim);
        loads.payments.wait_for_more_at(victim, 30, "at the replica left behind").await;
        let deadline = Instant::now() + PATIENCE;
        while over + states_taken_over(&processes, victim) == 0 {
            assert!(Instant::now() < deadline, "no state was taken over");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        over += states_taken_over(&processes, victim);
        let taken: Vec<_> = (0..3).map(|seat| processes.figures_of_all(seat)).collect();
        println!("  round {round}: {over} states taken over; (snapshots, states) {taken:?}");
        assert!(taken.iter().flatten().any(|(taken, _)| *taken > 0), "no snapshot: {taken:?}");
        for seat in 0..3 {
            processes.kill(seat);
        }
        for seat in 0..3 {
            processes.restart(seat);
        }
        loads.wait_for_more(60, "after all were killed").await;
    }
    loads.finish().await;
}

fn states_taken_over(processes: &Processes, seat: usize) -> u64 {
    processes.figures_of_all(seat).iter().map(|(_, over)| over).sum()
}
