//! Tatkal: at ten o'clock a thousand people in three cities want the last twenty berths.
//!
//! `cargo run --release -p panchayat --example seats`
//!
//! Every booking is one command: the berth is the passenger's if it was nobody's. Each berth gets
//! exactly one winner, whoever asked where; everybody else is refused, and told who was first. A
//! client that got no answer asks again with the same request, elsewhere, and is never counted
//! twice. The program checks all that at every replica, and fails if it is not so.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use panchayat::kv::{KvCommand, KvOp, KvOutput, KvStore};
use panchayat::{LocalCluster, LocalConfig, Replica, Requests, Topology};
use tokio::task::JoinSet;

const PEOPLE: usize = 1_000;
const BERTHS: usize = 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run(PEOPLE, BERTHS).await
}

/// What one person was told: which berth, and whose it is.
struct Told {
    person: String,
    berth: String,
    owner: String,
}

async fn run(people: usize, berths: usize) -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let mut config = LocalConfig::new(Topology::builtin(), "india3", dir.path());
    config.profile = Some("backbone".into());
    let cluster = LocalCluster::start(config, |_city| KvStore::default()).await?;

    let began = Instant::now();
    let mut asking = JoinSet::new();
    for person in 0..people {
        let cities = cluster.replicas().to_vec();
        asking.spawn(book(cities, person, format!("berth {}", person % berths)));
    }
    let told: Vec<Told> = asking.join_all().await.into_iter().collect::<Result<_, _>>()?;
    let took = began.elapsed();

    let winners: BTreeMap<&str, &str> = told
        .iter()
        .filter(|told| told.owner == told.person)
        .map(|told| (told.berth.as_str(), told.person.as_str()))
        .collect();
    let won = told.iter().filter(|told| told.owner == told.person).count();
    if (winners.len(), won) != (berths, berths) {
        return Err(format!("{won} winners of {} berths, there are {berths}", winners.len()).into());
    }
    if let Some(wrong) = told.iter().find(|told| winners[told.berth.as_str()] != told.owner) {
        let Told { person, berth, owner } = wrong;
        return Err(format!("{person} was told that {berth} is {owner}'s").into());
    }
    for city in cluster.replicas() {
        for (berth, winner) in &winners {
            let get = KvCommand::One(KvOp::Get { key: Bytes::copy_from_slice(berth.as_bytes()) });
            let found = city.propose(&get).await?;
            if found != KvOutput::Value(Some(Bytes::copy_from_slice(winner.as_bytes()))) {
                return Err(format!("{} says of {berth}: {found:?}", city.name()).into());
            }
        }
    }
    println!(
        "{people} people, {berths} berths: {won} winners, {} refused, in {:.2} s; all {} replicas agree",
        people - won,
        took.as_secs_f64(),
        cluster.replicas().len()
    );
    cluster.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

/// Asks until there is an answer: in the person's own city first, then elsewhere.
async fn book(cities: Vec<Replica<KvStore>>, person: usize, berth: String) -> Result<Told, String> {
    let name = format!("passenger {person}");
    let command = KvCommand::One(KvOp::CompareAndSet {
        key: berth.clone().into(),
        expected: None,
        new: Some(name.clone().into()),
    });
    // One name for all attempts: of those at most one is applied.
    let request = Requests::new().next();
    for attempt in 0..50 {
        let city = &cities[(person + attempt) % cities.len()];
        let answer = city.propose_request(request, &command);
        match tokio::time::timeout(Duration::from_secs(5), answer).await {
            Ok(Ok(KvOutput::Compared { applied: true, .. })) => {
                return Ok(Told { person: name.clone(), berth, owner: name });
            }
            Ok(Ok(KvOutput::Compared { found: Some(owner), .. })) => {
                let owner = String::from_utf8_lossy(&owner).into_owned();
                return Ok(Told { person: name, berth, owner });
            }
            Ok(Ok(other)) => return Err(format!("{name} was answered {other:?}")),
            // Overloaded, or unknown, or too late: the same request again.
            Ok(Err(_)) | Err(_) => {
                tokio::time::sleep(Duration::from_millis(20 * (attempt as u64 + 1))).await;
            }
        }
    }
    Err(format!("{name} got no answer"))
}

#[cfg(test)]
mod tests {
    #[tokio::test(flavor = "multi_thread")]
    async fn every_berth_has_one_winner() {
        super::run(200, 7).await.unwrap();
    }
}
