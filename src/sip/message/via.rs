//! Via (RFC 3261 §20.42, RFC 3581 rport).

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::address::{Param, parse_params};
use super::headers::{is_token, is_token_byte};
use super::uri::{ip_of, split_host_port, valid_host};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    pub transport: String,
    /// As written, IPv6 in brackets.
    pub host: String,
    pub port: Option<u16>,
    pub params: Vec<Param>,
}

impl Via {
    #[must_use]
    pub fn parse(text: &str) -> Option<Via> {
        let (protocol, rest) = text.split_once('/')?;
        let (version, rest) = rest.split_once('/')?;
        if !protocol.trim().eq_ignore_ascii_case("SIP") || version.trim() != "2.0" {
            return None;
        }
        let rest = rest.trim_start();
        let (transport, rest) = rest.split_at(rest.find([' ', '\t'])?);
        if !is_token(transport.as_bytes()) {
            return None;
        }
        let rest = rest.trim();
        let (sent_by, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
        // RFC 3261 25.1 lets whitespace stand around the colon of sent-by.
        let sent_by = without_spaces(sent_by);
        let (host, port) = split_host_port(&sent_by)?;
        if !valid_host(host) {
            return None;
        }
        let (transport, host) = (transport.to_owned(), host.to_owned());
        Some(Via {
            transport,
            host,
            port,
            params: parse_params(params)?,
        })
    }

    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        let found = self
            .params
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| value.as_deref())
    }

    fn has(&self, name: &str) -> bool {
        self.params
            .iter()
            .any(|(key, _)| key.eq_ignore_ascii_case(name))
    }

    fn set(&mut self, name: &str, value: String) {
        self.params
            .retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.params.push((name.to_owned(), Some(value)));
    }

    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        self.param("branch")
    }

    /// RFC 3261 8.1.1.7: the cookie, and something after it.
    #[must_use]
    pub fn has_rfc3261_branch(&self) -> bool {
        let after = self
            .branch()
            .and_then(|branch| branch.strip_prefix("z9hG4bK"));
        after.is_some_and(|unique| !unique.is_empty())
    }

    /// RFC 3261 18.2.1 and RFC 3581 4: notes where the request really came from.
    pub fn stamp(&mut self, source: SocketAddr) {
        let ip = source.ip().to_canonical();
        let symmetric = self.has("rport");
        if symmetric {
            self.set("rport", source.port().to_string());
        }
        if symmetric || self.host_ip() != Some(ip) {
            self.set("received", ip.to_string());
        }
    }

    /// RFC 3261 18.2.2 and RFC 3581 4: where the response goes over UDP. A `maddr` is not
    /// followed: it would let a stranger aim our answers.
    #[must_use]
    pub fn response_address(&self, source: SocketAddr) -> SocketAddr {
        let port = if self.has("rport") {
            source.port()
        } else {
            self.port.unwrap_or(5060)
        };
        SocketAddr::new(source.ip(), port)
    }

    #[must_use]
    pub fn host_ip(&self) -> Option<IpAddr> {
        ip_of(&self.host)
    }

    #[must_use]
    pub fn sent_by(&self) -> String {
        let mut host = self.host.to_ascii_lowercase();
        if let Some(port) = self.port {
            host.push(':');
            host.push_str(&port.to_string());
        }
        host
    }
}

impl fmt::Display for Via {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in ["SIP/2.0/", &self.transport, " ", &self.host] {
            out.write_str(part)?;
        }
        if let Some(port) = self.port {
            write!(out, ":{port}")?;
        }
        for (name, value) in &self.params {
            out.write_str(";")?;
            out.write_str(name)?;
            let Some(value) = value else { continue };
            out.write_str("=")?;
            // `received` holds bare IPv6 (RFC 3261 25.1), so a colon needs no quotes.
            if is_plain(value) {
                out.write_str(value)?;
            } else {
                out.write_str(&super::address::quote(value))?;
            }
        }
        Ok(())
    }
}

fn without_spaces(sent_by: &str) -> Cow<'_, str> {
    if !sent_by.bytes().any(|b| b.is_ascii_whitespace()) {
        return Cow::Borrowed(sent_by);
    }
    let words: Vec<&str> = sent_by.split_ascii_whitespace().collect();
    let joined = words.join(" ").replace(" :", ":").replace(": ", ":");
    Cow::Owned(joined)
}

/// A token, or an address.
fn is_plain(value: &str) -> bool {
    let plain = |b: u8| is_token_byte(b) || b"[]:".contains(&b);
    !value.is_empty() && value.bytes().all(plain)
}
