//! When keys expire.
//!
//! A time to live becomes a moment when the command that sets it is executed, counted from the
//! agreed time at which it was proposed.

use bytes::Bytes;

use super::db::{Context, Db};
use super::error::{EXPIRE_GT_LT, EXPIRE_NX, NOT_AN_INTEGER, expire_time};
use super::number::parse_integer;
use super::reply::Reply;
use super::spec::Ran;

/// How a time is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Seconds from now.
    Ex,
    /// Milliseconds from now.
    Px,
    /// Seconds since 1970.
    ExAt,
    /// Milliseconds since 1970.
    PxAt,
}

impl Unit {
    /// By the name of an option.
    pub(super) fn of(option: &[u8]) -> Option<Self> {
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        match () {
            () if is(b"ex") => Some(Self::Ex),
            () if is(b"px") => Some(Self::Px),
            () if is(b"exat") => Some(Self::ExAt),
            () if is(b"pxat") => Some(Self::PxAt),
            () => None,
        }
    }

    fn is_seconds(self) -> bool {
        matches!(self, Self::Ex | Self::ExAt)
    }

    fn is_from_now(self) -> bool {
        matches!(self, Self::Ex | Self::Px)
    }

    /// The moment, which may lie in the past. `None` if it does not fit.
    fn moment(self, now_ms: u64, value: i64) -> Option<i64> {
        let ms = if self.is_seconds() { value.checked_mul(1_000)? } else { value };
        if self.is_from_now() { ms.checked_add(now_ms as i64) } else { Some(ms) }
    }
}

/// The moment that `value` means, in milliseconds since 1970: it must be positive.
pub(super) fn moment(
    context: &Context,
    value: &[u8],
    unit: Unit,
    name: &str,
) -> Result<u64, Reply> {
    let value = parse_integer(value).ok_or(NOT_AN_INTEGER)?;
    let moment = unit.moment(context.now_ms, value).filter(|_| value > 0);
    moment.and_then(|at| u64::try_from(at).ok()).ok_or_else(|| expire_time(name))
}

/// Conditions of `EXPIRE` and its kin.
#[derive(Default)]
struct Conditions {
    none: bool,
    some: bool,
    later: bool,
    sooner: bool,
}

fn conditions(args: &[Bytes]) -> Result<Conditions, Reply> {
    let mut conditions = Conditions::default();
    for option in args {
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        match () {
            () if is(b"nx") => conditions.none = true,
            () if is(b"xx") => conditions.some = true,
            () if is(b"gt") => conditions.later = true,
            () if is(b"lt") => conditions.sooner = true,
            () => {
                let option = String::from_utf8_lossy(option);
                return Err(Reply::error(format!("ERR Unsupported option {option}")));
            }
        }
    }
    if conditions.none && (conditions.some || conditions.later || conditions.sooner) {
        return Err(EXPIRE_NX);
    }
    if conditions.later && conditions.sooner {
        return Err(EXPIRE_GT_LT);
    }
    Ok(conditions)
}

fn expire_key(db: &mut Db, context: &Context, args: &[Bytes], unit: Unit, name: &str) -> Ran {
    let conditions = conditions(&args[2..])?;
    let value = parse_integer(&args[1]).ok_or(NOT_AN_INTEGER)?;
    let at = unit.moment(context.now_ms, value).ok_or_else(|| expire_time(name))?;
    let Some(entry) = db.get(&args[0]) else { return Ok(Reply::ZERO) };
    let current = entry.expires_at;
    // No expiry is one that is infinitely late.
    let refused = (conditions.none && current != 0)
        || (conditions.some && current == 0)
        || (conditions.later && (current == 0 || at <= current as i64))
        || (conditions.sooner && current != 0 && at >= current as i64);
    if refused {
        return Ok(Reply::ZERO);
    }
    if at <= context.now_ms as i64 {
        db.remove(&args[0]);
    } else {
        db.expire(context, &args[0], at as u64);
    }
    Ok(Reply::ONE)
}

pub(super) fn expire(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    expire_key(db, context, args, Unit::Ex, "expire")
}

pub(super) fn pexpire(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    expire_key(db, context, args, Unit::Px, "pexpire")
}

pub(super) fn expireat(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    expire_key(db, context, args, Unit::ExAt, "expireat")
}

pub(super) fn pexpireat(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    expire_key(db, context, args, Unit::PxAt, "pexpireat")
}

/// -2 without a key, -1 without an expiry, or what `of` makes of it.
fn told(db: &Db, key: &[u8], of: impl FnOnce(u64) -> u64) -> Ran {
    Ok(Reply::Integer(match db.get(key) {
        None => -2,
        Some(entry) if entry.expires_at == 0 => -1,
        Some(entry) => of(entry.expires_at) as i64,
    }))
}

pub(super) fn ttl(db: &Db, context: &Context, args: &[Bytes]) -> Ran {
    // To the nearest second.
    told(db, &args[0], |at| (at.saturating_sub(context.now_ms) + 500) / 1_000)
}

pub(super) fn pttl(db: &Db, context: &Context, args: &[Bytes]) -> Ran {
    told(db, &args[0], |at| at.saturating_sub(context.now_ms))
}

pub(super) fn expiretime(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    told(db, &args[0], |at| (at + 500) / 1_000)
}

pub(super) fn pexpiretime(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    told(db, &args[0], |at| at)
}

pub(super) fn persist(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let expires = db.get(&args[0]).is_some_and(|entry| entry.expires_at != 0);
    if expires {
        db.expire(context, &args[0], 0);
    }
    Ok(Reply::flag(expires))
}
