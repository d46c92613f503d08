//! Order books with price-time priority: one per symbol.
//!
//! Every order of a symbol is ordered with every other one: who came first decides. Symbols have
//! nothing to do with each other.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::sync::Arc;

use panchayat::cow::{CowTable, Row};
use panchayat::wire::{Decode, DecodeError, Encode, Reader, Writer};
use panchayat::{ApplyContext, Footprint, KeyHash, RestoreError, StateHash, StateMachine, stream};

/// Longest name of a symbol.
const SYMBOL_BYTES_MAX: usize = 32;
/// Most orders that rest in one book; more are refused.
const RESTING_MAX: usize = 4_096;

/// Buy or sell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Wants to pay no more than the limit.
    Buy,
    /// Wants to be paid no less than the limit.
    Sell,
}

/// A limit order: trades what it can at once, and rests with what is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// What is traded.
    pub(crate) symbol: String,
    /// In which direction.
    pub(crate) side: Side,
    /// At which price at worst, in paise.
    pub(crate) price: u64,
    /// How much.
    pub(crate) quantity: u64,
}

/// A trade with an order that rested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill {
    /// The order that rested.
    pub(crate) with: u64,
    /// At its price.
    pub(crate) price: u64,
    /// How much.
    pub(crate) quantity: u64,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Its number in its book; 0 if it was refused.
    pub(crate) number: u64,
    /// What it traded at once, best price first, and among equals the oldest.
    pub(crate) fills: Vec<Fill>,
}

/// The best prices of a symbol: of those who buy and of those who sell; zero for nobody.
pub(crate) type Best = (u64, u64);

/// An order in the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Resting {
    number: u64,
    price: u64,
    quantity: u64,
}

/// One symbol. The best order of each side is the last.
#[derive(Clone, Debug)]
struct Book {
    symbol: String,
    last_number: u64,
    buys: Vec<Resting>,
    sells: Vec<Resting>,
}

/// A book as a row that is cloned for nothing.
#[derive(Clone, Debug)]
struct Shared(Arc<Book>);

/// The replicated state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exchange {
    books: CowTable<Shared>,
    hash: StateHash,
}

impl Book {
    fn place(&mut self, order: &Order) -> Placed {
        let (others, own) = match order.side {
            Side::Buy => (&mut self.sells, &mut self.buys),
            Side::Sell => (&mut self.buys, &mut self.sells),
        };
        if order.quantity == 0 || own.len() >= RESTING_MAX {
            return Placed { number: 0, fills: Vec::new() };
        }
        self.last_number += 1;
        let (number, mut left, mut fills) = (self.last_number, order.quantity, Vec::new());
        while left > 0
            && let Some(best) = others.last_mut()
            && match order.side {
                Side::Buy => best.price <= order.price,
                Side::Sell => best.price >= order.price,
            }
        {
            let quantity = left.min(best.quantity);
            fills.push(Fill { with: best.number, price: best.price, quantity });
            left -= quantity;
            best.quantity -= quantity;
            if best.quantity == 0 {
                others.pop();
            }
        }
        if left > 0 {
            // Behind those with a better price, and behind older ones with the same.
            let is_worse = |other: &Resting| match order.side {
                Side::Buy => other.price < order.price,
                Side::Sell => other.price > order.price,
            };
            let at = own.partition_point(is_worse);
            own.insert(at, Resting { number, price: order.price, quantity: left });
        }
        Placed { number, fills }
    }
}

fn key(symbol: &str) -> KeyHash {
    KeyHash::of(symbol.as_bytes())
}

impl Exchange {
    /// Whether no book has somebody who would buy for more than somebody else sells for.
    pub(crate) fn is_uncrossed(&self) -> bool {
        self.books.iter().all(|Shared(book)| match (book.buys.last(), book.sells.last()) {
            (Some(buy), Some(sell)) => buy.price < sell.price,
            _ => true,
        })
    }
}

impl StateMachine for Exchange {
    type Command = Order;
    type Output = Placed;
    /// A symbol.
    type Query = String;
    type Answer = Best;
    type View = Self;

    fn footprint(order: &Order) -> Footprint {
        Footprint::write(order.symbol.as_bytes())
    }

    fn apply(&mut self, _context: &ApplyContext, order: Order) -> Placed {
        if self.books.get(order.symbol.as_str()).is_none() {
            let symbol = order.symbol.clone();
            let book = Book { symbol, last_number: 0, buys: Vec::new(), sells: Vec::new() };
            self.hash = self.hash.with(StateHash::of(&book));
            self.books.insert(Shared(Arc::new(book)));
        }
        let Some(Shared(book)) = self.books.get_mut(order.symbol.as_str()) else {
            return Placed { number: 0, fills: Vec::new() };
        };
        // Copied only while a snapshot shares it.
        let book = Arc::make_mut(book);
        self.hash = self.hash.without(StateHash::of(book));
        let placed = book.place(&order);
        self.hash = self.hash.with(StateHash::of(book));
        placed
    }

    fn query_footprint(symbol: &String) -> Footprint {
        Footprint::read(symbol.as_bytes())
    }

    fn query(&self, symbol: String) -> Best {
        let best = |side: &[Resting]| side.last().map_or(0, |order| order.price);
        let book = self.books.get(symbol.as_str());
        book.map_or((0, 0), |Shared(book)| (best(&book.buys), best(&book.sells)))
    }

    fn state_hash(&self) -> StateHash {
        self.hash
    }

    fn view(&mut self) -> Self {
        self.clone()
    }

    fn write(view: &Self, sink: &mut dyn Write) -> io::Result<()> {
        let mut sink = BufWriter::new(sink);
        stream::put_rows(&mut sink, &view.books)?;
        sink.flush()
    }

    fn restore(source: &mut dyn Read) -> Result<Self, RestoreError> {
        let mut source = BufReader::new(source);
        let books: CowTable<Shared> = stream::rows(&mut source)?;
        stream::ended(&mut source)?;
        let hashes = books.iter().map(|Shared(book)| StateHash::of(&**book));
        Ok(Self { hash: hashes.fold(StateHash::default(), StateHash::with), books })
    }
}

impl Row for Shared {
    type Key = str;

    fn key(&self) -> &str {
        &self.0.symbol
    }

    fn hash(symbol: &str) -> u64 {
        key(symbol).0
    }
}

impl Encode for Side {
    fn encode(&self, out: &mut Writer) {
        out.put_u8(match self {
            Self::Buy => 0,
            Self::Sell => 1,
        });
    }
}

impl Decode for Side {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        match input.u8()? {
            0 => Ok(Self::Buy),
            1 => Ok(Self::Sell),
            tag => Err(DecodeError::UnknownTag { what: "side", tag }),
        }
    }
}

impl Encode for Order {
    fn encode(&self, out: &mut Writer) {
        self.symbol.encode(out);
        self.side.encode(out);
        out.put_varint(self.price);
        out.put_varint(self.quantity);
    }
}

impl Decode for Order {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        let symbol = String::decode(input)?;
        if symbol.len() > SYMBOL_BYTES_MAX {
            return Err(DecodeError::OutOfRange("symbol"));
        }
        let (side, price, quantity) = (Side::decode(input)?, input.varint()?, input.varint()?);
        Ok(Self { symbol, side, price, quantity })
    }
}

impl Encode for Fill {
    fn encode(&self, out: &mut Writer) {
        [self.with, self.price, self.quantity].into_iter().for_each(|n| out.put_varint(n));
    }
}

impl Decode for Fill {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { with: input.varint()?, price: input.varint()?, quantity: input.varint()? })
    }
}

impl Encode for Placed {
    fn encode(&self, out: &mut Writer) {
        out.put_varint(self.number);
        self.fills.encode(out);
    }
}

impl Decode for Placed {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { number: input.varint()?, fills: Vec::decode(input)? })
    }
}

impl Encode for Resting {
    fn encode(&self, out: &mut Writer) {
        [self.number, self.price, self.quantity].into_iter().for_each(|n| out.put_varint(n));
    }
}

impl Decode for Resting {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { number: input.varint()?, price: input.varint()?, quantity: input.varint()? })
    }
}

impl Encode for Book {
    fn encode(&self, out: &mut Writer) {
        self.symbol.encode(out);
        out.put_varint(self.last_number);
        self.buys.encode(out);
        self.sells.encode(out);
    }
}

impl Encode for Shared {
    fn encode(&self, out: &mut Writer) {
        self.0.encode(out);
    }
}

impl Decode for Shared {
    fn decode(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self(Arc::new(Book {
            symbol: String::decode(input)?,
            last_number: input.varint()?,
            buys: Vec::decode(input)?,
            sells: Vec::decode(input)?,
        })))
    }
}

#[cfg(test)]
mod tests {
    use panchayat::conformance::{Draw, Suite};

    use super::*;

    fn order(side: Side, price: u64, quantity: u64) -> Order {
        Order { symbol: "X".to_owned(), side, price, quantity }
    }

    #[test]
    fn the_best_price_trades_first_and_among_equals_the_oldest() {
        let mut book = Book { symbol: "X".to_owned(), last_number: 0, buys: vec![], sells: vec![] };
        for (price, quantity) in [(101, 5), (100, 2), (100, 3), (102, 9)] {
            assert_eq!(book.place(&order(Side::Sell, price, quantity)).fills, []);
        }
        let placed = book.place(&order(Side::Buy, 101, 12));
        let fill = |with, price, quantity| Fill { with, price, quantity };
        assert_eq!(placed.fills, [fill(2, 100, 2), fill(3, 100, 3), fill(1, 101, 5)]);
        // What is left rests, and is met by who sells for no more.
        assert_eq!(book.place(&order(Side::Sell, 101, 2)).fills, [fill(5, 101, 2)]);
        assert_eq!(book.place(&order(Side::Sell, 50, 0)).number, 0);
        assert_eq!((book.buys.len(), book.sells.len()), (0, 1));
    }

    #[test]
    fn the_exchange_conforms() {
        let any = |draw: &mut Draw| Order {
            symbol: (*draw.pick(&["A", "B", "C"])).to_owned(),
            side: *draw.pick(&[Side::Buy, Side::Sell]),
            price: 95 + draw.below(10),
            quantity: draw.below(9),
        };
        let symbol = |draw: &mut Draw| (*draw.pick(&["A", "B", "C"])).to_owned();
        let report = Suite::new(Exchange::default, any).queries(symbol).run().unwrap();
        assert!(report.reordered > 1_000 && report.queries > 100, "{report:?}");
    }
}
