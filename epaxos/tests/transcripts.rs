//! Readable scenarios: events in, what replicas say and do out.
//!
//! A script is a list of lines: `r0 proposes x` (a write of key x), `r0 > r1` (everything from r0
//! to r1 in flight arrives), `r0 dies`, `r1 recovers r0/1`, `r0 adds-to x` (an update that commutes),
//! `r0 reads x`. The transcript says what was sent and executed.

use std::collections::VecDeque;
use std::fmt::Write as _;

use bytes::Bytes;
use panchayat_consensus::{
    Assurance, Command, Durable, Effects, Footprint, Input, InstanceId, KeyHash, Mode, Now, Output,
    Protocol, Quorums, RecordSeq, ReplicaId, Span, Token, WallTime,
};
use panchayat_epaxos::{Config, EPaxos, Message, Record};

struct Cluster {
    replicas: Vec<EPaxos>,
    network: VecDeque<(ReplicaId, ReplicaId, Message)>,
    dead: Vec<ReplicaId>,
    transcript: String,
}

impl Cluster {
    fn new(n: usize) -> Self {
        let quorums = Quorums::for_replicas(n).unwrap();
        let replicas = (0..n as u8).map(|seat| {
            let config = Config::new(ReplicaId(seat), quorums, Span::from_ms(30));
            let mut effects = Effects::default();
            let mut replica = EPaxos::restore(config, [], Now::default(), &mut effects);
            replica.step(Now::default(), Input::Durable(everything()), &mut effects);
            replica
        });
        Self {
            replicas: replicas.collect(),
            network: VecDeque::new(),
            dead: Vec::new(),
            transcript: String::new(),
        }
    }

    fn step(
        &mut self,
        seat: ReplicaId,
        act: impl FnOnce(&mut EPaxos, &mut Effects<Message, Record>),
    ) {
        let mut effects = Effects::default();
        act(&mut self.replicas[seat.index()], &mut effects);
        let mut read = false;
        for output in effects.take_outputs() {
            match output.open(everything()) {
                Ok(Output::Send { message: Message::Status { .. }, .. }) | Err(_) => {}
                Ok(Output::Send { to, message }) => {
                    writeln!(self.transcript, "{seat} -> {to:?} {}", brief(&message)).unwrap();
                    let alive = to.iter().filter(|to| !self.dead.contains(to));
                    self.network.extend(alive.map(|to| (seat, to, message.clone())));
                }
                Ok(Output::Committed { path, .. }) => {
                    writeln!(self.transcript, "{seat} committed ({path:?})").unwrap();
                }
                Ok(Output::Rejected { reason, .. }) => {
                    writeln!(self.transcript, "{seat} rejected: {reason:?}").unwrap();
                }
                Ok(Output::ReadReady { whole, .. }) => {
                    assert!(!whole, "nobody vouches for the whole state");
                    read = true;
                }
                Ok(other) => panic!("{seat} never says {other:?}"),
            }
        }
        for execution in effects.take_executions() {
            if let Ok(execution) = execution.open(everything()) {
                let answered = if execution.token.is_some() { ", answers" } else { "" };
                writeln!(self.transcript, "{seat} executes {}{answered}", execution.id).unwrap();
            }
        }
        if read {
            writeln!(self.transcript, "{seat} answers a read").unwrap();
        }
    }

    fn run(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [who, "reads", key] => {
                let (token, footprint) = (Token(2), Footprint::read(key.as_bytes()));
                let input = Input::Read { token, assurance: Assurance::Quorum, footprint };
                self.step(replica(who), |epaxos, fx| epaxos.step(Now::default(), input, fx));
            }
            [who, what @ ("proposes" | "adds-to"), key] => {
                let mode = if what == "adds-to" { Mode::Commute } else { Mode::Write };
                let footprint = Footprint::new([(KeyHash::of(key.as_bytes()), mode)]);
                let command = Command {
                    footprint,
                    proposed_at: WallTime(0),
                    request: None,
                    payload: Bytes::new(),
                };
                let input = Input::Propose { token: Token(1), command };
                self.step(replica(who), |epaxos, fx| epaxos.step(Now::default(), input, fx));
            }
            [from, ">", to] => {
                let (from, to) = (replica(from), replica(to));
                let network = std::mem::take(&mut self.network);
                let (arriving, rest): (Vec<_>, Vec<_>) =
                    network.into_iter().partition(|(f, t, _)| (*f, *t) == (from, to));
                self.network.extend(rest);
                assert!(!arriving.is_empty(), "{line}: nothing is in flight");
                for (from, to, message) in arriving {
                    let input = Input::Receive { from, message };
                    self.step(to, |epaxos, fx| epaxos.step(Now::default(), input, fx));
                }
            }
            [who, "dies"] => {
                let who = replica(who);
                self.dead.push(who);
                self.network.retain(|(_, to, _)| *to != who);
            }
            [who, "recovers", id] => {
                let (lane, slot) = id.split_once('/').expect("r0/1");
                let id = InstanceId::new(replica(lane), slot.parse().unwrap());
                self.step(replica(who), |epaxos, fx| epaxos.recover(id, Now::default(), fx));
            }
            _ => panic!("not a line of a script: {line}"),
        }
        for replica in &self.replicas {
            replica.check_invariants();
        }
    }
}

fn everything() -> Durable {
    Durable(RecordSeq(u64::MAX))
}

fn replica(name: &str) -> ReplicaId {
    ReplicaId(name.strip_prefix('r').and_then(|seat| seat.parse().ok()).expect("r0, r1, …"))
}

fn brief(message: &Message) -> String {
    let text = format!("{message:?}");
    let name = text.split([' ', '{']).next().unwrap_or_default().to_owned();
    let id = message.instance().map(|id| format!(" {id}")).unwrap_or_default();
    let rest = match message {
        Message::PreAccept { deps, .. } | Message::PreAcceptOk { deps, .. } => format!(" {deps:?}"),
        Message::Accept { value, deps, .. } | Message::Commit { value, deps, .. } => {
            let value = if *value == panchayat_epaxos::Proposal::Nop { " Nop" } else { "" };
            format!("{value} {deps:?}")
        }
        Message::RecoverOk { report, .. } => format!(" {:?}", report.phase),
        Message::ReadOk { named, .. } => format!(" {named:?}"),
        Message::ValidateOk { invalidators, .. } => {
            format!(" {:?}", invalidators.iter().map(|i| i.id).collect::<Vec<_>>())
        }
        _ => String::new(),
    };
    format!("{name}{id}{rest}")
}

#[track_caller]
fn check(n: usize, script: &str, expected: &str) {
    let mut cluster = Cluster::new(n);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        cluster.run(line);
    }
    let trimmed = |text: &str| -> String {
        text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    };
    let (found, expected) = (trimmed(&cluster.transcript), trimmed(expected));
    assert!(found == expected, "found:\n{found}\n\nexpected:\n{expected}");
}

#[test]
fn without_conflicts_one_round_trip_to_the_nearest_is_enough() {
    check(
        3,
        "r0 proposes x
         r0 > r1
         r1 > r0
         r0 > r2",
        "r0 -> {r1, r2} PreAccept r0/1 [0, 0, 0]
         r1 -> {r0} PreAcceptOk r0/1 [0, 0, 0]
         r0 committed (Fast)
         r0 -> {r1, r2} Commit r0/1 [0, 0, 0]
         r0 executes r0/1, answers
         r2 -> {r0} PreAcceptOk r0/1 [0, 0, 0]
         r2 executes r0/1",
    );
}

#[test]
fn a_conflict_the_origin_does_not_know_costs_a_second_round_trip() {
    check(
        3,
        "r0 proposes x
         r1 proposes x
         r0 > r1
         r1 > r0
         r1 > r2
         r2 > r1
         r0 > r1
         r1 > r0",
        "r0 -> {r1, r2} PreAccept r0/1 [0, 0, 0]
         r1 -> {r0, r2} PreAccept r1/1 [0, 0, 0]
         r1 -> {r0} PreAcceptOk r0/1 [0, 1, 0]
         r0 -> {r1} PreAcceptOk r1/1 [1, 0, 0]
         r0 -> {r1, r2} Accept r0/1 [0, 1, 0]
         r2 -> {r1} PreAcceptOk r1/1 [0, 0, 0]
         r1 committed (Fast)
         r1 -> {r0, r2} Commit r1/1 [0, 0, 0]
         r1 executes r1/1, answers
         r1 -> {r0} AcceptOk r0/1
         r0 executes r1/1
         r0 committed (Slow)
         r0 -> {r1, r2} Commit r0/1 [0, 1, 0]
         r0 executes r0/1, answers",
    );
}

#[test]
fn what_a_dead_coordinator_may_have_committed_is_committed() {
    check(
        3,
        "r0 proposes x
         r0 > r1
         r0 dies
         r1 recovers r0/1
         r1 > r2
         r2 > r1
         r1 > r2
         r2 > r1
         r1 > r2
         r2 > r1",
        "r0 -> {r1, r2} PreAccept r0/1 [0, 0, 0]
         r1 -> {r0} PreAcceptOk r0/1 [0, 0, 0]
         r1 -> {r0, r2} Recover r0/1
         r2 -> {r1} RecoverOk r0/1 Initial
         r1 -> {r2} Validate r0/1
         r2 -> {r1} ValidateOk r0/1 []
         r1 -> {r0, r2} Accept r0/1 [0, 0, 0]
         r2 -> {r1} AcceptOk r0/1
         r1 -> {r0, r2} Commit r0/1 [0, 0, 0]
         r1 executes r0/1",
    );
}

#[test]
fn a_coordinator_that_takes_part_in_a_recovery_did_not_commit_and_proposes_again() {
    check(
        3,
        "r0 proposes x
         r0 recovers r0/1
         r0 > r1
         r1 > r0
         r0 > r1
         r1 > r0",
        "r0 -> {r1, r2} PreAccept r0/1 [0, 0, 0]
         r0 -> {r1, r2} Recover r0/1
         r1 -> {r0} PreAcceptOk r0/1 [0, 0, 0]
         r1 -> {r0} RecoverOk r0/1 PreAccepted
         r0 -> {r1, r2} Accept r0/1 Nop [0, 0, 0]
         r1 -> {r0} AcceptOk r0/1
         r0 -> {r1, r2} PreAccept r0/2 [1, 0, 0]
         r0 -> {r1, r2} Commit r0/1 Nop [0, 0, 0]",
    );
}

#[test]
fn no_write_waits_for_a_read() {
    check(
        3,
        "r0 reads x
         r0 > r1
         r1 proposes x
         r1 > r2
         r2 > r1
         r1 > r0",
        "r0 -> {r1, r2} Read
         r1 -> {r0} ReadOk [0, 0, 0]
         r1 -> {r0, r2} PreAccept r1/1 [0, 0, 0]
         r2 -> {r1} PreAcceptOk r1/1 [0, 0, 0]
         r1 committed (Fast)
         r1 -> {r0, r2} Commit r1/1 [0, 0, 0]
         r1 executes r1/1, answers
         r0 answers a read
         r0 -> {r1} PreAcceptOk r1/1 [0, 0, 0]
         r0 executes r1/1",
    );
}

#[test]
fn a_read_waits_for_the_writes_it_is_told_of() {
    check(
        3,
        "r1 proposes x
         r1 > r2
         r0 reads x
         r0 > r2
         r2 > r0
         r2 > r1
         r1 > r0",
        "r1 -> {r0, r2} PreAccept r1/1 [0, 0, 0]
         r2 -> {r1} PreAcceptOk r1/1 [0, 0, 0]
         r0 -> {r1, r2} Read
         r2 -> {r0} ReadOk [0, 1, 0]
         r1 committed (Fast)
         r1 -> {r0, r2} Commit r1/1 [0, 0, 0]
         r1 executes r1/1, answers
         r0 -> {r1} PreAcceptOk r1/1 [0, 0, 0]
         r0 executes r1/1
         r0 answers a read",
    );
}

/// Two readers might each see one of two such updates, and not the other.
#[test]
fn a_read_that_has_seen_an_update_that_commutes_is_ordered() {
    check(
        3,
        "r0 reads x
         r1 adds-to x
         r1 > r2
         r2 > r1
         r1 > r0
         r0 > r1",
        "r0 -> {r1, r2} Read
         r1 -> {r0, r2} PreAccept r1/1 [0, 0, 0]
         r2 -> {r1} PreAcceptOk r1/1 [0, 0, 0]
         r1 committed (Fast)
         r1 -> {r0, r2} Commit r1/1 [0, 0, 0]
         r1 executes r1/1, answers
         r0 -> {r1} PreAcceptOk r1/1 [0, 0, 0]
         r0 -> {r1, r2} PreAccept r0/1 [0, 1, 0]
         r0 executes r1/1
         r1 -> {r0} ReadOk [0, 1, 0]
         r1 -> {r0} PreAcceptOk r0/1 [0, 1, 0]",
    );
}
