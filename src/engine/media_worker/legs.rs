//! The legs of a worker, in places that the reactor's keys name.

use super::command::Source;
use super::leg::Leg;
use crate::id::LegId;
use std::collections::{BTreeMap, HashMap};

#[derive(Default)]
pub struct Legs {
    places: Vec<Option<Box<Leg>>>,
    free: Vec<usize>,
    by_id: HashMap<LegId, usize>,
    /// Places that are to hear a leg which is not there.
    waiting: HashMap<LegId, Vec<usize>>,
    /// What a leg was told to hear before it was opened.
    early: BTreeMap<LegId, Source>,
}

/// Orders that came before their leg, or after its end.
const EARLY_MAX: usize = 4_096;

impl Legs {
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The place the next leg will get, for its sockets' keys.
    pub fn next_place(&self) -> usize {
        self.free.last().copied().unwrap_or(self.places.len())
    }

    /// Puts a leg at [`Self::next_place`].
    pub fn open(&mut self, mut leg: Box<Leg>) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        if let Some(source) = self.early.remove(&leg.id) {
            leg.hears = source;
        }
        self.by_id.insert(leg.id, place);
        leg.listeners = self.waiting.remove(&leg.id).unwrap_or_default();
        self.places[place] = Some(leg);
        self.wire(place);
    }

    pub fn close(&mut self, id: LegId) -> Option<Box<Leg>> {
        self.early.remove(&id);
        let place = self.by_id.get(&id).copied()?;
        self.unwire(place);
        self.by_id.remove(&id);
        self.free.push(place);
        let leg = self.places[place].take();
        match &leg {
            Some(leg) if leg.listeners.is_empty() => {}
            Some(leg) => {
                self.waiting.insert(id, leg.listeners.clone());
            }
            // It panicked while it was lent out, and what it knew is gone.
            None => self.rewire(),
        }
        leg
    }

    pub fn place_of(&self, id: LegId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    pub fn named(&mut self, id: LegId) -> Option<&mut Leg> {
        let place = self.place_of(id)?;
        self.at(place)
    }

    pub fn at(&mut self, place: usize) -> Option<&mut Leg> {
        self.places.get_mut(place)?.as_deref_mut()
    }

    /// Lends a leg out, so that it can act on the others.
    pub fn take(&mut self, place: usize) -> Option<Box<Leg>> {
        self.places.get_mut(place)?.take()
    }

    pub fn put_back(&mut self, place: usize, leg: Box<Leg>) {
        self.places[place] = Some(leg);
    }

    pub fn places(&self) -> std::ops::Range<usize> {
        0..self.places.len()
    }

    pub fn ids(&self) -> Vec<LegId> {
        self.by_id.keys().copied().collect()
    }

    pub fn listen(&mut self, id: LegId, to: Source) {
        let Some(place) = self.place_of(id) else {
            self.early.insert(id, to);
            if self.early.len() > EARLY_MAX {
                // Ids only grow: the smallest is of a leg that is long gone.
                self.early.pop_first();
            }
            return;
        };
        if self.at(place).is_none_or(|leg| leg.hears == to) {
            return;
        }
        self.unwire(place);
        if let Some(leg) = self.at(place) {
            leg.hears = to;
            leg.cursor = 0;
            leg.out.turn();
        }
        self.wire(place);
    }

    /// Who is to know that this place hears it: a leg, or the list of those who wait for one.
    /// Nobody hears himself.
    fn hearers(&mut self, place: usize) -> Option<&mut Vec<usize>> {
        let leg = self.at(place)?;
        let Source::Leg(source) = leg.hears else {
            return None;
        };
        if source == leg.id {
            return None;
        }
        match self.place_of(source) {
            Some(speaker) => self.at(speaker).map(|leg| &mut leg.listeners),
            None => Some(self.waiting.entry(source).or_default()),
        }
    }

    /// Writes down with whom a leg hears that it does.
    fn wire(&mut self, place: usize) {
        if let Some(hearers) = self.hearers(place) {
            hearers.push(place);
        }
    }

    fn unwire(&mut self, place: usize) {
        if let Some(hearers) = self.hearers(place) {
            hearers.retain(|one| *one != place);
        }
        self.forget_waiting(place);
    }

    fn forget_waiting(&mut self, place: usize) {
        let source = self.at(place).map(|leg| leg.hears);
        if let Some(Source::Leg(source)) = source
            && self.waiting.get(&source).is_some_and(Vec::is_empty)
        {
            self.waiting.remove(&source);
        }
    }

    /// All of it anew.
    fn rewire(&mut self) {
        self.waiting.clear();
        for leg in self.places.iter_mut().flatten() {
            leg.listeners.clear();
        }
        for place in self.places() {
            self.wire(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::leg::{Leg, Side};
    use super::*;
    use crate::media::bridge::{Outgoing, Voice};
    use crate::media::g711::Law;
    use std::collections::BTreeSet;

    type Pairs = BTreeSet<(u64, u64)>;

    fn leg(id: u64) -> Box<Leg> {
        let voice = Voice::new(Law::A);
        Box::new(Leg::new(
            LegId(id),
            Side::Browser,
            voice,
            Outgoing::new(1, 2, 3),
        ))
    }

    /// Who hears whom, as the legs have it and as their wishes have it.
    fn heard(legs: &mut Legs) -> (Pairs, Pairs) {
        let (mut known, mut wished) = (Pairs::new(), Pairs::new());
        for place in legs.places() {
            let Some(leg) = legs.at(place) else { continue };
            let (id, hears, listeners) = (leg.id, leg.hears, leg.listeners.clone());
            for one in &listeners {
                let listener = legs.at(*one).expect("a listener is there");
                assert!(known.insert((listener.id.0, id.0)), "told twice");
            }
            if let Source::Leg(source) = hears
                && source != id
                && legs.place_of(source).is_some()
            {
                wished.insert((id.0, source.0));
            }
        }
        (known, wished)
    }

    #[test]
    fn every_leg_knows_who_hears_it_whatever_the_order() {
        let mut legs = Legs::default();
        let mut draw = 0x2545_F491_4F6C_DD1D_u64;
        let mut next = |below: u64| {
            draw ^= draw << 13;
            draw ^= draw >> 7;
            draw ^= draw << 17;
            draw % below
        };
        for _ in 0..20_000 {
            let (id, other) = (next(8), next(8));
            match next(5) {
                0 if legs.place_of(LegId(id)).is_none() => legs.open(leg(id)),
                1 => drop(legs.close(LegId(id))),
                // A step that panics.
                2 if next(8) == 0 => {
                    if let Some(place) = legs.place_of(LegId(id)) {
                        drop(legs.take(place));
                        drop(legs.close(LegId(id)));
                    }
                }
                3 => legs.listen(LegId(id), Source::Leg(LegId(other))),
                4 => legs.listen(LegId(id), Source::Silence),
                _ => {}
            }
            let (known, wished) = heard(&mut legs);
            assert_eq!(known, wished);
            assert!(legs.waiting.values().all(|places| !places.is_empty()));
        }
    }
}
