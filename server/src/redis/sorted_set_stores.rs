//! Unions and intersections of sorted sets, with weights.

use bytes::Bytes;

use super::db::{Context, Db};
use super::entry::{Kind as _, Set};
use super::error::{NOT_AN_INTEGER, SYNTAX, WEIGHT_NOT_A_FLOAT, WRONG_TYPE};
use super::number::{parse_double, parse_integer};
use super::reply::Reply;
use super::sorted_set::SortedSet;
use super::spec::Ran;

/// How the scores of one member become one.
#[derive(Clone, Copy, Debug)]
enum Aggregate {
    Sum,
    Least,
    Greatest,
}

impl Aggregate {
    fn of(self, left: f64, right: f64) -> f64 {
        match self {
            // Infinities of both signs cancel out.
            Self::Sum => Some(left + right).filter(|sum| !sum.is_nan()).unwrap_or(0.0),
            Self::Least => left.min(right),
            Self::Greatest => left.max(right),
        }
    }
}

/// A set or a sorted set; the members of a set have a score of 1.
enum Source<'a> {
    Nothing,
    Plain(&'a Set),
    Sorted(&'a SortedSet),
}

impl<'a> Source<'a> {
    fn read(db: &'a Db, key: &[u8]) -> Result<Self, Reply> {
        match (db.read::<SortedSet>(key), db.read::<Set>(key)) {
            (Ok(None), _) => Ok(Self::Nothing),
            (Ok(Some(set)), _) => Ok(Self::Sorted(set)),
            (_, Ok(Some(set))) => Ok(Self::Plain(set)),
            _ => Err(WRONG_TYPE),
        }
    }

    fn scores(&self) -> Vec<(Bytes, f64)> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Plain(set) => set.iter().map(|member| (member.name().clone(), 1.0)).collect(),
            Self::Sorted(set) => set
                .scores()
                .iter()
                .map(|member| (member.name().clone(), member.attribute))
                .collect(),
        }
    }
}

/// The union, or the intersection, of what the arguments name, from their number on.
fn combine(db: &Db, args: &[Bytes], name: &str, union: bool) -> Result<SortedSet, Reply> {
    let count = parse_integer(&args[0]).ok_or(NOT_AN_INTEGER)?;
    let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or_else(|| {
        Reply::error(format!("ERR at least 1 input key is needed for '{name}' command"))
    })?;
    let keys = count.checked_add(1).and_then(|end| args.get(1..end)).ok_or(SYNTAX)?;
    let mut weights = vec![1.0; count];
    let mut aggregate = Aggregate::Sum;
    let mut rest = &args[1 + count..];
    while let Some((option, behind)) = rest.split_first() {
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        if is(b"weights") && behind.len() >= count {
            for (weight, text) in weights.iter_mut().zip(behind) {
                *weight = parse_double(text).ok_or(WEIGHT_NOT_A_FLOAT)?;
            }
            rest = &behind[count..];
        } else if is(b"aggregate") && !behind.is_empty() {
            let is = |name: &[u8]| behind[0].eq_ignore_ascii_case(name);
            aggregate = match () {
                () if is(b"sum") => Aggregate::Sum,
                () if is(b"min") => Aggregate::Least,
                () if is(b"max") => Aggregate::Greatest,
                () => return Err(SYNTAX),
            };
            rest = &behind[1..];
        } else {
            return Err(SYNTAX);
        }
    }
    let sources: Vec<_> = keys.iter().map(|key| Source::read(db, key)).collect::<Result<_, _>>()?;
    let mut result = SortedSet::default();
    for (at, (source, weight)) in sources.iter().zip(weights).enumerate() {
        let mut next = if union { result.clone() } else { SortedSet::default() };
        for (member, score) in source.scores() {
            let weighted = Some(score * weight).filter(|score| !score.is_nan()).unwrap_or(0.0);
            match result.score(&member) {
                Some(old) => _ = next.insert(&member, aggregate.of(old, weighted)),
                None if union || at == 0 => _ = next.insert(&member, weighted),
                None => {}
            }
        }
        result = next;
    }
    Ok(result)
}

fn store(db: &mut Db, context: &Context, key: &[u8], set: SortedSet) -> Ran {
    let count = set.len();
    db.put(context, key, set.into_value(), 0);
    Ok(Reply::count(count))
}

pub(super) fn zunionstore(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let set = combine(db, &args[1..], "zunionstore", true)?;
    store(db, context, &args[0], set)
}

pub(super) fn zinterstore(db: &mut Db, context: &Context, args: &[Bytes]) -> Ran {
    let set = combine(db, &args[1..], "zinterstore", false)?;
    store(db, context, &args[0], set)
}
