//! Invariant 11, for reads that take no place in the order: what is answered lacks nothing that
//! was answered to anyone before the read began, or so long ago as the answer admits.

use panchayat_consensus::{Command, ReadLevel, ReadRefusal, Span, Token};
use panchayat_core::kv::{KvAnswer, KvCommand, KvOp, KvOutput, KvQuery, KvStore};
use panchayat_core::{ReadRequest, Reading, StateMachine};

use super::{Job, World};
use crate::client::{ClientEventKind, Pending, ReadSeen};
use crate::flaw::{Flaw, Invariant};
use crate::subject::{Checks, Subject};

/// What clients allow a stale answer to be behind.
const STALE_MAX: [Span; 4] = [Span(0), Span::from_ms(20), Span::from_ms(300), Span::MAX];

impl<P: Subject> World<P> {
    /// Whether a command is asked as a query instead, and how.
    pub(super) fn draw_level(&mut self, command: &KvCommand) -> Option<ReadLevel> {
        let rng = &mut self.query_rng;
        let reads = matches!(command, KvCommand::One(KvOp::Get { .. }));
        if !reads || !rng.percent(self.setup.workload.query_percent) {
            return None;
        }
        Some(match rng.below(10) {
            0..=3 => ReadLevel::Linearizable,
            4..=6 => ReadLevel::Lease,
            _ => ReadLevel::Stale { max: *rng.pick(&STALE_MAX) },
        })
    }

    /// Hands a query to a replica as its driver would.
    pub(super) fn ask(
        &mut self,
        replica: usize,
        token: Token,
        command: &KvCommand,
        level: ReadLevel,
    ) -> Result<(), Flaw> {
        let KvCommand::One(op) = command else { return Ok(()) };
        let query = KvQuery::Get { key: op.key().clone() };
        let node = &self.nodes[replica];
        if !node.is_up() {
            return Ok(());
        }
        let until = node.clock.now(self.now_us).monotonic + Span(self.setup.workload.timeout_us);
        // What a protocol proposes that orders its reads.
        let ordered = Command::read(KvStore::query_footprint(&query));
        self.checks.proposed(node.place(), &ordered);
        self.give(replica, Job::Read { token, request: ReadRequest { query, level, until } })
    }

    /// What became of a query.
    pub(super) fn token_read(
        &mut self,
        replica: usize,
        token: Token,
        outcome: Result<Reading<KvAnswer>, ReadRefusal>,
    ) -> Result<(), Flaw> {
        let Some((client, pending)) = self.waiting_for(replica, token) else { return Ok(()) };
        let Some(level) = pending.level else { return Ok(()) };
        self.clients[client].pending = None;
        let stale = matches!(level, ReadLevel::Stale { .. });
        let process = self.clients[client].process;
        let name = match (&outcome, level) {
            (Ok(_), ReadLevel::Linearizable) => "reads_linearizable",
            (Ok(_), ReadLevel::Lease) => "reads_lease",
            (Ok(Reading { age: Some(Span(0)), .. }), _) => "reads_stale_made_current",
            (Ok(Reading { age: None, .. }), _) => "reads_stale_of_unknown_age",
            (Ok(_), _) => "reads_stale",
            (Err(ReadRefusal::NoLease), _) => "reads_without_lease",
            (Err(ReadRefusal::TooOld { .. }), _) => "reads_too_old",
            (Err(_), _) => "reads_out_of_reach",
        };
        *self.stats.named.entry(name).or_default() += 1;
        let kind = match outcome {
            Ok(Reading { answer, age }) => {
                self.is_current(replica, &pending, level, age)?;
                let KvAnswer::Value(value) = answer else {
                    let text = format!("{token:?} is answered with {answer:?}");
                    return Err(Flaw::general(Invariant::Codec, text));
                };
                let (asked_us, answered_us) = (pending.asked_us, self.now_us);
                let replica = self.nodes[replica].id;
                self.readings.push(ReadSeen { replica, level, asked_us, answered_us, age });
                let output = KvOutput::Value(value);
                if !stale {
                    self.clients[client].learn(pending.key, &output);
                }
                ClientEventKind::Return(output)
            }
            Err(reason) => ClientEventKind::Refused(reason),
        };
        if !stale {
            self.note(process, pending.op, replica, kind);
        }
        self.client_goes_on(client);
        Ok(())
    }

    /// Looks for an answered command that the state lacks and that the answer must hold: those
    /// that conflict with the query, or, if the answer says how old the whole state is, every one.
    fn is_current(
        &self,
        replica: usize,
        pending: &Pending,
        level: ReadLevel,
        age: Option<Span>,
    ) -> Result<(), Flaw> {
        let whole = match (level, age) {
            (ReadLevel::Stale { .. }, None) => return Ok(()),
            (ReadLevel::Stale { .. }, Some(age)) => age > Span(0),
            _ => false,
        };
        if whole && !self.walls_agree() {
            return Ok(());
        }
        let drift = self.setup.drift_ppm[replica].unsigned_abs();
        let age_us = age.unwrap_or_default().0.saturating_mul(1_000_000) / (1_000_000 - drift);
        let before_us = pending.asked_us.saturating_sub(age_us);
        let looks_at = KvStore::footprint(&pending.command);
        let node = &self.nodes[replica];
        let missing = self.acknowledged.iter().find(|known| {
            known.at_us < before_us
                && (whole || known.footprint.conflicts(&looks_at))
                && !node.executed.contains(&known.id)
        });
        match missing {
            None => Ok(()),
            Some(known) => {
                let text = format!(
                    "{} answers operation {} ({level:?}, asked at {} us, age {age:?}) from a state \
                     without operation {}, which was answered at {} us",
                    node.id, pending.op, pending.asked_us, known.op, known.at_us
                );
                Err(Flaw::of(Invariant::StaleRead, known.id, text))
            }
        }
    }

    /// Whether wall clocks have always agreed as well as is configured.
    fn walls_agree(&self) -> bool {
        let drift = self.setup.drift_ppm.iter().map(|ppm| ppm.unsigned_abs()).max();
        let drifted = self.now_us * drift.unwrap_or(0) / 1_000_000;
        2 * (self.skew_max_us + drifted) <= self.setup.sessions.skew.0
    }
}
