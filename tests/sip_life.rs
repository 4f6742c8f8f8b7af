//! The life of a session between two endpoints: reliable provisional responses, UPDATE, session
//! timers, transfer and the like, as they look on the wire and in events.

#[path = "support/pair.rs"]
mod pair;

use foredial::sip::{EndedBy, InfoDigit, Replaces, SessionId, SipEvent};
use pair::{CALM, Pair, Weather, endings, sdp, text_of};

fn quiet() -> Pair {
    Pair::new(7, CALM, |_, _| {})
}

fn incoming(pair: &Pair, who: usize) -> SessionId {
    let mut sessions = pair.events.iter().filter_map(|(of, event)| match event {
        SipEvent::Incoming { session, .. } if *of == who => Some(*session),
        _ => None,
    });
    sessions.next_back().expect("a call came in")
}

/// A call from 0 to 1 that is answered.
fn talking(pair: &mut Pair) -> (SessionId, SessionId) {
    let caller = pair.call(0, &[], sdp("offer"));
    pair.wait(100);
    let called = incoming(pair, 1);
    let now = pair.at();
    pair.ends[1].accept(now, called, Vec::new(), sdp("answer"));
    pair.wait(100);
    let now = pair.at();
    pair.ends[0].acknowledge(now, caller, None);
    pair.wait(100);
    (caller, called)
}

/// What `who` said that begins like this.
fn said<'a>(pair: &'a Pair, who: usize, start: &str) -> Vec<&'a str> {
    let of = pair
        .said
        .iter()
        .filter(|(from, text)| *from == who && text.starts_with(start));
    of.map(|(_, text)| text.as_str()).collect()
}

fn answers<'a>(pair: &'a Pair, who: usize, status: u16, method: &str) -> Vec<&'a str> {
    let mut found = said(pair, who, &format!("SIP/2.0 {status} "));
    found.retain(|text| header(text, "CSeq").is_some_and(|cseq| cseq.ends_with(method)));
    found
}

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let start = format!("{name}: ");
    text.lines()
        .find_map(|line| line.strip_prefix(start.as_str()))
}

fn count(pair: &Pair, who: usize, wanted: impl Fn(&SipEvent) -> bool) -> usize {
    let of = pair
        .events
        .iter()
        .filter(|(of, event)| *of == who && wanted(event));
    of.count()
}

fn finish(pair: &mut Pair, sessions: &[(usize, SessionId)]) {
    for (who, session) in sessions {
        let now = pair.at();
        pair.ends[*who].hang_up(now, *session, None);
    }
    pair.wait(4_000_000);
    for (who, session) in sessions {
        assert_eq!(
            endings(&pair.events, *who, *session),
            1,
            "session {session} of {who}"
        );
    }
    for end in &pair.ends {
        assert!(end.snapshot().is_idle(), "{:?}", end.snapshot());
    }
}

// ── RFC 3262

#[test]
fn a_reliable_ringing_is_repeated_until_its_one_prack() {
    let mut pair = quiet();
    let mut lost = 0;
    pair.lose = Some(Box::new(move |_, text| {
        lost += u32::from(text.starts_with("SIP/2.0 180"));
        text.starts_with("SIP/2.0 180") && lost <= 2
    }));
    let caller = pair.call(0, &[("Require", "100rel")], sdp("offer"));
    pair.wait(10);
    let (called, now) = (incoming(&pair, 1), pair.at());
    pair.ends[1].ring(now, called, 180, None);
    pair.wait(20_000);
    assert_eq!(
        said(&pair, 1, "SIP/2.0 180").len(),
        3,
        "at 0, 0.5 and 1.5 s"
    );
    let ringing = said(&pair, 1, "SIP/2.0 180")[0];
    assert_eq!(header(ringing, "Require"), Some("100rel"));
    let rseq = header(ringing, "RSeq").expect("an RSeq").to_owned();
    let pracks = said(&pair, 0, "PRACK ");
    assert_eq!(pracks.len(), 1);
    assert_eq!(
        header(pracks[0], "RAck"),
        Some(format!("{rseq} 1 INVITE").as_str())
    );
    assert_eq!(answers(&pair, 1, 200, "PRACK").len(), 1);
    let now = pair.at();
    pair.ends[1].ring(now, called, 183, sdp("answer"));
    pair.wait(100);
    let next: u32 = header(said(&pair, 1, "SIP/2.0 183")[0], "RSeq")
        .expect("one")
        .parse()
        .expect("a number");
    assert_eq!(next, rseq.parse::<u32>().expect("a number") + 1);
    finish(&mut pair, &[(0, caller), (1, called)]);
}

#[test]
fn a_ringing_nobody_acknowledges_ends_the_call_with_504() {
    let mut pair = quiet();
    pair.lose = Some(Box::new(|_, text| text.starts_with("PRACK ")));
    let caller = pair.call(0, &[("Require", "100rel")], sdp("offer"));
    pair.wait(10);
    let (called, now) = (incoming(&pair, 1), pair.at());
    pair.ends[1].ring(now, called, 180, None);
    pair.wait(40_000);
    assert_eq!(
        said(&pair, 1, "SIP/2.0 180").len(),
        7,
        "T1, doubling, for 64*T1"
    );
    assert_eq!(
        count(&pair, 0, |e| matches!(
            e,
            SipEvent::Failed { status: 504, .. }
        )),
        1
    );
    assert_eq!(
        count(&pair, 0, |e| matches!(e, SipEvent::Provisional { .. })),
        1,
        "repetitions are not told"
    );
    finish(&mut pair, &[(0, caller), (1, called)]);
}

#[test]
fn the_answer_waits_for_the_prack_of_early_media_and_does_not_say_it_again() {
    let mut pair = Pair::new(3, CALM, |_, config| config.reliable_provisionals = true);
    let mut lost = 0;
    pair.lose = Some(Box::new(move |_, text| {
        lost += u32::from(text.starts_with("PRACK "));
        text.starts_with("PRACK ") && lost <= 2
    }));
    let caller = pair.call(0, &[], sdp("offer"));
    pair.wait(10);
    let (called, now) = (incoming(&pair, 1), pair.at());
    pair.ends[1].ring(now, called, 183, sdp("answer"));
    pair.ends[1].accept(now, called, Vec::new(), sdp("answer"));
    pair.wait(400);
    assert_eq!(answers(&pair, 1, 200, "INVITE").len(), 0);
    pair.wait(5_000);
    let ok = answers(&pair, 1, 200, "INVITE");
    assert!(ok[0].ends_with("\r\n\r\n"), "{}", ok[0]);
    let now = pair.at();
    pair.ends[0].acknowledge(now, caller, None);
    pair.wait(100);
    assert_eq!(
        count(&pair, 1, |e| matches!(e, SipEvent::Confirmed { .. })),
        1
    );
    finish(&mut pair, &[(0, caller), (1, called)]);
    let bye = said(&pair, 0, "BYE ")[0];
    assert_eq!(header(bye, "CSeq"), Some("3 BYE"), "the PRACK was number 2");
}

#[test]
fn an_offer_in_a_ringing_is_answered_in_its_prack() {
    let mut pair = quiet();
    let caller = pair.call(0, &[("Require", "100rel")], None);
    pair.wait(10);
    let (called, now) = (incoming(&pair, 1), pair.at());
    pair.ends[1].ring(now, called, 183, sdp("their offer"));
    pair.wait(100);
    assert_eq!(said(&pair, 0, "PRACK ").len(), 0, "it waits for the answer");
    let tag = pair.events.iter().find_map(|(_, event)| match event {
        SipEvent::EarlyOffer { to_tag, body, .. } => {
            assert_eq!(text_of(&Some(body.clone())), "their offer");
            Some(to_tag.clone())
        }
        _ => None,
    });
    let now = pair.at();
    pair.ends[0].prack(
        now,
        caller,
        &tag.expect("an early offer"),
        sdp("our answer"),
    );
    pair.wait(100);
    let heard = |e: &SipEvent| matches!(e, SipEvent::EarlyAnswer { body, .. } if body.bytes == b"our answer");
    assert_eq!(count(&pair, 1, heard), 1);
    finish(&mut pair, &[(0, caller), (1, called)]);
}

// ── RFC 3311

#[test]
fn update_changes_a_session_before_and_after_the_answer() {
    let mut pair = quiet();
    let caller = pair.call(0, &[("Require", "100rel")], sdp("offer"));
    pair.wait(10);
    let (called, now) = (incoming(&pair, 1), pair.at());
    pair.ends[0].update(now, caller, sdp("second"));
    pair.wait(100);
    assert_eq!(
        said(&pair, 0, "UPDATE ").len(),
        0,
        "it waits until the first offer is settled"
    );
    let now = pair.at();
    pair.ends[1].ring(now, called, 183, sdp("answer"));
    pair.wait(100);
    let asked =
        |e: &SipEvent| matches!(e, SipEvent::Reoffer { body, .. } if text_of(body) == "second");
    assert_eq!(count(&pair, 1, asked), 1);
    let now = pair.at();
    pair.ends[1].answer_reoffer(now, called, sdp("second answer"));
    pair.wait(100);
    let told = |e: &SipEvent| matches!(e, SipEvent::ReofferAnswered { status: 200, body, .. } if text_of(body) == "second answer");
    assert_eq!(count(&pair, 0, told), 1);
    finish(&mut pair, &[(0, caller), (1, called)]);
}

#[test]
fn updates_that_meet_are_refused_491_and_both_get_through_later() {
    let mut pair = Pair::new(
        11,
        Weather {
            delay_ms_max: 40,
            ..CALM
        },
        |_, _| {},
    );
    let (caller, called) = talking(&mut pair);
    let now = pair.at();
    pair.ends[0].update(now, caller, sdp("a"));
    pair.ends[1].update(now, called, sdp("b"));
    for _ in 0..400 {
        pair.wait(50);
        let now = pair.at();
        pair.ends[0].answer_reoffer(now, caller, sdp("ok"));
        pair.ends[1].answer_reoffer(now, called, sdp("ok"));
    }
    for who in 0..2 {
        assert!(
            !answers(&pair, who, 491, "UPDATE").is_empty(),
            "no glare at {who}"
        );
        let done = |e: &SipEvent| matches!(e, SipEvent::ReofferAnswered { status: 200, .. });
        assert_eq!(count(&pair, who, done), 1);
    }
    finish(&mut pair, &[(0, caller), (1, called)]);
}

#[test]
fn a_second_update_before_the_first_is_answered_is_told_to_come_again() {
    let mut pair = quiet();
    let (caller, called) = talking(&mut pair);
    let now = pair.at();
    pair.ends[0].update(now, caller, sdp("a"));
    pair.wait(16_500);
    let refused = |e: &SipEvent| matches!(e, SipEvent::ReofferAnswered { status: 504, .. });
    assert_eq!(
        count(&pair, 0, refused),
        1,
        "an UPDATE cannot wait for a person"
    );
    finish(&mut pair, &[(0, caller), (1, called)]);
}

// ── RFC 4028

#[test]
fn a_longer_interval_is_agreed_on_after_422_and_the_session_is_refreshed_by_update() {
    let mut pair = Pair::new(5, CALM, |who, config| {
        config.session_expires_s = 100;
        config.min_se_s = if who == 1 { 300 } else { 90 };
    });
    let (caller, called) = talking(&mut pair);
    let invites = said(&pair, 0, "INVITE ");
    assert_eq!(header(invites[0], "Session-Expires"), Some("100"));
    assert_eq!(
        header(answers(&pair, 1, 422, "INVITE")[0], "Min-SE"),
        Some("300")
    );
    assert_eq!(header(invites[1], "Session-Expires"), Some("300"));
    assert_eq!(header(invites[1], "Min-SE"), Some("300"));
    let ok = answers(&pair, 1, 200, "INVITE")[0];
    assert_eq!(header(ok, "Session-Expires"), Some("300;refresher=uac"));
    assert_eq!(header(ok, "Require"), Some("timer"));
    pair.wait(460_000);
    let updates = said(&pair, 0, "UPDATE ");
    assert_eq!(updates.len(), 3, "every 150 s");
    assert_eq!(
        header(updates[0], "Session-Expires"),
        Some("300;refresher=uac")
    );
    assert!(updates[0].ends_with("\r\n\r\n"));
    // Nobody hears anybody any more: both leave, he who waits a little earlier.
    pair.lose = Some(Box::new(|_, _| true));
    pair.wait(400_000);
    for (who, session) in [(0, caller), (1, called)] {
        let gone = |e: &SipEvent| {
            matches!(
                e,
                SipEvent::Ended {
                    by: EndedBy::Timeout,
                    ..
                }
            )
        };
        assert_eq!(count(&pair, who, gone), 1);
        assert_eq!(endings(&pair.events, who, session), 1);
    }
    finish(&mut pair, &[]);
}

#[test]
fn a_peer_without_update_is_refreshed_by_a_reinvite_that_says_the_same_again() {
    let mut pair = Pair::new(5, CALM, |_, config| config.session_expires_s = 100);
    pair.rewrite = Some(Box::new(|_, text| text.replace(", UPDATE", "")));
    let (caller, called) = talking(&mut pair);
    pair.wait(51_000);
    let invites = said(&pair, 0, "INVITE ");
    assert_eq!(invites.len(), 2);
    assert!(invites[1].ends_with("\r\n\r\noffer"), "{}", invites[1]);
    let now = pair.at();
    pair.ends[1].answer_reoffer(now, called, sdp("answer"));
    pair.wait(100);
    let refreshed = |e: &SipEvent| matches!(e, SipEvent::Refreshed { .. });
    assert_eq!(count(&pair, 0, refreshed), 1);
    assert_eq!(
        count(&pair, 0, |e| matches!(e, SipEvent::ReofferAnswered { .. })),
        0
    );
    finish(&mut pair, &[(0, caller), (1, called)]);
}

#[test]
fn a_peer_without_timers_is_left_alone() {
    let mut pair = Pair::new(5, CALM, |who, config| {
        config.session_expires_s = if who == 0 { 100 } else { 0 };
    });
    pair.rewrite = Some(Box::new(|_, text| {
        let lines = text.split("\r\n");
        let kept =
            lines.filter(|line| !line.starts_with("Session-Expires") && *line != "Require: timer");
        kept.collect::<Vec<_>>().join("\r\n")
    }));
    let (caller, called) = talking(&mut pair);
    pair.wait(1_000_000);
    assert_eq!(said(&pair, 0, "UPDATE ").len(), 0);
    finish(&mut pair, &[(0, caller), (1, called)]);
}

// ── transfer

#[test]
fn a_refer_is_accepted_and_told_how_the_call_goes() {
    let mut pair = quiet();
    let (caller, called) = talking(&mut pair);
    let now = pair.at();
    pair.ends[1].refer(
        now,
        called,
        "sip:carol@127.0.23.9",
        None,
        Some("<sip:bob@x>"),
    );
    pair.wait(100);
    let asked = |e: &SipEvent| {
        matches!(e, SipEvent::Refer { refer_to, replaces: None, referred_by: Some(by), subscribed: true, .. }
            if refer_to == "sip:carol@127.0.23.9" && by == "<sip:bob@x>")
    };
    assert_eq!(count(&pair, 0, asked), 1);
    let now = pair.at();
    pair.ends[0].answer_refer(now, caller, true);
    pair.wait(100);
    for (status, phrase) in [(180, "Ringing"), (200, "OK"), (200, "once more")] {
        let now = pair.at();
        pair.ends[0].notify_refer(now, caller, status, phrase);
        pair.wait(100);
    }
    assert_eq!(answers(&pair, 0, 202, "REFER").len(), 1);
    let told: Vec<(u16, bool)> = pair
        .events
        .iter()
        .filter_map(|(who, event)| match event {
            SipEvent::ReferProgress { status, over, .. } if *who == 1 => Some((*status, *over)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(100, false), (180, false), (200, true)]);
    let notify = said(&pair, 0, "NOTIFY ")[0];
    assert!(header(notify, "Event").is_some_and(|event| event.starts_with("refer;id=")));
    assert!(notify.ends_with("SIP/2.0 100 Trying\r\n"));
    finish(&mut pair, &[(0, caller), (1, called)]);
}

#[test]
fn a_refer_nobody_answers_is_declined() {
    let mut pair = quiet();
    let (caller, called) = talking(&mut pair);
    let now = pair.at();
    pair.ends[1].refer(now, called, "sip:carol@127.0.23.9", None, None);
    pair.wait(17_000);
    let declined = |e: &SipEvent| matches!(e, SipEvent::ReferAnswered { status: 603, .. });
    assert_eq!(count(&pair, 1, declined), 1);
    finish(&mut pair, &[(0, caller), (1, called)]);
}

#[test]
fn an_attended_transfer_between_two_calls_of_ours_is_recognised() {
    let mut pair = quiet();
    let (first, far_first) = talking(&mut pair);
    let (second, far_second) = talking(&mut pair);
    let replaces = pair.ends[1].replaces_of(far_second).expect("a dialog");
    let now = pair.at();
    pair.ends[1].refer(
        now,
        far_first,
        "sip:foredial@127.0.23.1",
        Some(&replaces),
        None,
    );
    pair.wait(100);
    let named = |e: &SipEvent| {
        matches!(e, SipEvent::Refer { session, replaces_session, .. }
            if *session == first && *replaces_session == Some(second))
    };
    assert_eq!(count(&pair, 0, named), 1);
    finish(
        &mut pair,
        &[(0, first), (1, far_first), (0, second), (1, far_second)],
    );
}

#[test]
fn a_call_that_replaces_names_the_session_or_is_refused() {
    let mut pair = quiet();
    let (caller, called) = talking(&mut pair);
    let replaces = pair.ends[0].replaces_of(caller).expect("a dialog");
    let early = Replaces {
        early_only: true,
        ..replaces.clone()
    };
    let unknown = Replaces {
        to_tag: "nobody".into(),
        ..replaces.clone()
    };
    let mut refused = Vec::new();
    for (wanted, status) in [
        (early.to_string(), 486),
        (unknown.to_string(), 481),
        ("x".into(), 400),
    ] {
        let call = pair.call(0, &[("Replaces", &wanted)], sdp("offer"));
        pair.wait(100);
        let failed = |e: &SipEvent| matches!(e, SipEvent::Failed { session, status: s, .. } if *session == call && *s == status);
        assert_eq!(count(&pair, 0, failed), 1, "{wanted}");
        refused.push(call);
    }
    let third = pair.call(
        0,
        &[("Replaces", &replaces.to_string()), ("Require", "replaces")],
        sdp("offer"),
    );
    pair.wait(100);
    let names = |e: &SipEvent| matches!(e, SipEvent::Incoming { replaces: Some(one), .. } if *one == called);
    assert_eq!(count(&pair, 1, names), 1);
    let new = incoming(&pair, 1);
    finish(&mut pair, &[(0, caller), (1, called), (0, third), (1, new)]);
}

// ── and the rest

#[test]
fn digits_come_and_go_as_info() {
    let mut pair = quiet();
    let (caller, called) = talking(&mut pair);
    let digit = InfoDigit {
        digit: '#',
        duration_ms: 250,
    };
    let now = pair.at();
    pair.ends[0].info_digit(now, caller, digit);
    pair.wait(100);
    let heard =
        |e: &SipEvent| matches!(e, SipEvent::Info { digit: Some(one), .. } if *one == digit);
    assert_eq!(count(&pair, 1, heard), 1);
    assert_eq!(answers(&pair, 1, 200, "INFO").len(), 1);
    finish(&mut pair, &[(0, caller), (1, called)]);
}

#[test]
fn a_redirection_tells_its_contacts_best_first_and_fails() {
    let mut pair = quiet();
    pair.rewrite = Some(Box::new(|_, text| {
        let contacts = "Contact: <sip:low@127.0.0.9>;q=0.2, <sip:best@127.0.0.9>, <sip:mid@127.0.0.9>;q=0.7\r\nContent-Length";
        if text.starts_with("SIP/2.0 302") {
            text.replace("Content-Length", contacts)
        } else {
            text
        }
    }));
    let caller = pair.call(0, &[], sdp("offer"));
    pair.wait(10);
    let (called, now) = (incoming(&pair, 1), pair.at());
    pair.ends[1].reject(now, called, 302, None, Vec::new());
    pair.wait(100);
    let users = |e: &SipEvent| match e {
        SipEvent::Redirected {
            contacts,
            status: 302,
            ..
        } => contacts.iter().map(|c| (c.uri.clone(), c.q)).collect(),
        _ => Vec::new(),
    };
    let seen: Vec<_> = pair
        .events
        .iter()
        .flat_map(|(_, event)| users(event))
        .collect();
    let expected = [("best", 1000), ("mid", 700), ("low", 200)];
    assert_eq!(
        seen,
        expected.map(|(user, q)| (format!("sip:{user}@127.0.0.9"), q))
    );
    assert_eq!(
        count(&pair, 0, |e| matches!(
            e,
            SipEvent::Failed { status: 302, .. }
        )),
        1
    );
    finish(&mut pair, &[(0, caller), (1, called)]);
}

#[test]
fn reasons_travel_on_cancel_bye_and_refusals() {
    let mut pair = quiet();
    let caller = pair.call(0, &[], sdp("offer"));
    pair.wait(10);
    let (called, now) = (incoming(&pair, 1), pair.at());
    pair.ends[1].ring(now, called, 180, None);
    pair.wait(10);
    let now = pair.at();
    pair.ends[0].hang_up(
        now,
        caller,
        Some("SIP;cause=200;text=\"Call completed elsewhere\""),
    );
    pair.wait(100);
    let told = |e: &SipEvent| matches!(e, SipEvent::Ended { reason, .. } if reason.text.as_deref() == Some("Call completed elsewhere"));
    assert_eq!(count(&pair, 1, told), 1);
    let busy = pair.call(0, &[], sdp("offer"));
    pair.wait(10);
    let (refuses, now) = (incoming(&pair, 1), pair.at());
    pair.ends[1].hang_up(now, refuses, Some("Q.850;cause=17"));
    pair.wait(100);
    let told =
        |e: &SipEvent| matches!(e, SipEvent::Failed { reason, .. } if reason.q850 == Some(17));
    assert_eq!(count(&pair, 0, told), 1);
    let (one, other) = talking(&mut pair);
    let now = pair.at();
    pair.ends[1].hang_up(now, other, Some("Q.850;cause=31"));
    pair.wait(100);
    let told =
        |e: &SipEvent| matches!(e, SipEvent::Ended { reason, .. } if reason.q850 == Some(31));
    assert_eq!(count(&pair, 0, told), 1);
    finish(&mut pair, &[(0, caller), (0, busy), (0, one), (1, other)]);
}
