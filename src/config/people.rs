//! `[[agent]]` and `[[phone]]`: who signs in, and the desk phones that register.

use super::written::{Found, Section, Wrong, did_you_mean};
use super::{CampaignConfig, Secret, SrtpConfig, unique};
use crate::agent::seat::Kind;
use serde::Serialize;

/// Phones that one `users` may name.
const USERS_MAX: u32 = 100_000;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AgentConfig {
    /// What the agent signs in with.
    pub id: String,
    pub name: String,
    pub language: Language,
    /// An argon2 hash in PHC form. Without one the agent signs in by one-time links only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<Secret>,
    /// Ids of campaigns. Empty: all.
    pub campaigns: Vec<String>,
    pub seat: SeatConfig,
}

/// Where the agent's voice comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum SeatConfig {
    Browser,
    /// The user of a `[[phone]]`.
    Phone(String),
}

impl SeatConfig {
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            SeatConfig::Browser => Kind::Browser,
            SeatConfig::Phone(user) => Kind::Phone(user.clone()),
        }
    }

    fn parse(text: &str, phones: &[PhoneConfig]) -> Result<SeatConfig, Wrong> {
        if text == "browser" {
            return Ok(SeatConfig::Browser);
        }
        let Some(user) = text.strip_prefix("phone:") else {
            return Err(Wrong(
                format!("`{text}` is no seat"),
                "choose \"browser\", or the desk phone as \"phone:201\"".to_owned(),
            ));
        };
        if phones.iter().any(|phone| phone.user == user) {
            return Ok(SeatConfig::Phone(user.to_owned()));
        }
        let known = phones.iter().map(|phone| phone.user.as_str());
        let remedy = did_you_mean(user, known);
        Err(Wrong(
            format!("there is no phone `{user}`"),
            remedy.unwrap_or_else(|| "add it as a [[phone]]".to_owned()),
        ))
    }
}

impl Serialize for SeatConfig {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            SeatConfig::Browser => to.serialize_str("browser"),
            SeatConfig::Phone(user) => to.serialize_str(&format!("phone:{user}")),
        }
    }
}

/// The pages' languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    En,
    Zh,
}

/// A desk phone that registers with us.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhoneConfig {
    pub user: String,
    /// Empty when HA1 values stand for it.
    #[serde(skip_serializing_if = "Secret::is_empty")]
    pub password: Secret,
    /// `H(user:realm:password)` in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ha1_sha256: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ha1_md5: Option<Secret>,
    /// What it is challenged with, first choice first.
    pub algorithms: Vec<DigestAlgorithm>,
    pub srtp: SrtpConfig,
    /// Keys may be sent where anybody on the way can read them.
    pub srtp_over_plain: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum DigestAlgorithm {
    #[serde(rename = "SHA-256")]
    Sha256,
    #[serde(rename = "MD5")]
    Md5,
}

impl Language {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Language::En => "en",
            Language::Zh => "zh",
        }
    }
}

pub(super) fn read_agents(
    root: &Section<'_>,
    campaigns: &[CampaignConfig],
    phones: &[PhoneConfig],
) -> Vec<AgentConfig> {
    let mut ids = Vec::new();
    root.sections("agent")
        .into_iter()
        .map(|section| AgentConfig::read(section, &mut ids, campaigns, phones))
        .collect()
}

pub(super) fn read_phones(root: &Section<'_>) -> Vec<PhoneConfig> {
    let mut users = Vec::new();
    let one = |section: Section<'_>| {
        let named = match section.has("users") {
            true => section.parsed("users", user_range).unwrap_or_default(),
            false => {
                section.parsed("users", user_range);
                vec![
                    section
                        .required("user", "name the phone: user = \"101\"")
                        .value,
                ]
            }
        };
        let span = section.span.clone();
        for user in &named {
            let found = Found {
                value: user.clone(),
                span: span.clone(),
            };
            unique(section.sheet, &mut users, &found, "a phone");
        }
        let ha1_sha256 = section.parsed("ha1_sha256", |text| ha1(text, 64));
        let ha1_md5 = section.parsed("ha1_md5", |text| ha1(text, 32));
        let password = match section.has("ha1_sha256") || section.has("ha1_md5") {
            true => section.text("password", ""),
            false => {
                let remedy = "give the password the phone registers with";
                section.required("password", remedy).value
            }
        };
        let algorithms = algorithms(&section);
        let srtp = SrtpConfig::read(&section, SrtpConfig::Accept);
        let srtp_over_plain = section.flag("srtp_over_plain", false);
        section.done();
        let phone = move |user: String| PhoneConfig {
            user,
            password: Secret::new(&password),
            ha1_sha256: ha1_sha256.clone(),
            ha1_md5: ha1_md5.clone(),
            algorithms: algorithms.clone(),
            srtp,
            srtp_over_plain,
        };
        named.into_iter().map(phone).collect::<Vec<_>>()
    };
    root.sections("phone").into_iter().flat_map(one).collect()
}

/// `u1..u2000`: the same letters before two numbers, both included.
fn user_range(text: &str) -> Result<Vec<String>, Wrong> {
    let wrong = || {
        Wrong(
            format!("`{text}` is not a range of users"),
            format!("write the first and the last, such as \"u1..u2000\", at most {USERS_MAX}"),
        )
    };
    let (first, last) = text.split_once("..").ok_or_else(wrong)?;
    let letters = first.trim_end_matches(|c: char| c.is_ascii_digit());
    let (from, to) = (&first[letters.len()..], last.strip_prefix(letters));
    let (from, to) = (from.parse::<u32>(), to.map(str::parse::<u32>));
    match (from, to) {
        (Ok(from), Some(Ok(to))) if from <= to && to - from < USERS_MAX => {
            Ok((from..=to).map(|n| format!("{letters}{n}")).collect())
        }
        _ => Err(wrong()),
    }
}

fn ha1(text: &str, digits: usize) -> Result<Secret, Wrong> {
    if text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(Secret::new(text));
    }
    // What was written is as good as a password: it is not repeated.
    Err(Wrong(
        format!("this is no HA1 of {digits} hexadecimal digits"),
        "give the hash of \"user:realm:password\", or the password itself".to_owned(),
    ))
}

fn algorithms(section: &Section<'_>) -> Vec<DigestAlgorithm> {
    let usual = vec![DigestAlgorithm::Sha256, DigestAlgorithm::Md5];
    let Some(found) = section.texts("algorithms") else {
        return usual;
    };
    let one = |text: &str| match text.to_ascii_uppercase().as_str() {
        "SHA-256" => Ok(DigestAlgorithm::Sha256),
        "MD5" => Ok(DigestAlgorithm::Md5),
        _ => Err(Wrong(
            format!("`{text}` is no digest algorithm"),
            "choose from \"SHA-256\" and \"MD5\"".to_owned(),
        )),
    };
    let chosen: Vec<DigestAlgorithm> = found
        .into_iter()
        .filter_map(|found| section.check(found.span, one(&found.value)))
        .collect();
    if chosen.is_empty() { usual } else { chosen }
}

impl AgentConfig {
    fn read(
        section: Section<'_>,
        ids: &mut Vec<String>,
        campaigns: &[CampaignConfig],
        phones: &[PhoneConfig],
    ) -> AgentConfig {
        let id = section.required(
            "id",
            "give the name the agent signs in with: id = \"li.wei\"",
        );
        unique(section.sheet, ids, &id, "an agent");
        let name = section
            .text_found("name")
            .map(|found| found.value)
            .filter(|name| !name.is_empty());
        let language = section
            .text_found("language")
            .map_or(Language::En, |found| match found.value.as_str() {
                "en" => Language::En,
                "zh" => Language::Zh,
                other => {
                    section.sheet.complain(
                        found.span,
                        format!("there are no pages in `{other}`"),
                        "choose \"en\" or \"zh\"",
                    );
                    Language::En
                }
            });
        let password_hash = section
            .text_found("password_hash")
            .filter(|found| !found.value.is_empty());
        let password_hash = password_hash.map(|found| {
            if argon2::password_hash::phc::PasswordHash::new(&found.value).is_err() {
                section.sheet.complain(
                    found.span,
                    "`password_hash` is not an argon2 hash",
                    "make one with `foredial hash-password`",
                );
            }
            Secret::new(&found.value)
        });
        let wanted = section.texts("campaigns").unwrap_or_default();
        for found in wanted
            .iter()
            .filter(|found| campaigns.iter().all(|known| known.id != found.value))
        {
            let known = campaigns.iter().map(|campaign| campaign.id.as_str());
            let remedy = did_you_mean(&found.value, known)
                .unwrap_or_else(|| "add it as a [[campaign]]".into());
            section.sheet.complain(
                found.span.clone(),
                format!("there is no campaign `{}`", found.value),
                remedy,
            );
        }
        let seat = section.parsed("seat", |text| SeatConfig::parse(text, phones));
        section.done();
        AgentConfig {
            seat: seat.unwrap_or(SeatConfig::Browser),
            name: name.unwrap_or_else(|| id.value.clone()),
            id: id.value,
            language,
            password_hash,
            campaigns: wanted.into_iter().map(|found| found.value).collect(),
        }
    }
}
