//! The card an agent reads before she dials: the lead as the store knows it, laid out as the
//! campaign says, the script with its fields filled in, and what the CRM adds as it arrives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::desk::text;
use super::resolved::{Campaign, FieldLayout, Text};
use crate::agent::state::{Agent, State};
use crate::dialer::hours::zone;
use crate::dialer::lead::{LeadState, WaitKind};
use crate::dialer::reservation::Life;
use crate::id::{FenceToken, PhoneId};
use crate::leads::phone::spaced;
use crate::now::{Now, UtcMs};
use crate::store::fact::{AttemptView, LeadView, PhoneView, RecordingState, Reservation};

#[derive(Clone)]
pub struct Card {
    pub token: FenceToken,
    pub campaign: Arc<Campaign>,
    pub lead: LeadView,
    pub life: Life,
    pub extensions_left: u8,
    suggested: Option<PhoneId>,
    /// Answered; only the store's word is outstanding, so no deadline may answer it again.
    pub leaving: bool,
    /// The store could not take the answer: no deadline answers again before then.
    pub again_at: Option<Instant>,
    /// The attempt under this card when the switch started: its call is not here any more.
    pub before_restart: Option<AttemptView>,
    /// They called us.
    is_incoming: bool,
    /// The agent who hands this call over.
    handed_by: Option<String>,
    script: String,
    crm: Crm,
}

#[derive(Clone)]
enum Crm {
    None,
    Loading,
    Ready { sections: Value },
    Failed { error: String },
}

impl Card {
    pub fn new(reservation: Reservation, campaign: Arc<Campaign>) -> Card {
        let lead = reservation.lead;
        let wants_crm = campaign.crm && lead.external_id.is_some();
        Card {
            token: reservation.token,
            life: reservation.life,
            extensions_left: u8::try_from(reservation.extensions_left).unwrap_or(u8::MAX),
            suggested: reservation.suggested,
            leaving: false,
            again_at: None,
            is_incoming: reservation
                .attempt
                .as_ref()
                .is_some_and(|it| it.is_incoming),
            before_restart: reservation.attempt,
            handed_by: None,
            script: script(&campaign, &lead),
            crm: if wants_crm { Crm::Loading } else { Crm::None },
            campaign,
            lead,
        }
    }

    /// As another agent is shown it who may take the call over.
    pub fn offered_by(&self, name: &str) -> Card {
        Card {
            leaving: false,
            again_at: None,
            before_restart: None,
            ..self.clone()
        }
        .handed_by(name)
    }

    pub fn handed_by(mut self, name: &str) -> Card {
        self.handed_by = Some(name.to_owned());
        self
    }

    /// The id the CRM is to be asked for, while its answer is outstanding.
    pub fn crm_question(&self) -> Option<String> {
        match self.crm {
            Crm::Loading => self.lead.external_id.clone(),
            _ => None,
        }
    }

    pub fn crm_arrived(&mut self, result: Result<Value, String>) {
        self.crm = match result {
            Ok(sections) => Crm::Ready { sections },
            Err(error) => Crm::Failed { error },
        };
    }

    /// The phone asked for, or the one the gate would take.
    pub fn phone(&self, asked: Option<PhoneId>) -> Option<&PhoneView> {
        let wanted = asked.or(self.suggested);
        match wanted {
            Some(id) => self.lead.phones.iter().find(|phone| phone.id == id),
            None => self.lead.phones.first(),
        }
    }

    pub fn picture(&self, agent: &Agent, language: &str, now: Now) -> Value {
        let left = match agent.state() {
            State::Previewing {
                extensions_left, ..
            } => *extensions_left,
            _ => 0,
        };
        json!({
            "token": self.token.0,
            "lead": self.lead.lead.0,
            "campaign": { "id": self.campaign.id.as_str(), "name": text(&self.campaign.rules.name) },
            "name": self.lead.name,
            "company": self.lead.company,
            "language": self.lead.language,
            "phones": self.phones(now.utc),
            "fields": self.fields(),
            "history": self.past().map(past_attempt).collect::<Vec<_>>(),
            "crm": self.crm_picture(),
            "script": { "title": self.title(language), "text": self.script },
            "deadline_ms": self.life.deadline.0,
            "extensions_left": left,
            "skip_reasons": self.campaign.skip_reasons.iter().map(|choice| json!({
                "key": choice.key, "label": text(&choice.label),
            })).collect::<Vec<_>>(),
            "dispositions": self.dispositions(),
            "why": text(&self.why()),
        })
    }

    /// A call that is still on, such as the one that rings, is no history yet.
    fn past(&self) -> impl Iterator<Item = &AttemptView> {
        let over = |attempt: &&AttemptView| attempt.result.is_some();
        self.lead.history.iter().filter(over)
    }

    fn title(&self, language: &str) -> &str {
        let title = &self.campaign.script_title;
        if language.starts_with("zh") {
            &title.zh
        } else {
            &title.en
        }
    }

    fn phones(&self, at: UtcMs) -> Vec<Value> {
        let masked = self.campaign.mask_numbers;
        self.lead
            .phones
            .iter()
            .map(|phone| {
                let why: Vec<&str> = phone.refusals.iter().map(|rule| rule.name()).collect();
                let zone_name = phone.time_zones.first();
                json!({
                    "id": phone.id.0,
                    "display": shown_number(&phone.e164, masked),
                    "kind": phone.kind.name(),
                    "time_zone": zone_name,
                    "utc_offset_s": zone_name.and_then(|name| offset_s(name, at)),
                    "callable": why.is_empty(),
                    "why": (!why.is_empty()).then(|| why.join(", ")),
                    "suggested": self.suggested == Some(phone.id),
                })
            })
            .collect()
    }

    /// The campaign's fields in its order; without a layout, every field there is.
    fn fields(&self) -> Vec<Value> {
        let values: BTreeMap<&str, &str> = self
            .lead
            .fields
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        if self.campaign.fields.is_empty() {
            let plain = |(key, value): &(String, String)| json!({ "key": key, "label": { "en": key, "zh": key }, "value": value, "kind": "text" });
            return self.lead.fields.iter().map(plain).collect();
        }
        self.campaign
            .fields
            .iter()
            .filter_map(|field| {
                let value = values.get(field.key.as_str()).filter(|value| !value.is_empty())?;
                Some(json!({
                    "key": field.key, "label": text(&field.label), "value": value, "kind": field.kind,
                }))
            })
            .collect()
    }

    fn dispositions(&self) -> Vec<Value> {
        let shown = |disposition: &crate::dialer::disposition::Disposition| {
            json!({
                "key": disposition.key,
                "label": text(&disposition.label),
                "action": disposition.action.name(),
                "notes_min": disposition.notes_chars_min,
                "needs_callback_time": disposition.action.needs_callback_time(),
            })
        };
        self.campaign
            .rules
            .dispositions
            .0
            .iter()
            .map(shown)
            .collect()
    }

    fn crm_picture(&self) -> Value {
        match &self.crm {
            Crm::None => json!({ "status": "none", "sections": [], "error": null }),
            Crm::Loading => json!({ "status": "loading", "sections": [], "error": null }),
            Crm::Ready { sections } => {
                json!({ "status": "ready", "sections": sections, "error": null })
            }
            Crm::Failed { error } => json!({ "status": "failed", "sections": [], "error": error }),
        }
    }

    /// Why this lead, now: the class it was chosen from.
    fn why(&self) -> Text {
        let list = &self.lead.list;
        if let Some(name) = &self.handed_by {
            return Text::new(&format!("Handed over by {name}"), &format!("由{name}转接"));
        }
        if self.is_incoming {
            return Text::new("Calls you now", "客户来电");
        }
        match &self.lead.prior {
            Some(LeadState::Waiting {
                kind: WaitKind::Retry,
                ..
            }) => Text::new(
                &format!("Retry due, list {list}"),
                &format!("到期重拨，名单 {list}"),
            ),
            Some(LeadState::Waiting {
                kind: WaitKind::CallbackPersonal(_),
                ..
            }) => Text::new("Your callback is due", "您预约的回拨已到时间"),
            Some(LeadState::Waiting {
                kind: WaitKind::CallbackAny,
                ..
            }) => Text::new("A callback is due", "预约回拨已到时间"),
            _ => Text::new(&format!("New lead, list {list}"), &format!("新名单 {list}")),
        }
    }
}

/// A call that a restart ended, as a page shows it.
pub(super) fn ended_call(attempt: &AttemptView) -> Value {
    json!({
        "id": attempt.attempt.to_string(),
        "phone": attempt.phone.0,
        "direction": if attempt.is_incoming { "in" } else { "out" },
        "state": "ended",
        "started_ms": attempt.created_at.0,
        "ringing_ms": attempt.alerting_at.map(|at| at.0),
        "answered_ms": attempt.answered_at.map(|at| at.0),
        "ended_ms": attempt.ended_at.map(|at| at.0),
        "muted": false,
        "held": false,
        "held_by_far_end": false,
        "volume_db": 0,
        "recording": false,
        "recording_ready": matches!(attempt.recording, RecordingState::Done { .. }),
        "result": attempt.result.map(|result| result.name()),
        "detail": "the switch was restarted",
    })
}

fn past_attempt(attempt: &AttemptView) -> Value {
    let recording = match attempt.recording {
        RecordingState::Done { .. } => Some(attempt.attempt.to_string()),
        _ => None,
    };
    json!({
        "at_ms": attempt.created_at.0,
        "direction": if attempt.is_incoming { "in" } else { "out" },
        "result": attempt.result.map(|result| result.name()),
        "disposition": attempt.disposition,
        "agent": attempt.agent.as_str(),
        "notes": attempt.notes,
        "talk_ms": attempt.talk_ms,
        "recording": recording,
    })
}

/// The script with the lead's fields filled in; a template that fails shows itself unfilled, so
/// that the agent has something to read.
fn script(campaign: &Campaign, lead: &LeadView) -> String {
    let is_date = |key: &str| {
        let of_key = |field: &&FieldLayout| field.key == key;
        let found = campaign.fields.iter().find(of_key);
        found.is_some_and(|field| field.kind == "date")
    };
    let mut values: BTreeMap<&str, String> = lead
        .fields
        .iter()
        .map(|(key, value)| match is_date(key) {
            true => (key.as_str(), spoken_date(value, &lead.language)),
            false => (key.as_str(), value.clone()),
        })
        .collect();
    values.insert("name", lead.name.clone());
    values.insert("company", lead.company.clone());
    values.insert("language", lead.language.clone());
    let filled = minijinja::Environment::new().render_str(&campaign.script, &values);
    filled.unwrap_or_else(|error| {
        tracing::warn!(campaign = %campaign.id, %error, "the script cannot be filled in");
        campaign.script.clone()
    })
}

/// An ISO day as it is read out in the lead's language; anything else as it is.
fn spoken_date(value: &str, language: &str) -> String {
    let pattern = match language {
        "zh" => "%Y年%-m月%-d日",
        _ => "%-d %B %Y",
    };
    let day = value.parse::<jiff::civil::Date>();
    day.map_or_else(
        |_| value.to_owned(),
        |day| day.strftime(pattern).to_string(),
    )
}

/// A number for people to read.
pub fn shown_number(e164: &str, masked: bool) -> String {
    match masked {
        _ if !e164.starts_with('+') => e164.to_owned(),
        true => mask(e164),
        false => spaced(e164).unwrap_or_else(|| e164.to_owned()),
    }
}

/// `+8613812348000` → `+86 138 **** 8000`: enough to recognise, not enough to copy.
fn mask(e164: &str) -> String {
    let (country, national) = split_country(e164);
    let digits: Vec<char> = national.chars().collect();
    let (shown_first, shown_last) = (3.min(digits.len() / 3), 4.min(digits.len() / 3 + 1));
    let first: String = digits[..shown_first].iter().collect();
    let last: String = digits[digits.len() - shown_last..].iter().collect();
    format!("{country} {first} **** {last}")
}

/// Country codes of one and two digits (ITU-T E.164 Annex D); all others have three.
const COUNTRY_CODES: [&str; 2] = [
    "1 7",
    "20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 \
     64 65 66 81 82 84 86 90 91 92 93 94 95 98",
];

fn split_country(e164: &str) -> (String, &str) {
    let digits = e164.trim_start_matches('+');
    let known = COUNTRY_CODES
        .iter()
        .flat_map(|codes| codes.split(' '))
        .find(|code| digits.starts_with(code));
    let length = known.map_or(3, str::len).min(digits.len());
    let (country, national) = digits.split_at_checked(length).unwrap_or((digits, ""));
    (format!("+{country}"), national)
}

fn offset_s(name: &str, at: UtcMs) -> Option<i32> {
    let zone: TimeZone = zone(name)?;
    let at = Timestamp::from_millisecond(at.0).ok()?;
    Some(zone.to_offset(at).seconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_number_keeps_its_country_and_its_ends_only() {
        assert_eq!(mask("+8613812348000"), "+86 138 **** 8000");
        assert_eq!(mask("+442079460958"), "+44 207 **** 0958");
        assert!(!mask("+8613812348000").contains("1234"));
    }

    #[test]
    fn dates_are_read_out_in_the_customers_language() {
        assert_eq!(spoken_date("2026-04-08", "en"), "8 April 2026");
        assert_eq!(spoken_date("2026-04-08", "zh"), "2026年4月8日");
        assert_eq!(spoken_date("last spring", "en"), "last spring");
    }

    #[test]
    fn an_unmasked_number_reads_in_groups() {
        assert_eq!(shown_number("+8613812348000", false), "+86 138 1234 8000");
    }
}
