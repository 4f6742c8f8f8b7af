//! What follows from a call result: when the same number again, how often, and which number next.

use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::time::Duration;

use super::campaign::Caps;
use super::hours::DayParts;
use super::lead::{CloseReason, LeadState, WaitKind};
use crate::call::result::CallResult;
use crate::id::{PhoneId, TrunkId};
use crate::now::UtcMs;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// Doubling stops here, at eight times the wait.
const DOUBLINGS_MAX: u32 = 3;

/// When the same number may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    After {
        wait_ms: u64,
    },
    /// After the wait, and in another part of the day.
    OtherDayPart {
        wait_ms: u64,
    },
    /// The wait doubles with each result of the kind in a row; in another part of the day, and on
    /// another day after `a_day` of them on one.
    Doubling {
        wait_ms: u64,
        a_day: u32,
    },
    /// `tries` in quick succession are one; then the next part of the day.
    Series {
        wait_ms: u64,
        tries: u32,
    },
    Never,
}

/// What `most` retries lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// No more of this number for this lead.
    NumberDone,
    /// The fault was ours or the carrier's: the number rests until the next part of the day.
    NextDayPart,
    /// The number reaches nobody: not for any lead.
    NumberBad,
    /// The contact does not want it: no more of any number.
    LeadDone,
}

/// Whose turn is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// Another number of the contact goes first.
    First,
    /// The result says nothing about the number, or the contact should rest: all of them wait.
    WaitToo,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub pace: Pace,
    /// Retries of one number by this result; `None`: only the caps end it.
    pub most: Option<u32>,
    pub spent: Spent,
    pub others: Others,
}

/// The table and the parts of the day it speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryRules {
    pub rows: BTreeMap<CallResult, Row>,
    pub day_parts: DayParts,
}

impl Default for RetryRules {
    fn default() -> Self {
        let rows = CallResult::ALL
            .into_iter()
            .map(|result| (result, default_row(result)));
        RetryRules {
            rows: rows.collect(),
            day_parts: DayParts::default(),
        }
    }
}

fn default_row(result: CallResult) -> Row {
    use Others::{First, WaitToo};
    use Spent::{LeadDone, NextDayPart, NumberBad, NumberDone};
    let row = |pace, most, spent, others| Row {
        pace,
        most,
        spent,
        others,
    };
    let after = |wait_ms| Pace::After { wait_ms };
    let other_part = |wait_ms| Pace::OtherDayPart { wait_ms };
    match result {
        CallResult::Busy => row(
            Pace::Series {
                wait_ms: 10 * MINUTE_MS,
                tries: 3,
            },
            None,
            NumberDone,
            First,
        ),
        CallResult::NoAnswer => row(
            Pace::Doubling {
                wait_ms: HOUR_MS,
                a_day: 3,
            },
            None,
            NumberDone,
            First,
        ),
        CallResult::Unavailable => row(after(2 * HOUR_MS), Some(3), NumberDone, First),
        CallResult::Rejected => row(after(24 * HOUR_MS), Some(2), NumberDone, First),
        CallResult::Unwanted => row(Pace::Never, Some(0), LeadDone, WaitToo),
        CallResult::InvalidNumber => row(after(24 * HOUR_MS), Some(1), NumberBad, First),
        CallResult::Machine => row(other_part(4 * HOUR_MS), Some(2), NumberDone, First),
        CallResult::Fax => row(Pace::Never, Some(0), NumberDone, First),
        CallResult::TrunkFailure => row(after(2 * MINUTE_MS), Some(3), NextDayPart, WaitToo),
        CallResult::FalseAnswer => row(after(30 * MINUTE_MS), Some(2), NumberDone, WaitToo),
        CallResult::AgentCancelled => row(after(15 * MINUTE_MS), None, NumberDone, WaitToo),
        CallResult::OneWayAudio => row(after(10 * MINUTE_MS), Some(1), NumberDone, WaitToo),
        CallResult::SystemFailure => row(after(2 * MINUTE_MS), Some(3), NextDayPart, WaitToo),
        // The agent's disposition decides; without one nothing is dialed by itself.
        CallResult::Connected => row(Pace::Never, Some(0), LeadDone, WaitToo),
    }
}

/// An attempt of the past at one phone of the lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    pub result: CallResult,
    pub status: Option<u16>,
    pub trunk: TrunkId,
    pub ended_at: UtcMs,
}

/// A phone of the contact, as this lead knows it.
#[derive(Clone, Debug)]
pub struct PhoneRecord {
    pub id: PhoneId,
    /// Not bad, not suppressed, not done for this lead.
    pub is_usable: bool,
    pub not_before: Option<UtcMs>,
    /// Oldest first; of the phone just dialed the last one is the attempt that ended.
    pub past: Vec<Past>,
    /// Regulatory attempts at the number, ever.
    pub life: u32,
    pub zones: Vec<TimeZone>,
}

/// What becomes of one phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhoneNext {
    Wait(UtcMs),
    Done,
    Bad,
}

/// What follows from a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    pub lead: LeadState,
    /// The phones that change.
    pub phones: Vec<(PhoneId, PhoneNext)>,
}

/// What follows when `dialed` ended as its last past attempt says.
pub fn after_result(
    rules: &RetryRules,
    caps: Caps,
    phones: &[PhoneRecord],
    dialed: PhoneId,
    now: UtcMs,
) -> Next {
    let Some((phone, ended)) = phones
        .iter()
        .find(|it| it.id == dialed)
        .and_then(|phone| Some((phone, phone.past.last()?)))
    else {
        return Next {
            lead: LeadState::Closed(CloseReason::NoCallableNumber),
            phones: vec![],
        };
    };
    let row = rules
        .rows
        .get(&ended.result)
        .copied()
        .unwrap_or(default_row(ended.result));
    let own = next_of_phone(rules, &row, caps, phone, ended, now);
    let is_lead_done = row.spent == Spent::LeadDone && own == PhoneNext::Done;
    let mut changes = vec![(dialed, own)];
    let mut dues = Vec::new();
    if let PhoneNext::Wait(at) = own {
        dues.push(at);
    }
    for other in phones.iter().filter(|it| it.id != dialed && it.is_usable) {
        let mut due = other.not_before.unwrap_or(now).max(now);
        if let (Others::WaitToo, PhoneNext::Wait(at)) = (row.others, own)
            && at > due
        {
            due = at;
            changes.push((other.id, PhoneNext::Wait(at)));
        }
        if other.life < caps.life {
            dues.push(due);
        }
    }
    let lead = match dues.into_iter().min().filter(|_| !is_lead_done) {
        Some(not_before) => LeadState::Waiting {
            not_before,
            kind: WaitKind::Retry,
        },
        None => LeadState::Closed(close_reason(ended.result, own)),
    };
    Next {
        lead,
        phones: changes,
    }
}

fn close_reason(result: CallResult, own: PhoneNext) -> CloseReason {
    match (result, own) {
        (_, PhoneNext::Bad)
        | (CallResult::Fax | CallResult::Unwanted | CallResult::InvalidNumber, _) => {
            CloseReason::NoCallableNumber
        }
        (CallResult::Connected, _) => CloseReason::Completed,
        _ => CloseReason::MaxAttempts,
    }
}

fn next_of_phone(
    rules: &RetryRules,
    row: &Row,
    caps: Caps,
    phone: &PhoneRecord,
    ended: &Past,
    now: UtcMs,
) -> PhoneNext {
    if !phone.is_usable || phone.life >= caps.life {
        return PhoneNext::Done;
    }
    if ended.result == CallResult::InvalidNumber && row.spent == Spent::NumberBad {
        return next_of_invalid(row, phone, ended, now);
    }
    let parts = &rules.day_parts;
    let zone = phone.zones.first().cloned().unwrap_or(TimeZone::UTC);
    let in_a_row = run(phone, ended.result);
    if row
        .most
        .is_some_and(|most| total_or_run(row, phone, ended.result) > most)
    {
        return match row.spent {
            Spent::NextDayPart => PhoneNext::Wait(parts.next(now, &zone)),
            Spent::NumberBad => PhoneNext::Bad,
            Spent::NumberDone | Spent::LeadDone => PhoneNext::Done,
        };
    }
    let plus = |wait_ms| now.plus(Duration::from_millis(wait_ms));
    match row.pace {
        Pace::Never => PhoneNext::Done,
        Pace::After { wait_ms } => PhoneNext::Wait(plus(wait_ms)),
        Pace::OtherDayPart { wait_ms } => PhoneNext::Wait(parts.another(now, plus(wait_ms), &zone)),
        Pace::Series { tries, .. } if in_a_row.is_multiple_of(tries.max(1)) => {
            PhoneNext::Wait(parts.next(now, &zone))
        }
        Pace::Series { wait_ms, .. } => PhoneNext::Wait(plus(wait_ms)),
        Pace::Doubling { wait_ms, a_day } => {
            let doublings = in_a_row.saturating_sub(1).min(DOUBLINGS_MAX);
            let other_part = parts.another(now, plus(wait_ms << doublings), &zone);
            if on_this_day(phone, ended.result, now, &zone) >= a_day {
                PhoneNext::Wait(parts.next_day(now, &zone).max(other_part))
            } else {
                PhoneNext::Wait(other_part)
            }
        }
    }
}

/// A first 404 or 484 may be the carrier's mistake, or a 484 our own number rule: wait and look
/// again. Anything else that says "no such number" is believed at once.
fn next_of_invalid(row: &Row, phone: &PhoneRecord, ended: &Past, now: UtcMs) -> PhoneNext {
    let Pace::After { wait_ms } = row.pace else {
        return PhoneNext::Bad;
    };
    let is_doubtful = matches!(ended.status, Some(404 | 484));
    let earlier = &phone.past[..phone.past.len() - 1]; // `ended` is the last of `past`.
    let earlier = earlier
        .iter()
        .filter(|it| it.result == CallResult::InvalidNumber);
    let most = usize::try_from(row.most.unwrap_or(1)).unwrap_or(usize::MAX);
    if !is_doubtful {
        PhoneNext::Bad
    } else if earlier.clone().count() < most {
        PhoneNext::Wait(now.plus(Duration::from_millis(wait_ms)))
    } else if ended.status == Some(484) && earlier.clone().all(|it| it.trunk == ended.trunk) {
        // One trunk alone keeps saying so: enough for this lead, not for the number.
        PhoneNext::Done
    } else {
        PhoneNext::Bad
    }
}

/// Faults of ours count in a row only: one good call in between and the trunk is well again.
fn total_or_run(row: &Row, phone: &PhoneRecord, result: CallResult) -> u32 {
    match row.spent {
        Spent::NextDayPart => {
            let cycle = row.most.unwrap_or(0).saturating_add(1);
            let run = run(phone, result);
            // After the rest the count begins anew.
            if run.is_multiple_of(cycle) {
                cycle
            } else {
                run % cycle
            }
        }
        _ => count(phone.past.iter().filter(|it| it.result == result).count()),
    }
}

fn run(phone: &PhoneRecord, result: CallResult) -> u32 {
    count(
        phone
            .past
            .iter()
            .rev()
            .take_while(|it| it.result == result)
            .count(),
    )
}

fn on_this_day(phone: &PhoneRecord, result: CallResult, now: UtcMs, zone: &TimeZone) -> u32 {
    let day = |at| super::hours::local(at, zone).map(|it| it.date());
    let same = |it: &&Past| it.result == result && day(it.ended_at) == day(now);
    count(phone.past.iter().filter(same).count())
}

fn count(many: usize) -> u32 {
    u32::try_from(many).unwrap_or(u32::MAX)
}

/// The regulatory counter: any INVITE that may have alerted the customer. Only results that name
/// an obstacle before the phone count nothing without an 18x.
pub fn is_regulatory(result: CallResult, alerted: bool) -> bool {
    alerted
        || !matches!(
            result,
            CallResult::Busy
                | CallResult::Unavailable
                | CallResult::InvalidNumber
                | CallResult::TrunkFailure
        )
}

/// The business counter: without network faults and the agent's own cancels; a series of quick
/// busy tries counts once. `run` is how many results of this kind there are in a row, this one
/// included.
pub fn is_business(rules: &RetryRules, result: CallResult, run: u32) -> bool {
    match result {
        CallResult::Busy => match rules.rows.get(&CallResult::Busy).map(|row| row.pace) {
            Some(Pace::Series { tries, .. }) => run % tries.max(1) == 1 % tries.max(1),
            _ => true,
        },
        CallResult::NoAnswer
        | CallResult::Unavailable
        | CallResult::Rejected
        | CallResult::Unwanted
        | CallResult::Machine
        | CallResult::Connected => true,
        CallResult::InvalidNumber
        | CallResult::Fax
        | CallResult::TrunkFailure
        | CallResult::FalseAnswer
        | CallResult::AgentCancelled
        | CallResult::OneWayAudio
        | CallResult::SystemFailure => false,
    }
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod tests;
