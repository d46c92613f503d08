//! Intersections, unions and differences of sets.

use bytes::Bytes;

use super::db::{Context, Db};
use super::entry::{Kind as _, Set};
use super::error::{LIMIT_NEGATIVE, NUMKEYS_NOT_POSITIVE, NUMKEYS_TOO_MANY, SYNTAX};
use super::number::parse_integer;
use super::reply::Reply;
use super::spec::Ran;

fn read_all<'a>(db: &'a Db, keys: &[Bytes]) -> Result<Vec<Option<&'a Set>>, Reply> {
    keys.iter().map(|key| db.read::<Set>(key)).collect()
}

fn names(set: &Set) -> impl Iterator<Item = &Bytes> {
    set.iter().map(|member| member.name())
}

/// The members common to all, at most `most`.
fn intersection(db: &Db, keys: &[Bytes], most: usize) -> Result<Set, Reply> {
    let mut result = Set::default();
    let Some(mut sets) = read_all(db, keys)?.into_iter().collect::<Option<Vec<_>>>() else {
        return Ok(result);
    };
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else { return Ok(result) };
    let common = names(smallest).filter(|name| others.iter().all(|set| set.contains(name)));
    common.take(most).for_each(|name| _ = result.insert(name, ()));
    Ok(result)
}

fn union(db: &Db, keys: &[Bytes]) -> Result<Set, Reply> {
    let mut result = Set::default();
    for set in read_all(db, keys)?.into_iter().flatten() {
        names(set).for_each(|name| _ = result.insert(name, ()));
    }
    Ok(result)
}

fn difference(db: &Db, keys: &[Bytes]) -> Result<Set, Reply> {
    let mut result = Set::default();
    let sets = read_all(db, keys)?;
    let Some((Some(first), others)) = sets.split_first() else { return Ok(result) };
    let taken = |name: &Bytes| others.iter().flatten().any(|set| set.contains(name));
    names(first).filter(|name| !taken(name)).for_each(|name| _ = result.insert(name, ()));
    Ok(result)
}

fn told(set: &Set) -> Reply {
    Reply::Set(names(set).map(|name| Reply::Bulk(name.clone())).collect())
}

fn store(db: &mut Db, context: &Context, key: &[u8], set: Set) -> Ran {
    let length = set.len();
    // One that is empty removes the key.
    db.put(context, key, set.into_value(), 0);
    Ok(Reply::count(length))
}

pub(super) fn sinter(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    Ok(told(&intersection(db, args, usize::MAX)?))
}

pub(super) fn sunion(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    Ok(told(&union(db, args)?))
}

pub(super) fn sdiff(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    Ok(told(&difference(db, args)?))
}

pub(super) fn sinterstore(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let set = intersection(db, &args[1..], usize::MAX)?;
    store(db, context, &args[0], set)
}

pub(super) fn sunionstore(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let set = union(db, &args[1..])?;
    store(db, context, &args[0], set)
}

pub(super) fn sdiffstore(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let set = difference(db, &args[1..])?;
    store(db, context, &args[0], set)
}

pub(super) fn sintercard(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    let count = parse_integer(&args[0]).filter(|n| *n > 0).ok_or(NUMKEYS_NOT_POSITIVE)? as usize;
    let keys = args.get(1..1 + count).ok_or(NUMKEYS_TOO_MANY)?;
    let most = match &args[1 + count..] {
        [] => 0,
        [option, most] if option.eq_ignore_ascii_case(b"limit") => {
            parse_integer(most).filter(|n| *n >= 0).ok_or(LIMIT_NEGATIVE)?
        }
        _ => return Err(SYNTAX),
    };
    let most = if most == 0 { usize::MAX } else { most as usize };
    Ok(Reply::count(intersection(db, keys, most)?.len()))
}
