//! What a connection remembers, and what becomes of a request.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use panchayat::{ReadLevel, Span};

use super::authentication::Hello;
use super::encode::Resp;
use super::registry::Peer;
use super::request::Request;
use super::service::Service;
use super::transaction::Multi;
use super::{authentication, client, keyspace, server, transaction};
use crate::access::{Account, DEFAULT_USER, no_command};
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
    /// Who it is; nobody yet if there is none.
    pub(super) account: Option<Arc<Account>>,
    /// Since when it is nobody, if it is.
    pub(super) nobody_since: Instant,
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
    /// Who the connection is from now on.
    pub(super) account: Option<Arc<Account>>,
    /// What it has said of itself.
    pub(super) hello: Option<Hello>,
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
        let account = service.access.anonymous().cloned();
        Self {
            service,
            peer,
            account,
            nobody_since: Instant::now(),
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
            Ok((spec, _)) if self.account.is_none() && !authentication::is_free(spec) => {
                Step::Reply(Reply::error(authentication::NOAUTH))
            }
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
            "AUTH" => authentication::auth(self, &args),
            "HELLO" => authentication::hello(self, &args),
            "OBJECT" => match self.call(spec, args) {
                Ok(call) => self.begin_call(call),
                Err(error) => Step::Reply(error),
            },
            _ => Step::Reply(self.answer(spec, &args)),
        }
    }

    fn begin_data(&mut self, spec: &'static Spec, args: Vec<Bytes>) -> Step {
        match self.call(spec, args) {
            Ok(call) if spec.keys == Keys::Everything => Step::Steps(keyspace::steps(self, call)),
            Ok(call) if spec.name == "WATCH" => transaction::watch(self, call),
            Ok(call) => self.begin_call(call),
            Err(error) => Step::Reply(error),
        }
    }

    /// The call that a command about data makes, if whoever asks may make it. There is no other way
    /// from a request to a call.
    pub(super) fn call(&self, spec: &'static Spec, args: Vec<Bytes>) -> Result<Call, Reply> {
        let call = match spec.name {
            "OBJECT" => object(&args)?,
            name => Call::new(spec, args).ok_or_else(|| wrong_arity(&name.to_lowercase()))?,
        };
        match &self.account {
            Some(account) => account.rights.admit(call),
            None => Err(Reply::error(authentication::NOAUTH)),
        }
    }

    /// Whether it may look at, and end, other connections.
    pub(super) fn require_admin(&self, command: &str) -> Result<(), Reply> {
        let admin = self.account.as_ref().is_some_and(|account| account.rights.admin);
        if admin { Ok(()) } else { Err(no_command(command)) }
    }

    /// Applies what several steps leave behind; how replies are written from here on.
    pub(super) fn change(&mut self, changes: Changes) -> Resp {
        self.watched.extend(changes.watched);
        if let Some(account) = changes.account {
            self.peer.about.lock().user.clone_from(&account.name);
            self.account = Some(account);
        }
        if let Some(hello) = changes.hello {
            hello.apply(self);
        }
        self.resp
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
            // Who is somebody else comes to be that before or after a transaction, not within.
            "HELLO" => authentication::hello_now(self, args),
            "CLIENT" => client::client(self, args),
            "READONLY" => self.readonly(args),
            "READWRITE" => {
                self.level = ReadLevel::Linearizable;
                Reply::OK
            }
            _ => server::answer(self, spec, args),
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
        let account = self.service.access.anonymous().cloned();
        // Whoever is nobody does not get more time by saying so again.
        if self.account.is_some() && account.is_none() {
            self.nobody_since = Instant::now();
        }
        self.account = account;
        let mut about = self.peer.about.lock();
        about.name.clear();
        about.user = DEFAULT_USER.to_owned();
        drop(about);
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
fn object(args: &[Bytes]) -> Result<Call, Reply> {
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

/// A part of a request, as an error repeats it.
pub(super) fn shown(bytes: &[u8]) -> String {
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
