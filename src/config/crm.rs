//! `[crm]`: where a card's background comes from, and what of it is shown.

use super::written::{Section, Wrong};
use super::{FieldKind, Label, Secret};
use serde::Serialize;

const TIMEOUT_MS: u32 = 2_000;
const TIMEOUT_MS_MAX: u32 = 30_000;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CrmConfig {
    /// A minijinja template over the lead: `https://crm.example.com/customers/{{ external_id }}`.
    pub url: String,
    pub timeout_ms: u32,
    /// Sent as `Authorization: Bearer …`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<Secret>,
    /// Hosts that may be reached although their addresses are private or loopback.
    pub allow_private: Vec<String>,
    pub sections: Vec<CrmSection>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CrmSection {
    pub title: Label,
    pub fields: Vec<CrmField>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CrmField {
    /// A JSON pointer (RFC 6901) into the CRM's answer: `/orders/0/total`.
    pub pointer: String,
    pub label: Label,
    pub kind: FieldKind,
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
            allow_private: allow_private.into_iter().map(|found| found.value).collect(),
            sections,
        })
    }
}

impl CrmSection {
    fn read(section: Section<'_>) -> CrmSection {
        if !section.has("title") {
            section.missing("title", "write title = { en = \"Orders\", zh = \"订单\" }");
        }
        let title = section.label("title", "");
        let fields = section
            .sections("fields")
            .into_iter()
            .map(CrmField::read)
            .collect();
        section.done();
        CrmSection { title, fields }
    }
}

impl CrmField {
    fn read(section: Section<'_>) -> CrmField {
        let pointer = section.required(
            "pointer",
            "say which part of the answer: pointer = \"/tier\"",
        );
        if !pointer.value.is_empty() && !pointer.value.starts_with('/') {
            let what = format!("`{}` is not a JSON pointer", pointer.value);
            section.sheet.complain(
                pointer.span,
                what,
                "begin it with a slash: \"/orders/0/total\"",
            );
        }
        let label = section.label("label", pointer.value.rsplit('/').next().unwrap_or(""));
        let kind = FieldKind::read(&section);
        section.done();
        CrmField {
            pointer: pointer.value,
            label,
            kind,
        }
    }
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
