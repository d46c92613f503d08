//! Orders on a few symbols, and a model that must tell each client what it was told.
//!
//! The exchange numbers the orders of a symbol in the order in which it takes them. So a history is
//! linearizable if one book that is given the orders by their numbers answers each as it was
//! answered, and if no order has a smaller number than one that was answered before it was placed.
//! Numbers without an order, or with two, are orders that were lost or applied twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use panchayat::conformance::Draw;
use panchayat::identity::Identity;
use panchayat::{ApplyContext, Cluster, InstanceId, ReplicaId, StateMachine, WallTime};
use tokio::task::JoinHandle;

use crate::asking::{Asking, Known};
use crate::exchange::{Exchange, Order, Placed, Side};
use crate::load::wait_until;

/// The workload.
pub(crate) const NAME: &str = "orderbook";

const SYMBOLS: [&str; 2] = ["INFY", "TCS"];
const CLIENTS: u64 = 4;

/// An order that was answered.
struct Answered {
    order: Order,
    placed: Placed,
    invoked: Instant,
    returned: Instant,
}

pub(crate) struct Orders {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

struct Shared {
    cluster: Cluster,
    identity: Identity,
    stop: AtomicBool,
    acknowledged: AtomicU64,
    repeated: AtomicU64,
    answered: Mutex<Vec<Answered>>,
}

impl Orders {
    /// Lets clients place orders.
    pub(crate) fn start(cluster: &Cluster, identity: &Identity) -> Self {
        let shared = Arc::new(Shared {
            cluster: cluster.clone(),
            identity: identity.clone(),
            stop: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            answered: Mutex::default(),
        });
        let clients = (0..CLIENTS).map(|client| {
            let shared = shared.clone();
            tokio::spawn(async move { shared.run_client(client).await })
        });
        let clients = clients.collect();
        Self { shared, clients }
    }

    /// Waits until `more` orders have been answered.
    pub(crate) async fn wait_for_more(&self, more: u64, when: &str) {
        wait_until(|| self.shared.acknowledged.load(Ordering::Relaxed), more, when).await;
    }

    /// Stops the clients, and checks what they were told.
    pub(crate) async fn finish(self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("a client ended in order");
        }
        let answered = self.shared.answered.lock().expect("not poisoned");
        for symbol in SYMBOLS {
            check(symbol, answered.iter().filter(|answered| answered.order.symbol == symbol));
        }
        println!(
            "  {} orders, {} attempts repeated elsewhere: one book answers them all",
            answered.len(),
            self.shared.repeated.load(Ordering::Relaxed)
        );
    }
}

fn check<'a>(symbol: &str, answered: impl Iterator<Item = &'a Answered>) {
    let mut by_number: BTreeMap<u64, &Answered> = BTreeMap::new();
    for order in answered {
        let number = order.placed.number;
        assert!(by_number.insert(number, order).is_none(), "two orders of {symbol} are {number}");
    }
    let mut exchange = Exchange::default();
    let mut placed_by_then: Option<Instant> = None;
    for (expected, (number, order)) in (1..).zip(by_number) {
        assert_eq!(number, expected, "an order of {symbol} was applied that nobody placed so");
        let id = InstanceId::new(ReplicaId(0), number);
        let context = ApplyContext { id, proposed_at: WallTime(0) };
        let placed = exchange.apply(&context, order.order.clone());
        assert_eq!(placed, order.placed, "{:?} of {symbol}", order.order);
        // Nobody further back in the queue may have been answered before this one was placed.
        assert!(
            placed_by_then.is_none_or(|latest| latest <= order.returned),
            "order {number} of {symbol} was answered before an earlier one was placed"
        );
        placed_by_then = placed_by_then.max(Some(order.invoked));
    }
}

impl Shared {
    async fn run_client(&self, client: u64) {
        let mut asking = Asking::new(&self.cluster, &self.identity, NAME);
        let mut draw = Draw::new(1_000 + client);
        let seat = client as usize % self.cluster.members.len();
        while !self.stop.load(Ordering::Relaxed) {
            let order = Order {
                symbol: (*draw.pick(&SYMBOLS)).to_owned(),
                side: *draw.pick(&[Side::Buy, Side::Sell]),
                price: 95 + draw.below(10),
                quantity: 1 + draw.below(9),
            };
            let (request, invoked) = (asking.next(), Instant::now());
            let Known::Answer(placed) = asking.settle::<Exchange>(request, seat, &order).await
            else {
                panic!("the fills of {order:?} were too long to be kept");
            };
            let returned = Instant::now();
            let answered = Answered { order, placed, invoked, returned };
            self.answered.lock().expect("not poisoned").push(answered);
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        self.repeated.fetch_add(asking.repeated, Ordering::Relaxed);
    }
}
