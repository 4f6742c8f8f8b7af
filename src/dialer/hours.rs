//! When a customer may be called: a daily window in the phone's own time zones, and the parts of a
//! day that retries alternate between. Minutes are minutes of the local day, 0..=1440.
//!
//! Zones come from the bundled IANA database; no clock and no file is read here.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::sync::LazyLock;

use crate::now::UtcMs;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// How many days ahead an opening is looked for.
const DAYS_AHEAD_MAX: i32 = 370;
/// How often zones may hand an opening on to each other before there is none.
const ROUNDS_MAX: usize = 400;

/// The zone of an IANA name, or `None` when there is no such zone.
pub fn zone(name: &str) -> Option<TimeZone> {
    ZONES.get(name).ok()
}

/// The daily calling window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallingHours {
    pub from_min: u16,
    pub until_min: u16,
    /// Monday first.
    pub days: [bool; 7],
    pub holidays: Vec<Date>,
}

impl Default for CallingHours {
    fn default() -> Self {
        CallingHours {
            from_min: 9 * 60,
            until_min: 20 * 60,
            days: [true; 7],
            holidays: vec![],
        }
    }
}

impl CallingHours {
    /// Round the clock, for tests and demonstrations.
    pub fn always() -> CallingHours {
        CallingHours {
            from_min: 0,
            until_min: 1440,
            ..CallingHours::default()
        }
    }

    /// Open in every one of the zones: an ambiguous phone may be in any of them.
    pub fn is_open(&self, at: UtcMs, zones: &[TimeZone]) -> bool {
        !zones.is_empty() && zones.iter().all(|zone| self.is_open_in(at, zone))
    }

    /// The first moment at or after `from` at which every zone is open.
    pub fn next_open(&self, from: UtcMs, zones: &[TimeZone]) -> Option<UtcMs> {
        if zones.is_empty() {
            return None;
        }
        let mut at = from;
        for _ in 0..ROUNDS_MAX {
            let Some(closed) = zones.iter().find(|zone| !self.is_open_in(at, zone)) else {
                return Some(at);
            };
            at = self.next_opening_in(at, closed)?;
        }
        None
    }

    fn is_open_in(&self, at: UtcMs, zone: &TimeZone) -> bool {
        let Some(local) = local(at, zone) else {
            return false;
        };
        let minute = minute_of_day(local);
        self.is_open_on(local.date()) && (self.from_min..self.until_min).contains(&minute)
    }

    fn is_open_on(&self, date: Date) -> bool {
        let weekday = usize::from(date.weekday().to_monday_zero_offset().unsigned_abs());
        self.days[weekday] && !self.holidays.contains(&date)
    }

    fn next_opening_in(&self, after: UtcMs, zone: &TimeZone) -> Option<UtcMs> {
        let today = local(after, zone)?.date();
        (0..DAYS_AHEAD_MAX)
            .filter_map(|days| today.checked_add(jiff::Span::new().days(days)).ok())
            .filter(|date| self.is_open_on(*date))
            .filter_map(|date| instant_of(date, self.from_min, zone))
            .find(|opening| *opening > after)
    }

    /// `09:00-20:00`, for people and for the evidence.
    pub fn describe(&self) -> String {
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        format!("{}-{}", clock(self.from_min), clock(self.until_min))
    }
}

/// Parts of the local day: a retry is more likely to find somebody in another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayParts(pub Vec<(u16, u16)>);

impl Default for DayParts {
    fn default() -> Self {
        DayParts(vec![(540, 720), (720, 1020), (1020, 1200)])
    }
}

impl DayParts {
    /// The first moment at or after `from` in another part of the day than `tried_at` was in.
    pub fn another(&self, tried_at: UtcMs, from: UtcMs, zone: &TimeZone) -> UtcMs {
        let tried = local(tried_at, zone).and_then(|it| self.part_of(minute_of_day(it)));
        self.first(from, zone, |_, part| Some(part) != tried)
    }

    /// The start of the part after the one `at` is in.
    pub fn next(&self, at: UtcMs, zone: &TimeZone) -> UtcMs {
        let Some(local) = local(at, zone) else {
            return at;
        };
        let (date, part) = (local.date(), self.part_of(minute_of_day(local)));
        self.first(at, zone, |day, it| (day, Some(it)) != (date, part))
    }

    /// The first part of a later local day.
    pub fn next_day(&self, at: UtcMs, zone: &TimeZone) -> UtcMs {
        let Some(local) = local(at, zone) else {
            return at;
        };
        self.first(at, zone, |day, _| day > local.date())
    }

    fn part_of(&self, minute: u16) -> Option<usize> {
        self.0
            .iter()
            .position(|(from, until)| (*from..*until).contains(&minute))
    }

    fn first(&self, from: UtcMs, zone: &TimeZone, fits: impl Fn(Date, usize) -> bool) -> UtcMs {
        let Some(today) = local(from, zone).map(DateTime::date) else {
            return from;
        };
        for days in 0..3 {
            let Ok(date) = today.checked_add(jiff::Span::new().days(days)) else {
                break;
            };
            for (part, (start, end)) in self.0.iter().enumerate() {
                let (Some(start), Some(end)) =
                    (instant_of(date, *start, zone), instant_of(date, *end, zone))
                else {
                    continue;
                };
                if end > from && fits(date, part) {
                    return start.max(from);
                }
            }
        }
        from
    }
}

/// The local civil time at an instant.
pub fn local(at: UtcMs, zone: &TimeZone) -> Option<DateTime> {
    Timestamp::from_millisecond(at.0)
        .ok()
        .map(|it| zone.to_datetime(it))
}

fn minute_of_day(at: DateTime) -> u16 {
    u16::from(at.hour().unsigned_abs()) * 60 + u16::from(at.minute().unsigned_abs())
}

fn instant_of(date: Date, minute: u16, zone: &TimeZone) -> Option<UtcMs> {
    let midnight = date.at(0, 0, 0, 0);
    let civil = midnight
        .checked_add(jiff::Span::new().minutes(i64::from(minute)))
        .ok()?;
    let instant = zone.to_ambiguous_timestamp(civil).compatible().ok()?;
    Some(UtcMs(instant.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> UtcMs {
        UtcMs(text.parse::<Timestamp>().unwrap().as_millisecond())
    }

    fn zones(names: &[&str]) -> Vec<TimeZone> {
        names.iter().map(|name| zone(name).unwrap()).collect()
    }

    #[test]
    fn the_window_is_the_customers_nine_to_eight() {
        let (hours, shanghai) = (CallingHours::default(), zones(&["Asia/Shanghai"]));
        for (at, open) in [
            ("2026-11-22T00:59:59Z", false),
            ("2026-11-22T01:00:00Z", true),
            ("2026-11-22T11:59:59Z", true),
            ("2026-11-22T12:00:00Z", false),
        ] {
            assert_eq!(hours.is_open(utc(at), &shanghai), open, "{at}");
        }
        let evening = utc("2026-11-22T12:00:00Z");
        assert_eq!(
            hours.next_open(evening, &shanghai),
            Some(utc("2026-11-23T01:00:00Z"))
        );
    }

    #[test]
    fn a_phone_that_may_be_in_two_zones_is_called_when_both_are_open() {
        let us = zones(&["America/New_York", "America/Los_Angeles"]);
        let hours = CallingHours::default();
        let new_york_opens = utc("2026-11-23T14:00:00Z");
        assert!(!hours.is_open(new_york_opens, &us));
        assert_eq!(
            hours.next_open(new_york_opens, &us),
            Some(utc("2026-11-23T17:00:00Z"))
        );
        // 20:00 in New York closes it, though Los Angeles has three hours left.
        assert!(!hours.is_open(utc("2026-11-24T01:00:00Z"), &us));
    }

    #[test]
    fn zones_that_never_share_an_hour_give_no_opening() {
        let hours = CallingHours {
            from_min: 540,
            until_min: 600,
            ..CallingHours::default()
        };
        let apart = zones(&["Asia/Shanghai", "America/New_York"]);
        assert_eq!(hours.next_open(utc("2026-11-22T00:00:00Z"), &apart), None);
        assert_eq!(hours.next_open(utc("2026-11-22T00:00:00Z"), &[]), None);
        assert!(!hours.is_open(utc("2026-11-22T02:00:00Z"), &[]));
    }

    #[test]
    fn days_off_and_holidays_are_skipped() {
        let mut hours = CallingHours::default();
        hours.days[6] = false;
        hours.holidays.push(jiff::civil::date(2026, 11, 23));
        // 2026-11-22 is a Sunday, Monday is the holiday.
        let shanghai = zones(&["Asia/Shanghai"]);
        let sunday = utc("2026-11-22T03:00:00Z");
        assert_eq!(
            hours.next_open(sunday, &shanghai),
            Some(utc("2026-11-24T01:00:00Z"))
        );
    }

    #[test]
    fn a_change_of_the_clock_moves_the_opening() {
        let ny = zones(&["America/New_York"]);
        let hours = CallingHours::default();
        // On 2026-03-08 the clock springs forward: nine o'clock is 13:00 UTC, not 14:00.
        let before = utc("2026-03-08T03:00:00Z");
        assert_eq!(
            hours.next_open(before, &ny),
            Some(utc("2026-03-08T13:00:00Z"))
        );
    }

    #[test]
    fn round_the_clock_is_always_open() {
        let at = utc("2026-11-22T16:00:00Z");
        assert!(CallingHours::always().is_open(at, &zones(&["Asia/Shanghai"])));
    }

    #[test]
    fn another_day_part_is_never_the_one_that_was_tried() {
        let (parts, zone) = (DayParts::default(), zone("UTC").unwrap());
        for (tried, from, expected) in [
            (
                "2026-11-22T10:00:00Z",
                "2026-11-22T11:00:00Z",
                "2026-11-22T12:00:00Z",
            ),
            (
                "2026-11-22T13:00:00Z",
                "2026-11-22T14:00:00Z",
                "2026-11-22T17:00:00Z",
            ),
            (
                "2026-11-22T18:00:00Z",
                "2026-11-22T19:00:00Z",
                "2026-11-23T09:00:00Z",
            ),
            (
                "2026-11-22T10:00:00Z",
                "2026-11-22T18:30:00Z",
                "2026-11-22T18:30:00Z",
            ),
            (
                "2026-11-22T10:00:00Z",
                "2026-11-23T10:00:00Z",
                "2026-11-23T12:00:00Z",
            ),
        ] {
            assert_eq!(
                parts.another(utc(tried), utc(from), &zone),
                utc(expected),
                "{tried}"
            );
        }
    }

    #[test]
    fn the_next_day_part_follows_in_order() {
        let (parts, zone) = (DayParts::default(), zone("UTC").unwrap());
        let next = |at| parts.next(utc(at), &zone);
        assert_eq!(next("2026-11-22T10:00:00Z"), utc("2026-11-22T12:00:00Z"));
        assert_eq!(next("2026-11-22T19:00:00Z"), utc("2026-11-23T09:00:00Z"));
        assert_eq!(next("2026-11-22T22:00:00Z"), utc("2026-11-23T09:00:00Z"));
        let day = parts.next_day(utc("2026-11-22T10:00:00Z"), &zone);
        assert_eq!(day, utc("2026-11-23T09:00:00Z"));
    }
}
