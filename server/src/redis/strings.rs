//! Strings, and the numbers in them.

use bytes::{Bytes, BytesMut};

use super::db::{Context, Db};
use super::decimal;
use super::entry::Value;
use super::error::{
    DECREMENT_OVERFLOW, NOT_A_FLOAT, NOT_AN_INTEGER, NOT_FINITE, OFFSET_OUT_OF_RANGE, OVERFLOW,
    SYNTAX, TOO_LONG, arity,
};
use super::expiry::{self, Unit};
use super::number::{parse_double, parse_integer};
use super::reply::Reply;
use super::spec::Ran;

/// Longest string, in bytes. More than a command can bring, since strings can be appended to.
pub(super) const STRING_BYTES_MAX: usize = 32 << 20;

fn read<'a>(db: &'a Db, key: &[u8]) -> Result<Option<&'a Bytes>, Reply> {
    db.read::<Bytes>(key)
}

fn put(db: &mut Db, context: &Context, key: &[u8], value: &[u8], expires_at: u64) {
    if expires_at == 0 && db.replace_string(context, key, value) {
        return;
    }
    db.put(context, key, Value::String(Bytes::copy_from_slice(value)), expires_at);
}

pub(super) fn get(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    Ok(Reply::optional(read(db, &args[0])?.cloned()))
}

/// What `SET` was asked for.
#[derive(Default)]
struct SetOptions {
    only_new: bool,
    only_old: bool,
    get: bool,
    keep: bool,
    expires_at: Option<u64>,
}

fn set_options(context: &Context, args: &[Bytes]) -> Result<SetOptions, Reply> {
    let mut options = SetOptions::default();
    let mut expire: Option<(&Bytes, Unit)> = None;
    let mut at = 0;
    while let Some(option) = args.get(at) {
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        if is("nx") && !options.only_old {
            options.only_new = true;
        } else if is("xx") && !options.only_new {
            options.only_old = true;
        } else if is("get") {
            options.get = true;
        } else if is("keepttl") && expire.is_none() {
            options.keep = true;
        } else if let Some(unit) = Unit::of(option)
            && let Some(value) = args.get(at + 1)
            && expire.is_none()
            && !options.keep
        {
            expire = Some((value, unit));
            at += 1;
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    if let Some((value, unit)) = expire {
        options.expires_at = Some(expiry::moment(context, value, unit, "set")?);
    }
    Ok(options)
}

pub(super) fn set(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let (key, value) = (&args[0], &args[1]);
    if args.len() == 2 {
        put(db, context, key, value, 0);
        return Ok(Reply::OK);
    }
    let options = set_options(context, &args[2..])?;
    let old = if options.get { Reply::optional(read(db, key)?.cloned()) } else { Reply::OK };
    let entry = db.get(key);
    if (options.only_new && entry.is_some()) || (options.only_old && entry.is_none()) {
        return Ok(if options.get { old } else { Reply::Null });
    }
    let kept = if options.keep { entry.map_or(0, |entry| entry.expires_at) } else { 0 };
    match options.expires_at {
        Some(at) if at <= context.now_ms => _ = db.remove(key),
        at => put(db, context, key, value, at.unwrap_or(kept)),
    }
    Ok(old)
}

pub(super) fn setnx(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let new = db.get(&args[0]).is_none();
    if new {
        put(db, context, &args[0], &args[1], 0);
    }
    Ok(Reply::flag(new))
}

fn set_for(db: &mut Db, context: &Context, args: &[Bytes], unit: Unit, name: &str) -> Ran {
    let at = expiry::moment(context, &args[1], unit, name)?;
    put(db, context, &args[0], &args[2], at);
    Ok(Reply::OK)
}

pub(super) fn setex(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    set_for(db, context, args, Unit::Ex, "setex")
}

pub(super) fn psetex(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    set_for(db, context, args, Unit::Px, "psetex")
}

pub(super) fn getset(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let old = Reply::optional(read(db, &args[0])?.cloned());
    put(db, context, &args[0], &args[1], 0);
    Ok(old)
}

pub(super) fn getdel(db: &mut Db, _: &Context, args: &[Bytes]) -> Ran {
    let old = Reply::optional(read(db, &args[0])?.cloned());
    db.remove(&args[0]);
    Ok(old)
}

pub(super) fn getex(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let key = &args[0];
    let expires_at = match &args[1..] {
        [] => None,
        [option] if option.eq_ignore_ascii_case(b"persist") => Some(0),
        [option, value] => {
            let unit = Unit::of(option).ok_or(SYNTAX)?;
            Some(expiry::moment(context, value, unit, "getex")?)
        }
        _ => return Err(SYNTAX),
    };
    let Some(value) = read(db, key)?.cloned() else { return Ok(Reply::Null) };
    match expires_at {
        None => {}
        Some(at) if at != 0 && at <= context.now_ms => _ = db.remove(key),
        Some(at) if db.get(key).is_some_and(|entry| entry.expires_at == at) => {}
        Some(at) => _ = db.expire(context, key, at),
    }
    Ok(Reply::Bulk(value))
}

pub(super) fn mget(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    // What is no string counts as nothing here.
    let value = |key: &Bytes| read(db, key).ok().flatten().cloned();
    Ok(Reply::Array(args.iter().map(|key| Reply::optional(value(key))).collect()))
}

fn pairs<'a>(args: &'a [Bytes], name: &str) -> Result<std::slice::ChunksExact<'a, Bytes>, Reply> {
    if args.len().is_multiple_of(2) { Ok(args.chunks_exact(2)) } else { Err(arity(name)) }
}

pub(super) fn mset(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    pairs(args, "mset")?.for_each(|pair| put(db, context, &pair[0], &pair[1], 0));
    Ok(Reply::OK)
}

pub(super) fn msetnx(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let mut pairs = pairs(args, "msetnx")?;
    if pairs.clone().any(|pair| db.get(&pair[0]).is_some()) {
        return Ok(Reply::ZERO);
    }
    pairs.by_ref().for_each(|pair| put(db, context, &pair[0], &pair[1], 0));
    Ok(Reply::ONE)
}

/// Changes the bytes of a string in place where nobody else looks at them.
fn change_bytes(value: &mut Bytes, change: impl FnOnce(&mut BytesMut)) {
    let mut bytes = match std::mem::take(value).try_into_mut() {
        Ok(bytes) => bytes,
        Err(shared) => BytesMut::from(&shared[..]),
    };
    change(&mut bytes);
    *value = bytes.freeze();
}

pub(super) fn append(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let (key, suffix) = (&args[0], &args[1]);
    if db.get(key).is_none() {
        put(db, context, key, suffix, 0);
        return Ok(Reply::count(suffix.len()));
    }
    db.edit(context, key, |value: &mut Bytes| {
        if value.len() + suffix.len() > STRING_BYTES_MAX {
            return (Err(TOO_LONG), false);
        }
        change_bytes(value, |bytes| bytes.extend_from_slice(suffix));
        (Ok(Reply::count(value.len())), true)
    })?
}

pub(super) fn strlen(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    Ok(Reply::count(read(db, &args[0])?.map_or(0, Bytes::len)))
}

pub(super) fn getrange(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    let start = parse_integer(&args[1]).ok_or(NOT_AN_INTEGER)?;
    let end = parse_integer(&args[2]).ok_or(NOT_AN_INTEGER)?;
    let Some(value) = read(db, &args[0])? else { return Ok(Reply::Bulk(Bytes::new())) };
    let length = value.len() as i64;
    // Both count from the end, and the second is the smaller: nothing, however short the string.
    if value.is_empty() || (start < 0 && end < 0 && start > end) {
        return Ok(Reply::Bulk(Bytes::new()));
    }
    let clamp = |index: i64| if index < 0 { index.saturating_add(length).max(0) } else { index };
    let (start, end) = (clamp(start), clamp(end).min(length - 1));
    if start > end {
        return Ok(Reply::Bulk(Bytes::new()));
    }
    Ok(Reply::Bulk(value.slice(start as usize..end as usize + 1)))
}

pub(super) fn setrange(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let (key, piece) = (&args[0], &args[2]);
    let offset = parse_integer(&args[1]).ok_or(NOT_AN_INTEGER)?;
    let offset = usize::try_from(offset).map_err(|_| OFFSET_OUT_OF_RANGE)?;
    let length = read(db, key)?.map(Bytes::len);
    if piece.is_empty() {
        return Ok(Reply::count(length.unwrap_or(0)));
    }
    if offset.saturating_add(piece.len()) > STRING_BYTES_MAX {
        return Err(TOO_LONG);
    }
    if length.is_none() {
        let mut value = vec![0; offset];
        value.extend_from_slice(piece);
        db.put(context, key, Value::String(value.into()), 0);
        return Ok(Reply::count(offset + piece.len()));
    }
    let length = db.edit(context, key, |value: &mut Bytes| {
        change_bytes(value, |bytes| {
            let end = offset + piece.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[offset..end].copy_from_slice(piece);
        });
        (value.len(), true)
    })?;
    Ok(Reply::count(length))
}

fn add(db: &mut Db, context: &Context, key: &[u8], amount: i64) -> Ran {
    let old = match read(db, key)? {
        None => 0,
        Some(text) => parse_integer(text).ok_or(NOT_AN_INTEGER)?,
    };
    let sum = old.checked_add(amount).ok_or(OVERFLOW)?;
    let expires_at = db.get(key).map_or(0, |entry| entry.expires_at);
    put(db, context, key, sum.to_string().as_bytes(), expires_at);
    Ok(Reply::Integer(sum))
}

pub(super) fn incr(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    add(db, context, &args[0], 1)
}

pub(super) fn decr(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    add(db, context, &args[0], -1)
}

pub(super) fn incrby(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    add(db, context, &args[0], parse_integer(&args[1]).ok_or(NOT_AN_INTEGER)?)
}

pub(super) fn decrby(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let amount = parse_integer(&args[1]).ok_or(NOT_AN_INTEGER)?;
    add(db, context, &args[0], amount.checked_neg().ok_or(DECREMENT_OVERFLOW)?)
}

pub(super) fn incrbyfloat(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let key = &args[0];
    let old = read(db, key)?.cloned().unwrap_or_else(|| Bytes::from_static(b"0"));
    parse_double(&old).and(parse_double(&args[1])).ok_or(NOT_A_FLOAT)?;
    let sum = decimal::add(&old, &args[1]).ok_or(NOT_A_FLOAT)?.map_err(|()| NOT_FINITE)?;
    let expires_at = db.get(key).map_or(0, |entry| entry.expires_at);
    put(db, context, key, sum.as_bytes(), expires_at);
    Ok(Reply::bulk(sum))
}

/// Sets a string if the key has the one that is expected: whether it did, and what was found. For
/// the command line; Redis clients use `WATCH`.
pub(super) fn compare_and_set(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let found = read(db, &args[0])?.cloned();
    let same = found.as_ref() == Some(&args[1]);
    if same {
        put(db, context, &args[0], &args[2], 0);
    }
    Ok(Reply::Array(vec![Reply::flag(same), Reply::optional(found)]))
}
