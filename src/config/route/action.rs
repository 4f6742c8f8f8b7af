//! What a route does with a call: one key for its first step, `then` for further ones.

use super::check::Names;
use crate::config::written::{Found, Section, Wrong};
use crate::id::{AgentId, CampaignId};
use crate::route::{Outward, Seated, Step, Tone, Waiting, Who};
use crate::sip::Uri;
use serde::Serialize;

const STATUS_MIN: u32 = 400;
const STATUS_MAX: u32 = 699;
const REMEDY: &str =
    "choose one of trunk, phone, campaign, queue, agent, last_agent, uri, play, refuse";

/// The first step, under the key of its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteAction {
    Trunk(Vec<String>),
    Phone(String),
    Campaign(String),
    Queue(String),
    Agent(String),
    LastAgent(bool),
    Play(String),
    Uri(String),
    Refuse(u32),
}

impl RouteAction {
    pub(super) fn leads_out(&self) -> bool {
        matches!(self, RouteAction::Trunk(_))
    }

    pub(super) fn words(&self) -> (&str, Vec<String>) {
        let one = |text: &String| vec![text.clone()];
        match self {
            RouteAction::Trunk(names) => ("trunk", names.clone()),
            RouteAction::Phone(user) => ("phone", one(user)),
            RouteAction::Campaign(id) => ("campaign", one(id)),
            RouteAction::Queue(id) => ("queue", one(id)),
            RouteAction::Agent(id) => ("agent", one(id)),
            RouteAction::LastAgent(_) => ("last_agent", Vec::new()),
            RouteAction::Play(tone) => ("play", one(tone)),
            RouteAction::Uri(uri) => ("uri", one(uri)),
            RouteAction::Refuse(status) => ("refuse", vec![status.to_string()]),
        }
    }
}

/// `phone:101` as a kind and what it names.
pub(super) fn words(text: &str) -> (&str, Vec<String>) {
    match text.split_once(':') {
        Some((kind, value)) => (kind, vec![value.to_owned()]),
        None => (text, Vec::new()),
    }
}

/// A checked kind and its values as a step of the plan.
pub(super) fn step(
    kind: &str,
    values: &[String],
    waiting: Waiting,
    outward: &dyn Fn(&str) -> Option<Outward>,
) -> Option<Step> {
    let seat = |who| Step::Seat(Seated { who, waiting });
    let first = values.first().map(String::as_str);
    Some(match (kind, first) {
        ("trunk", Some(_)) => {
            Step::Trunks(values.iter().filter_map(|name| outward(name)).collect())
        }
        ("phone", Some(user)) => Step::Phone(user.to_owned()),
        ("campaign", Some(id)) => seat(Who::Campaign(CampaignId::new(id))),
        ("queue", Some(id)) => seat(Who::Queue(CampaignId::new(id))),
        ("agent", Some(id)) => seat(Who::Agent(AgentId::new(id))),
        ("last_agent", _) => seat(Who::LastAgent),
        ("play", Some(tone)) => Step::Play(Tone::named(tone)?),
        ("uri", Some(uri)) => Step::Uri(uri.to_owned()),
        ("refuse", Some(status)) => Step::Refuse(status.parse().ok()?),
        _ => return None,
    })
}

pub(super) fn read(section: &Section<'_>, names: &Names<'_>) -> Option<RouteAction> {
    let text = |key: &'static str| {
        let found = section
            .text_found(key)
            .filter(|found| !found.value.is_empty())?;
        check(section, names, key, &found);
        Some(found.value)
    };
    let trunks = section.texts("trunk").unwrap_or_default();
    for found in &trunks {
        check(section, names, "trunk", found);
    }
    let trunks: Vec<String> = trunks.into_iter().map(|found| found.value).collect();
    let found = [
        Some(RouteAction::Trunk(trunks.clone())).filter(|_| !trunks.is_empty()),
        text("phone").map(RouteAction::Phone),
        text("campaign").map(RouteAction::Campaign),
        text("queue").map(RouteAction::Queue),
        text("agent").map(RouteAction::Agent),
        Some(RouteAction::LastAgent(true)).filter(|_| section.flag("last_agent", false)),
        text("play").map(RouteAction::Play),
        text("uri").map(RouteAction::Uri),
        Some(section.count("refuse", 0, STATUS_MIN..=STATUS_MAX))
            .filter(|status| *status != 0)
            .map(RouteAction::Refuse),
    ];
    let mut found = found.into_iter().flatten();
    let first = found.next();
    if first.is_none() {
        section.missing("trunk", &format!("say where the call goes: {REMEDY}"));
    } else if found.next().is_some() {
        let what = "a route begins with one step, and here are several";
        let remedy = "keep one of them and put the others into `then`";
        section.sheet.complain(section.span.clone(), what, remedy);
    }
    first
}

pub(super) fn read_then(section: &Section<'_>, names: &Names<'_>) -> Vec<String> {
    let found = section.texts("then").unwrap_or_default();
    for one in &found {
        let (kind, values) = words(&one.value);
        let value = Found {
            value: values.first().cloned().unwrap_or_default(),
            span: one.span.clone(),
        };
        check(section, names, kind, &value);
    }
    found.into_iter().map(|found| found.value).collect()
}

/// Complains about a step that names something there is not.
fn check(section: &Section<'_>, names: &Names<'_>, kind: &str, found: &Found<String>) {
    let sheet = section.sheet;
    match kind {
        "trunk" => names.trunk(sheet, found),
        "phone" => names.phone(sheet, found),
        "campaign" | "queue" => names.campaign(sheet, found),
        "agent" => names.agent(sheet, found),
        "last_agent" => {}
        "play" => drop(section.check(found.span.clone(), tone(&found.value))),
        "uri" => drop(section.check(found.span.clone(), peer(&found.value))),
        "refuse" => drop(section.check(found.span.clone(), status(&found.value))),
        other => {
            let what = format!("`{other}` is not a step");
            sheet.complain(
                found.span.clone(),
                what,
                format!("{REMEDY}; such as \"phone:101\""),
            );
        }
    }
}

fn tone(name: &str) -> Result<(), Wrong> {
    let known = Tone::named(name).map(|_| ());
    known.ok_or_else(|| {
        Wrong(
            format!("`{name}` cannot be played"),
            "choose \"music\" or \"busy\"".to_owned(),
        )
    })
}

fn peer(uri: &str) -> Result<(), Wrong> {
    let address = Uri::parse(uri).ok().and_then(|uri| uri.address());
    address.map(|_| ()).ok_or_else(|| {
        Wrong(
            format!("`{uri}` is not a SIP URI with an address"),
            "write one such as \"sip:uas@127.0.0.3:5080\"".to_owned(),
        )
    })
}

fn status(text: &str) -> Result<(), Wrong> {
    let number = text.parse::<u32>().ok();
    let allowed = number.filter(|number| (STATUS_MIN..=STATUS_MAX).contains(number));
    allowed.map(|_| ()).ok_or_else(|| {
        Wrong(
            format!("`{text}` is not a status to refuse with"),
            format!("give a number from {STATUS_MIN} to {STATUS_MAX}, such as 404"),
        )
    })
}
