//! Token buckets: how often somebody may try, and how fast a socket may speak.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Keys remembered at once. Beyond, the fullest buckets are forgotten: they would allow anyway.
const KEYS_MAX: usize = 10_000;

/// `burst` at once, then one every `every`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    tokens: f64,
    burst: f64,
    every: Duration,
    filled: Instant,
}

impl Bucket {
    pub(super) fn new(burst: f64, every: Duration, now: Instant) -> Bucket {
        Bucket {
            tokens: burst,
            burst,
            every,
            filled: now,
        }
    }

    /// Takes one, or says how long until there is one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let gained =
            now.saturating_duration_since(self.filled).as_secs_f64() / self.every.as_secs_f64();
        self.tokens = (self.tokens + gained).min(self.burst);
        self.filled = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(self.every.mul_f64(1.0 - self.tokens))
    }
}

/// A bucket a key.
pub(super) struct Rates {
    burst: f64,
    every: Duration,
    buckets: Mutex<HashMap<String, Bucket>>,
}

impl Rates {
    pub(super) fn new(burst: f64, every: Duration) -> Rates {
        Rates {
            burst,
            every,
            buckets: Mutex::default(),
        }
    }

    pub(super) fn take(&self, key: &str, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= KEYS_MAX && !buckets.contains_key(key) {
            make_room(&mut buckets, self.every.mul_f64(self.burst), now);
        }
        buckets
            .entry(key.to_owned())
            .or_insert_with(|| Bucket::new(self.burst, self.every, now))
            .take(now)
    }
}

/// Forgets what has had time to fill up; if nothing has, the longest untouched.
fn make_room<K: Clone + Eq + Hash>(
    buckets: &mut HashMap<K, Bucket>,
    full_after: Duration,
    now: Instant,
) {
    buckets.retain(|_, bucket| now.saturating_duration_since(bucket.filled) < full_after);
    if buckets.len() >= KEYS_MAX {
        let stalest = buckets
            .iter()
            .min_by_key(|(_, bucket)| bucket.filled)
            .map(|(key, _)| key.clone());
        stalest.map(|key| buckets.remove(&key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_one_at_a_time() {
        let start = Instant::now();
        let rates = Rates::new(3.0, Duration::from_secs(10));
        for _ in 0..3 {
            assert_eq!(rates.take("ana", start), Ok(()));
        }
        let wait = rates.take("ana", start).unwrap_err();
        assert!((9.9..=10.0).contains(&wait.as_secs_f64()), "{wait:?}");
        assert_eq!(
            rates.take("bob", start),
            Ok(()),
            "another key has its own bucket"
        );
        assert_eq!(
            rates.take("ana", start + Duration::from_millis(10_001)),
            Ok(())
        );
        assert!(
            rates
                .take("ana", start + Duration::from_millis(10_002))
                .is_err()
        );
    }

    #[test]
    fn a_flood_of_keys_is_bounded() {
        let start = Instant::now();
        let rates = Rates::new(2.0, Duration::from_secs(10));
        for key in 0..KEYS_MAX + 50 {
            rates.take(&key.to_string(), start).unwrap();
        }
        assert_eq!(rates.buckets.lock().unwrap().len(), KEYS_MAX);
    }
}
