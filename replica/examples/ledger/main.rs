//! Payments between accounts in three cities, while one of them is killed and comes back.
//!
//! `cargo run --release -p panchayat --example ledger`
//!
//! Clients pay at their own city, and when they get no answer they try the same request at the
//! next one until they know what became of it. Delhi is killed in the middle and restarted from
//! its disk. Then the books are audited at every city:
//!
//! * money is conserved: there is as much as came in from outside;
//! * every payment that was acknowledged was applied exactly once, every other one never;
//! * all cities have the same books.
//!
//! The program fails if one of these does not hold. The state machine is in `machine.rs`.

mod machine;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use machine::{Command, Ledger, Outcome, Query};
use panchayat::conformance::Draw;
use panchayat::{
    LocalCluster, LocalConfig, ReadLevel, Replica, ReplicaId, Request, Requests, Topology,
};
use parking_lot::Mutex;
use tokio::task::JoinSet;

const ACCOUNTS: u32 = 30;
/// The account that everybody buys from.
const SHOP: u32 = 0;
const OPENING_PAISE: u64 = 200_000;
const DELHI: ReplicaId = ReplicaId(1);
/// Attempts that got no answer, of all clients.
static RETRIES: AtomicU64 = AtomicU64::new(0);

type Cities = Arc<Mutex<Vec<Replica<Ledger>>>>;
type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    run(12, 100).await
}

/// `clients` make `payments` each.
async fn run(clients: u64, payments: u64) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let mut config = LocalConfig::new(Topology::builtin(), "india3", dir.path());
    config.profile = Some("backbone".into());
    let mut cluster = LocalCluster::start(config, |_city| Ledger::default()).await?;
    let cities: Cities = Arc::new(Mutex::new(cluster.replicas().to_vec()));

    for account in 0..ACCOUNTS {
        let deposit =
            Command::Deposit { reference: account.into(), to: account, paise: OPENING_PAISE };
        settle(&cities, Requests::new().next(), 0, &deposit).await?;
    }

    let began = Instant::now();
    let mut paying = JoinSet::new();
    for client in 0..clients {
        paying.spawn(pay(cities.clone(), client, payments));
    }
    tokio::time::sleep(Duration::from_millis(payments * 10)).await;
    println!("Delhi is killed");
    cluster.kill(DELHI);
    tokio::time::sleep(Duration::from_millis(payments * 10)).await;
    cluster.restart(DELHI, Ledger::default()).await?;
    *cities.lock() = cluster.replicas().to_vec();
    println!("Delhi is back");

    let mut paid = Vec::new();
    for client in paying.join_all().await {
        paid.extend(client?);
    }
    let done = paid.iter().filter(|(_, outcome)| *outcome == Outcome::Done).count();
    println!(
        "{} payments in {:.1} s: {done} done, {} refused for lack of money, {} attempts repeated",
        paid.len(),
        began.elapsed().as_secs_f64(),
        paid.len() - done,
        RETRIES.load(Ordering::Relaxed)
    );
    audit(&cluster, &paid).await?;
    cluster.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// One client: gives the reference and the outcome of each of its payments.
async fn pay(cities: Cities, client: u64, payments: u64) -> Result<Vec<(u64, Outcome)>, Failure> {
    let requests = Requests::new();
    let mut draw = Draw::new(client);
    let mut paid = Vec::new();
    for payment in 0..payments {
        let reference = (client + 1) << 32 | payment;
        let from = draw.below(ACCOUNTS.into()) as u32;
        let to = match draw.percent(40) {
            true => SHOP,
            false => draw.below(ACCOUNTS.into()) as u32,
        };
        let to = if to == from { (from + 1) % ACCOUNTS } else { to };
        let paise = 100 + draw.below(20_000);
        let command = Command::Pay { reference, from, to, paise };
        let (request, home) = (requests.next(), client as usize);
        let outcome = match draw.percent(15) {
            true => press_twice(&cities, request, home, &command).await?,
            false => settle(&cities, request, home, &command).await?,
        };
        paid.push((reference, outcome));
    }
    Ok(paid)
}

/// An impatient client asks at two cities at once: it pays once, and both tell it the same.
async fn press_twice(
    cities: &Cities,
    request: Request,
    home: usize,
    command: &Command,
) -> Result<Outcome, Failure> {
    let (one, other) = tokio::try_join!(
        settle(cities, request, home, command),
        settle(cities, request, home + 1, command)
    )?;
    match one == other {
        true => Ok(one),
        false => Err(format!("{command:?} was answered {one:?} and {other:?}").into()),
    }
}

/// Tries one request at one city after the other until one of them knows what became of it.
async fn settle(
    cities: &Cities,
    request: Request,
    home: usize,
    command: &Command,
) -> Result<Outcome, Failure> {
    for attempt in 0..100 {
        let city = {
            let cities = cities.lock();
            cities[(home + attempt) % cities.len()].clone()
        };
        let answer = city.propose_request(request, command);
        match tokio::time::timeout(Duration::from_secs(3), answer).await {
            Ok(Ok(outcome)) => return Ok(outcome),
            // Refused, unknown or late: whatever it was, the request may be tried again.
            Ok(Err(_)) | Err(_) => RETRIES.fetch_add(1, Ordering::Relaxed),
        };
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(format!("nobody knows what became of {command:?}").into())
}

async fn audit(cluster: &LocalCluster<Ledger>, paid: &[(u64, Outcome)]) -> Result<(), Failure> {
    let expected = u64::from(ACCOUNTS) * OPENING_PAISE;
    for city in cluster.replicas() {
        let name = city.name();
        let read = async |query| -> Result<u64, Failure> {
            Ok(city.read(query, ReadLevel::Linearizable).await?.answer)
        };
        let total = read(Query::Total).await?;
        if total != expected {
            return Err(format!("{name} has {total} paise; {expected} came in").into());
        }
        let mut sum = 0;
        for account in 0..ACCOUNTS {
            sum += read(Query::Balance(account)).await?;
        }
        if sum != total {
            return Err(format!("the accounts of {name} hold {sum} of {total} paise").into());
        }
        for (reference, outcome) in paid {
            // The reads above were linearizable: this state holds everything that was answered.
            let level = ReadLevel::Stale { max: panchayat::Span::MAX };
            let times = city.read(Query::Applied(*reference), level).await?.answer;
            if times != u64::from(*outcome == Outcome::Done) {
                let text = format!("{name} applied payment {reference:x} {times} times");
                return Err(format!("{text}; its client was told {outcome:?}").into());
            }
        }
        println!("{name}: {total} paise, every payment applied as it was acknowledged");
    }
    let mut hashes = Vec::new();
    for city in cluster.replicas() {
        hashes.push(city.metrics().await.ok_or("a city has stopped")?.core.state_hash);
    }
    if hashes.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(format!("the books differ: {hashes:?}").into());
    }
    println!("the books of all cities are equal: {}", hashes[0]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use panchayat::conformance::Suite;

    use super::*;

    #[test]
    fn the_ledger_conforms() {
        let command = |draw: &mut Draw| {
            let (from, paise) = (draw.below(4) as u32, draw.below(60));
            let (reference, to) = (draw.below(12), (from + draw.below(4) as u32) % 4);
            match draw.below(3) {
                0 => Command::Deposit { reference, to, paise },
                _ => Command::Pay { reference, from, to, paise },
            }
        };
        let query = |draw: &mut Draw| match draw.below(3) {
            0 => Query::Balance(draw.below(4) as u32),
            1 => Query::Applied(draw.below(12)),
            _ => Query::Total,
        };
        let report = Suite::new(Ledger::default, command).queries(query).run().unwrap();
        assert!(report.reordered > 1_000 && report.queries > 100, "{report:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_books_balance_though_a_city_is_killed() {
        run(6, 25).await.unwrap();
    }
}
