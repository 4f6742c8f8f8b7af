//! The parser and the serialiser, against each other and against rsip.

use proptest::prelude::*;

use super::{
    Headers, Limits, Message, Method, NameAddr, Parsed, Request, Response, Uri, UriError, Via,
    parse,
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
fn uris_are_read_with_all_their_parts() {
    let uri = Uri::parse("sips:al%20ice;x=1:pw@[::1]:5070;transport=tcp;lr?a=b").unwrap();
    assert_eq!((uri.secure, uri.port), (true, Some(5070)));
    assert_eq!(uri.user_text().as_deref(), Some("al ice;x=1"));
    assert_eq!(uri.password.as_deref(), Some("pw"));
    assert_eq!(uri.param("transport"), Some("tcp"));
    assert!(uri.has_param("lr"));
    assert_eq!(uri.headers.as_deref(), Some("a=b"));
    assert_eq!(Uri::parse("tel:+49").unwrap_err(), UriError::Scheme);
    let many = format!("sip:h{}", ";a".repeat(65));
    let long = format!("sip:{}@h", "a".repeat(5_000));
    for bad in [
        "sip:a b@c",
        "sip:a%2@c",
        "sip:@h",
        "sip:a@b@c",
        "sip:[::1",
        "sip:h:99999",
        &many,
        &long,
    ] {
        assert_eq!(Uri::parse(bad).unwrap_err(), UriError::Malformed, "{bad}");
    }
}

#[test]
fn what_is_too_long_is_refused_by_name() {
    let status = |text: &str| match read(text) {
        Parsed::Refused { status, phrase, .. } => (status, phrase),
        other => panic!("{other:?}"),
    };
    let uri = options("").replace("sip:bob@", &format!("sip:{}@", "b".repeat(4_100)));
    assert_eq!(status(&uri), (414, "Request-URI Too Long"));
    let field = options(&format!("X: {}\r\n", "x".repeat(17_000)));
    assert_eq!(status(&field), (400, "Header Field Too Long"));
    let head = options(&format!("X: {}\r\n", "x".repeat(15_000)).repeat(4));
    assert_eq!(status(&head), (400, "Header Fields Too Long"));
    assert_eq!(
        status(&options(&"X: y\r\n".repeat(300))),
        (400, "Too Many Header Fields")
    );
    let body = options("") + &"x".repeat(70_000);
    assert_eq!(status(&body), (513, "Message Too Large"));
    let params = options("").replace("tag=1", &format!("tag=1{}", ";a".repeat(64)));
    assert_eq!(status(&params), (400, "Bad From"));
}

#[test]
fn a_tag_stands_once_and_has_a_value() {
    for bad in ["tag", "tag=\"\"", "tag=1;tag=2", "tag;tag=1"] {
        let text = options("").replace("tag=1", bad);
        assert!(
            matches!(
                read(&text),
                Parsed::Refused {
                    status: 400,
                    phrase: "Bad From",
                    ..
                }
            ),
            "{bad}"
        );
    }
}

#[test]
fn reason_phrases_are_kept() {
    for phrase in ["", "Занято", "= 2**3 * 5**2", "  spaced  out "] {
        let text = options("").replace(
            "OPTIONS sip:bob@127.0.0.1 SIP/2.0",
            &format!("SIP/2.0 486 {phrase}"),
        );
        let Parsed::Message(Message::Response(response)) = read(&text) else {
            panic!("{text}")
        };
        assert_eq!(response.phrase, phrase);
        assert!(
            response
                .to_bytes()
                .starts_with(format!("SIP/2.0 486 {phrase}\r\n").as_bytes())
        );
    }
}

#[test]
fn a_via_parameter_stays_one_parameter() {
    let via = Via::parse("SIP/2.0/UDP h;branch=z9hG4bK1;x=\"a;received=1.2.3.4\"").unwrap();
    assert_eq!(via.param("received"), None);
    assert_eq!(Via::parse(&via.to_string()), Some(via));
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

    /// Whatever stands in an address we make, it stays in its header.
    #[test]
    fn no_part_of_an_address_breaks_out(
        name in any::<String>(), uri in "\\PC{0,20}[\r\n<>;, \"]{0,3}\\PC{0,20}", tag in any::<String>(),
    ) {
        let mut request = request_of(&options("X-After: 1\r\n"));
        request.headers.remove("From");
        let address = NameAddr::new(Some(&name), &format!("sip:{uri}")).with_tag(&tag);
        prop_assert!(request.headers.push("From", address.to_string()).is_ok());
        let bytes = request.to_bytes();
        let (Parsed::Message(Message::Request(again)) | Parsed::Refused { request: again, .. }) =
            parse(&bytes, &Limits::default())
        else {
            return Err(TestCaseError::fail("it is no request any more"));
        };
        prop_assert_eq!(again.headers.iter().count(), request.headers.iter().count() + 1);
        prop_assert_eq!(again.headers.texts("X-After"), ["1"]);
        if let Some(from) = again.headers.address("From") {
            prop_assert_eq!(from.params.len(), 1);
        }
    }

    /// A Request-URI is one word whatever it is made of.
    #[test]
    fn no_request_uri_breaks_its_line(uri in any::<String>()) {
        let mut request = request_of(&options(""));
        request.uri = format!("sip:{uri}");
        let text = request.to_bytes();
        let line: Vec<u8> = text.iter().copied().take_while(|b| *b != b'\r').collect();
        let line = String::from_utf8(line).unwrap();
        prop_assert_eq!(line.split(' ').count(), 3, "{}", line);
        prop_assert!(line.ends_with(" SIP/2.0"));
    }

    /// Values and bodies that are only passed on stay as they were, byte for byte.
    #[test]
    fn what_is_passed_on_survives(
        value in proptest::collection::vec(any::<u8>().prop_filter("one line", |b| !matches!(b, b'\r' | b'\n')), 0..60),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = options("").into_bytes();
        bytes.truncate(bytes.len() - 2);
        bytes.extend(b"X-Odd: ");
        bytes.extend(&value);
        bytes.extend(format!("\r\nContent-Length: {}\r\n\r\n", body.len()).bytes());
        bytes.extend(&body);
        let Parsed::Message(Message::Request(first)) = parse(&bytes, &Limits::default()) else {
            return Err(TestCaseError::fail("refused"));
        };
        let mut onward = request_of(&options(""));
        onward.headers.copy(&first.headers, "X-Odd");
        onward.body.clone_from(&first.body);
        let Parsed::Message(Message::Request(second)) = parse(&onward.to_bytes(), &Limits::default()) else {
            return Err(TestCaseError::fail("refused onward"));
        };
        let odd = |request: &Request| {
            request.headers.iter().find(|h| h.name() == "X-Odd").map(|h| h.value().to_vec())
        };
        let blank = |b: &u8| matches!(b, b' ' | b'\t');
        let from = value.iter().position(|b| !blank(b)).unwrap_or(value.len());
        let to = value.iter().rposition(|b| !blank(b)).map_or(from, |at| at + 1);
        prop_assert_eq!(odd(&second), Some(value[from..to].to_vec()));
        prop_assert_eq!(second.body, body);
    }

    #[test]
    fn any_phrase_stays_on_its_line(phrase in any::<String>()) {
        let mut response = Response::to(&request_of(&options("")), 486, Some("t"));
        response.phrase = phrase.clone();
        let Parsed::Message(Message::Response(again)) = parse(&response.to_bytes(), &Limits::default()) else {
            return Err(TestCaseError::fail("no response any more"));
        };
        let expected: String = phrase.chars().filter(|c| !c.is_control()).collect();
        prop_assert_eq!(again.phrase, expected);
    }
}

#[test]
fn a_plain_tag_is_what_reading_the_whole_address_finds() {
    let texts = [
        "<sip:a@b>;tag=1",
        "Ann <sip:a@b;tag=no>;x=y; TAG = 1 ",
        "<sip:a@b>",
        "\"<;tag=2>\" <sip:a@b>;tag=3",
        "sip:a@b;tag=4",
        "<sip:a@b>;tag",
        "<sip:a@b>;tag=\"5\"",
        "<sip:a@b>;y=\"x;tag=6\";tag=7",
        "<sip:a@b>;;tag=8",
        "<sip:a@b>;tag=9;tag=10",
        "<sip:a@b>;tag=1;\u{e9}=2",
        "<sip:a@b> x;tag=11",
    ];
    for text in texts {
        let whole = NameAddr::parse(text).and_then(|one| one.param("tag").map(str::to_owned));
        let mut headers = Headers::default();
        headers.put("To", text);
        // A list that cannot be read is refused before anyone asks for its tag.
        if NameAddr::parse(text).is_some() {
            assert_eq!(headers.tag("To"), whole, "{text}");
        }
    }
}
