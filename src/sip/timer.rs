//! The timers of RFC 3261 table 4 with RFC 6026, and a queue of deadlines.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// A deadline and the name of what it is for.
pub type Deadline = (Instant, &'static str);

/// T1, T2, T4 and what follows from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Round-trip estimate.
    pub t1: Duration,
    /// Longest pause between retransmissions.
    pub t2: Duration,
    /// Longest time a message stays in the network.
    pub t4: Duration,
    /// Timer B: how long an INVITE waits for its first answer. 64·T1 unless a trunk wants less.
    pub invite_timeout: Duration,
    /// How long an INVITE may stay provisional before it is given up.
    pub ring_limit: Duration,
}

impl Default for Timers {
    fn default() -> Timers {
        let t1 = Duration::from_millis(500);
        Timers {
            t1,
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            invite_timeout: t1 * 64,
            ring_limit: Duration::from_secs(600),
        }
    }
}

impl Timers {
    /// 64·T1: timers F, H, J, L and M.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.t1 * 64
    }

    /// Timer D, at least 32 s over an unreliable transport.
    #[must_use]
    pub fn d(&self) -> Duration {
        self.patience().max(Duration::from_secs(32))
    }

    /// The next pause of a ladder that doubles up to T2.
    #[must_use]
    pub fn doubled(&self, interval: Duration) -> Duration {
        (interval * 2).min(self.t2)
    }
}

/// The earlier of two deadlines; of two at once the second.
pub(super) fn earlier(a: Option<Deadline>, b: Option<Deadline>) -> Option<Deadline> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.0 <= a.0 { b } else { a }),
        (one, None) | (None, one) => one,
    }
}

/// One deadline a key, soonest first.
#[derive(Debug)]
pub(super) struct Deadlines<K> {
    order: BTreeSet<(Instant, K)>,
    of: HashMap<K, Deadline>,
}

impl<K: Ord + Hash + Copy> Deadlines<K> {
    pub fn new() -> Deadlines<K> {
        Deadlines {
            order: BTreeSet::new(),
            of: HashMap::new(),
        }
    }

    pub fn set(&mut self, key: K, deadline: Option<Deadline>) {
        if deadline.is_some() && self.of.get(&key) == deadline.as_ref() {
            return;
        }
        if let Some((at, _)) = self.of.remove(&key) {
            self.order.remove(&(at, key));
        }
        if let Some(deadline) = deadline {
            self.order.insert((deadline.0, key));
            self.of.insert(key, deadline);
        }
    }

    pub fn first(&self) -> Option<Deadline> {
        let (_, key) = self.order.first()?;
        self.of.get(key).copied()
    }

    /// A key whose deadline has come.
    pub fn due(&self, now: Instant) -> Option<K> {
        self.order
            .first()
            .filter(|(at, _)| *at <= now)
            .map(|(_, key)| *key)
    }
}
