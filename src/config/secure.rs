//! How a trunk or a phone is spoken to: the transport, whom a TLS server must prove to be, SRTP
//! (RFC 4568) and what a carrier says of its callers' identity (RFC 8224).

use super::SipConfig;
use super::written::{Section, Wrong};
use crate::sip::Transport;
use crate::trunk::Srtp;
use serde::Serialize;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TransportConfig {
    #[default]
    Udp,
    Tcp,
    Tls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SrtpConfig {
    /// RTP only.
    Off,
    /// RTP is offered; an offer is answered as it comes.
    Accept,
    /// SRTP or no call.
    Require,
}

/// These keys of `[[trunk]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Secure {
    pub transport: TransportConfig,
    /// Whom its TLS certificate must be for; the name in `servers` or the domain when empty.
    pub certificate_name: String,
    pub srtp: SrtpConfig,
    /// Keys may be sent where anybody on the way can read them.
    pub srtp_over_plain: bool,
    /// Its word about its callers' identity is believed and shown.
    pub verstat: bool,
}

impl TransportConfig {
    #[must_use]
    pub fn sip(self) -> Transport {
        match self {
            TransportConfig::Udp => Transport::Udp,
            TransportConfig::Tcp => Transport::Tcp,
            TransportConfig::Tls => Transport::Tls,
        }
    }
}

impl SrtpConfig {
    /// As the trunk's room knows it.
    #[must_use]
    pub fn policy(self) -> Srtp {
        match self {
            SrtpConfig::Off => Srtp::Off,
            SrtpConfig::Accept => Srtp::Optional,
            SrtpConfig::Require => Srtp::Required,
        }
    }

    pub(super) fn read(section: &Section<'_>, default: SrtpConfig) -> SrtpConfig {
        section.parsed("srtp", srtp).unwrap_or(default)
    }

    fn name(self) -> &'static str {
        match self {
            SrtpConfig::Off => "off",
            SrtpConfig::Accept => "accept",
            SrtpConfig::Require => "require",
        }
    }
}

impl Secure {
    pub(super) fn read(section: &Section<'_>, sip: &SipConfig) -> Secure {
        let transport = section.parsed("transport", transport).unwrap_or_default();
        let certificate_name = section.parsed("certificate_name", domain);
        let srtp = SrtpConfig::read(section, SrtpConfig::Off);
        let srtp_over_plain = section.flag("srtp_over_plain", false);
        let verstat = section.flag("verstat", false);
        let plain = transport != TransportConfig::Tls;
        if plain && srtp != SrtpConfig::Off && !srtp_over_plain {
            section.sheet.complain(
                section.span.clone(),
                format!(
                    "`srtp = \"{}\"` without TLS: whoever sees the messages has the keys",
                    srtp.name()
                ),
                "set transport = \"tls\", or srtp_over_plain = true where the way is private",
            );
        }
        if !plain && sip.verify && sip.ca.is_none() {
            section.sheet.complain(
                section.span.clone(),
                "`transport = \"tls\"`, and nobody is named who signs its certificate",
                "name the authorities in [sip] ca, such as \"/etc/ssl/certs/ca-certificates.crt\"",
            );
        }
        if plain && certificate_name.is_some() {
            section.sheet.complain(
                section.span.clone(),
                "`certificate_name` is for transport = \"tls\" only",
                "set transport = \"tls\" or remove it",
            );
        }
        Secure {
            transport,
            certificate_name: certificate_name.unwrap_or_default(),
            srtp,
            srtp_over_plain,
            verstat,
        }
    }
}

fn transport(text: &str) -> Result<TransportConfig, Wrong> {
    match text {
        "udp" => Ok(TransportConfig::Udp),
        "tcp" => Ok(TransportConfig::Tcp),
        "tls" => Ok(TransportConfig::Tls),
        other => Err(Wrong(
            format!("`{other}` is no transport for trunks"),
            "choose \"udp\", \"tcp\" or \"tls\"".into(),
        )),
    }
}

fn srtp(text: &str) -> Result<SrtpConfig, Wrong> {
    match text {
        "off" => Ok(SrtpConfig::Off),
        "accept" => Ok(SrtpConfig::Accept),
        "require" => Ok(SrtpConfig::Require),
        other => Err(Wrong(
            format!("`{other}` says nothing about SRTP"),
            "choose \"off\", \"accept\" or \"require\"".into(),
        )),
    }
}

/// A domain as a certificate has it; `*.example.com` stands for itself.
fn domain(text: &str) -> Result<String, Wrong> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*:[]".contains(&byte);
    if text.bytes().all(good) {
        return Ok(text.to_owned());
    }
    Err(Wrong(
        format!("`{text}` cannot be the name in a certificate"),
        "write the domain only, such as \"sip.carrier.example\"".into(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, parse};
    use std::path::Path;

    fn read(sip: &str, lines: &str) -> Result<Config, String> {
        let text = format!(
            "[sip]\n{sip}\n[[trunk]]\nname = \"a\"\nservers = [\"192.0.2.1:5061\"]\n\
             caller_id = \"+861066666666\"\n{lines}\n"
        );
        parse("foredial.toml", &text, Path::new(".")).map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_trunk_is_plain_udp_unless_it_is_told_otherwise() {
        let plain = read("", "").unwrap().trunks[0].secure.clone();
        assert_eq!(plain.transport.sip(), Transport::Udp);
        assert_eq!((plain.srtp, plain.verstat), (SrtpConfig::Off, false));
        let lines = "transport = \"tls\"\nsrtp = \"require\"\ncertificate_name = \"*.example.com\"";
        let secure = read("verify = \"off\"", lines).unwrap().trunks[0]
            .secure
            .clone();
        assert_eq!(secure.transport.sip(), Transport::Tls);
        assert_eq!(secure.srtp.policy(), Srtp::Required);
        let open = read("", "srtp = \"accept\"\nsrtp_over_plain = true").unwrap();
        assert_eq!(open.trunks[0].secure.srtp, SrtpConfig::Accept);
    }

    #[test]
    fn each_bad_value_is_told_with_its_remedy() {
        for (lines, told) in [
            ("transport = \"sctp\"", "is no transport for trunks"),
            ("transport = \"tls\"", "name the authorities in [sip] ca"),
            ("srtp = \"yes\"", "says nothing about SRTP"),
            (
                "srtp = \"require\"",
                "set transport = \"tls\", or srtp_over_plain = true",
            ),
            (
                "transport = \"tcp\"\nsrtp = \"accept\"",
                "whoever sees the messages has the keys",
            ),
            ("srtp_over_plain = 1", "`srtp_over_plain` is"),
            ("verstat = \"yes\"", "`verstat` is"),
            (
                "certificate_name = \"a b\"",
                "cannot be the name in a certificate",
            ),
            (
                "certificate_name = \"a.example\"",
                "for transport = \"tls\" only",
            ),
        ] {
            let errors = read("", lines).expect_err(lines);
            assert!(errors.contains(told), "{lines}: {errors}");
        }
    }
}
