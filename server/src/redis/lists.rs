//! Lists.

use std::ops::Range;

use bytes::Bytes;
use panchayat::KeyHash;

use super::db::{Context, Db};
use super::error::{
    COUNT_NEGATIVE, INDEX_OUT_OF_RANGE, MAXLEN_NEGATIVE, NO_SUCH_KEY, NOT_AN_INTEGER, NOT_POSITIVE,
    RANK_IS_ZERO, RANK_TOO_SMALL, SYNTAX,
};
use super::number::parse_integer;
use super::reply::Reply;
use super::sequence::Sequence;
use super::spec::Ran;

/// Items in order, with a hash that is kept up to date at both ends.
#[derive(Clone, Debug)]
pub(super) struct List {
    items: Sequence<Bytes>,
    /// The sum over all items of their hash times `BASE` to the power of their index.
    print: u64,
    /// `BASE` to the power of the length.
    power: u64,
}

/// Odd, so that there is a number to divide by it, modulo 2^64.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
/// `BASE` times this is 1.
const BASE_INVERSE: u64 = inverse(BASE);

/// Newton's iteration doubles the bits that are right.
const fn inverse(odd: u64) -> u64 {
    let mut inverse = odd;
    let mut round = 0;
    while round < 6 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
        round += 1;
    }
    inverse
}

fn power(exponent: usize) -> u64 {
    let (mut result, mut base, mut left) = (1u64, BASE, exponent);
    while left > 0 {
        if left & 1 == 1 {
            result = result.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        left >>= 1;
    }
    result
}

fn hash(item: &[u8]) -> u64 {
    KeyHash::of(item).0 | 1
}

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Left,
    Right,
}

impl Default for List {
    fn default() -> Self {
        Self { items: Sequence::default(), print: 0, power: 1 }
    }
}

impl List {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn print(&self) -> u64 {
        self.print
    }

    pub(super) fn items(&self) -> &Sequence<Bytes> {
        &self.items
    }

    /// Puts back an item of a snapshot.
    pub(super) fn restored(&mut self, item: Bytes) {
        self.print = self.print.wrapping_add(hash(&item).wrapping_mul(self.power));
        self.power = self.power.wrapping_mul(BASE);
        self.items.push_back(item);
    }

    /// Appends a copy: `item` may be part of a large message.
    fn push(&mut self, end: End, item: &[u8]) {
        let item = Bytes::copy_from_slice(item);
        if end == End::Right {
            return self.restored(item);
        }
        self.print = self.print.wrapping_mul(BASE).wrapping_add(hash(&item));
        self.power = self.power.wrapping_mul(BASE);
        self.items.push_front(item);
    }

    fn pop(&mut self, end: End) -> Option<Bytes> {
        let shorter = self.power.wrapping_mul(BASE_INVERSE);
        let item = match end {
            End::Left => {
                let item = self.items.pop_front()?;
                self.print = self.print.wrapping_sub(hash(&item)).wrapping_mul(BASE_INVERSE);
                item
            }
            End::Right => {
                let item = self.items.pop_back()?;
                self.print = self.print.wrapping_sub(hash(&item).wrapping_mul(shorter));
                item
            }
        };
        self.power = shorter;
        Some(item)
    }

    fn set(&mut self, index: usize, item: &[u8]) {
        let new = hash(item);
        if let Some(old) = self.items.set(index, Bytes::copy_from_slice(item)) {
            let change = new.wrapping_sub(hash(&old)).wrapping_mul(power(index));
            self.print = self.print.wrapping_add(change);
        }
    }

    /// Changes the middle, where the hash has to be computed anew.
    fn rework<R>(&mut self, change: impl FnOnce(&mut Sequence<Bytes>) -> R) -> R {
        let result = change(&mut self.items);
        (self.print, self.power) = (0, 1);
        for item in self.items.iter() {
            self.print = self.print.wrapping_add(hash(item).wrapping_mul(self.power));
            self.power = self.power.wrapping_mul(BASE);
        }
        result
    }

    /// Where an index leads that counts from the end if it is negative.
    fn index(&self, index: i64) -> Option<usize> {
        let length = self.items.len() as i64;
        let index = if index < 0 { index.saturating_add(length) } else { index };
        (0..length).contains(&index).then_some(index as usize)
    }
}

/// The part of a sequence from `start` to `stop`, included, which count from the end if negative.
pub(super) fn span(start: i64, stop: i64, length: usize) -> Range<usize> {
    let length = length as i64;
    let from_end = |index: i64| if index < 0 { index.saturating_add(length) } else { index };
    let start = from_end(start).max(0);
    let stop = from_end(stop).min(length - 1);
    if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
}

fn integer(text: &[u8]) -> Result<i64, Reply> {
    parse_integer(text).ok_or(NOT_AN_INTEGER)
}

fn push(db: &mut Db, context: &Context, args: &[Bytes], end: End) -> Ran {
    let length = db.edit(context, &args[0], |list: &mut List| {
        args[1..].iter().for_each(|item| list.push(end, item));
        (list.items.len(), true)
    })?;
    Ok(Reply::count(length))
}

pub(super) fn lpush(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    push(db, context, args, End::Left)
}

pub(super) fn rpush(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    push(db, context, args, End::Right)
}

fn push_existing(db: &mut Db, context: &Context, args: &[Bytes], end: End) -> Ran {
    match db.read::<List>(&args[0])? {
        Some(_) => push(db, context, args, end),
        None => Ok(Reply::ZERO),
    }
}

pub(super) fn lpushx(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    push_existing(db, context, args, End::Left)
}

pub(super) fn rpushx(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    push_existing(db, context, args, End::Right)
}

fn pop(db: &mut Db, context: &Context, args: &[Bytes], name: &str, end: End) -> Ran {
    let count = match args {
        [_] => None,
        [_, count] => {
            let count = parse_integer(count).filter(|count| *count >= 0).ok_or(NOT_POSITIVE)?;
            Some(count as usize)
        }
        _ => return Err(super::error::arity(name)),
    };
    let popped = db.edit_existing(context, &args[0], |list: &mut List| {
        let wanted = count.unwrap_or(1).min(list.items.len());
        let popped: Vec<_> = (0..wanted).filter_map(|_| list.pop(end)).collect();
        let changed = !popped.is_empty();
        (popped, changed)
    })?;
    Ok(match (popped, count) {
        (None, None) => Reply::Null,
        (None, Some(_)) => Reply::NullArray,
        (Some(mut popped), None) => Reply::optional(popped.pop()),
        (Some(popped), Some(_)) => Reply::bulks(popped),
    })
}

pub(super) fn lpop(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    pop(db, context, args, "lpop", End::Left)
}

pub(super) fn rpop(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    pop(db, context, args, "rpop", End::Right)
}

pub(super) fn llen(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    let list = db.read::<List>(&args[0])?;
    Ok(Reply::count(list.map_or(0, |list| list.items.len())))
}

pub(super) fn lrange(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    let (start, stop) = (integer(&args[1])?, integer(&args[2])?);
    let Some(list) = db.read::<List>(&args[0])? else { return Ok(Reply::Array(Vec::new())) };
    let span = span(start, stop, list.items.len());
    Ok(Reply::bulks(list.items.iter_from(span.start).take(span.len()).cloned()))
}

pub(super) fn lindex(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    let Some(list) = db.read::<List>(&args[0])? else { return Ok(Reply::Null) };
    let index = integer(&args[1])?;
    let item = list.index(index).and_then(|index| list.items.get(index));
    Ok(Reply::optional(item.cloned()))
}

pub(super) fn lset(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    if db.read::<List>(&args[0])?.is_none() {
        return Err(NO_SUCH_KEY);
    }
    let index = integer(&args[1])?;
    db.edit(context, &args[0], |list: &mut List| match list.index(index) {
        Some(index) => {
            list.set(index, &args[2]);
            (Ok(Reply::OK), true)
        }
        None => (Err(INDEX_OUT_OF_RANGE), false),
    })?
}

pub(super) fn lrem(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let count = integer(&args[1])?;
    let most = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let removed = db.edit_existing(context, &args[0], |list: &mut List| {
        let matches = |(_, item): &(usize, &Bytes)| **item == args[2];
        let last = list.items.len().saturating_sub(1);
        let mut places: Vec<usize> = match count >= 0 {
            true => list.items.iter().enumerate().filter(matches).map(|m| m.0).take(most).collect(),
            false => {
                let backwards = list.items.iter_back_from(last).enumerate().filter(matches);
                backwards.map(|(at, _)| last - at).take(most).collect()
            }
        };
        if places.is_empty() {
            return (0, false);
        }
        places.sort_unstable_by(|a, b| b.cmp(a));
        list.rework(|items| places.iter().for_each(|at| _ = items.remove(*at)));
        (places.len(), true)
    })?;
    Ok(Reply::count(removed.unwrap_or(0)))
}

pub(super) fn ltrim(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let (start, stop) = (integer(&args[1])?, integer(&args[2])?);
    db.edit_existing(context, &args[0], |list: &mut List| {
        let keep = span(start, stop, list.items.len());
        let behind = list.items.len() - keep.end;
        (0..behind).for_each(|_| _ = list.pop(End::Right));
        (0..keep.start).for_each(|_| _ = list.pop(End::Left));
        ((), behind + keep.start > 0)
    })?;
    Ok(Reply::OK)
}

pub(super) fn linsert(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let behind = match () {
        () if args[1].eq_ignore_ascii_case(b"before") => 0,
        () if args[1].eq_ignore_ascii_case(b"after") => 1,
        () => return Err(SYNTAX),
    };
    let length = db.edit_existing(context, &args[0], |list: &mut List| {
        let Some(pivot) = list.items.iter().position(|item| *item == args[2]) else {
            return (-1, false);
        };
        let item = Bytes::copy_from_slice(&args[3]);
        list.rework(|items| items.insert(pivot + behind, item));
        (list.items.len() as i64, true)
    })?;
    Ok(Reply::Integer(length.unwrap_or(0)))
}

pub(super) fn lpos(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    let (mut rank, mut count, mut length_max) = (1i64, None, 0usize);
    let mut options = args[2..].chunks_exact(2);
    for option in &mut options {
        let (name, value) = (&option[0], &option[1]);
        if name.eq_ignore_ascii_case(b"rank") {
            rank = integer(value)?;
            if rank == 0 {
                return Err(RANK_IS_ZERO);
            }
            if rank == i64::MIN {
                return Err(RANK_TOO_SMALL);
            }
        } else if name.eq_ignore_ascii_case(b"count") {
            count = Some(parse_integer(value).filter(|n| *n >= 0).ok_or(COUNT_NEGATIVE)? as usize);
        } else if name.eq_ignore_ascii_case(b"maxlen") {
            length_max = parse_integer(value).filter(|n| *n >= 0).ok_or(MAXLEN_NEGATIVE)? as usize;
        } else {
            return Err(SYNTAX);
        }
    }
    if !options.remainder().is_empty() {
        return Err(SYNTAX);
    }
    let found = match db.read::<List>(&args[0])? {
        None => Vec::new(),
        Some(list) => {
            let looked_at = if length_max == 0 { usize::MAX } else { length_max };
            let wanted = match count {
                None => 1,
                Some(0) => usize::MAX,
                Some(count) => count,
            };
            let skipped = rank.unsigned_abs() as usize - 1;
            let matches = |(_, item): &(usize, &Bytes)| **item == args[1];
            let last = list.items.len().saturating_sub(1);
            let places: Vec<usize> = if rank > 0 {
                let items = list.items.iter().take(looked_at).enumerate().filter(matches);
                items.map(|(at, _)| at).skip(skipped).take(wanted).collect()
            } else {
                let items = list.items.iter_back_from(last).take(looked_at).enumerate();
                items.filter(matches).map(|(at, _)| last - at).skip(skipped).take(wanted).collect()
            };
            places
        }
    };
    Ok(match count {
        None => found.first().map_or(Reply::Null, |at| Reply::count(*at)),
        Some(_) => Reply::Array(found.into_iter().map(Reply::count).collect()),
    })
}

fn end(text: &[u8]) -> Result<End, Reply> {
    match () {
        () if text.eq_ignore_ascii_case(b"left") => Ok(End::Left),
        () if text.eq_ignore_ascii_case(b"right") => Ok(End::Right),
        () => Err(SYNTAX),
    }
}

fn move_item(db: &mut Db, context: &Context, keys: &[Bytes], from: End, to: End) -> Ran {
    if db.read::<List>(&keys[0])?.is_none() {
        return Ok(Reply::Null);
    }
    // The destination must be fit to take it before anything is taken.
    db.read::<List>(&keys[1])?;
    let popped = db.edit(context, &keys[0], |list: &mut List| {
        let popped = list.pop(from);
        // A list that is its own destination does not go in between.
        let stays = keys[0] == keys[1];
        if let Some(item) = popped.as_ref().filter(|_| stays) {
            list.push(to, item);
        }
        (popped, true)
    })?;
    let Some(item) = popped else { return Ok(Reply::Null) };
    if keys[0] != keys[1] {
        db.edit(context, &keys[1], |list: &mut List| {
            list.push(to, &item);
            ((), true)
        })?;
    }
    Ok(Reply::Bulk(item))
}

pub(super) fn rpoplpush(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    move_item(db, context, args, End::Right, End::Left)
}

pub(super) fn lmove(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let (from, to) = (end(&args[2])?, end(&args[3])?);
    move_item(db, context, &args[..2], from, to)
}
