//! `[[campaign]]`: which lists, by which trunks, under which rules, and what the card shows.

use super::crm::template;
use super::disposition::{self, Disposition};
use super::trunk::e164;
use super::written::{Found, Section, Wrong, did_you_mean};
use super::{Label, TrunkConfig, unique};
use crate::dialer::campaign as rules;
use crate::dialer::hours::{CallingHours, zone};
use crate::dialer::preview::{AtLimit, Preview};
use crate::id::{CampaignId, TrunkId};
use jiff::civil::Date;
use serde::{Serialize, Serializer};
use std::path::PathBuf;

/// Defaults of the preview-dialing rules; each is a key.
const PREVIEW_LIMIT_S: u32 = 120;
const WRAP_UP_S: u32 = 30;
const WRAP_UP_UNANSWERED_S: u32 = 5;
const RING_LIMIT_S: u32 = 30;
const HOURS: (u16, u16) = (9 * 60, 20 * 60);
const CALLS_A_DAY_MAX: u32 = 3;
const CALLS_IN_7_DAYS_MAX: u32 = 7;
const CALLS_IN_LIFE_MAX: u32 = 20;
const MIN_GAP_S: u32 = 60;
const DAY_MIN: u16 = 24 * 60;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CampaignConfig {
    pub id: String,
    pub name: Label,
    /// Names of lists, as given at import.
    pub lists: Vec<String>,
    /// Names of trunks, tried in this order.
    pub trunks: Vec<String>,
    /// E.164; `None` is the trunk's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller_id: Option<String>,
    pub script_title: Label,
    /// A minijinja template over the lead's fields, as plain text; blank lines part paragraphs.
    pub script: String,
    /// 0 is unlimited (under the ceiling of 15 min).
    pub preview_limit_s: u32,
    #[serde(serialize_with = "as_at_limit")]
    pub at_preview_limit: AtLimit,
    pub wrap_up_s: u32,
    pub wrap_up_unanswered_s: u32,
    pub ring_limit_s: u32,
    /// Calling window in the contact's own time zone, in minutes of the day, end excluded.
    #[serde(rename = "hours", serialize_with = "as_hours")]
    pub hours_min: (u16, u16),
    #[serde(serialize_with = "as_days")]
    pub days: [bool; 7],
    /// No calls on these days, in the contact's time zone.
    pub holidays: Vec<Date>,
    /// IANA names, for phones that tell none of their own. Empty: those are not called.
    pub time_zones: Vec<String>,
    pub calls_a_day_max: u32,
    pub calls_in_7_days_max: u32,
    pub calls_in_life_max: u32,
    /// Between two calls to one number.
    pub min_gap_s: u32,
    /// Agents see `+86 138 **** 8000`.
    pub mask_numbers: bool,
    pub record: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_music: Option<PathBuf>,
    pub fields: Vec<Field>,
    pub skip_reasons: Vec<SkipReason>,
    pub dispositions: Vec<Disposition>,
}

/// A column of the list as the card shows it. Without any, the card shows all columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    pub key: String,
    pub label: Label,
    pub kind: FieldKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    Text,
    Money,
    Date,
    Phone,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SkipReason {
    pub key: String,
    pub label: Label,
}

pub(super) fn read_all(root: &Section<'_>, trunks: &[TrunkConfig]) -> Vec<CampaignConfig> {
    let mut ids = Vec::new();
    root.sections("campaign")
        .into_iter()
        .map(|section| CampaignConfig::read(section, &mut ids, trunks))
        .collect()
}

impl CampaignConfig {
    fn read(section: Section<'_>, ids: &mut Vec<String>, trunks: &[TrunkConfig]) -> CampaignConfig {
        let id = section.required("id", "name the campaign: id = \"autumn\"");
        unique(section.sheet, ids, &id, "a campaign");
        let caller_id = section
            .text_found("caller_id")
            .filter(|found| !found.value.is_empty());
        if let Some(found) = &caller_id {
            section.check(found.span.clone(), e164(&found.value));
        }
        let lists = section.texts("lists");
        let campaign = CampaignConfig {
            name: section.label("name", &id.value),
            lists: lists.map_or_else(|| vec![id.value.clone()], plain),
            trunks: trunk_names(&section, trunks),
            caller_id: caller_id.map(|found| found.value),
            script_title: section.label("script_title", ""),
            script: script(&section),
            preview_limit_s: section.count("preview_limit_s", PREVIEW_LIMIT_S, 0..=900),
            at_preview_limit: at_limit(&section),
            wrap_up_s: section.count("wrap_up_s", WRAP_UP_S, 1..=3_600),
            wrap_up_unanswered_s: section.count(
                "wrap_up_unanswered_s",
                WRAP_UP_UNANSWERED_S,
                1..=3_600,
            ),
            ring_limit_s: section.count("ring_limit_s", RING_LIMIT_S, 15..=60),
            hours_min: section.parsed("hours", hours).unwrap_or(HOURS),
            days: days(&section),
            holidays: holidays(&section),
            time_zones: time_zones(&section),
            calls_a_day_max: section.count("calls_a_day_max", CALLS_A_DAY_MAX, 1..=100),
            calls_in_7_days_max: section.count("calls_in_7_days_max", CALLS_IN_7_DAYS_MAX, 1..=700),
            calls_in_life_max: section.count("calls_in_life_max", CALLS_IN_LIFE_MAX, 1..=10_000),
            min_gap_s: section.count("min_gap_s", MIN_GAP_S, 0..=604_800),
            mask_numbers: section.flag("mask_numbers", false),
            record: section.flag("record", true),
            hold_music: section.file("hold_music").map(|found| found.value),
            fields: fields(&section),
            skip_reasons: skip_reasons(&section),
            dispositions: disposition::read_all(&section),
            id: id.value,
        };
        section.done();
        campaign
    }
}

impl CampaignConfig {
    /// The rules the dialer works by. `version` names the configuration in every attempt's evidence.
    #[must_use]
    pub fn rules(&self, trunks: &[TrunkConfig], version: &str) -> rules::Campaign {
        let route = |name: &String| {
            let trunk = trunks.iter().find(|trunk| trunk.name == *name)?;
            let caller_id = self.caller_id.as_ref().unwrap_or(&trunk.caller_id).clone();
            Some(rules::Route {
                trunk: TrunkId::new(name),
                caller_id,
            })
        };
        let (from_min, until_min) = self.hours_min;
        let ms = |seconds: u32| u64::from(seconds) * 1_000;
        rules::Campaign {
            name: rules::Label::new(&self.name.en, &self.name.zh),
            config_version: version.to_owned(),
            routes: self.trunks.iter().filter_map(route).collect(),
            caps: rules::Caps {
                day: self.calls_a_day_max,
                week: self.calls_in_7_days_max,
                life: self.calls_in_life_max,
            },
            gap_ms_min: ms(self.min_gap_s),
            hours: CallingHours {
                from_min,
                until_min,
                days: self.days,
                holidays: self.holidays.clone(),
            },
            time_zones_default: self.time_zones.clone(),
            ring_limit_ms: ms(self.ring_limit_s),
            preview: Preview {
                limit_ms: ms(self.preview_limit_s),
                at_limit: self.at_preview_limit,
                ..Preview::default()
            },
            wrap_up: rules::WrapUp {
                unanswered_ms: ms(self.wrap_up_unanswered_s),
                answered_ms: ms(self.wrap_up_s),
            },
            dispositions: disposition::rules(&self.dispositions),
            ..rules::Campaign::new(CampaignId::new(&self.id))
        }
    }
}

impl FieldKind {
    pub(super) fn read(section: &Section<'_>) -> FieldKind {
        let Some(Found { value, span }) = section.text_found("kind") else {
            return FieldKind::Text;
        };
        match value.as_str() {
            "text" => FieldKind::Text,
            "money" => FieldKind::Money,
            "date" => FieldKind::Date,
            "phone" => FieldKind::Phone,
            other => {
                let what = format!("`{other}` is not a kind of field");
                section.sheet.complain(
                    span,
                    what,
                    "choose \"text\", \"money\", \"date\" or \"phone\"",
                );
                FieldKind::Text
            }
        }
    }
}

fn trunk_names(section: &Section<'_>, trunks: &[TrunkConfig]) -> Vec<String> {
    let found = section.texts("trunks").unwrap_or_default();
    if found.is_empty() {
        section.missing(
            "trunks",
            "name the trunks to dial by: trunks = [\"carrier-a\"]",
        );
    }
    for one in found
        .iter()
        .filter(|one| trunks.iter().all(|trunk| trunk.name != one.value))
    {
        let known = trunks.iter().map(|trunk| trunk.name.as_str());
        let remedy =
            did_you_mean(&one.value, known).unwrap_or_else(|| "add it as a [[trunk]]".into());
        section.sheet.complain(
            one.span.clone(),
            format!("there is no trunk `{}`", one.value),
            remedy,
        );
    }
    plain(found)
}

/// `script`, or the text of `script_file`.
fn script(section: &Section<'_>) -> String {
    let inline = section.text_found("script");
    let file = section.file("script_file");
    let (text, span) = match (inline, file) {
        (Some(inline), Some(file)) => {
            section.sheet.complain(
                file.span,
                "`script` and `script_file` are both given",
                "keep one of them",
            );
            (inline.value, inline.span)
        }
        (Some(inline), None) => (inline.value, inline.span),
        (None, Some(file)) if file.value.is_file() => match std::fs::read_to_string(&file.value) {
            Ok(text) => (text, file.span),
            Err(error) => {
                let what = format!("{} cannot be read: {error}", file.value.display());
                section
                    .sheet
                    .complain(file.span, what, "see that it is a readable UTF-8 file");
                return String::new();
            }
        },
        (None, _) => return String::new(),
    };
    section.check(span, template(&text));
    text
}

fn fields(section: &Section<'_>) -> Vec<Field> {
    let one = |section: Section<'_>| {
        let key = section
            .required("key", "name the column: key = \"product\"")
            .value;
        let field = Field {
            label: section.label("label", &key),
            kind: FieldKind::read(&section),
            key,
        };
        section.done();
        field
    };
    section.sections("fields").into_iter().map(one).collect()
}

fn skip_reasons(section: &Section<'_>) -> Vec<SkipReason> {
    if !section.has("skip_reasons") {
        section.sections("skip_reasons");
        return SkipReason::usual();
    }
    let mut keys = Vec::new();
    let one = |section: Section<'_>| {
        let key = section.required("key", "name the reason: key = \"bad_time\"");
        unique(section.sheet, &mut keys, &key, "a skip reason");
        let reason = SkipReason {
            label: section.label("label", &key.value),
            key: key.value,
        };
        section.done();
        reason
    };
    section
        .sections("skip_reasons")
        .into_iter()
        .map(one)
        .collect()
}

impl SkipReason {
    fn usual() -> Vec<SkipReason> {
        let reason = |key: &str, en: &str, zh: &str| SkipReason {
            key: key.into(),
            label: label(en, zh),
        };
        vec![
            reason("bad_time", "Bad time", "时间不合适"),
            reason("not_prepared", "Not prepared", "未准备好"),
            reason("wrong_record", "Wrong record", "资料有误"),
        ]
    }
}

fn label(en: &str, zh: &str) -> Label {
    Label {
        en: en.to_owned(),
        zh: zh.to_owned(),
    }
}

pub(super) fn plain(found: Vec<Found<String>>) -> Vec<String> {
    found.into_iter().map(|found| found.value).collect()
}

fn hours(text: &str) -> Result<(u16, u16), Wrong> {
    let wrong = || {
        Wrong(
            format!("`{text}` is not a calling window"),
            "write \"09:00-20:00\", within one day".to_owned(),
        )
    };
    let (from, to) = text.split_once('-').ok_or_else(wrong)?;
    let (from, to) = (
        minute_of_day(from).ok_or_else(wrong)?,
        minute_of_day(to).ok_or_else(wrong)?,
    );
    if from < to {
        Ok((from, to))
    } else {
        Err(wrong())
    }
}

/// `24:00` is the end of the day.
pub(super) fn minute_of_day(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':')?;
    if hour.len() != 2 || minute.len() != 2 {
        return None;
    }
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    let of_day = hour * 60 + minute;
    (minute < 60 && of_day <= DAY_MIN).then_some(of_day)
}

pub(super) fn as_hours<S: Serializer>(
    hours: &(u16, u16),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let (from, to) = hours;
    serializer.collect_str(&format_args!(
        "{:02}:{:02}-{:02}:{:02}",
        from / 60,
        from % 60,
        to / 60,
        to % 60
    ))
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

pub(super) fn days(section: &Section<'_>) -> [bool; 7] {
    let Some(found) = section.texts("days") else {
        return [true; 7];
    };
    let mut days = [false; 7];
    for found in found {
        match DAYS.iter().position(|day| *day == found.value) {
            Some(day) => days[day] = true,
            None => section.sheet.complain(
                found.span,
                format!("`{}` is not a day", found.value),
                format!("write some of {}", DAYS.join(", ")),
            ),
        }
    }
    if days == [false; 7] {
        section.missing("days", "name at least one day, or leave `days` out for all");
    }
    days
}

fn holidays(section: &Section<'_>) -> Vec<Date> {
    let date = |found: Found<String>| {
        let wrong = || {
            Wrong(
                format!("`{}` is not a date", found.value),
                "write \"2026-12-25\"".into(),
            )
        };
        section.check(found.span.clone(), found.value.parse().map_err(|_| wrong()))
    };
    section
        .texts("holidays")
        .unwrap_or_default()
        .into_iter()
        .filter_map(date)
        .collect()
}

fn time_zones(section: &Section<'_>) -> Vec<String> {
    let found = section.texts("time_zones").unwrap_or_default();
    for one in found.iter().filter(|one| zone(&one.value).is_none()) {
        let what = format!("there is no time zone `{}`", one.value);
        section.sheet.complain(
            one.span.clone(),
            what,
            "write an IANA name, such as \"Asia/Shanghai\"",
        );
    }
    plain(found)
}

/// What happens to a card whose time is up, by the names of the configuration.
const AT_LIMIT: [(&str, AtLimit); 5] = [
    ("not_ready", AtLimit::RequeueNotReady),
    ("requeue", AtLimit::Requeue),
    ("skip", AtLimit::Skip),
    ("close", AtLimit::Close),
    ("dial", AtLimit::Dial),
];

fn at_limit(section: &Section<'_>) -> AtLimit {
    let Some(Found { value, span }) = section.text_found("at_preview_limit") else {
        return AtLimit::RequeueNotReady;
    };
    let found = AT_LIMIT
        .iter()
        .find(|(name, _)| *name == value)
        .map(|(_, at_limit)| *at_limit);
    found.unwrap_or_else(|| {
        let known = AT_LIMIT.map(|(name, _)| name).join(", ");
        let what = format!("`{value}` is not something a card can do");
        section
            .sheet
            .complain(span, what, format!("choose one of {known}"));
        AtLimit::RequeueNotReady
    })
}

pub(super) fn as_days<S: Serializer>(days: &[bool; 7], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(
        DAYS.iter()
            .zip(days)
            .filter(|(_, on)| **on)
            .map(|(day, _)| day),
    )
}

fn as_at_limit<S: Serializer>(at_limit: &AtLimit, serializer: S) -> Result<S::Ok, S::Error> {
    let name = AT_LIMIT
        .iter()
        .find(|(_, known)| known == at_limit)
        .map_or("", |(name, _)| name);
    serializer.serialize_str(name)
}
