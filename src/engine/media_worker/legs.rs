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
        self.places[place] = Some(leg);
        self.rewire();
    }

    pub fn close(&mut self, id: LegId) -> Option<Box<Leg>> {
        self.early.remove(&id);
        let place = self.by_id.remove(&id)?;
        self.free.push(place);
        let leg = self.places[place].take();
        self.rewire();
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
        match self.named(id) {
            Some(leg) if leg.hears == to => {}
            Some(leg) => {
                leg.hears = to;
                leg.cursor = 0;
                leg.out.turn();
                self.rewire();
            }
            None => {
                self.early.insert(id, to);
                if self.early.len() > EARLY_MAX {
                    // Ids only grow: the smallest is of a leg that is long gone.
                    self.early.pop_first();
                }
            }
        }
    }

    /// Writes down with each leg who hears it. Nobody hears himself.
    fn rewire(&mut self) {
        let mut pairs = vec![];
        for (place, leg) in self.places.iter_mut().enumerate() {
            let Some(leg) = leg else { continue };
            leg.listeners.clear();
            if let Source::Leg(source) = leg.hears
                && let Some(&speaker) = self.by_id.get(&source)
                && speaker != place
            {
                pairs.push((speaker, place));
            }
        }
        for (speaker, listener) in pairs {
            if let Some(leg) = self.at(speaker) {
                leg.listeners.push(listener);
            }
        }
    }
}
