//! An agent's desk: her state, her seat, the card and the call on it, and the picture of all
//! that which her pages are shown. The picture is small and sent whole, so that a page which
//! reloads needs nothing else.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Value, json};

use super::card::Card;
use super::handle::DeskUpdate;
use super::inbound::ringing::Rung;
use super::resolved::{AgentProfile, Text};
use super::switch::{Output, Switch};
use super::writes::Write;
use crate::agent::seat::Seat;
use crate::agent::state::{Agent, Queued, State};
use crate::id::{AgentId, CallId};
use crate::now::{Now, UtcMs};
use crate::sip::SessionId;
use crate::store;

pub(super) struct Desk {
    pub profile: AgentProfile,
    pub agent: Agent,
    pub seat: Seat<SessionId>,
    /// The SIP flow the seat's session came on: when it closes, the seat is lost.
    pub seat_flow: Option<u64>,
    pub tabs: BTreeSet<u64>,
    /// Since when no page has been open; `None` while one is, or when none ever was.
    pub deserted_since: Option<Instant>,
    pub card: Option<Card>,
    pub call: Option<CallId>,
    pub ask: Ask,
    pub waiting: Option<Waiting>,
    /// Somebody wants her: her seat rings.
    pub rung: Option<Rung>,
    changed: bool,
    seq: u64,
    /// The state last told to the store.
    told: State,
}

/// How far a READY agent's wish for a card has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Idle,
    /// The store is choosing.
    Asking,
    /// Nothing to dial; ask again then.
    AgainAt(Instant),
}

/// Why a READY agent has no card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub reason: &'static str,
    pub detail: Text,
    pub earliest: Option<UtcMs>,
}

impl Desk {
    pub fn new(profile: AgentProfile, now: Now) -> Desk {
        Desk {
            profile,
            agent: Agent::new(now.utc),
            seat: Seat::Absent,
            seat_flow: None,
            tabs: BTreeSet::new(),
            deserted_since: None,
            card: None,
            call: None,
            ask: Ask::Idle,
            waiting: None,
            rung: None,
            changed: true,
            seq: 0,
            told: State::LoggedOut,
        }
    }
}

impl Desk {
    /// The event of a new state; `None` while it is the old one. A longer preview is no new state.
    fn tell_state(&mut self, agent: &AgentId) -> Option<store::Command> {
        let state = self.agent.state();
        let reason = |state: &State| match state {
            State::NotReady { reason } => Some(reason.0.clone()),
            _ => None,
        };
        if (state.name(), reason(state)) == (self.told.name(), reason(&self.told)) {
            return None;
        }
        self.told = state.clone();
        Some(store::Command::AgentState {
            agent: agent.clone(),
            state: state.name(),
            reason: reason(state),
        })
    }
}

impl Switch {
    /// The desk, marked as changed. Every change goes through here, or pages would not see it.
    pub(super) fn desk(&mut self, agent: &AgentId) -> Option<&mut Desk> {
        let desk = self.desks.get_mut(agent)?;
        desk.changed = true;
        Some(desk)
    }

    pub(super) fn show_desks(&mut self, now: Now) {
        let changed: Vec<AgentId> = self
            .desks
            .iter()
            .filter(|(_, desk)| desk.changed)
            .map(|(agent, _)| agent.clone())
            .collect();
        for agent in changed {
            let picture = self.picture(&agent, now);
            let Some(desk) = self.desks.get_mut(&agent) else {
                continue;
            };
            desk.changed = false;
            desk.seq += 1;
            let told = desk.tell_state(&agent);
            let update = DeskUpdate {
                epoch: self.config.epoch.clone(),
                seq: desk.seq,
                desk: picture,
            };
            self.emit(Output::Desk { agent, update });
            if let Some(command) = told {
                self.write(Write::Step, command);
            }
        }
    }

    fn call_picture(&self, desk: &Desk) -> Value {
        if let Some(offered) = self.offered_picture(desk) {
            return offered;
        }
        if let Some(call) = desk.call.and_then(|call| self.calls.get(&call)) {
            return call.picture();
        }
        let before = desk
            .card
            .as_ref()
            .and_then(|card| card.before_restart.as_ref());
        before.map_or(Value::Null, super::card::ended_call)
    }

    /// A desk phone between two calls is there or not.
    fn seat_status(&self, agent: &AgentId, desk: &Desk) -> &'static str {
        match desk.seat {
            Seat::Absent if self.seat_phone(agent).is_some() && self.is_seated(agent) => "idle",
            _ => desk.seat.name(),
        }
    }

    fn picture(&self, agent: &AgentId, now: Now) -> Value {
        let Some(desk) = self.desks.get(agent) else {
            return Value::Null;
        };
        json!({
            "agent": {
                "id": desk.profile.id.as_str(),
                "name": desk.profile.name,
                "language": desk.profile.language,
            },
            "now_ms": now.utc.0,
            "state": state(&desk.agent),
            "seat": { "kind": desk.profile.seat.name(), "status": self.seat_status(agent, desk) },
            "waiting": desk.waiting.as_ref().map(waiting),
            "card": desk.card.as_ref().map(|card| card.picture(&desk.agent, &desk.profile.language, now)),
            "call": self.call_picture(desk),
            "targets": self.targets(agent),
            "draining": self.draining,
        })
    }
}

pub(super) fn text(text: &Text) -> Value {
    json!({ "en": text.en, "zh": text.zh })
}

fn state(agent: &Agent) -> Value {
    let reason = match agent.state() {
        State::NotReady { reason } => Some(reason.0.as_str()),
        _ => None,
    };
    let deadline = match agent.state() {
        State::Previewing { deadline, .. }
        | State::WrapUp { deadline }
        | State::Ringing { until: deadline } => Some(deadline.0),
        _ => None,
    };
    let queued = agent.queued().map(|queued| match queued {
        Queued::NotReady { reason } => json!({ "kind": "not_ready", "reason": reason.0 }),
        Queued::LoggedOut => json!({ "kind": "logged_out" }),
    });
    json!({
        "kind": agent.state().name(),
        "reason": reason,
        "since_ms": agent.since().0,
        "deadline_ms": deadline,
        "queued": queued,
    })
}

fn waiting(waiting: &Waiting) -> Value {
    json!({
        "reason": waiting.reason,
        "detail": text(&waiting.detail),
        "earliest_ms": waiting.earliest.map(|at| at.0),
    })
}
