//! Every timer of RFC 3261 table 4 on a virtual clock, machine by machine.

use std::time::{Duration, Instant};

use super::Effect;
use super::client::Client;
use super::client_invite::ClientInvite;
use super::server::Server;
use super::server_invite::ServerInvite;
use crate::sip::message::{Method, Request, Response};
use crate::sip::timer::{Deadline, Timers};

fn request(method: Method) -> Request {
    let mut request = Request::new(method, "sip:bob@127.0.0.2");
    request
        .headers
        .put("Via", "SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKabc");
    request.headers.put("Route", "<sip:127.0.0.9;lr>");
    request.headers.put("From", "<sip:alice@127.0.0.1>;tag=a");
    request.headers.put("To", "<sip:bob@127.0.0.2>");
    request.headers.put("Call-ID", "c1");
    request.headers.put("CSeq", format!("7 {}", request.method));
    request
}

fn response(method: Method, status: u16) -> Response {
    Response::to(&request(method), status, Some("b"))
}

/// A machine as the clock sees it.
trait Clocked {
    fn tick(&mut self, now: Instant, fx: &mut Vec<Effect>);
    fn next(&self) -> Option<Deadline>;
}

impl Clocked for ClientInvite {
    fn tick(&mut self, now: Instant, fx: &mut Vec<Effect>) {
        self.handle_timeout(now, fx);
    }
    fn next(&self) -> Option<Deadline> {
        self.deadline()
    }
}

impl Clocked for Client {
    fn tick(&mut self, now: Instant, fx: &mut Vec<Effect>) {
        self.handle_timeout(now, fx);
    }
    fn next(&self) -> Option<Deadline> {
        self.deadline()
    }
}

impl Clocked for ServerInvite {
    fn tick(&mut self, now: Instant, fx: &mut Vec<Effect>) {
        self.handle_timeout(now, fx);
    }
    fn next(&self) -> Option<Deadline> {
        self.deadline()
    }
}

impl Clocked for Server {
    fn tick(&mut self, now: Instant, _: &mut Vec<Effect>) {
        self.handle_timeout(now);
    }
    fn next(&self) -> Option<Deadline> {
        self.deadline()
    }
}

/// Runs a machine to its end: milliseconds of each retransmission, how it failed, and when and
/// by which timer it ended.
fn run(machine: &mut impl Clocked, start: Instant) -> (Vec<u128>, Vec<String>, u128, &'static str) {
    let (mut sends, mut others, mut last) = (Vec::new(), Vec::new(), (start, "never"));
    while let Some((at, why)) = machine.next() {
        assert!(at >= last.0, "time ran backwards");
        last = (at, why);
        let mut fx = Vec::new();
        machine.tick(at, &mut fx);
        if let Some((next, why)) = machine.next() {
            assert!(next > at, "{why} was left due");
        }
        for effect in fx {
            match effect {
                Effect::Send(_) => sends.push((at - start).as_millis()),
                other => others.push(format!("{other:?}")),
            }
        }
    }
    (sends, others, (last.0 - start).as_millis(), last.1)
}

fn sends(fx: &[Effect]) -> Vec<String> {
    let bytes = fx.iter().filter_map(|effect| match effect {
        Effect::Send(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    });
    bytes.collect()
}

#[test]
fn timer_a_doubles_without_ceiling_until_timer_b_gives_up() {
    let (start, mut fx) = (Instant::now(), Vec::new());
    let invite = request(Method::Invite);
    let mut tx = ClientInvite::start(start, invite, false, Timers::default(), &mut fx);
    assert_eq!(sends(&fx).len(), 1);
    let (sent, others, end, by) = run(&mut tx, start);
    assert_eq!(sent, [500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    assert_eq!(
        (others.as_slice(), end, by),
        (["Failed(Timeout)".to_owned()].as_slice(), 32_000, "timer B")
    );
    assert!(tx.is_over());
}

#[test]
fn timer_b_can_be_shorter_and_a_reliable_invite_is_sent_once() {
    let (start, mut fx) = (Instant::now(), Vec::new());
    let timers = Timers {
        invite_timeout: Duration::from_secs(4),
        ..Timers::default()
    };
    let mut tx = ClientInvite::start(start, request(Method::Invite), true, timers, &mut fx);
    let timer_b = start + Duration::from_secs(4);
    assert_eq!(tx.next(), Some((timer_b, "timer B")));
    let (sent, told, end, by) = run(&mut tx, start);
    assert_eq!((sent.len(), told), (0, vec!["Failed(Timeout)".to_owned()]));
    // What comes late is still heard, as long as a peer would ring or repeat its answer.
    assert_eq!((end, by), (36_000, "late answer"));
    assert!(tx.is_over());
}

#[test]
fn a_refused_invite_is_acked_by_its_transaction_each_time_until_timer_d() {
    let (start, mut fx) = (Instant::now(), Vec::new());
    let invite = request(Method::Invite);
    let mut tx = ClientInvite::start(start, invite, false, Timers::default(), &mut fx);
    fx.clear();
    tx.handle_response(start, response(Method::Invite, 486), &mut fx);
    let ack = &sends(&fx)[0];
    assert!(
        ack.starts_with("ACK sip:bob@127.0.0.2 SIP/2.0\r\n"),
        "{ack}"
    );
    for part in [
        "branch=z9hG4bKabc",
        "Route: <sip:127.0.0.9;lr>",
        ";tag=b",
        "CSeq: 7 ACK",
    ] {
        assert!(ack.contains(part), "{part} in {ack}");
    }
    assert!(matches!(fx[1], Effect::Response(_)));
    fx.clear();
    tx.handle_response(start, response(Method::Invite, 486), &mut fx);
    assert_eq!(
        (sends(&fx).len(), fx.len()),
        (1, 1),
        "acknowledged again, not passed up again"
    );
    let (_, _, end, by) = run(&mut tx, start);
    assert_eq!((end, by), (32_000, "timer D"));
}

#[test]
fn a_reliable_refusal_needs_no_timer_d() {
    let (start, mut fx) = (Instant::now(), Vec::new());
    let invite = request(Method::Invite);
    let mut tx = ClientInvite::start(start, invite, true, Timers::default(), &mut fx);
    tx.handle_response(start, response(Method::Invite, 603), &mut fx);
    assert!(tx.is_over());
}

#[test]
fn accepted_passes_every_2xx_up_until_timer_m() {
    let (start, mut fx) = (Instant::now(), Vec::new());
    let invite = request(Method::Invite);
    let mut tx = ClientInvite::start(start, invite, false, Timers::default(), &mut fx);
    fx.clear();
    for _ in 0..3 {
        tx.handle_response(start, response(Method::Invite, 200), &mut fx);
    }
    tx.handle_response(start, response(Method::Invite, 486), &mut fx);
    assert_eq!(
        fx.iter()
            .filter(|e| matches!(e, Effect::Response(_)))
            .count(),
        3
    );
    assert_eq!(sends(&fx).len(), 0, "the ACK of a 2xx is the session's");
    let (_, _, end, by) = run(&mut tx, start);
    assert_eq!((end, by), (32_000, "timer M"));
}

#[test]
fn a_provisional_response_stops_timers_a_and_b() {
    let (start, mut fx) = (Instant::now(), Vec::new());
    let invite = request(Method::Invite);
    let mut tx = ClientInvite::start(start, invite, false, Timers::default(), &mut fx);
    tx.handle_response(start, response(Method::Invite, 180), &mut fx);
    let (sent, _, end, by) = run(&mut tx, start);
    assert_eq!((sent.len(), end, by), (0, 600_000, "ring limit"));
}

#[test]
fn timer_e_doubles_to_t2_until_timer_f_gives_up() {
    let (start, mut fx) = (Instant::now(), Vec::new());
    let mut tx = Client::start(
        start,
        &request(Method::Bye),
        false,
        Timers::default(),
        &mut fx,
    );
    let (sent, others, end, by) = run(&mut tx, start);
    assert_eq!(
        sent,
        [
            500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500
        ]
    );
    assert_eq!((others.len(), end, by), (1, 32_000, "timer F"));
}

#[test]
fn a_provisional_response_sets_timer_e_to_t2_and_leaves_timer_f() {
    let (start, mut fx) = (Instant::now(), Vec::new());
    let mut tx = Client::start(
        start,
        &request(Method::Bye),
        false,
        Timers::default(),
        &mut fx,
    );
    tx.handle_response(start, response(Method::Bye, 100), &mut fx);
    let (sent, _, end, by) = run(&mut tx, start);
    assert_eq!(sent, [4_000, 8_000, 12_000, 16_000, 20_000, 24_000, 28_000]);
    assert_eq!((end, by), (32_000, "timer F"));
}

#[test]
fn timer_k_absorbs_repeated_answers_for_t4_and_not_at_all_when_reliable() {
    for (reliable, expected) in [(false, (5_000, "timer K")), (true, (0, "never"))] {
        let (start, mut fx) = (Instant::now(), Vec::new());
        let bye = request(Method::Bye);
        let mut tx = Client::start(start, &bye, reliable, Timers::default(), &mut fx);
        tx.handle_response(start, response(Method::Bye, 200), &mut fx);
        fx.clear();
        tx.handle_response(start, response(Method::Bye, 200), &mut fx);
        assert!(fx.is_empty());
        let (_, _, end, by) = run(&mut tx, start);
        assert_eq!((end, by), expected);
    }
}

#[test]
fn timer_g_repeats_a_refusal_until_timer_h() {
    let (start, mut fx) = (Instant::now(), Vec::new());
    let mut tx = ServerInvite::new(false, Timers::default());
    tx.respond(start, &response(Method::Invite, 486), &mut fx);
    let (sent, others, end, by) = run(&mut tx, start);
    assert_eq!(
        sent,
        [
            500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500
        ]
    );
    assert_eq!(
        (others.as_slice(), end, by),
        (["Unacknowledged".to_owned()].as_slice(), 32_000, "timer H")
    );
}

#[test]
fn an_ack_stops_timer_g_and_timer_i_absorbs_more_of_them() {
    for (reliable, expected) in [(false, (5_000, "timer I")), (true, (0, "never"))] {
        let (start, mut fx) = (Instant::now(), Vec::new());
        let mut tx = ServerInvite::new(reliable, Timers::default());
        tx.respond(start, &response(Method::Invite, 486), &mut fx);
        assert!(!tx.handle_ack(start));
        assert!(!tx.handle_ack(start));
        let (sent, _, end, by) = run(&mut tx, start);
        assert_eq!((sent.len(), end, by), (0, expected.0, expected.1));
    }
}

#[test]
fn an_accepted_invite_absorbs_repeats_and_hands_acks_up_until_timer_l() {
    let (start, mut fx) = (Instant::now(), Vec::new());
    let mut tx = ServerInvite::new(false, Timers::default());
    tx.respond(start, &response(Method::Invite, 180), &mut fx);
    fx.clear();
    tx.handle_repeat(&mut fx);
    assert!(
        sends(&fx)[0].starts_with("SIP/2.0 180 "),
        "the last provisional, again"
    );
    tx.respond(start, &response(Method::Invite, 200), &mut fx);
    fx.clear();
    tx.handle_repeat(&mut fx);
    assert!(fx.is_empty());
    assert!(tx.handle_ack(start));
    let (_, _, end, by) = run(&mut tx, start);
    assert_eq!((end, by), (32_000, "timer L"));
}

#[test]
fn timer_j_repeats_the_answer_to_a_repeated_request() {
    for (reliable, expected) in [(false, (32_000, "timer J")), (true, (0, "never"))] {
        let (start, mut fx) = (Instant::now(), Vec::new());
        let mut tx = Server::new(reliable, Timers::default());
        tx.handle_repeat(&mut fx);
        assert!(fx.is_empty(), "not answered yet, so nothing to repeat");
        tx.respond(start, &response(Method::Bye, 100), &mut fx);
        assert!(fx.is_empty(), "RFC 4320: no provisional response");
        tx.respond(start, &response(Method::Bye, 200), &mut fx);
        tx.handle_repeat(&mut fx);
        assert_eq!(sends(&fx).len(), if reliable { 1 } else { 2 });
        let (_, _, end, by) = run(&mut tx, start);
        assert_eq!((end, by), expected);
    }
}

#[test]
fn an_unreachable_peer_fails_a_request_once() {
    let (start, mut fx) = (Instant::now(), Vec::new());
    let invite = request(Method::Invite);
    let mut tx = ClientInvite::start(start, invite, false, Timers::default(), &mut fx);
    fx.clear();
    tx.handle_unreachable(&mut fx);
    tx.handle_unreachable(&mut fx);
    assert_eq!(format!("{fx:?}"), "[Failed(Unreachable)]");
    assert!(tx.is_over());
}
