//! `[[trunk]]`: a carrier we send calls to, and how it wants numbers written.

use super::dialect::Dialect;
use super::network::address_and_port;
use super::written::{Found, Section, Wrong};
use super::{Secret, Secure, SipConfig, unique};
use crate::sdp::Codec;
use crate::trunk::{Block, Failover, Identity, NumberRule, Place, Redirects, Show, Statuses};
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

const CALLS_MAX: u32 = 10_000;
const OPTIONS_EVERY_S: u32 = 60;
const DAY_S: u32 = 86_400;
const REGISTER_EXPIRES_S: u32 = 3_600;
const REGISTER_EXPIRES_S_MIN: u32 = 60;
const MISSES_MAX: u32 = 20;
/// Timer B of RFC 3261; a longer silence is none that a person waits for.
const SILENCE_S_MAX: u32 = 32;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrunkConfig {
    pub name: String,
    /// Tried in this order. Addresses with ports, or names: with a port or to be asked SRV.
    #[serde(serialize_with = "as_texts")]
    pub servers: Vec<Place>,
    /// The host part of addresses; the first server as written when absent.
    pub domain: String,
    /// E.164; a campaign may have its own.
    pub caller_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Whether calls go both ways only while we are registered there.
    pub register: bool,
    /// What is asked for; the carrier may grant less.
    pub register_expires_s: u32,
    #[serde(flatten)]
    pub number_format: NumberFormat,
    pub identity: IdentityConfig,
    /// User of From; the caller ID when empty.
    pub from_user: String,
    /// May be told numbers it must not show, and is believed about its callers.
    pub trusted: bool,
    #[serde(flatten)]
    pub secure: Secure,
    /// Calls at once.
    pub max_calls: u32,
    /// INVITEs a second; 0 is no limit.
    pub calls_per_s: u32,
    /// 0 is never.
    pub options_every_s: u32,
    /// Misses in a row that take a server down.
    pub down_after: u32,
    /// What goes to the next server beside silence, refusal of the transport and 503.
    pub failover_on: Vec<String>,
    /// Silence on the last server a call has left.
    pub silence_s: u32,
    /// Whether its 3xx are followed, to its own servers and to numbers the caller may call by it.
    pub redirects: RedirectsConfig,
    #[serde(flatten)]
    pub dialect: Dialect,
    /// In order of preference.
    pub codecs: Vec<CodecConfig>,
    /// Whether it may have calls transferred by REFER.
    pub allow_refer: bool,
    /// Besides `servers`: who may send us requests as this trunk.
    pub allow_from: Vec<AddressRange>,
}

/// Where the caller ID goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityConfig {
    From,
    Pai,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RedirectsConfig {
    Refuse,
    Follow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CodecConfig {
    Pcma,
    Pcmu,
    Opus,
}

/// How a trunk wants an E.164 number written in the request line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "number_format", rename_all = "snake_case")]
pub enum NumberFormat {
    /// `+8613800138000`
    E164,
    /// Its own country as dialled there (`013800138000`), others with the international prefix.
    National {
        country_code: String,
        national_prefix: String,
        international_prefix: String,
    },
    /// All with the international prefix for the `+`: `008613800138000`. An empty one drops the `+`.
    Prefix { international_prefix: String },
}

/// One address or a CIDR block of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    address: IpAddr,
    bits: u8,
}

/// Who is asked for names.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DnsConfig {
    /// None: the system's own.
    pub servers: Vec<SocketAddr>,
}

impl DnsConfig {
    pub(super) fn read(section: Section<'_>) -> DnsConfig {
        let found = section.texts("servers").unwrap_or_default();
        let servers = found
            .into_iter()
            .filter_map(|found| section.check(found.span, address_and_port(&found.value)))
            .collect();
        section.done();
        DnsConfig { servers }
    }
}

pub(super) fn read_all(root: &Section<'_>, sip: &SipConfig) -> Vec<TrunkConfig> {
    let mut names = Vec::new();
    root.sections("trunk")
        .into_iter()
        .map(|section| TrunkConfig::read(section, &mut names, sip))
        .collect()
}

impl TrunkConfig {
    fn read(section: Section<'_>, names: &mut Vec<String>, sip: &SipConfig) -> TrunkConfig {
        let usual = sip.dialect;
        let name = section.required("name", "name the trunk: name = \"carrier-a\"");
        unique(section.sheet, names, &name, "a trunk");
        let servers = servers(&section);
        let caller_id = section.required(
            "caller_id",
            "give the number customers see: caller_id = \"+861066666666\"",
        );
        if !caller_id.value.is_empty() {
            section.check(caller_id.span, e164(&caller_id.value));
        }
        let username = section
            .text_found("username")
            .map(|found| found.value)
            .filter(|name| !name.is_empty());
        let password = section
            .text_found("password")
            .map(|found| Secret::new(&found.value));
        if username.is_some() != password.is_some() {
            let lacking = if username.is_some() {
                "password"
            } else {
                "username"
            };
            section.missing(
                lacking,
                "a trunk that registers or is challenged needs both username and password",
            );
        }
        let register = section.flag("register", false);
        if register && username.is_none() {
            section.missing(
                "username",
                "`register` is on: give the account's username and password",
            );
        }
        let register_expires_s = section.count(
            "register_expires_s",
            REGISTER_EXPIRES_S,
            REGISTER_EXPIRES_S_MIN..=DAY_S,
        );
        let number_format = NumberFormat::read(&section);
        let identity = section.parsed("identity", identity);
        let from_user = section
            .parsed("from_user", host_or_user)
            .unwrap_or_default();
        let domain = section.parsed("domain", host_or_user);
        let domain = domain.or_else(|| Some(servers.first()?.to_string()));
        let trusted = section.flag("trusted", false);
        let secure = Secure::read(&section, sip);
        let max_calls = section.count("max_calls", 30, 1..=CALLS_MAX);
        let calls_per_s = section.count("calls_per_s", 0, 0..=CALLS_MAX);
        let options_every_s = section.count("options_every_s", OPTIONS_EVERY_S, 0..=DAY_S);
        let down_after = section.count("down_after", 2, 1..=MISSES_MAX);
        let silence_s = section.count("silence_s", 4, 1..=SILENCE_S_MAX);
        let failover_on = failover_on(&section);
        let redirects = section.parsed("redirects", redirects);
        let dialect = Dialect::read(&section, usual);
        let codecs = codecs(&section);
        let allow_refer = section.flag("allow_refer", false);
        let allow_from = section.texts("allow_from").unwrap_or_default();
        let allow_from = allow_from
            .into_iter()
            .filter_map(|found| section.check(found.span, range(&found.value)))
            .collect();
        section.done();
        TrunkConfig {
            name: name.value,
            servers,
            caller_id: caller_id.value,
            username,
            password,
            register,
            register_expires_s,
            number_format,
            domain: domain.unwrap_or_default(),
            identity: identity.unwrap_or(IdentityConfig::From),
            from_user,
            trusted,
            secure,
            max_calls,
            calls_per_s,
            options_every_s,
            down_after,
            failover_on,
            silence_s,
            redirects: redirects.unwrap_or(RedirectsConfig::Refuse),
            dialect,
            codecs,
            allow_refer,
            allow_from,
        }
    }

    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            show: match self.identity {
                IdentityConfig::From => Show::From,
                IdentityConfig::Pai => Show::Pai,
                IdentityConfig::None => Show::None,
            },
            trusted: self.trusted,
            from_user: Some(self.from_user.clone()).filter(|user| !user.is_empty()),
        }
    }

    #[must_use]
    pub fn codecs(&self) -> Vec<Codec> {
        let codec = |codec: &CodecConfig| match codec {
            CodecConfig::Pcma => Codec::Pcma,
            CodecConfig::Pcmu => Codec::Pcmu,
            CodecConfig::Opus => Codec::Opus,
        };
        self.codecs.iter().map(codec).collect()
    }

    #[must_use]
    pub fn redirects(&self) -> Redirects {
        match self.redirects {
            RedirectsConfig::Refuse => Redirects::Refuse,
            RedirectsConfig::Follow => Redirects::Follow,
        }
    }

    /// What goes to the next server, as the trunk's room knows it.
    #[must_use]
    pub fn failover(&self) -> Failover {
        let statuses = self.failover_on.iter();
        Failover(statuses.filter_map(|it| Statuses::parse(it)).collect())
    }
}

impl NumberFormat {
    fn read(section: &Section<'_>) -> NumberFormat {
        let rule = section.text_found("number_format");
        let country_code = section.text("country_code", "");
        let national_prefix = section.text("national_prefix", "0");
        let international_prefix = section.text("international_prefix", "00");
        let Some(Found { value, span }) = rule else {
            return NumberFormat::E164;
        };
        match value.as_str() {
            "e164" => NumberFormat::E164,
            "prefix" => NumberFormat::Prefix {
                international_prefix,
            },
            "national" => {
                if country_code.is_empty()
                    || !country_code.bytes().all(|digit| digit.is_ascii_digit())
                {
                    section.missing(
                        "country_code",
                        "number_format = \"national\" needs digits: country_code = \"86\"",
                    );
                }
                NumberFormat::National {
                    country_code,
                    national_prefix,
                    international_prefix,
                }
            }
            other => {
                let what = format!("`{other}` is not a number format");
                section
                    .sheet
                    .complain(span, what, "choose \"e164\", \"national\" or \"prefix\"");
                NumberFormat::E164
            }
        }
    }

    /// As the trunk's room knows it.
    #[must_use]
    pub fn rule(&self) -> NumberRule {
        match self.clone() {
            NumberFormat::E164 => NumberRule::E164,
            NumberFormat::Prefix {
                international_prefix,
            } => NumberRule::Prefix {
                international_prefix,
            },
            NumberFormat::National {
                country_code,
                national_prefix,
                international_prefix,
            } => NumberRule::National {
                country_code,
                national_prefix,
                international_prefix,
            },
        }
    }
}

impl AddressRange {
    /// As the trunk's room knows it.
    #[must_use]
    pub fn block(&self) -> Block {
        Block {
            address: self.address,
            bits: self.bits,
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Serialize for AddressRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

fn servers(section: &Section<'_>) -> Vec<Place> {
    let remedy =
        "give at least one, such as servers = [\"203.0.113.10:5060\"] or [\"sip.carrier.example\"]";
    let Some(found) = section.texts("servers") else {
        section.missing("servers", remedy);
        return Vec::new();
    };
    if found.is_empty() {
        section.missing("servers", remedy);
    }
    found
        .into_iter()
        .filter_map(|found| section.check(found.span, place(&found.value)))
        .collect()
}

/// `192.0.2.1:5060`, `[2001:db8::1]:5060`, `sip.carrier.example:5060` or `carrier.example`.
fn place(text: &str) -> Result<Place, Wrong> {
    if let Ok(address) = text.parse() {
        return Ok(Place::At(address));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().ok().filter(|port| *port > 0)),
        None => (text, None),
    };
    let lettered = host.bytes().any(|byte| byte.is_ascii_alphabetic());
    let whole = text.contains(':') == port.is_some();
    if !lettered || !whole || !is_host_name(host) {
        // An address without a port, or with a bad one, is told so.
        return address_and_port(text).map(Place::At);
    }
    Ok(Place::Name {
        host: host.to_ascii_lowercase(),
        port,
    })
}

fn is_host_name(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(label)
}

fn identity(text: &str) -> Result<IdentityConfig, Wrong> {
    match text {
        "from" => Ok(IdentityConfig::From),
        "pai" => Ok(IdentityConfig::Pai),
        "none" => Ok(IdentityConfig::None),
        other => Err(Wrong(
            format!("`{other}` is no place for a caller ID"),
            "choose \"from\", \"pai\" (From and P-Asserted-Identity) or \"none\" (withheld)".into(),
        )),
    }
}

fn redirects(text: &str) -> Result<RedirectsConfig, Wrong> {
    match text {
        "refuse" => Ok(RedirectsConfig::Refuse),
        "follow" => Ok(RedirectsConfig::Follow),
        other => Err(Wrong(
            format!("`{other}` says nothing about redirections"),
            "choose \"refuse\" or \"follow\" (to the carrier's own servers, and by it)".into(),
        )),
    }
}

/// What may stand in a SIP address without an escape.
fn host_or_user(text: &str) -> Result<String, Wrong> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+~:[]".contains(&byte);
    if text.bytes().all(good) {
        return Ok(text.to_owned());
    }
    Err(Wrong(
        format!("`{text}` cannot stand in a SIP address"),
        "write letters, digits, dots and dashes only, without `sip:` and `@`".into(),
    ))
}

fn failover_on(section: &Section<'_>) -> Vec<String> {
    let Some(found) = section.texts("failover_on") else {
        return vec!["5xx".to_owned()];
    };
    let known = |found: Found<String>| {
        let checked = match Statuses::parse(&found.value) {
            Some(_) => Ok(found.value.clone()),
            None => Err(Wrong(
                format!("`{}` is no failure of a trunk", found.value),
                "write \"5xx\", \"6xx\" or a status from 500 to 699; 4xx is the customer's own answer"
                    .into(),
            )),
        };
        section.check(found.span, checked)
    };
    found.into_iter().filter_map(known).collect()
}

fn codecs(section: &Section<'_>) -> Vec<CodecConfig> {
    let default = vec![CodecConfig::Pcma, CodecConfig::Pcmu];
    let Some(found) = section.texts("codecs") else {
        return default;
    };
    if found.is_empty() {
        section.missing("codecs", "name at least one: codecs = [\"pcma\", \"pcmu\"]");
        return default;
    }
    let known = |found: Found<String>| {
        let checked = match found.value.as_str() {
            "pcma" => Ok(CodecConfig::Pcma),
            "pcmu" => Ok(CodecConfig::Pcmu),
            "opus" => Ok(CodecConfig::Opus),
            other => Err(Wrong(
                format!("`{other}` is no codec for trunks"),
                "choose from \"pcma\" (G.711 A-law), \"pcmu\" (µ-law) and \"opus\", best first"
                    .into(),
            )),
        };
        section.check(found.span, checked)
    };
    found.into_iter().filter_map(known).collect()
}

fn as_texts<S: Serializer>(places: &[Place], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(places.iter().map(Place::to_string))
}

/// `+` and 7 to 15 digits.
pub(super) fn e164(text: &str) -> Result<(), Wrong> {
    let digits = text.strip_prefix('+').unwrap_or("");
    if (7..=15).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Ok(());
    }
    Err(Wrong(
        format!("`{text}` is not an E.164 number"),
        "write + and the country code, digits only, such as \"+861066666666\"".into(),
    ))
}

fn range(text: &str) -> Result<AddressRange, Wrong> {
    let wrong = || {
        Wrong(
            format!("`{text}` is neither an IP address nor a CIDR block"),
            "write \"203.0.113.10\" or \"203.0.113.0/24\"".to_owned(),
        )
    };
    let (address, bits) = text
        .split_once('/')
        .map_or((text, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Ok(width), |bits| bits.parse().map_err(|_| wrong()))?;
    if bits > width {
        Err(wrong())
    } else {
        Ok(AddressRange { address, bits })
    }
}
