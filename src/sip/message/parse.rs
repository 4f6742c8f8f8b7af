//! Bytes of one datagram or WebSocket message to a [`Message`] (RFC 3261 §7, §18.3), with the
//! checks of RFC 4475 done before anything else sees it.

use bytes::Bytes;

use super::headers::{first_item, is_token};
use super::uri::URI_BYTES_MAX;
use super::{Headers, Message, Method, NameAddr, Request, Response, Via};

/// Octets of one header field, and of all of them together.
const FIELD_BYTES_MAX: usize = 16_384;
const HEAD_BYTES_MAX: usize = 49_152;
/// Room made for at first.
const FIELDS_USUAL: usize = 16;

/// What one message may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub message_bytes_max: usize,
    pub header_count_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message_bytes_max: 65_535,
            header_count_max: 256,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    Message(Message),
    /// A malformed request that can still be answered.
    Refused {
        request: Request,
        status: u16,
        phrase: &'static str,
    },
    /// Nothing but line ends (RFC 5626 §4.4.1); a double one asks for a pong.
    KeepAlive {
        ping: bool,
    },
    /// Dropped: a malformed response, or nothing that could be answered.
    Garbage(&'static str),
}

#[derive(Clone, Copy)]
struct Defect(u16, &'static str);

#[must_use]
pub fn parse(bytes: &[u8], limits: &Limits) -> Parsed {
    let too_long = bytes.len() > limits.message_bytes_max;
    let bytes = &bytes[..bytes.len().min(limits.message_bytes_max)];
    let blank = bytes
        .iter()
        .take_while(|b| matches!(b, b'\r' | b'\n'))
        .count();
    let bytes = &bytes[blank..];
    if bytes.is_empty() {
        return Parsed::KeepAlive { ping: blank >= 4 };
    }
    // What headers are parts of.
    let bytes = &Bytes::copy_from_slice(bytes);
    let whole = find(bytes, b"\r\n\r\n");
    let end = whole.unwrap_or(bytes.len());
    let head = bytes[..end].strip_suffix(b"\r\n").unwrap_or(&bytes[..end]);
    let body = bytes.get(end + 4..).unwrap_or_default();
    let start_len = find(head, b"\r\n").unwrap_or(head.len());
    let fields = head.get(start_len + 2..).unwrap_or_default();
    let mut scan = Scan {
        source: bytes,
        headers: Headers::with_room(FIELDS_USUAL),
        defect: None,
    };
    if too_long {
        scan.blame(513, "Message Too Large");
    }
    if whole.is_none() {
        scan.blame(400, "No End of Headers");
    }
    if head.len() > HEAD_BYTES_MAX {
        scan.blame(400, "Header Fields Too Long");
    }
    scan.headers(&fields[..fields.len().min(HEAD_BYTES_MAX)], limits);
    let start = &head[..start_len];
    if start.len() >= 4 && start[..4].eq_ignore_ascii_case(b"SIP/") {
        response(start, scan, body)
    } else {
        request(start, scan, body)
    }
}

struct Scan<'a> {
    source: &'a Bytes,
    headers: Headers,
    defect: Option<Defect>,
}

impl Scan<'_> {
    /// The first defect found is the one reported.
    fn blame(&mut self, status: u16, phrase: &'static str) {
        self.defect.get_or_insert(Defect(status, phrase));
    }

    fn headers(&mut self, fields: &[u8], limits: &Limits) {
        let mut rest = fields;
        let mut count = 0_usize;
        while !rest.is_empty() {
            let (raw, after) = take_field(rest);
            rest = after;
            count += 1;
            if count > limits.header_count_max {
                self.blame(400, "Too Many Header Fields");
                return;
            }
            self.field(raw);
        }
    }

    fn field(&mut self, raw: &[u8]) {
        if raw.len() > FIELD_BYTES_MAX {
            return self.blame(400, "Header Field Too Long");
        }
        let Some(colon) = raw.iter().position(|b| *b == b':') else {
            return self.blame(400, "Header Field Without Colon");
        };
        let name = raw[..colon].trim_ascii_end();
        let value = unfold(self.source, &raw[colon + 1..]);
        if !is_token(name) {
            return self.blame(400, "Bad Header Field Name");
        }
        if value.iter().any(|b| matches!(b, b'\r' | b'\n')) {
            return self.blame(400, "Bare CR or LF");
        }
        // A token is ASCII, so nothing is lost.
        let name = String::from_utf8_lossy(name);
        let raw = self.source.slice_ref(raw);
        self.headers.push_received(&name, value, raw);
    }

    /// RFC 3261 18.3 over datagrams: surplus octets are cut off, missing ones are an error.
    fn body(&mut self, body: &[u8]) -> Vec<u8> {
        let lengths = self.headers.texts("Content-Length");
        let Some(first) = lengths.first() else {
            return body.to_vec();
        };
        if lengths.iter().any(|other| other != first) {
            self.blame(400, "Contradicting Content-Length");
            return Vec::new();
        }
        let digits = !first.is_empty() && first.bytes().all(|b| b.is_ascii_digit());
        match first.parse::<usize>() {
            Ok(length) if digits && length <= body.len() => body[..length].to_vec(),
            Ok(_) if digits => {
                self.blame(400, "Content-Length Larger Than Message");
                Vec::new()
            }
            _ => {
                self.blame(400, "Bad Content-Length");
                Vec::new()
            }
        }
    }

    fn common(&mut self, method: Option<&Method>) {
        for name in ["From", "To", "Call-ID", "CSeq"] {
            match self.headers.count(name) {
                0 => self.blame(400, "Missing Header Field"),
                1 => {}
                _ => self.blame(400, "Repeated Header Field"),
            }
        }
        let call_id = self.headers.first("Call-ID");
        if call_id.is_some_and(|id| id.is_empty() || id.contains([' ', '\t'])) {
            self.blame(400, "Bad Call-ID");
        }
        for (name, phrase) in [("From", "Bad From"), ("To", "Bad To")] {
            let address = self.headers.address(name);
            if !address.is_some_and(|address| has_plain_tag(&address)) {
                self.blame(400, phrase);
            }
        }
        match (self.headers.cseq(), method) {
            (None, _) => self.blame(400, "Bad CSeq"),
            (Some((_, named)), Some(method)) if named != method.to_string() => {
                self.blame(400, "CSeq Method Mismatch");
            }
            _ => {}
        }
        // The top Via is rewritten in place, so it must stand first in the first field.
        let top = self
            .headers
            .first("Via")
            .map(|text| !text.starts_with(',') && first_item(&text).and_then(Via::parse).is_some());
        match top {
            None => self.blame(400, "Missing Via"),
            Some(false) => self.blame(400, "Bad Via"),
            Some(true) => {}
        }
        let mut contacts = self.headers.items("Contact").into_iter();
        if !contacts.all(|one| one == "*" || NameAddr::parse(&one).is_some()) {
            self.blame(400, "Bad Contact");
        }
    }
}

/// At most one tag, and one with a value: the dialog hangs on it.
fn has_plain_tag(address: &NameAddr) -> bool {
    let params = address.params.iter();
    let mut tags = params.filter(|(name, _)| name.eq_ignore_ascii_case("tag"));
    let first = tags.next();
    let valued = first.is_none_or(|(_, value)| value.as_deref().is_some_and(|tag| !tag.is_empty()));
    valued && tags.next().is_none()
}

fn request(start: &[u8], mut scan: Scan<'_>, body: &[u8]) -> Parsed {
    let Some((method, uri)) = request_line(start, &mut scan) else {
        return Parsed::Garbage("no request line");
    };
    let body = scan.body(body);
    scan.common(Some(&method));
    let hops = scan.headers.texts("Max-Forwards");
    if hops.len() > 1
        || hops
            .iter()
            .any(|n| n.is_empty() || n.bytes().any(|b| !b.is_ascii_digit()))
    {
        scan.blame(400, "Bad Max-Forwards");
    }
    let answerable = method != Method::Ack && scan.headers.count("Via") > 0;
    let request = Request {
        method,
        uri,
        headers: scan.headers,
        body,
    };
    match scan.defect {
        None => Parsed::Message(Message::Request(request)),
        Some(Defect(status, phrase)) if answerable => Parsed::Refused {
            request,
            status,
            phrase,
        },
        Some(Defect(_, phrase)) => Parsed::Garbage(phrase),
    }
}

/// RFC 3261 7.1: exactly one SP between the three parts.
fn request_line(start: &[u8], scan: &mut Scan<'_>) -> Option<(Method, String)> {
    let line = std::str::from_utf8(start).ok()?;
    let (method, rest) = line.split_once(' ')?;
    if !is_token(method.as_bytes()) {
        return None;
    }
    let (uri, version) = rest.rsplit_once(' ').unwrap_or((rest, ""));
    if !version.eq_ignore_ascii_case("SIP/2.0") {
        if is_version(version) {
            scan.blame(505, "Version Not Supported");
        } else {
            scan.blame(400, "Bad Request-Line");
        }
    }
    if uri.len() > URI_BYTES_MAX {
        scan.blame(414, "Request-URI Too Long");
    }
    let bad = |b: u8| !b.is_ascii_graphic() || b"<>\"".contains(&b);
    if uri.is_empty() || uri.bytes().any(bad) {
        scan.blame(400, "Bad Request-URI");
    }
    Some((Method::parse(method), uri.to_owned()))
}

fn is_version(text: &str) -> bool {
    let Some(number) = text
        .get(4..)
        .filter(|_| text[..4].eq_ignore_ascii_case("SIP/"))
    else {
        return false;
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    number
        .split_once('.')
        .is_some_and(|(major, minor)| digits(major) && digits(minor))
}

fn response(start: &[u8], mut scan: Scan<'_>, body: &[u8]) -> Parsed {
    let line = String::from_utf8_lossy(start);
    let Some((version, rest)) = line.split_once(' ') else {
        return Parsed::Garbage("no status");
    };
    let (code, phrase) = rest.split_once(' ').unwrap_or((rest, ""));
    let three_digits = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
    let status = code
        .parse::<u16>()
        .ok()
        .filter(|s| three_digits && (100..700).contains(s));
    let Some(status) = status.filter(|_| version.eq_ignore_ascii_case("SIP/2.0")) else {
        return Parsed::Garbage("bad status line");
    };
    let body = scan.body(body);
    scan.common(None);
    match scan.defect {
        Some(Defect(_, why)) => Parsed::Garbage(why),
        None => {
            let phrase = phrase.to_owned();
            Parsed::Message(Message::Response(Response {
                status,
                phrase,
                headers: scan.headers,
                body,
            }))
        }
    }
}

/// One field with its continuation lines, and what follows it.
fn take_field(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut from = 0;
    while let Some(at) = find(&bytes[from..], b"\r\n") {
        let next = from + at + 2;
        if !matches!(bytes.get(next), Some(b' ' | b'\t')) {
            return (&bytes[..next - 2], &bytes[next..]);
        }
        from = next;
    }
    (bytes, &[])
}

/// RFC 3261 7.3.1: a folded line end and the whitespace around it count as one SP.
fn unfold(source: &Bytes, raw: &[u8]) -> Bytes {
    if find(raw, b"\r\n").is_none() {
        return source.slice_ref(without_blanks(raw));
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = find(rest, b"\r\n") {
        out.extend_from_slice(rest[..at].trim_ascii_end());
        out.push(b' ');
        rest = &rest[at + 2..];
        let blanks = rest
            .iter()
            .take_while(|b| matches!(b, b' ' | b'\t'))
            .count();
        rest = &rest[blanks..];
    }
    out.extend_from_slice(rest);
    Bytes::copy_from_slice(without_blanks(&out))
}

fn without_blanks(bytes: &[u8]) -> &[u8] {
    let solid = |b: &u8| !matches!(b, b' ' | b'\t');
    let first = bytes.iter().position(solid).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(solid).map_or(first, |last| last + 1);
    &bytes[first..end]
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let (first, rest) = needle.split_first()?;
    let mut from = 0;
    loop {
        let at = from + haystack[from..].iter().position(|b| b == first)?;
        if haystack[at + 1..].starts_with(rest) {
            return Some(at);
        }
        from = at + 1;
    }
}
