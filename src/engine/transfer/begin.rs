//! `consult` and `transfer`: the third party's legs are planned and go to the store; for a number
//! the gate is asked there. Nothing rings, and the customer hears nothing of it, before that.

use std::collections::HashSet;

use super::{FORKS_MAX, Far, Step, Third, To};
use crate::call::transfer::Transfer;
use crate::engine::call::Call;
use crate::engine::dial::no_trunk;
use crate::engine::handle::Problem;
use crate::engine::srtp::Whose;
use crate::engine::switch::{LegOf, ReplyId, Switch};
use crate::engine::trunk_call::Way;
use crate::engine::writes::Write;
use crate::id::{AgentId, CallId, ThirdId};
use crate::now::Now;
use crate::sdp::Codec;
use crate::sdp::negotiate::Negotiation;
use crate::sip::{InvitePlan, NameAddr, Reach};
use crate::store::{self, ThirdTo};
use crate::trunk::fraud::Verdict;

impl Switch {
    /// The agent wants a third party. The reply waits for the word of gate and store.
    pub(in crate::engine) fn bring_in(
        &mut self,
        now: Now,
        agent: &AgentId,
        to: &str,
        talk: Transfer,
        reply: ReplyId,
    ) {
        if let Err(problem) = self.try_bring_in(now, agent, to, talk, reply) {
            self.reply(reply, Err(problem));
        }
    }

    fn try_bring_in(
        &mut self,
        now: Now,
        agent: &AgentId,
        to: &str,
        talk: Transfer,
        reply: ReplyId,
    ) -> Result<(), Problem> {
        let call = self.live_call_mut(agent)?;
        if !call.is_answered() {
            return Err(not_answered());
        }
        if call.third.is_some() {
            return Err(busy_with_one());
        }
        let (id, campaign) = (call.id, call.campaign.clone());
        let to = self.target(now, agent, &campaign, to)?;
        let third = Third {
            name: self.name_of(&to, &campaign),
            to: to.clone(),
            talk,
            fars: Vec::new(),
            ways: None,
            deadline: None,
            leave: None,
            since: now.utc,
            answered: None,
            rings: false,
            reply: Some(reply),
            missed: None,
        };
        match to {
            To::Phone(user) => self.bring_in_phone(now, id, &user, third),
            To::Number(e164) => self.bring_in_number(now, id, &e164, third),
            To::Agent(other) => self.offer_to_agent(now, id, &other, third),
        }
    }

    /// Everywhere the phone is registered, at once.
    fn bring_in_phone(
        &mut self,
        now: Now,
        id: CallId,
        user: &str,
        mut third: Third,
    ) -> Result<(), Problem> {
        let mut devices = HashSet::new();
        // RFC 5626 6: several ways to one device are not rung at once.
        let mut reaches = self.sip.contacts(user);
        reaches.retain(|way| {
            let instance = way.instance.as_ref();
            instance.is_none_or(|one| devices.insert(one.clone()))
        });
        let shown = self.shown_to_phone(id, third.talk);
        for reach in reaches.into_iter().take(FORKS_MAX) {
            let Some(far) = self.far_to_phone(now, id, user, &reach, shown.clone()) else {
                break;
            };
            third.fars.push(far);
        }
        if third.fars.is_empty() {
            return Err(Problem::new(
                409,
                "not_registered",
                "This phone is not connected",
                "It is registered nowhere now.",
            ));
        }
        self.commit_third(id, third, &|_| ThirdTo::Phone);
        Ok(())
    }

    fn far_to_phone(
        &mut self,
        now: Now,
        id: CallId,
        user: &str,
        reach: &Reach,
        from: NameAddr,
    ) -> Option<Far> {
        let to = NameAddr::new(None, &format!("sip:{user}@{}", self.own_host()));
        let plan = self.sip.plan_phone(reach, from, to);
        // In the customer's codec packets need not be translated.
        let mut codecs = vec![Codec::Pcma, Codec::Pcmu];
        let agreed = self.calls.get(&id).and_then(|call| call.sdp.agreed());
        if agreed.is_some_and(|agreed| agreed.codec == Codec::Pcmu) {
            codecs.reverse();
        }
        let security = self.security(Whose::Phone(user), plan.flow.transport)?;
        self.far(now, id, plan, None, |switch, port| {
            let sdp = switch.negotiation(port, codecs);
            sdp.with_security(security)
        })
    }

    fn bring_in_number(
        &mut self,
        now: Now,
        id: CallId,
        e164: &str,
        mut third: Third,
    ) -> Result<(), Problem> {
        let Some(call) = self.calls.get(&id) else {
            return Err(crate::engine::commands::no_call());
        };
        let (campaign, agent) = (call.campaign.clone(), call.agent.clone());
        third.leave = Some(self.leave_to_call_outside(now, &agent, e164)?);
        let mut ways = self.open_ways(now, &campaign.rules.routes, false);
        let way = self.next_way(now, &mut ways, None);
        let Some(way) = way else {
            self.give_leave_back(now, &third);
            return Err(no_trunk(&campaign, &ways));
        };
        let plan = self.plan_way(&way, e164);
        let far = plan.and_then(|plan| self.far_on(now, id, plan, &way));
        let Some(far) = far else {
            self.leave_way(&way);
            self.give_leave_back(now, &third);
            return Err(Problem::overload());
        };
        third.ways = Some(ways);
        third.fars.push(far);
        self.commit_third(id, third, &|far| number_by(e164, far));
        Ok(())
    }

    /// What one agent may call outside is bounded, as for phones: her password may be stolen.
    fn leave_to_call_outside(
        &mut self,
        now: Now,
        agent: &AgentId,
        e164: &str,
    ) -> Result<(crate::trunk::fraud::Ticket, Option<std::time::Duration>), Problem> {
        match self.fraud.ask(now, &format!("agent {agent}"), e164) {
            Verdict::Allowed { ticket, longest } => Ok((ticket, longest)),
            Verdict::Refused(refusal) => {
                self.fraud_refused += 1;
                let reason = refusal.name();
                tracing::warn!(%agent, reason, "an agent may not call this number outside");
                let detail = format!("Refused by [fraud]: {}.", reason.replace('_', " "));
                let title = "This number may not be called";
                Err(Problem::new(409, "fraud", title, detail))
            }
        }
    }

    pub(super) fn far_on(
        &mut self,
        now: Now,
        id: CallId,
        plan: InvitePlan,
        way: &Way,
    ) -> Option<Far> {
        self.far(now, id, plan, Some(way.clone()), |switch, port| {
            switch.negotiation_on(way, port)
        })
    }

    fn far(
        &mut self,
        now: Now,
        id: CallId,
        plan: InvitePlan,
        way: Option<Way>,
        negotiation: impl FnOnce(&mut Switch, u16) -> Negotiation,
    ) -> Option<Far> {
        let customer = self.calls.get(&id)?.leg;
        let port = self.ports.allocate(now.instant)?;
        let leg = self.new_leg(Some(customer));
        self.legs.insert(leg, LegOf::Third(id));
        Some(Far {
            id: ThirdId(self.new_uuid(now)),
            leg,
            port,
            sdp: negotiation(self, port),
            way,
            plan: plan.to_text(),
            step: Step::Committing(Box::new(plan)),
            alerted: false,
        })
    }

    fn commit_third(&mut self, id: CallId, third: Third, to: &dyn Fn(&Far) -> ThirdTo) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let attempt = call.attempt;
        let rows: Vec<(ThirdId, ThirdTo, String)> = third
            .fars
            .iter()
            .map(|far| (far.id, to(far), far.plan.clone()))
            .collect();
        call.third = Some(third);
        call.third_past = None;
        for (third, to, dialog) in rows {
            let command = store::Command::BeginThird {
                third,
                attempt,
                to,
                dialog,
            };
            self.write(Write::Third { call: id, third }, command);
        }
        self.show_call(id);
    }

    /// Who a phone of our own sees calling: the agent who consults it, the customer who is sent
    /// to it, unless the campaign hides numbers.
    fn shown_to_phone(&self, id: CallId, talk: Transfer) -> NameAddr {
        let host = self.own_host();
        let of = |call: &Call| {
            let blind = talk == Transfer::blind() && !call.campaign.mask_numbers;
            let name = self.desks.get(&call.agent).map(|it| &it.profile.name);
            match blind {
                true => NameAddr::new(None, &format!("sip:{}@{host}", call.number)),
                false => {
                    let uri = format!("sip:{}@{host}", call.agent);
                    NameAddr::new(name.map(String::as_str), &uri)
                }
            }
        };
        let shown = self.calls.get(&id).map(of);
        shown.unwrap_or_else(|| NameAddr::new(None, &format!("sip:{host}")))
    }
}

fn number_by(e164: &str, far: &Far) -> ThirdTo {
    match &far.way {
        Some(way) => ThirdTo::Number {
            e164: e164.to_owned(),
            trunk: way.trunk.clone(),
            caller_id: way.caller_id.clone(),
        },
        None => ThirdTo::Phone,
    }
}

fn not_answered() -> Problem {
    let detail = "The customer's phone still rings.";
    Problem::new(409, "not_answered", "Nobody to hand over", detail)
}

fn busy_with_one() -> Problem {
    Problem::new(
        409,
        "third_party",
        "There is a third party already",
        "Complete or drop it first.",
    )
}
