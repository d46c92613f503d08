//! Groups over a toy protocol: one replica that decides alone, in the order of proposals.

use std::sync::Arc;

use bytes::Bytes;
use panchayat_consensus::wire::{Decode, DecodeError, Encode, Reader, Writer, to_bytes};
use panchayat_consensus::{
    After, Assurance, ClientId, Command, Effects, Footprint, Input, InstanceId, NotApplied, Now,
    Path, Protocol, ReadRefusal, RecordSeq, ReplicaId, ReplicaSet, Request, Span, Time, Token,
    Value, WallTime,
};
use proptest::prelude::*;

use super::*;
use crate::kv::{KvAnswer, KvCommand, KvOp, KvOutput, KvQuery, KvStore};
use crate::sessions::{SessionConfig, Sessions};

mod reads;

/// "Slot `slot` is decided", or "every slot up to it is executed"; and a promise about proposals.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Note {
    slot: u64,
    value: Option<Value>,
    proposed_after: u64,
}

impl Encode for Note {
    fn encode(&self, out: &mut Writer) {
        out.put_varint(self.slot);
        self.value.clone().unwrap_or(Value::Nop).encode(out);
        out.put_varint(self.proposed_after);
    }
}

impl Decode for Note {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let slot = input.varint()?;
        let value = Some(Value::decode(input)?).filter(|value| !value.is_nop());
        Ok(Self { slot, value, proposed_after: input.varint()? })
    }
}

#[derive(Clone, Debug, Hash, Default)]
struct Toy {
    last: u64,
    proposed_after: u64,
}

impl Toy {
    fn decide(
        &mut self,
        command: Arc<Command>,
        token: Option<Token>,
        after: After,
        effects: &mut Effects<Note, Note>,
    ) {
        self.last += 1;
        let id = InstanceId::new(ReplicaId(0), self.last);
        effects.execute(id, command, token, after);
    }
}

impl Protocol for Toy {
    type Config = ();
    type Message = Note;
    type Record = Note;

    fn restore(
        _: (),
        records: impl IntoIterator<Item = Note>,
        _: Now,
        effects: &mut Effects<Note, Note>,
    ) -> Self {
        let mut toy = Self::default();
        for note in records {
            toy.proposed_after = toy.proposed_after.max(note.proposed_after);
            match note.value.as_ref().and_then(Value::command) {
                None => toy.last = note.slot,
                Some(command) => {
                    assert_eq!(note.slot, toy.last + 1, "a record was lost or came twice");
                    toy.decide(command.clone(), None, After::NOTHING, effects);
                }
            }
        }
        toy
    }

    fn step(&mut self, now: Now, input: Input<Note>, effects: &mut Effects<Note, Note>) {
        match input {
            Input::Propose { token, mut command } => {
                command.proposed_at = now.wall;
                let command = Arc::new(command);
                let value = Some(Value::Command(command.clone()));
                let note = Note { slot: self.last + 1, value, proposed_after: self.proposed_after };
                let after = effects.persist(note.clone());
                effects.send(ReplicaSet::only(ReplicaId(1)), note, after);
                effects.committed(token, Path::Fast, after);
                self.decide(command, Some(token), after, effects);
            }
            // A lease is vouched for at once; a quorum read is ordered.
            Input::Read { token, assurance: Assurance::Lease, .. } => effects.read_ready(token),
            Input::Read { token, footprint, .. } => {
                let command = Command::read(footprint);
                self.step(now, Input::Propose { token, command }, effects);
            }
            Input::Receive { message, .. } => self.proposed_after = message.proposed_after,
            _ => {}
        }
    }

    fn image(&self) -> Vec<Note> {
        vec![Note { slot: self.last, value: None, proposed_after: self.proposed_after }]
    }

    fn handover(image: Vec<Note>) -> Vec<Note> {
        image
    }

    fn can_install(&self, handover: &[Note]) -> bool {
        !handover.is_empty()
    }

    fn install(&mut self, _: Now, handover: Vec<Note>, effects: &mut Effects<Note, Note>) {
        self.last = handover.last().unwrap().slot;
        effects.send(ReplicaSet::only(ReplicaId(1)), handover[0].clone(), effects.after_last());
    }

    fn needs_state(&self) -> ReplicaSet {
        ReplicaSet::EMPTY
    }

    fn hold(&mut self, _: Now) {}

    fn persist_executed(&mut self, _: &mut Effects<Note, Note>) {}

    fn withdraw(&mut self) -> Vec<(Token, Command)> {
        Vec::new()
    }

    fn proposed_after(&self) -> WallTime {
        WallTime(self.proposed_after)
    }

    fn check_invariants(&self) {}
}

type ToyGroup = Group<Toy, KvStore>;

/// What a driver keeps.
#[derive(Default)]
struct Out {
    journal: Vec<Entry<Note>>,
    sent: Vec<u64>,
    answers: Vec<(u64, Answer<KvOutput>)>,
    rejected: Vec<u64>,
    effects: Vec<Effect>,
    readings: Vec<(u64, Result<Reading<KvAnswer>, ReadRefusal>)>,
    snapshots: Vec<SnapshotParts<Toy, KvStore>>,
}

impl Sink<Toy, KvStore> for Out {
    fn persist(&mut self, entry: Entry<Note>) {
        // As a driver does: through bytes.
        self.journal.push(panchayat_consensus::wire::from_bytes(to_bytes(&entry)).unwrap());
    }
    fn persisted(&mut self, upto: RecordSeq) {
        assert_eq!(upto.0, self.journal.len() as u64);
    }
    fn send(&mut self, _: ReplicaSet, message: Note) {
        self.sent.push(message.slot);
    }
    fn committed(&mut self, _: Token, _: Path) {}
    fn executed(&mut self, _: InstanceId, effect: Effect) {
        self.effects.push(effect);
    }
    fn answered(&mut self, token: Token, answer: Answer<KvOutput>) {
        self.answers.push((token.0, answer));
    }
    fn rejected(&mut self, token: Token, reason: NotApplied) {
        assert_eq!(reason, NotApplied::Overloaded);
        self.rejected.push(token.0);
    }
    fn read(&mut self, token: Token, reading: Reading<KvAnswer>) {
        self.readings.push((token.0, Ok(reading)));
    }
    fn read_refused(&mut self, token: Token, reason: ReadRefusal) {
        self.readings.push((token.0, Err(reason)));
    }
    fn snapshot(&mut self, parts: SnapshotParts<Toy, KvStore>) {
        self.snapshots.push(parts);
    }
}

const RETENTION: u64 = 10_000_000;

fn sessions() -> SessionConfig {
    let (retention, skew) = (Span(RETENTION), Span(1_000_000));
    SessionConfig { retention, skew, entries_max: 40, ..SessionConfig::default() }
}

fn now(wall: u64) -> Now {
    Now { monotonic: Time(wall), wall: WallTime(wall) }
}

fn birth() -> Base<KvStore, Note> {
    Base::birth(KvStore::default(), sessions())
}

fn start(base: Base<KvStore, Note>, journal: &[Entry<Note>]) -> ToyGroup {
    Group::restore((), base, journal.to_vec(), now(0)).unwrap()
}

/// A command that appends, so that applying it twice shows.
fn append(request: Option<Request>) -> Command {
    let command = KvCommand::One(KvOp::Append {
        key: Bytes::from_static(b"log"),
        suffix: Bytes::from_static(b"x"),
    });
    Command::new(Footprint::barrier(), request, to_bytes(&command))
}

fn request(sequence: u64, issued_at: u64) -> Option<Request> {
    Some(Request { client: ClientId(1), sequence, issued_at: WallTime(issued_at) })
}

fn propose(group: &mut ToyGroup, wall: u64, token: u64, request: Option<Request>) {
    let command = append(request);
    group.step(now(wall), Input::Propose { token: Token(token), command });
}

fn promise(group: &mut ToyGroup, proposed_after: u64) {
    let message = Note { slot: 0, value: None, proposed_after };
    group.step(now(0), Input::Receive { from: ReplicaId(1), message });
}

fn log_length(group: &ToyGroup) -> usize {
    group.machine().get(b"log").unwrap_or_default().len()
}

/// Through the files: everything written and read back.
fn through_bytes(parts: &SnapshotParts<Toy, KvStore>) -> Base<KvStore, Note> {
    let (mut machine, mut table) = (Vec::new(), Vec::new());
    KvStore::write(&parts.machine, &mut machine).unwrap();
    parts.sessions.write(&mut table).unwrap();
    let machine = KvStore::restore(&mut &machine[..]).unwrap();
    assert_eq!(machine.state_hash(), parts.state_hash);
    Base {
        number: parts.number,
        machine,
        sessions: Sessions::restore(sessions(), &mut &table[..]).unwrap(),
        image: parts.image.clone(),
    }
}

#[test]
fn a_snapshot_holds_exactly_what_its_image_counts_as_executed() {
    let (mut group, mut out) = (start(birth(), &[]), Out::default());
    propose(&mut group, 5, 1, request(1, 5));
    propose(&mut group, 5, 2, request(2, 5));
    group.turn(&mut out);
    // Both are handed out, neither is durable. Then the image is taken, then come more.
    assert_eq!(group.begin_snapshot(), Some(1));
    assert_eq!(group.begin_snapshot(), None, "one at a time");
    group.turn(&mut out);
    propose(&mut group, 6, 3, request(3, 6));
    group.turn(&mut out);
    assert_eq!(out.journal[2], Entry::Mark { snapshot: 1 });
    assert!(out.snapshots.is_empty(), "its commands are not applied");
    group.durable(now(7), RecordSeq(1));
    group.turn(&mut out);
    assert!(out.snapshots.is_empty());
    // One word of the journal frees all three; the state is frozen between the second and third.
    group.durable(now(7), RecordSeq(4));
    group.turn(&mut out);
    assert_eq!((log_length(&group), group.executed()), (3, 3));
    let parts = &out.snapshots[0];
    assert_eq!((parts.after, parts.sessions.executed()), (RecordSeq(3), 2));
    assert_eq!(parts.machine.get(b"log"), Some(&b"xx"[..]));
    let mut again = start(through_bytes(parts), &out.journal);
    let mut out = Out::default();
    again.turn(&mut out);
    assert_eq!(log_length(&again), 3, "the third comes from the journal");
    assert_eq!(again.machine().state_hash(), group.machine().state_hash());
    assert_eq!(again.sessions().digest(), group.sessions().digest());
    assert_eq!(out.effects, [Effect::Applied]);
    assert_eq!(again.begin_snapshot(), Some(2));
}

#[test]
fn marks_are_entries_of_the_journal_but_no_records_of_the_protocol() {
    let (mut group, mut out) = (start(birth(), &[]), Out::default());
    group.begin_snapshot();
    group.turn(&mut out);
    assert_eq!(out.snapshots.len(), 1, "with nothing to wait for it comes at once");
    propose(&mut group, 5, 1, None);
    group.turn(&mut out);
    group.durable(now(6), RecordSeq(1));
    group.turn(&mut out);
    assert!(out.sent.is_empty() && out.answers.is_empty(), "only the mark is durable");
    group.durable(now(6), RecordSeq(2));
    group.turn(&mut out);
    assert_eq!((out.sent.len(), out.answers.len()), (1, 1));
    assert_eq!(group.durable_upto(), RecordSeq(2));
}

#[test]
fn a_journal_that_does_not_belong_to_the_snapshot_is_refused() {
    let base = |number| Base { number, ..birth() };
    let mark = |snapshot| Entry::<Note>::Mark { snapshot };
    let restore = |number, entries| ToyGroup::restore((), base(number), entries, now(0)).err();
    assert_eq!(restore(2, vec![mark(1)]), Some(MarkError::Missing { snapshot: 2 }));
    assert_eq!(restore(2, vec![mark(2), mark(2)]), Some(MarkError::Twice { snapshot: 2 }));
    assert_eq!(restore(2, vec![mark(1), mark(2), mark(3)]), None);
    assert_eq!(restore(0, vec![mark(1)]), None, "begun and never finished");
    let mut group = ToyGroup::restore((), base(2), vec![mark(2), mark(7)], now(0)).unwrap();
    assert_eq!(group.begin_snapshot(), Some(8), "numbers are never used again");
}

#[test]
fn a_retry_is_answered_and_not_applied_again() {
    let (mut group, mut out) = (start(birth(), &[]), Out::default());
    // Two attempts under way at once, then one at the door.
    propose(&mut group, 5, 1, request(1, 5));
    propose(&mut group, 6, 2, request(1, 5));
    group.turn(&mut out);
    group.durable(now(7), RecordSeq(2));
    group.turn(&mut out);
    propose(&mut group, 8, 3, request(1, 5));
    group.turn(&mut out);
    let output = KvOutput::Value(Some(Bytes::from_static(b"x")));
    assert_eq!(out.answers[0], (1, Answer::Applied(output.clone())));
    assert_eq!(out.answers[1], (2, Answer::Duplicate(output.clone())));
    assert_eq!(out.answers[2], (3, Answer::Duplicate(output)));
    assert_eq!(out.effects, [Effect::Applied, Effect::Duplicate]);
    assert_eq!((log_length(&group), group.executed(), out.journal.len()), (1, 2, 2));
}

#[test]
fn the_door_refuses_without_ordering_anything() {
    let (mut group, mut out) = (start(birth(), &[]), Out::default());
    propose(&mut group, 50_000_000, 1, request(1, 51_000_001));
    propose(&mut group, 50_000_000, 2, request(2, 40_999_999));
    group.turn(&mut out);
    assert_eq!(out.answers[0], (1, Answer::Unknown(Doubt::IssuedAhead)));
    assert_eq!(out.answers[1], (2, Answer::Unknown(Doubt::TooOld)));
    assert!(out.answers.iter().all(|(_, answer)| match answer {
        Answer::Unknown(doubt) => doubt.attempt_is_void(),
        _ => false,
    }));
    for sequence in 0..40 {
        propose(&mut group, 50_000_000, 10 + sequence, request(sequence, 50_000_000));
    }
    group.turn(&mut out);
    group.durable(now(50_000_000), RecordSeq(40));
    group.turn(&mut out);
    propose(&mut group, 50_000_000, 60, request(40, 50_000_000));
    propose(&mut group, 50_000_000, 61, None);
    group.turn(&mut out);
    assert_eq!(out.rejected, [60], "only what would need a place in the table");
    assert_eq!(out.journal.len(), 41);
    // It may forget as soon as the protocol promises, and takes requests again.
    promise(&mut group, 61_000_000);
    group.durable(now(50_000_000), RecordSeq(41));
    group.turn(&mut out);
    assert!(group.sessions().is_empty());
}

#[test]
fn requests_are_forgotten_only_when_everything_handed_out_before_is_applied() {
    let (mut group, mut out) = (start(birth(), &[]), Out::default());
    propose(&mut group, 5, 1, request(1, 5));
    group.turn(&mut out);
    group.durable(now(5), RecordSeq(1));
    group.turn(&mut out);
    // A duplicate waits here for the disk; the protocol, which has handed it out, promises that
    // nothing as old as it will come.
    propose(&mut group, 1_000, 2, None);
    let command = append(request(1, 5));
    group.pass(now(6), Token(3), command);
    promise(&mut group, RETENTION * 2);
    group.turn(&mut out);
    assert_eq!(group.sessions().len(), 1);
    group.durable(now(7), RecordSeq(3));
    group.turn(&mut out);
    assert_eq!(out.effects, [Effect::Applied, Effect::Applied, Effect::Duplicate]);
    assert!(group.sessions().is_empty());
}

#[test]
#[should_panic(expected = "too old")]
fn a_state_that_is_too_old_is_not_installed() {
    let mut group = start(birth(), &[]);
    group.install(now(6), KvStore::default(), Sessions::new(sessions()), vec![]);
}

#[test]
fn nothing_leaves_between_a_state_from_a_peer_and_its_snapshot() {
    let (mut peer, mut peers) = (start(birth(), &[]), Out::default());
    for token in 1..=3 {
        propose(&mut peer, 5, token, request(token, 5));
    }
    peer.begin_snapshot();
    peer.turn(&mut peers);
    peer.durable(now(5), RecordSeq(4));
    peer.turn(&mut peers);
    let state = through_bytes(&peers.snapshots[0]);

    let (mut group, mut out) = (start(birth(), &[]), Out::default());
    propose(&mut group, 5, 7, None);
    group.begin_snapshot();
    group.turn(&mut out);
    let number = group.install(now(6), state.machine, state.sessions, Toy::handover(state.image));
    assert_eq!(number, 2, "the one begun before is given up");
    propose(&mut group, 6, 8, None);
    group.turn(&mut out);
    assert_eq!(out.answers, [(7, Answer::Unknown(Doubt::StateReplaced))]);
    assert_eq!(out.rejected, [8]);
    assert_eq!(out.journal.len(), 3);
    assert_eq!((log_length(&group), group.executed()), (3, 3));
    group.durable(now(7), RecordSeq(3));
    promise(&mut group, 99);
    group.turn(&mut out);
    assert!(out.sent.is_empty() && group.is_installing());
    assert_eq!(group.protocol().proposed_after, 0, "what is received is lost");
    assert_eq!(out.snapshots.iter().map(|parts| parts.number).collect::<Vec<_>>(), [2]);
    group.snapshot_durable(2);
    group.turn(&mut out);
    assert_eq!(out.sent, [1, 3], "what waited leaves in order");
    assert_eq!(out.answers.len(), 1, "and nobody is answered twice");

    let again = start(through_bytes(&out.snapshots[0]), &out.journal);
    assert_eq!(again.machine().state_hash(), peer.machine().state_hash());
    assert_eq!(again.sessions().digest(), peer.sessions().digest());
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Propose { sequence: u64, issued_back: u64 },
    Turn,
    Durable,
    Snapshot,
    Promise,
    Crash { keep: usize },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0u64..12, 0u64..9).prop_map(|(sequence, back)| Act::Propose {
            sequence,
            issued_back: back * 1_000_000,
        }),
        4 => Just(Act::Turn),
        2 => Just(Act::Durable),
        2 => Just(Act::Snapshot),
        1 => Just(Act::Promise),
        1 => (0usize..9).prop_map(|keep| Act::Crash { keep }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// However often it dies and comes back from its latest valid snapshot, a group has the state
    /// and the memory that its whole journal gives.
    #[test]
    fn a_snapshot_and_the_rest_of_the_journal_are_the_whole_journal(
        acts in prop::collection::vec(act(), 1..120),
    ) {
        let (mut group, mut out) = (start(birth(), &[]), Out::default());
        // The journal of all runs, the snapshots whose files are valid, the durable part of a run.
        let (mut past, mut wall, mut token) = (Vec::new(), 20_000_000, 0);
        let mut valid: Option<Base<KvStore, Note>> = None;
        let mut durable = 0;
        for act in acts {
            wall += 400_000;
            match act {
                Act::Propose { sequence, issued_back } => {
                    token += 1;
                    propose(&mut group, wall, token, request(sequence, wall - issued_back));
                }
                Act::Turn => group.turn(&mut out),
                Act::Durable => {
                    durable = out.journal.len();
                    group.durable(now(wall), RecordSeq(durable as u64));
                }
                Act::Snapshot => _ = group.begin_snapshot(),
                Act::Promise => promise(&mut group, wall),
                Act::Crash { keep } => {
                    let kept = (durable + keep).min(out.journal.len());
                    past.extend(out.journal.drain(..kept));
                    let done = out.snapshots.iter().rfind(|parts| parts.after.0 <= durable as u64);
                    valid = done.map(through_bytes).or(valid);
                    out = Out::default();
                    durable = 0;
                    group = start(valid.clone().unwrap_or_else(birth), &past);
                    group.turn(&mut out);
                    let mut whole = start(birth(), &past);
                    whole.turn(&mut Out::default());
                    prop_assert_eq!(group.machine().state_hash(), whole.machine().state_hash());
                    prop_assert_eq!(group.sessions().digest(), whole.sessions().digest());
                    prop_assert_eq!(group.executed(), whole.executed());
                }
            }
        }
    }
}

/// The mistakes are mistakes: each shows where the group is right.
#[cfg(feature = "mutations")]
mod mistakes {
    use super::*;
    use crate::mutation::Mutation;

    /// A command, a snapshot, a restart from it, and two retries: what the restart brings back, and
    /// what there is in the end.
    fn log_after(mutation: Option<Mutation>) -> (usize, usize) {
        let mistaken = |mut group: ToyGroup| {
            mutation.into_iter().for_each(|mutation| group.make_mistake(mutation));
            group
        };
        let (mut group, mut out) = (mistaken(start(birth(), &[])), Out::default());
        propose(&mut group, 5, 1, request(1, 5));
        group.begin_snapshot();
        group.turn(&mut out);
        group.durable(now(5), RecordSeq(2));
        promise(&mut group, 4);
        group.turn(&mut out);
        group.turn(&mut out);
        let mut group = mistaken(start(through_bytes(&out.snapshots[0]), &out.journal));
        let mut out = Out::default();
        group.turn(&mut out);
        let restored = log_length(&group);
        group.pass(now(6), Token(2), append(request(1, 5)));
        promise(&mut group, 4);
        group.turn(&mut out);
        group.durable(now(6), RecordSeq(1));
        group.turn(&mut out);
        group.pass(now(6), Token(3), append(request(1, 5)));
        group.turn(&mut out);
        group.durable(now(6), RecordSeq(2));
        group.turn(&mut out);
        (restored, log_length(&group))
    }

    #[test]
    fn each_changes_what_the_state_becomes() {
        assert_eq!(log_after(None), (1, 1));
        for mutation in Mutation::ALL {
            assert_ne!(log_after(Some(*mutation)), (1, 1), "{}", mutation.name());
        }
    }
}
