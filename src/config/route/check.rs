//! Whether what a route names is there.

use crate::config::written::{Found, Section, Sheet, did_you_mean};
use crate::config::{AgentConfig, CampaignConfig, PhoneConfig, TrunkConfig};
use crate::route::{CALLED, From};

/// Everything a route can name.
pub(in crate::config) struct Names<'a> {
    trunks: &'a [TrunkConfig],
    phones: &'a [PhoneConfig],
    agents: &'a [AgentConfig],
    campaigns: &'a [CampaignConfig],
}

impl<'a> Names<'a> {
    pub(in crate::config) fn of(
        trunks: &'a [TrunkConfig],
        phones: &'a [PhoneConfig],
        agents: &'a [AgentConfig],
        campaigns: &'a [CampaignConfig],
    ) -> Names<'a> {
        Names {
            trunks,
            phones,
            agents,
            campaigns,
        }
    }

    pub(super) fn trunk(&self, sheet: &Sheet, found: &Found<String>) {
        let known = || self.trunks.iter().map(|trunk| trunk.name.as_str());
        complain_unless(sheet, found, "trunk", known);
    }

    pub(super) fn phone(&self, sheet: &Sheet, found: &Found<String>) {
        if found.value == CALLED {
            return;
        }
        let known = || self.phones.iter().map(|phone| phone.user.as_str());
        complain_unless(sheet, found, "phone", known);
    }

    pub(super) fn campaign(&self, sheet: &Sheet, found: &Found<String>) {
        let known = || self.campaigns.iter().map(|campaign| campaign.id.as_str());
        complain_unless(sheet, found, "campaign", known);
    }

    pub(super) fn agent(&self, sheet: &Sheet, found: &Found<String>) {
        let known = || self.agents.iter().map(|agent| agent.id.as_str());
        complain_unless(sheet, found, "agent", known);
    }
}

fn complain_unless<'n, I: Iterator<Item = &'n str>>(
    sheet: &Sheet,
    found: &Found<String>,
    noun: &str,
    known: impl Fn() -> I,
) {
    if known().any(|name| name == found.value) {
        return;
    }
    let remedy =
        did_you_mean(&found.value, known()).unwrap_or_else(|| format!("add it as a [[{noun}]]"));
    let what = format!("there is no {noun} `{}`", found.value);
    sheet.complain(found.span.clone(), what, remedy);
}

/// `from`: sources that are understood and name what is there.
pub(super) fn sources(section: &Section<'_>, names: &Names<'_>) -> Vec<String> {
    let found = section.texts("from").unwrap_or_default();
    for one in &found {
        let named = Found {
            value: one
                .value
                .split_once(':')
                .map_or("", |(_, name)| name)
                .to_owned(),
            span: one.span.clone(),
        };
        match one.value.parse::<From>() {
            Ok(From::Trunk(Some(_))) => names.trunk(section.sheet, &named),
            Ok(From::Phone(Some(_))) => names.phone(section.sheet, &named),
            Ok(From::Agent(Some(_))) => names.agent(section.sheet, &named),
            Ok(_) => {}
            Err(()) => {
                let what = format!("`{}` is not a source of calls", one.value);
                let remedy =
                    "write trunk, phone, agent or address, alone or with a name: \"phone:101\"";
                section.sheet.complain(one.span.clone(), what, remedy);
            }
        }
    }
    found.into_iter().map(|found| found.value).collect()
}

/// `numbers`, `prefix` and `regex` shut each other out.
pub(super) fn one_pattern(section: &Section<'_>, numbers: bool, prefix: bool, regex: bool) {
    if [numbers, prefix, regex].iter().filter(|it| **it).count() > 1 {
        let what = "`numbers`, `prefix` and `regex` cannot stand together";
        let remedy = "keep one of them; another route may have the other";
        section.sheet.complain(section.span.clone(), what, remedy);
    }
}
