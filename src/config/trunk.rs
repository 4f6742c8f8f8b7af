//! `[[trunk]]`: a carrier we send calls to, and how it wants numbers written.

use super::network::address_and_port;
use super::written::{Found, Section, Wrong};
use super::{Secret, unique};
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

const CALLS_MAX: u32 = 10_000;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrunkConfig {
    pub name: String,
    /// Tried in this order. UDP.
    pub servers: Vec<SocketAddr>,
    /// E.164; a campaign may have its own.
    pub caller_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    #[serde(flatten)]
    pub number_format: NumberFormat,
    /// Calls at once.
    pub max_calls: u32,
    /// Besides `servers`: who may send us requests as this trunk.
    pub allow_from: Vec<AddressRange>,
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

pub(super) fn read_all(root: &Section<'_>) -> Vec<TrunkConfig> {
    let mut names = Vec::new();
    root.sections("trunk")
        .into_iter()
        .map(|section| TrunkConfig::read(section, &mut names))
        .collect()
}

impl TrunkConfig {
    fn read(section: Section<'_>, names: &mut Vec<String>) -> TrunkConfig {
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
        let number_format = NumberFormat::read(&section);
        let max_calls = section.count("max_calls", 30, 1..=CALLS_MAX);
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
            number_format,
            max_calls,
            allow_from,
        }
    }

    /// Whether a request from `address` may be this trunk's.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        self.servers.iter().any(|server| server.ip() == address)
            || self.allow_from.iter().any(|range| range.contains(address))
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

    /// `e164` (with its `+`) as the trunk wants it.
    #[must_use]
    pub fn write(&self, e164: &str) -> String {
        let digits = e164.strip_prefix('+').unwrap_or(e164);
        match self {
            NumberFormat::E164 => format!("+{digits}"),
            NumberFormat::Prefix {
                international_prefix,
            } => format!("{international_prefix}{digits}"),
            NumberFormat::National {
                country_code,
                national_prefix,
                international_prefix,
            } => match digits.strip_prefix(country_code.as_str()) {
                Some(national) => format!("{national_prefix}{national}"),
                None => format!("{international_prefix}{digits}"),
            },
        }
    }
}

impl AddressRange {
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, other, width) = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u128::from(own.to_bits()), u128::from(other.to_bits()), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        let ignored = width - u32::from(self.bits);
        own.checked_shr(ignored).unwrap_or(0) == other.checked_shr(ignored).unwrap_or(0)
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

fn servers(section: &Section<'_>) -> Vec<SocketAddr> {
    let remedy = "give at least one address with a port: servers = [\"203.0.113.10:5060\"]";
    let Some(found) = section.texts("servers") else {
        section.missing("servers", remedy);
        return Vec::new();
    };
    if found.is_empty() {
        section.missing("servers", remedy);
    }
    found
        .into_iter()
        .filter_map(|found| section.check(found.span, address_and_port(&found.value)))
        .collect()
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
