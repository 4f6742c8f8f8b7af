//! Who may speak to us and how much: parts of `[sip]`, `[security]` and `[fraud]`.

use super::written::{Section, Wrong};
use serde::{Serialize, Serializer};
use std::path::PathBuf;

use crate::sip::guard::AddressBlock;

const MESSAGES_PER_S_MAX: u32 = 1_000_000;
const FAILURES_MAX: u32 = 10_000;
const LOCK_S_MAX: u32 = 7 * 86_400;
const CALLS_MAX: u32 = 100_000;
const MINUTES_MAX: u32 = 10_000_000;
/// Numbers that cost most and are called least: satellites, global services, premium rate.
const DENIED: [&str; 6] = ["+870", "+881", "+882", "+883", "+979", "+1900"];

/// The part of `[sip]` that says whom we listen to, and what we are called.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Access {
    /// Of the digest. HA1 values of phones are made with it.
    pub realm: String,
    /// The host of phones' addresses; empty: any.
    pub domain: String,
    /// Further ones, and `*.example.com` for all hosts below. With any of them, requests for other
    /// names are answered 404.
    pub domains: Vec<String>,
    #[serde(serialize_with = "as_texts")]
    pub allow: Vec<AddressBlock>,
    #[serde(serialize_with = "as_texts")]
    pub deny: Vec<AddressBlock>,
    pub drop_scanners: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SecurityConfig {
    /// Where the security log goes besides the other log. `None`: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
    /// Of one source; 0 is without limit.
    pub messages_per_s: u32,
    pub trunk_messages_per_s: u32,
    /// Wrong passwords from one address; 0 locks nobody out.
    pub failures_max: u32,
    pub lock_s: u32,
    pub lock_s_max: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FraudConfig {
    pub calls_at_once: u32,
    pub calls_a_minute: u32,
    pub minutes_a_day: u32,
    pub calls_at_once_in_all: u32,
    pub calls_a_minute_in_all: u32,
    pub minutes_a_day_in_all: u32,
    pub longest_call_minutes: u32,
    pub allowed: Vec<String>,
    pub denied: Vec<String>,
}

impl Access {
    /// Reads its keys of `[sip]`; who reads the rest says when all is read.
    pub(super) fn read(section: &Section<'_>) -> Access {
        let realm = section.parsed("realm", quotable);
        let domain = section.parsed("domain", host);
        Access {
            realm: realm.unwrap_or_else(|| "foredial".to_owned()),
            domain: domain.unwrap_or_default(),
            domains: domains(section),
            allow: blocks(section, "allow"),
            deny: blocks(section, "deny"),
            drop_scanners: section.flag("drop_scanners", true),
        }
    }
}

impl SecurityConfig {
    pub(super) fn read(section: Section<'_>) -> SecurityConfig {
        let log = section
            .text_found("log")
            .filter(|found| !found.value.is_empty())
            .map(|found| section.sheet.base.join(found.value));
        let lock_s = section.count("lock_s", 60, 1..=LOCK_S_MAX);
        let config = SecurityConfig {
            log,
            messages_per_s: section.count("messages_per_s", 200, 0..=MESSAGES_PER_S_MAX),
            trunk_messages_per_s: section.count(
                "trunk_messages_per_s",
                5_000,
                0..=MESSAGES_PER_S_MAX,
            ),
            failures_max: section.count("failures_max", 10, 0..=FAILURES_MAX),
            lock_s,
            lock_s_max: section.count("lock_s_max", 3_600.max(lock_s), lock_s..=LOCK_S_MAX),
        };
        section.done();
        config
    }
}

impl FraudConfig {
    pub(super) fn read(section: Section<'_>) -> FraudConfig {
        let calls = |key, default| section.count(key, default, 0..=CALLS_MAX);
        let minutes = |key, default| section.count(key, default, 0..=MINUTES_MAX);
        let config = FraudConfig {
            calls_at_once: calls("calls_at_once", 2),
            calls_a_minute: calls("calls_a_minute", 10),
            minutes_a_day: minutes("minutes_a_day", 300),
            calls_at_once_in_all: calls("calls_at_once_in_all", 30),
            calls_a_minute_in_all: calls("calls_a_minute_in_all", 120),
            minutes_a_day_in_all: minutes("minutes_a_day_in_all", 5_000),
            longest_call_minutes: minutes("longest_call_minutes", 120),
            allowed: prefixes(&section, "allowed").unwrap_or_default(),
            denied: prefixes(&section, "denied")
                .unwrap_or_else(|| DENIED.map(str::to_owned).to_vec()),
        };
        section.done();
        config
    }
}

fn domains(section: &Section<'_>) -> Vec<String> {
    let one = |text: &str| {
        let name = text.strip_prefix("*.").unwrap_or(text);
        match !name.is_empty() && host(name).is_ok() {
            true => Ok(text.to_ascii_lowercase()),
            false => Err(Wrong(
                format!("`{text}` is not a host name"),
                "write \"pbx.example.com\", or \"*.example.com\" for all hosts below".to_owned(),
            )),
        }
    };
    let found = section.texts("domains").unwrap_or_default().into_iter();
    found
        .filter_map(|found| section.check(found.span, one(&found.value)))
        .collect()
}

pub(super) fn blocks(section: &Section<'_>, key: &'static str) -> Vec<AddressBlock> {
    let block = |text: &str| {
        text.parse().map_err(|_| {
            Wrong(
                format!("`{text}` is neither an IP address nor a CIDR block"),
                "write \"203.0.113.10\" or \"203.0.113.0/24\"".to_owned(),
            )
        })
    };
    let found = section.texts(key).unwrap_or_default().into_iter();
    found
        .filter_map(|found| section.check(found.span, block(&found.value)))
        .collect()
}

fn prefixes(section: &Section<'_>, key: &'static str) -> Option<Vec<String>> {
    let prefix = |text: &str| {
        let digits = text.strip_prefix('+');
        let fine = digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        if fine {
            return Ok(text.to_owned());
        }
        Err(Wrong(
            format!("`{text}` is not the beginning of an E.164 number"),
            "write + and digits, such as \"+86\"; \"+\" alone is every number".to_owned(),
        ))
    };
    let found = section.texts(key)?.into_iter();
    let checked = found.filter_map(|found| section.check(found.span, prefix(&found.value)));
    Some(checked.collect())
}

fn quotable(text: &str) -> Result<String, Wrong> {
    if text
        .chars()
        .all(|c| c.is_ascii_graphic() && !"\"\\".contains(c))
    {
        return Ok(text.to_owned());
    }
    Err(Wrong(
        format!("`{text}` cannot be a realm"),
        "use letters, digits, dots and dashes: realm = \"pbx.example.com\"".to_owned(),
    ))
}

fn host(text: &str) -> Result<String, Wrong> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    if text.bytes().all(plain) {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Wrong(
        format!("`{text}` is not a host name"),
        "write the part behind the @: domain = \"pbx.example.com\"".to_owned(),
    ))
}

pub(super) fn as_texts<S: Serializer>(
    blocks: &[AddressBlock],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(blocks.iter().map(ToString::to_string))
}
