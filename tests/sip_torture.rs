//! The torture messages of RFC 4475 and RFC 5118, through the door, as datagrams and WebSocket
//! frames: the right answer, or none.

#[path = "support/torture.rs"]
mod torture;

use torture::{Answer, message, rows, status};

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
    endpoint.handle_received(now(), &flow(transport), &message(name));
    let (mut sent, mut events) = (Vec::new(), Vec::new());
    while let Some(output) = endpoint.poll_output() {
        match output {
            Output::Send { bytes, .. } => sent.push(String::from_utf8_lossy(&bytes).into_owned()),
            Output::Event(event) => events.push(event),
        }
    }
    (sent, events)
}

#[test]
fn every_torture_message_gets_its_answer() {
    let mut wrong = Vec::new();
    for transport in [Transport::Udp, Transport::Ws] {
        for row in rows() {
            let (sent, events) = feed(&mut endpoint(), &row.name, transport);
            let got: Vec<u16> = sent.iter().map(|one| status(one.as_bytes())).collect();
            let routed = events
                .iter()
                .any(|e| matches!(e, SipEvent::Incoming { .. }));
            let right = match row.answer {
                Answer::Status(status) => got == [status] && !routed,
                Answer::Call => got == [100] && routed,
                Answer::None => got.is_empty() && !routed,
            };
            if !right {
                let (name, wanted) = (&row.name, row.answer);
                wrong.push(format!(
                    "{transport:?} {name}: {got:?}, not {wanted:?}; {sent:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_and_the_index_name_the_whole_folder() {
    let files = std::fs::read_dir(torture::folder())
        .unwrap()
        .filter_map(Result::ok);
    let files = files.map(|file| file.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = files
        .filter_map(|file| file.strip_suffix(".dat").map(str::to_owned))
        .collect();
    names.sort();
    let mut listed: Vec<String> = rows().into_iter().map(|row| row.name).collect();
    listed.sort();
    assert_eq!(names, listed);
    let index = std::fs::read_to_string(format!("{}/INDEX.tsv", torture::folder())).unwrap();
    let cell = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
    let mut indexed: Vec<String> = index.lines().skip(1).map(cell).collect();
    indexed.sort();
    assert_eq!(names, indexed);
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
    let uri_param = only("cparam02");
    assert!(
        uri_param.contains("Contact: <sip:+19725552222@gw1.example.net;unknownparam>;"),
        "{uri_param}"
    );
    let v6 = only("ipv6-good");
    assert!(v6.contains("sip:caller@[2001:db8::1]"), "{v6}");
}

/// An INVITE with this body.
fn invite(content_type: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "INVITE tel:+8613800138000 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.2;branch=z9hG4bKm\r\n\
         From: <sip:a@b>;tag=1\r\nTo: <tel:+86-138-0013-8000>\r\nCall-ID: m\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:a@127.0.0.2>\r\nContent-Type: {content_type}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn events_of(bytes: &[u8]) -> (u16, Vec<SipEvent>) {
    let mut endpoint = endpoint();
    endpoint.handle_received(now(), &flow(Transport::Udp), bytes);
    let (mut first, mut events) = (0, Vec::new());
    while let Some(output) = endpoint.poll_output() {
        match output {
            Output::Send { bytes, .. } if first == 0 => first = status(&bytes),
            Output::Send { .. } => {}
            Output::Event(event) => events.push(event),
        }
    }
    (first, events)
}

#[test]
fn a_number_is_called_by_a_tel_uri_and_its_offer_is_found_among_other_parts() {
    let isup = |handling: &str| {
        format!(
            "--x\r\nContent-Type: application/isup\r\nContent-Disposition: signal{handling}\r\n\r\n\
             \x01\r\n--x\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n--x--\r\n"
        )
    };
    let mixed = "multipart/mixed; boundary=x";
    let (status, events) = events_of(&invite(mixed, &isup(";handling=optional")));
    let [
        SipEvent::Incoming {
            request_uri,
            to,
            body: Some(body),
            headers,
            ..
        },
    ] = &events[..]
    else {
        panic!("{status} {events:?}")
    };
    assert_eq!((status, request_uri.as_str()), (100, "tel:+8613800138000"));
    assert_eq!(to.user, "+8613800138000");
    assert_eq!(
        (body.content_type.as_str(), body.bytes.as_slice()),
        ("application/sdp", &b"v=0\r\n"[..])
    );
    assert_eq!(headers.text("Content-Type").as_deref(), Some(mixed));
    let (status, _) = events_of(&invite(mixed, &isup("")));
    assert_eq!(status, 415, "a part that must be understood is not");
    let (status, _) = events_of(&invite("application/sdp\r\nAccept: text/*", "v=0\r\n"));
    assert_eq!(status, 406);
    let (status, _) = events_of(&invite(
        "application/sdp\r\nAccept: application/*;q=0.1",
        "v=0\r\n",
    ));
    assert_eq!(status, 100);
}

#[test]
fn emergency_services_can_be_called_and_nothing_registers_at_a_number() {
    let text = String::from_utf8(invite("application/sdp", "v=0\r\n")).unwrap();
    let (status, events) = events_of(
        text.replace("tel:+8613800138000", "urn:service:sos")
            .as_bytes(),
    );
    assert_eq!((status, events.len()), (100, 1));
    let (status, _) = events_of(text.replace("tel:+8613800138000", "tel:none").as_bytes());
    assert_eq!(status, 400);
    let (status, _) = events_of(text.replace("INVITE", "REGISTER").as_bytes());
    assert_eq!(status, 416);
    let long = text.replace(
        "tel:+8613800138000",
        &format!("sip:{}@h", "a".repeat(5_000)),
    );
    assert_eq!(events_of(long.as_bytes()).0, 414);
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
    for row in rows() {
        let bytes = row.bytes;
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
