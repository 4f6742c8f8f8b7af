//! `[[route]]` and `[routing]`: where calls go that no agent has dialled. Written names are checked
//! against the trunks, phones, agents and campaigns of the same file.

mod action;
mod check;
#[cfg(test)]
mod tests;

use super::campaign::{as_days, as_hours, days, minute_of_day, plain};
use super::guard::{as_texts, blocks};
use super::written::{Found, Section, Wrong};
use super::{TrunkConfig, unique};
use crate::dialer::hours::zone;
use crate::route::{Emergency, Match, Outward, Plan, Rewrite, Rule, Step, Waiting, Window};
use crate::sip::guard::AddressBlock;
use regex::Regex;
use serde::Serialize;

pub use action::RouteAction;
pub(super) use check::Names;

/// How long a step rings when nothing is said, and at most.
const RING_S: u32 = 30;
const RING_S_MAX: u32 = 600;
const STRIP_MAX: u32 = 32;
/// How long a caller waits for an agent, and at most: a call that is not answered ends after ten
/// minutes whatever is said here.
const QUEUE_S: u32 = 120;
const QUEUE_S_MAX: u32 = 3_600;
/// How many callers wait for one campaign.
const QUEUE_CALLERS: u32 = 20;
const QUEUE_CALLERS_MAX: u32 = 1_000;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RoutingConfig {
    /// Before every rule and limit, character for character.
    pub emergency: Vec<String>,
    /// Empty: every trunk, in the order of the file.
    pub emergency_trunks: Vec<String>,
    /// Addresses whose calls are taken without a password.
    #[serde(serialize_with = "as_texts")]
    pub permit: Vec<AddressBlock>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RouteConfig {
    pub name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub numbers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    #[serde(flatten)]
    pub window: Option<WindowConfig>,
    pub strip: u32,
    pub prepend: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<String>,
    #[serde(flatten)]
    pub action: Option<RouteAction>,
    /// Further steps, as `phone:101`.
    pub then: Vec<String>,
    /// Empty: each trunk's own.
    pub caller_id: String,
    pub ring_s: u32,
    pub queue_s: u32,
    pub queue_max: u32,
    pub answer: bool,
    pub record: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WindowConfig {
    #[serde(rename = "hours", serialize_with = "as_hours")]
    pub hours_min: (u16, u16),
    #[serde(serialize_with = "as_days")]
    pub days: [bool; 7],
    pub time_zone: String,
}

pub(super) fn read_all(root: &Section<'_>, names: &Names<'_>) -> Vec<RouteConfig> {
    let mut known = Vec::new();
    root.sections("route")
        .into_iter()
        .map(|section| RouteConfig::read(section, &mut known, names))
        .collect()
}

impl RoutingConfig {
    pub(super) fn read(section: Section<'_>, names: &Names<'_>) -> RoutingConfig {
        let emergency = plain(section.texts("emergency").unwrap_or_default());
        let trunks = section.texts("emergency_trunks").unwrap_or_default();
        trunks
            .iter()
            .for_each(|found| names.trunk(section.sheet, found));
        let permit = blocks(&section, "permit");
        section.done();
        RoutingConfig {
            emergency,
            emergency_trunks: plain(trunks),
            permit,
        }
    }
}

impl RouteConfig {
    fn read(section: Section<'_>, known: &mut Vec<String>, names: &Names<'_>) -> RouteConfig {
        let name = section.required("name", "name the route: name = \"outside\"");
        unique(section.sheet, known, &name, "a route");
        let numbers = plain(section.texts("numbers").unwrap_or_default());
        let prefix = written(section.text_found("prefix"));
        let regex = section.parsed("regex", pattern);
        check::one_pattern(
            &section,
            !numbers.is_empty(),
            prefix.is_some(),
            regex.is_some(),
        );
        let from = check::sources(&section, names);
        let window = window(&section);
        let strip = section.count("strip", 0, 0..=STRIP_MAX);
        let prepend = section.text("prepend", "");
        let rewrite = written(section.text_found("rewrite"));
        if rewrite.is_some() && regex.is_none() {
            section.missing("regex", "`rewrite` fills in the groups of a `regex`");
        }
        let action = action::read(&section, names);
        let then = action::read_then(&section, names);
        let outward = action.as_ref().is_some_and(RouteAction::leads_out)
            || then.iter().any(|step| step.starts_with("trunk:"));
        if outward && from.is_empty() {
            let remedy = "say whose calls may leave by a trunk, such as from = [\"phone\"]";
            section.missing("from", remedy);
        }
        let caller_id = section.text_found("caller_id");
        if let Some(found) = caller_id.as_ref().filter(|found| !found.value.is_empty()) {
            section.check(found.span.clone(), super::trunk::e164(&found.value));
        }
        let ring_s = section.count("ring_s", RING_S, 1..=RING_S_MAX);
        let queue_s = section.count("queue_s", QUEUE_S, 0..=QUEUE_S_MAX);
        let queue_max = section.count("queue_max", QUEUE_CALLERS, 0..=QUEUE_CALLERS_MAX);
        let answer = section.flag("answer", false);
        let record = section.flag("record", false);
        section.done();
        RouteConfig {
            name: name.value,
            numbers,
            prefix,
            regex: regex.map(|regex| regex.as_str().to_owned()),
            from,
            window,
            strip,
            prepend,
            rewrite,
            action,
            then,
            caller_id: caller_id.map_or_else(String::new, |found| found.value),
            ring_s,
            queue_s,
            queue_max,
            answer,
            record,
        }
    }

    fn number(&self) -> Match {
        let regex = self.regex.as_deref().and_then(|text| Regex::new(text).ok());
        match (&self.prefix, regex) {
            (_, Some(regex)) => Match::Regex(regex),
            (Some(prefix), None) => Match::Prefix(prefix.clone()),
            (None, None) if self.numbers.is_empty() => Match::Any,
            (None, None) => Match::Exact(self.numbers.clone()),
        }
    }

    fn rule(&self, trunks: &[TrunkConfig]) -> Rule {
        let shown = |trunk: &TrunkConfig| match self.caller_id.is_empty() {
            true => trunk.caller_id.clone(),
            false => self.caller_id.clone(),
        };
        let waiting = Waiting {
            wait_ms: u64::from(self.queue_s) * 1_000,
            callers_max: self.queue_max,
            answer: self.answer,
        };
        let first = self.action.iter().map(RouteAction::words);
        let steps = first
            .chain(self.then.iter().map(|text| action::words(text)))
            .filter_map(|(kind, values)| {
                action::step(kind, &values, waiting, &outward(trunks, &shown))
            });
        let window = self.window.as_ref().and_then(|window| {
            Some(Window {
                from_min: window.hours_min.0,
                until_min: window.hours_min.1,
                days: window.days,
                zone: zone(&window.time_zone)?,
            })
        });
        Rule {
            name: self.name.clone(),
            number: self.number(),
            from: self
                .from
                .iter()
                .filter_map(|text| text.parse().ok())
                .collect(),
            window,
            rewrite: Rewrite {
                strip_chars: self.strip as usize,
                prepend: self.prepend.clone(),
                replacement: self.rewrite.clone(),
            },
            steps: steps.collect::<Vec<Step>>(),
            ring_ms: u64::from(self.ring_s) * 1_000,
            record: self.record,
        }
    }
}

/// The plan of a file that was checked.
pub(super) fn plan(
    routing: &RoutingConfig,
    routes: &[RouteConfig],
    trunks: &[TrunkConfig],
) -> Plan {
    let own = |trunk: &TrunkConfig| trunk.caller_id.clone();
    let every = trunks.iter().map(|trunk| trunk.name.clone());
    let names = match routing.emergency_trunks.is_empty() {
        true => every.collect(),
        false => routing.emergency_trunks.clone(),
    };
    Plan {
        emergency: Emergency {
            numbers: routing.emergency.clone(),
            trunks: names
                .iter()
                .filter_map(|name| outward(trunks, &own)(name))
                .collect(),
        },
        rules: routes.iter().map(|route| route.rule(trunks)).collect(),
    }
}

fn outward<'a>(
    trunks: &'a [TrunkConfig],
    shown: &'a dyn Fn(&TrunkConfig) -> String,
) -> impl Fn(&str) -> Option<Outward> + 'a {
    move |name| {
        let trunk = trunks.iter().find(|trunk| trunk.name == name)?;
        Some(Outward {
            trunk: crate::id::TrunkId::new(name),
            caller_id: shown(trunk),
        })
    }
}

fn written(found: Option<Found<String>>) -> Option<String> {
    found
        .map(|found| found.value)
        .filter(|text| !text.is_empty())
}

fn pattern(text: &str) -> Result<Regex, Wrong> {
    Regex::new(text).map_err(|error| {
        let said = error.to_string();
        let last = said.lines().last().unwrap_or_default();
        let why = last.trim_start_matches("error:").trim().to_owned();
        Wrong(
            format!("`{text}` is not a regular expression: {why}"),
            "write one such as \"^00(\\\\d{6,13})$\" (https://docs.rs/regex)".to_owned(),
        )
    })
}

/// `hours`, `days` and `time_zone`; none of them is always.
fn window(section: &Section<'_>) -> Option<WindowConfig> {
    let written = ["hours", "days"].iter().any(|key| section.has(key));
    let hours_min = section.parsed("hours", hours).unwrap_or((0, 24 * 60));
    let days = days(section);
    let time_zone = section.parsed("time_zone", |text| match zone(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(Wrong(
            format!("there is no time zone `{text}`"),
            "write an IANA name, such as \"Asia/Shanghai\"".to_owned(),
        )),
    });
    if written && !section.has("time_zone") {
        section.missing(
            "time_zone",
            "say whose hours and days: time_zone = \"Asia/Shanghai\"",
        );
    }
    let time_zone = time_zone.filter(|_| written)?;
    Some(WindowConfig {
        hours_min,
        days,
        time_zone,
    })
}

fn hours(text: &str) -> Result<(u16, u16), Wrong> {
    let parts = text.split_once('-');
    let minutes = parts.and_then(|(from, to)| Some((minute_of_day(from)?, minute_of_day(to)?)));
    minutes.filter(|(from, to)| from != to).ok_or_else(|| {
        Wrong(
            format!("`{text}` is not a window of a day"),
            "write \"09:00-18:00\"; \"22:00-06:00\" goes on past midnight".to_owned(),
        )
    })
}
