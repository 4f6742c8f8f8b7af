//! What the endpoint shows to phones that register through proxies, to guessers, and to those who
//! come when there is too much to do.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use foredial::now::{Now, UtcMs};
use foredial::sip::guard::Load;
use foredial::sip::{
    Algorithm, Endpoint, EndpointConfig, Flow, InviteTimers, NameAddr, Output, Secret,
    SecurityEvent, SipEvent, Transport,
};

const PHONE: &str = "192.0.2.7:40000";
const USER: &str = "ann";

struct Bench {
    end: Endpoint,
    now: Now,
    events: Vec<SipEvent>,
    cseq: u32,
}

fn flow(from: &str) -> Flow {
    Flow {
        id: 0,
        transport: Transport::Udp,
        local: address("192.0.2.1:5060"),
        remote: address(from),
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

impl Bench {
    fn new() -> Bench {
        let config = EndpointConfig::new(address("192.0.2.1:5060"), "foredial.invalid");
        let mut end = Endpoint::new(config, 5);
        let order = vec![Algorithm::Sha256, Algorithm::Md5];
        end.set_phone(USER.into(), Secret::Password("pw".into()), order);
        let now = Now {
            instant: Instant::now(),
            utc: UtcMs(1_700_000_000_000),
        };
        Bench {
            end,
            now,
            events: Vec::new(),
            cseq: 0,
        }
    }

    /// Sends a request and returns what is answered.
    fn ask(&mut self, from: &str, method: &str, user: &str, lines: &str) -> Option<String> {
        self.cseq += 1;
        let cseq = self.cseq;
        let text = format!(
            "{method} sip:house SIP/2.0\r\nVia: SIP/2.0/UDP {from};rport;branch=z9hG4bK{cseq}\r\n\
             From: <sip:{user}@house>;tag=1\r\nTo: <sip:{user}@house>\r\nCall-ID: c\r\n\
             CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContact: <sip:{user}@10.0.0.9:5062>{lines}\
             Content-Length: 0\r\n\r\n"
        );
        self.end
            .handle_received(self.now, &flow(from), text.as_bytes());
        self.sent().pop()
    }

    fn sent(&mut self) -> Vec<String> {
        let mut sent = Vec::new();
        while let Some(output) = self.end.poll_output() {
            match output {
                Output::Send { bytes, .. } => {
                    sent.push(String::from_utf8_lossy(&bytes).into_owned())
                }
                Output::Event(event) => self.events.push(event),
            }
        }
        sent
    }

    /// With the answer to a challenge.
    fn prove(&mut self, from: &str, user: &str, password: &str, lines: &str) -> Option<String> {
        let asked = self.ask(from, "REGISTER", user, &format!("{lines}Expires: 600\r\n"))?;
        let answer = digest(&asked, user, password);
        self.ask(
            from,
            "REGISTER",
            user,
            &format!("{lines}Expires: 600\r\n{answer}"),
        )
    }

    fn notes(&self) -> Vec<(SecurityEvent, &'static str)> {
        let notes = self.events.iter().filter_map(|event| match event {
            SipEvent::Security(note) => Some((note.event, note.reason)),
            _ => None,
        });
        notes.collect()
    }
}

fn digest(challenge: &str, user: &str, password: &str) -> String {
    use md5::{Digest, Md5};
    let md5 = |text: String| -> String {
        let hash = Md5::digest(text.as_bytes());
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let nonce = challenge.split("nonce=\"").nth(1).unwrap();
    let nonce = nonce.split('"').next().unwrap();
    let ha1 = md5(format!("{user}:foredial:{password}"));
    let ha2 = md5("REGISTER:sip:house".to_owned());
    let response = md5(format!("{ha1}:{nonce}:00000001:c:auth:{ha2}"));
    format!(
        "Authorization: Digest username=\"{user}\", realm=\"foredial\", nonce=\"{nonce}\", \
         uri=\"sip:house\", response=\"{response}\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"c\"\r\n"
    )
}

fn status(answer: &Option<String>) -> &str {
    answer.as_deref().map_or("none", |text| &text[8..11])
}

#[test]
fn a_phone_behind_a_proxy_is_called_through_it() {
    let mut bench = Bench::new();
    let lines = ";reg-id=1;+sip.instance=\"<urn:uuid:1>\"\r\nPath: <sip:edge.example;lr;ob>\r\n\
                 Supported: path, outbound, gruu\r\nRequire: outbound\r\n";
    let bound = bench.prove(PHONE, USER, "pw", lines).unwrap();
    for line in [
        "Path: <sip:edge.example;lr;ob>\r\n",
        "Require: outbound\r\n",
        "Flow-Timer: ",
        "pub-gruu=\"sip:ann@house;gr=urn:uuid:1\"",
    ] {
        assert!(bound.contains(line), "{line}: {bound}");
    }
    let ways = bench.end.contacts(USER);
    assert_eq!(ways, bench.end.contacts("ann@house;gr=urn:uuid:1"));
    let from = NameAddr::new(None, "sip:foredial@house");
    let plan = bench
        .end
        .plan_phone(&ways[0], from, NameAddr::new(None, "sip:ann@house"));
    let stored = foredial::sip::InvitePlan::from_text(&plan.to_text());
    assert_eq!(stored.as_ref(), Some(&plan));
    let now = bench.now;
    bench
        .end
        .invite(now, plan, vec![], None, None, InviteTimers::default());
    let invite = bench.sent().pop().unwrap();
    assert!(
        invite.starts_with("INVITE sip:ann@10.0.0.9:5062 SIP/2.0\r\n"),
        "{invite}"
    );
    assert!(
        invite.contains("\r\nRoute: <sip:edge.example;lr;ob>\r\n"),
        "{invite}"
    );
}

#[test]
fn what_a_register_may_not_require_is_named() {
    let mut bench = Bench::new();
    let answer = bench.ask(PHONE, "REGISTER", USER, "\r\nRequire: path, teleport\r\n");
    assert_eq!(status(&answer), "420");
    assert!(answer.unwrap().contains("Unsupported: teleport\r\n"));
}

/// An answer without what differs by nature: nonce, tag, and what the request said.
fn shape(answer: &str, user: &str) -> String {
    let mut shape = String::new();
    for line in answer.lines() {
        let line = line.split("nonce=\"").next().unwrap_or_default();
        let line = line.split(";tag=").next().unwrap_or_default();
        if !line.starts_with("Via") && !line.starts_with("CSeq") {
            shape.push_str(&line.replace(user, "USER"));
            shape.push('\n');
        }
    }
    format!("{shape}{} bytes", answer.len() - 4 * user.len())
}

#[test]
fn a_wrong_password_and_an_unknown_user_look_the_same() {
    let mut bench = Bench::new();
    let known = bench.prove(PHONE, "ann", "guess", "\r\n").unwrap();
    let unknown = bench.prove(PHONE, "eve", "guess", "\r\n").unwrap();
    assert_eq!(shape(&known, "ann"), shape(&unknown, "eve"));
    assert_eq!(
        bench.notes(),
        [
            (SecurityEvent::AuthFailed, "wrong_password"),
            (SecurityEvent::AuthFailed, "unknown_user")
        ]
    );
}

#[test]
fn a_guesser_hears_nothing_any_more_and_the_phone_beside_him_does() {
    let mut bench = Bench::new();
    let (phone, guesser) = ("203.0.113.9:1000", "203.0.113.9:2000");
    assert_eq!(status(&bench.prove(phone, USER, "pw", "\r\n")), "200");
    for _ in 0..10 {
        assert_eq!(status(&bench.prove(guesser, USER, "guess", "\r\n")), "401");
    }
    let silence = bench.ask(guesser, "OPTIONS", USER, "\r\n");
    assert_eq!(silence, None);
    assert_eq!(status(&bench.prove(phone, USER, "pw", "\r\n")), "200");
    let counters = bench.end.snapshot().counters;
    assert_eq!(
        (counters.auth_failed, counters.lockouts, counters.locked_out),
        (10, 1, 1)
    );
    let last = bench.notes().pop();
    assert_eq!(
        last,
        Some((SecurityEvent::AddressLocked, "too_many_failures"))
    );
    bench.now = bench.now.plus(Duration::from_secs(60));
    assert_eq!(status(&bench.ask(guesser, "OPTIONS", USER, "\r\n")), "200");
}

#[test]
fn guesses_at_a_locked_user_learn_nothing_even_when_right() {
    let mut bench = Bench::new();
    for n in 0..30 {
        bench.prove(&format!("203.0.113.{n}:5060"), USER, "guess", "\r\n");
    }
    let right = bench
        .prove("198.51.100.1:5060", USER, "pw", "\r\n")
        .unwrap();
    let wrong = bench
        .prove("198.51.100.1:5060", USER, "no", "\r\n")
        .unwrap();
    assert_eq!(shape(&right, USER), shape(&wrong, USER));
    assert!(
        bench
            .notes()
            .contains(&(SecurityEvent::AuthFailed, "user_locked"))
    );
}

#[test]
fn a_scanner_is_dropped_and_told_of_at_times() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        let line = "\r\nUser-Agent: friendly-scanner\r\n";
        assert_eq!(bench.ask(PHONE, "OPTIONS", "100", line), None);
    }
    assert_eq!(bench.notes(), [(SecurityEvent::Scanner, "user_agent")]);
    assert_eq!(bench.end.snapshot().counters.scanners, 100);
}

#[test]
fn too_much_to_do_refuses_calls_first_then_registrations_and_never_what_is_up() {
    let mut bench = Bench::new();
    bench.end.permit_source(address(PHONE).ip(), true);
    let load = |queued| Load {
        queued,
        queued_max: 100,
        late_ms: 0,
    };
    bench.end.note_load(load(60));
    let refused = bench.ask(PHONE, "INVITE", USER, "\r\n");
    assert_eq!(status(&refused), "503");
    assert!(refused.unwrap().contains("Retry-After: "));
    assert_eq!(status(&bench.ask(PHONE, "REGISTER", USER, "\r\n")), "200");
    bench.end.note_load(load(90));
    assert_eq!(status(&bench.ask(PHONE, "REGISTER", USER, "\r\n")), "503");
    assert_eq!(status(&bench.ask(PHONE, "OPTIONS", USER, "\r\n")), "200");
    bench.end.note_load(load(0));
    bench.ask(PHONE, "INVITE", USER, "\r\n");
    assert!(
        bench
            .events
            .iter()
            .any(|event| matches!(event, SipEvent::Incoming { .. }))
    );
    // The call that is up is hung up in the middle of the worst.
    bench.end.note_load(load(100));
    let SipEvent::Incoming { session, .. } = bench.events.last().cloned().unwrap() else {
        panic!("{:?}", bench.events);
    };
    let now = bench.now;
    bench.end.accept(now, session, vec![], None);
    let accepted = bench.sent().pop().unwrap();
    let to = accepted
        .lines()
        .find(|line| line.starts_with("To: "))
        .unwrap();
    let cseq = bench.cseq;
    let bye = format!(
        "BYE sip:house SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};rport;branch=z9hG4bKbye\r\n\
         From: <sip:{USER}@house>;tag=1\r\n{to}\r\nCall-ID: c\r\nCSeq: {} BYE\r\n\
         Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        cseq + 1
    );
    bench.end.handle_received(now, &flow(PHONE), bye.as_bytes());
    let answers = bench.sent();
    assert!(
        answers.iter().any(|text| text.starts_with("SIP/2.0 200")),
        "{answers:?}"
    );
}
