use super::*;
use crate::dialer::gate::Rule;
use crate::dialer::reservation::Phase;
use crate::store::fact::RecordingState;

#[test]
fn a_click_repeated_dials_once() {
    let mut house = House::new(rows(1));
    let card = house.card("a");
    let phone = card.suggested.unwrap();
    let Fact::Begun {
        attempt,
        lead,
        origination,
    } = house.begin(&card, phone, "click")
    else {
        panic!("not begun")
    };
    assert_eq!(origination.e164(), "+8613800130001");
    assert_eq!(house.lead(1).state, LeadState::Dialing);
    match house.begin(&card, phone, "click") {
        Fact::AlreadyBegun { attempt: same, .. } => assert_eq!(same, attempt),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        house.begin(&card, phone, "second"),
        Fact::Refused { .. }
    ));
    assert_eq!(house.count("SELECT count(*) FROM attempts"), 1);
    let evidence = house.db.view(house.now).evidence(attempt).unwrap().unwrap();
    assert!(evidence.contains("rules v1"), "{evidence}");
    assert_eq!(lead, LeadId(1));
}

#[test]
fn one_number_is_never_in_two_calls() {
    let number = "+8613800130001";
    let mut house = House::new(vec![row(1, &[number]), row(2, &[number])]);
    let first = house.card("a");
    let second = house.card("b");
    house.dial(&first);
    let key = house.key();
    match house.begin(&second, PhoneId(2), &key) {
        Fact::Denied { rules, .. } => {
            assert_eq!(rules, [Rule::Gap, Rule::LiveAttempt]);
        }
        other => panic!("{other:?}"),
    }
    let card = house
        .db
        .view(house.now)
        .card_of(&AgentId::new("b"))
        .unwrap()
        .unwrap();
    assert_eq!(
        card.phase,
        Phase::Preview,
        "a denied dial leaves the card where it was"
    );
}

#[test]
fn the_gate_asks_again_at_the_invite() {
    let mut house = House::new(rows(1));
    house.now = utc("2026-11-23T11:59:00Z");
    let card = house.card("a");
    // It is eight in the evening by now.
    house.minutes(1);
    let (key, phone) = (house.key(), card.suggested.unwrap());
    match house.begin(&card, phone, &key) {
        Fact::Denied { rules, earliest } => {
            assert_eq!(rules, [Rule::OutsideHours]);
            assert_eq!(earliest, Some(utc("2026-11-24T01:00:00Z")));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_route_the_campaign_does_not_have_is_no_route() {
    let mut house = House::new(rows(1));
    let card = house.card("a");
    let fact = house.tell(Command::BeginAttempt {
        token: card.token,
        agent: card.agent.clone(),
        key: "k".into(),
        attempt: AttemptId(uuid::Uuid::from_u128(99)),
        phone: card.suggested.unwrap(),
        trunk: TrunkId::new("premium"),
        caller_id: "+1900".into(),
        dialog: String::new(),
    });
    assert!(matches!(fact, Fact::Denied { rules, .. } if rules == [Rule::NoRoute]));
}

#[test]
fn the_times_and_the_recording_of_a_call_are_kept() {
    let mut house = House::new(rows(1));
    let card = house.card("a");
    let attempt = house.talk(&card);
    house.tell(Command::RecordingStarted {
        attempt,
        path: "2026/11/23/x.wav".into(),
    });
    let view = house.attempt(attempt);
    assert_eq!(
        view.recording,
        RecordingState::Running {
            path: "2026/11/23/x.wav".into()
        }
    );
    let done = Command::RecordingDone {
        attempt,
        path: "2026/11/23/x.wav".into(),
        duration_ms: 60_000,
        bytes: 960_044,
        sha256: Some("ab".into()),
    };
    house.tell(done);
    house.tell(Command::RecordingFailed {
        attempt,
        why: "late".into(),
    });
    let view = house.attempt(attempt);
    assert_eq!((view.ring_ms, view.talk_ms), (Some(5_000), Some(60_000)));
    assert!(matches!(
        view.recording,
        RecordingState::Done {
            duration_ms: 60_000,
            ..
        }
    ));
    let path = house.db.view(house.now).recording_path(attempt).unwrap();
    assert_eq!(path.as_deref(), Some("2026/11/23/x.wav"));
    let lead = house.lead(1);
    assert_eq!((lead.business_count, lead.regulatory_count), (1, 1));
    let events = house.db.view(house.now).events_since(0, 100).unwrap();
    let kinds: Vec<_> = events.iter().map(|it| it.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "leads.imported",
            "lead.reserved",
            "attempt.begun",
            "attempt.invited",
            "attempt.alerting",
            "attempt.answered",
            "attempt.bridged",
            "attempt.ended",
            "recording.started",
            "recording.done"
        ]
    );
    let after = house
        .db
        .view(house.now)
        .events_since(events[8].seq, 100)
        .unwrap();
    assert_eq!(after, events[9..]);
}

#[test]
fn another_trunk_inside_the_same_attempt_is_gated_again() {
    let mut two_ways = demo();
    two_ways.routes.push(Route {
        trunk: TrunkId::new("u"),
        caller_id: "+86200".to_owned(),
    });
    let mut house = House::with(vec![two_ways], rows(1));
    let card = house.card("a");
    let attempt = house.dial(&card);
    let over = |trunk: &str| Command::FailOver {
        attempt,
        trunk: TrunkId::new(trunk),
        caller_id: "+86200".to_owned(),
        dialog: "second".to_owned(),
    };
    match house.tell(over("u")) {
        Fact::FailedOver {
            attempt: same,
            origination,
        } => {
            assert_eq!(same, attempt);
            assert_eq!(origination.route().trunk, TrunkId::new("u"));
            assert_eq!(origination.e164(), "+8613800130001");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(house.attempt(attempt).trunk, "u");
    let evidence = house.db.view(house.now).evidence(attempt).unwrap().unwrap();
    assert!(
        evidence.contains("t as +86100") && evidence.contains("u as +86200"),
        "{evidence}"
    );
    assert!(
        matches!(house.tell(over("t")), Fact::Denied { rules, .. } if rules == [Rule::NoRoute])
    );
    house.minutes(600);
    let denied = house.tell(over("u"));
    assert!(matches!(denied, Fact::Denied { rules, .. } if rules == [Rule::OutsideHours]));
    house.step(attempt, AttemptStep::Answered { dialog: "d".into() });
    let refused = house.tell(over("u"));
    assert!(matches!(refused, Fact::Denied { rules, .. } if rules.contains(&Rule::LeadState)));
    house.finish(attempt, CallResult::Connected);
    assert!(matches!(house.tell(over("u")), Fact::Stepped), "too late");
}
