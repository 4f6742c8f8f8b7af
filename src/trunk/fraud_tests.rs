//! A stolen account, and what it costs at most.

use std::time::Instant;

use super::*;

const NUMBER: &str = "+8613800138000";

fn now() -> Now {
    Now {
        instant: Instant::now(),
        utc: UtcMs(1_700_000_000_000),
    }
}

fn rules() -> FraudRules {
    FraudRules {
        each: Caps {
            calls_at_once: 2,
            calls_a_minute: 5,
            minutes_a_day: 60,
        },
        all: Caps {
            calls_at_once: 3,
            calls_a_minute: 8,
            minutes_a_day: 100,
        },
        longest_call_s: 1_800,
        allowed: vec!["+86".into(), "+1".into(), "+1900555".into()],
        denied: vec!["+1900".into(), "+8610".into()],
    }
}

fn allowed(verdict: Verdict) -> (Ticket, Option<Duration>) {
    match verdict {
        Verdict::Allowed { ticket, longest } => (ticket, longest),
        Verdict::Refused(why) => panic!("{why:?}"),
    }
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

#[test]
fn ten_thousand_tries_of_one_account_are_five_calls_a_minute_two_at_once() {
    let mut fraud = Fraud::new(rules());
    let mut now = now();
    let mut up: VecDeque<Ticket> = VecDeque::new();
    let mut calls = 0;
    for _ in 0..10_000 {
        if let Verdict::Allowed { ticket, .. } = fraud.ask(now, "101", NUMBER) {
            calls += 1;
            up.push_back(ticket);
        }
        assert!(up.len() <= 2);
        if up.len() == 2 {
            fraud.ended(now, up.pop_front().unwrap(), Duration::ZERO);
        }
        now = now.plus(Duration::from_millis(6));
    }
    assert_eq!(calls, 5, "in one minute");
}

#[test]
fn what_no_prefix_allows_is_refused_and_the_longest_prefix_decides() {
    let mut fraud = Fraud::new(rules());
    for (number, fine) in [
        (NUMBER, true),
        ("+8610666", false),
        ("+4930123", false),
        ("+19001234", false),
        ("+19005551", true),
        ("13800138000", false),
        ("", false),
    ] {
        let verdict = fraud.ask(now(), number, number);
        assert_eq!(
            verdict == Verdict::Refused(Refusal::Prefix),
            !fine,
            "{number}"
        );
    }
    let mut nothing = Fraud::new(FraudRules::default());
    let verdict = nothing.ask(now(), "101", NUMBER);
    assert_eq!(
        verdict,
        Verdict::Refused(Refusal::Prefix),
        "deny by default"
    );
}

#[test]
fn a_call_may_last_what_is_left_of_the_day_and_no_longer_than_the_longest() {
    let mut fraud = Fraud::new(rules());
    let start = now();
    let (first, longest) = allowed(fraud.ask(start, "101", NUMBER));
    assert_eq!(longest, Some(minutes(30)));
    let later = start.plus(minutes(25));
    fraud.ended(later, first, minutes(25));
    let (second, longest) = allowed(fraud.ask(later, "101", NUMBER));
    assert_eq!(longest, Some(minutes(30)), "of 35 left");
    // A call that is up counts as well.
    let later = later.plus(minutes(20));
    let (third, longest) = allowed(fraud.ask(later, "101", NUMBER));
    assert_eq!(longest, Some(minutes(15)));
    let later = later.plus(minutes(10));
    fraud.ended(later, second, minutes(30));
    fraud.ended(later, third, minutes(10));
    let verdict = fraud.ask(later, "101", NUMBER);
    assert_eq!(verdict, Verdict::Refused(Refusal::MinutesADay));
    let (other, longest) = allowed(fraud.ask(later, "102", NUMBER));
    assert_eq!(longest, Some(minutes(30)), "another account");
    fraud.ended(later, other, Duration::ZERO);
    let tomorrow = later.plus(minutes(25 * 60));
    allowed(fraud.ask(tomorrow, "101", NUMBER));
}

#[test]
fn all_accounts_together_have_a_limit_too() {
    let mut fraud = Fraud::new(rules());
    let start = now();
    let tickets: Vec<Ticket> = ["101", "102", "103"]
        .iter()
        .map(|who| allowed(fraud.ask(start, who, NUMBER)).0)
        .collect();
    let fourth = fraud.ask(start, "104", NUMBER);
    assert_eq!(fourth, Verdict::Refused(Refusal::CallsAtOnceInAll));
    for ticket in tickets {
        fraud.ended(start, ticket, minutes(34));
        fraud.ended(start, ticket, minutes(34));
    }
    let spent = fraud.ask(start, "104", NUMBER);
    assert_eq!(spent, Verdict::Refused(Refusal::MinutesADayInAll));
    let mut fraud = Fraud::new(rules());
    for n in 0..8 {
        let (ticket, _) = allowed(fraud.ask(start, &format!("u{n}"), NUMBER));
        fraud.ended(start, ticket, Duration::ZERO);
    }
    let ninth = fraud.ask(start, "u9", NUMBER);
    assert_eq!(ninth, Verdict::Refused(Refusal::CallsAMinuteInAll));
}
