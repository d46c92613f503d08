//! The state machine.

use std::io::{self, Read, Write};

use panchayat::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat::{
    ApplyContext, Footprint, KeyHash, Mode, RestoreError, StateHash, StateMachine, WallTime,
};

use super::batch::{Batch, Call, Guard, decode_all, encode_all, footprint};
use super::db::{Context, Db};
use super::entry::Value;
use super::reply::Reply;
use super::spec::{Keys, Run};
use super::view::{self, View};

/// The keys of one workload, replicated.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    db: Db,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It was executed; a reply for each command.
    Done(Vec<Reply>),
    /// A guard did not hold: nothing was executed.
    Refused {
        /// Which one, by its place.
        at: u32,
        /// The string that its key has, if any.
        found: Reply,
    },
}

/// Commands that change nothing, answered together from one state.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// The asker's clock: what may be due by it is to be ordered as a batch.
    pub(crate) now: WallTime,
    /// Whether what is due simply counts as gone: where it is good enough to be nearly right.
    pub(crate) loose: bool,
    pub(crate) batch: Batch,
}

/// What became of a query.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// As of a batch.
    Told(Outcome),
    /// A key it names may have expired: only a batch can tell.
    Due,
}

impl Store {
    /// Executes calls that change nothing.
    fn read(&self, context: &Context, call: &Call) -> Reply {
        match call.spec.run {
            Run::Read(run) => run(&self.db, context, &call.args).unwrap_or_else(|error| error),
            Run::Write(_) | Run::Connection => Reply::error("ERR not a read"),
        }
    }

    fn holds(&self, guard: &Guard) -> bool {
        match guard {
            Guard::Version { key, version } => {
                self.db.get(key).map_or(0, |entry| entry.version) == *version
            }
            Guard::Is { key, expected } => match (self.db.get(key), expected) {
                (None, None) => true,
                (Some(entry), Some(expected)) => {
                    matches!(&entry.value, Value::String(value) if value == expected)
                }
                _ => false,
            },
        }
    }

    fn refused(&self, guards: &[Guard]) -> Option<Outcome> {
        let at = guards.iter().position(|guard| !self.holds(guard))?;
        let found = match self.db.get(guards[at].key()).map(|entry| &entry.value) {
            Some(Value::String(value)) => Reply::Bulk(value.clone()),
            _ => Reply::Null,
        };
        Some(Outcome::Refused { at: at as u32, found })
    }

    fn execute(&mut self, mut context: Context, batch: &Batch) -> Outcome {
        // What is due goes before anything is looked at.
        let guarded = batch.guards.iter().map(Guard::key);
        for key in guarded.chain(batch.calls.iter().flat_map(Call::keys)) {
            self.db.purge(key, context.now_ms);
        }
        if let Some(refused) = self.refused(&batch.guards) {
            return refused;
        }
        let mut spent = 0;
        let mut run = |call: &Call| {
            // All replicas count the same. What would change something is not left out of a transaction.
            if spent > REPLIES_BYTES_MAX && matches!(call.spec.run, Run::Read(_)) {
                return too_long();
            }
            context.seed = context.seed.rotate_left(9).wrapping_add(call.spec.id.into());
            let reply = match call.spec.run {
                Run::Write(run) => run(&mut self.db, &context, &call.args),
                Run::Read(run) => run(&self.db, &context, &call.args),
                Run::Connection => Err(Reply::error("ERR not a command of the data")),
            };
            let reply = reply.unwrap_or_else(|error| error);
            spent += reply.cost();
            reply
        };
        Outcome::Done(batch.calls.iter().map(&mut run).collect())
    }
}

/// Most bytes of the replies of one batch, as [`Reply::cost`] counts them; what reads behind that is not
/// answered. All replicas count the same, so it is part of what a batch means.
const REPLIES_BYTES_MAX: usize = 64 << 20;

fn too_long() -> Reply {
    Reply::error("ERR the replies before this one are too long together")
}

/// What a command knows, from agreed data.
fn agreed(context: &ApplyContext) -> Context {
    let id = context.id;
    // Slots stay far below 2^56; 0 stands for "no such key", and slots begin with 1.
    let version = id.slot << 8 | u64::from(id.replica.0);
    let seed = KeyHash::of(&version.to_le_bytes()).0;
    Context { now_ms: context.proposed_at.0 / 1_000, version, seed }
}

impl StateMachine for Store {
    type Command = Batch;
    type Output = Outcome;
    type Query = Query;
    type Answer = Answer;
    type View = View;

    /// Every key is written, even where a command only reads it: it may be found due, and goes then.
    fn footprint(batch: &Batch) -> Footprint {
        footprint(&batch.guards, &batch.calls, Mode::Write)
    }

    fn apply(&mut self, context: &ApplyContext, batch: Batch) -> Outcome {
        self.db.guard().begin::<Self>(&batch);
        let outcome = self.execute(agreed(context), &batch);
        self.db.guard().end();
        outcome
    }

    /// What looks at all keys is only nearly right, and conflicts with nothing.
    fn query_footprint(query: &Query) -> Footprint {
        let Batch { guards, calls } = &query.batch;
        if query.loose && calls.iter().all(|call| call.spec.keys == Keys::Everything) {
            return Footprint::new([]);
        }
        footprint(guards, calls, Mode::Read)
    }

    fn query(&self, query: Query) -> Answer {
        let Query { now, loose, batch } = query;
        let context = Context {
            now_ms: now.0 / 1_000,
            version: 0,
            seed: KeyHash::of(&now.0.to_le_bytes()).0,
        };
        let guarded = batch.guards.iter().map(Guard::key);
        let mut keys = guarded.chain(batch.calls.iter().flat_map(Call::keys));
        if keys.any(|key| self.db.is_due(key, context.now_ms)) {
            return if loose { self.query_copy(&context, &batch) } else { Answer::Due };
        }
        if let Some(refused) = self.refused(&batch.guards) {
            return Answer::Told(refused);
        }
        let mut spent = 0;
        let replies = batch.calls.iter().map(|call| {
            let reply = match spent > REPLIES_BYTES_MAX {
                true => too_long(),
                false => self.read(&context, call),
            };
            spent += reply.cost();
            reply
        });
        Answer::Told(Outcome::Done(replies.collect()))
    }

    fn state_hash(&self) -> StateHash {
        StateHash(self.db.hash())
    }

    fn view(&mut self) -> View {
        View::new(self.db.entries().clone())
    }

    fn write(view: &View, sink: &mut dyn Write) -> io::Result<()> {
        view::write(view, sink)
    }

    fn restore(source: &mut dyn Read) -> Result<Self, RestoreError> {
        Ok(Self { db: Db::restored(view::read(source)?) })
    }
}

impl Store {
    /// Answers as if what is due were gone, on a copy of the table, which costs one pointer.
    fn query_copy(&self, context: &Context, batch: &Batch) -> Answer {
        let named =
            batch.guards.iter().map(Guard::key).chain(batch.calls.iter().flat_map(Call::keys));
        let mut copy = Self { db: self.db.without_due(named, context.now_ms) };
        Answer::Told(copy.execute(*context, batch))
    }
}

impl Encode for Outcome {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Done(replies) => {
                out.put_u8(0);
                encode_all(replies, out);
            }
            Self::Refused { at, found } => {
                out.put_u8(1);
                out.put_u32(*at);
                found.encode(out);
            }
        }
    }
}

impl Decode for Outcome {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Done(decode_all(input)?)),
            1 => Ok(Self::Refused { at: input.u32()?, found: Reply::decode(input)? }),
            tag => Err(DecodeError::UnknownTag { what: "outcome", tag }),
        }
    }
}

impl Encode for Query {
    fn encode(&self, out: &mut Writer) {
        out.put_varint(self.now.0);
        out.put_u8(self.loose.into());
        self.batch.encode(out);
    }
}

impl Decode for Query {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let now = WallTime(input.varint()?);
        let loose = match input.u8()? {
            0 => false,
            1 => true,
            tag => return Err(DecodeError::UnknownTag { what: "query", tag }),
        };
        Ok(Self { now, loose, batch: Batch::decode(input)? })
    }
}

impl Encode for Answer {
    fn encode(&self, out: &mut Writer) {
        match self {
            Self::Told(outcome) => {
                out.put_u8(0);
                outcome.encode(out);
            }
            Self::Due => out.put_u8(1),
        }
    }
}

impl Decode for Answer {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Told(Outcome::decode(input)?)),
            1 => Ok(Self::Due),
            tag => Err(DecodeError::UnknownTag { what: "answer", tag }),
        }
    }
}
