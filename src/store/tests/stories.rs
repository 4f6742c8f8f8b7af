use super::*;
use crate::dialer::gate::Rule;
use crate::dialer::lead::{SuppressReason, WaitKind};
use crate::dialer::reservation::{Phase, ReleaseReason};

#[test]
fn an_import_makes_leads_once() {
    let mut house = House::new(rows(3));
    match house.import("demo", rows(4)) {
        Fact::Imported {
            leads,
            contacts,
            duplicates,
        } => {
            assert_eq!((leads, contacts, duplicates), (1, 1, 3));
        }
        other => panic!("{other:?}"),
    }
    // The same people in a second campaign: new leads, no new contacts.
    match house.import("other", rows(4)) {
        Fact::Imported {
            leads,
            contacts,
            duplicates,
        } => {
            assert_eq!((leads, contacts, duplicates), (4, 0, 0));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_card_shows_the_lead_its_phones_and_its_past() {
    let mut house = House::new(vec![row(1, &["+8613800130001", "+8613800130002"])]);
    assert!(matches!(
        house.fail("a", CallResult::NoAnswer),
        LeadState::Waiting { .. }
    ));
    house.minutes(5);
    let card = house.card("b");
    assert_eq!(card.phase, Phase::Preview);
    assert_eq!(card.life.deadline, house.now.plus(Duration::from_secs(120)));
    assert_eq!(card.lead.name, "Lead 1");
    assert_eq!(card.lead.external_id.as_deref(), Some("L0001"));
    assert_eq!(
        card.lead.fields,
        [("product".to_owned(), "空调".to_owned())]
    );
    assert_eq!(card.lead.state, LeadState::Reserved);
    assert!(matches!(card.lead.prior, Some(LeadState::Waiting { .. })));
    assert_eq!(card.lead.history.len(), 1);
    assert_eq!(card.lead.history[0].result, Some(CallResult::NoAnswer));
    assert_eq!(card.lead.history[0].notes.as_deref(), Some("as said"));
    // The other number goes first; the one that did not answer says why it cannot be dialed.
    assert_eq!(card.suggested, Some(PhoneId(2)));
    let first = card
        .lead
        .phones
        .iter()
        .find(|it| it.id == PhoneId(1))
        .unwrap();
    assert_eq!(first.refusals, [Rule::PhoneNotBefore]);
}

#[test]
fn asking_again_gives_the_same_card() {
    let mut house = House::new(rows(5));
    let first = house.card("a");
    assert_eq!(house.card("a"), first);
    house.dial(&first);
    assert!(matches!(
        house.ask("a"),
        Fact::Refused {
            rule: "agent_busy",
            ..
        }
    ));
}

#[test]
fn a_released_lead_is_exactly_what_it_was() {
    for why in [
        ReleaseReason::Reject,
        ReleaseReason::Cancel,
        ReleaseReason::AgentLost,
    ] {
        for prior in ["ready", "retry", "personal", "any"] {
            let mut house = House::new(rows(1));
            put(&mut house, prior);
            let before = raw(&house);
            let card = house.card("me");
            assert_ne!(raw(&house), before);
            let release = Command::Release {
                token: card.token,
                agent: card.agent,
                why,
            };
            assert!(matches!(
                house.tell(release),
                Fact::Released {
                    lead: LeadId(1),
                    ..
                }
            ));
            assert_eq!(raw(&house), before, "{prior} {why:?}");
            assert!(
                token_of(&house.ask("me")).unwrap() > card.token,
                "the fence only grows"
            );
        }
    }
}

/// Brings lead 1 into a state from which it can be reserved.
fn put(house: &mut House, prior: &str) {
    if prior == "ready" {
        return;
    }
    let card = house.card("me");
    house.talk(&card);
    let due = house.now.plus(Duration::from_secs(3_600));
    let disposition = match prior {
        "retry" => "not_now",
        "personal" => "callback",
        _ => "callback_any",
    };
    let command = house.dispose_command(&card, Some(disposition), Some(due));
    assert!(matches!(house.tell(command), Fact::Disposed { .. }));
    house.minutes(150);
}

fn raw(house: &House) -> String {
    house
        .db
        .connection()
        .query_row(
            "SELECT concat_ws('|', state, not_before, wait_kind, ifnull(owner, '-'),
                ifnull(reason, '-'), ifnull(prior_state, '-'), priority, business_count,
                regulatory_count, ifnull(cool_until, '-')) FROM leads WHERE id = 1",
            [],
            |row| row.get(0),
        )
        .unwrap()
}

#[test]
fn a_skipped_lead_cools_down_and_is_not_offered_to_the_same_agent_for_a_day() {
    let mut house = House::new(rows(1));
    let card = house.card("a");
    assert!(matches!(
        house.tell(skip(&card, "k")),
        Fact::Released { .. }
    ));
    assert_eq!(house.lead(1).state, LeadState::Ready);
    let cooled = house.now.plus(Duration::from_secs(15 * 60));
    match house.ask("b") {
        Fact::NothingToDial(nothing) => {
            assert_eq!(nothing.counts, [(Rule::CoolDown, 1)]);
            assert_eq!(nothing.earliest, Some(cooled));
        }
        other => panic!("{other:?}"),
    }
    house.minutes(15);
    match house.ask("a") {
        Fact::NothingToDial(nothing) => assert_eq!(nothing.counts, [(Rule::KeptFromAgent, 1)]),
        other => panic!("{other:?}"),
    }
    let card = house.card("b");
    house.tell(Command::Release {
        token: card.token,
        agent: card.agent,
        why: ReleaseReason::Reject,
    });
    house.minutes(24 * 60);
    assert_eq!(house.card("a").lead.lead, LeadId(1));
}

#[test]
fn a_repeated_key_gets_the_first_answer_and_a_used_one_is_refused() {
    let mut house = House::new(rows(2));
    let card = house.card("a");
    let first = house.tell(skip(&card, "k"));
    let events = house.count("SELECT count(*) FROM events");
    let again = house.tell(skip(&card, "k"));
    assert_eq!(format!("{first:?}"), format!("{again:?}"));
    assert_eq!(house.count("SELECT count(*) FROM events"), events);
    assert!(matches!(
        house.tell(skip(&card, "other")),
        Fact::Stale { owner: None }
    ));
    let next = house.card("a");
    let fact = house.begin(&next, next.suggested.unwrap(), "k");
    assert!(matches!(
        fact,
        Fact::Refused {
            rule: "key_reused",
            ..
        }
    ));
}

#[test]
fn a_stale_token_gets_the_present_owner() {
    let mut house = House::new(rows(1));
    let old = house.card("a");
    house.later(Duration::from_secs(130));
    match house.tell(Command::ExpireReservations) {
        Fact::Expired { released, next } => {
            assert_eq!(released.len(), 1);
            assert_eq!(released[0].agent, AgentId::new("a"));
            assert_eq!(next, None);
        }
        other => panic!("{other:?}"),
    }
    let present = house.card("b");
    assert!(present.token > old.token);
    let owner = |fact: Fact| match fact {
        Fact::Stale { owner } => owner.map(|it| it.to_string()),
        other => panic!("{other:?}"),
    };
    let agent = old.agent.clone();
    assert_eq!(
        owner(house.begin(&old, PhoneId(1), "k1")).as_deref(),
        Some("b")
    );
    assert_eq!(owner(house.tell(skip(&old, "k2"))).as_deref(), Some("b"));
    let extend = Command::Extend {
        token: old.token,
        agent: agent.clone(),
    };
    assert_eq!(owner(house.tell(extend)).as_deref(), Some("b"));
    let suppress = Command::Suppress {
        token: old.token,
        agent: agent.clone(),
        key: "k3".into(),
    };
    assert_eq!(owner(house.tell(suppress)).as_deref(), Some("b"));
    // Another agent's token is of no use either.
    let theft = Command::Extend {
        token: present.token,
        agent,
    };
    assert_eq!(owner(house.tell(theft)).as_deref(), Some("b"));
}

#[test]
fn text_that_comes_too_late_stays_as_a_note() {
    let mut house = House::new(rows(1));
    let card = house.card("a");
    house.talk(&card);
    house.dispose(&card, Some("sale"));
    let late = house.dispose_command(&card, Some("not_interested"), None);
    assert!(matches!(house.tell(late), Fact::Stale { owner: None }));
    assert_eq!(
        house.count("SELECT count(*) FROM outcomes WHERE is_stale = 1"),
        1
    );
    let closed = crate::dialer::lead::CloseReason::Completed;
    assert_eq!(house.lead(1).state, LeadState::Closed(closed));
    assert_eq!(
        house.lead(1).history[0].disposition.as_deref(),
        Some("sale")
    );
}

#[test]
fn a_card_is_extended_twice() {
    let mut house = House::new(rows(1));
    let card = house.card("a");
    let mut left = Vec::new();
    for _ in 0..3 {
        match house.tell(Command::Extend {
            token: card.token,
            agent: card.agent.clone(),
        }) {
            Fact::Extended {
                extensions_left, ..
            } => left.push(Some(extensions_left)),
            Fact::Refused { rule, .. } => {
                assert_eq!(rule, "no_extensions_left");
                left.push(None);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(left, [Some(1), Some(0), None]);
    house.later(Duration::from_secs(240));
    assert!(matches!(
        house.tell(Command::ExpireReservations),
        Fact::Expired { released, next: Some(_) } if released.is_empty()
    ));
}

#[test]
fn do_not_call_from_the_card_holds_for_every_campaign_and_number() {
    let numbers = ["+8613800130001", "+8613800130002"];
    let mut house = House::new(vec![row(1, &numbers)]);
    house.import("other", vec![row(1, &numbers)]);
    let card = house.card("a");
    let suppress = Command::Suppress {
        token: card.token,
        agent: card.agent.clone(),
        key: "k".into(),
    };
    assert!(matches!(house.tell(suppress), Fact::Suppressed { .. }));
    let dnc = LeadState::Suppressed(SuppressReason::Dnc);
    assert_eq!(
        (house.lead(1).state, house.lead(2).state),
        (dnc.clone(), dnc.clone())
    );
    assert_eq!(
        house.count("SELECT count(*) FROM suppressions"),
        3,
        "two numbers and the person"
    );
    // Somebody else with one of the numbers is never offered either.
    house.import("demo", vec![row(9, &["+8613800130002"])]);
    assert!(matches!(house.ask("a"), Fact::NothingToDial(_)));
    assert_eq!(house.lead(3).state, dnc);
}

#[test]
fn nothing_to_dial_says_why_and_until_when() {
    let mut house = House::new(rows(40));
    house.now = utc("2026-11-23T13:00:00Z");
    match house.ask("a") {
        Fact::NothingToDial(nothing) => {
            assert_eq!(nothing.counts, [(Rule::OutsideHours, 40)]);
            assert_eq!(nothing.earliest, Some(utc("2026-11-24T01:00:00Z")));
        }
        other => panic!("{other:?}"),
    }
    let mut stopped = demo();
    stopped.running = false;
    let mut house = House::with(vec![stopped], rows(2));
    match house.ask("a") {
        Fact::NothingToDial(nothing) => {
            assert_eq!(nothing.counts, [(Rule::CampaignStopped, 2)]);
            assert_eq!(nothing.earliest, None);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn due_callbacks_come_first_then_retries_then_new_leads_by_priority() {
    let mut house = House::new(rows(5));
    let due = house.now.plus(Duration::from_secs(3_600));
    let mut dispositions = vec!["callback", "callback_any", "not_now"];
    for agent in ["me", "x", "y"] {
        let card = house.card(agent);
        house.talk(&card);
        let command = house.dispose_command(&card, Some(dispositions.remove(0)), Some(due));
        assert!(matches!(house.tell(command), Fact::Disposed { .. }));
    }
    let mut urgent = row(6, &["+8613800139999"]);
    urgent.priority = 9;
    house.import("demo", vec![urgent]);
    house.minutes(124);
    // Another agent's callback is mine to give only after the grace: it is over by now.
    let order: Vec<_> = ["me", "b", "c", "d", "e"]
        .map(|agent| house.card(agent).lead.lead.0)
        .to_vec();
    assert_eq!(order, [1, 2, 3, 6, 4]);
}

#[test]
fn a_personal_callback_is_its_agents_until_the_grace_is_over() {
    let mut house = House::new(rows(1));
    let card = house.card("me");
    house.talk(&card);
    let due = house.now.plus(Duration::from_secs(3_600));
    let command = house.dispose_command(&card, Some("callback"), Some(due));
    let expected = LeadState::Waiting {
        not_before: due,
        kind: WaitKind::CallbackPersonal(AgentId::new("me")),
    };
    assert!(matches!(house.tell(command), Fact::Disposed { state, .. } if state == expected));
    house.minutes(61);
    match house.ask("other") {
        Fact::NothingToDial(nothing) => assert_eq!(nothing.counts, [(Rule::NotBefore, 1)]),
        other => panic!("{other:?}"),
    }
    let mine = house.card("me");
    house.tell(Command::Release {
        token: mine.token,
        agent: mine.agent,
        why: ReleaseReason::Reject,
    });
    house.minutes(15);
    assert_eq!(house.card("other").lead.lead, LeadId(1));
}

#[test]
fn a_repeated_cancel_gets_the_first_answer_and_takes_no_later_card_away() {
    let mut house = House::new(rows(1));
    let card = house.card("me");
    let cancel = Command::Cancel {
        token: card.token,
        agent: card.agent,
        key: "click".to_owned(),
    };
    let released = |fact| {
        matches!(
            fact,
            Fact::Released {
                lead: LeadId(1),
                ..
            }
        )
    };
    assert!(released(house.tell(cancel.clone())));
    let next = house.card("me");
    assert!(released(house.tell(cancel)), "the first answer again");
    assert_eq!(house.card("me").token, next.token, "her new card stays");
}

#[test]
fn a_session_ends_when_it_is_closed_or_over() {
    let mut house = House::new(vec![]);
    let agent = AgentId::new("a");
    let expires_at = house.now.plus(Duration::from_secs(60));
    let open = Command::SessionOpen {
        token_hash: vec![1; 32],
        agent: agent.clone(),
        expires_at,
    };
    house.tell(open.clone());
    let known = |house: &House| house.db.view(house.now).session(&[1; 32]).unwrap();
    assert_eq!(known(&house), Some(agent));
    house.tell(Command::SessionClose {
        token_hash: vec![1; 32],
    });
    assert_eq!(known(&house), None);
    house.tell(open);
    house.minutes(1);
    assert_eq!(known(&house), None);
}
