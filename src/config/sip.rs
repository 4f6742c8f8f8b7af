//! `[sip]`: where we listen for SIP and by which names, and how TLS peers prove who they are.

use super::dialect::Dialect;
use super::guard::Access;
use super::network::{address, address_and_port};
use super::written::{Found, Section, Wrong};
use crate::net::SOCKETS_MAX;
use crate::net::stream::StreamLimits;
use crate::net::tls::{Clients, Identity, Verify};
use serde::{Serialize, Serializer};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// In place of addresses: those of `listen`.
const SAME: &str = "same";
const CONNECTIONS_MAX: u32 = 100_000;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SipConfig {
    /// UDP; at least one.
    pub listen: Vec<SocketAddr>,
    /// Empty is off.
    pub tcp_listen: Vec<SocketAddr>,
    /// Empty is off.
    pub tls_listen: Vec<SocketAddr>,
    /// The addresses peers reach us at, when they are not those we listen on (NAT, containers);
    /// one a family at most.
    pub advertised: Vec<IpAddr>,
    /// PEM. Without it the one of `[http]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Who signs the certificates of those who connect to us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    pub client_required: bool,
    /// Who signs the certificates of servers we connect to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    #[serde(serialize_with = "on_or_off")]
    pub verify: bool,
    /// Of TCP and TLS, in all and from one address.
    pub connections: u32,
    pub connections_per_address: u32,
    /// Whether phones prove who they are. Without it anyone who reaches us may register and call,
    /// over WebSocket too, so it can be turned off on loopback addresses only.
    pub digest: bool,
    /// Whether an INVITE inside a dialog we do not know makes it anew (RFC 3261 12.2.2) instead of
    /// being answered 481.
    pub recreate_dialogs: bool,
    #[serde(flatten)]
    pub dialect: Dialect,
    /// The shortest session timer we agree to.
    pub min_se_s: u32,
    #[serde(flatten)]
    pub access: Access,
}

impl SipConfig {
    pub(super) fn read(section: Section<'_>) -> SipConfig {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5060));
        let listen = section.text_or_texts("listen");
        let listen = addresses(&section, "listen", listen.unwrap_or_default());
        let listen = if listen.is_empty() { vec![any] } else { listen };
        let tcp_listen = match section.text_or_texts("tcp_listen") {
            None => listen.clone(),
            Some(found) if found.iter().any(|one| one.value == SAME) => listen.clone(),
            Some(found) => addresses(&section, "tcp_listen", found),
        };
        let tls_listen = section.text_or_texts("tls_listen").unwrap_or_default();
        let tls_listen = addresses(&section, "tls_listen", tls_listen);
        // Port 0 is any free one, and never the same twice.
        if let Some(both) = tls_listen
            .iter()
            .find(|one| one.port() != 0 && tcp_listen.contains(one))
        {
            section.sheet.complain(
                section.span.clone(),
                format!("`tcp_listen` and `tls_listen` both have {both}"),
                "give TLS a port of its own, such as 5061",
            );
        }
        let advertised = advertised(&section);
        let certificate = section.file("certificate");
        let key = section.file("key");
        if certificate.is_some() != key.is_some() {
            let (given, lacking) = match key {
                Some(_) => ("key", "certificate"),
                None => ("certificate", "key"),
            };
            section.missing(
                lacking,
                &format!("`{given}` is given: name the matching {lacking} as well"),
            );
        }
        let client_ca = section.file("client_ca");
        let client_required = section.flag("client_required", false);
        if client_required && client_ca.is_none() {
            section.missing(
                "client_ca",
                "`client_required` is on: name the file of those who sign the certificates",
            );
        }
        let ca = section.file("ca");
        let verify = section.parsed("verify", verify).unwrap_or(true);
        let limits = StreamLimits::default();
        let count = |key, default: usize| {
            let default = u32::try_from(default).unwrap_or(CONNECTIONS_MAX);
            section.count(key, default, 1..=CONNECTIONS_MAX)
        };
        let connections = count("connections", limits.connections_max);
        let connections_per_address = count("connections_per_address", limits.per_address_max);
        let digest = section.flag("digest", true);
        let mut every = listen.iter().chain(&tcp_listen).chain(&tls_listen);
        if let Some(open) = every.find(|one| !digest && !one.ip().is_loopback()) {
            section.sheet.complain(
                section.span.clone(),
                format!("`digest = false` while listening on {open}: anyone could call from here"),
                "listen on loopback addresses only, such as \"127.0.0.1:5060\", or leave digest on",
            );
        }
        let recreate_dialogs = section.flag("recreate_dialogs", false);
        let dialect = Dialect::read(&section, Dialect::default());
        let min_se_s = Dialect::min_se_s(&section);
        let access = Access::read(&section);
        section.done();
        let path = |found: Found<PathBuf>| found.value;
        SipConfig {
            listen,
            tcp_listen,
            tls_listen,
            advertised,
            certificate: certificate.map(path),
            key: key.map(path),
            client_ca: client_ca.map(path),
            client_required,
            ca: ca.map(path),
            verify,
            connections,
            connections_per_address,
            digest,
            recreate_dialogs,
            dialect,
            min_se_s,
            access,
        }
    }

    /// What peers of this family are told instead of the address we listen on.
    #[must_use]
    pub fn advertised_beside(&self, local: IpAddr) -> Option<IpAddr> {
        let mut advertised = self.advertised.iter();
        advertised
            .find(|ip| ip.is_ipv4() == local.is_ipv4())
            .copied()
    }

    /// The configured certificate.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        let (certificate, key) = (self.certificate.clone()?, self.key.clone()?);
        Some(Identity { certificate, key })
    }

    #[must_use]
    pub fn clients(&self) -> Clients {
        match (self.client_ca.clone(), self.client_required) {
            (None, _) => Clients::Unasked,
            (Some(ca), false) => Clients::Asked { ca },
            (Some(ca), true) => Clients::Required { ca },
        }
    }

    #[must_use]
    pub fn judged(&self) -> Verify {
        match (self.verify, self.ca.clone()) {
            (false, _) => Verify::Off,
            (true, Some(ca)) => Verify::By { ca },
            (true, None) => Verify::Nobody,
        }
    }

    #[must_use]
    pub fn stream_limits(&self) -> StreamLimits {
        StreamLimits {
            connections_max: self.connections as usize,
            per_address_max: self.connections_per_address as usize,
            ..StreamLimits::default()
        }
    }
}

fn addresses(section: &Section<'_>, key: &str, found: Vec<Found<String>>) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for one in found {
        let Some(address) = section.check(one.span.clone(), address_and_port(&one.value)) else {
            continue;
        };
        if address.port() != 0 && addresses.contains(&address) {
            let what = format!("`{key}` has {address} twice");
            section.sheet.complain(one.span, what, "remove one of them");
        } else if addresses.len() == SOCKETS_MAX {
            let what = format!("`{key}` has more than {SOCKETS_MAX} addresses");
            let remedy = "0.0.0.0 and [::] stand for every address of this machine";
            section.sheet.complain(one.span, what, remedy);
            break;
        } else {
            addresses.push(address);
        }
    }
    addresses
}

fn advertised(section: &Section<'_>) -> Vec<IpAddr> {
    let mut advertised: Vec<IpAddr> = Vec::new();
    for one in section.text_or_texts("advertised").unwrap_or_default() {
        let Some(ip) = section.check(one.span.clone(), address(&one.value)) else {
            continue;
        };
        if advertised
            .iter()
            .any(|other| other.is_ipv4() == ip.is_ipv4())
        {
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            let what = format!("`advertised` has two {family} addresses");
            let remedy = "name one IPv4 and one IPv6 address at most";
            section.sheet.complain(one.span, what, remedy);
        } else {
            advertised.push(ip);
        }
    }
    advertised
}

fn verify(text: &str) -> Result<bool, Wrong> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(Wrong(
            format!("`{text}` is neither \"on\" nor \"off\""),
            "write \"on\" and name the authorities in `ca`, or \"off\" to believe any server"
                .into(),
        )),
    }
}

fn on_or_off<S: Serializer>(on: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if *on { "on" } else { "off" })
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, parse};
    use std::net::SocketAddr;
    use std::path::Path;

    fn read(lines: &str) -> Result<Config, String> {
        let text = format!("[sip]\n{lines}\n");
        parse("foredial.toml", &text, Path::new(".")).map_err(|errors| errors.to_string())
    }

    #[test]
    fn tcp_listens_beside_udp_unless_it_is_told_otherwise() {
        let sip = |lines: &str| read(lines).unwrap_or_else(|errors| panic!("{errors}")).sip;
        let two = sip("listen = [\"192.0.2.1:5060\", \"[2001:db8::1]:5060\"]");
        assert_eq!(two.listen.len(), 2);
        assert_eq!(two.tcp_listen, two.listen);
        assert!(two.tls_listen.is_empty());
        assert!(sip("tcp_listen = \"\"").tcp_listen.is_empty());
        let one = sip("listen = \"192.0.2.1:5060\"\ntcp_listen = \"same\"");
        assert_eq!(one.tcp_listen, one.listen);
        let own = sip("tcp_listen = \"192.0.2.1:5070\"\ntls_listen = [\"192.0.2.1:5061\"]");
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(own.tcp_listen, [address("192.0.2.1:5070")]);
        assert_eq!(own.tls_listen, [address("192.0.2.1:5061")]);
    }

    #[test]
    fn one_advertised_address_a_family_is_told_to_that_family() {
        let sip = read("advertised = [\"203.0.113.7\", \"2001:db8::7\"]")
            .unwrap()
            .sip;
        let told = |local: &str| sip.advertised_beside(local.parse().unwrap());
        assert_eq!(told("10.0.0.1"), Some("203.0.113.7".parse().unwrap()));
        assert_eq!(told("::1"), Some("2001:db8::7".parse().unwrap()));
        let four = read("advertised = \"203.0.113.7\"").unwrap().sip;
        assert_eq!(four.advertised_beside("::1".parse().unwrap()), None);
    }

    #[test]
    fn each_bad_value_is_told_with_its_remedy() {
        let cases = [
            ("listen = \"5060\"", "is not an address with a port"),
            ("listen = [\"192.0.2.1:5060\", \"192.0.2.1:5060\"]", "twice"),
            (
                "tcp_listen = \"localhost:5060\"",
                "is not an address with a port",
            ),
            ("tls_listen = \"0.0.0.0:5060\"", "both have 0.0.0.0:5060"),
            ("tls_listen = true", "`tls_listen` is a boolean"),
            (
                "advertised = [\"203.0.113.7\", \"203.0.113.8\"]",
                "two IPv4 addresses",
            ),
            ("advertised = \"host\"", "is not an IP address"),
            ("certificate = \"no.pem\"", "which is not a file"),
            ("key = \"no.key\"", "which is not a file"),
            ("client_ca = \"no.pem\"", "which is not a file"),
            ("client_required = true", "`client_ca` is missing"),
            ("ca = \"no.pem\"", "which is not a file"),
            ("verify = \"no\"", "is neither \"on\" nor \"off\""),
            ("connections = 0", "`connections` is out of range"),
            (
                "connections_per_address = 0",
                "`connections_per_address` is out of range",
            ),
        ];
        for (lines, told) in cases {
            let errors = read(lines).expect_err(lines);
            assert!(errors.contains(told), "{lines}: {errors}");
        }
    }
}
