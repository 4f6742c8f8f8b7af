//! Where a request may go (server-side request forgery: CWE-918).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Client, Url};

use super::CrmError;

/// An address that must not be asked, on its way through the resolver's error.
#[derive(Debug, thiserror::Error)]
#[error("{0} is private")]
struct Private(IpAddr);

/// Looks a name up and judges every address of it: one private one among them is enough to
/// refuse, or a name with two addresses would pass by chance. The connection is made to what was
/// judged, so a second look-up cannot slip in between.
struct Guard {
    port: u16,
    allowed: Vec<SocketAddr>,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (port, allowed) = (self.port, self.allowed.clone());
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), port)).await?;
            let addresses: Vec<SocketAddr> = found.collect();
            match addresses
                .iter()
                .find(|address| !may_ask(**address, &allowed))
            {
                Some(address) => Err(Private(address.ip()).into()),
                None => Ok(Box::new(addresses.into_iter()) as Addrs),
            }
        })
    }
}

/// A client that reaches judged addresses only, follows nothing and uses no proxy.
pub(super) fn client(home: &Url, allowed: &[SocketAddr]) -> Result<Client, CrmError> {
    // reqwest has TLS without a provider; the process installs one, once. A second is refused.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let guard = Guard {
        port: port_of(home),
        allowed: allowed.to_vec(),
    };
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .dns_resolver(guard)
        .build()
        .map_err(|error| CrmError::Address(error.to_string()))
}

/// The URL must stay at home, and an address in it is judged here: it is never resolved.
pub(super) fn judge(home: &Url, url: &Url, allowed: &[SocketAddr]) -> Result<(), CrmError> {
    if url.origin() != home.origin() {
        return Err(CrmError::Redirected);
    }
    let host = url.host_str().unwrap_or_default();
    let literal: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    match literal.filter(|ip| !may_ask(SocketAddr::new(*ip, port_of(url)), allowed)) {
        Some(ip) => Err(CrmError::Private(ip)),
        None => Ok(()),
    }
}

/// Where a redirect leads.
pub(super) fn redirected(from: &Url, headers: &HeaderMap) -> Result<Url, CrmError> {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    location
        .and_then(|location| from.join(location).ok())
        .ok_or(CrmError::Redirected)
}

/// Why a request did not go through: the guard's own refusal lies deep in the chain.
pub(super) fn why(error: &reqwest::Error) -> CrmError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(present) = cause {
        if let Some(Private(ip)) = present.downcast_ref() {
            return CrmError::Private(*ip);
        }
        cause = present.source();
    }
    CrmError::Unreachable
}

fn port_of(url: &Url) -> u16 {
    url.port_or_known_default().unwrap_or(80)
}

fn may_ask(address: SocketAddr, allowed: &[SocketAddr]) -> bool {
    let ip = address.ip().to_canonical();
    is_public(ip)
        || allowed.iter().any(|allow| {
            allow.ip().to_canonical() == ip && [0, address.port()].contains(&allow.port())
        })
}

/// Neither private, nor of this host or link, nor reserved (RFC 6890).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let protocol = (a, b, c) == (192, 0, 0);
    let benchmark = a == 198 && (18..20).contains(&b);
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || ip.is_multicast()
        || a == 0
        || a >= 240
        || shared
        || protocol
        || benchmark)
}

/// Global unicast only, without the ranges that carry an IPv4 address inside: NAT64 and 6to4
/// lead to any of those.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    let global = a & 0xe000 == 0x2000;
    let special = a == 0x2001 && (b < 0x0200 || b == 0x0db8);
    let six_to_four = a == 0x2002;
    let documentation = a == 0x3fff && b < 0x1000;
    global && !special && !six_to_four && !documentation
}

/// RFC 3986 2.3: whatever is not unreserved is escaped, so that a value stays one path segment.
pub(super) fn percent_encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for octet in value.bytes() {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(octet));
            }
            _ => encoded.push_str(&format!("%{octet:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_pass() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "192.0.0.8",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
        ] {
            let address = SocketAddr::new(private.parse().expect("an address"), 443);
            assert!(!may_ask(address, &[]), "{private}");
        }
        for public in [
            "1.1.1.1",
            "100.128.0.1",
            "172.32.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            let address = SocketAddr::new(public.parse().expect("an address"), 443);
            assert!(may_ask(address, &[]), "{public}");
        }
    }

    #[test]
    fn a_private_address_can_be_allowed_with_its_port() {
        let crm: SocketAddr = ([127, 0, 0, 1], 8090).into();
        assert!(may_ask(crm, &[crm]));
        assert!(may_ask(crm, &[([127, 0, 0, 1], 0).into()]));
        assert!(!may_ask(([127, 0, 0, 1], 22).into(), &[crm]));
        assert!(!may_ask(([127, 0, 0, 2], 8090).into(), &[crm]));
    }

    #[test]
    fn a_value_stays_one_segment() {
        assert_eq!(
            percent_encoded("a/../b?c#d&王"),
            "a%2F..%2Fb%3Fc%23d%26%E7%8E%8B"
        );
    }
}
