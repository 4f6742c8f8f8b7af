//! The parser and the serialiser, against each other and against rsip.

use proptest::prelude::*;

use super::{
    Limits, Message, Method, NameAddr, Parsed, Request, Response, Uri, UriError, Via, parse,
};

fn read(text: &str) -> Parsed {
    parse(text.as_bytes(), &Limits::default())
}

fn request_of(text: &str) -> Request {
    match read(text) {
        Parsed::Message(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn options(extra: &str) -> String {
    format!(
        "OPTIONS sip:bob@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.2;branch=z9hG4bKx\r\n\
         From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n{extra}\r\n"
    )
}

#[test]
fn ipv6_compact_names_and_folding_are_read() {
    let request = request_of(
        "INVITE sip:bob@[2001:db8::9]:5070;transport=udp SIP/2.0\r\n\
         v : SIP/2.0/UDP [2001:db8::1]:5062;branch=z9hG4bKq;rport\r\n\
         f:\"A \\\"B\\\"\"\r\n <sip:a@[::1]>;tag=1\r\nt: sip:c@d ; x = y\r\ni: q@w\r\n\
         CSeq: 1\r\n\tINVITE\r\nl: 2\r\n\r\nhiXX",
    );
    assert_eq!(request.body, b"hi");
    let via = request.headers.via().unwrap();
    assert_eq!((via.host.as_str(), via.port), ("[2001:db8::1]", Some(5062)));
    let from = request.headers.address("From").unwrap();
    assert_eq!(from.display.as_deref(), Some("A \"B\""));
    assert_eq!(request.headers.address("To").unwrap().param("x"), Some("y"));
    assert_eq!(request.headers.cseq(), Some((1, "INVITE".into())));
    let raw = request
        .headers
        .iter()
        .find(|h| h.name() == "From")
        .unwrap()
        .raw()
        .unwrap();
    assert!(raw.starts_with(b"f:\"A"), "the raw field is kept");
    let uri = Uri::parse(&request.uri).unwrap();
    assert_eq!(uri.address().unwrap().to_string(), "[2001:db8::9]:5070");
}

#[test]
fn what_is_malformed_is_refused_and_what_cannot_be_answered_is_dropped() {
    let refusals = [
        ("Content-Length: 99\r\n", 400),
        ("Content-Length: -1\r\n", 400),
        ("Content-Length: 0\r\nl: 1\r\n", 400),
        ("To: <sip:e@f>\r\n", 400),
        ("no colon here\r\n", 400),
        ("X: a\rb\r\n", 400),
        ("X: a\nb\r\n", 400),
        ("Max-Forwards: ten\r\n", 400),
    ];
    for (extra, status) in refusals {
        match read(&options(extra)) {
            Parsed::Refused { status: got, .. } => assert_eq!(got, status, "{extra}"),
            other => panic!("{extra}: {other:?}"),
        }
    }
    assert!(matches!(read("SIP/2.0 200 OK\r\n\r\n"), Parsed::Garbage(_)));
    assert!(matches!(read("hello"), Parsed::Garbage(_)));
    assert!(matches!(read("\r\n\r\n"), Parsed::KeepAlive { ping: true }));
    let ack = options("Bad\r\n").replace("OPTIONS", "ACK");
    assert!(
        matches!(read(&ack), Parsed::Garbage(_)),
        "an ACK is never answered"
    );
}

#[test]
fn methods_are_case_sensitive_and_known_apart_from_served() {
    assert_eq!(Method::parse("INVITE"), Method::Invite);
    assert!(matches!(Method::parse("SUBSCRIBE"), Method::Unserved(_)));
    assert!(matches!(Method::parse("invite"), Method::Unknown(_)));
    assert_eq!(Method::parse("PRACK").to_string(), "PRACK");
}

#[test]
fn a_header_cannot_smuggle_another() {
    let mut request = request_of(&options(""));
    for bad in ["a\r\nEvil: 1", "a\nb", "a\rb", "a\0b"] {
        assert!(request.headers.push("X-Note", bad).is_err(), "{bad:?}");
    }
    assert!(request.headers.push("X Note", "a").is_err());
    assert!(request.headers.push("X-Note\r\nEvil", "a").is_err());
    let mut response = Response::to(&request, 200, Some("t"));
    response.phrase = "OK\r\nEvil: 1".into();
    let text = String::from_utf8(response.to_bytes()).unwrap();
    assert!(!text.contains("\r\nEvil"), "{text}");
}

#[test]
fn uris_compare_by_rfc_3261_19_1_4() {
    let same = |a: &str, b: &str| Uri::parse(a).unwrap().is_same(&Uri::parse(b).unwrap());
    assert!(same(
        "sip:%61lice@atlanta.com;transport=TCP",
        "sip:alice@AtLanTa.CoM;Transport=tcp"
    ));
    assert!(same(
        "sip:carol@chicago.com",
        "sip:carol@chicago.com;newparam=5"
    ));
    assert!(!same(
        "SIP:ALICE@AtLanTa.CoM;Transport=udp",
        "sip:alice@AtLanTa.CoM;Transport=UDP"
    ));
    assert!(!same("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"));
    assert!(!same(
        "sip:bob@biloxi.com",
        "sip:bob@biloxi.com;transport=udp"
    ));
    assert!(!same("sip:%25%34%31@h", "sip:A@h"), "decoded once only");
    assert_eq!(Uri::parse("tel:+49").unwrap_err(), UriError::Scheme);
    assert_eq!(Uri::parse("sip:a b@c").unwrap_err(), UriError::Malformed);
    assert_eq!(Uri::parse("sip:a%2@c").unwrap_err(), UriError::Malformed);
}

#[test]
fn rport_and_received_say_where_a_request_came_from() {
    let mut via = Via::parse("SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK1;rport").unwrap();
    let source = "127.0.0.9:40000".parse().unwrap();
    assert_eq!(via.response_address(source), source);
    via.stamp(source);
    assert_eq!(
        (via.param("rport"), via.param("received")),
        (Some("40000"), Some("127.0.0.9"))
    );
    let mut via = Via::parse("SIP/2.0/UDP 127.0.0.9:5070;branch=z9hG4bK1").unwrap();
    assert_eq!(via.response_address(source).port(), 5070);
    via.stamp(source);
    assert_eq!(via.param("received"), None);
}

/// rsip is a second opinion: what we write in the plain core of SIP, it must read alike.
#[test]
fn rsip_reads_what_we_write() {
    use rsip::prelude::{HeadersExt, UntypedHeader};
    let mut request = Request::new(Method::Invite, "sip:bob@example.com");
    request
        .headers
        .put("Via", "SIP/2.0/UDP 127.0.0.1:5060;rport;branch=z9hG4bKabc");
    request.headers.put(
        "From",
        NameAddr::new(Some("Al \"x\""), "sip:a@b")
            .with_tag("1")
            .to_string(),
    );
    request.headers.put("To", "<sip:bob@example.com>");
    request.headers.put("Call-ID", "abc");
    request.headers.put("CSeq", "1 INVITE");
    request.body = b"v=0\r\n".to_vec();
    let theirs = rsip::Request::try_from(request.to_bytes()).unwrap();
    assert_eq!(theirs.method, rsip::Method::Invite);
    assert_eq!(theirs.call_id_header().unwrap().value(), "abc");
    assert_eq!(theirs.cseq_header().unwrap().seq().unwrap(), 1);
    assert_eq!(theirs.body, b"v=0\r\n");
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = parse(&bytes, &Limits::default());
    }

    /// A good message with bytes changed: never a panic, and what is accepted is written and
    /// read again as the same message.
    #[test]
    fn a_changed_message_is_read_the_same_after_writing(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes = options("Contact: \"X, y\" <sip:a;b=c@d>;q=0.3, <sip:e@f>\r\n\
            Content-Type: text/plain\r\nContent-Length: 3\r\n").into_bytes();
        bytes.extend_from_slice(b"abc");
        for (place, byte) in changes {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        if let Parsed::Message(Message::Request(first)) = parse(&bytes, &Limits::default()) {
            let again = parse(&first.to_bytes(), &Limits::default());
            let Parsed::Message(Message::Request(second)) = again else {
                return Err(TestCaseError::fail(format!("{again:?}")));
            };
            let fields = |r: &Request| -> Vec<(String, Vec<u8>)> {
                let kept = r.headers.iter().filter(|h| h.name() != "Content-Length");
                kept.map(|h| (h.name().to_owned(), h.value().to_vec())).collect()
            };
            prop_assert_eq!(&first.uri, &second.uri);
            prop_assert_eq!(&first.body, &second.body);
            let strip = |list: Vec<(String, Vec<u8>)>| -> Vec<(String, Vec<u8>)> {
                list.into_iter().filter(|(n, _)| !n.eq_ignore_ascii_case("Content-Length")).collect()
            };
            prop_assert_eq!(strip(fields(&first)), strip(fields(&second)));
        }
    }

    /// Any name at all stands in one header and comes back as it was, but for line ends.
    #[test]
    fn any_display_name_survives(name in any::<String>()) {
        let mut request = request_of(&options(""));
        request.headers.remove("From");
        let address = NameAddr::new(Some(&name), "sip:a@b").with_tag("1");
        prop_assert!(request.headers.push("From", address.to_string()).is_ok());
        let again = parse(&request.to_bytes(), &Limits::default());
        let Parsed::Message(Message::Request(again)) = again else {
            return Err(TestCaseError::fail(format!("{again:?}")));
        };
        let expected: String =
            name.chars().map(|c| if matches!(c, '\r' | '\n' | '\0') { ' ' } else { c }).collect();
        let got = again.headers.address("From").unwrap().display.unwrap_or_default();
        prop_assert_eq!(got, expected);
        prop_assert_eq!(again.headers.count("Call-ID"), 1);
    }
}
