//! Clients inside the world, and what proposals come back as.

use std::borrow::Cow;

use panchayat_consensus::wire::to_bytes;
use panchayat_consensus::{
    ClientId, Command, InstanceId, NotApplied, Path, ReadLevel, Request, Token, WallTime,
};
use panchayat_core::kv::{KvCommand, KvOutput, KvStore};
use panchayat_core::{Answer as Reply, Doubt, StateMachine};

use super::{Event, Job, OPERATOR_TOKENS, Phase, SCRIPT_TOKENS, World};
use crate::client::{Acknowledged, Answer, ClientEvent, ClientEventKind, Pending, register_of};
use crate::flaw::{Flaw, Invariant};
use crate::subject::{Checks, Part, Subject};

/// How long a client waits before it looks again for a replica that is up.
const RETRY_US: u64 = 20_000;
/// How often a client tries a request before it gives in.
const ATTEMPTS_MAX: u32 = 12;

impl<P: Subject> World<P> {
    pub(super) fn client_acts(&mut self, client: usize) -> Result<(), Flaw> {
        if self.setup.workload.until_us.is_some_and(|until_us| self.now_us >= until_us) {
            self.commands_left = 0;
        }
        if self.commands_left == 0 || self.clients[client].pending.is_some() {
            return Ok(());
        }
        let Some(replica) = self.replica_for(client) else {
            self.queue.push(self.now_us + RETRY_US, Event::Client { client });
            return Ok(());
        };
        self.commands_left -= 1;
        self.next_op += 1;
        let op = self.next_op;
        let urged = std::mem::take(&mut self.clients[client].urged);
        let asking = &self.clients[client];
        let mut workload = Cow::Borrowed(&self.setup.workload);
        if urged {
            workload.to_mut().hot_percent = 100;
        }
        let command =
            workload.command(&format!("o{op}"), &mut self.client_rng, |key| asking.last_seen(key));
        let process = asking.process;
        let level = self.draw_level(&command);
        let asking = &self.clients[client];
        let (key, asked_us) = (register_of(&command), self.now_us);
        let retries = self.setup.workload.retries && level.is_none();
        let request = retries.then(|| Request {
            client: ClientId(u128::from(process) + 1),
            sequence: op,
            issued_at: self.nodes[asking.home].clock.now(self.now_us).wall,
        });
        let attempts = 0;
        if !matches!(level, Some(ReadLevel::Stale { .. })) {
            self.note(process, op, replica, ClientEventKind::Invoke(command.clone()));
        }
        let pending = Pending {
            op,
            replica,
            key,
            command,
            level,
            request,
            attempts,
            asked_us,
            committed: None,
        };
        self.clients[client].pending = Some(pending);
        self.stats.commands += 1;
        self.try_pending(client, replica)
    }

    /// Hands what `client` waits for to `replica`, for the first time or again.
    fn try_pending(&mut self, client: usize, replica: usize) -> Result<(), Flaw> {
        let Some(pending) = &mut self.clients[client].pending else { return Ok(()) };
        (pending.replica, pending.committed) = (replica, None);
        pending.attempts += 1;
        let (op, command, request) = (pending.op, pending.command.clone(), pending.request);
        let level = pending.level;
        let attempt = pending.attempts;
        let node = &mut self.nodes[replica];
        node.next_token += 1;
        let token = Token(node.next_token);
        node.tokens.insert(token, (client, op));
        if self.phase == Phase::Safety {
            let at = self.now_us + self.setup.workload.timeout_us;
            self.queue.push(at, Event::ClientTimeout { client, op, attempt });
        }
        match level {
            Some(level) => self.ask(replica, token, &command, level),
            None => self.propose(replica, token, &command, request),
        }
    }

    /// Tries again at some replica what the client still waits for, once it was told to wait.
    pub(super) fn client_tries_again(&mut self, client: usize, op: u64) -> Result<(), Flaw> {
        if self.clients[client].pending.as_ref().is_none_or(|pending| pending.op != op) {
            return Ok(());
        }
        let up = self.serving();
        if up.is_empty() {
            self.queue.push(self.now_us + RETRY_US, Event::ClientRetry { client, op });
            return Ok(());
        }
        *self.stats.named.entry("requests_retried").or_default() += 1;
        let replica = *self.client_rng.pick(&up);
        self.try_pending(client, replica)
    }

    /// Hands a command to a replica as its driver would.
    pub(super) fn propose(
        &mut self,
        replica: usize,
        token: Token,
        command: &KvCommand,
        request: Option<Request>,
    ) -> Result<(), Flaw> {
        let node = &mut self.nodes[replica];
        if !node.is_up() {
            return Ok(());
        }
        let wall = node.clock.now(self.now_us).wall.0;
        node.last_proposed_at = wall.max(node.last_proposed_at + 1);
        let mut command = Command::new(KvStore::footprint(command), request, to_bytes(command));
        command.proposed_at = WallTime(node.last_proposed_at);
        let at = node.place();
        self.checks.proposed(at, &command);
        self.give(replica, Job::Propose { token, command })
    }

    fn replica_for(&mut self, client: usize) -> Option<usize> {
        let home = self.clients[client].home;
        let up = self.serving();
        if up.contains(&home) {
            return Some(home);
        }
        if up.is_empty() { None } else { Some(*self.client_rng.pick(&up)) }
    }

    /// Replicas that clients ask: those that are up and members, as far as they know.
    fn serving(&self) -> Vec<usize> {
        let newest = self.newest_roster().map(|(_, roster)| roster);
        let serves = |replica: &usize| {
            let node = &self.nodes[*replica];
            // Once all is well, clients know whom to ask.
            let known = self.phase == Phase::Safety || newest.is_some_and(|r| r.contains(node.id));
            let part = node.group.as_ref().map(|group| group.protocol().part());
            known && node.is_up() && part.is_some_and(|part| part > Part::Outside)
        };
        (0..self.nodes.len()).filter(serves).collect()
    }

    pub(super) fn note(&mut self, process: u32, op: u64, replica: usize, kind: ClientEventKind) {
        let replica = self.nodes[replica].id;
        self.history.push(ClientEvent { at_us: self.now_us, process, op, replica, kind });
    }

    /// The client's operation is over; it goes on after a pause.
    pub(super) fn client_goes_on(&mut self, client: usize) {
        let think = match self.phase {
            Phase::Safety => self.client_rng.below(self.setup.workload.think_us + 1),
            _ => self.client_rng.below(1_000),
        };
        self.queue.push(self.now_us + think, Event::Client { client });
    }

    /// The outcome of what `client` waits for cannot be known. It tries again if it can; otherwise
    /// a new process takes its place.
    pub(super) fn client_loses(&mut self, client: usize) {
        if let Some(pending) = &self.clients[client].pending
            && pending.request.is_some()
            && pending.attempts < ATTEMPTS_MAX
        {
            let (op, pause) = (pending.op, self.client_rng.below(RETRY_US) + 1);
            self.queue.push(self.now_us + pause, Event::ClientRetry { client, op });
            return;
        }
        self.client_gives_in(client);
    }

    fn client_gives_in(&mut self, client: usize) {
        let Some(pending) = self.clients[client].pending.take() else { return };
        let process = self.clients[client].process;
        if pending.level.is_none() {
            self.note(process, pending.op, pending.replica, ClientEventKind::Unknown);
            self.stats.unknown += 1;
        }
        self.clients[client].process = self.next_process;
        self.next_process += 1;
        self.client_goes_on(client);
    }

    pub(super) fn client_gives_up(&mut self, client: usize, op: u64, attempt: u32) {
        let asked = (op, attempt);
        let pending = self.clients[client].pending.as_ref();
        let waits = pending.is_some_and(|pending| (pending.op, pending.attempts) == asked);
        if waits && self.phase == Phase::Safety {
            self.client_loses(client);
        }
    }

    /// Clients that wait for a replica that is no member any more ask another.
    pub(super) fn clients_of_outsiders(&mut self) {
        let Some((_, roster)) = self.newest_roster() else { return };
        let outside: Vec<usize> =
            (0..self.nodes.len()).filter(|at| !roster.contains(self.nodes[*at].id)).collect();
        outside.into_iter().for_each(|replica| self.clients_of_dead(replica));
    }

    /// Every client that waits for `replica` learns that it died.
    pub(super) fn clients_of_dead(&mut self, replica: usize) {
        for client in 0..self.clients.len() {
            if self.clients[client].pending.as_ref().is_some_and(|p| p.replica == replica) {
                self.client_loses(client);
            }
        }
    }

    pub(super) fn clients_waiting(&self) -> usize {
        self.clients.iter().filter(|client| client.pending.is_some()).count()
    }

    /// Whether all clients are done.
    pub(super) fn clients_done(&self) -> bool {
        (self.commands_left == 0 || self.clients.is_empty()) && self.clients_waiting() == 0
    }

    /// The client that waits for this token, if it still does.
    pub(super) fn waiting_for(&mut self, replica: usize, token: Token) -> Option<(usize, Pending)> {
        let (client, op) = self.nodes[replica].tokens.remove(&token)?;
        let pending = self.clients[client].pending.as_ref()?;
        (pending.op == op).then(|| (client, pending.clone()))
    }

    pub(super) fn token_committed(&mut self, replica: usize, token: Token, path: Path) {
        let name = match path {
            Path::Fast => "answers_fast",
            Path::Slow => "answers_slow",
            Path::Recovered => "answers_recovered",
        };
        *self.stats.named.entry(name).or_default() += 1;
        if token.0 >= OPERATOR_TOKENS {
            return;
        }
        if token.0 >= SCRIPT_TOKENS {
            let scripted = &mut self.script[(token.0 - SCRIPT_TOKENS) as usize];
            scripted.committed.get_or_insert((self.now_us, path));
            return;
        }
        let waiting = self.nodes[replica].tokens.get(&token);
        if let Some((client, op)) = waiting
            && let Some(pending) = &mut self.clients[*client].pending
            && pending.op == *op
        {
            pending.committed = Some((self.now_us, path));
        }
    }

    pub(super) fn token_answered(
        &mut self,
        replica: usize,
        token: Token,
        id: Option<InstanceId>,
        answer: Reply<KvOutput>,
    ) -> Result<(), Flaw> {
        let (output, duplicate) = match answer {
            Reply::Applied(output) => (output, false),
            Reply::Duplicate(output) => (output, true),
            Reply::Unknown(Doubt::StateReplaced | Doubt::Unreachable) => {
                if let Some((client, _)) = self.waiting_for(replica, token) {
                    self.client_loses(client);
                }
                return Ok(());
            }
            Reply::OutputNotKept | Reply::Unknown(_) => {
                if let Some((client, _)) = self.waiting_for(replica, token) {
                    *self.stats.named.entry("requests_unknown").or_default() += 1;
                    self.client_gives_in(client);
                }
                return Ok(());
            }
            Reply::Sealed => {
                *self.stats.named.entry("seals_answered").or_default() += 1;
                return Ok(());
            }
            Reply::Undecodable => {
                let text = format!("the payload proposed as {token:?} does not decode");
                return Err(Flaw::general(Invariant::Validity, text));
            }
        };
        if token.0 >= SCRIPT_TOKENS {
            let scripted = &mut self.script[(token.0 - SCRIPT_TOKENS) as usize];
            scripted.executed_us.get_or_insert(self.now_us);
            return Ok(());
        }
        let Some((client, pending)) = self.waiting_for(replica, token) else { return Ok(()) };
        self.clients[client].pending = None;
        self.clients[client].learn(pending.key, &output);
        self.stats.acknowledged += 1;
        match id {
            Some(id) if !duplicate => {
                self.checks.answered(id);
                let (at_us, footprint) = (self.now_us, KvStore::footprint(&pending.command));
                self.acknowledged.push(Acknowledged { op: pending.op, id, at_us, footprint });
            }
            None if !duplicate => {
                let text = format!("{token:?} is answered though nothing was executed");
                return Err(Flaw::general(Invariant::ClosedDependencies, text));
            }
            _ => *self.stats.named.entry("answers_duplicate").or_default() += 1,
        }
        self.answers.push(Answer {
            replica: self.nodes[replica].id,
            asked_us: pending.asked_us,
            committed: pending.committed,
            answered_us: self.now_us,
        });
        let process = self.clients[client].process;
        self.note(process, pending.op, replica, ClientEventKind::Return(output));
        self.client_goes_on(client);
        Ok(())
    }

    pub(super) fn token_rejected(&mut self, replica: usize, token: Token, reason: NotApplied) {
        let Some((client, pending)) = self.waiting_for(replica, token) else { return };
        self.stats.rejected += 1;
        if pending.attempts > 1 {
            // This attempt had no effect; an earlier one may have.
            self.client_loses(client);
            return;
        }
        self.clients[client].pending = None;
        self.stats.commands -= 1;
        self.commands_left += 1;
        let process = self.clients[client].process;
        self.note(process, pending.op, replica, ClientEventKind::NotApplied(reason));
        self.queue.push(self.now_us + RETRY_US, Event::Client { client });
    }
}
