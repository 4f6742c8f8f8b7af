//! The gate in front of the parser: an access list, and a bucket of tokens for each source. One
//! message costs one token. Trusted peers (trunks) have larger buckets of their own, and a share
//! of the queue that nobody else may fill.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::access::{AccessList, AddressBlock};
use super::bounded::Bounded;
use super::source::Source;

/// Sources whose buckets are remembered at once, some 150 bytes each.
const SOURCES_MAX: usize = 65_536;
/// A source that goes on flooding is told of once in this time.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How much of the queue stays free for those who are before: in eighths.
const KEPT_FOR_ONGOING: usize = 2;
const KEPT_FOR_TRUSTED: usize = 1;

/// Messages a second, and how many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// 0: without limit.
    pub messages_per_s: u32,
    pub burst: u32,
}

impl Rate {
    pub const UNLIMITED: Rate = Rate {
        messages_per_s: 0,
        burst: 0,
    };

    /// Two seconds' worth at once.
    #[must_use]
    pub fn per_s(messages_per_s: u32) -> Rate {
        Rate {
            messages_per_s,
            burst: messages_per_s.saturating_mul(2),
        }
    }
}

/// Whose turn it is when the queue runs full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// A trunk.
    Trusted,
    /// Responses and what belongs to calls that are up.
    Ongoing,
    /// What asks for something new.
    New,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Pass(Lane),
    /// Its address is not allowed.
    Denied,
    /// `tell`: it is time to say so in the security log.
    Flooding {
        tell: bool,
    },
}

impl Lane {
    /// Whether a message may enter a queue that has `free` of `depth` places.
    #[must_use]
    pub fn has_room(self, free: usize, depth: usize) -> bool {
        let kept = match self {
            Lane::Trusted => 0,
            Lane::Ongoing => depth * KEPT_FOR_TRUSTED / 8,
            Lane::New => depth * KEPT_FOR_ONGOING / 8,
        };
        free > kept
    }
}

struct Bucket {
    tokens: f64,
    at: Instant,
    told: Option<Instant>,
}

pub struct Gate {
    access: AccessList,
    trusted: Vec<AddressBlock>,
    strangers_rate: Rate,
    trusted_rate: Rate,
    buckets: Bounded<Source, Bucket>,
}

impl Gate {
    /// `trusted` are admitted unless `access` denies them by name.
    #[must_use]
    pub fn new(
        access: AccessList,
        trusted: Vec<AddressBlock>,
        strangers_rate: Rate,
        trusted_rate: Rate,
    ) -> Gate {
        Gate {
            access,
            trusted,
            strangers_rate,
            trusted_rate,
            buckets: Bounded::new(SOURCES_MAX),
        }
    }

    /// Other rules from now on; buckets stay as full as they are.
    pub fn set_rules(&mut self, access: AccessList, strangers_rate: Rate, trusted_rate: Rate) {
        self.access = access;
        self.strangers_rate = strangers_rate;
        self.trusted_rate = trusted_rate;
    }

    /// Whom a trunk's name stands for may change at any time.
    pub fn set_trusted(&mut self, trusted: Vec<AddressBlock>) {
        self.trusted = trusted;
    }

    /// Decides on one message by where it came from and its first line.
    pub fn admit(&mut self, now: Instant, ip: IpAddr, message: &[u8]) -> Admission {
        let ip = ip.to_canonical();
        let trusted = self.trusted.iter().any(|block| block.contains(ip));
        let denied = self.access.deny.iter().any(|block| block.contains(ip));
        if denied || (!trusted && !self.access.admits(ip)) {
            return Admission::Denied;
        }
        let rate = if trusted {
            self.trusted_rate
        } else {
            self.strangers_rate
        };
        if rate.messages_per_s > 0
            && let Some(tell) = self.spend(now, ip, rate)
        {
            return Admission::Flooding { tell };
        }
        Admission::Pass(match trusted {
            true => Lane::Trusted,
            false if asks_for_new(message) => Lane::New,
            false => Lane::Ongoing,
        })
    }

    /// Takes a token. `Some` when there is none: whether to tell.
    fn spend(&mut self, now: Instant, ip: IpAddr, rate: Rate) -> Option<bool> {
        let full = f64::from(rate.burst.max(1));
        let bucket = self.buckets.touch(&Source::of(ip), || Bucket {
            tokens: full,
            at: now,
            told: None,
        });
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * f64::from(rate.messages_per_s)).min(full);
        bucket.at = bucket.at.max(now);
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return None;
        }
        let tell = bucket
            .told
            .is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY);
        if tell {
            bucket.told = Some(now);
        }
        Some(tell)
    }
}

/// A request that starts something. A look at the first bytes; the parser judges later, so a liar
/// only chooses how soon he is dropped.
fn asks_for_new(message: &[u8]) -> bool {
    [
        &b"INVITE "[..],
        b"REGISTER ",
        b"OPTIONS ",
        b"SUBSCRIBE ",
        b"MESSAGE ",
        b"PUBLISH ",
    ]
    .iter()
    .any(|start| message.starts_with(start))
        && !has_to_tag(message)
}

/// Whether a `To` header with a tag stands in the message.
fn has_to_tag(message: &[u8]) -> bool {
    let mut lines = message.split(|byte| *byte == b'\n');
    let to = lines.find(|line| {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        let name = name.trim_ascii();
        name.eq_ignore_ascii_case(b"to") || name.eq_ignore_ascii_case(b"t")
    });
    to.is_some_and(|line| {
        line.windows(5)
            .any(|part| part.eq_ignore_ascii_case(b";tag="))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &[u8] = b"INVITE sip:a@b SIP/2.0\r\nTo: <sip:a@b>\r\n\r\n";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn gate() -> Gate {
        let trusted = vec!["192.0.2.0/28".parse().unwrap()];
        let deny = vec!["198.51.100.0/24".parse().unwrap()];
        let access = AccessList {
            allow: Vec::new(),
            deny,
        };
        Gate::new(access, trusted, Rate::per_s(10), Rate::per_s(1_000))
    }

    fn passed(gate: &mut Gate, now: Instant, from: &str, count: usize) -> usize {
        let admitted = (0..count).filter(|_| {
            let admission = gate.admit(now, ip(from), INVITE);
            matches!(admission, Admission::Pass(_))
        });
        admitted.count()
    }

    #[test]
    fn a_flood_from_one_source_costs_another_nothing() {
        let (mut gate, start) = (gate(), Instant::now());
        let mut good = 0;
        for ms in 0..5_000 {
            let now = start + Duration::from_millis(ms);
            passed(&mut gate, now, "203.0.113.66", 20);
            if ms % 200 == 0 {
                good += passed(&mut gate, now, "203.0.113.7", 1);
            }
        }
        assert_eq!(good, 25);
        let now = start + Duration::from_secs(5);
        let drained = passed(&mut gate, now, "203.0.113.66", 100);
        assert!(drained <= 1, "{drained}");
        assert_eq!(passed(&mut gate, now, "192.0.2.1", 100), 100, "a trunk");
    }

    #[test]
    fn a_bucket_fills_again_up_to_its_burst() {
        let (mut gate, start) = (gate(), Instant::now());
        assert_eq!(passed(&mut gate, start, "203.0.113.7", 50), 20);
        let now = start + Duration::from_secs(1);
        assert_eq!(passed(&mut gate, now, "203.0.113.7", 50), 10);
        let now = start + Duration::from_secs(3_600);
        assert_eq!(passed(&mut gate, now, "203.0.113.7", 50), 20);
    }

    #[test]
    fn a_flooding_source_is_told_of_once_a_minute() {
        let (mut gate, start) = (gate(), Instant::now());
        let mut told = 0;
        for ms in 0..125_000 {
            let now = start + Duration::from_millis(ms);
            let admission = gate.admit(now, ip("203.0.113.66"), INVITE);
            told += usize::from(admission == Admission::Flooding { tell: true });
        }
        assert_eq!(told, 3);
    }

    #[test]
    fn the_denied_are_refused_even_among_the_trusted() {
        let mut gate = gate();
        let now = Instant::now();
        let denied = gate.admit(now, ip("198.51.100.9"), INVITE);
        assert_eq!(denied, Admission::Denied);
        gate.trusted.push("198.51.100.9".parse().unwrap());
        assert_eq!(gate.admit(now, ip("198.51.100.9"), INVITE), denied);
        gate.access.allow.push("10.0.0.0/8".parse().unwrap());
        assert_eq!(gate.admit(now, ip("203.0.113.7"), INVITE), denied);
        let trunk = gate.admit(now, ip("192.0.2.1"), INVITE);
        assert_eq!(trunk, Admission::Pass(Lane::Trusted));
    }

    #[test]
    fn calls_that_are_up_go_before_new_ones_when_the_queue_runs_full() {
        let mut gate = gate();
        let now = Instant::now();
        let mut lane = |text: &str| match gate.admit(now, ip("203.0.113.7"), text.as_bytes()) {
            Admission::Pass(lane) => lane,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            lane("INVITE sip:a@b SIP/2.0\r\nTo: <sip:a>\r\n\r\n"),
            Lane::New
        );
        assert_eq!(
            lane("INVITE sip:a@b SIP/2.0\r\nt : <sip:a>;TAG=1\r\n\r\n"),
            Lane::Ongoing
        );
        for text in ["BYE sip:a@b SIP/2.0\r\n", "SIP/2.0 200 OK\r\n", "ACK ", ""] {
            assert_eq!(lane(text), Lane::Ongoing, "{text}");
        }
        let room = |free| [Lane::Trusted, Lane::Ongoing, Lane::New].map(|it| it.has_room(free, 80));
        assert_eq!(room(80), [true, true, true]);
        assert_eq!(room(20), [true, true, false]);
        assert_eq!(room(10), [true, false, false]);
        assert_eq!(room(0), [false, false, false]);
    }

    #[test]
    fn a_flood_of_made_up_addresses_takes_bounded_memory() {
        let (mut gate, now) = (gate(), Instant::now());
        for n in 0..200_000_u32 {
            gate.admit(now, IpAddr::V4(n.into()), INVITE);
        }
        assert!(gate.buckets.len() <= SOURCES_MAX);
    }
}
