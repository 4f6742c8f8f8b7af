//! `name-addr` / `addr-spec` with parameters: From, To, Contact, Route (RFC 3261 §20.10, §25.1).

use std::borrow::Cow;
use std::fmt;

use super::headers::is_token;

/// Parameters of one address or URI; more are malformed.
pub(super) const PARAMS_MAX: usize = 64;

/// A parameter: name and, if given, value without its quotes.
pub type Param = (String, Option<String>);

/// An address as headers carry it. The URI is kept as text, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NameAddr {
    pub display: Option<String>,
    pub uri: String,
    pub params: Vec<Param>,
}

impl NameAddr {
    #[must_use]
    pub fn new(display: Option<&str>, uri: &str) -> NameAddr {
        NameAddr {
            display: display.map(str::to_owned),
            uri: uri.to_owned(),
            params: Vec::new(),
        }
    }

    /// Reads one address. `None` for anything whose parts cannot be told apart with certainty.
    #[must_use]
    pub fn parse(text: &str) -> Option<NameAddr> {
        let text = text.trim();
        if let Some(after) = text.strip_prefix('"') {
            let end = closing_quote(after)?;
            let rest = after[end + 1..].trim_start();
            return bracketed(Some(unescape(&after[..end])), rest);
        }
        match text.find('<') {
            Some(at) => {
                let display = text[..at].trim();
                let plain = display.split_ascii_whitespace().all(is_display_word);
                if !plain {
                    return None;
                }
                let display = Some(display.to_owned()).filter(|d| !d.is_empty());
                bracketed(display, &text[at..])
            }
            None => bare(text),
        }
    }

    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        let found = self
            .params
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| value.as_deref())
    }

    #[must_use]
    pub fn with_tag(&self, tag: &str) -> NameAddr {
        let mut tagged = self.clone();
        tagged
            .params
            .retain(|(name, _)| !name.eq_ignore_ascii_case("tag"));
        tagged.params.push(("tag".to_owned(), Some(tag.to_owned())));
        tagged
    }
}

fn is_display_word(word: &str) -> bool {
    // Bare UTF-8 names are not in the grammar, and are on the wire every day.
    word.bytes()
        .filter(u8::is_ascii)
        .all(super::headers::is_token_byte)
}

/// The tag of an address, found without reading the rest of it, where it is written plainly: one
/// pair of brackets, no quotes. `None` says that it must be read whole.
pub(super) fn plain_tag(text: &str) -> Option<Option<&str>> {
    if text.contains('"') {
        return None;
    }
    let (_, params) = text.split_once('<')?.1.split_once('>')?;
    let mut parts = params.split(';');
    let first = parts.next()?;
    if !first.trim().is_empty() || params.contains(['<', '>', ',']) {
        return None;
    }
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("tag") {
            return is_token(value.as_bytes()).then_some(Some(value));
        }
        if !is_token(name.as_bytes()) {
            return None;
        }
    }
    Some(None)
}

fn bracketed(display: Option<String>, rest: &str) -> Option<NameAddr> {
    let inner = rest.strip_prefix('<')?;
    let end = inner.find('>')?;
    let uri = &inner[..end];
    if uri.is_empty() || uri.chars().any(ends_a_uri) {
        return None;
    }
    let params = parse_params(&inner[end + 1..])?;
    Some(NameAddr {
        display,
        uri: uri.to_owned(),
        params,
    })
}

/// RFC 3261 20: without brackets, what follows the first `;` belongs to the header, and the URI
/// may hold neither `?` nor comma.
fn bare(text: &str) -> Option<NameAddr> {
    let end = text
        .find(|c: char| c == ';' || c.is_whitespace())
        .unwrap_or(text.len());
    let uri = &text[..end];
    if uri.is_empty()
        || uri.contains(['?', ','])
        || uri.chars().any(ends_a_uri)
        || !uri.contains(':')
    {
        return None;
    }
    Some(NameAddr {
        display: None,
        uri: uri.to_owned(),
        params: parse_params(&text[end..])?,
    })
}

/// Parameters from `;` to the end; an empty one makes the whole list malformed.
pub(super) fn parse_params(text: &str) -> Option<Vec<Param>> {
    let mut params = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        rest = rest.strip_prefix(';')?.trim_start();
        let name_len = rest
            .find(|c: char| ";= \t".contains(c))
            .unwrap_or(rest.len());
        let name = &rest[..name_len];
        if name.is_empty() || name.contains(['"', '<', '>', ',']) {
            return None;
        }
        rest = rest[name_len..].trim_start();
        let value = match rest.strip_prefix('=') {
            Some(after) => {
                let (value, left) = param_value(after.trim_start())?;
                rest = left.trim_start();
                Some(value)
            }
            None => None,
        };
        if params.len() == PARAMS_MAX {
            return None;
        }
        params.push((name.to_owned(), value));
    }
    Some(params)
}

fn param_value(text: &str) -> Option<(String, &str)> {
    if let Some(after) = text.strip_prefix('"') {
        let end = closing_quote(after)?;
        return Some((unescape(&after[..end]), &after[end + 1..]));
    }
    let end = text
        .find(|c: char| ";, \t\"<>".contains(c))
        .unwrap_or(text.len());
    if end == 0 {
        None
    } else {
        Some((text[..end].to_owned(), &text[end..]))
    }
}

/// Where the quoted string that began just before `text` ends.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at),
            _ => {}
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            _ => out.push(c),
        }
    }
    out
}

/// A quoted string; what a header line cannot hold becomes a space.
pub(in crate::sip) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\r' | '\n' | '\0' => out.push(' '),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A URI in which nothing can end the brackets or the line it stands in: what would is written
/// as `%HH`.
fn unbroken(uri: &str) -> Cow<'_, str> {
    escaping(uri, |b| b <= b' ' || b == 0x7f || b"<>\"".contains(&b))
}

/// The same for a Request-URI, which is ASCII throughout.
pub(super) fn unbroken_ascii(uri: &str) -> Cow<'_, str> {
    escaping(uri, |b| !b.is_ascii_graphic() || b"<>\"".contains(&b))
}

/// `bad` names every byte of a character or none.
fn escaping(uri: &str, bad: impl Fn(u8) -> bool) -> Cow<'_, str> {
    if !uri.bytes().any(&bad) {
        return Cow::Borrowed(uri);
    }
    let mut out = String::with_capacity(uri.len() + 8);
    for c in uri.chars() {
        let mut buffer = [0; 4];
        let bytes = c.encode_utf8(&mut buffer).as_bytes();
        if bytes.iter().any(|byte| bad(*byte)) {
            bytes
                .iter()
                .for_each(|b| out.push_str(&format!("%{b:02X}")));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// What may stand in no URI, in brackets or without.
fn ends_a_uri(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "<>\"".contains(c)
}

impl fmt::Display for NameAddr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = &self.display {
            write!(out, "{} ", quote(display))?;
        }
        for part in ["<", &unbroken(&self.uri), ">"] {
            out.write_str(part)?;
        }
        for (name, value) in &self.params {
            out.write_str(";")?;
            out.write_str(name)?;
            let Some(value) = value else { continue };
            out.write_str("=")?;
            if is_token(value.as_bytes()) {
                out.write_str(value)?;
            } else {
                out.write_str(&quote(value))?;
            }
        }
        Ok(())
    }
}
