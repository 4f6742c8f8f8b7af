//! Guessing is slow: an address or a user with too many failures is locked out, each time twice
//! as long. A phone that has proved itself is not locked out with its neighbours behind the same
//! address, nor by strangers who guess at its name.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::bounded::Bounded;
use super::source::Source;

/// How many failures are too many, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockoutRules {
    /// Failures of one address before it is locked out; 0 is never.
    pub failures_max: u32,
    /// Failures of one user, from wherever they came.
    pub failures_of_user_max: u32,
    /// Challenges an address may leave unanswered: what a scan for users does.
    pub unanswered_max: u32,
    /// One failure is forgotten in this time.
    pub forgive_every: Duration,
    pub first: Duration,
    pub longest: Duration,
    /// Addresses, users and proofs remembered at once.
    pub remembered_max: usize,
}

impl Default for LockoutRules {
    fn default() -> LockoutRules {
        LockoutRules {
            failures_max: 10,
            failures_of_user_max: 30,
            unanswered_max: 300,
            forgive_every: Duration::from_secs(30),
            first: Duration::from_secs(60),
            longest: Duration::from_secs(3_600),
            remembered_max: 20_000,
        }
    }
}

/// Whom a failure locked out, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sip) enum Locked {
    Address(Duration),
    User(Duration),
}

#[derive(Default)]
struct Strikes {
    failures: u32,
    unanswered: u32,
    /// Since when failures are being forgiven.
    since: Option<Instant>,
    until: Option<Instant>,
    times: u32,
}

pub(in crate::sip) struct Lockout {
    rules: LockoutRules,
    addresses: Bounded<Source, Strikes>,
    users: Bounded<String, Strikes>,
    /// Sockets whose last request proved a user.
    proven: Bounded<SocketAddr, ()>,
    /// Users and where they have proved themselves from.
    homes: Bounded<(Source, String), ()>,
}

impl Lockout {
    /// Other rules from now on; locks that were put on stay. How many are remembered stays, too.
    pub fn set_rules(&mut self, rules: LockoutRules) {
        self.rules = rules;
    }

    pub fn new(rules: LockoutRules) -> Lockout {
        let size = rules.remembered_max;
        Lockout {
            rules,
            addresses: Bounded::new(size),
            users: Bounded::new(size),
            proven: Bounded::new(size),
            homes: Bounded::new(size),
        }
    }

    /// Whether everything from this socket is to be dropped unread.
    pub fn is_address_locked(&self, now: Instant, from: SocketAddr) -> bool {
        let strikes = self.addresses.peek(&Source::of(from.ip()));
        strikes.is_some_and(|it| it.is_locked(now)) && self.proven.peek(&from).is_none()
    }

    /// Whether even the right password counts as wrong.
    pub fn is_user_locked(&self, now: Instant, from: SocketAddr, user: &str) -> bool {
        let locked = self.users.peek(&user.to_owned());
        let home = (Source::of(from.ip()), user.to_owned());
        locked.is_some_and(|it| it.is_locked(now)) && self.homes.peek(&home).is_none()
    }

    /// A wrong answer to a challenge.
    pub fn on_failure(
        &mut self,
        now: Instant,
        from: SocketAddr,
        user: Option<&str>,
    ) -> Vec<Locked> {
        let rules = self.rules;
        if rules.failures_max == 0 {
            return Vec::new();
        }
        self.proven.remove(&from);
        let address = self
            .addresses
            .touch(&Source::of(from.ip()), Strikes::default);
        address.forgive(now, &rules);
        address.failures += 1;
        let mut locked = Vec::new();
        if address.failures >= rules.failures_max {
            locked.extend(address.lock(now, &rules).map(Locked::Address));
        }
        if let Some(user) = user {
            let user = self.users.touch(&user.to_owned(), Strikes::default);
            user.forgive(now, &rules);
            user.failures += 1;
            if user.failures >= rules.failures_of_user_max {
                locked.extend(user.lock(now, &rules).map(Locked::User));
            }
        }
        locked
    }

    /// A challenge was sent, or a stranger was refused.
    pub fn on_challenge(&mut self, now: Instant, from: SocketAddr) -> Option<Locked> {
        let rules = self.rules;
        if rules.failures_max == 0 {
            return None;
        }
        let address = self
            .addresses
            .touch(&Source::of(from.ip()), Strikes::default);
        address.forgive(now, &rules);
        address.unanswered += 1;
        if address.unanswered < rules.unanswered_max {
            return None;
        }
        address.lock(now, &rules).map(Locked::Address)
    }

    pub fn on_proof(&mut self, from: SocketAddr, user: &str) {
        let source = Source::of(from.ip());
        if self.addresses.peek(&source).is_some() {
            let address = self.addresses.touch(&source, Strikes::default);
            address.unanswered = 0;
        }
        self.proven.touch(&from, || ());
        self.homes.touch(&(source, user.to_owned()), || ());
    }
}

impl Strikes {
    fn is_locked(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    fn forgive(&mut self, now: Instant, rules: &LockoutRules) {
        let since = *self.since.get_or_insert(now);
        let every = rules.forgive_every.max(Duration::from_secs(1));
        let steps = now.saturating_duration_since(since).as_millis() / every.as_millis();
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        if steps > 0 {
            self.failures = self.failures.saturating_sub(steps);
            let share = rules.unanswered_max / rules.failures_max.max(1);
            self.unanswered = self.unanswered.saturating_sub(steps.saturating_mul(share));
            self.since = Some(since + every * steps);
        }
        let quiet = |until: Instant| now.saturating_duration_since(until) >= rules.longest;
        if self.until.is_some_and(quiet) {
            self.times = 0;
        }
    }

    /// How long, unless it is locked already.
    fn lock(&mut self, now: Instant, rules: &LockoutRules) -> Option<Duration> {
        if self.is_locked(now) {
            return None;
        }
        let time = rules
            .first
            .saturating_mul(1 << self.times.min(20))
            .min(rules.longest);
        self.until = Some(now + time);
        self.times += 1;
        self.failures = 0;
        self.unanswered = 0;
        Some(time)
    }
}

#[cfg(test)]
#[path = "lockout_tests.rs"]
mod tests;
