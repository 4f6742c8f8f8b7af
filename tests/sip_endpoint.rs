//! The endpoint against a peer written by hand: what it says on the wire, message by message.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use foredial::now::{Now, UtcMs};
use foredial::sip::{
    Algorithm, Body, Credentials, DialogIdentity, EndedBy, Endpoint, EndpointConfig, Flow,
    InvitePlan, InviteTimers, NameAddr, Orphan, Output, Secret, SessionId, SipEvent, Transport,
};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

const PEER: &str = "127.0.0.2:5070";

struct Bench {
    end: Endpoint,
    now: Now,
    flow: Flow,
    events: Vec<SipEvent>,
}

impl Bench {
    fn new() -> Bench {
        let flow = Flow {
            id: 0,
            transport: Transport::Udp,
            local: address("127.0.0.1:5060"),
            remote: address(PEER),
        };
        let config = EndpointConfig::new(address("127.0.0.1:5060"), "foredial.invalid");
        let now = Now {
            instant: Instant::now(),
            utc: UtcMs(1_700_000_000_000),
        };
        Bench {
            end: Endpoint::new(config, 5),
            now,
            flow,
            events: Vec::new(),
        }
    }

    fn trunk() -> Bench {
        let mut bench = Bench::new();
        bench.end.permit_source(address(PEER).ip(), false);
        bench
    }

    /// Everything sent since the last look; events are kept aside.
    fn sent(&mut self) -> Vec<(Flow, String)> {
        let mut sent = Vec::new();
        while let Some(output) = self.end.poll_output() {
            match output {
                Output::Send { flow, bytes } => {
                    sent.push((flow, String::from_utf8_lossy(&bytes).into_owned()));
                }
                Output::Event(event) => self.events.push(event),
            }
        }
        sent
    }

    /// The start lines of everything sent.
    fn lines(&mut self) -> Vec<String> {
        let sent = self.sent();
        let first = |text: &String| {
            let line = text.lines().next().unwrap_or_default();
            line.replace(" SIP/2.0", "").replace("SIP/2.0 ", "")
        };
        sent.iter().map(|(_, text)| first(text)).collect()
    }

    fn one(&mut self) -> String {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:#?}");
        sent.remove(0).1
    }

    fn receive(&mut self, text: &str) {
        let flow = self.flow;
        self.end.handle_received(self.now, &flow, text.as_bytes());
    }

    fn wait(&mut self, ms: u64) {
        let until = self.now.plus(Duration::from_millis(ms));
        while let Some((at, _)) = self
            .end
            .poll_timeout()
            .filter(|(at, _)| *at <= until.instant)
        {
            self.now = self
                .now
                .plus(at.saturating_duration_since(self.now.instant));
            self.end.handle_timeout(self.now);
        }
        self.now = until;
    }

    fn call(&mut self, credentials: Option<Credentials>) -> (SessionId, InvitePlan, String) {
        let from = NameAddr::new(Some("Foredial"), "sip:100@127.0.0.1");
        let to = "sip:200@127.0.0.2:5070";
        let flow = self.flow;
        let plan = self
            .end
            .plan_invite(to, from, NameAddr::new(None, to), &flow);
        let headers = vec![
            (
                "P-Asserted-Identity".to_owned(),
                "<sip:100@127.0.0.1>".to_owned(),
            ),
            ("X-Bad".to_owned(), "a\r\nEvil: 1".to_owned()),
            ("Via".to_owned(), "mine".to_owned()),
        ];
        let (now, timers) = (self.now, InviteTimers::default());
        let id = self
            .end
            .invite(now, plan.clone(), headers, sdp(), credentials, timers);
        let invite = self.one();
        (id, plan, invite)
    }

    fn count(&self, wanted: impl Fn(&SipEvent) -> bool) -> usize {
        self.events.iter().filter(|event| wanted(event)).count()
    }

    fn finish(&mut self) {
        self.wait(2_000_000);
        self.sent();
        let snapshot = self.end.snapshot();
        assert!(snapshot.is_idle(), "{snapshot:?}");
    }
}

fn sdp() -> Option<Body> {
    Some(Body {
        content_type: "application/sdp".into(),
        bytes: b"v=0\r\n".to_vec(),
    })
}

fn header<'a>(text: &'a str, name: &str) -> &'a str {
    let found = text.lines().find(|l| {
        l.to_ascii_lowercase()
            .starts_with(&format!("{}:", name.to_ascii_lowercase()))
    });
    let line = found.unwrap_or_else(|| panic!("no {name} in {text}"));
    line.split_once(':').map(|(_, value)| value.trim()).unwrap()
}

/// A peer's response to a request of ours.
fn respond(request: &str, status: &str, to_tag: &str, extra: &str) -> String {
    let to = header(request, "To");
    let to = if to.contains(";tag=") {
        to.to_owned()
    } else {
        format!("{to};tag={to_tag}")
    };
    format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:peer@{PEER}>\r\n{extra}Content-Length: 0\r\n\r\n",
        header(request, "Via"),
        header(request, "From"),
        header(request, "Call-ID"),
        header(request, "CSeq"),
    )
}

/// A peer's request.
fn request(method: &str, cseq: u32, branch: &str, to_tag: &str, extra: &str) -> String {
    let tag = if to_tag.is_empty() {
        String::new()
    } else {
        format!(";tag={to_tag}")
    };
    let cseq_method = method;
    format!(
        "{method} sip:100@127.0.0.1:5060 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 127.0.0.2:5070;rport;branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n\
         From: <sip:ann@127.0.0.2>;tag=pt\r\nTo: <sip:ann@127.0.0.1>{tag}\r\nCall-ID: peer-call\r\n\
         CSeq: {cseq} {cseq_method}\r\nContact: <sip:ann@{PEER}>\r\n{extra}Content-Length: 0\r\n\r\n"
    )
}

fn to_tag(response: &str) -> String {
    header(response, "To")
        .split(";tag=")
        .nth(1)
        .unwrap_or_default()
        .to_owned()
}

// ── calling

#[test]
fn an_invite_is_what_its_plan_says_and_bad_headers_stay_out() {
    let mut bench = Bench::trunk();
    let (_, plan, invite) = bench.call(None);
    assert!(invite.starts_with("INVITE sip:200@127.0.0.2:5070 SIP/2.0\r\n"));
    assert_eq!(
        header(&invite, "Via"),
        format!("SIP/2.0/UDP 127.0.0.1:5060;rport;branch={}", plan.branch)
    );
    assert_eq!(header(&invite, "Call-ID"), plan.call_id);
    assert!(header(&invite, "From").ends_with(&format!(";tag={}", plan.from_tag)));
    assert_eq!(header(&invite, "Contact"), "<sip:foredial@127.0.0.1:5060>");
    assert_eq!(
        header(&invite, "P-Asserted-Identity"),
        "<sip:100@127.0.0.1>"
    );
    assert_eq!(header(&invite, "Content-Length"), "5");
    assert!(invite.ends_with("\r\n\r\nv=0\r\n"));
    assert!(!invite.contains("Evil") && !invite.contains("mine"));
    assert_eq!(bench.end.snapshot().counters.headers_refused, 2);
}

#[test]
fn the_ack_waits_for_the_caller_and_is_repeated_for_each_repeated_answer() {
    let mut bench = Bench::trunk();
    let (id, _, invite) = bench.call(None);
    bench.receive(&respond(&invite, "180 Ringing", "t1", ""));
    let record = "Record-Route: <sip:127.0.0.7:5080;lr>\r\nRecord-Route: <sip:127.0.0.8;lr>\r\n";
    let ok = respond(&invite, "200 OK", "t1", record);
    for _ in 0..3 {
        bench.receive(&ok);
        assert_eq!(
            bench.lines().len(),
            0,
            "nothing before the caller has stored the answer"
        );
    }
    assert_eq!(bench.count(|e| matches!(e, SipEvent::Answered { .. })), 1);
    bench.end.acknowledge(bench.now, id, None);
    let sent = bench.sent();
    let (flow, ack) = &sent[0];
    assert!(
        ack.starts_with(&format!("ACK sip:peer@{PEER} SIP/2.0")),
        "{ack}"
    );
    assert_eq!(
        flow.remote,
        address("127.0.0.8:5060"),
        "the last recorded route is the first hop"
    );
    let routes: Vec<&str> = ack.lines().filter(|l| l.starts_with("Route: ")).collect();
    assert_eq!(
        routes,
        [
            "Route: <sip:127.0.0.8;lr>",
            "Route: <sip:127.0.0.7:5080;lr>"
        ]
    );
    bench.receive(&ok);
    assert_eq!(bench.one(), *ack, "the same ACK again");
    bench.end.hang_up(bench.now, id, Some("Q.850;cause=16"));
    let bye = bench.one();
    assert!(bye.starts_with("BYE ") && header(&bye, "Reason") == "Q.850;cause=16");
    assert_eq!(header(&bye, "CSeq"), "2 BYE");
    bench.receive(&respond(&bye, "200 OK", "", ""));
    bench.finish();
    assert_eq!(
        bench.count(|e| matches!(
            e,
            SipEvent::Ended {
                by: EndedBy::Local,
                ..
            }
        )),
        1
    );
}

#[test]
fn a_forked_second_answer_is_acked_and_ended_at_once() {
    let mut bench = Bench::trunk();
    let (id, _, invite) = bench.call(None);
    bench.receive(&respond(&invite, "200 OK", "first", ""));
    bench.end.acknowledge(bench.now, id, None);
    bench.sent();
    let second = respond(&invite, "200 OK", "second", "");
    bench.receive(&second);
    let lines = bench.sent();
    assert!(lines[0].1.starts_with("ACK ") && lines[0].1.contains(";tag=second"));
    assert!(lines[1].1.starts_with("BYE ") && lines[1].1.contains(";tag=second"));
    bench.receive(&respond(&lines[1].1, "200 OK", "", ""));
    bench.receive(&second);
    assert_eq!(
        bench.lines(),
        ["ACK sip:peer@127.0.0.2:5070"],
        "one BYE is enough"
    );
    assert_eq!(bench.count(|e| matches!(e, SipEvent::Answered { .. })), 1);
    bench.end.hang_up(bench.now, id, None);
    bench.finish();
}

#[test]
fn a_cancel_waits_for_a_provisional_and_repeats_the_invites_branch() {
    let mut bench = Bench::trunk();
    let (id, plan, invite) = bench.call(None);
    bench.end.hang_up(bench.now, id, None);
    assert_eq!(bench.lines().len(), 0, "RFC 3261 9.1");
    bench.receive(&respond(&invite, "100 Trying", "x", ""));
    let cancel = bench.one();
    assert!(cancel.starts_with("CANCEL sip:200@127.0.0.2:5070 "));
    assert!(header(&cancel, "Via").ends_with(&plan.branch));
    assert_eq!(header(&cancel, "CSeq"), "1 CANCEL");
    bench.receive(&respond(&cancel, "200 OK", "t", ""));
    bench.receive(&respond(&invite, "487 Request Terminated", "t", ""));
    assert_eq!(bench.lines(), ["ACK sip:200@127.0.0.2:5070"]);
    bench.finish();
    assert_eq!(
        bench.count(|e| matches!(
            e,
            SipEvent::Ended {
                by: EndedBy::Local,
                ..
            }
        )),
        1
    );
    assert_eq!(bench.count(|e| matches!(e, SipEvent::Failed { .. })), 0);
}

#[test]
fn an_answer_that_crosses_the_cancel_is_acked_and_ended_without_the_caller() {
    let mut bench = Bench::trunk();
    let (id, _, invite) = bench.call(None);
    bench.receive(&respond(&invite, "180 Ringing", "t", ""));
    bench.end.hang_up(bench.now, id, None);
    let cancel = bench.one();
    bench.receive(&respond(&invite, "200 OK", "t", ""));
    assert_eq!(
        bench.lines(),
        ["ACK sip:peer@127.0.0.2:5070", "BYE sip:peer@127.0.0.2:5070"]
    );
    bench.receive(&respond(&cancel, "481 No", "t", ""));
    bench.finish();
    assert_eq!(bench.count(|e| matches!(e, SipEvent::Answered { .. })), 0);
    assert_eq!(
        bench.count(|e| matches!(
            e,
            SipEvent::Ended {
                by: EndedBy::Local,
                ..
            }
        )),
        1
    );
}

#[test]
fn a_cancelled_invite_that_is_never_answered_is_given_up() {
    let mut bench = Bench::trunk();
    let (id, _, invite) = bench.call(None);
    bench.receive(&respond(&invite, "180 Ringing", "t", ""));
    bench.end.hang_up(bench.now, id, None);
    bench.wait(33_000);
    bench.sent();
    assert_eq!(bench.count(|e| matches!(e, SipEvent::Ended { .. })), 1);
    assert_eq!(bench.end.snapshot().transactions.client_invite, 0);
    bench.finish();
}

#[test]
fn a_refusal_says_why_and_when_to_come_back() {
    let mut bench = Bench::trunk();
    let (_, _, invite) = bench.call(None);
    let extra = "Reason: SIP;cause=486;text=\"x\", Q.850;cause=17;text=\"User busy\"\r\nRetry-After: 20 (away)\r\n";
    bench.receive(&respond(&invite, "486 Besetzt", "t", extra));
    bench.sent();
    let Some(SipEvent::Failed {
        status,
        phrase,
        reason,
        retry_after_s,
        local,
        ..
    }) = bench.events.last()
    else {
        panic!("{:?}", bench.events)
    };
    assert_eq!(
        (*status, phrase.as_str(), reason.q850),
        (486, "Besetzt", Some(17))
    );
    assert_eq!((*retry_after_s, *local), (Some(20), false));
    bench.finish();
}

#[test]
fn an_unreachable_trunk_fails_at_once() {
    let mut bench = Bench::trunk();
    bench.call(None);
    bench.end.handle_send_failed(bench.now, 0, address(PEER));
    bench.sent();
    assert_eq!(
        bench.count(|e| matches!(
            e,
            SipEvent::Failed {
                status: 503,
                local: true,
                ..
            }
        )),
        1
    );
    bench.finish();
}

fn credentials() -> Option<Credentials> {
    Some(Credentials {
        username: "u".into(),
        password: "p".into(),
        realm: None,
    })
}

#[test]
fn a_challenge_is_answered_once_and_a_stale_nonce_once_more() {
    for (status, asks, answers) in [
        ("401 Unauthorized", "WWW-Authenticate", "Authorization"),
        (
            "407 Proxy Authentication Required",
            "Proxy-Authenticate",
            "Proxy-Authorization",
        ),
    ] {
        let mut bench = Bench::trunk();
        let (id, plan, invite) = bench.call(credentials());
        let ask = |nonce: &str, stale: &str| {
            format!(
                "{asks}: Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\", algorithm=SHA-256{stale}\r\n"
            )
        };
        bench.receive(&respond(&invite, status, "t", &ask("n1", "")));
        let sent = bench.sent();
        assert!(sent[0].1.starts_with("ACK "));
        let second = &sent[1].1;
        assert_eq!(header(second, "CSeq"), "2 INVITE");
        assert_eq!(header(second, "Call-ID"), plan.call_id);
        assert!(header(second, "Via").ends_with(&format!("{}.1", plan.branch)));
        assert!(header(second, answers).contains("nonce=\"n1\""));
        bench.receive(&respond(second, status, "t", &ask("n2", ", stale=true")));
        let third = bench.sent().remove(1).1;
        assert!(header(&third, answers).contains("nonce=\"n2\""));
        assert_eq!(third.matches(answers).count(), 1, "the old answer is gone");
        bench.receive(&respond(&third, "200 OK", "t", ""));
        bench.end.acknowledge(bench.now, id, None);
        let ack = bench.one();
        assert!(header(&ack, answers).contains("n2"), "RFC 3261 13.2.2.4");
        assert_eq!(header(&ack, "CSeq"), "3 ACK");
        bench.end.hang_up(bench.now, id, None);
        let bye = bench.one();
        assert_eq!(header(&bye, "CSeq"), "4 BYE");
        bench.finish();
    }
}

#[test]
fn the_password_is_not_given_to_a_stranger_or_twice() {
    let ask = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
    let mut bench = Bench::trunk();
    let (_, _, invite) = bench.call(credentials());
    let elsewhere = Flow {
        remote: address("127.0.0.66:5070"),
        ..bench.flow
    };
    let asked = respond(&invite, "401 Unauthorized", "t", ask);
    bench
        .end
        .handle_received(bench.now, &elsewhere, asked.as_bytes());
    assert_eq!(bench.lines().len(), 0, "not the peer we asked");
    bench.receive(&asked);
    let second = bench.sent().remove(1).1;
    bench.receive(&respond(&second, "401 Unauthorized", "t", ask));
    assert_eq!(bench.lines(), ["ACK sip:200@127.0.0.2:5070"]);
    assert_eq!(
        bench.count(|e| matches!(e, SipEvent::Failed { status: 401, .. })),
        1
    );
    bench.finish();
}

// ── being called

fn incoming(bench: &mut Bench) -> (SessionId, String) {
    bench.receive(&request("INVITE", 1, "i1", "", ""));
    let trying = bench.one();
    assert!(trying.starts_with("SIP/2.0 100 "));
    let found = bench.events.iter().find_map(|e| match e {
        SipEvent::Incoming { session, .. } => Some(*session),
        _ => None,
    });
    (found.unwrap(), trying)
}

#[test]
fn our_200_is_repeated_until_its_ack_and_without_one_the_call_is_ended() {
    let mut bench = Bench::trunk();
    let (id, _) = incoming(&mut bench);
    bench.end.ring(bench.now, id, 180, None);
    bench.end.accept(bench.now, id, vec![], sdp());
    let sent = bench.sent();
    assert!(sent[0].1.starts_with("SIP/2.0 180 ") && sent[1].1.starts_with("SIP/2.0 200 "));
    assert_eq!(to_tag(&sent[0].1), to_tag(&sent[1].1));
    bench.receive(&request("INVITE", 1, "i1", "", ""));
    assert_eq!(bench.lines().len(), 0, "a repeated INVITE is absorbed");
    bench.wait(4_000);
    assert_eq!(bench.lines(), ["200 OK"; 3], "after 0.5, 1.5 and 3.5 s");
    bench.end.hang_up(bench.now, id, None);
    assert_eq!(bench.lines().len(), 0, "no BYE before the ACK");
    bench.receive(&request("ACK", 1, "a1", &to_tag(&sent[1].1), ""));
    assert_eq!(bench.lines(), ["BYE sip:ann@127.0.0.2:5070"]);
    bench.finish();

    let mut bench = Bench::trunk();
    let (id, _) = incoming(&mut bench);
    bench.end.accept(bench.now, id, vec![], sdp());
    bench.wait(32_000);
    let lines = bench.lines();
    assert_eq!(lines.iter().filter(|l| *l == "200 OK").count(), 11);
    assert_eq!(lines.last().unwrap(), "BYE sip:ann@127.0.0.2:5070");
    bench.finish();
    assert_eq!(
        bench.count(|e| matches!(
            e,
            SipEvent::Ended {
                by: EndedBy::Timeout,
                ..
            }
        )),
        1
    );
}

#[test]
fn a_cancel_ends_what_rings_and_nothing_else() {
    let mut bench = Bench::trunk();
    bench.receive(&request("CANCEL", 1, "i1", "", ""));
    assert_eq!(bench.lines(), ["481 Call/Transaction Does Not Exist"]);
    let (id, _) = incoming(&mut bench);
    bench.receive(&request(
        "CANCEL",
        1,
        "i1",
        "",
        "Reason: SIP;cause=200;text=\"elsewhere\"\r\n",
    ));
    assert_eq!(bench.lines(), ["200 OK", "487 Request Terminated"]);
    bench.end.accept(bench.now, id, vec![], None);
    assert_eq!(bench.lines().len(), 0, "too late to accept");
    bench.receive(&request("ACK", 1, "i1", "x", ""));
    bench.finish();
    assert_eq!(
        bench.count(|e| matches!(
            e,
            SipEvent::Ended {
                by: EndedBy::Remote,
                ..
            }
        )),
        1
    );

    let mut bench = Bench::trunk();
    let (id, _) = incoming(&mut bench);
    bench.end.accept(bench.now, id, vec![], sdp());
    let ok = bench.one();
    bench.receive(&request("CANCEL", 1, "i1", "", ""));
    assert_eq!(bench.lines(), ["200 OK"], "answered, and without effect");
    bench.receive(&request("ACK", 1, "a", &to_tag(&ok), ""));
    assert_eq!(bench.end.snapshot().dialogs, 1);
    bench.receive(&request("BYE", 2, "b", &to_tag(&ok), ""));
    assert_eq!(bench.lines(), ["200 OK"]);
    bench.finish();
}

#[test]
fn requests_outside_any_dialog_get_the_answer_the_rfc_names() {
    let mut bench = Bench::trunk();
    let cases = [
        (request("OPTIONS", 1, "1", "", ""), "200 OK"),
        (
            request("SUBSCRIBE", 1, "2", "", ""),
            "405 Method Not Allowed",
        ),
        (
            request("UPDATE", 1, "3", "", ""),
            "481 Call/Transaction Does Not Exist",
        ),
        (request("REFER", 1, "3r", "", ""), "603 Decline"),
        (request("FROBNICATE", 1, "4", "", ""), "501 Not Implemented"),
        (
            request("BYE", 1, "5", "nobody", ""),
            "481 Call/Transaction Does Not Exist",
        ),
        (
            request("INVITE", 1, "6", "nobody", ""),
            "481 Call/Transaction Does Not Exist",
        ),
        (
            request("INFO", 1, "7", "", ""),
            "481 Call/Transaction Does Not Exist",
        ),
        (
            request("INVITE", 1, "8", "", "Require: frobnicate\r\n"),
            "420 Bad Extension",
        ),
        (
            request("INVITE", 1, "9", "", "").replace("Max-Forwards: 70", "Max-Forwards: 0"),
            "483 Too Many Hops",
        ),
        (
            request("OPTIONS", 1, "10", "", "").replace("sip:100@", "http:100@"),
            "416 Unsupported URI Scheme",
        ),
    ];
    for (text, expected) in cases {
        bench.receive(&text);
        assert_eq!(bench.lines(), [expected], "{text}");
    }
    bench.receive(&request("OPTIONS", 1, "1", "", ""));
    let options = bench.one();
    for name in ["Allow", "Accept"] {
        header(&options, name);
    }
    bench.receive(&request("ACK", 1, "99", "nobody", ""));
    assert_eq!(bench.lines().len(), 0, "an ACK is never answered");
    bench.finish();
}

#[test]
fn the_same_invite_by_two_paths_is_482_and_with_its_own_branch_a_repetition() {
    let mut bench = Bench::trunk();
    let (id, trying) = incoming(&mut bench);
    bench.receive(&request("INVITE", 1, "i1", "", ""));
    assert_eq!(bench.one(), trying);
    bench.receive(&request("INVITE", 1, "other", "", ""));
    assert_eq!(bench.lines(), ["482 Loop Detected"]);
    bench.end.reject(bench.now, id, 486, Some("Busy"), vec![]);
    assert_eq!(bench.lines(), ["486 Busy"]);
    bench.finish();
}

#[test]
fn answers_go_where_rfc_3581_says() {
    let mut bench = Bench::trunk();
    bench.flow.remote = address("127.0.0.2:33333");
    bench.receive(&request("OPTIONS", 1, "1", "", ""));
    let (flow, text) = bench.sent().remove(0);
    assert_eq!(flow.remote, address("127.0.0.2:33333"));
    assert!(header(&text, "Via").contains("rport=33333"), "{text}");
    bench.receive(&request("OPTIONS", 1, "2", "", "").replace(";rport", ""));
    assert_eq!(
        bench.sent().remove(0).0.remote,
        address(PEER),
        "without rport: the sent-by port"
    );
}

#[test]
fn requests_inside_a_dialog() {
    let mut bench = Bench::trunk();
    let (id, _) = incoming(&mut bench);
    bench.end.accept(bench.now, id, vec![], sdp());
    let tag = to_tag(&bench.one());
    bench.receive(&request("INVITE", 2, "r0", &tag, ""));
    assert_eq!(
        bench.lines(),
        ["491 Request Pending"],
        "our 200 has no ACK yet"
    );
    bench.receive(&request("ACK", 1, "a", &tag, ""));
    bench.receive(&request("INFO", 3, "f1", &tag, ""));
    assert_eq!(bench.lines(), ["200 OK"]);
    let typed = request("INFO", 4, "f2", &tag, "Content-Type: text/plain\r\n");
    bench.receive(&typed.replace("Content-Length: 0\r\n\r\n", "Content-Length: 1\r\n\r\nx"));
    assert_eq!(bench.lines(), ["415 Unsupported Media Type"]);
    bench.receive(&request("OPTIONS", 5, "o", &tag, ""));
    assert_eq!(bench.lines(), ["200 OK"]);
    bench.receive(&request("INFO", 2, "f3", &tag, ""));
    assert_eq!(bench.lines(), ["500 Server Internal Error"], "out of order");
    bench.receive(&request("INVITE", 6, "r1", &tag, ""));
    assert_eq!(bench.lines(), ["100 Trying"]);
    bench.receive(&request("INVITE", 7, "r2", &tag, ""));
    assert_eq!(bench.lines(), ["500 Server Internal Error"]);
    bench.end.answer_reoffer(bench.now, id, sdp());
    assert_eq!(bench.lines(), ["200 OK"]);
    bench.receive(&request("ACK", 6, "r1a", &tag, ""));
    bench.end.reoffer(bench.now, id, sdp());
    let ours = bench.one();
    bench.receive(&request("INVITE", 8, "r3", &tag, ""));
    assert_eq!(bench.lines(), ["491 Request Pending"], "glare");
    bench.receive(&respond(&ours, "491 Request Pending", "", ""));
    bench.sent();
    bench.wait(2_000);
    let again = bench.sent().pop().unwrap().1;
    assert!(again.starts_with("INVITE ") && header(&again, "CSeq") != header(&ours, "CSeq"));
    bench.receive(&respond(&again, "200 OK", "", ""));
    assert_eq!(
        bench.lines(),
        ["ACK sip:peer@127.0.0.2:5070"],
        "its Contact moved the target"
    );
    assert_eq!(
        bench.count(|e| matches!(e, SipEvent::ReofferAnswered { status: 200, .. })),
        1
    );
    bench.receive(&request("BYE", 9, "b", &tag, "").replace("tag=pt", "tag=other"));
    assert_eq!(
        bench.lines(),
        ["481 Call/Transaction Does Not Exist"],
        "another's tag"
    );
    bench.receive(&request("BYE", 9, "b2", &tag, ""));
    assert_eq!(bench.lines(), ["200 OK"]);
    bench.finish();
}

// ── trust and registration

fn register(bench: &mut Bench, cseq: u32, extra: &str) -> String {
    let text = request("REGISTER", cseq, &format!("reg{cseq}"), "", extra);
    bench.receive(&text);
    bench.one()
}

fn phones() -> Bench {
    let mut bench = Bench::new();
    let order = vec![Algorithm::Sha256, Algorithm::Md5];
    bench
        .end
        .set_phone("ann".into(), Secret::Password("pw".into()), order);
    bench
}

/// Answers a challenge the way RFC 7616 says, with nothing of the endpoint's own.
fn digest(challenge: &str, method: &str, password: &str, nc: &str) -> String {
    use md5::{Digest, Md5};
    let md5 = |text: String| -> String {
        Md5::digest(text.as_bytes())
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect()
    };
    let nonce = challenge
        .split("nonce=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let uri = "sip:100@127.0.0.1:5060";
    let ha1 = md5(format!("ann:foredial:{password}"));
    let ha2 = md5(format!("{method}:{uri}"));
    let response = md5(format!("{ha1}:{nonce}:{nc}:c:auth:{ha2}"));
    format!(
        "Authorization: Digest username=\"ann\", realm=\"foredial\", nonce=\"{nonce}\", \
         uri=\"{uri}\", response=\"{response}\", algorithm=MD5, qop=auth, nc={nc}, cnonce=\"c\"\r\n"
    )
}

#[test]
fn a_stranger_is_forbidden_or_challenged_and_never_rings() {
    let mut bench = Bench::new();
    bench.receive(&request("INVITE", 1, "1", "", ""));
    assert_eq!(bench.lines(), ["403 Forbidden"]);
    let mut bench = phones();
    bench.receive(&request("INVITE", 1, "1", "", ""));
    let text = bench.one();
    assert!(text.starts_with("SIP/2.0 401 "));
    let asked: Vec<&str> = text
        .lines()
        .filter(|l| l.starts_with("WWW-Authenticate: "))
        .collect();
    assert!(
        asked[0].contains("SHA-256") && asked[1].contains("algorithm=MD5"),
        "{asked:?}"
    );
    assert!(bench.events.is_empty());
    assert!(
        bench.end.snapshot().is_idle(),
        "a challenge costs no memory"
    );
    let answer = digest(&text, "INVITE", "wrong", "00000001");
    bench.receive(&request("INVITE", 2, "2", "", &answer));
    assert_eq!(bench.lines(), ["401 Unauthorized"]);
    let answer = digest(&text, "INVITE", "pw", "00000001");
    bench.receive(&request("INVITE", 3, "3", "", &answer));
    bench.sent();
    let user = bench.events.iter().find_map(|e| match e {
        SipEvent::Incoming { user, .. } => user.clone(),
        _ => None,
    });
    assert_eq!(user.as_deref(), Some("ann"));
}

#[test]
fn a_phone_registers_refreshes_queries_and_leaves() {
    let mut bench = phones();
    let asked = register(&mut bench, 1, "Expires: 600\r\n");
    assert!(asked.starts_with("SIP/2.0 401 "));
    let answer = |nc: u32| digest(&asked, "REGISTER", "pw", &format!("{nc:08x}"));
    let ok = register(&mut bench, 2, &format!("Expires: 600\r\n{}", answer(1)));
    assert!(ok.starts_with("SIP/2.0 200 "), "{ok}");
    assert_eq!(
        header(&ok, "Contact"),
        format!("<sip:ann@{PEER}>;expires=600")
    );
    let replay = register(&mut bench, 3, &format!("Expires: 600\r\n{}", answer(1)));
    assert!(
        replay.starts_with("SIP/2.0 401 ") && replay.contains("stale=true"),
        "{replay}"
    );
    let bindings = bench.end.contacts("ann@127.0.0.1");
    assert_eq!(bindings.len(), 1);
    assert_eq!(bindings[0].flow.remote, address(PEER));
    let brief = register(&mut bench, 4, &format!("Expires: 5\r\n{}", answer(2)));
    assert!(brief.starts_with("SIP/2.0 423 ") && header(&brief, "Min-Expires") == "60");
    let second = format!(
        "Contact: <sip:ann@127.0.0.3>;expires=100\r\nExpires: 600\r\n{}",
        answer(3)
    );
    let both = register(&mut bench, 5, &second);
    assert_eq!(both.matches("Contact: ").count(), 2);
    bench.wait(150_000);
    bench.sent();
    assert_eq!(
        bench.end.contacts("ann@127.0.0.1").len(),
        1,
        "the short one has run out"
    );
    let query = request("REGISTER", 6, "q", "", &answer(4))
        .replace(&format!("Contact: <sip:ann@{PEER}>\r\n"), "");
    bench.receive(&query);
    assert!(header(&bench.one(), "Contact").ends_with("expires=450"));
    let star = request(
        "REGISTER",
        7,
        "s",
        "",
        &format!("Expires: 0\r\n{}", answer(5)),
    );
    bench.receive(&star.replace(&format!("<sip:ann@{PEER}>"), "*"));
    assert!(bench.one().starts_with("SIP/2.0 200 "));
    assert!(bench.end.contacts("ann@127.0.0.1").is_empty());
    assert_eq!(
        bench.count(|e| matches!(e, SipEvent::Unregistered { .. })),
        2
    );
    bench.finish();
}

#[test]
fn nobody_registers_another_and_a_trunk_registers_nobody() {
    let mut bench = phones();
    let asked = register(&mut bench, 1, "");
    let answer = digest(&asked, "REGISTER", "pw", "00000001");
    let theft = request("REGISTER", 2, "x", "", &answer).replace("To: <sip:ann@", "To: <sip:boss@");
    bench.receive(&theft);
    assert_eq!(bench.lines(), ["403 Forbidden"]);
    let mut bench = Bench::trunk();
    assert!(register(&mut bench, 1, "").starts_with("SIP/2.0 403 "));
}

// ── WebSocket

#[test]
fn a_browser_calls_over_its_trusted_flow_and_everything_goes_back_on_it() {
    let mut bench = Bench::new();
    bench.flow = Flow {
        id: 7,
        transport: Transport::Wss,
        ..bench.flow
    };
    bench.end.trust_flow(7, "agent-1".into());
    let invite = request("INVITE", 1, "w", "", "Supported: outbound,timer,ice\r\n")
        .replace("SIP/2.0/UDP 127.0.0.2:5070;rport", "SIP/2.0/WSS df7jal23ls0d.invalid")
        .replace(
            &format!("Contact: <sip:ann@{PEER}>"),
            "Contact: <sip:ann@df7jal23ls0d.invalid;transport=wss;ob>;+sip.instance=\"<urn:uuid:1>\";reg-id=1",
        );
    bench.receive(&invite);
    let sent = bench.sent();
    assert_eq!(sent[0].0, bench.flow);
    let Some(SipEvent::Incoming { session, user, .. }) = bench.events.first().cloned() else {
        panic!("{:?}", bench.events)
    };
    assert_eq!(user.as_deref(), Some("agent-1"));
    bench.end.accept(bench.now, session, vec![], sdp());
    let (flow, ok) = bench.sent().remove(0);
    assert_eq!(flow, bench.flow);
    assert_eq!(
        header(&ok, "Contact"),
        "<sip:foredial@foredial.invalid;transport=ws>"
    );
    let tag = to_tag(&ok);
    bench.receive(
        &invite
            .replace(
                "To: <sip:ann@127.0.0.1>",
                &format!("To: <sip:ann@127.0.0.1>;tag={tag}"),
            )
            .replace("INVITE sip", "ACK sip")
            .replace("1 INVITE", "1 ACK")
            .replace("z9hG4bKw", "z9hG4bKa"),
    );
    bench.end.reoffer(bench.now, session, sdp());
    let (flow, reinvite) = bench.sent().remove(0);
    assert_eq!(flow, bench.flow);
    assert!(reinvite.starts_with("INVITE sip:ann@df7jal23ls0d.invalid;transport=wss;ob SIP/2.0"));
    assert!(header(&reinvite, "Via").starts_with("SIP/2.0/WSS foredial.invalid;branch="));
    bench.end.handle_flow_closed(bench.now, 7);
    bench.finish();
    assert_eq!(bench.count(|e| matches!(e, SipEvent::Ended { .. })), 1);
    assert_eq!(bench.end.snapshot().trusted_flows, 0);
}

// ── pings and orphans

#[test]
fn a_ping_is_answered_or_times_out() {
    let mut bench = Bench::trunk();
    let flow = bench.flow;
    bench.end.options(bench.now, "sip:127.0.0.2:5070", &flow);
    let options = bench.one();
    assert!(options.starts_with("OPTIONS sip:127.0.0.2:5070 SIP/2.0"));
    bench.receive(&respond(&options, "405 Not here", "t", ""));
    bench.end.options(bench.now, "sip:127.0.0.2:5070", &flow);
    bench.finish();
    assert_eq!(
        bench.count(|e| matches!(
            e,
            SipEvent::Pong {
                ok: true,
                status: 405,
                ..
            }
        )),
        1
    );
    assert_eq!(
        bench.count(|e| matches!(
            e,
            SipEvent::Pong {
                ok: false,
                status: 408,
                ..
            }
        )),
        1
    );
}

#[test]
fn an_unanswered_orphan_is_cancelled_from_its_stored_text() {
    let mut bench = Bench::trunk();
    let (_, plan, invite) = bench.call(None);
    let text = Orphan::Unanswered(plan.clone()).to_text();
    // Another process, another seed.
    let mut later = Bench::trunk();
    later
        .end
        .end_orphan(later.now, Orphan::from_text(&text).unwrap());
    let cancel = later.one();
    for name in ["Via", "From", "To", "Call-ID"] {
        assert_eq!(header(&cancel, name), header(&invite, name));
    }
    assert!(cancel.starts_with("CANCEL sip:200@127.0.0.2:5070 "));
    later.receive(&respond(&cancel, "200 OK", "t", ""));
    later.receive(&respond(&invite, "487 Request Terminated", "t", ""));
    assert_eq!(later.lines(), ["ACK sip:200@127.0.0.2:5070"]);
    assert_eq!(
        later.events,
        [SipEvent::OrphanEnded {
            call_id: plan.call_id
        }]
    );
    later.finish();
}

#[test]
fn an_orphan_that_is_answered_after_all_is_acked_and_ended() {
    let mut bench = Bench::trunk();
    let (_, plan, invite) = bench.call(None);
    let mut later = Bench::trunk();
    later.end.end_orphan(later.now, Orphan::Unanswered(plan));
    let cancel = later.one();
    later.receive(&respond(&invite, "200 OK", "t", ""));
    let lines = later.sent();
    assert!(lines[0].1.starts_with("ACK ") && lines[1].1.starts_with("BYE "));
    later.receive(&respond(&cancel, "481 Gone", "t", ""));
    later.receive(&respond(&lines[1].1, "200 OK", "t", ""));
    later.finish();
    assert_eq!(
        later.count(|e| matches!(e, SipEvent::OrphanEnded { .. })),
        1
    );
}

#[test]
fn an_orphan_that_had_been_challenged_is_found_by_its_later_branch() {
    let mut bench = Bench::trunk();
    let (_, plan, invite) = bench.call(credentials());
    let ask = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
    bench.receive(&respond(&invite, "401 Unauthorized", "t", ask));
    let second = bench.sent().remove(1).1;
    let mut later = Bench::trunk();
    later.end.end_orphan(later.now, Orphan::Unanswered(plan));
    let first_cancel = later.one();
    later.receive(&respond(&first_cancel, "481 No such call", "t", ""));
    let cancel = later.one();
    assert_eq!(header(&cancel, "Via"), header(&second, "Via"));
    assert_eq!(header(&cancel, "CSeq"), "2 CANCEL");
    later.receive(&respond(&invite, "200 OK", "late", ""));
    let late = later.sent();
    assert!(
        late[0].1.starts_with("ACK ") && late[1].1.starts_with("BYE "),
        "{late:?}"
    );
    later.receive(&respond(&late[1].1, "200 OK", "", ""));
    later.receive(&respond(&second, "487 Request Terminated", "t", ""));
    later.finish();
    assert_eq!(
        later.count(|e| matches!(e, SipEvent::OrphanEnded { .. })),
        1
    );
}

#[test]
fn an_answered_orphan_is_ended_by_bye() {
    let mut bench = Bench::trunk();
    let (_, _, invite) = bench.call(None);
    let route = "Record-Route: <sip:127.0.0.7;lr>\r\n";
    bench.receive(&respond(&invite, "200 OK", "t", route));
    bench.sent();
    let dialog = bench.events.iter().find_map(|e| match e {
        SipEvent::Answered { dialog, .. } => Some(dialog.clone()),
        _ => None,
    });
    let dialog = dialog.unwrap();
    assert_eq!(
        DialogIdentity::from_text(&dialog.to_text()),
        Some(dialog.clone())
    );
    let text = Orphan::Answered(dialog).to_text();
    let mut later = Bench::trunk();
    later
        .end
        .end_orphan(later.now, Orphan::from_text(&text).unwrap());
    let sent = later.sent();
    assert!(sent[0].1.starts_with("ACK ") && header(&sent[0].1, "CSeq") == "1 ACK");
    let bye = &sent[1].1;
    assert!(bye.starts_with("BYE ") && header(bye, "To").ends_with(";tag=t"));
    assert_eq!(header(bye, "Route"), "<sip:127.0.0.7;lr>");
    assert_eq!(header(bye, "From"), header(&invite, "From"));
    later.receive(&respond(bye, "481 Gone", "", ""));
    later.finish();
    assert_eq!(
        later.count(|e| matches!(e, SipEvent::OrphanEnded { .. })),
        1
    );
}
