//! The ledger: accounts in integer paise, and a line for every payment.
//!
//! What decides is `apply`, in agreed order, at every replica: a balance that was looked at before
//! the payment was ordered would be spent twice.

use std::io::{self, BufReader, BufWriter, Read, Write};

use panchayat::cow::{CowTable, Row};
use panchayat::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat::{
    ApplyContext, Footprint, KeyHash, Mode, RestoreError, StateHash, StateMachine, stream,
};

/// Most paise of one payment: a crore of rupees.
pub(crate) const PAISE_MAX: u64 = 10_000_000_000;

/// What can be asked of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Money comes in from outside.
    Deposit { reference: u64, to: u32, paise: u64 },
    /// Money goes from one account to another, if it is there.
    Pay { reference: u64, from: u32, to: u32, paise: u64 },
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done.
    Done,
    /// Not enough money; so much there was.
    Refused { balance: u64 },
    /// More than [`PAISE_MAX`], or to oneself.
    Improper,
}

/// What can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Query {
    /// The money in an account.
    Balance(u32),
    /// How often the payment with this reference was applied.
    Applied(u64),
    /// All money there is.
    Total,
}

/// An account. Every number is an account; those never paid to hold nothing.
#[derive(Clone, Copy, Debug)]
struct Account {
    number: u32,
    paise: u64,
}

/// A line of the book.
#[derive(Clone, Copy, Debug)]
struct Line {
    reference: u64,
    times: u32,
}

/// The replicated state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    accounts: CowTable<Account>,
    lines: CowTable<Line>,
    hash: StateHash,
}

fn account_key(number: u32) -> KeyHash {
    KeyHash::of(&[&b"account"[..], &number.to_le_bytes()].concat())
}

fn line_key(reference: u64) -> KeyHash {
    KeyHash::of(&[&b"line"[..], &reference.to_le_bytes()].concat())
}

impl Ledger {
    fn balance(&self, number: u32) -> u64 {
        self.accounts.get(&number).map_or(0, |account| account.paise)
    }

    fn set_balance(&mut self, number: u32, paise: u64) {
        let new = Account { number, paise };
        let old = self.accounts.insert(new);
        self.hash = self.hash.with(StateHash::of(&new));
        if let Some(old) = old {
            self.hash = self.hash.without(StateHash::of(&old));
        }
    }

    fn note(&mut self, reference: u64) {
        let times = self.lines.get(&reference).map_or(0, |line| line.times);
        let new = Line { reference, times: times + 1 };
        let old = self.lines.insert(new);
        self.hash = self.hash.with(StateHash::of(&new));
        if let Some(old) = old {
            self.hash = self.hash.without(StateHash::of(&old));
        }
    }
}

impl StateMachine for Ledger {
    type Command = Command;
    type Output = Outcome;
    type Query = Query;
    type Answer = u64;
    type View = Self;

    /// Credits commute: who pays the same shop need not wait for the others. A payer's balance is
    /// looked at, so payments from one account are ordered.
    fn footprint(command: &Command) -> Footprint {
        match *command {
            Command::Deposit { reference, to, .. } => Footprint::new([
                (account_key(to), Mode::Commute),
                (line_key(reference), Mode::Write),
            ]),
            Command::Pay { reference, from, to, .. } => Footprint::new([
                (account_key(from), Mode::Write),
                (account_key(to), Mode::Commute),
                (line_key(reference), Mode::Write),
            ]),
        }
    }

    fn apply(&mut self, _context: &ApplyContext, command: Command) -> Outcome {
        match command {
            Command::Deposit { paise, .. } if paise > PAISE_MAX => Outcome::Improper,
            Command::Pay { from, to, paise, .. } if paise > PAISE_MAX || from == to => {
                Outcome::Improper
            }
            Command::Deposit { reference, to, paise } => {
                self.set_balance(to, self.balance(to) + paise);
                self.note(reference);
                Outcome::Done
            }
            Command::Pay { reference, from, to, paise } => {
                let balance = self.balance(from);
                let Some(left) = balance.checked_sub(paise) else {
                    return Outcome::Refused { balance };
                };
                self.set_balance(from, left);
                self.set_balance(to, self.balance(to) + paise);
                self.note(reference);
                Outcome::Done
            }
        }
    }

    fn query_footprint(query: &Query) -> Footprint {
        match *query {
            Query::Balance(number) => Footprint::new([(account_key(number), Mode::Read)]),
            Query::Applied(reference) => Footprint::new([(line_key(reference), Mode::Read)]),
            Query::Total => Footprint::barrier(),
        }
    }

    fn query(&self, query: Query) -> u64 {
        match query {
            Query::Balance(number) => self.balance(number),
            Query::Applied(reference) => {
                self.lines.get(&reference).map_or(0, |line| line.times.into())
            }
            Query::Total => self.accounts.iter().map(|account| account.paise).sum(),
        }
    }

    fn state_hash(&self) -> StateHash {
        self.hash
    }

    /// Tables are shared until they change, so this is two pointers.
    fn view(&mut self) -> Self {
        self.clone()
    }

    fn write(view: &Self, sink: &mut dyn Write) -> io::Result<()> {
        let mut sink = BufWriter::new(sink);
        stream::put_rows(&mut sink, &view.accounts)?;
        stream::put_rows(&mut sink, &view.lines)?;
        sink.flush()
    }

    fn restore(source: &mut dyn Read) -> Result<Self, RestoreError> {
        let mut source = BufReader::new(source);
        let accounts: CowTable<Account> = stream::rows(&mut source)?;
        let lines: CowTable<Line> = stream::rows(&mut source)?;
        stream::ended(&mut source)?;
        let hash = accounts.iter().map(StateHash::of).fold(StateHash::default(), StateHash::with);
        let hash = lines.iter().map(StateHash::of).fold(hash, StateHash::with);
        Ok(Self { accounts, lines, hash })
    }
}

impl Row for Account {
    type Key = u32;

    fn key(&self) -> &u32 {
        &self.number
    }

    fn hash(key: &u32) -> u64 {
        account_key(*key).0
    }
}

impl Row for Line {
    type Key = u64;

    fn key(&self) -> &u64 {
        &self.reference
    }

    fn hash(key: &u64) -> u64 {
        line_key(*key).0
    }
}

impl Encode for Account {
    fn encode(&self, out: &mut Writer) {
        out.put_u8(0);
        out.put_u32(self.number);
        out.put_varint(self.paise);
    }
}

impl Decode for Account {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self { number: input.u32()?, paise: input.varint()? }),
            tag => Err(DecodeError::UnknownTag { what: "account", tag }),
        }
    }
}

impl Encode for Line {
    fn encode(&self, out: &mut Writer) {
        out.put_u8(1);
        out.put_u64(self.reference);
        out.put_u32(self.times);
    }
}

impl Decode for Line {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            1 => Ok(Self { reference: input.u64()?, times: input.u32()? }),
            tag => Err(DecodeError::UnknownTag { what: "line", tag }),
        }
    }
}

impl Encode for Command {
    fn encode(&self, out: &mut Writer) {
        match *self {
            Self::Deposit { reference, to, paise } => {
                out.put_u8(0);
                out.put_u64(reference);
                out.put_u32(to);
                out.put_varint(paise);
            }
            Self::Pay { reference, from, to, paise } => {
                out.put_u8(1);
                out.put_u64(reference);
                out.put_u32(from);
                out.put_u32(to);
                out.put_varint(paise);
            }
        }
    }
}

impl Decode for Command {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let tag = input.u8()?;
        let reference = input.u64()?;
        match tag {
            0 => Ok(Self::Deposit { reference, to: input.u32()?, paise: input.varint()? }),
            1 => Ok(Self::Pay {
                reference,
                from: input.u32()?,
                to: input.u32()?,
                paise: input.varint()?,
            }),
            tag => Err(DecodeError::UnknownTag { what: "ledger command", tag }),
        }
    }
}

impl Encode for Outcome {
    fn encode(&self, out: &mut Writer) {
        match *self {
            Self::Done => out.put_u8(0),
            Self::Refused { balance } => {
                out.put_u8(1);
                out.put_varint(balance);
            }
            Self::Improper => out.put_u8(2),
        }
    }
}

impl Decode for Outcome {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Done),
            1 => Ok(Self::Refused { balance: input.varint()? }),
            2 => Ok(Self::Improper),
            tag => Err(DecodeError::UnknownTag { what: "ledger outcome", tag }),
        }
    }
}

impl Encode for Query {
    fn encode(&self, out: &mut Writer) {
        let (tag, number) = match *self {
            Self::Balance(number) => (0, number.into()),
            Self::Applied(reference) => (1, reference),
            Self::Total => (2, 0),
        };
        out.put_u8(tag);
        out.put_u64(number);
    }
}

impl Decode for Query {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match (input.u8()?, input.u64()?) {
            (0, number) => match u32::try_from(number) {
                Ok(number) => Ok(Self::Balance(number)),
                Err(_) => Err(DecodeError::OutOfRange("account")),
            },
            (1, reference) => Ok(Self::Applied(reference)),
            (2, _) => Ok(Self::Total),
            (tag, _) => Err(DecodeError::UnknownTag { what: "ledger query", tag }),
        }
    }
}
