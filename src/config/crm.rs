//! `[crm]`: where a card's background comes from, and what of it is shown.

use super::network::address_and_port;
use super::written::{Section, Wrong};
use super::{Label, Secret};
use crate::connector::crm as asking;
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};

const TIMEOUT_MS: u32 = 2_000;
const TIMEOUT_MS_MAX: u32 = 30_000;
const ITEMS_MAX: u32 = 5;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CrmConfig {
    /// A minijinja template over the lead: `https://crm.example.com/customers/{{ external_id }}`.
    pub url: String,
    pub timeout_ms: u32,
    /// Sent as `Authorization: Bearer …`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<Secret>,
    /// Addresses that may be asked although they are private or loopback; port 0 is every port.
    pub allow_private: Vec<SocketAddr>,
    pub sections: Vec<CrmSection>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CrmSection {
    pub title: Label,
    /// A JSON pointer to an array whose items repeat the fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub each: Option<String>,
    pub items_max: u32,
    pub fields: Vec<CrmField>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CrmField {
    /// A JSON pointer (RFC 6901) into the CRM's answer, or into the item of `each`: `/total`.
    pub pointer: String,
    pub label: Label,
    #[serde(flatten)]
    pub kind: CrmFieldKind,
}

/// How a value is written on the card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CrmFieldKind {
    Text,
    /// `1,280.50`
    Number,
    /// `CNY 1,280.50`; `currency` is a pointer to the `CNY`.
    Money {
        currency: String,
    },
    /// `2026-11-22`
    Date,
}

impl CrmConfig {
    /// `None` when there is no `[crm]`.
    pub(super) fn read(section: Section<'_>) -> Option<CrmConfig> {
        let written = section.is_written();
        let url = if written {
            let url = section.required(
                "url",
                "give the address a customer is asked at, or leave [crm] out",
            );
            if !url.value.is_empty() {
                section.check(url.span.clone(), url_template(&url.value));
            }
            url.value
        } else {
            section.text("url", "")
        };
        let timeout_ms = section.count("timeout_ms", TIMEOUT_MS, 100..=TIMEOUT_MS_MAX);
        let bearer_token = section
            .text_found("bearer_token")
            .filter(|found| !found.value.is_empty());
        let allow_private = section.texts("allow_private").unwrap_or_default();
        let allow_private = allow_private
            .into_iter()
            .filter_map(|found| section.check(found.span, private(&found.value)))
            .collect();
        let sections = section
            .sections("sections")
            .into_iter()
            .map(CrmSection::read)
            .collect();
        section.done();
        written.then(|| CrmConfig {
            url,
            timeout_ms,
            bearer_token: bearer_token.map(|found| Secret::new(&found.value)),
            allow_private,
            sections,
        })
    }
}

impl CrmConfig {
    /// How the connector is to ask.
    #[must_use]
    pub fn asking(&self) -> asking::CrmConfig {
        asking::CrmConfig {
            url: self.url.clone(),
            timeout_ms: u64::from(self.timeout_ms),
            authorization: self
                .bearer_token
                .as_ref()
                .map(|token| format!("Bearer {}", token.reveal())),
            allow_private: self.allow_private.clone(),
            sections: self.sections.iter().map(CrmSection::mapping).collect(),
        }
    }
}

impl CrmSection {
    fn read(section: Section<'_>) -> CrmSection {
        if !section.has("title") {
            section.missing("title", "write title = { en = \"Orders\", zh = \"订单\" }");
        }
        let title = section.label("title", "");
        let each = section.parsed("each", |text| pointer(text).map(|()| text.to_owned()));
        let items_max = section.count("items_max", ITEMS_MAX, 1..=50);
        let fields = section
            .sections("fields")
            .into_iter()
            .map(CrmField::read)
            .collect();
        section.done();
        CrmSection {
            title,
            each,
            items_max,
            fields,
        }
    }

    fn mapping(&self) -> asking::SectionMap {
        asking::SectionMap {
            title: tongues(&self.title),
            each: self.each.clone(),
            items_max: usize::try_from(self.items_max).unwrap_or(usize::MAX),
            fields: self.fields.iter().map(CrmField::mapping).collect(),
        }
    }
}

impl CrmField {
    fn read(section: Section<'_>) -> CrmField {
        let found = section.required(
            "pointer",
            "say which part of the answer: pointer = \"/tier\"",
        );
        if !found.value.is_empty() {
            section.check(found.span, pointer(&found.value));
        }
        let label = section.label("label", found.value.rsplit('/').next().unwrap_or(""));
        let kind = CrmFieldKind::read(&section);
        section.done();
        CrmField {
            pointer: found.value,
            label,
            kind,
        }
    }

    fn mapping(&self) -> asking::FieldMap {
        let kind = match &self.kind {
            CrmFieldKind::Text => asking::Kind::Text,
            CrmFieldKind::Number => asking::Kind::Number,
            CrmFieldKind::Money { currency } => asking::Kind::Money {
                currency: currency.clone(),
            },
            CrmFieldKind::Date => asking::Kind::Date,
        };
        asking::FieldMap {
            label: tongues(&self.label),
            pointer: self.pointer.clone(),
            kind,
        }
    }
}

impl CrmFieldKind {
    fn read(section: &Section<'_>) -> CrmFieldKind {
        let currency = section.parsed("currency", |text| pointer(text).map(|()| text.to_owned()));
        let Some(found) = section.text_found("kind") else {
            return CrmFieldKind::Text;
        };
        match (found.value.as_str(), currency) {
            ("text", _) => CrmFieldKind::Text,
            ("number", _) => CrmFieldKind::Number,
            ("date", _) => CrmFieldKind::Date,
            ("money", Some(currency)) => CrmFieldKind::Money { currency },
            ("money", None) => {
                section.missing(
                    "currency",
                    "say where the currency is: currency = \"/balance/currency\"",
                );
                CrmFieldKind::Text
            }
            (other, _) => {
                let what = format!("`{other}` is not a kind of value");
                section.sheet.complain(
                    found.span,
                    what,
                    "choose \"text\", \"number\", \"money\" or \"date\"",
                );
                CrmFieldKind::Text
            }
        }
    }
}

fn tongues(label: &Label) -> asking::Tongues {
    asking::Tongues {
        en: label.en.clone(),
        zh: label.zh.clone(),
    }
}

/// RFC 6901: empty, or begun with a slash.
fn pointer(text: &str) -> Result<(), Wrong> {
    if text.starts_with('/') {
        return Ok(());
    }
    Err(Wrong(
        format!("`{text}` is not a JSON pointer"),
        "begin it with a slash: \"/orders/0/total\"".into(),
    ))
}

/// An address with a port, or without one for all ports.
fn private(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse::<IpAddr>()
        .map(|address| SocketAddr::new(address, 0))
        .or_else(|_| address_and_port(text))
}

fn url_template(text: &str) -> Result<(), Wrong> {
    if !text.starts_with("https://") && !text.starts_with("http://") {
        return Err(Wrong(
            format!("`{text}` is not a web address"),
            "begin it with https:// (or http://)".into(),
        ));
    }
    template(text)
}

/// Whether minijinja can read it.
pub(super) fn template(text: &str) -> Result<(), Wrong> {
    minijinja::Environment::new()
        .template_from_str(text)
        .map(drop)
        .map_err(|error| {
            let line = error
                .line()
                .map_or(String::new(), |line| format!(" in its line {line}"));
            let what = error
                .detail()
                .map_or_else(|| error.kind().to_string(), str::to_owned);
            Wrong(
                format!("the template cannot be read{line}: {what}"),
                "write fields as {{ name }}".into(),
            )
        })
}
