//! A campaign's rules as plain values, with the defaults of the field. Times in ms.

use std::collections::BTreeMap;

use super::disposition::Dispositions;
use super::hours::CallingHours;
use super::preview::Preview;
use super::retry::RetryRules;
use crate::id::{CampaignId, TrunkId};

/// A text shown to people, in the two languages of the pages.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Label {
    pub en: String,
    pub zh: String,
}

impl Label {
    pub fn new(en: &str, zh: &str) -> Label {
        Label {
            en: en.to_owned(),
            zh: zh.to_owned(),
        }
    }
}

/// A way out: which trunk, and the number shown to the customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub trunk: TrunkId,
    pub caller_id: String,
}

/// How often a number and a contact may be called (regulatory attempts).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// In any 24 hours. A calendar day is never longer, so this holds for the day as well.
    pub day: u32,
    /// In any 7 days.
    pub week: u32,
    pub life: u32,
}

impl Default for Caps {
    fn default() -> Self {
        Caps {
            day: 3,
            week: 7,
            life: 20,
        }
    }
}

/// What becomes of a skipped lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkipRules {
    /// Nobody is offered it for so long.
    pub cool_down_ms: u64,
    /// The agent who skipped it is not offered it for so long.
    pub same_agent_ms: u64,
}

impl Default for SkipRules {
    fn default() -> Self {
        SkipRules {
            cool_down_ms: 15 * 60_000,
            same_agent_ms: 24 * 3_600_000,
        }
    }
}

/// How long an agent may take after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrapUp {
    pub unanswered_ms: u64,
    pub answered_ms: u64,
}

impl Default for WrapUp {
    fn default() -> Self {
        WrapUp {
            unanswered_ms: 5_000,
            answered_ms: 30_000,
        }
    }
}

/// The rules of one campaign.
#[derive(Clone, Debug)]
pub struct Campaign {
    pub id: CampaignId,
    pub name: Label,
    pub running: bool,
    /// A name for this set of rules, kept with the evidence of every attempt.
    pub config_version: String,
    pub routes: Vec<Route>,
    pub caps: Caps,
    /// Between two attempts at one number.
    pub gap_ms_min: u64,
    pub hours: CallingHours,
    /// Zones for phones that tell none of their own (IANA names). Empty: those are not called.
    pub time_zones_default: Vec<String>,
    pub ring_limit_ms: u64,
    pub preview: Preview,
    pub wrap_up: WrapUp,
    pub skip: SkipRules,
    pub retry: RetryRules,
    /// A personal callback is anybody's this long after it was due.
    pub callback_grace_ms: u64,
    pub dispositions: Dispositions,
}

impl Campaign {
    pub fn new(id: CampaignId) -> Campaign {
        Campaign {
            name: Label::new(id.as_str(), id.as_str()),
            id,
            running: true,
            config_version: String::new(),
            routes: Vec::new(),
            caps: Caps::default(),
            gap_ms_min: 60_000,
            hours: CallingHours::default(),
            time_zones_default: Vec::new(),
            ring_limit_ms: 30_000,
            preview: Preview::default(),
            wrap_up: WrapUp::default(),
            skip: SkipRules::default(),
            retry: RetryRules::default(),
            callback_grace_ms: 15 * 60_000,
            dispositions: Dispositions::default(),
        }
    }
}

/// Every campaign's rules, handed down whole at start and at a reload.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub campaigns: BTreeMap<CampaignId, Campaign>,
}

impl Rules {
    pub fn of(campaigns: impl IntoIterator<Item = Campaign>) -> Rules {
        Rules {
            campaigns: campaigns
                .into_iter()
                .map(|it| (it.id.clone(), it))
                .collect(),
        }
    }
}
