//! The plan asked, and what it answers.

use jiff::tz::TimeZone;
use regex::Regex;

use super::*;
use crate::id::{AgentId, TrunkId};
use crate::now::UtcMs;

/// Sunday 2026-11-22 02:00 UTC, ten in the morning in Shanghai.
const SUNDAY: UtcMs = UtcMs(1_795_312_800_000);

fn rule(name: &str, number: Match, steps: Vec<Step>) -> Rule {
    Rule {
        name: name.to_owned(),
        number,
        from: Vec::new(),
        window: None,
        rewrite: Rewrite::default(),
        steps,
        ring_ms: 30_000,
        record: false,
    }
}

fn plan(rules: Vec<Rule>) -> Plan {
    let trunk = Outward {
        trunk: TrunkId::new("a"),
        caller_id: "+861066666666".to_owned(),
    };
    Plan {
        emergency: Emergency {
            numbers: vec!["110".to_owned()],
            trunks: vec![trunk],
        },
        rules,
    }
}

fn asked(number: &str, source: &str) -> Question {
    Question {
        number: number.to_owned(),
        source: source.parse().expect("a source"),
        at: SUNDAY,
    }
}

fn rule_of(plan: &Plan, question: &Question) -> String {
    match plan.route(question).outcome {
        Outcome::Routed(routed) => routed.rule,
        Outcome::Refused { status, .. } => status.to_string(),
    }
}

fn phone(user: &str) -> Vec<Step> {
    vec![Step::Phone(user.to_owned())]
}

#[test]
fn the_first_rule_that_matches_decides() {
    let plan = plan(vec![
        rule("one", Match::Exact(vec!["101".to_owned()]), phone("101")),
        rule("ten", Match::Prefix("10".to_owned()), phone("102")),
        rule("all", Match::Any, phone("103")),
    ]);
    let from = "phone:7";
    assert_eq!(rule_of(&plan, &asked("101", from)), "one");
    assert_eq!(rule_of(&plan, &asked("109", from)), "ten");
    assert_eq!(rule_of(&plan, &asked("2", from)), "all");
}

#[test]
fn what_no_rule_matches_is_refused() {
    let plan = plan(vec![rule(
        "one",
        Match::Exact(vec!["101".to_owned()]),
        phone("101"),
    )]);
    let decision = plan.route(&asked("102", "trunk:a"));
    let refused = Outcome::Refused {
        status: 404,
        rule: None,
    };
    assert_eq!(decision.outcome, refused);
    assert_eq!(decision.judged, [Why::AnotherNumber]);
}

#[test]
fn a_rule_may_refuse() {
    let plan = plan(vec![rule(
        "no",
        Match::Prefix("00".to_owned()),
        vec![Step::Refuse(603)],
    )]);
    let refused = Outcome::Refused {
        status: 603,
        rule: Some("no".to_owned()),
    };
    assert_eq!(plan.route(&asked("0044", "phone:1")).outcome, refused);
}

#[test]
fn a_source_is_one_of_a_kind_or_the_whole_kind() {
    let mut trunks = rule("in", Match::Any, phone("1"));
    trunks.from = vec![
        "trunk:a".parse().expect("a source"),
        "address".parse().expect("a kind"),
    ];
    let plan = plan(vec![trunks]);
    for (source, expected) in [
        ("trunk:a", "in"),
        ("trunk:b", "404"),
        ("address:127.0.0.2", "in"),
        ("phone:a", "404"),
        ("agent:a", "404"),
    ] {
        assert_eq!(rule_of(&plan, &asked("1", source)), expected, "{source}");
    }
}

#[test]
fn emergency_numbers_come_first_and_never_from_a_trunk() {
    let plan = plan(vec![rule("no", Match::Any, vec![Step::Refuse(403)])]);
    let Outcome::Routed(routed) = plan.route(&asked("110", "phone:1")).outcome else {
        panic!("an emergency call was refused");
    };
    assert!(routed.emergency);
    assert_eq!(routed.number, "110", "never rewritten");
    assert_eq!(rule_of(&plan, &asked("110", "trunk:a")), "403");
}

#[test]
fn numbers_are_rewritten_by_stripping_prepending_or_a_regex() {
    let mut national = rule("national", Match::Prefix("90".to_owned()), phone("1"));
    national.rewrite.strip_chars = 2;
    national.rewrite.prepend = "+86".to_owned();
    let pattern = Regex::new("^00(\\d{6,13})$").expect("a regex");
    let mut abroad = rule("abroad", Match::Regex(pattern), phone("1"));
    abroad.rewrite.replacement = Some("+$1".to_owned());
    let plan = plan(vec![national, abroad]);
    let number = |dialled: &str| match plan.route(&asked(dialled, "phone:1")).outcome {
        Outcome::Routed(routed) => routed.number,
        other => panic!("{other:?}"),
    };
    assert_eq!(number("9013800138000"), "+8613800138000");
    assert_eq!(number("00441632960000"), "+441632960000");
}

#[test]
fn a_window_holds_in_its_own_zone_and_may_pass_midnight() {
    let zone = TimeZone::fixed(jiff::tz::offset(8));
    let mut window = Window {
        from_min: 9 * 60,
        until_min: 18 * 60,
        days: [false, false, false, false, false, false, true],
        zone,
    };
    assert!(window.is_open(SUNDAY), "{}", window.moment(SUNDAY));
    window.days = [true, true, true, true, true, true, false];
    assert!(!window.is_open(SUNDAY), "Sunday is not a working day");
    // Saturday's night shift lasts until Sunday noon.
    (window.from_min, window.until_min) = (22 * 60, 12 * 60);
    assert!(window.is_open(SUNDAY));
    window.until_min = 9 * 60;
    assert!(!window.is_open(SUNDAY));
    assert_eq!(window.moment(SUNDAY), "Sun 10:00");
}

#[test]
fn every_rule_says_why_it_does_not_match() {
    let mut closed = rule("closed", Match::Any, phone("1"));
    closed.window = Some(Window {
        from_min: 0,
        until_min: 60,
        days: [true; 7],
        zone: TimeZone::UTC,
    });
    let mut inner = rule("inner", Match::Any, phone("2"));
    inner.from = vec!["phone".parse().expect("a kind")];
    let plan = plan(vec![
        rule("other", Match::Prefix("+1".to_owned()), phone("3")),
        closed,
        inner,
        rule("rest", Match::Any, phone("4")),
        rule("late", Match::Any, phone("5")),
    ]);
    let question = asked("+8613800138000", "trunk:a");
    let lines = plan.explain(&question, &plan.route(&question));
    let expected = [
        "emergency: does not match: not an emergency number",
        "other: does not match: it holds when the number begins with +1",
        "closed: does not match: it holds Mon Tue Wed Thu Fri Sat Sun 00:00-01:00 UTC, and there it is Sun 02:00",
        "inner: does not match: it is for calls from phone, not from trunk:a",
        "rest: matches",
        "late: would match, but an earlier rule has decided",
        "=> rest: +8613800138000 to phone 4 (30 s each)",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn sources_are_written_as_they_are_read() {
    for text in ["trunk:a", "phone:101", "agent:li.wei", "address:127.0.0.2"] {
        let source: Source = text.parse().expect("a source");
        assert_eq!(source.to_string(), text);
        let from: From = text.parse().expect("a source");
        assert_eq!(from.to_string(), text);
        assert!(from.covers(&source));
    }
    assert_eq!("agent:li".parse(), Ok(Source::Agent(AgentId::new("li"))));
    for text in ["", "trunk:", "phone", "nobody:1", "address:x"] {
        assert_eq!(text.parse::<Source>(), Err(()), "{text}");
    }
}
