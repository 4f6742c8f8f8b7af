use super::*;
use crate::dialer::gate::Rule;
use crate::dialer::lead::{CloseReason, SuppressReason, WaitKind};

fn retry_at(not_before: UtcMs) -> LeadState {
    LeadState::Waiting {
        not_before,
        kind: WaitKind::Retry,
    }
}

#[test]
fn an_unanswered_call_accepts_its_result() {
    let mut house = House::new(rows(1));
    let state = house.fail("a", CallResult::Busy);
    assert_eq!(state, retry_at(house.now.plus(Duration::from_secs(600))));
    let lead = house.lead(1);
    // Busy without 18x has alerted nobody.
    assert_eq!((lead.business_count, lead.regulatory_count), (1, 0));
    assert!(matches!(house.ask("a"), Fact::NothingToDial(_)));
    house.minutes(10);
    house.fail("a", CallResult::Busy);
    assert_eq!(house.lead(1).business_count, 1, "a series counts once");
}

#[test]
fn a_lead_goes_through_the_states_of_a_call() {
    let mut house = House::new(rows(1));
    let card = house.card("a");
    let attempt = house.dial(&card);
    assert_eq!(house.lead(1).state, LeadState::Dialing);
    house.step(attempt, AttemptStep::Answered { dialog: "d".into() });
    assert_eq!(house.lead(1).state, LeadState::Connected);
    let finished = house.finish(attempt, CallResult::Connected);
    assert!(finished.is_answered);
    assert_eq!(
        finished.wrap_up_until,
        Some(house.now.plus(Duration::from_secs(30)))
    );
    assert_eq!(house.lead(1).state, LeadState::WrapUp);
    assert_eq!(
        house.dispose(&card, Some("sale")),
        LeadState::Closed(CloseReason::Completed)
    );
    assert!(matches!(house.ask("a"), Fact::NothingToDial(_)));
}

#[test]
fn a_second_finish_changes_nothing() {
    let mut house = House::new(rows(1));
    let card = house.card("a");
    let attempt = house.dial(&card);
    house.step(attempt, AttemptStep::Invited);
    house.finish(attempt, CallResult::NoAnswer);
    let again = house.finish(attempt, CallResult::Connected);
    assert_eq!(again.result, CallResult::NoAnswer);
    assert_eq!(house.lead(1).business_count, 1);
    house.step(
        attempt,
        AttemptStep::Answered {
            dialog: "late".into(),
        },
    );
    assert_eq!(house.attempt(attempt).answered_at, None);
    assert_eq!(house.lead(1).state, LeadState::WrapUp);
}

#[test]
fn an_answered_call_nobody_speaks_of_stays_undialed_in_the_agents_list() {
    let mut house = House::new(rows(2));
    let card = house.card("a");
    house.talk(&card);
    assert_eq!(house.dispose(&card, None), LeadState::WrapUp);
    // The agent is free for another card meanwhile.
    assert_eq!(house.card("a").lead.lead, LeadId(2));
    let list = house.db.view(house.now).wrap_ups(&card.agent).unwrap();
    assert_eq!(
        list.iter().map(|it| it.lead.lead).collect::<Vec<_>>(),
        [LeadId(1)]
    );
    house.minutes(3 * 24 * 60);
    let state = house.dispose(&card, Some("not_interested"));
    assert_eq!(state, LeadState::Closed(CloseReason::Completed));
    assert!(
        house
            .db
            .view(house.now)
            .wrap_ups(&card.agent)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn an_incomplete_answer_is_refused_and_may_be_mended() {
    let mut house = House::new(rows(1));
    let card = house.card("a");
    house.talk(&card);
    for (disposition, rule) in [
        ("callback", "callback_time_missing"),
        ("nonsense", "unknown_disposition"),
    ] {
        let command = house.dispose_command(&card, Some(disposition), None);
        match house.tell(command) {
            Fact::Refused { rule: refused, .. } => assert_eq!(refused, rule),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(house.count("SELECT count(*) FROM outcomes"), 0);
    house.dispose(&card, Some("sale"));
}

#[test]
fn a_card_that_is_not_in_wrap_up_cannot_be_disposed() {
    let mut house = House::new(rows(1));
    let card = house.card("a");
    let command = house.dispose_command(&card, Some("sale"), None);
    assert!(matches!(
        house.tell(command),
        Fact::Refused {
            rule: "wrong_state",
            ..
        }
    ));
    house.dial(&card);
    let command = house.dispose_command(&card, Some("sale"), None);
    assert!(matches!(
        house.tell(command),
        Fact::Refused {
            rule: "wrong_state",
            ..
        }
    ));
}

/// One talk with a contact of two numbers, disposed so.
fn said(disposition: &str) -> (House, LeadState) {
    let mut house = House::new(vec![row(1, &["+8613800130001", "+8613800130002"])]);
    let card = house.card("a");
    assert_eq!(card.suggested, Some(PhoneId(1)));
    house.talk(&card);
    let due = house.now.plus(Duration::from_secs(3_600));
    let command = house.dispose_command(&card, Some(disposition), Some(due));
    match house.tell(command) {
        Fact::Disposed { state, .. } => (house, state),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_dispositions_action_has_its_effect() {
    let hour = Duration::from_secs(3_600);
    let (house, state) = said("callback_any");
    let expected = LeadState::Waiting {
        not_before: house.now.plus(hour),
        kind: WaitKind::CallbackAny,
    };
    assert_eq!(state, expected);
    let (house, state) = said("not_now");
    assert_eq!(state, retry_at(house.now.plus(2 * hour)));
    // The other number is left in these three.
    for disposition in ["number_done", "wrong_number", "dnc_number"] {
        let (mut house, state) = said(disposition);
        assert_eq!(state, retry_at(house.now), "{disposition}");
        assert_eq!(house.card("a").suggested, Some(PhoneId(2)), "{disposition}");
    }
    let (house, state) = said("dnc");
    assert_eq!(state, LeadState::Suppressed(SuppressReason::Dnc));
    assert_eq!(house.count("SELECT count(*) FROM suppressions"), 3);
    let (house, _) = said("wrong_number");
    assert_eq!(
        house
            .lead(1)
            .phones
            .iter()
            .filter(|it| it.refusals == [Rule::PhoneBad])
            .count(),
        1
    );
}

#[test]
fn a_retry_by_disposition_ends_after_its_most() {
    let mut house = House::new(rows(1));
    let mut days = 0;
    loop {
        let card = house.card("a");
        house.talk(&card);
        let state = house.dispose(&card, Some("interested"));
        days += 1;
        if state == LeadState::Closed(CloseReason::MaxAttempts) {
            break;
        }
        house.minutes(24 * 60);
    }
    assert_eq!(days, 4, "three retries after the first");
}

#[test]
fn a_disposition_on_an_unanswered_call_goes_before_the_retry_but_not_the_phones_fate() {
    let mut house = House::new(vec![row(1, &["+8613800130001", "+8613800130002"])]);
    let card = house.card("a");
    let attempt = house.dial(&card);
    house.tell(Command::Finish {
        attempt,
        result: CallResult::InvalidNumber,
        status: Some(410),
        q850: None,
        ended_by: EndedBy::Network,
        spans: Spans::default(),
    });
    assert!(matches!(
        house.dispose(&card, Some("not_now")),
        LeadState::Waiting { .. }
    ));
    let bad = house
        .lead(1)
        .phones
        .into_iter()
        .find(|it| it.id == PhoneId(1))
        .unwrap();
    assert!(bad.refusals.contains(&Rule::PhoneBad));
}

#[test]
fn the_day_cap_holds_over_campaigns_and_contacts() {
    let mut other = demo();
    other.id = CampaignId::new("other");
    let mut house = House::with(vec![demo(), other], rows(1));
    house.import("other", vec![row(77, &["+8613800130001"])]);
    for campaign in ["demo", "other", "demo"] {
        let campaigns = vec![CampaignId::new(campaign)];
        let agent = AgentId::new("a");
        let card = match house.tell(Command::ReserveNext { agent, campaigns }) {
            Fact::Reserved(card) => *card,
            other => panic!("{campaign} {other:?}"),
        };
        house.talk(&card);
        house.dispose(&card, Some("not_now"));
        house.minutes(121);
    }
    match house.ask("a") {
        Fact::NothingToDial(nothing) => assert_eq!(nothing.counts, [(Rule::CapDay, 1)]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_worn_out_lead_is_closed_when_it_is_met() {
    let mut worn = demo();
    worn.caps.life = 1;
    let mut house = House::with(vec![worn], rows(1));
    house.import("other", vec![]);
    let card = house.card("a");
    house.talk(&card);
    house.dispose(&card, Some("not_now"));
    house.minutes(121);
    match house.ask("a") {
        Fact::NothingToDial(nothing) => assert_eq!(nothing.counts, [(Rule::CapLife, 1)]),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        house.lead(1).state,
        LeadState::Closed(CloseReason::MaxAttempts)
    );
}

#[test]
fn an_export_has_the_last_result_of_every_lead() {
    let mut house = House::new(rows(2));
    house.fail("a", CallResult::NoAnswer);
    let rows = house
        .db
        .view(house.now)
        .export(&CampaignId::new("demo"))
        .unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].result, "no_answer");
    assert_eq!(
        (rows[0].state.as_str(), rows[1].state.as_str()),
        ("waiting", "ready")
    );
    assert_eq!(rows[0].fields, [("product".to_owned(), "空调".to_owned())]);
    assert_eq!(rows[0].phones, "+8613800130001");
    let dump = house.db.view(house.now).dump(LeadId(1)).unwrap().unwrap();
    assert_eq!(dump["attempts"][0]["result"], "no_answer");
    assert_eq!(dump["reservations"][0]["ended_why"], "disposed");
    let counts = house.db.view(house.now).state_counts().unwrap();
    assert_eq!(counts.iter().map(|it| it.leads).sum::<u64>(), 2);
}
