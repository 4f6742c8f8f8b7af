//! Multipart bodies (RFC 2046 §5.1, RFC 5621 §3): the parts, byte for byte. The body itself is
//! never rewritten.

use super::Body;
use super::address::parse_params;
use super::headers::is_token;

/// Parts of one body; more are not looked at.
const PARTS_MAX: usize = 16;
/// RFC 2046 5.1.1.
const BOUNDARY_BYTES_MAX: usize = 70;

/// One part: its header fields as text, and its octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    fields: Vec<(String, String)>,
    pub bytes: Vec<u8>,
}

impl Part {
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let found = fields.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// RFC 2046 5.1: text/plain when nothing is said.
    #[must_use]
    pub fn content_type(&self) -> &str {
        self.field("Content-Type").unwrap_or("text/plain")
    }

    /// RFC 5621 5.2: a part must be understood unless it says that it need not.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        let disposition = self.field("Content-Disposition").unwrap_or_default();
        let params = disposition.find(';').map(|at| &disposition[at..]);
        let params = parse_params(params.unwrap_or_default()).unwrap_or_default();
        params.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case("handling")
                && value
                    .as_deref()
                    .is_some_and(|v| v.eq_ignore_ascii_case("optional"))
        })
    }
}

/// `type/subtype` in lower case, without parameters.
pub(in crate::sip) fn media_type(content_type: &str) -> String {
    let text = content_type.split(';').next().unwrap_or_default();
    text.trim().to_ascii_lowercase()
}

/// The parts of a multipart body. `None`: it is none, or its boundaries do not hold together.
#[must_use]
pub fn parts(body: &Body) -> Option<Vec<Part>> {
    if !media_type(&body.content_type).starts_with("multipart/") {
        return None;
    }
    let params = parse_params(&body.content_type[body.content_type.find(';')?..])?;
    let boundary = params
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("boundary"))
        .and_then(|(_, value)| value.as_deref())?;
    if boundary.is_empty() || boundary.len() > BOUNDARY_BYTES_MAX {
        return None;
    }
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    // The first delimiter needs no line end before it.
    let mut rest: &[u8] = &body.bytes;
    rest = match rest.strip_prefix(&delimiter[2..]) {
        Some(after) => after,
        None => after_delimiter(rest, &delimiter)?,
    };
    let mut parts = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Some(parts);
        }
        if parts.len() == PARTS_MAX {
            return None;
        }
        let blanks = rest
            .iter()
            .take_while(|b| matches!(b, b' ' | b'\t'))
            .count();
        let after = &rest[blanks..];
        if !after.starts_with(b"\r\n") {
            return None;
        }
        // The line end before the next delimiter belongs to that, even when it is this one.
        let end = find(after, &delimiter)?;
        parts.push(one(after.get(2..end).unwrap_or_default()));
        rest = &after[end + delimiter.len()..];
    }
}

/// The session description in a multipart body, or the body itself.
pub(super) fn description(body: Body) -> Body {
    let Some(parts) = parts(&body) else {
        return body;
    };
    let found = parts
        .into_iter()
        .find(|part| media_type(part.content_type()) == "application/sdp");
    match found {
        Some(part) => Body {
            content_type: part.content_type().to_owned(),
            bytes: part.bytes,
        },
        None => body,
    }
}

fn after_delimiter<'a>(bytes: &'a [u8], delimiter: &[u8]) -> Option<&'a [u8]> {
    find(bytes, delimiter).map(|at| &bytes[at + delimiter.len()..])
}

fn one(bytes: &[u8]) -> Part {
    if let Some(rest) = bytes.strip_prefix(b"\r\n") {
        return Part {
            fields: Vec::new(),
            bytes: rest.to_vec(),
        };
    }
    let end = find(bytes, b"\r\n\r\n");
    let (head, body) = match end {
        Some(at) => (&bytes[..at], &bytes[at + 4..]),
        None => (bytes, &[][..]),
    };
    let head = String::from_utf8_lossy(head);
    let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let fields = head.split("\r\n").filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let name = name.trim();
        is_token(name.as_bytes()).then(|| (name.to_owned(), value.trim().to_owned()))
    });
    Part {
        fields: fields.collect(),
        bytes: body.to_vec(),
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn body(text: &[u8]) -> Body {
        Body {
            content_type: "multipart/mixed;boundary=\"b 1\"".into(),
            bytes: text.to_vec(),
        }
    }

    #[test]
    fn parts_are_read_byte_for_byte() {
        let text = b"preamble\r\n--b 1\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n\r\n\
            --b 1 \r\nContent-Type: application/isup\r\nContent-Disposition: signal;\r\n \
            handling=optional\r\n\r\n\x00\xff\r\n--b 1\r\n\r\nplain\r\n--b 1--\r\nepilogue";
        let parts = parts(&body(text)).expect("three parts");
        assert_eq!(parts.len(), 3);
        assert_eq!(parts[0].bytes, b"v=0\r\n");
        assert!(!parts[0].is_optional());
        assert_eq!(
            (parts[1].bytes.as_slice(), parts[1].is_optional()),
            (&b"\x00\xff"[..], true)
        );
        assert_eq!(
            (parts[2].bytes.as_slice(), parts[2].content_type()),
            (&b"plain"[..], "text/plain")
        );
        assert_eq!(description(body(text)).bytes, b"v=0\r\n");
    }

    #[test]
    fn a_body_without_an_end_has_no_parts_and_stays_as_it_is() {
        for bad in [
            &b"--b 1\r\n\r\nx"[..],
            b"",
            b"--b 1",
            b"--b 1\r\n",
            b"--b 1x\r\n\r\n--b 1--",
        ] {
            assert_eq!(parts(&body(bad)), None, "{bad:?}");
            assert_eq!(description(body(bad)), body(bad));
        }
    }

    proptest! {
        #[test]
        fn whatever_was_put_in_comes_out(contents in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..80), 1..5,
        )) {
            let mut text = Vec::new();
            for content in &contents {
                text.extend(b"--b 1\r\nContent-Type: a/b\r\n\r\n");
                text.extend(content);
                text.extend(b"\r\n");
            }
            text.extend(b"--b 1--");
            let got: Vec<Vec<u8>> =
                parts(&body(&text)).expect("parts").into_iter().map(|p| p.bytes).collect();
            prop_assert_eq!(got, contents);
        }

        #[test]
        fn no_body_makes_it_panic(bytes in "(--b 1|\r\n|--|[a: ;\"]){0,12}") {
            let _ = parts(&body(bytes.as_bytes()));
        }
    }
}
