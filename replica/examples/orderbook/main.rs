//! An exchange: Multi-Paxos led from Mumbai puts every order into one line.
//!
//! `cargo run --release -p panchayat --example orderbook`
//!
//! Order books are the workload that a leader suits: every order of a symbol conflicts with every
//! other. Traders in three cities place orders; afterwards the program plays all orders once more,
//! in the order of the log, through a book of its own, and fails unless every trader was told
//! exactly that, all replicas hold exactly that book, and nobody would still trade.

mod machine;

use std::error::Error;
use std::time::{Duration, Instant};

use machine::{Exchange, Order, Placed, Side};
use panchayat::conformance::Draw;
use panchayat::{
    ApplyContext, InstanceId, Leader, LocalCluster, LocalConfig, MultiPaxosChoice, ProposeError,
    ProtocolChoice, ReadLevel, Replica, StateMachine, Topology, WallTime,
};
use tokio::task::JoinSet;

const SYMBOLS: [&str; 3] = ["INFY", "RELIANCE", "TCS"];

type Failure = Box<dyn Error + Send + Sync>;
/// An order, its place in the log, and what its trader was told.
type Told = (InstanceId, Order, Placed);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    run(30, 100).await
}

/// `traders` place `orders` each.
async fn run(traders: u64, orders: u64) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let mut config = LocalConfig::new(Topology::builtin(), "india3", dir.path());
    config.profile = Some("backbone".into());
    let choice = MultiPaxosChoice { leader: Leader::At("mumbai".into()), ..Default::default() };
    config.protocol = ProtocolChoice::MultiPaxos(choice);
    let cluster = LocalCluster::start(config, |_city| Exchange::default()).await?;

    let began = Instant::now();
    let mut trading = JoinSet::new();
    for trader in 0..traders {
        let city = cluster.replicas()[trader as usize % cluster.replicas().len()].clone();
        trading.spawn(trade(city, trader, orders));
    }
    let mut told: Vec<Told> = Vec::new();
    for trader in trading.join_all().await {
        told.extend(trader?);
    }
    let took = began.elapsed();

    let mut book = Exchange::default();
    let mut fills = 0;
    told.sort_unstable_by_key(|(id, ..)| id.slot);
    for (id, order, placed) in &told {
        let context = ApplyContext { id: *id, proposed_at: WallTime(0) };
        let expected = book.apply(&context, order.clone());
        if *placed != expected {
            return Err(format!("{order:?} was told {placed:?}; it should be {expected:?}").into());
        }
        fills += placed.fills.len();
    }
    if !book.is_uncrossed() {
        return Err("somebody would buy for more than somebody sells for".into());
    }
    for city in cluster.replicas() {
        for symbol in SYMBOLS {
            let best = city.read(symbol.to_owned(), ReadLevel::Linearizable).await?.answer;
            if best != book.query(symbol.to_owned()) {
                return Err(format!("{} quotes {best:?} for {symbol}", city.name()).into());
            }
        }
        let hash = city.metrics().await.ok_or("a city has stopped")?.core.state_hash;
        if hash != book.state_hash() {
            return Err(format!("the books of {} are others", city.name()).into());
        }
    }
    println!(
        "{} orders, {fills} trades in {:.1} s; all books are equal: {}",
        told.len(),
        took.as_secs_f64(),
        book.state_hash()
    );
    cluster.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn trade(city: Replica<Exchange>, trader: u64, orders: u64) -> Result<Vec<Told>, Failure> {
    let mut draw = Draw::new(trader);
    let mut told = Vec::new();
    for _ in 0..orders {
        let order = Order {
            symbol: (*draw.pick(&SYMBOLS)).to_owned(),
            side: *draw.pick(&[Side::Buy, Side::Sell]),
            price: 100_000 + 5 * draw.below(41) - 100,
            quantity: 1 + draw.below(50),
        };
        let applied = loop {
            match city.propose_traced(&order).await {
                Ok(applied) => break applied,
                // Certainly not applied: again, later.
                Err(ProposeError::Overloaded) => {
                    tokio::time::sleep(Duration::from_millis(20)).await
                }
                Err(error) => return Err(error.into()),
            }
        };
        told.push((applied.id, order, applied.output));
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    #[tokio::test(flavor = "multi_thread")]
    async fn every_trader_was_told_the_truth() {
        super::run(6, 20).await.unwrap();
    }
}
