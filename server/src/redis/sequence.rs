//! A sequence that is cheap at both ends and passable in the middle, and cloned for nothing.
//!
//! Items lie in chunks; the chunks are shared with clones until they change. An index is found by
//! counting chunks from the nearer end: a million items are eight thousand small numbers.

use std::collections::VecDeque;
use std::sync::Arc;

/// Most items of a chunk.
const CHUNK_MAX: usize = 128;
/// A chunk that has become as small as this joins its neighbour if there is room.
const CHUNK_SMALL: usize = CHUNK_MAX / 4;

/// Items in order.
#[derive(Clone, Debug)]
pub(super) struct Sequence<T> {
    chunks: Arc<VecDeque<Chunk<T>>>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Chunk<T> {
    /// Beside the pointer, so that counting touches no items.
    len: usize,
    items: Arc<VecDeque<T>>,
}

impl<T: Clone> Chunk<T> {
    fn new(items: VecDeque<T>) -> Self {
        Self { len: items.len(), items: Arc::new(items) }
    }

    fn edit<R>(&mut self, change: impl FnOnce(&mut VecDeque<T>) -> R) -> R {
        let items = Arc::make_mut(&mut self.items);
        let result = change(items);
        self.len = items.len();
        result
    }
}

impl<T: Clone> Sequence<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn push_back(&mut self, item: T) {
        let chunks = Arc::make_mut(&mut self.chunks);
        match chunks.back_mut().filter(|chunk| chunk.len < CHUNK_MAX) {
            Some(chunk) => chunk.edit(|items| items.push_back(item)),
            None => chunks.push_back(Chunk::new(VecDeque::from([item]))),
        }
        self.len += 1;
    }

    pub(super) fn push_front(&mut self, item: T) {
        let chunks = Arc::make_mut(&mut self.chunks);
        match chunks.front_mut().filter(|chunk| chunk.len < CHUNK_MAX) {
            Some(chunk) => chunk.edit(|items| items.push_front(item)),
            None => chunks.push_front(Chunk::new(VecDeque::from([item]))),
        }
        self.len += 1;
    }

    pub(super) fn get(&self, index: usize) -> Option<&T> {
        let (chunk, within) = self.locate(index)?;
        self.chunks[chunk].items.get(within)
    }

    /// Puts `item` in the place of another, which is given back.
    pub(super) fn set(&mut self, index: usize, item: T) -> Option<T> {
        let (chunk, within) = self.locate(index)?;
        let chunk = &mut Arc::make_mut(&mut self.chunks)[chunk];
        Some(chunk.edit(|items| std::mem::replace(&mut items[within], item)))
    }

    /// Puts `item` before the one at `index`, or at the end.
    pub(super) fn insert(&mut self, index: usize, item: T) {
        let Some((at, within)) = self.locate(index) else { return self.push_back(item) };
        let chunks = Arc::make_mut(&mut self.chunks);
        chunks[at].edit(|items| items.insert(within, item));
        if chunks[at].len > CHUNK_MAX {
            let upper = chunks[at].edit(|items| items.split_off(CHUNK_MAX / 2));
            chunks.insert(at + 1, Chunk::new(upper));
        }
        self.len += 1;
    }

    /// Takes the item at `index` out.
    pub(super) fn remove(&mut self, index: usize) -> Option<T> {
        let (at, within) = self.locate(index)?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let item = chunks[at].edit(|items| items.remove(within))?;
        self.len -= 1;
        if chunks[at].len == 0 {
            chunks.remove(at);
        } else if chunks[at].len <= CHUNK_SMALL {
            let right = if at + 1 < chunks.len() { at + 1 } else { at };
            if right > 0 && chunks[right - 1].len + chunks[right].len <= CHUNK_MAX / 2 {
                let moved = chunks.remove(right)?;
                chunks[right - 1].edit(|items| items.extend(moved.items.iter().cloned()));
            }
        }
        Some(item)
    }

    pub(super) fn pop_front(&mut self) -> Option<T> {
        self.remove(0)
    }

    pub(super) fn pop_back(&mut self) -> Option<T> {
        self.remove(self.len.checked_sub(1)?)
    }

    /// From the item at `index` on.
    pub(super) fn iter_from(&self, index: usize) -> impl Iterator<Item = &T> {
        let (chunk, within) = self.locate(index).unwrap_or((self.chunks.len(), 0));
        self.chunks.range(chunk..).flat_map(|chunk| chunk.items.iter()).skip(within)
    }

    /// From the item at `index` down to the first.
    pub(super) fn iter_back_from(&self, index: usize) -> impl Iterator<Item = &T> {
        let (chunks, items) = match self.locate(index) {
            Some((chunk, within)) => (chunk + 1, self.chunks[chunk].len - within - 1),
            None => (0, 0),
        };
        self.chunks.range(..chunks).rev().flat_map(|chunk| chunk.items.iter().rev()).skip(items)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.iter_from(0)
    }

    /// How many items from the front on `holds` is true for, if it is false for all the others.
    pub(super) fn partition_point(&self, holds: impl Fn(&T) -> bool) -> usize {
        let chunk = self.chunks.partition_point(|chunk| chunk.items.back().is_some_and(&holds));
        let before: usize = self.chunks.range(..chunk).map(|chunk| chunk.len).sum();
        before + self.chunks.get(chunk).map_or(0, |chunk| chunk.items.partition_point(&holds))
    }

    /// Which chunk an index is in, and where within.
    fn locate(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        if index <= self.len / 2 {
            let mut left = index;
            for (at, chunk) in self.chunks.iter().enumerate() {
                if left < chunk.len {
                    return Some((at, left));
                }
                left -= chunk.len;
            }
            return None;
        }
        let mut left = self.len - index;
        for (at, chunk) in self.chunks.iter().enumerate().rev() {
            if left <= chunk.len {
                return Some((at, chunk.len - left));
            }
            left -= chunk.len;
        }
        None
    }
}

impl<T> Default for Sequence<T> {
    fn default() -> Self {
        Self { chunks: Arc::default(), len: 0 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn it_is_a_sequence_and_its_clones_stay_what_they_were(
            changes in prop::collection::vec((0u8..7, any::<u16>(), any::<u32>()), 0..2500),
            freeze_at in 0usize..2500,
        ) {
            let (mut sequence, mut model) = (Sequence::default(), VecDeque::new());
            let mut frozen = None;
            for (at, (change, place, item)) in changes.into_iter().enumerate() {
                if at == freeze_at {
                    frozen = Some((sequence.clone(), model.clone()));
                }
                let index = usize::from(place) % (model.len() + 1);
                match change {
                    0 => { sequence.push_back(item); model.push_back(item); }
                    1 => { sequence.push_front(item); model.push_front(item); }
                    2 | 3 => { sequence.insert(index, item); model.insert(index, item); }
                    4 => prop_assert_eq!(sequence.remove(index), model.remove(index)),
                    5 => prop_assert_eq!(sequence.pop_back(), model.pop_back()),
                    _ => {
                        let old = model.get_mut(index).map(|old| std::mem::replace(old, item));
                        prop_assert_eq!(sequence.set(index, item), old);
                    }
                }
                prop_assert_eq!(sequence.len(), model.len());
                prop_assert_eq!(sequence.get(index), model.get(index));
            }
            prop_assert!(sequence.iter().eq(model.iter()));
            for index in (0..=model.len()).step_by(37) {
                prop_assert!(sequence.iter_from(index).eq(model.range(index..)));
                if index < model.len() {
                    prop_assert!(sequence.iter_back_from(index).eq(model.range(..=index).rev()));
                }
            }
            if let Some((sequence, model)) = frozen {
                prop_assert!(sequence.iter().eq(model.iter()));
            }
        }
    }

    #[test]
    fn places_are_found_in_what_is_sorted() {
        let mut sequence = Sequence::default();
        for item in 0..1_000u32 {
            let at = sequence.partition_point(|other| *other < item * 7 % 1_000);
            sequence.insert(at, item * 7 % 1_000);
        }
        assert!(sequence.iter().is_sorted());
        for item in 0..1_001 {
            assert_eq!(sequence.partition_point(|other| *other < item), item as usize);
        }
    }
}
