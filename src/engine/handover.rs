//! An agent gives her call to another agent: the other one's seat rings with the same card, the
//! customer hears music meanwhile, and whoever answers has call and card.
//!
//! Until the store has moved the card the call is the first agent's: declined, missed, or lost on
//! the way, it is hers again as after any transfer that fails (`transfer`). While it rings nothing
//! is written, so that after a crash the lead is hers.
//!
//! `take` is the answer, `pick_up` the way of an agent who was not asked, `leg` the customer's leg on its way to the other seat's media worker.

mod leg;
mod pick_up;
mod take;

use std::time::Duration;

use serde_json::{Value, json};

use super::desk::{Ask, Desk};
use super::handle::Problem;
use super::inbound::ringing::{NotFree, Rung, RungPhase, Wanted};
use super::media_worker::{MediaCommand, Source};
use super::switch::Switch;
use super::transfer::{Third, To};
use crate::call::result::CallResult;
use crate::call::transfer::{Outcome, Transfer};
use crate::id::{AgentId, CallId};
use crate::now::Now;
use crate::store::RingEnd;

impl Switch {
    /// Rings the other agent's seat, with the card of the call.
    pub(super) fn offer_to_agent(
        &mut self,
        now: Now,
        id: CallId,
        agent: &AgentId,
        mut third: Third,
    ) -> Result<(), Problem> {
        if third.talk != Transfer::blind() {
            return Err(blind_only());
        }
        self.may_ring(agent).map_err(not_free)?;
        let Some(call) = self.calls.get(&id) else {
            return Err(super::commands::no_call());
        };
        let limit = Duration::from_millis(call.campaign.rules.ring_limit_ms);
        let first = self.desks.get(&call.agent);
        let card = first.and_then(|desk| Some(desk.card.as_ref()?.offered_by(&desk.profile.name)));
        let card = card.ok_or_else(super::commands::no_card)?;
        let Some(desk) = self.desk(agent) else {
            return Err(not_free(NotFree::Unknown));
        };
        let rings = desk.agent.ring(now.utc.plus(limit), now.utc);
        rings.map_err(|_| not_free(NotFree::Busy))?;
        desk.waiting = None;
        if let Ask::AgainAt(_) = desk.ask {
            desk.ask = Ask::Idle;
        }
        desk.rung = Some(Rung {
            wanted: Wanted::Customer(id),
            until: now.instant + limit,
            phase: RungPhase::Ringing { call: id },
        });
        desk.card = Some(card);
        tracing::info!(call = %id, %agent, "rung for another agent's call");
        let reply = third.reply.take();
        third.rings = true;
        if let Some(call) = self.calls.get_mut(&id) {
            call.third = Some(third);
            call.third_past = None;
        }
        self.ask_crm(agent);
        self.hear(now, id);
        if let Some(reply) = reply {
            self.reply(reply, Ok(()));
        }
        Ok(())
    }

    /// The customer hears music, the first agent that it rings.
    pub(super) fn wait_for_agent(&mut self, id: CallId) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        let leg = call.leg;
        let seat = self.desks.get(&call.agent);
        let seat = seat.and_then(|desk| desk.seat.live_leg());
        let to = Source::Music;
        self.media(MediaCommand::Listen { leg, to });
        if let Some(leg) = seat {
            let to = Source::Ringback;
            self.media(MediaCommand::Listen { leg, to });
        }
    }

    /// Nobody answered at the other seat: the call is the first agent's again.
    pub(super) fn offer_over(&mut self, now: Now, agent: &AgentId, id: CallId, why: RingEnd) {
        if !self.stops_offering(now, agent, why) {
            return;
        }
        let result = match why {
            RingEnd::Declined => CallResult::Rejected,
            RingEnd::SeatLost => CallResult::Unavailable,
            _ => CallResult::NoAnswer,
        };
        self.offer_failed(now, agent, id, result);
        self.ask_for_card(now, agent);
    }

    /// The first agent wants it back, or there is no call any more. What the other one has
    /// answered already is hers: the store decides.
    pub(super) fn offer_withdrawn(&mut self, now: Now, agent: &AgentId, outcome: Outcome) {
        let why = match outcome {
            Outcome::CallEnded => RingEnd::Abandoned,
            _ => RingEnd::Withdrawn,
        };
        if self.stops_offering(now, agent, why) {
            self.ask_for_card(now, agent);
        }
    }

    /// False: her seat does not ring, or she has answered.
    fn stops_offering(&mut self, now: Now, agent: &AgentId, why: RingEnd) -> bool {
        let Some(desk) = self.desk(agent) else {
            return false;
        };
        let rings = |rung: &Rung| {
            let offered = matches!(rung.wanted, Wanted::Customer(_));
            offered && matches!(rung.phase, RungPhase::Ringing { .. })
        };
        if !desk.rung.as_ref().is_some_and(rings) {
            return false;
        }
        desk.stops_ringing(now, why);
        tracing::info!(%agent, why = why.name(), "nobody took the call over at this seat");
        true
    }

    fn offer_failed(&mut self, now: Now, agent: &AgentId, id: CallId, result: CallResult) {
        let third = self.calls.get(&id).and_then(|call| call.third.as_ref());
        if third.is_some_and(|third| third.to == To::Agent(agent.clone())) {
            self.third_over(now, id, Outcome::NotReached(result));
        }
    }

    /// The call that rings at this desk, and is another one's until it is answered here.
    pub(super) fn offered_picture(&self, desk: &Desk) -> Option<Value> {
        let Wanted::Customer(id) = desk.rung.as_ref()?.wanted else {
            return None;
        };
        let mut picture = self.calls.get(&id)?.picture();
        picture["state"] = json!("ringing");
        picture["muted"] = json!(false);
        picture["held"] = json!(false);
        picture["transfer"] = Value::Null;
        Some(picture)
    }
}

fn not_free(why: NotFree) -> Problem {
    let detail = match why {
        NotFree::Unknown => {
            let title = "Nobody is reached by this";
            return Problem::new(422, "unknown_target", title, "There is no such agent.");
        }
        NotFree::NoSeat => "Her page, where it would ring, is not connected.",
        NotFree::Busy | NotFree::Gone => "She is not ready, or has a card or a call before her.",
    };
    let title = "This agent is not free now";
    Problem::new(409, "agent_busy", title, detail)
}

fn blind_only() -> Problem {
    Problem::new(
        409,
        "transfer_only",
        "An agent cannot be asked first",
        "Transfer the call to her: her page rings with this card.",
    )
}
