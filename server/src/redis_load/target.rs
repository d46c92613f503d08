//! A city's port as a target of load: its connections, and the workloads' commands in Redis' words.
//!
//! A command that is one operation is one Redis command; several without a condition are `MULTI` and
//! `EXEC` in one message. What has conditions, or compares before it sets, is what a Redis client has to do
//! for it: `WATCH` and read, look, then `MULTI`, write, `EXEC`; two round trips to the port, and
//! another city's write between them undoes it. Undone and refused transactions are answers, and counted.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use panchayat::ProposeError;
use panchayat::kv::{Condition, KvCommand, KvOp};
use panchayat_bench::target::{Answered, Target};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::client::{Client, Reply};

/// Who does not answer for so long does not answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The port of a city.
#[derive(Clone, Debug)]
pub(super) struct City(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    addr: SocketAddr,
    user: Option<(String, String)>,
    /// As many places as there may be connections.
    places: Semaphore,
    idle: Mutex<VecDeque<Client>>,
    told: Told,
}

/// What became of transactions, and what else was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Undone because a watched key had changed.
    pub(super) undone: AtomicU64,
    /// Not begun, because a condition did not hold.
    pub(super) declined: AtomicU64,
    /// The last error, in the server's words.
    pub(super) last_error: Mutex<Option<String>>,
}

impl City {
    /// The port at `addr`, with at most so many connections.
    pub(super) fn new(
        addr: SocketAddr,
        user: Option<(String, String)>,
        connections_max: usize,
    ) -> Self {
        Self(Arc::new(Shared {
            addr,
            user,
            places: Semaphore::new(connections_max),
            idle: Mutex::default(),
            told: Told::default(),
        }))
    }

    /// What was told.
    pub(super) fn told(&self) -> &Told {
        &self.0.told
    }

    /// Finds out whether anybody answers there.
    pub(super) async fn greet(&self) -> io::Result<()> {
        let mut client = Client::connect(self.0.addr, self.0.user.as_ref()).await?;
        match &client.ask(&[[&b"PING"[..]]]).await?[..] {
            [Reply::Error(why)] => Err(io::Error::other(why.clone())),
            _ => {
                self.0.idle.lock().push_back(client);
                Ok(())
            }
        }
    }

    async fn answer(&self, command: &KvCommand) -> Result<(), ProposeError> {
        // Never closed.
        let _place = self.0.places.acquire().await.map_err(|_| ProposeError::Shutdown)?;
        let idle = self.0.idle.lock().pop_back();
        let mut client = match idle {
            Some(client) => client,
            None => match Client::connect(self.0.addr, self.0.user.as_ref()).await {
                Ok(client) => client,
                Err(error) => {
                    self.note(error.to_string());
                    return Err(ProposeError::Shutdown);
                }
            },
        };
        let answered = tokio::time::timeout(PATIENCE, transact(&mut client, command, &self.0.told));
        let result = match answered.await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => {
                self.note(error.to_string());
                return Err(ProposeError::Unknown);
            }
            Err(_) => return Err(ProposeError::Unknown),
        };
        self.0.idle.lock().push_back(client);
        result.map_err(|why| {
            let error = match why.split(' ').next() {
                Some("UNKNOWN") => ProposeError::Unknown,
                Some("TRYAGAIN") => ProposeError::Overloaded,
                _ => ProposeError::Shutdown,
            };
            self.note(why);
            error
        })
    }

    fn note(&self, error: String) {
        *self.0.told.last_error.lock() = Some(error);
    }
}

impl Target for City {
    async fn propose(&self, command: &KvCommand) -> Result<Answered, ProposeError> {
        self.answer(command).await?;
        Ok(Answered { committed_at: None, executed_at: Instant::now(), fast: false })
    }

    /// The cluster may come back.
    fn goes_on(&self, _: &ProposeError) -> bool {
        true
    }
}

/// A Redis command, word by word.
type Words = Vec<Bytes>;

/// What is sent, and what the server said against it. An error of the connection comes first.
async fn transact(
    client: &mut Client,
    command: &KvCommand,
    told: &Told,
) -> io::Result<Result<(), String>> {
    let (conditions, ops) = match command {
        KvCommand::One(op) => {
            let (conditions, op) = alone(op);
            if conditions.is_empty() {
                return Ok(all(send(client, &[op]).await?));
            }
            (conditions, vec![op])
        }
        KvCommand::Transaction { conditions, ops } => {
            let mut all = conditions.clone();
            let words = ops.iter().map(|op| {
                let (conditions, words) = alone(op);
                all.extend(conditions);
                words
            });
            let words: Vec<_> = words.collect();
            (all, words)
        }
    };
    if !conditions.is_empty() {
        let keys: Vec<_> = conditions.iter().map(key).collect();
        let watch = std::iter::once(word("WATCH")).chain(keys.iter().cloned()).collect();
        let gets = keys.iter().map(|key| vec![word("GET"), key.clone()]);
        let asked: Vec<Words> = std::iter::once(watch).chain(gets).collect();
        let replies = send(client, &asked).await?;
        if let Some(why) = replies.iter().find_map(error) {
            return Ok(Err(why));
        }
        if !conditions.iter().zip(&replies[1..]).all(|(condition, value)| holds(condition, value)) {
            told.declined.fetch_add(1, Ordering::Relaxed);
            return Ok(all(send(client, &[vec![word("UNWATCH")]]).await?));
        }
    }
    let multi = std::iter::once(vec![word("MULTI")]).chain(ops);
    let whole: Vec<Words> = multi.chain([vec![word("EXEC")]]).collect();
    let replies = send(client, &whole).await?;
    if replies.last() == Some(&Reply::Nil) {
        told.undone.fetch_add(1, Ordering::Relaxed);
    }
    Ok(all(replies))
}

async fn send(client: &mut Client, commands: &[Words]) -> io::Result<Vec<Reply>> {
    let borrowed: Vec<Vec<&[u8]>> =
        commands.iter().map(|words| words.iter().map(|word| &word[..]).collect()).collect();
    client.ask(&borrowed).await
}

fn all(replies: Vec<Reply>) -> Result<(), String> {
    // Of a transaction the last word counts: it repeats what was wrong with the others.
    replies.last().and_then(error).map_or(Ok(()), Err)
}

fn error(reply: &Reply) -> Option<String> {
    match reply {
        Reply::Error(why) => Some(why.clone()),
        _ => None,
    }
}

fn word(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// An operation as a Redis command, and what must hold for it.
fn alone(op: &KvOp) -> (Vec<Condition>, Words) {
    let words = match op {
        KvOp::Get { key } => vec![word("GET"), key.clone()],
        KvOp::Put { key, value } => vec![word("SET"), key.clone(), value.clone()],
        // Redis has nothing that mixes: it is a write of as many bytes to the same key.
        KvOp::Mix { key, salt } => vec![word("SET"), key.clone(), salt.clone()],
        KvOp::Append { key, suffix } => vec![word("APPEND"), key.clone(), suffix.clone()],
        KvOp::Delete { key } => vec![word("DEL"), key.clone()],
        KvOp::Add { key, amount } => {
            vec![word("INCRBY"), key.clone(), amount.to_string().into()]
        }
        KvOp::CompareAndSet { key, expected: None, new: Some(new) } => {
            vec![word("SET"), key.clone(), new.clone(), word("NX")]
        }
        KvOp::CompareAndSet { key, expected, new } => {
            let condition = Condition::Is { key: key.clone(), expected: expected.clone() };
            let words = match new {
                Some(new) => vec![word("SET"), key.clone(), new.clone()],
                None => vec![word("DEL"), key.clone()],
            };
            return (vec![condition], words);
        }
    };
    (Vec::new(), words)
}

fn key(condition: &Condition) -> Bytes {
    match condition {
        Condition::Is { key, .. } | Condition::AtLeast { key, .. } => key.clone(),
    }
}

fn holds(condition: &Condition, value: &Reply) -> bool {
    let value = match value {
        Reply::Text(value) => Some(value),
        _ => None,
    };
    match condition {
        Condition::Is { expected, .. } => value == expected.as_ref(),
        Condition::AtLeast { least, .. } => {
            let number = value.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
            number.unwrap_or(0i64) >= *least
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panchayat_bench::workload::{Kind, Workload};

    #[test]
    fn every_workload_can_be_said_in_redis_words() {
        for kind in Kind::all() {
            let mut stream = Workload::of(kind, &kind.shape(), 1).unwrap().stream(0);
            for _ in 0..200 {
                let ops = match stream.command() {
                    KvCommand::One(op) => vec![op],
                    KvCommand::Transaction { ops, .. } => ops,
                };
                for op in ops {
                    let words = alone(&op).1;
                    let name = String::from_utf8(words[0].to_vec()).unwrap();
                    let spec = crate::redis::find(name.as_bytes());
                    assert!(spec.is_some_and(|spec| spec.takes(words.len() - 1)), "{kind}: {name}");
                }
            }
        }
    }

    #[test]
    fn conditions_are_judged_by_what_was_read() {
        let least = Condition::AtLeast { key: Bytes::new(), least: -5 };
        assert!(holds(&least, &Reply::Nil));
        assert!(holds(&least, &Reply::Text("-5".into())));
        assert!(!holds(&least, &Reply::Text("-6".into())));
        let absent = Condition::Is { key: Bytes::new(), expected: None };
        assert!(holds(&absent, &Reply::Nil) && !holds(&absent, &Reply::Text("".into())));
    }
}
