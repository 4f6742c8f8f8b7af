//! A table that forgets the entry used longest ago when it is full.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

pub(in crate::sip) struct Bounded<K, V> {
    entries_max: usize,
    tick: u64,
    of: HashMap<K, (u64, V)>,
    order: BTreeMap<u64, K>,
}

impl<K: Clone + Eq + Hash, V> Bounded<K, V> {
    pub fn new(entries_max: usize) -> Bounded<K, V> {
        Bounded {
            entries_max: entries_max.max(1),
            tick: 0,
            of: HashMap::new(),
            order: BTreeMap::new(),
        }
    }

    /// The entry of `key`, made by `new` when there is none; it is now the youngest.
    pub fn touch(&mut self, key: &K, new: impl FnOnce() -> V) -> &mut V {
        self.tick += 1;
        let tick = self.tick;
        match self.of.get(key) {
            Some((old, _)) => {
                self.order.remove(old);
            }
            None if self.of.len() >= self.entries_max => {
                if let Some((_, oldest)) = self.order.pop_first() {
                    self.of.remove(&oldest);
                }
            }
            None => {}
        }
        self.order.insert(tick, key.clone());
        let entry = self.of.entry(key.clone()).or_insert_with(|| (tick, new()));
        entry.0 = tick;
        &mut entry.1
    }

    pub fn peek(&self, key: &K) -> Option<&V> {
        self.of.get(key).map(|(_, value)| value)
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (tick, value) = self.of.remove(key)?;
        self.order.remove(&tick);
        Some(value)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.of.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_used_longest_ago_goes_first() {
        let mut table = Bounded::new(2);
        *table.touch(&"a", || 1) += 10;
        table.touch(&"b", || 2);
        table.touch(&"a", || 3);
        table.touch(&"c", || 4);
        assert_eq!(table.peek(&"a"), Some(&11));
        assert_eq!(table.peek(&"b"), None);
        assert_eq!(table.remove(&"c"), Some(4));
        assert_eq!(table.len(), 1);
        for n in 0..1_000 {
            table.touch(&"x", || n);
        }
        assert_eq!((table.len(), table.order.len()), (2, 2));
    }
}
