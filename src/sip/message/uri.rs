//! SIP and SIPS URIs (RFC 3261 §19.1), IPv6 included (RFC 5118).

use std::net::{IpAddr, SocketAddr};

use super::address::Param;

#[derive(Clone, Debug)]
pub struct Uri {
    pub secure: bool,
    /// Still escaped, as written.
    pub user: Option<String>,
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
        if !graphic || !escapes_are_whole(rest) {
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
        let user = user.map(|user| user.split(':').next().unwrap_or_default().to_owned());
        if !valid_host(host) || user.as_deref() == Some("") {
            return Err(UriError::Malformed);
        }
        let params = uri_params(params);
        Ok(Uri {
            secure,
            user,
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
        self.host.trim_matches(['[', ']']).parse().ok()
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

    /// RFC 3261 19.1.4.
    #[must_use]
    pub fn is_same(&self, other: &Uri) -> bool {
        let same_user = match (&self.user, &other.user) {
            (Some(a), Some(b)) => decode(a) == decode(b),
            (None, None) => true,
            _ => false,
        };
        self.secure == other.secure
            && same_user
            && self.host.eq_ignore_ascii_case(&other.host)
            && self.port == other.port
            && self.headers == other.headers
            && self.params_match(other)
            && other.params_match(self)
    }

    /// A parameter in both must match; some must stand in both or in neither.
    fn params_match(&self, other: &Uri) -> bool {
        const MUST_BE_IN_BOTH: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];
        self.params.iter().all(|(name, value)| {
            let twin = other
                .params
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name));
            match twin {
                Some((_, theirs)) => {
                    let ours = value.as_deref().unwrap_or_default();
                    ours.eq_ignore_ascii_case(theirs.as_deref().unwrap_or_default())
                }
                None => !MUST_BE_IN_BOTH
                    .iter()
                    .any(|must| must.eq_ignore_ascii_case(name)),
            }
        })
    }
}

fn valid_scheme(scheme: &str) -> bool {
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

fn uri_params(text: &str) -> Vec<Param> {
    let parts = text.split(';').filter(|part| !part.is_empty());
    parts
        .map(|part| match part.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (part.to_owned(), None),
        })
        .collect()
}

fn escapes_are_whole(text: &str) -> bool {
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
fn decode(text: &str) -> Vec<u8> {
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
    if let Some(inner) = host.strip_prefix('[') {
        let v6 = inner.strip_suffix(']').unwrap_or_default();
        return v6.parse::<std::net::Ipv6Addr>().is_ok();
    }
    // The underscore is no host character, and is in the wild.
    !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}
