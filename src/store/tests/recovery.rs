use super::*;
use crate::dialer::lead::WaitKind;
use crate::store::fact::{OrphanPhase, Recovered};

fn recover(house: &mut House) -> Recovered {
    match house.tell(Command::Recover) {
        Fact::Recovered(recovered) => *recovered,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_crash_while_dialing_is_a_system_failure_once() {
    let mut house = House::new(rows(1));
    let card = house.card("a");
    let attempt = house.dial(&card);
    house.minutes(1);
    let recovered = recover(&mut house);
    let orphan = &recovered.orphans[0];
    assert_eq!(
        (orphan.attempt, orphan.phase),
        (attempt, OrphanPhase::Dialing)
    );
    assert_eq!(
        (orphan.dialog.as_str(), orphan.token),
        ("invited", card.token)
    );
    assert!(recovered.previews.is_empty() && recovered.wrap_ups.is_empty());
    let lead = house.lead(1);
    let not_before = house.now.plus(Duration::from_secs(120));
    assert_eq!(
        lead.state,
        LeadState::Waiting {
            not_before,
            kind: WaitKind::Retry
        }
    );
    assert_eq!((lead.business_count, lead.regulatory_count), (0, 1));
    assert_eq!(
        house.attempt(attempt).result,
        Some(CallResult::SystemFailure)
    );
    assert_eq!(
        recover(&mut house).orphans,
        [],
        "a second start finds nothing more"
    );
    assert_eq!(house.lead(1).regulatory_count, 1);
    house.minutes(2);
    assert_eq!(house.card("a").lead.lead, LeadId(1));
}

#[test]
fn a_crash_while_ringing_gives_the_dialog_of_the_ringing_leg() {
    let mut house = House::new(rows(1));
    let card = house.card("a");
    let attempt = house.dial(&card);
    house.step(
        attempt,
        AttemptStep::Alerting {
            dialog: "with tags".into(),
        },
    );
    let recovered = recover(&mut house);
    assert_eq!(recovered.orphans[0].phase, OrphanPhase::Ringing);
    assert_eq!(recovered.orphans[0].dialog, "with tags");
}

#[test]
fn a_crash_in_a_talk_brings_the_card_back_in_wrap_up() {
    let mut house = House::new(rows(2));
    let card = house.card("a");
    let attempt = house.dial(&card);
    house.step(
        attempt,
        AttemptStep::Answered {
            dialog: "whole".into(),
        },
    );
    house.tell(Command::RecordingStarted {
        attempt,
        path: "p.wav".into(),
    });
    house.minutes(10);
    let recovered = recover(&mut house);
    let orphan = &recovered.orphans[0];
    assert_eq!(
        (orphan.phase, orphan.dialog.as_str()),
        (OrphanPhase::Answered, "whole")
    );
    assert_eq!(orphan.recording.as_deref(), Some("p.wav"));
    assert_eq!(recovered.recordings, [(attempt, "p.wav".to_owned())]);
    let back = &recovered.wrap_ups[0];
    assert_eq!((back.token, &back.agent), (card.token, &card.agent));
    let view = back.attempt.as_ref().unwrap();
    assert_eq!(view.result, Some(CallResult::Connected));
    assert_eq!(
        (view.ended_by.as_deref(), view.talk_ms),
        (Some("system"), None)
    );
    assert!(back.wrap_up_until.unwrap() > house.now);
    assert_eq!(house.lead(1).state, LeadState::WrapUp);
    house.dispose(&card, Some("sale"));
}

#[test]
fn cards_in_preview_come_back_or_are_released() {
    let mut house = House::new(rows(2));
    let old = house.card("a");
    house.later(Duration::from_secs(155));
    let young = house.card("b");
    house.later(Duration::from_secs(10));
    let recovered = recover(&mut house);
    assert_eq!(
        recovered
            .released
            .iter()
            .map(|it| it.token)
            .collect::<Vec<_>>(),
        [old.token]
    );
    assert_eq!(
        recovered
            .previews
            .iter()
            .map(|it| it.token)
            .collect::<Vec<_>>(),
        [young.token]
    );
    assert_eq!(house.lead(1).state, LeadState::Ready);
    house.dial(&young);
}

#[test]
fn a_wrap_up_that_was_open_comes_back_as_it_was() {
    let mut house = House::new(rows(1));
    let card = house.card("a");
    house.talk(&card);
    let recovered = recover(&mut house);
    assert!(recovered.orphans.is_empty());
    assert_eq!(
        recovered.wrap_ups[0].attempt.as_ref().unwrap().talk_ms,
        Some(60_000)
    );
}
