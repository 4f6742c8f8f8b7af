//! Where a carrier's 3xx may lead (RFC 3261 §8.1.3.4): to its own servers, or to a number that is
//! called by it. Never to a host that somebody else named: that would be a call for whoever asks.

use std::net::SocketAddr;

use super::number::NumberRule;
use crate::sip::{RedirectContact, Uri};

/// Redirections one call follows at most.
pub const HOPS_MAX: u8 = 3;

/// Whether a carrier's 3xx are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redirects {
    #[default]
    Refuse,
    Follow,
}

/// Somewhere a 3xx may lead.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Elsewhere {
    /// `None`: any server of the carrier.
    pub server: Option<SocketAddr>,
    /// E.164.
    pub number: String,
}

/// What of a 3xx may be followed, best first. `servers` are the carrier's, `domain` the host part
/// of its addresses.
#[must_use]
pub fn elsewhere(
    contacts: &[RedirectContact],
    servers: &[SocketAddr],
    domain: &str,
    rule: &NumberRule,
) -> Vec<Elsewhere> {
    let mut found: Vec<Elsewhere> = Vec::new();
    for contact in contacts {
        let Some(one) = allowed(&contact.uri, servers, domain, rule) else {
            continue;
        };
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found
}

fn allowed(
    uri: &str,
    servers: &[SocketAddr],
    domain: &str,
    rule: &NumberRule,
) -> Option<Elsewhere> {
    let uri = Uri::parse(uri).ok()?;
    let user = uri.user_text()?;
    let user = user.split(';').next()?;
    let server = uri.address().filter(|at| servers.contains(at));
    let own = server.is_some() || host_of(domain).eq_ignore_ascii_case(&uri.host);
    let number = match own {
        true => rule.read(user)?,
        // A stranger's host: only a number that means the same everywhere, and by our carrier.
        false => NumberRule::E164.read(user.starts_with('+').then_some(user)?)?,
    };
    Some(Elsewhere { server, number })
}

/// Without the port a domain may have been written with.
fn host_of(domain: &str) -> &str {
    let host = domain.rsplit_once(':').map_or(domain, |(host, port)| {
        match port.bytes().all(|byte| byte.is_ascii_digit()) && !host.ends_with(':') {
            true => host,
            false => domain,
        }
    });
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "192.0.2.1:5060";
    const NUMBER: &str = "+8613800138000";

    fn found(uris: &[&str]) -> Vec<Elsewhere> {
        let contact = |uri: &&str| RedirectContact {
            uri: (*uri).to_owned(),
            display: None,
            q: 1_000,
        };
        let contacts: Vec<_> = uris.iter().map(contact).collect();
        let rule = NumberRule::National {
            country_code: "86".to_owned(),
            national_prefix: "0".to_owned(),
            international_prefix: "00".to_owned(),
        };
        let servers = [OWN, "192.0.2.2:5080"].map(|it| it.parse().expect("an address"));
        elsewhere(&contacts, &servers, "carrier.example:5060", &rule)
    }

    fn to(server: Option<&str>, number: &str) -> Elsewhere {
        Elsewhere {
            server: server.map(|it| it.parse().expect("an address")),
            number: number.to_owned(),
        }
    }

    #[test]
    fn the_carriers_own_servers_and_domain_are_gone_to() {
        assert_eq!(
            found(&[
                "sip:013800138000@192.0.2.2:5080",
                "sip:+8613800138000@192.0.2.1"
            ]),
            [to(Some("192.0.2.2:5080"), NUMBER), to(Some(OWN), NUMBER)]
        );
        assert_eq!(
            found(&["sip:013900139000@Carrier.Example"]),
            [to(None, "+8613900139000")]
        );
    }

    #[test]
    fn a_strangers_host_is_never_gone_to() {
        assert_eq!(
            found(&["sip:+8613900139000@evil.example"]),
            [to(None, "+8613900139000")],
            "the number, by our carrier"
        );
        for uri in [
            "sip:013900139000@evil.example",
            "sip:operator@evil.example",
            "sip:evil.example",
            "tel:+1",
            "sip:+8613900139000@192.0.2.9:5060;maddr=198.51.100.9",
            "https://evil.example",
            "sip:operator@carrier.example",
        ] {
            let found = found(&[uri]);
            assert!(
                found.iter().all(|it| it.server.is_none()),
                "{uri}: {found:?}"
            );
            assert!(!format!("{found:?}").contains("198.51"), "{uri}");
        }
    }

    #[test]
    fn each_place_is_named_once() {
        let twice = [
            "sip:+8613800138000@a.example",
            "sip:+8613800138000@b.example",
        ];
        assert_eq!(found(&twice), [to(None, NUMBER)]);
    }

    #[test]
    fn a_domain_is_compared_without_its_port() {
        assert_eq!(host_of("192.0.2.1:5060"), "192.0.2.1");
        assert_eq!(host_of("carrier.example"), "carrier.example");
        assert_eq!(host_of("[2001:db8::1]:5060"), "2001:db8::1");
    }
}
