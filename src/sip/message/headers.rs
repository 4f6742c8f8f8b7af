//! Header fields (RFC 3261 §7.3): names in their long form, values as bytes, order kept.

use std::borrow::Cow;

use bytes::Bytes;

use super::address::plain_tag;
use super::{NameAddr, Uri, Via};

/// One header field. `value` is unfolded and trimmed; `raw` is the field as it arrived. Both are
/// parts of the message they came in, not copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    name: Cow<'static, str>,
    value: Bytes,
    raw: Option<Bytes>,
}

/// An outgoing field that would have broken the message: CR, LF or NUL in it, or no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedHeader;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    list: Vec<Header>,
}

impl Header {
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// The field as it stood on the wire, folding and compact name included, without its CRLF.
    #[must_use]
    pub fn raw(&self) -> Option<&[u8]> {
        self.raw.as_deref()
    }

    #[must_use]
    pub fn text(&self) -> String {
        self.lossy().into_owned()
    }

    fn lossy(&self) -> Cow<'_, str> {
        // The usual case is the cheap one to find out.
        match std::str::from_utf8(&self.value) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(&self.value),
        }
    }
}

impl Headers {
    /// Room for this many fields.
    pub(super) fn with_room(fields: usize) -> Headers {
        Headers {
            list: Vec::with_capacity(fields),
        }
    }

    /// The first field of that name, as text where it is.
    pub(super) fn first(&self, name: &str) -> Option<Cow<'_, str>> {
        let mut fields = self.list.iter();
        let found = fields.find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(Header::lossy)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Header> {
        self.list.iter()
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Header> {
        self.list
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
    }

    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        self.named(name).count()
    }

    /// The first field of that name as text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.first(name).map(Cow::into_owned)
    }

    /// Every field of that name as text, not split at commas.
    #[must_use]
    pub fn texts(&self, name: &str) -> Vec<String> {
        self.named(name).map(Header::text).collect()
    }

    /// Every element of a comma-separated header over all its fields.
    #[must_use]
    pub fn items(&self, name: &str) -> Vec<String> {
        self.named(name)
            .flat_map(|header| split_commas(&header.lossy()))
            .collect()
    }

    #[must_use]
    pub fn address(&self, name: &str) -> Option<NameAddr> {
        NameAddr::parse(&self.first(name)?)
    }

    /// The tag of From or To.
    #[must_use]
    pub fn tag(&self, name: &str) -> Option<String> {
        let text = self.first(name)?;
        match plain_tag(&text) {
            Some(tag) => tag.map(str::to_owned),
            None => NameAddr::parse(&text)?.param("tag").map(str::to_owned),
        }
    }

    #[must_use]
    pub fn via(&self) -> Option<Via> {
        let fields = self.named("Via").map(Header::lossy);
        let mut tops = fields.filter_map(|text| first_item(&text).map(Via::parse));
        tops.next().flatten()
    }

    /// CSeq as number and method text.
    #[must_use]
    pub fn cseq(&self) -> Option<(u32, String)> {
        let text = self.first("CSeq")?;
        let mut words = text.split_ascii_whitespace();
        let number = words.next()?;
        let method = words.next()?.to_owned();
        let plain = number.bytes().all(|b| b.is_ascii_digit()) && words.next().is_none();
        if plain {
            Some((number.parse().ok()?, method))
        } else {
            None
        }
    }

    #[must_use]
    pub fn call_id(&self) -> Option<String> {
        self.text("Call-ID")
    }

    /// The URI of the first Contact.
    #[must_use]
    pub fn contact_uri(&self) -> Option<String> {
        let first = self.items("Contact").into_iter().next()?;
        let contact = NameAddr::parse(&first)?;
        Uri::parse(&contact.uri).ok()?;
        Some(contact.uri)
    }

    /// A number of seconds, as in Expires and Retry-After (whose comment is passed over).
    #[must_use]
    pub fn seconds(&self, name: &str) -> Option<u32> {
        let text = self.first(name)?;
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let digits = &text[..digits];
        if digits.is_empty() {
            None
        } else {
            Some(digits.parse().unwrap_or(u32::MAX))
        }
    }

    /// Adds an outgoing field.
    ///
    /// # Errors
    /// The name is no token, or the value holds CR, LF or NUL: one value must stay one header.
    pub fn push(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), RefusedHeader> {
        let value = value.as_ref();
        let clean = !value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0));
        if !clean || !is_token(name.as_bytes()) {
            return Err(RefusedHeader);
        }
        self.list.push(Header {
            name: kept_name(name),
            value: Bytes::copy_from_slice(value),
            raw: None,
        });
        Ok(())
    }

    /// Adds a field made of our own parts. A part that came from outside and would break the
    /// message takes the whole field with it: a missing header is refused by the peer, a
    /// smuggled one is obeyed.
    pub(crate) fn put(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let _ = self.push(name, value);
    }

    pub(super) fn push_received(&mut self, name: &str, value: Bytes, raw: Bytes) {
        self.list.push(Header {
            name: kept_name(name),
            value,
            raw: Some(raw),
        });
    }

    /// Takes over every field of that name, bytes untouched.
    pub fn copy(&mut self, from: &Headers, name: &str) {
        self.list.extend(from.named(name).map(|header| Header {
            name: header.name.clone(),
            value: header.value.clone(),
            raw: None,
        }));
    }

    pub(super) fn append_to_first(&mut self, name: &str, suffix: &[u8]) {
        let found = self
            .list
            .iter_mut()
            .find(|header| header.name.eq_ignore_ascii_case(name));
        if let Some(header) = found {
            header.value = [&header.value[..], suffix].concat().into();
        }
    }

    /// Replaces the first element of the first field of that name (the top Via). What follows it
    /// stays as it is, byte for byte.
    pub fn replace_first_item(&mut self, name: &str, item: &str) {
        let found = self
            .list
            .iter_mut()
            .find(|header| header.name.eq_ignore_ascii_case(name));
        let Some(header) = found else { return };
        let first = Commas::of(&header.value).next().unwrap_or_default();
        let mut value = item.as_bytes().to_vec();
        value.extend_from_slice(&header.value[first.end..]);
        header.value = value.into();
    }

    pub fn remove(&mut self, name: &str) {
        self.list
            .retain(|header| !header.name.eq_ignore_ascii_case(name));
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// RFC 3261 25.1 `token`.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_token_byte)
}

pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

/// Names as nearly everybody writes them; keeping one of these costs nothing.
const USUAL: [&str; 28] = [
    "Via",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Contact",
    "Max-Forwards",
    "Content-Length",
    "Content-Type",
    "Allow",
    "Supported",
    "User-Agent",
    "Server",
    "Route",
    "Record-Route",
    "Expires",
    "Authorization",
    "WWW-Authenticate",
    "Proxy-Authorization",
    "Proxy-Authenticate",
    "Accept",
    "Require",
    "Reason",
    "Session-Expires",
    "Min-SE",
    "P-Asserted-Identity",
    "Privacy",
    "Date",
];

/// The name in its long form, written as it came.
fn kept_name(name: &str) -> Cow<'static, str> {
    match USUAL.iter().find(|usual| **usual == name) {
        Some(usual) => Cow::Borrowed(usual),
        None => match compact_name(name) {
            Some(long) => Cow::Borrowed(long),
            None => Cow::Owned(name.to_owned()),
        },
    }
}

/// RFC 3261 7.3.3 and 20: compact names of the registry.
fn compact_name(name: &str) -> Option<&'static str> {
    let [letter] = name.as_bytes() else {
        return None;
    };
    Some(match letter.to_ascii_lowercase() {
        b'a' => "Accept-Contact",
        b'b' => "Referred-By",
        b'c' => "Content-Type",
        b'd' => "Request-Disposition",
        b'e' => "Content-Encoding",
        b'f' => "From",
        b'i' => "Call-ID",
        b'j' => "Reject-Contact",
        b'k' => "Supported",
        b'l' => "Content-Length",
        b'm' => "Contact",
        b'n' => "Identity-Info",
        b'o' => "Event",
        b'r' => "Refer-To",
        b's' => "Subject",
        b't' => "To",
        b'u' => "Allow-Events",
        b'v' => "Via",
        b'x' => "Session-Expires",
        b'y' => "Identity",
        _ => return None,
    })
}

/// Splits at commas that stand outside quotes and angle brackets; empty elements vanish.
pub(in crate::sip) fn split_commas(text: &str) -> Vec<String> {
    let parts = Commas::of(text.as_bytes()).map(|range| text[range].trim());
    parts
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The first element of a list, as [`split_commas`] would give it.
pub(super) fn first_item(text: &str) -> Option<&str> {
    let mut parts = Commas::of(text.as_bytes()).map(|range| text[range].trim());
    parts.find(|part| !part.is_empty())
}

/// Where the elements of a list lie.
struct Commas<'a> {
    bytes: &'a [u8],
    next: Option<usize>,
}

impl Commas<'_> {
    fn of(bytes: &[u8]) -> Commas<'_> {
        Commas {
            bytes,
            next: Some(0),
        }
    }
}

impl Iterator for Commas<'_> {
    type Item = std::ops::Range<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.next.take()?;
        let (mut quoted, mut escaped, mut angle) = (false, false, false);
        for (at, byte) in self.bytes.iter().enumerate().skip(start) {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' if !angle => quoted = !quoted,
                b'<' if !quoted => angle = true,
                b'>' if !quoted => angle = false,
                b',' if !quoted && !angle => {
                    self.next = Some(at + 1);
                    return Some(start..at);
                }
                _ => {}
            }
        }
        Some(start..self.bytes.len())
    }
}
