//! What is known of a command before it is executed.

use bytes::Bytes;

use super::db::{Context, Db};
use super::number::parse_integer;
use super::reply::Reply;

/// What executing a command gives. An error is a reply, too.
pub(crate) type Ran = Result<Reply, Reply>;

/// A command that Redis clients can send.
#[derive(Debug)]
pub(crate) struct Spec {
    /// Stands for the command in what is replicated: never changed, never given to another.
    pub(crate) id: u8,
    /// In capitals.
    pub(crate) name: &'static str,
    /// How many arguments it takes, its name included; negative for "at least".
    pub(crate) arity: i8,
    pub(crate) keys: Keys,
    pub(crate) run: Run,
}

/// Which arguments are keys; the first one is number 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// None, and no data at all.
    None,
    /// All keys there are.
    Everything,
    /// The first so many.
    First(u8),
    /// All of them.
    All,
    /// Every second one, from the first on.
    Alternate,
    /// The first one says how many; they follow.
    Counted,
    /// The first one is a key, the second says how many more follow.
    FirstAndCounted,
}

/// How it is executed.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// It changes nothing.
    Read(fn(&Db, &Context, &[Bytes]) -> Ran),
    /// It may change something.
    Write(fn(&mut Db, &Context, &[Bytes]) -> Ran),
    /// It is about the connection, or the server.
    Connection,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read(_) => "Read",
            Self::Write(_) => "Write",
            Self::Connection => "Connection",
        })
    }
}

impl Spec {
    /// Whether it may be given so many arguments, its name not counted.
    pub(crate) fn takes(&self, arguments: usize) -> bool {
        let given = arguments + 1;
        match usize::try_from(self.arity) {
            Ok(exactly) => given == exactly,
            Err(_) => given >= usize::from(self.arity.unsigned_abs()),
        }
    }

    /// Whether it may change data.
    pub(crate) fn writes(&self) -> bool {
        matches!(self.run, Run::Write(_))
    }

    /// Whether it is about data.
    pub(crate) fn is_data(&self) -> bool {
        !matches!(self.run, Run::Connection)
    }

    /// The keys among its arguments.
    pub(crate) fn keys<'a>(&self, args: &'a [Bytes]) -> impl Iterator<Item = &'a Bytes> + Clone {
        let counted = |from: usize| {
            let count = args.get(from).and_then(|text| parse_integer(text)).unwrap_or(0);
            let count = usize::try_from(count).unwrap_or(0);
            from + 1..(from + 1).saturating_add(count)
        };
        let first = usize::from(self.keys == Keys::FirstAndCounted);
        let (range, step) = match self.keys {
            Keys::None | Keys::Everything => (0..0, 1),
            Keys::First(count) => (0..usize::from(count), 1),
            Keys::All => (0..args.len(), 1),
            Keys::Alternate => (0..args.len(), 2),
            Keys::Counted => (counted(0), 1),
            Keys::FirstAndCounted => (counted(1), 1),
        };
        let range = range.start.min(args.len())..range.end.min(args.len());
        args[..first.min(args.len())].iter().chain(args[range].iter().step_by(step))
    }
}
