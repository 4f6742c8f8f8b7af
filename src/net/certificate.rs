//! What a certificate says that rustls does not tell: the SIP domains it is for (RFC 5922 §7.1) and
//! until when it holds. Reads DER (X.690) leniently: what cannot be read is not there.

use std::net::IpAddr;

/// One name of `subjectAltName` (RFC 5280 §4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    Uri(String),
    Dns(String),
    Ip(IpAddr),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub names: Vec<Name>,
    /// Seconds since 1970 UTC.
    pub not_after_s: i64,
}

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const OBJECT: u8 = 0x06;
const OCTETS: u8 = 0x04;
/// The version and the extensions of a certificate.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// 2.5.29.17.
const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];
const NAMES_MAX: usize = 1_000;

impl Certificate {
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Certificate> {
        let mut signed = Der(Der(der).of(SEQUENCE)?);
        let mut body = Der(signed.of(SEQUENCE)?);
        body.skip(VERSION);
        // Serial number, algorithm, issuer.
        for _ in 0..3 {
            body.next()?;
        }
        let mut validity = Der(body.of(SEQUENCE)?);
        validity.next()?;
        let (kind, not_after) = validity.next()?;
        let not_after_s = seconds(kind, not_after)?;
        let mut names = Vec::new();
        while let Some((kind, value)) = body.next() {
            if kind == EXTENSIONS {
                names = alternative_names(value).unwrap_or_default();
            }
        }
        Some(Certificate { names, not_after_s })
    }

    /// RFC 5922 §7.1 and §7.2: the hosts of its `sip:` URIs, or else its DNS names, whole and
    /// without regard to case. A wildcard is only itself. An address is one of its addresses.
    #[must_use]
    pub fn is_for(&self, domain: &str) -> bool {
        if let Ok(ip) = domain.trim_matches(['[', ']']).parse::<IpAddr>() {
            return self.names.contains(&Name::Ip(ip.to_canonical()));
        }
        let domain = domain.trim_end_matches('.');
        self.domains()
            .iter()
            .any(|name| name.trim_end_matches('.').eq_ignore_ascii_case(domain))
    }

    /// The SIP domains it is for.
    #[must_use]
    pub fn domains(&self) -> Vec<&str> {
        let uris = self.names.iter().filter_map(|name| match name {
            Name::Uri(uri) => sip_domain(uri),
            Name::Dns(_) | Name::Ip(_) => None,
        });
        let uris: Vec<&str> = uris.collect();
        if !uris.is_empty() {
            return uris;
        }
        let names = self.names.iter().filter_map(|name| match name {
            Name::Dns(name) => Some(name.as_str()),
            Name::Uri(_) | Name::Ip(_) => None,
        });
        names.collect()
    }

    /// For people: what it is for, in one line.
    #[must_use]
    pub fn told(&self) -> String {
        let ips = self.names.iter().filter_map(|name| match name {
            Name::Ip(ip) => Some(ip.to_string()),
            Name::Uri(_) | Name::Dns(_) => None,
        });
        let domains = self.domains();
        let all: Vec<String> = domains.into_iter().map(str::to_owned).chain(ips).collect();
        match all.is_empty() {
            true => "no name at all".to_owned(),
            false => all.join(", "),
        }
    }
}

/// The host of a `sip:` URI that names a domain and not a user.
fn sip_domain(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("sip") || rest.contains('@') {
        return None;
    }
    let end = rest.find([';', '?', ':']).unwrap_or(rest.len());
    Some(&rest[..end]).filter(|host| !host.is_empty())
}

fn alternative_names(extensions: &[u8]) -> Option<Vec<Name>> {
    let mut list = Der(Der(extensions).of(SEQUENCE)?);
    while let Some(extension) = list.of(SEQUENCE) {
        let mut extension = Der(extension);
        if extension.of(OBJECT)? != SUBJECT_ALT_NAME {
            continue;
        }
        // Whether it is critical stands between.
        let mut value = extension.next()?;
        if value.0 != OCTETS {
            value = extension.next()?;
        }
        let mut names = Der(Der(value.1).of(SEQUENCE)?);
        let names = std::iter::from_fn(|| names.next()).take(NAMES_MAX);
        return Some(names.filter_map(name).collect());
    }
    None
}

fn name((kind, value): (u8, &[u8])) -> Option<Name> {
    let text = || {
        let text = std::str::from_utf8(value).ok()?;
        text.bytes()
            .all(|byte| byte.is_ascii_graphic())
            .then(|| text.to_owned())
    };
    match kind {
        0x86 => text().map(Name::Uri),
        0x82 => text().map(Name::Dns),
        0x87 => match value.len() {
            4 => <[u8; 4]>::try_from(value)
                .ok()
                .map(|ip| Name::Ip(ip.into())),
            16 => <[u8; 16]>::try_from(value).ok().map(|ip| {
                let ip: IpAddr = ip.into();
                Name::Ip(ip.to_canonical())
            }),
            _ => None,
        },
        _ => None,
    }
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280 §4.1.2.5).
fn seconds(kind: u8, value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?.strip_suffix('Z')?;
    let (year, rest) = match kind {
        UTC_TIME => {
            let year: i16 = text.get(..2)?.parse().ok()?;
            let century = if year < 50 { 2000 } else { 1900 };
            (century + year, text.get(2..)?)
        }
        _ => (text.get(..4)?.parse().ok()?, text.get(4..)?),
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<i8>().ok();
    let date =
        jiff::civil::DateTime::new(year, part(0)?, part(2)?, part(4)?, part(6)?, part(8)?, 0);
    let at = date.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(at.timestamp().as_second())
}

/// Values one after the other: a tag, a length, octets.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (kind, rest) = self.0.split_first()?;
        let (first, mut rest) = rest.split_first()?;
        let mut length = usize::from(*first);
        if length >= 0x80 {
            let count = length & 0x7f;
            if count > 4 {
                return None;
            }
            length = 0;
            for _ in 0..count {
                let (byte, left) = rest.split_first()?;
                length = length << 8 | usize::from(*byte);
                rest = left;
            }
        }
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*kind, value))
    }

    /// The next value, which must be of this kind.
    fn of(&mut self, kind: u8) -> Option<&'a [u8]> {
        self.next().filter(|value| value.0 == kind).map(|it| it.1)
    }

    fn skip(&mut self, kind: u8) {
        if self.0.first() == Some(&kind) {
            self.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SanType, date_time_ymd};

    fn certificate(names: Vec<SanType>) -> Certificate {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.subject_alt_names = names;
        params.not_after = date_time_ymd(2031, 5, 6);
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Certificate::read(made.der()).expect("readable")
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    #[test]
    fn a_sip_uri_is_the_domain_and_then_dns_names_are_none() {
        let both = certificate(vec![
            dns("www.example.com"),
            uri("SIP:Example.com;transport=tls"),
            uri("sip:li@users.example.com"),
            uri("https://web.example.com"),
        ]);
        assert_eq!(both.domains(), ["Example.com"]);
        assert!(both.is_for("example.COM"));
        for other in [
            "www.example.com",
            "users.example.com",
            "web.example.com",
            "sip.example.com",
        ] {
            assert!(!both.is_for(other), "{other}");
        }
    }

    #[test]
    fn dns_names_count_whole_and_a_wildcard_only_as_itself() {
        let names = certificate(vec![dns("*.example.com"), dns("sip.example.net")]);
        assert!(names.is_for("sip.example.net.") && names.is_for("*.example.com"));
        assert!(!names.is_for("sip.example.com") && !names.is_for("example.net"));
        assert_eq!(names.told(), "*.example.com, sip.example.net");
    }

    #[test]
    fn an_address_is_believed_by_an_address_only() {
        let at = certificate(vec![SanType::IpAddress("192.0.2.1".parse().unwrap())]);
        assert!(at.is_for("192.0.2.1") && !at.is_for("192.0.2.2"));
        assert!(!certificate(vec![dns("192.0.2.1.example.com")]).is_for("192.0.2.1"));
        assert_eq!(certificate(vec![]).told(), "no name at all");
    }

    #[test]
    fn the_last_day_is_read() {
        let day: jiff::Timestamp = "2031-05-06T00:00:00Z".parse().unwrap();
        assert_eq!(certificate(vec![]).not_after_s, day.as_second());
    }

    #[test]
    fn any_cut_off_certificate_is_none_or_says_less_and_never_a_panic() {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["sip.example.com".to_owned()]).unwrap();
        let made = params.self_signed(&key).unwrap();
        for end in 0..made.der().len() {
            assert_eq!(Certificate::read(&made.der()[..end]), None);
        }
        let mut bytes = made.der().to_vec();
        for at in 0..bytes.len() {
            let before = bytes[at];
            for value in [0, 0x7f, 0x80, 0x84, 0xff] {
                bytes[at] = value;
                let _ = Certificate::read(&bytes);
            }
            bytes[at] = before;
        }
    }
}
