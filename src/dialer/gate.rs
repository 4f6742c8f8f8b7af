//! The one gate: every path that can make a phone ring asks [`may_dial`], at reservation and again
//! at the INVITE. Only an [`Allow`] makes an [`Origination`], and only this file makes an `Allow`.

mod third;

pub use third::{ThirdQuestion, ThirdVerdict, may_bring_in};

use jiff::tz::TimeZone;
use std::fmt::Write as _;
use std::time::Duration;

use super::campaign::{Campaign, Route};
use super::hours;
use super::lead::{LeadState, named};
use crate::id::PhoneId;
use crate::now::UtcMs;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

named! {
    /// What can speak against a dial. The names are stable: pages and `explain` show them.
    Rule {
        CampaignStopped = "campaign_stopped",
        ListInactive = "list_inactive",
        LeadState = "lead_state",
        NotBefore = "not_before",
        CoolDown = "cool_down",
        KeptFromAgent = "kept_from_agent",
        PhoneBad = "phone_bad",
        Suppressed = "suppressed",
        PhoneDone = "phone_done",
        PhoneNotBefore = "phone_not_before",
        NoTimeZone = "no_time_zone",
        OutsideHours = "outside_hours",
        CapDay = "cap_day",
        CapWeek = "cap_week",
        CapLife = "cap_life",
        Gap = "gap",
        LiveAttempt = "live_attempt",
        NoRoute = "no_route",
    }
}

/// At which moment the gate is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Reservation,
    Invite,
    /// A further INVITE inside an attempt that is on: neither the gap nor the attempt itself
    /// speaks against it.
    Failover,
}

/// What is known of a phone's own standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhoneStatus {
    Ok,
    Bad,
    /// On a do-not-call list.
    Suppressed,
}

/// The phone asked about.
#[derive(Clone, Debug)]
pub struct PhoneStanding {
    pub id: PhoneId,
    pub e164: String,
    pub status: PhoneStatus,
    /// No more dials of it for this lead.
    pub is_done: bool,
    pub not_before: Option<UtcMs>,
    /// All candidates when the number does not tell.
    pub zones: Vec<TimeZone>,
}

/// The lead asked about.
#[derive(Clone, Debug)]
pub struct LeadStanding {
    pub state: LeadState,
    pub cool_until: Option<UtcMs>,
    /// This agent skipped it and is not offered it until then.
    pub kept_from_agent_until: Option<UtcMs>,
}

/// Regulatory attempts of the past, newest first; at least the newest [`LOOK_BACK`] of them.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub number: Vec<UtcMs>,
    pub contact: Vec<UtcMs>,
    /// All there ever were, however far back.
    pub number_life: u32,
    pub contact_life: u32,
    /// The latest attempt at the number, counted or not.
    pub number_last: Option<UtcMs>,
    /// A call to the number, or to another one of the contact, is on at this moment.
    pub is_live: bool,
}

/// How many past attempts a question must bring for the day and week caps to be exact.
pub const LOOK_BACK: u32 = 32;

/// Everything the gate looks at.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    pub now: UtcMs,
    pub stage: Stage,
    pub campaign: &'a Campaign,
    pub list_is_active: bool,
    pub lead: LeadStanding,
    pub phone: PhoneStanding,
    pub history: History,
    /// The way out chosen; at reservation the campaign's first.
    pub route: Option<Route>,
}

/// The gate's answer.
#[derive(Clone, Debug)]
pub enum Verdict {
    Allow(Allow),
    Deny(Deny),
}

/// Leave to dial one phone once, now.
#[derive(Clone, Debug)]
pub struct Allow {
    pub phone: PhoneId,
    pub e164: String,
    pub route: Route,
    /// The rules with their inputs, for the attempt's file.
    pub evidence: String,
    // Nobody else can build one.
    _gate: Gate,
}

#[derive(Clone, Debug)]
struct Gate;

/// A number that may be called, and how. Made from an [`Allow`] only, and spent by the dial.
pub struct Origination {
    e164: String,
    route: Route,
}

/// Without the number: this is what stands in logs.
impl std::fmt::Debug for Origination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origination")
            .field("trunk", &self.route.trunk)
            .finish_non_exhaustive()
    }
}

impl Allow {
    pub fn originate(self) -> Origination {
        Origination {
            e164: self.e164,
            route: self.route,
        }
    }
}

impl Origination {
    pub fn e164(&self) -> &str {
        &self.e164
    }

    pub fn route(&self) -> &Route {
        &self.route
    }
}

/// One rule that speaks against the dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub rule: Rule,
    /// When the rule alone would let go; `None`: not by the passing of time.
    pub until: Option<UtcMs>,
    pub detail: String,
}

/// Every rule that speaks against the dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deny {
    pub refusals: Vec<Refusal>,
    /// The first moment at which all of them let go, inside calling hours.
    pub earliest: Option<UtcMs>,
}

impl Deny {
    pub fn rules(&self) -> Vec<Rule> {
        self.refusals.iter().map(|it| it.rule).collect()
    }
}

/// May this phone be called now? All rules are asked, so that `explain` can name all of them.
pub fn may_dial(question: &Question) -> Verdict {
    let mut desk = Desk {
        now: question.now,
        refusals: Vec::new(),
        evidence: String::new(),
    };
    ask_campaign(&mut desk, question);
    ask_lead(&mut desk, question);
    ask_phone(&mut desk, question);
    ask_hours(&mut desk, question);
    ask_caps(&mut desk, question);
    let route = question.route.clone();
    match route {
        Some(route) if desk.refusals.is_empty() => {
            desk.note("route", &format!("{} as {}", route.trunk, route.caller_id));
            Verdict::Allow(Allow {
                phone: question.phone.id,
                e164: question.phone.e164.clone(),
                route,
                evidence: desk.evidence,
                _gate: Gate,
            })
        }
        route => {
            if route.is_none() {
                desk.refuse(Rule::NoRoute, None, "no trunk with a caller ID".to_owned());
            }
            let earliest = earliest(&desk.refusals, question);
            Verdict::Deny(Deny {
                refusals: desk.refusals,
                earliest,
            })
        }
    }
}

/// Where the rules put down what they saw.
struct Desk {
    now: UtcMs,
    refusals: Vec<Refusal>,
    evidence: String,
}

impl Desk {
    fn note(&mut self, rule: &str, input: &str) {
        let _ = writeln!(self.evidence, "{rule}: {input}"); // Writing to a String cannot fail.
    }

    fn refuse(&mut self, rule: Rule, until: Option<UtcMs>, detail: String) {
        self.refusals.push(Refusal {
            rule,
            until,
            detail,
        });
    }

    /// Refuses while `until` lies ahead.
    fn wait(&mut self, rule: Rule, until: Option<UtcMs>) {
        if let Some(until) = until.filter(|it| *it > self.now) {
            self.refuse(rule, Some(until), String::new());
        }
    }
}

fn ask_campaign(desk: &mut Desk, question: &Question) {
    let campaign = question.campaign;
    if !campaign.running {
        desk.refuse(Rule::CampaignStopped, None, campaign.id.to_string());
    }
    if !question.list_is_active {
        desk.refuse(Rule::ListInactive, None, String::new());
    }
    desk.note(
        "campaign",
        &format!("{} running, rules {}", campaign.id, campaign.config_version),
    );
    desk.note("list", "active");
}

fn ask_lead(desk: &mut Desk, question: &Question) {
    let lead = &question.lead;
    match (question.stage, &lead.state) {
        (Stage::Reservation, LeadState::Ready)
        | (Stage::Invite, LeadState::Reserved)
        | (Stage::Failover, LeadState::Dialing) => {}
        (Stage::Reservation, LeadState::Waiting { not_before, .. }) => {
            desk.wait(Rule::NotBefore, Some(*not_before));
        }
        (_, state) => desk.refuse(Rule::LeadState, None, state.name().to_owned()),
    }
    if question.stage == Stage::Reservation {
        desk.wait(Rule::CoolDown, lead.cool_until);
        desk.wait(Rule::KeptFromAgent, lead.kept_from_agent_until);
    }
    desk.note("lead", lead.state.name());
}

fn ask_phone(desk: &mut Desk, question: &Question) {
    let phone = &question.phone;
    match phone.status {
        PhoneStatus::Ok => {}
        PhoneStatus::Bad => desk.refuse(Rule::PhoneBad, None, String::new()),
        PhoneStatus::Suppressed => desk.refuse(Rule::Suppressed, None, String::new()),
    }
    if phone.is_done {
        desk.refuse(Rule::PhoneDone, None, String::new());
    }
    desk.wait(Rule::PhoneNotBefore, phone.not_before);
    desk.note("phone", &format!("{} valid, not suppressed", phone.id));
}

fn ask_hours(desk: &mut Desk, question: &Question) {
    let (window, zones) = (&question.campaign.hours, &question.phone.zones);
    if zones.is_empty() {
        desk.refuse(Rule::NoTimeZone, None, String::new());
    } else if !window.is_open(question.now, zones) {
        let until = window.next_open(question.now, zones);
        desk.refuse(Rule::OutsideHours, until, window.describe());
    }
    for zone in zones {
        let local = hours::local(question.now, zone)
            .map(|it| it.to_string())
            .unwrap_or_default();
        let name = zone.iana_name().unwrap_or("unnamed");
        desk.note(
            "hours",
            &format!("{} {name}, there {local}", window.describe()),
        );
    }
}

fn ask_caps(desk: &mut Desk, question: &Question) {
    let (history, campaign) = (&question.history, question.campaign);
    for (whose, times, life) in [
        ("number", &history.number, history.number_life),
        ("contact", &history.contact, history.contact_life),
    ] {
        ask_caps_of(desk, campaign, whose, times, life);
    }
    if question.stage == Stage::Failover {
        return;
    }
    let gap = Duration::from_millis(campaign.gap_ms_min);
    desk.wait(Rule::Gap, history.number_last.map(|last| last.plus(gap)));
    if history.is_live {
        desk.refuse(Rule::LiveAttempt, None, String::new());
    }
    desk.note(
        "gap",
        &format!("{} ms, no live attempt", campaign.gap_ms_min),
    );
}

fn ask_caps_of(desk: &mut Desk, campaign: &Campaign, whose: &str, times: &[UtcMs], life: u32) {
    let caps = campaign.caps;
    for (rule, cap, span_ms) in [
        (Rule::CapDay, caps.day, DAY_MS),
        (Rule::CapWeek, caps.week, 7 * DAY_MS),
    ] {
        let used = times
            .iter()
            .filter(|at| desk.now.ms_since(**at) < span_ms)
            .count();
        let cap_count = usize::try_from(cap).unwrap_or(usize::MAX);
        if used >= cap_count {
            // The cap-th newest must leave the span before one more fits in.
            let blocking = cap_count.checked_sub(1).and_then(|nth| times.get(nth));
            let until = blocking.map(|at| at.plus(Duration::from_millis(span_ms)));
            desk.refuse(rule, until, format!("{whose} {used}/{cap}"));
        }
        desk.note(rule.name(), &format!("{whose} {used}/{cap}"));
    }
    if life >= caps.life {
        desk.refuse(Rule::CapLife, None, format!("{whose} {life}/{}", caps.life));
    }
    desk.note(
        Rule::CapLife.name(),
        &format!("{whose} {life}/{}", caps.life),
    );
}

fn earliest(refusals: &[Refusal], question: &Question) -> Option<UtcMs> {
    let mut at = question.now;
    for refusal in refusals {
        at = at.max(refusal.until?);
    }
    question.campaign.hours.next_open(at, &question.phone.zones)
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
