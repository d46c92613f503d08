use std::collections::HashMap;

use bytes::Bytes;
use panchayat_consensus::{ClientId, Command, Footprint, Request, Span, WallTime};
use proptest::prelude::*;

use super::*;
use crate::state_machine::RestoreError;

const RETENTION: u64 = 20_000_000;

fn config() -> SessionConfig {
    SessionConfig {
        retention: Span(RETENTION),
        output_bytes_max: 30,
        skew: Span(2_000_000),
        entries_max: 3,
        bytes_max: 1 << 20,
    }
}

fn request(client: u128, sequence: u64, issued_at: u64) -> Request {
    Request { client: ClientId(client), sequence, issued_at: WallTime(issued_at) }
}

fn command(request: Request, proposed_at: u64) -> Command {
    let mut command = Command::new(Footprint::new([]), Some(request), Bytes::new());
    command.proposed_at = WallTime(proposed_at);
    command
}

/// Executes as a group does; the output says which command it was.
fn execute(sessions: &mut Sessions, number: usize, command: &Command) -> Verdict {
    let verdict = sessions.judge(command);
    sessions.count_executed();
    if verdict == Verdict::Apply {
        sessions.record(&command.request.unwrap(), &output(number));
    }
    verdict
}

/// Outputs of every kind: short, long, and too long to be kept.
fn output(number: usize) -> Vec<u8> {
    let mut output = number.to_le_bytes().to_vec();
    output.resize(8 + number % 4 * 9, 7);
    output
}

/// The rule without forgetting.
#[derive(Default)]
struct Model(HashMap<(ClientId, u64), (u64, Option<Bytes>)>);

impl Model {
    fn execute(&mut self, number: usize, command: &Command) -> Verdict {
        let request = command.request.unwrap();
        if command.proposed_at.0 > request.issued_at.0 + RETENTION {
            return Verdict::TooOld;
        }
        let name = (request.client, request.sequence);
        if let Some((issued_at, output)) = self.0.get(&name)
            && command.proposed_at.0 <= issued_at + RETENTION
        {
            return Verdict::Duplicate(output.clone());
        }
        let kept = Some(output(number)).filter(|output| output.len() <= 30).map(Bytes::from);
        self.0.insert(name, (request.issued_at.0, kept));
        Verdict::Apply
    }
}

fn written(sessions: &Sessions) -> Vec<u8> {
    let mut bytes = Vec::new();
    sessions.view().write(&mut bytes).unwrap();
    bytes
}

/// A command: client, sequence, issue time, proposal time (both in quarter seconds).
type Drawn = (u128, u64, u64, u64);

/// Runs `order` at one replica that prunes and restarts where `moments` say. Gives the verdict on
/// each command, and the last horizon.
fn run(
    commands: &[Command],
    order: &[usize],
    moments: &[(u64, bool)],
) -> (Vec<Verdict>, Sessions, WallTime) {
    let mut sessions = Sessions::new(config());
    let mut verdicts = vec![Verdict::Apply; commands.len()];
    let mut last = WallTime(0);
    for (at, number) in order.iter().enumerate() {
        verdicts[*number] = execute(&mut sessions, *number, &commands[*number]);
        let rest = order[at + 1..].iter().map(|number| commands[*number].proposed_at.0);
        let promised = rest.min().unwrap_or(60_000_000).saturating_sub(1);
        let (back, restarts) = moments[at % moments.len()];
        let horizon = WallTime(promised.saturating_sub(back)).max(last);
        if back % 3 != 0 {
            while !sessions.prune(horizon, 2) {}
            last = horizon;
        }
        if restarts {
            let bytes = written(&sessions);
            sessions = Sessions::restore(config(), &mut &bytes[..]).unwrap();
            assert_eq!(written(&sessions), bytes);
        }
    }
    (verdicts, sessions, last)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Two replicas execute the same commands, in orders that agree on every name, and forget and
    /// restart at different moments: nobody can tell them apart, nor from one that never forgets.
    /// Clients may even state different issue times for one request.
    #[test]
    fn forgetting_makes_no_difference(
        drawn in prop::collection::vec((0u128..2, 0u64..3, 0u64..80, 0u64..160), 1..60),
        honest in any::<bool>(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 60),
        here in prop::collection::vec((0u64..9_000_000, prop::bool::weighted(0.2)), 7),
        there in prop::collection::vec((0u64..9_000_000, prop::bool::weighted(0.2)), 5),
    ) {
        let commands: Vec<_> = drawn.iter().map(|(client, sequence, issued, proposed): &Drawn| {
            let issued = if honest { (*client as u64 * 3 + sequence) * 9 } else { *issued };
            let request = request(*client, *sequence, issued * 250_000);
            command(request, (issued * 250_000).max(proposed * 250_000))
        }).collect();
        let one: Vec<usize> = (0..commands.len()).collect();
        // Another order in which commands of one name keep their places among themselves.
        let mut left = one.clone();
        let mut other = Vec::new();
        while !left.is_empty() {
            let picked = left[picks[other.len()].index(left.len())];
            let name = |number: usize| commands[number].request.map(|r| (r.client, r.sequence));
            let at = left.iter().position(|number| name(*number) == name(picked)).unwrap();
            other.push(left.remove(at));
        }
        let mut model = Model::default();
        let expected: Vec<_> =
            one.iter().map(|number| model.execute(*number, &commands[*number])).collect();
        let (verdicts, a, horizon_a) = run(&commands, &one, &here);
        prop_assert_eq!(&verdicts, &expected);
        let (verdicts, b, horizon_b) = run(&commands, &other, &there);
        prop_assert_eq!(&verdicts, &expected);
        prop_assert_eq!(a.digest(), b.digest());
        prop_assert_eq!(a.executed(), b.executed());
        let horizon = horizon_a.max(horizon_b);
        prop_assert_eq!(a.digest_after(horizon), b.digest_after(horizon));
        for mut sessions in [a, b] {
            while !sessions.prune(WallTime(u64::MAX), 2) {}
            prop_assert_eq!((sessions.len(), sessions.bytes()), (0, 0));
        }
        if honest {
            for number in &one {
                let request = commands[*number].request;
                let applied = one.iter().filter(|n| {
                    commands[**n].request == request && expected[**n] == Verdict::Apply
                });
                prop_assert!(applied.count() <= 1, "{request:?} took effect twice");
            }
        }
    }

    #[test]
    fn damaged_bytes_are_refused_or_read_as_something_else_without_a_panic(
        at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<prop::sample::Index>(),
    ) {
        let mut sessions = Sessions::new(config());
        for number in 0..9 {
            execute(&mut sessions, number, &command(request(1, number as u64, 5), 6));
        }
        let mut bytes = written(&sessions);
        let cut = cut.index(bytes.len());
        prop_assert!(Sessions::restore(config(), &mut &bytes[..cut]).is_err());
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let _ = Sessions::restore(config(), &mut &bytes[..]);
    }
}

#[test]
fn too_old_is_tested_before_duplicate_and_exactly_at_the_limit() {
    let mut sessions = Sessions::new(config());
    let request = request(1, 1, 1_000);
    assert_eq!(execute(&mut sessions, 0, &command(request, 1_000)), Verdict::Apply);
    let duplicate = Verdict::Duplicate(Some(output(0).into()));
    assert_eq!(sessions.judge(&command(request, 1_000 + RETENTION)), duplicate);
    assert_eq!(sessions.judge(&command(request, 1_001 + RETENTION)), Verdict::TooOld);
    // One microsecond before it may be forgotten, and then.
    assert!(sessions.prune(WallTime(RETENTION + 999_998), 10));
    assert_eq!(sessions.len(), 1);
    assert!(sessions.prune(WallTime(RETENTION + 999_999), 10));
    assert_eq!(sessions.len(), 0);
    assert_eq!(sessions.bytes(), 0);
}

#[test]
fn the_door_answers_what_is_known_and_refuses_what_it_must() {
    let mut sessions = Sessions::new(config());
    let now = WallTime(100_000_000);
    let (first, second) = (request(1, 1, now.0), request(1, 2, now.0));
    assert_eq!(sessions.admit(&first, now), Admission::Open);
    sessions.record(&first, b"done");
    let known = Admission::Known(Some(Bytes::from_static(b"done")));
    assert_eq!(sessions.admit(&first, now), known);
    // However late: it is known.
    assert_eq!(sessions.admit(&first, WallTime(now.0 * 9)), known);
    let skew = config().skew.0;
    assert_eq!(sessions.admit(&second, WallTime(now.0 - skew)), Admission::Open);
    assert_eq!(sessions.admit(&second, WallTime(now.0 - skew - 1)), Admission::Ahead);
    assert_eq!(sessions.admit(&second, WallTime(now.0 + RETENTION - skew)), Admission::Open);
    assert_eq!(sessions.admit(&second, WallTime(now.0 + RETENTION - skew + 1)), Admission::TooOld);
    sessions.record(&request(2, 1, now.0), &[0; 31]);
    sessions.record(&request(2, 2, now.0), b"");
    assert_eq!(sessions.admit(&second, now), Admission::Full);
    assert_eq!(sessions.admit(&request(2, 1, now.0), now), Admission::Known(None));
    assert_eq!(sessions.bytes(), 3 * ENTRY_BYTES + 4);
    assert_eq!(sessions.judge(&command(second, now.0)), Verdict::Apply, "execution never refuses");
}

#[test]
fn a_table_of_another_retention_is_refused() {
    let bytes = written(&Sessions::new(config()));
    let other = SessionConfig { retention: Span(RETENTION + 1), ..config() };
    let refused = Sessions::restore(other, &mut &bytes[..]).unwrap_err();
    assert!(matches!(refused, RestoreError::Configuration { found: RETENTION, .. }), "{refused}");
    let own = SessionConfig { entries_max: 9, skew: Span(1), ..config() };
    assert!(Sessions::restore(own, &mut &bytes[..]).is_ok(), "limits are each replica's own");
}

#[test]
fn a_view_stays_what_it_was() {
    let mut sessions = Sessions::new(config());
    for number in 0..5_000 {
        execute(&mut sessions, number, &command(request(7, number as u64, 1), 1));
    }
    let view = sessions.view();
    let before = written(&sessions);
    while !sessions.prune(WallTime(RETENTION + 1_000_000), 100) {}
    assert!(sessions.is_empty());
    let mut after = Vec::new();
    view.write(&mut after).unwrap();
    assert_eq!(after, before);
    assert_eq!(view.len(), 5_000);
}

#[test]
fn configurations_that_cannot_work_are_refused() {
    assert_eq!(SessionConfig::default().check(), Ok(()));
    assert!(SessionConfig { skew: Span(RETENTION / 2), ..config() }.check().is_err());
    assert!(SessionConfig { output_bytes_max: 17 << 20, ..config() }.check().is_err());
}
