//! Things in numbered slots.

use rand::RngExt;
use rand::rngs::SmallRng;
use rand_distr::{Distribution, Zipf};

/// Things in numbered slots. The number of a thing never changes, and a new thing takes a free
/// slot. A low number means that the thing is chosen often: choices follow Zipf's law.
#[derive(Debug)]
pub struct Slots<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
    /// The exponent of Zipf's law. 0 chooses all things equally often.
    skew: f64,
}

impl<T> Slots<T> {
    pub fn new(skew: f64) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), skew }
    }

    /// Adds a thing. Returns the number of its slot.
    pub fn insert(&mut self, thing: T) -> u32 {
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(thing);
                slot
            }
            None => {
                self.slots.push(Some(thing));
                u32::try_from(self.slots.len() - 1).expect("the options limit the city's size")
            }
        }
    }

    pub fn remove(&mut self, slot: u32) -> Option<T> {
        let removed = self.slots.get_mut(slot as usize)?.take();
        if removed.is_some() {
            self.free.push(slot);
        }
        removed
    }

    pub fn get(&self, slot: u32) -> Option<&T> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Iterates over the slots that are taken.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.slots).filter_map(|(slot, thing)| Some((slot, thing.as_ref()?)))
    }

    /// Chooses a thing that is wanted, by Zipf's law. Returns `None` if there is none.
    pub fn choose(&self, random: &mut SmallRng, is_wanted: impl Fn(&T) -> bool) -> Option<u32> {
        let count = self.slots.len();
        if count == 0 {
            return None;
        }
        let is_wanted = |slot: usize| self.slots[slot].as_ref().is_some_and(&is_wanted);
        let zipf = Zipf::new(count as f64, self.skew).ok()?;
        let mut last = 0;
        for _ in 0..DRAWS {
            last = (zipf.sample(random) as usize - 1).min(count - 1);
            if is_wanted(last) {
                return u32::try_from(last).ok();
            }
        }
        // Few are wanted. Their neighbors are about as popular.
        let found = (last..count).chain(0..last).find(|slot| is_wanted(*slot))?;
        u32::try_from(found).ok()
    }

    /// Chooses any thing that is wanted, all equally often.
    pub fn choose_any(&self, random: &mut SmallRng, is_wanted: impl Fn(&T) -> bool) -> Option<u32> {
        let count = self.slots.len();
        if count == 0 {
            return None;
        }
        let is_wanted = |slot: usize| self.slots[slot].as_ref().is_some_and(&is_wanted);
        let first = random.random_range(0..count);
        let found = (first..count).chain(0..first).find(|slot| is_wanted(*slot))?;
        u32::try_from(found).ok()
    }
}

/// The draws before the slots are searched one by one.
const DRAWS: u32 = 24;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn low_numbers_are_chosen_more_often() {
        let (mut slots, mut random) = (Slots::new(0.8), SmallRng::seed_from_u64(1));
        (0..1_000).for_each(|number| {
            slots.insert(number);
        });

        let chosen: Vec<_> =
            (0..10_000).map(|_| slots.choose(&mut random, |_| true).unwrap()).collect();

        let of =
            |range: std::ops::Range<u32>| chosen.iter().filter(|slot| range.contains(slot)).count();
        assert!(of(0..100) > 4_000 && of(0..100) > 5 * of(900..1_000), "{}", of(0..100));
    }

    #[test]
    fn the_only_wanted_thing_is_found() {
        let (mut slots, mut random) = (Slots::new(0.8), SmallRng::seed_from_u64(1));
        (0..1_000).for_each(|number| {
            slots.insert(number);
        });

        assert_eq!(slots.choose(&mut random, |thing| *thing == 999), Some(999));
        assert_eq!(slots.choose_any(&mut random, |thing| *thing == 3), Some(3));
        assert_eq!(slots.choose(&mut random, |_| false), None);
        assert_eq!(Slots::<u32>::new(0.8).choose(&mut random, |_| true), None);
    }

    #[test]
    fn a_new_thing_takes_a_free_slot() {
        let mut slots = Slots::new(0.5);
        let (first, second) = (slots.insert("a"), slots.insert("b"));

        assert_eq!(slots.remove(first), Some("a"));
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.insert("c"), first);

        assert_eq!((slots.get(first), slots.get(second)), (Some(&"c"), Some(&"b")));
        assert_eq!(slots.len(), 2);
    }
}
