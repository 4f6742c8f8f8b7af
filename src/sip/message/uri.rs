//! SIP and SIPS URIs (RFC 3261 §19.1), IPv6 included (RFC 5118).

use std::net::{IpAddr, SocketAddr};

use super::address::{PARAMS_MAX, Param};

/// Octets of a URI, its scheme included; a longer Request-URI is 414.
pub const URI_BYTES_MAX: usize = 4_096;

#[derive(Clone, Debug)]
pub struct Uri {
    pub secure: bool,
    /// Still escaped, as written, without its password.
    pub user: Option<String>,
    /// Still escaped. RFC 3261 19.1.1 advises against it, and a URI with it is another URI.
    pub password: Option<String>,
    /// As written, IPv6 in brackets.
    pub host: String,
    pub port: Option<u16>,
    pub params: Vec<Param>,
    /// What follows `?`, never turned into headers.
    pub headers: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UriError {
    /// Neither sip nor sips: 416.
    Scheme,
    Malformed,
}

impl Uri {
    /// Reads a URI.
    ///
    /// # Errors
    /// Another scheme, or a text that is no SIP URI.
    pub fn parse(text: &str) -> Result<Uri, UriError> {
        let (scheme, rest) = text.split_once(':').ok_or(UriError::Malformed)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "sip" => false,
            "sips" => true,
            other if valid_scheme(other) => return Err(UriError::Scheme),
            _ => return Err(UriError::Malformed),
        };
        let graphic = rest
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"<>\"".contains(&b));
        if !graphic || !escapes_are_whole(rest) || text.len() > URI_BYTES_MAX {
            return Err(UriError::Malformed);
        }
        // The user part may hold `;` and `?`, so it is cut off first.
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, rest),
        };
        let (rest, headers) = match rest.split_once('?') {
            Some((rest, headers)) => (rest, Some(headers.to_owned())),
            None => (rest, None),
        };
        let (host_port, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
        let (host, port) = split_host_port(host_port).ok_or(UriError::Malformed)?;
        let (user, password) = match user.and_then(|user| user.split_once(':')) {
            Some((user, password)) => (Some(user), Some(password.to_owned())),
            None => (user, None),
        };
        // Two readers may not see two hosts: only one `@`.
        if !valid_host(host) || user.is_some_and(|user| user.is_empty() || user.contains('@')) {
            return Err(UriError::Malformed);
        }
        let params = uri_params(params).ok_or(UriError::Malformed)?;
        Ok(Uri {
            secure,
            user: user.map(str::to_owned),
            password,
            host: host.to_owned(),
            port,
            params,
            headers,
        })
    }

    /// The user part with `%HH` decoded once; bytes that are no UTF-8 become U+FFFD.
    #[must_use]
    pub fn user_text(&self) -> Option<String> {
        let decoded = decode(self.user.as_deref()?);
        Some(String::from_utf8_lossy(&decoded).into_owned())
    }

    #[must_use]
    pub fn host_ip(&self) -> Option<IpAddr> {
        ip_of(&self.host)
    }

    /// The socket address, when the host is an address and not a name.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        let default = if self.secure { 5061 } else { 5060 };
        Some(SocketAddr::new(
            self.host_ip()?,
            self.port.unwrap_or(default),
        ))
    }

    #[must_use]
    pub fn has_param(&self, name: &str) -> bool {
        self.params
            .iter()
            .any(|(key, _)| key.eq_ignore_ascii_case(name))
    }

    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        let found = self
            .params
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| value.as_deref())
    }

    /// `user@host`, the key of an address of record (RFC 3261 10.3 step 5).
    #[must_use]
    pub fn aor(&self) -> String {
        let host = self.host.to_ascii_lowercase();
        match &self.user {
            Some(user) => format!("{}@{host}", canonical(user)),
            None => host,
        }
    }
}

pub(super) fn valid_scheme(scheme: &str) -> bool {
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// Parameters after the host or number; `None` when there are too many.
pub(super) fn uri_params(text: &str) -> Option<Vec<Param>> {
    let parts = text.split(';').filter(|part| !part.is_empty());
    let params: Vec<Param> = parts
        .take(PARAMS_MAX + 1)
        .map(|part| match part.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (part.to_owned(), None),
        })
        .collect();
    Some(params).filter(|params| params.len() <= PARAMS_MAX)
}

pub(super) fn escapes_are_whole(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'%')
        .all(|(at, _)| {
            let hex = bytes.get(at + 1..at + 3);
            hex.is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit))
        })
}

/// Decodes `%HH` once (`%25%34%31` is `%41`, not `A`).
pub(super) fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let hex = text.get(at + 1..at + 3).filter(|_| byte == b'%');
        match hex.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// One spelling for equal users: unreserved characters bare, everything else escaped.
fn canonical(user: &str) -> String {
    let mut out = String::with_capacity(user.len());
    for byte in decode(user) {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Host and port of `host[:port]`, brackets of IPv6 left in place.
pub(super) fn split_host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let end = if text.starts_with('[') {
        text.find(']')? + 1
    } else {
        text.find(':').unwrap_or(text.len())
    };
    let (host, rest) = text.split_at(end);
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Some((host, None)),
        Some(port) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            Some((host, Some(port.parse().ok()?)))
        }
        _ => None,
    }
}

pub(super) fn valid_host(host: &str) -> bool {
    if host.starts_with('[') {
        return ip_of(host).is_some();
    }
    // The underscore is no host character, and is in the wild.
    !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

/// An IPv4 address, or an IPv6 one in brackets. RFC 5118 4.10: the grammar of RFC 3261 lets a third
/// colon stand before an embedded IPv4 address; it is read, and never written.
pub(super) fn ip_of(host: &str) -> Option<IpAddr> {
    let Some(inner) = host.strip_prefix('[') else {
        return host.parse::<std::net::Ipv4Addr>().ok().map(IpAddr::V4);
    };
    let inner = inner.strip_suffix(']')?;
    let parsed = inner.parse::<std::net::Ipv6Addr>();
    let parsed = parsed.or_else(|error| match inner.split_once(":::") {
        Some((left, right)) if right.contains('.') => format!("{left}::{right}").parse(),
        _ => Err(error),
    });
    parsed.ok().map(IpAddr::V6)
}
