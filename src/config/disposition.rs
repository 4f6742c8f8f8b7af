//! `[[campaign.dispositions]]`: what agents may say happened. Without any, the dialer's usual set.

use super::written::{Found, Section, did_you_mean};
use super::{Label, unique};
use crate::dialer::campaign::Label as RulesLabel;
use crate::dialer::disposition::{self as rules, Action, Flag};
use serde::{Serialize, Serializer};

const MS_PER_MIN: u64 = 60_000;
const RETRY_AFTER_MIN: u32 = 60;
const RETRY_MAX: u32 = 3;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Disposition {
    pub key: String,
    pub label: Label,
    #[serde(flatten)]
    pub action: DispositionAction,
    /// What it tells the reports.
    #[serde(serialize_with = "as_names")]
    pub flags: Vec<Flag>,
    /// Characters of notes the agent must write.
    pub notes_min: u32,
}

/// What a disposition does to the lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum DispositionAction {
    Final,
    FinalAllCampaigns,
    Retry {
        retry_after_min: u32,
        retry_max: u32,
    },
    CallbackPersonal,
    CallbackAny,
    DncNumber,
    DncContact,
    WrongNumber,
    NumberDone,
}

/// Every action but `retry`, by the names of the configuration.
const NAMED: [(&str, DispositionAction); 8] = [
    ("final", DispositionAction::Final),
    ("final_all_campaigns", DispositionAction::FinalAllCampaigns),
    ("callback_personal", DispositionAction::CallbackPersonal),
    ("callback_any", DispositionAction::CallbackAny),
    ("dnc_number", DispositionAction::DncNumber),
    ("dnc_contact", DispositionAction::DncContact),
    ("wrong_number", DispositionAction::WrongNumber),
    ("number_done", DispositionAction::NumberDone),
];

pub(super) fn read_all(campaign: &Section<'_>) -> Vec<Disposition> {
    let written = campaign.has("dispositions");
    let sections = campaign.sections("dispositions");
    if !written {
        return usual();
    }
    let mut keys = Vec::new();
    sections
        .into_iter()
        .map(|section| Disposition::read(section, &mut keys))
        .collect()
}

/// The set as the dialer works by it.
pub(super) fn rules(dispositions: &[Disposition]) -> rules::Dispositions {
    rules::Dispositions(dispositions.iter().map(Disposition::rule).collect())
}

fn usual() -> Vec<Disposition> {
    rules::Dispositions::default()
        .0
        .iter()
        .filter_map(Disposition::of_rule)
        .collect()
}

impl Disposition {
    fn read(section: Section<'_>, keys: &mut Vec<String>) -> Disposition {
        let key = section.required("key", "name the disposition: key = \"interested\"");
        unique(section.sheet, keys, &key, "a disposition");
        let label = section.label("label", &key.value);
        let action = DispositionAction::read(&section);
        let flags = section.texts("flags").unwrap_or_default();
        let flags = flags
            .into_iter()
            .filter_map(|found| flag(&section, &found))
            .collect();
        let notes_min = section.count("notes_min", 0, 0..=1_000);
        section.done();
        Disposition {
            key: key.value,
            label,
            action,
            flags,
            notes_min,
        }
    }

    fn rule(&self) -> rules::Disposition {
        rules::Disposition {
            key: self.key.clone(),
            label: RulesLabel::new(&self.label.en, &self.label.zh),
            action: self.action.rule(),
            flags: self.flags.clone(),
            notes_chars_min: usize::try_from(self.notes_min).unwrap_or(usize::MAX),
        }
    }

    /// `None` for what cannot be written in a configuration.
    fn of_rule(rule: &rules::Disposition) -> Option<Disposition> {
        Some(Disposition {
            key: rule.key.clone(),
            label: Label {
                en: rule.label.en.clone(),
                zh: rule.label.zh.clone(),
            },
            action: DispositionAction::of_rule(rule.action)?,
            flags: rule.flags.clone(),
            notes_min: u32::try_from(rule.notes_chars_min).ok()?,
        })
    }
}

impl DispositionAction {
    fn read(section: &Section<'_>) -> DispositionAction {
        let names = || std::iter::once("retry").chain(NAMED.map(|(name, _)| name));
        let all = || names().collect::<Vec<_>>().join(", ");
        let Found { value, span } = section.required("action", &format!("choose one of {}", all()));
        let retry_after_min = section.count("retry_after_min", RETRY_AFTER_MIN, 1..=525_600);
        let retry_max = section.count("retry_max", RETRY_MAX, 1..=100);
        if value == "retry" {
            return DispositionAction::Retry {
                retry_after_min,
                retry_max,
            };
        }
        let named = NAMED
            .iter()
            .find(|(name, _)| *name == value)
            .map(|(_, action)| *action);
        named.unwrap_or_else(|| {
            if !value.is_empty() {
                let remedy = did_you_mean(&value, names())
                    .unwrap_or_else(|| format!("choose one of {}", all()));
                section
                    .sheet
                    .complain(span, format!("`{value}` is not an action"), remedy);
            }
            DispositionAction::Final
        })
    }

    fn rule(self) -> Action {
        match self {
            DispositionAction::Final => Action::Final,
            DispositionAction::FinalAllCampaigns => Action::FinalAllCampaigns,
            DispositionAction::Retry {
                retry_after_min,
                retry_max,
            } => Action::Retry {
                after_ms: u64::from(retry_after_min) * MS_PER_MIN,
                max: retry_max,
            },
            DispositionAction::CallbackPersonal => Action::CallbackPersonal,
            DispositionAction::CallbackAny => Action::CallbackAny,
            DispositionAction::DncNumber => Action::DncNumber,
            DispositionAction::DncContact => Action::DncContact,
            DispositionAction::WrongNumber => Action::WrongNumber,
            DispositionAction::NumberDone => Action::NumberDone,
        }
    }

    fn of_rule(action: Action) -> Option<DispositionAction> {
        Some(match action {
            Action::Final => DispositionAction::Final,
            Action::FinalAllCampaigns => DispositionAction::FinalAllCampaigns,
            Action::Retry { after_ms, max } => DispositionAction::Retry {
                retry_after_min: u32::try_from(after_ms / MS_PER_MIN).ok()?,
                retry_max: max,
            },
            Action::CallbackPersonal => DispositionAction::CallbackPersonal,
            Action::CallbackAny => DispositionAction::CallbackAny,
            Action::DncNumber => DispositionAction::DncNumber,
            Action::DncContact => DispositionAction::DncContact,
            Action::WrongNumber => DispositionAction::WrongNumber,
            Action::NumberDone => DispositionAction::NumberDone,
            // What the switch writes when nobody says anything; nobody may choose it.
            Action::NoDisposition => return None,
        })
    }
}

fn flag(section: &Section<'_>, found: &Found<String>) -> Option<Flag> {
    let flag = Flag::from_name(&found.value);
    if flag.is_none() {
        let known = Flag::ALL.iter().map(|flag| flag.name());
        let remedy = did_you_mean(&found.value, known.clone())
            .unwrap_or_else(|| format!("choose some of {}", known.collect::<Vec<_>>().join(", ")));
        section.sheet.complain(
            found.span.clone(),
            format!("`{}` is not a flag", found.value),
            remedy,
        );
    }
    flag
}

fn as_names<S: Serializer>(flags: &[Flag], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(flags.iter().map(|flag| flag.name()))
}
