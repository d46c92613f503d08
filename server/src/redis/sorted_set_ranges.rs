//! Ranges of sorted sets: by rank, by score, and by name where all scores are equal.

use std::ops::Range;

use bytes::Bytes;

use super::db::{Context, Db};
use super::entry::Kind as _;
use super::error::{
    LIMIT_ALONE, NOT_AN_INTEGER, RANGE_NOT_A_FLOAT, RANGE_NOT_LEXICAL, SYNTAX, WITHSCORES_BYLEX,
};
use super::lists::span;
use super::number::{parse_double, parse_integer};
use super::reply::Reply;
use super::sorted_set::{Ranked, SortedSet};
use super::sorted_sets::read;
use super::spec::Ran;

/// What a range is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Name,
}

/// A range that was asked for.
struct Asked<'a> {
    by: By,
    from: &'a [u8],
    to: &'a [u8],
    reverse: bool,
    /// How many are left out, and how many are given; all if negative.
    limit: Option<(i64, i64)>,
    with_scores: bool,
}

/// A limit of a range by score.
struct ScoreBound {
    score: f64,
    exclusive: bool,
}

fn score_bound(text: &[u8]) -> Result<ScoreBound, Reply> {
    let (exclusive, number) = match text {
        [b'(', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let score = parse_double(number).ok_or(RANGE_NOT_A_FLOAT)?;
    Ok(ScoreBound { score, exclusive })
}

/// A limit of a range by name.
enum NameBound<'a> {
    Lowest,
    Highest,
    At { name: &'a [u8], exclusive: bool },
}

fn name_bound(text: &[u8]) -> Result<NameBound<'_>, Reply> {
    match text {
        b"-" => Ok(NameBound::Lowest),
        b"+" => Ok(NameBound::Highest),
        [b'(', name @ ..] => Ok(NameBound::At { name, exclusive: true }),
        [b'[', name @ ..] => Ok(NameBound::At { name, exclusive: false }),
        _ => Err(RANGE_NOT_LEXICAL),
    }
}

/// How many are below a range that begins at `min`, or, if `upper`, up to one that ends there.
fn below_name(set: &SortedSet, bound: &NameBound<'_>, upper: bool) -> usize {
    match bound {
        NameBound::Lowest => 0,
        NameBound::Highest => set.len(),
        NameBound::At { name, exclusive } => {
            let included = *exclusive != upper;
            set.count_before(|ranked| match included {
                true => ranked.member[..] <= **name,
                false => ranked.member[..] < **name,
            })
        }
    }
}

fn below_score(set: &SortedSet, bound: &ScoreBound, upper: bool) -> usize {
    let included = bound.exclusive != upper;
    set.count_before(|ranked| match included {
        true => ranked.score <= bound.score,
        false => ranked.score < bound.score,
    })
}

/// The ranks between two limits, `min` first. The limits are checked even if there is no set.
fn ranks(set: Option<&SortedSet>, by: By, min: &[u8], max: &[u8]) -> Result<Range<usize>, Reply> {
    let empty = SortedSet::default();
    let set = set.unwrap_or(&empty);
    let (from, to) = match by {
        By::Rank => {
            let start = parse_integer(min).ok_or(NOT_AN_INTEGER)?;
            let stop = parse_integer(max).ok_or(NOT_AN_INTEGER)?;
            let span = span(start, stop, set.len());
            (span.start, span.end)
        }
        By::Score => {
            let (min, max) = (score_bound(min)?, score_bound(max)?);
            (below_score(set, &min, false), below_score(set, &max, true))
        }
        By::Name => {
            let (min, max) = (name_bound(min)?, name_bound(max)?);
            (below_name(set, &min, false), below_name(set, &max, true))
        }
    };
    Ok(from..to.max(from))
}

/// What is in the range, in the order that was asked for.
fn found(set: Option<&SortedSet>, asked: &Asked<'_>) -> Result<Vec<Ranked>, Reply> {
    // Backwards, scores and names are given with the greater limit first; ranks count from the end.
    let swapped = asked.reverse && asked.by != By::Rank;
    let (min, max) = if swapped { (asked.to, asked.from) } else { (asked.from, asked.to) };
    let mut range = ranks(set, asked.by, min, max)?;
    let Some(set) = set else { return Ok(Vec::new()) };
    if asked.reverse && asked.by == By::Rank {
        range = set.len() - range.end..set.len() - range.start;
    }
    let (skip, most) = match asked.limit {
        None => (0, usize::MAX),
        Some((skip, _)) if skip < 0 => return Ok(Vec::new()),
        Some((skip, most)) => (skip as usize, usize::try_from(most).unwrap_or(usize::MAX)),
    };
    if skip >= range.len() {
        return Ok(Vec::new());
    }
    let count = (range.len() - skip).min(most);
    Ok(match asked.reverse {
        false => set.iter_from(range.start + skip).take(count).cloned().collect(),
        true => set.iter_back_from(range.end - 1 - skip).take(count).cloned().collect(),
    })
}

fn told(found: Vec<Ranked>, with_scores: bool) -> Reply {
    if !with_scores {
        return Reply::bulks(found.into_iter().map(|ranked| ranked.member));
    }
    let pair = |ranked: Ranked| (Reply::Bulk(ranked.member), Reply::Double(ranked.score));
    Reply::Pairs(found.into_iter().map(pair).collect())
}

/// Reads options behind the limits; `fixed` says what a command of older days is about.
fn asked(args: &[Bytes], fixed: Option<(By, bool)>, stores: bool) -> Result<Asked<'_>, Reply> {
    let (by, reverse) = fixed.unwrap_or((By::Rank, false));
    let (from, to) = (&args[0][..], &args[1][..]);
    let mut asked = Asked { by, from, to, reverse, limit: None, with_scores: false };
    let mut options = args[2..].iter();
    while let Some(option) = options.next() {
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        if is(b"withscores") && !stores {
            asked.with_scores = true;
        } else if is(b"limit") {
            let mut number = || options.next().ok_or(SYNTAX);
            let (skip, most) = (number()?, number()?);
            let integer = |text| parse_integer(text).ok_or(NOT_AN_INTEGER);
            asked.limit = Some((integer(skip)?, integer(most)?));
        } else if is(b"byscore") && fixed.is_none() {
            asked.by = By::Score;
        } else if is(b"bylex") && fixed.is_none() {
            asked.by = By::Name;
        } else if is(b"rev") && fixed.is_none() {
            asked.reverse = true;
        } else {
            return Err(SYNTAX);
        }
    }
    if asked.limit.is_some_and(|(_, most)| most != -1 || fixed.is_none()) && asked.by == By::Rank {
        return Err(LIMIT_ALONE);
    }
    if asked.with_scores && asked.by == By::Name {
        return Err(if fixed.is_some() { SYNTAX } else { WITHSCORES_BYLEX });
    }
    Ok(asked)
}

fn range(db: &Db, args: &[Bytes], fixed: Option<(By, bool)>) -> Ran {
    let asked = asked(&args[1..], fixed, false)?;
    // Limits that make no sense are told before a key of the wrong type is.
    ranks(None, asked.by, asked.from, asked.to).or_else(|error| {
        match asked.reverse && asked.by != By::Rank {
            true => ranks(None, asked.by, asked.to, asked.from),
            false => Err(error),
        }
    })?;
    Ok(told(found(read(db, &args[0])?, &asked)?, asked.with_scores))
}

pub(super) fn zrange(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    range(db, args, None)
}

pub(super) fn zrevrange(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    range(db, args, Some((By::Rank, true)))
}

pub(super) fn zrangebyscore(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    range(db, args, Some((By::Score, false)))
}

pub(super) fn zrevrangebyscore(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    range(db, args, Some((By::Score, true)))
}

pub(super) fn zrangebylex(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    range(db, args, Some((By::Name, false)))
}

pub(super) fn zrevrangebylex(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    range(db, args, Some((By::Name, true)))
}

pub(super) fn zrangestore(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let asked = asked(&args[2..], None, true)?;
    let found = found(read(db, &args[1])?, &asked)?;
    let mut set = SortedSet::default();
    found.iter().for_each(|ranked| _ = set.insert(&ranked.member, ranked.score));
    let count = set.len();
    db.put(context, &args[0], set.into_value(), 0);
    Ok(Reply::count(count))
}

fn count(db: &Db, args: &[Bytes], by: By) -> Ran {
    ranks(None, by, &args[1], &args[2])?;
    Ok(Reply::count(ranks(read(db, &args[0])?, by, &args[1], &args[2])?.len()))
}

pub(super) fn zcount(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    count(db, args, By::Score)
}

pub(super) fn zlexcount(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    count(db, args, By::Name)
}

fn remove(db: &mut Db, context: &Context, args: &[Bytes], by: By) -> Ran {
    ranks(None, by, &args[1], &args[2])?;
    let range = ranks(read(db, &args[0])?, by, &args[1], &args[2])?;
    db.edit_existing(context, &args[0], |set: &mut SortedSet| {
        let gone: Vec<_> = set.iter_from(range.start).take(range.len()).cloned().collect();
        gone.iter().for_each(|ranked| _ = set.remove(&ranked.member));
        ((), !gone.is_empty())
    })?;
    Ok(Reply::count(range.len()))
}

pub(super) fn zremrangebyrank(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    remove(db, context, args, By::Rank)
}

pub(super) fn zremrangebyscore(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    remove(db, context, args, By::Score)
}

pub(super) fn zremrangebylex(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    remove(db, context, args, By::Name)
}
