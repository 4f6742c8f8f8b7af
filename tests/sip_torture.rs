//! The torture messages of RFC 4475, through the door, as datagrams: the right answer on the
//! wire, or none.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use foredial::now::{Now, UtcMs};
use foredial::sip::{Endpoint, EndpointConfig, Flow, Output, SipEvent, Transport};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn flow(transport: Transport) -> Flow {
    let (local, remote) = (address("127.0.0.1:5060"), address("127.0.0.2:5060"));
    Flow {
        id: 0,
        transport,
        local,
        remote,
    }
}

fn now() -> Now {
    Now {
        instant: Instant::now(),
        utc: UtcMs(1_700_000_000_000),
    }
}

fn endpoint() -> Endpoint {
    let mut config = EndpointConfig::new(address("127.0.0.1:5060"), "foredial.invalid");
    // wsinv is an INVITE inside a dialog nobody ever made.
    config.recreate_dialogs = true;
    let mut endpoint = Endpoint::new(config, 1);
    endpoint.permit_source(address("127.0.0.2:0").ip(), true);
    endpoint
}

/// What the endpoint says to a file: the status lines it sent, and its events.
fn feed(endpoint: &mut Endpoint, name: &str, transport: Transport) -> (Vec<String>, Vec<SipEvent>) {
    let path = format!("{}/tests/torture/{name}.dat", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    endpoint.handle_received(now(), &flow(transport), &bytes);
    let (mut sent, mut events) = (Vec::new(), Vec::new());
    while let Some(output) = endpoint.poll_output() {
        match output {
            Output::Send { bytes, .. } => sent.push(String::from_utf8_lossy(&bytes).into_owned()),
            Output::Event(event) => events.push(event),
        }
    }
    (sent, events)
}

fn status(message: &str) -> u16 {
    message
        .strip_prefix("SIP/2.0 ")
        .and_then(|rest| rest[..3].parse().ok())
        .unwrap_or(0)
}

/// Name, and the statuses sent; `100` with an event is an INVITE that would be routed.
const ANSWERS: &[(&str, &[u16])] = &[
    ("wsinv", &[100]),
    ("intmeth", &[501]),
    ("esc01", &[100]),
    ("escnull", &[200]),
    ("lwsdisp", &[200]),
    ("longreq", &[100]),
    ("dblreq", &[200]),
    ("transports", &[200]),
    ("badinv01", &[400]),
    ("clerr", &[400]),
    ("ncl", &[400]),
    ("scalar02", &[400]),
    ("quotbal", &[400]),
    ("lwsruri", &[400]),
    ("lwsstart", &[400]),
    ("trws", &[400]),
    ("escruri", &[400]),
    ("regbadct", &[400]),
    ("badaspec", &[400]),
    ("baddn", &[400]),
    ("badvers", &[505]),
    ("mismatch01", &[400]),
    ("bigcode", &[]),
    // Falls back to the matching of RFC 2543.
    ("badbranch", &[200]),
    ("insuf", &[400]),
    ("unkscm", &[416]),
    ("novelsc", &[416]),
    ("unksm2", &[400]),
    ("bext01", &[420]),
    ("invut", &[415]),
    ("regaut01", &[200]),
    ("mcl01", &[400]),
    ("bcast", &[]),
    ("cparam01", &[200]),
    ("regescrt", &[200]),
    ("inv2543", &[100]),
    // No Via, so nobody to answer.
    ("test", &[]),
];

#[test]
fn every_torture_message_gets_its_answer() {
    let mut wrong = Vec::new();
    for transport in [Transport::Udp, Transport::Ws] {
        for (name, expected) in ANSWERS {
            let (sent, events) = feed(&mut endpoint(), name, transport);
            let got: Vec<u16> = sent.iter().map(|message| status(message)).collect();
            let routed = events
                .iter()
                .any(|e| matches!(e, SipEvent::Incoming { .. }));
            if got != *expected || routed != (*expected == [100]) {
                wrong.push(format!(
                    "{transport:?} {name}: {got:?}, not {expected:?}; {sent:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_list_above_is_the_whole_folder() {
    let folder = format!("{}/tests/torture", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).unwrap().filter_map(Result::ok);
    let mut names: Vec<String> = files
        .map(|f| f.file_name().to_string_lossy().replace(".dat", ""))
        .collect();
    names.retain(|name| name != ".gitattributes");
    names.sort();
    let mut listed: Vec<String> = ANSWERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    listed.sort();
    assert_eq!(names, listed);
}

#[test]
fn answers_say_what_the_peer_needs_to_know() {
    let only = |name: &str| feed(&mut endpoint(), name, Transport::Udp).0.remove(0);
    let bext = only("bext01");
    let unsupported = bext
        .lines()
        .find(|l| l.starts_with("Unsupported: "))
        .unwrap();
    for option in ["nothingSupportsThis", "nothingSupportsThisEither"] {
        assert!(unsupported.contains(option), "{unsupported}");
    }
    assert!(only("invut").contains("\r\nAccept: application/sdp\r\n"));
    assert!(only("intmeth").contains("\r\nAllow: INVITE"));
    let null = only("escnull");
    assert!(null.contains("<sip:%00@host5.example.com>"), "{null}");
    assert!(null.contains("<sip:%00%00@host5.example.com>"), "{null}");
    let param = only("cparam01");
    assert!(
        param.contains("Contact: <sip:+19725552222@gw1.example.net>;unknownparam;"),
        "{param}"
    );
    assert!(only("regescrt").contains("?Route="));
}

#[test]
fn the_bytes_of_odd_headers_survive() {
    let (sent, _) = feed(&mut endpoint(), "intmeth", Transport::Udp);
    assert!(
        sent[0].contains("\"BEL:\\\u{7} NUL:\\\0 DEL:\\\u{7f}\""),
        "{}",
        sent[0]
    );
    let (sent, events) = feed(&mut endpoint(), "wsinv", Transport::Udp);
    // All three Vias, in order, in the answer.
    let vias = sent[0]
        .lines()
        .filter(|line| line.starts_with("Via: "))
        .collect::<Vec<_>>()
        .join(",");
    let at = |part: &str| {
        vias.find(part)
            .unwrap_or_else(|| panic!("{part} in {vias}"))
    };
    assert!(at("192.0.2.2") < at("spindle.example.com"));
    assert!(at("spindle.example.com") < at("192.168.255.111"));
    let Some(SipEvent::Incoming {
        headers,
        body,
        from,
        ..
    }) = events.first()
    else {
        panic!("{events:?}")
    };
    assert_eq!(
        headers.text("UnknownHeaderWithUnusualValue").as_deref(),
        Some(";;,,;;,;")
    );
    let folded = "newfangled value continued newfangled value";
    assert_eq!(headers.text("NewFangledHeader").as_deref(), Some(folded));
    assert_eq!(body.as_ref().map(|b| b.bytes.len()), Some(150));
    assert_eq!(from.display.as_deref(), Some("J Rosenberg \\\""));
}

#[test]
fn torture_messages_cut_short_or_glued_never_panic_and_leave_nothing() {
    let mut endpoint = endpoint();
    let start = now();
    for (name, _) in ANSWERS {
        let path = format!("{}/tests/torture/{name}.dat", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(path).unwrap();
        for end in (0..bytes.len()).step_by(11) {
            endpoint.handle_received(start, &flow(Transport::Udp), &bytes[..end]);
            endpoint.handle_received(start, &flow(Transport::Udp), &bytes[end..]);
        }
    }
    let mut sessions = Vec::new();
    while let Some(output) = endpoint.poll_output() {
        if let Output::Event(SipEvent::Incoming { session, .. }) = output {
            sessions.push(session);
        }
    }
    for session in sessions {
        endpoint.hang_up(start, session, None);
    }
    endpoint.handle_timeout(start.plus(Duration::from_secs(10_000)));
    endpoint.handle_timeout(start.plus(Duration::from_secs(20_000)));
    assert!(endpoint.snapshot().is_idle(), "{:?}", endpoint.snapshot());
}
