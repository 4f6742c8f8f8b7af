//! The gate for a number that an agent brings into her call: a consultation or a transfer to the
//! public network. The number need not be anybody's on a list; where it is a contact's, that
//! contact's calling hours hold.

use jiff::tz::TimeZone;

use super::{Deny, Desk, Origination, Rule, Stage};
use crate::dialer::campaign::{Campaign, Route};
use crate::dialer::hours;
use crate::now::UtcMs;

/// Everything the gate looks at.
#[derive(Clone, Debug)]
pub struct ThirdQuestion<'a> {
    pub now: UtcMs,
    /// `Invite`, or `Failover` for a further way of the same leg.
    pub stage: Stage,
    pub campaign: &'a Campaign,
    pub e164: &'a str,
    pub is_suppressed: bool,
    /// A call to the number is on at this moment.
    pub is_live: bool,
    /// The zones of the contact's phone that it is; `None` when it is nobody's on any list.
    pub contact_zones: Option<Vec<TimeZone>>,
    pub route: Option<Route>,
}

/// The gate's answer.
#[derive(Debug)]
pub enum ThirdVerdict {
    Allow {
        origination: Origination,
        /// The rules with their inputs, for the leg's file.
        evidence: String,
    },
    Deny(Deny),
}

/// May this number be brought in now? All rules are asked.
pub fn may_bring_in(question: &ThirdQuestion) -> ThirdVerdict {
    let mut desk = Desk {
        now: question.now,
        refusals: Vec::new(),
        evidence: String::new(),
    };
    let campaign = question.campaign;
    let version = &campaign.config_version;
    desk.note("campaign", &format!("{}, rules {version}", campaign.id));
    if question.is_suppressed {
        desk.refuse(Rule::Suppressed, None, String::new());
    }
    desk.note("phone", "not suppressed");
    if question.stage != Stage::Failover {
        if question.is_live {
            desk.refuse(Rule::LiveAttempt, None, String::new());
        }
        desk.note("live", "no call to the number");
    }
    ask_hours(&mut desk, question);
    match (&question.route, desk.refusals.is_empty()) {
        (Some(route), true) => {
            desk.note("route", &format!("{} as {}", route.trunk, route.caller_id));
            ThirdVerdict::Allow {
                origination: Origination {
                    e164: question.e164.to_owned(),
                    route: route.clone(),
                },
                evidence: desk.evidence,
            }
        }
        (route, _) => {
            if route.is_none() {
                desk.refuse(Rule::NoRoute, None, "no trunk with a caller ID".to_owned());
            }
            ThirdVerdict::Deny(deny(desk, question))
        }
    }
}

fn ask_hours(desk: &mut Desk, question: &ThirdQuestion) {
    let Some(zones) = &question.contact_zones else {
        return desk.note("hours", "no contact's phone");
    };
    let window = &question.campaign.hours;
    if zones.is_empty() {
        desk.refuse(Rule::NoTimeZone, None, String::new());
    } else if !window.is_open(question.now, zones) {
        let until = window.next_open(question.now, zones);
        desk.refuse(Rule::OutsideHours, until, window.describe());
    }
    for zone in zones {
        let there = hours::local(question.now, zone);
        let there = there.map(|it| it.to_string()).unwrap_or_default();
        let name = zone.iana_name().unwrap_or("unnamed");
        let input = format!("{} {name}, there {there}", window.describe());
        desk.note("hours", &input);
    }
}

fn deny(desk: Desk, question: &ThirdQuestion) -> Deny {
    let waits = desk.refusals.iter().map(|it| it.until);
    let latest = waits.collect::<Option<Vec<UtcMs>>>();
    let at = latest.and_then(|waits| waits.into_iter().max());
    let zones = question.contact_zones.as_deref().unwrap_or_default();
    let earliest = at.and_then(|at| match zones.is_empty() {
        true => Some(at),
        false => question.campaign.hours.next_open(at, zones),
    });
    Deny {
        refusals: desk.refusals,
        earliest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{CampaignId, TrunkId};

    /// Wednesday 2026-11-18 02:00 UTC: ten in the morning in Shanghai.
    const TEN: UtcMs = UtcMs(1_794_967_200_000);
    const NIGHT: UtcMs = UtcMs(TEN.0 + 14 * 3_600_000);

    fn verdict(change: impl FnOnce(&mut ThirdQuestion)) -> Result<String, Vec<Rule>> {
        let campaign = Campaign::new(CampaignId::new("c"));
        let mut question = ThirdQuestion {
            now: TEN,
            stage: Stage::Invite,
            campaign: &campaign,
            e164: "+862155550100",
            is_suppressed: false,
            is_live: false,
            contact_zones: None,
            route: Some(Route {
                trunk: TrunkId::new("t"),
                caller_id: "+8610".to_owned(),
            }),
        };
        change(&mut question);
        match may_bring_in(&question) {
            ThirdVerdict::Allow {
                origination,
                evidence,
            } => {
                assert_eq!(origination.e164(), "+862155550100");
                Ok(evidence)
            }
            ThirdVerdict::Deny(deny) => Err(deny.rules()),
        }
    }

    #[test]
    fn a_number_of_nobodys_may_be_brought_in_at_any_hour() {
        let evidence = verdict(|question| question.now = NIGHT).expect("allowed");
        assert!(evidence.contains("route: t as +8610"), "{evidence}");
        assert!(
            !evidence.contains("55550100"),
            "the number stands elsewhere"
        );
    }

    #[test]
    fn a_contacts_phone_keeps_its_calling_hours() {
        let zones = || hours::zone("Asia/Shanghai").into_iter().collect();
        assert!(verdict(|question| question.contact_zones = Some(zones())).is_ok());
        let night = verdict(|question| {
            question.contact_zones = Some(zones());
            question.now = NIGHT;
        });
        assert_eq!(night, Err(vec![Rule::OutsideHours]));
        let nowhere = verdict(|question| question.contact_zones = Some(vec![]));
        assert_eq!(nowhere, Err(vec![Rule::NoTimeZone]));
    }

    #[test]
    fn every_rule_that_speaks_against_it_is_named() {
        let denied = verdict(|question| {
            question.is_suppressed = true;
            question.is_live = true;
            question.route = None;
        });
        let rules = vec![Rule::Suppressed, Rule::LiveAttempt, Rule::NoRoute];
        assert_eq!(denied, Err(rules));
    }

    #[test]
    fn a_further_way_is_not_refused_for_the_leg_itself() {
        let again = verdict(|question| {
            question.is_live = true;
            question.stage = Stage::Failover;
        });
        assert!(again.is_ok());
    }
}
