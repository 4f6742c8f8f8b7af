//! Desk phones transfer and pick up calls that pass through us, on the virtual clock: blind,
//! attended, by Replaces; and what becomes of it when somebody leaves, holds or is late.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use foredial::engine::media_worker::{MediaCommand, Source as Sound};
use foredial::engine::resolved::{EngineConfig, Phone};
use foredial::id::{LegId, TrunkId};
use foredial::route::{Emergency, Match, Outward, Rewrite, Rule, Step};
use foredial::sip::guard::AddressBlock;
use foredial::sip::{Algorithm, Secret};
use support::wire::{Letter, Made, Wire, sdp};
use support::world::{SWITCH, TRUNK, config};

const PEER: &str = "127.0.26.3:5080";
const ANNA: (&str, &str) = ("101", "p");

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn caller() -> SocketAddr {
    at("127.0.26.2:5070")
}

fn anna() -> SocketAddr {
    at("127.0.26.10:5060")
}

fn ben() -> SocketAddr {
    at("127.0.26.11:5060")
}

fn cleo() -> SocketAddr {
    at("127.0.26.12:5060")
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

fn outward() -> Outward {
    Outward {
        trunk: TrunkId::new("t"),
        caller_id: "+862110000000".to_owned(),
    }
}

fn plan() -> EngineConfig {
    let mut config = config();
    config.permit = vec![AddressBlock::one(caller().ip())];
    let phone = |user: &str| Phone {
        user: user.to_owned(),
        secret: Secret::Password("p".to_owned()),
        order: vec![Algorithm::Sha256, Algorithm::Md5],
        srtp: Default::default(),
        srtp_over_plain: false,
    };
    config.phones = ["101", "102", "103"].map(phone).to_vec();
    let desk = |user: &str| rule(user, user, vec![Step::Phone(user.to_owned())]);
    let mut out = rule("out", "+", vec![Step::Trunks(vec![outward()])]);
    out.from = vec!["phone".parse().expect("a source")];
    let peer = Step::Uri(format!("sip:{PEER}"));
    config.plan.rules = vec![
        desk("101"),
        desk("102"),
        desk("103"),
        rule("peer", "8", vec![peer]),
        out,
    ];
    config.plan.emergency = Emergency {
        numbers: vec!["110".to_owned()],
        trunks: vec![outward()],
    };
    config
}

/// 101, 102 and 103 are registered.
fn wire_with(config: EngineConfig) -> Wire {
    let mut wire = Wire::new(config);
    for (user, at) in [("101", anna()), ("102", ben()), ("103", cleo())] {
        wire.register(user, "p", at);
    }
    wire
}

fn wire() -> Wire {
    wire_with(plan())
}

fn offer(at: SocketAddr) -> String {
    sdp(at, "8 101\r\na=rtpmap:101 telephone-event/8000", "sendrecv")
}

/// A call that was answered: what the caller made and heard, and the INVITE the called got.
struct Talk {
    made: Made,
    answered: Letter,
    invite: Letter,
    called: SocketAddr,
}

fn answer(wire: &mut Wire, called: SocketAddr, tag: &str) -> Letter {
    let invite = wire.read(called, "INVITE");
    let body = sdp(called, "8", "sendrecv");
    wire.send(called, &invite.answer("200 OK", tag, called, &body));
    wire.read(called, "ACK");
    invite
}

fn join(wire: &mut Wire, made: Made, called: SocketAddr, tag: &str) -> Talk {
    let invite = answer(wire, called, tag);
    let answered = wire.read(made.at, "SIP/2.0 200");
    wire.inside(&made, &answered, "ACK", made.cseq, "", "");
    Talk {
        made,
        answered,
        invite,
        called,
    }
}

/// The permitted caller talks to 101.
fn talking(wire: &mut Wire) -> Talk {
    let made = wire.invite(caller(), "101", "", &offer(caller()));
    join(wire, made, anna(), "t")
}

fn ok(wire: &mut Wire, at: SocketAddr, beginning: &str) -> Letter {
    let request = wire.read(at, beginning);
    wire.send(at, &request.answer("200 OK", "t", at, ""));
    request
}

/// The called of this call transfers it.
fn refer(wire: &mut Wire, talk: &Talk, to: &str) {
    let headers =
        format!("Refer-To: <sip:{to}@{SWITCH}>\r\nReferred-By: <sip:101@desk.example>\r\n");
    wire.back(&talk.invite, "t", talk.called, "REFER", &headers);
    wire.read(talk.called, "SIP/2.0 202");
    let trying = ok(wire, talk.called, "NOTIFY");
    assert_eq!(trying.body(), "SIP/2.0 100 Trying\r\n");
}

fn told(wire: &mut Wire, at: SocketAddr, status: &str) {
    let notify = ok(wire, at, "NOTIFY");
    assert!(
        notify.body().starts_with(&format!("SIP/2.0 {status}")),
        "{}",
        notify.body()
    );
    let over = notify
        .header("Subscription-State")
        .starts_with("terminated");
    assert_eq!(over, !status.starts_with('1'), "{}", notify.0);
}

fn hears(wire: &Wire, leg: LegId) -> Option<Sound> {
    let of = |command: &MediaCommand| match command {
        MediaCommand::Listen { leg: of, to } if *of == leg => Some(*to),
        _ => None,
    };
    wire.media.iter().rev().find_map(of)
}

/// Media legs in the order they were opened.
fn legs(wire: &Wire) -> Vec<LegId> {
    let opened = |command: &MediaCommand| match command {
        MediaCommand::OpenTrunk { leg, .. } => Some(*leg),
        _ => None,
    };
    wire.media.iter().filter_map(opened).collect()
}

fn hear_each_other(wire: &Wire, one: LegId, other: LegId) -> bool {
    hears(wire, one) == Some(Sound::Leg(other)) && hears(wire, other) == Some(Sound::Leg(one))
}

#[test]
fn a_phone_puts_its_caller_through_to_a_colleague() {
    let mut wire = wire();
    let talk = talking(&mut wire);
    refer(&mut wire, &talk, "102");
    let invite = wire.read(ben(), "INVITE");
    assert!(
        invite.header("From").contains("+8613900000000"),
        "who is put through: {}",
        invite.header("From")
    );
    assert_eq!(invite.header("Referred-By"), "<sip:101@desk.example>");
    let waiting = legs(&wire);
    assert_eq!(hears(&wire, waiting[0]), Some(Sound::Music));
    wire.send(ben(), &invite.answer("180 Ringing", "u", ben(), ""));
    told(&mut wire, anna(), "180 Ringing");
    assert_eq!(hears(&wire, waiting[0]), Some(Sound::Ringback));
    assert_eq!(
        wire.snapshot("through")["calls"][0]["state"],
        "transferring"
    );

    wire.send(
        ben(),
        &invite.answer("200 OK", "u", ben(), &sdp(ben(), "8", "sendrecv")),
    );
    wire.read(ben(), "ACK");
    told(&mut wire, anna(), "200 OK");
    ok(&mut wire, anna(), "BYE");
    let joined = legs(&wire);
    assert!(hear_each_other(&wire, joined[0], joined[2]));
    assert_eq!(
        wire.rest(caller()),
        Vec::<String>::new(),
        "the far end sees nothing of it"
    );
    wire.inside(&talk.made, &talk.answered, "BYE", 2, "", "");
    ok(&mut wire, ben(), "BYE");
    wire.assert_nothing_is_held();
}

#[test]
fn a_phone_that_called_outside_puts_the_customer_through_and_the_recording_goes_on() {
    let mut config = plan();
    config
        .plan
        .rules
        .iter_mut()
        .for_each(|rule| rule.record = rule.name == "out");
    config.fraud.allowed = vec!["+8613".to_owned()];
    let mut wire = wire_with(config);
    let made = wire.invite_by(ANNA, anna(), "+8613800138000", &offer(anna()));
    let talk = join(&mut wire, made, at(TRUNK), "t");
    let refer = format!("Refer-To: <sip:103@{SWITCH}>\r\n");
    wire.inside(&talk.made, &talk.answered, "REFER", 3, &refer, "");
    wire.read(anna(), "SIP/2.0 202");
    ok(&mut wire, anna(), "NOTIFY");
    let invite = wire.read(cleo(), "INVITE");
    assert!(
        invite.header("From").contains("+8613800138000"),
        "{}",
        invite.header("From")
    );
    let by = invite.header("Referred-By");
    assert!(by.starts_with("<sip:101@"), "who has proved himself: {by}");
    wire.send(
        cleo(),
        &invite.answer("200 OK", "u", cleo(), &sdp(cleo(), "8", "sendrecv")),
    );
    wire.read(cleo(), "ACK");
    told(&mut wire, anna(), "200 OK");
    ok(&mut wire, anna(), "BYE");
    assert_eq!(
        wire.switch.trunk_snapshot()[0]["calls"],
        1,
        "the customer still holds his place"
    );
    let order = legs(&wire);
    let records = |command: &MediaCommand| match command {
        MediaCommand::Record {
            call,
            agent,
            customer,
            path,
        } => Some((*call, *agent, *customer, path.clone())),
        _ => None,
    };
    let records: Vec<_> = wire.media.iter().filter_map(records).collect();
    assert_eq!(records.len(), 2);
    assert_eq!(
        (records[0].0, &records[0].3),
        (records[1].0, &records[1].3),
        "one file"
    );
    assert_eq!((records[0].1, records[0].2), (Some(order[0]), order[1]));
    assert_eq!(
        (records[1].1, records[1].2),
        (Some(order[2]), order[1]),
        "the customer stays on the right"
    );
    wire.back(&invite, "u", cleo(), "BYE", "");
    ok(&mut wire, at(TRUNK), "BYE");
    assert_eq!(wire.switch.trunk_snapshot()[0]["calls"], 0);
    wire.assert_nothing_is_held();
}

#[test]
fn a_target_that_is_busy_gives_the_old_call_back() {
    let mut wire = wire();
    let talk = talking(&mut wire);
    let old = legs(&wire);
    refer(&mut wire, &talk, "102");
    let invite = wire.read(ben(), "INVITE");
    wire.send(ben(), &invite.answer("486 Besetzt", "u", ben(), ""));
    told(&mut wire, anna(), "486 Besetzt");
    assert!(hear_each_other(&wire, old[0], old[1]));
    // Again, to nobody, to no rule's number and to the police.
    for (to, status) in [("555", "404"), ("110", "403")] {
        refer(&mut wire, &talk, to);
        told(&mut wire, anna(), status);
        assert!(hear_each_other(&wire, old[0], old[1]), "{to}");
    }
    refer(&mut wire, &talk, "102");
    wire.read(ben(), "INVITE");
    wire.run_for(Duration::from_secs(21));
    told(&mut wire, anna(), "480");
    assert_eq!(wire.snapshot("through")["calls"][0]["state"], "talking");
    wire.inside(&talk.made, &talk.answered, "BYE", 2, "", "");
    ok(&mut wire, anna(), "BYE");
    wire.assert_nothing_is_held();
}

#[test]
fn who_has_asked_may_leave_before_the_target_answers() {
    let mut wire = wire();
    let talk = talking(&mut wire);
    refer(&mut wire, &talk, "102");
    let invite = wire.read(ben(), "INVITE");
    wire.back(&talk.invite, "t", anna(), "BYE", "");
    wire.read(anna(), "SIP/2.0 200");
    wire.send(
        ben(),
        &invite.answer("200 OK", "u", ben(), &sdp(ben(), "8", "sendrecv")),
    );
    wire.read(ben(), "ACK");
    let order = legs(&wire);
    assert!(hear_each_other(&wire, order[0], order[2]));
    wire.back(&invite, "u", ben(), "BYE", "");
    ok(&mut wire, caller(), "BYE");
    wire.assert_nothing_is_held();

    // And when the target refuses then, nobody is left: the caller is told why.
    let talk = talking(&mut wire);
    refer(&mut wire, &talk, "102");
    let invite = wire.read(ben(), "INVITE");
    wire.back(&talk.invite, "t", anna(), "BYE", "");
    wire.send(ben(), &invite.answer("486 Busy Here", "u", ben(), ""));
    let bye = ok(&mut wire, caller(), "BYE");
    assert_eq!(bye.header("Reason"), "SIP;cause=486");
    wire.assert_nothing_is_held();
}

#[test]
fn the_target_answers_as_the_referrer_hangs_up() {
    let mut wire = wire();
    let talk = talking(&mut wire);
    refer(&mut wire, &talk, "102");
    let invite = wire.read(ben(), "INVITE");
    wire.send(
        ben(),
        &invite.answer("200 OK", "u", ben(), &sdp(ben(), "8", "sendrecv")),
    );
    // Our BYE and his cross.
    let bye = wire.read(anna(), "BYE");
    wire.back(&talk.invite, "t", anna(), "BYE", "");
    wire.read(anna(), "SIP/2.0 200");
    wire.send(anna(), &bye.answer("481 Gone", "t", anna(), ""));
    assert_eq!(wire.snapshot("through")["calls"][0]["state"], "talking");
    wire.inside(&talk.made, &talk.answered, "BYE", 2, "", "");
    ok(&mut wire, ben(), "BYE");
    wire.assert_nothing_is_held();
}

#[test]
fn the_other_side_hangs_up_in_the_middle_of_a_transfer() {
    let mut wire = wire();
    let talk = talking(&mut wire);
    refer(&mut wire, &talk, "102");
    let invite = wire.read(ben(), "INVITE");
    wire.send(ben(), &invite.answer("180 Ringing", "u", ben(), ""));
    told(&mut wire, anna(), "180");
    wire.inside(
        &talk.made,
        &talk.answered,
        "BYE",
        2,
        "Reason: Q.850;cause=16\r\n",
        "",
    );
    told(&mut wire, anna(), "487");
    let bye = ok(&mut wire, anna(), "BYE");
    assert_eq!(bye.header("Reason"), "Q.850;cause=16");
    let cancel = wire.read(ben(), "CANCEL");
    wire.send(ben(), &cancel.answer("200 OK", "u", ben(), ""));
    wire.send(
        ben(),
        &invite.answer("487 Request Terminated", "u", ben(), ""),
    );
    wire.assert_nothing_is_held();
}

#[test]
fn a_hold_before_the_transfer_ends_with_it_and_one_of_the_far_end_is_passed_on() {
    let mut wire = wire();
    let talk = talking(&mut wire);
    // The caller holds us himself, then 101 transfers him.
    let hold = sdp(caller(), "8", "sendonly");
    wire.inside(&talk.made, &talk.answered, "INVITE", 2, "", &hold);
    wire.read(caller(), "SIP/2.0 200");
    wire.inside(&talk.made, &talk.answered, "ACK", 2, "", "");
    let passed = wire.read(anna(), "INVITE");
    assert!(passed.body().contains("a=sendonly"), "{}", passed.body());
    wire.send(
        anna(),
        &passed.answer("200 OK", "t", anna(), &sdp(anna(), "8", "recvonly")),
    );
    wire.read(anna(), "ACK");
    refer(&mut wire, &talk, "102");
    answer(&mut wire, ben(), "u");
    let passed = wire.read(ben(), "INVITE");
    assert!(
        passed.body().contains("a=sendonly"),
        "102 is held: {}",
        passed.body()
    );
    wire.send(
        ben(),
        &passed.answer("200 OK", "u", ben(), &sdp(ben(), "8", "recvonly")),
    );
    wire.read(ben(), "ACK");
    ok(&mut wire, anna(), "BYE");
    wire.inside(
        &talk.made,
        &talk.answered,
        "INVITE",
        3,
        "",
        &offer(caller()),
    );
    wire.read(caller(), "SIP/2.0 200");
    wire.inside(&talk.made, &talk.answered, "ACK", 3, "", "");
    let back = wire.read(ben(), "INVITE");
    assert!(back.body().contains("a=sendrecv"), "{}", back.body());
    wire.send(
        ben(),
        &back.answer("200 OK", "u", ben(), &sdp(ben(), "8", "sendrecv")),
    );
    wire.inside(&talk.made, &talk.answered, "BYE", 4, "", "");
    ok(&mut wire, ben(), "BYE");
    wire.assert_nothing_is_held();
}

#[test]
fn a_phone_that_holds_and_transfers_leaves_nobody_on_hold() {
    let mut wire = wire();
    let made = wire.invite_by(ANNA, anna(), "102", &offer(anna()));
    let talk = join(&mut wire, made, ben(), "t");
    wire.inside(
        &talk.made,
        &talk.answered,
        "INVITE",
        3,
        "",
        &sdp(anna(), "8", "inactive"),
    );
    wire.read(anna(), "SIP/2.0 200");
    wire.inside(&talk.made, &talk.answered, "ACK", 3, "", "");
    let passed = wire.read(ben(), "INVITE");
    // A glare: 102 changes something at the same time, so it refuses; we come again.
    wire.send(ben(), &passed.answer("491 Request Pending", "t", ben(), ""));
    wire.read(ben(), "ACK");
    let refer = format!("Refer-To: <sip:103@{SWITCH}>\r\n");
    wire.inside(&talk.made, &talk.answered, "REFER", 4, &refer, "");
    wire.read(anna(), "SIP/2.0 202");
    let passed = wire.read(ben(), "INVITE");
    assert!(
        passed.body().contains("a=sendrecv"),
        "the hold is over: {}",
        passed.body()
    );
    wire.send(
        ben(),
        &passed.answer("200 OK", "t", ben(), &sdp(ben(), "8", "sendrecv")),
    );
    wire.read(ben(), "ACK");
    let invite = wire.read(cleo(), "INVITE");
    wire.send(cleo(), &invite.answer("486 Busy Here", "u", cleo(), ""));
    // Back as it was: 101 still holds.
    let passed = wire.read(ben(), "INVITE");
    assert!(passed.body().contains("a=inactive"), "{}", passed.body());
    wire.send(
        ben(),
        &passed.answer("200 OK", "t", ben(), &sdp(ben(), "8", "inactive")),
    );
    wire.read(ben(), "ACK");
    wire.inside(&talk.made, &talk.answered, "BYE", 5, "", "");
    ok(&mut wire, ben(), "BYE");
    wire.assert_nothing_is_held();
}

/// The Replaces of a dialog as its own phone knows it: from the INVITE it got.
fn replaces(invite: &Letter, own_tag: &str) -> String {
    let from = invite.header("From");
    let tag = from.split_once("tag=").map_or("", |(_, tag)| tag);
    format!(
        "{};to-tag={tag};from-tag={own_tag}",
        invite.header("Call-ID")
    )
}

#[test]
fn an_attended_transfer_joins_the_two_others() {
    let mut wire = wire();
    let talk = talking(&mut wire);
    let made = wire.invite_by(ANNA, anna(), "102", &offer(anna()));
    let second = join(&mut wire, made, ben(), "u");
    let tag = second.answered.header("To");
    let tag = tag.split_once("tag=").map_or("", |(_, tag)| tag).to_owned();
    let named = format!(
        "{}%3Bto-tag%3D{tag}%3Bfrom-tag%3Dc",
        second.made.id.replace('@', "%40")
    );
    let headers = format!("Refer-To: <sip:102@{SWITCH}?Replaces={named}>\r\n");
    wire.back(&talk.invite, "t", anna(), "REFER", &headers);
    wire.read(anna(), "SIP/2.0 202");
    ok(&mut wire, anna(), "NOTIFY");
    told(&mut wire, anna(), "200 OK");
    ok(&mut wire, anna(), "BYE");
    ok(&mut wire, anna(), "BYE");
    let order = legs(&wire);
    assert!(hear_each_other(&wire, order[0], order[3]));
    assert_eq!(
        wire.snapshot("through")["calls"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(
        wire.rest(ben()),
        Vec::<String>::new(),
        "102 sees nothing of it"
    );
    wire.back(&second.invite, "u", ben(), "BYE", "");
    ok(&mut wire, caller(), "BYE");
    wire.assert_nothing_is_held();
}

#[test]
fn an_attended_transfer_names_a_call_of_the_same_phone_or_comes_to_nothing() {
    let mut wire = wire();
    let talk = talking(&mut wire);
    let order = legs(&wire);
    let foreign = wire.invite_by(("102", "p"), ben(), "103", &offer(ben()));
    let foreign = join(&mut wire, foreign, cleo(), "u");
    let theirs = replaces(&foreign.invite, "u")
        .replace(';', "%3B")
        .replace('=', "%3D")
        .replace('@', "%40");
    for (named, status) in [
        ("nobody%3Bto-tag%3Da%3Bfrom-tag%3Db", "481"),
        (theirs.as_str(), "403"),
    ] {
        let headers = format!("Refer-To: <sip:102@{SWITCH}?Replaces={named}>\r\n");
        wire.back(&talk.invite, "t", anna(), "REFER", &headers);
        wire.read(anna(), "SIP/2.0 202");
        ok(&mut wire, anna(), "NOTIFY");
        told(&mut wire, anna(), status);
    }
    assert!(
        hear_each_other(&wire, order[0], order[1]),
        "the call is as it was"
    );
    wire.inside(&talk.made, &talk.answered, "BYE", 2, "", "");
    ok(&mut wire, anna(), "BYE");
    wire.inside(&foreign.made, &foreign.answered, "BYE", 3, "", "");
    ok(&mut wire, cleo(), "BYE");
    wire.assert_nothing_is_held();
}

#[test]
fn a_phone_picks_up_what_rings_at_another() {
    let mut wire = wire();
    let made = wire.invite(caller(), "101", "", &offer(caller()));
    let invite = wire.read(anna(), "INVITE");
    wire.send(anna(), &invite.answer("180 Ringing", "t", anna(), ""));
    let named = format!("Replaces: {};early-only\r\n", replaces(&invite, "t"));
    let picked = wire.invite_by_with(("102", "p"), ben(), "101", &named, &offer(ben()));
    let taken = wire.read(ben(), "SIP/2.0 200");
    wire.inside(&picked, &taken, "ACK", picked.cseq, "", "");
    let cancel = wire.read(anna(), "CANCEL");
    assert!(
        cancel.header("Reason").contains("cause=200"),
        "{}",
        cancel.header("Reason")
    );
    wire.send(anna(), &cancel.answer("200 OK", "t", anna(), ""));
    wire.send(
        anna(),
        &invite.answer("487 Request Terminated", "t", anna(), ""),
    );
    let answered = wire.read(caller(), "SIP/2.0 200");
    wire.inside(&made, &answered, "ACK", 1, "", "");
    let order = legs(&wire);
    assert!(hear_each_other(&wire, order[0], order[2]));
    wire.inside(&picked, &taken, "BYE", picked.cseq + 1, "", "");
    ok(&mut wire, caller(), "BYE");
    wire.assert_nothing_is_held();
}

#[test]
fn a_phone_takes_the_place_of_another_in_a_call() {
    let mut wire = wire();
    let talk = talking(&mut wire);
    let named = replaces(&talk.invite, "t");
    let early = format!("Replaces: {named};early-only\r\n");
    wire.invite_by_with(("102", "p"), ben(), "101", &early, &offer(ben()));
    wire.read(ben(), "SIP/2.0 486");
    wire.invite_by_with(
        ("102", "p"),
        ben(),
        "101",
        "Replaces: no;to-tag=a;from-tag=b\r\n",
        &offer(ben()),
    );
    wire.read(ben(), "SIP/2.0 481");
    // An address whose calls are taken without a password is no phone of ours.
    wire.invite(
        caller(),
        "101",
        &format!("Replaces: {named}\r\n"),
        &offer(caller()),
    );
    wire.read(caller(), "SIP/2.0 403");
    let taken_over = format!("Replaces: {named}\r\n");
    let made = wire.invite_by_with(("102", "p"), ben(), "101", &taken_over, &offer(ben()));
    let taken = wire.read(ben(), "SIP/2.0 200");
    wire.inside(&made, &taken, "ACK", made.cseq, "", "");
    let bye = ok(&mut wire, anna(), "BYE");
    assert!(
        bye.header("Reason").contains("Replaced"),
        "{}",
        bye.header("Reason")
    );
    let order = legs(&wire);
    assert!(hear_each_other(&wire, order[0], order[2]));
    wire.inside(&talk.made, &talk.answered, "BYE", 2, "", "");
    ok(&mut wire, ben(), "BYE");
    wire.assert_nothing_is_held();
}

#[test]
fn a_trunk_may_not_have_calls_transferred_unless_it_is_allowed() {
    for allowed in [false, true] {
        let mut config = plan();
        config
            .trunks
            .get_mut(&TrunkId::new("t"))
            .expect("a trunk")
            .allow_refer = allowed;
        let mut wire = wire_with(config);
        let made = wire.invite(at(TRUNK), "101", "", &offer(at(TRUNK)));
        let talk = join(&mut wire, made, anna(), "t");
        let refer = format!("Refer-To: <sip:102@{SWITCH}>\r\n");
        wire.inside(&talk.made, &talk.answered, "REFER", 2, &refer, "");
        if allowed {
            wire.read(at(TRUNK), "SIP/2.0 202");
            answer(&mut wire, ben(), "u");
            ok(&mut wire, at(TRUNK), "BYE");
            wire.back(&talk.invite, "t", anna(), "BYE", "");
            ok(&mut wire, ben(), "BYE");
        } else {
            wire.read(at(TRUNK), "SIP/2.0 403");
            wire.inside(&talk.made, &talk.answered, "BYE", 3, "", "");
            ok(&mut wire, anna(), "BYE");
        }
        wire.assert_nothing_is_held();
    }
}

#[test]
fn what_a_phone_may_not_call_it_may_not_transfer_to() {
    let mut config = plan();
    config.fraud.allowed = vec!["+8613".to_owned()];
    config.fraud.each.calls_at_once = 1;
    config.fraud.longest_call_s = 600;
    let mut wire = wire_with(config);
    let talk = talking(&mut wire);
    refer(&mut wire, &talk, "+4420");
    told(&mut wire, anna(), "403");
    refer(&mut wire, &talk, "+8613800138000");
    let invite = answer(&mut wire, at(TRUNK), "u");
    assert_eq!(
        invite.header("Referred-By"),
        "",
        "a carrier is told of nobody's transfers"
    );
    told(&mut wire, anna(), "200 OK");
    ok(&mut wire, anna(), "BYE");
    // The transferred call counts as hers, and lasts no longer than one of hers.
    let again = wire.invite_by(ANNA, anna(), "+8613800138001", &offer(anna()));
    wire.read(anna(), "SIP/2.0 403");
    drop(again);
    wire.run_for(Duration::from_secs(601));
    ok(&mut wire, caller(), "BYE");
    ok(&mut wire, at(TRUNK), "BYE");
    wire.assert_nothing_is_held();
}
