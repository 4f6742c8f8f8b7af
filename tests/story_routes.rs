//! Calls that are no agent's dial, on the virtual clock: phones, carriers and fixed peers call each
//! other through the switch, and nothing of them is left behind.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use foredial::engine::Input;
use foredial::engine::media_worker::{MediaCommand, MediaFact, Source as Sound};
use foredial::engine::resolved::{EngineConfig, Phone};
use foredial::id::{LegId, TrunkId};
use foredial::route::{Emergency, Match, Outward, Rewrite, Rule, Step, Tone};
use foredial::sip::guard::AddressBlock;
use foredial::sip::{Algorithm, Secret};
use foredial::trunk::Place;
use support::wire::{Letter, Made, Wire, sdp};
use support::world::{SWITCH, TRUNK, config};

const PEER: &str = "127.0.26.3:5080";

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// The permitted caller.
fn caller() -> SocketAddr {
    at("127.0.26.2:5070")
}

fn rule(name: &str, prefix: &str, steps: Vec<Step>) -> Rule {
    Rule {
        name: name.to_owned(),
        number: Match::Prefix(prefix.to_owned()),
        from: Vec::new(),
        window: None,
        rewrite: Rewrite::default(),
        steps,
        ring_ms: 20_000,
        record: false,
    }
}

fn phone(user: &str) -> Step {
    Step::Phone(user.to_owned())
}

fn peer() -> Step {
    Step::Uri(format!("sip:{PEER}"))
}

fn outward(trunk: &str) -> Outward {
    Outward {
        trunk: TrunkId::new(trunk),
        caller_id: "+862110000000".to_owned(),
    }
}

fn with(rules: Vec<Rule>) -> EngineConfig {
    let mut config = config();
    config.permit = vec![AddressBlock::one(caller().ip())];
    let phone = |user: &str| Phone {
        user: user.to_owned(),
        secret: Secret::Password("p".to_owned()),
        order: vec![Algorithm::Sha256, Algorithm::Md5],
        srtp: Default::default(),
        srtp_over_plain: false,
    };
    config.phones = vec![phone("101"), phone("102")];
    config.plan.rules = rules;
    config
}

fn wire(rules: Vec<Rule>) -> Wire {
    Wire::new(with(rules))
}

fn offer() -> String {
    sdp(
        caller(),
        "0 8 101\r\na=rtpmap:101 telephone-event/8000",
        "sendrecv",
    )
}

/// The permitted caller calls the peer, which answers with tag `t`; all ACKs are through.
fn talking(wire: &mut Wire) -> (Made, Letter, Letter) {
    let made = wire.invite(caller(), "8", "", &offer());
    let invite = wire.read(at(PEER), "INVITE");
    let body = sdp(at(PEER), "0", "sendrecv");
    wire.send(at(PEER), &invite.answer("200 OK", "t", at(PEER), &body));
    wire.read(at(PEER), "ACK");
    let answered = wire.read(caller(), "SIP/2.0 200");
    wire.inside(&made, &answered, "ACK", 1, "", "");
    (made, invite, answered)
}

fn ok(wire: &mut Wire, at: SocketAddr, beginning: &str) -> Letter {
    let request = wire.read(at, beginning);
    wire.send(at, &request.answer("200 OK", "t", at, ""));
    request
}

fn hears(wire: &Wire) -> Vec<(LegId, Sound)> {
    let mut last: Vec<(LegId, Sound)> = Vec::new();
    for command in &wire.media {
        if let MediaCommand::Listen { leg, to } = command {
            last.retain(|(of, _)| of != leg);
            last.push((*leg, *to));
        }
    }
    last
}

#[test]
fn a_call_goes_through_to_a_peer_and_is_ended_by_the_caller() {
    let mut wire = wire(vec![rule("peer", "8", vec![peer()])]);
    let headers = "Max-Forwards: 10\r\nX-Order: 7\r\nIdentity: abc;info=<https://c.example/>\r\n\
        Subject: hello\r\nP-Asserted-Identity: <sip:+86138@c.example>\r\nRoute: <sip:127.0.26.66;lr>\r\n\
        Diversion: <sip:1@c.example>;reason=no-answer\r\nOrganization: none\r\n";
    let made = wire.invite(caller(), "8001", headers, &offer());
    let invite = wire.read(at(PEER), "INVITE");
    assert_eq!(
        invite.first_line(),
        format!("INVITE sip:8001@{PEER} SIP/2.0")
    );
    assert_eq!(invite.headers("Max-Forwards"), ["9"]);
    assert_eq!(invite.header("X-Order"), "7");
    assert_eq!(invite.header("Identity"), "abc;info=<https://c.example/>");
    assert_eq!(invite.header("Subject"), "hello");
    assert_eq!(
        invite.header("Diversion"),
        "<sip:1@c.example>;reason=no-answer"
    );
    assert_eq!(
        invite.header("P-Asserted-Identity"),
        "<sip:+86138@c.example>"
    );
    assert_eq!(invite.header("Organization"), "", "not on the list");
    assert_eq!(
        invite.header("Route"),
        "",
        "a caller does not choose our way"
    );
    assert!(
        invite.header("From").contains("Caller"),
        "{}",
        invite.header("From")
    );
    assert!(
        invite.body().contains("RTP/AVP 0 8"),
        "the caller's codec first: {}",
        invite.body()
    );
    assert!(
        !invite.0.contains("127.0.26.2"),
        "topology is hidden: {}",
        invite.0
    );

    wire.send(at(PEER), &invite.answer("180 Ringing", "t", at(PEER), ""));
    let ringing = wire.read(caller(), "SIP/2.0 180");
    assert_eq!(ringing.body(), "");
    let body = sdp(at(PEER), "0", "sendrecv");
    wire.send(at(PEER), &invite.answer("200 OK", "t", at(PEER), &body));
    wire.read(at(PEER), "ACK");
    let answered = wire.read(caller(), "SIP/2.0 200");
    assert!(
        answered.body().contains("RTP/AVP 0 101"),
        "{}",
        answered.body()
    );
    wire.inside(&made, &answered, "ACK", 1, "", "");
    assert_eq!(wire.snapshot("through")["calls"][0]["state"], "talking");
    let heard = hears(&wire);
    let pair: Vec<LegId> = heard.iter().map(|(leg, _)| *leg).collect();
    assert_eq!(heard[0].1, Sound::Leg(pair[1]));
    assert_eq!(heard[1].1, Sound::Leg(pair[0]));

    let reason = "Reason: Q.850;cause=16;text=\"Normal\"\r\n";
    wire.inside(&made, &answered, "BYE", 2, reason, "");
    wire.read(caller(), "SIP/2.0 200");
    let bye = ok(&mut wire, at(PEER), "BYE");
    assert_eq!(bye.header("Reason"), "Q.850;cause=16;text=\"Normal\"");
    wire.assert_nothing_is_held();
}

#[test]
fn the_called_may_hang_up_with_a_reason() {
    let mut wire = wire(vec![rule("peer", "8", vec![peer()])]);
    let (_, invite, _) = talking(&mut wire);
    let reason = "Reason: Q.850;cause=31\r\n";
    wire.back(&invite, "t", at(PEER), "BYE", reason);
    wire.read(at(PEER), "SIP/2.0 200");
    let bye = ok(&mut wire, caller(), "BYE");
    assert_eq!(bye.header("Reason"), "Q.850;cause=31");
    wire.assert_nothing_is_held();
}

#[test]
fn every_contact_of_a_phone_rings_and_the_first_answer_wins() {
    let mut wire = wire(vec![rule("desk", "102", vec![phone("102")])]);
    let (desk, soft) = (at("127.0.26.10:5060"), at("127.0.26.11:5060"));
    wire.register("102", "p", desk);
    wire.register("102", "p", soft);
    let headers = "P-Asserted-Identity: <sip:+86138@c.example>\r\nPrivacy: id\r\n";
    let made = wire.invite(caller(), "102", headers, &offer());
    let (one, two) = (wire.read(desk, "INVITE"), wire.read(soft, "INVITE"));
    assert_ne!(one.header("Call-ID"), two.header("Call-ID"));
    assert_eq!(one.header("P-Asserted-Identity"), "", "a phone is not told");
    assert!(
        one.header("From").contains("anonymous.invalid"),
        "{}",
        one.header("From")
    );
    for (at, invite) in [(desk, &one), (soft, &two)] {
        wire.send(at, &invite.answer("180 Ringing", "t", at, ""));
    }
    let body = sdp(soft, "8", "sendrecv");
    wire.send(soft, &two.answer("200 OK", "t", soft, &body));
    wire.read(soft, "ACK");
    let cancel = wire.read(desk, "CANCEL");
    assert!(
        cancel.header("Reason").contains("cause=200"),
        "{}",
        cancel.header("Reason")
    );
    // The slower phone answers all the same: it is acknowledged and hung up.
    wire.send(
        desk,
        &one.answer("200 OK", "t", desk, &sdp(desk, "8", "sendrecv")),
    );
    wire.send(desk, &cancel.answer("200 OK", "t", desk, ""));
    wire.read(desk, "ACK");
    ok(&mut wire, desk, "BYE");
    let answered = wire.read(caller(), "SIP/2.0 200");
    wire.inside(&made, &answered, "ACK", 1, "", "");
    assert_eq!(wire.snapshot("rtp_ports_in_use"), 2);
    wire.inside(&made, &answered, "BYE", 2, "", "");
    ok(&mut wire, soft, "BYE");
    wire.assert_nothing_is_held();
}

#[test]
fn an_unregistered_phone_is_unavailable_and_a_stranger_is_not_let_in() {
    let mut wire = wire(vec![rule("desk", "102", vec![phone("102")])]);
    wire.invite(caller(), "102", "", &offer());
    wire.read(caller(), "SIP/2.0 480");
    wire.invite(caller(), "555", "", &offer());
    wire.read(caller(), "SIP/2.0 404");
    let stranger = at("127.0.26.99:5060");
    wire.invite(stranger, "102", "", &offer());
    wire.read(stranger, "SIP/2.0 401");
    assert_eq!(wire.snapshot("through")["refused"], 1);
    wire.assert_nothing_is_held();
}

#[test]
fn a_caller_who_gives_up_cancels_the_called() {
    let mut wire = wire(vec![rule("peer", "8", vec![peer()])]);
    let made = wire.invite(caller(), "8", "", &offer());
    let invite = wire.read(at(PEER), "INVITE");
    wire.send(at(PEER), &invite.answer("180 Ringing", "t", at(PEER), ""));
    wire.cancel(&made, "Reason: SIP;cause=487;text=\"gone\"\r\n");
    wire.read(caller(), "SIP/2.0 487");
    let cancel = ok(&mut wire, at(PEER), "CANCEL");
    assert_eq!(cancel.header("Reason"), "SIP;cause=487;text=\"gone\"");
    wire.send(
        at(PEER),
        &invite.answer("487 Request Terminated", "t", at(PEER), ""),
    );
    wire.read(at(PEER), "ACK");
    wire.assert_nothing_is_held();
}

#[test]
fn early_media_is_passed_and_a_refusal_keeps_its_phrase_and_cause() {
    let mut wire = wire(vec![rule("peer", "8", vec![peer()])]);
    wire.invite(caller(), "8", "", &offer());
    let invite = wire.read(at(PEER), "INVITE");
    let body = sdp(at(PEER), "0", "sendrecv");
    wire.send(
        at(PEER),
        &invite.answer("183 Session Progress", "t", at(PEER), &body),
    );
    let early = wire.read(caller(), "SIP/2.0 183");
    assert!(early.body().contains("m=audio"), "{}", early.body());
    assert_eq!(hears(&wire).len(), 2, "both ways");
    let busy = invite.answer("486 Besetzt", "t", at(PEER), "");
    wire.send(
        at(PEER),
        &busy.replacen("Contact:", "Reason: Q.850;cause=17\r\nContact:", 1),
    );
    let refused = wire.read(caller(), "SIP/2.0 486");
    assert_eq!(refused.first_line(), "SIP/2.0 486 Besetzt");
    assert_eq!(refused.header("Reason"), "Q.850;cause=17");
    wire.assert_nothing_is_held();
}

#[test]
fn hold_is_answered_here_and_passed_to_the_other_side() {
    let mut wire = wire(vec![rule("peer", "8", vec![peer()])]);
    let (made, invite, answered) = talking(&mut wire);
    let hold = sdp(
        caller(),
        "0 101\r\na=rtpmap:101 telephone-event/8000",
        "sendonly",
    );
    wire.inside(&made, &answered, "INVITE", 2, "", &hold);
    let held = wire.read(caller(), "SIP/2.0 200");
    assert!(held.body().contains("a=recvonly"), "{}", held.body());
    wire.inside(&made, &answered, "ACK", 2, "", "");
    let passed = wire.read(at(PEER), "INVITE");
    assert!(passed.body().contains("a=sendonly"), "{}", passed.body());
    wire.send(
        at(PEER),
        &passed.answer("200 OK", "t", at(PEER), &sdp(at(PEER), "0", "recvonly")),
    );
    wire.read(at(PEER), "ACK");

    // RFC 2543's hold, from the other side's point of view: nobody hears anybody.
    wire.inside(&made, &answered, "INVITE", 3, "", &offer());
    let back = wire.read(caller(), "SIP/2.0 200");
    assert!(back.body().contains("a=sendrecv"), "{}", back.body());
    wire.inside(&made, &answered, "ACK", 3, "", "");
    let passed = wire.read(at(PEER), "INVITE");
    assert!(passed.body().contains("a=sendrecv"), "{}", passed.body());
    wire.send(
        at(PEER),
        &passed.answer("200 OK", "t", at(PEER), &sdp(at(PEER), "0", "sendrecv")),
    );
    wire.read(at(PEER), "ACK");

    // The same offer again changes nothing, and nothing is passed on.
    wire.inside(&made, &answered, "INVITE", 4, "", &offer());
    wire.read(caller(), "SIP/2.0 200");
    wire.inside(&made, &answered, "ACK", 4, "", "");
    assert_eq!(wire.rest(at(PEER)), Vec::<String>::new());
    wire.back(&invite, "t", at(PEER), "BYE", "");
    ok(&mut wire, caller(), "BYE");
    wire.assert_nothing_is_held();
}

#[test]
fn an_invite_without_an_offer_gets_ours_and_its_ack_the_answer() {
    let mut wire = wire(vec![rule("peer", "8", vec![peer()])]);
    let made = wire.invite(caller(), "8", "", "");
    let invite = wire.read(at(PEER), "INVITE");
    let body = sdp(at(PEER), "8", "sendrecv");
    wire.send(at(PEER), &invite.answer("200 OK", "t", at(PEER), &body));
    let answered = wire.read(caller(), "SIP/2.0 200");
    assert!(
        answered.body().contains("RTP/AVP 8 0"),
        "{}",
        answered.body()
    );
    wire.inside(
        &made,
        &answered,
        "ACK",
        1,
        "",
        &sdp(caller(), "0", "sendrecv"),
    );
    let aimed = wire
        .media
        .iter()
        .filter(|it| matches!(it, MediaCommand::AimTrunk { .. }));
    assert_eq!(aimed.count(), 2, "both legs know where to send");
    wire.inside(&made, &answered, "BYE", 2, "", "");
    ok(&mut wire, at(PEER), "BYE");
    wire.assert_nothing_is_held();
}

#[test]
fn what_nobody_answers_goes_to_the_next_step_and_then_back_as_unavailable() {
    let mut wire = wire(vec![rule("desk", "102", vec![phone("102"), peer()])]);
    let desk = at("127.0.26.10:5060");
    wire.register("102", "p", desk);
    wire.invite(caller(), "102", "", &offer());
    let invite = wire.read(desk, "INVITE");
    wire.send(desk, &invite.answer("180 Ringing", "t", desk, ""));
    wire.run_for(Duration::from_secs(19));
    assert_eq!(wire.rest(at(PEER)), Vec::<String>::new());
    wire.run_for(Duration::from_secs(2));
    let cancel = ok(&mut wire, desk, "CANCEL");
    assert_eq!(cancel.header("Reason"), "Q.850;cause=19");
    wire.send(
        desk,
        &invite.answer("487 Request Terminated", "t", desk, ""),
    );
    let invite = wire.read(at(PEER), "INVITE");
    wire.send(at(PEER), &invite.answer("180 Ringing", "t", at(PEER), ""));
    wire.run_for(Duration::from_secs(21));
    let refused = wire.read(caller(), "SIP/2.0 480");
    assert_eq!(refused.header("Reason"), "Q.850;cause=19");
    let cancel = ok(&mut wire, at(PEER), "CANCEL");
    wire.send(
        at(PEER),
        &invite.answer("487 Request Terminated", "t", at(PEER), ""),
    );
    drop(cancel);
    wire.assert_nothing_is_held();
}

#[test]
fn a_decline_by_everybody_ends_the_search() {
    let mut wire = wire(vec![rule("desk", "102", vec![phone("102"), peer()])]);
    let desk = at("127.0.26.10:5060");
    wire.register("102", "p", desk);
    wire.invite(caller(), "102", "", &offer());
    let invite = wire.read(desk, "INVITE");
    wire.send(desk, &invite.answer("603 Decline", "t", desk, ""));
    wire.read(caller(), "SIP/2.0 603");
    assert_eq!(wire.rest(at(PEER)), Vec::<String>::new());
    wire.assert_nothing_is_held();
}

/// A second trunk, at an address of its own.
fn two_trunks() -> EngineConfig {
    let mut config = with(vec![rule(
        "out",
        "+",
        vec![Step::Trunks(vec![outward("t"), outward("u")])],
    )]);
    let mut second = config.trunks[&TrunkId::new("t")].clone();
    second.id = TrunkId::new("u");
    let server = at("127.0.26.20:5060");
    second.terms.places = vec![Place::At(server)];
    second.domain = server.to_string();
    config.trunks.insert(second.id.clone(), second);
    config
}

#[test]
fn a_trunk_that_cannot_is_passed_over_and_one_that_will_not_is_believed() {
    let mut wire = Wire::new(two_trunks());
    let (first, second) = (at(TRUNK), at("127.0.26.20:5060"));
    wire.invite(caller(), "+8613800138000", "", &offer());
    let invite = wire.read(first, "INVITE sip:+8613800138000@127.0.0.9:5060");
    assert!(
        invite.header("From").contains("+862110000000"),
        "{}",
        invite.header("From")
    );
    wire.send(first, &invite.answer("503 Full", "t", first, ""));
    let invite = wire.read(second, "INVITE");
    wire.send(second, &invite.answer("486 Busy Here", "t", second, ""));
    wire.read(caller(), "SIP/2.0 486");
    // A silent one costs four seconds; the caller is not told of overload that is not his affair.
    wire.invite(caller(), "+8613800138000", "", &offer());
    wire.read(first, "INVITE");
    wire.run_for(Duration::from_millis(4_100));
    let invite = wire.read(second, "INVITE");
    wire.send(second, &invite.answer("503 Full", "t", second, ""));
    wire.read(caller(), "SIP/2.0 408");
    wire.assert_nothing_is_held();
}

#[test]
fn limits_hold_for_everybody_but_emergency_calls() {
    let mut config = two_trunks();
    config
        .trunks
        .get_mut(&TrunkId::new("t"))
        .expect("a trunk")
        .terms
        .calls_max = 1;
    config.limits.through_calls_max = 2;
    config.plan.emergency = Emergency {
        numbers: vec!["110".to_owned()],
        trunks: vec![outward("t")],
    };
    let mut wire = Wire::new(config);
    let (first, second) = (at(TRUNK), at("127.0.26.20:5060"));
    let one = wire.invite(caller(), "+8613800138000", "", &offer());
    let one_out = wire.read(first, "INVITE");
    assert_eq!(wire.switch.trunk_snapshot()[0]["calls"], 1);
    let two = wire.invite(caller(), "+8613800138001", "", &offer());
    let two_out = wire.read(second, "INVITE");
    wire.invite(caller(), "+8613800138002", "", &offer());
    let full = wire.read(caller(), "SIP/2.0 503");
    assert_eq!(full.header("Retry-After"), "5");
    wire.input(Input::Drain);
    let help = wire.invite(caller(), "110", "", &offer());
    let help_out = wire.read(first, "INVITE sip:110@");
    for (made, at, invite) in [
        (one, first, one_out),
        (two, second, two_out),
        (help, first, help_out),
    ] {
        wire.send(at, &invite.answer("180 Ringing", "t", at, ""));
        wire.cancel(&made, "");
        let cancel = wire.read(at, "CANCEL");
        wire.send(at, &cancel.answer("200 OK", "t", at, ""));
        wire.send(at, &invite.answer("487 Request Terminated", "t", at, ""));
    }
    assert_eq!(wire.switch.trunk_snapshot()[0]["calls"], 0);
    wire.assert_nothing_is_held();
}

#[test]
fn a_loop_ends_with_483() {
    let mut config = with(vec![rule(
        "round",
        "9",
        vec![Step::Uri(format!("sip:{SWITCH}"))],
    )]);
    config.permit.push(AddressBlock::one(at(SWITCH).ip()));
    let mut wire = Wire::new(config);
    wire.invite(caller(), "9", "Max-Forwards: 12\r\n", &offer());
    wire.read(caller(), "SIP/2.0 483");
    assert_eq!(wire.snapshot("through")["routed"], 12);
    wire.assert_nothing_is_held();
}

#[test]
fn a_carriers_call_reaches_a_phone_and_no_trunk() {
    let mut out = rule("out", "+", vec![Step::Trunks(vec![outward("t")])]);
    out.from = vec!["phone".parse().expect("a source")];
    let mut wire = wire(vec![out, rule("desk", "102", vec![phone("102")])]);
    let desk = at("127.0.26.10:5060");
    wire.register("102", "p", desk);
    wire.invite(at(TRUNK), "+8613800138000", "", &offer());
    wire.read(at(TRUNK), "SIP/2.0 404");
    wire.invite(at(TRUNK), "102", "", &offer());
    let invite = wire.read(desk, "INVITE sip:102@127.0.26.10:5060");
    assert!(
        invite.header("From").contains("+8613900000000"),
        "{}",
        invite.header("From")
    );
    wire.send(desk, &invite.answer("480 Gone", "t", desk, ""));
    wire.read(at(TRUNK), "SIP/2.0 480 Gone");
    wire.assert_nothing_is_held();
}

/// Two may call at once, ten minutes each, mobiles only.
fn guarded() -> Wire {
    let mut out = rule("out", "+", vec![Step::Trunks(vec![outward("t")])]);
    out.from = vec!["phone".parse().expect("a source")];
    let mut config = with(vec![out]);
    config.fraud.allowed = vec!["+8613".to_owned()];
    config.fraud.each.calls_at_once = 2;
    config.fraud.longest_call_s = 600;
    Wire::new(config)
}

const ANNA: (&str, &str) = ("101", "p");

#[test]
fn a_phone_calls_outside_where_it_may_and_as_often_as_it_may() {
    let mut wire = guarded();
    let desk = at("127.0.26.10:5060");
    wire.invite_by(ANNA, desk, "+881612345678", &offer());
    wire.read(desk, "SIP/2.0 403");
    assert_eq!(wire.rest(at(TRUNK)), Vec::<String>::new());
    let first = wire.invite_by(ANNA, desk, "+8613800138001", &offer());
    wire.read(at(TRUNK), "INVITE");
    wire.invite_by(ANNA, desk, "+8613800138002", &offer());
    wire.read(at(TRUNK), "INVITE");
    wire.invite_by(ANNA, desk, "+8613800138003", &offer());
    wire.read(desk, "SIP/2.0 403");
    assert_eq!(wire.rest(at(TRUNK)), Vec::<String>::new());
    assert_eq!(wire.snapshot("security")["refused_fraud"], 2);
    // One that is over makes room for the next.
    wire.cancel(&first, "");
    wire.read(desk, "SIP/2.0 487");
    wire.invite_by(ANNA, desk, "+8613800138004", &offer());
    wire.read(at(TRUNK), "INVITE");
}

#[test]
fn the_longest_call_of_a_phone_is_ended_on_both_sides() {
    let mut wire = guarded();
    let desk = at("127.0.26.10:5060");
    let made = wire.invite_by(ANNA, desk, "+8613800138001", &offer());
    let invite = wire.read(at(TRUNK), "INVITE");
    let body = sdp(at(TRUNK), "0", "sendrecv");
    wire.send(at(TRUNK), &invite.answer("200 OK", "t", at(TRUNK), &body));
    wire.read(at(TRUNK), "ACK");
    let answered = wire.read(desk, "SIP/2.0 200");
    wire.inside(&made, &answered, "ACK", 2, "", "");
    wire.run_for(Duration::from_secs(599));
    assert_eq!(wire.snapshot("through")["calls"][0]["state"], "talking");
    wire.run_for(Duration::from_secs(2));
    ok(&mut wire, at(TRUNK), "BYE");
    ok(&mut wire, desk, "BYE");
    wire.assert_nothing_is_held();
}

#[test]
fn tones_are_played_by_the_switch() {
    let mut wire = wire(vec![
        rule("music", "7", vec![Step::Play(Tone::Music)]),
        rule("busy", "6", vec![Step::Play(Tone::Busy)]),
    ]);
    let made = wire.invite(caller(), "7", "", &offer());
    let answered = wire.read(caller(), "SIP/2.0 200");
    wire.inside(&made, &answered, "ACK", 1, "", "");
    assert_eq!(hears(&wire)[0].1, Sound::Music);
    wire.run_for(Duration::from_secs(300));
    wire.inside(&made, &answered, "BYE", 2, "", "");
    wire.read(caller(), "SIP/2.0 200");
    wire.invite(caller(), "6", "", &offer());
    wire.read(caller(), "SIP/2.0 183");
    wire.run_for(Duration::from_secs(6));
    wire.read(caller(), "SIP/2.0 486");
    wire.assert_nothing_is_held();
}

#[test]
fn an_offer_we_do_not_speak_is_answered_488_and_nothing_is_called() {
    let mut wire = wire(vec![rule("peer", "8", vec![peer()])]);
    let g729 = sdp(caller(), "18\r\na=rtpmap:18 G729/8000", "sendrecv");
    wire.invite(caller(), "8", "", &g729);
    wire.read(caller(), "SIP/2.0 488");
    assert_eq!(wire.rest(at(PEER)), Vec::<String>::new());
    wire.assert_nothing_is_held();
}

#[test]
fn a_leg_that_dies_or_falls_silent_ends_its_call_and_no_other() {
    for fact in [
        |leg| MediaFact::LegDied {
            leg,
            reason: "planted".to_owned(),
        },
        |leg| MediaFact::Stalled {
            leg,
            silent_ms: 30_000,
        },
    ] {
        let mut wire = wire(vec![rule("peer", "8", vec![peer()])]);
        let _first = talking(&mut wire);
        let leg = hears(&wire)[0].0;
        let (made, _, answered) = talking(&mut wire);
        wire.input(Input::Media(fact(leg)));
        ok(&mut wire, caller(), "BYE");
        ok(&mut wire, at(PEER), "BYE");
        assert_eq!(
            wire.snapshot("through")["calls"].as_array().map(Vec::len),
            Some(1)
        );
        wire.inside(&made, &answered, "BYE", 2, "", "");
        ok(&mut wire, at(PEER), "BYE");
        wire.assert_nothing_is_held();
    }
}

#[test]
fn a_taken_port_refuses_the_call() {
    let mut wire = wire(vec![rule("peer", "8", vec![peer()])]);
    wire.invite(caller(), "8", "", &offer());
    let opened = wire.media.iter().find_map(|command| match command {
        MediaCommand::OpenTrunk { leg, port } => Some((*leg, *port)),
        _ => None,
    });
    let (leg, port) = opened.expect("a leg");
    let invite = wire.read(at(PEER), "INVITE");
    wire.send(at(PEER), &invite.answer("180 Ringing", "t", at(PEER), ""));
    wire.input(Input::Media(MediaFact::PortTaken { leg, port }));
    wire.read(caller(), "SIP/2.0 500");
    ok(&mut wire, at(PEER), "CANCEL");
    wire.send(
        at(PEER),
        &invite.answer("487 Request Terminated", "t", at(PEER), ""),
    );
    wire.assert_nothing_is_held();
}

#[test]
fn the_end_of_the_process_ends_every_call_and_its_recording() {
    let mut recorded = rule("peer", "8", vec![peer()]);
    recorded.record = true;
    let mut wire = wire(vec![recorded]);
    talking(&mut wire);
    let call = wire.media.iter().find_map(|command| match command {
        MediaCommand::Record {
            call,
            agent: Some(_),
            path,
            ..
        } => Some((*call, path.clone())),
        _ => None,
    });
    let (call, path) = call.expect("a recording");
    let second = wire.invite(caller(), "8", "", &offer());
    wire.input(Input::Shutdown);
    assert!(!wire.switch.is_quiet(), "the file is not finished");
    wire.read(caller(), "SIP/2.0 503");
    drop(second);
    wire.input(Input::Media(MediaFact::Recorded {
        call,
        path,
        duration_ms: 1,
        bytes: 44,
        gap_ms: 0,
        sha256: None,
    }));
    let stopped = |it: &&MediaCommand| matches!(it, MediaCommand::StopRecording { .. });
    assert_eq!(wire.media.iter().filter(stopped).count(), 1);
    assert_eq!(wire.snapshot("counters")["recordings"], 1);
    wire.assert_nothing_is_held();
}
