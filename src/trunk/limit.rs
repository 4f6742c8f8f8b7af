//! Calls per second: a token bucket that holds one second's worth.

use std::time::Instant;

/// Tokens in millionths, so that nothing is lost to rounding.
const TOKEN: u64 = 1_000_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Per second; `None` is no limit.
    rate: Option<u32>,
    tokens_u: u64,
    at: Instant,
}

impl Bucket {
    /// Full at first.
    #[must_use]
    pub fn new(now: Instant, rate: Option<u32>) -> Bucket {
        Bucket {
            rate,
            tokens_u: u64::from(rate.unwrap_or(0)) * TOKEN,
            at: now,
        }
    }

    /// Takes one token if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let Some(rate) = self.rate else { return true };
        let full = u64::from(rate) * TOKEN;
        let span = now.saturating_duration_since(self.at);
        let span_us = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        self.tokens_u = full.min(
            self.tokens_u
                .saturating_add(span_us.saturating_mul(rate.into())),
        );
        self.at = now;
        if self.tokens_u < TOKEN {
            return false;
        }
        self.tokens_u -= TOKEN;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn in_any_ten_seconds_no_more_pass_than_the_rate_and_one_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start, Some(5));
        let passed = (0..10_000)
            .filter(|ms| bucket.take(start + Duration::from_millis(*ms)))
            .count();
        assert!((54..=55).contains(&passed), "{passed}");
    }

    #[test]
    fn a_long_quiet_spell_saves_up_one_second_only() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start, Some(3));
        let later = start + Duration::from_secs(3_600);
        assert_eq!((0..10).filter(|_| bucket.take(later)).count(), 3);
    }

    #[test]
    fn no_rate_is_no_limit() {
        let mut bucket = Bucket::new(Instant::now(), None);
        let now = Instant::now();
        assert!((0..10_000).all(|_| bucket.take(now)));
    }
}
