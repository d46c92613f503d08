//! Keys, whatever they hold.

use bytes::Bytes;

use super::db::{Context, Db};
use super::entry::{Entry, Value};
use super::error::{DB_INDEX, NO_SUCH_KEY, SAME_OBJECT, SYNTAX};
use super::glob;
use super::number::parse_integer;
use super::reply::Reply;
use super::spec::Ran;
use super::visible::Visible;

pub(super) fn del(db: &mut Db, _: &Context, args: &[Bytes]) -> Ran {
    Ok(Reply::count(args.iter().filter_map(|key| db.remove(key)).count()))
}

pub(super) fn exists(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    Ok(Reply::count(args.iter().filter(|key| db.get(key).is_some()).count()))
}

pub(super) fn type_of(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    let name = db.get(&args[0]).map_or("none", |entry| entry.value.type_name());
    Ok(Reply::Simple(name.into()))
}

fn rename_key(db: &mut Db, context: &Context, args: &[Bytes], replace: bool) -> Ran {
    if db.get(&args[0]).is_none() {
        return Err(NO_SUCH_KEY);
    }
    if args[0] == args[1] {
        return Ok(if replace { Reply::OK } else { Reply::ZERO });
    }
    if !replace && db.get(&args[1]).is_some() {
        return Ok(Reply::ZERO);
    }
    if let Some(Entry { value, expires_at, .. }) = db.remove(&args[0]) {
        db.put(context, &args[1], value, expires_at);
    }
    Ok(if replace { Reply::OK } else { Reply::ONE })
}

pub(super) fn rename(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    rename_key(db, context, args, true)
}

pub(super) fn renamenx(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    rename_key(db, context, args, false)
}

pub(super) fn copy(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let mut replace = false;
    let mut options = args[2..].iter();
    while let Some(option) = options.next() {
        if option.eq_ignore_ascii_case(b"replace") {
            replace = true;
        } else if option.eq_ignore_ascii_case(b"db") {
            let index = options.next().ok_or(SYNTAX)?;
            if parse_integer(index) != Some(0) {
                return Err(DB_INDEX);
            }
        } else {
            return Err(SYNTAX);
        }
    }
    if args[0] == args[1] {
        return Err(SAME_OBJECT);
    }
    let Some(entry) = db.get(&args[0]) else { return Ok(Reply::ZERO) };
    let (value, expires_at) = (entry.value.clone(), entry.expires_at);
    if !replace && db.get(&args[1]).is_some() {
        return Ok(Reply::ZERO);
    }
    db.put(context, &args[1], value, expires_at);
    Ok(Reply::ONE)
}

pub(super) fn flush(db: &mut Db, _: &Context, args: &[Bytes]) -> Ran {
    match args {
        [] => {}
        [how] if how.eq_ignore_ascii_case(b"sync") || how.eq_ignore_ascii_case(b"async") => {}
        _ => return Err(SYNTAX),
    }
    db.clear();
    Ok(Reply::OK)
}

/// `OBJECT ENCODING` and its kin, as far as it says something here.
pub(super) fn object_encoding(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    let Some(entry) = db.get(&args[0]) else { return Ok(Reply::Null) };
    Ok(Reply::bulk(match &entry.value {
        Value::String(text) if parse_integer(text).is_some() => "int",
        Value::String(text) if text.len() <= 44 => "embstr",
        Value::String(_) => "raw",
        Value::Hash(_) | Value::Set(_) => "hashtable",
        Value::List(_) => "quicklist",
        Value::SortedSet(_) => "skiplist",
    }))
}

/// The version of each key, 0 if there is none: what `WATCH` remembers.
pub(super) fn versions(db: &Db, _: &Context, args: &[Bytes]) -> Ran {
    let version = |key: &Bytes| db.get(key).map_or(0, |entry| entry.version);
    Ok(Reply::Array(args.iter().map(|key| Reply::Integer(version(key) as i64)).collect()))
}

pub(super) fn dbsize(db: &Db, _: &Context, _: &[Bytes]) -> Ran {
    visible_dbsize(db, Visible::ALL)
}

pub(super) fn visible_dbsize(db: &Db, visible: Visible<'_>) -> Ran {
    if visible.shows_all() {
        return Ok(Reply::count(db.len()));
    }
    Ok(Reply::count(db.entries().iter().filter(|entry| visible.shows(&entry.key)).count()))
}

/// How many keys there are, and how many of them expire: for `INFO`.
pub(super) fn keyspace(db: &Db, _: &Context, _: &[Bytes]) -> Ran {
    Ok(Reply::Array(vec![Reply::count(db.len()), Reply::count(db.expiring())]))
}

/// Some keys whose time has come.
pub(super) fn due(db: &Db, context: &Context, args: &[Bytes]) -> Ran {
    let count = parse_integer(&args[0]).and_then(|count| usize::try_from(count).ok());
    Ok(Reply::bulks(db.due(context.now_ms, count.unwrap_or(0)).cloned()))
}

pub(super) fn keys(db: &Db, context: &Context, args: &[Bytes]) -> Ran {
    visible_keys(db, context, Visible::ALL, &args[0])
}

pub(super) fn visible_keys(
    db: &Db,
    context: &Context,
    visible: Visible<'_>,
    pattern: &[u8],
) -> Ran {
    let live = db.entries().iter().filter(|entry| !entry.is_due(context.now_ms));
    let seen = live.filter(|entry| visible.shows(&entry.key));
    let found = seen.filter(|entry| glob::matches(pattern, &entry.key));
    Ok(Reply::bulks(found.map(|entry| entry.key.clone())))
}

pub(super) fn randomkey(db: &Db, context: &Context, _: &[Bytes]) -> Ran {
    visible_randomkey(db, context, Visible::ALL)
}

pub(super) fn visible_randomkey(db: &Db, context: &Context, visible: Visible<'_>) -> Ran {
    let live =
        |(_, entry): &(u64, &Entry)| !entry.is_due(context.now_ms) && visible.shows(&entry.key);
    let found = db.iter_from(context.seed).find(live).or_else(|| db.iter_from(0).find(live));
    Ok(Reply::optional(found.map(|(_, entry)| entry.key.clone())))
}
