//! Nonces nobody has to remember (RFC 7616 §5.4): time, salt and an HMAC over both, the realm and
//! the address they were given to. Only those that were answered rightly leave a trace: how far
//! their count has gone (§3.4.5).

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::auth::{mac, same};
use crate::now::UtcMs;

/// How long a nonce may be answered; after that the answer is `stale`.
pub(super) const NONCE_LIFE: Duration = Duration::from_secs(300);
/// Nonces whose counts are remembered at once, some 100 bytes each.
const REMEMBERED_MAX: usize = 32_768;
/// Hexadecimal digits of the seal: 128 bits.
const SEAL_DIGITS: usize = 32;

pub(super) struct Nonces {
    realm: String,
    key: [u8; 32],
    /// By seal: when it was made and the highest count seen.
    spent: HashMap<u128, (UtcMs, u32)>,
    oldest: BTreeSet<(UtcMs, u128)>,
    /// Nonces made before this are stale unless remembered: their counts have been forgotten.
    floor: UtcMs,
    remembered_max: usize,
}

impl Nonces {
    pub fn new(realm: &str, key: [u8; 32]) -> Nonces {
        Nonces {
            realm: realm.to_owned(),
            key,
            spent: HashMap::new(),
            oldest: BTreeSet::new(),
            floor: UtcMs(i64::MIN),
            remembered_max: REMEMBERED_MAX,
        }
    }

    pub fn make(&self, now: UtcMs, source: &str, salt: &str) -> String {
        let stamp = format!("{:x}.{salt}", now.0);
        format!("{stamp}.{}", self.seal(&stamp, source))
    }

    fn seal(&self, stamp: &str, source: &str) -> String {
        mac(&self.key, &["nonce", stamp, &self.realm, source])[..SEAL_DIGITS].to_owned()
    }

    /// When this nonce was made, and its seal, if it is ours and was given to `source`.
    fn made(&self, source: &str, nonce: &str) -> Option<(UtcMs, u128)> {
        let (stamp, seal) = nonce.rsplit_once('.')?;
        if !same(seal, &self.seal(stamp, source)) {
            return None;
        }
        let (time, _) = stamp.split_once('.')?;
        let made = UtcMs(i64::from_str_radix(time, 16).ok()?);
        Some((made, u128::from_str_radix(seal, 16).ok()?))
    }

    /// Uses a nonce with this count. False when it is not ours, too old, or the count was there
    /// before.
    pub fn spend(&mut self, now: UtcMs, source: &str, nonce: &str, count: u32) -> bool {
        let life_ms = NONCE_LIFE.as_millis() as u64;
        let Some((made, seal)) = self.made(source, nonce) else {
            return false;
        };
        if now.ms_since(made) > life_ms {
            return false;
        }
        if let Some((_, last)) = self.spent.get_mut(&seal) {
            let newer = count > *last;
            *last = count.max(*last);
            return newer;
        }
        if made <= self.floor || count == 0 {
            return false;
        }
        self.forget(now);
        self.spent.insert(seal, (made, count));
        self.oldest.insert((made, seal));
        true
    }

    /// What is too old to be answered needs no count; under pressure the oldest go early.
    fn forget(&mut self, now: UtcMs) {
        let life_ms = NONCE_LIFE.as_millis() as u64;
        while let Some(&(made, seal)) = self.oldest.first() {
            let full = self.spent.len() >= self.remembered_max;
            if !full && now.ms_since(made) <= life_ms {
                break;
            }
            self.oldest.remove(&(made, seal));
            self.spent.remove(&seal);
            self.floor = self.floor.max(made);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UtcMs = UtcMs(1_700_000_000_000);
    const HERE: &str = "192.0.2.7";

    #[test]
    fn a_count_is_good_once_and_only_upwards() {
        let mut nonces = Nonces::new("house", [7; 32]);
        let nonce = nonces.make(NOW, HERE, "salt");
        let mut spend = |count| nonces.spend(NOW, HERE, &nonce, count);
        assert_eq!(
            [1, 1, 3, 2, 3, 4].map(&mut spend),
            [true, false, true, false, false, true]
        );
    }

    #[test]
    fn a_nonce_is_worthless_elsewhere_later_and_when_changed() {
        let mut nonces = Nonces::new("house", [7; 32]);
        let nonce = nonces.make(NOW, HERE, "salt");
        assert!(!nonces.spend(NOW, "192.0.2.8", &nonce, 1));
        let later = NOW.plus(NONCE_LIFE + Duration::from_millis(1));
        assert!(!nonces.spend(later, HERE, &nonce, 1));
        let mut other = Nonces::new("house", [8; 32]);
        assert!(!other.spend(NOW, HERE, &nonce, 1), "another key");
        assert!(!nonces.spend(NOW, HERE, &nonce.replace("salt", "tlas"), 1));
        assert!(!nonces.spend(NOW, HERE, "", 1) && !nonces.spend(NOW, HERE, "..", 1));
        assert!(nonces.spend(NOW, HERE, &nonce, 1));
    }

    #[test]
    fn a_full_memory_never_lets_a_replay_pass_and_never_locks_out_the_new() {
        let mut nonces = Nonces::new("house", [7; 32]);
        nonces.remembered_max = 10;
        let made: Vec<String> = (0..100)
            .map(|n| {
                nonces.make(
                    NOW.plus(Duration::from_millis(n)),
                    HERE,
                    &format!("salt{n}"),
                )
            })
            .collect();
        let now = NOW.plus(Duration::from_millis(100));
        for nonce in &made {
            assert!(nonces.spend(now, HERE, nonce, 1));
        }
        for nonce in &made {
            assert!(!nonces.spend(now, HERE, nonce, 1), "a replay");
        }
        assert!(nonces.spent.len() <= 10 && nonces.oldest.len() <= 10);
    }
}
