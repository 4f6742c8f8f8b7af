//! Even UDP ports for RTP (RFC 3550 section 11: RTP even, RTCP on the next). Pure: the caller
//! binds; a port that turns out to be taken is given back with [`PortPool::release`].
//!
//! A released port rests for `quarantine` before it is handed out again, so that late packets of
//! the call before do not reach the call after.

use std::collections::{HashSet, VecDeque};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// How long a port rests after a call.
pub const QUARANTINE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct PortPool {
    /// Ready to be handed out, longest rested first.
    free: VecDeque<u16>,
    in_use: HashSet<u16>,
    /// Resting, with the moment each becomes free; ordered, since the rest is always the same.
    resting: VecDeque<(Instant, u16)>,
    quarantine: Duration,
}

/// How many ports (pairs) stand where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortCounts {
    pub free: usize,
    pub in_use: usize,
    pub resting: usize,
}

impl PortPool {
    /// All even ports of `ports` whose odd neighbour is in the range as well.
    #[must_use]
    pub fn new(ports: RangeInclusive<u16>, quarantine: Duration) -> PortPool {
        let free = even_ports(ports).collect();
        PortPool {
            free,
            in_use: HashSet::new(),
            resting: VecDeque::new(),
            quarantine,
        }
    }

    /// A port nobody has, or `None` when all are in use or resting.
    pub fn allocate(&mut self, now: Instant) -> Option<u16> {
        self.wake(now);
        let port = self.free.pop_front()?;
        self.in_use.insert(port);
        Some(port)
    }

    /// Gives `port` back. False when it was not in use: the pool then stays as it is.
    pub fn release(&mut self, port: u16, now: Instant) -> bool {
        if !self.in_use.remove(&port) {
            return false;
        }
        self.resting.push_back((now + self.quarantine, port));
        true
    }

    #[must_use]
    pub fn counts(&self) -> PortCounts {
        PortCounts {
            free: self.free.len(),
            in_use: self.in_use.len(),
            resting: self.resting.len(),
        }
    }

    fn wake(&mut self, now: Instant) {
        while let Some(&(until, port)) = self.resting.front() {
            if until > now {
                return;
            }
            self.resting.pop_front();
            self.free.push_back(port);
        }
    }
}

/// The even ports of a range that have their RTCP neighbour in it.
pub fn even_ports(ports: RangeInclusive<u16>) -> impl Iterator<Item = u16> {
    let last = *ports.end();
    ports.filter(move |port| port % 2 == 0 && *port < last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_even_ports_with_their_neighbour_are_handed_out() {
        assert_eq!(
            even_ports(10_001..=10_006).collect::<Vec<_>>(),
            [10_002, 10_004]
        );
        assert_eq!(even_ports(65_534..=65_535).collect::<Vec<_>>(), [65_534]);
        assert_eq!(even_ports(10_000..=10_000).count(), 0);
    }

    #[test]
    fn a_released_port_rests_before_it_is_used_again() {
        let start = Instant::now();
        let mut pool = PortPool::new(20_000..=20_001, Duration::from_secs(5));
        let port = pool.allocate(start).unwrap();
        assert_eq!(pool.allocate(start), None);
        assert!(pool.release(port, start));
        assert!(!pool.release(port, start), "released twice");
        assert_eq!(pool.allocate(start + Duration::from_millis(4_999)), None);
        assert_eq!(pool.allocate(start + Duration::from_secs(5)), Some(port));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Allocate,
        Release(usize),
        ReleaseStranger(u16),
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => Just(Step::Allocate),
            3 => any::<usize>().prop_map(Step::Release),
            1 => any::<u16>().prop_map(Step::ReleaseStranger),
            2 => (0u64..4_000).prop_map(Step::Wait),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn no_port_is_ever_held_twice_lost_or_handed_out_too_early(steps in steps()) {
            let quarantine = Duration::from_secs(3);
            let mut now = Instant::now();
            let mut pool = PortPool::new(30_000..=30_015, quarantine);
            let mut held: Vec<u16> = Vec::new();
            let mut released_at = std::collections::HashMap::new();
            for step in steps {
                match step {
                    Step::Allocate => if let Some(port) = pool.allocate(now) {
                        prop_assert!(port % 2 == 0 && (30_000..=30_014).contains(&port));
                        prop_assert!(!held.contains(&port));
                        if let Some(at) = released_at.get(&port) {
                            prop_assert!(now.duration_since(*at) >= quarantine);
                        }
                        held.push(port);
                    },
                    Step::Release(which) => if !held.is_empty() {
                        let port = held.swap_remove(which % held.len());
                        prop_assert!(pool.release(port, now));
                        released_at.insert(port, now);
                    },
                    Step::ReleaseStranger(port) => if !held.contains(&port) {
                        prop_assert!(!pool.release(port, now));
                    },
                    Step::Wait(ms) => now += Duration::from_millis(ms),
                }
                let counts = pool.counts();
                prop_assert_eq!(counts.free + counts.in_use + counts.resting, 8);
                prop_assert_eq!(counts.in_use, held.len());
            }
        }
    }
}
