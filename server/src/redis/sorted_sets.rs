//! Sorted sets: changes, and what concerns single members.

use bytes::Bytes;

use super::db::{Context, Db};
use super::error::{
    GT_LT_NX, INCR_PAIR, NOT_A_FLOAT, NOT_POSITIVE, NX_AND_XX, SCORE_IS_NAN, SYNTAX,
};
use super::number::{parse_double, parse_integer};
use super::reply::Reply;
use super::sorted_set::SortedSet;
use super::spec::Ran;

pub(super) fn read<'a>(db: &'a Db, key: &[u8]) -> Result<Option<&'a SortedSet>, Reply> {
    db.read::<SortedSet>(key)
}

/// When `ZADD` changes what, and what it tells.
#[derive(Clone, Copy, Default)]
struct AddOptions {
    only_new: bool,
    only_old: bool,
    greater: bool,
    less: bool,
    changed: bool,
    increment: bool,
}

/// What became of one member.
struct Added {
    new: bool,
    changed: bool,
    /// `None` if a condition did not hold.
    score: Option<f64>,
}

/// The options, and what follows them.
fn add_options(args: &[Bytes]) -> (AddOptions, &[Bytes]) {
    let mut options = AddOptions::default();
    for (at, option) in args.iter().enumerate() {
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        match () {
            () if is(b"nx") => options.only_new = true,
            () if is(b"xx") => options.only_old = true,
            () if is(b"gt") => options.greater = true,
            () if is(b"lt") => options.less = true,
            () if is(b"ch") => options.changed = true,
            () if is(b"incr") => options.increment = true,
            () => return (options, &args[at..]),
        }
    }
    (options, &[])
}

fn add_one(
    set: &mut SortedSet,
    options: AddOptions,
    score: f64,
    member: &[u8],
) -> Result<Added, Reply> {
    let refused = Added { new: false, changed: false, score: None };
    let Some(old) = set.score(member) else {
        if options.only_old {
            return Ok(refused);
        }
        set.insert(member, score);
        return Ok(Added { new: true, changed: true, score: Some(score) });
    };
    if options.only_new {
        return Ok(refused);
    }
    let score = if options.increment { old + score } else { score };
    if score.is_nan() {
        return Err(SCORE_IS_NAN);
    }
    if (options.greater && score <= old) || (options.less && score >= old) {
        return Ok(refused);
    }
    if score != old {
        set.insert(member, score);
    }
    Ok(Added { new: false, changed: score != old, score: Some(score) })
}

pub(super) fn zadd(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let (options, pairs) = add_options(&args[1..]);
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(SYNTAX);
    }
    if options.only_new && options.only_old {
        return Err(NX_AND_XX);
    }
    if (options.greater && options.less) || (options.only_new && (options.greater || options.less))
    {
        return Err(GT_LT_NX);
    }
    if options.increment && pairs.len() > 2 {
        return Err(INCR_PAIR);
    }
    let score = |text: &Bytes| parse_double(text).ok_or(NOT_A_FLOAT);
    let pairs: Vec<_> = pairs
        .chunks_exact(2)
        .map(|pair| Ok((score(&pair[0])?, &pair[1])))
        .collect::<Result<_, _>>()?;
    read(db, &args[0])?;
    db.edit(context, &args[0], |set: &mut SortedSet| {
        let (mut new, mut changed, mut last) = (0, 0, None);
        for (score, member) in &pairs {
            match add_one(set, options, *score, member) {
                Ok(added) => {
                    new += usize::from(added.new);
                    changed += usize::from(added.changed);
                    last = added.score;
                }
                Err(error) => return (Err(error), changed > 0),
            }
        }
        let reply = match (options.increment, options.changed) {
            (true, _) => last.map_or(Reply::Null, Reply::Double),
            (false, true) => Reply::count(changed),
            (false, false) => Reply::count(new),
        };
        (Ok(reply), changed > 0)
    })?
}

pub(super) fn zincrby(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let score = parse_double(&args[1]).ok_or(NOT_A_FLOAT)?;
    let options = AddOptions { increment: true, ..AddOptions::default() };
    db.edit(context, &args[0], |set: &mut SortedSet| {
        match add_one(set, options, score, &args[2]) {
            Ok(added) => (Ok(added.score.map_or(Reply::Null, Reply::Double)), added.changed),
            Err(error) => (Err(error), false),
        }
    })?
}

pub(super) fn zrem(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let removed = db.edit_existing(context, &args[0], |set: &mut SortedSet| {
        let removed = args[1..].iter().filter_map(|member| set.remove(member)).count();
        (removed, removed > 0)
    })?;
    Ok(Reply::count(removed.unwrap_or(0)))
}

pub(super) fn zcard(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    Ok(Reply::count(read(db, &args[0])?.map_or(0, SortedSet::len)))
}

fn told(score: Option<f64>) -> Reply {
    score.map_or(Reply::Null, Reply::Double)
}

pub(super) fn zscore(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    Ok(told(read(db, &args[0])?.and_then(|set| set.score(&args[1]))))
}

pub(super) fn zmscore(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    let set = read(db, &args[0])?;
    let score = |member: &Bytes| told(set.and_then(|set| set.score(member)));
    Ok(Reply::Array(args[1..].iter().map(score).collect()))
}

pub(super) fn zrank(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    let rank = read(db, &args[0])?.and_then(|set| set.rank(&args[1]));
    Ok(rank.map_or(Reply::Null, Reply::count))
}

pub(super) fn zrevrank(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    let set = read(db, &args[0])?;
    let rank = set.and_then(|set| Some(set.len() - 1 - set.rank(&args[1])?));
    Ok(rank.map_or(Reply::Null, Reply::count))
}

fn pop(db: &mut Db, context: &Context, args: &[Bytes], highest: bool) -> Ran {
    let count = match &args[1..] {
        [] => None,
        [count] => Some(parse_integer(count).filter(|n| *n >= 0).ok_or(NOT_POSITIVE)? as usize),
        _ => return Err(SYNTAX),
    };
    let popped = db.edit_existing(context, &args[0], |set: &mut SortedSet| {
        let wanted = count.unwrap_or(1).min(set.len());
        let mut popped = Vec::new();
        for _ in 0..wanted {
            let Some(ranked) = set.at(if highest { set.len() - 1 } else { 0 }).cloned() else {
                break;
            };
            set.remove(&ranked.member);
            popped.push((Reply::Bulk(ranked.member), Reply::Double(ranked.score)));
        }
        let changed = !popped.is_empty();
        (popped, changed)
    })?;
    let popped = popped.unwrap_or_default();
    Ok(match count {
        // Without a count there is no array around the pair.
        None => {
            Reply::Array(popped.into_iter().flat_map(|(member, score)| [member, score]).collect())
        }
        Some(_) => Reply::Pairs(popped),
    })
}

pub(super) fn zpopmin(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    pop(db, context, args, false)
}

pub(super) fn zpopmax(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    pop(db, context, args, true)
}
