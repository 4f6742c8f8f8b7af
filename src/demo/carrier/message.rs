//! SIP messages as the carrier reads and writes them (RFC 3261 7), on its own: the switch under
//! test must not meet its own parser at the far end.

use std::fmt::Write as _;

/// Header lines read of one message.
const HEADERS_MAX: usize = 200;

/// Short names (RFC 3261 7.3.3, RFC 4028, RFC 3515).
const COMPACT: &[(&str, &str)] = &[
    ("a", "accept-contact"),
    ("b", "referred-by"),
    ("c", "content-type"),
    ("e", "content-encoding"),
    ("f", "from"),
    ("i", "call-id"),
    ("k", "supported"),
    ("l", "content-length"),
    ("m", "contact"),
    ("o", "event"),
    ("r", "refer-to"),
    ("s", "subject"),
    ("t", "to"),
    ("u", "allow-events"),
    ("v", "via"),
    ("x", "session-expires"),
];

/// A request or a response.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    pub(super) start: Start,
    /// Names in lower case and in full, values trimmed and unfolded.
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Start {
    Request { method: String, uri: String },
    Response { status: u16 },
}

impl Message {
    /// `None` for whatever is not SIP; the carrier drops that without a word.
    pub(super) fn parse(bytes: &[u8]) -> Option<Message> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.trim_start_matches("\r\n").split("\r\n");
        let start = parse_start(lines.next()?)?;
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            if line.starts_with([' ', '\t']) {
                let (_, value) = headers.last_mut()?;
                value.push(' ');
                value.push_str(line.trim());
                continue;
            }
            if headers.len() == HEADERS_MAX {
                return None;
            }
            let (name, value) = line.split_once(':')?;
            headers.push((long_name(name.trim()), value.trim().to_owned()));
        }
        let rest = &bytes[end + 4..];
        let message = Message {
            start,
            headers,
            body: String::new(),
        };
        let length = match message.header("content-length") {
            Some(text) => text.parse().ok().filter(|length| *length <= rest.len())?,
            None => rest.len(),
        };
        let body = String::from_utf8_lossy(&rest[..length]).into_owned();
        Some(Message { body, ..message })
    }

    /// The first value of a header; `name` in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every line of a header, in order.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    /// The number and the method of CSeq.
    pub(super) fn cseq(&self) -> Option<(u32, &str)> {
        let (number, method) = self.header("cseq")?.split_once([' ', '\t'])?;
        Some((number.parse().ok()?, method.trim()))
    }

    /// The topmost Via, alone even where several share a line.
    pub(super) fn top_via(&self) -> Option<&str> {
        self.header("via")
            .and_then(|line| split_list(line).into_iter().next())
    }

    pub(super) fn branch(&self) -> Option<&str> {
        parameter(self.top_via()?, "branch")
    }

    /// SDP, if that is what the body holds.
    pub(super) fn sdp(&self) -> Option<&str> {
        let kind = self
            .header("content-type")
            .unwrap_or_default()
            .to_ascii_lowercase();
        (!self.body.is_empty() && kind.starts_with("application/sdp")).then_some(&*self.body)
    }
}

fn parse_start(line: &str) -> Option<Start> {
    let mut words = line.splitn(3, ' ');
    let (first, second, third) = (words.next()?, words.next()?, words.next());
    if first == "SIP/2.0" {
        return Some(Start::Response {
            status: second.parse().ok()?,
        });
    }
    (third == Some("SIP/2.0")).then(|| Start::Request {
        method: first.to_owned(),
        uri: second.to_owned(),
    })
}

fn long_name(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let long = COMPACT
        .iter()
        .find(|(short, _)| *short == lower)
        .map(|(_, long)| *long);
    long.map_or(lower, str::to_owned)
}

/// A list at its commas, except those within quotes or angle brackets.
pub(super) fn split_list(line: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut angle) = (Vec::new(), 0, false, false);
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted => angle = true,
            '>' if !quoted => angle = false,
            ',' if !quoted && !angle => {
                parts.push(line[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(line[start..].trim());
    parts
}

/// A header parameter after the address, where there is one.
pub(super) fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let after = value.rfind('>').map_or(value, |at| &value[at + 1..]);
    after.split(';').skip(1).find_map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The URI of a `From`, `To`, `Contact`, `Route`: inside the brackets, or up to a parameter.
pub(super) fn uri_of(value: &str) -> &str {
    match value.split_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or(rest),
        None => value.split(';').next().unwrap_or(value).trim(),
    }
}

/// The user part of a URI, without its own parameters.
pub(super) fn user_of(uri: &str) -> Option<&str> {
    let rest = uri.split_once(':')?.1;
    match rest.rsplit_once('@') {
        Some((user, _)) => user.split([';', ':']).next(),
        None => uri
            .starts_with("tel:")
            .then(|| rest.split(';').next().unwrap_or(rest)),
    }
}

/// `host:port` of a URI, 5060 when it names none; only addresses, never names.
pub(super) fn socket_of(uri: &str) -> Option<std::net::SocketAddr> {
    let rest = uri.split_once(':')?.1;
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = host.split([';', '?']).next()?;
    host.parse().ok().or_else(|| {
        let ip = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .ok()?;
        Some(std::net::SocketAddr::new(ip, 5060))
    })
}

/// A message being written. Header lines in the order given; Content-Length last.
pub(super) struct Draft {
    text: String,
}

impl Draft {
    pub(super) fn new(start_line: &str) -> Self {
        Self {
            text: format!("{start_line}\r\n"),
        }
    }

    pub(super) fn header(&mut self, name: &str, value: &str) {
        // Values come out of parsed lines or our own formats; neither holds a line end.
        let _ = write!(self.text, "{name}: {value}\r\n");
    }

    pub(super) fn finish(mut self, sdp: Option<&str>) -> Vec<u8> {
        if sdp.is_some() {
            self.header("Content-Type", "application/sdp");
        }
        let body = sdp.unwrap_or_default();
        self.header("Content-Length", &body.len().to_string());
        self.text.push_str("\r\n");
        self.text.push_str(body);
        self.text.into_bytes()
    }
}

/// The phrase beside a status.
pub(super) fn phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        408 => "Request Timeout",
        420 => "Bad Extension",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        603 => "Decline",
        _ => "Refused",
    }
}

/// The Q.850 cause a carrier's switch would give for a final status (RFC 3398 8.2.6.1, RFC 3326).
pub(super) fn q850_reason(status: u16) -> Option<&'static str> {
    Some(match status {
        404 => "Q.850;cause=1;text=\"Unallocated number\"",
        480 => "Q.850;cause=19;text=\"No answer\"",
        486 => "Q.850;cause=17;text=\"User busy\"",
        503 => "Q.850;cause=34;text=\"No circuit available\"",
        603 => "Q.850;cause=21;text=\"Call rejected\"",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_and_folded_headers_are_read() {
        let text = "OPTIONS sip:a@127.0.0.1 SIP/2.0\r\nv: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1,\r\n \
                    SIP/2.0/UDP 127.0.0.2;branch=z9hG4bK2\r\ni: x\r\nCSeq:\t7\tOPTIONS\r\n\r\n";
        let text = text.replace("CSeq:\t7\t", "CSeq: 7 ");
        let message = Message::parse(text.as_bytes()).expect("is a request");
        assert_eq!(message.branch(), Some("z9hG4bK1"));
        assert_eq!(message.header("call-id"), Some("x"));
        assert_eq!(message.cseq(), Some((7, "OPTIONS")));
    }

    #[test]
    fn a_body_shorter_than_announced_is_no_message() {
        assert!(Message::parse(b"BYE sip:a@b SIP/2.0\r\nContent-Length: 5\r\n\r\nabc").is_none());
        let cut = Message::parse(b"BYE sip:a@b SIP/2.0\r\nContent-Length: 1\r\n\r\nabc");
        assert_eq!(cut.map(|message| message.body), Some("a".to_owned()));
        assert!(Message::parse(b"\xff\xfe\r\n\r\n").is_none());
    }

    #[test]
    fn addresses_are_taken_apart() {
        let value = "\"Li, <Wei>\" <sip:+8613800138000;x=y@127.0.0.1:5070;ob>;tag=9";
        assert_eq!(parameter(value, "tag"), Some("9"));
        let uri = "sip:+8613800138000;x=y@127.0.0.1:5070;ob";
        assert_eq!(user_of(uri), Some("+8613800138000"));
        assert_eq!(user_of("tel:+861;phone-context=x"), Some("+861"));
        assert_eq!(socket_of(uri), "127.0.0.1:5070".parse().ok());
        assert_eq!(socket_of("sip:[::1];lr"), "[::1]:5060".parse().ok());
        assert_eq!(socket_of("sip:trunk.invalid"), None);
        assert_eq!(split_list("\"a, b\" <sip:x,y@h>, <sip:z@h>").len(), 2);
    }
}
