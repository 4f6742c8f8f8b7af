//! What is fed with mutated inputs. A target panics when something that must hold does not.

use std::io::{Cursor, Read, Write};

use foredial::sdp::{Codec, Description, Direction, Local, Negotiation};
use foredial::sip::message::{
    Body, Message, NameAddr, Parsed, Request, Response, Target as Uris, Uri, Via, parse, parts,
};
use foredial::sip::{Framed, Framer, Limits};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

use crate::mutate::Dice;
use crate::seeds;

pub struct Target {
    pub name: &'static str,
    pub seeds: fn() -> Vec<Vec<u8>>,
    pub feed: fn(&[u8]),
}

pub const ALL: &[Target] = &[
    Target {
        name: "message",
        seeds: seeds::messages,
        feed: message,
    },
    Target {
        name: "framing",
        seeds: seeds::streams,
        feed: framing,
    },
    Target {
        name: "uri",
        seeds: seeds::addresses,
        feed: uri,
    },
    Target {
        name: "sdp",
        seeds: seeds::descriptions,
        feed: sdp,
    },
    Target {
        name: "websocket",
        seeds: seeds::frames,
        feed: websocket,
    },
    Target {
        name: "plain",
        seeds: seeds::messages,
        feed: plain,
    },
];

/// Near the limits, a message that is written out longer than it came may be refused for that.
const COMPARED_BYTES_MAX: usize = 12_000;

/// Whatever is accepted is written and read again as the same message, and answered by a message.
pub fn message(bytes: &[u8]) {
    match parse(bytes, &Limits::default()) {
        Parsed::Message(Message::Request(request)) => {
            look_at(&Message::Request(request.clone()));
            if bytes.len() > COMPARED_BYTES_MAX {
                return;
            }
            let again = read(&request.to_bytes());
            assert_eq!(core(&again), core(&Message::Request(request.clone())));
            answered(&request);
        }
        Parsed::Message(Message::Response(mut response)) => {
            look_at(&Message::Response(response.clone()));
            if bytes.len() > COMPARED_BYTES_MAX {
                return;
            }
            let again = read(&response.to_bytes());
            response.phrase.retain(|c| !c.is_control());
            assert_eq!(core(&again), core(&Message::Response(response)));
        }
        Parsed::Refused {
            request, status, ..
        } => {
            let refusal = Response::to(&request, status, Some("t")).to_bytes();
            let _ = parse(&refusal, &Limits::default());
        }
        Parsed::KeepAlive { .. } | Parsed::Garbage(_) => {}
    }
}

fn answered(request: &Request) {
    let answer = read(&Response::to(request, 200, Some("t")).to_bytes());
    let Message::Response(answer) = answer else {
        panic!("an answer reads as a request")
    };
    assert!(
        answer.headers.tag("To").is_some(),
        "an answer without To tag"
    );
    for name in ["Via", "From", "Call-ID", "CSeq"] {
        assert_eq!(answer.headers.texts(name), request.headers.texts(name));
    }
}

fn read(bytes: &[u8]) -> Message {
    match parse(bytes, &Limits::default()) {
        Parsed::Message(message) => message,
        other => panic!("what was written is refused: {other:?}"),
    }
}

/// First line, header fields and body.
type Core = (String, Vec<(String, Vec<u8>)>, Vec<u8>);

/// What must be the same afterwards.
fn core(message: &Message) -> Core {
    let (start, headers, body) = match message {
        Message::Request(one) => (
            format!("{} {}", one.method, one.uri),
            &one.headers,
            &one.body,
        ),
        Message::Response(one) => (
            format!("{} {}", one.status, one.phrase),
            &one.headers,
            &one.body,
        ),
    };
    let kept = headers
        .iter()
        .filter(|h| !h.name().eq_ignore_ascii_case("Content-Length"));
    let fields = kept.map(|h| (h.name().to_owned(), h.value().to_vec()));
    (start, fields.collect(), body.clone())
}

/// Every accessor once.
fn look_at(message: &Message) {
    let (headers, body) = match message {
        Message::Request(one) => (&one.headers, one.typed_body()),
        Message::Response(one) => (&one.headers, one.typed_body()),
    };
    let _ = (
        headers.via(),
        headers.cseq(),
        headers.call_id(),
        headers.contact_uri(),
    );
    for name in [
        "Contact",
        "Route",
        "Record-Route",
        "Require",
        "Reason",
        "Via",
        "Accept",
    ] {
        let _ = (
            headers.items(name),
            headers.seconds(name),
            headers.address(name),
        );
    }
    if let Message::Request(request) = message {
        let content_type = headers.text("Content-Type").unwrap_or_default();
        let _ = parts(&Body {
            content_type,
            bytes: request.body.clone(),
        });
        let _ = Uris::parse(&request.uri).map(|uri| uri.user_text());
        let mut changed = headers.clone();
        changed.replace_first_item("Via", "SIP/2.0/UDP h;branch=z9hG4bKnew");
        let branch = changed
            .via()
            .and_then(|via| via.branch().map(str::to_owned));
        assert_eq!(branch.as_deref(), Some("z9hG4bKnew"));
    }
    drop(body);
}

/// However a stream is cut, the same messages come out of it.
pub fn framing(bytes: &[u8]) {
    let mut dice = Dice(bytes.len() as u64 ^ bytes.first().copied().map_or(0, u64::from));
    let whole = framed(&[bytes]);
    let (mut cut, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + dice.below(400)).min(rest.len()));
        cut.push(piece);
        rest = after;
    }
    assert_eq!(framed(&cut), whole, "cut differently");
    for one in &whole {
        if let Framed::Message(message) = one {
            let _ = parse(message, &Limits::default());
        }
    }
}

fn framed(pieces: &[&[u8]]) -> Vec<Framed> {
    let (mut framer, mut out) = (Framer::new(Limits::default()), Vec::new());
    for piece in pieces {
        framer.push(piece);
        while let Some(one) = framer.poll() {
            out.push(one);
        }
    }
    out
}

pub fn uri(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    // A header value holds no line end.
    let text: String = text
        .chars()
        .filter(|c| !matches!(c, '\r' | '\n' | '\0'))
        .collect();
    if let Ok(uri) = Uri::parse(&text) {
        assert!(uri.is_same(&uri), "{text}: not the same as itself");
        let _ = (
            uri.user_text(),
            uri.aor(),
            uri.address(),
            uri.has_param("lr"),
            uri.param("transport"),
        );
    }
    let _ = Uris::parse(&text).map(|uri| uri.user_text());
    if let Some(address) = NameAddr::parse(&text) {
        let written = address.to_string();
        assert_eq!(
            NameAddr::parse(&written).as_ref(),
            Some(&address),
            "{text} as {written}"
        );
    }
    if let Some(via) = Via::parse(&text) {
        let written = via.to_string();
        assert_eq!(
            Via::parse(&written).as_ref(),
            Some(&via),
            "{text} as {written}"
        );
    }
}

pub fn sdp(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(description) = Description::parse(&text) else {
        return;
    };
    let written = description.to_string();
    let again = Description::parse(&written).unwrap_or_else(|e| panic!("{e}: {written}"));
    assert_eq!(again, description, "{written}");
    let local = Local {
        address: std::net::Ipv4Addr::LOCALHOST.into(),
        port: 10_000,
        codecs: vec![Codec::Pcma, Codec::Pcmu],
        telephone_event: true,
    };
    let mut negotiation = Negotiation::new(local.clone(), 1);
    if let Ok((answer, _)) = negotiation.answer(&text, Direction::SendRecv) {
        let answer = Description::parse(&answer).unwrap_or_else(|e| panic!("{e}: {answer}"));
        assert_eq!(
            answer.media.len(),
            description.media.len(),
            "streams of an answer"
        );
    }
    let mut negotiation = Negotiation::new(local, 1);
    let _ = (
        negotiation.offer(Direction::SendRecv),
        negotiation.read_answer(&text),
    );
}

/// Bytes of a client's WebSocket, after the handshake; what is in its frames is parsed.
pub fn websocket(bytes: &[u8]) {
    const MESSAGE_BYTES_MAX: usize = 64 * 1024;
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX));
    let mut socket =
        WebSocket::from_raw_socket(Deaf(Cursor::new(bytes)), Role::Server, Some(config));
    while let Ok(received) = socket.read() {
        let _ = parse(&received.into_data(), &Limits::default());
    }
}

/// Reads what it was given and forgets what is written.
struct Deaf<'a>(Cursor<&'a [u8]>);

impl Read for Deaf<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Deaf<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A plain request made of our own types, its texts drawn by the input: rsip must read it as we
/// wrote it.
pub fn plain(bytes: &[u8]) {
    use rsip::prelude::{HeadersExt, UntypedHeader};
    let sum = bytes.iter().fold(7_u64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
    });
    let mut dice = Dice(sum);
    let mut word = || format!("w{:x}", dice.roll());
    let display: String = String::from_utf8_lossy(bytes).chars().take(30).collect();
    let display: String = display
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == ' ')
        .collect();
    let (user, host, call_id) = (word(), word(), word());
    let uri = format!("sip:{user}@{host}.example.com");
    let mut request = Request::new(foredial::sip::message::Method::Invite, uri.clone());
    let from = NameAddr::new(Some(&display), &uri).with_tag(&word());
    for (name, value) in [
        (
            "Via",
            format!("SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK{}", word()),
        ),
        ("From", from.to_string()),
        ("To", format!("<{uri}>")),
        ("Call-ID", call_id.clone()),
        ("CSeq", "1 INVITE".to_owned()),
    ] {
        request.headers.push(name, value).expect("plain");
    }
    request.body = word().into_bytes();
    let theirs = rsip::Request::try_from(request.to_bytes()).expect("rsip reads plain messages");
    assert_eq!(theirs.call_id_header().expect("a Call-ID").value(), call_id);
    assert_eq!(theirs.uri.to_string(), uri);
    assert_eq!(theirs.body, request.body);
    assert_eq!(
        theirs.from_header().expect("a From").value(),
        from.to_string()
    );
}
