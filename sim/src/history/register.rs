//! Single-key operations, and what they do one at a time: reads, writes, deletions,
//! compare-and-set and appends.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;

use super::linearize::{Leaves, Specification, Step};
use super::model::{History, Operation};

/// What a key may hold.
pub trait Value: Clone + Eq + Ord + Hash + Debug {
    /// What appending `suffix` makes of `current`, `None` being an absent key.
    fn append(current: Option<&Self>, suffix: &Self) -> Self;

    /// Whether one of `observed` is `state`, or could come of it by appending. `true` is always
    /// right; `false` spares the search work.
    fn may_become(_state: &Self, _observed: &BTreeSet<Self>) -> bool {
        true
    }

    /// Whether appending `suffix` to something could leave `value`. `true` is always right.
    fn may_end_with(_value: &Self, _suffix: &Self) -> bool {
        true
    }
}

/// Bytes; appending concatenates.
impl Value for Vec<u8> {
    fn append(current: Option<&Self>, suffix: &Self) -> Self {
        let mut value = current.cloned().unwrap_or_default();
        value.extend_from_slice(suffix);
        value
    }

    fn may_become(state: &Self, observed: &BTreeSet<Self>) -> bool {
        // What starts with `state` sorts directly from `state` on.
        observed.range(state.clone()..).next().is_some_and(|next| next.starts_with(state))
    }

    fn may_end_with(value: &Self, suffix: &Self) -> bool {
        value.ends_with(suffix)
    }
}

/// A number; appending adds. Which of many additions of unknown outcome make up a sum is hard to
/// find out, as a matter of principle: where outcomes are unknown, prefer bytes.
impl Value for u64 {
    fn append(current: Option<&Self>, suffix: &Self) -> Self {
        current.copied().unwrap_or_default().wrapping_add(*suffix)
    }
}

/// What a client may ask of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RegisterCall<V> {
    /// Reads the value.
    Read,
    /// Sets the value.
    Write(V),
    /// Removes the value.
    Delete,
    /// Sets (or, with `None`, removes) the value if it is the expected one.
    CompareAndSet {
        /// The value it must have; `None` for absent.
        expected: Option<V>,
        /// Its new value; `None` removes it.
        new: Option<V>,
    },
    /// Appends to the value, an absent one counting as empty.
    Append(V),
}

/// What a client may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterResult<V> {
    /// A write, a deletion or an append was done.
    Done,
    /// The value read, or the one an append left behind.
    Value(Option<V>),
    /// Whether a compare-and-set was applied. `Swapped(false)` says so little that histories with
    /// many concurrent operations may remain undecided: prefer [`Self::Compared`].
    Swapped(bool),
    /// Whether a compare-and-set was applied, and the value it found.
    Compared {
        /// Whether the value was the expected one.
        applied: bool,
        /// The value found.
        found: Option<V>,
    },
}

/// A call on one of many keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyedCall<K, V> {
    /// The key.
    pub key: K,
    /// What is asked of it.
    pub call: RegisterCall<V>,
}

/// A history of single-key operations. Every key is absent before the first.
pub type RegisterHistory<K, V> = History<KeyedCall<K, V>, RegisterResult<V>>;

/// The sequential behaviour of one key of type `K`, holding values of type `V`.
#[derive(Clone, Debug)]
pub struct Register<K, V> {
    /// Every value that some result or some expectation shows.
    observed: BTreeSet<V>,
    /// Whether some result rules out one value without telling which it was.
    vague: bool,
    key: PhantomData<fn() -> K>,
}

impl<K, V: Value> Register<K, V> {
    /// The key on which `operations` ran, and no others.
    pub fn new(operations: &[&Operation<KeyedCall<K, V>, RegisterResult<V>>]) -> Self {
        let mut register = Self { observed: BTreeSet::new(), vague: false, key: PhantomData };
        for operation in operations {
            register.note(&operation.call().call, operation.result());
        }
        register
    }

    fn note(&mut self, call: &RegisterCall<V>, result: Option<&RegisterResult<V>>) {
        use RegisterResult::{Compared, Done, Swapped, Value};
        if let RegisterCall::CompareAndSet { expected, .. } = call {
            self.observed.extend(expected.clone());
        }
        match result {
            None | Some(Done | Swapped(true)) => {}
            Some(Swapped(false)) => self.vague = true,
            Some(Value(value) | Compared { found: value, .. }) => {
                self.observed.extend(value.clone());
            }
        }
    }
}

impl<K: Eq + Hash, V: Value> Specification for Register<K, V> {
    type State = Option<V>;
    type Call = KeyedCall<K, V>;
    type Result = RegisterResult<V>;

    fn initial(&self) -> Option<V> {
        None
    }

    fn step(
        &self,
        state: &Option<V>,
        call: &KeyedCall<K, V>,
        result: Option<&RegisterResult<V>>,
    ) -> Step<Option<V>> {
        let next = effect(state, &call.call);
        let after = next.as_ref().unwrap_or(state);
        if result.is_some_and(|result| !is_right(state, &call.call, after, result)) {
            return Step::Rejected;
        }
        match next {
            Some(next) if next != *state => Step::Becomes(next),
            _ => Step::Same,
        }
    }

    fn overwrites(&self, call: &KeyedCall<K, V>) -> bool {
        matches!(call.call, RegisterCall::Write(_) | RegisterCall::Delete)
    }

    fn may_be_seen(&self, state: &Option<V>) -> bool {
        match state {
            Some(value) => self.vague || V::may_become(value, &self.observed),
            None => true,
        }
    }

    fn requires(&self, call: &KeyedCall<K, V>, result: &RegisterResult<V>) -> Option<Option<V>> {
        use RegisterResult::{Compared, Swapped, Value};
        match (&call.call, result) {
            (RegisterCall::Read, Value(found)) => Some(found.clone()),
            (RegisterCall::CompareAndSet { expected, .. }, Swapped(true)) => Some(expected.clone()),
            (RegisterCall::CompareAndSet { .. }, Compared { found, .. }) => Some(found.clone()),
            _ => None,
        }
    }

    fn leaves(
        &self,
        call: &KeyedCall<K, V>,
        result: Option<&RegisterResult<V>>,
    ) -> Leaves<Option<V>> {
        use RegisterResult::{Compared, Swapped, Value};
        match (&call.call, result) {
            (RegisterCall::Read, _) => Leaves::Nothing,
            (RegisterCall::Write(value), _) => Leaves::Exactly(Some(value.clone())),
            (RegisterCall::Delete, _) => Leaves::Exactly(None),
            (
                RegisterCall::CompareAndSet { .. },
                Some(Swapped(false) | Compared { applied: false, .. }),
            ) => Leaves::Nothing,
            (RegisterCall::CompareAndSet { new, .. }, _) => Leaves::Exactly(new.clone()),
            (RegisterCall::Append(_), Some(Value(left))) => Leaves::Exactly(left.clone()),
            (RegisterCall::Append(_), _) => Leaves::Unclear,
        }
    }

    fn may_leave(&self, call: &KeyedCall<K, V>, state: &Option<V>) -> bool {
        match (&call.call, state) {
            (RegisterCall::Append(suffix), Some(value)) => V::may_end_with(value, suffix),
            (RegisterCall::Append(_), None) => false,
            _ => true,
        }
    }
}

/// The state that `call` leaves, if it is another one.
fn effect<V: Value>(state: &Option<V>, call: &RegisterCall<V>) -> Option<Option<V>> {
    match call {
        RegisterCall::Read => None,
        RegisterCall::Write(value) => Some(Some(value.clone())),
        RegisterCall::Delete => Some(None),
        RegisterCall::CompareAndSet { expected, new } => (state == expected).then(|| new.clone()),
        RegisterCall::Append(suffix) => Some(Some(V::append(state.as_ref(), suffix))),
    }
}

/// Whether `result` is what `call` answers between `before` and `after`.
fn is_right<V: Value>(
    before: &Option<V>,
    call: &RegisterCall<V>,
    after: &Option<V>,
    result: &RegisterResult<V>,
) -> bool {
    use RegisterResult::{Compared, Done, Swapped, Value};
    match (call, result) {
        (RegisterCall::Read, Value(value)) => value == before,
        (RegisterCall::Append(_), Value(value)) => value == after,
        (RegisterCall::Write(_) | RegisterCall::Delete | RegisterCall::Append(_), Done) => true,
        (RegisterCall::CompareAndSet { expected, .. }, Swapped(applied)) => {
            *applied == (before == expected)
        }
        (RegisterCall::CompareAndSet { expected, .. }, Compared { applied, found }) => {
            *applied == (before == expected) && found == before
        }
        _ => false,
    }
}
