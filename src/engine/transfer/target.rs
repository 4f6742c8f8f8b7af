//! Who is meant: `phone:<user>`, `agent:<id>`, or a number as it is dialled: E.164, an extension of the route
//! plan, or in the manner of the campaign's first trunk.

use serde_json::{Value, json};

use super::To;
use crate::engine::call::Call;
use crate::engine::card::shown_number;
use crate::engine::handle::Problem;
use crate::engine::resolved::{Campaign, Phone};
use crate::engine::switch::Switch;
use crate::id::AgentId;
use crate::now::Now;
use crate::route::{Outcome, Question, Source, Step};

const PHONE: &str = "phone:";
const AGENT: &str = "agent:";
/// Agents a page is offered.
const AGENTS_MAX: usize = 200;
/// Phones a page is offered; any other is reached by its name.
const PHONES_MAX: usize = 200;
/// What people write between digits.
const BETWEEN: [char; 6] = [' ', '-', '(', ')', '.', '/'];

impl Switch {
    pub(super) fn target(
        &self,
        now: Now,
        agent: &AgentId,
        campaign: &Campaign,
        to: &str,
    ) -> Result<To, Problem> {
        if let Some(user) = to.strip_prefix(PHONE) {
            return self.phone(user);
        }
        if let Some(other) = to.strip_prefix(AGENT) {
            return self.other_agent(AgentId::new(other));
        }
        let number: String = to.chars().filter(|it| !BETWEEN.contains(it)).collect();
        let question = Question {
            number,
            source: Source::Agent(agent.clone()),
            at: now.utc,
        };
        match self.config.plan.route(&question).outcome {
            Outcome::Routed(routed) if routed.emergency => Err(emergency()),
            Outcome::Routed(routed) => match routed.steps.first() {
                Some(Step::Phone(user)) => self.phone(user),
                Some(Step::Trunks(_)) => self.number(campaign, &routed.number),
                _ => Err(unknown()),
            },
            Outcome::Refused { rule: Some(_), .. } => Err(Problem::new(
                409,
                "route",
                "This number may not be called",
                "A rule of the route plan refuses it (foredial explain route).",
            )),
            Outcome::Refused { rule: None, .. } => self.number(campaign, &question.number),
        }
    }

    fn phone(&self, user: &str) -> Result<To, Problem> {
        let known = self.config.phones.iter().any(|phone| phone.user == user);
        match known {
            true => Ok(To::Phone(user.to_owned())),
            false => Err(unknown()),
        }
    }

    fn other_agent(&self, agent: AgentId) -> Result<To, Problem> {
        match self.desks.contains_key(&agent) {
            true => Ok(To::Agent(agent)),
            false => Err(unknown()),
        }
    }

    fn number(&self, campaign: &Campaign, dialled: &str) -> Result<To, Problem> {
        if self
            .config
            .plan
            .emergency
            .numbers
            .iter()
            .any(|it| it == dialled)
        {
            return Err(emergency());
        }
        let route = campaign.rules.routes.first();
        let trunk = route.and_then(|route| self.config.trunks.get(&route.trunk));
        let e164 = match (dialled.starts_with('+'), trunk) {
            (true, _) => crate::trunk::NumberRule::E164.read(dialled),
            (false, Some(trunk)) if trunk.number != crate::trunk::NumberRule::E164 => {
                trunk.number.read(dialled)
            }
            // Ten digits may lie in any country.
            (false, _) => None,
        };
        e164.map(To::Number).ok_or_else(unknown)
    }

    /// Whom her page offers while she talks; phones and agents come and go without her page being told.
    pub(in crate::engine) fn targets(&self, agent: &AgentId) -> Value {
        if !self.live_call(agent).is_some_and(Call::is_answered) {
            return Value::Null;
        }
        let shown = |phone: &Phone| {
            let registered = !self.sip.contacts(&phone.user).is_empty();
            json!({ "user": phone.user, "registered": registered })
        };
        let phones = self.config.phones.iter().take(PHONES_MAX).map(shown);
        let free = self.desks.iter().filter(|(id, _)| self.is_free(id));
        let agents = free
            .take(AGENTS_MAX)
            .map(|(id, desk)| json!({ "id": id.as_str(), "name": desk.profile.name }));
        json!({ "phones": phones.collect::<Vec<_>>(), "agents": agents.collect::<Vec<_>>() })
    }

    pub(super) fn name_of(&self, to: &To, campaign: &Campaign) -> String {
        match to {
            To::Phone(user) => user.clone(),
            To::Number(e164) => shown_number(e164, campaign.mask_numbers),
            To::Agent(agent) => {
                let desk = self.desks.get(agent);
                desk.map_or_else(String::new, |desk| desk.profile.name.clone())
            }
        }
    }
}

fn unknown() -> Problem {
    Problem::new(
        422,
        "unknown_target",
        "Nobody is reached by this",
        "Choose a phone or an agent, or dial a number with + and its country code, or an extension.",
    )
}

fn emergency() -> Problem {
    Problem::new(
        409,
        "emergency",
        "No emergency number",
        "Customers are not handed over to emergency services; call them from a phone.",
    )
}
