use super::*;
use crate::dialer::hours::zone;
use crate::dialer::lead::WaitKind;
use crate::id::{AgentId, CampaignId, TrunkId};

const HOUR: i64 = 3_600_000;

fn utc(text: &str) -> UtcMs {
    UtcMs(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

/// Eleven in the morning in Shanghai.
fn noon() -> UtcMs {
    utc("2026-11-23T03:00:00Z")
}

fn campaign() -> Campaign {
    Campaign::new(CampaignId::new("demo"))
}

fn question(campaign: &Campaign) -> Question<'_> {
    Question {
        now: noon(),
        stage: Stage::Reservation,
        campaign,
        list_is_active: true,
        lead: LeadStanding {
            state: LeadState::Ready,
            cool_until: None,
            kept_from_agent_until: None,
        },
        phone: PhoneStanding {
            id: PhoneId(7),
            e164: "+8613800138000".to_owned(),
            status: PhoneStatus::Ok,
            is_done: false,
            not_before: None,
            zones: vec![zone("Asia/Shanghai").unwrap()],
        },
        history: History::default(),
        route: Some(Route {
            trunk: TrunkId::new("t"),
            caller_id: "+861000".to_owned(),
        }),
    }
}

fn denied(question: &Question) -> Deny {
    match may_dial(question) {
        Verdict::Deny(deny) => deny,
        Verdict::Allow(_) => panic!("allowed"),
    }
}

/// The one rule that speaks against a question changed in one thing, and when it lets go.
fn only(change: impl FnOnce(&mut Question)) -> (Rule, Option<UtcMs>) {
    let campaign = campaign();
    let mut question = question(&campaign);
    change(&mut question);
    let deny = denied(&question);
    assert_eq!(deny.refusals.len(), 1, "{deny:?}");
    (deny.refusals[0].rule, deny.earliest)
}

#[test]
fn a_ready_lead_at_eleven_in_the_morning_may_be_called() {
    let campaign = campaign();
    let Verdict::Allow(allow) = may_dial(&question(&campaign)) else {
        panic!("denied")
    };
    for input in [
        "demo running",
        "09:00-20:00 Asia/Shanghai",
        "number 0/3",
        "contact 0/20",
    ] {
        assert!(allow.evidence.contains(input), "{}", allow.evidence);
    }
    assert!(
        !allow.evidence.contains("13800138000"),
        "the number stays out of the evidence"
    );
    let origination = allow.originate();
    assert_eq!(origination.e164(), "+8613800138000");
    assert_eq!(origination.route().caller_id, "+861000");
}

#[test]
fn each_rule_speaks_for_itself() {
    let later = noon().plus(Duration::from_secs(60));
    let waiting = |at| LeadState::Waiting {
        not_before: at,
        kind: WaitKind::Retry,
    };
    assert_eq!(
        only(|q| q.list_is_active = false),
        (Rule::ListInactive, None)
    );
    assert_eq!(
        only(|q| q.lead.state = LeadState::Dialing),
        (Rule::LeadState, None)
    );
    assert_eq!(
        only(|q| q.lead.state = LeadState::Paused),
        (Rule::LeadState, None)
    );
    assert_eq!(
        only(|q| q.lead.state = waiting(later)),
        (Rule::NotBefore, Some(later))
    );
    assert_eq!(
        only(|q| q.lead.cool_until = Some(later)),
        (Rule::CoolDown, Some(later))
    );
    assert_eq!(
        only(|q| q.lead.kept_from_agent_until = Some(later)),
        (Rule::KeptFromAgent, Some(later))
    );
    assert_eq!(
        only(|q| q.phone.status = PhoneStatus::Bad),
        (Rule::PhoneBad, None)
    );
    assert_eq!(
        only(|q| q.phone.status = PhoneStatus::Suppressed),
        (Rule::Suppressed, None)
    );
    assert_eq!(only(|q| q.phone.is_done = true), (Rule::PhoneDone, None));
    assert_eq!(
        only(|q| q.phone.not_before = Some(later)),
        (Rule::PhoneNotBefore, Some(later))
    );
    assert_eq!(only(|q| q.phone.zones.clear()), (Rule::NoTimeZone, None));
    assert_eq!(
        only(|q| q.history.is_live = true),
        (Rule::LiveAttempt, None)
    );
    assert_eq!(
        only(|q| q.history.number_last = Some(noon())),
        (Rule::Gap, Some(later))
    );
    assert_eq!(only(|q| q.route = None), (Rule::NoRoute, None));
    assert_eq!(only(|q| q.history.contact_life = 20), (Rule::CapLife, None));
    let stopped = Campaign {
        running: false,
        ..campaign()
    };
    assert_eq!(denied(&question(&stopped)).rules(), [Rule::CampaignStopped]);
}

#[test]
fn a_wait_that_is_over_is_no_wait() {
    let campaign = campaign();
    let mut question = question(&campaign);
    question.lead.state = LeadState::Waiting {
        not_before: noon(),
        kind: WaitKind::CallbackAny,
    };
    question.lead.cool_until = Some(noon());
    question.phone.not_before = Some(noon());
    assert!(matches!(may_dial(&question), Verdict::Allow(_)));
}

#[test]
fn at_the_invite_the_lead_must_be_reserved_and_its_cool_down_no_longer_matters() {
    let campaign = campaign();
    let mut question = question(&campaign);
    question.stage = Stage::Invite;
    assert_eq!(denied(&question).rules(), [Rule::LeadState]);
    question.lead.state = LeadState::Reserved;
    question.lead.cool_until = Some(UtcMs(i64::MAX));
    assert!(matches!(may_dial(&question), Verdict::Allow(_)));
}

#[test]
fn outside_hours_the_earliest_is_tomorrow_at_nine() {
    let night = utc("2026-11-23T14:00:00Z");
    let (rule, earliest) = only(|q| q.now = night);
    assert_eq!(
        (rule, earliest),
        (Rule::OutsideHours, Some(utc("2026-11-24T01:00:00Z")))
    );
}

#[test]
fn the_day_and_week_caps_let_go_when_the_oldest_attempt_leaves_the_span() {
    let ago = |hours: i64| UtcMs(noon().0 - hours * HOUR);
    let three = vec![ago(1), ago(5), ago(20)];
    let (rule, earliest) = only(|q| q.history.number = three.clone());
    assert_eq!(rule, Rule::CapDay);
    // 20 hours ago leaves in 4 hours: 15:00 in Shanghai.
    assert_eq!(earliest, Some(UtcMs(noon().0 + 4 * HOUR)));
    let (rule, _) = only(|q| q.history.contact = three);
    assert_eq!(rule, Rule::CapDay);
    let week: Vec<_> = (0..7).map(|n| ago(25 + n * 20)).collect();
    let (rule, earliest) = only(|q| q.history.number = week);
    assert_eq!(
        (rule, earliest),
        (Rule::CapWeek, Some(UtcMs(noon().0 + 23 * HOUR)))
    );
}

#[test]
fn the_earliest_moment_honours_every_rule_and_the_hours_after_it() {
    let campaign = campaign();
    let mut question = question(&campaign);
    // The wait ends at 21:00 in Shanghai: the first moment is nine the next morning.
    question.phone.not_before = Some(utc("2026-11-23T13:00:00Z"));
    question.lead.cool_until = Some(utc("2026-11-23T04:00:00Z"));
    let deny = denied(&question);
    assert_eq!(deny.rules(), [Rule::CoolDown, Rule::PhoneNotBefore]);
    assert_eq!(deny.earliest, Some(utc("2026-11-24T01:00:00Z")));
    question.phone.status = PhoneStatus::Bad;
    assert_eq!(
        denied(&question).earliest,
        None,
        "time does not mend a bad number"
    );
}

#[test]
fn every_other_states_lead_is_refused_at_both_stages() {
    let campaign = campaign();
    let owner = AgentId::new("me");
    let personal = LeadState::Waiting {
        not_before: UtcMs(0),
        kind: WaitKind::CallbackPersonal(owner),
    };
    for (state, at_reservation, at_invite) in [
        (LeadState::Ready, true, false),
        (personal, true, false),
        (LeadState::Reserved, false, true),
        (LeadState::WrapUp, false, false),
        (LeadState::Connected, false, false),
        (
            LeadState::Closed(crate::dialer::lead::CloseReason::Completed),
            false,
            false,
        ),
    ] {
        for (stage, allowed) in [
            (Stage::Reservation, at_reservation),
            (Stage::Invite, at_invite),
        ] {
            let mut question = question(&campaign);
            question.stage = stage;
            question.lead.state = state.clone();
            let is_allowed = matches!(may_dial(&question), Verdict::Allow(_));
            assert_eq!(is_allowed, allowed, "{state:?} {stage:?}");
        }
    }
}
