//! What a connection remembers, and what becomes of a request.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use panchayat::{ReadLevel, Span};

use super::encode::Resp;
use super::registry::Peer;
use super::request::Request;
use super::service::Service;
use super::transaction::Multi;
use super::{client, keyspace, server, transaction};
use crate::redis::{Batch, Call, Guard, Keys, Reply, Run, Spec, find, parse_integer};

/// Longest part of a request that an error repeats.
const SHOWN_BYTES_MAX: usize = 128;

/// `EXEC` with arguments: it ends the transaction all the same.
const EXEC_ARITY: &str = "EXECABORT Transaction discarded because of: wrong number of arguments for \
                          'exec' command";

/// The memory of a connection.
pub(super) struct Session {
    pub(super) service: Arc<Service>,
    pub(super) peer: Arc<Peer>,
    pub(super) resp: Resp,
    /// How current reads have to be.
    pub(super) level: ReadLevel,
    pub(super) multi: Option<Multi>,
    /// Versions that `EXEC` will insist on.
    pub(super) watched: Vec<Guard>,
}

/// What a request of several steps leaves behind.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) watched: Vec<Guard>,
}

/// Several steps.
pub(super) type Steps = Pin<Box<dyn Future<Output = (Reply, Changes)> + Send>>;

/// What to do about a request.
pub(super) enum Step {
    /// Answer.
    Reply(Reply),
    /// Answer, then end the connection.
    Close(Reply),
    /// Have it executed.
    Call { workload: usize, call: Call },
    /// Have it executed as a whole.
    Transaction { workload: usize, batch: Batch, known: Vec<Option<Reply>> },
    /// Take several steps while nothing else is under way.
    Steps(Steps),
}

impl Session {
    pub(super) fn new(service: Arc<Service>, peer: Arc<Peer>) -> Self {
        Self {
            service,
            peer,
            resp: Resp::Two,
            level: ReadLevel::Linearizable,
            multi: None,
            watched: Vec::new(),
        }
    }

    /// What it takes beside what is under way, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let watched: usize = self.watched.iter().map(|guard| guard.key().len() + 48).sum();
        watched + self.multi.as_ref().map_or(0, Multi::bytes)
    }

    /// What to do about `request`.
    pub(super) fn step(&mut self, request: Request) -> Step {
        self.service.counters.commands.fetch_add(1, Ordering::Relaxed);
        let at = self.peer.began.elapsed().as_millis() as u64;
        self.peer.last_ms.store(at, Ordering::Relaxed);
        match self.understand(request) {
            Ok((spec, args)) => self.begin(spec, args),
            Err(error) => {
                if matches!(&error, Reply::Error(text) if text == EXEC_ARITY) {
                    self.multi = None;
                    self.watched.clear();
                }
                if let Some(multi) = &mut self.multi {
                    multi.fail();
                }
                Step::Reply(error)
            }
        }
    }

    /// The command that is meant, and its arguments.
    fn understand(&self, mut request: Request) -> Result<(&'static Spec, Vec<Bytes>), Reply> {
        let name = request.first().filter(|name| !name.contains(&b'|'));
        let spec = name.and_then(|name| find(name)).ok_or_else(|| unknown(&request))?;
        if !spec.takes(request.len() - 1) {
            return Err(match spec.name {
                "EXEC" => Reply::error(EXEC_ARITY),
                name => wrong_arity(&name.to_lowercase()),
            });
        }
        request.remove(0);
        Ok((spec, request))
    }

    fn begin(&mut self, spec: &'static Spec, args: Vec<Bytes>) -> Step {
        if self.multi.is_some() && !transaction::is_immediate(spec) {
            return Step::Reply(transaction::queue(self, spec, args));
        }
        if spec.is_data() {
            return self.begin_data(spec, args);
        }
        match spec.name {
            "MULTI" | "EXEC" | "DISCARD" | "UNWATCH" => transaction::step(self, spec),
            "RESET" => self.reset(),
            "QUIT" => Step::Close(Reply::OK),
            "OBJECT" => match object(&args) {
                Ok(call) => self.begin_call(call),
                Err(error) => Step::Reply(error),
            },
            _ => Step::Reply(self.answer(spec, &args)),
        }
    }

    fn begin_data(&mut self, spec: &'static Spec, args: Vec<Bytes>) -> Step {
        match Call::new(spec, args) {
            Some(call) if spec.keys == Keys::Everything => Step::Steps(keyspace::steps(self, call)),
            Some(call) if spec.name == "WATCH" => transaction::watch(self, call),
            Some(call) => self.begin_call(call),
            None => Step::Reply(wrong_arity(&spec.name.to_lowercase())),
        }
    }

    fn begin_call(&mut self, call: Call) -> Step {
        match self.service.workload_of_all(call.keys()) {
            Ok(workload) => Step::Call { workload, call },
            Err(error) => Step::Reply(error),
        }
    }

    /// The answer to what is about the connection or the server, and has one at once.
    pub(super) fn answer(&mut self, spec: &'static Spec, args: &[Bytes]) -> Reply {
        match spec.name {
            "PING" => match args {
                [] => Reply::Simple("PONG".into()),
                [text] => Reply::Bulk(text.clone()),
                _ => wrong_arity("ping"),
            },
            "ECHO" => Reply::Bulk(args[0].clone()),
            "SELECT" => match parse_integer(&args[0]) {
                Some(0) => Reply::OK,
                Some(_) => Reply::error("ERR DB index is out of range"),
                None => Reply::error("ERR value is not an integer or out of range"),
            },
            "HELLO" => client::hello(self, args),
            "AUTH" => client::auth(args),
            "CLIENT" => client::client(self, args),
            "READONLY" => self.readonly(args),
            "READWRITE" => {
                self.level = ReadLevel::Linearizable;
                Reply::OK
            }
            _ => server::answer(&self.service, spec, args),
        }
    }

    /// From here on reads are answered from the state of this replica alone: however old it is, or
    /// up to so many milliseconds.
    fn readonly(&mut self, args: &[Bytes]) -> Reply {
        let max = match args {
            [] => Span::MAX,
            [ms] => match parse_integer(ms).and_then(|ms| u64::try_from(ms).ok()) {
                Some(ms) => Span(ms.saturating_mul(1_000)),
                None => return Reply::error("ERR value is not an integer or out of range"),
            },
            _ => return wrong_arity("readonly"),
        };
        self.level = ReadLevel::Stale { max };
        Reply::OK
    }

    fn reset(&mut self) -> Step {
        self.multi = None;
        self.watched.clear();
        self.resp = Resp::Two;
        self.level = ReadLevel::Linearizable;
        self.peer.about.lock().name.clear();
        Step::Reply(Reply::Simple("RESET".into()))
    }

    /// Lets others know what it does.
    pub(super) fn publish(&self, last: &'static str) {
        let mut about = self.peer.about.lock();
        about.last = last;
        about.resp = self.resp.number();
        about.queued = self.multi.as_ref().map(Multi::len);
        about.watched = self.watched.len();
    }
}

/// `OBJECT`, whose subcommands are about keys.
pub(super) fn object(args: &[Bytes]) -> Result<Call, Reply> {
    if args[0].eq_ignore_ascii_case(b"encoding") {
        let call = find(b"OBJECT|ENCODING").and_then(|spec| Call::new(spec, args[1..].to_vec()));
        return call.ok_or_else(|| wrong_arity("object|encoding"));
    }
    Err(unknown_subcommand("OBJECT", &args[0]))
}

/// Whether a command of the connection has an answer at once.
pub(super) fn is_connection(spec: &Spec) -> bool {
    matches!(spec.run, Run::Connection)
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES_MAX)]).into_owned()
}

fn unknown(request: &[Bytes]) -> Reply {
    let name = request.first().map_or_else(String::new, |name| shown(name));
    let mut args = String::new();
    for arg in request.iter().skip(1) {
        if args.len() >= SHOWN_BYTES_MAX {
            break;
        }
        let room = SHOWN_BYTES_MAX - args.len();
        args += &format!("'{}' ", shown(&arg[..arg.len().min(room)]));
    }
    Reply::error(format!("ERR unknown command '{name}', with args beginning with: {args}"))
}

pub(super) fn wrong_arity(name: &str) -> Reply {
    Reply::error(format!("ERR wrong number of arguments for '{name}' command"))
}

pub(super) fn unknown_subcommand(command: &str, subcommand: &[u8]) -> Reply {
    let subcommand = shown(subcommand);
    Reply::error(format!("ERR unknown subcommand '{subcommand}'. Try {command} HELP."))
}
