//! Hashes.

use bytes::Bytes;

use super::db::{Context, Db};
use super::decimal;
use super::entry::Hash;
use super::error::{
    HASH_NOT_A_FLOAT, HASH_NOT_AN_INTEGER, NOT_A_FLOAT, NOT_AN_INTEGER, NOT_FINITE, OVERFLOW,
    SYNTAX, arity,
};
use super::number::{parse_double, parse_integer};
use super::reply::Reply;
use super::sets::picked;
use super::spec::Ran;

fn read<'a>(db: &'a Db, key: &[u8]) -> Result<Option<&'a Hash>, Reply> {
    db.read::<Hash>(key)
}

/// Sets fields; how many are new.
fn set(db: &mut Db, context: &Context, args: &[Bytes]) -> Result<usize, Reply> {
    db.edit(context, &args[0], |hash: &mut Hash| {
        let mut new = 0;
        for pair in args[1..].chunks_exact(2) {
            let value = Bytes::copy_from_slice(&pair[1]);
            new += usize::from(hash.insert(&pair[0], value).is_none());
        }
        (new, true)
    })
}

pub(super) fn hset(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    if args.len().is_multiple_of(2) {
        return Err(arity("hset"));
    }
    Ok(Reply::count(set(db, context, args)?))
}

pub(super) fn hmset(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    if args.len().is_multiple_of(2) {
        return Err(arity("hmset"));
    }
    set(db, context, args)?;
    Ok(Reply::OK)
}

pub(super) fn hsetnx(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let new = !read(db, &args[0])?.is_some_and(|hash| hash.contains(&args[1]));
    if new {
        set(db, context, args)?;
    }
    Ok(Reply::flag(new))
}

pub(super) fn hget(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    let hash = read(db, &args[0])?;
    Ok(Reply::optional(hash.and_then(|hash| hash.get(&args[1])).cloned()))
}

pub(super) fn hmget(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    let hash = read(db, &args[0])?;
    let value = |field: &Bytes| hash.and_then(|hash| hash.get(field)).cloned();
    Ok(Reply::Array(args[1..].iter().map(|field| Reply::optional(value(field))).collect()))
}

pub(super) fn hgetall(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    let Some(hash) = read(db, &args[0])? else { return Ok(Reply::Map(Vec::new())) };
    let pair = |field: &super::members::Member<Bytes>| {
        (Reply::Bulk(field.name().clone()), Reply::Bulk(field.attribute.clone()))
    };
    Ok(Reply::Map(hash.iter().map(pair).collect()))
}

pub(super) fn hkeys(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    let Some(hash) = read(db, &args[0])? else { return Ok(Reply::Array(Vec::new())) };
    Ok(Reply::bulks(hash.iter().map(|field| field.name().clone())))
}

pub(super) fn hvals(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    let Some(hash) = read(db, &args[0])? else { return Ok(Reply::Array(Vec::new())) };
    Ok(Reply::bulks(hash.iter().map(|field| field.attribute.clone())))
}

pub(super) fn hlen(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    Ok(Reply::count(read(db, &args[0])?.map_or(0, Hash::len)))
}

pub(super) fn hexists(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    Ok(Reply::flag(read(db, &args[0])?.is_some_and(|hash| hash.contains(&args[1]))))
}

pub(super) fn hstrlen(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    let value = read(db, &args[0])?.and_then(|hash| hash.get(&args[1]));
    Ok(Reply::count(value.map_or(0, Bytes::len)))
}

pub(super) fn hdel(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let removed = db.edit_existing(context, &args[0], |hash: &mut Hash| {
        let removed = args[1..].iter().filter_map(|field| hash.remove(field)).count();
        (removed, removed > 0)
    })?;
    Ok(Reply::count(removed.unwrap_or(0)))
}

pub(super) fn hincrby(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let amount = parse_integer(&args[2]).ok_or(NOT_AN_INTEGER)?;
    let old = match read(db, &args[0])?.and_then(|hash| hash.get(&args[1])) {
        None => 0,
        Some(text) => parse_integer(text).ok_or(HASH_NOT_AN_INTEGER)?,
    };
    let sum = old.checked_add(amount).ok_or(OVERFLOW)?;
    db.edit(context, &args[0], |hash: &mut Hash| {
        (hash.insert(&args[1], sum.to_string().into()), true)
    })?;
    Ok(Reply::Integer(sum))
}

pub(super) fn hincrbyfloat(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    if parse_double(&args[2]).ok_or(NOT_A_FLOAT)?.is_infinite() {
        return Err(Reply::error("ERR value is NaN or Infinity"));
    }
    let old = match read(db, &args[0])?.and_then(|hash| hash.get(&args[1])) {
        None => Bytes::from_static(b"0"),
        Some(text) => text.clone(),
    };
    parse_double(&old).ok_or(HASH_NOT_A_FLOAT)?;
    let sum = decimal::add(&old, &args[2]).ok_or(NOT_A_FLOAT)?.map_err(|()| NOT_FINITE)?;
    db.edit(context, &args[0], |hash: &mut Hash| {
        (hash.insert(&args[1], sum.clone().into()), true)
    })?;
    Ok(Reply::bulk(sum))
}

pub(super) fn hrandfield(db: &Db, context: &Context, args: &[Bytes]) -> Ran {
    let hash = read(db, &args[0])?;
    let Some(count) = args.get(1) else {
        let field = hash.and_then(|hash| hash.pick(context.seed));
        return Ok(Reply::optional(field.map(|field| field.name().clone())));
    };
    let count = parse_integer(count).ok_or(NOT_AN_INTEGER)?;
    let with_values = match &args[2..] {
        [] => false,
        [option] if option.eq_ignore_ascii_case(b"withvalues") => true,
        _ => return Err(SYNTAX),
    };
    let Some(hash) = hash else { return Ok(Reply::Array(Vec::new())) };
    let fields = picked(hash, context.seed, count)?;
    if !with_values {
        return Ok(Reply::bulks(fields.into_iter().map(|field| field.name().clone())));
    }
    let pairs = fields
        .into_iter()
        .map(|field| (Reply::Bulk(field.name().clone()), Reply::Bulk(field.attribute.clone())));
    Ok(Reply::Pairs(pairs.collect()))
}
