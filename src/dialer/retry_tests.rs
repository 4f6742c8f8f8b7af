use super::*;
use crate::dialer::hours::zone;

const A: PhoneId = PhoneId(1);
const B: PhoneId = PhoneId(2);

fn utc(text: &str) -> UtcMs {
    UtcMs(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

/// Ten in the morning, in the first part of the day.
fn ten() -> UtcMs {
    utc("2026-11-23T10:00:00Z")
}

fn minutes(many: u64) -> UtcMs {
    ten().plus(Duration::from_secs(many * 60))
}

fn past(result: CallResult, status: u16, trunk: &str) -> Past {
    Past {
        result,
        status: Some(status),
        trunk: TrunkId::new(trunk),
        ended_at: ten(),
    }
}

fn phone(id: PhoneId, past: Vec<Past>) -> PhoneRecord {
    let zones = vec![zone("UTC").unwrap()];
    PhoneRecord {
        id,
        is_usable: true,
        not_before: None,
        past,
        life: 0,
        zones,
    }
}

/// What follows when the only number had these results, the last one just now.
fn alone(results: &[CallResult]) -> Next {
    let past = results.iter().map(|it| past(*it, 480, "t")).collect();
    next(&[phone(A, past)])
}

fn next(phones: &[PhoneRecord]) -> Next {
    after_result(&RetryRules::default(), Caps::default(), phones, A, ten())
}

fn waits_until(next: &Next) -> UtcMs {
    match &next.lead {
        LeadState::Waiting {
            not_before,
            kind: WaitKind::Retry,
        } => *not_before,
        other => panic!("{other:?}"),
    }
}

fn closed(reason: CloseReason) -> LeadState {
    LeadState::Closed(reason)
}

#[test]
fn busy_is_tried_three_times_in_quick_succession_and_then_in_the_next_part_of_the_day() {
    let busy = CallResult::Busy;
    assert_eq!(waits_until(&alone(&[busy])), minutes(10));
    assert_eq!(waits_until(&alone(&[busy; 2])), minutes(10));
    assert_eq!(waits_until(&alone(&[busy; 3])), utc("2026-11-23T12:00:00Z"));
    assert_eq!(waits_until(&alone(&[busy; 4])), minutes(10), "a new series");
    let rules = RetryRules::default();
    let counted: Vec<_> = (1..=7)
        .filter(|run| is_business(&rules, busy, *run))
        .collect();
    assert_eq!(counted, [1, 4, 7], "one business attempt a series");
}

#[test]
fn no_answer_waits_an_hour_doubling_in_another_part_of_the_day() {
    let none = CallResult::NoAnswer;
    assert_eq!(waits_until(&alone(&[none])), utc("2026-11-23T12:00:00Z"));
    assert_eq!(waits_until(&alone(&[none; 2])), utc("2026-11-23T12:00:00Z"));
    // The third on one day: not before the next day, and in another part of it.
    assert_eq!(waits_until(&alone(&[none; 3])), utc("2026-11-24T09:00:00Z"));
    let broken = alone(&[none, none, CallResult::Busy, none]);
    assert_eq!(
        waits_until(&broken),
        utc("2026-11-24T09:00:00Z"),
        "three on this day"
    );
}

#[test]
fn doubling_stops_at_eight_hours() {
    let old = Past {
        ended_at: utc("2026-11-01T10:00:00Z"),
        ..past(CallResult::NoAnswer, 480, "t")
    };
    let mut many = vec![old; 30];
    many.push(past(CallResult::NoAnswer, 480, "t"));
    // Ten and eight hours is 18:00, another part of the day.
    assert_eq!(
        waits_until(&next(&[phone(A, many)])),
        utc("2026-11-23T18:00:00Z")
    );
}

#[test]
fn unavailable_waits_two_hours_three_times() {
    let gone = CallResult::Unavailable;
    for times in 1..=3 {
        assert_eq!(waits_until(&alone(&vec![gone; times])), minutes(120));
    }
    assert_eq!(alone(&[gone; 4]).lead, closed(CloseReason::MaxAttempts));
    assert_eq!(alone(&[gone; 4]).phones, [(A, PhoneNext::Done)]);
}

#[test]
fn rejected_waits_a_day_twice() {
    let no = CallResult::Rejected;
    assert_eq!(waits_until(&alone(&[no])), minutes(24 * 60));
    assert_eq!(waits_until(&alone(&[no; 2])), minutes(24 * 60));
    assert_eq!(alone(&[no; 3]).lead, closed(CloseReason::MaxAttempts));
}

#[test]
fn unwanted_is_never_tried_again_on_any_number() {
    let phones = [
        phone(A, vec![past(CallResult::Unwanted, 607, "t")]),
        phone(B, vec![]),
    ];
    assert_eq!(next(&phones).lead, closed(CloseReason::NoCallableNumber));
}

#[test]
fn a_first_404_waits_a_day_and_a_second_marks_the_phone_bad() {
    let no_such = |trunk| past(CallResult::InvalidNumber, 404, trunk);
    let once = next(&[phone(A, vec![no_such("t")])]);
    assert_eq!(waits_until(&once), minutes(24 * 60));
    let twice = next(&[phone(A, vec![no_such("t"), no_such("t")])]);
    assert_eq!(twice.phones, [(A, PhoneNext::Bad)]);
    assert_eq!(twice.lead, closed(CloseReason::NoCallableNumber));
}

#[test]
fn two_trunks_must_agree_on_a_484_before_the_phone_is_bad() {
    let short = |trunk| past(CallResult::InvalidNumber, 484, trunk);
    let same = next(&[phone(A, vec![short("t"), short("t")])]);
    assert_eq!(
        same.phones,
        [(A, PhoneNext::Done)],
        "done for this lead, not bad for all"
    );
    let other = next(&[phone(A, vec![short("t"), short("u")])]);
    assert_eq!(other.phones, [(A, PhoneNext::Bad)]);
}

#[test]
fn a_410_or_604_is_believed_at_once() {
    for status in [410, 604] {
        let gone = next(&[phone(A, vec![past(CallResult::InvalidNumber, status, "t")])]);
        assert_eq!(gone.phones, [(A, PhoneNext::Bad)]);
    }
}

#[test]
fn a_machine_waits_four_hours_and_for_another_part_of_the_day_twice() {
    let machine = CallResult::Machine;
    assert_eq!(waits_until(&alone(&[machine])), utc("2026-11-23T14:00:00Z"));
    assert_eq!(
        waits_until(&alone(&[machine; 2])),
        utc("2026-11-23T14:00:00Z")
    );
    assert_eq!(alone(&[machine; 3]).lead, closed(CloseReason::MaxAttempts));
}

#[test]
fn a_fax_is_never_called_again() {
    assert_eq!(
        alone(&[CallResult::Fax]).lead,
        closed(CloseReason::NoCallableNumber)
    );
}

#[test]
fn a_trunk_failure_waits_two_minutes_three_times_and_then_rests() {
    for result in [CallResult::TrunkFailure, CallResult::SystemFailure] {
        for times in 1..=3 {
            assert_eq!(waits_until(&alone(&vec![result; times])), minutes(2));
        }
        let rests = utc("2026-11-23T12:00:00Z");
        assert_eq!(
            waits_until(&alone(&[result; 4])),
            rests,
            "no customer is lost by our fault"
        );
        assert_eq!(
            waits_until(&alone(&[result; 5])),
            minutes(2),
            "and then it counts anew"
        );
        let recovered = alone(&[result, result, result, CallResult::Busy, result]);
        assert_eq!(
            waits_until(&recovered),
            minutes(2),
            "only failures in a row count"
        );
    }
}

#[test]
fn a_false_answer_waits_half_an_hour_twice() {
    let false_answer = CallResult::FalseAnswer;
    assert_eq!(waits_until(&alone(&[false_answer; 2])), minutes(30));
    assert_eq!(
        alone(&[false_answer; 3]).lead,
        closed(CloseReason::MaxAttempts)
    );
}

#[test]
fn an_agents_cancel_waits_a_quarter_of_an_hour_however_often() {
    assert_eq!(
        waits_until(&alone(&[CallResult::AgentCancelled; 9])),
        minutes(15)
    );
}

#[test]
fn one_way_audio_is_tried_once_more() {
    let one_way = CallResult::OneWayAudio;
    assert_eq!(waits_until(&alone(&[one_way])), minutes(10));
    assert_eq!(alone(&[one_way; 2]).lead, closed(CloseReason::MaxAttempts));
}

#[test]
fn after_a_conversation_nothing_is_dialed_by_itself() {
    let phones = [
        phone(A, vec![past(CallResult::Connected, 200, "t")]),
        phone(B, vec![]),
    ];
    assert_eq!(next(&phones).lead, closed(CloseReason::Completed));
}

#[test]
fn another_number_of_the_contact_goes_first() {
    for result in [CallResult::Busy, CallResult::NoAnswer, CallResult::Rejected] {
        let phones = [phone(A, vec![past(result, 486, "t")]), phone(B, vec![])];
        let next = next(&phones);
        assert_eq!(waits_until(&next), ten(), "{result}: the other one, now");
        assert!(matches!(next.phones[..], [(A, PhoneNext::Wait(_))]));
    }
}

#[test]
fn another_number_is_taken_when_the_first_is_done() {
    let mut other = phone(B, vec![]);
    other.not_before = Some(minutes(30));
    let phones = [phone(A, vec![past(CallResult::Fax, 200, "t")]), other];
    assert_eq!(waits_until(&next(&phones)), minutes(30));
}

#[test]
fn when_the_fault_is_ours_the_other_numbers_wait_too() {
    let phones = [
        phone(A, vec![past(CallResult::TrunkFailure, 503, "t")]),
        phone(B, vec![]),
    ];
    let next = next(&phones);
    assert_eq!(waits_until(&next), minutes(2));
    let expected = [
        (A, PhoneNext::Wait(minutes(2))),
        (B, PhoneNext::Wait(minutes(2))),
    ];
    assert_eq!(next.phones, expected);
}

#[test]
fn a_number_at_its_cap_of_life_is_done() {
    let mut worn = phone(A, vec![past(CallResult::NoAnswer, 408, "t")]);
    worn.life = 20;
    assert_eq!(next(&[worn]).lead, closed(CloseReason::MaxAttempts));
}

#[test]
fn the_regulatory_counter_leaves_out_only_what_cannot_have_rung() {
    for result in CallResult::ALL {
        assert!(is_regulatory(result, true), "{result} after 18x");
    }
    let silent: Vec<_> = CallResult::ALL
        .into_iter()
        .filter(|it| !is_regulatory(*it, false))
        .collect();
    assert_eq!(
        silent,
        [
            CallResult::Busy,
            CallResult::Unavailable,
            CallResult::InvalidNumber,
            CallResult::TrunkFailure
        ]
    );
}

#[test]
fn the_business_counter_leaves_out_faults_and_the_agents_own_cancels() {
    let rules = RetryRules::default();
    let counted: Vec<_> = CallResult::ALL
        .into_iter()
        .filter(|it| is_business(&rules, *it, 1))
        .collect();
    assert_eq!(
        counted,
        [
            CallResult::Busy,
            CallResult::NoAnswer,
            CallResult::Unavailable,
            CallResult::Rejected,
            CallResult::Unwanted,
            CallResult::Machine,
            CallResult::Connected
        ]
    );
}
