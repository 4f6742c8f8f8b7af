//! When a rule holds: hours of the local day and days of the week, in one zone. Minutes are
//! minutes of the local day, 0..=1440.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::now::UtcMs;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    pub from_min: u16,
    /// Not included. At or before `from_min`: the window goes on past midnight, and its days are
    /// those it begins on.
    pub until_min: u16,
    /// Monday first.
    pub days: [bool; 7],
    pub zone: TimeZone,
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

impl Window {
    pub fn is_open(&self, at: UtcMs) -> bool {
        let Some((day, minute)) = self.local(at) else {
            return false;
        };
        if self.from_min < self.until_min {
            return self.days[day] && (self.from_min..self.until_min).contains(&minute);
        }
        let before = (day + 6) % 7;
        (self.days[day] && minute >= self.from_min)
            || (self.days[before] && minute < self.until_min)
    }

    /// The moment as this window sees it, such as `Sun 10:00`.
    pub fn moment(&self, at: UtcMs) -> String {
        match self.local(at) {
            Some((day, minute)) => {
                format!("{} {:02}:{:02}", DAYS[day], minute / 60, minute % 60)
            }
            None => "beyond the calendar".to_owned(),
        }
    }

    fn local(&self, at: UtcMs) -> Option<(usize, u16)> {
        let local = Timestamp::from_millisecond(at.0)
            .ok()?
            .to_zoned(self.zone.clone());
        let day = local.weekday().to_monday_zero_offset();
        let minute = i32::from(local.hour()) * 60 + i32::from(local.minute());
        Some((usize::try_from(day).ok()?, u16::try_from(minute).ok()?))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days: Vec<&str> = DAYS
            .iter()
            .zip(self.days)
            .filter(|(_, on)| *on)
            .map(|(day, _)| *day)
            .collect();
        let (from, until) = (self.from_min, self.until_min);
        write!(
            out,
            "{} {:02}:{:02}-{:02}:{:02} {}",
            days.join(" "),
            from / 60,
            from % 60,
            until / 60,
            until % 60,
            self.zone.iana_name().unwrap_or("UTC")
        )
    }
}
