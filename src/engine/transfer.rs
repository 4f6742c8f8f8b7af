//! A third party in an agent's call: consultation, blind and attended transfer. We are a B2BUA:
//! both far ends keep their own dialogs with us and are bridged; a carrier never sees a REFER.
//!
//! The verbs lie beside it: `target` (who is meant), `begin`, `place` (INVITEs, once their rows are
//! on disk), `progress` (what they are answered with), `control` (swap, complete, drop), `join`,
//! `end`, `hear` (who hears whom). The states are `call::transfer`'s.
//!
//! The recording stays one file. Right is the customer throughout; left is our side: the agent,
//! also while she consults (the third party is not in it then), and the third party from the
//! moment the two are joined.

mod begin;
mod control;
mod end;
mod hear;
mod join;
mod place;
mod progress;
mod target;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::call::Call;
use super::switch::ReplyId;
use super::trunk_call::{Way, Ways};
use crate::call::transfer::{Heard, Outcome, State, Transfer};
use crate::id::{AgentId, LegId, ThirdId};
use crate::now::UtcMs;
use crate::sdp::negotiate::Negotiation;
use crate::sip::{InvitePlan, SessionId};
use crate::trunk::fraud::Ticket;

pub(super) use end::Tally;

/// Contacts of one phone that are called at once.
const FORKS_MAX: usize = 10;

/// Whom the agent brings in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// A registered phone of our own.
    Phone(String),
    /// E.164, over the campaign's routes.
    Number(String),
    /// Another agent at her seat: she takes the call over, card and all (`handover`).
    Agent(AgentId),
}

/// The third party of a call.
pub(super) struct Third {
    pub to: To,
    /// As the agent's page names it.
    pub name: String,
    pub talk: Transfer,
    /// The legs that are called; once one has answered, that one alone.
    pub fars: Vec<Far>,
    /// What is left to try of the campaign's routes.
    pub ways: Option<Ways>,
    /// The ring limit; after the answer the end of the longest call allowed.
    pub deadline: Option<Instant>,
    /// The leave to call outside, and how long it holds from the answer on.
    leave: Option<(Ticket, Option<Duration>)>,
    pub since: UtcMs,
    answered: Option<(UtcMs, Instant)>,
    pub rings: bool,
    /// Who waits for the word of gate and store.
    pub reply: Option<ReplyId>,
    /// Why those legs that are gone were not reached.
    missed: Option<Outcome>,
}

/// One leg to the third party.
pub(super) struct Far {
    pub id: ThirdId,
    pub step: Step,
    pub leg: LegId,
    pub port: u16,
    pub sdp: Negotiation,
    /// Holds a place on its trunk until the leg is released.
    pub way: Option<Way>,
    /// The INVITE's identity in its stored form.
    pub plan: String,
    alerted: bool,
}

pub(super) enum Step {
    /// Its row is being committed; nothing has left yet.
    Committing(Box<InvitePlan>),
    Inviting(SessionId),
    Answered(SessionId),
}

/// The third party that was last in a call that is the agent's again.
#[derive(Clone, Debug)]
pub(super) struct Past {
    kind: &'static str,
    name: String,
    outcome: Outcome,
}

impl To {
    /// The stable name in the API, the store and `/metrics`.
    pub fn kind(&self) -> &'static str {
        match self {
            To::Phone(_) => "phone",
            To::Number(_) => "number",
            To::Agent(_) => "agent",
        }
    }
}

impl Far {
    pub fn session(&self) -> Option<SessionId> {
        match self.step {
            Step::Committing(_) => None,
            Step::Inviting(session) | Step::Answered(session) => Some(session),
        }
    }
}

impl Third {
    /// The leg that has answered.
    pub fn far(&self) -> Option<&Far> {
        self.fars
            .iter()
            .find(|far| matches!(far.step, Step::Answered(_)))
    }

    /// The leg that is heard: of several phones that speak early, the first.
    fn voice(&self) -> Option<&Far> {
        let early = || self.fars.iter().find(|far| far.sdp.agreed().is_some());
        self.far().or_else(early).or(self.fars.first())
    }

    fn far_of(&mut self, session: SessionId) -> Option<&mut Far> {
        self.fars
            .iter_mut()
            .find(|far| far.session() == Some(session))
    }

    fn far_named(&mut self, id: ThirdId) -> Option<&mut Far> {
        self.fars.iter_mut().find(|far| far.id == id)
    }

    fn picture(&self) -> Value {
        let state = match self.talk.state() {
            State::Calling if self.rings => "ringing",
            state => state.name(),
        };
        let heard = match self.talk.state() {
            State::Consulting { heard } => Some(match heard {
                Heard::Third => "third",
                Heard::Customer => "customer",
            }),
            _ => None,
        };
        json!({
            "state": state,
            "kind": self.to.kind(),
            "name": self.name,
            "heard": heard,
            "since_ms": self.since.0,
            "answered_ms": self.answered.map(|(at, _)| at.0),
            "outcome": null,
        })
    }
}

impl Call {
    /// The agent has handed it over: customer and third party talk on without her.
    pub fn is_handed_over(&self) -> bool {
        self.handed_over.is_some()
    }

    /// The third party as the page shows it: the present one, or how the last one ended.
    pub fn transfer_picture(&self) -> Value {
        if let Some(third) = &self.third {
            return third.picture();
        }
        self.third_past.as_ref().map_or(Value::Null, |past| {
            json!({
                "state": "over",
                "kind": past.kind,
                "name": past.name,
                "heard": null,
                "since_ms": null,
                "answered_ms": null,
                "outcome": past.outcome.name(),
            })
        })
    }
}
