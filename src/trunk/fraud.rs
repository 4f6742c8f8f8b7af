//! Toll fraud is bounded whatever else fails: what one caller and all together may do outside.
//! Who is asked for is the caller's business (a phone's user, an agent, an inbound trunk); numbers
//! are E.164. Times are wall-clock seconds; a day is the last 24 hours.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::now::{Now, UtcMs};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const HOURS: usize = 24;
/// Callers remembered; one without calls in 24 hours is forgotten, a new one beyond is refused.
const CALLERS_MAX: usize = 100_000;

/// What one caller, or all of them, may do. 0 is without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    pub calls_at_once: u32,
    pub calls_a_minute: u32,
    pub minutes_a_day: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FraudRules {
    pub each: Caps,
    pub all: Caps,
    /// Seconds; 0 is without limit.
    pub longest_call_s: u32,
    /// Beginnings of numbers that may be called, `+86`; a `+` alone is everything, none is nothing.
    pub allowed: Vec<String>,
    /// Stronger than `allowed` when it is the longer or an equal beginning.
    pub denied: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Hand the ticket back by [`Fraud::ended`], and end the call after `longest`.
    Allowed {
        ticket: Ticket,
        longest: Option<Duration>,
    },
    Refused(Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Prefix,
    CallsAtOnce,
    CallsAMinute,
    MinutesADay,
    CallsAtOnceInAll,
    CallsAMinuteInAll,
    MinutesADayInAll,
    TooManyCallers,
}

impl Refusal {
    /// As the security log says it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Refusal::Prefix => "prefix",
            Refusal::CallsAtOnce => "calls_at_once",
            Refusal::CallsAMinute => "calls_a_minute",
            Refusal::MinutesADay => "minutes_a_day",
            Refusal::CallsAtOnceInAll => "calls_at_once_in_all",
            Refusal::CallsAMinuteInAll => "calls_a_minute_in_all",
            Refusal::MinutesADayInAll => "minutes_a_day_in_all",
            Refusal::TooManyCallers => "too_many_callers",
        }
    }
}

/// What one caller, or all of them, did.
#[derive(Default)]
struct Account {
    open: u32,
    started: VecDeque<UtcMs>,
    /// Milliseconds talked, by hour since 1970.
    talked: VecDeque<(u64, u64)>,
}

struct Open {
    who: String,
    since: UtcMs,
}

pub struct Fraud {
    rules: FraudRules,
    callers: HashMap<String, Account>,
    all: Account,
    open: HashMap<Ticket, Open>,
    next: u64,
}

impl Fraud {
    #[must_use]
    pub fn new(rules: FraudRules) -> Fraud {
        Fraud {
            rules,
            callers: HashMap::new(),
            all: Account::default(),
            open: HashMap::new(),
            next: 0,
        }
    }

    /// Takes new rules; calls that are up and what was counted stay.
    pub fn set_rules(&mut self, rules: FraudRules) {
        self.rules = rules;
    }

    /// Whether `who` may call `number` now. An allowed call counts from here on.
    pub fn ask(&mut self, now: Now, who: &str, number: &str) -> Verdict {
        if !self.rules.permits(number) {
            return Verdict::Refused(Refusal::Prefix);
        }
        let running = |of: Option<&str>| {
            let ours = self
                .open
                .values()
                .filter(|it| of.is_none_or(|of| it.who == of));
            ours.map(|it| now.utc.ms_since(it.since)).sum::<u64>()
        };
        let (running_each, running_all) = (running(Some(who)), running(None));
        if !self.callers.contains_key(who) && !self.has_place(now.utc) {
            return Verdict::Refused(Refusal::TooManyCallers);
        }
        let rules = &self.rules;
        let each = self.callers.entry(who.to_owned()).or_default();
        each.forget(now.utc);
        self.all.forget(now.utc);
        let refusal = refused(each, rules.each, running_each, EACH)
            .or_else(|| refused(&self.all, rules.all, running_all, ALL));
        if let Some(refusal) = refusal {
            return Verdict::Refused(refusal);
        }
        let left = [
            rules.each.left_ms(each, running_each),
            rules.all.left_ms(&self.all, running_all),
            (rules.longest_call_s > 0).then(|| u64::from(rules.longest_call_s) * 1_000),
        ];
        let longest = left.into_iter().flatten().min().map(Duration::from_millis);
        each.start(now.utc);
        self.all.start(now.utc);
        self.next += 1;
        let ticket = Ticket(self.next);
        let (who, since) = (who.to_owned(), now.utc);
        self.open.insert(ticket, Open { who, since });
        Verdict::Allowed { ticket, longest }
    }

    /// The call of this ticket is over; `talked` is how long it was up (none: never answered).
    pub fn ended(&mut self, now: Now, ticket: Ticket, talked: Duration) {
        let Some(open) = self.open.remove(&ticket) else {
            return;
        };
        let talked_ms = u64::try_from(talked.as_millis()).unwrap_or(u64::MAX);
        if let Some(each) = self.callers.get_mut(&open.who) {
            each.end(now.utc, talked_ms);
        }
        self.all.end(now.utc, talked_ms);
    }

    fn has_place(&mut self, now: UtcMs) -> bool {
        if self.callers.len() >= CALLERS_MAX {
            self.callers.retain(|_, account| {
                account.forget(now);
                account.open > 0 || !account.started.is_empty() || !account.talked.is_empty()
            });
        }
        self.callers.len() < CALLERS_MAX
    }
}

impl FraudRules {
    /// The longest beginning decides; of equal ones `denied`.
    #[must_use]
    pub fn permits(&self, number: &str) -> bool {
        let longest = |list: &[String]| {
            let fits = list
                .iter()
                .filter(|start| number.starts_with(start.as_str()));
            fits.map(String::len).max()
        };
        match (longest(&self.allowed), longest(&self.denied)) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(allowed), Some(denied)) => allowed > denied,
        }
    }
}

impl Caps {
    fn left_ms(&self, account: &Account, running_ms: u64) -> Option<u64> {
        let limit = u64::from(self.minutes_a_day) * MINUTE_MS;
        (limit > 0).then(|| limit.saturating_sub(account.talked_ms() + running_ms))
    }
}

const EACH: [Refusal; 3] = [
    Refusal::CallsAtOnce,
    Refusal::CallsAMinute,
    Refusal::MinutesADay,
];
const ALL: [Refusal; 3] = [
    Refusal::CallsAtOnceInAll,
    Refusal::CallsAMinuteInAll,
    Refusal::MinutesADayInAll,
];

fn refused(account: &Account, caps: Caps, running_ms: u64, why: [Refusal; 3]) -> Option<Refusal> {
    let over = |limit: u32, used: usize| limit > 0 && used >= limit as usize;
    if over(caps.calls_at_once, account.open as usize) {
        return Some(why[0]);
    }
    if over(caps.calls_a_minute, account.started.len()) {
        return Some(why[1]);
    }
    (caps.left_ms(account, running_ms) == Some(0)).then_some(why[2])
}

impl Account {
    fn start(&mut self, now: UtcMs) {
        self.open += 1;
        self.started.push_back(now);
    }

    fn end(&mut self, now: UtcMs, talked_ms: u64) {
        self.open = self.open.saturating_sub(1);
        let hour = hour_of(now);
        match self.talked.back_mut() {
            Some((last, sum)) if *last == hour => *sum += talked_ms,
            _ if talked_ms > 0 => self.talked.push_back((hour, talked_ms)),
            _ => {}
        }
        self.forget(now);
    }

    fn talked_ms(&self) -> u64 {
        self.talked.iter().map(|(_, sum)| sum).sum()
    }

    fn forget(&mut self, now: UtcMs) {
        while self
            .started
            .front()
            .is_some_and(|at| now.ms_since(*at) >= MINUTE_MS)
        {
            self.started.pop_front();
        }
        let hour = hour_of(now);
        while self
            .talked
            .front()
            .is_some_and(|(at, _)| at + HOURS as u64 <= hour)
        {
            self.talked.pop_front();
        }
    }
}

fn hour_of(at: UtcMs) -> u64 {
    u64::try_from(at.0).unwrap_or(0) / HOUR_MS
}

#[cfg(test)]
#[path = "fraud_tests.rs"]
mod tests;
