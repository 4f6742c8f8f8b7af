//! The moment something is handled: a monotonic instant for timers and UTC for people.
//!
//! Machines are given a [`Now`]; only the middle floor reads a clock.

use std::time::{Duration, Instant};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UtcMs(pub i64);

/// One reading of both clocks, taken once per wake-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub instant: Instant,
    pub utc: UtcMs,
}

impl Now {
    /// The same reading `by` later, on both clocks.
    #[must_use]
    pub fn plus(self, by: Duration) -> Now {
        Now {
            instant: self.instant + by,
            utc: self.utc.plus(by),
        }
    }
}

impl UtcMs {
    #[must_use]
    pub fn plus(self, by: Duration) -> UtcMs {
        UtcMs(
            self.0
                .saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// Whole milliseconds from `earlier` to `self`, never negative.
    #[must_use]
    pub fn ms_since(self, earlier: UtcMs) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}
