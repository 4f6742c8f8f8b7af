use super::*;
use crate::dialer::lead::{CloseReason, WaitKind};
use crate::store::fact::{OrphanPhase, Recovered};
use crate::store::{INBOUND, Ring, RingEnd};

const KNOWN: &str = "+8613800130001";

fn caller(e164: &str) -> Phone {
    Phone {
        e164: e164.to_owned(),
        kind: PhoneKind::Mobile,
        time_zones: vec!["Asia/Shanghai".to_owned()],
    }
}

fn wish(house: &House, attempt: u128, agent: &str, number: &str) -> Ring {
    Ring {
        attempt: AttemptId(uuid::Uuid::from_u128(attempt)),
        agent: AgentId::new(agent),
        campaigns: vec![CampaignId::new("demo")],
        caller: caller(number),
        trunk: "t".to_owned(),
        called: "+862110000000".to_owned(),
        dialog: String::new(),
        until: house.now.plus(Duration::from_secs(20)),
    }
}

fn ring(house: &mut House, attempt: u128, agent: &str, number: &str) -> Reservation {
    let wish = wish(house, attempt, agent, number);
    match house.tell(Command::RingInbound(Box::new(wish))) {
        Fact::Rung(reservation) => *reservation,
        other => panic!("{other:?}"),
    }
}

fn over(house: &mut House, card: &Reservation, why: RingEnd) {
    let attempt = card.attempt.as_ref().expect("its call").attempt;
    let fact = house.tell(Command::RingOver { attempt, why });
    assert!(matches!(fact, Fact::Released { .. }), "{fact:?}");
}

fn recover(house: &mut House) -> Recovered {
    match house.tell(Command::Recover) {
        Fact::Recovered(recovered) => *recovered,
        other => panic!("{other:?}"),
    }
}

/// Everything of the lead's row but the moment of its last change.
fn whole(house: &House, lead: i64) -> String {
    let columns = "state || '|' || coalesce(not_before, '') || '|' || coalesce(wait_kind, '')
        || '|' || coalesce(owner, '') || '|' || coalesce(reason, '')
        || '|' || coalesce(prior_state, '') || '|' || coalesce(token, '')
        || '|' || business_count || '|' || regulatory_count || '|' || coalesce(prior_over, '')";
    let sql = format!("SELECT {columns} FROM leads WHERE id = ?1");
    let conn = house.db.connection();
    conn.query_row(&sql, [lead], |row| row.get(0)).unwrap()
}

#[test]
fn a_call_nobody_answers_leaves_the_lead_exactly_as_it_was() {
    let mut house = House::new(rows(1));
    let before = whole(&house, 1);
    for (at, why) in [RingEnd::Missed, RingEnd::Declined, RingEnd::Abandoned]
        .into_iter()
        .enumerate()
    {
        let card = ring(&mut house, at as u128 + 1, "a", KNOWN);
        assert_eq!(card.lead.lead, LeadId(1));
        assert!(card.attempt.as_ref().is_some_and(|one| one.is_incoming));
        assert_ne!(whole(&house, 1), before);
        house.minutes(1);
        over(&mut house, &card, why);
        let after = whole(&house, 1);
        assert_eq!(after, before, "{why:?}");
    }
    let said: Vec<_> = house.lead(1).history.iter().map(|it| it.result).collect();
    let expected = [
        CallResult::NoAnswer,
        CallResult::Rejected,
        CallResult::NoAnswer,
    ];
    assert_eq!(said, expected.map(Some));
    assert_eq!(
        house.card("a").lead.lead,
        LeadId(1),
        "may be called at once"
    );
}

#[test]
fn a_closed_lead_may_call_and_is_closed_again_when_nobody_answers() {
    let mut house = House::new(rows(1));
    house
        .db
        .connection()
        .execute(
            "UPDATE leads SET state = 'closed', reason = 'completed'",
            [],
        )
        .unwrap();
    let before = whole(&house, 1);
    let card = ring(&mut house, 1, "a", KNOWN);
    over(&mut house, &card, RingEnd::Missed);
    assert_eq!(whole(&house, 1), before);
    let closed = LeadState::Closed(CloseReason::Completed);
    assert_eq!(house.lead(1).state, closed);
}

#[test]
fn an_unknown_number_makes_a_lead_that_is_not_called_by_itself() {
    let mut house = House::new(vec![]);
    let card = ring(&mut house, 1, "a", "+8613800139999");
    assert_eq!(card.lead.list.as_str(), INBOUND);
    assert_eq!(card.lead.phones[0].e164, "+8613800139999");
    over(&mut house, &card, RingEnd::Abandoned);
    assert_eq!(house.lead(card.lead.lead.0).state, LeadState::Paused);
    assert!(matches!(house.ask("a"), Fact::NothingToDial(_)));
    let again = ring(&mut house, 2, "b", "+8613800139999");
    assert_eq!(again.lead.lead, card.lead.lead, "known from now on");
}

#[test]
fn a_lead_in_another_agents_hand_stays_there_and_the_card_knows_the_number_only() {
    let mut house = House::new(rows(1));
    let held = house.card("a");
    let card = ring(&mut house, 1, "b", KNOWN);
    assert_ne!(card.lead.lead, held.lead.lead);
    assert_eq!(card.lead.name, "");
    assert_eq!(card.lead.phones[0].e164, KNOWN);
    assert_eq!(house.lead(1).state, LeadState::Reserved, "still hers");
}

#[test]
fn a_card_on_its_way_to_the_agent_goes_back_before_she_is_called() {
    let mut house = House::new(rows(2));
    let before = whole(&house, 1);
    let card = house.card("a");
    assert_eq!(card.lead.lead, LeadId(1));
    let called = ring(&mut house, 1, "a", "+8613800130002");
    assert_eq!(called.lead.lead, LeadId(2));
    assert_eq!(house.lead(1).state, LeadState::Ready);
    let state = |text: &str| text.split('|').next().map(str::to_owned);
    assert_eq!(state(&whole(&house, 1)), state(&before));
    let busy = wish(&house, 2, "a", KNOWN);
    let fact = house.tell(Command::RingInbound(Box::new(busy)));
    let refused = matches!(
        fact,
        Fact::Refused {
            rule: "agent_busy",
            ..
        }
    );
    assert!(refused, "{fact:?}");
}

#[test]
fn an_answered_caller_counts_as_no_call_of_ours_and_the_disposition_decides() {
    let mut house = House::new(rows(1));
    let card = ring(&mut house, 1, "a", KNOWN);
    let attempt = card.attempt.as_ref().expect("its call").attempt;
    let dialog = "in".to_owned();
    house.step(attempt, AttemptStep::Answered { dialog });
    assert_eq!(house.lead(1).state, LeadState::Connected);
    let late = house.tell(Command::RingOver {
        attempt,
        why: RingEnd::Missed,
    });
    assert!(matches!(late, Fact::Stepped), "{late:?}");
    house.finish(attempt, CallResult::Connected);
    let lead = house.lead(1);
    assert_eq!(lead.state, LeadState::WrapUp);
    assert_eq!((lead.business_count, lead.regulatory_count), (0, 0));
    let state = house.dispose(&card, Some("sale"));
    assert_eq!(state, LeadState::Closed(CloseReason::Completed));
}

#[test]
fn the_last_agent_is_who_called_the_number_or_talked_with_it_last() {
    let mut house = House::new(rows(1));
    let last = |house: &mut House| {
        let e164 = KNOWN.to_owned();
        match house.tell(Command::LastAgent { e164 }) {
            Fact::LastAgent { agent } => agent.map(|agent| agent.as_str().to_owned()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(last(&mut house), None);
    let card = house.card("a");
    let attempt = house.dial(&card);
    house.finish(attempt, CallResult::Busy);
    house.dispose(&card, None);
    assert_eq!(last(&mut house).as_deref(), Some("a"));
    house.minutes(1);
    let missed = ring(&mut house, 1, "b", KNOWN);
    over(&mut house, &missed, RingEnd::Missed);
    assert_eq!(last(&mut house).as_deref(), Some("a"), "b did not answer");
}

#[test]
fn a_crash_while_a_seat_rings_gives_the_lead_back_and_sends_nothing() {
    let mut house = House::new(rows(1));
    let before = whole(&house, 1);
    ring(&mut house, 1, "a", KNOWN);
    let recovered = recover(&mut house);
    assert!(recovered.orphans.is_empty(), "{recovered:?}");
    assert!(recovered.wrap_ups.is_empty() && recovered.previews.is_empty());
    assert_eq!(whole(&house, 1), before);
}

#[test]
fn a_crash_in_an_answered_call_ends_the_callers_leg_and_keeps_the_card() {
    let mut house = House::new(rows(1));
    let card = ring(&mut house, 1, "a", KNOWN);
    let attempt = card.attempt.as_ref().expect("its call").attempt;
    let dialog = "in".to_owned();
    house.step(attempt, AttemptStep::Answered { dialog });
    let recovered = recover(&mut house);
    assert_eq!(recovered.orphans[0].phase, OrphanPhase::Answered);
    assert_eq!(recovered.orphans[0].dialog, "in");
    assert_eq!(recovered.wrap_ups[0].token, card.token);
    assert_eq!(house.lead(1).state, LeadState::WrapUp);
}

#[test]
fn a_callback_that_was_agreed_survives_a_missed_call() {
    let mut house = House::new(rows(1));
    let due = house.now.plus(Duration::from_secs(3_600));
    house
        .db
        .connection()
        .execute(
            "UPDATE leads SET state = 'waiting', wait_kind = 'callback_personal', owner = 'a',
                not_before = ?1",
            [due],
        )
        .unwrap();
    let card = ring(&mut house, 1, "b", KNOWN);
    over(&mut house, &card, RingEnd::Missed);
    let waiting = LeadState::Waiting {
        not_before: due,
        kind: WaitKind::CallbackPersonal(AgentId::new("a")),
    };
    assert_eq!(house.lead(1).state, waiting);
}
