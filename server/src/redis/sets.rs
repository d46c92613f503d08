//! Sets.

use bytes::Bytes;

use super::db::{Context, Db};
use super::entry::Set;
use super::error::{NOT_AN_INTEGER, NOT_POSITIVE, OUT_OF_RANGE, SYNTAX};
use super::members::{Attribute, Member, Members};
use super::number::parse_integer;
use super::reply::Reply;
use super::spec::Ran;

/// Most members of one reply when they may come more than once.
const REPEATED_MAX: i64 = 1 << 20;

fn read<'a>(db: &'a Db, key: &[u8]) -> Result<Option<&'a Set>, Reply> {
    db.read::<Set>(key)
}

/// The next number drawn after `seed`.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *seed;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Members by chance: different ones, or with repetition if `count` is negative.
pub(super) fn picked<A: Attribute>(
    members: &Members<A>,
    mut seed: u64,
    count: i64,
) -> Result<Vec<&Member<A>>, Reply> {
    if count < -REPEATED_MAX {
        return Err(OUT_OF_RANGE);
    }
    if count < 0 {
        let picks = (0..count.unsigned_abs()).filter_map(|_| members.pick(next(&mut seed)));
        return Ok(picks.collect());
    }
    let wanted = usize::try_from(count).unwrap_or(usize::MAX);
    let mut all: Vec<_> = members.iter().collect();
    // As much of a shuffle as is wanted.
    for at in 0..wanted.min(all.len()) {
        if wanted < all.len() {
            let from = at + (next(&mut seed) % (all.len() - at) as u64) as usize;
            all.swap(at, from);
        }
    }
    all.truncate(wanted);
    Ok(all)
}

pub(super) fn sadd(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let added = db.edit(context, &args[0], |set: &mut Set| {
        let added = args[1..].iter().filter(|name| set.insert(name, ()).is_none()).count();
        (added, added > 0)
    })?;
    Ok(Reply::count(added))
}

pub(super) fn srem(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let removed = db.edit_existing(context, &args[0], |set: &mut Set| {
        let removed = args[1..].iter().filter_map(|name| set.remove(name)).count();
        (removed, removed > 0)
    })?;
    Ok(Reply::count(removed.unwrap_or(0)))
}

pub(super) fn smembers(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    let Some(set) = read(db, &args[0])? else { return Ok(Reply::Set(Vec::new())) };
    Ok(Reply::Set(set.iter().map(|member| Reply::Bulk(member.name().clone())).collect()))
}

pub(super) fn sismember(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    Ok(Reply::flag(read(db, &args[0])?.is_some_and(|set| set.contains(&args[1]))))
}

pub(super) fn smismember(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    let set = read(db, &args[0])?;
    let holds = |name: &Bytes| Reply::flag(set.is_some_and(|set| set.contains(name)));
    Ok(Reply::Array(args[1..].iter().map(holds).collect()))
}

pub(super) fn scard(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    Ok(Reply::count(read(db, &args[0])?.map_or(0, Set::len)))
}

pub(super) fn spop(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let count = match &args[1..] {
        [] => None,
        [count] => Some(parse_integer(count).filter(|n| *n >= 0).ok_or(NOT_POSITIVE)?),
        _ => return Err(SYNTAX),
    };
    let popped = db.edit_existing(context, &args[0], |set: &mut Set| {
        let picked = match count {
            None => Ok(set.pick(context.seed).into_iter().collect()),
            Some(count) => picked(set, context.seed, count),
        };
        let names: Vec<Bytes> =
            picked.unwrap_or_default().iter().map(|member| member.name().clone()).collect();
        names.iter().for_each(|name| _ = set.remove(name));
        let changed = !names.is_empty();
        (names, changed)
    })?;
    let mut popped = popped.unwrap_or_default();
    Ok(match count {
        None => Reply::optional(popped.pop()),
        Some(_) => Reply::Set(popped.into_iter().map(Reply::Bulk).collect()),
    })
}

pub(super) fn srandmember(db: &Db, context: &Context, args: &[Bytes]) -> Ran {
    let set = read(db, &args[0])?;
    match &args[1..] {
        [] => {
            let member = set.and_then(|set| set.pick(context.seed));
            Ok(Reply::optional(member.map(|member| member.name().clone())))
        }
        [count] => {
            let count = parse_integer(count).ok_or(NOT_AN_INTEGER)?;
            let Some(set) = set else { return Ok(Reply::Array(Vec::new())) };
            let members = picked(set, context.seed, count)?;
            Ok(Reply::bulks(members.into_iter().map(|member| member.name().clone())))
        }
        _ => Err(SYNTAX),
    }
}

pub(super) fn smove(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let (from, to, name) = (&args[0], &args[1], &args[2]);
    let Some(source) = read(db, from)? else { return Ok(Reply::ZERO) };
    let holds = source.contains(name);
    read(db, to)?;
    if !holds || from == to {
        return Ok(Reply::flag(holds));
    }
    db.edit(context, from, |set: &mut Set| (set.remove(name), true))?;
    db.edit(context, to, |set: &mut Set| {
        let new = set.insert(name, ()).is_none();
        ((), new)
    })?;
    Ok(Reply::ONE)
}
