//! `SCAN` and its kin: iteration without state at the server.
//!
//! A cursor is a place in the order of hashes, which is the same in every city; so what is there
//! from beginning to end is given exactly once, whatever else comes and goes, and an iteration can
//! go on in another city. Only the upper bits of a place are told: clients keep cursors as floating
//! point numbers, and rows that share those bits are given together.

use bytes::Bytes;

use super::db::{Context, Db};
use super::entry::{Hash, Set};
use super::error::{INVALID_CURSOR, NOT_AN_INTEGER, SYNTAX};
use super::glob;
use super::members::{Attribute, Members};
use super::number::{format_double, parse_integer};
use super::reply::Reply;
use super::sorted_set::SortedSet;
use super::spec::Ran;
use super::visible::Visible;

/// How many bits of a hash a cursor tells: what is left of 53 beside the workload's number.
pub(crate) const CURSOR_BITS: u32 = 47;
/// How many rows are looked at unless the client says.
const COUNT: usize = 10;
/// Collections up to here are given at once, as Redis does with those it keeps in one piece.
const SMALL: usize = 128;

/// What is asked for besides the cursor.
struct Options<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
    type_name: Option<&'a [u8]>,
}

fn cursor(text: &[u8]) -> Result<u64, Reply> {
    let text = std::str::from_utf8(text).map_err(|_| INVALID_CURSOR)?;
    text.parse().map_err(|_| INVALID_CURSOR)
}

fn options(args: &[Bytes], with_type: bool) -> Result<Options<'_>, Reply> {
    let mut options = Options { pattern: None, count: COUNT, type_name: None };
    let mut pairs = args.chunks_exact(2);
    for pair in &mut pairs {
        let is = |name: &[u8]| pair[0].eq_ignore_ascii_case(name);
        if is(b"count") {
            let count = parse_integer(&pair[1]).ok_or(NOT_AN_INTEGER)?;
            options.count = usize::try_from(count).ok().filter(|n| *n > 0).ok_or(SYNTAX)?;
        } else if is(b"match") {
            options.pattern = Some(&pair[1]);
        } else if is(b"type") && with_type {
            options.type_name = Some(&pair[1]);
        } else {
            return Err(SYNTAX);
        }
    }
    if pairs.remainder().is_empty() { Ok(options) } else { Err(SYNTAX) }
}

/// The hash at which a cursor goes on.
fn start(cursor: u64) -> u64 {
    cursor << (64 - CURSOR_BITS)
}

/// Takes rows: at least `count`, and all that share the place of the last. The cursor to go on at,
/// 0 at the end.
fn page<R>(rows: impl Iterator<Item = (u64, R)>, count: usize, mut take: impl FnMut(R)) -> u64 {
    let place = |hash: u64| hash >> (64 - CURSOR_BITS);
    let mut last = None;
    for (taken, (hash, row)) in rows.enumerate() {
        if taken >= count && last != Some(place(hash)) {
            // Place 0 is the beginning, so it is never gone on at.
            return place(hash);
        }
        last = Some(place(hash));
        take(row);
    }
    0
}

fn answer(next: u64, found: Vec<Reply>) -> Reply {
    Reply::Array(vec![Reply::bulk(next.to_string()), Reply::Array(found)])
}

pub(super) fn scan(db: &Db, context: &Context, args: &[Bytes]) -> Ran {
    visible_scan(db, context, Visible::ALL, args)
}

pub(super) fn visible_scan(
    db: &Db,
    context: &Context,
    visible: Visible<'_>,
    args: &[Bytes],
) -> Ran {
    let (cursor, options) = (cursor(&args[0])?, options(&args[1..], true)?);
    if cursor >= 1 << CURSOR_BITS {
        return Ok(answer(0, Vec::new()));
    }
    let mut found = Vec::new();
    let rows = db.iter_from(start(cursor)).filter(|(_, entry)| visible.shows(&entry.key));
    let next = page(rows, options.count, |entry| {
        let name = entry.value.type_name().as_bytes();
        let wanted = !entry.is_due(context.now_ms)
            && options.pattern.is_none_or(|pattern| glob::matches(pattern, &entry.key))
            && options.type_name.is_none_or(|wanted| wanted.eq_ignore_ascii_case(name));
        if wanted {
            found.push(Reply::Bulk(entry.key.clone()));
        }
    });
    Ok(answer(next, found))
}

fn scan_members<A: Attribute>(
    args: &[Bytes],
    members: Option<&Members<A>>,
    told: impl Fn(&A) -> Option<Reply>,
) -> Ran {
    let (cursor, options) = (cursor(&args[1])?, options(&args[2..], false)?);
    let Some(members) = members.filter(|_| cursor < 1 << CURSOR_BITS) else {
        return Ok(answer(0, Vec::new()));
    };
    let mut found = Vec::new();
    let mut take = |name: &Bytes, attribute: &A| {
        if options.pattern.is_none_or(|pattern| glob::matches(pattern, name)) {
            found.push(Reply::Bulk(name.clone()));
            found.extend(told(attribute));
        }
    };
    let mut next = 0;
    if members.len() <= SMALL && cursor == 0 {
        members.iter().for_each(|member| take(member.name(), &member.attribute));
    } else {
        let rows = members.iter_from(start(cursor));
        next = page(rows, options.count, |row| take(row.name(), &row.attribute));
    }
    Ok(answer(next, found))
}

pub(super) fn hscan(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    scan_members(args, db.read::<Hash>(&args[0])?, |value| Some(Reply::Bulk(value.clone())))
}

pub(super) fn sscan(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    scan_members(args, db.read::<Set>(&args[0])?, |()| None)
}

pub(super) fn zscan(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    let scores = db.read::<SortedSet>(&args[0])?.map(SortedSet::scores);
    scan_members(args, scores, |score| Some(Reply::bulk(format_double(*score))))
}
