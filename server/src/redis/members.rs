//! Members of a hash, a set or a sorted set: rows by name, which remember the order in which they
//! came.
//!
//! Cloned for nothing, like the table of keys itself, so that a value of a million members does not
//! stop the world when it changes after a snapshot began.

use bytes::Bytes;
use panchayat::KeyHash;
use panchayat::cow::{CowTable, Row};

/// Collections up to here are listed in the order in which their members came; larger ones, as in
/// Redis, in an order of their own.
const ORDERED_MAX: usize = 512;

/// What a member has beside its name.
pub(super) trait Attribute: Clone {
    /// A hash of it.
    fn print(&self) -> u64;
}

/// A member.
#[derive(Clone, Debug)]
pub(super) struct Member<A> {
    name: Bytes,
    pub(super) attribute: A,
    /// Grows with every member that comes.
    came: u64,
}

/// Members by name.
#[derive(Clone, Debug)]
pub(super) struct Members<A> {
    rows: CowTable<Member<A>>,
    /// How many have ever come.
    came: u64,
    /// The wrapping sum of the members' prints.
    print: u64,
}

impl<A> Member<A> {
    pub(super) fn name(&self) -> &Bytes {
        &self.name
    }
}

impl<A: Attribute> Member<A> {
    fn print(&self) -> u64 {
        let name = KeyHash::of(&self.name).0;
        (name ^ self.attribute.print().rotate_left(23)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ name.rotate_left(7)
    }
}

impl<A: Clone> Row for Member<A> {
    type Key = [u8];

    fn key(&self) -> &[u8] {
        &self.name
    }

    fn hash(key: &[u8]) -> u64 {
        KeyHash::of(key).0
    }
}

impl<A: Attribute> Members<A> {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn print(&self) -> u64 {
        self.print
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<&A> {
        self.rows.get(name).map(|row| &row.attribute)
    }

    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.rows.get(name).is_some()
    }

    /// Gives a member an attribute, and gives back the one it had. A name that is new is copied:
    /// it may be part of a large message.
    pub(super) fn insert(&mut self, name: &[u8], attribute: A) -> Option<A> {
        if let Some(row) = self.rows.get_mut(name) {
            let before = row.print();
            let old = std::mem::replace(&mut row.attribute, attribute);
            self.print = self.print.wrapping_sub(before).wrapping_add(row.print());
            return Some(old);
        }
        let name = Bytes::copy_from_slice(name);
        self.insert_row(Member { name, attribute, came: self.came });
        None
    }

    fn insert_row(&mut self, row: Member<A>) {
        self.print = self.print.wrapping_add(row.print());
        self.came = self.came.max(row.came + 1);
        self.rows.insert(row);
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Option<A> {
        let row = self.rows.remove(name)?;
        self.print = self.print.wrapping_sub(row.print());
        Some(row.attribute)
    }

    /// Every member: a small collection in the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Member<A>> {
        let mut ordered: Vec<_> = match self.len() <= ORDERED_MAX {
            true => self.rows.iter().collect(),
            false => Vec::new(),
        };
        ordered.sort_unstable_by_key(|member| member.came);
        let rest = match self.len() <= ORDERED_MAX {
            true => None,
            false => Some(self.rows.iter()),
        };
        ordered.into_iter().chain(rest.into_iter().flatten())
    }

    /// Those whose names hash to `hash` or above, by that hash.
    pub(super) fn iter_from(&self, hash: u64) -> impl Iterator<Item = (u64, &Member<A>)> {
        let hashed = |row| (Member::<A>::hash(Row::key(row)), row);
        self.rows.iter_from(hash).map(hashed)
    }

    /// One of them, by chance.
    pub(super) fn pick(&self, chance: u64) -> Option<&Member<A>> {
        if self.len() <= ORDERED_MAX {
            return self.rows.iter().nth((chance % self.len().max(1) as u64) as usize);
        }
        self.rows.iter_from(chance).next().or_else(|| self.rows.iter().next())
    }

    /// In the order in which they must be given to [`restored`](Self::restored).
    pub(super) fn rows(&self) -> impl Iterator<Item = (&Bytes, &A, u64)> {
        self.rows.iter().map(|row| (&row.name, &row.attribute, row.came))
    }

    /// Puts back a row of a snapshot. False if its name is there already.
    pub(super) fn restored(&mut self, name: Bytes, attribute: A, came: u64) -> bool {
        if self.contains(&name) || came == u64::MAX {
            return false;
        }
        self.insert_row(Member { name, attribute, came });
        true
    }

    /// How many have ever come, as a snapshot keeps it.
    pub(super) fn came(&self) -> u64 {
        self.came
    }

    /// Puts that back. False if members came later than that.
    pub(super) fn set_came(&mut self, came: u64) -> bool {
        let fits = came >= self.came;
        self.came = came;
        fits
    }
}

impl<A> Default for Members<A>
where
    Member<A>: Row,
{
    fn default() -> Self {
        Self { rows: CowTable::default(), came: 0, print: 0 }
    }
}

/// A set's members are but names.
impl Attribute for () {
    fn print(&self) -> u64 {
        0
    }
}

/// A field of a hash has a value.
impl Attribute for Bytes {
    fn print(&self) -> u64 {
        KeyHash::of(self).0
    }
}

/// A member of a sorted set has a score.
impl Attribute for f64 {
    fn print(&self) -> u64 {
        // Zero has two signs, which are equal.
        KeyHash::of(&(self + 0.0).to_le_bytes()).0
    }
}
